# %% [markdown]
# # Structure: groups that nobody named
#
# Which groups are there? k-means answers with a codebook: it is an autoencoder whose code is one of K words. What it
# finds depends on what distance means, that is, on the features; so groups are another measure of a pretext task, one
# that needs no labels to train anything. Labels chose settings; in the end they name the clusters and pick the best
# features. And groups can be a pretext task themselves.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import OKABE_ITO, Demo, interval, plt, pm, progress, tiles

import minissl
from minissl.goals.clustering import clustering_accuracy, gaussian_mixture, k_means, normalised_mutual_information
from minissl.goals.probe import pooled_features, whitening
from minissl.linear import pca
from minissl.nn.schedules import cosine
from minissl.tasks.augmentations import affine
from minissl.tasks.autoencoder import denoise
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.tasks.views import info_nce, two_views

demo = Demo(
    "clustering",
    "Structure: groups",
    "Unsupervised learning is to find structure: clusters, sources. Features of self-supervised learning are an input "
    "for it like any other.",
    "J(A, C) = (1/N) Σᵢ ‖xᵢ − A cᵢ‖²,  cᵢ one of e₁ … e_K;   J ≥ λ_K + … + λₙ",
    limits="That there are ten groups, and that a shifted or turned digit is the same, was put in by people. Networks "
    "and clusters saw all images, the same for every seed: the intervals are over random starts, not over new images. "
    "Settings were chosen on other seeds of the same images and labels. One data set; its classes are as frequent as "
    "one another, which k-means and an even spread over the sphere suit.",
)
SEEDS = range(2 if demo.quick else 4)
EPOCHS, ROUNDS = (1, 1) if demo.quick else (10, 3)
STARTS = 2 if demo.quick else 5  # of a search by k-means
images, labels = data.digits()
if demo.quick:
    images, labels = images[:600], labels[:600]


def train(net, x, task, loss, epochs, rng, label):
    """The network after training, its learning rate falling to zero."""
    options = {"optimizer": minissl.Adam(2e-3), "schedule": cosine, "rng": rng}
    list(progress(minissl.train_epochs(net, x, task, loss, epochs=epochs, **options), epochs, label))
    return net


# %% [markdown]
# ## The narrowest code
#
# K − 1 principal components give each image K − 1 numbers of its own, k-means only one of K words. So PCA's error is a
# lower bound [clustering.5], which is near only where K is small: more words are no substitute for numbers.

# %%
NUMBERS = (2, 5, 10, 20, 50)
total = float(images.var(axis=0).sum())
errors, bounds = [], []
for K in NUMBERS:
    errors.append(k_means(images, K, starts=STARTS, rng=0).error)
    bounds.append(total - float(pca.by_svd(images, K - 1).variances.sum()))
demo.table(
    f"Mean squared error of a digit (64 pixels in [0, 1]; {total:.3f} by their mean alone)",
    ["", *(f"K = {K}" for K in NUMBERS)],
    [["k-means, one of K words", *errors], ["bound: PCA, K − 1 numbers", *bounds]],
)

# %% [markdown]
# ## The features
#
# Two networks. One sees *pooled windows*, the 160 numbers of `downstream`: random units on whitened windows, averaged
# over quarters of the image. It has 800 hidden units, and learns to tell them from Gaussian noise, or to remove noise.
# Or it learns clusters of its own, *DeepCluster* (Caron et al. 2018): the features are put into 30 clusters, and the
# network learns to tell the cluster of an image from pooled windows of the image under a random affine map; three
# rounds, each with new clusters. The other network sees whole images, has three layers of 300 units, and learns which
# of *two views* under such maps belong together; its output is compared by the cosine, so it is a point of a sphere.
# Only these two tasks know that a shifted digit is the same.

# %%
UNITS, COMPONENTS, WINDOW, THRESHOLD, INPUT = 160, 40, 4, 0.5, 160
VIEWS = (64, 300, 300, 300, 64)
changes = affine((8, 8), shift=0.7, rotation=15, shear=0.2, scale=1.2)


