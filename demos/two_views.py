# %% [markdown]
# # Two views of one sample
#
# Change an image at random, twice: the two results show the same thing. A network that finds the partner of each view
# among the views of other images must look for what the changes leave alone. What these changes are is all that we tell
# it. First the method is looked at where everything can be drawn or is known exactly, then it learns digits, by
# InfoNCE; the losses without negatives, those of `tasks/noncontrastive.py`, are compared with it in `downstream`.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles

import minissl
from minissl.goals.probe import cross_validate_l2, linear_probe
from minissl.nn.schedules import cosine
from minissl.tasks.augmentations import affine, gaussian_noise
from minissl.tasks.views import alignment, info_nce, two_views, uniformity

demo = Demo(
    "two_views",
    "Two views of one sample",
    "Self-supervised learning: we have only x; invent (input, target), then use supervised learning; keep the "
    "representation. Here the input is two random changes of each sample, and the target is which belong together.",
    "J = −mean ln [exp(zᵢ·z′ᵢ/τ) / Σⱼ exp(zᵢ·z′ⱼ/τ)], both ways;    ln N − J ≤ I(v; v′)",
    limits="One data set of small images, and changes chosen by people who know that a shifted digit is the same. "
    "The settings are varied one at a time, around one point. The classes are as frequent as one another, which an "
    "even spread over the sphere suits.",
)


