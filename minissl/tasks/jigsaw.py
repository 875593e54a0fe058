"""Pretext tasks with the patches of an image: shuffled or not, and the jigsaw.

    symbol      meaning                                                         shape
    x           image, as a row of pixels                                       (N, h w)
    P, q_k(x)   number of patches; the k-th patch of x                          integer, (a b,)
    pi x        image whose k-th patch is q_{pi(k)}(x)                          (N, h w)
    pi_c        one of K fixed orders of the patches, c = 0 .. K-1              (P,)
    d           number of places in which two orders differ (Hamming)           integer

**Images against images with shuffled patches.** Patches in a uniformly random order have the density
p_n(x) = (1/P!) sum_pi p_d(pi x). The order may be the true one, so p_n >= p_d / P!, and [contrastive.2] becomes

    [patches.1]   y*(x) = ln p_d(x) - ln (1/P!) sum_pi p_d(pi x)  <=  ln P!

**Jigsaw** (Noroozi & Favaro 2016). The patches are shown in one of K fixed orders; the class is which:

    [patches.2]   input = (q_{pi_c(1)}(x), ..., q_{pi_c(P)}(x)),    target = c, uniform on 0 .. K-1

for the softmax loss [losses.3], where chance is ln K. Orders that differ in few places are hard to tell apart. So each
is chosen as far as possible from those before (their algorithm 1), the first at random:

    [patches.3]   pi_{c+1} = argmax_pi sum_{j <= c} d(pi, pi_j)

A network takes the cheapest cue there is: brightness that changes slowly over the image, edges that continue from one
patch into the next. A gap between patches weakens the second. The first goes when each patch is normalised by itself,

    [patches.4]   q_i <- (q_i - mean(q)) / sqrt(var(q) + floor)

with a floor under the variance so that flat patches do not become pure noise (Coates, Ng & Lee 2011, section 3.1).
"""

import itertools

import numpy as np

from minissl.backend import array, count, generator, integers, namespace, number, pair


def shuffle_patches(shape, grid):
    """Shuffling of the patches within each image [patches.1].

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, which come as rows of h w numbers.
    grid : (int, int)
        Number of patches down and across.

    Returns
    -------
    callable
        (x of shape (N, h w), rng) -> images of the same shape, each in a random order of its own.

    Raises
    ------
    ValueError
        If the images cannot be cut so.
    """
    pixels, place = _layout(shape, grid, 0)

    def shuffle(x, rng):
        x = array(x, "x", shape=(None, pixels.size))
        order = generator(rng).permuted(np.tile(np.arange(len(pixels)), (len(x), 1)), axis=1)
        return _reorder(x, pixels, order).reshape(len(x), -1)[:, namespace(x).asarray(place)]

    return shuffle


def jigsaw(shape, grid, permutations, gap=0, normalised=True):
    """The task: which order are the patches in [patches.2]? For the loss `softmax` and a network with K outputs.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, which come as rows of h w numbers.
    grid : (int, int)
        Number of patches down and across.
    permutations : array_like of int, shape (K, P)
        Orders of the P patches, such as `far_permutations` gives; patch permutations[c, k] is shown in place k.
    gap : int
        Pixels between neighbouring patches that are left out.
    normalised : bool
        Whether each patch is normalised by itself [patches.4].

    Returns
    -------
    callable
        (x of shape (N, h w), rng) -> (input (N, P a b), target (N,) of int). The input is the image put together again
        without the gaps, as rows of pixels.

    Raises
    ------
    TypeError, ValueError
        If the images cannot be cut so, or a row of `permutations` is not a permutation.
    """
    pixels, place = _layout(shape, grid, gap)
    permutations = integers(permutations, "permutations", low=0, high=len(pixels), ndim=2)
    if permutations.shape[1] != len(pixels) or (np.sort(permutations) != np.arange(len(pixels))).any():
        raise ValueError(f"permutations: expected in each row the numbers 0 to {len(pixels) - 1}, one for each patch")

    def task(x, rng):
        x = array(x, "x", shape=(None, shape[0] * shape[1]))
        xp = namespace(x)
        c = generator(rng).integers(len(permutations), size=len(x))
        q = _reorder(x, pixels, permutations[c])  # [patches.2]
        q = normalise(q) if normalised else q
        return q.reshape(len(x), -1)[:, xp.asarray(place)], xp.asarray(c)

    return task


def normalise(x, floor=10 / 255**2):
    """Mean and contrast divided out along the last axis [patches.4].

    Parameters
    ----------
    x : array_like, shape (..., n)
    floor : float
        Added to the variance, > 0. The default suits intensities in [0, 1]: it is 10 on the scale 0 .. 255.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit.
    """
    x, floor = array(x, "x"), number(floor, "floor", low=0, open_low=True)
    if x.ndim == 0:
        raise ValueError(f"x: got the number {x}, expected at least one dimension")
    x = x - x.mean(axis=-1, keepdims=True)
    return x / namespace(x).sqrt((x * x).mean(axis=-1, keepdims=True) + floor)  # [patches.4]


def far_permutations(P, K, rng=None):
    """K orders of P patches, each as far from those before as can be [patches.3].

    Parameters
    ----------
    P : int
        Number of patches, at most 9: all P! orders are compared.
    K : int
        Number of orders, at most P!.
    rng : int, numpy.random.Generator or None
        Chooses the first, and among equals.

    Returns
    -------
    ndarray of int, shape (K, P)
        No two rows are the same.

    Raises
    ------
    TypeError, ValueError
        If P or K is not an integer in its range.
    """
    every = np.array(list(itertools.permutations(range(count(P, "P", high=9)))))
    count(K, "K", high=len(every))
    generator(rng).shuffle(every)
    chosen, distance = [0], np.zeros(len(every))
    while len(chosen) < K:
        distance += (every != every[chosen[-1]]).sum(axis=1)  # [patches.3]
        distance[chosen[-1]] = -np.inf
        chosen.append(int(distance.argmax()))
    return every[chosen]


def _layout(shape, grid, gap):
    """Where the pixels of each patch are in the image, shape (P, a b), and where each pixel is once patches follow on.

    `x[:, pixels]` cuts images (rows) into patches; `q.reshape(N, -1)[:, place]` puts them together without the gaps.
    """
    (h, w), (r, c), gap = pair(shape, "shape"), pair(grid, "grid"), count(gap, "gap", low=0)
    a, b = (h - (r - 1) * gap) // r, (w - (c - 1) * gap) // c
    if a < 1 or b < 1 or (r * a + (r - 1) * gap, c * b + (c - 1) * gap) != (h, w):
        raise ValueError(f"grid: got {r} x {c} patches with gaps of {gap}, expected to fill {h} x {w} pixels equally")

    def corners(step_down, step_across, width):
        rows = (np.arange(r)[:, None] * step_down + np.arange(a)).reshape(r, 1, a, 1)
        columns = (np.arange(c)[:, None] * step_across + np.arange(b)).reshape(1, c, 1, b)
        return (rows * width + columns).reshape(r * c, a * b)

    return corners(a + gap, b + gap, w), np.argsort(corners(a, b, c * b).ravel())


def _reorder(x, pixels, order):
    """The patches of each image in an order of its own (shape (N, P)), shape (N, P, a b)."""
    xp = namespace(x)
    return x[xp.arange(len(x))[:, None, None], xp.asarray(pixels[order])]
