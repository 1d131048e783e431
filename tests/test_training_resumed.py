"""Training that is interrupted and resumed: exactly as if it had not been."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_fits import MARKS, Losses, build, fit, parameters, quicken, raise_at, restarted, same, two_states_at_lag_two

from pyro_langevin.training import seed

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


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
