"""Variational autoencoder (VAE): the bottleneck gets noise of its own, and is then a model of the density.

The lecture's third goal, probabilistic modelling, and the fourth, to generate new data: latent noise is drawn and sent
through the decoder. The two networks are those of an autoencoder; new are the noise in the code and its price.

    symbol       in code          meaning                                                             shape
    x            x, target        data, one sample per row                                            (N, n)
    z            z                latent variables                                                    (N, m)
    p(z)                          the prior, N(0, I)                                                  function of z
    f(z)         decoder          output of the decoder, a network: mean of x given z                 (N, n)
    σ            sigma            standard deviation of x given z, the same for all; fixed            number > 0
    q(z | x)                      approximation of p(z | x), by the encoder                           function of z
    μ(x), s(x)   mu, s            its mean and standard deviations                                    (N, m)
    ρ(x)         rho              ln s; the encoder's output is (μ, ρ), side by side                  (N, m)
    ε            noise            noise drawn from N(0, I)                                            (N, m)
    KL           _kl(...)         Kullback–Leibler divergence, KL(q‖p) = E_q ln(q/p) ≥ 0, in nats     (N,)
    E, E_q                        mean over the data and ε; over z drawn from q(z | x)
    J, R         value            minus the evidence bound, with β, in nats per sample; without KL    number
    ∂R/∂z        dz               gradient of R in the decoder's input                                (N, m)
    β            beta             weight of KL                                                        number ≥ 0
    C, λᵢ, U     variances, U     covariance of x, its eigenvalues λ₁ ≥ … ≥ λₙ and eigenvectors       (n, n)
    W, b         W, mean          decoder of a linear VAE, f(z) = Wz + b; probabilistic PCA           (n, m), (n,)
    K, M                          WWᵀ + σ²I, covariance of the model; WᵀW + σ²I                       (n, n), (m, m)
    dᵢ           d                eigenvalues of the model's covariance                               (n,)

**The model** draws z, and x around the decoder's output:

    [vae.1]   p(x) = ∫ p(x | z) p(z) dz,    p(z) = N(z; 0, I),    p(x | z) = N(x; f(z), σ²I)

Maximum likelihood would maximise ln p(x), but the integral over z is out of reach, and so is p(z | x), that is, which z
may have led to x. The encoder guesses it:

    [vae.2]   q(z | x) = N(z; μ(x), diag s(x)²)

**The evidence bound.** Insert p(x) = p(x, z)/p(z | x), multiply and divide by q, and take the mean over q:

    ln p(x) = E_q ln[p(x, z)/q(z | x)] + E_q ln[q(z | x)/p(z | x)]

The second term is KL(q(z | x)‖p(z | x)) ≥ 0. In the first, p(x, z) = p(x | z) p(z). So

    [vae.3]   ln p(x) = E_q ln p(x | z) − KL(q(z | x)‖p(z)) + KL(q(z | x)‖p(z | x))      (theorem)

Without its last term, the right side is the *evidence lower bound* (ELBO; Kingma & Welling 2014), and nothing in it is
out of reach. To raise it is to raise ln p(x), or to make the guess better, or both. It is made of reconstruction from a
noisy code, and the price of the code: for each component of z, with E_q z² = μ² + s² and E_q(z − μ)²/s² = 1,

    KL = E_q [−½(z − μ)²/s² − ln s + ½z²]
    [vae.4]   KL(q(z | x)‖p(z)) = Σⱼ [½(μⱼ² + sⱼ² − 1) − ρⱼ]

Without this price s would go to 0, and an ordinary autoencoder be left.

**Reparameterisation.** The mean over q has to be differentiated in μ and s, on which q depends. So draw ε, on which
nothing depends, and move the parameters into a function:

    [vae.5]   z = μ + s ⊙ ε,    ε ~ N(0, I)

    [vae.6]   J = E [‖x − f(z)‖²/(2σ²) + (n/2) ln 2πσ² + β KL],    −J is the evidence bound for β = 1

One ε for each sample and step will do: its gradient is right on average. Let R be J without β KL, as a mean over N
samples. Its gradient passes through the decoder down to the input z [mlp.4]; then, by the chain rule with ∂z/∂μ = 1 and
∂z/∂ρ = ∂(μ + e^ρ ⊙ ε)/∂ρ = ε ⊙ s, and by [vae.4] with ∂s²/∂ρ = 2s²,

    [vae.7]   ∂J/∂μ = ∂R/∂z + βμ/N,    ∂J/∂ρ = ∂R/∂z ⊙ ε ⊙ s + β (s² − 1)/N

**Training.** There are two pretext tasks. The encoder's: input x, to be reconstructed from the code that it makes; its
loss is that of the decoder's output, composed with the decoder, which is fixed in this step. The decoder's: input z,
from the encoder, which is fixed in this step; target x. They are two runs of `train_epochs`, a step each in turn, as in
`gan`; but here both descend the same J, so that there is no game, and nothing circles.

**What β does.** Let β > 0. Multiply J at β = 1 and σ′ = √β σ by β: the first term becomes ‖x − f‖²/(2σ²). So J with β
is, up to a constant, β times the ordinary J with another σ,

    [vae.8]   J_β(σ) = β J₁(√β σ) + (n/2) (ln 2πσ² − β ln 2πβσ²)      (theorem)

and β-VAEs (Higgins et al. 2017), with a fixed σ, are VAEs with the variance βσ² in p(x | z). Larger β: details count as
noise, fewer components of z are used, reconstructions are smoother, and samples come nearer to reconstructions.

**A linear VAE is probabilistic PCA.** Let f(z) = Wz + b. Then x is Gaussian, with covariance K = WWᵀ + σ²I, and all can
be computed; σ is given. The best b is the mean of x, and then the mean of −ln p over the data is
½ [n ln 2π + ln det K + tr(K⁻¹C)]. K has eigenvalues d₁ ≥ … ≥ dₙ ≥ σ², and dᵢ = σ² for i > m. By von Neumann's trace
inequality tr(K⁻¹C) ≥ Σᵢ λᵢ/dᵢ, with equality if K has the eigenvectors of C, in the same order. And ln d + λ/d falls up
to d = λ and rises beyond. So

    [vae.9]   dᵢ = max(λᵢ, σ²) for i ≤ m, σ² for i > m;    WWᵀ = Σᵢ (dᵢ − σ²) uᵢuᵢᵀ over i ≤ m
    [vae.10]  max E ln p(x) = −½ Σᵢ [ln 2π + ln dᵢ + λᵢ/dᵢ]      (theorem)

(Tipping & Bishop 1999). That is the likelihood; now the bound. With M = WᵀW + σ²I, z given x is Gaussian with mean
M⁻¹Wᵀ(x − b) and covariance σ²M⁻¹ (its precision is I + WᵀW/σ²). A linear encoder can have this mean. Then, q's
covariance being diagonal, KL(q‖p(z | x)) = ½ [Σⱼ (Mⱼⱼsⱼ²/σ² − 1 − ln sⱼ²) + ln det(σ²M⁻¹)]. Its derivative in sⱼ² is
zero at sⱼ² = σ²/Mⱼⱼ, and there

    [vae.11]  ln p(x) − bound = ½ [Σⱼ ln Mⱼⱼ − ln det M] ≥ 0,    0 only for diagonal M      (theorem)

(Hadamard's inequality). [vae.9] leaves W open up to a rotation of z. One rotation makes the columns of W orthogonal, so
that M = diag(d₁ … d_m). So, with (·)₊ for 0 where negative,

    [vae.12]  max bound = max E ln p(x), reached at W = (u₁ … u_m) diag(λᵢ − σ²)₊^½, b the mean of x,
              μ(x) = M⁻¹Wᵀ(x − b), sᵢ² = σ²/dᵢ; only there, up to order and signs of the columns,
              if λ₁ > … > λ_m > σ² and λ_m > λ_{m+1}      (theorem)

(Lucas et al. 2019). Where PCA by reconstruction finds a plane only [pca.7], the noise in the bottleneck finds the axes.
Components with λᵢ ≤ σ² (with β: βσ²) are not used: W has a column of zeros, q(zᵢ | x) is the prior. This is *posterior
collapse*, and in the linear case it is the optimum. For a linear decoder the mean over ε needs no drawing:

    [vae.13]  E h(ε) = (1/2m) Σⱼ [h(√m eⱼ) + h(−√m eⱼ)] for h quadratic: "sigma points"      (theorem)

>>> import numpy as np
>>> from minissl.nn.schedules import linear
>>> x = np.random.default_rng(0).standard_normal((2000, 2)) * [2.0, 0.5] + [3.0, 1.0]
>>> encoder, decoder = MLP((2, 2), rng=1, dtype="float64"), MLP((1, 2), rng=2, dtype="float64")
>>> options = {"optimizers": (Adam(0.03), Adam(0.03)), "schedule": linear, "rng": 3}
>>> J = train_vae(encoder, decoder, x, sigma=0.5, steps=2000, **options)
>>> W, density = probabilistic_pca(x, m=1, sigma=0.5)
>>> bound = evidence_bound(encoder, decoder, x, sigma=0.5, samples=100, rng=4)
>>> print(f"{bound.mean():.1f} of {density.log_density(x).mean():.1f} nats")
-2.8 of -2.8 nats
>>> print(f"{abs(decoder.weights[0][0, 0]):.0f}, {abs(W[0, 0]):.0f}")  # √(λ₁ − σ²) = √3.75
2, 2

Sources: Kingma & Welling, ICLR (2014), arXiv 1312.6114; Rezende, Mohamed & Wierstra, ICML (2014); Tipping & Bishop,
Journal of the Royal Statistical Society B 61 (1999), 611-622; Higgins et al., ICLR (2017); Lucas, Tucker, Grosse &
Norouzi, NeurIPS (2019), arXiv 1911.02469.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from minissl._arrays import Array, Loss, Task, normal
from minissl._checks import (
    check_array,
    check_coders,
    check_count,
    check_decoder,
    check_deviation,
    check_finite,
    check_number,
    check_rng,
    check_samples,
    check_two_optimizers,
)
from minissl.goals.gan import _of_random_rows
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam
from minissl.nn.schedules import constant
from minissl.nn.training import train_epochs
from minissl.tasks.noise import Gaussian


def encoder_task(m: int) -> Task:
    """The encoder's task: x -> (input x, target x, noise ε of shape (N, m)), for `negative_bound`."""
    return functools.partial(_encoder_task, check_count(m, "m"))


