"""Models of the density: values and derivatives by hand and by loops, normalisers by quadrature, likelihoods."""

import functools
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.stats import multivariate_normal
from slopes import median_slope

from minissl.goals.densities import (
    gaussian,
    gaussian_theta,
    ica,
    ica_likelihood,
    laplace,
    log_density_and_score,
    logcosh,
    network_log_density,
    precision_matrix,
)
from minissl.nn.gradcheck import central_difference, gradient_error, relative_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs

SOURCES = [logcosh, laplace]
LN_2PI = math.log(2 * math.pi)
A = math.pi / 12**0.5  # the a of [densities.3]


def invertible(rng, n):
    """With singular values from 0.5 to 2: finite differences lose digits where a matrix is nearly singular."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, size=n)


def a_model(kind, n, rng):
    """A model in n dimensions and parameters for it."""
    if kind == "gaussian":
        A = invertible(rng, n)
        return gaussian, gaussian_theta(rng.standard_normal(n), A @ A.T) + 0.1 * rng.standard_normal()
    if kind == "network":
        net = MLP((n, 4, 3, 1), "tanh", rng=rng, dtype="float64")
        return network_log_density(net), net.theta.copy()
    source = logcosh if kind == "logcosh" else laplace
    return functools.partial(ica, source=source), np.r_[invertible(rng, n).ravel(), rng.standard_normal()]


KINDS = ["gaussian", "logcosh", "laplace", "network"]
draws = st.tuples(st.integers(0, 2**32), st.integers(1, 4))


# Values


@pytest.mark.equation("densities.1")
def test_gaussian_worked_by_hand():
    """Value, derivatives and c* of a Gaussian in two dimensions equal those worked out by hand."""
    # Λ = (2 1; 1 3), b = (1, −1), c = 0.5, at x = (1, 2): xᵀΛx = 2 + 4 + 12 = 18; −9 − 1 + 0.5
    value, vjp = gaussian([2, 1, 3, 1, -1, 0.5], [[1.0, 2.0]])
    assert value == pytest.approx([-9.5])
    assert vjp(np.array([10.0])) == pytest.approx([-5, -20, -20, 10, 20, 10])  # −x₁²/2, −x₁x₂, −x₂²/2, x, 1
    # det = 5, Λ⁻¹b = (4, −3)/5, bᵀΛ⁻¹b = 7/5
    theta = gaussian_theta([0.8, -0.6], [[0.6, -0.2], [-0.2, 0.4]])
    assert theta == pytest.approx([2, 1, 3, 1, -1, math.log(5) / 2 - 0.7 - LN_2PI])
    assert precision_matrix(theta, 2) == pytest.approx(np.array([[2, 1], [1, 3]]))


@pytest.mark.equation("densities.2", "densities.3")
def test_ica_worked_by_hand():
    """Value and derivatives of ICA with either source density equal those worked out by hand."""
    # B = (1 2; 0 −1) at x = (1, 1): s = (3, −1)
    theta, x = [1, 2, 0, -1, 0.25], [[1.0, 1.0]]
    value, vjp = ica(theta, x, laplace)
    assert value == pytest.approx([-4 * 2**0.5 - math.log(2) + 0.25])
    assert vjp(np.ones(1)) == pytest.approx([-(2**0.5), -(2**0.5), 2**0.5, 2**0.5, 1])
    value, vjp = ica(theta, x)
    expected = -2 * math.log(math.cosh(3 * A)) - 2 * math.log(math.cosh(A)) + 2 * math.log(A / 2) + 0.25
    assert value == pytest.approx([expected])
    first, second = -2 * A * math.tanh(3 * A), 2 * A * math.tanh(A)
    assert vjp(np.ones(1)) == pytest.approx([first, first, second, second, 1])


@pytest.mark.equation("densities.3")
def test_log_cosh_far_out_does_not_overflow():
    """At ±10⁴, where cosh overflows, ln f is its asymptote; nothing underflows with a complaint (issue 14)."""
    with np.errstate(all="raise"):
        value, slope = logcosh(np.array([-1e4, 1e4, 0.0]))
    assert value == pytest.approx([*2 * [-2e4 * A + 2 * math.log(2) + math.log(A / 2)], math.log(A / 2)])
    assert slope == pytest.approx([2 * A, -2 * A, 0])


@pytest.mark.equation("densities.3")
def test_the_laplacian_at_its_kink():
    """A component of exactly zero, as sparse data have, pulls B in no direction."""
    value, slope = laplace(np.zeros(2))
    assert value == pytest.approx(2 * [-math.log(2) / 2]) and slope.tolist() == [0, 0]


@pytest.mark.equation("densities.1", "densities.2")
@given(draw=draws, N=st.integers(1, 6))
def test_models_are_their_equations_in_loops(draw, N):
    """ln p_m of the Gaussian and of ICA equals sums over samples and components, written as loops."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, n))
    model, theta = a_model("gaussian", n, rng)
    Lambda, entries = np.zeros((n, n)), iter(theta)
    for j in range(n):
        for k in range(j, n):
            Lambda[j, k] = Lambda[k, j] = next(entries)
    *b, c = entries
    expected = [sum(-0.5 * v[j] * Lambda[j, k] * v[k] for j in range(n) for k in range(n)) + sum(b * v) + c for v in x]
    np.testing.assert_allclose(model(theta, x)[0], expected, rtol=1e-11, atol=1e-11)
    assert np.array_equal(precision_matrix(theta, n), Lambda)
    for source in SOURCES:
        B, c = invertible(rng, n), rng.standard_normal()
        expected = [sum(float(source(sum(B[k] * v))[0]) for k in range(n)) + c for v in x]
        np.testing.assert_allclose(ica(np.r_[B.ravel(), c], x, source)[0], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.equation("densities.6")
def test_the_log_density_is_the_network_and_the_last_parameter_is_c():
    """ln p_m equals the output of the network with parameters θ, and adding to the last parameter adds to ln p_m."""
    net = MLP((3, 5, 1), "tanh", rng=0, dtype="float64")
    x, theta = np.random.default_rng(0).standard_normal((4, 3)), net.theta.copy()
    theta[-1] += 2.5
    value, vjp = network_log_density(net)(theta, x)
    assert np.array_equal(value, net.at(theta)(x)[:, 0])
    theta[-1] += 1
    assert network_log_density(net)(theta, x)[0] == pytest.approx(value + 1)
    assert vjp(np.array([1.0, 2, 3, 4]))[-1] == 10


def test_the_network_stays_as_it_is():
    """Also while other threads evaluate the model at other parameters (issue 14)."""
    net = MLP((3, 30, 1), "tanh", rng=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((50, 3))
    before, expected = net.theta.copy(), net(x)
    model = network_log_density(net)

    def evaluate(k):
        return model(before + k, x)[0], net(x)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(evaluate, range(200)))
    assert np.array_equal(net.theta, before)
    for k, (log_p, output) in enumerate(found):
        assert np.array_equal(output, expected)
        assert np.array_equal(log_p, net.at(before + k)(x)[:, 0])


# Derivatives


@pytest.mark.equation("densities.1", "densities.2", "densities.3", "densities.6")
@pytest.mark.parametrize("kind", KINDS)
@given(draw=draws, N=st.integers(2, 6))
def test_the_vjp_is_the_derivative(kind, draw, N):
    """vjp(w) equals central differences of Σᵢ wᵢ ln p_m(xᵢ) in θ."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    model, theta = a_model(kind, n, rng)
    x, w = rng.standard_normal((N, n)), rng.standard_normal(N)
    expected = central_difference(lambda t: w @ model(t, x)[0], theta)  # a kink of |s| is never that near
    assert relative_error(model(theta, x)[1](w), expected) < 1e-7


@pytest.mark.equation("densities.7")
@pytest.mark.parametrize("kind", KINDS)
@given(draw=draws, N=st.integers(2, 6))
def test_the_score_is_the_derivative_in_x(kind, draw, N):
    """The score, and the input gradient weighted by w, equal central differences of ln p_m in x."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    model, theta = a_model(kind, n, rng)
    x, w = rng.standard_normal((N, n)), rng.standard_normal(N)
    log_p, score = log_density_and_score(model, theta)(x)
    expected = central_difference(lambda v: model(theta, v.reshape(N, n))[0].sum(), x.ravel()).reshape(N, n)
    assert np.array_equal(log_p, model(theta, x)[0])
    assert relative_error(score, expected) < 1e-7
    gradient, weighted = model(theta, x)[1](w, input_gradient=True)
    assert np.array_equal(gradient, model(theta, x)[1](w))
    assert relative_error(weighted, w[:, None] * expected) < 1e-7


@pytest.mark.equation("densities.7")
def test_the_score_of_the_gaussian_worked_by_hand():
    """The score of N(1, 2²) at 1, 3 and −3 is −(x − 1)/4."""
    log_p, score = log_density_and_score(gaussian, gaussian_theta([1.0], [[4.0]]))(np.array([[1.0], [3.0], [-3.0]]))
    assert score[:, 0] == pytest.approx([0, -0.5, 1])
    assert log_p == pytest.approx(stats.norm(1, 2).logpdf([1, 3, -3]))


@pytest.mark.equation("densities.4")
@pytest.mark.parametrize("source", SOURCES)
@given(draw=draws)
def test_gradient_of_the_ica_likelihood(source, draw):
    """The hand-written gradient equals finite differences, component by component."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    J = ica_likelihood(rng.laplace(size=(n + 5, n)), source)
    B = invertible(rng, n).ravel()
    assert gradient_error(J, B) < 1e-7


@pytest.mark.equation("densities.4")
def test_the_remainder_of_the_ica_likelihood_falls_quadratically():
    """What is left of J after its first-order expansion falls as h²."""
    rng = np.random.default_rng(0)
    J = ica_likelihood(rng.laplace(size=(7, 4)))
    assert median_slope(J, invertible(rng, 4).ravel()) == pytest.approx(2, abs=0.05)


# Normalisers


@pytest.mark.equation("densities.3")
@pytest.mark.parametrize("source", SOURCES)
def test_source_densities_integrate_to_one_with_unit_variance(source):
    """The integrals of f and of u² f(u), by quadrature, are both 1."""

    def moment(power):
        return 2 * integrate.quad(lambda u: u**power * math.exp(source(np.array(u))[0]), 0, 60, epsabs=1e-12)[0]

    assert moment(0) == pytest.approx(1, abs=1e-10) and moment(2) == pytest.approx(1, abs=1e-10)


@pytest.mark.equation("densities.1")
@given(draw=draws)
def test_the_normalised_gaussian_is_that_of_scipy(draw):
    """ln p_m with c* from mean and covariance equals SciPy's logarithm of the normal density."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    mean, A, x = rng.standard_normal(n), invertible(rng, n), rng.standard_normal((5, n))
    C = A @ A.T
    found = gaussian(gaussian_theta(mean, C), x)[0]
    np.testing.assert_allclose(found, multivariate_normal(mean, C).logpdf(x), rtol=1e-9, atol=1e-9)


@pytest.mark.equation("densities.2")
@pytest.mark.parametrize("source", SOURCES)
def test_the_normaliser_of_ica(source):
    """With c* = ln |det B|, for a B of negative determinant, the density integrates to one on a grid."""
    B = np.array([[1.0, 0.7], [-0.4, -1.5]])  # det = −1.22, on purpose negative
    side = np.linspace(-18, 18, 1441)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(ica(np.r_[B.ravel(), math.log(1.22)], grid, source)[0])
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-3)  # the kinks cost O(h²)


