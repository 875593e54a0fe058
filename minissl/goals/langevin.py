"""Sampling: new data from a model of the density, by Markov chains that follow its score.

    symbol      meaning                                                       shape
    p           density of the data, known up to a constant factor
    s(x)        score, grad ln p(x); the constant has gone                    (N, n)
    x           N chains, one per row                                         (N, n)
    z           N(0, I), new in every step                                    (N, n)
    e           step of the dynamics                                          number
    sigma       standard deviation of noise added to the data                 number
    p_sigma     density of data + sigma z, smoother than p
    Y           output of a network that is told x~ and sigma                 (N, n)

The diffusion dx = (1/2) grad ln p dt + dw leaves p as it is: its Fokker-Planck equation for the density q of x,
dq/dt = -(1/2) div(q grad ln p) + (1/2) div grad q, is zero at q = p, since p grad ln p = grad p. In steps of time e
it is unadjusted Langevin dynamics (Parisi 1981; Grenander & Miller 1994):

    [sampling.1]   x' = x + (e/2) s(x) + sqrt(e) z

A finite step has its price. On N(0, 1), where s(x) = -x, x' = (1 - e/2) x + sqrt(e) z and the variance v' of x' is
(1 - e/2)^2 v + e, so that (for e < 4; beyond, the chain explodes)

    [sampling.2]   v_t = v + (1 - e/2)^(2t) (v_0 - v),    v = e / (1 - (1 - e/2)^2) = 1 / (1 - e/4),  not 1

The Metropolis-adjusted algorithm (MALA; Roberts & Tweedie 1996) takes x' only as a proposal. Staying at x unless
u < a, with u uniform in (0, 1), makes p(x) q(x'|x) min(1, a) symmetric in x and x', so that p is exactly stationary:

    [sampling.3]   ln q(x'|x) = -||x' - x - (e/2) s(x)||^2 / (2e) + const
    [sampling.4]   ln a = ln p(x') - ln p(x) + ln q(x|x') - ln q(x'|x)

Neither crosses a region without probability, and there a learned score is wrong as well. Annealed dynamics (Song &
Ermon 2019, algorithm 1) run [sampling.1] on p_sigma for a falling ladder sigma_1 > ... > sigma_L, with steps

    [sampling.5]   e_i = e sigma_i^2 / sigma_L^2

which keep the ratio of signal to noise, of (e_i/2) s to sqrt(e_i) z, about the same, since s is of order 1 / sigma_i.

Three places to get a score from. A denoising autoencoder trained at one sigma: `autoencoder.score` [autoencoder.3]. Or
one network for all sigma. Given x, the density of x~ = x + sigma z has the score -z / sigma; matching it in the mean
square at every level (Song & Ermon 2019, equations 5 and 6), with weights lambda(sigma), is

    [sampling.6]   J = E lambda(sigma) ||s(x~, sigma) + z / sigma||^2

Data of unit variance would have s near -x~ / (1 + sigma^2); Y corrects that. With c = 1 / sqrt(1 + sigma^2),

    [sampling.7]   s(x~, sigma) = -c^2 x~ + (c / sigma) Y(c x~, ln sigma)

turns [sampling.6] into E (lambda c^2 / sigma^2) ||Y - c (sigma x - z)||^2. Input c (x + sigma z) and target
c (sigma x - z) are x and z turned and mirrored, both of about unit variance at every level, and with
lambda = sigma^2 / c^2 the loss is the plain squared error (Salimans & Ho 2022, appendix D; Karras et al. 2022, section
5). This is Song & Ermon's lambda = sigma^2 for small sigma; for large sigma, where the modes are weighed, it is more.

The output f of a network that says ln p(x) + const (an energy, with its sign turned; ln p_d - ln p_n of
noise-contrastive estimation, to which ln p_n is added): the gradient with respect to its input ([mlp.4] with delta 1),

    [sampling.8]   s(x) = df/dx

Sources: Parisi, Nuclear Physics B 180 (1981); Grenander & Miller, JRSS B 56 (1994); Roberts & Tweedie, Bernoulli 2
(1996), 341-363; Song & Ermon, NeurIPS (2019), arXiv 1907.05600; Salimans & Ho, ICLR (2022), arXiv 2202.00512; Karras
et al., NeurIPS (2022), arXiv 2206.00364.
"""

from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, namespace, normal, number, uniform


