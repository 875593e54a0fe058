"""How the benchmark measures: threads, peers, a quiet machine, turns, peak memory. Import it before NumPy."""

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import time

parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
parser.add_argument("--threads", type=int, default=1)
THREADS = parser.parse_known_args()[0].threads
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)
if hasattr(os, "sched_setaffinity"):  # JAX has no setting for the number of threads; the kernel has
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import numpy as np

HERE = {name: importlib.util.find_spec(name) is not None for name in ("torch", "jax", "sklearn", "statsmodels")}


def busy(seconds=0.5):
    """How many processors others keep busy: counted by the kernel while this process sleeps (else its load average)."""

    def idle():
        return sum(map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[4:6]))

    if not os.path.exists("/proc/stat"):
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    before = idle()
    time.sleep(seconds)
    return max(0.0, os.cpu_count() - (idle() - before) / (seconds * os.sysconf("SC_CLK_TCK")))


def turns(runs, rounds, seconds, wait=lambda: None):
    """Time several functions in turn, so that what the machine does meanwhile meets all of them alike.

    Parameters
    ----------
    runs : dict of str to callable
    rounds : int
        How many turns; every turn times each function once.
    seconds : float
        How long each is repeated within one turn.
    wait : callable
        Called before the clock is read: waits for a device that works on its own.

    Returns
    -------
    dict of str to ndarray, shape (rounds,)
        Seconds per call; the ratio of two is to be taken turn by turn.
    """

    def clocked(run, repeats):
        wait()
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        wait()
        return (time.perf_counter() - began) / repeats

    repeats = {}
    for name, run in runs.items():
        clocked(run, 1)
        repeats[name] = max(1, int(seconds / clocked(run, 1)))
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(clocked(run, repeats[name]))
    return {name: np.array(t) for name, t in times.items()}


def median(values):
    """Median and quartiles, as text."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g} ({low:.3g}-{high:.3g})"


def peak(setup, run):
    """Memory in MB that the statement `run` needs on top of what `setup` holds, in a process of its own.

    Both see the functions of networks.py and estimators.py. It is the growth of the largest resident size as the
    kernel records it (Linux only); what a library loads or compiles on its first call is part of it.
    """
    code = (
        f"from networks import *; from estimators import *; {setup}\n"
        "largest = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"  # forget what the setup needed for a moment
        f"before = largest(); {run}; print(largest() - before)"
    )
    command = [sys.executable, "-c", code, "--threads", str(THREADS)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**10
