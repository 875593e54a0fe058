"""Canonical correlations: the definition, three other routes to them, and what they are the optimum of."""

import math

import numpy as np
import pytest
import scipy.linalg
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st

from minissl.linear import cca
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import lbfgs
from minissl.tasks.views import spectral_contrastive

cupy = device()
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)


def views(seed, N, n, n2, offset=1.0):
    """Two views of a few shared numbers, with linear maps, noise and means of their own."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((N, 2))
    v1 = shared @ rng.standard_normal((2, n)) + rng.standard_normal((N, n)) + offset * rng.standard_normal(n)
    return v1, shared @ rng.standard_normal((2, n2)) + rng.standard_normal((N, n2)) + offset


def covariances(v1, v2):
    """C, B and C′, divided by N."""
    y1, y2 = v1 - v1.mean(axis=0), v2 - v2.mean(axis=0)
    return y1.T @ y1 / len(y1), y1.T @ y2 / len(y1), y2.T @ y2 / len(y1)


def root(C, power):
    eigenvalues, V = np.linalg.eigh(C)
    return V * eigenvalues**power @ V.T


def whitened(v1, v2):
    C1, B, C2 = covariances(v1, v2)
    return root(C1, -0.5) @ B @ root(C2, -0.5)


# --- the definition and its routes ------------------------------------------------------------------------------------


@pytest.mark.equation("cca.1", "cca.3")
@given(seed=seeds, n=sizes, n2=sizes)
def test_the_variates_have_the_moments_of_the_definition(seed, n, n2):
    """Means 0, E zzᵀ = E z′z′ᵀ = Id and E zz′ᵀ = diag(ρ₁, …), ρ falling within 0 and 1, to 1e-10."""
    v1, v2 = views(seed, 50, n, n2)
    m = min(n, n2)
    found = cca.by_svd(v1, v2, m)
    z1, z2 = found.encode(v1, v2)
    for z in (z1, z2):
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(z.T @ z / 50, np.eye(m), atol=1e-10)
    np.testing.assert_allclose(z1.T @ z2 / 50, np.diag(found.correlations), atol=1e-10)
    assert (np.diff(found.correlations) <= 0).all() and 0 <= found.correlations[-1] and found.correlations[0] <= 1
    assert (found.W1[np.arange(m), abs(found.W1).argmax(axis=1)] > 0).all()


@pytest.mark.equation("cca.1")
@given(seed=seeds)
def test_no_other_pair_of_directions_is_more_correlated(seed):
    """Of random directions, and of random ones orthogonal to the first variates, none has a correlation above ρₖ."""
    rng = np.random.default_rng(seed)
    v1, v2 = views(seed, 40, 4, 3)
    found = cca.by_svd(v1, v2, 3)
    y1, y2 = v1 - v1.mean(axis=0), v2 - v2.mean(axis=0)
    z1, z2 = found.encode(v1, v2)
    for k in range(3):
        a, b = y1 @ rng.standard_normal((4, 200)), y2 @ rng.standard_normal((3, 200))
        a = a - z1[:, :k] @ (z1[:, :k].T @ a) / 40  # uncorrelated with the variates before
        b = b - z2[:, :k] @ (z2[:, :k].T @ b) / 40
        correlations = (a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
        assert abs(correlations).max() <= found.correlations[k] + 1e-10


@pytest.mark.equation("cca.2", "cca.3")
@given(seed=seeds, n=sizes, n2=sizes)
def test_against_the_covariances(seed, n, n2):
    """Correlations and directions equal those of the singular value decomposition of C^(−½) B C′^(−½), and ρ² are the
    eigenvalues of B C′⁻¹ Bᵀ relative to C, by SciPy."""
    v1, v2 = views(seed, 60, n, n2)
    m = min(n, n2)
    found = cca.by_svd(v1, v2, m)
    C1, B, C2 = covariances(v1, v2)
    U, S, Vt = np.linalg.svd(whitened(v1, v2), full_matrices=False)
    np.testing.assert_allclose(found.correlations, S[:m], atol=1e-9)
    squares = scipy.linalg.eigh(B @ np.linalg.inv(C2) @ B.T, C1, eigvals_only=True)[::-1][:m]
    np.testing.assert_allclose(found.correlations**2, squares, atol=1e-9)
    gaps = np.abs(np.subtract.outer(S, S) + np.eye(len(S)))[:m].min(axis=1)
    for k in np.flatnonzero(gaps > 1e-3):
        for W, direction in ((found.W1, root(C1, -0.5) @ U[:, k]), (found.W2, root(C2, -0.5) @ Vt[k])):
            assert abs(W[k] @ direction) / np.linalg.norm(W[k]) == pytest.approx(np.linalg.norm(direction), rel=1e-6)
        assert found.W1[k] @ B @ found.W2[k] > 0


@pytest.mark.equation("cca.1")
def test_views_whose_correlations_are_known():
    """Whitened samples mixed so that C = Id and B = diag(0.9, 0.5), then mapped and shifted, give 0.9 and 0.5, and the
    directions that undo the maps; of one column each, ρ₁ is the size of the coefficient of correlation."""
    rng, rho = np.random.default_rng(0), np.array([0.9, 0.5])
    white = np.linalg.qr(np.column_stack([np.ones(50), rng.standard_normal((50, 4))]))[0][:, 1:] * 50**0.5
    Z1, Z2 = white[:, :2], rho * white[:, :2] + np.sqrt(1 - rho**2) * white[:, 2:]
    M1, M2 = rng.standard_normal((2, 2)), rng.standard_normal((2, 3))
    found = cca.by_svd(Z1 @ M1 + 7, Z2 @ M2 - 3, 2)
    np.testing.assert_allclose(found.correlations, rho, atol=1e-12)
    np.testing.assert_allclose(abs(found.W1 @ M1.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(abs(found.W2 @ M2.T), np.eye(2), atol=1e-9)
    one = cca.by_svd(Z1[:, :1], Z1[:, :1] + Z2[:, 1:], 1)
    assert one.correlations[0] == pytest.approx(abs(np.corrcoef(Z1[:, 0], Z1[:, 0] + Z2[:, 1])[0, 1]))


@pytest.mark.equation("cca.3")
@given(seed=seeds)
def test_invertible_linear_maps_change_no_correlation(seed):
    """Correlations of views equal those of the views after any invertible linear map and shift of each."""
    rng = np.random.default_rng(seed)
    v1, v2 = views(seed, 30, 3, 2)
    M1, M2 = rng.standard_normal((3, 3)) + 2 * np.eye(3), rng.standard_normal((2, 2)) + 2 * np.eye(2)
    mapped = cca.by_svd(v1 @ M1 + 5, 1e3 * v2 @ M2, 2)
    np.testing.assert_allclose(mapped.correlations, cca.by_svd(v1, v2, 2).correlations, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_do_not_matter(dtype):
    """Columns in units from 10⁻⁶ to 10⁶ of the others have the same correlations, all of them."""
    v1, v2 = (v.astype(dtype) for v in views(1, 40, 3, 3))
    units = np.array([1e-6, 1, 1e6], dtype)
    found, plain = cca.by_svd(v1 * units, v2 * units[::-1], 3), cca.by_svd(v1, v2, 3)
    np.testing.assert_allclose(found.correlations, plain.correlations, atol=100 * np.finfo(dtype).eps)


@pytest.mark.equation("cca.3")
def test_what_does_not_vary_is_left_out():
    """A constant column and a column that is the sum of two others change neither the correlations nor the variates."""
    v1, v2 = views(0, 40, 3, 2)
    wider = np.column_stack([v1, np.full(40, 5.0), v1[:, 0] + v1[:, 1]])
    found, plain = cca.by_svd(wider, v2, 2), cca.by_svd(v1, v2, 2)
    np.testing.assert_allclose(found.correlations, plain.correlations, atol=1e-12)
    for z, expected in zip(found.encode(wider, v2), plain.encode(v1, v2), strict=True):
        np.testing.assert_allclose(abs(z), abs(expected), atol=1e-9)
    with pytest.raises(ValueError, match="m: got 4, expected at least 1, at most 3"):
        cca.by_svd(wider, np.column_stack([v1, v2]), 4)


@pytest.mark.equation("cca.4")
@pytest.mark.parametrize(("N", "n", "n2"), [(6, 3, 4), (8, 5, 5), (12, 3, 4)])
def test_views_of_few_samples_always_agree(N, n, n2):
    """Independent views of N samples in n and n′ dimensions have n + n′ − (N − 1) correlations of one, no more."""
    rng = np.random.default_rng(0)
    found = cca.by_svd(rng.standard_normal((N, n)), rng.standard_normal((N, n2)), min(n, n2))
    ones = (found.correlations > 1 - 1e-10).sum()
    assert ones == max(0, n + n2 - (N - 1))


# --- what it is for ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("cca.5")
@given(seed=seeds, n=sizes, n2=sizes)
def test_the_mutual_information_of_gaussian_views(seed, n, n2):
    """−½ Σ ln(1 − ρ²) equals ½ [ln det C + ln det C′ − ln det of the covariance of both], the entropies' difference."""
    v1, v2 = views(seed, 50, n, n2)
    C1, _, C2 = covariances(v1, v2)
    both = covariances(np.hstack([v1, v2]), v2)[0]
    entropies = (np.linalg.slogdet(C1)[1] + np.linalg.slogdet(C2)[1] - np.linalg.slogdet(both)[1]) / 2
    found = cca.by_svd(v1, v2, min(n, n2))
    assert -0.5 * np.log(1 - found.correlations**2).sum() == pytest.approx(entropies, rel=1e-8, abs=1e-10)


