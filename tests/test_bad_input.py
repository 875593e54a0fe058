"""What every public function does with what it should not be given.

The table in calls/ has each public function with a small call that works, and says what each argument is; arguments.py
has the kinds of arguments. Other forms of the same numbers must lead to the same result. The `bad` values of each kind
must be refused by a ValueError or TypeError that begins with the argument's name and says what was expected; where one
is let through, the row says why. No call modifies its arguments, whatever it does.
"""

import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
from calls import ROWS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minissl

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a search on seven samples need not converge

EXEMPT = {  # what has no row, and why
    "schedules": "functions of one number, which training calls",
    "checkpoint": "paths and files: tests/nn/test_checkpoint.py",
    "eigen": "computes what pca.by_svd has checked",
    "pca.reconstruction_error": "computes what pca.by_reconstruction has checked",
    "pca.power_iteration": "computes what pca.by_variance has checked",
    "pca.locally_optimal_iteration": "computes what pca.by_variance has checked",
    "words.Vocabulary": "what words.vocabulary returns",
    "optimizers.adam": "the formula, which Adam is tested against",
}


def outcome(name, changed=None, value=None):
    """What a call of the table does: ("gives", numbers) or ("refuses", error). Its arguments must stay as they are."""
    call, _, arguments = ROWS[name]
    values = {key: argument.value for key, argument in arguments.items()} | ({changed: value} if changed else {})
    before = {key: snapshot(v) for key, v in values.items()}
    try:
        result = "gives", numbers(call(**values))
    except (ValueError, TypeError) as error:
        result = "refuses", error
    assert {key: snapshot(v) for key, v in values.items()} == before, "an argument was modified"
    return result


def snapshot(value):
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value) if isinstance(value, (list, tuple, float, str)) else id(value)


