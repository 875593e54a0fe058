"""What every public function does with what it should not be given.

ROWS has each public function with a small call that works, and says what each argument is. FORMS are other ways to hand
over the same numbers, which must lead to the same result. Each kind of argument has its `bad` values, which must be
refused by a ValueError or TypeError that begins with the argument's name and says what was expected; where one is let
through, the row says why. No call modifies its arguments, whatever it does.
"""

import importlib
import inspect
import pkgutil
import re
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from standin import device

import minissl
from minissl import (
    autoencoder,
    autoregression,
    contrastive,
    densities,
    downstream,
    gradcheck,
    losses,
    nce,
    optimizers,
    patches,
    pca,
    sampling,
    training,
    wiener,
    words,
)
from minissl.mlp import MLP

cupy = device()


# Kinds of arguments


class Argument(NamedTuple):
    """A value that works, and what must not come in its place."""

    value: object
    bad: dict  # what is wrong -> a value
    forms: dict = {}  # other form -> value to be changed into it
    kind: str = ""
    name: str = ""  # what the error calls it, where not by the argument's name; "a|b" for either
    allowed: dict = {}  # what is let through -> why


def array(value, tied=(), alone=False, any_shape=False, bad=(), **options):
    """A floating array. Other arguments give its length along `tied` axes, and its dtype unless it is `alone`."""
    value = np.array(value, dtype=float)
    wrong = {f"entry {entry}": with_last(value, entry) for entry in (np.nan, np.inf, -np.inf)}
    wrong |= not_numbers(value) | {
        "float16": value.astype(np.float16),
        "long double": value.astype(np.longdouble),
        "other byte order": value.astype(value.dtype.newbyteorder()),
    }
    if not any_shape:
        wrong |= {"one number": 1.0, "one dimension less": value[-1], "one dimension more": value[None]}
    if value.ndim > 1:
        wrong["no columns"] = value[:, :0]
    if not alone:
        wrong |= {"mixed dtype": value.astype(np.float32), "mixed libraries": cupy.asarray(value)}
    wrong |= other_lengths(value, tied) | dict(bad)
    return Argument(value, wrong, FORMS, "alone" if alone else "array", **options)


def integers(value, high=None, tied=(), bad=(), **options):
    """An integer array with values in [0, high)."""
    value = np.array(value)
    wrong = not_numbers(value) | other_lengths(value, tied)
    wrong |= {
        "an entry below 0": with_last(value, -1),
        "floats": value.astype(float),
        "booleans": value > 0,
        "one number": 1,
        "one dimension less": value[-1],
        "one dimension more": value[None],
    }
    if high is not None:
        wrong["an entry too high"] = with_last(value, high)
    return Argument(value, wrong | dict(bad), INTEGER_FORMS, "integers", **options)


def not_numbers(value):
    return {
        "no rows": value[:0],
        "text": value.astype(str),
        "one word": "text",
        "objects": value.astype(object),
        "None": None,
        "a dictionary": {"x": value},
        "a set": {1.0, 2.0},
        "complex": value.astype(complex),
        "dates": value.astype(int).astype("datetime64[D]"),
        "masked": np.ma.masked_array(value, value > 0),
        "ragged": [*value.tolist(), [[1]]],
    }


def other_lengths(value, axes):
    shorter = {f"axis {axis} too short": np.delete(value, 0, axis) for axis in axes}
    return shorter | {f"axis {axis} too long": np.concatenate([value, value], axis) for axis in axes}


def with_last(value, entry):
    value = value.copy()
    value.flat[-1] = entry
    return value


def count(value, high=None, low=1, bad=(), **options):
    """A whole number from `low` to `high`."""
    wrong = {repr(v): v for v in (low - 1, -7, value + 0.5, float(value), str(value), None, True, np.nan, [value], 1j)}
    wrong |= {} if high is None else {"too high": high + 1}
    return Argument(value, wrong | dict(bad), {"a NumPy integer": np.int16}, "count", **options)


def number(value, low=None, high=None, open_low=False, open_high=False, bad=(), **options):
    """A real number from `low` to `high`."""
    wrong = {repr(v): v for v in (np.nan, np.inf, -np.inf, str(value), None, True, [value], 1j)}
    wrong |= {} if low is None else {"too low": low if open_low else low - 1e-9}
    wrong |= {} if high is None else {"too high": high if open_high else high + 1e-9}
    return Argument(value, wrong | dict(bad), {"a NumPy number": np.float64}, "number", **options)


def pair(value, bad=(), **options):
    """Two positive whole numbers."""
    a, b = value
    wrong = (a, (a,), (a, b, 1), (0, b), (a, -1), (float(a), b), "ab", None, (a, None), (True, b), np.array(value))
    return Argument(value, {repr(v): v for v in wrong} | dict(bad), {"a list": list}, "pair", **options)


