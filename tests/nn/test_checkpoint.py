"""A checkpoint is whole or refused, and training resumed from one ends with the same bits."""

import gc
import hashlib
import json
import multiprocessing
import os
import time
import uuid
import warnings

import numpy as np
import pytest

import minissl


def noisy(x, rng):
    return x + rng.standard_normal(x.shape, dtype=x.dtype), x


def trained(path, epochs, optimizer=None, seed=2):
    net = minissl.MLP((6, 4, 6), "tanh", rng=1)
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    losses = list(
        minissl.train(
            net, x, noisy, minissl.squared_error, epochs=epochs, optimizer=optimizer, rng=seed, checkpoint=path
        )
    )
    return net, losses


@pytest.mark.parametrize("make", [minissl.Adam, minissl.SGD])
def test_resumed_training_ends_with_the_same_bits(tmp_path, make):
    whole, losses = trained(tmp_path / "whole.npz", 7, make())
    _, first = trained(tmp_path / "parts.npz", 3, make())
    resumed, second = trained(tmp_path / "parts.npz", 7, make(), seed=99)
    assert resumed.theta.tobytes() == whole.theta.tobytes()
    assert first + second == losses
    assert trained(tmp_path / "whole.npz", 7, make())[1] == []


def run_to_the_end(checkpoint, result):
    """What is killed: a step takes about as long as a save."""
    net = minissl.MLP((16, 8, 16), "tanh", rng=1)
    x = np.random.default_rng(0).standard_normal((300, 16), dtype=np.float32)
    minissl.train(net, x, noisy, minissl.squared_error, epochs=60, batch_size=32, rng=2, checkpoint=checkpoint)
    np.save(result, net.theta)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the children use no threads but BLAS's own
def test_training_killed_at_random_moments_resumes_to_the_same_bits(tmp_path):
    fork = multiprocessing.get_context("fork")  # a new interpreter for each would take ten times as long

    def start(checkpoint, result):
        process = fork.Process(target=run_to_the_end, args=(checkpoint, result))
        process.start()
        return process

    def finish(process):
        process.join()
        return process.exitcode

    began = time.perf_counter()
    assert finish(start(tmp_path / "whole.npz", tmp_path / "whole.npy")) == 0
    seconds = time.perf_counter() - began

    rng, kills = np.random.default_rng(), 0
    checkpoint, result = tmp_path / "killed.npz", tmp_path / "killed.npy"
    while kills < 30:
        checkpoint.unlink(missing_ok=True)
        for _ in range(10):
            process = start(checkpoint, result)
            time.sleep(rng.uniform(0, 0.5 * seconds))
            process.kill()  # SIGKILL
            if finish(process) == 0:
                break
            kills += 1
            if checkpoint.exists():
                assert 0 <= minissl.load(checkpoint, minissl.MLP((16, 8, 16), "tanh")) <= 60
        assert finish(start(checkpoint, result)) == 0
        assert result.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_seed_is_kept_from_before_the_first_epoch(tmp_path):
    """Without a seed every run is another; but one that dies in its first epoch goes on as the one that it was."""

    def run(network_seed, dies=False):
        net = minissl.MLP((6, 4, 6), "tanh", rng=network_seed)
        x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
        training = minissl.train_epochs(
            net, x, noisy if not dies else dying, minissl.squared_error, epochs=1, checkpoint=path
        )
        list(training)
        return net.theta.tobytes()

    def dying(x, rng):
        raise KeyboardInterrupt

    path = tmp_path / "c.npz"
    with pytest.raises(KeyboardInterrupt):
        run(1, dies=True)
    started = path.read_bytes()
    ends = []
    for network_seed in (2, 3):
        path.write_bytes(started)
        ends.append(run(network_seed))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "bits", [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]
)
def test_every_generator_is_saved_and_goes_on_where_it_was(tmp_path, bits):
    net, rng, other = minissl.MLP((3, 2)), np.random.Generator(bits(0)), np.random.Generator(bits(1))
    rng.integers(9, size=3, dtype=np.int32)  # an odd number of half words
    minissl.save(tmp_path / "c.npz", net, rng=rng)
    minissl.load(tmp_path / "c.npz", net, rng=other)
    assert np.array_equal(rng.integers(9, size=7, dtype=np.int32), other.integers(9, size=7, dtype=np.int32))
    wrong = np.random.Generator(np.random.PCG64() if bits is not np.random.PCG64 else np.random.MT19937())
    with pytest.raises(ValueError, match=f"generator '{bits.__name__}', expected"):
        minissl.load(tmp_path / "c.npz", net, rng=wrong)


