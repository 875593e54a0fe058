"""Prediction of the next word: each equation of minissl/words.py against one-hot loops, count tables, chi-square."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from minissl import checkpoint
from minissl.autoregression import windows
from minissl.gradcheck import gradient_error, relative_error, taylor_slope
from minissl.losses import softmax
from minissl.optimizers import Adam, lbfgs
from minissl.training import objective, train
from minissl.words import UNKNOWN, Vocabulary, WordMLP, generate, next_word, perplexity, vocabulary

TABLE = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.5, 0.0], [0.05, 0.9, 0.03, 0.02]])


def bigram(contexts):
    """A model that knows P(next | last word) = TABLE."""
    with np.errstate(divide="ignore"):
        return np.log(TABLE)[contexts[:, -1]]


@st.composite
def cases(draw):
    """A network, contexts with repeated words, and targets."""
    V, k, d = draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    hidden = draw(st.lists(st.integers(1, 5), max_size=2))
    activation = draw(st.sampled_from(["tanh", "sigmoid", "identity"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    N = draw(st.integers(1, 9))
    net = WordMLP(V, k, d, hidden, activation=activation, rng=rng, dtype="float64")
    return net, rng.integers(V, size=(N, k)), rng.integers(V, size=N)


def test_a_vocabulary_worked_by_hand():
    words = vocabulary("b a c a b a d".split(), 4)
    assert words.words == (UNKNOWN, "a", "b", "c")  # c came before d
    assert isinstance(words, Vocabulary)
    assert list(words.encode(["a", "d", "never seen", "c"])) == [1, 0, 0, 3]
    assert words.decode(words.encode(["b", "d"])) == ["b", UNKNOWN]
    assert vocabulary([UNKNOWN, "a", UNKNOWN], 9).words == (UNKNOWN, "a")


def test_the_pretext_task_cuts_the_last_word_off():
    input, target = next_word(3)(windows(np.arange(6), 4), None)
    assert np.array_equal(input, [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert np.array_equal(target, [3, 4, 5])


@pytest.mark.equation("words.1")
@given(cases())
def test_forward_is_a_product_with_one_hot_vectors(case):
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
    assert np.array_equal(net(x), net.mlp(H_0)) and np.array_equal(net(x), H[-1])
    assert np.array_equal(net.features(x), H[-2])


@pytest.mark.equation("words.1")
def test_one_context_worked_by_hand():
    net = WordMLP(2, 2, 1, (), dtype="float64", rng=0)
    # E = (1, -2); Y = H_0 W + b with W = ((1, 0), (3, 1)), b = (0, 5); context (1, 0): H_0 = (-2, 1), Y = (1, 6)
    net.theta[:] = [1, -2, 1, 0, 3, 1, 0, 5]
    assert np.array_equal(net(np.array([[1, 0]])), [[1, 6]])
    # delta = (1, -1): Delta_0 = delta W^T = (1, 2), so dJ/dE = (2, 1): word 0 stands at position 2
    H = net.forward(np.array([[1, 0]]))
    assert np.array_equal(net.backward(H, np.array([[1.0, -1.0]])), [2, 1, -2, 2, 1, -1, 1, -1])


@pytest.mark.equation("words.2")
@given(cases())
def test_the_embedding_gradient_adds_up_wherever_a_word_occurs(case):
    net, x, target = case
    (N, k), (V, d) = x.shape, net.embedding.shape
    H = net.forward(x)
    _, delta = softmax(H[-1], target)
    grad = net.backward(H, delta)
    mlp_grad, delta_0 = net.mlp.backward(net.mlp.forward(H[1]), delta, input_gradient=True)
    dE = np.zeros((V, d))
    for i in range(N):
        for j in range(k):
            dE[x[i, j]] += delta_0[i, j * d : (j + 1) * d]
    assert relative_error(grad[: V * d], dE.reshape(-1)) <= 1e-13
    assert np.array_equal(grad[V * d :], mlp_grad)
    assert np.array_equal(grad, net.backward(H, delta))


@pytest.mark.equation("words.2")
@given(cases())
def test_every_component_of_the_gradient(case):
    net, *pair = case
    assert gradient_error(objective(net, pair, softmax), net.theta.copy()) <= 1e-7


@pytest.mark.equation("words.2")
def test_the_taylor_remainder_falls_as_h_squared():
    rng = np.random.default_rng(0)
    net = WordMLP(7, 3, 2, (5,), rng=rng, dtype="float64")
    J = objective(net, (rng.integers(7, size=(11, 3)), rng.integers(7, size=11)), softmax)
    assert abs(taylor_slope(J, net.theta.copy(), rng.standard_normal(net.theta.size), h=1e-3) - 2) < 0.05


@pytest.mark.equation("words.2")
def test_penalties_on_the_embedded_context_and_on_a_hidden_layer():
    rng = np.random.default_rng(1)
    net = WordMLP(6, 3, 2, (5, 4), rng=rng, dtype="float64")

    def quartic(H):
        return 0.3 * (H**4).sum() / len(H), 1.2 * H**3 / len(H)

    pair = rng.integers(6, size=(8, 3)), rng.integers(6, size=8)
    alone = objective(net, pair, softmax)(net.theta.copy())[0]
    for l in (1, 2, 3):
        J = objective(net, pair, softmax, {l: quartic})
        assert J(net.theta.copy())[0] > alone
        assert gradient_error(J, net.theta.copy()) <= 1e-7
    for l in (0, 4):
        with pytest.raises(ValueError, match="hidden layer"):
            H = net.forward(pair[0])
            net.backward(H, softmax(H[-1], pair[1])[1], {l: H[l]})


def test_parameters_are_one_vector():
    net = WordMLP(5, 2, 3, (4,), rng=0)
    assert net.theta.dtype == np.float32 and net.theta.size == 5 * 3 + 6 * 4 + 4 + 4 * 5 + 5
    before = net.theta.copy()
    net.embedding += 1
    net.mlp.weights[1][:] = 0
    assert np.array_equal(net.theta[:15], before[:15] + 1)
    assert not net.theta[15 + 28 : 15 + 28 + 20].any() and np.array_equal(net.theta[15:43], before[15:43])
    other = np.arange(net.theta.size, dtype=np.float32)
    net.theta = other
    assert net.theta is other and np.array_equal(net.embedding, other[:15].reshape(5, 3))
    assert np.array_equal(net.mlp.theta, other[15:]) and np.shares_memory(net.embedding, other)
    assert abs(np.std(WordMLP(500, 2, 40, (), rng=0).embedding) / 0.1 - 1) < 5 / np.sqrt(2 * 500 * 40)


def test_workspaces_change_nothing():
    net = WordMLP(9, 2, 3, (4,), rng=0)
    rng = np.random.default_rng(2)
    out = net.workspace(8)
    for _ in range(2):
        x, target = rng.integers(9, size=(8, 2)), rng.integers(9, size=8)
        H = net.forward(x)
        grad = net.backward(H, softmax(H[-1], target)[1], {1: H[1], 2: H[2]})
        H = net.forward(x, out=out)
        assert all(filled is buffer for filled, buffer in zip(H[2:], out.H[2:], strict=True))
        delta = softmax(H[-1], target, out=out.D[-1])[1]
        filled = net.backward(H, delta, {1: H[1].copy(), 2: H[2].copy()}, out=out)
        assert filled is out.grad and np.array_equal(filled, grad)


def test_training_resumes_from_a_checkpoint_to_the_bit(tmp_path):
    x = windows(np.random.default_rng(3).integers(6, size=200), 4)
    settings = {"task": next_word(3), "loss": softmax, "batch_size": 64}
    whole = WordMLP(6, 3, 2, (5,), rng=0)
    losses = list(train(whole, x, epochs=4, rng=1, **settings))
    assert losses[-1] < losses[0]
    path = tmp_path / "net.npz"
    list(train(WordMLP(6, 3, 2, (5,), rng=0), x, epochs=2, rng=1, checkpoint=path, **settings))
    again = WordMLP(6, 3, 2, (5,), rng=9)
    list(train(again, x, epochs=4, rng=8, checkpoint=path, **settings))
    assert np.array_equal(again.theta, whole.theta)
    with pytest.raises(ValueError, match="architecture|context|words"):
        checkpoint.load(path, WordMLP(6, 3, 2, (4,), rng=0))


@pytest.mark.equation("words.1", "words.3")
def test_softmax_regression_reaches_the_table_of_counts():
    rng = np.random.default_rng(4)
    text = generate(bigram, [[0]], 3000, rng=rng)[0]
    text = np.where(text == 2, rng.integers(4, size=text.size), text)  # so that no count is zero
    pairs = windows(text, 2)
    counts = np.zeros((4, 4))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    best = -(counts * np.log(counts / counts.sum(axis=1, keepdims=True))).sum() / counts.sum()
    net = WordMLP(4, 1, 4, (), rng=0, dtype="float64")  # E has full rank: the logits E W + b can be any table
    found = lbfgs(objective(net, next_word(1)(pairs, None), softmax), net.theta, tolerance=1e-9)
    assert found.value == pytest.approx(best, abs=1e-10)
    net.theta[:] = found.theta
    assert perplexity(net, pairs) == pytest.approx(np.exp(best), rel=1e-9)


@pytest.mark.equation("words.3")
def test_perplexity():
    x = np.random.default_rng(5).integers(4, size=(50, 3))
    assert perplexity(lambda contexts: np.zeros((len(contexts), 7)), x) == pytest.approx(7, rel=1e-12)
    P = (TABLE + 0.1) / 1.4
    by_hand = np.prod([P[row[1], row[2]] ** (-1 / len(x)) for row in x])
    for shift in (0, 3):  # of all logits: it cancels in the softmax
        assert perplexity(lambda c, shift=shift: np.log(P)[c[:, 1]] + shift, x, batch_size=7) == pytest.approx(
            by_hand, rel=1e-12
        )


def frequencies_agree(drawn_from, P):
    """Pearson's chi-square of transitions against P, row by row; a false alarm once in a million."""
    for u, row in enumerate(P):
        seen = np.bincount(drawn_from[u], minlength=len(row))
        assert not seen[row == 0].any()
        likely = row > 0
        expected = seen.sum() * row[likely]
        statistic = ((seen[likely] - expected) ** 2 / expected).sum()
        assert seen.sum() > 500 and statistic <= chi2.isf(1e-6, max(1, likely.sum() - 1))


