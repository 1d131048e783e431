"""Transition probabilities at a lag, committors and reactive flux of overdamped dynamics, against exact answers."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_langevin.landscape import (
    Landscape,
    LandscapeError,
    committors,
    continuous_kinetics,
    find_landscape,
    transition_probabilities,
)
from pyro_langevin.landscape.propagation import lagged_overlaps
from pyro_langevin.potentials.analytic import AnalyticPotential, DoubleWell, PrinzPotential, TripleWell
from pyro_langevin.potentials.quadratic import QuadraticPotential

STARTS = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]


@pytest.fixture(scope="module")
def tilted() -> Landscape:
    return find_landscape(DoubleWell(4.0, 0.5), [[0.0]])


@pytest.fixture(scope="module")
def triple() -> Landscape:
    return find_landscape(TripleWell(), STARTS, temperature=1 / 1.67, merge_below=0.5)


@pytest.fixture(scope="module")
def plane() -> Landscape:
    """The tilted double well along one axis, a harmonic well across."""
    potential = AnalyticPotential([[4.0, 0.5, -8.0, 0.0, 4.0], [0.0, 0.0, 1.0]])
    return find_landscape(potential, [[-1.0, 0.0], [1.0, 0.0]])


def test_the_propagation_is_the_exponential() -> None:
    generator = np.random.default_rng(0)
    square = generator.standard_normal((40, 40))
    null = np.linalg.qr(generator.standard_normal((40, 1)))[0][:, 0]
    away = np.eye(40) - np.outer(null, null)
    matrix = -away @ (square @ square.T + 100.0 * np.diag(generator.random(40))) @ away
    start, lags = generator.standard_normal((40, 2)), np.array([1e-3, 0.1, 30.0])
    values, vectors = np.linalg.eigh(matrix)
    weight = vectors.T @ start
    expected = [weight.T @ (np.exp(lag * values)[:, None] * weight) for lag in lags]

    def solver(time: float):  # type: ignore[no-untyped-def]
        inverse = np.linalg.inv(np.eye(40) - time * matrix)
        return lambda right: inverse @ right

    for symmetric in (True, False):
        found = lagged_overlaps(lambda x: matrix @ x, solver, start, null, lags, symmetric=symmetric)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("potential", [DoubleWell(4.0, 0.5), PrinzPotential()])
def test_probabilities_are_probabilities(potential: AnalyticPotential | PrinzPotential) -> None:
    landscape = find_landscape(potential, [[0.0]], merge_below=0.3)
    occupancy = continuous_kinetics(landscape, 1.0, processes=1).occupancy
    found = transition_probabilities(landscape, 1.0, [1e-3, 0.05, 1.0, 1e4])
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-7)
    flow = occupancy[:, None] * found
    np.testing.assert_allclose(flow, np.swapaxes(flow, -1, -2), atol=1e-7)
    np.testing.assert_allclose(found[-1], np.broadcast_to(occupancy, found[-1].shape), atol=1e-6)
    assert (np.diagonal(found[0]) > 0.9).all() and (found > -1e-7).all()


def test_long_lags_decay_with_the_slowest_timescale() -> None:
    landscape = find_landscape(DoubleWell(), [[0.0]])
    found = transition_probabilities(landscape, 1.0, [2.0, 12.0])
    difference = found[:, 0, 0] - found[:, 0, 1]
    # timescale of the reference, 8.39501054904277
    assert -10.0 / np.log(difference[1] / difference[0]) == pytest.approx(8.39501054904277, rel=1e-4)


def test_short_lags_cross_by_free_diffusion(tilted: Landscape) -> None:
    # P(other side) = density at the dividing point * sqrt(D lag / pi), before the force acts
    lag, diffusion = 3e-5, 2.0
    axis = np.linspace(-3.0, 3.0, 200_001)
    weight = np.exp(-(4.0 * (axis**2 - 1.0) ** 2 + 0.5 * axis))
    top = tilted.saddle[0, 0]
    density = np.exp(-(4.0 * (top**2 - 1.0) ** 2 + 0.5 * top)) / np.trapezoid(weight, axis)
    occupancy = continuous_kinetics(tilted, diffusion, processes=1).occupancy
    expected = density * np.sqrt(diffusion * lag / np.pi) / occupancy
    found = transition_probabilities(tilted, diffusion, [lag])[0]
    np.testing.assert_allclose([found[0, 1], found[1, 0]], expected, rtol=5e-3)


def test_independent_dimensions_leave_transitions_and_committors_alone(tilted: Landscape, plane: Landscape) -> None:
    lags = [0.3, 3.0, 30.0]
    np.testing.assert_allclose(
        transition_probabilities(plane, [1.0, 0.3], lags), transition_probabilities(tilted, 1.0, lags), rtol=1e-2
    )
    points = np.stack([np.linspace(-1.3, 1.3, 40), np.linspace(-0.5, 0.5, 40)], -1)
    across = committors(plane, [1.0, 0.3], cores=lambda z: tilted.core(z[:, :1]))(points)
    np.testing.assert_allclose(across, committors(tilted, 1.0)(points[:, :1]), atol=5e-3)


def test_a_committor_on_the_line_is_its_integral(tilted: Landscape) -> None:
    assert tilted.core_edge is not None
    low, high = tilted.core_edge[0, 1], tilted.core_edge[1, 0]
    axis = np.linspace(low, high, 100_001)
    resistance = np.exp(4.0 * (axis**2 - 1.0) ** 2 + 0.5 * axis)
    whole = np.trapezoid(resistance, axis)
    found = committors(tilted, 3.0)
    for place in (-0.5, 0.0, 0.3):
        part = np.trapezoid(np.where(axis < place, resistance, 0.0), axis)
        assert found([[place]])[0, 1] == pytest.approx(part / whole, abs=1e-4)
    assert found([[-2.0], [2.0]]).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_committors_sum_to_one_and_know_their_symmetry(triple: Landscape) -> None:
    found = committors(triple, 1 / 1.67)
    points = np.stack(np.meshgrid(np.linspace(-3.0, 3.0, 30), np.linspace(-2.0, 3.0, 25)), -1)
    value = found(points)
    assert value.shape == (25, 30, 3)
    np.testing.assert_allclose(value.sum(-1), 1.0, atol=1e-9)
    np.testing.assert_allclose(value, value[:, ::-1][..., [2, 1, 0]], atol=2e-3)
    np.testing.assert_allclose(found(triple.minimum), np.eye(3), atol=0)
    with pytest.raises(LandscapeError, match="expected points of shape"):
        found([[0.0]])


def test_states_of_one_line_hand_over_to_their_neighbours() -> None:
    landscape = find_landscape(PrinzPotential(), [[0.0]], merge_below=0.3)
    value = committors(landscape, 1.0)(np.linspace(-1.3, 1.3, 400)[:, None])
    np.testing.assert_allclose(value.sum(-1), 1.0, atol=1e-12)
    assert ((value > 0).sum(-1) <= 2).all() and (value.max(0) == 1.0).all()
    one = find_landscape(QuadraticPotential(1), [[0.0]])
    assert committors(one, 1.0)([[0.3], [2.0]]).tolist() == [[1.0], [1.0]]


def test_the_reactive_flux_is_what_passes_between_the_cores(tilted: Landscape, triple: Landscape) -> None:
    for landscape, diffusion in ((tilted, 1.0), (triple, 1 / 1.67)):
        kinetics = continuous_kinetics(landscape, diffusion, processes=1)
        np.testing.assert_allclose(kinetics.flux, kinetics.flux.T, rtol=1e-5)
        # the probabilities of the last core, dwell by flux, sum to one
        assert (kinetics.flux.sum(-1) * kinetics.dwell).sum() == pytest.approx(1.0, rel=1e-6)


def test_bad_questions_are_refused(tilted: Landscape) -> None:
    space = find_landscape(QuadraticPotential(4), np.zeros((2, 4)))
    with pytest.raises(LandscapeError, match="positive lags"):
        transition_probabilities(tilted, 1.0, [0.0, 1.0])
    with pytest.raises(LandscapeError, match="at most 3 dimensions"):
        transition_probabilities(space, 1.0, [1.0])
    with pytest.raises(LandscapeError, match="at most 3 dimensions"):
        committors(space, 1.0)
    with pytest.raises(LandscapeError, match="positive diffusion"):
        transition_probabilities(tilted, -1.0, [1.0])
