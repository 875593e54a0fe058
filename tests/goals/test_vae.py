"""VAE: bound and gradients against loops, the decomposition by quadrature, and the linear case in closed form."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.stats import multivariate_normal
from slopes import median_slope

from minissl.goals.vae import (
    decoder_task,
    encoder_task,
    evidence_bound,
    gaussian_loss,
    negative_bound,
    probabilistic_pca,
    train_vae,
    train_vae_steps,
)
from minissl.nn.gradcheck import complex_step, gradient_error, relative_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam, lbfgs
from minissl.nn.schedules import linear
from minissl.nn.training import objective

LN_2PI = np.log(2 * np.pi)
SEEDS = st.integers(0, 2**32)


def network(sizes, seed=0, activation="tanh", dtype="float64"):
    """A network with biases that are not zero."""
    net = MLP(sizes, activation, rng=seed, dtype=dtype)
    net.theta += 0.3 * np.random.default_rng(seed + 100).standard_normal(net.theta.size).astype(dtype)
    return net


def naive_output(net, theta, x):
    """Output of a tanh network for one sample, for complex parameters or inputs too."""
    h = x
    weights, biases = net.views(theta)
    for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
        h = np.array([sum(h[i] * W[i, j] for i in range(len(W))) + b[j] for j in range(len(b))])
        h = np.tanh(h) if l < len(weights) - 1 else h
    return h


def naive_J(output, x, noise, decode, sigma, beta):
    """J of one sample in loops: −ln p(x | z) and β (ln q(z) − ln p(z))'s mean in closed form."""
    m = len(noise)
    mu, s = output[:m], np.exp(output[m:])
    f = decode(np.array([mu[j] + s[j] * noise[j] for j in range(m)]))
    J = sum(0.5 * (x[i] - f[i]) ** 2 / sigma**2 + 0.5 * np.log(2 * np.pi * sigma**2) for i in range(len(x)))
    return J + beta * sum(0.5 * (mu[j] ** 2 + s[j] ** 2 - 1) - np.log(s[j]) for j in range(m))


