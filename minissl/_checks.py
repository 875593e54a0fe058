"""Every argument check there is: one line at the start of a public function, none in an inner one.

The rule for what a caller passes:

    lists, data frames, integers, booleans    converted to the floating dtype of the call
    arrays of float32, float64                used as they are, never silently converted into each other
    NaN, infinity, empty                      ValueError
    float16, complex, text, objects, masked   TypeError
    NumPy among CuPy arrays                   TypeError, which says what to call; integers (classes, words) are moved

Each check returns the argument in the form that the formulas need, or raises a TypeError (wrong kind) or ValueError
(wrong value) that names the argument, says what came, and what was expected.
"""

import math
import sys

import numpy as np

FLOATS = (np.dtype("float32"), np.dtype("float64"))
PLAIN = (np.ndarray, type(None))  # `like` of these types asks for no other library than NumPy


class NonFiniteError(ValueError, FloatingPointError):
    """NaN or infinity where finite numbers were expected: a wrong value from a caller, or a search that diverged."""


def check_array(a, name, *, ndim=None, shape=None, like=None, dtype=None, finite=True, squares=False):
    """`a` as a float32 or float64 array, copied only where it must be converted.

    `shape` may hold None for any size. `like` is an array whose library and dtype `a` must share; `dtype` fixes the
    dtype, whatever that of `like`. `finite=False`: NaN and infinity pass. `squares=True`: variances of the matrix will
    be computed, so its sum of squares must be far from overflow and from underflow.
    """
    if dtype is None and like is not None:
        dtype = like.dtype
    known = FLOATS if dtype is None else (dtype,)
    if type(a) is not np.ndarray or type(like) not in PLAIN or a.dtype not in known:
        a = as_floats(a, name, like, dtype)
    if ndim is not None and a.ndim != ndim:
        check_shape(a, name, (None,) * ndim)
    check_shape(a, name, shape)
    if a.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {a.shape}, expected at least one element")
    if squares:
        return check_squares(a, name)
    return check_finite(a, name) if finite else a


def as_floats(a, name, like, dtype):
    """Lists, integers and arrays of another library as an array of this dtype, or of float32 or float64 for None."""
    listed = not hasattr(a, "reshape")
    a = check_plain(a, name, like)
    if a.dtype.kind in "biu" or listed and a.dtype in FLOATS:
        a = a.astype(dtype or np.float64)
    if a.dtype not in FLOATS:
        raise TypeError(f"{name}: got dtype {a.dtype}, expected float32 or float64")
    if dtype is not None and a.dtype != dtype:
        wanted = np.dtype(dtype)
        raise TypeError(f"{name}: got dtype {a.dtype}, expected {wanted}; call {name}.astype('{wanted}')")
    return a if like is None or type(a) is type(like) else np.asarray(a, like=like)


def check_finite(a, name):
    """An array without NaN and infinity."""
    if not all_finite(a):
        raise NonFiniteError(f"{name}: contains NaN or infinity, expected finite numbers")
    return a


def all_finite(a):
    """Whether no element is NaN or infinite. The sum of squares tells in one pass, unless it overflows."""
    return (a.flags.c_contiguous and math.isfinite(np.vdot(a, a))) or bool(np.isfinite(a).all())


def check_shape(a, name, shape):
    """An array of this shape, in which None stands for any size; or of any shape for None."""
    if shape is None or a.shape == shape:
        return
    fits = len(shape) == a.ndim
    for wanted, size in zip(shape, a.shape, strict=False):
        fits = fits and wanted in (None, size)
    if not fits:
        words = ", ".join("any" if w is None else str(w) for w in shape)
        raise ValueError(f"{name}: got shape {a.shape}, expected ({words})")


def check_plain(a, name, like=None):
    """`a` as an array of NumPy's or CuPy's own class, whatever it holds."""
    if type(a) is np.ndarray and (like is None or type(like) is np.ndarray):
        return a
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected a plain one; call {name}.filled(value)")
    if hasattr(a, "toarray"):
        raise TypeError(f"{name}: got a sparse {type(a).__name__}, expected a dense array; call {name}.toarray()")
    arrays = [b for b in (a, like) if hasattr(b, "__array_function__")]
    if len({isinstance(b, np.ndarray) for b in arrays}) > 1:
        raise TypeError(f"{name}: NumPy and CuPy arrays are mixed; call cupy.asarray(a) or cupy.asnumpy(a) on one side")
    if hasattr(a, "__array_function__") and not isinstance(a, np.ndarray):
        return a
    try:
        return np.asarray(a)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: expected an array, but {error}") from None


