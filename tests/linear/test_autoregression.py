"""Prediction of the future: each equation of minissl/autoregression.py against loops, the lagged matrix, and theory."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from minissl.autoregression import LinearAR, forecast, least_squares, next_value, windows, yule_walker
from minissl.gradcheck import gradient_error
from minissl.losses import squared_error
from minissl.mlp import MLP
from minissl.optimizers import Adam, lbfgs
from minissl.training import objective, train

A3 = np.array([0.9, -0.5, 0.2])  # a stable AR(3)


def lagged(x, p):
    """The matrix that the module does without: rows (1, x_{t-1}, ..., x_{t-p})."""
    return np.array([[1, *(x[t - i] for i in range(1, p + 1))] for t in range(p, len(x))])


def model(a, intercept=0.0, variance=1.0):
    return LinearAR(np.array(a), intercept, variance, np.full((len(a) + 1,) * 2, np.nan))


def simulated(rng, a, N, T, burn_in=300):
    """N series of T values from x_t = sum a_i x_{t-i} + e_t with Var e = 1, by SciPy's filter."""
    e = rng.standard_normal((N, burn_in + T))
    return lfilter([1], np.r_[1, -np.asarray(a)], e)[:, burn_in:]


def autocovariance(a, lags, terms=2000):
    """gamma_k = sum_j psi_j psi_{j+k} for Var e = 1, from the impulse response."""
    psi = lfilter([1], np.r_[1, -np.asarray(a)], np.eye(1, terms)[0])
    return np.array([psi[: terms - k] @ psi[k:] for k in range(lags)])


series = st.builds(
    lambda seed, T, mean, scale: mean + scale * np.random.default_rng(seed).standard_normal(T).cumsum(),
    st.integers(0, 2**32),
    st.integers(30, 90),
    st.floats(-50, 50),
    st.floats(0.01, 100),
)
orders = st.integers(1, 9)


@pytest.mark.equation("autoregression.1")
def test_windows_are_inputs_and_targets():
    x = np.arange(26.0).reshape(13, 2)
    cut = windows(x, 4)
    assert cut.shape == (10, 4, 2)
    input, target = next_value(3)(cut, None)
    for i, t in enumerate(range(3, 13)):
        assert np.array_equal(input[i], [*x[t - 3], *x[t - 2], *x[t - 1]])
        assert np.array_equal(target[i], x[t])
    input, target = next_value(2)(windows([1.0, 2.0, 4.0, 8.0], 3), None)
    assert np.array_equal(input, [[1, 2], [2, 4]]) and np.array_equal(target, [[4], [8]])


@pytest.mark.equation("autoregression.1")
def test_the_objective_is_a_mean_over_times_of_a_sum_over_components():
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


def test_windows_cost_no_memory():
    x = np.zeros(10**7, dtype=np.float32)
    tracemalloc.start()
    cut = windows(x, 25)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cut.shape == (10**7 - 24, 25) and np.shares_memory(cut, x) and not cut.flags.writeable
    assert peak < 1.1 * x.size  # one byte per value, while gaps are looked for; the windows themselves would be 1 GB


@pytest.mark.equation("autoregression.2")
def test_the_linear_model_at_a_point_worked_by_hand():
    f = model([0.5, -0.25], intercept=1.0)  # x_t = 1 + 0.5 x_{t-1} - 0.25 x_{t-2}
    assert np.array_equal(f(np.array([[2.0, 4.0], [0.0, 8.0]])), [[2.5], [5.0]])  # windows are oldest first
    assert f(np.ones((3, 2), dtype=np.float32)).dtype == np.float32


@pytest.mark.equation("autoregression.3", "autoregression.4", "autoregression.5")
@given(series, orders)
def test_least_squares_is_that_of_the_lagged_matrix(x, p):
    before = x.copy()
    fit = least_squares(x, p)
    X = lagged(x, p)
    b = np.linalg.lstsq(X, x[p:])[0]
    e = x[p:] - X @ b
    variance = e @ e / (len(X) - p - 1)
    covariance = variance * np.linalg.inv(X.T @ X)
    scale = np.sqrt(np.diag(covariance))
    assert abs(np.r_[fit.intercept, fit.a] - b).max() <= 1e-8 * max(1, abs(b).max())
    assert fit.variance == pytest.approx(variance, rel=1e-8)
    assert abs((fit.covariance - covariance) / np.outer(scale, scale)).max() <= 1e-6
    assert fit.standard_errors == pytest.approx(scale, rel=1e-6)
    assert np.array_equal(x, before)