def _encoder_task(m, x, rng):
    x = check_array(x, "x", ndim=2)
    return x, x, normal(check_rng(rng), (len(x), m), like=x)


def decoder_task(encoder: MLP) -> Task:
    """The decoder's task: x -> (input z drawn from q(z | x) [vae.5], target x), for `gaussian_loss`."""
    return functools.partial(_decoder_task, check_decoder(encoder, "encoder"))


def _decoder_task(encoder, x, rng):
    x = encoder.check_input(x)
    mu, rho = _halves(encoder(x))
    _, z = _latent(mu, rho, normal(check_rng(rng), mu.shape, like=mu))
    return z, x


def _halves(output):
    m = output.shape[1] // 2
    return output[:, :m], output[:, m:]  # [vae.2] μ, and ρ = ln s


@np.errstate(all="ignore")  # check_finite sees what overflows
def _latent(mu, rho, noise):
    s = np.exp(rho)
    return s, check_finite(mu + s * noise, "z")  # [vae.5] z = μ + s ⊙ ε


def gaussian_loss(sigma: float) -> Loss:
    """The decoder's loss: (output f(z), target x), both (N, n) -> (mean of −ln p(x | z) [vae.1], gradient); in nats."""
    return functools.partial(_gaussian_loss, check_deviation(sigma, "sigma"))


