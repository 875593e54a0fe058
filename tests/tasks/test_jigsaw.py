"""Patches: cutting and putting together lose nothing, permutations are far apart, chance stays chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import device

import minissl as ssl
from minissl.contrastive import against_shuffled
from minissl.patches import far_permutations, jigsaw, normalise, shuffle_patches

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


@pytest.mark.equation("patches.2")
@pytest.mark.parametrize("gap", [0, 1, 2])
@given(seed=seeds, grid=grids, size=sizes, K=st.integers(1, 4))
def test_the_jigsaw_is_the_equation(gap, seed, grid, size, K):
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
    _, c = jigsaw((3, 4), (1, 4), far_permutations(4, K, 0))(x, np.random.default_rng(0))
    assert np.bincount(c, minlength=K) == pytest.approx(np.full(K, N / K), abs=5 * math.sqrt(N / K))


@given(seed=seeds, grid=grids, size=sizes)
def test_shuffled_patches_are_the_same_patches(seed, grid, size):
    x, shape = images(3, grid, size, 0, seed)
    before = x.copy()
    shuffled = shuffle_patches(shape, grid)(x, seed)
    assert np.array_equal(x, before)
    for image, other in zip(x, shuffled, strict=True):
        q, p = (naive_patches(i.reshape(shape), grid, *size, 0).reshape(-1, size[0] * size[1]) for i in (image, other))
        assert sorted(map(tuple, q)) == sorted(map(tuple, p))


def test_every_order_is_equally_likely_and_each_image_has_its_own():
    N = 24_000
    shuffled = shuffle_patches((2, 2), (2, 2))(np.tile(np.arange(4.0), (N, 1)), 0)
    orders, counts = np.unique(shuffled, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts == pytest.approx(np.full(24, N / 24), abs=5 * math.sqrt(N / 24))


@pytest.mark.equation("patches.1")
def test_the_optimal_logit_against_shuffled_patches():
    """Three binary patches, each of the eight images with a logit of its own, against the sum over orders."""
    N = 40_000
    p = np.array([5, 1, 2, 9, 1, 3, 6, 3]) / 30
    codes = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    rng = np.random.default_rng(0)
    x = codes[rng.choice(8, N, p=p)]
    input, target = against_shuffled(shuffle_patches((1, 3), (1, 3)))(x, rng)
    net = ssl.MLP((8, 1), rng=0, dtype="float64")
    one_hot = np.eye(8)[(input @ [4, 2, 1]).astype(int)]
    found = ssl.lbfgs(ssl.objective(net, (one_hot, target), ssl.logistic), net.theta)
    net.theta[:] = found.theta
    density = dict(zip(map(tuple, codes), p, strict=True))
    p_n = np.array([np.mean([density[tuple(c[list(pi)])] for pi in itertools.permutations(range(3))]) for c in codes])
    expected = np.log(p) - np.log(p_n)
    assert (expected <= math.log(6)).all()
    # a log-ratio of two counts has variance 1/(N p) + 1/(N p_n) at most
    np.testing.assert_array_less(np.abs(net(np.eye(8))[:, 0] - expected), 5 * np.sqrt(1 / (N * p) + 1 / (N * p_n)))


# --- permutations ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("patches.3")
@given(P=st.integers(2, 5), data=st.data())
def test_each_permutation_is_as_far_as_can_be_from_those_before(P, data):
    every = list(itertools.permutations(range(P)))
    K = data.draw(st.integers(1, min(8, len(every))))
    chosen = [tuple(row) for row in far_permutations(P, K, data.draw(seeds))]
    assert len(set(chosen)) == K

    def distance(pi, before):
        return sum(pi[k] != other[k] for other in before for k in range(P))

    for c in range(1, K):
        best = max(distance(pi, chosen[:c]) for pi in every if pi not in chosen[:c])
        assert distance(chosen[c], chosen[:c]) == best


@given(P=st.integers(2, 6), seed=seeds)
def test_up_to_P_permutations_differ_everywhere(P, seed):
    """A Latin rectangle can always be extended (Hall 1945), so the first P orders have no place in common."""
    chosen = far_permutations(P, P, seed)
    assert all(len(set(column)) == P for column in chosen.T)


def test_all_of_them_and_the_same_for_the_same_seed():
    assert sorted(map(tuple, far_permutations(4, 24, 0))) == list(itertools.permutations(range(4)))
    assert np.array_equal(far_permutations(5, 10, 3), far_permutations(5, 10, 3))
    assert not np.array_equal(far_permutations(5, 10, 3), far_permutations(5, 10, 4))


# --- normalisation, chance --------------------------------------------------------------------------------------------


@pytest.mark.equation("patches.4")
@given(seed=seeds, N=st.integers(1, 3), n=st.integers(2, 6), floor=st.floats(1e-6, 10))
def test_normalisation_is_the_equation(seed, N, n, floor):
    x = np.random.default_rng(seed).standard_normal((N, 2, n)) * 3 + 1
    for patch, result in zip(x.reshape(-1, n), normalise(x, floor).reshape(-1, n), strict=True):
        mean = sum(patch) / n
        variance = sum((v - mean) ** 2 for v in patch) / n
        assert result == pytest.approx([(v - mean) / math.sqrt(variance + floor) for v in patch], abs=1e-12)


@pytest.mark.equation("patches.4")
def test_the_default_floor_is_ten_on_the_scale_of_bytes():
    x = np.random.default_rng(0).integers(256, size=(3, 7)).astype(float)
    np.testing.assert_allclose(normalise(x / 255), normalise(x, floor=10), rtol=1e-12)


def test_normalised_patches_keep_neither_brightness_nor_contrast():
    x, shape = images(4, (2, 3), (3, 2), 1, 0)
    permutations = far_permutations(6, 5, 0)
    plain = jigsaw(shape, (2, 3), permutations, gap=1)(x, np.random.default_rng(1))[0]
    q = naive_patches(plain[0].reshape(6, 6), (2, 3), 3, 2, 0).reshape(6, -1)
    assert q.mean(axis=1) == pytest.approx(np.zeros(6), abs=1e-12)
    assert q.var(axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    brighter = jigsaw(shape, (2, 3), permutations, gap=1)(7 * x + 3, np.random.default_rng(1))[0]
    np.testing.assert_allclose(brighter, plain, atol=1e-4)
    assert normalise(np.full((1, 4), 0.75)).tolist() == [[0, 0, 0, 0]]


def test_images_of_independent_pixels_stay_at_chance():
    """There is nothing to see: on fresh images the accuracy is 1/24 within its standard error, the loss no less than
    ln 24."""
    task = jigsaw((4, 4), (2, 2), far_permutations(4, 24, 0))
    rng = np.random.default_rng(0)
    net = ssl.MLP((16, 32, 24), rng=1)
    for _ in ssl.train(net, rng.random((3000, 16), dtype="float32"), task, ssl.softmax, epochs=5, rng=2):
        pass
    N = 10_000
    input, c = task(rng.random((N, 16), dtype="float32"), rng)
    assert (net(input).argmax(axis=1) == c).mean() == pytest.approx(1 / 24, abs=5 * math.sqrt(23 / 24**2 / N))
    loss = ssl.softmax(net(input), c)[0]
    assert math.log(24) - 0.01 < loss < math.log(24) + 0.2


# --- doors, dtypes, devices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_the_device_gives_the_same(dtype):
    x, shape = images(5, (2, 2), (3, 2), 1, 0)
    x = x.astype(dtype)
    task = jigsaw(shape, (2, 2), far_permutations(4, 3, 0), gap=1)
    input, c = task(x, np.random.default_rng(1))
    assert input.dtype == dtype
    there, c_there = task(cupy.asarray(x), np.random.default_rng(1))
    np.testing.assert_allclose(cupy.asnumpy(there), input, rtol=1e-6)
    assert np.array_equal(cupy.asnumpy(c_there), c)
    x, shape = images(5, (2, 3), (3, 2), 0, 0)
    shuffled = shuffle_patches(shape, (2, 3))
    assert np.array_equal(cupy.asnumpy(shuffled(cupy.asarray(x), 2)), shuffled(x, 2))
    assert shuffled(x.astype(dtype), 2).dtype == dtype


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: shuffle_patches((5, 4), (2, 2)),
            "grid: got 2 x 2 patches with gaps of 0, expected to fill 5 x 4 pixels equally",
        ),
        (lambda: jigsaw((6, 6), (2, 2), [[0, 1, 2, 3]], gap=1), "grid: got 2 x 2 patches with gaps of 1"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2, 2]]), "permutations: expected in each row the numbers 0 to 3"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2]]), "permutations: expected in each row"),
        (lambda: jigsaw((4, 4), (2, 2), [[0, 1, 2, 4]]), "permutations: got values from 0 to 4"),
        (lambda: jigsaw((4, 4), (2, 0), [[0]]), "grid: got 0"),
        (lambda: shuffle_patches((4, 4), (2, 2))(np.ones((3, 15)), 0), r"x: got shape \(3, 15\)"),
        (lambda: far_permutations(3, 7), "K: got 7, expected at least 1, at most 6"),
        (lambda: far_permutations(10, 7), "P: got 10, expected at least 1, at most 9"),
        (lambda: normalise(np.ones(3), floor=0), "floor: got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
