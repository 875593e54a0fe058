"""Augmentations: against loops, against SciPy's interpolation, and in the cases that can be seen by eye."""

import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from minissl.tasks.augmentations import _interpolate, affine, compose, contrast, erase, gaussian_noise

cupy = device()
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 6)
AUGMENTATIONS = [
    affine((3, 4), shift=1, rotation=20, shear=0.3, scale=1.2),
    erase((3, 4), (2, 1)),
    gaussian_noise(0.3),
    contrast(0.5),
    compose(affine((3, 4), shift=0.5), gaussian_noise(0.1), contrast(0.2)),
]


def numbers(seed, N):
    """The five numbers in [−1, 1] of each image, in the order in which they are drawn."""
    return 2 * np.random.default_rng(seed).random((5, N)) - 1


def value_at(image, row, column):
    """Bilinear interpolation of one image at one place, zero outside, by its four neighbours."""
    h, w = image.shape
    total = 0.0
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < h and 0 <= c < w:
                total += (1 - abs(row - r)) * (1 - abs(column - c)) * image[r, c]
    return total


@pytest.mark.equation("augmentations.1")
@given(seed=seeds, h=sides, w=sides, shift=st.floats(0, 1), rotation=st.floats(0, 180), shear=st.floats(0, 1))
def test_affine_maps_against_loops(seed, h, w, shift, rotation, shear):
    """Every pixel of three images equals the original at c + t + B (p − c), one pixel, one image at a time."""
    x = np.random.default_rng(seed).standard_normal((3, h * w))
    changed, scale = affine((h, w), shift, rotation, shear, scale=1.5)(x, seed), 1.5
    u, centre = numbers(seed, 3), np.array([(h - 1) / 2, (w - 1) / 2])
    for i in range(3):
        phi, k, s = math.radians(rotation) * u[2, i], shear * u[3, i], scale ** u[4, i]
        B = np.array([[math.cos(phi), -math.sin(phi)], [math.sin(phi), math.cos(phi)]]) @ np.array([[1, k], [0, 1]]) / s
        for p in np.ndindex(h, w):
            q = centre + shift * u[:2, i] + B @ (np.array(p) - centre)
            expected = value_at(x[i].reshape(h, w), *q)
            assert changed[i].reshape(h, w)[p] == pytest.approx(expected, abs=1e-9)


