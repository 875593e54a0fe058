"""Clustering: k-means against loops and all codes, its bounds; EM against its bound and its limit; the measures."""

import itertools
import pickle
from functools import partial

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from minissl.goals.clustering import (
    Mixture,
    _about_centres,
    _decoder,
    _encode,
    _lloyd,
    _log_density_and_posterior,
    _maximize,
    _spread_start,
    clustering_accuracy,
    gaussian_mixture,
    k_means,
    normalised_mutual_information,
)
from minissl.nn.gradcheck import central_difference
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.training import train

seeds = st.integers(0, 2**32 - 1)
cupy = device()


def blobs(seed, N=60, n=3, K=4, distance=2.0):
    """Samples around K points, and which."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(N) % K)
    return distance * rng.standard_normal((K, n))[y] + rng.standard_normal((N, n)), y


def naive_error(x, centres, labels):
    """J with loops."""
    N, n = len(x), len(x[0])
    return sum((x[i][j] - centres[labels[i]][j]) ** 2 for i in range(N) for j in range(n)) / N


def least_error(x, K):
    """The least J over all codes, one after the other."""
    best = np.inf
    for labels in itertools.product(range(K), repeat=len(x)):
        labels = np.array(labels)
        parts = [x[labels == k] for k in set(labels.tolist())]
        best = min(best, sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) / len(x))
    return best


def mixture(seed, n=2, K=3):
    """A mixture, none of whose numbers is special."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2, K)
    return Mixture(weights / weights.sum(), 2 * rng.standard_normal((K, n)), rng.uniform(0.5, 1.5), [], True)


def log_joint(m, x):
    """ln p(x, k), (N, K), from SciPy's normal density."""
    n = x.shape[1]
    parts = zip(m.weights, m.centres, strict=True)
    columns = [np.log(w) + multivariate_normal(a, m.sigma**2 * np.eye(n)).logpdf(x) for w, a in parts]
    return np.stack([np.reshape(column, len(x)) for column in columns], axis=1)


# k-means


@pytest.mark.equation("clustering.1", "clustering.2", "clustering.3")
def test_k_means_by_hand():
    """For 0, 1, 2, 10, 12 and two clusters the centres are 1 and 11 and J is (1 + 0 + 1 + 1 + 1)/5, as on paper."""
    found = k_means(np.array([[0.0], [1], [2], [10], [12]]), 2, rng=0)
    assert sorted(found.centres.ravel().tolist()) == [1, 11] and found.converged
    assert found.error == pytest.approx(4 / 5, rel=1e-15)
    assert found.labels.tolist() in ([0, 0, 0, 1, 1], [1, 1, 1, 0, 0])
    assert found.assign([[5.9], [6.1]]).tolist() == found.labels[[0, 4]].tolist()


@pytest.mark.equation("clustering.1", "clustering.2")
@given(seed=seeds, n=st.integers(1, 4), K=st.integers(1, 5), offset=st.sampled_from([0, 1e6]))
def test_codes_are_the_nearest_centres_of_loops(seed, n, K, offset):
    """Labels and J are those of loops over samples, centres and components, also far from the origin."""
    rng = np.random.default_rng(seed)
    x, centres = rng.standard_normal((9, n)) + offset, rng.standard_normal((K, n)) + offset
    labels, nearest = _encode(*_about_centres(x, centres)[:2])
    distances = [[sum((u - v) ** 2 for u, v in zip(row, a, strict=True)) for a in centres] for row in x]
    assert labels.tolist() == [int(np.argmin(d)) for d in distances]
    np.testing.assert_allclose(nearest, [min(d) for d in distances], rtol=1e-9, atol=1e-13)
    assert nearest.mean() == pytest.approx(naive_error(x, centres, labels), rel=1e-9, abs=1e-13)


