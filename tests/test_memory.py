"""What large data cost besides their own memory: an order of the samples in training, blocks of rows in PCA."""

import tracemalloc

import numpy as np
import pytest

from minissl import MLP, squared_error, train
from minissl.linear import pca
from minissl.tasks.autoencoder import reconstruct
from minissl.tasks.prediction import next_value, windows

MiB = 2**20
SAMPLES = 1_000_000
ORDER = 8 * SAMPLES  # bytes of a permutation of the samples


def peak(run):
    """The most memory, in bytes, that NumPy and Python hold at a time beyond what they hold already."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("x", "task", "sizes"),
    [
        (np.zeros((SAMPLES, 64), "float32"), reconstruct(), (64, 8, 64)),
        (windows(np.zeros(SAMPLES, "float32"), 65), next_value(64), (64, 8, 1)),  # a view: 4 MB that look like 260
    ],
    ids=["samples", "windows"],
)
def test_training_holds_an_order_of_the_samples_and_a_few_batches(x, task, sizes):
    """An epoch on a million samples, whatever they are, holds a permutation of them and less than 2 MiB besides."""
    net = MLP(sizes, rng=0)
    held = peak(lambda: train(net, x, task, squared_error, epochs=1, batch_size=1000, rng=0))
    assert held <= ORDER + 2 * MiB


def test_pca_reads_a_file_in_blocks(tmp_path):
    """PCA of 64 MiB mapped into memory from a file holds at most 3 MiB of them at a time."""
    rng, shape = np.random.default_rng(0), (2**18, 64)
    written = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype="float32", shape=shape)
    for block in np.split(written, 64):
        block[:] = rng.random(block.shape, dtype="float32")
    written.flush()
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert peak(lambda: pca.by_svd(x, 10)) <= 3 * MiB
    assert peak(x.copy) >= x.nbytes  # what a copy would have shown
