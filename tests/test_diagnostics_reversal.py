"""Detailed balance: what goes round is found, what goes to and fro is not."""

import numpy as np
import pytest
from draws import Jumps, jump_path
from jump_records import RATCHET_SEEN, RING, THREE_RATES, TWO_RATES, exact_record, flashing_ratchet

from pyro_langevin.diagnostics import detailed_balance
from pyro_langevin.diagnostics.blocks import record_blocks, sign_test
from pyro_langevin.diagnostics.cycles import cycle_part, fundamental_cycles
from pyro_langevin.diagnostics.jump_process import stationary_law


def entropy_production(rates):
    flux = stationary_law(rates)[:, None] * rates
    both = (flux > 0) & (flux.T > 0)
    return 0.5 * np.sum((flux - flux.T)[both] * np.log(flux[both] / flux.T[both]))


def test_cycles_of_a_square_with_a_diagonal():
    strength = np.array([[0, 3, 1, 4], [3, 0, 5, 0], [1, 5, 0, 6], [4, 0, 6, 0]], dtype=float)
    cycles = fundamental_cycles(strength)
    assert len(cycles) == 2  # five edges, four corners
    np.testing.assert_array_equal(cycles, -np.swapaxes(cycles, 1, 2))
    np.testing.assert_array_equal(cycles.sum(-1), 0)  # as often into every corner as out of it
    assert np.linalg.matrix_rank(cycles.reshape(2, -1)) == 2


def test_a_flux_of_differences_goes_nowhere_and_a_cycle_goes_round():
    strength = np.array([[0.0, 2.0, 1.0], [2.0, 0.0, 3.0], [1.0, 3.0, 0.0]])
    phi = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(cycle_part(strength * (phi[:, None] - phi), strength), 0.0, atol=1e-12)
    ring = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    np.testing.assert_allclose(cycle_part(ring, strength), ring, atol=1e-12)


