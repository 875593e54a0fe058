# %% [markdown]
# # Sampling: new data in the plane
#
# A classifier against noise, or an autoencoder that removes noise, has learned more than its task: the density of the
# data, or its score, the direction in which the density grows. Chains that follow the score, shaken by just enough
# noise, end in samples. Another network needs no chains: a generator that learns to be taken for data. In the plane
# everything can be seen; images come in `generation`.

# %%
import math
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import before  # noqa: F401  one BLAS thread, before NumPy is loaded
import numpy as np
from gallery import OKABE_ITO, Demo, interval, plt, pm, progress
from judges import mmd, told_apart
from scipy.spatial import cKDTree

import minissl
from minissl.goals.densities import log_density_and_score, network_log_density
from minissl.goals.gan import Generator, train_gan
from minissl.goals.langevin import annealed_langevin, conditional_score, langevin, mala, noise_conditional
from minissl.nn.schedules import linear
from minissl.tasks.noise import against_noise, fit_gaussian

demo = Demo(
    "sampling",
    "Sampling: new data in the plane",
    "First learn a model of the distribution by self-supervised learning, then sample from it (MCMC).",
    "x′ = x + (η/2) ∇ln p(x) + √η z,   accepted with probability min(1, p(x′) k(x|x′)/(p(x) k(x′|x)))",
    limits="Two dimensions are no test of what images need; see `generation`. The learned density is wrong where there "
    "are neither data nor noise. Three seeds, so intervals are wide. Settings were chosen on other seeds.",
)
SEEDS = range(2 if demo.quick else 3)
BLUE, RED = OKABE_ITO[:2]


def fit(net, x, task, loss, epochs, rng, label):
    """Adam, its learning rate falling linearly to zero."""
    options = {"epochs": epochs, "optimizer": minissl.Adam(2e-3), "schedule": linear, "rng": rng}
    list(progress(minissl.train_epochs(net, x, task, loss, **options), epochs, label))
    return net


# %% [markdown]
# ## Why anneal: two islands
#
# The true score of 0.8 N((5, 5), I) + 0.2 N((−5, −5), I), no learning yet. Plain dynamics hardly ever cross the empty
# region between the modes, so each chain stays near the mode where it happened to start. On the density smeared by a
# large σ there is no empty region; as σ falls, the chains settle in nearly the right proportions. (After figure 3 of
# Song & Ermon 2019.) That the levels where the modes part have a finite number of steps could leave an error; none is
# seen where the interval below includes 0.8.

# %%
MODES, WEIGHTS = np.array([[5.0, 5.0], [-5.0, -5.0]]), np.array([0.8, 0.2])


def mixture_score(x, sigma=1.0):
    """The score of the two modes, each smeared by σ; σ = 1 is the density to sample from."""
    difference = MODES - x[:, None]
    log_joint = np.log(WEIGHTS) - np.einsum("nkj,nkj->nk", difference, difference) / (2 * sigma**2)
    posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return (posterior @ MODES - x) / sigma**2


steps = 10 if demo.quick else 100
rng = np.random.default_rng(0)
start = rng.uniform(-8, 8, size=(5 * 640, 2))  # five sets of chains, side by side
plain = langevin(mixture_score, start, 0.1, 10 * steps, rng=rng).x
cooled = annealed_langevin(mixture_score, start, np.geomspace(20, 1, 10), 0.1, steps, rng=rng).x
toy = {"start": start, "plain Langevin": plain, "annealed Langevin": cooled}
shares = {name: (x.sum(axis=1) > 0).reshape(5, 640).mean(axis=1) for name, x in toy.items()}  # in the upper half

fig, axes = plt.subplots(1, 3, figsize=(9, 3.3), sharex=True, sharey=True)
for ax, (name, x) in zip(axes, toy.items(), strict=True):
    ax.plot(*x[:640].T, ".", ms=2, color=BLUE)
    ax.set(title=name, aspect="equal", xlabel="$x_1$")
    ax.text(10.2, 10.2, f"{shares[name].mean():.2f}", ha="right", va="top", color=RED, size=12)
    ax.text(-10.2, -10.2, f"{1 - shares[name].mean():.2f}", color=RED, size=12)
    ax.set(xlim=(-10.5, 10.5), ylim=(-10.5, 10.5), xticks=(-5, 0, 5), yticks=(-5, 0, 5))
axes[0].set_ylabel("$x_2$")
demo.figure(
    fig,
    "islands",
    "640 chains with the true score, and the share of five such sets in each half. The upper mode has the probability "
    f"0.8; plain dynamics keep {shares['plain Langevin'].mean():.3f} of the chains there, about as many as started on "
    f"its side, annealed dynamics end with {pm(shares['annealed Langevin'])} (95% interval, 5 sets).",
    alt="Three scatter plots of two islands: evenly spread at the start; two islands with equal numbers under plain "
    "dynamics; most points in the upper island under annealed dynamics.",
)


