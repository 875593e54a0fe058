"""Sampling by Langevin dynamics: new data from a density, by Markov chains that follow its score.

In the lecture's words: generate data after learning its density. All that is needed of the density is its score, the
gradient of ln p in x, in which the unknown constant of p has gone.

    symbol       in code       meaning                                                         shape
    p            log_density   density of the data, up to a constant factor; positive          function of x
    s(x)         score, s      score, ∇ ln p(x), the gradient with respect to x                (N, n)
    x            x             N independent chains, one per row                               (N, n)
    z            normal()      N(0, I), drawn anew in every step                               (N, n)
    η            eta, step     step of the dynamics, a length of time                          number > 0
    q(x, t)                    density of the chains at time t                                 function of x
    k(x′|x)                    density of proposing x′ from x, the transition kernel           function of x′
    v, vₜ                      variance of the chains: in the end, after t steps                number
    α            log_alpha     ratio that decides on a proposal                                (N,)
    σ, σᵢ        sigma(s)      standard deviation of the noise in x̃; levels σ₁ > … > σ_L       number
    x̃, p_σ                     data with noise, x̃ = x + σz, and the density of x̃              (N, n)
    c            c             1/√(1 + σ²)                                                     number
    Y            net(...)      output of a network with the inputs cx̃ and ln σ                 (N, n)
    λ(σ), J                    weight of the level σ in the loss J                             number > 0, number

**A diffusion that keeps p.** Let each chain move, in a short time dt, by ½ s(x) dt + √dt z. For a smooth function f
that is zero far out, Taylor's formula with E z = 0 and E zzᵀ = I says how the mean of f over the chains changes:

    d/dt E f(x) = E[½ ⟨∇f, s⟩ + ½ Δf],    Δf = Σⱼ ∂²f/∂xⱼ²

The first term is E⟨∇f, ½ s dt + √dt z⟩/dt, the second ½ E⟨z, ∇²f z⟩ = ½ tr ∇²f; what is left is of order dt. Write both
sides as integrals over q and integrate by parts, once for ∇f, twice for Δf (f is zero at the border):

    ∫ f ∂q/∂t dx = ∫ q [½ ⟨∇f, ∇ln p⟩ + ½ Δf] dx = ∫ f [−½ ∇·(q ∇ln p) + ½ Δq] dx

Since this holds for every f, ∂q/∂t is equal to the last bracket, at every x. This is the Fokker–Planck equation:

    [langevin.1]   ∂q/∂t = −½ ∇·(q ∇ln p) + ½ Δq      (theorem)

At q = p nothing changes any more: ∇ln p = ∇p/p, so p ∇ln p = ∇p, its divergence is ∇·∇p = Δp, and
∂q/∂t = −½ Δp + ½ Δp = 0: p is stationary. And q tends to p from every start if s is continuously differentiable and
⟨s(x), x⟩ ≤ a‖x‖² + b far out, so that no chain runs off to infinity (Roberts & Tweedie 1996, theorem 2.1).

**In steps of time η** this is unadjusted Langevin dynamics (Parisi 1981; Grenander & Miller 1994):

    [langevin.2]   x′ = x + (η/2) s(x) + √η z

A finite step has its price. On N(0, 1), s(x) = −x, so x′ = (1 − η/2) x + √η z, and the variance of the chains goes from
v to (1 − η/2)² v + η. It stays the same if v (1 − (1 − η/2)²) = v (η − η²/4) = η; its distance from there shrinks by
(1 − η/2)² in every step:

    [langevin.3]   vₜ = v + (1 − η/2)²ᵗ (v₀ − v),    v = 1/(1 − η/4), not 1      (theorem)

for η < 4; from there on the variance grows for ever. On N(0, τ²) the same holds of x/τ with the step η/τ²: the
narrowest direction of p limits η, and the widest then needs many steps.

**Adjusted**, the Metropolis-adjusted Langevin algorithm (MALA; Roberts & Tweedie 1996) takes x′ only as a proposal. By
[langevin.2] it is N(x + (η/2) s(x), ηI), and it is accepted with probability min(1, α); else the chain stays at x:

    [langevin.4]   ln k(x′|x) = −‖x′ − x − (η/2) s(x)‖²/(2η) − (n/2) ln 2πη
    [langevin.5]   ln α = ln p(x′) − ln p(x) + ln k(x|x′) − ln k(x′|x)

Then p(x) k(x′|x) min(1, α) = min(p(x) k(x′|x), p(x′) k(x|x′)): as many chains of density p move from x to x′ as from x′
to x (detailed balance), whatever η is, so p stays exactly as it is. For densities that are products of n equal factors,
n → ∞, the chains move fastest with η ~ n^(−1/3) and 0.57 of the proposals accepted (Roberts & Rosenthal 1998).

**Annealed.** With short steps neither crosses a region with hardly any probability, and there a learned score is wrong
as well, for no data have been there. Annealed dynamics (Song & Ermon 2019, algorithm 1) run [langevin.2] on p_σ, which
has no such regions where σ is large, for falling levels σ₁ > … > σ_L, with steps

    [langevin.6]   ηᵢ = η σᵢ²/σ_L²

An entry of s is of order 1/σᵢ, so the ratio of signal (ηᵢ/2)‖s‖ to noise √ηᵢ‖z‖ is of order √ηᵢ/σᵢ = √η/σ_L, the same
at every level. And −ln p_σ is nowhere more curved than that of N(0, σᵢ²I): its second derivatives are
I/σᵢ² − Cov(x|x̃)/σᵢ⁴. So a step η far below 4σ_L² is a short one, by [langevin.3], at every level.

**Where to get the score.** From a denoising autoencoder trained at one σ, by Tweedie's formula: `autoencoder.score`.
From a model of ln p, by its gradient in x: `densities.log_density_and_score`. Or from one network conditioned on σ.
Given x, the density of x̃ is N(x, σ²I), with the score −(x̃ − x)/σ² = −z/σ. The mean of this over the x that may have
led to x̃ is the score of p_σ, because

    ∇p_σ(x̃) = ∇ ∫ p(x) N(x̃; x, σ²I) dx = ∫ p(x) N(x̃; x, σ²I) (−z/σ) dx = p_σ(x̃) E[−z/σ | x̃],

and the conditional mean minimises the mean square. So, whatever λ > 0 (Song & Ermon 2019, equations 5 and 6),

    [langevin.7]   J = E λ(σ) ‖s(x̃, σ) + z/σ‖² is least where s(x̃, σ) = ∇ln p_σ(x̃)      (theorem)

What part of this should the network learn? If the data are white and Gaussian, N(0, I), then x̃ is N(0, (1 + σ²)I) and
the score is −x̃/(1 + σ²) = −c²x̃. Other data, with mean zero, come near this only where σ is large against their spread.
The output Y adds the rest:

    [langevin.8]   s(x̃, σ) = −c²x̃ + (c/σ) Y(cx̃, ln σ)

What is its target? Take c/σ out of s + z/σ, and use 1/c = c(1 + σ²), then x̃ = x + σz:

    s + z/σ = (c/σ) [Y − cσx̃ + z/c] = (c/σ) [Y − cσx − cσ²z + c(1 + σ²)z]
    [langevin.9]   s + z/σ = (c/σ) [Y − c(σx − z)],    so with λ = σ²/c²   J = E ‖Y − c(σx − z)‖²

the plain squared error. Input c(x + σz) and target c(σx − z) are x and z reflected, as c² + (cσ)² = 1: where x has unit
variance, both have it at every level (Salimans & Ho 2022, appendix D; Karras et al. 2022, section 5). The weight
λ = σ²(1 + σ²) is Song & Ermon's σ² where σ is small. Where σ is large, at the levels that decide how much probability
each mode gets, it is nearly σ⁴.

>>> import numpy as np
>>> start = np.zeros((100_000, 1))                                  # all chains start at 0; p is N(0, 1)
>>> chains = langevin(lambda x: -x, start, step=2.0, steps=30, rng=0)
>>> print(f"{chains.x.var():.1f}")                                  # [langevin.3] 1/(1 − 2/4)
2.0
>>> chains = mala(lambda x: (-0.5 * x[:, 0] ** 2, -x), start, step=2.0, steps=30, rng=0)
>>> print(f"{chains.x.var():.1f}")
1.0

Sources: Parisi, Nuclear Physics B 180 (1981); Grenander & Miller, JRSS B 56 (1994); Roberts & Tweedie, Bernoulli 2
(1996), 341-363; Roberts & Rosenthal, JRSS B 60 (1998), 255-268; Vincent, Neural Computation 23 (2011); Song & Ermon,
NeurIPS (2019), arXiv 1907.05600; Salimans & Ho, ICLR (2022), arXiv 2202.00512; Karras et al., NeurIPS (2022),
arXiv 2206.00364.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minissl._arrays import Array, Task, normal, uniform
from minissl._checks import check_array, check_callable, check_count, check_levels, check_number, check_rng, check_two


class Chains(NamedTuple):
    """What the dynamics left behind."""

    x: Array  # the last state, (N, n)
    path: Array | None  # all states, the first included, (steps + 1, N, n), where asked for
    acceptance: float  # share of the proposals that were accepted; 1 without adjustment


@np.errstate(under="ignore")
def langevin(score: Callable, x: Array, step: float, steps: int, *, rng=None, path=False) -> Chains:
    """Unadjusted Langevin dynamics [langevin.2], from the starts `x`, (N, n), which are left as they are.

    `score` takes x, (N, n), and returns ∇ ln p, (N, n). `path=True` keeps all states. FloatingPointError if a chain
    runs off to infinity.
    """
    check_callable(score, "score")
    x = check_array(x, "x", ndim=2)
    eta = check_number(step, "step", low=0, open_low=True)
    steps = check_count(steps, "steps")
    rng = check_rng(rng)
    states = [x]
    for t in range(1, steps + 1):
        s = check_array(score(x), "score", shape=x.shape, like=x, finite=False)
        x = x + eta / 2 * s + eta**0.5 * normal(rng, x.shape, x)  # [langevin.2] x′ = x + (η/2) s(x) + √η z
        _finite(x, "state", t)
        if path:
            states.append(x)
    return Chains(x, np.stack(states) if path else None, 1.0)


@np.errstate(under="ignore")
def mala(log_density: Callable, x: Array, step: float, steps: int, *, rng=None, path=False) -> Chains:
    """Metropolis-adjusted Langevin dynamics [langevin.5]; p is stationary at any step. Else as `langevin`.

    `log_density` takes x, (N, n), and returns ln p up to a constant, (N,), and its gradient in x, (N, n). Where ln p is
    −∞ no chain goes. FloatingPointError if ln p is NaN or +∞, or its gradient not finite where ln p is.
    """
    check_callable(log_density, "log_density")
    x = check_array(x, "x", ndim=2)
    eta = check_number(step, "step", low=0, open_low=True)
    steps = check_count(steps, "steps")
    rng = check_rng(rng)
    log_p, s = _evaluate(log_density, x, 0)
    if (log_p == -np.inf).any():
        raise ValueError("x: a chain starts where ln p is -infinity, expected positive density")
    states = [x]
    accepted = 0.0
    for t in range(1, steps + 1):
        x_new = x + eta / 2 * s + eta**0.5 * normal(rng, x.shape, x)  # [langevin.2] x′ = x + (η/2) s(x) + √η z
        log_p_new, s_new = _evaluate(log_density, x_new, t)
        log_alpha = log_p_new - log_p + _log_kernel(x, x_new, s_new, eta) - _log_kernel(x_new, x, s, eta)
        accept = np.log1p(-uniform(rng, len(x), x)) < log_alpha  # [langevin.5] ln p(x′)/p(x) + ln k(x|x′)/k(x′|x)
        x = np.where(accept[:, None], x_new, x)
        s = np.where(accept[:, None], s_new, s)
        log_p = np.where(accept, log_p_new, log_p)
        accepted += float(accept.mean())
        if path:
            states.append(x)
    return Chains(x, np.stack(states) if path else None, accepted / steps)


@np.errstate(under="ignore")
def annealed_langevin(score: Callable, x: Array, sigmas, step: float, steps: int, *, rng=None, path=False) -> Chains:
    """Annealed Langevin dynamics [langevin.6]: from noise to data, down the noise levels `sigmas`, σ₁ > … > σ_L > 0.

    `score` takes x, (N, n), and σ, and returns ∇ ln p_σ, (N, n). There are `steps` steps at each level; `step` is η,
    the step at the last level. Else as `langevin`.
    """
    check_callable(score, "score")
    x = check_array(x, "x", ndim=2)
    sigmas = check_levels(sigmas, "sigmas")
    eta = check_number(step, "step", low=0, open_low=True)
    rng = check_rng(rng)
    paths = [x[None]]
    for sigma in sigmas:
        eta_i = eta * (sigma / sigmas[-1]) ** 2  # [langevin.6] ηᵢ = η σᵢ²/σ_L²
        chains = langevin(lambda x, sigma=sigma: score(x, sigma), x, eta_i, steps, rng=rng, path=path)
        x = chains.x
        if path:
            paths.append(chains.path[1:])
    return Chains(x, np.concatenate(paths) if path else None, 1.0)


def noise_conditional(sigmas) -> Task:
    """Pretext task: denoise, given the level of the noise [langevin.9]; for `squared_error`, n + 1 inputs, n outputs.

    Each sample gets one of the levels `sigmas`, σ₁ > … > σ_L > 0, at random. The data should have about unit variance.
    """
    return functools.partial(_noise_conditional, check_levels(sigmas, "sigmas"))


def _noise_conditional(sigmas, x, rng):
    x = check_array(x, "x", ndim=2)
    rng = check_rng(rng)
    sigma = np.asarray(rng.choice(sigmas, size=(len(x), 1)), dtype=x.dtype, like=x)
    z = normal(rng, x.shape, x)
    c = 1 / np.sqrt(1 + sigma**2)
    return _condition(x + sigma * z, sigma), c * (sigma * x - z)  # [langevin.9] Y is to be c(σx − z)


def conditional_score(net: Callable) -> Callable:
    """The score a network has learned from `noise_conditional`, as a function (x, σ) -> ∇ ln p_σ [langevin.8]."""
    return functools.partial(_conditional_score, check_callable(net, "net"))


def _conditional_score(net, x, sigma):
    x = check_array(x, "x", ndim=2)
    sigma = check_number(sigma, "sigma", low=0, open_low=True)
    c = 1 / (1 + sigma**2) ** 0.5
    Y = net(_condition(x, np.full_like(x, sigma, shape=(len(x), 1))))
    Y = check_array(Y, "net", shape=x.shape, like=x)
    return -(c**2) * x + c / sigma * Y  # [langevin.8] s = −c²x̃ + (c/σ) Y


def _condition(x, sigma):
    """Input of a network that is conditioned on the noise in x̃, (N, n + 1) [langevin.8]: cx̃ and ln σ."""
    return np.concatenate([x / np.sqrt(1 + sigma**2), np.log(sigma)], axis=1)


def _log_kernel(x_new, x, s, eta):
    """ln k(x′|x), (N,), without its constant, which cancels in [langevin.5]."""
    return -((x_new - x - eta / 2 * s) ** 2).sum(axis=1) / (2 * eta)  # [langevin.4] −‖x′ − x − (η/2) s(x)‖²/(2η)


def _evaluate(log_density, x, t):
    """ln p and its gradient, which is set to 0, for it is not used, where ln p is −∞."""
    log_p, s = check_two(log_density(x), "log_density")
    log_p = check_array(log_p, "log_p", shape=(len(x),), like=x, finite=False)
    s = check_array(s, "score", shape=x.shape, like=x, finite=False)
    nowhere = log_p == -np.inf
    _finite(np.where(nowhere, 0, log_p), "log_p", t)
    s = np.where(nowhere[:, None], 0, s)
    _finite(s, "score", t)
    return log_p, s


def _finite(a, name, t):
    if not np.isfinite(a).all():
        raise FloatingPointError(f"{name}: not finite in step {t} of the chains; try a smaller step")