def test_signs_by_hand():
    found = sign_test(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(found.z, [2.0, np.nan])
    assert found.p_value == pytest.approx(1 / 8, abs=0.02)  # all four alike: two of sixteen choices
    assert np.isnan(sign_test(np.zeros((3, 1))).p_value)


def test_blocks_are_stretches_of_series():
    record = exact_record(TWO_RATES, np.array([10.0, 3.0, 1.0]), np.random.default_rng(0), gap=1.0)
    blocks = record_blocks(record, at_least=3.0)
    np.testing.assert_array_equal(blocks[0], [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(blocks[1, :5], [3, 3, 3, 3, -1])
    np.testing.assert_array_equal(blocks[2, :3], [4, 4, -1])


def test_flux_of_a_path_by_hand():
    path = Jumps(np.array([0, 1, 2, 0, 1, 2, 0, 2]), np.arange(8.0), 8.0)
    table = detailed_balance(exact_record(RING, np.array([8.0]), np.random.default_rng(0), paths=[path], gap=0.5))
    # Twice round, and once back from A to C.
    np.testing.assert_allclose(table["net_flux"], np.array([[0, 2, -1], [-2, 0, 2], [1, -2, 0]]) / 8)


def test_a_ring_is_flagged_with_its_entropy_production():
    record = exact_record(RING, np.full(30, 40.0), np.random.default_rng(0), gap=0.05)
    table = detailed_balance(record)
    assert abs(float(table["z"])) > 5.0
    assert float(table["p_value"]) < 0.002
    flux = stationary_law(RING)[:, None] * RING
    np.testing.assert_allclose(table["net_flux"], flux - flux.T, atol=4 * float(table["net_flux_sd"].max()))
    error = float(table["entropy_production"]) - entropy_production(RING)
    assert abs(error) < 3.3 * float(table["entropy_production_sd"])


def test_series_that_relax_from_one_state_are_reversible():
    random = np.random.default_rng(3)
    paths = []
    while len(paths) < 200:
        path = jump_path(THREE_RATES, 2.0, random)
        if path.state[0] == 2:
            paths.append(path)
    table = detailed_balance(exact_record(THREE_RATES, np.full(200, 2.0), random, paths=paths))
    assert abs(float(table["net_flux"].sel(state_from="C").sum() / table["net_flux_sd"].max())) > 5  # out of C
    assert abs(float(table["z"])) < 3.0
    assert abs(float(table["entropy_production"])) < 3.3 * float(table["entropy_production_sd"])


def test_flashing_ratchet_is_flagged_by_its_states_and_by_the_data_alone():
    random = np.random.default_rng(0)
    durations = np.full(40, 50.0)
    on = detailed_balance(exact_record(flashing_ratchet(2.0), durations, random, location=RATCHET_SEEN, gap=0.2))
    assert float(on["p_value"]) < 0.002
    assert float(on["asymmetry_p_value"]) < 0.002
    assert float(on["entropy_production"]) > 5 * float(on["entropy_production_sd"])
    off = detailed_balance(exact_record(flashing_ratchet(0.0), durations, random, location=RATCHET_SEEN, gap=0.2))
    assert float(off["p_value"]) > 0.01
    assert float(off["asymmetry_p_value"]) > 0.01


def test_two_states_have_no_cycle_and_one_channel_a_third_moment():
    table = detailed_balance(exact_record(TWO_RATES, np.full(10, 20.0), np.random.default_rng(0)))
    assert np.isnan(table["z"]) and np.isnan(table["entropy_production"])
    assert abs(table["net_flux"].values).max() < 10 / 200  # at most one transition a series
    assert abs(table["asymmetry_z"].values).max() < 3.5


def test_a_sawtooth_is_flagged_in_one_channel():
    random = np.random.default_rng(0)
    record = exact_record(TWO_RATES, np.full(10, 40.0), random, noise=0.1)
    data = record["observed_data"].to_dataset()
    phase = (0.1 * np.arange(data.sizes["time"]) / 5.0 + random.uniform(size=(10, 1))) % 1.0  # up slowly, down at once
    data["y"] = data["y"] + phase[..., None]
    record["observed_data"] = data
    assert float(detailed_balance(record)["asymmetry_p_value"]) < 0.002
    data["y"] = data["y"] + 2 * abs(phase - 0.5)[..., None] - phase[..., None]  # up and down alike
    record["observed_data"] = data
    assert float(detailed_balance(record)["asymmetry_p_value"]) > 0.01


def in_categories(rates, codes, random):
    """A record whose one channel is the category of the state, wrong one time in ten."""
    record = exact_record(rates, np.full(20, 40.0), random, gap=0.2)
    data = record["observed_data"].to_dataset()
    state = record["state_path"]["state"].values[0, 0]
    seen = np.where(random.uniform(size=state.shape) < 0.1, random.integers(len(codes), size=state.shape), state)
    data["y"] = data["y"].copy(data=np.array(codes, dtype=float)[seen][..., None])
    record["observed_data"] = data
    return record


@pytest.mark.parametrize("codes", [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3]])
def test_a_cycle_of_categories_is_flagged_whatever_their_codes(codes):
    # of 0, 1, 3, 2 and round again the third moment of the codes is zero
    table = detailed_balance(in_categories(np.roll(np.eye(4), 1, axis=1), codes, np.random.default_rng(0)))
    assert float(table["asymmetry_p_value"]) < 0.002
    assert abs(table["asymmetry_z"].values).max() > 5.0


def test_categories_of_a_reversible_process_are_not_flagged():
    table = detailed_balance(in_categories(THREE_RATES, [2, 0, 1], np.random.default_rng(0)))
    assert float(table["asymmetry_p_value"]) > 0.01


def test_times_with_a_channel_missing_are_left_out():
    record = exact_record(TWO_RATES, np.full(10, 20.0), np.random.default_rng(0), location=np.eye(2))
    data = record["observed_data"].to_dataset()
    data["y"] = data["y"].where(data["channel"] == "y0")
    record["observed_data"] = data
    table = detailed_balance(record)
    assert table["asymmetry_z"].isnull().all() and np.isnan(table["asymmetry_p_value"])


@pytest.mark.slow
@pytest.mark.parametrize("durations", [np.full(30, 20.0), np.full(3, 200.0)], ids=["many", "few"])
def test_reversible_records_keep_the_level(durations):
    random = np.random.default_rng(1)
    records = 200
    found = [detailed_balance(exact_record(THREE_RATES, durations, random)) for _ in range(records)]
    for name in ("p_value", "asymmetry_p_value"):
        p = np.array([table[name] for table in found])
        for level in (0.01, 0.05, 0.2):
            assert (p < level).mean() < level + 3.3 * np.sqrt(level * (1 - level) / records)
    production = np.array([table["entropy_production"] for table in found])
    assert abs(production.mean()) < 3.3 * production.std() / np.sqrt(records)
