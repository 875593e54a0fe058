"""The best noise: its equation, its certificate, and that no other noise has a smaller error."""

import math

import numpy as np
import pytest

from minissl.goals.densities import gaussian, gaussian_theta
from minissl.goals.nce import asymptotic_covariance, parameter_scores
from minissl.goals.optimal_noise import optimal_noise
from minissl.tasks.noise import Gaussian

NUS = [1, 3, 20]
GRID = np.linspace(-9, 9, 181)[:, None]
NORMAL = np.exp(-(GRID[:, 0] ** 2) / 2) / (2 * math.pi) ** 0.5 * 0.1  # quadrature weights of N(0, 1)
STANDARD = gaussian_theta([0.0], [[1.0]])


def normal(deviation=1.0):
    return Gaussian(np.zeros(1), np.eye(1), np.full(1, deviation))


class Ratio:
    """The noise r p_d at the nodes of the quadrature."""

    def __init__(self, r):
        self.r = r

    def log_density(self, x):
        return gaussian(STANDARD, x)[0] + np.log(np.maximum(self.r, 1e-300))


def best(nu):
    found = optimal_noise(gaussian, STANDARD, GRID, nu, NORMAL, tolerance=1e-12)
    assert found.converged
    return found.ratio


def after(nu, turns):
    """The noise after so many turns, converged or not."""
    with pytest.warns(RuntimeWarning, match="allow more of them"):
        found = optimal_noise(gaussian, STANDARD, GRID, nu, NORMAL, iterations=turns, tolerance=0)
    assert found.iterations == turns and not found.converged
    return found


def total(noise, nu):
    return np.trace(asymptotic_covariance(gaussian, STANDARD, GRID, noise, nu, NORMAL))


