"""Forecast scores as ArviZ's own object for expected log predictive densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_langevin.inference_data.assemble import HOLDS_INFERENCE_DATA, arviz


def as_elpd(scores: xr.Dataset) -> Any:
    """Sum of the log predictive densities of a forecast, with its standard error, as ArviZ's ``ELPDData``.

    For ``arviz.compare({"one": as_elpd(...), "other": as_elpd(...)})``. The densities are taken as they are: nothing is
    left to smooth, so every Pareto k is 0 and the effective number of parameters is not known (NaN). The standard error
    takes the points as independent; one-step forecasts of a model that is right nearly are. ArviZ 1.x calls it a
    leave-future-out result and refuses to compare it with LOO; before, ArviZ has no such kind and prints it as LOO.

    Args:
        scores: From :func:`~pyro_langevin.leave_future_out`; of several seeds, the ensemble's.

    Raises:
        ValueError: If fewer than two observations were scored.

    Example:
        >>> scores = xr.Dataset({"ensemble": ("time", [np.nan, -1.0, -1.5])}, attrs={"horizon": 1})
        >>> as_elpd(scores).se.round(3).item()
        0.354
    """
    values = np.asarray(scores["ensemble"].values, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    count = len(values)
    if count < 2:
        raise ValueError(f"as_elpd: expected scores of at least two observations, got {count}; score more of them")
    points = xr.DataArray(values, dims="observation")
    figures: dict[str, Any] = {
        "se": np.sqrt(count * values.var()), "n_samples": 1, "n_data_points": count, "scale": "log", "warning": False,
        "good_k": 0.7, "pareto_k": xr.zeros_like(points),
    }  # fmt: skip
    library: Any = arviz  # the two generations have other names
    if HOLDS_INFERENCE_DATA:
        figures = {"elpd_loo": values.sum(), **figures, "p_loo": np.nan, "loo_i": points}
        return library.stats.ELPDData(data=list(figures.values()), index=list(figures))
    horizon = int(scores.attrs["horizon"])
    return library.ELPDDataLFO(
        elpd=values.sum(), p=np.nan, elpd_i=points, forecast_horizon=horizon, min_observations=horizon,
        refits=np.array([], dtype=int), n_refits=0, **figures,
    )  # fmt: skip
