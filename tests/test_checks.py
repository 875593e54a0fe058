"""What arguments are converted, what passes as it is, and what is refused in which words."""

import tracemalloc

import fake_cupy
import numpy as np
import pytest
import scipy.sparse

from minissl._arrays import add_at, normal, on_host, uniform
from minissl._checks import (
    all_finite,
    check_array,
    check_callable,
    check_count,
    check_counts,
    check_integers,
    check_layer,
    check_like,
    check_number,
    check_pair,
    check_plain,
    check_rng,
    check_two,
)

cupy = fake_cupy.device()


# Arrays


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([[1, 2], [3, 4]], "float64"),
        (((1.5,),), "float64"),
        (3.0, "float64"),
        (np.arange(3, dtype=np.int8), "float64"),
        (np.arange(3, dtype=np.uint8), "float64"),
        (np.array([True, False]), "float64"),
        (np.ones(3, np.float32), "float32"),
        (np.ones(3), "float64"),
    ],
)
def test_the_rule_of_conversion(given, dtype):
    a = check_array(given, "a")
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, np.asarray(given))


def test_valid_arrays_pass_untouched():
    for a in (
        np.ones((3, 4)),
        np.asfortranarray(np.ones((3, 4))),
        np.ones((6, 4))[::-2],
        cupy.asarray(np.ones((3, 4))),
    ):
        assert check_array(a, "a") is a
        assert check_array(a, "a", shape=(None, 4), like=a) is a


@pytest.mark.parametrize("listed", [[0.5, 1], (0.5, 1.0), [np.float32(0.5), np.float32(1)]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_take_the_dtype_of_the_call(listed, dtype):
    a = check_array(listed, "a", like=np.ones(1, dtype))
    assert a.dtype == dtype and a.tolist() == [0.5, 1]
    assert check_array(listed, "a").dtype == np.float64


def test_integers_take_the_dtype_of_the_call():
    assert check_array([1, 2], "a", dtype=np.float32).dtype == np.float32
    assert check_array(np.arange(2), "a", like=np.ones(1, np.float32)).dtype == np.float32


def test_lists_take_the_library_of_the_call_and_arrays_keep_theirs():
    here, there = np.ones(2, np.float32), cupy.asarray(np.ones(2, np.float32))
    moved = check_array([1, 2], "a", like=there)
    assert type(moved) is type(there) and moved.dtype == np.float32 and moved.tolist() == [1, 2]
    for a, like in ((here, there), (there, here), (np.arange(2), there), (cupy.arange(2), here)):
        with pytest.raises(TypeError, match=r"a: NumPy and CuPy arrays are mixed; call cupy.asarray\(a\)"):
            check_array(a, "a", like=like)
    assert check_array(cupy.arange(2), "a", like=there).dtype == np.float32


def test_masked_sparse_and_foreign_arrays():
    """A mask would be lost; a sparse matrix would be an object; what NumPy can read is an array."""
    with pytest.raises(TypeError, match="a: got a masked array, expected a plain one; call a.filled"):
        check_array(np.ma.masked_array([1.0, 2.0], [True, False]), "a")
    for sparse in (scipy.sparse.csr_array(np.eye(3)), scipy.sparse.csc_matrix(np.eye(3, dtype=int))):
        for check in (check_array, check_integers):
            with pytest.raises(TypeError, match=r"a: got a sparse \w+, expected a dense array; call a.toarray\(\)"):
                check(sparse, "a")

    class Tensor:
        dtype, reshape = "a library's own", None

        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    assert check_array(Tensor(), "a").tolist() == [1, 1, 1]

    class Column:  # as of a data frame: it has a dtype, but is converted as lists are
        dtype = np.dtype("float64")

        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    assert check_array(Column(), "a", dtype=np.float32).dtype == np.float32
    plain = check_array(np.ones((2, 3)).view(np.matrix), "a")
    assert type(plain) is np.ndarray


def test_a_data_frame_is_an_array():
    pandas = pytest.importorskip("pandas")
    assert check_array(pandas.DataFrame({"u": [1, 2], "v": [0.5, 3]}), "a").tolist() == [[1, 0.5], [2, 3]]
    assert check_integers(pandas.Series([2, 1]), "c").tolist() == [2, 1]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0, np.nan], ValueError, "a: contains NaN or infinity"),
        ([1.0, -np.inf], ValueError, "a: contains NaN or infinity"),
        ([], ValueError, r"a: got an empty array of shape \(0,\)"),
        ([[1.0], [1.0, 2.0]], ValueError, "a: expected an array"),
        ([1.0, 10**400], TypeError, "a: got dtype object"),
        ([cupy.asarray(np.ones(2))] * 2, TypeError, "a: expected an array, but [Ii]mplicit conversion"),
        ("text", TypeError, "a: got dtype <U4"),
        (None, TypeError, "a: got dtype object"),
        (np.array([1, None]), TypeError, "a: got dtype object"),
        (np.ones(2, np.float16), TypeError, "a: got dtype float16, expected float32 or float64"),
        (np.ones(2, complex), TypeError, "a: got dtype complex128"),
        (cupy.asarray(np.array([1, np.nan])), ValueError, "a: contains NaN or infinity"),
        (cupy.asarray(np.ones(2, np.float16)), TypeError, "a: got dtype float16, expected float32 or float64"),
    ],
)
def test_invalid_arrays_are_named(given, error, message):
    with pytest.raises(error, match=message):
        check_array(given, "a")