def check_squares(a, name):
    """A matrix whose sum of squares is in a range in which variances can be computed."""
    total = float(np.vdot(a, a) if a.flags.c_contiguous else np.einsum("ij,ij->", a, a))  # neither copies a
    low, high = 1e8 * float(np.finfo(a.dtype).tiny), 1e-3 * float(np.finfo(a.dtype).max)
    if low <= total <= high:
        return a  # one pass says it all: with NaN or infinity the sum is neither
    check_finite(a, name)
    if a.any():
        raise ValueError(f"{name}: the squares add up to {total:.1e}, expected {low:.1e} to {high:.1e}; rescale {name}")
    return a


def in_short(value):
    """`value` as an error message shows it: one line that is not long."""
    try:
        words = " ".join(repr(value).split())
    except ValueError:  # Python writes no integer of more than 4300 digits
        words = f"a huge {type(value).__name__}"
    return words if len(words) <= 80 else f"{words[:76]} ..."


def check_integers(a, name, *, low=None, high=None, ndim=1, shape=None, like=None):
    """`a` as a non-empty integer array with values in [low, high); moved to where `like` is, if it is on the host."""
    a = check_plain(a, name, like if isinstance(like, np.ndarray) else None)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {a.dtype}, expected integers")
    check_shape(a, name, (None,) * ndim if shape is None else shape)
    if a.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {a.shape}, expected at least one integer")
    smallest, largest = int(a.min()), int(a.max())
    if (low is not None and smallest < low) or (high is not None and largest >= high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high - 1}"
        raise ValueError(f"{name}: got values from {smallest} to {largest}, expected {wanted}")
    return a if like is None or type(a) is type(like) else np.asarray(a, like=like)


def check_number(value, name, *, low=-np.inf, high=np.inf, open_low=False, open_high=False):
    """`value` as a finite float within [low, high], ends excluded where open."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        hint = f"; call float({name})" if getattr(value, "shape", None) == () else ""
        raise TypeError(f"{name}: got {in_short(value)}, expected a real number{hint}")
    try:
        value = float(value)
    except OverflowError:
        value = math.inf if value > 0 else -math.inf  # an integer of hundreds of digits
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (math.isfinite(value) and above and below):
        ends = f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
        raise ValueError(f"{name}: got {value}, expected a finite number in {ends}")
    return value


def check_count(value, name, *, low=1, high=None):
    """`value` as an int of at least `low` and at most `high`, or what an index can be."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {in_short(value)}, expected an integer")
    if value < low or value > (sys.maxsize if high is None else high):
        limit = "" if high is None and value < low else f", at most {sys.maxsize if high is None else high}"
        raise ValueError(f"{name}: got {in_short(value)}, expected at least {low}{limit}")
    return int(value)


def check_counts(values, name, *, at_least=0):
    """A tuple of positive ints, `at_least` so many, from a tuple, a list or a one-dimensional array."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (tuple, list)) or len(values) < at_least:
        wanted = f"at least {at_least} positive integers" if at_least else "a tuple of positive integers"
        raise ValueError(f"{name}: got {in_short(values)}, expected {wanted}")
    return tuple(check_count(value, name) for value in values)


def check_pair(value, name):
    """Two positive ints, such as the height and width of an image."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{name}: got {in_short(value)}, expected a pair of integers")
    return check_count(value[0], name), check_count(value[1], name)


def check_rng(rng):
    """The random number generator that `rng` (a seed, a Generator or None; SPEC 7) stands for."""
    if isinstance(rng, (int, np.integer)):
        rng = check_count(rng, "rng", low=0, high=2**128)
    elif rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {type(rng).__name__}, expected an integer seed, a numpy.random.Generator or None")
    return np.random.default_rng(rng)


def check_callable(function, name):
    """Something that can be called."""
    if not callable(function):
        raise TypeError(f"{name}: got {type(function).__name__}, expected a function")
    return function


def check_components(output, target, weight=None):
    """Output, target and weight (or None) of a loss over components: matrices of one shape and dtype; weights ≥ 0."""
    output = check_array(output, "output", ndim=2, finite=False)
    target = check_array(target, "target", shape=output.shape, like=output, finite=False)
    if weight is not None:
        weight = check_array(weight, "weight", shape=output.shape, like=output, finite=False)
        if weight.min() < 0:
            raise ValueError(f"weight: got {weight.min()}, expected no negative weight")
    return output, target, weight


