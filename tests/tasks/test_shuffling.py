"""Data against shuffled data: what is shuffled, what the best logit is, and how far its mean is the information."""

import itertools
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
from minissl.nn.optimizers import lbfgs
from minissl.nn.training import objective
from minissl.tasks.shuffling import against_shuffled, shuffle_patches, shuffle_variables

cupy = device()
seeds = st.integers(0, 2**32 - 1)
grids = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


def correlated(N, n, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, size=n)  # far from singular
    return (rng.standard_normal((N, n)) @ A.T + rng.standard_normal(n)).astype(dtype)


def fitted(features, pair):
    """The best logit that is linear in the features."""
    input, target = pair
    net = MLP((features(input).shape[1], 1), rng=0, dtype="float64")
    found = lbfgs(objective(net, (features(input), target), sigmoid_cross_entropy), net.theta)
    return lambda x: net.at(found.theta)(features(x))[:, 0]


SHAPE = (2, 3, 2)  # of three dependent discrete variables, 12 cells
CELLS = list(itertools.product(*map(range, SHAPE)))


def independent(p_d):
    """The product of the marginals of p_d, both of shape (12,)."""
    p_d = p_d.reshape(SHAPE)
    marginals = (p_d.sum(axis=tuple({0, 1, 2} - {j}), keepdims=True) for j in range(3))
    return math.prod(marginals).ravel()


def random_cells(seed):
    """p_d and p_n of the 12 cells."""
    p_d = np.random.default_rng(seed).dirichlet(np.ones(12)) + 1e-3
    return p_d / p_d.sum(), independent(p_d / p_d.sum())


def arrays(batch):
    return batch if isinstance(batch, tuple) else (batch,)


# --- shuffled variables -----------------------------------------------------------------------------------------------


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


@pytest.mark.equation("shuffling.1")
def test_each_variable_has_a_random_permutation_of_its_own():
    """Of three samples of two variables, each of the 6 × 6 pairs of permutations comes up with frequency 1/36."""
    x = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
    rng, draws = np.random.default_rng(0), 7200
    orders, counts = np.unique([shuffle_variables(x, rng).T.ravel() for _ in range(draws)], axis=0, return_counts=True)
    every = list(itertools.permutations(range(3)))
    expected = [(*first, *(10 + k for k in second)) for first in every for second in every]
    assert [tuple(order) for order in orders] == expected
    assert counts == pytest.approx(np.full(36, draws / 36), abs=5 * math.sqrt(draws / 36))


def test_shuffled_variables_are_independent():
    N = 20_000
    x = np.random.default_rng(0).standard_normal((N, 1)) * np.ones(3) + 0.1 * np.arange(3)
    R = np.corrcoef(shuffle_variables(x, 1).T)
    np.testing.assert_allclose(R, np.eye(3), atol=5 / N**0.5)


@pytest.mark.equation("shuffling.2")
def test_the_logit_of_discrete_variables_and_its_mean():
    """The fitted logits of 12 cells equal ln p_d − Σⱼ ln pⱼ, whose mean equals Σⱼ H(xⱼ) − H(x), entropies by loops."""
    N, rng = 40_000, np.random.default_rng(0)
    p_d = np.array([9, 1, 2, 6, 3, 1, 1, 8, 4, 2, 2, 9]) / 48
    x = np.array(CELLS, dtype=float)[rng.choice(12, N, p=p_d)]
    y = fitted(lambda x: np.eye(12)[(x @ [6, 2, 1]).astype(int)], against_shuffled()(x, rng))(np.array(CELLS, float))
    p = dict(zip(CELLS, p_d, strict=True))
    marginals = [[sum(p[cell] for cell in CELLS if cell[j] == v) for v in range(SHAPE[j])] for j in range(3)]
    expected = [math.log(p[cell]) - sum(math.log(marginals[j][cell[j]]) for j in range(3)) for cell in CELLS]
    # a log-ratio of two counts, the second one less random than that of independent draws
    np.testing.assert_array_less(np.abs(y - expected), 5 * np.sqrt(1 / (N * p_d) + 1 / (N * independent(p_d))))
    entropies = [-sum(q * math.log(q) for q in marginal) for marginal in (*marginals, p_d)]
    assert p_d @ expected == pytest.approx(sum(entropies[:3]) - entropies[3], abs=1e-12)


