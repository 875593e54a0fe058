"""Noise-contrastive estimation (NCE): a model of the data's density, learned by telling data from noise.

    symbol      meaning                                                       shape
    x_i         data, i = 1 .. T                                              (T, n)
    y_j         noise, j = 1 .. nu T                                          (nu T, n)
    p_d, p_n    density of the data, of the noise (known)
    phi         model of p_d up to a constant factor
    theta       parameters (alpha, c): those of phi, and the constant         (P,)
    g(x)        d ln p_m(x; theta) / dtheta                                   (P,)
    h(x)        probability that x is data, according to the model            number
    Sigma       T times the asymptotic covariance of the estimate of theta    (P, P)

A density must integrate to one, but the integral of phi is often out of reach. Maximum likelihood needs it: without
it, c = infinity is best. NCE needs no integral; the constant is one more parameter:

    [nce.1]   ln p_m(x; theta) = ln phi(x; alpha) + c,    so that the last component of g is 1

Put p_m in the place of p_d in the optimal classifier of data against noise [contrastive.2]:

    [nce.2]   h(x) = sigma(ln p_m(x) - ln p_n(x) - ln nu) = p_m(x) / (p_m(x) + nu p_n(x))
    [nce.3]   J = - (1/T) [ sum_i ln h(x_i) + sum_j ln(1 - h(y_j)) ]

which is (1 + nu) times the logistic loss [losses.2]. Since (ln h)' = (1 - h) g and (ln(1 - h))' = - h g,

    [nce.4]   dJ/dtheta = - (1/T) [ sum_i (1 - h(x_i)) g(x_i) - sum_j h(y_j) g(y_j) ]

If p_d = p_m(.; theta*), the mean of [nce.4] at theta* is zero: with P = 1 - h at theta*, p_d P = nu p_n h. The same
identity gives the mean of the second derivative, I below (terms with dg/dtheta cancel), and T times the variance of
[nce.4]: data give E(P^2 g g^T) - m m^T with m = E(P g), noise gives E(P h g g^T) - (1/nu) m m^T, all means over p_d;
the sum is I - (1 + 1/nu) m m^T. So the estimate is consistent, c included, and T Cov(theta) tends to

    [nce.5]   Sigma = I^-1 - (1 + 1/nu) I^-1 E(P g) E(P g)^T I^-1,    I = E(P g g^T),    P = nu p_n / (p_d + nu p_n)

(Gutmann & Hyvarinen 2012, theorem 3). By [nce.1] E(P g) is the last column of I; e_c = (0, .., 0, 1):

    [nce.6]   Sigma = I^-1 - (1 + 1/nu) e_c e_c^T

For nu to infinity P is 1, and the block of alpha is Cov(g_alpha)^-1, the Cramer-Rao bound.

The best noise. Change p_n = r p_d where r > 0: P = nu r / (1 + nu r), dP/dr = nu / (1 + nu r)^2, and the mean squared
error tr Sigma changes by -dP p_d ||I^-1 g||^2. At the minimum (there is one: tr Sigma is convex in r) this is the same
at every x where r > 0, and no more where r = 0:

    [nce.7]   p_n = p_d max(kappa ||I^-1 g|| - 1, 0) / nu,    kappa such that p_n integrates to one

For large nu it is p_d ||I^-1 g||, not p_d itself (Chehab, Gramfort & Hyvarinen 2022, theorem 1).

Models. The Gaussian with precision matrix Lambda; alpha has the entries Lambda_jk, j <= k, row by row, then b:

    [nce.8]   ln phi = - 1/2 x^T Lambda x + b^T x,    c* = 1/2 ln det Lambda - 1/2 b^T Lambda^-1 b - (n/2) ln 2 pi

Independent component analysis: s = B x has independent components of density f. Either choice has unit variance:

    [nce.9]   ln phi = sum_k ln f(s_k),    d ln phi/dB = (ln f)'(s) x^T,    c* = ln |det B|
    [nce.10]  ln f(u) = - 2 ln cosh(a u) + ln(a/2), a = pi / (2 sqrt 3);    or  ln f(u) = - sqrt 2 |u| - (1/2) ln 2

Here c* is known, and maximum likelihood is, with the gradient of ln |det B| (Bell & Sejnowski 1995; Pham & Garat 1997)

    [nce.11]  J_ML = - (1/T) sum_ik ln f(s_ik) - ln |det B|,    dJ_ML/dB = - (1/T) sum_i (ln f)'(s_i) x_i^T - B^-T

A network with one output; its last parameter is the bias of the output, which is c:

    [nce.12]  ln p_m(x; theta) = network(x; theta)

Sources: Gutmann & Hyvarinen, AISTATS (2010) and JMLR 13 (2012), 307-361; Chehab, Gramfort & Hyvarinen, UAI (2022).
"""

