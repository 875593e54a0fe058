"""Autoencoders: regression from the data, corrupted or not, to the same data, with the identity made impossible.

    symbol      meaning                                                              shape
    x           data, one sample per row                                             (N, n)
    x~          input: x corrupted                                                   (N, n)
    r(x~)       output of the network, the reconstruction                            (N, n)
    w           weight of each component in the loss (default 1)                     (N, n)
    sigma, z    standard deviation of the noise; the noise itself, N(0, I)           number, (N, n)
    M, q, a     mask, 1 where a component is kept; P(M = 1); what fills the holes    (N, n), number, number
    H           activations of a hidden layer of m units                             (N, m)
    rho_j       mean activation of unit j over the batch                             (m,)

Every case minimises the same loss [losses.1], on average over the data and over the corruption:

    [autoencoder.1]   J = E sum_j w_j (r(x~)_j - x_j)^2;    w = 1, r unrestricted:  r*(x~) = E(x | x~)

since E(x | x~) is the constant that is nearest to x in the mean of squares, for each x~. Without corruption x~ = x and
r* is the identity, which says nothing about x. It is made impossible by a hidden layer with fewer units than n
(case 1; linear: PCA), by a penalty on the hidden layer (case 2), or by corruption (case 3).

**Gaussian noise** (case 3a):

    [autoencoder.2]   x~ = x + sigma z

Differentiate p_sigma(x~) = integral of p(x) N(x~; x, sigma^2 I), the density of x~: grad p_sigma(x~) =
integral of p(x) N(x~; x, sigma^2 I) (x - x~)/sigma^2 = p_sigma(x~) (E(x | x~) - x~)/sigma^2. Divided by p_sigma,

    [autoencoder.3]   s(x~) = (r*(x~) - x~) / sigma^2 = grad ln p_sigma(x~)    (the score)

For any r, (r(x~) - x)/sigma^2 is s(x~) minus (x - x~)/sigma^2, so that denoising is denoising score matching:

    [autoencoder.4]   1/2 E ||s(x~) - (x - x~)/sigma^2||^2 = J / (2 sigma^4)

**Missing components** (case 3b). Each component, or each block of components, is kept with probability q:

    [autoencoder.5]   x~ = M x + (1 - M) a  (elementwise);    w = 1 - M where only what is missing counts

The best linear r of both, in closed form, is in `wiener`.

**Colour** (case 3c). Pixels of three numbers each; the input is their luminance (ITU-R BT.601), the target all three:

    [autoencoder.6]   x~_p = 0.299 x_p,red + 0.587 x_p,green + 0.114 x_p,blue

**Sparsity** (case 2). Two penalties on a hidden layer [mlp.3], absolute values and the Kullback-Leibler divergence of a
unit that is on with probability rho from one that is on with probability rho_j = (1/N) sum_i H_ij:

    [autoencoder.7]   P = (beta/N) sum_ij |H_ij|                                    dP/dH_ij = (beta/N) sign(H_ij)
    [autoencoder.8]   P = beta sum_j [rho ln rho/rho_j + (1 - rho) ln (1 - rho)/(1 - rho_j)]
                      dP/dH_ij = (beta/N) [-rho/rho_j + (1 - rho)/(1 - rho_j)]

The encoder could shrink H and the decoder grow its weights to match, which makes [autoencoder.7] alone as small as one
likes: bound the activation, or the length of the decoder's rows.

Sources: Miyasawa, Bull. Inst. Internat. Statist. 38 (1961); Olshausen & Field, Nature 381 (1996); Vincent et al., ICML
(2008); Ng, CS294A lecture notes "Sparse autoencoder" (2011); Vincent, Neural Computation 23 (2011), equations 8-11;
Alain & Bengio, JMLR 15 (2014), theorem 1; Pathak et al., CVPR (2016); Zhang, Isola & Efros, ECCV (2016).
"""

import numpy as np

from minissl.backend import array, generator, integers, namespace, normal, number, pair, plain, uniform

LUMINANCE = (0.299, 0.587, 0.114)


def identity():
    """The task of a plain autoencoder: the target is the input [autoencoder.1].

    Returns
    -------
    callable
        (x of shape (N, n), rng) -> (x, x).
    """

    def task(x, rng):
        x = array(x, "x", ndim=2)
        return x, x

    return task


def denoise(sigma):
    """The task: remove Gaussian noise [autoencoder.2].

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, in the units of the data, >= 0.

    Returns
    -------
    callable
        (x of shape (N, n), rng) -> (x + sigma z, x).

    Raises
    ------
    TypeError, ValueError
        If sigma is not a number of its range.
    """
    sigma = number(sigma, "sigma", low=0)

    def task(x, rng):
        x = array(x, "x", ndim=2)
        return x + sigma * normal(generator(rng), x.shape, x), x  # [autoencoder.2]

    return task


