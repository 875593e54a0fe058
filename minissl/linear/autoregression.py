"""Prediction of the future: the past is the input, the next value the target.

    symbol     meaning                                                        shape
    x          series, scalar or vector, x_t at t = 0 .. T-1                  (T,) or (T, n)
    p          order: how many past values are seen                           integer
    a_0, a     intercept and coefficients of the linear model                 number, (p,)
    e_t, s^2   what the past does not predict, and its variance               number
    m, y       mean of the series; centred series y_t = x_t - m               number, (T,)
    M          number of targets, T - p                                       integer
    C, S       C_ij = sum_t y_{t-i} y_{t-j}, S_i = sum_t y_{t-i}, t = p .. T-1   (p+1, p+1), (p+1,)
    K          C less the means, K_ij = C_ij - S_i S_j / M                    (p+1, p+1)
    Gamma      autocovariance matrix of the process, Cov(x_{t-i}, x_{t-j})    (p, p)
    psi_k      effect of a shock e_t on x_{t+k}                               number

The pretext task cuts the series into windows; any regression, with any network f, may follow:

    [autoregression.1]   input (x_{t-p}, ..., x_{t-1}), target x_t;   J = 1/M sum_t ||x_t - f(x_{t-p}, ..., x_{t-1})||^2

**The linear model**, of a scalar series, has its optimum in closed form:

    [autoregression.2]   x_t = a_0 + a_1 x_{t-1} + ... + a_p x_{t-p} + e_t

dJ/da_0 = 0 gives a_0 in terms of a, which replaces C by K; dJ/da = 0 are then the normal equations:

    [autoregression.3]   sum_j K_ij a_j = K_i0,  i, j = 1 .. p;      a_0 = mean_t(x_t) - sum_j a_j mean_t(x_{t-j})

K needs no lagged matrix. C_{i+1,j+1} is the sum of the same products as C_ij, taken one step earlier in time: it gains
the product before the first and loses the last.

    [autoregression.4]   C_{i+1,j+1} = C_ij + y_{p-1-i} y_{p-1-j} - y_{T-1-i} y_{T-1-j}
                         S_{i+1}     = S_i  + y_{p-1-i}           - y_{T-1-i}

So only the first row, C_0j = sum_t y_t y_{t-j}, runs over the series: p + 1 dot products. What is left over, and how
uncertain the coefficients are (regression with M samples and p + 1 parameters):

    [autoregression.5]   s^2 = (K_00 - sum_i a_i K_i0) / (M - p - 1),    Cov(a) = s^2 (K_ij)^-1_{i,j = 1 .. p}

**Yule-Walker** (1927, 1931) continues y with zeros on both sides and lets t run over everything. Then the end products
of [autoregression.4] vanish, C is Toeplitz, and with r_k = (1/T) sum_{t=k}^{T-1} y_t y_{t-k}

    [autoregression.6]   sum_j r_|i-j| a_j = r_i,      a_0 = m (1 - sum_j a_j)

It differs from least squares by 2p products among T, that is by O(1/T), and is stable if C is regular. But a nearly
periodic series, predictable but for a noise of 1e-6, is not predictable across the step to zero: K is then almost
singular, and what O(1/T) adds to it outweighs its small eigenvalues. Least squares sees no step. Both tend to the same
limit,

    [autoregression.7]   sqrt(T) (a_hat - a) -> N(0, s^2 Gamma^-1)         (Mann & Wald 1943)

**Stability.** Without e_t, [autoregression.2] is a linear recurrence with solutions z^t; it dies out iff

    [autoregression.8]   every root of z^p - a_1 z^{p-1} - ... - a_p = 0 has |z| < 1

**Forecast.** Unknown values are replaced by their own forecasts, beginning with the one-step forecast:

    [autoregression.9]   x^_{t+h} = f(x^_{t+h-p}, ..., x^_{t+h-1}),      x^_{t+k} = x_{t+k} where k <= 0

In the linear model the errors add up: x_{t+h} - x^_{t+h} = sum_{k<h} psi_k e_{t+h-k}, where a shock of 1 is carried on
by the recurrence itself. Independent shocks give for the h-th value ahead, h = 1, 2, ...

    [autoregression.10]  psi_0 = 1, psi_k = sum_{i=1}^{min(k,p)} a_i psi_{k-i};    variance = s^2 sum_{k<h} psi_k^2

(of a known model; the coefficients' own uncertainty adds O(1/T)).

Source: Brockwell & Davis, Time Series: Theory and Methods (1991), chapters 5.5, 8.1, 8.10.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import toeplitz

from minissl.backend import array, count, namespace, plain

BLOCK = 2**14  # samples at a time: what the dot products read again and again stays in the cache


def windows(x, length):
    """All windows of a series, as a view that costs no memory.

    Parameters
    ----------
    x : array_like, shape (T,) or (T, n)
        Series, one time step per row. Integers (words) are left as they are.
    length : int
        Time steps per window, at most T; `order + 1` for `next_value(order)`.

    Returns
    -------
    ndarray, shape (T - length + 1, length) or (T - length + 1, length, n)
        Row t is x_t, ..., x_{t + length - 1}. A view into `x`, not to be written to.

    Raises
    ------
    TypeError, ValueError
        If `x` is no series, has a gap (NaN or infinity), or is shorter than a window.
    """
    x = _series(x)
    length = count(length, "length", high=len(x))
    view = namespace(x).lib.stride_tricks.sliding_window_view(x, length, axis=0)
    return view if x.ndim == 1 else view.transpose(0, 2, 1)


def next_value(order):
    """The task: the next value from the `order` values before it [autoregression.1]. For the loss `squared_error`.

    Parameters
    ----------
    order : int
        p >= 1.

    Returns
    -------
    callable
        (windows of shape (N, p + 1) or (N, p + 1, n), as `windows` cuts them, rng) -> (input (N, p n), oldest value
        first, target (N, n)).

    Raises
    ------
    TypeError, ValueError
        If `order` is not a positive integer; from the task, if the windows are of another length.
    """
    order = count(order, "order")

    def task(x, rng):
        x = array(x, "x")
        if x.ndim not in (2, 3) or x.shape[1] != order + 1:
            raise ValueError(f"x: got shape {x.shape}, expected windows of length {order + 1}: windows(x, {order + 1})")
        return x[:, :-1].reshape(len(x), -1), x[:, -1].reshape(len(x), -1)  # [autoregression.1]

    return task


class LinearAR(NamedTuple):
    """A linear autoregressive model [autoregression.2]; its numbers are float64 and live on the host."""

    a: np.ndarray  # (p,); a[i - 1] is a_i, which multiplies x_{t-i}
    intercept: float  # a_0
    variance: float  # s^2, in the units of x squared; [autoregression.5]
    covariance: np.ndarray  # (p+1, p+1), of the estimates a_0, a_1, ..., a_p

    def __call__(self, x):
        """The next value for each window of p values, oldest first: (N, p) -> (N, 1)."""
        x = array(x, "x", shape=(None, len(self.a)))
        a = namespace(x).asarray(self.a[::-1].copy(), dtype=x.dtype)
        return (x @ a + x.dtype.type(self.intercept))[:, None]  # [autoregression.2]

    @property
    def standard_errors(self):
        """Of a_0, a_1, ..., a_p, shape (p+1,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def roots(self):
        """The roots of [autoregression.8], shape (p,): eigenvalues of the companion matrix."""
        return np.linalg.eigvals(np.vstack([self.a, np.eye(len(self.a) - 1, len(self.a))]))

    @property
    def stable(self):
        """Whether a disturbance dies out [autoregression.8]."""
        return bool((abs(self.roots) < 1).all())  # [autoregression.8]

    def forecast_variance(self, steps):
        """Variance of the forecast's error 1 .. `steps` values ahead [autoregression.10], shape (steps,)."""
        psi = np.zeros(count(steps, "steps"))
        psi[0] = 1
        for k in range(1, steps):
            past = psi[max(0, k - len(self.a)) : k][::-1]  # psi_{k-1}, psi_{k-2}, ...
            psi[k] = self.a[: len(past)] @ past
        return self.variance * np.cumsum(psi**2)  # [autoregression.10]


def least_squares(x, order):
    """Linear autoregression by exact least squares, from K [autoregression.4]: O(T p) time, O(p^2) memory.

    Parameters
    ----------
    x : array_like, shape (T,)
        Series, at least 2 `order` + 2 values. Sums are taken in float64.
    order : int
        p >= 1.

    Returns
    -------
    LinearAR
        Where K is singular (a constant series, noiseless oscillations), the solution of least norm. K_00 limits the
        accuracy of the variance, to about 1e-15 K_00 / M.

    Raises
    ------
    TypeError, ValueError
        If `x` is no scalar series, has a gap or is too short.
    """
    x, p, m = _scalar(x, order)
    M = len(x) - p
    first, S_0, head, tail = _products(x, p, m)
    C, S = np.empty((p + 1, p + 1)), np.empty(p + 1)
    C[0] = C[:, 0] = first
    S[0] = S_0
    for i in range(p):
        C[i + 1, 1:] = C[i, :-1] + head[i] * head - tail[i] * tail  # [autoregression.4]
        S[i + 1] = S[i] + head[i] - tail[i]
    return _solve(C - np.outer(S, S) / M, m + S / M, M)


def yule_walker(x, order):
    """Linear autoregression by the Yule-Walker equations [autoregression.6].

    Parameters
    ----------
    x, order
        As in `least_squares`, and refused likewise.

    Returns
    -------
    LinearAR
        Stable, unless C is singular to rounding.
    """
    x, p, m = _scalar(x, order)
    first, _, head, _ = _products(x, p, m)
    early = np.correlate(head, head, "full")[p - 1 :]  # sum of y_t y_{t-k} over t = k .. p-1, for k < p
    return _solve(toeplitz(first + np.append(early, 0)), np.full(p + 1, m), len(x))  # [autoregression.6]


def forecast(model, past, steps, shocks=None):
    """Continue each window by the model's own predictions, fed back on themselves [autoregression.9].

    Parameters
    ----------
    model : callable
        A `LinearAR`, an `MLP` or any other function of (N, p n), oldest first, that returns (N, n).
    past : array_like, shape (N, p) or (N, p, n)
        The last p values before each forecast: `windows(x, p)` for all, `x[None, -p:]` for the end of a series.
    steps : int
        How many values ahead.
    shocks : array_like, shape (N, steps) or (N, steps, n), optional
        Added to every value before it is fed back: noise e_t makes new series instead of forecasts.

    Returns
    -------
    ndarray, shape (N, steps) or (N, steps, n)

    Raises
    ------
    TypeError, ValueError
        If `past` or `shocks` has another shape than this, or holds NaN, or `model` returns another shape or dtype.
    FloatingPointError
        If the model is not stable and a value runs off to infinity.
    """
    past, steps = array(past, "past"), count(steps, "steps")
    if past.ndim not in (2, 3):
        raise ValueError(f"past: got shape {past.shape}, expected (N, p) or (N, p, n)")
    N, p, *n = past.shape
    if shocks is not None:
        shocks = array(shocks, "shocks", shape=(N, steps, *n), like=past)
    xp = namespace(past)
    x = xp.concatenate([past, xp.empty((N, steps, *n), dtype=past.dtype)], axis=1)
    for t in range(p, p + steps):
        y = array(model(x[:, t - p : t].reshape(N, -1)), "model", shape=(N, *(n or (1,))), like=past, finite=False)
        x[:, t] = y.reshape(N, *n)  # [autoregression.9]
        if shocks is not None:
            x[:, t] += shocks[:, t - p]
        if not xp.isfinite(x[:, t]).all():
            raise FloatingPointError(f"forecast: not finite {t - p + 1} values ahead; the model is not stable")
    return x[:, p:]


def _series(x):
    """`x` as an array of one or two dimensions without gaps."""
    x = plain(x, "x")
    if x.ndim not in (1, 2) or x.size == 0:
        raise ValueError(f"x: got shape {x.shape}, expected a series of shape (T,) or (T, n)")
    if x.dtype.kind in "iu":
        return x
    x = x.astype(np.float64) if x.dtype.kind == "b" else x
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x: got dtype {x.dtype}, expected float32, float64, integers or booleans")
    finite = namespace(x).isfinite(x)
    if not finite.all():
        gap = int(finite.reshape(len(x), -1).all(axis=1).argmin())
        raise ValueError(f"x: gap (NaN or infinity) at index {gap}, the first; cut the series there or fill it")
    return x


def _scalar(x, order):
    """A scalar series, its order and its mean, fit for a linear model."""
    x = _series(x)
    if x.ndim != 1:
        raise ValueError(f"x: got shape {x.shape}, expected a scalar series of shape (T,)")
    if len(x) < 4:
        raise ValueError(f"x: got {len(x)} values, expected at least 4")
    return x, count(order, "order", high=(len(x) - 2) // 2), float(x.mean(dtype=np.float64))


def _products(x, p, m):
    """C_0j for j = 0 .. p, S_0, and the ends (y_{p-1}, ..., y_0) and (y_{T-1}, ..., y_{T-p}) of [autoregression.4]."""
    xp = namespace(x)

    def centred(start, stop):
        return xp.subtract(x[start:stop], m, dtype=np.float64)

    first, S_0 = xp.zeros(p + 1), xp.zeros(())
    for start in range(p, len(x), BLOCK):
        y = centred(start - p, start + BLOCK)
        first += xp.correlate(y, y[p:], "valid")[::-1]  # C_0j = sum_t y_t y_{t-j}
        S_0 += y[p:].sum()
    parts = first, S_0, centred(0, p)[::-1], centred(len(x) - p, len(x))[::-1]
    return parts if xp is np else tuple(map(xp.asnumpy, parts))


def _solve(K, means, M):
    """Normal equations [autoregression.3] and what follows from them [autoregression.5]."""
    p = len(K) - 1
    eigenvalues, V = np.linalg.eigh(K[1:, 1:])
    kept = eigenvalues > p * np.finfo(float).eps * eigenvalues[-1]
    V, eigenvalues = V[:, kept], eigenvalues[kept]
    a = V @ (V.T @ K[1:, 0] / eigenvalues)  # [autoregression.3]
    variance = max(0.0, (K[0, 0] - a @ K[1:, 0]) / (M - p - 1))  # [autoregression.5]
    spread = np.vstack([-means[1:] @ V, V]) / np.sqrt(eigenvalues)  # a_0 = mean(x_t) - sum_j a_j mean(x_{t-j})
    covariance = spread @ spread.T
    covariance[0, 0] += 1 / M
    return LinearAR(a, float(means[0] - a @ means[1:]), variance, variance * covariance)
