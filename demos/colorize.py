# %% [markdown]
# # Colour from grey
#
# Another way to make the identity impossible: take the colour away and ask for it back. Every colour photograph is a
# labelled example that nobody had to label. At each pixel one weighted sum of three numbers is given, [autoencoder.15],
# and three are wanted. The best answer in the mean of squares is the mean colour of all windows that look the same in
# grey, [autoencoder.2]. It is greyer than these colours are on average, for the length of a mean is at most the mean
# length: ‖E(d | x̃)‖ ≤ E(‖d‖ | x̃), with d the difference between a colour and its grey.

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress

import minissl
from minissl.nn.schedules import cosine
from minissl.tasks.autoencoder import colorize

demo = Demo(
    "colorize",
    "Colour from grey",
    "Remove the colour and predict it: regression without labels.",
    "min E‖r(x̃) − x‖²,   x̃ = 0.299 red + 0.587 green + 0.114 blue at each pixel",
    limits="Six photographs, of which five teach the sixth, are far too few to learn which things have which colours; "
    "windows of 8 × 8 pixels, each the mean of 4 × 4, show textures rather than things. The mean of squares asks for "
    "the mean colour; methods that colour vividly choose one of the likely colours in place of their mean. What the "
    "features are good for is not measured here.",
)
SIZE, SHRINK = 8, 4
WINDOWS, HELD_OUT, EPOCHS = (2000, 500, 3) if demo.quick else (20_000, 2000, 12)
PHOTOGRAPHS = (*data.TRAIN_PHOTOGRAPHS, *data.TEST_PHOTOGRAPHS)
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
# pixel. *Linear* is the best linear map from window to window in closed form, E(xx̃ᵀ) E(x̃x̃ᵀ)⁻¹, [wiener.1]. The
# *network* was chosen by leaving out one of four photographs at a time, its steps by the loss in training. The *network
# on one pixel* is the same network with one pixel for its window, trained in the same way: what the network does better
# than that one it has from the window. Luminance is given, so the networks' is put right afterwards; that of the other
# methods is exact. What is left is error of colour alone.

# %%
NETWORKS = {"network on one pixel": 1, "network": SIZE**2}  # name: pixels of the window


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


def network(x, pixels, rng, label):
    """A network trained on the task, on windows of so many pixels, with the luminance that is given."""
    x = x.reshape(-1, 3 * pixels)
    x = x[rng.choice(len(x), min(len(x), 4 * WINDOWS), replace=False)]
    mean = x.mean(axis=0)
    net = minissl.MLP((pixels, 128, 3 * pixels), "tanh", rng=rng)
    settings = {"epochs": EPOCHS, "batch_size": 256, "optimizer": minissl.Adam(3e-3), "schedule": cosine, "rng": rng}
    for _ in progress(minissl.train_epochs(net, x - mean, task, minissl.squared_error, **settings), EPOCHS, label):
        pass

    def method(lum):
        estimate = mean + net(lum.reshape(-1, pixels) - grey(mean[None]))
        estimate = estimate.reshape(len(lum), -1)
        return estimate + repeated(lum - grey(estimate))

    return method


def learn(names, rng):
    """Every method, as a function from grey windows to colour windows."""
    x = cut(names, WINDOWS, rng)
    colour = np.tile((x - repeated(grey(x))).reshape(-1, 3).mean(axis=0), SIZE**2)
    return {
        "grey": repeated,
        "mean colour": lambda lum: repeated(lum) + colour,
        "brightness": brightness(x),
        "linear": linear(x),
        **{name: network(x, size, rng, f"{name}, {len(names)} photographs") for name, size in NETWORKS.items()},
    }


def psnr(estimate, truth):
    """Peak signal-to-noise ratio in dB, for intensities that go from 0 to 1."""
    return -10 * np.log10(((estimate - truth) ** 2).mean())


def colourfulness(x):
    """Root mean square of what differs from grey."""
    return np.sqrt(((x - repeated(grey(x))) ** 2).mean())


def coloured(method, photograph):
    """Every window of the photograph is coloured, and each pixel is the mean of what the windows over it say."""
    lum = data.grey(photograph)
    h, w = (side - SIZE + 1 for side in lum.shape)
    every = np.lib.stride_tricks.sliding_window_view(lum, (SIZE, SIZE)).reshape(h * w, -1)
    colours = method(every).reshape(h, w, SIZE, SIZE, 3)
    total, number = np.zeros(photograph.shape), np.zeros((*lum.shape, 1))
    for r, c in np.ndindex(SIZE, SIZE):
        total[r : r + h, c : c + w] += colours[:, :, r, c]
        number[r : r + h, c : c + w] += 1
    return total / number


# %% [markdown]
# ## Each photograph left out in turn
#
# Each of six photographs is unseen once, and the others are learned from. Errors are measured by the peak
# signal-to-noise ratio (PSNR), −10 log₁₀ of the mean squared error where intensities go from 0 to 1: half the error is
# 3 dB more. Gains are over leaving the photograph grey, photograph by photograph; on photographs seen they are means
# over the five networks that have seen it. *Colourfulness* is the root mean square of what differs from grey.

