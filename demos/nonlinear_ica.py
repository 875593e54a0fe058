# %% [markdown]
# # Nonlinear ICA: sources behind a mixture
#
# Several independent sources are mixed, and only the mixture is seen. If the mixing is linear, the sources can be
# found, because mixtures are more Gaussian than sources. If it is not linear, they cannot: infinitely many others are
# as independent. Unless there is time: *when* something was observed, or what came *before* it, is known, and a network
# that is trained to tell this finds the sources. The pretext task is classification; the theorems say what it learns.

# %%
import itertools
import sys

sys.path += ["demos", "../demos"]  # for a notebook that is started elsewhere in the repository
import data
import numpy as np
from gallery import Demo, plt
from sklearn.decomposition import FastICA

from minissl import MLP, Adam, pca, softmax_cross_entropy, train
from minissl.goals.ica import fast_ica, gaussianize_and_rotate, match_components, mean_correlation
from minissl.nn.schedules import cosine
from minissl.tasks.prediction import windows
from minissl.tasks.time import against_permuted_past, permutation_contrastive, segments, which_segment

demo = Demo(
    "nonlinear_ica",
    "Nonlinear ICA: sources behind a mixture",
    "Reveal underlying structure, find latent quantities: independent component analysis. x = f(s), s is not observed.",
    "yᵤ(x) = ln p(x | u) + const: the features are linear in the sources' sufficient statistics [time.2, time.6];   "
    "y = β(x) − Σₖ |zₖ(x) − ẑₖ(x′)|: the zₖ are the sources [time.9, time.12]",
    limits="The first tables draw their data from the models of the theorems: Laplacian sources, mixings that can be "
    "inverted (leaky relu, matrices chosen to be well conditioned), a known number of sources. On real data none of "
    "this is known.",
)
SEEDS = range(2 if demo.quick else 3)  # each with sources, mixing and network of its own
LAYERS = (2,) if demo.quick else (1, 2, 3)
EPOCHS = 5 if demo.quick else 15
N = 2**13 if demo.quick else 2**15


def mixing(n, layers, rng):
    """An invertible map of R^n: random layers, the best conditioned of 1000 each, with leaky relu between them."""
    drawn = rng.uniform(-1, 1, size=(layers, 1000, n, n))
    drawn /= np.linalg.norm(drawn, axis=-2, keepdims=True)
    W = [matrices[np.linalg.cond(matrices).argmin()] for matrices in drawn]

    def mix(s):
        x = s @ W[0]
        for w in W[1:]:
            x = np.where(x > 0, x, 0.2 * x) @ w
        return x

    return mix


