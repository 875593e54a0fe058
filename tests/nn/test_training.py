"""The loop: what a batch is, what is random, what survives an interruption."""

import tracemalloc

import numpy as np
import pytest

import minissl as ssl
from minissl.training import loss_and_gradient


def same(x, rng):
    return x, x


def noisy(x, rng):
    return x + 0.1 * rng.standard_normal(x.shape, dtype=x.dtype), x


def data(N=50, n=6, dtype="float32"):
    return np.random.default_rng(0).standard_normal((N, n)).astype(dtype)


def net(dtype="float32", sizes=(6, 4, 6), activation="tanh"):
    return ssl.MLP(sizes, activation, rng=1, dtype=dtype)


def square_penalty(H):
    return (H * H).sum() / len(H), 2 * H / len(H)


@pytest.mark.equation("training.1")
def test_one_full_batch_epoch_is_one_step_along_the_mean_gradient():
    """Loss and penalty of the network as it was, one SGD step, by the equation."""
    x, n = data(dtype="float64"), net("float64")
    value, grad = ssl.objective(n, (x, x), ssl.squared_error, {1: square_penalty})(n.theta.copy())
    H = n.forward(x)
    assert value == pytest.approx(((H[2] - x) ** 2).sum() / 50 + (H[1] ** 2).sum() / 50)
    start = n.theta.copy()
    [loss] = ssl.train(
        n, x, same, ssl.squared_error, epochs=1, batch_size=99, optimizer=ssl.SGD(0.1, 0), penalties={1: square_penalty}
    )
    assert loss == pytest.approx(value)
    np.testing.assert_allclose(n.theta, start - 0.1 * grad, rtol=1e-9, atol=1e-12)


def test_every_sample_is_used_once_an_epoch_in_new_order_and_pairs_are_drawn_afresh():
    x = np.arange(10, dtype=np.float32)[:, None]
    batches, noises = [], []

    def task(batch, rng):
        batches.append(batch[:, 0].tolist())
        noises.append(rng.standard_normal())
        return batch, batch

    n = ssl.MLP((1, 1), rng=0)
    list(ssl.train(n, x, task, ssl.squared_error, epochs=2, batch_size=4, optimizer=ssl.SGD(1e-6), rng=0))
    assert [len(b) for b in batches] == [4, 4, 2] * 2
    first, second = (sum(batches[i : i + 3], []) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert len(set(noises)) == 6
    batches.clear()
    list(ssl.train(n, np.ones((129, 1), np.float32), task, ssl.squared_error, epochs=1))
    assert [len(b) for b in batches] == [128, 1]


def test_the_epoch_loss_is_the_mean_over_samples_not_over_batches():
    x = np.array([[1.0], [2.0], [3.0]], np.float32)
    n = ssl.MLP((1, 1), rng=0)
    n.theta[:] = 0
    [loss] = ssl.train(n, x, same, ssl.squared_error, epochs=1, batch_size=2, optimizer=ssl.SGD(1e-12), rng=0)
    assert loss == pytest.approx(14 / 3, rel=1e-6)


def test_training_learns():
    """A linear network with four hidden units comes near the least error, the sum of the two least variances."""
    x = data(200) @ np.diag([3, 2, 1, 0.1, 0.1, 0.1]).astype(np.float32)
    n, best = net(activation="identity"), np.linalg.eigvalsh(np.cov(x.T, bias=True))[:2].sum()
    losses = list(ssl.train(n, x, same, ssl.squared_error, epochs=150, batch_size=20, optimizer=ssl.Adam(0.01), rng=0))
    assert losses[-1] < 1.5 * best < 0.01 * losses[0]


def test_same_seed_same_bits_another_seed_others():
    x, results = data(), []
    for seed in (3, 3, 4):
        n = net()
        losses = list(ssl.train(n, x, noisy, ssl.squared_error, epochs=3, batch_size=16, rng=seed))
        results.append((n.theta.tobytes(), tuple(losses)))
    assert results[0] == results[1] != results[2]


def test_buffers_do_not_change_the_result():
    """The loop with workspaces, against the same loop written without them."""
    x, a, b = data(), net(), net()
    list(ssl.train(a, x, noisy, ssl.squared_error, epochs=2, batch_size=16, rng=5))
    rng, adam = np.random.default_rng(5), ssl.Adam()
    for _ in range(2):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 16):
            input, target = noisy(x[order[start : start + 16]], rng)
            b.theta += adam.step(loss_and_gradient(b, input, (target,), ssl.squared_error)[1])
    assert np.array_equal(a.theta, b.theta)


def test_memory_does_not_grow_with_the_number_of_steps():
    x = data(2000, 64)
    n = ssl.MLP((64, 32, 64), rng=0)

    def peak(epochs):
        tracemalloc.start()
        for _ in ssl.train(n, x, same, ssl.squared_error, epochs=epochs, batch_size=20, rng=0):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)
    assert peak(10) < peak(1) + 2000