def seed(value=3):
    wrong = ("a", 1.5, True, -1, np.random.RandomState(0), [1])
    forms = {"a NumPy integer": np.int64, "a Generator": np.random.default_rng}
    return Argument(value, {repr(v): v for v in wrong}, forms, "seed")


def one_of(value, *wrong, **options):
    """Anything else, with examples of what it is not."""
    return Argument(value, {f"{i}: {v!r}"[:50]: v for i, v in enumerate(wrong)}, **options)


# Other forms of the same numbers


class Foreign(np.ndarray):
    """A subclass, as np.memmap is one."""


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


FORMS = {
    "Fortran order": np.asfortranarray,
    "every other column": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "negative strides": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "read-only": read_only,
    "a subclass": lambda a: a.view(Foreign),
    "a list": np.ndarray.tolist,
    "a tuple": lambda a: tuple(a.tolist()),
}
INTEGER_FORMS = FORMS | {t: lambda a, t=t: a.astype(t) for t in ("int8", "uint8", "int32", "uint64")}


# The table

X = np.random.default_rng(0).standard_normal((7, 3))
Y = np.random.default_rng(1).standard_normal((7, 2))
IMAGES = np.random.default_rng(2).random((5, 4, 6))
ROWS_OF_PIXELS = IMAGES.reshape(5, 24)
SERIES = np.random.default_rng(3).standard_normal(20)
TEXT = np.random.default_rng(4).integers(5, size=(6, 3))
WEIGHT = np.random.default_rng(5).random((7, 2))
LABELS = [0, 1, 2, 0, 1, 2, 0]
SPD = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
ROWS = {}


class Row(NamedTuple):
    call: object
    rtol: float  # of what it returns, from one form of its arguments to another
    arguments: dict


def row(name, call, rtol=1e-9, **arguments):
    ROWS[name] = Row(call, rtol, arguments)


def net(n_out=2, **options):
    return MLP((3, 4, n_out), "tanh", rng=0, dtype="float64", **options)


def word_net():
    return words.WordMLP(5, 2, 3, (4,), rng=0, dtype="float64")


def score_of(x, *_):
    return -x


def density(x):
    return -0.5 * (x * x).sum(axis=1), -x


def quadratic(theta):
    return theta @ theta + (theta**4).sum(), 2 * theta + 4 * theta**3


def optimised(optimizer, g):
    return [optimizer.step(g).copy() for _ in range(2)]


def set_theta(network, theta, x):
    network.theta = theta
    return network(x), network.theta + 0


# losses

ELEMENTWISE = {f"entry {v}": "elementwise: NaN stays where it is" for v in (np.nan, np.inf, -np.inf)}
row("losses.sigmoid", losses.sigmoid, z=array(X, alone=True, any_shape=True, allowed=ELEMENTWISE))
for loss, extra in (losses.squared_error, {}), (losses.logistic, {"above 1": WEIGHT + 1, "below 0": -WEIGHT}):
    row(
        f"losses.{loss.__name__}",
        loss,
        output=array(Y, (0, 1)),
        target=array(WEIGHT, (0, 1), bad=extra),
        weight=array(WEIGHT, (0, 1), bad={"negative": -WEIGHT}, allowed={"None": "weights of one"}),
    )
row("losses.softmax", losses.softmax, output=array(X, (0,), alone=True), target=integers(LABELS, 3, (0,)))

# mlp

SIZES = one_of((3, 4, 2), (3,), 3, None, "34", (3, 0), (3, -2), (3, 4.0, 2), (3, "4"), (3, True), np.ones(2))
ACTIVATION = one_of(["tanh", "relu"], "cubic", None, 3, ["tanh"], ["tanh"] * 3, ["tanh", "cubic"], ["tanh", 1])
DTYPE = one_of("float32", "float16", "nonsense", int, object, None, "complex128", 32)
XP = one_of(np, "cuda", None, 3)


def output_of(network):
    """For X, in as many columns as the network has: any sizes may come."""
    return network(np.resize(X, (7, network.sizes[0])).astype(network.theta.dtype))


NAMED_X = {"x": array(X, (1,))}
DELTA = {"delta": array(Y, (0, 1)), "dP": array(np.ones((7, 4)), (0, 1), name="penalties")}
row("mlp.MLP", lambda sizes, **o: output_of(MLP(sizes, **o)), sizes=SIZES, rng=seed())
row("mlp.MLP options", lambda **o: MLP((3, 4, 5, 2), rng=0, **o).theta, activation=ACTIVATION, dtype=DTYPE, xp=XP)
row("mlp.MLP.theta", lambda theta: set_theta(net(), theta, X), theta=array(net().theta + 1, (0,)))
row("mlp.MLP.forward", lambda x: net().forward(x), **NAMED_X)
row("mlp.MLP.__call__", lambda x: net()(x), **NAMED_X)
row("mlp.MLP.features", lambda x: net().features(x), **NAMED_X)
row("mlp.MLP.workspace", lambda N: len(net().workspace(N).ones), N=count(4))
row(
    "mlp.MLP.views",
    lambda vector: net().views(vector),
    vector=one_of(net().theta, net().theta[1:], np.ones(99), 1.0, None, [1.0] * 26, "ab", np.ones((26, 1))),
)
row(
    "mlp.MLP.backward",
    lambda delta, dP, H: net().backward(H, delta, {1: dP}, input_gradient=True),
    **DELTA,
    H=one_of(net().forward(X), X, None, [], net().forward(X)[1:], [X, X, X], [X[:3], *net().forward(X)[1:]]),
)
row(
    "mlp.MLP.backward penalties",
    lambda penalties: net().backward(net().forward(X), Y, penalties),
    penalties=one_of({1: np.ones((7, 4))}, [1], "ab", {0: X}, {2: Y}, {"1": X}, {1: X}, 3),
)

