# %% [markdown]
# # Prediction of the future: time series
#
# The past of a series is the input, its next value the target: no label is needed, only time. The same windows go to a
# linear model, whose optimum is one small system of equations, and to a network. Everything is fitted and chosen on the
# past and judged on the future; nothing is shuffled across that line.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, plt
from scipy.signal import lfilter
from scipy.special import stdtrit

import minissl
from minissl.linear.autoregression import least_squares
from minissl.tasks.prediction import forecast, next_value, windows

demo = Demo(
    "time_series",
    "Prediction of the future: time series",
    "Predict x(t) from x(t−1), x(t−2), …: weather, stock market, ecology. Useful for forecasts, for generating new "
    "data, and for what the hidden layer learns.",
    "J = (1/N) Σₜ ‖xₜ − f(xₜ₋ₚ, …, xₜ₋₁)‖²;    linear f: xₜ = a₀ + a₁ xₜ₋₁ + … + aₚ xₜ₋ₚ + eₜ",
    limits="Each series has one future. The intervals say what another stretch of the *same* process would do to the "
    "numbers, as far as the one seen can tell; not what a change of climate or market would do, nor how the methods "
    "rank on other series. What they cover was measured on simulated series with independent shocks; the volatility "
    "of stocks, which comes in bouts, makes them less certain there. The networks are small, see one series each and "
    "no other variable. What their hidden layers learn, the lecture's third use, is not measured.",
)
SEEDS = range(2 if demo.quick else 5)
HORIZONS = (1, 3, 12)
MAX_ORDER = 12
HIDDEN = 16


# %% [markdown]
# ## The series
#
# Six series, listed in the code below with the period of a season known beforehand, if any, and the share that is the
# past; source and licence stand at the head of each file. Counts of lynx are taken as logarithms and sunspots as square
# roots, as is usual, prices as logarithmic returns. The last series is the *size* of the daily returns of IBM, whatever
# their sign.


# %%
returns = 100 * np.diff(np.log(data.series("stocks", "IBM")))
SERIES = {  # name: (values, season, share of the series that is the past)
    "Seattle, daily maximum, °C": (data.series("seattle", "temp_max"), 365.25, 0.75),
    "El Niño 1+2, monthly, °C": (data.series("elnino", "temperature"), 12, 0.75),
    "Sunspots, yearly, √": (np.sqrt(data.series("sunspots", "sunspots")), None, 0.7),
    "Lynx, yearly, log₁₀": (np.log10(data.series("lynx", "lynx")), None, 0.7),
    "IBM, daily return, %": (returns, None, 0.75),
    "IBM, size of return, %": (abs(returns), None, 0.75),
}


def short(name):
    return name.split(",")[0] + (", size" if "size" in name else "")


# %% [markdown]
# ## Ways to predict
#
# *Persistence*: the future is as the last value. *Mean*: the average of the past, with two harmonics of the season
# where there is one. *Linear*: least squares, its order chosen by Akaike's criterion on the past. *Network*: one hidden
# layer of tanh units on the same windows. The linear model and the network work on what the mean leaves over.


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


# %% [markdown]
# A network with more parameters than the past has values learns the past by heart. The remedy is chosen on the past
# alone: *weight decay* adds λ times the sum of the squared weights to J, λ by cross-validation in four blocks of time,
# without the windows that share values with the block left out. J is minimised by L-BFGS.


# %%
def with_decay(cut, p, seed, strength):
    """The network that minimises J + λ Σ (weights)²."""
    net = minissl.MLP((p, HIDDEN, 1), activation="tanh", rng=seed, dtype="float64")
    J, penalised = minissl.objective(net, next_value(p)(cut, None), minissl.squared_error), np.zeros_like(net.theta)
    for W in net.views(penalised)[0]:
        W[:] = 1  # weights, not biases

    def decayed(theta):
        value, gradient = J(theta)
        w = penalised * theta
        return value + strength * w @ w, gradient + 2 * strength * w

    found = minissl.lbfgs(decayed, net.theta, iterations=200, tolerance=1e-3, warn=False)  # near enough to compare
    return net.at(found.theta)


STRENGTHS = (0.01, 0.1) if demo.quick else (0.001, 0.003, 0.01, 0.03, 0.1)


def cross_validated(cut, p):
    """The λ of least error on blocks of time that were left out, and those errors."""
    blocks, times, left_over = np.array_split(np.arange(len(cut)), 4), np.arange(len(cut)), {}
    for strength in STRENGTHS:
        parts = []
        for block in blocks:
            net = with_decay(cut[(times < block[0] - p) | (times > block[-1] + p)], p, SEEDS[0], strength)
            input, target = next_value(p)(cut[block], None)
            parts.append(target - net(input))
        left_over[strength] = np.concatenate(parts)
    best = min(STRENGTHS, key=lambda strength: (left_over[strength] ** 2).mean())
    return best, left_over[best]


