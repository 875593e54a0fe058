"""Score matching: by hand, by loops, gradients by differences, and the theorems by linear algebra and quadrature."""

import functools
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slopes import median_slope

from minissl.goals import densities
from minissl.goals.densities import gaussian_theta, ica_likelihood, log_density_and_score, network_log_density
from minissl.goals.score_matching import (
    DERIVATIVES,
    asymptotic_covariance,
    exponential_family,
    gaussian_derivatives,
    ica_score,
    network_score,
    objective,
    random_directions,
    sliced_score,
)
from minissl.nn.gradcheck import complex_step, gradient_error, relative_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam, lbfgs

A = math.pi / 12**0.5  # the a of [score_matching.12]
SMOOTH = ["tanh", "sigmoid", "identity"]


def network(sizes, seed=0, activation="tanh"):
    """A network with biases that are not zero."""
    net = MLP(sizes, activation, rng=seed, dtype="float64")
    net.theta += 0.3 * np.random.default_rng(seed + 100).standard_normal(net.theta.size)
    return net


def invertible(rng, n):
    """With singular values from 0.5 to 2."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, size=n)


def normal_data(seed, N, n):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, n)) @ invertible(rng, n).T + rng.standard_normal(n)


def exponential_objective(G, laplacians):
    """J of [score_matching.4] for ln φ = αᵀF, in loops."""

    def J(alpha):
        value = 0
        for g, lap in zip(G, laplacians, strict=True):
            psi = [sum(alpha[k] * g[k, i] for k in range(len(alpha))) for i in range(g.shape[1])]
            value = value + 0.5 * sum(p * p for p in psi) + sum(alpha * lap)
        return value / len(G)

    return J


def powers(x):
    """G and ℓ of ln φ = α₁ Σ xⱼ⁴ + α₂ Σ xⱼ² + α₃ x₁x₂ …: a model of which nobody knows the integral."""
    N, n = x.shape
    G = np.zeros((N, 3, n))
    G[:, 0], G[:, 1], G[:, 2] = 4 * x**3, 2 * x, np.roll(x, 1, axis=1) + np.roll(x, -1, axis=1)
    return G, np.stack([12 * (x**2).sum(axis=1), np.full(N, 2.0 * n), np.zeros(N)], axis=1)


def naive_ica(B, x):
    """ψ and Σⱼ∂ⱼψⱼ of one sample by sums over components, for complex B too."""
    n = len(B)
    s = [sum(B[k, j] * x[j] for j in range(n)) for k in range(n)]
    psi = [sum(-2 * A * np.tanh(A * s[k]) * B[k, i] for k in range(n)) for i in range(n)]
    curvature = [-2 * A**2 / np.cosh(A * s[k]) ** 2 for k in range(n)]
    return psi, sum(curvature[k] * B[k, i] ** 2 for k in range(n) for i in range(n))


def naive_derivatives(net, theta, x, v):
    """F, ∂F/∂v and ∂²F/∂v² of one sample: Taylor's series to second order sent through in loops; complex θ too."""
    series = [np.array([x[j], v[j], 0]) for j in range(len(x))]
    weights, biases = net.views(theta)
    for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
        series = [sum(series[i] * W[i, j] for i in range(len(W))) + np.array([b[j], 0, 0]) for j in range(len(b))]
        if l < len(weights) - 1:
            series = [activated(net.activations[l], *c) for c in series]
    (value, first, half_second) = series[0]
    return value, first, 2 * half_second


def activated(name, z, first, second):
    """φ(z + first t + second t² + …) to second order in t."""
    if name == "identity":
        return np.array([z, first, second])
    if name == "tanh":
        h, d1, d2 = np.tanh(z), 1 / np.cosh(z) ** 2, -2 * np.sinh(z) / np.cosh(z) ** 3
    else:
        h = 1 / (1 + np.exp(-z))
        d1, d2 = np.exp(-z) * h**2, 2 * np.exp(-2 * z) * h**3 - np.exp(-z) * h**2
    return np.array([h, d1 * first, d1 * second + d2 * first**2 / 2])


