"""Data against noise: what the task gives to the classifier, what the best logit is, and the Gaussian noise."""

import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from minissl.nn.losses import sigmoid, sigmoid_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam, lbfgs
from minissl.nn.training import objective, train
from minissl.tasks.noise import Gaussian, against_noise, fit_gaussian, isotropic_gaussian

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
    A = np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, size=n)  # far from singular
    return (rng.standard_normal((N, n)) @ A.T + rng.standard_normal(n)).astype(dtype)


# --- data against noise ---------------------------------------------------------------------------------------------


def test_the_pair_worked_by_hand():
    noise = Fixed([[5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]])
    input, target = against_noise(noise, nu=2)(np.array([[1.0, 2.0], [3.0, 4.0]]), np.random.default_rng(0))
    assert input.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert target.tolist() == [[1], [1], [0], [0], [0], [0]]
    *_, weight = against_noise(noise, nu=2, balanced=True)(np.array([[1.0, 2.0], [3.0, 4.0]]), np.random.default_rng(0))
    assert weight.tolist() == [[1], [1], [0.5], [0.5], [0.5], [0.5]]


@pytest.mark.equation("noise.1")
@given(seed=seeds, N=st.integers(1, 4), nu=st.integers(1, 3), balanced=st.booleans())
def test_the_loss_is_the_equation(seed, N, nu, balanced):
    """The loss of the task's batch equals [noise.1] summed point by point, for a network whose logit is written out."""
    x, e = correlated(N, 5, seed), correlated(nu * N, 5, seed + 1)
    net = MLP((5, 1), rng=seed, dtype="float64")
    pair = against_noise(Fixed(e), nu, balanced)(x, np.random.default_rng(0))
    w = 1 / nu if balanced else 1

    def y(row):
        return sum(row[k] * net.weights[0][k, 0] for k in range(5)) + net.biases[0][0]

    total = sum(math.log(1 + math.exp(-y(row))) for row in x) + w * sum(math.log(1 + math.exp(y(row))) for row in e)
    J, _ = objective(net, pair, sigmoid_cross_entropy)(net.theta)
    assert J == pytest.approx(total / (N * (1 + nu)), rel=1e-10)


POINTS = np.eye(5)
DATA, NOISE = np.array([1, 2, 4, 3, 2]), np.array([3, 1, 2, 2, 4])  # how often each of the five points occurs


@pytest.mark.equation("noise.2")
@pytest.mark.parametrize(("nu", "balanced"), [(1, False), (3, False), (1, True), (3, True)])
def test_the_optimal_logit_is_the_log_ratio_of_densities(nu, balanced):
    """The fitted logits of five points equal ln p_d − ln p_n − ln(wν), exactly: frequencies are the densities."""
    p_d, p_n = DATA / 12, NOISE / 12
    x, e = np.repeat(POINTS, DATA, axis=0), np.repeat(POINTS, NOISE, axis=0)
    pair = against_noise(Fixed(e), nu, balanced)(x, np.random.default_rng(0))
    net = MLP((5, 1), rng=0, dtype="float64")
    found = lbfgs(objective(net, pair, sigmoid_cross_entropy), net.theta, tolerance=1e-9)
    y = net.at(found.theta)(POINTS)[:, 0]
    assert y == pytest.approx(np.log(p_d) - np.log(p_n) - (0 if balanced else math.log(nu)), abs=1e-6)
    w = 1 / nu if balanced else 1
    assert p_d * (1 - sigmoid(y)) == pytest.approx(w * nu * p_n * sigmoid(y), abs=1e-7)


@pytest.mark.equation("noise.2")
@pytest.mark.parametrize(
    ("data", "noise", "sign"), [(DATA, [4, 2, 0, 2, 4], 1), ([3, 2, 0, 4, 3], NOISE, -1)], ids=["p_n = 0", "p_d = 0"]
)
def test_where_one_density_is_zero_there_is_no_best_logit(data, noise, sign):
    """At a point without noise (data), ∂J/∂y is −½ p_d sigmoid(−y) (½ p_n sigmoid(y)), never 0, and J falls on."""
    x, e = np.repeat(POINTS, data, axis=0), np.repeat(POINTS, noise, axis=0)
    input, target = against_noise(Fixed(e))(x, np.random.default_rng(0))
    there = input[:, 2] == 1
    p = there.sum() / 12  # of the data or the noise, whichever falls there
    values = []
    for y in sign * np.array([-5, 0, 5, 20]):
        J, delta = sigmoid_cross_entropy(np.where(there, y, 0.3)[:, None], target)
        assert delta[there].sum() == pytest.approx(-sign * p * sigmoid(-abs(y) if sign * y > 0 else abs(y)) / 2)
        values.append(J)
    assert (np.diff(values) < 0).all()