def correlated(seed, N=300, n=6):
    """Data whose covariance has well separated eigenvalues, and a mean that is not zero."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return rng.standard_normal((N, n)) * 0.6 ** np.arange(n) * 2 @ U.T + rng.standard_normal(n)


def pca(x):
    """Eigenvalues, largest first, and eigenvectors of the covariance."""
    variances, U = np.linalg.eigh(np.cov(x.T, bias=True))
    return variances[::-1], U[:, ::-1]


# The loss


@pytest.mark.equation("vae.4", "vae.6", "vae.7")
def test_the_loss_worked_by_hand():
    """At μ = 1, s = 2, ε = ½, f = 3z − 1, x = 4, σ = 2, β = 10, value and gradient equal those worked out by hand."""
    # z = 2, f = 5, ‖x − f‖²/(2σ²) = 1/8; KL = ½(1 + 4 − 1) − ln 2 = 2 − ln 2; ∂/∂z = (5 − 4)/4 · 3 = ¾
    decoder = MLP((1, 1), dtype="float64")
    decoder.theta[:] = [3, -1]
    J, delta = negative_bound(decoder, 2.0, 10.0)(np.array([[1, np.log(2)]]), np.array([[4.0]]), np.array([[0.5]]))
    assert J == pytest.approx(1 / 8 + 0.5 * np.log(8 * np.pi) + 10 * (2 - np.log(2)))
    assert delta == pytest.approx(np.array([[0.75 + 10, 0.75 * 0.5 * 2 + 10 * 3]]))


@pytest.mark.equation("vae.1", "vae.5", "vae.6", "vae.7")
@given(seed=SEEDS, N=st.integers(1, 5), n=st.integers(1, 4), m=st.integers(1, 3), beta=st.floats(0, 4))
def test_the_loss_is_its_equation_in_loops(seed, N, n, m, beta):
    """J and every entry of its gradient in (μ, ρ) equal means in loops, and their complex step."""
    rng, decoder = np.random.default_rng(seed), network((m, 4, n), seed)
    x, noise, output = rng.standard_normal((N, n)), rng.standard_normal((N, m)), rng.standard_normal((N, 2 * m))
    J, delta = negative_bound(decoder, 0.7, beta)(output, x, noise)

    def loss(row, i):
        return naive_J(row, x[i], noise[i], lambda z: naive_output(decoder, decoder.theta, z), 0.7, beta)

    assert J == pytest.approx(sum(loss(output[i], i) for i in range(N)) / N, rel=1e-11)
    expected = [complex_step(lambda row, i=i: loss(row, i), output[i]) / N for i in range(N)]
    np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.equation("vae.4")
@given(seed=SEEDS, m=st.integers(1, 3))
def test_the_divergence_is_zero_at_the_prior_and_that_of_gaussians(seed, m):
    """The part of J with β equals KL of two Gaussians by the formula with trace and determinant; 0 at μ = 0, s = 1."""
    rng, decoder = np.random.default_rng(seed), network((m, 2), seed)
    x, noise, output = np.zeros((1, 2)), rng.standard_normal((1, m)), rng.standard_normal((1, 2 * m))
    kl = negative_bound(decoder, 1.0, 1.0)(output, x, noise)[0] - negative_bound(decoder, 1.0, 0.0)(output, x, noise)[0]
    mu, S = output[0, :m], np.diag(np.exp(2 * output[0, m:]))
    expected = 0.5 * (np.trace(S) + mu @ mu - m - np.linalg.slogdet(S)[1])
    assert kl == pytest.approx(expected, rel=1e-9, abs=1e-11) and kl >= 0
    prior = np.zeros((1, 2 * m))
    same = [negative_bound(decoder, 1.0, beta)(prior, x, noise)[0] for beta in (0.0, 5.0)]
    assert same[0] == same[1]


@pytest.mark.equation("vae.6", "vae.7")
@given(seed=SEEDS, hidden=st.lists(st.integers(1, 5), max_size=2), activation=st.sampled_from(["tanh", "sigmoid"]))
def test_the_gradients_by_central_differences(seed, hidden, activation):
    """∂J/∂θ of the encoder, through both networks, and of the decoder equal central differences to 1e-7."""
    encoder, decoder = network((3, *hidden, 4), seed, activation), network((2, *hidden, 3), seed + 1, activation)
    x = np.random.default_rng(seed).standard_normal((5, 3))
    pair = encoder_task(2)(x, np.random.default_rng(seed))
    assert gradient_error(objective(encoder, pair, negative_bound(decoder, 0.6, 1.5)), encoder.theta) < 1e-7
    pair = decoder_task(encoder)(x, np.random.default_rng(seed))
    assert gradient_error(objective(decoder, pair, gaussian_loss(0.6)), decoder.theta) < 1e-7


@pytest.mark.equation("vae.7")
def test_the_encoders_gradient_by_complex_steps_and_its_remainder():
    """∂J/∂θ of the encoder equals the complex step of both networks in loops; the Taylor remainder falls as h²."""
    encoder, decoder = network((3, 4, 4)), network((2, 5, 3), seed=1)
    x = np.random.default_rng(0).standard_normal((4, 3))
    pair = encoder_task(2)(x, np.random.default_rng(1))

    def J(theta):
        outputs = [naive_output(encoder, theta, row) for row in x]
        losses = [
            naive_J(out, row, noise, lambda z: naive_output(decoder, decoder.theta, z), 0.6, 2.0)
            for out, row, noise in zip(outputs, x, pair[2], strict=True)
        ]
        return sum(losses) / len(x)

    library = objective(encoder, pair, negative_bound(decoder, 0.6, 2.0))
    assert relative_error(library(encoder.theta)[1], complex_step(J, encoder.theta)) < 1e-11
    assert median_slope(library, encoder.theta) == pytest.approx(2, abs=0.1)


@pytest.mark.equation("vae.6")
@given(seed=SEEDS)
def test_both_networks_descend_the_same_loss(seed):
    """With β = 0 the encoder's loss equals the decoder's, at z of the same ε: J's part that depends on the decoder."""
    encoder, decoder = network((3, 4, 4), seed), network((2, 4, 3), seed + 1)
    x = np.random.default_rng(seed).standard_normal((5, 3))
    input, target, noise = encoder_task(2)(x, np.random.default_rng(seed))
    z, same = decoder_task(encoder)(x, np.random.default_rng(seed))
    first = negative_bound(decoder, 0.6, 0.0)(encoder(input), target, noise)[0]
    assert first == pytest.approx(gaussian_loss(0.6)(decoder(z), same)[0], rel=1e-12)


