# %% [markdown]
# # Linear prediction, exactly
#
# The linear model of a time series is least squares on a matrix whose rows are windows of the series. That matrix is
# never needed: each row of the normal equations follows from the one before by two products at the ends of the series.
# The classical shortcut, Yule–Walker, shows what goes wrong when the ends are not treated exactly.

# %%
import sys
import time
import tracemalloc

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import before  # noqa: F401
import numpy as np
from gallery import Demo, plt
from scipy.signal import lfilter

from minissl.linear.autoregression import lagged_least_squares, least_squares, yule_walker
from minissl.tasks.prediction import next_value, windows

demo = Demo(
    "linear_prediction",
    "Linear prediction, exactly",
    "Predict x(t) from x(t−1), x(t−2), …: the linear case has a closed form.",
    "xₜ = a₀ + a₁ xₜ₋₁ + … + aₚ xₜ₋ₚ + eₜ;   Σₜ eₜ² is least where XᵀX b = Xᵀy,   b = (a₀, …, aₚ),   "
    "rows of X: (1, xₜ₋₁, …, xₜ₋ₚ),   y: the xₜ",
    limits="The times are those of one order, one length and this machine; the advantage grows with the order. The "
    "standard errors are those of long series: with 100 values estimates are biased towards zero besides "
    "[autoregression.6]. Yule–Walker is at its worst here, on a nearly periodic series that is cut off at full height; "
    "on most measured series the two estimates differ by less than their standard errors.",
)


# %% [markdown]
# ## Without the lagged matrix
#
# The same model twice: by its definition, with the lagged matrix [autoregression.2], and with the rows of C, which are
# sums of products of values at two lags, from one another [autoregression.10]. Memory is what Python's own tracer sees
# beyond the input, time the shorter of two runs.


# %%
def measured(f):
    """Value, seconds and megabytes of a call."""
    tracemalloc.start()
    f()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        value = f()
        seconds.append(time.perf_counter() - began)
    return value, min(seconds), peak / 1e6


p, LENGTH = 24, 10**5 if demo.quick else 10**6
true = np.r_[0, 0.9, -0.5, 0.2, np.zeros(p - 3)]  # a₀, a₁, …, aₚ
x = lfilter([1], [1, *-true[1:4]], np.random.default_rng(0).standard_normal(LENGTH))
fast, seconds, memory = measured(lambda: least_squares(x, p))
plain, plain_seconds, plain_memory = measured(lambda: lagged_least_squares(x, p))
demo.table(
    f"Order {p} on {len(x):,} samples ({x.nbytes / 1e6:.0f} MB)",
    ["least squares", "seconds", "extra memory, MB"],
    [
        ["rows of C from one another", f"{seconds:.3f}", f"{memory:.0f}"],
        ["lagged matrix", f"{plain_seconds:.3f}", f"{plain_memory:.0f}"],
    ],
    f"{plain_seconds / seconds:.0f} times as fast; the largest difference of a coefficient is "
    f"{abs(fast.a - plain.a).max():.0e}.",
)
z = (np.r_[fast.intercept, fast.a] - true) / fast.standard_errors
demo.say(
    f"Of the {p + 1} coefficients {(abs(z) < 1.96).sum()} lie within 1.96 standard errors of the truth "
    f"({0.95 * (p + 1):.0f} expected). The variance of the shocks is estimated as {fast.variance:.4f}; it is 1."
)


# %% [markdown]
# ## Why the ends matter
#
# Three sinusoids and noise of 1e-6: twelve past values predict the next one to a few times that noise. Yule–Walker is
# least squares on the series continued with zeros on both sides (its mean is subtracted first). No predictor of
# sinusoids foresees the step to zero. A few huge errors at the ends outweigh all the tiny ones between, so Yule–Walker
# lets the tiny ones grow in order to lessen the huge ones. The roots in the table are those of [autoregression.8]: if
# all lie inside the unit circle, the model is stable.

# %%
t = np.arange(1000 if demo.quick else 5000)
x = np.sin(0.1 * t) + np.sin(0.23 * t + 1) + np.sin(0.57 * t + 2)
x += 1e-6 * np.random.default_rng(1).standard_normal(len(t))
p = 12
continued = np.pad(x, p, constant_values=x.mean())


def errors(model, series):
    """What a model leaves over of each value of a series but the first p."""
    past, next = next_value(p)(windows(series, p + 1), None)
    return (next - model(past))[:, 0]


def root_mean_square(e):
    return np.sqrt((e**2).mean())


def stability(model):
    distance = abs(model.roots).max() - 1
    return f"1 {'−' if distance < 0 else '+'} {abs(distance):.1e}", "yes" if model.stable else "no"


fits = {"least squares": least_squares(x, p), "Yule–Walker": yule_walker(x, p)}
within = {name: root_mean_square(errors(model, x)) for name, model in fits.items()}
with_zeros = {name: errors(model, continued) for name, model in fits.items()}
demo.table(
    "What is left over, root mean square",
    ["model", "within the series", "with the zeros at its ends", "largest root |z|", "stable"],
    [
        *(
            [name, f"{within[name]:.2g}", f"{root_mean_square(with_zeros[name]):.2g}", *stability(model)]
            for name, model in fits.items()
        ),
        ["the mean alone", *(f"{root_mean_square(series[p:] - x.mean()):.2g}" for series in (x, continued)), "", ""],
    ],
    f"Least squares with the lagged matrix leaves {root_mean_square(errors(lagged_least_squares(x, p), x)):.2g} within "
    "the series.",
)
ratio = float(f"{within['Yule–Walker'] / within['least squares']:.2g}")  # two digits: of one draw of the noise
demo.say(
    f"Within the series Yule–Walker leaves about {ratio:,.0f} times as much. In exchange its roots lie inside the unit "
    "circle, which keeps its forecasts from growing."
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
steps = np.arange(len(with_zeros["least squares"]))
for ax, part, title in zip(axes, (slice(0, 60), slice(-60, None)), ("Beginning", "End"), strict=True):
    for name, e in with_zeros.items():
        ax.semilogy(steps[part], abs(e[part]), label=name)
    ax.set_title(f"{title} of the series", fontsize=10)
    ax.set_xlabel("time step")
axes[0].axvspan(-2, p, color="0.92")
axes[1].axvspan(len(x), steps[-1], color="0.92")
axes[0].set(ylabel="|error of prediction|", xlim=(-2, 60), ylim=(1e-8, 10))
axes[0].text(36, 0.3, "Yule–Walker", color="C1", ha="center")
axes[0].text(36, 4e-5, "least squares", color="C0", ha="center")
demo.figure(
    fig,
    "ends",
    "Errors over the series and the zeros (grey: where the past or the target is one of them). Yule–Walker predicts "
    "the step to zero less badly, and pays for it everywhere else.",
    alt="Errors of prediction on a logarithmic axis. Within the series those of least squares are near "
    f"{1e6 * within['least squares']:.1f} × 10⁻⁶, those of Yule–Walker about {ratio:,.0f} times as large; at both "
    "ends, where zeros continue the series, both are near 1.",
    main=True,
)
demo.lesson(
    "Continue a nearly periodic series with zeros, as Yule–Walker does, and the error of prediction "
    f"within the series is about {ratio:,.0f} times that of exact least squares.",
    f"about {ratio:,.0f} times the error",
)
demo.finish()
