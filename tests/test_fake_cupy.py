"""The stand-in for CuPy is as strict as CuPy; where there is a GPU, the same is asked of CuPy itself."""

import copy
import functools
import inspect
import pickle

import fake_cupy
import numpy as np
import pytest

cupy = fake_cupy.device()
stand_in_only = pytest.mark.skipif(cupy is not fake_cupy.cupy, reason="CuPy is here")
HOST = np.random.default_rng(0).standard_normal((4, 3))
SQUARE = HOST.T @ HOST


def on(a):
    return cupy.asarray(a)


WORKS = {
    "ufunc": lambda a, C: np.exp(a),
    "ufunc of two": lambda a, C: np.maximum(a, 0.5),
    "out": lambda a, C: np.add(a, a, out=np.empty_like(a)),
    "operators": lambda a, C: -(abs(2 - a / 3) ** 2) @ C + np.float64(2) * a,
    "comparison": lambda a, C: (a > 0) & ~(a >= 1),
    "reduction": lambda a, C: np.sum(a, axis=0, keepdims=True),
    "maximum": lambda a, C: np.max(a, axis=1),
    "method": lambda a, C: a.reshape(2, 6).mean(axis=0),
    "where": lambda a, C: np.where(a > 0, a, 0),
    "concatenation": lambda a, C: np.concatenate([a, a[::-1]], axis=1),
    "einsum": lambda a, C: np.einsum("ij,kj->ik", a, a),
    "eigenvectors": lambda a, C: abs(np.linalg.eigh(C)[1]),
    "solution": lambda a, C: np.linalg.solve(C, a.T),
    "windows": lambda a, C: np.lib.stride_tricks.sliding_window_view(a[:, 0], 2),
    "zeros": lambda a, C: np.zeros((2, 3), dtype=a.dtype, like=a),
    "arange": lambda a, C: np.arange(5, like=a),
    "identity": lambda a, C: np.identity(3, dtype=a.dtype, like=a),
    "ones": lambda a, C: np.ones_like(a, shape=5),
    "full": lambda a, C: np.full_like(a, 0.5, shape=(2, 2)),
    "asarray": lambda a, C: np.asarray([[1.0, 2.0]], like=a),
    "asarray of the host": lambda a, C: np.asarray(HOST, like=a),
    "list as an index": lambda a, C: a[[0, 2]],
    "index from the host": lambda a, C: a[np.array([0, 2]), 1],
    "mask": lambda a, C: a[a > 0],
    "a number of no dimensions": lambda a, C: np.sqrt(a.sum() ** 2),
}


@pytest.mark.parametrize("name", WORKS)
def test_numpy_code_computes_the_same_on_the_device(name):
    expected, found = WORKS[name](HOST, SQUARE), WORKS[name](on(HOST), on(SQUARE))
    assert isinstance(found, cupy.ndarray)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.get(), expected, rtol=1e-9)


REFUSED = {
    "conversion": lambda a: np.asarray(a),
    "conversion within a list": lambda a: np.array([a[0, 0], a[0, 1]]),
    "NumPy array added": lambda a: a + HOST,
    "NumPy array on the left": lambda a: HOST * a,
    "NumPy array in place": lambda a: a.__iadd__(HOST),
    "device array into a NumPy array": lambda a: np.add(a, a, out=np.empty((4, 3))),
    "NumPy array to a function": lambda a: np.dot(a, SQUARE),
    "NumPy array among arrays": lambda a: np.concatenate([a, HOST]),
    "NumPy array compared": lambda a: a > HOST,
    "list added": lambda a: a + [1.0, 2.0, 3.0],
    "ufunc.at": lambda a: np.add.at(a, [0], 1.0),
    "ufunc.reduce": lambda a: np.add.reduce(a),
    "ufunc.outer": lambda a: np.multiply.outer(a, a),
    "ufunc where": lambda a: np.log(a, where=a > 0),
    "reduction where": lambda a: np.sum(a, where=a > 0),
    "reduction initial": lambda a: np.max(a, initial=0),
    "method initial": lambda a: a.max(initial=0),
    "correction": lambda a: np.var(a, correction=1),
    "stable": lambda a: np.argsort(a, stable=True),
    "ones like": lambda a: np.ones(3, like=a),
    "full like": lambda a: np.full(3, 0.5, like=a),
    "eye like": lambda a: np.eye(3, like=a),
    "a function that CuPy lacks": lambda a: np.linalg.multi_dot([a, a.T, a]),
    "another": lambda a: np.nanpercentile(a, 50),
    "a ufunc that CuPy lacks": lambda a: np.spacing(a),
    "generator": lambda a: np.random.default_rng(0).permutation(a),
    "an integer": lambda a: range(a.argmax()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cupy_refuses_is_refused(name):
    if name.startswith("ufunc.") and cupy is not fake_cupy.cupy:
        pytest.skip("CuPy 15 has these methods, 13 and 14 do not")
    with pytest.raises(TypeError):
        REFUSED[name](on(HOST))


@pytest.mark.parametrize("value", [np.ones(3), [1.0, 1.0, 1.0]], ids=["NumPy array", "list"])
def test_a_value_from_the_host_is_refused_in_an_assignment(value):
    with pytest.raises(ValueError):
        on(HOST)[0] = value


def test_arrays_of_no_dimensions_are_read_as_numbers():
    a = on(HOST)
    assert isinstance(a.sum(), cupy.ndarray) and a.sum().shape == ()
    assert float(a.sum()) == pytest.approx(HOST.sum()) and int(a.argmax()) == HOST.argmax()
    assert f"{a[0, 0]:.3f}" == f"{HOST[0, 0]:.3f}" and bool(a[0, 0] == HOST[0, 0])
    assert a.tolist() == HOST.tolist() and a[1, 2].item() == HOST[1, 2]


def test_slices_are_views_and_copies_are_none():
    a = on(HOST)
    a[1:3][0] = 7.0
    assert (a.get()[1] == 7).all() and (HOST[1] != 7).all()
    for other in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.copy(), cupy.array(a)):
        other[:] = 0
    a.get()[:] = 0
    assert (a.get()[1] == 7).all() and cupy.asarray(a) is a


def test_add_at_counts_an_index_as_often_as_it_occurs():
    a = on(np.zeros(3))
    cupy.add.at(a, on([0, 2, 2]), on([1.0, 1.0, 1.0]))
    assert a.get().tolist() == [1, 0, 2]


@pytest.mark.filterwarnings("error")
def test_neither_singular_matrices_nor_overflow_are_reported():
    with np.errstate(all="raise"):
        assert not np.isfinite(np.linalg.inv(on(np.zeros((2, 2)))).get()).any()
        assert np.isinf(np.exp(on([1e4])).get()).all() and np.isnan((on([0.0]) / 0).get()).all()


@stand_in_only
def test_device_gives_the_same_module_under_cupys_name_each_time():
    import cupy as imported

    assert fake_cupy.device() is fake_cupy.device() is imported


@pytest.mark.skipif(cupy is fake_cupy.cupy, reason="CuPy is not here")
def test_the_table_holds_no_name_and_no_parameter_that_cupy_lacks():
    for name, parameters in fake_cupy.entries(fake_cupy.FUNCTIONS):
        there = inspect.signature(functools.reduce(getattr, name.split("."), cupy)).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in there.values()):
            assert {p.strip("*") for p in parameters} - {""} <= set(there), name
    assert all(hasattr(cupy, name) for name in fake_cupy.UFUNCS)
    assert all(hasattr(cupy.ndarray, name) for name, _ in fake_cupy.entries(fake_cupy.METHODS))
