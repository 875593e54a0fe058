"""Noise-contrastive estimation: the objective by hand and by loops, and the theory against repeated estimation."""

import functools
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from slopes import median_slope

from minissl.goals.densities import gaussian, gaussian_theta, ica, laplace, logcosh, network_log_density
from minissl.goals.nce import asymptotic_covariance, estimate, information, objective, parameter_scores
from minissl.nn.gradcheck import gradient_error
from minissl.nn.losses import sigmoid
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs
from minissl.tasks.noise import Gaussian, fit_gaussian

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


def constant(theta, x):
    """ln p_m = ln N(x; 0, 1) + c in any dimension: the constant alone is unknown."""
    log_p = -(x * x).sum(axis=1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)
    return log_p + theta[0], lambda w: w.sum()[None]


def problem(seed, n, N, M, kind="ica"):
    """A model, parameters away from the truth, N data, M noise samples and their distribution."""
    rng = np.random.default_rng(seed)
    x, noise = rng.laplace(size=(N, n)), normal(n, 1.3, 0.2)
    if kind == "network":
        net = MLP((n, 4, 1), "tanh", rng=rng, dtype="float64")
        model, theta = network_log_density(net), net.theta.copy()
    elif kind == "gaussian":
        model, theta = gaussian, gaussian_theta(rng.standard_normal(n), np.eye(n))
        theta = theta + 0.1 * rng.standard_normal(theta.size)
    else:
        model, theta = ica, rng.standard_normal(n * n + 1)
    return model, theta, x, noise.sample(M, rng), noise


# The objective


@pytest.mark.equation("nce.2", "nce.3", "nce.4")
def test_three_samples_worked_by_hand():
    """J and its gradient for one datum and two noise samples equal those worked out by hand."""
    # p_m = 4 p_n everywhere and ν = 2, so h = 4/(4 + 2) = 2/3
    theta = STANDARD + [0, 0, math.log(4)]
    J = objective(gaussian, [[2.0]], [[0.0], [-1.0]], normal())
    value, gradient = J(theta)
    assert value == pytest.approx(-math.log(2 / 3) - 2 * math.log(1 / 3))
    # g = (−x²/2, x, 1): (−2, 2, 1) for the datum, (0, 0, 1) and (−1/2, −1, 1) for the noise
    assert gradient == pytest.approx([2 / 3 - 1 / 3, -2 / 3 - 2 / 3, -1 / 3 + 4 / 3])


@pytest.mark.equation("nce.2", "nce.3", "nce.4")
def test_a_ratio_of_noise_to_data_that_is_not_whole():
    """J and its gradient for three noise samples to two data, ν = 3/2, equal those worked out by hand."""
    # p_m = 3 p_n everywhere, so h = 3/(3 + 3/2) = 2/3
    theta = STANDARD + [0, 0, math.log(3)]
    value, gradient = objective(gaussian, [[2.0], [0.0]], [[0.0], [-1.0], [4.0]], normal())(theta)
    assert value == pytest.approx(-(2 * math.log(2 / 3) + 3 * math.log(1 / 3)) / 2)
    data = 1 / 3 * np.array([-2 + 0, 2 + 0, 1 + 1])  # sum of (1 − h) g
    noise = 2 / 3 * np.array([0 - 1 / 2 - 8, 0 - 1 + 4, 1 + 1 + 1])  # sum of h g
    assert gradient == pytest.approx(-(data - noise) / 2)


@pytest.mark.equation("nce.2", "nce.3", "nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
@given(seed=st.integers(0, 2**32), n=st.integers(1, 3), N=st.integers(1, 5), M=st.integers(1, 16))
def test_the_objective_is_its_equation_in_loops(kind, seed, n, N, M):
    """J and its gradient equal sums over samples of ln h, ln(1 − h) and g, with h from the two densities."""
    model, theta, x, e, noise = problem(seed, n, N, M, kind)
    nu = M / N

    def h(u):
        p_m, p_n = math.exp(model(theta, u[None])[0][0]), math.exp(noise.log_density(u[None])[0])
        return p_m / (p_m + nu * p_n)

    def g(u):
        return model(theta, u[None])[1](np.ones(1))

    J = -(sum(math.log(h(u)) for u in x) + sum(math.log(1 - h(u)) for u in e)) / N
    slope = -(sum((1 - h(u)) * g(u) for u in x) - sum(h(u) * g(u) for u in e)) / N
    value, gradient = objective(model, x, e, noise)(theta)
    assert value == pytest.approx(J, rel=1e-9)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-10)


