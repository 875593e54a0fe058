"""What `nce_estimation.py` estimates, and how: a quartic model whose integral has no formula, and mixed photographs.

Every estimator is a function (x, rng) -> θ; all minimise with the same `lbfgs`.
"""

import copy
import functools
import time

import data
import numpy as np
from tqdm import tqdm

from minissl.goals import nce, score_matching
from minissl.goals.densities import ica, ica_likelihood
from minissl.goals.ica import match_components
from minissl.nn.optimizers import lbfgs
from minissl.tasks.noise import fit_gaussian

ML = "maximum likelihood"
TOTAL, ALPHA, SECONDS = range(3)  # what `repeated` measures


def repeated(methods, draw, truth, sizes, trials, label):
    """{method: (sizes, trials, 3)}: squared error of θ, of θ without c, and CPU seconds, on new data each time."""
    rng = np.random.default_rng(0)
    out = {name: np.zeros((len(sizes), trials, 3)) for name in methods}
    for t in tqdm(range(trials), label, leave=False, disable=None):
        for k, N in enumerate(sizes):
            x = draw(N, rng)
            for name, method in methods.items():
                began = time.process_time()
                theta = method(x, rng)
                seconds = time.process_time() - began
                squares = (theta - truth) ** 2
                out[name][k, t] = squares.sum(), squares[:-1].sum(), seconds
    return out


# The quartic model, ln φ = Σᵢ aᵢ xᵢ⁴ + Σ_{i ≤ j} Kᵢⱼ xᵢ xⱼ

GRID = 14  # points per dimension


def powers(x):
    """g of the quartic model: xᵢ⁴, xᵢxⱼ for i ≤ j, and 1."""
    j, k = np.triu_indices(x.shape[1])
    squares = x * x
    return np.concatenate([squares * squares, x[:, j] * x[:, k], np.ones((len(x), 1))], axis=1)


def derivatives(x):
    """Gradients and Laplacians of xᵢ⁴ and xᵢxⱼ, for [score_matching.6]."""
    N, n = x.shape
    j, k = np.triu_indices(n)
    rows = n + np.arange(len(j))
    G = np.zeros((N, n + len(j), n))
    squares = x * x
    G[:, range(n), range(n)] = 4 * squares * x
    G[:, rows, j] += x[:, k]
    G[:, rows, k] += x[:, j]
    laplacians = np.concatenate([12 * squares, np.repeat([2.0 * (j == k)], N, axis=0)], axis=1)
    return G, laplacians


def quartic(n):
    """Couplings and α of the truth, and where estimation starts."""
    j, k = np.triu_indices(n)
    signs = np.random.default_rng(n).choice([-0.4, 0.4], size=len(j))
    K = np.zeros((n, n))
    K[j, k] = np.where(j == k, 0.25, signs)
    start = np.r_[np.full(n, -0.1), np.where(j == k, -0.3, 0)]
    return K, np.r_[np.full(n, -0.25), K[j, k]], start


def draw_quartic(N, rng, K):
    """Exact samples: independent ones from a wider density, accepted with the ratio of the two."""
    n, t = len(K), np.linspace(-5, 5, 20_001)
    S = np.triu(K, 1) + np.triu(K, 1).T
    largest = np.linalg.eigvalsh(S)[-1]
    wider = np.exp((0.25 + largest / 2 - 0.25 * t**2) * t**2)
    accepted = np.zeros((0, n))
    while len(accepted) < N:
        x = np.interp(rng.random((4 * N, n)), np.cumsum(wider) / wider.sum(), t)
        ratio = np.exp(0.5 * np.einsum("ij,ij->i", x @ S - largest * x, x))
        accepted = np.concatenate([accepted, x[rng.random(len(x)) < ratio]])
    return accepted[:N]


