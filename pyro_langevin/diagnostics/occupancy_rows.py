"""Rows of the summary on occupancies: three estimators, and others where they say something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.intervals import shortest_interval
from pyro_langevin.diagnostics.layout import Draws, group, state_labels, trusted_stationary
from pyro_langevin.diagnostics.occupancy import occupancy

__all__ = ["occupancy_rows"]

OPINION_TOLERANCE = 0.01
"""Difference of Boltzmann occupancies below which a second estimator's figure is not shown."""


def occupancy_rows(idata: Draws) -> dict[str, list[Any]]:
    """Rows of :func:`~pyro_langevin.diagnostics.summary.summary`: mean, sd, both ends, unit, estimator."""
    table = occupancy(idata)
    names = {"path": "occupancy", "long_run": "occupancy_long_run", "stationary": "occupancy_stationary"}
    notes = {
        "path": "posterior paths; this record",
        "long_run": "rates of posterior paths; long run, incl. record length",
        "stationary": "Boltzmann law of learned potential; seeds and record length",
    }
    rows = {
        f"{name}[{label}]": [*_figures(table.sel(estimator=estimator, state=label)), "", notes[estimator]]
        for estimator, name in names.items()
        for label in state_labels(idata)
    }
    return {**rows, **_corrected_rows(idata), **_second_opinions(idata)}


def _corrected_rows(idata: Draws) -> dict[str, list[Any]]:
    """Corrected occupancies of the record, where a correction is to be believed rather than the guide's own draws."""
    table = corrected_occupancy(idata)
    believed = str(table.attrs["believed"])
    if believed == "guide":
        return {}
    note = f"posterior paths corrected by {believed}; this record"
    return {
        f"occupancy_corrected[{label}]": [*_figures(table.sel(estimator=believed, state=label)), "", note]
        for label in state_labels(idata)
    }


def _second_opinions(idata: Draws) -> dict[str, list[Any]]:
    """Boltzmann occupancies by the other estimators and of the chain, all states where one is more than .01 off."""
    held = group(idata, "occupancy", "stationary")
    others: dict[str, tuple[xr.DataArray, str]] = {}
    if "estimator" in held["stationary"].dims:
        for estimator in map(str, held["estimator"].values[1:]):
            note = f"Boltzmann law of learned potential by another estimator ({estimator}); spread of seeds"
            others[f"occupancy_{estimator}"] = held["stationary"].sel(estimator=estimator), note
    if "stationary_chain" in held:
        note = "stationary law of learned dynamics as discretised; spread of seeds"
        others["occupancy_chain"] = held["stationary_chain"], note
    trusted = trusted_stationary(idata)
    rows: dict[str, list[Any]] = {}
    for name, (values, note) in others.items():
        drawn = values.transpose("chain", "state").values
        if not np.nan_to_num(abs(mean_of_known(drawn) - mean_of_known(trusted.values))).max() > OPINION_TOLERANCE:
            continue
        for state, label in enumerate(state_labels(idata)):
            sample = drawn[np.isfinite(drawn[:, state]), state]
            spread = float(np.std(sample, ddof=1)) if len(sample) > 1 else np.nan
            figures = [float(mean_of_known(drawn)[state]), spread, *shortest_interval(sample)]
            rows[f"{name}[{label}]"] = [*figures, "", note]
    return rows


def _figures(cell: xr.Dataset) -> list[float]:
    return [float(cell[name]) for name in ("mean", "sd", "hdi_low", "hdi_high")]
