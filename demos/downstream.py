# %% [markdown]
# # What the features are for: few labels, many unlabelled images
#
# Train by self-supervised learning on a large unlabelled set; give the features to a simple classifier, a linear one,
# trained on a small labelled set. Its accuracy in the end is the measure of a pretext task.
#
# First on whole images: a plain network takes the pixels, and learns from pretext tasks alone. Then on a stronger
# architecture, in which windows of the image are pooled. What is better than the *same network before training* was
# learned; what is not came with the architecture.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress
from sklearn.semi_supervised import LabelSpreading

import minissl
from minissl.goals.probe import cross_validate_l2, linear_probe, pooled_features, whitening
from minissl.linear import pca
from minissl.nn.losses import sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from minissl.nn.schedules import cosine
from minissl.tasks.augmentations import affine, compose, contrast, gaussian_noise
from minissl.tasks.autoencoder import denoise, image_blocks, mask
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.tasks.noncontrastive import barlow_twins, simsiam, vicreg
from minissl.tasks.shuffling import against_shuffled
from minissl.tasks.views import alignment, info_nce, nt_xent, spectral_contrastive, two_views, uniformity

demo = Demo(
    "downstream",
    "What the features are for: few labels, many unlabelled images",
    "Train on a large unlabelled set, give the features to a simple classifier of a small labelled set. The final "
    "measure of this kind of self-supervised learning is accuracy in the downstream task.",
    "Y = H Wᵀ + 1 bᵀ,   J = (1/N) Σᵢ [ln Σₖ exp Yᵢₖ − Y_{i,cᵢ}] + (λ/2) ‖W‖²",
    {"--fashion-mnist": {"metavar": "DIR", "help": "folder with Fashion-MNIST in IDX format (ten minutes)"}},
    limits="One data set of small images of ten equally frequent classes. The changes of two views say what does not "
    "matter in an image; no other task here is told so much. All but the supervised network see unlabelled images of "
    "the distribution that they are judged on.",
)
if demo.options.fashion_mnist:  # 28 x 28 pixels; all but the first row get means over 2 x 2 of them
    raw, labels = (a[:20_000] for a in data.fashion_mnist(demo.options.fashion_mnist))
    images = raw.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    NUMBERS, TEST, SPLITS, SOME, FEWER = (100, 1000), 3000, 3, 3, 2
    WINDOW, UNITS, COMPONENTS, VIEWS, TAU = 5, 400, 100, 4, 0.2
    HIDDEN, RATE, POOLED_RATE, LAYER = (256,) * 3, 3e-3, 2e-3, 1
    EPOCHS = {"task": 4, "views": 10, "pooled task": 4, "pooled views": 10, "losses": 4, "windows": 5}
    changes = [affine((14, 14), shift=0.7, rotation=5, shear=0.05, scale=1.1), contrast(0.5)]
else:
    raw, labels = data.digits()
    images = raw
    NUMBERS, TEST, SPLITS, SOME, FEWER = (20, 50, 100), 300, 12, 6, 3
    WINDOW, UNITS, COMPONENTS, VIEWS, TAU = 4, 160, 40, 20, 0.5
    HIDDEN, RATE, POOLED_RATE, LAYER = (192,) * 3, 5e-3, 4e-3, -2
    EPOCHS = {"task": 20, "views": 100, "pooled task": 20, "pooled views": 30, "losses": 40, "windows": 10}
    changes = [affine((8, 8), shift=0.8, rotation=20, shear=0.3, scale=1.3)]
if demo.quick:
    raw, images, labels, SPLITS, SOME, FEWER = raw[:1200], images[:1200], labels[:1200], 2, 2, 2
    NUMBERS, TEST, VIEWS, EPOCHS = NUMBERS[:2], 300, 2, dict.fromkeys(EPOCHS, 1)
PIXELS = images.shape[1]
SIDE = int(PIXELS**0.5)
changes = compose(*changes, gaussian_noise(0.11))

