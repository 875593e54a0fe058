"""Contrastive tasks: what they hand to the classifier, and that its optimal logit is the ratio of densities claimed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from standin import device

import minissl as ssl
from minissl.contrastive import Gaussian, against_noise, against_shuffled, gaussian_like, shuffle_variables, white
from minissl.losses import sigmoid
from minissl.training import loss_and_gradient

cupy = device()
seeds = st.integers(0, 2**32 - 1)


class Fixed:
    """Noise that repeats the same rows."""

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def sample(self, N, rng):
        return np.tile(self.rows, (-(-N // len(self.rows)), 1))[:N]


def correlated(N, n, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n)) + 2 * np.eye(n)
    return (rng.standard_normal((N, n)) @ A + rng.standard_normal(n)).astype(dtype)


# --- data against noise ---------------------------------------------------------------------------------------------


def test_the_pair_worked_by_hand():
    noise = Fixed([[5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]])
    input, target = against_noise(noise, nu=2)(np.array([[1.0, 2.0], [3.0, 4.0]]), np.random.default_rng(0))
    assert input.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert target.tolist() == [[1], [1], [0], [0], [0], [0]]
    *_, weight = against_noise(noise, nu=2, balanced=True)(np.array([[1.0, 2.0], [3.0, 4.0]]), np.random.default_rng(0))
    assert weight.tolist() == [[1], [1], [0.5], [0.5], [0.5], [0.5]]


@pytest.mark.equation("contrastive.1")
@given(seed=seeds, N=st.integers(1, 4), nu=st.integers(1, 3), balanced=st.booleans())
def test_the_loss_is_the_equation(seed, N, nu, balanced):
    """Summed point by point, for a network whose logit is written out."""
    x, e = correlated(N, 5, seed), correlated(nu * N, 5, seed + 1)
    net = ssl.MLP((5, 1), rng=seed, dtype="float64")
    input, *target = against_noise(Fixed(e), nu, balanced)(x, np.random.default_rng(0))
    w = 1 / nu if balanced else 1

    def y(row):
        return sum(row[k] * net.weights[0][k, 0] for k in range(5)) + net.biases[0][0]

    total = sum(math.log(1 + math.exp(-y(row))) for row in x) + w * sum(math.log(1 + math.exp(y(row))) for row in e)
    assert loss_and_gradient(net, input, target, ssl.logistic)[0] == pytest.approx(total / (N * (1 + nu)), rel=1e-10)


@pytest.mark.equation("contrastive.2")
@pytest.mark.parametrize(("nu", "balanced"), [(1, False), (3, False), (1, True), (3, True)])
def test_the_optimal_logit_is_the_log_ratio_of_densities(nu, balanced):
    """Exactly: five points, frequencies as the densities, one free logit for each point."""
    p_d, p_n = np.array([1, 2, 4, 3, 2]) / 12, np.array([3, 1, 2, 2, 4]) / 12
    points = np.eye(5)
    x, e = np.repeat(points, [1, 2, 4, 3, 2], axis=0), np.repeat(points, [3, 1, 2, 2, 4], axis=0)
    pair = against_noise(Fixed(e), nu, balanced)(x, np.random.default_rng(0))
    net = ssl.MLP((5, 1), rng=0, dtype="float64")
    found = ssl.lbfgs(ssl.objective(net, pair, ssl.logistic), net.theta, tolerance=1e-10)
    net.theta[:] = found.theta
    expected = np.log(p_d) - np.log(p_n) - (0 if balanced else math.log(nu))
    assert net(points)[:, 0] == pytest.approx(expected, abs=1e-6)
    w = 1 / nu if balanced else 1
    s = sigmoid(net(points)[:, 0])
    assert p_d * (1 - s) == pytest.approx(w * nu * p_n * s, abs=1e-7)


@pytest.mark.equation("contrastive.2")
@pytest.mark.parametrize("balanced", [False, True])
def test_a_gaussian_density_is_recovered_with_its_normaliser(balanced):
    """ln p_d = y + ln p_n + ln(w nu), a polynomial of degree two, for skew data against white noise."""
    nu, N = 4, 40_000
    rng = np.random.default_rng(0)
    C, m = np.array([[1.0, 0.6], [0.6, 0.8]]), np.array([0.5, -0.3])
    x = rng.multivariate_normal(m, C, N)
    noise = white(x)
    input, *rest = against_noise(noise, nu, balanced)(x, rng)

    def quadratic(x):
        return np.column_stack([x, x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2])

    net = ssl.MLP((5, 1), rng=0, dtype="float64")
    found = ssl.lbfgs(ssl.objective(net, (quadratic(input), *rest), ssl.logistic), net.theta)
    net.theta[:] = found.theta
    at = rng.multivariate_normal(m, C, 2000)
    ln_p_d = net(quadratic(at))[:, 0] + noise.log_density(at) + (0 if balanced else math.log(nu))
    error = ln_p_d - multivariate_normal(m, C).logpdf(at)
    # six parameters from N points: mean square error about (1 + 1/nu) 6/N or more, far below (ln nu)^2
    assert np.sqrt(np.mean(error**2)) < 5 * np.sqrt(2 * 6 / N)


# --- Gaussian noise ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("contrastive.3")
@given(seed=seeds, n=st.integers(1, 4))
def test_log_density_against_scipy(seed, n):
    x = correlated(30, n, seed)
    for noise in (gaussian_like(x), white(x)):
        C = noise.axes @ np.diag(noise.deviations**2) @ noise.axes.T
        expected = np.atleast_1d(multivariate_normal(noise.mean, C).logpdf(x))
        assert noise.log_density(x) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_log_density_worked_by_hand():
    noise = Gaussian(np.array([1.0, 2.0]), np.eye(2), np.array([2.0, 3.0]))
    expected = -0.5 * (1 + 4) - math.log(6) - math.log(2 * math.pi)
    assert noise.log_density([[3.0, 8.0]]) == pytest.approx([expected])


@given(seed=seeds, n=st.integers(1, 5))
def test_mean_and_covariance_are_those_of_the_data(seed, n):
    x = correlated(40, n, seed)
    like, flat = gaussian_like(x), white(x)
    assert like.mean == pytest.approx(x.mean(axis=0))
    C = like.axes @ np.diag(like.deviations**2) @ like.axes.T
    np.testing.assert_allclose(C, np.cov(x.T, ddof=0).reshape(n, n), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(like.axes.T @ like.axes, np.eye(n), atol=1e-10)
    assert flat.mean == pytest.approx(x.mean(axis=0))
    assert flat.deviations**2 == pytest.approx(np.full(n, x.var(axis=0).mean()))
    assert np.array_equal(flat.axes, np.eye(n))


@pytest.mark.equation("contrastive.3")
def test_samples_have_the_mean_and_covariance_that_the_density_has():
    N = 100_000
    for noise in (gaussian_like(correlated(50, 3, 1)), white(correlated(50, 3, 2))):
        e = noise.sample(N, 3)
        drawn = np.random.default_rng(3).standard_normal((N, 3))
        assert np.array_equal(e, noise.mean + (drawn * noise.deviations) @ noise.axes.T)
        z = (e - noise.mean) @ noise.axes / noise.deviations
        assert z.mean(axis=0) == pytest.approx(np.zeros(3), abs=5 / N**0.5)
        np.testing.assert_allclose(z.T @ z / N, np.eye(3), atol=5 * (2 / N) ** 0.5)


def test_a_thin_direction_of_float32_data_is_kept():
    """Its variance is 1e-8 of the others', below float32's rounding of those, yet the data do vary along it."""
    turn = np.linalg.qr(correlated(3, 3, 7))[0]
    x = (correlated(500, 3, 6) @ np.diag([1, 1e-4, 2]) @ turn).astype("float32")
    found, exact = gaussian_like(x).deviations, np.linalg.svd(x - x.mean(axis=0, dtype=float))[1] / 500**0.5
    np.testing.assert_allclose(found, exact[::-1], rtol=1e-5)


def test_a_sample_at_the_mean_is_no_lack_of_variance():
    assert gaussian_like([[-1.0], [0.0], [1.0]]).deviations == pytest.approx([(2 / 3) ** 0.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_data_have_noise_on_their_plane(dtype):
    """Windows without their mean: the noise has none either, and its density is that within the plane."""
    x = correlated(200, 4, 5, dtype)
    x = x - x.mean(axis=1, keepdims=True)
    noise = gaussian_like(x)
    assert noise.axes.shape == (4, 3)
    e = noise.sample(50, 0)
    assert e.dtype == dtype
    assert np.abs(e.mean(axis=1)).max() < 1e-5
    B = np.linalg.qr(np.column_stack([np.ones(4), np.eye(4)[:, :3]]))[0][:, 1:]  # a basis of the plane
    within = (x @ B).astype("float64")
    expected = multivariate_normal(within.mean(axis=0), np.cov(within.T, ddof=0)).logpdf(within)
    np.testing.assert_allclose(noise.log_density(x), expected, rtol=1e-3 if dtype == "float32" else 1e-9)


# --- data against shuffled variables --------------------------------------------------------------------------------


@given(seed=seeds, N=st.integers(1, 6), n=st.integers(1, 4))
def test_shuffling_keeps_every_marginal(seed, N, n):
    x = correlated(N, n, seed)
    before = x.copy()
    shuffled = shuffle_variables(x, seed)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(x, axis=0))
    assert np.array_equal(x, before)
    input, target = against_shuffled()(x, np.random.default_rng(seed))
    assert np.array_equal(input[:N], x)
    assert np.array_equal(input[N:], shuffle_variables(x, np.random.default_rng(seed)))
    assert target.tolist() == [[1]] * N + [[0]] * N


def test_shuffled_variables_are_independent():
    N = 20_000
    x = np.random.default_rng(0).standard_normal((N, 1)) * np.ones(3) + 0.1 * np.arange(3)
    R = np.corrcoef(shuffle_variables(x, 1).T)
    np.testing.assert_allclose(R, np.eye(3), atol=5 / N**0.5)


@pytest.mark.equation("contrastive.4", "contrastive.5")
def test_the_mean_logit_is_the_mutual_information():
    """Gaussian variables; the optimal logit is a polynomial of degree two. To 0.02 nats, and at single points too."""
    N, n = 50_000, 3
    R = np.array([[1, 0.6, 0.3], [0.6, 1, -0.2], [0.3, -0.2, 1]])
    scale, m = np.array([1.0, 2.0, 0.5]), np.array([0.0, 1.0, -1.0])
    C = R * np.outer(scale, scale)
    rng = np.random.default_rng(0)
    rows, columns = np.triu_indices(n)

    def quadratic(x):
        z = (x - m) / scale
        return np.column_stack([z, z[:, rows] * z[:, columns]])

    input, target = against_shuffled()(rng.multivariate_normal(m, C, N), rng)
    net = ssl.MLP((n + len(rows), 1), rng=0, dtype="float64")
    found = ssl.lbfgs(ssl.objective(net, (quadratic(input), target), ssl.logistic), net.theta)
    net.theta[:] = found.theta
    fresh = rng.multivariate_normal(m, C, N)
    logit = net(quadratic(fresh))[:, 0]
    exact = multivariate_normal(m, C).logpdf(fresh) - multivariate_normal(m, np.diag(np.diag(C))).logpdf(fresh)
    information = -0.5 * math.log(np.linalg.det(R))
    assert exact.mean() == pytest.approx(information, abs=5 * exact.std() / N**0.5)
    assert logit.mean() == pytest.approx(information, abs=0.02)
    assert np.sqrt(np.mean((logit - exact) ** 2)) < 5 * np.sqrt(4 * 10 / N)


# --- doors, dtypes, devices -----------------------------------------------------------------------------------------


def test_training_separates_and_is_repeatable():
    x = np.random.default_rng(0).laplace(size=(300, 2)).astype("float32")
    task, thetas = against_noise(gaussian_like(x), 2, balanced=True), []
    for _ in range(2):
        net = ssl.MLP((2, 8, 1), rng=1)
        losses = np.array(list(ssl.train(net, x, task, ssl.logistic, epochs=100, optimizer=ssl.Adam(0.01), rng=2)))
        thetas.append(net.theta.copy())
        late, chance = losses[-20:], 2 * np.log(2) / 3  # y = 0; every epoch has its own noise
        assert chance - late.mean() > 5 * late.std() / 20**0.5
    assert thetas[0].tobytes() == thetas[1].tobytes()


def test_the_same_pairs_on_the_device():
    x = correlated(7, 3, 0)
    for task_of in (lambda x: against_noise(gaussian_like(x), 2, True), lambda x: against_noise(white(x))):
        here = task_of(x)(x, np.random.default_rng(1))
        there = task_of(cupy.asarray(x))(cupy.asarray(x), np.random.default_rng(1))
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(cupy.asnumpy(b), a, rtol=1e-9)
    here, there = (against_shuffled()(a, np.random.default_rng(1))[0] for a in (x, cupy.asarray(x)))
    assert np.array_equal(cupy.asnumpy(there), here)
    noise = gaussian_like(cupy.asarray(x))
    np.testing.assert_allclose(cupy.asnumpy(noise.log_density(cupy.asarray(x))), gaussian_like(x).log_density(x))


def test_noise_and_shuffling_of_ones_own_get_a_generator():
    class Own:
        def sample(self, N, rng):
            return rng.laplace(size=(N, 3))

    x = correlated(10, 3, 0)
    e = against_noise(Own())(x, 7)[0][10:]
    assert np.array_equal(e, np.random.default_rng(7).laplace(size=(10, 3)))
    task = against_shuffled(lambda x, rng: rng.permutation(x))
    assert np.array_equal(task(x, 7)[0][10:], np.random.default_rng(7).permutation(x))
    with pytest.raises(ValueError, match=r"x: got shape \(3,\)"):
        task(x[0], 7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    x = correlated(20, 3, 0, dtype)
    parts = [*gaussian_like(x), *white(x), gaussian_like(x).log_density(x), white(x).log_density(x)]
    parts += [*against_noise(white(x), 2, True)(x, np.random.default_rng(0))]
    parts += [*against_shuffled()(x, np.random.default_rng(0))]
    assert {p.dtype for p in parts} == {np.dtype(dtype)}


def test_bad_input_is_named():
    x = correlated(10, 3, 0)
    with pytest.raises(ValueError, match="nu: got 0"):
        against_noise(white(x), nu=0)
    with pytest.raises(TypeError, match="nu: got 1.5"):
        against_noise(white(x), nu=1.5)
    with pytest.raises(TypeError, match="noise: got int"):
        against_noise(1)
    with pytest.raises(ValueError, match=r"noise: got shape \(10, 3\), expected \(any, 2\)"):
        against_noise(white(x))(x[:, :2], np.random.default_rng(0))
    with pytest.raises(ValueError, match="x: all 5 samples are the same"):
        gaussian_like(np.ones((5, 2)))
    for like in (gaussian_like, white):
        for scale in (1e-200, 1e200):
            with pytest.raises(ValueError, match="x: the squares add up to"):
                like(scale * x)
    for deviations in ([1.0, 0.0], [-1.0, 1.0]):
        with pytest.raises(ValueError, match="deviations: got"):
            Gaussian(np.zeros(2), np.eye(2), np.array(deviations)).sample(5, 0)
    with pytest.raises(ValueError, match="x: contains NaN"):
        white(np.array([[np.nan, 1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"x: got shape \(10, 2\), expected \(any, 3\)"):
        white(x).log_density(x[:, :2])
