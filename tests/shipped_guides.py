"""Models with a guide that says something of its own."""

from __future__ import annotations

import pytest
import torch

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide

GUIDES: list[type[AmortisedGuide]] = [pl.SteeredGuide, pl.GaussMarkovGuide]
every_guide = pytest.mark.parametrize("guide_class", GUIDES)


def prepared(
    guide_class: type[AmortisedGuide],
    data: pl.Observations,
    *,
    dim: int = 1,
    max_step: float | None = None,
    dynamics: pl.Overdamped | pl.Underdamped | None = None,
    widths: tuple[int, int] = (6, 10),
) -> tuple[pl.LangevinModel, AmortisedGuide]:
    """A model, overdamped where nothing else is said, and its guide, both started from the data and then moved."""
    if dynamics is None:
        dynamics = pl.Overdamped(pl.NeuralPotential(dim, 8))
    model = pl.LangevinModel(dynamics, pl.GaussianEmission(dim, data.obs_dim), max_step=max_step)
    guide = guide_class(model, pl.RecurrentEncoder(data.obs_dim, widths[0]), hidden=widths[1])
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        if isinstance(dynamics.potential, pl.NeuralPotential):
            dynamics.potential.height.normal_()
        for parameter in guide.head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, guide
