"""The groups and variables that the diagnostics read, and the checks that they are there.

The diagnostics take an ArviZ ``InferenceData`` or an xarray ``DataTree``: anything whose ``idata["group"]``
is a set of xarray variables. ``chain`` is one independent fit (a seed), ``draw`` one draw of its guide. A
state that a chain does not have is NaN in every variable of that chain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import xarray as xr

__all__ = [
    "Draws",
    "attribute",
    "group",
    "has_landscape",
    "median_gap",
    "observed_duration",
    "present_states",
    "state_labels",
    "trusted_stationary",
]


class Draws(Protocol):
    """What the diagnostics ask of their input: groups by name and root attributes."""

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """Root attributes: ``warnings``, ``seeds``, versions."""

    def __contains__(self, name: Any, /) -> bool:
        """Whether the group is there."""

    def __getitem__(self, name: Any, /) -> Any:
        """The group of this name."""


def group(idata: Draws, name: str, *variables: str) -> xr.Dataset:
    """One group of the draws as a Dataset.

    Args:
        idata: the draws.
        name: name of the group.
        *variables: names that the group must hold.

    Raises:
        ValueError: the group or one of the variables is missing.
    """
    if name not in idata:
        raise ValueError(
            f"idata: expected a group {name!r}, came without it; make the draws with pyro_langevin.posterior"
        )
    dataset = idata[name]
    if isinstance(dataset, xr.DataTree):
        dataset = dataset.to_dataset()
    missing = [variable for variable in variables if variable not in dataset]
    if missing:
        raise ValueError(
            f"idata[{name!r}]: expected {', '.join(variables)}, came without "
            f"{', '.join(missing)}; make the draws with pyro_langevin.posterior"
        )
    return dataset


def attribute(idata: Draws, name: str, default: Any = None) -> Any:
    """One root attribute; arrays and JSON text (all that NetCDF holds of lists and tables) become plain."""
    value = idata.attrs.get(name, default)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def has_landscape(idata: Draws) -> bool:
    """Whether the draws hold a potential on a line or a plane, as those of more dimensions do not."""
    return "landscape" in idata and "beta_potential" in group(idata, "landscape")


def present_states(idata: Draws) -> xr.DataArray:
    """Which states each chain has, bool (chain, state)."""
    return group(idata, "states", "beta_energy")["beta_energy"].notnull().transpose("chain", "state")


def state_labels(idata: Draws) -> list[str]:
    """Labels of the states, in the order of the ``state`` axis."""
    return [str(label) for label in group(idata, "states", "beta_energy")["state"].values]


def trusted_stationary(idata: Draws) -> xr.DataArray:
    """Boltzmann occupancy of each chain's potential by the estimator to trust, (chain, state).

    That is the first on the axis ``estimator``; draws written before there were several have no such axis.
    """
    stationary = group(idata, "occupancy", "stationary")["stationary"]
    if "estimator" in stationary.dims:
        stationary = stationary.isel(estimator=0, drop=True)
    return stationary.transpose("chain", "state")


def median_gap(idata: Draws) -> float:
    """Median time between neighbouring observations, in the data's time unit; 0 without any."""
    constant = group(idata, "constant_data", "time", "length")
    gaps = np.diff(constant["time"].transpose("series", "time").values, axis=1)
    inside = np.arange(1, gaps.shape[1] + 1) < constant["length"].values[:, None]
    return float(np.median(gaps[inside])) if inside.any() else 0.0


def observed_duration(idata: Draws) -> xr.DataArray:
    """Time from the first to the last observation of each series, (series), in the data's time unit."""
    constant = group(idata, "constant_data", "time", "length")
    times = constant["time"].transpose("series", "time").values
    last = np.asarray(constant["length"].values, dtype=int) - 1
    duration = times[np.arange(len(times)), last] - times[:, 0]
    return xr.DataArray(duration, dims="series", coords={"series": constant["series"]}, name="duration")
