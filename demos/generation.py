# %% [markdown]
# # Generation: first learn the density, then sample from it
#
# A classifier against noise, or an autoencoder that removes noise, has learned more than its task: the density of the
# data, or its score, the direction in which the density grows. Chains that climb the score, shaken by just enough
# noise, are samples. In the plane everything can be seen; on images one must measure.

# %%
import data
import numpy as np
from gallery import Demo, interval, plt, pm, progress, tiles
from scipy.spatial.distance import cdist
from sklearn.datasets import make_moons
from sklearn.ensemble import RandomForestClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC

import minissl
from minissl.tasks.noise import against_noise, fit_gaussian
from minissl.goals.densities import network_log_density
from minissl.goals.langevin import annealed_langevin, conditional_score, langevin, mala, noise_conditional

demo = Demo(
    "generation",
    "Generation: images from noise, by the score",
    "First learn a model of the distribution by self-supervised learning, then sample from it (MCMC).",
    "x' = x + (e/2) grad ln p(x) + sqrt(e) z,  e_i = e sigma_i^2 / sigma_L^2 for noise levels sigma_1 > ... > sigma_L",
)
SEEDS = range(2 if demo.quick else 3)


def fit(net, x, task, loss, epochs, rng, label):
    """Adam with a step size that falls linearly to zero."""
    optimizer = minissl.Adam(2e-3)
    losses = minissl.train_epochs(net, x, task, loss, epochs=epochs, optimizer=optimizer, rng=rng)
    for epoch, _ in enumerate(progress(losses, epochs, label), start=1):
        optimizer.learning_rate = 2e-3 * (1 - epoch / (epochs + 1))
    return net


def mmd(a, b):
    """Squared maximum mean discrepancy, unbiased; Gaussian kernel as wide as the median distance within b."""
    width = np.median(cdist(b, b)) ** 2
    K_a, K_b, K_ab = (np.exp(-(cdist(u, v) ** 2) / width) for u, v in ((a, a), (b, b), (a, b)))
    N, M = len(a), len(b)
    return (K_a.sum() - N) / (N * (N - 1)) + (K_b.sum() - M) / (M * (M - 1)) - 2 * K_ab.mean()


def told_apart(a, b):
    """Accuracy of a classifier (support vectors, five-fold) that tells a from b; 1/2 where it cannot."""
    labels = np.repeat([0, 1], [len(a), len(b)])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)  # a mixture's samples come in the order of its components
    return cross_val_score(SVC(C=10), np.concatenate([a, b]), labels, cv=folds).mean()


# %% [markdown]
# ## Why anneal: two islands
#
# The true score of 0.8 N((5, 5), I) + 0.2 N((-5, -5), I), no learning yet. Plain dynamics never cross the empty region
# between the modes, so each chain stays near the mode where it happened to start. On the density smeared by a large
# sigma there is no empty region; as sigma falls, the chains settle in nearly the right proportions. (After figure 3 of
# Song & Ermon 2019.)

# %%
MODES, WEIGHTS = np.array([[5.0, 5.0], [-5.0, -5.0]]), np.array([0.8, 0.2])


def mixture_score(x, sigma=1.0):
    difference = MODES - x[:, None]
    log_joint = np.log(WEIGHTS) - (difference**2).sum(axis=2) / (2 * sigma**2)
    posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return (posterior[:, :, None] * difference).sum(axis=1) / sigma**2


def upper(x):
    return float((x.sum(axis=1) > 0).mean())


steps = 10 if demo.quick else 100
toy = {"at the start": [], "plain Langevin": [], "annealed Langevin": []}
for seed in range(5):
    start = np.random.default_rng(seed).uniform(-8, 8, size=(1280, 2))
    plain = langevin(mixture_score, start, 0.1, 10 * steps, rng=seed).x
    cooled = annealed_langevin(mixture_score, start, np.geomspace(20, 1, 10), 0.1, steps, rng=seed).x
    for name, x in zip(toy, (start, plain, cooled), strict=True):
        toy[name].append(upper(x))

fig, axes = plt.subplots(1, 3, figsize=(9, 4), sharex=True, sharey=True)
for ax, (name, shares), x in zip(axes, toy.items(), (start, plain, cooled), strict=True):
    ax.plot(*x.T, ".", ms=2, color="C0")
    ax.set(title=f"{name}\n{np.mean(shares):.2f} in the upper mode", xlim=(-9, 9), ylim=(-9, 9), aspect="equal")
    ax.set_xlabel("$x_1$")
