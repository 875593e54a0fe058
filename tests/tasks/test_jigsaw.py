"""The jigsaw: what is shown, what the best classifier and its loss are, permutations far apart, chance stays chance."""

import itertools
import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs
from minissl.nn.training import objective, train
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations, normalise

cupy = device()
seeds = st.integers(0, 2**32 - 1)
grids = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


def naive_patches(image, grid, a, b, gap):
    """The patches of one image, with loops."""
    cut = []
    for i in range(grid[0]):
        for j in range(grid[1]):
            top, left = i * (a + gap), j * (b + gap)
            cut.append([[image[top + u, left + v] for v in range(b)] for u in range(a)])
    return np.array(cut)


def naive_image(patches, grid):
    return np.block([[patches[i * grid[1] + j] for j in range(grid[1])] for i in range(grid[0])])


def images(N, grid, size, gap, seed):
    """Images of distinct pixels, and their shape."""
    h, w = (r * a + (r - 1) * gap for r, a in zip(grid, size, strict=True))
    return np.random.default_rng(seed).permutation(N * h * w).reshape(N, h * w).astype(float), (h, w)


@pytest.mark.equation("jigsaw.1")
@pytest.mark.parametrize("gap", [0, 1, 2])
@given(seed=seeds, grid=grids, size=sizes, K=st.integers(1, 4))
def test_the_jigsaw_is_the_equation(gap, seed, grid, size, K):
    """The input equals the patches cut with loops, place k showing patch π_c(k), put together without the gaps."""
    P = grid[0] * grid[1]
    x, shape = images(3, grid, size, gap, seed)
    permutations = np.array([np.random.default_rng(seed + k).permutation(P) for k in range(K)])
    input, c = jigsaw(shape, grid, permutations, gap=gap, normalised=False)(x, np.random.default_rng(seed))
    assert input.shape == (3, P * size[0] * size[1])
    for image, shown, k in zip(x, input, c, strict=True):
        q = naive_patches(image.reshape(shape), grid, *size, gap)
        expected = naive_image([q[permutations[k][place]] for place in range(P)], grid)
        assert np.array_equal(shown.reshape(expected.shape), expected)


@given(seed=seeds, grid=grids, size=sizes)
def test_a_round_trip(seed, grid, size):
    """The inverse permutation puts a jigsaw together again."""
    P = grid[0] * grid[1]
    x, shape = images(2, grid, size, 0, seed)
    there = np.random.default_rng(seed).permutation(P)
    back = np.argsort(there)
    shown, _ = jigsaw(shape, grid, there[None], normalised=False)(x, np.random.default_rng(0))
    again, _ = jigsaw(shape, grid, back[None], normalised=False)(shown, np.random.default_rng(0))
    assert np.array_equal(again, x)


def test_every_class_is_equally_likely():
    N, K = 24_000, 6
    x = np.zeros((N, 12))
    _, c = jigsaw((3, 4), (1, 4), max_hamming_permutations(4, K, 0))(x, np.random.default_rng(0))
    assert np.bincount(c, minlength=K) == pytest.approx(np.full(K, N / K), abs=5 * math.sqrt(N / K))


# --- the best classifier ----------------------------------------------------------------------------------------------


ORDERS = np.array([[0, 1, 2], [1, 2, 0], [0, 2, 1], [2, 1, 0]])  # the second is not its own inverse
CODES = list(itertools.product([0.0, 1.0], repeat=3))  # all images of three binary patches of one pixel


def joint(counts):
    """p(c, u) of the images with these frequencies, as a dictionary, by loops over [jigsaw.1]."""
    p = {(c, u): 0.0 for c in range(len(ORDERS)) for u in CODES}
    for image, count in zip(CODES, counts, strict=True):
        for c, order in enumerate(ORDERS):
            p[c, tuple(image[k] for k in order)] += count / sum(counts) / len(ORDERS)
    return p


def every_puzzle(counts):
    """Each image in each order once, by the task itself, given a single order at a time."""
    x = np.repeat(np.array(CODES), counts, axis=0)
    puzzles = [jigsaw((1, 3), (1, 3), order[None], normalised=False)(x, 0)[0] for order in ORDERS]
    return np.concatenate(puzzles), np.repeat(np.arange(len(ORDERS)), len(x))


