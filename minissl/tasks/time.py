"""Time as the teacher: a network that can tell when something was observed, or what came before, has found the sources.

Nonlinear independent component analysis by classification. Without time it cannot be done: see goals/ica.py.

    symbol         in code       meaning                                                              shape
    xₜ             x             the series: what is observed at time t = 0 … N−1                     (N, n)
    sₜ             -             independent sources behind it, xₜ = f(sₜ)                            (N, n)
    f, g           -             the mixing, unknown and invertible; its inverse                      maps of ℝⁿ
    u              u, x[:, n:]   auxiliary variable: what else is known of xₜ                         (N,) or (N, d)
    K              K             number of segments, the values of u                                  integer ≥ 2
    yᵤ(x), y       output        logit for segment u; logit for "belong together"                     number
    yᵤ*, y*        -             the best one                                                         number
    h, W, b        (of a net)    features, the last hidden layer; weights and biases after it         (n,), (K, n), (K,)
    qₖ, q          -             sufficient statistic of source k; all of them                        function, (n,)
    λₖ(u), Λ       -             its modulation; the matrix λₖ(u) − λₖ(0), u = 1 … K−1                number, (K−1, n)
    q₀ₖ, Zₖ(u)     -             what does not depend on u; the normaliser                            function, number
    ψₖ, hₖ         -             learned functions: of feature k and u; feature k                     functions
    σₖ, ρₖ         -             standard deviation of a source or its innovation; autoregression     numbers
    x′, s′         -             the past: xₜ₋₁, sₜ₋₁                                                 (n,)
    z(x)           z             embedding of the present                                             (m,)
    ẑ(x′)          z_hat         its prediction from the past                                         (m,)
    β(x)           beta          a number for the present                                             number
    L, J           value         cross-entropies in nats: of the segments, of real and permuted       numbers
    I, H           -             mutual information; conditional entropy                              numbers
    aₖ, pₖ         -             √2/σₖ; density of a source by itself                                 number, function
    δᵢⱼ            dy            gradient of the loss in a logit yᵢⱼ                                  number

**Which segment?** (time-contrastive learning, TCL; Hyvärinen & Morioka 2016.) Cut a series that is not stationary into
K segments of equal length. The number of the segment goes along as one more column, and is to be found from x alone:

    [time.1]   data: rows (xₜ, uₜ),  uₜ = ⌊K t/N⌋;      input xₜ, target uₜ        (for the cross-entropy [losses.3])

*The best logits.* By Gibbs' inequality the mean cross-entropy is least where the softmax is P(u | x). Bayes' rule says
P(u | x) = p(x | u) P(u)/p(x), and a softmax remains the same if a number c(x) is added to all of its logits:

    [time.2]   yᵤ*(x) = ln p(x | u) + ln P(u) + c(x)      (theorem)

Here ln P(u) = −ln K. The loss at the optimum is H(u | x) = ln K − I(x; u); elsewhere it is larger, so that

    [time.3]   ln K − L ≤ I(x; u),  with equality for the best logits      (theorem)

*The model.* The sources are independent in each segment, of an exponential family that the segment modulates:

    [time.4]   x = f(s),    ln p(s | u) = Σₖ [λₖ(u) qₖ(sₖ) + q₀ₖ(sₖ) − ln Zₖ(u)]      (theorem's condition)
               Laplacian sources of standard deviation σₖ(u):  qₖ(s) = |s|,  λₖ = −√2/σₖ,  ln Zₖ = ln σₖ + ½ ln 2

A change of variables brings a Jacobian, ln p(x | u) = ln p(s | u) + ln |det ∂g/∂x| with s = g(x). It is the same for
all u, as the q₀ₖ are, and goes into c(x). What is left is linear in q:

    [time.5]   yᵤ* − y₀* = Σₖ [λₖ(u) − λₖ(0)] qₖ(sₖ) − Σₖ ln [Zₖ(u)/Zₖ(0)]      (theorem)

*The features.* Let the network have as many features as there are sources, y = W h(x) + b, and reach the optimum. Write
W̄ for the rows wᵤ − w₀, u = 1 … K−1. Then W̄ h(x) = Λ q(s) + const by [time.5]. Let Λ have rank n. For this there must
be K − 1 ≥ n segments besides the first, and the n modulations λₖ(u) − λₖ(0), as functions of u, must be linearly
independent. Then Λ⁺Λ is the identity, Λ⁺ = (ΛᵀΛ)⁻¹Λᵀ, and

    [time.6]   q(s) = A h(x) + const,    A = Λ⁺W̄, which is invertible      (theorem 1 of the paper)

For if vᵀA = 0, then vᵀq(s) = Σₖ vₖ qₖ(sₖ) would be constant, but its terms are independent and vary. So the features
are the sufficient statistics up to a linear map: |s| or s², without the sign of s. Linear ICA (goals/ica.py) finds that
map if the qₖ(sₖ) are independent over the whole series. They are if the λₖ(u) are independent for a random u (*the
modulations are independent*). In K segments correlations of about 1/√K remain; few segments spoil this step, too.
Where Λv = 0 for some v ≠ 0, as when K − 1 < n, the features q(s) + v c(x) have the same logits for every function c:
they are not identified.

**The common form** (generalised contrastive learning; Hyvärinen, Sasaki & Turner 2019). For any auxiliary variable u,
tell the pairs (x, u) from those in which u is another sample's. The noise has density p(x) p(u): by [noise.2],

    [time.7]   data (x, u) against (x, u of another row):    y* = ln p(x, u) − ln [p(x) p(u)] = ln p(x | u) − ln p(x)

With u a segment this is [time.2] for one class after another, c(x) = ln K − ln p(x). With u = xₜ₋₁ it is what follows.
The sources may have any ln p(s | u) = Σₖ ℓₖ(sₖ, u); let y = Σₖ ψₖ(hₖ(x), u). At the optimum each hₖ is an invertible
function of one source, if for each s there are u₀, u₁ … u₂ₙ with linearly independent ω(uⱼ) − ω(u₀), j = 1 … 2n, where
ω(u) holds ∂ℓₖ/∂sₖ and ∂²ℓₖ/∂sₖ², k = 1 … n (their theorem 1, for smooth ℓₖ). In [time.4] these differences are all in
the span of n vectors, one for each k: so TCL needs a theorem of its own, and linear ICA in the end.

**Real or permuted past?** (permutation-contrastive learning, PCL; Hyvärinen & Morioka 2017.) The series may be
stationary if its sources depend on their own past. Tell real pairs (xₜ, xₜ₋₁) from pairs whose past is of another time.
One network sees the N presents and, below them, the N pasts of a series x₀ … x_N. The target names for each present the
row of its real past, then that of its permuted one, π a random permutation; xᵢ, x′ᵢ are row i of presents and pasts:

    [time.8]   input = (x₁ … x_N, x₀ … x_N₋₁);    target of row i: N + i;    target of row N + i: N + π(i)

The network says three things of a row: z, ẑ and β, 2m + 1 outputs. Present and past are compared by components:

    [time.9]   yᵢⱼ = β(xᵢ) − Σₖ |zₖ(xᵢ) − ẑₖ(x′ⱼ)|,    J = 1/(2N) Σᵢ [ln(1 + e^(−yᵢᵢ)) + ln(1 + e^(y_{iπ(i)}))]

Let δᵢⱼ = ∂J/∂yᵢⱼ for the 2N pairs in use [losses.2]; d|v| = sign(v) dv. Each row is in two pairs:

    [time.10]   ∂J/∂β(xᵢ) = Σⱼ δᵢⱼ,    ∂J/∂zₖ(xᵢ) = −Σⱼ δᵢⱼ sign(zₖ(xᵢ) − ẑₖ(x′ⱼ)),
                ∂J/∂ẑₖ(x′ⱼ) = Σᵢ δᵢⱼ sign(zₖ(xᵢ) − ẑₖ(x′ⱼ))

*Why this critic.* Let sₖ = ρₖs′ₖ + eₖ with Laplacian innovations eₖ of standard deviation σₖ, independent over k and t.
In [time.7], x for s brings the same Jacobian to p(x | x′) and to p(x). With aₖ = √2/σₖ, and pₖ the density of sₖ,

    [time.11]   y* = ln p(x | x′) − ln p(x) = Σₖ [ln(aₖ/2) − aₖ |sₖ − ρₖs′ₖ| − ln pₖ(sₖ)]      (theorem)

It has the form [time.9] for zₖ = aₖsₖ, ẑₖ = aₖρₖs′ₖ, and all that depends on the present alone is β.

*Why the sources.* Let m = n, z be continuously differentiable in s, all ρₖ ≠ 0, and y = y* for all x, x′. Subtract the
equation for another past x″; β and pₖ are gone:

    Σₗ |zₗ(x) − ẑₗ(x′)| − Σₗ |zₗ(x) − ẑₗ(x″)| = Σₖ aₖ |sₖ − ρₖs′ₖ| − Σₖ aₖ |sₖ − ρₖs″ₖ|

For any x and k choose pasts such that |sₖ − ρₖs′ₖ| alone is zero on the right. To first order in ds, the difference
F(s + ds) + F(s − ds) − 2F(s) is 0 if F is differentiable, and 2|∇r·ds| if F = |r| and r(s) = 0. So it is 2aₖ|dsₖ| on
the right, and on the left 2Σₗ ±|∇zₗ·ds| over the terms that are zero there (− for those with x″). These are equal for
every ds. But functions |v·ds| are linearly independent if no two of the vectors v are parallel: each has its kink in
another plane, v·ds = 0. So some ∇zₗ is parallel to the axis of sₖ; one for each k, and there are only n. It has
|∂zₗ/∂sₖ| = aₖ, and by continuity the same l and the same sign for all x:

    [time.12]   zₗ(x) = ±aₖsₖ + const,  one l for each k      (theorem)

Order, sign and origin are lost, nothing else (the scale is that at which innovations have the density ½ e^(−|e|)); no
linear ICA is needed. For smooth densities, and y = Σₖ ψₖ(hₖ(x), hₖ(x′)) with functions ψₖ that are learned, the sources
come back up to order and an invertible function of each (theorem 1 of the paper), if for each source, with the density
p(s, s′) of s and its past, ∂² ln p(s, s′)/∂s∂s′ vanishes nowhere (*uniformly dependent*), and is not of the form
c α(s) α(s′) (*quasi-Gaussian*, as a Gaussian process is, and any invertible function of one).

>>> from minissl.nn.losses import softmax_cross_entropy
>>> from minissl.nn.mlp import MLP
>>> from minissl.nn.optimizers import lbfgs
>>> from minissl.nn.training import objective
>>> sigma = np.repeat([1.0, 2.0, 4.0], 20_000)[:, None]  # three segments of a Laplacian source, here not mixed
>>> s = sigma / 2**0.5 * np.random.default_rng(0).laplace(size=(60_000, 1))
>>> x, u = which_segment(3)(segments(s, 3), None)
>>> net = MLP((1, 3), rng=0, dtype="float64")  # logits that are linear in |s|
>>> best = lbfgs(objective(net, (abs(x), u), softmax_cross_entropy), net.theta, tolerance=1e-6)
>>> [W] = net.at(best.theta).weights
>>> print((W - W[:, :1]).round(1), (-(2**0.5) / np.array([1, 2, 4]) + 2**0.5).round(1))  # λ(u) − λ(0) = −√2/σ(u) + √2
[[0.  0.7 1.1]] [0.  0.7 1.1]

Sources: Hyvärinen & Morioka, NIPS (2016) and AISTATS (2017); Hyvärinen, Sasaki & Turner, AISTATS (2019). [time.12] with
its proof is this project's; it is made for the Laplacian density, whose kink the theorems for smooth densities exclude.
"""

