# %% [markdown]
# # What the features are for: few labels, many unlabelled images
#
# Train by self-supervised learning on a large unlabelled set; give the features to a simple classifier, a linear one,
# trained on a small labelled set. Its accuracy in the end is the measure of a pretext task. Every task here trains the
# same network on the same input, so the honest baseline is that network before training: what is better than *random
# weights* was learned, what is not came with the architecture.

# %%
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress
from sklearn.semi_supervised import LabelSpreading

import minissl
from minissl.goals import probe
from minissl.linear import pca
from minissl.tasks.autoencoder import denoise, image_blocks, kl_sparsity, mask, reconstruct
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.tasks.shuffling import against_shuffled

demo = Demo(
    "downstream",
    "What the features are for: few labels, many unlabelled images",
    "Train on a large unlabelled set, give the features to a simple classifier of a small labelled set. The final "
    "measure of this kind of self-supervised learning is accuracy in the downstream task.",
    "Y = H W^T + 1 b^T,   J = (1/N) sum_i [ln sum_k exp(Y_ik) - Y_ic_i] + lambda/2 sum_kj W_kj^2",
    {
        "--fashion-mnist": {
            "metavar": "DIR",
            "help": "folder with Fashion-MNIST in IDX format, 28 x 28 (seven minutes)",
        }
    },
)
if demo.options.fashion_mnist:
    images, labels = data.fashion_mnist(demo.options.fashion_mnist)
    NUMBERS, WINDOW, EPOCHS, TEST, SPLITS = (100, 1000), 6, 4, 5000, 6
else:
    images, labels = data.digits()
    NUMBERS, WINDOW, EPOCHS, TEST, SPLITS = (20, 50, 100, 599), 4, 40, 300, 12  # 599: all of them
if demo.quick:
    images, labels, EPOCHS, SPLITS = images[:1797], labels[:1797], 2, 2
    NUMBERS, TEST = NUMBERS[:2], min(TEST, 300)
SIDE = int(images.shape[1] ** 0.5)

# %% [markdown]
# ## What the network sees
#
# Windows of the image, whitened, go through random units, rectified above a threshold; each unit is averaged over the
# four quarters of the image (Coates, Ng & Lee 2011), and the averages are brought to their principal components,
# the same for all quarters. So an image is four quarters of 40 numbers each: 160 numbers, laid out like an image of
# 2 x 80 pixels in patches of 1 x 40. All tasks of this project apply to it as they do to pixels.

# %%
UNITS, COMPONENTS, THRESHOLD, HIDDEN = 160, 40, 0.5, 800
SHAPE = (2, 2 * COMPONENTS)
INPUT = 4 * COMPONENTS


def unit_scale(x, seen):
    """Centred on the unlabelled images, with a mean square of 1 over them."""
    x = x - x[seen].mean(axis=0)
    return x / np.sqrt((x[seen] ** 2).mean())


