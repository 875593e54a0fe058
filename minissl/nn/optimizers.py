"""Optimizers on one flat vector of parameters.

    symbol   meaning                                   shape
    theta    parameters                                (P,)
    g        gradient dJ/dtheta of the batch           (P,)
    alpha    step size                                 number
    mu, v    of momentum: decay rate, velocity         number, (P,)
    m, v     of Adam: running means of g and of g^2    (P,)
    beta1,2  of Adam: decay rates of m and of v        numbers

Stochastic gradient descent with momentum (Polyak 1964; Sutskever et al. 2013, equations 1-2):

    [optimizers.1]   v <- mu v - alpha g,    theta <- theta + v

Adam (Kingma & Ba 2015, algorithm 1): running means, corrected for having started at zero,

    m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2        (after t steps)
    [optimizers.2]   theta <- theta - alpha  m/(1 - beta1^t) / (sqrt(v/(1 - beta2^t)) + epsilon)

The code keeps M = m/(1 - beta1) and V = v/(1 - beta2), which spares two passes over the parameters: with
c = sqrt((1 - beta2)/(1 - beta2^t)) the corrected sqrt(v/(1 - beta2^t)) is c sqrt(V), and dividing through by c,

    M <- beta1 M + g,    V <- beta2 V + g^2
    [optimizers.3]   theta <- theta - [alpha (1 - beta1)/((1 - beta1^t) c)]  M / (sqrt(V) + epsilon/c)

L-BFGS, for full batches, is SciPy's (Byrd, Lu, Nocedal & Zhu 1995), on the same flat vector.

An optimizer turns a gradient into a *step*, in a buffer of its own; the caller adds it to the parameters. So the caller
can look at the step before it is taken.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from minissl.backend import array, count, namespace, number


class SGD:
    """Stochastic gradient descent with momentum [optimizers.1]; the step is the velocity itself, not to be changed.

    Parameters
    ----------
    step_size : float
        alpha > 0.
    momentum : float
        mu in [0, 1).
    """

    arrays = 2  # in `state`, each shaped as the parameters

    def __init__(self, step_size=0.01, momentum=0.9):
        self.step_size = number(step_size, "step_size", low=0, open_low=True)
        self.momentum = number(momentum, "momentum", low=0, high=1, open_high=True)
        self.t = 0
        self.state = ()

    def step(self, g):
        """The step that the gradient `g` (shape (P,)) leads to, in a buffer that the next call reuses."""
        g, self.state = _same(g, self.state, self.arrays)
        xp, (v, scratch) = namespace(g), self.state
        self.t += 1
        v *= self.momentum
        xp.multiply(g, self.step_size, out=scratch)
        v -= scratch
        return v  # [optimizers.1]


class Adam:
    """Adam [optimizers.2], computed as [optimizers.3].

    Parameters
    ----------
    step_size : float
        alpha > 0.
    beta1, beta2 : float
        Decay rates of the running means, in [0, 1).
    epsilon : float
        Added to the root of the second moment, > 0.
    """

    arrays = 3  # in `state`, each shaped as the parameters

    def __init__(self, step_size=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.step_size = number(step_size, "step_size", low=0, open_low=True)
        self.beta1 = number(beta1, "beta1", low=0, high=1, open_high=True)
        self.beta2 = number(beta2, "beta2", low=0, high=1, open_high=True)
        self.epsilon = number(epsilon, "epsilon", low=0, open_low=True)
        self.t = 0
        self.state = ()

    def step(self, g):
        """The step that the gradient `g` (shape (P,)) leads to, in a buffer that the next call reuses."""
        g, self.state = _same(g, self.state, self.arrays)
        xp, (M, V, step) = namespace(g), self.state
        self.t += 1
        c = ((1 - self.beta2) / (1 - self.beta2**self.t)) ** 0.5
        M *= self.beta1
        M += g
        V *= self.beta2
        xp.multiply(g, g, out=step)
        V += step
        xp.sqrt(V, out=step)
        step += self.epsilon / c
        xp.divide(M, step, out=step)
        step *= -self.step_size * (1 - self.beta1) / ((1 - self.beta1**self.t) * c)
        return step  # [optimizers.3]


def _same(g, state, arrays):
    """The gradient at the door, which must be of the kind of the first one, and the optimizer's arrays, first zeros.

    Whether it is finite the training loop sees from the step.
    """
    if state and type(g) is type(state[0]) and g.shape == state[0].shape and g.dtype == state[0].dtype:
        return g, state
    shape, like = (state[0].shape, state[0]) if state else ((None,), None)
    g = array(g, "g", shape=shape, like=like, finite=False)
    return g, state or tuple(namespace(g).zeros_like(g) for _ in range(arrays))


class Minimum(NamedTuple):
    """What `lbfgs` found."""

    theta: np.ndarray  # where, of the dtype and library of the starting point
    value: float
    gradient_norm: float  # largest |dJ/dtheta_k|
    iterations: int
    converged: bool


def lbfgs(objective, theta, *, iterations=1000, tolerance=1e-8):
    """Minimise a smooth function of all samples at once, through `scipy.optimize`.

    Parameters
    ----------
    objective : callable
        theta -> (value, gradient). The vector that it is given is its own to keep.
    theta : array_like, shape (P,)
        Where to start. SciPy works in float64 on the host; `objective` is called with the dtype and library of `theta`.
    iterations : int
        How many at most.
    tolerance : float
        Stop when no component of the gradient is larger.

    Returns
    -------
    Minimum

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or `objective` does not return a number and a gradient of the shape of theta.
    FloatingPointError
        If the value or the gradient is not finite, at the start or on the way down.
    """
    theta = array(theta, "theta", ndim=1)
    xp = namespace(theta)
    count(iterations, "iterations")
    tolerance = number(tolerance, "tolerance", low=0)

    def on_host(vector):
        value, gradient = objective(xp.asarray(vector, dtype=theta.dtype))
        gradient = gradient if xp is np else xp.asnumpy(gradient)
        return float(value), np.array(gradient, dtype=np.float64)

    start = np.array(theta if xp is np else xp.asnumpy(theta), dtype=np.float64)
    value, gradient = on_host(start)
    if gradient.shape != start.shape:
        raise ValueError(f"objective: returned a gradient of shape {gradient.shape}, expected {start.shape} as theta")
    if not np.isfinite(value) or not np.isfinite(gradient).all():
        raise FloatingPointError("the objective is not finite at the starting point; scale the data or the start down")
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "gtol": tolerance, "ftol": 0, "maxcor": 20}
    found = minimize(on_host, start, jac=True, method="L-BFGS-B", options=options)
    slope = float(np.abs(found.jac).max())
    if not np.isfinite(found.fun + slope):
        raise FloatingPointError(
            f"the objective became {found.fun}, its gradient {slope}, on the way down; expected one that has a minimum"
        )
    return Minimum(
        theta=xp.asarray(found.x, dtype=theta.dtype),
        value=float(found.fun),
        gradient_norm=slope,
        iterations=int(found.nit),
        converged=slope <= tolerance,
    )
