"""nn/: losses, networks, optimizers, training, gradient checks."""

import numpy as np
from arguments import array, count, integers, number, one_of, seed, sizes

from calls.table import CONTEXTS, ELEMENTWISE, LABELS, NAMED_X, NON_FINITE, TEXT, WEIGHT, X, Y, row
from minissl.nn import gradcheck, losses, optimizers, schedules, training
from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.mlp import MLP
from minissl.tasks import autoencoder


def net(n_out=2, **options):
    return MLP((3, 4, n_out), "tanh", rng=0, dtype="float64", **options)


def word_net():
    return EmbeddingMLP(5, 2, 3, (4,), rng=0, dtype="float64")


def output_of(network):
    """For X, in as many columns as the network has: any sizes may come."""
    return network(np.resize(X, (7, network.sizes[0])).astype(network.theta.dtype))


def with_theta(network, theta, x):
    network.theta = theta
    return network(x), network.theta + 0


def quadratic(theta):
    return theta @ theta + (theta**4).sum(), 2 * theta + 4 * theta**3


def optimised(optimizer, g):
    return [optimizer.step(g).copy() for _ in range(2)]


# losses

for elementwise in (losses.sigmoid, losses.softplus):
    row(f"losses.{elementwise.__name__}", elementwise, y=array(X, alone=True, any_shape=True, allowed=ELEMENTWISE))
for loss, bad in (
    (losses.squared_error, {}),
    (losses.sigmoid_cross_entropy, {"above 1": WEIGHT + 1, "below 0": -WEIGHT}),
):
    row(
        f"losses.{loss.__name__}",
        loss,
        output=array(Y, (0, 1)),
        target=array(WEIGHT, (0, 1), bad=bad),
        weight=array(WEIGHT, (0, 1), bad={"negative": -WEIGHT}, allowed={"None": "weights of one"}),
    )
row(
    "losses.softmax_cross_entropy",
    losses.softmax_cross_entropy,
    output=array(X, (0,), alone=True),
    target=integers(LABELS, 3, (0,)),
)

# mlp

ACTIVATION = one_of(["tanh", "relu"], "cubic", None, 3, ["tanh"], ["tanh"] * 3, ["tanh", "cubic"], ["tanh", 1])
DTYPE = one_of("float32", "float16", "nonsense", int, object, None, "complex128", 32)
LIKE = one_of(np.ones(1), "cuda", 3, [1.0], np, allowed={"None": "NumPy"})
LAYER = one_of(1, 7, -4, "1", 1.5, None, [1])
row("mlp.MLP", lambda sizes, **o: output_of(MLP(sizes, **o)), sizes=sizes((3, 4, 2), (3,)), rng=seed())
row("mlp.MLP options", lambda **o: MLP((3, 4, 5, 2), rng=0, **o).theta, activation=ACTIVATION, dtype=DTYPE, like=LIKE)
row("mlp.MLP.theta", lambda theta: with_theta(net(), theta, X), theta=array(net().theta + 1, (0,)))
row("mlp.MLP.at", lambda theta: net().at(theta)(X), theta=array(net().theta + 1, (0,)))
row("mlp.MLP.forward", lambda x: net().forward(x), **NAMED_X)
row("mlp.MLP.__call__", lambda x: net()(x), **NAMED_X)
row("mlp.MLP.check_input", lambda x: net().check_input(x), **NAMED_X)
row("mlp.MLP.features", lambda x, layer: net().features(x, layer), **NAMED_X, layer=LAYER)
row(
    "mlp.MLP.views",
    lambda vector: net().views(vector),
    vector=one_of(net().theta, net().theta[1:], np.ones(99), 1.0, None, [1.0] * 26, "ab", np.ones((26, 1))),
)
row(
    "mlp.MLP.backward",
    lambda delta, dP, H: net().backward(H, delta, {1: dP}, input_gradient=True),
    delta=array(Y, (0, 1)),
    dP=array(np.ones((7, 4)), (0, 1), name="penalties"),
    H=one_of(net().forward(X), X, None, [], net().forward(X)[1:], [X, X, X], [X[:3], *net().forward(X)[1:]]),
)
row(
    "mlp.MLP.backward penalties",
    lambda penalties: net().backward(net().forward(X), Y, penalties),
    penalties=one_of({1: np.ones((7, 4))}, [1], "ab", {0: X}, {2: Y}, {"1": X}, {1: X}, 3),
)

# embedding

row(
    "embedding.EmbeddingMLP",
    lambda words_, context, dimension, **o: EmbeddingMLP(words_, context, dimension, **o).theta,
    words_=count(5, low=2, name="words"),
    context=count(2),
    dimension=count(3),
    hidden=sizes((4,), name="hidden|sizes"),
    activation=one_of("tanh", "cubic", 3, ["tanh", "tanh"]),
    dtype=DTYPE,
    like=LIKE,
    rng=seed(),
)
row(
    "embedding.EmbeddingMLP.theta",
    lambda theta: with_theta(word_net(), theta, TEXT[:, :2]),
    theta=array(word_net().theta + 1, (0,)),
)
row("embedding.EmbeddingMLP.forward", lambda x: word_net().forward(x), **CONTEXTS)
row("embedding.EmbeddingMLP.__call__", lambda x: word_net()(x), **CONTEXTS)
row("embedding.EmbeddingMLP.check_input", lambda x: word_net().check_input(x), **CONTEXTS)
row("embedding.EmbeddingMLP.features", lambda x: word_net().features(x), **CONTEXTS)
row(
    "embedding.EmbeddingMLP.backward",
    lambda delta, dP: word_net().backward(word_net().forward(TEXT[:, :2]), delta, {1: dP}),
    delta=array(np.ones((6, 5)), (0, 1)),
    dP=array(np.ones((6, 6)), (0, 1), name="penalties"),
)
row(
    "embedding.EmbeddingMLP.backward layers",
    lambda H, penalties: word_net().backward(H, np.ones((6, 5)), penalties),
    H=one_of(word_net().forward(TEXT[:, :2]), None, [], X, word_net().forward(TEXT[:, :2])[1:]),
    penalties=one_of({2: np.ones((6, 4))}, [1], {0: X}, {3: Y}, {2: X}),
)