@pytest.mark.equation("autoregression.3")
def test_a_line_worked_by_hand():
    # pairs (0, 1) (1, 1) (1, 3) (3, 5): means 5/4 and 10/4, K_11 = 11 - 25/4, K_10 = 19 - 50/4, K_00 = 36 - 100/4
    fit = least_squares([0.0, 1.0, 1.0, 3.0, 5.0], 1)
    assert fit.a == pytest.approx([6.5 / 4.75], rel=1e-14)
    assert fit.intercept == pytest.approx(10 / 4 - 6.5 / 4.75 * 5 / 4, rel=1e-14)
    assert fit.variance == pytest.approx((11 - 6.5**2 / 4.75) / 2, rel=1e-13)
    assert fit.standard_errors[1] == pytest.approx((fit.variance / 4.75) ** 0.5, rel=1e-13)


@pytest.mark.equation("autoregression.1", "autoregression.3")
def test_a_network_without_hidden_layer_finds_the_same_optimum():
    x = simulated(np.random.default_rng(1), A3, 1, 150)[0] + 2
    net = MLP((4, 1), dtype="float64", rng=0)
    found = lbfgs(objective(net, next_value(4)(windows(x, 5), None), squared_error), net.theta, tolerance=1e-9)
    fit = least_squares(x, 4)
    assert np.r_[fit.a[::-1], fit.intercept] == pytest.approx(found.theta, abs=1e-7)


@pytest.mark.equation("autoregression.6")
@given(series, orders)
def test_yule_walker_is_least_squares_with_zeros_on_both_sides(x, p):
    y = x - x.mean()
    T = len(y)
    r = [sum(y[t] * y[t - k] for t in range(k, T)) / T for k in range(p + 1)]
    R = np.array([[r[abs(i - j)] for j in range(p)] for i in range(p)])
    fit = yule_walker(x, p)
    assert abs(R @ fit.a - r[1:]).max() <= 1e-10 * r[0]
    assert fit.intercept == pytest.approx(x.mean() * (1 - fit.a.sum()), rel=1e-9, abs=1e-9)
    padded = np.r_[np.zeros(p), y, np.zeros(p)]
    X = lagged(padded, p)[:, 1:]
    assert abs(np.linalg.lstsq(X, padded[p:])[0] - fit.a).max() <= 1e-8
    assert fit.variance == pytest.approx(((padded[p:] - X @ fit.a) ** 2).sum() / (T - p - 1), rel=1e-7)
    assert fit.stable


@pytest.mark.equation("autoregression.6")
def test_yule_walker_differs_from_least_squares_by_one_over_T():
    rng = np.random.default_rng(2)
    lengths, repetitions = np.array([250, 1000, 4000]), 100
    gaps = [
        [abs(yule_walker(x, 3).a - least_squares(x, 3).a).sum() for x in simulated(rng, A3, repetitions, T)]
        for T in lengths
    ]
    gaps = np.array(gaps)
    log_error = gaps.std(axis=1) / gaps.mean(axis=1) / repetitions**0.5
    slope = np.log(gaps[2].mean() / gaps[0].mean()) / np.log(16)
    assert abs(slope + 1) < 5 * np.hypot(log_error[0], log_error[2]) / np.log(16)


