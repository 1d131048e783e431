"""Training: exact resumption, recovery, refusal of what does not fit, seeds, schedules."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.grid_filter import StateGrid
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import continuous_kinetics
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training import checkpoint as checkpoints
from pyro_langevin.training import loop, seed

Fitted = tuple[pl.LangevinModel, AmortisedGuide]
every_dim = pytest.mark.parametrize("dim", [1, 2])


# Pyro speaks up when a loss is not finite, before the fit repairs it.
pytestmark = pytest.mark.filterwarnings("ignore:Encountered NaN")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarse grid for the evidence; the landscapes that settle step and diffusion are tested elsewhere."""
    if "slow" in request.keywords:
        return
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


# --- resuming


@pytest.mark.parametrize(
    ("dim", "stop", "max_step"),
    [(1, 1, 1.0), (1, 2, 1.0), (1, 9, None), (1, 11, None), (1, 14, 1.0), (1, 20, 1.0), (2, 9, None), (2, 13, 1.0)],
)
def test_resuming_continues_exactly(
    dim: int, stop: int, max_step: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_states_at_lag_two(monkeypatch)
    state = [module.state_dict() for module in build(dim, max_step=max_step)]
    restart = partial(restarted, dim, state, max_step)
    options: dict[str, Any] = {"steps": 18, "seeds": [3], "checkpoint": tmp_path / "fit.pt"}
    whole = fit(restart(), **{**options, "checkpoint": None})
    with monkeypatch.context() as patch:
        Losses(patch, raise_at(stop, KeyboardInterrupt()))
        stopped = fit(restart(), **options)
    assert stopped.interrupted and len(stopped.members[0].loss) == stop - 1
    assert stopped.members[0].loss == whole.members[0].loss[: stop - 1]
    torch.randn(7)  # the session that resumes has other random numbers behind it
    resumed = fit(restart(), **options, resume=True)
    assert not resumed.interrupted
    assert resumed.members[0].loss == whole.members[0].loss
    assert resumed.members[0].phase == whole.members[0].phase
    assert same(parameters(resumed.members[0]), parameters(whole.members[0]))
    assert resumed.model.max_step == whole.model.max_step


def two_states_at_lag_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transitions are counted whatever the first steps have made of the potential."""
    monkeypatch.setattr(loop, "choose_lag", lambda *_: 2)
    monkeypatch.setattr(loop, "state_of_cells", lambda _, grid: (grid.points[:, 0] > 0).long())


def restarted(dim: int, state: list[dict[str, Tensor]], max_step: float | None = 1.0) -> Fitted:
    """A newly built model and guide with the given starting values."""
    own = build(dim, max_step=max_step)
    for module, values in zip(own, state, strict=True):
        module.load_state_dict(values)
    return own


def test_resuming_after_a_crash_continues_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"steps": 18, "checkpoint": tmp_path / "fit.pt"}
    state = [module.state_dict() for module in build()]
    whole = fit(restarted(1, state), **{**options, "checkpoint": None})
    with monkeypatch.context() as patch:
        Losses(patch, raise_at(11, RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(restarted(1, state), **options)
    resumed = fit(restarted(1, state), **options, resume=True)
    assert resumed.members[0].loss == whole.members[0].loss
    assert same(parameters(resumed.members[0]), parameters(whole.members[0]))


@pytest.mark.parametrize("stop", [5, 13, 25])
def test_resuming_several_seeds(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"seeds": [4, 1, 7], "checkpoint": tmp_path / "fit.pt"}
    state = [module.state_dict() for module in build(2)]
    whole = fit(restarted(2, state), **{**options, "checkpoint": None})
    with monkeypatch.context() as patch:
        Losses(patch, raise_at(stop, KeyboardInterrupt()))
        assert fit(restarted(2, state), **options).interrupted
    resumed = fit(restarted(2, state), **options, resume=True)
    assert [member.seed for member in resumed.members] == [4, 1, 7]
    for found, expected in zip(resumed.members, whole.members, strict=True):
        assert found.loss == expected.loss
        assert same(parameters(found), parameters(expected))


def test_a_crash_between_two_seeds_does_not_make_them_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"seeds": [0, 1], "checkpoint": tmp_path / "fit.pt"}
    state = [module.state_dict() for module in build()]
    whole = fit(restarted(1, state), **{**options, "checkpoint": None})
    with monkeypatch.context() as patch:
        patch.setattr(seed, "_fresh", lambda _: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(restarted(1, state), **options)
    resumed = fit(restarted(1, state), **options, resume=True)
    for found, expected in zip(resumed.members, whole.members, strict=True):
        assert found.loss == expected.loss
        assert same(parameters(found), parameters(expected))


def test_resuming_what_is_finished_returns_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"seeds": 2, "checkpoint": tmp_path / "fit.pt"}
    first = fit(build(), **options)
    counted = Losses(monkeypatch, lambda loss, _: loss)
    again = fit(build(), **options, resume=True)
    assert counted.count == 0
    for found, expected in zip(again.members, first.members, strict=True):
        assert found.loss == expected.loss and same(parameters(found), parameters(expected))


def test_resuming_in_the_same_session_with_the_same_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(max_step=None)
    options: dict[str, Any] = {"checkpoint": tmp_path / "fit.pt"}
    with monkeypatch.context() as patch:
        Losses(patch, raise_at(8, KeyboardInterrupt()))
        fit(own, **options)
    result = fit(own, **options, resume=True)
    assert not result.interrupted and len(result.members[0].loss) > 8


def test_an_interrupt_keeps_what_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(2)
    Losses(monkeypatch, raise_at(4, KeyboardInterrupt()))
    result = fit(own, seeds=3, kl_annealing=40)
    assert result.interrupted and len(result.members) == 1
    assert result.model is own[0] and result.guide is own[1]
    assert all(bool(p.isfinite().all()) and p.requires_grad for module in own for p in module.parameters())
    assert own[0].annealing == 1.0


# --- recovery


@every_dim
@pytest.mark.parametrize("where", ["loss", "gradient"])
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
        # finite, but with a gradient that is not
        return loss * float("nan") if where == "loss" else loss + (loss - loss.detach()).abs().sqrt()

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


# --- schedule


def test_a_plateau_ends_a_phase_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PLATEAU", 5)
    noise = torch.Generator().manual_seed(0)
    Losses(monkeypatch, lambda loss, _: 0.0 * loss + torch.randn((), generator=noise))
    flat = fit(build(2), steps=60)
    bound = flat.members[0].phase.count("bound")
    # 40 steps planned; noticed after 10 or a little later, then 16 with a falling rate
    assert 26 <= bound < 40


def test_a_falling_loss_gets_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PLATEAU", 5)
    noise = torch.Generator().manual_seed(0)
    Losses(monkeypatch, lambda loss, count: 0.0 * loss + 0.1 * torch.randn((), generator=noise) - count)
    falling = fit(build(2), steps=60)
    assert falling.members[0].phase.count("bound") == 40 and len(falling.members[0].loss) == 60


def test_the_rate_warms_up_and_falls_to_almost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, ...]] = []
    original = loop.Trainer._set_rate

    def set_rate(self: loop.Trainer, optimizer: torch.optim.Optimizer, phase: Any) -> None:
        original(self, optimizer, phase)
        if phase.name == "bound":
            rates.append(tuple(group["lr"] for group in optimizer.param_groups))

    monkeypatch.setattr(loop, "_WARM_UP", 4)
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


# --- seeds


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


# --- checkpoints


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "fit.pt"
    fit(build(), checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"own": lambda: build(hidden=5)}, "another model"),
        ({"own": lambda: build(2)}, "another model"),
        ({"data": small_data(1)}, "another data"),
        ({"steps": 20}, "another settings"),
        ({"learning_rate": 1e-3}, "another settings"),
        ({"seeds": [5]}, "another settings"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(saved: Path, options: dict[str, Any], what: str) -> None:
    before = saved.read_bytes()
    own = options.pop("own", build)()
    with pytest.raises(pl.CheckpointError, match=f"was written for {what} .*use the same or fit without") as problem:
        fit(own, **options, checkpoint=saved, resume=True)
    assert "\n" not in str(problem.value) and str(saved) in str(problem.value)
    assert saved.read_bytes() == before


def damaged(kind: str, whole: bytes) -> bytes:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return builtins.exec, ("raise SystemExit('code in a checkpoint was run')",)

    return {
        "cut short": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"time,value\n1,2\n" * 50,
        "flipped": whole[:-4000] + bytes(255 - byte for byte in whole[-4000:]),
        "a pickle": pickle.dumps({"format": 1}),
        "hostile": pickle.dumps(Trap()),
    }[kind]


@pytest.mark.parametrize("kind", ["cut short", "empty", "text", "flipped", "a pickle", "hostile"])
def test_a_damaged_checkpoint_is_refused(saved: Path, kind: str) -> None:
    saved.write_bytes(damaged(kind, saved.read_bytes()))
    with pytest.raises(pl.CheckpointError, match="fit again without resuming") as problem:
        fit(build(), checkpoint=saved, resume=True)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("content", [{"format": 999}, {"format": 1}, {"weights": torch.zeros(3)}, [1, 2, 3]])
def test_a_file_of_another_format_is_refused(saved: Path, content: Any) -> None:
    torch.save(content, saved)
    with pytest.raises(pl.CheckpointError, match="another format"):
        fit(build(), checkpoint=saved, resume=True)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(pl.CheckpointError, match=r"there is none at .*none.pt"):
        fit(build(), checkpoint=tmp_path / "none.pt", resume=True)
    with pytest.raises(ValueError, match="needs checkpoint=FILE"):
        fit(build(), resume=True)


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(
    saved: Path, problem: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def save(_: Any, stream: Any) -> None:
        stream.write(b"half a checkpoint")
        raise problem

    monkeypatch.setattr(checkpoints.torch, "save", save)
    expected = pl.CheckpointError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        checkpoints.save_checkpoint(saved, {"identity": {}})
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]
    if isinstance(problem, OSError):
        assert "No space left" in str(caught.value) and "untouched" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_an_error_before_long(tmp_path: Path) -> None:
    with pytest.raises(pl.CheckpointError, match="could not write"):
        fit(build(), checkpoint=tmp_path / "nowhere" / "fit.pt")


def test_checkpoints_are_readable_without_running_code(saved: Path) -> None:
    assert torch.load(saved, weights_only=True)["format"] == 1


# --- refusals


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(pl.TrainingError, match='"cuda" was asked for, but there is none; use device="auto"'):
        fit(build(), device="cuda")
    assert next(fit(build(), device="auto", steps=3).model.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 2}, "at least 3 steps, got 2"),
        ({"data": pl.Observations(np.random.default_rng(0).normal(size=(3, 9, 4)))}, r"expected \(series, time, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(build(), **change)


# --- the double well


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("gap", [0.1, 0.5])
def test_the_double_well_is_recovered(gap: float) -> None:
    """256 series of 201 observations, noise .3: MFPT within 15 %, barriers within .3 kT."""
    data = datasets.double_well(gap=gap, noise=0.3, seed=7)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
    pl.fit(model, guide, data.observations, progress=False)
    starts = guide.path(data.observations.select(range(20))).rsample().detach().reshape(-1, 1)
    landscape = pl.find_landscape(model.dynamics.potential, starts)
    assert landscape.n_states == 2
    exact = datasets.DOUBLE_WELL
    barriers = landscape.beta_barrier[[0, 1], [1, 0]]
    np.testing.assert_allclose(barriers, exact.barrier(0, 1), atol=0.3)
    kinetics = continuous_kinetics(landscape, model.dynamics.diffusion.item())
    np.testing.assert_allclose(kinetics.mfpt[[0, 1], [1, 0]], exact.mfpt[0, 1], rtol=0.15)
    np.testing.assert_allclose(kinetics.occupancy, exact.occupancy, atol=0.05)
    if gap == 0.1:
        assert model.emission.noise.item() == pytest.approx(0.3, rel=0.05)
    else:
        # every .5 a well is forgotten between observations, and noise is told from the spread inside a well by the
        # shape of their sum alone: what the data do say is that the truth explains them no better than the fit
        truth = true_double_well(model.initial)
        grid = StateGrid.around(-2.5, 2.5, size=240, margin=0.0)
        with torch.no_grad():
            fitted, true = (pl.grid_log_evidence(one, data.observations, grid).sum() for one in (model, truth))
        assert fitted > true


def true_double_well(initial: MixtureInitial) -> pl.LangevinModel:
    """What the data were drawn from, a fitted law of the first state aside."""
    emission = pl.GaussianEmission(1, 1)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
        emission.noise = torch.tensor([0.3])
    own = MixtureInitial(1, len(initial.centres))
    own.load_state_dict(initial.state_dict())
    return pl.LangevinModel(pl.Overdamped(DoubleWell(), friction=1.0), emission, initial=own)
