# %% [markdown]
# # Data against shuffled data, and jigsaw
#
# Noise can be made of the data themselves: shuffle something, and ask which is real. What was shuffled is what has to
# be understood: variables across samples, their dependence; patches within an image, how its parts belong together. In
# the jigsaw the question is how they were shuffled.

# %%
import data
import numpy as np
from gallery import Demo, plt, pm, progress, tiles

import minissl
from minissl.tasks.shuffling import against_shuffled, shuffle_patches
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations, normalise

demo = Demo(
    "shuffled_patches",
    "Data against shuffled data, and jigsaw",
    "Shuffle the data and train a network to tell real from shuffled, or to find out how they were shuffled.",
    "shuffled variables: E y*(x) = mutual information;   jigsaw: input = patches in order pi_c, target = c",
)
SEEDS = range(2 if demo.quick else 3)
SAMPLES = 2000 if demo.quick else 40_000
WINDOWS = 2000 if demo.quick else 20_000
HELD_OUT = 1000 if demo.quick else 6000


def trained(net, x, task, loss, epochs, batch_size, seed, label):
    """Adam with a smaller step over the last quarter of the epochs."""
    optimizer = minissl.Adam()
    losses = minissl.train_epochs(net, x, task, loss, epochs=epochs, batch_size=batch_size, optimizer=optimizer, rng=seed)
    for epoch, _ in enumerate(progress(losses, epochs, label), 1):
        if epoch >= epochs * 3 // 4:
            optimizer.learning_rate = 2e-4
    return net


# %% [markdown]
# ## Variables shuffled across samples
#
# Three Gaussian variables, whose mutual information is known: -1/2 ln det R. The network knows nothing of Gaussians.
# Its mean logit over fresh data estimates the mutual information. Batches are large, because two shuffled variables
# come from the same sample with probability one in the batch size.

# %%
R = np.array([[1, 0.6, 0.3], [0.6, 1, -0.2], [0.3, -0.2, 1]])
information = -0.5 * np.log(np.linalg.det(R))
estimates = []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    x, fresh = (rng.multivariate_normal(np.zeros(3), R, SAMPLES).astype("float32") for _ in range(2))
    net = minissl.MLP((3, 32, 32, 1), activation="tanh", rng=seed)
    trained(net, x, against_shuffled(), minissl.sigmoid_cross_entropy, 24, 500, seed, f"variables, seed {seed}")
    estimates.append(net(fresh).mean())
demo.table(
    f"Mutual information of three Gaussian variables, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "nats"],
    [["mean logit on fresh data", pm(estimates)], ["closed form, -1/2 ln det R", information]],
    f"Largest difference in a run: {np.abs(np.array(estimates) - information).max():.4f} nats.",
)

# %% [markdown]
# ## Patches shuffled within an image
#
# Grey windows of 12 x 12 pixels in 3 x 3 patches; of 16 x 16 in 2 x 2 patches of 8 x 8 for the jigsaw, or of 14 x 14 in
# 2 x 2 patches of 6 x 6 with a gap of two pixels. Mean and contrast of each *window* are divided out. Where it says
# *each patch normalised*, mean and contrast of each patch are divided out too, so that brightness that changes slowly
# over the window is no help. Networks are judged on photographs that they have not seen.


# %%
def cut(names, size, number, rng):
    photographs = [data.grey(data.photograph(name)) for name in names]
    return normalise(data.windows(photographs, size, number, rng).reshape(number, -1))


shuffle = shuffle_patches((12, 12), (3, 3))
accuracy, linear = [], []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    x, unseen = cut(data.TRAIN_PHOTOGRAPHS, 12, WINDOWS, rng), cut(data.TEST_PHOTOGRAPHS, 12, HELD_OUT, rng)
    input, target = against_shuffled(shuffle)(unseen, rng)
    for sizes, epochs, results in (((144, 256, 64, 1), 10, accuracy), ((144, 1), 2, linear)):
        net = minissl.MLP(sizes, rng=seed)
        trained(net, x, against_shuffled(shuffle), minissl.sigmoid_cross_entropy, epochs, 256, seed, f"shuffled, seed {seed}")
        results.append(((net(input) > 0) == target).mean())
