# %% [markdown]
# # Data against shuffled data, and jigsaw
#
# Noise can be made of the data themselves: shuffle something, and ask which is real. What was shuffled is what has to
# be understood: variables across samples, their dependence; patches within an image, how its parts belong together. In
# the jigsaw the question is how they were shuffled.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles

import minissl
from minissl.nn.schedules import cosine
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations, normalise
from minissl.tasks.shuffling import against_shuffled, shuffle_patches

demo = Demo(
    "shuffled_patches",
    "Data against shuffled data, and jigsaw",
    "Shuffle the data and train a network to tell real from shuffled, or to find out how they were shuffled.",
    "variables:  E y*(x) = multi-information        jigsaw:  input = patches in the order π_c,  target = c",
    limits="Six photographs are few, and the six networks share most of what they learned from: an interval says how "
    "much photographs like these differ. Altered patches are also patches of a kind that the first network has never "
    "seen: what it loses on them is what it used, or what confuses it. Patches of 8 × 8 pixels show no objects; what "
    "jigsaws of larger patches teach is not shown here.",
)
SEEDS = range(2 if demo.quick else 3)
SAMPLES = 2000 if demo.quick else 40_000
WINDOWS = 2000 if demo.quick else 16_000
HELD_OUT = 1000 if demo.quick else 4000
PHOTOGRAPHS = (*data.TRAIN_PHOTOGRAPHS, *data.TEST_PHOTOGRAPHS)
LEFT_OUT = PHOTOGRAPHS[-2:] if demo.quick else PHOTOGRAPHS


def trained(sizes, x, task, loss, activation="relu", *, epochs, batch_size=256, seed, label):
    """A network that has learned the task, with steps that fall to zero."""
    net = minissl.MLP(sizes, activation, rng=seed)
    how = {"epochs": epochs, "batch_size": batch_size, "optimizer": minissl.Adam(3e-3), "schedule": cosine, "rng": seed}
    for _ in progress(minissl.train_epochs(net, x, task, loss, **how), epochs, label):
        pass
    return net


# %% [markdown]
# ## Variables shuffled across samples
#
# Three Gaussian variables, whose multi-information is known: −½ ln det R, [shuffling.3]. The network knows nothing of
# Gaussians. Its mean logit over fresh data estimates the multi-information, [shuffling.2], and is no bound on it. Below
# it stands the bound of [shuffling.6], for every network at most the multi-information up to the error of the sample.
# Batches are large, because two shuffled variables come from the same sample with probability one in the batch size.

# %%
R = np.array([[1, 0.6, 0.3], [0.6, 1, -0.2], [0.3, -0.2, 1]])
information = -0.5 * np.log(np.linalg.det(R))
estimates = []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    x, fresh = (rng.multivariate_normal(np.zeros(3), R, SAMPLES).astype("float32") for _ in range(2))
    how = {"epochs": 10, "batch_size": 500, "seed": seed, "label": f"variables, seed {seed}"}
    net = trained((3, 32, 32, 1), x, against_shuffled(), minissl.sigmoid_cross_entropy, "tanh", **how)
    input, target = against_shuffled()(fresh, rng)
    logits, shuffled = net(fresh).astype(float), net(input[target[:, 0] == 0]).astype(float)
    estimates.append([logits.mean(), logits.mean() - np.log(np.exp(shuffled).mean())])
estimates = np.array(estimates)
middle, half = interval(estimates[:, 0])
side = "low" if middle < information else "high"
verdict = f" By its interval the mean logit, which is no bound, is too {side} here."
demo.table(
    f"Multi-information of three Gaussian variables, {len(SEEDS)} seeds",
    ["", "nats"],
    [
        ["mean logit on fresh data", pm(estimates[:, 0])],
        ["lower bound of [shuffling.6]", pm(estimates[:, 1])],
        ["closed form, −½ ln det R", information],
    ],
    f"Largest difference of a mean logit from the closed form: {np.abs(estimates[:, 0] - information).max():.4f} nats."
    + (verdict if abs(middle - information) > half and not demo.quick else ""),
)

# %% [markdown]
# ## Patches shuffled within an image
#
# Grey windows of photographs, whose mean and contrast are divided out. Each of six photographs is left out once:
# networks learn from the other five and are judged on that one. Windows of 12 × 12 pixels in 3 × 3 patches come first:
# are they real or shuffled?


# %%
def cut(names, size, number, rng):
    photographs = [data.grey(data.photograph(name)) for name in names]
    return normalise(data.windows(photographs, size, number, rng).reshape(number, -1))


