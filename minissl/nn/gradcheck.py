"""Derivatives by two independent means, to hold a hand-written gradient against.

Both look at f along one coordinate at a time, e_k the unit vector. Taylor's theorem gives

    [gradcheck.1]   (f(theta + h e_k) - f(theta - h e_k)) / (2h) = df/dtheta_k + O(h^2)
    [gradcheck.2]   Im f(theta + i h e_k) / h                    = df/dtheta_k + O(h^2)

[gradcheck.1], central differences, subtracts two nearly equal numbers: rounding adds about 1e-16 |f| / h, and the sum
of both errors is least near h = 1e-5. [gradcheck.2], the complex step (Squire & Trapp 1998), subtracts nothing:
h = 1e-20 leaves rounding alone, but f must be analytic and written for complex numbers (no abs, relu or comparison).

A third test needs no coordinate: for the right gradient g, and any direction d, the remainder

    [gradcheck.3]   R(h) = |f(theta + h d) - f(theta) - h g.d| = O(h^2)

falls by a factor of four when h is halved; for a wrong one only by two.
"""

import numpy as np

from minissl.backend import array, namespace, number


def central_difference(f, theta, h=1e-5):
    """Gradient of `f` by central differences [gradcheck.1].

    Parameters
    ----------
    f : callable
        theta -> number.
    theta : array_like, shape (P,)
        Of dtype float64. Not modified.
    h : float

    Returns
    -------
    ndarray, shape (P,)

    Raises
    ------
    TypeError, ValueError
        If theta is not a finite vector of dtype float64, or h not positive.
    """
    theta, h = array(theta, "theta", ndim=1, dtype=np.float64), number(h, "h", low=0, open_low=True)
    xp = namespace(theta)
    steps = h * xp.eye(theta.size)
    return xp.asarray([float(f(theta + step) - f(theta - step)) / (2 * h) for step in steps])  # [gradcheck.1]


def complex_step(f, theta, h=1e-20):
    """Gradient of an analytic `f` by the complex step [gradcheck.2].

    Parameters
    ----------
    f : callable
        complex theta -> complex number.
    theta : array_like, shape (P,)
        Of dtype float64. Not modified.
    h : float

    Returns
    -------
    ndarray, shape (P,)

    Raises
    ------
    TypeError, ValueError
        As `central_difference`.
    """
    theta, h = array(theta, "theta", ndim=1, dtype=np.float64), number(h, "h", low=0, open_low=True)
    xp = namespace(theta)
    steps = 1j * h * xp.eye(theta.size)
    return xp.asarray([float(f(theta + step).imag) / h for step in steps])  # [gradcheck.2]


def relative_error(a, b):
    """|a - b| / max(|a|, |b|), Euclidean norms; 0 where both are zero.

    Parameters
    ----------
    a, b : array_like
        Of one shape.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If they are not finite floating arrays of one shape.
    """
    a = array(a, "a")
    b = array(b, "b", shape=a.shape)
    xp = namespace(a, b)
    largest = max(float(xp.linalg.norm(a)), float(xp.linalg.norm(b)))
    return float(xp.linalg.norm(a - b)) / largest if largest else 0.0


def gradient_error(objective, theta):
    """Relative error of a hand-written gradient against central differences.

    Parameters
    ----------
    objective : callable
        theta -> (value, gradient).
    theta : array_like, shape (P,)
        Of dtype float64. Not modified.

    Returns
    -------
    float
        At most 1e-8 or so for a right gradient in float64; of order 1 for a wrong one. What the rounding of the
        differences explains, 1e-15 |J| / h in each component, is not counted: near a minimum it is all there is.

    Raises
    ------
    TypeError, ValueError
        As `central_difference`.
    """
    theta, h = array(theta, "theta", ndim=1, dtype=np.float64), 1e-5
    value, gradient = objective(theta)
    numeric = central_difference(lambda t: objective(t)[0], theta, h)
    rounding = 1e-15 * abs(float(value)) / h * theta.size**0.5
    largest = max(float(namespace(theta).linalg.norm(g)) for g in (gradient, numeric))
    return max(0.0, relative_error(gradient, numeric) - rounding / (largest or 1.0))


def taylor_slope(objective, theta, direction, h=1e-2):
    """The power of h with which the Taylor remainder [gradcheck.3] falls.

    Parameters
    ----------
    objective : callable
        theta -> (value, gradient).
    theta, direction : array_like, shape (P,)
        Of dtype float64. Not modified.
    h : float
        > 0; the remainders at h and h / 2 are compared.

    Returns
    -------
    float
        About 2 for a right gradient, 1 for a wrong one.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or a remainder is zero.
    """
    theta, h = array(theta, "theta", ndim=1, dtype=np.float64), number(h, "h", low=0, open_low=True)
    direction = array(direction, "direction", shape=theta.shape, like=theta)
    value, gradient = objective(theta)
    slope = gradient @ direction
    remainder = [  # [gradcheck.3]
        abs(float(objective(theta + s * direction)[0] - value - s * slope)) for s in (h, h / 2)
    ]
    if not min(remainder) > 0:
        raise ValueError(f"h: got remainders {remainder} at {h} and half of it, expected a larger step or direction")
    return float(np.log2(remainder[0] / remainder[1]))
