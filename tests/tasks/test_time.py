"""Contrast over time: what the tasks give to the network, the best logits, and that the sources are what is found."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from minissl.goals.ica import fast_ica, match_components, mean_correlation
from minissl.nn.gradcheck import central_difference, relative_error
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam, lbfgs
from minissl.nn.schedules import cosine
from minissl.nn.training import objective, train
from minissl.tasks.prediction import windows
from minissl.tasks.shuffling import against_shuffled
from minissl.tasks.time import (
    against_permuted_past,
    permutation_contrastive,
    permute_auxiliary,
    segments,
    which_segment,
)

seeds = st.integers(0, 2**32 - 1)
MIX = np.array([[1.0, 0.6], [-0.5, 0.8]]), np.array([[0.9, -0.4], [0.3, 1.1]])  # two layers, leaky relu between them


def mix(s):
    z = s @ MIX[0]
    return np.where(z > 0, z, 0.1 * z) @ MIX[1]


def unmix(x):
    z = x @ np.linalg.inv(MIX[1])
    return np.where(z > 0, z, z / 0.1) @ np.linalg.inv(MIX[0])


def log_density_of_x(x, log_density_of_s):
    """ln p(x) at one point by the change of variables, its Jacobian by central differences."""
    rows = np.eye(2) * 1e-6
    J = np.array([(unmix(x + h) - unmix(x - h)) / 2e-6 for h in rows])
    return log_density_of_s(unmix(x)) + math.log(abs(np.linalg.det(J)))


def laplacian(sigma, N, rng):
    """Laplacian sources (N, n) of standard deviations sigma (n,) or (N, n)."""
    return sigma / 2**0.5 * rng.laplace(size=(N, np.shape(sigma)[-1]))


# --- which segment ----------------------------------------------------------------------------------------------------


@pytest.mark.equation("time.1")
def test_segments_worked_by_hand():
    """Seven values in three segments are numbered 0 0 0 1 1 2 2, and the task takes the number for the target."""
    x = np.arange(14.0).reshape(7, 2)
    data = segments(x, 3)
    assert data.tolist() == [[2 * t, 2 * t + 1, u] for t, u in enumerate([0, 0, 0, 1, 1, 2, 2])]
    input, target = which_segment(3)(data[[6, 0]], None)
    assert input.tolist() == [[12, 13], [0, 1]] and target.tolist() == [2, 0] and target.dtype == np.int64


@pytest.mark.equation("time.1")
@given(N=st.integers(2, 40), K=st.integers(2, 40), dtype=st.sampled_from(["float32", "float64"]))
def test_segments_are_of_equal_length(N, K, dtype):
    """Segment numbers are ⌊K t/N⌋, rise from 0 to K − 1, and no segment is longer by more than one than another."""
    assume(K <= N)
    data = segments(np.zeros((N, 1), dtype), K)
    assert data.dtype == dtype and data[:, 1].tolist() == [math.floor(K * t / N) for t in range(N)]
    lengths = np.bincount(which_segment(K)(data, None)[1], minlength=K)
    assert lengths.min() >= 1 and lengths.max() - lengths.min() <= 1


COUNTS = np.array([[6, 3, 1], [2, 3, 5], [1, 3, 2], [1, 1, 2]])  # of four values of x (rows) in three segments
TABLE = COUNTS / COUNTS.sum(axis=0)  # p(x | u)


def every_value(counts):
    """x as unit vectors, so that logits are free, and u: each pair as often as it is counted."""
    return np.repeat(np.repeat(np.eye(4), 3, axis=0), counts.ravel(), axis=0), np.repeat(
        np.tile(range(3), 4), counts.ravel()
    )


@pytest.mark.equation("time.2", "time.3")
def test_the_best_logits_are_the_log_densities():
    """The fitted logits of a table p(x | u) are ln p(x | u) + c(x), exactly, and ln K − L is I(x; u)."""
    pair = every_value(COUNTS)
    net = MLP((4, 3), rng=0, dtype="float64")
    best = lbfgs(objective(net, pair, softmax_cross_entropy), net.theta, tolerance=1e-8)
    y = net.at(best.theta)(np.eye(4))
    assert y - y[:, :1] == pytest.approx(np.log(TABLE) - np.log(TABLE[:, :1]), abs=1e-6)
    p = TABLE.mean(axis=1)
    information = sum(TABLE[i, u] / 3 * math.log(TABLE[i, u] / p[i]) for i in range(4) for u in range(3))
    assert math.log(3) - best.value == pytest.approx(information, abs=1e-10)


@pytest.mark.equation("time.2")
def test_unequal_segments_add_their_logarithms():
    """Where one segment is longer, the fitted logits are ln p(x | u) + ln P(u) + c(x)."""
    counts = COUNTS * [1, 2, 3]
    net = MLP((4, 3), rng=0, dtype="float64")
    best = lbfgs(objective(net, every_value(counts), softmax_cross_entropy), net.theta, tolerance=1e-8)
    y, expected = net.at(best.theta)(np.eye(4)), np.log(TABLE) + np.log([1 / 6, 2 / 6, 3 / 6])
    assert y - y[:, :1] == pytest.approx(expected - expected[:, :1], abs=1e-6)


@pytest.mark.equation("time.3")
@given(seed=seeds)
def test_no_logits_see_more_than_the_mutual_information(seed):
    """For any logits ln K − L is at most I(x; u) of the table, and not all of it unless they are the best."""
    x, u = every_value(COUNTS)
    y = np.random.default_rng(seed).standard_normal((4, 3))
    best = softmax_cross_entropy(x @ np.log(TABLE), u)[0]
    assert softmax_cross_entropy(x @ y, u)[0] > best
    assert softmax_cross_entropy(x @ (np.log(TABLE) + y[:, :1]), u)[0] == pytest.approx(best)


SIGMA = np.array([0.5, 1.0, 3.0])


@pytest.mark.equation("time.3", "time.4")
def test_the_mutual_information_of_a_laplacian_source_and_its_segment():
    """With λ = −√2/σ and ln Z = ln σ + ½ ln 2, ln K − L of evenly spaced quantiles is I(x; u) by quadrature."""
    N = 20_000
    s = np.concatenate([stats.laplace(scale=sigma / 2**0.5).ppf((np.arange(N) + 0.5) / N) for sigma in SIGMA])
    data = segments(s[:, None], 3)
    x, u = which_segment(3)(data, None)
    y = -(2**0.5) / SIGMA * abs(x) - np.log(SIGMA) - math.log(2) / 2
    densities = [stats.laplace(scale=sigma / 2**0.5).pdf for sigma in SIGMA]

    def integrand(v):
        p = [density(v) for density in densities]
        return sum(a * math.log(a / np.mean(p)) for a in p if a > 0) / 3

    information = 2 * integrate.quad(integrand, 0, 60, limit=200)[0]
    assert math.log(3) - softmax_cross_entropy(y, u)[0] == pytest.approx(information, abs=2e-4)


@pytest.mark.equation("time.4", "time.5")
@given(seed=seeds)
def test_the_best_logits_are_linear_in_the_statistics(seed):
    """Logits from the densities of mixed sources, Jacobian and all, differ between segments by what [time.5] says."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.3, 3, size=(4, 2))
    x = mix(rng.standard_normal(2))
    s = unmix(x)
    assume(abs(s @ MIX[0]).min() > 1e-3)  # no kink within the differences
    frozen = [[stats.laplace(scale=v / 2**0.5).logpdf for v in row] for row in sigma]
    y = np.array(
        [log_density_of_x(x, lambda v, row=row: sum(f(c) for f, c in zip(row, v, strict=True))) for row in frozen]
    )
    for u in range(4):
        slopes = [-(2**0.5) / sigma[u, k] + 2**0.5 / sigma[0, k] for k in range(2)]
        logs = [math.log(sigma[u, k] / sigma[0, k]) for k in range(2)]
        expected = sum(slopes[k] * abs(s[k]) - logs[k] for k in range(2))
        assert y[u] - y[0] == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.equation("time.5")