import math

import numpy as np

from minissl.backend import array, count, generator, namespace, number
from minissl.losses import logistic, sigmoid
from minissl.optimizers import lbfgs

# A model is a function (theta, x) -> (ln p_m at each row of x, shape (N,); product), where product(w) = sum_i w_i g(x_i).
# The product is all that J needs: g itself, N x P numbers, is never stored.


def gaussian(theta, x):
    """The Gaussian model [nce.8]: theta = (Lambda_jk for j <= k, b, c), of size n (n + 1)/2 + n + 1."""
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]
    j, k = (xp.asarray(index) for index in np.triu_indices(n))
    theta = array(theta, "theta", shape=(len(j) + n + 1,), like=x)
    Lambda, b, c = xp.empty((n, n), dtype=x.dtype), theta[len(j) : -1], theta[-1]
    Lambda[j, k] = Lambda[k, j] = theta[: len(j)]

    def product(w):
        M = (x * w[:, None]).T @ x
        return xp.concatenate([-xp.where(j == k, M[j, k] / 2, M[j, k]), w @ x, w.sum()[None]])

    return -0.5 * ((x @ Lambda) * x).sum(axis=1) + x @ b + c, product  # [nce.8]


def gaussian_theta(mean, covariance):
    """The parameters [nce.8] of a normalised Gaussian, c* included.

    Parameters
    ----------
    mean : array_like, shape (n,)
    covariance : array_like, shape (n, n)
        Symmetric, positive definite. With the data's own mean and covariance the result is the maximum likelihood
        estimate.

    Returns
    -------
    ndarray, shape (n (n + 1)/2 + n + 1,)
    """
    mean = array(mean, "mean", ndim=1)
    n = len(mean)
    covariance = array(covariance, "covariance", shape=(n, n), like=mean)
    xp = namespace(mean)
    log_det = 2 * xp.log(xp.diag(xp.linalg.cholesky(covariance))).sum()
    Lambda = xp.linalg.inv(covariance)
    b = Lambda @ mean
    c = -0.5 * (log_det + b @ mean + n * math.log(2 * math.pi))  # [nce.8]
    j, k = (xp.asarray(index) for index in np.triu_indices(n))
    return xp.concatenate([Lambda[j, k], b, c[None]])


def logcosh(u):
    """ln f and its derivative for the smooth density of [nce.10] (the logistic one), elementwise."""
    xp, a = namespace(u), math.pi / (2 * 3**0.5)
    return -2 * (xp.logaddexp(a * u, -a * u) - math.log(2)) + math.log(a / 2), -2 * a * xp.tanh(a * u)


def laplace(u):
    """ln f and its derivative for the Laplacian density of [nce.10], elementwise."""
    xp = namespace(u)
    return -(2**0.5) * xp.abs(u) - math.log(2) / 2, -(2**0.5) * xp.sign(u)


def ica(theta, x, source=logcosh):
    """The ICA model [nce.9]: theta = (B row by row, c), of size n^2 + 1; `source` gives ln f and its derivative."""
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]
    theta = array(theta, "theta", shape=(n * n + 1,), like=x)
    B, c = theta[:-1].reshape(n, n), theta[-1]
    log_f, slope = source(x @ B.T)

    def product(w):
        return xp.concatenate([(slope.T @ (x * w[:, None])).ravel(), w.sum()[None]])

    return log_f.sum(axis=1) + c, product  # [nce.9]


def ica_likelihood(x, source=logcosh):
    """Maximum likelihood ICA [nce.11], for `lbfgs`: the function B (flat, shape (n^2,)) -> (J_ML, gradient)."""
    x = array(x, "x", ndim=2)
    xp, n = namespace(x), x.shape[1]

    def J(B):
        B = array(B, "B", shape=(n * n,), like=x).reshape(n, n)
        log_f, slope = source(x @ B.T)
        value = -log_f.sum() / len(x) - xp.linalg.slogdet(B)[1]
        return value, (-slope.T @ x / len(x) - xp.linalg.inv(B).T).ravel()  # [nce.11]

    return J


