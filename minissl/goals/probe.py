"""Downstream: how good a representation is, measured by a linear classifier that sees few labels.

    symbol      meaning                                                         shape
    H           features of the labelled samples, one per row                   (N, m)
    c           their classes, 0 .. K-1                                         (N,)
    W, b        weights and intercepts of the probe, one row per class          (K, m), (K,)
    Y           logits, one row per sample                                      (N, K)
    lambda      strength of the L2 penalty (the argument `l2`)                  number
    q_p(x)      window of image x at place p, normalised or whitened            (a b,)
    f(q)        features of a window: a hidden layer                            (m,)
    G_g         region g of a grid: a set of places                             set

**The probe** is multinomial logistic regression (Bishop 2006, section 4.3.4), the softmax loss [losses.3] of linear
logits with a penalty on the weights:

    [downstream.1]   Y = H W^T + 1 b^T,    J(W, b) = (1/N) sum_i [ln sum_k exp(Y_ik) - Y_ic_i] + lambda/2 sum_kj W_kj^2

ln sum exp is convex and Y is linear in (W, b), so J is convex: every start leads to the same minimum. With P_ik =
exp(Y_ik)/sum_l exp(Y_il) and T_ik = [c_i = k], dJ/dY = (P - T)/N as in [losses.3], and reading off as in [mlp.2],

    [downstream.2]   dJ/dW = (1/N) (P - T)^T H + lambda W,    dJ/db = (1/N) (P - T)^T 1

A number added to all logits of a sample does not change the loss: each row of P - T sums to zero. So [downstream.2],
set to zero and summed over classes, says what holds at the minimum, and its second part as it is:

    [downstream.3]   sum_k W_kj = 0;    (1/N) sum_i P_ik = (1/N) sum_i T_ik

(no weight is wasted on such a number; every class is predicted as often as it occurs. b alone may gain a number: the
search starts at zero, where it keeps sum_k b_k = 0.) At the minimum lambda W = -(1/N) (P - T)^T H, so that each row of
W is a combination of samples. With an orthonormal basis Q, shape (m, r), of what they span, r = min(N, m),

    [downstream.4]   W = V Q^T,    H W^T = (H Q) V^T,    sum_kj W_kj^2 = sum_kj V_kj^2

so that few labels make a small problem, however many the features: H Q is (N, r).

**lambda** is chosen on the labelled samples alone, by cross-validation over folds F (leave-one-out: N folds):

    [downstream.5]   CV(lambda) = (1/N) sum_F sum_{i in F} [ln sum_k exp(Y_ik) - Y_ic_i],    Y by the probe without F

**Features of an image** from a network trained on windows: applied to every window and averaged over the regions of a
grid (Coates, Ng & Lee 2011, section 3.2, who sum), so that it matters little where in a region something is:

    [downstream.6]   f_g(x) = (1/|G_g|) sum_{p in G_g} f(q_p(x))

Neighbouring pixels say nearly the same. Whitening with the mean and covariance C = U diag(d^2) U^T of (unlabelled)
windows takes that away, ZCA by the symmetric root, which leaves every pixel in its place (Bell & Sejnowski 1997); the
floor, a share of the mean variance, keeps directions without variance from becoming pure noise:

    [downstream.7]   z = (q - mean) U diag(d^2 + floor mean(d^2))^(-1/2) U^T
"""

from typing import NamedTuple

import numpy as np

from minissl.backend import array, count, generator, integers, namespace, number, pair
from minissl.losses import softmax
from minissl.optimizers import lbfgs

ROWS = 500  # samples at a time; with a power of two, the rows of Y would compete for the same places in the cache


class Probe(NamedTuple):
    """A linear classifier [downstream.1]."""

    W: np.ndarray  # (K, m)
    b: np.ndarray  # (K,)
    value: float  # J where the search stopped
    converged: bool

    def logits(self, features):
        """Logits of features (N, m), one row per sample, shape (N, K)."""
        return array(features, "features", shape=(None, self.W.shape[1]), like=self.W) @ self.W.T + self.b

    def predict(self, features):
        """The most probable class of each row of `features`, shape (N,)."""
        return self.logits(features).argmax(axis=1)