# %% [markdown]
# ## In the plane: three routes
#
# *A density from telling data from noise.* The classifier's logit is ln p_data − ln p_noise − ln ν [noise.2]. So
# ln p_data is known, and so is its score, by the gradient with respect to the input. The Metropolis-adjusted
# Langevin algorithm (MALA) needs both. *Scores alone*, of a denoiser conditioned on the level of the noise, under
# annealed dynamics. *No density at all*: a generator against a discriminator (GAN). Angle and moon are drawn at random
# for every sample, so that fresh data differ from held-out data as samples do.

# %%
EPOCHS = 1 if demo.quick else 40
GAN_STEPS = 50 if demo.quick else 3000
NU = 2
LEVELS = np.geomspace(2, 0.03, 8)


def moons(N, rng):
    angle, lower = np.pi * rng.random(N), rng.integers(2, size=N)
    x = np.column_stack([np.cos(angle), np.sin(angle)]) * (1 - 2 * lower[:, None]) + lower[:, None] * [1, 0.5]
    return x + 0.08 * rng.standard_normal((N, 2))


def eight_gaussians(N, rng):
    angle = rng.integers(8, size=N) * np.pi / 4
    return np.column_stack([np.cos(angle), np.sin(angle)]) * 2 + 0.15 * rng.standard_normal((N, 2))


def learned_density(net, noise):
    """x -> (ln p of the data up to a constant, its score), from the logit against Gaussian noise [noise.2]."""
    logit = log_density_and_score(network_log_density(net), net.theta)
    precision = (noise.axes / noise.deviations**2) @ noise.axes.T

    def density(x):
        y, dy = logit(x)
        return y + noise.log_density(x) + math.log(NU), dy - (x - noise.mean) @ precision

    return density


def generate_in_the_plane(draw, seed):
    """Held-out data, the learned density, its chains, the discriminator's losses, and samples by each route."""
    rng = np.random.default_rng(seed)
    x = draw(1000 if demo.quick else 8000, rng)
    shift, scale = x.mean(axis=0), x.std()
    M = 300 if demo.quick else 1000
    x, held_out, fresh = (((a - shift) / scale).astype(np.float32) for a in (x, draw(M, rng), draw(M, rng)))
    noise = fit_gaussian(x)
    classifier = minissl.MLP((2, 64, 64, 1), "tanh", rng=rng)
    fit(classifier, x, against_noise(noise, NU), minissl.sigmoid_cross_entropy, EPOCHS, rng, "data against noise")
    denoiser = minissl.MLP((3, 64, 64, 2), "tanh", rng=rng)
    fit(denoiser, x, noise_conditional(LEVELS), minissl.squared_error, EPOCHS, rng, "denoising")
    generator, discriminator = Generator(minissl.MLP((2, 64, 64, 2), rng=rng)), minissl.MLP((2, 64, 64, 1), rng=rng)
    optimizers = minissl.Adam(2e-3, beta1=0.5), minissl.Adam(2e-3, beta1=0.5)
    options = {"steps": GAN_STEPS, "optimizers": optimizers, "schedule": linear, "rng": rng}
    losses = train_gan(generator, discriminator, x, **options)
    density = learned_density(classifier, noise)
    start = noise.sample(M, rng)
    steps = 2 if demo.quick else 60
    chains = mala(density, start, 0.02, 5 * steps, rng=rng, path=True)
    hot = (LEVELS[0] * rng.standard_normal((M, 2))).astype(np.float32)
    score, step = conditional_score(denoiser), 0.2 * LEVELS[-1] ** 2
    cooled = annealed_langevin(score, hot, LEVELS, step, steps, rng=rng).x
    samples = {"noise, where the chains start": start, "classifier, MALA": chains.x, "denoiser, annealed": cooled}
    samples |= {"GAN": generator.sample(M, rng), "fresh data": fresh}
    return held_out, density, chains, np.mean(losses[-200:], axis=0)[0], samples


def draw_plane(axes, held_out, density, chains, samples):
    """Data; learned density with its score; chains and where they end; the GAN's samples."""
    side = np.linspace(-3, 3, 101, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    p = np.exp(density(grid)[0]).reshape(101, 101)
    axes[0].plot(*held_out.T, ".", ms=2, color=BLUE)
    axes[1].imshow(p, extent=(-3, 3, -3, 3), origin="lower", cmap="Blues", vmax=np.quantile(p, 0.995))
    side = np.linspace(-2.8, 2.8, 17, dtype=np.float32)
    at = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    s = density(at)[1]
    axes[1].quiver(*at.T, *(s / (1 + np.linalg.norm(s, axis=1, keepdims=True))).T, color=RED, scale=20, width=0.005)
    axes[2].plot(*chains.x.T, ".", ms=2, color=BLUE)
    for i in range(3):
        axes[2].plot(*chains.path[:, i].T, lw=0.6, ls="-", color=OKABE_ITO[i + 1])
        axes[2].plot(*chains.path[0, i], "o", ms=5, mec="black", color=OKABE_ITO[i + 1])
    axes[3].plot(*samples["GAN"].T, ".", ms=2, color=BLUE)
    for ax in axes:
        ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=(), yticks=())


