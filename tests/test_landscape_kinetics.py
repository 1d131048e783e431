"""Continuous kinetics against reference answers and exact relations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pyro_langevin.landscape import EnergyGrid, Landscape, LandscapeError, continuous_kinetics, find_landscape
from pyro_langevin.landscape.quadrature import passage_times_1d
from pyro_langevin.potentials.analytic import (
    AnalyticPotential,
    DoubleWell,
    MuellerBrown,
    PrinzPotential,
    TripleWell,
)
from pyro_langevin.potentials.mixture import MixturePotential
from pyro_langevin.potentials.quadratic import QuadraticPotential

# Reference answers of the project (known_systems.json): overdamped, friction 1; two independent numerical
# routes agree to at least six digits in one dimension and about four in two.
LINE = {
    "double well": (
        DoubleWell(),
        1.0,
        [0.5, 0.5],
        [8.39501054904277, 0.07551971008834636, 0.04535361059922557],
    ),
    "cold double well": (
        DoubleWell(1.0),
        1 / 3,
        [0.5, 0.5],
        [12.40389141496861, 0.2861307691134, 0.1626908986682],
    ),
    "tilted": (
        DoubleWell(4.0, 0.5),
        1.0,
        [0.7181035227827537, 0.28189647721724637],
        [7.652048677674456, 0.07534243737147035, 0.04514875173884975],
    ),
    "prinz": (
        PrinzPotential(),
        1.0,
        [0.16924082923354097, 0.23249589305051885, 0.33757479038094645, 0.26068848733499367],
        [0.8340326338003475, 0.12676677889880686, 0.06509826367609625],
    ),
}
LINE_MFPT = {
    "double well": {(0, 1): 17.315910795132673, (1, 0): 17.315910795132673},
    "cold double well": {(0, 1): 26.64008644916099},
    "tilted": {(0, 1): 28.06405109330033, (1, 0): 11.020919650840817},
    "prinz": {(0, 1): 0.2912567502480896, (0, 3): 1.9196796080194105, (3, 0): 3.3614017470750737},
}


@pytest.mark.parametrize("name", LINE)
def test_one_dimension_meets_the_reference(name: str) -> None:
    potential, temperature, occupancy, timescale = LINE[name]
    landscape = find_landscape(potential, [[0.0]], temperature=temperature, merge_below=0.3)
    kinetics = continuous_kinetics(landscape, temperature, processes=3)
    np.testing.assert_allclose(kinetics.occupancy, occupancy, rtol=1e-6)
    np.testing.assert_allclose(kinetics.timescale, timescale, rtol=1e-5)
    for pair, expected in LINE_MFPT[name].items():
        assert kinetics.mfpt[pair] == pytest.approx(expected, rel=1e-5)


def test_ornstein_uhlenbeck() -> None:
    landscape = find_landscape(QuadraticPotential(1, stiffness=2.0), [[0.0]])
    kinetics = continuous_kinetics(landscape, 1.0, processes=3)
    np.testing.assert_allclose(kinetics.timescale, [1 / 2, 1 / 4, 1 / 6], rtol=1e-6)
    there = passage_times_1d(landscape, 1.0, start=np.array([-1.0]), target=np.array([1.0]))
    assert there.item() == pytest.approx(2.592483, rel=1e-6)
    assert kinetics.dwell.tolist() == [np.inf] and kinetics.mfpt.tolist() == [[0.0]]


def test_a_higher_barrier_follows_the_exact_law() -> None:
    # at 20 kT the slowest timescale is half the passage time, up to the time to relax inside the wells
    landscape = find_landscape(DoubleWell(20.0), [[0.0]])
    kinetics = continuous_kinetics(landscape, 1.0)
    assert kinetics.timescale[0] == pytest.approx(kinetics.mfpt[0, 1] / 2, rel=1e-3)
    assert kinetics.dwell[0] == pytest.approx(kinetics.mfpt[0, 1], rel=1e-3)


def test_rates_obey_detailed_balance_and_give_the_occupancy() -> None:
    landscape = find_landscape(PrinzPotential(), [[0.0]], merge_below=0.3)
    kinetics = continuous_kinetics(landscape, 1.0)
    generator = kinetics.rate - np.diag(kinetics.rate.sum(-1))
    values, vectors = np.linalg.eig(generator.T)
    stationary = vectors[:, np.abs(values).argmin()].real
    stationary /= stationary.sum()
    flux = stationary[:, None] * kinetics.rate
    np.testing.assert_allclose(flux, flux.T, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(kinetics.dwell, 1.0 / kinetics.rate.sum(-1))
    assert kinetics.rate[0, 2] == 0.0  # only neighbours exchange in one dimension


def boxes(edges: dict[int, list[float]]) -> Callable[[np.ndarray], np.ndarray]:
    """Rectangular cores ``state: [left, right, bottom, top]``."""

    def label(points: np.ndarray) -> np.ndarray:
        result = np.full(len(points), -1)
        for state, (left, right, bottom, top) in edges.items():
            x, y = points[:, 0], points[:, 1]
            result[(x >= left) & (x <= right) & (y >= bottom) & (y <= top)] = state
        return result

    return label


def test_triple_well_meets_the_reference() -> None:
    starts = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    landscape = find_landscape(TripleWell(), starts, temperature=1 / 1.67, merge_below=0.5)
    cores = boxes(
        {0: [-1.25, -0.75, -0.25, 0.25], 1: [-0.25, 0.25, 1.25, 1.75], 2: [0.75, 1.25, -0.25, 0.25]}
    )
    kinetics = continuous_kinetics(landscape, 1 / 1.67, cores=cores, processes=3)
    np.testing.assert_allclose(
        kinetics.occupancy, [0.4794136437897898, 0.04117271242042028, 0.47941364378978985], rtol=3e-3
    )
    timescale = [12.285246278480436, 1.3250147589119794, 0.25516723431023824]
    np.testing.assert_allclose(kinetics.timescale, timescale, rtol=3e-3)
    assert kinetics.mfpt[0, 2] == pytest.approx(26.41297420332763, rel=1e-2)
    assert kinetics.mfpt[0, 1] == pytest.approx(36.034859914394744, rel=1e-2)
    assert kinetics.mfpt[1, 0] == pytest.approx(14.924144130080522, rel=1e-2)


def walled(landscape: Landscape, low: list[float], high: list[float], count: int) -> Landscape:
    """The landscape inside a box with reflecting walls, on ``count`` cells a dimension."""
    axes = tuple(a + (np.arange(count) + 0.5) * (b - a) / count for a, b in zip(low, high, strict=True))
    grid = EnergyGrid(axes, np.zeros((count, count)), np.zeros((count, count), dtype=np.int64))
    energy = landscape.surface(grid.points) - landscape.surface(landscape.minimum).min()
    basin = landscape.basin(grid.points)
    return replace(
        landscape, grid=EnergyGrid(axes, energy.reshape(count, count), basin.reshape(count, count))
    )


def test_mueller_brown_meets_the_reference() -> None:
    starts = [[-0.5, 1.4], [0.6, 0.0]]
    landscape = find_landscape(MuellerBrown(), starts, temperature=20.0, merge_below=0.1)
    cores = boxes({0: [-0.75, -0.4, 1.2, 1.65], 2: [0.4, 0.8, -0.15, 0.2]})
    # The reference has walls around [-1.6, 1.2] x [-0.6, 2.2]. The surface goes on beyond: .2 % of the
    # probability and a relaxation of .0208, which the walls cut off, lie outside.
    inside = walled(landscape, [-1.6, -0.6], [1.2, 2.2], 220)
    kinetics = continuous_kinetics(inside, 20.0, cores=cores, processes=3)
    occupancy = [0.8056335815127548, 0.0651364851128515, 0.12922993337439379]
    np.testing.assert_allclose(kinetics.occupancy, occupancy, rtol=3e-3)
    timescale = [0.2214701987856274, 0.010047747830259834, 0.006122744325916828]
    np.testing.assert_allclose(kinetics.timescale, timescale, rtol=3e-3)
    assert kinetics.mfpt[0, 2] == pytest.approx(1.3262987263799177, rel=1e-2)
    assert kinetics.mfpt[2, 0] == pytest.approx(0.2953879340017413, rel=1e-2)
    whole = continuous_kinetics(landscape, 20.0, processes=2)
    assert whole.timescale[0] == pytest.approx(timescale[0], rel=1e-3)
    assert whole.timescale[1] == pytest.approx(0.0208, rel=1e-2)


@pytest.mark.parametrize("dim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_independent_dimensions_leave_the_double_well_alone(dim: int) -> None:
    # a double well along one axis, harmonic wells across: the kinetics along it are one-dimensional
    line = find_landscape(DoubleWell(), [[0.0]])
    exact = continuous_kinetics(line, 1.0)
    potential = AnalyticPotential([[4.0, 0.0, -8.0, 0.0, 4.0], *[[0.0, 0.0, 1.0]] * (dim - 1)])
    starts = np.zeros((2, dim))
    starts[:, 0] = [-1.0, 1.0]
    landscape = find_landscape(potential, starts)
    kinetics = continuous_kinetics(
        landscape, [1.0, 0.5, 0.7][:dim], cores=lambda points: line.core(points[:, :1]), processes=2
    )
    # the edge of a core lies between two centres: only its own place gives this precision
    np.testing.assert_allclose(kinetics.dwell, exact.dwell, rtol={2: 1e-3, 3: 1e-2}[dim])
    # the harmonic well relaxes at 2 D per time, the double well at 1/8.395
    slow = [exact.timescale[0], {2: 1.0, 3: 1.0}[dim]]
    np.testing.assert_allclose(kinetics.timescale, slow, rtol={2: 5e-3, 3: 2e-2}[dim])


def test_own_cores_give_figures_that_do_not_depend_on_them_much() -> None:
    starts = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    landscape = find_landscape(TripleWell(), starts, temperature=1 / 1.67)
    one = continuous_kinetics(landscape, 1 / 1.67)
    smaller = replace(landscape, core_depth=0.7 * landscape.core_depth)
    other = continuous_kinetics(smaller, 1 / 1.67)
    np.testing.assert_allclose(one.dwell, other.dwell, rtol=0.05)
    np.testing.assert_allclose(one.dwell, one.mfpt[[0, 1], [1, 0]], rtol=0.05)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: continuous_kinetics(find_landscape(DoubleWell(), [[0.0]]), -1.0), "positive diffusion"),
        (
            lambda: continuous_kinetics(find_landscape(DoubleWell(), [[0.0]]), [1.0, 2.0]),
            "positive diffusion",
        ),
        (
            lambda: continuous_kinetics(find_landscape(QuadraticPotential(4), np.zeros((2, 4))), 1.0),
            "at most 3",
        ),
        (lambda: continuous_kinetics(_sharp(), 1.0), "too sharp"),
    ],
)
def test_bad_questions_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(LandscapeError, match=message):
        build()


def _sharp() -> Landscape:
    potential = MixturePotential(3, 2, width=0.03)
    potential.centres.data[:] = potential.centres.new_tensor([[-1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    return find_landscape(potential, [[-1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