demo.table(
    f"Accuracy on unseen photographs, real against shuffled 3 x 3 patches, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "accuracy"],
    [["network 144-256-64-1", pm(accuracy)], ["linear classifier", pm(linear)], ["chance", 0.5]],
)

# %%
CONDITIONS = {  # name: (side of the window, gap, each patch normalised)
    "8 x 8, no gap": (16, 0, False),
    "6 x 6, gap of 2": (14, 2, False),
    "8 x 8, no gap, each patch normalised": (16, 0, True),
    "6 x 6, gap of 2, each patch normalised": (14, 2, True),
}
orders = max_hamming_permutations(4, 24, rng=0)  # all of them
times = {name: {"network": [], "untrained": [], "seen": []} for name in CONDITIONS}
for name, (side, gap, normalised) in CONDITIONS.items():
    task = jigsaw((side, side), (2, 2), orders, gap, normalised)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, unseen = cut(data.TRAIN_PHOTOGRAPHS, side, WINDOWS, rng), cut(data.TEST_PHOTOGRAPHS, side, HELD_OUT, rng)
        input, c = task(unseen, rng)
        seen, c_seen = task(x[:HELD_OUT], rng)
        net = minissl.MLP((input.shape[1], 256, 128, 24), rng=seed)
        times[name]["untrained"].append(24 * (net(input).argmax(axis=1) == c).mean())
        trained(net, x, task, minissl.softmax_cross_entropy, 16, 256, seed, f"jigsaw, {name}, seed {seed}")
        times[name]["network"].append(24 * (net(input).argmax(axis=1) == c).mean())
        times[name]["seen"].append(24 * (net(seen).argmax(axis=1) == c_seen).mean())
        if name == "8 x 8, no gap":
            solver, puzzles, answers = net, input, c
demo.table(
    f"Jigsaw, 24 orders: accuracy as a multiple of chance (at most 24), {len(SEEDS)} seeds, mean ± 95% interval",
    ["patches", "unseen photographs", "photographs seen", "untrained network"],
    [[name, pm(t["network"], 1), pm(t["seen"], 1), pm(t["untrained"], 1)] for name, t in times.items()],
    "Seen and unseen are judged in the same way; photographs differ in how hard their jigsaws are.",
)
best, gapped, bare, both = (np.mean(t["network"]) for t in times.values())
demo.say(
    f"Which cues? Without a gap edges and brightness continue from one patch to the next, and the network solves "
    f"{best:.1f} times chance. A gap of two pixels (and smaller patches) leaves {gapped:.1f}; taking each patch's own "
    f"brightness and contrast away, {bare:.1f}; both together, {both:.1f}. So most of what it uses is continuity "
    "across the borders and brightness that changes slowly, not what the picture shows."
)

# %%
rng = np.random.default_rng(1)
chosen = rng.choice(HELD_OUT, 12, replace=False)
guessed = solver(puzzles[chosen]).argmax(axis=1)


def reassembled(images, order):
    """Each image's patches put back where `order` says that they came from."""
    q = images.reshape(-1, 2, 8, 2, 8).swapaxes(2, 3).reshape(-1, 4, 8, 8)
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
    axes[2].add_patch(plt.Rectangle((17 * k - 0.5, -0.5), 16, 16, fill=False, edgecolor="red", linewidth=2))
demo.figure(
    fig,
    "jigsaw",
    "Windows of unseen photographs, drawn at random. Red: put together wrongly, "
    f"{(guessed != answers[chosen]).sum()} of {len(chosen)}.",
)

# %%
demo.finish()
