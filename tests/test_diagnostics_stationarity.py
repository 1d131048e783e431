"""Halves of the record, sources of variance, recrossings, committor, basin tree: figures by hand, known answers."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Jumps, Truth, as_data_tree, as_inference_data, jump_path, make_groups
from jump_records import THREE_RATES, TWO_RATES, drifting_record, exact_record

from pyro_langevin.diagnostics import (
    basin_tree,
    committor,
    occupancy,
    occupancy_variance,
    recrossing,
    state_probability,
    stationarity,
)

ONE = Truth(np.zeros((1, 1)), np.zeros((1, 1)))


def test_halves_by_hand():
    path = Jumps(np.array([0, 1, 0, 1]), np.array([0.0, 1.0, 2.0, 6.0]), 8.0)
    table = stationarity(exact_record(TWO_RATES, np.array([8.0]), np.random.default_rng(0), paths=[path], gap=0.5))
    # A jump between two observations counts as in the middle: at .75, 1.75 and 5.75.
    np.testing.assert_allclose(table["first"], [3 / 4, 1 / 4])
    np.testing.assert_allclose(table["second"], [1.75 / 4, 2.25 / 4])
    np.testing.assert_allclose(table["rate_first"], [1 / 3, 1 / 1])
    np.testing.assert_allclose(table["rate_second"], [1 / 1.75, 0.0])


def test_standard_deviations_are_those_of_many_records():
    random = np.random.default_rng(0)
    records = 40
    found = [stationarity(exact_record(THREE_RATES, np.full(20, 10.0), random)) for _ in range(records)]
    for name in ("z", "rate_z", "start_z"):
        values = np.array([table[name].values for table in found])
        assert (abs(values.mean(0)) < 3.5 / np.sqrt(records)).all()
        assert (abs(values.std(0) - 1.0) < 3.5 / np.sqrt(2 * records)).all()


def test_a_rate_that_doubles_is_seen():
    table = stationarity(drifting_record(np.random.default_rng(0), factor=3.0)).sel(state="A")
    assert float(table["rate_z"]) > 4.0
    assert float(table["difference"]) < -0.1
    assert float(table["z"]) < -3.0


def test_series_that_begin_in_one_state_are_told_from_a_drift():
    random = np.random.default_rng(0)
    paths = []
    while len(paths) < 100:
        path = jump_path(TWO_RATES, 4.0, random)
        if path.state[0] == 1:
            paths.append(path)
    table = stationarity(exact_record(TWO_RATES, np.full(100, 4.0), random, paths=paths)).sel(state="B")
    assert float(table["start_z"]) > 8.0
    assert float(table["z"]) < -3.0
    assert abs(float(table["rate_z"])) < 3.0


def test_one_state_is_stationary():
    table = stationarity(as_inference_data(make_groups(ONE, n_draws=2)))
    np.testing.assert_allclose(table["first"], 1.0)
    assert table[["z", "rate_z", "start_z"]].to_array().isnull().all()


def test_sources_of_variance_by_hand():
    groups = make_groups(TWO, n_chains=2, n_draws=4)
    share = groups["occupancy"]["path"].copy()
    share[..., 0] = 0.5 + 0.02 * np.array([1.0, -1.0, 1.0, -1.0])[None, :, None]
    share[..., 1] = 1 - share[..., 0]
    groups["occupancy"]["path"] = share
    held = groups["occupancy"]
    held["stationary"] = held["stationary"].copy(data=np.tile([[[0.6], [0.4]], [[0.7], [0.3]]], (1, 1, 3)))
    held["stationary_error"] = held["stationary_error"].copy(data=np.full((2, 2, 3), 0.01))
    held["stationary_chain"] = ("chain", "state"), np.array([[0.63, 0.37], [0.73, 0.27]])
    idata = as_inference_data(groups)
    variance = occupancy_variance(idata)["variance"].sel(state="A")
    within = 0.02**2 * 4 / 3
    record = float(occupancy(idata)["record_sd"].sel(state="A")) ** 2
    expected = [within, record, 0.005, (within / 4 + 1e-4) / 2, 9e-4]
    np.testing.assert_allclose(variance.sel(source=["path", "record", "seed", "monte_carlo", "step"]), expected)


def test_sources_that_were_not_computed_count_nothing():
    groups = make_groups(TWO, n_chains=1, n_draws=1)
    groups["occupancy"] = groups["occupancy"].drop_vars(["stationary_error", "stationary_chain"])
    variance = occupancy_variance(as_inference_data(groups))["variance"]
    assert (variance.sel(source="record") > 0).all()
    np.testing.assert_array_equal(variance.drop_sel(source="record"), 0.0)


def test_crossings_and_transitions_by_hand():
    record = exact_record(TWO_RATES, np.array([9.0]), np.random.default_rng(0), gap=1.0)
    shape = ("chain", "draw", "series", "time")
    paths = xr.Dataset(
        {
            "state": (shape, np.array([0, 1, 0, 1, 1, 1, 0, 1, 1, 1])[None, None, None]),
            "visit": (shape, np.array([-1, 0, 0, 0, 1, 1, 1, 1, 1, 1])[None, None, None]),
        }
    )
    record["state_path"] = xr.DataTree(paths)
    table = recrossing(record)
    np.testing.assert_array_equal(table["crossings"], [3, 2])
    np.testing.assert_array_equal(table["transitions"], [1, 0])
    np.testing.assert_array_equal(table["ratio"], [3, np.nan])


def test_draws_without_cores_have_no_recrossings():
    groups = make_groups(TWO, n_draws=2)
    groups["state_path"] = groups["state_path"].drop_vars("visit")
    with pytest.raises(ValueError, match="visit"):
        recrossing(as_inference_data(groups))


def test_committor_is_read_off_where_the_path_is():
    groups = make_groups(TWO, n_chains=2, n_draws=3)
    grid = groups["landscape"]["grid"]
    right = ((grid + 1.0) / 2.0).clip(0.0, 1.0)
    groups["landscape"]["committor"] = xr.concat([1.0 - right, right], "state").transpose("chain", "state", "point")
    table = committor(as_inference_data(groups))
    exact = ((groups["posterior"]["z"] + 1.0) / 2.0).clip(0.0, 1.0).mean(("chain", "draw")).isel(latent_dim=0)
    np.testing.assert_allclose(table.sel(state="B"), exact, atol=1e-3)
    np.testing.assert_allclose(table.sum("state").where(exact.notnull().values), exact * 0 + 1)
    assert table.isel(series=-1, time=-1).isnull().all()


def test_committor_on_a_plane_knows_which_axis_is_which():
    groups = make_groups(THREE, n_chains=1, n_draws=1)
    field = groups["landscape"]
    up = ((field["grid_y"] + 0.5 * field["grid_x"]) / 20 + 0.5).transpose("chain", "y", "x")
    field["committor"] = xr.concat([up, 0.5 - up, 0.5 + 0 * up], "state").transpose("chain", "state", "y", "x")
    z = groups["posterior"]["z"].isel(chain=0, draw=0)
    value = committor(as_data_tree(groups))
    exact = (z.isel(latent_dim=1) + 0.5 * z.isel(latent_dim=0)) / 20 + 0.5
    # Positions beyond the grid take its edge.
    edge = 1.6 * (abs(exact - 0.5) > 0.11)
    assert (abs(value.isel(state=0) - exact) < 1e-9 + edge).where(exact.notnull(), True).all()


def test_committor_looks_like_the_states_where_cores_are_deep():
    groups = make_groups(THREE, n_chains=1, n_draws=4)
    value, state = committor(as_inference_data(groups)), state_probability(as_inference_data(groups))
    sure = state.max("state") == 1.0
    assert float((value.fillna(-1).argmax("state") == state.fillna(-1).argmax("state")).where(sure).mean()) > 0.95


def test_committor_of_more_dimensions_is_refused():
    groups = make_groups(THREE, n_chains=1, n_draws=1)
    groups["landscape"].attrs["plane"] = "three minima"
    with pytest.raises(ValueError, match="plane through three minima"):
        committor(as_inference_data(groups))


def test_tree_of_three_wells_by_hand():
    groups = make_groups(THREE, n_chains=2)
    energy = np.array([1.0, 0.0, 2.0])
    height = np.array([[np.nan, 6.0, 4.0], [6.0, np.nan, 6.0], [4.0, 6.0, np.nan]])
    groups["states"]["beta_energy"] = ("chain", "state"), np.stack([energy, energy])
    barrier = np.stack([height - energy[:, None]] * 2)
    barrier[1] += 0.5  # the other seed has higher passes
    groups["states"]["beta_barrier"] = ("chain", "state_from", "state_to"), barrier
    tree = basin_tree(as_inference_data(groups))
    np.testing.assert_array_equal(tree["left"], [0, 1])
    np.testing.assert_array_equal(tree["right"], [2, 3])
    np.testing.assert_allclose(tree["beta_energy"], [4.25, 6.25])
    np.testing.assert_allclose(tree["leaf_energy"], energy)


def test_wells_that_no_pass_joins_stay_apart():
    groups = make_groups(TWO, n_chains=1)
    groups["states"]["beta_barrier"] = groups["states"]["beta_barrier"] * np.nan
    assert basin_tree(as_inference_data(groups)).sizes["merge"] == 0
    assert basin_tree(as_inference_data(make_groups(ONE, n_draws=2))).sizes["merge"] == 0
