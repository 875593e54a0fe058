"""Two views of one sample: a network that finds which views belong together has learned what they have in common.

Today's *contrastive learning*. Two random changes of one image (augmentations.py) belong together; two of different
images do not. What the changes take away, the network learns to ignore.

    symbol        in code            meaning                                                          shape
    x             x                  data, one sample per row                                         (N, n)
    v, v′         input              two views of each sample: all v, then all v′                     (2N, n)
    z, z′         output             their embeddings, the network's output, in the same order        (2N, m)
    Z, Z′         Z1, Z2             rows zᵢ; rows z′ᵢ, the partners of the zᵢ                        (N, m) each
    S             S                  scores of all pairs by the *critic* s: Sᵢⱼ = s(vᵢ, v′ⱼ)          (N, N)
    τ             temperature        divides the critic                                               number
    ẑ             (from _unit)       z/‖z‖, a point of the unit sphere                                (m,)
    J, L          value              a loss; that in one direction alone                              numbers
    G, g, Id      G                  gradient in S, or in ẑ; the identity matrix                      (N, N), (m,)
    p(v, v′)                         density of the pairs; p(v), p(v′) of a view by itself            functions
    I, E                             mutual information of v and v′ in nats; mean                     number ≥ 0
    c             own                which of the v′ⱼ is the partner                                  1 … N
    t, I_α, Γ     t                  scale of the uniformity; modified Bessel, gamma function         number, functions
    P_uw, p_u                        probability of the pair (u, w), of u, if there are K views       numbers
    f, F, Ā                          embedding f(u) of each; matrices (K, m) and (K, K) of these      (m,)

**The task**: two views of each sample; the target of a row is the row of its partner. The loss takes care of the rest.

    [views.1]   input = (v₁ … v_N, v′₁ … v′_N);    target of vᵢ: row of v′ᵢ;    target of v′ᵢ: row of vᵢ

**InfoNCE** (van den Oord, Li & Vinyals 2018). Which of v′₁ … v′_N is the partner of vᵢ? And which vᵢ that of v′ⱼ? Two
classifications with N classes; the logits are the rows and the columns of S, the loss their cross-entropy [losses.3]:

    [views.2]   J = (1/2N) Σᵢ [ln Σⱼ exp Sᵢⱼ − Sᵢᵢ] + (1/2N) Σⱼ [ln Σᵢ exp Sᵢⱼ − Sⱼⱼ],    S = Z Z′ᵀ/τ

With G = ∂J/∂S, half of either gradient of [losses.3], and dS = (dZ Z′ᵀ + Z dZ′ᵀ)/τ,

    [views.3]   ∂J/∂Z = G Z′/τ,    ∂J/∂Z′ = Gᵀ Z/τ,    Gᵢⱼ = [exp Sᵢⱼ/Σₖ exp Sᵢₖ + exp Sᵢⱼ/Σₖ exp Sₖⱼ − 2 Idᵢⱼ]/(2N)

The cosine in place of the inner product bounds the critic, so that only τ sets its range. ẑ replaces z, and since
dẑ = dz/‖z‖ − z (z·dz)/‖z‖³ = (dz − ẑ (ẑ·dz))/‖z‖, a symmetric map of dz, a gradient g in ẑ goes back as

    [views.4]   ẑ = z/‖z‖,    ∂J/∂z = (g − ẑ (ẑ·g))/‖z‖

*What is learned.* Given vᵢ and the set of the v′ⱼ, without their order, how probable is it that v′ⱼ is the partner?
Then v′ⱼ has density p(v′ⱼ | vᵢ) and the others, views of other samples, have p(v′ₖ). By Bayes' rule the probability is
proportional to p(v′ⱼ | vᵢ) Πₖ≠ⱼ p(v′ₖ), or p(v′ⱼ | vᵢ)/p(v′ⱼ). The best classifier gives this probability (Gibbs'
inequality), so its logits are the logarithm, the *pointwise mutual information* (PMI), plus what is the same for all j:

    [views.5]   s*(v, v′) = ln [p(v, v′)/(p(v) p(v′))] + a(v)      (theorem)

for any function a. In both directions at once, a must be a constant. This holds for every N ≥ 2, if p(v, v′) is zero
only where p(v) p(v′) is. The loss in one direction, L, is then a bound on the mutual information (Poole et al. 2019):

    [views.6]   ln N − L ≤ I(v; v′),    ln N − L ≤ ln N      (theorem)

For L ≥ H(c | v, v′₁ … v′_N) = ln N − I(c; v, v′₁ … v′_N). The v′ⱼ alone say nothing about c, so I(c; v, v′₁ … v′_N) =
I(c; v | v′₁ … v′_N) ≤ I(v; c, v′₁ … v′_N), which is I(v; v′), for of these only the partner says anything about v. With
N candidates no more than ln N nats can be seen: hence large batches, and no trust in an estimate near ln N.

*All other rows as candidates*, those of the same view as well (NT-Xent; SimCLR, Chen et al. 2020): 2N − 1 for each row,

    [views.7]   J = (1/2N) Σᵢ [ln Σₖ≠ᵢ exp Sᵢₖ − S_{i,partner}],    S = Ŷ Ŷᵀ/τ,    rows of Ŷ: ẑ₁ … ẑ_N, ẑ′₁ … ẑ′_N

Here the PMI is not the optimum: the other candidates come in pairs, vₖ with v′ₖ, and how well *they* go together says
something, too. (For N = 2, v′₁ is the partner of v₁ with odds p(v₁, v′₁) p(v₂, v′₂) to p(v₁, v₂) p(v′₁, v′₂), not
p(v₁, v′₁) p(v₂) to p(v₁, v₂) p(v′₁).) A test finds that the mean gradient at the PMI is not zero. As N grows, this
ceases to matter.

**Alignment and uniformity** (Wang & Isola 2020) measure the two halves of what the cosine asks for: partners at the
same place of the sphere, and all samples evenly spread over it. They are losses, too; the first alone collapses.

    [views.8]   alignment = (1/N) Σᵢ ‖ẑᵢ − ẑ′ᵢ‖² = 2 − (2/N) Σᵢ ẑᵢ·ẑ′ᵢ
    [views.9]   uniformity = ln [1/(N(N−1)) Σᵢ≠ⱼ exp(−t ‖ẑᵢ − ẑⱼ‖²)],  the mean of that of Z and that of Z′

For points uniform on the sphere ‖ẑ − ẑ′‖² = 2 − 2 cos ∠(ẑ, ẑ′), and the mean of exp(κ cos) is known (the normaliser of
the von Mises–Fisher distribution). For κ = 2t it gives the least that uniformity can be, in the limit of many points:

    [views.10]   ln E exp(−t ‖ẑ − ẑ′‖²) = −2t + ln [Γ(m/2) t^(−α) I_α(2t)],    α = m/2 − 1      (theorem)

For t = 2 on the circle (m = 2) it is −4 + ln I₀(4) = −1.5750. And for many candidates ln Σⱼ exp Sᵢⱼ − ln N tends
to the logarithm of a mean, so that InfoNCE becomes an alignment and a uniformity (their theorem 1):

    [views.11]   J − ln N → −E s(v, v′) + ½ E_v ln E_v′ exp s(v, v′) + ½ E_v′ ln E_v exp s(v, v′)      (theorem)

for bounded s; within the logarithms v and v′ are independent.

**The spectral contrastive loss** (HaoChen et al. 2021) takes squares for exponentials, and all can be computed:

    [views.12]   J = −(2/N) Σᵢ Sᵢᵢ + 1/(N(N−1)) Σᵢ≠ⱼ Sᵢⱼ²,    S = Z Z′ᵀ
    [views.13]   ∂J/∂Z = G Z′,    ∂J/∂Z′ = Gᵀ Z,    Gᵢᵢ = −2/N,  Gᵢⱼ = 2 Sᵢⱼ/(N(N−1))

Its mean is −2 E z·z′ + E(z·z⁻)², where z⁻ is z′ of another sample. Let there be K possible views, P_uw = P_wu the
probability of the pair (u, w), and p_u = Σ_w P_uw. With Ā_uw = P_uw/√(p_u p_w), and √p_u f(u) the rows of F, the two
terms are −2⟨Ā, FFᵀ⟩ and ‖FFᵀ‖². Completing the square, then by the theorem of Eckart & Young,

    [views.14]   J = ‖Ā − FFᵀ‖² − ‖Ā‖² ≥ −Σₖ λₖ²,   k = 1 … m,   with equality for FFᵀ = Σₖ λₖ vₖvₖᵀ      (theorem)

λ₁ = 1 ≥ λ₂ ≥ … are the eigenvalues of Ā and vₖ its eigenvectors, if the first m are not negative. (None is negative
if the two views are drawn alike and independently given x: Ā is then a mean of matrices aaᵀ.) So the network computes
the leading eigenvectors of the graph whose edges are the pairs; the first, √p_u, is the constant function. A linear one
computes the canonical correlations of the two views: linear/cca.py. Since 2 E z·z′ = 2 E‖z‖² − E‖z − z′‖² if z and z′
have the same distribution, and E(z·z⁻)² = tr M² = ‖M − Id‖² + 2 tr M − m with M = E zzᵀ, the same loss reads

    [views.15]   −2 E z·z′ + E(z·z⁻)² = E‖z − z′‖² + ‖E zzᵀ − Id‖² − m      (theorem)

There are no negative pairs on the right: bring partners together, and keep the components of the embedding orthogonal
and of unit size, without centring (one may be constant). With centring, that is what noncontrastive.py does: the two
kinds are one (Garrido et al. 2023).

>>> from minissl.tasks.augmentations import gaussian_noise
>>> input, target = two_views(gaussian_noise(0.5))(np.array([[0.0], [10.0]]), rng=0)  # v₁, v₂, v′₁, v′₂
>>> print(input.round().ravel(), target)
[ 0. 10.  0. 10.] [2 3 0 1]
>>> N, rho = 1000, 0.8  # Gaussian views with this correlation: the PMI is an inner product of (v, v², 1), (v′, 1, v′²)
>>> v, w = np.random.default_rng(0).multivariate_normal([0, 0], [[1, rho], [rho, 1]], N).T[:, :, None]
>>> a = rho / (1 - rho**2)
>>> Z1, Z2 = np.hstack([a * v, -a * rho / 2 * v**2, v**0]), np.hstack([w, w**0, -a * rho / 2 * w**2])
>>> J, delta = info_nce(temperature=1, cosine=False)(np.concatenate([Z1, Z2]), np.roll(np.arange(2 * N), N))
>>> print(f"{np.log(N) - J:.1f} of {-np.log(1 - rho**2) / 2:.1f} nats")  # ln N − J, and I
0.5 of 0.5 nats

Sources: van den Oord, Li & Vinyals (2018); Poole et al., ICML (2019); Chen et al., ICML (2020); Wang & Isola, ICML
(2020); HaoChen, Wei, Gaidon & Ma, NeurIPS (2021); Garrido et al., ICLR (2023).
"""