import functools
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array, Task
from minissl._checks import check_array, check_count, check_pasts, check_rng, check_segments
from minissl.nn.losses import sigmoid_cross_entropy


def segments(x: Array, K: int) -> Array:
    """The series (N, n) with the number of its segment as one more column, (N, n + 1) [time.1]."""
    x = check_array(x, "x", ndim=2)
    K = check_count(K, "K", low=2, high=len(x))
    u = K * np.arange(len(x), like=x) // len(x)  # [time.1] ⌊K t/N⌋
    return np.concatenate([x, u[:, None].astype(x.dtype)], axis=1)


def which_segment(K: int) -> Task:
    """The task: rows of `segments(x, K)` -> (x, (N, n); its segment, (N,)) [time.1]. For `softmax_cross_entropy`."""
    return functools.partial(_which_segment, check_count(K, "K", low=2))


def _which_segment(K, x, rng):
    return check_segments(x, "x", K)


def permute_auxiliary(d: int) -> Callable:
    """A function (x, rng) -> rows (x, u) in which u, the last d columns, is another row's [time.7].

    For `against_shuffled(permute_auxiliary(d))` of tasks/shuffling.py, with `sigmoid_cross_entropy`.
    """
    return functools.partial(_permute_auxiliary, check_count(d, "d"))