@pytest.mark.equation("nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4), N=st.integers(2, 6), M=st.integers(2, 24))
def test_the_gradient(kind, seed, n, N, M):
    """The hand-written gradient equals finite differences, component by component."""
    model, theta, x, e, noise = problem(seed, n, N, M, kind)
    assert gradient_error(objective(model, x, e, noise), theta) < 1e-7


@pytest.mark.equation("nce.4")
@pytest.mark.parametrize("kind", ["gaussian", "ica", "network"])
def test_the_taylor_remainder_falls_quadratically(kind):
    """What is left of J after its first-order expansion falls as h²."""
    model, theta, x, e, noise = problem(0, 3, 5, 10, kind)
    assert median_slope(objective(model, x, e, noise), theta) == pytest.approx(2, abs=0.05)


@pytest.mark.equation("nce.3")
@pytest.mark.parametrize("nu", NUS)
def test_where_data_and_noise_cannot_be_told_apart(nu):
    """With p_m = p_n, h is 1/(1 + ν) everywhere and J is ln(1 + ν) + ν ln((1 + ν)/ν)."""
    x, e = np.random.default_rng(0).standard_normal((5, 1)), np.random.default_rng(1).standard_normal((5 * nu, 1))
    value, _ = objective(gaussian, x, e, normal())(STANDARD)
    assert value == pytest.approx(math.log(1 + nu) + nu * math.log((1 + nu) / nu))


@pytest.mark.equation("nce.1", "nce.2", "nce.3")
def test_order_copies_and_factors_do_not_matter():
    """J is the same for samples in another order, each three times, and with one factor on both densities."""
    model, theta, x, e, noise = problem(0, 3, 5, 10)

    class Louder:  # ln p_n + 1 is to ln p_m + 1 as ln p_n to ln p_m
        def log_density(self, x):
            return noise.log_density(x) + 1

    value, gradient = objective(model, x, e, noise)(theta)
    louder = theta + [*np.zeros(9), 1]
    for again, where in (
        (objective(model, x[::-1], e[::-1], noise), theta),
        (objective(model, np.tile(x, (3, 1)), np.tile(e, (3, 1)), noise), theta),
        (objective(model, x, e, Louder()), louder),
    ):
        assert again(where)[0] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(again(where)[1], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("nce.1", "nce.4")
def test_at_the_minimum_the_classifier_expects_as_many_data_as_there_are():
    """Since the last component of g is 1, the sum of h over all samples is N where ∂J/∂c = 0."""
    model, theta, x, e, noise = problem(0, 2, 300, 900)
    found = lbfgs(objective(model, x, e, noise), theta, tolerance=1e-6)  # ∂J/∂c = (Σ h − N)/N
    u = np.concatenate([x, e])
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


@pytest.mark.equation("nce.5")
@pytest.mark.parametrize("nu", [0.5, *NUS])
@pytest.mark.parametrize("r", RATIOS.values(), ids=RATIOS)
def test_means_change_from_data_to_noise(r, nu):
    """E_d(P F) equals ν E_n(h F) for several functions F of x, by quadrature."""
    h, P, _, noise = quadrature(r, nu)
    x = GRID[:, 0]
    for F in (np.ones_like(x), x, x**2, np.sin(3 * x), P * x**4, np.exp(-abs(x))):
        assert (NORMAL * P) @ F == pytest.approx(nu * (noise * h) @ F, rel=1e-10, abs=1e-13)


@pytest.mark.equation("nce.2", "nce.4", "nce.6", "nce.7", "nce.8", "nce.9", "nce.10")
@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("r", RATIOS.values(), ids=RATIOS)
def test_mean_variance_and_curvature_of_the_objective(r, nu):
    """Σ equals curvature⁻¹ variance curvature⁻¹, each by quadrature from p_d, p_n and h, never by [nce.5]."""

    def gradient(theta):
        h, P, g, noise = quadrature(r, nu, theta)
        return -(NORMAL * P) @ g + nu * (noise * h) @ g

    assert abs(gradient(STANDARD)).max() < 1e-12  # [nce.6]
    h, P, g, noise = quadrature(r, nu)
    outer = g[:, :, None] * g[:, None, :]
    I = np.einsum("i,ijk", NORMAL * P, outer)
    curvature = [(gradient(STANDARD + e) - gradient(STANDARD - e)) / 2e-5 for e in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(curvature, I, rtol=1e-7, atol=1e-8)  # [nce.7]
    np.testing.assert_allclose(information(g, NORMAL * P), I, rtol=1e-12, atol=1e-14)
    m, m_noise = (NORMAL * P) @ g, (noise * h) @ g
    variance = np.einsum("i,ijk", NORMAL * P**2, outer) - np.outer(m, m)
    variance += nu * (np.einsum("i,ijk", noise * h**2, outer) - np.outer(m_noise, m_noise))
    np.testing.assert_allclose(variance, I - (1 + 1 / nu) * np.outer(m, m), rtol=1e-9, atol=1e-10)  # [nce.8]
    Sigma = np.linalg.inv(I) @ variance @ np.linalg.inv(I)  # [nce.9]
    found = asymptotic_covariance(gaussian, STANDARD, GRID, Ratio(r), nu, NORMAL)
    np.testing.assert_allclose(found, Sigma, rtol=1e-8, atol=1e-8)
    assert np.linalg.eigvalsh(found).min() > -1e-12  # for p_n = p_d it is 0: c follows from α


@pytest.mark.equation("nce.8")
def test_the_variance_of_the_gradient_over_samples():
    """N times the variance of ∂J/∂θ at θ* over repeated samples is within 5 standard errors of the formula."""
    N, nu, repetitions = 50, 2, 4000
    rng = np.random.default_rng(0)
    noise = normal(deviation=1.5)
    gradients = np.array(
        [
            objective(gaussian, rng.standard_normal((N, 1)), noise.sample(nu * N, rng), noise)(STANDARD)[1]
            for _ in range(repetitions)
        ]
    )
    products = N * gradients[:, :, None] * gradients[:, None, :]
    _, P, g, _ = quadrature(np.exp(noise.log_density(GRID)) / NORMAL * 0.1, nu)
    m = (NORMAL * P) @ g
    expected = information(g, NORMAL * P) - (1 + 1 / nu) * np.outer(m, m)
    assert (abs(products.mean(axis=0) - expected) < 5 * products.std(axis=0) / repetitions**0.5 + 1e-12).all()


@pytest.mark.equation("nce.10")
@pytest.mark.parametrize("nu", [0.5, *NUS])
def test_the_covariance_for_noise_like_the_data(nu):
    """For data and noise N(0, 1), Σ is (1 + 1/ν) times a matrix worked out by hand, diagonal (2, 1, ½)."""
    found = asymptotic_covariance(gaussian, STANDARD, GRID, normal(), nu, NORMAL)
    np.testing.assert_allclose(found, (1 + 1 / nu) * np.array([[2, 0, 1], [0, 1, 0], [1, 0, 0.5]]), atol=1e-9)


@pytest.mark.equation("nce.10")
@pytest.mark.parametrize(("variance", "nu", "expected"), [(1, 1, 7.00), (1, 5, 4.20), (1, 20, 3.675), (2, 1, 5.97)])
def test_the_reference_values_of_the_trace(variance, nu, expected):
    """tr Σ for data N(0, 1) equals values that were computed with other code."""
    found = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=variance**0.5), nu, NORMAL)
    assert np.trace(found) == pytest.approx(expected, abs=0.006)


@pytest.mark.equation("nce.10")
@pytest.mark.parametrize("nu, expected", [(1, [[2.98, 1.89], [1.89, 1.34]]), (5, [[2.22, 1.19], [1.19, 0.68]])])
def test_a_covariance_that_was_computed_elsewhere(nu, expected):
    """Σ for data N(0, 1) and noise N(0, 1.5²) equals values that were computed with other code."""
    found = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=1.5), nu, NORMAL)
    np.testing.assert_allclose(found[np.ix_([0, 2], [0, 2])], expected, atol=0.005)
    np.testing.assert_allclose(found[1, [0, 2]], 0, atol=1e-10)