@pytest.mark.parametrize("N", [1000, 10_000])
def test_a_linear_softmax_recovers_the_modulations_at_the_rate_of_theory(N):
    """On |s| the weights are λ(u) − λ(0), −Σ ln σ(u)/σ(0): χ² of the 16 errors by the sandwich formula, at each N."""
    K, n = 5, 3
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 2, size=(K, n))
    s = laplacian(np.repeat(sigma, N, axis=0), K * N, rng)
    x, u = which_segment(K)(segments(s, K), None)
    net = MLP((n, K), rng=0, dtype="float64")
    best = net.at(lbfgs(objective(net, (abs(x), u), softmax_cross_entropy), net.theta, tolerance=1e-7).theta)
    theta = np.vstack([best.weights[0], best.biases[0]])  # (n + 1, K)
    truth = np.vstack([-(2**0.5) / sigma.T, -np.log(sigma).sum(axis=1)])
    error = ((theta - theta[:, :1]) - (truth - truth[:, :1]))[:, 1:].T.ravel()
    f = np.column_stack([abs(x), np.ones(K * N)])
    y = abs(x) @ best.weights[0] + best.biases[0]
    P = np.exp(y - y.max(axis=1, keepdims=True))
    P = (P / P.sum(axis=1, keepdims=True))[:, 1:]
    H = np.block(
        [[(f * (P[:, a] * ((a == b) - P[:, b]))[:, None]).T @ f for b in range(K - 1)] for a in range(K - 1)]
    ) / (K * N)
    scores = ((P - (u[:, None] == np.arange(1, K)))[:, :, None] * f[:, None, :]).reshape(K * N, -1)
    within = [scores[u == k] - scores[u == k].mean(axis=0) for k in range(K)]  # so many of each segment are no accident
    B = sum(v.T @ v for v in within) / (K * N)
    square = K * N * error @ H @ np.linalg.solve(B, H @ error)
    assert stats.chi2(16).ppf(1e-4) < square < stats.chi2(16).ppf(1 - 1e-4)


