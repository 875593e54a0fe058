"""PCA: its three definitions against loops, closed forms, each other, and the theorems about the linear network."""

import itertools
import warnings

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import orthonormal, sine, spectrum, svd_axes, with_spectrum

from minissl.linear import pca
from minissl.linear.pca import (
    by_reconstruction,
    by_svd,
    by_variance,
    locally_optimal_iteration,
    power_iteration,
    reconstruction_error,
)
from minissl.nn.gradcheck import complex_step, gradient_error, relative_error, taylor_slope
from minissl.nn.optimizers import lbfgs

METHODS = [by_svd, by_variance, by_reconstruction]
EPS = 2.0**-52


def random_spectrum(rng, n, m, gap):
    """n eigenvalues whose sum is 1, at random but for λ_m − λ_{m+1}, which is `gap`."""
    lambdas = np.sort(rng.exponential(size=n) ** 3)[::-1]
    lambdas[:m] -= lambdas[m - 1] - (lambdas[m] if m < n else 0)
    lambdas[:m] += gap / (1 - m * gap) * lambdas.sum()
    return lambdas / lambdas.sum()


def covariance(x):
    """By loops, from the definition."""
    mean = sum(x) / len(x)
    return sum(np.outer(row - mean, row - mean) for row in x) / len(x)


shapes = st.tuples(st.integers(0, 2**32), st.integers(2, 9), st.integers(3, 40)).filter(lambda t: t[1] != t[2])


# The three definitions


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.equation("pca.1", "pca.14")
def test_four_points_worked_by_hand(method):
    """Each method's axes, variances, mean, components and reconstructions of four points are those worked by hand."""
    # C = (5 3; 3 5): eigenvalues 8 and 2 along (1, 1) and (1, -1); entries tie, so the first is the positive one
    x = np.array([[3, 1], [1, 3], [-3, -1], [-1, -3]]) + np.array([10, -20])
    found = method(x, 2)
    assert found.W == pytest.approx(np.array([[1, 1], [1, -1]]) / 2**0.5, abs=1e-6)
    assert found.variances == pytest.approx([8, 2], rel=1e-9)
    assert found.mean == pytest.approx([10, -20])
    assert found.encode([[12, -18]]) == pytest.approx(np.array([[8**0.5, 0]]), abs=1e-6)
    assert found.decode([[8**0.5, 0]]) == pytest.approx(np.array([[12, -18]]), abs=1e-6)


@settings(max_examples=25)
@given(shapes, st.integers(1, 5), st.floats(1e-3, 0.1), st.floats(-100, 100))
@pytest.mark.equation("pca.1", "pca.7", "pca.14")
def test_the_three_definitions_agree(shape, m, gap, mean):
    """Over random spectra, the three methods find the true subspace and variances, and leave the discarded variance."""
    seed, n, N = shape
    r = min(n, N - 1)  # rank of centred data
    m = min(m, r)
    rng = np.random.default_rng(seed)
    lambdas = random_spectrum(rng, r, m, gap)  # a gap from a thousandth to a tenth of the total variance
    x, V = with_spectrum(rng, N, lambdas, n, mean)
    before = x.copy()
    for method, bound in zip(METHODS, (1e-8, 1e-6, 1e-4), strict=True):
        found = method(x, m)
        assert sine(found.W, V[:m]) <= bound
        assert found.variances == pytest.approx(lambdas[:m], rel=max(bound**2, 1e-9))
        assert abs(found.W @ found.W.T - np.eye(m)).max() <= 1e-12
        assert np.array_equal(found.A, found.W.T)
        assert (np.diff(found.variances) <= 1e-15).all()
        error = ((x - found.decode(found.encode(x))) ** 2).sum(axis=1).mean()
        assert error == pytest.approx(lambdas[m:].sum(), abs=1e-7)  # [pca.7]
        s = found.encode(x)
        assert abs(found.encode(found.decode(s)) - s).max() <= 1e-10
        assert abs(s.mean(axis=0)).max() <= 1e-10  # the principal components: centred, uncorrelated, of these variances
        assert abs(s.T @ s / N - np.diag(found.variances)).max() <= 1e-10
    assert np.array_equal(x, before)


# By variance


@pytest.mark.equation("pca.1")
@given(shapes)
def test_no_direction_orthogonal_to_those_before_has_more_variance(shape):
    """The variance of wₖ is at least that of twenty random directions orthogonal to the axes before it."""
    seed, n, N = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, n)) @ rng.standard_normal((n, n))
    C, found = covariance(x), by_variance(x, min(n, N))
    for k, variance in enumerate(found.variances):
        for w in rng.standard_normal((20, n)):
            w -= found.W[:k].T @ (found.W[:k] @ w)
            assert w @ C @ w <= (1 + 1e-9) * variance * (w @ w) + 1e-12 * C.trace()


@pytest.mark.equation("pca.2")
@given(st.integers(0, 2**32))
def test_each_multiplication_by_the_covariance_brings_the_axis_nearer(seed):
    """After t multiplications by C the tangent of the angle to v₁ is at most (λ₂/λ₁)ᵗ times what it was at first."""
    rng = np.random.default_rng(seed)
    lambdas = np.array([3.0, 2.4, 1.0, 0.2])
    x, V = with_spectrum(rng, 9, lambdas)
    C, w = covariance(x), rng.standard_normal(4)

    def tangent(w):
        return np.linalg.norm(V[1:] @ w) / abs(V[0] @ w)

    first = tangent(w)
    for t in range(1, 30):
        w = C @ w
        w /= np.linalg.norm(w)
        assert tangent(w) <= 0.8**t * first * (1 + 1e-9) + 1e-14
    only_two = V[0] + 3 * V[1]  # equality where only v_1 and v_2 take part
    assert tangent(C @ C @ only_two) == pytest.approx(0.8**2 * 3, rel=1e-9)


