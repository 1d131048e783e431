"""Fits of some seconds, whose losses a test can count, change or interrupt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.grid_filter import StateGrid
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.training import counts, loop

Fitted = tuple[pl.LangevinModel, AmortisedGuide]
#: Of every file of fits.
MARKS = [
    pytest.mark.usefixtures("fixed_seed"),
    # Pyro speaks up when a loss is not finite, before the fit repairs it.
    pytest.mark.filterwarnings("ignore:Encountered NaN"),
]
every_dim = pytest.mark.parametrize("dim", [1, 2])


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarse grid for the evidence; the landscapes that settle step and diffusion are tested elsewhere."""
    grid = StateGrid.around(-4.0, 4.0, size=50, margin=0.0)
    monkeypatch.setattr(loop.EvidenceObjective, "over", lambda _, *data: loop.EvidenceObjective.on(grid, *data))
    monkeypatch.setattr(loop, "choose_max_step", lambda *_: 0.5)
    monkeypatch.setattr(loop, "calibrate_hopping", double_diffusion)


def double_diffusion(model: pl.LangevinModel, *_: object) -> float:
    torch.randn(3)
    model.dynamics.initialise(2.0 * model.dynamics.diffusion.item())
    return 2.0


def small_data(seed: int = 0) -> pl.Observations:
    """Six series of 15 observations in two channels, two values missing."""
    rng = np.random.default_rng(seed)
    values = 2.0 * np.sign(rng.normal(size=(6, 1, 1))) + rng.normal(size=(6, 15, 2))
    values[0, 3, 0] = values[2, 7, 1] = np.nan
    return pl.Observations(values)


def build(dim: int = 1, *, hidden: int = 4, max_step: float | None = 1.0) -> Fitted:
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(dim, hidden)), pl.GaussianEmission(dim, 2), max_step=max_step
    )
    return model, pl.SteeredGuide(model, pl.RecurrentEncoder(2, 4), hidden=6)


def fit(own: Fitted, data: pl.Observations | None = None, **options: Any) -> pl.FitResult:
    settings: dict[str, Any] = {"steps": 12, "batch_size": 4, "window": 5, "device": "cpu", "progress": False}
    settings["exact"] = own[0].dynamics.dim == 1  # two dimensions stand for training on the bound alone
    return pl.fit(*own, small_data() if data is None else data, **{**settings, **options})


def parameters(member: Any) -> list[Tensor]:
    return [p.detach().clone() for module in (member.model, member.guide) for p in module.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Losses:
    """Wraps every loss of a fit: counts evaluations, and may change or interrupt one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor, int], Tensor]) -> None:
        self.count = 0
        original = loop.Trainer._objective

        def wrapped(*args: Any) -> Callable[[], Tensor]:
            current_loss = original(*args)

            def changed() -> Tensor:
                self.count += 1
                return change(current_loss(), self.count)

            return changed

        monkeypatch.setattr(loop.Trainer, "_objective", wrapped)


def raise_at(step: int, problem: BaseException) -> Callable[[Tensor, int], Tensor]:
    def change(loss: Tensor, count: int) -> Tensor:
        if count == step:
            raise problem
        return loss

    return change


def two_states_at_lag_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transitions are counted whatever the first steps have made of the potential."""
    monkeypatch.setattr(loop, "choose_lag", lambda *_: 2)
    monkeypatch.setattr(counts, "state_of_cells", lambda _, grid: (grid.points[:, 0] > 0).long())


def restarted(dim: int, state: list[dict[str, Tensor]], max_step: float | None = 1.0) -> Fitted:
    """A newly built model and guide with the given starting values."""
    own = build(dim, max_step=max_step)
    for module, values in zip(own, state, strict=True):
        module.load_state_dict(values)
    return own
