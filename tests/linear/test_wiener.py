"""The closed linear optima: the loss of the task, averaged over every corruption there is, has gradient zero there."""

import itertools

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st

from minissl.linear import wiener
from minissl.nn.gradcheck import complex_step
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP
from minissl.tasks.autoencoder import denoise, mask, score

cupy = device()
seeds = st.integers(0, 2**32 - 1)
mixing = np.eye(5) + 0.4 * np.random.default_rng(1).standard_normal((5, 5))
x = np.random.default_rng(0).standard_normal((7, 5)) @ mixing
x = x - x.mean(axis=0)
C = x.T @ x / len(x)
BLOCKS = [None, [0, 1, 0, 2, 1]]


def gradient_at(W, corrupted, target, weight):
    """J, and its gradient in W and b, of a linear network with r(x̃) = Wx̃, over all pairs."""
    net = MLP((len(W), len(W)), rng=0, dtype="float64")
    net.weights[0][:] = W.T
    net.biases[0][:] = 0
    value, delta = squared_error(net(corrupted), target, weight)
    return value, net.backward(net.forward(corrupted), delta)


def all_noise(sigma):
    """Every sign of noise ±σ: mean and covariance of N(0, σ²I), and that is all that a linear map depends on."""
    signs = np.array(list(itertools.product((-sigma, sigma), repeat=5)))
    target = np.repeat(x, len(signs), axis=0)
    return target + np.tile(signs, (len(x), 1)), target, np.ones_like(target)


def all_masks(p, blocks, missing_only):
    """Every mask with its probability, times the number of masks, so that the mean is the expectation."""
    of = np.arange(5) if blocks is None else np.array(blocks)
    kept = np.array(list(itertools.product((0.0, 1.0), repeat=of.max() + 1)))
    probability = np.prod(np.where(kept == 0, p, 1 - p), axis=1) * len(kept)
    M = np.tile(kept[:, of], (len(x), 1))
    target = np.repeat(x, len(kept), axis=0)
    weight = np.tile(probability, len(x))[:, None] * (1 - M if missing_only else np.ones_like(M))
    return M * target, target, weight


# --- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("wiener.1", "wiener.2")
@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
def test_the_wiener_filter_is_the_optimum(sigma):
    """The filter against E(xx̃ᵀ) E(x̃x̃ᵀ)⁻¹, its loss against tr(C − W E(x̃xᵀ)), its gradient against zero."""
    W = wiener.denoising(C, sigma)
    pairs = all_noise(sigma)
    value, gradient = gradient_at(W, *pairs)
    assert abs(gradient).max() < 1e-11
    corrupted, target, _ = pairs
    np.testing.assert_allclose(W, (target.T @ corrupted) @ np.linalg.inv(corrupted.T @ corrupted), atol=1e-11)
    assert value == pytest.approx(np.trace(C - W @ (corrupted.T @ target) / len(target)))
    assert value == pytest.approx(np.trace(C - C @ np.linalg.inv(C + sigma**2 * np.eye(5)) @ C))
    assert abs(gradient_at(W + 0.01 * np.eye(5), *pairs)[1]).max() > 1e-3


@pytest.mark.equation("wiener.2")
def test_the_wiener_filter_of_independent_variables_by_hand():
    """λ/(λ + σ²) on the diagonal, I − σ²C⁻¹ for small σ, zero for large σ."""
    assert wiener.denoising(np.diag([4.0, 1.0, 0.0]), 2.0) == pytest.approx(np.diag([0.5, 0.2, 0.0]))
    np.testing.assert_allclose(wiener.denoising(C, 1e-6), np.eye(5) - 1e-12 * np.linalg.inv(C), atol=1e-13)
    assert abs(wiener.denoising(C, 1e6)).max() < 1e-10


@pytest.mark.equation("wiener.2")
@given(seed=seeds, exponent=st.floats(-10, -6))
def test_a_filter_never_amplifies(seed, exponent):
    """The norm of the filter is at most 1, where C has rank 2 and its other eigenvalues are rounding of either sign."""
    A = np.random.default_rng(seed).standard_normal((5, 2))
    W = wiener.denoising(A @ A.T, 10**exponent)
    assert np.linalg.norm(W, 2) <= 1 + 1e-12
    np.testing.assert_allclose(W @ A, A, atol=1e-6)