# %%
COMPARED = ("mean colour", "brightness", "linear", *NETWORKS)
levels = np.full((len(PHOTOGRAPHS), len(PHOTOGRAPHS), len(COMPARED) + 1), np.nan)  # left out, judged on, method
shares, shown = np.full((len(PHOTOGRAPHS), len(COMPARED)), np.nan), []
windows = {name: cut([name], HELD_OUT, 1000 + k) for k, name in enumerate(PHOTOGRAPHS)}
for i, left_out in enumerate(PHOTOGRAPHS):
    methods = learn([name for name in PHOTOGRAPHS if name != left_out], np.random.default_rng(i))
    for k, x in enumerate(windows.values()):
        estimates = [methods[name](grey(x)) for name in ("grey", *COMPARED)]
        levels[i, k] = [psnr(estimate, x) for estimate in estimates]
        if i == k:
            shares[i] = [colourfulness(estimate) / colourfulness(x) for estimate in estimates[1:]]
    shown.append(coloured(methods["network"], shrunk(left_out)))
gains = levels[:, :, 1:] - levels[:, :, :1]
unseen = np.array([gains[k, k] for k in range(len(PHOTOGRAPHS))])  # (photographs, methods)
seen = np.array([np.delete(gains[:, k], k, axis=0).mean(axis=0) for k in range(len(PHOTOGRAPHS))])
demo.table(
    "Gain over grey, in dB",
    ["", "photographs seen", "photographs left out", "worse than grey", "colourfulness"],
    [
        [name, pm(seen[:, k], 2), pm(unseen[:, k], 2), f"{(unseen[:, k] < 0).sum()} of 6", pm(shares[:, k], 2)]
        for k, name in enumerate(COMPARED)
    ],
    "Worse than grey, and colourfulness as a share of the truth's: of photographs left out. Intervals are over the six "
    "photographs.",
)

# %%
widths = [image.shape[1] / image.shape[0] for image in shown]
fig, axes = plt.subplots(3, len(PHOTOGRAPHS), figsize=(9, 3.7), width_ratios=widths)
net = COMPARED.index("network")
for column, name, estimate in zip(axes.T, PHOTOGRAPHS, shown, strict=True):
    truth = shrunk(name)
    plain = np.repeat(data.grey(truth)[:, :, None], 3, axis=2)
    for ax, image in zip(column, (plain, estimate, truth), strict=True):
        ax.imshow(np.clip(image, 0, 1))
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    column[0].set_title(f"{name}\n{psnr(estimate, truth) - psnr(plain, truth):+.1f} dB".replace("-", "−"), fontsize=10)
for ax, name in zip(axes[:, 0], ("given", "network", "truth"), strict=True):
    ax.set_ylabel(name, fontsize=10)
worse = " and ".join(name for k, name in enumerate(PHOTOGRAPHS) if unseen[k, net] < 0)
again = " and ".join(name for k, name in enumerate(PHOTOGRAPHS) if seen[k, net] < 0)
demo.figure(
    fig,
    "photographs",
    "Each photograph, coloured by a network that has learned from the other five, and what that gains over grey. "
    "Here a pixel is the mean of what all windows over it say; the gains in the tables are those of single windows. "
    f"Worse than grey, by the windows of the table: {worse or 'none'}; by networks that have seen the photograph: "
    f"{again or 'none'}.",
    alt="Six photographs in three rows: grey, as coloured by the network, and as they are. The network's colours are "
    "often others than the true ones. Colourfulness in single windows, as a share of the truth's: "
    + ", ".join(f"{share:.1f} ({name})" for share, name in zip(shares[:, net], PHOTOGRAPHS, strict=True))
    + ".",
    main=True,
)
demo.table(
    "Photograph by photograph: PSNR in dB of grey, and gains over it where the photograph was left out",
    ["left out", "grey", *COMPARED],
    [
        [name, f"{levels[k, k, 0]:.1f}", *(f"{value:+.1f}".replace("-", "−") for value in unseen[k])]
        for k, name in enumerate(PHOTOGRAPHS)
    ],
)

# %% [markdown]
# ## What the window tells
#
# What a window tells about colour beyond one of its pixels cannot be negative. What a network makes of it can: it may
# learn from the window which photograph it is looking at, and that is of no use for another one.

# %%
one = COMPARED.index("network on one pixel")
(a, da), (b, db) = (interval(g[:, net] - g[:, one]) for g in (seen, unseen))
demo.say(
    f"Gain from the window, over the same network on one pixel, in dB: {a:.2f} ± {da:.2f} on photographs seen, "
    f"{b:.2f} ± {db:.2f} on those left out.".replace("-", "−")
)
(a, da), (b, db) = (interval(g[:, net]) for g in (seen, unseen))
means = {"photographs seen": seen[:, net], "those left out": unseen[:, net]}
above = {(False, False): "neither mean is", (True, True): "both means are"}.get((a > da, b > db), "one mean is")
demo.lesson(
    "Over grey, a network's colours gain on average "
    + " and ".join(
        f"{pm(g, 1)} dB on {name} (from {g.min():.1f} to {g.max():.1f})" for name, g in means.items()
    ).replace("-", "−")
    + ("." if demo.quick else f"; by the intervals, {above} above zero."),
    f"{b:+.1f} ± {db:.1f} dB".replace("-", "−"),
)

# %%
demo.finish()