# optimizers

RATE = number(0.1, 0, open_low=True)
DECAY = number(0.5, 0, 1, open_high=True)
row("optimizers.SGD", lambda **o: optimised(optimizers.SGD(**o), X[0]), learning_rate=RATE, momentum=DECAY)
row(
    "optimizers.Adam",
    lambda **o: optimised(optimizers.Adam(**o), X[0]),
    learning_rate=RATE,
    beta1=DECAY,
    beta2=DECAY,
    epsilon=number(1e-8, 0, open_low=True),
)
UNSEEN = dict.fromkeys(NON_FINITE, "training reports epoch and batch")
row("optimizers.SGD.step", lambda g: optimised(optimizers.SGD(), g), g=array(X[0], alone=True, allowed=UNSEEN))
row("optimizers.Adam.step", lambda g: optimised(optimizers.Adam(), g), g=array(X[0], alone=True))
OBJECTIVE = one_of(quadratic, None, "J", lambda t: t @ t, lambda t: (t[:1], t), lambda t: (0.0, t[1:]))
row(
    "optimizers.lbfgs",
    lambda objective, theta, **o: optimizers.lbfgs(objective, theta, warn=False, **o),
    objective=OBJECTIVE,
    theta=array([0.3, 0.2, 0.1], alone=True),
    iterations=count(50),
    tolerance=number(1e-10, 0),
)

# training

PAIR = {"input": array(X, (0, 1), name="x|target"), "target": array(Y, (0, 1))}
row(
    "training.objective",
    lambda network, loss, theta, input, target: training.objective(network, (input, target), loss)(theta),
    network=one_of(net(), None, "net", 3, name="net"),
    loss=one_of(losses.squared_error, "mse", None, lambda output, target: (np.ones(1), output), lambda *_: 0.0),
    theta=array(net().theta, (0,)),
    **PAIR,
)
row(
    "training.objective pair",
    lambda pair: training.objective(net(), pair, losses.squared_error)(net().theta),
    pair=one_of((X, Y), X, (X,), None, "ab", 3, (None, Y), name="pair|x|target"),
)


RECONSTRUCT = autoencoder.reconstruct()
PENALTY = autoencoder.l1(0.1)


def trained(x=X, task=RECONSTRUCT, loss=losses.squared_error, network=None, run=training.train, **options):
    network = net(3) if network is None else network
    options = {"epochs": 2, "batch_size": 3, "rng": 0} | options
    return list(run(network, x, task, loss, **options)), network.theta + 0


def returning(pair):
    return lambda x, rng: pair


TRAINING = {
    "x": array(X, (1,), bad={"text of the right shape": X.astype(str)}),
    "epochs": count(2),
    "batch_size": count(3),
    "rng": seed(),
    "task": one_of(RECONSTRUCT, "denoise", None, returning(None), returning(X[:3]), returning((X[:3],)), returning(3)),
    "loss": one_of(losses.squared_error, "mse", None, lambda output, target: (np.ones(1), output)),
    "optimizer": one_of(None, "adam", optimizers.Adam, 0.1),
    "schedule": one_of(schedules.linear, "linear", 0.5, None, lambda u: -1.0, lambda u: "a", lambda u: np.nan),
    "penalties": one_of({1: PENALTY}, [PENALTY], {0: PENALTY}, {2: PENALTY}, {1: 0.1}),
    "network": one_of(None, "net", 3, name="net"),
}
row("training.train", trained, **TRAINING)
row("training.train_epochs", lambda **o: trained(run=training.train_epochs, **o), **TRAINING)

# gradcheck: in float64 alone

H_STEP = number(1e-5, 0, open_low=True)
POINT = array(X[0], alone=True, bad={"float32": X[0].astype(np.float32)})
row(
    "gradcheck.central_difference",
    gradcheck.central_difference,
    f=one_of(lambda t: quadratic(t)[0], None, "f", 3),
    theta=POINT,
    h=H_STEP,
)
row(
    "gradcheck.complex_step",
    gradcheck.complex_step,
    f=one_of(lambda t: (t**3).sum(), None, "f", 3),
    theta=POINT,
    h=H_STEP,
)
ANY = {"tied": (0, 1), "alone": True, "any_shape": True}
row("gradcheck.relative_error", gradcheck.relative_error, a=array(X, **ANY), b=array(X + 1, **ANY))
row("gradcheck.gradient_error", gradcheck.gradient_error, objective=OBJECTIVE, theta=POINT)
row(
    "gradcheck.taylor_slope",
    gradcheck.taylor_slope,
    objective=OBJECTIVE,
    theta=array(X[0], (0,)),
    direction=array(X[1], (0,)),
    h=number(0.01, 0, open_low=True),
)
