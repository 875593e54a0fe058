"""tasks/: augmentations, two views of each sample and their losses, contrast over time."""

import numpy as np
from arguments import array, count, integers, number, one_of, pair

from calls.table import ALONE_X, PIXELS, RNG, X, row
from minissl.tasks import augmentations, noncontrastive, prediction, time, views

# augmentations

IMAGE = array(PIXELS, (1,), alone=True)
SHAPE = pair((4, 6), bad={"another image": (5, 5)}, name="shape|x|size")
row(
    "augmentations.affine",
    lambda x, rng, **o: augmentations.affine(**o)(x, rng),
    shape=SHAPE,
    shift=number(1.0, 0, 6),
    rotation=number(20.0, 0, 180),
    shear=number(0.1, 0, 6),
    scale=number(1.2, 1, 100),
    x=IMAGE,
    **RNG,
)
row(
    "augmentations.erase",
    lambda shape, size, x, rng: augmentations.erase(shape, size)(x, rng),
    shape=SHAPE,
    size=pair((2, 3), bad={"too high": (5, 3), "too wide": (2, 7)}),
    x=IMAGE,
    **RNG,
)
row(
    "augmentations.gaussian_noise",
    lambda sigma, x, rng: augmentations.gaussian_noise(sigma)(x, rng),
    sigma=number(0.3, 0),
    **ALONE_X,
    **RNG,
)
row(
    "augmentations.contrast",
    lambda strength, x, rng: augmentations.contrast(strength)(x, rng),
    strength=number(0.3, 0, 10),
    **ALONE_X,
    **RNG,
)
NOISE = augmentations.gaussian_noise(0.1)
row(
    "augmentations.compose",
    lambda augmentation, x, rng: augmentations.compose(augmentation, NOISE)(x, rng),
    augmentation=one_of(NOISE, None, "noise", 3, name="augmentations"),
    **ALONE_X,
    **RNG,
)

# views and their losses

row(
    "views.two_views",
    lambda augment, x, rng: views.two_views(augment)(x, rng),
    augment=one_of(NOISE, None, "noise", lambda x, rng: x[1:], lambda x, rng: None),
    **ALONE_X,
    **RNG,
)
OUTPUT = np.random.default_rng(6).standard_normal((8, 3))
EMBEDDED = {
    "output": array(OUTPUT, (0,), alone=True, name="output|target"),
    "target": integers(
        np.roll(np.arange(8), 4), 8, (0,), bad={"itself": np.arange(8), "no pairs": [1, 0, 3, 2, 5, 4, 7, 6]}
    ),
}
TEMPERATURE = number(0.5, 1e-3)
WEIGHT = number(0.5, 0, 1e6)
row("views.info_nce", lambda temperature, **o: views.info_nce(temperature)(**o), temperature=TEMPERATURE, **EMBEDDED)
row("views.nt_xent", lambda temperature, **o: views.nt_xent(temperature)(**o), temperature=TEMPERATURE, **EMBEDDED)
row("views.spectral_contrastive", views.spectral_contrastive, **EMBEDDED)
row("views.alignment", views.alignment, **EMBEDDED)
row("views.uniformity", lambda t, **o: views.uniformity(t)(**o), t=number(2.0, 0, 1e3, open_low=True), **EMBEDDED)
row(
    "noncontrastive.vicreg",
    lambda output, target, **o: noncontrastive.vicreg(**o)(output, target),
    invariance=WEIGHT,
    variance=WEIGHT,
    covariance=WEIGHT,
    **EMBEDDED,
)
row(
    "noncontrastive.barlow_twins",
    lambda redundancy, **o: noncontrastive.barlow_twins(redundancy)(**o),
    redundancy=WEIGHT,
    **EMBEDDED,
)
row("noncontrastive.simsiam", lambda **o: noncontrastive.simsiam()(**o), **EMBEDDED)

# time

SEGMENTS = time.segments(X, 3)
PASTS = prediction.windows(X, 2)
CRITIC = np.random.default_rng(7).standard_normal((12, 5))
row("time.segments", time.segments, **ALONE_X, K=count(3, 7, low=2))
row(
    "time.which_segment",
    lambda K, x: time.which_segment(K)(x, None),
    K=count(3, low=2, name="K|x"),
    x=array(SEGMENTS, alone=True, bad={"no segment": SEGMENTS + 0.5, "too many": SEGMENTS + 3}),
)
row(
    "time.permute_auxiliary",
    lambda d, x, rng: time.permute_auxiliary(d)(x, rng),
    d=count(1, 3),
    x=array(SEGMENTS, alone=True, name="x|d"),
    **RNG,
)
row(
    "time.against_permuted_past",
    lambda x, rng: time.against_permuted_past()(x, rng),
    x=array(PASTS, (1,), alone=True),
    **RNG,
)
row(
    "time.permutation_contrastive",
    time.permutation_contrastive,
    output=array(CRITIC, (0,), alone=True, name="output|target", bad={"even": CRITIC[:, 1:]}),
    target=integers(np.append(np.arange(6, 12), [7, 6, 8, 11, 9, 10]), 12, (0,), bad={"presents": np.arange(12)}),
)
