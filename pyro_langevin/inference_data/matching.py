"""Draws, the fit that they came from and the data that it was conditioned on: whether they belong together."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_langevin.inference_data.assemble import groups_of
from pyro_langevin.observations import Observations
from pyro_langevin.training import FitResult


def draw_numbers(idata: Any) -> np.ndarray:
    """Numbers of the draws."""
    posterior = groups_of(idata)["posterior"]
    return posterior["draw"].values if "draw" in posterior.coords else np.arange(posterior.sizes["draw"])


def drawn_positions(idata: Any, result: FitResult, observations: Observations) -> np.ndarray:
    """Drawn positions ``(chain, draw, series, time, position_dim)``."""
    check_match(idata, result, observations)
    return groups_of(idata)["posterior"]["z"].transpose("chain", "draw", "series", "time", "latent_dim").values


def check_match(idata: Any, result: FitResult, observations: Observations) -> None:
    """Refuse draws of other data or another fit.

    Raises:
        ValueError: If the number of fits, series or times differs.
    """
    sizes = groups_of(idata)["posterior"].sizes
    came = (sizes["chain"], sizes["series"], sizes["time"])
    expected = (len(result.members), observations.n_series, observations.n_times)
    if came != expected:
        raise ValueError(
            f"idata: expected draws of {expected[0]} fits, {expected[1]} series and {expected[2]} times, got {came}; "
            "give the fit and the observations that posterior() was called with"
        )
