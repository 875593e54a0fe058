"""Checkpoints: a network, its optimizer and the random state in one file that is either whole or refused.

A file is written beside the old one, flushed to the disk and renamed over it: whatever moment the process dies at, the
name holds the old checkpoint or the new one, never half of one. It is a plain `.npz` without pickled objects, so that
nothing in it is ever executed, and carries a SHA-256 digest of its contents, so that a changed byte is noticed. A
digest is not a signature: who edits a file can renew it. So every part is looked at before any is used.
"""

import hashlib
import json
import os
import pathlib

import numpy as np

from minissl.backend import count, namespace

FORMAT = "minissl checkpoint 1"


def save(path, net, optimizer=None, rng=None, epoch=0, x=None):
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path : path
    net : MLP
    optimizer : Adam or SGD, optional
    rng : numpy.random.Generator, optional
    epoch : int
        Epochs done.
    x : ndarray, optional
        The data, of which a fingerprint is kept: shape, dtype and the digest of a hundred rows.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    OSError
        If it cannot be written, for example for want of space; the file that was there before stays.
    """
    path = located(path)
    beside = path.with_name(path.name + ".part")
    header = _kinds(net, optimizer, rng) | {"epoch": count(epoch, "epoch", low=0), "data": _fingerprint(x)}
    contents = {"theta": _host(net.theta)}
    if optimizer is not None:
        header["steps"] = optimizer.t
        contents |= {f"state{i}": _host(a) for i, a in enumerate(optimizer.state)}
    if rng is not None:
        header["random state"] = rng.bit_generator.state
    contents["header"] = np.array(json.dumps(header, default=lambda a: a.tolist()))
    contents["digest"] = np.array(_digest(contents))
    try:
        with open(beside, "wb") as file:
            np.savez(file, **contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load(path, net, optimizer=None, rng=None):
    """Read a checkpoint into a network (and optimizer and generator) of the same kind, in place.

    Nothing is changed unless all of the file is in order.

    Returns
    -------
    int
        Epochs done.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If an argument is unfit, or the file is truncated, altered, no checkpoint, or of another architecture, dtype,
        optimizer or generator.
    """
    return _restore(_fit(located(path), net, optimizer, rng), net, optimizer, rng)


def resume(path, net, optimizer, rng, x, epochs):
    """What `train` does before its first epoch: load the file if there is one, else write it.

    Returns
    -------
    int
        Epochs done.

    Raises
    ------
    TypeError, ValueError
        As `load`, and if the file is of training on other data than `x`, or of more epochs.
    """
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


def located(path):
    """The path from the root of the file system, so that a change of directory does not matter.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or that of a directory.
    FileNotFoundError
        If its directory is not there.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: got {path!r}, expected a path")
    path = pathlib.Path(path).resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"checkpoint: got {path}, expected a directory that exists")
    if path.is_dir():
        raise ValueError(f"checkpoint: got the directory {path}, expected a file")
    return path


def _kinds(net, optimizer, rng):
    """What must be the same in a file and at hand."""
    if not hasattr(net, "architecture"):
        raise TypeError(f"net: got {net!r}, expected an MLP")
    if optimizer is not None and not hasattr(optimizer, "state"):
        raise TypeError(f"optimizer: got {optimizer!r}, expected an optimizer, such as Adam()")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {rng!r}, expected a numpy.random.Generator")
    return {
        "format": FORMAT,
        "architecture": net.architecture,
        "dtype": str(net.theta.dtype),
        "optimizer": None if optimizer is None else type(optimizer).__name__,
        "generator": None if rng is None else type(rng.bit_generator).__name__,
    }


def _fit(path, net, optimizer, rng):
    """The contents of a checkpoint, which fits what is at hand, or an error. Nothing is changed."""
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
    xp = namespace(net.theta)
    net.theta[:] = xp.asarray(contents["theta"])
    if optimizer is not None:
        optimizer.t = contents["steps"]
        optimizer.state = tuple(xp.asarray(contents[name]) for name in _states(contents, optimizer))
    if rng is not None:
        rng.bit_generator.state = contents["random state"]
    return contents["epoch"]


def _read(path):
    """Header and arrays in one dictionary, whatever they hold."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
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
    """What tells data apart: shape, dtype, and the digest of a hundred rows, evenly spaced. None without data."""
    if x is None:
        return None
    rows = _host(x[:: max(1, len(x) // 100)][:100])
    return f"{x.shape} {x.dtype} {_digest({'x': rows})}"


def _host(a):
    return a if isinstance(a, np.ndarray) else namespace(a).asnumpy(a)