@pytest.mark.equation("time.6")
@given(seed=seeds, n=st.integers(1, 3), more=st.integers(0, 3))
def test_features_with_the_best_logits_are_the_statistics_up_to_a_linear_map(seed, n, more):
    """From K − 1 ≥ n differences of logits W̄h, of unknown features h, Λ⁺W̄ leads back to q; from fewer it cannot."""
    rng = np.random.default_rng(seed)
    K = n + 1 + more
    q, lam, A = rng.exponential(size=(9, n)), rng.uniform(-3, -0.5, size=(K, n)), rng.standard_normal((n, n))
    Lambda = lam[1:] - lam[0]
    assume(np.linalg.cond(Lambda) < 1e3 and np.linalg.cond(A) < 1e3)
    h = (q - rng.standard_normal(n)) @ np.linalg.inv(A).T  # q = A h + const
    W = np.concatenate([np.zeros((1, n)), Lambda @ A]) + rng.standard_normal(n)  # the network's, W̄ = ΛA
    y = h @ W.T
    assert np.ptp(y - y[:, :1] - q @ (lam - lam[0]).T, axis=0) == pytest.approx(np.zeros(K), abs=1e-8)  # [time.5]
    back = h @ (np.linalg.pinv(Lambda) @ (W[1:] - W[0])).T
    assert np.ptp(back - q, axis=0) == pytest.approx(np.zeros(n), abs=1e-6)
    few = Lambda[: n - 1]  # K − 1 = n − 1
    v = np.linalg.svd(np.vstack([few, np.zeros(n)]))[2][-1]
    other = q + v * np.sin(7 * q[:, :1])
    assert other @ few.T == pytest.approx(q @ few.T, abs=1e-9) and abs(other - q).max() > 1e-3