def test_an_interrupt_leaves_a_usable_network_and_the_rest_is_training_as_usual():
    x, n, calls = data(), net(), []

    def interrupted(batch, rng):
        calls.append(n.theta.copy())
        if len(calls) == 7:
            raise KeyboardInterrupt
        return batch, batch

    with pytest.raises(KeyboardInterrupt):
        list(ssl.train(n, x, interrupted, ssl.squared_error, epochs=5, batch_size=10, rng=0))
    assert np.array_equal(n.theta, calls[-1])
    assert np.isfinite(n(x)).all()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("step_size", [1e3, 1e18, 1e38])
def test_divergence_is_reported_and_the_last_finite_parameters_kept(step_size):
    x, n = data(), net(activation="relu")
    with pytest.raises(FloatingPointError, match=r"became .* in epoch \d+, batch \d+; .*smaller step_size"):
        list(ssl.train(n, x, same, ssl.squared_error, epochs=500, batch_size=10, optimizer=ssl.SGD(step_size), rng=0))
    assert np.isfinite(n.theta).all()


def test_windows_of_a_series_are_not_copied():
    series = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    view = np.lib.stride_tricks.sliding_window_view(series, 25)
    tracemalloc.start()
    training = ssl.train(
        ssl.MLP((24, 1), rng=0),
        view,
        lambda w, rng: (w[:, :24], w[:, 24:]),
        ssl.squared_error,
        epochs=1,
        batch_size=1000,
    )
    loss = next(training)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(loss)
    assert peak < view.nbytes / 3


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
def test_a_step_in_a_workspace_allocates_no_array_of_the_network_s_size(activation):
    x, n = data(2000, 64), net(sizes=(64, 96, 80, 64), activation=activation)
    work = n.workspace(2000)
    expected = loss_and_gradient(n, x, (x,), ssl.squared_error)
    tracemalloc.start()
    found = loss_and_gradient(n, x, (x,), ssl.squared_error, out=work)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0] == expected[0] and np.array_equal(found[1], expected[1])
    assert peak < x.size  # a byte for each unit of the smallest layer; NumPy's own buffers are a quarter of that


@pytest.mark.parametrize("row", [0, 1, 16_383, 16_384, 29_999])
def test_a_gap_is_found_wherever_it_is(row):
    x = np.zeros((30_000, 2), np.float32)
    x[row, 1] = np.inf
    with pytest.raises(ValueError, match="x: contains NaN or infinity after row"):
        ssl.train(ssl.MLP((2, 2), rng=0), x, same, ssl.squared_error, epochs=1)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_an_output_that_overflows_at_once_is_reported_as_divergence():
    n = ssl.MLP((6, 2), rng=0)
    n.theta[:] = 0
    n.weights[0][:, 1] = -3e38
    with pytest.raises(FloatingPointError, match="output: became inf in epoch 1, batch 1"):
        next(ssl.train(n, np.ones((5, 6), np.float32), lambda x, rng: (x, x[:, :2]), ssl.squared_error, epochs=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": np.ones(3)}, "net: got ndarray"),
        ({"task": None}, "task: got NoneType"),
        ({"loss": "squared_error"}, "loss: got str"),
        ({"optimizer": ssl.Adam}, "optimizer: got <class"),
        ({"optimizer": 0.1}, "optimizer: got 0.1"),
        ({"penalties": [square_penalty]}, "penalties: got"),
        ({"penalties": {1: square_penalty, 2: 0.1}}, "penalties: got"),
    ],
)
def test_parts_of_another_kind_are_refused_at_the_call(change, message):
    parts = {"net": net(), "x": data(), "task": same, "loss": ssl.squared_error, "epochs": 1} | change
    with pytest.raises(TypeError, match=message):
        ssl.train(**parts)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": data() * np.nan}, ValueError, "x: contains NaN"),
        ({"x": data(dtype="float64")}, TypeError, r"x: got dtype float64, expected float32; call x.astype"),
        ({"x": data()[:0]}, ValueError, r"x: got shape \(0, 6\)"),
        ({"x": data().astype(complex)}, TypeError, "x: got dtype complex128"),
        ({"epochs": 0}, ValueError, "epochs: got 0"),
        ({"epochs": 1.5}, TypeError, "epochs: got 1.5"),
        ({"batch_size": -1}, ValueError, "batch_size: got -1"),
        ({"rng": "a"}, TypeError, "rng: got str"),
    ],
)
def test_bad_input_is_named_at_the_call(change, error, message):
    arguments = {"x": data(), "epochs": 1} | change
    with pytest.raises(error, match=message):
        ssl.train(net(), arguments.pop("x"), same, ssl.squared_error, **arguments)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (lambda x, rng: (x[:, :3], x), r"x: got shape \(50, 3\), expected \(any, 6\)"),
        (lambda x, rng: (x, x[:, :1]), r"target: got shape \(50, 1\), expected \(50, 6\)"),
        (lambda x, rng: (x, x, -np.ones_like(x)), "weight: got -1.0"),
        (lambda x, rng: (x, x * np.nan), "target: contains NaN"),
    ],
)
def test_a_task_that_returns_an_unfit_pair_is_named_in_the_first_batch(task, message):
    n = net()
    start = n.theta.copy()
    with pytest.raises(ValueError, match=message):
        next(ssl.train(n, data(), task, ssl.squared_error, epochs=1))
    assert np.array_equal(n.theta, start)


