"""Every argument check there is: one line at the start of a public function, none in an inner one.

The rule for what a caller passes:

    lists, data frames, integers, booleans    converted to the floating dtype of the call
    arrays of float32, float64                used as they are, never silently converted into each other
    NaN, infinity, empty                      ValueError
    float16, complex, text, objects, masked   TypeError
    NumPy among CuPy arrays                   TypeError, which says what to call

Each check returns the argument in the form that the formulas need, or raises a TypeError (wrong kind) or ValueError
(wrong value) that names the argument, says what came, and what was expected.
"""

import math

import numpy as np


def check_array(a, name, *, ndim=None, shape=None, like=None, dtype=None, finite=True, squares=False):
    """`a` as a float32 or float64 array, copied only where it must be converted.

    `shape` may hold None for any size. `like` is an array whose library and dtype `a` must share; `dtype` alone fixes
    the dtype. `finite=False`: NaN and infinity pass. `squares=True`: variances of the matrix will be computed, so its
    sum of squares must be far from overflow and from underflow.
    """
    a, listed = check_plain(a, name, like), not hasattr(a, "reshape")
    dtype = dtype if like is None else like.dtype
    if a.dtype.kind in "biu" or listed and a.dtype in (np.float32, np.float64):
        a = a.astype(dtype or np.float64)
    if a.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {a.dtype}, expected float32 or float64")
    if dtype is not None and a.dtype != dtype:
        raise TypeError(f"{name}: got dtype {a.dtype}, expected {np.dtype(dtype)}; call {name}.astype('{dtype}')")
    if like is not None and type(a) is not type(like):
        a = np.asarray(a, like=like)
    wanted = shape if shape is not None else (None,) * a.ndim if ndim is None else (None,) * ndim
    if len(wanted) != a.ndim or any(w not in (None, s) for w, s in zip(wanted, a.shape, strict=False)):
        words = ", ".join("any" if w is None else str(w) for w in wanted)
        raise ValueError(f"{name}: got shape {a.shape}, expected ({words})")
    if a.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {a.shape}, expected at least one element")
    if squares:
        return check_squares(a, name)
    if finite and not all_finite(a):
        raise ValueError(f"{name}: contains NaN or infinity, expected finite numbers")
    return a


def check_plain(a, name, like=None):
    """`a` as an array of NumPy's or CuPy's own class, whatever it holds."""
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected a plain one; call {name}.filled(value)")
    if hasattr(a, "toarray"):
        raise TypeError(f"{name}: got a sparse {type(a).__name__}, expected a dense array; call {name}.toarray()")
    arrays = [b for b in (a, like) if hasattr(b, "__array_function__")]
    if len({isinstance(b, np.ndarray) for b in arrays}) > 1:
        raise TypeError(
            f"{name}: NumPy and CuPy arrays are mixed; call cupy.asarray(a) or cupy.asnumpy(a) on one side"
        )
    if hasattr(a, "__array_function__") and not isinstance(a, np.ndarray):
        return a
    try:
        return np.asarray(a)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, but {error}") from None


def check_squares(a, name):
    """A matrix whose sum of squares is in a range in which variances can be computed."""
    total = float(np.vdot(a, a) if a.flags.c_contiguous else np.einsum("ij,ij->", a, a))  # neither copies a
    low, high = 1e8 * float(np.finfo(a.dtype).tiny), 1e-3 * float(np.finfo(a.dtype).max)
    if low <= total <= high:
        return a  # one pass says it all: with NaN or infinity the sum is neither
    if not np.isfinite(a).all():
        raise ValueError(f"{name}: contains NaN or infinity, expected finite numbers")
    if a.any():
        raise ValueError(f"{name}: the squares add up to {total:.1e}, expected {low:.1e} to {high:.1e}; rescale {name}")
    return a


def all_finite(a):
    """Whether no element is NaN or infinite. The sum of squares tells in one pass, unless it overflows."""
    return (a.flags.c_contiguous and math.isfinite(np.vdot(a, a))) or bool(np.isfinite(a).all())


