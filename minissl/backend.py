"""Arrays at the door: which library they belong to, and whether they are fit to compute with.

Everything in minissl runs on NumPy and on CuPy arrays alike. The array library follows the data: a function asks
`namespace` for it, calls it `xp`, and writes `xp.exp(z)` where a NumPy program would write `np.exp(z)`.

The rule for what a user passes in:

    lists, data frames, integers, booleans    converted to the floating dtype of the call
    arrays of float32, float64                used as they are, never silently converted into each other
    NaN, infinity, empty                      ValueError
    float16, complex, text, objects, masked   TypeError
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
        raise TypeError("NumPy and CuPy arrays are mixed; call cupy.asarray(a) or cupy.asnumpy(a) on one side")
    return cupy


def array(a, name, *, ndim=None, shape=None, like=None, dtype=None, finite=True, squares=False):
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
    finite : bool
        Whether to look for NaN and infinity. Without, the caller does.
    squares : bool
        Whether variances of the matrix `a` will be computed: its sum of squares must be far from overflow and from
        underflow.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If the dtype or the library is another.
    ValueError
        If the shape is another, if `a` is empty or holds NaN or infinity, or if its squares add up to too much or,
        other than zero, to too little.
    """
    listed = not hasattr(a, "reshape")
    a = plain(a, name, like)
    xp, dtype = (namespace(a), dtype) if like is None else (namespace(like), like.dtype)
    if a.dtype.kind in "biu" or listed and a.dtype in (np.float32, np.float64):
        a = a.astype(dtype or np.float64)
    if a.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {a.dtype}, expected float32 or float64")
    if dtype is not None and a.dtype != dtype:
        raise TypeError(f"{name}: got dtype {a.dtype}, expected {np.dtype(dtype)}; call {name}.astype('{dtype}')")
    a = xp.asarray(a)
    wanted = shape if shape is not None else (None,) * a.ndim if ndim is None else (None,) * ndim
    if len(wanted) != a.ndim or any(w not in (None, s) for w, s in zip(wanted, a.shape, strict=False)):
        words = ", ".join("any" if w is None else str(w) for w in wanted)
        raise ValueError(f"{name}: got shape {a.shape}, expected ({words})")
    if a.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {a.shape}, expected at least one element")
    if squares:
        total = float(xp.vdot(a, a) if a.flags.c_contiguous else xp.einsum("ij,ij->", a, a))  # neither copies a
        low, high = 1e8 * float(np.finfo(a.dtype).tiny), 1e-3 * float(np.finfo(a.dtype).max)
        if low <= total <= high:
            return a  # one pass says it all: with NaN or infinity the sum is neither
    if finite and not xp.isfinite(a).all():
        raise ValueError(f"{name}: contains NaN or infinity, expected finite numbers")
    if squares and a.any():
        raise ValueError(f"{name}: the squares add up to {total:.1e}, expected {low:.1e} to {high:.1e}; rescale {name}")
    return a


def plain(a, name, like=None):
    """`a` as an array of NumPy's or CuPy's own class, whatever it holds; or an error that names it.

    Raises
    ------
    TypeError
        If it is a masked array, whose mask would be lost, or of another library than `like`.
    ValueError
        If its rows are of different lengths.
    """
    try:
        xp = namespace(a, like)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected a plain one; call {name}.filled(value)")
    if xp is not np and isinstance(a, xp.ndarray):
        return a
    try:
        return np.asarray(a)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, but {error}") from None


def integers(a, name, *, low=None, high=None, ndim=1):
    """`a` as an integer array with values in [low, high), or an error that names it.

    Raises
    ------
    TypeError
        If `a` is not of an integer dtype.
    ValueError
        If `a` is empty, has another number of dimensions, or a value out of range.
    """
    a = plain(a, name)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {a.dtype}, expected integers")
    if a.ndim != ndim or a.size == 0:
        raise ValueError(f"{name}: got shape {a.shape}, expected {ndim} non-empty dimension(s)")
    smallest, largest = int(a.min()), int(a.max())
    if (low is not None and smallest < low) or (high is not None and largest >= high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high - 1}"
        raise ValueError(f"{name}: got values from {smallest} to {largest}, expected {wanted}")
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


def slopes(H, delta, penalties, sizes, like):
    """What the backward pass of a network starts from, dJ/dH_L and {l: dP/dH_l}, fit to compute with.

    Parameters
    ----------
    H : list of ndarray
        Layers of `sizes` columns, as the forward pass returned them: only their shapes are looked at.
    delta, penalties, like
        As in `MLP.backward`; `like` is theta.

    Raises
    ------
    TypeError, ValueError
        If the layers are those of another network, or a derivative is not of its layer's shape.
    """
    shapes = [getattr(h, "shape", ()) for h in H] if isinstance(H, (list, tuple)) else []
    if [shape[1:] for shape in shapes] != [(n,) for n in sizes] or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"H: got layers of shapes {shapes}, expected (N, n) with n = {sizes}")
    if not isinstance(penalties, dict):
        raise TypeError(f"penalties: got {type(penalties).__name__}, expected a dict of hidden layers")
    for l in penalties:
        if l not in range(1, len(H) - 1):
            raise ValueError(f"penalties: got layer {l!r}, expected a hidden layer, 1 .. {len(H) - 2}")
    P = {l: array(dP, "penalties", shape=H[l].shape, like=like) for l, dP in penalties.items()}
    return array(delta, "delta", shape=H[-1].shape, like=like), P


def writeable(theta):
    """`theta` itself where it can be written to, else a copy."""
    return np.require(theta, requirements="W") if isinstance(theta, np.ndarray) else theta


def pair(value, name):
    """`value` as two positive ints, such as the height and width of an image, or an error that names it.

    Raises
    ------
    TypeError, ValueError
        If `value` is not two positive integers.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r}, expected a pair of integers")
    return count(value[0], name), count(value[1], name)


def generator(rng):
    """The random number generator that `rng` (a seed, a Generator or None) stands for.

    Raises
    ------
    TypeError
        If `rng` is none of these.
    ValueError
        If it is a negative seed.
    """
    if isinstance(rng, (int, np.integer)):
        rng = count(rng, "rng", low=0)
    elif rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {type(rng).__name__}, expected an integer seed, a numpy.random.Generator or None")
    return np.random.default_rng(rng)


def normal(rng, shape, like):
    """Independent N(0, 1) numbers of the dtype and library of `like`, drawn on the host."""
    return namespace(like).asarray(rng.standard_normal(shape, dtype=like.dtype))


def uniform(rng, shape, like):
    """Independent uniform numbers in [0, 1) of the dtype and library of `like`, drawn on the host."""
    return namespace(like).asarray(rng.random(shape, dtype=like.dtype))
