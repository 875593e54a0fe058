# %% [markdown]
# # Speed: how near to the matrix products?
# Not part of the gallery; run it on a quiet machine: `python demos/benchmark [--threads 2] [--device gpu]`. Peers
# that are installed (PyTorch, JAX, scikit-learn, statsmodels) are measured beside minissl; none is needed. OpenBLAS
# chooses its kernels by the processor; `OPENBLAS_CORETYPE=Haswell python demos/benchmark --out DIR` chooses others.

# %%
import timing  # first: it sets the number of threads, which NumPy reads when it is imported

# isort: split
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))  # where before.py and gallery.py are
import before  # noqa: F401  # minissl, where it is not installed

# isort: split
import estimators
import networks
import numpy as np
from gallery import Demo, plt
from timing import HERE, THREADS, median
from tqdm import tqdm

from minissl import MLP, Adam, squared_error
from minissl._checks import check_finite
from minissl.goals import probe
from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.losses import sigmoid_cross_entropy, softmax_cross_entropy
from minissl.tasks.augmentations import gaussian_noise
from minissl.tasks.autoencoder import denoise, mask, reconstruct
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.tasks.shuffling import against_shuffled
from minissl.tasks.views import info_nce, spectral_contrastive, two_views
from minissl.tasks.words import next_word

demo = Demo(
    "benchmark",
    "Speed: near the matrix products",
    "A network is matrix products and little else; so should be the time that it takes.",
    "time of a training step / time of its matrix products alone",
    {
        "--threads": {"type": int, "default": 1, "help": "threads of every library (default: 1)"},
        "--device": {"choices": ["cpu", "gpu"], "default": "cpu", "help": "gpu: the training step only, on CuPy"},
        "--busy": {"action": "store_true", "help": "time even if the machine is busy with something else"},
    },
)
GPU = demo.options.device == "gpu"
demo.say("Not installed, so not measured: " + (", ".join(n for n, here in HERE.items() if not here) or "nothing") + ".")
others = timing.busy()
if others > 0.1:
    if not (demo.quick or demo.options.busy):
        sys.exit(f"Others keep {others:.1f} processors busy; come back when it is quiet, or say --busy.")
    demo.say(f"Others keep {others:.1f} processors busy: these timings are not to be trusted.")
if HERE["sklearn"]:
    from threadpoolctl import threadpool_info

    kernels = {f"{lib['filepath'].split('/')[-2]}: {lib.get('architecture')}" for lib in threadpool_info()}
    demo.say(f"Kernels of the BLAS libraries: {', '.join(sorted(kernels))}.")
ROUNDS, SECONDS = (2, 0.02) if demo.quick else (11, 0.1)

# %% [markdown]
# ## A training step, and an epoch, over their own matrix products
# A step needs these products and nothing else that is large: H W forward; H^T Delta and Delta W^T backward. The floor
# is these alone, into preallocated arrays. What a library adds (activation, loss, bias, Adam, bookkeeping) shows as
# time over the floor. A step gets its batch for nothing; an epoch shuffles and gathers besides. All libraries start
# from the same parameters and must arrive at the same loss.

# %%
SHAPES = [  # layers, batch, batches per epoch
    ((64, 32, 64), 64, 32),
    ((64, 256, 64), 128, 32),
    ((784, 256, 64, 256, 784), 256, 16),
    ((1024,) * 4, 1024, 2),
]
MODES = ("eager", "fused Adam") if demo.quick else ("eager", "fused Adam", "compiled")  # compiling takes a while
LIBRARIES = networks.libraries("cuda" if GPU else "cpu", MODES)
NAMES = list(LIBRARIES)[1:]
here, wait = np.zeros(1, np.float32), lambda: None  # an array of the library that minissl uses
if GPU:
    try:
        import cupy
    except ImportError:
        cupy = None
    if cupy is None or not cupy.is_available():
        sys.exit("CuPy finds no GPU.")
    here, wait = cupy.asarray(here), cupy.cuda.Device().synchronize
    SHAPES += [((2048,) * 4, 2048, 2), ((4096,) * 4, 4096, 2)]