def _gaussian_loss(sigma, output, target):
    output = check_array(output, "output", ndim=2)
    error, delta = squared_error(output, target)
    constant = output.shape[1] / 2 * math.log(2 * math.pi * sigma**2)  # [vae.1] of −ln N(x; f(z), σ²I)
    return error / (2 * sigma**2) + constant, delta / (2 * sigma**2)  # [vae.6] E ‖x − f(z)‖²/(2σ²) + (n/2) ln 2πσ²


def negative_bound(decoder: MLP, sigma: float, beta: float = 1.0) -> Loss:
    """The encoder's loss J [vae.6]: (output (μ, ρ), (N, 2m); target x; noise ε) -> (J in nats, ∂J/∂output [vae.7]).

    The decoder is used as it is at the time of the call, and not changed.
    """
    check_decoder(decoder, "decoder")
    sigma = check_deviation(sigma, "sigma", like=decoder.theta)
    return functools.partial(_negative_bound, decoder, sigma, check_number(beta, "beta", low=0))


@np.errstate(under="ignore")
def _negative_bound(decoder, sigma, beta, output, target, noise):
    output = check_array(output, "output", shape=(None, 2 * decoder.sizes[0]), like=decoder.theta)
    N = len(output)
    mu, rho = _halves(output)
    noise = check_array(noise, "noise", shape=mu.shape, like=output)
    s, z = _latent(mu, rho, noise)
    H = decoder.forward(z)
    value, delta = _gaussian_loss(sigma, H[-1], target)
    _, dz = decoder.backward(H, delta, input_gradient=True)  # ∂R/∂z [mlp.4]
    dmu = dz + beta / N * mu  # [vae.7] ∂R/∂z + βμ/N
    drho = dz * noise * s + beta / N * (s * s - 1)  # [vae.7] ∂R/∂z ⊙ ε ⊙ s + β (s² − 1)/N
    return value + beta * _kl(mu, rho, s).sum() / N, np.concatenate([dmu, drho], axis=1)  # [vae.6] … + β KL