def check_loss(value, output, target, weight):
    """The value of a loss over components; where it is finite, so is all that it was computed from."""
    if not math.isfinite(value):
        for name, a in (("output", output), ("target", target), ("weight", weight)):
            if a is not None:
                check_finite(a, name)
    return value


def check_probabilities(p, name):
    """All of an array within [0, 1]."""
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"{name}: got values from {p.min()} to {p.max()}, expected within [0, 1]")


def check_classes(target, name, output):
    """One class, 0 … n−1, for each row of the output (N, n); on the output's device."""
    target = check_integers(target, name, low=0, high=output.shape[1], like=output)
    if target.shape != output.shape[:1]:
        raise ValueError(f"{name}: got shape {target.shape}, expected ({len(output)},)")
    return target


def check_activations(activation, known, hidden):
    """One name of an activation for each of the hidden layers, from one name for all or a sequence."""
    names = (activation,) * max(hidden, 1) if isinstance(activation, str) else activation
    if not isinstance(names, (tuple, list)) or any(name not in known for name in names):
        raise ValueError(f"activation: got {in_short(activation)}, expected names among {tuple(known)}")
    if not isinstance(activation, str) and len(names) != hidden:
        raise ValueError(f"activation: got {len(names)} names, expected {hidden}, one per hidden layer")
    return tuple(names[:hidden])


def check_float_dtype(dtype):
    """float32 or float64, by name, type or dtype."""
    if getattr(dtype, "__name__", str(dtype)) not in ("float32", "float64"):
        raise TypeError(f"dtype: got {dtype}, expected float32 or float64")
    return np.dtype(dtype)


def check_like(like):
    """An array, whose library is meant, or None for NumPy."""
    if like is not None and not hasattr(like, "__array_function__"):
        raise TypeError(f"like: got {type(like).__name__}, expected an array of NumPy or CuPy")
    return like


def check_layer(layer, layers):
    """The number of one of the layers H₀ … H_L, counted from either end."""
    check_count(layer, "layer", low=-len(layers), high=len(layers) - 1)
    return layer


def check_vector(vector, name, like):
    """A flat array of the shape of `like`."""
    if getattr(vector, "shape", None) != like.shape:
        got = getattr(vector, "shape", type(vector).__name__)
        raise ValueError(f"{name}: got {got}, expected an array of shape {like.shape}")


def check_parameters(theta, like):
    """Parameters in place of `like`: the caller's own array, or a copy of one that cannot be written or viewed."""
    theta = check_array(theta, "theta", shape=like.shape, like=like)
    viewable = theta.flags.c_contiguous and getattr(theta.flags, "writeable", True)
    return theta if viewable else theta.copy()


def check_layers(H, delta, penalties, sizes, like):
    """What a backward pass starts from: ∂J/∂H_L and {l: ∂P/∂Hₗ} for layers H of these sizes."""
    shapes = [getattr(h, "shape", ()) for h in H] if isinstance(H, (list, tuple)) else []
    if not shapes or not shapes[0] or shapes != [(shapes[0][0], n) for n in sizes]:
        raise ValueError(f"H: got layers of shapes {shapes}, expected (N, n) with n = {sizes}")
    penalties = {} if penalties is None else penalties
    if not isinstance(penalties, dict):
        raise TypeError(f"penalties: got {type(penalties).__name__}, expected a dict of hidden layers")
    for l in penalties:
        check_hidden_layer(l, sizes)
    dP = {l: check_array(slope, "penalties", shape=H[l].shape, like=like) for l, slope in penalties.items()}
    return check_array(delta, "delta", shape=H[-1].shape, like=like), dP


def check_hidden_layer(l, layers):
    """The number of a hidden layer among layers 0 … L."""
    if l not in range(1, len(layers) - 1):
        raise ValueError(f"penalties: got layer {l!r}, expected a hidden layer, 1 .. {len(layers) - 2}")


def check_levels(sigmas, name):
    """Positive, strictly falling noise levels, as a list of floats."""
    sigmas = check_array(sigmas, name, ndim=1)
    if not (sigmas > 0).all() or not (sigmas[1:] < sigmas[:-1]).all():
        raise ValueError(f"{name}: got {sigmas}, expected positive and falling noise levels")
    return [float(sigma) for sigma in sigmas]