def fitted(counts):
    """The least loss with free logits for each of the eight puzzles, and P(c | u) there, shape (8, 4)."""
    input, c = every_puzzle(counts)
    net = MLP((8, len(ORDERS)), rng=0, dtype="float64")
    pair = np.eye(8)[(input @ [4, 2, 1]).astype(int)], c
    best = lbfgs(objective(net, pair, softmax_cross_entropy), net.theta, warn=False)  # rounding may end it early
    assert best.gradient_norm < 1e-7
    P = np.exp(net.at(best.theta)(np.eye(8)))
    return best.value, P / P.sum(axis=1, keepdims=True)


COUNTS = [5, 1, 2, 9, 1, 3, 6, 3]


@pytest.mark.equation("jigsaw.2")
def test_the_best_classifier_compares_the_image_in_each_order():
    """The fitted P(c | u) of all images of three binary patches equals p_d(π_c⁻¹u)/Σⱼ p_d(πⱼ⁻¹u), exactly."""
    p_d = dict(zip(CODES, np.array(COUNTS) / 30, strict=True))

    def put_back(u, order):  # π⁻¹u: the patch shown in place k goes to place π(k)
        image = [None] * 3
        for k in range(3):
            image[order[k]] = u[k]
        return tuple(image)

    _, P = fitted(COUNTS)
    for u, found in zip(CODES, P, strict=True):
        plausible = np.array([p_d[put_back(u, order)] for order in ORDERS])
        assert found == pytest.approx(plausible / plausible.sum(), abs=1e-6)


@pytest.mark.equation("jigsaw.3")
@given(counts=st.lists(st.integers(1, 9), min_size=8, max_size=8))
def test_the_least_loss_is_the_chance_less_the_information(counts):
    """The fitted least loss equals ln K − I(c; u), with I by loops over the joint probabilities of c and u."""
    p = joint(counts)
    of_u = {u: sum(p[c, u] for c in range(4)) for u in CODES}
    information = sum(q * math.log(q / (of_u[u] / 4)) for (c, u), q in p.items())
    assert fitted(counts)[0] == pytest.approx(math.log(4) - information, abs=1e-9)


@pytest.mark.equation("jigsaw.3")
def test_the_least_loss_of_exchangeable_patches_and_of_patches_that_are_never_confused():
    """It equals ln 4 where p_d depends on the number of ones alone; with numbered patches each order has its own u."""
    assert fitted([1, 3, 3, 2, 3, 2, 2, 5])[0] == pytest.approx(math.log(4), abs=1e-9)
    numbered = jigsaw((1, 3), (1, 3), ORDERS, normalised=False)(np.tile([1.0, 2.0, 3.0], (50, 1)), 0)
    answers = {tuple(u): c for u, c in zip(*numbered, strict=True)}
    assert all(answers[tuple(u)] == c for u, c in zip(*numbered, strict=True))  # H(c | u) = 0
    assert len(answers) == 4


@pytest.mark.equation("jigsaw.2", "jigsaw.3")
def test_the_best_classifier_of_gaussian_images():
    """With P(c | u) by SciPy's densities, [c = k] − P(k | u) is uncorrelated with every feature of the puzzles."""
    N, K = 40_000, 4
    A = np.array([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.2, 0.8, 0.6]])
    p_d = multivariate_normal([0.5, 0.0, -0.5], A @ A.T)
    rng = np.random.default_rng(0)
    u, c = jigsaw((1, 3), (1, 3), ORDERS, normalised=False)(p_d.rvs(N, random_state=rng), rng)
    plausible = np.stack([p_d.pdf(u[:, np.argsort(order)]) for order in ORDERS], axis=1)
    P = plausible / plausible.sum(axis=1, keepdims=True)
    rest = np.eye(K)[c] - P
    rows, columns = np.triu_indices(3)
    features = np.column_stack([np.ones(N), u, u[:, rows] * u[:, columns]])
    products = rest[:, :, None] * features[:, None]
    z = products.mean(axis=0) / (products.std(axis=0) / N**0.5)
    assert abs(z).max() < 5
    # and the loss there, by the library, is the mean entropy of P, well below chance
    loss = softmax_cross_entropy(np.log(P), c)[0]
    entropy = -(P * np.log(P)).sum(axis=1)
    deviation = (entropy + np.log(P[np.arange(N), c])).std() / N**0.5
    assert loss == pytest.approx(entropy.mean(), abs=5 * deviation)
    assert loss < math.log(4) - 0.1


