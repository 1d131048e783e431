"""Values that a fit would give in place of the observed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr
from torch import Tensor

from pyro_langevin.inference_data.assemble import with_groups
from pyro_langevin.inference_data.matching import check_match, draw_numbers, drawn_positions
from pyro_langevin.model import LangevinModel, at_observations
from pyro_langevin.observations import Observations
from pyro_langevin.paths import LangevinPath
from pyro_langevin.training import FitResult

_MOST_VALUES = 20_000_000  # values that default predictions may hold
_NUMBERS_AT_ONCE = 20_000_000  # states of paths held in memory together
_ALONG = ("draw", "series", "time", "channel")


@torch.no_grad()
def add_posterior_predictive(
    idata: Any, result: FitResult, observations: Observations, *, draws: int | None = None, seed: int = 0
) -> Any:
    """The draws with a group ``posterior_predictive``: values that the fit would give along the drawn paths.

    Variable ``y`` ``(chain, draw, series, time, channel)``, NaN beyond the end of a series; missing values are filled
    in. These are new measurements of the *same* paths, so they check the emission and the smoothing rather than the
    kinetics; :func:`add_prior_predictive` draws new paths.

    Args:
        idata: From :func:`~pyro_langevin.posterior`.
        result: The fit that it was drawn from.
        observations: The data that it was drawn with.
        draws: Number of draws, evenly thinned from those of ``idata``; by default at most 100, fewer (at least 5) where
            the data are large.
        seed: Seed of the draws.

    Raises:
        ValueError: If the three do not belong together, or no draws are asked for.
    """
    z = drawn_positions(idata, result, observations)
    chosen = _thinned(z.shape[1], _count(draws, result, observations))
    pyro.set_rng_seed(seed)
    values = []
    for states, member in zip(z[:, chosen], result.members, strict=True):
        with pyro.get_param_store().scope():
            like = next(member.model.parameters())
            data = observations.to(device=like.device)
            values.append([_measured(member.model, torch.as_tensor(one).to(like), data) for one in states])
    group = _group(idata, values, observations, draw_numbers(idata)[chosen])
    return with_groups(idata, {"posterior_predictive": group})


@torch.no_grad()
def add_prior_predictive(
    idata: Any, result: FitResult, observations: Observations, *, draws: int | None = None, seed: int = 0
) -> Any:
    """The draws with a group ``prior_predictive``: new records that the fitted process would give at the same times.

    Variable ``y`` ``(chain, draw, series, time, channel)``, NaN beyond the end of a series. The paths start from the
    learned law of the first state and move by the learned dynamics as discretised, parameters at their fitted values:
    the check of the kinetics, in which the observations have no part but through the fit.

    Args:
        idata: From :func:`~pyro_langevin.posterior`.
        result: The fit that it was drawn from.
        observations: The data that it was drawn with.
        draws: Number of records; by default at most 100, fewer (at least 5) where the data are large.
        seed: Seed of the draws.

    Raises:
        ValueError: If the three do not belong together, or no draws are asked for.
    """
    check_match(idata, result, observations)
    count = _count(draws, result, observations)
    pyro.set_rng_seed(seed)
    values = []
    for member in result.members:
        with pyro.get_param_store().scope():
            data = observations.to(device=next(member.model.parameters()).device)
            values.append([_measured(member.model, one, data) for one in _prior_paths(member.model, data, count)])
    return with_groups(idata, {"prior_predictive": _group(idata, values, observations, np.arange(count))})


def _prior_paths(model: LangevinModel, observations: Observations, count: int) -> Iterator[Tensor]:
    """Positions ``(series, time, position_dim)`` of new paths, one by one, made in bounded memory."""
    grid = model.grid(observations)
    prior = LangevinPath(model.dynamics, model.initial(), grid)
    chunk = max(1, _NUMBERS_AT_ONCE // (observations.n_series * grid.n_points * model.dynamics.dim))
    for begin in range(0, count, chunk):
        paths = prior.rsample(torch.Size([min(chunk, count - begin)]))
        yield from at_observations(paths, grid)[..., : model.dynamics.position_dim]


def _measured(model: LangevinModel, z: Tensor, observations: Observations) -> np.ndarray:
    """One measurement ``(series, time, channel)`` of positions, NaN where they are."""
    inside = ~z.isnan().any(-1, keepdim=True)
    drawn = model.emission.distribution_along(z.nan_to_num(), observations).sample()
    return torch.where(inside, drawn, torch.nan).cpu().numpy()


def _group(idata: Any, values: list[list[np.ndarray]], observations: Observations, draw: np.ndarray) -> xr.Dataset:
    outside = ~observations.inside.cpu().numpy()
    y = np.where(outside[..., None], np.nan, np.stack([np.stack(one) for one in values]))
    coords = {
        "chain": idata["posterior"]["chain"].values, "draw": draw, "series": observations.series_names,
        "channel": observations.channels,
    }  # fmt: skip
    return xr.Dataset({"y": (("chain", *_ALONG), y)}, coords=coords)


def _count(draws: int | None, result: FitResult, observations: Observations) -> int:
    if draws is None:
        return min(100, max(5, _MOST_VALUES // (len(result.members) * observations.values.numel())))
    if draws < 1:
        raise ValueError(f"predictive draws: expected at least 1 draw, got {draws}")
    return draws


def _thinned(n_draws: int, count: int) -> np.ndarray:
    """So many of the draws, or all, evenly."""
    return np.unique(np.linspace(0, n_draws - 1, min(count, n_draws)).round().astype(int))