def training(name, sizes, N, batches, activation):
    """Step and epoch of one library, from the same parameters and data as all others."""
    x = np.random.default_rng(0).standard_normal((batches * N, sizes[0]), dtype=np.float32)
    x = np.asarray(x, like=here if name in ("floor", "minissl") else x)
    return LIBRARIES[name](MLP(sizes, activation, rng=0, like=x), x, N)


def apart(pairs):
    """Relative difference to minissl's loss: after 10 steps on one batch, or after 5 epochs where there is no step."""

    def last(step, epoch):
        return [step() for _ in range(10)][-1] if step else [epoch() for _ in range(5)][-1]

    step, epoch = pairs["minissl"]
    ours = last(step, None), last(None, epoch)
    return {name: abs(last(*pairs[name]) / ours[pairs[name][0] is None] - 1) for name in NAMES[1:]}


def over_floor(pairs):
    """Time over the floor's, {name: turn by turn}, of a step and of an epoch; and the floor of a step in seconds."""
    steps = timing.turns({name: step for name, (step, _) in pairs.items() if step}, ROUNDS, SECONDS, wait)
    epochs = timing.turns({name: epoch for name, (_, epoch) in pairs.items()}, ROUNDS, SECONDS, wait)
    ratios = [{name: t / times["floor"] for name, t in times.items()} for times in (steps, epochs)]
    return *ratios, np.median(steps["floor"])


step_rows, epoch_rows, steps, epochs, differences = [], [], {}, {}, []
PROBLEMS = [(activation, *shape) for shape in SHAPES for activation in ("tanh", "relu")]
for activation, sizes, N, batches in tqdm(PROBLEMS[: 1 if demo.quick else None], leave=False, disable=None):
    label = f"{'-'.join(map(str, sizes))}, {N}, {activation}"
    pairs = {name: training(name, sizes, N, batches, activation) for name in LIBRARIES}
    differences.append(apart(pairs))
    steps[label], epochs[label], floor = over_floor(pairs)
    for rows, start, ratios in (
        (step_rows, f"{1e6 * floor:.0f}", steps[label]),
        (epoch_rows, batches, epochs[label]),
    ):
        rows.append([label, start, *(median(ratios[name]) if name in ratios else "-" for name in NAMES)])
largest = {name: max(d[name] for d in differences) for name in NAMES[1:]}
conditions = f"{THREADS} thread(s) of the {demo.options.device}, float32; median (quartiles) of the ratio turn by turn"
demo.table(
    f"A training step over its own matrix products, {conditions}",
    ["layers, batch, activation", "floor, us", *NAMES],
    step_rows,
    "Largest relative difference to minissl's loss after 10 steps on one batch (jax scan: 5 epochs, whose batches are "
    f"other ones): {', '.join(f'{name} {d:.0e}' for name, d in largest.items()) or 'no peers'}.",
)
demo.table(
    f"An epoch over the matrix products of its batches, {conditions}",
    ["layers, batch, activation", "batches", *NAMES],
    epoch_rows,
)

# %% [markdown]
# PyTorch and JAX have matrix products of their own. Where these are faster than NumPy's, no NumPy program can catch up
# with them for large matrices, where little else counts.

# %%
FLOORS = {name: floor for name, floor in (("torch", networks.torch_floor), ("jax", networks.jax_floor)) if HERE[name]}
rows = []
for sizes, N, _ in SHAPES[: 1 if demo.quick else None] if FLOORS and not GPU else []:
    x = np.random.default_rng(0).standard_normal((N, sizes[0]), dtype=np.float32)
    net = MLP(sizes, rng=0)
    runs = {"floor": networks.floor(net, x, N)[0]} | {name: floor(net, x, N) for name, floor in FLOORS.items()}
    t = timing.turns(runs, ROUNDS, SECONDS)
    rows.append([f"{'-'.join(map(str, sizes))}, {N}", *(median(t[name] / t["floor"]) for name in FLOORS)])
if rows:
    demo.table(f"Matrix products of the peers over NumPy's, {conditions}", ["layers, batch", *FLOORS], rows)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharex=True, sharey=True)
