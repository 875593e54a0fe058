"""What passes the door, and what is turned away with which words."""

import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from minissl.backend import array, count, generator, integers, namespace, normal, number, pair, uniform


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([[1, 2], [3, 4]], "float64"),
        (((1.5,),), "float64"),
        (3.0, "float64"),
        (np.arange(3, dtype=np.int8), "float64"),
        (np.array([True, False]), "float64"),
        (np.ones(3, np.float32), "float32"),
        (np.ones(3), "float64"),
    ],
)
def test_the_rule_of_conversion(given, dtype):
    a = array(given, "a")
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, np.asarray(given))


def test_fit_arrays_pass_untouched():
    for a in (np.ones((3, 4)), np.asfortranarray(np.ones((3, 4))), np.ones((6, 4))[::-2]):
        assert array(a, "a") is a


@pytest.mark.parametrize("listed", [[0.5, 1], (0.5, 1.0), [np.float32(0.5), np.float32(1)]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_take_the_dtype_of_the_call(listed, dtype):
    a = array(listed, "a", like=np.ones(1, dtype))
    assert a.dtype == dtype and a.tolist() == [0.5, 1]
    assert array(listed, "a").dtype == np.float64


def test_masked_sparse_and_foreign_arrays():
    """A mask would be lost; what NumPy cannot read is no array; what it can read is one."""
    with pytest.raises(TypeError, match="a: got a masked array, expected a plain one; call a.filled"):
        array(np.ma.masked_array([1.0, 2.0], [True, False]), "a")
    with pytest.raises(TypeError, match="a: got dtype object"):
        array(scipy.sparse.csr_array(np.eye(3)), "a")

    class Tensor:
        dtype, reshape = "a library's own", None

        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    assert array(Tensor(), "a").tolist() == [1, 1, 1]

    class Column:  # as of a data frame: it has a dtype, but is converted as lists are
        dtype = np.dtype("float64")

        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    assert array(Column(), "a", dtype=np.float32).dtype == np.float32
    plain = array(np.ones((2, 3)).view(np.matrix), "a")
    assert type(plain) is np.ndarray


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_that_overflow_or_vanish(dtype):
    smallest, largest = (np.finfo(dtype).tiny * 1e8) ** 0.5, (np.finfo(dtype).max / 1e3) ** 0.5
    for sign in (1, -1):
        for size in (0.501 * smallest, 0.499 * largest):  # four squares add up, of whichever sign
            fit = np.full((2, 4), sign * size, dtype)[:, ::2]
            for a in (fit, fit.T, fit.copy()):
                assert array(a, "a", squares=True) is a
        for size in (1e-5 * smallest, 0.499 * smallest, 0.501 * largest, 1e6 * largest):
            with pytest.raises(ValueError, match="a: the squares add up to .*, expected .*; rescale a"):
                array(np.full((2, 2), sign * size, dtype), "a", squares=True)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="a: contains NaN or infinity"):
            array(np.array([[1, bad]], dtype), "a", squares=True)
    assert not array(np.zeros((2, 2), dtype), "a", squares=True).any()


def test_squares_are_added_up_without_a_copy():
    series = np.random.default_rng(0).standard_normal(20_000)
    for a in (
        np.lib.stride_tricks.sliding_window_view(series, 50),
        np.ones((20_000, 100))[:, ::2],
        np.ones((50, 9000)).T,
    ):
        tracemalloc.start()
        array(a, "a", squares=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < a.nbytes / 10


def test_integers_take_the_dtype_of_the_call():
    assert array([1, 2], "a", dtype=np.float32).dtype == np.float32
    assert array(np.arange(2), "a", like=np.ones(1, np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0, np.nan], ValueError, "a: contains NaN or infinity"),
        ([1.0, -np.inf], ValueError, "a: contains NaN or infinity"),
        ([], ValueError, r"a: got an empty array of shape \(0,\)"),
        ([[1.0], [1.0, 2.0]], ValueError, "a: expected an array"),
        ("text", TypeError, "a: got dtype <U4"),
        (None, TypeError, "a: got dtype object"),
        (np.array([1, None]), TypeError, "a: got dtype object"),
        (np.ones(2, np.float16), TypeError, "a: got dtype float16, expected float32 or float64"),
        (np.ones(2, complex), TypeError, "a: got dtype complex128"),
    ],
)
def test_unfit_arrays_are_named(given, error, message):
    with pytest.raises(error, match=message):
        array(given, "a")