# Likelihood


@pytest.mark.equation("densities.1")
def test_the_moments_of_the_data_give_the_greatest_likelihood():
    """At the data's mean and covariance the likelihood ln φ + c*(α) is stationary, and less in every direction."""
    x = np.random.default_rng(0).standard_normal((9, 3)) @ invertible(np.random.default_rng(1), 3)
    alpha = gaussian_theta(x.mean(axis=0), np.cov(x.T, bias=True))[:-1]

    def likelihood(alpha):  # ln φ + c*(α), over the data
        C = np.linalg.inv(precision_matrix(np.append(alpha, 0), 3))
        return gaussian(gaussian_theta(C @ alpha[6:], (C + C.T) / 2), x)[0].mean()

    assert abs(central_difference(likelihood, alpha)).max() < 1e-8
    for direction in np.random.default_rng(2).standard_normal((20, 9)):
        assert likelihood(alpha + 1e-2 * direction) < likelihood(alpha)


@pytest.mark.equation("densities.4")
@pytest.mark.parametrize("source", SOURCES)
def test_the_ica_likelihood_is_that_of_the_normalised_model(source):
    """J equals minus the mean over the data of ln p_m with c = ln |det B|."""
    rng = np.random.default_rng(0)
    x, B = rng.laplace(size=(11, 3)), invertible(rng, 3)
    theta = np.r_[B.ravel(), math.log(abs(np.linalg.det(B)))]
    assert ica_likelihood(x, source)(B.ravel())[0] == pytest.approx(-ica(theta, x, source)[0].mean(), rel=1e-12)


