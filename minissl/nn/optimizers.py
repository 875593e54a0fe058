"""Optimizers on one flat vector of parameters.

    symbol     in code          meaning                                              shape
    θ          theta            parameters                                           (size,)
    g          g                gradient ∂J/∂θ of the batch                          (size,)
    α          learning_rate    times the factor of a schedule                       number > 0
    μ, u       momentum, u      of momentum: decay rate, velocity                    number, (size,)
    m, v       m, v             of Adam: running means of g and of g²                (size,)
    β₁, β₂     beta1, beta2     of Adam: decay rates of m and v                      numbers in [0, 1)
    ε          epsilon          of Adam: keeps the divisor above zero                number > 0
    t          t                steps taken, this one included                       1, 2, …

All operations on vectors, g² among them, are meant entry by entry.

**Stochastic gradient descent with momentum** (Polyak 1964; Sutskever et al. 2013, equations 1 and 2): the velocity is a
decaying sum of gradients, so that directions in which they agree gain speed and those in which they alternate lose it.

    [optimizers.1]   u ← μ u − α g,    θ ← θ + u

**Adam** (Kingma & Ba 2015, algorithm 1) divides each component by its own size, as measured by a running mean of
squares:

    [optimizers.2]   m ← β₁ m + (1 − β₁) g,    v ← β₂ v + (1 − β₂) g²
                     θ ← θ − α m̂/(√v̂ + ε),    m̂ = m/(1 − β₁ᵗ),    v̂ = v/(1 − β₂ᵗ)

Why the division by 1 − βᵗ: m and v start at zero and remember it. Written out, after t steps

    m = (1 − β₁) Σₛ₌₁ᵗ β₁ᵗ⁻ˢ gₛ,    and the weights add up to  (1 − β₁) Σₛ₌₁ᵗ β₁ᵗ⁻ˢ = 1 − β₁ᵗ

by the sum of a geometric series; not to 1. So if E(g) is the same at every step, and E(g²) is, then

    [optimizers.3]   E(m) = (1 − β₁ᵗ) E(g),    E(v) = (1 − β₂ᵗ) E(g²)      (theorem)

and the means of m̂ and v̂ are E(g) and E(g²): the bias is gone. At t = 1, m̂ = g and v̂ = g²: apart from ε, the first step
has the size α in every component, whatever the scale of g.

The class `Adam` keeps M = m/(1 − β₁) and V = v/(1 − β₂), which saves three passes over the parameters (a few per cent
of the time of training). Then v̂ = V/c² with c² = (1 − β₂ᵗ)/(1 − β₂), and multiplying numerator and denominator of
[optimizers.2] by c,

    [optimizers.4]   M ← β₁ M + g,    V ← β₂ V + g²,    c = √((1 − β₂ᵗ)/(1 − β₂))
                     θ ← θ − [α c (1 − β₁)/(1 − β₁ᵗ)] M/(√V + c ε)

Where a gradient has become zero for good, as that of a ReLU unit which is never active, u and M shrink by a factor in
every step until they are *subnormal*, below 10⁻³⁸ in float32 (10⁻³⁰⁸ in float64), and there rounding stops them.
Processors compute with such numbers tens of times as slowly. So every hundred steps, what is on its way there is set to
zero. (V is left alone: with β₂ = 0.999 it takes tens of thousands of steps to get there.)

An optimizer turns a gradient into a *step* and the caller adds it to the parameters. So the caller can look at the step
before it is taken. It remembers the gradients of one network's parameters and serves that network alone.

**L-BFGS**, for full batches, is SciPy's (Byrd, Lu, Nocedal & Zhu 1995), on the same flat vector. It is a quasi-Newton
method: from its last 20 steps, and from how the gradient changed along them, it estimates the second derivatives.

>>> import numpy as np
>>> optimizer, theta = Adam(learning_rate=0.1), np.array([5.0, -3.0])
>>> theta += optimizer.step(g=np.array([1e3, -1e-3]))  # gradients of very different size
>>> print(theta.round(3))
[ 4.9 -2.9]

Sources: Polyak, USSR Computational Mathematics 4 (1964); Sutskever, Martens, Dahl & Hinton, ICML (2013); Kingma & Ba,
ICLR (2015); Byrd, Lu, Nocedal & Zhu, SIAM Journal on Scientific Computing 16 (1995).
"""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from minissl._arrays import Array, on_host
from minissl._checks import (
    NonFiniteError,
    check_array,
    check_callable,
    check_count,
    check_gradient,
    check_number,
    check_objective,
    check_two,
)


def _forget(a: Array, t: int) -> None:
    """Every hundred steps, set to zero what decays towards subnormal numbers, and is far too small to move anything."""
    if t % 100 == 0:
        limits = np.finfo(a.dtype)
        a[np.abs(a) < float(limits.tiny / limits.eps)] = 0


class SGD:
    """Stochastic gradient descent with momentum [optimizers.1]: `learning_rate` α > 0, `momentum` μ in [0, 1)."""

    arrays = 2  # in `state`, each shaped as the parameters

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9):
        self.learning_rate = check_number(learning_rate, "learning_rate", low=0, open_low=True)
        self.momentum = check_number(momentum, "momentum", low=0, high=1, open_high=True)
        self.t = 0
        self.state = ()

    @np.errstate(under="ignore")
    def step(self, g: Array, factor: float = 1.0) -> Array:
        """The step for the gradient g, with the learning rate times `factor`; in memory that the next call reuses."""
        g, self.state = check_gradient(g, self.state, self.arrays)
        u, scratch = self.state
        self.t += 1
        u *= self.momentum
        u -= np.multiply(g, self.learning_rate * factor, out=scratch)  # [optimizers.1] u ← μ u − α g
        _forget(u, self.t)
        return u

    def __repr__(self):
        return f"SGD(learning_rate={self.learning_rate}, momentum={self.momentum})"


