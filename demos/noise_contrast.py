# %% [markdown]
# # Data against noise
#
# Given only x, make a second class: noise. A network that tells the two apart has to know what is special about the
# data. How much it knows can be said exactly: its logit tends to the logarithm of the ratio of the two densities. First
# that is checked where the density is known; then the data are photographs.

# %%
from typing import NamedTuple

import data
import numpy as np
from gallery import Demo, plt, pm, progress, tiles
from scipy.stats import multivariate_normal

import minissl
from minissl.tasks.noise import Gaussian, against_noise, fit_gaussian, isotropic_gaussian
from minissl.goals.probe import whitening
from minissl.tasks.jigsaw import normalise

demo = Demo(
    "noise_contrast",
    "Data against noise",
    "Train a network to tell real data from noise: a supervised problem that needs no labels, whose solution knows the "
    "density of the data.",
    "optimal logit y*(x) = ln p_data(x) - ln p_noise(x) - ln nu, with nu noise samples per data point",
)

# %% [markdown]
# ## A known density
#
# Three Gaussians in the plane, 20,000 samples, noise with the data's mean and covariance, nu = 5. The parameters are
# averaged over the last half of the training (Polyak & Juditsky 1992), which removes part of the noise that the random
# steps leave behind. The error is measured over the region of highest density that holds 95% of the probability: evenly
# over its area, and weighted by the density, as the data see it. Settings were chosen on other seeds than those shown.

# %%
SEEDS = range(10, 12 if demo.quick else 15)
SAMPLES = 2000 if demo.quick else 20_000
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
region = truth >= falling[np.searchsorted(np.cumsum(np.exp(falling)) * area, 0.95)]


def mixture(N, rng):
    k = rng.choice(3, N, p=SHARES)
    z = rng.standard_normal((N, 2))
    return (MEANS[k] + np.einsum("ni,nij->nj", z, FACTORS[k])).astype("float32")


def logit(x, noise, rng, label):
    """The logit on the grid of a network, its parameters averaged over the last half of the epochs."""
    net, optimizer = minissl.MLP((2, 32, 32, 1), activation="tanh", rng=rng), minissl.Adam()
    for epochs, learning_rate in ((40, 0.02), (40, 0.004)):
        optimizer.learning_rate, total = learning_rate, np.zeros(net.theta.size)
        losses = minissl.train_epochs(
            net, x, against_noise(noise, NU), minissl.sigmoid_cross_entropy, epochs=epochs, batch_size=1000, optimizer=optimizer, rng=rng
        )
        for _ in progress(losses, epochs, label):
            total += net.theta
    net.theta[:] = total / epochs
    return net(grid)[:, 0]


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
    learned = logit(x, noise, rng, f"density, seed {seed}") + noise.log_density(grid) + np.log(NU)
    results.append([judged(learned), judged(noise.log_density(grid))])
results = np.array(results)

