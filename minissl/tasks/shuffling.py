"""Data against shuffled data: a classifier that tells them apart has learned how the parts of a sample depend.

The noise is made of the data themselves: what is shuffled is what has to be understood.

    symbol      in code      meaning                                                        shape
    x, x̃        x            data, one sample per row, and the same shuffled                (N, n)
    p_d, pⱼ                  density of the data, of their variable j alone                 functions
    p_n                      density of the shuffled data                                   function of x
    y(x), y*(x)              logit: the output of the network; the best one                 numbers
    E_d, E_n                 means over the data, over the shuffled data
    J                        loss [noise.1]                                                 number
    I                        multi-information of the variables, in nats                    number ≥ 0
    R                        correlation matrix of the variables                            (n, n)
    P                        number of patches of an image                                  integer
    q(x, k)     q[:, k]      k-th patch of the image x, k = 1 … P; of a × b pixels          (N, a, b)
    π, πⱼ       order        a permutation: of the patches, of the samples

**Shuffled variables.** Each variable is shuffled across the samples, by a random permutation πⱼ of its own:

    [shuffling.1]   x̃ᵢⱼ = xₗⱼ  with l = πⱼ(i)

Each variable keeps its density pⱼ. Two variables in a row of x̃ come from different samples (except, with probability
1/N, from the same one), so they are independent: p_n(x) = Πⱼ pⱼ(xⱼ). There is one shuffled sample for each sample, so
[noise.2] holds with ν = w = 1, and the mean of y* over the data is a Kullback–Leibler divergence:

    [shuffling.2]   y*(x) = ln p_d(x) − Σⱼ ln pⱼ(xⱼ),    E_d y* = ∫ p_d(x) ln [p_d(x)/p_n(x)] dx = I      (theorem)

For n = 2, I is the mutual information of the two variables; for n > 2 their multi-information, or total correlation
(Watanabe 1960). It is zero if and only if the variables are independent. The condition of [noise.2], p_n > 0 wherever
p_d > 0, holds for every density p_d. (If a continuous variable is a function of the others, there is none, and I = ∞.)

For Gaussian variables I is known. Standardise x to z, so that p_d = N(0, R) and pⱼ = N(0, 1); that changes no ratio of
densities. Then y* = −½ ln det R − ½ zᵀR⁻¹z + ½ zᵀz. As E zᵀAz = tr(A E zzᵀ) = tr(AR), the means of the last two terms
are −n/2 and n/2, and cancel:

    [shuffling.3]   I = −½ ln det R      (theorem)

**Shuffled patches.** The patches within each image are put into a random order π, each of the P! equally likely:

    [shuffling.4]   x̃ = πx, the image with q(πx, k) = q(x, π(k))

If x̃ = πx, then x = π⁻¹x̃, and reordering pixels changes no volume: given π, the density of x̃ is p_d(π⁻¹x̃). The mean over
all π is also the mean over all π⁻¹, so p_n(x) = (1/P!) Σ_π p_d(πx). One of these π leaves x as it is: p_n ≥ p_d/P!.

    [shuffling.5]   y*(x) = ln p_d(x) − ln [(1/P!) Σ_π p_d(πx)] ≤ ln P!      (theorem)

>>> from minissl.nn.losses import sigmoid_cross_entropy
>>> from minissl.nn.mlp import MLP
>>> from minissl.nn.optimizers import lbfgs
>>> from minissl.nn.training import objective
>>> rng = np.random.default_rng(0)
>>> x = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 20_000)
>>> features = lambda x: np.stack([x[:, 0] * x[:, 1], (x * x).sum(axis=1)], axis=1)  # y* is linear in these two
>>> input, target = against_shuffled()(x, rng)
>>> net = MLP((2, 1), rng=0, dtype="float64")
>>> best = lbfgs(objective(net, (features(input), target), sigmoid_cross_entropy), net.theta)
>>> print(f"{net.at(best.theta)(features(x)).mean():.1f} = {-0.5 * np.log(1 - 0.8**2):.1f} nats")  # −½ ln det R
0.5 = 0.5 nats

**How far to trust the mean logit.** It is I for the best classifier only: the mean of y* + 1 is I + 1, that of y* − 1
is I − 1, so the mean logit of an imperfect classifier is no bound on I. But every y gives a lower bound. Let
p_y(x) = p_n(x) e^(y(x))/E_n eʸ, a density, so that y = ln(p_y/p_n) + ln E_n eʸ. Then (Donsker & Varadhan 1983)

    [shuffling.6]   E_d y − ln E_n eʸ = I − ∫ p_d(x) ln [p_d(x)/p_y(x)] dx ≤ I      (theorem)

if E_d y and E_n eʸ are finite, and are taken over samples on which y was not trained. Both estimates fail if I is
large, for three reasons. First, where y* is large the loss hardly depends on y: its first and second derivatives in
y(x) at y* are 0 and ½ (p_d + p_n) sigmoid(y*) sigmoid(−y*), where sigmoid(y*) = p_d/(p_d + p_n). By Taylor's theorem

    [shuffling.7]   J(y) − J(y*) = ¼ E_d [sigmoid(−y*) (y − y*)²] + O(|y − y*|³)      (theorem)

At y* = 10 an error of the logit costs 11,000 times less than at y* = 0. Second, E_n e^(y*) = 1 is a mean of rare, large
values: its variance, E_n e^(2y*) − 1 = E_d e^(y*) − 1, is at least e^I − 1 (Jensen's inequality), so it takes many more
than e^I samples. Third, in a batch of N samples all variables in a row of x̃ come from one and the same sample with
probability 1/Nⁿ⁻¹. So p_n ≥ p_d/Nⁿ⁻¹, and from such batches no more can be learned than

    [shuffling.8]   y*(x) ≤ (n − 1) ln N      (theorem)

For two variables and N = 500, 6.2 nats. Use large batches, and trust no estimate that comes near to ln N.

Sources: Watanabe, Information theoretical analysis of multivariate correlation (1960); Donsker & Varadhan, Asymptotic
evaluation of certain Markov process expectations for large time, IV (1983); [shuffling.6] with a network: Belghazi et
al., Mutual information neural estimation (2018); its limits: McAllester & Stratos (2020).
"""