@pytest.mark.equation("nce.10")
def test_means_over_samples_instead_of_nodes():
    """Σ with E_d over samples of p_d agrees with Σ by quadrature, within 5 standard errors and the bias of I⁻¹."""
    exact = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=1.5), 2, NORMAL)
    rng = np.random.default_rng(0)
    batches = [
        asymptotic_covariance(gaussian, STANDARD, rng.standard_normal((1000, 1)), normal(deviation=1.5), 2)
        for _ in range(20)
    ]
    error = np.std(batches, axis=0) / 20**0.5
    assert (abs(np.mean(batches, axis=0) - exact) < 5 * error + 20 / 1000).all()  # I⁻¹ has a bias of order 1/N


@pytest.mark.equation("nce.10", "nce.11")
@pytest.mark.parametrize("deviation", [0.9, 1, 1.5])
def test_many_noise_samples_reach_the_cramer_rao_bound(deviation):
    """The block of α in Σ falls to the bound diag(2, 1) of precision and mean of N(0, 1) as ν grows."""
    bound = np.diag([2.0, 1])
    excess = []
    for nu in (1, 10, 100, 1e6):
        alpha = asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=deviation), nu, NORMAL)[:2, :2]
        assert np.linalg.eigvalsh(alpha - bound).min() > -1e-9
        excess.append(np.trace(alpha - bound))
    assert all(more > less for more, less in zip(excess, excess[1:], strict=False))
    assert excess[-1] < 1e-4