def test_the_features_of_a_trained_network_are_the_statistics():
    """TCL as a whole finds |s| of two sources behind a nonlinear mixing; ICA of x itself, or no training, does not."""
    rng = np.random.default_rng(0)
    K, L = 32, 256
    s = laplacian(np.repeat(rng.uniform(0.1, 2, size=(K, 2)), L, axis=0), K * L, rng)
    x = mix(s)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    net = MLP((2, 32, 32, 2, K), ("relu", "relu", "identity"), rng=0)
    before = net.features(x).astype(float)
    options = {"epochs": 30, "batch_size": 128, "optimizer": Adam(0.01), "schedule": cosine, "rng": 0}
    train(net, segments(x, K), which_segment(K), softmax_cross_entropy, **options)
    h = net.features(x).astype(float)
    assert mean_correlation(abs(s), fast_ica(h, rng=0)(h)) > 0.95
    assert mean_correlation(abs(s), abs(fast_ica(x.astype(float), rng=0)(x.astype(float)))) < 0.9
    with_constant = np.column_stack([h, np.ones(len(h))])
    for q in abs(s).T:
        rest = q - with_constant @ np.linalg.lstsq(with_constant, q)[0]
        assert rest.var() < 0.1 * q.var()  # [time.6], no ICA
    assert mean_correlation(abs(s), before) < 0.8


# --- the common form --------------------------------------------------------------------------------------------------


@given(seed=seeds, N=st.integers(1, 6), n=st.integers(1, 3), d=st.integers(1, 3))
def test_auxiliary_variables_change_rows_together(seed, N, n, d):
    x = np.random.default_rng(seed).standard_normal((N, n + d))
    other = permute_auxiliary(d)(x, np.random.default_rng(seed))
    order = np.random.default_rng(seed).permutation(N)
    assert np.array_equal(other[:, :n], x[:, :n]) and np.array_equal(other[:, n:], x[order, n:])


@pytest.mark.equation("time.7")
def test_the_best_logit_of_the_common_form_is_that_of_the_segments():
    """ln of real over permuted counts is ln p(x | u) − ln p(x), to 5 standard errors; plus ln p(x), TCL's logit."""
    x, u = every_value(COUNTS * 1000)
    data = np.column_stack([x, u]).astype(float)
    input, target = against_shuffled(permute_auxiliary(1))(data, np.random.default_rng(0))
    p = TABLE.mean(axis=1)
    y = np.zeros((4, 3))
    for i in range(4):
        for k in range(3):
            permuted, real = np.bincount(target[(input[:, i] == 1) & (input[:, -1] == k), 0].astype(int), minlength=2)
            assert real == 1000 * COUNTS[i, k]
            y[i, k] = math.log(real / permuted)
            assert abs(y[i, k] - math.log(TABLE[i, k] / p[i])) < 5 / permuted**0.5
    assert y + np.log(p)[:, None] == pytest.approx(np.log(TABLE), abs=0.2)  # [time.2] with c(x) = ln K − ln p(x)


# --- real or permuted past --------------------------------------------------------------------------------------------


@pytest.mark.equation("time.8")
def test_the_pairs_worked_by_hand():
    """Of a series 0 … 4 presents stand above pasts; targets name first each present's past, then each past once."""
    x = windows(np.arange(5.0)[:, None], 2)
    input, target = against_permuted_past()(x, 0)
    assert input.ravel().tolist() == [1, 2, 3, 4, 0, 1, 2, 3]
    assert input[target[:4]].ravel().tolist() == [0, 1, 2, 3]
    assert sorted(target[4:].tolist()) == [4, 5, 6, 7]
    assert target[4:].tolist() == (4 + np.random.default_rng(0).permutation(4)).tolist()