@pytest.mark.equation("noise.2")
@pytest.mark.parametrize("balanced", [False, True])
def test_a_gaussian_density_is_recovered_with_its_normaliser(balanced):
    """The fitted y + ln p_n + ln(wν), a polynomial of degree two, equals ln p_d of Gaussian data, with no shift."""
    nu, N = 4, 40_000
    rng = np.random.default_rng(0)
    C, m = np.array([[1.0, 0.6], [0.6, 0.8]]), np.array([0.5, -0.3])
    x = rng.multivariate_normal(m, C, N)
    noise = isotropic_gaussian(x)
    input, *rest = against_noise(noise, nu, balanced)(x, rng)

    def quadratic(x):
        return np.column_stack([x, x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2])

    net = MLP((5, 1), rng=0, dtype="float64")
    found = lbfgs(objective(net, (quadratic(input), *rest), sigmoid_cross_entropy), net.theta)
    at = rng.multivariate_normal(m, C, 2000)
    ln_p_d = net.at(found.theta)(quadratic(at))[:, 0] + noise.log_density(at) + (0 if balanced else math.log(nu))
    error = ln_p_d - multivariate_normal(m, C).logpdf(at)
    # six parameters from N points: mean square error about (1 + 1/nu) 6/N or more, far below (ln nu)^2
    assert np.sqrt(np.mean(error**2)) < 5 * np.sqrt(2 * 6 / N)


# --- Gaussian noise ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("noise.3")
@given(seed=seeds, n=st.integers(1, 4))
def test_log_density_against_scipy(seed, n):
    """log_density equals SciPy's multivariate normal with the covariance U diag(σ²) Uᵀ."""
    x = correlated(30, n, seed)
    for noise in (fit_gaussian(x), isotropic_gaussian(x)):
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
    like, flat = fit_gaussian(x), isotropic_gaussian(x)
    assert like.mean == pytest.approx(x.mean(axis=0))
    C = like.axes @ np.diag(like.deviations**2) @ like.axes.T
    np.testing.assert_allclose(C, np.cov(x.T, ddof=0).reshape(n, n), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(like.axes.T @ like.axes, np.eye(n), atol=1e-10)
    assert flat.mean == pytest.approx(x.mean(axis=0))
    assert flat.deviations**2 == pytest.approx(np.full(n, x.var(axis=0).mean()))
    assert np.array_equal(flat.axes, np.eye(n))


@pytest.mark.equation("noise.3")
def test_samples_have_the_mean_and_covariance_that_the_density_has():
    """Samples are μ + U(σ ⊙ z) of the generator's z, and standardised by μ, U and σ they have mean 0, covariance I."""
    N = 100_000
    for noise in (fit_gaussian(correlated(50, 3, 1)), isotropic_gaussian(correlated(50, 3, 2))):
        e = noise.sample(N, 3)
        drawn = np.random.default_rng(3).standard_normal((N, 3))
        assert np.array_equal(e, noise.mean + (drawn * noise.deviations) @ noise.axes.T)
        z = (e - noise.mean) @ noise.axes / noise.deviations
        assert z.mean(axis=0) == pytest.approx(np.zeros(3), abs=5 / N**0.5)
        np.testing.assert_allclose(z.T @ z / N, np.eye(3), atol=5 * (2 / N) ** 0.5)


@pytest.mark.parametrize(("dtype", "thin"), [("float32", 1e-6), ("float64", 2e-7)])
def test_a_direction_counts_if_its_variance_exceeds_rounding(dtype, thin):
    """Three variances, 1, 4 and thin², in a space of six dimensions turned at random: three directions are kept.

    Rounding brings about ε² E‖x‖² = 7e-14 in float32, and n ε λ₁ = 5e-15 in float64: the thin one has about ten times
    as much. In float32 the other three have less, but about eight thousandths of it, from the rounding of x.
    """
    turn = np.linalg.qr(correlated(6, 6, 7))[0][:3]
    z = np.random.default_rng(6).standard_normal((500, 3)) * [1, thin, 2]
    x = (z @ turn).astype(dtype)
    exact = np.linalg.svd(x - x.mean(axis=0, dtype=float), compute_uv=False)[:3] / 500**0.5
    noise = fit_gaussian(x)
    assert noise.axes.shape == (6, 3)
    assert exact[2] == pytest.approx(thin, rel=0.2)
    np.testing.assert_allclose(noise.deviations, exact[::-1], rtol=0.1)  # of a variance ten times its rounding
    along = np.linalg.svd(turn @ noise.axes, compute_uv=False)
    np.testing.assert_allclose(along, np.ones(3), rtol=1e-2)


def test_the_rounding_of_a_large_mean_is_no_variance():
    """float32 numbers near 10,000 are 0.001 apart: in the two directions without variance they still vary by that."""
    turn = np.linalg.qr(correlated(4, 4, 7))[0][:2]
    x = (np.random.default_rng(6).standard_normal((500, 2)) @ turn + 1e4).astype("float32")
    assert np.linalg.svd(x - x.mean(axis=0, dtype=float), compute_uv=False)[3] > 1e-4 * 500**0.5
    assert fit_gaussian(x).axes.shape == (4, 2)


def test_data_far_from_zero():
    """The mean is a billion deviations away: its square must not enter the covariance."""
    x = 1e6 + 1e-3 * correlated(300, 3, 8)
    exact = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) / 300**0.5
    np.testing.assert_allclose(fit_gaussian(x).deviations, exact[::-1], rtol=1e-10)
    assert isotropic_gaussian(x).deviations ** 2 == pytest.approx(np.full(3, (exact**2).mean()), rel=1e-10)


