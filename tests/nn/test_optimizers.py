"""The optimizers against their published recursions, and L-BFGS against a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissl.nn.optimizers import SGD, Adam, adam, lbfgs

seeds = st.integers(0, 2**32 - 1)
rates = st.floats(0, 0.999)


def trajectory(optimizer, gradients):
    theta, path = np.zeros(gradients.shape[1]), []
    for g in gradients:
        kept = g.copy()
        theta = theta + optimizer.step(g)
        assert np.array_equal(g, kept)
        path.append(theta)
    assert optimizer.t == len(gradients)
    return np.array(path)


@pytest.mark.equation("optimizers.1")
@given(seed=seeds, mu=rates)
def test_sgd_is_the_recursion(seed, mu):
    """Nine steps are those of u ← μ u − α g, θ ← θ + u, written out."""
    gradients = np.random.default_rng(seed).standard_normal((9, 4))
    theta, u, expected = np.zeros(4), np.zeros(4), []
    for g in gradients:
        u = mu * u - 0.1 * g
        theta = theta + u
        expected.append(theta)
    np.testing.assert_allclose(trajectory(SGD(0.1, mu), gradients), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.equation("optimizers.2", "optimizers.4")
@given(seed=seeds, beta1=rates, beta2=rates, epsilon=st.sampled_from([1e-8, 1e-2, 1.0]))
def test_adam_is_algorithm_1(seed, beta1, beta2, epsilon):
    """Nine steps of `Adam`, and of the plain function `adam`, are those of the paper's recursion."""
    gradients = np.random.default_rng(seed).standard_normal((9, 4))
    theta, m, v, expected = np.zeros(4), np.zeros(4), np.zeros(4), []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta = theta - 0.1 * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        expected.append(theta)
    np.testing.assert_allclose(trajectory(Adam(0.1, beta1, beta2, epsilon), gradients), expected, rtol=1e-9, atol=1e-12)
    theta, m, v = np.zeros(4), np.zeros(4), np.zeros(4)
    for t, g in enumerate(gradients, start=1):
        theta, m, v = adam(theta, m, v, g, t, 0.1, beta1, beta2, epsilon)
        np.testing.assert_allclose(theta, expected[t - 1], rtol=1e-12, atol=1e-15)


@pytest.mark.equation("optimizers.3")
@given(beta1=rates, beta2=rates, t=st.integers(1, 30))
def test_what_a_running_mean_lacks_at_first(beta1, beta2, t):
    """With the same gradient at every step, the running means m and v of `adam` are 1 − βᵗ times it and its square."""
    g, m, v = np.array([3.0, -0.5]), np.zeros(2), np.zeros(2)
    for s in range(1, t + 1):
        _, m, v = adam(np.zeros(2), m, v, g, s, beta1=beta1, beta2=beta2)
    np.testing.assert_allclose(m, (1 - beta1**t) * g, rtol=1e-10)
    np.testing.assert_allclose(v, (1 - beta2**t) * g**2, rtol=1e-10)


@pytest.mark.equation("optimizers.1")
@pytest.mark.parametrize("make", [Adam, SGD])
def test_a_factor_scales_the_learning_rate(make):
    """A step with factor 1/4 is that of an optimizer with a quarter of the learning rate."""
    gradients = np.random.default_rng(0).standard_normal((5, 3))
    scaled, slow = make(0.1), make(0.025)
    for g in gradients:
        np.testing.assert_allclose(scaled.step(g, 0.25), slow.step(g), rtol=1e-14)


@pytest.mark.parametrize(("dtype", "large", "again"), [("float32", 1e25, 1.5e19), ("float64", 1e200, 1.2e154)])
def test_adam_refuses_gradients_whose_squares_overflow(dtype, large, again):
    """V would be infinite, at once or (`again`) at the second such gradient, and the step zero for ever."""
    adam = Adam()
    for bad in (large, again, np.inf, np.nan):
        with pytest.raises(FloatingPointError, match="g: got NaN, infinity or squares that overflow"):
            adam.step(np.array([1.0, bad], dtype))
    assert adam.t == 0
    assert adam.step(np.array([1.0, 2.0], dtype)) == pytest.approx([-1e-3, -1e-3], rel=1e-4)