def standard(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def components(x):
    """FastICA's components, the best of three starts; to 10⁻⁴ only, for a nonlinear mixture need not have any."""
    x = x.astype(np.float64)
    found = [fast_ica(x, rng=seed, tolerance=1e-4, iterations=1000) for seed in range(3)]
    return max(found, key=lambda ica: ica.contrast)(x)


def principal(x):
    return pca.by_svd(x, x.shape[1]).encode(x)


def over_seeds(values):
    """Mean, least and greatest as text."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def compare(name, runs, found, sign, title, note):
    """Show how well `found(run)` and three others match the sources, or what `sign` makes of them, by layers."""
    by_layers = {}
    for layers in LAYERS:
        by_layers[layers] = {name: [], "FastICA of x": [], "PCA of x": [], "untrained network": []}
        for run in (runs[layers, seed] for seed in SEEDS):
            x = run["x"]
            rivals = sign(components(x)), sign(principal(x).astype(float)), components(run["untrained"])
            for values, z in zip(by_layers[layers].values(), (found(run), *rivals), strict=True):
                values.append(mean_correlation(sign(run["s"]), z))
    rows = [[layers, *map(over_seeds, scores.values())] for layers, scores in by_layers.items()]
    demo.table(title, ["layers of the mixing", *by_layers[LAYERS[0]]], rows, note)
    return by_layers


# %% [markdown]
# ## The linear case, and a wrong solution of the nonlinear one
# Two Laplacian sources. Give each the normal distribution by a monotone map, rotate, and give each its own distribution
# back: normal variables remain independent when they are rotated, so this is another pair of independent sources, of
# the same distributions. Each of them is a function of both sources (Hyvärinen & Pajunen 1999). As mixtures x = f(s)
# and x = f′(s̃) are the same x, no look at x can tell which pair is behind it.

# %%
rng = np.random.default_rng(0)
s = rng.laplace(size=(N, 2)) / 2**0.5
other = gaussianize_and_rotate(s, np.pi / 4)
mixture = s @ np.array([[1.0, 0.5], [-0.3, 0.8]])


def dependence(x):
    """The largest correlation of functions of one component with functions of the other."""
    a, b = (np.array([f(column) for f in (np.tanh, np.abs, np.square, np.sign)]) for column in standard(x).T)
    return abs(np.corrcoef(a, b)[:4, 4:]).max()


peer = FastICA(whiten="unit-variance", random_state=0).fit_transform(mixture)
pairs = {
    "the sources s": s,
    "linear mixture": mixture,
    "FastICA of the mixture": components(mixture),
    "the wrong solution": other,
    "FastICA of the wrong solution": components(other),
}
demo.table(
    "Two Laplacian sources: independent is not the same as true",
    ["components", "dependence", "mean correlation with s"],
    [[name, f"{dependence(x):.3f}", f"{mean_correlation(s, x):.3f}"] for name, x in pairs.items()],
    "Dependence: the largest correlation of tanh, |·|, ·² or sign of one component with one of these of the other; "
    f"independent components have up to about {3 / N**0.5:.3f} by chance. Scikit-learn's FastICA finds the same "
    "components of the linear mixture: mean correlation with ours "
    f"{mean_correlation(pairs['FastICA of the mixture'], peer):.6f}.",
)

# %%
few = rng.choice(np.flatnonzero((abs(np.hstack([s, other])) < 5).all(axis=1)), size=2500, replace=False)
normal = np.sort(rng.standard_normal(N))[s.argsort(axis=0).argsort(axis=0)]
rotated = normal @ np.array([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
steps = {"sources s": s, "made Gaussian": normal, "rotated by 45°": rotated, "own distributions back": other}
fig, axes = plt.subplots(1, 4, figsize=(9, 2.7))
color = s[few, 0].argsort().argsort()
for ax, (name, x) in zip(axes, steps.items(), strict=True):
    ax.scatter(*x[few].T, c=color, s=3, cmap="viridis", lw=0, rasterized=True)
    ax.set_title(name, fontsize=10)
    ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    ax.set_axis_off()
demo.figure(
    fig,
    "wrong",
    "From the true sources (left) to others that are as independent (right). Colour: the rank of the first source. At "
    "the right it belongs to no axis any more; the shape of the cloud is the same as at the left.",
    alt="Four clouds of points, coloured by the first source: a diamond, a disc, the disc turned, a diamond. The "
    "colour runs from left to right in the first two and along the diagonal in the last two.",
)


# %% [markdown]
# ## Which segment? Time-contrastive learning (TCL)
# Five Laplacian sources, whose standard deviations jump at the border of each of 64 segments, mixed by one, two or
# three layers. A network learns to tell the segment from x. Its last hidden layer has five units, and the theorem says
# that they are |s₁| … |s₅| up to a linear map, for which FastICA is enough. The sign of s is lost: in a segment s and
# −s are equally probable. So the comparison is with |s|, and for the other methods by the absolute values of their
# components. (With one layer the mixing is linear, and FastICA of x is the right method.)


# %%
def laplacian(sigma, rng):
    """Sources (N, n) from their standard deviations in each segment (K, n)."""
    return np.repeat(sigma, N // len(sigma), axis=0) / 2**0.5 * rng.laplace(size=(N, sigma.shape[1]))


def contrast_segments(K, layers, seed, n=5):
    """Everything about one run: sources, mixture, network, and a way to make new data."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.1, 2, size=(K, n))
    s = laplacian(sigma, rng)
    mix = mixing(n, layers, rng)
    x = mix(s)
    mean, deviation = x.mean(axis=0), x.std(axis=0)

    def observed(s):
        return ((mix(s) - mean) / deviation).astype(np.float32)

    net = MLP((n, 64, 64, n, K), ("relu", "relu", "identity"), rng=seed)
    untrained = net.features(observed(s))
    options = {"epochs": EPOCHS, "batch_size": 256, "optimizer": Adam(0.01), "schedule": cosine, "rng": seed}
    train(net, segments(observed(s), K), which_segment(K), softmax_cross_entropy, **options)
    return {"s": s, "x": observed(s), "net": net, "untrained": untrained, "sigma": sigma, "observed": observed}


def found(run):
    """Components of the trained features, after the final linear ICA."""
    return components(run["net"].features(run["x"]))


segmented = {(layers, seed): contrast_segments(64, layers, seed) for layers in LAYERS for seed in SEEDS}
by_layers = compare(
    "TCL",
    segmented,
    found,
    abs,
    f"Mean correlation with |s|: mean (least to greatest) of {len(SEEDS)} draws of sources, mixing and network",
    "Untrained network: FastICA of the same network's features before training.",
)


# %%
def over_the_truth(truth, methods, number, times, time_label, label):
    """Sources over time and what the first method found, drawn over them; what each method found, against them."""
    some = np.random.default_rng(0).choice(len(truth), size=1500, replace=False)
    size, ratios = (9, 1.35 * number + 0.4), (3.6 - 0.5 * len(methods), *[1] * len(methods))
    fig, axes = plt.subplots(number, 1 + len(methods), figsize=size, width_ratios=ratios, sharex="col")
    for column, (name, found) in enumerate(methods.items(), 1):
        order, correlations = match_components(truth, found)
        for (left, ax), s, z, r in zip(axes[:, [0, column]], truth.T, found[:, order].T, correlations, strict=False):
            ax.plot(s[some], np.sign(r) * z[some], ".", color="C0" if column > 1 else "C1", ms=1.5, rasterized=True)
            ax.set_title(f"{name}: {abs(r):.3f}", fontsize=10)
            ax.set(yticks=[], ylabel="found")
            if column == 1:  # sign, scale and offset, which cannot be known, are fitted to the truth
                slope, origin = np.polyfit(z, s, 1)
                left.plot(times, s[times], color="0.7", lw=3, ls="-", label="truth")
                left.plot(times, (slope * z + origin)[times], color="C1", lw=1, ls="-", label="found")
        axes[-1, column].set_xlabel(f"true {label}")
    for k, ax in enumerate(axes[:, 0], 1):
        ax.set_ylabel(f"{label} {k}")
    axes[-1, 0].set_xlabel(time_label)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return fig, axes[:, 0]


run, length = segmented[2, 0], N // 64
times = np.arange(length - 60, length + 60)
fig, over_time = over_the_truth(
    abs(run["s"]), {"TCL": found(run)}, 3, times, "time; dotted: the border of two segments", "|s| of source"
)
for ax in over_time:
    ax.axvline(length - 0.5, color="black", lw=0.8, ls=":")
demo.figure(
    fig,
    "segments",
    "Time-contrastive learning, mixing of two layers: what was found, drawn over the truth (sign, scale and offset, "
    "which cannot be known, are fitted to it), and against it. Three of five sources. The network was trained on "
    "nothing but which segment each x came from.",
    alt="Three time series of absolute values, found over true: they coincide. Scatter plots beside them are lines.",
)

# %% [markdown]
# ## How many segments does it take?
# The theorem asks for as many segments besides the first as there are sources: six for five. With fewer, the features
# can be anything in some direction. The share of variance of |s| that is *linear in the features* shows this by itself;
# the final ICA suffers besides, since the modulations of few segments are correlated by chance. The other two columns
# are the bound ln K − L ≤ I(x; u) [time.3], L being the loss on new data, and what it bounds: the mutual information is
# known here, as the densities are.

# %%
COUNTS = (4, 16) if demo.quick else (4, 8, 16, 64)


def explained(q, h):
    """Share of the variance of each statistic that is linear in the features, averaged over sources."""
    H = np.column_stack([h, np.ones(len(h))])
    rest = q - H @ np.linalg.lstsq(H, q)[0]
    return float((1 - rest.var(axis=0) / q.var(axis=0)).mean())


def information(s, u, sigma):
    """I(x; u) in nats, from the true densities of the sources."""
    log_p = np.stack([(-(2**0.5) * abs(s) / v - np.log(2**0.5 * v)).sum(axis=1) for v in sigma], axis=1)
    top = log_p.max(axis=1, keepdims=True)
    return float((log_p[np.arange(len(s)), u] - top[:, 0] - np.log(np.exp(log_p - top).mean(axis=1))).mean())


rows, by_count = [], {}
for K in COUNTS:
    scores, linear, bound, exact = [], [], [], []
    for seed in SEEDS:
        run = segmented[2, seed] if K == 64 else contrast_segments(K, 2, seed)
        features = run["net"].features(run["x"]).astype(float)
        scores.append(mean_correlation(abs(run["s"]), components(features)))
        linear.append(explained(abs(run["s"]), features))
        new = laplacian(run["sigma"], np.random.default_rng(100 + seed))
        x, u = which_segment(K)(segments(run["observed"](new), K), None)
        bound.append(np.log(K) - softmax_cross_entropy(run["net"](x), u)[0])
        exact.append(information(new, u, run["sigma"]))
    by_count[K] = scores
    rows.append([K, over_seeds(scores), *(f"{np.mean(v):.3f}" for v in (linear, bound, exact))])
demo.table(
    f"Five sources, mixing of two layers, {N:,} times in all: the number of segments",
    ["segments K", "mean correlation with |s|", "|s| linear in the features", "ln K − L, nats", "I(x; u), nats"],
    rows,
    f"Mean (least to greatest) or mean of {len(SEEDS)} draws. The sources of another K are others, and so is I(x; u).",
)


# %% [markdown]
# ## Real or permuted past? Permutation-contrastive learning (PCL)
# Four stationary sources, each depending on its own past: s(t) = ρ s(t−1) + Laplacian innovation. No segments now. The
# network sees pairs (x(t), x(t−1)), and pairs whose past is from another time. It embeds the present, z, and says what
# the past lets it expect, ẑ; the two are compared component by component. The theorem promises the sources themselves,
# with their sign lost but no |·|, and without a final ICA. PCA and FastICA see x; they make no use of time.


# %%
def autoregressive(n, rng, N):
    rho = rng.uniform(0.5, 0.9, size=n)
    e = rng.laplace(size=(N, n))
    for t in range(1, N):
        e[t] += rho * e[t - 1]
    return standard(e)


def train_pasts(x, seed):
    """A network with outputs z (4), ẑ (4) and β, trained on the neighbours in the series x."""
    net = MLP((4, 64, 64, 9), rng=seed)
    options = {"epochs": EPOCHS, "batch_size": 128, "optimizer": Adam(0.01), "schedule": cosine, "rng": seed}
    train(net, windows(x, 2), against_permuted_past(), permutation_contrastive, **options)
    return net


def contrast_pasts(layers, seed):
    rng = np.random.default_rng(seed)
    s = autoregressive(4, rng, N * 5 // 8)
    x = standard(mixing(4, layers, rng)(s)).astype(np.float32)
    net, untrained = train_pasts(x, seed), MLP((4, 64, 64, 9), rng=seed)
    z, start = (f(x)[:, :4].astype(float) for f in (net, untrained))
    return {"s": s, "x": x, "net": net, "z": z, "untrained": start}


pasts = {(layers, seed): contrast_pasts(layers, seed) for layers in LAYERS for seed in SEEDS}
by_past = compare(
    "PCL",
    pasts,
    lambda run: run["z"],
    lambda s: s,
    f"Mean correlation with s itself: mean (least to greatest) of {len(SEEDS)} draws",
    "PCL: the embedding z as it is. Untrained network: FastICA of its z before training.",
)

# %%
run = pasts[2, 0]
methods = {"PCL": run["z"], "FastICA": components(run["x"])}
fig, _ = over_the_truth(run["s"], methods, 4, np.arange(300, 420), "time", "source")
demo.figure(
    fig,
    "pasts",
    "Permutation-contrastive learning, mixing of two layers. Left: the embedding drawn over the true sources (sign, "
    "scale and offset, which cannot be known, are fitted to them). Middle and right: what was found against the truth, "
    "with its correlation, by PCL and by FastICA of x.",
    alt="Four sources over time; what was found coincides with them. Beside: the scatter plots of PCL are thin lines, "
    "those of FastICA are clouds.",
    main=True,
)


# %% [markdown]
# ## Where the truth is not known: the colours of a scan line
# A photograph, read line by line, is a series of three numbers. Nobody knows which sources are behind it, or whether
# there are any. Two questions can be answered all the same. Do networks that see the same photographs find the same
# components, and do networks that see different ones? And is the assumption true: are the surprises |z − ẑ| of
# different components uncorrelated, as those of independent sources are? Beside them stand networks that see the same
# simulated sources.


# %%
def scan_lines(names, number, rng):
    """Pairs of neighbours on a line, (N, 2, 3)."""
    pairs, number = [], number // len(names)
    for image in map(data.photograph, names):
        i, j = rng.integers(image.shape[0], size=number), rng.integers(1, image.shape[1], size=number)
        pairs.append(np.stack([image[i, j - 1], image[i, j]], axis=1))
    return np.concatenate(pairs)


def of_colours(names, seed):
    """{method: function of colours (N, 3)}, and the pairs' surprises, of one network and what needs none."""
    pairs = scan_lines(names, N // 2, np.random.default_rng(seed))
    colours = pairs[:, 1].astype(float)
    mean, deviation = colours.mean(axis=0), colours.std(axis=0)
    scaled = lambda x: ((x - mean) / deviation).astype(np.float32)  # noqa: E731
    net, untrained = (MLP((3, 32, 32, 7), rng=seed) for _ in range(2))
    options = {"epochs": EPOCHS, "batch_size": 256, "optimizer": Adam(0.003), "schedule": cosine, "rng": seed}
    train(net, scaled(pairs), against_permuted_past(), permutation_contrastive, **options)
    ica, axes = fast_ica(colours, rng=seed, tolerance=1e-4, iterations=1000), pca.by_svd(colours, 3)
    surprises = abs(net(scaled(pairs[:, 1]))[:, :3] - net(scaled(pairs[:, 0]))[:, 3:6])
    methods = {
        "PCL": lambda x: net(scaled(x))[:, :3].astype(float),
        "FastICA": ica,
        "PCA": axes.encode,
        "untrained network": lambda x: untrained(scaled(x))[:, :3].astype(float),
    }
    return methods, surprises


def between(surprises):
    """Mean correlation of the surprises of different components."""
    R = np.corrcoef(surprises.T)
    return R[~np.eye(len(R), dtype=bool)].mean()


ONE, TWO = data.TRAIN_PHOTOGRAPHS[:2], data.TRAIN_PHOTOGRAPHS[2:]
one, surprises = zip(*(of_colours(ONE, seed) for seed in SEEDS), strict=True)
two = [of_colours(TWO, 10 + seed)[0] for seed in SEEDS]
new = np.concatenate([data.photograph(name)[::4, ::4].reshape(-1, 3) for name in data.TEST_PHOTOGRAPHS]).astype(float)
rows, agreement = [], {}
for method in one[0]:
    first, second = ([f[method](new) for f in runs] for runs in (one, two))
    same = [mean_correlation(a, b) for group in (first, second) for a, b in itertools.combinations(group, 2)]
    other = [mean_correlation(a, b) for a, b in itertools.product(first, second)]
    agreement[method] = same
    rows.append([f"{method}, colours", over_seeds(same), over_seeds(other)])
run = pasts[2, 0]
twins = [train_pasts(run["x"], 20 + seed) for seed in SEEDS[1:]]
simulated = [mean_correlation(run["z"], net(run["x"])[:, :4].astype(float)) for net in twins]
rows.insert(0, ["PCL, simulated sources", over_seeds(simulated), ""])
demo.table(
    "Do two runs find the same components? Mean correlation: mean (least to greatest) of all pairs of runs",
    ["method", "the same data, other seeds", "other photographs"],
    rows,
    f"Colours: trained on {' and '.join(ONE)}, or {' and '.join(TWO)}; compared on "
    f"{' and '.join(data.TEST_PHOTOGRAPHS)}.",
)
output = run["net"](run["x"])
expected = between(abs(output[1:, :4] - output[:-1, 4:8]))
found_here = np.mean([between(v) for v in surprises])
demo.say(
    f"Is the assumption true? The surprises of different components have a mean correlation of {found_here:.2f} in "
    f"photographs, {expected:.2f} in simulated sources. An edge changes brightness and colours at once: these are not "
    "three independent sources, and the theorem promises nothing. Networks that see the same simulated sources agree "
    f"to {np.mean(simulated):.3f}, those that see the same photographs to {np.mean(agreement['PCL']):.2f} "
    f"({np.mean(agreement['untrained network']):.2f} before training). Where no truth is known, such agreement is the "
    "evidence there is; and it is not enough: PCA agrees with itself, too, and finds no sources."
)

# %%
image = data.photograph(data.TEST_PHOTOGRAPHS[1])[::2, ::2]
fig, axes = plt.subplots(2, 4, figsize=(9, 3.6))
first = one[0]["PCL"](image.reshape(-1, 3))
for row, methods, names in zip(axes, (one[0], two[0]), (ONE, TWO), strict=True):
    row[0].imshow(image)
    row[0].set_title(f"from {' and '.join(names)}", fontsize=10)
    z = methods["PCL"](image.reshape(-1, 3))
    order, correlations = match_components(first, z)
    for k, ax in enumerate(row[1:]):
        shown = (np.sign(correlations[k]) * z[:, order[k]]).reshape(image.shape[:2])
        ax.imshow(shown, vmin=np.percentile(shown, 1), vmax=np.percentile(shown, 99))
        words = f"component {k + 1}" if methods is one[0] else f"correlation {abs(correlations[k]):.2f}"
        ax.set_title(words, fontsize=10)
for ax in axes.flat:
    ax.set_axis_off()
demo.figure(
    fig,
    "colours",
    "Components of colour by permutation-contrastive learning, of a photograph that neither network has seen. Above "
    "and below: networks trained on different photographs, matched.",
    alt="A flower, and three grey images of it for each of two networks.",
)

# %%
best, rival = np.mean(by_layers[2]["TCL"]), np.mean(by_layers[2]["FastICA of x"])
demo.lesson(
    f"Behind a mixing of two layers, time-contrastive learning finds the sources' absolute values (mean correlation "
    f"{best:.3f}, FastICA {rival:.3f}) and permutation-contrastive learning the sources themselves "
    f"({np.mean(by_past[2]['PCL']):.3f}, FastICA {np.mean(by_past[2]['FastICA of x']):.3f}); with {COUNTS[0]} segments "
    f"(too few for five sources) the former reaches {np.mean(by_count[COUNTS[0]]):.3f}.",
    f"{np.mean(by_past[2]['PCL']):.3f} against {np.mean(by_past[2]['FastICA of x']):.3f}",
)
demo.finish()
