"""Hypothesis runs reproducibly and without deadlines: the machine may be slow, the mathematics is not.

`pytest --hypothesis-seed=N --other-seeds=N` draws other cases, and other random numbers in every test: no seed may be
one that happens to work.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is there: for matrices this small threads only wait

import numpy as np  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("minissl", deadline=None, max_examples=40, derandomize=False, print_blob=True)
settings.load_profile("minissl")


def pytest_addoption(parser):
    parser.addoption("--other-seeds", type=int, metavar="N", help="give default_rng(seed) the numbers of (seed, N)")


def pytest_configure(config):
    N, default_rng = config.getoption("--other-seeds"), np.random.default_rng
    if N is not None:

        def other(seed=None):
            return default_rng((seed, N) if isinstance(seed, (int, np.integer)) else seed)

        np.random.default_rng = other
