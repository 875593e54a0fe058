"""Two views without negative pairs: bring partners together, and keep the embedding from collapsing to a point.

The task is `two_views`; the losses here compare a view with its partner alone, never with another sample's views.

    symbol        in code            meaning                                                          shape
    Y             output             embeddings of two views of each sample                           (2N, m)
    T             output[target]     row by row, the embeddings of their partners                     (2N, m)
    Z, Z′         Z1, Z2             rows zᵢ, those of the first views; rows z′ᵢ, their partners      (N, m) each
    y             y                  centred: zᵢⱼ less the mean of its column j                       (N, m)
    C             C                  covariance yᵀy/N; or correlation of Z with Z′                    (m, m)
    diag C                           the diagonal matrix of the Cⱼⱼ                                   (m, m)
    [s < 1]       deviation < 1      1 where s < 1, else 0                                            (m,)
    s, ẑ          deviation, Y1      standard deviation √(Cⱼⱼ + ε) with ε = 10⁻⁴; standardised: y/s   (m,), (N, m)
    λ, μ, κ       invariance, …      weights of the parts of a loss                                   numbers
    G             G1, G2             gradient in the standardised ẑ                                   (N, m)
    A             A_T is Aᵀ          the best linear predictor of T from Y                            (m, m)
    R, R̃          R, R[target]       what it leaves, Y Aᵀ − T; the same with partners exchanged        (2N, m)
    W, b          (of the network)   a layer's weights and biases                                     (n_in, n_out)
    Δ             delta              what a loss returns as its gradient in Y                         (2N, m)
    ρₖ                               canonical correlations of the views [cca.2]                      numbers

If partners are brought together and nothing else is asked, all of the data go to one point: *collapse*. By [views.15] a
term for orthogonal components of unit size, ‖E zzᵀ − Id‖², does what negative pairs do. The first two losses have such
a term each, for centred components. The third prevents collapse by a step that is not along the gradient of its loss.

**VICReg** (Bardes, Ponce & LeCun 2022): variance, invariance, covariance. For one view, with [u]₊ = max(u, 0),

    [noncontrastive.1]   J = (λ/N) Σᵢ ‖zᵢ − z′ᵢ‖² + V(Z) + V(Z′),    V(Z) = (μ/2) Σⱼ [1 − sⱼ]₊ + κ Σⱼ≠ₖ Cⱼₖ²

Each component should vary, s ≥ 1, and no two alike. This is m times the loss of the authors' program, except that
variances there have N − 1 in place of N. dC = (dyᵀy + yᵀdy)/N, and dsⱼ = Σᵢ yᵢⱼ dyᵢⱼ/(N sⱼ), so that

    [noncontrastive.2]   ∂V/∂Z = −(μ/2N) y ⊙ [s < 1]/s + (4κ/N) y (C − diag C)

This is the gradient in y. It is also that in Z: dy is dz less its mean over the samples, and that mean does not count,
as the means of this gradient are zero, like those of y.

**Barlow Twins** (Zbontar et al. 2021): the correlation matrix of the two views should be the identity.

    [noncontrastive.3]   J = Σⱼ (1 − Cⱼⱼ)² + λ Σⱼ≠ₖ Cⱼₖ²,    C = Ẑᵀ Ẑ′/N,    ẑ = y/s
                         G = ∂J/∂Ẑ = Ẑ′ (∂J/∂C)ᵀ/N,    G′ = ∂J/∂Ẑ′ = Ẑ ∂J/∂C/N

Back through the standardisation: dẑ = dy/s − y ds/s² with ds as above. As before, centring makes no difference, since
the means of G and of ẑ over the samples are zero, so

    [noncontrastive.4]   ∂J/∂z = (G − ẑ ⊙ mean(G ⊙ ẑ))/s    (mean over the samples)

*It is not canonical correlation analysis*, though for a linear network both depend on the views' correlations alone,
and C = diag(ρ₁ … ρ_m) at the canonical variates. Let m = 2. If *both* components are the first variate, all of C is ρ₁:

    [noncontrastive.5]   J = 2 (1 − ρ₁)² + 2λ ρ₁²,  and (1 − ρ₁)² + (1 − ρ₂)² for the first two variates      (theorem)

For small λ, such as the authors' 0.005, the former is less unless ρ₁ and ρ₂ are near to one another: redundancy pays.

**SimSiam** (Chen & He 2021) **and BYOL** (Grill et al. 2020) have no such term. A predictor is to find one view's
embedding from the other's. Here it is the best linear one there is in the batch:

    [noncontrastive.6]   J = (1/2N) ‖R‖²,    R = Y Aᵀ − T,    where RᵀY = 0    (the normal equations for A)

As ∂J/∂A = 0, ∂J/∂Y is that for constant A. T is Y with partners exchanged, so dR = dY Aᵀ − dT, and ⟨dT, R⟩ = ⟨dY, R̃⟩:

    [noncontrastive.7]   ∂J/∂Y = (1/N) (R A − R̃),    ⟨Y, ∂J/∂Y⟩ = (1/N) ⟨Y Aᵀ − T, R⟩ = 2J

The last layer is Y = HW + 1bᵀ, linear in (W, b): ⟨W, ∂J/∂W⟩ + ⟨b, ∂J/∂b⟩ = ⟨Y, ∂J/∂Y⟩ [mlp.2]. So along the gradient
flow dW/dt = −∂J/∂W, db/dt = −∂J/∂b, ‖W‖² + ‖b‖² changes at the rate −4J: it can only fall while J > 0. (In a linear
network without b, so does each layer's ‖W‖².) Both papers hold the target fixed (*stop-gradient*): they take T for a
constant (in BYOL, that of a moving average of the network), and follow what is no gradient of J:

    [noncontrastive.8]   Δ = (1/N) R A,    and YᵀΔ = (1/N) (RᵀY)ᵀA = 0

For a linear network without b, Y = xW, this is Wᵀ(xᵀΔ) = 0: under dW/dt = −xᵀΔ, WᵀW stays as it is. Nothing shrinks and
no rank is lost, although J has its least value, zero, at Y = 0 (Tang et al. 2023). In the papers the networks are
nonlinear, with normalisation and weight decay, and the predictor is a network that is not always the best one.

>>> rng = np.random.default_rng(0)
>>> x = rng.standard_normal((100, 3))
>>> views = np.concatenate([x, x + 0.5 * rng.standard_normal((100, 3))])
>>> W, target = np.eye(3), np.roll(np.arange(200), 100)
>>> for held in (True, False):
...     J, delta = simsiam(held)(views @ W, target)
...     dW = views.T @ delta  # [mlp.2]
...     print(abs(W.T @ dW).max() < 1e-12, np.isclose((W * dW).sum(), 2 * J))
True False
False True

Sources: Bardes, Ponce & LeCun, ICLR (2022); Zbontar, Jing, Misra, LeCun & Deny, ICML (2021); Chen & He, CVPR (2021);
Grill et al., NeurIPS (2020); Tian, Chen & Ganguli, ICML (2021); Tang et al., ICML (2023).
"""