@pytest.mark.equation("densities.4")
@given(draw=draws)
def test_the_ica_likelihood_does_not_mind_mixing_or_order_or_sign(draw):
    """Equivariance: J(BA⁻¹; Ax) = J(B; x) + ln |det A|, and the relative gradient (∂J/∂B) Bᵀ is the same."""
    seed, n = draw
    rng = np.random.default_rng(seed)
    x, B, A = rng.laplace(size=(8, n)), invertible(rng, n), np.linalg.qr(rng.standard_normal((n, n)))[0] * 1.7
    value, gradient = ica_likelihood(x)(B.ravel())
    mixed = B @ np.linalg.inv(A)
    value_mixed, gradient_mixed = ica_likelihood(x @ A.T)(mixed.ravel())
    assert value_mixed == pytest.approx(value + n * math.log(1.7), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(
        gradient_mixed.reshape(n, n) @ mixed.T, gradient.reshape(n, n) @ B.T, rtol=1e-8, atol=1e-8
    )
    other = (B * rng.choice([-1, 1], size=(n, 1)))[rng.permutation(n)]
    assert ica_likelihood(x)(other.ravel())[0] == pytest.approx(value, rel=1e-9, abs=1e-9)


# For which sources


LAPLACIAN = stats.laplace(scale=0.5**0.5)
LOGISTIC = stats.logistic(scale=3**0.5 / math.pi)
NORMAL = stats.norm()
UNIFORM = stats.uniform(-(3**0.5), 12**0.5)


def equally_likely(distribution, points=60):
    """Values of a discrete source like the distribution; symmetric, so its mean is zero exactly."""
    s = distribution.ppf((np.arange(points) + 0.5) / points)
    return (s - s[::-1]) / 2


def scaled(s):
    """The source at the length at which E ψ(s)s = 1, ψ of the logistic density, and its κ [densities.5]."""

    def psi(s):
        return 2 * A * np.tanh(A * s)

    s = s * optimize.brentq(lambda k: (psi(k * s) * k * s).mean() - 1, 1e-3, 1e3, xtol=1e-14)
    slope = (2 * A**2 / np.cosh(A * s) ** 2).mean()
    return s, slope, slope * (s**2).mean()


@pytest.mark.equation("densities.5")
@pytest.mark.parametrize("pair", [(LAPLACIAN, LOGISTIC), (LAPLACIAN, UNIFORM), (UNIFORM, UNIFORM), (LAPLACIAN, NORMAL)])
def test_the_curvature_at_the_right_unmixing_matrix(pair):
    """J's gradient is zero and its second derivative that of the expansion, positive if and only if κ₁κ₂ > 1."""
    (s1, slope1, kappa1), (s2, slope2, kappa2) = (scaled(equally_likely(distribution)) for distribution in pair)
    s = np.stack(np.meshgrid(s1, s2), axis=-1).reshape(-1, 2)  # all pairs, equally likely: independent exactly
    J = ica_likelihood(s)
    right = np.eye(2).ravel()
    np.testing.assert_allclose(J(right)[1], 0, atol=1e-12)
    h = 1e-5
    hessian = np.array([(J(right + h * e)[1] - J(right - h * e)[1]) / (2 * h) for e in np.eye(4)])
    v1, v2 = (s1**2).mean(), (s2**2).mean()
    d1, d2 = (1 + (2 * A**2 / np.cosh(A * s) ** 2 * s**2).mean() for s in (s1, s2))
    expected = [[d1, 0, 0, 0], [0, slope1 * v2, 1, 0], [0, 1, slope2 * v1, 0], [0, 0, 0, d2]]
    np.testing.assert_allclose(hessian, expected, rtol=1e-7, atol=1e-8)
    assert (np.linalg.eigvalsh(hessian)[0] > 0) == (kappa1 * kappa2 > 1)


@pytest.mark.equation("densities.5")
def test_the_kappas_that_are_named():
    """κ of the logistic f, by quadrature, is 1.27 for Laplacian, 1 for Gaussian and 0.85 for uniform sources."""
    for distribution, expected in ((LAPLACIAN, 1.27), (LOGISTIC, math.pi**2 / 9), (NORMAL, 1), (UNIFORM, 0.85)):
        assert scaled(equally_likely(distribution, 100_000))[2] == pytest.approx(expected, abs=0.005)
    # of the Laplacian f: E ψ(s)s = √2 E|s| = 1 at s = s₀/(√2 E|s₀|), so κ = 2√2 p(0) E s² = 2 p₀(0) E s₀²/E|s₀|
    for p, square, modulus, expected in (
        (LAPLACIAN.pdf(0), 1, 0.5**0.5, 2),
        (NORMAL.pdf(0), 1, (2 / math.pi) ** 0.5, 1),
        (UNIFORM.pdf(0), 1, 3**0.5 / 2, 2 / 3),
    ):
        assert 2 * p * square / modulus == pytest.approx(expected)


@pytest.mark.equation("densities.4", "densities.5")
@pytest.mark.parametrize("source", SOURCES)
def test_super_gaussian_sources_are_separated_and_sub_gaussian_ones_are_not(source):
    """J prefers the right B to sources mixed half and half, if they are Laplacian; if they are uniform, the reverse."""

    def gain(distribution):
        s = equally_likely(distribution)
        s = np.stack(np.meshgrid(s, s), axis=-1).reshape(-1, 2)
        J = ica_likelihood(s, source)

        def least(B):
            return optimize.minimize_scalar(lambda k: J(k * B.ravel())[0], bounds=(0.3, 3), method="bounded").fun

        half = np.array([[1.0, 1], [-1, 1]]) / 2**0.5
        return least(half) - least(np.eye(2))

    assert gain(LAPLACIAN) > 0.01
    assert gain(UNIFORM) < -0.01


@pytest.mark.equation("densities.4")
def test_one_gaussian_source_is_found_and_two_are_not():
    """With one Gaussian source J is curved in the direction of rotation; with two it is flat there."""
    rotation = np.array([0.0, 1, -1, 0])

    def curvature(*pair):
        s = np.stack(np.meshgrid(*(scaled(equally_likely(d, 400))[0] for d in pair)), axis=-1).reshape(-1, 2)
        J, right = ica_likelihood(s), np.eye(2).ravel()
        return rotation @ (J(right + 1e-4 * rotation)[1] - J(right - 1e-4 * rotation)[1]) / 2e-4

    assert curvature(LAPLACIAN, NORMAL) > 0.1
    assert abs(curvature(NORMAL, NORMAL)) < 0.02  # 400 points are a Gaussian but for their tails


@pytest.mark.equation("densities.4")
@pytest.mark.parametrize("source", SOURCES)
def test_maximum_likelihood_finds_the_unmixing_matrix(source):
    """BA of the estimated B is a permutation with signs and lengths, within 5 standard errors."""
    rng = np.random.default_rng(0)
    N, A = 4000, invertible(rng, 3)
    x = rng.laplace(size=(N, 3)) @ A.T
    x = x - x.mean(axis=0)
    B = np.linalg.inv(np.linalg.cholesky(np.cov(x.T)))
    B = lbfgs(ica_likelihood(x), B.ravel(), tolerance=1e-6).theta
    if source is laplace:  # the gradient jumps by √2/N wherever a component passes through zero, and need not vanish
        B = lbfgs(ica_likelihood(x, laplace), B, tolerance=0.02, warn=False).theta
    P = abs(B.reshape(3, 3) @ A)
    P /= P.max(axis=1, keepdims=True)
    assert (np.sort(P.argmax(axis=1)) == np.arange(3)).all()
    # the variance of an entry, H⁻¹VH⁻¹ with H = (κ 1; 1 κ), V = (v 1; 1 v), v = E ψ² E s²: 1.24/N and 0.67/N
    assert np.sort(P, axis=1)[:, :2].max() < 5 * (1.24 / N) ** 0.5


# Where there is no maximum


def without_full_rank(name, dtype):
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(200, 4)).astype(dtype)
    if name == "average reference":
        return x - x.mean(axis=1, keepdims=True)
    if name == "a copied column":
        x[:, 3] = x[:, 1]
    if name == "a scaled copy":
        x[:, 3] = 1e-3 * x[:, 1]
    if name == "a column of zeros":
        x[:, 3] = 0
    if name == "a constant column":
        x[:, 3] = 0.1
    return x[:4] if name == "too few samples" else x


