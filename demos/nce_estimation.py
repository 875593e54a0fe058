# %% [markdown]
# # Noise-contrastive estimation: a classifier estimates a density
#
# Maximum likelihood needs a model that integrates to one. Telling data from noise does not: put the model into the
# classifier, and its normalising constant is learned like any other parameter (Gutmann & Hyvarinen 2012). What does
# that cost in accuracy, what does it save in computing time, and which noise is best?

# %%
import functools
import time

import data
import numpy as np
from gallery import Demo, interval, plt, pm
from matplotlib.ticker import LogLocator
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import minissl as ssl
from minissl.contrastive import Gaussian, gaussian_like, white
from minissl.densities import gaussian, gaussian_theta, ica, ica_likelihood
from minissl.nce import asymptotic_covariance, estimate, objective, optimal_noise

demo = Demo(
    "nce_estimation",
    "Noise-contrastive estimation",
    "Self-supervised learning performs probabilistic modelling: often computationally efficient, but statistically "
    "inferior to maximum likelihood.",
    "J = -(1/T) [sum_i ln h(x_i) + sum_j ln(1 - h(y_j))],  h = p_m / (p_m + nu p_n);   "
    "T Cov(theta) -> I^-1 - (1 + 1/nu) e_c e_c^T",
)
ML = "maximum likelihood"


def normal(deviation, n=1):
    return Gaussian(np.zeros(n), np.eye(n), np.full(n, deviation))


def repeated(methods, draw, truth, sizes, trials, label):
    """{method: (sizes, trials, 2)}: squared error of theta, c included, and CPU seconds, on new data each time."""
    rng = np.random.default_rng(0)
    out = {name: np.zeros((len(sizes), trials, 2)) for name in methods}
    for t in tqdm(range(trials), label, leave=False):
        for k, T in enumerate(sizes):
            x = draw(T, rng)
            for name, method in methods.items():
                began = time.process_time()
                theta = method(x, rng)
                seconds = time.process_time() - began
                out[name][k, t] = ((theta - truth) ** 2).sum(), seconds
    return out


# %% [markdown]
# ## Error against sample size
#
# Two correlated Gaussian variables; three precisions, two means and the constant to be estimated. The noise is white,
# with the data's average variance: it knows nothing of the correlation. Theory (dotted) says that the squared error is
# tr Sigma / T, and that for nu to infinity Sigma tends to that of maximum likelihood.

# %%
C = np.array([[1.0, 0.7], [0.7, 1.0]])
TRUTH = gaussian_theta([0.0, 0.0], C)
NUS = (1, 10, 100)
SIZES = (200, 400) if demo.quick else (100, 300, 1000)
TRIALS = 3 if demo.quick else 100


def draw_gaussian(T, rng):
    return rng.standard_normal((T, 2)) @ np.linalg.cholesky(C).T


def likelihood_gaussian(x, rng):
    return gaussian_theta(x.mean(axis=0), np.atleast_2d(np.cov(x.T, bias=True)))


def nce_gaussian(x, rng, nu):
    noise = white(x)
    start = gaussian_theta(noise.mean, np.diag(noise.deviations**2))
    return estimate(gaussian, start, x, noise, nu, rng=rng, tolerance=1e-4).theta


methods = {ML: likelihood_gaussian} | {f"NCE, nu = {nu}": functools.partial(nce_gaussian, nu=nu) for nu in NUS}
known = repeated(methods, draw_gaussian, TRUTH, SIZES, TRIALS, "Gaussian")
side = np.linspace(-7, 7, 57)
nodes = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
weights = np.exp(gaussian(TRUTH, nodes)[0]) * (side[1] - side[0]) ** 2
theory = [np.trace(asymptotic_covariance(gaussian, TRUTH, nodes, normal(1, 2), nu, weights)) for nu in (1e9, *NUS)]


def slope(squared):
    """Exponent of the error's dependence on T, one per trial."""
    return np.polyfit(np.log(SIZES), np.log(squared), 1)[0]


