"""Where floating point could go wrong: huge logits, offsets, constant columns, underflow, a hundred thousand steps.

Limits are asserted exactly where they are exact in floating point; elsewhere the tolerance is what rounding allows.
"""

import numpy as np
import pytest

from minissl.goals import densities, langevin, nce, probe
from minissl.goals.densities import gaussian, gaussian_theta
from minissl.linear import autoregression, eigen, pca, wiener
from minissl.nn.losses import sigmoid, sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam
from minissl.nn.training import objective, train
from minissl.tasks import autoencoder, jigsaw, noise, prediction, words

pytestmark = pytest.mark.filterwarnings("error")  # no overflow, no invalid value, no division by zero
BIG = 1e4  # exp(1e4) overflows, exp(-1e4) is zero
DTYPES = ["float32", "float64"]


# Logits of +-1e4 through every loss


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_cross_entropy_of_huge_logits(dtype):
    """ln(1 + e^y) - t y is 0 where the sign is right, 1e4 where it is wrong, to the last bit; N delta is -1, 0 or 1."""
    Y = np.array([[BIG, -BIG], [BIG, -BIG]], dtype)
    T = np.array([[1, 0], [0, 1]], dtype)
    value, delta = sigmoid_cross_entropy(Y, T)
    assert value == BIG and value.dtype == dtype
    assert delta.tolist() == [[0, 0], [0.5, -0.5]]
    value, delta = sigmoid_cross_entropy(Y, np.full_like(Y, 0.5), weight=np.array([[1, 0], [0, 3]], dtype))
    assert value == BIG and delta.tolist() == [[0.25, 0], [0, -0.75]]
    assert sigmoid_cross_entropy(Y, T, weight=1 - abs(T - sigmoid(Y)))[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_of_huge_logits(dtype):
    Y = np.array([[BIG, -BIG, 0], [BIG, -BIG, 0], [BIG, BIG, -BIG], [-BIG, -BIG, -BIG]], dtype)
    N = len(Y)
    value, delta = softmax_cross_entropy(Y, [0, 1, 0, 2])
    assert value == pytest.approx((0 + 2 * BIG + np.log(2) + np.log(3)) / N, rel=float(np.finfo(dtype).eps))
    expected = [[0, 0, 0], [1, -1, 0], [-0.5, 0.5, 0], [1 / 3, 1 / 3, -2 / 3]]
    np.testing.assert_allclose(N * delta, expected, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_error_of_huge_outputs(dtype):
    Y, T = np.array([[BIG, -BIG]], dtype), np.array([[-BIG, -BIG]], dtype)
    value, delta = squared_error(Y, T)
    assert value == 4 * BIG**2 and delta.tolist() == [[4 * BIG, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logistic_function_reaches_its_limits(dtype):
    z = np.array([-np.inf, -3e38, -BIG, 0, BIG, 3e38, np.inf], dtype)
    assert sigmoid(z).tolist() == [0, 0, 0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
@pytest.mark.parametrize("loss", [sigmoid_cross_entropy, softmax_cross_entropy])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_training_step_through_huge_logits(activation, loss, dtype):
    """All of the wrong sign, and saturated hidden units behind them: loss and step are finite, and something moves."""
    net = MLP((3, 4, 2), activation, rng=0, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    net.theta *= BIG / abs(net(x)).max()
    Y = net(x)
    target = Y.argmin(axis=1) if loss is softmax_cross_entropy else (Y < 0).astype(dtype)
    before = net.theta.copy()
    [value] = train(net, x, lambda batch, rng: (x, target), loss, epochs=1, rng=0)
    assert np.isfinite(value) and np.isfinite(net.theta).all()
    assert not np.array_equal(net.theta, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_places_where_logits_are_used(dtype):
    H = np.array([[BIG, 0], [-BIG, 1], [BIG, 2], [-BIG, 3]], dtype)
    found = probe.linear_probe(H, [0, 1, 0, 1], 1e-3, tolerance=1e-7)
    assert found.predict(H).tolist() == [0, 1, 0, 1] and found.value < 1e-6  # w = 1e-4 ln(1/1e-3...) is enough
    assert probe.cross_validate_l2(H, [0, 1, 0, 1], folds=2, rng=0)[1].max() < 1
    x = np.array([[0, 1], [1, 0]])
    for sign, expected in ((1, 1.0), (-1, np.exp(30.0))):
        logits = np.array([[-15 * sign, 15 * sign], [15 * sign, -15 * sign]], dtype)
        assert words.perplexity(lambda c, Y=logits: Y[c[:, 0]], x) == pytest.approx(expected, rel=1e-5)
    right = np.array([[-BIG, BIG], [BIG, -BIG]], dtype)
    assert words.perplexity(lambda c: right[c[:, 0]], x) == 1


def test_noise_contrast_far_from_the_noise():
    """Data a hundred standard deviations away: ln p_n = -5000, the logit 5000 and more."""
    white = noise.Gaussian(np.zeros(1), np.eye(1), np.ones(1))
    x, e = np.full((4, 1), 100.0), np.zeros((4, 1))
    theta = gaussian_theta([100.0], [[1.0]])
    value, gradient = nce.objective(gaussian, x, e, white)(theta)
    assert value == 0 and not gradient.any()
    theta = gaussian_theta([0.0], [[1.0]])  # the model is the noise: h = 1/2 at every point
    value, gradient = nce.objective(gaussian, x, e, white)(theta)
    assert value == pytest.approx(2 * np.log(2), rel=1e-10)
    assert gradient == pytest.approx([0.25 * 100**2, -0.5 * 100, 0], rel=1e-10, abs=1e-12)


# A large offset, a small scale; columns without variance


def whole_svd(x, m):
    found = pca.by_svd(x, m)
    return found.W, found.variances, found.mean


ROUTES = [whole_svd, eigen.from_covariance, eigen.from_gram, eigen.from_lanczos]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("dtype", "offset", "scale"), [("float64", 1e6, 1e-3), ("float32", 1e6, 10)])
def test_pca_with_an_offset_by_every_route(route, dtype, offset, scale):
    """Subtracting the offset from such numbers is exact, so PCA must be that of what is left, to the rounding of C."""
    rng, (N, n), m = np.random.default_rng(0), (300, 200), 3
    y = rng.standard_normal((N, n)) * 0.5 ** np.arange(n).clip(0, 30) * scale
    x = (offset + y).astype(dtype)
    y = (x - offset).astype(np.float64)
    centred = y - y.mean(axis=0)
    _, S, Vt = np.linalg.svd(centred, full_matrices=False)
    lambdas = S**2 / N
    W, variances, mean = route(x, m)
    error = 1e-5 if dtype == "float32" else 1e-11  # of C, as a part of lambda_1
    assert abs(variances - lambdas[:m]).max() <= error * lambdas[0]
    assert np.linalg.norm(Vt[:m] - (Vt[:m] @ W.T) @ W, 2) <= error * lambdas[0] / (lambdas[m - 1] - lambdas[m])
    rounding = 1e-15 * offset + float(np.spacing(mean.max())) / 2  # of a mean in float64, and of what it is kept in
    assert abs(mean - offset - y.mean(axis=0)).max() <= rounding + (1e-6 * scale if dtype == "float32" else 0)


@pytest.mark.parametrize("method", [pca.by_svd, pca.by_variance, pca.by_reconstruction])
def test_pca_with_an_offset_by_every_definition(method):
    rng = np.random.default_rng(1)
    x = 1e6 + 1e-3 * rng.standard_normal((40, 5)) * [5, 4, 3, 2, 1]
    found, plain = method(x, 2), method(x - 1e6, 2)
    assert abs(abs((found.W * plain.W).sum(axis=1)) - 1).max() <= 1e-7  # angle 1e-4, see by_reconstruction
    np.testing.assert_allclose(found.variances, plain.variances, rtol=1e-7)
    s, decoded = found.encode(x), found.decode(found.encode(x))
    np.testing.assert_allclose((s**2).mean(axis=0), found.variances, rtol=1e-6)  # x - mean is known to 1e-10 / 1e-3
    assert ((x - decoded) ** 2).sum(axis=1).mean() <= ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_without_variance_by_every_route(route, dtype):
    """Constants that have no exact mean: 0.1 summed and divided is not 0.1."""
    x = np.random.default_rng(2).standard_normal((300, 200)) * 0.5 ** np.arange(200).clip(0, 30)
    x[:, [1, 5, 100]] = 0.1, -1e6, 0
    W, variances, mean = route(x.astype(dtype), 3)
    assert np.isfinite(W).all() and (variances > 0).all()
    assert abs(W[:, [1, 5, 100]]).max() <= (1e-5 if dtype == "float32" else 1e-11)
    np.testing.assert_allclose(mean[[1, 5, 100]], x.astype(dtype)[0, [1, 5, 100]], rtol=1e-12)  # centred twice


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_without_variance_elsewhere(dtype):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 4)).astype(dtype)
    x[:, 2] = 0.1
    fitted = noise.fit_gaussian(x)
    assert len(fitted.deviations) == 3 and abs(fitted.sample(20, 0)[:, 2] - 0.1).max() < 1e-5
    assert np.isfinite(fitted.log_density(x)).all()
    whitened = probe.whitening(x)(x)
    assert np.isfinite(whitened).all() and abs(whitened[:, 2]).max() < 1e-5
    C = np.cov(x.astype(float), rowvar=False, bias=True).astype(dtype)
    C = (C + C.T) / 2
    C[2], C[:, 2] = 0, 0
    for W in (wiener.denoising(C, 0.3), wiener.denoising(C, 1e-9), wiener.masking(C, 0.5)):
        assert np.isfinite(W).all() and not abs(W[2]).max() > 1e-6
    np.testing.assert_allclose(wiener.denoising(C, 1e-9), np.diag([1, 1, 0, 1]), atol=1e-5)
    assert not jigsaw.normalise(np.full((3, 4), 0.5, dtype)).any()
    found = probe.linear_probe(x, rng.integers(2, size=50), 0.1)
    assert np.isfinite(found.W).all()
    for fit in (autoregression.least_squares, autoregression.yule_walker):
        model = fit(np.full(30, 0.1, dtype), 3)
        assert model.variance < 1e-12
        assert prediction.forecast(model, np.full((1, 3), 0.1, dtype), 5) == pytest.approx(0.1, abs=1e-6)


# Where NumPy is asked to raise all floating-point errors, underflow that is harmless raises none

X = np.array([[BIG, -BIG], [1e-200, BIG], [-1e-300, 3e-310]])
TINY, UNIT = 1e-200 * X, X / BIG  # computed here, where underflow is ignored
SMALL = np.array([[1e-20, 2e-25], [-1e-38, 1], [0.5, -3e-30]], "float32")
THETA = 1e-200 * gaussian_theta([0.0, 0.0], np.eye(2))
ROTATION = np.array([0.6, 0.8, -0.8, 0.6, 0.0])
DECAY = autoregression.LinearAR(np.array([0.5]), 0.0, 1e-100, np.eye(2))
PROBE = probe.linear_probe(UNIT, [0, 1, 1], 0.1)
WHITE = noise.Gaussian(np.zeros(2), np.eye(2), np.ones(2))
WHITENING = probe.whitening(UNIT)


def network(activation, dtype="float64"):
    return MLP((2, 3, 2), activation, rng=0, dtype=dtype)


def trained(activation, optimizer):
    net = network(activation, "float32")
    return train(net, SMALL, autoencoder.reconstruct(), squared_error, epochs=3, optimizer=optimizer, rng=0), net.theta


HARMLESS = {
    "squared error": lambda: squared_error(TINY, -TINY, weight=abs(TINY)),
    "sigmoid cross-entropy": lambda: sigmoid_cross_entropy(X, X > 0, weight=abs(TINY)),
    "softmax cross-entropy": lambda: softmax_cross_entropy(X, [0, 1, 1]),
    "sigmoid": lambda: sigmoid(X),
    "network of tanh": lambda: network("tanh")(TINY),
    "network of sigmoids": lambda: network("sigmoid")(X),
    "training by Adam": lambda: trained("relu", Adam()),
    "training by SGD": lambda: trained("sigmoid", SGD()),
    "objective": lambda: objective(network("tanh"), (TINY, TINY), squared_error)(network("tanh").theta),
    "Adam": lambda: Adam().step(TINY[0]).copy(),
    "SGD": lambda: SGD().step(TINY[0]).copy(),
    "l1": lambda: autoencoder.l1(1e-200)(TINY),
    "kl": lambda: autoencoder.kl_sparsity(1e-200, 0.1)(abs(TINY)),
    "denoising": lambda: autoencoder.denoise(1e-200)(TINY, 0),
    "masking": lambda: autoencoder.mask(0.5, 1e-310)(TINY, 0),
    "score": lambda: autoencoder.score(lambda x: 0 * x, TINY, 1e5),
    "log-density": lambda: WHITE.log_density(TINY),
    "normalising": lambda: jigsaw.normalise(TINY),
    "forecast": lambda: prediction.forecast(DECAY, TINY[:, :1], 400),
    "variance of a forecast": lambda: DECAY.forecast_variance(2000),
    "temperature": lambda: words.generate(lambda c: X[: len(c)], [[0], [1]], 3, temperature=1e-320, rng=0),
    "perplexity": lambda: words.perplexity(lambda c: X[:2], [[0, 0], [0, 1]]),
    "wiener": lambda: wiener.denoising(np.diag([1.0, 1e-200]), 1e-100),
    "logcosh": lambda: densities.logcosh(X),
    "laplace": lambda: densities.laplace(X),
    "gaussian": lambda: gaussian(THETA, TINY)[0],
    "ica": lambda: densities.ica(ROTATION, X)[0],
    "probe": lambda: probe.linear_probe(UNIT, [0, 1, 1], 1e-6),
    "predictions of a probe": lambda: PROBE.logits(TINY),
    "objective of a probe": lambda: probe.objective(UNIT, [0, 1, 1], 1e-200)(np.append(X[:2].ravel(), [0, 0])),
    "whitening": lambda: WHITENING(TINY),
    "langevin": lambda: langevin.langevin(lambda x: THETA[0] * x, TINY, 1e-200, 3, rng=0).x,
    "mala": lambda: langevin.mala(lambda x: (-abs(x).sum(axis=1), -np.sign(x)), X, 1e-200, 3, rng=0).x,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_underflow_raises_nothing(name):
    with np.errstate(all="raise"):
        raising = HARMLESS[name]()
    with np.errstate(all="ignore"):
        np.testing.assert_equal(raising, HARMLESS[name]())


# Probabilities that underflow


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top_k", [None, 2])
def test_words_of_vanishing_probability_are_never_drawn(dtype, top_k):
    """exp(-1e4) is 0 in every precision: the two likely words keep their odds, e to 1, and the others are not drawn."""
    logits = np.array([[-BIG, BIG, BIG - 1, -np.inf]], dtype)
    N = 4000
    drawn = words.generate(lambda c: logits.repeat(len(c), 0), np.zeros((N, 1), int), 1, top_k=top_k, rng=0)
    assert set(np.unique(drawn)) == {1, 2}
    p = 1 / (1 + np.exp(-1))
    assert abs((drawn == 1).mean() - p) < 5 * (p * (1 - p) / N) ** 0.5


def test_chains_far_out_where_the_density_underflows_come_home():
    """ln p = -1e8 at the start, and p is 0: the chains must work with ln p and its differences alone."""

    def density(x):
        return -0.5 * (x * x).sum(axis=1), -x

    x = np.full((200, 2), 1e4)
    for chains in (
        langevin.mala(density, x, 1.0, 60, rng=0),
        langevin.langevin(lambda x: -x, x, 1.0, 60, rng=0),
        langevin.annealed_langevin(lambda x, sigma: -x / (1 + sigma**2), x, [10.0, 1.0], 1.0, 60, rng=0),
    ):
        assert abs(chains.x).max() < 8 and chains.acceptance > 0.5  # 5 sigma; the variance is 2.3 at most [langevin.2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_at_tiny_and_huge_levels_of_noise(dtype):
    net = MLP((4, 5, 3), rng=0, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(dtype)
    for sigma in (1e-6, 1e6):
        s = langevin.conditional_score(net)(x, sigma)
        assert np.isfinite(s).all() and s.dtype == dtype
        input, target = langevin.noise_conditional([sigma])(x, np.random.default_rng(0))
        assert np.isfinite(input).all() and abs(target).max() < 10  # of unit variance at every level
        r = autoencoder.denoise(sigma)(x, 0)[0]
        assert np.isfinite(autoencoder.score(lambda x: 0 * x, r, sigma)).all()


def test_forecasts_of_an_unstable_model_are_reported():
    model = autoregression.LinearAR(np.array([10.0]), 0.0, 1.0, np.eye(2))
    assert prediction.forecast(model, [[1.0]], 300)[0, -1] == pytest.approx(1e300, rel=1e-12)
    with pytest.warns(RuntimeWarning, match="overflow"), pytest.raises(FloatingPointError, match="309 values ahead"):
        prediction.forecast(model, [[1.0]], 400)


# A hundred thousand steps


def test_adam_in_single_precision_over_a_hundred_thousand_steps():
    """With gradients that do not depend on theta nothing pulls the two runs together, and rounding adds up.

    u = 6e-8. Rounding theta adds an error of standard deviation u |theta| / sqrt 3 at most. V remembers 1/(1 - beta2) =
    1000 steps, so that its rounding, u sqrt 2 / sqrt 3 in each, is one of 18 u, half of that in the root, and the same
    sign for about 2 * 1000 steps. On top of that beta2 itself is rounded, by d, which makes V d/(1 - beta2) larger.
    """
    T, P, u = 100_000, 30, float(np.finfo(np.float32).eps) / 2
    rng, drift = np.random.default_rng(0), np.linspace(-1, 1, P)
    theta = {dtype: np.zeros(P, dtype) for dtype in (np.float32, np.float64)}
    adam = {dtype: Adam() for dtype in theta}
    variance, length = np.zeros(P), np.zeros(P)
    for _ in range(T // 1000):
        for g in (rng.standard_normal((1000, P)) + drift).astype(np.float32):
            theta[np.float32] += adam[np.float32].step(g)
            step = adam[np.float64].step(g.astype(np.float64))
            theta[np.float64] += step
            variance += u**2 * theta[np.float64] ** 2 / 3 + (9 * u) ** 2 * 2000 * step**2
            length += abs(step)
    d = float(np.float32(0.999)) - 0.999
    error = abs(theta[np.float32] - theta[np.float64])
    assert abs(theta[np.float64]).max() > 50  # it went far
    assert (error < 5 * variance**0.5 + abs(d) / 0.001 / 2 * length).all()
