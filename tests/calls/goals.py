"""goals/: probe, densities and noise-contrastive estimation, sampling."""

import copy

import numpy as np
from arguments import array, count, integers, number, one_of, pair

from calls.nn import net
from calls.table import ALONE_X, ELEMENTWISE, IMAGES, LABELS, RNG, SIGMA, SPD, X, row
from calls.tasks import NOISE
from minissl.goals import clustering, densities, gan, ica, langevin, nce, optimal_noise, probe, score_matching, vae
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import Adam
from minissl.nn.schedules import linear


def score_of(x, *_):
    return -x


def log_density(x):
    return -0.5 * (x * x).sum(axis=1), -x


# probe

LABELLED = {"features": array(X, (0,), alone=True, name="features|labels"), "labels": integers(LABELS, 7, (0,))}
LABELLED["labels"].bad.update({"one class": np.zeros(7, int), "a class left out": np.array([0, 2, 0, 2, 0, 2, 0])})
L2 = number(0.1, 0, open_low=True)
TOLERANCE = number(1e-5, 0, allowed={"None": "what the penalty asks for"})
PROBE = probe.linear_probe(X, LABELS, 0.1)
row(
    "probe.objective",
    lambda theta, l2: probe.objective(X, LABELS, l2)(theta),
    theta=array(np.ones(12), (0,)),
    l2=L2,
)
row("probe.linear_probe", probe.linear_probe, 1e-3, **LABELLED, l2=L2, tolerance=TOLERANCE, iterations=count(100))
row(
    "probe.cross_validate_l2",
    probe.cross_validate_l2,
    1e-2,
    **LABELLED,
    candidates=array([0.1, 1.0], alone=True, bad={"none": [], "zero": [0.1, 0], "negative": [-1.0]}),
    folds=count(2, 7, low=2),
    **RNG,
    tolerance=TOLERANCE,
)
row("probe.Probe.logits", PROBE.logits, features=array(X, (1,)))
row("probe.Probe.predict", PROBE.predict, features=array(X, (1,)))
row(
    "probe.pooled_features",
    probe.pooled_features,
    f=one_of(lambda q: q[:, :2] ** 2, None, "f", lambda q: q[1:], lambda q: None),
    images=array(IMAGES, alone=True),
    window=pair((2, 3), bad={"too high": (5, 3), "too wide": (2, 7)}),
    grid=pair((1, 2), bad={"too many": (4, 1)}),
    block=count(2),
)
row("probe.Whitening.__call__", probe.whitening(X), q=array(X, (1,)))
row("probe.whitening", probe.whitening, **ALONE_X, floor=number(0.1, 0, open_low=True))

# clustering

FOUND = clustering.k_means(X, 2, rng=0)
MIXTURE = clustering.gaussian_mixture(X, FOUND.centres)
row("clustering.k_means", clustering.k_means, **ALONE_X, K=count(2, 7), starts=count(2), iterations=count(20), **RNG)
row("clustering.Clusters.assign", FOUND.assign, x=array(X, (1,)))
row(
    "clustering.gaussian_mixture",
    clustering.gaussian_mixture,
    x=array(X, (1,), name="x|centres"),
    centres=array(X[:2], (1,), name="x|centres"),
    iterations=count(50),
    tolerance=number(1e-3, 0),
)
row("clustering.Mixture.log_density", MIXTURE.log_density, x=array(X, (1,)))
row("clustering.Mixture.posterior", MIXTURE.posterior, x=array(X, (1,)))
row("clustering.Mixture.sample", MIXTURE.sample, N=count(4), **RNG)
for measure in clustering.clustering_accuracy, clustering.normalised_mutual_information:
    row(
        f"clustering.{measure.__name__}",
        measure,
        labels=integers(LABELS, tied=(0,), name="labels|classes"),
        classes=integers(LABELS[::-1], tied=(0,), name="labels|classes"),
    )

# densities

THETA = np.array([1.0, 0.1, 0.2, 1.5, 0.3, 0.8, 0.1, -0.2, 0.3, -2.0])  # a Gaussian in three dimensions
ICA = np.append(SPD.ravel(), -1.0)


def both(model):
    """ln p_m, the weighted sum of g, and the score."""
    log_p, vjp = model
    return log_p, *vjp(np.ones_like(log_p), input_gradient=True)


