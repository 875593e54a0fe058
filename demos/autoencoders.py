# %% [markdown]
# # Autoencoders
#
# Learn to reproduce the data from the data: regression that needs no labels. The trouble is that the identity does it
# perfectly and has learned nothing, so it must be made impossible. Here are the lecture's ways, each beside the best
# linear map for the same problem, on handwritten digits (or clothes, with `--fashion-mnist`).

# %%
from functools import partial
from typing import NamedTuple

import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles

import minissl
from minissl.goals import probe
from minissl.linear import pca, wiener
from minissl.tasks.autoencoder import denoise, image_blocks, kl_sparsity, l1, mask, reconstruct
from minissl.tasks.jigsaw import normalise

demo = Demo(
    "autoencoders",
    "Autoencoders: the identity, and how to make it impossible",
    "Regression from the data, possibly corrupted, to the same data; constrain it so that the identity is no solution.",
    "min E ||r(x~) - x||^2;  x~ = x and few or sparse hidden units, or x~ = x + noise, or x~ = x with holes",
    {"--fashion-mnist": {"metavar": "DIR", "help": "folder with Fashion-MNIST in IDX format (ten minutes)"}},
)

# %%
if demo.options.fashion_mnist:
    images, labels = data.fashion_mnist(demo.options.fashion_mnist)
else:
    images, labels = data.digits()
if demo.quick:
    images, labels = images[:1200], labels[:1200]
N, n = images.shape
SIDE = int(n**0.5)
HELD_OUT = min(N // 4, 10_000)
LARGE = N > 10_000
SEEDS = range(2 if demo.quick or LARGE else 5)
BATCH, EPOCHS = (256, 5) if LARGE else (64, 8 if demo.quick else 140)
WIDE, CODE = (n, 1024 if n > 500 else 4 * n, n), 16


class Split(NamedTuple):
    """Images less the mean training image, and their labels; noise made of the held-out ones."""

    x: np.ndarray
    y: np.ndarray
    unseen: np.ndarray
    truth: np.ndarray
    noise: np.ndarray
    mean: np.ndarray


def split(seed):
    rng = np.random.default_rng(seed)
    held_out, rest = np.split(rng.permutation(N), [HELD_OUT])
    mean = images[rest].mean(axis=0)
    unseen = images[held_out] - mean
    noise = rng.permuted(unseen, axis=0)
    return Split(images[rest] - mean, labels[rest], unseen, labels[held_out], noise, mean)


def training(sizes, activation, x, task, seed, label, epochs=EPOCHS, batch=BATCH, penalties=None, bound=None):
    """The network after each epoch; `bound` is the greatest length that a row of the decoder may have.

    Adam's step is a quarter as long for the last third, and longer for sigmoid units, whose slopes are small.
    """
    net, optimizer = minissl.MLP(sizes, activation, rng=seed), minissl.Adam(1e-2 if activation == "sigmoid" else 4e-3)
    settings = {"epochs": epochs, "batch_size": batch, "optimizer": optimizer, "penalties": penalties, "rng": seed}
    for epoch, _ in enumerate(progress(minissl.train_epochs(net, x, task, minissl.squared_error, **settings), epochs, label), 1):
        if bound is not None:
            rows = net.weights[-1]
            rows /= np.maximum(1, np.linalg.norm(rows, axis=1, keepdims=True) / bound)
        if epoch == epochs * 2 // 3:
            optimizer.learning_rate /= 4
        yield net


def fit(*how, **settings):
    return list(training(*how, **settings))[-1]


def error(r, x):
    """Reconstruction error as a share of the variance of x, whose mean is about zero; the mean alone gives 1."""
    return float(((r(x) - x) ** 2).sum() / (x**2).sum())


def accuracy(features, parts, per_class=10, draws=3):
    """Of a linear classifier of standardised features, on held-out images; mean over draws of the few labelled ones."""
    H, unseen = features(parts.x), features(parts.unseen)
    mean, deviation = H.mean(axis=0), H.std(axis=0) + 1e-3 * H.std()
    unseen, right = (unseen - mean) / deviation, []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(H))
        few = np.concatenate([order[parts.y[order] == c][:per_class] for c in range(10)])
        inputs, c = (H[few] - mean) / deviation, parts.y[few]
        l2, _ = probe.choose_l2(inputs, c, rng=0)
        right.append(np.mean(probe.probe(inputs, c, l2).predict(unseen) == parts.truth))
    return np.mean(right)


