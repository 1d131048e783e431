"""Occupancy: known fractions come back, and each interval covers what it says."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_data_tree, as_inference_data, jump_path, make_groups

from pyro_langevin.diagnostics import dwell_times, mfpt, occupancy, path_rates
from pyro_langevin.diagnostics.jump_process import mean_first_passage, occupancy_sd, stationary_law


def counts_of(rates, durations, random):
    """The groups that the rates of paths need, for a record without noise: one chain, one draw."""
    n, labels = len(rates), list("ABC"[: len(rates)])
    paths = [jump_path(rates, duration, random) for duration in durations]
    exposure, events = (np.sum(part, axis=0) for part in zip(*(p.counts(n) for p in paths), strict=True))
    fraction = np.array([p.counts(n)[0] / p.duration for p in paths])
    matrix, row = ("chain", "state_from", "state_to"), ("chain", "state")
    axes = {"chain": [0], "state": labels, "state_from": labels, "state_to": labels}
    states = xr.Dataset({"beta_energy": (row, np.zeros((1, n)))}, coords={"state": labels, "chain": [0]})
    kinetics = xr.Dataset(
        {
            "exposure": (("chain", "draw", "state"), exposure[None, None]),
            "events": (("chain", "draw", "state_from", "state_to"), events[None, None]),
            "mfpt": (matrix, mean_first_passage(rates)[None]),
        },
        coords=axes,
    )
    law = stationary_law(rates)[None]
    shares = xr.Dataset(
        {"path": (("chain", "draw", "series", "state"), fraction[None, None]), "stationary": (row, law)},
        coords={"chain": [0], "state": labels},
    )
    times = np.stack([np.zeros(len(durations)), durations], -1)
    constant = xr.Dataset(
        {"time": (("series", "time"), times), "length": ("series", np.full(len(durations), 2))},
        coords={"series": np.arange(len(durations))},
    )
    groups = {"states": states, "kinetics": kinetics, "occupancy": shares, "constant_data": constant}
    return xr.DataTree.from_dict(groups)


def test_path_occupancy_weights_series_by_their_time():
    groups = make_groups(TWO, n_chains=1, n_draws=1)
    path = groups["occupancy"]["path"].copy()
    path[..., 0], path[..., 1] = 1.0, 0.0
    path[:, :, -1, 0], path[:, :, -1, 1] = 0.0, 1.0  # the short series: 9.9 of 19 * 20 + 9.9
    groups["occupancy"]["path"] = path
    mean = occupancy(as_inference_data(groups))["mean"].sel(estimator="path")
    np.testing.assert_allclose(mean, [1 - 9.9 / 389.9, 9.9 / 389.9])


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
def test_the_truth_lies_within_three_standard_deviations_of_every_estimator(truth):
    table = occupancy(as_data_tree(make_groups(truth)))
    error = (table["mean"] - truth.occupancy) / np.hypot(table["sd"], table["record_sd"])
    assert (abs(error) < 3).all()
    np.testing.assert_allclose(table["mean"].sum("state"), 1.0, atol=1e-9)


def test_intervals_of_the_long_run_know_the_record_length_and_those_of_the_path_do_not():
    short, long = (
        occupancy(as_inference_data(make_groups(Truth(TWO.rates, TWO.location, n_series=n))))
        for n in (8, 128)
    )
    width = {name: table["hdi_high"] - table["hdi_low"] for name, table in {"s": short, "l": long}.items()}
    for estimator in ("long_run", "stationary"):
        ratio = (width["s"] / width["l"]).sel(estimator=estimator, state="A")
        assert 2.5 < float(ratio) < 6.5  # sixteen times the series: four times as narrow
    assert float(width["s"].sel(estimator="path", state="A")) < 0.02
    assert float(short["record_sd"][0] / long["record_sd"][0]) == pytest.approx(4.0, rel=0.2)
    assert "THIS record only" in short.attrs["path_covers"]


def test_one_seed_still_has_an_interval_for_the_long_run():
    table = occupancy(as_inference_data(make_groups(TWO, n_chains=1)))
    sd = table["sd"].sel(estimator="stationary")
    np.testing.assert_allclose(sd, table["record_sd"])
    assert (sd > 0.02).all()


def test_the_first_estimator_is_the_one_to_trust_and_older_draws_have_one_only():
    groups = make_groups(TWO)
    new = occupancy(as_inference_data(groups))
    stationary = groups["occupancy"]["stationary"]
    assert float(abs(stationary.sel(estimator="integral") - stationary.sel(estimator="laplace")).max()) > 0.003
    groups["occupancy"] = groups["occupancy"].drop_dims("estimator").assign(
        stationary=stationary.sel(estimator="integral", drop=True)
    )
    xr.testing.assert_allclose(occupancy(as_inference_data(groups)), new)


def test_disagreement_counts_in_units_of_what_the_record_allows():
    groups = make_groups(TWO)
    groups["occupancy"]["stationary"] = ("chain", "state"), np.tile([0.9, 0.1], (3, 1))
    table = occupancy(as_inference_data(groups))
    path = table.sel(estimator="path")
    expected = (0.9 - path["mean"][0]) / np.hypot(path["sd"][0], table["record_sd"][0])
    assert float(table["disagreement"][0]) == pytest.approx(float(expected))
    assert float(table["disagreement"][0]) > 5


def test_one_state_takes_all_the_time():
    one = Truth(np.zeros((1, 1)), np.zeros((1, 1)))
    table = occupancy(as_inference_data(make_groups(one)))
    np.testing.assert_allclose(table["mean"].squeeze("state"), 1.0)
    np.testing.assert_allclose(table["disagreement"], 0.0)


def test_a_seed_without_a_state_is_left_out_of_that_state():
    groups = make_groups(THREE)
    for name, variables in {
        "occupancy": ["stationary", "path", "p_state"],
        "states": ["beta_energy", "location"],
        "kinetics": ["exposure", "dwell_prior", "dwell_chain"],
    }.items():
        for variable in variables:
            absent = (groups[name]["chain"] == 2) & (groups[name]["state"] == "C")
            groups[name][variable] = groups[name][variable].where(~absent)
    for variable in ("mfpt", "rate", "events"):
        kinetics = groups["kinetics"]
        gone = (kinetics["state_from"] == "C") | (kinetics["state_to"] == "C")
        kinetics[variable] = kinetics[variable].where(~((kinetics["chain"] == 2) & gone))
    idata = as_inference_data(groups)
    rates = path_rates(idata)
    third = rates.isel(sample=np.flatnonzero(rates["chain"] == 2))
    assert third.sel(state_from="A", state_to="C").isnull().all()
    assert third.sel(state_from="A", state_to="B").notnull().all()
    table = occupancy(idata)
    assert table["mean"].notnull().all()
    own = groups["occupancy"]["stationary"].sel(state="C", estimator="integral").isel(chain=[0, 1]).mean()
    assert float(table["mean"].sel(estimator="stationary", state="C")) == pytest.approx(float(own))


def test_record_sd_matches_the_paths_own_rates():
    groups = make_groups(TWO, n_chains=1, n_draws=1, jitter=0.0)
    table = occupancy(as_inference_data(groups))
    kinetics = groups["kinetics"].squeeze()
    rates = kinetics["events"].values / kinetics["exposure"].values[:, None]
    durations = np.append(np.full(19, 20.0), 9.9)
    np.testing.assert_allclose(table["record_sd"], occupancy_sd(rates, durations), rtol=0.02)


@pytest.mark.parametrize(("n_series", "replicas"), [(5, 100), pytest.param(40, 400, marks=pytest.mark.slow)])
def test_ninety_per_cent_intervals_cover_nine_in_ten(n_series, replicas):
    """Over records of a known process, short and long: dwell, passage time and long-run occupancy."""
    random = np.random.default_rng(n_series)
    rates = THREE.rates
    hits = np.zeros(3)
    for _ in range(replicas):
        idata = counts_of(rates, np.full(n_series, 12.0), random)
        dwell, share = dwell_times(idata), occupancy(idata).sel(estimator="long_run")
        passage = mfpt(idata).sel(estimator="paths", state_from="A", state_to="B")
        truths = (THREE.dwell[0], THREE.occupancy[0], mean_first_passage(rates)[0, 1])
        for i, (table, truth) in enumerate(
            zip((dwell.isel(state=0), share.isel(state=0), passage), truths, strict=True)
        ):
            hits[i] += float(table["hdi_low"]) <= truth <= float(table["hdi_high"])
    # Three and a third standard errors of the count.
    assert (abs(hits / replicas - 0.9) < 3.3 * np.sqrt(0.09 / replicas)).all(), hits / replicas
