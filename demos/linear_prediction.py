# %% [markdown]
# # Linear prediction, exactly
#
# The linear model of a time series is least squares on a matrix whose rows are windows of the series. That matrix is
# never needed: each row of the normal equations follows from the one before by two products at the ends of the series.
# The classical shortcut, Yule-Walker, shows what goes wrong when the ends are not treated exactly.

# %%
import time
import tracemalloc

import numpy as np
from gallery import Demo, plt
from scipy.signal import lfilter

from minissl.linear.autoregression import least_squares, yule_walker

demo = Demo(
    "linear_prediction",
    "Linear prediction, exactly",
    "Predict x(t) from x(t-1), x(t-2), ...: the linear case has a closed form.",
    "C_{i+1,j+1} = C_ij + y_{p-1-i} y_{p-1-j} - y_{T-1-i} y_{T-1-j},   C_ij = sum_t y_{t-i} y_{t-j}",
)


def lagged(x, p):
    """Rows (1, x_{t-1}, ..., x_{t-p})."""
    return np.column_stack([np.ones(len(x) - p), *(x[p - i : len(x) - i] for i in range(1, p + 1))])


# %% [markdown]
# ## Without the lagged matrix
#
# Memory is what Python's own tracer sees beyond the input.


# %%
def measured(f):
    """Value, seconds and megabytes of a call."""
    tracemalloc.start()
    f()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    began = time.perf_counter()
    value = f()
    return value, time.perf_counter() - began, peak / 1e6


p = 24
x = lfilter([1], [1, -0.9, 0.5, -0.2], np.random.default_rng(0).standard_normal(10**5 if demo.quick else 10**6))
ours, *our_cost = measured(lambda: least_squares(x, p))
theirs, *their_cost = measured(lambda: np.linalg.lstsq(lagged(x, p), x[p:])[0])
demo.table(
    f"Order {p} on {len(x):,} samples ({x.nbytes / 1e6:.0f} MB)",
    ["", "seconds", "extra memory, MB"],
    [["rows of C from one another", *our_cost], ["lagged matrix", *their_cost]],
    f"{their_cost[0] / our_cost[0]:.0f} times as fast; largest difference of a coefficient "
    f"{abs(np.r_[ours.intercept, ours.a] - theirs).max():.1e}",
)
true = np.r_[0, 0.9, -0.5, 0.2, np.zeros(p - 3)]
z = (np.r_[ours.intercept, ours.a] - true) / ours.standard_errors
demo.say(
    f"Of the {p + 1} coefficients {(abs(z) < 1.96).sum()} lie within 1.96 of their standard errors of the truth "
    f"({0.95 * (p + 1):.0f} expected); the error's variance is estimated as {ours.variance:.4f}, in truth 1."
)


# %% [markdown]
# ## Why the ends matter
#
# Three sinusoids and noise of 1e-6: twelve past values predict the next one to almost that noise. Yule-Walker is least
# squares on the series continued with zeros on both sides. No predictor of sinusoids foresees the step to zero; a few
# huge errors at the ends outweigh all the tiny ones between, and Yule-Walker gives those up to lessen the former.

# %%
t = np.arange(1000 if demo.quick else 5000)
x = np.sin(0.1 * t) + np.sin(0.23 * t + 1) + np.sin(0.57 * t + 2)
x += 1e-6 * np.random.default_rng(1).standard_normal(len(t))
p = 12
fits = {"least squares": least_squares(x, p), "Yule-Walker": yule_walker(x, p)}
b = {name: np.r_[fit.intercept, fit.a] for name, fit in fits.items()}
b["least squares, lagged matrix"] = np.linalg.lstsq(lagged(x, p), x[p:])[0]
residual = {name: np.sqrt(((x[p:] - lagged(x, p) @ c) ** 2).mean()) for name, c in b.items()}
padded = np.pad(x, p, constant_values=x.mean())  # zero, once the mean is subtracted
errors = {name: abs(padded[p:] - lagged(padded, p) @ b[name]) for name in fits}
demo.table(
    "What is left over, root mean square",
    ["", "within the series", "with the zeros at its ends", "largest root |z|"],
    [
        [name, residual[name], np.sqrt((errors[name] ** 2).mean()), f"{abs(fit.roots).max():.6f}"]
        for name, fit in fits.items()
    ],
    f"Least squares on the lagged matrix leaves {residual['least squares, lagged matrix']:.4g} within the series.",
)
demo.say(
    f"Within the series Yule-Walker leaves {residual['Yule-Walker'] / residual['least squares']:,.0f} times as much. "
    "In exchange its roots lie inside the unit circle, which keeps its forecasts from growing."
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
for ax, part, title in zip(axes, (slice(0, 60), slice(-60, None)), ("the beginning", "the end"), strict=True):
    for (name, error), color in zip(errors.items(), ("C0", "C3"), strict=True):
        ax.semilogy(np.arange(len(padded) - p)[part], error[part], ".-", color=color, label=name)
    ax.set_title(f"{title} of the series")
    ax.set_xlabel("time step (the series, then zeros)" if part.start < 0 else "time step (zeros before 0)")
    ax.axvline(0 if part.start == 0 else len(x), color="grey", lw=0.8)
axes[0].set_ylabel("|error of prediction|")
axes[0].legend()
demo.figure(fig, "ends", "Yule-Walker predicts the step to zero less badly, and pays for it everywhere else.")
demo.finish()
