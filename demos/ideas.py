"""The demos in the lecture's order: what each is about, the modules that its sheet derives, and what to try."""

IDEAS = {
    "tour": {
        "idea": "self-supervised learning in one minute",
        "modules": ("losses", "mlp", "gradcheck", "optimizers", "schedules", "training"),
        "exercises": (
            "In `minissl/nn/mlp.py`, `_backward`, delete `delta *= slope(H[l - 1])`. Which equation is broken, and "
            "which tests say so? `pytest --equation mlp.3`",
            "Derive φ′ for softplus, φ(z) = ln(1 + eᶻ), as a function of h = φ(z). Add it to `PHI`, and φ to `SMOOTH` "
            "in `tests/nn/test_mlp.py`. Is it right? `pytest --equation mlp.5`",
            "In `demos/tour.py` write `minissl.mask(0)` for `minissl.mask(0.5)`: the task is then the identity. What "
            "is left of the gain? `python -m demos tour`",
        ),
    },
    "noise_contrast": {
        "idea": "data against noise",
        "modules": ("noise",),
        "exercises": (
            "With ν = 4 noise points for each data point, forget the term ln ν. By which factor is every density "
            "wrong? `pytest --equation noise.2`",
            "Data and noise have the same density. What is y*, and the least loss? `pytest --equation noise.2`",
            "Where p_d = 0 and p_n > 0, what does y* tend to? And where p_n = 0, as it is far from noise in a box? "
            "`pytest --equation noise.2`",
        ),
    },
    "shuffled_patches": {
        "idea": "data against shuffled data, and jigsaw",
        "modules": ("shuffling", "jigsaw"),
        "exercises": (
            "Images of independent pixels, all of one distribution: what is the least loss of a jigsaw with 24 orders? "
            "`pytest --equation jigsaw.3`",
            "Two Gaussian variables with correlation 0.8: how many nats does the best classifier of shuffled variables "
            "find? `pytest --equation shuffling.3`",
            "Four patches, four orders: choose them so that any two differ in every place. `pytest --equation "
            "jigsaw.4`",
        ),
    },
    "two_views": {
        "idea": "two views of one sample",
        "modules": ("augmentations", "views", "noncontrastive", "cca"),
        "exercises": (
            "Two views share 5 nats. How many candidates does InfoNCE need at least, before it can say so? "
            "`pytest --equation views.6`",
            "Take one change at a time (`shift`, `rotation`, `shear`, `scale`) out of `affine` in "
            "`demos/two_views.py`. Which is the task made of? `python -m demos two_views`",
            "What becomes of a network's outputs in training with `simsiam(hold_target=False)`, and with `simsiam()`? "
            "Answer by [noncontrastive.7] and [noncontrastive.8]; a test trains both. `pytest --equation "
            "noncontrastive.7`",
        ),
    },
    "pca": {
        "idea": "PCA by its three definitions",
        "modules": ("pca", "eigen"),
        "exercises": (
            "λ₂ = 0.99 λ₁: how many steps does power iteration take to a thousandth of the angle it began with? "
            "`pytest --equation pca.2`",
            "Why can the least reconstruction error not be less than the sum of the discarded eigenvalues? Follow "
            "[pca.7] with m = 1, n = 2 on paper. `pytest --equation pca.7`",
            "In `demos/pca.py`, let `digits[:, 10] *= 1000` follow the line that loads the digits. Which axis comes "
            "first, and what has PCA learned then? `python -m demos pca`",
        ),
    },
    "autoencoders": {
        "idea": "the identity and how to make it impossible",
        "modules": ("autoencoder", "wiener"),
        "exercises": (
            "Let σ → 0 in [autoencoder.10]: what does r learn, and why is the score then lost in rounding? "
            "`pytest --equation autoencoder.10`",
            "The data are two points, −1 and 1, equally probable. Work out r*(x̃). `pytest --equation autoencoder.2`",
            "Give a sparse autoencoder no bound on its decoder's rows. What becomes of the penalty? "
            "`pytest --equation autoencoder.7`",
        ),
    },
    "colorize": {
        "idea": "colour from grey",
        "modules": ("autoencoder",),
        "exercises": (
            "Two colours of the same grey are equally probable. Which colour is least wrong, and is it greyer than "
            "both? `pytest --equation autoencoder.15`",
            "Replace the three weights of [autoencoder.15] by (0, 1, 0): the input is the green channel. What is the "
            "error of the best reconstruction of green? `pytest --equation autoencoder.2`",
        ),
    },
    "time_series": {
        "idea": "prediction of the future",
        "modules": ("prediction",),
        "exercises": (
            "x is drawn by f(x) = x² plus shocks of variance s². By how much is the forecast two steps ahead wrong, "
            "if it is fed back? `pytest --equation prediction.4`",
            "How many simulated futures are needed before the error of their mean is a tenth of their spread? "
            "`pytest --equation prediction.5`",
            "The series is a random walk. Which forecast is best, and are more past values of any use? `pytest "
            "--equation prediction.2`",
        ),
    },
    "linear_prediction": {
        "idea": "the linear model, exact and fast",
        "modules": ("autoregression",),
        "exercises": (
            "A coefficient of 0.9 is estimated from 79 values. How large is the bias, beside the standard error? "
            "`pytest --equation autoregression.6`",
            "a₁ = 1.2, a₂ = −0.4: is the model stable? Find the roots by hand. `pytest --equation autoregression.8`",
            "What does the variance of a forecast tend to as the horizon grows? `pytest --equation autoregression.9`",
        ),
    },
    "next_word": {
        "idea": "prediction of the next word",
        "modules": ("words", "embedding"),
        "exercises": (
            "A model that knows nothing has a perplexity equal to the size of the vocabulary. Show it. "
            "`pytest --equation words.3`",
            "A word occurs twice in one context. How many blocks Δ₀ⱼ reach its gradient? `pytest --equation "
            "embedding.2`",
            "What does [words.4] become for τ → 0, and for τ → ∞? `pytest --equation words.4`",
        ),
    },
    "downstream": {
        "idea": "what the features are for: few labels",
        "modules": ("probe",),
        "exercises": (
            "Why does the probe need λ > 0 where the classes can be separated? `pytest --equation probe.1`",
            "‖W‖² is strictly convex and b is not penalised. What about b is left open? `pytest --equation probe.3`",
            "Give `linear_probe` four samples with the labels 0, 2, 0, 2. What would become of the intercept of class "
            "1, and what does the library say?",
        ),
    },
    "nonlinear_ica": {
        "idea": "structure: the sources behind a mixture",
        "modules": ("time", "ica"),
        "exercises": (
            "Five sources, four segments: why can time-contrastive learning not find them? `pytest --equation time.6`",
            "Which sources does FastICA with ln cosh not find? Give a density for which γ = 0. `pytest --equation "
            "ica.3`",
            "Give all segments the same variances. What is the best accuracy then? `pytest --equation time.3`",
        ),
    },
    "clustering": {
        "idea": "structure: groups",
        "modules": ("clustering",),
        "exercises": (
            "The k-means of ten seeds, one start each, end in different minima. How does [clustering.4] make bad ones "
            "rare? `pytest --equation clustering.4`",
            "Exchange the numbers of two clusters. Which of J, accuracy and NMI change? `pytest --equation "
            "clustering.11`",
            "Let σ → 0 in a mixture of Gaussians: which algorithm is left? `pytest --equation clustering.10`",
        ),
    },
    "nce_estimation": {
        "idea": "density: models that are not normalised",
        "modules": ("densities", "nce", "optimal_noise", "score_matching"),
        "exercises": (
            "Data and noise are both N(0, 1), ν = 1. What is the asymptotic variance of ĉ? Work it out from [nce.9]. "
            "`pytest --equation nce.9`",
            "Noise far from the data in 60 dimensions: how much is left of the information on c? "
            "`pytest --equation nce.12`",
            "Let ν grow: what does the covariance of the other parameters tend to? `pytest --equation nce.11`",
        ),
    },
    "sampling": {
        "idea": "sampling: chains that follow the score",
        "modules": ("langevin",),
        "exercises": (
            "Langevin dynamics on N(0, 1) with η = 1: which variance do the chains end with, and from which η on do "
            "they explode? `pytest --equation langevin.3`",
            "Two modes far apart, one four times as heavy: why can the score not say so? In `demos/sampling.py` write "
            "`100 * steps` for `10 * steps`. `python -m demos sampling`",
            "Leave ln k(x|x′) − ln k(x′|x) out of [langevin.5]. Which density do the chains then sample? "
            "`pytest --equation langevin.5`",
        ),
    },
    "generation": {
        "idea": "generation: digits from noise",
        "modules": ("gan", "vae"),
        "exercises": (
            "What is D* where the generator is perfect, and the discriminator's loss? `pytest --equation gan.6`",
            "In `demos/generation.py`, write `(64, 128, 128, 1)` for the discriminator, or 1500 for 3000 in "
            "`GAN_STEPS`. Does it still know its images by heart, and are the generator's images better? "
            "`python -m demos generation`",
            "σ = 0.4 and β = 1, or σ = 0.2 and β = 4: what differs? `pytest --equation vae.8`",
        ),
    },
}