@pytest.mark.equation("wiener.3")
@given(seed=seeds, sigma=st.floats(0.2, 3))
def test_the_filter_s_score_is_that_of_the_gaussian(seed, sigma):
    """(Wx̃ − x̃)/σ² against the complex-step gradient of ln N(x̃; 0, C + σ²I)."""
    at, W = np.random.default_rng(seed).standard_normal((1, 5)), wiener.denoising(C, sigma)

    def log_density(v):
        return -v @ np.linalg.solve(C + sigma**2 * np.eye(5), v) / 2

    expected = complex_step(log_density, at[0])
    np.testing.assert_allclose(score(lambda v: v @ W.T, at, sigma)[0], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.equation("wiener.3")
def test_where_the_score_is_that_of_white_data():
    """−x̃/(1 + σ²) for C = I exactly and for any C in the limit of large σ, where it is far off at σ = 1."""

    def distance(C, sigma):
        s = (wiener.denoising(C, sigma) - np.eye(5)) / sigma**2
        return np.linalg.norm(s + np.eye(5) / (1 + sigma**2), 2) * (1 + sigma**2)

    assert distance(np.eye(5), 0.7) < 1e-14
    assert distance(C, 1) > 0.3
    assert distance(C, 100) < np.linalg.norm(C - np.eye(5), 2) / 100**2


# --- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("wiener.4", "wiener.5")
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("p", [0.2, 0.8])
def test_linear_masking_is_the_optimum_over_all_masks(p, blocks):
    """The gradient at W and the moments of x̃, summed over all masks, against zero and qC or q²C."""
    W, q = wiener.masking(C, p, blocks), 1 - p
    pairs = all_masks(p, blocks, missing_only=False)
    assert abs(gradient_at(W, *pairs)[1]).max() < 1e-11
    assert abs(gradient_at(wiener.masking(C, p + 0.02, blocks), *pairs)[1]).max() > 1e-3
    corrupted, target, weight = pairs
    together = np.equal.outer(*2 * (np.arange(5) if blocks is None else np.array(blocks),))
    moments = (weight * corrupted).T @ corrupted / len(corrupted)
    np.testing.assert_allclose(moments, np.where(together, q, q**2) * C, atol=1e-12)
    np.testing.assert_allclose((weight * target).T @ corrupted / len(corrupted), q * C, atol=1e-12)


@pytest.mark.equation("wiener.5")
def test_linear_masking_in_the_design_s_form_and_limits():
    """W against C (qC + (1 − q) diag C)⁻¹, against the identity at p = 0, and against two variables by hand."""
    expected = C @ np.linalg.inv(0.3 * C + 0.7 * np.diag(np.diag(C)))
    np.testing.assert_allclose(wiener.masking(C, 0.7), expected, rtol=1e-9)
    np.testing.assert_allclose(wiener.masking(C, 0), np.eye(5), atol=1e-10)
    two = wiener.masking([[1.0, 0.5], [0.5, 1.0]], 0.5)  # [[1, ½], [½, 1]] times the inverse of [[1, ¼], [¼, 1]]
    np.testing.assert_allclose(two, np.array([[14, 4], [4, 14]]) / 15, rtol=1e-12)


@pytest.mark.equation("wiener.5")
@pytest.mark.parametrize("blocks", BLOCKS)
def test_another_regression_for_each_mask_does_better(blocks):
    """The loss of E(x | x̃) for Gaussian x, mask by mask, is below that of W, and equal to it for independent blocks."""
    p, of = 0.4, np.arange(5) if blocks is None else np.array(blocks)
    for covariance, better in ((C, True), (np.where(np.equal.outer(of, of), C, 0), False)):
        W, linear, best = wiener.masking(covariance, p, blocks), 0, 0
        for kept in itertools.product((False, True), repeat=of.max() + 1):
            probability, o = np.prod(np.where(kept, 1 - p, p)), np.array(kept)[of]
            M = np.diag(o.astype(float))
            linear += probability * np.trace((W @ M - np.eye(5)) @ covariance @ (W @ M - np.eye(5)).T)
            regression = covariance[:, o] @ np.linalg.inv(covariance[o][:, o])
            best += probability * np.trace(covariance - regression @ covariance[o])
        assert best < 0.99 * linear if better else best == pytest.approx(linear)


@pytest.mark.equation("wiener.6")
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("p", [0.2, 0.8])
def test_the_optimum_for_what_is_missing_alone(p, blocks):
    """The gradient at W over all masks is zero, each row is the regression on the other blocks, and W_bb is free."""
    W = wiener.masking(C, p, blocks, missing_only=True)
    pairs = all_masks(p, blocks, missing_only=True)
    value, gradient = gradient_at(W, *pairs)
    assert abs(gradient).max() < 1e-11
    assert value < gradient_at(wiener.masking(C, p, blocks), *pairs)[0]  # which also has the visible ones to serve
    of = np.arange(5) if blocks is None else np.array(blocks)
    for j in range(5):  # directly: the regression of xⱼ on the masked components of the other blocks
        o = of != of[j]
        K = (1 - p) * C[o][:, o] + p * np.where(np.equal.outer(of[o], of[o]), C[o][:, o], 0)
        np.testing.assert_allclose(W[j, o], C[j, o] @ np.linalg.inv(K), rtol=1e-8)
        assert (W[j, ~o] == 0).all()
    other = W + np.where(np.equal.outer(of, of), np.random.default_rng(0).standard_normal((5, 5)), 0)
    assert gradient_at(other, *pairs)[0] == pytest.approx(value, rel=1e-12)


@given(seed=seeds, p=st.floats(0.1, 0.7))
def test_the_tasks_agree_with_the_optima(seed, p):
    """The task's own corruption: E (Wx̃ − x) x̃ᵀ is zero within six standard errors, 50 numbers for each of 40 p.

    Two components are kept together in 14,000 q² rows, often enough for the error to be a Gaussian one.
    """
    many = np.tile(x, (2000, 1))
    for W, task in (
        (wiener.denoising(C, 1.3), denoise(1.3)),
        (wiener.masking(C, p, BLOCKS[1]), mask(p, blocks=BLOCKS[1])),
    ):
        input, target = task(many, np.random.default_rng(seed))
        products = ((input @ W.T - target)[:, :, None] * input[:, None, :]).reshape(2000, 7, 25).mean(axis=1)
        error = products.std(axis=0, ddof=1) / 2000**0.5
        assert (abs(products.mean(axis=0)) < 6 * error + 1e-12).all()


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.equation("wiener.5")
@pytest.mark.parametrize("scale", [1e-12, 1, 1e12])
def test_a_variance_of_the_size_of_rounding_does_no_harm(scale):
    """Whatever the units, variances far above rounding give the identity, and one of its size a number in [0, 1]."""
    for k in range(30):
        W = wiener.masking(scale * np.diag([4.0, 1.0, k * np.finfo(float).eps]), 0.6)
        np.testing.assert_allclose(W[:2], np.eye(2, 3), atol=1e-14)
        assert 0 <= W[2, 2] <= 1


@pytest.mark.parametrize("missing_only", [False, True])
def test_components_that_never_change(missing_only):
    """C is singular: a constant pixel is predicted to stay, and does not disturb the others."""
    larger = np.zeros((6, 6))
    larger[:5, :5] = C
    for blocks, short in ((None, None), ([0, 1, 0, 2, 1, 2], [0, 1, 0, 2, 1])):
        W = wiener.masking(larger, 0.6, blocks, missing_only)
        np.testing.assert_allclose(W[:5, :5], wiener.masking(C, 0.6, short, missing_only), rtol=1e-9, atol=1e-12)
        assert abs(W[5]).max() < 1e-12 and abs(W[:, 5]).max() < 1e-12


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_units_and_harmless_underflow(scale):
    with np.errstate(all="raise"):
        sigma = scale**0.5
        np.testing.assert_allclose(wiener.denoising(scale * C, sigma), wiener.denoising(C, 1), atol=1e-12)
        np.testing.assert_allclose(wiener.masking(scale * C, 0.3), wiener.masking(C, 0.3), atol=1e-10)
        wiener.denoising(np.diag([1.0, 1e-300]), 1e100)


@pytest.mark.parametrize(
    "optimum",
    [lambda C: wiener.denoising(C, 0.5), lambda C: wiener.masking(C, 0.5, BLOCKS[1])]
    + [lambda C, b=b: wiener.masking(C, 0.5, b, missing_only=True) for b in BLOCKS],
)
def test_dtype_library_and_untouched_argument(optimum):
    before = C.copy()
    W = optimum(C)
    assert np.array_equal(C, before) and W.dtype == np.float64
    assert optimum(C.astype("float32")).dtype == np.float32
    np.testing.assert_allclose(optimum(C.astype("float32")), W, rtol=1e-3, atol=1e-3)
    there = optimum(cupy.asarray(C))
    assert isinstance(there, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(there), W, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wiener.denoising(C, 0), "sigma"),
        (lambda: wiener.denoising(C, 1e-200), "sigma"),  # its square is 0
        (lambda: wiener.denoising(C, 1e200), "sigma"),
        (lambda: wiener.denoising(C[:3], 1), "symmetric"),
        (lambda: wiener.denoising(np.array([[1.0, 2.0], [0.0, 1.0]]), 1), "symmetric"),
        (lambda: wiener.denoising(np.diag([1.0, -1.0]), 1), "C: got eigenvalues"),
        (lambda: wiener.masking(np.zeros((2, 2)), 0.5), "C: got eigenvalues"),
        (lambda: wiener.masking(C, 1), "p"),
        (lambda: wiener.masking(C, -0.1), "p"),
        (lambda: wiener.masking(C, 0.5, [0, 1]), "blocks"),
        (lambda: wiener.masking(C, 0.5, [0, 1, 2, 3, 5]), "blocks"),
    ],
)
def test_invalid_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
