# %% [markdown]
# # Autoencoders
#
# Learn to reproduce the data from the data: regression that needs no labels. The trouble is that the identity does it
# perfectly and has learned nothing, so it must be made impossible. Here are the lecture's ways, each beside the best
# linear map for the same problem, on handwritten digits (or clothes, with `--fashion-mnist`).
#
# Images are split into training and held-out ones, several times. These splits share most of their images, so they are
# not independent, and their intervals are widened for it (Nadeau & Bengio 2003). The unit is the image.

# %%
import sys
from collections import namedtuple
from functools import partial

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import gallery
import numpy as np
from gallery import Demo, plt, progress, tiles
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_wine

import minissl
from minissl.goals import probe
from minissl.linear import pca, wiener
from minissl.nn.schedules import cosine
from minissl.tasks.autoencoder import denoise, image_blocks, l1, mask, reconstruct
from minissl.tasks.jigsaw import normalise

demo = Demo(
    "autoencoders",
    "Autoencoders: the identity, and how to make it impossible",
    "Regression from the data, possibly corrupted, to the same data; constrain it so that the identity is no solution.",
    "min E‖r(x̃) − x‖²;   x̃ = x and few or sparse hidden units, or x̃ = x + noise, or x̃ = x with holes",
    {"--fashion-mnist": {"metavar": "DIR", "help": "folder with Fashion-MNIST in IDX format (ten minutes)"}},
    limits="One data set of small images, one size of network, one classifier. A linear optimum is the best *linear* "
    "map for these data; better nonlinear methods exist than networks of one hidden layer. Settings were chosen by "
    "held-out loss and sparsity, without labels, on other splits of the same images; other settings may change the "
    "order of the features, and a dozen comparisons at 95% are expected to err now and then.",
)

# %%
if demo.options.fashion_mnist:
    images, labels = data.fashion_mnist(demo.options.fashion_mnist)
else:
    images, labels = data.digits()
if demo.quick:
    images, labels = images[:800], labels[:800]
N, n = images.shape
SIDE = int(n**0.5)
HELD_OUT = min(N // 4, 10_000)
RESPLIT = HELD_OUT / (N - HELD_OUT)
interval, pm = (partial(f, resplit=RESPLIT) for f in (gallery.interval, gallery.pm))  # over splits of the same images
LARGE = N > 10_000
SEEDS = range(2 if demo.quick or LARGE else 5)
BATCH, RATE, EPOCHS = (256, 4e-3, 5) if LARGE else (128, 8e-3, 5 if demo.quick else 80)
WIDE, CODE = (n, 1024 if n > 500 else 4 * n, n), 8


Split = namedtuple("Split", "x y unseen truth noise mean")  # x, unseen: images of which the labels are y, truth


def split(seed):
    """Images less the mean training image, and their labels; noise made of the held-out ones."""
    rng = np.random.default_rng(seed)
    held_out, rest = np.split(rng.permutation(N), [HELD_OUT])
    mean = images[rest].mean(axis=0)
    unseen = images[held_out] - mean
    noise = rng.permuted(unseen, axis=0)
    return Split(images[rest] - mean, labels[rest], unseen, labels[held_out], noise, mean)


def training(sizes, activation, x, task, seed, label, epochs=EPOCHS, batch_size=BATCH, bound=None, **how):
    """The network after each epoch; `bound` is the greatest length that a row of the decoder may have."""
    net = minissl.MLP(sizes, activation, rng=seed)
    how |= {"epochs": epochs, "batch_size": batch_size, "optimizer": minissl.Adam(RATE), "schedule": cosine}
    for _ in progress(minissl.train_epochs(net, x, task, minissl.squared_error, rng=seed, **how), epochs, label):
        if bound is not None:
            rows = net.weights[-1]
            rows /= np.maximum(1, np.linalg.norm(rows, axis=1, keepdims=True) / bound)
        yield net


def fit(*how, **settings):
    return list(training(*how, **settings))[-1]


def error(r, x):
    """Reconstruction error as a share of the variance of x, whose mean is about zero; the mean alone gives 1."""
    return float(((r(x) - x) ** 2).sum() / (x**2).sum())


def accuracy(features, parts, per_class=10, draws=1 if demo.quick else 2):
    """Of a linear classifier of standardised features, on held-out images; mean over draws of the few labelled ones."""
    H, unseen = features(parts.x), features(parts.unseen)
    mean, deviation = H.mean(axis=0), H.std(axis=0) + 1e-3 * H.std()
    unseen, right = (unseen - mean) / deviation, []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(H))
        few = np.concatenate([order[parts.y[order] == c][:per_class] for c in range(10)])
        inputs, c = (H[few] - mean) / deviation, parts.y[few]
        l2, _ = probe.cross_validate_l2(inputs, c, rng=0)
        right.append(np.mean(probe.linear_probe(inputs, c, l2).predict(unseen) == parts.truth))
    return np.mean(right)


