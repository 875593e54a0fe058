"""tasks/: pretext tasks, called once on a batch, and what belongs to them."""

import numpy as np
from arguments import array, count, integers, number, one_of, pair

from calls.nn import word_net
from calls.table import (
    ALONE_X,
    NAMED_X,
    NON_FINITE,
    PIXELS,
    RNG,
    SERIES,
    SIGMA,
    TEXT,
    WEIGHT,
    X,
    Y,
    row,
)
from minissl.tasks import autoencoder, jigsaw, noise, prediction, shuffling, words

# noise

NOISE = noise.fit_gaussian(X)
row(
    "noise.Gaussian.sample put together",
    lambda mean, axes, deviations: noise.Gaussian(mean, axes, deviations).sample(4, 0),
    mean=array(NOISE.mean, (0,), name="mean|axes|deviations"),
    axes=array(NOISE.axes, (0, 1), name="axes|deviations"),
    deviations=array(NOISE.deviations, (0,), bad={"negative": -NOISE.deviations, "zero": 0 * NOISE.deviations}),
)
row("noise.Gaussian.sample", NOISE.sample, N=count(4), **RNG)
row("noise.Gaussian.log_density", NOISE.log_density, **NAMED_X)
row("noise.fit_gaussian", noise.fit_gaussian, **ALONE_X)
row("noise.isotropic_gaussian", noise.isotropic_gaussian, **ALONE_X)
row(
    "noise.against_noise",
    lambda noise_, nu, x, rng: noise.against_noise(noise_, nu, balanced=True)(x, rng),
    noise_=one_of(NOISE, "gaussian", None, X, noise.fit_gaussian, name="noise"),
    nu=count(2),
    x=array(X, (1,)),
    **RNG,
)

# shuffling, jigsaw

IMAGE = array(PIXELS, (1,), alone=True)
SHAPE = pair((4, 6), bad={"another image": (5, 5)}, name="shape|grid|block|x")
GRID = pair((2, 3), bad={"no divisors": (3, 4)})
row("shuffling.shuffle_variables", shuffling.shuffle_variables, **ALONE_X, **RNG)
row(
    "shuffling.against_shuffled",
    lambda shuffle, x, rng: shuffling.against_shuffled(shuffle)(x, rng),
    shuffle=one_of(shuffling.shuffle_variables, None, "variables", 3, lambda x, rng: x[1:], lambda x, rng: None),
    **ALONE_X,
    **RNG,
)
row(
    "shuffling.shuffle_patches",
    lambda shape, grid, x, rng: shuffling.shuffle_patches(shape, grid)(x, rng),
    shape=SHAPE,
    grid=GRID,
    x=IMAGE,
    **RNG,
)
ORDERS = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 0, 3, 2, 5, 4]]
row(
    "jigsaw.jigsaw",
    lambda shape, grid, permutations, gap, x, rng: jigsaw.jigsaw(shape, grid, permutations, gap)(x, rng),
    shape=SHAPE,
    grid=GRID,
    permutations=integers(ORDERS, 6, (1,), bad={"no permutation": [[0, 1, 2, 3, 4, 4]]}),
    gap=count(0, low=0, bad={"no fit": 1}, name="gap|grid"),
    x=IMAGE,
    **RNG,
)
row("jigsaw.normalise", jigsaw.normalise, x=array(X, alone=True, any_shape=True), floor=number(0.1, 0, open_low=True))
row("jigsaw.max_hamming_permutations", jigsaw.max_hamming_permutations, P=count(4, 9), K=count(5, 24), **RNG)

# autoencoder