def adam(theta, m, v, g, t, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """One step of Adam as the paper writes it [optimizers.2]: the new (θ, m, v). `Adam` computes the same faster."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)  # [optimizers.2] θ ← θ − α m̂/(√v̂ + ε)
    return theta, m, v


class Adam:
    """Adam [optimizers.2], computed as [optimizers.4].

    `learning_rate` α > 0, decay rates `beta1` and `beta2` in [0, 1), `epsilon` ε > 0.
    """

    arrays = 3  # in `state`, each shaped as the parameters

    def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.learning_rate = check_number(learning_rate, "learning_rate", low=0, open_low=True)
        self.beta1 = check_number(beta1, "beta1", low=0, high=1, open_high=True)
        self.beta2 = check_number(beta2, "beta2", low=0, high=1, open_high=True)
        self.epsilon = check_number(epsilon, "epsilon", low=0, open_low=True)
        self.t = 0
        self.state = ()

    @np.errstate(under="ignore", over="ignore")
    def step(self, g: Array, factor: float = 1.0) -> Array:
        """The step for the gradient g, with the learning rate times `factor`; in memory that the next call reuses.

        FloatingPointError if the squares of g add up to infinity: v would stay there, and every step be zero.
        """
        g, self.state = check_gradient(g, self.state, self.arrays)
        if not math.isfinite(np.vdot(g, g) / (1 - self.beta2)):  # V stays below this
            raise NonFiniteError(
                f"g: got NaN, infinity or squares that overflow {g.dtype}, expected less; scale data or loss down"
            )
        M, V, step = self.state
        self.t += 1
        c = ((1 - self.beta2**self.t) / (1 - self.beta2)) ** 0.5
        M *= self.beta1
        M += g  # [optimizers.4] M ← β₁ M + g
        _forget(M, self.t)
        V *= self.beta2
        V += np.multiply(g, g, out=step)  # [optimizers.4] V ← β₂ V + g²
        np.sqrt(V, out=step)
        step += c * self.epsilon
        np.divide(M, step, out=step)  # [optimizers.4] −[α c (1 − β₁)/(1 − β₁ᵗ)] M/(√V + c ε)
        step *= -self.learning_rate * factor * c * (1 - self.beta1) / (1 - self.beta1**self.t)
        return step

    def __repr__(self):
        return (
            f"Adam(learning_rate={self.learning_rate}, beta1={self.beta1}, beta2={self.beta2}, epsilon={self.epsilon})"
        )


class Minimum(NamedTuple):
    """What `lbfgs` found."""

    theta: Array  # where, of the dtype and library of the starting point
    value: float
    gradient_norm: float  # largest |∂J/∂θₖ|
    iterations: int
    converged: bool


def lbfgs(
    objective: Callable, theta: Array, *, iterations: int = 1000, tolerance: float = 1e-8, warn: bool = True
) -> Minimum:
    """Minimise a smooth function of all samples at once, through `scipy.optimize`.

    `objective`: theta -> (value, gradient); it may keep the vector that it is given. SciPy works in float64 on the
    host; `objective` is called with the dtype and library of `theta`, (size,), where the search starts. It stops when
    no component of the gradient is larger than `tolerance`; where it stops before, a RuntimeWarning says so if `warn`.
    FloatingPointError if value or gradient stop being finite.
    """
    check_callable(objective, "objective")
    theta = check_array(theta, "theta", ndim=1)
    iterations = check_count(iterations, "iterations")
    tolerance = check_number(tolerance, "tolerance", low=0)

    started = False

    def on_the_host(t):
        nonlocal started
        returned = objective(np.asarray(t, dtype=theta.dtype, like=theta).copy())
        value, gradient = check_objective(*check_two(returned, "objective"), theta)
        if not started and not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise FloatingPointError("the objective is not finite at the starting point; scale data or start down")
        started = True
        return value, gradient

    start = on_host(theta).astype(np.float64)
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "gtol": tolerance, "ftol": 0, "maxcor": 20}
    found = minimize(on_the_host, start, jac=True, method="L-BFGS-B", options=options)
    slope = float(np.abs(found.jac).max())
    if not np.isfinite(found.fun + slope):
        raise FloatingPointError(
            f"the objective became {found.fun}, its gradient {slope}, on the way down; expected one that has a minimum"
        )
    if warn and slope > tolerance:
        warnings.warn(
            f"lbfgs: after {found.nit} iterations a component of the gradient is still {slope:.1e}, more than the "
            f"tolerance of {tolerance:.1e}; allow more iterations, scale the variables alike, or use float64",
            RuntimeWarning,
            stacklevel=2,
        )
    return Minimum(
        theta=np.asarray(found.x, dtype=theta.dtype, like=theta),
        value=float(found.fun),
        gradient_norm=slope,
        iterations=int(found.nit),
        converged=slope <= tolerance,
    )
