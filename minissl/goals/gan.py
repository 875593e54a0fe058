"""Generative adversarial networks (GAN): data against noise, where the noise learns.

The lecture's fourth goal is to generate new data. Here no density is learned first. A classifier tells data from noise,
as in `tasks/noise.py`; but the noise is the output of a second network, which learns to be taken for data. In the
field's words, the classifier is the *discriminator*, the other network the *generator* (Goodfellow et al. 2014).

    symbol       in code         meaning                                                          shape
    x            x               data, one sample per row                                         (N, n)
    z            z               latent noise, drawn from N(0, I_m)                               (N, m)
    G(z)         generator       output of the generator, a network with the parameters θ         (N, n)
    y(x)         discriminator   output of the discriminator: the logit of "x is data"            (N, 1)
    D(x)                         sigmoid(y(x)), the probability of "x is data"                    (N, 1)
    p_d, p_g                     density of the data, of the generator's output                   functions of x
    p̄                            their mean, ½(p_d + p_g)                                         function of x
    D*, y*                       the best discriminator for given p_d, p_g, and its logit         functions of x
    E                            mean over the data, over z; E_d, E_n, E_m over p_d, p_n, p_m     number
    J_D          value           loss of the discriminator, in nats                               number
    J_G          value           loss of the generator, in nats                                   number
    ∂J_G/∂G      delta           its gradient in the generator's output                           (N, n)

**Two pretext tasks.** To generate is to draw latent noise and send it through a network:

    [gan.1]   x = G(z),    z ~ N(0, I_m)

A generator can be sampled, and that is all that `against_noise` asks of its noise. So the discriminator's task is
`against_noise(generator)` as it stands, with ν = 1, and its loss is [noise.1]:

    [gan.2]   J_D = −½ E ln D(x) − ½ E ln(1 − D(G(z)))

The generator's task invents its pairs without any data: the input is z, and the target 1, to be taken for data. Its
loss is the cross-entropy [losses.2] composed with the discriminator, which is fixed in this step. It has two forms:

    [gan.3]   J_G = −E ln D(G(z))  (non-saturating),    or    J_G = E ln(1 − D(G(z)))  (saturating)

The second is −2 J_D up to a term without θ: a game in which one player wins what the other loses. The error passes
through the discriminator as in any network, down to its input [mlp.4], and its input is the generator's output. With
d/dy [−ln sigmoid(y)] = sigmoid(y) − 1 and d/dy ln(1 − sigmoid(y)) = −sigmoid(y), at each of N samples,

    [gan.4]   ∂J_G/∂G = −(1/N) (1 − D) ∇y  (non-saturating),    or    −(1/N) D ∇y  (saturating)

Either way the loss falls where the generator's samples move along ∇y, to where the discriminator finds more data. Where
it recognises them, D is near 0, and the second form comes to a halt, hence the names. All that the generator ever
learns of the data is ∇y.

**What the discriminator learns.** By [noise.2], y* = ln p_d − ln p_g, if it is free to be any function. So

    [gan.5]   D*(x) = sigmoid(y*(x)) = p_d(x)/(p_d(x) + p_g(x))      (theorem)

(Goodfellow et al. 2014, proposition 1). Insert D* = p_d/(2p̄) and 1 − D* = p_g/(2p̄) in [gan.2]:

    J_D(D*) = −½ ∫ p_d ln(p_d/(2p̄)) dx − ½ ∫ p_g ln(p_g/(2p̄)) dx = ln 2 − ½ ∫ p_d ln(p_d/p̄) dx − ½ ∫ p_g ln(p_g/p̄) dx

With the Kullback–Leibler divergence KL(p‖q) = ∫ p ln(p/q) dx, the last two terms are the Jensen–Shannon divergence
JSD(p_d, p_g) = ½ KL(p_d‖p̄) + ½ KL(p_g‖p̄); it is 0 only if p_d = p_g, and ln 2 if they do not overlap. For every D,

    [gan.6]   J_D ≥ J_D(D*) = ln 2 − JSD(p_d, p_g)      (theorem)

so ln 2 − J_D, on samples that are new to the discriminator, is on average a lower bound of the JSD. (J_D is a mean over
all 2N rows. Goodfellow et al. take the value V = −2 J_D, a mean over pairs: −ln 4 + 2 JSD, theorem 1.)

**What the generator descends.** Let D be D* for the θ of now, and stay so while θ moves. For a fixed function h,
E h(G(z)) = ∫ p_g h dx has the gradient ∫ (∂p_g/∂θ) h dx; for h = 1 that is zero. On the other side,

    ∂/∂θ 2 JSD       = ∫ (∂p_g/∂θ) [ln(p_g/p̄) + 1 − (p_d + p_g)/(2p̄)] dx = ∫ (∂p_g/∂θ) ln(p_g/p̄) dx
    ∂/∂θ KL(p_g‖p_d) = ∫ (∂p_g/∂θ) [ln(p_g/p_d) + 1] dx = −∫ (∂p_g/∂θ) y* dx

and ln(p_g/p̄) = ln 2 + ln(1 − D*), ln D* = y* + ln(1 − D*). Hence, with D* on the left held fixed,

    [gan.7]   ∂/∂θ E ln(1 − D*(G(z))) = ∂/∂θ 2 JSD(p_d, p_g)      (theorem)
    [gan.8]   ∂/∂θ [−E ln D*(G(z))] = ∂/∂θ [KL(p_g‖p_d) − 2 JSD(p_d, p_g)]      (theorem)

([gan.8]: Arjovsky & Bottou 2017, theorem 2.5). KL(p_g‖p_d) is large where there are samples without data, and hardly
notices data without samples; and the JSD has the wrong sign. So [gan.8] lets modes be lost. Both need a density p_g
that is smooth in θ, and [gan.8] p_d > 0 wherever p_g > 0. If the generator fills only a surface (m < n), or the data
do, the two can as a rule be told apart perfectly (not if both fill the same surface), J_D falls to 0, and ∇y says
little: the discriminator wins (ibid., theorems 2.1 to 2.4). And in training D is never quite D*.

**Beside noise-contrastive estimation.** There the noise p_n stands still and the logit is a model of the density,
y = ln p_m(x; α) − ln p_n(x), which learns; here the logit is any function, and the noise learns. Between them: let the
noise be a copy of the model, drawn anew for each step and fixed in it, with ν = 1. Then y = 0 and sigmoid(y) = ½ where
the step begins, so that J = ½ E_d ln(1 + e⁻ʸ) + ½ E_n ln(1 + eʸ) has, with E_m for the mean over p_m,

    [gan.9]   ∂J/∂α = −¼ [E_d ∂ln p_m/∂α − E_m ∂ln p_m/∂α] = ¼ ∂/∂α [−E_d ln p_m]      (theorem)

(the second mean is zero if p_m integrates to one for every α): a quarter of a step of maximum likelihood (Goodfellow
2015). A GAN has no such p_m, and [gan.7], [gan.8] are not maximum likelihood, which would be KL(p_d‖p_g).

**Training** is two runs of `train_epochs` side by side, a step each. Nothing says that they converge: two players that
descend different functions may circle around the point where both are at rest (Mescheder et al. 2018). What helps:
little momentum, Adam with β₁ = 0.5 (Radford et al. 2016); a learning rate that falls to 0, `schedule=linear`; and a
discriminator that is not slower than the generator (Heusel et al. 2017).

>>> import numpy as np
>>> from minissl.nn.schedules import linear
>>> x = 2 + 0.5 * np.random.default_rng(0).standard_normal((2000, 1))  # data: N(2, 0.5²)
>>> generator = Generator(MLP((1, 1), rng=1, dtype="float64"))         # G(z) = Wz + b: Gaussians
>>> discriminator = MLP((1, 16, 1), "tanh", rng=2, dtype="float64")
>>> options = {"optimizers": (Adam(0.03, beta1=0.5), Adam(0.01, beta1=0.5)), "schedule": linear, "batch_size": 256}
>>> losses = train_gan(generator, discriminator, x, steps=1000, rng=3, **options)
>>> samples = generator.sample(10_000, rng=4)
>>> print(f"mean {samples.mean():.0f}, standard deviation {samples.std():.1f}")
mean 2, standard deviation 0.5

Sources: Goodfellow et al., NeurIPS (2014), arXiv 1406.2661; Goodfellow, ICLR workshop (2015), arXiv 1412.6515; Gutmann
& Hyvärinen, AISTATS (2010); Radford, Metz & Chintala, ICLR (2016), arXiv 1511.06434; Arjovsky & Bottou, ICLR (2017),
arXiv 1701.04862; Heusel et al., NeurIPS (2017), arXiv 1706.08500; Mescheder, Geiger & Nowozin, ICML (2018),
arXiv 1801.04406.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minissl._arrays import Array, Loss, Task, normal
from minissl._checks import (
    check_array,
    check_count,
    check_generator,
    check_one_output,
    check_rng,
    check_two_optimizers,
)
from minissl.nn.losses import sigmoid_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam
from minissl.nn.schedules import constant
from minissl.nn.training import train_epochs
from minissl.tasks.noise import against_noise


class Generator(NamedTuple):
    """A network from latent noise (N, m) to data (N, n), to draw samples from [gan.1]."""

    net: MLP

    def sample(self, N: int, rng) -> Array:
        """N independent samples, (N, n)."""
        net = check_generator(self, "net").net
        z = normal(check_rng(rng), (check_count(N, "N"), net.sizes[0]), like=net.theta)
        return net(z)  # [gan.1] x = G(z), z ~ N(0, I_m)


def latent(m: int) -> Task:
    """The generator's task: latent noise (N, m), to be taken for data, target 1 [gan.3]; of x only N counts."""
    return functools.partial(_latent, check_count(m, "m"))


