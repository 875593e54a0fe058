"""Pretext tasks by classification: tell the data from something that is not quite the data.

    symbol      meaning                                                         shape
    x           data, one sample per row                                        (N, n)
    p_d, p_n    density of the data, of the noise                               functions of x
    nu          noise samples per data point                                    integer
    T           target: 1 for data, 0 for noise                                 (N (1 + nu), 1)
    w           weight of a noise sample in the loss (1 for data)               number
    y(x)        logit: output of the network                                    number
    m, U, d     mean, principal axes and standard deviations of a Gaussian      (n,), (n, r), (r,)
    R           correlation matrix of the data                                  (n, n)

**Data against noise.** The logistic loss [losses.2] of N data points x_i and nu N noise points e_j is

    [contrastive.1]   J = 1/(N (1 + nu)) [ sum_i ln(1 + exp(-y(x_i))) + w sum_j ln(1 + exp(y(e_j))) ]

For N to infinity, (1 + nu) J = integral of p_d ln(1 + e^-y) + w nu p_n ln(1 + e^y). Where y is free to take any value
at any x, the derivative of the integrand is zero: p_d (1 - sigma(y)) = w nu p_n sigma(y), with sigma the logistic
function, and sigma/(1 - sigma) = e^y. So the classifier has learned a ratio of densities:

    [contrastive.2]   y*(x) = ln p_d(x) - ln p_n(x) - ln(w nu)

Unbalanced, w = 1, the logit is off by ln nu, which must be added; balanced, w = 1/nu, the classes weigh the same and
nothing need be added. Where p_n is known, so now is p_d: ln p_d = y* + ln p_n + ln(w nu), normalised by itself
(Gutmann & Hyvarinen 2012, equations 4-8). Gaussian noise is e = m + U (d * z), z ~ N(0, I_r), with

    [contrastive.3]   covariance U diag(d^2) U^T;   ln p_n(x) = - 1/2 ||U^T (x - m) / d||^2 - sum_k ln d_k - r/2 ln 2 pi

It matches the data's mean and covariance where these are the data's, and is white where U = I and all d_k are equal.
If the covariance is singular (say, all windows have mean zero), r < n and p_n is the density on the plane of the data.

**Data against shuffled variables.** Shuffling each variable across the samples, independently, leaves every marginal
density p_j as it was and makes the variables independent, so [contrastive.2] with nu = 1 becomes

    [contrastive.4]   y*(x) = ln p_d(x) - sum_j ln p_j(x_j);    E y*(x) over the data = I(x_1, ..., x_n)

the mutual information, in nats. For Gaussian data it is known in closed form:

    [contrastive.5]   I = - 1/2 ln det R

(Two shuffled variables still come from the same sample with probability 1/N: shuffle within large batches.) Patches
shuffled within an image are in `patches`.
"""

import math
from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, namespace, normal


class Gaussian(NamedTuple):
    """A Gaussian distribution [contrastive.3] to draw noise from.

    Its mean m (n,), axes U (n, r) with orthonormal columns, and deviations d (r,) are in the units of the data.
    """

    mean: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray

    def sample(self, N, rng):
        """N independent samples, shape (N, n)."""
        mean, U, d = self._parts()
        z = normal(generator(rng), (count(N, "N"), len(d)), mean)
        return mean + (z * d) @ U.T

    def log_density(self, x):
        """ln p_n at each row of `x` (shape (N, n)), in nats, shape (N,). What of x lies off the plane is not seen."""
        mean, U, d = self._parts()
        x = array(x, "x", shape=(None, len(mean)), like=mean)
        z = (x - mean) @ U / d
        normaliser = namespace(x).log(d).sum() + len(d) * (math.log(2 * math.pi) / 2)
        return -0.5 * (z * z).sum(axis=1) - normaliser  # [contrastive.3]

    def _parts(self):
        """m, U and d at the door: anybody can put a Gaussian together."""
        mean = array(self.mean, "mean", ndim=1)
        U = array(self.axes, "axes", shape=(len(mean), None), like=mean)
        d = array(self.deviations, "deviations", shape=(U.shape[1],), like=mean)
        if not (d > 0).all():
            raise ValueError(f"deviations: got {d}, expected positive numbers")
        return mean, U, d


