"""Seeds that are trained apart, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hopping_fits import fit, record, same

import pyro_langevin as pl
from pyro_langevin.training import fitting
from pyro_langevin.training.workers import train_apart

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.usefixtures("one_thread")
def test_seeds_in_workers_are_those_of_one_process_and_a_checkpoint_has_them(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 3, "seeds": [4, 1], "exact": False}
    whole = fit(**options)
    after = torch.rand(3)
    apart = fit(**options, workers=2, checkpoint=tmp_path / "fit.pt")
    assert torch.equal(torch.rand(3), after)  # draws that follow are the same as well
    assert same(apart, whole) and [member.seed for member in apart.members] == [4, 1]
    assert [member.phase for member in apart.members] == [member.phase for member in whole.members]
    assert same(fit(**options, resume=True, checkpoint=tmp_path / "fit.pt"), whole)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_among_workers_keeps_the_finished_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        def update(self, steps: int) -> None: ...
        def set_description(self, text: str, refresh: bool) -> None: ...
        def set_postfix(self, **figures: Any) -> None: ...

    def second_only(tasks: dict[int, Any], *, keep: Callable[..., None], **_: Any) -> None:
        keep(1, tasks[1](Bar()))
        raise KeyboardInterrupt

    options: dict[str, Any] = {"steps": 3, "seeds": [4, 1], "exact": False, "checkpoint": tmp_path / "fit.pt"}
    whole = fit(**{**options, "checkpoint": None})
    with monkeypatch.context() as once:
        once.setattr(fitting, "train_apart", second_only)
        stopped = fit(**options, workers=2)
    assert stopped.interrupted and [member.seed for member in stopped.members] == [1]
    assert stopped.members[0].finished
    assert same(fit(**options, resume=True), whole)


def test_ctrl_c_before_any_seed_is_finished_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "train_apart", none)
    with pytest.raises(KeyboardInterrupt):
        fit(seeds=2, workers=2)


def test_what_cannot_be_pickled_is_refused_with_the_fix() -> None:
    class Local(pl.NeuralPotential):
        pass

    model = pl.LangevinModel(pl.Overdamped(Local(1, 4)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)
    with pytest.raises(pl.TrainingError, match=r"cannot be pickled .*Local.* at the top level .* workers=1"):
        pl.fit(model, guide, record(), seeds=2, workers=2, progress=False)


def test_no_worker_is_refused() -> None:
    with pytest.raises(pl.TrainingError, match="expected at least one worker"):
        fit(workers=0)


def task_that_dies(bar: Any) -> dict[str, Any]:
    os._exit(9)


def task_that_fails(bar: Any) -> dict[str, Any]:
    raise pl.TrainingError("fit: the loss was not finite")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (task_that_dies, r"trained seed 3 ended without a result \(exit code 9\)"),
        pytest.param(task_that_fails, "was not finite", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_fails_is_heard(task: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(pl.TrainingError, match=said):
        train_apart({3: task}, workers=2, bar=None, keep=lambda *_: None)


def test_a_script_that_fits_where_it_is_imported_is_told_how_to_mend_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pyro_langevin.training.workers import train_apart\n"
        "class Task:\n"
        "    data = None\n"
        "    def __call__(self, bar):\n"
        "        return {}\n"
        "task = Task()\n"
        "task.data = bytes(1_000_000)\n"  # more than a pipe holds
        "train_apart({0: task}, workers=2, bar=None, keep=print)\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 1
    assert 'in a script call fit under `if __name__ == "__main__":`' in ended.stderr.strip().splitlines()[-1]


def test_fits_made_apart_are_joined() -> None:
    results = [fit(steps=3, seeds=[seed], exact=False) for seed in (5, 2)]
    joined = pl.FitResult.joined(results)
    assert [member.seed for member in joined.members] == [5, 2] and not joined.interrupted
    with pytest.raises(ValueError, match=r"different seeds, got seeds \[5, 2, 5\]"):
        pl.FitResult.joined([joined, results[0]])
    with pytest.raises(ValueError, match="got seeds"):
        pl.FitResult.joined([])
