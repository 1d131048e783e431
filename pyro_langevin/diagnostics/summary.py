"""Summary of a fit: a table to read, and a record for machines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.guide_quality import elbo
from pyro_langevin.diagnostics.intervals import shortest_interval
from pyro_langevin.diagnostics.kinetics import barriers, kinetics_table, mfpt, timescales
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.occupancy_rows import occupancy_rows

__all__ = ["hopping_processes", "summary"]

COLUMNS = ["mean", "sd", "hdi_5%", "hdi_95%", "unit", "estimator"]


def summary(idata: Draws) -> pd.DataFrame:
    """Table of the states and their kinetics, one figure a row, in the manner of ``az.summary``.

    Rows: ``occupancy[A]`` (posterior paths; this record), ``occupancy_long_run[A]``, ``occupancy_stationary[A]``; where
        they say something else ``occupancy_corrected[A]`` (draws of a guide, by weights or particles; this record),
        ``occupancy_sampled[A]`` and ``occupancy_laplace[A]`` (other estimators of the Boltzmann law) and
        ``occupancy_chain[A]`` (of the dynamics as discretised); ``dwell[A]`` (paths), ``dwell_prior[A]``,
        ``mfpt[A->B]`` and ``barrier[A->B]`` (learned potential), ``timescale[1]``, ..., ``diffusion[0]``, ...,
        ``elbo``. Columns: ``mean``; ``sd``; ``hdi_5%`` and ``hdi_95%``, the ends of a 90 % interval; ``unit``;
        ``estimator``, where the figure comes from and what the interval covers. Times have a skewed posterior: their
        ``mean`` is exposure over events, or a geometric mean over seeds.
    """
    return pd.DataFrame.from_dict(
        {
            **occupancy_rows(idata),
            **_time_rows(idata),
            **_barrier_rows(idata),
            **_timescale_rows(idata),
            **_diffusion_rows(idata),
            **_elbo_row(idata),
        },
        orient="index",
        columns=COLUMNS,
    )


def hopping_processes(idata: Draws) -> int:
    """Number of relaxation processes that are hops between states, at least one, at most those computed."""
    processes = group(idata, "kinetics", "timescale").sizes["process"]
    return min(processes, max(1, len(state_labels(idata)) - 1))


def _time_rows(idata: Draws) -> dict[str, list[Any]]:
    unit = _time_unit(idata)
    labels = state_labels(idata)
    dwell = dwell_times(idata)
    rows = {
        f"dwell[{label}]": [
            *_figures(dwell.sel(state=label)),
            unit,
            "posterior paths, exposure / events; incl. record length",
        ]
        for label in labels
    }
    convention = str(group(idata, "kinetics").attrs.get("time_convention", "continuous"))
    table = kinetics_table(idata)
    passage = mfpt(idata).sel(estimator="prior")
    for label in labels:
        row = table.loc[f"dwell[{label}]"]
        log_sd = (
            np.log(row["prior_high"] / row["prior_low"]) / (2 * 1.645) if row["prior_low"] > 0 else np.nan
        )
        figures = [row["prior"], row["prior"] * log_sd, row["prior_low"], row["prior_high"]]
        rows[f"dwell_prior[{label}]"] = [
            *figures,
            unit,
            f"learned potential, {convention}; seeds and record length",
        ]
    for one, other in _pairs(labels):
        cell = passage.sel(state_from=one, state_to=other)
        mean = float(cell["mean"])
        figures = [mean, mean * float(cell["log_sd"]), float(cell["hdi_low"]), float(cell["hdi_high"])]
        rows[f"mfpt[{one}->{other}]"] = [
            *figures,
            unit,
            f"learned potential, {convention}; seeds and record length",
        ]
    return rows


def _barrier_rows(idata: Draws) -> dict[str, list[Any]]:
    table = barriers(idata)
    note = "learned potential; seeds and record length"
    return {
        f"barrier[{one}->{other}]": [*_figures(table.sel(state_from=one, state_to=other)), "kT", note]
        for one, other in _pairs(state_labels(idata))
    }


def _timescale_rows(idata: Draws) -> dict[str, list[Any]]:
    table = timescales(idata)
    unit = _time_unit(idata)
    rows: dict[str, list[Any]] = {}
    for process in range(hopping_processes(idata)):
        cell = table.isel(process=process)
        mean = float(cell["mean"])
        figures = [mean, mean * float(cell["log_sd"]), float(cell["hdi_low"]), float(cell["hdi_high"])]
        rows[f"timescale[{process + 1}]"] = [
            *figures,
            unit,
            "relaxation of learned dynamics; seeds and record length",
        ]
    return rows


def _diffusion_rows(idata: Draws) -> dict[str, list[Any]]:
    posterior = group(idata, "posterior")
    if "diffusion" not in posterior:
        return {}
    unit = _time_unit(idata)
    values = posterior["diffusion"].transpose("chain", "draw", ...).values
    values = values.reshape(*values.shape[:2], -1)
    note = "latent gauge (each seed its own length scale); spread of draws and seeds"
    rows: dict[str, list[Any]] = {}
    for axis in range(values.shape[-1]):
        sample = values[..., axis].ravel()
        figures = [float(np.mean(sample)), float(np.std(sample, ddof=1)) if len(sample) > 1 else np.nan]
        rows[f"diffusion[{axis}]"] = [*figures, *shortest_interval(sample), f"latent²/{unit or 'time'}", note]
    return rows


def _elbo_row(idata: Draws) -> dict[str, list[Any]]:
    values = elbo(idata)["mean"].values
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    note = "per series; spread of seeds"
    return {"elbo": [float(np.mean(values)), spread, *shortest_interval(values), "nats", note]}


def _figures(cell: xr.Dataset) -> list[float]:
    return [float(cell[name]) for name in ("mean", "sd", "hdi_low", "hdi_high")]


def _pairs(labels: list[str]) -> list[tuple[str, str]]:
    return [(one, other) for one in labels for other in labels if one != other]


def _time_unit(idata: Draws) -> str:
    return str(group(idata, "kinetics").attrs.get("time_unit", ""))
