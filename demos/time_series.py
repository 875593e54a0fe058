# %% [markdown]
# # Prediction of the future: time series
#
# The past of a series is the input, its next value the target: no label is needed, only time. The same windows go to a
# linear model, whose optimum is one small system of equations, and to a network. Everything is fitted on the past and
# judged on the future; nothing is shuffled across that line.

# %%
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress

import minissl
from minissl.linear.autoregression import least_squares
from minissl.tasks.prediction import forecast, next_value, windows

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
def returns(name):
    return 100 * np.diff(np.log(data.series("stocks", name)))


SERIES = {  # name: (values, season, share of the series that is the past)
    "Seattle, daily maximum, °C": (data.series("seattle", "temp_max"), 365.25, 0.75),
    "El Niño 1+2, monthly, °C": (data.series("elnino", "temperature"), 12, 0.75),
    "Sunspots, yearly, root": (np.sqrt(data.series("sunspots", "sunspots")), None, 0.7),
    "Lynx, yearly, log10": (np.log10(data.series("lynx", "lynx")), None, 0.7),
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
    X = np.column_stack([np.ones(len(x)), *map(np.sin, waves), *map(np.cos, waves)])
    return X @ np.linalg.lstsq(X[:split], x[:split])[0]


def best_order(x):
    """Akaike's criterion M ln (sum of squares / M) + 2p, on the same M targets for every order."""
    M, orders = len(x) - MAX_ORDER, np.arange(1, MAX_ORDER + 1)
    variances = np.array([least_squares(x[MAX_ORDER - p :], p).variance for p in orders])
    return int(orders[np.argmin(M * np.log(variances * (M - orders - 1) / M) + 2 * orders)])


def network(x, p, seed, label):
    """A network for windows of order p, trained on all of x for as many epochs as did best on its last fifth."""
    x = x.astype(np.float32)
    cut = windows(x, p + 1)
    early, late = cut[: len(cut) * 4 // 5 - p], cut[len(cut) * 4 // 5 :]
    epochs = -(-STEPS * 32 // len(cut))

    def losses(net, data):
        return minissl.train_epochs(net, data, next_value(p), minissl.squared_error, epochs=epochs, batch_size=32, rng=seed)

    net = minissl.MLP((p, 16, 1), activation="tanh", rng=seed)
    late_input, late_target = next_value(p)(late, None)
    error = []
    for _ in progress(losses(net, early), epochs, label):
        error.append(float(minissl.squared_error(net(late_input), late_target)[0]))
    net = minissl.MLP((p, 16, 1), activation="tanh", rng=seed)
    for epoch, _ in enumerate(losses(net, cut)):
        if epoch >= np.argmin(error):
            break
    return net


def compare(name):
    """Squared errors {method: (horizons, times)} on the future, and the models."""
    x, season, share = SERIES[name]
    split = int(share * len(x))
    mean = seasonal_mean(x, season, split)
    scale = (x - mean)[:split].std()
    y = (x - mean) / scale
    p = best_order(y[:split])
    linear, nets = least_squares(y[:split], p), [network(y[:split], p, seed, name) for seed in SEEDS]
    t = np.arange(split, len(x))

    def squares(predict):
        return np.array([(x[t] - predict(h)) ** 2 for h in range(1, max(HORIZONS) + 1)])

    def fed_back(model, dtype):
        ahead = forecast(model, windows(y.astype(dtype), p), max(HORIZONS))  # row s knows y_s, ..., y_{s+p-1}
        return squares(lambda h: mean[t] + scale * ahead[t - h + 1 - p, h - 1])

    errors = {
        "persistence": squares(lambda h: x[t - h]),
        "seasonal mean": squares(lambda h: mean[t]),
        "linear": fed_back(linear, np.float64),
        "network": np.mean([fed_back(net, np.float32) for net in nets], axis=0),
    }
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


def root_mean(squares, reference=None):
    """Root of the mean, or of a ratio of means, and its 95% interval."""
    reference = np.ones_like(squares) if reference is None else reference
    i = resampled(len(squares))
    low, high = np.percentile(np.sqrt(squares[i].mean(axis=1) / reference[i].mean(axis=1)), [2.5, 97.5])
    return np.sqrt(squares.mean() / reference.mean()), low, high


def short(name):
    return name.split(",")[0] + (", size" if "size" in name else "")


rows, better, worse = [], [], []
for name, result in results.items():
    for h in HORIZONS:
        squares = {method: e[h - 1] for method, e in result["errors"].items()}
        ratio, low, high = root_mean(squares["network"], squares["linear"])
        cells = ["{:.3g} [{:.3g}, {:.3g}]".format(*root_mean(e)) for e in squares.values()]
        rows.append([name, result["p"], h, *cells, f"{ratio:.2f} [{low:.2f}, {high:.2f}]"])
        if abs(ratio - 1) >= 0.01:
            (better if high < 1 else worse if low > 1 else []).append(f"{short(name)} {h} ahead")
demo.table(
    f"Root-mean-square error on the future [95% interval]; network: mean over {len(SEEDS)} seeds",
    ["series", "p", "ahead", *squares, "network / linear"],
    rows,
)
demo.say(
    "Does the non-linear model help? By at least 1%, with 1 outside the interval: "
    f"better than linear: {'; '.join(better) or 'nowhere'}; worse: {'; '.join(worse) or 'nowhere'}. Of {len(rows)} "
    f"intervals at 95% about {0.05 * len(rows):.0f} miss by chance. The past of the lynx is "
    f"{results['Lynx, yearly, log10']['split']} numbers, its network has "
    f"{results['Lynx, yearly, log10']['nets'][0].theta.size} parameters."
)


def gain(name, method):
    """By how much a method lowers the error of the mean, one step ahead."""
    errors = results[name]["errors"]
    return f"{100 * (1 - root_mean(errors[method][0], errors['seasonal mean'][0])[0]):.1f}%"


demo.say(
    "Stocks. Against the mean of the past, one day ahead, linear model and network lower the error by: "
    + "; ".join(f"{short(n)} {gain(n, 'linear')} and {gain(n, 'network')}" for n in SERIES if "return" in n)
    + " (negative: worse than knowing nothing but the mean)."
)

# %%
fig, axes = plt.subplots(2, 4, figsize=(13, 5.8), sharex=True)
for ax, (name, result) in zip(axes.flat, results.items(), strict=True):
    for (method, errors), style in zip(result["errors"].items(), ("k:", "k--", "C0-", "C3-"), strict=True):
        ax.plot(np.arange(1, len(errors) + 1), np.sqrt(errors.mean(axis=1)), style, label=method)
    ax.set_title(name, fontsize=10)
    ax.set_ylim(bottom=0)
fig.supxlabel("steps ahead", fontsize=10)
fig.supylabel("root-mean-square error", fontsize=10)
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
shown = {"Sunspots, yearly, root": (1700, "root of sunspots"), "Lynx, yearly, log10": (1821, "log10 of lynx trapped")}
for row, (name, (first_year, unit)) in zip(axes, shown.items(), strict=True):
    result, x = results[name], SERIES[name][0]
    origin, mean = result["split"], x[0] - result["scale"] * result["y"][0]  # no season here: a constant
    around, future = np.arange(origin - 40, origin + steps), np.arange(origin, origin + steps)
    for ax, title, fan, color in zip(row, ("linear", "network"), (linear_fan, network_fan), ("C0", "C3"), strict=True):
        middle, low, high = (mean + result["scale"] * v for v in fan(result, origin, steps))
        ax.fill_between(first_year + future, low, high, color=color, alpha=0.25, label="95% of futures")
        ax.plot(first_year + future, middle, color, label="forecast")
        ax.plot(first_year + around, x[around], "k.-", lw=0.8, ms=4, label="truth")
        ax.axvline(first_year + origin - 0.5, color="grey", lw=0.8)
        inside = ((x[future] >= low) & (x[future] <= high)).mean()
        ax.set_title(f"{short(name)}, {title}: {100 * inside:.0f}% of the truth inside", fontsize=10)
    row[0].set_ylabel(unit)
fig.supxlabel("year", fontsize=10)
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
demo.figure(fig, "fans", f"Forecasts of {steps} years from the end of the past (grey). Blue by theory, red generated.")


# %% [markdown]
# ## What the hidden units respond to
#
# A unit sees the last p values through its weights: a filter in time. Where the cycle stands is told by two numbers,
# the level and the rise; plotted over these two, the activation shows which part of the cycle a unit stands for.

# %%
result = results["Sunspots, yearly, root"]
net, p, y = result["nets"][0], result["p"], result["y"].astype(np.float32)
past = windows(y, p)
rise = past[:, -1] - past[:, -3]
H = net.features(past)
units = np.argsort(-H.std(axis=0) * abs(net.weights[1][:, 0]))[:5]  # of greatest effect
fig, axes = plt.subplots(2, len(units), figsize=(13, 5), sharey="row")
for (top, bottom), unit in zip(axes.T, units, strict=True):
    sign = np.sign(net.weights[1][unit, 0])
    top.bar(np.arange(p, 0, -1), sign * net.weights[0][:, unit], color="C3")
    top.set_xlabel("years ago")
    top.invert_xaxis()
    top.set_xticks(range(1, p + 1, 2))
    top.set_title(f"unit {unit}", fontsize=10)
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
    phase = np.column_stack([np.ones(len(past)), past[:, -1], rise])
    share = 1 - (H - phase @ np.linalg.lstsq(phase, H)[0]).var(axis=0) / H.var(axis=0)
    return np.average(share, weights=H.std(axis=0) * abs(net.weights[1][:, 0]))


trained = [explained_by_phase(net) for net in result["nets"]]
untrained = [explained_by_phase(minissl.MLP(net.sizes, activation="tanh", rng=seed)) for seed in SEEDS]
apart = abs(np.mean(trained) - np.mean(untrained)) > interval(trained)[1] + interval(untrained)[1]
demo.say(
    f"Level and rise of the cycle explain a share of {pm(trained, 2)} of the variance of the hidden units (weighted by "
    f"effect), and {pm(untrained, 2)} before training: "
    + ("training made the difference." if apart else "any filter of a cycle sees its phase, so this is no achievement.")
)
demo.finish()