# The theorem


def densities_on_a_grid(encoder, decoder, x, sigma):
    """On a grid of z, one latent variable: ln p(x, z), and ln q(z | x), for one sample x (n,)."""
    z = np.linspace(-20, 20, 20_001)[:, None]
    f = decoder(z)
    joint = -0.5 * ((x - f) ** 2).sum(axis=1) / sigma**2 - 0.5 * len(x) * np.log(2 * np.pi * sigma**2)
    joint += -0.5 * z[:, 0] ** 2 - 0.5 * LN_2PI
    mu, rho = encoder(x[None])[0]
    q = -0.5 * ((z[:, 0] - mu) / np.exp(rho)) ** 2 - rho - 0.5 * LN_2PI
    return z[1, 0] - z[0, 0], joint, q


@pytest.mark.equation("vae.1", "vae.2", "vae.3")
@given(seed=SEEDS)
def test_the_evidence_is_the_bound_and_the_divergence_from_the_posterior(seed):
    """By quadrature over z, ln p(x) = E_q ln p(x | z) − KL(q‖prior) + KL(q‖posterior), with KL(q‖prior) of [vae.4]."""
    encoder, decoder = network((2, 4, 2), seed), network((1, 4, 2), seed + 1)
    encoder.theta *= 0.3  # q well within the grid
    x = np.random.default_rng(seed).standard_normal(2)
    width, joint, q = densities_on_a_grid(encoder, decoder, x, 0.8)
    evidence = np.log(np.exp(joint).sum() * width)
    z = np.linspace(-20, 20, 20_001)
    reconstruction = (np.exp(q) * (joint + 0.5 * z**2 + 0.5 * LN_2PI)).sum() * width
    mu, rho = encoder(x[None])[0]
    kl = 0.5 * (mu**2 + np.exp(2 * rho) - 1) - rho
    from_posterior = (np.exp(q) * (q - (joint - evidence))).sum() * width
    assert evidence == pytest.approx(reconstruction - kl + from_posterior, rel=1e-8, abs=1e-8)
    assert from_posterior > -1e-10


@pytest.mark.equation("vae.3", "vae.5", "vae.6")
def test_the_evidence_bound_is_a_mean_over_draws():
    """`evidence_bound` with 20,000 draws equals each bound by quadrature within five standard errors."""
    encoder, decoder = network((2, 4, 2)), network((1, 4, 2), seed=1)
    encoder.theta *= 0.3
    x = np.random.default_rng(0).standard_normal((3, 2))
    draws = np.array([evidence_bound(encoder, decoder, x, 0.8, samples=1, rng=k) for k in range(200)])
    found = evidence_bound(encoder, decoder, x, 0.8, samples=20_000, rng=0)
    for row, value, spread in zip(x, found, draws.std(axis=0), strict=True):
        width, joint, q = densities_on_a_grid(encoder, decoder, row, 0.8)
        assert abs(value - (np.exp(q) * (joint - q)).sum() * width) < 5 * spread / 20_000**0.5 + 1e-8


