"""Data against noise: a classifier that tells data from noise has learned the ratio of their densities.

The lecture calls this *contrastive*: the data are contrasted with noise. Most papers of today use the word for another
task, to tell a second view of the same sample from views of other samples: that is `tasks/views.py`.

    symbol      in code        meaning                                                      shape
    x           x              data, one sample per row                                     (N, n)
    e           e              noise, ν samples for each sample of the data                 (νN, n)
    ν           nu             noise samples per sample of the data                         1, 2, …
    T           target         1 for data, 0 for noise                                      (N + νN, 1)
    w           weight         weight of a noise sample in the loss, where data have 1      number > 0
    p_d, p_n                   density of the data, of the noise                            functions of x
    J                          loss                                                         number
    y(x), y*(x)                logit: the output of the network; the best one               numbers
    μ           mean           mean of a Gaussian                                           (n,)
    U           axes           its principal axes: orthonormal columns, UᵀU = I             (n, r)
    σ           deviations     its standard deviations along them                           (r,)
    z           z              standard normal: N(0, I_r), I_r the identity matrix          (r,)
    ⊙, /                       product and quotient of two vectors: entry by entry

**The task.** Stack data and noise and ask of each row which it is. With the target T, the loss [losses.2] becomes

    [noise.1]   J = 1/(N + νN) [Σᵢ ln(1 + exp(−y(xᵢ))) + w Σⱼ ln(1 + exp(y(eⱼ)))]

**What is learned.** By the law of large numbers, as N → ∞,

    (1 + ν) J → ∫ [p_d(x) ln(1 + e^(−y(x))) + wν p_n(x) ln(1 + e^(y(x)))] dx

Let y be free to take any value at any x (a network that is large enough). Then J is least where the integrand is least
at each x by itself. As ∂/∂y ln(1 + eʸ) = sigmoid(y) and sigmoid(−y) = 1 − sigmoid(y), its derivative in the number
y = y(x) is

    −p_d(x) [1 − sigmoid(y)] + wν p_n(x) sigmoid(y)

It rises with y, so the only minimum is where it is zero: where sigmoid(y)/[1 − sigmoid(y)] = eʸ is equal to
p_d(x)/[wν p_n(x)]. The classifier has learned a ratio of densities (Gutmann & Hyvärinen 2012, equations 4–8):

    [noise.2]   y*(x) = ln p_d(x) − ln p_n(x) − ln(wν)      (theorem)

With w = 1 the logit is off by ln ν, which must be added; with w = 1/ν ("balanced") both classes weigh the same and
nothing is to be added. If p_n is known, so now is p_d, with its normaliser: ln p_d = y* + ln p_n + ln(wν).

Conditions: p_n(x) > 0 wherever p_d(x) > 0. Where p_n = 0 and p_d > 0, the derivative is negative at every y: the loss
falls for ever as y → ∞, and of p_d nothing is learned. Where p_d = 0 and p_n > 0, y → −∞, which is right: ln p_d = −∞.
Where both are so small that hardly any sample falls there, y is hardly determined.

**Gaussian noise.** Take z ~ N(0, I_r) and e = μ + U(σ ⊙ z). Then E e = μ and Cov e = U diag(σ²) Uᵀ. As UᵀU = I,
z = Uᵀ(e − μ)/σ, and the map z ↦ e scales volumes by Πₖ σₖ. So, with ln N(z; 0, I_r) = −½ ‖z‖² − (r/2) ln 2π,

    [noise.3]   e = μ + U(σ ⊙ z),    ln p_n(x) = −½ ‖Uᵀ(x − μ)/σ‖² − Σₖ ln σₖ − (r/2) ln 2π

If μ and U diag(σ²) Uᵀ are the mean and the covariance of the data, mean and covariance are no help to the classifier,
which must look for what is not Gaussian. If U = I and all σₖ are equal, the noise is isotropic ("white"), and a
classifier can do well by the covariance alone. If the covariance of the data is singular (say, all windows have mean
zero), then r < n, and p_d and p_n are densities on the plane of the data, where the condition of [noise.2] holds again.

>>> from minissl.nn.losses import sigmoid_cross_entropy
>>> from minissl.nn.mlp import MLP
>>> from minissl.nn.optimizers import lbfgs
>>> from minissl.nn.training import objective
>>> rng = np.random.default_rng(0)
>>> x = 1 + rng.standard_normal((20_000, 1))  # p_d = N(1, 1)
>>> noise = Gaussian([0.0], [[1.0]], [1.0])  # p_n = N(0, 1)
>>> task = against_noise(noise, nu=2)
>>> net = MLP((1, 1), rng=0, dtype="float64")  # y = W x + b, and y* = x − ½ − ln 2
>>> W, b = lbfgs(objective(net, task(x, rng), sigmoid_cross_entropy), net.theta).theta
>>> print(f"W = {W:.1f} (1), b = {b:.1f} ({-0.5 - np.log(2):.1f})")
W = 1.0 (1), b = -1.2 (-1.2)

Sources: Gutmann & Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, with applications to
natural image statistics (2012), section 2.
"""