demo.table(
    f"Squared error of (Lambda, b, c), Gaussian in the plane, {TRIALS} trials, mean ± 95% interval",
    ["", f"T x error, T = {SIZES[-1]}", "theory", "exponent of T"],
    [
        [name, pm(SIZES[-1] * known[name][-1, :, 0], 1), f"{trace:.1f}", pm(slope(known[name][:, :, 0]), 2)]
        for name, trace in zip(methods, theory, strict=True)
    ],
    "Maximum likelihood: the moments of the data. Theory, for large T: tr Sigma, [nce.6], and an exponent of -1. All "
    "see the same data in each trial, so that they err together.",
)

# %% [markdown]
# ## Error against computing time
#
# For a Gaussian maximum likelihood is a formula, and nothing can be faster. So let the model be one whose integral
# nobody has in closed form, ln phi = sum_i a_i x_i^4 + sum_{i<=j} K_ij x_i x_j, and pay for it:
#
# - by quadrature on a grid of 16 points per dimension: exact for our purposes, but 16^n points;
# - by importance sampling, with as many samples of the same noise as NCE has (Geyer 1994): ln Z is estimated by the
#   logarithm of the mean of phi/p_n.
#
# All three minimise with L-BFGS from the same start, and none computes a power of x twice.

# %%
GRID = 16


def powers(x):
    """Derivatives g of the quartic model: x_i^4, x_i x_j for i <= j, and 1."""
    j, k = np.triu_indices(x.shape[1])
    return np.concatenate([x**4, x[:, j] * x[:, k], np.ones((len(x), 1))], axis=1)


def quartic(n):
    """Couplings and alpha of the truth, and where estimation starts."""
    j, k = np.triu_indices(n)
    signs = np.random.default_rng(n).choice([-0.4, 0.4], size=len(j))
    K = np.zeros((n, n))
    K[j, k] = np.where(j == k, 0.25, signs)
    start = np.r_[np.full(n, -0.1), np.where(j == k, -0.3, 0)]
    return K, np.r_[np.full(n, -0.25), K[j, k]], start


def draw_quartic(T, rng, K):
    """Exact samples: independent ones from a wider density, accepted with the ratio of the two."""
    n, t = len(K), np.linspace(-5, 5, 20_001)
    S = np.triu(K, 1) + np.triu(K, 1).T
    largest = np.linalg.eigvalsh(S)[-1]
    wider = np.exp(-0.25 * t**4 + (0.25 + largest / 2) * t**2)
    accepted = np.zeros((0, n))
    while len(accepted) < T:
        x = np.interp(rng.random((4 * T, n)), np.cumsum(wider) / wider.sum(), t)
        ratio = np.exp(0.5 * ((x @ S) * x).sum(axis=1) - 0.5 * largest * (x**2).sum(axis=1))
        accepted = np.concatenate([accepted, x[rng.random(len(x)) < ratio]])
    return accepted[:T]


def likelihood_quartic(x, G, v, start):
    """Maximum likelihood with Z = sum_k exp(v_k) phi(node k), G the powers at the nodes."""
    mean = powers(x)[:, :-1].mean(axis=0)

    def J(alpha):
        u = G @ alpha + v
        share = np.exp(u - u.max())
        Z = share.sum()
        return u.max() + np.log(Z) - alpha @ mean, share @ G / Z - mean

    found = ssl.lbfgs(J, start, tolerance=1e-5)
    return np.append(found.theta, -(found.value + found.theta @ mean))


def on_a_grid(n):
    side = np.linspace(-4, 4, GRID)
    nodes = np.stack(np.meshgrid(*[side] * n), axis=-1).reshape(-1, n)
    return powers(nodes)[:, :-1], n * np.log(side[1] - side[0])


def quadrature(x, rng, start):
    return likelihood_quartic(x, *on_a_grid(x.shape[1]), start)


def importance(x, rng, start, nu):
    noise = gaussian_like(x)
    y = noise.sample(nu * len(x), rng)
    return likelihood_quartic(x, powers(y)[:, :-1], -noise.log_density(y) - np.log(len(y)), start)


