# %% [markdown]
# # Autoencoders
#
# Learn to reproduce the data from the data: regression that needs no labels. The trouble is that the identity does it
# perfectly and has learned nothing, so it must be made impossible. Here are the lecture's ways, each beside the best
# linear map for the same problem, on handwritten digits (or clothes, with `--fashion-mnist`).

# %%
from functools import partial

import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles

import minissl as ssl
from minissl import downstream, pca, wiener
from minissl.autoencoder import denoise, identity, image_blocks, kl_sparsity, l1, mask
from minissl.patches import normalise

demo = Demo(
    "autoencoders",
    "Autoencoders: the identity, and how to make it impossible",
    "Regression from the data, possibly corrupted, to the same data; constrain it so that the identity is no solution.",
    "min E ||r(x~) - x||^2;  x~ = x and few or sparse hidden units, or x~ = x + noise, or x~ = x with holes",
    {"--fashion-mnist": {"metavar": "DIR", "help": "folder with Fashion-MNIST in IDX format, 28 x 28, 60,000 images"}},
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
BATCH = 64 if N < 10_000 else 256
EPOCHS = 10 if demo.quick else max(6, 280_000 // N)
SEEDS = range(2 if demo.quick or N > 10_000 else 3)
HIDDEN, CODE, SIGMA = 4 * n if n < 100 else 512, 16, 0.3
BLOCKS = image_blocks((SIDE, SIDE), (SIDE // 4, SIDE // 4))
HOLES = {  # name: (probability of being kept, blocks, whether only what is missing counts)
    "pixels missing": (0.5, None, False),
    "pixels missing, they alone count": (0.5, None, True),
    "blocks missing": (0.75, BLOCKS, False),
    "blocks missing, they alone count": (0.75, BLOCKS, True),
}
CODES = (2, 4, 8, 16, 32)


def fit(sizes, activation, x, task, seed, label, epochs=EPOCHS, batch=BATCH, penalties=None, bound=None, watch=None):
    """A network trained with Adam, the step a quarter as long for the last third; `bound` limits the decoder's rows.

    `watch` is called with the network after each epoch.
    """
    net, optimizer = ssl.MLP(sizes, activation, rng=seed), ssl.Adam(2e-3)
    settings = {"epochs": epochs, "batch_size": batch, "optimizer": optimizer, "penalties": penalties, "rng": seed}
    for epoch, _ in enumerate(progress(ssl.train(net, x, task, ssl.squared_error, **settings), epochs, label), 1):
        if bound is not None:
            decoder = net.weights[1]
            decoder /= np.maximum(1, np.linalg.norm(decoder, axis=1, keepdims=True) / bound)
        if epoch == epochs * 2 // 3:
            optimizer.step_size = 5e-4
        if watch is not None:
            watch(net)
    return net


def error(r, x):
    """Reconstruction error as a share of the variance of x, whose mean is about zero; the mean alone gives 1."""
    return float(((r(x) - x) ** 2).sum() / (x**2).sum())


def psnr(estimate, truth, weight=1):
    """Peak signal-to-noise ratio in dB, for intensities that go from 0 to 1, over the components of weight 1."""
    weight = np.broadcast_to(weight, truth.shape)
    return -10 * np.log10(np.average((estimate - truth) ** 2, weights=weight))


def accuracy(features, x, y, unseen, truth, per_class=10):
    """Accuracy of a linear classifier of standardised features, trained on few labels."""
    few = np.concatenate([np.flatnonzero(y == c)[:per_class] for c in range(10)])
    H = features(x)
    mean, deviation = H.mean(axis=0), H.std(axis=0) + 1e-3 * H.std()
    inputs = (H[few] - mean) / deviation
    l2, _ = downstream.choose_l2(inputs, y[few], rng=0)
    classifier = downstream.probe(inputs, y[few], l2)
    return np.mean(classifier.predict((features(unseen) - mean) / deviation) == truth)


# %% [markdown]
# ## All cases on the same images
#
# Every network but the bottleneck has one hidden layer of more units than pixels, and the same training. *Noise* is
# made of the held-out images by giving each pixel of an image to another image, at random: every pixel varies as
# before, but nothing of the shapes is left. A network that reproduces noise has learned to copy.

# %%
wide = (n, HIDDEN, n)
results, bottleneck, restored, curve = {}, {"PCA": [], "deep network": []}, {}, []


def judge(name, net, features, parts):
    x, y, unseen, truth, noise = parts
    scores = [error(net, a) for a in (x, unseen, noise)] if net else [np.nan] * 3
    results.setdefault(name, []).append([*scores, accuracy(features, x, y, unseen, truth)])


for seed in SEEDS:
    rng = np.random.default_rng(seed)
    order = rng.permutation(N)
    mean = images[order[HELD_OUT:]].mean(axis=0)
    (unseen, truth), (x, y) = ((images[i] - mean, labels[i]) for i in (order[:HELD_OUT], order[HELD_OUT:]))
    noise = rng.permuted(unseen, axis=0)
    parts = x, y, unseen, truth, noise
    C = x.T @ x / len(x)

    judge("raw pixels", None, lambda a: a, parts)
    untrained = ssl.MLP(wide, rng=seed + 100)
    judge("random weights", None, untrained.features, parts)
    curve.append([])
    watch = partial(lambda record, p, r: record.append([error(r, a) for a in p]), curve[-1], parts[::2])
    net = fit(wide, "relu", x, identity(), seed, "identity", watch=watch)
    judge("no constraint", net, net.features, parts)
    last = {"no constraint": net}

    rows = []
    for m in CODES:
        axes = pca.by_svd(x, m)
        deep = (n, HIDDEN // 2, m, HIDDEN // 2, n)
        net = fit(deep, ("relu", "identity", "relu"), x, identity(), seed, f"bottleneck {m}")
        linear, code = (lambda a, p=axes: p.decode(p.encode(a))), (lambda a, r=net: r.forward(a)[2])
        rows.append([error(linear, unseen), error(net, unseen)])
        if m == CODE:
            judge(f"PCA, {m} components", linear, axes.encode, parts)
            judge(f"bottleneck of {m}", net, code, parts)
    for k, values in enumerate(bottleneck.values()):
        values.append([row[k] for row in rows])

    net = fit(wide, "relu", x, identity(), seed, "L1", penalties={1: l1(0.1)}, bound=1)
    judge("sparse, L1", net, net.features, parts)
    net = fit(wide, "sigmoid", x, identity(), seed, "KL", penalties={1: kl_sparsity(0.3, 0.02)}, bound=1)
    judge("sparse, Kullback-Leibler", net, net.features, parts)

    net = fit(wide, "relu", x, denoise(SIGMA), seed, "denoise")
    judge(f"noise of {SIGMA}", net, net.features, parts)
    last["noise"] = net
    corrupted, _ = denoise(SIGMA)(unseen, np.random.default_rng(seed))
    best = wiener.denoising(C, SIGMA)
    shown = {f"noise of {SIGMA}": (corrupted, corrupted @ best.T, net(corrupted))}
    levels = [psnr(estimate, unseen) for estimate in shown[f"noise of {SIGMA}"]]
    restored.setdefault(f"noise of {SIGMA}", []).append([levels, [np.nan] * 3])
    for name, (q, blocks, alone) in HOLES.items():
        net = fit(wide, "relu", x, mask(q, blocks=blocks, missing_only=alone), seed, name)
        judge(name, net, net.features, parts)
        corrupted, _, missing = mask(q, blocks=blocks, missing_only=True)(unseen, np.random.default_rng(seed))
        best = wiener.masking(C, q, blocks, alone)
        shown[name] = corrupted, corrupted @ best.T, net(corrupted)
        levels = [[psnr(estimate, unseen, w) for estimate in shown[name]] for w in (1, missing)]
        restored.setdefault(name, []).append(levels)

# %% [markdown]
# ## The problem first
#
# Without a constraint, the error falls on the data and on the noise alike.

# %%
curve = np.array(curve)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 1.25))
for k, name in enumerate(("training images", "held-out images", "noise")):
    left.plot(np.arange(1, EPOCHS + 1), curve[:, :, k].T, color=f"C{k}", lw=1)
    left.plot([], [], color=f"C{k}", label=name)
left.set(yscale="log", xlabel="epoch", ylabel="error, share of the variance", title="no constraint")
left.axhline(1, color="grey", lw=0.8, ls=":")
left.legend(frameon=False)
row = [noise[:10], last["no constraint"](noise[:10]), last["noise"](noise[:10])]
tiles(right, (np.concatenate(row) + mean).reshape(-1, SIDE, SIDE), 10, limits=(0, 1))
right.set_title("noise; through the autoencoder without constraint; through the denoising one")
demo.figure(
    fig, "identity", f"Left: {len(SEEDS)} seeds. Right: what was trained on images only, shown noise (seed {seed})."
)
plain = np.array(results["no constraint"])
random, raw = (np.array(results[name])[:, 3] for name in ("random weights", "raw pixels"))
demo.say(
    f"An over-complete autoencoder without constraint leaves {100 * plain[:, 1].mean():.2f}% of the variance of "
    f"held-out images and {100 * plain[:, 2].mean():.1f}% of that of noise: it copies, the more the longer it is trained. Its "
    f"features are worth {pm(plain[:, 3])} with ten labels per class; random weights {pm(random)}, raw pixels "
    f"{pm(raw)}; difference from random weights, seed by seed: {pm(plain[:, 3] - random)}."
)

# %% [markdown]
# ## Case 1: bottleneck
#
# No linear map through m units can do better than PCA on the training data. A deep network can.

# %%
fig, ax = plt.subplots(figsize=(6, 3.6))
for name, values in bottleneck.items():
    middle, half = interval(values)
    ax.errorbar(CODES, middle, half, marker="o", capsize=3, label=name)
ax.set(xscale="log", yscale="log", xlabel="hidden units m", ylabel="held-out error, share of the variance")
ax.set_xticks(CODES, CODES)
ax.minorticks_off()
ax.legend(frameon=False)
demo.figure(fig, "bottleneck", f"Mean and 95% interval over {len(SEEDS)} seeds (split and initial weights).")
gain = np.array(bottleneck["PCA"]) / np.array(bottleneck["deep network"])
demo.table(
    "Held-out error as a share of the variance, by number of units in the bottleneck, mean ± 95% interval",
    ["units", *CODES],
    [[name, *(pm(column) for column in np.array(values).T)] for name, values in bottleneck.items()]
    + [["PCA / network", *(pm(column, 2) for column in gain.T)]],
    f"The network is better than PCA in {(gain > 1).sum()} of {gain.size} pairs of seed and size.",
)

# %% [markdown]
# ## Case 2: sparse
#
# Grey windows of 10 x 10 pixels of photographs, mean and contrast divided out, whitened, with almost twice as many
# hidden units as pixels. The penalty alone could be evaded (smaller activations, larger decoder), so after every epoch
# the rows of the decoder are brought back to a largest length: 1 for L1, 2 for Kullback-Leibler. Held out are windows
# of other photographs. *Nearly zero* is less than a twentieth of the largest activation. *Localised*: the share of a
# feature's squared weights in the 5 x 5 square that holds most of them.

# %%
SIZE = 10
WINDOWS = 3000 if demo.quick else 30_000
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


measures, learned, activity = {}, {}, {}
for seed in SEEDS:
    windows = cut(data.TRAIN_PHOTOGRAPHS, WINDOWS, seed)
    white = downstream.whitening(windows, floor=0.5)
    seen, other = white(windows), white(cut(data.TEST_PHOTOGRAPHS, 2000, seed))
    for name, how in VARIANTS.items():
        sizes, epochs = (SIZE**2, 196, SIZE**2), 3 if demo.quick else 40
        net = fit(sizes, x=seen, task=identity(), seed=seed, label=name, epochs=epochs, batch=128, **how)
        H, used = net.features(other), net.weights[0].T
        peaked = np.mean(((used @ other.T) ** 4).mean(axis=1) / ((used @ other.T) ** 2).mean(axis=1) ** 2)
        row = [error(net, seen), error(net, other), np.mean(H < 0.05 * H.max()), peaked, localised(used)]
        measures.setdefault(name, []).append(row)
        strongest = np.argsort(-H.mean(axis=0) * np.linalg.norm(net.weights[1], axis=1))[:64]
        learned[name], activity[name] = used[strongest], H / H.max()
demo.table(
    f"Windows of photographs, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "training error", "held-out error", "nearly zero", "kurtosis before the activation", "localised"],
    [[name, *(pm(v) for v in np.array(values).T)] for name, values in measures.items()],
    "Kurtosis of W.x over the held-out windows, mean over units: 3 for Gaussian numbers. "
    f"Localised: {localised(np.random.default_rng(0).standard_normal((196, SIZE**2))):.2f} for random numbers.",
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
def decibels(values):
    return pm(values, 1) if np.isfinite(values).all() else ""


demo.table(
    f"Held-out images: peak signal-to-noise ratio in dB, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "all: input", "linear optimum", "network", "missing only: input", "linear optimum", "network"],
    [[name, *(decibels(v) for v in np.array(values).reshape(len(SEEDS), 6).T)] for name, values in restored.items()],
    "Input: the corrupted image itself, holes filled with the mean image. Kept are "
    f"{100 * HOLES['pixels missing'][0]:.0f}% of the pixels, {100 * HOLES['blocks missing'][0]:.0f}% of the blocks.",
)
fig, axes = plt.subplots(len(shown), 1, figsize=(9, 9.5))
for ax, (name, estimates) in zip(axes, shown.items(), strict=True):
    page = np.concatenate([a[:14] for a in (*estimates, unseen)]) + mean
    tiles(ax, page.reshape(-1, SIDE, SIDE), 14, name, limits=(0, 1))
demo.figure(
    fig,
    "restored",
    "Held-out images. In each panel, from above: input, linear optimum, network, truth. Where the missing ones alone "
    "count, the visible pixels of the output are untrained: judge it where the input has holes.",
)

# %% [markdown]
# ## The common thread
#
# Reconstruction of uncorrupted images says little about the features: the network that copies best is not the one whose
# features are best.

# %%
demo.table(
    f"Error as a share of the variance, and accuracy of a linear classifier of the features with ten labels per class; "
    f"{len(SEEDS)} seeds, mean ± 95% interval",
    ["", "training", "held-out", "noise", "accuracy", "less random weights"],
    [
        [
            name,
            *(pm(v) if np.isfinite(v).all() else "" for v in np.array(values).T),
            pm(np.array(values)[:, 3] - random),
        ]
        for name, values in results.items()
    ],
    "Errors are those of the uncorrupted input. Chance: 0.1. The last column is the difference seed by seed.",
)
best = max(results, key=lambda name: np.mean([row[3] for row in results[name]]))
copies = min(
    (name for name in results if len(name) and np.isfinite(results[name][0][2])), key=lambda k: results[k][0][2]
)
demo.say(
    f"Most useful features: {best}, {pm([row[3] for row in results[best]])}. "
    f"Best copier of noise: {copies}; {100 * np.mean([row[2] for row in results[copies]]):.1f}% of its variance left."
)

# %%
demo.finish()
