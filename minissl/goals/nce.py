"""Noise-contrastive estimation (NCE): a model of the data's density, learned by telling data from noise.

In the lecture's words: probabilistic modelling, done by supervised learning. The pretext task is "data or noise?" (see
`noise`). The classifier is made of the model, so that when it has been trained, the model has been estimated.

    symbol      in code      meaning                                                       shape
    xᵢ          x            data, i = 1 … N                                               (N, n)
    eⱼ          e            noise, j = 1 … νN                                             (νN, n)
    ν           nu           noise samples per data point                                  number > 0
    p_d, p_n    noise        density of the data; of the noise, which is known             functions of x
    p_m, φ      model        model of p_d; the same up to a constant factor (`densities`)  functions of x and θ
    θ, α, c     theta        all parameters, θ = (α, c): those of φ, and the constant      (size,)
    θ*, θ̂                    the true parameters, p_m(x; θ*) = p_d(x); the estimate        (size,)
    g(x)        g            ∂ ln p_m(x; θ)/∂θ                                             (size,)
    h(x)        (sigmoid)    probability that x is data, according to the model            number
    P(x)        P            1 − h(x) at θ*: probability that x is noise                   number
    E_d, E_n    weights      mean over p_d, over p_n; E over all data and noise samples
    m           m            E_d(P g)                                                      (size,)
    I           information  E_d(P g gᵀ)                                                   (size, size)
    Σ           Sigma        N times the covariance of θ̂, for large N                      (size, size)

A density integrates to one, but the integral of φ is often out of reach. Maximum likelihood needs it: without it, c = ∞
is best. NCE needs no integral; the logarithm of the constant is one more parameter:

    [nce.1]   ln p_m(x; θ) = ln φ(x; α) + c,    so that the last component of g is 1

The best classifier of data against noise has the logit ln p_d − ln p_n − ln ν [noise.2]. Put p_m in the place of p_d,

    [nce.2]   h(x) = sigmoid(ln p_m(x) − ln p_n(x) − ln ν) = p_m(x)/(p_m(x) + ν p_n(x))

and minimise the classifier's loss, (1 + ν) times [losses.2]:

    [nce.3]   J = −(1/N) [Σᵢ ln h(xᵢ) + Σⱼ ln(1 − h(eⱼ))]

The derivative of the sigmoid is h (1 − h), that of the logit is g, so ∂h/∂θ = h (1 − h) g, and

    [nce.4]   ∂J/∂θ = −(1/N) [Σᵢ (1 − h(xᵢ)) g(xᵢ) − Σⱼ h(eⱼ) g(eⱼ)]

**Consistent.** The mean of J is that of a classifier's loss, which is least if and only if h is the best classifier:
where p_m(x; θ) = p_d(x) wherever p_n(x) > 0. So θ̂ → θ* for N → ∞, c included, if (Gutmann & Hyvärinen 2012, theorem 2)

    1. p_d belongs to the model, and p_n > 0 wherever p_d > 0;
    2. only θ* gives p_m = p_d wherever p_n > 0, so that the minimum is unique (identifiability);
    3. J tends to its mean uniformly in θ;
    4. I, below, is invertible: no combination of the gₖ is zero wherever p_d p_n > 0.

**How accurate.** Let p_m(x; θ*) = p_d(x). At θ* we have P = ν p_n/(p_d + ν p_n), h = p_d/(p_d + ν p_n), P + h = 1: so
p_d P = ν p_n h. Multiplied by any function F of x and integrated, this turns means over data into such over noise:

    [nce.5]   E_d(P F) = ν E_n(h F)        (theorem)

Step 1, the mean of the gradient. It is −E_d(P g) + ν E_n(h g), so by [nce.5] with F = g

    [nce.6]   E ∂J/∂θ = 0 at θ*        (theorem)

Step 2, the mean of the second derivative. Differentiating [nce.4], with ∂(1 − h)/∂θ = −h P g and ∂h/∂θ = h P g,

    E ∂²J/∂θ² = E_d(P h g gᵀ) + ν E_n(P h g gᵀ) − E_d(P ∂g/∂θ) + ν E_n(h ∂g/∂θ)

The last two cancel by [nce.5], F = ∂g/∂θ; in the second F = P g gᵀ, which makes it E_d(P² g gᵀ). The sum is
E_d(P (h + P) g gᵀ):

    [nce.7]   E ∂²J/∂θ² = I = E_d(P g gᵀ) at θ*

Step 3, the variance of the gradient. The N data are independent, and each adds −(1/N) P g to it, of mean −m/N; the νN
noise samples add (1/N) h g, of mean m/(νN) since ν E_n(h g) = m. So N times the variance is

    [E_d(P² g gᵀ) − m mᵀ] + ν [E_n(h² g gᵀ) − m mᵀ/ν²],    where ν E_n(h² g gᵀ) = E_d(P h g gᵀ) by [nce.5], F = h g gᵀ
    [nce.8]   N Var ∂J/∂θ = E_d(P (P + h) g gᵀ) − (1 + 1/ν) m mᵀ = I − (1 + 1/ν) m mᵀ    (theorem)

Step 4, the sandwich. At θ̂ the gradient is zero. Expand it around θ*, with I for the second derivative, which is near
its mean: 0 ≈ ∂J/∂θ + I (θ̂ − θ*), so θ̂ − θ* ≈ −I⁻¹ ∂J/∂θ, and N Cov θ̂ ≈ I⁻¹ (N Var ∂J/∂θ) I⁻¹. For N → ∞ it tends
to (Gutmann & Hyvärinen 2012, theorem 3)

    [nce.9]   Σ = I⁻¹ − (1 + 1/ν) I⁻¹ m mᵀ I⁻¹        (theorem)

and √N (θ̂ − θ*) becomes Gaussian (central limit theorem). Since the last component of g is 1 [nce.1], m is the last
column of I, and I⁻¹ m that of the identity matrix, e_c = (0, …, 0, 1). Only the constant profits from the second term:

    [nce.10]  Σ = I⁻¹ − (1 + 1/ν) e_c e_cᵀ

For ν → ∞, P → 1 wherever p_n > 0. If that is wherever p_d > 0, I tends to E_d(g gᵀ), whose last row is (E_d g_αᵀ, 1),
and the block of α in its inverse is (Schur complement) the inverse of E_d(g_α g_αᵀ) − E_d g_α E_d g_αᵀ:

    [nce.11]  Σ_αα → Cov_d(g_α)⁻¹        (theorem)

the Cramér–Rao bound of the normalised model, whose score is g_α − E_d g_α. With enough noise, NCE is as good as maximum
likelihood. With noise like the data, p_n = p_d, Σ is (1 + 1/ν) times as large. Which noise is best: `optimal_noise`.

**Noise far from the data.** p_d + ν p_n ≥ 2 √(ν p_d p_n), so that E_d P = ∫ ν p_d p_n/(p_d + ν p_n) dx is at most

    [nce.12]  E_d P ≤ ½ √ν ∫ √(p_d p_n) dx        (theorem)

If the n variables are independent in both, the integral is a product of n factors, each below 1 where the two densities
differ: let none be above some ρ < 1. Let c alone be unknown, g = 1; by [nce.10] (if α is unknown too it is not less, as
(I⁻¹)_cc ≥ 1/I_cc)

    [nce.13]  N Var ĉ → 1/E_d P − (1 + 1/ν)        (theorem)

So the error of the constant grows *exponentially* with the dimension, however near the noise is in each variable. For
data N(0, Id) and noise N(0, 1.5² Id) in n dimensions (Id is the identity matrix) and ν = 1:

    n          2       10      30      60
    E_d P      0.436   0.263   0.089   0.021
    N Var ĉ    0.295   1.80    9.19    45.8

Equal means and covariances do not prevent it where the densities differ otherwise (Lee et al. 2023).

**When the estimate is no density.** NCE never asks whether φ can be integrated. If p_d is in the model and N large, θ̂
is near θ*, and φ can be. If not, θ̂ is the best classifier in the model, judged where the noise is, and φ may grow.
Half the data at −2, half at 2, with unit spread, and noise half as wide as the data: within the noise the data thin out
towards 0, so the Gaussian of the best classifier grows outwards, precision −0.25, and `estimate` warns. (Where ln p_m
is linear in θ, J is convex: no other minimum.) Noise with the data's own moments cannot do this, whatever p_d is:

    [nce.14]  p_m Gaussian, p_n Gaussian with the mean and covariance of p_d: E ∂J/∂θ = 0 at p_m = p_n        (theorem)

for there h = 1/(1 + ν), and E ∂J/∂θ = −ν/(1 + ν) (E_d g − E_n g) = 0, as g holds 1, x and xᵢxⱼ. θ̂ tends to the Gaussian
of maximum likelihood.

>>> import numpy as np
>>> from minissl.goals.densities import gaussian, gaussian_theta
>>> from minissl.tasks.noise import fit_gaussian
>>> x = 0.4 + np.random.default_rng(0).standard_normal((50_000, 1))      # N(0.4, 1)
>>> start = gaussian_theta([0.0], [[2.0]])
>>> found = estimate(gaussian, start, x, fit_gaussian(x), nu=2, rng=1)
>>> print(found.theta.round(1))                                          # Λ = 1, b = 0.4, c* = −½ 0.4² − ½ ln 2π
[ 1.   0.4 -1. ]

Sources: Gutmann & Hyvärinen, AISTATS (2010), and JMLR 13 (2012), 307-361; Lee, Pabbaraju, Sevekari & Risteski, ICLR
(2023), arXiv 2210.00189.
"""

