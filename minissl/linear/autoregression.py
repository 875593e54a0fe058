"""Autoregression: what prediction of the future comes to when the model is linear, in closed form.

    symbol      in code        meaning                                                             shape
    xₜ          x              scalar series, t = 0 … T−1                                          (T,)
    p           order, p       order: how many past values are seen                                integer
    N           N              number of targets xₜ, t = p … T−1; N = T − p                        integer
    a₀, a       intercept, a   intercept and coefficients                                          number, (p,)
    eₜ, σ²                     shock: what the past does not predict; its variance                 number
    s²          variance       estimate of σ²                                                      number
    b           b              (a₀, a₁, …, aₚ)                                                     (p+1,)
    X, y        X, y           lagged matrix, row (1, xₜ₋₁, …, xₜ₋ₚ) for target t; the targets     (N, p+1), (N,)
    x̄ᵢ          means          mean of xₜ₋ᵢ over the targets t                                     (p+1,)
    K           K              Kᵢⱼ = Σₜ (xₜ₋ᵢ − x̄ᵢ)(xₜ₋ⱼ − x̄ⱼ),  i, j = 0 … p                     (p+1, p+1)
    m, uₜ       m, u           mean of the series; centred series uₜ = xₜ − m                      number, (T,)
    c           c              power of two next to the largest |xₜ|; the code computes with x/c   number
    r_k         r              autocovariance of the series at lag k, zeros beyond its ends        number
    Γ                          autocovariance of the process, Γᵢⱼ = Cov(xₜ₋ᵢ, xₜ₋ⱼ), i, j ≥ 1      (p, p)
    ψₖ          psi            what a shock of 1 at time t adds to xₜ₊ₖ                            number

The model is [prediction.1] with a linear f:

    [autoregression.1]   xₜ = a₀ + a₁ xₜ₋₁ + … + aₚ xₜ₋ₚ + eₜ

**Least squares.** The objective is J = (1/N) ‖y − Xb‖². A change db of b changes it, to first order, by
−(2/N) (y − Xb)ᵀ X db, which is zero for every db iff

    [autoregression.2]   XᵀX b = Xᵀy

and as J is convex, this is the minimum. Its first line says that the errors add up to zero: a₀ = x̄₀ − Σⱼ aⱼ x̄ⱼ. Put
into the other lines, it takes the means out of all products:

    [autoregression.3]   Σⱼ Kᵢⱼ aⱼ = Kᵢ₀,  i, j = 1 … p;      a₀ = x̄₀ − Σⱼ aⱼ x̄ⱼ

**What is left over, and how uncertain b̂ is.** By [autoregression.2] y − Xb̂ is orthogonal to Xb̂, so ‖y − Xb̂‖² =
yᵀy − yᵀXb̂, or without the means K₀₀ − Σᵢ aᵢ Kᵢ₀. With p + 1 parameters fitted to N values,

    [autoregression.4]   s² = ‖y − Xb̂‖²/(N − p − 1) = (K₀₀ − Σᵢ aᵢ Kᵢ₀)/(N − p − 1),      Cov(b̂) ≈ s² (XᵀX)⁻¹

By the inverse of a block matrix (Schur complement) the block of a in (XᵀX)⁻¹ is (Kᵢⱼ)⁻¹, i, j ≥ 1. These are formulas
of regression with *fixed* regressors; there E s² = σ², and Cov(b̂) = σ² (XᵀX)⁻¹ exactly. Here the regressors are the
series itself, which depends on the shocks, and [autoregression.4] holds only for large T, if

    1. the model is stable [autoregression.8],
    2. the order suffices: the series obeys [autoregression.1] with this p,
    3. the eₜ are independent and identically distributed, with mean 0 and finite variance σ².

For then, with K for the (p, p) block i, j ≥ 1, â − a = K⁻¹ Σₜ (xₜ₋ᵢ − x̄ᵢ) eₜ, where K/T → Γ (law of large numbers),
and the sum over √T tends to N(0, σ²Γ): as eₜ is independent of all that is before t, its terms have mean zero given the
past (with the true mean for x̄ᵢ, which makes no difference in the limit), and sums of such *martingale differences*
obey a central limit theorem. Γ⁻¹ on both sides:

    [autoregression.5]   √T (â − a) → N(0, σ² Γ⁻¹) in distribution            (theorem: Mann & Wald 1943)

The *bias* is of order 1/T, less than the standard error's 1/√T, but not much less for a series with a long memory. For
p = 1 write â − a = A/B with A = Σₜ (xₜ₋₁ − x̄₁) eₜ, B = Σₜ (xₜ₋₁ − x̄₁)². With B = EB + (B − EB), to first order in the
second term, E(A/B) ≈ EA/EB − Cov(A, B)/(EB)². Let x be measured from its mean, and γ = Var xₜ = σ²/(1 − a²); then
EB ≈ Tγ. Nothing before t depends on eₜ, and xₜ₊ₖ for k = 0, 1, … is aᵏ (a xₜ₋₁ + eₜ) plus later shocks:

    EA = −E(x̄₁ Σₜ eₜ) ≈ −Σₖ E(eₜ xₜ₊ₖ) = −Σₖ aᵏ σ² = −σ²/(1 − a) = −γ (1 + a)       (x̄₁ is not the true mean, 0)
    Cov(A, B) ≈ Σₜ Σₖ E(xₜ₋₁ eₜ xₜ₊ₖ²) ≈ T Σₖ 2 a²ᵏ⁺¹ γ σ² = 2 a T γ²               (the term 2 a²ᵏ⁺¹ xₜ₋₁ eₜ of xₜ₊ₖ²)

    [autoregression.6]   E â − a ≈ −(1 + a)/T − 2a/T = −(1 + 3a)/T,   p = 1   (theorem: Marriott & Pope, Kendall 1954)

For a = 0.9 and T = 79 that is −0.047 (simulated: −0.051), as much as the standard error √((1 − a²)/T) = 0.049.

**Yule–Walker** (1927, 1931) continues u with zeros on both sides and lets t run over everything. Then all sums of
products with the same lag are equal. With r_k = (1/T) Σₜ uₜ uₜ₋ₖ, t = k … T−1,

    [autoregression.7]   Σⱼ r_|i−j| aⱼ = rᵢ,  i, j = 1 … p;      a₀ = m (1 − Σⱼ aⱼ)

It differs from least squares by at most p products at either end, out of N, that is by O(1/T), and has the same limit
[autoregression.5]; it is stable, if the matrix is invertible. But a nearly periodic series, predictable up to a noise
of 1e-6, cannot be predicted across the step to zero: K is then almost singular, and an error of O(1/T) outweighs its
small eigenvalues. Least squares sees no step.

**Stability.** With eₜ = 0 and a₀ = 0, [autoregression.1] is a linear recurrence. xₜ = zᵗ solves it iff zᵖ = Σᵢ aᵢ zᵖ⁻ⁱ,
and all solutions are sums of such (times powers of t where a root is multiple). A constant a₀ only moves the point
around which they do so, to a₀/(1 − Σᵢ aᵢ). So a disturbance dies out iff

    [autoregression.8]   every root of zᵖ − a₁ zᵖ⁻¹ − … − aₚ = 0 has |z| < 1

**How wrong a forecast is.** Forecasts are fed back [prediction.3], and their errors obey [autoregression.1] without
a₀: they add up, xₜ₊ₕ − x̂ₜ₊ₕ = Σₖ ψₖ eₜ₊ₕ₋ₖ over k < h, where a shock of 1 is carried on by the recurrence itself. For
uncorrelated shocks of variance σ², and h = 1, 2, … values ahead,

    [autoregression.9]   ψ₀ = 1,  ψₖ = Σᵢ aᵢ ψₖ₋ᵢ,  i = 1 … min(k, p);      Var(xₜ₊ₕ − x̂ₜ₊ₕ) = σ² Σₖ ψₖ²,  k = 0 … h−1

That is for known coefficients; their own uncertainty adds O(1/T), so intervals with s² and â in place of σ² and a are
somewhat too narrow.

**Without the lagged matrix** (to be read second). X repeats every value p times, and [autoregression.2] multiplies all
of it p times again: O(T p²) operations, O(T p) memory. But let

    Cᵢⱼ = Σₜ uₜ₋ᵢ uₜ₋ⱼ,   Sᵢ = Σₜ uₜ₋ᵢ,   t = p … T−1;      then  Kᵢⱼ = Cᵢⱼ − Sᵢ Sⱼ/N

as subtracting m changes no difference to a mean. Cᵢ₊₁,ⱼ₊₁ is the sum of the same products as Cᵢⱼ, taken one step
earlier in time: it gains the product before the first and loses the last.

    [autoregression.10]  Cᵢ₊₁,ⱼ₊₁ = Cᵢⱼ + uₚ₋₁₋ᵢ uₚ₋₁₋ⱼ − u_{T−1−i} u_{T−1−j}
                         Sᵢ₊₁     = Sᵢ  + uₚ₋₁₋ᵢ           − u_{T−1−i}

So only the first row, C₀ⱼ = Σₜ uₜ uₜ₋ⱼ, runs over the series: p + 1 dot products, O(T p) operations, O(p²) memory.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x = np.zeros(10_000)
>>> for t in range(2, len(x)):
...     x[t] = 1 + 0.9 * x[t - 1] - 0.5 * x[t - 2] + rng.standard_normal()
>>> model = least_squares(x, order=2)
>>> estimates = np.append(model.intercept, model.a)
>>> print((abs(estimates - [1, 0.9, -0.5]) < 5 * model.standard_errors).all())
True
>>> print(np.allclose(model.a, lagged_least_squares(x, order=2).a, rtol=1e-10))
True
>>> print(LinearAR(a=np.array([0.5]), intercept=0, variance=1, covariance=None).forecast_variance(3))
[1.     1.25   1.3125]

Sources: Mann & Wald, Econometrica 11 (1943), 173–220; Kendall, Biometrika 41 (1954), 403–404; Marriott & Pope, ibid.,
390–402; Brockwell & Davis, Time Series: Theory and Methods (1991), sections 3.1, 5.5, 8.1 and 8.10.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import toeplitz

from minissl._arrays import Array, on_host
from minissl._checks import check_array, check_count, check_series

BLOCK = 2**14  # samples at a time: what the dot products read again and again stays in the cache


class LinearAR(NamedTuple):
    """A linear autoregressive model [autoregression.1]; its numbers are float64 and live on the host."""

    a: np.ndarray  # (p,); a[i - 1] is aᵢ, the coefficient of xₜ₋ᵢ
    intercept: float  # a₀
    variance: float  # s², in units of x squared: 0 or infinite where that is out of range
    covariance: np.ndarray  # (p+1, p+1), of the estimates a₀, a₁, …, aₚ

    def __call__(self, x: Array) -> Array:
        """The next value for each window of p values, oldest first: (N, p) -> (N, 1)."""
        x = check_array(x, "x", shape=(None, len(self.a)))
        a = np.asarray(self.a[::-1], dtype=x.dtype, like=x)
        return (x @ a + float(self.intercept))[:, None]  # [autoregression.1] a₀ + a₁ xₜ₋₁ + … + aₚ xₜ₋ₚ

    @property
    def standard_errors(self) -> np.ndarray:
        """Of a₀, a₁, …, aₚ, shape (p+1,); for the conditions see [autoregression.4]."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def roots(self) -> np.ndarray:
        """The roots of [autoregression.8], shape (p,): eigenvalues of the companion matrix."""
        return np.linalg.eigvals(np.vstack([self.a, np.eye(len(self.a) - 1, len(self.a))]))

    @property
    def stable(self) -> bool:
        """Whether a disturbance dies out [autoregression.8]."""
        return bool((abs(self.roots) < 1).all())  # [autoregression.8] every root has |z| < 1

    def forecast_variance(self, steps: int) -> np.ndarray:
        """Variance of the forecast's error 1 … `steps` values ahead [autoregression.9], shape (steps,).

        FloatingPointError where the model is not stable and the variance runs off to infinity.
        """
        psi = np.zeros(check_count(steps, "steps"))
        psi[0] = 1
        with np.errstate(all="ignore"):
            for k in range(1, steps):
                past = psi[max(0, k - len(self.a)) : k][::-1]  # ψₖ₋₁, ψₖ₋₂, …
                psi[k] = self.a[: len(past)] @ past  # [autoregression.9] ψₖ = Σᵢ aᵢ ψₖ₋ᵢ
            variance = self.variance * np.cumsum(psi**2)  # [autoregression.9] σ² Σₖ ψₖ²
        if not np.isfinite(variance).all():
            raise FloatingPointError("forecast_variance: not finite; the model is not stable, or x should be rescaled")
        return variance