def naive_objective(net, x, directions):
    """J in loops over samples and directions (K, N, n), a sum over k."""

    def J(theta):
        value = 0
        for i, row in enumerate(x):
            for v in directions:
                _, first, second = naive_derivatives(net, theta, row, v[i])
                value = value + (0.5 * first**2 + second) / len(x)
        return value

    return J


def axes(x):
    return np.repeat(np.eye(x.shape[1])[:, None], len(x), axis=1)


# The objective


@pytest.mark.equation("score_matching.4", "score_matching.5", "score_matching.10", "score_matching.12")
def test_the_objective_of_ica_worked_by_hand():
    """J for B = 2, n = 1, at x = 0 and at x with tanh(2ax) = ½, and its derivative, equal those worked out by hand."""
    # s = 2x: at 0, ψ = 0 and ∂ψ = −8a²; where t = ½, ψ = 2·(−a) = −2a, ψ² /2 = 2a², ∂ψ = −2a²·¾·4 = −6a²
    x = np.array([[0.0], [math.atanh(0.5) / (2 * A)]])
    value, gradient = objective(ica_score, x)(np.array([2.0]))
    assert value == pytest.approx((-8 * A**2 + 2 * A**2 - 6 * A**2) / 2)
    # J = mean of 2a²B²t² − 2a²B²(1 − t²) = 2a²B²(2t² − 1); ∂/∂B = 4a²B(2t² − 1) + 2a²B² 4t a(1 − t²) x
    second = 8 * A**2 * -0.5 + 8 * A**2 * 4 * 0.5 * A * 0.75 * x[1, 0]
    assert gradient == pytest.approx([(-8 * A**2 + second) / 2])


@pytest.mark.equation("score_matching.10", "score_matching.11", "score_matching.12")
@given(seed=st.integers(0, 2**32), N=st.integers(1, 6), n=st.integers(1, 4))
def test_the_objective_of_ica_is_its_equation_in_loops(seed, N, n):
    """ψ, Σⱼ∂ⱼψⱼ, J and every entry of ∂J/∂B equal sums over samples and components, and their complex step."""
    rng = np.random.default_rng(seed)
    x, B = rng.standard_normal((N, n)), rng.standard_normal((n, n))
    psi, laplacian, _ = ica_score(B.ravel(), x)

    def J(theta):
        parts = [naive_ica(theta.reshape(n, n), row) for row in x]
        return sum(0.5 * sum(p * p for p in psi) + trace for psi, trace in parts) / N

    np.testing.assert_allclose(psi, [naive_ica(B, row)[0] for row in x], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(laplacian, [naive_ica(B, row)[1] for row in x], rtol=1e-10)
    value, gradient = objective(ica_score, x)(B.ravel())
    assert value == pytest.approx(J(B.ravel()), rel=1e-10)
    assert relative_error(gradient, complex_step(J, B.ravel())) < 1e-11


@pytest.mark.equation("score_matching.1", "score_matching.10")
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4))
def test_the_score_is_that_of_the_density(seed, n):
    """ψ of ICA and of a network equal the input gradients of their ln p_m, whatever the constant c is."""
    rng = np.random.default_rng(seed)
    x, B, net = rng.standard_normal((5, n)), rng.standard_normal(n * n), network((n, 4, 1), seed)
    of_ica = log_density_and_score(densities.ica, np.append(B, rng.standard_normal()))(x)[1]
    np.testing.assert_allclose(ica_score(B, x)[0], of_ica, rtol=1e-12, atol=1e-12)
    for c in (0.0, 5.0):
        net.biases[-1][:] = c
        of_net = log_density_and_score(network_log_density(net), net.theta)(x)[1]
        np.testing.assert_allclose(network_score(net)(net.theta, x)[0], of_net, rtol=1e-12, atol=1e-12)


# The theorem, by quadrature: p_d is not Gaussian, in one dimension

