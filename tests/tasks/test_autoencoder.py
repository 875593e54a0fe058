"""Autoencoders: what each corruption does, that each penalty is its equation, and what the optimum knows."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binom, kstest

from minissl.nn.gradcheck import (
    central_difference,
    complex_step,
    gradient_error,
    relative_error,
    taylor_slope,
)
from minissl.nn.losses import sigmoid, squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam
from minissl.nn.schedules import cosine
from minissl.nn.training import objective, train
from minissl.tasks.autoencoder import colorize, denoise, image_blocks, kl_sparsity, l1, mask, reconstruct, score

cupy = device()
seeds = st.integers(0, 2**32 - 1)
BLOCKS = [0, 0, 1, 2, 1, 2]  # blocks of two, not next to each other


def data(N, n, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal((N, n)).astype(dtype)


def standard_errors(samples, expected):
    """How many of its own standard errors a mean of independent samples (rows) is from what is expected."""
    return abs(samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / len(samples) ** 0.5)


def relative_entropy(rho, mean):
    return rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))


# --- the loss and its optimum ---------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.1")
@given(seed=seeds, N=st.integers(1, 4))
def test_the_loss_is_the_equation(seed, N):
    """J of a two-layer network on a masking task against the weighted squares, summed one by one."""
    x = data(N, 6, seed)
    net = MLP((6, 4, 6), "tanh", rng=seed, dtype="float64")
    input, target, w = mask(0.5, fill=0.3, blocks=BLOCKS, missing_only=True)(x, np.random.default_rng(seed))
    J, _ = objective(net, (input, target, w), squared_error)(net.theta)
    (V, W), (b, c) = net.weights, net.biases
    total = 0
    for i in range(N):
        h = [math.tanh(sum(input[i, k] * V[k, u] for k in range(6)) + b[u]) for u in range(4)]
        for j in range(6):
            total += w[i, j] * (sum(h[u] * W[u, j] for u in range(4)) + c[j] - x[i, j]) ** 2
    assert J == pytest.approx(total / N, rel=1e-10)


def test_reconstruction_asks_for_what_it_shows():
    x = data(5, 3)
    input, target = reconstruct()(x, np.random.default_rng(0))
    assert input is x and target is x


POINTS, SHARES = np.array([[1.2, 0.6], [-1.3, 0.2], [0.1, -1.4]]), np.array([0.5, 0.3, 0.2])


def points_in_all_noise(sigma):
    """x̃, x and w for three points in the plane: the mean over the rows, weighted by w, is the expectation.

    The expectation over the noise is a sum over a grid, which for analytic functions is exact to rounding.
    """
    side = np.linspace(-8, 8, 101)
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(-(z**2).sum(axis=1) / 2)
    w = np.kron(SHARES, density / density.sum()) * len(SHARES) * len(z)
    x = np.repeat(POINTS, len(z), axis=0)
    return x + sigma * np.tile(z, (len(POINTS), 1)), x, np.stack([w, w], axis=1)


def smooth_network(seed):
    """Its first-layer weights are of norm 1: no pole of tanh is near enough for the grid of the noise to matter."""
    net = MLP((2, 5, 2), "tanh", rng=seed, dtype="float64")
    net.weights[0][:] /= np.linalg.norm(net.weights[0])
    return net


def conditional_mean_of_points(at, sigma):
    """E(x | x̃), by Bayes' rule."""
    log_joint = np.log(SHARES) - ((at[:, None] - POINTS) ** 2).sum(axis=2) / (2 * sigma**2)
    return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True)) @ POINTS


@pytest.mark.equation("autoencoder.2")
@given(seed=seeds, sigma=st.floats(0.6, 1.5))
def test_the_loss_is_a_distance_to_the_conditional_mean(seed, sigma):
    """J of any network, less the mean of ‖r − r*‖², against the least loss J*, the expectations summed over a grid."""
    input, x, w = points_in_all_noise(sigma)
    best = conditional_mean_of_points(input, sigma)
    r = smooth_network(seed)(input)
    least = squared_error(best, x, w)[0]
    assert squared_error(r, x, w)[0] - squared_error(r, best, w)[0] == pytest.approx(least, rel=1e-9)


@pytest.mark.equation("autoencoder.2")
@pytest.mark.parametrize("missing_only", [False, True])
def test_the_optimum_of_masked_bits_by_enumeration(missing_only):
    """The gradient of J in a table r(x̃) is zero at E(wx | x̃)/E(w | x̃), all bits and all masks enumerated."""
    bits = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    share, p = np.random.default_rng(0).dirichlet(np.ones(8)), 0.4
    x, M = np.repeat(bits, 8, axis=0), np.tile(bits, (8, 1))
    probability = np.repeat(share, 8) * np.prod(np.where(M == 0, p, 1 - p), axis=1)
    w = 64 * probability[:, None] * (1 - M if missing_only else np.ones_like(M))  # 64 rows, of mean w
    input = M * x  # a masked bit and a zero look the same
    rows = (input @ [4, 2, 1]).astype(int)
    numerator, denominator = np.zeros((8, 3)), np.zeros((8, 3))
    np.add.at(numerator, rows, w * x)
    np.add.at(denominator, rows, w)
    r = numerator / np.maximum(denominator, 1e-300)  # where a 1 is seen, no weight: whatever is said there
    gradient = np.zeros((8, 3))
    np.add.at(gradient, rows, squared_error(r[rows], x, w)[1])
    assert abs(gradient).max() < 1e-15
    if not missing_only:
        assert (r[bits == 1] == pytest.approx(1)) and (r[0] < 1).all()


