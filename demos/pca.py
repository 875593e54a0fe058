# %% [markdown]
# # PCA by its three definitions
#
# The directions of greatest variance, the linear code that reconstructs best, and the singular vectors of the data are
# one and the same. The second definition is a neural network: linear, one hidden layer, its target its own input,
# [pca.5].

# %%
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, plt, pm, tiles

import minissl
from minissl.linear import pca
from minissl.nn.schedules import cosine
from minissl.tasks.autoencoder import reconstruct

demo = Demo(
    "pca",
    "PCA by its three definitions",
    "Find the directions of greatest variance, one after the other; or the linear code from which the data are best "
    "reconstructed; or the singular vectors of the data. The three are the same.",
    "Cvᵢ = λᵢvᵢ,   W = Aᵀ = (v₁ … v_m)ᵀ,   min E‖x − AWx‖² = λ_{m+1} + … + λₙ",
    limits="Accuracy here is that of the axes of *these* samples: how far they are from the axes of the population is "
    "another matter, [pca.16], and with few samples a larger one. Digits and windows are far from Gaussian; that the "
    "axes keep most of the variance does not say that they keep what matters.",
)
METHODS = {"SVD": pca.by_svd, "variance": pca.by_variance, "reconstruction": pca.by_reconstruction}
digits, _ = data.digits()
order = np.random.default_rng(0).permutation(len(digits))
digits, held_out = digits[order[:1500]], digits[order[1500:]]
photographs = [data.grey(data.photograph(name)) for name in data.TRAIN_PHOTOGRAPHS]
pieces = data.windows(photographs, 12, 2000 if demo.quick else 20000, 0).reshape(-1, 144)
sets = {"digits": digits, "windows": pieces}


def sine(W, V):
    """Sine of the largest principal angle between two row spaces, from orthonormal rows."""
    W, V = (np.linalg.qr(np.asarray(M, dtype=np.float64).T)[0].T for M in (W, V))
    return np.linalg.norm(W - W @ V.T @ V, 2)


# %% [markdown]
# ## The three agree
# The angle that two definitions may differ by depends on the gap to the first eigenvalue left out: the nearer it is,
# the less the data say where the subspace ends.

# %%
rows = []
for name, x in sets.items():
    for m in (2, 8) if demo.quick else (2, 8, 16):
        found = {key: method(x, m) for key, method in METHODS.items()}
        variances = pca.by_svd(x, m + 1).variances
        exact = pca.by_svd(x.astype(np.float64), m).W
        gap = (variances[m - 1] - variances[m]) / variances[0]
        rows.append([f"{name}, m = {m}", gap, *(f"{sine(f.W, exact):.0e}" for f in found.values())])
worst = max(float(cell) for row in rows for cell in row[2:])
many = [name for name, x in sets.items() if x.size * min(x.shape) > pca.SMALL]
rest = max(float(cell) for row in rows for cell in row[2 + (row[0].split(",")[0] in many) :])
demo.table(
    "Sine of the largest angle to the axes found in float64",
    ["", "gap after axis m, share of λ₁", *METHODS],
    rows,
    "The data are float32, and so are the axes returned: one rounding of them is 6e-08. "
    f"For many samples ({' and '.join(many) or 'none'}) `by_svd` takes eigenvectors of the covariance in place "
    f"of an SVD, to the accuracy of float32. Largest without these cells: {rest:.0e}; of all: "
    f"{worst:.0e}; two definitions differ by at most twice that, {2 * worst:.0e}.",
)

# %% [markdown]
# ## Eigen-digits and eigen-windows
# The axes of photographs are waves of growing frequency: where statistics do not depend on the place, the eigenvectors
# of the covariance are nearly sinusoids; the first has no sign change at all, and is the brightness of the window.
# Digits are centred in their images, so that the place matters, and their first axes look like strokes of digits.

# %%
AXES = 24


