"""Downstream: the probe against loops, closed cases and what its minimum must satisfy; pooling against loops."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from minissl import downstream
from minissl.downstream import _folds, choose_l2, objective, pooled_features, probe, whitening
from minissl.gradcheck import gradient_error, taylor_slope
from minissl.mlp import MLP
from minissl.optimizers import lbfgs

seeds = st.integers(0, 2**32 - 1)


def problem(seed, N=11, m=4, K=3):
    """Features, labels of which each class occurs at least twice, and a point theta."""
    rng = np.random.default_rng(seed)
    c = rng.permutation(np.concatenate([np.arange(K), np.arange(K), rng.integers(K, size=N - 2 * K)]))
    return rng.standard_normal((N, m)), c, rng.standard_normal(K * (m + 1))


def surprise(h, c, W, b):
    """-ln P(c) of one sample, with loops."""
    Y = [b[k] + sum(W[k][j] * h[j] for j in range(len(h))) for k in range(len(b))]
    return np.log(sum(np.exp(y) for y in Y)) - Y[c]


def naive_objective(H, c, l2, theta):
    K, m = max(c) + 1, len(H[0])
    W, b = [[theta[k * m + j] for j in range(m)] for k in range(K)], theta[K * m :]
    squares = sum(w * w for row in W for w in row)
    return sum(surprise(h, i, W, b) for h, i in zip(H, c, strict=True)) / len(H) + l2 / 2 * squares


def probabilities(found, H):
    P = np.exp(found.logits(H))
    return P / P.sum(axis=1, keepdims=True)


# The probe


@pytest.mark.equation("downstream.1", "downstream.2")
def test_objective_by_hand():
    """Two samples, h = 0 of class 1 and h = ln 3 of class 0; W = (1, 0), b = 0, so that P = (1/2, 1/2), (3/4, 1/4)."""
    value, gradient = objective([[0.0], [np.log(3)]], [1, 0], 0.5)(np.array([1.0, 0, 0, 0]))
    assert value == pytest.approx((np.log(2) + np.log(4 / 3)) / 2 + 0.25, rel=1e-15)
    np.testing.assert_allclose(gradient, [0.5 - np.log(3) / 8, np.log(3) / 8, 1 / 8, -1 / 8], rtol=1e-14)


@pytest.mark.equation("downstream.1", "downstream.2")
@given(seed=seeds, m=st.integers(1, 5), K=st.integers(2, 4), l2=st.floats(1e-3, 10))
def test_objective_is_the_loops_and_its_gradient_their_derivative(seed, m, K, l2):
    H, c, theta = problem(seed, m=m, K=K)
    J, before = objective(H, c, l2), theta.copy()
    assert J(theta)[0] == pytest.approx(naive_objective(H, c, l2, theta), rel=1e-12)
    assert gradient_error(J, theta) < 1e-7
    assert np.array_equal(theta, before)
    kept = J(theta)[1]
    J(2 * theta)
    assert np.array_equal(kept, J(theta)[1])


@pytest.mark.equation("downstream.1", "downstream.2")
@given(seed=seeds, rows=st.integers(1, 12), size=st.sampled_from([1, 1e3]))
def test_the_objective_in_blocks_is_that_of_all(seed, rows, size):
    """By SciPy's log of sums of exponentials, also where these overflow."""
    H, c, theta = problem(seed)
    theta *= size
    Y, W = H @ theta[:12].reshape(3, 4).T + theta[12:], theta[:12].reshape(3, 4)
    T, P = np.eye(3)[c], softmax(Y, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downstream, "ROWS", rows)
        value, gradient = objective(H, c, 0.1)(theta)
        single = objective(H.astype(np.float32), c, 0.1)(theta)
    assert value == pytest.approx((logsumexp(Y, axis=1) - (T * Y).sum(axis=1)).mean() + 0.05 * (W**2).sum(), rel=1e-12)
    expected = np.concatenate([((P - T).T @ H / 11 + 0.1 * W).ravel(), (P - T).mean(axis=0)])
    np.testing.assert_allclose(gradient, expected, atol=1e-12 * size)
    if size == 1:
        assert single[0] == pytest.approx(value, rel=1e-5) and abs(single[1] - gradient).max() <= 1e-5
        assert single[0].dtype == single[1].dtype == np.float64


@pytest.mark.equation("downstream.2")
@given(seed=seeds)
def test_the_remainder_falls_quadratically(seed):
    H, c, theta = problem(seed)
    assert taylor_slope(objective(H, c, 0.1), theta, theta[::-1] / np.linalg.norm(theta)) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("downstream.1")
