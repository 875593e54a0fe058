"""How the Taylor remainder of an objective falls, over several directions."""

import numpy as np

from minissl.nn.gradcheck import taylor_slope


def median_slope(J, theta, h=1e-3):
    """The median of `taylor_slope` over nine directions: along one of them the second derivative may be small."""
    directions = np.random.default_rng(1).standard_normal((9, theta.size))
    return np.median([taylor_slope(J, theta, direction, h=h) for direction in directions])
