"""Prediction of the next word: each equation of minissl/tasks/words.py against loops, count tables and chi-square."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chi2

from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.optimizers import Adam, lbfgs
from minissl.nn.training import objective, train
from minissl.tasks.prediction import windows
from minissl.tasks.words import UNKNOWN, Vocabulary, generate, next_word, perplexity, vocabulary

TABLE = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.5, 0.0], [0.05, 0.9, 0.03, 0.02]])


def bigram(contexts):
    """A model that knows P(next | last word) = TABLE."""
    with np.errstate(divide="ignore"):
        return np.log(TABLE)[contexts[:, -1]]


def test_a_vocabulary_worked_by_hand():
    words = vocabulary("b a c a b a d".split(), 4)
    assert words.words == (UNKNOWN, "a", "b", "c")  # c came before d
    assert isinstance(words, Vocabulary)
    assert list(words.encode(["a", "d", "never seen", "c"])) == [1, 0, 0, 3]
    assert words.decode(words.encode(["b", "d"])) == ["b", UNKNOWN]
    assert vocabulary([UNKNOWN, "a", UNKNOWN], 9).words == (UNKNOWN, "a")


def test_the_length_of_a_vocabulary_is_the_number_of_its_words():
    words = vocabulary("b a c a b a d".split(), 20)
    assert len(words) == len(words.words) == 5
    again = pickle.loads(pickle.dumps(words))
    assert again == words and len(again) == 5 and again.decode([1, 0]) == ["a", UNKNOWN]


def test_the_task_can_be_pickled():
    x = windows(np.arange(9), 4)
    for a, b in zip(next_word(3)(x, None), pickle.loads(pickle.dumps(next_word(3)))(x, None), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.equation("words.1")
def test_the_pretext_task_cuts_the_last_word_off():
    """Input and target of windows of numbers are compared with the first three and the last."""
    input, target = next_word(3)(windows(np.arange(6), 4), None)
    assert np.array_equal(input, [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert np.array_equal(target, [3, 4, 5])


@pytest.mark.equation("words.1")
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 3))
def test_the_objective_is_the_mean_surprise_of_the_next_word(seed, V, k):
    """J of a network on the windows of a text is compared with loops over words and their probabilities."""
    rng = np.random.default_rng(seed)
    text = rng.integers(V, size=23)
    net = EmbeddingMLP(V, k, 2, (3,), rng=rng, dtype="float64")
    J = objective(net, next_word(k)(windows(text, k + 1), None), softmax_cross_entropy)(net.theta)[0]
    by_hand = 0
    for t in range(k, len(text)):
        odds = np.exp(net(text[None, t - k : t])[0])
        by_hand -= np.log(odds[text[t]] / sum(odds)) / (len(text) - k)
    assert J == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.equation("words.2")
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 4))
def test_the_surprise_is_the_entropy_plus_the_divergence(seed, V, contexts):
    """The expected loss of any model is compared with the entropy of the next word plus the divergence from it."""
    rng = np.random.default_rng(seed)
    true, said = rng.dirichlet(np.ones(V), contexts), rng.dirichlet(np.ones(V), contexts)
    share = rng.dirichlet(np.ones(contexts))
    J = entropy = divergence = 0
    for c in range(contexts):
        for v in range(V):
            loss = softmax_cross_entropy(np.log(said[c : c + 1]), np.array([v]))[0]  # −ln P(v | c)
            J += share[c] * true[c, v] * loss
            entropy -= share[c] * true[c, v] * np.log(true[c, v])
            divergence += share[c] * true[c, v] * np.log(true[c, v] / said[c, v])
    assert J == pytest.approx(entropy + divergence, rel=1e-9) and divergence > 0


@pytest.mark.equation("words.1", "words.2", "words.3", "embedding.1")
def test_softmax_regression_reaches_the_table_of_counts():
    """The least loss of a network that can be any table is compared with the entropy of the counts, exp of both too."""
    rng = np.random.default_rng(4)
    text = generate(bigram, [[0]], 3000, rng=rng)[0]
    text = np.where(text == 2, rng.integers(4, size=text.size), text)  # so that no count is zero
    pairs = windows(text, 2)
    counts = np.zeros((4, 4))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    best = -(counts * np.log(counts / counts.sum(axis=1, keepdims=True))).sum() / counts.sum()
    net = EmbeddingMLP(4, 1, 4, (), rng=0, dtype="float64")  # E has full rank: the logits E W + b can be any table
    found = lbfgs(objective(net, next_word(1)(pairs, None), softmax_cross_entropy), net.theta, tolerance=1e-8)
    assert found.value == pytest.approx(best, abs=1e-10)
    net.theta[:] = found.theta
    assert perplexity(net, pairs) == pytest.approx(np.exp(best), rel=1e-9)


@pytest.mark.equation("words.3")
def test_perplexity():
    """The perplexity of constant logits is compared with V, and of a table with the product of its probabilities."""
    x = np.random.default_rng(5).integers(4, size=(50, 3))
    assert perplexity(lambda contexts: np.zeros((len(contexts), 7)), x) == pytest.approx(7, rel=1e-12)
    P = (TABLE + 0.1) / 1.4
    by_hand = np.prod([P[row[1], row[2]] ** (-1 / len(x)) for row in x])
    for shift in (0, 3):  # of all logits: it cancels in the softmax
        assert perplexity(lambda c, shift=shift: np.log(P)[c[:, 1]] + shift, x, batch_size=7) == pytest.approx(
            by_hand, rel=1e-12
        )


@pytest.mark.equation("words.3")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_words_that_a_model_excludes(dtype):
    """With log P = −∞ for other words the perplexity is compared with the product, for the right word with infinity."""
    x = np.array([[0, 1], [0, 2], [1, 0]])
    P = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        log_P = np.log(P).astype(dtype)

    def model(contexts):
        return log_P[contexts[:, 0]]

    with np.errstate(all="raise"):
        assert perplexity(model, x) == pytest.approx((0.25 * 0.75 * 1) ** (-1 / 3), rel=1e-6)
        assert perplexity(model, [[0, 1], [2, 2]]) == np.inf
        assert perplexity(model, [[0, 1], [2, 2]], batch_size=1) == np.inf


def test_a_perplexity_out_of_range_is_infinite():
    wrong = np.array([[1e4, -1e4]])
    with np.errstate(all="raise"):
        assert perplexity(lambda c: wrong.repeat(len(c), 0), [[0, 1], [1, 1]]) == np.inf
        assert perplexity(lambda c: wrong.repeat(len(c), 0), [[0, 0], [1, 0]]) == 1


@pytest.mark.equation("words.3")
def test_the_perplexity_is_the_probability_of_the_text():
    """perplexity to the power −N is compared with the probability of a text by the chain rule, given its first word."""
    P, text = (TABLE + 0.1) / 1.4, np.array([0, 3, 1, 1, 2, 0])
    product = 1.0
    for u, v in zip(text, text[1:], strict=False):
        product *= P[u, v]
    assert perplexity(lambda c: np.log(P)[c[:, 0]], windows(text, 2)) ** -5.0 == pytest.approx(product, rel=1e-12)


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
    """Frequencies of generated words are compared with P^(1/τ) over the allowed words by the chi-square test."""
    P = TABLE ** (1 / temperature)
    if top_k is not None:
        P = np.where(P >= np.sort(P, axis=1)[:, -top_k, None], P, 0)  # row 1 has a tie beyond its first, kept whole
    P /= P.sum(axis=1, keepdims=True)
    start = np.repeat(np.arange(4), 1000)[:, None]
    text = np.hstack([start, generate(bigram, start, 3, temperature=temperature, top_k=top_k, rng=6)])
    last, following = text[:, :-1].reshape(-1), text[:, 1:].reshape(-1)
    frequencies_agree([following[last == u] for u in range(4)], P)


@pytest.mark.equation("words.5")
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5), st.floats(0.3, 3))
def test_the_integral_of_the_gumbel_step(Y, temperature):
    """The integral over g of the density that v is largest, by quadrature, is compared with P_τ(v)."""
    z = np.array(Y) / temperature

    def density(g, v):
        others = np.prod([np.exp(-np.exp(-(g - z[u]))) for u in range(len(z)) if u != v])
        return np.exp(-(g - z[v])) * np.exp(-np.exp(-(g - z[v]))) * others

    for v in range(len(z)):
        integral = quad(density, -25, 25 + z.max(), args=(v,), points=[z.max()], epsabs=1e-10)[0]
        assert integral == pytest.approx(np.exp(z[v]) / np.exp(z).sum(), abs=1e-8)


def test_the_temperature_is_one_where_nothing_is_said():
    start = np.zeros((300, 1), dtype=int)
    assert np.array_equal(generate(bigram, start, 3, rng=0), generate(bigram, start, 3, temperature=1, rng=0))


@pytest.mark.equation("words.4")
def test_no_temperature_is_too_small():
    """For τ → 0 the words drawn are compared with the likeliest, wherever the logits of a context stand."""
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
        (lambda: vocabulary([UNKNOWN], 5), ValueError, "tokens"),
        (lambda: vocabulary("a text in one piece", 5), TypeError, "tokens"),
        (lambda: vocabulary(["a"], 1), ValueError, "size"),
        (lambda: next_word(0), ValueError, "context"),
        (lambda: next_word(2)(np.zeros((3, 4), int), None), ValueError, r"expected \(any, 3\)"),
        (lambda: perplexity(bigram, np.zeros((3, 2))), TypeError, "integers"),
        (lambda: perplexity(None, np.zeros((3, 2), int)), TypeError, "model"),
        (lambda: perplexity(bigram, [[0, 1], [1, 4]]), ValueError, "x: got values from 1 to 4, expected"),
        (lambda: generate(None, [[0]], 3), TypeError, "model"),
        (lambda: generate(bigram, [[0]], 0), ValueError, "length"),
        (lambda: generate(bigram, [[0]], 3, temperature=0), ValueError, "temperature"),
        (lambda: generate(bigram, [[0]], 3, top_k=5), ValueError, "top_k"),
    ],
)
def test_invalid_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_adam_learns_a_certain_text():
    x = windows(np.tile([0, 1, 2, 1, 3], 60), 3)  # after 1 come 2 and 3 in turn: two words of context decide
    net = EmbeddingMLP(4, 2, 3, (8,), rng=0)
    train(net, x, next_word(2), softmax_cross_entropy, epochs=40, batch_size=32, optimizer=Adam(0.02), rng=0)
    assert perplexity(net, x) < 1.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-320, 1e-300, 1e-30])
def test_a_temperature_near_zero_draws_the_likeliest_word(dtype, temperature):
    logits = np.array([[700.0, 701.0, -1e4, 700.0], [-1e30, -2e30, -3e30, -4e30]], dtype)
    with np.errstate(all="raise"):
        drawn = generate(lambda contexts: logits, [[0], [0]], 20, temperature=temperature, rng=0)
    assert (drawn == [[1], [0]]).all()


def test_the_most_extreme_logits_and_temperatures():
    """Differences and quotients leave the range of numbers in the right direction: to −∞, or to 0."""
    far = np.array([[1.7e308, -1.7e308, -np.inf]])
    with np.errstate(all="raise"):
        for temperature in (1e-320, 1.0):
            assert not generate(lambda c: far, [[0]], 20, temperature=temperature, rng=0).any()
        tiny = np.array([[0.0, -1e-300, -np.inf]])
        drawn = generate(lambda c: tiny.repeat(len(c), 0), np.zeros((4000, 1), int), 1, temperature=1e300, rng=0)
    assert abs((drawn == 1).mean() - 0.5) < 5 * 0.5 / 4000**0.5 and not (drawn == 2).any()


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.array([[0.0, np.nan]]), "model: got a row whose largest logit is not finite"),
        (np.array([[np.inf, 0.0]]), "model: got a row whose largest logit is not finite"),
        (np.array([[-np.inf, -np.inf]]), "expected a word that may follow"),
        (np.zeros((2, 2)), r"model: got shape \(2, 2\), expected \(1, any\)"),
        (np.zeros(2), "model: got shape"),
    ],
)
def test_a_model_without_a_finite_logit_is_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        generate(lambda contexts: logits, [[0]], 3)
