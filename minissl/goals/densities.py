"""Models of the data's density, up to a constant factor: what noise-contrastive estimation estimates.

    symbol      meaning                                                         shape
    x           data, one sample per row                                        (N, n)
    phi         the model of the density, up to a constant factor
    theta       parameters (alpha, c): those of phi, then ln of the factor      (size,)
    g(x)        d ln p_m(x; theta)/dtheta, where ln p_m = ln phi + c            (size,)
    c*          the c with which p_m integrates to one
    Lambda, b   precision matrix of a Gaussian, and Lambda times its mean       (n, n), (n,)
    B, s        unmixing matrix, and the components s = B x                     (n, n), (N, n)
    f           density of one component

A model is a function (theta, x) -> (ln p_m at each row of x, shape (N,); product), where product(w) = sum_i w_i g(x_i),
shape (size,), is its backward pass: g itself, N x size numbers, is never stored.

The Gaussian; alpha has the entries Lambda_jk, j <= k, row by row, then b. Lambda_jk stands twice in Lambda if j < k, so
its derivative is - x_j x_k, and - x_j^2 / 2 on the diagonal:

    [densities.1]   ln phi = - 1/2 x^T Lambda x + b^T x,    c* = 1/2 ln det Lambda - 1/2 b^T Lambda^-1 b - (n/2) ln 2 pi

Independent component analysis (ICA): s = B x has independent components of density f. Either choice has unit variance:

    [densities.2]   ln phi = sum_k ln f(s_k),    d ln phi/dB = (ln f)'(s) x^T,    c* = ln |det B|
    [densities.3]   ln f(u) = - 2 ln cosh(a u) + ln(a/2), a = pi/(2 sqrt 3);    or  ln f(u) = - sqrt 2 |u| - (1/2) ln 2

Here c* is known, and maximum likelihood is, with the gradient of ln |det B| (Bell & Sejnowski 1995; Pham & Garat 1997)

    [densities.4]   J = - (1/N) sum_ik ln f(s_ik) - ln |det B|,    dJ/dB = - (1/N) sum_i (ln f)'(s_i) x_i^T - B^-T

A network with one output; its last parameter is the bias of the output, which is c:

    [densities.5]   ln p_m(x; theta) = network(x; theta)

Sources: Bell & Sejnowski, Neural Computation 7 (1995), 1129-1159; Pham & Garat, IEEE Transactions on Signal Processing
45 (1997), 1712-1725; Gutmann & Hyvarinen, JMLR 13 (2012), 307-361.
"""

import math

import numpy as np

from minissl.backend import array, namespace


