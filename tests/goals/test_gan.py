"""GAN: both losses against loops, gradients through both networks, and the theorems by quadrature in one dimension."""

import doctest
import pickle

import numpy as np
import pytest
from fake_cupy import device
from hypothesis import assume, given
from hypothesis import strategies as st
from slopes import median_slope

import minissl.goals.gan
from minissl.goals.gan import Generator, adversarial_loss, latent, train_gan, train_gan_steps
from minissl.nn.gradcheck import central_difference, complex_step, gradient_error, relative_error
from minissl.nn.losses import sigmoid_cross_entropy
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam, lbfgs
from minissl.nn.schedules import linear
from minissl.nn.training import objective
from minissl.tasks.noise import Gaussian, against_noise

cupy = device()
FORMS = pytest.mark.parametrize("saturating", [False, True])
B, A = 1.0, 0.7  # p_d is N(0, 1); the generator is G(z) = Az + B, so p_g is N(B, A²)
GRID = np.linspace(-14, 14, 5601)
WIDTH = GRID[1] - GRID[0]


def network(sizes, seed=0, activation="tanh", dtype="float64"):
    """A network with biases that are not zero."""
    net = MLP(sizes, activation, rng=seed, dtype=dtype)
    net.theta += 0.3 * np.random.default_rng(seed + 100).standard_normal(net.theta.size).astype(dtype)
    return net


def gaussian(x, mean, deviation):
    """The density of N(mean, deviation²), for complex parameters too."""
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * (2 * np.pi) ** 0.5)


def naive_output(net, theta, x):
    """Output of a tanh network for one sample, for complex parameters or inputs too."""
    h = x
    weights, biases = net.views(theta)
    for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
        h = np.array([sum(h[i] * W[i, j] for i in range(len(W))) + b[j] for j in range(len(b))])
        h = np.tanh(h) if l < len(weights) - 1 else h
    return h


def naive_loss(y, saturating):
    """J_G of one sample, from its logit: −ln D or ln(1 − D)."""
    D = 1 / (1 + np.exp(-y))
    return np.log(1 - D) if saturating else -np.log(D)


class BestLogit:
    """y* = ln p_d − ln p_g for p_d = N(0, 1) and p_g = N(mean, deviation²), with the methods of a discriminator."""

    sizes = (1, 1)
    at = None

    def __init__(self, mean, deviation):
        self.mean, self.deviation = mean, deviation

    def forward(self, x):
        y = -0.5 * x**2 + 0.5 * ((x - self.mean) / self.deviation) ** 2 + np.log(self.deviation)
        return [x, y]

    def backward(self, H, delta, input_gradient):
        return None, delta * (-H[0] + (H[0] - self.mean) / self.deviation**2)


# Two pretext tasks


@pytest.mark.equation("gan.1")
def test_a_sample_is_latent_noise_sent_through_the_network():
    """Each row of `sample` equals the network written in loops, at the latent noise of the same seed."""
    net = network((2, 4, 3))
    found = Generator(net).sample(5, 7)
    z = np.random.default_rng(7).standard_normal((5, 2))
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, [naive_output(net, net.theta, row) for row in z], rtol=1e-12)
    assert np.array_equal(found, Generator(net).sample(5, np.random.default_rng(7)))


@pytest.mark.equation("gan.1")
def test_the_samples_of_a_linear_generator_have_its_distribution():
    """Mean and covariance of 100,000 samples of G(z) = zW + b are b and WᵀW, within five standard errors."""
    net = network((2, 3), seed=3)
    W, b = net.weights[0], net.biases[0]
    x = Generator(net).sample(100_000, 0)
    assert (abs(x.mean(axis=0) - b) < 5 * x.std(axis=0) / len(x) ** 0.5).all()
    products = (x - b)[:, :, None] * (x - b)[:, None, :]
    assert (abs(products.mean(axis=0) - W.T @ W) < 5 * products.std(axis=0) / len(x) ** 0.5).all()


