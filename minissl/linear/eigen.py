"""The leading eigenvectors of a covariance: four exact routes, one for each shape of the data.

    symbol     meaning                                                     shape
    x, y       data; centred data, rows are samples                        (N, n)
    C          covariance E(y y^T), divided by N                           (n, n)
    lambda_i   its eigenvalues, lambda_1 >= lambda_2 >= ...                (n,)
    c, d       a provisional mean; what it misses, E(x) - c                (n,)
    K          Gram matrix y y^T / N                                       (N, N)
    Q_j        orthonormal blocks of a Krylov space, b columns each        (n, b)
    eps        rounding of the data's dtype: 6e-8 or 1e-16                 number

The sine of the angle between the subspace found and the true one is at most (error of C)/(lambda_m - lambda_{m+1})
(Davis & Kahan 1970). "Error" below is that error of C, as a part of lambda_1.

**Singular values** of y, in float64: error 1e-16, and small eigenvalues to full relative accuracy. For small data.

**Covariance**, for N >= 4n. Blocks of rows are centred on a provisional mean and multiplied in the data's dtype; their
products are added in float64:

    [routes.1]   C = 1/N sum_t (x_t - c)(x_t - c)^T - d d^T,      d = 1/N sum_t (x_t - c)

Here c is the mean of about a thousand rows, evenly spaced, so d is small and nothing cancels. Error about eps. No
centred copy is made; N may be as large as memory holds.

**Gram matrix**, for n >= 4N. y = U S V^T gives K = U (S^2/N) U^T, and lambda_i and v_i follow from the small side:

    [routes.2]   K u_i = lambda_i u_i,     v_i = y^T u_i / sqrt(N lambda_i)

K is added up over blocks of columns, each centred exactly, as above. Error about eps.

**Block Lanczos**, for min(N, n) >= 1000, m at most a 25th of it and N, n within a factor 20; also for the eigenvectors
of C or K, once these are known, from 500 on and where six blocks fit into a quarter. The space spanned by Q_1, C Q_1,
C^2 Q_1, ... holds the leading eigenvectors to a rapidly growing accuracy (Golub & Underwood 1977). Its blocks have
b = m + 4 columns, so that no eigenvalue is missed for being repeated. Each is made orthogonal to all before it:

    [routes.3]   C Q_j = (Q_1, ..., Q_j) H_j + Q_{j+1} R_j

H_j, the last block column of T = Q^T C Q, costs nothing extra. For an eigenpair T u = theta u, v = (Q_1, ..., Q_j) u
is the approximation and theta its variance; the residual is known without a further product:

    [routes.4]   ||C v - theta v|| = ||R_j u_last||,     u_last the last b entries of u

It stops where that is at most 1e-13 lambda_1 (float32: 1e-7 lambda_1, to which the rounding of C Q adds some eps) for
all of the first m: that is its error. On spectra so flat that the space outgrows a quarter of C, one of the exact ways
above takes over.
"""

import numpy as np

from minissl.backend import namespace, normal

ROWS = 4096  # at a time; columns, for the Gram matrix


def leading_axes(x, m):
    """Principal axes by the route that suits the shape.

    Parameters
    ----------
    x : ndarray, shape (N, n)
    m : int
        At most min(N, n).

    Returns
    -------
    W : ndarray, shape (m, n)
        Orthonormal rows.
    variances : ndarray, shape (m,)
    mean : ndarray, shape (n,)
        In float64.
    """
    N, n = x.shape
    if min(N, n) >= 1000 and 25 * m <= min(N, n) and max(N, n) <= 20 * min(N, n):
        found = from_lanczos(x, m)
        if found is not None:
            return found
    route = from_covariance if N >= 4 * n else from_gram if n >= 4 * N else from_svd
    return route(x, m)


def from_svd(x, m):
    """Singular value decomposition of the centred data, in float64."""
    y, mean = _centred(x)
    _, S, Vt = namespace(x).linalg.svd(y, full_matrices=False)
    return Vt[:m], S[:m] ** 2 / len(x), mean  # [pca.11]


