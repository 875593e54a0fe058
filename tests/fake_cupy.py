"""A stand-in for CuPy on machines without a GPU, which refuses what CuPy would refuse.

`device()` returns CuPy itself where a GPU is at hand. Elsewhere it installs, under CuPy's name, a module whose arrays
are no NumPy arrays and follow CuPy's rules, as its source has them (cupy/_core/core.pyx; of versions 13 to 15 the
strictest):

    np.exp(a), a + 1          `__array_ufunc__`: CuPy's function of that name; keywords out, dtype, casting
    np.add.at, np.add.reduce  refused
    np.linalg.eigh(a)         `__array_function__`: CuPy's function of that name in the same submodule, if any, with
                              CuPy's keywords: not where=, initial=, correction=, stable=
    np.zeros(3, like=a)       likewise. NumPy passes device= on from np.ones, np.full and np.eye, which CuPy lacks:
                              np.ones_like(a, shape=3), np.full_like(a, 2, shape=3) and np.identity(3, like=a) work
    a + b, np.dot(a, b)       TypeError where b is a NumPy array or a list
    np.asarray(a)             TypeError: no implicit conversion; `a.get()` is the NumPy array
    a[i] = b                  ValueError where b is a NumPy array or a list; the index i may be either
    a.sum(), a[0]             arrays of no dimensions, which float() and int() read, but range() does not
    singular matrices         no LinAlgError, but numbers without meaning, here NaN
    overflow, 0/0             no warning, whatever np.errstate says
"""

import functools
import inspect
import sys
import types

import numpy as np

UFUNCS = """
absolute add arccos arcsin arctan arctan2 arctanh cbrt ceil conjugate copysign cos cosh divide equal exp exp2 expm1 fabs
floor floor_divide fmax fmin greater greater_equal hypot invert isfinite isinf isnan less less_equal log log10 log1p
log2 logaddexp logical_and logical_not logical_or logical_xor bitwise_and bitwise_or bitwise_xor matmul maximum minimum
multiply negative not_equal positive power reciprocal remainder rint sign signbit sin sinh sqrt square subtract tan tanh
true_divide
""".split()