def test_shapes_and_dtypes_are_named():
    with pytest.raises(ValueError, match=r"a: got shape \(2, 3\), expected \(any\)"):
        check_array(np.ones((2, 3)), "a", ndim=1)
    with pytest.raises(ValueError, match=r"a: got shape \(2, 3\), expected \(any, 4\)"):
        check_array(np.ones((2, 3)), "a", shape=(None, 4))
    with pytest.raises(ValueError, match=r"a: got shape \(2,\), expected \(3\)"):
        check_array(np.ones(2), "a", shape=(3,))
    with pytest.raises(TypeError, match=r"a: got dtype float32, expected float64; call a.astype\('float64'\)"):
        check_array(np.ones(2, np.float32), "a", dtype=np.float64)
    with pytest.raises(TypeError, match=r"a: got dtype float64, expected float32; call a.astype\('float32'\)"):
        check_array(np.ones(2), "a", dtype="float32")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_numbers_whose_squares_overflow_are_finite(dtype):
    """The sum of squares is a shortcut that may say nothing: infinity of finite numbers, zero of none."""
    for size in (1.0, float(np.finfo(dtype).max), float(np.finfo(dtype).tiny), 0.0):
        a = np.full((3, 4), size, dtype)
        for view in (a, a.T, a[:, ::2], cupy.asarray(a)):
            assert all_finite(view)
            assert check_array(view, "a") is view
            for bad in (np.nan, np.inf, -np.inf):
                broken = view.copy()
                broken[1, 1] = bad
                assert not all_finite(broken) and not all_finite(broken.T)
                assert check_array(broken, "a", finite=False) is broken


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_that_overflow_or_vanish(dtype):
    smallest, largest = (np.finfo(dtype).tiny * 1e8) ** 0.5, (np.finfo(dtype).max / 1e3) ** 0.5
    for sign in (1, -1):
        for size in (0.501 * smallest, 0.499 * largest):  # four squares add up, of whichever sign
            valid = np.full((2, 4), sign * size, dtype)[:, ::2]
            for a in (valid, valid.T, valid.copy()):
                assert check_array(a, "a", squares=True) is a
        for size in (1e-5 * smallest, 0.499 * smallest, 0.501 * largest, 1e6 * largest):
            with pytest.raises(ValueError, match="a: the squares add up to .*, expected .*; rescale a"):
                check_array(np.full((2, 2), sign * size, dtype), "a", squares=True)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="a: contains NaN or infinity"):
            check_array(np.array([[1, bad]], dtype), "a", squares=True)
    assert not check_array(np.zeros((2, 2), dtype), "a", squares=True).any()