# %% [markdown]
# Further ahead, forecasts are fed back. For the linear model that gives the conditional mean, for a curved f it does
# not [prediction.4]. So the network's forecast is the mean of simulated futures with shocks [prediction.5]. The shocks
# are the errors made on the parts of the past that were left out, less their mean; at each step every one of 50 equally
# spaced quantiles comes once, in random order, so that their linear effect averages to zero exactly.


# %%
FUTURES = 50


def mean_of_futures(net, past, errors):
    """The conditional mean 1 … 12 steps ahead, for each row of `past`."""
    even = np.quantile(errors, (np.arange(FUTURES) + 0.5) / FUTURES)
    even = np.tile(even - even.mean(), (max(HORIZONS), 1))
    shocks = np.random.default_rng(0).permuted(even, axis=1).T
    futures = forecast(net, np.repeat(past, FUTURES, axis=0), max(HORIZONS), np.tile(shocks, (len(past), 1)))
    return futures.reshape(len(past), FUTURES, -1).mean(axis=1)


def compare(name):
    """Squared errors {method: (horizons, times)} on the future, and the models."""
    x, season, share = SERIES[name]
    split = int(share * len(x))
    mean = seasonal_mean(x, season, split)
    scale = (x - mean)[:split].std()
    y = (x - mean) / scale
    p = best_order(y[:split])
    cut = windows(y[:split], p + 1)
    linear = least_squares(y[:split], p)
    strength, errors = cross_validated(cut, p)
    nets = [with_decay(cut, p, seed, strength) for seed in SEEDS]
    free = [with_decay(cut, p, seed, 0) for seed in SEEDS]

    t, first = np.arange(split, len(x)), split - max(HORIZONS) - p + 1
    past = windows(y, p)[first:]  # row s knows the values up to y at first + s + p - 1

    def squares(predict):
        return np.array([(x[t] - predict(h)) ** 2 for h in range(1, max(HORIZONS) + 1)])

    def judged(ahead):
        return squares(lambda h: mean[t] + scale * ahead[t - h + 1 - p - first, h - 1])

    def fed_back(nets):
        return np.mean([judged(forecast(net, past, max(HORIZONS))) for net in nets], axis=0)

    found = {
        "persistence": squares(lambda h: x[t - h]),
        "mean": squares(lambda h: mean[t]),
        "linear": fed_back([linear]),
        "no decay": fed_back(free),  # used one step ahead only
        "weight decay": np.mean([judged(mean_of_futures(net, past, errors)) for net in nets], axis=0),
        "fed back": fed_back(nets),
    }
    return {"errors": found, "linear": linear, "p": p, "y": y, "split": split, "scale": scale, "n": len(t)}


results = {name: compare(name) for name in SERIES}


# %% [markdown]
# ## Intervals for one future
#
# Neighbouring errors depend on each other, so n of them count for less than n. The uncertainty of a mean of n dependent
# values dₜ can be read off their slowest waves
#
#     Xⱼ = √(2/n) Σₜ dₜ cos(πj(t + ½)/n),    j = 1 … 4
#
# which, if the dependence is short beside n, are nearly independent and have the variance of √n times the mean: a t
# interval with four degrees of freedom (Müller 2007; Lazarus, Lewis, Stock & Watson 2018). For the ratio of two methods
# d is the difference of their squared errors, each divided by its mean. Whether such intervals cover is measured, not
# believed: on series simulated from the linear model with shocks drawn from its own residuals, as long as the real one,
# with the model itself and a fit of it to the simulated past as the two methods. Their true ratio is known.

# %%
WAVES = 4


def uncertainty(d):
    """Half-width of the 95% interval of the mean of dependent values."""
    n, j = len(d), np.arange(1, WAVES + 1)[:, None]
    X = np.sqrt(2 / n) * np.cos(np.pi * j * (np.arange(n) + 0.5) / n) @ d
    return stdtrit(WAVES, 0.975) * np.sqrt((X**2).mean() / n)


def log_ratio(squares, reference):
    """ln of the ratio of the root mean squares, and the half-width of its 95% interval."""
    ratio = squares.mean() / reference.mean()
    return np.log(ratio) / 2, uncertainty(squares / squares.mean() - reference / reference.mean()) / 2


