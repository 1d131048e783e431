"""Likelihood of each observation along the drawn paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr

from pyro_langevin.inference_data.assemble import with_groups
from pyro_langevin.inference_data.matching import draw_numbers, drawn_positions
from pyro_langevin.observations import Observations
from pyro_langevin.training import FitResult


@torch.no_grad()
def add_log_likelihood(idata: Any, result: FitResult, observations: Observations) -> Any:
    r"""The draws with a group ``log_likelihood``: :math:`\ln p(y_k \mid z_k)` of every observation, for ``arviz.loo``.

    Variable ``y`` ``(chain, draw, observation)``; the coordinates ``series`` and ``row`` say which observation it is.
    Rows at which nothing was observed have no entry, so that the group holds no NaN. The channels of a row count as one
    observation.

    What ``arviz.loo`` makes of it: the parameters stay at their fitted values, and :math:`\ln p(y_k \mid y_{-k})` is
    the density of an observation given all *other* observations, before and after it. So it tells how well a fit fills
    in a missing row, not how well it forecasts (:func:`~pyro_langevin.leave_future_out` does), and the effective number
    of parameters counts the latent path. It is exact, up to Monte Carlo, where the draws come from the exact
    posterior, and only as good as the guide where they come from a guide. Seeds are different models: score one at a
    time, ``idata.sel(chain=[0])``. A Pareto k above ArviZ's threshold marks observations that the path leans on; draw
    some hundred paths at least.

    Args:
        idata: From :func:`~pyro_langevin.posterior`.
        result: The fit that it was drawn from.
        observations: The data that it was drawn with.

    Raises:
        ValueError: If the three do not belong together.
    """
    z = drawn_positions(idata, result, observations)
    where = (observations.inside & observations.mask.any(-1)).cpu()
    series, row = (index.numpy() for index in torch.nonzero(where, as_tuple=True))
    found = []
    for states, member in zip(z, result.members, strict=True):
        with pyro.get_param_store().scope():  # each fit has parameters of its own
            data = observations.to(device=next(member.model.parameters()).device)
            parts = [
                member.model.emission.log_likelihood_along(torch.as_tensor(one).to(data.values), data)
                for one in states
            ]
        found.append(torch.stack(parts).cpu().double().numpy()[:, series, row])
    coords = {
        "chain": idata["posterior"]["chain"].values,
        "draw": draw_numbers(idata),
        "series": ("observation", np.asarray(observations.series_names)[series]),
        "row": ("observation", row),
    }
    group = xr.Dataset({"y": (("chain", "draw", "observation"), np.stack(found))}, coords=coords)
    return with_groups(idata, {"log_likelihood": group})
