"""Controlled guides of every kind, each with its model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ragged_series import CHANNELS

import pyro_langevin as pl


def model_for(data: pl.Observations, dim: int = 1, max_step: float | None = None) -> pl.LangevinModel:
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(dim, 8)), pl.GaussianEmission(dim, data.obs_dim), max_step=max_step
    )
    with torch.no_grad():
        model.dynamics.potential.height.normal_()
    return model


KINDS: dict[str, Callable[[pl.LangevinModel], pl.ControlledGuide]] = {
    "two-sided": lambda model: pl.ControlledGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10),
    "smoothing": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Smoothing()), hidden=10
    ),
    "filtering": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering()), hidden=10
    ),
    "absolute": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10, parametrisation=pl.Absolute()
    ),
    "residual": lambda model: residual(model),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def residual(model: pl.LangevinModel) -> pl.ControlledGuide:
    base = pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    return pl.ControlledGuide(model, base.encoder, base=base, hidden=10)


def prepared(
    kind: str, data: pl.Observations, *, dim: int = 1, max_step: float | None = None, speaks: bool = True
) -> tuple[pl.LangevinModel, pl.ControlledGuide]:
    model = model_for(data, dim, max_step)
    guide = KINDS[kind](model)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        model.dynamics.potential.height.normal_()
        if speaks:
            for parameter in guide.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model, guide
