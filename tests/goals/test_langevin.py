"""Langevin dynamics: each equation of minissl/goals/langevin.py against loops, closed forms, and exact moments."""

import doctest
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

import minissl.goals.langevin
from minissl.goals.densities import log_density_and_score, network_log_density
from minissl.goals.langevin import _log_kernel, annealed_langevin, conditional_score, langevin, mala, noise_conditional
from minissl.nn.gradcheck import central_difference
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP

MODES = np.array([[5.0, 5.0], [-5.0, -5.0]])  # Song & Ermon 2019, section 3.2.2
WEIGHTS = np.array([0.8, 0.2])
LEVELS = [2.0, 0.7, 0.3]
BIMODAL = ((0.4, -1.0, 0.8), (0.6, 1.5, 0.6))  # weight, mean, standard deviation


def gaussian(x):
    """N(0, I): ln p and score."""
    return -0.5 * (x**2).sum(axis=1), -x


def mixture(x, sigma=1.0):
    """The mixture of two Gaussians of standard deviation sigma: ln p and score."""
    difference = MODES - x[:, None]
    log_joint = np.log(WEIGHTS) - (difference**2).sum(axis=2) / (2 * sigma**2)
    log_p = logsumexp(log_joint, axis=1)
    return log_p, (np.exp(log_joint - log_p[:, None])[:, :, None] * difference).sum(axis=1) / sigma**2


def skewed(x):
    """The density proportional to exp(-x - exp(-x)) (Gumbel): ln p and score."""
    return (-x - np.exp(-x))[:, 0], -1 + np.exp(-x)


def conditional_network(n=3):
    return MLP((n + 1, 7, n), "tanh", dtype="float64", rng=5)


def bimodal(x):
    """0.4 N(−1, 0.8²) + 0.6 N(1.5, 0.6²) on the line: p, p′, p″ and the score."""
    parts = [(w * np.exp(-0.5 * ((x - m) / d) ** 2) / d, (m - x) / d**2, 1 / d**2) for w, m, d in BIMODAL]
    p = sum(part for part, _, _ in parts)
    p1 = sum(part * slope for part, slope, _ in parts)
    p2 = sum(part * (slope**2 - k) for part, slope, k in parts)
    return p, p1, p2, p1 / p


def change(q, q1, q2, s, s1):
    """The right side of the Fokker–Planck equation on the line, −½ (q s)′ + ½ q″."""
    return -0.5 * (q1 * s + q * s1) + 0.5 * q2


# Why p is stationary


@pytest.mark.equation("langevin.1")
def test_nothing_changes_where_the_chains_have_the_density():
    """At q = p, a mixture on the line, −½ (q s)′ + ½ q″ is zero, and at another q it is not."""
    x = np.linspace(-4, 4, 401)
    p, p1, p2, s = bimodal(x)
    s1 = bimodal(x + 1e-20j)[3].imag / 1e-20
    assert abs(change(p, p1, p2, s, s1)).max() < 1e-14 * abs(p2).max()
    q = norm.pdf(x)
    assert abs(change(q, -x * q, (x**2 - 1) * q, s, s1)).max() > 0.1


@pytest.mark.equation("langevin.1", "langevin.4")
@pytest.mark.parametrize("mean, deviation", [(0.0, 1.0), (0.7, 1.3)])
def test_one_short_step_obeys_the_fokker_planck_equation(mean, deviation):
    """The density after one step, ∫ q(x) k(x′|x) dx by quadrature, is q + η (−½ (q s)′ + ½ q″) up to O(η²)."""
    x = np.linspace(-9, 9, 6001)  # finer than √η, so that the sum is the integral to all digits
    x_new = np.linspace(-3, 4, 36)
    q, s = norm.pdf(x, mean, deviation), bimodal(x)[3]
    z, at = (x_new - mean) / deviation, norm.pdf(x_new, mean, deviation)
    s_new, s1_new = bimodal(x_new)[3], bimodal(x_new + 1e-20j)[3].imag / 1e-20
    expected = change(at, -z / deviation * at, (z**2 - 1) / deviation**2 * at, s_new, s1_new)

    def remainder(eta):
        log_k = [_log_kernel(np.full((len(x), 1), to), x[:, None], s[:, None], eta) for to in x_new]
        after = np.exp(log_k) @ q * (x[1] - x[0]) / (2 * np.pi * eta) ** 0.5
        return abs(after - at - eta * expected).max()

    assert remainder(1e-3) < 0.02 * 1e-3 * abs(expected).max()
    assert np.log2(remainder(1e-3) / remainder(5e-4)) == pytest.approx(2, abs=0.05)


