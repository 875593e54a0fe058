"""A stand-in for CuPy on machines without a GPU.

`device()` returns CuPy itself where a GPU is at hand. Elsewhere it installs, under CuPy's name, a module whose
arrays are no NumPy arrays, refuse to become any unless asked (`asnumpy`), refuse NumPy arrays as arguments, and
offer only functions and methods that CuPy offers too. So a stray `np.` call on device data fails here as it would
on a GPU.
"""

import operator
import sys
import types

import numpy as np

FUNCTIONS = """
abs absolute add all allclose amax amin any append arange argmax argmin argpartition argsort around array_equal
bincount broadcast_to ceil clip concatenate convolve copysign correlate cos cosh count_nonzero cov cumsum diag
diagonal diff divide dot einsum empty empty_like equal exp expand_dims expm1 eye flip floor full full_like greater
greater_equal hstack hypot identity inner isfinite isinf isnan kron less less_equal linspace log log1p log2
logaddexp logical_and logical_not logical_or matmul max maximum mean median meshgrid min minimum moveaxis multiply
negative nonzero not_equal ones ones_like outer pad percentile power prod ravel repeat reshape roll round
searchsorted sign sin sinh sort sqrt square squeeze stack std subtract sum swapaxes take take_along_axis tan tanh
tensordot tile trace transpose tril triu unique var vdot vstack where zeros zeros_like
""".split()
LINALG = "norm svd eigh eigvalsh qr solve cholesky inv pinv det slogdet lstsq".split()
METHODS = """
all any argmax argmin argsort astype clip copy cumsum diagonal dot fill flatten max mean min nonzero prod ravel
repeat reshape round sort squeeze std sum swapaxes take tolist trace transpose var view
""".split()
KEYWORDS = set("where initial device like subok correction stable casting hermitian upper".split())  # CuPy lacks them
OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lt le gt ge eq ne".split()


class Array:
    """An array that lives elsewhere."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, inside):
        self.inside = inside

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion of a device array to NumPy")

    def __array_function__(self, *_, **__):
        raise TypeError("a NumPy function was called on a device array")

    def __getitem__(self, index):
        return wrap(self.inside[unwrap(index)])

    def __setitem__(self, index, value):
        self.inside[unwrap(index)] = unwrap(value)

    def __len__(self):
        return len(self.inside)

    def __iter__(self):
        return (wrap(row) for row in self.inside)

    def __float__(self):
        return float(self.inside)

    def __int__(self):
        return int(self.inside)

    def __bool__(self):
        return bool(self.inside)

    def __repr__(self):
        return f"device {self.inside!r}"

    def __format__(self, spec):
        return format(self.inside[()] if self.inside.ndim == 0 else self.inside, spec)

    def __neg__(self):
        return wrap(-self.inside)

    def __abs__(self):
        return wrap(abs(self.inside))

    def __invert__(self):
        return wrap(~self.inside)


def wrap(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return Array(np.asarray(value))
    if isinstance(value, tuple):
        parts = [wrap(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return [wrap(v) for v in value] if isinstance(value, list) else value


def unwrap(value):
    if isinstance(value, Array):
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array was passed to a device function")
    if isinstance(value, (tuple, list)):
        return type(value)(unwrap(v) for v in value)
    return value


def on_device(function):
    def call(*arguments, out=None, **options):
        if absent := KEYWORDS & set(options):
            raise TypeError(f"CuPy has no keyword {absent}")
        if isinstance(function, np.ufunc) and any(isinstance(a, (list, tuple)) for a in arguments):
            raise TypeError("a list was passed to a device function")
        options = {key: unwrap(value) for key, value in options.items()}
        if out is None:
            result = function(*(unwrap(a) for a in arguments), **options)
            return Array(np.asarray(result)) if isinstance(result, (bool, int, float)) else wrap(result)
        function(*(unwrap(a) for a in arguments), out=unwrap(out), **options)
        return out

    return call


def _operator(name, reflected):
    function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

    def call(self, other):
        other = unwrap(other)
        return wrap(function(other, self.inside) if reflected else function(self.inside, other))

    return call


def _in_place(name):
    function = getattr(operator, f"i{name}")

    def call(self, other):
        function(self.inside, unwrap(other))
        return self

    return call


def _build():
    for name in OPERATORS:
        setattr(Array, f"__{name}__", _operator(name, reflected=False))
        if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
            setattr(Array, f"__r{name}__", _operator(name, reflected=True))
            setattr(Array, f"__i{name}__", _in_place(name))
    for name in METHODS:
        setattr(Array, name, on_device(getattr(np.ndarray, name)))
    for name in ("dtype", "shape", "ndim", "size", "nbytes", "strides", "flags"):
        setattr(Array, name, property(lambda self, name=name: getattr(self.inside, name)))
    for name in ("T", "real", "imag", "flat"):
        setattr(Array, name, property(lambda self, name=name: wrap(getattr(self.inside, name))))

    cupy = types.ModuleType("cupy")
    cupy.ndarray = Array
    for name in FUNCTIONS:
        setattr(cupy, name, on_device(getattr(np, name)))
    for name in ("float32", "float64", "int32", "int64", "bool_", "inf", "nan", "pi", "newaxis", "finfo"):
        setattr(cupy, name, getattr(np, name))
    cupy.linalg = types.SimpleNamespace(**{name: on_device(getattr(np.linalg, name)) for name in LINALG})
    cupy.add.at = on_device(np.add.at)
    cupy.lib = types.SimpleNamespace(
        stride_tricks=types.SimpleNamespace(
            sliding_window_view=on_device(np.lib.stride_tricks.sliding_window_view),
            as_strided=on_device(np.lib.stride_tricks.as_strided),
        )
    )
    cupy.asarray = lambda a, dtype=None: a if _is(a, dtype) else Array(np.array(getattr(a, "inside", a), dtype=dtype))
    cupy.array = cupy.asarray
    cupy.ascontiguousarray = lambda a: Array(np.ascontiguousarray(a.inside))
    cupy.asnumpy = lambda a: np.array(getattr(a, "inside", a))
    cupy.get_array_module = lambda *arrays: cupy if any(isinstance(a, Array) for a in arrays) else np
    return cupy


def _is(a, dtype):
    return isinstance(a, Array) and dtype in (None, a.dtype)


def device():
    """CuPy where there is a GPU, else the stand-in under its name."""
    try:
        import cupy

        if not hasattr(cupy, "is_available") or cupy.is_available():
            return cupy
    except ImportError:
        pass
    sys.modules["cupy"] = _build()
    return sys.modules["cupy"]
