"""The network: a multilayer perceptron, forward and backward by hand.

    symbol     meaning                                          shape
    H_0        input x, one row per sample                      (N, n_0)
    Z_l        what enters the units of layer l = 1 .. L        (N, n_l)
    H_l        what leaves them                                 (N, n_l)
    W_l, b_l   weights and biases of layer l                    (n_{l-1}, n_l), (n_l,)
    phi        activation of the hidden layers                  elementwise
    J          loss: a number, a function of the output H_L
    P          penalty: a number, a function of hidden layers
    Delta_l    d(J + P)/dZ_l                                    (N, n_l)

Forward, with the identity in place of phi in the last layer:

    [mlp.1]   Z_l = H_{l-1} W_l + 1 b_l^T,    H_l = phi(Z_l)

Backward. The last layer is linear, so Delta_L = dJ/dH_L is what the loss hands over. Z_l = H_{l-1} W_l + 1 b_l^T is
linear in each of its three parts; to first order d(J + P) = <Delta_l, dZ_l>, the sum over all entries, and

    <Delta_l, H_{l-1} dW> = <H_{l-1}^T Delta_l, dW>,    <Delta_l, 1 db^T> = <Delta_l^T 1, db>,
    <Delta_l, dH W_l>     = <Delta_l W_l^T, dH>.

Reading off the derivatives, and adding what a penalty says of the hidden layer directly:

    [mlp.2]   d(J + P)/dW_l = H_{l-1}^T Delta_l,    d(J + P)/db_l = Delta_l^T 1
    [mlp.3]   Delta_{l-1} = (Delta_l W_l^T + dP/dH_{l-1}) * phi'(Z_{l-1})        (* elementwise)
    [mlp.4]   d(J + P)/dx = Delta_1 W_1^T

Each derivative is a function of the activation's own value h = phi(z), so that Z need not be kept:

    [mlp.5]   tanh: phi' = 1 - h^2;   sigmoid: phi' = h (1 - h);   relu: phi' = [h > 0];   identity: phi' = 1

(relu at its kink, z = 0, is given the derivative 0.) Initialisation keeps the variance of the signal through the layers
of relu or identity units, and of tanh units while |z| is small: with independent zero-mean weights
Var Z_l = n_{l-1} Var(W) E(h^2), and relu sets half of its inputs to zero, so

    [mlp.6]   b_l = 0,  W_l ~ N(0, g / n_{l-1}),  g = 2 where H_{l-1} comes from relu (He et al.), else 1 (LeCun et al.)

Sources: Rumelhart, Hinton & Williams (1986); LeCun, Bottou, Orr & Mueller, "Efficient BackProp" (1998), section 4.6;
He, Zhang, Ren & Sun (2015), equation 10.
"""

from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, namespace, slopes, writeable
from minissl.losses import sigmoid

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")


def _activate(name, Z):
    """phi(Z) in place [mlp.1]."""
    xp = namespace(Z)
    if name == "tanh":
        xp.tanh(Z, out=Z)
    elif name == "relu":
        xp.maximum(Z, xp.zeros(Z.shape[-1], Z.dtype), out=Z)  # NumPy is twice as fast with a row of zeros as with 0
    elif name == "sigmoid":
        sigmoid(Z, out=Z)


def _times_derivative(name, D, H, scratch):
    """D * phi'(Z) in place of D, from H = phi(Z) [mlp.5]."""
    xp = namespace(D)
    if name == "tanh":
        xp.multiply(H, H, out=scratch)
        xp.subtract(1, scratch, out=scratch)
        D *= scratch
    elif name == "relu":
        D *= xp.greater(H, 0, out=scratch)
    elif name == "sigmoid":
        xp.subtract(1, H, out=scratch)
        D *= scratch
        D *= H