@pytest.mark.equation("shuffling.2", "shuffling.3")
def test_the_mean_logit_is_the_mutual_information():
    """For Gaussian variables the fitted logit, of degree two, equals the log-ratio, and its mean −½ ln det R."""
    N, n = 50_000, 3
    R = np.array([[1, 0.6, 0.3], [0.6, 1, -0.2], [0.3, -0.2, 1]])
    scale, m = np.array([1.0, 2.0, 0.5]), np.array([0.0, 1.0, -1.0])
    C = R * np.outer(scale, scale)
    rng = np.random.default_rng(0)
    rows, columns = np.triu_indices(n)

    def quadratic(x):
        z = (x - m) / scale
        return np.column_stack([z, z[:, rows] * z[:, columns]])

    y = fitted(quadratic, against_shuffled()(rng.multivariate_normal(m, C, N), rng))
    fresh = rng.multivariate_normal(m, C, N)
    logit = y(fresh)
    exact = multivariate_normal(m, C).logpdf(fresh) - multivariate_normal(m, np.diag(np.diag(C))).logpdf(fresh)
    information = -0.5 * math.log(np.linalg.det(R))
    assert exact.mean() == pytest.approx(information, abs=5 * exact.std() / N**0.5)
    assert logit.mean() == pytest.approx(information, abs=0.02)
    assert np.sqrt(np.mean((logit - exact) ** 2)) < 5 * np.sqrt(4 * 10 / N)


@pytest.mark.equation("shuffling.3")
@given(seed=seeds, n=st.integers(2, 4))
def test_the_information_of_gaussian_variables(seed, n):
    """The mean of SciPy's ln p_d − Σⱼ ln pⱼ by a quadrature that is exact for degree two equals −½ ln det R."""
    A = np.random.default_rng(seed).standard_normal((n, n)) + np.eye(n)
    C = A @ A.T + 0.1 * np.eye(n)
    nodes = math.sqrt(n) * np.concatenate([np.eye(n), -np.eye(n)])  # their mean is 0, the mean of their squares I
    x = nodes @ np.linalg.cholesky(C).T
    y = multivariate_normal(cov=C).logpdf(x) - multivariate_normal(cov=np.diag(np.diag(C))).logpdf(x)
    d = np.sqrt(np.diag(C))
    assert y.mean() == pytest.approx(-0.5 * np.linalg.slogdet(C / np.outer(d, d))[1], rel=1e-8, abs=1e-10)


# --- shuffled patches -------------------------------------------------------------------------------------------------


def naive_patches(image, grid, a, b):
    """The patches of one image as tuples, with loops."""
    return [
        tuple(image[i * a + u, j * b + v] for u in range(a) for v in range(b))
        for i in range(grid[0])
        for j in range(grid[1])
    ]


@pytest.mark.equation("shuffling.4")
@given(seed=seeds, grid=grids, size=sizes)
def test_shuffled_patches_are_the_same_patches(seed, grid, size):
    """Cut with loops, the patches of an image and of its shuffled image are the same, each once, whatever the grid."""
    shape = grid[0] * size[0], grid[1] * size[1]
    x = np.random.default_rng(seed).permutation(3 * math.prod(shape)).reshape(3, -1).astype(float)
    before = x.copy()
    shuffled = shuffle_patches(shape, grid)(x, seed)
    assert np.array_equal(x, before)
    for image, other in zip(x, shuffled, strict=True):
        q, p = (naive_patches(i.reshape(shape), grid, *size) for i in (image, other))
        assert sorted(q) == sorted(p)


