"""Transitions at a lag: known probabilities come back, and the Chapman-Kolmogorov test keeps its level."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_data_tree, as_inference_data, jump_path, make_groups
from jump_records import THREE_RATES, TWO_RATES, exact_record
from scipy.linalg import expm

from pyro_langevin.diagnostics import chapman_kolmogorov, implied_timescales, transition_matrix
from pyro_langevin.diagnostics.jump_process import generator, relaxation_times
from pyro_langevin.diagnostics.lagged_counts import lagged_pairs


def one_record(path, times):
    truth = Truth(TWO.rates, TWO.location, n_series=1, n_times=len(path))
    groups = make_groups(truth, n_chains=1, n_draws=1)
    for name in ("state", "visit"):
        groups["state_path"][name] = ("chain", "draw", "series", "time"), np.array(path)[None, None, None]
    groups["constant_data"]["time"] = ("series", "time"), np.array(times, dtype=float)[None]
    groups["constant_data"]["length"] = "series", [int((np.array(path) >= 0).sum())]
    return as_inference_data(groups)


def test_counts_of_a_path_by_hand():
    table = transition_matrix(one_record([0, 0, 1, 1, 1, 0, -1], range(7)), lags=[1.0, 2.0])
    np.testing.assert_array_equal(table["count"].sel(lag=1.0), [[1, 1], [1, 2]])
    np.testing.assert_array_equal(table["count"].sel(lag=2.0), [[0, 2], [1, 1]])
    paths = table["probability"].sel(estimator="paths", lag=2.0)
    np.testing.assert_allclose(paths, [[0.0, 1.0], [0.5, 0.5]])
    low, high = (table[name].sel(estimator="paths", lag=2.0).values for name in ("hdi_low", "hdi_high"))
    assert ((low >= 0) & (low < high) & (high <= 1)).all()
    assert high[0, 0] > 0.5  # one independent count of none says little


def test_pairs_at_irregular_times_are_a_lag_apart_or_skipped():
    times = np.array([[0.0, 1.0, 2.05, 4.0, 5.0, 9.0], [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]])
    series, start, end = lagged_pairs(times, np.array([6, 4]), 2.0)
    found = {(int(s), float(times[s, a]), float(times[s, b])) for s, a, b in zip(series, start, end, strict=True)}
    assert found == {(0, 0.0, 2.05), (0, 2.05, 4.0), (1, 0.0, 2.0), (1, 1.0, 3.0)}
    assert len(lagged_pairs(times, np.array([6, 4]), 20.0)[0]) == 0


def test_lags_must_be_positive_and_default_to_those_of_the_draws():
    idata = as_data_tree(make_groups(TWO, n_chains=1, n_draws=2))
    with pytest.raises(ValueError, match="positive"):
        transition_matrix(idata, lags=[0.0])
    np.testing.assert_allclose(transition_matrix(idata)["lag"], [0.1, 0.2, 0.5, 1.0, 2.0])
    other = transition_matrix(idata, lags=[0.3])["probability"]
    assert other.sel(estimator="prior").isnull().all() and other.sel(estimator="paths").notnull().all()


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
def test_known_probabilities_lie_within_three_standard_deviations(truth):
    table = transition_matrix(as_inference_data(make_groups(truth, n_draws=5)))
    for lag in table["lag"].values:
        exact = expm(generator(truth.rates) * lag)
        for estimator in ("prior", "paths"):
            row = table.sel(estimator=estimator, lag=lag)
            assert (abs(row["probability"] - exact) < 3.3 * row["sd"]).all()
    np.testing.assert_allclose(table["probability"].sum("state_to"), 1.0)
    assert ((table["hdi_low"] < table["probability"]) & (table["probability"] < table["hdi_high"])).all()


def test_a_seed_without_a_state_does_not_count_for_it():
    groups = make_groups(THREE, n_draws=2)
    absent = (groups["states"]["chain"] == 2) & (groups["states"]["state"] == "C")
    groups["states"]["beta_energy"] = groups["states"]["beta_energy"].where(~absent)
    path = groups["state_path"]["state"].copy()
    path[2] = np.where(path[2] == 2, 1, path[2])
    groups["state_path"]["state"] = path
    idata = as_inference_data(groups)
    own = as_inference_data({name: group.isel(chain=[0, 1], missing_dims="ignore") for name, group in groups.items()})
    pair = {"state_from": "A", "state_to": "C", "estimator": "paths"}
    both, first = (transition_matrix(part)["probability"].sel(pair) for part in (idata, own))
    np.testing.assert_allclose(both, first)


def test_timescales_by_lag_are_those_of_the_process():
    idata = as_inference_data(make_groups(THREE, n_draws=5))
    table = implied_timescales(idata)
    exact = relaxation_times(THREE.rates)
    log_sd = np.log(table["hdi_high"] / table["hdi_low"]) / 3.29
    # At the longest lag the faster process has nearly gone, and its eigenvalue is at the mercy of noise.
    error = (np.log(table["paths"] / exact) / log_sd).isel(lag=slice(0, 4))
    assert (abs(error) < 3.3).all()
    np.testing.assert_allclose(table["prior"], np.tile(table["continuous"], (5, 1)), rtol=1e-6)
    assert table["continuous"].values == pytest.approx(exact, rel=0.25)


def test_one_state_has_no_timescale_and_no_test():
    idata = as_inference_data(make_groups(Truth(np.zeros((1, 1)), np.zeros((1, 1))), n_draws=2))
    assert implied_timescales(idata).sizes["process"] == 0
    table = chapman_kolmogorov(idata)
    assert np.isnan(table["p_value"]) and table["z"].isnull().all()
    np.testing.assert_allclose(table["paths"], 1.0)


def test_without_the_priors_probabilities_there_is_no_test():
    groups = make_groups(TWO, n_draws=2)
    groups["kinetics"] = groups["kinetics"].drop_vars(["transition_prior", "lag"])
    table = chapman_kolmogorov(as_inference_data(groups))
    assert np.isnan(table["p_value"]) and table["prior"].isnull().all()
    assert table["paths"].notnull().all()


def test_a_prior_that_hops_too_often_fails():
    random = np.random.default_rng(0)
    record = exact_record(TWO_RATES, np.full(30, 20.0), random)
    assert float(chapman_kolmogorov(record)["p_value"]) > 0.01
    kinetics = record["kinetics"].to_dataset()
    wrong = np.array([[expm(generator(1.5 * TWO_RATES) * lag) for lag in kinetics["lag"].values]])
    record["kinetics"] = xr.DataTree(kinetics.assign(transition_prior=kinetics["transition_prior"].copy(data=wrong)))
    table = chapman_kolmogorov(record)
    assert float(table["p_value"]) < 0.002
    # Six hundred time units with .27 hops each: 160 hops in 240 expected, over five standard deviations off.
    assert -8.0 < float(table["z"].sel(state_from="A", state_to="B").min()) < -4.0


def test_a_hidden_state_fails_at_long_lags_although_the_short_one_is_right():
    """Two basins, one of which has a side room: a Markov chain that is right at the first lag forgets too fast."""
    rates = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.2], [0.0, 0.2, 0.0]])
    random = np.random.default_rng(1)
    paths = [jump_path(rates, 100.0, random) for _ in range(60)]
    merged = [type(path)(np.minimum(path.state, 1), path.entry, path.duration) for path in paths]
    pair = np.array([[0.0, 1.0], [0.5, 0.0]])  # the room holds half of the time
    record = exact_record(pair, np.full(60, 100.0), random, paths=merged, gap=0.25)
    table = chapman_kolmogorov(record)
    assert float(table["p_value"]) < 0.002
    surprise = abs(table["z"]).max(("state_from", "state_to")).values
    assert surprise[0] < 4.0 < surprise[3]


@pytest.mark.slow
@pytest.mark.parametrize("rates", [TWO_RATES, THREE_RATES], ids=["two", "three"])
@pytest.mark.parametrize("durations", [np.full(30, 20.0), np.full(3, 200.0)], ids=["many", "few"])
def test_p_values_of_true_dynamics_are_uniform_or_larger(rates, durations):
    random = np.random.default_rng(2)
    records = 200
    p = np.array([chapman_kolmogorov(exact_record(rates, durations, random))["p_value"] for _ in range(records)])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p < level).mean() < level + 3.3 * np.sqrt(level * (1 - level) / records)
    # Larger only a little: at least half as many as there should be are below a fifth.
    assert (p < 0.2).mean() > 0.2 - 3.3 * np.sqrt(0.16 / records) - 0.05