def check_pair_of_arrays(pair):
    """(input, target) or (input, target, weight)."""
    if not isinstance(pair, (tuple, list)) or len(pair) < 2:
        raise TypeError(f"pair: got {type(pair).__name__}, expected (input, target) or (input, target, weight)")
    return pair


def check_two(returned, name):
    """The two values that a function is expected to return."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise TypeError(f"{name}: returned {type(returned).__name__}, expected two values")
    return returned


def check_gradient(g, state, arrays):
    """A gradient like the optimizer's first one, and the optimizer's arrays, zeros at first."""
    if state and type(g) is type(state[0]) and g.shape == state[0].shape and g.dtype == state[0].dtype:
        return g, state
    shape, like = (state[0].shape, state[0]) if state else ((None,), None)
    g = check_array(g, "g", shape=shape, like=like, finite=False)
    return g, state or tuple(np.zeros_like(g) for _ in range(arrays))


def check_objective(value, gradient, theta):
    """What an objective returned, as SciPy needs it: a float and a float64 vector of the shape of theta on the host."""
    check_scalar(value, "objective")
    gradient = gradient.get() if hasattr(gradient, "get") else gradient
    gradient = np.array(gradient, dtype=np.float64)
    if gradient.shape != theta.shape:
        raise ValueError(f"objective: returned a gradient of shape {gradient.shape}, expected {theta.shape} as theta")
    return float(value), gradient


def check_model(returned, like, *shapes):
    """What a model of a density returned: arrays of these shapes, and the function vjp."""
    if not isinstance(returned, (tuple, list)) or len(returned) != len(shapes) + 1:
        raise TypeError(f"model: returned {type(returned).__name__}, expected {len(shapes) + 1} values, the last vjp")
    *arrays, vjp = returned
    checked = [check_array(a, "model", shape=s, like=like, finite=False) for a, s in zip(arrays, shapes, strict=True)]
    return *checked, check_callable(vjp, "vjp")


def check_value_and_gradient(returned, theta):
    """What an objective returned: one number, and a vector of the shape of theta."""
    value, gradient = check_two(returned, "objective")
    check_vector(gradient, "objective", theta)
    return check_scalar(value, "objective"), gradient


def check_scalar(value, name):
    """One number, as a loss or an objective returns it."""
    if getattr(value, "ndim", 0):
        raise ValueError(f"{name}: returned a value of shape {value.shape}, expected one number; call value.sum()")
    if not isinstance(value, (int, float)) and not hasattr(value, "ndim"):
        raise TypeError(f"{name}: returned the value {in_short(value)}, expected one number")
    return value


def check_slope(slope, H, name):
    """The gradient in a layer H, as a loss or a penalty returns it: an array like H."""
    if type(slope) is not type(H) or slope.dtype != H.dtype:
        got = getattr(slope, "dtype", type(slope).__name__)
        raise TypeError(f"{name}: returned {got} as gradient, expected an array of {H.dtype}")
    check_shape(slope, f"{name}'s gradient", H.shape)
    return slope


def check_network(net, name):
    """A network, which has parameters in one vector."""
    if not hasattr(net, "theta"):
        raise TypeError(f"{name}: got {type(net).__name__}, expected an MLP")
    return net


def check_parts(net, task, loss, optimizer, schedule, penalties):
    """The parts of a training, as far as they can be known before the first batch."""
    check_network(net, "net")
    for name, function in (("task", task), ("loss", loss), ("schedule", schedule)):
        check_callable(function, name)
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(f"optimizer: got {optimizer!r}, expected an optimizer, such as Adam()")
    for a in getattr(optimizer, "state", ()):
        if a.shape != net.theta.shape or a.dtype != net.theta.dtype or type(a) is not type(net.theta):
            raise ValueError(
                f"optimizer: has served another network, of {a.size} parameters of {a.dtype}, expected a new one for "
                f"this one's {net.theta.size} of {net.theta.dtype}"
            )
    if penalties is not None and not (isinstance(penalties, dict) and all(map(callable, penalties.values()))):
        raise TypeError(f"penalties: got {penalties!r}, expected a dict of hidden layers to functions")


def check_data(x, theta):
    """Data to train on: of the library of theta, finite, and of its dtype unless they are integers."""
    kept = check_plain(x, "x", theta)
    if kept.ndim == 0 or kept.size == 0:
        raise ValueError(f"x: got shape {kept.shape}, expected at least one sample")
    if kept.dtype.kind in "biu":
        return np.asarray(kept, like=theta)
    x = check_array(x, "x", like=theta, finite=False)
    for start in range(0, len(x), 2**14):  # in blocks: x may be a view of windows, far larger than its memory
        if not np.isfinite(x[start : start + 2**14]).all():
            raise ValueError(f"x: contains NaN or infinity after row {start}, expected finite numbers")
    return x


def check_batch(pair, net):
    """What a task returned for a batch: arrays of the network's library, the input of its dtype."""
    kind = type(net.theta)
    if not isinstance(pair, (tuple, list)) or len(pair) < 2 or not all([isinstance(a, kind) for a in pair]):
        got = [type(a).__name__ for a in pair] if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise TypeError(f"task: returned {got}, expected (input, target) or (input, target, weight), all arrays")
    input, *target = pair
    if input.dtype != net.input_dtype and net.input_dtype.kind == "f":
        raise TypeError(f"task: returned an input of dtype {input.dtype}, expected {net.input_dtype} as the network")
    return net.check_input(input, finite=False), target