import functools
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array, Task
from minissl._checks import check_array, check_callable, check_grid, check_rng
from minissl.tasks.noise import _against


def shuffle_variables(x: Array, rng) -> Array:
    """Each variable of x (N, n) shuffled across the samples by itself, so that all become independent [shuffling.1]."""
    x = check_array(x, "x", ndim=2)
    N, n = x.shape
    order = check_rng(rng).permuted(np.tile(np.arange(N), (n, 1)), axis=1).T  # (N, n): order[i, j] = πⱼ(i)
    return x[np.asarray(order, like=x), np.arange(n, like=x)]  # [shuffling.1] x̃ᵢⱼ = xₗⱼ with l = πⱼ(i)


def against_shuffled(shuffle: Callable = shuffle_variables) -> Task:
    """The task: which rows are data, which are shuffled? For `sigmoid_cross_entropy` and a network with one output.

    `shuffle` is a function (x, rng) -> x̃ of the same shape: `shuffle_variables`, or `shuffle_patches(shape, grid)`. The
    data come first. The best logit is [shuffling.2] or [shuffling.5].
    """
    return functools.partial(_against_shuffled, check_callable(shuffle, "shuffle"))


def _against_shuffled(shuffle, x, rng):
    x = check_array(x, "x", ndim=2)
    return _against(x, check_array(shuffle(x, check_rng(rng)), "shuffle", shape=x.shape, like=x))


def shuffle_patches(shape: tuple[int, int], grid: tuple[int, int]) -> Callable:
    """A function (x, rng) -> x̃ that puts the patches of each image into a random order of its own [shuffling.4].

    Images of `shape` (h, w) are rows of x (N, h w); `grid` is the number of patches down and across.
    """
    shape, grid, _ = check_grid(shape, grid, gap=0)
    return functools.partial(_shuffle_patches, shape, grid)


def _shuffle_patches(shape, grid, x, rng):
    x = check_array(x, "x", shape=(None, shape[0] * shape[1]))
    q = _cut(x, shape, grid)
    N, P = q.shape[:2]
    order = check_rng(rng).permuted(np.tile(np.arange(P), (N, 1)), axis=1)  # (N, P): each row a π
    return _join(_reorder(q, order), grid)  # [shuffling.4] q(πx, k) = q(x, π(k))


def _cut(x, shape, grid, gap=0):
    """The patches of each image, (N, P, a, b), in reading order; the pixels between them are left out."""
    (h, w), (down, across) = shape, grid
    a, b = (h + gap) // down - gap, (w + gap) // across - gap
    images = x.reshape(len(x), h, w)
    corners = [(i, j) for i in range(0, h, a + gap) for j in range(0, w, b + gap)]
    return np.stack([images[:, i : i + a, j : j + b] for i, j in corners], axis=1)


def _reorder(q, order):
    """Place k of image i shows the patch order[i, k]; `order` (N, P) is drawn on the host."""
    return q[np.arange(len(q), like=q)[:, None], np.asarray(order, like=q)]


def _join(q, grid):
    """Images, as rows of pixels, of their patches (N, P, a, b)."""
    N, _, a, b = q.shape
    return q.reshape(N, *grid, a, b).swapaxes(2, 3).reshape(N, -1)