def _permute_auxiliary(d, x, rng):
    x = check_array(x, "x", ndim=2)
    n = x.shape[1] - check_count(d, "d", high=x.shape[1] - 1)
    order = np.asarray(check_rng(rng).permutation(len(x)), like=x)
    return np.concatenate([x[:, :n], x[order, n:]], axis=1)  # [time.7] (x, u of another row)


def against_permuted_past() -> Task:
    """The task: `windows(x, 2)`, (N, 2, n) -> presents above pasts, (2N, n); rows of real and permuted pasts [time.8].

    For `permutation_contrastive`, and a network with 2m + 1 outputs.
    """
    return _against_permuted_past


def _against_permuted_past(x, rng):
    x = check_array(x, "x", shape=(None, 2, None))
    N = len(x)
    order = np.concatenate([np.arange(N), check_rng(rng).permutation(N)])
    return np.concatenate([x[:, 1], x[:, 0]]), np.asarray(N + order, like=x)  # [time.8] N + i,  N + π(i)


@np.errstate(under="ignore")
def permutation_contrastive(output: Array, target: Array) -> tuple[float, Array]:
    """Cross-entropy in nats of real against permuted pasts, by the critic [time.9]; its gradient in the output.

    `output`, (2N, 2m + 1), holds z, ẑ and β of each row; `target` is that of `against_permuted_past`.
    """
    output, target = check_pasts(output, target)
    N, m = len(output) // 2, output.shape[1] // 2
    presents, pasts = np.concatenate([output[:N], output[:N]]), output[target]  # of 2N pairs, the real ones first
    z, z_hat, beta = presents[:, :m], pasts[:, m:-1], presents[:, -1:]
    difference = z - z_hat
    y = beta - np.einsum("ik->i", abs(difference))[:, None]  # [time.9] β(x) − Σₖ |zₖ(x) − ẑₖ(x′)|
    value, dy = sigmoid_cross_entropy(y, (np.arange(2 * N, like=y) < N).astype(y.dtype)[:, None])
    pull = dy * np.sign(difference)
    delta = np.zeros_like(output)
    for pairs in (slice(None, N), slice(N, None)):  # in the real pairs, then in the others, each row comes once
        delta[:N, -1:] += dy[pairs]  # [time.10] Σⱼ δᵢⱼ
        delta[:N, :m] -= pull[pairs]  # [time.10] −Σⱼ δᵢⱼ sign(zₖ(xᵢ) − ẑₖ(x′ⱼ))
        delta[target[pairs], m:-1] += pull[pairs]  # [time.10] Σᵢ δᵢⱼ sign(zₖ(xᵢ) − ẑₖ(x′ⱼ))
    return value, delta