axes[0].set_ylabel("$x_2$")
demo.figure(fig, "islands", "1,280 chains; the upper mode has the probability 0.8. Only annealing finds out.")
demo.table(
    "Share of chains in the upper mode (truth 0.8)",
    ["", "mean ± 95% interval, 5 seeds"],
    [[name, pm(shares)] for name, shares in toy.items()],
)


# %% [markdown]
# ## In the plane: a density learned by telling data from noise
#
# The classifier's logit is ln p_data - ln p_noise - ln nu (see `noise_contrast`). So ln p_data is known, and by the
# gradient with respect to the input, so is its score. The Metropolis-adjusted dynamics need both. Beside it: one
# noise-conditional denoiser, which has only scores, under annealed dynamics.

# %%
EPOCHS_2D = 1 if demo.quick else 40
NU = 2
LEVELS_2D = np.geomspace(2, 0.03, 8)


def moons(N, rng):
    return make_moons(N, noise=0.08, random_state=int(rng.integers(2**31)))[0]


def eight_gaussians(N, rng):
    angle = rng.integers(8, size=N) * np.pi / 4
    return np.column_stack([np.cos(angle), np.sin(angle)]) * 2 + 0.15 * rng.standard_normal((N, 2))


def learned_density(net, noise):
    """ln p and score of the data, from the logit against Gaussian noise."""
    logit = network_log_density(net)
    precision = (noise.axes / noise.deviations**2) @ noise.axes.T

    def density(x):
        y, dy = logit(x)
        return (y + noise.log_density(x) + np.log(NU)).astype(x.dtype), dy - (x - noise.mean) @ precision

    return density


def generate_in_the_plane(draw, seed):
    """Data, the learned density, and samples by each route."""
    rng = np.random.default_rng(seed)
    x = draw(1000 if demo.quick else 8000, rng)
    shift, scale = x.mean(axis=0), x.std()
    x, held_out, fresh = (((a - shift) / scale).astype(np.float32) for a in (x, draw(1000, rng), draw(1000, rng)))
    noise = fit_gaussian(x)
    classifier = minissl.MLP((2, 64, 64, 1), "tanh", rng=rng)
    fit(classifier, x, against_noise(noise, NU), minissl.sigmoid_cross_entropy, EPOCHS_2D, rng, "data against noise")
    denoiser = minissl.MLP((3, 64, 64, 2), "tanh", rng=rng)
    fit(denoiser, x, noise_conditional(LEVELS_2D), minissl.squared_error, EPOCHS_2D, rng, "denoising")
    density = learned_density(classifier, noise)
    start = noise.sample(1000, rng)
    steps = 16 if demo.quick else 500
    chains = mala(density, start, 0.02, steps, rng=rng, path=True)
    hot = (LEVELS_2D[0] * rng.standard_normal((1000, 2))).astype(np.float32)
    cooled = annealed_langevin(conditional_score(denoiser), hot, LEVELS_2D, 0.2 * LEVELS_2D[-1] ** 2, steps // 8, rng=rng).x
    samples = {"the noise": start, "classifier, MALA": chains.x, "denoiser, annealed": cooled, "fresh data": fresh}
    return held_out, density, chains, samples


def draw_plane(axes, held_out, density, chains):
    """Data; learned density with its score; chains on top."""
    side = np.linspace(-2.5, 2.5, 101, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    p = np.exp(density(grid)[0]).reshape(101, 101)
    axes[0].plot(*held_out.T, ".", ms=2, color="C0")
    for ax in axes[1:]:
        ax.imshow(p, extent=(-2.5, 2.5, -2.5, 2.5), origin="lower", cmap="Blues", vmax=np.quantile(p, 0.995))
    side = np.linspace(-2.4, 2.4, 21, dtype=np.float32)
    at = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    s = density(at)[1]
    length = np.linalg.norm(s, axis=1, keepdims=True)
    axes[1].quiver(*at.T, *(s / (1 + length)).T, color="C3", scale=24, width=0.004)
    for i in range(4):
        axes[2].plot(*chains.path[:, i].T, lw=0.6, color=f"C{i + 1}")
        axes[2].plot(*chains.path[0, i], "o", ms=5, mec="black", color=f"C{i + 1}")
    axes[2].plot(*chains.x.T, ".", ms=2, color="black")
    for ax in axes:
        ax.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))