@given(seed=seeds, share=st.floats(0, 1))
def test_the_objective_is_convex(seed, share):
    H, c, one = problem(seed)
    J, other = objective(H, c, 0.01), 3 * problem(seed + 1)[2]
    between = J(share * one + (1 - share) * other)[0]
    assert between <= share * J(one)[0] + (1 - share) * J(other)[0] + 1e-12


@pytest.mark.equation("downstream.1")
@given(seed=seeds)
def test_a_number_added_to_all_logits_changes_the_penalty_alone(seed):
    """W_kj + v_j and b_k + a, the same for every class k, add v.h + a to all logits of a sample."""
    H, c, theta = problem(seed)
    v, a = np.random.default_rng(seed).standard_normal(4), 1.7
    moved = theta + np.concatenate([np.tile(v, 3), np.full(3, a)])
    loss, loss_moved = (objective(H, c, 0.3)(t)[0] - 0.15 * (t[:12] ** 2).sum() for t in (theta, moved))
    assert loss_moved == pytest.approx(loss, rel=1e-11)


@pytest.mark.equation("downstream.1", "downstream.2")
def test_the_minimum_in_a_closed_case():
    """Features 1 and -1, one of each class: W = (w, -w), b = 0, lambda w = sigma(-2w), which is 1/4 at w = ln(3)/2."""
    found = probe([[1.0], [-1.0]], [0, 1], 1 / (2 * np.log(3)), tolerance=1e-12)
    np.testing.assert_allclose(found.W, [[np.log(3) / 2], [-np.log(3) / 2]], rtol=1e-9)
    np.testing.assert_allclose(found.b, 0, atol=1e-9)
    assert found.converged and found.value == pytest.approx(np.log(4 / 3) + np.log(3) / 8, rel=1e-12)


@pytest.mark.equation("downstream.1")
def test_a_strong_penalty_leaves_the_frequencies():
    H, c, _ = problem(0, N=40)
    found = probe(H, c, 1e9, tolerance=1e-10)
    assert abs(found.W).max() < 1e-8
    frequency = np.log(np.bincount(c) / len(c))
    np.testing.assert_allclose(found.b, frequency - frequency.mean(), atol=1e-7)


@pytest.mark.equation("downstream.1")
@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_scipys(seed):
    """J(theta) - J* >= lambda/2 ||W - W*||^2, for J is that much more than convex in W."""
    H, c, theta = problem(seed)
    found = probe(H, c, 0.1, tolerance=1e-7)  # see below; J - J* is then about (1e-7)^2 / 0.1
    other = minimize(lambda t: naive_objective(H, c, 0.1, t), theta, method="BFGS", options={"gtol": 1e-6})
    assert found.converged and -1e-12 < other.fun - found.value < 1e-9
    assert ((other.x[:12].reshape(3, 4) - found.W) ** 2).sum() <= 2 / 0.1 * (other.fun - found.value + 1e-12)


@pytest.mark.equation("downstream.3")
@given(seed=seeds, l2=st.floats(1e-3, 10), N=st.integers(8, 30))
@settings(deadline=None)
def test_what_holds_at_the_minimum(seed, l2, N):
    H, c, _ = problem(seed, N=N, m=9, K=4)  # N below and above m
    found = probe(H, c, l2, tolerance=1e-6)  # below sqrt(2 eps J l2), about 1e-7, the fall of J is lost in rounding
    np.testing.assert_allclose(found.W.sum(axis=0), 0, atol=1e-9)
    assert found.converged and abs(found.b.sum()) < 1e-9
    np.testing.assert_allclose(probabilities(found, H).mean(axis=0), np.bincount(c) / N, atol=1.01e-6)


@pytest.mark.equation("downstream.4")
@given(seed=seeds, l2=st.floats(1e-2, 1))
@settings(deadline=None)
def test_the_small_problem_is_the_whole_one(seed, l2):
    """N = 8 samples of 20 features, minimised in both spaces."""
    H, c, _ = problem(seed, N=8, m=20)
    small = probe(H, c, l2, tolerance=1e-9)
    whole = lbfgs(objective(H, c, l2), np.zeros(63), tolerance=1e-9)
    W, b = whole.theta[:60].reshape(3, 20), whole.theta[60:]
    assert small.value == pytest.approx(whole.value, abs=1e-13)
    error = 1e-9 * np.sqrt(63) / l2  # a gradient of length g leaves W within g/lambda
    np.testing.assert_allclose(small.W, W, atol=2 * error)
    P = np.exp(H @ W.T + b)
    P /= P.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(small.W, -(P - np.eye(3)[c]).T @ H / (8 * l2), atol=2 * error)
    unseen = np.random.default_rng(seed).standard_normal((5, 20))
    np.testing.assert_allclose(small.logits(unseen), unseen @ small.W.T + small.b, atol=1e-12)
    assert np.array_equal(small.predict(unseen), small.logits(unseen).argmax(axis=1))


