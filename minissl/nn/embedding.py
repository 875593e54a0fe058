"""A network that reads words: one shared table of vectors in front of an MLP.

    symbol    in code            meaning                                                          shape
    V, d, k   words, dimension,  words in the vocabulary, numbers per word, words of context      integers
              context
    cᵢⱼ       H[0]               the word (its number, 0 … V−1) at position j of context i        (N, k)
    E         embedding          row v stands for the word v, at any position                     (V, d)
    H₀        H[1]               the embedded context, the input of an ordinary MLP               (N, k d)
    Δ₀        delta              gradient of J + P with respect to H₀                             (N, k d)
    Oⱼ                           one-hot matrix of position j: (Oⱼ)ᵢᵥ = [cᵢⱼ = v]                 (N, V)

Words have no order and no distance, so a number v cannot be an input by itself. The network looks every word up in one
table and passes the k vectors, side by side, to an MLP (Bengio et al. 2003, section 2):

    [embedding.1]   H₀ has the row  (E_{cᵢ₁}, …, E_{cᵢₖ})  for the context i

Block j of H₀ is Oⱼ E: row i of Oⱼ has its only 1 in column cᵢⱼ and so picks that row of E. This is linear in E, and
what holds for any linear layer ([mlp.2], with Oⱼ in the place of Hₗ₋₁) holds here: with Δ₀ⱼ for block j of Δ₀ = Δ₁ W₁ᵀ
+ ∂P/∂H₀ ([mlp.3] without φ), the gradient is Σⱼ Oⱼᵀ Δ₀ⱼ. Row v of it collects the samples and positions at which the
word v stands:

    [embedding.2]   ∂J/∂E_v = Σ over all (i, j) with cᵢⱼ = v of row i of Δ₀ⱼ          (J stands for J + P)

No code multiplies by Oⱼ, V numbers per word of which one is 1: H₀ *gathers* rows of E, and [embedding.2] *scatters*
rows of Δ₀, which add up where a word occurs more than once.

The table starts as N(0, 0.1²). Words are then nearly alike, and become different where the text tells them apart; with
N(0, 1) the random start of a rare word would outweigh what is learned of it.

>>> import numpy as np
>>> net = EmbeddingMLP(words=4, context=2, dimension=3, hidden=(5,), rng=0)
>>> contexts = np.array([[0, 1], [1, 3]])
>>> H = net.forward(contexts)                      # [contexts, H₀, H₁, logits of the next word]
>>> print([h.shape for h in H])
[(2, 2), (2, 6), (2, 5), (2, 4)]
>>> print((H[1][0] == np.concatenate([net.embedding[0], net.embedding[1]])).all())
True

Source: Bengio, Ducharme, Vincent & Jauvin, "A Neural Probabilistic Language Model", JMLR 3 (2003), 1137–1155.
"""

import numpy as np

from minissl._arrays import Array, add_at
from minissl._checks import check_count, check_counts, check_integers, check_layers, check_rng
from minissl.nn.mlp import MLP


class EmbeddingMLP(MLP):
    """An MLP that reads words through one shared embedding [embedding.1]; the same interface as `MLP`.

    `words` V is the size of the vocabulary, both of the contexts and of the output; `context` k, `dimension` d, and
    `hidden` the sizes of the hidden layers; the others as in `MLP`. `theta` holds E, then the parameters of the MLP.
    Layers count from the contexts: H[0] are word numbers, H[1] is H₀, and so on.
    """

    def __init__(self, words, context, dimension, hidden, activation="tanh", rng=None, dtype="float32", like=None):
        V = check_count(words, "words", low=2)
        k = check_count(context, "context")
        d = check_count(dimension, "dimension")
        rng = check_rng(rng)
        self.context = k
        self._table = (V, d)
        super().__init__((k * d, *check_counts(hidden, "hidden"), V), activation, rng, dtype, like)
        E = np.asarray(0.1 * rng.standard_normal(V * d), dtype=self._theta.dtype, like=self._theta)
        self._use(np.concatenate([E, self._theta]))

    @property
    def embedding(self) -> Array:
        """E, a view into `theta`, shape (V, d)."""
        V, d = self._table
        return self._theta[: V * d].reshape(V, d)

    def _forward(self, x):
        """All layers [x, H₀, H₁, …, logits] for contexts of word numbers x, shape (N, k)."""
        H_0 = self.embedding[x].reshape(len(x), -1)  # [embedding.1] (E_{cᵢ₁}, …, E_{cᵢₖ})
        return [x, *super()._forward(H_0)]

    @np.errstate(under="ignore")
    def backward(self, H: list[Array], delta: Array, penalties: dict | None = None) -> Array:
        """Gradient of loss and penalties, laid out as `theta`; arguments as in `MLP.backward`."""
        delta, dP = check_layers(H, delta, penalties, (self.context, *self.sizes), self._theta)
        return self._backward(H, delta, dP)[0]

    def _backward(self, H, delta, dP):
        dP_behind = {l - 1: dP[l] for l in dP if l > 1}  # the MLP counts its layers from H₀
        grad, delta = super()._backward(H[1:], delta, dP_behind, input_gradient=True)
        delta = delta + dP.get(1, 0)  # Δ₀ = Δ₁ W₁ᵀ + ∂P/∂H₀
        V, d = self._table
        grad[: V * d] = 0
        places = H[0].reshape(-1, 1) * d + np.arange(d, like=H[0])  # of E_{cᵢⱼ} in theta: faster than row by row
        add_at(grad, places.ravel(), delta.ravel())  # [embedding.2] Σ over cᵢⱼ = v of row i of Δ₀ⱼ
        return grad, delta

    def check_input(self, x: Array, finite: bool = True) -> Array:
        """Contexts of word numbers, always checked: CuPy would wrap a number that is out of range."""
        x = check_integers(x, "x", low=0, high=self._table[0], shape=(None, self.context), like=self._theta)
        return x.astype(np.int64, copy=False)

    @property
    def input_dtype(self):
        """What training converts integers in the data to: word numbers stay integers."""
        return np.dtype(np.int64)

    @property
    def architecture(self) -> str:
        V, d = self._table
        return f"{V} words x {d}, context {self.context}: {super().architecture}"

    def __repr__(self):
        return f"EmbeddingMLP({self.architecture}, dtype='{self._theta.dtype}')"