def test_an_objective_needs_a_pair():
    x = data()
    for pair, got in ((x, "ndarray"), ((x,), "tuple"), ([], "list")):
        with pytest.raises(TypeError, match=f"pair: got {got}, expected"):
            ssl.objective(net(), pair, ssl.squared_error)


def test_theta_of_another_length_is_refused():
    J = ssl.objective(net("float64"), (data(dtype="float64"),) * 2, ssl.squared_error)
    for theta in (np.ones(1), np.ones(5)):
        with pytest.raises(ValueError, match="theta: got shape"):
            J(theta)


def test_the_objective_leaves_the_network_as_it_is():
    """Handed `net.theta` itself, too, whose finite differences are then those of the point and not of a moving one."""
    x, n = data(dtype="float64"), net("float64")
    J, before = ssl.objective(n, (x, x), ssl.squared_error), n.theta.copy()
    assert ssl.gradient_error(J, n.theta) < 1e-7
    assert np.array_equal(n.theta, before)
    with pytest.raises(ValueError, match="theta: contains NaN"):
        J(before * np.nan)
    assert np.array_equal(n.theta, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_whole_numbers_train_as_the_floats_that_they_stand_for(dtype):
    x, results = (np.random.default_rng(0).random((20, 6)) < 0.5).astype(dtype), []
    for given in (x, x.astype(np.float32), x.astype(float).tolist()):
        n = net()
        list(ssl.train(n, given, noisy, ssl.squared_error, epochs=2, batch_size=8, rng=0))
        results.append(n.theta.tobytes())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (lambda x: x, "task: returned ndarray, expected"),
        (lambda x: None, "task: returned NoneType, expected"),
        (lambda x: (x,), r"task: returned \['ndarray'\], expected"),
        (lambda x: (x.tolist(), x), r"task: returned \['list', 'ndarray'\], expected"),
        (lambda x: (x, x.tolist()), "task: returned"),
        (lambda x: (x.astype(int), x), "task: returned an input of dtype int64, expected float32"),
    ],
)
def test_a_task_must_return_arrays_in_pairs(pair, message):
    with pytest.raises(TypeError, match=message):
        next(ssl.train(net(), data(), lambda x, rng: pair(x), ssl.squared_error, epochs=1))


@pytest.mark.parametrize("layer", [0, 2, -1, 9, "1"])
def test_a_penalty_on_what_is_no_hidden_layer_is_refused(layer):
    """Its value would be added to the loss and its gradient to nothing."""
    n, x, penalties = net(), data(), {layer: square_penalty}
    for refused in (
        lambda: next(ssl.train(n, x, same, ssl.squared_error, epochs=1, penalties=penalties)),
        lambda: loss_and_gradient(n, x, (x,), ssl.squared_error, penalties, n.workspace(len(x))),
    ):
        with pytest.raises(ValueError, match="penalties: got layer .*, expected a hidden layer, 1 .. 1"):
            refused()


def test_an_optimizer_that_moved_another_network_is_refused():
    adam = ssl.Adam()
    adam.step(np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"g: got shape \(58,\), expected \(3\)"):
        next(ssl.train(net(), data(), same, ssl.squared_error, epochs=1, optimizer=adam))


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_the_report_of_divergence_has_its_epoch_and_batch_and_the_parameters_are_those_before(what, epoch, batch):
    """From one batch on the loss, or the gradient alone, is NaN."""
    n, before, calls = net(), [], []

    def loss(output, target, out=None):
        value, delta = ssl.squared_error(output, target, out=out)
        if out is not None:  # not the look at the first batch
            before.append(n.theta.copy())
            calls.append(1)
            if len(calls) == 3 * (epoch - 1) + batch:
                return (np.float32(np.nan), delta) if what == "loss" else (value, delta * np.float32(np.nan))
        return value, delta

    with pytest.raises(
        FloatingPointError,
        match=f"{'loss' if what == 'loss' else 'step'}: became nan in epoch {epoch}, batch {batch}; .*Try a smaller",
    ):
        list(ssl.train(n, data(48), same, loss, epochs=3, batch_size=16, rng=0))
    assert np.array_equal(n.theta, before[-1])
    assert np.isfinite(n.theta).all()