@pytest.mark.equation("gan.2")
def test_the_discriminators_loss_is_noise_contrast_with_the_generator_as_noise():
    """The cross-entropy of `against_noise(generator)` equals −½ mean ln D − ½ mean ln(1 − D), written in loops."""
    generator, discriminator = Generator(network((2, 4, 3))), network((3, 5, 1), seed=1)
    x = np.random.default_rng(0).standard_normal((6, 3))
    input, target = against_noise(generator)(x, np.random.default_rng(4))
    fake = generator.sample(6, np.random.default_rng(4))
    J = 0
    for real, false in zip(x, fake, strict=True):
        D_real, D_false = (
            1 / (1 + np.exp(-naive_output(discriminator, discriminator.theta, v)[0])) for v in (real, false)
        )
        J += (-0.5 * np.log(D_real) - 0.5 * np.log(1 - D_false)) / 6
    assert sigmoid_cross_entropy(discriminator(input), target)[0] == pytest.approx(J, rel=1e-12)


@pytest.mark.equation("gan.3", "gan.4")
@pytest.mark.parametrize("saturating, value, slope", [(False, np.log(4 / 3), -0.25), (True, np.log(1 / 4), -0.75)])
def test_the_generators_loss_worked_by_hand(saturating, value, slope):
    """At y = 2x + 1 = ln 3, hence D = ¾, value and gradient equal −ln ¾, −¼·2 and ln ¼, −¾·2."""
    discriminator = MLP((1, 1), dtype="float64")
    discriminator.theta[:] = [2, 1]
    J, delta = adversarial_loss(discriminator, saturating)(np.array([[(np.log(3) - 1) / 2]]), np.ones((1, 1)))
    assert J == pytest.approx(value)
    assert delta == pytest.approx(2 * slope)


@pytest.mark.equation("gan.3", "gan.4")
@FORMS
@given(seed=st.integers(0, 2**32), N=st.integers(1, 5), n=st.integers(1, 4))
def test_the_generators_loss_is_its_equation_in_loops(saturating, seed, N, n):
    """Value and every entry of the gradient equal means in loops of −ln D or ln(1 − D), and their complex step."""
    discriminator = network((n, 6, 1), seed)
    x = np.random.default_rng(seed).standard_normal((N, n))
    J, delta = adversarial_loss(discriminator, saturating)(x, np.ones((N, 1)))

    def loss(row):
        return naive_loss(naive_output(discriminator, discriminator.theta, row)[0], saturating)

    assert J == pytest.approx(sum(loss(row) for row in x) / N, rel=1e-11)
    assert delta.shape == (N, n)
    np.testing.assert_allclose(delta, [complex_step(loss, row) / N for row in x], rtol=1e-9, atol=1e-12)


@pytest.mark.equation("gan.4")
def test_the_two_forms_differ_in_length_only_and_one_stops_where_it_is_recognised():
    """Sample by sample the gradients are in the ratio (1 − D)/D; at D ≤ 10⁻⁹ the saturating one is nearly zero."""
    discriminator = network((3, 5, 1))
    x = np.random.default_rng(0).standard_normal((7, 3))
    ones = np.ones((7, 1))
    D = 1 / (1 + np.exp(-discriminator(x)))
    plain, saturating = (adversarial_loss(discriminator, form)(x, ones)[1] for form in (False, True))
    np.testing.assert_allclose(plain, (1 - D) / D * saturating, rtol=1e-10)
    discriminator.biases[-1][:] -= np.log(1e9) + discriminator(x).max()
    plain, saturating = (adversarial_loss(discriminator, form)(x, ones)[1] for form in (False, True))
    assert 0 < abs(saturating).max() < 1e-8 * abs(plain).max()