@pytest.mark.equation("clustering.3")
@given(seed=seeds, offset=st.sampled_from([0, 1e6]))
def test_the_decoder_is_the_least_squares_solution(seed, offset):
    """The centres are NumPy's least-squares solution for the one-hot codes, and the derivative of J there is zero."""
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((12, 3)) + offset, rng.permutation(np.arange(12) % 4)
    centres = _decoder(x, labels, rng.standard_normal((4, 3)) + offset)
    code = np.eye(4)[labels]
    np.testing.assert_allclose(centres - offset, np.linalg.lstsq(code, x - offset)[0], atol=1e-13 + 1e-15 * offset)
    if not offset:
        slope = central_difference(lambda a: naive_error(x, a.reshape(4, 3), labels), centres.ravel())
        np.testing.assert_allclose(slope, 0, atol=1e-9)


@pytest.mark.equation("clustering.1", "clustering.2", "clustering.3")
@given(seed=seeds, N=st.integers(2, 40), n=st.integers(1, 4), data=st.data())
def test_the_error_never_rises(seed, N, n, data):
    """From any centres, far ones without samples among them, no step raises J beyond rounding, and the end is fixed."""
    K = data.draw(st.integers(1, N))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, n))
    found = _lloyd(x, 5 * rng.standard_normal((K, n)), 1000)
    assert found.converged and (np.diff(found.errors) <= 1e-14 * found.errors[0]).all()
    assert (np.diff(found.errors)[:-1] < 0).all()  # new labels lower J, until they come back
    assert found.error == pytest.approx(naive_error(x, found.centres, found.labels), rel=1e-10, abs=1e-14)
    for k in range(K):
        np.testing.assert_allclose(found.centres[k], x[found.labels == k].mean(axis=0), atol=1e-13)  # none is empty
    assert np.array_equal(found.assign(x), found.labels)


@pytest.mark.equation("clustering.1")
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_many_starts_is_the_best_of_all_codes(seed):
    """J after fifty starts is the least over all 3⁸ codes of eight samples."""
    x = np.random.default_rng(seed).standard_normal((8, 2))
    found, best = k_means(x, 3, starts=50, rng=seed), least_error(x, 3)
    assert found.error == pytest.approx(best, rel=1e-12)
    assert all(_lloyd(x, x[:3] + 3 * i, 100).error >= best * (1 - 1e-12) for i in range(4))  # one start is no better


def test_more_starts_are_no_worse():
    x, _ = blobs(0, N=200, K=12)
    found = [[k_means(x, 12, starts=starts, rng=rng).error for starts in (1, 4, 16)] for rng in range(5)]
    assert all(errors == sorted(errors, reverse=True) for errors in found)  # the first starts are the same
    assert any(errors[-1] < errors[0] for errors in found)


