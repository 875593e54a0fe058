"""A checkpoint is whole or refused, and training resumed from one ends with the same bits."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import minissl as ssl

ROOT = pathlib.Path(__file__).parent.parent
RUN = """
import sys, numpy as np, minissl as ssl
x = np.random.default_rng(0).standard_normal((300, 16), dtype=np.float32)
net = ssl.MLP((16, 8, 16), "tanh", rng=1)
task = lambda x, rng: (x + rng.standard_normal(x.shape, dtype=x.dtype), x)
print("ready", flush=True)
list(ssl.train(net, x, task, ssl.squared_error, epochs=60, batch_size=32, rng=2, checkpoint=sys.argv[1]))
np.save(sys.argv[2], net.theta)
"""


def noisy(x, rng):
    return x + rng.standard_normal(x.shape, dtype=x.dtype), x


def trained(path, epochs, optimizer=None, seed=2):
    net = ssl.MLP((6, 4, 6), "tanh", rng=1)
    x = np.random.default_rng(0).standard_normal((50, 6), dtype=np.float32)
    losses = list(
        ssl.train(net, x, noisy, ssl.squared_error, epochs=epochs, optimizer=optimizer, rng=seed, checkpoint=path)
    )
    return net, losses


@pytest.mark.parametrize("make", [ssl.Adam, ssl.SGD])
def test_resumed_training_ends_with_the_same_bits(tmp_path, make):
    whole, losses = trained(tmp_path / "whole.npz", 7, make())
    _, first = trained(tmp_path / "parts.npz", 3, make())
    resumed, second = trained(tmp_path / "parts.npz", 7, make(), seed=99)
    assert resumed.theta.tobytes() == whole.theta.tobytes()
    assert first + second == losses
    assert trained(tmp_path / "whole.npz", 7, make())[1] == []


def test_training_killed_at_random_moments_resumes_to_the_same_bits(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}

    def start(checkpoint, result):
        command = [sys.executable, "-c", RUN, str(checkpoint), str(result)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        process.stdout.readline()
        return process

    whole = start(tmp_path / "whole.npz", tmp_path / "whole.npy")
    began = time.perf_counter()
    assert whole.wait() == 0
    seconds = time.perf_counter() - began

    rng, kills = np.random.default_rng(), 0
    while kills < 20:
        for name in ("killed.npz", "killed.npy"):
            (tmp_path / name).unlink(missing_ok=True)
        for _ in range(20 - kills):
            process = start(tmp_path / "killed.npz", tmp_path / "killed.npy")
            time.sleep(rng.uniform(0, 0.6 * seconds))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                break
            kills += 1
            if (tmp_path / "killed.npz").exists():
                assert 1 <= ssl.load(tmp_path / "killed.npz", ssl.MLP((16, 8, 16), "tanh")) <= 60
        assert start(tmp_path / "killed.npz", tmp_path / "killed.npy").wait() == 0
        assert (tmp_path / "killed.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_saved_network_is_loaded_to_the_bit(tmp_path):
    net, other = (ssl.MLP((5, 4, 3), rng=seed) for seed in (0, 1))
    ssl.save(tmp_path / "net.npz", net)
    assert ssl.load(tmp_path / "net.npz", other) == 0
    assert other.theta.tobytes() == net.theta.tobytes()
    assert np.shares_memory(other.theta, other.weights[0])


def test_every_truncation_and_every_changed_byte_is_refused_or_harmless(tmp_path):
    """A byte of the archive (a time stamp, say) may change and leave the contents whole; else it is refused."""
    trained(tmp_path / "good.npz", 1)
    good = (tmp_path / "good.npz").read_bytes()
    right = ssl.MLP((6, 4, 6), "tanh")
    ssl.load(tmp_path / "good.npz", right)
    rng = np.random.default_rng(0)
    damaged = [good[:n] for n in rng.integers(0, len(good), 100)]
    for i in rng.integers(0, len(good), 300):
        damaged.append(good[:i] + bytes([good[i] ^ rng.integers(1, 256)]) + good[i + 1 :])
    refused = 0
    for content in damaged:
        (tmp_path / "bad.npz").write_bytes(content)
        net = ssl.MLP((6, 4, 6), "tanh", rng=9)
        before = net.theta.copy()
        try:
            ssl.load(tmp_path / "bad.npz", net)
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
        ssl.load(tmp_path / "edited.npz", ssl.MLP((6, 4, 6), "tanh"))
    np.savez(tmp_path / "pickle.npz", digest="x", theta=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="cannot be read"):
        ssl.load(tmp_path / "pickle.npz", ssl.MLP((6, 4, 6), "tanh"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (ssl.MLP((6, 5, 6), "tanh"), "architecture '6-4-6 tanh', expected '6-5-6 tanh'"),
        (ssl.MLP((6, 4, 6), "relu"), "architecture"),
        (ssl.MLP((6, 4, 6), "tanh", dtype="float64"), "dtype 'float32', expected 'float64'"),
    ],
)
def test_another_network_is_refused(tmp_path, other, message):
    trained(tmp_path / "c.npz", 1)
    with pytest.raises(ValueError, match=message):
        ssl.load(tmp_path / "c.npz", other)


def test_another_optimizer_a_missing_state_and_a_missing_file_are_refused(tmp_path):
    trained(tmp_path / "c.npz", 1)
    net = ssl.MLP((6, 4, 6), "tanh")
    with pytest.raises(ValueError, match="optimizer 'Adam', expected 'SGD'"):
        ssl.load(tmp_path / "c.npz", net, ssl.SGD())
    ssl.save(tmp_path / "bare.npz", net)
    with pytest.raises(ValueError, match="optimizer None, expected 'Adam'"):
        ssl.load(tmp_path / "bare.npz", net, ssl.Adam())
    with pytest.raises(FileNotFoundError):
        ssl.load(tmp_path / "none.npz", net)


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
        ssl.save(tmp_path / "c.npz", net)
    assert (tmp_path / "c.npz").read_bytes() == good
    assert os.listdir(tmp_path) == ["c.npz"]
