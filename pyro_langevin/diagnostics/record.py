"""The record of a fit for machines: what ``summary.json`` holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.guide_quality import elbo, k_hat
from pyro_langevin.diagnostics.intervals import shortest_interval
from pyro_langevin.diagnostics.kinetics import barriers, mfpt, timescales
from pyro_langevin.diagnostics.layout import Draws, attribute, group, state_labels
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.diagnostics.states import n_states
from pyro_langevin.diagnostics.verdicts import all_warnings

__all__ = ["summary_record"]


def summary_record(idata: Draws) -> dict[str, Any]:
    """The fit as a dictionary that ``json.dumps`` writes: the stable format of ``summary.json``.

    A *figure* is ``{"mean", "hdi_low", "hdi_high"}``: an estimate with its 90 % interval (what each
    interval covers: :func:`~pyro_langevin.diagnostics.summary.summary`). A *matrix* has the same three
    keys, each a list of rows (from) of numbers (to). What is not known is null; no NaN or infinity is
    written.

    =====================  ======================================================================
    ``n_states``           number of states that most seeds found
    ``n_states_per_seed``  of each seed
    ``states``             list, in the order of the matrices; see below
    ``channels``           names of the channels
    ``mfpt``               matrix, learned potential, time unit
    ``mfpt_paths``         matrix, posterior paths, time unit
    ``beta_barrier``       matrix, kT
    ``timescales``         list of figures, slowest first, time unit
    ``time_unit``          of the data; empty where the user named none
    ``time_convention``    whether the potential's times are continuous or as discretised
    ``step``               largest step of the time grid, time unit
    ``elbo_per_series``    list, one a seed: mean over series, nats
    ``k_hat``              object, one key a series: the largest of the seeds' Pareto k-hat
    ``drawn_from``         "exact posterior" or "guide": where the paths' figures come from
    ``seeds``              list
    ``warnings``           list of sentences
    ``versions``           object, package: version
    =====================  ======================================================================

    Each state has ``label``; ``location``, a list of figures, one a channel: mean emission at the minimum,
    data units; ``occupancy``, figure: posterior paths, this record; ``occupancy_corrected``, figure: the same
    corrected for what the guide gets wrong, where that can be told, else the same figure;
    ``occupancy_long_run``, figure: from the paths' rates, record length included; ``occupancy_stationary``,
    figure: Boltzmann law of the potential; ``dwell_mean``, figure: posterior paths, time unit.
    """
    kinetics = group(idata, "kinetics")
    k = k_hat(idata).transpose("chain", "series")
    worst = np.fmax.reduce(k.values, axis=0)
    relaxation = timescales(idata)
    known = np.flatnonzero(np.isfinite(relaxation["mean"].values))
    record = {
        "n_states": int(n_states(idata)["mode"]),
        "n_states_per_seed": n_states(idata)["n_states"].values,
        "states": _states(idata),
        "channels": [str(name) for name in group(idata, "states", "location")["channel"].values],
        "mfpt": _matrix(mfpt(idata).sel(estimator="prior")),
        "mfpt_paths": _matrix(mfpt(idata).sel(estimator="paths")),
        "beta_barrier": _matrix(barriers(idata)),
        "timescales": [_figure(relaxation.isel(process=i)) for i in known],
        "time_unit": str(kinetics.attrs.get("time_unit", "")),
        "time_convention": str(kinetics.attrs.get("time_convention", "")),
        "step": kinetics.attrs.get("step"),
        "elbo_per_series": elbo(idata)["mean"].values,
        "k_hat": {str(name): value for name, value in zip(k["series"].values, worst, strict=True)},
        "drawn_from": attribute(idata, "drawn_from", "guide"),
        "seeds": attribute(idata, "seeds", list(range(k.sizes["chain"]))),
        "warnings": all_warnings(idata),
        "versions": _versions(idata),
    }
    plain = _plain(record)
    assert isinstance(plain, dict)
    return plain


def _states(idata: Draws) -> list[dict[str, Any]]:
    location = group(idata, "states", "location")["location"].transpose("chain", "state", "channel")
    table = occupancy(idata)
    corrected = corrected_occupancy(idata)
    dwell = dwell_times(idata)
    return [
        {
            "label": label,
            "location": [_of_sample(location.values[:, i, c]) for c in range(location.sizes["channel"])],
            "occupancy": _figure(table.sel(estimator="path", state=label)),
            "occupancy_corrected": _figure(corrected.sel(estimator=corrected.attrs["believed"], state=label)),
            "occupancy_long_run": _figure(table.sel(estimator="long_run", state=label)),
            "occupancy_stationary": _figure(table.sel(estimator="stationary", state=label)),
            "dwell_mean": _figure(dwell.sel(state=label)),
        }
        for i, label in enumerate(state_labels(idata))
    ]


def _figure(cell: xr.Dataset) -> dict[str, float]:
    return {name: float(cell[name]) for name in ("mean", "hdi_low", "hdi_high")}


def _matrix(table: xr.Dataset) -> dict[str, np.ndarray]:
    return {
        name: table[name].transpose("state_from", "state_to").values
        for name in ("mean", "hdi_low", "hdi_high")
    }


def _of_sample(values: np.ndarray) -> dict[str, float]:
    finite = values[np.isfinite(values)]
    low, high = shortest_interval(finite)
    return {"mean": float(finite.mean()) if len(finite) else math.nan, "hdi_low": low, "hdi_high": high}


def _versions(idata: Draws) -> dict[str, str]:
    """The attribute ``versions``, and single attributes such as ``arviz_version``."""
    versions = attribute(idata, "versions", {})
    single = {
        str(k).removesuffix("_version"): v for k, v in idata.attrs.items() if str(k).endswith("_version")
    }
    return {str(k): str(v) for k, v in {**single, **(versions if isinstance(versions, dict) else {})}.items()}


def _plain(value: Any) -> Any:
    """Numpy to Python, what is not finite to None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