# --- case 1: a bottleneck -------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.3")
@given(seed=seeds, n=st.integers(3, 6), m=st.integers(1, 5), activation=st.sampled_from(["tanh", "relu", "sigmoid"]))
def test_a_narrow_layer_bounds_the_rank(seed, n, m, activation):
    """The singular values of ∂r/∂x beyond the m-th are zero, for networks with a layer of m < n units between wider."""
    m = min(m, n - 1)
    net = MLP((n, n + 2, m, n + 3, n), activation, rng=seed, dtype="float64")
    H = net.forward(data(1, n, seed))
    jacobian = np.concatenate([net.backward(H, row[None], input_gradient=True)[1] for row in np.eye(n)])
    singular = np.linalg.svd(jacobian, compute_uv=False)
    assert (singular[m:] <= 1e-13 * np.prod([np.linalg.norm(W, 2) for W in net.weights])).all()
    assert np.linalg.norm(jacobian - np.eye(n), 2) >= 1 - 1e-12  # so r is the identity in no neighbourhood


@pytest.mark.equation("autoencoder.3")
def test_one_unit_suffices_for_a_curve():
    """Through one unit r(x) = (x₁, |x₁|): exactly the identity on the curve x₂ = |x₁|, and nowhere off it."""
    net = MLP((2, 1, 2, 2), ("identity", "relu"), rng=0, dtype="float64")
    for part, value in zip(net.weights, ([[1], [0]], [[1, -1]], [[1, 1], [-1, 1]]), strict=True):
        part[:] = value
    t = data(50, 1)
    curve = np.hstack([t, abs(t)])
    assert np.array_equal(net(curve), curve)
    off = curve + [0, 0.5]
    assert np.array_equal(net(off), curve)


# --- case 2: sparsity -----------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.4")
def test_l1_by_hand():
    """L1 and its gradient for two samples of three units against numbers worked by hand."""
    value, gradient = l1(0.6)(np.array([[1.0, -2.0, 0.0], [0.5, 3.0, -0.25]]))
    assert value == pytest.approx(0.6 * (1 + 2 + 0 + 0.5 + 3 + 0.25) / 2)
    np.testing.assert_allclose(gradient, [[0.3, -0.3, 0], [0.3, 0.3, -0.3]])


@pytest.mark.equation("autoencoder.5")
def test_kl_by_hand():
    """The divergence and its gradient for two samples of three units against numbers worked by hand."""
    H = np.array([[0.5, 0.1, 0.2], [0.3, 0.5, 0.6]])  # mean activations 0.4, 0.3, 0.4
    value, gradient = kl_sparsity(2.0, 0.3)(H)
    on, off = 0.3 * math.log(0.3 / 0.4), 0.7 * math.log(0.7 / 0.6)
    assert value == pytest.approx(2 * 2 * (on + off))  # the unit that is right costs nothing
    slope = 2 / 2 * (-0.3 / 0.4 + 0.7 / 0.6)
    np.testing.assert_allclose(gradient, [[slope, 0, slope], [slope, 0, slope]], atol=1e-15)


@pytest.mark.equation("autoencoder.5")
@given(seed=seeds, N=st.integers(1, 5), m=st.integers(1, 4), beta=st.floats(0.1, 5), rho=st.floats(0.01, 0.99))
def test_kl_is_the_equation_and_its_gradient(seed, N, m, beta, rho):
    """The penalty against the equation summed unit by unit, its gradient against the complex step of that sum."""
    H = np.random.default_rng(seed).uniform(0.02, 0.98, size=(N, m))

    def P(flat):
        total = 0
        for j in range(m):
            mean = sum(flat[i * m + j] for i in range(N)) / N
            total += rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))
        return beta * total

    value, gradient = kl_sparsity(beta, rho)(H)
    assert value == pytest.approx(P(H.ravel()), rel=1e-9, abs=1e-12) and value > -1e-12
    assert relative_error(gradient.ravel(), complex_step(P, H.ravel())) < 1e-10


PENALTIES = {"l1": l1(0.7), "kl": kl_sparsity(0.9, 0.15)}