def against(squares, reference):
    """The ratio of root mean squares and its interval."""
    middle, half = log_ratio(squares, reference)
    return np.exp(middle), np.exp(middle - half), np.exp(middle + half)


def cell(squares, reference):
    return "{:.2f} [{:.2f}, {:.2f}]".format(*against(squares, reference))


def weights_ahead(a, h):
    """The weights of the linear forecast h steps ahead, oldest value first."""
    companion = np.eye(len(a), k=-1)
    companion[0] = a
    return np.linalg.matrix_power(companion, h)[0, ::-1]


def coverage(result, repetitions=20 if demo.quick else 300):
    """How often the interval of a ratio holds the true one, for each horizon."""
    model, p, n, split = result["linear"], result["p"], result["n"], result["split"]
    input, target = next_value(p)(windows(result["y"][:split], p + 1), None)
    residuals = (target - model(input))[:, 0]
    rng = np.random.default_rng(0)

    def simulated(length):
        return lfilter([1], np.r_[1, -model.a], rng.choice(residuals - residuals.mean(), length + 500))[500:]

    covariance = np.cov(windows(simulated(50_000), p).T)
    hits = np.zeros(len(HORIZONS))
    for _ in range(repetitions):
        x = simulated(split + n + max(HORIZONS))
        fitted = least_squares(x[:split], p)
        past = windows(x, p)[split - p : split - p + n]
        for i, h in enumerate(HORIZONS):
            target = x[split + h - 1 : split + h - 1 + n]
            w, v = weights_ahead(model.a, h), weights_ahead(fitted.a, h)
            excess = (v - w) @ covariance @ (v - w) / model.forecast_variance(h)[-1]
            middle, half = log_ratio((target - past @ v) ** 2, (target - past @ w) ** 2)
            hits[i] += abs(middle - np.log1p(excess) / 2) < half
    return hits / repetitions


covered = {name: coverage(result) for name, result in results.items()}


# %% [markdown]
# ## Who predicts what
#
# Root-mean-square errors on the future; of networks the mean over seeds of the squared errors. Where a ratio is below 1
# the network is better than the linear model; in brackets its 95% interval.

# %%
rows, better, worse, unsure = [], [], [], []
for name, result in results.items():
    for i, h in enumerate(HORIZONS):
        squares = {method: e[h - 1] for method, e in result["errors"].items()}
        shown = [f"{np.sqrt(squares[k].mean()):.3g}" for k in ("persistence", "mean", "linear", "weight decay")]
        compared = cell(squares["weight decay"], squares["linear"])
        rows.append([short(name), h, *shown, compared, f"{100 * covered[name][i]:.0f}%"])
        ratio, low, high = against(squares["weight decay"], squares["linear"])
        if covered[name][i] < 0.9:
            unsure.append(f"{short(name)} {h} ahead")
        elif abs(ratio - 1) >= 0.01:
            (better if high < 1 else worse if low > 1 else []).append(f"{short(name)} {h} ahead")

one_ahead = {name: {method: e[0] for method, e in results[name]["errors"].items()} for name in SERIES}
METHODS = {"weight decay": "network / linear", "no decay": "without weight decay / linear"}
demo.table(
    "Error one step ahead",
    ["series", "mean of the past", "linear", *METHODS.values()],
    [
        [
            name,
            *(f"{np.sqrt(squares[k].mean()):.3g}" for k in ("mean", "linear")),
            *(cell(squares[k], squares["linear"]) for k in METHODS),
        ]
        for name, squares in one_ahead.items()
    ],
    "The network has a weight decay, chosen on the past, but for the last column.",
)
demo.table(
    "Error 1, 3 and 12 steps ahead",
    ["series", "ahead", "persistence", "mean", "linear", "network", "network / linear", "covers"],
    rows,
    "Covers: how often such an interval held the true ratio of two linear models, nominally 95%.",
)
chance = 0.05 * (len(rows) - len(unsure))
demo.say(
    "Does the non-linear model help? Counted where the ratio is at least 1% from 1, and 1 is outside the interval. "
    f"Better than the linear model: {'; '.join(better) or 'nowhere'}. Worse: {'; '.join(worse) or 'nowhere'}. "
    f"About {chance:.0f} of {len(rows) - len(unsure)} such intervals miss by chance. No verdict where the intervals "
    f"cover less than 90%: {'; '.join(unsure) or 'nowhere'}."
)
changes = {
    (name, h): np.sqrt(r["errors"]["fed back"][h - 1].mean() / r["errors"]["weight decay"][h - 1].mean())
    for name, r in results.items()
    for h in HORIZONS[1:]
}
(name, h), change = max(changes.items(), key=lambda item: abs(np.log(item[1])))
demo.say(
    "Does the way of iterating matter? Feeding the network's forecasts back, in place of averaging simulated futures, "
    f"multiplies the error 3 and 12 steps ahead by {min(changes.values()):.3f} to {max(changes.values()):.3f}; the "
    f"largest change is that of {short(name)}, {h} ahead. For the linear model the two are the same."
)
returned = one_ahead["IBM, daily return, %"]
demo.say(
    "Can IBM's return of the next day be predicted? In units of the error of the mean of the past, the error of the "
    f"linear model is {cell(returned['linear'], returned['mean'])}, that of the network "
    f"{cell(returned['weight decay'], returned['mean'])}."
)


