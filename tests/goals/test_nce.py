"""Noise-contrastive estimation: the objective by hand and by loops, and the theory against repeated estimation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissl.contrastive import Gaussian, gaussian_like
from minissl.densities import energy, gaussian, gaussian_theta, ica, laplace, logcosh
from minissl.gradcheck import gradient_error, taylor_slope
from minissl.losses import sigmoid
from minissl.mlp import MLP
from minissl.nce import asymptotic_covariance, derivatives, estimate, objective, optimal_noise
from minissl.optimizers import lbfgs

NUS = [1, 3, 20]
GRID = np.linspace(-9, 9, 181)[:, None]
NORMAL = np.exp(-(GRID[:, 0] ** 2) / 2) / (2 * math.pi) ** 0.5 * 0.1  # quadrature weights of N(0, 1)
STANDARD = gaussian_theta([0.0], [[1.0]])
COVARIANCE = np.array([[1.5, 0.6], [0.6, 0.8]])
PLANE = gaussian_theta([0.0, 0.0], COVARIANCE)
MIXING = np.array([[1.0, 0.5], [-0.3, 0.8]])
UNMIXING = np.r_[np.linalg.inv(MIXING).ravel(), -math.log(np.linalg.det(MIXING))]


def normal(n=1, deviation=1.0, mean=0.0):
    return Gaussian(np.full(n, mean), np.eye(n), np.full(n, deviation))


def correlated(covariance):
    variances, axes = np.linalg.eigh(covariance)
    return Gaussian(np.zeros(len(axes)), axes, variances**0.5)


class Ratio:
    """The noise r p_d at the nodes of the quadrature."""

    def __init__(self, r):
        self.r = r

    def log_density(self, x):
        return gaussian(STANDARD, x)[0] + np.log(np.maximum(self.r, 1e-300))


def problem(seed, n, T, nu, kind="ica"):
    """A model, parameters away from the truth, data, noise samples and their distribution."""
    rng = np.random.default_rng(seed)
    x, noise = rng.laplace(size=(T, n)), normal(n, 1.3, 0.2)
    if kind == "network":
        net = MLP((n, 4, 1), "tanh", rng=rng, dtype="float64")
        model, theta = energy(net), net.theta.copy()
    elif kind == "gaussian":
        model, theta = gaussian, gaussian_theta(rng.standard_normal(n), np.eye(n))
        theta = theta + 0.1 * rng.standard_normal(theta.size)
    else:
        model, theta = ica, rng.standard_normal(n * n + 1)
    return model, theta, x, noise.sample(nu * T, rng), noise


# The objective


@pytest.mark.equation("nce.2", "nce.3", "nce.4")
def test_three_samples_worked_by_hand():
    # p_m = 4 p_n everywhere and nu = 2, so h = 4/(4 + 2) = 2/3
    theta = STANDARD + [0, 0, math.log(4)]
    J = objective(gaussian, [[2.0]], [[0.0], [-1.0]], normal())
    value, gradient = J(theta)
    assert value == pytest.approx(-math.log(2 / 3) - 2 * math.log(1 / 3))
    # g = (-x^2/2, x, 1): (-2, 2, 1) for the datum, (0, 0, 1) and (-1/2, -1, 1) for the noise
    assert gradient == pytest.approx([2 / 3 - 1 / 3, -2 / 3 - 2 / 3, -1 / 3 + 4 / 3])


@pytest.mark.equation("nce.2", "nce.3", "nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
@given(seed=st.integers(0, 2**32), n=st.integers(1, 3), T=st.integers(1, 5), nu=st.integers(1, 4))
def test_the_objective_is_its_equation_in_loops(kind, seed, n, T, nu):
    model, theta, x, y, noise = problem(seed, n, T, nu, kind)

    def h(u):
        p_m, p_n = math.exp(model(theta, u[None])[0][0]), math.exp(noise.log_density(u[None])[0])
        return p_m / (p_m + nu * p_n)

    def g(u):
        return model(theta, u[None])[1](np.ones(1))

    J = -(sum(math.log(h(u)) for u in x) + sum(math.log(1 - h(u)) for u in y)) / T
    slope = -(sum((1 - h(u)) * g(u) for u in x) - sum(h(u) * g(u) for u in y)) / T
    value, gradient = objective(model, x, y, noise)(theta)
    assert value == pytest.approx(J, rel=1e-9)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-10)


@pytest.mark.equation("nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4), T=st.integers(2, 6), nu=st.integers(1, 4))
def test_the_gradient(kind, seed, n, T, nu):
    model, theta, x, y, noise = problem(seed, n, T, nu, kind)
    assert gradient_error(objective(model, x, y, noise), theta) < 1e-7


@pytest.mark.equation("nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
def test_the_taylor_remainder_falls_quadratically(kind):
    model, theta, x, y, noise = problem(0, 3, 5, 2, kind)
    direction = np.random.default_rng(1).standard_normal(theta.size)
    assert taylor_slope(objective(model, x, y, noise), theta, direction, h=1e-3) == pytest.approx(2, abs=0.05)


@pytest.mark.equation("nce.3")
@pytest.mark.parametrize("nu", NUS)
def test_where_data_and_noise_cannot_be_told_apart(nu):
    x, y = np.random.default_rng(0).standard_normal((5, 1)), np.random.default_rng(1).standard_normal((5 * nu, 1))
    value, _ = objective(gaussian, x, y, normal())(STANDARD)  # h = 1 / (1 + nu)
    assert value == pytest.approx(math.log(1 + nu) + nu * math.log((1 + nu) / nu))


@pytest.mark.equation("nce.1", "nce.2", "nce.3")
def test_order_copies_and_factors_do_not_matter():
    model, theta, x, y, noise = problem(0, 3, 5, 2)

    class Louder:  # ln p_n + 1 is to ln p_m + 1 as ln p_n to ln p_m
        def log_density(self, x):
            return noise.log_density(x) + 1

    value, gradient = objective(model, x, y, noise)(theta)
    louder = theta + [*np.zeros(9), 1]
    for again, where in (
        (objective(model, x[::-1], y[::-1], noise), theta),
        (objective(model, np.tile(x, (3, 1)), np.tile(y, (3, 1)), noise), theta),
        (objective(model, x, y, Louder()), louder),
    ):
        assert again(where)[0] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(again(where)[1], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("nce.1", "nce.4")
def test_at_the_minimum_the_classifier_expects_as_many_data_as_there_are():
    model, theta, x, y, noise = problem(0, 2, 300, 3)
    found = lbfgs(objective(model, x, y, noise), theta, tolerance=1e-6)  # dJ/dc = (sum of h - T) / T
    u = np.concatenate([x, y])
    h = sigmoid(model(found.theta, u)[0] - noise.log_density(u) - math.log(3))
    assert found.converged and h.sum() == pytest.approx(300, rel=1.01e-6)


# The theory


def quadrature(r, nu, theta=STANDARD):
    """h, P and g at the nodes, and p_n times the volume of the cell, for noise r p_d."""
    x = GRID[:, 0]
    g = np.stack([-(x**2) / 2, x, np.ones_like(x)], axis=1)
    p_m = np.exp(g @ theta)
    h = p_m / (p_m + nu * r * np.exp(g @ STANDARD))
    return h, 1 - h, g, NORMAL * r


RATIOS = {
    "data": np.ones(len(GRID)),
    "skewed": np.exp(0.5 * GRID[:, 0] - 0.125),
    "wide": np.cosh(GRID[:, 0]) / np.e**0.5,
}


@pytest.mark.equation("nce.4", "nce.5", "nce.6")
@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("r", RATIOS.values(), ids=RATIOS)
def test_mean_variance_and_curvature_of_the_objective(r, nu):
    """[nce.5] piece by piece, from p_d, p_n and h, never by the identities that shorten it."""

    def gradient(theta):
        h, P, g, noise = quadrature(r, nu, theta)
        return -(NORMAL * P) @ g + nu * (noise * h) @ g

    assert abs(gradient(STANDARD)).max() < 1e-12
    h, P, g, noise = quadrature(r, nu)
    outer = g[:, :, None] * g[:, None, :]
    I = np.einsum("i,ijk", NORMAL * P, outer)
    curvature = [(gradient(STANDARD + e) - gradient(STANDARD - e)) / 2e-5 for e in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(curvature, I, rtol=1e-7, atol=1e-8)
    m, m_noise = (NORMAL * P) @ g, (noise * h) @ g
    variance = np.einsum("i,ijk", NORMAL * P**2, outer) - np.outer(m, m)
    variance += nu * (np.einsum("i,ijk", noise * h**2, outer) - np.outer(m_noise, m_noise))
    np.testing.assert_allclose(variance, I - (1 + 1 / nu) * np.outer(m, m), rtol=1e-9, atol=1e-10)
    Sigma = np.linalg.inv(I) @ variance @ np.linalg.inv(I)
    found = asymptotic_covariance(gaussian, STANDARD, GRID, Ratio(r), nu, NORMAL)
    np.testing.assert_allclose(found, Sigma, rtol=1e-8, atol=1e-8)
    assert np.linalg.eigvalsh(found).min() > -1e-12  # for p_n = p_d it is 0: c follows from alpha


@pytest.mark.equation("nce.5", "nce.6")
@pytest.mark.parametrize("nu", [0.5, *NUS])
def test_the_covariance_for_noise_like_the_data(nu):
    found = asymptotic_covariance(gaussian, STANDARD, GRID, normal(), nu, NORMAL)
    np.testing.assert_allclose(found, (1 + 1 / nu) * np.array([[2, 0, 1], [0, 1, 0], [1, 0, 0.5]]), atol=1e-9)


@pytest.mark.equation("nce.6")
@pytest.mark.parametrize("nu, expected", [(1, [[2.98, 1.89], [1.89, 1.34]]), (5, [[2.22, 1.19], [1.19, 0.68]])])
def test_a_covariance_that_was_computed_elsewhere(nu, expected):
    found = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=1.5), nu, NORMAL)
    np.testing.assert_allclose(found[np.ix_([0, 2], [0, 2])], expected, atol=0.005)
    np.testing.assert_allclose(found[1, [0, 2]], 0, atol=1e-10)


@pytest.mark.equation("nce.6")
def test_means_over_samples_instead_of_nodes():
    exact = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=1.5), 2, NORMAL)
    rng = np.random.default_rng(0)
    batches = [
        asymptotic_covariance(gaussian, STANDARD, rng.standard_normal((1000, 1)), normal(deviation=1.5), 2)
        for _ in range(20)
    ]
    error = np.std(batches, axis=0) / 20**0.5
    assert (abs(np.mean(batches, axis=0) - exact) < 5 * error + 20 / 1000).all()  # I^-1 has a bias of order 1/N


@pytest.mark.equation("nce.6")
@pytest.mark.parametrize("deviation", [0.9, 1, 1.5])
def test_many_noise_samples_reach_the_cramer_rao_bound(deviation):
    bound = np.diag([2.0, 1])  # of the precision and the mean of N(0, 1)
    excess = []
    for nu in (1, 10, 100, 1e6):
        alpha = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=deviation), nu, NORMAL)[:2, :2]
        assert np.linalg.eigvalsh(alpha - bound).min() > -1e-9
        excess.append(np.trace(alpha - bound))
    assert all(more > less for more, less in zip(excess, excess[1:], strict=False))
    assert excess[-1] < 1e-4


@pytest.mark.equation("nce.6")
@pytest.mark.parametrize("nu", [1, 4])
def test_the_bound_in_two_dimensions_is_that_of_the_moments(nu):
    """For p_n = p_d the covariance of (alpha, c) is (1 + 1/nu) times that of maximum likelihood, Cov(g_alpha)^-1."""
    C = COVARIANCE
    side = np.linspace(-8, 8, 55)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    weights = np.exp(gaussian(PLANE, x)[0]) * (side[1] - side[0]) ** 2
    found = asymptotic_covariance(gaussian, PLANE, x, correlated(C), nu, weights)[:5, :5] * nu / (1 + nu)
    information = np.zeros((5, 5))
    information[3:, 3:] = C  # Cov(x); third moments are zero
    pairs = [(0, 0), (0, 1), (1, 1)]
    for a, (i, j) in enumerate(pairs):
        for b, (k, l) in enumerate(pairs):
            half = (0.5 if i == j else 1) * (0.5 if k == l else 1)
            information[a, b] = half * (C[i, k] * C[j, l] + C[i, l] * C[j, k])  # Isserlis
    np.testing.assert_allclose(found, np.linalg.inv(information), rtol=1e-6, atol=1e-7)


# Estimation


def errors(model, theta, draw, noise, nu, T, repetitions, seed):
    """Estimates minus truth, from new data and new noise each time."""
    rng = np.random.default_rng(seed)
    found = [estimate(model, theta, draw(T, rng), noise, nu, rng=rng, tolerance=1e-5).theta for _ in range(repetitions)]
    return np.array(found) - theta


def mixed(T, rng):
    return rng.logistic(scale=3**0.5 / math.pi, size=(T, 2)) @ MIXING.T


SETTINGS = {
    "flagship, nu = 1": (gaussian, STANDARD, normal().sample, normal(), 1),
    "flagship, nu = 5": (gaussian, STANDARD, normal().sample, normal(), 5),
    "wide noise, nu = 1": (gaussian, STANDARD, normal().sample, normal(deviation=1.5), 1),
    "wide noise, nu = 5": (gaussian, STANDARD, normal().sample, normal(deviation=1.5), 5),
    "plane, nu = 2": (gaussian, PLANE, correlated(COVARIANCE).sample, normal(2, 1.3, 0.3), 2),
    "ICA, nu = 1": (ica, UNMIXING, mixed, correlated(2 * MIXING @ MIXING.T), 1),
}


@pytest.mark.equation("nce.5", "nce.6")
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_repeated_estimation_has_the_covariance_of_the_theory(setting):
    """T times the mean of error error^T within 5 standard errors of Sigma, entry by entry.

    For T = 2000 the next term of the expansion is a few percent of Sigma, below the standard error, about 9%.
    """
    model, theta, draw, noise, nu = setting
    T, repetitions = 2000, 250
    error = errors(model, theta, draw, noise, nu, T, repetitions, seed=0)
    products = T * error[:, :, None] * error[:, None, :]
    nodes = draw(10_000, np.random.default_rng(1))  # know Sigma to 2%
    Sigma = asymptotic_covariance(model, theta, nodes, noise, nu)
    assert (abs(products.mean(axis=0) - Sigma) < 5 * products.std(axis=0) / repetitions**0.5).all()
    c = products[:, -1, -1]
    if 1 + 1 / nu > Sigma[-1, -1]:  # eleven standard errors: I^-1 alone would be told apart
        assert Sigma[-1, -1] + 1 + 1 / nu - c.mean() > 5 * c.std() / repetitions**0.5


@pytest.mark.equation("nce.5")
def test_the_squared_error_falls_as_one_over_t():
    """Slope -1 between T = 1000 and 16,000 for all of theta, c included: the estimator is consistent."""
    means, variances = [], []
    for T in (1000, 16_000):
        squared = (errors(gaussian, STANDARD, normal().sample, normal(deviation=1.5), 2, T, 100, T) ** 2).sum(axis=1)
        means.append(math.log(squared.mean()))
        variances.append(squared.var() / 100 / squared.mean() ** 2)
    slope = (means[1] - means[0]) / math.log(16)
    assert abs(slope + 1) < 5 * sum(variances) ** 0.5 / math.log(16)


def test_estimation_is_reproducible_and_leaves_its_arguments_alone():
    x, start = np.random.default_rng(0).standard_normal((50, 1)), STANDARD + 0.1
    before = x.copy(), start.copy()
    first, again = (estimate(gaussian, start, x, normal(), 2, rng=3) for _ in range(2))
    assert first.converged and first.theta.tobytes() == again.theta.tobytes()
    assert np.array_equal(x, before[0]) and np.array_equal(start, before[1])
    assert not np.array_equal(estimate(gaussian, start, x, normal(), 2, rng=4).theta, first.theta)
    alone, same = estimate(gaussian, start, x, normal(), rng=3), estimate(gaussian, start, x, normal(), 1, rng=3)
    assert np.array_equal(alone.theta, same.theta)  # one noise sample per data point where nothing is said


def test_estimation_stops_where_it_is_told_to():
    x = np.random.default_rng(0).standard_normal((50, 1))
    assert estimate(gaussian, STANDARD + 1, x, normal(), 2, rng=3, iterations=2).iterations == 2
    rough, fine = (estimate(gaussian, STANDARD + 1, x, normal(), 2, rng=3, tolerance=t) for t in (1e-1, 1e-7))
    assert 1e-7 < rough.gradient_norm <= 1e-1 and fine.gradient_norm <= 1e-7


# The best noise


def best(nu, iterations=20_000):
    return optimal_noise(gaussian, STANDARD, GRID, nu, NORMAL, iterations)


def total(noise, nu):
    return np.trace(asymptotic_covariance(gaussian, STANDARD, GRID, noise, nu, NORMAL))


@pytest.mark.equation("nce.7", "nce.8")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_the_best_noise_satisfies_its_equation(nu):
    r = best(nu)
    P, g = nu * r / (1 + nu * r), derivatives(gaussian, STANDARD, GRID)
    size = np.linalg.norm(np.linalg.solve((g * (NORMAL * P)[:, None]).T @ g, g.T), axis=0)
    kappa = np.average((1 + nu * r) / size, weights=NORMAL * r)
    np.testing.assert_allclose(r, np.maximum(kappa * size - 1, 0) / nu, atol=1e-5)
    assert NORMAL @ r == pytest.approx(1) and (r >= 0).all()


@pytest.mark.equation("nce.7")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_the_best_noise_is_better_than_others(nu):
    r = best(nu)
    least = total(Ratio(r), nu)
    assert least < 0.98 * total(normal(), nu)  # better than p_d
    for deviation in np.linspace(0.8, 3, 12):
        assert least < total(normal(deviation=deviation), nu)
    rng = np.random.default_rng(0)
    for _ in range(20):  # and than any mixture of it with another noise
        other = np.exp(rng.standard_normal(3) @ np.stack([np.sin(GRID[:, 0] * k) for k in (0.5, 1, 2)]))
        other /= NORMAL @ other
        mixtures = [total(Ratio((1 - t) * r + t * other), nu) for t in (0.02, 0.2, 1)]
        assert least < mixtures[0] < mixtures[1] < mixtures[2]


@pytest.mark.equation("nce.8")
@pytest.mark.parametrize("nu", [0.05, 1, 10])
def test_the_iteration_never_raises_the_error(nu):
    traces = [total(Ratio(best(nu, k)), nu) for k in (1, 2, 3, 5, 10, 30, 100)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in zip(traces, traces[1:], strict=False))
    assert traces[0] < total(normal(), nu)


@pytest.mark.equation("nce.8")
def test_the_iteration_stops_when_r_hardly_moves():
    steps = [np.ones(len(GRID)), *(best(1, k) for k in range(1, 9))]
    change = [NORMAL @ abs(later - earlier) for earlier, later in zip(steps, steps[1:], strict=False)]
    assert sorted(change, reverse=True) == change
    for k in (0, 4):  # between two changes in size
        found = optimal_noise(gaussian, STANDARD, GRID, 1, NORMAL, tolerance=(change[k] + change[k + 1]) / 2)
        assert np.array_equal(found, steps[k + 2])


@pytest.mark.equation("nce.7")
def test_the_best_of_very_much_noise():
    """Chehab, Gramfort & Hyvarinen 2022: proportional to p_d ||I^-1 g||, not to p_d."""
    x = GRID[:, 0]
    inverse = np.array([[2, 0, 1], [0, 1, 0], [1, 0, 1.5]])  # of E g g^T
    size = np.linalg.norm(inverse @ np.stack([-(x**2) / 2, x, np.ones_like(x)]), axis=0)
    np.testing.assert_allclose(best(1e7), size / (NORMAL @ size), rtol=1e-5)


@pytest.mark.equation("nce.7")
@pytest.mark.parametrize("nu", NUS)
def test_where_only_the_constant_is_unknown_the_best_noise_is_the_data(nu):
    def constant(theta, x):
        return gaussian(STANDARD, x)[0] + theta[0], lambda w: w.sum()[None]

    r = optimal_noise(constant, np.zeros(1), GRID, nu, NORMAL)
    np.testing.assert_allclose(r, 1, rtol=1e-9)


# At the door


def test_unfit_arguments_are_refused():
    x, noise = np.ones((4, 1)), normal()
    cases = [
        (lambda: objective(gaussian, [1.0], x, noise), ValueError, "x: "),
        (lambda: objective(gaussian, x, np.ones((4, 2)), noise), ValueError, r"y: got shape \(4, 2\)"),
        (lambda: objective(gaussian, x, x.astype(np.float32), noise), TypeError, "y: got dtype float32"),
        (lambda: objective(gaussian, x * np.nan, x, noise), ValueError, "x: contains NaN"),
        (lambda: estimate(gaussian, STANDARD, x, noise, 0), ValueError, "nu: "),
        (lambda: estimate(gaussian, STANDARD, x, noise, 1.5), TypeError, "nu: "),
        (lambda: estimate(gaussian, STANDARD[:2], x, noise), ValueError, "theta: "),
        (lambda: estimate(gaussian, STANDARD, x, noise, rng="seed"), TypeError, "rng: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, x, noise, -1), ValueError, "nu: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, GRID, noise, 1, NORMAL * 2), ValueError, "weights: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, GRID, noise, 1, NORMAL[:9]), ValueError, "weights: "),
        (lambda: optimal_noise(gaussian, STANDARD, GRID, np.nan, NORMAL), ValueError, "nu: "),
        (lambda: optimal_noise(gaussian, STANDARD, GRID, 1, -NORMAL), ValueError, "weights: "),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_noise_without_density_where_data_are_is_refused():
    class Uniform:
        def log_density(self, x):
            return np.where(abs(x[:, 0]) < 1, -math.log(2), -np.inf)

    with pytest.raises(ValueError, match="noise.log_density: contains NaN or infinity"):
        objective(gaussian, [[2.0]], [[0.5]], Uniform())


@pytest.mark.parametrize("source", [logcosh, laplace])
def test_float32_stays_float32(source):
    x = np.random.default_rng(0).laplace(size=(40, 2)).astype(np.float32)
    theta = np.array([1, 0, 0, 1, 0], dtype=np.float32)

    def model(theta, x):
        return ica(theta, x, source)

    value, gradient = objective(model, x, gaussian_like(x).sample(80, 0), gaussian_like(x))(theta)
    assert gradient.dtype == np.float32 and np.isfinite(value)
    assert estimate(model, theta, x, gaussian_like(x), 2, rng=0, iterations=5).theta.dtype == np.float32
