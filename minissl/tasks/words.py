"""Prediction of the next word: language modelling as a pretext task.

    symbol    meaning                                                           shape
    V, d, k   words in the vocabulary, numbers per word, words of context       integers
    c_ij      the word (its number, 0 .. V-1) at position j of context i        (N, k)
    E         embedding: row v is what stands for the word v, at any position   (V, d)
    H_0       the embedded context, what enters an ordinary MLP                 (N, k d)
    Y         output of the MLP: logits of the next word                        (N, V)
    Delta_0   d(J + P)/dH_0                                                     (N, k d)
    tau       temperature                                                       number

A text is a series of words; a window of k + 1 of them is an input (the first k) and a target (the last). The network
looks every word up in one shared table and hands the k vectors, side by side, to an MLP (Bengio et al. 2003, sec. 2):

    [words.1]   H_0 = [E_{c_i1}, ..., E_{c_ik}] in row i,     P(next = v | c_i) = exp(Y_iv) / sum_u exp(Y_iu)

With O_j the one-hot matrix of position j, (O_j)_iv = [c_ij = v], the block j of H_0 is O_j E: linear in E. As for any
linear layer the gradient is sum_j O_j^T Delta_0j, with Delta_0j the block j of Delta_0 = Delta_1 W_1^T ([mlp.4]), or

    [words.2]   d(J + P)/dE_v = sum over all (i, j) with c_ij = v of (Delta_0j)_i

Nobody multiplies by O_j, which has one 1 among V zeros: H_0 gathers rows of E, and [words.2] scatters rows of Delta_0
and adds them up where a word occurs more than once. E starts as N(0, 0.1^2), small: the words start out nearly alike,
and differ where the text tells them apart. (With N(0, 1) a rare word keeps the accidents of its start.)

A text of M words is judged by its perplexity, the number of equally likely words that would surprise as much:

    [words.3]   perplexity = exp(-1/M sum_i ln P(c_i,k+1 | c_i1, ..., c_ik))

New text is drawn word by word, each fed back as context. A temperature tau < 1 sharpens, > 1 flattens, and only the K
largest logits (top-k; K = V for all) are allowed:

    [words.4]   P(v) = exp(Y_v / tau) [v in top K] / sum_u exp(Y_u / tau) [u in top K]

With independent Gumbel variables G_v, P(G_v < g) = exp(-e^-g), no sum is needed: with z_v = Y_v / tau the maximum of
z_v + G_v is at v with probability int e^{-(g - z_v)} prod_u exp(-e^{-(g - z_u)}) dg = e^{z_v} / sum_u e^{z_u}, so

    [words.5]   argmax_v (Y_v / tau + G_v), over the top K, is distributed as [words.4]

Source: Bengio, Ducharme, Vincent & Jauvin, "A Neural Probabilistic Language Model", JMLR 3 (2003), 1137-1155.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, integers, namespace, number, slopes, writeable
from minissl.losses import softmax
from minissl.mlp import MLP

UNKNOWN = "<unk>"


class Vocabulary(NamedTuple):
    """Words and their numbers; number 0 stands for every word that is not in it."""

    words: tuple  # words[0] is UNKNOWN, then the others by falling frequency
    numbers: dict  # word -> number

    def encode(self, tokens):
        """Words to an integer array, unknown ones to 0."""
        return np.array([self.numbers.get(token, 0) for token in _tokens(tokens)], dtype=np.int64)

    def decode(self, numbers):
        """Numbers to a list of words."""
        return [self.words[v] for v in integers(numbers, "numbers", low=0, high=len(self.words)).tolist()]


def vocabulary(tokens, size):
    """The most frequent words of a text, and the token for all others.

    Parameters
    ----------
    tokens : sequence of str
        Of the training text only.
    size : int
        V at most, the unknown-word token included.

    Returns
    -------
    Vocabulary

    Raises
    ------
    TypeError, ValueError
        If there are no tokens, or they are one text that is not cut into words.
    """
    counts = Counter(_tokens(tokens))
    counts.pop(UNKNOWN, None)
    if not counts:
        raise ValueError("tokens: got none, expected the words of a text")
    words = (UNKNOWN, *(word for word, _ in counts.most_common(count(size, "size", low=2) - 1)))
    return Vocabulary(words, {word: v for v, word in enumerate(words)})


def next_word(context):
    """The task: the next word from the `context` words before it [words.1]. For the loss `softmax` and a `WordMLP`.

    Parameters
    ----------
    context : int
        k >= 1.

    Returns
    -------
    callable
        (windows of word numbers, shape (N, k + 1), as `windows` cuts them, rng) -> (input (N, k), target (N,)).

    Raises
    ------
    TypeError, ValueError
        If `context` is not a positive integer; from the task, if the windows are of another length.
    """
    context = count(context, "context")

    def task(x, rng):
        x = integers(x, "x", low=0, ndim=2)
        if x.shape[1] != context + 1:
            raise ValueError(f"x: got shape {x.shape}, expected windows of {context + 1} words")
        return x[:, :-1], x[:, -1]

    return task


class WordMLP:
    """An MLP that reads words through one shared embedding [words.1]; it has the same face as `MLP`.

    Parameters
    ----------
    words : int
        V, size of the vocabulary: what goes in and what comes out.
    context : int
        k, words of context.
    dimension : int
        d, numbers per word.
    hidden : sequence of int
        Sizes of the hidden layers.
    activation, rng, dtype, xp
        As in `MLP`.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        E, then the parameters of `mlp`.
    embedding : ndarray, shape (V, d)
        E, a view into `theta`.
    mlp : MLP
        The network behind the embedding, its parameters views into `theta`.
    """

    def __init__(self, words, context, dimension, hidden, activation="tanh", rng=None, dtype="float32", xp=np):
        V, k, d = count(words, "words", low=2), count(context, "context"), count(dimension, "dimension")
        if not isinstance(hidden, (tuple, list)):
            raise TypeError(f"hidden: got {hidden!r}, expected the sizes of the hidden layers")
        rng = generator(rng)
        self.context = k
        self.mlp = MLP((k * d, *hidden, V), activation=activation, rng=rng, dtype=dtype, xp=xp)
        E = xp.asarray((0.1 * rng.standard_normal((V, d))).astype(dtype))
        self.embedding, self._theta = E, xp.concatenate([E.reshape(-1), self.mlp.theta])
        self.theta = self._theta

    @property
    def theta(self):
        return self._theta

    @theta.setter
    def theta(self, theta):
        self._theta = writeable(array(theta, "theta", shape=self._theta.shape, like=self._theta))
        V, d = self.embedding.shape
        self.embedding, self.mlp.theta = self._theta[: V * d].reshape(V, d), self._theta[V * d :]

    @property
    def architecture(self):
        """Sizes and activations, as text."""
        V, d = self.embedding.shape
        return f"{V} words x {d}, context {self.context}: {self.mlp.architecture}"

    def workspace(self, N):
        """Buffers for batches of N contexts, as `MLP.workspace`; place 0 of H and D belongs to the word numbers."""
        inner = self.mlp.workspace(N)
        grad = namespace(self.theta).empty_like(self.theta)
        dW, db = self.mlp.views(grad[self.embedding.size :])
        return inner._replace(H=[None, *inner.H], D=[None, *inner.D], grad=grad, dW=dW, db=db)

    def forward(self, x, out=None):
        """All layers: [x, H_0, H_1, ..., Y] for contexts x of word numbers, shape (N, k); see `MLP.forward`."""
        x = integers(x, "x", low=0, high=len(self.embedding), ndim=2)  # always: CuPy wraps what is out of range
        if out is None:
            if x.shape[1] != self.context:
                raise ValueError(f"x: got shape {x.shape}, expected (any, {self.context}), the context")
            x = namespace(self.theta).asarray(x)
            out = self.workspace(len(x))
        H_0 = self.embedding[x].reshape(len(x), -1)  # [words.1]
        return [x, *self.mlp.forward(H_0, out=out._replace(H=out.H[1:]))]

    def backward(self, H, delta, penalties=None, out=None):
        """dJ/dtheta [words.2] from what `forward` returned and dJ/dY; penalties {l: dP/dH[l]}, as in `MLP.backward`.

        Layer 1 is the embedded context H_0.
        """
        penalties = {} if penalties is None else penalties
        if out is None:
            delta, penalties = slopes(H, delta, penalties, (self.context, *self.mlp.sizes), self.theta)
            out = self.workspace(len(delta))
        behind = {l - 1: dP for l, dP in penalties.items() if l > 1}
        inner = out._replace(D=out.D[1:])
        _, delta_0 = self.mlp.backward(H[1:], delta, behind, input_gradient=True, out=inner)
        if 1 in penalties:
            delta_0 += penalties[1]
        xp, (V, d) = namespace(delta_0), self.embedding.shape
        dE = out.grad[: V * d]
        dE[:] = 0
        places = H[0].reshape(-1, 1).astype(np.int64) * d + xp.arange(d)  # in the flat vector: faster than by row
        xp.add.at(dE, places.reshape(-1), delta_0.reshape(-1))  # [words.2]
        return out.grad

    def __call__(self, x):
        """The logits of the next word for the contexts `x`, shape (N, V)."""
        return self.forward(x)[-1]

    def features(self, x):
        """The representation of the contexts `x`: the last hidden layer."""
        return self.forward(x)[-2]


def perplexity(model, x, batch_size=1024):
    """Perplexity of a text [words.3].

    Parameters
    ----------
    model : callable
        Contexts (N, k) -> logits (N, V); a `WordMLP`, or any function that returns log-probabilities.
    x : array_like of int, shape (M, k+1)
        Windows of the text: context and the word that followed.
    batch_size : int

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or `model` returns something else than logits.
    """
    x = integers(x, "x", low=0, ndim=2)
    nats = 0.0
    for start in range(0, len(x), count(batch_size, "batch_size")):
        batch = x[start : start + batch_size]
        Y = model(batch[:, :-1])
        nats += float(softmax(Y, namespace(Y).asarray(batch[:, -1]))[0]) * len(batch)
    return float(np.exp(nats / len(x)))  # [words.3]


def generate(model, start, length, *, temperature=1.0, top_k=None, rng=None):
    """Draw new text, word by word, each fed back as context.

    Parameters
    ----------
    model : callable
        Contexts (N, k) -> logits (N, V). A word with logit -inf is never drawn.
    start : array_like of int, shape (N, k)
        N contexts to continue, independently of each other.
    length : int
        Words to draw.
    temperature : float
        tau > 0.
    top_k : int, optional
        How many of the likeliest words may be drawn; default all. Words that tie with the last are drawn, too.
    rng : int, numpy.random.Generator or None

    Returns
    -------
    ndarray of int, shape (N, length)
        The words drawn, without the start.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or `model` returns something else than logits.
    """
    text = integers(start, "start", low=0, ndim=2).astype(np.int64)
    k, length, rng = text.shape[1], count(length, "length"), generator(rng)
    number(temperature, "temperature", low=0, open_low=True)
    for _ in range(length):
        Y = _logits(model(text[:, -k:]), len(text))
        xp = namespace(Y)
        if top_k is not None:
            smallest = xp.sort(Y, axis=1)[:, -count(top_k, "top_k", high=Y.shape[1]), None]
            Y = xp.where(Y >= smallest, Y, -xp.inf)  # [words.4]
        gumbel = xp.asarray(rng.gumbel(size=Y.shape))
        drawn = (Y / temperature + gumbel).argmax(axis=1)  # [words.5]
        text = xp.concatenate([xp.asarray(text), drawn[:, None]], axis=1)
    return text[:, k:]


def _logits(Y, N):
    """What a model said of N contexts, less the largest of each, in float64: then no temperature is too small."""
    Y = array(Y, "model", shape=(N, None), finite=False).astype(np.float64)
    largest = Y.max(axis=1, keepdims=True)
    if not namespace(Y).isfinite(largest).all():
        raise ValueError("model: got a row whose largest logit is not finite, expected a word that may be drawn")
    return Y - largest


def _tokens(tokens):
    """The words of a text at the door."""
    words = None if isinstance(tokens, str) or not np.iterable(tokens) else list(tokens)
    if words is None or not all(isinstance(word, str) for word in words):
        raise TypeError(f"tokens: got {type(tokens).__name__}, expected a sequence of words, such as text.split()")
    return words