row(
    "densities.gaussian",
    lambda theta, x: both(densities.gaussian(theta, x)),
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "densities.gaussian_theta",
    densities.gaussian_theta,
    mean=array(X[0], (0,), name="mean|covariance"),
    covariance=array(SPD, (0, 1), bad={"indefinite": -SPD, "not symmetric": SPD + np.triu(SPD)}),
)
row(
    "densities.precision_matrix",
    densities.precision_matrix,
    theta=array(THETA, (0,), alone=True),
    n=count(3, 3, name="n|theta"),
)
for source in densities.logcosh, densities.laplace:
    u = array(X, alone=True, any_shape=True, allowed=ELEMENTWISE)
    row(f"densities.{source.__name__}", source, u=u)
SOURCE = one_of(densities.laplace, None, "laplace", 3)
row(
    "densities.ica",
    lambda theta, x, source: both(densities.ica(theta, x, source)),
    theta=array(ICA, (0,)),
    x=array(X, (1,), name="x|theta"),
    source=SOURCE,
)
row(
    "densities.ica_likelihood",
    lambda B, x, source: densities.ica_likelihood(x, source)(B),
    B=array(SPD.ravel(), (0,), bad={"singular": np.ones(9)}),
    x=array(X, (1,), name="x|B"),
    source=SOURCE,
)
NETWORK = one_of(net(1), net(2), score_of, None, name="net")
row(
    "densities.network_log_density",
    lambda theta, x, network: both(densities.network_log_density(network)(theta, x)),
    theta=array(net(1).theta, (0,)),
    x=array(X, (1,)),
    network=NETWORK,
)
MODEL = one_of(densities.gaussian, None, "gaussian", 3)
row(
    "densities.log_density_and_score",
    lambda model, theta, x: densities.log_density_and_score(model, theta)(x),
    model=MODEL,
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|theta"),
)

# nce, optimal_noise