@pytest.mark.equation("nce.11")
def test_the_bound_needs_noise_wherever_there_are_data():
    """If p_n = 0 for x < 0, the limit of Σ_αα is not the bound but the inverse information of the data with x > 0."""
    half = np.where(GRID[:, 0] > 0, 2.0, 0)
    alpha = asymptotic_covariance(gaussian, STANDARD, GRID, Ratio(half), 1e7, NORMAL)[:2, :2]
    _, _, g, _ = quadrature(half, 1)
    seen = NORMAL * (half > 0)
    np.testing.assert_allclose(alpha, np.linalg.inv((g * seen[:, None]).T @ g)[:2, :2], rtol=1e-5)
    assert np.linalg.eigvalsh(alpha - np.diag([2.0, 1])).min() > 0.5


@pytest.mark.equation("nce.10", "nce.11")
@pytest.mark.parametrize("nu", [1, 4])
def test_the_bound_in_two_dimensions_is_that_of_the_moments(nu):
    """For p_n = p_d the block of α is (1 + 1/ν) Cov(g_α)⁻¹, here from the moments of a Gaussian (Isserlis)."""
    C = COVARIANCE
    side = np.linspace(-8, 8, 55)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    weights = np.exp(gaussian(PLANE, x)[0]) * (side[1] - side[0]) ** 2
    found = asymptotic_covariance(gaussian, PLANE, x, correlated(C), nu, weights)[:5, :5] * nu / (1 + nu)
    bound = np.zeros((5, 5))
    bound[3:, 3:] = C  # Cov(x); third moments are zero
    pairs = [(0, 0), (0, 1), (1, 1)]
    for a, (i, j) in enumerate(pairs):
        for b, (k, l) in enumerate(pairs):
            half = (0.5 if i == j else 1) * (0.5 if k == l else 1)
            bound[a, b] = half * (C[i, k] * C[j, l] + C[i, l] * C[j, k])
    np.testing.assert_allclose(found, np.linalg.inv(bound), rtol=1e-6, atol=1e-7)


# Noise far from the data


def radial(n, deviation, nu):
    """Nodes (r, 0, …, 0) and weights of a quadrature over ‖x‖ for data N(0, 1) in n dimensions; the noise; and E P."""
    r = np.linspace(0, n**0.5 + 9, 4001)[1:]
    weights = stats.chi(n).pdf(r) * (r[1] - r[0])
    nodes = np.zeros((len(r), n))
    nodes[:, 0] = r
    noise = normal(n, deviation)
    ratio = deviation**-n * np.exp(r**2 / 2 * (1 - 1 / deviation**2))  # p_n/p_d
    return nodes, weights, noise, weights @ (nu * ratio / (1 + nu * ratio))


