"""The probe against loops, closed cases and what its minimum must satisfy; pooling against loops."""

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from minissl.goals import probe
from minissl.goals.probe import (
    _folds,
    _in_blocks,
    _minimize,
    _scales,
    cross_validate_l2,
    linear_probe,
    objective,
    pooled_features,
    whitening,
)
from minissl.nn.gradcheck import gradient_error, taylor_slope
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs

seeds = st.integers(0, 2**32 - 1)
REACHED = 1e-8  # a gradient so small changes J by about the rounding of J: no search goes much further


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


def parts(theta, K):
    """W and b of one vector."""
    return theta[:-K].reshape(K, -1), theta[-K:]


def probabilities(found, H):
    P = np.exp(found.logits(H))
    return P / P.sum(axis=1, keepdims=True)


def newton(H, c, l2):
    """W and b by damped Newton steps with the whole Hessian, on standardised columns: slow, and nothing shared."""
    (N, m), K = H.shape, c.max() + 1
    mean, s = H.mean(axis=0), H.std(axis=0)
    X, T = np.column_stack([(H - mean) / s, np.ones(N)]), np.eye(K)[c]
    penalty = np.tile(np.append(l2 / s**2, 1e-14), K)  # the 1e-14 fixes what b may gain in common
    theta = np.zeros(K * (m + 1))

    def J(theta):
        Y = X @ theta.reshape(K, m + 1).T
        return (logsumexp(Y, axis=1) - (T * Y).sum(axis=1)).mean() + 0.5 * (penalty * theta**2).sum()

    for _ in range(200):
        P = softmax(X @ theta.reshape(K, m + 1).T, axis=1)
        g = ((P - T).T @ X / N).ravel() + penalty * theta
        curvature = P[:, :, None] * np.eye(K) - P[:, :, None] * P[:, None, :]
        hessian = np.einsum("ikl,ij,ih->kjlh", curvature, X, X).reshape(theta.size, -1) / N + np.diag(penalty)
        step, size = np.linalg.solve(hessian, g), 1.0
        while J(theta - size * step) > J(theta) and size > 1e-8:
            size /= 2
        theta = theta - size * step
        if g @ step < 1e-26:
            break
    V, a = theta.reshape(K, m + 1)[:, :-1], theta.reshape(K, m + 1)[:, -1]
    return V / s, a - V / s @ mean


def badly_scaled(seed=0, N=178):
    """Three classes in 13 features of the means and standard deviations of the wine data, 0.1 to 315."""
    mean = [13, 2.3, 2.4, 19, 100, 2.3, 2.0, 0.36, 1.6, 5.1, 0.96, 2.6, 747]
    deviation = [0.8, 1.1, 0.27, 3.3, 14, 0.63, 1.0, 0.12, 0.57, 2.3, 0.23, 0.7, 315]
    rng = np.random.default_rng(seed)
    c = np.arange(N) % 3
    mixing = np.linalg.qr(rng.standard_normal((13, 13)))[0] * np.linspace(0.4, 1.4, 13)
    z = rng.standard_normal((N, 13)) @ mixing + 1.2 * rng.standard_normal((3, 13))[c]
    return mean + deviation * z, c


# The objective


@pytest.mark.equation("probe.1", "probe.2")
def test_objective_by_hand():
    """J and its gradient for h = 0 of class 1, h = ln 3 of class 0 and W = (1, 0), b = 0 are those worked on paper."""
    value, gradient = objective([[0.0], [np.log(3)]], [1, 0], 0.5)(np.array([1.0, 0, 0, 0]))  # P = (½, ½), (¾, ¼)
    assert value == pytest.approx((np.log(2) + np.log(4 / 3)) / 2 + 0.25, rel=1e-15)
    np.testing.assert_allclose(gradient, [0.5 - np.log(3) / 8, np.log(3) / 8, 1 / 8, -1 / 8], rtol=1e-14)


@pytest.mark.equation("probe.1", "probe.2")
@given(seed=seeds, m=st.integers(1, 5), K=st.integers(2, 4), l2=st.floats(1e-3, 10))
def test_objective_is_the_loops_and_its_gradient_their_derivative(seed, m, K, l2):
    """J is that of loops over samples, classes and features, and its gradient that of central differences."""
    H, c, theta = problem(seed, m=m, K=K)
    J, before = objective(H, c, l2), theta.copy()
    assert J(theta)[0] == pytest.approx(naive_objective(H, c, l2, theta), rel=1e-12)
    assert gradient_error(J, theta) < 1e-7
    assert np.array_equal(theta, before)
    kept = J(theta)[1]
    J(2 * theta)
    assert np.array_equal(kept, J(theta)[1])