@pytest.mark.equation("pca.2")
def test_power_iteration_multiplies_by_the_covariance_and_divides_by_the_length(monkeypatch):
    """Each direction that power_iteration comes to is C times the one before, divided by its length."""
    rng, ws, gradient = np.random.default_rng(0), [], pca._gradient
    monkeypatch.setattr(pca, "_gradient", lambda Y, w: ws.append(w) or gradient(Y, w))
    Y, start = rng.standard_normal((7, 4)), rng.standard_normal(4)
    w = power_iteration(Y, start)
    assert ws[0] == pytest.approx(start / np.linalg.norm(start)) and np.array_equal(ws[-1], w)
    for before, after in itertools.pairwise(ws):
        Cw = Y.T @ Y @ before
        assert after == pytest.approx(Cw / np.linalg.norm(Cw), rel=1e-12, abs=1e-14)


@pytest.mark.equation("pca.2", "pca.4")
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([(20, 6), (5, 8)]))
def test_power_iteration_and_the_locally_optimal_iteration_find_the_same_axes(seed, shape):
    """by_variance gives the same axes and variances with either search, which are those of the data's construction."""
    N, n = shape
    rng = np.random.default_rng(seed)
    x, V = with_spectrum(rng, N, 0.5 ** np.arange(4), n, mean=3)
    plain, fast = (by_variance(x, 3, search=f, rng=seed) for f in (power_iteration, locally_optimal_iteration))
    for found in (plain, fast):
        assert abs(abs(found.W @ V.T) - np.eye(3, 4)).max() <= 1e-10
        assert found.variances == pytest.approx([1, 0.5, 0.25], rel=1e-12)
    assert plain.W == pytest.approx(fast.W, abs=1e-10)


@pytest.mark.equation("pca.3")
def test_the_gradient_on_the_sphere_and_the_angle_that_it_bounds():
    """The gradient of the variance on the sphere is that of complex step, and by_variance stops where it vanishes."""
    rng = np.random.default_rng(0)
    x, V = with_spectrum(rng, 31, np.array([3.0, 2.5, 1.0, 0.2]))
    C, w = covariance(x), V[0] + 0.1 * rng.standard_normal(4)
    w /= np.linalg.norm(w)
    g = 2 * (C @ w - (w @ C @ w) * w)
    assert relative_error(g, complex_step(lambda w: (w @ C @ w) / (w @ w), w)) <= 1e-12
    found = by_variance(x, 3)
    residual = found.W @ C - found.variances[:, None] * found.W
    assert np.linalg.norm(residual, axis=1).max() <= 1e-10 * 3


@pytest.mark.equation("pca.3")
@given(st.integers(0, 2**32), st.floats(0.01, 1.5))
def test_the_gradient_bounds_the_angle_where_the_variance_exceeds_the_second_eigenvalue(seed, t):
    """|sin ∠(w, v₁)| is at most ½‖g‖/(λ − λ₂) for random w with λ > λ₂, and the bound is tan t where u is v₂."""
    rng = np.random.default_rng(seed)
    lambdas = np.array([3.0, 1.5, 1.0, 0.2])
    V = orthonormal(rng, 4, 4)
    C, v = (V * lambdas) @ V.T, V[:, 0]

    def bound(w):
        variance = w @ C @ w
        return np.linalg.norm(C @ w - variance * w) / (variance - 1.5), variance

    u = V[:, 1:] @ rng.standard_normal(3)
    w = np.cos(t) * v + np.sin(t) * u / np.linalg.norm(u)
    if bound(w)[1] > 1.5 + 1e-9:
        assert np.sin(t) <= bound(w)[0] * (1 + 1e-9)
    w = np.cos(t) * v + np.sin(t) * V[:, 1]  # here ‖Cw − λw‖ = sin t cos t (λ₁ − λ₂), λ − λ₂ = cos² t (λ₁ − λ₂)
    assert bound(w)[0] == pytest.approx(np.tan(t), rel=1e-8)
    without = V[:, 1]  # where λ is not above λ₂ a small gradient says nothing
    assert np.linalg.norm(C @ without - 1.5 * without) <= 1e-14 and abs(without @ v) <= 1e-14


def steps_taken(monkeypatch, variances, rng):
    """How many steps the locally optimal iteration takes to v₁."""
    steps, eigh = [], np.linalg.eigh
    x, V = with_spectrum(rng, len(variances) + 7, np.array(variances))
    Y = pca._root(x)[0]
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "eigh", lambda M: steps.append(len(M)) or eigh(M))
        w = locally_optimal_iteration(Y, rng.standard_normal(len(variances)))
    assert sine(w[None], V[:1]) <= 1e-6 and w @ Y.T @ Y @ w == pytest.approx(variances[0], rel=1e-12)
    return len(steps)