class Chains(NamedTuple):
    """What the dynamics left behind."""

    x: np.ndarray  # the last state, (N, n)
    path: np.ndarray | None  # all states, the first included, (steps + 1, N, n), where asked for
    acceptance: float  # share of proposals that were accepted; 1 without adjustment


def langevin(score, x, step, steps, *, rng=None, path=False):
    """Unadjusted Langevin dynamics [sampling.1].

    Parameters
    ----------
    score : callable
        x of shape (N, n) -> grad ln p, shape (N, n).
    x : array_like, shape (N, n)
        Where the chains start. Not modified.
    step : float
        e > 0.
    steps : int
    rng : int, numpy.random.Generator or None
    path : bool
        Whether to keep all states.

    Returns
    -------
    Chains

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or the score has another shape, dtype or library than `x`.
    FloatingPointError
        If a chain runs off to infinity.
    """
    x, e, steps, rng = _start(x, step, steps, rng)
    states = [x]
    for t in range(1, steps + 1):
        s = _like(score(x), x, x.shape, "score")
        x = x + (e / 2) * s + e**0.5 * normal(rng, x.shape, x)  # [sampling.1]
        _finite(x, "state", t)
        if path:
            states.append(x)
    return Chains(x, namespace(x).stack(states) if path else None, 1.0)


def mala(density, x, step, steps, *, rng=None, path=False):
    """Metropolis-adjusted Langevin dynamics [sampling.4]: p is stationary whatever the step.

    Parameters
    ----------
    density : callable
        x of shape (N, n) -> (ln p up to a constant, shape (N,), and its gradient, shape (N, n)). Where ln p is
        -infinity no chain goes.
    x, step, steps, rng, path
        As in `langevin`, and the same is returned. An acceptance near 0.57 mixes best in high dimension.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, ln p is -infinity at the start, or `density` returns other shapes or dtypes.
    FloatingPointError
        If ln p is NaN or +infinity, or its gradient not finite where ln p is.
    """
    x, e, steps, rng = _start(x, step, steps, rng)
    xp, states, accepted = namespace(x), [x], 0.0
    log_p, s = _evaluate(density, x, 0)
    if (log_p == -np.inf).any():
        raise ValueError("x: a chain starts where ln p is -infinity, expected positive density")
    for t in range(1, steps + 1):
        x_new = x + (e / 2) * s + e**0.5 * normal(rng, x.shape, x)  # [sampling.1]
        log_p_new, s_new = _evaluate(density, x_new, t)
        log_a = log_p_new - log_p + _log_q(x, x_new, s_new, e) - _log_q(x_new, x, s, e)  # [sampling.4]
        accept = xp.log1p(-uniform(rng, len(x), x)) < log_a
        x = xp.where(accept[:, None], x_new, x)
        s = xp.where(accept[:, None], s_new, s)
        log_p = xp.where(accept, log_p_new, log_p)
        accepted += float(accept.mean())
        if path:
            states.append(x)
    return Chains(x, xp.stack(states) if path else None, accepted / steps)


def annealed(score, x, sigmas, step, steps, *, rng=None, path=False):
    """Annealed Langevin dynamics [sampling.5]: from noise to data, down a ladder of noise levels.

    Parameters
    ----------
    score : callable
        (x of shape (N, n), sigma) -> grad ln p_sigma, shape (N, n).
    sigmas : sequence of float
        sigma_1 > ... > sigma_L > 0.
    x, step, steps, rng, path
        As in `langevin`; e is the step at the last level, and there are `steps` steps at each level.

    Returns
    -------
    Chains

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As `langevin`, and if `sigmas` do not fall.
    """
    sigmas = _levels(sigmas)
    x, e, steps, rng = _start(x, step, steps, rng)
    paths = [x[None]]
    for sigma in sigmas:
        e_i = e * (sigma / sigmas[-1]) ** 2  # [sampling.5]
        x, states, _ = langevin(lambda x, sigma=sigma: score(x, sigma), x, e_i, steps, rng=rng, path=path)
        if path:
            paths.append(states[1:])
    return Chains(x, namespace(x).concatenate(paths) if path else None, 1.0)