def pictures(ax, rows, columns, mean, title=""):
    """Rows of images, each with its name at the left; NaN is blue."""
    page = np.concatenate([a[:columns] for a in rows.values()]) + mean
    tiles(ax, page.reshape(-1, SIDE, SIDE), columns, title, limits=(0, 1))
    ax.images[0].set_cmap(plt.get_cmap("gray").with_extremes(bad="C0"))
    for r, name in enumerate(rows):
        ax.text(-1, (SIDE + 1) * r + SIDE / 2, name, ha="right", va="center", fontsize=9)


results = {}  # name: for each seed, error on training images, held-out images and noise, and accuracy


def judge(name, parts, features, r=None):
    errors = [error(r, a) for a in (parts.x, parts.unseen, parts.noise)] if r else [np.nan] * 3
    results.setdefault(name, []).append([*errors, accuracy(features, parts)])


# %% [markdown]
# ## The problem first
#
# One hidden layer of more units than pixels, and no constraint. *Noise* is made of the held-out images by giving each
# pixel of an image to another image, at random: every pixel varies as before, but nothing of the shapes is left. The
# error falls on the images and on the noise alike: the network learns to copy.

# %%
curve = []
for seed in SEEDS:
    parts = split(seed)
    judge("raw pixels", parts, lambda a: a)
    judge("random weights", parts, minissl.MLP(WIDE, rng=seed + 100).features)
    judge(f"random weights, {CODE} units", parts, minissl.MLP((n, CODE, n), rng=seed + 100).features)
    watched = parts.x, parts.unseen, parts.noise
    curve.append([])
    for copier in training(WIDE, "relu", parts.x, reconstruct(), seed, "no constraint"):
        curve[-1].append([error(copier, a) for a in watched])
    judge("no constraint", parts, copier.features, copier)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(1, 1.25))
for k, name in enumerate(("training images", "held-out images", "noise")):
    left.plot(range(1, EPOCHS + 1), np.array(curve)[:, :, k].T, color=f"C{k}", lw=1)
    left.plot([], [], color=f"C{k}", label=name)
left.set(yscale="log", xlabel="epoch", ylabel="error, share of the variance", title="no constraint")
left.legend(frameon=False)
rows = {"held out": parts.unseen, "copy": copier(parts.unseen), "noise": parts.noise, "its copy": copier(parts.noise)}
pictures(right, rows, 10, parts.mean)
demo.figure(
    fig, "identity", f"Left: each of {len(SEEDS)} seeds. Right: the network has never seen noise (seed {seed})."
)
plain = np.array(results["no constraint"])
random = np.array(results["random weights"])[:, 3]
demo.say(
    f"An over-complete autoencoder without constraint leaves {100 * plain[:, 1].mean():.2g}% of the variance of "
    f"held-out images and {100 * plain[:, 2].mean():.2g}% of that of noise, the less the longer it is trained. A "
    f"linear classifier of its features with ten labels per class has an accuracy of {pm(plain[:, 3])}; of those of "
    f"random weights, {pm(random)}. The difference, seed by seed: {pm(plain[:, 3] - random)}."
)

# %% [markdown]
# ## Case 1: bottleneck
#
# No linear map through m units can do better than PCA on the training data. A deep network can, on unseen data as well.

# %%
CODES, bottleneck = (2, 4, 8, 16, 32), []


def through(axes):
    return lambda a: axes.decode(axes.encode(a))


