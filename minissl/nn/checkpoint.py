"""Checkpoints: a network, its optimizer and the random state in one file that is either valid or rejected.

Training that takes hours must survive a power cut, and what it resumes from must be what it left. Three properties:

* **Atomic.** A file is written beside the old one, under a name of its own, flushed to the disk and renamed over it.
  Renaming is one operation of the file system: at whatever moment the process dies, and however many processes write or
  read the same checkpoint, its name holds one whole checkpoint. (A process that is killed in the middle may leave its
  unfinished `.part` file behind, which can be deleted.)
* **Plain.** It is an `.npz` archive without pickled objects, so that nothing in it is ever executed.
* **Verified.** It carries a SHA-256 digest of its contents, so that a changed byte is noticed. A digest is no
  signature: whoever edits the file can renew it. So every part is checked before any is used, and a file that does not
  fit the network, the optimizer, the generator or the data is rejected as a whole.

>>> import tempfile, os
>>> from minissl.nn.mlp import MLP
>>> net, other = MLP((3, 4, 2), rng=0), MLP((3, 4, 2), rng=1)
>>> with tempfile.TemporaryDirectory() as folder:
...     save(os.path.join(folder, "net.npz"), net)
...     epochs = load(os.path.join(folder, "net.npz"), other)
>>> print(epochs, (net.theta == other.theta).all())
0 True
"""

import hashlib
import json
import os
import pathlib
import uuid

import numpy as np

from minissl._arrays import on_host
from minissl._checks import check_count, check_saved_parts

FORMAT = "minissl checkpoint 1"


def save(path, net, optimizer=None, rng=None, epoch: int = 0, x=None) -> None:
    """Write a checkpoint, atomically; `epoch` is the number of epochs done.

    Of the data x a fingerprint is kept: shape, dtype and the digest of up to a hundred rows. OSError if the file cannot
    be written, for example for lack of space; the one that was there before stays. FileNotFoundError without a
    directory.
    """
    path = located(path)
    header = _kinds(net, optimizer, rng) | {"epoch": check_count(epoch, "epoch", low=0), "data": _fingerprint(x)}
    contents = {"theta": on_host(net.theta)}
    if optimizer is not None:
        header["steps"] = optimizer.t
        contents |= {f"state{i}": on_host(a) for i, a in enumerate(optimizer.state)}
    if rng is not None:
        header["random state"] = rng.bit_generator.state
    contents["header"] = np.array(json.dumps(header, default=lambda a: a.tolist()))
    contents["digest"] = np.array(_digest(contents))
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(beside, "wb") as file:
            np.savez(file, **contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load(path, net, optimizer=None, rng=None) -> int:
    """Read a checkpoint into a network (and optimizer and generator) of the same kind, in place; the epochs done.

    Nothing is changed unless all of the file is in order. FileNotFoundError if there is no such file.
    """
    return _restore(_fit(located(path), net, optimizer, rng), net, optimizer, rng)


def resume(path, net, optimizer, rng, x, epochs: int) -> int:
    """What training does before its first epoch: load the file if there is one, else write it; the epochs done."""
    if not path.exists():
        save(path, net, optimizer, rng, 0, x)  # so that a path that cannot be written is known before the first epoch
        return 0
    contents = _fit(path, net, optimizer, rng)
    if contents.get("data") != _fingerprint(x):
        raise ValueError(
            f"checkpoint: {path} holds training on other data, expected the same x; choose another path, or call "
            "load(path, net) to start from its parameters"
        )
    if contents["epoch"] > epochs:
        raise ValueError(f"epochs: got {epochs}, expected at least the {contents['epoch']} that {path} holds")
    return _restore(contents, net, optimizer, rng)


def located(path) -> pathlib.Path:
    """The path from the root of the file system, so that a change of directory does not matter."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: got {path!r}, expected a path")
    path = pathlib.Path(path).resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"checkpoint: got {path}, expected a directory that exists")
    if path.is_dir():
        raise ValueError(f"checkpoint: got the directory {path}, expected a file")
    return path


def _kinds(net, optimizer, rng):
    """What must be the same in the file and in the arguments."""
    check_saved_parts(net, optimizer, rng)
    return {
        "format": FORMAT,
        "architecture": net.architecture,
        "dtype": str(net.theta.dtype),
        "optimizer": None if optimizer is None else type(optimizer).__name__,
        "generator": None if rng is None else type(rng.bit_generator).__name__,
    }


def _fit(path, net, optimizer, rng):
    """The contents of a checkpoint that fits the arguments, or an error. Nothing is changed."""
    wanted, contents = _kinds(net, optimizer, rng), _read(path)

    def check(right, name, held, expected):
        if not right:
            raise ValueError(f"checkpoint: {path} holds {name} {held}, expected {expected}")

    for key, kind in wanted.items():
        held = contents.get(key)
        check(kind is None or isinstance(held, str) and held == kind, key, repr(held), repr(kind))
    for key in ("epoch", "steps") if optimizer else ("epoch",):
        n = contents.get(key)
        check(type(n) is int and n >= 0, key, repr(n), "a number from 0")
    for name in ("theta", *_states(contents, optimizer)):
        a, like = contents.get(name), net.theta
        held = f"{a.dtype} of shape {a.shape}" if isinstance(a, np.ndarray) else repr(a)
        right = held == f"{like.dtype} of shape {like.shape}" and np.isfinite(a).all()
        check(right, name, held, f"{like.size} finite numbers of {like.dtype}")
    if rng is not None:
        try:
            type(rng.bit_generator)().state = contents["random state"]
        except Exception as error:  # each bit generator has its own
            check(False, "random state", repr(error), f"that of a {wanted['generator']}")
    return contents


def _states(contents, optimizer):
    """The names of the optimizer's arrays; there are none before its first step."""
    return [f"state{i}" for i in range(optimizer.arrays)] if optimizer and contents["steps"] else []


def _restore(contents, net, optimizer, rng):
    net.theta[:] = np.asarray(contents["theta"], like=net.theta)
    if optimizer is not None:
        optimizer.t = contents["steps"]
        optimizer.state = tuple(np.asarray(contents[name], like=net.theta) for name in _states(contents, optimizer))
    if rng is not None:
        rng.bit_generator.state = contents["random state"]
    return contents["epoch"]


def _read(path):
    """Header and arrays in one dictionary, whatever they hold."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        digest = str(arrays.pop("digest"))
        header = dict(json.loads(str(arrays["header"])))
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, struct, json and NumPy each have their own ways to say "no checkpoint"
        raise ValueError(f"checkpoint: {path} cannot be read; it is truncated or no checkpoint ({error})") from None
    if digest != _digest(arrays):
        raise ValueError(f"checkpoint: {path} was altered after it was written; its digest does not match")
    return arrays | header


def _digest(arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {a.dtype.str} {a.shape} ".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


def _fingerprint(x):
    """What tells data apart: shape, dtype, and the digest of up to a hundred rows, evenly spaced. None without data."""
    if x is None:
        return None
    rows = on_host(x[:: max(1, -(-len(x) // 100))])
    return f"{x.shape} {x.dtype} {_digest({'x': rows})}"