import functools
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array, Loss, Task
from minissl._checks import check_array, check_callable, check_number, check_partners, check_rng, check_rows
from minissl.nn.losses import softmax_cross_entropy


def two_views(augment: Callable) -> Task:
    """The task: two views of each sample; the target is the row of a view's partner [views.1].

    `augment` is a function (x, rng) -> view, one row for each row of x and new random changes at every call; it may
    change the number of columns. For the losses of this module and of `noncontrastive`.
    """
    return functools.partial(_two_views, check_callable(augment, "augment"))


def _two_views(augment, x, rng):
    x = check_rows(x, "x")
    rng = check_rng(rng)
    N = len(x)
    views = [check_array(augment(x, rng), "augment", shape=(N, None), dtype=x.dtype) for _ in range(2)]
    target = np.arange(2 * N, like=x)
    return np.concatenate(views), np.where(target < N, target + N, target - N)  # [views.1] rows of v′ᵢ, of vᵢ


def info_nce(temperature: float, cosine: bool = True) -> Loss:
    """Which of the N rows of the other view is the partner? Cross-entropy in nats, both ways [views.2, views.3].

    `temperature` τ > 0 divides the cosine of the two embeddings, or their inner product.
    """
    return functools.partial(_info_nce, check_number(temperature, "temperature", low=1e-3), cosine)