def nce_quartic(x, rng, start, nu):
    noise = gaussian_like(x)
    y = noise.sample(nu * len(x), rng)
    g = powers(np.concatenate([x, y]))
    J = objective(lambda theta, u: (g @ theta, lambda w: w @ g), x, y, noise)
    return ssl.lbfgs(J, np.append(start, -x.shape[1]), tolerance=1e-5).theta


def study(n, sizes, trials, nus):
    K, alpha, start = quartic(n)
    G, v = on_a_grid(n)
    truth = np.append(alpha, -np.log(np.exp(G @ alpha).sum()) - v)
    methods = {"ML, quadrature": functools.partial(quadrature, start=start)}
    for nu in nus:
        methods[f"ML, importance sampling, nu = {nu}"] = functools.partial(importance, start=start, nu=nu)
        methods[f"NCE, nu = {nu}"] = functools.partial(nce_quartic, start=start, nu=nu)
    return repeated(methods, functools.partial(draw_quartic, K=K), truth, sizes, trials, f"quartic, n = {n}")


QUARTIC_SIZES = (250, 500) if demo.quick else (250, 1000, 4000)
DIMENSIONS = (2, 3) if demo.quick else (2, 3, 4, 5)
unknown = study(DIMENSIONS[-2], QUARTIC_SIZES, 3 if demo.quick else 20, (1, 10))
costs = [study(n, (2000,), 2 if demo.quick else 3, (10,)) for n in DIMENSIONS]
demo.table(
    "CPU milliseconds per estimate, quartic model, T = 2000, mean ± 95% interval",
    ["", *(f"n = {n}" for n in DIMENSIONS)],
    [[name, *(pm(1000 * cost[name][0, :, 1], 1) for cost in costs)] for name in costs[0]],
    f"The grid has {GRID}^n points; the number of noise samples is the same for every n.",
)

# %%
STYLE = {ML: ("black", "o", "-"), "ML, quadrature": ("black", "o", "-")}
for nu, colour, marker in zip(NUS, ("C0", "C1", "C3"), "s^D", strict=True):
    STYLE[f"NCE, nu = {nu}"] = (colour, marker, "-")
    STYLE[f"ML, importance sampling, nu = {nu}"] = (colour, "x", "--")


def curves(ax, results, x, **labels):
    for name, values in results.items():
        mean, half = interval(values[:, :, 0].T)
        colour, marker, line = STYLE[name]
        ax.errorbar(x(values), mean, half, color=colour, marker=marker, ls=line, ms=5, capsize=2, label=name)
    ax.set(xscale="log", yscale="log", **labels)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def milliseconds(values):
    return 1000 * values[:, :, 1].mean(axis=1)


fig, axes = plt.subplots(1, 3, figsize=(13, 4.4))
curves(axes[0], known, lambda values: SIZES, title="Gaussian, n = 2: by sample size", xlabel="T (dotted: theory)")
for name, trace in zip(known, theory, strict=True):
    axes[0].plot(SIZES, trace / np.array(SIZES), ":", color=STYLE[name][0])
curves(axes[1], known, milliseconds, title="the same, by computing time", xlabel="CPU milliseconds per estimate")
title = f"no formula for the integral: quartic, n = {DIMENSIONS[-2]}"
curves(axes[2], unknown, milliseconds, title=title, xlabel="CPU milliseconds per estimate")
axes[2].set_ylim(top=30)
for ax in axes[[0, 2]]:
    ax.legend(fontsize=8, loc="upper right")
axes[0].set_ylabel("squared error of all parameters")
demo.figure(
    fig,
    "error",
    "Left: the error falls as 1/T, and more noise brings it nearer to maximum likelihood (ML); theory is for large T. "
    "Middle: with a formula for the integral ML is better at any time. Right: without one, a grid costs the same for "
    f"few data as for many; T = {', '.join(map(str, QUARTIC_SIZES))} along each curve. NCE is quicker where T (1 + nu) "
    "is well below the number of grid points, and so is ML with the integral sampled from the same noise.",
)