shuffle = shuffle_patches((12, 12), (3, 3))
found = []
for seed, left_out in enumerate(LEFT_OUT):
    rng = np.random.default_rng(seed)
    others = [name for name in PHOTOGRAPHS if name != left_out]
    x, unseen = cut(others, 12, WINDOWS, rng), cut([left_out], 12, HELD_OUT, rng)
    input, target = against_shuffled(shuffle)(unseen, rng)
    found.append([])
    for sizes, epochs in (((144, 256, 64, 1), 6), ((144, 1), 2)):
        how = {"epochs": epochs, "seed": seed, "label": f"shuffled, without {left_out}"}
        net = trained(sizes, x, against_shuffled(shuffle), minissl.sigmoid_cross_entropy, **how)
        found[-1].append(100 * ((net(input) > 0) == target).mean())
found = np.array(found)
demo.table(
    "Real against shuffled, 3 × 3 patches of 4 × 4 pixels: per cent right on the photograph left out",
    ["", "mean", "hardest", "easiest"],
    [
        [name, pm(column, 1), *(f"{column[i]:.1f} ({LEFT_OUT[i]})" for i in (column.argmin(), column.argmax()))]
        for name, column in zip(("network 144-256-64-1", "linear classifier"), found.T, strict=True)
    ],
    f"Chance is 50. Intervals are over {len(LEFT_OUT)} photographs.",
)

# %% [markdown]
# ## The jigsaw, and what its solver uses
#
# Windows of 16 × 16 pixels in 2 × 2 patches of 8 × 8, in one of all 24 orders. What does the network that has learned
# this use? Its photographs stay the same and its patches stay as large, but something is taken from them:
#
# * *a gap*: the patches are cut from windows of 18 × 18 pixels, two pixels apart, so that edges do not meet;
# * *no brightness*: each patch's mean is taken away;
# * *normalised*: each patch's mean and contrast are divided out, [jigsaw.5];
# * *brightness alone*: each patch is its own mean and nothing else.
#
# These are questions about one network. What *can* be solved from what is left is another question, and other networks
# answer it, each trained on patches altered in the same way.


# %%
def task(gap=0, normalised=False):
    return jigsaw((16 + gap, 16 + gap), (2, 2), orders, gap, normalised)


def in_patches(u):
    """Patches (N, 2, 8, 2, 8) of an input; a patch's pixels are on the axes 2 and 4."""
    return u.reshape(-1, 2, 8, 2, 8)


def without_brightness(u):
    return (in_patches(u) - in_patches(u).mean(axis=(2, 4), keepdims=True)).reshape(u.shape)


def brightness_alone(u):
    return (0 * in_patches(u) + in_patches(u).mean(axis=(2, 4), keepdims=True)).reshape(u.shape)


def same(u):
    return u


orders = max_hamming_permutations(4, 24, rng=0)  # all of them
ALTERED = {  # name: (gap, each patch normalised, what is done to the input besides)
    "as trained": (0, False, same),
    "a gap": (2, False, same),
    "no brightness": (0, False, without_brightness),
    "normalised": (0, True, same),
    "a gap, normalised": (2, True, same),
    "brightness alone": (0, False, brightness_alone),
}
RETRAINED = "as trained", "a gap", "normalised", "a gap, normalised"
first, own, seen = ({name: [] for name in names} for names in (ALTERED, RETRAINED, RETRAINED))
for seed, left_out in enumerate(LEFT_OUT):
    rng = np.random.default_rng(seed)
    others = [name for name in PHOTOGRAPHS if name != left_out]
    x, unseen = (
        {gap: cut(names, 16 + gap, number, rng) for gap in (0, 2)}
        for names, number in ((others, WINDOWS), ([left_out], HELD_OUT))
    )
    solver = None
    for name, (gap, normalised, alter) in ALTERED.items():
        u, c = task(gap, normalised)(unseen[gap], rng)
        if name in RETRAINED:
            how = {"epochs": 6, "seed": seed, "label": f"jigsaw, {name}, without {left_out}"}
            net = trained((256, 256, 128, 24), x[gap], task(gap, normalised), minissl.softmax_cross_entropy, **how)
            own[name].append(100 * (net(u).argmax(axis=1) == c).mean())
            u_seen, c_seen = task(gap, normalised)(x[gap][:HELD_OUT], rng)
            seen[name].append(100 * (net(u_seen).argmax(axis=1) == c_seen).mean())
        if solver is None:
            solver, puzzles, answers = net, u, c
        first[name].append(100 * (solver(alter(u)).argmax(axis=1) == c).mean())
first = {name: np.array(values) for name, values in first.items()}
demo.table(
    "Jigsaw with 24 orders: per cent right on the photograph left out",
    ["patches of 8 × 8 pixels", "first network", "trained on such patches", "the same, photographs seen"],
    [
        [name, pm(values, 1), pm(own[name], 1) if name in own else "", pm(seen[name], 1) if name in seen else ""]
        for name, values in first.items()
    ],
    f"Chance is {100 / 24:.1f}. The first network was trained on patches as they are. Intervals are over "
    f"{len(LEFT_OUT)} photographs.",
)

