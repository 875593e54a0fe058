# %% [markdown]
# # Data against noise
#
# Given only x, make a second class: noise. A network that tells the two apart has to know what is special about the
# data. How much it knows can be said exactly: its logit tends to the logarithm of the ratio of the two densities,
# [noise.2]. First that is checked where the density is known; then the data are photographs.

# %%
import sys
from typing import NamedTuple

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles
from scipy.stats import multivariate_normal

import minissl
from minissl.goals.probe import whitening
from minissl.nn.schedules import cosine
from minissl.tasks.jigsaw import normalise
from minissl.tasks.noise import Gaussian, against_noise, fit_gaussian, isotropic_gaussian

demo = Demo(
    "noise_contrast",
    "Data against noise",
    "Train a network to tell real data from noise: a supervised problem that needs no labels, whose solution knows the "
    "density of the data.",
    "y*(x) = ln p_d(x) − ln p_n(x) − ln ν, with ν noise samples for each data point",
    limits="Six photographs are few, and the six networks share most of what they learned from: the intervals say how "
    "much photographs like these differ, not what to expect of X-ray images. The noise is Gaussian, with the "
    "covariance of the photographs learned from; what a network has to know depends on the noise. The density is "
    "checked in the plane, where a good network is easy to find; in a hundred dimensions Gaussian noise lies far from "
    "the data, and a classifier that is right nearly always says little about their density.",
)

# %% [markdown]
# ## A known density
#
# Three Gaussians in the plane, 10,000 samples, noise with the data's mean and covariance, ν = 5. The error is measured
# over the region of highest density that holds 95% of the probability: evenly over its area, and weighted by the
# density, as the data see it. Settings were chosen on other seeds than those shown.

# %%
SEEDS = range(10, 12 if demo.quick else 15)
SAMPLES, EPOCHS = (2000, 20) if demo.quick else (10_000, 30)
MEANS = np.array([[-1.5, -0.5], [1.5, -0.8], [0.3, 1.6]])
FACTORS = np.array([[[0.6, 0.25], [0, 0.5]], [[0.5, -0.2], [0, 0.7]], [[0.45, 0], [0, 0.45]]])
SHARES = np.array([0.5, 0.3, 0.2])
NU = 5

side = np.linspace(-5, 5, 161)
area = (side[1] - side[0]) ** 2
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
parts = [
    np.log(w) + multivariate_normal(m, A.T @ A).logpdf(grid) for w, m, A in zip(SHARES, MEANS, FACTORS, strict=True)
]
truth = np.logaddexp.reduce(parts)
falling = np.sort(truth)[::-1]
edge = falling[np.searchsorted(np.cumsum(np.exp(falling)) * area, 0.95)]
region = truth >= edge


def mixture(N, rng):
    k = rng.choice(3, N, p=SHARES)
    z = rng.standard_normal((N, 2))
    return (MEANS[k] + np.einsum("ni,nij->nj", z, FACTORS[k])).astype("float32")


