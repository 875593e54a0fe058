"""The jigsaw: a classifier that tells in which order the patches of an image are shown has learned what belongs where.

    symbol      in code          meaning                                                       shape
    x           x                images of h × w pixels, one per row                           (N, h w)
    P           P                number of patches of an image (in P(c | u), probability)      integer
    q(x, k)     q[:, k]          k-th patch of x, k = 1 … P; of a × b pixels                   (N, a, b)
    πx                           the image whose k-th patch is q(x, π(k))
    K           K                number of orders in use                                       at most P!
    π_c         permutations[c]  one of them, c = 1 … K (in code from 0)                       (P,)
    u           input            what is shown: x with its patches in the order π_c            (N, P a b)
    p_d                          density of the images                                         function of x
    J                            loss                                                          number
    d(π, π′)                     number of places in which two orders differ (Hamming)         integer

**The task** (Noroozi & Favaro 2016). The patches are shown in one of K fixed orders, and the class is which:

    [jigsaw.1]   u = π_c x, that is q(u, k) = q(x, π_c(k));    target c, each of 1 … K equally likely

The loss is the softmax cross-entropy [losses.3]: ln K for a network that knows nothing.

**What is learned.** If u = π_c x, then x = π_c⁻¹u, and reordering pixels changes no volume: given c, the density of u
is p_d(π_c⁻¹u). All c are equally likely, so by Bayes' rule

    [jigsaw.2]   P(c | u) = p_d(π_c⁻¹u)/Σⱼ p_d(πⱼ⁻¹u)      (theorem)

Of all classifiers Q, the mean of −ln Q(c | u) is least for Q = P (Gibbs' inequality). The best one's logits are
ln p_d(π_c⁻¹u) plus any function of u alone: it compares how plausible the image is in each of the orders, and need not
know how plausible it is in any. The least loss is the entropy of c given u, which is the entropy ln K of c less what u
says about c, their mutual information:

    [jigsaw.3]   J ≥ E[−ln P(c | u)] = H(c | u) = ln K − I(c; u)      (theorem)

It is ln K if p_d is the same in all K orders (independent pixels of equal distribution: there is nothing to learn), and
0 if no u could come from two of them. With a gap, or with normalised patches, all this holds for the density of what is
left of the image.

**Which orders.** Orders that differ in few places are hard to tell apart. So each is chosen as far as possible from all
that are chosen already, π₁ … π_c (Noroozi & Favaro 2016, algorithm 1); the first is random:

    [jigsaw.4]   the next one = argmax_π Σⱼ d(π, πⱼ),  j = 1 … c,  over the π not yet chosen

This is greedy: K orders can be farther from one another than those found so. But the first P differ from one another in
every place, the most there can be: to a Latin rectangle of fewer than P rows another row can always be added (Hall's
theorem).

**Which cues.** A network uses whatever tells the order: brightness that changes slowly over the image, edges that
continue from one patch into the next. A gap between patches weakens the second. The first is gone if each patch
is normalised by itself: for each pixel qᵢ of a patch,

    [jigsaw.5]   qᵢ ← (qᵢ − mean q)/√(var q + floor)

with a floor under the variance, so that flat patches do not become pure noise (Coates & Ng 2012: 10 for intensities
from 0 to 255).

>>> x = np.arange(16.0)[None]  # one image of 4 × 4 pixels, in 2 × 2 patches
>>> print(x.reshape(4, 4).astype(int))
[[ 0  1  2  3]
 [ 4  5  6  7]
 [ 8  9 10 11]
 [12 13 14 15]]
>>> u, c = jigsaw((4, 4), (2, 2), [[3, 2, 1, 0]], normalised=False)(x, rng=0)  # one order: the last patch first
>>> print(u.reshape(4, 4).astype(int), c)
[[10 11  8  9]
 [14 15 12 13]
 [ 2  3  0  1]
 [ 6  7  4  5]] [0]
>>> orders = max_hamming_permutations(P=9, K=9, rng=0)
>>> print((orders[0] != orders).sum(axis=1))  # d(π₁, π_c): the first nine differ in every place
[0 9 9 9 9 9 9 9 9]

Sources: Noroozi & Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles (2016); Coates &
Ng, Learning feature representations with k-means (2012).
"""

import functools
import itertools

import numpy as np

from minissl._arrays import Array, Task
from minissl._checks import (
    check_array,
    check_count,
    check_grid,
    check_number,
    check_permutations,
    check_rng,
    check_rows,
)
from minissl.tasks.shuffling import _cut, _join, _reorder


def jigsaw(shape: tuple, grid: tuple, permutations: Array, gap: int = 0, normalised: bool = True) -> Task:
    """The task: in which order are the patches [jigsaw.1]? For `softmax_cross_entropy` and a network with K outputs.

    Images of `shape` (h, w) are rows of x (N, h w); `grid` is the number of patches down and across, with `gap` pixels
    left out between them. `permutations` (K, P): in order c, place k shows the patch permutations[c, k]. `normalised`:
    each patch by itself [jigsaw.5]. The input (N, P a b) is the image put together again without the gaps.
    """
    shape, grid, gap = check_grid(shape, grid, gap)
    permutations = check_permutations(permutations, "permutations", grid[0] * grid[1])
    return functools.partial(_jigsaw, shape, grid, permutations, gap, normalised)


def _jigsaw(shape, grid, permutations, gap, normalised, x, rng):
    x = check_array(x, "x", shape=(None, shape[0] * shape[1]))
    N, K = len(x), len(permutations)
    c = check_rng(rng).integers(K, size=N)
    q = _reorder(_cut(x, shape, grid, gap), permutations[c])  # (N, P, a, b) [jigsaw.1] q(u, k) = q(x, π_c(k))
    if normalised:
        q = normalise(q.reshape(N, grid[0] * grid[1], -1)).reshape(q.shape)
    return _join(q, grid), np.asarray(c, like=x)


@np.errstate(under="ignore")
def normalise(x: Array, floor: float = 10 / 255**2) -> Array:
    """The mean subtracted and the contrast divided out along the last axis [jigsaw.5].

    The floor is in the units of the variance; its default suits intensities from 0 to 1.
    """
    x = check_rows(x, "x")
    floor = check_number(floor, "floor", low=0, open_low=True)
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + floor)  # [jigsaw.5] (qᵢ − mean q)/√(var q + floor)


def max_hamming_permutations(P: int, K: int, rng=None) -> np.ndarray:
    """K different orders of P ≤ 9 patches, (K, P), each as far from those before as possible [jigsaw.4].

    `rng` chooses the first, and among equals. All P! orders are compared, K times.
    """
    every = np.array(list(itertools.permutations(range(check_count(P, "P", high=9)))))  # (P!, P)
    K = check_count(K, "K", high=len(every))
    check_rng(rng).shuffle(every)
    chosen, distance = [0], np.zeros(len(every))
    while len(chosen) < K:
        last = chosen[-1]
        distance += (every != every[last]).sum(axis=1)  # [jigsaw.4] Σⱼ d(π, πⱼ), for each π
        distance[last] = -np.inf  # not again
        chosen.append(distance.argmax())
    return every[chosen]