def _latent(m, x, rng):
    x = check_array(x, "x", ndim=2)
    return normal(check_rng(rng), (len(x), m), like=x), np.ones_like(x[:, :1])


def adversarial_loss(discriminator: MLP, saturating: bool = False) -> Loss:
    """The generator's loss [gan.3]: (output G(z), (N, n); target 1, (N, 1)) -> (J_G, ∂J_G/∂G). A mean over samples.

    The discriminator is used as it is at the time of the call, and not changed.
    """
    return functools.partial(_adversarial_loss, check_one_output(discriminator, "discriminator"), saturating)


def _adversarial_loss(discriminator, saturating, output, target):
    sign = -1 if saturating else 1
    H = discriminator.forward(output)
    # [gan.3] −ln D, the cross-entropy for the target 1; or ln(1 − D), minus the cross-entropy for the target 0
    value, delta = sigmoid_cross_entropy(H[-1], 1 - target if saturating else target)
    _, delta = discriminator.backward(H, sign * delta, input_gradient=True)  # [gan.4] −(1 − D) ∇y/N, or −D ∇y/N
    return sign * value, delta


def train_gan(generator: Generator, discriminator: MLP, x: Array, *, steps: int, **options) -> list[tuple]:
    """Train both networks; (J_D, J_G) before each of `steps` pairs of steps. Options as in `train_gan_steps`."""
    return list(train_gan_steps(generator, discriminator, x, steps=steps, **options))


