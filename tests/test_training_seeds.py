"""Fits from several seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_fits import MARKS, build, every_dim, fit, parameters, quicken, restarted, same, small_data

from pyro_langevin.training import loop

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@every_dim
def test_seeds_are_independent_and_reproducible(dim: int) -> None:
    state = [module.state_dict() for module in build(dim)]
    first = fit(restarted(dim, state), seeds=[0, 1], steps=8)
    drawn = [parameters(member) for member in first.members]
    assert not same(drawn[0], drawn[1])
    owners = [{id(p) for module in (m.model, m.guide) for p in module.parameters()} for m in first.members]
    assert not owners[0] & owners[1]
    for one in range(len(drawn[0])):  # no part is shared by accident
        if drawn[0][one].numel() > 1 and not torch.equal(drawn[0][one], torch.zeros_like(drawn[0][one])):
            assert not torch.equal(drawn[0][one], drawn[1][one])
    torch.randn(5)
    again = fit(restarted(dim, state), seeds=[0, 1], steps=8)
    for found, expected in zip(again.members, drawn, strict=True):
        assert same(parameters(found), expected)


def test_a_seed_gives_the_same_fit_in_any_company() -> None:
    state = [module.state_dict() for module in build(2)]
    first = fit(restarted(2, state), seeds=[0, 1])
    other = fit(restarted(2, state), seeds=[9, 1], steps=12)
    assert first.members[1].loss == other.members[1].loss
    assert same(parameters(first.members[1]), parameters(other.members[1]))


def test_later_seeds_start_as_gently_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[list[float]] = []
    original = loop.Trainer.run

    def run(self: loop.Trainer, bar: Any) -> None:
        head = self.guide.head
        scales.append([float(layer.weight.detach().std()) for layer in (head.place, head.first, head.output)])
        original(self, bar)

    monkeypatch.setattr(loop.Trainer, "run", run)
    fit(build(2), seeds=3, steps=3)
    for later in scales[1:]:
        np.testing.assert_allclose(later, scales[0], rtol=0.6)


def test_a_second_fit_in_one_session_knows_nothing_of_the_first() -> None:
    state = [module.state_dict() for module in build(2)]
    alone = parameters(fit(restarted(2, state)).members[0])
    fit(build(2), small_data(5), learning_rate=0.1)
    assert same(parameters(fit(restarted(2, state)).members[0]), alone)


@pytest.mark.parametrize("seeds", [[], 0, [1, 1]])
def test_no_seed_and_repeated_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises(ValueError, match="at least one seed and no seed twice"):
        fit(build(), seeds=seeds)