def pooled(seen, rng):
    """The 160 numbers of every image; whitening and components are fitted on the unlabelled images `seen`."""
    padded = np.pad(images.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
    some = data.windows(padded[rng.choice(seen, 500)], WINDOW, 20_000, rng).reshape(-1, WINDOW**2)
    white = probe.whitening(some, floor=0.5)
    W = (rng.standard_normal((WINDOW**2, UNITS)) / WINDOW).astype(np.float32)
    units = lambda q: np.maximum(white(q) @ W - np.float32(THRESHOLD), 0)  # noqa: E731
    F = probe.pooled_features(units, padded, (WINDOW, WINDOW)).reshape(-1, 4, UNITS)
    F = (F - F[seen].mean(axis=0)) / F[seen].std(axis=(0, 1))
    axes = pca.by_svd(F[seen].reshape(-1, UNITS), COMPONENTS)
    return unit_scale(axes.encode(F.reshape(-1, UNITS)).reshape(-1, INPUT), seen)


# %% [markdown]
# ## The tasks
#
# One network, 160 inputs and 800 hidden units, which are the features. It tells the pooled features from Gaussian noise
# of the same covariance, or from features whose variables were shuffled across images; finds out in which of 24 orders
# the quarters are; or reconstructs: through a bottleneck of 40 units, with sparse sigmoid units (and a little noise),
# from noisy features, or with whole quarters missing. Settings (window, units, noise, sparsity, epochs) were chosen
# with the labels of one half of the digits. What is shown uses labels, for training and for judging, of the other half
# only.

# %%
wide, one = (INPUT, HIDDEN, INPUT), (INPUT, HIDDEN, 1)
quarters = image_blocks(SHAPE, (1, COMPONENTS))
orders = max_hamming_permutations(4, 24, rng=0)
TASKS = {  # name: (input x -> task, loss, sizes, activation, step size, penalties)
    "noise contrast": (
        lambda x: against_noise(fit_gaussian(x)),
        minissl.sigmoid_cross_entropy,
        one,
        "relu",
        2e-3,
        None,
    ),
    "shuffled variables": (lambda x: against_shuffled(), minissl.sigmoid_cross_entropy, one, "relu", 1e-3, None),
    "jigsaw": (
        lambda x: jigsaw(SHAPE, (2, 2), orders, normalised=False),
        minissl.softmax_cross_entropy,
        (INPUT, HIDDEN, 24),
        "relu",
        1e-3,
        None,
    ),
    "bottleneck": (lambda x: reconstruct(), minissl.squared_error, (INPUT, 40, INPUT), "relu", 2e-3, None),
    "sparse": (lambda x: denoise(0.5), minissl.squared_error, wide, "sigmoid", 4e-3, {1: kl_sparsity(3, 0.02)}),
    "denoising": (lambda x: denoise(1.0), minissl.squared_error, wide, "relu", 2e-3, None),
    "masking": (lambda x: mask(0.25, blocks=quarters), minissl.squared_error, wide, "relu", 2e-3, None),
}


def trained(net, x, task, loss, learning_rate, penalties, epochs, seed, label):
    """Adam, the step a fifth as long for the last third of the epochs."""
    optimizer = minissl.Adam(learning_rate)
    settings = {"epochs": epochs, "batch_size": 64, "optimizer": optimizer, "penalties": penalties, "rng": seed}
    for epoch, _ in enumerate(progress(minissl.train_epochs(net, x, task, loss, **settings), epochs, label), 1):
        if epoch == epochs * 2 // 3:
            optimizer.learning_rate = learning_rate / 5
    return net


def representations(seen, seed):
    """The features of all images by every row of the table, learned from the images `seen` without labels."""
    x = pooled(seen, np.random.default_rng(seed)).astype(np.float32)
    pixels = pca.by_svd(images[seen], 40)
    yield "raw pixels", images
    yield "PCA of pixels, 40", pixels.encode(images)
    yield "pooled random windows", x
    yield "random weights", minissl.MLP(wide, rng=seed).features(x)
    for name, (make, loss, sizes, activation, learning_rate, penalties) in TASKS.items():
        net = minissl.MLP(sizes, activation, rng=seed)
        trained(net, x[seen], make(x[seen]), loss, learning_rate, penalties, EPOCHS, seed, name)
        yield name, net.features(x)


# %% [markdown]
# ## The measure
#
# The labelled samples, the same for every row, train a logistic regression; its penalty is chosen among five by
# cross-validation within them. Two more rows use labels otherwise: the same network trained on the labelled samples
# alone, from scratch; and label spreading over the graph of nearest neighbours (Zhou et al. 2004), which sees the
# pixels of all images, the test images' included.


# %%
def probed(H, few, test):
    """Accuracy on the test images of a linear classifier of the labelled ones."""
    l2, _ = probe.cross_validate_l2(H[few], labels[few], (0.01, 0.1, 1.0, 10.0, 100.0), rng=0, tolerance=1e-3)
    return np.mean(probe.linear_probe(H[few], labels[few], l2, tolerance=1e-3).predict(H[test]) == labels[test])


def from_scratch(x, few, test, seed):
    """Accuracy of the network when labels are all that it is given."""
    net, y = minissl.MLP((INPUT, HIDDEN, 10), rng=seed), labels[few]
    pair = np.concatenate([x[few], y[:, None]], axis=1).astype(np.float32)
    task = lambda batch, rng: (batch[:, :-1].copy(), batch[:, -1].astype(int))  # noqa: E731
    trained(net, pair, task, minissl.softmax_cross_entropy, 1e-3, None, 2 * EPOCHS, seed, "from scratch")
    return np.mean(net(x[test]).argmax(axis=1) == labels[test])


def spread(few, test):
    """Accuracy of label spreading on the pixels."""
    known = np.full(len(images), -1)
    known[few] = labels[few]
    graph = LabelSpreading("knn", n_neighbors=7, alpha=0.2).fit(images, known)
    return np.mean(graph.transduction_[test] == labels[test])


half = np.random.default_rng(2025).permutation(len(images))[len(images) // 2 :]  # its labels chose nothing
scores = {}
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(half)
    test, pool = order[:TEST], order[TEST:]
    seen = np.setdiff1d(np.arange(len(images)), test)
    equal = [np.concatenate([pool[labels[pool] == c][: n // 10] for c in range(10)]) for n in NUMBERS]
    budgets = [pool if n == len(pool) else few for n, few in zip(NUMBERS, equal, strict=True)]
    for name, features in representations(seen, seed):
        H = unit_scale(features.astype(np.float64), seen)
        scores.setdefault(name, []).append([probed(H, few, test) for few in budgets])
        if name == "pooled random windows":
            scratch = [from_scratch(features, few, test, seed) for few in budgets]
            scores.setdefault("supervised from scratch", []).append(scratch)
    if len(images) < 10_000:
        scores.setdefault("(label spreading)", []).append([spread(few, test) for few in budgets])
scores = {name: np.array(values) for name, values in scores.items()}

# %%
baseline = scores["random weights"]
demo.table(
    f"Accuracy by number of labels, {SPLITS} splits, mean ± 95% interval",
    ["", *NUMBERS, *(f"less random, {n}" for n in NUMBERS)],
    [
        [name, *(pm(v) for v in values.T), *(("",) * len(NUMBERS) if name == "random weights" else map(pm, gains.T))]
        for name, values in scores.items()
        for gains in [values - baseline]
    ],
    f"{TEST} test images, not seen before; chance 0.1. Differences from random weights are taken split by split.",
)

# %%
fig, ax = plt.subplots(figsize=(8, 4.6))
greys = dict(
    zip([name for name in scores if name not in TASKS], ("0.8", "0.7", "0.55", "0.45", "0.0", "0.3"), strict=False)
)
for k, (name, values) in enumerate(scores.items()):
    middle, half_width = interval(values)
    style = {"color": greys[name], "ls": ":", "marker": "s^Dv*X"[list(greys).index(name)]} if name in greys else {}
    places = np.array(NUMBERS) * 1.012 ** (k - len(scores) / 2)
    ax.errorbar(places, middle, half_width, **({"marker": ".", "lw": 1.8} | style), capsize=2, label=name)
ax.set(xscale="log", xlabel="labels", ylabel="accuracy on unseen images")
ax.set_xticks(NUMBERS, NUMBERS)
ax.minorticks_off()
ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
demo.figure(
    fig, "labels", "Colours: pretext tasks. Grey, dotted: what needs none; black: random weights. 95% intervals."
)

# %% [markdown]
# ## Which tasks help

# %%
verdicts = {"helps": [], "undecided": [], "harms": []}
for name in TASKS:
    middle, half_width = interval(scores[name][:, 0] - baseline[:, 0])
    key = "helps" if middle > half_width else "harms" if middle < -half_width else "undecided"
    verdicts[key].append(f"{name} ({middle:+.3f} ± {half_width:.3f})")
best, plain = (
    max(names, key=lambda name: scores[name][:, 0].mean())
    for names in (TASKS, [name for name in scores if name not in TASKS and "(" not in name])
)
last = [interval(scores[name][:, -1] - baseline[:, -1])[0] for name in TASKS]
demo.say(
    f"With {NUMBERS[0]} labels, beside random weights, split by split: "
    + "; ".join(f"{key}: {', '.join(found) or 'none'}" for key, found in verdicts.items())
    + f". Best: {best}, {pm(scores[best][:, 0] - scores[plain][:, 0])} beside the best row that needs no task, "
    f"{plain}. With {NUMBERS[-1]} labels the tasks are worth between {min(last):+.3f} and {max(last):+.3f}: "
    "the more labels, the less is left to learn without them."
)

# %%
demo.finish()