def gaussian_like(x):
    """The Gaussian with the mean and covariance of the data [contrastive.3].

    Parameters
    ----------
    x : array_like, shape (N, n)

    Returns
    -------
    Gaussian
        Of the dtype and library of `x`; of rank r < n where directions have no variance beyond rounding.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a finite floating matrix of more than one sample, or has no variance at all.
    """
    x, mean, centred = _centred(x)
    xp = namespace(x)
    variances, axes = xp.linalg.eigh(centred.T @ centred / len(x))
    rounding = max(float(np.finfo(x.dtype).eps) ** 2, float(np.finfo(np.float64).eps))
    kept = variances > rounding * x.shape[1] * variances.max()
    return Gaussian(mean.astype(x.dtype), axes[:, kept].astype(x.dtype), xp.sqrt(variances[kept]).astype(x.dtype))


def white(x):
    """White Gaussian noise with the mean of the data and its variance, averaged over the variables [contrastive.3].

    Parameters
    ----------
    x : array_like, shape (N, n)

    Returns
    -------
    Gaussian

    Raises
    ------
    TypeError, ValueError
        As `gaussian_like`.
    """
    x, mean, centred = _centred(x)
    xp, n = namespace(x), x.shape[1]
    deviation = (float((centred * centred).sum()) / x.size) ** 0.5
    return Gaussian(mean.astype(x.dtype), xp.eye(n, dtype=x.dtype), xp.full(n, deviation, dtype=x.dtype))


def _centred(x):
    """x at the door, its mean, and x - mean in float64, for covariances lose half of the digits."""
    x = array(x, "x", ndim=2, squares=True)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    if not (centred * centred).any():
        raise ValueError(f"x: all {len(x)} samples are the same, expected data that vary")
    return x, mean, centred


def against_noise(noise, nu=1, balanced=False):
    """The task: which are data, which are noise [contrastive.1]? For the loss `logistic` and a network with one output.

    Parameters
    ----------
    noise : Gaussian
        Or anything else with a method `sample(N, rng)` that returns N samples shaped as the data.
    nu : int
        Noise samples per data point.
    balanced : bool
        Whether noise samples get the weight 1/nu, so that the optimal logit [contrastive.2] is ln p_d - ln p_n.
        Without, it is ln p_d - ln p_n - ln nu.

    Returns
    -------
    callable
        (x of shape (N, n), rng) -> (input (N (1 + nu), n), target (N (1 + nu), 1)), and the weight, shaped as the
        target, if balanced. The data come first.

    Raises
    ------
    TypeError, ValueError
        If nu is not a positive integer, or `noise` cannot be sampled.
    """
    nu = count(nu, "nu")
    if not callable(getattr(noise, "sample", None)):
        raise TypeError(f"noise: got {type(noise).__name__}, expected an object with a method sample(N, rng)")

    def task(x, rng):
        x = array(x, "x", ndim=2)
        return _against(x, noise.sample(nu * len(x), generator(rng)), 1 / nu if balanced else None)

    return task


def _against(x, e, w=None):
    """Data and noise stacked, their targets, and their weights if the noise has one."""
    xp, N, e = namespace(x), len(x), array(e, "noise", shape=(None, x.shape[1]), like=x)
    target = xp.zeros((N + len(e), 1), dtype=x.dtype)
    target[:N] = 1
    pair = xp.concatenate([x, e]), target  # [contrastive.1]
    return pair if w is None else (*pair, target + w * (1 - target))


def against_shuffled(shuffle=None):
    """The task: which are data, which are shuffled [contrastive.4]? For `logistic` and one output.

    Parameters
    ----------
    shuffle : callable, optional
        (x, rng) -> x shuffled. Default: `shuffle_variables`; for images `shuffle_patches(shape, grid)`.

    Returns
    -------
    callable
        (x of shape (N, n), rng) -> (input (2N, n), target (2N, 1)). The data come first.

    Raises
    ------
    TypeError, ValueError
        From the task, if x is unfit, or `shuffle` returns another shape.
    """
    shuffle = shuffle_variables if shuffle is None else shuffle

    def task(x, rng):
        x = array(x, "x", ndim=2)
        return _against(x, shuffle(x, generator(rng)))

    return task


def shuffle_variables(x, rng):
    """Each variable shuffled across the samples by itself, so that variables become independent [contrastive.4].

    Parameters
    ----------
    x : array_like, shape (N, n)
    rng : int, numpy.random.Generator or None

    Returns
    -------
    ndarray, shape (N, n)

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x = array(x, "x", ndim=2)
    xp, (N, n) = namespace(x), x.shape
    rows = generator(rng).permuted(np.tile(np.arange(N), (n, 1)), axis=1).T
    return x[xp.asarray(rows), xp.arange(n)]