GRID = np.linspace(-6, 6, 4801)[:, None]
WIDTH = 12 / 4800
TRUTH = np.exp(-0.25 * GRID[:, 0] ** 4 + 0.5 * GRID[:, 0] ** 2 + 0.3 * GRID[:, 0])
TRUTH /= TRUTH.sum() * WIDTH
TRUE_SCORE = -(GRID[:, 0] ** 3) + GRID[:, 0] + 0.3


def weighted(model, theta):
    """J by quadrature, from a model's ψ and Σⱼ∂ⱼψⱼ; and the Fisher divergence, from ψ alone."""
    psi, laplacian, _ = model(theta, GRID)
    J = (TRUTH * (0.5 * (psi * psi).sum(axis=1) + laplacian)).sum() * WIDTH
    return J, 0.5 * (TRUTH * (psi[:, 0] - TRUE_SCORE) ** 2).sum() * WIDTH


@pytest.mark.equation("score_matching.2", "score_matching.3", "score_matching.4")
@given(seed=st.integers(0, 2**32))
def test_the_objective_is_the_fisher_divergence_but_for_a_constant(seed):
    """J + ½ E‖ψ_d‖² equals ½ E‖ψ − ψ_d‖², by quadrature, for random networks and unmixing numbers."""
    net = network((1, 5, 1), seed)
    constant = 0.5 * (TRUTH * TRUE_SCORE**2).sum() * WIDTH
    B = np.random.default_rng(seed).uniform(-2, 2, size=1)
    for model, theta in ((network_score(net), net.theta), (ica_score, B)):
        J, divergence = weighted(model, theta)
        assert J + constant == pytest.approx(divergence, rel=1e-9)


@pytest.mark.equation("score_matching.3")
def test_where_the_boundary_term_is_not_zero_the_estimate_is_wrong():
    """For the density e⁻ˣ on x > 0 and ψ = −α, E ψψ_d = α, −E ∂ψ = 0: off by the boundary term p_d(0)ψ(0) = −α."""
    x = np.random.default_rng(0).exponential(size=(1000, 1))
    alpha = exponential_family(-np.ones((1000, 1, 1)), np.zeros((1000, 1)))
    assert alpha == pytest.approx([0], abs=1e-12)  # in place of 1/mean, which is near 1
    assert 1 / x.mean() == pytest.approx(1, abs=0.2)
    for a in (0.5, 1.0, 3.0):  # E ψψ_d − (−E ∂ψ) = E(−a)(−1) = a, and it is −p_d(0) ψ(0)
        midpoints = (np.arange(400_000) + 0.5) * 1e-4
        mean = (np.exp(-midpoints) * (-a) * (-1)).sum() * 1e-4
        assert mean == pytest.approx(-1 * (-a), rel=1e-8)


@pytest.mark.equation("score_matching.3")
def test_the_condition_on_kinks_is_needed():
    """For Laplacian data and ψ = −α sign x, E ψψ_d = √2 α, while −E ∂ψ without the kink is 0."""
    x = np.random.default_rng(0).laplace(scale=0.5**0.5, size=(1000, 1))
    products = -np.sign(x) * -(2**0.5) * np.sign(x)
    assert products == pytest.approx(np.full((1000, 1), 2**0.5))
    assert exponential_family(-np.sign(x)[:, None], np.zeros((1000, 1))) == pytest.approx([0], abs=1e-12)


# Exponential families and the Gaussian


@pytest.mark.equation("score_matching.6")
@given(seed=st.integers(0, 2**32), n=st.integers(2, 4))
def test_one_linear_solve_is_the_minimum_of_a_quadratic(seed, n):
    """The complex step of J, in loops, is zero at α̂, and J(α̂ + d) − J(α̂) = ½ dᵀMd for any d."""
    rng = np.random.default_rng(seed)
    G, laplacians = powers(rng.standard_normal((12, n)))
    J, alpha = exponential_objective(G, laplacians), exponential_family(G, laplacians)
    M = sum(g @ g.T for g in G) / len(G)
    assert abs(complex_step(J, alpha)).max() < 1e-9 * (1 + abs(M).max() * abs(alpha).max())
    d = 0.1 * rng.standard_normal(3)
    assert J(alpha + d) - J(alpha) == pytest.approx(0.5 * d @ M @ d, rel=1e-6, abs=1e-11 * (1 + abs(J(alpha))))


