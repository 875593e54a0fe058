# %% [markdown]
# # Colour from grey
#
# Another way to make the identity impossible: take the colour away and ask for it back. Every colour photograph is a
# labelled example that nobody had to label. At each pixel one weighted sum of three numbers is given, [autoencoder.6],
# and three are wanted. The best answer in the mean of squares is the mean colour of all windows that look the same in
# grey, [autoencoder.1].

# %%
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles

import minissl
from minissl.tasks.autoencoder import colorize

demo = Demo(
    "colorize",
    "Colour from grey",
    "Remove the colour and predict it: regression without labels.",
    "min E ||r(x~) - x||^2,   x~ = 0.299 red + 0.587 green + 0.114 blue at each pixel",
)
SIZE, SHRINK = 8, 4
WINDOWS, HELD_OUT, EPOCHS = (2000, 500, 3) if demo.quick else (20_000, 2000, 20)
SEEDS = range(2 if demo.quick else 5)
NETWORKS = {  # name: (hidden layers, activation, Adam's step)
    "network": ((128,), "tanh", 1e-3),
    "deep network": ((128, 128), "relu", 2e-3),
}
task = colorize()


def grey(x):
    """Luminance (N, P) of colour windows (N, 3 P)."""
    return task(x, None)[0]


def repeated(lum):
    """The colour windows that are grey."""
    return np.repeat(lum, 3, axis=1)


