# %% [markdown]
# # PCA by its three definitions
#
# The directions of greatest variance, the linear code that reconstructs best, and the singular vectors of the data are
# one and the same. The second definition is a neural network: linear, one hidden layer, its target its own input.

# %%
import data
import numpy as np
from gallery import Demo, plt, pm, tiles

from minissl import MLP, Adam, pca, squared_error, train_epochs
from minissl.tasks.autoencoder import reconstruct

demo = Demo(
    "pca",
    "PCA by its three definitions",
    "max E(w.x)^2 one direction at a time = min E||x - A W x||^2 = singular value decomposition.",
    "C v_i = lambda_i v_i,   W = A^T = (v_1, ..., v_m)^T,   min J = lambda_{m+1} + ... + lambda_n",
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
        lambdas = pca.by_svd(x, m + 1).variances
        exact = pca.by_svd(x.astype(np.float64), m).W
        rows.append([name, m, (lambdas[m - 1] - lambdas[m]) / lambdas[0], *(sine(f.W, exact) for f in found.values())])
worst = max(max(row[3:]) for row in rows)
demo.table(
    "Sine of the largest principal angle to the axes found in float64",
    ["data", "m", "gap / lambda_1", *METHODS],
    rows,
    f"The data are float32, and so are the axes returned: one rounding of them is 6e-8. Largest: {worst:.0e}.",
)

# %% [markdown]
# ## Eigen-digits and eigen-windows
# The axes of photographs are waves of growing frequency: where statistics do not depend on the place, the eigenvectors
# of the covariance are nearly sinusoids. Digits stand still, and their first axes look like digits.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 2.7))
for ax, (name, x) in zip(axes, sets.items(), strict=True):
    W, side = pca.by_svd(x, 32).W, int(x.shape[1] ** 0.5)
    tiles(ax, (W / abs(W).max(axis=1, keepdims=True)).reshape(-1, side, side), 8, f"{name}: first 32 axes", (-1, 1))
demo.figure(fig, "axes", "Principal axes in order of variance; grey is zero, each scaled to its largest entry.")

# %%
spectra = {name: pca.by_svd(x, x.shape[1]).variances for name, x in sets.items()}
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
for name, lambdas in spectra.items():
    i = np.arange(1, len(lambdas) + 1)
    positive = lambdas > 1e-6 * lambdas[0]
    axes[0].loglog(i[positive], (lambdas / lambdas.sum())[positive], ".-", ms=4, label=name)
    axes[1].plot(i, np.cumsum(lambdas) / lambdas.sum(), label=name)
axes[0].set(xlabel="i", ylabel="lambda_i / total variance", title="spectrum")
axes[1].set(xlabel="m", ylabel="variance explained", title="first m axes together", ylim=(0, 1.02))
axes[1].axhline(0.95, color="grey", lw=0.8, ls=":")
axes[0].legend(frameon=False)
demo.figure(fig, "spectrum", "Few directions hold most of the variance; dotted: 95%.")
enough = {k: int(np.searchsorted(np.cumsum(v) / v.sum(), 0.95)) + 1 for k, v in spectra.items()}
demo.say("95% of the variance: " + ", ".join(f"{enough[k]} of {len(spectra[k])} axes ({k})" for k in spectra) + ".")

# %% [markdown]
# ## Reconstruction
# On the data the axes were found on, the error is the sum of the discarded eigenvalues, exactly; on held-out digits a
# little more. Random axes and the mean alone are the baselines.

# %%
sizes, rng = (2, 4, 8, 16, 32), np.random.default_rng(1)
rows, pictures = [], [held_out[:10]]
variance = held_out.var(axis=0).sum()
for m in sizes:
    found = pca.by_svd(digits, m)
    error = [((x - found.decode(found.encode(x))) ** 2).sum(axis=1).mean() for x in (digits, held_out)]
    random = []
    for _ in range(10):
        Q = np.linalg.qr(rng.standard_normal((64, m)))[0]
        y = held_out - found.mean
        random.append(((y - y @ Q @ Q.T) ** 2).sum(axis=1).mean() / variance)
    rows.append([m, error[0], spectra["digits"][m:].sum(), error[1], error[1] / variance, pm(random)])
    pictures.append(found.decode(found.encode(held_out[:10])))
demo.table(
    "Digits: E||x - x_hat||^2",
    ["m", "training", "discarded eigenvalues", "held out", "held out / variance", "random axes / variance (10 draws)"],
    rows,
    "Variance: of the held-out digits, what their mean alone would leave. 95% interval over the draws.",
)
fig, ax = plt.subplots(figsize=(8, 5))
tiles(ax, np.concatenate(pictures).reshape(-1, 8, 8), 10, "", (0, 1))
for r, text in enumerate(["input", *(f"m = {m}" for m in sizes)]):
    ax.text(-2, 9 * r + 4, text, ha="right", va="center")
demo.figure(fig, "reconstruction", "Held-out digits from their first m components.")

# %% [markdown]
# ## The linear autoencoder on its way
# The same loop that trains every network here, the identity task and no non-linearity. Its m hidden units never
# become the axes; but their span turns towards that of the first m axes. The last directions are the slowest: the gap
# to the eigenvalue left out is small there, and the choice of axis m + 1 in place of axis m is a saddle, where the
# gradient is zero too: seeds that come near it linger. There are no other minima (Baldi & Hornik 1989). For the last
# quarter the step is ten times shorter: what had been left of the angle was noise of the steps, which batches make.

# %%
m, epochs, seeds = 8, 20 if demo.quick else 600, range(2 if demo.quick else 10)
target = pca.by_svd(digits.astype(np.float64), 64)
floor = float(target.variances[m:].sum())
saddle = float(target.variances[m - 1] - target.variances[m]) / floor  # axis m + 1 in place of axis m
y = digits - digits.mean(axis=0)


def on_the_way(seed):
    """Angle to PCA's subspace and excess of the error over PCA's, at the start and after each epoch."""
    net, optimizer = MLP((64, m, 64), activation="identity", rng=seed), Adam(5e-3)
    steps = train_epochs(net, y, reconstruct(), squared_error, epochs=epochs, optimizer=optimizer, rng=seed)
    for epoch in range(epochs + 1):
        if epoch == epochs * 3 // 4:
            optimizer.learning_rate /= 10
        if epoch:
            next(steps)
        yield sine(net.weights[1], target.W[:m]), ((net(y) - y) ** 2).sum(axis=1).mean() / floor - 1


angles, excess = np.moveaxis([list(on_the_way(seed)) for seed in seeds], -1, 0)
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
for ax, curves in zip(axes, (angles, excess), strict=True):
    ax.semilogy(curves.T, color="C0", lw=0.9)
axes[0].set(xlabel="epoch", ylabel="sine of the largest angle\nto PCA's subspace")
axes[1].set(xlabel="epoch", ylabel="J / PCA's J - 1")
axes[1].axhline(saddle, color="grey", lw=0.8, ls=":", label=f"saddle: axis {m + 1} for axis {m}")
axes[1].legend(frameon=False)
demo.figure(fig, "training", f"A linear autoencoder with {m} hidden units, {len(seeds)} seeds, on its way to PCA.")
early = epochs // 10
demo.say(
    f"Sine of the largest angle: {pm(angles[:, 0])} at the start, {pm(angles[:, early])} after {early} epochs, "
    f"{pm(angles[:, -1], 4)} after {epochs}; the error is then {pm(1 + excess[:, -1], 6)} times PCA's, the least "
    f"possible. After {early} epochs {(angles[:, early] > 0.5).sum()} of {len(seeds)} seeds still had a direction more "
    f"than 30 degrees off, though their errors were all within {100 * excess[:, early].max():.1f}% of PCA's: a small "
    "error does not yet mean the right subspace. L-BFGS on all data at once reaches "
    f"{sine(pca.by_reconstruction(digits, m).W, target.W[:m]):.0e}."
)
demo.finish()
