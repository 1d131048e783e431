"""Kinetics by simulation and Markov state models, against exact answers in separable potentials."""

from __future__ import annotations

import numpy as np
import pytest

import pyro_langevin as pl
from pyro_langevin.landscape import (
    Landscape,
    LandscapeError,
    continuous_kinetics,
    find_landscape,
    inertial_kinetics,
    inertial_transition_probabilities,
    simulated_kinetics,
    simulated_transition_probabilities,
    transition_probabilities,
)
from pyro_langevin.landscape.replicas import jackknife
from pyro_langevin.landscape.reversible import (
    implied_timescales,
    lagged_counts,
    own_reversible_transition_matrix,
    reversible_transition_matrix,
)
from pyro_langevin.landscape.slow_coordinates import slow_coordinates, small_states
from pyro_langevin.potentials.analytic import AnalyticPotential, DoubleWell

LINE = DoubleWell(3.0, 0.5)


def lifted(dim: int) -> tuple[AnalyticPotential, Landscape]:
    """The line's double well along one axis of ``dim``, harmonic wells across."""
    potential = AnalyticPotential([[3.0, 0.5, -6.0, 0.0, 3.0], *[[0.0, 0.0, 1.5]] * (dim - 1)])
    starts = np.zeros((2, dim))
    starts[:, 0] = [-1.0, 1.0]
    return potential, find_landscape(potential, starts)


@pytest.fixture(scope="module")
def line() -> Landscape:
    return find_landscape(LINE, [[0.0]])


# --- Markov state models


def counts_of(states: int, seed: int) -> np.ndarray:
    apart = np.abs(np.arange(states)[:, None] - np.arange(states))
    return np.random.default_rng(seed).poisson(30.0 * np.exp(-0.7 * apart)) + 0.5


@pytest.mark.parametrize("states", [2, 3, 30])
def test_the_own_estimator_gives_the_figures_of_deeptime(states: int) -> None:
    msm = pytest.importorskip("deeptime.markov.msm")
    counts = counts_of(states, states)
    theirs = msm.MaximumLikelihoodMSM(reversible=True, lagtime=1, maxerr=1e-12).fit_fetch(counts)
    for estimate in (own_reversible_transition_matrix, reversible_transition_matrix):
        matrix, law = estimate(counts)
        np.testing.assert_allclose(matrix, theirs.transition_matrix, atol=1e-8)
        np.testing.assert_allclose(law, theirs.stationary_distribution, atol=1e-8)
        times = implied_timescales(matrix, law, 2.0, count=min(states - 1, 3))
        np.testing.assert_allclose(times, 2.0 * theirs.timescales(min(states - 1, 3)), rtol=1e-5)


def test_the_reversible_maximum_is_one() -> None:
    counts = counts_of(4, 1)
    matrix, law = own_reversible_transition_matrix(counts)
    np.testing.assert_allclose(matrix.sum(-1), 1.0)
    flow = law[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)
    best = (counts * np.log(matrix)).sum()
    generator = np.random.default_rng(0)
    for _ in range(50):  # no other reversible matrix nearby is more likely
        other = flow * np.exp(0.01 * generator.standard_normal(flow.shape))
        other = other + other.T
        assert (counts * np.log(other / other.sum(-1, keepdims=True))).sum() < best
    with pytest.raises(LandscapeError, match="not connected"):
        own_reversible_transition_matrix(np.array([[3.0, 1.0], [0.0, 2.0]]))


def test_counts_at_a_lag() -> None:
    labels = np.array([[0, 1, 1, 0], [1, 1, 1, 1]])
    assert lagged_counts(labels, 2, states=2).tolist() == [[0.0, 1.0], [1.0, 2.0]]


