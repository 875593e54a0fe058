"""Prediction of the future: the past of a series is the input, its next value the target.

    symbol    in code     meaning                                                        shape
    xₜ        x           series, scalar or vector, t = 0 … T−1                          (T,) or (T, n)
    p         order       order: how many past values the model sees                     integer
    N                     number of windows, T − p                                       integer
    f         model       the model: a network, a linear model, any function             (N, p n) → (N, n)
    m                     conditional mean of the next value, given the past
    eₜ, σ     shocks      what the past does not predict, and its standard deviation     (N, steps) or (N, steps, n)
    h         steps       how many values ahead                                          integer
    x̂ₜ₊ₕ      x           forecast of xₜ₊ₕ                                               (N, steps) or (N, steps, n)

Where there is time, there is a pretext task. The series is cut into windows of p + 1 values; the first p are the input,
the last is the target. What follows is a regression, its loss a mean over windows of a sum over components:

    [prediction.1]   input (xₜ₋ₚ, …, xₜ₋₁),  target xₜ;      J(f) = (1/N) Σₜ ‖xₜ − f(xₜ₋ₚ, …, xₜ₋₁)‖²

**What is learned.** Let the series be stationary and ergodic with finite variance, so that J tends to an expectation.
Write m for E(xₜ | xₜ₋ₚ, …, xₜ₋₁), a function of the past, as f is. Given the past, xₜ − m has mean 0, and m − f is
fixed; so E[(xₜ − m)ᵀ(m − f)] = 0, and what is left of the square of xₜ − f = (xₜ − m) + (m − f) is

    [prediction.2]   E‖xₜ − f‖² = E‖xₜ − m‖² + E‖m − f‖²,      m = E(xₜ | xₜ₋ₚ, …, xₜ₋₁)              (theorem)

The first term does not depend on f: the best model is the conditional mean.

**Further ahead**, unknown values are replaced by their own forecasts. Where shocks are given, each is added to its
value before that is fed back, and the result is not a forecast but a possible future, a new series:

    [prediction.3]   x̂ₜ₊ₕ = f(x̂ₜ₊ₕ₋ₚ, …, x̂ₜ₊ₕ₋₁) + eₜ₊ₕ  (0 in a forecast),      x̂ₜ₊ₖ = xₜ₊ₖ for k ≤ 0

**Is a forecast fed back the conditional mean?** One value ahead it is, if f is. Two ahead let xₜ₊₁ = f(xₜ) + eₜ₊₁ with
mean 0 and variance σ², independent of the past (p = 1, for brevity). Then xₜ₊₁ = x̂ₜ₊₁ + e, and what is wanted is

    E(xₜ₊₂ | xₜ) = E f(x̂ₜ₊₁ + e) ≈ f(x̂ₜ₊₁) + ½ f″(x̂ₜ₊₁) σ²,      not  x̂ₜ₊₂ = f(x̂ₜ₊₁)

For f(x) = a₀ + a x the two agree, since E(a e) = 0; likewise for any p and h, since then x̂ is linear in the shocks. For
a curved f they do not agree. (x̂ + e)² = x̂² + 2 x̂ e + e² has mean x̂² + σ². And cos(2x̂ + 2e) = cos 2x̂ cos 2e −
sin 2x̂ sin 2e, where for normal e the means are E cos 2e = exp(−2σ²) (characteristic function) and E sin 2e = 0:

    [prediction.4]   E(xₜ₊₂ | xₜ) − f(f(xₜ)) = 0                              for linear f                     (theorem)
                                             = σ²                             for f(x) = x²
                                             = [exp(−2σ²) − 1] f(f(xₜ))       for f(x) = cos 2x, normal e

The remedy is to average possible futures. With shocks distributed as e (drawn from the residuals of the model, say),
each path r = 1 … R is one draw from the distribution of the future given the past, so the law of large numbers gives

    [prediction.5]   (1/R) Σᵣ x̂⁽ʳ⁾ₜ₊ₕ → E(xₜ₊ₕ | past),      with standard error  sd(xₜ₊ₕ | past)/√R           (theorem)

>>> import numpy as np
>>> def f(x):
...     return np.cos(2 * x)
>>> now = np.array([[0.3]])
>>> print(forecast(f, now, steps=2).round(3))  # fed back
[[ 0.825 -0.08 ]]
>>> shocks = 0.4 * np.random.default_rng(0).standard_normal((10**6, 2))
>>> futures = forecast(f, np.repeat(now, 10**6, axis=0), 2, shocks)
>>> print(futures[:, 1].mean().round(2), (np.exp(-2 * 0.4**2) * np.cos(2 * np.cos(0.6))).round(2))  # E(xₜ₊₂ | xₜ)
-0.06 -0.06

The other remedy is a model for each h, trained on the target h values ahead. It needs no other task: of windows of
p + h values keep the first p and the last, `next_value(p)(windows(x, p + h)[:, [*range(p), -1]], rng)`.

Sources: Granger & Teräsvirta, Modelling Nonlinear Economic Relationships (1993), chapter 8 (naive, Monte Carlo and
bootstrap forecasts); Brockwell & Davis, Time Series: Theory and Methods (1991), section 2.7 (conditional mean).
"""

