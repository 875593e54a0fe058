"""Augmentations: random changes of an image that leave what it shows the same, by which one image becomes many views.

    symbol       in code              meaning                                                          shape
    x, x̃         x                    images of h × w pixels, one per row; the same changed            (N, h w)
    p, c         p, centre            a place in the image (row, column); its centre                   (2,)
    q            q                    the place from where p takes its value                           (2,)
    B, t         B, t                 linear map and shift of one image                                (2, 2), (2,)
    φ, k, s      phi, k, s            angle of rotation, shear, scale                                  numbers
    e            top, left            the pixel above and left of q: its row, its column               (2,)
    R            inside               rectangle that is erased                                         set of pixels
    z, σ         normal(…), sigma     noise from N(0, I), its standard deviation                       (N, h w), number
    x̄            mean                 mean of an image over its pixels                                 number
    g            g                    logarithm of the factor of the contrast                          number

The choice of these changes decides what a network learns from two views of an image: what the views share. So it is the
prior knowledge of the method. A turned 6 is a 9; what is shifted by a pixel is the same digit.

**An affine map.** The changed image takes its value at p from the place q of the original:

    [augmentations.1]   x̃(p) = x(q),    q = c + t + B (p − c),    B = (1/s) (cos φ  −sin φ; sin φ  cos φ) (1  k; 0  1)

Written from the target back to the source, every pixel of x̃ has a value, once. The image itself moves by the inverse
map: it grows by the factor s. Where q lies between pixels, x is linear in each coordinate (bilinear interpolation).
With e = ⌊q⌋, the four pixels e + (i, j), i, j ∈ {0, 1}, around q have weights that sum to one:

    [augmentations.2]   x(q) = Σᵢⱼ wᵢ(q₁ − e₁) wⱼ(q₂ − e₂) x(e + (i, j)),    w₀(u) = 1 − u,  w₁(u) = u

where x is zero outside the image. For each image t is drawn uniformly from [−shift, shift]², φ from [−rotation,
rotation], k from [−shear, shear], and s from [1/scale, scale], uniformly in its logarithm.

**Other changes.** Zeros in a rectangle R of fixed size, uniformly placed; noise; contrast:

    [augmentations.3]   x̃(p) = 0 for p ∈ R, else x(p)
    [augmentations.4]   x̃ = x + σz
    [augmentations.5]   x̃(p) = x̄ + e^g (x(p) − x̄),    g uniform in [−strength, strength]

Each is a function (x, rng) → x̃ that draws anew for each image, and so is any chain of them, or one of your own.

>>> x = np.arange(9.0)[None]  # one image of 3 × 3 pixels
>>> print(erase((3, 3), (2, 2))(x, rng=0).reshape(3, 3))
[[0. 1. 2.]
 [3. 0. 0.]
 [6. 0. 0.]]
>>> views = compose(affine((3, 3), shift=1, rotation=15), gaussian_noise(0.1))(np.repeat(x, 4, axis=0), rng=0)
>>> print(views.shape, len(np.unique(views[:, 4])))  # four views of one image, no two alike
(4, 9) 4

Sources: Simard, Steinkraus & Platt, ICDAR (2003), affine maps of digits; DeVries & Taylor (2017), Zhong et al., AAAI
(2020), erasing; Chen, Kornblith, Norouzi & Hinton, ICML (2020), section 3, which changes help contrastive learning.
"""

import functools
from collections.abc import Callable

import numpy as np

from minissl._arrays import normal, uniform
from minissl._checks import check_array, check_callable, check_number, check_pair, check_rng, check_size


def affine(shape: tuple, shift: float = 0, rotation: float = 0, shear: float = 0, scale: float = 1) -> Callable:
    """A random affine map of each image [augmentations.1]: a function (x, rng) -> x̃.

    Images of `shape` (h, w) are rows of x. The largest `shift` is in pixels of the original, the largest `rotation` in
    degrees; `shear` is the largest k, and `scale` ≥ 1 the largest factor by which the image grows or shrinks.
    """
    shape = check_pair(shape, "shape")
    shift = check_number(shift, "shift", low=0, high=max(shape))
    rotation = check_number(rotation, "rotation", low=0, high=180)
    shear = check_number(shear, "shear", low=0, high=max(shape))
    scale = check_number(scale, "scale", low=1, high=100)
    return functools.partial(_affine, shape, shift, rotation, shear, scale)