def test_an_empty_cluster_takes_the_worst_sample():
    """A centre out of reach moves to the farthest sample; another goes to the farthest from that, not to the same."""
    x = np.array([[0.0], [1], [2], [20], [31]])
    centres = np.array([[1.0], [-1e3], [1e3]])
    labels, _ = _encode(x, centres)
    assert labels.tolist() == [0] * 5
    assert _decoder(x, labels, centres).ravel().tolist() == pytest.approx([54 / 5, 31, 0])
    found = _lloyd(x, centres, 100)
    assert sorted(found.centres.ravel().tolist()) == pytest.approx([1, 20, 31]) and found.error == pytest.approx(2 / 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_more_clusters_than_distinct_samples_stay_empty(dtype, offset):
    """Three distinct samples need three centres: J is zero, no number is NaN, and the search ends."""
    x = (np.random.default_rng(0).standard_normal((3, 2)).repeat(4, axis=0) + offset).astype(dtype)
    found = k_means(x, 6, rng=0)
    assert found.converged and np.isfinite(found.centres).all() and len(np.unique(found.labels)) == 3
    np.testing.assert_allclose(found.centres[found.labels], x, atol=1e-5 if dtype == "float32" else 1e-12)
    assert k_means(x[:1].repeat(5, axis=0), 2, rng=0).error == pytest.approx(0, abs=1e-12)


@given(seed=seeds)
def test_clusters_move_with_the_data(seed):
    """Rotated, shifted, stretched or reordered samples have the same clusters from the same start, and J times s²."""
    x, _ = blobs(seed)
    rng = np.random.default_rng(seed)
    start, turn, order = x[:4], np.linalg.qr(rng.standard_normal((3, 3)))[0], rng.permutation(60)
    found = _lloyd(x, start, 100)
    for moved, begin, scale, at in (
        (x @ turn, start @ turn, 1, slice(None)),
        (x + 7, start + 7, 1, slice(None)),
        (100 * x, 100 * start, 1e4, slice(None)),
        (x[order], start, 1, order),
        (np.concatenate([x, x]), start, 1, np.tile(np.arange(60), 2)),
    ):
        other = _lloyd(moved, begin, 100)
        assert np.array_equal(other.labels, found.labels[at])
        assert other.error == pytest.approx(scale * found.error, rel=1e-10)


@pytest.mark.equation("clustering.4")
def test_the_start_is_drawn_in_proportion_to_squared_distance():
    """Triples of starting samples of 0, 1, 3, 7 are as frequent as the D² of loops say, to five standard deviations."""
    points, M, rng = (0.0, 1.0, 3.0, 7.0), 6000, np.random.default_rng(0)
    drawn = [tuple(_spread_start(np.array(points)[:, None], 3, rng).ravel()) for _ in range(M)]
    for triple in itertools.permutations(points, 3):
        p = 1 / 4
        for j in (1, 2):
            squares = {v: min((v - a) ** 2 for a in triple[:j]) for v in points}
            p *= squares[triple[j]] / sum(squares.values())
        assert abs(drawn.count(triple) / M - p) < 5 * (p * (1 - p) / M) ** 0.5
    assert sorted(_spread_start(np.zeros((3, 1)), 3, rng).ravel()) == [0, 0, 0]  # no distance is left


@pytest.mark.equation("clustering.4")
@pytest.mark.parametrize(("seed", "K"), [(0, 2), (1, 2), (2, 3), (3, 3)])
def test_the_start_is_good_in_the_mean(seed, K):
    """The mean of J over all starts, each with its probability, is at most 8 (ln K + 2) times the least J."""
    x = np.random.default_rng(seed).standard_normal((7, 2)) ** 3
    mean = 0.0
    for chosen in itertools.permutations(range(7), K):
        p = 1 / 7
        for j in range(1, K):
            squares = ((x[:, None] - x[list(chosen[:j])]) ** 2).sum(axis=2).min(axis=1)
            p *= squares[chosen[j]] / squares.sum()
        mean += p * ((x[:, None] - x[list(chosen)]) ** 2).sum(axis=2).min(axis=1).mean()
    least = least_error(x, K)
    assert least < mean <= 8 * (np.log(K) + 2) * least


@pytest.mark.equation("clustering.5")
@given(seed=seeds, n=st.integers(1, 6), K=st.integers(1, 8), distance=st.floats(0, 20))
def test_pca_is_a_lower_bound(seed, n, K, distance):
    """J is at least the sum of the covariance's eigenvalues from the K-th on, which SciPy's PCA leaves over."""
    x, _ = blobs(seed, N=30, n=n, K=4, distance=distance)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True).reshape(n, n))[::-1]
    bound = eigenvalues[K - 1 :].sum()
    assert k_means(x, K, starts=2, rng=seed).error >= bound - 1e-12 * eigenvalues.sum()
    if K == 1:
        assert k_means(x, 1, rng=seed).error == pytest.approx(bound, rel=1e-10)
    rng = np.random.default_rng(seed)  # any centres, any codes
    centres, labels = 3 * rng.standard_normal((K, n)), rng.integers(K, size=30)
    assert naive_error(x, centres, labels) >= bound - 1e-12 * eigenvalues.sum()


# The mixture


