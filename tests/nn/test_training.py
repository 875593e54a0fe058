"""The loop: what a batch is, what is random, what survives an interruption."""

import pickle
import threading
import tracemalloc

import numpy as np
import pytest

import minissl
from minissl.nn.schedules import constant, cosine, linear


def same(x, rng):
    return x, x


def noisy(x, rng):
    return x + 0.1 * rng.standard_normal(x.shape, dtype=x.dtype), x


def data(N=50, n=6, dtype="float32"):
    return np.random.default_rng(0).standard_normal((N, n)).astype(dtype)


def net(dtype="float32", sizes=(6, 4, 6), activation="tanh"):
    return minissl.MLP(sizes, activation, rng=1, dtype=dtype)


def square_penalty(H):
    return (H * H).sum() / len(H), 2 * H / len(H)


@pytest.mark.equation("training.1")
def test_one_full_batch_epoch_is_one_step_along_the_mean_gradient():
    """Loss and penalty of the network as it was, one SGD step, by the equation."""
    x, n = data(dtype="float64"), net("float64")
    value, grad = minissl.objective(n, (x, x), minissl.squared_error, {1: square_penalty})(n.theta.copy())
    H = n.forward(x)
    assert value == pytest.approx(((H[2] - x) ** 2).sum() / 50 + (H[1] ** 2).sum() / 50)
    start = n.theta.copy()
    [loss] = minissl.train(
        n,
        x,
        same,
        minissl.squared_error,
        epochs=1,
        batch_size=99,
        optimizer=minissl.SGD(0.1, 0),
        penalties={1: square_penalty},
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

    n = minissl.MLP((1, 1), rng=0)
    minissl.train(n, x, task, minissl.squared_error, epochs=2, batch_size=4, optimizer=minissl.SGD(1e-6), rng=0)
    assert [len(b) for b in batches] == [4, 4, 2] * 2
    first, second = (sum(batches[i : i + 3], []) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert len(set(noises)) == 6
    batches.clear()
    minissl.train(n, np.ones((129, 1), np.float32), task, minissl.squared_error, epochs=1)
    assert [len(b) for b in batches] == [128, 1]


def test_the_epoch_loss_is_the_mean_over_samples_not_over_batches():
    x = np.array([[1.0], [2.0], [3.0]], np.float32)
    n = minissl.MLP((1, 1), rng=0)
    n.theta[:] = 0
    [loss] = minissl.train(
        n, x, same, minissl.squared_error, epochs=1, batch_size=2, optimizer=minissl.SGD(1e-12), rng=0
    )
    assert loss == pytest.approx(14 / 3, rel=1e-6)


def test_training_learns():
    """A linear network with four hidden units comes near the least error, the sum of the two least variances."""
    x = data(200) @ np.diag([3, 2, 1, 0.1, 0.1, 0.1]).astype(np.float32)
    n, best = net(activation="identity"), np.linalg.eigvalsh(np.cov(x.T, bias=True))[:2].sum()
    losses = minissl.train(
        n, x, same, minissl.squared_error, epochs=150, batch_size=20, optimizer=minissl.Adam(0.01), rng=0
    )
    assert losses[-1] < 1.5 * best < 0.01 * losses[0]


def test_same_seed_same_bits_another_seed_others():
    x, results = data(), []
    for seed in (3, 3, 4):
        n = net()
        losses = minissl.train(n, x, noisy, minissl.squared_error, epochs=3, batch_size=16, rng=seed)
        results.append((n.theta.tobytes(), tuple(losses)))
    assert results[0] == results[1] != results[2]


@pytest.mark.equation("training.2")
def test_the_loop_is_what_it_says():
    """Two epochs of `train`, bit for bit, against the loop of [training.2] written out with the public functions."""
    x, a, b = data(), net(), net()
    minissl.train(a, x, noisy, minissl.squared_error, epochs=2, batch_size=16, rng=5)
    rng, adam = np.random.default_rng(5), minissl.Adam()
    for _ in range(2):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 16):
            input, target = noisy(x[order[start : start + 16]], rng)
            H = b.forward(input)
            b.theta += adam.step(b.backward(H, minissl.squared_error(H[-1], target)[1]))
    assert np.array_equal(a.theta, b.theta)


def test_memory_does_not_grow_with_the_number_of_steps():
    x = data(2000, 64)
    n = minissl.MLP((64, 32, 64), rng=0)

    def peak(epochs):
        tracemalloc.start()
        for _ in minissl.train(n, x, same, minissl.squared_error, epochs=epochs, batch_size=20, rng=0):
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
        minissl.train(n, x, interrupted, minissl.squared_error, epochs=5, batch_size=10, rng=0)
    assert np.array_equal(n.theta, calls[-1])
    assert np.isfinite(n(x)).all()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("learning_rate", [1e3, 1e18, 1e38])
def test_divergence_is_reported_and_the_last_finite_parameters_kept(learning_rate):
    x, n = data(), net(activation="relu")
    with pytest.raises(FloatingPointError, match=r"in epoch \d+, batch \d+; .*smaller learning_rate"):
        minissl.train(
            n, x, same, minissl.squared_error, epochs=500, batch_size=10, optimizer=minissl.SGD(learning_rate), rng=0
        )
    assert np.isfinite(n.theta).all()


def test_windows_of_a_series_are_not_copied():
    series = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    view = np.lib.stride_tricks.sliding_window_view(series, 25)
    tracemalloc.start()
    training = minissl.train_epochs(
        minissl.MLP((24, 1), rng=0),
        view,
        lambda w, rng: (w[:, :24], w[:, 24:]),
        minissl.squared_error,
        epochs=1,
        batch_size=1000,
    )
    loss = next(training)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(loss)
    assert peak < view.nbytes / 3


@pytest.mark.parametrize("row", [0, 1, 16_383, 16_384, 29_999])
def test_a_gap_is_found_wherever_it_is(row):
    x = np.zeros((30_000, 2), np.float32)
    x[row, 1] = np.inf
    with pytest.raises(ValueError, match="x: contains NaN or infinity after row"):
        minissl.train(minissl.MLP((2, 2), rng=0), x, same, minissl.squared_error, epochs=1)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_an_output_that_overflows_at_once_is_reported_as_divergence():
    n = minissl.MLP((6, 2), rng=0)
    n.theta[:] = 0
    n.weights[0][:, 1] = -3e38
    with pytest.raises(FloatingPointError, match="output: contains NaN or infinity.*in epoch 1, batch 1"):
        next(
            minissl.train_epochs(
                n, np.ones((5, 6), np.float32), lambda x, rng: (x, x[:, :2]), minissl.squared_error, epochs=1
            )
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": np.ones(3)}, "net: got ndarray"),
        ({"task": None}, "task: got NoneType"),
        ({"loss": "squared_error"}, "loss: got str"),
        ({"optimizer": minissl.Adam}, "optimizer: got <class"),
        ({"optimizer": 0.1}, "optimizer: got 0.1"),
        ({"penalties": [square_penalty]}, "penalties: got"),
        ({"penalties": {1: square_penalty, 2: 0.1}}, "penalties: got"),
    ],
)
def test_parts_of_another_kind_are_refused_at_the_call(change, message):
    parts = {"net": net(), "x": data(), "task": same, "loss": minissl.squared_error, "epochs": 1} | change
    with pytest.raises(TypeError, match=message):
        minissl.train(**parts)


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
        minissl.train(net(), arguments.pop("x"), same, minissl.squared_error, **arguments)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (lambda x, rng: (x[:, :3], x), r"x: got shape \(50, 3\), expected \(any, 6\)"),
        (lambda x, rng: (x, x[:, :1]), r"target: got shape \(50, 1\), expected \(50, 6\)"),
        (lambda x, rng: (x, x, -np.ones_like(x)), "weight: got -1.0"),
        (lambda x, rng: (x, x * np.nan), "target: contains NaN"),
    ],
)
def test_a_task_that_returns_an_invalid_pair_is_named_in_the_first_batch(task, message):
    n = net()
    start = n.theta.copy()
    with pytest.raises(ValueError, match=message):
        next(minissl.train_epochs(n, data(), task, minissl.squared_error, epochs=1))
    assert np.array_equal(n.theta, start)


