"""Two views: the losses against loops, their gradients, and the theorems by enumeration of every batch there is."""

import itertools
import math
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gamma, iv
from slopes import median_slope

from minissl.nn.gradcheck import gradient_error
from minissl.nn.losses import softmax_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam, lbfgs
from minissl.nn.schedules import cosine
from minissl.nn.training import objective, train
from minissl.tasks.augmentations import gaussian_noise
from minissl.tasks.views import alignment, info_nce, nt_xent, spectral_contrastive, two_views, uniformity

cupy = device()
seeds = st.integers(0, 2**32 - 1)
taus = st.floats(0.1, 2)


def batch(seed, N, m, scale=1.0):
    """Embeddings of lengths from 0.5 to 2, whose partners stand in an order of their own in the second half."""
    rng = np.random.default_rng(seed)
    partner = N + rng.permutation(N)
    target = np.empty(2 * N, dtype=int)
    target[:N], target[partner] = partner, np.arange(N)
    z = rng.standard_normal((2 * N, m))
    return scale * rng.uniform(0.5, 2, (2 * N, 1)) * z / np.linalg.norm(z, axis=1, keepdims=True), target


def in_order(Z1, Z2):
    return np.concatenate([Z1, Z2]), np.roll(np.arange(2 * len(Z1)), len(Z1))


def pairs_of(output, target):
    """[(zᵢ, z′ᵢ)] as lists of numbers."""
    N = len(output) // 2
    return [(output[i].tolist(), output[target[i]].tolist()) for i in range(N)]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def unit(a):
    return [p / math.sqrt(dot(a, a)) for p in a]


def wrong_by(loss, output, target):
    """Relative error of the loss's gradient in the output."""
    return gradient_error(lambda y: flat(loss(y.reshape(output.shape), target)), output.ravel())


def flat(pair):
    return pair[0], pair[1].ravel()


