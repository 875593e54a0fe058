"""The library on device arrays: CuPy where there is a GPU, else a stand-in that is as strict (see standin.py)."""

import numpy as np
import pytest
from standin import device

import minissl as ssl
from minissl.backend import array, namespace

cupy = device()


def on(a):
    return cupy.asarray(a)


def test_the_stand_in_is_strict():
    a = on(np.ones(3))
    for stray in (lambda: np.asarray(a), lambda: np.exp(a), lambda: np.dot(a, a), lambda: a + np.ones(3)):
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
