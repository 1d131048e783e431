"""The command line in processes that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyro_langevin import datasets
from pyro_langevin.cli import main

PROCESSES = 2


def csv(path: Path) -> Path:
    values = datasets.double_well(3, 40, noise=0.2, seed=1).observations.values[..., 0].tolist()
    rows = [f"m{s},{0.1 * k:.1f},{value:.4f}" for s, series in enumerate(values) for k, value in enumerate(series)]
    path.write_text("\n".join(["molecule,t,x", *rows]) + "\n")
    return path


def words(path: Path, out: Path) -> list[str]:
    where = ["--out", str(out), "--time", "t", "--values", "x", "--series", "molecule"]
    return ["fit", str(path), *where, "--steps", "6", "--seeds", "1", "--draws", "4"]


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}")


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [*TORCHRUN, "-m", "pyro_langevin", *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(program, capture_output=True, text=True, timeout=600, env=one_thread)


@pytest.mark.slow
def test_torchrun_fits_as_one_process_does_and_reports_once(tmp_path: Path) -> None:
    data = csv(tmp_path / "data.csv")
    ended = torchrun(*words(data, tmp_path / "two"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Observations(3 series") == 1 and ended.stdout.count("report.html") == 1
    assert main([*words(data, tmp_path / "one"), "--quiet"]) == 0
    one, two = (torch.load(tmp_path / name / "checkpoint.pt")["finished"][0]["model"] for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-4)
    states = [json.loads((tmp_path / name / "summary.json").read_text())["n_states"] for name in ("one", "two")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_torchrun_ends_with_a_clear_line_when_the_file_is_missing(tmp_path: Path) -> None:
    ended = torchrun(*words(tmp_path / "nothing.csv", tmp_path / "out"))
    assert ended.returncode != 0
    assert "nothing.csv: expected a readable" in ended.stderr
