# %% [markdown]
# # Generation: digits from noise
#
# Three ways from noise to new images. *Annealed Langevin dynamics* climb a learned score (see `sampling`). A generator
# that learns to be taken for data needs no chains (GAN); nor does the decoder of an autoencoder whose code is noisy
# (VAE). Pictures are not enough to tell which is good: judges measure, and simple generators stand beside.

# %%
import math
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import OKABE_ITO, Demo, interval, mark_best, plt, pm, progress, tiles
from judges import copies, mmd, told_apart
from sklearn.ensemble import RandomForestClassifier
from sklearn.mixture import GaussianMixture

import minissl
from minissl.goals.gan import Generator, train_gan_steps
from minissl.goals.langevin import annealed_langevin, conditional_score, noise_conditional
from minissl.goals.vae import evidence_bound, probabilistic_pca, train_vae_steps
from minissl.nn.schedules import linear
from minissl.tasks.noise import against_noise

demo = Demo(
    "generation",
    "Generation: digits from noise",
    "Generate new data: after learning a density or its score, by sampling; or by a generator that is learned itself.",
    "x′ = x + (η/2) ∇ln p(x) + √η z;   GAN: J_D = −½ E ln D(x) − ½ E ln(1 − D(G(z)));   "
    "VAE: J = E [‖x − f(z)‖²/(2σ²) + (n/2) ln 2πσ² + β KL(q(z|x)‖p(z))]",
    limits="One small data set, splits of the same 1,797 images, three of them: the intervals are wide, and not those "
    "of new writers. Settings were chosen on other splits of the same images; each is one choice among many, and the "
    "GAN in particular may gain from remedies that are not tried. A classifier that tells samples from data says how "
    "well it can, not what is wrong with them.",
)
SEEDS = range(2 if demo.quick else 3)
BLUE, RED = OKABE_ITO[:2]


# %% [markdown]
# ## Digits from pure noise
#
# Two of the routes of `sampling` at 64 pixels, annealed Langevin and the GAN, and the VAE; the chains on the density of
# a classifier are left out. *Annealed Langevin*: one network for ten levels of the noise, from σ = 5 to 0.1 (in
# standard deviations of the pixels), 50 steps each, then one last step that removes the noise that is left,
# x + σ² s(x). *GAN* and *VAE*: 16 latent numbers each. All pixels are rounded to the grey values 0 … 16 that real
# digits have; otherwise rounding alone would tell them apart. Judges: a classifier that is to tell the images from
# held-out ones, and MMD² (see `sampling`); a random forest that learned to read the training images; and the question
# whether these were copied.

# %%
EPOCHS = 5 if demo.quick else 400
GAN_STEPS = 50 if demo.quick else 3000
VAE_STEPS = 50 if demo.quick else 1500
LATENT, SIGMA, BETAS = 16, 0.2, (0.25, 1.0, 4.0)
IMAGES = 100 if demo.quick else 600  # that each generator makes
LEVELS = np.geomspace(5, 0.1, 10)
STEPS = 5 if demo.quick else 50
STEP = 0.2 * LEVELS[-1] ** 2
images, labels = data.digits()


def grey_values(x):
    return np.round(np.clip(x, 0, 1) * 16) / 16


def learn_score(x, rng):
    """The score at every level of the noise, from a denoiser whose learning rate falls linearly to zero."""
    net = minissl.MLP((65, 256, 256, 64), rng=rng)
    options = {"epochs": EPOCHS, "batch_size": 64, "optimizer": minissl.Adam(2e-3), "schedule": linear, "rng": rng}
    losses = minissl.train_epochs(net, x, noise_conditional(LEVELS), minissl.squared_error, **options)
    list(progress(losses, EPOCHS, "denoise"))
    return conditional_score(net)


def from_noise(score, N, rng, path=False):
    start = LEVELS[0] * rng.standard_normal((N, 64))
    chains = annealed_langevin(score, start.astype(np.float32), LEVELS, STEP, STEPS, rng=rng, path=path)
    last = float(LEVELS[-1])
    return chains.x + last**2 * score(chains.x, last), chains.path


