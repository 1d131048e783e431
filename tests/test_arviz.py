"""ArviZ of the installed generation on our draws, and files that one generation wrote and the other reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hand_made_fits import GRID, fitted, well_data, well_model
from precision import default_dtype
from standard_errors import ALLOWED_ERRORS

import pyro_langevin as pl
from pyro_langevin.inference_data import (
    add_log_likelihood,
    add_posterior_predictive,
    add_prior_predictive,
    load_draws,
    save_draws,
)
from pyro_langevin.inference_data.assemble import HOLDS_INFERENCE_DATA, groups_of, with_groups

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # arviz 0.23 announces its successor
    import arviz as az

GENERATION = 0 if HOLDS_INFERENCE_DATA else 1


@pytest.fixture(scope="module")
def idata() -> Any:
    """Two seeds, series of different lengths, missing values: NaN in every group that can have some."""
    with default_dtype(torch.float64):
        fit, data = fitted(well_model(4.0), well_model(3.5), grid=GRID), well_data(3, 30)
        draws = pl.posterior(fit, data, draws=60)
        draws = add_log_likelihood(draws, fit, data)
        draws = add_posterior_predictive(draws, fit, data, draws=12)
        return add_prior_predictive(draws, fit, data, draws=12)


pytestmark = pytest.mark.usefixtures("close_figures")


def quietly(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """ArviZ 0.23 calls matplotlib 3.11, pandas 3 and numpy in ways that warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def test_importing_and_using_the_draws_warns_of_nothing(idata: Any, tmp_path: Path) -> None:
    # warnings are errors here; ArviZ 1.x warns whoever asks for a name that it has no longer
    save_draws(idata, tmp_path / "draws.nc")
    load_draws(tmp_path / "draws.nc")


def test_draws_are_what_this_arviz_calls_them(idata: Any) -> None:
    assert isinstance(idata, az.InferenceData if GENERATION == 0 else xr.DataTree)


def test_further_groups_leave_the_given_draws_alone(idata: Any) -> None:
    group = xr.Dataset({"level": ("chain", [1.0, 2.0])})
    more = with_groups(idata, {"posterior": group, "prior": group})
    assert list(groups_of(more)["posterior"]) == ["level"] and "prior" not in idata
    assert "z" in idata["posterior"] and more.attrs == idata.attrs


def test_summary_of_any_group(idata: Any) -> None:
    table = quietly(az.summary, idata, group="occupancy", var_names=["path"], round_to=6)
    path = idata["occupancy"]["path"]
    assert len(table) == path.sizes["series"] * path.sizes["state"]
    np.testing.assert_allclose(
        table["mean"].astype(float), path.mean(("chain", "draw")).values.ravel(), atol=1e-6
    )


def test_r_hat_tells_seeds_apart_and_says_nothing_of_one() -> None:
    """Draws of one guide are independent: their R-hat is 1 whatever the guide is worth."""
    random = np.random.default_rng(0)
    alike = xr.Dataset({"x": (("chain", "draw"), random.standard_normal((2, 500)))})
    apart = alike + xr.DataArray([0.0, 2.0], dims="chain")
    values = [float(az.rhat(one)["x"]) for one in (alike.isel(chain=[0, 0]), alike, apart)]
    # the halves of two chains 2 apart have means of variance 4/3: R-hat is near sqrt(1 + 4/3), less for its ranks
    assert values[0] < 1.02 and values[1] < 1.02 and 1.3 < values[2] < 1.55
    effective = float(az.ess(alike)["x"])
    assert abs(effective - 1000) < ALLOWED_ERRORS * 1000 * 0.1


def test_r_hat_of_padded_paths_is_nan_where_there_is_no_path(idata: Any) -> None:
    z = groups_of(idata)["posterior"][["z"]]
    found = quietly(az.rhat, z)["z"].values
    assert np.array_equal(np.isnan(found), np.isnan(z["z"].values[0, 0]))


def of_group(idata: Any, group: str, variable: str) -> Any:
    """One variable in a form that the plots of both generations take."""
    return groups_of(idata)[group][[variable]]


def axes_of(plotted: Any) -> list[Any]:
    """Axes of a figure, whichever generation drew it."""
    if isinstance(plotted, np.ndarray):
        return list(plotted.ravel())
    return plt.gcf().axes if isinstance(plotted, plt.Axes) else list(plt.figure(plt.get_fignums()[-1]).axes)


PLOTS: dict[str, Callable[[Any], Any]] = {
    "trace": lambda idata: az.plot_trace(of_group(idata, "occupancy", "path").isel(series=0)),
    "trace of a path's point": lambda idata: az.plot_trace(of_group(idata, "posterior", "z").isel(series=0, time=3)),
    "posterior": lambda idata: (az.plot_posterior if GENERATION == 0 else az.plot_dist)(
        of_group(idata, "occupancy", "path")
    ),
    "forest": lambda idata: az.plot_forest(of_group(idata, "occupancy", "path")),
    "posterior predictive": lambda idata: (
        az.plot_ppc(idata, num_pp_samples=10) if GENERATION == 0 else az.plot_ppc_dist(idata, num_samples=10)
    ),
    "prior predictive": lambda idata: (
        az.plot_ppc(idata, group="prior", num_pp_samples=10)
        if GENERATION == 0
        else az.plot_ppc_dist(idata, group="prior_predictive", num_samples=10)
    ),
    "k-hat": lambda idata: az.plot_khat(az.loo(idata.sel(chain=[0]), var_name="y", pointwise=True)),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_of_arviz_show_our_groups(name: str, idata: Any) -> None:
    axes = axes_of(quietly(PLOTS[name], idata))
    shown = [artist for ax in axes for artist in [*ax.lines, *ax.collections, *ax.patches]]
    points = [np.asarray(line.get_xydata(), dtype=float) for ax in axes for line in ax.lines if len(line.get_xdata())]
    assert shown
    assert all(np.isfinite(line).any() for line in points)


def test_files_of_both_generations_are_read_alike(idata: Any, tmp_path: Path) -> None:
    """``make test-arviz`` runs this in two environments over one folder, so that each reads what the other wrote."""
    folder = Path(os.environ.get("PYRO_LANGEVIN_EXCHANGE", tmp_path))
    save_draws(idata, folder / f"arviz{GENERATION}.nc")
    pl.summary(idata).to_csv(folder / f"arviz{GENERATION}.csv")
    for path in sorted(folder.glob("*.nc")):
        draws = load_draws(path)
        assert isinstance(draws, type(idata))
        assert set(groups_of(draws)) == set(groups_of(idata))
        written = pd.read_csv(path.with_suffix(".csv"), index_col=0)
        found = pl.summary(draws)
        assert list(found.index) == list(written.index)
        numbers = written.select_dtypes("number")
        assert {"mean", "sd"} <= set(numbers)
        pd.testing.assert_frame_equal(found[list(numbers)].astype(float), numbers.astype(float), check_names=False)
        assert quietly(az.from_netcdf, path)["posterior"]["z"].equals(draws["posterior"]["z"])