@pytest.mark.equation("shuffling.4")
def test_every_order_is_equally_likely_and_each_image_has_its_own():
    """Of 24,000 equal images of four patches, each of the 24 orders is given to 1,000, within five deviations."""
    N = 24_000
    shuffled = shuffle_patches((2, 2), (2, 2))(np.tile(np.arange(4.0), (N, 1)), 0)
    orders, counts = np.unique(shuffled, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts == pytest.approx(np.full(24, N / 24), abs=5 * math.sqrt(N / 24))


@pytest.mark.equation("shuffling.5")
def test_the_optimal_logit_against_shuffled_patches():
    """The fitted logits of all images of three binary patches equal ln p_d less the log-mean of p_d over the orders."""
    N = 40_000
    p = np.array([5, 1, 2, 9, 1, 3, 6, 3]) / 30
    codes = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    rng = np.random.default_rng(0)
    x = codes[rng.choice(8, N, p=p)]
    pair = against_shuffled(shuffle_patches((1, 3), (1, 3)))(x, rng)
    y = fitted(lambda x: np.eye(8)[(x @ [4, 2, 1]).astype(int)], pair)(codes)
    density = dict(zip(map(tuple, codes), p, strict=True))
    p_n = np.array([np.mean([density[tuple(c[list(pi)])] for pi in itertools.permutations(range(3))]) for c in codes])
    expected = np.log(p) - np.log(p_n)
    assert (expected <= math.log(6)).all()
    # a log-ratio of two counts has variance 1/(N p) + 1/(N p_n) at most
    np.testing.assert_array_less(np.abs(y - expected), 5 * np.sqrt(1 / (N * p) + 1 / (N * p_n)))


# --- how far to trust the mean logit ----------------------------------------------------------------------------------


@pytest.mark.equation("shuffling.6")
@given(seed=seeds, scale=st.floats(0.01, 10))
def test_every_logit_gives_a_lower_bound(seed, scale):
    """E_d y − ln E_n eʸ of a random y on 12 cells equals I less the divergence, is at most I, and is I for y* + c."""
    p_d, p_n = random_cells(seed)
    best = np.log(p_d / p_n)
    information = p_d @ best
    y = best + scale * np.random.default_rng(seed).standard_normal(12)
    bound = p_d @ y - math.log(p_n @ np.exp(y))
    p_y = p_n * np.exp(y) / (p_n @ np.exp(y))
    assert bound == pytest.approx(information - p_d @ np.log(p_d / p_y), abs=1e-10)
    assert bound < information
    assert p_d @ (best + 3) - math.log(p_n @ np.exp(best + 3)) == pytest.approx(information, abs=1e-10)
    for c in (-1, 1):  # no bound from either side: the mean logit itself
        assert p_d @ (best + c) == pytest.approx(information + c)


@pytest.mark.equation("shuffling.7")
@given(seed=seeds, h=st.floats(1e-3, 1e-2))
def test_what_an_error_of_the_logit_costs(seed, h):
    """J(y* + hδ) − J(y*) less ¼ h² E_d[sigmoid(−y*) δ²] is within h³/6 times the largest third derivative of J."""
    p_d, p_n = random_cells(seed)
    best, delta = np.log(p_d / p_n), np.random.default_rng(seed).standard_normal(12)
    target, weight = np.repeat([1.0, 0.0], 12)[:, None], 12 * np.concatenate([p_d, p_n])[:, None]

    def J(y):  # weights that sum to 24, the number of rows: half a mean over the data, half over the noise
        return sigmoid_cross_entropy(np.tile(y, 2)[:, None], target, weight)[0]

    cost = p_d @ (sigmoid(-best) * (h * delta) ** 2) / 4
    third = (p_d + p_n) / 2 @ np.abs(h * delta) ** 3 / (6 * math.sqrt(3))  # |sigmoid″| ≤ 1/(6 √3)
    assert abs(J(best + h * delta) - J(best) - cost) <= third / 6 + 1e-14
    assert third / 6 < cost
    assert sigmoid(np.array(0.0)) / sigmoid(np.array(-10.0)) == pytest.approx(11_000, rel=0.01)


@given(seed=seeds, rho=st.floats(0, 0.6))
def test_the_mean_of_the_exponential_has_a_variance_that_grows_with_the_information(seed, rho):
    """E_n e^(2y*) − 1 ≥ e^I − 1 on 12 cells; for two Gaussian variables it is 1/(1 − ρ²) − 1 = e^(2I) − 1."""
    p_d, p_n = random_cells(seed)
    best = np.log(p_d / p_n)
    assert p_n @ np.exp(best) == pytest.approx(1)
    assert p_n @ np.exp(2 * best) == pytest.approx(p_d @ np.exp(best))
    assert p_n @ np.exp(2 * best) >= math.exp(p_d @ best)
    grid = np.linspace(-12, 12, 481)
    x = np.stack(np.meshgrid(grid, grid), axis=-1)
    p_d, p_n = (multivariate_normal(cov=[[1, r], [r, 1]]).pdf(x) for r in (rho, 0))
    assert (p_d**2 / p_n).sum() * 0.05**2 == pytest.approx(1 / (1 - rho**2), rel=1e-6)


@pytest.mark.equation("shuffling.8")
@pytest.mark.parametrize(("N", "n"), [(2, 2), (3, 2), (2, 3), (3, 3)])
def test_from_small_batches_little_can_be_learned(N, n):
    """Equal variables, so that I = ln 4 (n − 1): the shuffled rows that equal a row of the data are
    p_d/Nⁿ⁻¹ or more, so that ln p_d − ln p_n is at most (n − 1) ln N."""
    rng, batches = np.random.default_rng(0), 10_000
    values = rng.integers(4, size=(batches, N, 1)) * np.ones(n)
    rows = np.concatenate([shuffle_variables(x, rng) for x in values])
    p_n = (rows == rows[:, :1]).all(axis=1).mean()  # of the rows (v, …, v), which are all that the data have
    if n == 2:  # both from one sample, or from two and equal by chance
        exact = 1 / N + (1 - 1 / N) / 4
    else:  # from one, two or three different samples
        exact = 1 / N**2 + 3 * (N - 1) / N**2 / 4 + (N - 1) * (N - 2) / N**2 / 16
    assert p_n == pytest.approx(exact, abs=5 * math.sqrt(N * exact * (1 - exact) / len(rows)))
    assert -math.log(exact) <= (n - 1) * math.log(N)


# --- copies, dtypes, devices, bad input -------------------------------------------------------------------------------

TASKS = [against_shuffled(), against_shuffled(shuffle_patches((2, 6), (2, 3))), shuffle_patches((2, 6), (1, 2))]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("task", TASKS)
def test_an_unpickled_task_gives_the_same_batch(task, protocol):
    x = correlated(5, 12, 0)
    again = pickle.loads(pickle.dumps(task, protocol))
    for a, b in zip(arrays(task(x, 1)), arrays(again(x, 1)), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS)
def test_dtype_is_kept_and_the_device_gives_the_same(task, dtype):
    x = correlated(5, 12, 0, dtype)
    here, there = task(x, np.random.default_rng(1)), task(cupy.asarray(x), np.random.default_rng(1))
    for a, b in zip(arrays(here), arrays(there), strict=True):
        assert isinstance(b, cupy.ndarray) and a.dtype == b.dtype == dtype
        assert np.array_equal(cupy.asnumpy(b), a)


def test_a_shuffling_of_ones_own_gets_a_generator():
    x = correlated(10, 3, 0)
    task = against_shuffled(lambda x, rng: rng.permutation(x))
    assert np.array_equal(task(x, 7)[0][10:], np.random.default_rng(7).permutation(x))
    with pytest.raises(ValueError, match=r"x: got shape \(3,\)"):
        task(x[0], 7)
    with pytest.raises(ValueError, match=r"shuffle: got shape \(9, 3\), expected \(10, 3\)"):
        against_shuffled(lambda x, rng: x[1:])(x, 7)
    with pytest.raises(TypeError, match="shuffle: got NoneType"):
        against_shuffled(None)


def test_shape_and_grid_may_be_arrays():
    x = correlated(5, 12, 0)
    shuffled = shuffle_patches(np.array([2, 6]), np.array([2, 3]))(x, 1)
    assert np.array_equal(shuffled, shuffle_patches((2, 6), (2, 3))(x, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: shuffle_patches((5, 4), (2, 2)),
            "grid: got 2 x 2 patches with gaps of 0, expected to fill 5 x 4 pixels equally",
        ),
        (lambda: shuffle_patches((2, 2), (3, 1)), "grid: got 3 x 1 patches"),
        (lambda: shuffle_patches((4, 4), (2, 2))(np.ones((3, 15)), 0), r"x: got shape \(3, 15\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
