"""The folding model: its exact chain against its simulation, and both against Boltzmann's law."""

import numpy as np
import pytest
from standard_errors import ALLOWED_ERRORS

from pyro_langevin import datasets
from pyro_langevin.datasets.folding_model import _chain, _energy, _slope


def test_the_force_is_the_slope_of_the_energy() -> None:
    r = np.array([0.1, 1.0, 2.5, 3.5, 4.7, 6.0])
    np.testing.assert_allclose(_slope(r), (_energy(r + 1e-6) - _energy(r - 1e-6)) / 2e-6, atol=1e-8)


def test_one_step_of_the_distance_has_its_exact_second_moment() -> None:
    r, chain = _chain(0.1)
    inside = (r > 0.2) & (r < 6.0)
    drifted = r - 0.1 * _slope(r)
    np.testing.assert_allclose((chain @ r**2)[inside], (drifted**2 + 5 * 0.2)[inside], rtol=2e-3)


def test_simulated_paths_follow_the_exact_chain_and_not_boltzmann() -> None:
    data = datasets.folding_model(400, 250, seed=1)
    folded, spread = data.occupancy[0], np.sqrt(data.occupancy.prod())
    assert (folded, data.boltzmann[0]) == pytest.approx((0.722, 0.996), abs=5e-4)
    allowed = ALLOWED_ERRORS * spread * np.sqrt(2 * data.timescale / (400 * 25.0))
    assert 1 - data.states.mean() == pytest.approx(folded, abs=allowed)
    distance = data.observations.values[..., 0].numpy()
    np.testing.assert_array_equal(data.states, distance >= 2.7)
    # the share of those that have left a core after one relaxation time is as the slowest process says
    lag = round(data.timescale / 0.1)
    start, later = distance[:, :-lag].ravel() < 1.5, data.states[:, lag:].ravel()
    expected = data.occupancy[1] * (1 - np.exp(-1.0))
    events = data.states.size * 0.1 / data.timescale
    assert later[start].mean() == pytest.approx(expected, abs=ALLOWED_ERRORS * np.sqrt(expected / events) + 0.01)


def test_passages_and_relaxation_belong_together() -> None:
    data = datasets.folding_model(1, 2)
    # a little more than by two states, for the way inside the wells
    by_two_states = 1 / (1 / data.mfpt[0, 1] + 1 / data.mfpt[1, 0])
    assert data.timescale < by_two_states < 1.15 * data.timescale


def test_a_shorter_step_comes_nearer_to_boltzmann() -> None:
    shares = [datasets.folding_model(1, 2, step=step).occupancy[0] for step in (0.1, 0.05, 0.02)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.990, abs=2e-3)
    with pytest.raises(ValueError, match="between 0.01 and 0.2"):
        datasets.folding_model(1, 2, step=0.5)