fig, axes = plt.subplots(2, 4, figsize=(9, 4.7))
plane, nearest, acceptance, discriminator_losses = {}, {}, [], []
SHAPES = {"two moons": moons, "eight Gaussians": eight_gaussians}
for row, (shape, draw) in zip(axes, SHAPES.items(), strict=True):
    for seed in SEEDS:
        held_out, density, chains, losses, samples = generate_in_the_plane(draw, seed)
        acceptance.append(chains.acceptance)
        discriminator_losses.append(losses)
        for route, x in samples.items():
            scores = plane.setdefault(route, {}).setdefault(shape, [])
            scores.append((1000 * mmd(x, held_out), told_apart(x, held_out, folds=3)))
            if shape == "two moons":
                nearest.setdefault(route, []).append(np.median(cKDTree(x).query(x, 2)[0][:, 1]))
        if seed == 0:
            draw_plane(row, held_out, density, chains, samples)
            row[0].set_ylabel(shape)
for ax, title in zip(axes[0], ("data", "density and score", "its chains (MALA)", "GAN"), strict=True):
    ax.set_title(title)
demo.figure(
    fig,
    "plane",
    "The density is that which a classifier against noise has learned; its score as arrows, long ones shortened. Three "
    "of 1,000 chains from their start (circle), and where all of them end. Last: samples of the GAN's generator.",
    alt="Two rows, two moons and eight Gaussians on a circle. In each the learned density covers the data, arrows "
    "point to it, and the chains end where the data lie, but for a few. The GAN's moons are thinner than the data's; "
    "its eight groups are joined into a ring.",
    main=True,
)
plane = {route: {shape: np.array(values) for shape, values in by_shape.items()} for route, by_shape in plane.items()}
demo.table(
    f"Samples against 1,000 held-out data, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", *(f"{shape}: {judge}" for shape in SHAPES for judge in ("MMD² × 1000", "told apart"))],
    [
        [route, *(pm(v[:, k], (1, 3)[k]) for v in by_shape.values() for k in (0, 1))]
        for route, by_shape in plane.items()
    ],
    "MMD², the squared maximum mean discrepancy (Gretton et al. 2012), is 0 on average where the two distributions are "
    "the same; told apart, the accuracy of a classifier (support vectors with a Gaussian kernel, cross-validated), is "
    "then 0.5: see 'fresh data'. "
    f"MALA accepted {np.mean(acceptance):.0%} of its proposals. The GAN's discriminator ends with a loss of "
    f"{np.mean(discriminator_losses):.3f} nats; ln 2 = {math.log(2):.3f} is that of one which cannot tell [gan.6].",
)

# %%
LEARNED = ["classifier, MALA", "denoiser, annealed", "GAN"]
apart = {route: [pm(v[:, 1], 3) for v in plane[route].values()] for route in plane}
nearest = {route: np.array(values) for route, values in nearest.items()}
if not demo.quick:
    seen = []
    for route in LEARNED:
        gaps = [
            interval(by[:, 1] - fresh[:, 1])
            for by, fresh in zip(plane[route].values(), plane["fresh data"].values(), strict=True)
        ]
        seen.append(f"{route}: {', '.join(f'{gap:+.3f} ± {half:.3f}' for gap, half in gaps)}")
    demo.say(
        f"Accuracy of telling samples from data, less that for fresh data, seed by seed, {', then '.join(SHAPES)}: "
        f"{'; '.join(seen)}. With {len(SEEDS)} seeds an interval that includes zero is no proof of likeness. The "
        "figure shows that the GAN's samples are not like the data: its moons are thinner; and its generator, a "
        "continuous map of one Gaussian, joins the eight groups into a ring."
    )
    thinner = nearest["GAN"] / nearest["fresh data"]
    middle, half = interval(thinner)
    if middle + half < 1:
        demo.say(
            "The classifier is a weak judge: the median distance of the GAN's moons to their nearest neighbours is "
            f"{pm(thinner)} times that of fresh data, but it tells them from data with accuracy {apart['GAN'][0]} "
            "only. So an accuracy near 0.5 does not show likeness."
        )
chains, fresh, noise = (
    " and ".join(apart[route]) for route in ("classifier, MALA", "fresh data", "noise, where the chains start")
)
demo.lesson(
    "A network that can tell data from noise has learned a density: chains that follow its gradient from noise end in "
    f"samples that another classifier, a weak judge, tells from {' and '.join(SHAPES)} with accuracy {chains} "
    f"(chance 0.5; fresh data {fresh}; the noise {noise}).",
    f"told apart {' and '.join(accuracy.split()[0] for accuracy in apart['classifier, MALA'])}",
)
demo.finish()