# optimizers

UNSEEN = {f"entry {v}": "training reports epoch and batch" for v in (np.nan, np.inf, -np.inf)}
G = {"g": array(X[0], alone=True, allowed=UNSEEN)}
STEP_SIZE = number(0.1, 0, open_low=True)
RATE = number(0.5, 0, 1, open_high=True)
row(
    "optimizers.SGD",
    lambda **o: optimised(optimizers.SGD(**o), X[0]),
    step_size=STEP_SIZE,
    momentum=RATE,
)
row(
    "optimizers.Adam",
    lambda **o: optimised(optimizers.Adam(**o), X[0]),
    step_size=STEP_SIZE,
    beta1=RATE,
    beta2=RATE,
    epsilon=number(1e-8, 0, open_low=True),
)
for kind in optimizers.SGD, optimizers.Adam:
    row(f"optimizers.{kind.__name__}.step", lambda g, kind=kind: optimised(kind(), g), **G)
row(
    "optimizers.lbfgs",
    lambda theta, **o: optimizers.lbfgs(quadratic, theta, **o),
    theta=array([0.3, 0.2, 0.1], alone=True),
    iterations=count(50),
    tolerance=number(1e-10, 0),
)

# training

PAIR = {"input": array(X, (0, 1), name="x|target"), "target": array(Y, (0, 1))}
row(
    "training.loss_and_gradient",
    lambda input, target: training.loss_and_gradient(net(), input, (target,), losses.squared_error),
    **PAIR,
)
row(
    "training.objective",
    lambda theta, input, target: training.objective(net(), (input, target), losses.squared_error)(theta),
    theta=array(net().theta, (0,)),
    **PAIR,
)


IDENTITY = autoencoder.identity()


def trained(x=X, task=IDENTITY, loss=losses.squared_error, network=None, **options):
    network = MLP((3, 4, 3), "tanh", rng=0, dtype="float64") if network is None else network
    options = {"epochs": 2, "batch_size": 3, "rng": 0} | options
    return list(training.train(network, x, task, loss, **options)), network.theta + 0


def returning(pair):
    return lambda x, rng: pair


row(
    "training.train",
    trained,
    x=array(X, (1,), bad={"text of the right shape": X.astype(str)}),
    epochs=count(2),
    batch_size=count(3),
    rng=seed(),
    task=one_of(
        autoencoder.identity(), "denoise", None, returning(None), returning(X[:3]), returning((X[:3],)), returning(3)
    ),
    loss=one_of(losses.squared_error, "mse", None),
    optimizer=one_of(None, "adam", optimizers.Adam, 0.1),
    penalties=one_of(
        {1: autoencoder.l1(0.1)}, [autoencoder.l1(0.1)], {0: autoencoder.l1(0.1)}, {2: autoencoder.l1(0.1)}, {1: 0.1}
    ),
    network=one_of(None, "net", 3, name="net"),
)

# gradcheck: in float64 alone

H_STEP = number(1e-5, 0, open_low=True)
POINT = array(X[0], alone=True, bad={"float32": X[0].astype(np.float32)})
row(
    "gradcheck.central_difference",
    lambda theta, h: gradcheck.central_difference(lambda t: quadratic(t)[0], theta, h),
    theta=POINT,
    h=H_STEP,
)
row(
    "gradcheck.complex_step",
    lambda theta, h: gradcheck.complex_step(lambda t: (t**3).sum(), theta, h),
    theta=POINT,
    h=H_STEP,
)
ANY = {"tied": (0, 1), "alone": True, "any_shape": True}
row("gradcheck.relative_error", gradcheck.relative_error, a=array(X, **ANY), b=array(X + 1, **ANY))
row("gradcheck.gradient_error", lambda theta: gradcheck.gradient_error(quadratic, theta), theta=POINT)
row(
    "gradcheck.taylor_slope",
    lambda **o: gradcheck.taylor_slope(quadratic, **o),
    theta=array(X[0], (0,)),
    direction=array(X[1], (0,)),
    h=number(0.01, 0, open_low=True),
)

# contrastive and patches