from functools import partial

import numpy as np

from minissl._arrays import Array, Task
from minissl._checks import check_array, check_callable, check_count, check_series, check_windows


def windows(x: Array, length: int) -> Array:
    """All windows of a series (T,) or (T, n), as a read-only view that costs no memory.

    Row t is (xₜ, …, xₜ₊ₗ₋₁), l = length: shape (T − l + 1, l) or (T − l + 1, l, n). Integers, such as word numbers,
    stay integers. A gap (NaN) is an error: cut the series there or fill it.
    """
    x = check_series(x, "x")
    length = check_count(length, "length", high=len(x))
    view = np.lib.stride_tricks.sliding_window_view(x, length, axis=0)  # the last axis runs through the window
    return np.moveaxis(view, -1, 1)


def next_value(order: int) -> Task:
    """The task: windows of p + 1 values, as `windows` cuts them -> (the first p, the last) [prediction.1].

    From (N, p + 1) or (N, p + 1, n) to input (N, p n), oldest value first, and target (N, n). For `squared_error`.
    """
    return partial(_next_value, check_count(order, "order"))


def _next_value(order, x, rng):
    x = check_windows(x, "x", order + 1)
    return x[:, :-1].reshape(len(x), -1), x[:, -1].reshape(len(x), -1)  # [prediction.1] (xₜ₋ₚ, …, xₜ₋₁), xₜ


@np.errstate(under="ignore")
def forecast(model, past: Array, steps: int, shocks: Array | None = None) -> Array:
    """Continue each window by the model's own predictions, fed back [prediction.3]; (N, steps) or (N, steps, n).

    `model` is any function of (N, p n), oldest value first, that returns (N, n). `past` holds the last p values before
    each forecast, (N, p) or (N, p, n): `windows(x, p)` for all times, `x[None, -p:]` for the end of a series. `shocks`,
    of the shape of the result, make it a possible future; the mean of many futures is the conditional mean
    [prediction.5], which without shocks it is for linear models only [prediction.4].
    FloatingPointError where the model is not stable and a value runs off to infinity.
    """
    check_callable(model, "model")
    past = check_windows(past, "past")
    steps = check_count(steps, "steps")
    N, p, *n = past.shape
    x = np.concatenate([past, np.zeros((N, steps, *n), dtype=past.dtype, like=past)], axis=1)
    if shocks is not None:
        x[:, p:] = check_array(shocks, "shocks", shape=(N, steps, *n), like=past)
    for t in range(p, p + steps):
        f = model(x[:, t - p : t].reshape(N, -1))
        f = check_array(f, "model", shape=(N, *(n or (1,))), like=past, finite=False)
        x[:, t] += f.reshape(N, *n)  # [prediction.3] x̂ₜ₊ₕ = f(x̂ₜ₊ₕ₋ₚ, …, x̂ₜ₊ₕ₋₁) + eₜ₊ₕ
        if not np.isfinite(x[:, t]).all():
            raise FloatingPointError(f"forecast: not finite {t - p + 1} values ahead; the model is not stable")
    return x[:, p:]