def check_integers(a, name, *, low=None, high=None, ndim=1, shape=None):
    """`a` as a non-empty integer array with values in [low, high)."""
    a = check_plain(a, name)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {a.dtype}, expected integers")
    if shape is not None and (len(shape) != a.ndim or any(w not in (None, s) for w, s in zip(shape, a.shape))):  # noqa: B905
        words = ", ".join("any" if w is None else str(w) for w in shape)
        raise ValueError(f"{name}: got shape {a.shape}, expected ({words})")
    if (shape is None and a.ndim != ndim) or a.size == 0:
        raise ValueError(f"{name}: got shape {a.shape}, expected {ndim} non-empty dimension(s)")
    smallest, largest = int(a.min()), int(a.max())
    if (low is not None and smallest < low) or (high is not None and largest >= high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high - 1}"
        raise ValueError(f"{name}: got values from {smallest} to {largest}, expected {wanted}")
    return a


def check_number(value, name, *, low=-np.inf, high=np.inf, open_low=False, open_high=False):
    """`value` as a finite float within [low, high], ends excluded where open."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: got {value!r}, expected a real number")
    try:
        value = float(value)
    except OverflowError:
        value = math.copysign(math.inf, value)
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (math.isfinite(value) and above and below):
        ends = f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
        raise ValueError(f"{name}: got {value}, expected a finite number in {ends}")
    return value


def check_count(value, name, *, low=1, high=None):
    """`value` as an int of at least `low` and, where given, at most `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected an integer")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}: got {value}, expected at least {low}{'' if high is None else f', at most {high}'}")
    return int(value)


def check_counts(values, name, *, low=1, length=None):
    """A tuple of ints of at least `low`, from a tuple, a list or a one-dimensional array."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(values, (tuple, list)) or (length is not None and len(values) != length):
        wanted = "integers" if length is None else "a pair of integers" if length == 2 else f"{length} integers"
        raise ValueError(f"{name}: got {values!r}, expected {wanted}")
    return tuple(check_count(value, name, low=low) for value in values)


def check_pair(value, name):
    """Two positive ints, such as the height and width of an image."""
    return check_counts(value, name, length=2)


def check_rng(rng):
    """The random number generator that `rng` (a seed, a Generator or None; SPEC 7) stands for."""
    if isinstance(rng, (int, np.integer)):
        rng = check_count(rng, "rng", low=0)
    elif rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {type(rng).__name__}, expected an integer seed, a numpy.random.Generator or None")
    return np.random.default_rng(rng)


def check_callable(function, name):
    """Something that can be called."""
    if not callable(function):
        raise TypeError(f"{name}: got {type(function).__name__}, expected a function")
    return function


def check_components(output, target, weight=None):
    """Output, target and weight (or None) of a loss over components: finite matrices of one shape; weights ≥ 0."""
    output = check_array(output, "output", ndim=2)
    target = check_array(target, "target", like=output)
    weight = None if weight is None else check_array(weight, "weight", like=output)
    for name, a in (("target", target), ("weight", weight)):
        if a is not None and a.shape != output.shape:
            raise ValueError(f"{name}: got shape {a.shape}, expected {output.shape}, the output's")
    if weight is not None and weight.min() < 0:
        raise ValueError(f"weight: got {weight.min()}, expected no negative weight")
    return output, target, weight


def check_probabilities(p, name):
    """All of an array within [0, 1]."""
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"{name}: got values from {p.min()} to {p.max()}, expected within [0, 1]")


def check_classes(target, name, output):
    """One class, 0 … n−1, for each row of the output (N, n); on the output's device."""
    target = check_integers(target, name, low=0, high=output.shape[1])
    if target.shape != output.shape[:1]:
        raise ValueError(f"{name}: got shape {target.shape}, expected ({len(output)},)")
    return target if type(target) is type(output) else np.asarray(target, like=output)