NOISE = contrastive.gaussian_like(X)
row(
    "contrastive.Gaussian.sample put together",
    lambda mean, axes, deviations: contrastive.Gaussian(mean, axes, deviations).sample(4, 0),
    mean=array(NOISE.mean, (0,), name="mean|axes|deviations"),
    axes=array(NOISE.axes, (0, 1), name="axes|deviations"),
    deviations=array(NOISE.deviations, (0,), bad={"negative": -NOISE.deviations, "zero": 0 * NOISE.deviations}),
)
row("contrastive.Gaussian.sample", NOISE.sample, N=count(4), rng=seed())
row("contrastive.Gaussian.log_density", NOISE.log_density, **NAMED_X)
row("contrastive.gaussian_like", contrastive.gaussian_like, x=array(X, alone=True))
row("contrastive.white", contrastive.white, x=array(X, alone=True))
row(
    "contrastive.against_noise",
    lambda noise, nu, x, rng: contrastive.against_noise(noise, nu, balanced=True)(x, rng),
    noise=one_of(NOISE, "gaussian", None, X, contrastive.gaussian_like),
    nu=count(2),
    x=array(X, (1,)),
    rng=seed(),
)
row(
    "contrastive.against_shuffled",
    lambda x, rng: contrastive.against_shuffled()(x, rng),
    x=array(X, alone=True),
    rng=seed(),
)
row("contrastive.shuffle_variables", contrastive.shuffle_variables, x=array(X, alone=True), rng=seed())
PIXELS = array(ROWS_OF_PIXELS, (1,), alone=True)
SHAPE = pair((4, 6), bad={"another image": (5, 5)}, name="shape|grid|block|x")
GRID = pair((2, 3), bad={"no divisors": (3, 4)})
row(
    "patches.shuffle_patches",
    lambda shape, grid, x, rng: patches.shuffle_patches(shape, grid)(x, rng),
    shape=SHAPE,
    grid=GRID,
    x=PIXELS,
    rng=seed(),
)
ORDERS = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 0, 3, 2, 5, 4]]
row(
    "patches.jigsaw",
    lambda shape, grid, permutations, gap, x, rng: patches.jigsaw(shape, grid, permutations, gap)(x, rng),
    shape=SHAPE,
    grid=GRID,
    permutations=integers(ORDERS, 6, (1,), bad={"no permutation": [[0, 1, 2, 3, 4, 4]]}),
    gap=count(0, low=0, bad={"no fit": 1}, name="gap|grid"),
    x=PIXELS,
    rng=seed(),
)
row("patches.normalise", patches.normalise, x=array(X, alone=True, any_shape=True), floor=number(0.1, 0, open_low=True))
row("patches.far_permutations", patches.far_permutations, P=count(4, 9), K=count(5, 24), rng=seed())

# autoregression

AR = autoregression.least_squares(SERIES, 2)
WINDOWS = autoregression.windows(SERIES, 3)
row("autoregression.windows", autoregression.windows, x=array(SERIES, alone=True, any_shape=True), length=count(3, 20))
row(
    "autoregression.next_value",
    lambda order, x: autoregression.next_value(order)(x, None),
    order=count(2, bad={"another": 3}, name="order|x"),
    x=array(WINDOWS, (1,), alone=True),
)
for fit in autoregression.least_squares, autoregression.yule_walker:
    row(f"autoregression.{fit.__name__}", fit, x=array(SERIES, alone=True), order=count(2, 9))
row("autoregression.LinearAR.__call__", AR, x=array(WINDOWS[:, 1:], (1,), alone=True))
row("autoregression.LinearAR.forecast_variance", AR.forecast_variance, steps=count(4))
row(
    "autoregression.forecast",
    lambda **o: autoregression.forecast(AR, **o),
    past=array(WINDOWS[:, 1:], (0, 1), name="past|shocks|x"),
    steps=count(4, bad={"another": 5}, name="steps|shocks"),
    shocks=array(np.ones((18, 4)), (0, 1), allowed={"None": "a forecast without noise"}),
)

# sampling

CHAINS = {"x": array(X, alone=True), "step": number(0.1, 0, open_low=True), "steps": count(3), "rng": seed()}
SIGMAS = array(
    [2.0, 1.0, 0.5], alone=True, bad={"rising": [1.0, 2.0], "equal": [1.0, 1.0], "zero": [1.0, 0.0], "negative": [-1.0]}
)
SIGMA = number(0.5, 0, open_low=True)
row("sampling.langevin", lambda **o: sampling.langevin(score_of, path=True, **o), **CHAINS)
row("sampling.mala", lambda **o: sampling.mala(density, path=True, **o), **CHAINS)
row("sampling.annealed", lambda **o: sampling.annealed(score_of, path=True, **o), sigmas=SIGMAS, **CHAINS)
row(
    "sampling.noise_conditional",
    lambda sigmas, x, rng: sampling.noise_conditional(sigmas)(x, rng),
    sigmas=SIGMAS,
    x=array(X, alone=True),
    rng=seed(),
)
row(
    "sampling.conditional_score",
    lambda x, sigma: sampling.conditional_score(MLP((4, 5, 3), rng=0, dtype="float64"))(x, sigma),
    x=array(X, (1,)),
    sigma=SIGMA,
)
row(
    "sampling.network_density",
    lambda x, network: sampling.network_density(network)(x),
    **NAMED_X,
    network=one_of(net(1), net(2), score_of, None, name="net"),
)