# %% [markdown]
# ## What a network needs where data are few
#
# The ratios of the first table again, in the order of the number of values that there are to learn from.

# %%
by_length = sorted(SERIES, key=lambda name: results[name]["split"])
ratios = {k: np.array([against(one_ahead[n][k], one_ahead[n]["linear"]) for n in by_length]) for k in METHODS}
fig, ax = plt.subplots(figsize=(9, 3.6))
for k, (method, points) in enumerate(ratios.items()):
    reach = np.abs(points[:, 1:] - points[:, :1]).T
    places = np.arange(len(by_length)) + 0.2 * k - 0.1
    ax.errorbar(points[:, 0], places, xerr=reach, fmt="Do"[k], color=f"C{k}", ms=5, label=method)
ax.axvline(1, color="black", lw=0.8, ls="-")
ax.set(xscale="log", xlabel="error of the network / error of the linear model, one step ahead")
ax.set_xticks([0.8, 1, 1.25, 1.5, 2, 3], ["0.8", "1", "1.25", "1.5", "2", "3"])
ax.minorticks_off()
ax.set_yticks(range(len(by_length)), [f"{short(name)} ({results[name]['split']:,})" for name in by_length])
ax.invert_yaxis()
ax.legend(loc="lower right")
demo.figure(
    fig,
    "networks",
    "The network against the linear model, with 95% intervals; in brackets the number of values to learn from. Left of "
    "the line the network is better.",
    alt="Dots with intervals for six series, the shortest first. "
    + " ".join(f"{method}: {', '.join(f'{r:.2f}' for r in points[:, 0])}." for method, points in ratios.items()),
    main=True,
)

# %%
fig, axes = plt.subplots(2, 3, figsize=(9, 4.8), sharex=True, sharey=True)
styles = {"persistence": ":", "linear": "-", "weight decay": "--"}
relative = {}
for ax, name in zip(axes.flat, SERIES, strict=True):
    errors = results[name]["errors"]
    for (method, style), color in zip(styles.items(), ("black", "C0", "C1"), strict=True):
        curve = relative[method, name] = np.sqrt(errors[method].mean(axis=1) / errors["mean"].mean(axis=1))
        label = "network" if method == "weight decay" else method
        ax.plot(np.arange(1, len(curve) + 1), curve, style, color=color, label=label)
    ax.axhline(1, color="0.6", lw=0.8, ls="-", zorder=0)
    ax.set_title(short(name), fontsize=10)
axes[0, 0].set(ylim=(0, None), xticks=HORIZONS)
fig.supxlabel("steps ahead", fontsize=10)
fig.supylabel("error / error of the mean", fontsize=10)
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
demo.figure(
    fig,
    "errors",
    "What is predictable, and how far ahead? Error on the future against the horizon; 1 (grey) is the error of the "
    "mean of the past, with its season. The network has a weight decay.",
    alt="Six panels of error against steps ahead, relative to the mean. The linear model has, 1 and 12 steps ahead, "
    + ", ".join("{} {:.2f} and {:.2f}".format(short(n), *relative["linear", n][[0, -1]]) for n in SERIES)
    + "; the largest error of persistence is "
    + ", ".join(f"{short(n)} {relative['persistence', n].max():.2f}" for n in SERIES)
    + ".",
)


# %% [markdown]
# ## Forecast fans
#
# What is uncertain about the future is the shocks to come, and the model itself. A fan that takes the coefficients as
# known leaves the second out. So each simulated future of the linear model draws its coefficients from the estimate's
# own distribution, N(b̂, Cov b̂) [autoregression.4].

# %%
PATHS = 200 if demo.quick else 2000


