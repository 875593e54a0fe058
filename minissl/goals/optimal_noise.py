"""The best noise for noise-contrastive estimation: the density of noise for which the parameters' error is least.

Read `nce` first. Noise like the data seems natural, since it is the hardest to tell from the data. It is not the best
(Chehab, Gramfort & Hyvärinen 2022).

    symbol    in code      meaning                                                            shape
    ν         nu           noise samples per data point                                       number > 0
    r(x)      r            p_n/p_d, the density of the noise in units of the data's; E r = 1  (N,)
    P(x)      P            νr/(1 + νr), probability that x is noise                           (N,)
    g(x)      g            ∂ ln p_m/∂θ at the true θ, p_m = p_d                               (N, size)
    E         weights      mean over p_d: a sum over N nodes of a quadrature
    I         information  E(P g gᵀ)                                                          (size, size)
    Σ                      I⁻¹ − (1 + 1/ν) e_c e_cᵀ, N times the covariance of θ̂ [nce.10]     (size, size)
    q(x)      q            ‖I⁻¹g‖²/(1 + νr)²: what noise at x is worth                        (N,)
    κ                      a number that makes E r = 1                                        number

The sum of the mean squared errors of all parameters is tr Σ/N, and tr Σ = tr I⁻¹ − (1 + 1/ν): the noise acts through I
alone. I is a mean over p_d, so noise where p_d = 0 would be wasted; let there be none. (This sum depends on the units
of the parameters; another parametrisation has another best noise.)

**What noise at x is worth.** Change r by dr, with E dr = 0. Then dP = ν dr/(1 + νr)², and dI⁻¹ = −I⁻¹ dI I⁻¹, so
d tr I⁻¹ = −tr(I⁻¹ E(dP g gᵀ) I⁻¹) = −E(dP ‖I⁻¹g‖²):

    [optimal_noise.1]   d tr Σ = −ν E(q dr),    q = ‖I⁻¹g‖²/(1 + νr)²

At a minimum nothing is gained by moving noise from one x to another: q has one value, call it 1/κ², at every x that has
noise, and is no larger where there is none (Karush, Kuhn & Tucker). Solved for r,

    [optimal_noise.2]   r = max(κ‖I⁻¹g‖ − 1, 0)/ν,    so 1 + νr = κ‖I⁻¹g‖ where r > 0      (theorem)

with I made from this r itself. That this holds for every ν is this project's own remark; limits are Chehab, Gramfort &
Hyvärinen's, such as r proportional to ‖I⁻¹g‖ with I = E(g gᵀ) for ν → ∞. If c alone is unknown, g = 1, then r = 1:
noise like the data is the best there, whatever ν.

**What is stationary is least**, for tr I⁻¹ is a convex function of r: P is concave in r, and tr I⁻¹ is convex in I and
falls where I grows (in the order of symmetric matrices). So a tangent lies below it: for any other noise r̃, by
[optimal_noise.1], tr Σ(r̃) ≥ tr Σ(r) − ν E(q (r̃ − r)), and E(q r̃) ≤ max q:

    [optimal_noise.3]   tr Σ − min tr Σ ≤ ν [max q − E(q r)]

This is zero under [optimal_noise.2], and a certificate for every r that is found. Convexity does not say that there is
a minimum. There is one if E‖g‖² < ∞ and I is invertible for some r: the P of better and better noises, between 0 and 1,
have a weak limit; I tends to the I of that limit, as g gᵀ can be integrated; and for it νE r = E P/(1 − P) is at most
ν, as P/(1 − P) is convex.

**To find it**, split the problem in two. Among all vectors v(x) with E(v gᵀ) = Id, the identity matrix, v = P I⁻¹g
makes E(‖v‖²/P) least, and the least value is tr I⁻¹ (Gauss & Markov): let v = P I⁻¹g + u, then E(u gᵀ) = 0, the mixed
term 2E(uᵀI⁻¹g) = 2 tr(I⁻¹ E(g uᵀ)) is zero, and E(‖u‖²/P) only adds. So

    min over r of tr I⁻¹ = min over r and v of E(‖v‖²/P),    1/P = 1 + 1/(νr)

For a fixed v, E(‖v‖²/r) is least, under E r = 1, at r = ‖v‖/E‖v‖ (Cauchy–Schwarz: (E‖v‖)² ≤ E(‖v‖²/r) E r). Minimise in
turn over v and over r:

    [optimal_noise.4]   r ← P‖I⁻¹g‖/E(P‖I⁻¹g‖)

No turn raises tr Σ. Where it rests, 1 + νr = ν‖I⁻¹g‖/E(P‖I⁻¹g‖) wherever r > 0. The fewer noise samples, the slower:
in the example 4 turns for ν = 10, 19 for ν = 1, some 2,900 for ν = 0.05.

>>> import numpy as np
>>> from minissl.goals.densities import gaussian, gaussian_theta
>>> theta = gaussian_theta([0.0], [[1.0]])                         # data N(0, 1); Λ, b and c are estimated
>>> x = np.linspace(-9, 9, 181)[:, None]
>>> weights = 0.1 * np.exp(gaussian(theta, x)[0])
>>> best = optimal_noise(gaussian, theta, x, nu=1, weights=weights)
>>> print(best.converged, best.ratio[90:121:10].round(2))          # p_n/p_d at 0, 1, 2, 3
True [1.   0.64 2.1  6.59]

Sources: Chehab, Gramfort & Hyvärinen, UAI (2022), arXiv 2203.01110; for c alone also arXiv 2301.09696.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minissl._arrays import Array
from minissl._checks import check_array, check_count, check_number, check_weights
from minissl.goals.nce import information, parameter_scores


class BestNoise(NamedTuple):
    """What `optimal_noise` found."""

    ratio: Array  # r = p_n/p_d at the nodes, (N,)
    excess: float  # tr Σ is at most this far above its minimum [optimal_noise.3]
    iterations: int
    converged: bool


@np.errstate(under="ignore")
def optimal_noise(
    model: Callable, theta: Array, x: Array, nu: float, weights: Array, *, iterations=10_000, tolerance=1e-6
) -> BestNoise:
    """The noise for which tr Σ is least [optimal_noise.2], by iterating [optimal_noise.4] from noise like the data.

    `theta` are the true parameters, x (N, n) the nodes of a quadrature and `weights` (N,) p_d times the volume of their
    cells. Stops when the excess [optimal_noise.3] is at most the share `tolerance` of tr I⁻¹.
    """
    nu = check_number(nu, "nu", low=0, open_low=True)
    x = check_array(x, "x", ndim=2)
    weights = check_weights(weights, "weights", x)
    iterations = check_count(iterations, "iterations")
    tolerance = check_number(tolerance, "tolerance", low=0)
    g = parameter_scores(model, theta, x)
    r = np.ones_like(weights) / weights.sum()
    for turn in range(iterations + 1):
        P = nu * r / (1 + nu * r)
        inverse = np.linalg.inv(information(g, weights * P))
        size = np.linalg.norm(g @ inverse, axis=1)  # ‖I⁻¹g‖
        q = (size / (1 + nu * r)) ** 2  # [optimal_noise.1] ‖I⁻¹g‖²/(1 + νr)²
        excess = float(nu * (q.max() - weights @ (q * r)))  # [optimal_noise.3] ν [max q − E(q r)]
        converged = excess <= tolerance * float(np.trace(inverse))
        if converged or turn == iterations:
            break
        r = P * size / (weights @ (P * size))  # [optimal_noise.4] P‖I⁻¹g‖/E(P‖I⁻¹g‖)
    if not converged:
        warnings.warn(
            f"tr Sigma may be {excess:.2g} above its minimum after {turn} iterations; allow more of them",
            RuntimeWarning,
            stacklevel=3,  # past errstate's own frame
        )
    return BestNoise(r, excess, turn, converged)