def times(name, other, k):
    """By how much the error of one method is larger than the other's: geometric mean over trials, 95% interval."""
    mean, half = interval(np.log(unknown[name][k, :, 0] / unknown[other][k, :, 0]))
    return f"{np.exp(mean):.1f} ({np.exp(mean - half):.1f} to {np.exp(mean + half):.1f}) times"


sampled = "ML, importance sampling, nu = 1"
demo.say(
    f"Statistically inferior: for the quartic, T = {QUARTIC_SIZES[-1]}, the squared error of NCE with nu = 1 is "
    f"{times('NCE, nu = 1', 'ML, quadrature', -1)} that of ML. Computationally efficient: beside a grid, not beside a "
    f"formula. The fair rival is ML with a sampled integral. It is faster, and with as little noise its error is "
    f"{times(sampled, 'NCE, nu = 1', 0)} that of NCE at T = {QUARTIC_SIZES[0]}, {times(sampled, 'NCE, nu = 1', -1)} at "
    f"T = {QUARTIC_SIZES[-1]}."
)

# %% [markdown]
# ## Which noise?
#
# One variable, N(0, 1), estimated with Gaussian noise of every width, and with the best noise of all: the density that
# minimises tr Sigma, found by iterating its equation on a grid. It is not the data's (Chehab, Gramfort & Hyvarinen
# 2022). Like every statement about tr Sigma this one depends on how the model is parametrised, here by (Lambda, b, c).

# %%
NORMAL = gaussian_theta([0.0], [[1.0]])
WIDTH = 0.05
x = np.arange(-9, 9 + WIDTH / 2, WIDTH)[:, None]
weights = np.exp(gaussian(NORMAL, x)[0]) * WIDTH


class Cells:
    """A density that is constant on each cell around the nodes x."""

    def __init__(self, p):
        self.p = np.maximum(p, 1e-300)

    def sample(self, N, rng):
        return x[rng.choice(len(x), size=N, p=self.p / self.p.sum())] + WIDTH * (rng.random((N, 1)) - 0.5)

    def log_density(self, u):
        return np.log(self.p)[np.clip(np.rint((u[:, 0] - x[0, 0]) / WIDTH).astype(int), 0, len(x) - 1)]


def trace(noise, nu):
    return np.trace(asymptotic_covariance(gaussian, NORMAL, x, noise, nu, weights))


def nce_normal(data, rng, noise):
    return estimate(gaussian, NORMAL, data, noise, rng=rng).theta  # J is convex here: any start leads to this


best = {nu: Cells(optimal_noise(gaussian, NORMAL, x, nu, weights, 10_000) * weights / WIDTH) for nu in (0.1, *NUS)}
deviations = np.linspace(0.75, 3, 46)
widest = min(deviations, key=lambda deviation: trace(normal(deviation), 1))
noises = {
    "narrow Gaussian, N(0, 0.8²)": normal(0.8),
    "noise like the data, N(0, 1)": normal(1),
    f"best Gaussian, N(0, {widest:.2f}²)": normal(widest),
    "best noise of all": best[1],
}
methods = {ML: likelihood_gaussian}
methods |= {name: functools.partial(nce_normal, noise=noise) for name, noise in noises.items()}
theory = [trace(normal(1), 1e9), *(trace(noise, 1) for noise in noises.values())]
REPEATS = 5 if demo.quick else 600
chosen = repeated(methods, normal(1).sample, NORMAL, (1000,), REPEATS, "noise")
demo.table(
    f"1000 x squared error of (Lambda, b, c) by the noise: nu = 1, T = 1000, {REPEATS} trials, mean ± 95% interval",
    ["noise", "theory", "measured", "measured, less ML's"],
    [
        [name, f"{value:.2f}", pm(1000 * chosen[name][0, :, 0], 2), pm(1000 * (chosen[name] - chosen[ML])[0, :, 0], 2)]
        for name, value in zip(methods, theory, strict=True)
    ],
    "All see the same data in each trial, so that differences are known better than errors.",
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4))
for nu, colour in zip(NUS, ("C0", "C1", "C3"), strict=True):
    axes[0].plot(deviations, [trace(normal(d), nu) for d in deviations], color=colour, label=f"Gaussian, nu = {nu}")
    axes[0].axhline(trace(best[nu], nu), color=colour, ls="--", lw=1)