@pytest.mark.equation("gan.4")
@FORMS
@given(seed=st.integers(0, 2**32), hidden=st.lists(st.integers(1, 5), max_size=2))
def test_the_generators_gradient_by_complex_steps(saturating, seed, hidden):
    """∂J_G/∂θ through both networks, tanh, equals the complex step of both networks written in loops, to 1e-10."""
    generator, discriminator = network((2, *hidden, 3), seed), network((3, 4, 1), seed + 1)
    z, ones = latent(2)(np.zeros((4, 3)), np.random.default_rng(seed))

    def J(theta):
        x = [naive_output(generator, theta, row) for row in z]
        return sum(naive_loss(naive_output(discriminator, discriminator.theta, row)[0], saturating) for row in x) / 4

    value, gradient = objective(generator, (z, ones), adversarial_loss(discriminator, saturating))(generator.theta)
    assert value == pytest.approx(J(generator.theta), rel=1e-11)
    assert relative_error(gradient, complex_step(J, generator.theta)) < 1e-10


@pytest.mark.equation("gan.4")
@FORMS
@given(
    seed=st.integers(0, 2**32),
    hidden=st.lists(st.integers(1, 5), max_size=2),
    activation=st.sampled_from(["tanh", "sigmoid", "relu", "identity"]),
)
def test_the_generators_gradient_by_central_differences(saturating, seed, hidden, activation):
    """∂J_G/∂θ through both networks equals central differences, over architectures and activations."""
    generator, discriminator = network((2, *hidden, 3), seed, activation), network((3, 4, 1), seed + 1, activation)
    z, ones = latent(2)(np.zeros((6, 3)), np.random.default_rng(seed))
    inputs = zip((generator, discriminator), (z, generator(z)), strict=True)
    Z = [h @ W + b for net, x in inputs for h, W, b in zip(net.forward(x), net.weights, net.biases, strict=False)]
    assume(activation != "relu" or min(abs(z).min() for z in Z) > 1e-3)  # no difference may cross a kink
    J = objective(generator, (z, ones), adversarial_loss(discriminator, saturating))
    assert gradient_error(J, generator.theta) < 1e-7


@pytest.mark.equation("gan.4")
@FORMS
def test_the_generators_gradient_leaves_a_remainder_of_second_order(saturating):
    """The Taylor remainder of J_G in θ falls as h²."""
    generator, discriminator = network((2, 5, 3)), network((3, 4, 1), seed=1)
    pair = latent(2)(np.zeros((6, 3)), np.random.default_rng(0))
    J = objective(generator, pair, adversarial_loss(discriminator, saturating))
    assert median_slope(J, generator.theta) == pytest.approx(2, abs=0.1)


# What the discriminator learns, by quadrature: p_d = N(0, 1), p_g = N(1, 0.7²)


def weighted_pair(features):
    """Data and generated, on a grid of x, with weights that turn the mean loss of the rows into [gan.2]'s integrals."""
    M = len(GRID)
    densities = np.concatenate([gaussian(GRID, 0, 1), gaussian(GRID, B, A)])
    target = np.repeat([1.0, 0.0], M)[:, None]
    return np.concatenate([features, features]), target, M * WIDTH * densities[:, None]


def shannon(mean, deviation):
    """JSD(N(0, 1), N(mean, deviation²)) on the grid; for complex parameters too."""
    p_d, p_g = gaussian(GRID, 0, 1), gaussian(GRID, mean, deviation)
    middle = (p_d + p_g) / 2
    return 0.5 * (p_d * np.log(p_d / middle) + p_g * np.log(p_g / middle)).sum() * WIDTH