def on_a_grid(n):
    """The powers at the nodes of half a grid, for φ(−x) = φ(x), without 1; logarithm of the volume of two cells."""
    side = np.linspace(-3.5, 3.5, GRID)
    nodes = np.stack(np.meshgrid(side[: GRID // 2], *[side] * (n - 1)), axis=-1).reshape(-1, n)
    return powers(nodes)[:, :-1], n * np.log(side[1] - side[0]) + np.log(2)


def likelihood(x, G, v, start):
    """Maximum likelihood with Z = Σₖ exp(vₖ) φ(node k), G the powers at the nodes."""
    mean = powers(x)[:, :-1].mean(axis=0)

    def J(alpha):
        u = G @ alpha + v
        share = np.exp(u - u.max())
        Z = share.sum()
        return u.max() + np.log(Z) - alpha @ mean, share @ G / Z - mean

    found = lbfgs(J, start, tolerance=1e-5)
    return np.append(found.theta, -(found.value + found.theta @ mean))


def by_quadrature(x, rng, start):
    return likelihood(x, *on_a_grid(x.shape[1]), start)


def by_importance(x, rng, start, nu):
    noise = fit_gaussian(x)
    e = noise.sample(nu * len(x), rng)
    return likelihood(x, powers(e)[:, :-1], -noise.log_density(e) - np.log(len(e)), start)


def by_noise_contrast(x, rng, start, nu):
    noise = fit_gaussian(x)
    e = noise.sample(nu * len(x), rng)
    g = powers(np.concatenate([x, e]))
    J = nce.objective(lambda theta, u: (g @ theta, lambda w: w @ g), x, e, noise)
    return lbfgs(J, np.append(start, -x.shape[1]), tolerance=1e-5).theta


def by_score_matching(x, rng):
    return np.append(score_matching.exponential_family(*derivatives(x)), np.nan)  # there is no c


def methods(start, nus):
    found = {"ML, quadrature": functools.partial(by_quadrature, start=start), "score matching": by_score_matching}
    for nu in nus:
        found[f"ML, importance sampling, ν = {nu}"] = functools.partial(by_importance, start=start, nu=nu)
        found[f"NCE, ν = {nu}"] = functools.partial(by_noise_contrast, start=start, nu=nu)
    return found


def study(n, sizes, trials, nus):
    """`repeated` for the quartic model in n dimensions."""
    K, alpha, start = quartic(n)
    G, v = on_a_grid(n)
    truth = np.append(alpha, -np.log(np.exp(G @ alpha).sum()) - v)
    draw = functools.partial(draw_quartic, K=K)
    return repeated(methods(start, nus), draw, truth, sizes, trials, f"quartic, n = {n}")


def theory(n, nus, samples=100_000):
    """For each method N times the sum of the variances of α̂, for large N, as means over samples of the truth."""
    K, alpha, _ = quartic(n)
    x = draw_quartic(samples, np.random.default_rng(0), K)
    g, noise = powers(x), fit_gaussian(x)
    G, v = on_a_grid(n)
    log_p = g[:, :-1] @ alpha - np.log(np.exp(G @ alpha).sum()) - v
    out = {"ML, quadrature": np.trace(np.linalg.inv(np.cov(g[:, :-1].T)))}
    out["score matching"] = np.trace(score_matching.asymptotic_covariance(*derivatives(x), alpha))
    for nu in nus:
        P = 1 / (1 + np.exp(log_p - noise.log_density(x)) / nu)
        out[f"NCE, ν = {nu}"] = np.trace(np.linalg.inv(nce.information(g, P / samples))[:-1, :-1])
    return out


# Independent components of mixed photographs

SIDE, SOURCES = 256, 4


class Components:
    """The ICA model as noise: x = mean + B⁻¹s with independent logistic s of unit variance."""

    def __init__(self, B, mean):
        self.B, self.mean = B, mean

    def sample(self, N, rng):
        s = rng.logistic(scale=3**0.5 / np.pi, size=(N, len(self.B)))
        return self.mean + s @ np.linalg.inv(self.B).T

    def log_density(self, x):
        return ica(with_constant(self.B), x - self.mean)[0]


def with_constant(B):
    return np.append(B, np.linalg.slogdet(B)[1])


def cut(photographs, rng):
    """Parts of four photographs, each turned, with unit variance."""
    out = []
    for k in rng.permutation(len(photographs))[:SOURCES]:
        rows, columns = (rng.integers(size - SIDE + 1) for size in photographs[k].shape)
        part = photographs[k][rows : rows + SIDE, columns : columns + SIDE]
        out.append(np.rot90(part, rng.integers(4)))
    return np.array(out) / np.std(out, axis=(1, 2), keepdims=True)


def photographs():
    names = data.TRAIN_PHOTOGRAPHS + data.TEST_PHOTOGRAPHS
    return [data.grey(data.photograph(name)).astype(float) for name in names]


def amari(P):
    """Distance of BA from a permutation with scaling, in [0, 1] (Amari, Cichocki & Yang 1996)."""
    P, n = abs(P), len(P)
    rows, columns = (P.sum(axis=k) / P.max(axis=k) - 1 for k in (1, 0))
    return (rows.sum() + columns.sum()) / (2 * n * (n - 1))


def matched(recovered, sources):
    """The recovered pictures in the order and with the sign of the sources; their correlation with them."""
    flat, found = (pictures.reshape(len(pictures), -1).T for pictures in (sources, recovered))
    order, correlations = match_components(flat, found)
    return recovered[order] * np.sign(correlations)[:, None, None], abs(correlations)


def estimates(x, rng, nus=(1, 10)):
    """{method: (B, CPU seconds)}; all start from the same rotation of the whitened data; NCE for each ν."""
    noise = fit_gaussian(x)
    V = (noise.axes / noise.deviations).T  # whitening
    B = np.linalg.qr(rng.standard_normal((SOURCES, SOURCES)))[0] @ V
    out = {"whitening, where all start": (B, 0.0)}

    def add(name, J, start, back=lambda found: found):
        began = time.process_time()
        theta = lbfgs(J, start, tolerance=1e-4).theta[: SOURCES**2]
        out[name] = (back(theta.reshape(B.shape)), time.process_time() - began)

    def contrast(B, noise, nu):
        return nce.objective(ica, x, noise.sample(nu * len(x), rng), noise), with_constant(B)

    add(ML, ica_likelihood(x), B.ravel())
    rotation = (B @ np.linalg.inv(V)).ravel()
    white = score_matching.objective(score_matching.ica_score, x @ V.T)
    add("score matching, whitened", white, rotation, lambda found: found @ V)
    J, size = score_matching.objective(score_matching.ica_score, x), (V * V).sum()

    def as_mixed(R):  # J for B = RV: the same minimum, in coordinates in which the search is well conditioned
        value, gradient = J((R.reshape(B.shape) @ V).ravel())
        return value / size, (gradient.reshape(B.shape) @ V.T).ravel() / size

    add("score matching, as mixed", as_mixed, rotation, lambda found: found @ V)
    for nu in nus:
        add(f"NCE, ν = {nu}, Gaussian noise", *contrast(B, noise, nu))
    for nu in nus:
        own = Components(out[f"NCE, ν = {nu}, Gaussian noise"][0], noise.mean)
        add(f"NCE, ν = {nu}, second round", *contrast(own.B, own, nu))
    return out


def separate(photographs, seed, samples):
    """One trial: {method: (Amari distance, mean correlation, seconds)}, and the pictures of all."""
    rng = np.random.default_rng(seed)
    sources, A = cut(photographs, rng), rng.standard_normal((SOURCES, SOURCES))
    mixed = np.einsum("ij,jhw->ihw", A, sources)
    x = np.diff(mixed, axis=2).reshape(SOURCES, -1).T
    x = x[rng.permutation(len(x))[:samples]]
    scores, pictures = {}, {"photographs": sources, "mixed": mixed}
    for name, (B, spent) in estimates(x, rng).items():
        pictures[name], correlations = matched(np.einsum("ij,jhw->ihw", B, mixed), sources)
        scores[name] = amari(B @ A), correlations.mean(), spent
    return scores, pictures


def by_model(photographs, seed, samples):
    """{(sources, N): {method: Amari distance}} without NCE, of what `separate` leaves out: fewer data, other sources.

    Photographs, mixing, samples and start are those of `separate`; logistic sources are mixed by the same matrices.
    """
    rng = np.random.default_rng(seed)
    sources, A = cut(photographs, rng), rng.standard_normal((SOURCES, SOURCES))
    s = np.diff(sources, axis=2).reshape(SOURCES, -1).T
    s = s[rng.permutation(len(s))[:samples]]
    drawn = s.std(axis=0) * np.random.default_rng(100 + seed).logistic(scale=3**0.5 / np.pi, size=s.shape)
    return {
        (kind, len(x)): {name: amari(B @ A) for name, (B, _) in estimates(x @ A.T, copy.deepcopy(rng), nus=()).items()}
        for kind, x in (
            ("photographs", s[: samples // 4]),
            ("logistic sources", drawn[: samples // 4]),
            ("logistic sources", drawn),
        )
    }