# words

VOCABULARY = words.vocabulary("a b a c d".split(), 5)
TOKENS = one_of("a c e".split(), "a c e", 3, None, [1, 2], [["a"]])
CONTEXTS = {"x": integers(TEXT[:, :2], 5, (1,))}
row("words.Vocabulary.encode", VOCABULARY.encode, tokens=TOKENS)
row("words.Vocabulary.decode", VOCABULARY.decode, numbers=integers([0, 3, 4], 5))
row(
    "words.vocabulary",
    lambda **o: words.vocabulary(**o).encode(list("abcd")),
    tokens=TOKENS._replace(bad=TOKENS.bad | {"none": []}),
    size=count(3, low=2),
)
row(
    "words.next_word",
    lambda context, x: words.next_word(context)(x, None),
    context=count(2, bad={"another": 3}, name="context|x"),
    x=integers(TEXT, tied=(1,)),
)
row(
    "words.WordMLP",
    lambda words_, context, dimension, **o: words.WordMLP(words_, context, dimension, **o).theta,
    words_=count(5, low=2, name="words"),
    context=count(2),
    dimension=count(3),
    hidden=one_of((4,), 4, None, "ab", (0,), (4.0,), name="hidden|sizes"),
    activation=one_of("tanh", "cubic", 3, ["tanh", "tanh"]),
    dtype=DTYPE,
    xp=XP,
    rng=seed(),
)
row(
    "words.WordMLP.theta",
    lambda theta: set_theta(word_net(), theta, TEXT[:, :2]),
    theta=array(word_net().theta + 1, (0,)),
)
row("words.WordMLP.forward", lambda x: word_net().forward(x), **CONTEXTS)
row("words.WordMLP.__call__", lambda x: word_net()(x), **CONTEXTS)
row("words.WordMLP.features", lambda x: word_net().features(x), **CONTEXTS)
row("words.WordMLP.workspace", lambda N: len(word_net().workspace(N).ones), N=count(4))
row(
    "words.WordMLP.backward",
    lambda delta, dP: word_net().backward(word_net().forward(TEXT[:, :2]), delta, {1: dP}),
    delta=array(np.ones((6, 5)), (0, 1)),
    dP=array(np.ones((6, 6)), (0, 1), name="penalties"),
)
row(
    "words.WordMLP.backward layers",
    lambda H, penalties: word_net().backward(H, np.ones((6, 5)), penalties),
    H=one_of(word_net().forward(TEXT[:, :2]), None, [], X, word_net().forward(TEXT[:, :2])[1:]),
    penalties=one_of({2: np.ones((6, 4))}, [1], {0: X}, {3: Y}, {2: X}),
)
row(
    "words.perplexity",
    lambda x, **o: words.perplexity(word_net(), x, **o),
    x=integers(TEXT, 5, (1,), name="x|target"),
    batch_size=count(4),
)
row(
    "words.generate",
    lambda start, **o: words.generate(word_net(), start, **o),
    start=integers(TEXT[:, :2], 5, (1,), name="start|x"),
    length=count(3),
    temperature=number(0.7, 0, open_low=True),
    top_k=count(3, 5)._replace(allowed={"None": "all words"}),
    rng=seed(),
)

# autoencoder and wiener