@pytest.mark.equation("cca.6")
@given(seed=seeds, m=st.integers(1, 3))
def test_the_nearest_white_embeddings(seed, m):
    """The variates' E‖z − z′‖² equals 2 Σ(1 − ρₖ), and is at most that of random linear maps with E zzᵀ = Id."""
    rng = np.random.default_rng(seed)
    v1, v2 = views(seed, 40, 4, 3)
    full = cca.by_svd(v1, v2, 3)
    z1, z2 = cca.by_svd(v1, v2, m).encode(v1, v2)
    least = ((z1 - z2) ** 2).sum() / 40
    assert least == pytest.approx(2 * (1 - full.correlations[:m]).sum(), abs=1e-10)
    white1, white2 = full.encode(v1, v2)
    for _ in range(20):
        G1, G2 = (np.linalg.qr(rng.standard_normal((3, 3)))[0][:, :m] for _ in range(2))
        assert ((white1 @ G1 - white2 @ G2) ** 2).sum() / 40 >= least - 1e-10


def spectral_mean(C1, B, C2, W1, W2):
    """−2 E z·z′ + E(z·z⁻)² of linear embeddings, and its gradients in the maps (n, m) and (n′, m)."""
    M1, M2 = W1.T @ C1 @ W1, W2.T @ C2 @ W2
    value = -2 * np.trace(W1.T @ B @ W2) + np.trace(M1 @ M2)
    return value, -2 * B @ W2 + 2 * C1 @ W1 @ M2, -2 * B.T @ W1 + 2 * C2 @ W2 @ M1


