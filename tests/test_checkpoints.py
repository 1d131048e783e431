"""Checkpoints, and what a fit refuses."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_fits import MARKS, build, fit, quicken, small_data

import pyro_langevin as pl
from pyro_langevin.training import checkpoint as checkpoints

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


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
