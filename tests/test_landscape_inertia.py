"""Kinetics with momentum: Hermite functions against exact spectra, reference answers and the overdamped limit."""

from __future__ import annotations

import numpy as np
import pytest

import pyro_langevin as pl
from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape import (
    Landscape,
    LandscapeError,
    committors,
    continuous_kinetics,
    find_landscape,
    inertial_committors,
    inertial_kinetics,
    inertial_line,
    inertial_transition_probabilities,
    transition_probabilities,
)
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.potentials.quadratic import QuadraticPotential

# Reference answers of the project (known_systems.json): double well of 4 kT, mass 1
SLOWEST = {0.1: 203.4, 0.5: 61.3013, 1.0: 44.86157, 2.0: 42.16878, 5.0: 57.77069, 10.0: 93.41507, 50.0: 421.82153}
NEXT = {0.1: [11.3647, 6.6642], 0.5: [2.29175, 1.48329], 1.0: [1.16423, 0.80555], 10.0: [0.7713, 0.40927]}
PASSAGE = {0.1: 255.06, 1.0: 83.47, 10.0: 193.17}  # known to .4 to .7 %
SLOW = pytest.mark.slow


def dynamics(friction: float) -> UnderdampedDynamics:
    return pl.Underdamped(DoubleWell(), friction=friction).double().read()


@pytest.fixture(scope="module")
def well() -> Landscape:
    return find_landscape(DoubleWell(), [[-1.0], [1.0]])


@pytest.mark.parametrize("friction", [pytest.param(0.1, marks=SLOW), 0.5, 1.0, 2.0, 5.0, 10.0, 50.0])
def test_the_double_well_meets_the_reference(friction: float, well: Landscape) -> None:
    kinetics = inertial_kinetics(dynamics(friction), well, processes=3)
    assert kinetics.timescale[0] == pytest.approx(SLOWEST[friction], rel=1e-3)
    if friction in NEXT:
        np.testing.assert_allclose(kinetics.timescale[1:], NEXT[friction], rtol=1e-3)
    if friction in PASSAGE:
        assert kinetics.mfpt[0, 1] == pytest.approx(PASSAGE[friction], rel=1e-2)
    np.testing.assert_allclose(kinetics.flux, kinetics.flux.T, rtol=1e-9)
    # the core visited last is this one half of the time
    np.testing.assert_allclose(kinetics.flux.sum(-1) * kinetics.dwell, 0.5, rtol=1e-6)


@pytest.mark.parametrize(("friction", "mass"), [(3.0, 1.0), (1.0, 0.5)])
def test_the_harmonic_well_has_its_exact_spectrum(friction: float, mass: float) -> None:
    potential = QuadraticPotential(1, stiffness=1.0)
    landscape = find_landscape(potential, [[0.0]])
    oscillator = pl.Underdamped(potential, friction=friction, mass=mass).double().read()
    found = inertial_kinetics(oscillator, landscape, processes=3).timescale
    root = np.emath.sqrt(friction**2 - 4.0 / mass)
    one, two = 0.5 * (friction - root), 0.5 * (friction + root)
    decay = sorted((a * one + b * two).real for a in range(5) for b in range(5))[1:4]
    np.testing.assert_allclose(1.0 / found, decay, rtol=1e-3)


def test_strong_friction_is_overdamped() -> None:
    friction, mass = 400.0, 0.5
    tilted = find_landscape(DoubleWell(4.0, 0.5), [[-1.0], [1.0]])
    strongly = pl.Underdamped(DoubleWell(4.0, 0.5), friction=friction, mass=mass).double().read()
    exact = continuous_kinetics(tilted, 1.0 / (friction * mass), processes=2)
    strong = inertial_kinetics(strongly, tilted, processes=2)
    np.testing.assert_allclose(strong.timescale, exact.timescale, rtol=1e-3)
    # a path that leaves an edge with momentum comes a mean free path further: Milne's length
    np.testing.assert_allclose(strong.dwell, exact.dwell, rtol=1e-2)
    np.testing.assert_allclose(strong.flux, exact.flux, rtol=1e-2)
    np.testing.assert_allclose(strong.occupancy, exact.occupancy)
    np.testing.assert_allclose(strong.mfpt, exact.mfpt, rtol=1e-2)
    place = np.linspace(-1.2, 1.2, 25)[:, None]
    hit, reached = committors(tilted, 1.0)(place), inertial_committors(strongly, tilted)(place)
    np.testing.assert_allclose(hit, reached, atol=5e-3)
    lags = [20.0, 200.0, 4000.0]
    np.testing.assert_allclose(
        inertial_transition_probabilities(strongly, tilted, lags),
        transition_probabilities(tilted, 1.0 / (friction * mass), lags),
        atol=5e-4,
    )


def test_transition_probabilities_decay_with_the_slowest_timescale(well: Landscape) -> None:
    found = inertial_transition_probabilities(dynamics(1.0), well, [10.0, 60.0, 1e4])
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-9)
    np.testing.assert_allclose(found, np.swapaxes(found, -1, -2), atol=1e-9)
    np.testing.assert_allclose(found[-1], 0.5, atol=1e-9)
    difference = found[:, 0, 0] - found[:, 0, 1]
    assert -50.0 / np.log(difference[1] / difference[0]) == pytest.approx(SLOWEST[1.0], rel=1e-3)


def test_short_lags_cross_at_the_thermal_speed(well: Landscape) -> None:
    # before friction and force act, the flux over the dividing point is density times mean speed
    lag = 0.05
    axis = np.linspace(-3.0, 3.0, 20_001)
    mass = np.trapezoid(np.exp(-4.0 * (axis**2 - 1.0) ** 2), axis)
    expected = 2.0 * np.exp(-4.0) / mass * lag / np.sqrt(2.0 * np.pi)
    found = inertial_transition_probabilities(dynamics(0.5), well, [lag])
    assert found[0, 0, 1] == pytest.approx(expected, rel=0.05)


def test_what_cannot_be_resolved_is_refused(well: Landscape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inertial_line, "_ORDERS", (16, 24))
    with pytest.raises(LandscapeError, match="too weak"):
        inertial_kinetics(dynamics(0.05), well)