def mask(q, fill=0.0, blocks=None, missing_only=False):
    """The task: fill in what is missing [autoencoder.5].

    Parameters
    ----------
    q : float
        Probability with which a component, or a block, is *kept*, in [0, 1].
    fill : float
        What a missing component is replaced by, a. For data of mean zero, 0 is the mean.
    blocks : array_like of int, shape (n,), optional
        The block that each component belongs to, 0 .. K-1, such as `image_blocks` gives. Components of a block are kept
        or masked together. Default: each by itself.
    missing_only : bool
        Whether the loss counts missing components alone. Without, it counts all.

    Returns
    -------
    callable
        (x of shape (N, n), rng) -> (input, x), and the weight (N, n), 1 where missing, else 0, if `missing_only`.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or x has another number of components than `blocks`.
    """
    q, fill = number(q, "q", low=0, high=1), number(fill, "fill")
    blocks = None if blocks is None else integers(blocks, "blocks", low=0, high=plain(blocks, "blocks").size)

    def task(x, rng):
        x = array(x, "x", shape=(None, None if blocks is None else len(blocks)))
        of = np.arange(x.shape[1]) if blocks is None else blocks
        kept = uniform(generator(rng), (len(x), int(of.max()) + 1), x) < q
        M = kept[:, namespace(x).asarray(of)].astype(x.dtype)
        input = M * x + (1 - M) * fill  # [autoencoder.5]
        return (input, x, 1 - M) if missing_only else (input, x)

    return task


def image_blocks(shape, block):
    """The block that each pixel of an image belongs to, for `mask` and `wiener.masking`.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, which come as rows of h w numbers.
    block : (int, int)
        Height and width of a block, divisors of the image's.

    Returns
    -------
    ndarray of int, shape (h w,)

    Raises
    ------
    TypeError, ValueError
        If the image cannot be cut so.
    """
    (h, w), (a, b) = pair(shape, "shape"), pair(block, "block")
    if h % a or w % b:
        raise ValueError(f"block: got {(a, b)}, expected divisors of the image's {(h, w)}")
    return ((np.arange(h) // a)[:, None] * (w // b) + np.arange(w) // b).ravel()


def greyscale(luminance=LUMINANCE):
    """The task: colours from grey [autoencoder.6].

    Parameters
    ----------
    luminance : sequence of float, shape (c,)
        Weight of each of the colour channels.

    Returns
    -------
    callable
        (x of shape (N, c P), rng) -> (input (N, P), x), where a row of x holds P pixels of c numbers each, as in
        `image.reshape(-1)` of an image of shape (height, width, c).

    Raises
    ------
    TypeError, ValueError
        If `luminance` is not a finite vector, or x does not consist of pixels.
    """
    luminance = array(luminance, "luminance", ndim=1)

    def task(x, rng):
        x, c = array(x, "x", ndim=2), len(luminance)
        if x.shape[1] % c:
            raise ValueError(f"x: got {x.shape[1]} columns, expected a multiple of {c}, one for each channel")
        weights = namespace(x).asarray(luminance, dtype=x.dtype)
        return x.reshape(len(x), -1, c) @ weights, x  # [autoencoder.6]

    return task


def l1(weight):
    """The penalty of absolute values [autoencoder.7]: mean over samples of sums over units.

    Parameters
    ----------
    weight : float
        beta >= 0.

    Returns
    -------
    callable
        H of shape (N, m) -> (value, gradient of shape (N, m)); sign(0) = 0.

    Raises
    ------
    TypeError, ValueError
        If the weight is not a number >= 0.
    """
    beta = number(weight, "weight", low=0)

    def penalty(H):
        H = array(H, "H", ndim=2, finite=False)
        xp, N = namespace(H), len(H)
        return beta / N * abs(H).sum(), beta / N * xp.sign(H)  # [autoencoder.7]

    return penalty


def kl_sparsity(weight, rho):
    """The penalty that wants each unit to be on with probability rho [autoencoder.8]; for sigmoid units.

    Parameters
    ----------
    weight : float
        beta >= 0. The divergences are summed over units; they are not multiplied by anything that depends on N.
    rho : float
        Wanted mean activation, in (0, 1).

    Returns
    -------
    callable
        H of shape (N, m) -> (value in nats times beta, gradient of shape (N, m)). It raises ValueError where the mean
        activation of a unit over the batch is not inside (0, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number of its range.
    """
    beta = number(weight, "weight", low=0)
    rho = number(rho, "rho", low=0, high=1, open_low=True, open_high=True)

    def penalty(H):
        H = array(H, "H", ndim=2, finite=False)
        xp, N = namespace(H), len(H)
        mean = H.mean(axis=0)
        if ((mean <= 0) | (mean >= 1)).any():  # NaN is for the training loop to report
            raise ValueError(
                f"H: got mean activations from {mean.min()} to {mean.max()}, expected within (0, 1): "
                "use sigmoid units, and a smaller weight or step_size where they saturate"
            )
        value = (rho * xp.log(rho / mean) + (1 - rho) * xp.log((1 - rho) / (1 - mean))).sum()
        slope = beta / N * ((1 - rho) / (1 - mean) - rho / mean)
        return beta * value, xp.broadcast_to(slope, H.shape)  # [autoencoder.8]

    return penalty


def score(net, x, sigma):
    """The score of the smoothed density as a denoiser knows it [autoencoder.3].

    Parameters
    ----------
    net : callable
        A denoiser, x of shape (N, n) -> r(x) of the same shape, such as an MLP trained on `denoise(sigma)`.
    x : array_like, shape (N, n)
    sigma : float
        Standard deviation of the noise that it was trained with, > 0.

    Returns
    -------
    ndarray, shape (N, n)
        grad ln p_sigma, in units of one over those of x.

    Raises
    ------
    TypeError, ValueError
        If an argument is unfit, or `net` returns another shape.
    """
    x, sigma = array(x, "x", ndim=2), number(sigma, "sigma", low=0, open_low=True)
    r = array(net(x), "net", shape=x.shape, like=x)
    return (r - x) / sigma**2  # [autoencoder.3]