def test_a_saved_network_is_loaded_to_the_bit(tmp_path):
    net, other = (minissl.MLP((5, 4, 3), rng=seed) for seed in (0, 1))
    minissl.save(tmp_path / "net.npz", net)
    assert minissl.load(tmp_path / "net.npz", other) == 0
    assert other.theta.tobytes() == net.theta.tobytes()
    assert np.shares_memory(other.theta, other.weights[0])


def test_every_truncation_and_every_changed_byte_is_refused_or_harmless(tmp_path):
    """A byte of the archive (a time stamp, say) may change and leave the contents whole; else it is refused."""
    trained(tmp_path / "good.npz", 1)
    good = (tmp_path / "good.npz").read_bytes()
    right = minissl.MLP((6, 4, 6), "tanh")
    minissl.load(tmp_path / "good.npz", right)
    rng = np.random.default_rng(0)
    damaged = [good[:n] for n in rng.integers(0, len(good), 100)]
    for i in rng.integers(0, len(good), 300):
        damaged.append(good[:i] + bytes([good[i] ^ rng.integers(1, 256)]) + good[i + 1 :])
    refused = 0
    for content in damaged:
        (tmp_path / "bad.npz").write_bytes(content)
        net = minissl.MLP((6, 4, 6), "tanh", rng=9)
        before = net.theta.copy()
        try:
            minissl.load(tmp_path / "bad.npz", net)
            assert np.array_equal(net.theta, right.theta)
        except ValueError as error:
            refused += 1
            assert "checkpoint" in str(error)
            assert np.array_equal(net.theta, before)
    assert refused >= 300


def test_edited_contents_and_pickles_are_refused(tmp_path):
    trained(tmp_path / "good.npz", 1)
    contents = dict(np.load(tmp_path / "good.npz"))
    contents["theta"][0] += 1
    np.savez(tmp_path / "edited.npz", **contents)
    with pytest.raises(ValueError, match="altered"):
        minissl.load(tmp_path / "edited.npz", minissl.MLP((6, 4, 6), "tanh"))
    np.savez(tmp_path / "pickle.npz", digest="x", theta=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="cannot be read"):
        minissl.load(tmp_path / "pickle.npz", minissl.MLP((6, 4, 6), "tanh"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (minissl.MLP((6, 5, 6), "tanh"), "architecture '6-4-6 tanh', expected '6-5-6 tanh'"),
        (minissl.MLP((6, 4, 6), "relu"), "architecture"),
        (minissl.MLP((6, 4, 6), "tanh", dtype="float64"), "dtype 'float32', expected 'float64'"),
    ],
)
def test_another_network_is_refused(tmp_path, other, message):
    trained(tmp_path / "c.npz", 1)
    with pytest.raises(ValueError, match=message):
        minissl.load(tmp_path / "c.npz", other)


def test_another_optimizer_a_missing_state_and_a_missing_file_are_refused(tmp_path):
    trained(tmp_path / "c.npz", 1)
    net = minissl.MLP((6, 4, 6), "tanh")
    with pytest.raises(ValueError, match="optimizer 'Adam', expected 'SGD'"):
        minissl.load(tmp_path / "c.npz", net, minissl.SGD())
    minissl.save(tmp_path / "bare.npz", net)
    with pytest.raises(ValueError, match="optimizer None, expected 'Adam'"):
        minissl.load(tmp_path / "bare.npz", net, minissl.Adam())
    with pytest.raises(FileNotFoundError):
        minissl.load(tmp_path / "none.npz", net)


def renewed(source, target, header=(), drop=(), **arrays):
    """A checkpoint edited by somebody who knows how to make its digest right again."""
    contents = {name: a for name, a in np.load(source).items() if name != "digest"} | arrays
    edited = json.loads(str(contents["header"])) | dict(header)
    contents["header"] = np.array(json.dumps({k: v for k, v in edited.items() if k not in drop}))
    contents = {name: np.asarray(a) for name, a in contents.items() if name not in drop}
    digest = hashlib.sha256()
    for name in sorted(contents):
        a = np.ascontiguousarray(contents[name])
        digest.update(f"{name} {a.dtype.str} {a.shape} ".encode() + a.tobytes())
    np.savez(target, digest=digest.hexdigest(), **contents)


