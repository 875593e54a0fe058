# %% [markdown]
# # Prediction of the future: time series
#
# The past of a series is the input, its next value the target: no label is needed, only time. The same windows go to a
# linear model, whose optimum is one small system of equations, and to a network. Everything is fitted on the past and
# judged on the future; nothing is shuffled across that line.

# %%
import csv
import pathlib
import time
import tracemalloc

import numpy as np
from gallery import Demo, interval, plt, pm, progress
from scipy.signal import lfilter

import minissl as ssl
from minissl.autoregression import forecast, least_squares, next_value, windows, yule_walker

demo = Demo(
    "time_series",
    "Prediction of the future: time series",
    "Predict x(t) from x(t-1), x(t-2), ...: weather, stock market, ecology. Useful for forecasts, for generating new "
    "data, and for what the hidden layer learns.",
    "J = 1/M sum_t ||x_t - f(x_{t-p}, ..., x_{t-1})||^2; linear f: x_t = a_0 + sum_i a_i x_{t-i} + e_t",
)
SEEDS = range(2 if demo.quick else 5)
HORIZONS = (1, 3, 12)
STEPS = 200 if demo.quick else 3000  # of gradient descent
MAX_ORDER = 12


# %% [markdown]
# ## The series
#
# Source and licence stand at the head of each file. `season` is the period of a season known beforehand, if any. Counts
# of lynx are taken as logarithms and sunspots as square roots, as is usual, prices as logarithmic returns. The last
# series is the *size* of the daily returns of IBM, whatever their sign.


# %%
def column(file, name):
    lines = (pathlib.Path(__file__).parent / "data" / file).read_text().splitlines()
    return np.array([float(row[name]) for row in csv.DictReader(line for line in lines if not line.startswith("#"))])


def returns(name):
    return 100 * np.diff(np.log(column("stocks.csv", name)))


SERIES = {  # name: (values, season, share of the series that is the past)
    "Seattle, daily maximum, °C": (column("seattle.csv", "temp_max"), 365.25, 0.75),
    "El Niño 1+2, monthly, °C": (column("elnino.csv", "temperature"), 12, 0.75),
    "Sunspots, yearly, root": (np.sqrt(column("sunspots.csv", "sunspots")), None, 0.7),
    "Lynx, yearly, log10": (np.log10(column("lynx.csv", "lynx")), None, 0.7),
    "Apple, daily return, %": (returns("AAPL"), None, 0.75),
    "IBM, daily return, %": (returns("IBM"), None, 0.75),
    "Microsoft, daily return, %": (returns("MSFT"), None, 0.75),
    "IBM, size of return, %": (abs(returns("IBM")), None, 0.75),
}


# %% [markdown]
# ## Four ways to predict
#
# *Persistence*: the future is as the last value. *Seasonal mean*: the average of the past, with two harmonics of the
# season where there is one. *Linear*: least squares, its order chosen by Akaike's criterion on the past. *Network*: one
# hidden layer of tanh units on the same windows; how long to train is decided on the last fifth of the past. The linear
# model and the network work on what the seasonal mean leaves over, and forecast further ahead from their own forecasts.


# %%
def seasonal_mean(x, season, split):
    """Fitted on x[:split], evaluated everywhere."""
    t = np.arange(len(x))
    waves = [] if season is None else [2 * np.pi * t * k / season for k in (1, 2)]
    X = np.column_stack([np.ones(len(x)), *(f(w) for w in waves for f in (np.sin, np.cos))])
    return X @ np.linalg.lstsq(X[:split], x[:split])[0]


def best_order(x):
    """Akaike's criterion M ln s^2 + 2p, on the same targets for every order."""
    orders = range(1, MAX_ORDER + 1)
    fits = [least_squares(x[MAX_ORDER - p :], p) for p in orders]
    return 1 + int(np.argmin([(len(x) - MAX_ORDER) * np.log(fit.variance) + 2 * (len(fit.a)) for fit in fits]))


