"""The network against its equations, written naively, and its gradients against the derivative of those."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minissl
from minissl.nn.gradcheck import central_difference, complex_step, relative_error, taylor_slope
from minissl.nn.losses import sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from minissl.nn.mlp import MLP
from minissl.nn.mlp import PHI as ACTIVATIONS

seeds = st.integers(0, 2**32 - 1)
SMOOTH = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "identity": lambda z: z}
PHI = SMOOTH | {"relu": lambda z: z * (np.real(z) > 0)}


@st.composite
def networks(draw, activations=tuple(ACTIVATIONS)):
    """A network of depth 1 to 4 with distinct sizes, any activations, and biases that are not zero."""
    depth = draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(2, 7), min_size=depth + 1, max_size=depth + 1, unique=True))
    names = draw(st.lists(st.sampled_from(activations), min_size=depth - 1, max_size=depth - 1))
    rng = np.random.default_rng(draw(seeds))
    net = MLP(sizes, names, rng=rng, dtype="float64")
    net.theta += 0.3 * rng.standard_normal(net.theta.size)
    return net


def naive_layers(net, theta, x):
    """Every Z_l and H_l, sample by sample and unit by unit, from a vector of parameters [mlp.1]."""
    start, H, Z = 0, [x], [x]
    for l, (n_in, n_out) in enumerate(zip(net.sizes, net.sizes[1:], strict=False)):
        W = theta[start : start + n_in * n_out]
        b = theta[start + n_in * n_out : start + (n_in + 1) * n_out]
        start += (n_in + 1) * n_out
        z = np.array([[sum(h[i] * W[i * n_out + j] for i in range(n_in)) + b[j] for j in range(n_out)] for h in H[-1]])
        Z.append(z)
        H.append(PHI[net.activations[l]](z) if l < len(net.sizes) - 2 else z)
    return Z, H


def away_from_kinks(net, x, distance=1e-3):
    Z, _ = naive_layers(net, net.theta, x)
    return all(abs(z).min() > distance for z, a in zip(Z[1:], net.activations, strict=False) if a == "relu")


def target_for(loss, shape, rng):
    if loss is softmax_cross_entropy:
        return rng.integers(shape[1], size=shape[0])
    return rng.standard_normal(shape) if loss is squared_error else rng.uniform(0, 1, shape)


def quartic(H):
    """A penalty with a derivative of its own: mean over samples of sum of h^4 / 4."""
    return (H**4).sum() / (4 * len(H)), H**3 / len(H)


@pytest.mark.equation("mlp.1")
@given(networks(), seeds)
def test_forward_is_the_equation(net, seed):
    """Every layer against Z = H W + b and φ(Z), computed sample by sample and unit by unit."""
    x = np.random.default_rng(seed).standard_normal((3, net.sizes[0]))
    H = net.forward(x)
    for ours, naive in zip(H, naive_layers(net, net.theta, x)[1], strict=True):
        np.testing.assert_allclose(ours, naive, rtol=1e-12, atol=1e-12)
    assert np.array_equal(net(x), H[-1])
    assert np.array_equal(net.features(x), H[-2])


@pytest.mark.equation("mlp.2", "mlp.3", "mlp.5")
@pytest.mark.parametrize("loss", [squared_error, sigmoid_cross_entropy, softmax_cross_entropy])
@pytest.mark.parametrize("penalised", [False, True])
@given(net=networks(), seed=seeds)
def test_gradient_of_the_parameters(net, loss, penalised, seed):
    """Backpropagation of loss and penalties against central differences of the equations in loops."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, net.sizes[0]))
    assume(away_from_kinks(net, x))
    pair = (x, target_for(loss, (3, net.sizes[-1]), rng))
    penalties = {l: quartic for l in range(1, len(net.sizes) - 1)} if penalised else {}
    theta, J = net.theta.copy(), minissl.objective(net, pair, loss, penalties)

    def formula(t):
        H = naive_layers(net, t, x)[1]
        return loss(H[-1], pair[1])[0] + sum(quartic(h)[0] for h in H[1:-1] if penalised)

    value, grad = J(theta)
    assert value == pytest.approx(formula(theta))
    assert relative_error(grad, central_difference(formula, theta)) < 1e-7


@given(net=networks(tuple(SMOOTH)), seed=seeds)
def test_gradient_against_the_complex_step_through_the_formula(net, seed):
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((3, net.sizes[0])), rng.standard_normal((3, net.sizes[-1]))
    _, grad = minissl.objective(net, (x, target), squared_error)(net.theta.copy())

    def formula(t):
        return ((naive_layers(net, t, x)[1][-1] - target) ** 2).sum() / 3

    assert relative_error(grad, complex_step(formula, net.theta)) < 1e-12


