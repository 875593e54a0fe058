"""Arrays that follow the data's library, and random numbers that are the same on every device.

CuPy's arrays implement NumPy's own protocols (NEP 13 `__array_ufunc__`, NEP 18 `__array_function__`, NEP 35 `like=`):
`np.exp(x)`, `np.linalg.eigh(C)`, `np.zeros(k, like=x)` and `np.asarray(a, like=x)` are computed by the library that x
belongs to. So all of minissl says `np.` and runs on a GPU where it is given arrays that live there. What has no such
protocol stands here: a scattered sum, the way back to the host, and random numbers, which are always drawn on the host
by a `numpy.random.Generator` and then moved, so that the same seed gives the same run on the CPU and on the GPU.
"""

import sys
from collections.abc import Callable

import numpy as np

Array = np.ndarray  # or CuPy's
Task = Callable[[Array, np.random.Generator], tuple[Array, ...]]  # (x, rng) -> (input, target) or with a weight
Loss = Callable[..., tuple[float, Array]]  # (output, target[, weight]) -> (value, gradient in the output)
Penalty = Callable[[Array], tuple[float, Array]]  # hidden layer H -> (value, gradient in H)


def on_host(a: Array) -> np.ndarray:
    """`a` as a NumPy array; copied only from a GPU."""
    return a if isinstance(a, np.ndarray) else a.get()


def add_at(a: Array, index: Array, values: Array) -> None:
    """a[index] += values, in place, where an index that occurs k times counts k times."""
    add = np.add if isinstance(a, np.ndarray) else sys.modules["cupy"].add
    add.at(a, index, values)


def normal(rng: np.random.Generator, shape: tuple, like: Array) -> Array:
    """Independent N(0, 1) numbers of the dtype and library of `like`, drawn on the host."""
    return np.asarray(rng.standard_normal(shape, dtype=like.dtype), like=like)


def uniform(rng: np.random.Generator, shape: tuple, like: Array) -> Array:
    """Independent uniform numbers in [0, 1) of the dtype and library of `like`, drawn on the host."""
    return np.asarray(rng.random(shape, dtype=like.dtype), like=like)
