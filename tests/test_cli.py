"""The command line: what it writes, what it says when the user errs, and what survives an interruption."""

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

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_langevin import datasets, load_draws
from pyro_langevin.cli import demo, main
from pyro_langevin.cli.scores import double_well_scores
from pyro_langevin.training import fit

FILES = ("checkpoint.pt", "posterior.nc", "report.html", "summary.json")
QUICK = ("--steps", "6", "--seeds", "1", "--draws", "4")

Run = Callable[..., int]


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


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``fit`` of the record in ``data.csv`` into ``out``; later options win."""
    data = record(tmp_path / "data.csv")

    def fit_it(*options: str) -> int:
        where = ("--out", str(tmp_path / "out"), "--time", "t", "--values", "x,y", "--series", "molecule")
        return main(["fit", str(data), *where, *QUICK, *options])

    return fit_it


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said, on stderr."""
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyro-langevin: "), printed.err
    return lines[0]


def test_fit_writes_four_files_and_prints_them_and_report_writes_the_same_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seeds", "2", "--time-unit", "ms") == 0
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


def test_a_fit_is_the_same_whatever_was_fitted_before(run: Run, tmp_path: Path) -> None:
    run("--quiet")
    first = json.loads((tmp_path / "out" / "summary.json").read_text())
    run("--quiet", "--values", "x", "--potential", "mixture")
    run("--quiet")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == first


def test_values_with_a_minus_an_undefined_transform_and_a_quiet_run(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--quiet", "--transform", "-exp(x),sqrt(y)", "--time-range", "-5,2.05") == 0
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


def test_underdamped_dynamics_are_fitted(run: Run, tmp_path: Path) -> None:
    assert run("--quiet", "--values", "x", "--dynamics", "underdamped") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["n_states"] >= 1 and summary["drawn_from"] == "exact posterior"


def test_codes_that_are_no_codes_are_refused_before_they_cost_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "codes.csv").write_text("t,n\n0,1\n1,2000000000\n2,7\n")
    options = ("--time", "t", "--values", "n", "--emission", "categorical", *QUICK, "--quiet")
    assert main(["fit", str(tmp_path / "codes.csv"), "--out", str(tmp_path / "out"), *options]) == 2
    assert "expected codes from 0 to at most 255, got 2000000000; number the categories 0, 1, ..." in only_line(capsys)


def rows(*lines: str) -> str:
    return "\n".join(("t,x,y", *lines)) + "\n"


