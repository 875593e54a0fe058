"""Autoregression: each equation of minissl/linear/autoregression.py against loops, SciPy's filter, and theory."""

import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from minissl.linear.autoregression import LinearAR, lagged_least_squares, least_squares, yule_walker
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs
from minissl.nn.training import objective
from minissl.tasks.prediction import forecast, next_value, windows

FITS = [least_squares, lagged_least_squares, yule_walker]
NILE = """1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 1100 1210 1150
1250 1260 1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 831 726 456 824 702 1120 1100 832 764 821 768
845 864 862 698 845 744 796 1040 759 781 865 845 944 984 897 822 1010 771 676 649 846 812 742 801 1040 860 874 848 890
744 749 838 1050 918 986 797 923 975 815 1020 906 901 1170 912 746 919 718 714 740"""
NILE = np.array(NILE.split(), dtype=float)  # annual flow at Aswan 1871-1970, 10⁸ m³ (Cobb 1978)
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
def test_the_linear_model_at_a_point_worked_by_hand():
    """The next value after two windows is compared with 1 + xₜ₋₁/2 − xₜ₋₂/4 by hand."""
    f = model([0.5, -0.25], intercept=1.0)  # x_t = 1 + 0.5 x_{t-1} - 0.25 x_{t-2}
    assert np.array_equal(f(np.array([[2.0, 4.0], [0.0, 8.0]])), [[2.5], [5.0]])  # windows are oldest first
    assert f(np.ones((3, 2), dtype=np.float32)).dtype == np.float32


@pytest.mark.equation("autoregression.2", "autoregression.3", "autoregression.4", "autoregression.10")
@pytest.mark.parametrize("fit", [least_squares, lagged_least_squares])
@given(x=series, p=orders)
def test_least_squares_is_that_of_the_lagged_matrix(fit, x, p):
    """Coefficients, s² and their covariance are compared with NumPy's solution and inverse for the lagged matrix."""
    before = x.copy()
    found = fit(x, p)
    X = lagged(x, p)
    b = np.linalg.lstsq(X, x[p:])[0]
    e = x[p:] - X @ b
    variance = e @ e / (len(X) - p - 1)
    covariance = variance * np.linalg.inv(X.T @ X)
    scale = np.sqrt(np.diag(covariance))
    assert abs(np.r_[found.intercept, found.a] - b).max() <= 1e-8 * max(1, abs(b).max())
    assert found.variance == pytest.approx(variance, rel=1e-8)
    assert abs((found.covariance - covariance) / np.outer(scale, scale)).max() <= 1e-6
    assert found.standard_errors == pytest.approx(scale, rel=1e-6)
    assert np.array_equal(x, before)


@pytest.mark.equation("autoregression.3", "autoregression.4", "autoregression.10")
@given(x=series, p=orders)
def test_both_forms_of_least_squares_are_equal(x, p):
    """The rows of C from one another are compared with the regression on the lagged matrix, in all that they return."""
    fast, plain = least_squares(x, p), lagged_least_squares(x, p)
    scale = np.outer(plain.standard_errors, plain.standard_errors)
    assert fast.a == pytest.approx(plain.a, rel=1e-9, abs=1e-9)
    assert fast.intercept == pytest.approx(plain.intercept, rel=1e-9, abs=1e-8 * abs(x).max())
    assert fast.variance == pytest.approx(plain.variance, rel=1e-10)
    assert abs((fast.covariance - plain.covariance) / scale).max() <= 1e-8


@pytest.mark.equation("autoregression.2", "autoregression.3")
def test_a_line_worked_by_hand():
    """Slope, intercept, s² and standard error of the line through four pairs are compared with sums by hand."""
    # pairs (0, 1) (1, 1) (1, 3) (3, 5): means 5/4 and 10/4, K_11 = 11 - 25/4, K_10 = 19 - 50/4, K_00 = 36 - 100/4
    fit = least_squares([0.0, 1.0, 1.0, 3.0, 5.0], 1)
    assert fit.a == pytest.approx([6.5 / 4.75], rel=1e-14)
    assert fit.intercept == pytest.approx(10 / 4 - 6.5 / 4.75 * 5 / 4, rel=1e-14)
    assert fit.variance == pytest.approx((11 - 6.5**2 / 4.75) / 2, rel=1e-13)
    assert fit.standard_errors[1] == pytest.approx((fit.variance / 4.75) ** 0.5, rel=1e-13)