import functools
import math
import warnings
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array
from minissl._checks import (
    check_array,
    check_callable,
    check_count,
    check_density,
    check_model,
    check_number,
    check_positive_definite,
    check_rng,
    check_sampler,
    check_weights,
)
from minissl.goals.densities import gaussian, precision_matrix
from minissl.nn.losses import sigmoid, sigmoid_cross_entropy
from minissl.nn.optimizers import Minimum, lbfgs


def objective(model: Callable, x: Array, e: Array, noise) -> Callable:
    """θ -> (J [nce.3], ∂J/∂θ [nce.4]) on fixed data x (N, n) and noise e (νN, n), for `lbfgs`; ν need not be whole.

    `model` is (θ, x) -> (ln p_m, vjp) as in `densities`. `noise` has a method log_density(x) -> ln p_n, (N,), finite.
    """
    check_callable(model, "model")
    x = check_array(x, "x", ndim=2)
    e = check_array(e, "e", shape=(None, x.shape[1]), like=x)
    both = np.concatenate([x, e])
    log_n = check_array(
        check_density(noise, "noise").log_density(both), "noise.log_density", shape=(len(both),), like=x
    )
    target = np.concatenate([np.ones_like(x[:, :1]), np.zeros_like(e[:, :1])])
    return functools.partial(_objective, model, both, log_n, target, len(e) / len(x))