@pytest.mark.equation("autoencoder.4", "autoencoder.5")
@pytest.mark.parametrize("first", PENALTIES)
@pytest.mark.parametrize("second", PENALTIES)
def test_the_gradient_through_the_penalties_of_two_layers(first, second):
    """The gradient of J + P in all parameters against central differences, and the slope of the Taylor remainder."""
    net = MLP((4, 5, 3, 4), "sigmoid", rng=0, dtype="float64")
    penalties = {1: PENALTIES[first], 2: PENALTIES[second]}
    J = objective(net, denoise(0.2)(data(6, 4), 0), squared_error, penalties)
    theta = net.theta.copy()
    assert gradient_error(J, theta) < 1e-7
    assert taylor_slope(J, theta, data(1, theta.size, seed=2)[0] / 10) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("autoencoder.4")
def test_the_gradient_of_l1_through_signed_units():
    """The gradient of J + P for tanh units, on both sides of zero, against central differences."""
    net = MLP((4, 5, 4), "tanh", rng=0, dtype="float64")
    J = objective(net, denoise(0.2)(data(6, 4), 0), squared_error, {1: l1(0.7)})
    assert gradient_error(J, net.theta.copy()) < 1e-7


@pytest.mark.equation("autoencoder.5")
def test_what_kl_adds_to_delta_written_out():
    """The encoder's gradient under a decoder of zeros against (β/N) (−ρ/ρⱼ + (1 − ρ)/(1 − ρⱼ)) h (1 − h) (Ng)."""
    net = MLP((4, 3, 4), "sigmoid", rng=0, dtype="float64")
    net.weights[1][:] = 0
    x = data(5, 4)
    _, grad = objective(net, (x, x), squared_error, {1: kl_sparsity(0.9, 0.15)})(net.theta)
    H = sigmoid(x @ net.weights[0] + net.biases[0])
    mean = H.mean(axis=0)
    delta = 0.9 / 5 * (-0.15 / mean + 0.85 / (1 - mean)) * H * (1 - H)
    (dW, _), (db, _) = net.views(grad)
    np.testing.assert_allclose(dW, x.T @ delta, rtol=1e-10)
    np.testing.assert_allclose(db, delta.sum(axis=0), rtol=1e-10)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_penalty_of_a_doubled_batch_is_the_same_and_keeps_dtype_and_library(penalty, dtype):
    H = np.random.default_rng(0).uniform(0.1, 0.9, size=(6, 4)).astype(dtype)
    before = H.copy()
    value, gradient = penalty(H)
    assert np.array_equal(H, before) and gradient.dtype == dtype and gradient.shape == H.shape
    twice, half = penalty(np.concatenate([H, H]))
    assert twice == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(2 * half[:6], gradient, rtol=1e-5)
    there, slope = penalty(cupy.asarray(H))
    assert float(there) == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(cupy.asnumpy(slope), gradient, rtol=1e-5)


@pytest.mark.equation("autoencoder.6")
def test_kl_depends_on_the_batch_size():
    """The mean of P over all batches of N, less P at the mean, against the equation: the error falls as 1/N²."""
    on, off, rate = np.array([0.9, 0.2]), np.array([0.1, 0.6]), 0.3  # H of two units, and the probability of the first
    beta, rho = 0.7, 0.15
    mean = rate * on + (1 - rate) * off
    variance = rate * (1 - rate) * (on - off) ** 2
    errors = []
    for N in (50, 100, 200):
        batches = [np.vstack([np.tile(on, (k, 1)), np.tile(off, (N - k, 1))]) for k in range(N + 1)]
        expected = binom.pmf(np.arange(N + 1), N, rate) @ [kl_sparsity(beta, rho)(H)[0] for H in batches]
        excess = expected - beta * relative_entropy(rho, mean).sum()
        formula = beta / (2 * N) * ((rho / mean**2 + (1 - rho) / (1 - mean) ** 2) * variance).sum()
        errors.append(abs(excess - formula))
        assert excess > 0 and errors[-1] < 2 / N * formula
    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx(2, abs=0.2)
    singles = binom.pmf([0, 1], 1, rate) @ [l1(beta)(H[None])[0] for H in (off, on)]
    assert singles == pytest.approx(beta * mean.sum())  # L1, a mean over samples, does not


def evading(activation, t, epsilon, Q):
    """The network φ(t + εQx), decoded by Qᵀ(H − φ(t))/(εφ′(t))."""
    m, n = Q.shape
    level = {"tanh": np.tanh, "sigmoid": sigmoid}[activation](np.array(t))
    slope = {"tanh": 1 - level**2, "sigmoid": level * (1 - level)}[activation]
    net = MLP((n, m, n), activation, rng=0, dtype="float64")
    net.weights[0][:], net.biases[0][:] = epsilon * Q.T, t
    net.weights[1][:] = Q / (epsilon * slope)
    net.biases[1][:] = -level * net.weights[1].sum(axis=0)
    return net, float(level), float(slope)