def test_a_thin_direction_of_float32_data_is_kept():
    """Its variance is 1e-8 of the others', below float32's rounding of those, yet the data do vary along it."""
    turn = np.linalg.qr(correlated(3, 3, 7))[0]
    x = (np.random.default_rng(6).standard_normal((500, 3)) @ np.diag([1, 1e-4, 2]) @ turn).astype("float32")
    found, exact = fit_gaussian(x).deviations, np.linalg.svd(x - x.mean(axis=0, dtype=float))[1] / 500**0.5
    np.testing.assert_allclose(found, exact[::-1], rtol=1e-5)


def test_a_sample_at_the_mean_is_no_lack_of_variance():
    assert fit_gaussian([[-1.0], [0.0], [1.0]]).deviations == pytest.approx([(2 / 3) ** 0.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_data_have_noise_on_their_plane(dtype):
    """Windows without their mean: the noise has none either, and its density is that within the plane."""
    x = correlated(200, 4, 5, dtype)
    x = x - x.mean(axis=1, keepdims=True)
    noise = fit_gaussian(x)
    assert noise.axes.shape == (4, 3)
    e = noise.sample(50, 0)
    assert e.dtype == dtype
    assert np.abs(e.mean(axis=1)).max() < 1e-5
    B = np.linalg.qr(np.column_stack([np.ones(4), np.eye(4)[:, :3]]))[0][:, 1:]  # a basis of the plane
    within = (x @ B).astype("float64")
    expected = multivariate_normal(within.mean(axis=0), np.cov(within.T, ddof=0)).logpdf(within)
    np.testing.assert_allclose(noise.log_density(x), expected, rtol=1e-3 if dtype == "float32" else 1e-9)
    off = np.full(4, 0.5, dtype)  # orthogonal to the plane: ignored
    np.testing.assert_allclose(noise.log_density(x + off), noise.log_density(x), rtol=1e-3)


# --- training, copies, dtypes, devices, bad input -------------------------------------------------------------------


def test_training_separates_and_is_repeatable():
    x = np.random.default_rng(0).laplace(size=(300, 2)).astype("float32")
    task, thetas = against_noise(fit_gaussian(x), 2, balanced=True), []
    for _ in range(2):
        net = MLP((2, 8, 1), rng=1)
        losses = np.array(train(net, x, task, sigmoid_cross_entropy, epochs=100, optimizer=Adam(0.01), rng=2))
        thetas.append(net.theta.copy())
        late, chance = losses[-20:], 2 * np.log(2) / 3  # y = 0; every epoch has its own noise
        assert chance - late.mean() > 5 * late.std() / 20**0.5
    assert thetas[0].tobytes() == thetas[1].tobytes()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("balanced", [False, True])
def test_an_unpickled_task_gives_the_same_batch(protocol, balanced):
    x = correlated(7, 3, 0)
    for noise in (fit_gaussian(x), isotropic_gaussian(x)):
        task = against_noise(noise, 2, balanced)
        again = pickle.loads(pickle.dumps(task, protocol))
        for a, b in zip(task(x, 1), again(x, 1), strict=True):
            assert a.tobytes() == b.tobytes()


def test_the_same_pairs_on_the_device():
    x = correlated(7, 3, 0)
    for task_of in (
        lambda x: against_noise(fit_gaussian(x), 2, True),
        lambda x: against_noise(isotropic_gaussian(x)),
    ):
        here = task_of(x)(x, np.random.default_rng(1))
        there = task_of(cupy.asarray(x))(cupy.asarray(x), np.random.default_rng(1))
        for a, b in zip(here, there, strict=True):
            assert isinstance(b, cupy.ndarray)
            np.testing.assert_allclose(cupy.asnumpy(b), a, rtol=1e-9)
    noise = fit_gaussian(cupy.asarray(x))
    np.testing.assert_allclose(cupy.asnumpy(noise.log_density(cupy.asarray(x))), fit_gaussian(x).log_density(x))


def test_noise_of_ones_own_gets_a_generator():
    class Own:
        def sample(self, N, rng):
            return rng.laplace(size=(N, 3))

    x = correlated(10, 3, 0)
    e = against_noise(Own())(x, 7)[0][10:]
    assert np.array_equal(e, np.random.default_rng(7).laplace(size=(10, 3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    x = correlated(20, 3, 0, dtype)
    parts = [*fit_gaussian(x), *isotropic_gaussian(x)]
    parts += [fit_gaussian(x).log_density(x), isotropic_gaussian(x).log_density(x)]
    parts += [*against_noise(isotropic_gaussian(x), 2, True)(x, np.random.default_rng(0))]
    assert {p.dtype for p in parts} == {np.dtype(dtype)}


@pytest.mark.parametrize(("dtype", "tiny"), [("float32", 1e-30), ("float64", 1e-200)])
def test_harmless_underflow_is_no_error(dtype, tiny):
    """A variable whose squares underflow, with every floating-point error raised."""
    x = correlated(20, 3, 0, dtype) * np.array([1, tiny, 1], dtype)
    with np.errstate(all="raise"):
        for noise in (fit_gaussian(x), isotropic_gaussian(x)):
            assert np.isfinite(noise.log_density(x)).all()
            assert np.isfinite(against_noise(noise)(x, 0)[0]).all()
        z = Gaussian(np.zeros(1, dtype), np.eye(1, dtype=dtype), np.ones(1, dtype))
        assert z.log_density(np.full((1, 1), tiny, dtype)) == pytest.approx(-0.5 * math.log(2 * math.pi))


def test_bad_input_is_named():
    x = correlated(10, 3, 0)
    with pytest.raises(ValueError, match="nu: got 0"):
        against_noise(isotropic_gaussian(x), nu=0)
    with pytest.raises(TypeError, match="nu: got 1.5"):
        against_noise(isotropic_gaussian(x), nu=1.5)
    with pytest.raises(TypeError, match="noise: got int"):
        against_noise(1)
    with pytest.raises(TypeError, match="noise: got type"):
        against_noise(Gaussian)
    with pytest.raises(ValueError, match=r"noise: got shape \(10, 3\), expected \(10, 2\)"):
        against_noise(isotropic_gaussian(x))(x[:, :2], np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"noise: got shape \(10, 3\), expected \(20, 3\)"):
        against_noise(type("Few", (), {"sample": lambda self, N, rng: x})(), nu=2)(x, np.random.default_rng(0))
    with pytest.raises(ValueError, match="x: all 5 samples are the same"):
        fit_gaussian(np.ones((5, 2)))
    for fit in (fit_gaussian, isotropic_gaussian):
        for scale in (1e-200, 1e200):
            with pytest.raises(ValueError, match="x: the squares add up to"):
                fit(scale * x)
    for deviations in ([1.0, 0.0], [-1.0, 1.0]):
        with pytest.raises(ValueError, match="deviations: got"):
            Gaussian(np.zeros(2), np.eye(2), np.array(deviations)).sample(5, 0)
    with pytest.raises(ValueError, match="axes: got columns"):
        Gaussian(np.zeros(2), np.array([[1.0, 0.0], [0.5, 1.0]]), np.ones(2)).log_density(x[:, :2])
    with pytest.raises(ValueError, match="x: contains NaN"):
        isotropic_gaussian(np.array([[np.nan, 1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"x: got shape \(10, 2\), expected \(any, 3\)"):
        isotropic_gaussian(x).log_density(x[:, :2])
