"""Score matching: a model of the data's density, learned by matching the gradient of its logarithm.

In the lecture's words: probabilistic modelling. Noise-contrastive estimation (`nce`) learns the constant of the density
as one more parameter. Score matching (Hyvärinen 2005) loses it, and needs neither noise nor sampling.

    symbol       in code        meaning                                                            shape
    xᵢ           x              data, i = 1 … N                                                    (N, n)
    p_d, p_m, φ                 density of the data; model of it; the same up to a constant factor functions of x
    ψ            psi            ∇ ln φ(x; θ), the score of the model; ψ_d that of the data         (N, n)
    ∂ⱼψⱼ                        ∂ψⱼ/∂xⱼ, the derivative of entry j of ψ in entry j of x            (N,)
    ΔF           laplacian      Laplacian Σⱼ ∂²F/∂xⱼ² of a function F; that of ln φ is Σⱼ ∂ⱼψⱼ     (N,)
    θ, α         theta, alpha   parameters, without a constant; those of an exponential family     (size,), (p,)
    Fₖ                          features of an exponential family, k = 1 … p                       functions of x
    G, ℓ         G, laplacians  their gradients ∂Fₖ/∂xⱼ and Laplacians ΔFₖ, at each sample         (N, p, n), (N, p)
    M            M              E G Gᵀ, the second derivative of J in α                            (p, p)
    Λ, b, C                     precision, precision times mean; covariance (see `densities`)      (n, n), (n,), (n, n)
    B, s         B, s           unmixing matrix, its rows bₖ; s = Bx                               (n, n), (N, n)
    f, g         g, g1, g2      density of one component; g = (ln f)′, g′, g″                      functions of a number
    vₖ           v              directions, k = 1 … K                                              (K, N, n)
    h, γₖ, λ     h, gamma, lam  a layer of a network, its derivatives along vₖ, second derivatives (N, nₗ)
    z, ζₖ, q     z, zeta, q     the same of what enters the units; weights W and biases b [mlp.1]  (N, nₗ)
    X̄            X_bar          gradient of J with respect to X (ℓ̄: to ΔF of F = ln φ)             as X
    E                           mean over the data, and over v or ξ where they occur; E_d over p_d

The gradient in x of ln p_m = ln φ + c has no c, for c does not depend on x:

    [score_matching.1]   ψ(x; θ) = ∇ ln p_m = ∇ ln φ      (theorem)

Where ψ = ψ_d everywhere, ln p_m and ln p_d differ by a constant, and since both densities integrate to one, by none. So
make the distance of the scores small, the *Fisher divergence*

    [score_matching.2]   D(θ) = ½ E_d‖ψ − ψ_d‖² = ½ E_d‖ψ‖² − E_d⟨ψ, ψ_d⟩ + ½ E_d‖ψ_d‖²      (theorem)

The last term does not depend on θ. The middle one has the unknown ψ_d; but p_d ψ_d = p_d ∇p_d/p_d = ∇p_d, and then
*integration by parts*, for each j along the line on which only xⱼ moves, gives

    E_d ψⱼ ψ_dⱼ = ∫ ψⱼ ∂p_d/∂xⱼ dx = [boundary: p_d ψⱼ at xⱼ = ∞ less at xⱼ = −∞] − ∫ p_d ∂ψⱼ/∂xⱼ dx
    [score_matching.3]   E_d⟨ψ, ψ_d⟩ = −E_d Σⱼ ∂ⱼψⱼ      (theorem)

if p_d is differentiable, ψ too (no kinks), E_d‖ψ‖², E_d‖ψ_d‖² and E_d|∂ⱼψⱼ| are finite, and **the boundary term is
zero: p_d ψ → 0 for ‖x‖ → ∞**, for every θ. Nothing unknown is left (Hyvärinen 2005, theorem 1):

    [score_matching.4]   J(θ) = E[½‖ψ‖² + Σⱼ ∂ⱼψⱼ],    D = J + ½ E_d‖ψ_d‖²,    min J = −½ E_d‖ψ_d‖²

(in the last two with E_d for E; the minimum if p_d is in the model). In words: the data should lie where ln φ is flat,
ψ = 0, and curved downwards.

*Where the boundary matters.* Let x > 0 have the density e⁻ˣ, and let ψ = −α. Then J = ½α² is least for α = 0, although
ψ_d = −1: at x = 0 there is the boundary term −p_d(0)ψ(0) = α, and ½α² − α has its minimum at α = 1.

**Consistent** (theorem 2, corollary 3): θ̂ → θ* for N → ∞, if p_d = p_m(·; θ*) is in the model, p_d > 0 everywhere,
only θ* gives ψ_d, and J tends to its mean uniformly in θ. If p_d has parts with nearly nothing between them, J hardly
depends on their weights, for where the data are, ψ is nearly the same.

A model here is a function (θ, x) -> (ψ, ΔF, vjp) with F = ln φ; vjp(ψ̄, ℓ̄) is its backward pass, ℓ̄ for ΔF, so that

    [score_matching.5]   ∂J/∂θ = vjp(ψ/N, 1/N)

**Exponential families**, ln φ = Σₖ αₖ Fₖ(x), have ψ = Gᵀα at each sample, and Σⱼ ∂ⱼψⱼ = ℓᵀα with ℓₖ = ΔFₖ. So J is
quadratic, and its minimum one linear solve, if M is invertible (Hyvärinen 2007):

    [score_matching.6]   J = ½ αᵀMα + αᵀ E ℓ,    M = E G Gᵀ,    α̂ = −M⁻¹ E ℓ

*How accurate.* The gradient of sample i, uᵢ = Gᵢ Gᵢᵀα + ℓᵢ, has mean zero at α*, and the second derivative is M. As in
`nce`, step 4, the sandwich is, for N → ∞,

    [score_matching.7]   N Cov α̂ → M⁻¹ Var(u) M⁻¹

*The Gaussian*, ln φ = −½ xᵀΛx + bᵀx, has F = (−½xⱼ²; −xⱼxₖ, j < k; xⱼ), eⱼ being column j of the identity matrix:

    [score_matching.8]   ∇F = −xⱼeⱼ;  −xₖeⱼ − xⱼeₖ;  eⱼ,    ΔF = −1;  0;  0

J = ½ E‖b − Λx‖² − tr Λ is least in b at b = Λ E x. Inserted, J = ½ tr(ΛCΛ) − tr Λ, whose derivative in the symmetric Λ
is ½(ΛC + CΛ) − I. This is zero for Λ = C⁻¹, and for no other Λ if C is positive definite (Sylvester's equation). So

    [score_matching.9]   Λ̂ = C⁻¹,  b̂ = Λ̂ E x,  J = −½ tr Λ̂      (theorem)

exactly the estimate of maximum likelihood, for any data. For other models it is as a rule another one, and for N → ∞
never a more accurate one (Cramér–Rao).

**Independent components**, ln φ = Σₖ ln f(sₖ), s = Bx. By the chain rule, with bₖ the rows of B and g applied to each
entry of s,

    [score_matching.10]  ψ = Bᵀ g(s),    Σⱼ ∂ⱼψⱼ = Σₖ g′(sₖ) ‖bₖ‖²

B stands in three places: as Bᵀ, within s, and in ‖bₖ‖². In d⟨ψ̄, ψ⟩ + d⟨ℓ̄, Σⱼ∂ⱼψⱼ⟩ collect what stands beside dB:

    [score_matching.11]  B̄ = gᵀ ψ̄ + s̄ᵀ x + 2 diag(Σᵢ ℓ̄ᵢ g′(sᵢₖ)) B,    s̄ = (ψ̄ Bᵀ) ⊙ g′ + ℓ̄ ⊙ g″ ⊙ ‖bₖ‖²

For the logistic f [densities.3], with t = tanh(au), a = π/(2√3), each derivative follows from dt/du = a (1 − t²):

    [score_matching.12]  g = −2a t,    g′ = −2a² (1 − t²),    g″ = 4a³ t (1 − t²)

The Laplacian f has a kink, where the integration by parts fails: g′ would be 0, and J ≥ 0 least at B = 0.

**A network** F(x) with one output. Send through it, besides each layer h, its derivatives along the directions vₖ and
the sum of its second derivatives: γₖ = ∂h/∂vₖ and λ = Σₖ ∂²h/∂vₖ². If the vₖ are the n axes, λ is the Laplacian. In the
first layer h = x, γₖ = vₖ, λ = 0. A linear map acts on all three alike; φ acts entry by entry, and by the chain rule

    [score_matching.13]  z = hW + b,  ζₖ = γₖ W,  q = λW;    h⁺ = φ(z),  γₖ⁺ = φ′ζₖ,  λ⁺ = φ′q + φ″ Σₖ ζₖ²

At the output ζₖ = ∂F/∂vₖ = vₖᵀψ, and q = Σₖ vₖᵀ(∂²F/∂x²)vₖ. This costs K + 2 forward passes: n + 2 for all axes. Now
back: in d(h⁺, γ⁺, λ⁺) collect what stands beside dz, dζₖ, dq, then what stands beside dW, as in [mlp.2, mlp.3]:

    [score_matching.14]  z̄ = φ′h̄⁺ + φ″ (Σₖ ζₖ γ̄ₖ⁺ + q λ̄⁺) + φ‴ Σₖ ζₖ² λ̄⁺,   ζ̄ₖ = φ′γ̄ₖ⁺ + 2φ″ ζₖ λ̄⁺,   q̄ = φ′λ̄⁺
                         W̄ = hᵀz̄ + Σₖ γₖᵀζ̄ₖ + λᵀq̄,   b̄ = z̄ᵀ1,   h̄ = z̄Wᵀ,   γ̄ₖ = ζ̄ₖWᵀ,   λ̄ = q̄Wᵀ
    [score_matching.15]  tanh: φ″ = −2h φ′, φ‴ = (6h² − 2) φ′;    sigmoid: φ″ = (1 − 2h) φ′, φ‴ = (1 − 6φ′) φ′

(relu has a kink.) **Sliced** score matching (Song et al. 2019) is for large n: in place of n axes take K random
directions with E vvᵀ = I, the identity, drawn anew for each sample. Then E (vᵀψ)² = ‖ψ‖² and E vᵀ(∂ψ/∂x)v = tr ∂ψ/∂x,
so that on average over v it is J,

    [score_matching.16]  J = E (1/K) Σₖ [½ (vₖᵀψ)² + vₖᵀ (∂ψ/∂x) vₖ],    vₖⱼ = ±1, equally probable, independent

For K = n orthogonal vₖ of length √n, as √n times the axes, it is exactly J.

**Not invariant under linear maps.** Let y = Ax with an invertible A. Then ψ_y = A⁻ᵀψ and ∂ψ_y/∂y = A⁻ᵀ(∂ψ/∂x)A⁻¹, so
in terms of x

    [score_matching.17]  J_y = E[½ ψᵀ(AᵀA)⁻¹ψ + tr((AᵀA)⁻¹ ∂ψ/∂x)],    D_y = ½ E_d‖A⁻ᵀ(ψ − ψ_d)‖²      (theorem)

It is the same only if A is orthogonal (for one that is twice a rotation, a multiple). Otherwise the errors of ψ have
other weights. Those of x itself are a matter of units: ψ is large, and its errors count most, along directions in which
x varies least. If p_d is in the model, the estimate is consistent for every A, but as a rule not equally accurate; if
not, its limit depends on A (not so for the Gaussian, by [score_matching.9]). Maximum likelihood is invariant, and so is
NCE if its noise is mapped, too. So **whiten first**: this fixes A, up to rotation.

**Denoising is score matching** of the noisy data x̃ = x + σξ, ξ from N(0, I). By parts over ξ, E⟨ψ(x̃), ξ⟩ =
σ E Σⱼ∂ⱼψⱼ(x̃). So what [autoencoder.12] minimises, ½ E‖ψ(x̃) − (x − x̃)/σ²‖² with (x − x̃)/σ² = −ξ/σ, is

    [score_matching.18]  ½ E‖ψ(x̃) + ξ/σ‖² = E[½‖ψ(x̃)‖² + Σⱼ∂ⱼψⱼ(x̃)] + n/(2σ²)      (theorem)

J on p_σ, up to a constant (Vincent 2011). It needs no second derivatives, and any p_d will do; the price is σ > 0.

**Overfitting.** On N samples, J of a flexible model has no minimum: narrow peaks at the samples, as in

    [score_matching.19]  ln φ = β Σᵢ exp(−½‖x − xᵢ‖²/ε²),    J + nβ/ε² → 0, so J → −∞, for ε → 0      (theorem)

have ψ ≈ 0 there, but any curvature (if no two samples are equal; for a fixed ε, ψ at xᵢ is small but not 0, and J rises
again when β is very large). A broad Gaussian as a further factor makes φ integrable and changes J by a bounded amount;
the likelihood is unbounded in the same way. So networks need many samples, few steps, and a look at J on held-out data;
or noise that is new in each step.

>>> import numpy as np
>>> x = np.random.default_rng(0).standard_normal((1000, 2)) @ [[1.0, 0.5], [0.0, 0.6]]
>>> Lambda_11, Lambda_12, Lambda_22, *b = exponential_family(*gaussian_derivatives(x))
>>> print(np.allclose([[Lambda_11, Lambda_12], [Lambda_12, Lambda_22]], np.linalg.inv(np.cov(x.T, bias=True))))
True
>>> from minissl.nn.optimizers import lbfgs
>>> s = np.random.default_rng(1).laplace(size=(5000, 2))    # two sources, mixed by a rotation, and separated
>>> A = np.array([[0.8, -0.6], [0.6, 0.8]])
>>> B = lbfgs(objective(ica_score, s @ A.T), np.eye(2).ravel()).theta.reshape(2, 2)
>>> print(abs(B @ A) > 0.1)
[[ True False]
 [False  True]]

Sources: Hyvärinen, JMLR 6 (2005), 695-709, and Computational Statistics & Data Analysis 51 (2007), 2499-2512; Vincent,
Neural Computation 23 (2011), 1661-1674; Song, Garg, Shi & Ermon, UAI (2019), arXiv 1905.07088.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array
from minissl._checks import (
    check_array,
    check_callable,
    check_count,
    check_derivatives,
    check_model,
    check_positive_definite,
    check_rng,
    check_smooth,
)
from minissl.nn.mlp import PHI


def objective(model: Callable, x: Array) -> Callable:
    """θ -> (J [score_matching.4], ∂J/∂θ) on data x (N, n), for `lbfgs`; no constant c is among θ.

    `model` is (θ, x) -> (ψ, Σⱼ∂ⱼψⱼ, vjp), as `ica_score`, `network_score(net)` or `sliced_score(net, v)`.
    """
    return functools.partial(_objective, check_callable(model, "model"), check_array(x, "x", ndim=2))


@np.errstate(under="ignore")
def _objective(model, x, theta):
    N = len(x)
    psi, laplacian, vjp = check_model(model(theta, x), x, (N, None), (N,))
    value = (0.5 * np.einsum("ij,ij->i", psi, psi) + laplacian).sum() / N  # [score_matching.4] E[½‖ψ‖² + Σⱼ ∂ⱼψⱼ]
    return value, vjp(psi / N, np.full_like(laplacian, 1 / N))  # [score_matching.5] vjp(ψ/N, 1/N)


# Exponential families


def exponential_family(gradients: Array, laplacians: Array) -> Array:
    """α̂, (p,), by one linear solve [score_matching.6], from G (N, p, n) and ℓ (N, p) of the features at the data."""
    G, laplacians = check_derivatives(gradients, laplacians)
    return -np.linalg.solve(_second_derivative(G), laplacians.mean(axis=0))  # [score_matching.6] α̂ = −M⁻¹ E ℓ


def _second_derivative(G):
    M = np.tensordot(G, G, axes=((0, 2), (0, 2))) / len(G)  # [score_matching.6] M = E G Gᵀ
    return check_positive_definite(M, "gradients", "features without linear relations: more samples, or fewer features")


def asymptotic_covariance(gradients: Array, laplacians: Array, alpha: Array) -> Array:
    """N Cov α̂ for large N [score_matching.7], (p, p); `alpha` are the true parameters, G and ℓ at samples of p_d."""
    G, laplacians = check_derivatives(gradients, laplacians)
    alpha = check_array(alpha, "alpha", shape=laplacians.shape[1:], like=G)
    psi = np.tensordot(G, alpha, axes=((1,), (0,)))  # [score_matching.6] ψ = Gᵀα, (N, n)
    u = (G @ psi[:, :, None])[:, :, 0] + laplacians  # the gradient of each sample, (N, p)
    u = u - u.mean(axis=0)
    inverse = np.linalg.inv(_second_derivative(G))
    return inverse @ (u.T @ u / len(u)) @ inverse  # [score_matching.7] M⁻¹ Var(u) M⁻¹


def gaussian_derivatives(x: Array) -> tuple[Array, Array]:
    """G and ℓ of the Gaussian at data (N, n) [score_matching.8]; α is Λⱼₖ for j ≤ k, row by row, then b."""
    x = check_array(x, "x", ndim=2)
    N, n = x.shape
    j, k = (np.asarray(index, like=x) for index in np.triu_indices(n))
    row, axis = np.arange(len(j), like=x), np.arange(n, like=x)
    G = np.zeros((N, len(j) + n, n), dtype=x.dtype, like=x)
    G[:, row, j] = -x[:, k]  # [score_matching.8] −xⱼeⱼ;  −xₖeⱼ − xⱼeₖ;  eⱼ
    G[:, row, k] = -x[:, j]
    G[:, len(j) + axis, axis] = 1
    laplacians = np.zeros_like(G[:, :, 0])
    laplacians[:, : len(j)] = -1.0 * (j == k)  # [score_matching.8] ΔF = −1;  0;  0
    return G, laplacians


# Independent components


@np.errstate(under="ignore")
def ica_score(theta: Array, x: Array) -> tuple[Array, Array, Callable]:
    """The score of ICA with the logistic density [score_matching.10]; θ is B row by row, (n²,). Whiten x first."""
    x = check_array(x, "x", ndim=2)
    n = x.shape[1]
    B = check_array(theta, "theta", shape=(n * n,), like=x).reshape(n, n)
    a = math.pi / (2 * 3**0.5)
    t = np.tanh(a * (x @ B.T))
    g = -2 * a * t  # [score_matching.12] g = −2a t
    d = 1 - t * t
    g1 = -2 * a**2 * d  # [score_matching.12] g′ = −2a² (1 − t²)
    g2 = 4 * a**3 * t * d  # [score_matching.12] g″ = 4a³ t (1 − t²)
    squares = (B * B).sum(axis=1)  # ‖bₖ‖²

    def vjp(psi_bar, laplacian_bar):
        s_bar = (psi_bar @ B.T) * g1 + laplacian_bar[:, None] * g2 * squares  # [score_matching.11] s̄
        B_bar = g.T @ psi_bar + s_bar.T @ x + 2 * (laplacian_bar @ g1)[:, None] * B  # [score_matching.11] B̄
        return B_bar.ravel()

    return g @ B, g1 @ squares, vjp  # [score_matching.10] Bᵀ g(s),  Σₖ g′(sₖ) ‖bₖ‖²


# A network

DERIVATIVES = {  # name: φ′ [mlp.5], φ″, φ‴ [score_matching.15] as functions of h = φ(z)
    "tanh": lambda h: (1 - h * h, -2 * h * (1 - h * h), (6 * h * h - 2) * (1 - h * h)),
    "sigmoid": lambda h: (h * (1 - h), (1 - 2 * h) * h * (1 - h), (1 - 6 * h * (1 - h)) * h * (1 - h)),
    "identity": lambda h: (np.ones_like(h), np.zeros_like(h), np.zeros_like(h)),
}


def network_score(net) -> Callable:
    """An MLP with one output, ln φ, as a model (θ, x) -> (ψ, Σⱼ∂ⱼψⱼ, vjp), by n + 2 forward passes [score_matching.13].

    Afterwards `log_density_and_score(network_log_density(net), theta)` samples from it; its constant is not c*.
    """
    net = check_smooth(net, "net", DERIVATIVES)
    return functools.partial(_score, net, np.identity(net.sizes[0], dtype=net.theta.dtype, like=net.theta)[:, None])


def sliced_score(net, v: Array) -> Callable:
    """The same along K directions for each sample, v (K, N, n) as from `random_directions` [score_matching.16].

    It returns vₖᵀψ/√K, (N, K), and the mean over k of vₖᵀ(∂ψ/∂x)vₖ, (N,).
    """
    net = check_smooth(net, "net", DERIVATIVES)
    v = check_array(v, "v", shape=(None, None, net.sizes[0]), like=net.theta)
    return functools.partial(_sliced_score, net, v)


def _sliced_score(net, v, theta, x):
    x = net.check_input(x)
    v = check_array(v, "v", shape=(None, *x.shape), like=x)
    return _score(net, v / len(v) ** 0.5, theta, x)  # [score_matching.16] (1/K) Σₖ, for J is quadratic in v


def random_directions(x: Array, K: int = 1, rng=None) -> Array:
    """K directions for each row of x, (K, N, n), with entries ±1 [score_matching.16]. Draw new ones for each step."""
    x = check_array(x, "x", ndim=2)
    signs = 2 * check_rng(rng).integers(2, size=(check_count(K, "K"), *x.shape)) - 1
    return np.asarray(signs.astype(x.dtype), like=x)


@np.errstate(under="ignore")
def _score(net, v, theta, x):
    """∂F/∂vₖ, (N, K), Σₖ ∂²F/∂vₖ², (N,), and vjp, of the network's output F."""
    net = net.at(theta)
    x = net.check_input(x)
    h, gamma, lam = x, v * np.ones_like(x[:, :1]), np.zeros_like(x)  # (N, n), (K, N, n), (N, n)
    layers, last = [], len(net.weights) - 1
    for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z, zeta, q = h @ W + b, gamma @ W, lam @ W  # [score_matching.13] z = hW + b,  ζₖ = γₖ W,  q = λW
        layers.append((h, gamma, lam, zeta, q))
        if l < last:
            h = PHI[net.activations[l]][0](z)  # [score_matching.13] h⁺ = φ(z)
            d1, d2, _ = DERIVATIVES[net.activations[l]](h)
            gamma = d1 * zeta  # [score_matching.13] γₖ⁺ = φ′ζₖ
            lam = d1 * q + d2 * (zeta * zeta).sum(axis=0)  # [score_matching.13] λ⁺ = φ′q + φ″ Σₖ ζₖ²
    vjp = functools.partial(_backward, net, layers)
    return zeta[:, :, 0].T, q[:, 0], vjp


