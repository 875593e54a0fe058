"""Autoencoders: what each corruption does, that each penalty is its equation, and what the optimum knows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import kstest
from standin import device

import minissl as ssl
from minissl.autoencoder import denoise, greyscale, identity, image_blocks, kl_sparsity, l1, mask, score
from minissl.gradcheck import complex_step, gradient_error, relative_error, taylor_slope
from minissl.losses import sigmoid
from minissl.training import loss_and_gradient

cupy = device()
seeds = st.integers(0, 2**32 - 1)
COLOURS = [0, 0, 1, 2, 1, 2]  # blocks of two, not next to each other


def data(N, n, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal((N, n)).astype(dtype)


def standard_errors(samples, expected):
    """How many of its own standard errors a mean of independent samples (rows) is from what is expected."""
    return abs(samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / len(samples) ** 0.5)


# --- the loss and its optimum ---------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.1")
@given(seed=seeds, N=st.integers(1, 4))
def test_the_loss_is_the_equation(seed, N):
    """Summed one by one, with weights: the masked components of a two-layer network."""
    x = data(N, 6, seed)
    net = ssl.MLP((6, 4, 6), "tanh", rng=seed, dtype="float64")
    input, target, w = mask(0.5, fill=0.3, blocks=COLOURS, missing_only=True)(x, np.random.default_rng(seed))
    J = loss_and_gradient(net, input, (target, w), ssl.squared_error)[0]
    (V, W), (b, c) = net.weights, net.biases
    total = 0
    for i in range(N):
        h = [math.tanh(sum(input[i, k] * V[k, u] for k in range(6)) + b[u]) for u in range(4)]
        for j in range(6):
            total += w[i, j] * (sum(h[u] * W[u, j] for u in range(4)) + c[j] - x[i, j]) ** 2
    assert J == pytest.approx(total / N, rel=1e-10)


@pytest.mark.equation("autoencoder.1")
@pytest.mark.equation("autoencoder.3")
@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_the_best_denoiser_of_two_points(sigma):
    """x = 1 or -1: E(x | x~) = tanh(x~/sigma^2), a network of one unit; the loss over all noise has gradient 0 there.

    The expectation over the noise is a sum over a grid, which for analytic functions is exact to rounding.
    """
    z = np.linspace(-9, 9, 301)
    w = np.exp(-(z**2) / 2)
    x = np.repeat([1.0, -1.0], len(z))[:, None]
    corrupted = x + sigma * np.tile(z, 2)[:, None]
    weight = np.tile(w / w.mean(), 2)[:, None]  # so that the mean over the rows is the expectation
    net = ssl.MLP((1, 1, 1), "tanh", rng=0, dtype="float64")
    net.theta[:] = [sigma**-2, 0, 1, 0]
    J = ssl.objective(net, (corrupted, x, weight), ssl.squared_error)
    assert abs(J(net.theta.copy())[1]).max() < 1e-12
    for change in 0.01 * np.eye(4):
        assert J(net.theta + change)[0] > J([sigma**-2, 0, 1, 0])[0]
    net.theta[:] = [sigma**-2, 0, 1, 0]
    at = np.linspace(-3, 3, 13)[:, None]
    np.testing.assert_allclose(score(net, at, sigma), mixture_score(at, np.array([[1.0], [-1.0]]), sigma), atol=1e-12)


def mixture_score(at, means, deviation):
    """grad log of an equal mixture of N(mean, deviation^2 I), by hand."""
    difference = means - at[:, None]
    log_joint = -(difference**2).sum(axis=2) / (2 * deviation**2)
    posterior = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    return (posterior[:, :, None] * difference).sum(axis=1) / deviation**2


MEANS, WIDTH, SIGMA = np.array([[1.2, 0.6], [-1.3, 0.2], [0.1, -1.4]]), 0.5, 0.5


@pytest.mark.equation("autoencoder.3")
def test_the_conditional_mean_is_the_score_by_quadrature():
    """E(x | x~) of the mixture by brute integration over x, against grad log p_sigma."""
    side = np.linspace(-5, 5, 401)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    p = sum(np.exp(-((x - m) ** 2).sum(axis=1) / (2 * WIDTH**2)) for m in MEANS)
    at = data(7, 2, seed=1)
    likelihood = np.exp(-((at[:, None] - x) ** 2).sum(axis=2) / (2 * SIGMA**2)) * p
    conditional_mean = likelihood @ x / likelihood.sum(axis=1, keepdims=True)
    expected = mixture_score(at, MEANS, np.hypot(WIDTH, SIGMA))
    np.testing.assert_allclose(score(lambda a: conditional_mean, at, SIGMA), expected, atol=1e-9)


@pytest.mark.equation("autoencoder.3")
def test_the_score_worked_by_hand_and_of_the_best_denoiser_of_gaussian_data():
    assert score(lambda x: x / 2, [[8.0, -16.0]], 2).tolist() == [[-1, 2]]  # (x/2 - x) / 4
    C, x = np.array([[2.0, 0.9], [0.9, 1.0]]), data(7, 2)
    for sigma in (0.1, 1, 3):
        precision = np.linalg.inv(C + sigma**2 * np.eye(2))  # of N(0, C + sigma^2 I)
        np.testing.assert_allclose(score(lambda x, W=C @ precision: x @ W, x, sigma), -x @ precision, rtol=1e-10)
    with pytest.raises(ValueError, match="net: got shape"):
        score(lambda x: x[:, :1], x, 0.5)


@pytest.mark.equation("autoencoder.3")
def test_a_trained_denoiser_knows_the_score():
    """At most 10% off, in the root mean square over the region of highest density that holds 95% of the data."""
    rng = np.random.default_rng(0)

    def draw(N):
        return MEANS[rng.integers(3, size=N)] + WIDTH * rng.standard_normal((N, 2))

    x, net, adam = draw(50_000), ssl.MLP((2, 16, 16, 2), "tanh", rng=0, dtype="float64"), ssl.Adam()
    for adam.step_size in (0.01, 0.003, 0.001, 0.0003):
        settings = {"epochs": 25, "batch_size": 500, "optimizer": adam, "rng": rng}
        list(ssl.train(net, x, denoise(SIGMA), ssl.squared_error, **settings))
    at = draw(4000) + SIGMA * rng.standard_normal((4000, 2))
    log_p = logsumexp(-((MEANS - at[:, None]) ** 2).sum(axis=2) / (2 * (WIDTH**2 + SIGMA**2)), axis=1)
    at = at[log_p >= np.quantile(log_p, 0.05)]
    assert relative_error(score(net, at, SIGMA), mixture_score(at, MEANS, np.hypot(WIDTH, SIGMA))) < 0.1


@pytest.mark.equation("autoencoder.4")
@given(seed=seeds, sigma=st.floats(0.1, 3))
def test_denoising_is_denoising_score_matching(seed, sigma):
    """Vincent's energy -(c.x - ||x||^2/2 + sum_j softplus(W_j.x + b_j))/sigma^2 has the score of a tied autoencoder."""
    rng = np.random.default_rng(seed)
    V, b, c = rng.standard_normal((3, 5)), rng.standard_normal(5), rng.standard_normal(3)
    net = ssl.MLP((3, 5, 3), "sigmoid", rng=0, dtype="float64")
    for part, value in zip((*net.weights, *net.biases), (V, V.T, b, c), strict=True):
        part[:] = value
    x = data(7, 3, seed)
    corrupted, target = denoise(sigma)(x, rng)
    J = ssl.squared_error(net(corrupted), target)[0]
    matching = 0
    for i in range(7):

        def log_density(v):
            return (c @ v - v @ v / 2 + np.log(1 + np.exp(v @ V + b)).sum()) / sigma**2

        s = complex_step(log_density, corrupted[i])
        matching += sum((s[j] - (x[i, j] - corrupted[i, j]) / sigma**2) ** 2 for j in range(3)) / (2 * 7)
    assert J / (2 * sigma**4) == pytest.approx(matching, rel=1e-9)


