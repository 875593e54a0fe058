"""The library on device arrays: CuPy where there is a GPU, else a stand-in that is as strict (see fake_cupy.py)."""

import pickle
from functools import partial

import numpy as np
import pytest
from calls import ROWS
from fake_cupy import device

from minissl._arrays import normal
from minissl.goals import densities, langevin, nce, optimal_noise, probe, score_matching, vae
from minissl.linear import autoregression, pca, wiener
from minissl.nn import checkpoint, losses, optimizers, schedules, training
from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.mlp import MLP
from minissl.tasks import autoencoder, jigsaw, noise, prediction, shuffling, words

cupy = device()
X = np.random.default_rng(3).standard_normal((40, 16))
DOUBLE = {"rng": 0, "dtype": "float64"}


def on(a):
    return cupy.asarray(a)


def here(a):
    return a if isinstance(a, np.ndarray) else cupy.asnumpy(a)


def twice(function):
    """The function's arrays, computed with NumPy and on the device, must be the same numbers."""
    on_host, on_device = function(np), function(cupy)
    on_host, on_device = (r if isinstance(r, (tuple, list)) else (r,) for r in (on_host, on_device))
    for a, b in zip(on_host, on_device, strict=True):
        assert isinstance(b, cupy.ndarray)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, cupy.asnumpy(b), rtol=1e-8, atol=1e-10)


def test_libraries_are_not_mixed():
    with pytest.raises(TypeError, match="x: NumPy and CuPy arrays are mixed"):
        MLP((3, 2), **DOUBLE)(on(np.ones((4, 3))))
    with pytest.raises(TypeError, match="x: NumPy and CuPy arrays are mixed"):
        MLP((3, 2), like=on(X), **DOUBLE)(np.ones((4, 3)))
    with pytest.raises(TypeError, match="x: NumPy and CuPy arrays are mixed"):
        training.train(MLP((3, 2), **DOUBLE), on(X), autoencoder.reconstruct(), losses.squared_error, epochs=1)


def noisy(batch, rng):
    return batch + normal(rng, batch.shape, batch), batch


# nn


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
@pytest.mark.parametrize("optimizer", [optimizers.Adam, optimizers.SGD])
def test_training_is_the_same_on_both(activation, optimizer):
    x = np.random.default_rng(0).standard_normal((50, 6))
    results = []
    for xp in (np, cupy):
        net = MLP((6, 5, 4, 6), activation, rng=1, dtype="float64", like=xp.asarray(x))
        options = {"batch_size": 16, "rng": 2, "optimizer": optimizer(), "schedule": schedules.cosine}
        options["penalties"] = {1: autoencoder.l1(0.01)}
        found = training.train(net, xp.asarray(x), noisy, losses.squared_error, epochs=3, **options)
        assert isinstance(net.theta, xp.ndarray) and all(type(loss) is float for loss in found)
        results.append((here(net.theta), found))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-8)


def test_losses_are_the_same_on_both():
    rng = np.random.default_rng(0)
    Y, T, w, c = (
        rng.standard_normal((5, 3)),
        rng.uniform(size=(5, 3)),
        rng.uniform(size=(5, 3)),
        rng.integers(3, size=5),
    )
    for loss, target in (
        (losses.squared_error, (T, w)),
        (losses.sigmoid_cross_entropy, (T, w)),
        (losses.softmax_cross_entropy, (c,)),
    ):
        value, delta = loss(Y, *target)
        on_device, delta_on_device = loss(on(Y), *(on(t) for t in target))
        assert float(on_device) == pytest.approx(value)
        np.testing.assert_allclose(cupy.asnumpy(delta_on_device), delta)
    assert float(losses.softmax_cross_entropy(on(Y), c.tolist())[0]) == pytest.approx(value)