def numbers(result):
    """All arrays and numbers of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in numbers(part)]
    return [] if result is None or isinstance(result, (str, bool)) else [np.asarray(result)]


def same(a, b, rtol):
    return len(a) == len(b) and all(np.allclose(u, v, rtol=rtol, atol=1e-9) for u, v in zip(a, b, strict=True))


def refused(name, key, what, error):
    """Whether an error names the argument, or either of two that do not agree, and says what was expected."""
    arguments = ROWS[name].arguments
    either = arguments if what.startswith(("axis", "mixed")) else [key]
    names = "|".join(arguments[k].name or k for k in either)
    return isinstance(error, (ValueError, TypeError)) and re.match(
        f"({names}): .*(expected|call|cut)", str(error), re.DOTALL
    )


CASES = [(name, key) for name, row in ROWS.items() for key in row.arguments]
ARRAYS = [(name, key) for name, key in CASES if ROWS[name].arguments[key].kind in ("array", "alone")]


@pytest.mark.parametrize("name", ROWS)
def test_the_calls_of_the_table_work(name):
    verdict, result = outcome(name)
    assert verdict == "gives", result
    assert all(np.isfinite(a).all() for a in result)


@pytest.mark.parametrize(("name", "key"), CASES)
def test_the_same_numbers_in_another_form_give_the_same_result(name, key):
    argument, expected = ROWS[name].arguments[key], outcome(name)[1]
    for form, change in argument.forms.items():
        verdict, result = outcome(name, key, change(argument.value))
        assert verdict == "gives", (form, result)
        assert same(result, expected, ROWS[name].rtol), form


def test_a_data_frame_is_an_array():
    pandas = pytest.importorskip("pandas")
    for name, key in CASES:
        value = ROWS[name].arguments[key].value
        if ROWS[name].arguments[key].kind in ("array", "alone", "integers") and value.ndim < 3:
            frame = pandas.Series(value) if value.ndim == 1 else pandas.DataFrame(value)
            verdict, result = outcome(name, key, frame)
            assert verdict == "gives", (name, key, result)
            assert same(result, outcome(name)[1], ROWS[name].rtol), (name, key)


@pytest.mark.parametrize(("name", "key"), ARRAYS)
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_whole_numbers_are_the_floats_that_they_stand_for(name, key, dtype):
    whole = np.round(3 * abs(ROWS[name].arguments[key].value)).astype(dtype)
    verdict, expected = outcome(name, key, whole.astype(float))
    again, result = outcome(name, key, whole)
    assert again == verdict, (expected, result)
    assert same(result, expected, ROWS[name].rtol) if verdict == "gives" else refused(name, key, dtype, result)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("name", "key"), CASES)
def test_what_is_invalid_is_refused_by_name(name, key):
    argument = ROWS[name].arguments[key]
    for what, value in argument.bad.items():
        verdict, result = outcome(name, key, value)
        if what in argument.allowed:
            assert verdict == "gives", (what, result)
        else:
            assert verdict == "refuses", (what, result)
            assert refused(name, key, what, result), (what, result)


@pytest.mark.parametrize(("name", "key"), [case for case in ARRAYS if ROWS[case[0]].arguments[case[1]].kind == "alone"])
def test_single_precision_is_as_good_where_no_other_dtype_is_given(name, key):
    """Or refused: gradient checks are in float64. Noise differs from one precision to the other."""
    verdict, result = outcome(name, key, ROWS[name].arguments[key].value.astype(np.float32))
    if verdict == "gives":
        assert "rng" in ROWS[name].arguments or same(result, outcome(name)[1], max(2e-3, ROWS[name].rtol))
        assert all(np.isfinite(a).all() for a in result)
    else:
        assert refused(name, key, "mixed dtype", result)


@pytest.mark.parametrize(("name", "key"), ARRAYS)
def test_one_sample_and_one_feature_work_or_are_refused(name, key):
    value = ROWS[name].arguments[key].value
    for axis in range(value.ndim):
        verdict, result = outcome(name, key, value.take([0], axis))
        if verdict == "gives":
            assert all(np.isfinite(a).all() for a in result), axis
        else:
            assert refused(name, key, "axis", result), (axis, result)


# Floating-point errors that a program may have asked NumPy to raise


@pytest.mark.parametrize("name", ROWS)
def test_the_calls_of_the_table_work_where_numpy_raises_all_floating_point_errors(name):
    with np.errstate(all="raise"):
        raising = outcome(name)
    assert raising[0] == "gives"
    assert same(raising[1], outcome(name)[1], 1e-15)


# Anything at all

FLOATS = st.floats(-100, 100, width=16) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e-30])
ANY_SHAPE = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
ANY_ARRAY = st.one_of(
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.float16, np.longdouble]), ANY_SHAPE, elements=FLOATS),
    hnp.arrays(hnp.integer_dtypes() | hnp.boolean_dtypes() | hnp.complex_number_dtypes(), ANY_SHAPE),
    hnp.arrays(hnp.unicode_string_dtypes() | hnp.datetime64_dtypes() | st.just(object), ANY_SHAPE),
)
ANY_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), FLOATS, st.text(max_size=3), st.complex_numbers())
ANYTHING = ANY_ARRAY | ANY_SCALAR | st.lists(ANY_SCALAR, max_size=3) | st.tuples(ANY_SCALAR, ANY_SCALAR)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_comes_is_computed_with_or_refused(name, data):
    """Finite numbers, or an error that says of one of the arguments what was expected."""
    key = data.draw(st.sampled_from(sorted(ROWS[name].arguments)))
    value = data.draw(ANYTHING)
    try:
        verdict, result = outcome(name, key, value)
    except FloatingPointError:
        return
    if verdict == "refuses":
        assert isinstance(result, FloatingPointError) or refused(name, key, "mixed", result), result
    elif not ROWS[name].arguments[key].allowed:
        assert all(np.isfinite(a).all() for a in result)


# Nothing is left out


def public_names():
    """Every public function, method, property that can be set, and class with a constructor of its own."""
    for found in pkgutil.walk_packages(minissl.__path__, "minissl."):
        if found.ispkg or found.name.split(".")[-1].startswith("_"):
            continue
        module = found.name.split(".")[-1]
        for name, item in vars(importlib.import_module(found.name)).items():
            if name.startswith("_") or getattr(item, "__module__", None) != found.name:
                continue
            if inspect.isfunction(item) or "__init__" in vars(item):
                yield f"{module}.{name}"
            for method, what in vars(item).items() if inspect.isclass(item) else ():
                written_here = inspect.isfunction(what) and what.__module__ == item.__module__
                if (written_here or getattr(what, "fset", None)) and (method == "__call__" or method[0] != "_"):
                    yield f"{module}.{name}.{method}"


def test_every_public_function_has_a_row():
    rows = {name.split(" ")[0] for name in ROWS}
    missing = [n for n in public_names() if n not in rows and n not in EXEMPT and n.split(".")[0] not in EXEMPT]
    assert missing == []
    inherited = {name for name in rows if name.startswith("embedding.EmbeddingMLP.")}  # the same interface as MLP
    assert rows - inherited <= set(public_names())
    assert len(rows) > 80
