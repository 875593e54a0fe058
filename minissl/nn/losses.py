"""Losses: how far the network's output is from the target that the pretext task invented.

    symbol     meaning                                              shape
    Y          output of the network, one row per sample            (N, n)
    T          target of the same shape                             (N, n)
    c          target as a class, 0 .. n-1                          (N,)
    w          weight of each component (default 1)                 (N, n)
    delta      dJ/dY, what the network's backward pass starts from  (N, n)

Every loss is a **mean over samples of sums over components**, and returns (J, delta).

Squared error (regression: autoencoders, prediction of the future):

    [losses.1]   J = (1/N) sum_ij w_ij (Y_ij - T_ij)^2           delta_ij = (2/N) w_ij (Y_ij - T_ij)

Logistic loss (real against not real). With P(T = 1) = sigma(Y), sigma(y) = 1 / (1 + exp(-y)),

    -ln P(T) = -T ln sigma(Y) - (1 - T) ln(1 - sigma(Y)) = ln(1 + exp(Y)) - T Y,

since ln sigma(y) = y - ln(1 + e^y) and ln(1 - sigma(y)) = -ln(1 + e^y). The derivative of ln(1 + e^y) is sigma(y), so

    [losses.2]   J = (1/N) sum_ij w_ij [ln(1 + e^Y_ij) - T_ij Y_ij]   delta_ij = (1/N) w_ij (sigma(Y_ij) - T_ij)

Softmax loss (which of n classes). With P(c) = exp(Y_c) / sum_j exp(Y_j) and [c = j] = 1 where the class is j, else 0,

    [losses.3]   J = (1/N) sum_i [ln sum_j exp(Y_ij) - Y_ic_i]
                 delta_ij = (1/N) (exp(Y_ij)/sum_k exp(Y_ik) - [c_i = j])

In [losses.2] and [losses.3] delta is "prediction minus target" because each loss is the negative log-likelihood of the
model whose logits Y are. All three work from logits, never from probabilities, so that no exponential overflows and no
logarithm meets a zero.

Sources: Bishop, Pattern Recognition and Machine Learning (2006), sections 4.3.2, 4.3.4 and 5.2.
"""

from minissl.backend import array, integers, namespace


def sigmoid(z, out=None):
    """The logistic function sigma(z) = 1 / (1 + exp(-z)), as (1 + tanh(z / 2)) / 2, which cannot overflow.

    Parameters
    ----------
    z : array_like
        Of any shape. NaN stays NaN where it stands.
    out : ndarray, optional
        Array to fill; may be `z` itself. Who hands one in has checked `z` already.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `z` is not a floating array.
    """
    if out is None:
        z = array(z, "z", finite=False)
        out = namespace(z).empty_like(z)
    xp = namespace(z)
    xp.multiply(z, 0.5, out=out)
    xp.tanh(out, out=out)
    out += 1
    out *= 0.5
    return out


def squared_error(output, target, weight=None, out=None):
    """Squared error [losses.1]: mean over samples of the (weighted) sum of squares over components.

    Parameters
    ----------
    output, target : array_like, shape (N, n)
    weight : array_like, shape (N, n), optional
        Weight w >= 0 of each component; zero where nothing is to be predicted.
    out : ndarray, shape (N, n), optional
        Buffer for `delta`. Who hands one in has checked the values already: only shapes are checked then.

    Returns
    -------
    value : scalar
    delta : ndarray, shape (N, n)
        Gradient with respect to `output`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite floating array of the same shape and dtype as `output`.
    """
    output, target, weight = _checked(output, target, weight, out)
    xp = namespace(output)
    delta = xp.subtract(output, target, out=out)
    if weight is None:
        value = xp.vdot(delta, delta) / len(delta)  # [losses.1]
    else:
        value = xp.vdot(weight * delta, delta) / len(delta)
        delta *= weight
    delta *= 2 / len(delta)
    return value, delta


def logistic(output, target, weight=None, out=None):
    """Logistic loss [losses.2]: mean over samples of the (weighted) sum of negative log-likelihoods over components.

    Parameters
    ----------
    output : array_like, shape (N, n)
        Logits.
    target : array_like, shape (N, n)
        1 for real, 0 for not real; probabilities between them are allowed.
    weight : array_like, shape (N, n), optional
        Weight w >= 0 of each component.
    out : ndarray, shape (N, n), optional
        Buffer for `delta`; see `squared_error`.

    Returns
    -------
    value : scalar
        In nats.
    delta : ndarray, shape (N, n)
        Gradient with respect to `output`.

    Raises
    ------
    TypeError, ValueError
        As `squared_error`, and if a target lies outside [0, 1].
    """
    output, target, weight = _checked(output, target, weight, out)
    xp = namespace(output)
    if out is None and not ((target >= 0) & (target <= 1)).all():
        raise ValueError(f"target: got values from {target.min()} to {target.max()}, expected within [0, 1]")
    surprise = xp.logaddexp(0, output) - target * output
    delta = sigmoid(output, out=out)
    delta -= target
    if weight is not None:
        surprise *= weight
        delta *= weight
    delta /= len(delta)
    return surprise.sum() / len(delta), delta  # [losses.2]


def softmax(output, target, out=None):
    """Softmax loss [losses.3]: mean over samples of the negative log-likelihood of the right class.

    Parameters
    ----------
    output : array_like, shape (N, n)
        Logits.
    target : array_like of int, shape (N,)
        Class of each sample, 0 .. n-1.
    out : ndarray, shape (N, n), optional
        Buffer for `delta`; see `squared_error`.

    Returns
    -------
    value : scalar
        In nats.
    delta : ndarray, shape (N, n)
        Gradient with respect to `output`.

    Raises
    ------
    TypeError, ValueError
        If `output` is not a finite floating matrix, or `target` not one integer in 0 .. n-1 per sample.
    """
    if out is None:
        output = array(output, "output", ndim=2)
    xp = namespace(output, target)
    N, n = output.shape
    target = xp.asarray(integers(target, "target", low=0, high=n))
    if target.shape != (N,):
        raise ValueError(f"target: got shape {target.shape}, expected ({N},)")
    rows = xp.arange(N)
    delta = xp.subtract(output, output.max(axis=1, keepdims=True), out=out)
    chosen = delta[rows, target]
    xp.exp(delta, out=delta)
    total = delta.sum(axis=1, keepdims=True)
    value = (xp.log(total[:, 0]) - chosen).sum() / N  # [losses.3]
    delta /= total
    delta[rows, target] -= 1
    delta /= N
    return value, delta


def _checked(output, target, weight, out):
    if out is None:
        output = array(output, "output", ndim=2)
        target = array(target, "target", like=output)
        if weight is not None:
            weight = array(weight, "weight", like=output)
            if (weight < 0).any():
                raise ValueError(f"weight: got {weight.min()}, expected no negative weight")
    for name, a in (("target", target), ("weight", weight)):
        if a is not None and a.shape != output.shape:
            raise ValueError(f"{name}: got shape {a.shape}, expected {output.shape}, the output's")
    return output, target, weight
