# %% [markdown]
# # What the features are for: few labels, many unlabelled images
#
# Train by self-supervised learning on a large unlabelled set; give the features to a simple classifier, a linear one,
# trained on a small labelled set. Its accuracy in the end is the measure of a pretext task.
#
# First on whole images: a plain network takes the pixels, and learns from pretext tasks alone. Then on a stronger
# architecture, in which windows of the image are pooled. What is better than the *same network before training* was
# learned; what is not came with the architecture. So each row stands beside a baseline of its own sizes and activation.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, progress
from sklearn.semi_supervised import LabelSpreading

import minissl
from minissl.goals.probe import cross_validate_l2, linear_probe, pooled_features, whitening
from minissl.linear import pca
from minissl.nn.losses import sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from minissl.nn.schedules import cosine
from minissl.tasks.augmentations import affine, compose
from minissl.tasks.autoencoder import denoise, image_blocks, kl_sparsity, mask, reconstruct
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
    "Y = H Wᵀ + 1 bᵀ,   J = (1/N) Σᵢ [ln Σₖ exp Yᵢₖ − Yᵢ_cᵢ] + (λ/2) ‖W‖²",
    {"--fashion-mnist": {"metavar": "DIR", "help": "folder with Fashion-MNIST in IDX format, 28 x 28 (half an hour)"}},
    limits="One data set of small images of ten equally frequent classes. The changes of two views say what does not "
    "matter in a digit; no other task here is told so much. All rows see unlabelled images of the distribution that "
    "they are judged on.",
)
if demo.options.fashion_mnist:
    images, labels = (a[:20_000] for a in data.fashion_mnist(demo.options.fashion_mnist))
    NUMBERS, WINDOW, TEST, SPLITS = (100, 1000), 6, 3000, 3
    EPOCHS = {"task": 5, "views": 10, "pooled task": 4, "pooled views": 4, "losses": 4, "windows": 20}
else:
    images, labels = data.digits()
    NUMBERS, WINDOW, TEST, SPLITS = (20, 50, 100), 4, 300, 6
    EPOCHS = {"task": 20, "views": 100, "pooled task": 40, "pooled views": 30, "losses": 40, "windows": 10}
if demo.quick:
    images, labels, SPLITS = images[:1797], labels[:1797], 2
    NUMBERS, TEST, EPOCHS = NUMBERS[:2], min(TEST, 300), dict.fromkeys(EPOCHS, 1)
SIDE = int(images.shape[1] ** 0.5)
PIXELS = SIDE**2

# %% [markdown]
# ## The measure
#
# The images were parted into two halves once. Whatever was chosen (networks, epochs, the layer, how strong the changes
# of two views are) was chosen with the labels of one half; what is shown uses labels, for training and for judging, of
# the other. In each split some of that half are left for judging, and nothing has seen them. A linear classifier gets
# the labels; its penalty is chosen among five by cross-validation within the labelled images.
#
# Splits of the same images are not independent. All intervals are 95% intervals with the correction of Nadeau & Bengio
# (2003): the variance of the mean of J splits is taken to be 1/J plus the ratio of judged images to the rest, times the
# variance over splits. Differences are taken split by split.

