"""Noise-contrastive estimation (NCE): a model of the data's density, learned by telling data from noise.

    symbol      meaning                                                       shape
    x_i         data, i = 1 .. T                                              (T, n)
    e_j         noise, j = 1 .. nu T                                          (nu T, n)
    p_d, p_n    density of the data, of the noise (known)
    phi         model of p_d up to a constant factor (see `densities`)
    theta       parameters (alpha, c): those of phi, and the constant         (size,)
    g(x)        d ln p_m(x; theta)/dtheta                                     (size,)
    h(x)        probability that x is data, according to the model            number
    Sigma       T times the asymptotic covariance of the estimate of theta    (size, size)
    E           mean over p_d

A density must integrate to one, but the integral of phi is often out of reach. Maximum likelihood needs it: without
it, c = infinity is best. NCE needs no integral; the constant is one more parameter:

    [nce.1]   ln p_m(x; theta) = ln phi(x; alpha) + c,    so that the last component of g is 1

Put p_m in the place of p_d in the optimal classifier of data against noise [contrastive.2]:

    [nce.2]   h(x) = sigma(ln p_m(x) - ln p_n(x) - ln nu) = p_m(x) / (p_m(x) + nu p_n(x))
    [nce.3]   J = - (1/T) [ sum_i ln h(x_i) + sum_j ln(1 - h(e_j)) ]

which is (1 + nu) times the logistic loss [losses.2]. Since (ln h)' = (1 - h) g and (ln(1 - h))' = - h g,

    [nce.4]   dJ/dtheta = - (1/T) [ sum_i (1 - h(x_i)) g(x_i) - sum_j h(e_j) g(e_j) ]

If p_d = p_m(.; theta*), the mean of [nce.4] at theta* is zero: with P = 1 - h at theta*, p_d P = nu p_n h. The same
identity gives the mean of the second derivative, I below (terms with dg/dtheta cancel), and T times the variance of
[nce.4]: data give E(P^2 g g^T) - m m^T with m = E(P g), noise gives E(P h g g^T) - (1/nu) m m^T; the sum is
I - (1 + 1/nu) m m^T. So the estimate is consistent, c included, and T Cov(theta) tends to

    [nce.5]   Sigma = I^-1 - (1 + 1/nu) I^-1 E(P g) E(P g)^T I^-1,    I = E(P g g^T),    P = nu p_n/(p_d + nu p_n)

(Gutmann & Hyvarinen 2012, theorem 3). By [nce.1] E(P g) is the last column of I; e_c = (0, .., 0, 1):

    [nce.6]   Sigma = I^-1 - (1 + 1/nu) e_c e_c^T

For nu to infinity P is 1, and the block of alpha is Cov(g_alpha)^-1, the Cramer-Rao bound.

The best noise. Write p_n = r p_d, so that P = nu r/(1 + nu r). More noise at x, r + dr, changes the mean squared error
tr Sigma by - dP ||I^-1 g||^2 p_d, where dP = nu dr/(1 + nu r)^2. At the minimum (there is one: tr Sigma is convex in r)
no noise gains by moving: ||I^-1 g||^2 / (1 + nu r)^2 is the same at every x where r > 0, and no larger where r = 0:

    [nce.7]   r = max(kappa ||I^-1 g|| - 1, 0) / nu,    kappa such that E r = 1

Where c alone is unknown this is r = 1, noise like the data, but not in general. For large nu it is proportional to
||I^-1 g|| (Chehab, Gramfort & Hyvarinen 2022). To find it: among all v(x) with E(v g^T) = identity, v = P I^-1 g
minimises E(||v||^2 / P), and the minimum is tr I^-1 (Gauss & Markov); for fixed v the best r of mean one is
proportional to ||v||, since 1/P = 1 + 1/(nu r). Taking turns never raises tr Sigma, and where it rests with r > 0,
[nce.7] holds:

    [nce.8]   r <- P ||I^-1 g|| / E(P ||I^-1 g||)

Sources: Gutmann & Hyvarinen, AISTATS (2010) and JMLR 13 (2012), 307-361; Chehab, Gramfort & Hyvarinen, UAI (2022).
"""

import math

import numpy as np

from minissl.backend import array, count, generator, namespace, number
from minissl.losses import logistic, sigmoid
from minissl.optimizers import lbfgs


def objective(model, x, y, noise):
    """J [nce.3] and its gradient [nce.4] on fixed data and noise, for `lbfgs`. nu is len(y) / len(x).

    Parameters
    ----------
    model : callable
        (theta, x) -> (ln p_m at each row, shape (N,); product), product(w) = sum_i w_i g(x_i) of shape (size,).
    x : array_like, shape (T, n)
        Data.
    y : array_like, shape (nu T, n)
        Samples of the noise.
    noise : Gaussian
        Or anything else whose method `log_density(x)` returns ln p_n at each row, shape (N,).

    Returns
    -------
    callable
        theta -> (J, dJ/dtheta).

    Raises
    ------
    TypeError, ValueError
        If x and y are not finite matrices of one width, dtype and library, or ln p_n is not finite at each row.
    """
    x = array(x, "x", ndim=2)
    y = array(y, "y", shape=(None, x.shape[1]), like=x)
    xp, T, nu = namespace(x), len(x), len(y) / len(x)
    u = xp.concatenate([x, y])
    offset = array(noise.log_density(u), "noise.log_density", shape=(len(u),), like=x) + math.log(nu)
    target = xp.zeros((len(u), 1), dtype=x.dtype)
    target[:T] = 1

    def J(theta):
        log_p, product = model(theta, u)
        value, delta = logistic((log_p - offset)[:, None], target, out=xp.empty_like(target))  # [nce.2]
        return (1 + nu) * value, product((1 + nu) * delta[:, 0])  # [nce.3], [nce.4]

    return J