# --- corruptions ----------------------------------------------------------------------------------------------------


def test_the_identity_asks_for_what_it_shows():
    x = data(5, 3)
    input, target = identity()(x, np.random.default_rng(0))
    assert input is x and target is x


@pytest.mark.equation("autoencoder.2")
def test_the_noise_is_gaussian_of_the_deviation_claimed():
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


@pytest.mark.equation("autoencoder.5")
@pytest.mark.parametrize("blocks", [None, COLOURS])
def test_components_are_kept_with_the_probability_claimed(blocks):
    x, q = 1 + abs(data(8000, 6)), 0.7
    input, target, weight = mask(q, fill=-2.0, blocks=blocks, missing_only=True)(x, np.random.default_rng(1))
    kept = input != -2
    assert np.array_equal(target, x) and np.array_equal(input, np.where(kept, x, -2)) and np.array_equal(weight, ~kept)
    assert (standard_errors(kept, q) < 5).all()
    together = np.equal.outer(*2 * (np.arange(6) if blocks is None else np.array(blocks),))
    both = (kept[:, :, None] & kept[:, None, :]).astype(float)
    assert (both[:, together] == kept[:, np.nonzero(together)[0]]).all()  # a block is kept or masked as a whole
    assert (standard_errors(both[:, ~together], q**2) < 5).all()  # and independently of the others
    assert len(mask(q, blocks=blocks)(x, np.random.default_rng(1))) == 2