def a_batch(seed, N, m):
    """Outputs of a network, (2N, 2m + 1), and the targets of the task."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2 * N, 2 * m + 1)), np.concatenate([N + np.arange(N), N + rng.permutation(N)])


@pytest.mark.equation("time.9")
def test_the_loss_worked_by_hand():
    """Of two presents and two pasts with round numbers, the loss and its gradient are those worked out by hand."""
    output = np.array([[1.0, 9, 2], [4.0, 9, 1], [9, 1.5, 9], [9, 3.0, 9]])  # z, ẑ, β; 9 is not used
    J, delta = permutation_contrastive(output, np.array([2, 3, 3, 2]))
    # z − ẑ = −½ and 1 for the real pairs, −2 and 2½ for the permuted ones; y = 2 − ½, 1 − 1, 2 − 2, 1 − 2½
    assert J == pytest.approx((2 * math.log(1 + math.exp(-1.5)) + 2 * math.log(2)) / 4)
    a = 1 / (1 + math.exp(1.5)) / 4  # ∂J/∂y = −a, −⅛, ⅛, a
    assert delta.ravel() == pytest.approx([1 / 8 - a, 0, 1 / 8 - a, 1 / 8 - a, 0, a - 1 / 8, 0, 2 * a, 0, 0, -1 / 4, 0])


@pytest.mark.equation("time.9")
@given(seed=seeds, N=st.integers(1, 5), m=st.integers(1, 3))
def test_the_loss_is_the_equation_in_loops(seed, N, m):
    """The loss equals [time.9] in loops over pairs and components."""
    output, target = a_batch(seed, N, m)
    total = 0.0
    for i in range(N):
        for real, row in ((True, N + i), (False, target[N + i])):
            y = output[i, 2 * m] - sum(abs(output[i, k] - output[row, m + k]) for k in range(m))
            total += math.log(1 + math.exp(-y if real else y))
    assert permutation_contrastive(output, target)[0] == pytest.approx(total / (2 * N), rel=1e-10)


@pytest.mark.equation("time.10")
@given(seed=seeds, N=st.integers(1, 4), m=st.integers(1, 3))
def test_the_gradient_of_the_loss(seed, N, m):
    """Every component of the gradient in the output equals its central difference, away from the kinks."""
    output, target = a_batch(seed, N, m)
    present = np.tile(np.arange(N), 2)
    assume(abs(output[present, :m] - output[target, m : 2 * m]).min() > 1e-3)
    delta = permutation_contrastive(output, target)[1]
    expected = central_difference(lambda v: permutation_contrastive(v.reshape(output.shape), target)[0], output.ravel())
    assert relative_error(delta.ravel(), expected) < 1e-7


@pytest.mark.equation("time.10")
def test_the_gradient_through_a_network():
    """The gradient in a network's parameters equals central differences to 1e-7."""
    x = np.random.default_rng(0).standard_normal((12, 3))
    pair = against_permuted_past()(windows(x, 2), 1)
    net = MLP((3, 6, 5), "tanh", rng=2, dtype="float64")
    J = objective(net, pair, permutation_contrastive)
    expected = central_difference(lambda theta: J(theta)[0], net.theta)
    assert relative_error(J(net.theta)[1], expected) < 1e-7


