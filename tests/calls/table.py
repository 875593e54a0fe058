"""The table of calls, and the data that they share."""

from typing import NamedTuple

import numpy as np
from arguments import array, integers, number, seed

ROWS = {}


class Row(NamedTuple):
    call: object
    rtol: float  # of what it returns, from one form of its arguments to another
    arguments: dict


def row(name, call, rtol=1e-9, **arguments):
    """A call of the public function `name`, which is "module.function", or "module.function and a remark"."""
    assert name not in ROWS, f"{name} has a row already"
    ROWS[name] = Row(call, rtol, arguments)


X = np.random.default_rng(0).standard_normal((7, 3))
Y = np.random.default_rng(1).standard_normal((7, 2))
IMAGES = np.random.default_rng(2).random((5, 4, 6))
PIXELS = IMAGES.reshape(5, 24)
SERIES = np.random.default_rng(3).standard_normal(20)
TEXT = np.random.default_rng(4).integers(5, size=(6, 3))
WEIGHT = np.random.default_rng(5).random((7, 2))
LABELS = [0, 1, 2, 0, 1, 2, 0]
SPD = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])

NAMED_X = {"x": array(X, (1,))}
ALONE_X = {"x": array(X, alone=True)}
SIGMA = number(0.5, 0, open_low=True)
RNG = {"rng": seed()}
CONTEXTS = {"x": integers(TEXT[:, :2], 5, (1,))}

NON_FINITE = [f"entry {entry}" for entry in (np.nan, np.inf, -np.inf)]
ELEMENTWISE = dict.fromkeys(NON_FINITE, "elementwise: NaN stays where it is")