def test_a_nearly_periodic_series_is_exact_by_least_squares_and_not_by_yule_walker():
    t = np.arange(5000)
    x = np.sin(0.1 * t) + np.sin(0.23 * t + 1) + np.sin(0.57 * t + 2)
    x += 1e-6 * np.random.default_rng(3).standard_normal(len(t))
    p = 12
    X = lagged(x, p)

    def residual(b):
        return np.sqrt(((x[p:] - X @ b) ** 2).mean())

    best = residual(np.linalg.lstsq(X, x[p:])[0])
    fits = least_squares(x, p), yule_walker(x, p)
    ours, theirs = (residual(np.r_[fit.intercept, fit.a]) for fit in fits)
    assert best < 1e-5
    assert ours == pytest.approx(best, rel=1e-5)
    assert theirs > 1000 * best
    assert fits[0].variance == pytest.approx(best**2 * len(X) / (len(X) - p - 1), rel=0.02)  # 1e-15 K_00 limits it


@pytest.mark.equation("autoregression.7")
def test_the_covariance_of_the_estimates_tends_to_theory():
    rng, R, T, p = np.random.default_rng(4), 1500, 1000, 3
    fits = [least_squares(x, p) for x in simulated(rng, A3, R, T)]
    gamma = autocovariance(A3, p)
    theory = np.linalg.inv(gamma[abs(np.subtract.outer(range(p), range(p)))])  # s^2 Gamma^-1 with s^2 = 1
    measured = T * np.cov(np.array([fit.a for fit in fits]).T)
    error = np.sqrt((np.outer(np.diag(theory), np.diag(theory)) + theory**2) / R)  # of a Gaussian sample covariance
    assert (abs(measured - theory) < 5 * error + 10 / T).all()
    claimed = np.array([T * fit.covariance[1:, 1:] for fit in fits])
    assert (abs(claimed.mean(axis=0) - theory) < 5 * claimed.std(axis=0) / R**0.5 + 10 / T).all()
    means = np.array([fit.a for fit in fits]).mean(axis=0)
    assert (abs(means - A3) < 5 * np.sqrt(np.diag(theory) / T / R) + 5 / T).all()  # bias of least squares: O(1/T)


@pytest.mark.equation("autoregression.7")
def test_the_variance_of_one_coefficient_is_one_minus_its_square():
    x = simulated(np.random.default_rng(5), [0.7], 2000, 1000)
    a = np.array([least_squares(row, 1).a[0] for row in x])
    assert abs(1000 * a.var() - 0.51) < 5 * 0.51 * np.sqrt(2 / 2000)


@pytest.mark.equation("autoregression.8")
@given(st.lists(st.floats(-1.5, 1.5).filter(lambda z: abs(abs(z) - 1) > 0.02), min_size=1, max_size=3, unique=True))
def test_roots_decide_stability(real):
    pair = [0.6 + 0.7j, 0.6 - 0.7j]  # modulus 0.92
    a = -np.real(np.poly([*real, *pair]))[1:]
    fit = model(a)
    for z in [*real, *pair]:
        assert abs(z ** len(a) - sum(a[i - 1] * z ** (len(a) - i) for i in range(1, len(a) + 1))) < 1e-12
        assert abs(fit.roots - z).min() < 1e-3
    assert fit.stable == all(abs(z) < 1 for z in real)


@pytest.mark.equation("autoregression.8")
def test_a_stable_recurrence_dies_out_and_an_unstable_one_does_not():
    past = np.array([[1.0, 0.5]])
    for modulus, dies in ((0.95, True), (1.05, False)):
        fit = model([2 * modulus * np.cos(0.4), -(modulus**2)])  # roots modulus exp(+-0.4 i)
        assert fit.stable is dies
        assert abs(fit.roots) == pytest.approx([modulus, modulus], rel=1e-12)
        last = abs(forecast(fit, past, 500)[0, -20:]).max()
        assert last < 1e-8 if dies else last > 1e8
    assert model([1.0]).stable is False  # a random walk: |z| = 1, and a disturbance stays


@pytest.mark.equation("autoregression.9")
def test_forecasts_are_fed_back_by_hand():
    f = model([0.5, -0.25], intercept=1.0)
    # 1 + 4/2 - 2/4 = 2.5; 1 + 2.5/2 - 4/4 = 1.25; 1 + 1.25/2 - 2.5/4 = 1
    assert np.array_equal(forecast(f, np.array([[2.0, 4.0]]), 3), [[2.5, 1.25, 1.0]])
    # with shocks 1, 0: 3.5; 1 + 3.5/2 - 4/4 = 1.75
    assert np.array_equal(forecast(f, np.array([[2.0, 4.0]]), 2, shocks=np.array([[1.0, 0.0]])), [[3.5, 1.75]])