@pytest.mark.equation("autoencoder.5")
def test_masks_in_the_limits_and_by_hand():
    x = data(3, 4)
    assert np.array_equal(mask(1)(x, 0)[0], x)
    input, _, weight = mask(0, fill=0.25, missing_only=True)(x, 0)
    assert (input == 0.25).all() and (weight == 1).all()
    u = np.random.default_rng(5).random((3, 4))
    expected = [[x[i, j] if u[i, j] < 0.4 else 0 for j in range(4)] for i in range(3)]
    assert np.array_equal(mask(0.4)(x, 5)[0], expected)


@pytest.mark.equation("autoencoder.5")
def test_what_is_visible_teaches_nothing_where_only_the_missing_counts():
    x = data(9, 6)
    input, target, weight = mask(0.5, missing_only=True)(x, np.random.default_rng(0))
    delta = ssl.squared_error(data(9, 6, seed=1), target, weight)[1]
    assert (delta[weight == 0] == 0).all() and (delta[weight == 1] != 0).all()


def test_image_blocks():
    assert image_blocks((4, 6), (2, 3)).reshape(4, 6).tolist() == 2 * [[0, 0, 0, 1, 1, 1]] + 2 * [[2, 2, 2, 3, 3, 3]]
    assert image_blocks((2, 3), (1, 1)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.equation("autoencoder.6")
def test_grey_by_hand():
    x = np.array([[1.0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 1, 1], [0.5, 0.2, 0.1, 0, 0, 0]])
    input, target = greyscale()(x, None)
    np.testing.assert_allclose(input, [[0.299, 0.587], [0.114, 1], [0.1495 + 0.1174 + 0.0114, 0]], rtol=1e-14)
    assert np.array_equal(target, x)
    window = np.random.default_rng(0).uniform(size=(4, 5, 3))  # rows are images, pixel after pixel
    grey = greyscale()(window.reshape(1, -1), None)[0].reshape(4, 5)
    for r in range(4):
        for c in range(5):
            red, green, blue = window[r, c]
            assert grey[r, c] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue)
    assert greyscale((0.25, 0.75))(x, None)[0].shape == (3, 3)


