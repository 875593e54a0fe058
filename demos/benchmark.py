# %% [markdown]
# # Speed: how near to the matrix products?
# Not part of the gallery; run it on a quiet machine: `python demos/benchmark.py [--threads 2]`. Peers that are
# installed are measured beside minissl; none is needed.

# %%
import os
import sys

THREADS = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 1
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)  # before NumPy is imported
if hasattr(os, "sched_setaffinity"):  # JAX has no setting for the number of threads; the kernel has
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import importlib.util
import time

import numpy as np
from gallery import Demo, plt

import minissl as ssl

demo = Demo(
    "benchmark",
    "Speed: near the matrix products",
    "A network is matrix products and little else; so should be the time that it takes.",
    "time of a training step / time of its matrix products alone",
    {"--threads": {"type": int, "default": 1, "help": "threads of every library (default: 1)"}},
)
PEERS = {name: importlib.util.find_spec(name) is not None for name in ("torch", "jax", "sklearn")}
demo.say(
    "Not installed, so not measured: " + (", ".join(n for n, here in PEERS.items() if not here) or "nothing") + "."
)
busy = os.getloadavg()[0]
if busy > 0.7 and not demo.quick:
    demo.say(f"The machine is busy (load {busy:.1f}); these timings are not to be trusted.")


def ratios(runs, rounds, seconds):
    """Time several functions in turn and compare each with the first.

    Parameters
    ----------
    runs : dict of str to callable
    rounds : int
        How many turns; every turn times each function once.
    seconds : float
        How long each is repeated within one turn.

    Returns
    -------
    dict of str to ndarray, shape (rounds,)
        Seconds per call; the ratio of two is to be taken turn by turn.
    """
    repeats = {}
    for name, run in runs.items():
        run()
        began = time.perf_counter()
        run()
        repeats[name] = max(1, int(seconds / (time.perf_counter() - began)))
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - began) / repeats[name])
    return {name: np.array(t) for name, t in times.items()}