def gaussian(theta, x):
    """The Gaussian model [densities.1].

    Parameters
    ----------
    theta : array_like, shape (n (n + 1)/2 + n + 1,)
        Lambda_jk for j <= k, b, c.
    x : array_like, shape (N, n)

    Returns
    -------
    ln_p : ndarray, shape (N,)
        In nats.
    product : callable
        w of shape (N,) -> sum_i w_i g(x_i), shape (n (n + 1)/2 + n + 1,).

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]
    j, k = (xp.asarray(index) for index in np.triu_indices(n))
    theta = array(theta, "theta", shape=(len(j) + n + 1,), like=x)
    Lambda, b, c = xp.empty((n, n), dtype=x.dtype), theta[len(j) : -1], theta[-1]
    Lambda[j, k] = Lambda[k, j] = theta[: len(j)]

    def product(w):
        M = (x * w[:, None]).T @ x
        return xp.concatenate([-xp.where(j == k, M[j, k] / 2, M[j, k]), w @ x, w.sum()[None]])

    return -0.5 * ((x @ Lambda) * x).sum(axis=1) + x @ b + c, product  # [densities.1]


def gaussian_theta(mean, covariance):
    """The parameters [densities.1] of a normalised Gaussian, c* included.

    Parameters
    ----------
    mean : array_like, shape (n,)
    covariance : array_like, shape (n, n)
        Symmetric, positive definite. With the data's own mean and covariance the result is the maximum likelihood
        estimate.

    Returns
    -------
    ndarray, shape (n (n + 1)/2 + n + 1,)

    Raises
    ------
    TypeError, ValueError
        If `covariance` is not as said above.
    """
    mean = array(mean, "mean", ndim=1)
    n = len(mean)
    covariance = array(covariance, "covariance", shape=(n, n), like=mean)
    xp = namespace(mean)
    variances = xp.linalg.eigvalsh(covariance)
    if not xp.allclose(covariance, covariance.T) or not (variances > 0).all():
        raise ValueError(f"covariance: got eigenvalues {variances}, expected a symmetric, positive definite matrix")
    Lambda = xp.linalg.inv(covariance)
    b = Lambda @ mean
    c = -0.5 * (xp.log(variances).sum() + b @ mean + n * math.log(2 * math.pi))  # [densities.1]
    j, k = (xp.asarray(index) for index in np.triu_indices(n))
    return xp.concatenate([Lambda[j, k], b, c[None]])


def logcosh(u):
    """ln f and its derivative for the smooth density of [densities.3] (the logistic one), elementwise.

    Parameters
    ----------
    u : array_like
        Of any shape.

    Returns
    -------
    ln_f, slope : ndarray
        Of the shape of `u`.

    Raises
    ------
    TypeError, ValueError
        If `u` is not a floating array.
    """
    u = array(u, "u", finite=False)
    xp, a = namespace(u), math.pi / (2 * 3**0.5)
    return -2 * (xp.logaddexp(a * u, -a * u) - math.log(2)) + math.log(a / 2), -2 * a * xp.tanh(a * u)  # [densities.3]


def laplace(u):
    """ln f and its derivative for the Laplacian density of [densities.3], elementwise; its slope at 0 is 0.

    Parameters
    ----------
    u : array_like
        Of any shape.

    Returns
    -------
    ln_f, slope : ndarray
        Of the shape of `u`.

    Raises
    ------
    TypeError, ValueError
        If `u` is not a floating array.
    """
    u = array(u, "u", finite=False)
    xp = namespace(u)
    return -(2**0.5) * xp.abs(u) - math.log(2) / 2, -(2**0.5) * xp.sign(u)  # [densities.3]


def ica(theta, x, source=logcosh):
    """The ICA model [densities.2].

    Parameters
    ----------
    theta : array_like, shape (n^2 + 1,)
        B row by row, c.
    x : array_like, shape (N, n)
    source : callable
        u -> (ln f(u), its derivative), elementwise: `logcosh`, `laplace` or yours.

    Returns
    -------
    ln_p : ndarray, shape (N,)
        In nats.
    product : callable
        w of shape (N,) -> sum_i w_i g(x_i), shape (n^2 + 1,).

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]
    theta = array(theta, "theta", shape=(n * n + 1,), like=x)
    B, c = theta[:-1].reshape(n, n), theta[-1]
    log_f, slope = source(x @ B.T)

    def product(w):
        return xp.concatenate([(slope.T @ (x * w[:, None])).ravel(), w.sum()[None]])

    return log_f.sum(axis=1) + c, product  # [densities.2]


def ica_likelihood(x, source=logcosh):
    """Maximum likelihood ICA [densities.4], for `lbfgs`.

    Parameters
    ----------
    x : array_like, shape (N, n)
    source : callable
        As in `ica`.

    Returns
    -------
    callable
        B row by row, shape (n^2,) -> (J in nats per sample, gradient of shape (n^2,)).

    Raises
    ------
    TypeError, ValueError
        If x, or a B that is tried, is unfit.
    """
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]

    def J(B):
        B = array(B, "B", shape=(n * n,), like=x).reshape(n, n)
        log_f, slope = source(x @ B.T)
        log_det = xp.linalg.slogdet(B)[1]
        if not xp.isfinite(log_det):
            raise ValueError("B: got a singular matrix, expected one that can be inverted")
        value = -log_f.sum() / len(x) - log_det
        return value, (-slope.T @ x / len(x) - xp.linalg.inv(B).T).ravel()  # [densities.4]

    return J


def energy(net):
    """A network with one output, which is minus an energy, as a model [densities.5].

    Parameters
    ----------
    net : MLP
        Its parameters are set to each theta that is tried.

    Returns
    -------
    callable
        (theta, x) -> (ln_p, product), as `gaussian`.

    Raises
    ------
    TypeError, ValueError
        If the network has more than one output, or an argument of the model is unfit.
    """
    if not hasattr(net, "sizes"):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")
    if net.sizes[-1] != 1:
        raise ValueError(f"net: got {net.sizes[-1]} outputs, expected one, ln p_m")

    def model(theta, x):
        net.theta[:] = array(theta, "theta", shape=net.theta.shape, like=net.theta)
        H = net.forward(x)
        return H[-1][:, 0], lambda w: net.backward(H, w[:, None])  # [densities.5]

    return model
