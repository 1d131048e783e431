"""What users hold their time series in, read into one plain form: a list of :class:`Series`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from pyro_langevin.observations.checks import ObservationError


@dataclass(frozen=True)
class Series:
    """One time series in float64; a missing value is NaN.

    Attributes:
        values: ``(time, obs_dim)``.
        times: ``(time,)``, in the user's unit.
        name: Name of the series, empty where the container gave none.
        channels: Names of the channels, empty where the container gave none.
    """

    values: np.ndarray
    times: np.ndarray
    name: str = ""
    channels: tuple[str, ...] = ()


def read_series(values: Any, times: Any = None, mask: Any = None) -> list[Series]:
    """Series of any supported container, one by one, not yet checked against each other.

    Args:
        values: An array or tensor ``(time,)``, ``(time, obs_dim)`` (one series each) or
            ``(series, time, obs_dim)``; a pandas Series or DataFrame (index = times, columns = channels);
            an xarray DataArray with the dimension ``time`` and perhaps ``series`` and ``channel``; or a list
            of any of these with one entry per series, of different lengths.
        times: ``(time,)`` for all series, ``(series, time)``, or a list with one array per series.
        mask: True where a value was observed; shaped like ``values``, or without its channel axis.

    Raises:
        ObservationError: If the shapes do not fit each other or an entry is not a number.
    """
    if isinstance(values, xr.Dataset):
        raise ObservationError(
            "observations: expected one array, got an xarray Dataset; pass one of its variables, "
            f"such as data[{next(iter(values.data_vars), 'name')!r}]"
        )
    if isinstance(values, xr.DataArray):
        return _from_xarray(values, times, mask)
    if isinstance(values, (list, tuple)) and not all(map(_is_scalar, values)):
        return _from_list(values, times, mask)
    if isinstance(values, (pd.DataFrame, pd.Series)):
        return [_from_pandas(values, times, mask)]
    return _from_array(as_numbers(values, "observations"), times, mask)


def _from_array(
    array: np.ndarray, times: Any, mask: Any, names: Sequence[str] = (), channels: Sequence[str] = ()
) -> list[Series]:
    if not 1 <= array.ndim <= 3:
        raise ObservationError(
            "observations: expected (time,), (time, obs_dim) or (series, time, obs_dim), "
            f"got {array.shape}; reshape the values"
        )
    if array.size == 0:
        raise ObservationError(
            f"observations: expected at least one series of two rows, got no values {array.shape}; "
            "check the source"
        )
    observed = None if mask is None else _observed(mask, array.shape)
    if array.ndim < 3:
        array = array.reshape(1, len(array), -1)
    if observed is not None:
        array = np.where(observed.reshape(array.shape), array, np.nan)
    n_series, n_times = array.shape[:2]
    return [
        _trimmed(
            Series(
                values,
                _times_of(times, i, n_series, n_times),
                names[i] if len(names) else "",
                tuple(channels),
            )
        )
        for i, values in enumerate(array)
    ]


def _from_list(values: Sequence[Any], times: Any, mask: Any) -> list[Series]:
    found = []
    for i, entry in enumerate(values):
        entry_mask = None if mask is None else _entry(mask, i, len(values), "mask")
        entry_times = None if times is None else _shared_or_own(times, i, len(values))
        own = read_series(entry, entry_times, entry_mask)
        if len(own) != 1:
            raise ObservationError(
                f"observations: expected each entry of the list to be one series (time, obs_dim), "
                f"got {len(own)} series in entry {i}; pass one array (series, time, obs_dim) or split it"
            )
        found.append(own[0])
    return found


def _from_pandas(frame: pd.DataFrame | pd.Series, times: Any, mask: Any) -> Series:
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(name="y0" if frame.name is None else frame.name)
    if isinstance(frame.index, pd.MultiIndex):
        raise ObservationError(
            "observations: expected a DataFrame whose index is the time, got a MultiIndex; pass a list "
            "with one DataFrame per series"
        )
    for name in frame.columns:
        as_numbers(frame[name].to_numpy(), f"column {name!r}")
    array = frame.to_numpy(dtype=float, na_value=np.nan)
    own_times = frame.index.to_numpy() if times is None else times
    return _from_array(array, own_times, mask, channels=[str(name) for name in frame.columns])[0]


def _from_xarray(array: xr.DataArray, times: Any, mask: Any) -> list[Series]:
    allowed = ("series", "time", "channel")
    if "time" not in array.dims or not set(array.dims) <= set(allowed):
        raise ObservationError(
            f"observations: expected the dimensions time and perhaps series and channel, got {array.dims}; "
            "rename them with values.rename(...)"
        )
    own_times = array.coords["time"] if times is None and "time" in array.coords else times
    if isinstance(own_times, xr.DataArray):
        own_times = own_times.transpose(*[dim for dim in allowed if dim in own_times.dims]).values
    if isinstance(mask, xr.DataArray):
        mask = mask.transpose(*[dim for dim in allowed if dim in mask.dims]).values

    def labels(dim: str) -> list[str]:
        return [str(label) for label in array.coords[dim].values] if dim in array.coords else []

    full = array.transpose(*[dim for dim in allowed if dim in array.dims])
    numbers = as_numbers(full.values, "observations")
    if "series" in array.dims and "channel" not in array.dims:
        numbers = numbers[..., np.newaxis]
        mask = None if mask is None else np.asarray(mask)[..., np.newaxis]
    return _from_array(numbers, own_times, mask, labels("series"), labels("channel"))


def as_numbers(array: Any, what: str) -> np.ndarray:
    """The entries as float64, or an error that shows the first one that is not a number."""
    if isinstance(array, Tensor):
        array = array.detach().cpu().numpy()
    found = np.asarray(array)
    if found.dtype.kind in "fiub":
        return found.astype(np.float64)
    if found.dtype.kind in "mM":
        raise ObservationError(
            f"{what}: expected numbers, got dates ({found.dtype}); convert them first, for example "
            "(t - t[0]) / numpy.timedelta64(1, 's')"
        )
    if found.dtype.kind == "O":
        try:
            return np.array(
                [np.nan if entry is None or entry is pd.NA else float(entry) for entry in found.flat]
            ).reshape(found.shape)
        except (TypeError, ValueError):
            pass
    first = next((entry for entry in found.flat if not _is_number(entry)), found.dtype)
    raise ObservationError(f"{what}: expected numbers, got {str(first)!r}; convert or remove such entries")


def _is_scalar(entry: Any) -> bool:
    return entry is None or np.isscalar(entry) or getattr(entry, "ndim", None) == 0


def _is_number(entry: Any) -> bool:
    return entry is None or isinstance(entry, (int, float, np.integer, np.floating))


def _observed(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
    if found.shape == shape[:-1] and len(shape) > 1:
        found = np.broadcast_to(found[..., np.newaxis], shape)
    if found.shape != shape:
        raise ObservationError(
            f"mask: expected the shape {shape} of the values, or without their channel axis, "
            f"got {found.shape}; give one entry per value, True = observed"
        )
    if found.dtype.kind != "b" and not np.isin(found, (0, 1)).all():
        raise ObservationError(
            f"mask: expected True (observed) or False, got {found.dtype} entries; use a bool array"
        )
    return found.astype(bool)


def _entry(given: Any, i: int, n_series: int, what: str) -> Any:
    if len(given) != n_series:
        raise ObservationError(
            f"{what}: expected one entry for each of the {n_series} series, got {len(given)}; "
            "pass a list of arrays"
        )
    return given[i]


def _shared_or_own(times: Any, i: int, n_series: int) -> Any:
    """Times of one series of a list: its own array, or one for all (all series then equally long)."""
    if isinstance(times, (list, tuple)):
        return times if all(map(_is_scalar, times)) else _entry(times, i, n_series, "times")
    return times if np.ndim(times) < 2 else _entry(times, i, n_series, "times")


def _times_of(times: Any, i: int, n_series: int, n_times: int) -> np.ndarray:
    if times is None:
        return np.arange(n_times, dtype=np.float64)
    found = as_numbers(_shared_or_own(times, i, n_series), "times")
    if found.shape != (n_times,):
        raise ObservationError(
            f"times: expected ({n_times},) for all series or ({n_series}, {n_times}), got {found.shape}"
            f"{f' for series {i}' if n_series > 1 else ''}; give one time per row of the values"
        )
    return found


def _trimmed(series: Series) -> Series:
    """The series without a tail of NaN times, the usual padding of series of different length."""
    known = ~np.isnan(series.times)
    length = int(known.sum())
    if length == len(known) or not known[:length].all() or not np.isnan(series.values[length:]).all():
        return series
    return Series(series.values[:length], series.times[:length], series.name, series.channels)