@pytest.mark.equation("time.9", "time.10")
@given(seed=seeds, N=st.integers(1, 5), m=st.integers(1, 3))
def test_what_the_loss_does_not_depend_on(seed, N, m):
    """Order, signs and origins of components (z and ẑ alike), and the order of samples, change no J and no gradient."""
    output, target = a_batch(seed, N, m)
    rng = np.random.default_rng(seed + 1)
    J, delta = permutation_contrastive(output, target)
    order, sign, origin = rng.permutation(m), rng.choice([-1, 1], size=m), rng.standard_normal(m)
    columns = np.r_[order, m + order, 2 * m]
    other = output[:, columns] * np.r_[sign, sign, 1] + np.r_[origin, origin, 0]
    value, gradient = permutation_contrastive(other, target)
    assert value == pytest.approx(J)
    assert gradient == pytest.approx(delta[:, columns] * np.r_[sign, sign, 1], abs=1e-12)
    rows = rng.permutation(N)
    renamed = np.argsort(np.r_[rows, N + rows])  # row i of old is row renamed[i] of new
    value, gradient = permutation_contrastive(output[np.r_[rows, N + rows]], renamed[target][np.r_[rows, N + rows]])
    assert value == pytest.approx(J) and gradient == pytest.approx(delta[np.r_[rows, N + rows]], abs=1e-12)


RHO, A = np.array([0.6, -0.5]), np.array([2.0, 3.0])  # two autoregressive Laplacian sources, aₖ = √2/σₖ


def marginal(s, rho, a):
    """Density of a stationary source: s is a sum of ρʲ e, so 1/(1 + ρ²ʲ t²/a²) multiply, in partial fractions."""
    total = 0.0
    for j in range(12):
        weight = math.prod(1 / (1 - rho ** (2 * (i - j))) for i in range(40) if i != j)
        scale = abs(rho) ** j / a
        total = total + weight * np.exp(-abs(s) / scale) / (2 * scale)
    return total


def series(N, rng, rho=RHO, a=A, warm=60):
    """Pairs (s, s′) from N stationary series, independent of one another."""
    s = np.zeros((N, len(rho)))
    for _ in range(warm):
        past, s = s, rho * s + rng.laplace(size=s.shape) / a
    return s, past


def test_the_marginal_density_is_stationary():
    for rho, a in zip(RHO, A, strict=True):
        density = lambda v, rho=rho, a=a: marginal(v, rho, a)  # noqa: E731
        assert 2 * integrate.quad(density, 0, 30)[0] == pytest.approx(1, abs=1e-7)
        for s in (0.0, 0.4, -1.3):
            kernel = lambda v, s=s, rho=rho, a=a: a / 2 * math.exp(-a * abs(s - rho * v)) * marginal(v, rho, a)  # noqa: E731
            parts = sorted([-30, 0.0, s / rho, 30])
            total = sum(integrate.quad(kernel, *ends, limit=200)[0] for ends in zip(parts, parts[1:], strict=False))
            assert total == pytest.approx(marginal(s, rho, a), abs=1e-6)


def exact_output(s, past):
    """z, ẑ and β of [time.11] for presents and pasts, one above the other."""
    rows = np.concatenate([s, past])
    beta = sum(math.log(A[k] / 2) - np.log(marginal(rows[:, k], RHO[k], A[k])) for k in range(2))
    return np.column_stack([A * rows, A * RHO * rows, beta])


@pytest.mark.equation("time.9", "time.11")
def test_the_best_logit_is_the_log_ratio_of_the_densities():
    """At z = as, ẑ = aρs′, β by the densities, J's mean gradient is zero to 5 standard errors in twelve directions."""
    N = 40_000
    rng = np.random.default_rng(0)
    s, past = series(N, rng)
    output = exact_output(s, past)
    target = np.concatenate([N + np.arange(N), N + rng.permutation(N)])
    _, delta = permutation_contrastive(output, target)
    functions = [np.ones_like, np.tanh, lambda v: v, lambda v: np.cos(3 * v)]
    for f in functions:
        for block, rows in (
            (slice(0, 2), slice(None, N)),
            (slice(2, 4), slice(N, None)),
            (slice(4, 5), slice(None, N)),
        ):
            v = np.concatenate([s, past])[rows]
            direction = f(v if block.stop < 5 else v[:, :1] * v[:, 1:])
            terms = (delta[rows, block] * direction).sum(axis=1)
            assert abs(terms.sum()) < 5 * terms.std() * N**0.5
    wrong = output + np.eye(5)[4] * 0.1  # the check has power: β off by 0.1
    terms = permutation_contrastive(wrong, target)[1][:N, 4]
    assert abs(terms.sum()) > 5 * terms.std() * N**0.5