@pytest.mark.equation("words.4", "words.5")
@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, None), (1.0, 2), (0.7, 1)])
def test_generated_text_has_the_frequencies_of_the_table(temperature, top_k):
    P = TABLE ** (1 / temperature)
    if top_k is not None:
        P = np.where(P >= np.sort(P, axis=1)[:, -top_k, None], P, 0)  # row 1 has a tie beyond its first, kept whole
    P /= P.sum(axis=1, keepdims=True)
    start = np.repeat(np.arange(4), 1000)[:, None]
    text = np.hstack([start, generate(bigram, start, 3, temperature=temperature, top_k=top_k, rng=6)])
    last, following = text[:, :-1].reshape(-1), text[:, 1:].reshape(-1)
    frequencies_agree([following[last == u] for u in range(4)], P)


def test_the_temperature_is_one_where_nothing_is_said():
    start = np.zeros((300, 1), dtype=int)
    assert np.array_equal(generate(bigram, start, 3, rng=0), generate(bigram, start, 3, temperature=1, rng=0))


@pytest.mark.equation("words.4")
def test_no_temperature_is_too_small():
    """For tau to 0 the likeliest word is certain, wherever the logits of a context stand."""
    Y = np.array([[1e3, 1e3 + 1, 1e3 - 1], [-5e3, -5e3 - 1, -5e3 + 0.5]])
    text = generate(lambda contexts: Y, [[0], [0]], 4, temperature=1e-307, rng=0)
    assert text.tolist() == [[1] * 4, [2] * 4]