@pytest.mark.equation("prediction.1", "autoregression.2", "autoregression.3")
def test_a_network_without_hidden_layer_finds_the_same_optimum():
    """The weights of a linear network trained on the windows are compared with the coefficients of least squares."""
    x = simulated(np.random.default_rng(1), A3, 1, 150)[0] + 2
    net = MLP((4, 1), dtype="float64", rng=0)
    found = lbfgs(objective(net, next_value(4)(windows(x, 5), None), squared_error), net.theta, tolerance=1e-8)
    fit = least_squares(x, 4)
    assert np.r_[fit.a[::-1], fit.intercept] == pytest.approx(found.theta, abs=1e-7)


@pytest.mark.equation("autoregression.7")
@given(series, orders)
def test_yule_walker_is_least_squares_with_zeros_on_both_sides(x, p):
    """The fit is compared with its equations in sums by loops, and with NumPy's least squares on the padded series."""
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


@pytest.mark.equation("autoregression.7")
def test_yule_walker_differs_from_least_squares_by_one_over_T():
    """The slope of the difference against T, on logarithmic axes, is compared with −1."""
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


@pytest.mark.equation("autoregression.5")
def test_the_covariance_of_the_estimates_tends_to_theory():
    """T times the covariance of â over simulated series, and what each fit claims for it, are compared with σ² Γ⁻¹."""
    rng, R, T, p = np.random.default_rng(4), 1500, 1000, 3
    fits = [least_squares(x, p) for x in simulated(rng, A3, R, T)]
    gamma = autocovariance(A3, p)
    theory = np.linalg.inv(gamma[abs(np.subtract.outer(range(p), range(p)))])  # σ² Γ⁻¹ with σ² = 1
    measured = T * np.cov(np.array([fit.a for fit in fits]).T)
    error = np.sqrt((np.outer(np.diag(theory), np.diag(theory)) + theory**2) / R)  # of a Gaussian sample covariance
    assert (abs(measured - theory) < 5 * error + 10 / T).all()
    claimed = np.array([T * fit.covariance[1:, 1:] for fit in fits])
    assert (abs(claimed.mean(axis=0) - theory) < 5 * claimed.std(axis=0) / R**0.5 + 10 / T).all()
    means = np.array([fit.a for fit in fits]).mean(axis=0)
    assert (abs(means - A3) < 5 * np.sqrt(np.diag(theory) / T / R) + 5 / T).all()  # bias of least squares: O(1/T)


@pytest.mark.equation("autoregression.5")
def test_the_variance_of_one_coefficient_is_one_minus_its_square():
    """T Var â of an AR(1) with a = 0.7 over simulated series is compared with 1 − a² = 0.51."""
    x = simulated(np.random.default_rng(5), [0.7], 2000, 1000)
    a = np.array([least_squares(row, 1).a[0] for row in x])
    assert abs(1000 * a.var() - 0.51) < 5 * 0.51 * np.sqrt(2 / 2000)


@pytest.mark.equation("autoregression.6")
@pytest.mark.parametrize("a", [0.9, 0.5, 0.0, -0.5])
def test_the_bias_of_one_coefficient(a):
    """T times the mean of â − a, less a term of mean zero that only adds noise, is compared with −(1 + 3a)."""
    T, R = 400, 2000
    x = simulated(np.random.default_rng(11), [a], R, T)
    past, e = x[:, :-1], x[:, 1:] - a * x[:, :-1]
    noise = (past * e).sum(axis=1) * (1 - a**2) / (T - 1)  # a sum of xₜ₋₁ eₜ has mean 0; γ = 1/(1 − a²)
    scaled = T * (np.array([least_squares(row, 1).a[0] for row in x]) - a - noise)
    assert abs(scaled.mean() + 1 + 3 * a) < 5 * scaled.std() / R**0.5 + 40 / T  # for a = 0.9 the next term is -28/T


@pytest.mark.equation("autoregression.6")
def test_the_bias_of_a_long_memory_is_as_large_as_the_standard_error():
    """The mean error of â for a = 0.9 and T = 79 is compared with the −0.051 of an independent simulation."""
    x = simulated(np.random.default_rng(12), [0.9], 6000, 79)
    error = np.array([least_squares(row, 1).a[0] for row in x]) - 0.9
    assert abs(error.mean() + 0.051) < 5 * error.std() / 6000**0.5 + 0.0005  # −0.051 is rounded
    assert -(1 + 3 * 0.9) / 79 == pytest.approx(-0.047, abs=5e-4) and (0.19 / 79) ** 0.5 == pytest.approx(
        0.049, abs=5e-4
    )