# --- permutations ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("jigsaw.4")
@given(P=st.integers(2, 5), data=st.data())
def test_each_permutation_is_as_far_as_can_be_from_those_before(P, data):
    """No order left out has a larger sum of distances, counted by loops, from those chosen before than the next one."""
    every = list(itertools.permutations(range(P)))
    K = data.draw(st.integers(1, min(8, len(every))))
    chosen = [tuple(row) for row in max_hamming_permutations(P, K, data.draw(seeds))]
    assert len(set(chosen)) == K

    def distance(pi, before):
        return sum(pi[k] != other[k] for other in before for k in range(P))

    for c in range(1, K):
        best = max(distance(pi, chosen[:c]) for pi in every if pi not in chosen[:c])
        assert distance(chosen[c], chosen[:c]) == best


@pytest.mark.equation("jigsaw.4")
@given(P=st.integers(2, 6), seed=seeds)
def test_up_to_P_permutations_differ_everywhere(P, seed):
    """The first P orders have no place in common, as a Latin rectangle can always be extended (M. Hall 1945)."""
    chosen = max_hamming_permutations(P, P, seed)
    assert all(len(set(column)) == P for column in chosen.T)


def test_all_of_them_and_the_same_for_the_same_seed():
    assert sorted(map(tuple, max_hamming_permutations(4, 24, 0))) == list(itertools.permutations(range(4)))
    assert np.array_equal(max_hamming_permutations(5, 10, 3), max_hamming_permutations(5, 10, 3))
    assert not np.array_equal(max_hamming_permutations(5, 10, 3), max_hamming_permutations(5, 10, 4))


# --- normalisation, chance --------------------------------------------------------------------------------------------


@pytest.mark.equation("jigsaw.5")
@given(seed=seeds, N=st.integers(1, 3), n=st.integers(2, 6), floor=st.floats(1e-6, 10))
def test_normalisation_is_the_equation(seed, N, n, floor):
    """Each number equals (qᵢ − mean q)/√(var q + floor), mean and variance by loops."""
    x = np.random.default_rng(seed).standard_normal((N, 2, n)) * 3 + 1
    for patch, result in zip(x.reshape(-1, n), normalise(x, floor).reshape(-1, n), strict=True):
        mean = sum(patch) / n
        variance = sum((v - mean) ** 2 for v in patch) / n
        assert result == pytest.approx([(v - mean) / math.sqrt(variance + floor) for v in patch], abs=1e-12)


@pytest.mark.equation("jigsaw.5")
def test_the_default_floor_is_ten_on_the_scale_of_bytes():
    """Intensities from 0 to 1 with the default floor come out as those from 0 to 255 with a floor of 10."""
    x = np.random.default_rng(0).integers(256, size=(3, 7)).astype(float)
    np.testing.assert_allclose(normalise(x / 255), normalise(x, floor=10), rtol=1e-12)