@pytest.mark.equation("score_matching.8")
def test_the_features_of_the_gaussian_worked_by_hand():
    """G and ℓ at x = (2, 5) equal those worked out by hand, for (Λ₁₁, Λ₁₂, Λ₂₂, b₁, b₂)."""
    G, laplacians = gaussian_derivatives([[2.0, 5.0]])
    assert np.array_equal(G, [[[-2, 0], [-5, -2], [0, -5], [1, 0], [0, 1]]])
    assert np.array_equal(laplacians, [[-1, 0, -1, 0, 0]])


@pytest.mark.equation("score_matching.8")
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4))
def test_the_features_of_the_gaussian_give_its_score(seed, n):
    """Gᵀα and ℓᵀα equal b − Λx, [densities.7], and −tr Λ."""
    rng = np.random.default_rng(seed)
    x, theta = rng.standard_normal((5, n)), rng.standard_normal(n * (n + 1) // 2 + n + 1)
    G, laplacians = gaussian_derivatives(x)
    score = log_density_and_score(densities.gaussian, theta)(x)[1]
    np.testing.assert_allclose(np.einsum("npi,p->ni", G, theta[:-1]), score, rtol=1e-12, atol=1e-12)
    trace = np.trace(densities.precision_matrix(theta, n))
    np.testing.assert_allclose(laplacians @ theta[:-1], -trace, rtol=1e-12, atol=1e-12)


@pytest.mark.equation("score_matching.9")
@given(seed=st.integers(0, 2**32), n=st.integers(1, 5))
def test_for_a_gaussian_the_estimate_is_that_of_maximum_likelihood(seed, n):
    """α̂ equals (Λ, b) of the sample's mean and covariance, whatever the data are, and J there is −½ tr Λ̂."""
    x = np.sinh(normal_data(seed, 40, n))  # not Gaussian
    x /= x.std(axis=0)
    G, laplacians = gaussian_derivatives(x)
    alpha = exponential_family(G, laplacians)
    C = np.atleast_2d(np.cov(x.T, bias=True))
    expected = gaussian_theta(x.mean(axis=0), C)[:-1]
    condition = np.linalg.cond(C)
    assert relative_error(alpha, expected) < 1e-14 * condition * (1 + condition)
    if condition < 1e3:
        assert relative_error(alpha, expected) < 1e-10
    J = exponential_objective(G, laplacians)(alpha)
    assert J == pytest.approx(-np.trace(np.linalg.inv(C)) / 2, rel=1e-7)


@pytest.mark.equation("score_matching.7")
def test_for_a_gaussian_the_asymptotic_covariance_is_the_inverse_of_the_information():
    """Σ at 36 points with a Gaussian's moments up to the fifth equals the Cramér–Rao bound, the inverse of Cov(F)."""
    C = np.array([[1.0, 0.7], [0.7, 1.0]])
    line = np.sqrt(3) * np.array([-1, 0, 0, 0, 0, 1])  # Gauss–Hermite: weights 1/6, 4/6, 1/6
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2) @ np.linalg.cholesky(C).T
    alpha = gaussian_theta(np.zeros(2), C)[:-1]
    found = asymptotic_covariance(*gaussian_derivatives(x), alpha)
    F = np.stack([-0.5 * x[:, 0] ** 2, -x[:, 0] * x[:, 1], -0.5 * x[:, 1] ** 2, x[:, 0], x[:, 1]])
    np.testing.assert_allclose(found, np.linalg.inv(np.cov(F, ddof=0)), rtol=1e-10, atol=1e-10)