@pytest.mark.equation("autoencoder.7", "autoencoder.8")
@pytest.mark.parametrize("epsilon", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(
    ("activation", "t", "penalty"),
    [("tanh", 0.0, l1(1.0)), ("sigmoid", -15.0, l1(1.0)), ("sigmoid", math.log(0.02 / 0.98), kl_sparsity(1.0, 0.02))],
)
def test_bounded_units_evade_either_penalty(activation, t, penalty, epsilon):
    """The error of the evading network and the distance of P from its limit are of order ε; with the decoder's rows cut
    to length 1 the output stays as near to b as the equation says."""
    x = data(200, 5)
    Q = np.linalg.qr(data(7, 5, seed=1))[0]
    y = abs(x @ Q.T)
    net, level, slope = evading(activation, t, epsilon, Q)
    H, r = net.forward(x)[1:]
    rounding = 1e-15 / (epsilon * slope)
    assert (np.linalg.norm(r - x, axis=1) < epsilon * np.linalg.norm(y**2, axis=1) + rounding).all()  # |φ″| ≤ 2φ′(t)
    assert (abs(H - level) < 1.2 * epsilon * slope * y + 1e-15).all()  # φ′(t + εy) ≤ φ′(t) exp(εy)
    limit = 7 * level if penalty.func is l1(1).func else 0  # P at H = φ(t), less than 3e-6 in each case
    assert abs(penalty(H)[0] - limit) < 1.2 * epsilon * slope * y.sum(axis=1).mean() and limit < 3e-6
    lengths = np.linalg.norm(net.weights[1], axis=1)
    assert lengths.max() >= (5 / 7) ** 0.5 / epsilon  # what a bound on the decoder's rows forbids
    net.weights[1][:] /= np.maximum(1, lengths)[:, None]
    net.biases[1][:] = 0
    assert (
        np.linalg.norm(net(x) - level * net.weights[1].sum(axis=0), axis=1).mean() < abs(H - level).sum(axis=1).mean()
    )
    assert np.linalg.norm(net(x), axis=1).mean() < abs(H).sum(axis=1).mean()


def test_an_evading_code_is_not_sparse():
    """With ε = 1e-3 all of x is in units that never leave 0.0199 … 0.0201, at no cost in KL."""
    x, Q = data(200, 5), np.linalg.qr(data(7, 5, seed=1))[0]
    net, _, _ = evading("sigmoid", math.log(0.02 / 0.98), 1e-3, Q)
    H, r = net.forward(x)[1:]
    assert ((H > 0.0199) & (H < 0.0201)).all()
    assert kl_sparsity(1.0, 0.02)(H)[0] < 1e-8
    assert squared_error(r, x)[0] < 1e-5 * squared_error(0 * x, x)[0]


@pytest.mark.equation("autoencoder.8")
@given(seed=seeds, activation=st.sampled_from(["sigmoid", "tanh", "relu"]), N=st.integers(2, 6))
def test_what_bounded_rows_allow(seed, activation, N):
    """Both sides of each inequality for random networks, and equality for one unit, on or off."""
    net = MLP((3, 5, 4), activation, rng=seed, dtype="float64")
    net.biases[1][:] = 1.0
    H, r = net.forward(3 * data(N, 3, seed))[1:]
    A, mean = np.linalg.norm(net.weights[1], axis=1).max(), H.mean(axis=0)
    assert np.linalg.norm(r - net.biases[1], axis=1).mean() <= A * abs(H).sum(axis=1).mean() * (1 + 1e-12)
    spread, varying = np.linalg.norm(r - r.mean(axis=0), axis=1).mean(), abs(H - mean).sum(axis=1).mean()
    assert spread <= A * varying * (1 + 1e-12)
    if activation == "sigmoid":
        assert varying <= 2 * (mean * (1 - mean)).sum() * (1 + 1e-12)
    v = net.weights[1][0]
    H = (np.arange(N) == 0)[:, None].astype(float)
    r = net.biases[1] + H * v
    length, rho = np.linalg.norm(v), 1 / N
    assert np.linalg.norm(r - net.biases[1], axis=1).mean() == pytest.approx(length * rho)
    assert np.linalg.norm(r - r.mean(axis=0), axis=1).mean() == pytest.approx(length * 2 * rho * (1 - rho))


def test_training_with_kl_approaches_the_activation_that_it_asks_for():
    x = data(256, 6, dtype="float32")
    distances = []
    for beta in (0, 1, 10, 100):
        net, penalties = MLP((6, 12, 6), "sigmoid", rng=0), {1: kl_sparsity(beta, 0.1)}
        train(net, x, reconstruct(), squared_error, epochs=200, optimizer=Adam(0.01), penalties=penalties, rng=0)
        distances.append(abs(net.features(x).mean(axis=0) - 0.1).mean())
    assert all(later < before for before, later in zip(distances, distances[1:], strict=False))
    assert distances[0] > 0.2 and distances[-1] < 0.02


# --- case 3a: noise -------------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.9")
def test_the_noise_is_gaussian_of_the_deviation_claimed():
    """Input less data: mean 0, covariance σ²I, uncorrelated with x, normal by Kolmogorov–Smirnov, and exactly σz."""
    x, N = 100 * data(4000, 5), 4000
    input, target = denoise(0.4)(x, np.random.default_rng(1))
    noise = input - x
    assert np.array_equal(target, x)
    assert (standard_errors(noise, 0) < 5).all()
    products = noise[:, :, None] * noise[:, None, :]
    assert (standard_errors(products, 0.4**2 * np.eye(5)) < 5).all()
    assert (standard_errors(noise[:, :, None] * x[:, None, :], 0) < 5).all()
    assert kstest(noise.ravel() / 0.4, "norm").statistic < 2.5 / (5 * N) ** 0.5  # P < 1e-5 of a false alarm
    exact = np.random.default_rng(1).standard_normal(x.shape)
    np.testing.assert_allclose(input, x + 0.4 * exact, rtol=1e-14)


def mixture_score(at, means, deviation):
    """∇ln p of an equal mixture of N(mean, deviation² I), by hand."""
    difference = means - at[:, None]
    log_joint = -(difference**2).sum(axis=2) / (2 * deviation**2)
    posterior = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    return (posterior[:, :, None] * difference).sum(axis=1) / deviation**2


@pytest.mark.equation("autoencoder.1", "autoencoder.2", "autoencoder.10")
@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_the_best_denoiser_of_two_points(sigma):
    """For x = ±1 the network tanh(x̃/σ²) = E(x | x̃) has gradient 0, least loss, and the score of the mixture."""
    z = np.linspace(-9, 9, 301)
    w = np.exp(-(z**2) / 2)
    x = np.repeat([1.0, -1.0], len(z))[:, None]
    corrupted = x + sigma * np.tile(z, 2)[:, None]
    weight = np.tile(w / w.mean(), 2)[:, None]  # so that the mean over the rows is the expectation
    net = MLP((1, 1, 1), "tanh", rng=0, dtype="float64")
    net.theta[:] = [sigma**-2, 0, 1, 0]
    J = objective(net, (corrupted, x, weight), squared_error)
    assert abs(J(net.theta.copy())[1]).max() < 1e-12
    for change in 0.01 * np.eye(4):
        assert J(net.theta + change)[0] > J(net.theta.copy())[0]
    at = np.linspace(-3, 3, 13)[:, None]
    np.testing.assert_allclose(score(net, at, sigma), mixture_score(at, np.array([[1.0], [-1.0]]), sigma), atol=1e-12)


MEANS, WIDTH, SIGMA = POINTS, 0.5, 0.5


@pytest.mark.equation("autoencoder.10")
def test_the_conditional_mean_is_the_score_by_quadrature():
    """E(x | x̃) of a mixture of Gaussians, by brute integration over x, against ∇ln p_σ in closed form."""
    side = np.linspace(-5, 5, 401)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    p = sum(np.exp(-((x - m) ** 2).sum(axis=1) / (2 * WIDTH**2)) for m in MEANS)
    at = data(7, 2, seed=1)
    likelihood = np.exp(-((at[:, None] - x) ** 2).sum(axis=2) / (2 * SIGMA**2)) * p
    conditional_mean = likelihood @ x / likelihood.sum(axis=1, keepdims=True)
    expected = mixture_score(at, MEANS, np.hypot(WIDTH, SIGMA))
    np.testing.assert_allclose(score(lambda a: conditional_mean, at, SIGMA), expected, atol=1e-9)


@pytest.mark.equation("autoencoder.10")
def test_the_score_worked_by_hand_and_of_the_best_denoiser_of_gaussian_data():
    """(x/2 − x)/4 at one point, and for x ~ N(0, C) with its Wiener filter −(C + σ²I)⁻¹x̃."""
    assert score(lambda x: x / 2, [[8.0, -16.0]], 2).tolist() == [[-1, 2]]  # (x/2 − x)/4
    C, x = np.array([[2.0, 0.9], [0.9, 1.0]]), data(7, 2)
    for sigma in (0.1, 1, 3):
        precision = np.linalg.inv(C + sigma**2 * np.eye(2))  # of N(0, C + σ²I)
        np.testing.assert_allclose(score(lambda x, W=C @ precision: x @ W, x, sigma), -x @ precision, rtol=1e-10)
    with pytest.raises(ValueError, match="net: got shape"):
        score(lambda x: x[:, :1], x, 0.5)


@pytest.mark.equation("autoencoder.10")
def test_a_trained_denoiser_knows_the_score():
    """A trained network's score is off by at most 10% in the mean square where the 95% of highest density lie."""
    rng = np.random.default_rng(0)

    def draw(N):
        return MEANS[rng.integers(3, size=N)] + WIDTH * rng.standard_normal((N, 2))

    net = MLP((2, 16, 16, 2), "tanh", rng=0, dtype="float64")
    settings = {"epochs": 80, "batch_size": 500, "optimizer": Adam(0.01), "schedule": cosine, "rng": rng}
    train(net, draw(50_000), denoise(SIGMA), squared_error, **settings)
    at = draw(4000) + SIGMA * rng.standard_normal((4000, 2))
    log_p = logsumexp(-((MEANS - at[:, None]) ** 2).sum(axis=2) / (2 * (WIDTH**2 + SIGMA**2)), axis=1)
    at = at[log_p >= np.quantile(log_p, 0.05)]
    assert relative_error(score(net, at, SIGMA), mixture_score(at, MEANS, np.hypot(WIDTH, SIGMA))) < 0.1


COVARIANCES = np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.8]], [[0.4, -0.3], [-0.3, 0.4]]])