def test_normalised_patches_keep_neither_brightness_nor_contrast():
    x, shape = images(4, (2, 3), (3, 2), 1, 0)
    permutations = max_hamming_permutations(6, 5, 0)
    plain = jigsaw(shape, (2, 3), permutations, gap=1)(x, np.random.default_rng(1))[0]
    q = naive_patches(plain[0].reshape(6, 6), (2, 3), 3, 2, 0).reshape(6, -1)
    assert q.mean(axis=1) == pytest.approx(np.zeros(6), abs=1e-12)
    assert q.var(axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    brighter = jigsaw(shape, (2, 3), permutations, gap=1)(7 * x + 3, np.random.default_rng(1))[0]
    np.testing.assert_allclose(brighter, plain, atol=1e-4)
    assert normalise(np.full((1, 4), 0.75)).tolist() == [[0, 0, 0, 0]]


def test_images_of_independent_pixels_stay_at_chance():
    """Nothing can be learned: on fresh images the accuracy is 1/24 within its standard error, the loss about ln 24."""
    task = jigsaw((4, 4), (2, 2), max_hamming_permutations(4, 24, 0))
    rng = np.random.default_rng(0)
    net = MLP((16, 32, 24), rng=1)
    train(net, rng.random((3000, 16), dtype="float32"), task, softmax_cross_entropy, epochs=5, rng=2)
    N = 10_000
    input, c = task(rng.random((N, 16), dtype="float32"), rng)
    assert (net(input).argmax(axis=1) == c).mean() == pytest.approx(1 / 24, abs=5 * math.sqrt(23 / 24**2 / N))
    loss = softmax_cross_entropy(net(input), c)[0]
    assert math.log(24) - 0.01 < loss < math.log(24) + 0.2


# --- copies, dtypes, devices, bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_the_device_gives_the_same(dtype):
    x, shape = images(5, (2, 2), (3, 2), 1, 0)
    x = x.astype(dtype)
    task = jigsaw(shape, (2, 2), max_hamming_permutations(4, 3, 0), gap=1)
    input, c = task(x, np.random.default_rng(1))
    assert input.dtype == dtype
    there, c_there = task(cupy.asarray(x), np.random.default_rng(1))
    np.testing.assert_allclose(cupy.asnumpy(there), input, rtol=1e-6)
    assert np.array_equal(cupy.asnumpy(c_there), c)
    assert isinstance(there, cupy.ndarray) and isinstance(c_there, cupy.ndarray)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("gap", "normalised"), [(0, True), (1, False)])
def test_an_unpickled_task_gives_the_same_batch(protocol, gap, normalised):
    x, shape = images(5, (2, 2), (3, 2), gap, 0)
    task = jigsaw(shape, (2, 2), max_hamming_permutations(4, 5, 0), gap, normalised)
    again = pickle.loads(pickle.dumps(task, protocol))
    for a, b in zip(task(x, 1), again(x, 1), strict=True):
        assert a.tobytes() == b.tobytes()


def test_shape_grid_and_permutations_may_be_lists_and_arrays():
    x, shape = images(5, (2, 2), (3, 2), 0, 0)
    orders = max_hamming_permutations(4, 5, 0)
    expected = jigsaw(shape, (2, 2), orders)(x, 1)
    for kind in (list, np.array, lambda a: np.array(a, dtype=np.uint8)):
        found = jigsaw(kind(shape), kind([2, 2]), orders.tolist() if kind is list else kind(orders))(x, 1)
        for a, b in zip(expected, found, strict=True):
            assert np.array_equal(a, b)
    on_device = jigsaw(shape, (2, 2), cupy.asarray(orders))(x, 1)
    assert np.array_equal(on_device[0], expected[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_harmless_underflow_is_no_error(dtype):
    """Patches as good as flat, whose variance underflows, with every floating-point error raised."""
    tiny = np.array([[0, 1e-30 if dtype == "float32" else 1e-200]], dtype)
    with np.errstate(all="raise"):
        assert normalise(tiny) == pytest.approx(0, abs=1e-20)


def test_one_order_alone_is_no_puzzle():
    x, shape = images(5, (2, 2), (3, 2), 0, 0)
    assert jigsaw(shape, (2, 2), [[3, 0, 1, 2]])(x, 0)[1].tolist() == [0] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jigsaw((6, 6), (2, 2), [[0, 1, 2, 3]], gap=1), "grid: got 2 x 2 patches with gaps of 1"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2, 2]]), "permutations: expected in each row the numbers 0 to 3"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2]]), "permutations: expected in each row"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2, 4]]), "permutations: got values from 0 to 4"),
        (lambda: jigsaw((4, 4), (2, 0), [[0]]), "grid: got 0"),
        (lambda: jigsaw((4, 5), (2, 2), [[0, 1, 2, 3]], gap=2), "grid: got 2 x 2 patches with gaps of 2"),
        (lambda: jigsaw((1, 4), (2, 2), [[0, 1, 2, 3]], gap=3), "grid: got 2 x 2 patches with gaps of 3"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2, 3]])(np.ones((3, 15)), 0), r"x: got shape \(3, 15\)"),
        (lambda: normalise(1.0), "x: got the number 1.0"),
        (lambda: max_hamming_permutations(3, 7), "K: got 7, expected at least 1, at most 6"),
        (lambda: max_hamming_permutations(10, 7), "P: got 10, expected at least 1, at most 9"),
        (lambda: normalise(np.ones(3), floor=0), "floor: got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
