"""Canonical correlation analysis (CCA): what two views have in common, as far as a linear map can tell.

What contrastive learning comes to where the network is linear (tasks/views.py); in closed form since Hotelling (1936).

    symbol         in code        meaning                                                           shape
    v, v′          v1, v2         the two views, row by row of the same sample                      (N, n), (N, n′)
    y, y′          y1, y2         the same, centred; E is the mean over the N rows                  (N, n), (N, n′)
    C, C′, B       -              covariances E yyᵀ, E y′y′ᵀ and E yy′ᵀ                             (n, n), …, (n, n′)
    w, w′          in W1, W2      directions, the rows of W1 and of W2                              (n,), (n′,)
    a, a′          -              the same in whitened views, a = C^(½) w                           (n,), (n′,)
    ρₖ             correlations   canonical correlations, 1 ≥ ρ₁ ≥ ρ₂ ≥ … ≥ 0                       (m,)
    z, z′          (of encode)    canonical variates zₖ = wₖ·y, z′ₖ = w′ₖ·y′                         (N, m)
    T              -              whitened cross-covariance C^(−½) B C′^(−½)                        (n, n′)
    U, Σ, V        U, …, Vt       singular value decomposition T = UΣVᵀ; uₖ, vₖ: columns            (n, r), …, (n′, r)
    Q, R           Q, R_inverse   y = √N QR with QᵀQ = Id, the identity matrix                      (N, r), (r, n)
    G, G′          -              whitened encoders, z = G C^(−½) y                                 (m, n), (m, n′)
    ‖·‖            -              of a matrix: root of the sum of its squared entries (Frobenius)   number
    J, I           -              spectral contrastive loss [views.12]; mutual information          numbers

**The definition.** One pair of directions after the other, each uncorrelated with those before:

    [cca.1]   (wₖ, w′ₖ) = argmax E zₖz′ₖ   over E zₖ² = E z′ₖ² = 1,  E zₖzₗ = E z′ₖz′ₗ = 0 for l < k;    ρₖ = E zₖz′ₖ

In whitened views the constraints are lengths and angles: with a = C^(½) w, E z² = wᵀCw = ‖a‖², E zz′ = wᵀBw′ = aᵀTa′.
The largest aᵀTa′ over unit vectors, one after the other, are the singular values of T (that is one definition of them):

    [cca.2]   C^(−½) B C′^(−½) = UΣVᵀ,    ρₖ = Σₖₖ,    wₖ = C^(−½) uₖ,    w′ₖ = C′^(−½) vₖ

By Cauchy–Schwarz ρₖ ≤ 1. And E zₖz′ₗ = uₖᵀTvₗ = 0 for k ≠ l: a variate is correlated with one of the other view only.

**Computed without a covariance**, like [pca.14] (Björck & Golub 1973): let the columns of Q, Q′ be orthonormal and span
those of y and y′. Then C = RᵀR, so R = OC^(½) with OᵀO = Id; T becomes QᵀQ′ in these coordinates, and its singular
values are the cosines of the angles between the two subspaces of ℝᴺ:

    [cca.3]   y = √N QR,  y′ = √N Q′R′,    QᵀQ′ = UΣVᵀ,    W = UᵀR⁻ᵀ,  W′ = VᵀR′⁻ᵀ

Q and R come from the singular value decomposition of y with columns scaled to a largest entry of 1, so that units do
not matter; what has no variance (a pixel that is always black) is left out, and R⁻¹ is then a pseudoinverse. Nothing is
regularised: where N ≤ n + n′, the two subspaces of the N − 1 dimensions of centred columns must meet, and

    [cca.4]   ρ₁ = … = ρ_k = 1,    k = rank y + rank y′ − (N − 1) if that is positive      (theorem)

whatever the views are. So take N much larger than n + n′, or project each view on a few principal components first.

**What it is for.** Of Gaussian views, zₖ and z′ₖ are independent of all other pairs, as they are uncorrelated;
a pair has −½ ln(1 − ρₖ²) nats [shuffling.3], and an invertible linear map changes no mutual information:

    [cca.5]   I(v; v′) = −½ Σₖ ln(1 − ρₖ²)      (theorem; Gaussian views)

*Partners at one place, components white.* Of all linear maps to m numbers with E zzᵀ = E z′z′ᵀ = Id, the nearest are

    [cca.6]   min E‖z − z′‖² = 2m − 2 max E z·z′ = 2 Σₖ (1 − ρₖ),   k = 1 … m      (theorem)

since E z·z′ = tr(GTG′ᵀ) with GGᵀ = G′G′ᵀ = Id, which is at most ρ₁ + … + ρ_m (von Neumann's trace inequality).

*The spectral contrastive loss of linear networks*, z = G C^(−½) y, z′ = G′ C′^(−½) y′. Its mean, −2 E z·z′ + E(z·z⁻)²
with z⁻ the z′ of another sample, is −2 tr(GTG′ᵀ) + tr(GGᵀG′G′ᵀ), and ⟨T, GᵀG′⟩ = tr(GTG′ᵀ), ‖GᵀG′‖² = tr(GGᵀG′G′ᵀ). So
by the theorem of Eckart & Young

    [cca.7]   J = ‖T − GᵀG′‖² − ‖T‖² ≥ −Σₖ ρₖ²,   k = 1 … m;   equality where z has components √ρₖ wₖ·y,
              and z′ has √ρₖ w′ₖ·y′      (theorem)

Only second moments enter, so the views need not be Gaussian. One network for both views can reach it if they are drawn
alike, p(v, v′) = p(v′, v), and T, which is symmetric then, has no negative eigenvalue among those of the m largest |λ|;
this holds if v and v′ are drawn independently for a given x, for B is then the covariance of E(v | x).

>>> rng = np.random.default_rng(0)
>>> x = rng.standard_normal((20_000, 1))  # what the views have in common
>>> v1 = np.hstack([x, 0 * x]) + rng.standard_normal((20_000, 2))
>>> v2 = np.hstack([0 * x, x]) + rng.standard_normal((20_000, 2))
>>> found = by_svd(v1, v2, m=2)
>>> print(found.correlations.round(1))  # 1/√(2 · 2) = ½, then none
[0.5 0. ]
>>> z1, z2 = found.encode(v1, v2)
>>> print(abs(z1.T @ z1 / 20_000 - np.eye(2)).max() < 1e-12, (z1 * z2).mean(axis=0).round(1))
True [0.5 0. ]

Sources: Hotelling, Biometrika 28 (1936); Björck & Golub, Mathematics of Computation 27 (1973); HaoChen, Wei, Gaidon &
Ma, NeurIPS (2021).
"""

