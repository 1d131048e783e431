"""The command line: what survives an interruption, a full disk and a fault of the program."""

from __future__ import annotations

import errno
import functools
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command_line import FILES, QUICK, contents, fit_record, only_line

from pyro_langevin import load_draws
from pyro_langevin.cli import main


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run in the background, whose processes are born deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during that step of the optimiser, counted from now on."""
    take_step, taken = torch.optim.Adam.step, [0]

    def interrupted(self: torch.optim.Adam, *args: object) -> object:
        taken[0] += 1
        if taken[0] == step:
            signal.raise_signal(signal.SIGINT)
        return take_step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_in_training_reports_what_is_fitted_and_resume_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as once:
        interrupt_at(3, once)
        assert fit_record(tmp_path, "--quiet", "--seeds", "2") == 130
    assert sorted(contents(out)) == sorted(FILES)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0]
    assert any("training was interrupted" in text for text in summary["warnings"])
    said = capsys.readouterr().err
    assert "interrupted; reporting what is fitted; --resume goes on from" in said and "Traceback" not in said

    with monkeypatch.context() as once:
        interrupt_at(6, once)  # now in the second seed, as three steps of the first are left
        assert fit_record(tmp_path, "--quiet", "--seeds", "2", "--resume") == 130
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0]
    assert not any("training was interrupted" in text for text in summary["warnings"])
    assert "seed 1 is not finished and is left out of the report" in capsys.readouterr().err

    assert fit_record(tmp_path, "--quiet", "--seeds", "2", "--resume") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]
    assert not any("training was interrupted" in text for text in summary["warnings"])
    loss = load_draws(out / "posterior.nc").sample_stats.loss
    # both seeds went all the way; transitions at a lag are left out where a seed has found one state
    assert set(loss.notnull().sum("iteration").values.tolist()) <= {4, 7}


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def ctrl_c(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("accident", "code"), [(no_space, 2), (ctrl_c, 130)])
def test_old_files_survive_a_full_disk_or_ctrl_c_while_saving(
    accident: Callable[...,
    None],
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert fit_record(tmp_path, "--quiet") == 0
    before = contents(tmp_path / "out")
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", accident)
    assert fit_record(tmp_path, "--quiet", "--steps", "7") == code
    assert contents(tmp_path / "out") == before
    only_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "size"), [("checkpoint.pt", 20_000), ("posterior.nc", 650_000)])
def test_old_files_survive_a_disk_that_fills_up(file: str, size: int, tmp_path: Path) -> None:
    """In a process of its own, whose files may not outgrow a limit: the errors are then the system's."""
    assert fit_record(tmp_path, "--quiet") == 0
    before = contents(tmp_path / "out")
    assert len(before["checkpoint.pt"]) < 650_000
    where = ("--out", str(tmp_path / "out"), "--time", "t", "--values", "x,y", "--series", "molecule")
    words = ("fit", str(tmp_path / "data.csv"), *where, *QUICK, "--quiet", "--draws", "2500")
    ended = subprocess.run(
        [sys.executable, "-m", "pyro_langevin", *words],
        preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyro-langevin: ") and file in lines[0]
    after = contents(tmp_path / "out")
    assert after.keys() == before.keys() and after[file] == before[file]


def test_old_summary_and_report_survive_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_record(tmp_path, "--quiet")
    before = contents(tmp_path / "out")
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", no_space)
    assert main(["report", str(tmp_path / "out")]) == 2
    assert "summary.json: could not be written (No space left on device); the old one is" in only_line(capsys)
    assert contents(tmp_path / "out") == before


def test_a_fault_of_the_program_is_one_line_too_and_a_traceback_where_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr("pyro_langevin.cli.fit.posterior", broken)
    assert fit_record(tmp_path, "--quiet") == 70
    assert "unexpected ZeroDivisionError: first line second line; pyro-langevin --traceback" in only_line(capsys)
    where = (
        "--out",
        str(tmp_path / "out"),
        "--time",
        "t",
        "--values",
        "x",
        "--series",
        "molecule",
        "--quiet",
    )
    with pytest.raises(ZeroDivisionError):
        main(["--traceback", "fit", str(tmp_path / "data.csv"), *where, *QUICK])