@pytest.mark.equation("clustering.6", "clustering.8")
@given(seed=seeds, n=st.integers(1, 4), K=st.integers(1, 4))
def test_density_and_posterior_are_scipys(seed, n, K):
    """ln p and p(k|x) are the log-sum and the softmax of SciPy's normal log-densities."""
    m = mixture(seed, n, K)
    x = 3 * np.random.default_rng(seed).standard_normal((7, n))
    joint = log_joint(m, x)
    np.testing.assert_allclose(m.log_density(x), logsumexp(joint, axis=1), rtol=1e-10)
    np.testing.assert_allclose(m.posterior(x), np.exp(joint - logsumexp(joint, axis=1, keepdims=True)), atol=1e-12)


@pytest.mark.equation("clustering.6")
def test_the_density_integrates_to_one():
    """The integral of p on a fine grid of the line is 1."""
    grid = np.linspace(-15, 15, 3001)[:, None]
    assert np.exp(mixture(0, 1).log_density(grid)).sum() * 0.01 == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("clustering.7")
@given(seed=seeds)
def test_the_log_density_is_the_bound_plus_a_divergence(seed):
    """ln p is F(q) + KL(q ‖ posterior), by loops, for random q, and F alone where q is the posterior."""
    m, rng = mixture(seed), np.random.default_rng(seed)
    x = 2 * rng.standard_normal((1, 2))
    joint, posterior, log_p = log_joint(m, x)[0], m.posterior(x)[0], m.log_density(x)[0]
    for q in (rng.dirichlet(np.ones(3)), posterior):
        bound = sum(q[k] * (joint[k] - np.log(q[k])) for k in range(3))
        divergence = sum(q[k] * np.log(q[k] / posterior[k]) for k in range(3))
        assert bound + divergence == pytest.approx(log_p, rel=1e-10) and divergence > -1e-12
    assert bound == pytest.approx(log_p, rel=1e-10)


@pytest.mark.equation("clustering.9")
@given(seed=seeds)
def test_the_second_step_is_where_the_expected_log_likelihood_is_greatest(seed):
    """At new w, A and σ the derivatives of Σ q ln p(x, k), by SciPy's densities, are zero, and no move raises it."""
    rng = np.random.default_rng(seed)
    x, q = 2 * rng.standard_normal((20, 2)), rng.dirichlet(np.ones(3), size=20)

    def expected(theta):
        weights = np.exp(theta[:3]) / np.exp(theta[:3]).sum()
        return (q * log_joint(Mixture(weights, theta[3:9].reshape(3, 2), np.exp(theta[9]), [], True), x)).sum()

    weights, centres, sigma = _maximize(x, q, np.zeros((3, 2)))
    best = np.concatenate([np.log(weights), centres.ravel(), [np.log(sigma)]])
    np.testing.assert_allclose(central_difference(expected, best), 0, atol=1e-6)
    moves = 0.1 * rng.standard_normal((10, 10))
    assert all(expected(best + move) <= expected(best) + 1e-12 for move in moves)


@pytest.mark.equation("clustering.8", "clustering.9")
@given(seed=seeds, n=st.integers(1, 3), K=st.integers(1, 5), size=st.sampled_from([0.1, 1, 30]))
def test_the_likelihood_never_falls(seed, n, K, size):
    """From any centres no step of EM lowers the mean log-likelihood by more than rounding."""
    x, _ = blobs(seed, n=n)
    centres = size * np.random.default_rng(seed).standard_normal((K, n))
    found = gaussian_mixture(x, centres, tolerance=1e-4)
    L = np.array(found.log_likelihoods)
    assert found.converged and (np.diff(L) >= -1e-13 * abs(L).max()).all()
    assert L[-1] == pytest.approx(found.log_density(x).mean(), rel=1e-12)
    assert found.weights.sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.equation("clustering.6", "clustering.9")
@pytest.mark.parametrize("seed", range(3))
def test_where_em_ends_the_likelihood_has_no_slope(seed):
    """At the end the derivatives of the mean ln p, by SciPy's densities, are zero in all parameters."""
    x, _ = blobs(seed, N=300, n=2, K=3, distance=3)
    found = gaussian_mixture(x, k_means(x, 3, rng=seed).centres, iterations=20_000, tolerance=1e-15)

    def likelihood(theta):
        weights = np.exp(theta[:3]) / np.exp(theta[:3]).sum()
        m = Mixture(weights, theta[3:9].reshape(3, 2), np.exp(theta[9]), [], True)
        return logsumexp(log_joint(m, x), axis=1).mean()

    theta = np.concatenate([np.log(found.weights), found.centres.ravel(), [np.log(found.sigma)]])
    np.testing.assert_allclose(central_difference(likelihood, theta), 0, atol=1e-5)