@pytest.mark.equation("cca.7")
@given(seed=seeds, m=st.integers(1, 3))
def test_the_spectral_loss_of_two_linear_networks(seed, m):
    """For random maps the loss equals ‖T − GᵀG′‖² − ‖T‖²; at √ρ times the canonical directions it is −Σ ρₖ², the least,
    with gradient zero."""
    rng = np.random.default_rng(seed)
    v1, v2 = views(seed, 40, 4, 3)
    C1, B, C2 = covariances(v1, v2)
    T = whitened(v1, v2)
    W1, W2 = rng.standard_normal((4, m)), rng.standard_normal((3, m))
    G1, G2 = W1.T @ root(C1, 0.5), W2.T @ root(C2, 0.5)
    value = spectral_mean(C1, B, C2, W1, W2)[0]
    assert value == pytest.approx(((T - G1.T @ G2) ** 2).sum() - (T**2).sum(), rel=1e-9)
    found = cca.by_svd(v1, v2, m)
    scale = np.sqrt(found.correlations)[:, None]
    best, *gradients = spectral_mean(C1, B, C2, (scale * found.W1).T, (scale * found.W2).T)
    assert best == pytest.approx(-(found.correlations**2).sum(), abs=1e-10)
    assert max(abs(g).max() for g in gradients) < 1e-9 * (1 + abs(C1).max() + abs(C2).max())
    assert value >= best