for ax, measured, title in zip(axes, (steps, epochs), ("a step on one batch", "an epoch"), strict=True):
    for name, marker, colour in zip(NAMES, "*osDv^P", ("C3", "C0", "C9", "C4", "C1", "C2", "C7"), strict=False):
        places = [(np.median(ratios[name]), i) for i, ratios in enumerate(measured.values()) if name in ratios]
        ax.plot(*np.reshape(places, (-1, 2)).T, marker, color=colour, markersize=15 if marker == "*" else 6, label=name)
    ax.axvline(1, color="black", linewidth=1)
    ax.set_xscale("log")
    ax.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    ax.set_xlabel("time / time of the matrix products alone")
    ax.set_title(title, fontsize=10)
    ax.grid(axis="y", alpha=0.3)
axes[0].set_yticks(range(len(steps)), list(steps))
axes[0].invert_yaxis()
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False)
demo.figure(
    fig,
    f"{demo.options.device}_{THREADS}",
    f"Training over the matrix products that it cannot do without (line), {THREADS} thread(s): the nearer, the better.",
)

# %% [markdown]
# ## What a step's time goes to
# Each part on its own, over the floor. Forward and backward hold the products; what they add is bias, activation and
# its derivative. Where the sum is large, it is Adam: some ten passes over the parameters, among them a root and a
# division, while each product sees them only once, for a whole batch. In the smallest network it is neither: every
# call of the array library costs something, however little there is to compute. The last column is Adam in place as the
# paper writes it, [optimizers.2]; beside column Adam it shows what the scaled form [optimizers.4] of the library saves.


# %%
def parts(sizes, N):
    """{what: function} of one training step of minissl."""
    x = np.asarray(np.random.default_rng(0).standard_normal((N, sizes[0]), dtype=np.float32), like=here)
    net, twin, adam, plain = *(MLP(sizes, "tanh", rng=0, like=here) for _ in range(2)), Adam(), networks.PlainAdam()
    H = net.forward(x)
    delta = squared_error(H[-1], x)[1]
    gradient = net.backward(H, delta)
    move = adam.step(gradient).copy()
    return {
        "floor": LIBRARIES["floor"](twin, x, N)[0],
        "forward": lambda: net._forward(x),
        "loss": lambda: squared_error(H[-1], x),
        "backward": lambda: net._backward(H, delta, {}),
        "Adam": lambda: adam.step(gradient),
        "check, move": lambda: np.add(twin.theta, check_finite(move, "step"), out=twin.theta),
        "plain Adam": lambda: plain.step(gradient),
    }


rows = []
for sizes, N, _ in SHAPES[: 1 if demo.quick else None]:
    t = timing.turns(parts(sizes, N), ROUNDS, SECONDS, wait)
    floor, plain = t.pop("floor"), t.pop("plain Adam")
    columns = t.pop("forward") + t.pop("backward"), *t.values()
    columns = *columns, sum(columns), plain
    rows.append([f"{'-'.join(map(str, sizes))}, {N}", *(median(part / floor) for part in columns)])
one, two = np.ones_like(here), np.empty_like(here)
call = np.median(timing.turns({"add": lambda: np.add(one, one, out=two)}, ROUNDS, SECONDS, wait)["add"])
demo.table(
    f"Parts of a training step over its matrix products, tanh, {conditions}",
    ["layers, batch", "forward and backward", "loss", "Adam", "check, move", "sum", "plain Adam"],
    rows,
    f"A call that adds one number to another takes {1e6 * call:.2f} us.",
)
if GPU:
    demo.finish()
    sys.exit()

# %% [markdown]
# ## What a pretext task adds
# A step on the pairs that a task makes of one batch, over the matrix products of its network on as many rows. Task and
# loss are also timed by themselves. Most of a task's time goes to random numbers; with 50,000 words most of all goes to
# what is done to each of the logits and, by Adam, to each of the parameters.