def signed(ax, images, columns, title):
    """Images whose zero is white, blue below it and red above, with gaps; each by its own largest entry."""
    h, w = images.shape[1:]
    rows = -(-len(images) // columns)
    page = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for i, image in enumerate(images):
        r, c = divmod(i, columns)
        page[r * (h + 1) : r * (h + 1) + h, c * (w + 1) : c * (w + 1) + w] = image / abs(image).max()
    ax.imshow(page, cmap=plt.get_cmap("RdBu_r").with_extremes(bad="#555555"), vmin=-1, vmax=1)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


fig, axes = plt.subplots(1, 2, figsize=(9, 2.1))
fig.get_layout_engine().set(wspace=0.08)
for ax, (name, x) in zip(axes, sets.items(), strict=True):
    side = int(x.shape[1] ** 0.5)
    signed(ax, pca.by_svd(x, AXES).W.reshape(-1, side, side), 8, f"{name}: the first {AXES} axes")
demo.figure(
    fig,
    "axes",
    "Principal axes in order of variance, row by row, each scaled by its own largest entry; white is zero, red "
    "positive, blue negative. The first axis of windows is of one sign and almost constant: the brightness of the "
    "window.",
    alt="Left, axes of digits that look like strokes of digits in red and blue. Right, axes of windows: a uniform "
    "square, two slopes, then stripes and checks that grow finer.",
    main=True,
)

# %%
spectra = {name: pca.by_svd(x, x.shape[1]).variances for name, x in sets.items()}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for name, lambdas in spectra.items():
    i = np.arange(1, len(lambdas) + 1)
    positive = lambdas > 1e-6 * lambdas[0]
    axes[0].loglog(i[positive], (lambdas / lambdas.sum())[positive], marker=".", ms=4, label=name)
    axes[1].plot(i, np.cumsum(lambdas) / lambdas.sum(), label=name)
axes[0].set(xlabel="axis i", ylabel="λᵢ, share of the variance", title="one axis")
axes[1].set(
    xlabel="number of axes m", ylabel="share of the variance", title="the first m axes together", ylim=(0, 1.02)
)
axes[1].axhline(0.95, color="grey", lw=0.8, ls=":")
axes[1].text(144, 0.93, "95%", ha="right", va="top", fontsize=9)
axes[0].legend()
demo.figure(
    fig,
    "spectrum",
    "Few directions hold most of the variance. Left, axes with less than 10⁻⁶ of the first variance are not shown.",
    alt="Left, variances of the axes fall over several powers of ten, those of windows faster at first, those of "
    "digits at the end. Right, their sum reaches 95% after a few axes of windows and after some thirty of digits.",
)
enough = {k: int(np.searchsorted(np.cumsum(v) / v.sum(), 0.95)) + 1 for k, v in spectra.items()}
demo.say("95% of the variance: " + ", ".join(f"{enough[k]} of {len(spectra[k])} axes ({k})" for k in spectra) + ".")

# %% [markdown]
# ## Reconstruction
# On the data the axes were found on, the error is the sum of the discarded eigenvalues, exactly. Each error is a share
# of the variance of its own digits, which their mean alone would leave. Random axes are the baseline.

# %%
sizes, rng = (2, 4, 8, 16, 32), np.random.default_rng(1)
rows, pictures = [], [held_out[:10]]
variances = [x.var(axis=0).sum() for x in (digits, held_out)]
for m in sizes:
    found = pca.by_svd(digits, m)
    errors = [((x - found.decode(found.encode(x))) ** 2).sum(axis=1).mean() for x in (digits, held_out)]
    shares = np.divide(errors, variances)
    random = []
    for _ in range(10):
        Q = np.linalg.qr(rng.standard_normal((64, m)))[0]
        y = held_out - found.mean
        random.append(((y - y @ Q @ Q.T) ** 2).sum(axis=1).mean() / variances[1])
    rows.append([m, shares[0], spectra["digits"][m:].sum() / variances[0], shares[1], pm(random, 3)])
    pictures.append(found.decode(found.encode(held_out[:10])))
ratios = [row[3] / row[1] for row in rows]
demo.table(
    "Digits: what the reconstruction leaves, as a share of the variance",
    ["axes", "training", "sum of the discarded λᵢ", "held out", "random axes, held out"],
    rows,
    f"The share on held-out digits is {min(ratios):.2f} to {max(ratios):.2f} times that in training. Intervals are "
    "over ten draws of random axes.",
)
fig, ax = plt.subplots(figsize=(7, 4.2))
tiles(ax, np.concatenate(pictures).reshape(-1, 8, 8), 10, "", (0, 1))
for r, text in enumerate(["input", *(f"m = {m}" for m in sizes)]):
    ax.text(-2, 9 * r + 4, text, ha="right", va="center")
demo.figure(
    fig,
    "reconstruction",
    "Held-out digits from their first m components.",
    alt="Ten digits, and the same from 2, 4, 8, 16 and 32 components: from blurs to nearly the digits themselves.",
)

# %% [markdown]
# ## The linear autoencoder on its way
# The same loop that trains every network here, the task to reconstruct and no non-linearity. Its m hidden units never
# become the axes; but their span turns towards that of the first m axes. The last directions are the slowest: the gap
# to the eigenvalue left out is small there, and the choice of axis m + 1 in place of axis m is a saddle, [pca.11],
# where the gradient is zero too. There are no minima but the span of the first m axes (Baldi & Hornik 1989). The steps
# fall to zero along a cosine: with steps of one length the angle stays at what the noise of the batches makes it.

# %%
m, epochs, seeds, EVERY = 8, 20 if demo.quick else 400, range(2 if demo.quick else 10), 4
target = pca.by_svd(digits.astype(np.float64), 64)
floor = float(target.variances[m:].sum())
saddle = float(target.variances[m - 1] - target.variances[m]) / floor  # axis m + 1 in place of axis m
y = digits - digits.mean(axis=0)


def on_the_way(seed):
    """Angle to PCA's subspace and excess of the error over PCA's, at the start and every few epochs."""
    net, optimizer = minissl.MLP((64, m, 64), activation="identity", rng=seed), minissl.Adam(7e-3)
    settings = {"epochs": epochs, "optimizer": optimizer, "schedule": cosine, "rng": seed}
    state = lambda: (sine(net.weights[1], target.W[:m]), ((net(y) - y) ** 2).sum(axis=1).mean() / floor - 1)  # noqa: E731
    yield state()
    for epoch, _ in enumerate(minissl.train_epochs(net, y, reconstruct(), minissl.squared_error, **settings), 1):
        if epoch % EVERY == 0:
            yield state()


angles, excess = np.moveaxis([list(on_the_way(seed)) for seed in seeds], -1, 0)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, curves in zip(axes, (angles, excess), strict=True):
    ax.semilogy(range(0, epochs + 1, EVERY), curves.T, color="C0", lw=0.9, ls="-")
axes[0].set(xlabel="epoch", ylabel="sine of the largest angle\nto the subspace of PCA")
axes[1].set(xlabel="epoch", ylabel="error above that of PCA,\nas a share of it")
axes[1].axhline(saddle, color="grey", lw=0.8, ls=":")
axes[1].text(epochs, 1.15 * saddle, f"saddle: axis {m + 1} for axis {m}", ha="right", va="bottom", fontsize=9)
demo.figure(
    fig,
    "training",
    f"A linear autoencoder with {m} hidden units, {len(seeds)} seeds, on its way to PCA.",
    alt="Two bundles of falling curves on a logarithmic scale. Angle and error fall, some seeds later than others. "
    "A dotted line marks the error of a saddle.",
)
early = epochs // 10
at_first, in_between, at_last = angles[:, 0], angles[:, early // EVERY], angles[:, -1]
demo.say(
    f"Sine of the largest angle: {pm(at_first, 2)} at the start, {pm(in_between, 2)} after {early} epochs, "
    f"{np.median(at_last):.4f} (median; at most {at_last.max():.3f}) after {epochs}; the errors are then at most "
    f"{100 * excess[:, -1].max():.4f}% above that of PCA, the least possible. After {early} epochs "
    f"{(in_between > 0.5).sum()} of {len(seeds)} seeds still had a direction more than 30 degrees off, though their "
    f"errors were all within {100 * excess[:, early // EVERY].max():.1f}% of that of PCA: a small error does not yet "
    f"mean the right subspace. L-BFGS on all data at once reaches "
    f"{sine(pca.by_reconstruction(digits, m).W, target.W[:m]):.0e}."
)
demo.lesson(
    "Greatest variance, least reconstruction error and the singular vectors give the same axes: no two definitions "
    f"differ by an angle whose sine is above {2 * worst:.0e}.",
    f"sine ≤ {2 * worst:.0e}",
)
demo.finish()