@pytest.mark.equation("nce.10", "nce.12", "nce.13")
@pytest.mark.parametrize(
    ("n", "mean", "variance"), [(2, 0.436, 0.295), (10, 0.263, 1.80), (30, 0.089, 9.19), (60, 0.021, 45.8)]
)
def test_noise_a_little_too_wide_in_many_dimensions(n, mean, variance):
    """E P and N Var ĉ for N(0, Id) against N(0, 1.5² Id), by radial quadrature, equal the values in the text."""
    nodes, weights, noise, EP = radial(n, 1.5, 1)
    assert EP == pytest.approx(mean, abs=5e-4)
    found = asymptotic_covariance(constant, [0.0], nodes, noise, 1, weights)
    assert found == pytest.approx(np.array([[1 / EP - 2]]))  # [nce.13]
    assert found[0, 0] == pytest.approx(variance, rel=3e-3)
    assert EP < 0.5 * (2 * 1.5 / (1 + 1.5**2)) ** (n / 2)  # [nce.12]: ∫ √(p_d p_n) = (2s/(1 + s²))^(n/2)


@pytest.mark.equation("nce.12")
@given(n=st.integers(1, 40), deviation=st.floats(0.5, 2.5), nu=st.floats(0.05, 20))
def test_the_bound_on_the_information_about_the_constant(n, deviation, nu):
    """E P is at most ½ √ν times the product over the dimensions of ∫ √(p_d p_n), each by quadrature."""
    *_, EP = radial(n, deviation, nu)
    one = (np.exp(0.5 * (normal().log_density(GRID) + normal(deviation=deviation).log_density(GRID)))).sum() * 0.1
    assert EP <= 0.5 * nu**0.5 * one**n * (1 + 1e-6)


@pytest.mark.equation("nce.13")
def test_the_constant_is_no_better_known_if_the_rest_is_unknown_too():
    """The variance of ĉ when Λ and b are estimated as well is at least that when c alone is."""
    for nu in NUS:
        for deviation in (0.8, 1, 1.5):
            noise = normal(deviation=deviation)
            alone = asymptotic_covariance(constant, [0.0], GRID, noise, nu, NORMAL)[0, 0]
            assert asymptotic_covariance(gaussian, STANDARD, GRID, noise, nu, NORMAL)[2, 2] >= alone - 1e-12


@pytest.mark.equation("nce.13")
@pytest.mark.parametrize("n", [2, 10])
def test_repeated_estimation_of_the_constant(n):
    """N Var ĉ over repeated samples, c alone unknown, is within 5 standard errors of 1/E P − (1 + 1/ν)."""
    N, repetitions = 2000, 300
    *_, noise, EP = radial(n, 1.5, 1)
    rng = np.random.default_rng(0)
    c = [estimate(constant, [0.0], rng.standard_normal((N, n)), noise, rng=rng).theta[0] for _ in range(repetitions)]
    squares = N * np.square(c)
    assert abs(squares.mean() - (1 / EP - 2)) < 5 * squares.std() / repetitions**0.5


# Estimation


def errors(model, theta, draw, noise, nu, N, repetitions, seed):
    """Estimates minus truth, from new data and new noise each time."""
    rng = np.random.default_rng(seed)
    found = [estimate(model, theta, draw(N, rng), noise, nu, rng=rng, tolerance=1e-5).theta for _ in range(repetitions)]
    return np.array(found) - theta


def mixed(N, rng):
    return rng.logistic(scale=3**0.5 / math.pi, size=(N, 2)) @ MIXING.T


