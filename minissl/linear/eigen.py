"""The first eigenvectors of a covariance, where the singular value decomposition of all data would cost too much.

    symbol   name in code   meaning                                                      shape
    x, y     x, y           data, rows are samples; centred data; E is their mean        (N, n)
    C        C              covariance E yyᵀ, divided by N                               (n, n)
    λᵢ, vᵢ   variances, W   its eigenvalues, λ₁ ≥ λ₂ ≥ …, and orthonormal eigenvectors    (m,), rows of (m, n)
    Δ        -              what rounding, or sampling, adds to C                        (n, n)
    λ̂ᵢ       -              the eigenvalues of C + Δ                                     (n,)
    ‖·‖      -              length of a vector; largest singular value of a matrix       number
    c, d     c, d           a provisional mean; what it lacks, E x − c                   (n,)
    K        K              Gram matrix yyᵀ/N                                            (N, N)
    Qⱼ       Q              blocks of b columns, all together orthonormal                (n, b)
    T        T              C in their basis, (Q₁ … Qⱼ)ᵀ C (Q₁ … Qⱼ)                     (jb, jb)
    Rⱼ, Eⱼ   R, (of U)      the R of a QR decomposition; last b columns of the identity  (b, b), (jb, b)
    θ, u     theta, U       an eigenvalue of T and its eigenvector                       number, (jb,)
    eps      -              rounding of the data's dtype: 6e-8 or 1e-16                  number

**How exact must a covariance be?** Let "sine" be that of the largest principal angle between the space of the first m
eigenvectors of C and that of C + Δ. Then

    [eigen.1]   sine ≤ ‖Δ‖/(λ_m − λ̂_{m+1}) ≤ ‖Δ‖/(λ_m − λ_{m+1} − ‖Δ‖)   where these are positive      (theorem)
    [eigen.2]   sine ≤ 2‖Δ‖/(λ_m − λ_{m+1})                                                          (theorem)

(Davis & Kahan 1970; Yu, Wang & Samworth 2015). Proof: let V hold the first m eigenvectors of C as columns, V̂ the last
n − m of C + Δ, and X = V̂ᵀV, whose norm is the sine. CV = VΛ and V̂ᵀ(C + Δ) = Λ̂V̂ᵀ, with their eigenvalues in the
diagonal matrices Λ and Λ̂, give V̂ᵀΔV = Λ̂X − XΛ. A multiple of the identity, added to C, changes neither side, so C and
C + Δ may be taken to be positive definite. Then ‖XΛ‖ ≥ λ_m ‖X‖ and ‖Λ̂X‖ ≤ λ̂_{m+1} ‖X‖, so ‖Δ‖ ≥ (λ_m − λ̂_{m+1}) ‖X‖;
and λ̂_{m+1} ≤ λ_{m+1} + ‖Δ‖ (Weyl). For [eigen.2]: if ‖Δ‖ is at most half the gap λ_m − λ_{m+1}, then the last
denominator of [eigen.1] is at least half the gap; if it is more, the right side is above 1. Without "− ‖Δ‖" and without
the 2 it is not true: C = diag(1, 0) and Δ = diag(−0.51, 0.51) have ‖Δ‖/(λ₁ − λ₂) = 0.51, and a sine of 1.

Rounding makes ‖Δ‖ about eps λ₁ on each of the three ways below, and moves each variance by about as much (Weyl): those
below eps λ₁ are lost. So `pca.by_svd` comes here with large data only.

**Covariance**, for N ≥ n. Blocks of rows are centred on a provisional mean and multiplied in the data's dtype; their
products are added in float64:

    [eigen.3]   C = (1/N) Σₜ (xₜ − c)(xₜ − c)ᵀ − ddᵀ,     d = (1/N) Σₜ (xₜ − c)

since E (y + d)(y + d)ᵀ = C + ddᵀ. Here c is the mean of about a thousand rows, evenly spaced, so d is small and nothing
cancels. No centred copy is made: x may be a file that is mapped into memory.

**Gram matrix**, for n > N. y = USVᵀ gives K = U (S²/N) Uᵀ, and the axes follow from the small side:

    [eigen.4]   K uᵢ = λᵢ uᵢ,     vᵢ = yᵀuᵢ/√(N λᵢ)

K is added up over blocks of columns, each centred exactly.

**Block Lanczos**, where few eigenvectors of a large matrix are asked for. The space spanned by Q₁, CQ₁, C²Q₁, … holds
the first eigenvectors to a rapidly growing accuracy (Golub & Underwood 1977). Its basis is made block by block: CQⱼ
less its part in the blocks so far is Qⱼ₊₁Rⱼ, by QR. With Eⱼ the last b columns of the identity,

    [eigen.5]   C (Q₁ … Qⱼ) = (Q₁ … Qⱼ) T + Qⱼ₊₁ Rⱼ Eⱼᵀ

The last block column of T is Hⱼ = (Q₁ … Qⱼ)ᵀ C Qⱼ, which is at hand. For an eigenpair, Tu = θu, take v = (Q₁ … Qⱼ)u as
the axis and θ as its variance. By [eigen.5] times u, Cv = θv + Qⱼ₊₁RⱼEⱼᵀu, and so the residual costs no product:

    [eigen.6]   ‖Cv − θv‖ = ‖Rⱼ Eⱼᵀu‖

It stops where that is at most 1e-13 λ₁ (float32: 1e-7 λ₁) for the first m. What do small residuals show? With those of
all m as the columns of G, the rows of W span exactly *an* invariant subspace of C + Δ, where Δ = −(GW + WᵀGᵀ), of norm
‖G‖: the residuals are orthogonal to the axes, WG = 0 [eigen.5], so (C + Δ)Wᵀ = CWᵀ − G, and that is Wᵀ times the θ's.
That it is *the first* rests on the start, which is random: from a Q₁ orthogonal to v₁ it would never be found. Blocks
have b = m + 4 columns, so that an eigenvalue may be repeated b times and all its vectors are found. Where the spectrum
is so flat that the space would outgrow a quarter of C, LAPACK takes over.

    >>> import numpy as np
    >>> from minissl.linear.eigen import covariance
    >>> x = np.random.default_rng(0).standard_normal((400, 3)) * [3, 2, 1] + 5
    >>> C, mean = covariance(x)
    >>> bool(np.allclose(C, np.cov(x.T, bias=True))), bool(np.allclose(mean, x.mean(axis=0)))
    (True, True)

Sources: Davis & Kahan 1970, SIAM J. Numer. Anal. 7; Yu, Wang & Samworth 2015, Biometrika 102; Golub & Underwood 1977,
in Mathematical Software III; Parlett 1980, The Symmetric Eigenvalue Problem (chapters 11 and 13).
"""

