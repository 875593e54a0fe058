"""Independent component analysis (ICA) by FastICA; how to compare what was found with the truth; what ICA cannot do.

The lecture's second goal, to reveal the structure. It is the last step of time-contrastive learning (tasks/time.py).

    symbol       in code        meaning                                                                shape
    x, x̄         x, mean        data, one sample per row; their mean                                   (N, n)
    C, D         -, deviations  covariance of x; the standard deviations of its columns, on a diagonal (n, n), (n, n)
    d², U        variances, U   eigenvalues and eigenvectors of the correlations D⁻¹CD⁻¹               (n,), (n, n)
    V, z         V, z           whitening; white data z = V(x − x̄), with covariance Id, the identity   (n, n), (N, n)
    W, wₖ        W              rotation (WWᵀ = Id); its rows                                          (n, n), (n,)
    B, s         B, s           unmixing matrix W V; components s = B(x − x̄)                           (n, n), (N, n)
    A            -              orthogonal mixing of the white data, z = As, for the true sources s    (n, n)
    G, g, g′     -, g, slope    the function ln cosh; tanh, its derivative; the derivative of tanh     numbers
    ε, γₖ        -              distance of a row of WA from a unit vector; what drives source k       (n,), number
    E            -              mean over the samples                                                  number
    R            R              correlations of true and found components                              (n, m)
    π            order          the matching: source k goes with component π(k)                        (n,)
    F, Φ         -              distribution function of a source, of N(0, 1)                          functions

**Whitening** settles everything that covariances can say. (D is divided out so that units do not matter.)

    [ica.1]   D⁻¹CD⁻¹ = U diag(d²) Uᵀ,    V = U diag(d)⁻¹ Uᵀ D⁻¹,    E zzᵀ = V C Vᵀ = Id

Any rotation of white data is white; the U in front makes V a function of the covariances alone, whatever the signs and
the order of the eigenvectors are.

If s = Wz is to be white, too, then E ssᵀ = WWᵀ = Id: W is a rotation (or a reflection). Which one, covariances do not
say, and for Gaussian data nothing does, as a rotated N(0, Id) is the same. ICA takes the one whose components are as
far from Gaussian as possible, for mixtures of independent variables are as a rule nearer to it than the variables
themselves (as in the central limit theorem).

**FastICA** (Hyvärinen 1999). Measure the distance from Gaussian by E G(w·z) with G = ln cosh, on which outliers have
little influence: it is larger or smaller than for a Gaussian. An extremum over ‖w‖ = 1 has, for a Lagrange multiplier
β, E g(w·z)z − βw = 0 with g = G′ = tanh. The derivative of this in w is E g′(w·z)zzᵀ − β Id. At a source, w·z is
independent of the components of z orthogonal to w; on these the derivative is E g′(w·z) Id − β Id, as E zzᵀ = Id.
(Along w it is not; but a step along w changes the length only, which is 1 anyway.) With this for all directions,
Newton's step

    w − [E g(w·z)z − βw]/[E g′(w·z) − β] = [E g(w·z)z − E g′(w·z) w]/[β − E g′(w·z)]

needs no β, for the length of w is 1. All rows at once, and after each step the nearest rotation (Procrustes), by the
singular value decomposition:

    [ica.2]   W⁺ = E g(s)zᵀ − diag(E g′(s)) W,   s = Wz;      W ← (W⁺W⁺ᵀ)^(−½) W⁺ = PQᵀ,   W⁺ = PΣQᵀ

if W⁺ is invertible. It stops where no wₖ turns any more, up to its sign: maxₖ 1 − |wₖ·wₖ′| ≤ tolerance, where wₖ and
wₖ′ are row k of W before and after the step.

*Why it finds the sources, and fast.* Let z = As with independent sources of mean 0 and variance 1. So AAᵀ = E zzᵀ = Id
and zᵀA = sᵀ. Let wₖᵀA = eₖᵀ + εᵀ with a small ε, εₖ = 0 (to first order, as the length is 1), so that
wₖ·z = sₖ + Σⱼ εⱼsⱼ. Of wₖ⁺ᵀA, component l ≠ k is

    E sₗ g(sₖ + Σⱼ εⱼsⱼ) − E g′(wₖ·z) εₗ = E sₗ g(sₖ) + Σⱼ εⱼ E sₗsⱼ g′(sₖ) − E g′(sₖ) εₗ + O(ε²)

The first term is 0, for E sₗ = 0; of the sum only εₗ E g′(sₖ) is left, for E sₗ² = 1. So the first order cancels:

    [ica.3]   wₖ⁺ᵀA = γₖ eₖᵀ + O(ε²),    γₖ = E sₖg(sₖ) − E g′(sₖ)      (theorem)

The rotation nearest to W⁺ is as near to the sources. So the error is squared in each step, whatever the smooth g and
the sources are, if γₖ ≠ 0 for all k but one, which is then the one direction orthogonal to the others. A Gaussian
source has γ = 0 (integration by parts), so at most one may be Gaussian. As a rule γ < 0 for super-Gaussian and γ > 0
for sub-Gaussian sources; both kinds are found. Maximum likelihood with a fixed density of the sources does not separate
two of the other kind [densities.5].

The theorem is local. Now and then the search ends elsewhere, at a rotation of less contrast. So start it several times,
and keep the result whose components are farthest from a normal variable ν:

    [ica.4]   contrast = Σₖ |E G(sₖ) − E G(ν)|,    E G(ν) = 0.374567…

>>> rng = np.random.default_rng(0)
>>> s = np.column_stack([rng.laplace(size=5000), rng.uniform(-1, 1, size=5000)])
>>> x = s @ np.array([[1.0, 0.5], [-0.3, 0.8]])  # mixed
>>> found = fast_ica(x, rng=0)
>>> print(found.converged, round(mean_correlation(s, found(x)), 2), round(mean_correlation(s, x), 2))
True 1.0 0.76

**Was the truth found?** Order, sign and scale of the components cannot be known. So match them one to one, such that
the absolute correlations are as large as possible together (linear assignment problem), and take their mean:

    [ica.5]   mean correlation = max_π (1/n) Σₖ |R_{kπ(k)}|,    π one to one;  R of a constant component: 0

**What it cannot do.** Let x = f(s) with any invertible f. Independence does not determine f, not even up to a function
of each component (Hyvärinen & Pajunen 1999). Make each source Gaussian, rotate, and give each its distribution back:

    [ica.6]   s̃ₖ = Fₖ⁻¹(Φ(rₖ)),    r = (rotation)(Φ⁻¹(F₁(s₁)), Φ⁻¹(F₂(s₂)), …)

If the Fₖ are continuous, Φ⁻¹(Fₖ(sₖ)) is N(0, 1). A rotated N(0, Id) is N(0, Id), so that the s̃ₖ are independent as the
sₖ are, and of the same distributions; but each is a function of several sources. From x alone the two solutions cannot
be told apart, nor can infinitely many others, one for each rotation: no test for independence helps. What breaks the
tie is time (tasks/time.py).

Sources: Hyvärinen, IEEE Transactions on Neural Networks 10 (1999), 626-634; Hyvärinen & Pajunen, Neural Networks 12
(1999), 429-439; Hyvärinen, Karhunen & Oja, Independent Component Analysis (2001), chapter 8.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtri

from minissl._arrays import Array, on_host
from minissl._checks import (
    check_array,
    check_count,
    check_found,
    check_full_rank,
    check_number,
    check_rng,
    check_samples,
)
from minissl.nn.losses import softplus

GAUSSIAN = 0.37456720749143803  # E ln cosh(ν) for ν ~ N(0, 1) [ica.4]


class ICA(NamedTuple):
    """What `fast_ica` found; a function of data (N, n) that returns its components s, of unit variance, (N, n)."""

    B: Array  # (n, n)
    mean: Array  # (n,)
    contrast: float
    iterations: int
    converged: bool

    def __call__(self, x: Array) -> Array:
        x = check_array(x, "x", shape=(None, len(self.B)), like=self.B)
        return (x - self.mean) @ self.B.T


@np.errstate(under="ignore")
def fast_ica(x: Array, rng=None, iterations: int = 200, tolerance: float = 1e-8) -> ICA:
    """Independent components of data (N, n) by FastICA [ica.1, ica.2], all at once, computed in float64.

    `rng` draws the rotation to start from; of several starts, that of the largest `contrast` is the best [ica.4]. A
    RuntimeWarning says so if it does not converge.
    """
    x = check_full_rank(check_samples(x, "x"), "x")
    iterations = check_count(iterations, "iterations")
    tolerance = check_number(tolerance, "tolerance", low=0, open_low=True)
    N, n = x.shape
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    deviations = np.sqrt((centred * centred).mean(axis=0))
    variances, U = np.linalg.eigh((centred / deviations).T @ (centred / deviations) / N)  # d², U
    V = U / np.sqrt(variances) @ U.T / deviations  # [ica.1] U diag(d)⁻¹ Uᵀ D⁻¹
    z = centred @ V.T
    W = _nearest_rotation(np.asarray(check_rng(rng).standard_normal((n, n)), like=z))
    for iteration in range(1, iterations + 1):  # noqa: B007
        before = W
        W = _nearest_rotation(_step(W, z))
        turn = float((1 - abs((W * before).sum(axis=1))).max())
        if turn <= tolerance:
            break
    else:
        warnings.warn(
            f"fast_ica: after {iterations} iterations a component still turns by 1 − |cos| = {turn:.1e}, more than "
            f"{tolerance:.1e}; try another rng, more samples, or fewer components: two may be Gaussian",
            RuntimeWarning,
            stacklevel=2,
        )
    B = W @ V
    s = z @ W.T
    G = softplus(2 * s) - s - math.log(2)  # ln cosh s = ln ½(eˢ + e⁻ˢ) = ln(1 + e²ˢ) − s − ln 2
    contrast = float(abs(G.mean(axis=0) - GAUSSIAN).sum())  # [ica.4] Σₖ |E G(sₖ) − E G(ν)|
    return ICA(B.astype(x.dtype), mean.astype(x.dtype), contrast, iteration, turn <= tolerance)


def _step(W, z):
    g = np.tanh(z @ W.T)
    slope = 1 - np.einsum("ik,ik->k", g, g) / len(z)  # E g′(sₖ) = 1 − E tanh² sₖ
    return g.T @ z / len(z) - slope[:, None] * W  # [ica.2] W⁺ = E g(s)zᵀ − diag(E g′(s)) W


def _nearest_rotation(W):
    P, _, Qt = np.linalg.svd(W)
    return P @ Qt  # [ica.2] PQᵀ


def match_components(s: Array, found: Array) -> tuple[np.ndarray, np.ndarray]:
    """For each source, a column of s (N, n), which column of `found` (N, m), m ≥ n, goes with it; their correlations.

    Both (n,), the correlations with their signs: (found[:, order] * np.sign(correlations)) may be drawn over s [ica.5].
    """
    s, found = check_found(s, found)
    R = on_host(_standardised(s).T @ _standardised(found)) / len(s)
    k, order = linear_sum_assignment(-abs(R))  # [ica.5] max_π Σₖ |R_{kπ(k)}|
    return order, R[k, order]


def mean_correlation(s: Array, found: Array) -> float:
    """Mean absolute correlation of matched components [ica.5]: 1 if all of s was found, up to sign and scale."""
    return float(abs(match_components(s, found)[1]).mean())


def _standardised(x):
    """Each column with mean 0 and variance 1; zeros where it does not vary."""
    centred = x - x.mean(axis=0, dtype=np.float64)
    centred = centred / np.where(x.max(axis=0) > x.min(axis=0), abs(centred).max(axis=0), np.inf)
    deviation = np.sqrt((centred * centred).mean(axis=0))
    return centred / np.where(deviation > 0, deviation, 1)


def gaussianize_and_rotate(s: Array, angle: float) -> Array:
    """Another solution of nonlinear ICA [ica.6]: two sources (N, 2) -> two others, independent, of the same values.

    `angle` in radians; F and Φ⁻¹ by ranks, so that each column is a new order of the same numbers.
    """
    s = check_array(s, "s", shape=(None, 2))
    angle = check_number(angle, "angle")
    N = len(s)
    values = np.sort(s, axis=0)
    quantiles = np.asarray(ndtri((np.arange(N) + 0.5) / N), like=s)
    gaussian = quantiles[_ranks(s)]  # [ica.6] Φ⁻¹(Fₖ(sₖ))
    rotation = np.asarray([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], like=s)
    r = gaussian @ rotation.T
    return np.take_along_axis(values, _ranks(r), axis=0)  # [ica.6] Fₖ⁻¹(Φ(rₖ))


def _ranks(x):
    """For each entry how many of its column come before it, 0 … N−1."""
    return x.argsort(axis=0).argsort(axis=0)