@pytest.mark.equation("gan.5", "gan.6")
def test_the_best_discriminator_and_its_loss():
    """The minimum over logits linear in (x, x²), found by lbfgs and Newton, is ln p_d − ln p_g, with ln 2 − JSD."""
    features = np.column_stack([GRID, GRID**2])
    net = MLP((2, 1), dtype="float64", rng=0)
    J = objective(net, weighted_pair(features), sigmoid_cross_entropy)
    theta = lbfgs(J, net.theta, warn=False).theta
    for _ in range(2):
        hessian = [central_difference(lambda t, i=i: J(t)[1][i], theta) for i in range(3)]
        theta = theta - np.linalg.solve(hessian, J(theta)[1])
    y = features @ theta[:2] + theta[2]
    near = abs(GRID) < 4
    best = np.log(gaussian(GRID, 0, 1)[near]) - np.log(gaussian(GRID, B, A)[near])
    assert abs(y[near] - best).max() < 1e-11
    p_d, p_g = gaussian(GRID, 0, 1)[near], gaussian(GRID, B, A)[near]
    np.testing.assert_allclose(1 / (1 + np.exp(-y[near])), p_d / (p_d + p_g), rtol=1e-10)
    assert abs(J(theta)[0] - (np.log(2) - shannon(B, A))) < 4e-13


@pytest.mark.equation("gan.6")
@given(seed=st.integers(0, 2**32), scale=st.floats(0.01, 3))
def test_no_discriminator_is_better(seed, scale):
    """For random networks J_D is at least ln 2 − JSD, and ln 2 for one whose output is 0."""
    net = network((1, 6, 1), seed)
    net.theta *= scale
    pair = weighted_pair(GRID[:, None])
    J = objective(net, pair, sigmoid_cross_entropy)
    assert J(net.theta)[0] > np.log(2) - shannon(B, A)
    assert J(0 * net.theta)[0] == pytest.approx(np.log(2), rel=1e-12)


@pytest.mark.equation("gan.6")
def test_the_jensen_shannon_divergence_from_equal_to_apart():
    """JSD is 0 for equal densities, rises as they move apart, and tends to ln 2."""
    values = [shannon(mean, 1) for mean in (0, 0.5, 1, 2, 4, 7)]
    assert abs(values[0]) < 1e-15
    assert (np.diff(values) > 0).all()
    assert np.log(2) - 1e-3 < values[-1] < np.log(2)


# What the generator descends


def generators_gradient(mean, deviation, saturating):
    """∂J_G/∂(deviation, mean) at D*, for G(z) = deviation z + mean: the library's, at z on a grid, weighted by N(z)."""
    net = MLP((1, 1), dtype="float64")
    net.theta[:] = [deviation, mean]
    z = np.linspace(-9, 9, 3001)[:, None]
    weight = gaussian(z, 0, 1) * (z[1] - z[0])
    H = net.forward(z)
    _, delta = adversarial_loss(BestLogit(mean, deviation), saturating)(H[-1], np.ones_like(z))
    return net.backward(H, len(z) * weight * delta)