DEFICIENT = ["average reference", "a copied column", "a scaled copy", "a column of zeros", "a constant column"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*DEFICIENT, "too few samples"])
def test_data_of_deficient_rank_have_no_likelihood(name, dtype):
    with pytest.raises(ValueError, match="x: the least eigenvalue .* is -?[0-9.e+-]+, expected full rank"):
        ica_likelihood(without_full_rank(name, dtype))


def test_the_unit_of_a_variable_is_no_rank():
    x = np.random.default_rng(0).laplace(size=(200, 4)) * [1, 1e-12, 1e6, 1]
    assert np.isfinite(ica_likelihood(x)(np.diag([1, 1e12, 1e-6, 1]).ravel())[0])
    ica_likelihood((x * [1, 1e12, 1e-6, 1]).astype(np.float32))
    assert np.isfinite(gaussian_theta(np.zeros(2), np.diag([1, 1e-24]))).all()


@pytest.mark.parametrize("name", DEFICIENT[:4])
def test_a_covariance_of_deficient_rank_has_no_gaussian(name):
    x = without_full_rank(name, "float64")
    with pytest.raises(ValueError, match="covariance: got .* as least eigenvalue"):
        gaussian_theta(x.mean(axis=0), np.cov(x.T, bias=True))


def test_rounding_makes_no_covariance_definite():
    """A copy of a column, scaled: rounding leaves the least eigenvalue up to some n eps from zero."""
    for seed in range(200):
        x = np.random.default_rng(seed).laplace(size=(200, 4))
        x[:, 3] = 1e-3 * x[:, 1]
        with pytest.raises(ValueError, match="covariance: got .* as least eigenvalue"):
            gaussian_theta(x.mean(axis=0), np.cov(x.T, bias=True))


