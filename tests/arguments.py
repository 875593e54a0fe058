"""Kinds of arguments: for each a value that works, other forms of the same numbers, and what must be refused.

array       floating numbers          count    an integer of at least `low`      seed     of a random generator
integers    an array of them          number   a real number in a range          one_of   anything else, by examples
                                      pair     two positive integers             sizes    several of them
"""

from typing import NamedTuple

import fake_cupy
import numpy as np
import scipy.sparse

cupy = fake_cupy.device()


class Argument(NamedTuple):
    """A value that works, and what must not come in its place."""

    value: object
    bad: dict  # what is wrong -> a value
    forms: dict = {}  # other form -> function that gives the value in this form
    kind: str = ""
    name: str = ""  # what the error calls it, where not by the argument's name; "a|b" for either
    allowed: dict = {}  # what is let through -> why


# Arrays


def array(value, tied=(), alone=False, any_shape=False, bad=(), **options):
    """A floating array. Other arguments give its length along `tied` axes, and its dtype unless it is `alone`."""
    value = np.array(value, dtype=float)
    wrong = {f"entry {entry}": with_last(value, entry) for entry in (np.nan, np.inf, -np.inf)}
    wrong |= not_numbers(value) | {
        "float16": value.astype(np.float16),
        "long double": value.astype(np.longdouble),
        "other byte order": value.astype(value.dtype.newbyteorder()),
    }
    if not any_shape:
        wrong |= {"one number": 1.0, "one dimension less": value[-1], "one dimension more": value[None]}
    if value.ndim > 1:
        wrong["no columns"] = value[:, :0]
    if not alone:
        wrong |= {"mixed dtype": value.astype(np.float32), "mixed libraries": cupy.asarray(value)}
    wrong |= other_lengths(value, tied) | dict(bad)
    return Argument(value, wrong, FORMS, "alone" if alone else "array", **options)


def integers(value, high=None, tied=(), bad=(), **options):
    """An integer array with values in [0, high)."""
    value = np.array(value)
    wrong = not_numbers(value) | other_lengths(value, tied)
    wrong |= {
        "an entry below 0": with_last(value, -1),
        "floats": value.astype(float),
        "booleans": value > 0,
        "one number": 1,
        "one dimension less": value[-1],
        "one dimension more": value[None],
    }
    if high is not None:
        wrong["an entry too high"] = with_last(value, high)
    return Argument(value, wrong | dict(bad), INTEGER_FORMS, "integers", **options)


def not_numbers(value):
    wrong = {
        "no rows": value[:0],
        "text": value.astype(str),
        "one word": "text",
        "objects": value.astype(object),
        "None": None,
        "a dictionary": {"x": value},
        "a set": {1.0, 2.0},
        "complex": value.astype(complex),
        "dates": value.astype(int).astype("datetime64[D]"),
        "masked": np.ma.masked_array(value, value > 0),
        "ragged": [*value.tolist(), [[1]]],
    }
    return wrong if value.ndim != 2 else wrong | {"sparse": scipy.sparse.csr_array(value)}


def other_lengths(value, axes):
    shorter = {f"axis {axis} too short": np.delete(value, 0, axis) for axis in axes}
    return shorter | {f"axis {axis} too long": np.concatenate([value, value], axis) for axis in axes}


def with_last(value, entry):
    value = value.copy()
    value.flat[-1] = entry
    return value


class Foreign(np.ndarray):
    """A subclass, as np.memmap is one."""


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


FORMS = {
    "Fortran order": np.asfortranarray,
    "every other column": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "negative strides": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "read-only": read_only,
    "a subclass": lambda a: a.view(Foreign),
    "a list": np.ndarray.tolist,
    "a tuple": lambda a: tuple(a.tolist()),
}
INTEGER_FORMS = FORMS | {t: lambda a, t=t: a.astype(t) for t in ("int8", "uint8", "int32", "uint64")}


# Numbers


def number(value, low=None, high=None, open_low=False, open_high=False, bad=(), **options):
    """A real number from `low` to `high`."""
    wrong = {short(v): v for v in (np.nan, np.inf, -np.inf, 10**400, str(value), None, True, [value], 1j)}
    wrong |= {} if low is None else {"too low": low if open_low else low - 1e-9}
    wrong |= {} if high is None else {"too high": high if open_high else high + 1e-9}
    return Argument(value, wrong | dict(bad), {"a NumPy number": np.float64}, "number", **options)


def count(value, high=None, low=1, bad=(), **options):
    """A whole number from `low` to `high`."""
    wrong = (low - 1, -7, 10**400, value + 0.5, float(value), str(value), None, True, np.nan, [value], 1j)
    wrong = {short(v): v for v in wrong}
    wrong |= {} if high is None else {"too high": high + 1}
    return Argument(value, wrong | dict(bad), {"a NumPy integer": np.int16}, "count", **options)


def pair(value, bad=(), **options):
    """Two positive whole numbers."""
    a, b = value
    wrong = (a, (a,), (a, b, 1), (0, b), (a, -1), (float(a), b), "ab", None, (a, None), (True, b), np.array([a, b, 1]))
    forms = {"a list": list, "an array": np.array}
    return Argument(value, {short(v): v for v in wrong} | dict(bad), forms, "pair", **options)


def sizes(value, *wrong, **options):
    """Several positive whole numbers."""
    wrong += (3, None, "34", (*value, 0), (*value, -2), (*value, 4.0), (*value, "4"), (*value, True), np.ones(2))
    forms = {"a list": list, "an array": np.array, "bytes": lambda v: np.array(v, np.uint8)}
    return Argument(value, {short(v): v for v in wrong}, forms, "sizes", **options)


def seed(value=3):
    wrong = ("a", 1.5, True, -1, np.random.RandomState(0), [1])
    forms = {"a NumPy integer": np.int64, "a Generator": np.random.default_rng}
    return Argument(value, {short(v): v for v in wrong}, forms, "seed")


def one_of(value, *wrong, **options):
    """Anything else, with examples of what it is not."""
    return Argument(value, {f"{i}: {short(v)}": v for i, v in enumerate(wrong)}, **options)


def short(value):
    return f"{value!r}"[:50]
