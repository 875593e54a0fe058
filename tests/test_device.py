"""The library on device arrays: CuPy where there is a GPU, else a stand-in that is as strict (see standin.py)."""

import numpy as np
import pytest
from standin import device

import minissl as ssl
from minissl import autoencoder, autoregression, contrastive, densities, downstream, nce, patches, sampling, words
from minissl.backend import array, namespace

cupy = device()


def on(a):
    return cupy.asarray(a)


def test_the_stand_in_is_strict():
    a = on(np.ones(3))
    stricter = (lambda: np.exp(a), lambda: np.dot(a, a), lambda: [1, 2][on([1])[0]])  # CuPy may let these pass
    for stray in (lambda: np.asarray(a), lambda: a + np.ones(3), *(() if hasattr(cupy, "is_available") else stricter)):
        with pytest.raises(TypeError):
            stray()
    assert cupy.asnumpy(a + 1).tolist() == [2, 2, 2]


def test_the_array_library_follows_the_data():
    assert namespace(on([1.0]), [1], None) is cupy
    with pytest.raises(TypeError, match="NumPy and CuPy arrays are mixed.*cupy.asarray"):
        namespace(on([1.0]), np.ones(1))
    assert array(on([1, 2]), "a", like=on([0.5])).dtype == np.float64
    assert isinstance(array([1, 2], "a", like=on([0.5])), cupy.ndarray)
    with pytest.raises(TypeError, match="mixed"):
        ssl.MLP((3, 2), rng=0, dtype="float64")(on(np.ones((4, 3))))
    with pytest.raises(TypeError, match="mixed"):
        ssl.MLP((3, 2), rng=0, dtype="float64", xp=cupy)(np.ones((4, 3)))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
@pytest.mark.parametrize("optimizer", [ssl.Adam, ssl.SGD])
def test_training_is_the_same_on_both(activation, optimizer):
    x = np.random.default_rng(0).standard_normal((50, 6))

    def noisy(batch, rng):
        from minissl.backend import normal

        return batch + normal(rng, batch.shape, batch), batch

    results = []
    for xp in (np, cupy):
        net = ssl.MLP((6, 5, 4, 6), activation, rng=1, dtype="float64", xp=xp)
        losses = list(ssl.train(net, xp.asarray(x), noisy, ssl.squared_error, epochs=3, batch_size=16, rng=2))
        theta = net.theta if xp is np else xp.asnumpy(net.theta)
        assert isinstance(net.theta, xp.ndarray)
        results.append((theta, losses))
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
    for loss, target in ((ssl.squared_error, (T, w)), (ssl.logistic, (T, w)), (ssl.softmax, (c,))):
        value, delta = loss(Y, *target)
        on_device, delta_on_device = loss(on(Y), *(on(t) for t in target))
        assert float(on_device) == pytest.approx(value)
        np.testing.assert_allclose(cupy.asnumpy(delta_on_device), delta)
    assert float(ssl.softmax(on(Y), c.tolist())[0]) == pytest.approx(value)


def test_lbfgs_checkpoints_and_input_gradients_on_the_device(tmp_path):
    x = on(np.random.default_rng(0).standard_normal((40, 4)))
    net = ssl.MLP((4, 3, 4), "tanh", rng=0, dtype="float64", xp=cupy)
    found = ssl.lbfgs(ssl.objective(net, (x, x), ssl.squared_error), net.theta, iterations=20)
    assert isinstance(found.theta, cupy.ndarray)
    H = net.forward(x)
    _, dx = net.backward(H, ssl.squared_error(H[-1], x)[1], input_gradient=True)
    assert dx.shape == (40, 4)
    ssl.save(tmp_path / "net.npz", net)
    twin = ssl.MLP((4, 3, 4), "tanh", rng=1, dtype="float64", xp=cupy)
    ssl.load(tmp_path / "net.npz", twin)
    assert cupy.asnumpy(twin.theta).tobytes() == cupy.asnumpy(net.theta).tobytes()


X = np.random.default_rng(3).standard_normal((40, 16))


def twice(function):
    """The function's arrays, computed with NumPy and on the device, must be the same numbers."""
    here, there = function(np), function(cupy)
    here, there = (r if isinstance(r, (tuple, list)) else (r,) for r in (here, there))
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        assert isinstance(b, cupy.ndarray)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, cupy.asnumpy(b), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("nu", [1, 3])
@pytest.mark.parametrize("like", [contrastive.gaussian_like, contrastive.white])
def test_data_against_noise(like, nu):
    def run(xp):
        x = xp.asarray(X)
        noise = like(x)
        return *contrastive.against_noise(noise, nu, balanced=True)(x, np.random.default_rng(0)), noise.log_density(x)

    if like is contrastive.white:  # axes of equal variance are arbitrary up to sign for the other
        twice(run)
    assert all(isinstance(a, cupy.ndarray) for a in run(cupy))