def check_rows(x, name):
    """An array of one or more dimensions."""
    x = check_array(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name}: got the number {x}, expected at least one dimension")
    return x


def check_varied(x, name):
    """A matrix whose rows are not all the same."""
    if not (x != x[:1]).any():
        raise ValueError(f"{name}: all {len(x)} samples are the same, expected data that vary")
    return x


def check_gaussian(mean, axes, deviations):
    """The parts of a Gaussian: mean (n,), orthonormal columns (n, r), positive standard deviations (r,)."""
    mean = check_array(mean, "mean", ndim=1)
    axes = check_array(axes, "axes", shape=(len(mean), None), like=mean)
    deviations = check_array(deviations, "deviations", shape=(axes.shape[1],), like=mean)
    skew = abs(axes.T @ axes - np.identity(len(deviations), dtype=axes.dtype, like=axes)).max()
    if not skew <= 1e-3:
        raise ValueError(f"axes: got columns whose products are off by {skew:.2g}, expected orthonormal ones")
    if not (deviations > 0).all():
        raise ValueError(f"deviations: got {deviations}, expected positive numbers")
    return mean, axes, deviations


def check_sampler(noise, name):
    """Something with a method `sample`."""
    if isinstance(noise, type) or not callable(getattr(noise, "sample", None)):
        raise TypeError(f"{name}: got {type(noise).__name__}, expected an object with a method sample(N, rng)")
    return noise


def check_density(noise, name):
    """Something with a method `log_density`."""
    if isinstance(noise, type) or not callable(getattr(noise, "log_density", None)):
        raise TypeError(f"{name}: got {type(noise).__name__}, expected an object with a method log_density(x)")
    return noise


def check_grid(shape, grid, gap):
    """Height and width of an image, patches down and across, and the gap between them, where they fill the image."""
    shape, grid, gap = check_pair(shape, "shape"), check_pair(grid, "grid"), check_count(gap, "gap", low=0)
    for pixels, patches in zip(shape, grid, strict=True):
        if (pixels + gap) % patches or (pixels + gap) // patches <= gap:
            words = f"{grid[0]} x {grid[1]} patches with gaps of {gap}"
            raise ValueError(f"grid: got {words}, expected to fill {shape[0]} x {shape[1]} pixels equally")
    return shape, grid, gap


def check_permutations(a, name, length):
    """A matrix of integers on the host, each row a permutation of 0 .. length - 1."""
    a = check_integers(a, name, low=0, high=length, ndim=2)
    a = a.get() if hasattr(a, "get") else a
    if a.shape[1] != length or (np.sort(a) != np.arange(length)).any():
        raise ValueError(f"{name}: expected in each row the numbers 0 to {length - 1}, one for each patch")
    return a


def check_covariance(C, name):
    """A covariance matrix: symmetric, without negative eigenvalues but for rounding, and not zero."""
    C = check_array(C, name, ndim=2)
    if C.shape[0] != C.shape[1] or not np.allclose(C, C.T, atol=1e-6 * float(abs(C).max())):
        raise ValueError(f"{name}: got shape {C.shape}, expected a symmetric matrix")
    eigenvalues = np.linalg.eigvalsh(C)
    least, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    if not least > -1e-6 * largest:
        raise ValueError(f"{name}: got eigenvalues from {least} to {largest}, expected none below zero, and one above")
    return C


