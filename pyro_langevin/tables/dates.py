"""Times of a table: numbers, or dates counted from the earliest one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_langevin.tables.table import MISSING, Table, TableError

Array = NDArray[np.float64]

#: Seconds of the units that dates can be counted in; a year is the Gregorian calendar's mean one.
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "yr": 365.2425 * 86400}
SAME = {"µs": "us", "sec": "s", "second": "s", "minute": "min", "hour": "h", "day": "d", "year": "yr", "a": "yr"}


def read_times(table: Table, name: str, *, unit: str) -> tuple[Array, str]:
    """Times ``(row,)`` and their unit; NaN where missing.

    Numbers are taken as they are. Dates as ISO 8601 writes them (``2024-03-01``, ``2024-03-01 09:58:30.1``, also with a
    time zone) are counted in ``unit`` from the earliest of the table, in seconds where none was named.

    Args:
        table: The table.
        name: Column of the times.
        unit: Unit that the user named, or "".

    Raises:
        TableError: If an entry is neither, or dates are to be counted in a unit that is none.
    """
    entries = table.columns[table.column(name)]
    if not _is_dates(entries):
        return table.numbers(name, what="a finite number, or a date like 2024-03-31 or 2024-03-31 09:58:30"), unit
    seconds = _seconds(unit or "s", f"{table.path}, column {name!r}")
    text = pd.Series([str(entry).strip().replace(",", ".") for entry in entries])
    missing = text.str.lower().isin(MISSING | {"nat"}).to_numpy()
    dates = pd.to_datetime(text.mask(missing), format="ISO8601", utc=True, errors="coerce")
    wrong = np.flatnonzero(dates.isna().to_numpy() & ~missing)
    if len(wrong):
        raise table.refusal(name, int(wrong[0]), "a date like 2024-03-31 or 2024-03-31 09:58:30")
    since = (dates - dates.min()).dt.total_seconds().to_numpy(dtype=np.float64)
    return since / seconds, unit or "s"


def _is_dates(entries: Any) -> bool:
    """Whether the first entry that is there is a date."""
    if isinstance(entries, np.ndarray) and entries.dtype.kind in "Mfiub":
        return entries.dtype.kind == "M"
    first = next((str(entry).strip() for entry in entries if str(entry).strip().lower() not in MISSING), "")
    return re.match(r"\d{4}-\d\d?-\d\d?\b", first) is not None


def _seconds(unit: str, place: str) -> float:
    """Seconds in a unit, also where it is written out."""
    plain = unit.strip()
    for name in (plain, plain.removesuffix("s")):
        if SAME.get(name, name) in UNITS:
            return UNITS[SAME.get(name, name)]
    raise TableError(
        f"{place}: expected a unit to count dates in, {', '.join(UNITS)}, got {unit!r}; name one as the time unit"
    )