def noise_conditional(sigmas):
    """Pretext task: denoise, told the level of the noise [sampling.6], [sampling.7]; for the loss `squared_error`.

    The network has n + 1 inputs and n outputs. The task stands here and not among the autoencoders, because
    `conditional_score` must undo what it does to input and target.

    Parameters
    ----------
    sigmas : sequence of float
        sigma_1 > ... > sigma_L > 0, of which each sample is given one at random.

    Returns
    -------
    callable
        (x, rng) -> (input, target). `x` should have about unit variance.

    Raises
    ------
    TypeError, ValueError
        If `sigmas` do not fall.
    """
    sigmas = _levels(sigmas)

    def task(x, rng):
        x, rng = array(x, "x", ndim=2), generator(rng)
        xp = namespace(x)
        sigma = xp.asarray(rng.choice(sigmas, size=(len(x), 1)), dtype=x.dtype)
        z = normal(rng, x.shape, x)
        return _told(x + sigma * z, sigma), (sigma * x - z) / xp.sqrt(1 + sigma**2)  # [sampling.7]

    return task


def conditional_score(net):
    """The score of a network trained on `noise_conditional` [sampling.7].

    Parameters
    ----------
    net : callable
        An MLP of n + 1 inputs and n outputs.

    Returns
    -------
    callable
        (x of shape (N, n), sigma) -> grad ln p_sigma, shape (N, n), as `annealed` takes it.

    Raises
    ------
    TypeError, ValueError
        From the score, if an argument is unfit.
    """

    def score(x, sigma):
        x, sigma = array(x, "x", ndim=2), number(sigma, "sigma", low=0, open_low=True)
        c = 1 / (1 + sigma**2) ** 0.5
        told = _told(x, namespace(x).full((len(x), 1), sigma, dtype=x.dtype))
        return -(c**2) * x + (c / sigma) * _like(net(told), x, x.shape, "net")  # [sampling.7]

    return score


def network_density(net):
    """A network's output as ln p up to a constant, and its score [sampling.8].

    Parameters
    ----------
    net : MLP
        With one output.

    Returns
    -------
    callable
        x -> (f(x) of shape (N,), df/dx of shape (N, n)), as `mala` takes it.

    Raises
    ------
    TypeError, ValueError
        If the network has another number of outputs.
    """
    if not hasattr(net, "sizes"):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")
    if net.sizes[-1] != 1:
        raise ValueError(f"net: got {net.sizes[-1]} outputs, expected 1")

    def density(x):
        H = net.forward(x)
        _, s = net.backward(H, namespace(x).ones_like(H[-1]), input_gradient=True)  # [sampling.8]
        return H[-1][:, 0], s

    return density


def _told(x, sigma):
    """What a noise-conditional network sees of x~ and its level, (N, n + 1) [sampling.7]."""
    xp = namespace(x)
    return xp.concatenate([x / xp.sqrt(1 + sigma**2), xp.log(sigma)], axis=1)


def _levels(sigmas):
    sigmas = array(sigmas, "sigmas", ndim=1)
    if not (sigmas > 0).all() or not (sigmas[1:] < sigmas[:-1]).all():
        raise ValueError(f"sigmas: got {sigmas}, expected positive and falling noise levels")
    return [float(sigma) for sigma in sigmas]


def _log_q(x_new, x, s, e):
    """Log density of proposing x' from x [sampling.3], without its constant."""
    return -((x_new - x - (e / 2) * s) ** 2).sum(axis=1) / (2 * e)


def _evaluate(density, x, t):
    """ln p and its gradient; where ln p is -infinity the gradient is set to 0: it is not looked at."""
    log_p, s = density(x)
    log_p, s = _like(log_p, x, (len(x),), "log_p"), _like(s, x, x.shape, "score")
    nowhere = log_p == -np.inf
    _finite(namespace(x).where(nowhere, 0, log_p), "log_p", t)
    s = namespace(x).where(nowhere[:, None], 0, s)
    _finite(s, "score", t)
    return log_p, s


def _start(x, step, steps, rng):
    return array(x, "x", ndim=2), number(step, "step", low=0, open_low=True), count(steps, "steps"), generator(rng)


def _like(a, x, shape, name):
    """What a user's function returned, of the shape, dtype and library of the chains."""
    if not isinstance(a, namespace(x).ndarray) or a.shape != shape or a.dtype != x.dtype:
        got = f"shape {a.shape} and dtype {a.dtype}" if hasattr(a, "shape") else type(a).__name__
        raise ValueError(f"{name}: got {got}, expected an array of shape {shape} and dtype {x.dtype} as x")
    return a


def _finite(a, name, t):
    if not namespace(a).isfinite(a).all():
        raise FloatingPointError(f"{name}: not finite in step {t} of the chains; try a smaller step")
