"""Eigenvectors of large covariances: perturbation bounds, blocks against plain sums, Lanczos against its residuals."""

import tracemalloc

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import orthonormal, sine, spectrum, svd_axes, with_spectrum

from minissl.linear import eigen
from minissl.linear.eigen import block_lanczos, covariance, from_covariance, from_gram, from_lanczos, gram
from minissl.linear.pca import by_svd

shapes = st.tuples(st.integers(0, 2**32), st.integers(2, 9), st.integers(3, 40)).filter(lambda t: t[1] != t[2])


def lanczos(product, n, m, dtype="float64"):
    """Block Lanczos from its usual start, as exactly as data of `dtype` deserve."""
    dtype = np.dtype(dtype)
    return block_lanczos(product, eigen._start(n, m, np.zeros(0, dtype)), m, eigen.RESIDUAL[dtype])


# How exact a covariance must be


def leading(C, m):
    return np.linalg.eigh(C)[1].T[::-1][:m]


@pytest.mark.equation("eigen.1", "eigen.2")
def test_the_gap_of_one_matrix_alone_bounds_no_sine():
    """For C = diag(1, 0), E = diag(−0.51, 0.51) the sine is 1, above ‖E‖/gap = 0.51 and below the two right bounds."""
    C, E = np.diag([1.0, 0.0]), np.diag([-0.51, 0.51])
    found = sine(leading(C, 1), leading(C + E, 1))
    assert found == pytest.approx(1)
    assert 0.51 / 1 < found
    assert found <= 0.51 / (1 - 0.51)  # [eigen.1]
    assert found <= 2 * 0.51 / 1  # [eigen.2]