def from_covariance(x, m):
    """Eigenvectors of the covariance, which is added up over blocks of rows [routes.1]."""
    xp, (N, n) = namespace(x), x.shape
    c = x[:: max(1, N // 1000)].mean(axis=0, dtype=np.float64).astype(x.dtype)
    rows = min(ROWS, N)
    y, ones = xp.empty((rows, n), dtype=x.dtype), xp.ones(rows, dtype=x.dtype)
    P = xp.empty((n, n), dtype=x.dtype)
    C, d = xp.zeros((n, n)), xp.zeros(n)
    for start in range(0, N, rows):
        k = min(rows, N - start)
        xp.subtract(x[start : start + k], c, out=y[:k])
        C += xp.matmul(y[:k].T, y[:k], out=P)
        d += ones[:k] @ y[:k]
    d /= N
    C /= N
    C -= d[:, None] * d  # [routes.1]
    return *_eigenvectors(C, m, x.dtype), c + d


def from_gram(x, m):
    """Eigenvectors of the Gram matrix, which is added up over blocks of columns [routes.2]."""
    xp, (N, n) = namespace(x), x.shape
    blocks = [slice(start, start + ROWS) for start in range(0, n, ROWS)]
    K, mean = xp.zeros((N, N)), xp.empty(n)
    for block in blocks:
        y, mean[block] = _centred(x[:, block], x.dtype)
        K += y @ y.T
    U, variances = _eigenvectors(K / N, m, x.dtype)
    V = xp.concatenate([_centred(x[:, block])[0].T @ U.T for block in blocks])
    V = xp.linalg.qr(V)[0]  # [routes.2], and orthonormal also where lambda is 0
    return V.T, variances, mean


def _eigenvectors(C, m, dtype):
    """The first m eigenvectors, as rows, and eigenvalues of a symmetric matrix, as exactly as `dtype` allows."""
    n = len(C)
    if n >= 500 and 24 * (m + 4) <= n:
        found = block_lanczos(lambda Q: C @ Q, n, m, C, dtype)
        if found is not None:
            return found
    theta, V = namespace(C).linalg.eigh(C)
    return V.T[::-1][:m], theta[::-1][:m]


def from_lanczos(x, m):
    """Block Lanczos on a centred copy of the data, or None where the spectrum is too flat for it."""
    xp = namespace(x)
    y, mean = _centred(x, x.dtype)
    tall = y if len(y) >= y.shape[1] else y.T  # the smaller of C and K, which share their eigenvalues
    found = block_lanczos(lambda Q: ((tall @ Q).T @ tall).T / len(y), tall.shape[1], m, y, y.dtype)
    if found is None:
        return None
    V, variances = found
    return V if tall is y else xp.linalg.qr((V @ y).T)[0].T, variances, mean  # [routes.2]


def block_lanczos(product, n, m, like, dtype):
    """The first m eigenvectors, as rows, and eigenvalues of a matrix known by its product with (n, b) [routes.3].

    It is computed in the dtype of `like`, and as exact as `dtype` allows.
    """
    xp, b = namespace(like), m + 4
    tolerance = 1e-13 if dtype == np.float64 else 1e-7
    Q = basis = xp.linalg.qr(normal(np.random.default_rng(0), (n, b), like))[0]
    T = xp.zeros((0, 0), dtype=like.dtype)
    while True:
        Z = product(Q)
        H = basis.T @ Z
        k = len(T)
        T = xp.concatenate([xp.concatenate([T, H[:k].T]), H], axis=1)
        Q, R = xp.linalg.qr(Z - basis @ H)  # [routes.3]
        theta, U = xp.linalg.eigh(T)
        unit = float(theta[-1]) or 1.0  # or the squares of small residuals would vanish
        if float(xp.linalg.norm(R / unit @ U[-b:, -m:], axis=0).max()) <= tolerance:  # [routes.4]
            return (basis @ U[:, ::-1][:, :m]).T, theta[::-1][:m]
        if 4 * (k + 2 * b) > n:
            return None
        Q = xp.linalg.qr(Q - basis @ (basis.T @ Q))[0]  # once more against rounding
        basis = xp.concatenate([basis, Q], axis=1)


def _centred(x, dtype=np.float64):
    """x less its mean, in the dtype, and the mean in float64."""
    xp = namespace(x)
    ones = xp.full(len(x), 1 / len(x), dtype=dtype)
    mean = ones @ x.astype(dtype, copy=False)
    y = xp.subtract(x, mean, dtype=dtype)
    rest = ones @ y  # the mean is rounded, and with a large offset it shows
    y -= rest
    return y, mean.astype(np.float64) + rest