fig, axes = plt.subplots(2, 3, figsize=(9, 6.2))
rows, acceptance = [], []
for row, (name, draw) in zip(axes, (("two moons", moons), ("eight Gaussians", eight_gaussians)), strict=True):
    scores = {}
    for seed in SEEDS:
        held_out, density, chains, samples = generate_in_the_plane(draw, seed)
        acceptance.append(chains.acceptance)
        for route, x in samples.items():
            scores.setdefault(route, []).append((1000 * mmd(x, held_out), told_apart(x, held_out)))
        if seed == 0:
            draw_plane(row, held_out, density, chains)
            row[0].set_ylabel(name)
    for route, values in scores.items():
        values = np.array(values)
        rows.append([name, route, pm(values[:, 0], 1), pm(values[:, 1])])
for ax, title in zip(axes[0], ("data", "learned density and score", "chains and where they end"), strict=True):
    ax.set_title(title)
demo.figure(
    fig,
    "plane",
    "Left: data. Middle: the density that a classifier against noise has learned, its score as arrows (long ones "
    "shortened). Right: four chains from their start (circle), and the end of 1,000 (black).",
)
demo.table(
    f"Samples against held-out data, {len(SEEDS)} seeds",
    ["", "samples", "MMD² x 1000", "told apart (chance 0.5)"],
    rows,
    "MMD²: 0 where the two distributions are the same, up to sampling error as in 'fresh data'. "
    f"MALA accepted {np.mean(acceptance):.0%} of its proposals.",
)


# %% [markdown]
# ## Digits from pure noise
#
# One network for ten noise levels, told which, predicts what is signal and what is noise; its output is the score at
# every level. Ten levels of 100 steps, from sigma = 5 to 0.1 (in standard deviations of the pixels), then one last step
# that removes the remaining noise, x + sigma_L^2 s(x). Every generator's pixels are rounded to the grey values 0 .. 16
# that real digits have; otherwise rounding alone would tell them apart.

# %%
EPOCHS = 5 if demo.quick else 900
IMAGES = 100 if demo.quick else 600  # that each generator makes
LEVELS = np.geomspace(5, 0.1, 10)
STEPS = 5 if demo.quick else 100
STEP = 0.1 * LEVELS[-1] ** 2
images, labels = data.digits()


def grey_values(x):
    return np.round(np.clip(x, 0, 1) * 16) / 16


def learn_digits(train, rng):
    """The score of the digits at every level, in units where pixels have mean 0 and variance 1 on average."""
    mean, scale = train.mean(axis=0), float(train.var(axis=0).mean() ** 0.5)
    net = minissl.MLP((65, 256, 256, 256, 64), "relu", rng=rng)
    fit(net, (train - mean) / np.float32(scale), noise_conditional(LEVELS), minissl.squared_error, EPOCHS, rng, "denoising")
    return conditional_score(net), lambda x: mean + np.float32(scale) * x


def from_noise(score, N, rng, path=False):
    start = LEVELS[0] * rng.standard_normal((N, 64))
    chains = annealed_langevin(score, start.astype(np.float32), LEVELS, STEP, STEPS, rng=rng, path=path)
    last = float(LEVELS[-1])
    return chains.x + last**2 * score(chains.x, last), chains.path


def generators(train, N, rng):
    """Simple generators of N images, for comparison."""
    seed = int(rng.integers(2**31))
    some = train[rng.choice(len(train), N, replace=False)]
    return {
        "Gaussian, the data's covariance": rng.multivariate_normal(train.mean(axis=0), np.cov(train.T), size=N),
        "mixture of 10 Gaussians": GaussianMixture(10, reg_covar=1e-3, random_state=seed).fit(train).sample(N)[0],
        "mixture of 30 Gaussians": GaussianMixture(30, reg_covar=1e-3, random_state=seed).fit(train).sample(N)[0],
        "training images + noise 0.15": some + 0.15 * rng.standard_normal(some.shape),
        "training images": some,
    }


def judge(classifier, x, train, held_out):
    """Confident share, class frequencies, MMD^2, accuracy of telling apart, distance to the nearest training image."""
    probability = classifier.predict_proba(x)
    frequency = np.bincount(probability.argmax(axis=1), minlength=10) / len(x)
    nearest = cdist(x, train).min(axis=1).mean()
    return np.array(
        [(probability.max(axis=1) > 0.5).mean(), 1000 * mmd(x, held_out), told_apart(x, held_out), nearest, *frequency]
    )


# %% [markdown]
# A new split of the 1,797 images and a new network for every seed. The classifier has seen the training images only.