@pytest.mark.equation("autoregression.8")
@given(st.lists(st.floats(-1.5, 1.5).filter(lambda z: abs(abs(z) - 1) > 0.02), min_size=1, max_size=3, unique=True))
def test_roots_decide_stability(real):
    """The roots of models made from chosen roots are compared with these, and stability with their moduli."""
    pair = [0.6 + 0.7j, 0.6 - 0.7j]  # modulus 0.92
    a = -np.real(np.poly([*real, *pair]))[1:]
    fit = model(a)
    for z in [*real, *pair]:
        assert abs(z ** len(a) - sum(a[i - 1] * z ** (len(a) - i) for i in range(1, len(a) + 1))) < 1e-12
        assert abs(fit.roots - z).min() < 1e-3
    assert fit.stable == all(abs(z) < 1 for z in real)


@pytest.mark.equation("autoregression.8")
def test_a_stable_recurrence_dies_out_and_an_unstable_one_does_not():
    """A forecast 500 values ahead is compared with 0 for roots of modulus 0.95, and with 10⁸ for 1.05."""
    past = np.array([[1.0, 0.5]])
    for modulus, dies in ((0.95, True), (1.05, False)):
        fit = model([2 * modulus * np.cos(0.4), -(modulus**2)])  # roots modulus exp(+-0.4 i)
        assert fit.stable is dies
        assert abs(fit.roots) == pytest.approx([modulus, modulus], rel=1e-12)
        last = abs(forecast(fit, past, 500)[0, -20:]).max()
        assert last < 1e-8 if dies else last > 1e8
    assert model([1.0]).stable is False  # a random walk: |z| = 1, and a disturbance stays


@pytest.mark.equation("autoregression.8")
def test_a_constant_moves_the_point_around_which_a_disturbance_dies_out():
    """The forecast far ahead of a stable model with an intercept is compared with a₀/(1 − Σ a), whatever the past."""
    f = model([1.2, -0.5], intercept=3.0)
    assert f.stable
    for past in ([[0.0, 0.0]], [[-50.0, 70.0]]):
        assert forecast(f, past, 300)[0, -1] == pytest.approx(3 / (1 - 0.7), rel=1e-12)


@pytest.mark.equation("autoregression.3")
@pytest.mark.parametrize("scale", [1e-9, 1, 1e9])
def test_where_many_coefficients_fit_equally_well_the_least_are_found(scale):
    """Five coefficients of a noiseless oscillation, which obeys two, are compared with the solution of least norm."""
    x, p = np.cos(0.3 * np.arange(200)) + 2, 5
    X = lagged(x, p)[:, 1:]
    least = np.linalg.lstsq(X - X.mean(axis=0), x[p:] - x[p:].mean(), rcond=1e-9)[0]
    assert least_squares(scale * x, p).a == pytest.approx(least, abs=1e-12)


@pytest.mark.equation("autoregression.9")
def test_forecast_variance_of_one_coefficient_in_closed_form():
    """The variance 1 to 8 values ahead for a = 0.8 is compared with the geometric series σ² (1 − a²ʰ)/(1 − a²)."""
    h = np.arange(1, 9)
    theory = 2.5 * (1 - 0.8 ** (2 * h)) / (1 - 0.8**2)
    assert model([0.8], variance=2.5).forecast_variance(8) == pytest.approx(theory, rel=1e-13)
    assert model([0.8], variance=2.5).forecast_variance(1) == pytest.approx([2.5], rel=1e-15)


@pytest.mark.equation("autoregression.9")
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.integers(1, 12))
def test_psi_is_what_a_unit_shock_does(a, steps):
    """The forecast variance is compared with the squares of the response to a unit shock, fed back and by SciPy."""
    fit = model(a, variance=0.7)
    shocks = np.eye(1, steps)
    psi = forecast(fit, np.zeros((1, len(a))), steps, shocks)[0]
    assert psi == pytest.approx(lfilter([1], np.r_[1, -np.array(a)], shocks[0]), abs=1e-12)
    assert fit.forecast_variance(steps) == pytest.approx([0.7 * sum(psi[:h] ** 2) for h in range(1, steps + 1)])