def futures(result, past, steps, known):
    """Simulated futures after each row of `past`, shape (rows, PATHS, steps)."""
    model, rng = result["linear"], np.random.default_rng(0)
    b = np.r_[model.intercept, model.a[::-1]]
    C = np.zeros_like(model.covariance) if known else model.covariance[np.ix_(*[np.r_[0, len(model.a) : 0 : -1]] * 2)]
    drawn = np.tile(rng.multivariate_normal(b, C, size=PATHS), (len(past), 1))
    shocks = np.sqrt(model.variance) * rng.standard_normal((len(drawn), steps))

    def each_by_its_own(x):
        return drawn[:, :1] + (drawn[:, 1:] * x).sum(axis=1, keepdims=True)

    return forecast(each_by_its_own, np.repeat(past, PATHS, axis=0), steps, shocks).reshape(len(past), PATHS, steps)


shown = {"Sunspots, yearly, √": (1700, "√(sunspots)"), "Lynx, yearly, log₁₀": (1821, "log₁₀(lynx trapped)")}
# %% [markdown]
# Whether 95% of the future lies inside can be counted over all years from which to look ahead, though these overlap.


# %%
def inside(result, h):
    """Share of the values h steps ahead inside the 95% fan, with the model known and uncertain; ratio of the widths."""
    y, p, split = result["y"], result["p"], result["split"]
    target = y[split + h - 1 :]
    past = windows(y, p)[split - p : split - p + len(target)]
    shares, widths = [], []
    for known in (True, False):
        low, high = np.percentile(futures(result, past, h, known)[:, :, -1], [2.5, 97.5], axis=1)
        shares.append(((target >= low) & (target <= high)).mean())
        widths.append((high - low).mean())
    return *shares, widths[1] / widths[0]


rows, wider = [], {}
for name in shown:
    near, far = (inside(results[name], h) for h in HORIZONS[1:])
    wider[name] = far[2]
    rows.append([short(name), *(f"{100 * v:.0f}%" for v in (near[0], near[1], far[0], far[1]))])
demo.table(
    "Share of the future inside the linear model's 95% fan",
    ["series", "3 ahead, known", "3 ahead, uncertain", "12 ahead, known", "12 ahead, uncertain"],
    rows,
    "Known: coefficients taken as known. Each series has one future: "
    + ", ".join(
        f"{short(name)} {results[name]['n']} years, {results[name]['n'] // 12} separate spans of 12" for name in shown
    )
    + ". So few spans cannot tell 85% from 95%, nor which of the two fans is right.",
)
demo.say(
    "Twelve years ahead the uncertainty of the model widens the fan by a factor of "
    + "; ".join(f"{w:.2f} ({short(name)})" for name, w in wider.items())
    + "."
)

# %%
steps = 25
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, (name, (first_year, unit)) in zip(axes, shown.items(), strict=True):
    result, x = results[name], SERIES[name][0]
    origin, mean = result["split"], x[0] - result["scale"] * result["y"][0]  # no season here: a constant
    around, years = np.arange(origin - 40, origin + steps), first_year + np.arange(origin, origin + steps)
    past = result["y"][None, origin - result["p"] : origin]
    uncertain, known = (mean + result["scale"] * futures(result, past, steps, k)[0] for k in (False, True))
    ax.fill_between(years, *np.percentile(uncertain, [2.5, 97.5], axis=0), alpha=0.25, lw=0)
    for edge in np.percentile(known, [2.5, 97.5], axis=0):
        ax.plot(years, edge, color="C0", ls=":", lw=1)
    ax.plot(years, uncertain.mean(axis=0), color="C0", ls="-")
    ax.plot(first_year + around, x[around], "k.-", lw=0.8, ms=3)
    ax.axvline(first_year + origin - 0.5, color="grey", lw=0.8, ls="-")
    ax.set(title=short(name), ylabel=unit)
fig.supxlabel("year", fontsize=10)
demo.figure(
    fig,
    "fans",
    f"Forecasts of {steps} years by the linear model, from the end of the past (grey line): mean of the simulated "
    "futures, and 95% of them (shaded). Dotted: the fan of a model taken as known. Line with dots: the series itself. "
    "(A linear model does not know that a root is not negative.)",
    alt="Two panels, sunspots and lynx. Each forecast continues the cycle and the fan follows it; most of what "
    "came lies inside.",
)


# %%
ahead = (ratios["weight decay"][:, 2] < 1).sum()
demo.lesson(
    f"One step ahead a network beats the linear model, beyond its interval, on {ahead or 'none'} of {len(SERIES)} "
    f"series; from {results[by_length[0]]['split']} values and without weight decay its error is "
    f"{ratios['no decay'][0, 0]:.1f} times as large.",
    f"better on {ahead} of {len(SERIES)} series",
)
demo.finish()