import numpy as np

from minissl._arrays import Array, normal

BLOCK = 4096  # rows at a time; columns, for the Gram matrix
RESIDUAL = {np.dtype("float32"): 1e-7, np.dtype("float64"): 1e-13}  # at which Lanczos stops, as a part of λ₁


def leading_eigenvectors(x: Array, m: int) -> tuple[Array, Array, Array]:
    """W (m, n) with orthonormal rows, variances (m,) and mean (n,) of x, by the way that suits its shape (measured)."""
    small, large = sorted(x.shape)
    way = from_covariance if len(x) == large else from_gram
    if small >= 1000 and 25 * m <= small and large <= 20 * small:
        found = from_lanczos(x, m)
        return way(x, m, all_eigenvectors) if found is None else found
    return way(x, m)


def all_eigenvectors(C, m, dtype=None):
    """The first m eigenvectors, as rows, and eigenvalues of a symmetric matrix, by LAPACK."""
    theta, V = np.linalg.eigh(C)
    return V.T[::-1][:m], theta[::-1][:m]


def few_eigenvectors(C, m, dtype):
    """The same; by block Lanczos where that is quicker, to the accuracy of `dtype`."""
    n, found = len(C), None
    if n >= 500 and 24 * (m + 4) <= n:
        found = block_lanczos(lambda Q: C @ Q, _start(n, m, C), m, RESIDUAL[dtype])
    return all_eigenvectors(C, m) if found is None else found


# Covariance