TASKS = {
    "identity": identity(),
    "denoise": denoise(0.3),
    "mask": mask(0.6, fill=0.1, missing_only=True),
    "blocks": mask(0.6, blocks=COLOURS, missing_only=True),
    "greyscale": greyscale(),
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
    if task not in (TASKS["identity"], TASKS["greyscale"]):
        assert not np.array_equal(task(x, rng)[0], task(x, rng)[0])  # corrupted anew in every call


# --- sparsity -------------------------------------------------------------------------------------------------------


@pytest.mark.equation("autoencoder.7")
def test_l1_by_hand():
    value, gradient = l1(0.6)(np.array([[1.0, -2.0, 0.0], [0.5, 3.0, -0.25]]))
    assert value == pytest.approx(0.6 * (1 + 2 + 0 + 0.5 + 3 + 0.25) / 2)
    np.testing.assert_allclose(gradient, [[0.3, -0.3, 0], [0.3, 0.3, -0.3]])


@pytest.mark.equation("autoencoder.8")
def test_kl_by_hand():
    H = np.array([[0.5, 0.1, 0.2], [0.3, 0.5, 0.6]])  # mean activations 0.4, 0.3, 0.4
    value, gradient = kl_sparsity(2.0, 0.3)(H)
    on, off = 0.3 * math.log(0.3 / 0.4), 0.7 * math.log(0.7 / 0.6)
    assert value == pytest.approx(2 * 2 * (on + off))  # the unit that is right costs nothing
    slope = 2 / 2 * (-0.3 / 0.4 + 0.7 / 0.6)
    np.testing.assert_allclose(gradient, [[slope, 0, slope], [slope, 0, slope]], atol=1e-15)


@pytest.mark.equation("autoencoder.8")
@given(seed=seeds, N=st.integers(1, 5), m=st.integers(1, 4), beta=st.floats(0.1, 5), rho=st.floats(0.01, 0.99))
def test_kl_is_the_equation_and_its_gradient(seed, N, m, beta, rho):
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


@pytest.mark.equation("autoencoder.7")
@pytest.mark.equation("autoencoder.8")
@pytest.mark.parametrize("first", PENALTIES)
@pytest.mark.parametrize("second", PENALTIES)
def test_the_gradient_through_the_penalties_of_two_layers(first, second):
    net = ssl.MLP((4, 5, 3, 4), "sigmoid", rng=0, dtype="float64")
    penalties = {1: PENALTIES[first], 2: PENALTIES[second]}
    J = ssl.objective(net, denoise(0.2)(data(6, 4), 0), ssl.squared_error, penalties)
    theta = net.theta.copy()
    assert gradient_error(J, theta) < 1e-7
    assert taylor_slope(J, theta, data(1, theta.size, seed=2)[0] / 10) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("autoencoder.7")
def test_the_gradient_of_l1_through_signed_units():
    net = ssl.MLP((4, 5, 4), "tanh", rng=0, dtype="float64")
    J = ssl.objective(net, denoise(0.2)(data(6, 4), 0), ssl.squared_error, {1: l1(0.7)})
    assert gradient_error(J, net.theta.copy()) < 1e-7


@pytest.mark.equation("autoencoder.8")
def test_what_kl_adds_to_delta_written_out():
    """(beta/N) (-rho/rho_j + (1 - rho)/(1 - rho_j)) h (1 - h), Ng's lecture notes, with a decoder of zeros."""
    net = ssl.MLP((4, 3, 4), "sigmoid", rng=0, dtype="float64")
    net.weights[1][:] = 0
    x = data(5, 4)
    grad = loss_and_gradient(net, x, (x,), ssl.squared_error, {1: kl_sparsity(0.9, 0.15)})[1]
    H = sigmoid(x @ net.weights[0] + net.biases[0])
    mean = H.mean(axis=0)
    delta = 0.9 / 5 * (-0.15 / mean + 0.85 / (1 - mean)) * H * (1 - H)
    (dW, _), (db, _) = net.views(grad)
    np.testing.assert_allclose(dW, x.T @ delta, rtol=1e-10)
    np.testing.assert_allclose(db, delta.sum(axis=0), rtol=1e-10)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_penalty_is_a_mean_over_samples_and_keeps_dtype_and_library(penalty, dtype):
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


def test_training_with_kl_approaches_the_activation_that_it_asks_for():
    x = data(256, 6, dtype="float32")
    distances = []
    for beta in (0, 1, 10, 100):
        net, penalties = ssl.MLP((6, 12, 6), "sigmoid", rng=0), {1: kl_sparsity(beta, 0.1)}
        adam = ssl.Adam(0.01)
        list(ssl.train(net, x, identity(), ssl.squared_error, epochs=200, optimizer=adam, penalties=penalties, rng=0))
        distances.append(abs(net.features(x).mean(axis=0) - 0.1).mean())
    assert all(later < before for before, later in zip(distances, distances[1:], strict=False))
    assert distances[0] > 0.2 and distances[-1] < 0.02


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: denoise(-1), ValueError, "sigma"),
        (lambda: denoise("0.3"), TypeError, "sigma"),
        (lambda: mask(1.1), ValueError, "q"),
        (lambda: mask(0.5, fill=np.nan), ValueError, "fill"),
        (lambda: mask(0.5, blocks=[0.5]), TypeError, "blocks"),
        (lambda: mask(0.5, blocks=[-1, 0]), ValueError, "blocks"),
        (lambda: mask(0.5, blocks=[0, 1])(np.ones((3, 4)), 0), ValueError, r"x: got shape \(3, 4\)"),
        (lambda: denoise(0.1)(np.ones(4), 0), ValueError, "x"),
        (lambda: image_blocks((8, 8), (3, 2)), ValueError, "divisors"),
        (lambda: image_blocks((8, 8), (2, 3)), ValueError, "divisors"),
        (lambda: image_blocks((8, 8), (0, 2)), ValueError, "block"),
        (lambda: greyscale()(np.ones((2, 4)), None), ValueError, "multiple of 3"),
        (lambda: greyscale([]), ValueError, "luminance"),
        (lambda: l1(-0.1), ValueError, "weight"),
        (lambda: kl_sparsity(-0.1, 0.2), ValueError, "weight"),
        (lambda: kl_sparsity(1, 1.0), ValueError, "rho"),
        (lambda: kl_sparsity(1, 0.1)(np.array([[-0.5, 0.2]])), ValueError, "sigmoid units"),
        (lambda: kl_sparsity(1, 0.1)(np.array([[1.0, 0.2]])), ValueError, "sigmoid units"),
        (lambda: score(lambda x: x, np.ones((2, 2)), 0), ValueError, "sigma"),
        (lambda: score(lambda x: x, np.ones(2), 1), ValueError, "x"),
        (lambda: score(lambda x: x.astype("float32"), np.ones((2, 2)), 1), TypeError, "net: got dtype float32"),
    ],
)
def test_unfit_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