def trained(sizes, x, noise, nu=1, activation="relu", *, epochs, batch_size, learning_rate, rng, label):
    """A network that has learned to tell x from noise, with steps that fall to zero."""
    net, optimizer = minissl.MLP(sizes, activation, rng=rng), minissl.Adam(learning_rate)
    settings = {"epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "schedule": cosine, "rng": rng}
    losses = minissl.train_epochs(net, x, against_noise(noise, nu), minissl.sigmoid_cross_entropy, **settings)
    for _ in progress(losses, epochs, label):
        pass
    return net


def judged(log_density):
    """RMS error over the region, evenly and weighted by the density, and the integral of the density."""
    squared = (log_density - truth)[region] ** 2
    weighted = np.average(squared, weights=np.exp(truth[region]))
    return np.sqrt(squared.mean()), np.sqrt(weighted), np.exp(log_density).sum() * area


results = []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    x = mixture(SAMPLES, rng)
    noise = fit_gaussian(x)
    settings = {"epochs": EPOCHS, "batch_size": 500, "learning_rate": 0.03, "label": f"density, seed {seed}"}
    net = trained((2, 32, 32, 1), x, noise, NU, "tanh", rng=rng, **settings)
    learned = net(grid)[:, 0] + noise.log_density(grid) + np.log(NU)  # [noise.2] ln p_d = y* + ln p_n + ln ν
    results.append([judged(learned), judged(noise.log_density(grid))])
results = np.array(results)

demo.table(
    f"Error of the log-density over the 95% region, in nats; {SAMPLES:,} samples, {len(SEEDS)} seeds",
    ["", "root mean square over the area", "over the data", "integral of the density"],
    [[name, *(pm(results[:, k, c]) for c in range(3))] for k, name in enumerate(("learned", "one Gaussian"))],
    "The integral is near 1 without having been asked to be: the classification alone normalises the density.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True)
levels = np.arange(-10, 0.1, 0.5)
for ax, values, title in (
    (axes[0], truth, "true log-density"),
    (axes[1], learned, "learned: logit + ln p$_n$ + ln ν"),
):
    shape = (len(side), len(side))
    filled = ax.contourf(side, side, values.reshape(shape), levels, cmap="viridis", extend="both")
    ax.contour(side, side, truth.reshape(shape), [edge], colors="white", linewidths=1, linestyles="solid")
    ax.set(title=title, xlabel="x₁", aspect="equal", xlim=(-4, 4), ylim=(-3.5, 4))
axes[0].set_ylabel("x₂")
fig.colorbar(filled, ax=axes, label="nats", shrink=0.9)
demo.figure(
    fig,
    "density",
    f"Known density, seed {SEEDS[-1]}. White line: the region that holds 95% of the data; within it the root mean "
    f"square error is {results[-1, 0, 0]:.3f} nats over the area and {results[-1, 0, 1]:.3f} over the data. Outside it "
    "data are too few to learn from.",
    alt="Two coloured maps of a density with three peaks, the true one and the learned one. Within the white line they "
    "look the same; far outside it they differ.",
)

# %% [markdown]
# ## Windows of photographs
#
# Grey windows of 10 × 10 pixels. Noise is drawn in the space of pixels, white or with the windows' own mean and
# covariance, and windows and noise then go through the same preprocessing: the mean of each window is removed; where it
# says *normalised*, its contrast is divided out too, [jigsaw.5]; then ZCA whitening (Bell & Sejnowski 1997), with a
# floor under the eigenvalues. Each of six photographs is left out once: networks see windows of the other five, each
# turned or mirrored at random, and are judged on the one left out, by the logit of a window and by its mean over the
# eight positions of the window (four turns, mirrored or not), for a window stays real when it is turned.
#
# Two rules are put beside the network. A *linear* classifier sees means alone, which are the same for both classes. The
# *rule on the length* sees a single number, the length ‖z‖ of the preprocessed window z: logistic regression on ln ‖z‖
# and its square. It knows nothing of what a window shows.


# %%
SIZE, FLOOR = 10, 0.03
WINDOWS = 1500 if demo.quick else 20_000
HELD_OUT = 1000 if demo.quick else 2000
PHOTOGRAPHS = (*data.TRAIN_PHOTOGRAPHS, *data.TEST_PHOTOGRAPHS)
LEFT_OUT = PHOTOGRAPHS[-2:] if demo.quick else PHOTOGRAPHS


class Seen(NamedTuple):
    """Noise as the network sees it: drawn in the space of pixels, then preprocessed."""

    noise: Gaussian
    preprocess: callable

    def sample(self, N, rng):
        return self.preprocess(self.noise.sample(N, rng))

    def times(self, factor):
        """Noise that many times as strong; its covariance is the same but for a factor."""
        return self._replace(noise=self.noise._replace(deviations=float(factor) * self.noise.deviations))


def positions(x):
    """The windows in their eight positions, shape (8, N, n)."""
    images = x.reshape(-1, SIZE, SIZE)
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    return np.stack([a.reshape(x.shape) for t in turned for a in (t, t[:, :, ::-1])])


def cut(names, number, rng):
    photographs = [data.grey(data.photograph(name)) for name in names]
    x = data.windows(photographs, SIZE, number, rng).reshape(number, -1)
    return positions(x)[rng.integers(8, size=number), np.arange(number)]


def without_mean(x):
    return x - x.mean(axis=1, keepdims=True)


def whitened(step, x):
    """The function that applies `step` and then ZCA whitening, which is fitted on x."""
    white = whitening(step(x), FLOOR)
    return lambda x: white(step(x))


def rule_on_length(z, noise, rng):
    """Logistic regression on ln ‖z‖ and its square; its logit as a function of z."""

    def features(z):
        length = np.log(np.linalg.norm(z, axis=1, keepdims=True).astype(np.float64))
        return np.concatenate([length, length**2], axis=1)

    input, target = against_noise(noise)(z, rng)
    net = minissl.MLP((2, 1), rng=0, dtype="float64")
    J = minissl.objective(net, (features(input), target.astype(np.float64)), minissl.sigmoid_cross_entropy)
    fitted = net.at(minissl.lbfgs(J, net.theta, tolerance=1e-6).theta)
    return lambda z: fitted(features(z))


def called_noise(logit, z):
    """Per cent of the rows that are taken for noise."""
    return 100 * (logit(z) < 0).mean()


def accuracy(logit, real, noise):
    """Per cent, of equally many of both."""
    return 50 + (called_noise(logit, noise) - called_noise(logit, real)) / 2


CONDITIONS = {  # name: (noise, preprocessing, epochs)
    "white noise": (isotropic_gaussian, without_mean, 3),
    "covariance of the other five": (fit_gaussian, without_mean, 8),
    "covariance of the other five, normalised": (fit_gaussian, normalise, 12),
}
STRENGTHS = 2.0 ** np.arange(-3, 1.1, 0.5)
scores, seen_scores = {name: [] for name in CONDITIONS}, {name: [] for name in CONDITIONS}
answers, lengths, curves, contrasted, networks = [], [], [], [], {}
for trial, left_out in enumerate(LEFT_OUT):
    rng = np.random.default_rng(trial)
    x = cut([name for name in PHOTOGRAPHS if name != left_out], WINDOWS, rng)
    unseen = cut([left_out], HELD_OUT, rng)
    answers.append([])
    curves.append([])
    for name, (kind, step, epochs) in CONDITIONS.items():
        preprocess = whitened(step, x)
        noise, own = Seen(kind(x), preprocess), Seen(kind(unseen), preprocess)
        seen, real, unreal = preprocess(x), preprocess(unseen), noise.sample(HELD_OUT, rng)
        how = {"batch_size": 256, "learning_rate": 2e-3, "rng": rng, "label": f"{name}, without {left_out}"}
        net = trained((SIZE**2, 256, 64, 1), seen, noise, epochs=epochs, **how)
        line = trained((SIZE**2, 1), seen[: WINDOWS // 4], noise, epochs=2, **how)
        rule = rule_on_length(seen[: WINDOWS // 4], noise, rng)
        turned = lambda z, net=net: sum(map(net, positions(z)))  # noqa: E731
        scores[name].append([accuracy(f, real, unreal) for f in (net, turned, rule, line)])
        seen_scores[name].append(accuracy(net, seen[:HELD_OUT], unreal))
        networks[name] = net
        if kind is fit_gaussian:
            mean_square = lambda z: (z**2).sum(axis=1).mean()  # noqa: E731
            if step is without_mean:
                matched = own.sample(HELD_OUT, rng)
                strength = (mean_square(unreal) / mean_square(matched)) ** 0.5
                lengths.append([mean_square(unreal), np.median((real**2).sum(axis=1)), strength])
            others = noise.times(0.5), own, own.times(strength)
            inputs = real, unreal, *(other.sample(HELD_OUT, rng) for other in others)
            answers[-1].append([[called_noise(f, z) for z in inputs] for f in (net, rule)])
            curves[-1].append([called_noise(net, noise.times(s).sample(HELD_OUT, rng)) for s in STRENGTHS])
            pictures = unseen[:24], noise.noise.sample(24, rng)
            curves[-1].append([called_noise(rule, noise.times(s).sample(HELD_OUT, rng)) for s in STRENGTHS])
        if step is normalise:
            clear = unseen.var(axis=1) > 10 * 10 / 255**2  # ten times the floor
            contrasted.append([100 * clear.mean(), *(accuracy(f, real[clear], unreal) for f in (turned, rule))])
scores = {name: np.array(values) for name, values in scores.items()}
answers, curves, contrasted = np.array(answers), np.array(curves), np.array(contrasted)

demo.table(
    f"Accuracy in per cent, windows of a photograph left out against noise; {len(LEFT_OUT)} photographs",
    ["", "network", "network, eight positions", "rule on the length", "linear"],
    [[name, *(pm(column, 1) for column in values.T)] for name, values in scores.items()],
    "Chance is 50. Intervals are over the photographs. On the five that it has learned from, the network has "
    + "; ".join(f"{pm(values, 1)} ({name})" for name, values in seen_scores.items())
    + ".",
)

# %% [markdown]
# ## What has it learned?
#
# Real windows are mostly flat, and a few have strong edges; in a hundred dimensions nearly all Gaussian noise has about
# the same length. So its length gives it away. To see whether the network looks at more, the noise it was trained on is
# made weaker or stronger, which leaves its spectrum as it is; and noise is drawn with the covariance of the photograph
# left out, and then made as strong as the noise trained on.

# %%
fig, ax = plt.subplots(figsize=(9, 3.6))
for k, name in enumerate(("network", "rule on the length", "network, normalised", "rule, normalised")):
    middle, half = interval(curves[:, k])
    ax.plot(STRENGTHS, middle, marker="o", ms=4, label=name)
    ax.fill_between(STRENGTHS, middle - half, middle + half, alpha=0.15, lw=0)
ax.axvline(1, color="grey", lw=0.8, ls=":")
ax.text(0.97, 50, "trained here", fontsize=9, rotation=90, ha="right", va="center")
ax.set(xscale="log", xlabel="strength of the noise, as a multiple of the training noise", ylim=(-3, 103))
ax.set_ylabel("called noise, %")
ax.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2], ["⅛", "¼", "½", "1", "2"])
ax.minorticks_off()
ax.legend(loc="center", bbox_to_anchor=(0.42, 0.5))
weak = int(np.argmin(abs(STRENGTHS - 0.5)))
demo.figure(
    fig,
    "strength",
    "How much of the noise is called noise when it is made weaker or stronger, its spectrum unchanged. At half the "
    f"strength the network calls {curves[:, 0, weak].mean():.0f}% of it noise on raw windows, the rule on the length "
    f"{curves[:, 1, weak].mean():.0f}%; where contrast is divided out, {curves[:, 2, weak].mean():.0f}% and "
    f"{curves[:, 3, weak].mean():.0f}%: there strength is gone before either sees it. (Very weak noise falls under "
    "the floor of that division.) Bands: 95% intervals over "
    f"{len(LEFT_OUT)} photographs.",
    alt="Share of noise recognised against its strength. On raw windows network and rule on the length peak at the "
    "strength they were trained on, the rule more sharply, and are near zero at half of it and at twice; on normalised "
    "windows both fall only where the noise is far weaker.",
    main=True,
)

# %%
middle = np.mean(lengths, axis=0)
demo.table(
    "Called noise, in per cent",
    ["", "network", "rule on the length", "network, normalised", "rule, normalised"],
    [
        [name, *(pm(answers[:, c, f, k], 1) for c in (0, 1) for f in (0, 1))]
        for k, name in enumerate(
            (
                "real windows, photograph left out",
                "noise trained on",
                "… half as strong",
                "noise matched to the photograph left out",
                "… as strong as the noise trained on",
            )
        )
    ],
    f"Raw, the noise trained on has a mean ‖z‖² of {middle[0]:.0f}; half of the real windows have less than "
    f"{middle[1]:.0f}. To be as strong, the noise matched to a photograph is multiplied by "
    f"{min(row[2] for row in lengths):.2f} to {max(row[2] for row in lengths):.2f}.",
)
raw, divided = (scores[name] for name in list(CONDITIONS)[1:])
more = {name: values[:, 1] - values[:, 2] for name, values in (("raw", raw), ("divided", divided))}
share, clear, clear_rule = contrasted.T
demo.say(
    f"Over the rule on the length, photograph by photograph, the network (eight positions) gains {pm(more['raw'])} "
    f"points on raw windows and {pm(more['divided'])} where contrast is divided out. There the floor matters: "
    f"{share.mean():.0f}% of the windows have a variance of at least ten times the floor, so that contrast is truly "
    f"divided out. On these the network has {pm(clear, 1)}% and the rule {pm(clear_rule, 1)}%, on all windows "
    f"{pm(divided[:, 1], 1)}% and {pm(divided[:, 2], 1)}%."
)
own = 50 + (answers[..., 3:] - answers[..., :1]) / 2  # accuracy: photograph, condition, rule or not, strength
lost = np.stack([raw[:, 0] - own[:, 0, 0, 1], divided[:, 0] - own[:, 1, 0, 0]], axis=1)
demo.say(
    "The noise has the covariance of the other five photographs. Against noise with that of the photograph left out "
    f"the network (one position) has {pm(own[:, 0, 0, 0], 1)}% and the rule {pm(own[:, 0, 1, 0], 1)}%; made as "
    f"strong as the noise trained on, {pm(own[:, 0, 0, 1], 1)}% and {pm(own[:, 0, 1, 1], 1)}%; with contrast divided "
    f"out, {pm(own[:, 1, 0, 0], 1)}% and {pm(own[:, 1, 1, 0], 1)}%. At the same strength the network loses "
    f"{pm(lost[:, 0], 1)} points, with contrast divided out {pm(lost[:, 1], 1)}, and it loses on "
    f"{(lost[:, 0] > 0).sum()} and {(lost[:, 1] > 0).sum()} of {len(LEFT_OUT)} photographs."
)
demo.lesson(
    f"One number, the length of a window, tells raw photographs from noise {raw[:, 2].mean():.0f}% of the time, a "
    f"network {raw[:, 1].mean():.0f}%; with the contrast divided out it is {divided[:, 2].mean():.0f}% and "
    f"{divided[:, 1].mean():.0f}%.",
    f"{divided[:, 1].mean():.0f}% against {divided[:, 2].mean():.0f}%",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 2))
fig.get_layout_engine().set(wspace=0.08)
titles = f"real: {LEFT_OUT[-1]}, left out", "noise, covariance of the other five photographs"
for ax, rows, title in zip(axes, pictures, titles, strict=True):
    scaled = without_mean(rows).reshape(-1, SIZE, SIZE)
    tiles(ax, scaled / np.abs(scaled).max(axis=(1, 2), keepdims=True), 8, title, limits=(-1, 1))
demo.figure(
    fig,
    "windows",
    "What the network has to tell apart: mean removed, each window drawn with its own contrast.",
    alt="Left, 24 windows of a photograph with edges, gradients and texture. Right, 24 windows of cloudy noise.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 2.5))
fig.get_layout_engine().set(wspace=0.08)
for ax, name in zip(axes, list(CONDITIONS)[1:], strict=True):
    W, V = networks[name].weights[:2]
    strongest = np.argsort(-np.linalg.norm(W, axis=0) * np.linalg.norm(V, axis=1))[:32]
    features = W.T[strongest].reshape(-1, SIZE, SIZE)
    tiles(ax, features / np.abs(features).max(axis=(1, 2), keepdims=True), 8, name, limits=(-1, 1))
demo.figure(
    fig,
    "features",
    "First-layer weights in the whitened space, where ZCA leaves every pixel in its place: the 32 units with the "
    f"largest product of incoming and outgoing weights; {LEFT_OUT[-1]} left out. To measure a length any directions "
    "will do; to know a window by its structure takes edges and bars.",
    alt="Two grids of 32 small images of weights. Left, on raw windows, they look like noise; right, where contrast is "
    "divided out, some show edges and bars.",
)

# %%
demo.finish()