# Arguments


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32_and_arguments_stay_untouched(kind):
    rng = np.random.default_rng(0)
    model, theta = a_model(kind, 3, rng)
    if kind == "network":
        model = network_log_density(MLP((3, 4, 3, 1), "tanh", rng=0))
    theta, x, w = (a.astype(np.float32) for a in (theta, rng.standard_normal((5, 3)), rng.standard_normal(5)))
    before = theta.copy(), x.copy()
    value, vjp = model(theta, x)
    gradient, dx = vjp(w, input_gradient=True)
    assert value.dtype == vjp(w).dtype == gradient.dtype == dx.dtype == np.float32
    assert value.shape == (5,) and vjp(w).shape == gradient.shape == theta.shape and dx.shape == x.shape
    assert np.array_equal(theta, before[0]) and np.array_equal(x, before[1])


def test_models_and_objectives_can_be_pickled():
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(6, 3))
    J, B = ica_likelihood(x, laplace), invertible(rng, 3).ravel()
    assert pickle.loads(pickle.dumps(J))(B)[0] == J(B)[0]
    for kind in KINDS:
        model, theta = a_model(kind, 3, rng)
        density = log_density_and_score(model, theta)
        again = pickle.loads(pickle.dumps(density))
        assert all(np.array_equal(a, b) for a, b in zip(again(x), density(x), strict=True))


