"""Losses without negative pairs: against loops, through centring and standardisation, and what keeps from collapse."""

import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import assume, given
from hypothesis import strategies as st
from slopes import median_slope

from minissl.nn.gradcheck import complex_step, gradient_error, relative_error
from minissl.nn.losses import squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, lbfgs
from minissl.nn.training import objective, train
from minissl.tasks.augmentations import gaussian_noise
from minissl.tasks.noncontrastive import EPSILON, _through_standardised, barlow_twins, simsiam, vicreg
from minissl.tasks.views import two_views

cupy = device()
seeds = st.integers(0, 2**32 - 1)
LOSSES = {
    "VICReg": vicreg(2.0, 3.0, 0.5),
    "Barlow Twins": barlow_twins(0.1),
    "SimSiam, both sides": simsiam(hold_target=False),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def batch(seed, N, m):
    """Embeddings whose partners stand in an order of their own in the second half; some components vary little."""
    rng = np.random.default_rng(seed)
    partner = N + rng.permutation(N)
    target = np.empty(2 * N, dtype=int)
    target[:N], target[partner] = partner, np.arange(N)
    return rng.standard_normal((2 * N, m)) * rng.uniform(0.3, 2, m) + rng.standard_normal(m), target


def columns(output, target):
    """Components of the two views as lists, [[z₁ⱼ … z_Nⱼ] for each j] twice."""
    N = len(output) // 2
    return output[:N].T.tolist(), output[target[:N]].T.tolist()


def covariance(a, b):
    """By loops, divided by N."""
    N = len(a)
    mean_a, mean_b = sum(a) / N, sum(b) / N
    return sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True)) / N


def flat(pair):
    return pair[0], pair[1].ravel()


def in_order(Z1, Z2):
    return np.concatenate([Z1, Z2]), np.roll(np.arange(2 * len(Z1)), len(Z1))


# --- against loops ----------------------------------------------------------------------------------------------------


@pytest.mark.equation("noncontrastive.1")
@given(seed=seeds, N=st.integers(2, 5), m=st.integers(1, 3))
def test_vicreg_against_loops(seed, N, m):
    """The loss equals weighted distances of partners, hinges of deviations and squared covariances, by loops."""
    output, target = batch(seed, N, m)
    Z, W = columns(output, target)
    expected = 2.0 * sum((p - q) ** 2 for a, b in zip(Z, W, strict=True) for p, q in zip(a, b, strict=True)) / N
    for view in (Z, W):
        expected += 3.0 / 2 * sum(max(0.0, 1 - math.sqrt(covariance(a, a) + EPSILON)) for a in view)
        expected += 0.5 * sum(covariance(view[j], view[k]) ** 2 for j in range(m) for k in range(m) if j != k)
    assert vicreg(2.0, 3.0, 0.5)(output, target)[0] == pytest.approx(expected, rel=1e-11)


@pytest.mark.equation("noncontrastive.1")
def test_vicreg_at_points_worked_by_hand():
    """Four corners of a square at distance 1 from the axes cost nothing; collapsed, each component costs μ (1 − √ε)."""
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    value, delta = vicreg()(*in_order(corners, corners))
    assert value == 0 and abs(delta).max() == 0
    assert vicreg()(*in_order(0 * corners, 0 * corners))[0] == pytest.approx(25 * 2 * (1 - 1e-2))
    moved = vicreg(invariance=3.0)(*in_order(corners, corners + [0, 2]))[0]
    assert moved == pytest.approx(3 * 4)  # a shift of one view changes no variance
    twice = np.repeat(corners[:, :1], 2, axis=1)
    assert vicreg(covariance=0.5)(*in_order(twice, twice))[0] == pytest.approx(0.5 * 2 * 2)


@pytest.mark.equation("noncontrastive.3")
@given(seed=seeds, N=st.integers(2, 5), m=st.integers(1, 3), redundancy=st.floats(0, 2))
def test_barlow_twins_against_loops(seed, N, m, redundancy):
    """The loss equals squared distances of the correlations between the views from the identity, by loops."""
    output, target = batch(seed, N, m)
    Z, W = columns(output, target)
    expected = 0.0
    for j in range(m):
        for k in range(m):
            spread = math.sqrt((covariance(Z[j], Z[j]) + EPSILON) * (covariance(W[k], W[k]) + EPSILON))
            correlation = covariance(Z[j], W[k]) / spread
            expected += (1 - correlation) ** 2 if j == k else redundancy * correlation**2
    assert barlow_twins(redundancy)(output, target)[0] == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.equation("noncontrastive.6")
