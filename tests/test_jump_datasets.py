"""Simulated jump processes and hidden Markov chains: counts agree with the laws that they were drawn from."""

import numpy as np
import pytest
from scipy.linalg import expm
from standard_errors import ALLOWED_ERRORS

from pyro_langevin import datasets

CYCLE = 0.9 * np.eye(4) + 0.1 * np.roll(np.eye(4), 1, axis=1)
UNEVEN = np.array([[0.9, 0.1, 0.0], [0.02, 0.95, 0.03], [0.0, 0.2, 0.8]])
OUTPUT = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25, 0.25, 0.5, 0.0]])
#: An ion channel of three levels, per millisecond: closed, half open, open.
CHANNEL = np.array([[0.0, 0.3, 0.0], [0.2, 0.0, 0.4], [0.05, 0.2, 0.0]])
LEVELS = np.array([[0.0], [5.0], [10.0]])


def same_law(states: np.ndarray, kinds: np.ndarray, probabilities: np.ndarray) -> None:
    """Each row's frequencies of the kinds that follow a state, within their standard errors."""
    counts = np.zeros(probabilities.shape)
    np.add.at(counts, (states.ravel(), kinds.ravel()), 1.0)
    visits = counts.sum(-1, keepdims=True)
    errors = np.sqrt(probabilities * (1.0 - probabilities) / visits)
    assert (np.abs(counts / visits - probabilities) <= ALLOWED_ERRORS * errors).all()


def test_hidden_chain_and_its_categories_follow_their_matrices() -> None:
    data = datasets.hidden_markov(UNEVEN, OUTPUT, 200, 500, seed=1)
    codes = data.observations.values[..., 0].numpy().astype(int)
    same_law(data.states[:, :-1], data.states[:, 1:], UNEVEN)
    same_law(data.states, codes, OUTPUT)
    # by hand: 0 and 1 exchange .1 against .02, 1 and 2 .03 against .2
    np.testing.assert_allclose(data.occupancy, np.array([1.0, 5.0, 0.75]) / 6.75)
    np.testing.assert_allclose(data.mean_dwell, [10.0, 20.0, 5.0])
    first = np.bincount(data.states[:, 0], minlength=3) / 200
    assert (abs(first - data.occupancy) < ALLOWED_ERRORS * np.sqrt(data.occupancy * (1 - data.occupancy) / 200)).all()


def test_a_cyclic_chain_goes_round_one_way() -> None:
    data = datasets.hidden_markov(CYCLE, np.eye(4), 20, 300, seed=2)
    assert set(np.unique((data.states[:, 1:] - data.states[:, :-1]) % 4)) == {0, 1}
    np.testing.assert_array_equal(data.observations.values[..., 0].numpy(), data.states)
    np.testing.assert_allclose(data.occupancy, 0.25)


def test_the_same_seed_gives_the_same_data() -> None:
    one, again, other = (datasets.hidden_markov(UNEVEN, OUTPUT, 3, 50, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.observations.values, again.observations.values)
    assert (one.states != other.states).any()


def test_hidden_chains_refuse_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"rows are probabilities .* row sums"):
        datasets.hidden_markov(2.0 * UNEVEN, OUTPUT)
    with pytest.raises(ValueError, match="one row for each state"):
        datasets.hidden_markov(UNEVEN, OUTPUT[:2])
    with pytest.raises(ValueError, match="reached from every other"):
        datasets.hidden_markov([[0.5, 0.5], [0.0, 1.0]], np.eye(2))


def test_a_jump_process_follows_its_rates_and_levels() -> None:
    data = datasets.jump_process(CHANNEL, LEVELS, 30, 2000, gap=0.2, noise=1.5, time_unit="ms", seed=3)
    rates = CHANNEL - np.diag(CHANNEL.sum(-1))
    np.testing.assert_allclose(data.transition, expm(0.2 * rates))
    np.testing.assert_allclose(data.occupancy @ rates, 0.0, atol=1e-12)
    np.testing.assert_allclose(data.mean_dwell, [1 / 0.3, 1 / 0.6, 4.0])
    same_law(data.states[:, :-1], data.states[:, 1:], data.transition)
    residual = data.observations.values.numpy() - LEVELS[data.states]
    assert residual.std() == pytest.approx(1.5, abs=ALLOWED_ERRORS * 1.5 / np.sqrt(2 * residual.size))
    assert data.observations.typical_gap == pytest.approx(0.2) and data.observations.time_unit == "ms"


def test_jump_processes_refuse_what_is_none() -> None:
    with pytest.raises(ValueError, match="one row for each state"):
        datasets.jump_process(CHANNEL, LEVELS[:2])
    with pytest.raises(ValueError, match="least rate of -0.4"):
        datasets.jump_process(-CHANNEL, LEVELS)
    with pytest.raises(ValueError, match="positive gap"):
        datasets.jump_process(CHANNEL, LEVELS, gap=0.0)
    with pytest.raises(ValueError, match="reached from every other"):
        datasets.jump_process([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