@np.errstate(under="ignore")
def _info_nce(temperature, cosine, output, target):
    output, target, partner = check_partners(output, target)
    Y, length = _unit(output) if cosine else (output, None)
    Z1, Z2 = _split(Y, partner)
    S = Z1 @ Z2.T / temperature  # [views.2] S = Z Z′ᵀ/τ
    own = np.arange(len(S), like=target)
    L, G = softmax_cross_entropy(S, own)
    L_, G_ = softmax_cross_entropy(S.T, own)
    G = (G + G_.T) / 2  # [views.3] Gᵢⱼ
    delta = _join(G @ Z2 / temperature, G.T @ Z1 / temperature, partner)  # [views.3] G Z′/τ,  Gᵀ Z/τ
    return (L + L_) / 2, _through_unit(delta, Y, length) if cosine else delta


def nt_xent(temperature: float) -> Loss:
    """Which of all 2N − 1 other rows is the partner? Cross-entropy of cosines over τ, SimCLR's loss [views.7]."""
    return functools.partial(_nt_xent, check_number(temperature, "temperature", low=1e-3))


@np.errstate(under="ignore")
def _nt_xent(temperature, output, target):
    output, target, _ = check_partners(output, target)
    Y, length = _unit(output)
    S = Y @ Y.T / temperature  # [views.7] S = Ŷ Ŷᵀ/τ
    np.fill_diagonal(S, -1e30)  # no row is its own candidate
    value, G = softmax_cross_entropy(S, target)
    return value, _through_unit((G @ Y + G.T @ Y) / temperature, Y, length)