def pooled(rng):
    """Images -> 160 numbers each, as in `downstream`; those of all images have mean 0 and a mean square of 1."""
    units = (rng.standard_normal((WINDOW**2, UNITS)) / WINDOW).astype(np.float32)
    some = data.windows(padded(images[rng.choice(len(images), 500)]), WINDOW, 20_000, rng).reshape(-1, WINDOW**2)
    white = whitening(some, floor=0.5)
    weights = white.Z @ units
    offset = white.mean @ weights + np.float32(THRESHOLD)

    def pool(x):
        rectified = lambda q: np.maximum(q @ weights - offset, 0)  # noqa: E731  of white(q) @ units - THRESHOLD
        return pooled_features(rectified, padded(x), (WINDOW, WINDOW)).reshape(-1, 4, UNITS)

    F = pool(images)
    mean, scale = F.mean(axis=0), F.std(axis=(0, 1))
    axes = pca.by_svd(((F - mean) / scale).reshape(-1, UNITS), COMPONENTS)

    def encode(x):
        return axes.encode(((pool(x) - mean) / scale).reshape(-1, UNITS)).reshape(-1, INPUT)

    x = encode(images)
    origin, unit = x.mean(axis=0), x.std()
    return lambda x: ((encode(x) - origin) / unit).astype(np.float32)


def padded(x):
    return np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))


def deep_cluster(pool, rng):
    """Cluster the features, learn to tell the clusters from changed images, cluster the new features, and so on."""
    net = minissl.MLP((INPUT, 800, 30), rng=rng)
    x = H = pool(images)
    for _ in range(ROUNDS):
        clusters = k_means(H, 30, starts=2, rng=rng).labels  # good ones, not the best, for a task that is replaced
        net.weights[-1][:] = 0  # the numbers of the clusters mean nothing: forget the last ones
        net.biases[-1][:] = 0
        pairs = np.column_stack([images, clusters]).astype(x.dtype)
        task = lambda pair, rng: (pool(changes(pair[:, :-1], rng)), pair[:, -1].astype(int))  # noqa: E731
        train(net, pairs, task, minissl.softmax_cross_entropy, EPOCHS, rng, "DeepCluster")
        H = net.features(x)
    return H