for seed in SEEDS:
    parts = split(seed)
    bottleneck.append([])
    for m in CODES:
        axes = pca.by_svd(parts.x, m)
        linear = through(axes)
        sizes = (n, WIDE[1] // 2, m, WIDE[1] // 2, n)
        net = fit(sizes, ("tanh", "identity", "relu"), parts.x, reconstruct(), seed, f"bottleneck of {m}")
        bottleneck[-1].append([error(linear, parts.unseen), error(net, parts.unseen)])
        if m == CODE:
            judge(f"PCA of {m}", parts, axes.encode, linear)
            judge(f"bottleneck of {m}", parts, lambda a, net=net: net.forward(a)[2], net)

bottleneck = np.array(bottleneck)
ratio = bottleneck[:, :, 0] / bottleneck[:, :, 1]
fig, ax = plt.subplots(figsize=(6, 3.6))
for k, name in enumerate(("PCA", "deep network")):
    ax.errorbar(CODES, *interval(bottleneck[:, :, k]), marker="o", capsize=3, label=name)
ax.set(xscale="log", yscale="log", xlabel="units m in the bottleneck", ylabel="held-out error, share of the variance")
ax.set_xticks(CODES, CODES)
ax.minorticks_off()
ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
ax.legend(frameon=False)
demo.figure(fig, "bottleneck", f"Mean and 95% interval over {len(SEEDS)} seeds (split and initial weights).")
demo.table(
    "Held-out error as a share of the variance, by number of units in the bottleneck, mean ± 95% interval",
    ["units", *CODES],
    [
        ["PCA", *(pm(column) for column in bottleneck[:, :, 0].T)],
        ["deep network", *(pm(column) for column in bottleneck[:, :, 1].T)],
        ["PCA / network, seed by seed", *(pm(column, 2) for column in ratio.T)],
    ],
    f"The network is better than PCA in {(ratio > 1).sum()} of {ratio.size} pairs of seed and size.",
)

# %% [markdown]
# ## Case 2: sparse
#
# As many hidden units as one likes, if few of them are active at a time. The penalty alone could be evaded (smaller
# activations, larger decoder), so after every epoch the rows of the decoder are brought back to a greatest length. The
# images first, for the table at the end. Then grey windows of 10 x 10 pixels of photographs, mean and contrast divided
# out, whitened, with almost twice as many hidden units as pixels; held out are windows of other photographs.

# %%
for seed in SEEDS:
    parts = split(seed)
    net = fit(WIDE, "relu", parts.x, reconstruct(), seed, "L1", penalties={1: l1(0.1)}, bound=1)
    judge("sparse by L1", parts, net.features, net)
    net = fit(WIDE, "sigmoid", parts.x, reconstruct(), seed, "KL", penalties={1: kl_sparsity(0.3, 0.02)}, bound=1)
    judge("sparse by Kullback-Leibler", parts, net.features, net)

# %%
SIZE, UNITS = 10, 196
WINDOWS, WINDOW_EPOCHS = (3000, 3) if demo.quick else (30_000, 40)
WINDOW_SEEDS = SEEDS[:3]
VARIANTS = {
    "no penalty": {"activation": "relu"},
    "L1": {"activation": "relu", "penalties": {1: l1(1.0)}, "bound": 1},
    "Kullback-Leibler": {"activation": "sigmoid", "penalties": {1: kl_sparsity(5, 0.02)}, "bound": 2},
}


def cut(names, number, rng):
    photographs = [data.grey(data.photograph(name)) for name in names]
    x = data.windows(photographs, SIZE, number, rng).reshape(number, -1)
    return normalise(x[x.std(axis=1) > 0.02])


def localised(features):
    squares = (features**2).reshape(-1, SIZE, SIZE)
    parts = np.lib.stride_tricks.sliding_window_view(squares, (5, 5), axis=(1, 2)).sum(axis=(3, 4))
    return np.mean(parts.max(axis=(1, 2)) / squares.sum(axis=(1, 2)))


def kurtosis(s):
    return np.mean((s**4).mean(axis=0) / (s**2).mean(axis=0) ** 2)


measures, learned, activity = {}, {}, {}
for seed in WINDOW_SEEDS:
    windows = cut(data.TRAIN_PHOTOGRAPHS, WINDOWS, seed)
    white = probe.whitening(windows, floor=0.5)
    seen, other = isotropic_gaussian(windows), isotropic_gaussian(cut(data.TEST_PHOTOGRAPHS, 2000, seed))
    noise = np.random.default_rng(seed).permuted(other, axis=0)
    for name, how in VARIANTS.items():
        sizes = (SIZE**2, UNITS, SIZE**2)
        net = fit(sizes, x=seen, task=reconstruct(), seed=seed, label=name, epochs=WINDOW_EPOCHS, batch=128, **how)
        H, W = net.features(other), net.weights[0]
        zero = np.mean(H < 0.05 * H.max())
        measures.setdefault(name, []).append(
            [*(error(net, a) for a in (seen, other, noise)), zero, kurtosis(other @ W), localised(W.T)]
        )
        strongest = np.argsort(-H.mean(axis=0) * np.linalg.norm(net.weights[1], axis=1))[:64]
        learned[name], activity[name] = W.T[strongest], H / H.max()
gaussian = np.random.default_rng(0).standard_normal((UNITS, SIZE**2))
demo.table(
    f"Windows of photographs, {len(WINDOW_SEEDS)} seeds, mean ± 95% interval",
    ["", "training error", "held-out", "noise", "nearly zero", "kurtosis", "localised"],
    [[name, *(pm(v) for v in np.array(values).T)] for name, values in measures.items()],
    "Nearly zero: share of the activations below a twentieth of the largest. Kurtosis: of what enters a unit; 3 for "
    "Gaussian numbers. Localised: share of a unit's squared weights in the quarter of the window that holds most of "
    f"them; {localised(gaussian):.3f} for random numbers.",
)
fig, axes = plt.subplots(1, 4, figsize=(13, 3.5))
for ax, (name, features) in zip(axes, learned.items(), strict=False):
    scaled = features.reshape(-1, SIZE, SIZE) / np.abs(features).max(axis=1)[:, None, None]
    tiles(ax, scaled, 8, name, limits=(-1, 1))
for name, H in activity.items():
    axes[3].hist(H.ravel(), np.linspace(0, 1, 41), density=True, histtype="step", label=name)
axes[3].set(yscale="log", xlabel="activation / largest", ylabel="density", title="activations, held-out windows")
axes[3].legend(frameon=False, fontsize=8)
demo.figure(
    fig, "sparse", f"Weights of the 64 units that do most, in the whitened space, each by its own scale; seed {seed}."
)

# %% [markdown]
# ## Case 3: noise and holes
#
# The identity is no solution where the input is not the target. The linear optimum is known in closed form. Where only
# what is missing counts, nothing is asked of the visible pixels, whose output is then anything: over all pixels it must
# look worse; one would keep the visible ones as they are.

# %%
SIGMA, BLOCKS = 0.3, image_blocks((SIDE, SIDE), (SIDE // 4, SIDE // 4))
TASKS = {  # name: (task, its linear optimum as a function of the covariance)
    f"noise of {SIGMA}": (denoise(SIGMA), partial(wiener.denoising, sigma=SIGMA)),
}
for name, q, blocks in (("pixels missing", 0.5, None), ("blocks missing", 0.75, BLOCKS)):
    for alone in (False, True):
        how = {"q": q, "blocks": blocks, "missing_only": alone}
        TASKS[name + " (loss on them)" * alone] = mask(**how), partial(wiener.masking, **how)


def psnr(estimate, truth, where):
    """Peak signal-to-noise ratio in dB, for intensities that go from 0 to 1."""
    return -10 * np.log10(((estimate - truth)[where] ** 2).mean())


decibels, shown = {}, {}
for seed in SEEDS:
    parts = split(seed)
    C = parts.x.T @ parts.x / len(parts.x)
    for name, (task, optimum) in TASKS.items():
        net = fit(WIDE, "relu", parts.x, task, seed, name)
        judge(name, parts, net.features, net)
        input = task(parts.unseen, np.random.default_rng(seed))[0]
        estimates = input, input @ optimum(C).T, net(input)
        everywhere, changed = np.full(input.shape, True), input != parts.unseen
        levels = [psnr(estimate, parts.unseen, where) for where in (everywhere, changed) for estimate in estimates]
        holes = changed & (input == 0)
        shown[name] = np.where(holes, np.nan, input), *estimates[1:], parts.unseen
        decibels.setdefault(name, []).append(levels)

# %%
demo.table(
    f"Held-out images: peak signal-to-noise ratio in dB, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "all pixels: input", "linear optimum", "network", "changed pixels: input", "linear optimum", "network"],
    [[name, *(pm(v, 1) for v in np.array(values).T)] for name, values in decibels.items()],
    "Input: the corrupted image itself, holes filled with the mean image. Half of the pixels are missing, or a quarter "
    "of the blocks. Noise changes all pixels.",
)
fig, axes = plt.subplots(3, 2, figsize=(12, 7.2))
bars, *panels = axes[0, 1], axes[0, 0], *axes[1:].ravel()
for ax, (name, estimates) in zip(panels, shown.items(), strict=True):
    pictures(ax, dict(zip(("input", "linear", "network", "truth"), estimates, strict=True)), 12, parts.mean, name)
levels = np.array(list(decibels.values()))[:, :, 3:]
for k, name in enumerate(("input", "linear optimum", "network")):
    height, half = interval(levels[:, :, k].T)
    bars.bar(np.arange(len(TASKS)) + (k - 1) / 4, height, 0.25, yerr=half, label=name)
bars.set(ylabel="PSNR of the changed pixels, dB", ylim=(8, None))
bars.set_xticks(range(len(TASKS)), ["noise", "pixels", "pixels,\nloss on them", "blocks", "blocks,\nloss on them"])
bars.legend(frameon=False, ncols=3, loc="upper right", fontsize=8)
demo.figure(
    fig,
    "restored",
    f"Held-out images (seed {seed}); holes are blue. With the loss on missing pixels alone, the output for visible "
    "ones is untrained: judge it where the input has holes.",
)

# %% [markdown]
# ## The common thread
#
# How well a network copies uncorrupted images says little about its features. Settings were chosen by held-out
# loss and sparsity, on other seeds than those shown and without labels; the classifier's penalty by cross-validation
# within the few labelled images.

# %%
table = {name: np.array(values).T for name, values in results.items()}
gains = {}
for name, scores in table.items():
    if not name.startswith("random"):
        baseline = f"random weights, {CODE} units" if name.endswith(f"of {CODE}") else "random weights"
        gains[name] = scores[3] - table[baseline][3]
demo.table(
    f"Error as a share of the variance, and accuracy of a linear classifier of the features with ten labels per class; "
    f"{len(SEEDS)} seeds, mean ± 95% interval",
    ["", "training", "held-out", "noise", "accuracy", "less random units"],
    [
        [name, *(pm(v) if np.isfinite(v).all() else "" for v in scores), pm(gains[name]) if name in gains else ""]
        for name, scores in table.items()
    ],
    "Errors are of uncorrupted input, which a network trained on holes has never seen. Chance: 0.1. There are "
    f"{WIDE[1]} units where nothing is said. Last column: the difference, seed by seed, from as many random units.",
)
networks = [name for name, scores in table.items() if np.isfinite(scores[0]).all()]
best = sorted(networks, key=lambda name: -table[name][3].mean())
copying = min(networks, key=lambda name: table[name][2].mean())
verdict = {"better": [], "worse": [], "undecided": []}
for name, gain in gains.items():
    middle, half = interval(gain)
    verdict["undecided" if abs(middle) <= half else "better" if middle > 0 else "worse"].append(name)
demo.say(
    f"Best features: {best[0]}. Best copy of noise: {copying}, whose features have rank {best.index(copying) + 1} of "
    f"{len(best)}. Beside random units, by the interval: "
    + "; ".join(f"{word}: {', '.join(names) or 'none'}" for word, names in verdict.items())
    + "."
)

# %%
demo.finish()
