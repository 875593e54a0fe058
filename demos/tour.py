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
mean, scale = images.mean(axis=0), images.std()
x = (images - mean) / scale
task = minissl.mask(0.5)  # the task: each pixel is hidden with probability one half
runs = []
for seed in range(SPLITS):
    test, rest = np.split(np.random.default_rng(seed).permutation(len(x)), [TEST])
    few = np.concatenate([rest[labels[rest] == digit][:2] for digit in range(10)])  # the 20 labels
    net = minissl.MLP((64, 400, 64), rng=seed)
    untrained = net.features(x)
    training = minissl.train_epochs(net, x[rest], task, minissl.squared_error, epochs=EPOCHS, batch_size=64, rng=seed)
    for epoch, loss in enumerate(training, 1):
        if seed == 0 and epoch in (1, 2, 5, 10, 20, 50, 100):
            print(f"  epoch {epoch:3}: squared error {loss:4.1f}; filling in the mean: {(x**2).sum(axis=1).mean():.1f}")
    scaled = [((H - H[rest].mean(axis=0)) / H[rest].std()).astype(float) for H in (x, untrained, net.features(x))]
    runs.append([np.mean(linear_probe(H[few], labels[few], 0.1).predict(H[test]) == labels[test]) for H in scaled])
middle, half = interval([100 * np.subtract(r[1:], r[0]) for r in runs], resplit=TEST / (len(x) - TEST))

# %%
hidden, truth = task(x[test[:10]], np.random.default_rng(1))[:2]  # digits that the network has not learned from
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), width_ratios=(5, 2))
rows = np.concatenate([np.where(hidden == truth, truth, np.nan), net(hidden), truth]) * scale + mean
tiles(left, rows.reshape(-1, 8, 8), 10, limits=(0, 1))
left.images[0].set_cmap(plt.get_cmap("gray").with_extremes(bad="#56B4E9"))
for row, name in enumerate(("input", "filled in", "truth")):
    left.text(-1, 9 * row + 3.5, name, ha="right", va="center")
right.errorbar(middle, ["untrained", "trained"], xerr=half, fmt="o", capsize=3)
right.axvline(0, color="grey", lw=0.8, ls=":")
right.set(xlabel="points of accuracy gained over\nthe pixels, with 20 labels", ylim=(1.5, -0.5), title="hidden layer")
demo.figure(
    fig,
    "picture",
    "Left: pixels hidden (blue) and filled in. Right: accuracy gained over the pixels by the hidden layer, with 95% "
    f"intervals over {SPLITS} splits, widened because the splits share images (Nadeau & Bengio 2003).",
    alt="Ten digits with half of their pixels blue, the same filled in by the network, and the truth. Beside them, the "
    f"points gained by the hidden layer: {middle[0]:+.1f} untrained, {middle[1]:+.1f} trained.".replace("-", "−"),
)
(pixels, _, learned), gain = np.mean(runs, axis=0), f"{middle[1]:.1f} ± {half[1]:.1f} points"
found = f"{learned:.0%} of unseen digits by features learned from hidden pixels and {pixels:.0%} by pixels ({gain})"
demo.lesson(f"From 20 labels of {len(x):,} digits, a classifier recognises {found}.", gain)
demo.finish()
