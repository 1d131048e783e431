"""Exact forecasts of every observation from those before it, in few dimensions: the filter on the grid."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.grid_filter import StateGrid
from pyro_langevin.grid_filter.evidence import run_filter
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_NUMBERS_AT_ONCE = 20_000_000  # probabilities held in memory together


@torch.no_grad()
def grid_forecast(model: LangevinModel, observations: Observations, grid: StateGrid, *, horizon: int) -> Tensor:
    r"""Log density :math:`\ln p(y_k \mid y_0 \dots y_{k-h})` of every row, ``(series, time)``, NaN for the first h.

    The filter's law at row ``k - h`` is moved over ``h`` gaps and weighed with the likelihood of row ``k``. Exact up to
    the grid, as :func:`~pyro_langevin.grid_log_evidence`; the cost grows with ``h``.
    """
    size = max(1, _NUMBERS_AT_ONCE // (observations.n_times * len(grid.points)))
    parts = [
        _forecast(model, observations.select(chosen), grid, horizon)
        for chosen in torch.arange(observations.n_series).split(size)
    ]
    return torch.cat(parts)


def _forecast(model: LangevinModel, observations: Observations, grid: StateGrid, horizon: int) -> Tensor:
    filtered = run_filter(model, observations, grid)
    advance = filtered.advance
    points = grid.points.to(observations.values)
    table = model.emission.log_likelihood_table(points, observations.values, observations.mask).double()
    scores = torch.full((observations.n_series, observations.n_times), torch.nan, dtype=torch.float64)
    for k in range(horizon, observations.n_times):
        law = filtered.law[k - horizon]
        for gap in range(k - horizon, k):
            law = advance(law, gap).clamp_min(0.0)  # cubics undershoot a little
        seen = table[:, :, k].mT
        peak = seen.amax(-1, keepdim=True)
        level = advance.propagator.weigh(law, (seen - peak).exp()).sum(-1)
        scores[:, k] = (level.clamp_min(1e-300).log() + peak.squeeze(-1)).cpu()
    return scores