SETTINGS = {
    "flagship, nu = 1": (gaussian, STANDARD, normal().sample, normal(), 1),
    "flagship, nu = 5": (gaussian, STANDARD, normal().sample, normal(), 5),
    "wide noise, nu = 1": (gaussian, STANDARD, normal().sample, normal(deviation=1.5), 1),
    "wide noise, nu = 5": (gaussian, STANDARD, normal().sample, normal(deviation=1.5), 5),
    "plane, nu = 2": (gaussian, PLANE, correlated(COVARIANCE).sample, normal(2, 1.3, 0.3), 2),
    "ICA, nu = 1": (ica, UNMIXING, mixed, correlated(2 * MIXING @ MIXING.T), 1),
}


@pytest.mark.equation("nce.9", "nce.10")
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_repeated_estimation_has_the_covariance_of_the_theory(setting):
    """N times the mean of error errorᵀ over repeated samples is within 5 standard errors of Σ, entry by entry.

    For N = 2000 the next term of the expansion is a few percent of Σ, below the standard error, about 9%.
    """
    model, theta, draw, noise, nu = setting
    N, repetitions = 2000, 250
    error = errors(model, theta, draw, noise, nu, N, repetitions, seed=0)
    products = N * error[:, :, None] * error[:, None, :]
    nodes = draw(10_000, np.random.default_rng(1))  # know Σ to 2%
    Sigma = asymptotic_covariance(model, theta, nodes, noise, nu)
    assert (abs(products.mean(axis=0) - Sigma) < 5 * products.std(axis=0) / repetitions**0.5).all()
    c = products[:, -1, -1]
    if 1 + 1 / nu > Sigma[-1, -1]:  # eleven standard errors: I⁻¹ alone would be told apart
        assert Sigma[-1, -1] + 1 + 1 / nu - c.mean() > 5 * c.std() / repetitions**0.5


@pytest.mark.equation("nce.9")
def test_the_squared_error_falls_as_one_over_n():
    """The squared error of all of θ, c included, falls with slope −1 from N = 1000 to 16,000: consistency."""
    means, variances = [], []
    for N in (1000, 16_000):
        squared = (errors(gaussian, STANDARD, normal().sample, normal(deviation=1.5), 2, N, 100, N) ** 2).sum(axis=1)
        means.append(math.log(squared.mean()))
        variances.append(squared.var() / 100 / squared.mean() ** 2)
    slope = (means[1] - means[0]) / math.log(16)
    assert abs(slope + 1) < 5 * sum(variances) ** 0.5 / math.log(16)


def test_estimation_is_reproducible_and_leaves_its_arguments_alone():
    x, start = np.random.default_rng(0).standard_normal((500, 1)), STANDARD + 0.1
    before = x.copy(), start.copy()
    first, again = (estimate(gaussian, start, x, normal(), 2, rng=3) for _ in range(2))
    assert first.converged and first.theta.tobytes() == again.theta.tobytes()
    assert np.array_equal(x, before[0]) and np.array_equal(start, before[1])
    assert not np.array_equal(estimate(gaussian, start, x, normal(), 2, rng=4).theta, first.theta)
    alone, same = estimate(gaussian, start, x, normal(), rng=3), estimate(gaussian, start, x, normal(), 1, rng=3)
    assert np.array_equal(alone.theta, same.theta)  # one noise sample per data point where nothing is said


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_estimation_stops_where_it_is_told_to():
    x = np.random.default_rng(0).standard_normal((50, 1))
    assert estimate(gaussian, STANDARD + 1, x, normal(), 2, rng=3, iterations=2).iterations == 2
    rough, fine = (estimate(gaussian, STANDARD + 1, x, normal(), 2, rng=3, tolerance=t) for t in (1e-1, 1e-7))
    assert 1e-7 < rough.gradient_norm <= 1e-1 and fine.gradient_norm <= 1e-7


def test_a_search_that_did_not_converge_says_so():
    x = np.random.default_rng(0).standard_normal((50, 1))
    with pytest.warns(RuntimeWarning):
        assert not estimate(gaussian, STANDARD + 1, x, normal(), 2, rng=3, iterations=2).converged


# Where the estimate is no density


def two_modes(N, rng):
    return rng.choice([-2.0, 2.0], size=(N, 1)) + rng.standard_normal((N, 1))


