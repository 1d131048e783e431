"""Kinetics side by side: figures in their places, intervals that know the record's length."""

import numpy as np
import pytest
from draws import THREE, TWO, Truth, arviz_psislw, as_inference_data, make_groups

from pyro_langevin.diagnostics import barriers, elbo, k_hat, kinetics_table, mfpt, timescales
from pyro_langevin.diagnostics.jump_process import mean_first_passage, relaxation_times


def test_prior_passage_time_is_the_geometric_mean_of_the_seeds():
    groups = make_groups(TWO, n_chains=2)
    seeds = np.array([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 8.0], [1.0, 0.0]]])
    groups["kinetics"]["mfpt"] = groups["kinetics"]["mfpt"].copy(data=seeds)
    passage = mfpt(as_inference_data(groups)).sel(estimator="prior")
    assert float(passage["mean"].sel(state_from="A", state_to="B")) == pytest.approx(4.0)
    assert np.isnan(passage["mean"].values.diagonal()).all()
    # Seeds a factor of four apart: log 4 / sqrt 2 on top of what the record leaves open.
    paths = mfpt(as_inference_data(groups)).sel(estimator="paths")["log_sd"].values
    assert passage["log_sd"].values[0, 1] == pytest.approx(np.hypot(np.log(4) / np.sqrt(2), paths[0, 1]))
    assert passage["log_sd"].values[1, 0] == pytest.approx(paths[1, 0])


def test_record_length_enters_as_the_root_of_the_number_of_transitions():
    groups = make_groups(TWO)
    events = groups["kinetics"]["events"].mean(("chain", "draw")).values
    log_sd = mfpt(as_inference_data(groups)).sel(estimator="paths")["log_sd"].values
    assert log_sd[0, 1] == pytest.approx(1 / np.sqrt(events[0, 1]), rel=0.1)


@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
def test_truth_lies_within_three_standard_deviations(truth):
    table = mfpt(as_inference_data(make_groups(truth)))
    exact = mean_first_passage(truth.rates)
    off = ~np.eye(truth.n_states, dtype=bool)
    for estimator in ("prior", "paths"):
        row = table.sel(estimator=estimator)
        assert (abs(np.log(row["mean"].values / exact) / row["log_sd"].values)[off] < 3).all()
    times = timescales(as_inference_data(make_groups(truth)))
    hopping = truth.n_states - 1
    error = np.log(times["mean"].values[:hopping] / relaxation_times(truth.rates)) / times["log_sd"][:hopping]
    assert (abs(error) < 3).all()
    assert np.isnan(times["paths"][hopping:]).all()
    assert times["log_sd"][0] > 0.05


def test_barrier_takes_the_spread_of_the_seeds_and_of_the_record():
    groups = make_groups(TWO, n_chains=2)
    heights = np.full((2, 2, 2), np.nan)
    heights[:, 0, 1], heights[:, 1, 0] = [4.0, 5.0], [3.0, 3.0]
    groups["states"]["beta_barrier"] = groups["states"]["beta_barrier"].copy(data=heights)
    idata = as_inference_data(groups)
    table, record = barriers(idata), mfpt(idata).sel(estimator="paths")["log_sd"]
    assert float(table["mean"][0, 1]) == 4.5
    assert float(table["sd"][0, 1]) == pytest.approx(float(np.hypot(np.sqrt(0.5), record[0, 1])))
    assert float(table["sd"][1, 0]) == pytest.approx(float(record[1, 0]))


def test_table_sets_the_routes_side_by_side():
    groups = make_groups(TWO, n_chains=1)
    kinetics = groups["kinetics"]
    exact = (
        kinetics["exposure"].sum("draw") / kinetics["events"].sum(("draw", "state_to")).values[..., None][0]
    )
    kinetics["dwell_prior"] = kinetics["dwell_prior"].copy(data=[[10.0, 5.0]])
    kinetics["dwell_chain"] = kinetics["dwell_chain"].copy(data=[[8.0, 5.0]])
    table = kinetics_table(as_inference_data(groups))
    assert list(table.index) == ["dwell[A]", "dwell[B]", "mfpt[A->B]", "mfpt[B->A]"]
    row = table.loc["dwell[A]"]
    assert row["prior"] == pytest.approx(10.0)
    assert row["chain_over_prior"] == pytest.approx(0.8)
    assert row["paths"] == pytest.approx(float(exact[0, 0]))
    assert row["prior_over_paths"] == pytest.approx(10.0 / row["paths"])
    assert row["paths_low"] < row["paths"] < row["paths_high"]
    assert row["prior_low"] < 10.0 < row["prior_high"]
    passage = mfpt(as_inference_data(groups)).sel(state_from="A", state_to="B")
    for estimator, column in (("prior", "prior"), ("paths", "paths")):
        for figure, suffix in (("mean", ""), ("hdi_low", "_low"), ("hdi_high", "_high")):
            expected = float(passage[figure].sel(estimator=estimator))
            assert table.loc["mfpt[A->B]", column + suffix] == pytest.approx(expected)
    assert np.isnan(table.loc["mfpt[A->B]", "chain"])


def test_table_without_the_chains_own_dwell():
    groups = make_groups(TWO)
    groups["kinetics"] = groups["kinetics"].drop_vars("dwell_chain")
    assert kinetics_table(as_inference_data(groups))["chain"].isna().all()


def test_one_state_has_no_kinetics():
    idata = as_inference_data(make_groups(Truth(np.zeros((1, 1)), np.zeros((1, 1)))))
    table = kinetics_table(idata)
    assert list(table.index) == ["dwell[A]"]
    assert table.loc["dwell[A]"].drop("events").isna().all()
    assert np.isnan(mfpt(idata)["mean"]).all()
    assert float(timescales(idata)["mean"][0]) == pytest.approx(0.05)


def test_elbo_per_series_and_its_error():
    groups = make_groups(TWO, n_draws=50)
    stats = groups["sample_stats"]
    ratio = (stats["log_p"] - stats["log_q"]).values
    bound = elbo(as_inference_data(groups))
    np.testing.assert_allclose(bound["mean"], ratio.mean((1, 2)))
    np.testing.assert_allclose(bound["standard_error"], ratio.mean(2).std(1, ddof=1) / np.sqrt(50))


def test_k_hat_is_arvizs():

    groups = make_groups(TWO, n_draws=400)
    random = np.random.default_rng(3)
    stats = groups["sample_stats"]
    heavy = stats["log_q"] + random.exponential(size=stats["log_q"].shape) * np.linspace(0.2, 1.5, 20)
    stats["log_p"] = heavy
    _, expected = arviz_psislw(stats["log_p"] - stats["log_q"])
    k = k_hat(as_inference_data(groups))
    np.testing.assert_allclose(k.values, expected.transpose("chain", "series").values, atol=0.02)
    # exp of a scaled exponential has a Pareto tail whose shape is the scale.
    mean = k.mean("chain").values
    assert mean[0] < 0.45
    assert mean[-1] > 0.9


def test_k_hat_of_an_exact_guide_and_of_too_few_draws():
    groups = make_groups(TWO, n_draws=100)
    groups["sample_stats"]["log_p"] = groups["sample_stats"]["log_q"] + 3.0
    assert (k_hat(as_inference_data(groups)) == -np.inf).all()
    assert k_hat(as_inference_data(make_groups(TWO, n_draws=10))).isnull().all()
