"""Training through losses that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_fits import MARKS, Losses, build, every_dim, fit, parameters, quicken, same
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.training import loop

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@every_dim
@pytest.mark.parametrize("where", ["loss", "gradient", "size of the gradient"])
def test_one_bad_loss_returns_to_the_last_good_state(dim: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(dim)
    seen: list[list[Tensor]] = []
    rates: list[float] = []
    original = loop.Trainer._set_rate

    def set_rate(self: loop.Trainer, optimizer: torch.optim.Optimizer, phase: Any) -> None:
        original(self, optimizer, phase)
        seen.append([p.detach().clone() for module in own for p in module.parameters()])
        rates.append(optimizer.param_groups[0]["lr"])

    def change(loss: Tensor, count: int) -> Tensor:
        if count != 4:
            return loss
        if where == "loss":
            return loss * float("nan")
        # finite, but with a gradient that is not, or one whose square overflows
        change = loss - loss.detach()
        return loss + (change.abs().sqrt() if where == "gradient" else 1e25 * change)

    monkeypatch.setattr(loop.Trainer, "_set_rate", set_rate)
    Losses(monkeypatch, change)
    result = fit(own, steps=24)
    member = result.members[0]
    assert member.restarts == 1
    assert same(seen[4], seen[0]) and not same(seen[3], seen[0])
    assert rates[4] == pytest.approx(0.5 * rates[0])
    assert np.isfinite(member.loss).all() and len(member.loss) == len(member.phase)
    assert all(bool(p.isfinite().all()) for p in parameters(member))


def test_recovery_goes_back_to_a_snapshot_not_to_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_SNAPSHOT_EVERY", 3)
    counted = Losses(monkeypatch, lambda loss, count: loss * float("nan") if count == 6 else loss)
    result = fit(build(2), steps=24)
    # the sixth evaluation was lost, and the two steps since the snapshot at step three were taken again
    assert counted.count == 24 + 3 and len(result.members[0].loss) == 24


@every_dim
def test_a_loss_that_stays_bad_ends_in_an_error_that_names_the_parameter(
    dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = build(dim)

    def change(loss: Tensor, _: int) -> Tensor:
        return loss + own[0].dynamics.potential.bias.sum() * float("nan")

    counted = Losses(monkeypatch, change)
    with pytest.raises(
        pl.TrainingError, match=r"gradient of dynamics.potential.bias .*; lower learning_rate"
    ) as problem:
        fit(own)
    assert "\n" not in str(problem.value) and 2 < counted.count < 30
    assert all(p.requires_grad for module in own for p in module.parameters())
    assert all(bool(p.isfinite().all()) for module in own for p in module.parameters())


def test_an_infinite_loss_without_a_gradient_names_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    Losses(monkeypatch, lambda loss, _: loss + float("inf"))
    with pytest.raises(pl.TrainingError, match="the loss was not finite"):
        fit(build())


def test_a_guide_that_cannot_be_trained_does_not_cost_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    before = loop.bound

    def broken(model: pl.LangevinModel, guide: Any) -> Any:
        loss = before(model, guide)
        return lambda batch: loss(batch) * float("nan")

    monkeypatch.setattr(loop, "bound", broken)
    with pytest.warns(RuntimeWarning, match=r"was not finite .* The model itself is fitted"):
        member = fit(build(1), steps=24).members[0]
    assert member.grid is not None and "evidence" in member.phase and "posterior" not in member.phase
    assert all(bool(p.isfinite().all()) for p in parameters(member))