@given(seed=seeds, m=st.integers(1, 3))
def test_simsiam_is_the_error_of_the_best_linear_prediction(seed, m):
    """The loss equals the residual of least squares from each row to its partner's, and any other predictor has more;
    the residuals are orthogonal to what predicts."""
    output, target = batch(seed, 6, m)
    T = output[target]
    A_T, left, _, _ = np.linalg.lstsq(output, T, rcond=None)
    value = simsiam()(output, target)[0]
    assert value == pytest.approx(left.sum() / 12, rel=1e-10)
    R = output @ A_T - T
    np.testing.assert_allclose(R.T @ output, 0, atol=1e-11)
    other = A_T + 0.1 * np.random.default_rng(seed).standard_normal((m, m))
    assert value < ((output @ other - T) ** 2).sum() / 12


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.equation("noncontrastive.2", "noncontrastive.4", "noncontrastive.7")
@losses
@given(seed=seeds, m=st.integers(1, 4))
def test_every_gradient_against_central_differences(loss, seed, m):
    """Each component of the gradient in the output equals central differences of the value, to 1e-7."""
    output, target = batch(seed, 6, m)
    assert gradient_error(lambda y: flat(loss(y.reshape(output.shape), target)), output.ravel()) < 1e-7


@pytest.mark.equation("noncontrastive.2", "noncontrastive.4")
@losses
@given(seed=seeds, activation=st.sampled_from(["tanh", "sigmoid", "identity"]))
def test_every_gradient_through_a_network(loss, seed, activation):
    """The gradient in all parameters of a network equals central differences to 1e-7."""
    rng = np.random.default_rng(seed)
    net = MLP((3, 5, 2), activation, rng=rng, dtype="float64")
    pair = two_views(gaussian_noise(0.5))(rng.standard_normal((8, 3)), rng)
    z = net(pair[0])
    assume(np.linalg.cond(z) < 30)  # else the best predictor itself changes as fast as 1/h
    assume(z.reshape(2, 8, 2).std(axis=1).min() > 0.1)  # else the differences are off by more: (h/σ)² with h = 1e-5
    assert gradient_error(objective(net, pair, loss), net.theta) < 1e-7


@pytest.mark.equation("noncontrastive.2", "noncontrastive.4", "noncontrastive.7")
@losses
def test_the_remainder_of_every_gradient(loss):
    """Along most of nine random directions Taylor's remainder falls as h²."""
    output, target = batch(0, 10, 3)

    def J(y):
        return flat(loss(y.reshape(output.shape), target))

    assert median_slope(J, output.ravel(), h=2e-4) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("noncontrastive.4")
@given(seed=seeds)
def test_the_way_back_through_standardisation_by_complex_step(seed):
    """For any G of mean zero the formula equals the complex step of Σ G ⊙ ẑ in z."""
    rng = np.random.default_rng(seed)
    z, G = rng.standard_normal((2, 7))
    G -= G.mean()

    def standardised(z):
        y = z - z.mean()
        return y / np.sqrt((y * y).mean() + EPSILON)

    exact = complex_step(lambda z: (G * standardised(z)).sum(), z)
    y, s = standardised(z), math.sqrt(z.var() + EPSILON)
    assert relative_error(_through_standardised(G, y, s), exact) < 1e-13


@pytest.mark.equation("noncontrastive.2", "noncontrastive.4")
@given(seed=seeds, m=st.integers(1, 4))
def test_what_does_not_matter_has_no_gradient(seed, m):
    """Shifts of the two views matter to neither VICReg's V nor Barlow Twins, scales not to the latter but for ε: the
    gradient has no component along them."""
    output, target = batch(seed, 6, m)
    N = 6
    for loss in (vicreg(invariance=0.0), barlow_twins()):
        value, delta = loss(output, target)
        np.testing.assert_allclose(delta[:N].mean(axis=0), 0, atol=1e-14)
        np.testing.assert_allclose(delta[target[:N]].mean(axis=0), 0, atol=1e-14)
        assert loss(output + 3, target)[0] == pytest.approx(value, rel=1e-9)
    along = (output * barlow_twins()(output, target)[1]).sum(axis=0)
    least = min(output[:N].var(axis=0).min(), output[target[:N]].var(axis=0).min())
    np.testing.assert_allclose(along, 0, atol=2 * 4.03 * EPSILON / least)  # |Σₖ ∂J/∂Cⱼₖ Cⱼₖ| ≤ 4 + 6 λ in each view