demo.table(
    f"Error of the log-density over the 95% region, {SAMPLES} samples, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "RMS over area, nats", "RMS over data, nats", "integral of the density"],
    [[name, *(pm(results[:, k, c]) for c in range(3))] for k, name in enumerate(("learned", "baseline: one Gaussian"))],
    "The integral is near 1 without having been asked to be: the classification alone normalises the density.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharex=True, sharey=True)
levels = np.arange(-10, 0.1, 0.5)
for ax, values, title in (
    (axes[0], truth, "true log-density"),
    (axes[1], learned, "learned: logit + ln p_noise + ln nu"),
):
    shape = (len(side), len(side))
    filled = ax.contourf(side, side, values.reshape(shape), levels, cmap="viridis", extend="both")
    ax.contour(side, side, region.reshape(shape).astype(float), [0.5], colors="white", linewidths=1)
    ax.set(title=title, xlabel="x1", aspect="equal", xlim=(-4, 4), ylim=(-3.5, 4))
axes[0].set_ylabel("x2")
fig.colorbar(filled, ax=axes, label="nats", shrink=0.9)
demo.figure(
    fig,
    "density",
    f"Known density, seed {SEEDS[-1]}. White line: the region that holds 95% of the data; within it the RMS error is "
    f"{results[-1, 0, 0]:.3f} nats over the area and {results[-1, 0, 1]:.3f} over the data. Outside it data are "
    "too few to learn from.",
)

# %% [markdown]
# ## Windows of photographs
#
# Grey windows of 10 x 10 pixels. Noise is drawn in the space of pixels, white or with the windows' own mean and
# covariance, and windows and noise then go through the same preprocessing: the mean of each window is removed; where it
# says *normalised*, its contrast is divided out too; then ZCA whitening (Bell & Sejnowski 1997), with a floor under the
# eigenvalues. Networks see windows of four photographs, each turned or mirrored at random, and are judged on two
# others: by the logit of the window, and by the mean logit of the window in its eight positions (four turns, mirrored
# or not), for a window stays real when it is turned. Dividing out the contrast has a floor, [patches.4]: windows whose
# contrast is near it come out fainter than the noise, so the others are also judged alone. A linear classifier sees
# means alone, which are the same for both classes.


# %%
SIZE, FLOOR = 10, 0.03
WINDOWS = 4000 if demo.quick else 80_000
HELD_OUT = 1000 if demo.quick else 6000
TRIALS = range(2 if demo.quick else 3)


class Seen(NamedTuple):
    """Noise as the network sees it: drawn in the space of pixels, then preprocessed."""

    noise: Gaussian
    preprocess: callable

    def sample(self, N, rng):
        return self.preprocess(self.noise.sample(N, rng))


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
    return lambda x: isotropic_gaussian(step(x))


def accuracy(net, real, noise, mean=False):
    """On equally many of both, by the logit itself or by its mean over the eight positions of the window."""
    logit = (lambda x: sum(map(net, positions(x)))) if mean else net
    return 0.5 * ((logit(real) > 0).mean() + (logit(noise) < 0).mean())


def trained(sizes, x, noise, epochs, seed, label):
    net, optimizer = minissl.MLP(sizes, rng=seed), minissl.Adam(2e-3)
    losses = minissl.train_epochs(
        net, x, against_noise(noise), minissl.sigmoid_cross_entropy, epochs=epochs, batch_size=256, optimizer=optimizer, rng=seed
    )
    for epoch, _ in enumerate(progress(losses, epochs, label), 1):
        if epoch >= epochs * 5 // 8:
            optimizer.learning_rate = 4e-4
    return net


CONDITIONS = {  # name: (noise, preprocessing, epochs)
    "white noise": (white, without_mean, 1),
    "covariance-matched noise": (fit_gaussian, without_mean, 5),
    "covariance-matched, normalised": (fit_gaussian, normalise, 8),
}
scores, networks, contrasted = {name: [] for name in CONDITIONS}, {}, []
for seed in TRIALS:
    rng = np.random.default_rng(seed)
    x, unseen = cut(data.TRAIN_PHOTOGRAPHS, WINDOWS, rng), cut(data.TEST_PHOTOGRAPHS, HELD_OUT, rng)
    for name, (kind, step, epochs) in CONDITIONS.items():
        preprocess = whitened(step, x)
        noise, own = Seen(kind(x), preprocess), Seen(kind(unseen), preprocess)
        seen = preprocess(x)
        net = trained((SIZE**2, 256, 64, 1), seen, noise, epochs, seed, f"{name}, seed {seed}")
        line = trained((SIZE**2, 1), seen[: WINDOWS // 4], noise, 2, seed, "linear")
        real, unreal = preprocess(unseen), noise.sample(HELD_OUT, rng)
        scores[name].append(
            [
                accuracy(net, real, unreal, mean=True),
                accuracy(net, real, unreal),
                accuracy(line, real, unreal),
                accuracy(net, seen[:HELD_OUT], unreal),
                accuracy(net, real, own.sample(HELD_OUT, rng), mean=True),
            ]
        )
        networks[name] = net
        if step is normalise:
            clear = unseen.var(axis=1) > 10 * 10 / 255**2  # ten times the floor
            contrasted.append([clear.mean(), accuracy(net, real[clear], unreal, mean=True)])
        pictures = (unseen[:24], noise.noise.sample(24, rng)) if kind is fit_gaussian else None
scores = {name: np.array(values) for name, values in scores.items()}

demo.table(
    f"Accuracy, real windows against noise; chance is 0.5; {len(TRIALS)} seeds, mean ± 95% interval",
    ["unseen photographs:", "eight positions", "one", "linear", "seen, one", "matched to unseen, eight"],
    [[name, *(pm(column) for column in values.T)] for name, values in scores.items()],
    "Seen: the photographs trained on. Matched to unseen: noise with the covariance of the unseen photographs instead.",
)
raw, own = (scores["covariance-matched noise"][:, k].mean() for k in (0, 4))
demo.say(
    f"Noise with the covariance of the training windows is told from windows of unseen photographs {100 * raw:.1f}% of "
    f"the time, although mean and covariance say nothing within the training set. Noise with the covariance of the "
    f"unseen photographs instead: {100 * own:.1f}%. Part of what the network has learned is the spectrum of that one "
    "noise; another noise needs another classifier."
)
share, clear = np.array(contrasted).T
everywhere = scores["covariance-matched, normalised"][:, 0]
demo.say(
    f"The floor matters: {100 * share.mean():.0f}% of the unseen windows have a variance of at least ten times the "
    f"floor, so that contrast is truly divided out. On these the accuracy is {pm(clear)}, on all {pm(everywhere)}. "
    "Where it is lower, contrast left in flat windows is a cue, or contrasted windows are harder for other reasons."
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 2))
for ax, rows, title in zip(axes, pictures, ("real, unseen photographs", "noise of the same covariance"), strict=True):
    scaled = without_mean(rows).reshape(-1, SIZE, SIZE)
    tiles(ax, scaled / np.abs(scaled).max(axis=(1, 2), keepdims=True), 8, title, limits=(-1, 1))
demo.figure(
    fig, "windows", "What the network has to tell apart: mean removed, each window drawn with its own contrast."
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4.8))
for ax, name in zip(axes, list(CONDITIONS)[1:], strict=True):
    W, V = networks[name].weights[:2]
    strongest = np.argsort(-np.linalg.norm(W, axis=0) * np.linalg.norm(V, axis=1))[:64]
    features = W.T[strongest].reshape(-1, SIZE, SIZE)
    tiles(ax, features / np.abs(features).max(axis=(1, 2), keepdims=True), 8, name, limits=(-1, 1))
demo.figure(
    fig,
    "features",
    "First-layer weights in the whitened space, where ZCA leaves every pixel in its place: the 64 units with the "
    "largest product of incoming and outgoing weights.",
)

# %%
demo.finish()