@pytest.mark.equation("pca.4")
def test_each_step_is_the_best_of_its_span(monkeypatch):
    """In two dimensions one step reaches v₁, in three dimensions two, and a gap of 1e-4 takes at most 25/√gap."""
    rng = np.random.default_rng(0)
    assert steps_taken(monkeypatch, [2.0, 1.9], rng) == 1  # w and g span the plane
    assert steps_taken(monkeypatch, [3.0, 2.9, 0.1], rng) == 2  # w, g and p span the space
    near = np.r_[1.0, np.linspace(1 - 1e-4, 0, 199)]
    # 1/√gap = 100; every step multiplies the error by exp(−2/100): 1,270 of them from 1 to 1e-11, and some
    # more from a start far away. Steepest ascent: exp(−2/10,000).
    assert steps_taken(monkeypatch, near, rng) <= 2500


def test_the_rates_of_the_two_iterations_as_observed(monkeypatch):
    """Nothing proves it: where the gap falls 16 times, power iteration takes 16 times the steps, the other some 4."""
    rng, steps, gradient = np.random.default_rng(0), [], pca._gradient
    monkeypatch.setattr(pca, "_gradient", lambda Y, w: steps.append(1) or gradient(Y, w))

    def median(search, gap):
        dense = (1 - gap) * (1 + np.cos(np.linspace(0, np.pi, 200))) / 2  # at the edge next to λ₁ = 1
        counts = []
        for _ in range(7):
            steps.clear()
            search(np.diag(np.sqrt(np.r_[1, dense])), rng.standard_normal(201))
            counts.append(len(steps))
        return np.median(counts)

    assert 12 <= median(power_iteration, 0.01) / median(power_iteration, 0.16) <= 20
    assert 2 <= median(locally_optimal_iteration, 0.01) / median(locally_optimal_iteration, 0.16) <= 9


# By reconstruction


def random_network(rng, n, m):
    return rng.standard_normal((n, m)), rng.standard_normal((m, n))


def flat(Y, n, m, kappa=0.0):
    """`reconstruction_error` as a function of one vector."""

    def objective(theta):
        J, dA, dW = reconstruction_error(Y, theta[: n * m].reshape(n, m), theta[n * m :].reshape(m, n), kappa)
        return J, np.concatenate([dA.ravel(), dW.ravel()])

    return objective


@pytest.mark.equation("pca.5")
def test_the_objective_by_loops_and_by_traces():
    """J by loops over samples and components equals the code's and the formula by traces; weight decay adds to it."""
    rng = np.random.default_rng(0)
    N, n, m = 7, 4, 3
    x, (A, W) = rng.standard_normal((N, n)) + 2, random_network(rng, n, m)
    y, C = x - x.mean(axis=0), covariance(x)
    J = 0
    for i in range(N):
        for j in range(n):
            y_hat = sum(A[j, k] * sum(W[k, l] * y[i, l] for l in range(n)) for k in range(m))
            J += (y[i, j] - y_hat) ** 2 / N
    assert reconstruction_error(y / N**0.5, A, W)[0] == pytest.approx(J, rel=1e-13)
    traces = np.trace(C) - 2 * np.trace(W @ C @ A) + np.trace(A.T @ A @ W @ C @ W.T)
    assert J == pytest.approx(traces, rel=1e-12)
    decayed = reconstruction_error(y / N**0.5, A, W, 0.3)[0]
    assert decayed - J == pytest.approx(0.3 * (sum(a**2 for a in A.ravel()) + sum(w**2 for w in W.ravel())))


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([(7, 4, 3), (3, 5, 2), (9, 2, 1)]), st.sampled_from([0.0, 0.7]))
@pytest.mark.equation("pca.6")
def test_the_gradient_of_the_linear_network(seed, shape, kappa):
    """The gradients in A and W equal finite differences, complex step, and sums over the samples by loops."""
    rng = np.random.default_rng(seed)
    N, n, m = shape
    y = rng.standard_normal((N, n))
    Y, theta = y / N**0.5, rng.standard_normal(2 * n * m)
    J = flat(Y, n, m, kappa)
    assert gradient_error(J, theta) <= 1e-7
    assert relative_error(J(theta)[1], complex_step(lambda t: J(t)[0], theta)) <= 1e-12
    # the remainder also has terms in h^3 and h^4, so a small h
    assert taylor_slope(J, theta, rng.standard_normal(theta.size), h=1e-4) == pytest.approx(2, abs=0.05)
    A, W = theta[: n * m].reshape(n, m), theta[n * m :].reshape(m, n)
    dA, dW = np.zeros((n, m)), np.zeros((m, n))
    for y_i in y:
        s, e = W @ y_i, y_i - A @ W @ y_i
        dA += -2 * np.outer(e, s) / N
        dW += -2 * np.outer(A.T @ e, y_i) / N
    assert relative_error(J(theta)[1], np.r_[(dA + 2 * kappa * A).ravel(), (dW + 2 * kappa * W).ravel()]) <= 1e-12