def mixture(at, sigma):
    """ln p_σ(x̃), E(x | x̃) and Cov(x | x̃) of a mixture of N(mean, C) at one point x̃, which may be complex."""
    log_joint, means, covariances = [], [], []
    for share, mean, C in zip(SHARES, MEANS, COVARIANCES, strict=True):
        total = C + sigma**2 * np.eye(2)
        gain = C @ np.linalg.inv(total)
        log_joint.append(
            np.log(share) - (at - mean) @ np.linalg.solve(total, at - mean) / 2 - np.log(np.linalg.det(total)) / 2
        )
        means.append(mean + gain @ (at - mean))
        covariances.append(C - gain @ C)
    joint = np.exp(np.array(log_joint))
    posterior = joint / joint.sum()
    best = sum(p * m for p, m in zip(posterior, means, strict=True))
    second = sum(p * (C + np.outer(m, m)) for p, m, C in zip(posterior, means, covariances, strict=True))
    return np.log(joint.sum()), best, second - np.outer(best, best)  # the law of total covariance


@pytest.mark.equation("autoencoder.10", "autoencoder.11")
@given(seed=seeds, sigma=st.floats(0.3, 3))
def test_the_derivative_of_the_best_denoiser_is_the_conditional_covariance(seed, sigma):
    """E(x | x̃) − x̃ against σ²∇ln p_σ, and ∂r*/∂x̃ against Cov(x | x̃)/σ² and I + σ²∂²ln p_σ/∂x̃², for a mixture of
    Gaussians in closed form, differentiated by complex steps (the second derivative by differences of those)."""
    at = 1.5 * data(1, 2, seed)[0]
    _, best, covariance = mixture(at, sigma)

    def slope(v, i=0):
        return complex_step(lambda c: mixture(c, sigma)[0], v)[i]

    expected = [[slope(at, 0), slope(at, 1)]]
    np.testing.assert_allclose(score(lambda a: best[None], at[None], sigma), expected, atol=1e-10)
    jacobian = np.array([complex_step(lambda c, i=i: mixture(c, sigma)[1][i], at) for i in range(2)])
    np.testing.assert_allclose(jacobian, covariance / sigma**2, rtol=1e-10, atol=1e-12)
    hessian = np.array([central_difference(lambda v, i=i: slope(v, i), at) for i in range(2)])
    np.testing.assert_allclose(jacobian, np.eye(2) + sigma**2 * hessian, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-12)
    assert np.linalg.eigvalsh(jacobian).min() > 0


