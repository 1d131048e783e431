"""Are the rows of a series in order, and of one series?"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.tables.table import Table, TableError, TableWarning

Array = NDArray[np.float64]

LONG_GAP = 1000.0
"""Times the usual gap, beyond which rows hardly belong to one series."""


def check_order(table: Table, time: str, times: Array, rows: NDArray[np.int64], series: str | None) -> None:
    """Refuse times that do not increase strictly.

    Args:
        table: The table.
        time: Column of the times.
        times: Times of one series.
        rows: Its rows in the table.
        series: Column that tells series apart, if one was named.

    Raises:
        TableError: At the first row that does not come after the one before.
    """
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if not len(wrong):
        return
    first, second = wrong[0], wrong[0] + 1
    repeated = times[first] == times[second]
    fix = "remove or average repeated rows" if repeated else "sort the rows by time"
    if series is None:
        fix += ", or name the column that tells the series apart"
    raise TableError(
        f"{table.path}, {table.place} {table.places[rows[second]]}, column {time!r}: expected strictly "
        f"increasing times, got {'repeated' if repeated else 'unsorted'} times: {times[second]:.10g} after "
        f"{times[first]:.10g} ({len(wrong)} such places); {fix}"
    )


def warn_of_gaps(table: Table, times: Array, rows: NDArray[np.int64], series: str | None) -> None:
    """Warn where rows are likely to be of several series, one after another; arguments as :func:`check_order`'s."""
    gaps = np.diff(times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    long = np.flatnonzero(gaps > LONG_GAP * usual)
    if not len(long):
        return
    fix = (
        "name the column that tells the series apart (series, --series)"
        if series is None
        else f"give it an entry of its own in column {series!r}"
    )
    warnings.warn(
        f"{table.path}, {table.place} {table.places[rows[long[0] + 1]]}: {gaps[long[0]]:.4g} after the row before, "
        f"where rows are usually {usual:.4g} apart ({len(long)} such places); if another series begins there, {fix}: "
        "a fit walks through such gaps step by step, which takes long and tells nothing",
        TableWarning,
        stacklevel=3,
    )