# %%
rng = np.random.default_rng(0)
images, words = rng.standard_normal((2000, 784), dtype=np.float32), rng.integers(50_000, size=(128, 4))
small, views = images[:128, :64].copy(), two_views(gaussian_noise(0.3))
TASKS = [  # task, layers of the network, batch, loss
    ("reconstruct", (64, 256, 64), small, reconstruct(), squared_error),
    ("denoise", (64, 256, 64), small, denoise(0.3), squared_error),
    ("mask", (64, 256, 64), small, mask(0.3), squared_error),
    ("against noise", (784, 256, 1), images[:128], against_noise(fit_gaussian(images)), sigmoid_cross_entropy),
    ("against shuffled", (784, 256, 1), images[:128], against_shuffled(), sigmoid_cross_entropy),
    ("two views, InfoNCE", (784, 512, 128), images[:512], views, info_nce(0.1)),
    ("two views, spectral", (784, 512, 128), images[:512], views, spectral_contrastive),
    ("next of 50,000 words", (192, 128, 50_000), words, next_word(3), softmax_cross_entropy),
]
rows = []
for name, sizes, batch, task, loss in TASKS[: 2 if demo.quick else None]:
    reads_words = batch is words
    net = EmbeddingMLP(50_000, 3, 64, sizes[1:-1], rng=0) if reads_words else MLP(sizes, "tanh", rng=0)
    input, *target = task(batch, rng)
    output = net(input)
    runs = {
        "floor": networks.floor(MLP(sizes, rng=0), images[: len(input), : sizes[0]], len(input))[0],
        "step": networks.training_step(net, batch, task, loss),
        "task": lambda task=task, batch=batch: task(batch, rng),
        "loss": lambda loss=loss, output=output, target=target: loss(output, *target),
    }
    t = timing.turns(runs, ROUNDS, SECONDS)
    floor = t.pop("floor")
    start = name, f"{'-'.join(map(str, sizes))}, {len(input)}", f"{1e6 * np.median(floor):.0f}"
    rows.append([*start, *(median(part / floor) for part in t.values())])
demo.table(
    f"A step on a pretext task, the task and the loss over the matrix products, {conditions}",
    ["task", "layers, rows", "floor, us", "step", "task", "loss"],
    rows,
)

# %% [markdown]
# ## PCA beside scikit-learn's solvers
# Standard deviations fall as 1/i along random axes; every column has an offset. Accuracy is the sine of the largest
# principal angle to a float64 reference. A solver that is quick and inexact is no rival, so each ratio stands beside
# its angle.

# %%
SOLVERS = ("covariance_eigh", "arpack", "randomized")


def over_peers(ways, rounds):
    """Seconds of minissl, and the ratio to each peer as text."""
    times = timing.turns(ways, rounds, 0.05)
    return np.median(times["minissl"]), {name: median(times["minissl"] / times[name]) for name in times}


rows = []
for dtype in ("float32", "float64"):
    for N, n, m in [(10000, 64, 10), (60000, 784, 50), (2000, 5000, 20), (5000, 2000, 20)][: 1 if demo.quick else None]:
        x = estimators.pca_problem(N, n, m, dtype)
        ways, V = estimators.pca_ways(x, m), estimators.pca_axes(x, m)
        angles = {name: f"{estimators.sine(way(), V):.0e}" for name, way in ways.items()}
        ours, ratios = over_peers(ways, 2 if demo.quick else 7)
        cells = [f"{ratios[name]}, {angles[name]}" if name in ways else "-" for name in SOLVERS]
        rows.append([f"({N}, {n}, {m}) {dtype}", f"{1e3 * ours:.3g} ms, {angles['minissl']}", *cells])
demo.table(
    f"PCA: time of minissl over that of scikit-learn's solver, and the solver's angle, {THREADS} thread(s)",
    ["(N, n, m)", "minissl: time, angle", *(f"/ {name}" for name in SOLVERS)],
    rows,
    "Not run: covariance_eigh for N < n, arpack at 60,000 rows.",
)

# %% [markdown]
# ## The linear probe beside scikit-learn's LogisticRegression
# Both minimise the same function by L-BFGS until no component of the gradient is larger than the tolerance. How far
# above the minimum each one stops, in float64, stands beside the time.

