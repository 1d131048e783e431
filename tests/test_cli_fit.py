"""The command line: what `fit` and `report` write and print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import FILES, QUICK, contents, fit_record, record

from pyro_langevin import load_draws
from pyro_langevin.cli import main
from pyro_langevin.training import fit


def test_fit_writes_four_files_and_prints_them_and_report_writes_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_record(tmp_path, "--seeds", "2", "--time-unit", "ms") == 0
    out = tmp_path / "out"
    assert sorted(contents(out)) == sorted(FILES)
    printed = capsys.readouterr()
    assert printed.out.startswith("Observations(3 series, 40 times, 2 channels")
    for text in ("occupancy[A]", "potential/paths", *FILES):
        assert text in printed.out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0, 1] and summary["time_unit"] == "ms" and summary["channels"] == ["x", "y"]
    assert all(0.0 <= state["occupancy"]["mean"] <= 1.0 for state in summary["states"])
    said = [line for line in printed.err.splitlines() if line.startswith("pyro-langevin: ")]
    assert said == [f"pyro-langevin: warning: {text}" for text in summary["warnings"]]
    posterior = load_draws(out / "posterior.nc").posterior
    assert posterior.sizes["draw"] == 4
    diffusion = posterior.diffusion.values[:, 0, 0]
    assert diffusion[0] != diffusion[1]  # each seed is a fit of its own

    (out / "summary.json").unlink()
    (out / "report.html").write_text("old")
    assert main(["report", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text()) == summary
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "occupancy[A]" in capsys.readouterr().out


def test_a_fit_is_the_same_whatever_was_fitted_before(tmp_path: Path) -> None:
    fit_record(tmp_path, "--quiet")
    first = json.loads((tmp_path / "out" / "summary.json").read_text())
    fit_record(tmp_path, "--quiet", "--values", "x", "--potential", "mixture")
    fit_record(tmp_path, "--quiet")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == first


def test_values_with_a_minus_an_undefined_transform_and_a_quiet_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_record(tmp_path, "--quiet", "--transform", "-exp(x),sqrt(y)", "--time-range", "-5,2.05") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0].startswith("pyro-langevin: warning: transform '-exp(x),sqrt(y)': ")
    assert all(line.startswith("pyro-langevin: warning: ") for line in lines)
    y = load_draws(tmp_path / "out" / "posterior.nc").observed_data.y
    assert y.sizes["time"] == 21 and list(y.channel) == ["-exp(x)", "sqrt(y)"]
    assert (y.sel(channel="-exp(x)") < 0).all() and y.sel(channel="sqrt(y)").isnull().any()


@pytest.mark.parametrize("emission", ["studentt", "poisson", "categorical", "bernoulli"])
def test_other_kinds_of_data_are_fitted(emission: str, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(2 if emission == "bernoulli" else 4, size=40)
    codes[5] = codes.max()
    lines = ["t,n", *(f"{0.5 * row},{code}" for row, code in enumerate(codes)), "20,"]
    (tmp_path / "codes.csv").write_text("\n".join(lines) + "\n")
    options = ("--time", "t", "--values", "n", "--emission", emission, *QUICK, "--quiet")
    assert main(["fit", str(tmp_path / "codes.csv"), "--out", str(tmp_path / "out"), *options]) == 0
    posterior = load_draws(tmp_path / "out" / "posterior.nc").posterior
    assert posterior.weight.sizes["category" if emission == "categorical" else "channel"] == (
        4 if emission == "categorical" else 1
    )


def test_underdamped_dynamics_are_fitted(tmp_path: Path) -> None:
    assert fit_record(tmp_path, "--quiet", "--values", "x", "--dynamics", "underdamped") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["n_states"] >= 1 and summary["drawn_from"] == "exact posterior"


def test_help_names_the_defaults_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--help"])
    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"optimiser steps a seed (default: {fit.__kwdefaults__['steps']})" in printed
    assert "overdamped or underdamped (default: overdamped)" in printed
    assert "neural or mixture (default: neural)" in printed


def test_a_file_as_an_instrument_in_europe_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["# Messung 7", "Zeit;Spur;Abstand, roh (nm);E"]
    for line in record(tmp_path / "plain.csv").read_text().splitlines()[1:]:
        molecule, time, *values = line.split(",")
        stamp = f"2024-03-01 1{molecule[1]}:00:{float(time):04.1f}"
        lines.append(";".join([stamp, molecule, *(value.replace(".", ",") for value in values)]))
    lines[5] = lines[5].rsplit(";", 1)[0] + ";-999,0"
    (tmp_path / "messung.csv").write_bytes("\n".join(lines).encode())
    where = ("--out", str(tmp_path / "out"), "--time", "Zeit", "--series", "Spur", "--values", '"Abstand, roh (nm)",E')
    options = ("--decimal", ",", "--missing", "-999,n.d.", "--time-unit", "s", *QUICK)
    assert main(["fit", str(tmp_path / "messung.csv"), *where, *options]) == 0
    printed = capsys.readouterr().out
    assert "Observations(3 series, 40 times, 2 channels, typical gap 0.1 s, 1 values missing)" in printed
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["channels"] == ["Abstand, roh (nm)", "E"]