@pytest.mark.equation("vae.8")
@given(seed=SEEDS, beta=st.floats(0.1, 5), sigma=st.floats(0.3, 2))
def test_beta_is_another_noise(seed, beta, sigma):
    """J with β equals β J₁ at the noise √β σ, plus a constant; the gradients are in the ratio β."""
    rng, decoder = np.random.default_rng(seed), network((2, 4, 3), seed)
    x, noise, output = rng.standard_normal((4, 3)), rng.standard_normal((4, 2)), rng.standard_normal((4, 4))
    J, delta = negative_bound(decoder, sigma, beta)(output, x, noise)
    J1, delta1 = negative_bound(decoder, beta**0.5 * sigma)(output, x, noise)
    constant = 1.5 * (np.log(2 * np.pi * sigma**2) - beta * np.log(2 * np.pi * beta * sigma**2))
    assert J == pytest.approx(beta * J1 + constant, rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(delta, beta * delta1, rtol=1e-9, atol=1e-11)


# The linear case


def sigma_points(m):
    """2m points of mean zero and covariance I."""
    return m**0.5 * np.concatenate([np.eye(m), -np.eye(m)])


def exact_bound(encoder, decoder, x, sigma, beta=1.0):
    """J of linear networks, exactly: each sample with all sigma points."""
    points = sigma_points(decoder.sizes[0])
    repeated = np.repeat(x, len(points), axis=0)
    return negative_bound(decoder, sigma, beta)(encoder(repeated), repeated, np.tile(points, (len(x), 1)))[0]


def coders(W, b, sigma):
    """The linear decoder Wz + b, with the encoder of mean M⁻¹Wᵀ(x − b) and deviations σ/√Mⱼⱼ."""
    n, m = W.shape
    M = W.T @ W + sigma**2 * np.eye(m)
    encoder, decoder = MLP((n, 2 * m), dtype="float64"), MLP((m, n), dtype="float64")
    decoder.weights[0][:], decoder.biases[0][:] = W.T, b
    encode = np.linalg.solve(M, W.T)
    encoder.theta[:] = 0
    encoder.weights[0][:, :m] = encode.T
    encoder.biases[0][:m] = -encode @ b
    encoder.biases[0][m:] = 0.5 * np.log(sigma**2 / np.diag(M))
    return encoder, decoder


@pytest.mark.equation("vae.13")
@given(seed=SEEDS, m=st.integers(1, 4))
def test_sigma_points_are_exact_for_quadratic_functions(seed, m):
    """The mean over ±√m eⱼ of a + bᵀε + εᵀQε equals a + tr Q."""
    rng = np.random.default_rng(seed)
    a, b, Q = rng.standard_normal(), rng.standard_normal(m), rng.standard_normal((m, m))
    values = [a + b @ e + e @ Q @ e for e in sigma_points(m)]
    assert np.mean(values) == pytest.approx(a + np.trace(Q), rel=1e-10, abs=1e-12)


@pytest.mark.equation("vae.9", "vae.10")
@given(seed=SEEDS, sigma=st.floats(0.1, 2.5), m=st.integers(1, 4))
def test_probabilistic_pca_is_its_closed_form(seed, sigma, m):
    """WWᵀ = Σ (λᵢ − σ²)₊ uᵢuᵢᵀ, p is N(x̄, WWᵀ + σ²I), and the mean of ln p is −½ Σ [ln 2π + ln dᵢ + λᵢ/dᵢ]."""
    x = correlated(seed, n=5)
    W, density = probabilistic_pca(x, m, sigma)
    variances, U = pca(x)
    expected = sum(max(variances[i] - sigma**2, 0) * np.outer(U[:, i], U[:, i]) for i in range(m))
    np.testing.assert_allclose(W @ W.T, expected, atol=1e-11)
    K = expected + sigma**2 * np.eye(5)
    log_p = multivariate_normal(x.mean(axis=0), K).logpdf(x)
    np.testing.assert_allclose(density.log_density(x), log_p, rtol=1e-9, atol=1e-9)
    d = np.where(np.arange(5) < m, np.maximum(variances, sigma**2), sigma**2)
    assert log_p.mean() == pytest.approx(-0.5 * (LN_2PI + np.log(d) + variances / d).sum(), rel=1e-10)


@pytest.mark.equation("vae.9", "vae.10")
@given(seed=SEEDS)
def test_no_other_linear_model_is_more_likely(seed):
    """A search over W for the greatest likelihood, from a random start, finds probabilistic PCA's value and WWᵀ."""
    x, sigma, m = correlated(seed, n=4), 0.5, 2
    C = np.cov(x.T, bias=True)

    def minus_likelihood(w):
        W = w.reshape(4, m)
        K = W @ W.T + sigma**2 * np.eye(4)
        inverse = np.linalg.inv(K)
        value = 0.5 * (4 * LN_2PI + np.linalg.slogdet(K)[1] + np.trace(inverse @ C))
        return value, ((inverse - inverse @ C @ inverse) @ W).ravel()

    start = np.random.default_rng(seed + 1).standard_normal(4 * m)
    found = optimize.minimize(minus_likelihood, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    W, density = probabilistic_pca(x, m, sigma)
    assert -found.fun == pytest.approx(density.log_density(x).mean(), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(found.x.reshape(4, m) @ found.x.reshape(4, m).T, W @ W.T, atol=1e-4)


@pytest.mark.equation("vae.12")
@given(seed=SEEDS, sigma=st.floats(0.1, 2), m=st.integers(1, 4))
def test_at_the_optimum_the_bound_is_the_likelihood(seed, sigma, m):
    """For W of probabilistic PCA, s² = σ²/d, the exact bound equals the mean of ln p to 1e-12, collapsed or not."""
    x = correlated(seed)
    W, density = probabilistic_pca(x, m, sigma)
    encoder, decoder = coders(W, x.mean(axis=0), sigma)
    log_p = density.log_density(x).mean()
    assert abs(-exact_bound(encoder, decoder, x, sigma) - log_p) < 1e-12 * (1 + abs(log_p))
    d = np.maximum(pca(x)[0][:m], sigma**2)
    np.testing.assert_allclose(np.exp(2 * encoder.biases[0][m:]), sigma**2 / d, rtol=1e-9)
    unused = d == sigma**2
    assert (W[:, unused] == 0).all() and np.allclose(encoder.biases[0][m:][unused], 0)


@pytest.mark.equation("vae.11")
@given(seed=SEEDS, m=st.integers(1, 4))
def test_the_gap_of_any_other_rotation(seed, m):
    """For random W, ln p − bound = ½ [Σ ln Mⱼⱼ − ln det M], it is ≥ 0, and no other variances make the bound larger."""
    x, sigma = correlated(seed), 0.7
    W, b = np.random.default_rng(seed).standard_normal((6, m)), x.mean(axis=0)
    encoder, decoder = coders(W, b, sigma)
    log_p = multivariate_normal(b, W @ W.T + sigma**2 * np.eye(6)).logpdf(x).mean()
    M = W.T @ W + sigma**2 * np.eye(m)
    gap = 0.5 * (np.log(np.diag(M)).sum() - np.linalg.slogdet(M)[1])
    bound = -exact_bound(encoder, decoder, x, sigma)
    assert log_p - bound == pytest.approx(gap, rel=1e-7, abs=1e-9) and gap > -1e-12
    for change in (-0.1, 0.1):
        encoder.biases[0][m] += change
        assert -exact_bound(encoder, decoder, x, sigma) < bound
        encoder.biases[0][m] -= change


@pytest.mark.equation("vae.12")
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_a_linear_vae_finds_the_principal_axes(beta):
    """The optimum of the exact J over all weights, from a random start: WᵀW is diagonal, WWᵀ that of PCA with βσ²."""
    x, sigma, m = correlated(0), 0.3, 2
    encoder, decoder = network((6, 4), seed=1), network((2, 6), seed=2)
    points = sigma_points(m)
    repeated, noise = np.repeat(x, len(points), axis=0), np.tile(points, (len(x), 1))
    split = encoder.theta.size

    def J(theta):
        first, second = encoder.at(theta[:split]), decoder.at(theta[split:])
        output = first.forward(repeated)
        value, delta = negative_bound(second, sigma, beta)(output[-1], repeated, noise)
        mu, s = output[-1][:, :m], np.exp(output[-1][:, m:])
        H = second.forward(mu + s * noise)
        return value, np.concatenate(
            [first.backward(output, delta), second.backward(H, gaussian_loss(sigma)(H[-1], repeated)[1])]
        )

    found = lbfgs(J, np.concatenate([encoder.theta, decoder.theta]), iterations=3000, tolerance=1e-7, warn=False)
    decoder.theta = found.theta[split:]
    W = decoder.weights[0].T
    expected, density = probabilistic_pca(x, m, beta**0.5 * sigma)
    np.testing.assert_allclose(W @ W.T, expected @ expected.T, atol=1e-4)
    np.testing.assert_allclose(decoder.biases[0], x.mean(axis=0), atol=1e-4)
    order = np.argsort(-(W * W).sum(axis=0))
    np.testing.assert_allclose(
        abs((W[:, order] / np.linalg.norm(W[:, order], axis=0)).T @ pca(x)[1][:, :m]), np.eye(m), atol=1e-3
    )
    if beta == 1:
        assert -found.value == pytest.approx(density.log_density(x).mean(), abs=1e-8)


# Training


def test_training_is_a_step_each_in_turn():
    """Three pairs of plain steps, ever shorter, equal a loop that draws, differentiates by complex steps, and steps."""
    x = 0.3 * np.random.default_rng(0).standard_normal((20, 3))
    encoder, decoder = network((3, 2), seed=1), network((1, 2, 3), seed=2)
    phi, theta = encoder.theta.copy(), decoder.theta.copy()
    E, D = network((3, 2), seed=1), network((1, 2, 3), seed=2)
    optimizers = SGD(0.002, momentum=0), SGD(0.005, momentum=0)
    options = {"optimizers": optimizers, "schedule": linear, "beta": 2.0, "rng": 5}
    found = train_vae(encoder, decoder, x, sigma=0.9, steps=3, batch_size=4, **options)
    rng = np.random.default_rng(5)
    for k, J in enumerate(found):
        rng.permutation(4)
        rows, noise = x[rng.integers(20, size=4)], rng.standard_normal((4, 1))

        def loss_E(phi, rows=rows, noise=noise, theta=theta):
            pairs = zip(rows, noise, strict=True)
            decode = lambda z: naive_output(D, theta, z)  # noqa: E731
            return sum(naive_J(naive_output(E, phi, row), row, e, decode, 0.9, 2.0) for row, e in pairs) / 4

        assert J == pytest.approx(loss_E(phi), rel=1e-11)
        phi = phi - 0.002 * (1 - k / 3) * complex_step(loss_E, phi)
        rng.permutation(4)
        rows, noise = x[rng.integers(20, size=4)], rng.standard_normal((4, 1))

        def loss_D(theta, rows=rows, noise=noise, phi=phi):
            pairs = zip(rows, noise, strict=True)
            decode = lambda z: naive_output(D, theta, z)  # noqa: E731
            return sum(naive_J(naive_output(E, phi, row), row, e, decode, 0.9, 0.0) for row, e in pairs) / 4

        theta = theta - 0.005 * (1 - k / 3) * complex_step(loss_D, theta)
    np.testing.assert_allclose(encoder.theta, phi, rtol=1e-10)
    np.testing.assert_allclose(decoder.theta, theta, rtol=1e-10)


def test_a_curve_is_learned_that_no_plane_can_follow():
    """On a noisy half circle, one latent variable, the bound exceeds probabilistic PCA by 0.3 nats."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, size=(2000, 1))
    x = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * rng.standard_normal((2000, 2))
    encoder, decoder = network((2, 16, 2), seed=1), network((1, 16, 2), seed=2)
    options = {"optimizers": (Adam(0.01), Adam(0.01)), "schedule": linear, "rng": 3}
    J = train_vae(encoder, decoder, x, sigma=0.1, steps=1500, **options)
    bound = evidence_bound(encoder, decoder, x, 0.1, samples=20, rng=0).mean()
    assert bound > probabilistic_pca(x, 1, 0.1)[1].log_density(x).mean() + 0.3
    assert -np.mean(J[-100:]) == pytest.approx(bound, abs=0.1)


def test_the_same_seed_gives_the_same_run_and_iteration_the_same_as_train():
    """Two runs agree to the bit, a third, iterated step by step, with them, and one of another seed does not."""

    def run(seed, train=train_vae):
        encoder, decoder = network((3, 2)), network((1, 3))
        losses = list(train(encoder, decoder, np.ones((9, 3)), sigma=1.0, steps=5, batch_size=4, rng=seed))
        return losses, encoder.theta.tobytes(), decoder.theta.tobytes()

    assert run(1) == run(1) == run(1, train_vae_steps)
    assert run(1) != run(2)
    assert len(run(1)[0]) == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_data_stay_as_they_are(dtype):
    encoder, decoder = network((3, 2), dtype=dtype), network((1, 3), dtype=dtype)
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(dtype)
    seen = x.copy()
    train_vae(encoder, decoder, x, sigma=1.0, steps=3, batch_size=500, rng=0)
    assert np.array_equal(x, seen)
    W, density = probabilistic_pca(x, 1, 0.5)
    found = evidence_bound(encoder, decoder, x, 1.0, rng=0), W, density.log_density(x), encoder.theta, decoder.theta
    assert {a.dtype.name for a in found} == {dtype}


def test_tasks_and_losses_can_be_pickled_and_leave_the_other_network_alone():
    encoder, decoder = network((3, 2)), network((1, 3))
    before = encoder.theta.copy(), decoder.theta.copy()
    x = np.random.default_rng(0).standard_normal((4, 3))
    pair = pickle.loads(pickle.dumps(encoder_task(1)))(x, 0)
    loss = negative_bound(decoder, 1.0)
    assert pickle.loads(pickle.dumps(loss))(encoder(x), *pair[1:])[0] == loss(encoder(x), *pair[1:])[0]
    again = pickle.loads(pickle.dumps(decoder_task(encoder)))(x, 0)
    assert np.array_equal(again[0], decoder_task(encoder)(x, 0)[0])
    assert np.array_equal(before[0], encoder.theta) and np.array_equal(before[1], decoder.theta)


def test_networks_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="encoder: got 3 inputs and 3 outputs, expected 3 and 2"):
        train_vae(network((3, 3)), network((1, 3)), np.ones((5, 3)), sigma=1.0, steps=1)
    with pytest.raises(ValueError, match="output: .*expected"):
        negative_bound(network((1, 3)), 1.0)(np.ones((5, 3)), np.ones((5, 3)), np.ones((5, 1)))


@pytest.mark.parametrize("sigma", [1e-200, 1e200])
def test_a_sigma_whose_square_is_out_of_range_is_refused(sigma):
    encoder, decoder, x = network((3, 2)), network((1, 3)), np.eye(3)
    for call in (
        lambda: gaussian_loss(sigma),
        lambda: negative_bound(decoder, sigma),
        lambda: evidence_bound(encoder, decoder, x, sigma),
        lambda: probabilistic_pca(x, 1, sigma),
        lambda: train_vae(encoder, decoder, x, sigma=sigma, steps=1),
    ):
        with pytest.raises(ValueError, match="sigma: got"):
            call()


def test_latent_variables_that_overflow_are_named():
    """Data far from unit variance: s = exp ρ overflows, and the error does not blame the data's values."""
    x = 1e6 * np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(FloatingPointError, match="z: .* scale the data to unit variance"):
        train_vae(network((3, 2)), network((1, 3)), x, sigma=0.5, steps=20, rng=0)
