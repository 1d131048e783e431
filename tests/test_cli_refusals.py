"""The command line: what it says when the user errs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from command_line import QUICK, contents, fit_record, only_line

from pyro_langevin.cli import main


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
    "decimal": (("--decimal", ";"), "decimal: expected '.' or ',', got ';'"),
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
    "out is a file": (("--out", __file__), f"{Path(__file__).name}: File exists"),
    "resume from nothing": (("--resume",), "there is none at"),
}


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_a_bad_option_is_refused_in_one_line(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, said = BAD_OPTIONS[fault]
    assert fit_record(tmp_path, *options, "--quiet") == 2
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fit_record(tmp_path, "--device", "cuda", "--quiet") == 2
    assert 'device "cuda" was asked for, but there is none' in only_line(capsys)


def test_resume_refuses_checkpoints_that_do_not_fit_and_leaves_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_record(tmp_path, "--quiet") == 0
    capsys.readouterr()
    checkpoint = tmp_path / "out" / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for options, said in (
        (("--latent-dim", "2"), "written for another model"),
        (("--values", "x"), "written for another model"),  # another number of channels
        (("--transform", "x,2*y"), "written for another data"),
        (("--seeds", "2"), "written for another settings"),
    ):
        assert fit_record(tmp_path, *options, "--resume", "--quiet") == 2
        assert said in only_line(capsys)
        assert checkpoint.read_bytes() == whole
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        checkpoint.write_bytes(damaged)
        assert fit_record(tmp_path, "--resume", "--quiet") == 2
        assert "is not readable as one" in only_line(capsys)
        assert checkpoint.read_bytes() == damaged
