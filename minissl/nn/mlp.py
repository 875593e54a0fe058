"""The network: a multilayer perceptron, forward and backward by hand.

    symbol      in code          meaning                                            shape
    H₀ = x      H[0]             input, one row per sample                          (N, n₀)
    Zₗ          Z                what enters the units of layer l = 1 … L           (N, nₗ)
    Hₗ          H[l]             what leaves them; H_L is the output                (N, nₗ)
    Wₗ, bₗ      W[l-1], b[l-1]   weights and biases of layer l                      (nₗ₋₁, nₗ), (nₗ,)
    φ, φ′       PHI              activation of the hidden layers, its derivative    elementwise
    J           value            loss, a number that depends on the output H_L
    P           penalties        penalty, a number that depends on hidden layers
    Δₗ          delta            gradient of J + P with respect to Zₗ               (N, nₗ)
    1           ones             column of ones                                     (N, 1)
    ⊙                            product entry by entry: (A ⊙ B)ᵢⱼ = Aᵢⱼ Bᵢⱼ
    [h > 0]     h > 0            1 where h > 0, else 0

**Forward**, with the identity in place of φ in the last layer:

    [mlp.1]   Zₗ = Hₗ₋₁ Wₗ + 1 bₗᵀ,    Hₗ = φ(Zₗ)

**Backward.** Write ⟨A, B⟩ = Σᵢⱼ Aᵢⱼ Bᵢⱼ = tr(AᵀB). The gradient of J + P with respect to a matrix X is the matrix G
with d(J + P) = ⟨G, dX⟩ to first order, for every small change dX. For X = Zₗ call it Δₗ. The last layer is linear, so
Δ_L is the gradient of J in the output, which the loss returns. Now let Wₗ, bₗ and Hₗ₋₁ change. By [mlp.1], to first
order,

    dZₗ = Hₗ₋₁ dW + 1 dbᵀ + dH Wₗ,    d(J + P) = ⟨Δₗ, dZₗ⟩

A factor crosses ⟨·,·⟩ as its transpose, because tr(ABC) = tr(CAB):

    ⟨Δₗ, Hₗ₋₁ dW⟩ = tr(Δₗᵀ Hₗ₋₁ dW) = ⟨Hₗ₋₁ᵀ Δₗ, dW⟩     what stands beside dW is the gradient with respect to Wₗ
    ⟨Δₗ, 1 dbᵀ⟩   = tr(Δₗᵀ 1 dbᵀ)   = ⟨Δₗᵀ 1, db⟩        with respect to bₗ: the sum of Δₗ over the samples
    ⟨Δₗ, dH Wₗ⟩   = tr(Wₗ Δₗᵀ dH)   = ⟨Δₗ Wₗᵀ, dH⟩       with respect to Hₗ₋₁: how the error goes back

    [mlp.2]   ∂J/∂Wₗ = Hₗ₋₁ᵀ Δₗ,    ∂J/∂bₗ = Δₗᵀ 1          (J stands for J + P)

A penalty that depends on Hₗ₋₁ directly adds its own gradient to Δₗ Wₗᵀ. And Hₗ₋₁ = φ(Zₗ₋₁) entry by entry, so that
dH = φ′(Zₗ₋₁) ⊙ dZ and ⟨G, φ′ ⊙ dZ⟩ = ⟨G ⊙ φ′, dZ⟩:

    [mlp.3]   Δₗ₋₁ = (Δₗ Wₗᵀ + ∂P/∂Hₗ₋₁) ⊙ φ′(Zₗ₋₁)
    [mlp.4]   ∂J/∂x = Δ₁ W₁ᵀ                                 (H₀ = x has neither φ nor penalty)

Each derivative is a function of h = φ(z), so that Z need not be kept. For tanh, by the quotient rule, φ′ =
(cosh² − sinh²)/cosh² = 1 − tanh²; for the sigmoid 1/(1 + e⁻ᶻ), φ′ = e⁻ᶻ/(1 + e⁻ᶻ)² = h (1 − h):

    [mlp.5]   tanh: φ′ = 1 − h²;   sigmoid: φ′ = h (1 − h);   relu: φ′ = [h > 0];   identity: φ′ = 1

(relu, max(z, 0), has no derivative at z = 0; it is given 0 there.)

**Initial weights** should keep the size of the signal from layer to layer. Let b = 0 and let the weights be independent
with mean 0 and variance Var(W). An entry of Zₗ is a sum of nₗ₋₁ terms h W, uncorrelated since the W are, so

    Var(Zₗ) = nₗ₋₁ Var(W) E(h²),    h an entry of Hₗ₋₁ (the mean is over weights and data)

The quantity that is kept is Var(Zₗ), for each unit. For the identity E(h²) = Var(Zₗ₋₁), and so nearly for tanh, as
long as |z| is small. For relu, z is as often positive as negative (the weights' distribution is symmetric), and h² is
z² in one half of the cases, 0 in the other: E(h²) = ½ Var(Zₗ₋₁). Hence nₗ₋₁ Var(W) = 1 or 2:

    [mlp.6]   b = 0,  Wₗ ~ N(0, g/nₗ₋₁),   g = 2 where Hₗ₋₁ comes from relu (He et al.), else 1 (LeCun et al.)

(For the sigmoid nothing is kept: h is near ½, whatever z. g = 1 is then a convention.)

>>> import numpy as np
>>> from minissl.nn.losses import squared_error
>>> net = MLP((3, 4, 2), activation="tanh", rng=0, dtype="float64")
>>> x, target = np.eye(3), np.ones((3, 2))
>>> H = net.forward(x)                      # [x, H₁, output]
>>> J, delta = squared_error(H[-1], target)
>>> grad = net.backward(H, delta)           # one flat vector, laid out as net.theta
>>> dW, db = net.views(grad)                # its parts, as net.weights and net.biases
>>> h = np.zeros_like(net.theta)            # by finite differences: move the first weight by 10⁻⁶
>>> h[0] = 1e-6
>>> difference = squared_error(net.at(net.theta + h)(x), target)[0] - squared_error(net.at(net.theta - h)(x), target)[0]
>>> print(np.isclose(difference / 2e-6, dW[0][0, 0]))
True

Sources: Rumelhart, Hinton & Williams, Nature 323 (1986); LeCun, Bottou, Orr & Müller, "Efficient BackProp" (1998),
section 4.6; He, Zhang, Ren & Sun, ICCV (2015), equation 10.
"""

