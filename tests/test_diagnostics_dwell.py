"""Dwell times: exposure over events against the truth, censoring, survival against the exponential law."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_inference_data, make_groups
from scipy import stats

from pyro_langevin.diagnostics import dwell_survival, dwell_times


def with_counts(exposure, events):
    """Draws of one chain whose counts are given: exposure (draw, 2), events A->B and B->A (draw, 2)."""
    groups = make_groups(TWO, n_chains=1, n_draws=len(exposure))
    matrix = np.zeros((1, len(exposure), 2, 2))
    matrix[0, :, 0, 1], matrix[0, :, 1, 0] = np.transpose(events)
    kinetics = groups["kinetics"]
    kinetics["exposure"] = kinetics["exposure"].copy(data=np.array(exposure, dtype=float)[None])
    kinetics["events"] = kinetics["events"].copy(data=matrix)
    return as_inference_data(groups)


def test_mean_is_exposure_over_events():
    dwell = dwell_times(with_counts([[40.0, 10.0], [44.0, 6.0]], [[20, 21], [22, 19]]))
    np.testing.assert_allclose(dwell["mean"], [84 / 42, 16 / 40])
    np.testing.assert_allclose(dwell["events"], [21, 20])
    assert dwell.attrs["time_unit"] == "s"


def test_interval_is_that_of_the_gamma_posterior():
    dwell = dwell_times(with_counts([[40.0, 10.0]], [[100, 100]]))
    # With a hundred events the posterior of the log rate is nearly symmetric: shortest and central agree.
    rate = stats.gamma(100.5, scale=1 / 40.0)
    expected = 1 / rate.ppf(0.95), 1 / rate.ppf(0.05)
    assert (float(dwell["hdi_low"][0]), float(dwell["hdi_high"][0])) == pytest.approx(expected, rel=0.02)
    assert float(dwell["log_sd"][0]) == pytest.approx(0.1, rel=0.05)
    assert float(dwell["sd"][0]) == pytest.approx(40 / 99.5 / np.sqrt(98.5), rel=0.05)


def test_draws_that_disagree_widen_the_interval():
    apart = dwell_times(with_counts([[20.0, 10.0], [60.0, 10.0]], [[100, 100], [100, 100]]))
    assert float(apart["hdi_low"][0]) < 0.22
    assert float(apart["hdi_high"][0]) > 0.55


def test_truth_is_within_the_record_uncertainty_where_complete_dwells_are_biased():
    # Twenty-four time units a series, dwells of twelve and eight: most of them are cut off.
    truth = Truth(np.array([[0.0, 1 / 12], [1 / 8, 0.0]]), TWO.location, n_series=150, n_times=241)
    idata = as_inference_data(make_groups(truth, n_chains=1, n_draws=4))
    dwell = dwell_times(idata)
    error = np.log(dwell["mean"].values / truth.dwell) / dwell["log_sd"].values
    assert (abs(error) < 3).all()


def test_no_event_leaves_a_lower_end_only():
    dwell = dwell_times(with_counts([[40.0, 10.0]], [[0, 1]]))
    assert np.isnan(dwell["mean"][0])
    assert np.isnan(dwell["sd"][0])
    # Half an event is assumed: Gamma(1/2) has its 90 % point at 1.35.
    assert 5.0 < float(dwell["hdi_low"][0]) < 40.0
    assert float(dwell["hdi_high"][0]) > 1000.0


def test_one_state_has_no_dwell():
    dwell = dwell_times(as_inference_data(make_groups(Truth(np.zeros((1, 1)), np.zeros((1, 1))))))
    assert np.isnan(dwell["mean"]).all()
    assert np.isnan(dwell["hdi_high"]).all()
    assert float(dwell["exposure"][0]) == pytest.approx(389.9)


def test_a_seed_with_one_state_has_no_say_in_a_dwell():
    groups = make_groups(TWO, n_chains=2, n_draws=1)
    energy, kinetics = groups["states"]["beta_energy"], groups["kinetics"]
    groups["states"]["beta_energy"] = energy.where((energy["chain"] == 0) | (energy["state"] == energy["state"][0]))
    exposure, events = np.array([[[40.0, 10.0]], [[50.0, 0.0]]]), np.zeros((2, 1, 2, 2))
    events[0, 0, 0, 1] = events[0, 0, 1, 0] = 20
    kinetics["exposure"] = kinetics["exposure"].copy(data=exposure)
    kinetics["events"] = kinetics["events"].copy(data=events)
    dwell = dwell_times(as_inference_data(groups))
    np.testing.assert_allclose(dwell["mean"], [2.0, 0.5])
    assert (dwell["hdi_low"] < dwell["mean"]).all() and (dwell["mean"] < dwell["hdi_high"]).all()


def _one_path(path, times):
    groups = make_groups(
        Truth(TWO.rates, TWO.location, n_series=1, n_times=len(times)), n_chains=1, n_draws=1
    )
    state = xr.DataArray(
        np.array(path, dtype=np.int8)[None, None, None], dims=("chain", "draw", "series", "time")
    )
    groups["state_path"] = xr.Dataset({"state": state})
    groups["constant_data"]["time"] = ("series", "time"), np.array(times, dtype=float)[None]
    return as_inference_data(groups)


def test_survival_of_a_path_by_hand():
    # Runs: A (begun before), B 2, A 3, B 1, A cut off after 4, then padding.
    path = [0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, -1, -1]
    survival = dwell_survival(_one_path(path, range(15)), n_points=41)
    a, b = survival["survival"].sel(state="A"), survival["survival"].sel(state="B")
    at = survival["duration"].values
    np.testing.assert_allclose(survival["runs"], [1, 2])
    assert at[-1] == 4.0
    np.testing.assert_allclose(b.values[at < 0.99], 1.0)
    np.testing.assert_allclose(b.values[(at > 1.0) & (at < 1.99)], 0.5)
    np.testing.assert_allclose(b.values[at >= 2.0], 0.0)
    np.testing.assert_allclose(a.values[at > 3.0], 0.5)  # two at risk at 3, one ended


def test_survival_uses_the_times_and_not_their_number():
    survival = dwell_survival(_one_path([0, 1, 1, 0, 0, 0], [0.0, 1.0, 5.0, 9.0, 10.0, 11.0]))
    b = survival["survival"].sel(state="B")
    assert float(b.sel(duration=7.9, method="nearest")) == 1.0
    assert float(b.sel(duration=8.0, method="nearest")) == 0.0


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
def test_survival_is_exponential_for_a_jump_process(truth):
    survival = dwell_survival(as_inference_data(make_groups(truth, n_chains=1, n_draws=5)))
    at = survival["duration"].values
    # Visits within one gap are unseen, which matters at the foot only.
    for state in range(truth.n_states):
        middle = np.searchsorted(at, truth.dwell[state])
        row = survival.isel(state=state, duration=middle)
        sd = float(row["hdi_high"] - row["hdi_low"]) / 3.29
        assert abs(float(row["survival"]) - np.exp(-1)) < 3.3 * sd + 0.02
        assert float(row["hdi_low"]) < float(row["survival"]) < float(row["hdi_high"])
    assert (survival["survival"].diff("duration").fillna(0.0) <= 1e-9).all()


def test_draws_that_disagree_share_one_falling_curve():
    # Four draws of B: runs of 2, 2, 4 complete, and one cut off after 6.
    paths = [[0, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0, 0], [0] + [1] * 7]
    idata = _one_path(paths[0], range(8))
    state = np.array(paths, dtype=np.int8)[None, :, None]
    idata["state_path"] = xr.Dataset({"state": (("chain", "draw", "series", "time"), state)})
    survival = dwell_survival(idata, n_points=61).sel(state="B")
    at = survival["duration"].values
    np.testing.assert_allclose(survival["survival"].values[at < 1.99], 1.0)
    np.testing.assert_allclose(survival["survival"].values[(at > 2.01) & (at < 3.99)], 0.5)
    np.testing.assert_allclose(survival["survival"].values[at > 4.01], 0.25)
    assert float(survival["runs"]) == 0.75
    # A single run of each draw: whatever the pool, one run's worth is known.
    row = survival.sel(duration=3.0, method="nearest")
    assert float(row["hdi_low"]) < 0.1
    assert float(row["hdi_high"]) > 0.85


def test_a_state_that_is_never_entered_has_no_survival():
    survival = dwell_survival(_one_path([0, 0, 0, 1, 1, 1], range(6)))
    assert survival["survival"].sel(state="A").isnull().all()
    assert survival["survival"].sel(state="B").sel(duration=1.0, method="nearest") == 1.0