def others(seed):
    """Densities of noise that vary with x, as multiples of the data's."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        r = np.exp(rng.standard_normal(3) @ np.stack([np.sin(GRID[:, 0] * k) for k in (0.5, 1, 2)]))
        yield r / (NORMAL @ r)


@pytest.mark.equation("optimal_noise.1")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_what_noise_is_worth(nu):
    """The change of tr Σ when a little noise moves elsewhere equals −ν E(q dr), at noise that is not the best."""
    g = parameter_scores(gaussian, STANDARD, GRID)
    for r, other in zip(others(0), others(1), strict=True):
        P = nu * r / (1 + nu * r)
        q = np.linalg.norm(np.linalg.solve((g * (NORMAL * P)[:, None]).T @ g, g.T), axis=0) ** 2 / (1 + nu * r) ** 2
        dr = 1e-6 * (other - r)
        change = (total(Ratio(r + dr), nu) - total(Ratio(r - dr), nu)) / 2
        assert change == pytest.approx(-nu * NORMAL @ (q * dr), rel=1e-6, abs=1e-12)


@pytest.mark.equation("optimal_noise.2", "optimal_noise.4")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_the_best_noise_satisfies_its_equation(nu):
    """The r found equals max(κ‖I⁻¹g‖ − 1, 0)/ν with the I of this r, and E r = 1."""
    r = best(nu)
    P, g = nu * r / (1 + nu * r), parameter_scores(gaussian, STANDARD, GRID)
    size = np.linalg.norm(np.linalg.solve((g * (NORMAL * P)[:, None]).T @ g, g.T), axis=0)
    kappa = np.average((1 + nu * r) / size, weights=NORMAL * r)
    np.testing.assert_allclose(r, np.maximum(kappa * size - 1, 0) / nu, atol=1e-5)
    assert NORMAL @ r == pytest.approx(1) and (r >= 0).all()


@pytest.mark.equation("optimal_noise.2", "optimal_noise.3")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_the_best_noise_is_better_than_others(nu):
    """tr Σ at the r found is less than at noise like the data, at other Gaussians, and at mixtures with other noise."""
    r = best(nu)
    least = total(Ratio(r), nu)
    assert least < 0.98 * total(normal(), nu)  # better than p_d
    for deviation in np.linspace(0.8, 3, 12):
        assert least < total(normal(deviation), nu)
    for other in others(0):  # and than any mixture of it with another noise
        mixtures = [total(Ratio((1 - t) * r + t * other), nu) for t in (0.02, 0.2, 1)]
        assert least < mixtures[0] < mixtures[1] < mixtures[2]


@pytest.mark.equation("optimal_noise.3")
@pytest.mark.parametrize("nu", [0.2, 1, 10])
def test_the_certificate(nu):
    """After any number of turns tr Σ is above its minimum, and by no more than the excess that is returned."""
    least = total(Ratio(best(nu)), nu)
    for turns in (1, 2, 3, 5, 10):
        found = after(nu, turns)
        above = total(Ratio(found.ratio), nu) - least
        assert -1e-10 * least < above <= found.excess + 1e-10 * least


@pytest.mark.equation("optimal_noise.1", "optimal_noise.3")
@pytest.mark.parametrize("nu", [0.2, 3])
def test_the_excess_in_loops(nu):
    """The excess that is returned equals ν [max q − E(q r)], with q from the r that is returned, node by node."""
    found = after(nu, 2)
    g = [np.array([-(x**2) / 2, x, 1]) for x in GRID[:, 0]]
    I = sum(w * nu * r / (1 + nu * r) * np.outer(v, v) for w, r, v in zip(NORMAL, found.ratio, g, strict=True))
    q = [sum(np.linalg.solve(I, v) ** 2) / (1 + nu * r) ** 2 for r, v in zip(found.ratio, g, strict=True)]
    mean = sum(w * r * value for w, r, value in zip(NORMAL, found.ratio, q, strict=True))
    assert found.excess == pytest.approx(nu * (max(q) - mean), rel=1e-9)


@pytest.mark.equation("optimal_noise.4")
@pytest.mark.parametrize("nu", [0.05, 1, 10])
def test_the_iteration_never_raises_the_error(nu):
    """tr Σ never rises from one turn to the next, and is less than with noise like the data after the first."""
    traces = [total(Ratio(after(nu, k).ratio), nu) for k in (1, 2, 3, 5, 10, 30, 100)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in zip(traces, traces[1:], strict=False))
    assert traces[0] < total(normal(), nu)


@pytest.mark.equation("optimal_noise.4")
def test_one_turn_in_loops():
    """The r after one turn from r = 1 equals P‖I⁻¹g‖/E(P‖I⁻¹g‖), summed node by node."""
    nu = 3
    P = nu / (1 + nu)
    g = [np.array([-(x**2) / 2, x, 1]) for x in GRID[:, 0]]
    I = sum(w * P * np.outer(v, v) for w, v in zip(NORMAL, g, strict=True))
    r = [P * math.sqrt(sum(np.linalg.inv(I) @ v * (np.linalg.inv(I) @ v))) for v in g]
    mean = sum(w * value for w, value in zip(NORMAL, r, strict=True))
    np.testing.assert_allclose(after(nu, 1).ratio, np.array(r) / mean, rtol=1e-10)


@pytest.mark.equation("optimal_noise.3")
def test_the_iteration_stops_when_the_excess_is_small():
    """It stops at the first turn whose excess is at most the share `tolerance` of tr I⁻¹, and returns that r."""
    steps = [after(1, k) for k in range(1, 9)]
    share = [step.excess / (total(Ratio(step.ratio), 1) + 2) for step in steps]  # tr I⁻¹ = tr Σ + 1 + 1/ν
    assert sorted(share, reverse=True) == share
    for k in (0, 4):  # between two shares
        found = optimal_noise(gaussian, STANDARD, GRID, 1, NORMAL, tolerance=(share[k] + share[k + 1]) / 2)
        assert np.array_equal(found.ratio, steps[k + 1].ratio)
        assert found.converged and found.iterations == k + 2 and found.excess == steps[k + 1].excess


@pytest.mark.equation("optimal_noise.2")
def test_the_best_of_very_much_noise():
    """For ν → ∞ r is proportional to ‖I⁻¹g‖, with I = E(g gᵀ) worked out by hand, and not constant."""
    x = GRID[:, 0]
    inverse = np.array([[2, 0, 1], [0, 1, 0], [1, 0, 1.5]])  # of E g gᵀ
    size = np.linalg.norm(inverse @ np.stack([-(x**2) / 2, x, np.ones_like(x)]), axis=0)
    found = optimal_noise(gaussian, STANDARD, GRID, 1e7, NORMAL, tolerance=1e-15)  # where any noise will do
    np.testing.assert_allclose(found.ratio, size / (NORMAL @ size), rtol=1e-5)


@pytest.mark.equation("optimal_noise.2")
@pytest.mark.parametrize("nu", NUS)
def test_where_only_the_constant_is_unknown_the_best_noise_is_the_data(nu):
    """With g = 1 the r found is 1 at every node."""

    def constant(theta, x):
        return gaussian(STANDARD, x)[0] + theta[0], lambda w: w.sum()[None]

    found = optimal_noise(constant, np.zeros(1), GRID, nu, NORMAL)
    np.testing.assert_allclose(found.ratio, 1, rtol=1e-9)


def test_harmless_underflow_raises_nothing():
    wide = np.linspace(-38, 38, 761)[:, None]
    weights = 0.1 * np.exp(gaussian(STANDARD, wide)[0])
    with np.errstate(all="raise"):
        found = optimal_noise(gaussian, STANDARD, wide, 10, weights)
    assert total(Ratio(found.ratio[290:471]), 10) == pytest.approx(total(Ratio(best(10)), 10), rel=1e-4)


def test_invalid_arguments_are_refused():
    cases = [
        (lambda: optimal_noise(gaussian, STANDARD, GRID, np.nan, NORMAL), "nu: "),
        (lambda: optimal_noise(gaussian, STANDARD, GRID, 1, -NORMAL), "weights: "),
        (lambda: optimal_noise(gaussian, STANDARD, GRID, 1, NORMAL, iterations=0), "iterations: "),
        (lambda: optimal_noise(gaussian, STANDARD, GRID, 1, NORMAL, tolerance=-1), "tolerance: "),
        (lambda: optimal_noise(gaussian, STANDARD, np.ones((3, 1)), 1, np.ones(3) / 3), "x: .* least eigenvalue"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