import math
from itertools import accumulate, pairwise

import numpy as np

from minissl._arrays import Array
from minissl._checks import (
    check_activations,
    check_array,
    check_counts,
    check_float_dtype,
    check_layer,
    check_layers,
    check_like,
    check_parameters,
    check_rng,
    check_vector,
)
from minissl.nn.losses import sigmoid

PHI = {  # name: φ(z) [mlp.1], and φ′(z) as a function of h = φ(z) [mlp.5]
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
    "relu": (lambda z: np.maximum(z, 0), lambda h: h > 0),
    "identity": (lambda z: z, lambda h: 1),
}


class MLP:
    """A multilayer perceptron whose parameters are one flat vector; forward [mlp.1] and backward [mlp.2, mlp.3].

    `sizes` are n₀, n₁, …, n_L: input, hidden layers, output. `activation` is "tanh", "relu", "sigmoid" or "identity",
    or one of these for each hidden layer; the output is linear. `rng` is the seed of the initial weights [mlp.6].
    `dtype` is "float32" to train or "float64" to check derivations. `like` is any array of the library to use, NumPy
    or CuPy.

    `theta`, shape (size,), holds all parameters: W₁, b₁, W₂, b₂, … `weights` and `biases` are tuples of views into it:
    `weights[l - 1]` is Wₗ, `biases[l - 1]` is bₗ. `net.theta[:] = other` copies values into it, `net.theta = other`
    makes `other` itself the network's parameters. A copy of a network has parameters of its own.
    """

    def __init__(self, sizes, activation="relu", rng=None, dtype="float32", like=None):
        self.sizes = check_counts(sizes, "sizes", at_least=2)
        self.activations = check_activations(activation, PHI, len(self.sizes) - 2)
        rng = check_rng(rng)
        shapes = [shape for n, m in pairwise(self.sizes) for shape in ((n, m), (m,))]  # of W₁, b₁, W₂, b₂, …
        stops = [0, *accumulate(map(math.prod, shapes))]
        self._parts = [(slice(*ends), shape) for ends, shape in zip(pairwise(stops), shapes, strict=True)]
        self._size = stops[-1]
        self._use(np.zeros(self._size, dtype=check_float_dtype(dtype), like=check_like(like)))
        for W, before in zip(self.weights, ("identity", *self.activations), strict=True):
            gain = 2 if before == "relu" else 1
            W[:] = np.asarray(rng.standard_normal(W.shape) * (gain / len(W)) ** 0.5, like=like)  # [mlp.6] N(0, g/nₗ₋₁)

    @np.errstate(under="ignore")
    def forward(self, x: Array) -> list[Array]:
        """All layers [x, H₁, …, output] for inputs of shape (N, n₀); H[l] has shape (N, nₗ)."""
        return self._forward(self.check_input(x))

    def _forward(self, x):
        H = [x]
        for W, b, name in zip(self.weights, self.biases, (*self.activations, "identity"), strict=True):
            phi, _ = PHI[name]
            Z = H[-1] @ W
            Z += b  # [mlp.1] Zₗ = Hₗ₋₁ Wₗ + 1 bₗᵀ
            H.append(phi(Z))  # [mlp.1] Hₗ = φ(Zₗ)
        return H

    @np.errstate(under="ignore")
    def backward(self, H: list[Array], delta: Array, penalties: dict | None = None, input_gradient: bool = False):
        """Gradient of loss and penalties, laid out as `theta`; with `input_gradient` also that in x, (N, n₀) [mlp.4].

        H is what `forward` returned, `delta` (N, n_L) the gradient of the loss in the output, as a loss returns it, and
        `penalties` {l: ∂P/∂Hₗ of shape (N, nₗ)} for hidden layers l = 1 … L−1.
        """
        delta, dP = check_layers(H, delta, penalties, self.sizes, self._theta)
        grad, dx = self._backward(H, delta, dP, input_gradient)
        return (grad, dx) if input_gradient else grad

    def _backward(self, H, delta, dP, input_gradient=False):
        grad, ones = np.empty_like(self._theta), np.ones_like(delta[:, 0])
        dW, db = self.views(grad)
        for l in range(len(dW), 0, -1):
            np.dot(H[l - 1].T, delta, out=dW[l - 1])  # [mlp.2] ∂J/∂Wₗ = Hₗ₋₁ᵀ Δₗ
            np.dot(ones, delta, out=db[l - 1])  # [mlp.2] ∂J/∂bₗ = Δₗᵀ 1
            if l > 1 or input_gradient:
                delta = delta @ self.weights[l - 1].T  # Δₗ Wₗᵀ, which for l = 1 is [mlp.4] ∂J/∂x = Δ₁ W₁ᵀ
            if l > 1:
                _, slope = PHI[self.activations[l - 2]]
                if l - 1 in dP:
                    delta += dP[l - 1]
                delta *= slope(H[l - 1])  # [mlp.3] Δₗ₋₁ = (Δₗ Wₗᵀ + ∂P/∂Hₗ₋₁) ⊙ φ′(Zₗ₋₁)
        return grad, delta

    def __call__(self, x: Array) -> Array:
        """The output for inputs x, shape (N, n_L)."""
        return self.forward(x)[-1]

    def features(self, x: Array, layer: int = -2) -> Array:
        """The representation of inputs x: the last hidden layer, or H[layer]; shape (N, nₗ)."""
        H = self.forward(x)
        return H[check_layer(layer, H)]

    @property
    def theta(self) -> Array:
        return self._theta

    @theta.setter
    def theta(self, theta):
        self._use(check_parameters(theta, self._theta))

    def _use(self, theta):
        self._theta = theta
        self.weights, self.biases = self.views(theta)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("weights", "biases")}

    def __setstate__(self, state):
        self.__dict__ |= state
        self._use(self._theta)  # new views into the parameters: a copied view would have memory of its own

    def views(self, vector: Array) -> tuple[tuple, tuple]:
        """The parts of a flat vector laid out as `theta`: (weights, biases), each a tuple of views."""
        check_vector(vector, "vector", self._theta)
        vector = vector[len(vector) - self._size :]  # a subclass may put parameters of its own in front
        parts = [vector[part].reshape(shape) for part, shape in self._parts]
        return tuple(parts[::2]), tuple(parts[1::2])

    def at(self, theta: Array) -> "MLP":
        """The network of the same architecture whose parameters are `theta`; this one stays as it is."""
        twin = object.__new__(type(self))
        twin.__dict__ |= self.__dict__
        twin.theta = theta
        return twin

    def __copy__(self):
        return self.at(self._theta.copy())  # two networks that share parameters would train each other

    def check_input(self, x: Array, finite: bool = True) -> Array:
        """x as an input of this network, or an error that says what was expected."""
        return check_array(x, "x", shape=(None, self.sizes[0]), like=self._theta, finite=finite)

    @property
    def input_dtype(self):
        """What training converts integers in the data to."""
        return self._theta.dtype

    @property
    def architecture(self) -> str:
        """Sizes and activations, as text; a checkpoint is loaded only into the architecture that it was saved from."""
        return f"{'-'.join(map(str, self.sizes))} {' '.join(self.activations)}"

    def __repr__(self):
        return f"MLP({self.sizes}, {self.activations}, dtype='{self._theta.dtype}')"