# %%
results, shown = {}, {}
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    train, held_out = images[order[:1197]], images[order[1197 : 1197 + IMAGES]]
    classifier = RandomForestClassifier(200, random_state=seed).fit(train, labels[order[:1197]])
    score, to_pixels = learn_digits(train, rng)
    samples = {"annealed Langevin": to_pixels(from_noise(score, IMAGES, rng)[0])} | generators(train, IMAGES, rng)
    samples = {name: grey_values(x) for name, x in samples.items()} | {"held-out images": held_out}
    for name, x in samples.items():
        results.setdefault(name, []).append(judge(classifier, x, train, held_out))
    if seed == 0:
        shown = samples
        last, path = from_noise(score, 8, rng, path=True)
        path = to_pixels(np.concatenate([path[::STEPS], last[None]]))
results = {name: np.array(values) for name, values in results.items()}

# %%
fig, ax = plt.subplots(figsize=(8, 5.6))
tiles(ax, np.clip(path, 0, 1).swapaxes(0, 1).reshape(-1, 8, 8), len(path), limits=(0, 1))
ax.set_title("Annealed Langevin dynamics: time from left to right, the final images right-most")
for column, label in enumerate(["start", *(f"σ={level:.2g}" for level in LEVELS), "final"]):
    ax.text(9 * column + 3.5, 9 * 8 + 1, label, ha="center", va="top", fontsize=8)
demo.figure(fig, "path", "Eight chains, one per row, at the end of each noise level. The last column is denoised once.")

fig, axes = plt.subplots(1, 4, figsize=(11, 2.6))
pictured = ("annealed Langevin", "mixture of 10 Gaussians", "Gaussian, the data's covariance", "held-out images")
for ax, name in zip(axes, pictured, strict=True):
    chosen = np.random.default_rng(0).permutation(IMAGES)[:48]
    tiles(ax, shown[name][chosen].reshape(-1, 8, 8), 8, name, limits=(0, 1))
demo.figure(fig, "digits", "48 samples of each generator, drawn at random, and as many real images.")

# %%
demo.table(
    f"Generators of {IMAGES} digits, {len(SEEDS)} seeds, mean ± 95% interval",
    ["", "confident", "MMD² x 1000", "told apart (0.5)", "nearest training"],
    [
        [name, pm(v[:, 0]), *(("", "") if name == "held-out images" else (pm(v[:, 1], 1), pm(v[:, 2]))), pm(v[:, 3])]
        for name, v in results.items()
    ],
    "Confident: share for which most trees of a random forest, trained on the training images, agree on one class. "
    "MMD² and telling apart are against held-out images; 'training images' shows what a perfect generator gets.",
)
demo.table(
    "Frequency of each class, as the classifier sees it",
    ["", *range(10)],
    [[name, *np.round(results[name][:, 4:].mean(axis=0), 3)] for name in pictured],
)

# %%
ours, held = (results[name].mean(axis=0) for name in ("annealed Langevin", "held-out images"))
verdicts = []
for name in ("Gaussian, the data's covariance", "mixture of 10 Gaussians", "mixture of 30 Gaussians"):
    words = []
    gaps = results["annealed Langevin"][:, 1:3] - results[name][:, 1:3]
    for gap, half, measure in zip(*interval(gaps), ("MMD² x 1000", "accuracy of telling apart"), strict=True):
        word = "better" if gap < -half else "worse" if gap > half else "not clearly different"
        words.append(f"{word} in {measure} ({gap:+.2g} ± {half:.2g})")
    verdicts.append(f"Beside the {name}: {', '.join(words)}.")
demo.say(
    f"From pure noise: the classifier is confident about {ours[0]:.0%} of the images ({held[0]:.0%} of held-out ones) "
    f"and sees {int((ours[4:] > 0).sum())} of 10 classes, the rarest in {ours[4:].min():.1%} of images. They are told "
    f"apart from real ones with accuracy {ours[2]:.2f}. Seed by seed, smaller being better: {' '.join(verdicts)}"
)
demo.say(
    f"The nearest training image is {ours[3]:.2f} away, {held[3]:.2f} for held-out images: "
    + ("closer than new images should be." if ours[3] < 0.95 * held[3] else "no sign of copying.")
)
if any("worse" in verdict for verdict in verdicts):
    demo.say(
        "A possible reason why a simpler one wins: 64 pixels and clusters of similar digits suit a mixture of "
        "Gaussians, and 1,197 images are few for a network that knows nothing of images."
    )
demo.finish()