def energy(net):
    """The model whose log-density is a network with one output [nce.12]; it sets `net.theta` to each theta tried."""
    if net.sizes[-1] != 1:
        raise ValueError(f"net: got {net.sizes[-1]} outputs, expected one, ln p_m")

    def model(theta, x):
        net.theta[:] = array(theta, "theta", shape=net.theta.shape, like=net.theta)
        H = net.forward(x)
        return H[-1][:, 0], lambda w: net.backward(H, w[:, None])  # [nce.12]

    return model


def objective(model, x, y, noise):
    """J [nce.3] and its gradient [nce.4] on fixed data and noise, for `lbfgs`. nu is len(y) / len(x).

    Parameters
    ----------
    model : callable
        (theta, x) -> (ln p_m at each row, shape (N,); product), product(w) = sum_i w_i g(x_i) of shape (P,).
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
        `gaussian`, `ica`, `energy(net)`, or yours: see `objective`.
    theta : array_like, shape (P,)
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
    """
    x = array(x, "x", ndim=2)
    theta = array(theta, "theta", ndim=1, like=x)
    y = noise.sample(count(nu, "nu") * len(x), generator(rng))
    return lbfgs(objective(model, x, y, noise), theta, iterations=iterations, tolerance=tolerance)


def derivatives(model, theta, x):
    """g [nce.1] at each row of `x`, shape (N, P), one row at a time: for theory, not for estimation."""
    xp = namespace(x)
    one = xp.ones(1, dtype=x.dtype)
    return xp.stack([model(theta, x[i : i + 1])[1](one) for i in range(len(x))])


def asymptotic_covariance(model, theta, x, noise, nu, weights=None):
    """Sigma [nce.6]: the estimate from T data and nu T noise samples has covariance Sigma / T for large T.

    Parameters
    ----------
    model : callable
        See `objective`.
    theta : array_like, shape (P,)
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
    ndarray, shape (P, P)
    """
    nu = number(nu, "nu", low=0, open_low=True)
    x = array(x, "x", ndim=2)
    xp = namespace(x)
    weights = _weights(xp.full(len(x), 1 / len(x), dtype=x.dtype) if weights is None else weights, x)
    log_n = array(noise.log_density(x), "noise.log_density", shape=(len(x),), like=x)
    P = sigmoid(math.log(nu) + log_n - model(theta, x)[0])
    g = derivatives(model, theta, x)
    Sigma = xp.linalg.inv((g * (weights * P)[:, None]).T @ g)
    Sigma[-1, -1] -= 1 + 1 / nu  # [nce.6]
    return Sigma


def optimal_noise(model, theta, x, nu, weights, iterations=1000, tolerance=1e-9):
    """r = p_n / p_d of the noise [nce.7] for which tr Sigma is least, by iterating [nce.7].

    Parameters
    ----------
    model, theta, x, nu, weights
        As in `asymptotic_covariance`.
    iterations : int
        How many at most.
    tolerance : float
        Stop when r changes by less, on average over p_d.

    Returns
    -------
    ndarray, shape (N,)
        At the nodes; zero where noise would be wasted. sum_i weights_i r_i = 1.
    """
    nu = number(nu, "nu", low=0, open_low=True)
    x = array(x, "x", ndim=2)
    xp, weights = namespace(x), _weights(weights, x)
    g, r = derivatives(model, theta, x), xp.ones(len(x), dtype=x.dtype)
    for _ in range(iterations):
        I = (g * (weights * nu * r / (1 + nu * r))[:, None]).T @ g
        size = xp.sqrt((xp.linalg.solve(I, g.T) ** 2).sum(axis=0))
        order = xp.argsort(-size)
        kappa = (nu + xp.cumsum(weights[order])) / xp.cumsum((weights * size)[order])  # if r > 0 at the first so many
        many = int((kappa * size[order] > 1).sum())
        change = xp.maximum(kappa[many - 1] * size - 1, 0) / nu - r  # [nce.7]
        r = r + 0.5 * change
        if float((weights * xp.abs(change)).sum()) < tolerance:
            break
    return r


def _weights(weights, x):
    weights = array(weights, "weights", shape=(len(x),), like=x)
    if (weights < 0).any() or abs(float(weights.sum()) - 1) > 1e-2:
        raise ValueError(f"weights: got sum {float(weights.sum())}, expected p_d times cell volumes, which sum to one")
    return weights