@np.errstate(under="ignore")
def _backward(net, layers, psi_bar, laplacian_bar):
    gradient = np.empty_like(net.theta)
    dW, db = net.views(gradient)
    z_bar = np.zeros_like(laplacian_bar[:, None])  # J does not depend on the output F itself
    zeta_bar = psi_bar.T[:, :, None]
    q_bar = laplacian_bar[:, None]
    for l in range(len(layers) - 1, -1, -1):
        h, gamma, lam, _, _ = layers[l]
        # [score_matching.14] W̄ = hᵀz̄ + Σₖ γₖᵀζ̄ₖ + λᵀq̄,  b̄ = z̄ᵀ1
        dW[l][:] = h.T @ z_bar + np.tensordot(gamma, zeta_bar, axes=((0, 1), (0, 1))) + lam.T @ q_bar
        db[l][:] = z_bar.sum(axis=0)
        if l > 0:
            _, _, _, zeta, q = layers[l - 1]
            d1, d2, d3 = DERIVATIVES[net.activations[l - 1]](h)
            W = net.weights[l]
            h_bar, gamma_bar, lam_bar = z_bar @ W.T, zeta_bar @ W.T, q_bar @ W.T  # [score_matching.14] h̄ = z̄Wᵀ, …
            # [score_matching.14] z̄ = φ′h̄⁺ + φ″ (Σₖ ζₖ γ̄ₖ⁺ + q λ̄⁺) + φ‴ Σₖ ζₖ² λ̄⁺
            squares = (zeta * zeta).sum(axis=0)
            z_bar = d1 * h_bar + d2 * ((zeta * gamma_bar).sum(axis=0) + q * lam_bar) + d3 * squares * lam_bar
            zeta_bar = d1 * gamma_bar + 2 * d2 * zeta * lam_bar  # [score_matching.14] ζ̄ₖ = φ′γ̄ₖ⁺ + 2φ″ ζₖ λ̄⁺
            q_bar = d1 * lam_bar  # [score_matching.14] q̄ = φ′λ̄⁺
    return gradient
