"""Data of a known spectrum, and the angle between two subspaces: for the tests of PCA and of its eigenvectors."""

import numpy as np


def sine(W, V):
    """Sine of the largest principal angle between the row spaces of W and V, which have orthonormal rows."""
    W, V = np.asarray(W, dtype=float), np.asarray(V, dtype=float)
    return np.linalg.norm(W - W @ V.T @ V, 2)


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def with_spectrum(rng, N, variances, n=None, mean=0.0):
    """Data whose covariance has exactly these eigenvalues (and zeros), and the eigenvectors as rows."""
    r = len(variances)
    U = np.linalg.qr(np.column_stack([np.ones(N), rng.standard_normal((N, r))]))[0][:, 1:]  # centred
    V = orthonormal(rng, n or r, r).T
    return (N**0.5 * U * np.sqrt(variances)) @ V + mean, V


def spectrum(n, m):
    """n eigenvalues with sum of order 1 and λ_m − λ_{m+1} of about a tenth of λ₁."""
    return np.r_[0.5 + 0.5 * np.arange(m, 0, -1) / m, 0.4 * np.arange(n - m, 0, -1) / (n - m)] / m


def svd_axes(x, m):
    """W, variances and mean by the plainest way there is, in float64."""
    x = np.asarray(x, dtype=float)
    mean = x.mean(axis=0)
    y = x - mean
    _, S, Vt = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)
    return Vt[:m], S[:m] ** 2 / len(x), mean