@np.errstate(under="ignore")  # a sample that is surely data or surely noise pulls with a force of 0
def _objective(model, both, log_n, target, nu, theta):
    log_m, vjp = check_model(model(theta, both), both, log_n.shape)  # [nce.1] ln φ + c
    logit = log_m - log_n - math.log(nu)  # [nce.2] ln p_m − ln p_n − ln ν
    value, delta = sigmoid_cross_entropy(logit[:, None], target)  # a mean over (1 + ν)N samples; J divides by N
    return (1 + nu) * value, vjp((1 + nu) * delta[:, 0])  # [nce.3], [nce.4] −(1/N) [Σᵢ (1 − h) g − Σⱼ h g]


def estimate(
    model: Callable, theta: Array, x: Array, noise, nu: int = 1, *, rng=None, iterations=1000, tolerance=1e-6
) -> Minimum:
    """Noise-contrastive estimate of θ from data x (N, n), started at `theta`, c last: [nce.3] minimised by `lbfgs`.

    νN noise samples are drawn once, by noise.sample(νN, rng). If the Gaussian that is found is no density, a
    RuntimeWarning names the eigenvalue; another says where N J < ln 2: then every sample is classified right, and the
    data do not determine θ.
    """
    x = check_array(x, "x", ndim=2)
    theta = check_array(theta, "theta", ndim=1, like=x)
    e = check_sampler(noise, "noise").sample(check_count(nu, "nu") * len(x), check_rng(rng))
    found = lbfgs(objective(model, x, e, noise), theta, iterations=iterations, tolerance=tolerance)
    if found.value * len(x) < math.log(2):
        warnings.warn(
            f"data and noise are told apart without an error (J = {found.value:.1e}), so that they do not determine "
            "theta; use noise nearer to the data (fit_gaussian), more data, or fewer parameters",
            RuntimeWarning,
            stacklevel=2,
        )
    if model is gaussian:
        least = float(np.linalg.eigvalsh(precision_matrix(found.theta, x.shape[1]))[0])
        if not least > 0:
            warnings.warn(
                f"the precision found has the eigenvalue {least:.3g}: this Gaussian is no density; use noise with the "
                "covariance of the data (fit_gaussian), more data, or another model",
                RuntimeWarning,
                stacklevel=2,
            )
    return found