@pytest.mark.equation("mlp.4")
@given(net=networks(), seed=seeds)
def test_gradient_of_the_input(net, seed):
    """The gradient that `backward` gives for the input against central differences in the input."""
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((3, net.sizes[0])), rng.standard_normal((3, net.sizes[-1]))
    assume(away_from_kinks(net, x))
    H = net.forward(x)
    value, delta = squared_error(H[-1], target)
    grad, dx = net.backward(H, delta, input_gradient=True)
    assert np.array_equal(grad, net.backward(H, delta))
    numeric = central_difference(lambda v: squared_error(net(v.reshape(x.shape)), target)[0], x.ravel())
    rounding = 1e-15 * value / 1e-5 * x.size**0.5  # of the differences: where most relus are off, dx itself is small
    assert np.linalg.norm(dx.ravel() - numeric) < 1e-7 * np.linalg.norm(dx) + rounding


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_taylor_remainder(activation):
    rng = np.random.default_rng(0)
    net = MLP((4, 6, 5, 3), activation, rng=1, dtype="float64")
    x = rng.standard_normal((7, 4))
    while not away_from_kinks(net, x):
        x = rng.standard_normal((7, 4))
    J = minissl.objective(net, (x, rng.standard_normal((7, 3))), squared_error)
    theta, d = net.theta.copy(), rng.standard_normal(net.theta.size)
    assert taylor_slope(J, theta, d, h=1e-5) == pytest.approx(2, abs=0.05)


def test_worked_by_hand():
    """x = (1, 2), W_1 = I, b_1 = (-3, 0), relu, W_2 = (5, 7)^T, b_2 = 1: Z_1 = (-2, 2), H_1 = (0, 2), output 15."""
    net = MLP((2, 2, 1), "relu", dtype="float64")
    net.theta[:] = [1, 0, 0, 1, -3, 0, 5, 7, 1]
    H = net.forward([[1, 2]])
    assert H[1].tolist() == [[0, 2]]
    assert H[2].tolist() == [[15]]
    grad, dx = net.backward(H, [[1.0]], input_gradient=True)
    assert grad.tolist() == [0, 7, 0, 14, 0, 7, 0, 2, 1]
    assert dx.tolist() == [[0, 7]]


def test_relu_at_its_kink_has_derivative_zero():
    net = MLP((1, 1, 1), "relu", dtype="float64")
    net.theta[:] = [1, 0, 1, 0]
    assert net.backward(net.forward([[0.0]]), [[1.0]]).tolist() == [0, 0, 0, 1]


@given(net=networks(), seed=seeds)
def test_forward_and_backward_are_pure(net, seed):
    rng = np.random.default_rng(seed)
    x, delta = rng.standard_normal((3, net.sizes[0])), rng.standard_normal((3, net.sizes[-1]))
    penalties = {l: rng.standard_normal((3, net.sizes[l])) for l in range(1, len(net.sizes) - 1)}
    kept = [a.copy() for a in (x, delta, net.theta, *penalties.values())]
    H = net.forward(x)
    layers = [h.copy() for h in H]
    first = net.backward(H, delta, penalties)
    second = net.backward(H, delta, penalties)
    assert first is not second
    assert np.array_equal(first, second)
    assert all(map(np.array_equal, layers, net.forward(x)))
    assert all(map(np.array_equal, layers, H))
    assert all(map(np.array_equal, kept, (x, delta, net.theta, *penalties.values())))


@given(networks())
def test_weights_and_biases_are_views_that_tile_theta(net):
    parts = [part for pair in zip(net.weights, net.biases, strict=True) for part in pair]
    assert [W.shape for W in net.weights] == list(zip(net.sizes, net.sizes[1:], strict=False))
    assert np.array_equal(np.concatenate([part.ravel() for part in parts]), net.theta)
    for tied in (net.weights, net.biases, net.activations):  # to put another array into them would untie theta
        assert isinstance(tied, tuple)
    net.theta[:] = np.arange(net.theta.size)
    assert np.array_equal(np.concatenate([part.ravel() for part in parts]), net.theta)


def test_assigning_theta_keeps_the_views_in_step():
    net, other = MLP((3, 2), rng=0, dtype="float64"), np.arange(8.0)
    net.theta = other
    other[0] = 5
    assert net.theta is other
    assert net.weights[0][0, 0] == 5
    other.flags.writeable = False
    net.theta = other  # which no training could change: a copy of it
    net.theta += 1
    assert np.array_equal(net.theta, other + 1)
    net.theta = other = other + 1
    for wrong in (np.ones(7), np.full(8, np.nan), np.ones((8, 1))):
        with pytest.raises(ValueError, match="theta"):
            net.theta = wrong
    with pytest.raises(TypeError, match="theta: got dtype float32"):
        net.theta = np.ones(8, np.float32)
    assert net.theta is other


