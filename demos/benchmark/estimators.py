"""PCA, the linear probe and the linear autoregression beside their peers.

Each function makes a problem and returns the ways to solve it, {name: function without arguments}, which all return
the answer in one form.
"""

import numpy as np
from timing import HERE

from minissl.goals import probe
from minissl.linear import autoregression, pca


def pca_problem(N, n, m, dtype):
    """Data whose standard deviations fall as 1/i along random axes, with an offset in every column."""
    rng, k = np.random.default_rng(0), min(N, n)
    x = rng.standard_normal((N, k), dtype=np.float32) / np.arange(1, k + 1, dtype=np.float32)
    return (x @ np.linalg.qr(rng.standard_normal((n, k), dtype=np.float32))[0].T + np.float32(0.5)).astype(dtype)


def pca_axes(x, m):
    """The first m axes of x as rows, from the smaller of C and K in float64."""
    y = x - x.mean(axis=0, dtype=np.float64)
    V = np.linalg.eigh(y.T @ y if len(x) >= x.shape[1] else y @ y.T)[1][:, ::-1][:, :m]
    return (V if len(x) >= x.shape[1] else np.linalg.qr(y.T @ V)[0]).T


def sine(W, V):
    """Sine of the largest principal angle between the row spaces."""
    W, V = (np.linalg.qr(np.asarray(M, dtype=np.float64).T)[0].T for M in (W, V))
    return float(np.linalg.norm(W - W @ V.T @ V, 2))


def pca_ways(x, m):
    """Axes as rows, (m, n), by minissl and by the solvers of scikit-learn that suit the shape."""
    ways = {"minissl": lambda: pca.by_svd(x, m).W}
    if HERE["sklearn"]:
        from sklearn.decomposition import PCA

        N, n = x.shape
        for solver in ["randomized"] + ["covariance_eigh"] * (N > n) + ["arpack"] * (N < 50_000):
            model = PCA(m, svd_solver=solver, random_state=0)
            ways[solver] = lambda model=model: model.fit(x).components_
    return ways


def probe_problem(N, m, K, dtype):
    """Features of K classes, normal around means that lie close together, and the labels."""
    rng = np.random.default_rng(0)
    labels, means = rng.integers(K, size=N), 0.12 * rng.standard_normal((K, m))
    return rng.standard_normal((N, m), dtype=np.float32).astype(dtype) + means.astype(dtype)[labels], labels


def probe_ways(features, labels, l2, tolerance):
    """theta, the weights and intercepts in one vector. scikit-learn's C counts in sums over samples, ours in means."""
    ways = {"minissl": lambda: _flat(*probe.linear_probe(features, labels, l2, tolerance=tolerance)[:2])}
    if HERE["sklearn"]:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1 / (l2 * len(labels)), tol=tolerance, max_iter=1000)
        ways["LogisticRegression"] = lambda: (model.fit(features, labels), _flat(model.coef_, model.intercept_))[1]
    return ways


def _flat(W, b):
    return np.concatenate([W.ravel(), b])


def series(T):
    """A stable series with a period of about 60, float64."""
    rng = np.random.default_rng(0)
    return np.sin(np.arange(T) / 10) + 0.1 * np.cumsum(rng.standard_normal(T)) / T**0.5 + rng.standard_normal(T)


def ar_ways(x, p):
    """a_0, a_1, ..., a_p: from dot products; by least squares on the lagged matrix, made anew; by statsmodels."""

    def by(method):
        model = method(x, p)
        return np.append(model.intercept, model.a)

    ways = {
        "minissl": lambda: by(autoregression.least_squares),
        "lagged matrix": lambda: by(autoregression.lagged_least_squares),
    }
    if HERE["statsmodels"]:
        from statsmodels.tsa.ar_model import AutoReg

        ways["statsmodels"] = lambda: AutoReg(x, p).fit().params
    return ways
