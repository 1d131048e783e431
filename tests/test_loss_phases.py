"""The phase of every training step beside its loss: in the draws, through NetCDF, and in the figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from hand_made_fits import GRID, fitted, well_data, well_model
from matplotlib.colors import same_color

import pyro_langevin as pl
from pyro_langevin.inference_data import load_draws, save_draws
from pyro_langevin.inference_data.assemble import groups_of, with_groups
from pyro_langevin.plots.palette import seed_look

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed", "close_figures")

PHASES = [
    ["evidence"] * 5 + ["transitions"] * 2 + ["hops"] * 3 + ["posterior"] * 4,
    ["evidence"] * 6 + ["posterior"] * 3,
]


@pytest.fixture
def draws() -> Any:
    """Draws of two seeds, the second of which skipped two phases and stopped earlier."""
    result = fitted(well_model(4.0), well_model(3.5), grid=GRID)
    members = [
        replace(member, phase=phase, loss=[100.0 * seed + step for step in range(len(phase))])
        for seed, (member, phase) in enumerate(zip(result.members, PHASES, strict=True))
    ]
    return pl.posterior(pl.FitResult(members), well_data(2, 20), draws=2)


def assert_phases_are_beside_the_loss(idata: Any) -> None:
    loss = idata["sample_stats"]["loss"]
    assert loss.dims == loss["phase"].dims == ("chain", "iteration")
    assert [[str(name) for name in row] for row in loss["phase"].values] == [PHASES[0], PHASES[1] + [""] * 5]
    assert (loss.notnull() == (loss["phase"] != "")).all()
    last = loss.where(loss["phase"] == "posterior")
    np.testing.assert_array_equal(last.min("iteration"), [10.0, 106.0])
    np.testing.assert_array_equal(last.max("iteration"), [13.0, 108.0])


def test_each_step_has_its_phase_also_through_netcdf_and_back_again(draws: Any, tmp_path: Path) -> None:
    assert_phases_are_beside_the_loss(draws)
    save_draws(draws, tmp_path / "draws.nc")
    again = load_draws(tmp_path / "draws.nc")
    assert_phases_are_beside_the_loss(again)
    save_draws(again, tmp_path / "again.nc")
    assert_phases_are_beside_the_loss(load_draws(tmp_path / "again.nc"))


def test_the_phases_of_a_long_fit_cost_little_room(draws: Any, tmp_path: Path) -> None:
    sizes = []
    for kept in (without_phases(draws), draws):
        path = tmp_path / "draws.nc"
        save_draws(with_groups(kept, {"sample_stats": stretched(groups_of(kept)["sample_stats"])}), path)
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] < 50_000  # as strings of variable length: a million


def stretched(stats: xr.Dataset) -> xr.Dataset:
    """The same with a thousand times as many iterations."""
    return stats.isel(iteration=np.repeat(np.arange(stats.sizes["iteration"]), 1000))


def test_the_figure_marks_where_the_phases_of_each_seed_end(draws: Any) -> None:
    ax = pl.plot_loss(draws)
    ax.figure.canvas.draw()
    ends = {
        chain: sorted(
            float(line.get_xdata()[0])
            for line in ax.lines
            if line.get_linestyle() == ":" and same_color(line.get_color(), seed_look(chain).colour)
        )
        for chain in (0, 1)
    }
    assert ends == {0: [5.5, 7.5, 10.5], 1: [6.5]}  # iterations count from 1
    named = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert named == {"evidence": 3.0, "transitions": 6.5, "hops": 9.0, "posterior": 12.5}
    assert not pl.plot_loss(without_phases(draws), ax=plt.figure().subplots()).texts


def without_phases(idata: Any) -> Any:
    """As draws that came from elsewhere, or were written before phases were kept."""
    return with_groups(idata, {"sample_stats": groups_of(idata)["sample_stats"].drop_vars("phase")})