def pictures(ax, rows, columns, mean, title=""):
    """Rows of images, each with its name at the left; NaN is blue."""
    page = np.concatenate([a[:columns] for a in rows.values()]) + mean
    tiles(ax, page.reshape(-1, SIDE, SIDE), columns, title, limits=(0, 1))
    ax.images[0].set_cmap(plt.get_cmap("gray").with_extremes(bad="#56B4E9"))
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

curve = np.array(curve)
fig, ax = plt.subplots(figsize=(9, 3.4))
for k, (name, style) in enumerate((("training images", "-"), ("held-out images", "--"), ("noise", "-."))):
    ax.plot(range(1, EPOCHS + 1), curve[:, :, k].T, color=f"C{k}", lw=1, ls=style)
    ax.plot([], [], color=f"C{k}", ls=style, label=name)
ax.set(yscale="log", xlabel="epoch", ylabel="error, share of the variance")
ax.legend()
copied = curve[:, -1].mean(axis=0)
demo.figure(
    fig,
    "identity",
    f"No constraint: the error falls on images and on noise alike, to {100 * copied[1]:.2g}% and "
    f"{100 * copied[2]:.2g}% of the variance. It has never seen noise; it has learned to copy. {len(SEEDS)} splits.",
    alt="Errors on a logarithmic scale against epochs: training images, held-out images and noise all fall together.",
)

# %%
fig, ax = plt.subplots(figsize=(9, 2.3))
rows = {"held out": parts.unseen, "copy": copier(parts.unseen), "noise": parts.noise, "its copy": copier(parts.noise)}
pictures(ax, rows, 16, parts.mean)
demo.figure(
    fig,
    "copies",
    f"Held-out images and noise, each above its copy by the network without constraint (seed {seed}).",
    alt="Four rows of small images: digits, their copies, noise, its copies. The copies look like the originals.",
)
plain = np.array(results["no constraint"])
random = np.array(results["random weights"])[:, 3]
demo.say(
    f"A linear classifier of the copying network's features with ten labels per class has an accuracy of "
    f"{pm(plain[:, 3])}; of those of random weights, {pm(random)}. The difference, split by split: "
    f"{pm(plain[:, 3] - random)}."
)

# %% [markdown]
# ## Case 1: bottleneck
#
# No linear map through m units can do better than PCA on the training data, [pca.7]. A deep network can; on images that
# it has not seen as well, if there are enough to learn from.

# %%
CODES, bottleneck = (2, 8, 32), []


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


def per_cent(ratio, resplit):
    """A geometric mean of ratios and its interval, in per cent."""
    middle, half = gallery.interval(np.log(ratio), resplit)
    low, middle, high = 100 * np.exp([middle - half, middle, middle + half])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


bottleneck = np.array(bottleneck)
ratio = bottleneck[:, :, 1] / bottleneck[:, :, 0]
fig, ax = plt.subplots(figsize=(9, 3.4))
for k, name in enumerate(("PCA", "deep network")):
    ax.errorbar(CODES, *interval(bottleneck[:, :, k]), marker="o", ms=4, capsize=3, label=name)
ax.set(xscale="log", yscale="log", xlabel="units in the bottleneck", ylabel="held-out error, share of the variance")
ax.set_xticks(CODES, CODES)
ax.minorticks_off()
ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
ax.legend()
demo.figure(
    fig,
    "bottleneck",
    f"Images through a bottleneck: mean and 95% interval over {len(SEEDS)} splits.",
    alt="Held-out error against the units in the bottleneck, both logarithmic. Both curves fall; the deep network's is "
    "below that of PCA throughout.",
)
demo.table(
    "Images: held-out error as a share of the variance",
    ["units in the bottleneck", "PCA", "deep network", "network's error, % of PCA's"],
    [[m, *(pm(column) for column in bottleneck[:, k].T), per_cent(ratio[:, k], RESPLIT)] for k, m in enumerate(CODES)],
    f"Last column: geometric mean over the splits of the same images, and its 95% interval. The network is better than "
    f"PCA in {(ratio < 1).sum()} of {ratio.size} pairs of split and size.",
)

