"""The one training loop: supervised learning of pairs that a pretext task invents.

    symbol          in code         meaning
    x               x               data, one sample per row; the only thing that is given
    task            task            (batch of x, rng) → (input, target) or (input, target, weight)
    N               len(x)          number of samples
    f(· ; θ)        net             the network; its parameters θ are net.theta
    loss            loss            (output, target[, weight]) → (value, gradient in the output)
    Pₗ              penalties[l]    penalty of hidden layer l: Hₗ → (value, gradient in Hₗ)
    Hₗ              H[l]            hidden layer l [mlp.1]
    J               value           the objective: mean loss plus penalties
    step            optimizer       gradient → change of θ; `schedule` gives a factor of its learning rate

Self-supervised learning has only x. A *pretext task* invents an (input, target) pair from it, and the rest is
supervised learning: minimise over the parameters

    [training.1]   J(θ) = E loss(f(input; θ), target) + Σₗ E Pₗ(Hₗ),      (input, target) = task(x)

E is the mean over the data *and* over everything random in the task; as a rule it cannot be computed. But one batch of
samples, each with its own pair, has a mean loss whose expectation is J, and whose gradient has the expectation ∂J/∂θ
(derivative and mean may be exchanged). A step against that gradient is right on average, and costs one batch:
*stochastic gradient descent*. For this, loss and penalty must be means over samples. The penalty on mean activations
[autoencoder.5] is not, nor are the losses that compare samples (tasks/views.py, tasks/noncontrastive.py): with these, J
is the mean over batches of one size.

    [training.2]   in every epoch: put the N samples in a new random order, cut it into batches; for each batch
                   draw a new pair, then θ ← θ + step(gradient of the batch's mean)

So corruption and noise are never the same twice. A task, a loss or a penalty is any function of the form above, so you
can write your own.

>>> import numpy as np
>>> from minissl.nn.mlp import MLP
>>> from minissl.nn.losses import squared_error
>>> x = np.random.default_rng(0).standard_normal((200, 1)) * [1.0, 2.0, 3.0]  # rows: a random number times (1, 2, 3)
>>> net = MLP((3, 1, 3), activation="identity", rng=0, dtype="float64")
>>> losses = train(net, x, lambda x, rng: (x, x), squared_error, epochs=100, optimizer=Adam(0.01), rng=0)
>>> print(f"{losses[0]:.0f} → {losses[-1]:.2f}")
13 → 0.00

Source: Bottou, Curtis & Nocedal, SIAM Review 60 (2018), sections 1 to 4.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minissl._arrays import Array, Loss, Penalty, Task
from minissl._checks import (
    NonFiniteError,
    check_batch,
    check_callable,
    check_count,
    check_data,
    check_finite,
    check_hidden_layer,
    check_network,
    check_number,
    check_pair_of_arrays,
    check_parts,
    check_rng,
    check_scalar,
    check_slope,
    check_two,
)
from minissl.nn import checkpoint as checkpoints
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam
from minissl.nn.schedules import constant


def objective(net: MLP, pair: tuple, loss: Loss, penalties: dict[int, Penalty] | None = None) -> Callable:
    """J [training.1] on fixed data as a function of θ: theta -> (value, gradient), for `lbfgs` and gradient checks.

    `pair` is (input, target) or (input, target, weight), as a task returns it. The network itself stays as it is.
    """
    check_network(net, "net")
    check_callable(loss, "loss")
    input, *target = check_pair_of_arrays(pair)
    input = net.check_input(input)

    @np.errstate(under="ignore")
    def J(theta):
        return _loss_and_gradient(net.at(theta), input, target, loss, penalties)

    return J


def _loss_and_gradient(net, input, target, loss, penalties):
    """J [training.1] on one batch, and its gradient in θ."""
    H = net._forward(input)
    value, delta = check_two(loss(H[-1], *target), "loss")
    check_scalar(value, "loss")
    check_slope(delta, H[-1], "loss")
    dP = {}
    for l, penalty in (penalties or {}).items():
        check_hidden_layer(l, H)
        cost, slope = check_two(penalty(H[l]), "penalties")
        dP[l] = check_slope(slope, H[l], "penalties")
        value = value + check_scalar(cost, "penalties")  # [training.1] loss + Σₗ Pₗ(Hₗ)
    if not math.isfinite(value):
        raise NonFiniteError(f"loss: became {float(value)}")
    gradient, _ = net._backward(H, delta, dP)
    return value, gradient


def train(net: MLP, x: Array, task: Task, loss: Loss, *, epochs: int, **options) -> list[float]:
    """Train a network on a pretext task [training.2]; the mean loss of each epoch. Options as in `train_epochs`."""
    return list(train_epochs(net, x, task, loss, epochs=epochs, **options))


def train_epochs(
    net: MLP,
    x: Array,
    task: Task,
    loss: Loss,
    *,
    epochs: int,
    batch_size: int = 128,
    optimizer: Adam | SGD | None = None,
    schedule: Callable[[float], float] = constant,
    penalties: dict[int, Penalty] | None = None,
    rng=None,
    checkpoint=None,
) -> Iterator[float]:
    """Train; after each epoch yield its mean loss, penalties included, each batch measured before its own step.

    A generator: it trains only while it is iterated over, as `train` does. The network is trained in place: whenever
    the loop stops (at the end, by `break`, Ctrl-C or an error), `net.theta` is that of the last step. x has one sample
    per row, (N, …).

    optimizer   default Adam(); it remembers this network's gradients, so it must not have served another network
    schedule    share of the training done, in [0, 1) -> factor of the learning rate: see `schedules`
    penalties   {l: penalty of hidden layer l}
    rng         seed or Generator, for the order of the samples and everything random in the task
    checkpoint  a file to save to before the first epoch and after each. If it exists, training resumes after the last
                epoch saved there (only later ones are yielded; there may be none), with the random state of the file,
                and ends with the same parameters, to the bit, as if it had never been interrupted
                (on a GPU to rounding for an `EmbeddingMLP`, which adds in any order there).

    FloatingPointError if output, loss, gradient or step stops being finite; `net.theta` keeps its last finite value.
    FileNotFoundError if the directory of `checkpoint` does not exist.
    """
    epochs, batch_size, rng = check_count(epochs, "epochs"), check_count(batch_size, "batch_size"), check_rng(rng)
    optimizer = Adam() if optimizer is None else optimizer
    check_parts(net, task, loss, optimizer, schedule, penalties)
    x = check_data(x, net.theta)
    checkpoint = None if checkpoint is None else checkpoints.located(checkpoint)
    return _epochs(net, x, task, loss, epochs, batch_size, optimizer, schedule, penalties, rng, checkpoint)


def _epochs(net, x, task, loss, epochs, batch_size, optimizer, schedule, penalties, rng, checkpoint):
    done = 0 if checkpoint is None else checkpoints.resume(checkpoint, net, optimizer, rng, x, epochs)
    step = partial(_step, net, task, loss, optimizer, penalties, rng)
    for epoch in range(done, epochs):
        order = np.asarray(rng.permutation(len(x)), like=x)
        batches = [order[start : start + batch_size] for start in range(0, len(x), batch_size)]
        shares = [(epoch + k / len(batches)) / epochs for k in range(len(batches))]
        total = _epoch(step, x, batches, map(schedule, shares), epoch)
        if checkpoint is not None:
            checkpoints.save(checkpoint, net, optimizer, rng, epoch + 1, x)
        yield total / len(x)


@np.errstate(under="ignore")  # a tiny gradient squared is zero
def _epoch(step, x, batches, factors, epoch) -> float:
    """The steps of one epoch [training.2]; the sum of the losses of its samples."""
    total = 0.0
    for k, (rows, factor) in enumerate(zip(batches, factors, strict=True)):
        try:
            total += len(rows) * step(x[rows], factor)
        except FloatingPointError as error:
            raise NonFiniteError(
                f"{error} (in epoch {epoch + 1}, batch {k + 1}; the network keeps its last finite parameters. "
                "Try a smaller learning_rate, or scale the data to unit variance)"
            ) from None
    return total


def _step(net, task, loss, optimizer, penalties, rng, batch, factor) -> float:
    """One step of [training.2]; the loss of the batch before it."""
    if batch.dtype.kind in "biu":
        batch = batch.astype(net.input_dtype)  # floats for an MLP; words stay integers
    factor = check_number(factor, "schedule", low=0)
    input, target = check_batch(task(batch, rng), net)
    value, gradient = _loss_and_gradient(net, input, target, loss, penalties)
    theta = net.theta
    theta += check_finite(optimizer.step(gradient, factor), "step")  # [training.2] θ ← θ + step
    return float(value)