# --- Barlow Twins is not CCA ------------------------------------------------------------------------------------------


@pytest.mark.equation("noncontrastive.5")
def test_barlow_twins_is_not_canonical_correlation_analysis():
    """On views whose sample correlations are 0.9 and 0.5, the canonical variates have 0.26 and the first one twice has
    0.02 + 1.62 λ, less at λ = 0.005; from the former, gradient descent finds a lower value than either at λ = 0.1."""
    rng, rho = np.random.default_rng(0), np.array([0.9, 0.5])
    white = np.linalg.qr(np.column_stack([np.ones(50), rng.standard_normal((50, 4))]))[0][:, 1:] * 50**0.5
    Z1, Z2 = white[:, :2], rho * white[:, :2] + np.sqrt(1 - rho**2) * white[:, 2:]
    same = [Z[:, [0, 0]] for Z in (Z1, Z2)]
    for redundancy in (0.005, 0.1, 1.0):
        loss = barlow_twins(redundancy)
        canonical, twice = loss(*in_order(Z1, Z2))[0], loss(*in_order(*same))[0]
        assert canonical == pytest.approx(0.1**2 + 0.5**2, abs=5 * EPSILON)
        assert twice == pytest.approx(2 * 0.1**2 + 2 * redundancy * 0.9**2, abs=5 * EPSILON)
        assert (twice < canonical) == (redundancy < 0.14)

    def J(theta):  # the same linear map of both views
        W = theta.reshape(2, 2)
        pair = in_order(Z1 @ W, Z2 @ W)
        value, delta = barlow_twins(0.1)(*pair)
        return value, (np.concatenate([Z1, Z2]).T @ delta).ravel()

    start = np.eye(2).ravel() + 1e-3 * rng.standard_normal(4)
    found = lbfgs(J, start, warn=False)
    assert found.value < min(J(np.eye(2).ravel())[0], 2 * 0.1**2 + 0.2 * 0.9**2) - 0.01


# --- collapse ---------------------------------------------------------------------------------------------------------


@pytest.mark.equation("noncontrastive.7", "noncontrastive.8")
@given(seed=seeds, m=st.integers(1, 4))
def test_the_two_identities_of_the_outputs(seed, m):
    """With both sides differentiated ⟨Y, ∂J/∂Y⟩ = 2J; with the target held fixed YᵀΔ = 0, every entry of it."""
    output, target = batch(seed, 6, m)
    value, delta = simsiam(hold_target=False)(output, target)
    assert (output * delta).sum() == pytest.approx(2 * value, rel=1e-10)
    value_held, held = simsiam()(output, target)
    assert value_held == value
    np.testing.assert_allclose(output.T @ held, 0, atol=1e-12)


@pytest.mark.equation("noncontrastive.8")
@given(seed=seeds)
def test_the_step_with_the_target_held_fixed(seed):
    """Δ equals central differences of the mean ‖A z − t‖² in z, with A and the targets t held at their values."""
    output, target = batch(seed, 5, 2)
    T = output[target]
    A_T = np.linalg.lstsq(output, T, rcond=None)[0]

    def held(y):
        value, delta = squared_error(y.reshape(output.shape) @ A_T, T)
        return value, (delta @ A_T.T).ravel()

    assert gradient_error(held, output.ravel()) < 1e-7
    np.testing.assert_allclose(simsiam()(output, target)[1].ravel(), held(output.ravel())[1], atol=1e-12)


@pytest.mark.equation("noncontrastive.7")
@given(seed=seeds, activation=st.sampled_from(["tanh", "relu"]))
def test_the_last_layer_of_any_network_shrinks(seed, activation):
    """⟨W, ∂J/∂W⟩ + ⟨b, ∂J/∂b⟩ of the last layer of a network equals 2J."""
    rng = np.random.default_rng(seed)
    net = MLP((3, 6, 2), activation, rng=rng, dtype="float64")
    net.theta += 0.1 * rng.standard_normal(net.theta.size)
    input, target = two_views(gaussian_noise(0.3))(rng.standard_normal((10, 3)), rng)
    H = net.forward(input)
    value, delta = simsiam(hold_target=False)(H[-1], target)
    dW, db = net.views(net.backward(H, delta))
    assert (net.weights[-1] * dW[-1]).sum() + (net.biases[-1] * db[-1]).sum() == pytest.approx(2 * value, rel=1e-9)