@pytest.mark.equation("autoregression.9")
def test_forecast_errors_have_the_variance_of_theory():
    """The variance of forecast errors on simulated series is compared with theory, and its limit with Var xₜ."""
    rng, R, p, steps = np.random.default_rng(7), 20000, 3, 12
    x = simulated(rng, A3, R, p + steps)
    fit = model(A3)
    errors = x[:, p:] - forecast(fit, x[:, :p], steps)
    theory = fit.forecast_variance(steps)
    assert (abs(errors.var(axis=0) / theory - 1) < 5 * np.sqrt(2 / R)).all()
    assert theory[-1] < autocovariance(A3, 1)[0] == pytest.approx(fit.forecast_variance(300)[-1], rel=1e-9)


def test_an_order_of_24_on_many_samples_is_cheap():
    """Beside the matrix of lagged values it takes about a hundredth of the processor's time; 1/25 on a busy machine."""
    T, p = 200_000, 24
    x = simulated(np.random.default_rng(8), A3, 1, T)[0]

    def seconds(f):
        began = time.process_time()
        f()
        return time.process_time() - began

    def by_matrix():
        X = np.column_stack([np.ones(T - p), *(x[p - i : T - i] for i in range(1, p + 1))])
        return np.linalg.lstsq(X, x[p:])[0]

    quick = min(seconds(lambda: least_squares(x, p)) for _ in range(7))
    assert seconds(by_matrix) > 25 * quick
    tracemalloc.start()
    fit = least_squares(x, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * x.nbytes  # beside the input's own
    assert np.r_[fit.intercept, fit.a] == pytest.approx(by_matrix(), abs=1e-11)


def test_memory_does_not_grow_with_the_series():
    peaks = []
    for T in (100_000, 400_000):
        x = np.random.default_rng(13).standard_normal(T)
        tracemalloc.start()
        least_squares(x, 24)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.parametrize("block", [5, 97, 99, 693])  # 700 - 6 targets: the last block of 99 or 693 holds a single one
def test_blocks_do_not_show(monkeypatch, block):
    x = simulated(np.random.default_rng(9), A3, 1, 700)[0] + 30
    whole = [fit(x, 6) for fit in FITS]
    monkeypatch.setattr("minissl.linear.autoregression.BLOCK", block)
    for found, fit in zip(whole, FITS, strict=True):
        again = fit(x, 6)
        assert again.a == pytest.approx(found.a, rel=1e-11)
        assert again.intercept == pytest.approx(found.intercept, rel=1e-10)
        assert again.covariance == pytest.approx(found.covariance, rel=1e-9)


@pytest.mark.parametrize("fit", FITS)
def test_single_precision_integers_and_booleans(fit):
    x = simulated(np.random.default_rng(10), A3, 1, 400)[0]
    assert fit(x.astype(np.float32), 3).a == pytest.approx(fit(x, 3).a, abs=1e-5)
    assert fit([1, 3, 2, 5, 4, 4], 1).a == pytest.approx(fit([1.0, 3, 2, 5, 4, 4], 1).a)
    assert fit([True, False, True, True, False], 1).a == pytest.approx(fit([1.0, 0, 1, 1, 0], 1).a)
    assert fit(NILE.astype(np.uint16), 2).a == pytest.approx(fit(NILE, 2).a, rel=1e-12)


@pytest.mark.equation("autoregression.3", "autoregression.7")
def test_the_flow_of_the_nile():
    """The two coefficients of each fit to the annual flow are compared with those that another program gave."""
    assert least_squares(NILE, 2).a == pytest.approx([0.3949, 0.1988], abs=5e-5)
    assert yule_walker(NILE, 2).a == pytest.approx([0.4081, 0.1812], abs=5e-5)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("scale", [1e153, 1e305, 1e100, 1e-100, 1e-160, 1e-300, 2.0**-1030])
def test_the_unit_of_the_series_does_not_matter(fit, scale):
    """Neither do squares beyond the range of numbers: a has no unit, and its standard errors have none."""
    right, found = fit(NILE, 2), fit(scale * NILE, 2)
    assert found.a == pytest.approx(right.a, rel=1e-11)
    assert found.standard_errors[1:] == pytest.approx(right.standard_errors[1:], rel=1e-11)
    assert found.intercept == pytest.approx(scale * right.intercept, rel=1e-11)
    if 1e-150 < scale < 1e150:
        assert found.variance == pytest.approx(scale**2 * right.variance, rel=1e-11)
        assert found.standard_errors[0] == pytest.approx(scale * right.standard_errors[0], rel=1e-11)
    else:
        assert found.variance in (0, np.inf) or found.variance < 1e-300  # out of range, and it says so


@pytest.mark.parametrize("fit", FITS)
def test_a_power_of_two_as_unit_changes_no_bit(fit):
    right = fit(NILE, 3)
    for k in (-1000, -40, 3, 900):
        found = fit(2.0**k * NILE, 3)
        assert np.array_equal(found.a, right.a) and found.intercept == 2.0**k * right.intercept


@given(st.floats(-1e6, 1e6), st.integers(8, 200), st.integers(1, 3), st.sampled_from([np.float32, np.float64]))
def test_a_constant_series_has_nothing_to_predict_by(value, T, p, dtype):
    """Its mean is rounded, and what that leaves is no signal: every coefficient is 0."""
    x = np.full(T, value, dtype)
    for fit in least_squares, yule_walker:
        found = fit(x, p)
        assert np.array_equal(found.a, np.zeros(p)) and found.variance == 0
        assert found.intercept == pytest.approx(float(x[0]), rel=1e-15)
    assert abs(lagged_least_squares(x, p).a).max() < 1e-9
    assert lagged_least_squares(x, p)(x[None, :p])[0, 0] == pytest.approx(float(x[0]), rel=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_known_constants(fit):
    """The mean of a hundred times 0.1 is not 0.1 in floating point: Yule–Walker once gave a = 0.99 for this."""
    assert fit(np.full(100, 0.1), 1).a == pytest.approx([0], abs=1e-12)
    constant = fit(np.full(20, 3.5), 4)
    assert np.array_equal(constant.a, np.zeros(4)) and constant.intercept == 3.5 and constant.variance == 0


@pytest.mark.parametrize("last", [5.0, 1e4, -1e8])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_jump_at_the_end_of_a_constant_series_is_not_predictable(last, p):
    """All inputs are equal, so that K₁₁ … Kₚₚ are 0, but for the rounding of differences of large sums."""
    found = least_squares(np.r_[np.full(99, 0.1), last], p)
    assert np.array_equal(found.a, np.zeros(p))
    assert found.intercept == pytest.approx(np.r_[np.full(99, 0.1), last][p:].mean(), rel=1e-12)


@pytest.mark.parametrize("fit", FITS)
def test_harmless_underflow_and_overflow_are_ignored(fit):
    with np.errstate(all="raise"):
        for x in (1e153 * NILE, 1e-160 * NILE, 1e-300 * NILE, np.append(NILE, 1e-200), np.append(NILE, 1e200)):
            fit(x, 2)
        variance = model([0.1]).forecast_variance(400)  # ψ₄₀₀² = 10⁻⁸⁰⁰
        assert variance[-1] == pytest.approx(1 / 0.99, rel=1e-14)


def test_a_forecast_variance_that_runs_off_is_reported():
    assert model([10.0]).forecast_variance(150)[-1] == pytest.approx(1e298 / 0.99, rel=1e-12)
    for a in ([10.0], [-10.0, 10.0]):
        with pytest.raises(FloatingPointError, match="not stable"):
            model(a).forecast_variance(400)
    with pytest.raises(FloatingPointError, match="rescaled"):
        least_squares(1e160 * NILE, 2).forecast_variance(3)


def test_models_can_be_pickled():
    fit = least_squares(NILE, 2)
    again = pickle.loads(pickle.dumps(fit))
    assert type(again) is LinearAR and np.array_equal(again.a, fit.a) and again.variance == fit.variance
    assert np.array_equal(again(NILE[None, :2]), fit(NILE[None, :2]))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: least_squares(np.r_[np.ones(9), np.nan], 2), ValueError, "index 9"),
        (lambda: least_squares(np.ones((9, 2)), 2), ValueError, "scalar"),
        (lambda: lagged_least_squares(np.ones((9, 2)), 2), ValueError, "scalar"),
        (lambda: lagged_least_squares(np.ones(9), 4), ValueError, "order"),
        (lambda: least_squares(np.ones(9), 4), ValueError, "order"),
        (lambda: yule_walker(np.ones(3), 1), ValueError, "at least 4"),
        (lambda: model([0.5])(np.ones((2, 3))), ValueError, "x: got shape"),
        (lambda: model([0.5]).forecast_variance(0), ValueError, "steps"),
    ],
)
def test_invalid_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