def test_lbfgs_checkpoints_copies_and_input_gradients_on_the_device(tmp_path):
    x = on(np.random.default_rng(0).standard_normal((40, 4)))
    net = MLP((4, 3, 4), "tanh", like=x, **DOUBLE)
    J = training.objective(net, (x, x), losses.squared_error)
    found = optimizers.lbfgs(J, net.theta, iterations=20, warn=False)
    assert isinstance(found.theta, cupy.ndarray) and found.value < float(J(net.theta)[0])
    H = net.forward(x)
    _, dx = net.backward(H, losses.squared_error(H[-1], x)[1], input_gradient=True)
    assert dx.shape == (40, 4)
    checkpoint.save(tmp_path / "net.npz", net)
    twin = MLP((4, 3, 4), "tanh", rng=1, dtype="float64", like=x)
    checkpoint.load(tmp_path / "net.npz", twin)
    for copy in (twin, pickle.loads(pickle.dumps(net)), net.at(net.theta)):
        assert isinstance(copy.theta, cupy.ndarray) and copy.weights[0].shape == (4, 3)
        assert here(copy.theta).tobytes() == here(net.theta).tobytes()
        assert here(copy(x)).tobytes() == here(net(x)).tobytes()


# tasks


@pytest.mark.parametrize("nu", [1, 3])
@pytest.mark.parametrize("like", [noise.fit_gaussian, noise.isotropic_gaussian])
def test_data_against_noise(like, nu):
    def run(xp):
        x = xp.asarray(X)
        fitted = like(x)
        return *noise.against_noise(fitted, nu, balanced=True)(x, np.random.default_rng(0)), fitted.log_density(x)

    if like is noise.isotropic_gaussian:  # axes of equal variance are arbitrary up to sign for the other
        twice(run)
    assert all(isinstance(a, cupy.ndarray) for a in run(cupy))


@pytest.mark.parametrize(
    "task",
    [
        autoencoder.reconstruct(),
        autoencoder.denoise(0.3),
        autoencoder.mask(0.3),
        autoencoder.mask(0.3, 0.5, autoencoder.image_blocks((4, 4), (2, 2)), missing_only=True),
        autoencoder.colorize((0.5, 0.5)),
        shuffling.against_shuffled(),
        shuffling.against_shuffled(shuffling.shuffle_patches((4, 4), (2, 2))),
        jigsaw.jigsaw((4, 4), (2, 2), jigsaw.max_hamming_permutations(4, 5, rng=0)),
        langevin.noise_conditional([2, 1]),
    ],
)
def test_tasks(task):
    twice(lambda xp: task(xp.asarray(X), np.random.default_rng(0)))


def test_penalties_and_scores():
    H = 1 / (1 + np.exp(-X))
    for penalty in (autoencoder.l1(0.3), autoencoder.kl_sparsity(0.3, 0.1)):
        twice(lambda xp, penalty=penalty: penalty(xp.asarray(H))[1])
        assert float(penalty(on(H))[0]) == pytest.approx(float(penalty(H)[0]))
    twice(lambda xp: autoencoder.score(lambda x: 0.5 * x, xp.asarray(X), 0.3))


def test_next_word():
    text = np.random.default_rng(0).integers(7, size=200)

    def run(xp):
        net = EmbeddingMLP(7, 2, 3, (5,), like=xp.asarray(X), **DOUBLE)
        view = prediction.windows(xp.asarray(text), 3)
        options = {"epochs": 2, "batch_size": 30, "rng": 1}
        training.train(net, view, words.next_word(2), losses.softmax_cross_entropy, **options)
        lists = view[:4, :2].tolist()
        vocab, drawn = words.vocabulary(list("abcdef"), 7), words.generate(net, lists, 6, rng=2)
        assert vocab.decode(drawn[0]) == [vocab.words[v] for v in drawn[0].tolist()]
        assert words.perplexity(net, view) == pytest.approx(words.perplexity(net, view.tolist()), rel=1e-12)
        with pytest.raises(ValueError, match="x: got values from 1 to 9"):
            net.forward(xp.asarray([[1, 9]]))  # CuPy would wrap it
        again = EmbeddingMLP(7, 2, 3, (5,), like=xp.asarray(X), **DOUBLE)
        training.train(again, view.tolist(), words.next_word(2), losses.softmax_cross_entropy, **options)
        return net.theta, again.theta, drawn, words.generate(net, view[:4, :2], 6, temperature=0.7, top_k=3, rng=2)

    twice(run)