P = minissl.MLP((6, 4, 6)).theta.size
EDITS = [
    *({"drop": [part]} for part in ("theta", "state0", "state2", "format", "architecture", "dtype", "optimizer")),
    *({"drop": [part]} for part in ("generator", "epoch", "steps", "random state", "data")),
    *({"header": {"epoch": value}} for value in (-1, 1.5, "1", None, True, [1], {}, 10**400)),
    *({"header": {"steps": value}} for value in (-1, 0.5, "4", None, False)),
    *({"header": {"random state": value}} for value in (None, 3, "x", [], {}, {"bit_generator": "PCG64"})),
    {"header": {"random state": {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0}}},
    {"header": {"generator": "MT19937"}},
    {"header": {"optimizer": {"kind": "Adam"}}},
    {"header": {"data": 3}},
    {"header": {"data": ["x"]}},
    {"theta": np.full(P, np.nan, np.float32)},
    {"theta": np.zeros(P)},  # float64
    {"theta": np.zeros(P - 1, np.float32)},
    {"theta": np.zeros((P, 1), np.float32)},
    {"theta": np.array("theta")},
    {"state1": np.full(P, -np.inf, np.float32)},
    {"state1": np.zeros(1, np.float32)},
    {"state1": np.zeros(P, np.int8)},
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: str(edit)[:60])
def test_a_checkpoint_edited_with_care_is_refused_and_changes_nothing(tmp_path, edit):
    trained(tmp_path / "good.npz", 1)
    renewed(tmp_path / "good.npz", tmp_path / "same.npz")
    trained(tmp_path / "same.npz", 1)  # so the digest is made right
    renewed(tmp_path / "good.npz", tmp_path / "bad.npz", **edit)
    net, adam, rng = minissl.MLP((6, 4, 6), "tanh", rng=9), minissl.Adam(), np.random.default_rng(9)
    adam.step(np.ones(P, np.float32))
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)

    def everything():
        return net.theta.tobytes(), adam.t, [a.tobytes() for a in adam.state], rng.bit_generator.state

    before = everything()
    with pytest.raises(ValueError, match=r"checkpoint: .*bad.npz .*expected|epochs: got 3, expected at least the 1000"):
        training = minissl.train_epochs(
            net, x, noisy, minissl.squared_error, epochs=3, optimizer=adam, rng=rng, checkpoint=tmp_path / "bad.npz"
        )
        next(training)
    assert everything() == before


def test_training_on_other_data_or_for_fewer_epochs_is_refused_and_load_is_the_way_out(tmp_path):
    net, _ = trained(tmp_path / "c.npz", 3)
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    other = minissl.MLP((6, 4, 6), "tanh", rng=9)
    before = other.theta.copy()
    for data in (x[:49], x + 1, x[::-1]):
        with pytest.raises(ValueError, match="c.npz holds training on other data, expected the same x"):
            next(
                minissl.train_epochs(other, data, noisy, minissl.squared_error, epochs=4, checkpoint=tmp_path / "c.npz")
            )
    with pytest.raises(ValueError, match="epochs: got 2, expected at least the 3"):
        next(minissl.train_epochs(other, x, noisy, minissl.squared_error, epochs=2, checkpoint=tmp_path / "c.npz"))
    assert np.array_equal(other.theta, before)
    assert minissl.load(tmp_path / "c.npz", other) == 3
    assert np.array_equal(other.theta, net.theta)
    assert len(minissl.train(other, x + 1, noisy, minissl.squared_error, epochs=1, checkpoint=tmp_path / "d.npz")) == 1


