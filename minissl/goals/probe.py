"""The linear probe: how good a representation is, measured by a linear classifier that is given few labels.

    symbol       in code             meaning                                                        shape
    H            features            features of the labelled samples, one sample per row           (N, m)
    c            labels              their classes, 0 … K−1                                         (N,)
    W, b         W, b                weights and intercepts of the probe, one row per class         (K, m), (K,)
    λ            l2                  strength of the penalty on W                                   number > 0
    Y            Y, logits           logits, one row per sample                                     (N, K)
    P            (in delta)          probabilities, Pᵢₖ = exp(Yᵢₖ)/Σₗ exp(Yᵢₗ)                      (N, K)
    T            (in delta)          Tᵢₖ = [cᵢ = k], 1 where sample i is of class k, else 0         (N, K)
    x            images              images, which need no label                                    (N, height, width)
    qₚ(x)        q                   window of x at place p, its n pixels in a row                  (n,)
    f(q)         f                   features of a window: a hidden layer of a network              (m,)
    G_g          rows, columns       region g of a grid over the places of an image                 set of p
    q̄, z          mean, -             mean of the windows; a whitened window                         (n,)
    C, d², U     -, variances, U     covariance of the windows (below: of H), eigenvalues, -vectors (n, n)
    ε            floor               floor of the variances, in units of their mean d̄²               number > 0

The lecture's first goal: train without labels on many samples, then let a simple classifier learn from few labels what
the features make easy. Its accuracy on samples that it has not seen is the measure of the features.

**The probe** is multinomial logistic regression (Bishop 2006, section 4.3.4): linear logits, the cross-entropy of
their softmax [losses.3], and a penalty on the weights, not on the intercepts:

    [probe.1]   Y = H Wᵀ + 1 bᵀ,    J(W, b) = (1/N) Σᵢ [ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}] + (λ/2) ‖W‖²,    ‖W‖² = Σₖⱼ Wₖⱼ²

By [losses.3] ∂J/∂Y = (P − T)/N. With dY = H dWᵀ + 1 dbᵀ, and a factor that crosses ⟨·,·⟩ as its transpose [mlp.2],

    [probe.2]   ∂J/∂W = (1/N) (P − T)ᵀ H + λ W,    ∂J/∂b = (1/N) (P − T)ᵀ 1

ln Σ exp is convex and Y is linear in (W, b), so J is convex: where the gradient is zero, J is least. The minimum is
attained because λ > 0 and each class occurs (else its intercept would go to −∞). All minima have the same W, since ‖W‖²
is strictly convex, and the same b up to a number added to all its components, which changes no probability. So every
start leads to the same J and W. That number is fixed by starting at b = 0: each row of P − T sums to zero, hence
Σₖ ∂J/∂bₖ = 0 and Σₖ bₖ stays 0. For the same reason [probe.2], set to zero and summed over k, says of the minimum

    [probe.3]   Σₖ Wₖⱼ = 0;    (1/N) Σᵢ Pᵢₖ = (1/N) Σᵢ Tᵢₖ        (theorem)

No weight is spent on what all classes share; and every class is predicted as often as it occurs (∂J/∂b = 0).

**How near to the minimum a search has come.** J − (λ/2)‖W‖² is convex, so its gradient is monotone: between (W, b),
where the search stopped, and (W*, b*), where ∂J = 0, ⟨∂J/∂W − λ (W − W*), W − W*⟩ + ⟨∂J/∂b, b − b*⟩ ≥ 0. So

    [probe.4]   λ ‖W − W*‖² ≤ ⟨∂J/∂W, W − W*⟩ + ⟨∂J/∂b, b − b*⟩        (theorem)

and where ∂J/∂b = 0, by Cauchy–Schwarz, ‖W − W*‖ ≤ ‖∂J/∂W‖/λ: the smaller λ is, the less a small gradient says of W.
So the search stops at a gradient of λ/100, but not above 10⁻⁵ nor below 10⁻⁸, unless it is given a tolerance.

**λ** is chosen on the labelled samples alone, by cross-validation over folds F (leave-one-out: N folds of one sample):

    [probe.5]   CV(λ) = (1/N) Σ_F Σᵢ∈F [ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}],    Y from the probe that was trained without F

**Features of an image** from a network trained on windows: it is applied to every window, and the results are averaged
over the regions of a grid (Coates, Ng & Lee 2011, section 3.2, who sum). Where in a region something is then matters
little:

    [probe.6]   f_g(x) = (1/|G_g|) Σₚ f(qₚ(x)),    p over the places in G_g

Neighbouring pixels say nearly the same. Whitening with the mean q̄ and the covariance C = U diag(d²) Uᵀ of unlabelled
windows takes that away: ZCA, by the symmetric root, which leaves every pixel in its place (Bell & Sejnowski 1997). The
floor ε, a share of the mean variance, keeps directions that hardly vary from being blown up to pure noise (Coates & Ng
2012); with ε = 0 the covariance of z would be I:

    [probe.7]   z = (q − q̄) U diag(d² + ε d̄²)^(−1/2) Uᵀ,    d̄² = (1/n) Σⱼ dⱼ²

>>> import numpy as np
>>> found = linear_probe([[1.0], [-1.0]], [0, 1], l2=1 / (2 * np.log(3)))  # worked by hand in the tests: W = ±½ ln 3
>>> print((found.W / np.log(3)).round(3).ravel(), found.converged)
[ 0.5 -0.5] True
>>> print(found.predict([[0.2], [-3.0]]))
[0 1]

**How the search is made fast; to be read second.** `lbfgs(objective(H, c, λ), zeros)` is the whole method. Three things
stand behind it, and the tests hold the result equal to it.

*Few samples.* At the minimum λ W = −(1/N) (P − T)ᵀ H: each row of W is a combination of samples. With an orthonormal
basis Q of what the samples span, shape (m, r), r = min(N, m),

    [probe.8]   W = V Qᵀ,    H Wᵀ = (H Q) Vᵀ,    ‖W‖² = ‖V‖²

so the features H Q, shape (N, r), have the same minimum; few labels make a small problem, however many features.

*Features of different scales.* Let μ be their means, C their covariance, sⱼ² = Cⱼⱼ/K + λ and S = diag(s). The search
moves V, shape (K, m), and a, shape (K,), in

    [probe.9]   W = V S⁻¹,    b = √K a − W μ,    ∂J/∂V = (∂J/∂W − ∂J/∂b μᵀ) S⁻¹,    ∂J/∂a = √K ∂J/∂b

(the chain rule with dW = dV S⁻¹ and db = √K da − dV S⁻¹ μ). J and its minimum stay as they are, whatever μ and s are;
these make all features alike where the search starts, at zero. There P = 1/K, and the Hessian of ln Σ exp in Y is
(I − 11ᵀ/K)/K, which is I/K for steps with Σₖ dVₖⱼ = Σₖ daₖ = 0, as all from zero are. They move the logits by
dYᵢ = dV S⁻¹ (hᵢ − μ) + √K da, and the mean of hᵢ − μ is zero, so that no term mixes dV with da:

    d²J = (1/N) Σᵢ ‖dYᵢ‖²/K + λ ‖dV S⁻¹‖²
    [probe.10]  d²J = tr(dV R dVᵀ) + ‖da‖²,    R = S⁻¹ (C/K + λ I) S⁻¹,    Rⱼⱼ = 1        (theorem)

The curvature is 1 along each feature, whatever its scale. On the 13 raw features of the wine data, of standard
deviations from 0.1 to 300, at λ = 10⁻³, L-BFGS on W has not found the minimum after 3,000 steps; on V, after 50.

*Many samples* are taken in blocks that stay in the cache, as a matrix (K, samples) in the dtype of the features: 1.4 to
2 times as fast as `objective`, up to 4 times in float32. Where rounding ends the search there, it goes on in float64.

Sources: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4; Coates, Ng & Lee, AISTATS (2011);
Coates & Ng, "Learning feature representations with k-means" (2012); Bell & Sejnowski, Vision Research 37 (1997).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minissl._arrays import Array, on_host
from minissl._checks import (
    check_array,
    check_callable,
    check_count,
    check_labelled,
    check_number,
    check_pair,
    check_rng,
    check_varied,
)
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.optimizers import Minimum, lbfgs

ROWS = 1000  # samples in a block


class Probe(NamedTuple):
    """A linear classifier [probe.1]."""

    W: Array  # (K, m)
    b: Array  # (K,)
    value: float  # J where the search stopped
    converged: bool

    def logits(self, features: Array) -> Array:
        """Y of features (N, m), shape (N, K)."""
        features = check_array(features, "features", shape=(None, self.W.shape[1]), like=self.W)
        return features @ self.W.T + self.b  # [probe.1] Y = H Wᵀ + 1 bᵀ

    def predict(self, features: Array) -> Array:
        """The most probable class of each row of `features`, (N,)."""
        return self.logits(features).argmax(axis=1)


def objective(features: Array, labels: Array, l2: float) -> Callable:
    """θ -> (J, ∂J/∂θ) [probe.1, probe.2]; θ holds W, then b, in one vector of float64, (K m + K,)."""
    H, c, K = check_labelled(features, labels)
    l2 = check_number(l2, "l2", low=0, open_low=True)
    size = K * (H.shape[1] + 1)

    @np.errstate(under="ignore")
    def J(theta):
        theta = check_array(theta, "theta", shape=(size,), like=H, dtype=np.float64)
        W, b = _parts(theta, H.shape[1])
        value, delta = softmax_cross_entropy(H @ W.T + b, c)  # delta = (P − T)/N
        dW = delta.T @ H + l2 * W  # [probe.2] (1/N) (P − T)ᵀ H + λ W
        db = delta.sum(axis=0)  # [probe.2] (1/N) (P − T)ᵀ 1
        return value + l2 / 2 * (W * W).sum(), np.concatenate([dW.ravel(), db])  # [probe.1] … + (λ/2) ‖W‖²

    return J


@np.errstate(under="ignore")
def linear_probe(
    features: Array, labels: Array, l2: float, *, tolerance: float | None = None, iterations: int = 1000
) -> Probe:
    """The linear classifier that minimises [probe.1]; W and b have the dtype of the features.

    The penalty treats all features alike: bring them to comparable scales first. `l2` is λ > 0; see
    `cross_validate_l2`. The search stops where no component of ∂J/∂b, nor of ∂J/∂W in units of √(Cⱼⱼ + Kλ), is larger
    than `tolerance`, by default λ/100 within 10⁻⁸ and 10⁻⁵; where it stops before, a RuntimeWarning says so. What such
    a gradient says of W is [probe.4].
    """
    H, c, K = check_labelled(features, labels)
    l2 = check_number(l2, "l2", low=0, open_low=True)
    tolerance = _tolerance(l2) if tolerance is None else check_number(tolerance, "tolerance", low=0)
    iterations = check_count(iterations, "iterations")
    HQ, Q = _reduce(H)
    found = _minimize(HQ, c, l2, np.zeros(K * (HQ.shape[1] + 1), like=H), tolerance, iterations)
    if not found.converged:
        left = f"a gradient of {found.gradient_norm:.0e} is left at l2 = {l2:.0e}"
        _warn(f"linear_probe: {left}", "allow more iterations, ")
    V, b = _parts(found.theta, HQ.shape[1])
    W = V if Q is None else V @ Q.T  # [probe.8] W = V Qᵀ
    return Probe(W.astype(H.dtype), b.astype(H.dtype), found.value, found.converged)


@np.errstate(under="ignore")
def cross_validate_l2(
    features: Array,
    labels: Array,
    candidates: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0),
    *,
    folds: int = 5,
    rng=None,
    tolerance: float | None = None,
) -> tuple[float, np.ndarray]:
    """The candidate λ with the least loss in cross-validation [probe.5]; the losses of all, in nats per sample.

    Each class, of two samples or more, is spread over the folds as evenly as can be; there are 2 to N, which is
    leave-one-out. `rng` decides which sample goes into which fold. `tolerance` is as in `linear_probe`; where a search
    does not reach it, a RuntimeWarning says so.
    """
    H, c, K = check_labelled(features, labels, at_least=2)
    candidates = check_array(candidates, "candidates", ndim=1).tolist()
    candidates = [check_number(l2, "candidates", low=0, open_low=True) for l2 in candidates]
    tolerance = None if tolerance is None else check_number(tolerance, "tolerance", low=0)
    fold = _folds(on_host(c), check_count(folds, "folds", low=2, high=len(H)), check_rng(rng))
    H = _reduce(H)[0]
    losses = np.zeros(len(candidates))
    failed = []
    for f in range(folds):
        inside = np.asarray(np.flatnonzero(fold != f), like=H)
        outside = np.asarray(np.flatnonzero(fold == f), like=H)
        theta = np.zeros(K * (H.shape[1] + 1), like=H)
        for k in np.argsort(candidates)[::-1]:  # from strong to weak, each from where the last one ended
            l2 = candidates[k]
            found = _minimize(H[inside], c[inside], l2, theta, _tolerance(l2) if tolerance is None else tolerance)
            failed += [] if found.converged else [l2]
            theta = found.theta
            W, b = _parts(theta, H.shape[1])
            loss = softmax_cross_entropy(H[outside] @ W.T + b, c[outside])[0]
            losses[k] += len(outside) / len(H) * float(loss)  # [probe.5] (1/N) Σ_F Σᵢ∈F [ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}]
    if failed:
        _warn(f"cross_validate_l2: {len(failed)} searches did not converge, from l2 = {max(failed):.0e} down")
    return candidates[int(losses.argmin())], losses


def pooled_features(
    f: Callable, images: Array, window: tuple[int, int], grid: tuple[int, int] = (2, 2), block: int = 16
) -> Array:
    """Features of every window of each image, averaged over the regions of a grid [probe.6], (N, regions · m).

    `f` takes windows as rows, (number, height · width), and returns features, such as `net.features` after any
    preprocessing. Windows of the given height and width start at every pixel that leaves room for them. The regions
    follow one another from the top left along the rows; where they cannot all be of one size, the first have one place
    more. `block` images are taken at a time: 16 are 1.2 to 2 times as fast as 256.
    """
    images = check_array(images, "images", ndim=3)
    f = check_callable(f, "f")
    h, w = check_pair(window, "window")
    _, height, width = images.shape
    places = height - check_count(h, "window", high=height) + 1, width - check_count(w, "window", high=width) + 1
    rows, columns = map(_regions, places, check_pair(grid, "grid"))
    block = check_count(block, "block")
    out = []
    for start in range(0, len(images), block):
        windows = np.lib.stride_tricks.sliding_window_view(images[start : start + block], (h, w), axis=(1, 2))
        q = windows.reshape(-1, h * w)
        features = check_array(f(q), "f", shape=(len(q), None)).reshape(len(windows), *places, -1)
        means = [features[:, r, c].mean(axis=(1, 2)) for r in rows for c in columns]  # [probe.6] (1/|G_g|) Σₚ f(qₚ(x))
        out.append(np.concatenate(means, axis=1))
    return np.concatenate(out)


def _regions(places, number):
    """Slices that cut so many places into this number of regions."""
    parts = np.array_split(np.arange(places), check_count(number, "grid", high=places))
    return [slice(part[0], part[-1] + 1) for part in parts]


class Whitening(NamedTuple):
    """z = (q − q̄) Z [probe.7]."""

    mean: Array  # q̄, (n,)
    Z: Array  # (n, n), symmetric

    def __call__(self, q: Array) -> Array:
        """Whitened rows of q, (N, n)."""
        q = check_array(q, "q", shape=(None, len(self.mean)), like=self.mean)
        return (q - self.mean) @ self.Z


def whitening(x: Array, floor: float = 0.01) -> Whitening:
    """ZCA whitening fitted on data (N, n) without labels [probe.7]; `floor` ε > 0 is in units of the mean variance."""
    x = check_varied(check_array(x, "x", ndim=2, squares=True), "x")
    floor = check_number(floor, "floor", low=0, open_low=True)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    variances, U = np.linalg.eigh(centred.T @ centred / len(x))  # d², U
    Z = U / np.sqrt(variances + floor * variances.mean()) @ U.T  # [probe.7] U diag(d² + ε d̄²)^(−1/2) Uᵀ
    return Whitening(mean.astype(x.dtype), Z.astype(x.dtype))


def _minimize(H: Array, c: Array, l2: float, theta: Array, tolerance: float, iterations: int = 1000) -> Minimum:
    """The minimum of `objective` from θ on, found in the coordinates of [probe.9]."""
    m = H.shape[1]
    W, b = _parts(theta, m)
    mean, s = _scales(H, len(b), l2)
    root_K = len(b) ** 0.5

    def in_W_and_b(phi):
        V, a = _parts(phi, m)
        W = V / s  # [probe.9] W = V S⁻¹
        return W, root_K * a - W @ mean  # [probe.9] b = √K a − W μ

    def J(phi):
        value, dW, db = _in_blocks(H, c, l2, *in_W_and_b(phi))
        dV = (dW - np.outer(db, mean)) / s  # [probe.9] ∂J/∂V = (∂J/∂W − ∂J/∂b μᵀ) S⁻¹
        return value, np.concatenate([dV.ravel(), root_K * db])  # [probe.9] ∂J/∂a = √K ∂J/∂b

    start = np.concatenate([(W * s).ravel(), (b + W @ mean) / root_K])
    found = lbfgs(J, start, iterations=iterations, tolerance=root_K * tolerance, warn=False)
    W, b = in_W_and_b(found.theta)
    found = found._replace(theta=np.concatenate([W.ravel(), b]), gradient_norm=found.gradient_norm / root_K)
    left = iterations - found.iterations
    if H.dtype == np.float32 and not found.converged and left > 0:  # its rounding has ended the search
        return _minimize(H.astype(np.float64), c, l2, found.theta, tolerance, left)
    return found


def _scales(H: Array, K: int, l2: float) -> tuple[Array, Array]:
    """Mean μ and scales s of [probe.9], from some 2,000 samples: any will do. s is kept above rounding."""
    h = H[:: max(1, len(H) // 2000)].astype(np.float64)
    mean = h.mean(axis=0)
    h -= mean
    variance = np.einsum("ij,ij->j", h, h) / len(h) + float(np.finfo(np.float64).eps) * mean * mean
    return mean, np.sqrt(variance / K + l2)  # [probe.9] sⱼ² = Cⱼⱼ/K + λ


def _in_blocks(H: Array, c: Array, l2: float, W: Array, b: Array) -> tuple[float, Array, Array]:
    """J, ∂J/∂W and ∂J/∂b [probe.1, probe.2] as `objective` has them, added up over blocks of samples in float64."""
    N, value, dW, db = len(H), 0.0, np.zeros_like(W), np.zeros_like(b)
    W_, b_ = W.astype(H.dtype), b.astype(H.dtype)[:, None]
    for start in range(0, N, ROWS):
        h = H[start : start + ROWS]
        right = c[start : start + ROWS], np.arange(len(h), like=H)
        Y = W_ @ h.T + b_  # (K, samples): a sum over classes is a sum of rows
        Y -= Y.max(axis=0)
        chosen = Y[right]
        exp_Y = np.exp(Y, out=Y)
        total = exp_Y.sum(axis=0)
        value += (np.log(total) - chosen).sum(dtype=W.dtype)  # [probe.1] ln Σₖ exp(Yᵢₖ) − Y_{i,cᵢ}
        exp_Y /= total
        exp_Y[right] -= 1  # P − T
        dW += exp_Y @ h  # [probe.2] (P − T)ᵀ H
        db += exp_Y.sum(axis=1)
    return value / N + l2 / 2 * np.vdot(W, W), dW / N + l2 * W, db / N


def _reduce(H: Array) -> tuple[Array, Array | None]:
    """H Q and Q of [probe.8], in float64; H itself and no Q where Q would cost more than it saves."""
    N, m = H.shape
    if N > m / 2:
        return H, None
    Q = np.linalg.qr(H.T.astype(np.float64))[0]
    return H @ Q, Q


def _parts(theta: Array, m: int) -> tuple[Array, Array]:
    """Views of the weights (K, m) and the intercepts (K,) in one vector."""
    K = len(theta) // (m + 1)
    return theta[:-K].reshape(K, m), theta[-K:]


def _folds(c: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each sample: in random order but class after class, samples are dealt out in turn."""
    order = rng.permutation(len(c))
    order = order[np.argsort(c[order], kind="stable")]
    fold = np.empty(len(c), dtype=int)
    fold[order] = np.arange(len(c)) % folds
    return fold


def _tolerance(l2: float) -> float:
    """Where a search stops that is given no tolerance: a gradient says less of W as λ falls [probe.4].

    Not below 10⁻⁸, for a gradient so small changes J by less than its rounding.
    """
    return min(max(1e-8, l2 / 100), 1e-5)


def _warn(what: str, more: str = "") -> None:
    """A search has stopped before its tolerance."""
    words = f"{what}; {more}raise l2 or tolerance, or give float64 features of comparable scales"
    warnings.warn(words, RuntimeWarning, stacklevel=4)
