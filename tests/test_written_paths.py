"""Paths of a long record in a file are draws of its posterior, row for row, whichever way they are drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hand_made_fits import GRID, fitted, well_data, well_model
from standard_errors import ALLOWED_ERRORS

import pyro_langevin as pl
from pyro_langevin.diagnostics.layout import group
from pyro_langevin.grid_filter import pieces
from pyro_langevin.inference_data import paths_file, written_paths

pytestmark = pytest.mark.usefixtures("fixed_seed")


def record_of(data: pl.Observations) -> pl.LongRecord:
    values = [
        np.where(mask, one, np.nan)[:length]
        for one, mask, length in zip(data.values.numpy(), data.mask.numpy(), data.lengths.tolist(), strict=True)
    ]
    times = [one[:length] for one, length in zip(data.times.numpy(), data.lengths.tolist(), strict=True)]
    return pl.LongRecord(values, times, time_unit="ms")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_PIECE", 20)
    monkeypatch.setattr(pieces, "_FIRST_OVERLAP", 10)
    monkeypatch.setattr(written_paths, "_STRETCH", 20)
    monkeypatch.setattr(written_paths, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(paths_file, "_PIECE", 20)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "guide"])
def test_rows_have_the_posterior_of_the_whole_record(exact: bool, tmp_path: Path) -> None:
    data, draws = well_data(), 400
    result = fitted(well_model(4.0), grid=GRID)
    pl.write_paths(result, record_of(data), tmp_path / "paths.nc", draws=draws, exact=exact)
    written = xr.load_dataset(tmp_path / "paths.nc", engine="h5netcdf")
    inside = data.inside.numpy()
    np.testing.assert_array_equal(written["series"], np.nonzero(inside)[0])
    np.testing.assert_allclose(written["time"], data.times.numpy()[inside])
    idata = pl.posterior(result, data, draws=draws, exact=exact)
    expected = group(idata, "occupancy", "p_state")["p_state"].sel(chain=0).values[inside]
    order = np.argsort(group(idata, "states", "location")["location"].values[0, :, 0])
    z, state = written["z"].values[0, ..., 0], written["state"].values[0]
    assert set(np.unique(state)) == {0, 1}
    own = np.argsort([np.median(z[state == label]) for label in (0, 1)])
    np.testing.assert_allclose(written["p_state"][0], np.stack([(state == label).mean(0) for label in (0, 1)], -1))
    share = (expected * (1.0 - expected) * 2 / draws) ** 0.5 + 1.0 / draws
    off = (written["p_state"].values[0][:, own] - expected[:, order]) / share[:, order]
    assert np.abs(off).max() < ALLOWED_ERRORS + 1.0
    mean = group(idata, "posterior", "z")["z"].sel(chain=0).values[..., 0][:, inside]
    error = (mean.var(0) * 2 / draws) ** 0.5
    assert (np.abs(mean.mean(0) - z.mean(0)) / error).max() < ALLOWED_ERRORS + 1.0


def test_the_order_of_states_is_that_of_one_fit(tmp_path: Path) -> None:
    mirrored = well_model(4.0)
    with torch.no_grad():
        mirrored.emission.decoder.weight.neg_()
    record = record_of(well_data())
    pl.write_paths(fitted(well_model(4.0), mirrored, grid=GRID), record, tmp_path / "paths.nc", draws=50)
    written = xr.load_dataset(tmp_path / "paths.nc", engine="h5netcdf")
    assert list(written["state_label"].values.astype(str)) == ["A", "B"]
    assert float(abs(written["p_state"][0] - written["p_state"][1]).mean()) < 0.05
    assert float((written["z"][0].mean("draw") + written["z"][1].mean("draw")).std()) < 0.3
    assert json.loads(written.attrs["seeds"]) == [0, 1]


def test_an_old_file_outlives_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left")

    path = tmp_path / "paths.nc"
    path.write_text("old")
    monkeypatch.setattr(paths_file.PathsFile, "write", fails)
    with pytest.raises(OSError, match="no space left"):
        pl.write_paths(fitted(well_model(4.0), grid=GRID), record_of(well_data()), path, draws=2)
    assert [file.name for file in tmp_path.iterdir()] == ["paths.nc"] and path.read_text() == "old"


def test_refusals(tmp_path: Path) -> None:
    result, data = fitted(well_model(4.0), grid=GRID), well_data()
    with pytest.raises(ValueError, match="expected a LongRecord, got Observations"):
        pl.write_paths(result, data, tmp_path / "paths.nc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1 draw"):
        pl.write_paths(result, record_of(data), tmp_path / "paths.nc", draws=0)
    with pytest.raises(ValueError, match="write_paths"):
        pl.posterior(result, record_of(data))  # type: ignore[arg-type]
