"""The one training loop.

Self-supervised learning has only x. A *pretext task* invents an (input, target) pair from it, and the rest is
supervised learning: minimise over the parameters theta of the network f

    [training.1]   J(theta) = E loss(f(input; theta), target) + sum_l E P_l(H_l),      (input, target) = task(x)

by stochastic gradient descent: in every epoch the N samples are put in a new random order and cut into batches; for
each batch a new pair is drawn, so that corruption and noise are never the same twice, and theta takes a step along the
gradient of the batch's mean.

A task is any function (x, rng) -> (input, target), or (input, target, weight) where the loss takes weights. A loss is
any function (output, target, out=None) -> (value, gradient), where `out` is a buffer that it may fill with the gradient
or ignore; a penalty is any function (H_l) -> (value, gradient).
"""

import math

from minissl import checkpoint as checkpoints
from minissl.backend import array, count, generator, namespace, plain
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

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    H = net.forward(input, out=out)
    value, delta = loss(H[-1], *target, out=None if out is None else out.D[-1])
    slopes = {}
    for l, penalty in (penalties or {}).items():
        if l not in range(1, len(H) - 1):
            raise ValueError(f"penalties: got layer {l!r}, expected a hidden layer, 1 .. {len(H) - 2}")
        cost, slopes[l] = penalty(H[l])
        value = value + cost  # [training.1]
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

    Raises
    ------
    TypeError, ValueError
        If an argument or a theta that is tried is unfit.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) < 2:
        raise TypeError(f"pair: got {type(pair).__name__}, expected (input, target) or (input, target, weight)")
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
        File to save to before the first epoch and after every one. If it exists, training resumes after the last epoch
        saved there, and with the same arguments ends with the same parameters, to the bit, as training that was never
        interrupted (on a GPU to rounding, for a `WordMLP`: it adds in any order). A file of other data or of more
        epochs is refused; `load` takes its parameters all the same.

    Yields
    ------
    float
        Mean loss of each epoch, penalties included, measured while the parameters moved.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit; before the first epoch, where it can be known then.
    FileNotFoundError
        If the directory of `checkpoint` does not exist.
    FloatingPointError
        If the loss or the step stops being finite. `net.theta` keeps its last finite value.
    """
    epochs, batch_size = count(epochs, "epochs"), count(batch_size, "batch_size")
    rng = generator(rng)
    optimizer = Adam() if optimizer is None else optimizer
    _check_parts(net, task, loss, optimizer, penalties)
    x = _data(x, net.theta)
    checkpoint = None if checkpoint is None else checkpoints.located(checkpoint)
    return _epochs(net, x, task, loss, epochs, batch_size, optimizer, penalties, rng, checkpoint)


def _epochs(net, x, task, loss, epochs, batch_size, optimizer, penalties, rng, checkpoint):
    done = 0 if checkpoint is None else checkpoints.resume(checkpoint, net, optimizer, rng, x, epochs)
    xp, workspaces = namespace(net.theta), {}
    numeric = x.dtype.kind in "biu" and not hasattr(net, "embedding")  # integers, which are no words
    for epoch in range(done + 1, epochs + 1):
        order = xp.asarray(rng.permutation(len(x)))
        total = 0.0
        for start in range(0, len(x), batch_size):
            batch = x[order[start : start + batch_size]]
            pair = task(batch.astype(net.theta.dtype) if numeric else batch, rng)
            where = f"in epoch {epoch}, batch {start // batch_size + 1}"
            if not workspaces or len(pair[0]) not in workspaces:
                _check_pair(net, pair, loss, penalties, where)
                workspaces[len(pair[0])] = net.workspace(len(pair[0]))
            input, *target = pair
            value, grad = loss_and_gradient(net, input, target, loss, penalties, workspaces[len(input)])
            _finite(value, "loss", where)
            step = optimizer.step(grad)
            _finite(xp.dot(step, step), "step", where)
            xp.add(net.theta, step, out=net.theta)
            total += float(value) * len(batch)
        if checkpoint is not None:
            checkpoints.save(checkpoint, net, optimizer, rng, epoch, x)
        yield total / len(x)


def _check_parts(net, task, loss, optimizer, penalties):
    """What can be known of them before the first batch."""
    if not hasattr(net, "theta"):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")
    for name, function in (("task", task), ("loss", loss)):
        if not callable(function):
            raise TypeError(f"{name}: got {type(function).__name__}, expected a function")
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(f"optimizer: got {optimizer!r}, expected an optimizer, such as Adam()")
    if penalties is not None and not (isinstance(penalties, dict) and all(map(callable, penalties.values()))):
        raise TypeError(f"penalties: got {penalties!r}, expected a dict of hidden layers to functions")


def _data(x, theta):
    """`x` fit for training: of the library of theta, finite, and of its dtype unless it holds integers."""
    kept, xp = plain(x, "x", theta), namespace(theta)
    if kept.ndim == 0 or kept.size == 0:
        raise ValueError(f"x: got shape {kept.shape}, expected at least one sample")
    if kept.dtype.kind in "biu":
        return xp.asarray(kept)
    x = array(x, "x", like=theta, finite=False)
    for start in range(0, len(x), 2**14):  # in blocks: x may be a view of windows, far larger than its memory
        if not xp.isfinite(x[start : start + 2**14]).all():
            raise ValueError(f"x: contains NaN or infinity after row {start}, expected finite numbers")
    return x


def _check_pair(net, pair, loss, penalties, where):
    """The first batch of each size goes through the doors of network, loss and penalties, which name what is wrong."""
    xp = namespace(net.theta)
    if not isinstance(pair, (tuple, list)) or len(pair) < 2 or not all(isinstance(a, xp.ndarray) for a in pair):
        got = [type(a).__name__ for a in pair] if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise TypeError(f"task: returned {got}, expected (input, target) or (input, target, weight), all arrays")
    input, *target = pair
    x, *_, output = net.forward(input)
    if x is not input:
        raise TypeError(f"task: returned an input of dtype {input.dtype}, expected {x.dtype} as the network has")
    _finite(abs(output).max(), "output", where)
    loss_and_gradient(net, input, target, loss, penalties)


def _finite(value, name, where):
    if not math.isfinite(value):
        raise FloatingPointError(
            f"{name}: became {float(value)} {where}; the network keeps its last finite parameters. "
            "Try a smaller step_size, or scale the data to unit variance"
        )