def covariance(x: Array) -> tuple[Array, Array]:
    """C (n, n) and mean (n,) of x (N, n), in float64, from blocks of rows [eigen.3]."""
    N, n = x.shape
    c = x[:: max(1, N // 1000)].mean(axis=0, dtype=np.float64).astype(x.dtype)
    C, d = np.zeros((n, n), like=x), np.zeros(n, like=x)
    for start in range(0, N, BLOCK):
        y = x[start : start + BLOCK] - c
        C += y.T @ y
        d += np.ones_like(y[:, 0]) @ y
    d /= N
    return C / N - np.outer(d, d), c + d  # [eigen.3] C = (1/N) Σₜ (xₜ − c)(xₜ − c)ᵀ − ddᵀ


def from_covariance(x, m, solver=few_eigenvectors):
    """Principal axes from the covariance."""
    C, mean = covariance(x)
    return *solver(C, m, x.dtype), mean


# Gram matrix


def gram(x: Array) -> tuple[Array, Array]:
    """K (N, N) and mean (n,) of x (N, n), in float64, from blocks of columns."""
    N, n = x.shape
    K, means = np.zeros((N, N), like=x), []
    for start in range(0, n, BLOCK):
        y, mean = centred(x[:, start : start + BLOCK], x.dtype)
        K += y @ y.T
        means.append(mean)
    return K / N, np.concatenate(means)


def from_gram(x, m, solver=few_eigenvectors):
    """Principal axes from the Gram matrix."""
    K, mean = gram(x)
    U, variances = solver(K, m, x.dtype)  # [eigen.4] K uᵢ = λᵢ uᵢ
    columns = range(0, x.shape[1], BLOCK)
    V = np.concatenate([centred(x[:, start : start + BLOCK])[0].T @ U.T for start in columns])
    return np.linalg.qr(V)[0].T, variances, mean  # [eigen.4] vᵢ = yᵀuᵢ/√(N λᵢ), and orthonormal also where λᵢ is 0


# Block Lanczos


def from_lanczos(x, m):
    """Principal axes by block Lanczos on a centred copy, or None where the spectrum is too flat for it."""
    y, mean = centred(x, x.dtype)
    N, n = x.shape
    tall = y if N >= n else y.T  # the smaller of C and K, which share their eigenvalues
    start = _start(min(N, n), m, y)
    found = block_lanczos(lambda Q: ((tall @ Q).T @ tall).T / N, start, m, RESIDUAL[x.dtype])
    if found is None:
        return None
    V, variances = found
    return V if N >= n else np.linalg.qr((V @ y).T)[0].T, variances, mean  # [eigen.4] vᵢ = yᵀuᵢ/√(N λᵢ)


def _start(n, m, like):
    """A random block of m + 4 columns, the same each time."""
    return normal(np.random.default_rng(0), (n, m + 4), like)


def block_lanczos(product, start, m, residual):
    """The first m eigenvectors, as rows, and eigenvalues of a matrix known by its product with (n, b), or None.

    `start` is (n, b) and decides dtype and library; it stops where all residuals [eigen.6] are at most `residual` λ₁.
    """
    n, b = start.shape
    Q = basis = np.linalg.qr(start)[0]
    T = np.zeros((0, 0), dtype=start.dtype, like=start)
    while True:
        Z = product(Q)
        H = basis.T @ Z
        k = len(T)
        T = np.concatenate([np.concatenate([T, H[:k].T]), H], axis=1)  # symmetric: its last block row is Hᵀ
        Q, R = np.linalg.qr(Z - basis @ H)  # [eigen.5] C (Q₁ … Qⱼ) = (Q₁ … Qⱼ) T + Qⱼ₊₁ Rⱼ Eⱼᵀ
        theta, U = np.linalg.eigh(T)
        unit = float(theta[-1]) or 1.0  # without it the squares of small residuals could underflow
        if float(np.linalg.norm(R / unit @ U[-b:, -m:], axis=0).max()) <= residual:  # [eigen.6] ‖Rⱼ Eⱼᵀu‖
            return (basis @ U[:, ::-1][:, :m]).T, theta[::-1][:m]
        if 4 * (k + 2 * b) > n:
            return None
        Q = np.linalg.qr(Q - basis @ (basis.T @ Q))[0]  # once more against rounding
        basis = np.concatenate([basis, Q], axis=1)


def centred(x: Array, dtype=np.float64) -> tuple[Array, Array]:
    """y = x − E x in the dtype, (N, n), and the mean in float64, (n,)."""
    weights = np.full_like(x[:, 0], 1 / len(x), dtype=dtype)
    mean = weights @ x.astype(dtype, copy=False)
    y = np.subtract(x, mean, dtype=dtype)
    rest = weights @ y  # the mean is rounded, and with a large offset it shows
    y -= rest
    return y, mean.astype(np.float64) + rest