# %%
fig, ax = plt.subplots(figsize=(9, 3.4))
names = list(ALTERED)[::-1]
for k, name in enumerate(names):
    ax.plot(first[name], [k] * len(LEFT_OUT), "o", color="C0", alpha=0.5, mew=0)
    if name in RETRAINED[1:]:
        ax.plot(own[name], [k - 0.25] * len(LEFT_OUT), "D", ms=4, color="C1", alpha=0.7, mew=0)
ax.plot([], [], "o", color="C0", label="first network")
ax.plot([], [], "D", ms=4, color="C1", label="trained on such patches")
ax.set_yticks(range(len(names)), names)
ax.axvline(100 / 24, color="grey", lw=0.8, ls=":")
ax.text(100 / 24 + 0.8, len(names) - 0.72, "chance", fontsize=9)
ax.set(xlabel="per cent of the jigsaws solved, photograph left out", xlim=(0, 75), ylim=(-0.6, len(names) - 0.4))
ax.legend(loc="lower right")
demo.figure(
    fig,
    "cues",
    f"What is taken from the patches, and what is then solved; a point is one of {len(LEFT_OUT)} photographs. They "
    f"differ much: from {min(first['as trained']):.0f}% ({LEFT_OUT[int(np.argmin(first['as trained']))]}) to "
    f"{max(first['as trained']):.0f}% ({LEFT_OUT[int(np.argmax(first['as trained']))]}) with nothing taken away.",
    alt="Points for six photographs in six rows: about half of the jigsaws are solved with patches as trained, fewer "
    "with a gap, and hardly more than by chance without brightness or with normalised patches. Networks trained on "
    "normalised patches solve more of them than the first one; those trained with a gap do not.",
    main=True,
)
lost = {name: interval(values - first["as trained"]) for name, values in first.items() if name != "as trained"}
more = {name: interval(np.array(own[name]) - first[name]) for name in RETRAINED[1:]}
demo.say(
    "What the first network loses, in points, photograph by photograph: "
    + "; ".join(f"{name} {-middle:.1f} ± {half:.1f}" for name, (middle, half) in lost.items())
    + ". What training on such patches gives back: "
    + "; ".join(f"{name} {middle:.1f} ± {half:.1f}" for name, (middle, half) in more.items()).replace(" -", " −")
    + "."
)
share = {name: pm(values, 1) + "%" for name, values in first.items()}
cues = {"a gap": "edges do not meet", "no brightness": "each patch's brightness is taken away"}
cue = min(cues, key=lambda name: first[name].mean())
demo.lesson(
    f"A network puts {share['as trained']} of the jigsaws of a new photograph together (chance {100 / 24:.1f}%), the "
    f"same network {share[cue]} once {cues[cue]}, and {share['brightness alone']} from each patch's brightness alone; "
    f"one trained on normalised patches, {pm(own['normalised'], 1)}%.",
    f"{first['as trained'].mean():.0f}% → {first[cue].mean():.0f}%",
)

# %%
rng = np.random.default_rng(1)
chosen = rng.choice(HELD_OUT, 12, replace=False)
guessed = solver(puzzles[chosen]).argmax(axis=1)


def reassembled(images, order):
    """Each image's patches put back where `order` says that they came from."""
    q = in_patches(images).swapaxes(2, 3).reshape(-1, 4, 8, 8)
    back = q[np.arange(len(q))[:, None], np.argsort(order, axis=1)]
    return back.reshape(-1, 2, 2, 8, 8).swapaxes(2, 3).reshape(-1, 16, 16)


rows = [
    ("real", reassembled(puzzles[chosen], orders[answers[chosen]])),
    ("shuffled: what the network sees", puzzles[chosen].reshape(-1, 16, 16)),
    ("put together by the network's answer", reassembled(puzzles[chosen], orders[guessed])),
]
fig, axes = plt.subplots(3, 1, figsize=(9, 3.2))
for ax, (title, images) in zip(axes, rows, strict=True):
    tiles(ax, images, 12, title, limits=(-2, 2))
for k in np.flatnonzero(guessed != answers[chosen]):
    outline = {"fill": False, "edgecolor": "#D55E00", "linewidth": 2, "clip_on": False}
    axes[2].add_patch(plt.Rectangle((17 * k - 0.5, -0.5), 16, 16, **outline))
wrong = (guessed != answers[chosen]).sum()
demo.figure(
    fig,
    "jigsaw",
    f"Windows of {LEFT_OUT[-1]}, which was left out, drawn at random. Outlined: put together wrongly, {wrong} of "
    f"{len(chosen)}.",
    alt=f"Three rows of {len(chosen)} small grey windows: real, with their quarters shuffled, and put together again; "
    f"{wrong} of them are outlined as wrong.",
)

# %%
demo.finish()
