"""Principal component analysis (PCA) by its three definitions: what the lecture's autoencoder learns when it is linear.

    symbol   name in code   meaning                                                        shape
    x        x              data, rows are samples; E is the mean over its N rows          (N, n)
    y        y              centred data, y = x − E x                                      (N, n)
    C        -              covariance E yyᵀ: divided by N, not by N − 1                   (n, n)
    λᵢ       variances      its eigenvalues, λ₁ ≥ λ₂ ≥ … ≥ λₙ ≥ 0                          (m,)
    vᵢ       rows of W      its orthonormal eigenvectors, the principal axes               (m, n)
    w, g     w, g           a direction, ‖w‖ = 1; the gradient of its variance             (n,)
    W, A     W, A           encoder and decoder, s = Wy and ŷ = As                         (m, n), (n, m)
    J        J              reconstruction error E‖y − AWy‖²                               number
    U, S, V  U, S, Vt       singular value decomposition; V = (v₁ … vₙ)                    (N, r), (r,), (n, r)
    R        R              RᵀR = C, by QR; r = min(N, n), and C in r dimensions           (r, r)
    F, L, B  F, L, B        encoder of white input; LᵀL = FFᵀ; a decoder scaled, ALᵀ       (m, r), (m, m), (r, m)
    I, Id    -              a choice of m of the n eigenvectors; an identity matrix        set, any
    G, O     -              any invertible, any orthogonal matrix                          (m, m)
    z        -              white input, E zzᵀ = Id, with y = Rᵀz                          (r,)
    κ        kappa          weight decay                                                   number ≥ 0
    ‖·‖      -              length of a vector; root of the sum of a matrix's squares      number
    eps      -              rounding, 1e-16 in float64                                     number

**1. By variance** (Hotelling 1933): one direction after the other,

    [pca.1]   wₖ = argmax E(w·y)² = argmax wᵀCw   over ‖w‖ = 1, w ⟂ w₁, …, wₖ₋₁

At a maximum wᵀCw − λ(‖w‖² − 1) is stationary: Cw = λw, and λ = wᵀCw is the variance. So w₁ = v₁. If u ⟂ v₁, then
v₁·Cu = λ₁ v₁·u = 0: C maps the complement of v₁ to itself, and the same holds there: w₂ = v₂, and so on.

What everybody tries first is to multiply by C again and again. Cᵗw₀ = Σᵢ λᵢᵗ (vᵢ·w₀) vᵢ, where v₁ outgrows the rest:

    [pca.2]   wₜ = C wₜ₋₁/‖C wₜ₋₁‖,      tan ∠(wₜ, v₁) ≤ (λ₂/λ₁)ᵗ tan ∠(w₀, v₁)

This is the *power iteration*. *Deflation* finds the others: y − (v₁·y) v₁ has covariance C − λ₁v₁v₁ᵀ, of eigenvalues
0, λ₂, …, λₙ, so that v₂ comes next. When to stop, the gradient of the variance on the sphere says:

    [pca.3]   g = 2(Cw − λw), λ = wᵀCw;      |sin ∠(w, v₁)| ≤ ½‖g‖/(λ − λ₂)   where λ > λ₂

For let w = cos t v₁ + sin t u, u ⟂ v₁, ‖u‖ = 1. The part of Cw − λw orthogonal to v₁ is sin t (Cu − λu), and
‖Cu − λu‖ ≥ u·(λu − Cu) = λ − uᵀCu ≥ λ − λ₂.

By [pca.2] power iteration takes about 1/gap steps where gap = 1 − λ₂/λ₁ is small. Gradient ascent, along g by the best
step, takes about as many. What is faster is the best combination of w, g, and p, the w before:

    [pca.4]   w ← argmax wᵀCw   over ‖w‖ = 1, w in span{w, g, p}

(Knyazev 2001, "locally optimal"), three numbers to choose: an eigenvector of a 3 × 3 matrix. p carries on what the last
steps did, as in conjugate gradients, and about 1/√gap steps are enough. That is observed, not proved.

**2. By reconstruction** (Pearson 1901: the plane nearest to the points): a linear network with m hidden units learns to
give its input back,

    [pca.5]   J(A, W) = E‖e‖² = tr C − 2 tr(WCA) + tr(AᵀA WCWᵀ),      e = y − As,  s = Wy
    [pca.6]   ∂J/∂A = −2 E e sᵀ,      ∂J/∂W = −2 E Aᵀe yᵀ,             since dJ = −2 E eᵀ(dA s + A dW y)
    [pca.7]   min J = λ_{m+1} + … + λₙ,   reached by A = Wᵀ = (v₁ … v_m)      (theorem)

For let Π be the orthogonal projector on the range of A. Nothing there is nearer to y than Πy, so
J ≥ E‖y − Πy‖² = tr C − tr(ΠC), and tr(ΠC) = Σᵢ πᵢλᵢ with weights πᵢ = vᵢᵀΠvᵢ between 0 and 1, Σᵢ πᵢ = tr Π ≤ m: at most
λ₁ + … + λ_m (Ky Fan 1949). For the matrix of all samples this is the theorem of Eckart & Young (1936): of all matrices
of rank m, the nearest is the singular value decomposition, cut off after m terms.

The minimum fixes a subspace only: AG, G⁻¹W has the same J for every invertible G. The axes within it are recovered at
the end, as those of the data projected on A's range.

How is it found? J depends on y through C alone. So let y = Rᵀz with z white, E zzᵀ = Id, and let the encoder read z,
s = Fz, where F = WRᵀ. As E zzᵀ = Id, the mean below is a sum of squares of a matrix's entries:

    [pca.8]   J = E‖Rᵀz − AFz‖² = ‖R − FᵀAᵀ‖²

This is the error of r pairs (input: row k of Id, target: row k of R) in place of N. And G is free to scale the units:
choose it so that A has orthonormal columns; the best encoder for it is W = Aᵀ, F = AᵀRᵀ. Search in F and B = ALᵀ, where
LᵀL = FFᵀ is the covariance of s: the second derivatives of J are 2 Id in F alone, and 2 Id in B alone. In both together
their eigenvalues at the minimum are, for each i ≤ m < j,

    [pca.9]   2(1 ± √(λⱼ/λᵢ)),   and 0 and 4 for what moves within the subspace      (theorem)

so that only λ_{m+1}/λ_m decides how many steps are needed, not how far λ₁ and λ_m are apart. (Let R = USVᵀ. Where the
row √λᵢ uᵢᵀ of F moves by αuⱼᵀ and the column √λᵢ vᵢ of B by βvⱼ, J grows by α² + β² − 2αβ√(λⱼ/λᵢ). Tong, Ma & Chi 2021
scale gradient descent in this way.)

There are no other minima if C is invertible and its eigenvalues are distinct (Baldi & Hornik 1989, Fact 4): the
critical points of rank m are A = V_I G, W = G⁻¹V_Iᵀ, where the columns of V_I are the vᵢ of m indices i ∈ I; those of
lower rank have fewer of them. All are saddles but I = {1, …, m}. Of this, A = Wᵀ = V_I is shown and tested here, for
any C:

    [pca.10]  ∂J/∂A = 0,  ∂J/∂W = 0,  J = Σ λᵢ over i ∉ I      (theorem)

but turning one vᵢ, i ∈ I, by an angle t towards a vⱼ left out, j ∉ I, goes downhill if λⱼ > λᵢ, since the variance of
cos t vᵢ + sin t vⱼ, which is kept, is λᵢ cos² t + λⱼ sin² t:

    [pca.11]  J(t) − J(0) = (λᵢ − λⱼ) sin² t      (theorem)

Weight decay chooses axes (Kunin, Bloom, Goeva & Seed 2019, with N C for C). If λ_m > κ, the least value of
J + κ(‖A‖² + ‖W‖²) is reached at W = Aᵀ,

    [pca.12]  A = (v₁ … v_m) diag(a) O,   aᵢ² = 1 − κ/λᵢ,   O any orthogonal matrix      (theorem)
    [pca.13]  minimum = Σ (2κ − κ²/λᵢ) over i ≤ m  +  Σ λᵢ over i > m                     (theorem)

so that the vᵢ are the decoder's left singular vectors, if λ₁ > … > λ_m > λ_{m+1}. The proof stands below.

**3. By singular value decomposition** of the centred data:

    [pca.14]  y = USVᵀ (rows are samples),   λᵢ = Sᵢ²/N,   W = Aᵀ = the first m rows of Vᵀ

since C = yᵀy/N = V(S²/N)Vᵀ. Rounding acts like a change of y by about eps S₁, which moves each Sᵢ by at most that, so

    [pca.15]  |λ̂ᵢ − λᵢ|/λᵢ ≲ 2 eps S₁/Sᵢ      (theorem)

From C, which is rounded by eps λ₁, it would be eps (S₁/Sᵢ)²: the SVD loses half as many digits.

    >>> import numpy as np
    >>> from minissl.linear import pca
    >>> x = np.array([[3.0, 1], [1, 3], [-3, -1], [-1, -3]])  # C = (5 3; 3 5)
    >>> for method in (pca.by_variance, pca.by_reconstruction, pca.by_svd):
    ...     print(method(x, 2).variances.round(6), method(x, 2).W.round(3).tolist())
    [8. 2.] [[0.707, 0.707], [0.707, -0.707]]
    [8. 2.] [[0.707, 0.707], [0.707, -0.707]]
    [8. 2.] [[0.707, 0.707], [0.707, -0.707]]

Conventions: all three subtract the mean and divide by N. Eigenvectors have no sign; here the entry of largest magnitude
in each row of W is positive (among entries within one part in a thousand of the largest, the first counts).

**How far is the sample from the truth?** All accuracies above are those of the sample's C. Where it comes from N
independent draws of a Gaussian with eigenvalues λᵢ, its axes v̂ᵢ are off by

    [pca.16]  E sin² ∠(v̂ᵢ, vᵢ) ≈ (1/N) Σⱼ λᵢλⱼ/(λᵢ − λⱼ)²   over j ≠ i      (theorem)

(Anderson 1963) for n fixed, N → ∞, λᵢ simple: with Ĉ the sample's covariance, v̂ᵢ ≈ vᵢ + Σⱼ vⱼ (vⱼᵀĈvᵢ)/(λᵢ − λⱼ), and
vⱼᵀĈvᵢ is the mean of N products of independent sᵢ and sⱼ, so its variance is λᵢλⱼ/N. Where n grows with N, more data do
not help: λ₁ = 1 + ℓ, all other λⱼ = 1, n/N → γ gives

    [pca.17]  cos² ∠(v̂₁, v₁) → (1 − γ/ℓ²)/(1 + γ/ℓ) if ℓ > √γ, and 0 otherwise      (theorem)

(Johnstone & Lu 2009).

**Proof of [pca.13]** (Kunin et al. find all critical points, for positive, distinct λᵢ; this is about the minimum, for
all C). Let Π be as above, M = AW, D = Π − M, and K = h(C) with h(λ) = min(1, λ/κ), so ‖KA‖ ≤ ‖A‖. As ‖KA − Wᵀ‖² ≥ 0,
‖A‖² + ‖W‖² ≥ 2 tr(WKA) = 2 tr(KM). As M = ΠM, J = tr C − tr(ΠC) + tr(DCDᵀ). Completing the square in D = ΠD,
tr(DCDᵀ) − 2κ tr(KD) ≥ −κ² tr(ΠKC⁻¹K). Added up, J + κ(‖A‖² + ‖W‖²) ≥ tr C − tr(Πf(C)), where f = λ − 2κh + κ²h²/λ is
0 for λ ≤ κ, also at λ = 0, and (λ − κ)²/λ above, which grows. By Ky Fan tr(Πf(C)) ≤ f(λ₁) + … + f(λ_m). Equality, if
κ < λ_m and λ_{m+1} < λ_m, needs the first m axes as A's range, Wᵀ = KA = A and D = κΠC⁻¹, so AAᵀ = Π − κΠC⁻¹: [pca.12].

Sources: Pearson 1901, Phil. Mag. 2; Hotelling 1933, J. Educ. Psychol. 24; Eckart & Young 1936, Psychometrika 1; Fan
1949, PNAS 35; Anderson 1963, Ann. Math. Statist. 34; Baldi & Hornik 1989, Neural Networks 2; Knyazev 2001, SIAM J. Sci.
Comput. 23; Johnstone & Lu 2009, JASA 104; Kunin et al. 2019, ICML (the authors' erratum mends a parenthesis before
theorem 2.1 and wording, no result); Tong, Ma & Chi 2021, JMLR 22.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minissl._arrays import Array, normal
from minissl._checks import check_array, check_callable, check_count, check_rng, check_samples
from minissl.linear.eigen import centred, leading_eigenvectors
from minissl.nn.optimizers import lbfgs

STEPS = 10_000  # of a search, at most
SMALL = 2e7  # N n min(N, n) up to which the singular value decomposition takes about 20 ms
NO_CONVERGENCE = "by_variance: no convergence in {} steps, for two variances are nearly equal; by_svd needs no steps"


class PCA(NamedTuple):
    """Principal axes and what belongs to them, all of the dtype and library of the data."""

    W: Array  # (m, n), encoder: orthonormal rows, the principal axes
    A: Array  # (n, m), decoder: Wᵀ
    mean: Array  # (n,)
    variances: Array  # (m,), λ₁ ≥ … ≥ λ_m, means over the N samples

    def encode(self, x: Array) -> Array:
        """Components s = W (x − mean) of each row: (N, n) -> (N, m)."""
        return (check_array(x, "x", shape=(None, self.W.shape[1]), like=self.W) - self.mean) @ self.W.T

    def decode(self, s: Array) -> Array:
        """Data A s + mean of each row: (N, m) -> (N, n)."""
        return check_array(s, "s", shape=(None, self.A.shape[1]), like=self.W) @ self.A.T + self.mean


# 1. By variance. Y has YᵀY = C, up to a factor that makes the total variance 1


def power_iteration(Y: Array, w: Array) -> Array:
    """v₁, by multiplying w by C again and again [pca.2] until the gradient is small [pca.3]."""
    for _ in range(STEPS):
        w = w / np.linalg.norm(w)
        Cw, _, stationary = _gradient(Y, w)
        if stationary:
            return w
        w = Cw  # [pca.2] wₜ = C wₜ₋₁/‖C wₜ₋₁‖
    warnings.warn(NO_CONVERGENCE.format(STEPS), RuntimeWarning, stacklevel=4)  # past errstate's own frame
    return w / np.linalg.norm(w)


def locally_optimal_iteration(Y: Array, w: Array) -> Array:
    """The same in fewer steps: the most variance in the span of w, its gradient, and the w before [pca.4]."""
    w, span = w / np.linalg.norm(w), []
    for _ in range(STEPS):
        _, g, stationary = _gradient(Y, w)
        if stationary:
            return w
        span = [w, g, *span[:1]]  # the last is p
        Q = np.linalg.qr(np.stack(span, axis=1))[0]  # (n, 3), orthonormal columns
        YQ = Y @ Q
        w = Q @ np.linalg.eigh(YQ.T @ YQ)[1][:, -1]  # [pca.4] w ← argmax wᵀCw
    warnings.warn(NO_CONVERGENCE.format(STEPS), RuntimeWarning, stacklevel=4)  # past errstate's own frame
    return w


def _gradient(Y, w):
    """Cw, half the gradient, and whether that is at most 1e-11 λ. Variances below 1e-28 of the total are rounding."""
    Cw = Y.T @ (Y @ w)
    variance = float(w @ Cw)
    g = Cw - variance * w  # [pca.3] g = 2(Cw − λw), half of it
    return Cw, g, float(np.linalg.norm(g)) <= 1e-11 * variance + 1e-28


@np.errstate(under="ignore")  # even if the caller makes NumPy raise on underflow: such a number is zero beside the rest
def by_variance(x: Array, m: int, *, search: Callable = locally_optimal_iteration, rng=0) -> PCA:
    """PCA by greatest variance, one direction at a time [pca.1], each searched for from a random start, in float64.

    `search=power_iteration` is the plain way. Either way the sine of the angle to the subspace of the first m axes is
    at most about m 1e-11/(1 − λ_{m+1}/λ_m), and rounding adds eps S₁/(S_m − S_{m+1}).
    """
    x = check_samples(x, "x")
    m = check_count(m, "m", high=min(x.shape))
    search = check_callable(search, "search")
    rng = check_rng(rng)
    R, basis, mean = _root(x)
    Y, axes = R / _size(R), []
    for _ in range(m):
        w = search(Y, normal(rng, R.shape[1:], R))  # [pca.1] wₖ = argmax wᵀCw
        Y = Y - np.outer(Y @ w, w)  # deflation: the w found has no variance left
        axes.append(w)
    return _within(np.stack(axes, axis=1), R, basis, mean, x)


# 2. By reconstruction


def reconstruction_error(Y: Array, A: Array, W: Array, kappa: float = 0.0) -> tuple:
    """J + κ(‖A‖² + ‖W‖²) of the linear network, and its gradients in A (n, m) and W (m, n), from the definition.

    `Y` (K, n) is any matrix with YᵀY = C: the centred data over √N, or R.
    """
    s = Y @ W.T  # (K, m)
    e = Y - s @ A.T  # (K, n)
    J = (e * e).sum() + kappa * ((A * A).sum() + (W * W).sum())  # [pca.5] J = E‖e‖², e = y − As, s = Wy
    dA = -2 * (e.T @ s) + 2 * kappa * A  # [pca.6] ∂J/∂A = −2 E e sᵀ
    dW = -2 * ((e @ A).T @ Y) + 2 * kappa * W  # [pca.6] ∂J/∂W = −2 E Aᵀe yᵀ
    return J, dA, dW


@np.errstate(under="ignore")
def by_reconstruction(x: Array, m: int, *, rng=0) -> PCA:
    """PCA by least reconstruction error: a linear network [pca.8] from random weights on, by L-BFGS, in float64.

    It stops where the decoder is within 1e-7 of the best one for its encoder. The sine of the angle to the subspace of
    the first m axes is then about 1e-7/(1 − λ_{m+1}/λ_m) at most; variances below 1e-16 λ₁ count as none.
    """
    x = check_samples(x, "x")
    m = check_count(m, "m", high=min(x.shape))
    rng = check_rng(rng)
    R, basis, mean = _root(x)
    Y, F = R / _size(R), normal(rng, (m, len(R)), R)
    for _ in range(STEPS // 100):
        A = np.linalg.qr(Y.T @ F.T)[0]  # the range of the best decoder for F
        F = (Y @ A).T  # the best encoder for A: s = Aᵀy
        Q, L = np.linalg.qr(np.concatenate([F.T, 1e-8 * np.identity(m, like=R)]))  # LᵀL = FFᵀ, and L is invertible
        e = Y - F.T @ A.T
        distance = float(np.linalg.norm(np.linalg.solve(L, Q[: len(R)].T @ e)))  # from A to the best decoder for F
        if distance <= 1e-7:
            break
        F = _descend(Y, A, F, L)
    else:
        text = f"by_reconstruction: after {STEPS} steps the decoder is {distance:.0e} from the best for its encoder"
        warnings.warn(f"{text}, expected 1e-07; by_svd needs no steps", RuntimeWarning, stacklevel=3)  # past errstate's
    return _within(A, R, basis, mean, x)


def _descend(R, A, F, L):
    """F after a hundred steps of L-BFGS in B = ALᵀ and F."""

    def objective(theta):
        J, dB, dF = _scaled_error(R, L, theta[: A.size].reshape(A.shape), theta[A.size :].reshape(F.shape))
        return J, np.concatenate([dB.ravel(), dF.ravel()])

    start = np.concatenate([(A @ L.T).ravel(), F.ravel()])
    theta = lbfgs(objective, start, iterations=100, tolerance=1e-12, warn=False).theta
    return theta[A.size :].reshape(F.shape)


def _scaled_error(R, L, B, F):
    """J and its gradients in B = ALᵀ (r, m) and F (m, r)."""
    A = np.linalg.solve(L, B.T).T
    e = R - F.T @ A.T
    dB = -2 * (e.T @ np.linalg.solve(L.T, F).T)  # ∂J/∂A L⁻¹
    dF = -2 * (e @ A).T
    return (e * e).sum(), dB, dF  # [pca.8] J = ‖R − FᵀAᵀ‖²


# 3. By singular value decomposition


@np.errstate(under="ignore")
def by_svd(x: Array, m: int) -> PCA:
    """PCA by the singular value decomposition of the centred data, in float64 [pca.14], with the accuracy of [pca.15].

    Where N n min(N, n) > 2e7, `eigen.leading_eigenvectors` finds the same from a covariance, more quickly, but with an
    error of eps λ₁ in each variance, and eps of the data's dtype: those below 1e-16 λ₁ (float32: 1e-7 λ₁) are rounding.
    """
    x = check_samples(x, "x")
    m = check_count(m, "m", high=min(x.shape))
    if x.size * min(x.shape) > SMALL:
        W, variances, mean = leading_eigenvectors(x, m)
    else:
        y, mean = centred(x)
        U, S, Vt = np.linalg.svd(y, full_matrices=False)  # [pca.14] y = USVᵀ
        W, variances = Vt[:m], S[:m] ** 2 / len(x)  # [pca.14] λᵢ = Sᵢ²/N
    return _record(W, variances, mean, x)


# What they share


def _root(x):
    """R (r, r), the orthonormal basis (n, r) of its coordinates, C = basis RᵀR basisᵀ, and the mean; r = min(N, n)."""
    y, mean = centred(x)
    N, n = x.shape
    if N >= n:
        return np.linalg.qr(y, mode="r") / N**0.5, np.identity(n, like=y), mean
    basis, rows = np.linalg.qr(y.T)  # the samples span N dimensions at most
    return rows.T / N**0.5, basis, mean


def _size(R):
    """The root of the total variance, or 1 where there is none."""
    return float(np.linalg.norm(R)) or 1.0


def _within(columns, R, basis, mean, x):
    """The principal axes within the span of the columns, (r, m)."""
    Q = np.linalg.qr(columns)[0]
    _, S, Vt = np.linalg.svd(R @ Q, full_matrices=False)  # [pca.14] of the data projected on the span
    return _record(Vt @ Q.T @ basis.T, S * S, mean, x)


def _record(W, variances, mean, x):
    """The sign rule, and the dtype of x."""
    size = abs(W)
    first = (size >= 0.999 * size.max(axis=1, keepdims=True)).argmax(axis=1)
    W = W * np.sign(np.take_along_axis(W, first[:, None], axis=1))
    W = W.astype(x.dtype)
    return PCA(W, W.T, mean.astype(x.dtype), np.maximum(variances, 0).astype(x.dtype))
