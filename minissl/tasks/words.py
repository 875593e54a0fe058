"""Prediction of the next word: language modelling as a pretext task.

    symbol      in code       meaning                                                          shape
    V           len(words)    words in the vocabulary, one of them for all unknown words       integer
    k           context       how many words before it predict a word                          integer
    cᵢⱼ         x             word number (0 … V−1) at position j of window i, j = 1 … k+1     (N, k+1)
    Y           Y             logits of the next word, output of the model                     (N, V)
    P(v | c)                  probability that v follows the context c, says the model         (N, V)
    P*(v | c)                 the same in the language                                         (N, V)
    J           nats / N      loss: mean of −ln P of the word that followed, in nats           number
    τ           temperature   below 1 sharpens P, above 1 flattens it                          number > 0
    [A]                       1 where A holds, else 0

In language the future is the next word. A text is a series of word numbers; of a window of k + 1 words the first k are
the input and the last is the target. It is one of V classes, and the loss is that of a classifier ([losses.3]):

    [words.1]   input (cᵢ₁, …, cᵢₖ),  target cᵢ,ₖ₊₁;      P(v | c) = exp(Y_v)/Σᵤ exp(Yᵤ)

                J = −(1/N) Σᵢ ln P(cᵢ,ₖ₊₁ | cᵢ₁, …, cᵢₖ)

The network that reads word numbers is `EmbeddingMLP` (minissl/nn/embedding.py).

**What is learned.** Over all texts of the language, −E ln P = −E ln P* + E ln(P*/P). The last term is a mean over
contexts of Σᵥ P* ln(P*/P), the Kullback–Leibler divergence, and since ln z ≤ z − 1 with equality for z = 1 only,
−Σᵥ P* ln(P/P*) ≥ −Σᵥ P* (P/P* − 1) ≥ 0 (sums over P* > 0). So with H(P*) = −Σᵥ P* ln P*, the entropy of the next word,

    [words.2]   E J = E H(P*(· | c)) + E KL(P*(· | c) ‖ P(· | c)) ≥ E H(P*(· | c)),   equal iff P = P*       (theorem)

The best model knows how likely each word is; what no model can predict is the entropy. A model is judged on text that
it has not seen by its perplexity, the number of equally likely words that would surprise as much:

    [words.3]   perplexity = exp(J) = Πᵢ P(cᵢ,ₖ₊₁ | cᵢ₁, …, cᵢₖ)^(−1/N)

By the chain rule for probabilities, P(text) = Πᵢ P(wordᵢ | all words before it), the product is the probability of the
whole text (given its first k words) if no word depends on more than the k before it.

**New text** is drawn word by word, each fed back as context. Only the `top_k` likeliest words may be allowed:

    [words.4]   P_τ(v) = exp(Y_v/τ) [v allowed] / Σᵤ exp(Yᵤ/τ) [u allowed]

For τ → 0 only the likeliest is drawn, for τ = 1 the words have the probabilities of the model. No sum is needed, if
each logit gets an independent Gumbel variable G, with P(G < g) = exp(−e⁻ᵍ) and density e⁻ᵍ exp(−e⁻ᵍ). Let z_v = Y_v/τ
and S = Σᵤ exp(zᵤ), over the allowed words. The largest z + G is at v, with the value g, if G_v = g − z_v and all other
Gᵤ < g − zᵤ; its probability is

    ∫ e^(z_v − g) exp(−e^(z_v − g)) Πᵤ≠ᵥ exp(−e^(zᵤ − g)) dg  =  exp(z_v) ∫ e⁻ᵍ exp(−S e⁻ᵍ) dg

as all exponentials of exponentials together make exp(−Σᵤ exp(zᵤ) e⁻ᵍ). Substitute q = e⁻ᵍ, dq = −e⁻ᵍ dg; g from −∞ to ∞
is q from ∞ to 0, and the integral is ∫₀^∞ exp(−S q) dq = 1/S. Hence exp(z_v)/S, which is [words.4]:

    [words.5]   argmaxᵥ (Y_v/τ + G_v), over the allowed words, is v with probability P_τ(v)

>>> import numpy as np
>>> from minissl.tasks.prediction import windows
>>> text = "the cat sat on the mat . the cat sat on the hat .".split()
>>> words = vocabulary(text, size=20)
>>> print(words.words)
('<unk>', 'the', 'cat', 'sat', 'on', '.', 'mat', 'hat')
>>> pairs = windows(words.encode(text), 2)  # a word and the next
>>> counts = np.zeros((len(words), len(words)))
>>> np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
>>> def bigram(contexts):
...     with np.errstate(divide="ignore"):
...         return np.log(counts[contexts[:, -1]])  # logits; −∞ for what has never followed
>>> surprise = 2 * np.log(2) + 2 * np.log(4)  # uncertain is only what follows "the": cat, cat, mat, hat
>>> print(round(perplexity(bigram, pairs), 6), np.exp(surprise / len(pairs)).round(6))
1.377009 1.377009
>>> print(" ".join(words.decode(generate(bigram, words.encode(["cat"])[None], 4, top_k=1, rng=0)[0])))
sat on the cat

Sources: Bengio, Ducharme, Vincent & Jauvin, "A Neural Probabilistic Language Model", JMLR 3 (2003), 1137–1155; Gumbel,
Statistical Theory of Extreme Values (1954), for [words.5]; Cover & Thomas, Elements of Information Theory (2006),
theorem 2.6.3, for [words.2].
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from minissl._arrays import Array, Task
from minissl._checks import (
    check_callable,
    check_count,
    check_integers,
    check_logits,
    check_number,
    check_rng,
    check_tokens,
)

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers; number 0 stands for every word that is not in it. `len(words)` is V."""

    words: tuple  # words[0] is UNKNOWN, then the others by falling frequency
    numbers: dict  # word -> number

    def __len__(self):
        return len(self.words)

    def encode(self, tokens) -> np.ndarray:
        """Words to an integer array, unknown ones to 0."""
        return np.array([self.numbers.get(token, 0) for token in check_tokens(tokens, "tokens")], dtype=np.int64)

    def decode(self, numbers) -> list:
        """Numbers to a list of words."""
        return [self.words[v] for v in check_integers(numbers, "numbers", low=0, high=len(self)).tolist()]


