"""Derivatives by two independent means, to compare a hand-written gradient with.

    symbol   in code     meaning                                            shape
    f        f           function whose gradient is wanted                  number
    θ        theta       the point                                          (n,)
    eₖ                   k-th unit vector                                   (n,)
    h        h           length of the step                                 number > 0
    d        direction   any direction                                      (n,)
    g        gradient    the gradient to be checked                         (n,)
    H                    matrix of second derivatives of f at θ             (n, n)
    i                    imaginary unit

Taylor's theorem along one coordinate says f(θ ± h eₖ) = f ± h ∂f/∂θₖ + ½ h² ∂²f/∂θₖ² ± O(h³). In the difference of the
two the even terms cancel; and for a step in the imaginary direction, (ih)² = −h² is real:

    [gradcheck.1]   (f(θ + h eₖ) − f(θ − h eₖ)) / (2h) = ∂f/∂θₖ + O(h²)
    [gradcheck.2]   Im f(θ + ih eₖ) / h                = ∂f/∂θₖ + O(h²)

[gradcheck.1], central differences, subtracts two nearly equal numbers: each is rounded by about 1e-16 |f|, which adds
an error of 1e-16 |f|/h. The sum of both errors is least where they are about equal, near h = (1e-16)^(1/3) ≈ 5e-6.
[gradcheck.2], the complex step (Squire & Trapp 1998), subtracts nothing: with h = 1e-20 the term O(h²) is below
rounding and rounding is all there is. But f must be analytic, and written for complex numbers: no abs, relu or
comparison.

A third test needs no coordinates. For the gradient g and a direction d, f(θ + hd) = f + h ∇f·d + ½ h² dᵀHd + O(h³), so

    [gradcheck.3]   R(h) = |f(θ + hd) − f(θ) − h g·d| = |h (∇f − g)·d + ½ h² dᵀHd + O(h³)|

falls by a factor of four when h is halved if g is right (provided dᵀHd ≠ 0), and by two if it is wrong. Only an error
with (∇f − g)·d ≠ 0 is seen, so d should be random: then it is orthogonal to the error with probability zero.

>>> import numpy as np
>>> f = lambda t: (t[0] ** 2 * t[1], np.array([2 * t[0] * t[1], t[0] ** 2]))        # a value and its gradient
>>> wrong = lambda t: (t[0] ** 2 * t[1], np.array([t[0] * t[1], t[0] ** 2]))        # a factor of two is missing
>>> theta = np.array([3.0, 5.0])
>>> print(gradient_error(f, theta) < 1e-9, round(gradient_error(wrong, theta), 2))
True 0.48
>>> print([round(taylor_slope(g, theta, np.array([1.0, 2.0])), 1) for g in (f, wrong)])
[2.0, 1.0]

Sources: Squire & Trapp, SIAM Review 40 (1998); Nocedal & Wright, Numerical Optimization (2006), section 8.1.
"""

from collections.abc import Callable

import numpy as np

from minissl._arrays import Array
from minissl._checks import check_array, check_callable, check_number, check_value_and_gradient


def central_difference(f: Callable, theta: Array, h: float = 1e-5) -> Array:
    """Gradient of f: theta -> number by central differences [gradcheck.1]; theta float64, (n,)."""
    check_callable(f, "f")
    theta = check_array(theta, "theta", ndim=1, dtype=np.float64)
    h = check_number(h, "h", low=0, open_low=True)
    steps = h * np.identity(theta.size, like=theta)
    differences = [float(f(theta + step) - f(theta - step)) for step in steps]
    return np.asarray(differences, like=theta) / (2 * h)  # [gradcheck.1] (f(θ + h eₖ) − f(θ − h eₖ))/(2h)


def complex_step(f: Callable, theta: Array, h: float = 1e-20) -> Array:
    """Gradient of an analytic f: complex theta -> complex number by the complex step [gradcheck.2]; theta as above."""
    check_callable(f, "f")
    theta = check_array(theta, "theta", ndim=1, dtype=np.float64)
    h = check_number(h, "h", low=0, open_low=True)
    steps = 1j * h * np.identity(theta.size, like=theta)
    derivatives = [float(f(theta + step).imag) / h for step in steps]  # [gradcheck.2] Im f(θ + ih eₖ) / h
    return np.asarray(derivatives, like=theta)


def relative_error(a: Array, b: Array) -> float:
    """‖a − b‖ / max(‖a‖, ‖b‖); 0 where both are zero."""
    a = check_array(a, "a")
    b = check_array(b, "b", shape=a.shape)
    largest = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return float(np.linalg.norm(a - b)) / largest if largest else 0.0


def gradient_error(objective: Callable, theta: Array) -> float:
    """Relative error of a hand-written gradient against central differences.

    `objective`: theta -> (value, gradient); theta float64, (n,). At most about 1e-8 for a right gradient, of order 1
    for a wrong one. What the rounding of the differences explains, 1e-15 |J|/h in each component, is not counted: near
    a minimum it is all there is.
    """
    check_callable(objective, "objective")
    theta = check_array(theta, "theta", ndim=1, dtype=np.float64)
    h = 1e-5
    value, gradient = check_value_and_gradient(objective(theta), theta)
    numeric = central_difference(lambda t: objective(t)[0], theta, h)
    rounding = 1e-15 * abs(float(value)) / h * theta.size**0.5
    largest = max(float(np.linalg.norm(gradient)), float(np.linalg.norm(numeric))) or 1.0
    return max(0.0, relative_error(gradient, numeric) - rounding / largest)


def taylor_slope(objective: Callable, theta: Array, direction: Array, h: float = 1e-2) -> float:
    """The power of h with which R [gradcheck.3] falls from h to h/2: about 2 for a right gradient, 1 for a wrong one.

    `objective`: theta -> (value, gradient); theta and direction float64, (n,).
    """
    check_callable(objective, "objective")
    theta = check_array(theta, "theta", ndim=1, dtype=np.float64)
    h = check_number(h, "h", low=0, open_low=True)
    direction = check_array(direction, "direction", shape=theta.shape, like=theta)
    value, gradient = check_value_and_gradient(objective(theta), theta)
    slope = gradient @ direction

    def remainder(h):
        return abs(float(objective(theta + h * direction)[0] - value - h * slope))  # [gradcheck.3] R(h)

    if not min(remainder(h), remainder(h / 2)) > 0:
        raise ValueError(f"h: got a remainder of zero at {h} or half of it, expected a larger step or direction")
    return float(np.log2(remainder(h) / remainder(h / 2)))