# linear


def test_autoregression():
    series = X.ravel()

    def run(xp):
        x = xp.asarray(series)
        model = autoregression.least_squares(x, 3)
        view = prediction.windows(x, 4)
        pair = prediction.next_value(3)(view, None)
        return *pair, prediction.forecast(model, view[:, :3], 5), model(view[:, :3])

    twice(run)
    for fit in (autoregression.yule_walker, autoregression.lagged_least_squares):
        a, b = (fit(xp.asarray(series), 3) for xp in (np, cupy))
        np.testing.assert_allclose(a.a, b.a)
        np.testing.assert_allclose(a.covariance, b.covariance)


@pytest.mark.parametrize("method", [pca.by_svd, pca.by_variance, pca.by_reconstruction])
@pytest.mark.parametrize("shape", [(40, 6), (9, 30)])
def test_pca(method, shape):
    x = np.random.default_rng(0).standard_normal(shape) * 0.7 ** np.arange(shape[1])

    def run(xp):
        found = method(xp.asarray(x), 3)
        return found.decode(found.encode(xp.asarray(x)))

    there, expected = (here(run(xp)) for xp in (cupy, np))
    assert isinstance(run(cupy), cupy.ndarray)
    np.testing.assert_allclose(there, expected, atol=1e-5)


def test_wiener_filters():
    C = X.T @ X / len(X)
    twice(lambda xp: wiener.denoising(xp.asarray(C), 0.3))
    for missing_only in (False, True):
        twice(
            lambda xp, missing_only=missing_only: wiener.masking(xp.asarray(C), 0.3, np.arange(16) // 4, missing_only)
        )


# goals


def test_sampling():
    def density(x):
        return -0.5 * (x * x).sum(axis=1), -x

    def run(xp):
        x = xp.asarray(X)
        net = MLP((17, 5, 16), like=x, **DOUBLE)
        energy = MLP((16, 5, 1), "tanh", like=x, **DOUBLE)
        learned = densities.log_density_and_score(densities.network_log_density(energy), energy.theta)
        conditional = langevin.conditional_score(net)
        return (
            langevin.langevin(lambda x: -x, x, 0.5, 4, rng=0, path=True).path,
            langevin.mala(density, x, 0.5, 4, rng=0, path=True).path,
            langevin.mala(learned, x, 0.5, 4, rng=0, path=True).path,
            langevin.annealed_langevin(conditional, x, [2, 1], 0.1, 3, rng=0, path=True).path,
            *learned(x),
        )

    twice(run)


def test_probe():
    c = np.arange(40) % 3

    def run(xp):
        x, labels = xp.asarray(X), xp.asarray(c)
        white = probe.whitening(x[:, :6])
        net = MLP((6, 5, 1), "tanh", like=x, **DOUBLE)
        features = probe.pooled_features(lambda q: net.features(white(q)), x.reshape(40, 4, 4), (3, 2))
        l2, losses_of_each = probe.cross_validate_l2(features, labels, folds=3, rng=0)
        found = probe.linear_probe(features, labels, l2)
        few = probe.linear_probe(features[:9], labels[:9], l2)
        single = probe.linear_probe(x[:, :6].astype(np.float32), labels, 0.1, tolerance=1e-6)
        assert single.converged and single.W.dtype == np.float32
        plain = probe.objective(features, labels, l2)
        theta = np.concatenate([found.W.ravel(), found.b])
        assert float(plain(theta)[0]) == pytest.approx(found.value)
        return features, xp.asarray(losses_of_each), found.logits(features), found.predict(features), few.W

    twice(run)


def test_densities_and_noise_contrastive_estimation():
    def run(xp):
        x, e = xp.asarray(X[:, :3]), noise.isotropic_gaussian(xp.asarray(X[:, :3]))
        net = MLP((3, 4, 1), "tanh", like=x, **DOUBLE)
        theta = densities.gaussian_theta(x.mean(axis=0), x.T @ x / len(x))
        found = nce.estimate(densities.gaussian, theta, x, e, 2, rng=0)
        J, gradient = nce.objective(densities.network_log_density(net), x, e.sample(80, 1), e)(net.theta)
        laplace = partial(densities.ica, source=densities.laplace)
        return (
            *nce.objective(laplace, x, e.sample(80, 1), e)(x.ravel()[:10]),
            *densities.ica_likelihood(x, densities.logcosh)(x.ravel()[:9]),
            *(J, gradient, found.theta),
            densities.precision_matrix(theta, 3),
            nce.parameter_scores(densities.gaussian, theta, x),
            nce.asymptotic_covariance(densities.gaussian, theta, x, e, 2),
            optimal_noise.optimal_noise(densities.gaussian, theta, x, 2, np.full_like(x[:, 0], 1 / 40)).ratio,
        )

    twice(run)


def test_score_matching():
    def run(xp):
        x = xp.asarray(X[:, :3])
        net = MLP((3, 5, 4, 1), ("tanh", "sigmoid"), like=x, **DOUBLE)
        features = score_matching.gaussian_derivatives(x)
        alpha = score_matching.exponential_family(*features)
        v = score_matching.random_directions(x, 2, rng=1)
        results = [*features, alpha, score_matching.asymptotic_covariance(*features, alpha), v]
        for model, theta in (
            (score_matching.ica_score, x.ravel()[:9]),
            (score_matching.network_score(net), net.theta),
            (score_matching.sliced_score(net, v), net.theta),
        ):
            results += score_matching.objective(model, x)(theta)
        return results

    twice(run)


def test_vae():
    def run(xp):
        x = xp.asarray(X[:, :3])
        encoder, decoder = (MLP(sizes, "tanh", like=x, **DOUBLE) for sizes in ((3, 5, 4), (2, 5, 3)))
        vae.train_vae(encoder, decoder, x, sigma=0.7, steps=3, batch_size=8, rng=1)
        W, density = vae.probabilistic_pca(x, 2, 0.7)
        bound = vae.evidence_bound(encoder, decoder, x, 0.7, samples=2, rng=2)
        return encoder.theta, decoder.theta, bound, W @ W.T, density.log_density(x)

    twice(run)


# Every public function that is given all its arrays as arguments

UP_TO_SIGN = ("noise.fit_gaussian", "pca.by_svd", "pca.by_variance", "pca.by_reconstruction")


def numbers(result):
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in numbers(part)]
    return [np.asarray(here(result))] if isinstance(result, (np.ndarray, cupy.ndarray, float)) else []


def on_both(name):
    """The results of a call of the table, here and there; None where the row holds arrays on the host for it."""
    call, _, arguments = ROWS[name]
    values = {key: argument.value for key, argument in arguments.items()}
    moved = {key: on(a) if isinstance(a, np.ndarray) else a for key, a in values.items()}
    try:
        return numbers(call(**values)), numbers(call(**moved))
    except TypeError as error:
        if "NumPy and CuPy arrays are mixed" in str(error):
            return None
        raise


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_calls_of_the_table_compute_the_same_on_both():
    results = {name: on_both(name) for name in ROWS}
    computed = {name: both for name, both in results.items() if both is not None}
    assert len(computed) > len(ROWS) / 2
    for name, (expected, found) in computed.items():
        assert len(expected) == len(found), name
        for a, b in zip(expected, found, strict=True):
            a, b = (abs(a), abs(b)) if name in UP_TO_SIGN else (a, b)
            np.testing.assert_allclose(a, b, rtol=max(ROWS[name].rtol, 1e-8), atol=1e-9, err_msg=name)