LOSSES = {
    "InfoNCE": info_nce(0.5),
    "InfoNCE, inner product": info_nce(0.7, cosine=False),
    "NT-Xent": nt_xent(0.5),
    "spectral": spectral_contrastive,
    "alignment": alignment,
    "uniformity": uniformity(1.5),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


# --- the task ---------------------------------------------------------------------------------------------------------


@pytest.mark.equation("views.1")
@given(seed=seeds, N=st.integers(1, 5), n=st.integers(1, 3))
def test_two_views_are_two_draws_of_the_augmentation(seed, N, n):
    """The input is augment(x), then augment(x) again from the same generator; targets i + N, and i for row i + N."""
    x = np.random.default_rng(seed).standard_normal((N, n))
    input, target = two_views(gaussian_noise(0.3))(x, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    first, second = (x + 0.3 * rng.standard_normal(x.shape) for _ in range(2))
    assert np.array_equal(input, np.concatenate([first, second]))
    assert target.tolist() == [*range(N, 2 * N), *range(N)]


def test_views_may_have_other_columns_than_the_data():
    x = np.arange(6.0).reshape(2, 3)
    input, _ = two_views(lambda x, rng: x[:, :1] + rng.random((len(x), 1)))(x, 0)
    assert input.shape == (4, 1)
    with pytest.raises(ValueError, match=r"augment: got shape \(1, 3\), expected \(2, any\)"):
        two_views(lambda x, rng: x[1:])(x, 0)
    with pytest.raises(TypeError, match="augment: got dtype float32, expected float64"):
        two_views(lambda x, rng: x.astype("float32"))(x, 0)


# --- each loss against loops, and its gradient ------------------------------------------------------------------------


@pytest.mark.equation("views.2")
@given(seed=seeds, N=st.integers(1, 4), m=st.integers(1, 3), tau=taus, cos=st.booleans())
def test_info_nce_against_loops(seed, N, m, tau, cos):
    """The loss equals the mean of −ln of the partner's share, over all rows and columns of the critic, by loops."""
    output, target = batch(seed, N, m)
    pairs = [(unit(z), unit(w)) if cos else (z, w) for z, w in pairs_of(output, target)]
    expected = 0.0
    for z, w in pairs:
        own = math.exp(dot(z, w) / tau)
        rows = sum(math.exp(dot(z, other) / tau) for _, other in pairs)
        columns = sum(math.exp(dot(other, w) / tau) for other, _ in pairs)
        expected -= (math.log(own / rows) + math.log(own / columns)) / (2 * N)
    assert info_nce(tau, cos)(output, target)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.equation("views.2", "views.7", "views.12")
def test_the_losses_of_two_samples_by_hand():
    """For two orthonormal pairs equal to their partners: ln(1 + 1/e), ln(1 + 2/e) and −2; ln N for equal points."""
    output, target = in_order(np.eye(2), np.eye(2))
    assert info_nce(1.0)(output, target)[0] == pytest.approx(math.log(1 + math.exp(-1)))
    assert nt_xent(1.0)(output, target)[0] == pytest.approx(math.log(1 + 2 * math.exp(-1)))
    assert spectral_contrastive(output, target)[0] == -2
    output, target = in_order(np.ones((5, 3)), np.ones((5, 3)))
    assert info_nce(0.2)(output, target)[0] == pytest.approx(math.log(5))
    assert nt_xent(0.2)(output, target)[0] == pytest.approx(math.log(9))
    assert spectral_contrastive(output, target)[0] == pytest.approx(-2 * 3 + 9)


@pytest.mark.equation("views.7")
@given(seed=seeds, N=st.integers(1, 4), m=st.integers(1, 3), tau=taus)
def test_nt_xent_against_loops(seed, N, m, tau):
    """The loss equals the mean over all 2N rows of −ln of the partner's share among the 2N − 1 others, by loops."""
    output, target = batch(seed, N, m)
    rows = [unit(row) for row in output.tolist()]
    expected = 0.0
    for i, row in enumerate(rows):
        others = sum(math.exp(dot(row, other) / tau) for k, other in enumerate(rows) if k != i)
        expected -= math.log(math.exp(dot(row, rows[target[i]]) / tau) / others) / (2 * N)
    assert nt_xent(tau)(output, target)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.equation("views.8", "views.9")
@given(seed=seeds, N=st.integers(2, 4), m=st.integers(1, 3), t=st.floats(0.1, 5))
def test_alignment_and_uniformity_against_loops(seed, N, m, t):
    """Both equal their definitions, pair by pair; alignment is also 2 less twice the mean cosine, within 0 and 4."""
    output, target = batch(seed, N, m)
    pairs = [(unit(z), unit(w)) for z, w in pairs_of(output, target)]
    aligned = sum((p - q) ** 2 for z, w in pairs for p, q in zip(z, w, strict=True)) / N
    value = alignment(output, target)[0]
    assert value == pytest.approx(aligned, abs=1e-12)
    assert value == pytest.approx(2 - 2 * sum(dot(z, w) for z, w in pairs) / N, abs=1e-12)
    assert -1e-12 < value < 4 + 1e-12
    spread = 0.0
    for view in zip(*pairs, strict=True):
        kernels = [math.exp(-t * sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
                   for a, b in itertools.permutations(view, 2)]  # fmt: skip
        spread += math.log(sum(kernels) / (N * (N - 1))) / 2
    assert uniformity(t)(output, target)[0] == pytest.approx(spread, abs=1e-10)


@pytest.mark.equation("views.12")
@given(seed=seeds, N=st.integers(2, 4), m=st.integers(1, 3))
def test_the_spectral_loss_against_loops(seed, N, m):
    """The loss equals −2 times the mean of z·z′ plus the mean of (z·z′)² over pairs of different samples, by loops."""
    output, target = batch(seed, N, m)
    pairs = pairs_of(output, target)
    together = sum(dot(z, w) for z, w in pairs) / N
    apart = sum(dot(pairs[i][0], pairs[j][1]) ** 2 for i, j in itertools.permutations(range(N), 2)) / (N * (N - 1))
    value, _ = spectral_contrastive(output, target)
    assert value == pytest.approx(-2 * together + apart, abs=1e-12 * (1 + apart))


@pytest.mark.equation("views.3", "views.4", "views.7", "views.8", "views.9", "views.13")
@losses
@given(seed=seeds, N=st.integers(1, 5), m=st.integers(2, 4))
def test_every_gradient_against_central_differences(loss, seed, N, m):
    """Each component of the gradient in the output equals central differences of the value, to 1e-7."""
    output, target = batch(seed, N, m)
    assert wrong_by(loss, output, target) < 1e-7


@pytest.mark.equation("views.3", "views.4", "views.13")
@losses
@given(seed=seeds, activation=st.sampled_from(["tanh", "sigmoid", "identity"]))
def test_every_gradient_through_a_network(loss, seed, activation):
    """The gradient in all parameters of a network equals central differences to 1e-7."""
    rng = np.random.default_rng(seed)
    net = MLP((3, 5, 4), activation, rng=rng, dtype="float64")
    pair = two_views(gaussian_noise(0.5))(rng.standard_normal((6, 3)), rng)
    assume(np.linalg.norm(net(pair[0]), axis=1).min() > 0.2)  # a direction changes as fast as its vector is short
    assert gradient_error(objective(net, pair, loss), net.theta) < 1e-7


@pytest.mark.equation("views.3", "views.4", "views.13")
@losses
def test_the_remainder_of_every_gradient(loss):
    """Along most of nine random directions Taylor's remainder falls as h²."""
    output, target = batch(0, 6, 3)

    def J(y):
        return flat(loss(y.reshape(output.shape), target))

    assert median_slope(J, output.ravel(), h=2e-4) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("views.4")
@given(seed=seeds, N=st.integers(2, 5), m=st.integers(2, 4))
def test_the_cosine_does_not_depend_on_length(seed, N, m):
    """Rows times any positive numbers leave the value as it is, divide the gradient by them, and z·∂J/∂z = 0."""
    output, target = batch(seed, N, m)
    lengths = np.random.default_rng(seed).uniform(0.1, 10, (2 * N, 1))
    for loss in (info_nce(0.5), nt_xent(0.5), alignment, uniformity()):
        value, delta = loss(output, target)
        longer, shorter = loss(lengths * output, target)
        assert longer == pytest.approx(value, abs=1e-12)
        np.testing.assert_allclose(lengths * shorter, delta, atol=1e-12)
        np.testing.assert_allclose((output * delta).sum(axis=1), 0, atol=1e-13)


@losses
@given(seed=seeds, N=st.integers(2, 5), m=st.integers(2, 4))
def test_what_does_not_matter(loss, seed, N, m):
    """The order of the samples, which view comes first, and a rotation of the embedding."""
    rng = np.random.default_rng(seed)
    output, target = batch(seed, N, m)
    value, delta = loss(output, target)
    Z1, Z2 = output[:N], output[target[:N]]
    order = rng.permutation(N)
    rotation = np.linalg.qr(rng.standard_normal((m, m)))[0]
    for A, B in ((Z1[order], Z2[order]), (Z2, Z1), (Z1 @ rotation, Z2 @ rotation)):
        assert loss(*in_order(A, B))[0] == pytest.approx(value, abs=1e-11 * (1 + abs(value)))
    np.testing.assert_allclose(loss(output @ rotation, target)[1], delta @ rotation, atol=1e-11 * (1 + abs(value)))
    assert np.array_equal(output, batch(seed, N, m)[0])


# --- what InfoNCE learns ----------------------------------------------------------------------------------------------


def joint(seed, K):
    """A joint probability of K × K views, with its marginals and the pointwise mutual information."""
    P = np.random.default_rng(seed).dirichlet(np.full(K * K, 2)).reshape(K, K) + 0.01
    P /= P.sum()
    return P, np.log(P / P.sum(axis=1, keepdims=True) / P.sum(axis=0))


def batches(P, N):
    """Every batch of N pairs of views, with its probability."""
    cells = list(itertools.product(range(P.shape[0]), range(P.shape[1])))
    for chosen in itertools.product(cells, repeat=N):
        rows, columns = (list(view) for view in zip(*chosen, strict=True))
        yield math.prod(P[cell] for cell in chosen), rows, columns


def mean_loss(P, N, S, loss=None):
    """The mean over all batches of a loss with the table S as its critic, and the mean gradient in the table.

    The embeddings are the rows of S and unit vectors, so that their inner products are the entries of S.
    """
    loss = info_nce(1.0, cosine=False) if loss is None else loss
    value, gradient, one_hot = 0.0, np.zeros_like(S), np.eye(len(S))
    for probability, rows, columns in batches(P, N):
        J, delta = loss(*in_order(S[rows], one_hot[columns]))
        value += probability * J
        gradient += probability * one_hot[:, rows] @ delta[:N]
    return value, gradient


def one_way(output, target):
    """Which of the rows of the second view is the partner: InfoNCE in one direction alone."""
    N = len(output) // 2
    J, G = softmax_cross_entropy(output[:N] @ output[N:].T, np.arange(N))
    return J, np.concatenate([G @ output[N:], G.T @ output[:N]])


@pytest.mark.equation("views.5")
@pytest.mark.parametrize("N", [2, 3])
def test_the_optimal_critic_is_the_pointwise_mutual_information(N):
    """At the PMI plus any function of v the mean gradient over all batches is zero one way, both ways at the PMI plus a
    number alone; one can be found by minimising from elsewhere."""
    P, pmi = joint(0, 3)
    a = np.array([[0.5], [-1.0], [2.0]])
    for S in (pmi, pmi + a):
        assert abs(mean_loss(P, N, S, one_way)[1]).max() < 1e-15
    assert abs(mean_loss(P, N, pmi + 3)[1]).max() < 1e-15
    for S in (pmi + a, pmi + a.T, 1.1 * pmi):
        assert abs(mean_loss(P, N, S)[1]).max() > 1e-3
    if N == 2:
        found = lbfgs(lambda s: flat(mean_loss(P, N, s.reshape(3, 3))), np.zeros(9))  # to 1e-8
        learned = found.theta.reshape(3, 3)
        np.testing.assert_allclose(learned - learned.mean(), pmi - pmi.mean(), atol=1e-5)


@pytest.mark.equation("views.6")
@given(seed=seeds, scale=st.floats(0, 5), N=st.integers(2, 3))
def test_the_bound_on_the_mutual_information(seed, scale, N):
    """For every critic on 2 × 2 views ln N less the mean loss over all batches is at most I and at most ln N."""
    P, pmi = joint(seed, 2)
    information = (P * pmi).sum()
    noise = scale * np.random.default_rng(seed).standard_normal((2, 2))
    best = math.log(N) - mean_loss(P, N, pmi, one_way)[0]
    bound = math.log(N) - mean_loss(P, N, pmi + noise, one_way)[0]
    assert bound <= best + 1e-12
    assert best <= min(information, math.log(N)) + 1e-12


def gaussian_pair(rho, n, N, rng):
    """Embeddings of Gaussian views whose inner products are the PMI, up to a number."""
    v = rng.standard_normal((N, n))
    w = rho * v + math.sqrt(1 - rho**2) * rng.standard_normal((N, n))
    a = rho / (1 - rho**2)
    squares = [-a * rho / 2 * (u * u).sum(axis=1, keepdims=True) for u in (v, w)]
    return in_order(np.hstack([a * v, squares[0], np.ones((N, 1))]), np.hstack([w, np.ones((N, 1)), squares[1]]))


REFERENCE = {  # (n, ρ): {K: (ln K − L at the PMI, its standard error)}, from 400 (K = 512) to 100,000 batches (K = 2)
    (1, 0.8): {2: (0.2246, 8e-4), 8: (0.4281, 4e-4), 32: (0.4882, 2e-4), 128: (0.5047, 1e-4), 512: (0.5092, 1e-4)},
    (4, 0.9): {2: (0.6417, 6e-4), 8: (1.7753, 8e-4), 32: (2.5791, 8e-4), 128: (3.0191, 8e-4), 512: (3.2098, 9e-4)},
    (8, 0.95): {2: (0.6928, 1e-4), 8: (2.0766, 1e-4), 32: (3.4538, 2e-4), 128: (4.8063, 4e-4), 512: (6.0860, 1e-3)},
}


@pytest.mark.equation("views.5", "views.6")
def test_two_candidates_by_quadrature():
    """The mean loss of two Gaussian pairs with ρ = 0.8, the critic the PMI, equals ln 2 − 0.2240 by quadrature."""
    rho, (nodes, weights) = 0.8, np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    v, e, other = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    a = rho / (1 - rho**2)

    def s(v, w):
        return a * v * w - a * rho / 2 * w * w

    gap = s(v, other) - s(v, rho * v + math.sqrt(1 - rho**2) * e)
    exact = np.einsum("i,j,k,ijk", weights, weights, weights, np.logaddexp(0, gap))
    assert math.log(2) - exact == pytest.approx(0.2240, abs=5e-5)
    rng = np.random.default_rng(0)
    values = [info_nce(1.0, cosine=False)(*gaussian_pair(rho, 1, 2, rng))[0] for _ in range(4000)]
    assert np.mean(values) == pytest.approx(exact, abs=5 * np.std(values) / len(values) ** 0.5)


@pytest.mark.equation("views.6")
@pytest.mark.parametrize(("n", "rho"), [(1, 0.8), (4, 0.9), (8, 0.95)])
@pytest.mark.parametrize("K", [2, 8, 32, 128, 512])
def test_what_the_bound_reaches_for_gaussian_views(n, rho, K):
    """ln K less the loss at the PMI of Gaussian views equals the reference, below ln K and I = −(n/2) ln(1 − ρ²)."""
    rng, count = np.random.default_rng(0), max(10, 4000 // K)
    bounds = [math.log(K) - info_nce(1.0, cosine=False)(*gaussian_pair(rho, n, K, rng))[0] for _ in range(count)]
    error = 5 * np.std(bounds) / count**0.5
    value, known = REFERENCE[n, rho][K]
    assert np.mean(bounds) == pytest.approx(value, abs=error + 5 * known)
    assert value < min(math.log(K), -n / 2 * math.log(1 - rho**2)) + 5 * known


def test_a_network_learns_the_mutual_information():
    """Trained on Gaussian views with ρ = 0.8, the bound on fresh batches reaches I = 0.511 nats within its error."""
    rho, rng = 0.8, np.random.default_rng(0)

    def views(x, rng):  # two of these have correlation ρ
        return math.sqrt(rho) * x + math.sqrt(1 - rho) * rng.standard_normal(x.shape)

    net = MLP((1, 24, 8), "tanh", rng=rng, dtype="float64")
    options = {"epochs": 15, "batch_size": 128, "optimizer": Adam(5e-3), "schedule": cosine, "rng": rng}
    train(net, rng.standard_normal((5000, 1)), two_views(views), info_nce(1.0, cosine=False), **options)
    bounds = []
    for _ in range(100):
        input, target = two_views(views)(rng.standard_normal((200, 1)), rng)
        bounds.append(math.log(200) - info_nce(1.0, cosine=False)(net(input), target)[0])
    error = np.std(bounds) / len(bounds) ** 0.5
    assert -math.log(1 - rho**2) / 2 == pytest.approx(np.mean(bounds), abs=5 * error + 0.01)


# --- all other rows as candidates -------------------------------------------------------------------------------------


@pytest.mark.equation("views.5", "views.7")
@pytest.mark.parametrize(("K", "N"), [(3, 2), (2, 4)])
def test_with_all_other_rows_the_pmi_is_not_the_optimum(K, N):
    """At the τ that makes cosines of unit vectors the PMI the derivative of the mean loss over all batches in 1/τ is
    zero with the other view's rows as candidates, and is not with all others."""
    P = (np.ones((K, K)) + 7 * np.eye(K)) / (K * K + 7 * K)  # the PMI is ln 8 larger on the diagonal than off it
    one_hot = np.eye(K)

    def mean(loss):
        return sum(p * loss(*in_order(one_hot[r], one_hot[c]))[0] for p, r, c in batches(P, N))

    h = 1e-4
    taus = 1 / (math.log(8) + h), 1 / (math.log(8) - h)
    slopes = [(mean(of(taus[0])) - mean(of(taus[1]))) / (2 * h) for of in (info_nce, nt_xent)]
    assert abs(slopes[0]) < 1e-9
    assert abs(slopes[1]) > 1e-3


@pytest.mark.equation("views.7")
def test_the_odds_of_two_pairs_by_bayes_rule():
    """Of the three ways to pair four rows the first two have the odds of the text, which are not those of the PMI."""
    P = np.array([[4, 1, 2], [1, 6, 3], [2, 3, 2]]) / 24
    p = P.sum(axis=1)
    v1, w1, v2, w2 = 0, 1, 2, 2
    odds = P[v1, w1] * P[v2, w2] / (P[v1, v2] * P[w1, w2])
    pmi_odds = P[v1, w1] * p[v2] / (P[v1, v2] * p[w1])
    # who is with whom: three ways to pair four rows, each as likely before the rows are seen
    ways = [P[v1, w1] * P[v2, w2], P[v1, v2] * P[w1, w2], P[v1, w2] * P[w1, v2]]
    posterior = np.array(ways) / sum(ways)
    assert posterior[0] / posterior[1] == pytest.approx(odds)
    assert odds == pytest.approx(1 * 2 / (2 * 3)) and pmi_odds == pytest.approx(1 * 7 / (2 * 10))


# --- alignment and uniformity -----------------------------------------------------------------------------------------


def closed_form(m, t):
    return -2 * t + math.log(gamma(m / 2) * t ** (1 - m / 2) * iv(m / 2 - 1, 2 * t))


@pytest.mark.equation("views.10")
@pytest.mark.parametrize("m", [2, 3, 6])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_the_uniformity_of_uniform_points(m, t):
    """The closed form equals quadrature over the angle, and the measure of 2,000 random points within five errors."""

    def integral(k):  # of the k-th power of the kernel over the angle
        return quad(lambda u: math.exp(-k * t * (2 - 2 * math.cos(u))) * math.sin(u) ** (m - 2), 0, math.pi)[0]

    total, *kernel = (integral(k) for k in range(3))
    assert closed_form(m, t) == pytest.approx(math.log(kernel[0] / total), abs=1e-8)
    N, mean = 2000, kernel[0] / total
    deviation = math.sqrt(kernel[1] / total - mean**2)  # of one pair; all pairs are uncorrelated, N²/2 in each view
    output, target = in_order(*np.random.default_rng(0).standard_normal((2, N, m)))
    value = uniformity(t)(output, target)[0]
    assert value == pytest.approx(closed_form(m, t), abs=5 * deviation / mean / N)


@pytest.mark.equation("views.9", "views.10")
def test_points_spread_evenly_over_the_circle():
    """For N evenly spaced points the measure is ln[(N e^(−4) I₀(4) − 1)/(N − 1)], and e^(−4) I₀(4) has logarithm
    −1.5750; they are a minimum, and points at one place have 0."""
    N = 64
    angles = 2 * np.pi * np.arange(N) / N
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    value, delta = uniformity()(*in_order(points, points[::-1]))
    assert closed_form(2, 2) == pytest.approx(-4 + math.log(iv(0, 4)))
    assert closed_form(2, 2) == pytest.approx(-1.5750, abs=5e-5)
    assert value == pytest.approx(math.log((N * math.exp(closed_form(2, 2)) - 1) / (N - 1)), abs=1e-12)
    assert abs(delta).max() < 1e-15
    moved = points + 0.05 * np.random.default_rng(0).standard_normal(points.shape)
    assert uniformity()(*in_order(moved, moved))[0] > value
    assert uniformity()(*in_order(points[:1], points[:1]))[0] == 0
    assert uniformity()(*in_order(np.ones((4, 3)), 2 * np.ones((4, 3))))[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("views.11")
@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_many_candidates_make_an_alignment_and_a_uniformity(tau):
    """On the circle, views an angle apart with the von Mises density, J − ln N at N = 400 equals
    −I₁(κ)/(I₀(κ) τ) + ln I₀(1/τ) within five errors, and alignment its 2 − 2 I₁(κ)/I₀(κ)."""
    N, kappa, rng = 400, 3.0, np.random.default_rng(0)
    values, aligned = [], []
    for _ in range(10):
        angle = rng.uniform(0, 2 * np.pi, N)
        other = angle + rng.vonmises(0, kappa, N)
        pair = in_order(*(np.stack([np.cos(u), np.sin(u)], axis=1) for u in (angle, other)))
        values.append(info_nce(tau)(*pair)[0] - math.log(N))
        aligned.append(alignment(*pair)[0])
    together = iv(1, kappa) / iv(0, kappa)
    # of the mean of exp s over N candidates, whose relative variance is this, the logarithm is too small by half of it
    variance = (iv(0, 2 / tau) / iv(0, 1 / tau) ** 2 - 1) / N
    limit = -together / tau + math.log(iv(0, 1 / tau))
    assert np.mean(values) == pytest.approx(limit, abs=5 * np.std(values, ddof=1) / 10**0.5 + variance)
    assert np.mean(aligned) == pytest.approx(2 - 2 * together, abs=5 * np.std(aligned, ddof=1) / 10**0.5)


# --- the spectral loss ------------------------------------------------------------------------------------------------


def graph(seed, K=8, samples=6, views=5):
    """Pairs of K views of a few samples, each with a few views, drawn independently: P (K, K), and Ā."""
    rng = np.random.default_rng(seed)
    given_x = np.zeros((samples, K))
    for row in given_x:
        row[rng.permutation(K)[:views]] = rng.dirichlet(np.ones(views))
    given_x += 1e-3 / K
    given_x /= given_x.sum(axis=1, keepdims=True)
    P = given_x.T @ given_x / samples
    p = P.sum(axis=1)
    return P, P / np.sqrt(np.outer(p, p))


def spectral_mean(P, f):
    """−2 E z·z′ + E(z·z⁻)² for the embeddings f (K, m), and its gradient in f."""
    p, S = P.sum(axis=1), f @ f.T
    G = -2 * P + 2 * np.outer(p, p) * S
    return -2 * (P * S).sum() + (np.outer(p, p) * S * S).sum(), 2 * G @ f


@pytest.mark.equation("views.12", "views.13", "views.14")
def test_the_mean_spectral_loss_of_all_batches():
    """Over every batch of two pairs of 8 views the mean loss is ‖Ā − FFᵀ‖² − ‖Ā‖², and the mean gradient that of it."""
    P, A = graph(0)
    f = np.random.default_rng(0).standard_normal((8, 3))
    value, gradient = 0.0, np.zeros_like(f)
    for probability, rows, columns in batches(P, 2):
        J, delta = spectral_contrastive(*in_order(f[rows], f[columns]))
        value += probability * J
        np.add.at(gradient, rows + columns, probability * delta)
    F = np.sqrt(P.sum(axis=1))[:, None] * f
    assert value == pytest.approx(((A - F @ F.T) ** 2).sum() - (A**2).sum(), abs=1e-11)
    expected, slope = spectral_mean(P, f)
    assert value == pytest.approx(expected, abs=1e-11)
    np.testing.assert_allclose(gradient, slope, atol=1e-11)


@pytest.mark.equation("views.14")
@pytest.mark.parametrize("m", [1, 3, 8])
def test_the_spectral_loss_finds_the_leading_eigenvectors(m):
    """Minimised from a random start, the mean loss reaches −Σ λₖ² and FFᵀ the truncated eigendecomposition of Ā, whose
    first eigenvector is √p with the eigenvalue one."""
    P, A = graph(1)
    p = P.sum(axis=1)
    eigenvalues, V = (part[..., ::-1] for part in np.linalg.eigh(A))
    assert eigenvalues[0] == pytest.approx(1) and eigenvalues[-1] > -1e-12
    np.testing.assert_allclose(abs(V[:, 0]), np.sqrt(p), atol=1e-12)
    start = np.random.default_rng(0).standard_normal(8 * m)
    found = lbfgs(lambda f: flat(spectral_mean(P, f.reshape(8, m))), start, iterations=5000, tolerance=1e-9, warn=False)
    F = np.sqrt(p)[:, None] * found.theta.reshape(8, m)
    assert found.value == pytest.approx(-(eigenvalues[:m] ** 2).sum(), abs=1e-10)
    np.testing.assert_allclose(F @ F.T, V[:, :m] * eigenvalues[:m] @ V[:, :m].T, atol=1e-5)
    value, gradient = spectral_mean(P, V[:, :m] * np.sqrt(np.maximum(eigenvalues[:m], 0)) / np.sqrt(p)[:, None])
    assert value == pytest.approx(-(eigenvalues[:m] ** 2).sum(), abs=1e-14)
    assert abs(gradient).max() < 1e-7  # the square root of the rounding of an eigenvalue that is zero


@pytest.mark.equation("views.15")
@given(seed=seeds, m=st.integers(1, 5))
def test_contrastive_and_non_contrastive_are_one(seed, m):
    """For random embeddings of 8 views the mean loss equals E‖z − z′‖² + ‖E zzᵀ − Id‖² − m, by loops over all pairs."""
    P, _ = graph(seed)
    f = np.random.default_rng(seed).standard_normal((8, m))
    distance = sum(P[u, w] * ((f[u] - f[w]) ** 2).sum() for u in range(8) for w in range(8))
    M = sum(P[u].sum() * np.outer(f[u], f[u]) for u in range(8))
    right = distance + ((M - np.eye(m)) ** 2).sum() - m
    assert spectral_mean(P, f)[0] == pytest.approx(right, rel=1e-12, abs=1e-12)


# --- batches of one, zeros, copies, dtypes, devices, bad input --------------------------------------------------------


@losses
def test_a_batch_of_one_sample_and_embeddings_of_zero(loss):
    """The last batch of an epoch may be one sample; and relu units may all be off, so that the output is its bias."""
    for output in (np.ones((2, 3)), np.zeros((2, 3)), np.zeros((8, 3))):
        N = len(output) // 2
        value, delta = loss(output, np.roll(np.arange(2 * N), N))
        assert np.isfinite(value) and np.isfinite(delta).all()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@losses
def test_an_unpickled_loss_gives_the_same(loss, protocol):
    output, target = batch(0, 4, 3)
    again = pickle.loads(pickle.dumps(loss, protocol))
    assert again(output, target)[0] == loss(output, target)[0]
    task = pickle.loads(pickle.dumps(two_views(gaussian_noise(0.1)), protocol))
    assert np.array_equal(task(output, 1)[0], two_views(gaussian_noise(0.1))(output, 1)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@losses
def test_dtype_is_kept_and_the_device_gives_the_same(loss, dtype):
    output, target = batch(0, 4, 3)
    output = output.astype(dtype)
    value, delta = loss(output, target)
    there, delta_there = loss(cupy.asarray(output), cupy.asarray(target))
    assert isinstance(delta_there, cupy.ndarray) and delta.dtype == delta_there.dtype == dtype
    assert float(there) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(cupy.asnumpy(delta_there), delta, atol=1e-6)
    exact, exact_delta = loss(output.astype("float64"), target)
    assert value == pytest.approx(exact, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(delta, exact_delta, atol=1e-5)
    task = two_views(gaussian_noise(0.1))
    for a, b in zip(task(output, 1), task(cupy.asarray(output), 1), strict=True):
        assert isinstance(b, cupy.ndarray) and np.array_equal(cupy.asnumpy(b), a)


@losses
@pytest.mark.parametrize("size", [1e-15, 1e6])
def test_embeddings_of_extreme_size(loss, size):
    output, target = batch(0, 4, 3, size)
    value, delta = loss(output, target)
    assert np.isfinite(value) and np.isfinite(delta).all()


@losses
def test_partners_that_are_no_pairs_are_refused(loss):
    output = np.ones((4, 2))
    for target in ([1, 0, 3, 2], [2, 3, 1, 0], [2, 2, 0, 1]):
        with pytest.raises(ValueError, match="target: expected each row of the first half and its partner in"):
            loss(output, np.array(target))
    with pytest.raises(ValueError, match="target: expected each row"):
        loss(np.ones((3, 2)), np.array([1, 0, 2]))
    with pytest.raises(ValueError, match=r"target: got shape \(2,\), expected \(4,\)"):
        loss(output, np.array([1, 0]))
