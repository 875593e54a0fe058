"""One and the same training in several libraries.

Squared error summed over components, averaged over samples; Adam with its published settings; float32; a linear output.
Each function takes a network of minissl, whose parameters all start from, data x (B N, n) and the batch size N, and
returns two functions without arguments: one step on the first batch, and one epoch of B batches drawn without
replacement, each returning its mean loss.
"""

from functools import partial

import numpy as np
from timing import HERE, THREADS

from minissl import Adam, squared_error, train_epochs
from minissl.nn.training import _step


def same(x, rng):
    """The pretext task that asks for nothing: the target is the input."""
    return x, x


def floor(net, x, N):
    """The matrix products of a step and nothing else, into arrays made beforehand: H W; Hᵀ Δ and Δ Wᵀ."""
    H = [x[:N].copy(), *(np.full_like(x, 1e-3, shape=(N, n)) for n in net.sizes[1:])]
    delta = [np.full_like(h, 1e-3) for h in H]
    dW, _ = net.views(np.empty_like(net.theta))

    def step():
        for l, W in enumerate(net.weights):
            np.dot(H[l], W, out=H[l + 1])
        for l in range(len(net.weights), 0, -1):
            np.dot(H[l - 1].T, delta[l], out=dW[l - 1])
            if l > 1:
                np.dot(delta[l], net.weights[l - 1].T, out=delta[l - 1])

    return step, lambda: [step() for _ in range(len(x) // N)]


def torch_floor(net, x, N):
    """The same products by PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    H, delta, W = ([torch.from_numpy(a) for a in part] for part in _operands(net, x, N))

    def step():
        for l in range(len(W)):
            torch.mm(H[l], W[l])
            torch.mm(H[l].T, delta[l])
            if l > 0:
                torch.mm(delta[l], W[l].T)

    return step


def jax_floor(net, x, N):
    """The same products by JAX, in one compiled call."""
    import jax

    @jax.jit
    def products(H, delta, W):
        back = [(h.T @ d, d @ w.T) for h, d, w in zip(H[1:], delta[1:], W[1:], strict=True)]
        return [h @ w for h, w in zip(H, W, strict=True)], back, H[0].T @ delta[0]

    operands = jax.tree.map(jax.numpy.array, _operands(net, x, N))
    return lambda: jax.block_until_ready(products(*operands))


def _operands(net, x, N):
    """Inputs and deltas of the layers, and their weights."""
    H = [x[:N], *(np.full((N, n), 1e-3, np.float32) for n in net.sizes[1:-1])]
    return H, [np.full((N, n), 1e-3, np.float32) for n in net.sizes[1:]], [W.copy() for W in net.weights]


class PlainAdam(Adam):
    """Adam in place, as [optimizers.2] has it."""

    def step(self, g, factor=1.0):
        if not self.state:
            self.state = tuple(np.zeros_like(g) for _ in range(3))
        m, v, step = self.state
        self.t += 1
        m *= self.beta1
        m += np.multiply(g, 1 - self.beta1, out=step)  # [optimizers.2] m ← β₁ m + (1 − β₁) g
        v *= self.beta2
        np.multiply(g, g, out=step)
        step *= 1 - self.beta2
        v += step  # [optimizers.2] v ← β₂ v + (1 − β₂) g²
        np.divide(v, 1 - self.beta2**self.t, out=step)
        np.sqrt(step, out=step)
        step += self.epsilon
        np.divide(m, step, out=step)  # [optimizers.2] −α m̂/(√v̂ + ε)
        step *= -self.learning_rate * factor / (1 - self.beta1**self.t)
        return step


def training_step(net, batch, task, loss):
    """What `minissl.train` does with one batch."""
    return partial(_step, net, task, loss, Adam(), None, np.random.default_rng(0), batch, 1.0)


def minissl(net, x, N):
    """A step and an epoch of `minissl.train`."""
    epochs = train_epochs(net.at(net.theta.copy()), x, same, squared_error, epochs=10**9, batch_size=N, rng=0)
    return training_step(net, x[:N].copy(), same, squared_error), lambda: next(epochs)


def torch(net, x, N, mode="eager", device="cpu"):
    """PyTorch: eager, with its fused Adam, or with loss and gradient compiled and Adam fused."""
    import torch

    torch.set_num_threads(THREADS)
    layers = []
    for W, b in zip(net.weights, net.biases, strict=True):
        layers += [torch.nn.Linear(*W.shape), torch.nn.Tanh() if net.activations[0] == "tanh" else torch.nn.ReLU()]
        layers[-2].load_state_dict({"weight": torch.from_numpy(W.T.copy()), "bias": torch.from_numpy(b.copy())})
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    adam = torch.optim.Adam(model.parameters(), fused=mode != "eager")
    data = torch.from_numpy(x).to(device)

    def J(batch):
        return ((model(batch) - batch) ** 2).sum(dim=1).mean()

    loss = torch.compile(J, dynamic=False) if mode == "compiled" else J

    def step(batch):
        adam.zero_grad()
        value = loss(batch)
        value.backward()
        adam.step()
        return float(value.detach())

    def epoch():
        return np.mean([step(data[rows]) for rows in torch.randperm(len(data), device=device).split(N)])

    first = data[:N].clone()
    return lambda: step(first), epoch


def _jax_update(net):
    """The start of JAX's training, and the function (state, batch) -> (state, loss) that compilers take from here."""
    import jax
    import jax.numpy as jnp

    phi = jnp.tanh if net.activations[0] == "tanh" else jax.nn.relu
    theta = [(jnp.array(W), jnp.array(b)) for W, b in zip(net.weights, net.biases, strict=True)]
    zeros = [jax.tree.map(jnp.zeros_like, theta) for _ in range(2)]

    def J(theta, batch):
        H = batch
        for W, b in theta[:-1]:
            H = phi(H @ W + b)
        W, b = theta[-1]
        return ((H @ W + b - batch) ** 2).sum(axis=1).mean()

    def move(p, m, v, t):
        return p - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

    def update(state, batch):
        theta, m, v, t = state
        loss, g = jax.value_and_grad(J)(theta, batch)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        theta = jax.tree.map(lambda p, m, v: move(p, m, v, t + 1), theta, m, v)
        return (theta, m, v, t + 1), loss

    return (theta, *zeros, jnp.float32(0)), update


def _in_turn(compiled, state):
    """A function that calls (state, argument) -> (state, loss) on one argument after another and keeps the state."""

    def call(argument):
        nonlocal state
        state, loss = compiled(state, argument)
        return float(loss)

    return call


def jax_jit(net, x, N):
    """JAX, compiled and called once a step; the old state is given away to be overwritten."""
    import jax

    state, update = _jax_update(net)
    data, rng = jax.numpy.array(x), np.random.default_rng(0)
    step = _in_turn(jax.jit(update, donate_argnums=0), state)
    gathered = _in_turn(jax.jit(lambda state, rows: update(state, data[rows]), donate_argnums=0), _jax_update(net)[0])
    first = data[:N]

    def epoch():
        return np.mean([gathered(rows) for rows in rng.permutation(len(x)).reshape(-1, N)])

    return lambda: step(first), epoch


def jax_scan(net, x, N):
    """JAX, a whole epoch compiled into one scan, shuffling and gathering included; it has no step of its own."""
    import jax

    state, update = _jax_update(net)
    data = jax.numpy.array(x)

    def scan(state, key):
        order = jax.random.permutation(key, len(x)).reshape(-1, N)
        state, losses = jax.lax.scan(lambda state, rows: update(state, data[rows]), state, order)
        return state, losses.mean()

    epoch, seeds = _in_turn(jax.jit(scan, donate_argnums=0), state), iter(range(10**9))
    return None, lambda: epoch(jax.random.key(next(seeds)))


def sklearn(net, x, N):
    """scikit-learn's `partial_fit`. Its loss is half the mean also over components; Adam does not see the factor."""
    from sklearn.neural_network import MLPRegressor

    start = iter([(W.copy(), b.copy()) for W, b in zip(net.weights, net.biases, strict=True)])
    phi, n, first = net.activations[0], net.sizes[-1], x[:N].copy()
    model = MLPRegressor(hidden_layer_sizes=net.sizes[1:-1], activation=phi, alpha=0, batch_size=N, random_state=0)
    model._init_coef = lambda *_: next(start)  # it offers no way to start from given parameters
    return lambda: 2 * n * model.partial_fit(first, first).loss_, lambda: 2 * n * model.partial_fit(x, x).loss_


def libraries(device, modes):
    """{name: function} of what is installed and runs on "cpu" or "cuda"; `modes` of PyTorch."""
    found = {"floor": floor, "minissl": minissl}
    if HERE["torch"]:
        found |= {f"torch {mode}": partial(torch, mode=mode, device=device) for mode in modes}
    if HERE["jax"] and device == "cpu":
        found |= {"jax jit": jax_jit, "jax scan": jax_scan}
    if HERE["sklearn"] and device == "cpu":
        found["sklearn"] = sklearn
    return found