@pytest.mark.equation("eigen.1", "eigen.2")
@given(st.integers(0, 2**32), st.integers(2, 7), st.floats(-3, 0.5))
def test_the_bounds_on_the_sine_of_the_largest_angle(seed, n, size):
    """The sine between leading subspaces of C and C + E keeps to all three bounds, for random symmetric C and E."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, n))
    C, E = (M + M.T for M in rng.standard_normal((2, n, n)))
    E *= 10**size / np.linalg.norm(E, 2)
    found, norm = sine(leading(C, m), leading(C + E, m)), np.linalg.norm(E, 2)
    lambdas, perturbed = (np.linalg.eigvalsh(M)[::-1] for M in (C, C + E))
    gap = lambdas[m - 1] - lambdas[m]
    assert found <= 2 * norm / gap + 1e-12  # [eigen.2]
    if lambdas[m - 1] > perturbed[m]:
        assert found <= norm / (lambdas[m - 1] - perturbed[m]) + 1e-12
    if gap > norm:
        assert norm / (lambdas[m - 1] - perturbed[m]) <= norm / (gap - norm) + 1e-12
        assert found <= norm / (gap - norm) + 1e-12  # [eigen.1]


# The way follows the shape

WAYS = {"from_covariance": (80, 20), "from_gram": (20, 80), "from_lanczos": (1200, 1000)}


@pytest.mark.parametrize("way", WAYS)
def test_the_way_follows_the_shape(way, monkeypatch):
    taken = []
    for name in WAYS:
        f = getattr(eigen, name)
        monkeypatch.setattr(eigen, name, lambda x, m, *rest, f=f, name=name: taken.append(name) or f(x, m, *rest))
    N, n = WAYS[way]
    x = (
        np.random.default_rng(0).standard_normal((N, n), dtype=np.float32)
        * np.arange(1, n + 1, dtype=np.float32) ** -1.5
    )
    eigen.leading_eigenvectors(x, 3)
    assert taken == [way]


@pytest.mark.parametrize(
    ("N", "n", "m", "way"),
    [
        (80, 20, 3, "from_covariance"),
        (20, 20, 3, "from_covariance"),
        (20, 21, 3, "from_gram"),
        (20, 80, 3, "from_gram"),
        (1000, 1000, 40, "from_lanczos"),
        (1000, 1000, 41, "from_covariance"),
        (3000, 1500, 200, "from_covariance"),
        (999, 1000, 3, "from_gram"),
        (1000, 999, 3, "from_covariance"),
        (1000, 20_000, 40, "from_lanczos"),
        (1000, 20_001, 40, "from_gram"),
        (20_000, 1000, 40, "from_lanczos"),
        (20_001, 1000, 40, "from_covariance"),
    ],
)
def test_where_one_way_ends_and_the_next_begins(N, n, m, way, monkeypatch):
    for name in WAYS:
        monkeypatch.setattr(eigen, name, lambda x, m, *solver, name=name: (name, *solver))
    x = np.broadcast_to(np.float32(0), (N, n))
    assert eigen.leading_eigenvectors(x, m) == (way,)
    monkeypatch.setattr(eigen, "from_lanczos", lambda x, m: None)  # where the spectrum is too flat for it
    expected = {(1000, 1000): "from_covariance", (1000, 20_000): "from_gram", (20_000, 1000): "from_covariance"}
    if way == "from_lanczos":  # then not once more for the eigenvectors of C
        assert eigen.leading_eigenvectors(x, m) == (expected[N, n], eigen.all_eigenvectors)


# Covariance and Gram matrix


@settings(max_examples=25)
@given(shapes, st.integers(1, 60), st.floats(-1e3, 1e3))
@pytest.mark.equation("eigen.3", "eigen.4")
def test_covariance_and_gram_in_blocks_are_the_singular_values(shape, block, mean):
    """Blocks of any size give the matrices of the plain formulas, and axes and variances of the data's construction."""
    seed, n, N = shape
    rng = np.random.default_rng(seed)
    r = min(n, N - 1)
    m = max(1, r // 2)
    x, V = with_spectrum(rng, N, spectrum(r, m), n, mean)
    x[:, 0] += mean
    saved, eigen.BLOCK = eigen.BLOCK, block
    try:
        found = [f(x, m) for f in (svd_axes, from_covariance, from_gram)]
        (C, centre), (K, again) = covariance(x), gram(x)
    finally:
        eigen.BLOCK = saved
    y = x - x.mean(axis=0)
    assert abs(C - y.T @ y / N).max() <= 1e-10 and abs(K - y @ y.T / N).max() <= 1e-10
    assert centre == pytest.approx(x.mean(axis=0), abs=1e-9) and again == pytest.approx(x.mean(axis=0), abs=1e-9)
    for W, variances, centre in found:
        assert sine(W, V[:m]) <= 1e-8
        assert abs(W @ (y.T @ y / N) @ W.T - np.diag(variances)).max() <= 1e-10 * variances[0]  # each axis its own
        assert abs(W @ W.T - np.eye(m)).max() <= 1e-12
        assert variances == pytest.approx(spectrum(r, m)[:m], rel=1e-8)
        assert centre == pytest.approx(x.mean(axis=0), abs=1e-9)


@pytest.mark.equation("eigen.3")
def test_the_provisional_mean_keeps_float32_exact_where_one_pass_loses_everything():
    """In float32, with a mean of 300, the axes are off by 1e-5 at most, where E xxᵀ less the mean's square has 1e-3."""
    rng = np.random.default_rng(0)
    x, V = with_spectrum(rng, 4000, spectrum(20, 4))
    x = (x[np.argsort(x @ V[0])] + 300).astype(np.float32)  # sorted: the first rows are far from the mean
    reference = svd_axes(x, 4)[0]
    W, _, mean = from_covariance(x, 4)
    assert sine(W, reference) <= 1e-5
    assert mean == pytest.approx(x.mean(axis=0, dtype=float), rel=1e-7)
    one_pass = x.T @ x / len(x) - np.outer(x.mean(axis=0), x.mean(axis=0))
    assert sine(leading(one_pass, 4), reference) >= 1e-3


@pytest.mark.equation("eigen.3")
def test_the_covariance_needs_no_centred_copy():
    """The memory that the covariance of 50,000 samples takes at its peak is below a third of the data."""
    x = np.random.default_rng(0).standard_normal((50_000, 8), dtype=np.float32)
    tracemalloc.start()
    from_covariance(x, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 3


def test_a_file_mapped_into_memory_stays_there(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(50_000, 64))
    x[:] = np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32)
    tracemalloc.start()
    by_svd(x, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 3


@pytest.mark.equation("eigen.2", "eigen.3")
def test_no_single_row_spoils_the_provisional_mean():
    """With one row far away among 4,000 in float32, the axes keep to the bound for an error of 2 eps λ₁ of C."""
    rng = np.random.default_rng(0)
    x = with_spectrum(rng, 4000, spectrum(20, 4))[0].astype(np.float32)
    x[0] += 300
    W, lambdas, _ = svd_axes(x, 5)
    bound = 2 * 2 * np.finfo(np.float32).eps * lambdas[0] / (lambdas[3] - lambdas[4])  # [eigen.2]
    assert sine(from_covariance(x, 4)[0], W[:4]) <= bound


@pytest.mark.equation("eigen.3", "eigen.4", "eigen.5")
@pytest.mark.parametrize("way", [from_covariance, from_gram])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_eigenvectors_of_a_wide_matrix_are_left_to_lanczos(way, dtype, monkeypatch):
    """Axes of wide matrices are those of the SVD, by Lanczos; many, or of small matrices or flat spectra, by LAPACK."""
    rng, tried, residuals, original = np.random.default_rng(0), [], [], eigen.block_lanczos

    def spied(product, start, m, residual):
        residuals.append(residual)
        tried.append(original(product, start, m, residual))
        return tried[-1]

    monkeypatch.setattr(eigen, "block_lanczos", spied)
    x, _ = with_spectrum(rng, 2100, 1 / np.arange(1, 41) ** 2, 520, mean=rng.uniform(1, 2, 520))
    x, flat = x.astype(dtype), rng.standard_normal((2100, 520)).astype(dtype)
    if way is from_gram:
        x, flat = x.T, flat.T
    for m, width, taken in ((3, 520, 1), (16, 500, 1), (17, 500, 0), (17, 504, 1), (3, 499, 0)):
        tried.clear()
        part = x[:, :width] if way is from_covariance else x[:width]
        W, variances, mean = way(part, m)
        assert len(tried) == taken
        axes, lambdas, exact_mean = svd_axes(part, m)
        tight = 1e-9 if dtype == "float64" else 2e-3
        assert sine(W, axes) <= tight and variances == pytest.approx(lambdas, rel=tight)
        assert mean == pytest.approx(exact_mean, rel=1e-6)
    tried.clear()
    assert way(flat, 3)[1] == pytest.approx(svd_axes(flat, 3)[1], rel=1e-5)
    assert tried == [None] and set(residuals) == {eigen.RESIDUAL[np.dtype(dtype)]}  # as exact as the data, not as C


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centring_in_the_dtype_is_exact_to_its_rounding(dtype):
    x = (np.random.default_rng(0).standard_normal((3000, 4)) + 1e4).astype(dtype)
    before = x.copy()
    y, mean = eigen.centred(x, dtype)
    exact = np.array([[np.longdouble(v) for v in row] for row in x]).mean(axis=0)
    assert y.dtype == dtype and mean.dtype == np.float64 and np.array_equal(x, before)
    assert abs(y.mean(axis=0, dtype=np.longdouble)).max() <= (1e-6 if dtype == "float32" else 1e-13)
    assert abs(mean - exact).max() <= (1e-5 if dtype == "float32" else 4e-12)  # one rounding of 1e4 would be 1e-3


# Block Lanczos


@pytest.mark.equation("eigen.1", "eigen.5", "eigen.6")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_block_lanczos_stops_at_its_residual_and_soon(dtype):
    """Its residuals are below the tolerance, its angles below the bound, its blocks orthonormal and at most ten."""
    rng = np.random.default_rng(0)
    n, m = 800, 5
    lambdas = 1 / np.arange(1, n + 1) ** 2
    V = orthonormal(rng, n, n).T
    C = ((V.T * lambdas) @ V).astype(dtype)
    products = []
    W, theta = lanczos(lambda Q: products.append(Q) or C @ Q, n, m, dtype)
    assert W.dtype == dtype and abs(W @ W.T - np.eye(m)).max() <= (1e-5 if dtype == "float32" else 1e-13)
    residual = np.linalg.norm(W.astype(float) @ C - theta[:, None] * W, axis=1)
    assert residual.max() <= (1e-6 if dtype == "float32" else 2e-13)  # 1e-13, or 1e-7 and the rounding of C W
    assert theta == pytest.approx(lambdas[:m], rel=1e-4 if dtype == "float32" else 1e-10)
    assert sine(W, V[:m]) <= residual.max() / (lambdas[m - 1] - lambdas[m]) + (1e-4 if dtype == "float32" else 1e-12)
    assert 3 <= len(products) <= 10
    blocks = np.concatenate(products, axis=1)  # [eigen.5]: orthonormal, and C Q_j lies in the blocks up to j + 1
    assert abs(blocks.T @ blocks - np.eye(blocks.shape[1])).max() <= (1e-4 if dtype == "float32" else 1e-12)
    CQ = C @ products[0]
    two = blocks[:, : 2 * products[0].shape[1]]
    assert abs(CQ - two @ (two.T @ CQ)).max() <= (1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.equation("eigen.5")
@given(st.integers(0, 2**32))
def test_what_multiplication_by_the_covariance_leaves_outside_the_blocks(seed):
    """C (Q₁ … Qⱼ) less (Q₁ … Qⱼ) T is zero but in its last block column, which is orthogonal to all blocks."""
    rng = np.random.default_rng(seed)
    n, m, b = 60, 1, 5
    V = orthonormal(rng, n, n)
    C, products = (V * 2.0 ** -np.arange(n)) @ V.T, []
    lanczos(lambda Q: products.append(Q) or C @ Q, n, m)
    assert len(products) >= 2
    for j in range(1, len(products)):
        Q = np.concatenate(products[:j], axis=1)
        T = Q.T @ C @ Q
        rest = C @ Q - Q @ T
        assert abs(rest[:, :-b]).max(initial=0) <= 1e-13
        next_block = products[j]
        assert abs(rest[:, -b:] - next_block @ (next_block.T @ rest[:, -b:])).max() <= 1e-13  # Qⱼ₊₁ Rⱼ
        for i in range(j):  # in exact arithmetic T is block tridiagonal
            for k in range(j):
                assert abs(i - k) <= 1 or abs(T[b * i : b * i + b, b * k : b * k + b]).max() <= 1e-13


@pytest.mark.equation("eigen.6")
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("power", [0.3, 0.5, 0.7, 1, 1.5, 3])
def test_block_lanczos_stops_at_the_first_space_that_is_good_enough(m, power):
    """The residual of each space, from its definition: above 1e-13 λ₁ but for the last, whatever the units."""
    lambdas = 1e5 / np.arange(1, 1501) ** power
    products = []
    lanczos(lambda Q: products.append(Q) or lambdas[:, None] * Q, 1500, m)
    residuals = []
    for k in range(1, len(products) + 1):
        Q = np.concatenate(products[:k], axis=1)
        theta, U = np.linalg.eigh(Q.T @ (lambdas[:, None] * Q))
        v = (Q @ U)[:, -m:]
        residuals.append(np.linalg.norm(lambdas[:, None] * v - theta[-m:] * v, axis=0).max() / lambdas[0])
    assert min(residuals[:-1]) > 0.99e-13 and residuals[-1] < 1.01e-13


@pytest.mark.equation("eigen.6")
def test_small_residuals_show_an_invariant_subspace_of_a_matrix_nearby():
    """With the residuals G the axes W span an invariant subspace of C − (GW + WᵀGᵀ) exactly, whose distance is ‖G‖."""
    rng = np.random.default_rng(0)
    n, m = 300, 3
    V = orthonormal(rng, n, n)
    C = (V / np.arange(1, n + 1)) @ V.T
    W, theta = block_lanczos(lambda Q: C @ Q, eigen._start(n, m, C), m, 1e-4)  # stopped early
    G = C @ W.T - W.T * theta
    assert 1e-9 < np.linalg.norm(G, 2) <= 3**0.5 * 1e-4
    E = -(G @ W + W.T @ G.T)
    assert abs((C + E) @ W.T - W.T * theta).max() <= 1e-14
    assert np.linalg.norm(E, 2) == pytest.approx(np.linalg.norm(G, 2), rel=1e-9)


@pytest.mark.equation("eigen.6")
def test_that_the_subspace_is_the_first_rests_on_the_start():
    """From a start orthogonal to v₁ all residuals are small and v₁ is missed; from a random start it is found."""
    lambdas = 1 / np.arange(400, 0, -1) ** 2  # the last is λ₁: a zero in the last row stays one in every QR
    start = np.random.default_rng(0).standard_normal((400, 6))
    W, theta = block_lanczos(lambda Q: lambdas[:, None] * Q, start, 2, 1e-13)
    assert theta == pytest.approx([1, 1 / 4], rel=1e-10) and sine(W, np.eye(400)[[-1, -2]]) <= 1e-11
    start[-1] = 0
    W, theta = block_lanczos(lambda Q: lambdas[:, None] * Q, start, 2, 1e-13)
    assert np.linalg.norm(W * lambdas - theta[:, None] * W, axis=1).max() <= 2e-13
    assert theta == pytest.approx([1 / 4, 1 / 9], rel=1e-10) and abs(W[:, -1]).max() == 0


@pytest.mark.equation("eigen.5")
@pytest.mark.parametrize("m", [1, 5, 20])
def test_block_lanczos_misses_no_copy_of_an_eigenvalue(m):
    """All m axes of an eigenvalue that is repeated m times are found."""
    lambdas = np.r_[np.full(m, 3.0), 1 / np.arange(1, 1001 - m)]
    W, theta = lanczos(lambda Q: lambdas[:, None] * Q, len(lambdas), m)
    assert theta == pytest.approx(np.full(m, 3), rel=1e-12) and sine(W, np.eye(m, len(lambdas))) <= 1e-12


def test_block_lanczos_gives_up_where_the_space_would_outgrow_a_quarter():
    lambdas = 1 + 0.1 * np.arange(204) / 204
    columns = []

    def product(Q):
        columns.append(Q.shape[1])
        return lambdas[:, None] * Q

    assert lanczos(product, 204, 5) is None
    assert 4 * sum(columns) <= 204 < 4 * (sum(columns) + columns[-1])


def test_block_lanczos_gives_up_on_flat_spectra_and_stops_on_low_ranks():
    rng = np.random.default_rng(0)
    C = np.cov(rng.standard_normal((500, 200)).T)
    assert lanczos(lambda Q: C @ Q, 200, 5) is None
    V = orthonormal(rng, 200, 2)
    W, theta = lanczos(lambda Q: V @ (V.T @ Q), 200, 5)
    assert sine(V.T, W) <= 1e-12 and theta == pytest.approx([1, 1, 0, 0, 0], abs=1e-12)
    assert abs(W @ W.T - np.eye(5)).max() <= 1e-12


@pytest.mark.equation("eigen.3", "eigen.4", "eigen.5", "eigen.6")
@pytest.mark.parametrize("shape", [(30, 20), (2100, 520), (520, 2100), (1200, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_works_at_both_ends_of_what_is_accepted(shape, dtype):
    """Data near the least and greatest sum of squares have the axes of the same data at unit size, without warning."""
    x = np.random.default_rng(0).standard_normal(shape) / np.arange(1, shape[1] + 1) + 0.01
    x /= np.linalg.norm(x)
    W, variances, _ = svd_axes(x, 3)
    tight = 1e-4 if dtype == "float32" else 1e-10
    for size in (1.1e4 * np.finfo(dtype).tiny ** 0.5, 0.03 * np.finfo(dtype).max ** 0.5):
        found = by_svd((size * x).astype(dtype), 3)
        assert sine(found.W, W) <= tight
        assert found.variances.astype(float) / size**2 == pytest.approx(variances, rel=tight)


@pytest.mark.equation("eigen.4", "eigen.5")
@pytest.mark.parametrize("shape", [(1300, 1000), (1000, 1300)])
def test_lanczos_on_either_side(shape, monkeypatch):
    """On tall and on wide data Lanczos works on the smaller side and finds the axes of the data's construction."""
    rng, sizes, original = np.random.default_rng(0), [], eigen.block_lanczos
    monkeypatch.setattr(eigen, "block_lanczos", lambda f, start, *r: sizes.append(len(start)) or original(f, start, *r))
    N, n = shape
    lambdas = 1 / np.arange(1, 41) ** 2
    x, V = with_spectrum(rng, N, lambdas, n, mean=5)
    W, variances, mean = from_lanczos(x, 4)
    assert sine(W, V[:4]) <= 1e-9
    assert abs(W @ W.T - np.eye(4)).max() <= 1e-12
    assert variances == pytest.approx(lambdas[:4], rel=1e-10) and mean == pytest.approx(x.mean(axis=0))
    flat_data = rng.standard_normal(shape)
    assert from_lanczos(flat_data, 4) is None
    assert sizes == [1000, 1000]  # the smaller side


@pytest.mark.parametrize("way", [from_covariance, from_gram])
def test_each_way_on_the_device(way):
    cupy = device()
    x = with_spectrum(np.random.default_rng(0), 700, 1 / np.arange(1, 41) ** 2, 600, mean=2)[0]
    for a, b in zip(way(x, 4), way(cupy.asarray(x), 4), strict=True):
        assert isinstance(b, cupy.ndarray)
        assert abs(cupy.asnumpy(b)) == pytest.approx(abs(a), abs=1e-9)  # axes but for their sign
