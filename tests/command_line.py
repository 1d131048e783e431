"""The command line on a small record, and what it wrote and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_langevin import datasets
from pyro_langevin.cli import main

FILES = ("checkpoint.pt", "posterior.nc", "report.html", "summary.json")
QUICK = ("--steps", "6", "--seeds", "1", "--draws", "4")


def record(path: Path, *, n_series: int = 3, n_times: int = 40, channels: str = "xy") -> Path:
    """A file of series that hop between two places."""
    data = datasets.double_well(n_series, n_times, noise=0.2, channels=len(channels), seed=1)
    lines = [",".join(["molecule", "t", *channels])]
    for series, values in enumerate(data.observations.values.tolist()):
        lines += [
            ",".join([f"m{series}", f"{0.1 * row:.1f}", *(f"{value:.4f}" for value in entry)])
            for row, entry in enumerate(values)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def fit_record(folder: Path, *options: str) -> int:
    """Exit code of ``fit`` of the record in ``data.csv`` of the folder into its ``out``; later options win."""
    data = record(folder / "data.csv")
    where = ("--out", str(folder / "out"), "--time", "t", "--values", "x,y", "--series", "molecule")
    return main(["fit", str(data), *where, *QUICK, *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said, on stderr."""
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyro-langevin: "), printed.err
    return lines[0]