class Workspace(NamedTuple):
    """Buffers for one batch size, so that a training step allocates nothing in the network's own arrays."""

    H: list  # H[l], what leaves layer l; H[0] will be the batch itself
    D: list  # D[l] = Delta_l; D[0] = dJ/dx
    scratch: list  # scratch[l], for phi' of hidden layer l
    ones: np.ndarray  # for the sum over samples
    grad: np.ndarray  # dJ/dtheta, one flat vector
    dW: tuple  # its parts, views
    db: tuple


class MLP:
    """A multilayer perceptron whose parameters are one flat vector; forward [mlp.1] and backward [mlp.2, mlp.3].

    Parameters
    ----------
    sizes : sequence of int
        Layer sizes n_0, n_1, ..., n_L: input, hidden layers, output.
    activation : str or sequence of str, default "relu"
        "tanh", "relu", "sigmoid" or "identity"; one for all hidden layers, or one for each. The output is linear.
    rng : int, numpy.random.Generator or None
        Seed of the initial weights [mlp.6].
    dtype : {"float32", "float64"}
        float32 to train, float64 to check derivations.
    xp : module, default numpy
        `cupy` puts the network on the GPU, with the same initial weights.

    Attributes
    ----------
    theta : ndarray, shape (size,)
        All parameters: W_1, b_1, W_2, b_2, ... `net.theta[:] = other` copies values into it; `net.theta = other` makes
        `other` itself the network's parameters.
    weights, biases : tuple of ndarray
        Views into `theta`: `weights[l - 1]` is W_l of shape (n_{l-1}, n_l), `biases[l - 1]` is b_l.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer, or an activation or dtype is unknown.
    """

    def __init__(self, sizes, activation="relu", rng=None, dtype="float32", xp=np):
        if not isinstance(sizes, (tuple, list)) or len(sizes) < 2:
            raise ValueError(f"sizes: got {sizes!r}, expected at least an input and an output size")
        self.sizes = tuple(count(n, "sizes") for n in sizes)
        hidden = len(self.sizes) - 2
        names = (activation,) * max(hidden, 1) if isinstance(activation, str) else activation
        if not isinstance(names, (tuple, list)) or any(name not in ACTIVATIONS for name in names):
            raise ValueError(f"activation: got {activation!r}, expected names among {ACTIVATIONS}")
        if not isinstance(activation, str) and len(names) != hidden:
            raise ValueError(f"activation: got {len(names)} names, expected {hidden}, one per hidden layer")
        self.activations = tuple(names[:hidden])
        if getattr(dtype, "__name__", str(dtype)) not in ("float32", "float64"):
            raise TypeError(f"dtype: got {dtype}, expected float32 or float64")
        if not hasattr(xp, "ndarray"):
            raise TypeError(f"xp: got {xp!r}, expected the module numpy or cupy")

        rng = generator(rng)
        self._P = sum((n_in + 1) * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False))
        self._use(xp.zeros(self._P, dtype=dtype))
        for W, before in zip(self.weights, ("identity", *self.activations), strict=True):
            gain = 2 if before == "relu" else 1
            W[:] = xp.asarray(rng.standard_normal(W.shape) * np.sqrt(gain / len(W)))  # [mlp.6]

    def _use(self, theta):
        self._theta = theta
        self.weights, self.biases = self.views(theta)

    @property
    def theta(self):
        return self._theta

    @theta.setter
    def theta(self, theta):
        self._use(writeable(array(theta, "theta", shape=(self._P,), like=self._theta)))

    @property
    def architecture(self):
        """Sizes and activations, as text."""
        return f"{'-'.join(map(str, self.sizes))} {' '.join(self.activations)}"

    def views(self, vector):
        """The parts of a flat vector laid out as `theta`: (weights, biases), each a tuple of views."""
        shape = getattr(vector, "shape", type(vector).__name__)
        if shape != (self._P,):
            raise ValueError(f"vector: got {shape}, expected an array of shape ({self._P},)")
        weights, biases, start = [], [], 0
        for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False):
            stop = start + n_in * n_out
            weights.append(vector[start:stop].reshape(n_in, n_out))
            biases.append(vector[stop : stop + n_out])
            start = stop + n_out
        return tuple(weights), tuple(biases)

    def workspace(self, N):
        """Buffers for batches of N samples; hand them to `forward` and `backward` as `out`."""
        xp, dtype, N = namespace(self.theta), self.theta.dtype, count(N, "N")
        grad = xp.empty(self.theta.size, dtype=dtype)
        dW, db = self.views(grad)
        kinds = [np.bool_ if name == "relu" else dtype for name in self.activations]
        return Workspace(
            H=[None, *(xp.empty((N, n), dtype=dtype) for n in self.sizes[1:])],
            D=[xp.empty((N, n), dtype=dtype) for n in self.sizes],
            scratch=[None, *(xp.empty((N, n), dtype=k) for n, k in zip(self.sizes[1:-1], kinds, strict=True))],
            ones=xp.ones(N, dtype=dtype),
            grad=grad,
            dW=dW,
            db=db,
        )

    def forward(self, x, out=None):
        """All layers [mlp.1].

        Parameters
        ----------
        x : array_like, shape (N, n_0)
        out : Workspace, optional
            Buffers to fill. Who hands them in has checked `x` already.

        Returns
        -------
        H : list of ndarray
            [x, H_1, ..., output]; H[l] has shape (N, n_l).

        Raises
        ------
        TypeError, ValueError
            If `x` is not a finite matrix with n_0 columns, of the dtype and library of `theta`.
        """
        if out is None:
            x = array(x, "x", shape=(None, self.sizes[0]), like=self.theta)
            out = self.workspace(len(x))
        xp, H, L = namespace(x), out.H, len(self.weights)
        H[0] = x
        for l in range(1, L + 1):
            W, b = self.weights[l - 1], self.biases[l - 1]
            xp.dot(H[l - 1], W, out=H[l])  # [mlp.1]
            H[l] += b
            if l < L:
                _activate(self.activations[l - 1], H[l])
        return H

    def backward(self, H, delta, penalties=None, input_gradient=False, out=None):
        """Gradient of loss and penalties with respect to the parameters [mlp.2, mlp.3].

        Parameters
        ----------
        H : list of ndarray
            What `forward` returned.
        delta : ndarray, shape (N, n_L)
            dJ/d output, as a loss returns it.
        penalties : dict of int to ndarray, optional
            dP/dH_l of shape (N, n_l) for hidden layers l = 1 .. L-1.
        input_gradient : bool
            Whether to return dJ/dx as well [mlp.4].
        out : Workspace, optional
            Buffers to fill.

        Returns
        -------
        grad : ndarray, shape (size,)
            Laid out as `theta`; `net.views(grad)` gives its parts.
        dx : ndarray, shape (N, n_0)
            Only with `input_gradient`.

        Raises
        ------
        TypeError, ValueError
            If H are not the layers of this network, or `delta` or a penalty has another shape, dtype or library than
            its layer.
        """
        penalties = {} if penalties is None else penalties
        if out is None:
            delta, penalties = slopes(H, delta, penalties, self.sizes, self.theta)
            out = self.workspace(len(delta))
        xp, D = namespace(delta), out.D
        D[-1] = delta
        for l in range(len(self.weights), 0, -1):
            xp.dot(H[l - 1].T, D[l], out=out.dW[l - 1])  # [mlp.2]
            xp.dot(out.ones, D[l], out=out.db[l - 1])
            if l > 1 or input_gradient:
                xp.dot(D[l], self.weights[l - 1].T, out=D[l - 1])  # [mlp.3], [mlp.4]
            if l > 1:
                if l - 1 in penalties:
                    D[l - 1] += penalties[l - 1]
                _times_derivative(self.activations[l - 2], D[l - 1], H[l - 1], out.scratch[l - 1])
        return (out.grad, D[0]) if input_gradient else out.grad

    def __call__(self, x):
        """The output for the input `x`, shape (N, n_L)."""
        return self.forward(x)[-1]

    def features(self, x):
        """The representation of the input `x`: the last hidden layer, shape (N, n_{L-1})."""
        return self.forward(x)[-2]
