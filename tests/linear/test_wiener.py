"""The closed linear optima: the loss of the task, averaged over every corruption there is, has gradient zero there."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import device

import minissl as ssl
from minissl import wiener
from minissl.autoencoder import denoise, mask

cupy = device()
seeds = st.integers(0, 2**32 - 1)
x = np.random.default_rng(0).standard_normal((7, 5)) @ np.random.default_rng(1).standard_normal((5, 5))
x = x - x.mean(axis=0)
C = x.T @ x / len(x)
BLOCKS = [None, [0, 1, 0, 2, 1]]


def gradient_at(W, corrupted, target, weight):
    """dJ/dW and db of a linear network with r(x~) = W x~, over all pairs."""
    net = ssl.MLP((len(W), len(W)), rng=0, dtype="float64")
    net.weights[0][:], net.biases[0][:] = W.T, 0
    value, delta = ssl.squared_error(net(corrupted), target, weight)
    return value, net.backward(net.forward(corrupted), delta)


def all_noise(sigma):
    """Every sign of noise +-sigma: mean and covariance of N(0, sigma^2 I), and that is all that a linear map sees."""
    signs = np.array(list(itertools.product((-sigma, sigma), repeat=5)))
    target = np.repeat(x, len(signs), axis=0)
    return target + np.tile(signs, (len(x), 1)), target, np.ones_like(target)


def all_masks(q, blocks, missing_only):
    """Every mask with its probability, times the number of masks, so that the mean is the expectation."""
    of = np.arange(5) if blocks is None else np.array(blocks)
    kept = np.array(list(itertools.product((0.0, 1.0), repeat=of.max() + 1)))
    probability = np.prod(np.where(kept == 1, q, 1 - q), axis=1) * len(kept)
    M = np.tile(kept[:, of], (len(x), 1))
    target = np.repeat(x, len(kept), axis=0)
    weight = np.tile(probability, len(x))[:, None] * (1 - M if missing_only else np.ones_like(M))
    return M * target, target, weight


@pytest.mark.equation("wiener.1")
@pytest.mark.equation("wiener.2")
@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
def test_the_wiener_filter_is_the_optimum(sigma):
    W = wiener.denoising(C, sigma)
    pairs = all_noise(sigma)
    value, gradient = gradient_at(W, *pairs)
    assert abs(gradient).max() < 1e-11
    corrupted, target, _ = pairs
    np.testing.assert_allclose(W, (target.T @ corrupted) @ np.linalg.inv(corrupted.T @ corrupted), atol=1e-11)
    assert value == pytest.approx(np.trace(C - C @ np.linalg.inv(C + sigma**2 * np.eye(5)) @ C))
    assert abs(gradient_at(W + 0.01 * np.eye(5), *pairs)[1]).max() > 1e-3


@pytest.mark.equation("wiener.2")
def test_the_wiener_filter_of_independent_variables_by_hand():
    assert wiener.denoising(np.diag([4.0, 1.0, 0.0]), 2.0) == pytest.approx(np.diag([0.5, 0.2, 0.0]))
    np.testing.assert_allclose(wiener.denoising(C, 1e-6), np.eye(5) - 1e-12 * np.linalg.inv(C), atol=1e-13)
    assert abs(wiener.denoising(C, 1e6)).max() < 1e-10


@pytest.mark.equation("wiener.2")
@given(seed=seeds, exponent=st.floats(-10, -6))
def test_a_filter_never_amplifies(seed, exponent):
    """C has rank 2: its other eigenvalues are rounding, of either sign, and sigma^2 may be smaller still."""
    A = np.random.default_rng(seed).standard_normal((5, 2))
    W = wiener.denoising(A @ A.T, 10**exponent)
    assert np.linalg.norm(W, 2) <= 1 + 1e-12
    np.testing.assert_allclose(W @ A, A, atol=1e-6)


@pytest.mark.equation("wiener.3")
@pytest.mark.equation("wiener.4")
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("q", [0.2, 0.8])
def test_linear_masking_is_the_optimum_over_all_masks(q, blocks):
    W = wiener.masking(C, q, blocks)
    pairs = all_masks(q, blocks, missing_only=False)
    assert abs(gradient_at(W, *pairs)[1]).max() < 1e-11
    assert abs(gradient_at(wiener.masking(C, q + 0.02, blocks), *pairs)[1]).max() > 1e-3
    corrupted, _, weight = pairs
    moments = (weight * corrupted).T @ corrupted / len(corrupted)
    together = np.equal.outer(*2 * (np.arange(5) if blocks is None else np.array(blocks),))
    np.testing.assert_allclose(moments, np.where(together, q, q**2) * C, atol=1e-12)


@pytest.mark.equation("wiener.4")
def test_linear_masking_in_the_design_s_form_and_limits():
    expected = C @ np.linalg.inv(0.3 * C + 0.7 * np.diag(np.diag(C)))
    np.testing.assert_allclose(wiener.masking(C, 0.3), expected, rtol=1e-9)
    np.testing.assert_allclose(wiener.masking(C, 1), np.eye(5), atol=1e-10)
    two = wiener.masking(
        [[1.0, 0.5], [0.5, 1.0]], 0.5
    )  # [[1, 1/2], [1/2, 1]] times the inverse of [[1, 1/4], [1/4, 1]]
    np.testing.assert_allclose(two, np.array([[14, 4], [4, 14]]) / 15, rtol=1e-12)


@pytest.mark.equation("wiener.5")
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("q", [0.2, 0.8])
def test_the_optimum_for_what_is_missing_alone(q, blocks):
    W = wiener.masking(C, q, blocks, missing_only=True)
    pairs = all_masks(q, blocks, missing_only=True)
    value, gradient = gradient_at(W, *pairs)
    assert abs(gradient).max() < 1e-11
    assert value < gradient_at(wiener.masking(C, q, blocks), *pairs)[0]  # which also has the visible ones to serve
    of = np.arange(5) if blocks is None else np.array(blocks)
    for j in range(5):  # directly: the regression of x_j on the masked components of the other blocks
        o = of != of[j]
        K = q * C[o][:, o] + (1 - q) * np.where(np.equal.outer(of[o], of[o]), C[o][:, o], 0)
        np.testing.assert_allclose(W[j, o], C[j, o] @ np.linalg.inv(K), rtol=1e-8)
        assert (W[j, ~o] == 0).all()


@given(seed=seeds, q=st.floats(0.3, 0.9))
def test_the_tasks_agree_with_the_optima(seed, q):
    """The task's own corruption: E (W x~ - x) x~^T is zero within six standard errors, 50 numbers for each of 40 q.

    Two components are kept together in 14,000 q^2 rows, often enough for the error to be a Gaussian one.
    """
    many = np.tile(x, (2000, 1))
    for W, task in (
        (wiener.denoising(C, 1.3), denoise(1.3)),
        (wiener.masking(C, q, BLOCKS[1]), mask(q, blocks=BLOCKS[1])),
    ):
        input, target = task(many, np.random.default_rng(seed))
        products = ((input @ W.T - target)[:, :, None] * input[:, None, :]).reshape(2000, 7, 25).mean(axis=1)
        error = products.std(axis=0, ddof=1) / 2000**0.5
        assert (abs(products.mean(axis=0)) < 6 * error + 1e-12).all()


@pytest.mark.equation("wiener.4")
@pytest.mark.parametrize("scale", [1e-12, 1, 1e12])
def test_a_variance_of_the_size_of_rounding_does_no_harm(scale):
    """Whatever the units: the others are passed on whole, this one somewhere between nothing and whole."""
    for k in range(30):
        W = wiener.masking(scale * np.diag([4.0, 1.0, k * np.finfo(float).eps]), 0.4)
        np.testing.assert_allclose(W[:2], np.eye(2, 3), atol=1e-14)
        assert 0 <= W[2, 2] <= 1


@pytest.mark.parametrize("missing_only", [False, True])
def test_components_that_never_change(missing_only):
    """C is singular: a constant pixel is predicted to stay, and does not disturb the others."""
    larger = np.zeros((6, 6))
    larger[:5, :5] = C
    for blocks, short in ((None, None), ([0, 1, 0, 2, 1, 2], [0, 1, 0, 2, 1])):
        W = wiener.masking(larger, 0.4, blocks, missing_only)
        np.testing.assert_allclose(W[:5, :5], wiener.masking(C, 0.4, short, missing_only), rtol=1e-9, atol=1e-12)
        assert abs(W[5]).max() < 1e-12 and abs(W[:, 5]).max() < 1e-12


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
        (lambda: wiener.denoising(C[:3], 1), "symmetric"),
        (lambda: wiener.denoising(np.array([[1.0, 2.0], [0.0, 1.0]]), 1), "symmetric"),
        (lambda: wiener.masking(C, 0), "q"),
        (lambda: wiener.masking(C, 0.5, [0, 1]), "blocks"),
    ],
)
def test_unfit_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