# %%
rows = []
for dtype in ("float32", "float64"):
    for N, m, K in [(2000, 64, 10), (50000, 256, 10)][: 1 if demo.quick else None]:
        features, labels = estimators.probe_problem(N, m, K, dtype)
        J = probe.objective(features.astype(float), labels, 1e-4)
        least = probe.linear_probe(features.astype(float), labels, 1e-4, tolerance=1e-8).value
        ways = estimators.probe_ways(features, labels, 1e-4, 1e-4)
        above = {name: f"{J(way().astype(float))[0] - least:.0e}" for name, way in ways.items()}
        ours, ratios = over_peers(ways, 2 if demo.quick else 7)
        peer = "LogisticRegression"
        cell = f"{ratios[peer]}, {above[peer]}" if peer in ways else "-"
        rows.append([f"({N}, {m}, {K}) {dtype}", f"{1e3 * ours:.3g} ms, {above['minissl']}", cell])
demo.table(
    f"Probe: time of minissl over scikit-learn's, and how far above the minimum each stops, {THREADS} thread(s)",
    ["(N, m, K)", "minissl: time, above the minimum", "/ LogisticRegression"],
    rows,
)

# %% [markdown]
# ## Linear autoregression beside least squares on the lagged matrix
# All three solve one and the same least-squares problem.

# %%
rows = []
for T, p in [(10_000, 10), (100_000, 100), (1_000_000, 10)][: 1 if demo.quick else None]:
    ways = estimators.ar_ways(estimators.series(T), p)
    answers = {name: way() for name, way in ways.items()}
    ours, ratios = over_peers(ways, 2 if demo.quick else 5)
    cells = [
        f"{ratios[name]}, {abs(answers[name] - answers['minissl']).max():.0e}" if name in ways else "-"
        for name in ("lagged matrix", "statsmodels")
    ]
    rows.append([f"T = {T:,}, p = {p}", f"{1e3 * ours:.3g} ms", *cells])
demo.table(
    f"AR(p): time of minissl over the peer's, and the largest difference of a coefficient, {THREADS} thread(s)",
    ["series", "minissl", "/ lagged matrix", "/ statsmodels"],
    rows,
)

# %% [markdown]
# ## Peak memory
# Each in a process of its own: how much the kernel saw it grow while it ran, after the data were made and the library
# was loaded. Training must not need more for more steps.

# %%
TRAIN = (
    "from minissl import MLP; x = np.random.default_rng(0).standard_normal((2560, 784), dtype='f4'); "
    "make = lambda *sizes: {}(MLP(sizes, 'tanh', rng=0), x[:, :sizes[0]].copy(), 256)[1]; make(2, 2, 2)()"
)
EPOCHS = "run = make(784, 256, 64, 256, 784); [run() for _ in range({})]"
PCA = "ways = pca_ways(pca_problem(60000, 784, 50, 'float32'), 50)"
PROBE = "ways = probe_ways(*probe_problem(50000, 256, 10, 'float32'), 1e-4, 1e-4)"
RUN = "ways['{}']()"
TRAINERS = {"torch": "torch", "jax_jit": "jax", "jax_scan": "jax", "sklearn": "sklearn"}
CASES = [  # what; setup and statement as source text, with a way's name for {}; peers' ways and the library of each
    ("training, 10 steps", TRAIN, EPOCHS.format(1), TRAINERS),
    ("training, 1,000 steps", TRAIN, EPOCHS.format(100), {}),
    ("PCA, (60000, 784, 50), float32", PCA, RUN, {"covariance_eigh": "sklearn", "randomized": "sklearn"}),
    ("probe, (50000, 256, 10), float32", PROBE, RUN, {"LogisticRegression": "sklearn"}),
    ("AR(100), 100,000 values", "ways = ar_ways(series(100_000), 100)", RUN, {"statsmodels": "statsmodels"}),
]
rows = []
for what, setup, statement, owners in CASES[: 1 if demo.quick else None] if sys.platform == "linux" else []:
    names = [name for name, library in owners.items() if HERE[library] and not demo.quick]
    ours, *theirs = (timing.peak(setup.format(name), statement.format(name)) for name in ("minissl", *names))
    rows.append([what, f"{ours:.1f}", ", ".join(f"{n} {peak:.1f}" for n, peak in zip(names, theirs, strict=True))])
if rows:
    demo.table("Peak memory beyond data and library, MB", ["what", "minissl", "peers"], rows)
demo.finish()