@pytest.mark.parametrize(
    "task",
    [
        contrastive.against_shuffled(),
        contrastive.against_shuffled(patches.shuffle_patches((4, 4), (2, 2))),
        patches.jigsaw((4, 4), (2, 2), patches.far_permutations(4, 5, rng=0)),
    ],
)
def test_shuffling(task):
    twice(lambda xp: task(xp.asarray(X), np.random.default_rng(0)))


def test_autoregression():
    series = X.ravel()

    def run(xp):
        x = xp.asarray(series)
        model = autoregression.least_squares(x, 3)
        view = autoregression.windows(x, 4)
        pair = autoregression.next_value(3)(view, None)
        return *pair, autoregression.forecast(model, view[:, :3], 5), model(view[:, :3])

    twice(run)
    a, b = (autoregression.yule_walker(xp.asarray(series), 3).a for xp in (np, cupy))
    np.testing.assert_allclose(a, b)


def test_next_word():
    text = np.random.default_rng(0).integers(7, size=200)

    def run(xp):
        net = words.WordMLP(7, 2, 3, (5,), rng=0, dtype="float64", xp=xp)
        view = autoregression.windows(xp.asarray(text), 3)
        list(ssl.train(net, view, words.next_word(2), ssl.softmax, epochs=2, batch_size=30, rng=1))
        lists = view[:4, :2].tolist()
        vocab, drawn = words.vocabulary(list("abcdef"), 7), words.generate(net, lists, 6, rng=2)
        assert vocab.decode(drawn[0]) == [vocab.words[v] for v in drawn[0].tolist()]
        assert words.perplexity(net, view) == pytest.approx(words.perplexity(net, view.tolist()), rel=1e-12)
        with pytest.raises(ValueError, match="x: got values from 1 to 9"):
            net.forward(xp.asarray([[1, 9]]), out=net.workspace(1))  # CuPy would wrap it
        assert (net(text[:6].reshape(3, 2)) == net(xp.asarray(text[:6].reshape(3, 2)))).all()  # numbers from the host
        again = words.WordMLP(7, 2, 3, (5,), rng=0, dtype="float64", xp=xp)
        list(ssl.train(again, view.tolist(), words.next_word(2), ssl.softmax, epochs=2, batch_size=30, rng=1))
        return net.theta, again.theta, drawn, words.generate(net, view[:4, :2], 6, temperature=0.7, top_k=3, rng=2)

    twice(run)


def test_sampling():
    def density(x):
        return -0.5 * (x * x).sum(axis=1), -x

    def run(xp):
        x = xp.asarray(X)
        net = ssl.MLP((17, 5, 16), rng=0, dtype="float64", xp=xp)
        energy = ssl.MLP((16, 5, 1), "tanh", rng=0, dtype="float64", xp=xp)
        conditional = sampling.conditional_score(net)
        return (
            *sampling.noise_conditional([2, 1])(x, np.random.default_rng(0)),
            sampling.langevin(lambda x: -x, x, 0.5, 4, rng=0, path=True).path,
            sampling.mala(density, x, 0.5, 4, rng=0, path=True).path,
            sampling.annealed(conditional, x, [2, 1], 0.1, 3, rng=0, path=True).path,
            *sampling.network_density(energy)(x),
            autoencoder.score(lambda x: 0.5 * x, x, 0.3),
        )

    twice(run)


def test_downstream():
    c = np.arange(40) % 3

    def run(xp):
        x, labels = xp.asarray(X), xp.asarray(c)
        white = downstream.whitening(x[:, :6])
        net = ssl.MLP((6, 5, 1), "tanh", rng=0, dtype="float64", xp=xp)
        features = downstream.pooled_features(lambda q: net.features(white(q)), x.reshape(40, 4, 4), (3, 2))
        l2, losses = downstream.choose_l2(features, labels, folds=3, rng=0)
        found = downstream.probe(features, labels, l2)
        few = downstream.probe(features[:9], labels[:9], l2)
        single = downstream.probe(x[:, :6].astype(np.float32), labels, 0.1, tolerance=1e-6)
        assert single.converged and single.W.dtype == np.float32
        return features, xp.asarray(losses), found.logits(features), found.predict(features), few.W

    twice(run)


def test_noise_contrastive_estimation():
    def run(xp):
        x, noise = xp.asarray(X[:, :3]), contrastive.white(xp.asarray(X[:, :3]))
        net = ssl.MLP((3, 4, 1), "tanh", rng=0, dtype="float64", xp=xp)
        theta = densities.gaussian_theta(x.mean(axis=0), x.T @ x / len(x))
        found = nce.estimate(densities.gaussian, theta, x, noise, 2, rng=0)
        weights = xp.full(len(x), 1 / len(x))
        J, gradient = nce.objective(densities.energy(net), x, noise.sample(80, 1), noise)(net.theta)
        return (
            *nce.objective(densities.ica, x, noise.sample(80, 1), noise)(x.ravel()[:10]),
            *densities.ica_likelihood(x, densities.laplace)(x.ravel()[:9]),
            *(J, gradient, found.theta),
            nce.asymptotic_covariance(densities.gaussian, theta, x, noise, 2),
            nce.optimal_noise(densities.gaussian, theta, x, 2, weights, iterations=5),
        )

    twice(run)