@pytest.mark.equation("clustering.6")
def test_samples_have_the_moments_of_the_mixture_and_lead_back_to_it():
    """Mean, covariance and EM's estimate from 40,000 samples are the mixture's, within five standard errors."""
    m, N = Mixture(np.array([0.2, 0.5, 0.3]), np.array([[0.0, 0], [6, 1], [1, 7]]), 0.8, [], True), 40_000
    x = m.sample(N, rng=0)
    mean = m.weights @ m.centres
    covariance = m.sigma**2 * np.eye(2) + (m.weights * (m.centres - mean).T) @ (m.centres - mean)
    assert (abs(x.mean(axis=0) - mean) < 5 * (covariance.diagonal() / N) ** 0.5).all()
    fourth = (((x - mean)[:, :, None] * (x - mean)[:, None]) ** 2).mean(axis=0)
    assert (abs(np.cov(x.T) - covariance) < 5 * (fourth / N) ** 0.5).all()
    found = gaussian_mixture(x, m.centres + 0.5)
    assert (abs(found.centres - m.centres) < 5 * m.sigma / (m.weights[:, None] * N) ** 0.5 + 1e-3).all()
    assert abs(found.sigma - m.sigma) < 5 * m.sigma / (2 * 2 * N) ** 0.5 + 1e-3
    assert (abs(found.weights - m.weights) < 5 * (m.weights * (1 - m.weights) / N) ** 0.5 + 1e-3).all()


def test_a_component_without_samples_keeps_its_centre():
    x, _ = blobs(0)
    found = gaussian_mixture(x, np.array([[0.0, 0, 0], [1, 1, 1], [1e6, 0, 0]]))
    assert found.centres[2].tolist() == [1e6, 0, 0] and found.weights[2] == 0
    assert np.isfinite(found.log_density(x)).all() and not found.posterior(x)[:, 2].any()


def test_a_mixture_that_hits_all_samples_has_no_greatest_likelihood():
    x = np.arange(6.0).reshape(3, 2) + 100
    for dtype in ("float32", "float64"):
        with pytest.raises(ValueError, match="x: all samples lie at the centres"):
            gaussian_mixture(x.astype(dtype), x.astype(dtype))
        with pytest.raises(ValueError, match="x: all samples lie at the centres"):
            gaussian_mixture(x.astype(dtype), (x + [[0.1], [0], [-0.1]]).astype(dtype))


# The limit


@pytest.mark.equation("clustering.8", "clustering.9")
@given(seed=seeds)
def test_a_step_of_em_becomes_a_step_of_k_means_as_the_noise_vanishes(seed):
    """At σ = 10⁻³ the posterior is the one-hot code of the nearest centre, and the new centres are the means."""
    x, _ = blobs(seed)
    m = mixture(seed, n=3)
    squares = np.sort(((x[:, None] - m.centres) ** 2).sum(axis=2), axis=1)
    x = x[squares[:, 1] - squares[:, 0] > 1e-3]  # no tie, as far as σ can see: e^(−10⁻³/2σ²) = e^(−500)
    labels, _ = _encode(x, m.centres)
    with np.errstate(under="ignore"):
        q = _log_density_and_posterior(x, m.weights, m.centres, 1e-3)[1]
    np.testing.assert_allclose(q, np.eye(3)[labels], atol=1e-12)
    if len(set(labels.tolist())) == 3:
        np.testing.assert_allclose(_maximize(x, q, m.centres)[1], _decoder(x, labels, m.centres), atol=1e-12)