UNIT = number(0.3, 0, 1)
BLOCKS = integers([0, 0, 1], 3, (0,), name="blocks|x", allowed={"None": "each by itself"})
row("autoencoder.reconstruct", lambda x: autoencoder.reconstruct()(x, None), **ALONE_X)
row(
    "autoencoder.denoise",
    lambda sigma, x, rng: autoencoder.denoise(sigma)(x, rng),
    sigma=number(0.3, 0),
    **ALONE_X,
    **RNG,
)
row(
    "autoencoder.mask",
    lambda p, fill, blocks, x, rng: autoencoder.mask(p, fill, blocks, missing_only=True)(x, rng),
    p=UNIT,
    fill=number(0.5),
    blocks=BLOCKS,
    x=array(X, (1,), alone=True),
    **RNG,
)
row("autoencoder.image_blocks", autoencoder.image_blocks, shape=SHAPE, block=pair((2, 3), bad={"no divisor": (3, 3)}))
row(
    "autoencoder.colorize",
    lambda luminance, x: autoencoder.colorize(luminance)(x, None),
    luminance=array([0.3, 0.6, 0.1], alone=True),
    x=array(PIXELS, alone=True, bad={"no pixels": PIXELS[:, 1:]}),
)
UNSEEN = dict.fromkeys(NON_FINITE, "training reports epoch and batch")
row(
    "autoencoder.l1",
    lambda weight, H: autoencoder.l1(weight)(H),
    weight=number(0.3, 0),
    H=array(Y, alone=True, allowed=UNSEEN),
)
row(
    "autoencoder.kl_sparsity",
    lambda weight, rho, H: autoencoder.kl_sparsity(weight, rho)(H),
    weight=number(0.3, 0),
    rho=number(0.3, 0, 1, True, True),
    H=array(
        WEIGHT, alone=True, bad={"above 1": WEIGHT + 1, "zero": 0 * WEIGHT}, allowed={"entry nan": UNSEEN["entry nan"]}
    ),
)
row(
    "autoencoder.score",
    lambda net, x, sigma: autoencoder.score(net, x, sigma),
    net=one_of(lambda x: 0.5 * x, None, "net", lambda x: x[1:], lambda x: None),
    **ALONE_X,
    sigma=SIGMA,
)

# prediction

WINDOWS = prediction.windows(SERIES, 3)
row("prediction.windows", prediction.windows, x=array(SERIES, alone=True, any_shape=True), length=count(3, 20))
row(
    "prediction.next_value",
    lambda order, x: prediction.next_value(order)(x, None),
    order=count(2, bad={"another": 3}, name="order|x"),
    x=array(WINDOWS, (1,), alone=True, any_shape=True),
)
row(
    "prediction.forecast",
    lambda model, **o: prediction.forecast(model, **o),
    model=one_of(lambda x: x[:, :1] / 2, None, "model", lambda x: x, lambda x: x[1:, :1], lambda x: None),
    past=array(WINDOWS[:, 1:], (0,), any_shape=True, name="past|shocks|model"),
    steps=count(4, bad={"another": 5}, name="steps|shocks"),
    shocks=array(np.ones((18, 4)), (0, 1), allowed={"None": "a forecast without noise"}),
)

# words

VOCABULARY = words.vocabulary("a b a c d".split(), 5)
TOKENS = one_of("a c e".split(), "a c e", 3, None, [1, 2], [["a"]])
MODEL = one_of(word_net(), None, "net", lambda c: np.ones(3), lambda c: None, lambda c: np.full((len(c), 5), np.nan))
row("words.Vocabulary.encode", VOCABULARY.encode, tokens=TOKENS)
row("words.Vocabulary.decode", VOCABULARY.decode, numbers=integers([0, 3, 4], 5))
row(
    "words.vocabulary",
    lambda **o: words.vocabulary(**o).encode(list("abcd")),
    tokens=TOKENS._replace(bad=TOKENS.bad | {"none": []}),
    size=count(3, low=2),
)
row(
    "words.next_word",
    lambda context, x: words.next_word(context)(x, None),
    context=count(2, bad={"another": 3}, name="context|x"),
    x=integers(TEXT, tied=(1,)),
)
row(
    "words.perplexity",
    words.perplexity,
    model=MODEL,
    x=integers(TEXT, 5, (1,), name="x|target"),
    batch_size=count(4),
)
row(
    "words.generate",
    lambda model, start, **o: words.generate(model, start, **o),
    model=MODEL,
    start=integers(TEXT[:, :2], 5, (1,), name="start|x"),
    length=count(3),
    temperature=number(0.7, 0, open_low=True),
    top_k=count(3, 5)._replace(allowed={"None": "all words"}),
    **RNG,
)