def estimate(model, theta, x, noise, nu=1, *, rng=None, iterations=1000, tolerance=1e-6):
    """Noise-contrastive estimate of theta [nce.3], by L-BFGS on one draw of the noise.

    Parameters
    ----------
    model : callable
        `densities.gaussian`, `densities.ica`, `densities.energy(net)`, or yours.
    theta : array_like, shape (size,)
        Where to start; c comes last.
    x : array_like, shape (T, n)
        Data.
    noise : Gaussian
        Or anything else with methods `sample(N, rng)` and `log_density(x)`.
    nu : int
        Noise samples per data point.
    rng : int, numpy.random.Generator or None
    iterations, tolerance
        As in `lbfgs`.

    Returns
    -------
    Minimum
        Its `theta` is the estimate.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x = array(x, "x", ndim=2)
    theta = array(theta, "theta", ndim=1, like=x)
    y = noise.sample(count(nu, "nu") * len(x), generator(rng))
    return lbfgs(objective(model, x, y, noise), theta, iterations=iterations, tolerance=tolerance)


def derivatives(model, theta, x):
    """g [nce.1] at each row of `x`, one row at a time: for theory, not for estimation.

    Parameters
    ----------
    model, theta, x
        As in `asymptotic_covariance`.

    Returns
    -------
    ndarray, shape (N, size)

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x = array(x, "x", ndim=2)
    xp = namespace(x)
    one = xp.ones(1, dtype=x.dtype)
    return xp.stack([model(theta, x[i : i + 1])[1](one) for i in range(len(x))])


def asymptotic_covariance(model, theta, x, noise, nu, weights=None):
    """Sigma [nce.6]: the estimate from T data and nu T noise samples has covariance Sigma / T for large T.

    Parameters
    ----------
    model : callable
        See `objective`.
    theta : array_like, shape (size,)
        The true parameters: p_m(.; theta) is the density of the data, c included.
    x : array_like, shape (N, n)
        Where means over p_d are taken: samples of it (Monte Carlo), or nodes of a quadrature.
    noise : Gaussian
        Or anything else with a method `log_density(x)`.
    nu : float
    weights : array_like, shape (N,), optional
        Of the nodes: p_d times the volume of the cell. They sum to one. Default: 1/N, for samples.

    Returns
    -------
    ndarray, shape (size, size)

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or I has no inverse.
    """
    nu = number(nu, "nu", low=0, open_low=True)
    x = array(x, "x", ndim=2)
    xp = namespace(x)
    weights = _weights(xp.full(len(x), 1 / len(x), dtype=x.dtype) if weights is None else weights, x)
    log_n = array(noise.log_density(x), "noise.log_density", shape=(len(x),), like=x)
    P = sigmoid(math.log(nu) + log_n - model(theta, x)[0])
    g = derivatives(model, theta, x)
    Sigma = xp.linalg.inv(_information(g, weights * P))
    Sigma[-1, -1] -= 1 + 1 / nu  # [nce.6]
    return Sigma


def optimal_noise(model, theta, x, nu, weights, iterations=1000, tolerance=1e-9):
    """r = p_n / p_d of the noise for which tr Sigma is least [nce.7], by iterating [nce.8].

    Parameters
    ----------
    model, theta, x, nu, weights
        As in `asymptotic_covariance`.
    iterations : int
        How many at most. About ten are enough for nu = 10, thousands are needed for nu = 0.1.
    tolerance : float
        Stop when r changes by less, on average over p_d.

    Returns
    -------
    ndarray, shape (N,)
        At the nodes; sum_i weights_i r_i = 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or I has no inverse.
    """
    nu, tolerance = number(nu, "nu", low=0, open_low=True), number(tolerance, "tolerance", low=0)
    x = array(x, "x", ndim=2)
    xp, weights = namespace(x), _weights(weights, x)
    g, r = derivatives(model, theta, x), xp.ones(len(x), dtype=x.dtype)
    for _ in range(count(iterations, "iterations")):
        P = nu * r / (1 + nu * r)
        before, r = r, P * xp.linalg.norm(xp.linalg.solve(_information(g, weights * P), g.T), axis=0)
        r /= weights @ r  # [nce.8]
        if float(weights @ abs(r - before)) < tolerance:
            break
    return r


def _information(g, weights):
    """I [nce.5], which must have an inverse."""
    I = array((g * weights[:, None]).T @ g, "g, the derivatives of the model")  # [nce.5]
    d = namespace(I).linalg.eigvalsh(I)
    if not float(d[0]) > len(I) * float(np.finfo(I.dtype).eps) * float(d[-1]):
        raise ValueError(f"x: got an I with eigenvalues {d[0]} to {d[-1]}, expected more rows, or fewer parameters")
    return I


def _weights(weights, x):
    weights = array(weights, "weights", shape=(len(x),), like=x)
    if (weights < 0).any() or abs(float(weights.sum()) - 1) > 1e-2:
        raise ValueError(f"weights: got sum {float(weights.sum())}, expected p_d times cell volumes, which sum to one")
    return weights