@pytest.mark.equation("score_matching.7")
def test_the_asymptotic_covariance_of_another_model_by_repetition():
    """N Cov α̂ over 1,500 repetitions, N = 1,000, of a quartic model is M⁻¹ Var(u) M⁻¹ on the diagonal, within 18%."""
    rng = np.random.default_rng(1)
    cumulated = np.cumsum(TRUTH) * WIDTH
    alpha = np.array([-0.25, 0.5, 0.3])

    def features(x):
        G = np.stack([4 * x**3, 2 * x, np.ones_like(x)], axis=1)
        return G, np.stack([12 * x[:, 0] ** 2, np.full(len(x), 2.0), np.zeros(len(x))], axis=1)

    def draw(N):
        return np.interp(rng.random((N, 1)), cumulated, GRID[:, 0])

    estimates = np.array([exponential_family(*features(draw(1000))) for _ in range(1500)])
    assert (abs(estimates.mean(axis=0) - alpha) < 0.02).all()  # the bias is of order 1/N
    theory = asymptotic_covariance(*features(draw(400_000)), alpha)
    # the standard error of a variance is √(2/1500) = 3.7% for Gaussian α̂; beyond it terms of order 1/N
    np.testing.assert_allclose(1000 * estimates.var(axis=0), np.diag(theory), rtol=0.18)


# ICA


@pytest.mark.equation("score_matching.11")
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4))
def test_the_gradient_of_ica_by_central_differences(seed, n):
    """∂J/∂B equals central differences to 1e-7."""
    rng = np.random.default_rng(seed)
    x, B = rng.standard_normal((9, n)), rng.standard_normal(n * n)
    assert gradient_error(objective(ica_score, x), B) < 1e-7


@pytest.mark.equation("score_matching.11", "score_matching.14")
def test_the_gradients_leave_a_remainder_of_second_order():
    """The Taylor remainders of J for ICA and for a network fall as h²."""
    rng = np.random.default_rng(0)
    x, net = rng.standard_normal((9, 3)), network((3, 5, 4, 1))
    for model, theta in ((ica_score, rng.standard_normal(9)), (network_score(net), net.theta)):
        assert median_slope(objective(model, x), theta) == pytest.approx(2, abs=0.1)


def logistic_sources(rng, N, n):
    return rng.logistic(scale=3**0.5 / math.pi, size=(N, n))