# Unadjusted


@pytest.mark.equation("langevin.2")
@given(seed=st.integers(0, 2**32), e=st.floats(0.01, 2), N=st.integers(1, 4), n=st.integers(1, 5))
def test_langevin_is_its_equation_in_loops(seed, e, N, n):
    """Three steps of `langevin` equal x + (η/2) s + √η z written in loops over chains and components."""
    x = np.random.default_rng(seed).standard_normal((N, n))
    found = langevin(lambda x: -np.tanh(x), x, e, 3, rng=seed, path=True)
    rng = np.random.default_rng(seed)
    for t in range(3):
        z = rng.standard_normal((N, n))
        x = np.array([[v - e / 2 * np.tanh(v) + np.sqrt(e) * z[i, j] for j, v in enumerate(x[i])] for i in range(N)])
        np.testing.assert_allclose(found.path[t + 1], x, rtol=1e-13, atol=1e-13)
    assert np.array_equal(found.x, found.path[-1]) and found.acceptance == 1


@pytest.mark.equation("langevin.3")
@given(seed=st.integers(0, 2**32), e=st.floats(0.05, 3.5), t=st.integers(1, 12), tau=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_variance_on_a_gaussian_is_exact(seed, e, t, tau):
    """On N(0, τ²), at the step eτ², xₜ weighs x₀ and the noise of each step by weights that, solved for, give τ²vₜ."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 1))
    found = langevin(lambda x: -x / tau**2, x, e * tau**2, t, rng=np.random.default_rng(seed + 1)).x
    rng = np.random.default_rng(seed + 1)
    z = [rng.standard_normal((40, 1)) for _ in range(t)]
    weights, *_ = np.linalg.lstsq(np.hstack([x, *z]), found, rcond=None)
    v0 = 2.7
    v = 1 / (1 - e / 4)
    expected = v + (1 - e / 2) ** (2 * t) * (v0 - v)
    assert weights[0, 0] ** 2 * v0 + (weights[1:] ** 2).sum() / tau**2 == pytest.approx(expected, rel=1e-9)


@pytest.mark.equation("langevin.3")
@pytest.mark.parametrize("e", [0.5, 1, 3])
def test_the_variance_of_langevin_on_a_gaussian(e):
    """The variance over 200,000 chains on N(0, 1) is vₜ within five standard errors, at four times and three steps."""
    N, start = 200_000, 3.0
    path = langevin(lambda x: -x, np.full((N, 1), start), e, 40, rng=0, path=True).path[:, :, 0]
    stationary = 1 / (1 - e / 4)
    for t in (1, 2, 5, 40):
        expected = stationary + (1 - e / 2) ** (2 * t) * (0 - stationary)  # all chains start at one point
        squares = (path[t] - start * (1 - e / 2) ** t) ** 2
        assert abs(squares.mean() - expected) < 5 * squares.std() / N**0.5
    assert abs(stationary - 1) > 20 * squares.std() / N**0.5  # so that a variance of 1 would have been told apart


@pytest.mark.equation("langevin.3")
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_step_of_four_or_more_explodes():
    """On N(0, 1) chains of 2,000 steps stay finite at η = 3.9 and run off to infinity at η = 4.5."""
    x = np.ones((3, 2), dtype=np.float32)
    langevin(lambda x: -x, x, 3.9, 2000, rng=0)
    with pytest.raises(FloatingPointError, match="step .* smaller step"):
        langevin(lambda x: -x, x, 4.5, 2000, rng=0)


def test_a_vanishing_step_leaves_the_chains_where_they_are():
    x = np.random.default_rng(0).standard_normal((5, 3))
    assert abs(langevin(lambda x: -x, x, 1e-20, 10, rng=0).x - x).max() < 1e-8
    assert mala(gaussian, x, 1e-10, 10, rng=0).acceptance == 1


# Metropolis-adjusted


@pytest.mark.equation("langevin.2", "langevin.4", "langevin.5")
@given(seed=st.integers(0, 2**32), e=st.floats(0.1, 4), N=st.sampled_from([1, 40]))
def test_mala_is_its_equation_in_loops(seed, e, N):
    """Four steps of `mala` equal proposals and acceptances written in loops, with full Gaussian densities."""
    x = MODES[0] + np.random.default_rng(seed).standard_normal((N, 2))
    found = mala(mixture, x, e, 4, rng=seed, path=True)
    rng, accepted = np.random.default_rng(seed), 0

    def log_p(v):
        return np.log(sum(w * np.exp(-0.5 * sum((v - m) ** 2)) for w, m in zip(WEIGHTS, MODES, strict=True)))

    def log_q(to, at):
        drift = at + e / 2 * mixture(at[None])[1][0]
        return sum(-0.5 * np.log(2 * np.pi * e) - (to[j] - drift[j]) ** 2 / (2 * e) for j in range(2))

    x = x.copy()
    for t in range(4):
        z = rng.standard_normal((N, 2))
        u = 1 - rng.random(N)
        for i in range(N):
            new = x[i] + e / 2 * mixture(x[i : i + 1])[1][0] + np.sqrt(e) * z[i]
            ratio = np.exp(log_p(new) - log_p(x[i]) + log_q(x[i], new) - log_q(new, x[i]))
            if u[i] < ratio:
                x[i], accepted = new, accepted + 1
        np.testing.assert_allclose(found.path[t + 1], x, rtol=1e-10, atol=1e-10)
    assert found.acceptance == pytest.approx(accepted / (4 * N))


@pytest.mark.equation("langevin.5")
@pytest.mark.parametrize("e", [0.5, 2])
def test_mala_is_reversible(e):
    """Started in p, E f(x) g(x′) = E g(x) f(x′) for four pairs f, g under `mala`, and not under `langevin`."""
    N = 400_000
    x = np.random.default_rng(1).gumbel(size=(N, 1))
    adjusted = mala(skewed, x, e, 1, rng=2)
    assert 0.3 < adjusted.acceptance < 0.99
    unadjusted = langevin(lambda x: skewed(x)[1], x, e, 1, rng=2)

    def z_scores(new):
        for f, g in ((np.tanh, np.ones_like), (np.tanh, np.cos), (np.sin, np.square), (np.square, np.ones_like)):
            flow = f(x) * g(new) - g(x) * f(new)
            yield abs(flow.mean()) / (flow.std() / N**0.5)

    assert max(z_scores(adjusted.x)) < 5
    assert max(z_scores(unadjusted.x)) > 10


@pytest.mark.equation("langevin.5")
@pytest.mark.parametrize("e", [0.5, 1, 2])
def test_mala_is_exact_on_a_correlated_gaussian(e):
    """Mean and covariance of chains of `mala` on a correlated Gaussian are its own, within five standard errors."""
    C = np.array([[2.0, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 0.8]])
    K = np.linalg.inv(C)

    def density(x):
        return -0.5 * ((x @ K) * x).sum(axis=1), -x @ K

    N, start = 40_000, np.random.default_rng(0).standard_normal((40_000, 3))
    x = mala(density, start, e / 2, 150, rng=3).x
    assert (abs(x.mean(axis=0)) < 5 * (np.diag(C) / N) ** 0.5).all()
    products = x[:, :, None] * x[:, None, :]
    assert (abs(products.mean(axis=0) - C) < 5 * products.std(axis=0) / N**0.5).all()


@pytest.mark.equation("langevin.5")
def test_the_acceptance_that_mixes_fastest_in_high_dimension():
    """On N(0, I), n = 1,000, η = ℓ²n^(−1/3), `mala` accepts 2Φ(−ℓ³/8), which is 0.574 where η times it is largest."""
    ells = np.linspace(0.5, 3, 2001)
    fastest = ells[(ells**2 * norm.cdf(-(ells**3) / 8)).argmax()]
    assert 2 * norm.cdf(-(fastest**3) / 8) == pytest.approx(0.574, abs=1e-3)
    N, n = 1500, 1000
    for ell in (1.0, fastest, 2.2):
        x = np.random.default_rng(0).standard_normal((N, n))
        expected = 2 * norm.cdf(-(ell**3) / 8)
        found = mala(gaussian, x, ell**2 * n ** (-1 / 3), 1, rng=1).acceptance
        assert abs(found - expected) < 5 * (expected * (1 - expected) / N) ** 0.5


def test_mala_with_a_huge_step_stays_where_it_is():
    x = np.random.default_rng(0).standard_normal((50, 4))
    chains = mala(gaussian, x, 1e6, 3, rng=0)
    assert chains.acceptance == 0 and np.array_equal(chains.x, x)


def test_mala_where_probabilities_underflow():
    x = np.full((2000, 2), 60.0)  # p is about e^-3000, which is 0 in floating point
    chains = mala(mixture, x, 0.5, 200, rng=0)
    assert chains.acceptance > 0.5
    distance = ((chains.x - MODES[0]) ** 2).sum(axis=1)  # chi-square with 2 degrees of freedom: mean 2, variance 4
    assert abs(distance.mean() - 2) < 5 * (4 / 2000) ** 0.5


def test_mala_never_goes_where_the_density_is_zero():
    def exponential(x):
        inside = x[:, 0] > 0
        return np.where(inside, -x[:, 0], -np.inf), np.where(inside[:, None], -1.0, np.nan) * np.ones_like(x)

    N = 20_000
    chains = mala(exponential, np.ones((N, 1)), 1.0, 150, rng=0, path=True)
    assert (chains.path > 0).all() and chains.acceptance < 0.9
    assert abs(chains.x.mean() - 1) < 5 / N**0.5  # mean and standard deviation of the exponential are 1


# Annealed


@pytest.mark.equation("langevin.6")
@given(seed=st.integers(0, 2**32), e=st.floats(0.001, 0.2), steps=st.integers(1, 3))
def test_annealed_is_its_algorithm_in_loops(seed, e, steps):
    """Every state of `annealed_langevin` equals that of algorithm 1 of Song & Ermon written out, ηᵢ = η σᵢ²/σ_L²."""
    x = np.random.default_rng(seed).standard_normal((4, 2))
    found = annealed_langevin(lambda x, sigma: mixture(x, sigma)[1], x, LEVELS, e, steps, rng=seed, path=True)
    assert found.path.shape == (len(LEVELS) * steps + 1, 4, 2) and np.array_equal(found.path[0], x)
    rng, t = np.random.default_rng(seed), 0
    for sigma in LEVELS:
        alpha = e * sigma**2 / LEVELS[-1] ** 2
        for _ in range(steps):
            t += 1
            x = x + alpha / 2 * mixture(x, sigma)[1] + np.sqrt(alpha) * rng.standard_normal((4, 2))
            np.testing.assert_allclose(found.path[t], x, rtol=1e-12, atol=1e-12)
    assert np.array_equal(found.x, found.path[-1]) and found.acceptance == 1


@pytest.mark.equation("langevin.2")
@pytest.mark.equation("langevin.6")
def test_the_toy_of_song_and_ermon():
    """Plain dynamics keep the share of chains that started nearer each mode, and annealing finds the modes' weights."""
    # The border between the basins is x₁ + x₂ = −ln(4)/10, so that P(start on the upper side) = 0.5086. Annealing is
    # not exact at the top either: 0.785 is what an independent implementation measured, with standard error 0.012.
    N = 1280
    start = np.random.default_rng(0).uniform(-8, 8, size=(N, 2))
    plain = langevin(lambda x: mixture(x)[1], start, 0.1, 1000, rng=1).x
    found = annealed_langevin(lambda x, sigma: mixture(x, sigma)[1], start, np.geomspace(20, 1, 10), 0.1, 100, rng=2).x
    share_plain, share_annealed = ((x.sum(axis=1) > 0).mean() for x in (plain, found))
    assert abs(share_plain - 0.5086) < 5 * (0.25 / N) ** 0.5
    assert abs(share_annealed - 0.785) < 5 * (0.785 * 0.215 / N + 0.012**2) ** 0.5


# Scores


@pytest.mark.equation("langevin.7")
@pytest.mark.equation("langevin.8")
@pytest.mark.equation("langevin.9")
def test_the_noise_conditional_loss_is_weighted_score_matching():
    """The squared error of `noise_conditional` equals Σ σ²(1 + σ²) ‖s + z/σ‖²/N, summed in loops over the samples."""
    x = np.random.default_rng(0).standard_normal((61, 3))
    net = conditional_network()
    input, target = noise_conditional(LEVELS)(x, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    sigmas, z = rng.choice(LEVELS, size=(61, 1))[:, 0], rng.standard_normal((61, 3))
    J = 0
    for i, sigma in enumerate(sigmas):
        s = conditional_score(net)(x[i : i + 1] + sigma * z[i], float(sigma))[0]
        J += sigma**2 * (1 + sigma**2) * sum((s[j] + z[i, j] / sigma) ** 2 for j in range(3)) / 61
    assert squared_error(net(input), target)[0] == pytest.approx(J, rel=1e-12)
    assert set(sigmas) == set(LEVELS)  # one is missing with probability 3 (2/3)^61


@pytest.mark.equation("langevin.8", "langevin.9")
def test_input_and_target_of_the_network_worked_by_hand():
    """At σ = 3/4, c = 4/5, input, target and score equal numbers worked out by hand."""
    sigma = 0.75  # c = 1 / sqrt(1 + 9/16) = 0.8
    x, z = np.array([[2.0, -1.0]]), np.random.default_rng(3)
    z.choice([sigma], size=(1, 1))
    z = z.standard_normal((1, 2))
    input, target = noise_conditional([sigma])(x, np.random.default_rng(3))
    np.testing.assert_allclose(input, np.column_stack([0.8 * x + 0.6 * z, [np.log(0.75)]]), rtol=1e-14)
    np.testing.assert_allclose(target, 0.6 * x - 0.8 * z, rtol=1e-13)
    # a network whose output is Y = (3, 4): s = -0.64 x + 0.8 / 0.75 (3, 4) = (1.92, 4.9066...)
    score = conditional_score(lambda input: np.array([[3.0, 4.0]]))(x, sigma)
    np.testing.assert_allclose(score, [[1.92, 0.64 + 3.2 / 0.75]], rtol=1e-14)


@pytest.mark.equation("langevin.9")
@given(seed=st.integers(0, 2**32), sigma=st.floats(1e-3, 1e3), n=st.integers(1, 4))
def test_score_plus_noise_is_output_minus_target(seed, sigma, n):
    """For any output Y, s(x̃, σ) + z/σ equals (c/σ)(Y − target), with input and target from the task."""
    rng = np.random.default_rng(seed)
    x, Y = rng.standard_normal((2, 5, n))
    _, target = noise_conditional([sigma])(x, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    rng.choice([sigma], size=(5, 1))
    z = rng.standard_normal((5, n))
    s = conditional_score(lambda input: Y)(x + sigma * z, sigma)
    c = 1 / (1 + sigma**2) ** 0.5
    np.testing.assert_allclose(s + z / sigma, c / sigma * (Y - target), rtol=1e-9, atol=1e-13 * (1 + 1 / sigma))


@pytest.mark.equation("langevin.9")
@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0, 100.0])
def test_input_and_target_are_data_and_noise_reflected(sigma):
    """The map from (x, z) to (input, target) is orthogonal with determinant −1, at every level."""
    c = 1 / (1 + sigma**2) ** 0.5
    x = np.array([[1.0], [-2.0]])
    rng = np.random.default_rng(2)
    rng.choice([sigma], size=(2, 1))
    z = rng.standard_normal((2, 1))
    input, target = noise_conditional([sigma])(x, np.random.default_rng(2))
    M = np.linalg.solve(np.hstack([x, z]), np.hstack([input[:, :1], target])).T  # (input, target)ᵀ = M (x, z)ᵀ
    np.testing.assert_allclose(M, [[c, c * sigma], [c * sigma, -c]], atol=1e-11)
    np.testing.assert_allclose(M @ M.T, np.eye(2), atol=1e-11)
    assert np.linalg.det(M) == pytest.approx(-1)


@pytest.mark.equation("langevin.8")
def test_when_the_network_has_nothing_to_add():
    """With Y = 0 the score is that of white Gaussian data at every σ, and of other Gaussians only at large σ."""
    x = np.random.default_rng(0).standard_normal((5, 2))
    nothing = conditional_score(lambda input: np.zeros((len(input), 2)))
    C = np.array([[1.5, 0.9], [0.9, 0.5]])  # mean variance 1
    for sigma in (0.1, 1.0, 10.0, 1000.0):
        white = -x / (1 + sigma**2)
        np.testing.assert_allclose(nothing(x, sigma), white, rtol=1e-14)
        exact = -np.linalg.solve(C + sigma**2 * np.eye(2), x.T).T
        assert (abs(exact - white).max() < 0.03 * abs(white).max()) == (sigma >= 10)


@pytest.mark.equation("langevin.7")
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_the_mean_of_minus_z_over_sigma_is_the_smoothed_score(sigma):
    """On the line E[−z/σ | x̃], by quadrature over the data, is the derivative of ln p_σ of a mixture in closed form."""
    x, noisy = np.linspace(-12, 12, 20_001), np.linspace(-6, 6, 25)
    weights = bimodal(x)[0] * np.exp(-((noisy[:, None] - x) ** 2) / (2 * sigma**2))
    mean = (weights * -(noisy[:, None] - x) / sigma**2).sum(axis=1) / weights.sum(axis=1)
    levels = [(w, m, (d**2 + sigma**2) ** 0.5) for w, m, d in BIMODAL]
    parts = np.array([w * norm.pdf(noisy, m, d) for w, m, d in levels])
    slopes = np.array([(m - noisy) / d**2 for _, m, d in levels])
    np.testing.assert_allclose(mean, (parts * slopes).sum(axis=0) / parts.sum(axis=0), rtol=1e-9, atol=1e-10)


@pytest.mark.equation("langevin.7")
@pytest.mark.equation("langevin.8")
@pytest.mark.parametrize("sigma", [0.4, 2.0])
def test_the_best_noise_conditional_network_has_the_score(sigma):
    """For data N(0, C) the linear network whose score is that of N(0, C + σ²I) has gradient 0 of the loss."""
    C = np.array([[2.0, 0.9], [0.9, 1.0]])
    c2 = 1 / (1 + sigma**2)
    K = np.linalg.inv(C + sigma**2 * np.eye(2))
    net = MLP((3, 2), dtype="float64", rng=0)
    net.theta[:] = 0
    net.weights[0][:2] = sigma / c2 * (c2 * np.eye(2) - K)
    x = np.random.default_rng(0).standard_normal((6, 2))
    np.testing.assert_allclose(conditional_score(net)(x, sigma), -x @ K, rtol=1e-11)

    rng = np.random.default_rng(1)
    gradients = []
    for _ in range(200):
        data = rng.multivariate_normal(np.zeros(2), C, size=2000)
        input, target = noise_conditional([sigma])(data, rng)
        H = net.forward(input)
        gradients.append(net.backward(H, squared_error(H[-1], target)[1]).copy())
    gradients = np.array(gradients)
    assert (abs(gradients.mean(axis=0)) < 5 * gradients.std(axis=0) / 200**0.5).all()


@pytest.mark.equation("densities.7")
def test_the_score_of_a_network_is_its_input_gradient():
    """What `mala` takes of a network is its output, and its input gradient as central differences have it."""
    net = MLP((3, 5, 4, 1), "tanh", rng=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((6, 3))
    log_p, score = log_density_and_score(network_log_density(net), net.theta)(x)
    assert np.array_equal(log_p, net(x)[:, 0])
    expected = [central_difference(lambda v: net(v[None])[0, 0], row) for row in x]
    np.testing.assert_allclose(score, expected, rtol=1e-7, atol=1e-9)


def test_chains_on_the_density_of_a_network():
    """ln p = 20 (tanh(3(x + 2)) − tanh(3(x − 1))) is a plateau between −2 and 1; its moments by quadrature."""
    net = MLP((1, 2, 1), "tanh", rng=0, dtype="float64")
    net.theta[:] = [3, 3, 6, -3, 20, -20, 0]
    grid = np.linspace(-4, 3, 20_001)
    p = np.exp(net(grid[:, None])[:, 0] - 40)
    p /= p.sum()
    mean, variance = (p * grid).sum(), (p * grid**2).sum() - (p * grid).sum() ** 2
    N = 20_000
    log_density = log_density_and_score(network_log_density(net), net.theta)
    x = mala(log_density, np.full((N, 1), 0.5), 0.1, 300, rng=0).x
    assert abs(x.mean() - mean) < 5 * (variance / N) ** 0.5
    squares = (x - mean) ** 2
    assert abs(squares.mean() - variance) < 5 * squares.std() / N**0.5


# What holds for all


RUNS = {
    "langevin": lambda x, **o: langevin(lambda x: -x, x, 0.5, 4, **o),
    "mala": lambda x, **o: mala(gaussian, x, 0.5, 4, **o),
    "annealed_langevin": lambda x, **o: annealed_langevin(lambda x, sigma: -x / (1 + sigma**2), x, [2, 1], 0.5, 2, **o),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_dtype_seed_and_untouched_arguments(run, dtype):
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(dtype)
    before = x.copy()
    chains = run(x, rng=7, path=True)
    assert chains.path.shape == (5, 6, 3) and chains.path.dtype == chains.x.dtype == dtype
    assert np.array_equal(x, before) and np.array_equal(chains.path[0], x) and chains.x is not x
    again = run(x, rng=np.random.default_rng(7))
    assert again.path is None and again.x.tobytes() == chains.x.tobytes()
    assert not np.array_equal(run(x, rng=8).x, chains.x)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_chains_do_not_influence_each_other(run):
    x = np.random.default_rng(0).standard_normal((6, 3))
    other = x.copy()
    other[2] += 1
    same = (run(x, rng=7).x == run(other, rng=7).x).all(axis=1)
    assert list(same) == [True, True, False, True, True, True]


def test_states_are_kept_only_where_a_path_is_asked_for():
    x = np.zeros((500, 20))
    for run in (lambda: langevin(lambda x: -x, x, 0.5, 200, rng=0), lambda: mala(gaussian, x, 0.5, 200, rng=0)):
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * x.nbytes  # 200 states would be 200


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_invalid_starts_raise(run):
    for bad, error in (
        ([[np.nan, 0.0]], ValueError),
        ([1.0, 2.0], ValueError),
        (np.zeros((0, 2)), ValueError),
        (np.zeros((2, 2), dtype=complex), TypeError),
    ):
        with pytest.raises(error, match="x: "):
            run(bad)
    with pytest.raises(TypeError, match="rng: "):
        run([[0.0]], rng="seed")


@pytest.mark.parametrize("step", [0, -1, np.nan, np.inf])
def test_invalid_steps_raise(step):
    x = np.zeros((2, 3))
    for run in (
        lambda: langevin(lambda x: -x, x, step, 2),
        lambda: mala(gaussian, x, step, 2),
        lambda: annealed_langevin(lambda x, sigma: -x, x, [1.0], step, 2),
    ):
        with pytest.raises(ValueError, match="step: "):
            run()
    with pytest.raises(ValueError, match="steps: "):
        langevin(lambda x: -x, x, 0.1, 0)


@pytest.mark.parametrize("sigmas", [[1.0, 2.0], [1.0, 1.0], [1.0, 0.0], [1.0, -1.0], [], [np.nan], [[1.0]]])
def test_levels_that_do_not_fall_raise(sigmas):
    with pytest.raises(ValueError, match="sigmas: "):
        annealed_langevin(lambda x, sigma: -x, np.zeros((2, 3)), sigmas, 0.1, 1)
    with pytest.raises(ValueError, match="sigmas: "):
        noise_conditional(sigmas)


def test_what_a_score_or_density_must_not_return():
    x = np.zeros((2, 3))
    for score, error in (
        (lambda x: x[:1], ValueError),
        (lambda x: x[:, :1], ValueError),
        (lambda x: x.astype(np.float32), TypeError),
        (lambda x: None, TypeError),
    ):
        with pytest.raises(error, match="score: "):
            langevin(score, x, 0.1, 1)
        with pytest.raises(error, match="score: "):
            mala(lambda x, score=score: (np.zeros(2), score(x)), x, 0.1, 1)
    for run in (langevin, mala, lambda f, x, *steps: annealed_langevin(f, x, [1.0], *steps)):
        with pytest.raises(TypeError, match="(score|log_density): got int, expected a function"):
            run(1, x, 0.1, 1)
    with pytest.raises(ValueError, match="log_p: "):
        mala(lambda x: (np.zeros((2, 1)), x), x, 0.1, 1)
    with pytest.raises(ValueError, match="x: a chain starts where"):
        mala(lambda x: (np.array([0.0, -np.inf]), x), x, 0.1, 1)
    for log_p in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="log_p: not finite in step 0 "):
            mala(lambda x, v=log_p: (np.array([0.0, v]), x), x, 0.1, 1)
    with pytest.raises(FloatingPointError, match="score"):
        mala(lambda x: (np.zeros(2), np.full_like(x, np.nan)), x, 0.1, 1)
    with pytest.raises(FloatingPointError, match="state: not finite in step 1 "):
        langevin(lambda x: np.full_like(x, np.nan), x, 0.1, 3)


def test_scores_of_invalid_networks_and_levels_raise():
    with pytest.raises(ValueError, match="net: got 2 outputs"):
        network_log_density(MLP((3, 2)))
    with pytest.raises(TypeError, match="net: got int"):
        conditional_score(3)
    with pytest.raises(ValueError, match=r"net: got shape \(2, 1\)"):
        conditional_score(lambda input: input[:, :1])(np.zeros((2, 3)), 1.0)
    for sigma in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="sigma: "):
            conditional_score(conditional_network())(np.zeros((2, 3)), sigma)


def test_the_task_keeps_dtype_and_argument():
    x = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    before = x.copy()
    input, target = noise_conditional(LEVELS)(x, np.random.default_rng(0))
    assert input.dtype == target.dtype == np.float32 and np.array_equal(x, before)
    assert input.shape == (5, 3) and target.shape == (5, 2)
    assert conditional_score(MLP((3, 4, 2), rng=0))(x, 0.5).dtype == np.float32


def test_task_and_score_can_be_pickled():
    x = np.random.default_rng(0).standard_normal((5, 3))
    task, score = noise_conditional(LEVELS), conditional_score(conditional_network())
    for a, b in zip(task(x, 3), pickle.loads(pickle.dumps(task))(x, 3), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(score(x, 0.5), pickle.loads(pickle.dumps(score))(x, 0.5))


def test_the_example_of_the_module():
    assert doctest.testmod(minissl.goals.langevin).failed == 0