@pytest.mark.equation("probe.1", "probe.2")
@given(seed=seeds, rows=st.integers(1, 12), size=st.sampled_from([1, 1e3]))
def test_the_objective_in_blocks_is_that_of_all(seed, rows, size):
    """J and its gradient in blocks of any size are the plain ones, and SciPy's, also where exponentials overflow."""
    H, c, theta = problem(seed)
    theta *= size
    W, b = parts(theta, 3)
    Y, T = H @ W.T + b, np.eye(3)[c]
    P = softmax(Y, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "ROWS", rows)
        value, dW, db = _in_blocks(H, c, 0.1, W, b)
        single = _in_blocks(H.astype(np.float32), c, 0.1, W, b)
    assert value == pytest.approx((logsumexp(Y, axis=1) - (T * Y).sum(axis=1)).mean() + 0.05 * (W**2).sum(), rel=1e-12)
    np.testing.assert_allclose(dW, (P - T).T @ H / 11 + 0.1 * W, atol=1e-12 * size)
    np.testing.assert_allclose(db, (P - T).mean(axis=0), atol=1e-12)
    plain_value, plain_gradient = objective(H, c, 0.1)(theta)
    assert value == pytest.approx(plain_value, rel=1e-12)
    np.testing.assert_allclose(np.concatenate([dW.ravel(), db]), plain_gradient, atol=1e-12 * size)
    if size == 1:
        assert single[0] == pytest.approx(value, rel=1e-5)
        assert max(abs(single[1] - dW).max(), abs(single[2] - db).max()) <= 1e-5
        assert single[0].dtype == single[1].dtype == single[2].dtype == np.float64


@pytest.mark.equation("probe.1", "probe.2")
def test_single_precision_is_added_up_in_double():
    """J and its gradient of 50,000 samples in float32 differ from float64 by no more than one sample's rounding."""
    H, c, theta = problem(0, N=50_000, m=4)
    H = H.astype(np.float32)
    W, b = parts(theta.astype(np.float32).astype(float), 3)  # so that rounding the weights costs nothing
    single, double = _in_blocks(H, c, 0.1, W, b), _in_blocks(H.astype(float), c, 0.1, W, b)
    eps = float(np.finfo(np.float32).eps) / 2  # of one sample; the mean of many has less
    assert single[0] == pytest.approx(double[0], rel=0.1 * eps)
    assert max(abs(single[1] - double[1]).max(), abs(single[2] - double[2]).max()) <= eps


@pytest.mark.equation("probe.2")
@given(seed=seeds)
def test_the_remainder_falls_quadratically(seed):
    """What Taylor's first two terms leave of J falls by four when the step is halved."""
    H, c, theta = problem(seed)
    assert taylor_slope(objective(H, c, 0.1), theta, theta[::-1] / np.linalg.norm(theta)) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("probe.1")
@given(seed=seeds, share=st.floats(0, 1))
def test_the_objective_is_convex(seed, share):
    """Between two points J lies below the chord by λ/2 s (1 − s) ‖W₁ − W₂‖² or more, s the share of the way."""
    H, c, one = problem(seed)
    J, other = objective(H, c, 0.01), 3 * problem(seed + 1)[2]
    between = J(share * one + (1 - share) * other)[0]
    strongly = 0.005 * share * (1 - share) * ((one - other)[:12] ** 2).sum()
    assert between <= share * J(one)[0] + (1 - share) * J(other)[0] - strongly + 1e-12


@pytest.mark.equation("probe.1")
@given(seed=seeds)
def test_a_number_added_to_all_logits_changes_the_penalty_alone(seed):
    """J without its penalty is the same after W_kj + v_j and b_k + a, which add v·h + a to all logits of a sample."""
    H, c, theta = problem(seed)
    v, a = np.random.default_rng(seed).standard_normal(4), 1.7
    moved = theta + np.concatenate([np.tile(v, 3), np.full(3, a)])
    loss, loss_moved = (objective(H, c, 0.3)(t)[0] - 0.15 * (t[:12] ** 2).sum() for t in (theta, moved))
    assert loss_moved == pytest.approx(loss, rel=1e-11)


# The minimum