def test_an_objective_needs_a_pair():
    x = data()
    for pair, got in ((x, "ndarray"), ((x,), "tuple"), ([], "list")):
        with pytest.raises(TypeError, match=f"pair: got {got}, expected"):
            minissl.objective(net(), pair, minissl.squared_error)


def test_theta_of_another_length_is_refused():
    J = minissl.objective(net("float64"), (data(dtype="float64"),) * 2, minissl.squared_error)
    for theta in (np.ones(1), np.ones(5)):
        with pytest.raises(ValueError, match="theta: got shape"):
            J(theta)


def test_the_objective_leaves_the_network_as_it_is():
    """Handed `net.theta` itself, too, whose finite differences are then those of the point and not of a moving one."""
    x, n = data(dtype="float64"), net("float64")
    J, before = minissl.objective(n, (x, x), minissl.squared_error), n.theta.copy()
    assert minissl.gradient_error(J, n.theta) < 1e-7
    assert np.array_equal(n.theta, before)
    with pytest.raises(ValueError, match="theta: contains NaN"):
        J(before * np.nan)
    assert np.array_equal(n.theta, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_whole_numbers_train_as_the_floats_that_they_stand_for(dtype):
    x, results = (np.random.default_rng(0).random((20, 6)) < 0.5).astype(dtype), []
    for given in (x, x.astype(np.float32), x.astype(float).tolist()):
        n = net()
        minissl.train(n, given, noisy, minissl.squared_error, epochs=2, batch_size=8, rng=0)
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
        next(minissl.train_epochs(net(), data(), lambda x, rng: pair(x), minissl.squared_error, epochs=1))


@pytest.mark.parametrize("layer", [0, 2, -1, 9, "1"])
def test_a_penalty_on_what_is_no_hidden_layer_is_refused(layer):
    """Its value would be added to the loss and its gradient to nothing."""
    n, x, penalties = net(), data(), {layer: square_penalty}
    for refused in (
        lambda: next(minissl.train_epochs(n, x, same, minissl.squared_error, epochs=1, penalties=penalties)),
        lambda: minissl.objective(n, (x, x), minissl.squared_error, penalties)(n.theta),
    ):
        with pytest.raises(ValueError, match="penalties: got layer .*, expected a hidden layer, 1 .. 1"):
            refused()


def test_an_optimizer_that_moved_another_network_is_refused():
    adam = minissl.Adam()
    adam.step(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="optimizer: has served another network, of 3 parameters of float32, expected"):
        next(minissl.train_epochs(net(), data(), same, minissl.squared_error, epochs=1, optimizer=adam))


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("what", ["loss", "g"])
def test_the_report_of_divergence_has_its_epoch_and_batch_and_the_parameters_are_those_before(what, epoch, batch):
    """From one batch on the loss, or the gradient alone, is NaN."""
    n, before = net(), []

    def loss(output, target):
        value, delta = minissl.squared_error(output, target)
        before.append(n.theta.copy())
        if len(before) == 3 * (epoch - 1) + batch:
            return (np.float32(np.nan), delta) if what == "loss" else (value, delta * np.float32(np.nan))
        return value, delta

    with pytest.raises(
        FloatingPointError,
        match=f"{what}: .*(?i:nan).*in epoch {epoch}, batch {batch}; .*Try a smaller",
    ):
        minissl.train(n, data(48), same, loss, epochs=3, batch_size=16, rng=0)
    assert np.array_equal(n.theta, before[-1])
    assert np.isfinite(n.theta).all()


def test_train_trains_and_train_epochs_waits():
    """`train` on a line of its own changes the network; `train_epochs` does nothing before it is iterated over."""
    x, n = data(), net()
    start = n.theta.copy()
    epochs = minissl.train_epochs(n, x, same, minissl.squared_error, epochs=2, rng=0)
    assert np.array_equal(n.theta, start)
    assert isinstance(next(epochs), float)
    assert not np.array_equal(n.theta, start)
    again = net()
    losses = minissl.train(again, x, same, minissl.squared_error, epochs=2, rng=0)
    list(epochs)
    assert len(losses) == 2
    assert np.array_equal(again.theta, n.theta)


def test_a_schedule_is_asked_at_every_step_and_scales_it():
    """Ten steps of plain gradient descent, each multiplied by the schedule at the share done, by hand."""
    x, n, shares = data(dtype="float64"), net("float64"), []

    def schedule(share):
        shares.append(share)
        return (1 - share) ** 2

    J, theta = minissl.objective(n, (x, x), minissl.squared_error), n.theta.copy()
    minissl.train(
        n, x, same, minissl.squared_error, epochs=10, batch_size=50, optimizer=minissl.SGD(0.1, 0), schedule=schedule
    )
    for share in shares:
        theta -= 0.1 * (1 - share) ** 2 * J(theta)[1]
    assert shares == pytest.approx(np.arange(10) / 10)
    np.testing.assert_allclose(n.theta, theta, rtol=1e-9)
    shares.clear()
    minissl.train(n, x, same, minissl.squared_error, epochs=2, batch_size=20, schedule=schedule)
    assert shares == pytest.approx(np.arange(6) / 6)
    for bad in (-0.1, np.nan):
        with pytest.raises(ValueError, match="schedule: got"):
            minissl.train(n, x, same, minissl.squared_error, epochs=1, schedule=lambda share, bad=bad: bad)


@pytest.mark.equation("schedules.1")
def test_schedules_at_their_ends_and_in_the_middle():
    """Values at u = 0, ½, 1 by hand; at every u between, the cosine is the mean of 1 and cos πu."""
    assert [f(u) for f in (constant, linear, cosine) for u in (0, 0.5, 1)] == pytest.approx(
        [1, 1, 1, 1, 0.5, 0, 1, 0.5, 0]
    )
    for u in np.linspace(0, 1, 9):
        assert cosine(u) == pytest.approx((1 + np.cos(np.pi * u)) / 2)
        assert linear(u) == pytest.approx(1 - u)


@pytest.mark.parametrize("seed", range(20))
def test_a_target_that_is_no_probability_is_found_in_whatever_batch_it_is(seed):
    """One value of 7 in 1,000 rows of probabilities would otherwise train, and end with a loss below zero."""
    x = np.random.default_rng(0).random((1000, 8)).astype(np.float32)
    x[500, 3] = 7
    n = minissl.MLP((8, 8), rng=0)
    with pytest.raises(ValueError, match="target: got values from .* to 7.0, expected within"):
        minissl.train(n, x, same, minissl.sigmoid_cross_entropy, epochs=1, batch_size=100, rng=seed)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda x: (x, x, np.where(np.arange(x.size).reshape(x.shape), 1, -1).astype(x.dtype)),
            ValueError,
            "weight: got",
        ),
        (lambda x: (x.astype(float), x), TypeError, "task: returned an input of dtype float64, expected float32"),
        (lambda x: (x, x.astype(float)), TypeError, "target: got dtype float64, expected float32"),
        (lambda x: (x[:, :3], x), ValueError, "x: got shape"),
        (lambda x: (x, x[:, :3]), ValueError, "target: got shape"),
        (lambda x: x, TypeError, "task: returned ndarray"),
    ],
)
def test_every_batch_is_checked_not_only_the_first(change, error, message):
    calls = []

    def task(x, rng):
        calls.append(len(x))
        return change(x) if len(calls) == 3 else (x, x)

    with pytest.raises(error, match=message):
        minissl.train(net(), data(), task, minissl.squared_error, epochs=1, batch_size=10)
    assert len(calls) == 3