def objective(features, labels, l2):
    """J and its gradient [downstream.1, downstream.2] as a function of theta, for `lbfgs` and for gradient checks.

    Parameters
    ----------
    features : array_like, shape (N, m)
    labels : array_like of int, shape (N,)
        Classes 0 .. K-1, each of which must occur: without a sample its intercept would go to minus infinity.
    l2 : float
        lambda > 0.

    Returns
    -------
    callable
        theta, W (K, m) and b (K,) in one flat vector of float64 -> (value, gradient of shape (K m + K,)). Samples are
        taken in blocks, in the dtype of the features; sums over blocks are in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    H, c, K = _labelled(features, labels)
    xp, (N, m), l2 = namespace(H), H.shape, number(l2, "l2", low=0, open_low=True)
    places, zero = xp.arange(min(ROWS, N)), xp.zeros(K * (m + 1))

    def J(theta):
        W, b = _parts(array(theta, "theta", shape=zero.shape, like=zero), K)
        value, gradient = 0.0, zero.copy()
        dW, db = _parts(gradient, K)
        for start in range(0, N, ROWS):
            h, right = H[start : start + ROWS], (c[start : start + ROWS], places[: N - start])
            Y = W.astype(H.dtype) @ h.T + b.astype(H.dtype)[:, None]  # transposed: a sum over classes is one of rows
            Y -= Y.max(axis=0)
            chosen = Y[right]
            total = xp.exp(Y, out=Y).sum(axis=0)
            value += (xp.log(total) - chosen).sum(dtype=zero.dtype)  # [downstream.1]
            Y /= total
            Y[right] -= 1
            dW += Y @ h  # [downstream.2]
            db += Y.sum(axis=1)
        gradient /= N
        dW += l2 * W
        return value / N + l2 / 2 * xp.vdot(W, W), gradient

    return J


def probe(features, labels, l2, *, tolerance=1e-5, iterations=1000):
    """The linear classifier that minimises [downstream.1].

    Parameters
    ----------
    features : array_like, shape (N, m)
        The penalty treats all alike: bring them to comparable scales first.
    labels : array_like of int, shape (N,)
        Classes 0 .. K-1, each of which must occur.
    l2 : float
        lambda > 0; see `choose_l2`.
    tolerance : float
        Stop when no component of the gradient, with respect to V of [downstream.4] and b, is larger. W and b are then
        rounded to the dtype of the features.
    iterations : int
        How many at most.

    Returns
    -------
    Probe

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    H, c, K = _labelled(features, labels)
    HQ, Q = _narrowed(H)
    start = namespace(H).zeros(K * (HQ.shape[1] + 1))
    found = _minimum(HQ, c, l2, start, tolerance, iterations)
    V, b = _parts(found.theta, K)
    return Probe((V @ Q.T).astype(H.dtype), b.astype(H.dtype), found.value, found.converged)  # [downstream.4]