@pytest.mark.equation("clustering.10")
@given(seed=seeds, sigma=st.floats(0.1, 10))
def test_k_means_is_em_with_certain_answers(seed, sigma):
    """The mean of F for one-hot q and equal weights, by SciPy's densities, is −J/(2σ²) − (n/2) ln(2πσ²) − ln K."""
    x, _ = blobs(seed)
    rng = np.random.default_rng(seed)
    centres, labels = rng.standard_normal((5, 3)), rng.integers(5, size=60)
    joint = log_joint(Mixture(np.full(5, 0.2), centres, sigma, [], True), x)
    J = naive_error(x, centres, labels)
    expected = -J / (2 * sigma**2) - 1.5 * np.log(2 * np.pi * sigma**2) - np.log(5)
    assert joint[np.arange(60), labels].mean() == pytest.approx(expected, rel=1e-10)


# The measures


@pytest.mark.equation("clustering.11", "clustering.12")
def test_measures_by_hand():
    """Of clusters 0 0 0 1 1 1 and classes a a b b b b five are right, and I and the entropies are those on paper."""
    labels, classes = [0, 0, 0, 1, 1, 1], [5, 5, 2, 2, 2, 2]
    assert clustering_accuracy(labels, classes) == 5 / 6
    information = (2 / 6) * np.log(2) + (1 / 6) * np.log(1 / 2) + (3 / 6) * np.log(3 / 2)
    entropies = np.log(2), -(1 / 3) * np.log(1 / 3) - (2 / 3) * np.log(2 / 3)
    assert normalised_mutual_information(labels, classes) == pytest.approx(information / np.mean(entropies), rel=1e-14)


@pytest.mark.equation("clustering.11")
@given(seed=seeds, K=st.integers(1, 5), L=st.integers(1, 5))
def test_accuracy_is_the_best_of_all_matchings(seed, K, L):
    """The accuracy is the largest over all one-to-one maps, also with fewer or more clusters than classes."""
    rng = np.random.default_rng(seed)
    z, y = rng.integers(K, size=12), rng.integers(L, size=12)
    names = range(max(K, L))
    best = max(sum(order[a] == b for a, b in zip(z, y, strict=True)) for order in itertools.permutations(names))
    assert clustering_accuracy(z, y) == pytest.approx(best / 12, rel=1e-15)


@pytest.mark.equation("clustering.12")
@given(seed=seeds, K=st.integers(1, 5), L=st.integers(2, 5))
def test_information_is_that_of_loops(seed, K, L):
    """NMI is that of loops over clusters and classes; names do not matter, nor which of the two is which."""
    rng = np.random.default_rng(seed)
    z, y = rng.integers(K, size=30), np.append(rng.integers(L, size=28), [0, 1])
    p = [[np.mean((z == k) & (y == c)) for c in range(L)] for k in range(K)]
    rows, columns = [sum(row) for row in p], [sum(row[c] for row in p) for c in range(L)]
    information = sum(
        p[k][c] * np.log(p[k][c] / rows[k] / columns[c]) for k in range(K) for c in range(L) if p[k][c] > 0
    )
    entropy = -sum(v * np.log(v) for v in rows + columns if v > 0)
    value = normalised_mutual_information(z, y)
    assert value == pytest.approx(2 * information / entropy, rel=1e-10, abs=1e-12) and -1e-12 <= value <= 1 + 1e-12
    renamed = rng.permutation(10)[z]
    assert normalised_mutual_information(y, renamed) == pytest.approx(value, rel=1e-10, abs=1e-12)
    assert clustering_accuracy(renamed, y) == clustering_accuracy(z, y) == clustering_accuracy(y, z)


@pytest.mark.equation("clustering.11", "clustering.12")
def test_measures_at_their_limits():
    """Renamed classes give 1, independent ones 0 and a share of 1/K, one cluster for all 0 and the largest class."""
    y = np.repeat([0, 1, 2], 6)
    assert clustering_accuracy((y + 1) % 3, y) == 1
    assert normalised_mutual_information((y + 1) % 3, y) == pytest.approx(1, rel=1e-14)
    independent = np.tile([0, 1, 2], 6)
    assert clustering_accuracy(independent, y) == pytest.approx(1 / 3, rel=1e-15)
    assert normalised_mutual_information(independent, y) == pytest.approx(0, abs=1e-14)
    assert clustering_accuracy(np.zeros(18, int), y) == pytest.approx(1 / 3, rel=1e-15)
    assert normalised_mutual_information(np.zeros(18, int), y) == 0
    assert normalised_mutual_information([3, 3], [7, 7]) == 1