ALONE_X = {"x": array(X, alone=True)}
UNIT = number(0.3, 0, 1)
BLOCKS = integers([0, 0, 1], 3, (0,), name="blocks|x", allowed={"None": "each by itself"})
row("autoencoder.identity", lambda x: autoencoder.identity()(x, None), **ALONE_X)
row(
    "autoencoder.denoise",
    lambda sigma, x, rng: autoencoder.denoise(sigma)(x, rng),
    sigma=number(0.3, 0),
    **ALONE_X,
    rng=seed(),
)
row(
    "autoencoder.mask",
    lambda q, fill, blocks, x, rng: autoencoder.mask(q, fill, blocks, missing_only=True)(x, rng),
    q=UNIT,
    fill=number(0.5),
    blocks=BLOCKS,
    x=array(X, (1,), alone=True),
    rng=seed(),
)
row("autoencoder.image_blocks", autoencoder.image_blocks, shape=SHAPE, block=pair((2, 3), bad={"no divisor": (3, 3)}))
row(
    "autoencoder.greyscale",
    lambda luminance, x: autoencoder.greyscale(luminance)(x, None),
    luminance=array([0.3, 0.6, 0.1], alone=True),
    x=array(ROWS_OF_PIXELS, alone=True, bad={"no pixels": ROWS_OF_PIXELS[:, 1:]}),
)
row(
    "autoencoder.l1",
    lambda weight, H: autoencoder.l1(weight)(H),
    weight=number(0.3, 0),
    H=array(Y, alone=True, allowed=UNSEEN),
)
row(
    "autoencoder.kl_sparsity",
    lambda weight, rho, H: autoencoder.kl_sparsity(weight, rho)(H),
    weight=number(0.3, 0),
    rho=number(0.3, 0, 1, True, True),
    H=array(
        WEIGHT, alone=True, bad={"above 1": WEIGHT + 1, "zero": 0 * WEIGHT}, allowed={"entry nan": UNSEEN["entry nan"]}
    ),
)
row("autoencoder.score", lambda x, sigma: autoencoder.score(score_of, x, sigma), x=array(X, alone=True), sigma=SIGMA)
C = array(
    SPD,
    (0, 1),
    alone=True,
    bad={"zero": 0 * SPD, "indefinite": SPD - np.eye(3), "not symmetric": SPD + np.triu(SPD), "not square": SPD[:2]},
)
row("wiener.denoising", wiener.denoising, C=C, sigma=SIGMA)
row("wiener.masking", wiener.masking, C=C._replace(name="C|blocks"), q=number(0.3, 0, 1, open_low=True), blocks=BLOCKS)

# pca

FOUND = pca.by_svd(X, 2)
row("pca.PCA.encode", FOUND.encode, **NAMED_X)
row("pca.PCA.decode", FOUND.decode, s=array(Y, (1,)))
row("pca.by_svd", pca.by_svd, x=array(X, alone=True, bad={"one sample": X[:1]}), m=count(2, 3))
row(
    "pca.by_variance",
    pca.by_variance,
    1e-4,
    x=array(X, alone=True, bad={"one sample": X[:1]}),
    m=count(2, 3),
    rng=seed(),
)
row(
    "pca.by_reconstruction",
    pca.by_reconstruction,
    1e-3,
    x=array(X, alone=True, bad={"one sample": X[:1]}),
    m=count(2, 3),
    rng=seed(),
)

# densities and nce

THETA = np.array([1.0, 0.1, 0.2, 1.5, 0.3, 0.8, 0.1, -0.2, 0.3, -2.0])  # a Gaussian in three dimensions
ICA = np.append(SPD.ravel(), -1.0)


def both(model):
    """ln p_m and sum of g."""
    log_p, product = model
    return log_p, product(np.ones(len(log_p)))