axes[0].axvline(1, color="gray", lw=0.8)
axes[0].set(title="tr Σ by the width of the noise", xlabel="standard deviation of the noise (data: 1)", ylim=(3, 12))
axes[0].legend(title="dashed: the best noise of all")
for nu, colour in zip((0.1, 1, 100), ("C2", "C0", "C3"), strict=True):
    axes[1].plot(x[:, 0], best[nu].p, color=colour, label=f"best noise, nu = {nu}")
axes[1].plot(x[:, 0], weights / WIDTH, color="black", label="data")
axes[1].set(title="the best noise is not like the data", xlabel="x", ylabel="density", xlim=(-5, 5))
axes[1].legend()
demo.figure(
    fig,
    "noise",
    "Noise somewhat wider than the data is better than noise like the data, and too narrow is worst. The best noise "
    "goes where a sample says most about the parameters: the shoulders and the middle.",
)


def gained(value):
    return (theory[2] - value) / (theory[2] - theory[0])


demo.say(
    f"In theory, the best noise of all saves {gained(theory[4]):.0%} of what noise like the data adds to the error of "
    f"maximum likelihood, and the best Gaussian {gained(theory[3]):.0%}. With much more noise than data the choice "
    "matters little."
)

# %% [markdown]
# ## Independent components of mixed photographs
#
# Four photographs, different ones and other parts of them in each trial, are mixed by a random matrix. Independent
# component analysis looks for the B with independent, sparse components B x. Horizontal differences of neighbouring
# pixels are sparse, and mixing does not mind differences, so B is estimated from those, at 10,000 random places, and
# then applied to the mixed photographs. Settings were chosen on other seeds than those shown.
#
# Noise: Gaussian with the data's covariance; then a second round with the model from the first one as noise, which is
# easy to sample, x = B^-1 s.

# %%
SIDE, SOURCES = 256, 4
PHOTOGRAPHS = [
    data.grey(data.photograph(name)).astype(float) for name in data.TRAIN_PHOTOGRAPHS + data.TEST_PHOTOGRAPHS
]
SAMPLES = 1000 if demo.quick else 10_000
SEEDS = range(10, 12 if demo.quick else 20)


class Components:
    """The ICA model as noise: x = m + B^-1 s with independent logistic s of unit variance."""

    def __init__(self, B, mean):
        self.B, self.mean = B, mean

    def sample(self, N, rng):
        s = rng.logistic(scale=3**0.5 / np.pi, size=(N, len(self.B)))
        return self.mean + s @ np.linalg.inv(self.B).T

    def log_density(self, x):
        return ica(with_constant(self.B), x - self.mean)[0]


def with_constant(B):
    return np.append(B, np.linalg.slogdet(B)[1])


def cut(rng):
    """Parts of four photographs, each turned, with unit variance."""
    out = []
    for k in rng.permutation(len(PHOTOGRAPHS))[:SOURCES]:
        rows, columns = (rng.integers(size - SIDE + 1) for size in PHOTOGRAPHS[k].shape)
        part = PHOTOGRAPHS[k][rows : rows + SIDE, columns : columns + SIDE]
        out.append(np.rot90(part, rng.integers(4)))
    return np.array(out) / np.std(out, axis=(1, 2), keepdims=True)


def amari(P):
    """Distance of B A from a permutation with scaling, in [0, 1] (Amari, Cichocki & Yang 1996)."""
    P, n = abs(P), len(P)
    rows, columns = (P.sum(axis=k) / P.max(axis=k) - 1 for k in (1, 0))
    return (rows.sum() + columns.sum()) / (2 * n * (n - 1))


def matched(recovered, sources):
    """The recovered pictures in the order and with the sign of the sources; their correlation with them."""
    n = len(sources)
    R = np.corrcoef(sources.reshape(n, -1), recovered.reshape(n, -1))[:n, n:]
    k, places = linear_sum_assignment(-abs(R))
    R = R[k, places]
    return recovered[places] * np.sign(R)[:, None, None], abs(R)