@pytest.mark.equation("augmentations.2")
@given(seed=seeds, h=sides, w=sides)
def test_interpolation_against_scipy(seed, h, w):
    """At random places within and outside of the image the value equals that of scipy.ndimage.map_coordinates."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, h * w))
    q = rng.uniform(-2, 8, (2, 2, 20))
    padded = np.pad(x.reshape(2, h, w), ((0, 0), (1, 1), (1, 1)))
    expected = [map_coordinates(padded[i], q[i] + 1, order=1, mode="constant") for i in range(2)]
    np.testing.assert_allclose(_interpolate(x, (h, w), q), expected, atol=1e-12)


@pytest.mark.equation("augmentations.1", "augmentations.2")
def test_maps_that_can_be_seen_by_eye():
    """Without any change allowed an image stays as it is; at its centre a linear image has the value of c + t; the mean
    of all shifts by up to one pixel spreads a single pixel over its neighbours, symmetrically."""
    x = np.random.default_rng(0).random((4, 30))
    np.testing.assert_allclose(affine((5, 6))(x, 0), x, atol=1e-15)
    rows, columns = np.mgrid[:11, :11].astype(float)
    plane = np.repeat((2 * rows - columns + 3).reshape(1, -1), 50, axis=0)
    u = numbers(0, 50)
    changed = affine((11, 11), shift=1.0, rotation=30, shear=0.2, scale=1.3)(plane, 0).reshape(50, 11, 11)
    for i in range(50):  # at the centre: q = c + t
        t = u[:2, i]
        assert changed[i, 5, 5] == pytest.approx(2 * (5 + t[0]) - (5 + t[1]) + 3)
    point = np.zeros((20_000, 25))
    point[:, 12] = 1
    spread = affine((5, 5), shift=1.0)(point, 0).mean(axis=0).reshape(5, 5)
    weights = np.array([0, 1 / 4, 1 / 2, 1 / 4, 0])  # the mean of max(0, 1 − |t + k|) over t in [−1, 1]
    np.testing.assert_allclose(spread, np.outer(weights, weights), atol=5 * 0.5 / len(point) ** 0.5)


@pytest.mark.equation("augmentations.1")
def test_the_image_grows_by_the_scale_and_turns_by_the_angle():
    """A wide spot keeps its mass times s², its centre moves by −B⁻¹t, and its axis turns by the inverse of B."""
    rows, columns = np.mgrid[:61, :61] - 30.0
    spot = np.exp(-((rows / 2) ** 2) / 2 - ((columns / 4) ** 2) / 2).reshape(1, -1)
    for seed in range(5):
        u = numbers(seed, 1)[:, 0]
        image = affine((61, 61), shift=3, rotation=40, scale=1.2)(spot, seed).reshape(61, 61)
        s, phi = 1.2 ** u[4], math.radians(40) * u[2]
        R = np.array([[math.cos(phi), -math.sin(phi)], [math.sin(phi), math.cos(phi)]])
        assert image.sum() == pytest.approx(spot.sum() * s**2, rel=0.01)
        places = np.stack([rows.ravel(), columns.ravel()])
        mean = places @ image.ravel() / image.sum()
        np.testing.assert_allclose(mean, -s * R.T @ (3 * u[:2]), atol=0.05)
        covariance = (places - mean[:, None]) * image.ravel() @ (places - mean[:, None]).T / image.sum()
        np.testing.assert_allclose(covariance, s**2 * R.T @ np.diag([4, 16]) @ R, atol=0.5)


@pytest.mark.equation("augmentations.3")
@given(seed=seeds, h=sides, w=sides, data=st.data())
def test_erasing_makes_one_rectangle_zero(seed, h, w, data):
    """In each image the changed pixels are exactly one rectangle of the given size, and are zero."""
    a, b = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    x = 1 + np.random.default_rng(seed).random((3, h * w))
    for before, after in zip(x.reshape(3, h, w), erase((h, w), (a, b))(x, seed).reshape(3, h, w), strict=True):
        rows, columns = np.nonzero(after == 0)
        assert len(rows) == a * b
        assert rows.max() - rows.min() == a - 1 and columns.max() - columns.min() == b - 1
        assert np.array_equal(after[after != 0], before[after != 0])


@pytest.mark.equation("augmentations.3")
def test_every_place_of_the_rectangle_is_equally_likely():
    """Of 6,000 images the rectangle stands in each of its 2 × 3 places in 1,000, within five deviations."""
    erased = erase((3, 4), (2, 2))(np.ones((6000, 12)), 0)
    _, counts = np.unique(erased, axis=0, return_counts=True)
    assert len(counts) == 6
    assert counts == pytest.approx(np.full(6, 1000), abs=5 * math.sqrt(1000))


@pytest.mark.equation("augmentations.4", "augmentations.5")
@given(seed=seeds, strength=st.floats(0, 2))
def test_noise_and_contrast(seed, strength):
    """Noise adds σ times the generator's N(0, I); contrast keeps the mean and multiplies deviations by e^g, image by
    image."""
    x = np.random.default_rng(seed).random((4, 6))
    noisy = gaussian_noise(strength)(x, seed)
    np.testing.assert_allclose(noisy, x + strength * np.random.default_rng(seed).standard_normal((4, 6)), atol=1e-14)
    changed = contrast(strength)(x, seed)
    g = strength * (2 * np.random.default_rng(seed).random(4) - 1)
    for i in range(4):
        mean = sum(x[i]) / 6
        expected = [mean + math.exp(g[i]) * (value - mean) for value in x[i]]
        assert changed[i] == pytest.approx(expected, abs=1e-12)


def test_a_chain_is_one_change_after_the_other():
    x = np.random.default_rng(0).random((4, 12))
    first, second = affine((3, 4), shift=1), gaussian_noise(0.1)
    rng = np.random.default_rng(1)
    assert np.array_equal(compose(first, second)(x, 1), second(first(x, rng), rng))
    assert np.array_equal(compose()(x, 1), x)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_images_change_one_by_one_and_the_data_stay(augment):
    """Equal images become different ones, in a new way at each call; x is not modified; copies do the same."""
    x = np.repeat(1 + np.random.default_rng(0).random((1, 12)), 200, axis=0)
    before = x.copy()
    rng = np.random.default_rng(1)
    first, second = augment(x, rng), augment(x, rng)
    assert np.array_equal(x, before)
    assert len(np.unique(first, axis=0)) > 5
    assert not np.array_equal(first, second)
    again = pickle.loads(pickle.dumps(augment))
    assert np.array_equal(again(x, np.random.default_rng(1)), first)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_dtype_is_kept_and_the_device_gives_the_same(augment, dtype):
    x = np.random.default_rng(0).random((5, 12)).astype(dtype)
    here, there = augment(x, np.random.default_rng(1)), augment(cupy.asarray(x), np.random.default_rng(1))
    assert isinstance(there, cupy.ndarray) and here.dtype == there.dtype == dtype
    np.testing.assert_allclose(cupy.asnumpy(there), here, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affine((3, 4), scale=0.9), "scale: got 0.9, expected"),
        (lambda: affine((3, 4), rotation=181), "rotation: got 181.0, expected"),
        (lambda: affine((3, 4))(np.ones((2, 11)), 0), r"x: got shape \(2, 11\), expected \(any, 12\)"),
        (lambda: erase((3, 4), (4, 1)), r"size: got \(4, 1\), expected at most the image's \(3, 4\)"),
        (lambda: gaussian_noise(-1), "sigma: got -1.0"),
        (lambda: contrast(-1), "strength: got -1.0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
