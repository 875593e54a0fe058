"""The network that reads words: each equation of minissl/nn/embedding.py against one-hot loops and differences."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slopes import median_slope

from minissl.nn import checkpoint
from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.gradcheck import gradient_error, relative_error
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.training import objective, train
from minissl.tasks.prediction import windows
from minissl.tasks.words import generate, next_word


def trained(net, x):
    """`net` after one epoch of predicting the next word."""
    train(net, x, next_word(net.context), softmax_cross_entropy, epochs=1, batch_size=7, rng=0)
    return net


def behind(net):
    """The MLP behind the embedding, as a network of its own."""
    mlp = MLP(net.sizes, net.activations, rng=0, dtype=net.theta.dtype)
    return mlp.at(net.theta[net.embedding.size :])


@st.composite
def cases(draw):
    """A network, contexts with repeated words, and targets."""
    V, k, d = draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    hidden = draw(st.lists(st.integers(1, 5), max_size=2))
    activation = draw(st.sampled_from(["tanh", "sigmoid", "identity"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    N = draw(st.integers(1, 9))
    net = EmbeddingMLP(V, k, d, hidden, activation=activation, rng=rng, dtype="float64")
    return net, rng.integers(V, size=(N, k)), rng.integers(V, size=N)


@pytest.mark.equation("embedding.1")
@given(cases())
def test_forward_is_a_product_with_one_hot_vectors(case):
    """H₀ is compared with products of one-hot vectors and E, the output with that of the MLP behind the embedding."""
    net, x, _ = case
    (N, k), (V, d) = x.shape, net.embedding.shape
    H_0 = np.zeros((N, k * d))
    for i in range(N):
        for j in range(k):
            one_hot = np.zeros(V)
            one_hot[x[i, j]] = 1
            H_0[i, j * d : (j + 1) * d] = one_hot @ net.embedding
    H = net.forward(x)
    assert np.array_equal(H[0], x) and np.array_equal(H[1], H_0)
    assert np.array_equal(net(x), behind(net)(H_0)) and np.array_equal(net(x), H[-1])
    assert np.array_equal(net.features(x), H[-2])


@pytest.mark.equation("embedding.1", "embedding.2")
def test_one_context_worked_by_hand():
    """Logits and gradient of a network of eight parameters are compared with sums by hand."""
    net = EmbeddingMLP(2, 2, 1, (), dtype="float64", rng=0)
    # E = (1, -2); Y = H₀ W + b with W = ((1, 0), (3, 1)), b = (0, 5); context (1, 0): H₀ = (-2, 1), Y = (1, 6)
    net.theta[:] = [1, -2, 1, 0, 3, 1, 0, 5]
    assert np.array_equal(net(np.array([[1, 0]])), [[1, 6]])
    # delta = (1, -1): Δ₀ = delta Wᵀ = (1, 2), so ∂J/∂E = (2, 1): word 0 stands at position 2
    H = net.forward(np.array([[1, 0]]))
    assert np.array_equal(net.backward(H, np.array([[1.0, -1.0]])), [2, 1, -2, 2, 1, -1, 1, -1])


@pytest.mark.equation("embedding.2")
@given(cases())
def test_the_embedding_gradient_adds_up_wherever_a_word_occurs(case):
    """The gradient of E is compared with a loop over samples and positions, the rest with that of the MLP behind it."""
    net, x, target = case
    (N, k), (V, d) = x.shape, net.embedding.shape
    H = net.forward(x)
    _, delta = softmax_cross_entropy(H[-1], target)
    grad = net.backward(H, delta)
    mlp = behind(net)
    mlp_grad, delta_0 = mlp.backward(mlp.forward(H[1]), delta, input_gradient=True)
    dE = np.zeros((V, d))
    for i in range(N):
        for j in range(k):
            dE[x[i, j]] += delta_0[i, j * d : (j + 1) * d]
    assert relative_error(grad[: V * d], dE.reshape(-1)) <= 1e-13
    assert np.array_equal(grad[V * d :], mlp_grad)
    assert np.array_equal(grad, net.backward(H, delta))


@pytest.mark.equation("embedding.2")
@given(cases())
def test_every_component_of_the_gradient(case):
    """Every component of the gradient of the cross-entropy is compared with central differences."""
    net, *pair = case
    assert gradient_error(objective(net, pair, softmax_cross_entropy), net.theta.copy()) <= 1e-7


@pytest.mark.equation("embedding.2")
def test_the_taylor_remainder_falls_as_h_squared():
    """The slope of the Taylor remainder against h, on logarithmic axes, is compared with 2."""
    rng = np.random.default_rng(0)
    net = EmbeddingMLP(7, 3, 2, (5,), rng=rng, dtype="float64")
    J = objective(net, (rng.integers(7, size=(11, 3)), rng.integers(7, size=11)), softmax_cross_entropy)
    assert median_slope(J, net.theta.copy()) == pytest.approx(2, abs=0.05)


@pytest.mark.equation("embedding.2")
def test_penalties_on_the_embedded_context_and_on_a_hidden_layer():
    """Every component of the gradient with a penalty on each layer in turn is compared with central differences."""
    rng = np.random.default_rng(1)
    net = EmbeddingMLP(6, 3, 2, (5, 4), rng=rng, dtype="float64")

    def quartic(H):
        return 0.3 * (H**4).sum() / len(H), 1.2 * H**3 / len(H)

    pair = rng.integers(6, size=(8, 3)), rng.integers(6, size=8)
    alone = objective(net, pair, softmax_cross_entropy)(net.theta.copy())[0]
    for l in (1, 2, 3):
        J = objective(net, pair, softmax_cross_entropy, {l: quartic})
        assert J(net.theta.copy())[0] > alone
        assert gradient_error(J, net.theta.copy()) <= 1e-7
    for l in (0, 4):
        with pytest.raises(ValueError, match="hidden layer"):
            H = net.forward(pair[0])
            net.backward(H, softmax_cross_entropy(H[-1], pair[1])[1], {l: H[l]})


def test_parameters_are_one_vector():
    net = EmbeddingMLP(5, 2, 3, (4,), rng=0)
    assert net.theta.dtype == np.float32 and net.theta.size == 5 * 3 + 6 * 4 + 4 + 4 * 5 + 5
    before = net.theta.copy()
    net.embedding[:] += 1
    net.weights[1][:] = 0
    assert np.array_equal(net.theta[:15], before[:15] + 1)
    assert not net.theta[15 + 28 : 15 + 28 + 20].any() and np.array_equal(net.theta[15:43], before[15:43])
    other = np.arange(net.theta.size, dtype=np.float32)
    net.theta = other
    assert net.theta is other and np.array_equal(net.embedding, other[:15].reshape(5, 3))
    assert np.array_equal(net.weights[0], other[15:39].reshape(6, 4)) and np.shares_memory(net.embedding, other)
    assert np.array_equal(net.biases[1], other[-5:]) and np.shares_memory(net.biases[1], other)
    assert abs(np.std(EmbeddingMLP(500, 2, 40, (), rng=0).embedding) / 0.1 - 1) < 5 / np.sqrt(2 * 500 * 40)


def test_training_resumes_from_a_checkpoint_to_the_bit(tmp_path):
    x = windows(np.random.default_rng(3).integers(6, size=200), 4)
    settings = {"task": next_word(3), "loss": softmax_cross_entropy, "batch_size": 64}
    whole = EmbeddingMLP(6, 3, 2, (5,), rng=0)
    losses = train(whole, x, epochs=4, rng=1, **settings)
    assert losses[-1] < losses[0]
    path = tmp_path / "net.npz"
    train(EmbeddingMLP(6, 3, 2, (5,), rng=0), x, epochs=2, rng=1, checkpoint=path, **settings)
    again = EmbeddingMLP(6, 3, 2, (5,), rng=9)
    train(again, x, epochs=4, rng=8, checkpoint=path, **settings)
    assert np.array_equal(again.theta, whole.theta)
    with pytest.raises(ValueError, match="architecture|context|words"):
        checkpoint.load(path, EmbeddingMLP(6, 3, 2, (4,), rng=0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: EmbeddingMLP(1, 2, 3, ()), ValueError, "words"),
        (lambda: EmbeddingMLP(4, 2, 0, ()), ValueError, "dimension"),
        (lambda: EmbeddingMLP(4, 2, 3, ())(np.array([[0, 4]])), ValueError, "x: got values"),
        (lambda: EmbeddingMLP(4, 2, 3, ())(np.array([[0, 1, 2]])), ValueError, r"expected \(any, 2\)"),
        (lambda: EmbeddingMLP(4, 2, 3, ())(np.array([[0.0, 1.0]])), TypeError, "integers"),
        (lambda: trained(EmbeddingMLP(4, 2, 3, ()), np.eye(3)), TypeError, "dtype"),
    ],
)
def test_invalid_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def trained_on(dtype):
    x = windows(np.random.default_rng(3).integers(6, size=50), 3).astype(dtype)
    return trained(EmbeddingMLP(6, 2, 3, (4,), rng=0), x).theta


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64])
def test_word_numbers_of_few_bits_give_the_same_gradient(dtype):
    """127 words of 300 numbers each: places in the flat embedding lie far beyond 8 and 16 bits."""
    net = EmbeddingMLP(128, 2, 300, (4,), rng=0, dtype="float64")
    x, target = np.array([[127, 3], [100, 127]]), np.array([5, 6])

    def gradient(x):
        H = net.forward(x)
        return net.backward(H, softmax_cross_entropy(H[-1], target)[1])

    assert np.array_equal(gradient(x.astype(dtype)), gradient(x))
    assert np.array_equal(trained_on(dtype), trained_on(np.int64))
    assert np.array_equal(generate(net, x.astype(dtype), 5, rng=0), generate(net, x, 5, rng=0))


def test_new_parameters_reach_every_part():
    net, other = (EmbeddingMLP(6, 2, 3, (4,), rng=seed) for seed in (0, 1))
    x, theta = np.array([[1, 5]]), other.theta.copy()
    net.theta = theta
    assert net.theta is theta
    assert np.array_equal(net(x), other(x))
    theta[:] = 0
    assert not net.embedding.any() and not net.weights[0].any()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda net, k=k: pickle.loads(pickle.dumps(net, k)) for k in range(2, 6))],
)
def test_copies_train_like_the_original(copied):
    """A copy has an embedding of its own, a view into its own parameters, and training moves both alike."""
    x = windows(np.random.default_rng(4).integers(6, size=60), 3)
    net = EmbeddingMLP(6, 2, 3, (4,), rng=0)
    twin, before = copied(net), net.theta.copy()
    assert np.shares_memory(twin.embedding, twin.theta) and not np.shares_memory(twin.theta, net.theta)
    trained(twin, x)
    assert np.array_equal(net.theta, before)
    assert np.array_equal(trained(net, x).theta, twin.theta) and not np.array_equal(twin.embedding, before[:18])


def test_the_network_at_other_parameters_leaves_the_first_alone():
    net, x = EmbeddingMLP(6, 2, 3, (4,), rng=0), np.array([[1, 5]])
    before = net(x).copy()
    moved = net.at(net.theta + 1)
    assert np.array_equal(moved.embedding, net.embedding + 1) and not np.array_equal(moved(x), before)
    assert np.array_equal(net(x), before)
