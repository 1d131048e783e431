"""Verdicts: every damage raises the warning written for it, and only that; clean draws raise none."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_inference_data, make_groups
from jump_records import RATCHET_SEEN, RING, THREE_RATES, TWO_RATES, drifting_record, exact_record, flashing_ratchet
from scipy.linalg import expm

from pyro_langevin.diagnostics import all_warnings, audit, dwell_times
from pyro_langevin.diagnostics.jump_process import generator


def the_only_warning(groups) -> str:
    warnings = audit(as_inference_data(groups))
    assert len(warnings) == 1, warnings
    return warnings[0]


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("seed", range(4))
def test_clean_draws_raise_no_alarm(truth, seed):
    assert audit(as_inference_data(make_groups(truth, seed=seed, n_draws=5))) == []


def test_one_well():
    warning = the_only_warning(make_groups(Truth(np.zeros((1, 1)), np.zeros((1, 1)))))
    assert "one well only" in warning


def test_seeds_disagree_on_the_number_of_states():
    groups = make_groups(THREE)
    groups["states"]["n_states"] = ("chain", [3, 2, 3])
    assert "2 in 1 seed, 3 in 2 seeds" in the_only_warning(groups)


def test_too_few_transitions():
    short = Truth(TWO.rates, TWO.location, n_series=2, n_times=101)
    groups = make_groups(short, seed=4)
    events = dwell_times(as_inference_data(groups))["events"].values
    assert 0 < events.min() < 10
    warning = the_only_warning(groups)
    assert warning.startswith("Few transitions were seen")
    assert f"{events[0]:.3g} from A" in warning


def test_potential_that_hops_too_seldom():
    groups = make_groups(TWO)
    kinetics = groups["kinetics"]
    factor = np.array([[1.0, 1.0], [2.0, 1.0], [2.5, 1.0]])
    for name in ("dwell_prior", "dwell_chain"):
        kinetics[name] = kinetics[name] * factor
    warning = the_only_warning(groups)
    assert "hops less often than the posterior paths: its mean dwell in A is" in warning
    assert "in 2 of 3 seeds" in warning
    assert " s (90 % interval" in warning


@pytest.mark.parametrize(("truth", "factor", "told"), [(TWO, 0.4, False), (THREE, 0.4, True), (THREE, 2.5, False)])
def test_a_state_may_be_passed_through_where_there_is_a_third_and_dwells_are_short(truth, factor, told):
    groups = make_groups(truth)
    for name in ("dwell_prior", "dwell_chain"):
        groups["kinetics"][name] = groups["kinetics"][name] * factor
    idata = as_inference_data(groups)
    idata.attrs["drawn_from"] = "exact posterior"
    (warning,) = [one for one in audit(idata) if one.startswith("The learned potential hops")]
    assert "the fit is not finished" in warning
    assert ("for want of a latent dimension" in warning) == told


def test_a_potential_within_the_interval_of_the_paths_is_let_pass():
    groups = make_groups(Truth(TWO.rates, TWO.location, n_series=4), seed=1)
    kinetics = groups["kinetics"]
    high = float(dwell_times(as_inference_data(groups))["hdi_high"][0])
    for name, scale in (("dwell_prior", 1.0), ("dwell_chain", 1.02)):
        kinetics[name] = kinetics[name].where(kinetics["state"] != "A", 0.97 * high * scale)
    assert audit(as_inference_data(groups)) == []


def test_twenty_per_cent_are_let_pass_however_long_the_record():
    groups = make_groups(TWO)
    kinetics = groups["kinetics"]
    kinetics["exposure"], kinetics["events"] = 1000 * kinetics["exposure"], 1000 * kinetics["events"]
    path = (kinetics["exposure"].mean("draw") / kinetics["events"].sum("state_to").mean("draw").values)[
        0
    ].values
    for factor, warned in ((1.15, None), (1.25, "less often"), (1 / 1.25, "more often")):
        kinetics["dwell_prior"] = kinetics["dwell_prior"].copy(data=np.tile(factor * path, (3, 1)))
        kinetics["dwell_chain"] = kinetics["dwell_prior"]
        warnings = audit(as_inference_data(groups))
        assert len(warnings) == (warned is not None)
        if warned:
            assert f"hops {warned} than the posterior paths" in warnings[0]
            assert "in A is" in warnings[0]
            assert "in B is" in warnings[0]


def test_step_that_is_too_long_names_the_step_to_take():
    groups = make_groups(Truth(TWO.rates, TWO.location, n_series=80), n_draws=5)
    kinetics = groups["kinetics"]
    kinetics["dwell_chain"] = kinetics["dwell_prior"] * np.exp(0.35)
    # Error .35 at step .05, first order: .35 / 8 < .05, so three halvings.
    warning = the_only_warning(groups)
    assert "--max-step 0.00625 (now 0.05)" in warning
    assert "continuous" in warning
    kinetics.attrs["order"] = 2
    assert "--max-step 0.0125 (now 0.05)" in the_only_warning(groups)
    del kinetics.attrs["step"]
    assert "a --max-step 4 times smaller" in the_only_warning(groups)


def test_step_error_below_the_record_uncertainty_is_let_pass():
    groups = make_groups(Truth(TWO.rates, TWO.location, n_series=6), seed=2)
    kinetics = groups["kinetics"]
    log_sd = dwell_times(as_inference_data(groups))["log_sd"].values
    assert log_sd.min() > 0.1
    kinetics["dwell_chain"] = kinetics["dwell_prior"] * np.exp(1.5 * log_sd)
    assert audit(as_inference_data(groups)) == []


def test_boltzmann_law_against_the_paths():
    groups = make_groups(TWO)
    for name in ("stationary", "stationary_chain"):
        groups["occupancy"][name] = ("chain", "state"), np.tile([0.85, 0.15], (3, 1))
    warning = the_only_warning(groups)
    assert "(0.850)" in warning
    assert "what a record of this length allows" in warning


def test_seed_that_got_stuck():
    groups = make_groups(TWO)
    stats = groups["sample_stats"]
    stats["log_p"] = stats["log_p"] - 8.0 * (stats["chain"] == 1)
    warning = the_only_warning(groups)
    assert "seed 11 is" in warning
    assert "nats per series below" in warning


def test_stored_warnings_come_first_and_none_comes_twice():
    groups = make_groups(Truth(np.zeros((1, 1)), np.zeros((1, 1))))
    well = audit(as_inference_data(groups))[0]
    idata = as_inference_data(groups, warned=("early stop", well))
    assert all_warnings(idata) == ["early stop", well]


def known(rates, random, *, durations=None, **kwargs):
    return exact_record(rates, np.full(30, 20.0) if durations is None else durations, random, **kwargs)


def the_warning_of(idata) -> str:
    warnings = audit(idata)
    assert len(warnings) == 1, warnings
    return warnings[0]


def test_learned_dynamics_that_forgets_too_fast():
    record = known(TWO_RATES, np.random.default_rng(0))
    kinetics = record["kinetics"].to_dataset()
    # Right at the first two lags, at the others as if hops went twice as fast.
    fast = np.array([expm(generator(2.0 * TWO_RATES) * lag) for lag in kinetics["lag"].values])[None]
    late = xr.DataArray(fast, dims=("chain", "lag", "state_from", "state_to")).where(kinetics["lag"] > 0.25)
    record["kinetics"] = xr.DataTree(kinetics.assign(transition_prior=late.fillna(kinetics["transition_prior"])))
    warning = the_warning_of(record)
    assert "does not carry over from lag to lag" in warning
    assert "1 s after" in warning or "2 s after" in warning or "0.5 s after" in warning


def test_a_ring_that_no_potential_can_drive():
    warning = the_warning_of(known(RING, np.random.default_rng(0), location=np.eye(3)))
    assert warning.startswith("Detailed balance is broken")
    assert "passages a s from" in warning


def test_flashing_ratchet():
    rates, random = flashing_ratchet(2.0), np.random.default_rng(0)
    record = known(rates, random, durations=np.full(60, 50.0), location=RATCHET_SEEN, gap=0.1)
    assert any(warning.startswith("Detailed balance is broken") for warning in audit(record))


def test_data_that_tell_forwards_from_backwards():
    random = np.random.default_rng(0)
    record = known(TWO_RATES, random, durations=np.full(10, 40.0), noise=0.1)
    data = record["observed_data"].to_dataset()
    phase = (0.1 * np.arange(data.sizes["time"]) / 5.0 + random.uniform(size=(10, 1))) % 1.0
    record["observed_data"] = xr.DataTree(data.assign(y=data["y"] + phase[..., None]))
    warning = the_warning_of(record)
    assert warning.startswith("The data look different read backwards: channel y0")


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_a_rate_that_drifts(factor):
    warnings = audit(drifting_record(np.random.default_rng(0), factor=factor))
    mine = [warning for warning in warnings if warning.startswith("The record is not stationary")]
    assert len(mine) == 1
    assert "A is left" in mine[0]
    assert "first half" in mine[0]


def test_an_occupancy_that_drifts_although_no_rate_changes_by_much():
    warnings = audit(drifting_record(np.random.default_rng(0), factor=1.2, other=1 / 1.2, n_series=400))
    mine = [warning for warning in warnings if warning.startswith("The record is not stationary")]
    assert len(mine) == 1
    assert "the share of time in" in mine[0]


def test_estimators_of_the_occupancy_that_disagree():
    groups = make_groups(TWO)
    held = groups["occupancy"]
    value = held["stationary"].copy()
    value[1, :, 1] += np.array([0.06, -0.06])
    held["stationary"] = value
    warning = the_only_warning(groups)
    assert "'integral'" in warning and "'sampled'" in warning
    value[1, :, 2] += np.array([0.2, -0.2])  # Laplace's formula is nobody's witness
    value[1, :, 1] -= np.array([0.06, -0.06])
    held["stationary"] = value
    assert audit(as_inference_data(groups)) == []


def test_step_that_moves_the_occupancies():
    groups = make_groups(Truth(TWO.rates, TWO.location, n_series=200), n_draws=2)
    held = groups["occupancy"]
    trusted = held["stationary"].sel(estimator="integral", drop=True)
    held["stationary_chain"] = trusted + xr.DataArray([0.08, -0.08], dims="state")
    warning = the_only_warning(groups)
    assert "too long for the occupancies" in warning
    assert "of that occupancy's variance" in warning
    held["stationary_chain"] = trusted + xr.DataArray([0.015, -0.015], dims="state")
    assert audit(as_inference_data(groups)) == []


def test_states_behind_low_barriers_that_are_recrossed():
    groups = make_groups(TWO)
    low = groups["states"]["beta_barrier"].copy(data=np.tile([[np.nan, 1.5], [3.0, np.nan]], (3, 1, 1)))
    groups["states"]["beta_barrier"] = low
    assert audit(as_inference_data(groups)) == []  # left for good each time that it is seen
    path = groups["state_path"]["state"].copy()
    inside = (path[..., 1:-1].values == 0) & (path[..., :-2].values == 0) & (path[..., 2:].values == 0)
    flicker = inside & (np.arange(199) % 7 == 0)
    path[..., 1:-1] = np.where(flicker, 1, path[..., 1:-1])
    groups["state_path"]["state"] = path
    groups["kinetics"] = groups["kinetics"].drop_vars(["transition_prior", "lag"])
    warnings = [w for w in audit(as_inference_data(groups)) if w.startswith("States that hardly hold")]
    assert len(warnings) == 1
    assert "A: barrier 1.5 kT" in warnings[0] and "B:" not in warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize("rates", [TWO_RATES, THREE_RATES], ids=["two", "three"])
def test_false_alarms_are_rare(rates):
    """Records of the very dynamics that is held as learned: fewer than one in twenty raises any warning at all."""
    random = np.random.default_rng(0)
    records, warnings = 150, []
    for number in range(records):
        durations = (np.full(40, 20.0), np.full(300, 3.0), np.full(3, 300.0))[number % 3]
        found = audit(known(rates, random, durations=durations))
        warnings += found[:1]
    print(f"false alarms: {len(warnings)} of {records}", *warnings, sep="\n")
    # One in twenty, less what chance allows of a rate of one in fifty.
    assert len(warnings) <= 0.05 * records