@pytest.mark.equation("autoencoder.12")
@given(seed=seeds, sigma=st.floats(0.1, 3))
def test_denoising_is_denoising_score_matching(seed, sigma):
    """J/(2σ⁴) of a tied network against the score matching of Vincent's energy, whose score it is, by complex steps."""
    rng = np.random.default_rng(seed)
    V, b, c = rng.standard_normal((3, 5)), rng.standard_normal(5), rng.standard_normal(3)
    net = MLP((3, 5, 3), "sigmoid", rng=0, dtype="float64")
    for part, value in zip((*net.weights, *net.biases), (V, V.T, b, c), strict=True):
        part[:] = value
    x = data(7, 3, seed)
    corrupted, target = denoise(sigma)(x, rng)
    J = squared_error(net(corrupted), target)[0]
    matching = 0
    for i in range(7):

        def log_density(v):  # −E(v) = (⟨c, v⟩ − ‖v‖²/2 + Σⱼ softplus(⟨Vⱼ, v⟩ + bⱼ))/σ²
            return (c @ v - v @ v / 2 + np.log(1 + np.exp(v @ V + b)).sum()) / sigma**2

        s = complex_step(log_density, corrupted[i])
        matching += sum((s[j] - (x[i, j] - corrupted[i, j]) / sigma**2) ** 2 for j in range(3)) / (2 * 7)
    assert J / (2 * sigma**4) == pytest.approx(matching, rel=1e-9)


@pytest.mark.equation("autoencoder.13")
@given(seed=seeds, sigma=st.floats(0.6, 1.5))
def test_the_excess_loss_is_the_error_of_the_score(seed, sigma):
    """½ E‖s − ∇ln p_σ‖² of any network against (J − J*)/(2σ⁴), for three points in the plane, summed over a grid."""
    input, x, w = points_in_all_noise(sigma)
    net = smooth_network(seed)
    difference = POINTS - input[:, None]
    log_joint = np.log(SHARES) - (difference**2).sum(axis=2) / (2 * sigma**2)
    posterior = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    true = (posterior[:, :, None] * difference).sum(axis=1) / sigma**2  # the gradient of the logarithm of p_σ
    excess = squared_error(net(input), x, w)[0] - squared_error(conditional_mean_of_points(input, sigma), x, w)[0]
    matching = (w * (score(net, input, sigma) - true) ** 2).sum() / len(x) / 2
    assert matching == pytest.approx(excess / (2 * sigma**4), rel=1e-9)


