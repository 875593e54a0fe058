# %% [markdown]
# # What the features are for: few labels, many unlabelled images
#
# Train by self-supervised learning on a large unlabelled set; give the features to a simple classifier, a linear one,
# trained on a small labelled set. Its accuracy in the end is the measure of a pretext task. The honest baseline of each
# is its own network before training, of the same sizes and activation: what is better was learned, what is not came
# with the architecture.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, plt, progress
from scipy.stats import t
from sklearn.semi_supervised import LabelSpreading

import minissl
from minissl.goals import probe
from minissl.linear import pca
from minissl.nn.schedules import cosine
from minissl.tasks.augmentations import affine
from minissl.tasks.autoencoder import denoise, image_blocks, kl_sparsity, mask, reconstruct
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.tasks.shuffling import against_shuffled
from minissl.tasks.views import info_nce, two_views

demo = Demo(
    "downstream",
    "What the features are for: few labels, many unlabelled images",
    "Train on a large unlabelled set, give the features to a simple classifier of a small labelled set. The final "
    "measure of this kind of self-supervised learning is accuracy in the downstream task.",
    "Y = H Wᵀ + 1 bᵀ,   J = (1/N) Σᵢ [ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}] + ½λ Σₖⱼ Wₖⱼ²",
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
VIEWS, VIEW_SPLITS, VIEW_EPOCHS = "two views of pixels", 1 if demo.quick else 4, 2 if demo.quick else 300

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
    settings["schedule"] = lambda share: 1 if share < 2 / 3 else 0.2
    for _ in progress(minissl.train_epochs(net, x, task, loss, **settings), epochs, label):
        pass
    return net


def representations(seen, seed):
    """(row, its features of all images, those of its network before training), learned from `seen` without labels."""
    x = pooled(seen, np.random.default_rng(seed)).astype(np.float32)
    pixels = pca.by_svd(images[seen], 40)
    yield "raw pixels", images, None
    yield "PCA of pixels, 40", pixels.encode(images), None
    yield "pooled random windows", x, None
    yield "random weights", minissl.MLP(wide, rng=seed).features(x), None
    for name, (make, loss, sizes, activation, learning_rate, penalties) in TASKS.items():
        net = minissl.MLP(sizes, activation, rng=seed)
        before = net.features(x)
        trained(net, x[seen], make(x[seen]), loss, learning_rate, penalties, EPOCHS, seed, name)
        yield name, net.features(x), before
    if SIDE == 8 and seed < VIEW_SPLITS:
        net = minissl.MLP((64, 400, 400, 400, 64), rng=seed)
        before = net.features(images, layer=3)
        task, loss = two_views(affine((8, 8), shift=0.7, rotation=15, shear=0.2, scale=1.2)), info_nce(0.5)
        epochs = minissl.train_epochs(
            net, images[seen], task, loss, epochs=VIEW_EPOCHS, batch_size=256, schedule=cosine, rng=seed
        )
        for _ in progress(epochs, VIEW_EPOCHS, "two views"):
            pass
        yield VIEWS, net.features(images, layer=3), before


# %% [markdown]
# ## Two views of whole images
#
# The last task needs no windows: a plain network of three hidden layers of 400 units sees the 64 pixels, and learns
# which of two views, the image under a random affine map, belong together (InfoNCE). Its features are the third hidden
# layer; the output, a projection head, is thrown away. It takes longest, so it has fewer splits than the others.

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
scores, untrained = {}, {}
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(half)
    test, pool = order[:TEST], order[TEST:]
    seen = np.setdiff1d(np.arange(len(images)), test)
    equal = [np.concatenate([pool[labels[pool] == c][: n // 10] for c in range(10)]) for n in NUMBERS]
    budgets = [pool if n == len(pool) else few for n, few in zip(NUMBERS, equal, strict=True)]
    for name, features, before in representations(seen, seed):
        for table, F in ((scores, features), (untrained, before)):
            if F is not None:
                H = unit_scale(F.astype(np.float64), seen)
                table.setdefault(name, []).append([probed(H, few, test) for few in budgets])
        if name == "pooled random windows":
            scratch = [from_scratch(features, few, test, seed) for few in budgets]
            scores.setdefault("supervised from scratch", []).append(scratch)
    if len(images) < 10_000:
        scores.setdefault("(label spreading)", []).append([spread(few, test) for few in budgets])
scores = {name: np.array(values) for name, values in scores.items()}
gains = {name: scores[name] - np.array(values) for name, values in untrained.items()}


def corrected(values, digits=3):
    """Mean ± 95% interval over re-splits of the same images, which overlap (Nadeau & Bengio 2003), as text."""
    J = len(values)
    if J < 2:
        return f"{np.mean(values):.{digits}f}"
    width = t.ppf(0.975, J - 1) * np.std(values, ddof=1) * (1 / J + TEST / (len(half) - TEST)) ** 0.5
    return f"{np.mean(values):+.{digits}f} ± {width:.{digits}f}"


# %%
demo.table(
    f"What each task adds to its own untrained network, at most {SPLITS} splits",
    ["task", *(f"{n} labels" for n in NUMBERS)],
    [[name, *(corrected(column) for column in values.T)] for name, values in gains.items()],
    f"Accuracy on {TEST} test images less that of the same network before training, mean ± 95% interval, corrected for "
    f"the overlap of re-splits of the same images (Nadeau & Bengio 2003); {VIEWS}: {VIEW_SPLITS} splits.",
)
demo.table(
    "Accuracy by number of labels, mean ± 95% interval of the mean over these images' re-splits",
    ["features", *(f"{n} labels" for n in NUMBERS)],
    [[name, *(corrected(column).lstrip("+") for column in values.T)] for name, values in scores.items()],
    f"{TEST} test images, not seen before; chance 0.1. In brackets: sees the test images' pixels.",
)

# %%
names = sorted(gains, key=lambda name: gains[name][:, 0].mean())
fig, ax = plt.subplots(figsize=(8, 3.6))
for k, n in enumerate(NUMBERS[:3]):
    middle = [gains[name][:, k].mean() for name in names]
    ax.plot(middle, np.arange(len(names)) + 0.15 * (1 - k), "os^"[k], color=f"C{k}", label=f"{n} labels")
ax.axvline(0, color="grey", lw=0.8, ls="-")
ax.set_yticks(range(len(names)), names)
ax.set_xlabel("accuracy gained over the same network untrained")
ax.legend()
demo.figure(
    fig,
    "gains",
    "What was learned: accuracy beyond each task's own network before training, mean over splits.",
    alt="Dots for each pretext task at 20, 50 and 100 labels, sorted by gain; most gains shrink as labels grow.",
    main=True,
)

# %% [markdown]
# ## Which tasks help

# %%
first = NUMBERS[0]
shown = VIEWS if VIEWS in scores else "noise contrast"
demo.lesson(
    f"With {first} labels, a linear classifier reaches {scores[shown][:, 0].mean():.2f} on features of {shown} and "
    f"{scores['raw pixels'][:, 0].mean():.2f} on raw pixels; the gain over the same network "
    f"untrained is {corrected(gains[shown][:, 0], 2)}.",
    f"{scores[shown][:, 0].mean():.2f}",
)
demo.say(
    "The gains shrink as labels grow: partly because labels say what the features said, partly because accuracy has a "
    "ceiling. Which task helps is a matter of these images, this input and this network."
)
demo.finish()
