"""linear/: principal components, Wiener filters, autoregression."""

import numpy as np
from arguments import array, count, number, one_of

from calls.table import NAMED_X, RNG, SERIES, SIGMA, SPD, X, Y, row
from calls.tasks import BLOCKS, WINDOWS
from minissl.linear import autoregression, cca, pca, wiener

# pca

FOUND = pca.by_svd(X, 2)
SAMPLES = array(X, alone=True, bad={"one sample": X[:1]})
M = count(2, 3)
row("pca.PCA.encode", FOUND.encode, **NAMED_X)
row("pca.PCA.decode", FOUND.decode, s=array(Y, (1,)))
row("pca.by_svd", pca.by_svd, x=SAMPLES, m=M)
row(
    "pca.by_variance",
    pca.by_variance,
    1e-4,
    x=SAMPLES,
    m=M,
    search=one_of(pca.power_iteration, None, "power", 3),
    **RNG,
)
row("pca.by_reconstruction", pca.by_reconstruction, 1e-3, x=SAMPLES, m=M, **RNG)

# cca

VIEWS = cca.by_svd(X, Y, 2)
row("cca.CCA.encode", VIEWS.encode, v1=array(X, (1,)), v2=array(Y, (1,)))
row(
    "cca.by_svd",
    cca.by_svd,
    v1=array(X, (0,), name="v1|m", bad={"one sample": X[:1]}),
    v2=array(Y, (0,), name="v2|v1|m"),
    m=count(2, 2),
)

# wiener

C = array(
    SPD,
    (0, 1),
    alone=True,
    bad={"zero": 0 * SPD, "indefinite": SPD - np.eye(3), "not symmetric": SPD + np.triu(SPD), "not square": SPD[:2]},
)
row("wiener.denoising", wiener.denoising, C=C, sigma=SIGMA)
row("wiener.masking", wiener.masking, C=C._replace(name="C|blocks"), p=number(0.3, 0, 1, open_high=True), blocks=BLOCKS)

# autoregression

AR = autoregression.least_squares(SERIES, 2)
for fit in autoregression.least_squares, autoregression.lagged_least_squares, autoregression.yule_walker:
    row(f"autoregression.{fit.__name__}", fit, x=array(SERIES, alone=True), order=count(2, 9))
row("autoregression.LinearAR.__call__", AR, x=array(WINDOWS[:, 1:], (1,), alone=True))
row("autoregression.LinearAR.forecast_variance", AR.forecast_variance, steps=count(4))