def parameter_scores(model: Callable, theta: Array, x: Array) -> Array:
    """g, ∂ ln p_m/∂θ at each row of `x`, (N, size), one row at a time: for theory, not for estimation."""
    check_callable(model, "model")
    x = check_array(x, "x", ndim=2)
    one = np.ones_like(x[0, :1])
    return np.stack([model(theta, row[None])[1](one) for row in x])


def information(g: Array, weights: Array) -> Array:
    """I = E_d(P g gᵀ) [nce.7], (size, size), from g at nodes and weights P p_d × cell volume; it must be invertible."""
    g = check_array(g, "g", ndim=2)
    weights = check_array(weights, "weights", shape=(len(g),), like=g)
    words = "an information matrix that is invertible: more rows of x, or fewer parameters"
    return check_positive_definite((g * weights[:, None]).T @ g, "x", words)  # [nce.7] E_d(P g gᵀ)


@np.errstate(under="ignore")
def asymptotic_covariance(model: Callable, theta: Array, x: Array, noise, nu: float, weights=None) -> Array:
    """Σ [nce.10], (size, size): from N data and νN noise samples, θ̂ has the covariance Σ/N for large N.

    `theta` are the true parameters. E_d is a mean over the rows of x: samples of p_d (Monte Carlo), or nodes of a
    quadrature with `weights`, p_d times the volume of the cell, which sum to one.
    """
    check_callable(model, "model")
    x = check_array(x, "x", ndim=2)
    nu = check_number(nu, "nu", low=0, open_low=True)
    weights = np.full_like(x[:, 0], 1 / len(x)) if weights is None else check_weights(weights, "weights", x)
    log_n = check_array(check_density(noise, "noise").log_density(x), "noise.log_density", shape=(len(x),), like=x)
    log_m, _ = check_model(model(theta, x), x, log_n.shape)
    P = sigmoid(math.log(nu) + log_n - log_m)  # [nce.2] 1 − h = ν p_n/(p_d + ν p_n)
    Sigma = np.linalg.inv(information(parameter_scores(model, theta, x), weights * P))
    Sigma[-1, -1] -= 1 + 1 / nu  # [nce.10] I⁻¹ − (1 + 1/ν) e_c e_cᵀ
    return Sigma
