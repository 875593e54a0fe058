"""Each loss: a value worked by hand, the equation written naively, its derivative, its invariants, its extremes."""

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from minissl.nn import losses
from minissl.nn.gradcheck import complex_step, relative_error, taylor_slope
from minissl.nn.losses import sigmoid, sigmoid_cross_entropy, softmax_cross_entropy, softplus, squared_error

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(2, 6), st.integers(2, 5))


def naive_squared_error(Y, T, w):
    return sum(w[i, j] * (Y[i, j] - T[i, j]) ** 2 for i in range(len(Y)) for j in range(Y.shape[1])) / len(Y)


def naive_logistic(Y, T, w):
    total = 0
    for i in range(len(Y)):
        for j in range(Y.shape[1]):
            p = 1 / (1 + np.exp(-Y[i, j]))
            total -= w[i, j] * (T[i, j] * np.log(p) + (1 - T[i, j]) * np.log(1 - p))
    return total / len(Y)


def naive_softmax(Y, c):
    return -sum(np.log(np.exp(Y[i, c[i]]) / sum(np.exp(y) for y in Y[i])) for i in range(len(Y))) / len(Y)


def _case(loss, shape, seed):
    """(output, target, weight) at random, and the equation as a function of the output."""
    rng = np.random.default_rng(seed)
    Y, w = rng.standard_normal(shape), rng.uniform(0, 2, shape)
    if loss is softmax_cross_entropy:
        c = rng.integers(shape[1], size=shape[0])
        return Y, (c,), lambda Y: naive_softmax(Y, c)
    T = rng.standard_normal(shape) if loss is squared_error else rng.uniform(0, 1, shape)
    naive = naive_squared_error if loss is squared_error else naive_logistic
    return Y, (T, w), lambda Y: naive(Y, T, w)


def test_values_worked_by_hand():
    value, delta = squared_error([[1.0, 2.0], [3.0, 5.0]], [[0.0, 2.0], [1.0, 2.0]])
    assert value == pytest.approx((1 + 0 + 4 + 9) / 2)
    assert delta == pytest.approx(np.array([[1.0, 0.0], [2.0, 3.0]]))
    value, delta = sigmoid_cross_entropy([[0.0], [math.log(3)]], [[1.0], [0.0]])
    assert value == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert delta == pytest.approx(np.array([[-0.25], [0.375]]))
    value, delta = softmax_cross_entropy([[0.0, math.log(2), 0.0]], [1])
    assert value == pytest.approx(math.log(2))
    assert delta == pytest.approx(np.array([[0.25, -0.5, 0.25]]))


@pytest.mark.equation("losses.1", "losses.2", "losses.3")
@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy, softmax_cross_entropy])
@given(shape=shapes, seed=seeds)
def test_value_and_gradient_are_the_equations(loss, shape, seed):
    """Value against the equation in loops over samples and components, gradient against its complex step."""
    Y, target, naive = _case(loss, shape, seed)
    value, delta = loss(Y, *target)
    assert value == pytest.approx(naive(Y), rel=1e-12)
    assert relative_error(delta.ravel(), complex_step(lambda y: naive(y.reshape(shape)), Y.ravel())) < 1e-12


@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy, softmax_cross_entropy])
def test_the_remainder_falls_as_the_square_of_the_step(loss):
    Y, target, _ = _case(loss, (3, 4), 0)
    d = np.random.default_rng(1).standard_normal(12)

    def objective(y):
        value, delta = loss(y.reshape(3, 4), *target)
        return value, delta.ravel()

    assert taylor_slope(objective, Y.ravel(), d) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy, softmax_cross_entropy])