@pytest.mark.equation("autoregression.9")
def test_a_network_forecasts_a_vector_series():
    rng = np.random.default_rng(6)
    past = rng.standard_normal((5, 3, 2)).astype(np.float32)
    shocks = rng.standard_normal((5, 4, 2)).astype(np.float32)
    net = MLP((6, 7, 2), rng=0)
    ahead = forecast(net, past, 4, shocks)
    assert ahead.shape == (5, 4, 2) and ahead.dtype == np.float32
    for i in range(5):
        known = list(past[i])
        for h in range(4):
            known.append(net(np.concatenate(known[-3:])[None])[0] + shocks[i, h])
            assert ahead[i, h] == pytest.approx(known[-1], rel=1e-4, abs=1e-5)


@pytest.mark.equation("autoregression.9")
def test_the_forecast_of_a_noiseless_series_is_exact():
    t = np.arange(200)
    x = 3 + 0.99**t * np.cos(0.3 * t)
    fit = least_squares(x[:100], 2)
    assert fit.a == pytest.approx([2 * 0.99 * np.cos(0.3), -(0.99**2)], abs=1e-9)
    assert forecast(fit, x[None, 98:100], 100)[0] == pytest.approx(x[100:], abs=1e-7)
    more = least_squares(x[:100], 5)  # K is singular: three coefficients too many
    assert forecast(more, x[None, 95:100], 100)[0] == pytest.approx(x[100:], abs=1e-5)


@pytest.mark.equation("autoregression.3")
@pytest.mark.parametrize("scale", [1e-9, 1, 1e9])
def test_where_many_coefficients_fit_equally_well_the_least_are_found(scale):
    """A noiseless oscillation obeys two coefficients; of the five that are asked for, the solution of least norm."""
    x, p = np.cos(0.3 * np.arange(200)) + 2, 5
    X = lagged(x, p)[:, 1:]
    least = np.linalg.lstsq(X - X.mean(axis=0), x[p:] - x[p:].mean(), rcond=1e-9)[0]
    assert least_squares(scale * x, p).a == pytest.approx(least, abs=1e-12)


@pytest.mark.equation("autoregression.10")
def test_forecast_variance_of_one_coefficient_in_closed_form():
    h = np.arange(1, 9)
    theory = 2.5 * (1 - 0.8 ** (2 * h)) / (1 - 0.8**2)
    assert model([0.8], variance=2.5).forecast_variance(8) == pytest.approx(theory, rel=1e-13)
    assert model([0.8], variance=2.5).forecast_variance(1) == pytest.approx([2.5], rel=1e-15)


@pytest.mark.equation("autoregression.10")
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.integers(1, 12))
def test_psi_is_what_a_unit_shock_does(a, steps):
    fit = model(a, variance=0.7)
    shocks = np.eye(1, steps)
    psi = forecast(fit, np.zeros((1, len(a))), steps, shocks)[0]
    assert fit.forecast_variance(steps) == pytest.approx([0.7 * sum(psi[:h] ** 2) for h in range(1, steps + 1)])


@pytest.mark.equation("autoregression.10")
def test_forecast_errors_have_the_variance_of_theory():
    rng, R, p, steps = np.random.default_rng(7), 20000, 3, 12
    x = simulated(rng, A3, R, p + steps)
    fit = model(A3)
    errors = x[:, p:] - forecast(fit, x[:, :p], steps)
    theory = fit.forecast_variance(steps)
    assert (abs(errors.var(axis=0) / theory - 1) < 5 * np.sqrt(2 / R)).all()
    assert theory[-1] < autocovariance(A3, 1)[0] == pytest.approx(fit.forecast_variance(300)[-1], rel=1e-9)