# As a pretext task


def named(clusters, x, rng):
    """The pretext task of cluster labels."""
    return x, clusters.assign(x)


def test_cluster_labels_are_a_task_like_any_other():
    x, y = blobs(0, N=400, distance=4)
    task = pickle.loads(pickle.dumps(partial(named, k_means(x, 4, rng=0))))
    net = MLP((3, 16, 4), "tanh", rng=0, dtype="float64")
    losses = train(net, x, task, softmax_cross_entropy, epochs=40, batch_size=32, rng=0)
    assert losses[0] > np.log(4) / 2 and losses[-1] < 0.3 * losses[0]
    named_as = net(x).argmax(axis=1)
    assert np.mean(named_as == task(x, None)[1]) > 0.9 and clustering_accuracy(named_as, y) > 0.7


# Kinds of numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept_and_an_offset_costs_no_digits(dtype):
    """Clusters and mixture of samples near 4096 are those of the samples without this offset, to the rounding there."""
    far = (blobs(0)[0] + 4096).astype(dtype)
    near = far.astype(float) - 4096  # exact
    found, exact = k_means(far, 4, rng=0), k_means(near, 4, rng=0)
    assert np.array_equal(found.labels, exact.labels)
    rounding = 4 * 4096 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found.centres.astype(float) - 4096, exact.centres, atol=rounding)
    m, exact = gaussian_mixture(far, far[:4], tolerance=1e-4), gaussian_mixture(near, near[:4], tolerance=1e-4)
    assert m.sigma == pytest.approx(exact.sigma, rel=1e-2)  # either may end a step of EM earlier
    for part in (found.centres, m.weights, m.centres, m.posterior(far), m.log_density(far), m.sample(3, 0)):
        assert part.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clusters_that_are_small_beside_their_distance_lose_no_digits(dtype):
    """Three clusters of unit spread 10⁴ apart: J is that of loops, in six clusters too, and the mixture is found."""
    x = (1e4 * np.eye(3)[np.arange(90) % 3] + np.random.default_rng(0).standard_normal((90, 3))).astype(dtype)
    exact = x.astype(float)
    for K in (3, 6):
        found = k_means(x, K, rng=0)
        again = k_means(exact, K, rng=0)
        assert found.labels.tolist() == again.labels.tolist() == found.assign(x).tolist()
        assert found.error == pytest.approx(naive_error(exact, again.centres, again.labels), rel=1e-6)
    m = gaussian_mixture(x, k_means(x, 3, rng=0).centres)
    assert m.sigma**2 == pytest.approx(k_means(exact, 3, rng=0).error / 3, rel=1e-3)
    at = multivariate_normal(m.centres[0].astype(float), m.sigma**2 * np.eye(3)).logpdf(m.centres[0].astype(float) + 1)
    assert m.log_density(m.centres[:1] + 1)[0] == pytest.approx(at + np.log(m.weights[0]), rel=1e-3)


def test_underflow_is_harmless():
    x = np.array([[0.0], [1], [1e3], [1e3 + 1]])
    with np.errstate(all="raise"):
        found = k_means(x, 2, rng=0)
        m = gaussian_mixture(x, found.centres)
        assert m.posterior(x).tolist() == np.eye(2)[found.labels].tolist() and m.sample(3, 0).shape == (3, 1)