# --- case 3b: masking -----------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.14")
@pytest.mark.parametrize("blocks", [None, BLOCKS])
def test_components_are_masked_with_the_probability_claimed(blocks):
    """Frequencies of masks against p and, for components of different blocks, p²; within a block all are alike."""
    x, p = 1 + abs(data(8000, 6)), 0.3
    input, target, weight = mask(p, fill=-2.0, blocks=blocks, missing_only=True)(x, np.random.default_rng(1))
    masked = input == -2
    assert np.array_equal(target, x)
    assert np.array_equal(input, np.where(masked, -2, x)) and np.array_equal(weight, masked)
    assert (standard_errors(masked, p) < 5).all()
    together = np.equal.outer(*2 * (np.arange(6) if blocks is None else np.array(blocks),))
    both = (masked[:, :, None] & masked[:, None, :]).astype(float)
    assert (both[:, together] == masked[:, np.nonzero(together)[0]]).all()  # a block is kept or masked as a whole
    assert (standard_errors(both[:, ~together], p**2) < 5).all()  # and independently of the others
    assert len(mask(p, blocks=blocks)(x, np.random.default_rng(1))) == 2


@pytest.mark.equation("autoencoder.14")
def test_masks_in_the_limits_and_by_hand():
    """Nothing masked at p = 0, all at p = 1, and in between each component by its own uniform number."""
    x = data(3, 4)
    assert np.array_equal(mask(0)(x, 0)[0], x)
    input, _, weight = mask(1, fill=0.25, missing_only=True)(x, 0)
    assert (input == 0.25).all() and (weight == 1).all()
    u = np.random.default_rng(5).random((3, 4))
    expected = [[0 if u[i, j] < 0.4 else x[i, j] for j in range(4)] for i in range(3)]
    assert np.array_equal(mask(0.4)(x, 5)[0], expected)


@pytest.mark.equation("autoencoder.14")
def test_what_is_visible_teaches_nothing_where_only_the_missing_counts():
    """∂J/∂r is exactly 0 at visible components and not 0 at masked ones."""
    x = data(9, 6)
    input, target, weight = mask(0.5, missing_only=True)(x, np.random.default_rng(0))
    delta = squared_error(data(9, 6, seed=1), target, weight)[1]
    assert (delta[weight == 0] == 0).all() and (delta[weight == 1] != 0).all()


def test_image_blocks():
    assert image_blocks((4, 6), (2, 3)).reshape(4, 6).tolist() == 2 * [[0, 0, 0, 1, 1, 1]] + 2 * [[2, 2, 2, 3, 3, 3]]
    assert image_blocks((2, 3), (1, 1)).tolist() == [0, 1, 2, 3, 4, 5]
    assert image_blocks(np.array([6, 4]), np.array([3, 4])).tolist() == 12 * [0] + 12 * [1]


# --- case 3c: colour ------------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.15")
def test_grey_by_hand():
    """Luminances of pure colours and of an image, pixel by pixel, against the three weights."""
    x = np.array([[1.0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 1, 1], [0.5, 0.2, 0.1, 0, 0, 0]])
    input, target = colorize()(x, None)
    np.testing.assert_allclose(input, [[0.299, 0.587], [0.114, 1], [0.1495 + 0.1174 + 0.0114, 0]], rtol=1e-14)
    assert np.array_equal(target, x)
    window = np.random.default_rng(0).uniform(size=(4, 5, 3))  # rows are images, pixel after pixel
    grey = colorize()(window.reshape(1, -1), None)[0].reshape(4, 5)
    for r in range(4):
        for c in range(5):
            red, green, blue = window[r, c]
            assert grey[r, c] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue)
    assert colorize((0.25, 0.75))(x, None)[0].shape == (3, 3)


@pytest.mark.equation("autoencoder.2", "autoencoder.15")
def test_the_best_colour_is_greyer_than_the_colours_are_on_average():
    """At the mean of two colours of one grey the gradient of J is zero; it is greyer than their mean, not than each."""
    vivid, pale = np.array([0.5, -0.2, 0.0]), np.array([0.0, 0.1, 0.0])
    differences = np.array([d - colorize()(d[None], None)[0] for d in (vivid, pale)]).reshape(2, 3)  # of luminance 0
    colours = 0.5 + differences
    grey, _ = colorize()(colours, None)
    np.testing.assert_allclose(grey, 0.5, rtol=1e-14)
    best = np.tile(colours.mean(axis=0), (2, 1))
    np.testing.assert_allclose(squared_error(best, colours)[1].sum(axis=0), 0, atol=1e-15)
    lengths, length = np.linalg.norm(differences, axis=1), np.linalg.norm(best[0] - 0.5)
    assert lengths.min() < length < lengths.mean()


# --- every task -----------------------------------------------------------------------------------------------------