from typing import NamedTuple

import numpy as np

from minissl._arrays import Array
from minissl._checks import check_array, check_count, check_samples, check_varied


class CCA(NamedTuple):
    """Canonical directions, the rows of W1 and W2; correlations; the means of the two views."""

    W1: Array  # (m, n)
    W2: Array  # (m, n′)
    correlations: Array  # (m,)
    mean1: Array  # (n,)
    mean2: Array  # (n′,)

    def encode(self, v1: Array, v2: Array) -> tuple[Array, Array]:
        """The canonical variates z and z′ of two views, (N, m) each: zₖ = wₖ·y, z′ₖ = w′ₖ·y′ [cca.1]."""
        v1 = check_array(v1, "v1", shape=(None, self.W1.shape[1]), like=self.W1)
        v2 = check_array(v2, "v2", shape=(None, self.W2.shape[1]), like=self.W1)
        return (v1 - self.mean1) @ self.W1.T, (v2 - self.mean2) @ self.W2.T  # [cca.1] wₖ·y, w′ₖ·y′


@np.errstate(under="ignore")
def by_svd(v1: Array, v2: Array, m: int) -> CCA:
    """The m largest canonical correlations of two views (N, n), (N, n′) and their directions [cca.2, cca.3].

    At most as many as the smaller of the two views' ranks. Computed in float64; with columns scaled to a largest entry
    of 1, a dimension with less than N eps of the largest standard deviation counts as having none. The entry of largest
    magnitude in each row of W1 is positive.
    """
    v1 = check_varied(check_samples(v1, "v1"), "v1")
    v2 = check_varied(check_array(v2, "v2", shape=(len(v1), None), like=v1, squares=True), "v2")
    Q1, R1_inverse, mean1 = _orthonormal(v1)
    Q2, R2_inverse, mean2 = _orthonormal(v2)
    m = check_count(m, "m", high=min(Q1.shape[1], Q2.shape[1]))
    U, correlations, Vt = np.linalg.svd(Q1.T @ Q2, full_matrices=False)  # [cca.3] QᵀQ′ = UΣVᵀ
    W1 = U[:, :m].T @ R1_inverse.T  # [cca.3] W = UᵀR⁻ᵀ, which is [cca.2] in Q's coordinates
    W2 = Vt[:m] @ R2_inverse.T
    largest = np.take_along_axis(W1, abs(W1).argmax(axis=1)[:, None], axis=1)
    parts = np.sign(largest) * W1, np.sign(largest) * W2, np.minimum(correlations[:m], 1), mean1, mean2
    return CCA(*(part.astype(v1.dtype) for part in parts))


def _orthonormal(v):
    """Q (N, r) and R⁻¹ (n, r) with y = √N QR, r the rank of y; and the mean."""
    N = len(v)
    mean = v.mean(axis=0, dtype=np.float64)
    y = v - mean
    d = np.where(v.max(axis=0) > v.min(axis=0), abs(y).max(axis=0), np.inf)
    U, S, Vt = np.linalg.svd(y / d, full_matrices=False)
    r = int((S > N * float(np.finfo(v.dtype).eps) * float(S[0])).sum())
    return U[:, :r], N**0.5 * Vt[:r].T / S[:r] / d[:, None], mean