def network(x, p, seed, label):
    """A network for windows of order p, trained on all of x for as many epochs as did best on its last fifth."""
    x = x.astype(np.float32)
    cut = windows(x, p + 1)
    early, late = cut[: len(cut) * 4 // 5 - p], cut[len(cut) * 4 // 5 :]
    epochs = -(-STEPS * 32 // len(cut))

    def losses(net, data):
        return ssl.train(net, data, next_value(p), ssl.squared_error, epochs=epochs, batch_size=32, rng=seed)

    net = ssl.MLP((p, 16, 1), activation="tanh", rng=seed)
    late_input, late_target = next_value(p)(late, None)
    error = []
    for _ in progress(losses(net, early), epochs, label):
        error.append(float(ssl.squared_error(net(late_input), late_target)[0]))
    net = ssl.MLP((p, 16, 1), activation="tanh", rng=seed)
    for epoch, _ in enumerate(losses(net, cut)):
        if epoch >= np.argmin(error):
            break
    return net


def ahead(model, y, p, dtype=np.float64):
    """Forecasts 1 .. 12 ahead from every origin; row s knows y_s, ..., y_{s+p-1}."""
    return forecast(model, windows(y.astype(dtype), p), max(HORIZONS)).astype(float)


def compare(name):
    """Squared errors {method: {h: (runs, targets)}} on the future, and the models."""
    x, season, share = SERIES[name]
    split = int(share * len(x))
    mean = seasonal_mean(x, season, split)
    scale = (x - mean)[:split].std()
    y = (x - mean) / scale
    p = best_order(y[:split])
    linear = least_squares(y[:split], p)
    nets = [network(y[:split], p, seed, name) for seed in SEEDS]
    by_linear, by_nets = ahead(linear, y, p), [ahead(net, y, p, np.float32) for net in nets]
    t = np.arange(split, len(x))
    errors = {"persistence": {}, "seasonal mean": {}, "linear": {}, "network": {}}
    for h in range(1, max(HORIZONS) + 1):
        errors["persistence"][h] = (x[t] - x[t - h])[None] ** 2
        errors["seasonal mean"][h] = (x[t] - mean[t])[None] ** 2
        errors["linear"][h] = scale**2 * (y[t] - by_linear[t - h + 1 - p, h - 1])[None] ** 2
        errors["network"][h] = scale**2 * np.array([(y[t] - f[t - h + 1 - p, h - 1]) ** 2 for f in by_nets])
    return {"errors": errors, "p": p, "linear": linear, "nets": nets, "y": y, "split": split, "scale": scale}


results = {name: compare(name) for name in SERIES}


# %% [markdown]
# ## Who predicts what
#
# The intervals are from a block bootstrap over the future (blocks, because neighbouring errors are not independent).
# For the ratio of the network's error to the linear model's both are resampled together.


# %%
def resampled(n, draws=1000):
    """Indices of `draws` circular block resamples of n times, shape (draws, n)."""
    block = max(max(HORIZONS), int(n**0.5))
    starts = np.random.default_rng(0).integers(n, size=(draws, -(-n // block), 1))
    return ((starts + np.arange(block)) % n).reshape(draws, -1)[:, :n]


def ratio_interval(errors, h):
    """Root-mean-square error of the network over that of the linear model, and its 95% interval."""
    net, linear = errors["network"][h].mean(axis=0), errors["linear"][h][0]
    i = resampled(len(linear))
    low, high = np.percentile(np.sqrt(net[i].mean(axis=1) / linear[i].mean(axis=1)), [2.5, 97.5])
    return np.sqrt(net.mean() / linear.mean()), low, high


def rms_text(squares):
    mean_over_runs = squares.mean(axis=0)
    low, high = np.percentile(np.sqrt(mean_over_runs[resampled(len(mean_over_runs))].mean(axis=1)), [2.5, 97.5])
    return f"{np.sqrt(mean_over_runs.mean()):.3g} [{low:.3g}, {high:.3g}]"


rows = []
for name, result in results.items():
    for h in HORIZONS:
        ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(result["errors"], h))
        rows.append([name, result["p"], h, *(rms_text(e[h]) for e in result["errors"].values()), ratio])
demo.table(
    f"Root-mean-square error on the future [95% interval]; network: mean of {len(SEEDS)} seeds",
    ["series", "p", "ahead", *results[name]["errors"], "network / linear"],
    rows,
)


def short(name):
    return name.split(",")[0] + (", size" if "size" in name else "")


better, worse = [], []
for name, result in results.items():
    for h in HORIZONS:
        ratio, low, high = ratio_interval(result["errors"], h)
        if abs(ratio - 1) >= 0.01:
            (better if high < 1 else worse if low > 1 else []).append(f"{short(name)} {h} ahead")
demo.say(
    "Does the non-linear model help? By at least 1%, with 1 outside the interval: "
    f"better than linear: {'; '.join(better) or 'nowhere'}; worse: {'; '.join(worse) or 'nowhere'}. Of {len(rows)} "
    f"intervals at 95% about {0.05 * len(rows):.0f} miss by chance. The past of the lynx is "
    f"{results['Lynx, yearly, log10']['split']} numbers, the network has "
    f"{results['Lynx, yearly, log10']['nets'][0].theta.size} parameters."
)


def gain(name, method):
    """By how much a method lowers the error of the mean, one step ahead."""
    errors = results[name]["errors"]
    return f"{100 * (1 - np.sqrt(errors[method][1].mean() / errors['seasonal mean'][1].mean())):.1f}%"


stocks = [name for name in SERIES if "return" in name]
demo.say(
    "Stocks. Against the mean of the past, one day ahead, linear model and network lower the error by: "
    + "; ".join(f"{short(name)} {gain(name, 'linear')} and {gain(name, 'network')}" for name in stocks)
    + " (negative: worse than knowing nothing but the mean)."
)

# %%
fig, axes = plt.subplots(2, 4, figsize=(13, 5.8), sharex=True)
for ax, (name, result) in zip(axes.flat, results.items(), strict=True):
    for (method, errors), style in zip(result["errors"].items(), ("k:", "k--", "C0-", "C3-"), strict=True):
        ax.plot(list(errors), [np.sqrt(e.mean()) for e in errors.values()], style, label=method)
    ax.set_title(name, fontsize=10)
    ax.set_ylim(bottom=0)
for ax in axes[1]:
    ax.set_xlabel("steps ahead")
for ax in axes[:, 0]:
    ax.set_ylabel("root-mean-square error")
axes[0, 0].set_xticks(HORIZONS)
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
demo.figure(fig, "errors", "Error on the future against the horizon. What is predictable, and how far ahead?")


# %% [markdown]
# ## Forecast fans
#
# For the linear model theory gives the variance at each horizon. The network has no such formula; but it can
# *generate*: continue the series many times, each time adding errors drawn from those it made in the past.


# %%
def linear_fan(result, origin, steps):
    middle = forecast(result["linear"], result["y"][None, origin - result["p"] : origin], steps)[0]
    spread = 1.96 * np.sqrt(result["linear"].forecast_variance(steps))
    return middle, middle - spread, middle + spread


def network_fan(result, origin, steps, paths=2000):
    y, p, net = result["y"].astype(np.float32), result["p"], result["nets"][0]
    input, target = next_value(p)(windows(y[: result["split"]], p + 1), None)
    residuals = (target - net(input))[:, 0]
    past = np.repeat(y[None, origin - p : origin], paths, axis=0)
    futures = forecast(net, past, steps, shocks=np.random.default_rng(0).choice(residuals, size=(paths, steps)))
    return forecast(net, past[:1], steps)[0], *np.percentile(futures, [2.5, 97.5], axis=0)


steps = 25
fig, axes = plt.subplots(2, 2, figsize=(11, 5.6), sharex="row", sharey="row")
for row, (name, first_year, unit) in zip(
    axes,
    [("Sunspots, yearly, root", 1700, "root of sunspots"), ("Lynx, yearly, log10", 1821, "log10 of lynx trapped")],
    strict=True,
):
    result, x = results[name], SERIES[name][0]
    origin, mean = result["split"], x[0] - result["scale"] * result["y"][0]  # no season here: a constant
    shown, future = np.arange(origin - 40, origin + steps), np.arange(origin, origin + steps)
    for ax, title, fan, color in zip(row, ("linear", "network"), (linear_fan, network_fan), ("C0", "C3"), strict=True):
        middle, low, high = (mean + result["scale"] * v for v in fan(result, origin, steps))
        ax.fill_between(first_year + future, low, high, color=color, alpha=0.25, label="95% of futures")
        ax.plot(first_year + future, middle, color, label="forecast")
        ax.plot(first_year + shown, x[shown], "k.-", lw=0.8, ms=4, label="truth")
        ax.axvline(first_year + origin - 0.5, color="grey", lw=0.8)
        inside = ((x[future] >= low) & (x[future] <= high)).mean()
        ax.set_title(f"{short(name)}, {title}: {100 * inside:.0f}% of the truth inside", fontsize=10)
    row[0].set_ylabel(unit)
for ax in axes[1]:
    ax.set_xlabel("year")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
demo.figure(
    fig, "fans", f"Forecasts up to {steps} years from the end of the past (grey line). Blue by theory, red generated."
)


# %% [markdown]
# ## What the hidden units respond to
#
# A unit sees the last p values through its weights: a filter in time. Where the cycle stands is told by two numbers,
# the level and the rise; plotted over these two, the activation shows which part of the cycle a unit stands for.

# %%
result = results["Sunspots, yearly, root"]
net, p, y = result["nets"][0], result["p"], result["y"].astype(np.float32)
past = windows(y, p)
H = net.features(past)
effect = H.std(axis=0) * abs(net.weights[1][:, 0])
units = np.argsort(-effect)[:5]
fig, axes = plt.subplots(2, len(units), figsize=(13, 5), sharey="row")
for (top, bottom), unit in zip(axes.T, units, strict=True):
    sign = np.sign(net.weights[1][unit, 0])
    top.bar(np.arange(p, 0, -1), sign * net.weights[0][:, unit], color="C3")
    top.axhline(0, color="k", lw=0.8)
    top.set_xlabel("years ago")
    top.invert_xaxis()
    top.set_title(f"unit {unit}", fontsize=10)
    rise = past[:, -1] - past[:, -3]
    dots = bottom.scatter(past[:, -1], rise, c=sign * H[:, unit], s=9, cmap="RdBu_r", vmin=-1, vmax=1)
    bottom.set_xlabel("level last year")
axes[0, 0].set_ylabel("weight")
axes[1, 0].set_ylabel("rise over two years")
fig.colorbar(dots, ax=axes, label="activation")
demo.figure(
    fig,
    "units",
    "Sunspots: the five hidden units with the greatest effect. Above: filters in time. Below: activation over the "
    "phase of the cycle (signs chosen so that red raises the forecast).",
)


def explained_by_phase(net):
    """Share of the hidden units' variance that is linear in level and rise, weighted by their effect."""
    H = net.features(past)
    phase = np.column_stack([np.ones(len(past)), past[:, -1], past[:, -1] - past[:, -3]])
    share = 1 - (H - phase @ np.linalg.lstsq(phase, H)[0]).var(axis=0) / H.var(axis=0)
    return np.average(share, weights=H.std(axis=0) * abs(net.weights[1][:, 0]))


trained = [explained_by_phase(net) for net in result["nets"]]
untrained = [explained_by_phase(ssl.MLP(net.sizes, activation="tanh", rng=seed)) for seed in SEEDS]
apart = abs(np.mean(trained) - np.mean(untrained)) > interval(trained)[1] + interval(untrained)[1]
demo.say(
    f"Level and rise of the cycle explain a share of {pm(trained, 2)} of the variance of the hidden units (weighted by "
    f"effect), and {pm(untrained, 2)} before training: "
    + ("training made the difference." if apart else "any filter of a cycle sees its phase, so this is no achievement.")
)

# %% [markdown]
# ## Exact, and without the lagged matrix
#
# Least squares from C_ij, whose rows follow from the first by two products at the ends, beside least squares on the
# lagged matrix. And a nearly periodic series, where Yule-Walker's step to zero at both ends costs it its accuracy.


# %%
def measured(f):
    began = time.perf_counter()
    value = f()
    seconds = time.perf_counter() - began
    tracemalloc.start()
    f()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return value, seconds, peak


def lagged(x, p):
    return np.column_stack([np.ones(len(x) - p), *(x[p - i : len(x) - i] for i in range(1, p + 1))])


x = lfilter([1], [1, -0.9, 0.5, -0.2], np.random.default_rng(0).standard_normal(10**5 if demo.quick else 10**6))
ours, our_seconds, our_peak = measured(lambda: least_squares(x, 24))
theirs, their_seconds, their_peak = measured(lambda: np.linalg.lstsq(lagged(x, 24), x[24:])[0])
demo.table(
    f"Order 24 on {len(x):,} samples ({x.nbytes / 1e6:.0f} MB)",
    ["", "seconds", "extra memory, MB"],
    [["from C_ij", our_seconds, our_peak / 1e6], ["lagged matrix", their_seconds, their_peak / 1e6]],
    f"{their_seconds / our_seconds:.0f} times as fast; largest difference of a coefficient "
    f"{abs(np.r_[ours.intercept, ours.a] - theirs).max():.1e}",
)

t = np.arange(5000)
x = np.sin(0.1 * t) + np.sin(0.23 * t + 1) + np.sin(0.57 * t + 2)
x += 1e-6 * np.random.default_rng(1).standard_normal(len(t))
p = 12
X = lagged(x, p)
fits = {"least squares from C_ij": least_squares(x, p), "Yule-Walker": yule_walker(x, p)}
coefficients = {name: np.r_[fit.intercept, fit.a] for name, fit in fits.items()}
coefficients["least squares, lagged matrix"] = np.linalg.lstsq(X, x[p:])[0]
residual = {name: np.sqrt(((x[p:] - X @ b) ** 2).mean()) for name, b in coefficients.items()}
demo.table("Three sinusoids and noise of 1e-6: what is left over", ["", "residual"], list(residual.items()))
demo.say(
    f"Yule-Walker leaves {residual['Yule-Walker'] / residual['least squares from C_ij']:,.0f} times as much. It "
    "continues the series with zeros, a step that no predictor of these sinusoids foresees; it is least squares on that longer "
    "series, and gives up accuracy everywhere to lessen the error at the step."
)
demo.finish()