# %% [markdown]
# That is true of images, which lie near a curved surface and of which there are more than a thousand to learn from. On
# small tables of measurements it need not be. Here are two, standardised: 178 wines with 13 measurements, and 569
# tumours with 30.

# %%
TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}
HIDDEN, SPLITS = 128, range(2 if demo.quick else 10)


def standardised(x, rng):
    """Training and held-out samples, each variable less the training mean, over the training deviation."""
    held_out, rest = np.split(rng.permutation(len(x)), [len(x) // 4])
    mean, deviation = x[rest].mean(axis=0), x[rest].std(axis=0)
    return (((x[part] - mean) / deviation).astype(np.float32) for part in (rest, held_out))


rows, tables = [], {}
for name, load in TABLES.items():
    for m in CODES[:2]:
        errors = []
        for seed in SPLITS:
            x, unseen = standardised(load().data, np.random.default_rng(seed))
            axes = pca.by_svd(x, m)
            sizes = (x.shape[1], HIDDEN, m, HIDDEN, x.shape[1])
            how = {"epochs": min(50, EPOCHS), "batch_size": 64, "label": f"{name}, {m} units"}
            net = fit(sizes, ("tanh", "identity", "relu"), x, reconstruct(), seed, **how)
            errors.append([error(through(axes), unseen), error(net, unseen), error(through(axes), x), error(net, x)])
        errors = tables[name, m] = np.array(errors)
        cells = [gallery.pm(errors[:, k], 3, 1 / 3) for k in (0, 1)]
        rows.append([f"{name}, {m} units", *cells, *(per_cent(errors[:, k + 1] / errors[:, k], 1 / 3) for k in (0, 2))])
demo.table(
    "Small tables: error as a share of the variance",
    ["", "PCA, held out", "deep network, held out", "network's, % of PCA's, held out", "% of PCA's, training"],
    rows,
    f"{len(SPLITS)} splits of the same samples, a quarter held out. In training the network is far ahead; most of that "
    "does not carry over to samples that it has not seen."
    if all((e[:, 3] < e[:, 2]).all() for e in tables.values())
    else f"{len(SPLITS)} splits of the same samples, a quarter held out.",
)

# %% [markdown]
# ## Case 2: sparse
#
# As many hidden units as one likes, if few of them are active at a time. The penalty alone can be evaded: nearly
# constant activations and a decoder with large weights copy as well, and units that are bounded, such as sigmoid ones,
# do not prevent it, [autoencoder.7]. What does is a bound on the rows of the decoder, [autoencoder.8]: after every
# epoch they are brought back to a greatest length. The images first, for the table at the end. Then grey windows of
# 10 × 10 pixels of photographs, mean and contrast divided out, whitened, with almost twice as many hidden units as
# pixels. Held out are two of the six photographs at a time: the first two, then the next two, then the last two.

# %%
for seed in SEEDS:
    parts = split(seed)
    net = fit(WIDE, "relu", parts.x, reconstruct(), seed, "L1", penalties={1: l1(0.1)}, bound=1)
    judge("sparse", parts, net.features, net)

# %%
SIZE, UNITS = 10, 196
WINDOWS, WINDOW_EPOCHS = (2000, 2) if demo.quick else (20_000, 14)
PHOTOGRAPHS = (*data.TRAIN_PHOTOGRAPHS, *data.TEST_PHOTOGRAPHS)
PAIRS = [PHOTOGRAPHS[k : k + 2] for k in range(0, 4 if demo.quick else 6, 2)]
VARIANTS = {"no penalty": {}, "sparse": {"penalties": {1: l1(1.0)}, "bound": 1}}


def cut(names, number, rng):
    photographs = [data.grey(data.photograph(name)) for name in names]
    x = data.windows(photographs, SIZE, number, rng).reshape(number, -1)
    return normalise(x[x.std(axis=1) > 0.02])


def localised(features):
    squares = (features**2).reshape(-1, SIZE, SIZE)
    parts = np.lib.stride_tricks.sliding_window_view(squares, (5, 5), axis=(1, 2)).sum(axis=(3, 4))
    return np.mean(parts.max(axis=(1, 2)) / squares.sum(axis=(1, 2)))


measures, learned = {}, {}
for seed, pair in enumerate(PAIRS):
    windows = cut([name for name in PHOTOGRAPHS if name not in pair], WINDOWS, seed)
    white = probe.whitening(windows, floor=0.5)
    seen, other = white(windows), white(cut(pair, 2000, seed))
    noise = np.random.default_rng(seed).permuted(other, axis=0)
    for name, how in VARIANTS.items():
        sizes = (SIZE**2, UNITS, SIZE**2)
        net = fit(sizes, "relu", seen, reconstruct(), seed, name, epochs=WINDOW_EPOCHS, **how)
        H, W = net.features(other), net.weights[0]
        zero = 100 * np.mean(H < 0.05 * H.max())
        measures.setdefault(name, []).append([*(error(net, a) for a in (other, noise)), zero, localised(W.T)])
        strongest = np.argsort(-H.mean(axis=0) * np.linalg.norm(net.weights[1], axis=1))[:64]
        learned[name] = W.T[strongest]
gaussian = np.random.default_rng(0).standard_normal((UNITS, SIZE**2))
demo.table(
    f"Windows of photographs left out, {len(PAIRS)} pairs of photographs",
    ["", "error on windows", "error on noise", "nearly zero, %", "localised"],
    [[name, *(gallery.pm(v) for v in np.array(values).T)] for name, values in measures.items()],
    "Errors are shares of the variance. Nearly zero: activations below a twentieth of the largest. Localised: share of "
    "a unit's squared weights in the quarter of the window that holds most of them; "
    f"{localised(gaussian):.3f} for random numbers. Intervals are over the pairs.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 4))
for ax, (name, features) in zip(axes, learned.items(), strict=True):
    scaled = features.reshape(-1, SIZE, SIZE) / np.abs(features).max(axis=1)[:, None, None]
    tiles(ax, scaled, 8, name, limits=(-1, 1))
demo.figure(
    fig,
    "sparse",
    f"Weights of the 64 units that do most, in the whitened space, each by its own scale. Left out: {', '.join(pair)}.",
    alt="Two grids of 64 small images of weights. Without a penalty they look like noise; with one, many show an "
    "edge or bars.",
)

# %% [markdown]
# ## Case 3: noise and holes
#
# The identity is no solution where the input is not the target. The linear optimum is known in closed form. Where only
# what is missing counts in the loss, nothing is asked of the visible pixels, whose output is then anything. So the
# table judges all of them by the changed pixels alone; one would keep the others as they are.

# %%
SIGMA, BLOCKS = 0.3, image_blocks((SIDE, SIDE), (SIDE // 4, SIDE // 4))
MISSING = {  # p: probability of a hole
    "pixels missing": {"p": 0.5},
    "blocks missing": {"p": 0.25, "blocks": BLOCKS},
    "blocks missing (loss on them alone)": {"p": 0.25, "blocks": BLOCKS, "missing_only": True},
}
TASKS = {f"noise of {SIGMA}": (denoise(SIGMA), partial(wiener.denoising, sigma=SIGMA))}  # with its linear optimum
TASKS |= {name: (mask(**how), partial(wiener.masking, **how)) for name, how in MISSING.items()}


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
        changed = input != parts.unseen
        decibels.setdefault(name, []).append([psnr(estimate, parts.unseen, changed) for estimate in estimates])
        holes = changed & (input == 0)
        shown[name] = np.where(holes, np.nan, input), *estimates[1:], parts.unseen

# %%
decibels = {name: np.array(values) for name, values in decibels.items()}
demo.table(
    "Held-out images: peak signal-to-noise ratio in dB, of the pixels that were changed",
    ["", "input", "linear optimum", "network", "network − linear"],
    [[name, *(pm(v, 1) for v in values.T), pm(values[:, 2] - values[:, 1], 1)] for name, values in decibels.items()],
    f"Input: the corrupted image itself, holes filled with the mean image. Noise of standard deviation {SIGMA} changes "
    "all pixels; half of the pixels are missing, or a quarter of the blocks. Intensities go from 0 to 1.",
)
fig, axes = plt.subplots(1, 3, figsize=(9, 2.2))
for ax, name in zip(axes, [name for name in shown if "alone" not in name], strict=True):
    labels = ("input", "linear", "network", "truth") if ax is axes[0] else ("", " ", "  ", "   ")
    pictures(ax, dict(zip(labels, shown[name], strict=True)), 6, parts.mean, name)
demo.figure(
    fig,
    "restored",
    f"Held-out images (seed {seed}) as the network gets them, with holes in blue, and what is made of them.",
    alt="Three panels of four rows of digits: corrupted, restored linearly, restored by the network, and as they were. "
    "The network's digits are sharper than the linear ones.",
)

# %% [markdown]
# ## The common thread
#
# Does a better copy of uncorrupted images mean better features? The features go to a linear classifier with ten labels
# per class, whose penalty is chosen by cross-validation within the few labelled images, and are compared with those of
# as many random units. Settings were chosen by held-out loss and sparsity, without labels, on other splits of the same
# images.

# %%
table = {name: np.array(values).T for name, values in results.items()}
gains = {}
for name, scores in table.items():
    if not name.startswith("random"):
        baseline = f"random weights, {CODE} units" if name.endswith(f"of {CODE}") else "random weights"
        gains[name] = 100 * (scores[3] - table[baseline][3])
wide = [name for name in gains if not name.endswith(f"of {CODE}")]
ordered = sorted(wide, key=lambda name: gains[name].mean())
fig, ax = plt.subplots(figsize=(9, 3.4))
middle, half = interval(np.array([gains[name] for name in ordered]).T)
ax.errorbar(middle, ordered, xerr=half, fmt="o", ms=5, capsize=3)
ax.axvline(0, color="grey", lw=0.8, ls=":")
ax.set(xlabel="accuracy gained over as many random units, in points")
demo.figure(
    fig,
    "features",
    f"A linear classifier of the features, with ten labels per class: gains over {WIDE[1]} random units, split by "
    f"split, mean and 95% interval over {len(SEEDS)} splits. Codes of {CODE} are in the table.",
    alt="Dots with intervals, sorted. From the worst to the best: " + ", ".join(ordered) + ".",
    main=True,
)
demo.table(
    "Errors as shares of the variance; accuracy, and its gain over as many random units, in per cent",
    ["", "error, training", "held out", "noise", "accuracy", "gain"],
    [
        [
            name,
            *(pm(v) if np.isfinite(v).all() else "" for v in scores[:3]),
            pm(100 * scores[3], 1),
            pm(gains[name], 1) if name in gains else "",
        ]
        for name, scores in table.items()
    ],
    "Errors are of uncorrupted input, which a network trained on holes has never seen. Chance: 10. There are "
    f"{WIDE[1]} units where nothing is said. Last column: the difference, split by split, from as many random units.",
)
networks = [name for name in wide if np.isfinite(table[name][0]).all()]  # of one width
copy, use = ([table[name][k].mean() for name in networks] for k in (1, 3))
rank = spearmanr(copy, use)[0]
verdict = {"better": [], "worse": [], "undecided": []}
for name, gain in gains.items():
    mean, width = interval(gain)
    verdict["undecided" if abs(mean) <= width else "better" if mean > 0 else "worse"].append(name)
demo.say(
    "Beside as many random units, by the interval: "
    + "; ".join(f"{word}: {', '.join(names) or 'none'}" for word, names in verdict.items())
    + f". Over the {len(networks)} autoencoders of {WIDE[1]} units, the rank correlation of the error of the copy with "
    f"the accuracy of the features is {rank:.2f}".replace("-", "−")
    + (
        ": a better copy of uncorrupted images does not mean better features. Here worse copies tend to go with better "
        f"features, but {len(networks)} are few."
        if rank > 0 and not demo.quick
        else "."
    )
)
gain = f"noise of {SIGMA}"
more = pm(gains[gain] - gains["no constraint"], 1)
demo.lesson(
    f"Left free, a network learns to copy, even noise, and its features gain {pm(gains['no constraint'], 1)} points of "
    f"accuracy over random weights; those of a network made to remove noise gain {pm(gains[gain], 1)}, "
    f"{more} more, split by split.".replace("-", "−"),
    f"{gains[gain].mean():+.1f} points",
)

# %%
demo.finish()
