"""Observations: containers agree, bad input is refused, windows know where they came from."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pyro_langevin.observations import ObservationError, Observations


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 10, 2))


def same(left: Observations, right: Observations) -> bool:
    names = ("values", "times", "mask", "lengths", "origin")
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in names)


def test_containers_agree(values: np.ndarray) -> None:
    times = np.linspace(0.0, 3.0, 10)
    expected = Observations(values, times)
    assert expected.values.dtype == torch.get_default_dtype() and expected.times.dtype == torch.float64
    assert same(expected, Observations(torch.as_tensor(values), torch.as_tensor(times)))
    assert same(expected, Observations(list(values), times))
    assert same(expected, Observations(values, [times] * 3))
    assert same(expected, Observations(values, np.tile(times, (3, 1))))
    frames = [pd.DataFrame(series, index=times, columns=["a", "b"]) for series in values]
    from_frames = Observations(frames)
    assert same(expected, from_frames) and from_frames.channels == ["a", "b"]
    array = xr.DataArray(
        values, dims=("series", "time", "channel"), coords={"time": times, "series": ["x", "y", "z"]}
    )
    from_xarray = Observations(array.transpose("channel", "time", "series"))
    assert same(expected, from_xarray) and from_xarray.series_names == ["x", "y", "z"]


def test_one_and_two_axes_are_one_series(values: np.ndarray) -> None:
    assert Observations(values[0]).values.shape == (1, 10, 2)
    assert Observations(values[0, :, 0]).values.shape == (1, 10, 1)
    assert Observations(list(values[0, :, 0])).values.shape == (1, 10, 1)
    assert Observations(pd.Series(values[0, :, 0], name="f")).channels == ["f"]
    assert Observations(xr.DataArray(values[:, :, 0], dims=("series", "time"))).values.shape == (3, 10, 1)


def test_ragged_series_are_padded_on_increasing_times(values: np.ndarray) -> None:
    observations = Observations(
        [values[0, :4], values[1], values[2, :7]], [np.arange(4) * 0.5, None, np.arange(7)]
    )
    assert observations.lengths.tolist() == [4, 10, 7]
    assert observations.times[0].tolist() == [i * 0.5 for i in range(10)]
    assert (observations.times.diff(dim=-1) > 0).all()
    assert not observations.mask[0, 4:].any() and observations.mask[0, :4].all()
    assert (observations.values[0, 4:] == 0).all()
    assert observations.typical_gap == 1.0


def test_nan_tail_of_times_is_padding(values: np.ndarray) -> None:
    times = np.tile(np.arange(10.0), (3, 1))
    times[1, 6:] = np.nan
    values[1, 6:] = np.nan
    assert Observations(values, times).lengths.tolist() == [10, 6, 10]
    values[1, 6] = 1.0
    with pytest.raises(ObservationError, match="expected finite times"):
        Observations(values, times)


def test_nan_and_mask_both_mark_missing(values: np.ndarray) -> None:
    values[0, 2, 1] = np.nan
    mask = np.ones(values.shape, dtype=bool)
    mask[1, 3, 0] = False
    observations = Observations(values, mask=mask)
    assert (~observations.mask).nonzero().tolist() == [[0, 2, 1], [1, 3, 0]]
    assert observations.values[0, 2, 1] == 0 and observations.values[1, 3, 0] == 0
    by_row = Observations(values, mask=torch.ones(3, 10, dtype=torch.bool))
    assert (~by_row.mask).sum() == 1
    # What the mask hides is not looked at.
    values[1, 3, 0] = np.inf
    assert same(observations, Observations(values, mask=mask))


def test_missing_rows_at_the_end_are_kept(values: np.ndarray) -> None:
    values[0, 8:] = np.nan
    assert Observations(values).lengths.tolist() == [10, 10, 10]


def _with(values: np.ndarray, place: object, entry: float) -> np.ndarray:
    changed = values.copy()
    changed[place] = entry  # type: ignore[index]
    return changed


RNG_VALUES = np.random.default_rng(1).normal(size=(3, 10, 2))
REFUSED = {
    "empty": ([[], {}], "got no values"),
    "empty array": ([np.zeros((2, 0, 1)), {}], "got no values"),
    "scalar": ([3.0, {}], r"got \(\)"),
    "one observation": ([RNG_VALUES[:, :1], {}], "one observation or none"),
    "infinite": ([_with(RNG_VALUES, (1, 3, 1), np.inf), {}], "inf at row 3 of channel 1 in series '1'"),
    "too large": ([RNG_VALUES * 1e39, {}], "rescale"),
    "all-missing channel": (
        [_with(RNG_VALUES, (..., 1), np.nan), {"channels": ["a", "b"]}],
        "channel 'b'; drop it",
    ),
    "constant channel": ([_with(RNG_VALUES, (..., 0), 0.3), {}], "constant 0.3 in channel 'y0'; drop it"),
    "all-missing series": ([_with(RNG_VALUES, 1, np.nan), {}], "none in series '1'; drop it"),
    "unsorted": ([RNG_VALUES, {"times": [0, 1, 2, 5, 4, 6, 7, 8, 9, 10]}], "5 at row 3, then 4 .*sort"),
    "repeated": ([RNG_VALUES, {"times": [0, 1, 1, 2, 3, 4, 5, 6, 7, 8]}], "repeated .* 1 at row 1, then 1"),
    "NaN time": ([RNG_VALUES, {"times": [0, np.nan, *range(2, 10)]}], "nan at row 1"),
    "too few times": ([RNG_VALUES, {"times": np.arange(9.0)}], r"expected \(10,\).*got \(9,\)"),
    "times of too few series": ([RNG_VALUES, {"times": np.ones((2, 10))}], "each of the 3 series, got 2"),
    "mask of another shape": ([RNG_VALUES, {"mask": np.ones((3, 9, 2), bool)}], r"got \(3, 9, 2\)"),
    "mask of numbers": ([RNG_VALUES, {"mask": np.full((3, 10), 0.5)}], "use a bool array"),
    "text": ([[["a"], ["b"]], {}], "got 'a'"),
    "text column": (
        [pd.DataFrame({"t": [1.0, 2.0], "u": ["x", "y"]}), {}],
        "column 'u': expected numbers, got 'x'",
    ),
    "dates": ([pd.DataFrame(RNG_VALUES[0], index=pd.date_range("2020", periods=10)), {}], "got dates"),
    "complex": ([RNG_VALUES.astype(complex), {}], "expected numbers"),
    "four axes": ([RNG_VALUES[None], {}], r"got \(1, 3, 10, 2\)"),
    "different channels": (
        [[RNG_VALUES[0], RNG_VALUES[1][:, :1]], {}],
        "expected 2 channels .* got 1 in series '1'",
    ),
    "list of sets": ([[RNG_VALUES, RNG_VALUES], {}], "got 3 series in entry 0"),
    "Dataset": ([xr.Dataset({"v": ("time", [1.0, 2.0])}), {}], r"data\['v'\]"),
    "other dimensions": ([xr.DataArray(RNG_VALUES, dims=("a", "time", "b")), {}], "rename"),
    "MultiIndex": (
        [pd.DataFrame({"y": [1.0, 2.0]}, index=pd.MultiIndex.from_tuples([(0, 1), (0, 2)])), {}],
        "MultiIndex",
    ),
    "channel names": ([RNG_VALUES, {"channels": ["a"]}], "expected 2 names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(case: str) -> None:
    (values, options), message = REFUSED[case]
    with pytest.raises(ObservationError, match=message) as error:
        Observations(values, **options)
    assert "\n" not in str(error.value)


def test_rounding_of_a_constant_is_no_signal() -> None:
    values = np.random.default_rng(0).normal(size=(20, 2)) * 1e-4 + [0.0, 1000.0]
    with pytest.raises(ObservationError, match="channel 'y1'"):
        Observations(values)


@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=5),
    length=st.integers(2, 12),
    data=st.data(),
)
def test_windows_cover_the_series_they_came_from(
    lengths: list[int], length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.none() | st.integers(1, length))
    rng = np.random.default_rng(sum(lengths))
    series = [rng.normal(size=(n, 2)) for n in lengths]
    times = [np.cumsum(rng.uniform(0.1, 1.0, size=n)) for n in lengths]
    observations = Observations(series, times)
    windows = observations.windows(length, stride=stride)
    assert windows.n_times == length
    assert (windows.times.diff(dim=-1) > 0).all() and (windows.lengths >= 2).all()
    seen = [np.zeros(n, dtype=bool) for n in lengths]
    for window, (source, start) in enumerate(windows.origin.tolist()):
        n = int(windows.lengths[window])
        kept = slice(start, start + n)
        assert torch.equal(windows.values[window, :n], observations.values[source, kept])
        assert torch.equal(windows.times[window, :n], observations.times[source, kept])
        assert not windows.mask[window, n:].any() and (windows.values[window, n:] == 0).all()
        seen[source][kept] = True
    for rows in seen:
        assert rows[:-1].all()  # only a lone last row may be left out


def test_windows_use_no_row_twice_and_drop_what_is_unobserved() -> None:
    values = np.random.default_rng(0).normal(size=(2, 21, 1))
    values[0, 5:10] = np.nan
    windows = Observations(values, series_names=["p", "q"]).windows(5)
    assert windows.origin.tolist() == [[0, 0], [0, 10], [0, 15], [1, 0], [1, 5], [1, 10], [1, 15]]
    assert windows.series_names[1] == "p[10:15]"


def test_windows_of_windows_keep_the_first_origin(values: np.ndarray) -> None:
    twice = Observations(values).select([2, 0]).windows(6).windows(3)
    assert twice.origin.tolist() == [[2, 0], [2, 3], [2, 6], [0, 0], [0, 3], [0, 6]]
    assert twice.lengths.tolist() == [3, 3, 3, 3, 3, 3]


def test_windows_may_lack_a_channel(values: np.ndarray) -> None:
    values[:, :5, 0] = np.nan
    windows = Observations(values).windows(5)
    assert windows.n_series == 6 and not windows.mask[0, :, 0].any()


@pytest.mark.parametrize(("length", "stride"), [(1, None), (5, 0)])
def test_windows_refuse_nonsense(values: np.ndarray, length: int, stride: int | None) -> None:
    with pytest.raises(ObservationError, match="windows: expected"):
        Observations(values).windows(length, stride=stride)


def test_select_and_to(values: np.ndarray) -> None:
    observations = Observations(values, time_unit="s", series_names=["a", "b", "c"])
    chosen = observations.select(torch.tensor([False, True, True]))
    assert chosen.series_names == ["b", "c"] and chosen.origin[:, 0].tolist() == [1, 2]
    assert torch.equal(chosen.values, observations.values[1:])
    double = observations.to(dtype=torch.float64)
    assert double.values.dtype == torch.float64 and double.mask.dtype == torch.bool
    assert repr(double) == "Observations(3 series, 10 times, 2 channels, typical gap 1 s)"


def test_observations_are_frozen(values: np.ndarray) -> None:
    observations = Observations(values)
    with pytest.raises(AttributeError):
        observations.values = observations.values + 1  # type: ignore[misc]


# --- breaks


def test_series_are_cut_where_rows_are_far_apart() -> None:
    values = np.random.default_rng(0).normal(size=(2, 9, 1))
    values[0, 4] = np.nan
    times = np.array([[0, 1, 2, 50, 51, 52, 90, 130, 131], [0, 1, 2, 3, 4, 5, 6, 7, 8]], dtype=float)
    data = Observations(values, times, series_names=["broken", "whole"])
    assert data.longest_gap == 48.0
    cut = data.cut_at_gaps(10.0)
    assert cut.series_names == ["broken[0:3]", "broken[3:6]", "broken[7:9]", "whole"]  # row 6 is alone
    assert cut.lengths.tolist() == [3, 3, 2, 9]
    assert cut.origin.tolist() == [[0, 0], [0, 3], [0, 7], [1, 0]]
    for piece, (series, first) in enumerate(cut.origin.tolist()):
        n = int(cut.lengths[piece])
        assert torch.equal(cut.times[piece, :n], data.times[series, first : first + n])
        assert torch.equal(cut.values[piece, :n], data.values[series, first : first + n])
        assert torch.equal(cut.mask[piece, :n], data.mask[series, first : first + n])
        assert not bool(cut.mask[piece, n:].any())
    assert bool((cut.times.diff(dim=-1) > 0).all()) and cut.longest_gap == 1.0


def test_padded_series_are_cut_within_their_length() -> None:
    data = Observations([np.arange(6.0) ** 2, np.arange(3.0) ** 3], [[0, 1, 2, 3, 40, 41], [0, 30, 31]])
    cut = data.cut_at_gaps(5.0)
    assert cut.origin.tolist() == [[0, 0], [0, 4], [1, 1]] and cut.lengths.tolist() == [4, 2, 2]
    whole = data.cut_at_gaps(50.0)
    assert whole.series_names == data.series_names and torch.equal(whole.lengths, data.lengths)


def test_gaps_shorter_than_all_there_are_leave_nothing() -> None:
    with pytest.raises(ObservationError, match="cut_at_gaps: expected rows that are at most 0.5 apart"):
        Observations(np.random.default_rng(0).normal(size=20)).cut_at_gaps(0.5)


def test_values_may_be_hidden_of_whole_channels_too(values: np.ndarray) -> None:
    whole = Observations(values)
    hidden = torch.tensor([True, False])
    seen = whole.without(hidden)
    assert not bool(seen.mask[..., 0].any()) and bool(seen.mask[..., 1].all())
    assert float(seen.values[..., 0].abs().max()) == 0.0
    assert torch.equal(seen.values[..., 1], whole.values[..., 1]) and torch.equal(seen.times, whole.times)
    assert bool(whole.mask.all())  # the data themselves are left alone
    again = seen.without(torch.zeros(3, 10, 1, dtype=torch.bool))
    assert torch.equal(again.mask, seen.mask)