# %%
half = len(images) // 2
judging = np.random.default_rng(2025).permutation(len(images))[half:]
splits = []
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(judging)
    test, pool = order[:TEST], order[TEST:]
    few = [np.concatenate([pool[labels[pool] == c][: n // 10] for c in range(10)]) for n in NUMBERS]
    splits.append((test, few, np.setdiff1d(np.arange(len(images)), test)))
PENALTIES = (0.1, 10.0) if demo.quick else (0.01, 0.1, 1.0, 10.0, 100.0)
WIDER = (1 + SPLITS * TEST / (len(judging) - TEST)) ** 0.5  # Nadeau & Bengio


def corrected(values):
    """Mean and half-width of the 95% interval over the splits."""
    mean, width = interval(values)
    return mean, WIDER * width


def pm(values, sign=""):
    mean, width = corrected(values)
    return f"{mean:{sign}.3f} ± {width:.3f}"


def accuracies(H, test, few, unlabelled):
    """Of the linear probe of features H of all images, for each number of labels."""
    H = H.astype(np.float64) - H[unlabelled].mean(axis=0)
    H /= np.sqrt((H[unlabelled] ** 2).mean())
    found = []
    for rows in few:
        l2, _ = cross_validate_l2(H[rows], labels[rows], PENALTIES, rng=0, tolerance=1e-3)
        probe = linear_probe(H[rows], labels[rows], l2, tolerance=1e-3)
        found.append(np.mean(probe.predict(H[test]) == labels[test]))
    return found


def trained(net, x, task, loss, *, epochs, batch_size=64, learning_rate=1e-3, penalties=None, seed=0, label=""):
    """The network after training, with steps that fall to zero."""
    settings = {"batch_size": batch_size, "optimizer": minissl.Adam(learning_rate), "schedule": cosine, "rng": seed}
    losses = minissl.train_epochs(net, x, task, loss, epochs=epochs, penalties=penalties, **settings)
    for _ in progress(losses, epochs, label):
        pass
    return net


def arrays(scores):
    return {name: np.array(values) for name, values in scores.items()}  # (splits, numbers of labels) each


def table(title, scores, baselines, note=""):
    """Accuracies, and what is gained over each row's baseline."""
    rows = []
    for name, values in scores.items():
        gain = [pm((values - baselines[name])[:, k], "+") if name in baselines else "" for k in (0, -1)]
        rows.append([name, *(f"{v:.3f}" for v in values.mean(axis=0)), *gain])
    header = ["", *(f"{n} labels" for n in NUMBERS), *(f"gain with {n}" for n in (NUMBERS[0], NUMBERS[-1]))]
    demo.table(f"{title}: accuracy, mean of {SPLITS} splits", header, rows, note)


# %% [markdown]
# ## Whole images
#
# A plain network: pixels, three hidden layers of 400 units, and an output as the task needs it. The features are the
# third hidden layer. Noise contrast, denoising, masking and the jigsaw get one image; two views get it twice, each time
# under a random affine map. The same views help a network that gets labels alone (*supervised*). Label spreading (Zhou
# et al. 2004) uses the labels in another way: it passes them on over the graph of nearest neighbours of all images, the
# judged ones included.

# %%
HIDDEN = (400, 400, 400)
changes = affine((SIDE, SIDE), shift=0.1 * SIDE, rotation=20, shear=0.3, scale=1.3)
orders = max_hamming_permutations(4, 24, rng=0)
ON_PIXELS = {  # name: (x -> task, loss, outputs)
    "noise contrast": (lambda x: against_noise(fit_gaussian(x)), sigmoid_cross_entropy, 1),
    "denoising": (lambda x: denoise(0.5), squared_error, PIXELS),
    "masking": (lambda x: mask(0.5), squared_error, PIXELS),
    "jigsaw": (lambda x: jigsaw((SIDE, SIDE), (2, 2), orders, normalised=False), softmax_cross_entropy, 24),
}


def supervised(views, few, test, x, seed):
    """Accuracy of the network when the labels, and views of the labelled images, are all that it is given."""
    found = []
    for rows in few:
        pairs = np.concatenate([images[rows], labels[rows, None]], axis=1).astype(np.float32)
        task = lambda batch, rng: (views(batch[:, :-1], rng), batch[:, -1].astype(int))  # noqa: E731
        net = minissl.MLP((PIXELS, *HIDDEN, 10), rng=seed)
        steps = {"epochs": 1 if demo.quick else max(1, 20_000 // len(rows)), "batch_size": 64, "seed": seed}
        trained(net, pairs, task, softmax_cross_entropy, **steps, label="supervised")
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
for seed, (test, few, unlabelled) in enumerate(splits):
    mean, deviation = images[unlabelled].mean(axis=0), images[unlabelled].std()

    def standard(x, rng=None, mean=mean, deviation=deviation):
        return (x - mean) / deviation

    x = standard(images)
    views = compose(changes, standard)
    net = minissl.MLP((PIXELS, *HIDDEN, 1), rng=seed)
    nets = {
        name: trained(
            minissl.MLP((PIXELS, *HIDDEN, outputs), rng=seed),
            x[unlabelled],
            make(x[unlabelled]),
            loss,
            epochs=EPOCHS["task"],
            seed=seed,
            label=f"pixels, {name}",
        )
        for name, (make, loss, outputs) in ON_PIXELS.items()
    }
    nets["two views"] = trained(
        minissl.MLP((PIXELS, *HIDDEN, 64), rng=seed),
        images[unlabelled],
        two_views(views),
        info_nce(0.5),
        epochs=EPOCHS["views"],
        batch_size=128,
        learning_rate=3e-3,
        seed=seed,
        label="pixels, two views",
    )
    spaces = {
        "raw pixels": images,
        "PCA, 40 components": pca.by_svd(images[unlabelled], 40).encode(images),
        "untrained, first layer": net.features(x, 1),
        "untrained, third layer": net.features(x, 3),
        **{name: net.features(x, 3) for name, net in nets.items()},
        "two views, output": nets["two views"](x),
    }
    for name, H in spaces.items():
        whole.setdefault(name, []).append(accuracies(H, test, few, unlabelled))
    whole.setdefault("supervised", []).append(supervised(views, few, test, x, seed))
    if len(images) < 10_000:
        whole.setdefault("(label spreading)", []).append(spread(few, test))

# %%
whole = arrays(whole)
untrained = dict.fromkeys([*ON_PIXELS, "two views", "two views, output"], whole["untrained, third layer"])
table(
    "Whole images",
    whole,
    untrained,
    f"{TEST} judged images in each split, which nothing has seen. Gain: over the same network and layer, untrained.",
)

# %% [markdown]
# ## Pooled windows, the stronger architecture
#
# Windows of the image, whitened, go through random units, rectified above a threshold; each unit is averaged over the
# four quarters of the image (Coates, Ng & Lee 2011), and the averages are brought to their principal components, the
# same for all quarters. So an image is four quarters of 40 numbers each: 160 numbers, laid out like an image of 2 × 80
# pixels in patches of 1 × 40. All tasks of this project apply to it as they do to pixels. Two views are still views of
# the image: changed, then pooled.
#
# Most tasks train 160-400 and an output; the bottleneck has 40 units, the sparse network sigmoid units, and two views
# need one layer more. Each row's gain is over its own network, untrained.

# %%
UNITS, COMPONENTS, THRESHOLD = 160, 40, 0.5
INPUT, SHAPE = 4 * COMPONENTS, (2, 2 * COMPONENTS)


def padded(x):
    return np.pad(x.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))


def some_windows(pictures, number, rng):
    return data.windows(pictures, WINDOW, number, rng).reshape(-1, WINDOW**2).astype(np.float32)


def pooling(units, unlabelled):
    """The function that makes 160 numbers of each image; scales and components are those of the unlabelled images."""

    def quarters(x):
        return pooled_features(units, padded(x), (WINDOW, WINDOW)).reshape(len(x), 4, -1)

    F = quarters(images[unlabelled])
    mean, deviation = F.mean(axis=0), F.std(axis=(0, 1)) + 1e-6
    axes = pca.by_svd(((F - mean) / deviation).reshape(-1, F.shape[2]), COMPONENTS)

    def components(x):
        return axes.encode(((quarters(x) - mean) / deviation).reshape(-1, F.shape[2])).reshape(len(x), -1)

    z = components(images[unlabelled])
    centre, size = z.mean(axis=0), np.sqrt(((z - z.mean(axis=0)) ** 2).mean())
    return lambda x, rng=None: ((components(x) - centre) / size).astype(np.float32)


wide, one = (INPUT, 400, INPUT), (INPUT, 400, 1)
quarters = image_blocks(SHAPE, (1, COMPONENTS))
quarters_in_order = jigsaw(SHAPE, (2, 2), orders, normalised=False)
ON_POOLED = {  # name: (x -> task, loss, sizes, activation, learning rate, penalties)
    "noise contrast": (lambda x: against_noise(fit_gaussian(x)), sigmoid_cross_entropy, one, "relu", 2e-3, None),
    "shuffled variables": (lambda x: against_shuffled(), sigmoid_cross_entropy, one, "relu", 1e-3, None),
    "jigsaw": (lambda x: quarters_in_order, softmax_cross_entropy, (INPUT, 400, 24), "relu", 1e-3, None),
    "bottleneck": (lambda x: reconstruct(), squared_error, (INPUT, 40, INPUT), "relu", 2e-3, None),
    "sparse": (lambda x: denoise(0.5), squared_error, wide, "sigmoid", 4e-3, {1: kl_sparsity(3, 0.02)}),
    "denoising": (lambda x: denoise(1.0), squared_error, wide, "relu", 2e-3, None),
    "masking": (lambda x: mask(0.75, blocks=quarters), squared_error, wide, "relu", 2e-3, None),
}

pooled, on, pools = {}, [], []
for seed, (test, few, unlabelled) in enumerate(splits):
    rng = np.random.default_rng(seed)
    white = whitening(some_windows(padded(images)[rng.choice(unlabelled, 500)], 20_000, rng), floor=0.5)
    W = (rng.standard_normal((WINDOW**2, UNITS)) / WINDOW).astype(np.float32)
    pool = pooling(lambda q, white=white, W=W: np.maximum(white(q) @ W - np.float32(THRESHOLD), 0), unlabelled)
    x = pool(images)
    pools.append(pool)

    def judged(name, H, few=few, test=test, unlabelled=unlabelled):
        pooled.setdefault(name, []).append(accuracies(H, test, few, unlabelled))

    judged("the 160 numbers", x)
    for name, (make, loss, sizes, activation, learning_rate, penalties) in ON_POOLED.items():
        net = minissl.MLP(sizes, activation, rng=seed)
        judged(f"untrained: {name}", net.features(x))
        settings = {"learning_rate": learning_rate, "penalties": penalties, "label": f"pooled, {name}", "seed": seed}
        trained(net, x[unlabelled], make(x[unlabelled]), loss, epochs=EPOCHS["pooled task"], **settings)
        judged(name, net.features(x))
        if name == "sparse":
            on.append(net.features(x[test]).mean())
    net = minissl.MLP((INPUT, 400, 400, 64), rng=seed)
    judged("untrained: two views", net.features(x))
    trained(
        net,
        images[unlabelled],
        two_views(compose(changes, pool)),
        info_nce(0.5),
        epochs=EPOCHS["pooled views"],
        batch_size=128,
        learning_rate=2e-3,
        seed=seed,
        label="pooled, two views",
    )
    judged("two views", net.features(x))

# %%
pooled = arrays(pooled)
before = {name: pooled.pop(f"untrained: {name}") for name in [*ON_POOLED, "two views"]}
table(
    "Pooled windows",
    {"the 160 numbers": pooled["the 160 numbers"], "untrained, 160-400": before["noise contrast"], **pooled},
    before,
    f"The mean activation of the sparse units is {np.mean(on):.2f}: its target was 0.02, which the reconstruction "
    "outweighs.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[5, 8], sharey=True)
panels, seen = ((whole, untrained, "pixels"), (pooled, before, "pooled windows")), []
for ax, (scores, baselines, title) in zip(axes, panels, strict=True):
    gains = {name: scores[name][:, 0] - base[:, 0] for name, base in baselines.items() if name != "two views, output"}
    names = sorted(gains, key=lambda name: gains[name].mean())
    for k, name in enumerate(names):
        ax.errorbar(k, *corrected(gains[name]), marker="o", color="C1" if name == "two views" else "C0", capsize=3)
    ax.axhline(0, color="0.5", ls="-", lw=1)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=8)
    ax.set(title=title, xlim=(-0.5, len(names) - 0.5))
    seen.append(f"{title}: " + ", ".join(f"{name} {gains[name].mean():+.2f}" for name in names))
axes[0].set_ylabel(f"gain with {NUMBERS[0]} labels")
demo.figure(
    fig,
    "gains",
    f"What each task adds to the accuracy of its own untrained network, with {NUMBERS[0]} labels; intervals of 95%.",
    alt=f"Dots with intervals, sorted. Gain on {'; on '.join(seen)}.",
    main=True,
)

# %% [markdown]
# A gain says what was learned, not how good the features are: 40 random units, the bottleneck's own network, are easily
# improved on.
#
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
    "InfoNCE": info_nce(0.5),
    "NT-Xent: all other views as candidates": nt_xent(0.5),
    "alignment + uniformity": aligned_and_uniform,
    "VICReg": vicreg(),
    "Barlow Twins": barlow_twins(),
    "spectral contrastive": spectral_contrastive,
    "SimSiam": simsiam(),
    "alignment alone": alignment,
}


def effective_rank(z):
    z = z - z.mean(axis=0)
    shares = np.linalg.eigvalsh(z.T.astype(np.float64) @ z)
    shares = np.maximum(shares, 1e-12 * shares.max())
    shares = shares / shares.sum()
    return np.exp(-(shares * np.log(shares)).sum())


by_loss, ranks = {}, {}
for seed, (test, few, unlabelled) in enumerate(splits[: 1 if demo.quick else 3]):
    net = minissl.MLP((PIXELS, 200, 200, 64), rng=seed)
    by_loss.setdefault("untrained", []).append(accuracies(net.features(images), test, few, unlabelled))
    ranks.setdefault("untrained", []).append(effective_rank(net(images)))
    for name, loss in LOSSES.items():
        net = minissl.MLP((PIXELS, 200, 200, 64), rng=seed)
        settings = {"epochs": EPOCHS["losses"], "batch_size": 128, "learning_rate": 4e-3, "seed": seed, "label": name}
        trained(net, images[unlabelled], two_views(changes), loss, **settings)
        by_loss.setdefault(name, []).append(accuracies(net.features(images), test, few, unlabelled))
        ranks.setdefault(name, []).append(effective_rank(net(images)))
by_loss = arrays(by_loss)
demo.table(
    f"Accuracy by loss, mean of {len(by_loss['InfoNCE'])} splits",
    ["", *(f"{n} labels" for n in NUMBERS), "effective rank"],
    [[name, *(f"{v:.3f}" for v in by_loss[name].mean(axis=0)), f"{np.mean(ranks[name]):.1f}"] for name in by_loss],
    "Same settings for all, chosen for InfoNCE; others may do better with their own. Differences below about 0.02 mean "
    "nothing.",
)

# %% [markdown]
# ## Features from elsewhere
#
# The lecture's foundation models are trained on other data, and more of them, than the task at hand has. Here the units
# of the pooled windows are not random but learned, by noise contrast on windows: those of the digits themselves, or
# windows of photographs. Then they are pooled as above, and the 160 numbers are probed.

# %%
photographs = [data.grey(data.photograph(name)) for name in data.TRAIN_PHOTOGRAPHS]
elsewhere = {}
for seed, (test, few, unlabelled) in enumerate(splits):
    rng = np.random.default_rng(seed)
    own = some_windows(padded(images)[rng.choice(unlabelled, 500)], 20_000, rng)
    own = own[own.std(axis=1) > 0.05]  # empty corners say nothing
    others = some_windows(photographs, 20_000, rng)
    white = whitening(own, floor=0.1)
    for name, z in {
        "random units": None,
        "units from windows of the digits": white(own),
        "units from windows of photographs": whitening(others, floor=0.1)(others),
    }.items():
        net = minissl.MLP((WINDOW**2, UNITS, 1), rng=seed)
        if z is not None:
            settings = {"epochs": EPOCHS["windows"], "batch_size": 128, "learning_rate": 2e-3, "seed": seed}
            trained(net, z, against_noise(fit_gaussian(z)), sigmoid_cross_entropy, **settings, label=name)
        pool = pooling(lambda q, net=net, white=white: net.features(white(q)), unlabelled)
        elsewhere.setdefault(name, []).append(accuracies(pool(images), test, few, unlabelled))
elsewhere = arrays(elsewhere)
table(
    "Units learned on windows",
    elsewhere,
    {name: elsewhere["random units"] for name in elsewhere if name != "random units"},
    "Gain: over random units.",
)

# %% [markdown]
# ## Write your own task
#
# A pretext task is any function (x, rng) → (input, target). Rotation prediction (Gidaris et al. 2018), how far was the
# image turned?, is five lines, and needs nothing of the library but a loss. Is it a good question to ask of digits?


# %%
def which_turn(x, rng):
    """The image turned by 0, 90, 180 or 270 degrees; the class is which."""
    turns = rng.integers(4, size=len(x))
    turned = [np.rot90(image, k).ravel() for image, k in zip(x.reshape(-1, SIDE, SIDE), turns, strict=True)]
    return np.stack(turned), turns


turned = {}
for seed, (test, few, unlabelled) in enumerate(splits):
    for name, sizes, transform in (
        ("pixels", (PIXELS, *HIDDEN, 4), lambda x: x),
        ("pooled windows", (INPUT, 400, 4), pools[seed]),
    ):
        net, x = minissl.MLP(sizes, rng=seed), transform(images)
        turned.setdefault(f"{name}, untrained", []).append(accuracies(net.features(x), test, few, unlabelled))

        def task(x, rng, transform=transform):
            turned, turns = which_turn(x, rng)
            return transform(turned), turns

        settings = {"epochs": EPOCHS["task"], "seed": seed, "label": f"rotation, {name}"}
        trained(net, images[unlabelled], task, softmax_cross_entropy, **settings)
        turned.setdefault(f"{name}, rotation", []).append(accuracies(net.features(x), test, few, unlabelled))
turned = arrays(turned)
baselines = {f"{name}, rotation": turned[f"{name}, untrained"] for name in ("pixels", "pooled windows")}
table(
    "Rotation prediction", turned, baselines, "A turned 6 is a 9, and a 0 is a 0: what a digit is depends on its turn."
)

# %% [markdown]
# ## What was found


# %%
def difference(a, b, k=0):
    """In words: the gain of one row over another, and whether its interval excludes zero."""
    mean, width = corrected((a - b)[:, k])
    return f"{mean:+.3f} ± {width:.3f}" + ("" if abs(mean) > width else " (not told apart from zero)")


if not demo.quick:
    for title, scores, baselines in (("On pixels", whole, untrained), ("On pooled windows", pooled, before)):
        verdicts = {"gain": [], "no gain told apart from zero": [], "loss": []}
        for name, base in baselines.items():
            mean, width = corrected((scores[name] - base)[:, 0])
            key = "gain" if mean > width else "loss" if mean < -width else "no gain told apart from zero"
            verdicts[key].append(name)
        demo.say(
            f"{title}, with {NUMBERS[0]} labels, beside the same network untrained: "
            + "; ".join(f"{key}: {', '.join(names)}" for key, names in verdicts.items() if names)
            + f". Two views beside noise contrast: {difference(scores['two views'], scores['noise contrast'])}; with "
            f"{NUMBERS[-1]} labels {difference(scores['two views'], scores['noise contrast'], -1)}."
        )
    views, pixels, labelled = whole["two views"], whole["raw pixels"], whole["supervised"]
    demo.say(
        f"On pixels, two views with {NUMBERS[0]} and {NUMBERS[-1]} labels, beside raw pixels: "
        f"{difference(views, pixels)}, {difference(views, pixels, -1)}; beside the supervised network, which gets the "
        f"same views of the labelled images: {difference(views, labelled)}, {difference(views, labelled, -1)}. The "
        f"output, which the loss sees, beside the layer that is kept: {difference(whole['two views, output'], views)}, "
        f"{difference(whole['two views, output'], views, -1)}."
    )
    own, others = (elsewhere[f"units from windows of {name}"] for name in ("the digits", "photographs"))
    demo.say(f"Units learned from photographs beside those from the digits' own windows: {difference(others, own)}.")
few = whole["two views"][:, 0].mean()
pixels = whole["raw pixels"].mean(axis=0)
demo.lesson(
    f"With {NUMBERS[0]} labels a linear classifier recognises {100 * few:.0f}% of unseen images if a network has first "
    f"learned from two views of unlabelled ones, and {100 * pixels[0]:.0f}% from their pixels; with {NUMBERS[-1]} "
    f"labels, pixels give {100 * pixels[-1]:.0f}%.",
    f"{100 * pixels[0]:.0f}% → {100 * few:.0f}%",
)

# %%
demo.finish()