@pytest.mark.equation("probe.1", "probe.2")
def test_the_minimum_in_a_closed_case():
    """For one sample at 1 and one at −1, W = ±w with λ w = σ(−2w), and w = ½ ln 3 where that is ¼."""
    found = linear_probe([[1.0], [-1.0]], [0, 1], 1 / (2 * np.log(3)), tolerance=REACHED)
    error = REACHED * np.sqrt(2) * 2 * np.log(3)  # [probe.4]; s and the distance to b are below 1
    np.testing.assert_allclose(found.W, [[np.log(3) / 2], [-np.log(3) / 2]], atol=2 * error)
    np.testing.assert_allclose(found.b, 0, atol=1e-9)
    assert found.converged and found.value == pytest.approx(np.log(4 / 3) + np.log(3) / 8, rel=1e-12)


@pytest.mark.equation("probe.1")
def test_a_strong_penalty_leaves_the_frequencies():
    """At λ = 10⁹ the weights vanish and the intercepts are the logarithms of the classes' frequencies."""
    H, c, _ = problem(0, N=40)
    found = linear_probe(H, c, 1e9, tolerance=REACHED)
    assert abs(found.W).max() < 1e-8
    frequency = np.log(np.bincount(c) / len(c))
    np.testing.assert_allclose(found.b, frequency - frequency.mean(), atol=1e-7)


@pytest.mark.equation("probe.1")
@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_scipys(seed):
    """W and J are those of SciPy's BFGS on the loops, where J − J* ≥ λ/2 ‖W − W*‖² bounds how far W may be."""
    H, c, theta = problem(seed)
    found = linear_probe(H, c, 0.1, tolerance=1e-7)  # J − J* is then about (1e-7)²/0.1
    other = minimize(lambda t: naive_objective(H, c, 0.1, t), theta, method="BFGS", options={"gtol": 1e-6})
    assert found.converged and -1e-12 < other.fun - found.value < 1e-9
    assert ((other.x[:12].reshape(3, 4) - found.W) ** 2).sum() <= 2 / 0.1 * (other.fun - found.value + 1e-12)


@pytest.mark.equation("probe.1")
@given(seed=seeds, size=st.sampled_from([0.1, 10]))
def test_every_start_leads_to_the_same_minimum(seed, size):
    """From a random start J and W are those from zero, and b is, up to a number added to all its components."""
    H, c, theta = problem(seed)
    found, other = (_minimize(H, c, 0.1, start, 1e-7) for start in (np.zeros(15), size * theta))
    assert found.converged and other.converged
    assert other.value == pytest.approx(found.value, abs=1e-12)
    np.testing.assert_allclose(other.theta[:12], found.theta[:12], atol=1e-5)  # 2 · 1e-7 √15/0.1 [probe.4]
    b, b_other = found.theta[12:], other.theta[12:]
    np.testing.assert_allclose(b_other - b_other.mean(), b, atol=1e-4)


@pytest.mark.equation("probe.1", "probe.3")
@given(seed=seeds, l2=st.floats(1e-3, 10), N=st.integers(8, 30), m=st.sampled_from([9, 40]))
def test_what_holds_at_the_minimum(seed, l2, N, m):
    """At the minimum the weights of all classes add up to zero, and the mean prediction is the classes' frequencies."""
    H, c, _ = problem(seed, N=N, m=m, K=4)
    found = linear_probe(H, c, l2, tolerance=1e-6)
    np.testing.assert_allclose(found.W.sum(axis=0), 0, atol=1e-9)
    assert found.converged and abs(found.b.sum()) < 1e-9
    np.testing.assert_allclose(probabilities(found, H).mean(axis=0), np.bincount(c) / N, atol=1.01e-6)


@pytest.mark.equation("probe.4")
@given(seed=seeds, l2=st.floats(1e-4, 10), size=st.floats(1e-3, 10))
def test_the_gradient_bounds_the_distance_to_the_minimum(seed, l2, size):
    """Anywhere, λ ‖W − W*‖² is at most the gradient's product with the way from the minimum, which Newton found."""
    H, c, theta = problem(seed)
    W_best, b_best = newton(H, c, l2)
    theta = np.concatenate([W_best.ravel(), b_best]) + size * theta
    gradient = objective(H, c, l2)(theta)[1]
    way = theta - np.concatenate([W_best.ravel(), b_best])
    assert l2 * (way[:12] ** 2).sum() <= gradient @ way + 1e-9