@pytest.mark.equation("pca.7")
@given(st.integers(0, 2**32))
def test_no_linear_network_beats_the_discarded_variance(seed):
    """J at the first eigenvectors is the discarded variance, for every G, and no other network has less."""
    rng = np.random.default_rng(seed)
    lambdas = np.array([4.0, 3.0, 1.0, 0.5, 0.1])
    x, V = with_spectrum(rng, 11, lambdas)
    Y = x / 11**0.5
    assert reconstruction_error(Y, V[:2].T, V[:2])[0] == pytest.approx(1.6, rel=1e-12)
    G = rng.standard_normal((2, 2))
    assert reconstruction_error(Y, V[:2].T @ G, np.linalg.inv(G) @ V[:2])[0] == pytest.approx(1.6, rel=1e-6)
    A = rng.standard_normal((5, 2))  # with the best W for it, and with another
    assert reconstruction_error(Y, A, np.linalg.pinv(A))[0] >= 1.6 - 1e-12
    assert reconstruction_error(Y, *random_network(rng, 5, 2))[0] >= 1.6 - 1e-12
    Q = orthonormal(rng, 5, 2)  # the two steps of the proof: the projector, and Ky Fan
    best = lambdas.sum() - np.trace(Q.T @ covariance(x) @ Q)
    assert reconstruction_error(Y, Q, rng.standard_normal((2, 5)))[0] >= best - 1e-12 >= 1.6 - 2e-12
    truncated = np.linalg.svd(Y, full_matrices=False)  # Eckart & Young: the nearest matrix of rank 2
    assert ((Y - (truncated[0][:, :2] * truncated[1][:2]) @ truncated[2][:2]) ** 2).sum() == pytest.approx(1.6)


def scaled(R, L, r, m):
    """`_scaled_error` as a function of one vector."""

    def objective(theta):
        J, dB, dF = pca._scaled_error(R, L, theta[: r * m].reshape(r, m), theta[r * m :].reshape(m, r))
        return J, np.concatenate([dB.ravel(), dF.ravel()])

    return objective


@pytest.mark.equation("pca.8")
@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_white_input_and_scaled_units_leave_the_error_as_it_is(seed):
    """J and its gradient in the scaled unknowns are, by the chain rule, those of the network that reads y."""
    rng = np.random.default_rng(seed)
    N, n, m = 13, 5, 2
    y = rng.standard_normal((N, n))
    y -= y.mean(axis=0)
    R = np.linalg.qr(y / N**0.5, mode="r")
    (A, W), L = random_network(rng, n, m), np.triu(rng.uniform(1, 2, (m, m)))
    J, dA, dW = reconstruction_error(y / N**0.5, A, W)
    B, F = A @ L.T, W @ R.T
    again, dB, dF = pca._scaled_error(R, L, B, F)
    assert again == pytest.approx(J, rel=1e-11)
    naive = sum((R[k, j] - sum(F[l, k] * A[j, l] for l in range(m))) ** 2 for k in range(n) for j in range(n))
    assert again == pytest.approx(naive, rel=1e-12)
    assert relative_error(dB @ L, dA) <= 1e-10 and relative_error(dF @ R, dW) <= 1e-10  # B = ALᵀ, F = WRᵀ
    assert gradient_error(scaled(R, L, n, m), np.r_[B.ravel(), F.ravel()]) <= 1e-7


@pytest.mark.equation("pca.9")
def test_in_scaled_units_the_curvature_depends_on_ratios_of_neighbours_alone():
    """The Hessian at the minimum has the eigenvalues 2(1 ± √(λⱼ/λᵢ)), and 0 and 4, m² times each."""
    rng = np.random.default_rng(0)
    lambdas, r, m = np.array([1e4, 1.0, 0.5, 0.2]), 4, 2
    x, V = with_spectrum(rng, 9, lambdas)
    R = pca._root(x)[0]
    A = V[:m].T @ orthonormal(rng, m, m)
    F = (R @ A).T
    L = np.linalg.qr(F.T, mode="r")
    objective, theta = scaled(R, L, r, m), np.r_[(A @ L.T).ravel(), F.ravel()]
    h = 1e-2  # J is of degree four, so central differences of its gradient are exact but for terms in h²
    columns = [objective(theta + d)[1] - objective(theta - d)[1] for d in h * np.eye(2 * r * m)]
    found = np.sort(np.linalg.eigvalsh((np.array(columns) + np.array(columns).T) / 4 / h))
    pairs = [2 * (1 + sign * (lambdas[j] / lambdas[i]) ** 0.5) for i in (0, 1) for j in (2, 3) for sign in (1, -1)]
    assert found == pytest.approx(np.sort(np.r_[pairs, np.zeros(m * m), np.full(m * m, 4.0)]), abs=1e-3)


@pytest.mark.equation("pca.10", "pca.11")
def test_every_choice_of_eigenvectors_is_critical_and_all_but_one_are_saddles():
    """For all choices of eigenvectors gradient and J are as stated, and so is J when one is turned to another."""
    rng = np.random.default_rng(0)
    lambdas = np.array([3.0, 2.2, 1.5, 0.7, 0.4, 0.1])
    n, m = 6, 3
    x, V = with_spectrum(rng, 17, lambdas)
    Y = x / 17**0.5
    for I in itertools.combinations(range(n), m):
        J, dA, dW = reconstruction_error(Y, V[list(I)].T, V[list(I)])
        assert J == pytest.approx(lambdas.sum() - lambdas[list(I)].sum(), rel=1e-12)
        assert max(abs(dA).max(), abs(dW).max()) <= 1e-13
        curvatures = []
        for i, j in itertools.product(I, set(range(n)) - set(I)):

            def turned(t, i=i, j=j, I=I):
                W = V[list(I)].copy()
                W[I.index(i)] = np.cos(t) * V[i] + np.sin(t) * V[j]
                return reconstruction_error(Y, W.T, W)[0]

            assert turned(0.3) - J == pytest.approx((lambdas[i] - lambdas[j]) * np.sin(0.3) ** 2, rel=1e-10)
            h = 1e-3
            curvatures.append((turned(h) - 2 * J + turned(-h)) / h**2)
            assert curvatures[-1] == pytest.approx(2 * (lambdas[i] - lambdas[j]), rel=1e-4)
        assert (min(curvatures) < 0) == (I != (0, 1, 2))