@pytest.mark.equation("time.11", "time.12")
def test_nothing_but_order_sign_and_origin_is_left_open():
    """A linear encoder of mixed sources, given Σ ln p(s), ends at z = ±aₖsₖ, ẑ = ±aₖρₖs′ₖ, β = −Σ ln p(s), to 0.15."""
    N = 16_000
    rng = np.random.default_rng(0)
    s, past = series(N, rng)
    rows = np.concatenate([s, past])
    log_p = sum(np.log(marginal(rows[:, k], RHO[k], A[k])) for k in range(2))
    target = np.concatenate([N + np.arange(N), N + rng.permutation(N)])
    pair = np.column_stack([rows @ MIX[0], log_p]), target
    nets = [MLP((3, 5), rng=start, dtype="float64") for start in range(5)]  # the best of five: there are local minima
    options = {"tolerance": 1e-4, "iterations": 200, "warn": False}
    found = [lbfgs(objective(net, pair, permutation_contrastive), net.theta, **options) for net in nets]
    best = min(found, key=lambda f: f.value)
    assert best.value < permutation_contrastive(exact_output(s, past), target)[0]
    W = nets[0].at(best.theta).weights[0]
    of_sources = MIX[0] @ W[:2]  # (2, 5): what z, ẑ and β are of s
    order = abs(of_sources[:, :2]).argmax(axis=0)
    signs = np.sign(of_sources[order, range(2)])
    assert sorted(order) == [0, 1]
    expected = np.zeros((2, 5))
    expected[order, [0, 1]], expected[order, [2, 3]] = signs * A[order], signs * (A * RHO)[order]
    assert of_sources == pytest.approx(expected, abs=0.15)
    assert W[2] == pytest.approx([0, 0, 0, 0, -1], abs=0.15)


@pytest.mark.equation("time.12")
def test_the_sources_come_back_from_a_nonlinear_mixing():
    """Behind a nonlinear mixing, each z of a trained network is a source: correlation above 0.98; ICA below 0.95."""
    rng = np.random.default_rng(0)
    s = np.zeros((10_000, 2))
    for t in range(1, len(s)):
        s[t] = [0.8, -0.7] * s[t - 1] + rng.laplace(size=2) / A
    x = mix(s)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    net = MLP((2, 32, 32, 5), rng=0)
    options = {"epochs": 20, "batch_size": 128, "optimizer": Adam(0.01), "schedule": cosine, "rng": 0}
    train(net, windows(x, 2), against_permuted_past(), permutation_contrastive, **options)
    z = net(x)[:, :2].astype(float)
    assert abs(match_components(s, z)[1]).min() > 0.98
    assert mean_correlation(s, fast_ica(x.astype(float), rng=0)(x.astype(float))) < 0.95


def test_tasks_can_be_pickled():
    x = np.random.default_rng(0).standard_normal((8, 2))
    for task, data in ((which_segment(2), segments(x, 2)), (against_permuted_past(), windows(x, 2))):
        for a, b in zip(task(data, 3), pickle.loads(pickle.dumps(task))(data, 3), strict=True):
            assert np.array_equal(a, b)


def test_what_is_no_segment_or_no_past_is_refused():
    x = np.random.default_rng(0).standard_normal((8, 2))
    with pytest.raises(ValueError, match="x: expected in the last column segments 0 to 2"):
        which_segment(3)(segments(x, 4), None)
    with pytest.raises(ValueError, match="target: expected twice the rows 2 to 3"):
        permutation_contrastive(x[:4, :1] * np.ones((1, 3)), np.array([2, 3, 2, 2]))
    with pytest.raises(ValueError, match="output: got shape .4, 2., expected"):
        permutation_contrastive(x[:4], np.array([2, 3, 2, 3]))
