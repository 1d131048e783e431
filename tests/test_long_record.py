"""Long records: read a window at a time they are the same data as in memory; faults are named in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import pyro_langevin as pl
from pyro_langevin.observations import LongRecord, ObservationError, Observations, parquet_rows
from pyro_langevin.observations import row_sources as sources

PARTS = ("values", "times", "mask", "lengths", "origin")


def noisy(*shape: int, missing: float = 0.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=shape)
    values[random.random(shape) < missing] = np.nan
    return values


def same(left: Observations, right: Observations) -> bool:
    alike = all(torch.equal(getattr(left, part), getattr(right, part)) for part in PARTS)
    return alike and left.series_names == right.series_names and left.channels == right.channels


def whole(record: LongRecord, length: int) -> Observations:
    windows = record.windows(length)
    return windows.select(torch.arange(windows.n_series))


class Counted:
    """An array on disk that nobody may load: remembers the most rows that were read together."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.shape = values, values.shape
        self.most = self.total = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        found = self._values[key]
        self.most = max(self.most, found.size)
        self.total += found.size
        return found

    def __array__(self, *_: object) -> np.ndarray:
        raise AssertionError("the whole array was loaded")


# --- the same data


@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=4),
    window=st.integers(2, 45),
    missing=st.sampled_from([0.0, 0.7]),
)
@example(lengths=[40, 7], window=2, missing=0.7)
def test_windows_are_those_of_observations(lengths: list[int], window: int, missing: float) -> None:
    values = [noisy(n, 2, missing=missing, seed=n + i) for i, n in enumerate(lengths)]
    for one in values:
        one[:2] = noisy(2, 2, seed=len(one))  # something is seen in every series
    times = [0.5 * np.arange(n) for n in lengths]
    expected = Observations(values, times).windows(window)
    assert same(whole(LongRecord(values, times), window), expected)
    assert same(whole(LongRecord(values, 0.5), window), expected)
    assert same(whole(LongRecord.of(Observations(values, times)), window), expected)


def test_an_array_of_many_series_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS_AT_ONCE", 50)
    values, times = noisy(9, 20, 1), np.cumsum(0.1 + np.random.default_rng(1).random((9, 20)), -1)
    values[4, 13:], times[4, 13:] = np.nan, np.nan  # a shorter series
    for clock in (times, times[0], 0.3):
        ragged = clock is times
        own = values if ragged else np.nan_to_num(values, nan=0.5)
        expected = Observations(own, clock if np.ndim(clock) else clock * np.arange(20))
        record = LongRecord(own, clock)
        assert same(whole(record, 7), expected.windows(7))
        assert record.n_values == expected.n_values and record.n_rows == int(expected.lengths.sum())
        assert record.typical_gap == pytest.approx(expected.typical_gap)
        assert record.has_equal_gaps is expected.has_equal_gaps


def test_arrays_on_disk_are_records(tmp_path: Path) -> None:
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    values = noisy(300, 2).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    expected = Observations(values, 0.2 * np.arange(300)).windows(64)
    assert same(whole(LongRecord(np.load(tmp_path / "x.npy", mmap_mode="r"), 0.2), 64), expected)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("y", data=values, chunks=(50, 2))
        assert same(whole(LongRecord(file["y"], 0.2), 64), expected)
    array = zarr.create_array(tmp_path / "x.zarr", shape=values.shape, chunks=(50, 2), dtype=values.dtype)
    array[:] = values
    assert same(whole(LongRecord(zarr.open_array(tmp_path / "x.zarr", mode="r"), 0.2), 64), expected)


def test_parquet_is_read_a_row_group_at_a_time(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = noisy(2, 205, 2, missing=0.1)
    times = np.cumsum(np.full((2, 205), 0.25), -1)
    for i in range(2):
        columns = {"t": times[i], "a": values[i, :, 0], "ignored": ["x"] * 205}
        null_where_missing = pyarrow.array(values[i, :, 1], mask=np.isnan(values[i, :, 1]))
        table = pyarrow.table({**columns, "b": null_where_missing})
        parquet.write_table(table, tmp_path / f"m{i}.parquet", row_group_size=40)
    files = sorted(tmp_path.glob("*.parquet"))
    record = LongRecord.from_parquet(files, values=["a", "b"], times="t", time_unit="s")
    expected = Observations(values, times, series_names=["m0", "m1"], channels=["a", "b"])
    assert same(whole(record, 30), expected.windows(30)) and record.time_unit == "s"
    one = LongRecord.from_parquet(files[0], values=["a"], times=0.25)
    expected = Observations(values[0, :, :1], 0.25 * np.arange(205), series_names=["m0"], channels=["a"])
    assert same(whole(one, 30), expected.windows(30))
    with pytest.raises(ObservationError, match=r"expected the columns \['c'\]"):
        LongRecord.from_parquet(files, values=["c"], times="t")


def test_parquet_without_pyarrow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "parquet", None)
    with pytest.raises(ImportError, match="pyarrow"):
        LongRecord.from_parquet("x.parquet", values=["a"])


def test_equal_gaps_are_freed_of_rounding() -> None:
    times = 100.0 + 0.1 * np.arange(50) + 1e-5 * noisy(50)
    record, expected = LongRecord(noisy(50, 1), times), Observations(noisy(50, 1), times)
    assert record.has_equal_gaps
    found = whole(record.with_equal_gaps(), 20).times
    torch.testing.assert_close(found, expected.with_equal_gaps().windows(20).times)
    with pytest.raises(ObservationError, match="within 1%"):
        LongRecord(noisy(50, 1), np.cumsum(1.0 + np.arange(50))).with_equal_gaps()