@pytest.mark.equation("score_matching.4", "score_matching.10")
def test_logistic_sources_are_found_with_their_scale():
    """From 40,000 samples of the model itself, B̂A is the identity but for order and signs, within 0.06."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    x = logistic_sources(rng, 40_000, 3) @ mixing.T
    B = lbfgs(objective(ica_score, x), np.linalg.inv(mixing).ravel(), tolerance=1e-6).theta.reshape(3, 3)
    assert abs(abs(B @ mixing) - np.eye(3)).max() < 0.06  # the standard error of an entry is at most 0.015


@pytest.mark.equation("score_matching.4")
@given(seed=st.integers(0, 2**32))
def test_duplicated_and_permuted_samples_leave_the_mean_as_it_is(seed):
    """J and its gradient are the same on every sample twice, in another order."""
    rng = np.random.default_rng(seed)
    x, B = rng.standard_normal((6, 3)), rng.standard_normal(9)
    value, gradient = objective(ica_score, x)(B)
    again, same = objective(ica_score, np.concatenate([x, x])[rng.permutation(12)])(B)
    assert again == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(same, gradient, rtol=1e-9, atol=1e-10)


# Linear maps


@pytest.mark.equation("score_matching.17")
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4))
def test_the_objective_after_a_linear_map(seed, n):
    """J of y = Ax with the mapped model equals E[½ ψᵀ(AᵀA)⁻¹ψ + tr((AᵀA)⁻¹ ∂ψ/∂x)], the latter by the complex step."""
    rng = np.random.default_rng(seed)
    x, B, T = rng.standard_normal((5, n)), rng.standard_normal((n, n)), invertible(rng, n)
    mapped = objective(ica_score, x @ T.T)((B @ np.linalg.inv(T)).ravel())[0]
    K = np.linalg.inv(T.T @ T)
    expected = 0
    for row in x:
        psi = np.array(naive_ica(B, row)[0])
        jacobian = np.array([complex_step(lambda r, i=i: naive_ica(B, r)[0][i], row) for i in range(n)])
        expected += (0.5 * psi @ K @ psi + np.trace(K @ jacobian)) / len(x)
    assert mapped == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.equation("score_matching.17")
def test_the_estimate_follows_a_rotation_but_no_other_linear_map():
    """B̂ from Tx is B̂T⁻¹ from x: for maximum likelihood with every T, for score matching with rotations only."""
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(2000, 2)) @ np.linalg.qr(rng.standard_normal((2, 2)))[0].T
    rotation, stretch = np.linalg.qr(rng.standard_normal((2, 2)))[0], np.array([[3.0, 0.5], [0.0, 0.5]])

    def follows(estimated, T):
        B = lbfgs(estimated(x), np.eye(2).ravel(), tolerance=1e-7).theta.reshape(2, 2)
        mapped = lbfgs(estimated(x @ T.T), (B @ np.linalg.inv(T)).ravel(), tolerance=1e-7).theta.reshape(2, 2)
        return abs(mapped @ T - B).max()

    matching = functools.partial(objective, ica_score)
    assert follows(ica_likelihood, stretch) < 1e-5 and follows(ica_likelihood, rotation) < 1e-5
    assert follows(matching, rotation) < 1e-5
    assert follows(matching, stretch) > 1e-3


# Networks


@pytest.mark.equation("score_matching.15")
@pytest.mark.parametrize("name", SMOOTH)
def test_the_derivatives_of_the_activations(name):
    """φ′, φ″ and φ‴ as functions of h equal complex steps of φ, φ′ and φ″."""
    z = np.linspace(-3, 3, 13)

    def h(z):
        return {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "identity": lambda z: z}[name](z)

    below = [h, *(lambda z, k=k: DERIVATIVES[name](h(z))[k] for k in range(2))]
    for k, function in enumerate(below):
        expected = function(z + 1e-20j).imag / 1e-20
        np.testing.assert_allclose(DERIVATIVES[name](h(z))[k], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.equation("score_matching.13", "score_matching.14")
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    activation=st.sampled_from(SMOOTH),
)
def test_the_derivatives_of_a_network_in_loops(seed, n, hidden, activation):
    """ψ, ΔF, J and every entry of ∂J/∂θ equal Taylor's series sent through in loops, and its complex step."""
    net = network((n, *hidden, 1), seed, activation)
    x = np.random.default_rng(seed).standard_normal((3, n))
    psi, laplacian, _ = network_score(net)(net.theta, x)
    parts = np.array([[naive_derivatives(net, net.theta, row, v) for v in np.eye(n)] for row in x])
    np.testing.assert_allclose(psi, parts[:, :, 1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(laplacian, parts[:, :, 2].sum(axis=1), rtol=1e-9, atol=1e-12)
    J = naive_objective(net, x, axes(x))
    value, gradient = objective(network_score(net), x)(net.theta)
    assert value == pytest.approx(J(net.theta), rel=1e-10, abs=1e-12)
    assert relative_error(gradient, complex_step(J, net.theta)) < 1e-10


@pytest.mark.equation("score_matching.14")
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    activation=st.sampled_from(SMOOTH),
)
def test_the_gradient_of_a_network_by_central_differences(seed, n, hidden, activation):
    """∂J/∂θ, exact and sliced, equals central differences to their own h² J‴/6; the constant's derivative is zero."""
    net = network((n, *hidden, 1), seed, activation)
    x = np.random.default_rng(seed).standard_normal((6, n))
    for model in (network_score(net), sliced_score(net, random_directions(x, 2, seed))):
        assert gradient_error(objective(model, x), net.theta) < 1e-6  # 1e-7 where J‴/6 is 1e3 times ∂J/∂θ
        assert objective(model, x)(net.theta)[1][-1] == 0


@pytest.mark.equation("score_matching.13")
@given(seed=st.integers(0, 2**32))
def test_the_laplacian_is_the_trace_of_the_jacobian_of_the_input_gradient(seed):
    """ΔF equals the sum of central differences of [mlp.4], the input gradient, along the axes."""
    net = network((3, 6, 4, 1), seed)
    x = np.random.default_rng(seed).standard_normal((5, 3))
    score = log_density_and_score(network_log_density(net), net.theta)
    h = 1e-5
    trace = sum((score(x + h * e)[1] - score(x - h * e)[1]) @ e for e in np.eye(3)) / (2 * h)
    np.testing.assert_allclose(network_score(net)(net.theta, x)[1], trace, rtol=1e-6, atol=1e-8)


@pytest.mark.equation("score_matching.16")
@given(seed=st.integers(0, 2**32), K=st.integers(1, 3))
def test_the_sliced_objective_is_its_equation_in_loops(seed, K):
    """J along K random directions equals (1/K) Σₖ [½ (vₖᵀψ)² + vₖᵀ(∂ψ/∂x)vₖ] in loops, and its complex step."""
    net = network((3, 4, 1), seed)
    x = np.random.default_rng(seed).standard_normal((4, 3))
    v = random_directions(x, K, seed)
    J = naive_objective(net, x, v / K**0.5)
    value, gradient = objective(sliced_score(net, v), x)(net.theta)
    assert value == pytest.approx(J(net.theta), rel=1e-10, abs=1e-12)
    assert relative_error(gradient, complex_step(J, net.theta)) < 1e-10


@pytest.mark.equation("score_matching.16")
@given(seed=st.integers(0, 2**32))
def test_the_mean_over_all_signs_and_orthogonal_directions_give_the_exact_objective(seed):
    """Sliced J and gradient over all 2ⁿ sign vectors, and over n orthogonal directions of length √n, are J's own."""
    net = network((3, 4, 1), seed)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, 3))
    value, gradient = objective(network_score(net), x)(net.theta)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    orthogonal = 3**0.5 * np.linalg.qr(rng.standard_normal((3, 3)))[0]
    for directions in (signs, orthogonal):
        v = np.repeat(directions[:, None], 4, axis=1)
        found, slope = objective(sliced_score(net, v), x)(net.theta)
        assert found == pytest.approx(value, rel=1e-9, abs=1e-11)
        np.testing.assert_allclose(slope, gradient, rtol=1e-8, atol=1e-11)