def median(values):
    """Median and quartiles, as text."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


# %% [markdown]
# ## A training step over its own matrix products
# A step needs these products and nothing else that is large: H W forward; H^T Delta and Delta W^T backward. The floor
# is these alone, into preallocated arrays. What a library adds (activation, loss, bias, Adam, bookkeeping) shows as
# time over the floor. All libraries start from the same parameters and see the same batch; their losses must agree.

# %%
SHAPES = [((64, 32, 64), 64), ((64, 256, 64), 128), ((784, 256, 64, 256, 784), 256), ((1024,) * 4, 1024)]


def floor_step(net, x):
    """The matrix products of one training step, and nothing else."""
    work = net.workspace(len(x))
    work.H[0] = x
    for H, D in zip(work.H[1:], work.D[1:], strict=True):
        H[:] = D[:] = 1e-3
    L = len(net.weights)

    def step():
        for l in range(L):
            np.dot(work.H[l], net.weights[l], out=work.H[l + 1])
        for l in range(L, 0, -1):
            np.dot(work.H[l - 1].T, work.D[l], out=work.dW[l - 1])
            if l > 1:
                np.dot(work.D[l], net.weights[l - 1].T, out=work.D[l - 1])

    return step


def minissl_step(net, x):
    """One step of minissl, through `train` itself: an epoch of one batch."""
    endless = ssl.train(net, x, lambda x, rng: (x, x), ssl.squared_error, epochs=10**9, batch_size=len(x), rng=0)
    return lambda: next(endless)


def torch_step(net, x, fused):
    """One eager step of PyTorch: the same architecture, parameters, batch, loss and Adam."""
    import torch

    torch.set_num_threads(THREADS)
    layers = []
    for W, b in zip(net.weights, net.biases, strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight[:] = torch.from_numpy(W.T.copy())
            linear.bias[:] = torch.from_numpy(b.copy())
        layers += [linear, torch.nn.Tanh() if net.activations[0] == "tanh" else torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(model.parameters(), fused=fused)
    batch = torch.from_numpy(x)

    def step():
        adam.zero_grad()
        loss = ((model(batch) - batch) ** 2).sum(dim=1).mean()
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def jax_step(net, x):
    """One jitted step of JAX, likewise, the parameters given away to be overwritten."""
    import jax
    import jax.numpy as jnp

    phi = jnp.tanh if net.activations[0] == "tanh" else jax.nn.relu
    theta = [(jnp.array(W), jnp.array(b)) for W, b in zip(net.weights, net.biases, strict=True)]
    zeros = jax.tree.map(jnp.zeros_like, theta)
    batch = jnp.array(x)

    def J(theta):
        H = batch
        for W, b in theta[:-1]:
            H = phi(H @ W + b)
        W, b = theta[-1]
        return ((H @ W + b - batch) ** 2).sum(axis=1).mean()

    def update(state):
        theta, m, v, t = state
        loss, g = jax.value_and_grad(J)(theta)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        move = lambda p, m, v: p - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)  # noqa: E731
        return (jax.tree.map(move, theta, m, v), m, v, t), loss

    compiled = jax.jit(update, donate_argnums=0)
    state = (theta, zeros, jax.tree.map(jnp.zeros_like, theta), jnp.float32(0))

    def step():
        nonlocal state
        state, loss = compiled(state)
        return float(loss)

    return step


def sklearn_step(net, x):
    """One `partial_fit` of scikit-learn on the batch; it starts from parameters of its own."""
    from sklearn.neural_network import MLPRegressor

    hidden, phi = net.sizes[1:-1], net.activations[0]
    model = MLPRegressor(hidden_layer_sizes=hidden, activation=phi, alpha=0, batch_size=len(x), random_state=0)
    return lambda: model.partial_fit(x, x).loss_


# %%
NAMES = ["minissl", "torch eager", "torch fused Adam", "jax jit", "sklearn"]
ROUNDS, SECONDS = (2, 0.02) if demo.quick else (15, 0.15)


def compare_steps(sizes, N, activation):
    """Times of one step of each library, and the largest relative difference of their losses after 20 steps."""
    x = np.random.default_rng(0).standard_normal((N, sizes[0]), dtype=np.float32)
    nets = iter([ssl.MLP(sizes, activation, rng=0) for _ in range(len(NAMES) + 1)])
    runs = {"floor": floor_step(next(nets), x), "minissl": minissl_step(next(nets), x)}
    if PEERS["torch"]:
        runs |= {"torch eager": torch_step(next(nets), x, False), "torch fused Adam": torch_step(next(nets), x, True)}
    if PEERS["jax"]:
        runs["jax jit"] = jax_step(next(nets), x)
    losses = {name: [run() for _ in range(20)][-1] for name, run in runs.items() if name != "floor"}
    if PEERS["sklearn"]:
        runs["sklearn"] = sklearn_step(next(nets), x)
    return ratios(runs, ROUNDS, SECONDS), max(abs(loss / losses["minissl"] - 1) for loss in losses.values())


measured, rows, agreement = {}, [], 0.0
for sizes, N in SHAPES[: 1 if demo.quick else None]:
    for activation in ("tanh", "relu"):
        times, difference = compare_steps(sizes, N, activation)
        agreement = max(agreement, difference)
        label = f"{'-'.join(map(str, sizes))}, {N}, {activation}"
        measured[label] = {name: times[name] / times["floor"] for name in NAMES if name in times}
        cells = [median(measured[label][name]) if name in times else "-" for name in NAMES]
        rows.append([label, f"{1e6 * np.median(times['floor']):.0f}", *cells])
demo.table(
    f"A training step over its own matrix products, {THREADS} thread(s), float32",
    ["layers, batch, activation", "floor, us", *NAMES],
    rows,
    "Median (quartiles) of the ratio turn by turn. After 20 steps from the same parameters the losses of minissl, "
    f"torch and jax differ by {agreement:.0e} at most; scikit-learn starts from parameters of its own.",
)

# %%
fig, ax = plt.subplots(figsize=(9, 4))
for k, name in enumerate(NAMES):
    places = [i + 0.16 * (k - 2) for i, label in enumerate(measured) if name in measured[label]]
    if places:
        ax.bar(places, [np.median(m[name]) for m in measured.values() if name in m], 0.15, label=name)
ax.axhline(1, color="black", linewidth=1, label="matrix products alone")
ax.set_yscale("log")
ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
ax.set_xticks(range(len(measured)), [label.replace(", ", "\n", 1) for label in measured], fontsize=7)
ax.set_ylabel("time / time of the matrix products")
ax.legend(ncols=3, frameon=False, fontsize=8)
demo.figure(fig, f"steps_{THREADS}", "A training step over the matrix products it cannot do without (log scale).")

# %% [markdown]
# ## An epoch over its steps
# An epoch shuffles, gathers batches and draws noise besides. The noise is counted apart: it costs what the generator
# costs.


# %%
def compare_epoch(sizes, N):
    """Times of 32 steps on one batch, of epochs of 32 batches with and without noise, and of the noise alone."""
    x = np.random.default_rng(0).standard_normal((32 * N, sizes[0]), dtype=np.float32)
    rng = np.random.default_rng(0)

    def epochs(task):
        net = ssl.MLP(sizes, "tanh", rng=0)
        return ssl.train(net, x, task, ssl.squared_error, epochs=10**9, batch_size=N, rng=0)

    step, plain, noisy = (
        minissl_step(ssl.MLP(sizes, "tanh", rng=0), x[:N].copy()),
        epochs(lambda x, rng: (x, x)),
        epochs(lambda x, rng: (x + 0.3 * rng.standard_normal(x.shape, dtype=x.dtype), x)),
    )
    runs = {
        "steps": lambda: [step() for _ in range(32)],
        "plain": lambda: next(plain),
        "noisy": lambda: next(noisy),
        "noise": lambda: rng.standard_normal(x.shape, dtype=np.float32),
    }
    return ratios(runs, ROUNDS, SECONDS)


rows = []
for sizes, N in SHAPES[: 1 if demo.quick else 3]:
    t = compare_epoch(sizes, N)
    columns = t["plain"] / t["steps"], t["noisy"] / t["steps"], (t["noisy"] - t["noise"]) / t["steps"]
    rows.append([f"{'-'.join(map(str, sizes))}, {N}", *map(median, columns)])
demo.table(
    "An epoch of 32 batches over 32 steps on one batch",
    ["layers, batch", "plain", "denoising", "denoising, less its noise"],
    rows,
)

# %% [markdown]
# ## PCA beside scikit-learn's solvers
# Standard deviations fall as 1/i along random axes; every column has an offset. Accuracy is the sine of the largest
# principal angle to a float64 reference. A solver that is quick and inexact is no rival, so each ratio stands beside
# its angle.


# %%
def pca_problem(N, n, m, dtype):
    """Data with that spectrum, and its first m axes as rows, from the smaller of C and K in float64."""
    rng, k = np.random.default_rng(0), min(N, n)
    x = rng.standard_normal((N, k), dtype=np.float32) / np.arange(1, k + 1, dtype=np.float32)
    x = (x @ np.linalg.qr(rng.standard_normal((n, k), dtype=np.float32))[0].T + np.float32(0.5)).astype(dtype)
    y = x - x.mean(axis=0, dtype=np.float64)
    V = np.linalg.eigh(y.T @ y if n <= N else y @ y.T)[1][:, ::-1][:, :m]
    return x, (V if n <= N else np.linalg.qr(y.T @ V)[0]).T


def sine(W, V):
    """Sine of the largest principal angle between the row spaces."""
    W, V = (np.linalg.qr(np.asarray(M, dtype=np.float64).T)[0].T for M in (W, V))
    return float(np.linalg.norm(W - W @ V.T @ V, 2))


def compare_pca(N, n, m, dtype):
    """Seconds of each solver, turn by turn, and the sine of its angle to the reference."""
    from sklearn.decomposition import PCA

    x, V = pca_problem(N, n, m, dtype)
    solvers = ["randomized"] + ["covariance_eigh"] * (N > n) + ["arpack"] * (N < 50000)
    models = {name: PCA(m, svd_solver=name, random_state=0) for name in solvers}
    runs = {"minissl": lambda: pca.by_svd(x, m)} | {k: lambda f=f: f.fit(x) for k, f in models.items()}
    angles = {name: sine(f.fit(x).components_, V) for name, f in models.items()} | {
        "minissl": sine(runs["minissl"]().W, V)
    }
    return ratios(runs, 2 if demo.quick else 9, 0.05), angles


if PEERS["sklearn"]:
    from minissl import pca

    shapes = [(10000, 64, 10), (60000, 784, 50), (2000, 5000, 20), (5000, 2000, 20)]
    rows = []
    for dtype in ("float32", "float64"):
        for N, n, m in shapes[: 1 if demo.quick else None]:
            times, angles = compare_pca(N, n, m, dtype)
            ours = f"{1e3 * np.median(times['minissl']):.3g} ms, {angles.pop('minissl'):.0e}"
            cells = {k: f"{median(times['minissl'] / times[k])}, {a:.0e}" for k, a in angles.items()}
            names = ("covariance_eigh", "arpack", "randomized")
            rows.append([f"({N}, {n}, {m}) {dtype}", ours, *(cells.get(name, "-") for name in names)])
    demo.table(
        f"PCA: time of minissl over that of scikit-learn's solver, and the solver's angle, {THREADS} thread(s)",
        ["(N, n, m)", "minissl: time, angle", *(f"/ {name}" for name in names)],
        rows,
        "Median (quartiles) of the ratio turn by turn. Not run: covariance_eigh for N < n, arpack at 60,000 rows.",
    )
demo.finish()