def by_nce(B, x, noise, nu, rng):
    theta = estimate(ica, with_constant(B), x, noise, nu, rng=rng, tolerance=1e-5).theta
    return theta[:-1].reshape(B.shape)


def estimates(x, rng):
    """{method: (B, CPU seconds)}; all start from the same rotation of the whitened data."""
    noise = gaussian_like(x)
    B = np.linalg.qr(rng.standard_normal((SOURCES, SOURCES)))[0] @ (noise.axes / noise.deviations).T
    out = {"whitening, where all start": (B, 0.0)}

    def add(name, run):
        began = time.process_time()
        found = run()
        out[name] = (found, time.process_time() - began)

    add(ML, lambda: ssl.lbfgs(ica_likelihood(x), B.ravel(), tolerance=1e-5).theta.reshape(B.shape))
    for nu in (1, 10):
        add(f"NCE, nu = {nu}, Gaussian noise", lambda nu=nu: by_nce(B, x, noise, nu, rng))
    for nu in (1, 10):
        own = Components(out[f"NCE, nu = {nu}, Gaussian noise"][0], noise.mean)
        add(f"NCE, nu = {nu}, second round", lambda nu=nu, own=own: by_nce(own.B, x, own, nu, rng))
    return out


# %%
scores = {}
for seed in tqdm(SEEDS, "ICA", leave=False):
    rng = np.random.default_rng(seed)
    sources, A = cut(rng), rng.standard_normal((SOURCES, SOURCES))
    mixed = np.einsum("ij,jhw->ihw", A, sources)
    x = np.diff(mixed, axis=2).reshape(SOURCES, -1).T
    x = x[rng.permutation(len(x))[:SAMPLES]]
    found = estimates(x, rng)
    pictures = {name: np.einsum("ij,jhw->ihw", B, mixed) for name, (B, _) in found.items()}
    for name, (B, spent) in found.items():
        scores.setdefault(name, []).append((amari(B @ A), matched(pictures[name], sources)[1].mean(), spent))
scores = {name: np.array(values) for name, values in scores.items()}
demo.table(
    f"Separation of {SOURCES} photographs from {SAMPLES} samples, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "Amari distance x 1000", "relative to ML", "mean |correlation|", "CPU seconds"],
    [
        [name, pm(1000 * v[:, 0], 2), pm(v[:, 0] / scores[ML][:, 0], 2), pm(v[:, 1], 4), pm(v[:, 2], 2)]
        for name, v in scores.items()
    ],
    "Relative: of the same seed. Correlation: between recovered and true photographs. The second round's time comes on "
    "top of the first's.",
)


def relative(name):
    mean, half = interval(scores[name][:, 0] / scores[ML][:, 0])
    return f"{mean:.2f} ± {half:.2f}"


demo.say(
    f"Amari distance relative to maximum likelihood's: {relative('NCE, nu = 1, Gaussian noise')} with as much Gaussian "
    f"noise as data, {relative('NCE, nu = 10, Gaussian noise')} with ten times as much, "
    f"{relative('NCE, nu = 1, second round')} with as much noise from the model of the first round, "
    f"{relative('NCE, nu = 10, second round')} with ten times as much of that. Maximum likelihood is faster here, for "
    "ln |det B| is a formula; that NCE, which does not use it, comes so close is what matters where there is none."
)

# %%
NAMES = (ML, "NCE, nu = 10, second round")
shown = {"photographs": sources, "mixed": mixed} | {name: matched(pictures[name], sources)[0] for name in NAMES}
fig, axes = plt.subplots(SOURCES, len(shown), figsize=(9, 9.2))
for column, (title, images) in zip(axes.T, shown.items(), strict=True):
    column[0].set_title(title, fontsize=10)
    for ax, image in zip(column, images, strict=True):
        ax.imshow(image, vmin=np.quantile(image, 0.01), vmax=np.quantile(image, 0.99))
        ax.set_axis_off()
demo.figure(
    fig, "ica", f"Seed {SEEDS[-1]}: what was mixed, the mixtures, and what was recovered from the mixtures alone."
)

# %%
demo.finish()