@pytest.mark.equation("pca.10")
@pytest.mark.parametrize("seed", range(5))
def test_the_minimum_is_found_from_anywhere(seed):
    """by_reconstruction ends in the subspace of the first eigenvectors, from five random starts, on two spectra."""
    rng = np.random.default_rng(seed)
    x, V = with_spectrum(rng, 23, np.array([3.0, 2.2, 1.5, 0.7, 0.4]))
    assert sine(by_reconstruction(x, 2, rng=seed).W, V[:2]) <= 1e-4
    slow = np.array([0.96, 0.034, 2.5e-3, 2.3e-3, 1.3e-3, 7e-4, 1.5e-4, 3e-6, 1.5e-6])  # unscaled: 2,000 steps
    x, V = with_spectrum(rng, 18, slow)
    assert sine(by_reconstruction(x, 4, rng=seed).W, V[:4]) <= 1e-4


SPECTRA = {
    "one large variance": (np.r_[1, 1e-8 * np.linspace(1, 0.5, 50)], 5),
    "two large, then a gap of 1e-3": (np.r_[1, 0.5, 1e-8 * np.r_[1, 0.999, np.linspace(0.9, 0.1, 50)]], 3),
    "large ones a million times": (np.r_[1, 0.5, 1e-12 * np.r_[1, 0.9, np.linspace(0.5, 0.1, 50)]], 3),
    "flat": (np.r_[np.full(10, 1.001), np.ones(100)], 10),
    "nearly equal": (np.r_[np.full(5, 1 + 1e-4), np.ones(60)], 5),
    "geometric": (0.8 ** np.arange(60), 30),
}


@pytest.mark.equation("pca.3", "pca.8")
@pytest.mark.parametrize("name", SPECTRA)
def test_the_accuracy_that_the_searches_promise(name):
    """On hard spectra the sine is at most what the docstrings of by_variance and by_reconstruction promise."""
    lambdas, m = SPECTRA[name]
    x, V = with_spectrum(np.random.default_rng(0), len(lambdas) + 5, lambdas)
    S, gap = np.sqrt(lambdas), 1 - lambdas[m] / lambdas[m - 1]
    rounding = 10 * EPS * S[0] / (S[m - 1] - S[m])  # of the data, which are what they are in float64
    assert sine(by_variance(x, m).W, V[:m]) <= m * 1e-11 / gap + rounding
    assert sine(by_reconstruction(x, m).W, V[:m]) <= 2e-7 / gap + rounding  # "about" 1e-7/gap


@pytest.mark.equation("pca.3")
def test_one_direction_at_a_time_down_to_tiny_variances():
    """With deviations 10⁻ⁱ, by_variance finds ten of twelve axes, to the rounding of the data."""
    lambdas, m = 100.0 ** -np.arange(12), 10
    x, V = with_spectrum(np.random.default_rng(0), 30, lambdas)
    rounding = 10 * EPS / (lambdas[m - 1] ** 0.5 - lambdas[m] ** 0.5)
    assert sine(by_variance(x, m).W, V[:m]) <= rounding + 1e-9


