"""PCA: its three definitions against loops, closed forms, each other, and the theorems about the linear network."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import device

from minissl import pca, pca_routes
from minissl.gradcheck import complex_step, gradient_error, relative_error, taylor_slope
from minissl.optimizers import lbfgs
from minissl.pca import by_reconstruction, by_svd, by_variance, reconstruction_error

METHODS = [by_svd, by_variance, by_reconstruction]


def angle(W, V):
    """Sine of the largest principal angle between the row spaces of W and V, which have orthonormal rows."""
    W, V = np.asarray(W, dtype=float), np.asarray(V, dtype=float)
    return np.linalg.norm(W - W @ V.T @ V, 2)


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def with_spectrum(rng, N, variances, n=None, mean=0.0):
    """Data whose covariance has exactly these eigenvalues (and zeros), and the eigenvectors as rows."""
    r = len(variances)
    U = np.linalg.qr(np.column_stack([np.ones(N), rng.standard_normal((N, r))]))[0][:, 1:]  # centred
    V = orthonormal(rng, n or r, r).T
    return (N**0.5 * U * np.sqrt(variances)) @ V + mean, V


def spectrum(n, m):
    """n eigenvalues with sum of order 1 and lambda_m - lambda_{m+1} of about a tenth of lambda_1."""
    return np.r_[0.5 + 0.5 * np.arange(m, 0, -1) / m, 0.4 * np.arange(n - m, 0, -1) / (n - m)] / m


def random_spectrum(rng, n, m, gap):
    """n eigenvalues whose sum is 1, at random but for lambda_m - lambda_{m+1}, which is `gap`."""
    lambdas = np.sort(rng.exponential(size=n) ** 3)[::-1]
    lambdas[:m] -= lambdas[m - 1] - (lambdas[m] if m < n else 0)
    lambdas[:m] += gap / (1 - m * gap) * lambdas.sum()
    return lambdas / lambdas.sum()


def covariance(x):
    """By loops, from the definition."""
    mean = sum(x) / len(x)
    return sum(np.outer(row - mean, row - mean) for row in x) / len(x)


shapes = st.tuples(st.integers(0, 2**32), st.integers(2, 9), st.integers(3, 40)).filter(lambda t: t[1] != t[2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.equation("pca.1", "pca.11")
def test_four_points_worked_by_hand(method):
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
@pytest.mark.equation("pca.1", "pca.6", "pca.11")
def test_the_three_definitions_agree(shape, m, gap, mean):
    """Over random spectra whose gap below the m-th eigenvalue is from a thousandth to a tenth of the total variance."""
    seed, n, N = shape
    r = min(n, N - 1)  # rank of centred data
    m = min(m, r)
    rng = np.random.default_rng(seed)
    lambdas = random_spectrum(rng, r, m, gap)
    x, V = with_spectrum(rng, N, lambdas, n, mean)
    before = x.copy()
    for method, bound in zip(METHODS, (1e-8, 1e-6, 1e-4), strict=True):
        found = method(x, m)
        assert angle(found.W, V[:m]) <= bound
        assert found.variances == pytest.approx(lambdas[:m], rel=max(bound**2, 1e-9))
        assert abs(found.W @ found.W.T - np.eye(m)).max() <= 1e-12
        assert np.array_equal(found.A, found.W.T)
        assert (np.diff(found.variances) <= 1e-15).all()
        error = ((x - found.decode(found.encode(x))) ** 2).sum(axis=1).mean()
        assert error == pytest.approx(lambdas[m:].sum(), abs=1e-7)  # [pca.6]
        s = found.encode(x)
        assert abs(found.encode(found.decode(s)) - s).max() <= 1e-10
        assert abs(s.mean(axis=0)).max() <= 1e-10  # the principal components: centred, uncorrelated, of these variances
        assert abs(s.T @ s / N - np.diag(found.variances)).max() <= 1e-10
    assert np.array_equal(x, before)


@pytest.mark.equation("pca.1")
@given(shapes)
def test_no_direction_orthogonal_to_those_before_has_more_variance(shape):
    seed, n, N = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, n)) @ rng.standard_normal((n, n))
    C, found = covariance(x), by_variance(x, min(n, N))
    for k, variance in enumerate(found.variances):
        for w in rng.standard_normal((20, n)):
            w -= found.W[:k].T @ (found.W[:k] @ w)
            assert w @ C @ w <= (1 + 1e-9) * variance * (w @ w) + 1e-12 * C.trace()


@pytest.mark.equation("pca.2")
def test_the_gradient_on_the_sphere_and_the_angle_that_it_bounds():
    rng = np.random.default_rng(0)
    x, V = with_spectrum(rng, 31, np.array([3.0, 2.5, 1.0, 0.2]))
    C, w = covariance(x), V[0] + 0.1 * rng.standard_normal(4)
    w /= np.linalg.norm(w)
    g = 2 * (C @ w - (w @ C @ w) * w)
    assert relative_error(g, complex_step(lambda w: (w @ C @ w) / (w @ w), w)) <= 1e-12
    gap = w @ C @ w - 2.5
    assert gap > 0 and angle(w[None], V[:1]) <= np.linalg.norm(g) / 2 / gap
    found = by_variance(x, 3)
    residual = found.W @ C - found.variances[:, None] * found.W
    assert np.linalg.norm(residual, axis=1).max() <= 1e-10 * 3


@pytest.mark.equation("pca.3")
def test_each_step_is_the_best_of_its_span(monkeypatch):
    rng = np.random.default_rng(0)
    steps, eigh = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda M: steps.append(len(M)) or eigh(M))

    def count(variances):
        x, V = with_spectrum(rng, len(variances) + 7, np.array(variances))
        Y = pca._square_root(x)[0]
        steps.clear()
        w, variance = pca._ascend(Y, Y[:0], rng.standard_normal(len(variances)), 0.0)
        assert angle(w[None], V[:1]) <= 1e-6 and variance == pytest.approx(variances[0], rel=1e-12)
        return len(steps)

    assert count([2.0, 1.9]) == 1  # w and g span the plane
    assert count([3.0, 2.9, 0.1]) == 2  # w, g and p span the space
    near = np.r_[1.0, np.linspace(1 - 1e-4, 0, 199)]
    # 1/sqrt(gap) = 100; every step multiplies the error by exp(-2/100): 1,270 of them from 1 to 1e-11, and some
    # more from a start far away. Steepest ascent: exp(-2/10,000).
    assert count(near) <= 2500


def random_network(rng, n, m):
    return rng.standard_normal((n, m)), rng.standard_normal((m, n))


def flat(Y, n, m, kappa=0.0):
    """`reconstruction_error` as a function of one vector."""

    def objective(theta):
        J, dA, dW = reconstruction_error(Y, theta[: n * m].reshape(n, m), theta[n * m :].reshape(m, n), kappa)
        return J, np.concatenate([dA.ravel(), dW.ravel()])

    return objective


@pytest.mark.equation("pca.4")
def test_the_objective_by_loops_and_by_traces():
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
@pytest.mark.equation("pca.5")
def test_the_gradient_of_the_linear_network(seed, shape, kappa):
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


@pytest.mark.equation("pca.6")
@given(st.integers(0, 2**32))
def test_no_linear_network_beats_the_discarded_variance(seed):
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


@pytest.mark.equation("pca.7", "pca.8")
def test_every_choice_of_eigenvectors_is_critical_and_all_but_one_are_saddles():
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


@pytest.mark.equation("pca.7")
@pytest.mark.parametrize("seed", range(5))
def test_the_minimum_is_found_from_anywhere(seed):
    rng = np.random.default_rng(seed)
    x, V = with_spectrum(rng, 23, np.array([3.0, 2.2, 1.5, 0.7, 0.4]))
    assert angle(by_reconstruction(x, 2, rng=seed).W, V[:2]) <= 1e-4
    slow = np.array([0.96, 0.034, 2.5e-3, 2.3e-3, 1.3e-3, 7e-4, 1.5e-4, 3e-6, 1.5e-6])  # 2,000 iterations and more
    x, V = with_spectrum(rng, 18, slow)
    assert angle(by_reconstruction(x, 4, rng=seed).W, V[:4]) <= 1e-4


@pytest.mark.equation("pca.9", "pca.10")
def test_weight_decay_brings_out_the_axes():
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
    found = lbfgs(flat(Y, n, m, kappa), rng.standard_normal(2 * n * m), iterations=5000)
    assert found.value == pytest.approx(minimum, rel=1e-10)
    A, W = found.theta[: n * m].reshape(n, m), found.theta[n * m :].reshape(m, n)
    assert abs(A - W.T).max() <= 1e-6
    left, a, _ = np.linalg.svd(A, full_matrices=False)
    assert a**2 == pytest.approx(1 - kappa / lambdas[:m], rel=1e-6)
    assert abs(abs(left.T @ V[:m].T) - np.eye(m)).max() <= 1e-6  # the axes themselves, not only their span


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
        (1e140 * x, base.W, 1e280),  # near the ends of what the door lets in
        (1e-140 * x, base.W, 1e-280),
    ):
        found = method(other, 3)
        assert angle(found.W, axes) <= 1e-4
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
    assert angle(found.W, Vt[:3]) <= (1e-4 if method is by_reconstruction else 1e-6)
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
    found = checked(x, 3)  # equal eigenvalues: the subspace is determined, the axes within it are not
    assert angle(found.W, V[:3]) <= 1e-4 and found.variances == pytest.approx([2] * 3, rel=1e-5)
    x = rng.standard_normal((4, 30))
    found = checked(x, 4)  # m = N: rank 3
    assert found.variances[3] <= tight
    assert found.decode(found.encode(x.astype(dtype))) == pytest.approx(x, abs=1e-4)
    x = rng.standard_normal((2, 3))
    assert abs(abs(checked(x, 1).W[0] @ (x[1] - x[0])) - np.linalg.norm(x[1] - x[0])) <= 1e-5


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
        with pytest.raises(error, match=words):
            method(bad, m)
    found = method(x, 2)
    with pytest.raises(ValueError, match="x: got shape"):
        found.encode(x[:, :2])
    with pytest.raises(ValueError, match="s: got shape"):
        found.decode(x)
    with pytest.raises(TypeError, match="astype"):
        found.encode(x.astype("float32"))


def test_a_search_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(pca, "STEPS", 2)
    with pytest.warns(RuntimeWarning, match="no convergence in 2 steps; by_svd") as warned:
        by_variance(np.random.default_rng(0).standard_normal((30, 9)), 1)
    assert warned[0].filename == __file__  # it points at the line that called


ROUTES = {"from_svd": (40, 20), "from_covariance": (80, 20), "from_gram": (20, 80), "from_lanczos": (1200, 1000)}


@pytest.mark.parametrize("route", ROUTES)
def test_the_route_follows_the_shape(route, monkeypatch):
    taken = []
    for name in ROUTES:
        f = getattr(pca_routes, name)
        monkeypatch.setattr(pca_routes, name, lambda x, m, f=f, name=name: taken.append(name) or f(x, m))
    N, n = ROUTES[route]
    x = (
        np.random.default_rng(0).standard_normal((N, n), dtype=np.float32)
        * np.arange(1, n + 1, dtype=np.float32) ** -1.5
    )
    by_svd(x, 3)
    assert taken == [route]


@pytest.mark.parametrize(
    ("N", "n", "m", "route"),
    [
        (80, 20, 3, "from_covariance"),
        (79, 20, 3, "from_svd"),
        (20, 79, 3, "from_svd"),
        (20, 80, 3, "from_gram"),
        (1000, 1000, 40, "from_lanczos"),
        (1000, 1000, 41, "from_svd"),
        (2000, 1000, 41, "from_svd"),
        (999, 1000, 3, "from_svd"),
        (1000, 999, 3, "from_svd"),
        (1000, 20_000, 40, "from_lanczos"),
        (1000, 20_001, 40, "from_gram"),
        (20_000, 1000, 40, "from_lanczos"),
        (20_001, 1000, 40, "from_covariance"),
    ],
)
def test_where_one_route_ends_and_the_next_begins(N, n, m, route, monkeypatch):
    for name in ROUTES:
        monkeypatch.setattr(pca_routes, name, lambda x, m, name=name: name)
    x = np.broadcast_to(np.float32(0), (N, n))
    assert pca_routes.leading_axes(x, m) == route
    monkeypatch.setattr(pca_routes, "from_lanczos", lambda x, m: None)  # where the spectrum is too flat for it
    expected = {(1000, 1000): "from_svd", (1000, 20_000): "from_gram", (20_000, 1000): "from_covariance"}
    assert pca_routes.leading_axes(x, m) == (expected[N, n] if route == "from_lanczos" else route)


@settings(max_examples=25)
@given(shapes, st.integers(1, 60), st.floats(-1e3, 1e3))
@pytest.mark.equation("routes.1", "routes.2")
def test_covariance_and_gram_in_blocks_are_the_singular_values(shape, rows, mean):
    seed, n, N = shape
    rng = np.random.default_rng(seed)
    r = min(n, N - 1)
    m = max(1, r // 2)
    x, V = with_spectrum(rng, N, spectrum(r, m), n, mean)
    x[:, 0] += mean
    saved, pca_routes.ROWS = pca_routes.ROWS, rows
    try:
        found = {f.__name__: f(x, m) for f in (pca_routes.from_svd, pca_routes.from_covariance, pca_routes.from_gram)}
    finally:
        pca_routes.ROWS = saved
    y = x - x.mean(axis=0)
    for W, variances, centre in found.values():
        assert angle(W, V[:m]) <= 1e-8
        assert abs(W @ (y.T @ y / N) @ W.T - np.diag(variances)).max() <= 1e-10 * variances[0]  # each axis its own
        assert abs(W @ W.T - np.eye(m)).max() <= 1e-12
        assert variances == pytest.approx(spectrum(r, m)[:m], rel=1e-8)
        assert centre == pytest.approx(x.mean(axis=0), abs=1e-9)


@pytest.mark.equation("routes.1")
def test_the_provisional_mean_keeps_float32_exact_where_one_pass_loses_everything():
    rng = np.random.default_rng(0)
    x, V = with_spectrum(rng, 4000, spectrum(20, 4))
    x = (x[np.argsort(x @ V[0])] + 300).astype(np.float32)  # sorted: the first rows are far from the mean
    reference = pca_routes.from_svd(x.astype(float), 4)[0]
    W, _, mean = pca_routes.from_covariance(x, 4)
    assert angle(W, reference) <= 1e-5
    assert mean == pytest.approx(x.mean(axis=0, dtype=float), rel=1e-7)
    one_pass = x.T @ x / len(x) - np.outer(x.mean(axis=0), x.mean(axis=0))
    assert angle(np.linalg.eigh(one_pass)[1].T[::-1][:4], reference) >= 1e-3


@pytest.mark.equation("routes.1")
def test_the_covariance_needs_no_centred_copy():
    x = np.random.default_rng(0).standard_normal((50_000, 8), dtype=np.float32)
    tracemalloc.start()
    pca_routes.from_covariance(x, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 3


@pytest.mark.equation("routes.1")
def test_no_single_row_spoils_the_provisional_mean():
    rng = np.random.default_rng(0)
    x = with_spectrum(rng, 4000, spectrum(20, 4))[0].astype(np.float32)
    x[0] += 300
    W, lambdas, _ = pca_routes.from_svd(x.astype(float), 5)
    bound = 4 * np.finfo(np.float32).eps * lambdas[0] / (lambdas[3] - lambdas[4])  # [pca.2]: error of C over the gap
    assert angle(pca_routes.from_covariance(x, 4)[0], W[:4]) <= bound


@pytest.mark.equation("routes.1", "routes.2", "routes.3")
@pytest.mark.parametrize("route", [pca_routes.from_covariance, pca_routes.from_gram])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_eigenvectors_of_a_wide_matrix_are_left_to_lanczos(route, dtype, monkeypatch):
    """And all to LAPACK, where the matrix is small, many are asked for, or the spectrum is too flat."""
    rng, tried, dtypes, original = np.random.default_rng(0), [], [], pca_routes.block_lanczos

    def lanczos(*arguments):
        dtypes.append(arguments[-1])
        tried.append(original(*arguments))
        return tried[-1]

    monkeypatch.setattr(pca_routes, "block_lanczos", lanczos)
    x, _ = with_spectrum(rng, 2100, 1 / np.arange(1, 41) ** 2, 520, mean=rng.uniform(1, 2, 520))
    x, flat = x.astype(dtype), rng.standard_normal((2100, 520)).astype(dtype)
    if route is pca_routes.from_gram:
        x, flat = x.T, flat.T
    for m, width, taken in ((3, 520, 1), (16, 500, 1), (17, 500, 0), (17, 504, 1), (3, 499, 0)):
        tried.clear()
        part = x[:, :width] if route is pca_routes.from_covariance else x[:width]
        W, variances, mean = route(part, m)
        assert len(tried) == taken
        axes, lambdas, exact_mean = pca_routes.from_svd(part, m)
        tight = 1e-9 if dtype == "float64" else 2e-3
        assert angle(W, axes) <= tight and variances == pytest.approx(lambdas, rel=tight)
        assert mean == pytest.approx(exact_mean, rel=1e-6)
    tried.clear()
    assert route(flat, 3)[1] == pytest.approx(pca_routes.from_svd(flat, 3)[1], rel=1e-5)
    assert tried == [None] and set(dtypes) == {np.dtype(dtype)}  # as exact as the data, not as C


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centring_in_the_dtype_is_exact_to_its_rounding(dtype):
    x = (np.random.default_rng(0).standard_normal((3000, 4)) + 1e4).astype(dtype)
    before = x.copy()
    y, mean = pca_routes._centred(x, dtype)
    exact = np.array([[np.longdouble(v) for v in row] for row in x]).mean(axis=0)
    assert y.dtype == dtype and mean.dtype == np.float64 and np.array_equal(x, before)
    assert abs(y.mean(axis=0, dtype=np.longdouble)).max() <= (1e-6 if dtype == "float32" else 1e-13)
    assert abs(mean - exact).max() <= (1e-5 if dtype == "float32" else 4e-12)  # one rounding of 1e4 would be 1e-3


@pytest.mark.equation("routes.3", "routes.4")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_block_lanczos_stops_at_its_residual_and_soon(dtype):
    rng = np.random.default_rng(0)
    n, m = 800, 5
    lambdas = 1 / np.arange(1, n + 1) ** 2
    V = orthonormal(rng, n, n).T
    C = ((V.T * lambdas) @ V).astype(dtype)
    products = []
    W, theta = pca_routes.block_lanczos(lambda Q: products.append(Q) or C @ Q, n, m, C, C.dtype)
    assert W.dtype == dtype and abs(W @ W.T - np.eye(m)).max() <= (1e-5 if dtype == "float32" else 1e-13)
    residual = np.linalg.norm(W.astype(float) @ C - theta[:, None] * W, axis=1)
    assert residual.max() <= (1e-6 if dtype == "float32" else 2e-13)  # 1e-13, or 1e-7 and the rounding of C W
    assert theta == pytest.approx(lambdas[:m], rel=1e-4 if dtype == "float32" else 1e-10)
    assert angle(W, V[:m]) <= residual.max() / (lambdas[m - 1] - lambdas[m]) + (1e-4 if dtype == "float32" else 1e-12)
    assert 3 <= len(products) <= 10
    blocks = np.concatenate(products, axis=1)  # [routes.3]: orthonormal, and C Q_j lies in the blocks up to j + 1
    assert abs(blocks.T @ blocks - np.eye(blocks.shape[1])).max() <= (1e-4 if dtype == "float32" else 1e-12)
    CQ = C @ products[0]
    two = blocks[:, : 2 * products[0].shape[1]]
    assert abs(CQ - two @ (two.T @ CQ)).max() <= (1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.equation("routes.4")
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("power", [0.3, 0.5, 0.7, 1, 1.5, 3])
def test_block_lanczos_stops_at_the_first_space_that_is_good_enough(m, power):
    """The residual of each space, from its definition: above 1e-13 lambda_1 but for the last, whatever the units."""
    lambdas = 1e5 / np.arange(1, 1501) ** power
    products = []
    pca_routes.block_lanczos(lambda Q: products.append(Q) or lambdas[:, None] * Q, 1500, m, lambdas, lambdas.dtype)
    residuals = []
    for k in range(1, len(products) + 1):
        Q = np.concatenate(products[:k], axis=1)
        theta, U = np.linalg.eigh(Q.T @ (lambdas[:, None] * Q))
        v = (Q @ U)[:, -m:]
        residuals.append(np.linalg.norm(lambdas[:, None] * v - theta[-m:] * v, axis=0).max() / lambdas[0])
    assert min(residuals[:-1]) > 0.99e-13 and residuals[-1] < 1.01e-13


@pytest.mark.equation("routes.3")
@pytest.mark.parametrize("m", [1, 5, 20])
def test_block_lanczos_misses_no_copy_of_an_eigenvalue(m):
    lambdas = np.r_[np.full(m, 3.0), 1 / np.arange(1, 1001 - m)]
    W, theta = pca_routes.block_lanczos(lambda Q: lambdas[:, None] * Q, len(lambdas), m, lambdas, lambdas.dtype)
    assert theta == pytest.approx(np.full(m, 3), rel=1e-12) and angle(W, np.eye(m, len(lambdas))) <= 1e-12


def test_block_lanczos_gives_up_where_the_space_would_outgrow_a_quarter():
    lambdas = 1 + 0.1 * np.arange(204) / 204
    columns = []

    def product(Q):
        columns.append(Q.shape[1])
        return lambdas[:, None] * Q

    assert pca_routes.block_lanczos(product, 204, 5, lambdas, lambdas.dtype) is None
    assert 4 * sum(columns) <= 204 < 4 * (sum(columns) + columns[-1])


def test_block_lanczos_gives_up_on_flat_spectra_and_stops_on_low_ranks():
    rng = np.random.default_rng(0)
    C = np.cov(rng.standard_normal((500, 200)).T)
    assert pca_routes.block_lanczos(lambda Q: C @ Q, 200, 5, C, C.dtype) is None
    V = orthonormal(rng, 200, 2)
    W, theta = pca_routes.block_lanczos(lambda Q: V @ (V.T @ Q), 200, 5, V, V.dtype)
    assert angle(V.T, W) <= 1e-12 and theta == pytest.approx([1, 1, 0, 0, 0], abs=1e-12)
    assert abs(W @ W.T - np.eye(5)).max() <= 1e-12


@pytest.mark.filterwarnings("error")
@pytest.mark.equation("routes.1", "routes.2", "routes.3", "routes.4")
@pytest.mark.parametrize("shape", [(30, 20), (2100, 520), (520, 2100), (1200, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_route_works_at_both_ends_of_what_the_door_lets_in(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape) / np.arange(1, shape[1] + 1) + 0.01
    x /= np.linalg.norm(x)
    W, variances, _ = pca_routes.from_svd(x, 3)
    tight = 1e-4 if dtype == "float32" else 1e-10
    for size in (1.1e4 * np.finfo(dtype).tiny ** 0.5, 0.03 * np.finfo(dtype).max ** 0.5):
        found = by_svd((size * x).astype(dtype), 3)
        assert angle(found.W, W) <= tight
        assert found.variances.astype(float) / size**2 == pytest.approx(variances, rel=tight)


@pytest.mark.equation("routes.2", "routes.3")
@pytest.mark.parametrize("shape", [(1300, 1000), (1000, 1300)])
def test_lanczos_on_either_side(shape, monkeypatch):
    rng, sizes, original = np.random.default_rng(0), [], pca_routes.block_lanczos
    monkeypatch.setattr(pca_routes, "block_lanczos", lambda f, n, *rest: sizes.append(n) or original(f, n, *rest))
    N, n = shape
    lambdas = 1 / np.arange(1, 41) ** 2
    x, V = with_spectrum(rng, N, lambdas, n, mean=5)
    W, variances, mean = pca_routes.from_lanczos(x, 4)
    assert angle(W, V[:4]) <= 1e-9
    assert abs(W @ W.T - np.eye(4)).max() <= 1e-12
    assert variances == pytest.approx(lambdas[:4], rel=1e-10) and mean == pytest.approx(x.mean(axis=0))
    flat_data = rng.standard_normal(shape)
    assert pca_routes.from_lanczos(flat_data, 4) is None
    assert sizes == [1000, 1000]  # the smaller side


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