def test_generation_feeds_the_context_and_repeats_with_its_seed():
    seen = []

    def model(contexts):
        seen.append(contexts.copy())
        return np.eye(9)[(contexts[:, 0] + contexts[:, 1]) % 9] * 1e6  # the sum of two words is certain

    start = np.array([[1, 1], [2, 3]])
    assert np.array_equal(generate(model, start, 4, rng=0), [[2, 3, 5, 8], [5, 8, 4, 3]])
    assert np.array_equal(seen[2], [[2, 3], [5, 8]]) and np.array_equal(start, [[1, 1], [2, 3]])
    assert np.array_equal(generate(bigram, start, 20, rng=1), generate(bigram, start, 20, rng=1))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vocabulary([], 5), ValueError, "tokens"),
        (lambda: vocabulary(["a"], 1), ValueError, "size"),
        (lambda: next_word(0), ValueError, "context"),
        (lambda: next_word(2)(np.zeros((3, 4), int), None), ValueError, "windows of 3 words"),
        (lambda: WordMLP(1, 2, 3, ()), ValueError, "words"),
        (lambda: WordMLP(4, 2, 0, ()), ValueError, "dimension"),
        (lambda: WordMLP(4, 2, 3, ())(np.array([[0, 4]])), ValueError, "x: got values"),
        (lambda: WordMLP(4, 2, 3, ())(np.array([[0, 1, 2]])), ValueError, "the context"),
        (lambda: WordMLP(4, 2, 3, ())(np.array([[0.0, 1.0]])), TypeError, "integers"),
        (lambda: perplexity(bigram, np.zeros((3, 2))), TypeError, "integers"),
        (lambda: generate(bigram, [[0]], 0), ValueError, "length"),
        (lambda: generate(bigram, [[0]], 3, temperature=0), ValueError, "temperature"),
        (lambda: generate(bigram, [[0]], 3, top_k=5), ValueError, "top_k"),
        (lambda: list(train(WordMLP(4, 2, 3, ()), np.eye(3), next_word(2), softmax, epochs=1)), TypeError, "dtype"),
    ],
)
def test_unfit_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_adam_learns_a_certain_text():
    x = windows(np.tile([0, 1, 2, 1, 3], 60), 3)  # after 1 come 2 and 3 in turn: two words of context decide
    net = WordMLP(4, 2, 3, (8,), rng=0)
    list(train(net, x, next_word(2), softmax, epochs=40, batch_size=32, optimizer=Adam(0.02), rng=0))
    assert perplexity(net, x) < 1.05


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64])
def test_word_numbers_of_few_bits_give_the_same_gradient(dtype):
    """127 words of 300 numbers each: places in the flat embedding lie far beyond 8 and 16 bits."""
    net = WordMLP(128, 2, 300, (4,), rng=0, dtype="float64")
    x, target = np.array([[127, 3], [100, 127]]), np.array([5, 6])

    def gradient(x, out=None):
        H = net.forward(x, out=out)
        return net.backward(H, softmax(H[-1], target)[1], out=out).copy()

    for out in (None, net.workspace(2)):
        assert np.array_equal(gradient(x.astype(dtype), out), gradient(x, out))
    assert np.array_equal(generate(net, x.astype(dtype), 5, rng=0), generate(net, x, 5, rng=0))