@pytest.mark.equation("gan.7")
@pytest.mark.parametrize("mean, deviation", [(B, A), (-0.5, 1.5), (0.3, 0.9)])
def test_the_saturating_gradient_is_that_of_twice_the_jensen_shannon_divergence(mean, deviation):
    """At D*, ∂J_G/∂(A, b) of G(z) = Az + b equals the complex step of 2 JSD by quadrature."""
    expected = complex_step(lambda t: 2 * shannon(t[1], t[0]), np.array([deviation, mean]))
    np.testing.assert_allclose(generators_gradient(mean, deviation, True), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("gan.8")
@pytest.mark.parametrize("mean, deviation", [(B, A), (-0.5, 1.5), (0.3, 0.9)])
def test_the_non_saturating_gradient_is_that_of_kl_minus_twice_the_jensen_shannon_divergence(mean, deviation):
    """At D*, ∂J_G/∂(A, b) of G(z) = Az + b equals that of KL(p_g‖p_d), closed form, minus the complex step of 2 JSD."""
    theta = np.array([deviation, mean])  # KL(N(b, A²)‖N(0, 1)) = ½ (A² + b² − 1) − ln A
    expected = [deviation - 1 / deviation, mean] - complex_step(lambda t: 2 * shannon(t[1], t[0]), theta)
    np.testing.assert_allclose(generators_gradient(mean, deviation, False), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("gan.7", "gan.8")
@FORMS
def test_a_generator_that_has_the_density_of_the_data_stays(saturating):
    """At p_g = p_d the gradient of either form is zero."""
    assert abs(generators_gradient(0.0, 1.0, saturating)).max() < 1e-14


@pytest.mark.equation("gan.9")
@pytest.mark.parametrize("mean, deviation", [(B, A), (-0.5, 1.5)])
def test_noise_that_is_a_copy_of_the_model_gives_a_quarter_of_maximum_likelihood(mean, deviation):
    """∂J/∂α of noise contrast, noise = model N(b, A²), equals ¼ of the complex step of −E_d ln p_m, by quadrature."""
    p_d, p_n = gaussian(GRID, 0, 1), gaussian(GRID, mean, deviation)
    alpha = np.array([deviation, mean])

    def log_model(t):
        return -0.5 * ((GRID - t[1]) / t[0]) ** 2 - np.log(t[0]) - 0.5 * np.log(2 * np.pi)

    y = (log_model(alpha) - log_model(alpha))[:, None]  # ln p_m − ln p_n where the step begins
    target = np.repeat([1.0, 0.0], len(GRID))[:, None]
    weight = len(GRID) * WIDTH * np.concatenate([p_d, p_n])[:, None]
    _, delta = sigmoid_cross_entropy(np.concatenate([y, y]), target, weight)
    scores = np.array([log_model(alpha + 1e-20j * e).imag / 1e-20 for e in np.eye(2)])  # ∂ ln p_m/∂α
    likelihood = complex_step(lambda t: -(p_d * log_model(t)).sum() * WIDTH, alpha)
    np.testing.assert_allclose(np.hstack([scores, scores]) @ delta[:, 0], likelihood / 4, rtol=1e-11)


# Training


@FORMS
def test_training_is_a_step_each_in_turn(saturating):
    """Three pairs of plain steps, ever shorter, equal a loop that draws, differentiates by complex steps, and steps."""
    x = np.random.default_rng(0).standard_normal((20, 2))
    generator, discriminator = Generator(network((1, 3, 2), seed=1)), network((2, 3, 1), seed=2)
    theta, phi = generator.net.theta.copy(), discriminator.theta.copy()
    G, D = network((1, 3, 2), seed=1), network((2, 3, 1), seed=2)
    optimizers = SGD(0.1, momentum=0), SGD(0.2, momentum=0)
    options = {"optimizers": optimizers, "schedule": linear, "saturating": saturating, "rng": 5}
    found = train_gan(generator, discriminator, x, steps=3, batch_size=4, **options)
    rng = np.random.default_rng(5)
    for k, (J_D, J_G) in enumerate(found):
        rng.permutation(4)
        real = x[rng.integers(20, size=4)]
        fake = [naive_output(G, theta, row) for row in rng.standard_normal((4, 1))]

        def loss_D(phi, real=real, fake=fake):
            D_real, D_fake = (
                1 / (1 + np.exp([-naive_output(D, phi, row)[0] for row in rows])) for rows in (real, fake)
            )
            return -0.5 * np.log(D_real).mean() - 0.5 * np.log(1 - D_fake).mean()

        assert J_D == pytest.approx(loss_D(phi), rel=1e-11)
        phi = phi - 0.1 * (1 - k / 3) * complex_step(loss_D, phi)
        rng.permutation(4)
        z = rng.standard_normal((4, 1))

        def loss_G(theta, z=z, phi=phi):
            y = [naive_output(D, phi, naive_output(G, theta, row))[0] for row in z]
            return np.mean([naive_loss(v, saturating) for v in y])

        assert J_G == pytest.approx(loss_G(theta), rel=1e-11)
        theta = theta - 0.2 * (1 - k / 3) * complex_step(loss_G, theta)
    np.testing.assert_allclose(discriminator.theta, phi, rtol=1e-10)
    np.testing.assert_allclose(generator.net.theta, theta, rtol=1e-10)


def tiny_run(seed, **options):
    x = 2 + 0.5 * np.random.default_rng(seed).standard_normal((2000, 1))
    generator = Generator(MLP((1, 1), rng=seed, dtype="float64"))
    discriminator = MLP((1, 16, 1), "tanh", rng=seed + 1, dtype="float64")
    rates = Adam(0.03, beta1=0.5), Adam(0.01, beta1=0.5)
    options = {"steps": 1000, "batch_size": 256, "optimizers": rates, "schedule": linear, "rng": seed} | options
    return generator, discriminator, train_gan(generator, discriminator, x, **options)


def test_a_gaussian_is_learned():
    """A linear generator comes to the mean 2 and the deviation 0.5 of the data, from 0 and |W|."""
    generator, _, losses = tiny_run(3)
    W, b = abs(generator.net.theta)  # over ten seeds, |b − 2| was at most 0.05 and | |W| − 0.5 | at most 0.02
    assert abs(b - 2) < 0.2 and abs(W - 0.5) < 0.1
    assert abs(np.mean([J_D for J_D, _ in losses[-100:]]) - np.log(2)) < 0.02


def test_the_saturating_form_trains_too():
    """From where the discriminator is not sure, the saturating form moves the generator to the data as well."""
    generator, _, _ = tiny_run(3, saturating=True)
    assert abs(generator.net.biases[0][0] - 2) < 0.3


def test_the_same_seed_gives_the_same_run_and_iteration_the_same_as_train():
    """Two runs agree to the bit, a third, iterated step by step, with them, and one of another seed does not."""

    def run(seed, train=train_gan):
        generator, discriminator = Generator(network((2, 3, 1))), network((1, 3, 1))
        losses = list(train(generator, discriminator, np.ones((9, 1)), steps=5, batch_size=4, rng=seed))
        return losses, generator.net.theta.tobytes(), discriminator.theta.tobytes()

    assert run(1) == run(1) == run(1, train_gan_steps)
    assert run(1) != run(2)
    assert len(run(1)[0]) == 5


def test_each_step_moves_one_network():
    """`adversarial_loss` leaves the discriminator as it is, and follows it when it changes."""
    generator, discriminator = network((2, 3, 1)), network((1, 3, 1))
    before = discriminator.theta.copy()
    loss, pair = adversarial_loss(discriminator), latent(2)(np.zeros((4, 1)), 0)
    first = objective(generator, pair, loss)(generator.theta)[0]
    assert np.array_equal(discriminator.theta, before)
    discriminator.theta += 0.1
    assert objective(generator, pair, loss)(generator.theta)[0] != first


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_more_than_a_batch_is_seen(dtype):
    generator, discriminator = Generator(network((2, 3, 1), dtype=dtype)), network((1, 3, 1), dtype=dtype)
    x = np.random.default_rng(0).standard_normal((50, 1)).astype(dtype)
    seen = x.copy()
    train_gan(generator, discriminator, x, steps=3, batch_size=500, rng=0)  # more than there are: all, with replacement
    assert generator.sample(3, 0).dtype == generator.net.theta.dtype == discriminator.theta.dtype == dtype
    assert np.array_equal(x, seen)
    z, target = latent(2)(x, 0)
    assert z.shape == (50, 2) and z.dtype == target.dtype == dtype and (target == 1).all()


def test_a_generator_with_no_way_to_the_data_learns_nothing_from_a_constant_discriminator():
    """Where y is the same everywhere, ∇y and with it the generator's gradient are zero, and J_G is −ln D."""
    discriminator = MLP((3, 1), dtype="float64")
    discriminator.theta[:] = [0, 0, 0, 1.5]
    J, delta = adversarial_loss(discriminator)(np.random.default_rng(0).standard_normal((4, 3)), np.ones((4, 1)))
    assert J == pytest.approx(np.log(1 + np.exp(-1.5))) and (delta == 0).all()


def test_the_same_on_the_device():
    """Losses and samples on the device equal those on the host."""
    results = []
    for there in (np, cupy):
        x = there.asarray(np.random.default_rng(0).standard_normal((30, 2)))
        generator = Generator(MLP((3, 4, 2), rng=0, dtype="float64", like=x))
        discriminator = MLP((2, 4, 1), rng=1, dtype="float64", like=x)
        losses = train_gan(generator, discriminator, x, steps=4, batch_size=8, rng=2)
        sample = generator.sample(5, 3)
        assert isinstance(sample, there.ndarray)
        results.append((losses, sample if there is np else cupy.asnumpy(sample)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-10)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-10)


def test_generator_task_and_loss_can_be_pickled():
    generator, discriminator = Generator(network((2, 3, 1))), network((1, 3, 1))
    x = generator.sample(4, 0)
    assert np.array_equal(pickle.loads(pickle.dumps(generator)).sample(4, 0), x)
    assert np.array_equal(pickle.loads(pickle.dumps(latent(2)))(x, 0)[0], latent(2)(x, 0)[0])
    loss = adversarial_loss(discriminator, saturating=True)
    assert pickle.loads(pickle.dumps(loss))(x, np.ones((4, 1)))[0] == loss(x, np.ones((4, 1)))[0]


def test_invalid_arguments_raise_by_name():
    generator, discriminator, x = Generator(network((2, 3, 1))), network((1, 3, 1)), np.ones((9, 1))
    adam = Adam()
    for change, error, message in (
        ({"generator": generator.net}, TypeError, "generator: got MLP, expected a Generator"),
        ({"generator": Gaussian([0.0], [[1.0]], [1.0])}, TypeError, "generator: got Gaussian, expected a Generator"),
        ({"discriminator": network((1, 3, 2))}, ValueError, "discriminator: got 2 outputs"),
        ({"discriminator": 3}, TypeError, "discriminator: got int"),
        ({"x": [[np.nan]]}, ValueError, "x: contains NaN"),
        ({"x": x.astype(np.float32)}, TypeError, "x: got dtype float32, expected float64"),
        ({"steps": 0}, ValueError, "steps: got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size: got 1.5"),
        ({"optimizers": adam}, TypeError, "optimizers: got Adam"),
        ({"optimizers": (adam, adam)}, ValueError, "optimizers: .* two different ones"),
        ({"optimizers": (adam,)}, ValueError, "optimizers: "),
        ({"schedule": 1}, TypeError, "schedule: "),
        ({"rng": "seed"}, TypeError, "rng: "),
    ):
        arguments = {"generator": generator, "discriminator": discriminator, "x": x, "steps": 2} | change
        with pytest.raises(error, match=message):
            train_gan_steps(**arguments)
    for m, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="m: got"):
            latent(m)
    with pytest.raises(TypeError, match="net: got int, expected a Generator of an MLP"):
        Generator(3).sample(4, 0)
    with pytest.raises(ValueError, match="N: got 0"):
        generator.sample(0, 0)
    with pytest.raises(ValueError, match="discriminator: got 2 outputs"):
        adversarial_loss(network((1, 3, 2)))


def test_a_run_that_explodes_says_so():
    generator, discriminator = Generator(network((2, 1), dtype="float32")), network((1, 1), dtype="float32")
    optimizers = SGD(1e30, momentum=0), SGD(1e30, momentum=0)
    x = np.full((9, 1), 3, dtype=np.float32)
    with pytest.raises(FloatingPointError, match="in epoch"), np.errstate(all="ignore"):
        train_gan(generator, discriminator, x, steps=9, optimizers=optimizers, rng=0)


def test_the_example_of_the_module():
    assert doctest.testmod(minissl.goals.gan).failed == 0
