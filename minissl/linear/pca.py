"""Principal component analysis by its three definitions.

    symbol     meaning                                                    shape
    x          data, rows are samples; E is the mean over its N rows      (N, n)
    y          centred data, x - E(x)                                     (N, n)
    C          covariance, E(y y^T): divided by N, not by N - 1           (n, n)
    lambda_i   its eigenvalues, lambda_1 >= lambda_2 >= ... >= 0          (n,)
    v_i        its orthonormal eigenvectors                               (n,)
    W, A       encoder and decoder, s = W y and y_hat = A s               (m, n), (n, m)
    J          E||y - A W y||^2                                           number
    I          a choice of m of the n eigenvectors                        subset of 1 .. n
    kappa      weight decay                                               number >= 0

**By variance** (Pearson 1901; Hotelling 1933): one direction after the other,

    [pca.1]   w_k = argmax E(w.y)^2  with  ||w|| = 1  and  w orthogonal to w_1, ..., w_{k-1}

The Lagrange condition is C w = lambda w with lambda = E(w.y)^2, so w_k = v_k. By hand: on the sphere the gradient is

    [pca.2]   g = 2 (C w - lambda w),   lambda = w.C w;       sin angle(w, v_1) <= ||g||/2 / (lambda - lambda_2)

(Davis & Kahan 1970), and each step maximises the variance exactly over all combinations of w, g and the w before:

    [pca.3]   w <- argmax E(w.y)^2  with  ||w|| = 1  in  span{w, g, p},      p the w before

(Knyazev 2001, "locally optimal conjugate gradients"). The same w without p is steepest ascent, which is slow where
lambda_1 and lambda_2 are close: about 1/gap steps in place of 1/sqrt(gap).

**By reconstruction**: a linear network with m hidden units, which learns y from y:

    [pca.4]   J(A, W) = E||y - A W y||^2 = tr(C) - 2 tr(W C A) + tr(A^T A W C W^T)
    [pca.5]   dJ/dA = -2 E(e s^T),     dJ/dW = -2 E(A^T e y^T),     e = y - A W y,  s = W y
    [pca.6]   min J = lambda_{m+1} + ... + lambda_n,     reached by A = W^T = (v_1, ..., v_m)

The minimum is a subspace: A G, G^-1 W has the same J for any invertible G. The axes are brought back by an orthonormal
basis Q of the columns of A and the eigenvectors of the m x m matrix Q^T C Q. Nor are there other minima (Baldi & Hornik
1989, Fact 4): for every choice I, A = W^T = (v_i, i in I) is a critical point,

    [pca.7]   dJ/dA = 0,  dJ/dW = 0,  J = sum of the lambda_i with i not in I

but turning one v_i (i in I) by an angle t towards a v_j left out (j not in I) with lambda_j > lambda_i goes downhill:

    [pca.8]   J(t) - J(0) = (lambda_i - lambda_j) sin^2 t

Weight decay chooses the axes (Kunin et al. 2019, Theorem 2, there with N C, not C): J + kappa (||A||^2 + ||W||^2) has
its least value, where lambda_i > kappa for i <= m, at W = A^T and

    [pca.9]   A = (v_1, ..., v_m) diag(a) O,  a_i^2 = 1 - kappa/lambda_i,  O any orthogonal matrix
    [pca.10]  minimum = sum_{i<=m} (2 kappa - kappa^2/lambda_i) + sum_{i>m} lambda_i

so the v_i are the decoder's left singular vectors. **By singular value decomposition** of all centred data, see below:

    [pca.11]  y = U S V^T (rows are samples),   lambda_i = S_i^2/N,   W = A^T = the first m rows of V^T

Eigenvectors have no sign. Here the entry of largest magnitude in each row of W is positive; among entries within one
part in a thousand of the largest, the first counts.
"""

import warnings
from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, namespace, normal
from minissl.optimizers import lbfgs
from minissl.pca_routes import leading_axes

STEPS = 10_000  # of an iteration, at most


class PCA(NamedTuple):
    """Principal axes and what belongs to them; all of the dtype and library of the data."""

    W: np.ndarray  # (m, n), encoder: orthonormal rows, the principal axes
    A: np.ndarray  # (n, m), decoder: W^T
    mean: np.ndarray  # (n,)
    variances: np.ndarray  # (m,), lambda_1 >= ... >= lambda_m, means over the N samples

    def encode(self, x):
        """Components s = W (x - mean) of each row: (N, n) -> (N, m)."""
        return (array(x, "x", shape=(None, self.W.shape[1]), like=self.W) - self.mean) @ self.W.T

    def decode(self, s):
        """Data A s + mean of each row: (N, m) -> (N, n)."""
        return array(s, "s", shape=(None, self.A.shape[1]), like=self.W) @ self.A.T + self.mean


def by_svd(x, m):
    """PCA by the singular value decomposition [pca.11], or what gives the same for less; see `pca_routes`.

    Parameters
    ----------
    x : array_like, shape (N, n)
        Data, at least two samples; centred here.
    m : int
        Number of components, at most min(N, n).

    Returns
    -------
    PCA

    Raises
    ------
    TypeError, ValueError
        If x is not a finite floating matrix of at least two rows, or m not from 1 to min(N, n).
    """
    x, m = _data(x, m)
    W, variances, mean = leading_axes(x, m)
    return _record(W, variances, mean, x)


