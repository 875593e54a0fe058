"""The best linear denoiser and filler of holes, in closed form: what a linear autoencoder tends to.

    symbol   meaning                                                          shape
    x, x~    data, whose mean is taken to be zero; input: x corrupted         (n,) for one sample
    W        linear reconstruction W x~                                       (n, n)
    C        covariance E(x x^T)                                              (n, n)
    sigma    standard deviation of Gaussian noise                             number
    q        probability with which a component is kept                       number
    B        B_jk = 1 where components j and k are masked together, else 0    (n, n)

J = E ||W x~ - x||^2 [autoencoder.1] has the gradient 2 E (W x~ - x) x~^T, which is zero for

    [wiener.1]   W = E(x x~^T) E(x~ x~^T)^-1

Gaussian noise is independent of x: E(x x~^T) = C and E(x~ x~^T) = C + sigma^2 I, so

    [wiener.2]   W = C (C + sigma^2 I)^-1                                    (the Wiener filter)

Missing components, holes filled with zeros: E(x_j x~_k) = q C_jk, and

    [wiener.3]   E(x~_j x~_k) = q C_jk where j and k are masked together, else q^2 C_jk
    [wiener.4]   W = C K^-1,   K = q C + (1 - q) B * C    (* elementwise; single components: B = I, B * C = diag C)

If only what is missing counts, block b is predicted from the others, o, alone: W_bo = C_bo K_oo^-1 with C_bo = K_bo/q.
For P = K^-1 the rows b and columns o of P K = I say P_bb K_bo + P_bo K_oo = 0, therefore

    [wiener.5]   W_bo = - (1/q) P_bb^-1 P_bo,   W_bb = 0

Source: Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949).
"""

import numpy as np

from minissl.backend import array, integers, namespace, number


def denoising(C, sigma):
    """The best linear denoiser [wiener.2].

    Parameters
    ----------
    C : array_like, shape (n, n)
        Covariance of the data, whose mean is zero.
    sigma : float
        Standard deviation of the noise, > 0.

    Returns
    -------
    W : ndarray, shape (n, n)
        To be used as `x @ W.T`.

    Raises
    ------
    TypeError, ValueError
        If C is not a symmetric matrix, or sigma not a number > 0.
    """
    C, sigma = _covariance(C), number(sigma, "sigma", low=0, open_low=True)
    xp = namespace(C)
    d, V = xp.linalg.eigh(C)  # C may be singular, and sigma^2 far below its rounding
    d = xp.maximum(d, 0)
    return (V * (d / (d + sigma**2))) @ V.T  # [wiener.2]


def masking(C, q, blocks=None, missing_only=False):
    """The best linear reconstruction of masked data [wiener.4], or of the missing part alone [wiener.5].

    Parameters
    ----------
    C : array_like, shape (n, n)
        Covariance of the data, whose mean is zero. The holes are filled with zeros.
    q, blocks, missing_only
        As in `autoencoder.mask`; q > 0.

    Returns
    -------
    W : ndarray, shape (n, n)
        To be used as `input @ W.T`. So that C may be singular (a pixel that never changes), n times the rounding error
        of the largest variance is added to the diagonal of K.

    Raises
    ------
    TypeError, ValueError
        If C is not a symmetric matrix, or another argument is unfit.
    """
    C, q = _covariance(C), number(q, "q", low=0, high=1, open_low=True)
    xp, n = namespace(C), len(C)
    blocks = np.arange(n) if blocks is None else integers(blocks, "blocks", low=0, high=n)
    if blocks.shape != (n,):
        raise ValueError(f"blocks: got shape {blocks.shape}, expected ({n},)")
    B = xp.asarray(blocks[:, None] == blocks, dtype=C.dtype)
    rounding = n * float(np.finfo(C.dtype).eps) * float(C.diagonal().max())
    K = q * C + (1 - q) * B * C + rounding * xp.eye(n, dtype=C.dtype)
    if not missing_only:
        return xp.linalg.solve(K, C).T  # [wiener.4]
    P = xp.linalg.inv(K)
    return -xp.linalg.solve(B * P, (1 - B) * P) / q  # [wiener.5]


def _covariance(C):
    C = array(C, "C", ndim=2)
    if C.shape[0] != C.shape[1] or not namespace(C).allclose(C, C.T, atol=1e-6 * float(abs(C).max())):
        raise ValueError(f"C: got shape {C.shape}, expected a symmetric matrix")
    d = namespace(C).linalg.eigvalsh(C)
    if not float(d[0]) > -1e-6 * float(d[-1]):
        raise ValueError(f"C: got eigenvalues from {d[0]} to {d[-1]}, expected a covariance, not negative and not zero")
    return C