def test_a_gradient_too_large_for_its_square_is_reported_and_freezes_nothing():
    """Data near 1e10 in float32: a squared error's gradient of 1e20 squares to infinity, and Adam's step would be 0."""
    x, n = 1e10 * data(), net(activation="identity")
    start = n.theta.copy()
    with pytest.raises(FloatingPointError, match="overflow float32.*in epoch 1, batch 1; .*scale the data"):
        minissl.train(n, x, same, minissl.squared_error, epochs=1)
    assert np.array_equal(n.theta, start)


def test_predicting_while_the_objective_is_evaluated_elsewhere():
    """Outputs of a network in one thread while another evaluates its objective at other parameters: always its own."""
    x, n = data(dtype="float64"), net("float64")
    J, expected, stop = minissl.objective(n, (x, x), minissl.squared_error), n(x), threading.Event()
    wrong = []

    def predict():
        while not stop.is_set():
            wrong.append(not np.array_equal(n(x), expected))

    thread = threading.Thread(target=predict)
    thread.start()
    for _ in range(300):
        J(np.ones_like(n.theta))
    stop.set()
    thread.join()
    assert wrong and not any(wrong)


def test_a_value_that_is_no_number_is_named():
    def loss(output, target):
        value, delta = minissl.squared_error(output, target)
        return np.array([value]), delta

    with pytest.raises(
        ValueError, match=r"loss: returned a value of shape \(1,\), expected one number; call value.sum"
    ):
        minissl.train(net(), data(), same, loss, epochs=1)


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (lambda H: H[:, :1], "'s gradient: got shape .* expected"),
        (lambda H: H[0], "'s gradient: got shape .* expected"),
        (lambda H: H.astype(float), ": returned float64 as gradient, expected an array of float32"),
        (lambda H: H.tolist(), ": returned list as gradient, expected an array of float32"),
        (lambda H: 0.1, ": returned float as gradient, expected an array of float32"),
    ],
)
def test_a_gradient_unlike_its_layer_is_refused(slope, words):
    """That of a penalty was spread over samples or units; that of a loss ended in NumPy's own errors."""
    with pytest.raises((TypeError, ValueError), match=f"loss{words}"):
        minissl.train(net(), data(), same, lambda Y, T: (1.0, slope(Y)), epochs=1)
    with pytest.raises((TypeError, ValueError), match=f"penalties{words}"):
        penalties = {1: lambda H: (1.0, slope(H))}
        minissl.train(net(), data(), same, minissl.squared_error, penalties=penalties, epochs=1)


@pytest.mark.parametrize("value", [None, 1j, "1"])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match="loss: returned the value .* expected one number"):
        minissl.train(net(), data(), same, lambda Y, T: (value, Y), epochs=1)
    with pytest.raises(TypeError, match="penalties: returned float, expected two values"):
        minissl.train(net(), data(), same, minissl.squared_error, penalties={1: lambda H: 0.5}, epochs=1)


@pytest.mark.parametrize("part", [minissl.squared_error, minissl.sigmoid_cross_entropy, cosine, minissl.Adam(), net()])
def test_parts_can_be_pickled(part):
    assert type(pickle.loads(pickle.dumps(part))) is type(part)


@pytest.mark.parametrize("optimizer", [minissl.Adam, minissl.SGD])
def test_training_bears_underflow_where_numpy_raises_on_it(optimizer):
    """Data of size 10⁻²⁰ have gradients of size 10⁻⁴⁰, below float32: training gives what it gives without raising."""
    results = []
    for mode in ("ignore", "raise"):
        n = net()
        with np.errstate(under=mode):
            losses = minissl.train(
                n, 1e-20 * data(), same, minissl.squared_error, epochs=2, optimizer=optimizer(), rng=0
            )
        results.append((losses, n.theta))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])
