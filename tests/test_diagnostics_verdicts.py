"""Verdicts: every damage raises the warning written for it, and only that; clean draws raise none."""

import numpy as np
import pytest
from draws import THREE, TWO, Truth, as_inference_data, make_groups

from pyro_langevin.diagnostics import all_warnings, audit, dwell_times


def the_only_warning(groups) -> str:
    warnings = audit(as_inference_data(groups))
    assert len(warnings) == 1, warnings
    return warnings[0]


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("seed", range(10))
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
    groups = make_groups(Truth(TWO.rates, TWO.location, n_series=80))
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
