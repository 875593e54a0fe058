# %% [markdown]
# # Self-supervised learning in one minute
#
# There are 1,797 handwritten digits, and labels for 20 of them. What can images teach without labels? Hide half of the
# pixels, and let a network fill them in: to do so it must find out how digits look. Then keep its hidden layer, give it
# to a linear classifier, and see how far 20 labels go. The other labels only judge.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, tiles

import minissl
from minissl.goals.probe import linear_probe

demo = Demo(
    "tour",
    "Self-supervised learning in one minute",
    "We have only x: invent (input, target), use supervised learning, keep the representation.",
    "input: x with half of its pixels hidden,  target: x,  J = E ‖net(input) − x‖²,  representation: the hidden layer",
    limits="One data set, one task, one number of labels. Which task is good for what: `python -m demos downstream`.",
)
EPOCHS, SPLITS, TEST = (5, 2, 300) if demo.quick else (100, 10, 300)
images, labels = data.digits()
x = (images - images.mean(axis=0)) / images.std()
task = minissl.mask(0.5)  # the task: each pixel is hidden with probability one half


def accuracy(H, few, test, seen):
    H = ((H - H[seen].mean(axis=0)) / H[seen].std()).astype(np.float64)
    return np.mean(linear_probe(H[few], labels[few], 0.1).predict(H[test]) == labels[test])


scores = []
for seed in range(SPLITS):
    order = np.random.default_rng(seed).permutation(len(x))
    test, seen = order[:TEST], order[TEST:]
    few = np.concatenate([seen[labels[seen] == digit][:2] for digit in range(10)])
    net = minissl.MLP((64, 400, 64), rng=seed)
    untrained = net.features(x)
    losses = minissl.train_epochs(net, x[seen], task, minissl.squared_error, epochs=EPOCHS, batch_size=64, rng=seed)
    for epoch, loss in enumerate(losses, 1):
        if seed == 0 and epoch in (1, 2, 5, 10, 20, 50, 100):
            print(f"  epoch {epoch:3}: squared error {loss:4.1f}; filling in the mean: {(x**2).sum(axis=1).mean():.1f}")
    scores.append([accuracy(H, few, test, seen) for H in (x, untrained, net.features(x))])
scores = 100 * np.array(scores)

# %% [markdown]
# The splits share images, so their intervals are widened (Nadeau & Bengio 2003). The digits shown are none of those
# that the network has learned from.

# %%
widen = np.sqrt(1 + SPLITS * TEST / (len(x) - TEST))
hidden, truth = task(x[test[:8]], np.random.default_rng(1))[:2]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(2, 1))
tiles(left, np.concatenate([hidden, net(hidden), truth]).reshape(-1, 8, 8), 8, limits=(x.min(), x.max()))
for row, name in enumerate(("input", "filled in", "truth")):
    left.text(-1, 9 * row + 3.5, name, ha="right", va="center")
for row, name in enumerate(("untrained", "trained"), 1):
    middle, half = interval(scores[:, row] - scores[:, 0])
    right.errorbar(middle, -row, xerr=widen * half, fmt="o", capsize=3)
    right.text(middle, 0.12 - row, f"hidden layer, {name}", ha="center", va="bottom")
right.axvline(0, color="grey", lw=0.8)
right.set(xlabel="points of accuracy gained over\nthe pixels, with 20 labels", yticks=[], ylim=(-2.4, -0.4))
right.spines["left"].set_visible(False)
demo.figure(fig, "picture", "Left: half of the pixels hidden, and filled in. Right: 95% intervals, 10 splits.")
middle, half = interval(scores[:, 2] - scores[:, 0])
demo.lesson(
    f"A network that has learned to fill in hidden pixels, without a label, makes 20 labels worth {middle:.1f} ± "
    f"{widen * half:.1f} points of accuracy more than the pixels alone.",
    f"{middle:+.1f} points",
)
demo.finish()