@np.errstate(over="ignore", under="ignore")
def lagged_least_squares(x: Array, order: int) -> LinearAR:
    """Linear autoregression by its definition, a regression on the lagged matrix: O(T p²) time, O(T p) memory.

    `x` is a scalar series (T,) of at least 2 `order` + 2 values. `least_squares` gives the same in less time wherever
    the condition number of XᵀX is far below 1e16.
    """
    x = check_series(x, "x", scalar=True)
    p = check_count(order, "order", high=len(x) // 2 - 1)
    c, m = _unit_and_mean(x)
    u = _centred(x, c, m)
    y = u[p:]
    X = np.stack([np.ones_like(y), *(u[p - i : len(u) - i] for i in range(1, p + 1))], axis=1)
    b = np.linalg.lstsq(X, y, rcond=None)[0]  # [autoregression.2] XᵀX b = Xᵀy
    e = y - X @ b
    variance = float(e @ e) / (len(y) - p - 1)  # [autoregression.4] ‖y − Xb̂‖²/(N − p − 1)
    covariance = variance * np.linalg.pinv(X.T @ X)  # [autoregression.4] s² (XᵀX)⁻¹
    return _in_units_of_x(on_host(b), variance, on_host(covariance), c, m)


@np.errstate(over="ignore", under="ignore")
def yule_walker(x: Array, order: int) -> LinearAR:
    """Linear autoregression by the Yule–Walker equations [autoregression.7]; arguments as in `least_squares`.

    Stable, unless the matrix is singular to rounding.
    """
    x = check_series(x, "x", scalar=True)
    p = check_count(order, "order", high=len(x) // 2 - 1)
    c, m = _unit_and_mean(x)
    u = _centred(x, c, m)
    rest = float(u.mean())  # what rounding has left of the mean, so that it is not taken for signal
    u = u - rest
    T = len(u)
    r = np.array([float(u[k:] @ u[: T - k]) / T for k in range(p + 1)])  # [autoregression.7] (1/T) Σₜ uₜ uₜ₋ₖ
    return _in_units_of_x(*_solve(T * toeplitz(r), np.zeros(p + 1), T), c, m + rest)


@np.errstate(over="ignore", under="ignore")
def least_squares(x: Array, order: int) -> LinearAR:
    """Linear autoregression by exact least squares, without the lagged matrix: O(T p) time, O(p²) memory.

    `x` is a scalar series (T,) of at least 2 `order` + 2 values. Where K is singular to rounding (a constant series,
    noiseless oscillations) `a` is the solution of least norm. Rounding limits s² to about 1e-15 K₀₀/N, and K to 1e-16
    times the square of the largest value at an end of the series.
    """
    x = check_series(x, "x", scalar=True)
    p = check_count(order, "order", high=len(x) // 2 - 1)
    c, m = _unit_and_mean(x)
    T = len(x)
    first, total = 0, 0
    for t in range(p, T, BLOCK):
        u = _centred(x[t - p : t + BLOCK], c, m)
        first = first + np.correlate(u, u[p:], "valid")[::-1]  # C₀ⱼ = Σₜ uₜ uₜ₋ⱼ
        total = total + u[p:].sum()  # S₀ = Σₜ uₜ
    head = on_host(_centred(x[:p], c, m))[::-1]  # (uₚ₋₁, …, u₀)
    tail = on_host(_centred(x[T - p :], c, m))[::-1]  # (u_{T−1}, …, u_{T−p})

    C, S = np.empty((p + 1, p + 1)), np.empty(p + 1)
    C[0] = C[:, 0] = on_host(first)
    S[0] = float(total)
    for i in range(p):
        C[i + 1, 1:] = C[i, :-1] + head[i] * head - tail[i] * tail  # [autoregression.10] Cᵢⱼ + uₚ₋₁₋ᵢ uₚ₋₁₋ⱼ − …
        S[i + 1] = S[i] + head[i] - tail[i]  # [autoregression.10] Sᵢ + uₚ₋₁₋ᵢ − u_{T−1−i}
    return _in_units_of_x(*_solve(C, S, T - p), c, m)


def _unit_and_mean(x):
    """A power of two c next to the largest |xₜ|, and the mean m of x/c: in this unit no square is out of range."""
    largest = max(abs(float(x.max())), abs(float(x.min())))
    c = 2.0 ** max(math.frexp(largest)[1] - 1, -1022)  # at least the smallest whose 1/c is finite
    blocks = (x[t : t + BLOCK] for t in range(0, len(x), BLOCK))
    return c, sum(float(_centred(block, c, 0).sum()) for block in blocks) / len(x)


def _centred(x, c, m):
    """u = x/c − m in float64; as c is a power of two, the division rounds nothing."""
    return np.multiply(x, 1 / c, dtype=np.float64) - m


def _solve(C, S, N):
    """(b̂, s², Cov b̂) from sums of products and sums [autoregression.3, 4]; of least norm where K is singular."""
    p = len(S) - 1
    means = S / N
    K = C - np.outer(S, means)
    rounding = 8 * (p + 1) * np.finfo(float).eps * C.diagonal().max()  # the error of K, in tests at most half of this
    eigenvalues, V = np.linalg.eigh(K[1:, 1:])
    V, eigenvalues = V[:, eigenvalues > rounding], eigenvalues[eigenvalues > rounding]
    a = V @ (V.T @ K[1:, 0] / eigenvalues)  # [autoregression.3] Σⱼ Kᵢⱼ aⱼ = Kᵢ₀
    b = np.append(means[0] - a @ means[1:], a)  # [autoregression.3] a₀ = x̄₀ − Σⱼ aⱼ x̄ⱼ
    variance = max(0.0, float(K[0, 0] - a @ K[1:, 0])) / (N - p - 1)  # [autoregression.4] (K₀₀ − Σᵢ aᵢ Kᵢ₀)/(N − p − 1)
    root = np.vstack([-means[1:] @ V, V]) / np.sqrt(eigenvalues)
    inverse = root @ root.T  # K⁻¹, bordered by the line of a₀
    inverse[0, 0] += 1 / N
    return b, variance, variance * inverse


def _in_units_of_x(b, variance, covariance, c, m):
    """The model of x = c (m + u) from that of u: a₀ becomes c [a₀ + m (1 − Σᵢ aᵢ)], linear in b; a stays."""
    D = np.eye(len(b))
    D[0, 1:] = -m
    covariance = D @ covariance @ D.T
    covariance[0] *= c
    covariance[:, 0] *= c
    return LinearAR(b[1:], c * (m + float(D[0] @ b)), c * (c * variance), covariance)