BAD_FILES = {
    "empty": ("", "got an empty file"),
    "header only": ("t,x,y\n", "expected rows below the header"),
    "missing column": ("t,z\n0,1\n1,2\n", "expected a column 'x'"),
    "text in a number column": (rows("0,1,2", "1,abc,3", "2,2,4"), "line 3, column 'x': expected a finite"),
    "unsorted": (rows("0,1,2", "2,2,3", "1,3,4"), "got unsorted times: 1 after 2"),
    "repeated": (rows("0,1,2", "1,2,3", "1,3,4"), "got repeated times: 1 after 1"),
    "one observation": (rows("0,1,2"), "at least two rows"),
    "all-missing channel": (rows("0,,2", "1,,3", "2,,4"), "got none in channel 'x'"),
    "constant channel": (rows("0,7,2", "1,7,3", "2,7,4"), "got the constant 7 in channel 'x'"),
    "infinite": (rows("0,1,2", "1,inf,3", "2,2,4"), "got 'inf'"),
    "binary": ("\0\1\2\3", "got binary data"),
    "ragged": (rows("0,1,2", "1,2", "2,2,4"), "line 3: expected 3 fields"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_and_leaves_nothing(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, said = BAD_FILES[fault]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    where = ("--out", str(tmp_path / "out"), "--time", "t", "--values", "x,y")
    assert main(["fit", str(path), *where, *QUICK]) == 2
    assert said in only_line(capsys)
    assert not (tmp_path / "out").exists()


BAD_OPTIONS = {
    "latent_dim 0": (("--latent-dim", "0"), "--latent-dim: expected a whole number of at least 1, got '0'"),
    "text": (("--steps", "many"), "--steps: expected a whole number of at least 3, got 'many'"),
    "too few steps": (("--steps", "2"), "--steps: expected a whole number of at least 3"),
    "no seed": (("--seeds", "0"), "--seeds: expected a whole number"),
    "step of zero": (("--max-step", "0"), "--max-step: expected a positive number"),
    "step that is none": (("--max-step", "nan"), "--max-step: expected a positive number"),
    "empty name": (("--values", "x,,y"), "--values: expected names separated by commas"),
    "range": (("--time-range", "2,1"), "--time-range: expected the earliest and the latest time"),
    "range of three": (("--time-range", "1,2,3"), "--time-range: expected the earliest"),
    "range without rows": (("--time-range", "50,60"), "expected times between 50 and 60, got 0 to 3.9"),
    "delimiter": (("--delimiter", "ab"), "--delimiter: expected one character"),
    "dynamics": (("--dynamics", "free"), "--dynamics free is not known; use --dynamics overdamped or underdamped"),
    "emission": (
        ("--emission", "cauchy"),
        "--emission cauchy is not known; use --emission gaussian or studentt or poisson or categorical or bernoulli",
    ),
    "no counts": (("--emission", "poisson"), "expected counts 0, 1, 2, ..., got "),
    "categories of two columns": (
        ("--emission", "categorical"),
        "--emission categorical: expected one column of codes 0, 1, ..., got 2; name one with --values",
    ),
    "potential": (("--potential", "cubic"), "--potential cubic is not known; use --potential neural or mix"),
    "abbreviated": (("--seed", "3"), "unrecognized arguments: --seed 3"),
    "transform": (("--transform", "-log(x"), "got something that does not parse"),
    "column of a transform": (("--transform", "log(Ca)"), "expected a column 'Ca'"),
    "out is a file": (("--out", __file__), "test_cli.py: File exists"),
    "resume from nothing": (("--resume",), "there is none at"),
}


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_a_bad_option_is_refused_in_one_line(fault: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options, said = BAD_OPTIONS[fault]
    assert run(*options, "--quiet") == 2
    assert said in only_line(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required: COMMAND"),
        (("simulate",), "invalid choice: 'simulate'"),
        (("fit", "a.csv"), "required: --out, --time, --values"),
        (
            ("fit", "nothing.csv", "--out", "out", "--time", "t", "--values", "x"),
            "nothing.csv: expected a readab",
        ),
        (("report", "nowhere"), "posterior.nc: expected the draws of a fit, found no such file"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in only_line(capsys)


@pytest.mark.parametrize("kind", ["garbage", "of something else"])
def test_report_refuses_a_file_that_is_no_posterior(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "posterior.nc"
    if kind == "garbage":
        path.write_bytes(b"\x89HDF" + os.urandom(200))
    else:
        xr.Dataset({"a": ("x", np.zeros(3))}).to_netcdf(path, engine="h5netcdf")
    assert main(["report", str(tmp_path)]) == 2
    assert "posterior.nc: expected the draws of a fit, got another file" in only_line(capsys)
    assert sorted(contents(tmp_path)) == ["posterior.nc"]


def test_cuda_is_refused_where_there_is_none(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("--device", "cuda", "--quiet") == 2
    assert 'device "cuda" was asked for, but there is none' in only_line(capsys)


def test_resume_refuses_checkpoints_that_do_not_fit_and_leaves_them(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--quiet") == 0
    capsys.readouterr()
    checkpoint = tmp_path / "out" / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for options, said in (
        (("--latent-dim", "2"), "written for another model"),
        (("--values", "x"), "written for another model"),  # another number of channels
        (("--transform", "x,2*y"), "written for another data"),
        (("--seeds", "2"), "written for another settings"),
    ):
        assert run(*options, "--resume", "--quiet") == 2
        assert said in only_line(capsys)
        assert checkpoint.read_bytes() == whole
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        checkpoint.write_bytes(damaged)
        assert run("--resume", "--quiet") == 2
        assert "is not readable as one" in only_line(capsys)
        assert checkpoint.read_bytes() == damaged


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
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as once:
        interrupt_at(3, once)
        assert run("--quiet", "--seeds", "2") == 130
    assert sorted(contents(out)) == sorted(FILES)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0]
    assert any("training was interrupted" in text for text in summary["warnings"])
    said = capsys.readouterr().err
    assert "interrupted; reporting what is fitted; --resume goes on from" in said and "Traceback" not in said

    with monkeypatch.context() as once:
        interrupt_at(6, once)  # now in the second seed, as three steps of the first are left
        assert run("--quiet", "--seeds", "2", "--resume") == 130
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0]
    assert not any("training was interrupted" in text for text in summary["warnings"])
    assert "seed 1 is not finished and is left out of the report" in capsys.readouterr().err

    assert run("--quiet", "--seeds", "2", "--resume") == 0
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
    accident: Callable[..., None],
    code: int,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("--quiet") == 0
    before = contents(tmp_path / "out")
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", accident)
    assert run("--quiet", "--steps", "7") == code
    assert contents(tmp_path / "out") == before
    only_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "size"), [("checkpoint.pt", 20_000), ("posterior.nc", 650_000)])
def test_old_files_survive_a_disk_that_fills_up(file: str, size: int, run: Run, tmp_path: Path) -> None:
    """In a process of its own, whose files may not outgrow a limit: the errors are then the system's."""
    assert run("--quiet") == 0
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
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--quiet")
    before = contents(tmp_path / "out")
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", no_space)
    assert main(["report", str(tmp_path / "out")]) == 2
    assert "summary.json: could not be written (No space left on device); the old one is" in only_line(capsys)
    assert contents(tmp_path / "out") == before


def test_a_fault_of_the_program_is_one_line_too_and_a_traceback_where_wanted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr("pyro_langevin.cli.fit.posterior", broken)
    assert run("--quiet") == 70
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


def test_demo_compares_with_the_exact_answer_and_writes_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(datasets.double_well, 8, 40)
    monkeypatch.setattr(datasets, "double_well", small)
    code = main(["demo", "--out", str(tmp_path), "--steps", "6", "--seeds", "2"])
    printed = capsys.readouterr().out
    verdicts = [line.split()[-1] for line in printed.splitlines() if line.endswith(("ok", "OFF"))]
    assert len(verdicts) == 8 and code == (1 if "OFF" in verdicts else 0)
    line = next(line for line in printed.splitlines() if line.startswith("MFPT left->right"))
    assert "28.06" in line and "5.613" in line
    assert {"posterior.nc", "report.html", "summary.json"} <= set(contents(tmp_path))


def test_help_names_the_defaults_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--help"])
    assert end.value.code == 0
    assert f"optimiser steps a seed (default: {fit.__kwdefaults__['steps']})" in capsys.readouterr().out


def known_draws(loadings: np.ndarray) -> xr.DataTree:
    """Three perfect seeds but for their latent gauge: stretched by 2, turned round and shrunk, one lost state."""
    exact = datasets.TILTED_DOUBLE_WELL
    order = np.array([[0, 1], [1, 0], [0, 0]])
    minima = np.array(exact.minima)[order]
    minima[2, 1] = np.nan
    scale = np.array([2.0, -0.5, 1.0])
    passage = np.array([[np.nan, exact.mfpt[0, 1]], [exact.mfpt[1, 0], np.nan]])
    barrier = np.array([[np.nan, exact.barrier(0, 1)], [exact.barrier(1, 0), np.nan]])
    swapped = (slice(None, None, -1),) * 2
    share = np.array(exact.occupancy)[order]
    pair, draw = ("chain", "state_from", "state_to"), ("chain", "draw")
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {
                    "weight": ((*draw, "channel", "latent_dim"), (loadings / scale[:, None, None])[:, None]),
                    "diffusion": ((*draw, "latent_dim"), scale[:, None, None] ** 2),
                }
            ),
            "states": xr.Dataset(
                {
                    "location": (("chain", "state", "channel"), minima @ loadings.T + 0.0),
                    "n_states": ("chain", [2, 2, 1]),
                    "beta_barrier": (pair, np.stack([barrier, barrier[swapped], barrier])),
                }
            ),
            "kinetics": xr.Dataset({"mfpt": (pair, np.stack([passage, passage[swapped], passage]))}),
            "occupancy": xr.Dataset(
                {
                    "stationary": (("chain", "state"), share),
                    "path": ((*draw, "series", "state"), share[:, None, None]),
                }
            ),
        }
    )


def test_scores_find_the_sides_and_the_true_gauge() -> None:
    loadings = np.array([[0.6], [-0.8], [0.3]])
    scores = double_well_scores(known_draws(loadings), loadings, datasets.TILTED_DOUBLE_WELL)
    assert len(scores) == 8
    for score in scores[1:-1]:
        assert score.found[:2] == pytest.approx((score.exact, score.exact))
        assert np.isnan(score.found[2]) and not score.recovered
    assert scores[0].found == (2, 2, 1) and not scores[0].recovered
    assert scores[-1].found == pytest.approx((1.0, 1.0, 1.0)) and scores[-1].recovered


def test_demo_says_off_when_one_seed_is(capsys: pytest.CaptureFixture[str]) -> None:
    score = demo.Score("barrier", 4.0, (4.1, 4.6), 0.5)
    text = demo.scores_text([score, demo.Score("count", 2.0, (2.0, 2.0), 0.0)], [0, 1])
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["OFF", "ok"]
    assert not demo.Score("unknown", 1.0, (float("nan"),), 0.5).recovered
