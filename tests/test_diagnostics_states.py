"""States across seeds: shuffled labels are found again, other numbers of states are told apart."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, as_data_tree, as_inference_data, make_groups

from pyro_langevin.diagnostics import (
    align_states,
    audit,
    n_states,
    relabel,
    relabel_path,
    state_probability,
)
from pyro_langevin.diagnostics.layout import attribute, group, observed_duration

SHUFFLES = [[0, 1, 2], [2, 0, 1], [1, 0, 2]]


def _shuffled(groups):
    """Each chain of ``p_state`` with its states in an order of its own."""
    p_state = groups["occupancy"]["p_state"]
    values = np.stack([p_state.values[c][..., shuffle] for c, shuffle in enumerate(SHUFFLES)])
    return p_state.copy(data=values)


def test_shuffled_states_are_found_again():
    groups = make_groups(THREE)
    shuffled = _shuffled(groups)
    alignment = align_states(shuffled)
    aligned = relabel(xr.Dataset({"p_state": shuffled}), alignment)["p_state"].values
    reference = int(alignment.attrs["reference"])
    for chain in range(3):
        own = groups["occupancy"]["p_state"].values[chain][..., SHUFFLES[reference]]
        np.testing.assert_array_equal(aligned[chain], own)
    assert (alignment["overlap"] > 0.9).all()
    assert list(alignment["state"].values) == ["A", "B", "C"]


def test_matrices_and_paths_follow_the_alignment():
    groups = make_groups(THREE)
    alignment = align_states(_shuffled(groups))
    reference = SHUFFLES[int(alignment.attrs["reference"])]
    mfpt = groups["kinetics"]["mfpt"]
    own_order = np.stack([mfpt.values[c][np.ix_(s, s)] for c, s in enumerate(SHUFFLES)])
    moved = relabel(xr.Dataset({"mfpt": mfpt.copy(data=own_order)}), alignment)["mfpt"]
    np.testing.assert_array_equal(moved.values, mfpt.values[:, reference][:, :, reference])

    path = groups["state_path"]["state"]
    inverse = [np.append(np.argsort(shuffle), -1) for shuffle in SHUFFLES]
    own_path = path.copy(data=np.stack([inverse[c][path.values[c]] for c in range(3)]).astype(np.int8))
    expected = np.append(np.argsort(reference), -1)[path.values]
    np.testing.assert_array_equal(relabel_path(own_path, alignment).values, expected)


def _three_and_two(sizes=(3, 3, 2)):
    """Soft claims on ninety times; the last chain sees B and C as one."""
    p = np.zeros((len(sizes), 1, 90, 3))
    for chain, size in enumerate(sizes):
        for t in range(90):
            p[chain, 0, t, min(t // 30, size - 1)] = 1.0
        p[chain, ..., size:] = np.nan
    return xr.DataArray(p, dims=("chain", "series", "time", "state"), coords={"chain": range(len(sizes))})


def test_a_chain_with_another_number_of_states_keeps_only_sure_matches():
    alignment = align_states(_three_and_two())
    # The merged state overlaps half with either of its parts: one of them is it, and the other is missing.
    assert alignment["order"].values[:2].tolist() == [[0, 1, 2], [0, 1, 2]]
    last = alignment["order"].values[2].tolist()
    assert last[0] == 0
    assert sorted(last[1:]) == [-1, 1]


def test_states_without_a_match_go_to_unmatched_slots():
    p = _three_and_two()
    # The chain with two states splits time elsewhere: its second state begins in the middle of B.
    p[2] = np.nan
    p[2, 0, :, 0] = (np.arange(90) < 45) & (np.arange(90) % 2 == 0)
    p[2, 0, :, 1] = 1.0 - p[2, 0, :, 0]
    alignment = align_states(p)
    assert list(alignment["state"].values) == ["A", "B", "C", "unmatched", "unmatched 2"]
    assert alignment["order"].values[2].tolist() == [-1, -1, -1, 0, 1]
    assert alignment["order"].values[0].tolist() == [0, 1, 2, -1, -1]
    moved = relabel(xr.Dataset({"p": p}), alignment)["p"]
    assert moved.sel(state="unmatched").isel(chain=0).isnull().all()
    np.testing.assert_array_equal(moved.sel(state="unmatched 2").isel(chain=2), p[2, ..., 1])


def test_number_of_states():
    groups = make_groups(THREE)
    groups["states"]["n_states"] = ("chain", [3, 2, 3])
    found = n_states(as_inference_data(groups))
    assert int(found["mode"]) == 3
    assert float(found["agreement"]) == pytest.approx(2 / 3)


def test_state_probability_sums_to_one_and_knows_its_times():
    groups = make_groups(TWO)
    probability = state_probability(as_inference_data(groups))
    assert probability.dims == ("series", "time", "state")
    total = probability.sum("state", skipna=False).values
    inside = np.arange(TWO.n_times) < groups["constant_data"]["length"].values[:, None]
    np.testing.assert_allclose(total[inside], 1.0)
    assert np.isnan(total[~inside]).all()
    np.testing.assert_allclose(probability["t"].values[0], 0.1 * np.arange(TWO.n_times))


def test_state_that_a_chain_lacks_counts_as_improbable():
    groups = make_groups(TWO, n_chains=2)
    p_state = groups["occupancy"]["p_state"].copy()
    p_state[1, ..., 0], p_state[1, ..., 1] = 1.0, np.nan
    groups["occupancy"]["p_state"] = p_state
    mean = state_probability(as_inference_data(groups))
    expected = 0.5 * groups["occupancy"]["p_state"].values[0, 0, :, 1]
    np.testing.assert_allclose(mean.sel(state="B").values[0], expected)


def test_data_tree_and_inference_data_give_the_same():
    groups = make_groups(TWO)
    one, other = as_inference_data(groups, warned=("x",)), as_data_tree(groups, warned=("x",))
    xr.testing.assert_identical(group(one, "kinetics"), group(other, "kinetics"))
    assert attribute(one, "seeds") == attribute(other, "seeds") == [10, 11, 12]
    assert audit(one) == audit(other) == []


def test_duration_is_that_of_the_observed_part():
    duration = observed_duration(as_inference_data(make_groups(TWO)))
    assert duration.values[0] == pytest.approx(20.0)
    assert duration.values[-1] == pytest.approx(9.9)


def test_missing_group_and_variable_are_named():
    groups = make_groups(TWO)
    del groups["kinetics"]["events"]
    idata = as_inference_data(groups)
    with pytest.raises(ValueError, match=r"kinetics.*expected exposure, events, came without events; make"):
        group(idata, "kinetics", "exposure", "events")
    with pytest.raises(ValueError, match="expected a group 'log_likelihood'"):
        group(idata, "log_likelihood")