row(
    "densities.gaussian",
    lambda theta, x: both(densities.gaussian(theta, x)),
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "densities.gaussian_theta",
    densities.gaussian_theta,
    mean=array(X[0], (0,), name="mean|covariance"),
    covariance=array(SPD, (0, 1), bad={"indefinite": -SPD, "not symmetric": SPD + np.triu(SPD)}),
)
row("densities.logcosh", densities.logcosh, u=array(X, alone=True, any_shape=True, allowed=ELEMENTWISE))
row("densities.laplace", densities.laplace, u=array(X, alone=True, any_shape=True, allowed=ELEMENTWISE))
row(
    "densities.ica",
    lambda theta, x: both(densities.ica(theta, x)),
    theta=array(ICA, (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "densities.ica_likelihood",
    lambda B, x: densities.ica_likelihood(x)(B),
    B=array(SPD.ravel(), (0,), bad={"singular": np.ones(9)}),
    x=array(X, (1,), name="x|B"),
)
row(
    "densities.energy",
    lambda theta, x, network: both(densities.energy(network)(theta, x)),
    theta=array(net(1).theta, (0,)),
    x=array(X, (1,)),
    network=one_of(net(1), net(2), score_of, None, name="net"),
)
NODES = {"weights": array(np.full(7, 1 / 7), (0,), bad={"negative": -np.ones(7) / 7, "another sum": np.ones(7)})}
NU = number(2.0, 0, open_low=True)
row(
    "nce.objective",
    lambda theta, x, y: nce.objective(densities.gaussian, x, y, NOISE)(theta),
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|y"),
    y=array(X[:5], (1,)),
)
row(
    "nce.estimate",
    lambda theta, x, **o: nce.estimate(densities.gaussian, theta, x, NOISE, **o),
    1e-4,
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|y|theta"),
    nu=count(2),
    rng=seed(),
    iterations=count(5),
    tolerance=number(1e-3, 0),
)
row(
    "nce.derivatives",
    lambda **o: nce.derivatives(densities.gaussian, **o),
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|theta"),
)
MODEL = {
    "theta": array(THETA, (0,), name="theta|x"),
    "x": array(np.vstack([X, X[::-1] ** 2]), (1,), name="x|theta|weights"),
    "nu": NU,
}
row("nce.asymptotic_covariance", lambda **o: nce.asymptotic_covariance(densities.gaussian, noise=NOISE, **o), **MODEL)
row(
    "nce.optimal_noise",
    lambda theta, x, nu, weights, **o: nce.optimal_noise(densities.gaussian, theta, x, nu, weights, **o),
    theta=array([1.0, 0.1, -1.0], (0,)),
    x=array(X[:, :1], (0, 1), name="x|theta|weights"),
    nu=NU,
    **NODES,
    iterations=count(5),
    tolerance=number(1e-9, 0),
)

# downstream

LABELLED = {"features": array(X, (0,), alone=True, name="features|labels"), "labels": integers(LABELS, 7, (0,))}
LABELLED["labels"].bad.update({"one class": np.zeros(7, int), "a class left out": np.array([0, 2, 0, 2, 0, 2, 0])})
L2 = number(0.1, 0, open_low=True)
PROBE = downstream.probe(X, LABELS, 0.1)
row(
    "downstream.objective",
    lambda theta, l2: downstream.objective(X, LABELS, l2)(theta),
    theta=array(np.ones(12), (0,)),
    l2=L2,
)
row("downstream.probe", downstream.probe, 1e-3, **LABELLED, l2=L2, tolerance=number(1e-5, 0), iterations=count(100))
row(
    "downstream.choose_l2",
    downstream.choose_l2,
    1e-2,
    **LABELLED,
    candidates=one_of((0.1, 1.0), (), 0.1, None, (0.1, 0), (-1.0,), (np.nan,), ("a",), name="candidates|l2"),
    folds=count(2, 7, low=2),
    rng=seed(),
    tolerance=number(1e-4, 0),
)
row("downstream.Probe.logits", PROBE.logits, features=array(X, (1,)))
row("downstream.Probe.predict", PROBE.predict, features=array(X, (1,)))
row(
    "downstream.pooled_features",
    lambda images, **o: downstream.pooled_features(lambda q: q[:, :2] ** 2, images, **o),
    images=array(IMAGES, alone=True),
    window=pair((2, 3), bad={"too high": (5, 3), "too wide": (2, 7)}),
    grid=pair((1, 2), bad={"too many": (4, 1)}),
    block=count(2),
)
row("downstream.Whitening.__call__", downstream.whitening(X), q=array(X, (1,)))
row("downstream.whitening", downstream.whitening, x=array(X, alone=True), floor=number(0.1, 0, open_low=True))

# What has no row, and why
EXEMPT = {
    "backend": "the doors themselves: tests/test_backend.py",
    "pca_routes": "behind the door of pca.by_svd",
    "pca.reconstruction_error": "one step of pca.by_reconstruction, behind its door",
    "checkpoint": "paths and files: tests/test_checkpoint.py",
}


# What the table must hold


def outcome(name, changed=None, value=None):
    """What a call of the table does: ("gives", numbers) or ("refuses", error). Its arguments must stay as they are."""
    call, _, arguments = ROWS[name]
    values = {key: argument.value for key, argument in arguments.items()} | ({changed: value} if changed else {})
    before = {key: snapshot(v) for key, v in values.items()}
    try:
        result = "gives", numbers(call(**values))
    except (ValueError, TypeError) as error:
        result = "refuses", error
    assert {key: snapshot(v) for key, v in values.items()} == before, "an argument was modified"
    return result


def snapshot(value):
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value) if isinstance(value, (list, tuple, int, float, str)) else id(value)


def numbers(result):
    """All arrays and numbers of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in numbers(part)]
    return [] if result is None or isinstance(result, (str, bool)) else [np.asarray(result)]


def same(a, b, rtol):
    return len(a) == len(b) and all(np.allclose(u, v, rtol=rtol, atol=1e-9) for u, v in zip(a, b, strict=True))


def refused(name, key, what, error):
    """Whether an error names the argument, or either of two that do not agree, and says what was expected."""
    arguments = ROWS[name].arguments
    either = arguments if what.startswith(("axis", "mixed")) else [key]
    names = "|".join(arguments[k].name or k for k in either)
    return type(error) in (ValueError, TypeError) and re.match(
        f"({names}): .*(expected|call|cut)", str(error), re.DOTALL
    )


CASES = [(name, key) for name, row in ROWS.items() for key in row.arguments]
ARRAYS = [(name, key) for name, key in CASES if ROWS[name].arguments[key].kind in ("array", "alone")]


@pytest.mark.parametrize("name", ROWS)
def test_the_calls_of_the_table_work(name):
    verdict, result = outcome(name)
    assert verdict == "gives", result
    assert all(np.isfinite(a).all() for a in result)


@pytest.mark.parametrize(("name", "key"), CASES)
def test_the_same_numbers_in_another_form_give_the_same_result(name, key):
    argument, expected = ROWS[name].arguments[key], outcome(name)[1]
    for form, change in argument.forms.items():
        verdict, result = outcome(name, key, change(argument.value))
        assert verdict == "gives", (form, result)
        assert same(result, expected, ROWS[name].rtol), form


def test_a_data_frame_is_an_array():
    pandas = pytest.importorskip("pandas")
    for name, key in CASES:
        value = ROWS[name].arguments[key].value
        if ROWS[name].arguments[key].kind in ("array", "alone", "integers") and value.ndim < 3:
            frame = pandas.Series(value) if value.ndim == 1 else pandas.DataFrame(value)
            verdict, result = outcome(name, key, frame)
            assert verdict == "gives", (name, key, result)
            assert same(result, outcome(name)[1], ROWS[name].rtol), (name, key)


@pytest.mark.parametrize(("name", "key"), ARRAYS)
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_whole_numbers_are_the_floats_that_they_stand_for(name, key, dtype):
    whole = np.round(3 * abs(ROWS[name].arguments[key].value)).astype(dtype)
    verdict, expected = outcome(name, key, whole.astype(float))
    again, result = outcome(name, key, whole)
    assert again == verdict, (expected, result)
    assert same(result, expected, ROWS[name].rtol) if verdict == "gives" else refused(name, key, dtype, result)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("name", "key"), CASES)
def test_what_is_unfit_is_refused_by_name(name, key):
    argument = ROWS[name].arguments[key]
    for what, value in argument.bad.items():
        verdict, result = outcome(name, key, value)
        if what in argument.allowed:
            assert verdict == "gives", (what, result)
        else:
            assert verdict == "refuses", (what, result)
            assert refused(name, key, what, result), (what, result)


@pytest.mark.parametrize(("name", "key"), [case for case in ARRAYS if ROWS[case[0]].arguments[case[1]].kind == "alone"])
def test_single_precision_is_as_good_where_no_other_dtype_is_given(name, key):
    """Or refused: gradient checks are in float64. Noise differs from one precision to the other."""
    verdict, result = outcome(name, key, ROWS[name].arguments[key].value.astype(np.float32))
    if verdict == "gives":
        assert "rng" in ROWS[name].arguments or same(result, outcome(name)[1], max(2e-3, ROWS[name].rtol))
        assert all(np.isfinite(a).all() for a in result)
    else:
        assert refused(name, key, "mixed dtype", result)


@pytest.mark.parametrize(("name", "key"), ARRAYS)
def test_one_sample_and_one_feature_work_or_are_refused(name, key):
    value = ROWS[name].arguments[key].value
    for axis in range(value.ndim):
        verdict, result = outcome(name, key, value.take([0], axis))
        if verdict == "gives":
            assert all(np.isfinite(a).all() for a in result), axis
        else:
            assert refused(name, key, "axis", result), (axis, result)


# Anything at all

FLOATS = st.floats(-100, 100, width=16) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e-30])
ANY_SHAPE = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
ANY_ARRAY = st.one_of(
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.float16, np.longdouble]), ANY_SHAPE, elements=FLOATS),
    hnp.arrays(hnp.integer_dtypes() | hnp.boolean_dtypes() | hnp.complex_number_dtypes(), ANY_SHAPE),
    hnp.arrays(hnp.unicode_string_dtypes() | hnp.datetime64_dtypes() | st.just(object), ANY_SHAPE),
)
ANY_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), FLOATS, st.text(max_size=3), st.complex_numbers())
ANYTHING = ANY_ARRAY | ANY_SCALAR | st.lists(ANY_SCALAR, max_size=3) | st.tuples(ANY_SCALAR, ANY_SCALAR)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_comes_is_computed_with_or_refused(name, data):
    """Finite numbers, or an error that says of one of the arguments what was expected."""
    key = data.draw(st.sampled_from(sorted(ROWS[name].arguments)))
    value = data.draw(ANYTHING)
    try:
        verdict, result = outcome(name, key, value)
    except FloatingPointError:
        return
    if verdict == "refuses":
        assert refused(name, key, "mixed", result), result
    elif not ROWS[name].arguments[key].allowed:
        assert all(np.isfinite(a).all() for a in result)


# Nothing is left out


def public_names():
    """Every public function, method, property that can be set, and class with a constructor of its own."""
    for module in pkgutil.iter_modules(minissl.__path__):
        for name, item in vars(importlib.import_module(f"minissl.{module.name}")).items():
            if name.startswith("_") or getattr(item, "__module__", None) != f"minissl.{module.name}":
                continue
            if inspect.isfunction(item) or "__init__" in vars(item):
                yield f"{module.name}.{name}"
            for method, what in vars(item).items() if inspect.isclass(item) else ():
                written_here = inspect.isfunction(what) and what.__module__ == item.__module__
                if (written_here or getattr(what, "fset", None)) and (method == "__call__" or method[0] != "_"):
                    yield f"{module.name}.{name}.{method}"


def test_every_public_function_has_a_row():
    rows = {name.split(" ")[0] for name in ROWS}
    missing = [n for n in public_names() if n not in rows and n not in EXEMPT and n.split(".")[0] not in EXEMPT]
    assert missing == []
    assert rows <= set(public_names())