def by_variance(x, m, *, rng=0):
    """PCA by greatest variance, one direction at a time [pca.1], in float64.

    It stops where ||g||/2 <= 1e-11 lambda_1, so that the subspace is known to an angle of 1e-6 wherever
    lambda_m - lambda_{m+1} >= 1e-4 lambda_1.

    Parameters
    ----------
    x, m
        As in `by_svd`.
    rng : int or Generator
        Where the search starts.

    Returns
    -------
    PCA

    Warns
    -----
    RuntimeWarning
        If a direction has not converged after 10,000 steps.

    Raises
    ------
    TypeError, ValueError
        As `by_svd`.
    """
    x, m = _data(x, m)
    Y, mean = _square_root(x)
    unit = Y / (float(namespace(Y).linalg.norm(Y)) or 1.0)  # or the squares of C w could overflow
    rng, V, largest = generator(rng), Y[:0], 0.0
    for _ in range(m):
        w, variance = _ascend(unit, V, normal(rng, Y.shape[1], Y), largest)
        largest = max(largest, variance)
        V = namespace(Y).concatenate([V, w[None]])
    return _record(*_principal_axes(Y, V.T), mean, x)


def _ascend(Y, V, w, largest):
    """The direction of greatest variance orthogonal to the rows of V, from w on [pca.3]; and that variance."""
    xp = namespace(Y)
    span = []
    for _ in range(STEPS):
        w = w - V.T @ (V @ w)  # at every step: rounding would let the directions found grow back
        w = w / xp.linalg.norm(w)
        Cw = Y.T @ (Y @ w)
        variance = float(w @ Cw)
        g = Cw - variance * w  # [pca.2], half of it
        g = g - V.T @ (V @ g)
        if float(xp.linalg.norm(g)) <= 1e-11 * max(largest, variance):
            break
        span = [w, g, *span[:1]]  # the last is p
        B = xp.linalg.qr(xp.stack(span, axis=1))[0]
        YB = Y @ B
        w = B @ xp.linalg.eigh(YB.T @ YB)[1][:, -1]  # [pca.3]
    else:
        warnings.warn(f"by_variance: no convergence in {STEPS} steps; by_svd needs none", RuntimeWarning, stacklevel=3)
    return w, variance


def reconstruction_error(Y, A, W, kappa=0.0):
    """The linear network's objective J + kappa (||A||^2 + ||W||^2) [pca.4], and its gradients [pca.5].

    Parameters
    ----------
    Y : ndarray, shape (K, n)
        Any matrix with Y^T Y = C: the centred data over sqrt(N), or its triangular factor.
    A, W : ndarray, shapes (n, m), (m, n)
    kappa : float
        Weight decay.

    Returns
    -------
    J : number
    dJ/dA, dJ/dW : ndarray, shapes (n, m), (m, n)
    """
    S = Y @ W.T
    E = Y - S @ A.T
    J = (E * E).sum() + kappa * ((A * A).sum() + (W * W).sum())  # [pca.4]
    return J, -2 * E.T @ S + 2 * kappa * A, -2 * (E @ A).T @ Y + 2 * kappa * W  # [pca.5]


def by_reconstruction(x, m, *, rng=0):
    """PCA by least reconstruction error [pca.4], a linear network minimised by L-BFGS, in float64.

    The subspace is known to an angle of 1e-4 wherever lambda_m - lambda_{m+1} is at least 1e-3 of the total variance:
    L-BFGS sees a function that is flat to rounding, 1e-16, once the gradient is near 1e-8, and ends there.

    Parameters
    ----------
    x, m
        As in `by_svd`.
    rng : int or Generator
        Where the weights start.

    Returns
    -------
    PCA

    Raises
    ------
    TypeError, ValueError
        As `by_svd`.
    """
    x, m = _data(x, m)
    Y, mean = _square_root(x)
    xp, n = namespace(Y), Y.shape[1]
    scale = float(xp.linalg.norm(Y)) or 1.0  # the objective is then at most 1 at A = W = 0

    def objective(theta):
        A, W = theta[: n * m].reshape(n, m), theta[n * m :].reshape(m, n)
        J, dA, dW = reconstruction_error(Y / scale, A, W)
        return J, xp.concatenate([dA.ravel(), dW.ravel()])

    W = normal(generator(rng), (m, n), Y) / n**0.5
    theta = lbfgs(objective, xp.concatenate([W.T.ravel(), W.ravel()]), iterations=STEPS).theta
    Q = xp.linalg.qr(theta[: n * m].reshape(n, m))[0]
    return _record(*_principal_axes(Y, Q), mean, x)


def _data(x, m):
    """Data and number of components, fit for PCA."""
    x = array(x, "x", ndim=2, squares=True)
    if len(x) < 2:
        raise ValueError("x: got 1 sample, which does not vary; expected at least 2")
    return x, count(m, "m", high=min(x.shape))


def _square_root(x):
    """A float64 matrix Y with Y^T Y = C and at most n rows, and the mean: N drops out of what follows."""
    xp = namespace(x)
    mean = x.mean(axis=0, dtype=np.float64)
    Y = (x - mean) / len(x) ** 0.5
    return xp.linalg.qr(Y, mode="r"), mean


def _principal_axes(Y, Q):
    """Principal axes within the span of Q's orthonormal columns, and their variances: eigenvectors of Q^T C Q."""
    YQ = Y @ Q
    variances, U = namespace(Y).linalg.eigh(YQ.T @ YQ)
    return (Q @ U).T[::-1], variances[::-1]


def _record(W, variances, mean, x):
    """The sign rule, and the dtype of x."""
    xp = namespace(x)
    size = abs(W)
    first = (size >= 0.999 * size.max(axis=1, keepdims=True)).argmax(axis=1)
    W = W * xp.sign(xp.take_along_axis(W, first[:, None], axis=1))
    W = W.astype(x.dtype)
    return PCA(W, W.T, mean.astype(x.dtype), xp.maximum(variances, 0).astype(x.dtype))