def check_deviation(sigma, name, like=None):
    """A standard deviation whose square is neither zero nor infinite in the dtype of `like`, by default float64."""
    limits = np.finfo(np.float64 if like is None else like.dtype)
    return check_number(sigma, name, low=float(limits.tiny) ** 0.5, high=float(limits.max) ** 0.5)


def check_blocks(blocks, name, n=None):
    """Which block each component belongs to: n integers from 0 to at most n − 1."""
    blocks = check_plain(blocks, name)
    return check_integers(blocks, name, low=0, high=blocks.size if n is None else n, shape=(n,))


def check_divisors(block, name, shape):
    """Height and width of the blocks into which an image of this shape can be cut."""
    block = check_pair(block, name)
    if shape[0] % block[0] or shape[1] % block[1]:
        raise ValueError(f"{name}: got {block}, expected divisors of the image's {shape}")
    return block


def check_channels(x, name, channels):
    """Rows that hold pixel after pixel, `channels` numbers each."""
    x = check_array(x, name, ndim=2)
    if x.shape[1] % channels:
        raise ValueError(f"{name}: got {x.shape[1]} columns, expected a multiple of {channels}, one for each channel")
    return x


def check_mean_activations(mean, name):
    """Mean activations inside (0, 1), those of sigmoid units. NaN passes: it is for the training loop to report."""
    if ((mean <= 0) | (mean >= 1)).any():
        raise ValueError(
            f"{name}: got mean activations from {float(mean.min())} to {float(mean.max())}, expected within (0, 1): "
            "use sigmoid units, and a smaller weight or learning_rate where they saturate"
        )
    return mean


def check_saved_parts(net, optimizer, rng):
    """What a checkpoint can hold."""
    if not hasattr(net, "architecture"):
        raise TypeError(f"net: got {net!r}, expected an MLP")
    if optimizer is not None and not hasattr(optimizer, "state"):
        raise TypeError(f"optimizer: got {optimizer!r}, expected an optimizer, such as Adam()")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {rng!r}, expected a numpy.random.Generator")


def check_positive_definite(C, name, expected="a positive definite matrix"):
    """`C`, symmetric, whose eigenvalues are positive, beyond rounding, when its diagonal is scaled to one."""
    C = check_covariance(C, name)
    d = np.sqrt(np.where(C.diagonal() > 0, C.diagonal(), np.inf))
    least = float(np.linalg.eigvalsh(C / d / d[:, None])[0])
    if not least > 10 * len(C) * float(np.finfo(C.dtype).eps):
        raise ValueError(f"{name}: got {least:.1e} as least eigenvalue (diagonal scaled to 1), expected {expected}")
    return C


def check_full_rank(x, name):
    """`x` (N, n) whose covariance has full rank: no column is constant or a linear function of the others, N > n."""
    centred = x - x.mean(axis=0, dtype=np.float64)
    d = np.sqrt((centred * centred).mean(axis=0))
    d = np.where((x.max(axis=0) > x.min(axis=0)) & (d > 0), d, np.inf)
    least = float(np.linalg.eigvalsh((centred / d).T @ (centred / d) / len(x))[0])
    if not least > x.shape[1] * max(float(np.finfo(x.dtype).eps) ** 2, 100 * float(np.finfo(np.float64).eps)):
        raise ValueError(
            f"{name}: the least eigenvalue of its correlation matrix is {least:.1e}, expected full rank: N > n, and no "
            "column constant or a linear function of the others; project on fewer principal components"
        )
    return x


def check_log_det(B, name):
    """ln |det B|, which must be finite."""
    log_det = np.linalg.slogdet(B)[1]
    if not np.isfinite(log_det):
        raise ValueError(f"{name}: got a singular matrix, expected one that can be inverted")
    return log_det


def check_one_output(net, name):
    """A network whose output is one number for each sample."""
    if not hasattr(net, "sizes") or not hasattr(net, "at"):
        raise TypeError(f"{name}: got {type(net).__name__}, expected an MLP")
    if net.sizes[-1] != 1:
        raise ValueError(f"{name}: got {net.sizes[-1]} outputs, expected one")
    return net