def test_squares_are_added_up_without_a_copy():
    series = np.random.default_rng(0).standard_normal(20_000)
    for a in (
        np.lib.stride_tricks.sliding_window_view(series, 50),
        np.ones((20_000, 100))[:, ::2],
        np.ones((50, 9000)).T,
    ):
        tracemalloc.start()
        check_array(a, "a", squares=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < a.nbytes / 10


def test_no_check_raises_under_errstate():
    """Sums of squares that overflow or underflow inside a check are its own affair."""
    with np.errstate(all="raise"):
        for size in (1e200, 1e-200, 5e-324):
            assert (check_array([[size, size]], "a") == size).all()
            with pytest.raises(ValueError, match="a: the squares add up to"):
                check_array(np.full((2, 3), size), "a", squares=True)
            with pytest.raises(ValueError, match="a: the squares add up to"):
                check_array(np.full((2, 6), size)[:, ::2], "a", squares=True)


# Integers, numbers, counts


def test_integers():
    assert check_integers([0, 2], "c", low=0, high=3).tolist() == [0, 2]
    assert check_integers([-5, 7], "c").tolist() == check_integers([-5, 7], "c", high=8).tolist() == [-5, 7]
    there = cupy.asarray(np.array([[1, 2]], np.uint8))
    assert check_integers(there, "c", ndim=2, high=3) is there
    with pytest.raises(TypeError, match="c: got dtype float64, expected integers"):
        check_integers([0.0], "c")
    with pytest.raises(TypeError, match="c: got dtype bool, expected integers"):
        check_integers([True], "c")
    with pytest.raises(ValueError, match="c: got values from 0 to 3, expected from 0 to 2"):
        check_integers([0, 3], "c", low=0, high=3)
    with pytest.raises(ValueError, match="c: got values from -1 to 3, expected at least 0"):
        check_integers([-1, 3], "c", low=0)
    with pytest.raises(ValueError, match=r"c: got shape \(1, 1\), expected \(any\)"):
        check_integers([[1]], "c")
    with pytest.raises(ValueError, match=r"c: got shape \(2,\), expected \(3\)"):
        check_integers([1, 2], "c", shape=(3,))
    with pytest.raises(ValueError, match=r"c: got an empty array of shape \(0,\)"):
        check_integers(np.zeros(0, int), "c")


def test_integers_from_the_host_are_moved_to_the_device_but_not_back():
    here, there = np.ones(1), cupy.asarray(np.ones(1))
    for given in ([1, 2], np.array([1, 2]), cupy.asarray(np.array([1, 2]))):
        found = check_integers(given, "c", like=there)
        assert type(found) is type(there) and found.dtype.kind == "i" and found.tolist() == [1, 2]
    assert type(check_integers([1, 2], "c", like=here)) is np.ndarray
    with pytest.raises(TypeError, match="c: NumPy and CuPy arrays are mixed"):
        check_integers(cupy.asarray(np.array([1, 2])), "c", like=here)


def test_numbers():
    for value in (np.float32(0.5), 0, 1, np.int8(1)):
        assert check_number(value, "p", low=0, high=1) == value
        assert type(check_number(value, "p")) is float
    for bad in (-0.1, 1.1, np.nan, np.inf, 10**400, -(10**5000)):
        with pytest.raises(ValueError, match=r"p: got .*, expected a finite number in \[0, 1\]"):
            check_number(bad, "p", low=0, high=1)
    for bad, words in ((10**400, "p: got inf"), (-(10**400), "p: got -inf")):
        with pytest.raises(ValueError, match=words):
            check_number(bad, "p")
    for bad in ("1", None, True, 1j, [1]):
        with pytest.raises(TypeError, match="p: got .* expected a real number"):
            check_number(bad, "p")
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        check_number(0, "p", low=0, high=1, open_low=True, open_high=True)
    with pytest.raises(ValueError, match="p: got 1"):
        check_number(1, "p", high=1, open_high=True)
    with pytest.raises(TypeError, match=r"p: got .*expected a real number; call float\(p\)"):
        check_number(cupy.asarray(np.ones(3)).sum(), "p")


def test_counts():
    assert check_count(np.int64(3), "m", high=3) == 3
    assert type(check_count(np.int64(3), "m")) is int
    with pytest.raises(ValueError, match="m: got 4, expected at least 1, at most 3"):
        check_count(4, "m", high=3)
    with pytest.raises(ValueError, match="m: got 0, expected at least 1$"):
        check_count(0, "m")
    for bad in (1.0, True, "1", None, [1], np.ones(1, int)):
        with pytest.raises(TypeError, match="m: got .* expected an integer"):
            check_count(bad, "m")
    for huge in (2**63, 10**400, 10**5000):
        with pytest.raises(ValueError, match=r"m: got .*, expected at least 1, at most \d+"):
            check_count(huge, "m")


def test_several_counts_come_as_a_tuple_a_list_or_an_array():
    for given in ((4, 3), [4, 3], np.array([4, 3]), np.array([4, 3], np.uint8), cupy.asarray(np.array([4, 3]))):
        for found in (check_counts(given, "sizes", at_least=2), check_pair(given, "shape")):
            assert found == (4, 3) and all(type(value) is int for value in found)
    assert check_counts((), "hidden") == ()
    for bad in (4, None, "46", np.int64(4), [4]):
        with pytest.raises(ValueError, match="sizes: got .* expected at least 2 positive integers"):
            check_counts(bad, "sizes", at_least=2)
    for bad in (4, [4], (4, 6, 3), "46", np.array([4, 6, 3]), np.array(4), None):
        with pytest.raises(ValueError, match="shape: got .* expected a pair of integers"):
            check_pair(bad, "shape")
    for check in (check_counts, check_pair):
        with pytest.raises(TypeError, match="shape: got 6.0"):
            check((4, 6.0), "shape")
        with pytest.raises(TypeError, match="shape: got 6.0"):
            check(np.array([6.0, 4.0]), "shape")
        with pytest.raises(ValueError, match="shape: got 0"):
            check(np.array([4, 0]), "shape")


def test_a_message_is_one_line_that_is_not_long():
    for bad in (np.zeros((9, 9)), list(range(10**5)), "text\n" * 1000):
        for check, kind in ((check_number, TypeError), (check_count, TypeError), (check_pair, ValueError)):
            with pytest.raises(kind) as caught:
                check(bad, "p")
            assert len(str(caught.value)) < 150 and "\n" not in str(caught.value)


# Functions and generators


def test_functions():
    assert check_callable(abs, "task") is abs
    with pytest.raises(TypeError, match="task: got str, expected a function"):
        check_callable("denoise", "task")


def test_the_library_is_named_by_an_array():
    for like in (None, np.ones(1), cupy.asarray(np.ones(1))):
        assert check_like(like) is like
    for bad in ("cupy", np, [1.0], 3):
        with pytest.raises(TypeError, match="like: got .*, expected an array of NumPy or CuPy"):
            check_like(bad)


def test_a_layer_is_counted_from_either_end():
    for layer in (-3, -1, 0, 2, np.int64(2)):
        assert check_layer(layer, [1, 2, 3]) == layer
    for bad in (3, -4):
        with pytest.raises(ValueError, match="layer: got .*, expected at least -3, at most 2"):
            check_layer(bad, [1, 2, 3])
    with pytest.raises(TypeError, match="layer: got 1.5, expected an integer"):
        check_layer(1.5, [1, 2, 3])


def test_two_values_are_returned():
    assert check_two((1, 2), "f") == (1, 2)
    for bad in (1, None, (1,), np.ones(2), (1, 2, 3)):
        with pytest.raises(TypeError, match="f: returned .*, expected two values"):
            check_two(bad, "f")


def test_generators():
    rng = np.random.default_rng(0)
    assert check_rng(rng) is rng
    assert check_rng(5).random() == np.random.default_rng(5).random()
    assert check_rng(2**70).random() == np.random.default_rng(2**70).random()
    assert check_rng(None).random() != check_rng(None).random()
    for bad in ("a", 1.5, True, np.random.RandomState(0)):
        with pytest.raises(TypeError, match="rng: got"):
            check_rng(bad)
    with pytest.raises(ValueError, match="rng: got -1, expected at least 0"):
        check_rng(-1)


# _arrays


@pytest.mark.parametrize("library", [np, cupy], ids=["NumPy", "CuPy"])
def test_random_numbers_have_the_distribution_and_dtype_they_claim(library):
    like = library.asarray(np.ones(1, np.float32))
    z, u = normal(np.random.default_rng(0), (100, 200), like), uniform(np.random.default_rng(0), (100, 200), like)
    assert type(z) is type(u) is type(like)
    assert z.dtype == u.dtype == np.float32
    assert z.shape == u.shape == (100, 200)
    five = 5 / 20_000**0.5
    assert abs(z.mean()) < five
    assert abs((z**2).mean() - 1) < 2**0.5 * five
    assert abs(u.mean() - 0.5) < five / 12**0.5
    assert 0 <= u.min()
    assert u.max() < 1


@pytest.mark.parametrize("draw", [normal, uniform])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_seed_draws_the_same_numbers_on_every_device(draw, dtype):
    here, there = (draw(np.random.default_rng(1), (3, 2), library.ones(1, dtype)) for library in (np, cupy))
    assert here.tobytes() == on_host(there).tobytes() and here.dtype == there.dtype == dtype


def test_on_host_copies_only_from_the_device():
    a = np.ones(3)
    assert on_host(a) is a
    assert type(on_host(cupy.asarray(a))) is np.ndarray


@pytest.mark.parametrize("library", [np, cupy], ids=["NumPy", "CuPy"])
def test_add_at_counts_an_index_as_often_as_it_occurs(library):
    a, index = library.zeros((3, 2)), library.asarray(np.array([0, 2, 2, 2]))
    add_at(a, index, library.asarray(np.arange(8.0).reshape(4, 2)))
    assert a.tolist() == [[0, 1], [0, 0], [2 + 4 + 6, 3 + 5 + 7]]


def test_check_plain_keeps_what_it_is_given():
    for a in (np.ones(2, np.float16), np.array(["a"]), cupy.asarray(np.ones(2, np.float16))):
        assert check_plain(a, "a") is a
    assert check_plain([[1, 2]], "a").tolist() == [[1, 2]]