def test_optimizers_say_what_they_are():
    assert repr(SGD(0.5)) == "SGD(learning_rate=0.5, momentum=0.9)"
    assert repr(Adam(0.5)) == "Adam(learning_rate=0.5, beta1=0.9, beta2=0.999, epsilon=1e-08)"


def test_the_first_step_of_adam_is_the_step_size():
    """m / sqrt(v) = g / |g| whatever the scale of the gradient."""
    step = Adam(0.01).step(np.array([1e-3, -1.0, 1e4]))
    assert step == pytest.approx([-0.01, 0.01, -0.01], rel=1e-4)


def test_the_published_settings_are_the_defaults():
    a = Adam()
    assert (a.learning_rate, a.beta1, a.beta2, a.epsilon) == (1e-3, 0.9, 0.999, 1e-8)
    assert (SGD().learning_rate, SGD().momentum) == (0.01, 0.9)
    assert lbfgs.__kwdefaults__ == {"iterations": 1000, "tolerance": 1e-8, "warn": True}


@pytest.mark.parametrize("make", [Adam, SGD])
def test_steps_allocate_nothing_and_keep_the_dtype(make):
    optimizer, g = make(), np.ones(5, np.float32)
    step = optimizer.step(g)
    assert step.dtype == np.float32
    assert optimizer.step(g) is step


@pytest.mark.parametrize("make", [Adam, SGD])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_decays_ends_in_zero_and_not_in_subnormal_numbers(make, dtype):
    """After a gradient that was zero for 10,000 steps, no running sum is below the normal range, but at zero."""
    optimizer, g = make(), np.array([1, 1], dtype)
    optimizer.step(g)
    g[0] = 0
    for _ in range(9999):
        step = optimizer.step(g)
    assert step[0] == 0 and step[1] != 0
    for a in optimizer.state:
        assert np.all((a == 0) | (abs(a) >= np.finfo(dtype).tiny))


@pytest.mark.parametrize("make", [Adam, SGD])
@pytest.mark.parametrize(("dtype", "small"), [("float32", 1e-25), ("float64", 1e-250)])
def test_small_gradients_are_not_forgotten(make, dtype, small):
    """After 500 steps of a gradient g, u and M are the sums of geometric series, −α g/(1 − μ) and g/(1 − β₁)."""
    optimizer = make()
    for _ in range(500):
        optimizer.step(np.array([small], dtype))
    expected = small / (1 - 0.9) if make is Adam else -0.01 * small / (1 - 0.9)
    assert optimizer.state[0] == pytest.approx(expected, rel=1e-5, abs=0)


def test_adam_in_float32_drifts_little_from_float64():
    """20,000 noisy steps on a quadratic: rounding must not pile up."""
    rng, h = np.random.default_rng(0), np.array([1.0, 10.0, 100.0])
    theta = {dtype: np.full(3, 3, dtype) for dtype in (np.float32, np.float64)}
    optimizers = {dtype: Adam(1e-2) for dtype in theta}
    for noise in 0.1 * rng.standard_normal((20_000, 3)):
        for dtype, t in theta.items():
            t += optimizers[dtype].step((h * t + noise).astype(dtype))
    assert theta[np.float32] == pytest.approx(theta[np.float64], abs=1e-3)