@np.errstate(under="ignore")
def spectral_contrastive(output: Array, target: Array) -> tuple[float, Array]:
    """−2 E z·z′ + E(z·z⁻)², estimated without bias [views.12, views.13]; of one sample alone only the first term."""
    output, target, partner = check_partners(output, target)
    Z1, Z2 = _split(output, partner)
    N = len(Z1)
    S = Z1 @ Z2.T
    own = S.trace()
    np.fill_diagonal(S, 0)  # leaves the pairs i ≠ j
    pairs = N * max(N - 1, 1)
    value = np.vdot(S, S) / pairs - 2 / N * own  # [views.12] −(2/N) Σᵢ Sᵢᵢ + 1/(N(N−1)) Σᵢ≠ⱼ Sᵢⱼ²
    G = 2 / pairs * S  # [views.13] Gᵢⱼ = 2 Sᵢⱼ/(N(N−1))
    np.fill_diagonal(G, -2 / N)  # [views.13] Gᵢᵢ = −2/N
    return value, _join(G @ Z2, G.T @ Z1, partner)


@np.errstate(under="ignore")
def alignment(output: Array, target: Array) -> tuple[float, Array]:
    """Mean squared distance of partners on the unit sphere, 0 to 4 [views.8]; as a loss by itself it collapses."""
    output, target, _ = check_partners(output, target)
    Y, length = _unit(output)
    difference = Y - Y[target]
    value = (difference * difference).sum() / len(Y)  # [views.8] (1/N) Σᵢ ‖ẑᵢ − ẑ′ᵢ‖²: here each pair comes twice
    return value, _through_unit(4 / len(Y) * difference, Y, length)


def uniformity(t: float = 2.0) -> Loss:
    """How unevenly the embeddings are spread over the unit sphere: 0 at one place, least when uniform [views.9, 10]."""
    return functools.partial(_uniformity, check_number(t, "t", low=0, high=1e3, open_low=True))


@np.errstate(under="ignore")
def _uniformity(t, output, target):
    output, target, partner = check_partners(output, target)
    Y, length = _unit(output)
    values, gradients = zip(*(_log_mean_exp(t, Z) for Z in _split(Y, partner)), strict=True)
    return sum(values) / 2, _through_unit(_join(*gradients, partner) / 2, Y, length)


def _log_mean_exp(t, Z):
    """ln of the mean of exp(−t ‖ẑᵢ − ẑⱼ‖²) over i ≠ j [views.9], and its gradient in the ẑᵢ; 0 for one point."""
    N = len(Z)
    if N == 1:
        return 0.0, np.zeros_like(Z)
    exponent = -2 * t * (1 - Z @ Z.T)
    np.fill_diagonal(exponent, -1e30)
    largest = exponent.max()
    e = np.exp(exponent - largest)
    return largest + np.log(e.sum() / (N * (N - 1))), 4 * t * e @ Z / e.sum()


def _split(Y, partner):
    """Z and Z′: the first half of the rows, and their partners."""
    return Y[: len(partner)], Y[partner]


def _join(dZ1, dZ2, partner):
    """Gradients in Z and Z′ as one in the rows of the output."""
    delta = np.concatenate([dZ1, dZ2])
    delta[partner] = dZ2
    return delta


def _unit(Y):
    """ẑ = z/‖z‖ and ‖z‖ for each row [views.4]. A row of zeros, which has no direction, stays as it is."""
    length = np.sqrt((Y * Y).sum(axis=1, keepdims=True))
    length = np.where(length > 0, length, 1)
    return Y / length, length


def _through_unit(g, Y, length):
    """The gradient in z of what has the gradient g in ẑ; Y holds the ẑ."""
    return (g - Y * (Y * g).sum(axis=1, keepdims=True)) / length  # [views.4] (g − ẑ (ẑ·g))/‖z‖