@pytest.mark.parametrize("m", [2, 12, 20])
def test_columns_of_very_different_scale(m):
    """Issue 14: on raw breast-cancer data and m = 12 the search ended, silently, at a sine of 1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 30)) @ (np.eye(30) + 0.3 * rng.standard_normal((30, 30)))
    x = x * np.logspace(3, -3, 30) + np.logspace(3, -3, 30)
    W, variances, _ = svd_axes(x, m)
    for method, bound in ((by_svd, 1e-9), (by_variance, 1e-9), (by_reconstruction, 1e-5)):
        found = method(x, m)  # and no warning
        assert sine(found.W, W) <= bound
        assert found.variances == pytest.approx(variances, rel=1e-9)


@pytest.mark.equation("pca.12", "pca.13")
def test_weight_decay_brings_out_the_axes():
    """The stated network is a critical point of the stated value, which L-BFGS finds, the axes in its decoder."""
    rng = np.random.default_rng(0)
    lambdas, kappa, n, m = np.array([3.0, 2.0, 1.2, 0.5, 0.2]), 0.4, 5, 3
    x, V = with_spectrum(rng, 19, lambdas)
    Y = x / 19**0.5
    minimum = (2 * kappa - kappa**2 / lambdas[:m]).sum() + lambdas[m:].sum()
    O = orthonormal(rng, m, m)
    A = V[:m].T * np.sqrt(1 - kappa / lambdas[:m]) @ O
    J, dA, dW = reconstruction_error(Y, A, A.T, kappa)
    assert J == pytest.approx(minimum, rel=1e-12)
    assert max(abs(dA).max(), abs(dW).max()) <= 1e-13
    found = lbfgs(flat(Y, n, m, kappa), rng.standard_normal(2 * n * m), iterations=5000, tolerance=1e-7)
    assert found.value == pytest.approx(minimum, rel=1e-10)
    A, W = found.theta[: n * m].reshape(n, m), found.theta[n * m :].reshape(m, n)
    assert abs(A - W.T).max() <= 1e-6
    left, a, _ = np.linalg.svd(A, full_matrices=False)
    assert a**2 == pytest.approx(1 - kappa / lambdas[:m], rel=1e-6)
    assert abs(abs(left.T @ V[:m].T) - np.eye(m)).max() <= 1e-6  # the axes themselves, not only their span


@pytest.mark.equation("pca.13")
@given(st.integers(0, 2**32), st.floats(0.05, 5))
def test_no_network_beats_the_minimum_with_weight_decay(seed, kappa):
    """The proof's bound, also for κ above eigenvalues and a singular C, holds for A and W at random near the best."""
    rng = np.random.default_rng(seed)
    lambdas, n, m = np.array([3.0, 2.0, 1.2, 0.0]), 4, 2
    x, V = with_spectrum(rng, 19, lambdas)
    kept = np.maximum(lambdas[:m] - kappa, 0)
    minimum = lambdas.sum() - (kept**2 / lambdas[:m]).sum()
    A = V[:m].T * np.sqrt(kept / lambdas[:m])
    assert reconstruction_error(x / 19**0.5, A, A.T, kappa)[0] == pytest.approx(minimum, rel=1e-12)
    for scale in (1e-3, 0.1, 1):
        dA, dW = random_network(rng, n, m)
        assert reconstruction_error(x / 19**0.5, A + scale * dA, A.T + scale * dW, kappa)[0] >= minimum - 1e-12


# By singular value decomposition: how exact


def pascal(n):
    """Pᵢⱼ = (i + j over i), integers; the eigenvalues come in pairs μ, 1/μ, so the least are known exactly."""
    P = np.ones((n, n))
    for i, j in itertools.product(range(1, n), range(1, n)):
        P[i, j] = P[i - 1, j] + P[i, j - 1]
    return P


