"""FastICA, the matching of components, and what no ICA can do."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from minissl.goals.densities import ica_likelihood
from minissl.goals.ica import (
    _nearest_rotation,
    _step,
    fast_ica,
    gaussianize_and_rotate,
    match_components,
    mean_correlation,
)
from minissl.nn.optimizers import lbfgs

seeds = st.integers(0, 2**32 - 1)


def invertible(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, size=n)


def mixed(seed, N=5000, n=3):
    """Independent sources, super- and sub-Gaussian in turn, and a linear mixture of them."""
    rng = np.random.default_rng(seed)
    draws = rng.laplace, rng.uniform, rng.exponential
    s = np.column_stack([draws[k % 3](size=N) for k in range(n)])
    return s, s @ invertible(rng, n) + rng.standard_normal(n)


def grid(n=2):
    """Sources that are exactly independent: every combination of the values of each; mean 0 and variance 1."""
    values = [np.array([-3.0, -1, 0, 0, 0.5, 1, 5]), np.array([-1.0, -0.9, 0.2, 1.3]), np.array([0.0, 0, 1, 4])][:n]
    return np.array(list(itertools.product(*((v - v.mean()) / v.std() for v in values))))


# --- FastICA ------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ica.1")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_components_are_white(n, dtype):
    """Components have mean 0 and covariance Id on the data in which they were found, and BCBᵀ = WWᵀ = Id."""
    x = mixed(0, n=n)[1].astype(dtype)
    found = fast_ica(x, rng=0)
    s = found(x)
    assert found.converged and s.dtype == found.B.dtype == found.mean.dtype == dtype
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(s.mean(axis=0), 0, atol=tolerance)
    np.testing.assert_allclose(s.T @ s / len(s), np.eye(n), atol=tolerance)
    C = np.cov(x.T.astype(float), bias=True).reshape(n, n)
    np.testing.assert_allclose(found.B @ C @ found.B.T, np.eye(n), atol=tolerance)


@pytest.mark.equation("ica.2")
@given(seed=seeds, n=st.integers(1, 3), N=st.integers(2, 6))
def test_the_step_is_the_equation_in_loops(seed, n, N):
    """A step equals [ica.2] in loops over samples and components, the rotation an inverse root by eigenvalues."""
    rng = np.random.default_rng(seed)
    z, W = rng.standard_normal((N, n)), np.linalg.qr(rng.standard_normal((n, n)))[0]
    expected = np.zeros((n, n))
    for k in range(n):
        for i in range(N):
            s = sum(W[k, j] * z[i, j] for j in range(n))
            for j in range(n):
                expected[k, j] += (math.tanh(s) * z[i, j] - W[k, j] / math.cosh(s) ** 2) / N
    np.testing.assert_allclose(_step(W, z), expected, rtol=1e-10, atol=1e-12)
    M = expected + 3 * np.eye(n)  # far from singular
    eigenvalues, U = np.linalg.eigh(M @ M.T)
    np.testing.assert_allclose(_nearest_rotation(M), U / np.sqrt(eigenvalues) @ U.T @ M, rtol=1e-8, atol=1e-8)


@pytest.mark.equation("ica.2")
def test_where_it_stops_the_estimating_equation_holds():
    """At the end sign(γₗ) E g(sₖ)sₗ = sign(γₖ) E g(sₗ)sₖ for all k, l: W is nearest to W⁺, up to signs of rows."""
    _, x = mixed(1)
    s = fast_ica(x, rng=0, tolerance=1e-12)(x)
    M = np.tanh(s).T @ s / len(s)
    signs = np.sign(np.diag(M) - (1 - np.tanh(s) ** 2).mean(axis=0))
    assert set(signs.tolist()) == {-1, 1}  # of both kinds
    np.testing.assert_allclose(M * signs, (M * signs).T, atol=1e-6)
    assert abs(M - np.diag(np.diag(M))).max() < 0.05  # as good as independent


@pytest.mark.equation("ica.3")
def test_the_error_is_squared_in_a_step():
    """Near sources that are exactly independent, wₖ⁺ᵀA is γₖeₖᵀ but for a rest that falls as ε², from 10⁻¹ to 10⁻³."""
    s = grid(3)
    rng = np.random.default_rng(0)
    A, skew = np.linalg.qr(rng.standard_normal((3, 3)))[0], rng.standard_normal((3, 3))
    z = s @ A.T
    gamma = (s * np.tanh(s)).mean(axis=0) - (1 - np.tanh(s) ** 2).mean(axis=0)
    rests = []
    for epsilon in (1e-1, 1e-2, 1e-3):
        W = _nearest_rotation(np.eye(3) + epsilon * (skew - skew.T)) @ A.T
        rests.append(abs(_step(W, z) @ A - np.diag(gamma)).max())
    slopes = np.diff(np.log10(rests)) / -1
    assert slopes == pytest.approx([2, 2], abs=0.3)
    assert abs(gamma).min() > 0.05  # the theorem's condition
    found = fast_ica(s @ A.T, rng=0)
    assert abs(abs(found(s @ A.T)[:, match_components(s, found(s @ A.T))[0]]) - abs(s)).max() < 1e-6


@pytest.mark.equation("ica.3")
@pytest.mark.parametrize(
    ("density", "sign"),
    [(stats.norm(), 0), (stats.laplace(scale=0.5**0.5), -1), (stats.uniform(-(3**0.5), 2 * 3**0.5), 1)],
    ids=["Gaussian", "Laplacian", "uniform"],
)
def test_what_drives_a_source(density, sign):
    """γ by quadrature is zero for a Gaussian, negative for a Laplacian and positive for a uniform source."""
    low, high = max(density.support()[0], -30), min(density.support()[1], 30)

    def integrand(u):
        return (u * math.tanh(u) - 1 / math.cosh(u) ** 2) * density.pdf(u)

    gamma = integrate.quad(integrand, low, 0)[0] + integrate.quad(integrand, 0, high)[0]
    assert (abs(gamma) < 1e-8) if sign == 0 else (sign * gamma > 0.05)


@pytest.mark.equation("ica.4")
def test_the_contrast_is_the_equation_and_largest_at_the_sources():
    """The contrast equals [ica.4] with E G(ν) by quadrature, and is less where white data are turned otherwise."""
    s, x = mixed(0)
    found = fast_ica(x, rng=0)

    def log_cosh(u):
        return np.log(np.cosh(u))

    normal = 2 * integrate.quad(lambda u: log_cosh(u) * stats.norm.pdf(u), 0, 30)[0]

    def contrast(components):
        return sum(abs(np.mean([log_cosh(v) for v in column]) - normal) for column in components.T)

    assert found.contrast == pytest.approx(contrast(found(x)), abs=1e-9)
    rng = np.random.default_rng(1)
    for _ in range(10):
        assert contrast(found(x) @ np.linalg.qr(rng.standard_normal((3, 3)))[0]) < found.contrast


@pytest.mark.parametrize("seed", range(3))
def test_sources_of_both_kinds_are_found_and_no_linear_map_matters(seed):
    s, x = mixed(seed, n=4)
    found = fast_ica(x, rng=seed)(x)
    assert mean_correlation(s, found) > 0.99
    again = x @ invertible(np.random.default_rng(seed + 1), 4) - 5
    assert mean_correlation(found, fast_ica(again, rng=seed + 2)(again)) > 1 - 1e-6


def test_one_gaussian_source_is_what_is_left_over():
    s, _ = mixed(0)
    s[:, 1] = np.random.default_rng(1).standard_normal(len(s))
    x = s @ invertible(np.random.default_rng(2), 3)
    assert mean_correlation(s, fast_ica(x, rng=0)(x)) > 0.98


def test_uniform_sources_which_maximum_likelihood_with_a_fixed_density_cannot_find():
    """[densities.5]: with the logistic density, two uniform sources are a saddle point; FastICA finds them."""
    s = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, size=(5000, 2))
    rotation = np.array([[0.8, -0.6], [0.6, 0.8]])
    x = s @ rotation.T
    B = lbfgs(ica_likelihood(x - x.mean(axis=0)), np.eye(2).ravel(), tolerance=1e-6).theta.reshape(2, 2)
    assert mean_correlation(s, x @ B.T) < 0.8 < 0.99 < mean_correlation(s, fast_ica(x, rng=0)(x))


def test_a_search_that_does_not_converge_says_so():
    _, x = mixed(0)
    with pytest.warns(RuntimeWarning, match="fast_ica: after 1 iterations .* try another rng"):
        found = fast_ica(x, rng=0, iterations=1)
    assert not found.converged and found.iterations == 1


def test_data_without_full_rank_are_refused():
    for seed in range(5):
        _, x = mixed(seed)
        for dtype in ("float64", "float32"):
            with pytest.raises(ValueError, match="x: the least eigenvalue"):
                fast_ica(np.column_stack([x, x[:, 0] - x[:, 1]]).astype(dtype))


def test_units_do_not_matter():
    s, x = mixed(0)
    units = np.array([1e-9, 1.0, 1e7])
    found, again = fast_ica(x, rng=0), fast_ica(x * units, rng=0)
    assert again.converged
    np.testing.assert_allclose(again.B * units, found.B, atol=1e-6)


def test_the_same_seed_gives_the_same_and_results_can_be_pickled():
    _, x = mixed(0)
    found = fast_ica(x, rng=5)
    assert fast_ica(x, rng=5).B.tobytes() == found.B.tobytes()
    assert pickle.loads(pickle.dumps(found))(x).tobytes() == found(x).tobytes()


# --- matching -------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ica.5")
@given(seed=seeds, n=st.integers(1, 4), more=st.integers(0, 2))
def test_the_matching_is_the_best_of_all(seed, n, more):
    """Matching and mean correlation equal the best over all one-to-one assignments, with correlations from NumPy."""
    rng = np.random.default_rng(seed)
    s, found = rng.standard_normal((9, n)), rng.standard_normal((9, n + more))
    R = np.array([[np.corrcoef(s[:, k], found[:, l])[0, 1] for l in range(n + more)] for k in range(n)])
    best = max(np.mean([abs(R[k, pi[k]]) for k in range(n)]) for pi in itertools.permutations(range(n + more), n))
    order, correlations = match_components(s, found)
    assert mean_correlation(s, found) == pytest.approx(best, rel=1e-9)
    np.testing.assert_allclose(correlations, [R[k, order[k]] for k in range(n)], rtol=1e-9, atol=1e-12)
    assert len(set(order.tolist())) == n


@pytest.mark.equation("ica.5")
@given(seed=seeds)
def test_order_sign_scale_and_origin_do_not_matter(seed):
    """Sources in another order, with other signs, scales and origins, have mean correlation 1 and are matched."""
    rng = np.random.default_rng(seed)
    s = rng.standard_normal((10, 4))
    pi = rng.permutation(4)
    found = (s * rng.choice([-2, -0.1, 3], size=4) + rng.standard_normal(4))[:, pi]
    order, correlations = match_components(s, found)
    assert abs(correlations) == pytest.approx(np.ones(4)) and pi[order].tolist() == [0, 1, 2, 3]
    assert mean_correlation(s, found) == pytest.approx(1)


@pytest.mark.equation("ica.5")
def test_a_constant_component_is_correlated_with_nothing():
    """A component that does not vary, as a dead unit, counts as correlation 0, not NaN."""
    s = np.random.default_rng(0).standard_normal((20, 2))
    found = np.column_stack([s[:, 0], np.full(20, 0.1)])
    assert mean_correlation(s, found) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="found: got 1 components, expected at least as many as s has, 2"):
        mean_correlation(s, found[:, :1])


# --- what ICA cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.equation("ica.6")
@given(seed=seeds, N=st.integers(1, 8), angle=st.floats(-7, 7))
def test_the_other_solution_in_loops(seed, N, angle):
    """The other solution has the values of s in the order of r [ica.6], where F counts, in loops, what is smaller."""
    s = np.random.default_rng(seed).laplace(size=(N, 2))
    r = np.zeros((N, 2))
    for i in range(N):
        a, b = (stats.norm.ppf((sum(s[:, k] < s[i, k]) + 0.5) / N) for k in range(2))
        r[i] = a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)
    found = gaussianize_and_rotate(s, angle)
    for k in range(2):
        assert sorted(found[:, k]) == sorted(s[:, k])
        for i, j in itertools.combinations(range(N), 2):
            if abs(r[i, k] - r[j, k]) > 1e-9:
                assert (found[i, k] < found[j, k]) == (r[i, k] < r[j, k])


@pytest.mark.equation("ica.6")
def test_the_other_solution_is_as_independent_as_the_truth_and_is_not_the_truth():
    """At 45°, functions of the two components are uncorrelated to 5/√N, as those of the sources are."""
    N = 20_000
    s = np.random.default_rng(0).laplace(size=(N, 2))
    other = gaussianize_and_rotate(s, math.pi / 4)
    functions = np.tanh, np.abs, np.square, np.sign, lambda u: np.log(abs(u) + 0.1)
    for components in (s, other):
        for f, g in itertools.product(functions, repeat=2):
            assert abs(np.corrcoef(f(components[:, 0]), g(components[:, 1]))[0, 1]) < 5 / N**0.5
    assert mean_correlation(s, other) < 0.75
    assert mean_correlation(other, fast_ica(other, rng=0)(other)) > 0.99  # ICA is content with it
    assert np.array_equal(gaussianize_and_rotate(s, 0.0), s)


def test_columns_whose_squares_underflow():
    """Correlations do not depend on the unit; where variances cannot be computed, the error names x."""
    s = np.random.default_rng(0).laplace(size=(50, 2))
    assert mean_correlation(s * [1, 1e-170], s) == pytest.approx(1)
    with pytest.raises(ValueError, match="x: the least eigenvalue of its correlation matrix is 0"):
        fast_ica(s * [1, 1e-170], rng=0)