def _affine(shape, shift, rotation, shear, scale, x, rng):
    x = check_array(x, "x", shape=(None, shape[0] * shape[1]))
    u = 2 * uniform(check_rng(rng), (5, len(x)), like=x) - 1  # in [−1, 1], five numbers for each image
    phi = rotation * np.pi / 180 * u[2]
    k = shear * u[3]
    s = scale ** u[4]
    cos, sin = np.cos(phi) / s, np.sin(phi) / s
    B = np.stack([cos, k * cos - sin, sin, k * sin + cos], axis=1).reshape(-1, 2, 2)
    t = shift * u[:2].T[:, :, None]  # (N, 2, 1)
    rows, columns = np.arange(shape[0], like=x), np.arange(shape[1], like=x)
    p = np.stack([np.repeat(rows, shape[1]), np.tile(columns, shape[0])]).astype(x.dtype)  # (2, h w)
    centre = np.asarray([[(shape[0] - 1) / 2], [(shape[1] - 1) / 2]], dtype=x.dtype, like=x)
    q = centre + t + B @ (p - centre)  # [augmentations.1] c + t + B (p − c)
    return _interpolate(x, shape, q)


@np.errstate(under="ignore")
def _interpolate(x, shape, q):
    """x(q) for places q (N, 2, P), zero outside the image [augmentations.2]."""
    h, w = shape
    framed = np.pad(x.reshape(-1, h, w), ((0, 0), (1, 2), (1, 2)))  # by zeros, which stand for all that is outside
    row, column = np.clip(q[:, 0], -1, h), np.clip(q[:, 1], -1, w)
    top, left = np.floor(row), np.floor(column)
    image = np.arange(len(x), like=x)[:, None]
    corner = (image * (h + 3) + top.astype(np.int64) + 1) * (w + 3) + left.astype(np.int64) + 1  # e, in `pixels`
    pixels, down, right = framed.ravel(), row - top, column - left
    out = np.zeros_like(row)
    for i, w_i in ((0, 1 - down), (1, down)):
        for j, w_j in ((0, 1 - right), (1, right)):
            out += w_i * w_j * pixels[corner + i * (w + 3) + j]  # [augmentations.2] Σᵢⱼ wᵢ wⱼ x(e + (i, j))
    return out


def erase(shape: tuple, size: tuple) -> Callable:
    """Zeros in a rectangle of `size` pixels down and across, at a random place [augmentations.3]: (x, rng) -> x̃."""
    shape = check_pair(shape, "shape")
    return functools.partial(_erase, shape, check_size(size, "size", shape))


def _erase(shape, size, x, rng):
    x = check_array(x, "x", shape=(None, shape[0] * shape[1]))
    rng = check_rng(rng)
    inside = []
    for whole, part in zip(shape, size, strict=True):
        start = np.asarray(rng.integers(whole - part + 1, size=(len(x), 1)), like=x)
        place = np.arange(whole, like=x)
        inside.append((start <= place) & (place < start + part))  # (N, h), (N, w)
    inside = (inside[0][:, :, None] & inside[1][:, None, :]).reshape(x.shape)
    return np.where(inside, 0, x)  # [augmentations.3] 0 for p ∈ R, else x(p)


def gaussian_noise(sigma: float) -> Callable:
    """Noise of standard deviation `sigma` added to every number [augmentations.4]: (x, rng) -> x̃."""
    return functools.partial(_gaussian_noise, check_number(sigma, "sigma", low=0))


def _gaussian_noise(sigma, x, rng):
    x = check_array(x, "x", ndim=2)
    return x + sigma * normal(check_rng(rng), x.shape, like=x)  # [augmentations.4] x + σz


def contrast(strength: float) -> Callable:
    """Each image's contrast times e^g, |g| ≤ `strength`, its mean kept [augmentations.5]: (x, rng) -> x̃."""
    return functools.partial(_contrast, check_number(strength, "strength", low=0, high=10))


def _contrast(strength, x, rng):
    x = check_array(x, "x", ndim=2)
    g = strength * (2 * uniform(check_rng(rng), (len(x), 1), like=x) - 1)
    mean = x.mean(axis=1, keepdims=True)
    return mean + np.exp(g) * (x - mean)  # [augmentations.5] x̄ + e^g (x(p) − x̄)


def compose(*augmentations: Callable) -> Callable:
    """One augmentation after the other, as one function (x, rng) -> x̃."""
    return functools.partial(_compose, tuple(check_callable(a, "augmentations") for a in augmentations))


def _compose(augmentations, x, rng):
    rng = check_rng(rng)
    for augmentation in augmentations:
        x = augmentation(x, rng)
    return x