import functools
import math
from collections import namedtuple

import numpy as np

from minissl._arrays import Array, Task, normal
from minissl._checks import check_array, check_count, check_gaussian, check_rng, check_sampler, check_varied


def against_noise(noise, nu: int = 1, balanced: bool = False) -> Task:
    """The task: which rows are data, which are noise [noise.1]? For `sigmoid_cross_entropy` and one output.

    `noise` is a Gaussian, or has another method sample(N, rng) -> (N, n). Each batch draws noise of its own; its rows
    follow the data's. `balanced`: noise has the weight w = 1/ν, and the best logit [noise.2] is ln p_d − ln p_n;
    otherwise w = 1, and it is ln p_d − ln p_n − ln ν.
    """
    return functools.partial(_against_noise, check_sampler(noise, "noise"), check_count(nu, "nu"), balanced)


def _against_noise(noise, nu, balanced, x, rng):
    x = check_array(x, "x", ndim=2)
    N, n = x.shape
    e = check_array(noise.sample(nu * N, check_rng(rng)), "noise", shape=(nu * N, n), like=x)
    input, target = _against(x, e)
    return (input, target, target + (1 - target) / nu) if balanced else (input, target)  # w: 1 for data, 1/ν for noise


def _against(x: Array, e: Array) -> tuple[Array, Array]:
    """Data x (N, n) and other samples e (M, n), stacked; targets (N + M, 1), 1 for data, 0 for the others."""
    target = np.zeros((len(x) + len(e), 1), dtype=x.dtype, like=x)
    target[: len(x)] = 1
    return np.concatenate([x, e]), target  # [noise.1] T = 1 for data, 0 for noise


class Gaussian(namedtuple("Gaussian", ["mean", "axes", "deviations"])):
    """A Gaussian distribution [noise.3]: mean μ (n,), axes U (n, r), deviations σ (r,), in the units of the data."""

    def __new__(cls, mean: Array, axes: Array, deviations: Array):
        return super().__new__(cls, *check_gaussian(mean, axes, deviations))

    def sample(self, N: int, rng) -> Array:
        """N independent samples, (N, n)."""
        mean, U, sigma = self
        z = normal(check_rng(rng), (check_count(N, "N"), len(sigma)), like=mean)
        return mean + (z * sigma) @ U.T  # [noise.3] e = μ + U(σ ⊙ z)

    @np.errstate(under="ignore")  # the square of a tiny z is zero
    def log_density(self, x: Array) -> Array:
        """ln p_n at each row of x, (N,), in nats. If r < n, the component of x − μ orthogonal to U is ignored."""
        mean, U, sigma = self
        x = check_array(x, "x", shape=(None, len(mean)), like=mean)
        z = (x - mean) @ U / sigma
        # [noise.3] −½ ‖z‖² − Σₖ ln σₖ − (r/2) ln 2π
        return -0.5 * np.einsum("ij,ij->i", z, z) - np.log(sigma).sum() - len(sigma) / 2 * math.log(2 * math.pi)


@np.errstate(under="ignore")
def fit_gaussian(x: Array) -> Gaussian:
    """The Gaussian with the mean and the covariance of the data (N, n); of rank r < n if these lie on a plane.

    A direction is kept if its variance exceeds what rounding alone can cause: ε² E‖x‖², with the ε of x's dtype, as
    numbers in x are rounded by up to ε/2 of themselves; and n ε times the largest variance, in float64, by `eigh`.
    """
    x = check_varied(check_array(x, "x", ndim=2, squares=True), "x")
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    C = centred.T @ centred / len(x)
    variances, U = np.linalg.eigh(C)
    eps, eps64 = (float(np.finfo(dtype).eps) for dtype in (x.dtype, np.float64))
    kept = variances > np.maximum(eps**2 * (mean @ mean + variances.sum()), eps64 * len(C) * variances.max())
    return Gaussian(mean.astype(x.dtype), U[:, kept].astype(x.dtype), np.sqrt(variances[kept]).astype(x.dtype))


@np.errstate(under="ignore")
def isotropic_gaussian(x: Array) -> Gaussian:
    """White noise with the mean of the data (N, n) and, in every direction, their variance averaged over variables."""
    x = check_varied(check_array(x, "x", ndim=2, squares=True), "x")
    n = x.shape[1]
    mean = x.mean(axis=0, dtype=np.float64)
    deviation = float(((x - mean) ** 2).mean()) ** 0.5
    U, sigma = np.identity(n, dtype=x.dtype, like=x), np.full_like(x, deviation, shape=(n,))
    return Gaussian(mean.astype(x.dtype), U, sigma)
