"""How a fit goes: plateaus, rates, annealing, phases, the step and the diffusion."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from small_fits import MARKS, Losses, build, every_dim, fit, quicken, restarted, same, two_states_at_lag_two
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.training import loop, progress

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


# --- schedule


def test_a_plateau_ends_a_phase_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLATEAU", 5)
    noise = torch.Generator().manual_seed(0)
    Losses(monkeypatch, lambda loss, _: 0.0 * loss + torch.randn((), generator=noise))
    flat = fit(build(2), steps=60)
    bound = flat.members[0].phase.count("bound")
    # 40 steps planned; noticed after 10 or a little later, then 16 with a falling rate
    assert 26 <= bound < 40


def test_a_falling_loss_gets_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLATEAU", 5)
    noise = torch.Generator().manual_seed(0)
    Losses(monkeypatch, lambda loss, count: 0.0 * loss + 0.1 * torch.randn((), generator=noise) - count)
    falling = fit(build(2), steps=60)
    assert falling.members[0].phase.count("bound") == 40 and len(falling.members[0].loss) == 60


@every_dim
def test_a_step_takes_every_window_once_where_there_are_no_more_than_a_batch(dim: int) -> None:
    built = build(dim)
    start = [copy.deepcopy(module.state_dict()) for module in built]
    found = []
    for batch_size in (18, 64):  # six series of three windows
        torch.manual_seed(0)
        found.append(fit(restarted(dim, start), batch_size=batch_size).members[0].loss)
    assert found[0] == found[1]
    torch.manual_seed(0)
    assert found[0] != fit(restarted(dim, start), batch_size=17).members[0].loss


def test_the_rate_warms_up_and_falls_to_almost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, ...]] = []
    original = loop.Trainer._set_rate

    def set_rate(self: loop.Trainer, optimizer: torch.optim.Optimizer, phase: Any) -> None:
        original(self, optimizer, phase)
        if phase.name == "bound":
            rates.append(tuple(group["lr"] for group in optimizer.param_groups))

    monkeypatch.setattr(progress, "_WARM_UP", 4)
    monkeypatch.setattr(loop.Trainer, "_set_rate", set_rate)
    fit(build(2), steps=30, learning_rate=1e-3)
    guide = np.array(rates)[:, 1]
    assert len(guide) == 20
    np.testing.assert_allclose(guide[:4], 1e-3 * np.arange(1, 5) / 4)
    np.testing.assert_allclose(guide[4:10], 1e-3)
    assert (np.diff(guide[10:]) < 0).all() and guide[-1] < 0.1e-3
    assert len(np.unique(np.round(np.array(rates)[:, 0] / guide, 9))) == 1


def test_annealing_rises_to_one_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(2)
    weights: list[float] = []

    def note(loss: Tensor, _: int) -> Tensor:
        weights.append(own[0].annealing)
        return loss

    Losses(monkeypatch, note)
    result = fit(own, steps=21, kl_annealing=6)
    assert weights[0] == pytest.approx(0.1) and weights[3] == pytest.approx(0.55)
    assert (np.diff(weights[:7]) > 0).all() and weights[6:] == [1.0] * 15
    assert own[0].annealing == 1.0 and result.members[0].phase.count("bound") == 14


def test_without_annealing_the_prior_has_full_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(2)
    weights: set[float] = set()

    def note(loss: Tensor, _: int) -> Tensor:
        weights.add(own[0].annealing)
        return loss

    Losses(monkeypatch, note)
    fit(own)
    assert weights == {1.0}


# --- phases


def test_each_phase_trains_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(1)
    before: dict[str, list[Tensor]] = {}
    names: list[str] = []
    original = loop.Trainer._run_phase

    def run_phase(self: loop.Trainer, phase: Any, bar: Any) -> None:
        begin = [[p.detach().clone() for p in module.parameters()] for module in own]
        original(self, phase, bar)
        end = [[p.detach().clone() for p in module.parameters()] for module in own]
        names.append(phase.name)
        trained = (phase.model_factor > 0, phase.guide_factor > 0)
        assert tuple(not same(a, b) for a, b in zip(begin, end, strict=True)) == trained
        before[phase.name] = begin[0]

    monkeypatch.setattr(loop.Trainer, "_run_phase", run_phase)
    two_states_at_lag_two(monkeypatch)
    fit(own, steps=16)
    assert names == ["evidence", "transitions", "hops", "hops", "posterior"]
    assert all(p.requires_grad for module in own for p in module.parameters())


def test_evidence_is_left_out_on_demand_and_in_more_dimensions() -> None:
    assert "evidence" in fit(build(1)).members[0].phase
    assert set(fit(build(1), exact=False).members[0].phase) == {"bound", "posterior"}
    assert set(fit(build(2)).members[0].phase) == {"bound", "posterior"}


@every_dim
def test_the_step_is_chosen_unless_it_is_given(dim: int) -> None:
    chosen = fit(build(dim, max_step=None)).model.max_step
    assert chosen == pytest.approx(0.5 if dim == 1 else 0.125, rel=1e-5)
    assert fit(build(dim, max_step=0.37)).model.max_step == 0.37


@every_dim
def test_training_lowers_the_loss(dim: int) -> None:
    losses = fit(build(dim), steps=24, learning_rate=2e-2, batch_size=100).members[0]
    first = [value for value, name in zip(losses.loss, losses.phase, strict=True) if name == losses.phase[0]]
    assert np.mean(first[-3:]) < np.mean(first[:3])


def test_gauss_markov_guides_and_ragged_data_with_gaps() -> None:
    rng = np.random.default_rng(0)
    lengths = (15, 4, 9, 2)
    values = [rng.normal(size=(n, 2)) for n in lengths]
    values[0][3] = np.nan
    times = [np.cumsum(0.2 + rng.uniform(size=n)) for n in lengths]
    model, _ = build(1)
    guide = pl.GaussMarkovGuide(model, pl.RecurrentEncoder(2, 4), hidden=6)
    result = pl.fit(model, guide, pl.Observations(values, times), steps=9, batch_size=3, progress=False)
    assert np.isfinite(result.members[0].loss).all()


def test_the_diffusion_is_calibrated_once_and_then_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(2)
    seen: list[float] = []

    def note(loss: Tensor, _: int) -> Tensor:
        seen.append(own[0].dynamics.diffusion.item())
        return loss

    Losses(monkeypatch, note)
    names = fit(own).members[0].phase
    first = names.index("posterior")
    assert set(seen[first:]) == {own[0].dynamics.diffusion.item()}
    assert 1.5 < seen[first] / seen[first - 1] < 2.5


@pytest.mark.parametrize("kept_on_disk", [False, True])
def test_a_break_of_the_record_is_told(kept_on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    values, times = np.sin(np.arange(40.0)), np.arange(40.0)
    times[20:] += 2000.0
    data = pl.LongRecord(values, times) if kept_on_disk else pl.Observations(values, times)
    fix = "give the record as a list" if kept_on_disk else r"cut the series there, observations.cut_at_gaps\(1e\+03\)"
    monkeypatch.setattr(loop.Trainer, "run", lambda *_: None)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)
    with pytest.warns(UserWarning, match=rf"a gap of 2001 is 2001 times the typical one; .*{fix}"):
        pl.fit(model, guide, data, steps=6, device="cpu", progress=False)
