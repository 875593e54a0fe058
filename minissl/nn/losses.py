"""Losses: how far the network's output is from the target that the pretext task invented.

    symbol      in code        meaning                                             shape
    Y           output         output of the network, one row per sample           (N, n)
    T           target         target of the same shape                            (N, n)
    c           target         target as a class, 0 … n−1                          (N,)
    w           weight         weight of each component, 1 if not given            (N, n)
    P           –              what the network predicts, σ(Y) or softmax(Y)       (N, n)
    J           (returned)     the loss                                            number
    ∂J/∂Y       delta          where the network's backward pass starts            (N, n)
    [c = j]                    1 where c equals j, else 0

Every loss is a **mean over samples of sums over components**, and returns (J, ∂J/∂Y).

**Squared error**, for regression: autoencoders, prediction of the future. Since ∂(Y − T)²/∂Y = 2 (Y − T),

    [losses.1]   J = (1/N) Σᵢⱼ wᵢⱼ (Yᵢⱼ − Tᵢⱼ)²,      ∂J/∂Yᵢⱼ = (2/N) wᵢⱼ (Yᵢⱼ − Tᵢⱼ)

**Cross-entropy of a sigmoid**, for "real or not". The network says P(T = 1) = σ(Y), with σ(y) = 1/(1 + e⁻ʸ). Then
1 − σ(y) = 1/(1 + eʸ) and σ(y) = eʸ/(1 + eʸ), so that ln σ(y) = y − ln(1 + eʸ) and ln(1 − σ(y)) = −ln(1 + eʸ). The
negative log-likelihood of a target is therefore

    −ln P(T) = −T ln σ(Y) − (1 − T) ln(1 − σ(Y))
             = −T [Y − ln(1 + exp Y)] + (1 − T) ln(1 + exp Y)
             = ln(1 + exp Y) − T Y

The derivative of ln(1 + eʸ) is eʸ/(1 + eʸ) = σ(y), and T enters linearly:

    [losses.2]   J = (1/N) Σᵢⱼ wᵢⱼ [ln(1 + exp Yᵢⱼ) − Tᵢⱼ Yᵢⱼ],      ∂J/∂Yᵢⱼ = (1/N) wᵢⱼ (σ(Yᵢⱼ) − Tᵢⱼ)

**Cross-entropy of a softmax**, for "which of n classes". The network says P(c = j) = exp(Yⱼ)/Σₖ exp(Yₖ), hence
−ln P(c) = ln Σₖ exp(Yₖ) − Y_c. By the chain rule ∂/∂Yⱼ ln Σₖ exp(Yₖ) = exp(Yⱼ)/Σₖ exp(Yₖ), the softmax itself, and
∂Y_c/∂Yⱼ = [c = j]:

    [losses.3]   J = (1/N) Σᵢ [ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}],      ∂J/∂Yᵢⱼ = (1/N) (exp(Yᵢⱼ)/Σₖ exp(Yᵢₖ) − [cᵢ = j])

**Why "prediction minus target".** In all three, the loss of a sample is A(Y) − T·Y for some function A, up to terms
without Y (for classes T is *one-hot*, Tⱼ = [c = j]), and the prediction is the gradient of A: the softmax that of
ln Σₖ exp(Yₖ), σ(y) that of ln(1 + eʸ), and Y that of ½‖Y‖² (the squared error is twice this loss, hence its factor 2).
Such an output function is the inverse of what statistics calls the *canonical link*. That a loss is a negative
log-likelihood does not suffice: with P(T = 1) = Φ(Y), the normal distribution function, in place of σ(Y), it still is
one, but its gradient is not Φ(Y) − T.

The cross-entropies take logits, never probabilities, so that no exponential overflows and no logarithm meets a zero:
ln(1 + eʸ), which is called *softplus*, is computed as max(y, 0) + ln(1 + e^(−|y|)), and Σₖ exp(Yₖ) after the largest Yₖ
is subtracted, which changes no ratio.

>>> import numpy as np
>>> output = np.array([[0.0, np.log(3)]])
>>> J, delta = sigmoid_cross_entropy(output, target=np.array([[1.0, 0.0]]))
>>> print(J.round(4), "=", (np.log(2) + np.log(4)).round(4))  # −ln σ(0) − ln(1 − σ(ln 3)) = −ln ½ − ln ¼
2.0794 = 2.0794
>>> print(delta)  # σ(Y) − T
[[-0.5   0.75]]

Sources: Bishop, Pattern Recognition and Machine Learning (2006), sections 4.3.2, 4.3.4, 4.3.6 (canonical link) and 5.2.
"""