@pytest.mark.equation("cca.7")
@pytest.mark.parametrize("m", [1, 2, 4])
def test_one_linear_network_learns_the_canonical_variates(m):
    """Minimised from a random start over all pairs of a sample, the loss of one linear network for both views reaches
    −Σ λₖ² over the positive eigenvalues of T among the first m; where all are, they are ρₖ, and WWᵀ = Σ ρₖ wₖwₖᵀ."""
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((3, 5)), rng.standard_normal((400, 3))
    first, second = (x @ A + rng.standard_normal((400, 5)) for _ in range(2))
    # drawn alike in the sample itself: each pair in both orders, and with both signs, so that the means are zero
    v1 = np.concatenate([first, second, -first, -second])
    v2 = np.concatenate([second, first, -second, -first])
    C1, B, C2 = covariances(v1, v2)
    found = cca.by_svd(v1, v2, m)

    def J(w):
        value, dW1, dW2 = spectral_mean(C1, B, C2, w.reshape(5, m), w.reshape(5, m))
        return value, (dW1 + dW2).ravel()

    learned = lbfgs(J, rng.standard_normal(5 * m), iterations=5000, warn=False)
    positive = np.linalg.eigvalsh(whitened(v1, v2))[::-1][:m]
    assert learned.value == pytest.approx(-(np.maximum(positive, 0) ** 2).sum(), abs=1e-10)
    if m <= 3:
        assert learned.value == pytest.approx(-(found.correlations**2).sum(), abs=1e-10)
        W = learned.theta.reshape(5, m)
        np.testing.assert_allclose(W @ W.T, found.W1.T * found.correlations @ found.W1, atol=1e-4)


@pytest.mark.equation("cca.7")
def test_the_loss_of_batches_is_that_of_the_covariances():
    """The library's spectral loss, averaged over all pairs of samples as batches of two, equals the formula in the
    second moments."""
    rng = np.random.default_rng(0)
    v1, v2 = views(0, 30, 4, 3, offset=0.0)
    v1, v2 = v1 - v1.mean(axis=0), v2 - v2.mean(axis=0)
    W1, W2 = rng.standard_normal((4, 2)), rng.standard_normal((3, 2))
    total, target = 0.0, np.array([2, 3, 0, 1])
    for i in range(30):
        for j in range(30):  # i = j, too: two independent draws from the sample
            total += spectral_contrastive(np.concatenate([v1[[i, j]] @ W1, v2[[i, j]] @ W2]), target)[0] / 900
    assert total == pytest.approx(spectral_mean(*covariances(v1, v2), W1, W2)[0], rel=1e-10)


# --- dtypes, devices, bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_the_device_gives_the_same(dtype):
    v1, v2 = (v.astype(dtype) for v in views(0, 50, 4, 3))
    here, there = cca.by_svd(v1, v2, 2), cca.by_svd(cupy.asarray(v1), cupy.asarray(v2), 2)
    exact = cca.by_svd(v1.astype("float64"), v2.astype("float64"), 2)
    for a, b, c in zip(here, there, exact, strict=True):
        assert isinstance(b, cupy.ndarray) and a.dtype == b.dtype == dtype
        np.testing.assert_allclose(cupy.asnumpy(b), a, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(a, c, rtol=1e-6, atol=1e-6)
    z = there.encode(cupy.asarray(v1), cupy.asarray(v2))
    np.testing.assert_allclose(cupy.asnumpy(z[0]), here.encode(v1, v2)[0], atol=1e-5)


def test_a_network_can_be_the_encoder():
    v1, v2 = views(0, 50, 4, 3)
    found = cca.by_svd(v1, v2, 2)
    net = MLP((4, 2), rng=0, dtype="float64")
    net.weights[0][:], net.biases[0][:] = found.W1.T, -found.W1 @ found.mean1
    np.testing.assert_allclose(net(v1), found.encode(v1, v2)[0], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v1, v2: cca.by_svd(v1, v2[1:], 1), r"v2: got shape \(4, 3\), expected \(5, any\)"),
        (lambda v1, v2: cca.by_svd(v1[:1], v2[:1], 1), "v1: got 1 sample"),
        (lambda v1, v2: cca.by_svd(v1, 0 * v2 + 1, 1), "v2: all 5 samples are the same"),
        (lambda v1, v2: cca.by_svd(v1, v2, 4), "m: got 4"),
        (lambda v1, v2: cca.by_svd(v1, v2, 1).encode(v1[:, 1:], v2), r"v1: got shape \(5, 3\)"),
        (lambda v1, v2: cca.by_svd(v1, v2, 1).encode(v1, v2[:, 1:]), r"v2: got shape \(5, 2\)"),
    ],
)
def test_bad_input_is_named(call, message):
    assert math.isfinite(cca.by_svd(*views(0, 5, 4, 3), 1).correlations[0])
    with pytest.raises(ValueError, match=message):
        call(*views(0, 5, 4, 3))
