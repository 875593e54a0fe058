"""Autoencoders: regression from the data, intact or corrupted, to the same data, with obstacles to the identity.

    symbol      in code         meaning                                                       shape
    x           x, target       data, one sample per row                                      (N, n)
    x̃           input           input of the network: x, intact or corrupted                  (N, n)
    r(x̃)        net(input)      output of the network, the reconstruction                     (N, n)
    w           weight          weight of each component in the loss, 1 if not given          (N, n)
    H, φ        H               a hidden layer of m units; their activation function [mlp.1]  (N, m)
    β, P        weight, –       weight of the penalty; the penalty on H                       numbers
    ρ, ρⱼ       rho, mean       desired mean activation; that of unit j over the samples      number, (m,)
    b, vⱼ                       of a linear decoder r = b + Σⱼ Hⱼ vⱼ: biases, row j           (n,)
    σ, z        sigma           standard deviation of the noise; noise from N(0, I)           number, (N, n)
    p_d, p_σ                    density of x; density of x̃ = x + σz                           functions
    s(x̃)        score(…)        score of p_σ, as the network estimates it                     (N, n)
    M, p, a     M, p, fill      mask, 0 where masked; probability of that; what stands there  (N, n), numbers
    ⊙                           product entry by entry

All cases minimise one loss [losses.1]; the expectation is over the data and the corruption:

    [autoencoder.1]   J = E Σⱼ wⱼ (r(x̃)ⱼ − xⱼ)²

Let w = 1 and E‖x‖² < ∞, and call r*(x̃) = E(x | x̃). The difference r(x̃) − r*(x̃) depends on x̃ alone, and r*(x̃) − x has
mean zero for each x̃. So the two are orthogonal, E⟨r − r*, r* − x⟩ = E⟨r − r*, E(r* − x | x̃)⟩ = 0, and by Pythagoras

    [autoencoder.2]   E‖r(x̃) − x‖² = E‖r(x̃) − r*(x̃)‖² + E‖r*(x̃) − x‖²,    r*(x̃) = E(x | x̃)    (theorem)

The last term is the same for every r; call it J*. To reduce J is to approach r*. (With weights, component by component,
r*ⱼ = E(wⱼ xⱼ | x̃)/E(wⱼ | x̃).) Where nothing is corrupted, x̃ = x, r* is the identity, which says nothing about the data.
The lecture puts three kinds of obstacle in its way.

**Case 1: a bottleneck**, a hidden layer of m < n units. By the chain rule the Jacobian of r is the product of an (n, m)
matrix, the decoder's, and an (m, n) matrix, the encoder's:

    [autoencoder.3]   rank ∂r/∂x ≤ m < n    wherever r is differentiable (for relu, almost everywhere)    (theorem)

The identity has rank n, so r is not the identity on any open set of ℝⁿ. It can still be the identity on some sets of
dimension m or less: one unit suffices for the curve x₂ = |x₁| (for a circle it does not). What a bottleneck forbids is
the identity *off* the data. A linear one is principal component analysis (linear/pca.py).

**Case 2: sparsity**, a penalty P on a hidden layer, added to J; m may exceed n. Either absolute values ("L1"),

    [autoencoder.4]   P = (β/N) Σᵢⱼ |Hᵢⱼ|,    ∂P/∂Hᵢⱼ = (β/N) sign Hᵢⱼ

or, for units in (0, 1), the Kullback–Leibler divergence KL(ρ, ρⱼ) of a unit that is on with probability ρ from one that
is on with probability ρⱼ. Since ∂ρⱼ/∂Hᵢⱼ = 1/N,

    [autoencoder.5]   P = β Σⱼ KL(ρ, ρⱼ) = β Σⱼ [ρ ln(ρ/ρⱼ) + (1 − ρ) ln((1 − ρ)/(1 − ρⱼ))],    ρⱼ = (1/N) Σᵢ Hᵢⱼ
                      ∂P/∂Hᵢⱼ = (β/N) [(1 − ρ)/(1 − ρⱼ) − ρ/ρⱼ]

This one is no mean over samples, so the objective depends on the batch size: ρⱼ over a batch of N independent samples
has mean EHⱼ and variance Var(Hⱼ)/N, and KL is convex in ρⱼ, with second derivative ρ/ρⱼ² + (1 − ρ)/(1 − ρⱼ)². By
Taylor's theorem to second order, the mean of P over batches exceeds the penalty on EHⱼ itself (for units that stay away
from 0 and 1):

    [autoencoder.6]   E P − β Σⱼ KL(ρ, EHⱼ) = (β/2N) Σⱼ [ρ/(EHⱼ)² + (1 − ρ)/(1 − EHⱼ)²] Var(Hⱼ) + O(1/N²)    (theorem)

Neither penalty depends on the decoder, and a decoder with large weights evades both. Let Q be an (m, n) matrix with
QᵀQ = I (so m ≥ n), t a number and ε a small one. Let the encoder be H = φ(t + εQx) with φ′(t) ≠ 0, and let the decoder
undo it to first order in ε:

    [autoencoder.7]   Hⱼ = φ(t) + O(ε),    r(x) = Qᵀ (H − φ(t))/(ε φ′(t)) = x + O(ε)    (theorem)

As ε → 0, J tends to 0 and P to its value at H = φ(t): to 0 for tanh and L1 (t = 0); to as little as one likes for the
sigmoid and L1 (t → −∞); to 0 for the sigmoid and KL (t = ln(ρ/(1 − ρ))), where every unit stays at ρ and none is ever
on. Bounded units do not help. What helps is a bound on the decoder's rows. By the triangle inequality for r − b =
Σⱼ Hⱼvⱼ and r − Er = Σⱼ (Hⱼ − EHⱼ)vⱼ, with A = maxⱼ‖vⱼ‖,

    [autoencoder.8]   E‖r − b‖ ≤ A E Σⱼ|Hⱼ|,    E‖r − Er‖ ≤ A Σⱼ E|Hⱼ − EHⱼ| ≤ 2A Σⱼ EHⱼ (1 − EHⱼ)    (theorem)

So with L1, E P ≥ (β/A) E‖r − b‖: an output far from b costs. With KL, if all EHⱼ = ρ, the output moves by at most
2Amρ(1 − ρ) on average. The last inequality is for units in [0, 1], where |h − q| is convex in h and so at most its
chord, (1 − h) q + h (1 − q); take the mean for q = EHⱼ. It is an equality for units that are either on or off: of all
units of a given mean activation, those can move the output most. To keep A ≤ 1, divide longer rows by their lengths
between the epochs of `train_epochs`.

**Case 3a: noise.** The input is

    [autoencoder.9]   x̃ = x + σz

Write N(x̃; x, σ²I) for the density at x̃ of the normal distribution with mean x and covariance σ²I. The density of x̃ is
p_σ(x̃) = ∫ p_d(x) N(x̃; x, σ²I) dx. As a function of x̃, N(x̃; x, σ²I) ∝ exp(−‖x̃ − x‖²/(2σ²)) has the gradient
∇N(x̃; x, σ²I) = N(x̃; x, σ²I) (x − x̃)/σ². It is bounded, so that gradient and integral may be exchanged:

    ∇p_σ(x̃) = ∫ p_d(x) N(x̃; x, σ²I) (x − x̃)/σ² dx

By Bayes' rule, p_d(x) N(x̃; x, σ²I)/p_σ(x̃) is the density of x given x̃. So divided by p_σ(x̃) the left side is
∇p_σ/p_σ = ∇ln p_σ(x̃), the *score* of p_σ, and the right side is E(x − x̃ | x̃)/σ²:

    [autoencoder.10]   s(x̃) = (r(x̃) − x̃)/σ²,    and for r = r*:  s(x̃) = ∇ln p_σ(x̃)    (Tweedie's formula)

It holds for every distribution of x, with a density or without, and for every σ > 0, but it is the density of the noisy
x̃ whose score it gives. It reads r*(x̃) = x̃ + σ² ∇ln p_σ(x̃), whose derivative is I + σ² ∂²ln p_σ/∂x̃². For another form of
this derivative, differentiate r*(x̃) = ∫ x p_d(x) N(x̃; x, σ²I) dx / p_σ(x̃) by the quotient rule:
∂r*ᵢ/∂x̃ⱼ = E(xᵢ (xⱼ − x̃ⱼ) | x̃)/σ² − E(xᵢ | x̃) E(xⱼ − x̃ⱼ | x̃)/σ². The terms with x̃ⱼ cancel:

    [autoencoder.11]   ∂r*/∂x̃ = I + σ² ∂²ln p_σ/∂x̃² = Cov(x | x̃)/σ²,  symmetric, with eigenvalues ≥ 0    (theorem)

So the best denoiser also says how uncertain it is. For any r, s(x̃) − (x − x̃)/σ² = (r(x̃) − x)/σ²; with [autoencoder.2],
s(x̃) − ∇ln p_σ(x̃) = (r(x̃) − r*(x̃))/σ². So denoising fits s to the score of the noise, ∇ln N(x̃; x, σ²I) = (x − x̃)/σ², and
by that to the score of p_σ:

    [autoencoder.12]   ½ E‖s(x̃) − (x − x̃)/σ²‖² = J/(2σ⁴)    (theorem: denoising score matching)
    [autoencoder.13]   ½ E‖s(x̃) − ∇ln p_σ(x̃)‖² = (J − J*)/(2σ⁴)    (theorem)

**Case 3b: masking.** Each component, or each block of components, is masked with probability p:

    [autoencoder.14]   x̃ = M ⊙ x + (1 − M) ⊙ a;    w = 1 − M where only masked components count, else w = 1

With w = 1 − M the gradient in the visible outputs is zero: the network learns nothing about them. The best linear r for
noise and for masks is in linear/wiener.py.

**Case 3c: colour.** A pixel is three numbers; the input is its luminance (ITU-R BT.601), the target all three:

    [autoencoder.15]   x̃_pixel = 0.299 x_red + 0.587 x_green + 0.114 x_blue

The optimum E(x | x̃) is the mean of the colours that go with these luminances. It is greyer than they are on average:
for the difference d between a colour and its grey, ‖E(d | x̃)‖ ≤ E(‖d‖ | x̃) (Jensen's inequality).

If x is 1 or −1 with equal probabilities, the best denoiser is tanh(x̃/σ²). The score leads to the nearer of the two:

>>> import numpy as np
>>> from minissl.nn.losses import squared_error
>>> x = np.random.default_rng(0).choice([-1.0, 1.0], size=(20000, 1))
>>> input, target = denoise(0.5)(x, rng=1)
>>> best = lambda v: np.tanh(v / 0.5**2)
>>> for r in (lambda v: v, best):  # the identity pays σ² = 0.25
...     print(round(float(squared_error(r(input), target)[0]), 2))
0.25
0.07
>>> print(score(best, [[-2.0], [-0.5], [0.0], [0.5], [2.0]], sigma=0.5).ravel().round(1))
[ 4.  -1.9  0.   1.9 -4. ]

Sources: Robbins, 3rd Berkeley Symposium 1 (1956), where the formula is credited to Tweedie; Miyasawa, Bull. Inst.
Internat. Statist. 38 (1961); Olshausen & Field, Nature 381 (1996); Vincent et al., ICML (2008); Ng, CS294A lecture
notes "Sparse autoencoder" (2011); Vincent, Neural Computation 23 (2011), denoising score matching; Efron, JASA 106
(2011), Tweedie's formula and its variance; Alain & Bengio, JMLR 15 (2014), theorem 1; Pathak et al., CVPR (2016),
masking; Zhang, Isola & Efros, ECCV (2016), colour.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from minissl._arrays import Array, Penalty, Task, normal, uniform
from minissl._checks import (
    check_array,
    check_blocks,
    check_callable,
    check_channels,
    check_deviation,
    check_divisors,
    check_mean_activations,
    check_number,
    check_pair,
    check_rng,
)

LUMINANCE = (0.299, 0.587, 0.114)


def reconstruct() -> Task:
    """The task of cases 1 and 2: (x, rng) -> (x, x), input and target both the data [autoencoder.1]."""
    return _reconstruct


def _reconstruct(x, rng):
    x = check_array(x, "x", ndim=2)
    return x, x


def l1(weight: float) -> Penalty:
    """The penalty H -> (P, ∂P/∂H) of absolute values [autoencoder.4]: mean over samples of sums over units; β = weight.

    It forces a sparse code only where the decoder's rows are bounded [autoencoder.7, autoencoder.8]. sign(0) is 0.
    """
    return partial(_l1, check_number(weight, "weight", low=0))


@np.errstate(under="ignore")
def _l1(beta, H):
    H = check_array(H, "H", ndim=2, finite=False)
    N = len(H)
    return beta / N * abs(H).sum(), beta / N * np.sign(H)  # [autoencoder.4] (β/N) Σ|H|,  (β/N) sign H


def kl_sparsity(weight: float, rho: float) -> Penalty:
    """The penalty H -> (P, ∂P/∂H) on mean activations other than rho in (0, 1) [autoencoder.5]; for sigmoid units.

    β = weight; in nats, a sum over units. It depends on the batch size [autoencoder.6], and forces a sparse code only
    where the decoder's rows are bounded [autoencoder.7, autoencoder.8].
    """
    beta = check_number(weight, "weight", low=0)
    return partial(_kl_sparsity, beta, check_number(rho, "rho", low=0, high=1, open_low=True, open_high=True))


@np.errstate(under="ignore")
def _kl_sparsity(beta, rho, H):
    H = check_array(H, "H", ndim=2, finite=False)
    mean = check_mean_activations(H.mean(axis=0), "H")  # ρⱼ, shape (m,)
    divergence = rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))
    slope = (1 - rho) / (1 - mean) - rho / mean  # ∂KL(ρ, ρⱼ)/∂ρⱼ
    return beta * divergence.sum(), np.broadcast_to(beta / len(H) * slope, H.shape)  # [autoencoder.5] (β/N) ∂KL/∂ρⱼ


def denoise(sigma: float) -> Task:
    """The task of case 3a, remove Gaussian noise: (x, rng) -> (x + σz, x) [autoencoder.9]; sigma in the units of x."""
    return partial(_denoise, check_number(sigma, "sigma", low=0))


@np.errstate(under="ignore")
def _denoise(sigma, x, rng):
    x = check_array(x, "x", ndim=2)
    z = normal(check_rng(rng), x.shape, like=x)
    return x + sigma * z, x  # [autoencoder.9] x̃ = x + σz


@np.errstate(under="ignore")
def score(net: Callable[[Array], Array], x: Array, sigma: float) -> Array:
    """The score ∇ln p_σ(x), (N, n), by a denoiser `net` trained on `denoise(sigma)` [autoencoder.10]."""
    x = check_array(x, "x", ndim=2)
    sigma = check_deviation(sigma, "sigma", like=x)
    r = check_array(check_callable(net, "net")(x), "net", shape=x.shape, like=x)
    return (r - x) / sigma**2  # [autoencoder.10] s(x̃) = (r(x̃) − x̃)/σ²


def mask(p: float, fill: float = 0.0, blocks: Array | None = None, missing_only: bool = False) -> Task:
    """The task of case 3b, fill in what is missing: (x, rng) -> (input, x) or, if `missing_only`, (input, x, 1 − M).

    Components are masked with probability p and replaced by `fill` [autoencoder.14]; 0 is the mean of centred data.
    `blocks`, n integers 0 … K−1 such as `image_blocks` gives, says which components are masked together.
    """
    p = check_number(p, "p", low=0, high=1)
    blocks = None if blocks is None else check_blocks(blocks, "blocks")
    return partial(_mask, p, check_number(fill, "fill"), blocks, missing_only)


@np.errstate(under="ignore")
def _mask(p, fill, blocks, missing_only, x, rng):
    x = check_array(x, "x", shape=(None, None if blocks is None else len(blocks)))
    K = x.shape[1] if blocks is None else int(blocks.max()) + 1
    u = uniform(check_rng(rng), (len(x), K), like=x)  # one number for each sample and block
    M = (u >= p).astype(x.dtype)  # 0 with probability p
    M = M if blocks is None else M[:, np.asarray(blocks, like=x)]  # (N, n)
    input = M * x + (1 - M) * fill  # [autoencoder.14] x̃ = M ⊙ x + (1 − M) ⊙ a
    return (input, x, 1 - M) if missing_only else (input, x)


def image_blocks(shape: tuple[int, int], block: tuple[int, int]) -> np.ndarray:
    """The block of each pixel, (h w,), for images of shape (h, w), cut into blocks whose sides divide the images'."""
    h, w = check_pair(shape, "shape")
    height, width = check_divisors(block, "block", (h, w))
    row, column = np.divmod(np.arange(h * w), w)
    return row // height * (w // width) + column // width


def colorize(luminance: Array = LUMINANCE) -> Task:
    """The task of case 3c, colours from grey: (x, rng) -> (input of shape (N, pixels), x) [autoencoder.15].

    A row of x holds pixel after pixel, one number for each channel that `luminance` weights: `image.reshape(-1)` of an
    image of shape (height, width, channels).
    """
    return partial(_colorize, check_array(luminance, "luminance", ndim=1))


@np.errstate(under="ignore")
def _colorize(luminance, x, rng):
    x = check_channels(x, "x", len(luminance))
    pixels = x.reshape(len(x), -1, len(luminance))  # (N, pixels, channels)
    return pixels @ np.asarray(luminance, dtype=x.dtype, like=x), x  # [autoencoder.15] 0.299 red + 0.587 green + …
