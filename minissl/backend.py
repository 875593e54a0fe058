"""Arrays at the door: which library they belong to, and whether they are fit to compute with.

Everything in minissl runs on NumPy and on CuPy arrays alike. The array library follows the data: a function asks
`namespace` for it, calls it `xp`, and writes `xp.exp(z)` where a NumPy program would write `np.exp(z)`.

The rule for what a user passes in:

    lists, data frames, integers, booleans    converted to the floating dtype of the call
    float32, float64                          used as they are, never silently converted into each other
    NaN, infinity, empty                      ValueError
    float16, complex, text, objects           TypeError
    NumPy among CuPy arrays                   TypeError, which says what to call

Random numbers are always drawn on the host by a `numpy.random.Generator` and then moved, so the same seed gives the
same run on the CPU and on the GPU.
"""

import sys

import numpy as np


def namespace(*arrays):
    """The array library that the arrays belong to.

    Parameters
    ----------
    *arrays : array_like
        Lists, scalars and None belong to no library and are passed over.

    Returns
    -------
    module
        `cupy` where the arrays are CuPy's, `numpy` otherwise.

    Raises
    ------
    TypeError
        If NumPy and CuPy arrays are mixed.
    """
    cupy = sys.modules.get("cupy")  # whoever holds a CuPy array has imported CuPy
    if cupy is None or not any(isinstance(a, cupy.ndarray) for a in arrays):
        return np
    if any(isinstance(a, np.ndarray) for a in arrays):
        raise TypeError("NumPy and CuPy arrays are mixed; move one side with cupy.asarray(a) or cupy.asnumpy(a)")
    return cupy


def array(a, name, *, ndim=None, shape=None, like=None, dtype=None):
    """`a` as a floating array that is fit to compute with, or an error that names it.

    Parameters
    ----------
    a : array_like
        What the user passed in. It is never modified; it is copied only where it must be converted.
    name : str
        The argument's name, for the error.
    ndim : int, optional
        Number of dimensions expected.
    shape : tuple of int or None, optional
        Shape expected; None stands for any size.
    like : ndarray, optional
        Array whose library and dtype `a` must share.
    dtype : dtype, optional
        Floating dtype expected; lists and integers are converted to it. Default: that of `like`, else any, and
        float64 for lists and integers.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If the dtype or the library is another.
    ValueError
        If the shape is another, or if `a` is empty or holds NaN or infinity.
    """
    xp = namespace(a, like)
    if like is not None:
        xp, dtype = namespace(like), like.dtype
    if not hasattr(a, "dtype") or not hasattr(a, "reshape"):
        try:
            a = np.asarray(a)
        except ValueError as error:
            raise ValueError(f"{name}: expected an array, but {error}") from None
    if a.dtype.kind in "biu":
        a = a.astype(dtype or np.float64)
    if a.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {a.dtype}, expected float32 or float64")
    if dtype is not None and a.dtype != dtype:
        raise TypeError(f"{name}: got dtype {a.dtype}, expected {np.dtype(dtype)}; call {name}.astype('{dtype}')")
    if xp is not np:
        a = xp.asarray(a)
    wanted = shape if shape is not None else (None,) * a.ndim if ndim is None else (None,) * ndim
    if len(wanted) != a.ndim or any(w not in (None, s) for w, s in zip(wanted, a.shape, strict=False)):
        words = ", ".join("any" if w is None else str(w) for w in wanted)
        raise ValueError(f"{name}: got shape {a.shape}, expected ({words})")
    if a.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {a.shape}, expected at least one element")
    if not xp.isfinite(a).all():
        raise ValueError(f"{name}: contains NaN or infinity, expected finite numbers")
    return a


def integers(a, name, *, low=None, high=None, ndim=1):
    """`a` as an integer array with values in [low, high), or an error that names it.

    Raises
    ------
    TypeError
        If `a` is not of an integer dtype.
    ValueError
        If `a` is empty, has another number of dimensions, or a value out of range.
    """
    a = a if hasattr(a, "dtype") and hasattr(a, "reshape") else np.asarray(a)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {a.dtype}, expected integers")
    if a.ndim != ndim or a.size == 0:
        raise ValueError(f"{name}: got shape {a.shape}, expected {ndim} non-empty dimension(s)")
    smallest, largest = int(a.min()), int(a.max())
    if (low is not None and smallest < low) or (high is not None and largest >= high):
        raise ValueError(f"{name}: got values from {smallest} to {largest}, expected from {low} to {high - 1}")
    return a


def number(value, name, *, low=-np.inf, high=np.inf, open_low=False, open_high=False):
    """`value` as a float within [low, high] (ends excluded where open), or an error that names it.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    ValueError
        If it is NaN, infinite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: got {value!r}, expected a real number")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (np.isfinite(value) and above and below):
        ends = f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
        raise ValueError(f"{name}: got {value}, expected a finite number in {ends}")
    return float(value)


def count(value, name, *, low=1, high=None):
    """`value` as an int of at least `low` and, where given, at most `high`, or an error that names it.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected an integer")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}: got {value}, expected at least {low}{'' if high is None else f', at most {high}'}")
    return int(value)


def generator(rng):
    """The random number generator that `rng` (a seed, a Generator or None) stands for.

    Raises
    ------
    TypeError
        If `rng` is none of these.
    """
    if rng is None or isinstance(rng, (int, np.integer, np.random.Generator)) and not isinstance(rng, bool):
        return np.random.default_rng(rng)
    raise TypeError(f"rng: got {type(rng).__name__}, expected an integer seed, a numpy.random.Generator or None")


def normal(rng, shape, like):
    """Independent N(0, 1) numbers of the dtype and library of `like`, drawn on the host."""
    return namespace(like).asarray(rng.standard_normal(shape, dtype=like.dtype))


def uniform(rng, shape, like):
    """Independent uniform numbers in [0, 1) of the dtype and library of `like`, drawn on the host."""
    return namespace(like).asarray(rng.random(shape, dtype=like.dtype))