def vocabulary(tokens, size: int) -> Vocabulary:
    """The `size` − 1 most frequent words of a text (of the training text only), and the token for all others."""
    counts = Counter(check_tokens(tokens, "tokens", besides=UNKNOWN))
    size = check_count(size, "size", low=2)
    counts.pop(UNKNOWN, None)
    words = (UNKNOWN, *(word for word, _ in counts.most_common(size - 1)))
    return Vocabulary(words, {word: v for v, word in enumerate(words)})


def next_word(context: int) -> Task:
    """The task: windows of k + 1 word numbers -> (the first k, the last) [words.1]. For `softmax_cross_entropy`.

    From (N, k + 1), as `windows` cuts them, to input (N, k) and target (N,). For a network that reads word numbers.
    """
    return partial(_next_word, check_count(context, "context"))


def _next_word(context, x, rng):
    x = check_integers(x, "x", low=0, shape=(None, context + 1))
    return x[:, :-1], x[:, -1]  # [words.1] (cᵢ₁, …, cᵢₖ), cᵢ,ₖ₊₁


def perplexity(model, x: Array, batch_size: int = 256) -> float:
    """Perplexity [words.3] of a text, given as windows (N, k + 1) of word numbers: contexts and what followed.

    `model` is any function of contexts (N, k) that returns logits (N, V), such as log-probabilities: −∞ is allowed, and
    the perplexity is infinite where a word followed to which the model gives probability 0.
    """
    check_callable(model, "model")
    x = check_integers(x, "x", low=0, ndim=2)
    batch_size = check_count(batch_size, "batch_size")
    nats = 0.0
    for start in range(0, len(x), batch_size):
        context, word = x[start : start + batch_size, :-1], x[start : start + batch_size, -1]
        nats += _nats(check_logits(model(context), "model", len(context)), word)
    with np.errstate(over="ignore"):
        return float(np.exp(nats / len(x)))  # [words.3] exp(J)


@np.errstate(over="ignore", under="ignore")
def _nats(Y, word):
    """−Σᵢ ln P(wordᵢ) from logits (N, V)."""
    word = np.asarray(check_integers(word, "x", high=Y.shape[1]), like=Y)
    Y = Y - Y.max(axis=1, keepdims=True)
    ln_P = Y[np.arange(len(Y), like=Y), word] - np.log(np.exp(Y).sum(axis=1))  # [words.1] ln [exp(Y_v)/Σᵤ exp(Yᵤ)]
    return -float(ln_P.sum())


def generate(model, start: Array, length: int, *, temperature=1.0, top_k: int | None = None, rng=None) -> Array:
    """Draw `length` new words after each of N contexts, each word fed back: integers (N, length).

    `model` is as in `perplexity`, `start` (N, k) holds the first contexts. Only the `top_k` likeliest words (default
    all) may be drawn, and words that tie with the last of them; a word with logit −∞ never.
    """
    check_callable(model, "model")
    text = check_integers(start, "start", low=0, ndim=2).astype(np.int64)
    length = check_count(length, "length")
    temperature = check_number(temperature, "temperature", low=0, open_low=True)
    rng = check_rng(rng)
    k = text.shape[1]
    for _ in range(length):
        Y = check_logits(model(text[:, -k:]), "model", len(text))
        word = _draw(Y, temperature, top_k, rng)
        text = np.concatenate([np.asarray(text, like=word), word[:, None]], axis=1)
    return text[:, k:]


@np.errstate(over="ignore", under="ignore")
def _draw(Y, temperature, top_k, rng):
    """One word for each row of logits (N, V)."""
    if top_k is not None:
        last = np.sort(Y, axis=1)[:, -check_count(top_k, "top_k", high=Y.shape[1]), None]
        Y = np.where(Y >= last, Y, -np.inf)  # [words.4] [v allowed]
    Y = Y - Y.max(axis=1, keepdims=True)  # changes no probability; the likeliest has 0, so that no τ is too small
    G = np.asarray(rng.gumbel(size=Y.shape), like=Y)
    return (Y / temperature + G).argmax(axis=1)  # [words.5] argmaxᵥ (Y_v/τ + G_v)