NODES = {"weights": array(np.full(7, 1 / 7), (0,), bad={"negative": -np.ones(7) / 7, "another sum": np.ones(7)})}
NU = number(2.0, 0, open_low=True)
FROM_NOISE = one_of(NOISE, None, "noise", type(NOISE), X)
row(
    "nce.objective",
    lambda model, theta, x, e, noise: nce.objective(model, x, e, noise)(theta),
    model=MODEL,
    noise=FROM_NOISE,
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|e"),
    e=array(X[:5], (1,)),
)
row(
    "nce.estimate",
    nce.estimate,
    1e-4,
    model=MODEL,
    noise=FROM_NOISE,
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|e|theta"),
    nu=count(2),
    **RNG,
    iterations=count(5),
    tolerance=number(1e-3, 0),
)
row(
    "nce.parameter_scores",
    nce.parameter_scores,
    model=MODEL,
    theta=array(THETA, (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "nce.information",
    nce.information,
    g=array(X, (0,), name="g|x"),
    weights=array(np.full(7, 1 / 7), (0,), name="weights|x"),
)
ROWS_14 = np.vstack([X, X[::-1] ** 2])
row(
    "nce.asymptotic_covariance",
    nce.asymptotic_covariance,
    model=MODEL,
    noise=FROM_NOISE,
    theta=array(THETA, (0,), name="theta|x"),
    x=array(ROWS_14, (1,), name="x|theta|weights"),
    nu=NU,
    weights=array(np.full(14, 1 / 14), (0,), bad={"another sum": np.ones(14)}, allowed={"None": "equal weights"}),
)
row(
    "optimal_noise.optimal_noise",
    optimal_noise.optimal_noise,
    model=MODEL,
    theta=array([1.0, 0.1, -1.0], (0,)),
    x=array(X[:, :1], (0, 1), name="x|theta|weights"),
    nu=NU,
    **NODES,
    iterations=count(500),
    tolerance=number(1e-2, 0),
)

# score_matching

GRADIENTS, LAPLACIANS = score_matching.gaussian_derivatives(np.concatenate([X, X[::-1] ** 2]))
FEATURES = {
    "gradients": array(GRADIENTS, (0, 1), name="gradients|laplacians|alpha", bad={"related": np.ones((14, 9, 3))}),
    "laplacians": array(LAPLACIANS, (0, 1)),
}
row("score_matching.gaussian_derivatives", score_matching.gaussian_derivatives, **ALONE_X)
row("score_matching.exponential_family", score_matching.exponential_family, 1e-6, **FEATURES)
row(
    "score_matching.asymptotic_covariance",
    score_matching.asymptotic_covariance,
    1e-6,
    **FEATURES,
    alpha=array(THETA[:9], (0,)),
)


def score_and_vjp(model):
    """ψ, its divergence, and the backward pass."""
    psi, laplacian, vjp = model
    return psi, laplacian, vjp(psi, np.ones_like(laplacian))


row(
    "score_matching.objective",
    lambda model, theta, x: score_matching.objective(model, x)(theta),
    model=one_of(score_matching.ica_score, None, "ica", 3),
    theta=array(SPD.ravel(), (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "score_matching.ica_score",
    lambda theta, x: score_and_vjp(score_matching.ica_score(theta, x)),
    theta=array(SPD.ravel(), (0,)),
    x=array(X, (1,), name="x|theta"),
)
row(
    "score_matching.network_score",
    lambda theta, x, network: score_and_vjp(score_matching.network_score(network)(theta, x)),
    theta=array(net(1).theta, (0,)),
    x=array(X, (1,)),
    network=one_of(net(1), net(2), MLP((3, 4, 1)), score_of, None, name="net"),
)
row(
    "score_matching.sliced_score",
    lambda theta, x, network, v: score_and_vjp(score_matching.sliced_score(network, v)(theta, x)),
    theta=array(net(1).theta, (0,)),
    x=array(X, (0, 1), name="x|v"),
    network=one_of(net(1), net(2), MLP((3, 4, 1)), score_of, None, name="net"),
    v=array([X, X[::-1]], (1, 2)),
)
row("score_matching.random_directions", score_matching.random_directions, **ALONE_X, K=count(2), **RNG)

# langevin

CHAINS = {**ALONE_X, "step": number(0.1, 0, open_low=True), "steps": count(3), **RNG}
SIGMAS = array(
    [2.0, 1.0, 0.5], alone=True, bad={"rising": [1.0, 2.0], "equal": [1.0, 1.0], "zero": [1.0, 0.0], "negative": [-1.0]}
)
SCORE = one_of(score_of, None, "score", lambda x, *_: x[1:], lambda x, *_: None)
row("langevin.langevin", lambda score, **o: langevin.langevin(score, path=True, **o), score=SCORE, **CHAINS)
LOG_DENSITY = "log_density|log_p|score"
row(
    "langevin.mala",
    lambda log_density, **o: langevin.mala(log_density, path=True, **o),
    log_density=one_of(log_density, None, "density", score_of, lambda x: (x, -x), lambda x: None, name=LOG_DENSITY),
    **CHAINS,
)
row(
    "langevin.annealed_langevin",
    lambda score, **o: langevin.annealed_langevin(score, path=True, **o),
    score=SCORE,
    sigmas=SIGMAS,
    **CHAINS,
)
row(
    "langevin.noise_conditional",
    lambda sigmas, x, rng: langevin.noise_conditional(sigmas)(x, rng),
    sigmas=SIGMAS,
    **ALONE_X,
    **RNG,
)
row(
    "langevin.conditional_score",
    lambda net, x, sigma: langevin.conditional_score(net)(x, sigma),
    net=one_of(MLP((4, 5, 3), rng=0, dtype="float64"), None, "net", 3),
    x=array(X, (1,)),
    sigma=SIGMA,
)

# gan

GENERATOR = gan.Generator(MLP((2, 4, 3), "tanh", rng=1, dtype="float64"))
row("gan.Generator.sample", GENERATOR.sample, N=count(4), **RNG)
row("gan.latent", lambda m, x, rng: gan.latent(m)(x, rng), m=count(2), **ALONE_X, **RNG)
DISCRIMINATOR = one_of(net(1), net(2), score_of, None)
row(
    "gan.adversarial_loss",
    lambda discriminator, output, target: gan.adversarial_loss(discriminator)(output, target),
    discriminator=DISCRIMINATOR,
    output=array(X, (1,), name="output|x|target"),
    target=array(np.ones((7, 1)), (0, 1), bad={"above 1": np.full((7, 1), 2.0), "below 0": -np.ones((7, 1))}),
)


def adversaries(generator, discriminator, x, run=gan.train_gan, **options):
    generator, discriminator = (
        copy.deepcopy(part) if isinstance(part, (gan.Generator, MLP)) else part for part in (generator, discriminator)
    )
    options = {"steps": 2, "batch_size": 3, "rng": 0} | options
    return list(run(generator, discriminator, x, **options)), discriminator.theta + 0


GAN = {
    "generator": one_of(GENERATOR, net(3), score_of, None),
    "discriminator": DISCRIMINATOR,
    "x": array(X, (1,), name="x|noise"),
    "steps": count(2),
    "batch_size": count(3),
    "optimizers": one_of(None, Adam(), (Adam(),), (Adam(), 3), "adam", Adam),
    "schedule": one_of(linear, "linear", 0.5, None, lambda u: -1.0),
    **RNG,
}
row("gan.train_gan", adversaries, **GAN)
row("gan.train_gan_steps", lambda **o: adversaries(run=gan.train_gan_steps, **o), **GAN)

# vae

ENCODER = MLP((3, 4, 4), "tanh", rng=2, dtype="float64")
DECODER = MLP((2, 4, 3), "tanh", rng=3, dtype="float64")
CODERS = {"encoder": one_of(ENCODER, net(3), score_of, None), "decoder": one_of(DECODER, score_of, None)}
BETA = number(1.5, 0)
row("vae.encoder_task", lambda m, x, rng: vae.encoder_task(m)(x, rng), m=count(2), **ALONE_X, **RNG)
row(
    "vae.decoder_task",
    lambda encoder, x, rng: vae.decoder_task(encoder)(x, rng),
    encoder=one_of(ENCODER, score_of, None),
    x=array(X, (1,)),
    **RNG,
)
row(
    "vae.gaussian_loss",
    lambda sigma, output, target: vae.gaussian_loss(sigma)(output, target),
    sigma=SIGMA,
    output=array(X, (0, 1)),
    target=array(X[::-1] ** 2, (0, 1)),
)
row(
    "vae.negative_bound",
    lambda decoder, sigma, beta, output, target, noise: vae.negative_bound(decoder, sigma, beta)(output, target, noise),
    decoder=CODERS["decoder"],
    sigma=SIGMA,
    beta=BETA,
    output=array(ENCODER(X), (0, 1), name="output|target|noise"),
    target=array(X, (0, 1)),
    noise=array(X[:, :2], (0, 1)),
)
row(
    "vae.evidence_bound",
    vae.evidence_bound,
    **CODERS,
    x=array(X, (1,)),
    sigma=SIGMA,
    samples=count(2),
    **RNG,
)


def coders(encoder, decoder, x, run=vae.train_vae, **options):
    encoder, decoder = (copy.deepcopy(part) if isinstance(part, MLP) else part for part in (encoder, decoder))
    options = {"steps": 2, "batch_size": 3, "rng": 0} | options
    return list(run(encoder, decoder, x, **options)), decoder.theta + 0


VAE = CODERS | {
    "x": array(X, (1,)),
    "sigma": SIGMA,
    "beta": BETA,
    "steps": count(2),
    "batch_size": count(3),
    "optimizers": one_of(None, Adam(), (Adam(),), (Adam(), 3), "adam", Adam),
    "schedule": one_of(linear, "linear", 0.5, None, lambda u: -1.0),
    **RNG,
}
row("vae.train_vae", coders, **VAE)
row("vae.train_vae_steps", lambda **o: coders(run=vae.train_vae_steps, **o), **VAE)


def projected(x, m, sigma):
    """W up to signs, and the density."""
    W, density = vae.probabilistic_pca(x, m, sigma)
    return W @ W.T, density.log_density(x)


row(
    "vae.probabilistic_pca",
    projected,
    1e-6,
    x=array(X, alone=True, bad={"one sample": X[:1]}),
    m=count(2, 3),
    sigma=SIGMA,
)

# ica

SOURCES = np.random.default_rng(8).standard_normal((40, 2)) ** 3  # far from Gaussian, for any seed
UNMIXED = ica.fast_ica(SOURCES, rng=0)
row("ica.ICA.__call__", UNMIXED, x=array(SOURCES, (1,)))

row(
    "ica.fast_ica",
    ica.fast_ica,
    1e-3,
    x=array(SOURCES, alone=True, bad={"a copied column": SOURCES[:, [0, 0]], "one sample": SOURCES[:1]}),
    **RNG,
    iterations=count(50),
    tolerance=number(1e-8, 0, open_low=True),
)
MATCHED = {"s": array(SOURCES, (0,), name="s|found"), "found": array(SOURCES[:, ::-1] + 1, (0,))}
row("ica.match_components", ica.match_components, **MATCHED)
row("ica.mean_correlation", ica.mean_correlation, **MATCHED)
row(
    "ica.gaussianize_and_rotate",
    ica.gaussianize_and_rotate,
    s=array(SOURCES, (1,), alone=True),
    angle=number(0.3),
)