import numpy as np

from minissl._arrays import Array
from minissl._checks import check_array, check_classes, check_components, check_loss, check_probabilities


@np.errstate(under="ignore")  # even if the caller makes NumPy raise on underflow: such a number is zero beside the rest
def sigmoid(y: Array) -> Array:
    """σ(y) = 1/(1 + e⁻ʸ), elementwise, as ½(1 + tanh(y/2)), which cannot overflow: tanh(y/2) = (1 − e⁻ʸ)/(1 + e⁻ʸ)."""
    y = check_array(y, "y", finite=False)
    return 0.5 * (1 + np.tanh(0.5 * y))


@np.errstate(under="ignore")
def softplus(y: Array) -> Array:
    """ln(1 + eʸ), elementwise, as max(y, 0) + ln(1 + e^(−|y|)), which cannot overflow."""
    y = check_array(y, "y", finite=False)
    return np.maximum(y, 0) + np.log1p(np.exp(-np.abs(y)))


@np.errstate(under="ignore", invalid="ignore")  # check_loss sees what is invalid
def squared_error(output: Array, target: Array, weight: Array | None = None) -> tuple[float, Array]:
    """Mean over samples of the (weighted) sum of squares over components [losses.1]; its gradient in the output."""
    output, target, weight = check_components(output, target, weight)
    N = len(output)
    error = output - target
    weighted = error if weight is None else weight * error
    value = np.vdot(weighted, error) / N  # [losses.1] (1/N) Σ w (Y − T)²
    return check_loss(value, output, target, weight), 2 / N * weighted  # [losses.1] (2/N) w (Y − T)


@np.errstate(under="ignore", invalid="ignore")
def sigmoid_cross_entropy(output: Array, target: Array, weight: Array | None = None) -> tuple[float, Array]:
    """Mean over samples of the (weighted) sum of −ln P(T) over components [losses.2]; its gradient in the output.

    The output is a logit: P(T = 1) = σ(output). Targets may be probabilities between 0 and 1. The value is in nats.
    """
    output, target, weight = check_components(output, target, weight)
    check_probabilities(target, "target")
    N = len(output)
    surprise = softplus(output) - target * output  # [losses.2] ln(1 + exp Y) − T Y
    delta = sigmoid(output) - target  # [losses.2] σ(Y) − T
    if weight is not None:
        surprise = weight * surprise
        delta = weight * delta
    return check_loss(surprise.sum() / N, output, target, weight), delta / N


@np.errstate(under="ignore")
def softmax_cross_entropy(output: Array, target: Array) -> tuple[float, Array]:
    """Mean over samples of −ln P(c) [losses.3]; its gradient in the output.

    The output holds one logit for each class, (N, n); the target one class for each sample, integers (N,). In nats.
    """
    output = check_array(output, "output", ndim=2)
    target = check_classes(target, "target", output)
    N = len(output)
    rows = np.arange(N, like=output)
    Y = output - output.max(axis=1, keepdims=True)
    exp_Y = np.exp(Y)
    total = exp_Y.sum(axis=1, keepdims=True)
    value = (np.log(total[:, 0]) - Y[rows, target]).sum() / N  # [losses.3] ln Σₖ exp(Yₖ) − Y_c
    delta = exp_Y / (N * total)  # [losses.3] (1/N) (exp(Yⱼ)/Σₖ exp(Yₖ) − [c = j])
    delta[rows, target] -= 1 / N
    return value, delta