@pytest.mark.equation("mlp.6")
@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("tanh", 1)])
def test_initial_variance_is_scaled_to_fan_in(activation, gain):
    """Each Wₗ has mean 0 and variance g/nₗ₋₁, to five standard errors (relative to it √(2/k) for k numbers); b = 0."""
    net = MLP((50, 400, 300, 20), activation, rng=0, dtype="float64")
    for W, g in zip(net.weights, (1, gain, gain), strict=True):
        assert len(W) * W.var() == pytest.approx(g, abs=5 * g * (2 / W.size) ** 0.5)
        assert abs(W.mean()) < 5 * W.std() / W.size**0.5
    assert not any(b.any() for b in net.biases)


def test_signal_keeps_its_variance_through_relu_layers():
    """On average over networks E(h^2) is 1/2 in every hidden layer: relu sets half of a variance of 1 to zero."""
    x, rng = np.random.default_rng(0).standard_normal((100, 200)), np.random.default_rng(1)
    x /= (x**2).mean() ** 0.5
    networks = [MLP((200, 200, 200, 200, 200), "relu", rng=rng, dtype="float64").forward(x) for _ in range(30)]
    moments = np.array([[(h**2).mean() for h in H[1:4]] for H in networks])
    assert (abs(moments.mean(axis=0) - 0.5) < 5 * moments.std(axis=0) / 30**0.5).all()