@given(seed=seeds)
def test_lbfgs_solves_a_quadratic(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((20, 4)), rng.standard_normal(20)
    start = rng.standard_normal(4)
    kept = start.copy()

    def J(theta):
        r = X @ theta - y
        return r @ r / 20, 2 * X.T @ r / 20

    found = lbfgs(J, start, tolerance=1e-7)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    assert found.theta == pytest.approx(best, abs=1e-4)
    assert found.value == pytest.approx(J(best)[0], abs=1e-9)
    assert found.converged
    assert found.gradient_norm <= 1e-7
    assert np.array_equal(start, kept)


@pytest.mark.filterwarnings("error")
def test_lbfgs_keeps_the_dtype_and_says_when_it_did_not_converge():
    def J(theta):
        assert theta.dtype == np.float32
        return float(theta @ theta), 2 * theta

    assert lbfgs(J, np.ones(3, np.float32)).theta.dtype == np.float32

    def rosenbrock(t):
        """Banana valley with its minimum at (1, 1); the third coordinate plays no part."""
        u, v = t[0], t[1] - t[0] ** 2
        return (1 - u) ** 2 + 100 * v**2, np.array([2 * u - 2 - 400 * u * v, 200 * v, 0.0])

    start = np.array([-1.0, 1.0, 5.0])
    for sign in (1, -1):  # the same valley, and its mirror image

        def mirrored(t, sign=sign):
            value, gradient = rosenbrock(sign * t)
            return value, list(sign * gradient)

        with pytest.warns(RuntimeWarning, match="lbfgs: after 2 iterations .* allow more iterations, scale"):
            early = lbfgs(mirrored, sign * start, iterations=2)
        assert (early.iterations, early.converged) == (2, False)
        assert early.gradient_norm == abs(rosenbrock(sign * early.theta)[1]).max() > 1e-3
        assert early.value == mirrored(early.theta)[0]
        assert [type(entry) for entry in early[1:]] == [float, float, int, bool]
    found = lbfgs(rosenbrock, start)
    assert found.theta == pytest.approx([1, 1, 5], abs=1e-6)
    assert found.converged
    assert not lbfgs(rosenbrock, start, tolerance=0, iterations=30, warn=False).converged
    for offset in 10.0 ** np.arange(14, 20):  # where rounding hides the descent, SciPy may call it success
        hidden = lbfgs(lambda t, c=offset: (c + t @ t, 2 * t), np.array([1.0, 3.0, 5.0]), warn=False)
        assert hidden.converged == (hidden.gradient_norm <= 1e-8)
    assert lbfgs(rosenbrock, np.array([1.0, 1.0, 5.0]), tolerance=0).converged


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(0), "learning_rate"),
        (lambda: Adam(float("nan")), "learning_rate"),
        (lambda: Adam(beta1=1), "beta1"),
        (lambda: Adam(beta2=-0.1), "beta2"),
        (lambda: Adam(beta2=1), "beta2"),
        (lambda: Adam(epsilon=0), "epsilon"),
        (lambda: SGD(-1), "learning_rate"),
        (lambda: SGD(momentum=1), "momentum"),
        (lambda: lbfgs(lambda t: (t @ t, 2 * t), [[1.0]]), "theta"),
        (lambda: lbfgs(lambda t: (t @ t, 2 * t), [1.0], iterations=0), "iterations"),
        (lambda: lbfgs(lambda t: (t @ t, 2 * t), [1.0], tolerance=-1), "tolerance"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_lbfgs_refuses_a_start_that_is_not_finite():
    for value, gradient in ((np.inf, [1.0, 1.0]), (np.nan, [1.0, 1.0]), (1.0, [1.0, np.nan])):
        with pytest.raises(FloatingPointError, match="starting point"):
            lbfgs(lambda t, v=value, g=gradient: (v, g), [1.0, 2.0])


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_lbfgs_refuses_an_objective_without_a_minimum_and_a_foreign_gradient():
    for objective in (
        lambda t: (t[0] ** 3, [3 * t[0] ** 2, 0.0]),
        lambda t: (1.0 * (t[0] == -1), [1.0, 0.0 if t[0] == -1 else np.nan]),  # the gradient alone
    ):
        with pytest.raises(FloatingPointError, match="expected one that has a minimum"):
            lbfgs(objective, [-1.0, 0.0])
    with pytest.raises(ValueError, match=r"objective: returned a gradient of shape \(3,\), expected \(2,\)"):
        lbfgs(lambda t: (t @ t, np.ones(3)), [1.0, 2.0])


@pytest.mark.parametrize("make", [Adam, SGD])
def test_an_optimizer_belongs_to_one_vector(make):
    optimizer = make()
    optimizer.step(np.ones(5))
    with pytest.raises(ValueError, match=r"g: got shape \(4,\), expected \(5\)"):
        optimizer.step(np.ones(4))
    with pytest.raises(TypeError, match="g: got dtype float32, expected float64"):
        optimizer.step(np.ones(5, np.float32))
    assert optimizer.t == 1