# --- in bounded memory


def test_no_more_is_read_than_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS_AT_ONCE", 1000)
    array = Counted(noisy(100_000, 1))
    record = LongRecord(array, 0.1)
    assert array.most == 1000 and array.total == 100_000  # once through, a thousand rows at a time
    array.most = array.total = 0
    record.windows(60).select(torch.randint(1000, (64,)))
    assert array.most == 60 and array.total == 64 * 60
    array.total = 0
    assert record.sample(3000, length=100).n_series == 30
    assert array.total == 3000


def test_chunks_go_once_through_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyro_langevin.observations.long_record.ROWS_AT_ONCE", 90)
    values = noisy(3, 100, 1, missing=0.2)
    record = LongRecord(values, 1.0)
    chunks = list(record.chunks(20))
    assert max(int(chunk.lengths.sum()) for chunk in chunks) <= 90
    assert same(Observations.concatenated(chunks), whole(record, 20))


def test_a_sample_is_uniform_over_the_windows() -> None:
    """Every window is as likely, also the short ones at the ends of short series."""
    values = [noisy(45, 1), noisy(10, 1), noisy(25, 1)]
    record = LongRecord(values, 1.0)
    counts: dict[tuple[int, ...], int] = {}
    generator = torch.Generator().manual_seed(0)
    repeats = 900
    for _ in range(repeats):
        for place in record.sample(30, length=10, generator=generator).origin.tolist():
            counts[tuple(place)] = counts.get(tuple(place), 0) + 1
    share = 3 / 9
    assert len(counts) == 9
    deviation = (repeats * share * (1 - share)) ** 0.5
    assert max(abs(count - repeats * share) for count in counts.values()) < 4.5 * deviation


def test_thinned_windows_are_rows_that_are_so_far_apart() -> None:
    """A ramp tells which rows were read."""
    ramp = np.arange(5000.0)[:, None]
    found = LongRecord(ramp, 0.5).thinned_windows(7, 20, 2000)
    assert found.n_times == 20 and 1900 <= int(found.lengths.sum()) <= 2200
    steps = found.values[..., 0].diff(dim=-1)[found.inside[:, 1:]]
    assert (steps == 7.0).all()
    torch.testing.assert_close(found.times, 0.5 * found.times.mul(2).round())
    first = found.values[:, 0, 0]
    assert len(first.unique()) == len(first) and len(set((first % 7).tolist())) == 7
    whole_of_it = Observations(ramp, 0.5 * np.arange(5000)).thinned_windows(7, 20, 10**9)
    assert set(first.tolist()) <= set((whole_of_it.values[..., 0]).flatten().tolist())


# --- what is wrong


BROKEN: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "infinite": lambda v, t: v.__setitem__((150, 1), np.inf),
    "two infinite": lambda v, t: v.__setitem__((slice(99, 150, 50), 0), -np.inf),
    "constant": lambda v, t: v.__setitem__((slice(None), 1), 3.0),
    "never seen": lambda v, t: v.__setitem__((slice(None), 0), np.nan),
    "nothing": lambda v, t: v.__setitem__(slice(None), np.nan),
    "too large": lambda v, t: v.__setitem__((7, 0), 1e300),
    "repeated": lambda v, t: t.__setitem__(100, t[99]),
    "decreasing": lambda v, t: t.__setitem__(slice(120, 122), t[120:122][::-1].copy()),
    "no time": lambda v, t: t.__setitem__(60, np.nan),
}


@pytest.mark.parametrize("fault", list(BROKEN))
@pytest.mark.parametrize("at_once", [50, 10_000])
def test_faults_are_named_as_observations_name_them(fault: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS_AT_ONCE", at_once)
    values, times = noisy(200, 2), 0.1 * np.arange(200)
    BROKEN[fault](values, times)
    with pytest.raises(ObservationError) as expected:
        Observations(values, times)
    with pytest.raises(ObservationError) as found:
        LongRecord(values, times)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        ([1.0, 2.0, 3.0], 1.0, "slices like NumPy"),
        (noisy(2, 3, 4, 5), 1.0, r"got \(2, 3, 4, 5\)"),
        (noisy(30), noisy(29), r"expected one gap, \(30,\)"),
        (noisy(30), -1.0, "positive gap"),
        (noisy(1), 1.0, "at least two rows"),
        ([noisy(30, 1), noisy(30, 2)], 1.0, "the same channels"),
        ([noisy(30, 1)], [1.0, 2.0], "one entry for each"),
        ([noisy(2, 30, 1)], 1.0, "one series"),
        (np.array(["a", "b"]), 1.0, "expected numbers"),
    ],
)
def test_what_is_no_record_is_refused(values: Any, times: Any, message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        LongRecord(values, times)


def test_windows_that_are_not_there_are_refused() -> None:
    with pytest.raises(ObservationError, match="indices from 0 to 4"):
        LongRecord(noisy(50), 1.0).windows(10).select(torch.tensor([5]))


def test_draws_of_a_whole_long_record_are_refused() -> None:
    result = pl.FitResult([])
    with pytest.raises(ValueError, match=r"record\.sample"):
        pl.posterior(result, LongRecord(noisy(50), 1.0))  # type: ignore[arg-type]