@pytest.mark.equation("probe.4")
@pytest.mark.parametrize("l2", [1e-3, 1e-5, 1e-6])
def test_the_weights_are_right_however_weak_the_penalty(l2):
    """By default W is within 1% of Newton's, where a tolerance of 10⁻⁵ leaves it 2% or more off at λ = 10⁻⁶."""
    H, c = badly_scaled()
    H = (H - H.mean(axis=0)) / H.std(axis=0)
    W, _ = newton(H, c, l2)
    found = linear_probe(H, c, l2)
    assert found.converged and np.linalg.norm(found.W - W) < 0.01 * np.linalg.norm(W)
    if l2 == 1e-6:
        loose = linear_probe(H, c, l2, tolerance=1e-5)
        assert loose.converged and np.linalg.norm(loose.W - W) > 0.02 * np.linalg.norm(W)


# How the search is made fast


@pytest.mark.equation("probe.8")
@given(seed=seeds, l2=st.floats(1e-2, 1))
def test_the_small_problem_is_the_whole_one(seed, l2):
    """The weights of 8 samples of 20 features are those of a search among all weights by the plain objective."""
    H, c, _ = problem(seed, N=8, m=20)
    small = linear_probe(H, c, l2, tolerance=1e-7)
    whole = lbfgs(objective(H, c, l2), np.zeros(63), tolerance=1e-7)
    W, b = parts(whole.theta, 3)
    assert small.converged and whole.converged
    g, theta = objective(H, c, l2), np.concatenate([small.W.ravel(), small.b])
    assert small.value == pytest.approx(whole.value, abs=1e-10)  # ‖gradient‖²/(2λ) ≤ 63 · 1e-14/0.02
    assert g(theta)[0] == pytest.approx(small.value, rel=1e-13)
    slopes = g(theta)[1], g(whole.theta)[1]
    apart = (theta - whole.theta) @ (slopes[0] - slopes[1])
    assert l2 * np.linalg.norm(small.W - W) ** 2 <= apart + 1e-20  # [probe.4] between the two
    error = (np.linalg.norm(slopes[0]) + np.linalg.norm(slopes[1])) / l2
    P = softmax(H @ W.T + b, axis=1)
    np.testing.assert_allclose(small.W, -(P - np.eye(3)[c]).T @ H / (8 * l2), atol=20 * error)
    unseen = np.random.default_rng(seed).standard_normal((5, 20))
    np.testing.assert_allclose(small.logits(unseen), unseen @ small.W.T + small.b, atol=1e-12)
    assert np.array_equal(small.predict(unseen), small.logits(unseen).argmax(axis=1))