def choose_l2(features, labels, candidates=(1e-3, 1e-2, 1e-1, 1.0), *, folds=5, rng=None, tolerance=1e-4):
    """The candidate with the least loss in cross-validation [downstream.5], which sees the labelled samples alone.

    Parameters
    ----------
    features : array_like, shape (N, m)
    labels : array_like of int, shape (N,)
        Classes 0 .. K-1, each of which must occur twice.
    candidates : sequence of float
        lambda > 0.
    folds : int
        From 2 to N, which is leave-one-out. Each class is spread over the folds as evenly as can be.
    rng : int, numpy.random.Generator or None
        Which sample goes into which fold.
    tolerance : float
        As in `probe`.

    Returns
    -------
    l2 : float
    losses : ndarray, shape (len(candidates),)
        CV of each candidate, in nats per sample.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    H, c, K = _labelled(features, labels, at_least=2)
    xp, N = namespace(H), len(H)
    if not isinstance(candidates, (tuple, list)) or not candidates:
        raise ValueError(f"candidates: got {candidates!r}, expected a tuple of at least one")
    candidates = [number(l2, "candidates", low=0, open_low=True) for l2 in candidates]
    fold = _folds(c, count(folds, "folds", low=2, high=N), generator(rng))
    H, losses = _narrowed(H)[0], np.zeros(len(candidates))
    for f in range(folds):
        inside, out = xp.asarray(np.flatnonzero(fold != f)), xp.asarray(np.flatnonzero(fold == f))
        theta = xp.zeros(K * (H.shape[1] + 1))
        for k in np.argsort(candidates)[::-1]:  # from strong to weak, each from where the last one ended
            theta = _minimum(H[inside], c[inside], candidates[k], theta, tolerance).theta
            W, b = _parts(theta, K)
            losses[k] += float(softmax(H[out] @ W.T + b, c[out])[0]) * len(out) / N  # [downstream.5]
    return candidates[int(losses.argmin())], losses


def pooled_features(f, images, window, grid=(2, 2), block=256):
    """Features of every window of each image, averaged over the regions of a grid [downstream.6].

    Parameters
    ----------
    f : callable
        Windows as rows, shape (n, a b) -> features (n, m), such as `net.features`, after any preprocessing.
    images : array_like, shape (N, h, w)
    window : (int, int)
        Height a and width b of the windows; they start at every pixel that leaves room.
    grid : (int, int)
        Regions down and across. Where they cannot all be of one size, the first have one place more.
    block : int
        Images at a time: memory is bounded by the windows of so many.

    Returns
    -------
    ndarray, shape (N, regions * m)
        Region by region, from the top left along the rows.

    Raises
    ------
    TypeError, ValueError
        If a window does not fit into an image, or a region would be empty.
    """
    images = array(images, "images", ndim=3)
    xp, (N, h, w), (a, b), grid = namespace(images), images.shape, pair(window, "window"), pair(grid, "grid")
    count(a, "window", high=h), count(b, "window", high=w), count(block, "block")
    places = h - a + 1, w - b + 1
    for regions, size in zip(grid, places, strict=True):
        count(regions, "grid", high=size)
    rows, columns = (np.array_split(np.arange(size), r) for size, r in zip(places, grid, strict=True))
    out = []
    for start in range(0, N, block):
        every = xp.lib.stride_tricks.sliding_window_view(images[start : start + block], (a, b), axis=(1, 2))
        q = every.reshape(-1, a * b)
        features = array(f(q), "f", shape=(len(q), None)).reshape(len(every), *places, -1)
        regions = [features[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1] for r in rows for c in columns]
        out.append(xp.concatenate([region.mean(axis=(1, 2)) for region in regions], axis=1))  # [downstream.6]
    return xp.concatenate(out)


class Whitening(NamedTuple):
    """z = (q - mean) Z [downstream.7]."""

    mean: np.ndarray  # (n,)
    Z: np.ndarray  # (n, n), symmetric

    def __call__(self, q):
        """Whitened rows of `q`, shape (N, n)."""
        return (array(q, "q", shape=(None, len(self.mean)), like=self.mean) - self.mean) @ self.Z


def whitening(x, floor=0.01):
    """ZCA whitening fitted on data [downstream.7].

    Parameters
    ----------
    x : array_like, shape (N, n)
        Without labels.
    floor : float
        Added to the variances, in units of their mean, > 0.

    Returns
    -------
    Whitening

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x, floor = array(x, "x", ndim=2, squares=True), number(floor, "floor", low=0, open_low=True)
    xp, mean = namespace(x), x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    if not (centred * centred).any():
        raise ValueError(f"x: all {len(x)} samples are the same, expected data that vary")
    variances, U = xp.linalg.eigh(centred.T @ centred / len(x))
    Z = U / xp.sqrt(variances + floor * variances.mean()) @ U.T  # [downstream.7]
    return Whitening(mean.astype(x.dtype), Z.astype(x.dtype))


def _labelled(features, labels, at_least=1):
    """Features and labels at the door, and the number of classes."""
    H = array(features, "features", ndim=2, squares=True)
    xp = namespace(H, labels)
    c = xp.asarray(integers(labels, "labels", low=0, high=len(H)), dtype=np.int64)
    if c.shape != (len(H),):
        raise ValueError(f"labels: got shape {c.shape}, expected ({len(H)},), one for each row of features")
    occurs = xp.bincount(c)
    if len(occurs) < 2 or int(occurs.min()) < at_least:
        raise ValueError(f"labels: got classes of {occurs} samples, expected two or more classes of {at_least} or more")
    return H, c, len(occurs)


def _narrowed(H):
    """H Q and Q of [downstream.4], in float64; H itself where N >= m."""
    xp, (N, m) = namespace(H), H.shape
    if N >= m:
        return H, xp.eye(m)
    Q = xp.linalg.qr(H.T.astype(np.float64))[0]
    return H @ Q, Q


def _minimum(H, c, l2, theta, tolerance, iterations=1000):
    """The minimum of [downstream.1], from theta on."""
    found = lbfgs(objective(H, c, l2), theta, tolerance=tolerance, iterations=iterations)
    left = iterations - found.iterations
    if H.dtype == np.float32 and not found.converged and left > 0:  # its rounding has ended the search
        found = lbfgs(objective(H.astype(np.float64), c, l2), found.theta, tolerance=tolerance, iterations=left)
    return found


def _parts(theta, K):
    """W (K, m) and b (K,), views into theta."""
    return theta[:-K].reshape(K, -1), theta[-K:]


def _folds(c, folds, rng):
    """The fold of each sample: in random order but class after class, samples are dealt out in turn."""
    c = c if isinstance(c, np.ndarray) else namespace(c).asnumpy(c)
    order = rng.permutation(len(c))
    order = order[np.argsort(c[order], kind="stable")]
    fold = np.empty(len(c), dtype=int)
    fold[order] = np.arange(len(c)) % folds
    return fold
