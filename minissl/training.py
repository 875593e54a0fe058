"""The one training loop.

Self-supervised learning has only x. A *pretext task* invents an (input, target) pair from it, and the rest is
supervised learning: minimise over the parameters theta of the network f

    [training.1]   J(theta) = E loss(f(input; theta), target) + sum_l E P_l(H_l),      (input, target) = task(x)

by stochastic gradient descent: in every epoch the N samples are put in a new random order and cut into batches; for
each batch a new pair is drawn, so that corruption and noise are never the same twice, and theta takes a step along the
gradient of the batch's mean.

A task is any function (x, rng) -> (input, target), or (input, target, weight) where the loss takes weights. A loss is
any function (output, target, out=buffer) -> (value, gradient), a penalty any function (H_l) -> (value, gradient).
"""

import math

import numpy as np

from minissl import checkpoint as checkpoints
from minissl.backend import array, count, generator, namespace
from minissl.optimizers import Adam


def loss_and_gradient(net, input, target, loss, penalties=None, out=None):
    """J [training.1] on one batch, and its gradient.

    Parameters
    ----------
    net : MLP
    input : array_like, shape (N, n_0)
    target : tuple
        What the task returned after the input: (target,) or (target, weight).
    loss : callable
    penalties : dict of int to callable, optional
        Penalty P_l of hidden layer l.
    out : Workspace, optional
        Buffers of `net`.

    Returns
    -------
    value : scalar
    grad : ndarray, shape (P,)
    """
    H = net.forward(input, out=out)
    value, delta = loss(H[-1], *target, out=None if out is None else out.D[-1])
    slopes = {}
    for l, penalty in (penalties or {}).items():
        cost, slopes[l] = penalty(H[l])
        value = value + cost
    return value, net.backward(H, delta, slopes, out=out)


def objective(net, pair, loss, penalties=None):
    """J [training.1] on fixed data as a function of theta, for `lbfgs` and for gradient checks.

    Parameters
    ----------
    net : MLP
        Keeps its own parameters whatever theta is tried.
    pair : tuple
        (input, target) or (input, target, weight), as a task returns it.
    loss : callable
    penalties : dict of int to callable, optional

    Returns
    -------
    callable
        theta -> (value, gradient).
    """
    input, *target = pair

    def J(theta):
        own = net.theta.copy()
        net.theta[:] = array(theta, "theta", shape=own.shape, like=own)
        try:
            return loss_and_gradient(net, input, target, loss, penalties)
        finally:
            net.theta[:] = own

    return J


def train(net, x, task, loss, *, epochs, batch_size=128, optimizer=None, penalties=None, rng=None, checkpoint=None):
    """Train a network on a pretext task [training.1].

    Parameters
    ----------
    net : MLP
        Trained in place. Whenever the loop stops (end, `break`, Ctrl-C, error), `net.theta` is that of the last step.
    x : array_like, shape (N, ...)
        Data, one sample per row: the only thing that is given.
    task : callable
        (batch of x, rng) -> (input, target) or (input, target, weight).
    loss : callable
        `squared_error`, `logistic`, `softmax`.
    epochs : int
        Each uses every sample once, the last short batch included.
    batch_size : int
    optimizer : Adam or SGD, optional
        Default: `Adam()`.
    penalties : dict of int to callable, optional
        {l: penalty of hidden layer l}.
    rng : int, numpy.random.Generator or None
        Order of the samples and everything random in the task.
    checkpoint : path, optional
        File to save to after every epoch. If it exists, training resumes after the last epoch saved there, and ends
        with the same parameters, to the bit, as training that was never interrupted.

    Yields
    ------
    float
        Mean loss of each epoch, penalties included, measured while the parameters moved.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit; before the first epoch, where it can be known then.
    FloatingPointError
        If the loss or the step stops being finite. `net.theta` keeps its last finite value.
    """
    epochs, batch_size = count(epochs, "epochs"), count(batch_size, "batch_size")
    rng = generator(rng)
    optimizer = Adam() if optimizer is None else optimizer
    x = _data(x, net.theta)
    return _epochs(net, x, task, loss, epochs, batch_size, optimizer, penalties, rng, checkpoint)


def _epochs(net, x, task, loss, epochs, batch_size, optimizer, penalties, rng, checkpoint):
    done = 0
    if checkpoint is not None and checkpoints.exists(checkpoint):
        done = checkpoints.load(checkpoint, net, optimizer, rng)
    xp, workspaces = namespace(net.theta), {}
    for epoch in range(done + 1, epochs + 1):
        order = xp.asarray(rng.permutation(len(x)))
        total = 0.0
        for start in range(0, len(x), batch_size):
            batch = x[order[start : start + batch_size]]
            input, *target = task(batch, rng)
            where = f"in epoch {epoch}, batch {start // batch_size + 1}"
            if len(input) not in workspaces:
                _check_pair(net, input, target, loss, where)
                workspaces[len(input)] = net.workspace(len(input))
            value, grad = loss_and_gradient(net, input, target, loss, penalties, workspaces[len(input)])
            _finite(value, "loss", where)
            step = optimizer.step(grad)
            _finite(xp.dot(step, step), "step", where)
            xp.add(net.theta, step, out=net.theta)
            total += float(value) * len(batch)
        if checkpoint is not None:
            checkpoints.save(checkpoint, net, optimizer, rng, epoch)
        yield total / len(x)


def _data(x, theta):
    """`x` fit for training: of the library of theta, finite, and of its dtype unless it holds integers."""
    x = x if hasattr(x, "dtype") and hasattr(x, "reshape") else np.asarray(x)
    xp = namespace(x, theta)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x: got shape {x.shape}, expected at least one sample")
    if x.dtype.kind in "biu":
        return x
    if x.dtype != theta.dtype:
        raise TypeError(f"x: got dtype {x.dtype}, the network has {theta.dtype}; call x.astype('{theta.dtype}')")
    for start in range(0, len(x), 2**14):  # in blocks: x may be a view of windows, far larger than its memory
        if not xp.isfinite(x[start : start + 2**14]).all():
            raise ValueError(f"x: contains NaN or infinity after row {start}, expected finite numbers")
    return x


def _check_pair(net, input, target, loss, where):
    """The first batch of each size goes through the doors of network and loss, which name what is wrong with it."""
    output = net.forward(input)[-1]
    _finite(abs(output).max(), "output", where)
    loss(output, *target)


def _finite(value, name, where):
    if not math.isfinite(value):
        raise FloatingPointError(
            f"{name}: became {float(value)} {where}; the network keeps its last finite parameters. "
            "Try a smaller step_size, or scale the data to unit variance"
        )