@pytest.mark.equation("probe.8")
def test_few_labels_need_little_memory_however_many_the_features():
    """For 8 samples of 3,000 features the probe takes less than 20 times their memory, where a Q of all took 375."""
    H, c, _ = problem(0, N=8, m=3000)
    tracemalloc.start()
    linear_probe(H, c, 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * H.nbytes


@pytest.mark.equation("probe.8")
def test_single_precision_features_reach_the_minimum_of_double():
    """Few samples in float32 lead to the float64 minimum, rounded."""
    H, c, _ = problem(0, N=8, m=20)
    H = H.astype(np.float32)
    single, double = linear_probe(H, c, 0.1, tolerance=1e-6), linear_probe(H.astype(float), c, 0.1, tolerance=1e-6)
    assert single.converged and single.value == double.value
    np.testing.assert_array_equal(single.W, double.W.astype(np.float32))


def search(H, c, l2, theta):
    """The function that the search minimises, and where it starts."""
    caught = []

    def watched(J, start, **options):
        caught.append((J, start))
        return lbfgs(J, start, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "lbfgs", watched)
        _minimize(H, c, l2, theta, 1e-3)
    return caught[0]


@pytest.mark.equation("probe.9")
@given(seed=seeds, offset=st.floats(-3, 3))
def test_the_coordinates_of_the_search_change_neither_objective_nor_start(seed, offset):
    """In V and a J is the plain one at W = V S⁻¹, b = √K a − W μ, and its gradient that of central differences."""
    H, c, theta = problem(seed)
    H = H * [1, 10, 0.1, 3] + offset
    J, start = search(H, c, 0.2, theta)
    mean, s = H.mean(axis=0), np.sqrt(H.var(axis=0) / 3 + 0.2)
    for phi in (start, theta):
        V, a = parts(phi, 3)
        W = V @ np.diag(1 / s)
        plain = objective(H, c, 0.2)(np.append(W, np.sqrt(3) * a - W @ mean))[0]
        assert J(phi)[0] == pytest.approx(plain, rel=1e-12)
        assert gradient_error(J, phi) < 1e-7
    W, b = parts(theta, 3)
    np.testing.assert_allclose(start, np.append(W * s, (b + W @ mean) / np.sqrt(3)), rtol=1e-9, atol=1e-12)


@pytest.mark.equation("probe.9")
def test_the_gradient_is_reported_in_the_units_of_the_tolerance():
    """The largest ∂J/∂b, or ∂J/∂W for centred features in units of √(Cⱼⱼ + Kλ), is what the search reports."""
    H, c, _ = problem(0, N=40)
    H = H * [1, 10, 0.1, 3]
    found = _minimize(H, c, 0.2, np.zeros(15), 1e-12, iterations=4)
    dW, db = parts(objective(H, c, 0.2)(found.theta)[1], 3)
    dW = (dW - np.outer(db, H.mean(axis=0))) / np.sqrt(H.var(axis=0) + 3 * 0.2)
    assert found.gradient_norm == pytest.approx(max(abs(dW).max(), abs(db).max()), rel=1e-6) and not found.converged


@pytest.mark.equation("probe.10")
@given(seed=seeds, l2=st.floats(1e-3, 1))
def test_where_the_search_starts_all_features_look_alike(seed, l2):
    """The Hessian at zero, by differences of the gradient, is R for V and 1 for a, along moves that add up to zero."""
    H, c, _ = problem(seed)
    H = H * [1, 100, 0.01, 3] + 5
    J, start = search(H, c, l2, np.zeros(15))
    s = np.sqrt(H.var(axis=0) / 3 + l2)
    R = (np.cov(H.T, bias=True) / 3 + l2 * np.eye(4)) / np.outer(s, s)
    np.testing.assert_allclose(R.diagonal(), 1, rtol=1e-12)
    dV, da = parts(np.random.default_rng(seed).standard_normal(15), 3)
    dV, da = dV - dV.mean(axis=0), da - da.mean()
    step = 1e-4 * np.append(dV, da)
    curvature = (J(step)[1] - J(-step)[1]) @ step / (2 * 1e-8)
    assert not start.any()
    assert curvature == pytest.approx(np.trace(dV @ R @ dV.T) + da @ da, rel=1e-5)


@pytest.mark.equation("probe.9")
@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-6])
def test_raw_features_of_very_different_scales_reach_the_minimum(l2):
    """On features of scales 0.1 to 315 J and W are Newton's; with the same tolerance the plain search stops higher for
    the two smaller λ, and for the smallest has not converged in 1,000 steps."""
    H, c = badly_scaled()
    W, b = newton(H, c, l2)
    best = objective(H, c, l2)(np.append(W, b))[0]
    tolerance = min(1e-5, l2 / 100) / 10
    found = linear_probe(H, c, l2, tolerance=tolerance)
    assert found.converged and best - 1e-12 <= found.value <= best * (1 + 2e-5)
    assert np.linalg.norm(found.W - W) < 0.005 * np.linalg.norm(W)
    plain = lbfgs(objective(H, c, l2), np.zeros(42), tolerance=tolerance, warn=False)
    assert l2 > 1e-2 or plain.value > found.value
    assert l2 > 1e-5 or not plain.converged


