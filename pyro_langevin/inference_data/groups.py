"""Groups of the draws that need no landscape: paths and parameters, and the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from pyro_langevin.inference_data.draws import PathDraws
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations


def posterior_group(model: LangevinModel, draws: PathDraws) -> xr.Dataset:
    """Paths at the observation times and the fitted parameters of one fit."""
    n_draws, dim = draws.z.shape[0], draws.z.shape[-1]
    along = ("draw", "series", "time", "latent_dim")
    variables: dict[str, Any] = {"z": (along, draws.z)}
    for name, constant in model.dynamics.reported().items():
        values = _numbers(torch.as_tensor(constant).expand(dim))
        variables[name] = (("draw", "latent_dim"), np.repeat(values[None], n_draws, 0))
    if draws.momentum.shape[-1] > 0:
        variables["momentum"] = (along, draws.momentum)
    for name, (dims, value) in model.emission.parameters_in_data_units().items():
        variables[name] = (("draw", *dims), np.repeat(_numbers(value)[None], n_draws, 0))
    return xr.Dataset(variables)


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def data_groups(observations: Observations) -> dict[str, xr.Dataset]:
    """Observed values with NaN where missing, their times and lengths."""
    values = torch.where(observations.mask, observations.values, torch.nan).cpu().numpy()
    coords = {"series": observations.series_names, "channel": observations.channels}
    return {
        "observed_data": xr.Dataset({"y": (("series", "time", "channel"), values)}, coords=coords),
        "constant_data": xr.Dataset(
            {
                "time": (("series", "time"), observations.times.cpu().numpy()),
                "length": (("series",), observations.lengths.cpu().numpy()),
            },
            coords={"series": observations.series_names},
            attrs={"time_unit": observations.time_unit},
        ),
    }


def time_weights(observations: Observations) -> np.ndarray:
    """Time that each observation stands for: half of the gaps beside it, 0 on padding, ``(series, time)``."""
    times = observations.times.cpu().numpy()
    gaps = np.diff(times, axis=-1) * observations.inside[:, 1:].cpu().numpy()
    weights = np.zeros_like(times)
    weights[:, 1:] += 0.5 * gaps
    weights[:, :-1] += 0.5 * gaps
    return weights