@pytest.mark.equation("downstream.4")
def test_few_labels_need_little_memory_however_many_the_features():
    H, c, _ = problem(0, N=8, m=3000)
    tracemalloc.start()
    probe(H, c, 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * H.nbytes  # the whole problem's Q, (m, m), would be 375


@pytest.mark.equation("downstream.4")
def test_single_precision_features_reach_the_minimum_of_double():
    H, c, _ = problem(0, N=8, m=20)
    H = H.astype(np.float32)
    single, double = probe(H, c, 0.1, tolerance=1e-6), probe(H.astype(float), c, 0.1, tolerance=1e-6)
    assert single.converged and single.value == double.value
    np.testing.assert_array_equal(single.W, double.W.astype(np.float32))


def far_from_zero(seed):
    """Features with an offset, whose rounding in float32 ends a search early, and their classes."""
    rng = np.random.default_rng(seed)
    c = rng.integers(4, size=1000)
    return (rng.standard_normal((1000, 20)) + rng.standard_normal((4, 20))[c] + 300).astype(np.float32), c


@pytest.mark.equation("downstream.1")
def test_where_rounding_ends_the_search_in_single_precision_it_goes_on_in_double():
    H, c = far_from_zero(0)
    alone = lbfgs(objective(H, c, 0.01), np.zeros(84), tolerance=1e-4)
    single, double = probe(H, c, 0.01, tolerance=1e-4), probe(H.astype(float), c, 0.01, tolerance=1e-4)
    assert not alone.converged and single.converged and double.converged and single.W.dtype == np.float32
    assert abs(single.value - double.value) <= 84 * 1e-4**2 / (2 * 0.01)  # ||gradient||^2 / (2 lambda), 84 components
    few = [probe(x, c, 0.01, iterations=3).value for x in (H, H.astype(float))]
    assert few[0] == pytest.approx(few[1], rel=1e-3)  # three iterations are three in either


@pytest.mark.equation("downstream.5")
def test_the_choice_of_lambda_is_the_same_in_single_precision():
    H, c = far_from_zero(0)
    candidates = (0.01, 0.1, 1.0)
    (single, losses), (double, exact) = (choose_l2(x, c, candidates, rng=0) for x in (H, H.astype(float)))
    assert single == double and losses == pytest.approx(exact, rel=3e-3)  # 5e-3 to 0.2 in float32 alone


@pytest.mark.equation("downstream.1", "downstream.2")
def test_single_precision_is_added_up_in_double():
    H, c, theta = problem(0, N=50_000, m=4)
    H = H.astype(np.float32)
    theta = theta.astype(np.float32).astype(float)  # so that rounding the weights costs nothing
    single, double = objective(H, c, 0.1)(theta), objective(H.astype(float), c, 0.1)(theta)
    eps = float(np.finfo(np.float32).eps) / 2  # of one sample; the mean of many has less
    assert single[0] == pytest.approx(double[0], rel=0.1 * eps) and abs(single[1] - double[1]).max() <= eps


@pytest.mark.equation("downstream.1")
def test_many_samples_are_not_copied():
    H, c, _ = problem(0, N=60_000, m=30)
    for dtype in (np.float32, np.float64):
        x = H.astype(dtype)
        tracemalloc.start()
        probe(x, c, 0.1, tolerance=1e-3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes / 4


@given(seed=seeds)
@settings(deadline=None)
def test_the_probe_moves_with_its_data(seed):
    """Order of samples, a duplicated batch, rotated or shifted features leave the predictions as they were."""
    H, c, _ = problem(seed)
    rng = np.random.default_rng(seed)
    turn, order = np.linalg.qr(rng.standard_normal((4, 4)))[0], rng.permutation(11)
    expected = probabilities(probe(H, c, 0.1, tolerance=1e-9), H)
    for changed, labels, at in (
        (H[order], c[order], H),
        (np.concatenate([H, H]), np.concatenate([c, c]), H),
        (H @ turn, c, H @ turn),
        (H + 3.0, c, H + 3.0),
    ):
        np.testing.assert_allclose(probabilities(probe(changed, labels, 0.1, tolerance=1e-9), at), expected, atol=1e-6)


# lambda


@pytest.mark.equation("downstream.5")
@pytest.mark.parametrize("folds", [2, 3, 11])
def test_cross_validation_is_its_loop(folds):
    H, c, _ = problem(1)
    candidates = (0.3, 0.01, 2.0)
    best, losses = choose_l2(H, c, candidates, folds=folds, rng=5, tolerance=1e-9)
    fold = np.arange(11) if folds == 11 else _folds(c, folds, np.random.default_rng(5))
    expected = np.zeros(3)
    for k, l2 in enumerate(candidates):
        for f in range(folds):
            W, b = probe(H[fold != f], c[fold != f], l2, tolerance=1e-9)[:2]
            for i in range(11):
                if fold[i] == f:
                    expected[k] += surprise(H[i], c[i], W, b) / 11
    np.testing.assert_allclose(losses, expected, atol=1e-6)
    assert best == candidates[int(np.argmin(expected))]


@given(seed=seeds, folds=st.integers(2, 12), K=st.integers(2, 5))
def test_each_class_is_spread_over_the_folds(seed, folds, K):
    c = problem(seed, N=12, K=K)[1]
    fold = _folds(c, folds, np.random.default_rng(seed))
    assert fold.min() >= 0 and fold.max() < folds
    for members in (np.arange(12), *(np.flatnonzero(c == k) for k in range(K))):
        counts = np.bincount(fold[members], minlength=folds)
        assert counts.max() - counts.min() <= 1


@pytest.mark.equation("downstream.5")
def test_a_search_that_need_not_move_knows_nothing():
    """At zero every class is equally likely: with a tolerance that the start meets, CV is ln K for each candidate."""
    H, c, _ = problem(0)
    np.testing.assert_allclose(choose_l2(H, c, (0.1, 1.0), tolerance=100, rng=0)[1], np.log(3), rtol=1e-14)


def test_cross_validation_prefers_what_predicts():
    """Leave one out of two samples of each class at each place: the place now speaks for the other class."""
    H, c = np.array([[-1.0], [-1], [1], [1]]), np.array([0, 1, 0, 1])
    candidates = (1.0, 1e3, 1e-3)
    assert choose_l2(H, c, candidates, folds=4)[0] == 1e3
    assert choose_l2(H, np.sort(c), candidates, folds=4)[0] == 1e-3


# Features of images


@pytest.mark.equation("downstream.6")
@given(
    seed=seeds,
    shape=st.tuples(st.integers(3, 7), st.integers(3, 6)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    data=st.data(),
)
def test_pooling_is_a_double_loop(seed, shape, window, data):
    """Over images, regions and the places in them; regions are unequal wherever the places do not divide."""
    (h, w), (a, b) = shape, window
    down, across = h - a + 1, w - b + 1
    grid = data.draw(st.integers(1, down)), data.draw(st.integers(1, across))
    x = np.random.default_rng(seed).standard_normal((5, h, w))
    net = MLP((a * b, 3, 1), "tanh", rng=seed, dtype="float64")
    expected = np.zeros((5, *grid, 3))
    sizes = [[n // g + (i < n % g) for i in range(g)] for n, g in zip((down, across), grid, strict=True)]
    for i, image in enumerate(x):
        for r in range(grid[0]):
            for s in range(grid[1]):
                top, left = sum(sizes[0][:r]), sum(sizes[1][:s])
                for u in range(top, top + sizes[0][r]):
                    for v in range(left, left + sizes[1][s]):
                        f = net.features(image[u : u + a, v : v + b].reshape(1, -1))[0]
                        expected[i, r, s] += f / (sizes[0][r] * sizes[1][s])
    for block in (2, 256):
        found = pooled_features(net.features, x, window, grid, block)
        np.testing.assert_allclose(found, expected.reshape(5, -1), rtol=1e-12, atol=1e-13)


@pytest.mark.equation("downstream.6")
def test_within_a_region_place_does_not_matter():
    """A spot that stays inside one region of windows of one pixel gives the same features wherever it is."""
    x = np.zeros((4, 4, 6))
    for image, (u, v) in zip(x, [(0, 0), (1, 2), (1, 1), (2, 0)], strict=True):
        image[u, v] = 1
    features = pooled_features(lambda q: np.hstack([q, q**2]), x, (1, 1))
    assert np.array_equal(features[0], [1 / 6, 1 / 6, 0, 0, 0, 0, 0, 0])
    assert np.array_equal(features[1], features[0]) and np.array_equal(features[2], features[0])
    assert np.array_equal(features[3], [0, 0, 0, 0, 1 / 6, 1 / 6, 0, 0])


@pytest.mark.equation("downstream.7")
@given(seed=seeds, floor=st.floats(1e-6, 10))
def test_whitened_covariance_in_closed_form(seed, floor):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 4)) + 5
    C = np.cov(x.T, bias=True)
    white = whitening(x, floor)
    z = white(x)
    d, U = np.linalg.eigh(C)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(z.T, bias=True), U @ np.diag(d / (d + floor * d.mean())) @ U.T, atol=1e-9)
    np.testing.assert_allclose(white.Z, white.Z.T, atol=1e-9)
    np.testing.assert_allclose(white.Z @ white.Z @ (C + floor * np.trace(C) / 4 * np.eye(4)), np.eye(4), atol=1e-6)


@pytest.mark.equation("downstream.7")
def test_directions_without_variance_stay_finite():
    x = np.random.default_rng(0).standard_normal((20, 3))
    x = x - x.mean(axis=1, keepdims=True)
    z = whitening(x)(x)
    assert np.isfinite(z).all() and abs(z.sum(axis=1)).max() < 1e-12


# Kinds of numbers, and what is refused


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    H, c, _ = problem(0)
    H, before = H.astype(dtype), H.astype(dtype)
    found = probe(H, c, 0.1)
    assert found.converged and {found.W.dtype, found.b.dtype, found.logits(H).dtype} == {np.dtype(dtype)}
    np.testing.assert_allclose(
        found.W, probe(H.astype(float), c, 0.1, tolerance=1e-9).W, atol=1e-3
    )  # 1e-5 sqrt(15)/0.1
    assert choose_l2(H, c, rng=0)[1].dtype == np.float64
    white = whitening(H)
    assert white(H).dtype == white.Z.dtype == dtype
    assert pooled_features(lambda q: q, H[None], (2, 1)).dtype == dtype
    assert np.array_equal(H, before)


H, C, _ = problem(0)
BAD = [
    ("features: got shape", lambda: probe(H[0], C, 1.0)),
    ("features: contains NaN", lambda: probe(np.where(H == H[0, 0], np.nan, H), C, 1.0)),
    ("labels: got dtype", lambda: probe(H, C.astype(float), 1.0)),
    ("labels: got shape", lambda: probe(H, C[:-1], 1.0)),
    ("labels: got values from -1", lambda: probe(H, C - 1, 1.0)),
    ("labels: got classes", lambda: probe(H, np.zeros(11, int), 1.0)),
    ("labels: got classes", lambda: probe(H, C * 2, 1.0)),
    ("labels: got classes", lambda: choose_l2(H[:3], [0, 1, 1])),
    ("l2: got 0", lambda: probe(H, C, 0)),
    ("l2: got -1", lambda: objective(H, C, -1)),
    ("l2: got 'a'", lambda: objective(H, C, "a")),
    ("candidates: got 0", lambda: choose_l2(H, C, (1, 0))),
    ("candidates: got", lambda: choose_l2(H, C, ())),
    ("folds: got 1", lambda: choose_l2(H, C, folds=1)),
    ("folds: got 12", lambda: choose_l2(H, C, folds=12)),
    ("rng: ", lambda: choose_l2(H, C, rng="a")),
    ("theta: got shape", lambda: objective(H, C, 1.0)(np.zeros(14))),
    ("iterations: ", lambda: probe(H, C, 1.0, iterations=0)),
    ("tolerance: ", lambda: probe(H, C, 1.0, tolerance=-1)),
    ("features: got shape", lambda: probe(H, C, 1.0).predict(H[:, 1:])),
    ("features: got dtype float32", lambda: probe(H, C, 1.0).logits(H.astype(np.float32))),
    ("images: got shape", lambda: pooled_features(abs, H, (1, 1))),
    ("window: got 12", lambda: pooled_features(abs, H[None], (12, 1))),
    ("window: got 0", lambda: pooled_features(abs, H[None], (1, 0))),
    ("grid: got 11", lambda: pooled_features(abs, H[None], (2, 1), (11, 1))),
    ("block: got 0", lambda: pooled_features(abs, H[None], (2, 1), block=0)),
    ("x: got shape", lambda: whitening(H[0])),
    ("x: all 3 samples", lambda: whitening(np.ones((3, 2)))),
    ("floor: got 0", lambda: whitening(H, 0)),
    ("q: got shape", lambda: whitening(H)(H[:, 1:])),
]


@pytest.mark.parametrize(("message", "call"), BAD)
def test_bad_input(message, call):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
