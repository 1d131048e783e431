"""What users hold long records in, as sources of rows."""

from __future__ import annotations

from typing import Any

from pyro_langevin.observations.checks import ObservationError
from pyro_langevin.observations.row_sources import ArrayRows, JoinedRows, RowSource


def rows_of(values: Any, times: Any) -> RowSource:
    """Rows of an array, or of a list of arrays with one entry a series.

    Raises:
        ObservationError: If an entry has no shape, or shapes do not fit each other.
    """
    if not isinstance(values, (list, tuple)):
        _require_slices(values)
        return ArrayRows(values, times)
    if not values:
        raise ObservationError("observations: expected at least one series of two rows, got none; check the source")
    own = list(times) if isinstance(times, (list, tuple)) else [times] * len(values)
    if len(own) != len(values):
        raise ObservationError(
            f"times: expected one entry for each of the {len(values)} series, got {len(own)}; pass a list of arrays"
        )
    parts = []
    for i, (entry, clock) in enumerate(zip(values, own, strict=True)):
        _require_slices(entry)
        if len(entry.shape) > 2:
            raise ObservationError(
                f"observations: expected each entry of the list to be one series (time, obs_dim), "
                f"got the shape {tuple(entry.shape)} in entry {i}; pass one array (series, time, obs_dim) or split it"
            )
        parts.append(ArrayRows(entry, clock))
    return JoinedRows(parts)


def _require_slices(values: Any) -> None:
    if not hasattr(values, "shape") or not hasattr(values, "__getitem__"):
        raise ObservationError(
            f"observations: expected something with a shape that slices like NumPy, got {type(values).__name__}; "
            'open the file first (np.load(file, mmap_mode="r"), zarr.open, h5py.File(...)[name]), or use from_parquet'
        )