@pytest.mark.equation("pca.15")
@pytest.mark.parametrize("n", [8, 12, 15])
def test_small_variances_of_pascal_matrices(n):
    """The SVD's relative error is at most of the order 2 eps S₁/Sᵢ, and at i = n above that of full accuracy."""
    P = pascal(n)
    x = np.concatenate([P, -P])  # centred; C = P²/n
    mu = np.linalg.eigvalsh(P)[::-1]
    mu[n // 2 :] = 1 / mu[: (n + 1) // 2][::-1]  # the small ones from the large ones, which are exact to rounding
    exact = mu**2 / n
    errors = {method: abs(method(x, n).variances / exact - 1) for method in (by_svd, by_variance)}
    bound = 2 * EPS * mu[0] / mu
    for error in errors.values():
        assert (error <= 10 * bound + 1e-14).all()
    assert errors[by_svd][-1] >= 100 * EPS  # "full relative accuracy", as was once said here, would be less
    from_covariance = abs(np.linalg.eigvalsh(covariance(x))[::-1] / exact - 1)
    assert from_covariance[-1] >= 1e3 * errors[by_svd][-1]  # twice as many digits


@pytest.mark.equation("pca.15")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_variance_of_small_tall_data_is_lost(method, dtype):
    """Issue 14: with deviations 10^-i, 500 samples of 12 variables had a last variance of 0; right is 1e-22."""
    x, _ = with_spectrum(np.random.default_rng(0), 500, 100.0 ** -np.arange(12))
    x = x.astype(dtype)
    _, exact, _ = svd_axes(x, 12)
    if dtype == "float64":
        assert exact == pytest.approx(100.0 ** -np.arange(12), rel=1e-4)
    S = np.sqrt(exact)
    found = method(x, 12).variances.astype(float)
    assert (found > 0).all()
    assert (abs(found / exact - 1) <= 20 * EPS * S[0] / S + np.finfo(dtype).eps).all()


@pytest.mark.equation("pca.14", "pca.15")
@pytest.mark.parametrize("shape", [(800, 300), (300, 800)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_accuracy_that_large_data_have(shape, dtype):
    """Above 2e7 the variances are within about eps λ₁ of those of the SVD, eps of the data's dtype."""
    rng, m = np.random.default_rng(0), 250
    assert np.prod(shape) * min(shape) > pca.SMALL
    x, _ = with_spectrum(rng, shape[0], 0.9 ** np.arange(299), shape[1], mean=rng.uniform(1, 2, shape[1]))
    x = x.astype(dtype)
    W, exact, mean = svd_axes(x, m)
    found = by_svd(x, m)
    error = {"float32": 4, "float64": 30}[dtype] * float(np.finfo(dtype).eps)  # eigh's own in float64: 300 variables
    assert abs(found.variances - exact).max() <= error * exact[0]
    assert found.mean == pytest.approx(mean, rel=error)
    k = 20  # the axes: 2 ‖error of C‖ over the gap, see minissl/linear/eigen.py
    assert sine(found.W[:k], W[:k]) <= 2 * error * exact[0] / (exact[k - 1] - exact[k])


@pytest.mark.parametrize(("N", "n"), [(500, 200), (501, 200), (200, 500), (200, 501)])
def test_where_small_ends(N, n, monkeypatch):
    """N n min(N, n) = 2e7 is the last shape of which by_svd decomposes all."""
    asked = []

    def leading(x, m):
        asked.append(x.shape)
        return svd_axes(x, m)

    monkeypatch.setattr(pca, "leading_eigenvectors", leading)
    by_svd(np.random.default_rng(0).standard_normal((N, n)), 2)
    assert asked == ([(N, n)] if 501 in (N, n) else [])


# How far the sample is from the truth


@pytest.mark.equation("pca.16")
def test_how_far_axes_of_a_sample_are_off():
    """The mean of sin² over 3,000 samples of a Gaussian is the formula's for each axis, within five standard errors."""
    rng, lambdas, N = np.random.default_rng(0), np.array([4.0, 2.0, 1.0]), 1000
    squares = []
    for _ in range(3000):
        W = by_svd(rng.standard_normal((N, 3)) * np.sqrt(lambdas), 3).W
        squares.append(1 - np.diag(W) ** 2)
    squares = np.array(squares)
    for i in range(3):
        theory = sum(lambdas[i] * lambdas[j] / (lambdas[i] - lambdas[j]) ** 2 for j in range(3) if j != i) / N
        error = squares[:, i].std() / 3000**0.5
        assert abs(squares[:, i].mean() - theory) <= 5 * error + 10 / N * theory  # the next order, of 1/N²
        assert error < theory / 20  # sharp enough for a factor of 1.3


@pytest.mark.equation("pca.17")
@pytest.mark.parametrize(("spike", "gamma"), [(2.0, 0.5), (1.5, 1.0), (3.0, 2.0), (0.3, 0.5)])
def test_with_as_many_variables_as_samples_the_first_axis_stays_off(spike, gamma):
    """The mean of cos² over samples with n = γN is the stated limit, whether N is 100 or 400."""
    rng = np.random.default_rng(0)
    limit = max(0, (1 - gamma / spike**2) / (1 + gamma / spike)) if spike > gamma**0.5 else 0
    for N, repeats in ((100, 100), (400, 15)):
        n = int(gamma * N)
        deviations = np.r_[(1 + spike) ** 0.5, np.ones(n - 1)]
        squares = [by_svd(rng.standard_normal((N, n)) * deviations, 1).W[0, 0] ** 2 for _ in range(repeats)]
        # fluctuations of one sample are of order 1/√N, the bias of order 1/N
        assert abs(np.mean(squares) - limit) <= 5 * np.std(squares) / repeats**0.5 + 10 / N


# Invariances, extremes, bad input


@pytest.mark.parametrize("method", METHODS)
def test_invariances(method):
    rng = np.random.default_rng(0)
    x, V = with_spectrum(rng, 29, spectrum(7, 3))
    base, R = method(x, 3), orthonormal(rng, 7, 7)
    for other, axes, scale in (
        (x @ R, base.W @ R, 1),
        (x + rng.standard_normal(7), base.W, 1),
        (x[rng.permutation(29)], base.W, 1),
        (np.concatenate([x, x]), base.W, 1),  # variances are means over samples
        (3 * x, base.W, 9),
        (1e140 * x, base.W, 1e280),  # near the ends of what is accepted
        (1e-140 * x, base.W, 1e-280),
    ):
        found = method(other, 3)
        assert sine(found.W, axes) <= 1e-4
        assert found.variances / scale == pytest.approx(base.variances, rel=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(40, 6), (15, 11), (8, 50)])
def test_a_large_offset_and_a_small_scale(method, shape):
    N, n = shape
    rng = np.random.default_rng(0)
    y, _ = with_spectrum(rng, N, spectrum(min(n, N - 1), 3), n)
    x = 1e6 * rng.uniform(0.5, 1, n) + 1e-3 * y
    exact = np.array([[float(v) for v in row] for row in (x - x[0])])  # differences of near numbers are exact
    _, S, Vt = np.linalg.svd(exact - exact.mean(axis=0), full_matrices=False)
    found = method(x, 3)
    assert sine(found.W, Vt[:3]) <= (1e-4 if method is by_reconstruction else 1e-6)
    assert found.variances == pytest.approx(S[:3] ** 2 / N, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_degenerate_data(method, dtype):
    rng = np.random.default_rng(0)
    tight = 1e-5 if dtype == "float32" else 1e-12

    def checked(x, m):
        found = method(x.astype(dtype), m)
        assert all(part.dtype == dtype for part in found)
        assert found.W.shape == (m, x.shape[1])
        assert abs(found.W @ found.W.T - np.eye(m)).max() <= tight
        assert (found.variances >= 0).all() and (np.diff(found.variances) <= tight).all()
        return found

    x = rng.standard_normal((30, 5))
    x[:, [1, 3]] = 4
    found = checked(x, 5)  # constant columns: three axes avoid them, the rest has no variance
    assert abs(found.W[:3, [1, 3]]).max() <= (1e-3 if dtype == "float32" else 1e-6)
    assert found.variances[3:].max() <= tight
    assert checked(np.full((6, 4), 2.5), 3).variances.max() == 0
    x, V = with_spectrum(rng, 25, np.array([2.0, 2.0, 2.0, 0.5, 0.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rounded, they are nearly equal, of which by_variance may warn
        found = checked(x, 3)  # equal eigenvalues: the subspace is determined, the axes within it are not
    assert sine(found.W, V[:3]) <= 1e-4 and found.variances == pytest.approx([2] * 3, rel=1e-5)
    x = rng.standard_normal((4, 30))
    found = checked(x, 4)  # m = N: rank 3
    assert found.variances[3] <= tight
    assert found.decode(found.encode(x.astype(dtype))) == pytest.approx(x, abs=1e-4)
    x = rng.standard_normal((2, 3))
    assert abs(abs(checked(x, 1).W[0] @ (x[1] - x[0])) - np.linalg.norm(x[1] - x[0])) <= 1e-5
    x, V = with_spectrum(rng, 25, np.r_[1, 0.5, 0.1, np.zeros(6)])
    found = checked(x, 6)  # more axes than the rank
    assert sine(found.W[:3], V[:3]) <= 1e-4 and found.variances[3:].max() <= tight


@pytest.mark.parametrize("method", METHODS)
def test_harmless_underflow_where_a_program_has_numpy_raise_it(method):
    rng = np.random.default_rng(0)
    constant = np.column_stack([rng.standard_normal((30, 4)), np.ones((30, 2))]).astype(np.float32)
    far_apart = rng.standard_normal((30, 6)) * np.logspace(0, -150, 6)
    for x, m in ((constant, 6), (far_apart, 2), (1e-140 * constant.astype(float), 6)):
        with np.errstate(all="raise"):
            found = method(x, m)
        assert (found.variances[:2] > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_answer_twice_and_the_sign_rule(method):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 6)) @ rng.standard_normal((6, 6))
    found = method(x, 4)
    again = method(x, 4)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, again, strict=True))
    for w, v in zip(found.W, method(-x, 4).W, strict=True):
        assert w[abs(w).argmax()] > 0
        assert w == pytest.approx(v, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_of_entries_within_a_thousandth_of_the_largest_the_first_is_positive(method):
    t = np.random.default_rng(0).standard_normal(10)
    for second, positive in ((1.0, 0), (1.0005, 0), (1.002, 1), (1.5, 1)):
        for sign in (1, -1):
            w = method(np.outer(t, [sign, -sign * second, 0.5]), 1).W[0]
            assert w[positive] > 0 > w[1 - positive]


@pytest.mark.parametrize("method", METHODS)
def test_refusals(method):
    x = np.random.default_rng(0).standard_normal((5, 3))
    for bad, m, error, words in (
        (x[:1], 1, ValueError, "1 sample.*at least 2"),
        (x, 0, ValueError, "m: got 0"),
        (x, 4, ValueError, "at most 3"),
        (x, 2.0, TypeError, "m: got 2.0"),
        (x[0], 1, ValueError, "x: got shape"),
        (x * np.nan, 1, ValueError, "x: contains NaN"),
        (x * 1e200, 1, ValueError, "x: the squares add up to inf"),
        (x * 1e-160, 1, ValueError, "x: the squares add up to .*e-3.*; rescale x"),
        (x.astype(complex), 1, TypeError, "x: got dtype"),
    ):
        with pytest.raises(error, match=words), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method(bad, m)
    found = method(x, 2)
    with pytest.raises(ValueError, match="x: got shape"):
        found.encode(x[:, :2])
    with pytest.raises(ValueError, match="s: got shape"):
        found.decode(x)
    with pytest.raises(TypeError, match="astype"):
        found.encode(x.astype("float32"))
    with pytest.raises(TypeError, match="search: got"):
        by_variance(x, 2, search="power")


@pytest.mark.parametrize("search", [power_iteration, locally_optimal_iteration])
def test_a_search_that_does_not_converge_says_so(search, monkeypatch):
    monkeypatch.setattr(pca, "STEPS", 2)
    with pytest.warns(RuntimeWarning, match="no convergence in 2 steps.*; by_svd") as warned:
        by_variance(np.random.default_rng(0).standard_normal((30, 9)), 1, search=search)
    assert warned[0].filename == __file__  # it points at the line that called


def test_a_reconstruction_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(pca, "STEPS", 100)
    x, _ = with_spectrum(np.random.default_rng(0), 300, np.linspace(2, 1.9, 200))
    with pytest.warns(RuntimeWarning, match="after 100 steps the decoder is .* from the best.*; by_svd") as warned:
        by_reconstruction(x, 7)
    assert warned[0].filename == __file__


def test_pca_on_the_device():
    cupy = device()
    rng = np.random.default_rng(0)
    for shape in ((60, 7), (9, 6), (5, 31)):
        x = rng.standard_normal(shape) @ np.diag(1.5 ** -np.arange(shape[1]))
        for method in METHODS:
            here, there = method(x, 3), method(cupy.asarray(x), 3)
            s = here.encode(x)
            for a, b in zip(
                (*here, s, here.decode(s)),
                (*there, there.encode(cupy.asarray(x)), there.decode(cupy.asarray(s))),
                strict=True,
            ):
                assert isinstance(b, cupy.ndarray)
                assert cupy.asnumpy(b) == pytest.approx(a, abs=1e-5)
    x = with_spectrum(rng, 1100, 1 / np.arange(1, 41) ** 2, 1000)[0]
    assert cupy.asnumpy(by_svd(cupy.asarray(x), 4).W) == pytest.approx(by_svd(x, 4).W, abs=1e-6)