def test_the_slow_coordinate_is_found_and_basins_are_kept() -> None:
    generator = np.random.default_rng(0)
    slow, fast = np.zeros((40, 300)), generator.standard_normal((40, 300))
    for k in range(1, 300):
        slow[:, k] = 0.95 * slow[:, k - 1] + 0.3 * generator.standard_normal(40)
    mixed = np.stack([slow + 3.0 * fast, slow - 3.0 * fast], -1)
    found = slow_coordinates(mixed, 5, count=1)[..., 0]
    assert abs(np.corrcoef(found.ravel(), slow.ravel())[0, 1]) > 0.99
    basin = (slow > 0).astype(np.int64)
    label = small_states(found[..., None], basin, clusters=5, generator=generator)
    owner = [set(basin[label == k].tolist()) for k in range(int(label.max()) + 1)]
    assert len(owner) == 10 and all(len(one) == 1 for one in owner)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(30)
    without = [np.delete(values, k).mean() for k in range(30)]
    assert jackknife([np.array(one) for one in without]) == pytest.approx(values.std(ddof=1) / np.sqrt(30))


# --- simulation


def check(dim: int, evaluations: int, line: Landscape, *, systematic: float) -> None:
    """Every figure within four standard errors and what the method is known to be off by."""
    potential, landscape = lifted(dim)
    exact = continuous_kinetics(line, 1.0, processes=1)
    found = simulated_kinetics(
        pl.Overdamped(potential, friction=1.0).double().read(),
        landscape,
        evaluations=evaluations,
        cores=lambda z: line.core(z[:, :1]),
    )
    figures = found.kinetics
    for value, error, truth in (
        (figures.timescale, found.timescale_error, exact.timescale),
        (figures.dwell, found.dwell_error, exact.dwell),
        (figures.rate[[0, 1], [1, 0]], found.rate_error[[0, 1], [1, 0]], exact.rate[[0, 1], [1, 0]]),
        (figures.occupancy, found.occupancy_error, exact.occupancy),
    ):
        assert (np.abs(value - truth) < 4.0 * error + systematic * truth).all()
        assert (error < 0.25 * truth).all()
    np.testing.assert_allclose(figures.mfpt[[0, 1], [1, 0]], figures.dwell)
    assert found.events.sum() > 100


def test_four_dimensions_by_simulation(line: Landscape) -> None:
    check(4, 700_000, line, systematic=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [4, 6])
def test_more_dimensions_by_simulation(dim: int, line: Landscape) -> None:
    check(dim, 8_000_000, line, systematic=0.04)


def test_transitions_by_simulation(line: Landscape) -> None:
    potential, landscape = lifted(4)
    lags = [0.02, 0.5]
    dynamics = pl.Overdamped(potential, friction=1.0).double().read()
    found, error = simulated_transition_probabilities(dynamics, landscape, lags)
    exact = transition_probabilities(line, 1.0, lags)
    assert (np.abs(found - exact) < 4.0 * error + 0.002).all() and (error < 0.02).all()
    np.testing.assert_allclose(found.sum(-1), 1.0)
    with pytest.raises(LandscapeError, match="shorter lags"):
        simulated_transition_probabilities(dynamics, landscape, [1e6])


@pytest.mark.slow
def test_momenta_by_simulation(line: Landscape) -> None:
    potential, landscape = lifted(4)
    dynamics = pl.Underdamped(potential, friction=2.0).double().read()
    alone = pl.Underdamped(LINE, friction=2.0).double().read()
    exact = inertial_kinetics(alone, line, processes=1)
    found = simulated_kinetics(dynamics, landscape, cores=lambda z: line.core(z[:, :1]))
    assert (np.abs(found.kinetics.dwell - exact.dwell) < 4.0 * found.dwell_error + 0.02 * exact.dwell).all()
    assert abs(found.kinetics.timescale[0] - exact.timescale[0]) < 4.0 * found.timescale_error[0]
    lags = [0.5, 5.0]
    table, error = simulated_transition_probabilities(dynamics, landscape, lags)
    assert (np.abs(table - inertial_transition_probabilities(alone, line, lags)) < 4.0 * error + 0.002).all()