def on_the_sphere(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def features(rng):
    """(name, features of all images, the same of the network before it has learned) for each row of the table."""
    yield "pixels", images, None
    pool = pooled(rng)
    x = pool(images)
    yield "pooled windows", x, None
    untrained = minissl.MLP((INPUT, 800, 1), rng=rng).features(x)
    net = minissl.MLP((INPUT, 800, 1), rng=rng)
    train(net, x, against_noise(fit_gaussian(x)), minissl.sigmoid_cross_entropy, 2 * EPOCHS, rng, "noise contrast")
    yield "noise contrast", net.features(x), untrained
    net = minissl.MLP((INPUT, 800, INPUT), rng=rng)
    train(net, x, denoise(1.0), minissl.squared_error, 2 * EPOCHS, rng, "denoising")
    yield "denoising", net.features(x), untrained
    yield "DeepCluster", deep_cluster(pool, rng), untrained
    net = minissl.MLP(VIEWS, rng=rng)
    before_training = net.features(images), on_the_sphere(net(images))
    train(net, images, two_views(changes), info_nce(0.5), 3 * EPOCHS, rng, "two views")
    yield "two views", net.features(images), before_training[0]
    yield "two views, on the sphere", on_the_sphere(net(images)), before_training[1]


# %% [markdown]
# ## Clusters of the features, and the digits
#
# k-means with K = 10. *Accuracy*: each cluster is given a digit of its own, such that most images are right
# [clustering.11]. *Normalised mutual information*: how much the cluster says of the digit, 0 to 1 [clustering.12].
# Beside each: the clusters of the features of the same network before it has learned anything.


# %%
def agreement(z):
    return clustering_accuracy(z, labels), normalised_mutual_information(z, labels)


scores, before_scores, found = {}, {}, {}
previous = None
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    for name, H, untrained in features(rng):
        clusters = k_means(H, 10, starts=STARTS, rng=rng)
        scores.setdefault(name, []).append(agreement(clusters.labels))
        if name == "pixels":
            mixture = gaussian_mixture(images.astype(float), clusters.centres.astype(float))
            scores.setdefault("pixels, Gaussian mixture", []).append(
                agreement(mixture.posterior(images.astype(float)).argmax(axis=1))
            )
        if untrained is not None:
            if untrained is not previous:  # three tasks have one network
                previous, start = untrained, agreement(k_means(untrained, 10, starts=STARTS, rng=rng).labels)
            before_scores.setdefault(name, []).append(start)
        if seed == 0:
            found[name] = clusters.labels
scores, before_scores = ({name: np.array(v) for name, v in d.items()} for d in (scores, before_scores))
chance = np.mean([agreement(np.random.default_rng(seed).permutation(labels)) for seed in range(20)], axis=0)

learned = list(before_scores)
best = max(learned, key=lambda name: scores[name][:, 0].mean())

# %%
fig, ax = plt.subplots(figsize=(9, 3.4))
order = sorted(scores, key=lambda name: scores[name][:, 0].mean())
for place, name in enumerate(order):
    middle, half = interval(scores[name][:, 0])
    ax.errorbar(middle, place, xerr=half, fmt="o", color=OKABE_ITO[0], capsize=3)
    if name in before_scores:
        start = before_scores[name][:, 0].mean()
        ax.plot([start, middle], [place, place], color=OKABE_ITO[0], lw=1, ls="-", zorder=0)
        ax.plot(start, place, "o", mfc="white", mec=OKABE_ITO[0])
ax.set_yticks(range(len(order)), order)
ax.set(xlabel="accuracy of the best one-to-one naming of ten clusters", ylim=(-0.6, len(order)))
ax.margins(x=0.08)
top = order.index(best)
for x, words in ((before_scores[best][:, 0].mean(), "untrained"), (scores[best][:, 0].mean(), "trained")):
    ax.text(x, top + 0.2, words, ha="center", va="bottom", color=OKABE_ITO[0])
demo.figure(
    fig,
    "accuracy",
    f"Ten clusters against ten digits, mean and 95% interval of {len(SEEDS)} seeds. Open circles: the same network "
    f"before it has learned. Digits dealt out at random would get {chance[0]:.2f}.",
    alt=f"A dot plot of {len(order)} rows, from {order[0]} (lowest) to {order[-1]} (highest), with intervals; open "
    "circles for untrained networks.",
    main=True,
)
rows = []
for name, v in scores.items():
    gains = (v - before_scores[name]).T if name in before_scores else None
    rows.append([name, *map(pm, v.T), *(map(pm, gains) if gains is not None else ("", ""))])
demo.table(
    f"Ten clusters against ten digits, {len(SEEDS)} seeds, mean ± 95% interval",
    ["clusters of", "accuracy", "NMI", "accuracy gained", "NMI gained"],
    rows,
    "Gained: by learning, over the same network untrained, seed by seed. k-means but for one row. "
    f"Digits dealt out at random: {chance[0]:.3f} and {chance[1]:.3f}.",
    best={"accuracy": max, "NMI": max},
)


# %%
def most_common(z):
    """For each cluster, the most common digit first: (members, digit, its share)."""
    groups = [np.flatnonzero(z == k) for k in range(10)]
    counts = [np.bincount(labels[g], minlength=10) for g in groups]
    return sorted(
        ((g, int(c.argmax()), c.max() / c.sum()) for g, c in zip(groups, counts, strict=True)), key=lambda t: t[1:]
    )


fig, axes = plt.subplots(2, 1, figsize=(9, 3.0))
for ax, name in zip(axes, ("pixels", best), strict=True):
    groups = most_common(found[name])
    page = [np.pad(1 - images[g].mean(axis=0).reshape(8, 8), 1, constant_values=1) for g, _, _ in groups]
    tiles(ax, np.array(page), 10, name, limits=(0, 1))
    for k, (_, digit, share) in enumerate(groups):
        color = OKABE_ITO[1] if share < 0.8 else "0.2"
        ax.text(11 * k + 4.5, 10.5, f"{digit}: {share:.0%}", ha="center", va="top", color=color)
demo.figure(
    fig,
    "means",
    f"The mean image of each cluster, of pixels and of {best}, and the digit that is most common in it, with its share "
    "(coloured below 80%). First seed.",
    alt="Two rows of ten blurred digits. Clusters with less than 80% of one digit: "
    + "; ".join(f"{name}: {sum(share < 0.8 for *_, share in most_common(found[name]))}" for name in ("pixels", best)),
)

# %%
helps = {name: interval(scores[name][:, 0] - before_scores[name][:, 0]) for name in learned}
if not demo.quick:
    better = [name for name, (gap, half) in helps.items() if gap > half]
    rest = [name for name in learned if name not in better]
    gained = [f"{name} ({helps[name][0]:+.3f} ± {helps[name][1]:.3f})" for name in better]
    demo.say(
        f"Beside the same network untrained, seed by seed, accuracy has gained for {', '.join(gained) or 'none'}; not "
        f"clearly for {', '.join(rest) or 'none'}. Two starts of one task can end in different groups, hence the wide "
        "intervals."
    )
demo.lesson(
    f"Ten clusters of learned features ({best}) agree with the digits for {pm(scores[best][:, 0])} of the images, of "
    f"pixels for {pm(scores['pixels'][:, 0])}, of the same network untrained for {pm(before_scores[best][:, 0])}.",
    f"{scores[best][:, 0].mean():.0%}",
)
demo.finish()