@pytest.mark.equation("probe.9")
def test_features_that_do_not_vary_have_no_scale_but_that_of_the_penalty():
    """Scales are the root of Cⱼⱼ/K + λ, above the rounding of the mean; a constant feature gets no weight."""
    H, c, _ = problem(0, N=4100)
    H[:, 1] = 1e6
    mean, s = _scales(H, 3, 0.3)
    np.testing.assert_allclose(mean, H[::2].mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(s[[0, 2, 3]] ** 2, H[::2].var(axis=0)[[0, 2, 3]] / 3 + 0.3, rtol=1e-9)
    assert _scales(H, 3, 1e-300)[1].min() >= 1e6 * 2**-27  # √(eps/3) of the mean is more
    assert abs(linear_probe(H, c, 1e-3).W[:, 1]).max() < 1e-8
    constant = linear_probe(np.full((7, 2), 0.1), [0, 0, 0, 0, 1, 1, 1], 1e-12)
    first, second = constant.logits([[0.1, 0.1]])[0]
    assert constant.converged and first - second == pytest.approx(np.log(4 / 3), abs=1e-6)


def far_from_zero(seed):
    """Features with an offset, whose rounding in float32 ends a search early, and their classes."""
    rng = np.random.default_rng(seed)
    c = rng.integers(4, size=1000)
    return (rng.standard_normal((1000, 20)) + rng.standard_normal((4, 20))[c] + 300).astype(np.float32), c


@pytest.mark.equation("probe.1")
def test_where_rounding_ends_the_search_in_single_precision_it_goes_on_in_double():
    """In float32 with an offset of 300 the search in blocks stops early alone, and the probe at the float64 minimum."""
    H, c = far_from_zero(0)
    dtypes, blocks = [], _in_blocks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_in_blocks", lambda H, *rest: dtypes.append(H.dtype) or blocks(H, *rest))
        single = linear_probe(H, c, 0.01, tolerance=1e-6)
    double = linear_probe(H.astype(float), c, 0.01, tolerance=1e-6)
    assert {np.dtype("f4"), np.dtype("f8")} == set(dtypes) and dtypes == sorted(dtypes, key=lambda d: d.itemsize)
    assert single.converged and double.converged and single.W.dtype == np.float32
    assert abs(single.value - double.value) <= 84 * 1e-6**2 / (2 * 0.01) + 1e-14  # ‖gradient‖²/(2λ), 84 components
    with pytest.warns(RuntimeWarning, match="linear_probe"):
        few = [linear_probe(x, c, 0.01, iterations=3).value for x in (H, H.astype(float))]
    assert few[0] == pytest.approx(few[1], rel=1e-3)  # three iterations are three in either


@pytest.mark.equation("probe.1")
def test_many_samples_are_not_copied():
    """A probe of 60,000 samples takes less memory than a quarter of them."""
    H, c, _ = problem(0, N=60_000, m=30)
    for dtype in (np.float32, np.float64):
        x = H.astype(dtype)
        tracemalloc.start()
        linear_probe(x, c, 0.1, tolerance=1e-3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes / 4


@given(seed=seeds)
def test_the_probe_moves_with_its_data(seed):
    """Order of samples, a duplicated batch, rotated or shifted features leave the predictions as they were."""
    tolerance = 4 * REACHED  # of four searches for each seed, one now and then ends a little above REACHED
    H, c, _ = problem(seed)
    rng = np.random.default_rng(seed)
    turn, order = np.linalg.qr(rng.standard_normal((4, 4)))[0], rng.permutation(11)
    expected = probabilities(linear_probe(H, c, 0.1, tolerance=tolerance), H)
    for changed, labels, at in (
        (H[order], c[order], H),
        (np.concatenate([H, H]), np.concatenate([c, c]), H),
        (H @ turn, c, H @ turn),
        (H + 3.0, c, H + 3.0),
    ):
        found = linear_probe(changed, labels, 0.1, tolerance=tolerance)
        np.testing.assert_allclose(probabilities(found, at), expected, atol=1e-6)


def test_a_search_that_stops_early_warns_and_names_the_remedy():
    H, c, _ = problem(0, N=40)
    with pytest.warns(RuntimeWarning, match="linear_probe: a gradient of .* is left .*allow more iterations, raise l2"):
        assert not linear_probe(H, c, 1e-3, iterations=3).converged
    with pytest.warns(RuntimeWarning, match="cross_validate_l2: .* searches did not converge.*down; raise l2"):
        cross_validate_l2(H, c, (0.1, 1.0), tolerance=0.0, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert linear_probe(H, c, 1e-3).converged
        cross_validate_l2(H, c, rng=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_underflow_is_harmless(dtype):
    """Probabilities and weights too small for the dtype are zero, whatever NumPy is set to do about underflow."""
    H, c, _ = problem(0)
    H = H.astype(dtype)
    with np.errstate(all="raise"):
        assert linear_probe(1e4 * H, c, 1e-4, tolerance=1e-3).converged
        assert linear_probe(H, c, 1e37).converged
        assert np.isfinite(objective(1e4 * H, c, 1.0)(np.full(15, 1.0))[1]).all()
        assert np.isfinite(cross_validate_l2(1e4 * H, c, (1e-3, 1e3), tolerance=1e-3, rng=0)[1]).all()


# λ


@pytest.mark.equation("probe.5")
@pytest.mark.parametrize("folds", [2, 3, 11])
def test_cross_validation_is_its_loop(folds):
    """The losses are those of a loop over candidates, folds and held-out samples, each from a probe of its own."""
    H, c, _ = problem(1)
    candidates = (0.3, 0.01, 2.0)
    best, losses = cross_validate_l2(H, c, candidates, folds=folds, rng=5, tolerance=REACHED)
    fold = np.arange(11) if folds == 11 else _folds(c, folds, np.random.default_rng(5))
    expected = np.zeros(3)
    for k, l2 in enumerate(candidates):
        for f in range(folds):
            W, b = linear_probe(H[fold != f], c[fold != f], l2, tolerance=REACHED)[:2]
            for i in range(11):
                if fold[i] == f:
                    expected[k] += surprise(H[i], c[i], W, b) / 11
    np.testing.assert_allclose(losses, expected, atol=1e-6)
    assert best == candidates[int(np.argmin(expected))]


@pytest.mark.equation("probe.5", "probe.8")
def test_cross_validation_among_few_samples_is_that_in_all_features():
    """For 12 samples of 30 features the losses are those of searches among all weights by the plain objective."""
    H, c, _ = problem(2, N=12, m=30)
    losses = cross_validate_l2(H, c, (0.1, 1.0), folds=3, rng=4, tolerance=1e-7)[1]
    fold, expected = _folds(c, 3, np.random.default_rng(4)), np.zeros(2)
    for k, l2 in enumerate((0.1, 1.0)):
        for f in range(3):
            inside = fold != f
            W, b = parts(lbfgs(objective(H[inside], c[inside], l2), np.zeros(93), tolerance=1e-7).theta, 3)
            expected[k] += sum(surprise(H[i], c[i], W, b) for i in np.flatnonzero(~inside)) / 12
    np.testing.assert_allclose(losses, expected, atol=1e-4)  # ‖h‖ times 2 · 1e-7 √93/0.1 [probe.4]


@pytest.mark.equation("probe.5")
def test_the_choice_of_lambda_is_the_same_in_single_precision():
    """Losses and choice from float32 features with an offset of 300 are those from float64."""
    H, c = far_from_zero(0)
    candidates = (0.01, 0.1, 1.0)
    (single, losses), (double, exact) = (cross_validate_l2(x, c, candidates, rng=0) for x in (H, H.astype(float)))
    assert single == double and losses == pytest.approx(exact, rel=3e-3)


@given(seed=seeds, folds=st.integers(2, 12), K=st.integers(2, 5))
def test_each_class_is_spread_over_the_folds(seed, folds, K):
    c = problem(seed, N=12, K=K)[1]
    fold = _folds(c, folds, np.random.default_rng(seed))
    assert fold.min() >= 0 and fold.max() < folds
    for members in (np.arange(12), *(np.flatnonzero(c == k) for k in range(K))):
        counts = np.bincount(fold[members], minlength=folds)
        assert counts.max() - counts.min() <= 1


@pytest.mark.equation("probe.5")
def test_a_search_that_need_not_move_knows_nothing():
    """With a tolerance that the start meets, zero, every class is equally likely and CV is ln K for each candidate."""
    H, c, _ = problem(0)
    np.testing.assert_allclose(cross_validate_l2(H, c, (0.1, 1.0), tolerance=100, rng=0)[1], np.log(3), rtol=1e-14)


def test_cross_validation_prefers_what_predicts():
    """Leave one out of two samples of each class at each place: the place now speaks for the other class."""
    H, c = np.array([[-1.0], [-1], [1], [1]]), np.array([0, 1, 0, 1])
    candidates = np.array([1.0, 1e3, 1e-3])
    assert cross_validate_l2(H, c, candidates, folds=4)[0] == 1e3
    assert cross_validate_l2(H, np.sort(c), candidates, folds=4)[0] == 1e-3


def test_candidates_may_be_an_array():
    H, c, _ = problem(0)
    l2, losses = cross_validate_l2(H, c, np.logspace(-2, 0, 3), rng=0)
    assert type(l2) is float and l2 in (0.01, 0.1, 1.0)
    assert np.array_equal(losses, cross_validate_l2(H, c, (0.01, 0.1, 1), rng=0)[1])


# Features of images


@pytest.mark.equation("probe.6")
@given(
    seed=seeds,
    shape=st.tuples(st.integers(3, 7), st.integers(3, 6)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    data=st.data(),
)
def test_pooling_is_a_double_loop(seed, shape, window, data):
    """The features are the means of loops over images, regions, unequal where they must be, and the places in them."""
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
    for block in (2, 16):
        found = pooled_features(net.features, x, np.array(window), np.array(grid), block)
        np.testing.assert_allclose(found, expected.reshape(5, -1), rtol=1e-12, atol=1e-13)


@pytest.mark.equation("probe.6")
def test_within_a_region_place_does_not_matter():
    """A spot that stays inside one region of windows of one pixel gives the same features wherever it is."""
    x = np.zeros((4, 4, 6))
    for image, (u, v) in zip(x, [(0, 0), (1, 2), (1, 1), (2, 0)], strict=True):
        image[u, v] = 1
    features = pooled_features(lambda q: np.hstack([q, q**2]), x, (1, 1))
    assert np.array_equal(features[0], [1 / 6, 1 / 6, 0, 0, 0, 0, 0, 0])
    assert np.array_equal(features[1], features[0]) and np.array_equal(features[2], features[0])
    assert np.array_equal(features[3], [0, 0, 0, 0, 1 / 6, 1 / 6, 0, 0])


@pytest.mark.equation("probe.7")
@given(seed=seeds, floor=st.floats(1e-6, 10))
def test_whitened_covariance_in_closed_form(seed, floor):
    """Whitened data have the covariance U diag(d²/(d² + ε d̄²)) Uᵀ, and Z is the symmetric root of (C + ε d̄² I)⁻¹."""
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


@pytest.mark.equation("probe.7")
def test_directions_without_variance_stay_finite():
    """Data without variance along (1, 1, 1) are finite after whitening and still have none."""
    x = np.random.default_rng(0).standard_normal((20, 3))
    x = x - x.mean(axis=1, keepdims=True)
    z = whitening(x)(x)
    assert np.isfinite(z).all() and abs(z.sum(axis=1)).max() < 1e-12


# Kinds of numbers, and what is refused


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    H, c, _ = problem(0)
    H, before = H.astype(dtype), H.astype(dtype)
    found = linear_probe(H, c, 0.1)
    assert found.converged and {found.W.dtype, found.b.dtype, found.logits(H).dtype} == {np.dtype(dtype)}
    exact = linear_probe(H.astype(float), c, 0.1, tolerance=REACHED)
    np.testing.assert_allclose(found.W, exact.W, atol=1e-3)  # 1e-5 √15/0.1
    assert cross_validate_l2(H, c, rng=0)[1].dtype == np.float64
    white = whitening(H)
    assert white(H).dtype == white.Z.dtype == dtype
    assert pooled_features(lambda q: q, H[None], (2, 1)).dtype == dtype
    assert np.array_equal(H, before)


H, C, _ = problem(0)
BAD = [
    ("features: got shape", lambda: linear_probe(H[0], C, 1.0)),
    ("features: contains NaN", lambda: linear_probe(np.where(H == H[0, 0], np.nan, H), C, 1.0)),
    ("labels: got dtype", lambda: linear_probe(H, C.astype(float), 1.0)),
    ("labels: got shape", lambda: linear_probe(H, C[:-1], 1.0)),
    ("labels: got values from -1", lambda: linear_probe(H, C - 1, 1.0)),
    (r"labels: got \[.* samples of classes", lambda: linear_probe(H, np.zeros(11, int), 1.0)),
    (r"labels: got \[.* samples of classes", lambda: linear_probe(H, C * 2, 1.0)),
    (r"labels: got \[.* samples of classes", lambda: cross_validate_l2(H[:3], [0, 1, 1])),
    ("l2: got 0", lambda: linear_probe(H, C, 0)),
    ("l2: got -1", lambda: objective(H, C, -1)),
    ("l2: got 'a'", lambda: objective(H, C, "a")),
    ("candidates: got 0", lambda: cross_validate_l2(H, C, (1, 0))),
    ("candidates: got", lambda: cross_validate_l2(H, C, ())),
    ("candidates: got shape", lambda: cross_validate_l2(H, C, 0.1)),
    ("folds: got 1", lambda: cross_validate_l2(H, C, folds=1)),
    ("folds: got 12", lambda: cross_validate_l2(H, C, folds=12)),
    ("rng: ", lambda: cross_validate_l2(H, C, rng="a")),
    ("theta: got shape", lambda: objective(H, C, 1.0)(np.zeros(14))),
    ("iterations: ", lambda: linear_probe(H, C, 1.0, iterations=0)),
    ("tolerance: ", lambda: linear_probe(H, C, 1.0, tolerance=-1)),
    ("features: got shape", lambda: linear_probe(H, C, 1.0).predict(H[:, 1:])),
    ("features: got dtype float32", lambda: linear_probe(H, C, 1.0).logits(H.astype(np.float32))),
    ("f: got NoneType", lambda: pooled_features(None, H[None], (1, 1))),
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