@pytest.mark.equation("score_matching.16")
def test_random_directions_are_signs_of_mean_zero_and_uncorrelated():
    """The entries are ±1, and over 20,000 draws E v = 0 and E vvᵀ = I within five standard errors; new each time."""
    v = random_directions(np.zeros((20_000, 3)), 2, 0)
    assert v.shape == (2, 20_000, 3) and set(np.unique(v)) == {-1, 1}
    v = v.reshape(-1, 3)
    assert abs(v.mean(axis=0)).max() < 5 / len(v) ** 0.5
    assert abs(v.T @ v / len(v) - np.eye(3)).max() < 5 / len(v) ** 0.5
    rng = np.random.default_rng(0)
    assert not np.array_equal(random_directions(np.zeros((9, 3)), 1, rng), random_directions(np.zeros((9, 3)), 1, rng))


@pytest.mark.equation("score_matching.4", "score_matching.13")
def test_a_network_learns_the_score_of_a_known_density():
    """After 600 steps on 2,000 quantiles (random samples leave gaps, and room for the peaks of [score_matching.19]),
    ½ E‖ψ − ψ_d‖², by quadrature, is less than a tenth of its start."""
    x = np.interp((np.arange(2000)[:, None] + 0.5) / 2000, np.cumsum(TRUTH) * WIDTH, GRID[:, 0])
    net, adam = network((1, 8, 1), seed=1), Adam(0.02)
    J, before = objective(network_score(net), x), weighted(network_score(net), net.theta)[1]
    for _ in range(600):
        net.theta += adam.step(J(net.theta)[1])
    assert weighted(network_score(net), net.theta)[1] < before / 10


