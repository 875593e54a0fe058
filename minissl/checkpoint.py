"""Checkpoints: a network, its optimizer and the random state in one file that is either whole or refused.

A file is written beside the old one, flushed to the disk and renamed over it: whatever moment the process dies at, the
name holds the old checkpoint or the new one, never half of one. It is a plain `.npz` without pickled objects, so that
nothing in it is ever executed, and carries a SHA-256 digest of its contents, so that a changed byte is noticed. (A
digest shows accidents and careless edits; it is not a signature.)
"""

import hashlib
import json
import os
import pathlib

import numpy as np

from minissl.backend import namespace

FORMAT = "minissl checkpoint 1"


def exists(path):
    """Whether there is a file at `path`."""
    return pathlib.Path(path).exists()


def save(path, net, optimizer=None, rng=None, epoch=0):
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path : path
    net : MLP
    optimizer : Adam or SGD, optional
    rng : numpy.random.Generator, optional
    epoch : int
        Epochs done.

    Raises
    ------
    OSError
        If it cannot be written, for example for want of space; the file that was there before stays.
    """
    path = pathlib.Path(path)
    beside = path.with_name(path.name + ".part")
    contents = {"header": np.array(json.dumps(_header(net, optimizer, rng, epoch))), "theta": _host(net.theta)}
    if optimizer is not None:
        contents |= {f"state{i}": _host(a) for i, a in enumerate(optimizer.state)}
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
    ValueError
        If the file is truncated, altered, no checkpoint, or of another architecture, dtype or optimizer.
    """
    contents = _read(path)
    header = json.loads(str(contents["header"]))
    wanted = _header(net, optimizer, rng, 0)
    for key in ("format", "architecture", "dtype"):
        if header.get(key) != wanted[key]:
            raise ValueError(f"checkpoint: {path} holds {key} {header.get(key)!r}, expected {wanted[key]!r}")
    if contents["theta"].shape != net.theta.shape:
        raise ValueError(f"checkpoint: {path} holds {contents['theta'].size} parameters, expected {net.theta.size}")
    for key, given in (("optimizer", optimizer), ("rng", rng)):
        if given is not None and (header[key] is None or header[key]["kind"] != wanted[key]["kind"]):
            raise ValueError(f"checkpoint: {path} holds {key} {header[key]}, expected a {wanted[key]['kind']}")
    xp = namespace(net.theta)
    net.theta[:] = xp.asarray(contents["theta"])
    if optimizer is not None:
        optimizer.t = header["optimizer"]["t"]
        optimizer.state = tuple(xp.asarray(contents[f"state{i}"]) for i in range(header["optimizer"]["arrays"]))
    if rng is not None:
        rng.bit_generator.state = header["rng"]["state"]
    return header["epoch"]


def _header(net, optimizer, rng, epoch):
    return {
        "format": FORMAT,
        "architecture": net.architecture,
        "dtype": str(net.theta.dtype),
        "epoch": epoch,
        "optimizer": optimizer and {"kind": type(optimizer).__name__, "t": optimizer.t, "arrays": len(optimizer.state)},
        "rng": rng and {"kind": type(rng.bit_generator).__name__, "state": rng.bit_generator.state},
    }


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            contents = {name: file[name] for name in file.files}
        digest = str(contents.pop("digest"))
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, struct and NumPy each have their own ways to say "not a checkpoint"
        raise ValueError(f"checkpoint: {path} cannot be read; it is truncated or no checkpoint ({error})") from None
    if digest != _digest(contents):
        raise ValueError(f"checkpoint: {path} was altered after it was written; its digest does not match")
    return contents


def _digest(contents):
    digest = hashlib.sha256()
    for name in sorted(contents):
        a = np.ascontiguousarray(contents[name])
        digest.update(f"{name} {a.dtype.str} {a.shape} ".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


def _host(a):
    return a if isinstance(a, np.ndarray) else namespace(a).asnumpy(a)