def test_invalid_parameters_and_data_are_refused():
    x = np.ones((2, 3))
    for model, size in ((gaussian, 10), (ica, 10)):
        with pytest.raises(ValueError, match=r"theta: got shape \(4,\), expected \(10\)"):
            model(np.ones(4), x)
        with pytest.raises(ValueError, match="x: contains NaN"):
            model(np.ones(size), np.full((2, 3), np.nan))
        with pytest.raises(TypeError, match="theta: got dtype float32"):
            model(np.ones(size, dtype=np.float32), x)
    with pytest.raises(ValueError, match="x: got shape"):
        ica_likelihood(np.ones(3))
    full = np.random.default_rng(0).standard_normal((9, 3))
    with pytest.raises(ValueError, match="B: got shape"):
        ica_likelihood(full)(np.ones(4))
    with pytest.raises(ValueError, match="B: got a singular matrix"):
        ica_likelihood(full)(np.ones(9))
    with pytest.raises(ValueError, match="net: got 2 outputs"):
        network_log_density(MLP((3, 2)))
    with pytest.raises(TypeError, match="net: got function"):
        network_log_density(lambda x: x)
    with pytest.raises(TypeError, match="source: got str"):
        ica(np.ones(10), x, "laplace")


@pytest.mark.parametrize("covariance", [[[1, 2], [2, 1]], [[1, 0.5], [0, 1]], [[1, 0], [0, 0]], [[1.0]]])
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="covariance: "):
        gaussian_theta([0, 0], covariance)