def check_series(x, name, *, scalar=False):
    """A series (T,) or (T, n) without gaps, integers left as they are; or a scalar one for a linear model."""
    x = check_plain(x, name)
    x = x.astype(np.float64) if x.dtype.kind == "b" else x
    if x.ndim not in (1, 2) or x.size == 0 or (scalar and x.ndim == 2):
        wanted = "a scalar series of shape (T,)" if scalar else "a series of shape (T,) or (T, n)"
        raise ValueError(f"{name}: got shape {x.shape}, expected {wanted}")
    if scalar and len(x) < 4:
        raise ValueError(f"{name}: got {len(x)} values, expected at least 4")
    if x.dtype.kind in "iu":
        return x
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {x.dtype}, expected float32, float64, integers or booleans")
    if not all_finite(x):
        gap = int(np.isfinite(x).reshape(len(x), -1).all(axis=1).argmin())
        raise ValueError(f"{name}: gap (NaN or infinity) at index {gap}, the first; cut the series there or fill it")
    return x


def check_windows(x, name, length=None):
    """Windows of a series, (N, length) or (N, length, n), floating."""
    x = check_array(x, name)
    if x.ndim not in (2, 3) or length not in (None, x.shape[1]):
        p = "p" if length is None else length
        raise ValueError(f"{name}: got shape {x.shape}, expected (N, {p}) or (N, {p}, n), as from windows(x, {p})")
    return x


def check_logits(Y, name, N):
    """What a model returned for N contexts: logits (N, any) in float64, -inf allowed, each row's largest finite."""
    Y = check_array(Y, name, shape=(N, None), finite=False)
    if not np.isfinite(Y.max(axis=1)).all():
        raise ValueError(f"{name}: got a row whose largest logit is not finite, expected a word that may follow")
    return Y.astype(np.float64)


def check_tokens(tokens, name, *, besides=None):
    """The words of a text, as a list of str; where `besides` is given, at least one that is another word than this."""
    words = None if isinstance(tokens, str) or not np.iterable(tokens) else list(tokens)
    if words is None or not all(isinstance(word, str) for word in words):
        raise TypeError(f"{name}: got {type(tokens).__name__}, expected a sequence of words, such as text.split()")
    if besides is not None and not set(words) - {besides}:
        raise ValueError(f"{name}: got none, expected the words of a text")
    return words


def check_labelled(features, labels, *, at_least=1):
    """Features (N, m); their classes 0 … K−1 as integers (N,) on the same device, each often enough; and K."""
    features = check_array(features, "features", ndim=2, squares=True)
    labels = check_integers(labels, "labels", low=0, high=len(features), like=features)
    if labels.shape != (len(features),):
        raise ValueError(f"labels: got shape {labels.shape}, expected ({len(features)},), one for each row of features")
    labels = labels.astype(np.int64, copy=False)
    counts = np.bincount(labels)
    if len(counts) < 2 or int(counts.min()) < at_least:
        got = f"{in_short(counts.tolist())} samples of classes 0, 1, …"
        raise ValueError(f"labels: got {got}, expected at least {at_least} of each, and two classes")
    return features, labels, len(counts)


def check_weights(weights, name, x):
    """Weights of the rows of x in a mean: none negative, and they sum to one, up to the error of a quadrature."""
    weights = check_array(weights, name, shape=(len(x),), like=x)
    if (weights < 0).any() or abs(float(weights.sum()) - 1) > 1e-2:
        raise ValueError(f"{name}: got sum {float(weights.sum())}, expected p_d times cell volumes, which sum to one")
    return weights


def check_samples(x, name):
    """Data (N, n) of at least two samples, whose variances can be computed."""
    x = check_array(x, name, ndim=2, squares=True)
    if len(x) < 2:
        raise ValueError(f"{name}: got 1 sample, which does not vary; expected at least 2")
    return x


def check_generator(generator, name):
    """A generator: a network `net` from latent noise to data, and a method `sample`."""
    if not hasattr(getattr(generator, "net", None), "theta") or not callable(getattr(generator, "sample", None)):
        got = type(getattr(generator, "net", generator)).__name__
        raise TypeError(f"{name}: got {got}, expected a Generator of an MLP")
    return generator


def check_two_optimizers(optimizers, name):
    """Two optimizers, one for each of two networks."""
    if not isinstance(optimizers, (tuple, list)) or not all(hasattr(a, "step") for a in optimizers):
        raise TypeError(f"{name}: got {optimizers!r}, expected two optimizers, such as (Adam(), Adam())")
    if len(optimizers) != 2 or optimizers[0] is optimizers[1]:
        raise ValueError(f"{name}: got {optimizers!r}, expected two different ones, one for each network")
    return optimizers


