"""Clustering: an autoencoder whose code is one-hot, and its soft form, a Gaussian mixture.

    symbol       in code             meaning                                                        shape
    x            x                   data, one sample per row                                       (N, n)
    K            K                   number of clusters                                             number
    A, J         centres (= Aᵀ)      decoder, its columns the centres a₁ … a_K; mean squared error  (n, K), number
    C            code                codes; row cᵢ is one-hot: one of e₁ … e_K, the rows of Id      (N, K)
    z            labels              the cluster of each sample as a number: cᵢ = e_k at k = zᵢ     (N,)
    Nₖ           counts              samples in cluster k (of a mixture: their expected number)     (K,)
    w, σ²        weights, sigma**2   of a mixture: weights of its components, their variance        (K,), number
    q            posterior           probability of each component given the sample                 (N, K)
    y            classes             true classes, to compare with                                  (N,)
    Id                               identity matrix                                                (K, K), (n, n)
    I, H                             mutual information, entropy, in nats                           numbers

The lecture's second goal, structure: no label says which groups there are. A bottleneck autoencoder compresses x to m
numbers; here the code is as narrow as it can be, one of K words.

**k-means** is the least squared error of a linear decoder of one-hot codes, A eₖ = aₖ:

    [clustering.1]   J(A, C) = (1/N) Σᵢ ‖xᵢ − A cᵢ‖²,    cᵢ ∈ {e₁, …, e_K}

It is least in C for given A where each sample takes the nearest centre. It is least in A for given C where ∂J/∂aₖ =
−(2/N) Σ (xᵢ − aₖ), over the samples with zᵢ = k, is zero: at their mean, whence the name. In matrices this is least
squares, with CᵀC = diag(N₁, …, N_K):

    [clustering.2]   zᵢ = argminₖ ‖xᵢ − aₖ‖²
    [clustering.3]   Aᵀ = (CᵀC)⁻¹ Cᵀ x,    that is, aₖ = (1/Nₖ) Σ xᵢ over the i with zᵢ = k

Lloyd's algorithm (1957, published 1982) takes these two steps in turn. Neither can raise J. New labels lower it (if no
two centres are equally near), so that labels once left do not come back; there are Kᴺ of them at most, and the search
ends. It ends where neither step improves J, which need not be the least J; that is hard to find (NP-hard, even for
K = 2: Aloise et al. 2009), so there are several starts, and the best end counts. A centre that is nearest to no sample
has no mean, and J does not depend on it; it moves to the sample that is farthest from its own centre, which lowers J at
the next [clustering.2].

*Where to start* (k-means++, Arthur & Vassilvitskii 2007): a sample at random, then each next centre at a sample that is
drawn in proportion to its squared distance from the centres so far,

    [clustering.4]   P(i) = D(xᵢ)²/Σⱼ D(xⱼ)²,    D(x)² = minₖ ‖x − aₖ‖²

The mean of J at such a start is at most 8 (ln K + 2) times the least J (ibid., theorem 1.1); the search only lowers J.

*Beside PCA.* K points lie in an affine subspace of dimension K − 1 or less. A sample is no nearer to its centre than to
that subspace. Of those of one dimension, the nearest to the data in the mean of squares passes through their mean, and
is that of PCA [pca.7]. So

    [clustering.5]   J ≥ λ_K + … + λₙ,    λ₁ ≥ … ≥ λₙ the eigenvalues of the data's covariance        (theorem)

for any centres and any codes (Ding & He 2004, who show more: the one-hot codes, relaxed to any orthonormal ones, become
the first K − 1 principal components).

**A Gaussian mixture** is the soft form. Each x is drawn from one of K Gaussians around the centres, of one common
variance; which one, k, is not observed:

    [clustering.6]   p(x) = Σₖ p(x, k),    p(x, k) = wₖ N(x; aₖ, σ² Id),    wₖ ≥ 0,  Σₖ wₖ = 1

The logarithm of a sum is inconvenient. For any probabilities q₁ … q_K, since p(x, k) = p(x) p(k|x),

    [clustering.7]   ln p(x) = F(q) + KL(q ‖ p(·|x)),    F(q) = Σₖ qₖ ln p(x, k) − Σₖ qₖ ln qₖ        (theorem)

where KL(q ‖ p) = Σₖ qₖ ln(qₖ/pₖ) ≥ 0, and 0 only for q = p. So ln p(x) ≥ E_q ln p(x, k) − E_q ln q, with equality at
the posterior. EM (Dempster, Laird & Rubin 1977) raises Σᵢ F in turn: first in q, to the posterior,

    [clustering.8]   qᵢₖ = p(k|xᵢ) = p(xᵢ, k)/Σₗ p(xᵢ, l)

the softmax of ln wₖ − ‖xᵢ − aₖ‖²/(2σ²); then in w, A and σ² for fixed q. With Nₖ = Σᵢ qᵢₖ this is to maximise

    Σᵢₖ qᵢₖ ln p(xᵢ, k) = Σₖ Nₖ ln wₖ − (N n/2) ln(2πσ²) − Σᵢₖ qᵢₖ ‖xᵢ − aₖ‖²/(2σ²)

Σₖ Nₖ ln wₖ is N times minus the cross-entropy of N₁/N, …, N_K/N and w, greatest where they are equal. The derivatives
in aₖ and σ² are Σᵢ qᵢₖ (xᵢ − aₖ)/σ² and −N n/(2σ²) + Σᵢₖ qᵢₖ ‖xᵢ − aₖ‖²/(2σ⁴):

    [clustering.9]   wₖ = Nₖ/N,    aₖ = (1/Nₖ) Σᵢ qᵢₖ xᵢ,    σ² = (1/(N n)) Σᵢₖ qᵢₖ ‖xᵢ − aₖ‖²

The likelihood never falls: after the second step Σ ln p ≥ Σ F at the old q, which has risen or stayed, and was the old
Σ ln p. Like k-means it ends in a place that depends on the start, as a rule a local maximum. (With a variance for each
component there is no highest one: let a component shrink around a single sample, and p goes to infinity. With the
common σ this would need K centres that hit all samples.)

*The limit.* The ratio qᵢₖ/qᵢₗ = (wₖ/wₗ) exp[−(‖xᵢ − aₖ‖² − ‖xᵢ − aₗ‖²)/(2σ²)] goes to 0 with σ if aₗ is nearer: q
becomes one-hot, [clustering.8] becomes [clustering.2], and [clustering.9] for A becomes [clustering.3]. And at any σ,
if w is uniform and q is kept one-hot, where −Σ q ln q = 0, the mean of F over the samples is minus J in other units,

    [clustering.10]   (1/N) Σᵢ F(cᵢ) = −J/(2σ²) − (n/2) ln(2πσ²) − ln K        (theorem)

so that k-means is EM for codes q that are one-hot.

**How good are clusters?** Where classes y are known, but were not used, count Nₖₗ, the samples of cluster k and class
l. Clusters have no names. So give each a class of its own, such that all together are right as often as can be (an
assignment problem: Kuhn 1955); samples of clusters that are left without a class count as wrong. Or ask how much the
cluster says of the class, in units of the mean of their entropies, with pₖₗ = Nₖₗ/N:

    [clustering.11]   accuracy = (1/N) max Σₖ Nₖₗ₍ₖ₎,    the largest over the one-to-one maps l(k)
    [clustering.12]   NMI = I(z; y)/(½ H(z) + ½ H(y)),    I = Σₖₗ pₖₗ ln[pₖₗ/(pₖ pₗ)],    H(z) = −Σₖ pₖ ln pₖ

I = H(z) − H(z|y) ≤ H(z), and I ≤ H(y) likewise, so NMI lies between 0, for independence, and 1, where each determines
the other.

>>> import numpy as np
>>> x = np.array([[0.0, 0], [0, 2], [9, 0], [9, 2]])
>>> found = k_means(x, 2, rng=0)
>>> print(np.sort(found.centres[:, 0]), found.error)      # (0, 1) and (9, 1), at a distance of 1
[0. 9.] 1.0
>>> mixture = gaussian_mixture(x, found.centres)
>>> print(mixture.weights.round(3), round(mixture.sigma**2, 3))   # a squared distance of 1 over n = 2 components
[0.5 0.5] 0.5

**Clusters as a pretext task** (DeepCluster, Caron et al. 2018): cluster the features, learn to tell the clusters from
x, cluster the new features, and so on. The labels are invented from x, so this is a task like any other; a network that
must give the same label to a sample with noise (or to another view of it) cannot rely on what noise changes.

>>> import copy
>>> from minissl._arrays import normal
>>> from minissl.nn.losses import softmax_cross_entropy
>>> from minissl.nn.mlp import MLP
>>> from minissl.nn.training import train
>>> x = np.repeat([[-3.0, 0], [3, 0]], 50, axis=0) + normal(np.random.default_rng(0), (100, 2), like=x)
>>> net = MLP((2, 8, 2), "tanh", rng=0, dtype="float64")
>>> for _ in range(3):
...     teacher = copy.deepcopy(net)
...     clusters = k_means(teacher.features(x), 2, rng=0)
...     task = lambda x, rng: (x + 0.3 * normal(rng, x.shape, like=x), clusters.assign(teacher.features(x)))
...     net.weights[-1][:] = 0                            # cluster numbers mean nothing: forget the last ones
...     losses = train(net, x, task, softmax_cross_entropy, epochs=20, rng=0)
>>> print(clustering_accuracy(clusters.labels, np.repeat([0, 1], 50)) > 0.9)
True

Sources: Lloyd, IEEE Transactions on Information Theory 28 (1982); Arthur & Vassilvitskii, SODA (2007); Aloise et al.,
Machine Learning 75 (2009); Ding & He, ICML (2004); Dempster, Laird & Rubin, JRSS B 39 (1977); Bishop, Pattern
Recognition and Machine Learning (2006), chapter 9; Kuhn, Naval Research Logistics Quarterly 2 (1955); Caron et al.,
ECCV (2018), arXiv 1807.05520.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from minissl._arrays import Array, normal, on_host
from minissl._checks import check_array, check_count, check_fit, check_number, check_rng, check_two_labellings
from minissl.linear.eigen import centred


class Clusters(NamedTuple):
    """What `k_means` found: an encoder and a decoder."""

    centres: Array  # Aᵀ, (K, n)
    labels: Array  # z, (N,)
    errors: list  # J after each [clustering.2] of the best start; the last is that of centres and labels
    converged: bool  # the labels changed no more

    @property
    def error(self) -> float:
        """J [clustering.1]."""
        return self.errors[-1]

    def assign(self, x: Array) -> Array:
        """The nearest centre of each row of x, (N,) [clustering.2]."""
        x = check_array(x, "x", shape=(None, self.centres.shape[1]), like=self.centres)
        return _encode(*_about_centres(x, self.centres)[:2])[0]


def k_means(x: Array, K: int, *, starts: int = 10, iterations: int = 300, rng=None) -> Clusters:
    """Centres and codes of least squared error [clustering.1], the best of several starts [clustering.4].

    J is a mean over samples of sums over components; computed in float64. A cluster is empty at the end only where
    there are fewer distinct samples than clusters. A RuntimeWarning says where the best search was still changing
    labels after `iterations`.
    """
    x = check_array(x, "x", ndim=2, squares=True)
    K = check_count(K, "K", high=len(x))
    starts = check_count(starts, "starts")
    iterations = check_count(iterations, "iterations")
    rng = check_rng(rng)
    y, mean = centred(x)
    best = min((_lloyd(y, _spread_start(y, K, rng), iterations) for _ in range(starts)), key=lambda found: found.error)
    if not best.converged:
        words = f"k_means: labels still change after {iterations} iterations; allow more iterations"
        warnings.warn(words, RuntimeWarning, stacklevel=2)
    return best._replace(centres=(mean + best.centres).astype(x.dtype))


def _spread_start(x, K, rng):
    """K samples, (K, n), drawn far from one another [clustering.4]."""
    N = len(x)
    chosen = [int(rng.integers(N))]
    nearest = _squared_distances(x, x[chosen])[:, 0]  # D(x)²
    while len(chosen) < K:
        weight = on_host(nearest)
        total = weight.sum()
        i = rng.choice(N, p=weight / total if total > 0 else None)  # [clustering.4] P(i) = D(xᵢ)²/Σⱼ D(xⱼ)²
        chosen.append(int(i))
        nearest = np.minimum(nearest, _squared_distances(x, x[chosen[-1:]])[:, 0])
    return x[chosen]


def _lloyd(x, centres, iterations):
    """[clustering.3] and [clustering.2] in turn, until the labels change no more."""
    labels, nearest = _encode(x, centres)
    errors, converged = [float(nearest.mean())], False
    while not converged and len(errors) <= iterations:
        centres = _decoder(x, labels, centres)
        before = labels
        labels, nearest = _encode(x, centres)
        errors.append(float(nearest.mean()))  # [clustering.1] (1/N) Σᵢ ‖xᵢ − A cᵢ‖²
        converged = bool((labels == before).all())
    return Clusters(centres, labels, errors, converged)


def _encode(x, centres):
    """The nearest centre of each sample, and the squared distance from it."""
    squares = _squared_distances(x, centres)
    return squares.argmin(axis=1), squares.min(axis=1)  # [clustering.2] argminₖ ‖xᵢ − aₖ‖²


def _decoder(x, labels, centres):
    """The centres Aᵀ for these labels; that of an empty cluster moves to the worst sample, if it is off its centre."""
    code = (labels[:, None] == np.arange(len(centres), like=labels)).astype(x.dtype)  # C, one-hot
    counts = code.sum(axis=0)  # CᵀC = diag(N₁, …, N_K)
    means = code.T @ x / np.maximum(counts, 1)[:, None]  # [clustering.3] (CᵀC)⁻¹ Cᵀ x
    filled = on_host(counts) > 0
    for k in np.flatnonzero(~filled):
        nearest = _squared_distances(x, means[filled]).min(axis=1)
        worst = int(nearest.argmax())
        means[k] = x[worst] if float(nearest[worst]) > _rounding(x) else centres[k]
        filled[k] = True
    return means


def _squared_distances(x, centres):
    """‖xᵢ − aₖ‖², (N, K), as ‖x‖² − 2 xᵀa + ‖a‖², in float64 about a point amid the data: less cancels."""
    squares = np.einsum("ij,ij->i", x, x)[:, None] - x @ (2 * centres.T) + np.einsum("ij,ij->i", centres, centres)
    return np.maximum(squares, 0)


def _about_centres(x, centres):
    """Data and centres about the mean of the centres, and that, in float64."""
    origin = centres.mean(axis=0, dtype=np.float64)
    return x - origin, centres - origin, origin


def _rounding(x):
    """What rounding may leave of a squared distance of zero."""
    return 10 * float(np.finfo(x.dtype).eps) * float(np.einsum("ij,ij->i", x, x).max())


class Mixture(NamedTuple):
    """A mixture of Gaussians of one variance [clustering.6], a density with samples."""

    weights: Array  # w, (K,)
    centres: Array  # Aᵀ, (K, n)
    sigma: float  # standard deviation of each component in each direction
    log_likelihoods: list  # mean ln p of the data at the start and after each step, in nats per sample
    converged: bool  # the last step raised it by less than the tolerance

    def log_density(self, x: Array) -> Array:
        """ln p(x) of each row of x, (N,), in nats [clustering.6]."""
        return self._evaluate(x)[0]

    def posterior(self, x: Array) -> Array:
        """p(k|x), (N, K) [clustering.8]."""
        return self._evaluate(x)[1]

    def _evaluate(self, x):
        x = check_array(x, "x", shape=(None, self.centres.shape[1]), like=self.centres)
        y, centres, _ = _about_centres(x, self.centres)
        return [a.astype(x.dtype) for a in _log_density_and_posterior(y, self.weights, centres, self.sigma)]

    def sample(self, N: int, rng) -> Array:
        """N independent samples, (N, n)."""
        rng, N = check_rng(rng), check_count(N, "N")
        w = on_host(self.weights).astype(np.float64)
        k = rng.choice(len(w), size=N, p=w / w.sum())
        noise = normal(rng, (N, self.centres.shape[1]), like=self.centres)
        return self.centres[np.asarray(k, like=self.centres)] + self.sigma * noise  # x ~ N(aₖ, σ² Id), k ~ w


def gaussian_mixture(x: Array, centres: Array, *, iterations: int = 1000, tolerance: float = 1e-6) -> Mixture:
    """The mixture of greatest likelihood [clustering.6] near given centres, (K, n), such as those of `k_means`, by EM.

    It starts with equal weights and the variance that fits the nearest centres, and is computed in float64. A
    RuntimeWarning says where the last of `iterations` steps still raised the mean log-likelihood by more than
    `tolerance`, in nats per sample. ValueError if all samples lie at the centres: then the likelihood has no maximum.
    """
    x = check_array(x, "x", ndim=2, squares=True)
    centres = check_array(centres, "centres", shape=(None, x.shape[1]), like=x)
    iterations = check_count(iterations, "iterations")
    tolerance = check_number(tolerance, "tolerance", low=0)
    y, centres, origin = _about_centres(x, centres)
    least = _rounding(y) / x.shape[1]
    weights = np.full_like(centres[:, 0], 1 / len(centres))
    sigma = check_fit(float(_encode(y, centres)[1].mean()) / x.shape[1], least) ** 0.5
    log_p, q = _log_density_and_posterior(y, weights, centres, sigma)
    likelihoods, converged = [float(log_p.mean())], False
    while not converged and len(likelihoods) <= iterations:
        weights, centres, sigma = _maximize(y, q, centres)
        check_fit(sigma**2, least)
        log_p, q = _log_density_and_posterior(y, weights, centres, sigma)
        likelihoods.append(float(log_p.mean()))
        converged = likelihoods[-1] - likelihoods[-2] <= tolerance
    if not converged:
        words = f"gaussian_mixture: likelihood still rises after {iterations} steps; raise iterations or tolerance"
        warnings.warn(words, RuntimeWarning, stacklevel=2)
    return Mixture(weights.astype(x.dtype), (origin + centres).astype(x.dtype), sigma, likelihoods, converged)


def _log_density_and_posterior(x, weights, centres, sigma):
    """ln p(x), (N,), and p(k|x), (N, K)."""
    n, tiny = x.shape[1], float(np.finfo(weights.dtype).tiny)
    log_w = np.log(np.maximum(weights, tiny))
    squares = _squared_distances(x, centres)
    log_joint = log_w - n / 2 * math.log(2 * math.pi * sigma**2) - squares / (2 * sigma**2)  # ln wₖ N(xᵢ; aₖ, σ² Id)
    largest = log_joint.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        joint = np.exp(log_joint - largest)
        total = joint.sum(axis=1, keepdims=True)
        posterior = joint / total  # [clustering.8] p(xᵢ, k)/Σₗ p(xᵢ, l)
    return (largest + np.log(total))[:, 0], posterior  # [clustering.6] ln Σₖ p(x, k)


def _maximize(x, q, centres):
    """w, Aᵀ and σ of greatest expected log-likelihood; a component without samples keeps its centre."""
    N, n = x.shape
    with np.errstate(under="ignore"):
        counts = q.sum(axis=0)  # Nₖ = Σᵢ qᵢₖ
        some = np.maximum(counts, float(np.finfo(x.dtype).tiny))
        means = q.T @ x / some[:, None]  # [clustering.9] aₖ = (1/Nₖ) Σᵢ qᵢₖ xᵢ
        centres = np.where((counts == some)[:, None], means, centres)
        variance = float((q * _squared_distances(x, centres)).sum()) / (N * n)  # [clustering.9] σ²
    return counts / N, centres, variance**0.5  # [clustering.9] wₖ = Nₖ/N


def clustering_accuracy(labels: Array, classes: Array) -> float:
    """Share of samples whose cluster was given their class, in the best one-to-one matching [clustering.11]."""
    table = _contingency(*check_two_labellings(labels, classes))
    clusters, matched = linear_sum_assignment(-table)
    return float(table[clusters, matched].sum() / table.sum())  # [clustering.11] (1/N) max Σₖ Nₖₗ₍ₖ₎


def normalised_mutual_information(labels: Array, classes: Array) -> float:
    """How much clusters and classes say of one another, 0 to 1 [clustering.12]; 1 if there is one of each."""
    p = _contingency(*check_two_labellings(labels, classes))
    p = p / p.sum()
    p_k, p_l = p.sum(axis=1), p.sum(axis=0)
    entropies = -(p_k @ np.log(p_k)) - p_l @ np.log(p_l)
    both = p > 0
    information = (p[both] * np.log(p[both] / np.outer(p_k, p_l)[both])).sum()
    return float(information / (0.5 * entropies)) if entropies > 0 else 1.0  # [clustering.12] I/(½ H(z) + ½ H(y))


def _contingency(labels, classes):
    """Nₖₗ, samples of cluster k and class l, for those that occur; on the host."""
    (_, z), (_, y) = (np.unique(on_host(a), return_inverse=True) for a in (labels, classes))
    return np.bincount(z * (y.max() + 1) + y, minlength=(z.max() + 1) * (y.max() + 1)).reshape(z.max() + 1, -1)