def _kl(mu, rho, s):
    return (0.5 * (mu * mu + s * s - 1) - rho).sum(axis=1)  # [vae.4] Σⱼ [½(μⱼ² + sⱼ² − 1) − ρⱼ], (N,)


@np.errstate(under="ignore")
def evidence_bound(encoder: MLP, decoder: MLP, x: Array, sigma: float, samples: int = 1, rng=None) -> Array:
    """The bound on ln p(x) [vae.3] for each row of x, (N,), in nats; a mean over `samples` draws of z."""
    check_coders(encoder, decoder)
    x = encoder.check_input(x)
    sigma = check_deviation(sigma, "sigma", like=x)
    samples, rng = check_count(samples, "samples"), check_rng(rng)
    mu, rho = _halves(encoder(x))
    squares = np.zeros_like(x[:, 0])
    for _ in range(samples):
        s, z = _latent(mu, rho, normal(rng, mu.shape, like=mu))
        e = x - decoder(z)
        squares += (e * e).sum(axis=1) / samples
    n = x.shape[1]
    return -squares / (2 * sigma**2) - n / 2 * math.log(2 * math.pi * sigma**2) - _kl(mu, rho, s)  # [vae.6] −J


def train_vae(encoder: MLP, decoder: MLP, x: Array, *, sigma: float, steps: int, **options) -> list[float]:
    """Train both networks; J on the batch of each of `steps` pairs of steps. Options as in `train_vae_steps`."""
    return list(train_vae_steps(encoder, decoder, x, sigma=sigma, steps=steps, **options))


def train_vae_steps(
    encoder: MLP,
    decoder: MLP,
    x: Array,
    *,
    sigma: float,
    steps: int,
    beta: float = 1.0,
    batch_size: int = 128,
    optimizers: tuple[Adam | SGD, Adam | SGD] | None = None,
    schedule: Callable[[float], float] = constant,
    rng=None,
) -> Iterator[float]:
    """Train both networks on data (N, n), a step each in turn; yield J [vae.6], as it was before each pair of steps.

    The encoder has 2m outputs, the decoder m inputs. Every step draws `batch_size` of the data (at most N), with
    replacement. `optimizers` are that of the encoder and that of the decoder, by default Adam() each. To sample, send
    N(0, I) through the decoder, as gan.Generator(decoder) does. FloatingPointError if J or a step stops being finite.
    """
    check_coders(encoder, decoder)
    x = check_array(x, "x", shape=(None, encoder.sizes[0]), like=encoder.theta)
    loss = negative_bound(decoder, sigma, beta)
    steps, batch_size = check_count(steps, "steps"), check_count(batch_size, "batch_size")
    optimizers = (Adam(), Adam()) if optimizers is None else optimizers
    first, second = check_two_optimizers(optimizers, "optimizers")
    batch = x[:batch_size]  # a run whose data are one batch takes one step an epoch
    encode = functools.partial(_of_random_rows, encoder_task(decoder.sizes[0]), x)
    decode = functools.partial(_of_random_rows, decoder_task(encoder), x)
    options = {"epochs": steps, "batch_size": batch_size, "schedule": schedule, "rng": check_rng(rng)}
    both = zip(
        train_epochs(encoder, batch, encode, loss, optimizer=first, **options),
        train_epochs(decoder, batch, decode, gaussian_loss(sigma), optimizer=second, **options),
        strict=True,
    )
    return (J for J, _ in both)


@np.errstate(under="ignore")
def probabilistic_pca(x: Array, m: int, sigma: float) -> tuple[Array, Gaussian]:
    """The linear VAE's optimum for data (N, n) and a fixed σ: W, (n, m) [vae.12], and the density p(x) [vae.9]."""
    x = check_samples(x, "x")
    m = check_count(m, "m", high=x.shape[1])
    sigma = check_deviation(sigma, "sigma", like=x)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    variances, U = np.linalg.eigh(centred.T @ centred / len(x))
    variances, U = variances[::-1], U[:, ::-1]
    d = np.full_like(variances, sigma**2)
    d[:m] = np.maximum(variances[:m], sigma**2)  # [vae.9] dᵢ = max(λᵢ, σ²) for i ≤ m, σ² for i > m
    W = U[:, :m] * np.sqrt(d[:m] - sigma**2)  # [vae.9] WWᵀ = Σᵢ (dᵢ − σ²) uᵢuᵢᵀ
    return W.astype(x.dtype), Gaussian(mean.astype(x.dtype), U.astype(x.dtype), np.sqrt(d).astype(x.dtype))