def check_size(size, name, shape):
    """Height and width of a rectangle that fits into an image of this shape."""
    size = check_pair(size, name)
    if size[0] > shape[0] or size[1] > shape[1]:
        raise ValueError(f"{name}: got {size}, expected at most the image's {shape}")
    return size


def check_partners(output, target):
    """Embeddings of two views (2N, m); for each row the row of its partner, (2N,); and those of the first N rows."""
    output = check_array(output, "output", ndim=2)
    target = check_integers(target, "target", low=0, high=len(output), like=output)
    N = len(output) // 2
    if target.shape != output.shape[:1]:
        raise ValueError(f"target: got shape {target.shape}, expected ({len(output)},), one partner for each row")
    if len(output) != 2 * N or (target[:N] < N).any() or (target[target] != np.arange(2 * N, like=output)).any():
        raise ValueError("target: expected each row of the first half and its partner in the second to name each other")
    return output, target, target[:N]


def check_segments(x, name, K):
    """Rows (x, u), whose last column holds numbers of segments, 0 … K−1, as x (N, n) and u (N,), integers."""
    x = check_array(x, name, ndim=2)
    u = x[:, -1]
    if x.shape[1] < 2 or (u != np.round(u)).any() or (u < 0).any() or (u >= K).any():
        raise ValueError(f"{name}: expected in the last column segments 0 to {K - 1}, as segments(x, {K}) returns")
    return x[:, :-1], u.astype(np.int64)


def check_pasts(output, target):
    """z, ẑ and β of N presents and N pasts (2N, 2m + 1); for each present the row of its real past, of another's."""
    output = check_array(output, "output", ndim=2)
    target = check_integers(target, "target", low=len(output) // 2, high=len(output), like=output)
    if len(output) % 2 or output.shape[1] < 3 or output.shape[1] % 2 == 0:
        raise ValueError(f"output: got shape {output.shape}, expected (2N, 2m + 1): z, ẑ and β of N presents and pasts")
    N = len(output) // 2
    rows = np.arange(N, 2 * N, like=target)
    if target.shape != (2 * N,) or any((np.sort(part) != rows).any() for part in (target[:N], target[N:])):
        raise ValueError(f"target: expected twice the rows {N} to {2 * N - 1}, each time in any order")
    return output, target


def check_found(s, found):
    """True components (N, n) and those found (N, m), of which there are at least as many."""
    s = check_samples(s, "s")
    found = check_array(found, "found", shape=(len(s), None), like=s, squares=True)
    if found.shape[1] < s.shape[1]:
        raise ValueError(f"found: got {found.shape[1]} components, expected at least as many as s has, {s.shape[1]}")
    return s, found


def check_derivatives(gradients, laplacians):
    """Gradients (N, p, n) and Laplacians (N, p) of p features at N samples."""
    gradients = check_array(gradients, "gradients", ndim=3)
    return gradients, check_array(laplacians, "laplacians", shape=gradients.shape[:2], like=gradients)


def check_smooth(net, name, known):
    """A network with one output, whose activations can be differentiated three times."""
    net = check_one_output(net, name)
    if not set(net.activations) <= set(known):
        raise ValueError(f"{name}: got activations {net.activations}, expected smooth ones among {tuple(known)}")
    return net


def check_fit(error, least):
    """The mean squared distance of samples from their centres, more than rounding leaves of zero."""
    if not error > least:
        raise ValueError("x: all samples lie at the centres, expected more distinct samples than centres")
    return error


def check_two_labellings(labels, classes):
    """Two vectors of integers, of one length."""
    labels = check_integers(labels, "labels", low=0)
    return labels, check_integers(classes, "classes", low=0, shape=labels.shape)


def check_decoder(net, name):
    """A network, which is to be sent latent variables."""
    if not hasattr(net, "sizes") or not hasattr(net, "at"):
        raise TypeError(f"{name}: got {type(net).__name__}, expected an MLP")
    return net


def check_coders(encoder, decoder):
    """A decoder from m to n numbers, and an encoder from n to 2m."""
    check_decoder(encoder, "encoder")
    check_decoder(decoder, "decoder")
    m, n = decoder.sizes[0], decoder.sizes[-1]
    if (encoder.sizes[0], encoder.sizes[-1]) != (n, 2 * m):
        got = f"{encoder.sizes[0]} inputs and {encoder.sizes[-1]} outputs"
        raise ValueError(f"encoder: got {got}, expected {n} and {2 * m}, for a decoder of {m} inputs and {n} outputs")