def trained(sizes, x, task, loss, activation="relu", *, epochs, batch_size, learning_rate, rng, label):
    """A network after training, with steps that fall to zero."""
    net, optimizer = minissl.MLP(sizes, activation, rng=rng), minissl.Adam(learning_rate)
    settings = {"epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "schedule": cosine, "rng": rng}
    for _ in progress(minissl.train_epochs(net, x, task, loss, **settings), epochs, label):
        pass
    return net


# %% [markdown]
# ## In the plane
#
# Points near three places of a circle, half of them at one, a fifth at another. A view is a point with a little noise.
# The network puts each point on another circle, where only the angle between two points counts. Alignment alone
# [views.8] pulls all to few places: nothing tells them to stay apart. InfoNCE does both. Its temperature τ says what
# counts as near: a high one compares with all points alike, a low one almost only with the nearest.

# %%
STEPS = 60 if demo.quick else 600
GROUPS, SHARES = np.array([0.5, 2.2, 4.6]), (0.5, 0.3, 0.2)
rng = np.random.default_rng(0)
angle = rng.choice(GROUPS, 2000, p=SHARES) + rng.normal(0, 0.25, 2000)
points = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
noisy = two_views(gaussian_noise(0.2))


def epochs_of(batch_size):
    return max(1, round(STEPS * batch_size / len(points)))


def on_the_circle(loss, batch_size, label):
    """Where the points are put, and alignment and uniformity of fresh views."""
    net = trained(
        (2, 64, 64, 2),
        points,
        noisy,
        loss,
        "tanh",
        epochs=epochs_of(batch_size),
        batch_size=batch_size,
        learning_rate=3e-3,
        rng=0,
        label=label,
    )
    z, target = net(points), noisy(points, 1)[1]
    views = net(noisy(points, 1)[0])
    measures = float(alignment(views, target)[0]), float(uniformity()(views, target)[0])
    return z / np.linalg.norm(z, axis=1, keepdims=True), measures


TEMPERATURES, CANDIDATES = (2.0, 0.5, 0.1), (2, 8, 256)
placed = {"alignment alone": on_the_circle(alignment, 256, "alignment")}
for tau in TEMPERATURES:
    placed[f"InfoNCE, τ = {tau:g}"] = on_the_circle(info_nce(tau), 256, f"temperature {tau:g}")
measures = {
    N: [placed[f"InfoNCE, τ = {tau:g}"][1] if N == 256 else on_the_circle(info_nce(tau), N, f"{N} candidates")[1]
        for tau in TEMPERATURES]
    for N in CANDIDATES
}  # fmt: skip

# %%
fig, axes = plt.subplots(1, 5, figsize=(9, 2.3))
around = np.random.default_rng(1).normal(1, 0.06, (len(points), 1))
hues = 0.3 + 0.25 * np.cos(angle[:, None] - GROUPS)  # red, green, blue: how near to each group; nowhere pale
for ax, (name, z) in zip(axes, [("data", points), *((name, z) for name, (z, _) in placed.items())], strict=True):
    ax.scatter(*(around * z).T, c=hues, s=1, rasterized=True)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    ax.set_title(name, fontsize=9)
    ax.spines[:].set_visible(False)
demo.figure(
    fig,
    "plane",
    "Where 2,000 points of the plane are put on the circle; colour: where each was, and a little width to see how many "
    "there are. Alignment alone lets them fall together; InfoNCE keeps the groups, and spreads their points less at "
    f"τ = 2 than at 0.5 or 0.1: uniformity {', '.join(f'{u:.2f}' for _, (_, u) in placed.values())} from the second "
    "picture on.",
    alt="Five circles of coloured points. Data: three arcs. Alignment alone: nearly all in one or two places. InfoNCE: "
    "three groups, narrow at τ = 2, wide at 0.5 and 0.1.",
)
demo.table(
    "Alignment (0: partners at one place) and uniformity (0: all at one place, −1.575: even) on the circle",
    ["candidates N", *(f"τ = {tau:g}" for tau in TEMPERATURES)],
    [[N, *(f"{a:.3f}, {u:.2f}" for a, u in row)] for N, row in measures.items()],
    f"Alignment alone: {placed['alignment alone'][1][0]:.3f}, {placed['alignment alone'][1][1]:.2f}. One seed. "
    "Most even: "
    + ", ".join(f"τ = {TEMPERATURES[np.argmin([u for _, u in row])]:g} (N = {N})" for N, row in measures.items())
    + ". Networks with few candidates also saw fewer points in all: "
    + ", ".join(f"{epochs_of(N) * len(points):,} (N = {N})" for N in CANDIDATES)
    + ".",
)

# %% [markdown]
# ## How much the candidates can see
#
# For Gaussian views the mutual information I is known, and so is the best critic, the pointwise mutual information
# [views.5]. What InfoNCE says of I, ln N − J, cannot be more than ln N [views.6]. Below, the best critic, and
# a network that has learned its critic from views alone.

# %%
GAUSSIANS = {(1, 0.8): "o", (4, 0.9): "s", (8, 0.95): "^"}  # dimension, correlation of each pair of components
SIZES = (2, 8, 32) if demo.quick else (2, 8, 32, 128, 512)


def gaussian_views(n, rho, N, rng):
    v = rng.standard_normal((N, n))
    return v, rho * v + np.sqrt(1 - rho**2) * rng.standard_normal((N, n))


def best_critic(v, w, rho):
    """Embeddings whose inner products are the pointwise mutual information, up to a number."""
    one, a = np.ones((len(v), 1)), rho / (1 - rho**2)
    squares = [-a * rho / 2 * (u * u).sum(axis=1, keepdims=True) for u in (v, w)]
    return np.concatenate([np.hstack([a * v, squares[0], one]), np.hstack([w, one, squares[1]])])


def seen(embed, n, rho, N, batches, rng):
    """ln N − J of each batch."""
    loss, target = info_nce(1.0, cosine=False), np.roll(np.arange(2 * N), N)
    return [np.log(N) - loss(embed(*gaussian_views(n, rho, N, rng)), target)[0] for _ in range(batches)]


rng = np.random.default_rng(2)
information = {key: -key[0] / 2 * np.log(1 - key[1] ** 2) for key in GAUSSIANS}
bounds = {
    (n, rho): [seen(lambda v, w, rho=rho: best_critic(v, w, rho), n, rho, N, max(20, 2000 // N), rng) for N in SIZES]
    for n, rho in GAUSSIANS
}
learned = {}
for n, rho in list(GAUSSIANS)[: 1 if demo.quick else 2]:

    def correlated(x, rng, rho=rho):  # two of these have correlation ρ
        return (np.sqrt(rho) * x + np.sqrt(1 - rho) * rng.standard_normal(x.shape)).astype(np.float32)

    x = rng.standard_normal((20_000, n)).astype(np.float32)
    net = trained(
        (n, 64, 64, 32),
        x[:2000] if demo.quick else x,
        two_views(correlated),
        info_nce(1.0, cosine=False),
        "tanh",
        epochs=1 if demo.quick else 10,
        batch_size=512,
        learning_rate=3e-3,
        rng=0,
        label=f"{n} dimensions",
    )
    embed = lambda v, w, net=net: net(np.concatenate([v, w]).astype(np.float32))  # noqa: E731
    learned[n, rho] = seen(embed, n, rho, SIZES[-1], 20, rng)

# %%
fig, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(SIZES, np.log(SIZES), "0.5", ls="-", lw=1)
ax.text(SIZES[-1], np.log(SIZES[-1]) + 0.25, "ln N", color="0.4", ha="center")
for k, ((n, rho), marker) in enumerate(GAUSSIANS.items()):
    middle, half = np.transpose([interval(v) for v in bounds[n, rho]])
    ax.errorbar(SIZES, middle, half, color=f"C{k}", marker=marker, ls="-", ms=4, capsize=2)
    ax.axhline(information[n, rho], color=f"C{k}", ls=":", lw=1)
    ax.text(SIZES[-1] * 1.4, information[n, rho], f"I = {information[n, rho]:.2f}", color=f"C{k}", va="center")
    if (n, rho) in learned:
        ax.errorbar(SIZES[-1] * 1.15, *interval(learned[n, rho]), color=f"C{k}", marker="*", ms=10, capsize=2)
ax.set(xscale="log", xlim=(1.7, SIZES[-1] * 1.35), xlabel="candidates N", ylabel="ln N − J, nats")
ax.set_xticks(SIZES, SIZES)
ax.minorticks_off()
demo.figure(
    fig,
    "bound",
    "What InfoNCE sees of the mutual information of Gaussian views (dotted) grows with the number of candidates and is "
    "less than ln N (grey). Circles, squares, triangles: the best critic; stars: a network that has learned one.",
    alt="ln N − J against N from 2 to 512. The curve of I = 0.51 is nearly level from N = 128 on, that of 3.32 still "
    "rises at 512; that of 9.31 follows ln N all the way.",
)
for (n, rho), values in learned.items():
    demo.say(
        f"Of {information[n, rho]:.3f} nats, N = {SIZES[-1]} candidates show {pm(values)} to the network that was "
        f"trained, {pm(bounds[n, rho][-1])} to the best critic."
    )

# %% [markdown]
# ## Digits
#
# A view is the image under a random affine map: shifted by up to 0.7 pixels, turned by up to 15 degrees, sheared, a
# fifth larger or smaller. The network has two hidden layers and an output of 64 numbers, the *head*, of which InfoNCE
# takes the cosine. The features are a hidden layer, as always, or the head's output.

# %%
images, labels = data.digits()
NUMBER, SPLITS, EPOCHS, TEST = 50, 2 if demo.quick else 3, 2 if demo.quick else 40, 300
HIDDEN = (64, 200, 200)
judging = np.random.default_rng(2025).permutation(len(images))[len(images) // 2 :]  # the half that `downstream` uses


def changes(strength):
    """Affine maps of a given strength; 0 changes nothing."""
    return affine((8, 8), shift=0.7 * strength, rotation=15 * strength, shear=0.2 * strength, scale=1.2**strength)


some = [np.flatnonzero(labels == c)[3] for c in range(10)]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.9))
fig.get_layout_engine().set(wspace=0.08)
for ax, strength in zip(axes, (1.0, 2.0), strict=True):
    rng = np.random.default_rng(0)
    drawn = [images[some], *(changes(strength)(images[some], rng) for _ in range(5))]
    tiles(ax, -np.concatenate(drawn).reshape(-1, 8, 8), 10, f"strength {strength:g}")
demo.figure(
    fig,
    "digits",
    "First row: ten digits. Below: five views of each, at the strength that is used and at twice that.",
    alt="Two sheets of ten digits with five changed copies of each. On the left all copies can be read; on the right "
    "some cannot.",
)


# %% [markdown]
# ## What the embedding has put together
#
# For each digit that the network has not seen, the nearest of all others: how often is it the same digit?


# %%
def learn(unlabelled, seed, strength=1.0, tau=0.5, batch_size=128, outputs=64):
    return trained(
        (*HIDDEN, outputs),
        images[unlabelled],
        two_views(changes(strength)),
        info_nce(tau),
        epochs=EPOCHS,
        batch_size=batch_size,
        learning_rate=4e-3,
        rng=seed,
        label=f"strength {strength:g}, temperature {tau:g}, batches of {batch_size}",
    )


def neighbours(H, number):
    """The nearest other rows by the cosine of the centred rows, nearest first, (N, number)."""
    H = H - H.mean(axis=0)
    H = H / np.linalg.norm(H, axis=1, keepdims=True)
    near = H @ H.T
    np.fill_diagonal(near, -2)
    return np.argsort(-near, axis=1)[:, :number]


splits = []
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(judging)
    test, pool = order[:TEST], order[TEST:]
    few = np.concatenate([pool[labels[pool] == c][: NUMBER // 10] for c in range(10)])
    splits.append((test, few, np.setdiff1d(np.arange(len(images)), test)))
nets = [learn(unlabelled, seed) for seed, (_, _, unlabelled) in enumerate(splits)]
untrained = [minissl.MLP((*HIDDEN, 64), rng=seed) for seed in range(SPLITS)]

test, _, unlabelled = splits[0]
spaces = {"pixels": images, "untrained": untrained[0].features(images), "two views": nets[0].features(images)}
same = {name: labels[neighbours(H, 100)[test]] == labels[test, None] for name, H in spaces.items()}
demo.table(
    f"Share of the nearest digits that are the same digit; {TEST} digits that the network has not seen",
    ["", "the nearest", "the 10 nearest", "the 100 nearest"],
    [[name, *(f"{hit[:, :n].mean():.3f}" for n in (1, 10, 100))] for name, hit in same.items()],
    f"One split of the images. There are about {len(images) // 10} of each digit.",
)

# %% [markdown]
# An output of three numbers is, for the cosine, a point of the sphere, which can be drawn whole. In all else the
# network below was trained in the same way. The labels took no part in it: they only say which figure to draw, and its
# colour.

# %%
globe = learn(unlabelled, 0, outputs=3)(images[test])
globe /= np.linalg.norm(globe, axis=1, keepdims=True)
alike = labels[test][(globe @ globe.T - 2 * np.eye(TEST)).argmax(axis=1)] == labels[test]
colours = "#0060c0 #b85c00 #0a7a20 #c81020 #6a40d0 #6b3a1e #c020a0 #5a5a5a #707000 #008080".split()
fig, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax, side, name in zip(axes, (1, -1), ("one half of the sphere", "the other half, from its own side"), strict=True):
    here = side * globe[:, 2] > 0
    flat = globe[here, :2] * [side, 1] / np.sqrt(1 + abs(globe[here, 2:]))  # equal areas stay equal (Lambert)
    for (u, v), c in zip(flat, labels[test][here], strict=True):
        ax.text(u, v, str(c), color=colours[c], fontsize=9, ha="center", va="center")
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.7"))
    ax.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal", title=name)
    ax.set_axis_off()
demo.figure(
    fig,
    "sphere",
    f"Where a network with three outputs puts {TEST} digits that it has not seen, on the unit sphere. Nothing has told "
    "it that there are ten kinds.",
    alt="Two discs full of coloured digits, which lie in groups, most of one digit each. How often the nearest is the "
    "same digit: " + ", ".join(f"{c} {100 * alike[labels[test] == c].mean():.0f}%" for c in range(10)) + ".",
)

# %%
helped = same["two views"][:, :9].sum(axis=1) - same["pixels"][:, :9].sum(axis=1)
hard = test[np.argsort(-helped, kind="stable")[:6]]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.9))
fig.get_layout_engine().set(wspace=0.08)
for ax, name in zip(axes, ("pixels", "two views"), strict=True):
    shown = np.concatenate([hard[:, None], neighbours(spaces[name], 9)[hard]], axis=1)
    tiles(ax, -images[shown].reshape(-1, 8, 8), 10, f"nearest by {name}")
    for i, j in zip(*np.nonzero(labels[shown] != labels[hard, None]), strict=True):
        ax.plot([9 * j, 9 * j + 7], [9 * i + 7.4] * 2, color="C1", ls="-", lw=2, clip_on=False)
    ax.axvline(8, color="k", ls="-", lw=1)
demo.figure(
    fig,
    "neighbours",
    "The six digits that the features help most (left column of each sheet) and their nine nearest; underlined: "
    f"another digit. Of {TEST}, {(helped > 0).sum()} have more of their own kind among the nine nearest by the "
    f"features, {(helped < 0).sum()} by pixels.",
    alt="Two sheets of six rows of digits. More of the neighbours by pixels than of those by two views are underlined "
    "as other digits.",
)

# %% [markdown]
# ## What matters
#
# One setting at a time, around strength 1, τ = 0.5, batches of 128 (that is the number of candidates). The measure is
# that of `downstream`: a linear classifier trained on 50 labels and judged on 300 digits that nothing has seen, here at
# the second hidden layer. All are trained and judged on the same splits of the images.


# %%
def accuracy(H, split):
    """Of the linear probe of the features H of all images."""
    test, few, unlabelled = split
    H = H.astype(np.float64) - H[unlabelled].mean(axis=0)
    H /= np.sqrt((H[unlabelled] ** 2).mean())
    l2, _ = cross_validate_l2(H[few], labels[few], (0.01, 0.1, 1.0, 10.0), rng=0, tolerance=1e-3)
    return np.mean(linear_probe(H[few], labels[few], l2, tolerance=1e-3).predict(H[test]) == labels[test])


BASE = {"strength": 1.0, "tau": 0.5, "batch_size": 128}
VARIED = {"strength": (0.0, 0.5, 1.0, 2.0), "tau": (0.1, 0.5, 2.0), "batch_size": (32, 128, 512)}
NAMES = {"strength": "strength of the changes", "tau": "temperature τ", "batch_size": "batch size"}
if demo.quick:
    VARIED = {"strength": (0.0, 1.0), "tau": (0.5,), "batch_size": (128,)}
base = np.array([accuracy(net.features(images), split) for net, split in zip(nets, splits, strict=True)])
scores = {
    (key, value): base
    if value == BASE[key]
    else np.array([accuracy(learn(split[2], seed, **{key: value}).features(images), split)
                   for seed, split in enumerate(splits)])
    for key, values in VARIED.items()
    for value in values
}  # fmt: skip
layers = {
    "pixels": [accuracy(images, split) for split in splits],
    **{
        name: [accuracy(net.features(images, k), split) for net, split in zip(which, splits, strict=True)]
        for name, which, k in (
            ("untrained, second hidden layer", untrained, 2),
            ("first hidden layer", nets, 1),
            ("second hidden layer", nets, 2),
            ("output of the head", nets, 3),
        )
    },
}  # fmt: skip

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.0), sharey=True, width_ratios=[len(v) for v in VARIED.values()])
for ax, (key, values) in zip(axes, VARIED.items(), strict=True):
    for k, value in enumerate(values):
        ax.plot(np.full(SPLITS, k), scores[key, value], ".", color="0.45", ls="none", zorder=3)
    ax.plot([scores[key, value].mean() for value in values], "o-", ms=4, color="C0")
    ax.axhline(np.mean(layers["pixels"]), color="0.4", ls=":", lw=1)
    ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    ax.set(xlabel=NAMES[key], xlim=(-0.5, len(values) - 0.5))
axes[0].set_ylabel(f"accuracy with {NUMBER} labels")
axes[0].text(-0.4, np.mean(layers["pixels"]) + 0.005, "pixels", color="0.4", fontsize=9)
demo.figure(
    fig,
    "settings",
    f"Accuracy of a linear classifier trained on {NUMBER} labels; grey: {SPLITS} splits of the images, blue: their "
    "mean; dotted: the same classifier on pixels.",
    alt="Accuracy against three settings. Without changes it is far lower than with them; temperature and batch size "
    "matter less.",
    main=True,
)
demo.table(
    f"Accuracy with {NUMBER} labels by the layer that is probed, mean of {SPLITS} splits",
    ["", "accuracy", "difference from the second hidden layer"],
    [[name, f"{np.mean(v):.3f}", f"{np.mean(v - base):+.3f}"] for name, v in layers.items()],
    f"The second hidden layer is the one below the head. With {SPLITS} splits of the same images, differences below "
    "about 0.02 mean nothing.",
)


# %%
def beside_base(key):
    others = [value for value in VARIED[key] if value != BASE[key]]
    return ", ".join(f"{np.mean(scores[key, value] - base):+.3f} at {value:g}" for value in others)


if not demo.quick:
    demo.say(
        "Without changes, strength 0, every view is its own copy, and any map that keeps images apart solves the task: "
        f"accuracy {scores['strength', 0.0].mean():.3f}, where the untrained layer has "
        f"{np.mean(layers['untrained, second hidden layer']):.3f}. Beside {base.mean():.3f} at strength 1, τ = 0.5 and "
        f"batches of 128: {beside_base('strength')} (strength); {beside_base('tau')} (temperature); "
        f"{beside_base('batch_size')} (batch size); {np.mean(layers['output of the head'] - base):+.3f} for the head's "
        "output."
    )
demo.lesson(
    f"Told only which changes leave a digit the same, a network lifts a linear classifier with {NUMBER} labels from "
    f"{np.mean(layers['pixels']):.2f} on pixels to {base.mean():.2f}; the same task without the changes gives "
    f"{scores['strength', 0.0].mean():.2f}.",
    f"{np.mean(layers['pixels']):.2f} → {base.mean():.2f}",
)

# %%
demo.finish()