COPIES = {"deepcopy": copy.deepcopy, "copy": copy.copy} | {
    f"pickle {p}": lambda net, p=p: pickle.loads(pickle.dumps(net, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)
}
NETWORKS = {
    "MLP": lambda: MLP((4, 3, 2), "tanh", rng=7),
    "EmbeddingMLP": lambda: minissl.EmbeddingMLP(words=5, context=4, dimension=2, hidden=(3,), rng=7),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_copy_lives_and_has_parameters_of_its_own(make, duplicate):
    """It trains to the same bits as a network made anew, its weights are views of its theta, the original stays."""
    original, fresh = make(), make()
    net = duplicate(original)
    x = np.random.default_rng(0).integers(5, size=(20, 4))
    for n in (net, fresh):
        minissl.train(n, x, _last_two, minissl.softmax_cross_entropy, epochs=3, batch_size=8, rng=1)
    assert net.theta.tobytes() == fresh.theta.tobytes() != original.theta.tobytes()
    assert original.theta.tobytes() == make().theta.tobytes()
    for part in (*net.weights, *net.biases):
        assert np.shares_memory(part, net.theta)
    net.theta[:] = 0
    assert not net(x[:, :4]).any()


def _last_two(x, rng):
    return x, (x[:, -1] > 2).astype(int)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_network_trains_in_another_process(start):
    """Sent there by pickle and back again, it has the bits of one that stayed here."""
    net, here = MLP((3, 2), rng=0), MLP((3, 2), rng=0)
    x = np.random.default_rng(0).standard_normal((20, 3), dtype=np.float32)
    _train_a_little(here, x, np.random.default_rng(0))
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    with multiprocessing.get_context(start).Pool(1) as pool:
        there = pool.apply(_train_a_little, (net, x, np.random.default_rng(0)))
    assert there.theta.tobytes() == here.theta.tobytes() != net.theta.tobytes()


def _train_a_little(net, x, rng):
    minissl.train(net, x, _head, minissl.squared_error, epochs=2, batch_size=8, rng=rng)
    return net


def _head(x, rng):
    return x, x[:, :2]


def test_the_network_at_other_parameters_leaves_this_one_alone():
    net = MLP((3, 2), rng=0, dtype="float64")
    kept, x = net.theta.copy(), np.ones((1, 3))
    twin = net.at(2 * kept)
    assert np.array_equal(twin(x), 2 * net(x))
    assert np.array_equal(net.theta, kept)


def test_features_are_any_layer():
    net = MLP((3, 5, 4, 2), rng=0, dtype="float64")
    H = net.forward(np.ones((2, 3)))
    for l in (*range(4), *range(-4, 0)):
        assert np.array_equal(net.features(np.ones((2, 3)), l), H[l])
    assert np.array_equal(net.features(np.ones((2, 3))), H[2])
    with pytest.raises(ValueError, match="layer: got 4"):
        net.features(np.ones((2, 3)), 4)


def test_a_network_says_what_it_is():
    assert repr(MLP((3, 4, 2), "tanh")) == "MLP((3, 4, 2), ('tanh',), dtype='float32')"


def test_initial_gains_of_sigmoid_and_identity_are_one():
    """Sample variance of the weights behind each kind of layer, against 1/n, to five standard errors."""
    for activation in ("sigmoid", "identity"):
        W = MLP((300, 400, 300), activation, rng=0, dtype="float64").weights[1]
        assert len(W) * W.var() == pytest.approx(1, abs=5 * (2 / W.size) ** 0.5)


def test_same_seed_same_bits():
    a, b, c = (MLP((4, 3, 2), rng=seed) for seed in (7, 7, 8))
    assert a.theta.tobytes() == b.theta.tobytes() != c.theta.tobytes()
    assert a.theta.dtype == np.float32
    for dtype in ("float64", np.float64, np.dtype("float64")):
        assert MLP((4, 3, 2), dtype=dtype).theta.dtype == np.float64


def test_lists_and_integers_are_converted_other_layouts_work():
    net = MLP((3, 4, 2), rng=0)
    x = np.arange(12).reshape(4, 3)
    expected = net(x.astype(np.float32))
    read_only = np.asfortranarray(x.astype(np.float32))
    read_only.flags.writeable = False
    for same in (x, x.tolist(), x.astype(np.uint8), read_only, np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1]):
        np.testing.assert_allclose(net(same), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLP((3,)), ValueError, "sizes"),
        (lambda: MLP((3, 0, 2)), ValueError, "sizes: got 0"),
        (lambda: MLP((3, 2.5)), TypeError, "sizes: got 2.5"),
        (lambda: MLP(5), ValueError, "sizes: got 5"),
        (lambda: MLP((3, 2), "softplus"), ValueError, "activation: got 'softplus'"),
        (lambda: MLP((3, 2, 1), ("tanh", "relu")), ValueError, "activation: got 2 names, expected 1"),
        (lambda: MLP((3, 2, 1), None), ValueError, "activation: got None"),
        (lambda: MLP((3, 2), dtype="float16"), TypeError, "dtype: got float16"),
        (lambda: MLP((3, 2), dtype="nonsense"), TypeError, "nonsense"),
        (lambda: MLP((3, 2)).features(np.ones((1, 3), "f4"), layer="last"), TypeError, "layer: got 'last'"),
        (lambda: MLP((3, 2)).at(np.ones(7, "f4")), ValueError, r"theta: got shape \(7,\)"),
        (lambda: MLP((3, 2)).views(np.ones(7)), ValueError, r"vector: got \(7,\), expected .* \(8,\)"),
        (lambda: MLP((3, 2), rng="seed"), TypeError, "rng: got str"),
        (
            lambda: MLP((3, 2), dtype="float64")(np.ones((4, 5))),
            ValueError,
            r"x: got shape \(4, 5\), expected \(any, 3\)",
        ),
        (lambda: MLP((3, 2))(np.ones((4, 3))), TypeError, r"x: got dtype float64.*x.astype\('float32'\)"),
        (lambda: MLP((3, 2))(np.full((4, 3), np.nan, "f4")), ValueError, "x: contains NaN"),
        (lambda: MLP((3, 2))(np.empty((0, 3), "f4")), ValueError, "x: got an empty array"),
        (lambda: MLP((3, 2))([["a", "b", "c"]]), TypeError, "x: got dtype <U1"),
        (lambda: MLP((3, 2))([[1], [1, 2]]), ValueError, "x: expected an array"),
        (lambda: MLP((3, 2))(np.ones((2, 3), complex)), TypeError, "x: got dtype complex128"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bad_backward_input_is_named():
    net = MLP((3, 4, 2), rng=0, dtype="float64")
    H, delta = net.forward(np.ones((5, 3))), np.ones((5, 2))
    with pytest.raises(ValueError, match=r"delta: got shape \(5, 3\), expected \(5, 2\)"):
        net.backward(H, np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"H: got layers of shapes .*, expected \(N, n\) with n = \(3, 4, 2\)"):
        net.backward(MLP((3, 5, 2), dtype="float64").forward(np.ones((5, 3))), delta)
    with pytest.raises(TypeError, match="penalties: got list, expected a dict"):
        net.backward(H, delta, [H[1]])
    with pytest.raises(ValueError, match="penalties: got layer 2, expected a hidden layer"):
        net.backward(H, delta, {2: delta})
    with pytest.raises(ValueError, match=r"penalties: got shape \(5, 2\), expected \(5, 4\)"):
        net.backward(H, delta, {1: delta})