def test_an_improper_gaussian_is_reported():
    """Half the data at −2, half at 2, unit spread, noise N(0, (0.5 sd)²): J is least at precision −0.25; it warns."""
    u, noise = GRID[:, 0], normal(deviation=0.5 * 5**0.5)
    p_d = (np.exp(-((u - 2) ** 2) / 2) + np.exp(-((u + 2) ** 2) / 2)) / 2 / (2 * math.pi) ** 0.5
    p_n = np.exp(noise.log_density(GRID))
    g = np.stack([-(u**2) / 2, u, np.ones_like(u)], axis=1)

    def mean(theta):  # of J over p_d and p_n, by quadrature; convex, so what is found is its minimum
        logit = g @ theta - noise.log_density(GRID)
        h = sigmoid(logit)
        value = 0.1 * (p_d @ np.logaddexp(0, -logit) + p_n @ np.logaddexp(0, logit))
        return value, 0.1 * (-(p_d * (1 - h)) @ g + (p_n * h) @ g)

    limit = lbfgs(mean, STANDARD, tolerance=1e-8).theta[0]
    assert limit == pytest.approx(-0.2495, abs=1e-3)
    rng, estimates = np.random.default_rng(0), []
    for _ in range(20):
        x = two_modes(4000, rng)
        with pytest.warns(
            RuntimeWarning, match=r"precision found has the eigenvalue -0\.\d+: .* no density; use noise"
        ):
            found = estimate(gaussian, STANDARD, x, noise, rng=rng)
        assert found.converged
        estimates.append(found.theta[0])
    assert abs(np.mean(estimates) - limit) < 5 * np.std(estimates) / 20**0.5 + 20 / 4000  # and a bias of order 1/N


