"""Observations from one or several files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.observations import Observations
from pyro_langevin.tables.array_files import read_netcdf, read_parquet
from pyro_langevin.tables.dates import read_times
from pyro_langevin.tables.delimited import read_delimited
from pyro_langevin.tables.order import check_order, warn_of_gaps
from pyro_langevin.tables.table import Table, TableError, TableWarning
from pyro_langevin.tables.transform import Transform

Array = NDArray[np.float64]


def read_table(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    time: str,
    values: str | Sequence[str],
    series: str | None = None,
    transform: str | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    missing: str | Sequence[str] = (),
    time_range: tuple[float, float] | None = None,
    time_unit: str = "",
) -> Observations:
    """Observations in files: delimited text (also with comment lines), ``.parquet`` or ``.nc``.

    Every file is one series, or holds several that a column tells apart. An empty entry is a missing value, as are NA,
    N/A, NaN, null and none; a row with neither time nor values is skipped.

    Args:
        paths: One file or several.
        time: Column of the times; they must increase strictly within a series. Dates (ISO 8601, such as 2024-03-31 or
            2024-03-31 09:58:30.1) are counted from the earliest of their file.
        values: Column or columns of the channels. In NetCDF, the name of a variable with a dimension more
            stands for all its entries.
        series: Column that tells the series of one file apart. Default: a file is a series.
        transform: Expression over the columns that replaces ``values``, such as ``-log(Ca)``; see
            :meth:`Transform.parse <pyro_langevin.tables.transform.Transform.parse>`.
        delimiter: Of text files. Default: found out.
        decimal: Decimal sign of text files, "." or ",".
        missing: What else stands for a missing value, such as "n.d." or "-999".
        time_range: Earliest and latest time to keep.
        time_unit: Unit of the times, for tables and figures. Dates are counted in it: ns, us, ms, s (the default of
            dates), min, h, d or yr.

    Raises:
        TableError: A file or column that is not there, a file that cannot be read, text in a column of
            numbers, times that do not increase, or no row in ``time_range``.
        ObservationError: What is read cannot be used, for example a constant channel.

    Warns:
        TableWarning: Where ``transform`` is undefined, such as the logarithm of 0: the values become missing. Where a
            gap is more than a thousand times as long as the usual one: another series may begin there.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, (str, PathLike)) else paths)]
    wanted = [values] if isinstance(values, str) else list(values)
    if not files or not wanted:
        raise TableError("tables: expected at least one file and one value column, got none; name them")
    if time_range is not None and not time_range[0] < time_range[1]:
        raise TableError(f"time range: expected the earliest time first, got {time_range}; exchange them")
    if delimiter is not None and len(delimiter) != 1:
        raise TableError(
            f"delimiter: expected one character, got {delimiter!r}; leave it out to have it found"
        )
    if decimal not in (".", ","):
        raise TableError(f"decimal: expected '.' or ',', got {decimal!r}; name the decimal sign of the numbers")
    absent = [missing] if isinstance(missing, str) else list(missing)
    parsed = None if transform is None else Transform.parse(transform)
    found_values, found_times, names = [], [], []
    channels: list[str] = []
    undefined = 0
    for path in files:
        table = _read_file(path, time, series, delimiter, decimal)
        for name in (time, *([] if series is None else [series])):
            table.column(name)  # a slip in a name is told before anything about entries
        numbers, channels, n_undefined = _channels(table, wanted, parsed, absent)
        times, time_unit = read_times(table, time, unit=time_unit)
        undefined += n_undefined
        kept = _kept(table, time, times, numbers, time_range)
        for label, rows in _rows_of_series(table, series, kept):
            check_order(table, time, times[rows], rows, series)
            warn_of_gaps(table, times[rows], rows, series)
            found_values.append(numbers[rows])
            found_times.append(times[rows])
            names.append(label if len(files) == 1 and series is not None else _name(path, label))
    if undefined:
        warnings.warn(
            f"transform {transform!r}: {undefined} values are undefined (such as the logarithm of a number "
            "that is not positive) and count as missing",
            TableWarning,
            stacklevel=2,
        )
    return Observations(found_values, found_times, series_names=names, channels=channels, time_unit=time_unit)


def _read_file(path: Path, time: str, series: str | None, delimiter: str | None, decimal: str) -> Table:
    match path.suffix.lower():
        case ".parquet" | ".pq":
            return read_parquet(path)
        case ".nc" | ".nc4" | ".netcdf":
            return read_netcdf(path, time=time, series=series)
    return read_delimited(path, delimiter, decimal=decimal)


def _channels(
    table: Table, wanted: Sequence[str], transform: Transform | None, missing: Sequence[str]
) -> tuple[Array, list[str], int]:
    """Values ``(row, channel)``, names of the channels, and the number of undefined values."""
    names: list[str] = []
    for name in wanted:
        parts = [column for column in table.columns if column.startswith(f"{name}[")]
        names += parts if parts and name not in table.columns else [table.column(name)]
    if transform is None:
        return np.stack([table.numbers(name, missing=missing) for name in names], axis=-1), names, 0
    result, undefined = transform.evaluate({name: table.numbers(name, missing=missing) for name in transform.columns})
    return result, list(transform.channels), undefined


def _kept(
    table: Table, time: str, times: Array, values: Array, time_range: tuple[float, float] | None
) -> NDArray[np.bool_]:
    """Rows to keep: those in range, without the rows that hold neither a time nor a value."""
    untimed = np.isnan(times)
    lost = np.flatnonzero(untimed & ~np.isnan(values).all(axis=1))
    if len(lost):
        raise TableError(
            f"{table.path}, {table.place} {table.places[lost[0]]}, column {time!r}: expected a time for "
            "every row of values, got none; remove the row or fill in its time"
        )
    if time_range is None:
        return ~untimed
    inside = (times >= time_range[0]) & (times <= time_range[1])
    if not inside.any():
        raise TableError(
            f"{table.path}: expected times between {time_range[0]:g} and {time_range[1]:g}, got "
            f"{np.nanmin(times):g} to {np.nanmax(times):g}; change the time range"
        )
    return inside


def _rows_of_series(
    table: Table, series: str | None, kept: NDArray[np.bool_]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Label and rows of every series of a file, in order of appearance."""
    rows = np.flatnonzero(kept)
    if series is None:
        return [("", rows)]
    found: dict[str, list[int]] = {}
    labels = table.labels(series)
    for row in rows.tolist():
        found.setdefault(labels[row], []).append(row)
    return [(label, np.array(own)) for label, own in found.items()]


def _name(path: Path, label: str) -> str:
    return f"{path.stem}/{label}" if label else path.stem