TASKS = {
    "reconstruct": reconstruct(),
    "denoise": denoise(0.3),
    "mask": mask(0.4, fill=0.1, missing_only=True),
    "blocks": mask(0.4, blocks=BLOCKS, missing_only=True),
    "colorize": colorize(),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_task_keeps_its_argument_dtype_library_and_seed(task, dtype):
    x = data(7, 6, dtype=dtype)
    before = x.copy()
    pair = task(x, np.random.default_rng(3))
    assert np.array_equal(x, before)
    assert all(part.dtype == dtype for part in pair)
    for again, part in zip(task(x, np.random.default_rng(3)), pair, strict=True):
        assert np.array_equal(again, part)
    for there, part in zip(task(cupy.asarray(x), np.random.default_rng(3)), pair, strict=True):
        assert isinstance(there, cupy.ndarray) and there.dtype == dtype
        np.testing.assert_allclose(cupy.asnumpy(there), part, rtol=1e-6)
    rng = np.random.default_rng(3)
    if task not in (TASKS["reconstruct"], TASKS["colorize"]):
        assert not np.array_equal(task(x, rng)[0], task(x, rng)[0])  # corrupted anew in every call


@pytest.mark.parametrize("through", [*range(pickle.HIGHEST_PROTOCOL + 1), copy.copy, copy.deepcopy])
def test_tasks_and_penalties_survive_pickling_and_copying(through):
    x, H = data(7, 6), np.random.default_rng(0).uniform(0.1, 0.9, size=(6, 4))
    for name, function in (TASKS | PENALTIES).items():
        arguments = (x, 3) if name in TASKS else (H,)
        again = through(function) if callable(through) else pickle.loads(pickle.dumps(function, through))
        for a, b in zip(again(*arguments), function(*arguments), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_harmless_underflow_does_not_raise(dtype):
    """Numbers at the lower end of the dtype, and constants below it, with every floating-point error an exception."""
    tiny = np.array([[1e-40 if dtype == "float32" else 5e-310] * 6, [1.0] * 6], dtype=dtype)
    H = tiny / 2
    with np.errstate(all="raise"):
        for task in (*TASKS.values(), denoise(1e-320), mask(0.4, fill=1e-320)):
            task(tiny, 0)
        assert np.isfinite(score(lambda x: x / 2, tiny, 1e3)).all()
        assert l1(1e-10)(tiny)[0] == pytest.approx(3e-10)
        assert np.isfinite(kl_sparsity(1e-320, 0.1)(H)[1]).all()


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: denoise(-1), ValueError, "sigma"),
        (lambda: denoise("0.3"), TypeError, "sigma"),
        (lambda: denoise(10**400), ValueError, r"^sigma: got inf, expected a finite number"),
        (lambda: mask(1.1), ValueError, "p"),
        (lambda: mask(0.5, fill=np.nan), ValueError, "fill"),
        (lambda: mask(0.5, blocks=[0.5]), TypeError, "blocks"),
        (lambda: mask(0.5, blocks=[-1, 0]), ValueError, "blocks"),
        (lambda: mask(0.5, blocks=[[0, 1]]), ValueError, "blocks"),
        (lambda: mask(0.5, blocks=[0, 1])(np.ones((3, 4)), 0), ValueError, r"x: got shape \(3, 4\)"),
        (lambda: denoise(0.1)(np.ones(4), 0), ValueError, "x"),
        (lambda: image_blocks((8, 8), (3, 2)), ValueError, "divisors"),
        (lambda: image_blocks((8, 8), (2, 3)), ValueError, "divisors"),
        (lambda: image_blocks((8, 8), (0, 2)), ValueError, "block"),
        (lambda: colorize()(np.ones((2, 4)), None), ValueError, "multiple of 3"),
        (lambda: colorize([]), ValueError, "luminance"),
        (lambda: l1(-0.1), ValueError, "weight"),
        (lambda: kl_sparsity(-0.1, 0.2), ValueError, "weight"),
        (lambda: kl_sparsity(1, 1.0), ValueError, "rho"),
        (lambda: kl_sparsity(1, 0.1)(np.array([[-0.5, 0.2]])), ValueError, "sigmoid units.* smaller .*learning_rate"),
        (lambda: kl_sparsity(1, 0.1)(np.array([[1.0, 0.2]])), ValueError, "sigmoid units"),
        (lambda: score(lambda x: x, np.ones((2, 2)), 0), ValueError, "sigma"),
        (lambda: score(lambda x: x, np.ones((2, 2)), 1e-200), ValueError, "sigma"),  # its square is 0
        (lambda: score(lambda x: x, np.ones((2, 2)), 1e200), ValueError, "sigma"),
        (lambda: score(lambda x: x, np.ones((2, 2), dtype="float32"), 1e-30), ValueError, "sigma"),
        (lambda: score(None, np.ones((2, 2)), 1), TypeError, "net"),
        (lambda: score(lambda x: x, np.ones(2), 1), ValueError, "x"),
        (lambda: score(lambda x: x.astype("float32"), np.ones((2, 2)), 1), TypeError, "net: got dtype float32"),
    ],
)
def test_invalid_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
