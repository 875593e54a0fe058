"""Models of the density: values and derivatives by hand and by loops, normalisers by quadrature, likelihoods."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import multivariate_normal

from minissl.densities import energy, gaussian, gaussian_theta, ica, ica_likelihood, laplace, logcosh
from minissl.gradcheck import central_difference, gradient_error, relative_error, taylor_slope
from minissl.mlp import MLP

SOURCES = [logcosh, laplace]
LN_2PI = math.log(2 * math.pi)


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
        return energy(net), net.theta.copy()
    source = logcosh if kind == "logcosh" else laplace
    return lambda theta, x: ica(theta, x, source), np.r_[invertible(rng, n).ravel(), rng.standard_normal()]


KINDS = ["gaussian", "logcosh", "laplace", "network"]
draws = st.tuples(st.integers(0, 2**32), st.integers(1, 4))


# Values


@pytest.mark.equation("densities.1")
def test_gaussian_worked_by_hand():
    # Lambda = (2 1; 1 3), b = (1, -1), c = 0.5, at x = (1, 2): x^T Lambda x = 2 + 4 + 12 = 18; -9 - 1 + 0.5
    value, product = gaussian([2, 1, 3, 1, -1, 0.5], [[1.0, 2.0]])
    assert value == pytest.approx([-9.5])
    assert product(np.array([10.0])) == pytest.approx([-5, -20, -20, 10, 20, 10])  # -x1^2/2, -x1 x2, -x2^2/2, x, 1
    # det = 5, Lambda^-1 b = (4, -3)/5, b^T Lambda^-1 b = 7/5
    theta = gaussian_theta([0.8, -0.6], [[0.6, -0.2], [-0.2, 0.4]])
    assert theta == pytest.approx([2, 1, 3, 1, -1, math.log(5) / 2 - 0.7 - LN_2PI])


@pytest.mark.equation("densities.2", "densities.3")
def test_ica_worked_by_hand():
    # B = (1 2; 0 -1) at x = (1, 1): s = (3, -1)
    theta, x = [1, 2, 0, -1, 0.25], [[1.0, 1.0]]
    value, product = ica(theta, x, laplace)
    assert value == pytest.approx([-4 * 2**0.5 - math.log(2) + 0.25])
    assert product(np.ones(1)) == pytest.approx([-(2**0.5), -(2**0.5), 2**0.5, 2**0.5, 1])
    a = math.pi / 12**0.5
    value, product = ica(theta, x)
    expected = -2 * math.log(math.cosh(3 * a)) - 2 * math.log(math.cosh(a)) + 2 * math.log(a / 2) + 0.25
    assert value == pytest.approx([expected])
    first, second = -2 * a * math.tanh(3 * a), 2 * a * math.tanh(a)
    assert product(np.ones(1)) == pytest.approx([first, first, second, second, 1])


@pytest.mark.equation("densities.3")
def test_log_cosh_far_out_does_not_overflow():
    a = math.pi / 12**0.5
    value, slope = logcosh(np.array([-1e4, 1e4]))
    assert value == pytest.approx(2 * [-2e4 * a + 2 * math.log(2) + math.log(a / 2)])
    assert slope == pytest.approx([2 * a, -2 * a])


@pytest.mark.equation("densities.3")
def test_the_laplacian_at_its_kink():
    """A component of exactly zero, as sparse data have, pulls B in no direction."""
    value, slope = laplace(np.zeros(2))
    assert value == pytest.approx(2 * [-math.log(2) / 2]) and slope.tolist() == [0, 0]


@pytest.mark.equation("densities.1", "densities.2")
@given(draw=draws, N=st.integers(1, 6))
def test_models_are_their_equations_in_loops(draw, N):
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
    for source in SOURCES:
        B, c = invertible(rng, n), rng.standard_normal()
        expected = [sum(float(source(sum(B[k] * v))[0]) for k in range(n)) + c for v in x]
        np.testing.assert_allclose(ica(np.r_[B.ravel(), c], x, source)[0], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.equation("densities.5")
def test_the_energy_is_the_network_and_the_last_parameter_is_c():
    net = MLP((3, 5, 1), "tanh", rng=0, dtype="float64")
    x, theta = np.random.default_rng(0).standard_normal((4, 3)), net.theta.copy()
    theta[-1] += 2.5
    value, product = energy(net)(theta, x)
    assert np.array_equal(value, net(x)[:, 0])
    theta[-1] += 1
    assert energy(net)(theta, x)[0] == pytest.approx(value + 1)
    assert product(np.array([1.0, 2, 3, 4]))[-1] == 10


# Derivatives


@pytest.mark.equation("densities.1", "densities.2", "densities.3", "densities.5")
@pytest.mark.parametrize("kind", KINDS)
@given(draw=draws, N=st.integers(2, 6))
def test_the_product_is_the_derivative(kind, draw, N):
    seed, n = draw
    rng = np.random.default_rng(seed)
    model, theta = a_model(kind, n, rng)
    x, w = rng.standard_normal((N, n)), rng.standard_normal(N)
    expected = central_difference(lambda t: w @ model(t, x)[0], theta)  # a kink of |s| is never that near
    assert relative_error(model(theta, x)[1](w), expected) < 1e-7


@pytest.mark.equation("densities.4")
@pytest.mark.parametrize("source", SOURCES)
@given(draw=draws)
def test_gradient_of_the_ica_likelihood(source, draw):
    seed, n = draw
    rng = np.random.default_rng(seed)
    J = ica_likelihood(rng.laplace(size=(n + 5, n)), source)
    B = invertible(rng, n).ravel()
    assert gradient_error(J, B) < 1e-7


@pytest.mark.equation("densities.4")
def test_the_remainder_of_the_ica_likelihood_falls_quadratically():
    rng = np.random.default_rng(0)
    J = ica_likelihood(rng.laplace(size=(7, 4)))
    assert taylor_slope(J, invertible(rng, 4).ravel(), rng.standard_normal(16)) == pytest.approx(2, abs=0.05)


# Normalisers


@pytest.mark.equation("densities.3")
@pytest.mark.parametrize("source", SOURCES)
def test_source_densities_integrate_to_one_with_unit_variance(source):
    def moment(power):
        return 2 * integrate.quad(lambda u: u**power * math.exp(source(np.array(u))[0]), 0, 60, epsabs=1e-12)[0]

    assert moment(0) == pytest.approx(1, abs=1e-10) and moment(2) == pytest.approx(1, abs=1e-10)


@pytest.mark.equation("densities.1")
@given(draw=draws)
def test_the_normalised_gaussian_is_that_of_scipy(draw):
    seed, n = draw
    rng = np.random.default_rng(seed)
    mean, A, x = rng.standard_normal(n), invertible(rng, n), rng.standard_normal((5, n))
    C = A @ A.T
    found = gaussian(gaussian_theta(mean, C), x)[0]
    np.testing.assert_allclose(found, multivariate_normal(mean, C).logpdf(x), rtol=1e-9, atol=1e-9)


@pytest.mark.equation("densities.2")
@pytest.mark.parametrize("source", SOURCES)
def test_the_normaliser_of_ica(source):
    B = np.array([[1.0, 0.7], [-0.4, -1.5]])  # det = -1.22, on purpose negative
    side = np.linspace(-18, 18, 1441)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(ica(np.r_[B.ravel(), math.log(1.22)], grid, source)[0])
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-3)  # the kinks cost O(h^2)


# Likelihood


@pytest.mark.equation("densities.1")
def test_the_moments_of_the_data_give_the_greatest_likelihood():
    x = np.random.default_rng(0).standard_normal((9, 3)) @ invertible(np.random.default_rng(1), 3)
    alpha = gaussian_theta(x.mean(axis=0), np.cov(x.T, bias=True))[:-1]

    def likelihood(alpha):  # ln phi + c*(alpha), over the data
        Lambda, (j, k) = np.zeros((3, 3)), np.triu_indices(3)
        Lambda[j, k] = Lambda[k, j] = alpha[:6]
        C = np.linalg.inv(Lambda)
        return gaussian(gaussian_theta(C @ alpha[6:], (C + C.T) / 2), x)[0].mean()

    assert abs(central_difference(likelihood, alpha)).max() < 1e-8
    for direction in np.random.default_rng(2).standard_normal((20, 9)):
        assert likelihood(alpha + 1e-2 * direction) < likelihood(alpha)


@pytest.mark.equation("densities.4")
@pytest.mark.parametrize("source", SOURCES)
def test_the_ica_likelihood_is_that_of_the_normalised_model(source):
    rng = np.random.default_rng(0)
    x, B = rng.laplace(size=(11, 3)), invertible(rng, 3)
    theta = np.r_[B.ravel(), math.log(abs(np.linalg.det(B)))]
    assert ica_likelihood(x, source)(B.ravel())[0] == pytest.approx(-ica(theta, x, source)[0].mean(), rel=1e-12)


@pytest.mark.equation("densities.4")
@given(draw=draws)
def test_the_ica_likelihood_does_not_mind_mixing_or_order_or_sign(draw):
    """Equivariance: J(B A^-1; A x) = J(B; x) + ln |det A|, and the relative gradient (dJ/dB) B^T is the same."""
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


# At the door


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32_and_arguments_stay_untouched(kind):
    rng = np.random.default_rng(0)
    model, theta = a_model(kind, 3, rng)
    if kind == "network":
        model = energy(MLP((3, 4, 3, 1), "tanh", rng=0))
    theta, x, w = (a.astype(np.float32) for a in (theta, rng.standard_normal((5, 3)), rng.standard_normal(5)))
    before = theta.copy(), x.copy()
    value, product = model(theta, x)
    assert value.dtype == product(w).dtype == np.float32
    assert value.shape == (5,) and product(w).shape == theta.shape
    assert np.array_equal(theta, before[0]) and np.array_equal(x, before[1])


def test_unfit_parameters_and_data_are_refused():
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
    with pytest.raises(ValueError, match="B: got shape"):
        ica_likelihood(x)(np.ones(4))
    with pytest.raises(ValueError, match="net: got 2 outputs"):
        energy(MLP((3, 2)))


@pytest.mark.parametrize("covariance", [[[1, 2], [2, 1]], [[1, 0.5], [0, 1]], [[1, 0], [0, 0]], [[1.0]]])
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="covariance: "):
        gaussian_theta([0, 0], covariance)