@pytest.mark.equation("noncontrastive.7", "noncontrastive.8")
def test_one_collapses_and_the_other_does_not():
    """In 300 small steps of gradient descent of a linear network ‖W‖² falls at the rate −4J, to less than a tenth, with
    both sides differentiated, while with the target held fixed WᵀW stays within the step's square."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    input, target = two_views(gaussian_noise(1.0))(x, rng)
    rate = 0.005
    for hold_target in (False, True):
        W = np.linalg.qr(rng.standard_normal((3, 2)))[0]
        start, size = W.T @ W, [(W * W).sum()]
        steps = 300
        for _ in range(steps):
            J, delta = simsiam(hold_target)(input @ W, target)
            dW = input.T @ delta
            W = W - rate * dW
            size.append((W * W).sum())
            change = size[-1] - size[-2]
            assert change == pytest.approx((0 if hold_target else -4 * J * rate) + rate**2 * (dW * dW).sum(), abs=1e-12)
        if hold_target:
            np.testing.assert_allclose(W.T @ W, start, atol=steps * rate**2 * 4)
        else:
            assert size[-1] < 0.1 * size[0]


def test_training_without_a_held_target_collapses():
    """With the training loop of the library: a network with biases, small batches."""
    spread = {}
    for hold_target in (False, True):
        net = MLP((5, 16, 3), "tanh", rng=0, dtype="float64")
        x = np.random.default_rng(1).standard_normal((300, 5))
        before = net(x).std()
        train(net, x, two_views(gaussian_noise(0.5)), simsiam(hold_target), epochs=100, batch_size=50,
              optimizer=SGD(0.05, 0.0), rng=2)  # fmt: skip
        spread[hold_target] = net(x).std() / before
    assert spread[False] < 0.2
    assert spread[True] > 0.5


# --- batches of one, copies, dtypes, devices, bad input ---------------------------------------------------------------

ALL = LOSSES | {"SimSiam": simsiam(), "VICReg, plain": vicreg(), "Barlow Twins, plain": barlow_twins()}
every = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)


@every
def test_a_batch_of_one_sample_and_embeddings_of_zero(loss):
    for output in (np.ones((2, 3)), np.zeros((2, 3)), np.zeros((8, 3)), np.ones((8, 3))):
        N = len(output) // 2
        value, delta = loss(output, np.roll(np.arange(2 * N), N))
        assert np.isfinite(value) and np.isfinite(delta).all()


@every
@given(seed=seeds)
def test_the_order_of_samples_and_views_does_not_matter(loss, seed):
    output, target = batch(seed, 6, 3)
    value = loss(output, target)[0]
    Z1, Z2 = output[:6], output[target[:6]]
    order = np.random.default_rng(seed).permutation(6)
    for A, B in ((Z1[order], Z2[order]), (Z2, Z1)):
        assert loss(*in_order(A, B))[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@every
def test_an_unpickled_loss_gives_the_same(loss, protocol):
    output, target = batch(0, 6, 3)
    again = pickle.loads(pickle.dumps(loss, protocol))
    assert again(output, target)[1].tobytes() == loss(output, target)[1].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every
def test_dtype_is_kept_and_the_device_gives_the_same(loss, dtype):
    output, target = batch(0, 6, 3)
    output = output.astype(dtype)
    value, delta = loss(output, target)
    there, delta_there = loss(cupy.asarray(output), cupy.asarray(target))
    assert isinstance(delta_there, cupy.ndarray) and delta.dtype == delta_there.dtype == dtype
    assert float(there) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(cupy.asnumpy(delta_there), delta, rtol=1e-4, atol=1e-5)
    exact, exact_delta = loss(output.astype("float64"), target)
    assert value == pytest.approx(exact, rel=1e-4)
    np.testing.assert_allclose(delta, exact_delta, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vicreg(invariance=-1), "invariance: got -1.0"),
        (lambda: vicreg(variance=-1), "variance: got -1.0"),
        (lambda: vicreg(covariance=-1), "covariance: got -1.0"),
        (lambda: barlow_twins(-1), "redundancy: got -1.0"),
        (lambda: simsiam()(np.ones((4, 2)), np.array([1, 0, 3, 2])), "target: expected each row"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
