"""Summary and record: every row and key is there, in its place, and JSON can hold it."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_inference_data, make_groups

from pyro_langevin.diagnostics import (
    barriers,
    corrected_occupancy,
    dwell_times,
    k_hat,
    mfpt,
    occupancy,
    summary,
    summary_record,
    timescales,
)

ONE = Truth(np.zeros((1, 1)), np.zeros((1, 1)))


def test_rows_of_two_states():
    groups = make_groups(TWO)
    groups["occupancy"] = groups["occupancy"].drop_vars(["smoothed", "smoothed_error"])
    table = summary(as_inference_data(groups))
    assert list(table.columns) == ["mean", "sd", "hdi_5%", "hdi_95%", "unit", "estimator"]
    states = [
        f"{name}[{s}]" for name in ("occupancy", "occupancy_long_run", "occupancy_stationary") for s in "AB"
    ]
    states += ["dwell[A]", "dwell[B]", "dwell_prior[A]", "dwell_prior[B]"]
    pairs = ["mfpt[A->B]", "mfpt[B->A]", "barrier[A->B]", "barrier[B->A]"]
    assert list(table.index) == [*states, *pairs, "timescale[1]", "diffusion[0]", "elbo"]
    figures = table.drop(index="diffusion[0]")
    assert (figures["hdi_5%"] < figures["mean"]).all()
    assert (figures["mean"] < figures["hdi_95%"]).all()
    assert (figures["sd"] > 0).all()
    assert table.loc["mfpt[A->B]", "unit"] == "s"
    assert table.loc["barrier[A->B]", "unit"] == "kT"


def test_other_occupancies_are_shown_where_they_say_something_else():
    groups = make_groups(TWO, n_draws=30)
    held = groups["occupancy"]
    trusted = held["stationary"].sel(estimator="integral", drop=True)
    value = held["stationary"].copy()
    value[..., 2] = trusted + xr.DataArray([0.05, -0.05], dims="state")
    held["stationary"], held["stationary_chain"] = value, trusted + xr.DataArray([-0.03, 0.03], dims="state")
    idata = as_inference_data(groups)
    table = summary(idata)
    own = trusted.mean("chain").values
    assert table.loc["occupancy_laplace[A]", "mean"] == pytest.approx(own[0] + 0.05)
    assert table.loc["occupancy_chain[B]", "mean"] == pytest.approx(own[1] + 0.03)
    assert "occupancy_sampled[A]" not in table.index
    corrected = corrected_occupancy(idata)
    believed = corrected.attrs["believed"]
    assert believed != "guide"
    row = table.loc["occupancy_corrected[A]"]
    assert row["mean"] == float(corrected["mean"].sel(estimator=believed, state="A"))
    assert believed in row["estimator"]
    record = summary_record(idata)["states"][0]
    assert record["occupancy_corrected"]["mean"] == row["mean"]
    idata.attrs["drawn_from"] = "exact posterior"
    assert not any(name.startswith("occupancy_corrected") for name in summary(idata).index)


def test_figures_of_the_summary_are_those_of_the_diagnostics():
    idata = as_inference_data(make_groups(THREE))
    table = summary(idata)
    share = occupancy(idata)["mean"]
    assert table.loc["occupancy[C]", "mean"] == float(share.sel(estimator="path", state="C"))
    assert table.loc["occupancy_stationary[B]", "mean"] == float(share.sel(estimator="stationary", state="B"))
    assert table.loc["dwell[B]", "mean"] == float(dwell_times(idata)["mean"].sel(state="B"))
    passage = mfpt(idata)["mean"].sel(estimator="prior", state_from="C", state_to="A")
    assert table.loc["mfpt[C->A]", "mean"] == float(passage)
    height = barriers(idata)["hdi_high"].sel(state_from="A", state_to="C")
    assert table.loc["barrier[A->C]", "hdi_95%"] == float(height)
    assert table.loc["timescale[2]", "mean"] == float(timescales(idata)["mean"][1])
    assert "timescale[3]" not in table.index


def test_record_has_the_keys_of_its_docstring():
    record = summary_record(as_inference_data(make_groups(TWO)))
    _, table, _ = re.split(r"=====  =+\n", summary_record.__doc__)
    documented = re.findall(r"^ *``(\w+)``  ", table, re.MULTILINE)
    assert list(record) == documented
    assert set(record["states"][0]) == {
        "label",
        "location",
        "occupancy",
        "occupancy_corrected",
        "occupancy_long_run",
        "occupancy_stationary",
        "dwell_mean",
    }
    assert set(record["states"][0]["occupancy"]) == {"mean", "hdi_low", "hdi_high"}


@pytest.mark.parametrize("truth", [ONE, TWO, THREE], ids=["one", "two", "three"])
def test_record_survives_json_without_nan(truth):
    idata = as_inference_data(make_groups(truth, n_draws=30))
    record = summary_record(idata)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["n_states"] == truth.n_states
    assert record["mfpt"]["mean"][0][0] is None
    assert len(record["states"]) == truth.n_states
    assert len(record["states"][0]["location"]) == truth.location.shape[1]


def test_values_of_the_record():
    groups = make_groups(TWO, n_draws=30)
    idata = as_inference_data(groups, warned=("stopped early",))
    record = summary_record(idata)
    assert record["states"][1]["label"] == "B"
    assert record["states"][1]["location"][0]["mean"] == 1.0
    share = occupancy(idata)["hdi_low"].sel(estimator="stationary", state="B")
    assert record["states"][1]["occupancy_stationary"]["hdi_low"] == float(share)
    assert record["mfpt"]["hdi_high"][1][0] == float(mfpt(idata)["hdi_high"].sel(estimator="prior")[1, 0])
    assert record["mfpt_paths"]["mean"][0][1] == float(mfpt(idata)["mean"].sel(estimator="paths")[0, 1])
    assert record["k_hat"]["s3"] == pytest.approx(float(k_hat(idata).sel(series="s3").max()))
    assert record["seeds"] == [10, 11, 12]
    assert len(record["elbo_per_series"]) == 3
    assert record["warnings"] == ["stopped early"]
    assert record["versions"]["torch"] == "2.13.0"
    assert record["step"] == 0.05
    assert record["time_unit"] == "s"
    assert record["channels"] == ["y0"]


def test_processes_that_were_not_computed_are_left_out():
    groups = make_groups(TWO)
    groups["kinetics"]["timescale"] = groups["kinetics"]["timescale"].where(
        groups["kinetics"]["timescale"] > 0.1
    )
    assert len(summary_record(as_inference_data(groups))["timescales"]) == 1


def test_single_version_attributes_are_read_too():
    idata = as_inference_data(make_groups(TWO))
    idata.attrs["arviz_version"] = "0.23.4"
    assert summary_record(idata)["versions"] == {
        "arviz": "0.23.4",
        "pyro_langevin": "0.1.0",
        "torch": "2.13.0",
    }


def test_one_seed_one_state():
    table = summary(as_inference_data(make_groups(ONE, n_chains=1)))
    assert table.loc["occupancy[A]", "mean"] == 1.0
    assert np.isnan(table.loc["dwell[A]", "mean"])
    assert not any(row.startswith(("mfpt", "barrier")) for row in table.index)
    assert np.isnan(table.loc["elbo", "sd"])