def train_gan_steps(
    generator: Generator,
    discriminator: MLP,
    x: Array,
    *,
    steps: int,
    batch_size: int = 128,
    optimizers: tuple[Adam | SGD, Adam | SGD] | None = None,
    schedule: Callable[[float], float] = constant,
    saturating: bool = False,
    rng=None,
) -> Iterator[tuple]:
    """Train both networks on data (N, n), a step each in turn; yield (J_D, J_G) after each pair, as it was before it.

    Nothing happens until it is iterated over. Every step of the discriminator draws `batch_size` of the data (at most
    N), with replacement, and as many samples of the generator. `optimizers` are that of the discriminator and that of
    the generator, by default Adam(beta1=0.5) each. FloatingPointError if a loss or a step stops being finite.
    """
    check_generator(generator, "generator")
    check_one_output(discriminator, "discriminator")
    x = check_array(x, "x", ndim=2, like=discriminator.theta)
    steps = check_count(steps, "steps")
    batch_size = check_count(batch_size, "batch_size")
    optimizers = (Adam(beta1=0.5), Adam(beta1=0.5)) if optimizers is None else optimizers
    first, second = check_two_optimizers(optimizers, "optimizers")
    rng = check_rng(rng)
    batch = x[:batch_size]  # a run whose data are one batch takes one step an epoch
    discriminate = functools.partial(_of_random_rows, against_noise(generator), x)  # [gan.2] x and G(z)
    imitate = latent(generator.net.sizes[0])
    loss = adversarial_loss(discriminator, saturating)  # [gan.3] J_G
    options = {"epochs": steps, "batch_size": batch_size, "schedule": schedule, "rng": rng}
    return zip(
        train_epochs(discriminator, batch, discriminate, sigmoid_cross_entropy, optimizer=first, **options),
        train_epochs(generator.net, batch, imitate, loss, optimizer=second, **options),
        strict=True,
    )


def _of_random_rows(task, x, batch, rng):
    """The task on as many rows of all data as there are in the batch."""
    rows = np.asarray(rng.integers(len(x), size=len(batch)), like=x)
    return task(x[rows], rng)
