"""The checker is checked first: it must accept right gradients and refuse planted errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissl.nn.gradcheck import central_difference, complex_step, gradient_error, relative_error, taylor_slope


def _problem(seed, n=5):
    """f(theta) = exp(a.theta) + mean_i (X theta)_i^4 and its gradient; analytic, not a polynomial of low degree."""
    rng = np.random.default_rng(seed)
    a, X, theta, d = rng.standard_normal(n), rng.standard_normal((7, n)), rng.standard_normal(n), rng.standard_normal(n)

    def f(t):
        return np.exp(a @ t) + ((X @ t) ** 4).sum() / 7

    def gradient(t):
        return a * np.exp(a @ t) + X.T @ (4 * (X @ t) ** 3) / 7

    return f, gradient, theta, d


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.equation("gradcheck.1", "gradcheck.2")
@given(seeds)
def test_both_means_find_the_gradient(seed):
    """Central differences, to 1e-7, and the complex step, to 1e-14, against a gradient derived by hand."""
    f, gradient, theta, _ = _problem(seed)
    before = theta.copy()
    assert relative_error(central_difference(f, theta), gradient(theta)) < 1e-7
    assert relative_error(complex_step(f, theta), gradient(theta)) < 1e-14
    assert np.array_equal(theta, before)


@pytest.mark.equation("gradcheck.3")
@given(seeds)
def test_the_remainder_falls_quadratically_for_the_right_gradient_only(seed):
    """The power of h with which R(h) falls is 2 for the right gradient and 1 for one that is 1.5 times too large."""
    f, gradient, theta, d = _problem(seed)
    d = d / (100 * np.linalg.norm(d))
    assert taylor_slope(lambda t: (f(t), gradient(t)), theta, d, h=0.1) == pytest.approx(2, abs=0.1)
    wrong = gradient(theta) @ d
    if abs(wrong) > 0.1 * np.linalg.norm(gradient(theta)) * np.linalg.norm(d):
        assert taylor_slope(lambda t: (f(t), 1.5 * gradient(t)), theta, d, h=0.1) == pytest.approx(1, abs=0.1)


PLANTED = [lambda g: 2.001 / 2 * g, lambda g: 7 * g, lambda g: -g, lambda g: g * [1, 1, -1, 1, 1]]


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_errors_are_found(planted):
    f, gradient, theta, _ = _problem(3)
    assert gradient_error(lambda t: (f(t), gradient(t)), theta) < 1e-8
    assert gradient_error(lambda t: (f(t), planted(gradient(t))), theta) > 1e-4


def test_the_allowance_for_rounding_hides_no_error_above_it():
    """J = 1000 + ½‖θ‖² is rounded to 2e-7 of the gradient at most; an error of 3e-6 must show, none must not."""
    theta = np.array([0.5, -0.5, 0.5, 0.5])

    def J(t, factor=1.0):
        return 1000 + 0.5 * t @ t, factor * t

    assert gradient_error(J, theta) < 2e-7
    assert gradient_error(lambda t: J(t, 1 + 3e-6), theta) > 2e-6


def test_near_a_minimum_rounding_is_no_error_but_a_wrong_gradient_is():
    def square(t, factor=2.0, offset=0.0):
        return (t**2).sum() + 1.0, factor * t + offset

    near = np.array([1e-6, -2e-6, 1e-6])
    assert relative_error(square(near)[1], central_difference(lambda t: square(t)[0], near)) > 1e-8
    assert gradient_error(square, near) == 0
    for wrong in ({"factor": 3.0}, {"offset": 1.0}, {"factor": 2.01}, {"factor": 1e-20}, {"factor": 0.0}):
        assert gradient_error(lambda t, wrong=wrong: square(t, **wrong), near) > 1e-4


def test_relative_error():
    assert relative_error([3.0, 4.0], [3.0, 4.0]) == 0
    assert relative_error([0.0], [0.0]) == 0
    assert relative_error([3.0, 4.0], [0.0, 0.0]) == 1
    assert relative_error([1.0, 0.0], [2.0, 0.0]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shape"):
        relative_error([1.0], [1.0, 2.0])


def test_the_point_must_be_a_float64_vector():
    with pytest.raises(TypeError, match="theta"):
        central_difference(np.sum, np.ones(3, np.float32))
    with pytest.raises(ValueError, match="theta"):
        complex_step(np.sum, np.ones((2, 3)))
