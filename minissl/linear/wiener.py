"""The best linear autoencoder for noisy and for masked data, in closed form: what a linear network tends to.

    symbol    in code            meaning                                                            shape
    x, x̃      x, input           data, of mean zero; input: x corrupted                             (n,) for one sample
    W         (returned)         linear reconstruction Wx̃, in code `input @ W.T`                    (n, n)
    C         C                  covariance E(xxᵀ)                                                  (n, n)
    λₖ, vₖ    eigenvalues, V     eigenvalues and eigenvectors of C                                  numbers, (n,)
    σ         sigma              standard deviation of Gaussian noise                               number
    M         -                  mask: 1 where a component is kept, 0 where it is masked            (n,)
    p, q      p, q               probability that a component is masked; q = 1 − p that it is kept  numbers
    B         B                  Bⱼₖ = 1 where components j and k are masked together, else 0       (n, n)
    K, Λ      K, precision       second moments of x̃, divided by q; Λ = K⁻¹                         (n, n)
    ⊙                            product entry by entry

The loss J = E‖Wx̃ − x‖² [autoencoder.1] is a convex quadratic function of W. Its gradient, 2 E[(Wx̃ − x)x̃ᵀ], is zero for

    [wiener.1]   W = E(xx̃ᵀ) E(x̃x̃ᵀ)⁻¹,    where J = tr(C − W E(x̃xᵀ))      (theorem)

if the inverse exists. Only second moments enter: any data with this covariance have this best linear W.

**Noise**, x̃ = x + σz [autoencoder.9], is independent of x. So E(xx̃ᵀ) = C and E(x̃x̃ᵀ) = C + σ²I. With C = Σₖ λₖ vₖvₖᵀ,

    [wiener.2]   W = C (C + σ²I)⁻¹ = Σₖ λₖ/(λₖ + σ²) vₖvₖᵀ    (the Wiener filter)

Along each principal axis x̃ is multiplied by a number between 0 and 1, which is ½ where data and noise have the same
variance. If x is Gaussian, E(x | x̃) is linear; then no other function is better, and Tweedie's formula [autoencoder.10]
gives the score of x̃ ~ N(0, C + σ²I),

    [wiener.3]   (Wx̃ − x̃)/σ² = −(C + σ²I)⁻¹x̃ = ∇ln p_σ(x̃)    (theorem)

the gradient of −½ x̃ᵀ(C + σ²I)⁻¹x̃, as it must be. (This is −x̃/(1 + σ²) for white data alone, C = I, and near that for
any C where σ² is large beside both 1 and the λₖ.)

**Masking**, the masked components set to zero, x̃ = M ⊙ x [autoencoder.14]. Components j and k are both kept with
probability q if they are masked together, else with probability q²:

    [wiener.4]   E(xⱼx̃ₖ) = q Cⱼₖ,    E(x̃ⱼx̃ₖ) = q Cⱼₖ where Bⱼₖ = 1, else q² Cⱼₖ    (theorem)

that is, E(x̃x̃ᵀ) = q K with the K below (q + p = 1 where Bⱼₖ = 1, q elsewhere), and q cancels in [wiener.1]:

    [wiener.5]   W = C K⁻¹,    K = q C + p B ⊙ C    (components masked one by one: B = I, B ⊙ C = diag C)

Other functions do better, even for Gaussian data, unless the blocks are independent: E(x | x̃) regresses on the
components that are there, which is another linear map for each mask.

If only masked components count, a block b of them is predicted while it is masked, from the other components, o, alone:
W_bo = E(x_b x̃_oᵀ) E(x̃_o x̃_oᵀ)⁻¹ = C_bo K_oo⁻¹, where C_bo = K_bo/q. For every block at once, use the inverse of a
partitioned matrix: rows b and columns o of ΛK = I say Λ_bb K_bo + Λ_bo K_oo = 0 (Λ_bb⁻¹ is the Schur complement
K_bb − K_bo K_oo⁻¹ K_ob, so it exists). Therefore K_bo K_oo⁻¹ = −Λ_bb⁻¹ Λ_bo:

    [wiener.6]   W_bo = −(1/q) Λ_bb⁻¹ Λ_bo,    W_bb = 0

The second is a choice: where block b counts, its input is zero, so that W_bb has no effect on J.

>>> import numpy as np
>>> C = np.array([[1.0, 0.5], [0.5, 1.0]])
>>> denoising(C, sigma=1.0)  # eigenvalues 1.5 and 0.5 become 0.6 and 1/3
array([[0.46666667, 0.13333333],
       [0.13333333, 0.46666667]])
>>> print((15 * masking(C, p=0.5)).round(6))  # C times the inverse of K = [[1, ¼], [¼, 1]]
[[14.  4.]
 [ 4. 14.]]

Source: Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949).
"""

import numpy as np

from minissl._arrays import Array
from minissl._checks import check_blocks, check_covariance, check_deviation, check_number


@np.errstate(under="ignore")
def denoising(C: Array, sigma: float) -> Array:
    """The best linear denoiser W (n, n) of data of mean zero and covariance C, used as `input @ W.T` [wiener.2]."""
    C = check_covariance(C, "C")
    sigma = check_deviation(sigma, "sigma", like=C)
    eigenvalues, V = np.linalg.eigh(C)
    eigenvalues = np.maximum(eigenvalues, 0)  # those of a singular C are rounding, of either sign
    return V * (eigenvalues / (eigenvalues + sigma**2)) @ V.T  # [wiener.2] Σₖ λₖ/(λₖ + σ²) vₖvₖᵀ


@np.errstate(under="ignore")
def masking(C: Array, p: float, blocks: Array | None = None, missing_only: bool = False) -> Array:
    """The best linear W (n, n) for masked data of mean zero and covariance C, to be used as `input @ W.T`.

    It minimises the loss of all components [wiener.5] or that of the masked ones alone [wiener.6]. Arguments as for
    `tasks.autoencoder.mask` with fill 0; p < 1. C may be singular (a pixel that never changes), since n times the
    rounding error of the largest variance is added to the diagonal of K.
    """
    C = check_covariance(C, "C")
    p = check_number(p, "p", low=0, high=1, open_high=True)
    n = len(C)
    blocks = np.arange(n) if blocks is None else check_blocks(blocks, "blocks", n)
    q = 1 - p
    B = np.asarray(blocks[:, None] == blocks, dtype=C.dtype, like=C)
    K = q * C + p * B * C  # [wiener.5] q C + p B ⊙ C
    rounding = n * float(np.finfo(C.dtype).eps) * float(C.diagonal().max())
    K = K + rounding * np.identity(n, dtype=C.dtype, like=C)
    if not missing_only:
        return np.linalg.solve(K, C).T  # [wiener.5] W = C K⁻¹
    precision = np.linalg.inv(K)
    return -np.linalg.solve(B * precision, (1 - B) * precision) / q  # [wiener.6] all blocks: B ⊙ Λ holds the Λ_bb
