"""Real data that the demo packages ship in their wheels; nothing is fetched.

Photographs from scikit-image: astronaut (Eileen Collins, by NASA, public domain), chelsea (Stefan van der Walt, CC0),
coffee (Rachel Michetti, CC0), rocket (SpaceX, public domain). From scikit-learn, both CC BY 2.0: china (danielbuechele,
flickr.com/photos/danielbuechele), flower (its README names danielbuechele but links to flickr.com/photos/vultilion).
Digits: 1,797 handwritten digits of 8 x 8 pixels (Alpaydin & Kaynak 1998, UCI repository, CC BY 4.0), from scikit-learn.
Time series: in the folder demos/data/, source and licence at the head of each file.
"""

import functools

import before  # noqa: F401  one BLAS thread, before NumPy is loaded
import numpy as np

TRAIN_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "china")
TEST_PHOTOGRAPHS = ("chelsea", "flower")


@functools.cache
def photograph(name):
    """A colour photograph with values in [0, 1], shape (height, width, 3), float32; read once."""
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        image = load_sample_image(f"{name}.jpg")
    else:
        import skimage.data

        image = getattr(skimage.data, name)()
    image = image.astype(np.float32) / 255
    image.flags.writeable = False
    return image


def grey(image):
    """Luminance (ITU-R BT.601) of a colour image, shape (height, width)."""
    return image @ np.array([0.299, 0.587, 0.114], dtype=image.dtype)


def windows(images, size, number, rng):
    """Windows at random places of the images, in equal numbers, shape (number, size, size) or (..., 3) of colour."""
    rng = np.random.default_rng(rng)
    out = []
    for i, image in enumerate(images):
        share = number // len(images) + (i < number % len(images))
        rows = rng.integers(image.shape[0] - size + 1, size=share)
        columns = rng.integers(image.shape[1] - size + 1, size=share)
        every = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))
        cut = every[rows, columns]
        out.append(np.moveaxis(cut, 1, -1) if image.ndim == 3 else cut)
    return np.concatenate(out)[rng.permutation(number)]


def digits():
    """Handwritten digits: (x of shape (1797, 64) with values in [0, 1], float32; labels 0 .. 9)."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def fashion_mnist(directory):
    """Fashion-MNIST in IDX format (gzipped or not): (x of shape (60000, 784) in [0, 1], float32; labels 0 .. 9)."""
    import gzip
    import pathlib

    def read(stem, header):
        for path in (pathlib.Path(directory) / f"{stem}.gz", pathlib.Path(directory) / stem):
            if path.exists():
                raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                return np.frombuffer(raw, np.uint8, offset=header)
        raise FileNotFoundError(f"--fashion-mnist: no {stem} or {stem}.gz in {directory}")

    x = read("train-images-idx3-ubyte", 16).reshape(-1, 784)
    return x.astype(np.float32) / 255, read("train-labels-idx1-ubyte", 8).astype(int)


def series(file, column):
    """A column of demos/data/FILE.csv, float64."""
    import csv
    import pathlib

    lines = (pathlib.Path(__file__).parent / "data" / f"{file}.csv").read_text().splitlines()
    return np.array([float(row[column]) for row in csv.DictReader(line for line in lines if not line.startswith("#"))])