def test_new_parameters_reach_every_part():
    net, other = (WordMLP(6, 2, 3, (4,), rng=seed) for seed in (0, 1))
    x, theta = np.array([[1, 5]]), other.theta.copy()
    net.theta = theta
    assert net.theta is theta
    assert np.array_equal(net(x), other(x))
    theta[:] = 0
    assert not net.embedding.any() and not net.mlp.weights[0].any()


@pytest.mark.filterwarnings("ignore:overflow")  # to -inf, as it should
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-300, 1e-30])
def test_a_temperature_near_zero_draws_the_likeliest_word(dtype, temperature):
    logits = np.array([[700.0, 701.0, -1e4, 700.0], [-1e30, -2e30, -3e30, -4e30]], dtype)
    drawn = generate(lambda contexts: logits, [[0], [0]], 20, temperature=temperature, rng=0)
    assert (drawn == [[1], [0]]).all()


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.array([[0.0, np.nan]]), "model: got a row whose largest logit is not finite"),
        (np.array([[np.inf, 0.0]]), "model: got a row whose largest logit is not finite"),
        (np.array([[-np.inf, -np.inf]]), "expected a word that may be drawn"),
        (np.zeros((2, 2)), r"model: got shape \(2, 2\), expected \(1, any\)"),
        (np.zeros(2), "model: got shape"),
    ],
)
def test_a_model_that_says_nothing_is_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        generate(lambda contexts: logits, [[0]], 3)