def test_an_order_of_24_on_many_samples_is_cheap():
    T, p = 200_000, 24
    x = simulated(np.random.default_rng(8), A3, 1, T)[0]

    def seconds(f):
        began = time.perf_counter()
        f()
        return time.perf_counter() - began

    def by_matrix():
        X = np.column_stack([np.ones(T - p), *(x[p - i : T - i] for i in range(1, p + 1))])
        return np.linalg.lstsq(X, x[p:])[0]

    quick = min(seconds(lambda: least_squares(x, p)) for _ in range(7))
    assert seconds(by_matrix) > 100 * quick
    tracemalloc.start()
    fit = least_squares(x, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * x.nbytes  # beside the input's own
    assert np.r_[fit.intercept, fit.a] == pytest.approx(by_matrix(), abs=1e-11)


def test_blocks_do_not_show(monkeypatch):
    x = simulated(np.random.default_rng(9), A3, 1, 700)[0] + 30
    whole = least_squares(x, 6), yule_walker(x, 6)
    monkeypatch.setattr("minissl.autoregression.BLOCK", 97)
    for fit, again in zip(whole, (least_squares(x, 6), yule_walker(x, 6)), strict=True):
        assert again.a == pytest.approx(fit.a, rel=1e-11) and again.intercept == pytest.approx(fit.intercept, rel=1e-10)
        assert again.covariance == pytest.approx(fit.covariance, rel=1e-9)


@pytest.mark.parametrize("fit", [least_squares, yule_walker])
def test_degenerate_and_single_precision_series(fit):
    constant = fit(np.full(20, 3.5), 4)
    assert np.array_equal(constant.a, np.zeros(4)) and constant.intercept == 3.5 and constant.variance == 0
    x = simulated(np.random.default_rng(10), A3, 1, 400)[0]
    assert fit(x.astype(np.float32), 3).a == pytest.approx(fit(x, 3).a, abs=1e-5)
    assert fit([1, 3, 2, 5, 4, 4], 1).a == pytest.approx(fit([1.0, 3, 2, 5, 4, 4], 1).a)
    assert fit([True, False, True, True, False], 1).a == pytest.approx(fit([1.0, 0, 1, 1, 0], 1).a)


def test_the_loop_trains_on_windows_without_copying_them():
    x = np.sin(np.arange(300)).astype(np.float32)
    net = MLP((2, 1), rng=0)
    *_, last = train(net, windows(x, 3), next_value(2), squared_error, epochs=400, optimizer=Adam(0.02), rng=0)
    assert last < 1e-3 * x.var()  # a sine is x_t = 2 cos(1) x_{t-1} - x_{t-2}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: windows([1.0, 2.0, np.nan, np.nan], 2), ValueError, "index 2"),
        (lambda: windows([[1.0, 2.0], [np.inf, 1.0]], 2), ValueError, "index 1"),
        (lambda: least_squares(np.r_[np.ones(9), np.nan], 2), ValueError, "index 9"),
        (lambda: windows(np.ones(3), 4), ValueError, "length"),
        (lambda: windows(np.ones((2, 2, 2)), 1), ValueError, "x: got shape"),
        (lambda: windows(np.ones(3, dtype=complex), 2), TypeError, "complex"),
        (lambda: windows([], 1), ValueError, "x: got shape"),
        (lambda: next_value(0), ValueError, "order"),
        (lambda: next_value(2)(np.ones((5, 4)), None), ValueError, "windows of length 3"),
        (lambda: least_squares(np.ones((9, 2)), 2), ValueError, "scalar"),
        (lambda: least_squares(np.ones(9), 4), ValueError, "order"),
        (lambda: yule_walker(np.ones(3), 1), ValueError, "at least 4"),
        (lambda: model([0.5])(np.ones((2, 3))), ValueError, "x: got shape"),
        (lambda: model([0.5]).forecast_variance(0), ValueError, "steps"),
        (lambda: forecast(model([0.5]), np.ones(1), 2), ValueError, "past"),
        (lambda: forecast(model([0.5]), np.ones((1, 1)), 2, np.ones((1, 3))), ValueError, "shocks"),
    ],
)
def test_unfit_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