@pytest.mark.equation("score_matching.19")
def test_narrow_peaks_at_the_samples_have_no_minimum():
    """J of β Σᵢ exp(−½‖x − xᵢ‖²/ε²), its ψ and ΔF in loops, tends to −nβ/ε² as ε → 0; for a fixed ε it rises again."""
    x = np.random.default_rng(0).standard_normal((5, 3))

    def J(beta, epsilon):
        value = 0
        for row in x:
            psi, laplacian = np.zeros(3), 0
            for centre in x:
                d = (row - centre) / epsilon
                bump = beta * np.exp(-0.5 * d @ d)
                psi -= bump * d / epsilon
                laplacian += bump * (d @ d - 3) / epsilon**2
            value += (0.5 * psi @ psi + laplacian) / 5
        return value

    assert J(2.0, 0.01) == pytest.approx(-3 * 2 / 0.01**2, rel=1e-9)
    assert J(1e6, 0.01) < -1e10
    assert J(2.0, 1e-6) < -1e12
    assert J(1.0, 0.5) < 0 < J(1e15, 0.5)  # however little the peaks overlap


def test_sliced_score_matching_trains_by_steps():
    """Adam on batches with new directions brings the exact J near its minimum for Gaussian data, −½ tr Λ = −1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 2))
    net, adam = network((2, 16, 1), seed=1), Adam(0.01)
    for _ in range(600):
        batch = x[rng.integers(2000, size=200)]
        model = sliced_score(net, random_directions(batch, 1, rng))
        net.theta += adam.step(objective(model, batch)(net.theta)[1])
    assert objective(network_score(net), x)(net.theta)[0] < -0.8


@pytest.mark.equation("score_matching.18")
@given(seed=st.integers(0, 2**32), sigma=st.floats(0.3, 1))
def test_denoising_is_score_matching_of_the_noisy_data(seed, sigma):
    """½ E‖ψ(x̃) + ξ/σ‖², by Gauss–Hermite quadrature over ξ, equals J at the same nodes plus n/(2σ²)."""
    net = network((2, 3, 1), seed)
    net.theta *= 0.3  # smooth enough for the quadrature
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    w = np.outer(weights, weights).ravel() / (2 * np.pi)
    for x in np.random.default_rng(seed).standard_normal((2, 2)):
        psi, laplacian, _ = network_score(net)(net.theta, x + sigma * z)
        denoising = (w * 0.5 * ((psi + z / sigma) ** 2).sum(axis=1)).sum()
        J = (w * (0.5 * (psi**2).sum(axis=1) + laplacian)).sum()
        assert denoising == pytest.approx(J + 2 / (2 * sigma**2), rel=1e-7)


# What is returned


def test_models_and_objectives_can_be_pickled():
    net, x = network((3, 4, 1)), normal_data(0, 6, 3)
    for model in (ica_score, network_score(net), sliced_score(net, random_directions(x, 2, 0))):
        theta = np.ones(9) if model is ica_score else net.theta
        J = objective(model, x)
        assert pickle.loads(pickle.dumps(J))(theta)[0] == J(theta)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    x = normal_data(0, 30, 3).astype(dtype)
    net = MLP((3, 4, 1), "tanh", rng=0, dtype=dtype)
    assert exponential_family(*gaussian_derivatives(x)).dtype == dtype
    for model, theta in ((ica_score, np.ones(9, dtype)), (network_score(net), net.theta)):
        value, gradient = objective(model, x)(theta)
        assert value.dtype == gradient.dtype == dtype
    assert random_directions(x, 1, 0).dtype == dtype


def test_a_kink_is_refused_by_name():
    with pytest.raises(ValueError, match="net: got activations .*relu.* smooth"):
        network_score(MLP((3, 4, 1), "relu"))
    with pytest.raises(ValueError, match="gradients: .*features"):
        exponential_family(np.ones((5, 2, 3)), np.ones((5, 2)))


def test_a_laplacian_in_a_column_is_refused():
    """It was spread over a matrix of all pairs of samples, and J was wrong."""
    x = normal_data(0, 6, 2)

    def model(theta, x):
        psi, laplacian, vjp = ica_score(theta, x)
        return psi, laplacian[:, None], vjp

    with pytest.raises(ValueError, match=r"model: got shape \(6, 1\), expected \(6\)"):
        objective(model, x)(np.ones(4))