import functools

import numpy as np

from minissl._arrays import Loss
from minissl._checks import check_number, check_partners
from minissl.tasks.views import _join, _split

EPSILON = 1e-4  # added to each variance, so that a component that does not vary has a gradient


def vicreg(invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Loss:
    """Distance of partners; a standard deviation of at least 1; no covariance [noncontrastive.1]. Weights λ, μ, κ."""
    weights = ("invariance", invariance), ("variance", variance), ("covariance", covariance)
    return functools.partial(_vicreg, *(check_number(value, name, low=0, high=1e6) for name, value in weights))


@np.errstate(under="ignore")
def _vicreg(invariance, variance, covariance, output, target):
    output, _, partner = check_partners(output, target)
    Z1, Z2 = _split(output, partner)
    V1, dV1 = _spread(Z1, variance, covariance)
    V2, dV2 = _spread(Z2, variance, covariance)
    difference = Z1 - Z2
    value = invariance / len(Z1) * (difference * difference).sum()  # [noncontrastive.1] (λ/N) Σᵢ ‖zᵢ − z′ᵢ‖²
    dZ = 2 * invariance / len(Z1) * difference
    return value + V1 + V2, _join(dZ + dV1, dV2 - dZ, partner)


def _spread(Z, variance, covariance):
    """V(Z) [noncontrastive.1] and its gradient [noncontrastive.2]."""
    N = len(Z)
    y = Z - Z.mean(axis=0)
    C = y.T @ y / N
    deviation = np.sqrt(C.diagonal() + EPSILON)
    C = C * (1 - np.identity(len(C), dtype=C.dtype, like=C))  # C − diag C
    V = variance / 2 * np.maximum(1 - deviation, 0).sum() + covariance * (C * C).sum()  # [noncontrastive.1] V(Z)
    dV = -variance / (2 * N) * y * (deviation < 1) / deviation  # [noncontrastive.2] −(μ/2N) y ⊙ [s < 1]/s
    return V, dV + 4 * covariance / N * (y @ C)  # [noncontrastive.2] (4κ/N) y (C − diag C)


def barlow_twins(redundancy: float = 0.005) -> Loss:
    """Squared distance of the views' correlation matrix from the identity [noncontrastive.3].

    `redundancy` is λ, the weight of what is not on its diagonal.
    """
    return functools.partial(_barlow_twins, check_number(redundancy, "redundancy", low=0, high=1e6))


@np.errstate(under="ignore")
def _barlow_twins(redundancy, output, target):
    output, _, partner = check_partners(output, target)
    (Y1, s1), (Y2, s2) = map(_standardised, _split(output, partner))
    C = Y1.T @ Y2 / len(Y1)
    error = C - np.identity(len(C), dtype=C.dtype, like=C)
    weight = redundancy + (1 - redundancy) * np.identity(len(C), dtype=C.dtype, like=C)
    value = (weight * error * error).sum()  # [noncontrastive.3] Σⱼ (1 − Cⱼⱼ)² + λ Σⱼ≠ₖ Cⱼₖ²
    dC = 2 * weight * error
    G1, G2 = Y2 @ dC.T / len(Y1), Y1 @ dC / len(Y1)
    return value, _join(_through_standardised(G1, Y1, s1), _through_standardised(G2, Y2, s2), partner)


def _standardised(Z):
    """Ẑ and the standard deviations by which it was divided."""
    y = Z - Z.mean(axis=0)
    deviation = np.sqrt((y * y).mean(axis=0) + EPSILON)
    return y / deviation, deviation


def _through_standardised(G, Y, deviation):
    """The gradient in z of what has the gradient G, of mean zero, in ẑ; Y holds the ẑ."""
    return (G - Y * (G * Y).mean(axis=0)) / deviation  # [noncontrastive.4] (G − ẑ ⊙ mean(G ⊙ ẑ))/s


def simsiam(hold_target: bool = True) -> Loss:
    """Error of the best linear prediction of each embedding from its partner's [noncontrastive.6].

    With `hold_target` the second result is not the gradient of the first: the target counts as a constant. The batch
    should have more samples than the embedding has components, or the prediction is perfect whatever they are.
    """
    return functools.partial(_simsiam, bool(hold_target))


@np.errstate(under="ignore")
def _simsiam(hold_target, output, target):
    output, target, _ = check_partners(output, target)
    A_T = np.linalg.pinv(output) @ output[target]
    R = output @ A_T - output[target]  # [noncontrastive.6] Y Aᵀ − T
    value = (R * R).sum() / len(R)  # [noncontrastive.6] (1/2N) ‖R‖²
    delta = 2 / len(R) * R @ A_T.T  # [noncontrastive.8] (1/N) R A
    if not hold_target:
        delta = delta - 2 / len(R) * R[target]  # [noncontrastive.7] (1/N) (R A − R̃)
    return value, delta