def learn_adversarially(x, held_out, rng):
    """A generator; the discriminator's loss on its own and on held-out data as it learns; what it takes for real."""
    generator = Generator(minissl.MLP((LATENT, 256, 256, 64), rng=rng))
    discriminator = minissl.MLP((64, 256, 256, 1), rng=rng)
    optimizers = minissl.Adam(2e-3, beta1=0.5), minissl.Adam(2e-3, beta1=0.5)
    options = {"batch_size": 64, "optimizers": optimizers, "schedule": linear, "rng": rng}
    steps = train_gan_steps(generator, discriminator, x, steps=GAN_STEPS, **options)
    losses = []
    for step, _ in enumerate(progress((J_D for J_D, _ in steps), GAN_STEPS, "GAN"), 1):
        if step % (GAN_STEPS // 25) == 0:
            pairs = (against_noise(generator)(real, rng) for real in (x, held_out))
            losses.append([minissl.sigmoid_cross_entropy(discriminator(rows), one)[0] for rows, one in pairs])
    own = generator.sample(1000, np.random.default_rng(0))  # of a new generator of random numbers: all others stay
    return generator, np.array(losses), [float((discriminator(rows) > 0).mean()) for rows in (x, held_out, own)]


def learn_vae(x, beta, rng):
    """Encoder and decoder of centred images; σ is in units of the grey scale."""
    encoder, decoder = minissl.MLP((64, 256, 2 * LATENT), rng=rng), minissl.MLP((LATENT, 256, 64), rng=rng)
    options = {"batch_size": 64, "optimizers": (minissl.Adam(8e-3), minissl.Adam(8e-3)), "schedule": linear, "rng": rng}
    steps = train_vae_steps(encoder, decoder, x, sigma=SIGMA, beta=beta, steps=VAE_STEPS, **options)
    list(progress(steps, VAE_STEPS, f"VAE, β = {beta:g}"))
    return encoder, decoder


def judge_vae(encoder, decoder, x, rng):
    """Bound on ln p of centred images, KL, and error of reconstruction from the mean code."""
    mu, rho = np.split(encoder(x), 2, axis=1)
    KL = (0.5 * (mu**2 + np.exp(2 * rho) - 1) - rho).sum(axis=1).mean()  # [vae.4]
    bound = evidence_bound(encoder, decoder, x, SIGMA, samples=20, rng=rng).mean()
    return [bound, KL, ((decoder(mu) - x) ** 2).mean() ** 0.5]


def judge_pca(train, held_out, rng):
    """The same of probabilistic PCA, where bound and likelihood are one [vae.12]; and its samples."""
    W, density = probabilistic_pca(train, LATENT, SIGMA)
    M = W.T @ W + SIGMA**2 * np.identity(LATENT)
    mu = (held_out - density.mean) @ W @ np.linalg.inv(M)
    KL = 0.5 * ((mu**2).sum(axis=1).mean() + (SIGMA**2 / np.diag(M) - 1 - np.log(SIGMA**2 / np.diag(M))).sum())
    error = ((density.mean + mu @ W.T - held_out) ** 2).mean() ** 0.5
    samples = density.mean + rng.standard_normal((IMAGES, LATENT)) @ W.T
    return [density.log_density(held_out).mean(), KL, error], samples


def walk(encoder, decoder, mean, first, second, places=9):
    """From images to others, (N, places, 64): by the decoder of a straight line between codes, and by mixing pixels."""
    share = np.linspace(0, 1, places, dtype=np.float32)[:, None]
    z, z_ = (encoder(x - mean)[:, None, :LATENT] for x in (first, second))
    code = (1 - share) * z + share * z_
    decoded = (mean + decoder(code.reshape(-1, LATENT))).reshape(len(code), places, 64)
    return decoded, (1 - share) * first[:, None] + share * second[:, None]


def simple_generators(train, N, rng):
    """What needs no network, and what a perfect generator would get."""
    seed = int(rng.integers(2**31))
    some = train[rng.choice(len(train), N, replace=False)]
    return {
        "one Gaussian": rng.multivariate_normal(train.mean(axis=0), np.cov(train.T), size=N),
        "mixture of 30 Gaussians": GaussianMixture(30, reg_covar=1e-3, random_state=seed).fit(train).sample(N)[0],
        "training images + noise 0.15": some + 0.15 * rng.standard_normal(some.shape),
        "training images": some,
    }


def read(forest, x):
    """Confident share, share of the rarest class."""
    probability = forest.predict_proba(x)
    rarest = np.bincount(probability.argmax(axis=1), minlength=10).min() / len(x)
    return [(probability.max(axis=1) > 0.5).mean(), rarest]


# %% [markdown]
# A new split of the 1,797 images and new networks for every seed; so the intervals are over splits of the same images.

# %%
COPIES = ["one Gaussian", "mixture of 30 Gaussians", "training images + noise 0.15", "training images"]
COPIES += ["annealed Langevin", "GAN", "VAE", "VAE + pixel noise 0.2", "held-out images"]
results, vae, copied, curves, believed, readable, real = {}, {}, {}, [], [], [], []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    train, held_out = images[order[:1197]], images[order[1197 : 1197 + IMAGES]]
    forest = RandomForestClassifier(random_state=seed).fit(train, labels[order[:1197]])
    mean, scale = train.mean(axis=0), np.float32(train.var(axis=0).mean() ** 0.5)  # so that networks see unit variance
    x = (train - mean) / scale
    samples = simple_generators(train, IMAGES, rng)
    score = learn_score(x, rng)
    samples["annealed Langevin"] = mean + scale * from_noise(score, IMAGES, rng)[0]
    generator, losses, shares = learn_adversarially(x, (held_out - mean) / scale, rng)
    samples["GAN"] = mean + scale * generator.sample(IMAGES, rng)
    curves.append(losses)
    believed.append(shares)
    for beta in BETAS:
        coders = learn_vae(train - mean, beta, rng)
        name = "VAE" if beta == 1 else f"VAE, β = {beta:g}"
        vae.setdefault(name, []).append(judge_vae(*coders, held_out - mean, rng))
        samples[name] = mean + Generator(coders[1]).sample(IMAGES, rng)
        if beta == 1:
            encoder, decoder = coders
    samples["VAE + pixel noise 0.2"] = samples["VAE"] + SIGMA * rng.standard_normal((IMAGES, 64))
    scores, samples["probabilistic PCA"] = judge_pca(train, held_out, rng)
    vae.setdefault("probabilistic PCA", []).append(scores)
    samples = {name: grey_values(image) for name, image in samples.items()} | {"held-out images": held_out}
    for name, share in copies({name: samples[name] for name in COPIES}, train).items():
        copied.setdefault(name, []).append(share)
    for name, image in samples.items():
        if name not in ("held-out images", "training images + noise 0.15"):  # these are in the table of copies alone
            scores = [*read(forest, image), 1000 * mmd(image, held_out), told_apart(image, held_out)]
            results.setdefault(name, []).append(scores)
    real.append(read(forest, held_out))
    if seed == 0:
        shown = samples
        last, path = from_noise(score, 4, rng, path=True)
        path = mean + scale * np.concatenate([path[::STEPS], last[None]])
        first, second = held_out[[2, 5, 8]], held_out[[3, 7, 9]]
        walks = walk(encoder, decoder, mean, first, second)
    halfway = walk(encoder, decoder, mean, held_out[:-1], held_out[1:], 3)
    readable.append([read(forest, grey_values(way[:, 1]))[0] for way in halfway])
results = {name: np.array(values) for name, values in results.items()}

# %%
NETWORKS = ["annealed Langevin", "GAN", "VAE"]
GENERATORS = ["one Gaussian", "mixture of 30 Gaussians", *NETWORKS]


def ink(x):
    """Images of black ink on white, with white margins."""
    return np.pad(1 - np.clip(x, 0, 1).reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=1)


fig, axes = plt.subplots(1, len(NETWORKS) + 2, figsize=(9, 2.5))
fig.get_layout_engine().set(wspace=0.2)
chosen = np.random.default_rng(0).permutation(IMAGES)[:20]  # the rows of a mixture come sorted
for ax, name in zip(axes, ("held-out images", "mixture of 30 Gaussians", *NETWORKS), strict=True):
    tiles(ax, ink(shown[name][chosen]), 4, limits=(0, 1))
    apart = "" if name == "held-out images" else f"\ntold apart: {results[name][:, 3].mean():.2f}"
    ax.set_title(name.replace("mixture of 30", "30") + apart)
demo.figure(
    fig,
    "digits",
    "20 images of each generator, drawn at random, and as many real ones. Told apart: accuracy of a classifier that is "
    "to tell them from real ones; chance 0.5.",
    alt="Five grids of twenty small digits: real ones, and those of four generators. Share about which the "
    f"forest is confident: {', '.join(f'{name} {results[name][:, 0].mean():.0%}' for name in GENERATORS[1:])}.",
    main=True,
)
rows = [[name, *(pm(results[name][:, k], 1 if k == 2 else None) for k in range(4))] for name in GENERATORS]
for column, choose in ((1, max), (3, min), (4, min)):
    mark_best(rows, column, choose)
limit = results["training images"]
rows.append(["real images", *map(pm, np.transpose(real)), pm(limit[:, 2], 1), pm(limit[:, 3])])
demo.table(
    f"{IMAGES} digits of each generator, {len(SEEDS)} splits, mean ± 95% interval",
    ["", "confident", "rarest class", "MMD² × 1000", "told apart"],
    rows,
    "Confident: share of images for which most trees agree on a class. Rarest class: its share, as the forest sees it. "
    "Told apart from held-out images; chance 0.5. Real images: in the first two columns held-out ones, for the forest "
    f"has learned the training images (confident about {pm(limit[:, 0])}); in the others training images.",
)
demo.table(
    "Copies? Images nearer to a training image than all but 5% of the training images are to another one",
    ["", "share"],
    [[name, pm(shares)] for name, shares in copied.items()],
    "New images of the same kind have a share of about 0.05, as the held-out ones show; a larger one is a sign of "
    "copying. A small one is no proof of the contrary: see training images with noise.",
)

# %%
fig, ax = plt.subplots(figsize=(9, 2.7))
shape = (len(path), 8, 8)
tiles(ax, ink(path.swapaxes(0, 1).reshape(-1, 64)), len(path), limits=(0, 1))
for column, label in enumerate(["start", *(f"σ={level:.2g}" for level in LEVELS), "final"]):
    ax.text(11 * column + 4.5, 11 * 4 + 1, label, ha="center", va="top", fontsize=9)
demo.figure(
    fig,
    "path",
    "Annealed Langevin dynamics: four chains, one per row, at the end of each level of the noise. The last column is "
    "denoised once.",
    alt="Four rows of twelve small images that turn from noise to a digit, from left to right.",
)

# %% [markdown]
# ## Why the discriminator wins
#
# By [gan.6] the loss of the best discriminator is ln 2 − JSD: ln 2 where the generator has become the data. In the
# plane it comes near (see `sampling`). On digits it does not; and what it says of real digits that it has not met tells
# why.

# %%
fig, ax = plt.subplots(figsize=(9, 3.4))
shares = np.arange(1, len(curves[0]) + 1) / len(curves[0])
own, new = np.mean(curves, axis=0).T
for values, color, style, name in ((own, BLUE, "-", "digits it learned from"), (new, RED, "--", "new digits")):
    ax.plot(shares, values, color=color, ls=style, lw=2)
    ax.text(1.01, values[-1], name, color=color, va="center")
ax.axhline(math.log(2), color="0.5", lw=1, ls=":")
ax.text(0.01, math.log(2) + 0.03, "ln 2: cannot tell", color="0.35")
ax.set(xlabel="share of the training", ylabel="discriminator's loss $J_D$, nats", xlim=(0, 1), ylim=(0, None))
demo.figure(
    fig,
    "discriminator",
    f"Loss of the discriminator while both learn, mean of {len(SEEDS)} splits. At the end it is "
    f"{own[-1]:.2f} nats where the real digits are those it learned from, {new[-1]:.2f} where they are new to it.",
    alt="Two curves that part: the loss falls far below ln 2 for digits that were learned from, and rises above it "
    "for new digits.",
)
known, unseen, made = np.array(believed).T
if not demo.quick:
    gap, half = interval(np.subtract(copied["GAN"], copied["held-out images"]))
    demo.say(
        f"At the end the discriminator takes for real a share of {pm(known)} of the {len(train):,} training images, "
        f"{pm(unseen)} of the held-out ones, which are as real, and {pm(made)} of the GAN's. So what its gradient, all "
        "that the generator ever gets to know of the data, tells the generator need not hold for digits in general. "
        f"The table of copies shows {'a' if gap > half else 'no'} sign that the GAN copies: beside held-out images its "
        f"share is {gap:+.3f} ± {half:.3f}."
    )

# %% [markdown]
# ## What the VAE has learned
#
# Its bound on ln p of held-out images stands beside the log-likelihood of probabilistic PCA, the same model with linear
# networks, at the same σ = 0.2 and as many latent variables [vae.12]. A weight β on the KL term is a VAE with another
# σ, √β σ [vae.8]: larger β, fewer details in the code, and codes nearer to the prior from which samples are drawn.

# %%
vae = {name: np.column_stack([values, results[name][:, 3]]) for name, values in vae.items()}
demo.table(
    f"VAE and probabilistic PCA, held-out images, {len(SEEDS)} splits, mean ± 95% interval",
    ["", "bound, nats", "KL, nats", "reconstruction error", "told apart"],
    [["VAE, β = 1" if name == "VAE" else name, *(pm(v[:, k]) for k in range(4))] for name, v in vae.items()],
    "Bound on ln p at σ = 0.2 and β = 1, whatever β in training; exact for probabilistic PCA. Error: root of the mean "
    "square over pixels, black to white being 1. Told apart: samples f(z), without the pixel noise of p(x|z).",
    best={"bound, nats": max, "reconstruction error": min, "told apart": min},
)
coded, mixed = np.transpose(readable)
gap, half = interval(coded - mixed)
better = "more" if gap > half else "less" if gap < -half else "not clearly more"
fig, ax = plt.subplots(figsize=(9, 4.2))
rows = np.stack(walks, axis=1).reshape(-1, 64)  # in turn: through the code, mixed pixels
tiles(ax, ink(rows), 9, limits=(0, 1))
for row in range(6):
    ax.text(-1, 11 * row + 4.5, ("through the code", "mixed pixels")[row % 2], ha="right", va="center")
ax.set_xlim(-22, None)
demo.figure(
    fig,
    "walk",
    "Three walks from one held-out digit to another: the decoder of a straight line between their codes, and below a "
    f"mixture of their pixels. Half way the forest is confident about {pm(coded)} of the images through the code and "
    f"{pm(mixed)} of the mixtures, in {IMAGES - 1} pairs: those through the code are {better} readable.",
    alt="Six rows of nine small images, in pairs that look nearly alike: both through the code and as mixed pixels one "
    f"digit fades into the other. Half way those through the code are {better} readable.",
)
gain, half = interval(vae["VAE"][:, 0] - vae["probabilistic PCA"][:, 0])
noisy = results["VAE + pixel noise 0.2"][:, 3].mean()
if not demo.quick:
    demo.say(
        f"The VAE's bound is {gain:+.1f} ± {half:.1f} nats beside probabilistic PCA, and yet its samples are easy to "
        f"tell from digits ({results['VAE'][:, 3].mean():.2f}): they are means over what the code leaves open, and "
        f"so blurred. With the noise that the model puts on each pixel they are told apart with {noisy:.2f}: such a "
        "likelihood is no measure of pictures."
    )

# %% [markdown]
# ## Which is best

# %%
MIXTURE = GENERATORS[1]
JUDGES = {"told apart": (3, -1), "confident": (0, 1), "MMD² × 1000": (2, -1)}  # its column, and the sign of the better
gaps = {name: results[name] - results[MIXTURE] for name in NETWORKS}
demo.table(
    "The networks less the mixture, split by split, mean ± 95% interval",
    ["", *JUDGES],
    [[name, *(pm(gap[:, k], 1 if k == 2 else 3) for k, _ in JUDGES.values())] for name, gap in gaps.items()],
)
better, worse = {}, {}
for judge, (k, sign) in JUDGES.items():
    found = {name: interval(sign * gap[:, k]) for name, gap in gaps.items()}
    better[judge] = [name for name, (gain, half) in found.items() if gain > half]
    worse[judge] = [name for name, (gain, half) in found.items() if gain < -half]


def listed(names):
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "none"


if not demo.quick:
    verdicts = [f"by '{judge}' better {listed(better[judge])}, worse {listed(worse[judge])}" for judge in JUDGES]
    demo.say(f"Clearly told from the mixture, which needs no network: {'; '.join(verdicts)}.")
both = [name for name in NETWORKS if name in worse["confident"] and name in worse["MMD² × 1000"]]
who = f"Digits of {listed(better['told apart'])} are" if better["told apart"] else "No network's digits are"
demo.lesson(
    f"{who} clearly harder to tell from real ones than those of a mixture of 30 Gaussians (accuracy "
    f"{pm(results[MIXTURE][:, 3])}; chance 0.5); by a forest's confidence and by MMD² the mixture is clearly better "
    f"than {listed(both)}.",
    f"told apart {results[MIXTURE][:, 3].mean():.2f}",
)
demo.finish()