@pytest.mark.parametrize("N", [7, 100, 199, 250])
def test_other_rows_at_the_end_of_the_data_are_noticed(tmp_path, N):
    """Where the last hundredth of the rows, or of fewer than a hundred the last, is another, the data are others."""
    x = np.random.default_rng(0).standard_normal((N, 6), dtype=np.float32)
    start = lambda data: next(  # noqa: E731
        minissl.train_epochs(
            minissl.MLP((6, 2, 6), rng=0), data, noisy, minissl.squared_error, epochs=2, checkpoint=tmp_path / "e.npz"
        )
    )
    start(x)
    changed = x.copy()
    changed[-max(1, -(-N // 100)) :] += 1
    with pytest.raises(ValueError, match="other data"):
        start(changed)


def test_a_relative_path_is_the_one_of_the_call(tmp_path, monkeypatch):
    """And half a file that a killed process left beside it is no obstacle."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.npz.0.part").write_bytes(b"half of a ch")
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    training = minissl.train_epochs(
        minissl.MLP((6, 4, 6)), x, noisy, minissl.squared_error, epochs=3, checkpoint="c.npz"
    )
    next(training)
    monkeypatch.chdir(tmp_path / "elsewhere")
    list(training)
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "c.npz.0.part", "elsewhere"]
    assert not os.listdir(tmp_path / "elsewhere")
    assert minissl.load(tmp_path / "c.npz", minissl.MLP((6, 4, 6))) == 3


def test_invalid_arguments_are_named_before_any_training(tmp_path):
    net = minissl.MLP((6, 4, 6), "tanh")
    for path in (3, None, b"c.npz"):
        with pytest.raises(TypeError, match="checkpoint: got .*, expected a path"):
            minissl.save(path, net)
        with pytest.raises(TypeError, match="checkpoint: got .*, expected a path"):
            minissl.load(path, net)
    with pytest.raises(FileNotFoundError, match="checkpoint: got .*expected a directory that exists"):
        minissl.train(
            net, np.eye(6, dtype=np.float32), noisy, minissl.squared_error, epochs=1, checkpoint=tmp_path / "no/c.npz"
        )
    for arguments, name in (
        (("net",), "net"),
        ((net, "adam"), "optimizer"),
        ((net, minissl.Adam), "optimizer"),
        ((net, None, 3), "rng"),
        ((net, None, None, -1), "epoch"),
        ((net, None, None, 1.5), "epoch"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"{name}: got"):
            minissl.save(tmp_path / "c.npz", *arguments)
    assert os.listdir(tmp_path) == []
    (tmp_path / "directory").mkdir()
    for call in (minissl.save, minissl.load):
        with pytest.raises(ValueError, match="checkpoint: got the directory .*, expected a file"):
            call(tmp_path / "directory", net)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # zipfile on the way out, in NumPy 2.0
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is at hand on Linux alone")
def test_a_device_that_is_full_stops_training_and_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    """The file beside leads to /dev/full, where every write fails as it would on a full disk."""
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    arguments = {"epochs": 3, "checkpoint": tmp_path / "c.npz"}
    net = minissl.MLP((6, 4, 6), "tanh", rng=1)
    training = minissl.train_epochs(net, x, noisy, minissl.squared_error, rng=2, **arguments)
    next(training)
    good = (tmp_path / "c.npz").read_bytes()
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
    (tmp_path / f"c.npz.{uuid.UUID(int=0).hex}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        next(training)
    assert np.isfinite(net.theta).all()
    assert (tmp_path / "c.npz").read_bytes() == good
    assert os.listdir(tmp_path) == ["c.npz"]
    minissl.train(net, x, noisy, minissl.squared_error, **arguments)
    assert net.theta.tobytes() == trained(tmp_path / "whole.npz", 3)[0].theta.tobytes()


@pytest.mark.parametrize("moment", ["savez", "fsync", "replace"])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, moment):
    net, _ = trained(tmp_path / "c.npz", 1)
    good = (tmp_path / "c.npz").read_bytes()

    def full(*arguments, **contents):
        if moment == "savez":
            arguments[0].write(b"half of a ch")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np if moment == "savez" else os, moment, full)
    with pytest.raises(OSError, match="No space left"):
        minissl.save(tmp_path / "c.npz", net)
    assert (tmp_path / "c.npz").read_bytes() == good
    assert os.listdir(tmp_path) == ["c.npz"]


def save_again_and_again(path, seed, times):
    net = minissl.MLP((40, 30, 40), rng=seed)
    for epoch in range(times):
        minissl.save(path, net, epoch=epoch)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_two_processes_may_write_one_checkpoint_and_a_third_read_it(tmp_path):
    """Every read finds one whole file, of the one or the other; no unfinished file stays behind."""
    path, fork = tmp_path / "c.npz", multiprocessing.get_context("fork")
    save_again_and_again(path, 0, 1)
    known = [minissl.MLP((40, 30, 40), rng=seed).theta.tobytes() for seed in (0, 1)]
    writers = [fork.Process(target=save_again_and_again, args=(path, seed, 60)) for seed in (0, 1)]
    for writer in writers:
        writer.start()
    net, reads = minissl.MLP((40, 30, 40)), 0
    while any(writer.is_alive() for writer in writers):
        minissl.load(path, net)
        assert net.theta.tobytes() in known
        reads += 1
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads > 10
    assert os.listdir(tmp_path) == ["c.npz"]


def test_a_damaged_file_is_closed_again(tmp_path):
    trained(tmp_path / "c.npz", 1)
    (tmp_path / "bad.npz").write_bytes((tmp_path / "c.npz").read_bytes()[:-40])
    with warnings.catch_warnings(), pytest.raises(ValueError, match="cannot be read"):
        warnings.simplefilter("error", ResourceWarning)
        minissl.load(tmp_path / "bad.npz", minissl.MLP((6, 4, 6), "tanh"))
    gc.collect()  # a file left open would warn here, which pytest turns into an error


def test_an_optimizer_of_another_network_is_refused_before_a_file_is_written(tmp_path):
    adam = minissl.Adam()
    adam.step(np.ones(3, np.float32))
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    with pytest.raises(ValueError, match="optimizer: has served another network, of 3 parameters of float32, expected"):
        minissl.train(
            minissl.MLP((6, 4, 6)), x, noisy, minissl.squared_error, epochs=1, optimizer=adam, checkpoint=tmp_path / "c"
        )
    assert os.listdir(tmp_path) == []