def test_a_search_that_stops_early_warns_and_names_the_remedy():
    x, _ = blobs(0, N=300, K=8, distance=1)
    with pytest.warns(RuntimeWarning, match="k_means: labels still change after 1 .*more iterations"):
        found = k_means(x, 8, starts=2, iterations=1, rng=0)
    assert not found.converged and len(found.errors) == 2
    assert found.error == pytest.approx(naive_error(x, found.centres, found.labels), rel=1e-10)
    with pytest.warns(RuntimeWarning, match="gaussian_mixture: likelihood still rises after 2 .*raise iterations"):
        m = gaussian_mixture(x, found.centres, iterations=2)
    assert not m.converged and m.log_likelihoods[-1] == pytest.approx(m.log_density(x).mean(), rel=1e-12)


def test_the_same_seed_gives_the_same_clusters():
    x, _ = blobs(0, K=7)
    one, two, other = (k_means(x, 7, starts=1, rng=seed) for seed in (3, np.random.default_rng(3), 4))
    assert np.array_equal(one.centres, two.centres) and not np.array_equal(one.centres, other.centres)


def test_on_the_device():
    """Clusters, mixture and samples are the same numbers on arrays of CuPy's kind."""
    x, y = blobs(0)
    results = []
    for library in (np, cupy):
        a = library.asarray(x)
        found = k_means(a, 4, starts=3, rng=0)
        empty = _lloyd(a, library.asarray(np.vstack([x[:2], [[1e3, 0, 0]]])), 50)
        m = gaussian_mixture(a, found.centres)
        parts = found.centres, found.labels, found.assign(a), empty.centres, *m[:2], m.posterior(a), m.log_density(a)
        parts += (m.sample(4, rng=1),)
        assert all(isinstance(part, library.ndarray) for part in parts)
        measures = clustering_accuracy(found.labels, y), normalised_mutual_information(found.labels, library.asarray(y))
        results.append([cupy.asnumpy(part) for part in parts] + [m.sigma, found.errors, *measures])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-10)


X = np.random.default_rng(0).standard_normal((7, 2))
BAD = [
    ("x: got shape", lambda: k_means(X[0], 2)),
    ("x: contains NaN", lambda: k_means(np.where(X == X[0, 0], np.nan, X), 2)),
    ("K: got 0", lambda: k_means(X, 0)),
    ("K: got 8", lambda: k_means(X, 8)),
    ("starts: got 0", lambda: k_means(X, 2, starts=0)),
    ("iterations: got 0", lambda: k_means(X, 2, iterations=0)),
    ("rng: ", lambda: k_means(X, 2, rng="a")),
    ("x: got shape", lambda: k_means(X, 2, rng=0).assign(X[:, :1])),
    ("x: got dtype", lambda: k_means(X, 2, rng=0).assign(X.astype("f4"))),
    ("centres: got shape", lambda: gaussian_mixture(X, X[:2, :1])),
    ("centres: got dtype", lambda: gaussian_mixture(X, X[:2].astype("f4"))),
    ("iterations: got 0", lambda: gaussian_mixture(X, X[:2], iterations=0)),
    ("tolerance: got -1", lambda: gaussian_mixture(X, X[:2], tolerance=-1)),
    ("x: got shape", lambda: mixture(0).log_density(X[:, :1])),
    ("x: got shape", lambda: mixture(0).posterior(X[:, :1])),
    ("N: got 0", lambda: mixture(0).sample(0, 0)),
    ("labels: got dtype", lambda: clustering_accuracy([0.5], [0])),
    ("classes: got shape", lambda: clustering_accuracy([0, 1], [0])),
    ("labels: got values", lambda: normalised_mutual_information([0, -1], [0, 1])),
    ("classes: got shape", lambda: normalised_mutual_information([0, 1], [[0, 1]])),
]


@pytest.mark.parametrize(("message", "call"), BAD)
def test_bad_input(message, call):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_the_unit_of_the_data_changes_nothing():
    """Data in units of 2⁻²⁰, where D² is far below 1, start at the same samples and end with the same labels."""
    x = np.random.default_rng(0).standard_normal((200, 3))
    here, there = (k_means(scale * x, 7, starts=3, rng=1) for scale in (1.0, 2.0**-20))
    assert np.array_equal(here.labels, there.labels)
    assert np.array_equal(here.centres, there.centres * 2.0**20)
