"""Prediction of the future: each equation of minissl/tasks/prediction.py against loops, enumeration and quadrature."""

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissl.linear.autoregression import LinearAR, least_squares
from minissl.nn.gradcheck import gradient_error
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam
from minissl.nn.training import objective, train
from minissl.tasks.prediction import forecast, next_value, windows


def linear(a, intercept=0.0):
    """The linear model with coefficients a₁, …, aₚ, of x_{t-1}, …, x_{t-p}."""
    return LinearAR(np.array(a), intercept, 1.0, np.full((len(a) + 1,) * 2, np.nan))


def normal_nodes(sigma, count=80):
    """Gauss–Hermite quadrature: shocks and weights with E g(e) = Σ w g(e) for e ~ N(0, sigma²)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return sigma * nodes, weights / weights.sum()


@pytest.mark.equation("prediction.1")
def test_windows_are_inputs_and_targets():
    """Input and target of windows of vector and scalar series are compared with slices of the series, time by time."""
    x = np.arange(26.0).reshape(13, 2)
    cut = windows(x, 4)
    assert cut.shape == (10, 4, 2)
    input, target = next_value(3)(cut, None)
    for i, t in enumerate(range(3, 13)):
        assert np.array_equal(input[i], [*x[t - 3], *x[t - 2], *x[t - 1]])
        assert np.array_equal(target[i], x[t])
    input, target = next_value(2)(windows([1.0, 2.0, 4.0, 8.0], 3), None)
    assert np.array_equal(input, [[1, 2], [2, 4]]) and np.array_equal(target, [[4], [8]])


@pytest.mark.equation("prediction.1")
def test_the_objective_is_a_mean_over_times_of_a_sum_over_components():
    """J of a network on a vector series is compared with loops over times and components, its gradient numerically."""
    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((11, 2)), 3
    net = MLP((p * 2, 5, 2), activation="tanh", rng=1, dtype="float64")
    J = objective(net, next_value(p)(windows(x, p + 1), None), squared_error)
    by_hand = 0
    for t in range(p, len(x)):
        f = net(x[t - p : t].reshape(1, -1))[0]
        by_hand += sum((x[t, j] - f[j]) ** 2 for j in range(2)) / (len(x) - p)
    assert J(net.theta.copy())[0] == pytest.approx(by_hand, rel=1e-13)
    assert gradient_error(J, net.theta.copy()) <= 1e-7


@pytest.mark.equation("prediction.2")
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 2))
def test_the_least_squared_error_has_the_conditional_mean(seed, states, p):
    """J of any function of the past is compared with J of the conditional mean, plus their mean squared distance."""
    rng = np.random.default_rng(seed)
    levels = rng.standard_normal((states, 2))  # a vector series with few values, so that every past occurs often
    series = rng.integers(states, size=200)
    past, target = next_value(p)(windows(levels[series], p + 1), None)
    kind = windows(series, p)[:-1] @ states ** np.arange(p)  # which past it is
    mean, f = np.zeros((states**p, 2)), rng.standard_normal((states**p, 2))
    for c in range(states**p):
        mean[c] = target[kind == c].mean(axis=0) if (kind == c).any() else 0
    distance = sum(((mean[c] - f[c]) ** 2).sum() for c in kind) / len(kind)
    for c in set(kind.tolist()):
        assert (past[kind == c] == past[kind == c][0]).all()
    J, least = (squared_error(table[kind], target)[0] for table in (f, mean))
    assert J == pytest.approx(least + distance, rel=1e-12)


@pytest.mark.equation("prediction.3")
def test_forecasts_are_fed_back_by_hand():
    """Three values ahead of a linear model of order two, without and with shocks, are compared with sums by hand."""
    f = linear([0.5, -0.25], intercept=1.0)
    # 1 + 4/2 - 2/4 = 2.5; 1 + 2.5/2 - 4/4 = 1.25; 1 + 1.25/2 - 2.5/4 = 1
    assert np.array_equal(forecast(f, np.array([[2.0, 4.0]]), 3), [[2.5, 1.25, 1.0]])
    # with shocks 1, 0: 3.5; 1 + 3.5/2 - 4/4 = 1.75
    assert np.array_equal(forecast(f, np.array([[2.0, 4.0]]), 2, shocks=np.array([[1.0, 0.0]])), [[3.5, 1.75]])


@pytest.mark.equation("prediction.3")
def test_a_network_forecasts_a_vector_series():
    """Forecasts of a vector series by a network with shocks are compared with a loop over a growing list of values."""
    rng = np.random.default_rng(6)
    past = rng.standard_normal((5, 3, 2)).astype(np.float32)
    shocks = rng.standard_normal((5, 4, 2)).astype(np.float32)
    net = MLP((6, 7, 2), rng=0)
    before = past.copy(), shocks.copy()
    ahead = forecast(net, past, 4, shocks)
    assert ahead.shape == (5, 4, 2) and ahead.dtype == np.float32
    assert np.array_equal(past, before[0]) and np.array_equal(shocks, before[1])
    for i in range(5):
        known = list(past[i])
        for h in range(4):
            known.append(net(np.concatenate(known[-3:])[None])[0] + shocks[i, h])
            assert ahead[i, h] == pytest.approx(known[-1], rel=1e-4, abs=1e-5)


@pytest.mark.equation("prediction.3")
def test_the_forecast_of_a_noiseless_series_is_exact():
    """A damped oscillation is compared with its forecast 100 values ahead by the model fitted to its beginning."""
    t = np.arange(200)
    x = 3 + 0.99**t * np.cos(0.3 * t)
    fit = least_squares(x[:100], 2)
    assert fit.a == pytest.approx([2 * 0.99 * np.cos(0.3), -(0.99**2)], abs=1e-9)
    assert forecast(fit, x[None, 98:100], 100)[0] == pytest.approx(x[100:], abs=1e-7)
    more = least_squares(x[:100], 5)  # K is singular: three coefficients too many
    assert forecast(more, x[None, 95:100], 100)[0] == pytest.approx(x[100:], abs=1e-5)


@pytest.mark.equation("prediction.4")
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 6))
def test_a_linear_model_fed_back_forecasts_the_conditional_mean(seed, p, steps):
    """The mean over all futures with shocks of ±σ, enumerated, is compared with the forecast of any linear model."""
    rng = np.random.default_rng(seed)
    f, past = linear(rng.uniform(-1, 1, p), 0.7), rng.standard_normal((1, p))
    shocks = 0.4 * np.array(list(itertools.product([-1, 1], repeat=steps)))
    mean = forecast(f, np.repeat(past, len(shocks), axis=0), steps, shocks).mean(axis=0)
    assert mean == pytest.approx(forecast(f, past, steps)[0], rel=1e-12, abs=1e-12)


@pytest.mark.equation("prediction.4")
@given(st.floats(-2, 2), st.floats(0.01, 1))
def test_a_square_fed_back_is_off_by_the_variance_of_the_shocks(now, sigma):
    """E(xₜ₊₂ | xₜ) for f(x) = x², by two-point and by normal shocks, is compared with the forecast plus σ²."""
    past = np.array([[now]])
    fed_back = forecast(np.square, past, 2)[0, 1]
    for e, weights in (np.array([-sigma, sigma]), np.full(2, 0.5)), normal_nodes(sigma):
        futures = forecast(np.square, np.repeat(past, len(e), axis=0), 2, np.stack([e, 0 * e], axis=1))
        assert weights @ futures[:, 1] - fed_back == pytest.approx(sigma**2, rel=1e-9, abs=1e-12)


@pytest.mark.equation("prediction.4")
def test_a_cosine_fed_back_is_off_by_a_factor():
    """E(xₜ₊₂ | xₜ) for f(x) = cos 2x by quadrature over normal shocks is compared with exp(−2σ²) times the forecast."""

    def f(x):
        return np.cos(2 * x)

    for now, sigma in ((0.3, 0.4), (1.1, 0.2), (-0.4, 1.0)):
        e, weights = normal_nodes(sigma)
        fed_back = forecast(f, np.array([[now]]), 2)[0, 1]
        futures = forecast(f, np.full((len(e), 1), now), 2, np.stack([e, 0 * e], axis=1))
        assert weights @ futures[:, 1] - fed_back == pytest.approx((np.exp(-2 * sigma**2) - 1) * fed_back, rel=1e-10)
        if now == 0.3:
            assert fed_back.round(3) == -0.080 and (weights @ futures[:, 1]).round(3) == -0.058


@pytest.mark.equation("prediction.5")
def test_simulated_futures_have_the_conditional_mean():
    """Means of random futures of a curved model, 1 to 3 values ahead, are compared with nested quadrature."""

    def f(x):
        return np.cos(2 * x)

    sigma, R, now = 0.4, 200_000, 0.3
    shocks = sigma * np.random.default_rng(0).standard_normal((R, 3))
    futures = forecast(f, np.full((R, 1), now), 3, shocks)
    error = futures.std(axis=0) / R**0.5
    e, w = normal_nodes(sigma)
    one = f(now)
    two = w @ f(one + e)
    three = w @ f(f(one + e)[:, None] + e) @ w
    assert (abs(futures.mean(axis=0) - [one, two, three]) < 5 * error).all()
    fed_back = forecast(f, np.array([[now]]), 3)[0]
    assert (abs(fed_back - [one, two, three]) > [-1, 10 * error[1], 10 * error[2]]).all()  # and not what is fed back


@pytest.mark.equation("prediction.1", "prediction.2")
def test_a_target_some_values_ahead_is_another_choice_of_columns():
    """The linear model trained three values ahead on a noiseless AR(1) is compared with the third power of a."""
    x, h = 0.9 ** np.arange(40.0), 3
    input, target = next_value(1)(windows(x, 1 + h)[:, [*range(1), -1]], None)
    assert np.array_equal(input[:, 0], x[:-h]) and np.array_equal(target[:, 0], x[h:])
    assert np.linalg.lstsq(input, target)[0] == pytest.approx(0.9**h, rel=1e-12)


def test_windows_cost_no_memory():
    x = np.zeros(10**7, dtype=np.float32)
    tracemalloc.start()
    cut = windows(x, 25)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cut.shape == (10**7 - 24, 25) and np.shares_memory(cut, x) and not cut.flags.writeable
    assert peak < 0.01 * x.size  # no copy, not even a byte for each value; the windows themselves would be 1 GB


def test_windows_leave_words_as_they_are():
    cut = windows(np.arange(6, dtype=np.int16), 4)
    assert cut.dtype == np.int16 and cut.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert windows([True, False, True], 2).dtype == np.float64


def test_the_task_can_be_pickled():
    x = windows(np.random.default_rng(0).standard_normal((20, 2)), 4)
    for a, b in zip(next_value(3)(x, None), pickle.loads(pickle.dumps(next_value(3)))(x, None), strict=True):
        assert np.array_equal(a, b)


def test_the_loop_trains_on_windows_without_copying_them():
    x = np.sin(np.arange(300)).astype(np.float32)
    net = MLP((2, 1), rng=0)
    *_, last = train(net, windows(x, 3), next_value(2), squared_error, epochs=400, optimizer=Adam(0.02), rng=0)
    assert last < 1e-3 * x.var()  # a sine is x_t = 2 cos(1) x_{t-1} - x_{t-2}


def test_a_forecast_that_runs_off_is_reported():
    """10³⁰⁰ is still a number; 309 values ahead it is none, and the error says how far the forecast came."""
    assert forecast(linear([10.0]), [[1.0]], 300)[0, -1] == pytest.approx(1e300, rel=1e-12)
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="309 values ahead"):
        forecast(linear([10.0]), [[1.0]], 400)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: windows([1.0, 2.0, np.nan, np.nan], 2), ValueError, "index 2"),
        (lambda: windows([[1.0, 2.0], [np.inf, 1.0]], 2), ValueError, "index 1"),
        (lambda: windows(np.ones(3), 4), ValueError, "length"),
        (lambda: windows(np.ones((2, 2, 2)), 1), ValueError, "x: got shape"),
        (lambda: windows(np.ones(3, dtype=complex), 2), TypeError, "complex"),
        (lambda: windows([], 1), ValueError, "x: got shape"),
        (lambda: next_value(0), ValueError, "order"),
        (lambda: next_value(2)(np.ones((5, 4)), None), ValueError, r"windows\(x, 3\)"),
        (lambda: forecast(None, np.ones((1, 1)), 2), TypeError, "model"),
        (lambda: forecast(linear([0.5]), np.ones(1), 2), ValueError, "past"),
        (lambda: forecast(linear([0.5]), np.ones((1, 1)), 0), ValueError, "steps"),
        (lambda: forecast(linear([0.5]), np.ones((1, 1)), 2, np.ones((1, 3))), ValueError, "shocks"),
        (lambda: forecast(lambda x: x[0], np.ones((1, 1)), 2), ValueError, "model"),
    ],
)
def test_invalid_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