# Functions with CuPy's parameters; those after * by name alone
FUNCTIONS = """
all a axis out keepdims; any a axis out keepdims; allclose a b rtol atol equal_nan; append arr values axis
arange start stop step dtype; argmax a axis dtype out keepdims; argmin a axis dtype out keepdims
argpartition a kth axis; argsort a axis kind; array_equal a1 a2 equal_nan
array_split ary indices_or_sections axis; bincount x weights minlength
broadcast_to array shape; clip a a_min a_max out; column_stack tup; concatenate tup axis out * dtype casting
convolve a v mode; copy a order; correlate a v mode; count_nonzero a axis; cov a y rowvar bias ddof fweights aweights
cumprod a axis dtype out; cumsum a axis dtype out; diag v k; diagonal a offset axis1 axis2; diff a n axis prepend append
dot a b out; einsum *operands dtype optimize; empty shape dtype order; empty_like prototype dtype order subok shape
expand_dims a axis; eye N M k dtype order; fill_diagonal a val wrap; flatnonzero a; flip a axis
full shape fill_value dtype order; full_like a fill_value dtype order subok shape; hstack tup * dtype casting
identity n dtype; inner a b; isclose a b rtol atol equal_nan; kron a b; max a axis out keepdims
linspace start stop num endpoint retstep dtype axis; mean a axis dtype out keepdims
median a axis out overwrite_input keepdims; meshgrid *xi indexing sparse copy; min a axis out keepdims
moveaxis a source destination; nan_to_num x copy nan posinf neginf; nonzero a; ones shape dtype order
ones_like a dtype order subok shape; outer a b out; pad array pad_width mode constant_values; partition a kth axis
percentile a q axis out overwrite_input method keepdims; prod a axis dtype out keepdims; ptp a axis out keepdims
quantile a q axis out overwrite_input method keepdims; ravel a order; repeat a repeats axis; reshape a newshape order
roll a shift axis; round a decimals out; searchsorted a v side sorter; shares_memory a b max_work; sort a axis kind
split ary indices_or_sections axis; squeeze a axis; stack tup axis out * dtype casting
std a axis dtype out ddof keepdims; sum a axis dtype out keepdims; swapaxes a axis1 axis2; take a indices axis out
take_along_axis a indices axis; tensordot a b axes; tile A reps; trace a offset axis1 axis2 dtype out; transpose a axes
tril m k; triu m k; unique ar return_index return_inverse return_counts axis * equal_nan
var a axis dtype out ddof keepdims; vdot a b; vstack tup * dtype casting; where condition x y; zeros shape dtype order
zeros_like a dtype order subok shape; linalg.cholesky a; linalg.det a; linalg.eigh a UPLO; linalg.eigvalsh a UPLO
linalg.inv a; linalg.lstsq a b rcond; linalg.matrix_power M n; linalg.matrix_rank M tol; linalg.pinv a rcond
linalg.norm x ord axis keepdims; linalg.qr a mode; linalg.slogdet a; linalg.solve a b
linalg.svd a full_matrices compute_uv; lib.stride_tricks.as_strided x shape strides
lib.stride_tricks.sliding_window_view x window_shape axis * subok
"""
METHODS = """
all axis out keepdims; any axis out keepdims; argmax axis out dtype keepdims; argmin axis out dtype keepdims
argpartition kth axis; argsort axis kind; astype dtype order casting subok copy; clip min max out; conj; copy order
cumprod axis dtype out; cumsum axis dtype out; diagonal offset axis1 axis2; dot b out; fill value; flatten order; item
max axis out keepdims; mean axis dtype out keepdims; min axis out keepdims; nonzero; prod axis dtype out keepdims
ravel order; repeat repeats axis; reshape *shape order copy; round decimals out; searchsorted v side sorter
sort axis kind; squeeze axis; std axis dtype out ddof keepdims; sum axis dtype out keepdims; swapaxes axis1 axis2
take indices axis out; tobytes order; tolist; trace offset axis1 axis2 dtype out; transpose *axes
var axis dtype out ddof keepdims; view dtype
"""
FLAGS = "c_contiguous f_contiguous owndata"


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that lives elsewhere. Its operators are NumPy's ufuncs, as CuPy's are."""

    def __init__(self, host):
        self._host = np.asarray(host)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        known = (ndarray, np.ndarray, np.generic, bool, int, float, complex)
        if method != "__call__" or not hasattr(cupy, ufunc.__name__) or not all(isinstance(x, known) for x in inputs):
            return NotImplemented
        return getattr(cupy, ufunc.__name__)(*inputs, **options, **({"out": out[0]} if out else {}))

    def __array_function__(self, function, classes, arguments, options):
        try:
            module = functools.reduce(getattr, function.__module__.split(".")[1:], cupy)
            there = getattr(module, function.__name__)
        except AttributeError:
            return NotImplemented
        return there(*arguments, **options) if all(c in (ndarray, np.ndarray) for c in classes) else NotImplemented

    def get(self):
        return self._host.copy()

    def __getitem__(self, index):
        return ndarray(self._host[on_either(index)])

    def __setitem__(self, index, value):
        if not isinstance(value, ndarray) and np.ndim(value) > 0:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._host[on_either(index)] = on_either(value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __reduce__(self):
        return ndarray, (self.get(),)

    flags = property(lambda self: types.SimpleNamespace(**{f: getattr(self._host.flags, f) for f in FLAGS.split()}))


def on_either(value):
    """What NumPy reads in the place of an index, or of what is to be moved or copied: it may live here or there."""
    if isinstance(value, (tuple, list)):
        return type(value)(on_either(v) for v in value)
    return value._host if isinstance(value, ndarray) else value


def on_device(value):
    """What NumPy computes with in the place of an argument, which may hold no NumPy array."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(on_device(v) for v in value) if isinstance(value, (tuple, list)) else on_either(value)