# %% [markdown]
# ## The measure
#
# The images were parted into two halves once. Whatever was chosen (networks, epochs, the layer, how strong the changes
# of two views are) was chosen with the labels of one half; what is shown uses labels, for training and for judging, of
# the other. In each split some of that half are left for judging; nothing but label spreading (below) has seen them.
# The features are centred, each image's are brought to length one, and a linear classifier gets the labels; its penalty
# is chosen among three by cross-validation within the labelled images.
#
# All intervals are 95% intervals over splits. Splits of the same images are not independent: the variance of the mean
# of J splits is taken to be 1/J plus the ratio of judged images to the rest, times the variance over splits (Nadeau &
# Bengio 2003). Differences are taken split by split. Two views and noise contrast, and what these are compared with,
# have all splits; the other tasks have the first of them, losses and rotation still fewer. Each table has one number of
# splits, which it says.

# %%
half = len(images) // 2
judging = np.random.default_rng(2025).permutation(len(images))[half:]
splits = []  # (judged images, labelled images for each number, all images but the judged)
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(judging)
    test, pool = order[:TEST], order[TEST:]
    few = [np.concatenate([pool[labels[pool] == c][: n // 10] for c in range(10)]) for n in NUMBERS]
    splits.append((test, few, np.setdiff1d(np.arange(len(images)), test)))
PENALTIES = (0.01, 0.1, 1.0)
RESPLIT = TEST / (len(judging) - TEST)


def accuracies(H, test, few, unlabelled):
    """Of the linear probe of features H of all images, for each number of labels."""
    H = H.astype(np.float64) - H[unlabelled].mean(axis=0)
    H *= H.shape[1] ** 0.5 / np.linalg.norm(H, axis=1, keepdims=True)
    found = []
    for rows in few:
        l2, _ = cross_validate_l2(H[rows], labels[rows], PENALTIES, rng=0, tolerance=1e-3)
        probe = linear_probe(H[rows], labels[rows], l2, tolerance=1e-3)
        found.append(np.mean(probe.predict(H[test]) == labels[test]))
    return found


def judge(scores, name, H, split):
    """Add the accuracies of one split to those of a row."""
    scores.setdefault(name, []).append(accuracies(H, *split))


def trained(net, x, task, loss, *, epochs, seed, label, batch_size=64, learning_rate=1e-3):
    """The network after training, with steps that fall to zero."""
    settings = {"batch_size": batch_size, "optimizer": minissl.Adam(learning_rate), "schedule": cosine, "rng": seed}
    for _ in progress(minissl.train_epochs(net, x, task, loss, epochs=epochs, **settings), epochs, label):
        pass
    return net


def difference(scores, a, b, k=0):
    """Mean and half-width of what row a has more than row b, for the number of labels in place k, on splits of both."""
    return interval([x[k] - y[k] for x, y in zip(scores[a], scores[b], strict=False)], RESPLIT)


def table(title, scores, baselines, number, places=(0, -1), note=""):
    """Accuracies on the first splits, of what has so many, and what each row has more than its baseline there."""
    scores = {name: values[:number] for name, values in scores.items() if len(values) >= number}
    rows = []
    for name, values in scores.items():
        gains = [difference(scores, name, baselines[name], k) if name in baselines else None for k in places]
        shown = [f"{gain[0]:+.3f} ± {gain[1]:.3f}" if gain else "" for gain in gains]
        rows.append([name, *(f"{v:.3f}" for v in np.mean(values, axis=0)), *shown])
    header = ["", *(f"{n} labels" for n in NUMBERS), *(f"gain with {NUMBERS[k]}" for k in places)]
    demo.table(f"{title}: accuracy, mean of {number} splits", header, rows, note)


# %% [markdown]
# ## Whole images
#
# A plain network: pixels, three hidden layers of 192 units (256 for Fashion-MNIST), an output as the task needs it. The
# features are the third hidden layer (of Fashion-MNIST the first, by the choosing half). Noise contrast, denoising,
# masking and the jigsaw get one image; two views get it twice, each time under a random affine map, with a little
# noise. Two views of digits are trained for 100 epochs, the others for 20 (100 gave noise contrast, denoising and
# masking two points at most on the choosing half). The same views help a network that gets labels alone (*supervised*).
# Label spreading (Zhou et al. 2004) uses the labels in another way: it passes them on over the graph of nearest
# neighbours of all images, the judged ones included.

# %%
orders = max_hamming_permutations(4, 24, rng=0)
ON_PIXELS = {  # name: (x -> task, loss, outputs)
    "noise contrast": (lambda x: against_noise(fit_gaussian(x)), sigmoid_cross_entropy, 1),
    "denoising": (lambda x: denoise(0.5), squared_error, PIXELS),
    "masking": (lambda x: mask(0.5), squared_error, PIXELS),
    "jigsaw": (lambda x: jigsaw((SIDE, SIDE), (2, 2), orders, normalised=False), softmax_cross_entropy, 24),
}


def on_split(tasks, seed):
    """Noise contrast on every split, the other tasks on the first few."""
    return {name: task for name, task in tasks.items() if seed < SOME or name == "noise contrast"}


def supervised(views, few, test, x, seed):
    """Accuracy of the network when the labels, and views of the labelled images, are all that it is given."""
    found = []
    for rows in few:
        pairs = np.concatenate([images[rows], labels[rows, None]], axis=1).astype(np.float32)
        task = lambda batch, rng: (views(batch[:, :-1], rng), batch[:, -1].astype(int))  # noqa: E731
        epochs = 1 if demo.quick else max(1, 20_000 // len(rows))
        net = minissl.MLP((PIXELS, *HIDDEN, 10), rng=seed)
        trained(net, pairs, task, softmax_cross_entropy, epochs=epochs, seed=seed, label="supervised")
        found.append(np.mean(net(x[test]).argmax(axis=1) == labels[test]))
    return found


def spread(few, test):
    """Accuracy of label spreading on the pixels."""
    found = []
    for rows in few:
        known = np.full(len(images), -1)
        known[rows] = labels[rows]
        graph = LabelSpreading("knn", n_neighbors=7, alpha=0.2).fit(images, known)
        found.append(np.mean(graph.transduction_[test] == labels[test]))
    return found


whole = {}
for seed, split in enumerate(splits):
    test, few, unlabelled = split
    mean, deviation = images[unlabelled].mean(axis=0), images[unlabelled].std()
    standard = lambda x, rng=None, mean=mean, deviation=deviation: (x - mean) / deviation  # noqa: E731
    x, views = standard(images), compose(changes, standard)
    judge(whole, "raw pixels", raw, split)
    judge(whole, "untrained", minissl.MLP((PIXELS, *HIDDEN, 1), rng=seed).features(x, LAYER), split)
    for name, (make, loss, outputs) in on_split(ON_PIXELS, seed).items():
        net, z = minissl.MLP((PIXELS, *HIDDEN, outputs), rng=seed), x[unlabelled]
        trained(net, z, make(z), loss, epochs=EPOCHS["task"], seed=seed, label=f"pixels, {name}")
        judge(whole, name, net.features(x, LAYER), split)
    net = minissl.MLP((PIXELS, *HIDDEN, 64), rng=seed)
    settings = {"epochs": EPOCHS["views"], "batch_size": 128, "learning_rate": RATE, "seed": seed}
    trained(net, images[unlabelled], two_views(views), info_nce(TAU), **settings, label="pixels, two views")
    judge(whole, "two views", net.features(x, LAYER), split)
    if seed < SOME:
        judge(whole, "two views, output", net(x), split)
        judge(whole, "PCA, 40 components", pca.by_svd(images[unlabelled], 40).encode(images), split)
        whole.setdefault("(supervised)", []).append(supervised(views, few, test, x, seed))
    if len(images) < 10_000:
        whole.setdefault("(label spreading)", []).append(spread(few, test))

# %%
on_whole = dict.fromkeys([*ON_PIXELS, "two views", "two views, output"], "untrained")
judged = "seen, without labels, by label spreading alone" if "(label spreading)" in whole else "which nothing has seen"
note = f"{TEST} judged images in each split, {judged}. Gain: over the same network and layer, untrained."
table("Whole images", whole, on_whole, SPLITS, (0,), note)
table("Whole images, all rows", whole, on_whole, SOME, note="The output's gain is over the hidden layer, untrained.")

# %% [markdown]
# ## Pooled windows, the stronger architecture
#
# Windows of the image, whitened, go through random units, rectified above a threshold; each unit is averaged over the
# four quarters of the image (Coates, Ng & Lee 2011), and the averages are brought to their principal components, the
# same for all quarters. So an image is four quarters of 40 numbers each: 160 numbers, laid out like an image of 2 × 80
# pixels in patches of 1 × 40. All tasks above apply to it as they do to pixels, and one more: *shuffled variables*,
# each number taken from another image. Two views are still views of the image, changed, then pooled: here one of some
# that were prepared for each image.
#
# The tasks train 160-400 and an output; two views need one layer more, 160-256-256-64.

# %%
INPUT, SHAPE = 4 * COMPONENTS, (2, 2 * COMPONENTS)


def padded(x):
    return np.pad(x.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))


def some_windows(pictures, rng):
    return data.windows(pictures, WINDOW, 20_000, rng).reshape(-1, WINDOW**2).astype(np.float32)


def pooling(units, unlabelled):
    """The function that makes the pooled numbers of images; scales and components come from the unlabelled ones."""

    def quarters(x):
        return pooled_features(units, padded(x), (WINDOW, WINDOW)).reshape(len(x), 4, -1)

    F = quarters(images[unlabelled])
    mean, deviation = F.mean(axis=0), F.std(axis=(0, 1)) + 1e-6
    axes = pca.by_svd(((F - mean) / deviation).reshape(-1, F.shape[2]), COMPONENTS)

    def components(x):
        return axes.encode(((quarters(x) - mean) / deviation).reshape(-1, F.shape[2])).reshape(len(x), -1)

    z = components(images[unlabelled])
    centre, size = z.mean(axis=0), z.std(axis=0).mean()
    return lambda x, rng=None: ((components(x) - centre) / size).astype(np.float32)


def random_pooling(unlabelled, seed):
    rng = np.random.default_rng(seed)
    white = whitening(some_windows(padded(images)[rng.choice(unlabelled, 500)], rng), floor=0.5)
    W = (rng.standard_normal((WINDOW**2, UNITS)) / WINDOW).astype(np.float32)
    return pooling(lambda q: np.maximum(white(q) @ W - np.float32(0.5), 0), unlabelled)


def prepared(pool, unlabelled, seed):
    """For rows that hold the numbers of unlabelled images: any of VIEWS views of each."""
    rng = np.random.default_rng(seed)
    views = np.stack([pool(changes(images[unlabelled], rng)) for _ in range(VIEWS)])
    return lambda rows, rng: views[rng.integers(VIEWS, size=len(rows)), rows[:, 0].astype(int)]


quarters = image_blocks(SHAPE, (1, COMPONENTS))
quarters_in_order = jigsaw(SHAPE, (2, 2), orders, normalised=False)
ON_POOLED = {  # name: (x -> task, loss, outputs, learning rate)
    "noise contrast": (lambda x: against_noise(fit_gaussian(x)), sigmoid_cross_entropy, 1, 2e-3),
    "shuffled variables": (lambda x: against_shuffled(), sigmoid_cross_entropy, 1, 1e-3),
    "jigsaw": (lambda x: quarters_in_order, softmax_cross_entropy, 24, 1e-3),
    "denoising": (lambda x: denoise(1.0), squared_error, INPUT, 2e-3),
    "masking": (lambda x: mask(0.75, blocks=quarters), squared_error, INPUT, 2e-3),
}
pooled = {}
for seed, split in enumerate(splits):
    unlabelled = split[2]
    pool = random_pooling(unlabelled, seed)
    x = pool(images)
    judge(pooled, "the pooled numbers", x, split)
    judge(pooled, "untrained, one layer", minissl.MLP((INPUT, 400, 1), rng=seed).features(x), split)
    for name, (make, loss, outputs, rate) in on_split(ON_POOLED, seed).items():
        net, z = minissl.MLP((INPUT, 400, outputs), rng=seed), x[unlabelled]
        settings = {"epochs": EPOCHS["pooled task"], "learning_rate": rate, "seed": seed, "label": f"pooled, {name}"}
        trained(net, z, make(z), loss, **settings)
        judge(pooled, name, net.features(x), split)
    net, rows = minissl.MLP((INPUT, 256, 256, 64), rng=seed), np.arange(len(unlabelled), dtype=np.float32)[:, None]
    judge(pooled, "untrained, two layers", net.features(x, LAYER), split)
    settings = {"epochs": EPOCHS["pooled views"], "batch_size": 128, "learning_rate": POOLED_RATE, "seed": seed}
    task = two_views(prepared(pool, unlabelled, seed))
    trained(net, rows, task, info_nce(TAU), **settings, label="pooled, two views")
    judge(pooled, "two views", net.features(x, LAYER), split)

# %%
on_pooled = dict.fromkeys(ON_POOLED, "untrained, one layer") | {"two views": "untrained, two layers"}
table("Pooled windows", pooled, on_pooled, SPLITS, (0,), "Gain: over the same network, untrained.")
table("Pooled windows, all rows", pooled, on_pooled, SOME)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[5, 6], sharey=True)
seen = []
panels = (whole, on_whole, "whole images"), (pooled, on_pooled, "pooled windows")
for ax, (scores, baselines, title) in zip(axes, panels, strict=True):
    scores = {name: values[:SOME] for name, values in scores.items()}
    gains = {name: difference(scores, name, b) for name, b in baselines.items() if name != "two views, output"}
    names = sorted(gains, key=lambda name: gains[name][0])
    for k, name in enumerate(names):
        ax.errorbar(k, *gains[name], marker="o", color="C1" if name == "two views" else "C0", capsize=3)
    ax.axhline(0, color="0.5", ls="-", lw=1)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=8)
    ax.set(title=title, xlim=(-0.5, len(names) - 0.5))
    seen.append(f"{title}: " + ", ".join(f"{name} {gains[name][0]:+.3f}" for name in names))
raw_gain = np.mean(np.subtract(whole["raw pixels"], whole["untrained"])[:SOME, 0])
axes[0].axhline(raw_gain, color="0.4", ls=":", lw=1)
across = axes[0].get_yaxis_transform()  # x as a share of the width
axes[0].text(1, raw_gain, "raw pixels", color="0.35", fontsize=8, ha="right", va="bottom", transform=across)
axes[0].set_ylabel(f"accuracy with {NUMBERS[0]} labels,\nabove that of the network untrained")
demo.figure(
    fig,
    "gains",
    f"What each task adds to the accuracy of its own untrained network, with {NUMBERS[0]} labels, on the first {SOME} "
    "splits; intervals of 95%. Dotted: pixels without a network.",
    alt=f"Dots with intervals, sorted. Gain on {'; on '.join(seen)}.",
    main=True,
)

# %% [markdown]
# ## Which loss for two views
#
# The task stays the same; only the loss changes. Whole images, a smaller network (two hidden layers of 200 units, the
# second of which is probed), and for each loss the same settings. The *effective rank* of the output (Roy & Vetterli
# 2007) is the exponential of the entropy of the eigenvalues of its covariance, as shares: 1 if all points lie on a
# line, 64 if they spread equally in all directions.


# %%
def aligned_and_uniform(output, target):
    """Alignment plus uniformity (Wang & Isola 2020)."""
    (a, da), (u, du) = alignment(output, target), uniformity(2.0)(output, target)
    return a + u, da + du


LOSSES = {
    "untrained": None,
    "InfoNCE": info_nce(TAU),
    "NT-Xent: all other views as candidates": nt_xent(TAU),
    "alignment + uniformity": aligned_and_uniform,
    "VICReg": vicreg(),
    "Barlow Twins": barlow_twins(),
    "spectral contrastive": spectral_contrastive,
    "SimSiam": simsiam(),
    "alignment alone": alignment,
}


def effective_rank(z):
    shares = np.linalg.eigvalsh(np.cov(z.T.astype(np.float64)))
    shares = np.maximum(shares, 1e-12 * shares.max()) / shares.sum()
    return np.exp(-(shares * np.log(shares)).sum())


by_loss, ranks = {}, {}
for seed, split in enumerate(splits[:FEWER]):
    for name, loss in LOSSES.items():
        net = minissl.MLP((PIXELS, 200, 200, 64), rng=seed)
        if loss is not None:
            settings = {"epochs": EPOCHS["losses"], "batch_size": 128, "learning_rate": 4e-3, "seed": seed}
            trained(net, images[split[2]], two_views(changes), loss, **settings, label=name)
        judge(by_loss, name, net.features(images), split)
        ranks.setdefault(name, []).append(effective_rank(net(images)))
gains = {name: difference(by_loss, name, "untrained") for name in by_loss if name != "untrained"}
shown = {"untrained": ""} | {name: f"{mean:+.3f} ± {half:.3f}" for name, (mean, half) in gains.items()}
better, worse = ([name for name, (mean, half) in gains.items() if sign * mean > half] for sign in (1, -1))
demo.table(
    f"Accuracy by loss, mean of {FEWER} splits",
    ["", *(f"{n} labels" for n in NUMBERS), f"gain with {NUMBERS[0]}", "effective rank"],
    [
        [name, *(f"{v:.3f}" for v in np.mean(by_loss[name], axis=0)), gain, f"{np.mean(ranks[name]):.1f}"]
        for name, gain in shown.items()
    ],
    "Same settings for all, chosen for InfoNCE; others may do better with their own. Gain: over the network untrained. "
    f"By more than the interval, with {NUMBERS[0]} labels, better than that: {', '.join(better) or 'none'}; worse: "
    f"{', '.join(worse) or 'none'}.",
)

# %% [markdown]
# ## Features from elsewhere
#
# The lecture's foundation models are trained on other data, and more of them, than the task at hand has. Here the units
# of the pooled windows are not random but learned, by noise contrast on windows: those of the images themselves, or
# windows of photographs. Then they are pooled as above, but without a threshold and with a lower floor of the
# whitening, also the random ones, which are therefore not the units of the pooled windows above; and the 160 numbers
# are probed.

# %%
photographs = [data.grey(data.photograph(name)) for name in data.TRAIN_PHOTOGRAPHS]
elsewhere = {}
for seed, split in enumerate(splits[:SOME]):
    rng = np.random.default_rng(seed)
    own = some_windows(padded(images)[rng.choice(split[2], 500)], rng)
    own = own[own.std(axis=1) > 0.05]  # empty corners say nothing
    others = some_windows(photographs, rng)
    white = whitening(own, floor=0.1)
    for name, z in {
        "random units": None,
        "units from windows of the images": white(own),
        "units from windows of photographs": whitening(others, floor=0.1)(others),
    }.items():
        net = minissl.MLP((WINDOW**2, UNITS, 1), rng=seed)
        if z is not None:
            settings = {"epochs": EPOCHS["windows"], "batch_size": 128, "learning_rate": 2e-3, "seed": seed}
            trained(net, z, against_noise(fit_gaussian(z)), sigmoid_cross_entropy, **settings, label=name)
        pool = pooling(lambda q, net=net, white=white: net.features(white(q)), split[2])
        judge(elsewhere, name, pool(images), split)
own, others = (f"units from windows of {name}" for name in ("the images", "photographs"))
table("Units learned on windows", elsewhere, dict.fromkeys([own, others], "random units"), SOME)

# %% [markdown]
# ## Write your own task
#
# A pretext task is any function (x, rng) → (input, target). Rotation prediction (Gidaris et al. 2018), how far was the
# image turned?, is four lines, and needs nothing of the library but a loss. Is it a good question? A turned 6 is a 9,
# and a 0 is a 0.


# %%
def which_turn(x, rng):
    """The image turned by 0, 90, 180 or 270 degrees; the class is which."""
    turns = rng.integers(4, size=len(x))
    turned = [np.rot90(image, k).ravel() for image, k in zip(x.reshape(-1, SIDE, SIDE), turns, strict=True)]
    return np.stack(turned), turns


turned = {}
for seed, split in enumerate(splits[:FEWER]):
    for name, hidden, transform in (
        ("pixels", HIDDEN, lambda x: x),
        ("pooled windows", (400,), random_pooling(split[2], seed)),
    ):

        def task(x, rng, transform=transform):
            x, turns = which_turn(x, rng)
            return transform(x), turns

        x = transform(images)
        net = minissl.MLP((x.shape[1], *hidden, 4), rng=seed)
        judge(turned, f"{name}, untrained", net.features(x), split)
        settings = {"epochs": EPOCHS["task"], "seed": seed, "label": f"rotation, {name}"}
        trained(net, images[split[2]], task, softmax_cross_entropy, **settings)
        judge(turned, f"{name}, rotation", net.features(x), split)
baselines = {f"{name}, rotation": f"{name}, untrained" for name in ("pixels", "pooled windows")}
table("Rotation prediction", turned, baselines, FEWER)

# %% [markdown]
# ## What was found


# %%
def beside(scores, a, b):
    """In words: what row a has more than row b, and whether the interval excludes zero."""
    found = []
    for k in (0, -1):
        mean, half = difference(scores, a, b, k)
        found.append(f"{mean:+.3f} ± {half:.3f}" + ("" if abs(mean) > half else " (not told apart from zero)"))
    return " and ".join(found)


rivals = [name for name in ("two views", "raw pixels", "(label spreading)") if name in whole]
first, last = ([f"{100 * np.mean(whole[name], axis=0)[k]:.0f}%" for name in rivals] for k in (0, -1))
if not demo.quick:
    for title, scores, baselines in (("On pixels", whole, on_whole), ("On pooled windows", pooled, on_pooled)):
        reached = ", ".join(pm(values, 3, RESPLIT) for values in np.transpose(scores["two views"]))
        no_gain = [name for name, b in baselines.items() if np.subtract(*difference(scores, name, b)) <= 0]
        demo.say(
            f"{title}, two views reach {reached} with {', '.join(map(str, NUMBERS))} labels. With {NUMBERS[0]} and "
            f"{NUMBERS[-1]}, beside the same network untrained: {beside(scores, 'two views', baselines['two views'])}; "
            f"beside noise contrast: {beside(scores, 'two views', 'noise contrast')}. Tasks whose gain with "
            f"{NUMBERS[0]} labels is not told apart from zero, or is a loss: {', '.join(no_gain) or 'none'}."
        )
    graph = f" Beside label spreading: {beside(whole, 'two views', '(label spreading)')}." if len(first) > 2 else ""
    demo.say(
        f"Beside raw pixels, two views on pixels: {beside(whole, 'two views', 'raw pixels')}, on pooled windows: "
        f"{beside({**whole, **pooled}, 'two views', 'raw pixels')}. On pixels, two views beside the supervised "
        f"network, which gets the same views of the labelled images, on the first {SOME} splits: "
        f"{beside(whole, 'two views', '(supervised)')}. The output, which the loss sees, beside the layer kept: "
        f"{beside(whole, 'two views, output', 'two views')}.{graph}"
    )
    demo.say(
        f"Units learned from photographs beside those from the images' own windows: {beside(elsewhere, others, own)}; "
        f"beside random units: {beside(elsewhere, others, 'random units')}."
    )
spreading = f", and label spreading on the pixels, without a network, {first[2]}" if len(first) > 2 else ""
demo.lesson(
    f"With {NUMBERS[0]} labels a linear classifier recognises {first[0]} of the images if a network has first learned "
    f"from two views of unlabelled ones, {first[1]} from their pixels{spreading}; with {NUMBERS[-1]} labels "
    f"{', '.join(last)}.",
    f"{first[1]} → {first[0]}",
)

# %%
demo.finish()
