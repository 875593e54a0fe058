"""Models of the data's density, known up to a constant factor: what noise-contrastive estimation estimates.

The lecture's third goal is probabilistic modelling: learn p(x). Three models stand here, a Gaussian, independent
components, and a network. Their constant factor is one more parameter, so that none of them needs to integrate to one.

    symbol      in code        meaning                                                        shape
    x           x              data, one sample per row                                       (N, n)
    φ                          the model, up to a constant factor                             function of x
    c           c              logarithm of that factor: ln p_m = ln φ + c                    number
    θ           theta          all parameters: those of φ, and c as the last one              (size,)
    g(x)        scores         ∂ ln p_m(x; θ)/∂θ                                              (size,)
    w           w              weight of each sample in a sum                                 (N,)
    c*                         the c with which p_m integrates to one                         number
    Λ, b        Lambda, b      precision (inverse covariance); Λ times the mean               (n, n), (n,)
    B, s        B, s           unmixing matrix, independent components s = Bx                 (n, n), (N, n)
    f, ψ        source, slope  density of one component; −(ln f)′, so slope is −ψ             functions of a number
    κₖ                         how far the true source k is from a Gaussian, for the f used   number

**A model** is a function (θ, x) -> (ln p_m at each row of x, vjp). The second is its backward pass, a vector-Jacobian
product: vjp(w) = Σᵢ wᵢ g(xᵢ), so that g itself, N × size numbers, is never stored. `vjp(w, input_gradient=True)`
returns wᵢ ∂ ln p_m(xᵢ)/∂x besides, row by row.

**The Gaussian.** With mean μ and b = Λμ, completing the square, −½ (x − μ)ᵀΛ(x − μ) = −½ xᵀΛx + bᵀx − ½ bᵀΛ⁻¹b, and
∫ exp(−½ (x − μ)ᵀΛ(x − μ)) dx = √((2π)ⁿ/det Λ), if Λ is positive definite. If it is not, φ has no finite integral, and
there is no c*, although ln φ and its derivatives exist; an estimate may end there (see `nce`).

    [densities.1]   ln φ = −½ xᵀΛx + bᵀx,    c* = ½ ln det Λ − ½ bᵀΛ⁻¹b − (n/2) ln 2π

θ holds Λⱼₖ for j ≤ k, row by row, then b, then c. For j < k, Λⱼₖ stands twice in the matrix, so its entry of g is
−xⱼxₖ, while that of Λⱼⱼ is −½ xⱼ².

**Independent component analysis** (ICA). The components of s = Bx are independent, each with density f. Changing the
variable from s to x multiplies the density by |det B|; and ∂sₖ/∂Bₖⱼ = xⱼ, so

    [densities.2]   ln φ = Σₖ ln f(sₖ),    ∂ ln φ/∂B = (ln f)′(s) xᵀ,    c* = ln |det B|

Two choices of f, both with mean 0 and variance 1: the logistic density, which is smooth, and the Laplacian,

    [densities.3]   ln f(u) = −2 ln cosh(au) + ln(a/2), a = π/(2√3);    or  ln f(u) = −√2 |u| − ½ ln 2

Since c* is known, maximum likelihood is possible as well (Bell & Sejnowski 1995; Pham & Garat 1997). The gradient of
ln |det B| is the transposed inverse, for d ln |det B| = tr(B⁻¹ dB):

    [densities.4]   J = −(1/N) Σᵢₖ ln f(sᵢₖ) − ln |det B|,    ∂J/∂B = −(1/N) Σᵢ (ln f)′(sᵢ) xᵢᵀ − B⁻ᵀ

J has a minimum only if no direction u has uᵀxᵢ = 0 for all i: else a row of B could grow along it, and −ln |det B| fall
for ever. So the covariance of x must have full rank: no variable is constant or a linear function of others, and N > n.

**When this finds the sources.** Three conditions on the data: x = As with A invertible and x centred; the true sources
sₖ independent; at most one of them Gaussian. Then B is determined, up to order, sign and length of its rows (Comon
1994). And one condition on f, which is never quite the density of the sources. With E for the mean over the data, let
E ψ(sₖ)sₖ = 1, which fixes the length of row k. Replace the right B by (Id + ε)B, with the identity Id and a small
matrix ε, hence s by s + εs. As ln |det(Id + ε)| = tr ε − ½ tr(ε²) + …, J changes by

    first order    Σₖₗ εₖₗ E ψ(sₖ)sₗ − Σₖ εₖₖ = 0, as E ψ(sₖ)sₗ = E ψ(sₖ) E sₗ = 0 for k ≠ l: stationary for every f
    second order   ½ [E ψ′(sₖ) E sₗ² εₖₗ² + E ψ′(sₗ) E sₖ² εₗₖ² + 2 εₖₗ εₗₖ] for each pair k ≠ l,
                   and ½ [E ψ′(sₖ)sₖ² + 1] εₖₖ² for each k; mixed terms have mean zero, by independence

This is positive for every ε ≠ 0, so that the right B is a local minimum, if E ψ′(sₖ) > 0 and E ψ′(sₖ)sₖ² > −1 for all k
(here ψ′ ≥ 0 for either f) and

    [densities.5]   κₖκₗ > 1 for all k ≠ l,    κₖ = E ψ′(sₖ) E sₖ²      (theorem)

(Amari, Chen & Cichocki 1997; for estimates that are kept white, Hyvärinen, Karhunen & Oja 2001, theorem 9.1). A
Gaussian source has κ = 1, for integration by parts gives E ψ(s)s = E s² E ψ′(s). Sources with a sharper peak and longer
tails, called *super-Gaussian*, as edges in pictures or speech, have a larger κ with either f: Laplacian sources 1.27
with the logistic f, 2 with the Laplacian (for which E ψ′ = 2√2 p(0), p the density of the source). Flatter,
*sub-Gaussian* ones have a smaller κ: uniform sources 0.85 and 2/3. Two of these are not separated by either f: the
right B is a saddle point.

**A network** with one output; its last parameter, the bias of the output, is c:

    [densities.6]   ln p_m(x; θ) = network(x; θ)

**The score** of a model, ∇ ln p_m, the gradient in x, in which c has gone, is what sampling needs (see `langevin`):

    [densities.7]   ∇ ln p_m = b − Λx;    Bᵀ (ln f)′(Bx);    of a network: [mlp.4] with Δ_L = 1

>>> import numpy as np
>>> theta = gaussian_theta([1.0], [[4.0]])           # N(1, 2²): Λ = 1/4, b = 1/4, c*
>>> print(theta.round(3))
[ 0.25   0.25  -1.737]
>>> ln_p, vjp = gaussian(theta, np.array([[1.0], [3.0]]))
>>> print(np.exp(ln_p).round(3))                     # its density at 1 and 3
[0.199 0.121]
>>> print(vjp(np.array([0.0, 1.0])))                 # g at 3: −x²/2, x, 1
[-4.5  3.   1. ]
>>> from minissl.nn.optimizers import lbfgs
>>> A = np.array([[1.0, 0.5], [-0.3, 0.8]])          # two Laplacian sources are mixed, and separated
>>> x = np.random.default_rng(0).laplace(size=(5000, 2)) @ A.T
>>> B = lbfgs(ica_likelihood(x), np.eye(2).ravel(), tolerance=1e-6).theta.reshape(2, 2)
>>> print(abs(B @ A) > 0.1)                          # each row of B finds one source
[[ True False]
 [False  True]]

Sources: Comon, Signal Processing 36 (1994), 287-314; Bell & Sejnowski, Neural Computation 7 (1995), 1129-1159; Amari,
Chen & Cichocki, Neural Networks 10 (1997), 1345-1351; Pham & Garat, IEEE Transactions on Signal Processing 45 (1997),
1712-1725; Hyvärinen, Karhunen & Oja, Independent Component Analysis (2001), chapter 9; Gutmann & Hyvärinen, JMLR 13
(2012).
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from minissl._arrays import Array
from minissl._checks import (
    check_array,
    check_callable,
    check_count,
    check_full_rank,
    check_log_det,
    check_one_output,
    check_positive_definite,
)


@np.errstate(under="ignore")
def gaussian(theta: Array, x: Array) -> tuple[Array, Callable]:
    """The Gaussian model [densities.1]: ln p_m in nats, (N,), and its vjp. `theta` holds Λⱼₖ for j ≤ k, b and c."""
    x = check_array(x, "x", ndim=2)
    n = x.shape[1]
    theta = check_array(theta, "theta", shape=(n * (n + 1) // 2 + n + 1,), like=x)
    Lambda = precision_matrix(theta, n)
    b, c = theta[-n - 1 : -1], theta[-1]
    j, k = _pairs(n, x)

    def vjp(w, input_gradient=False):
        M = (x * w[:, None]).T @ x  # Σᵢ wᵢ xᵢxᵢᵀ, (n, n)
        gradient = np.concatenate([-np.where(j == k, M[j, k] / 2, M[j, k]), w @ x, w.sum()[None]])
        return (gradient, w[:, None] * (b - x @ Lambda)) if input_gradient else gradient  # [densities.7] b − Λx

    return -0.5 * np.einsum("ij,ij->i", x @ Lambda, x) + x @ b + c, vjp  # [densities.1] −½ xᵀΛx + bᵀx + c


def gaussian_theta(mean: Array, covariance: Array) -> Array:
    """The parameters of the normalised Gaussian, c* included [densities.1], from mean (n,) and covariance (n, n).

    With the mean and the covariance (divided by N) of the data this is the maximum likelihood estimate.
    """
    mean = check_array(mean, "mean", ndim=1)
    n = len(mean)
    covariance = check_positive_definite(check_array(covariance, "covariance", shape=(n, n), like=mean), "covariance")
    Lambda = np.linalg.inv(covariance)
    b = Lambda @ mean
    log_det = np.linalg.slogdet(covariance)[1]
    c = -0.5 * (log_det + b @ mean + n * math.log(2 * math.pi))  # [densities.1] ½ ln det Λ − ½ bᵀΛ⁻¹b − (n/2) ln 2π
    return np.concatenate([Lambda[_pairs(n, mean)], b, c[None]])


def precision_matrix(theta: Array, n: int) -> Array:
    """Λ, (n, n), of the Gaussian in n dimensions with the parameters `theta` [densities.1]."""
    n = check_count(n, "n")
    theta = check_array(theta, "theta", shape=(n * (n + 1) // 2 + n + 1,))
    Lambda = np.empty((n, n), dtype=theta.dtype, like=theta)
    j, k = _pairs(n, theta)
    Lambda[j, k] = theta[: len(j)]
    Lambda[k, j] = theta[: len(j)]
    return Lambda


def _pairs(n, like):
    """All j ≤ k, row by row: Λⱼₖ is number i of θ for (j, k) = (j[i], k[i])."""
    j, k = _triangle(n)
    return np.asarray(j, like=like), np.asarray(k, like=like)


_triangle = functools.cache(np.triu_indices)


@np.errstate(under="ignore")  # far out, exp(−2a|u|) is 0 beside 1
def logcosh(u: Array) -> tuple[Array, Array]:
    """ln f(u) and (ln f)′(u) = −ψ(u) for the logistic density [densities.3], elementwise."""
    u = check_array(u, "u", finite=False)
    a = math.pi / (2 * 3**0.5)
    v = a * u
    size = np.abs(v)
    log_cosh = size + np.log1p(np.exp(-2 * size)) - math.log(2)  # ln ½(eᵛ + e⁻ᵛ) = |v| + ln(1 + e^(−2|v|)) − ln 2
    return -2 * log_cosh + math.log(a / 2), -2 * a * np.tanh(v)  # [densities.3] −2 ln cosh(au) + ln(a/2)


@np.errstate(under="ignore")
def laplace(u: Array) -> tuple[Array, Array]:
    """ln f(u) and (ln f)′(u) = −ψ(u) for the Laplacian density [densities.3], elementwise; the slope at 0 is 0."""
    u = check_array(u, "u", finite=False)
    return -(2**0.5) * np.abs(u) - math.log(2) / 2, -(2**0.5) * np.sign(u)  # [densities.3] −√2 |u| − ½ ln 2


@np.errstate(under="ignore")
def ica(theta: Array, x: Array, source: Callable = logcosh) -> tuple[Array, Callable]:
    """The ICA model [densities.2]: ln p_m in nats, (N,), and its vjp. θ, (n² + 1,), is B row by row, c; x is centred.

    `source` is u -> (ln f(u), its derivative): `logcosh`, `laplace` or another; functools.partial(ica, source=laplace).
    """
    x = check_array(x, "x", ndim=2)
    n = x.shape[1]
    theta = check_array(theta, "theta", shape=(n * n + 1,), like=x)
    check_callable(source, "source")
    B, c = theta[:-1].reshape(n, n), theta[-1]
    log_f, slope = source(x @ B.T)  # both (N, n)

    def vjp(w, input_gradient=False):
        gradient = np.concatenate([(slope.T @ (x * w[:, None])).ravel(), w.sum()[None]])  # [densities.2] (ln f)′(s) xᵀ
        return (gradient, w[:, None] * (slope @ B)) if input_gradient else gradient  # [densities.7] Bᵀ (ln f)′(Bx)

    return np.einsum("ik->i", log_f) + c, vjp  # [densities.2] Σₖ ln f(sₖ) + c


def ica_likelihood(x: Array, source: Callable = logcosh) -> Callable:
    """Maximum likelihood ICA [densities.4], for `lbfgs`: B row by row, (n²,) -> (J in nats per sample, its gradient).

    x, (N, n), should be centred; `source` as in `ica`. ValueError if the covariance of x has no full rank: no maximum.
    """
    x = check_full_rank(check_array(x, "x", ndim=2), "x")
    check_callable(source, "source")
    return functools.partial(_ica_likelihood, x, source)


def _ica_likelihood(x, source, B):
    N, n = x.shape
    B = check_array(B, "B", shape=(n * n,), like=x).reshape(n, n)
    log_f, slope = source(x @ B.T)
    value = -log_f.sum() / N - check_log_det(B, "B")  # [densities.4] −(1/N) Σ ln f(s) − ln |det B|
    gradient = -slope.T @ x / N - np.linalg.inv(B).T  # [densities.4] −(1/N) Σ (ln f)′(s) xᵀ − B⁻ᵀ
    return value, gradient.ravel()


def network_log_density(net) -> Callable:
    """An MLP with one output as a model (θ, x) -> (ln p_m, vjp) [densities.6]; `net` itself stays as it is.

    To estimate: `nce.estimate(network_log_density(net), net.theta, x, noise)`. To sample from what was estimated:
    `mala(log_density_and_score(network_log_density(net), theta), ...)`.
    """
    return functools.partial(_network_log_density, check_one_output(net, "net"))


def _network_log_density(net, theta, x):
    net = net.at(theta)
    H = net.forward(x)

    def vjp(w, input_gradient=False):
        return net.backward(H, w[:, None], input_gradient=input_gradient)  # [densities.7] by [mlp.4]

    return H[-1][:, 0], vjp  # [densities.6] network(x; θ)


def log_density_and_score(model: Callable, theta: Array) -> Callable:
    """x, (N, n) -> (ln p_m(x; θ), (N,); ∇ ln p_m, (N, n)) [densities.7], as `mala` takes it, for any model here."""
    return functools.partial(_log_density_and_score, check_callable(model, "model"), theta)


def _log_density_and_score(model, theta, x):
    log_p, vjp = model(theta, x)
    return log_p, vjp(np.ones_like(log_p), input_gradient=True)[1]