@given(shape=shapes, seed=seeds)
def test_a_mean_over_samples(loss, shape, seed):
    """A batch given twice leaves the mean unchanged and halves each sample's share; order does not matter."""
    Y, target, _ = _case(loss, shape, seed)
    value, delta = loss(Y, *target)
    twice, shares = loss(np.concatenate([Y, Y]), *(np.concatenate([t, t]) for t in target))
    assert twice == pytest.approx(value)
    assert shares == pytest.approx(np.concatenate([delta, delta]) / 2)
    order = np.random.default_rng(seed).permutation(len(Y))
    permuted, deltas = loss(Y[order], *(t[order] for t in target))
    assert permuted == pytest.approx(value)
    assert deltas == pytest.approx(delta[order])


@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy])
@given(shape=shapes, seed=seeds)
def test_no_weight_is_weight_one_and_weight_zero_is_no_influence(loss, shape, seed):
    Y, (T, _), _ = _case(loss, shape, seed)
    ones, mask = np.ones(shape), np.zeros(shape)
    assert loss(Y, T)[0] == pytest.approx(loss(Y, T, ones)[0])
    assert loss(Y, T)[1] == pytest.approx(loss(Y, T, ones)[1])
    assert loss(Y, T, mask)[0] == 0
    assert not loss(Y, T, mask)[1].any()


@given(shape=shapes, seed=seeds, constant=st.floats(-50, 50))
def test_softmax_does_not_see_a_constant_added_to_all_logits(shape, seed, constant):
    Y, (c,), _ = _case(softmax_cross_entropy, shape, seed)
    value, delta = softmax_cross_entropy(Y, c)
    shifted, same = softmax_cross_entropy(Y + constant, c)
    assert shifted == pytest.approx(value, abs=1e-12)
    assert same == pytest.approx(delta, abs=1e-13)
    assert delta.sum(axis=1) == pytest.approx(np.zeros(len(Y)), abs=1e-14)


@given(shape=shapes, seed=seeds)
def test_two_classes_by_softmax_are_the_logistic_loss_of_the_difference(shape, seed):
    Y, _, _ = _case(softmax_cross_entropy, (shape[0], 2), seed)
    c = np.random.default_rng(seed).integers(2, size=len(Y))
    assert softmax_cross_entropy(Y, c)[0] == pytest.approx(
        sigmoid_cross_entropy((Y[:, 1] - Y[:, 0])[:, None], c[:, None])[0]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_neither_overflow_nor_lose_the_loss(dtype):
    Y = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise"):
        value, delta = sigmoid_cross_entropy(Y, np.array([[1, 1], [0, 0]], dtype=dtype))
        assert value == pytest.approx(1e4)
        assert delta.tolist() == [[0.0, -0.5], [0.0, 0.5]]
        value, delta = softmax_cross_entropy(Y, [0, 0])
        assert value == pytest.approx(1e4)
        assert delta.tolist() == [[0.0, 0.0], [-0.5, 0.5]]
        value, delta = softmax_cross_entropy(Y[:, :1] * np.ones_like(Y), [0, 1])  # every sample has a scale of its own
        assert value == pytest.approx(math.log(2))
        assert delta.tolist() == [[-0.25, 0.25], [0.25, -0.25]]
        assert squared_error(Y, -Y)[0] == pytest.approx(8e8)


@given(st.floats(-700, 700))
def test_softplus(z):
    """ln(1 + eᶻ), by `math`, to fourteen digits even where it is tiny; less ln(1 + e⁻ᶻ) it is z."""
    assert softplus(np.array([z]))[0] == pytest.approx(math.log1p(math.exp(z)), rel=1e-14, abs=0)
    assert softplus(np.array([z]))[0] - softplus(np.array([-z]))[0] == pytest.approx(z, rel=1e-14)
    assert np.exp(softplus(np.array([min(z, 30)]))[0]) == pytest.approx(1 + math.exp(min(z, 30)), rel=1e-13)


@given(st.floats(-700, 700))
def test_sigmoid(z):
    value = sigmoid(np.array([z]))[0]
    assert value == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-15)
    assert value + sigmoid(np.array([-z]))[0] == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy, softmax_cross_entropy])