def shrunk(name):
    """A photograph whose pixels are means of squares, so that a window shows more than texture."""
    image = data.photograph(name)
    h, w = (side // SHRINK for side in image.shape[:2])
    return image[: h * SHRINK, : w * SHRINK].reshape(h, SHRINK, w, SHRINK, 3).mean(axis=(1, 3))


def cut(names, number, rng):
    """Colour windows as rows, pixel after pixel: red, green, blue."""
    return data.windows([shrunk(name) for name in names], SIZE, number, rng).reshape(number, -1)


# %% [markdown]
# ## What each method knows
#
# *Grey* repeats the luminance in all channels. *Mean colour* adds the mean difference from grey of all training pixels.
# *Brightness* adds that of the training pixels of the same brightness, in 32 steps: the best guess that looks at one
# pixel. *Linear* is the best linear map from window to window in closed form, E(x x~^T) E(x~ x~^T)^-1, [wiener.1]. The
# *network* was chosen by leaving out one of the four training photographs at a time; the *deep* one learns the training
# photographs better. Luminance is given, so the networks' is put right afterwards; that of the other methods is exact.
# What is left is error of colour alone.

# %%


def brightness(x):
    """The colour that pixels of the same luminance have on average."""
    edges = np.linspace(0, 1, 33)[1:-1]
    step, colour = np.digitize(grey(x).ravel(), edges), (x - repeated(grey(x))).reshape(-1, 3)
    number = np.maximum(1, np.bincount(step, minlength=32))
    table = np.stack([np.bincount(step, c, 32) / number for c in colour.T], axis=1).astype(x.dtype)
    return lambda lum: repeated(lum) + table[np.digitize(lum, edges)].reshape(len(lum), -1)


def linear(x):
    """The best linear map; a little is added to the diagonal, for neighbouring pixels are nearly equal."""
    mean, lum = x.mean(axis=0), grey(x)
    g = lum - lum.mean(axis=0)
    K = g.T @ g / len(g) + 1e-4 * np.eye(SIZE**2, dtype=x.dtype)
    W = np.linalg.solve(K, g.T @ (x - mean) / len(g))  # [wiener.1], transposed
    return lambda given: mean + (given - lum.mean(axis=0)) @ W


def network(x, hidden, activation, learning_rate, rng, label):
    """A network trained on the task, with its own luminance."""
    mean = x.mean(axis=0)
    net, optimizer = minissl.MLP((SIZE**2, *hidden, 3 * SIZE**2), activation, rng=rng), minissl.Adam(learning_rate)
    settings = {"epochs": EPOCHS, "batch_size": 256, "optimizer": optimizer, "rng": rng}
    losses = minissl.train_epochs(net, x - mean, task, minissl.squared_error, **settings)
    for epoch, _ in enumerate(progress(losses, EPOCHS, label), 1):
        if epoch == EPOCHS * 2 // 3:
            optimizer.learning_rate /= 4
    return lambda lum: mean + net(lum - grey(mean[None]))


def put_right(method):
    """The method with the luminance that is given in place of its own."""

    def corrected(lum):
        estimate = method(lum)
        return estimate + repeated(lum - grey(estimate))

    return corrected


def learn(names, seed):
    """Every method, as a function from grey windows to colour windows."""
    rng = np.random.default_rng(seed)
    x = cut(names, WINDOWS, rng)
    colour = np.tile((x - repeated(grey(x))).reshape(-1, 3).mean(axis=0), SIZE**2)
    own = {name: network(x, *how, rng, f"{name}, seed {seed}") for name, how in NETWORKS.items()}
    return {
        "grey": repeated,
        "mean colour": lambda lum: repeated(lum) + colour,
        "brightness": brightness(x),
        "linear": linear(x),
        **{name: put_right(method) for name, method in own.items()},
        **{f"{name}, own luminance": method for name, method in own.items()},
    }


def psnr(estimate, truth):
    """Peak signal-to-noise ratio in dB, for intensities that go from 0 to 1."""
    return -10 * np.log10(((estimate - truth) ** 2).mean())


def colourfulness(x):
    """Root mean square of what differs from grey."""
    return np.sqrt(((x - repeated(grey(x))) ** 2).mean())


# %% [markdown]
# ## Photographs seen and unseen
#
# Windows from random places of the photographs learned from, and of two photographs never seen.

# %%
SETS = {"seen": data.TRAIN_PHOTOGRAPHS, "unseen": data.TEST_PHOTOGRAPHS, **{n: (n,) for n in data.TEST_PHOTOGRAPHS}}
scores = {}
for seed in SEEDS:
    methods = learn(data.TRAIN_PHOTOGRAPHS, seed)
    windows = {name: cut(names, HELD_OUT, seed + 1000) for name, names in SETS.items()}
    for method, colour in methods.items():
        estimates = {name: colour(grey(x)) for name, x in windows.items()}
        levels = [psnr(estimates[name], x) for name, x in windows.items()]
        shares = [colourfulness(estimates[name]) / colourfulness(windows[name]) for name in ("seen", "unseen")]
        scores.setdefault(method, []).append([*levels, *shares])
scores = {method: np.array(values) for method, values in scores.items()}
demo.table(
    f"PSNR in dB, and colourfulness as a share of the truth's; {len(SEEDS)} seeds, mean ± 95% interval",
    ["", *SETS, "colourfulness: seen", "unseen"],
    [[method, *(pm(v, 2) for v in values.T)] for method, values in scores.items()],
    "Unseen: both photographs together. Intervals are over windows and initial weights, not over photographs.",
)
gain = {name: scores[name][:, :2] - scores["brightness"][:, :2] for name in NETWORKS}
demo.say(
    "What a window tells beyond the brightness of one pixel, in dB: to the network "
    f"{pm(gain['network'][:, 0], 2)} on photographs seen and {pm(gain['network'][:, 1], 2)} on unseen ones; to the "
    f"deep network {pm(gain['deep network'][:, 0], 2)} and {pm(gain['deep network'][:, 1], 2)}. On those seen the "
    f"network's colours have {scores['network'][:, 4].mean():.2f} of their true strength: where grey leaves several "
    "colours possible, the mean square is least at their mean, greyer than each."
)

# %%
ROWS = ("grey", "mean colour", "linear", "network", "truth")
fig, axes = plt.subplots(1, 2, figsize=(11, 2.4))
for ax, title in zip(axes, ("seen", "unseen"), strict=True):
    x = windows[title][:12]
    page = [methods[name](grey(x)) if name in methods else x for name in ROWS]
    tiles(ax, np.concatenate(page).reshape(-1, SIZE, SIZE, 3), len(x), f"photographs {title}", limits=(0, 1))
    for r, name in enumerate(ROWS):
        ax.text(-1, (SIZE + 1) * r + SIZE / 2, name, ha="right", va="center", fontsize=9)
demo.figure(fig, "windows", f"Windows of {SIZE} x {SIZE} pixels, each the mean of {SHRINK} x {SHRINK}; seed {seed}.")

# %% [markdown]
# ## Whole photographs
#
# Every window of a photograph is coloured, and each pixel is the mean of what the windows over it say.


# %%
def coloured(method, photograph):
    lum = data.grey(photograph)
    h, w = (side - SIZE + 1 for side in lum.shape)
    every = np.lib.stride_tricks.sliding_window_view(lum, (SIZE, SIZE)).reshape(h * w, -1)
    colours = method(every).reshape(h, w, SIZE, SIZE, 3)
    total, number = np.zeros(photograph.shape), np.zeros((*lum.shape, 1))
    for r, c in np.ndindex(SIZE, SIZE):
        total[r : r + h, c : c + w] += colours[:, :, r, c]
        number[r : r + h, c : c + w] += 1
    return total / number


shown = ("china", *data.TEST_PHOTOGRAPHS)
fig, axes = plt.subplots(len(shown), 5, figsize=(13, 5.8))
for row, name in zip(axes, shown, strict=True):
    photograph = shrunk(name)
    for ax, method in zip(row, ("grey", "brightness", *NETWORKS), strict=False):
        estimate = coloured(methods[method], photograph)
        ax.imshow(np.clip(estimate, 0, 1))
        ax.set_title(f"{method}, {psnr(estimate, photograph):.1f} dB", fontsize=10)
    row[-1].imshow(photograph)
    row[-1].set_title(name + (" (seen)" if name in data.TRAIN_PHOTOGRAPHS else " (unseen)"), fontsize=10)
    for ax in row:
        ax.set_axis_off()
demo.figure(fig, "photographs", f"One photograph seen in training, two unseen, from their luminance; seed {seed}.")

# %% [markdown]
# ## Each photograph left out in turn
#
# Two photographs may be lucky ones. Here each of the six is unseen once, and the others are learned from.

# %%
COMPARED = ("grey", "mean colour", "brightness", "linear", *NETWORKS)
PHOTOGRAPHS = (*data.TRAIN_PHOTOGRAPHS, *data.TEST_PHOTOGRAPHS)
left_out = []
for name in PHOTOGRAPHS:
    methods = learn([other for other in PHOTOGRAPHS if other != name], 0)
    x = cut([name], HELD_OUT, 1000)
    left_out.append([psnr(methods[method](grey(x)), x) for method in COMPARED])
left_out = np.array(left_out)
less = left_out - left_out[:, :1]
demo.table(
    "PSNR in dB on a photograph that was left out",
    ["left out", *COMPARED],
    [[name, *(f"{v:.1f}" for v in row)] for name, row in zip(PHOTOGRAPHS, left_out, strict=True)]
    + [["mean ± 95% interval", *(pm(v, 1) for v in left_out.T)]]
    + [["less grey, photograph by photograph", "", *(pm(v, 1) for v in less.T[1:])]],
    "The intervals are over photographs.",
)
middle, half = interval(less[:, COMPARED.index("network")])
demo.say(
    f"On a photograph from elsewhere the network gains {middle:.1f} ± {half:.1f} dB over leaving it grey: "
    + ("a gain that holds from photograph to photograph. " if middle > half else "nothing to rely on. ")
    + "Five photographs teach the colours of those five. Where a new one has others, wrong colours cost more than none."
)

# %%
demo.finish()