@pytest.mark.equation("nce.14")
@pytest.mark.parametrize("nu", [0.5, *NUS])
def test_noise_with_the_moments_of_the_data_leads_to_maximum_likelihood(nu):
    """With p_n the Gaussian of the data's moments, the mean gradient is zero at p_m = p_n, though p_d has two modes."""
    u = GRID[:, 0]
    p_d = (2 * np.exp(-((u - 2) ** 2) / 2) + np.exp(-((u + 1) ** 2) / 2)) / 3 / (2 * math.pi) ** 0.5
    theta = gaussian_theta([1.0], [[3.0]])  # mean ⅔ 2 − ⅓ 1 = 1, second moment 1 + ⅔ 4 + ⅓ 1 = 4
    wide = np.linspace(-25, 25, 2001)[:, None]
    p_n = np.exp(gaussian(theta, wide)[0]) * 0.025
    h = 1 / (1 + nu)
    data = 0.1 * p_d @ parameter_scores(gaussian, theta, GRID)
    noise = p_n @ parameter_scores(gaussian, theta, wide)
    np.testing.assert_allclose(-(1 - h) * data + nu * h * noise, 0, atol=1e-9)
    # and with samples: noise that is the data mirrored at their mean has the same moments exactly
    x = two_modes(40, np.random.default_rng(0))
    at = gaussian_theta(x.mean(axis=0), np.atleast_2d(x.var()))
    gradient = objective(gaussian, x, 2 * x.mean() - x, fit_gaussian(x))(at)[1]
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.equation("nce.14")
def test_fitted_noise_gives_a_proper_gaussian():
    """On the two modes, noise fitted to the data gives the moments of the data within 5 standard errors, unwarned."""
    rng = np.random.default_rng(0)
    x = two_modes(4000, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [estimate(gaussian, STANDARD, x, fit_gaussian(x), rng=rng).theta[0] for _ in range(20)]
    # given x, the noise leaves its own error in the estimate, that of a fit to 4000 noise samples
    assert abs(np.mean(found) - 1 / x.var()) < 5 * np.std(found) / 20**0.5 + 1e-3


# Arguments


def test_invalid_arguments_are_refused():
    x, noise = np.ones((4, 1)), normal()
    cases = [
        (lambda: objective(gaussian, [1.0], x, noise), ValueError, "x: "),
        (lambda: objective(gaussian, x, np.ones((4, 2)), noise), ValueError, r"e: got shape \(4, 2\)"),
        (lambda: objective(gaussian, x, x.astype(np.float32), noise), TypeError, "e: got dtype float32"),
        (lambda: objective(gaussian, x * np.nan, x, noise), ValueError, "x: contains NaN"),
        (lambda: objective("gaussian", x, x, noise), TypeError, "model: got str"),
        (lambda: estimate(gaussian, STANDARD, x, noise, 0), ValueError, "nu: "),
        (lambda: estimate(gaussian, STANDARD, x, noise, 1.5), TypeError, "nu: "),
        (lambda: estimate(gaussian, STANDARD[:2], x, noise), ValueError, "theta: "),
        (lambda: estimate(gaussian, STANDARD, x, noise, rng="seed"), TypeError, "rng: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, x, noise, -1), ValueError, "nu: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, x, noise, 1), ValueError, "x: .* least eigenvalue"),
        (lambda: asymptotic_covariance(gaussian, STANDARD, GRID, noise, 1, NORMAL * 2), ValueError, "weights: "),
        (lambda: asymptotic_covariance(gaussian, STANDARD, GRID, noise, 1, NORMAL[:9]), ValueError, "weights: "),
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


def test_harmless_underflow_raises_nothing():
    """Samples so far out that their probabilities underflow, with NumPy told to raise (issue 14)."""
    x = np.array([[0.1], [-0.3], [60.0], [1e-200]])
    with np.errstate(all="raise"):
        for model, theta in ((gaussian, STANDARD), (ica, np.array([1.0, 0])), (constant, np.zeros(1))):
            value, gradient = objective(model, x, -x[::-1] + 0.01, normal())(theta)
            assert np.isfinite(value) and np.isfinite(gradient).all()
        wide = np.linspace(-60, 60, 601)[:, None]
        weights = np.exp(np.maximum(gaussian(STANDARD, wide)[0], -700)) * 0.2
        narrow = asymptotic_covariance(gaussian, STANDARD, wide, normal(deviation=0.9), 1, weights)
    np.testing.assert_allclose(
        narrow, asymptotic_covariance(gaussian, STANDARD, GRID, normal(deviation=0.9), 1, NORMAL), rtol=1e-8, atol=1e-8
    )


def test_the_objective_can_be_pickled():
    model, theta, x, e, noise = problem(0, 2, 5, 7, "network")
    J = objective(model, x, e, noise)
    again = pickle.loads(pickle.dumps(J))
    assert again(theta)[0] == J(theta)[0] and np.array_equal(again(theta)[1], J(theta)[1])


@pytest.mark.parametrize("source", [logcosh, laplace])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float32_stays_float32(source):
    x = np.random.default_rng(0).laplace(size=(40, 2)).astype(np.float32)
    theta = np.array([1, 0, 0, 1, 0], dtype=np.float32)
    model = functools.partial(ica, source=source)
    value, gradient = objective(model, x, fit_gaussian(x).sample(80, 0), fit_gaussian(x))(theta)
    assert gradient.dtype == np.float32 and np.isfinite(value)
    assert estimate(model, theta, x, fit_gaussian(x), 2, rng=0, iterations=5).theta.dtype == np.float32


def test_a_classifier_that_makes_no_error_determines_nothing():
    """Noise a thousand standard deviations away: J is zero at any start, which used to count as converged."""
    x = np.random.default_rng(0).standard_normal((100, 2))
    start = gaussian_theta(np.zeros(2), np.eye(2))
    with pytest.warns(RuntimeWarning, match="told apart without an error .* noise nearer to the data"):
        estimate(gaussian, start, x, fit_gaussian(x + 1e3), rng=0)
    estimate(gaussian, start, x, fit_gaussian(x), rng=0)


def test_what_a_model_returns_is_checked():
    """A column in place of a vector was spread over a matrix of all pairs of samples."""
    x, noise = np.random.default_rng(0).standard_normal((9, 2)), fit_gaussian(np.eye(2))
    for model, words in (
        (lambda theta, x: (x[:, :1], None), r"model: got shape \(18, 1\), expected \(18\)"),
        (lambda theta, x: (x[:, 0], x), "vjp: got ndarray, expected a function"),
        (lambda theta, x: x, "model: returned ndarray, expected 2 values"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            objective(model, x, x + 1, noise)(np.zeros(3))