def wrapped(result):
    """A result of NumPy's as CuPy returns it."""
    if isinstance(result, (tuple, list)):
        return (list if isinstance(result, list) else tuple)(wrapped(r) for r in result)  # no tuple has names
    return ndarray(result) if isinstance(result, (np.ndarray, np.generic)) else result


def asarray(a, dtype=None, order="K"):
    """CuPy's array of the same numbers: `a` itself where it is one, a copy of what lives on the host."""
    if isinstance(a, ndarray) and (dtype is None or dtype == a.dtype):
        return a
    return ndarray(np.array(on_either(a), dtype, order=order))


def with_parameters(parameters, function):
    """NumPy's function or method for arrays that live elsewhere, with CuPy's parameters alone."""
    kind, taken = inspect.Parameter.POSITIONAL_OR_KEYWORD, []
    for name in parameters:
        if name[0] == "*":
            taken += [inspect.Parameter(name[1:], inspect.Parameter.VAR_POSITIONAL)] if name[1:] else []
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            taken.append(inspect.Parameter(name, kind))
    signature = inspect.Signature(taken)

    def call(*arguments, **options):
        signature.bind_partial(*arguments, **options)
        arguments, out = [on_device(a) for a in arguments], options.get("out")
        options = {key: on_device(value) for key, value in options.items()}
        try:
            with np.errstate(all="ignore"):
                result = wrapped(function(*arguments, **options))
        except np.linalg.LinAlgError:
            return ndarray(np.full_like(arguments[-1], np.nan))
        return result if out is None else out

    call.__name__ = function.__name__
    return call


def entries(table):
    for entry in table.strip().replace("\n", ";").split(";"):
        name, *parameters = entry.split()
        yield name, parameters


def built():
    """The module cupy with its submodules, and the methods and attributes of its arrays."""
    module = types.ModuleType("cupy")
    module.ndarray = ndarray
    module.linalg = types.SimpleNamespace()
    module.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace())
    for name in UFUNCS:
        setattr(module, name, with_parameters(["*inputs", "out", "dtype", "casting"], getattr(np, name)))
    for path, parameters in entries(FUNCTIONS):
        *folders, name = path.split(".")
        there, here = (functools.reduce(getattr, folders, library) for library in (module, np))
        setattr(there, name, with_parameters(parameters, getattr(here, name)))
    for name in ("ndim", "shape", "size"):
        setattr(module, name, lambda a, name=name: getattr(a, name))
    module.add.at = lambda a, index, values: np.add.at(a._host, on_either(index), on_device(values))
    module.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)
    module.asarray = asarray
    module.array = lambda obj, dtype=None, order="K": ndarray(np.array(on_either(obj), dtype, order=order))
    module.ascontiguousarray = lambda a, dtype=None: ndarray(np.ascontiguousarray(on_either(a), dtype))
    for name, parameters in entries(METHODS):
        setattr(ndarray, name, method(with_parameters(["self", *parameters], getattr(np.ndarray, name))))
    for name in "dtype shape ndim size nbytes itemsize strides".split():
        setattr(ndarray, name, property(lambda self, name=name: getattr(self._host, name)))
    for name in ("T", "real", "imag"):
        setattr(ndarray, name, property(lambda self, name=name: ndarray(getattr(self._host, name))))
    for name in "__len__ __bool__ __int__ __float__ __complex__ __repr__ __str__ __format__".split():
        setattr(ndarray, name, lambda self, *a, name=name: getattr(self._host, name)(*a))
    return module


def method(call):
    return lambda self, *arguments, **options: call(self, *arguments, **options)


cupy = built()


def device():
    """CuPy where there is a GPU, else the stand-in under its name."""
    try:
        import cupy as there

        if there is not cupy and there.is_available():
            return there
    except ImportError:
        pass
    sys.modules["cupy"] = cupy
    return cupy
