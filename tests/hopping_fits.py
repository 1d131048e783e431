"""Small fits of a record that hops, to be repeated by several processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.guides import AmortisedGuide

Fitted = tuple[pl.LangevinModel, AmortisedGuide]


def record(seed: int = 1) -> pl.Observations:
    """Twelve series that hop between two wells, a few values missing, so that shares differ in their number."""
    values = datasets.double_well(12, 60, gap=0.3, noise=0.2, seed=seed).observations.values.clone()
    values[0, 5:40] = values[3, 7] = torch.nan
    return pl.Observations(values, 0.3 * np.arange(60))


def build() -> Fitted:
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, 1))
    return model, pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)


def fit(data: pl.Observations | None = None, **options: Any) -> pl.FitResult:
    pyro.set_rng_seed(0)
    settings: dict[str, Any] = {"steps": 24, "batch_size": 5, "device": "cpu", "progress": False}
    return pl.fit(*build(), record() if data is None else data, **{**settings, **options})


def parts(result: pl.FitResult) -> list[dict[str, Tensor]]:
    """All that was learned of every seed: states of model and guide, losses."""
    return [
        {
            **{f"model.{name}": value for name, value in member.model.state_dict().items()},
            **{f"guide.{name}": value for name, value in member.guide.state_dict().items()},
            "loss": torch.tensor(member.loss),
            "max_step": torch.tensor(member.model.max_step),
        }
        for member in result.members
    ]


def same(found: pl.FitResult, expected: pl.FitResult) -> bool:
    pairs = zip(parts(found), parts(expected), strict=True)
    return all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)