def test_shapes_and_dtypes_are_named():
    with pytest.raises(ValueError, match=r"a: got shape \(2, 3\), expected \(any\)"):
        array(np.ones((2, 3)), "a", ndim=1)
    with pytest.raises(ValueError, match=r"a: got shape \(2, 3\), expected \(any, 4\)"):
        array(np.ones((2, 3)), "a", shape=(None, 4))
    with pytest.raises(TypeError, match=r"a: got dtype float64, expected float32; call a.astype\('float32'\)"):
        array(np.ones(2), "a", dtype="float32")


def test_a_data_frame_is_an_array():
    pandas = pytest.importorskip("pandas")
    assert array(pandas.DataFrame({"u": [1, 2], "v": [0.5, 3]}), "a").tolist() == [[1, 0.5], [2, 3]]


def test_integers():
    assert integers([0, 2], "c", low=0, high=3).tolist() == [0, 2]
    assert integers([-5, 7], "c").tolist() == integers([-5, 7], "c", high=8).tolist() == [-5, 7]
    with pytest.raises(TypeError, match="c: got dtype float64, expected integers"):
        integers([0.0], "c")
    with pytest.raises(ValueError, match="c: got values from 0 to 3, expected from 0 to 2"):
        integers([0, 3], "c", low=0, high=3)
    with pytest.raises(ValueError, match="c: got shape"):
        integers([[1]], "c")


def test_numbers_and_counts():
    for value in (np.float32(0.5), 0, 1, np.int8(1)):
        assert number(value, "p", low=0, high=1) == value
        assert type(number(value, "p")) is float
    for bad in (-0.1, 1.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"p: got .*, expected a finite number in \[0, 1\]"):
            number(bad, "p", low=0, high=1)
    for bad in ("1", None, True, 1j, [1]):
        with pytest.raises(TypeError, match="p: got .* expected a real number"):
            number(bad, "p")
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        number(0, "p", low=0, high=1, open_low=True, open_high=True)
    with pytest.raises(ValueError, match="p: got 1"):
        number(1, "p", high=1, open_high=True)
    assert count(np.int64(3), "m", high=3) == 3
    assert type(count(np.int64(3), "m")) is int
    with pytest.raises(ValueError, match="m: got 4, expected at least 1, at most 3"):
        count(4, "m", high=3)
    for bad in (1.0, True, "1"):
        with pytest.raises(TypeError, match="m: got .* expected an integer"):
            count(bad, "m")


def test_pairs():
    assert pair([np.int64(4), 6], "shape") == (4, 6)
    for bad in (4, [4], (4, 6, 3), "46", np.array([4, 6])):
        with pytest.raises(ValueError, match="shape: got .* expected a pair of integers"):
            pair(bad, "shape")
    with pytest.raises(TypeError, match="shape: got 6.0"):
        pair((4, 6.0), "shape")


def test_generators():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
    assert generator(5).random() == np.random.default_rng(5).random()
    for bad in ("a", 1.5, True, np.random.RandomState(0)):
        with pytest.raises(TypeError, match="rng: got"):
            generator(bad)


def test_random_numbers_have_the_distribution_and_dtype_they_claim():
    like = np.ones(1, np.float32)
    z, u = normal(np.random.default_rng(0), (100, 200), like), uniform(np.random.default_rng(0), (100, 200), like)
    assert z.dtype == u.dtype == np.float32
    assert z.shape == u.shape == (100, 200)
    five = 5 / 20_000**0.5
    assert abs(z.mean()) < five
    assert abs((z**2).mean() - 1) < 2**0.5 * five
    assert abs(u.mean() - 0.5) < five / 12**0.5
    assert 0 <= u.min()
    assert u.max() < 1


def test_namespace(monkeypatch):
    assert namespace(np.ones(1), [1], None, 3.0) is np
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert namespace(np.ones(1), [1], None, 3.0) is np