def test_dtype_is_kept_and_arguments_left_alone(loss, dtype):
    Y, target, _ = _case(loss, (3, 4), 5)
    Y = Y.astype(dtype)
    target = [t if t.dtype.kind == "i" else t.astype(dtype) for t in target]
    before = [Y.copy(), *(t.copy() for t in target)]
    value, delta = loss(Y, *target)
    assert delta.dtype == value.dtype == dtype
    assert all(np.array_equal(a, b) for a, b in zip([Y, *target], before, strict=True))


def test_a_likelihood_without_the_canonical_link_has_another_gradient():
    """−ln P(T) with P(T = 1) = Φ(Y), by central differences, is not Φ(Y) − T; with σ(Y) it is σ(Y) − T."""
    Y, h = np.array([0.7]), 1e-6

    def slope(P):
        return (np.log(P(Y - h)) - np.log(P(Y + h))) / (2 * h)  # of −ln P(T = 1)

    assert slope(sigmoid) == pytest.approx(sigmoid(Y) - 1, abs=1e-9)
    assert abs(slope(scipy.special.ndtr) - (scipy.special.ndtr(Y) - 1)) > 0.1


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (squared_error, ([[1.0, 2.0]], [[1.0]]), r"target: got shape \(1, 1\), expected \(1, 2\)"),
        (squared_error, ([[1.0, 1.0]], [[1.0, 1.0]], [[1.0, -1.0]]), "weight: got -1.0"),
        (squared_error, ([[1.0]], [[1.0]], [[1.0, 1.0]]), "weight: got shape"),
        (squared_error, ([[1.0]], [[1.0]], [[np.nan]]), "weight: contains NaN"),
        (squared_error, ([1.0], [1.0]), "output: got shape"),
        (softmax_cross_entropy, ([1.0, 2.0], [0]), r"output: got shape \(2,\), expected \(any, any\)"),
        (squared_error, ([[np.nan]], [[1.0]]), "output: contains NaN"),
        (squared_error, ([[1.0]], [[np.inf]]), "target: contains NaN or infinity"),
        (squared_error, ([[np.inf]], [[np.inf]]), "output: contains NaN or infinity"),  # ∞ − ∞ is invalid
        (squared_error, ([[0.0]], [[0.0]], [[np.inf]]), "weight: contains NaN or infinity"),  # and so is 0 · ∞
        (sigmoid_cross_entropy, ([[np.inf]], [[1.0]]), "output: contains NaN or infinity"),
        (sigmoid_cross_entropy, ([[-np.inf]], [[0.0]]), "output: contains NaN or infinity"),
        (sigmoid_cross_entropy, ([[1.0]], [[np.nan]]), "target: contains NaN or infinity"),
        (sigmoid_cross_entropy, ([[1.0, 1.0]], [[0.5, 1.5]]), "target: got values from 0.5 to 1.5"),
        (sigmoid_cross_entropy, ([[1.0]], [[-1.0]]), "target: got values from -1.0"),
        (softmax_cross_entropy, ([[1.0, 2.0]], [2]), "target: got values from 2 to 2, expected from 0 to 1"),
        (softmax_cross_entropy, ([[1.0, 2.0]], [-1]), "target: got values from -1"),
        (softmax_cross_entropy, ([[1.0, 2.0]], [0, 1]), r"target: got shape \(2,\), expected \(1,\)"),
        (softmax_cross_entropy, (np.empty((0, 3)), []), "output: got an empty array"),
    ],
)
def test_bad_input_is_named(loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        loss(*arguments)


def test_wrong_kinds_are_named():
    with pytest.raises(TypeError, match="target: got dtype float32, expected float64"):
        losses.squared_error(np.ones((2, 3)), np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="weight: got dtype float32, expected float64"):
        losses.sigmoid_cross_entropy(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="target: got dtype float64, expected integers"):
        softmax_cross_entropy(np.ones((2, 3)), np.ones(2))
