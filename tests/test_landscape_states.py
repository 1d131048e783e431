"""Minima, passes, basins and merging, against known answers and brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pyro_langevin.landscape import (
    Landscape,
    LandscapeError,
    continuous_kinetics,
    find_landscape,
    stationary_occupancy,
)
from pyro_langevin.potentials.analytic import (
    AnalyticPotential,
    DoubleWell,
    MuellerBrown,
    PrinzPotential,
    TripleWell,
)
from pyro_langevin.potentials.base import Potential
from pyro_langevin.potentials.mixture import MixturePotential
from pyro_langevin.potentials.quadratic import QuadraticPotential

TRIPLE_STARTS = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]


def triple_well(extra: int = 0, merge_below: float = 0.5) -> Landscape:
    """The triple well at beta 1.67, with a harmonic well in ``extra`` further dimensions."""
    plane = TripleWell()
    if not extra:
        return find_landscape(plane, TRIPLE_STARTS, temperature=1 / 1.67, merge_below=merge_below)
    starts = np.concatenate([TRIPLE_STARTS, 0.1 * np.ones((3, extra))], -1)
    return find_landscape(lifted_triple_well(extra), starts, temperature=1 / 1.67, merge_below=merge_below)


def lifted_triple_well(extra: int) -> AnalyticPotential:
    shift = 1 / 3
    quartic = [0.2 * shift**4, -0.8 * shift**3, 1.2 * shift**2, -0.8 * shift, 0.2]
    harmonic = [[0.0, 0.0, 4.0]] * extra
    centres = [[0.0, shift], [0.0, 5 / 3], [1.0, 0.0], [-1.0, 0.0]]
    bump = np.diag([-2.0, -2.0] + [0.0] * extra).tolist()
    return AnalyticPotential(
        [[0.0, 0.0, 0.0, 0.0, 0.2], quartic, *harmonic],
        [3.0, -3.0, -5.0, -5.0],
        centre=[[*centre, *[0.0] * extra] for centre in centres],
        curvature=[bump] * 4,
    )


def test_one_dimension_finds_every_minimum_and_maximum() -> None:
    # reference answers: minima, saddles and energies of the Prinz potential at beta 1
    landscape = find_landscape(PrinzPotential(), [[0.0]], merge_below=0.3)
    minima = [-0.7394301781606639, -0.22373757819512757, 0.26914935131897205, 0.6732963547775697]
    saddles = [-0.5015979524335832, -7.095394865662443e-06, 0.5020093813164574]
    np.testing.assert_allclose(landscape.minimum[:, 0], minima, atol=1e-9)
    np.testing.assert_allclose(landscape.saddle[:, 0], saddles, atol=1e-9)
    energies = np.array([0.5593797724412056, 0.1528110017207132, 0.02110380155780261, 0.24132226185163075])
    np.testing.assert_allclose(landscape.beta_energy, energies - energies.min(), atol=1e-9)
    # the way from 0 to 3 leads over the highest of the three
    assert landscape.beta_barrier[0, 3] == pytest.approx(3.2000908143931963 - energies[0], abs=1e-8)
    assert landscape.beta_barrier[3, 2] == pytest.approx(0.8158761083245882 - energies[3], abs=1e-8)
    assert np.diag(landscape.beta_barrier).tolist() == [0.0] * 4


def test_two_dimensions_triple_well() -> None:
    landscape = triple_well()
    # reference answers: minima, saddles and energies of the triple well
    minima = [[-1.0480549928242195, -0.04209366630667781], [0.0, 1.5370820044494622]]
    np.testing.assert_allclose(landscape.minimum[:2], minima, atol=1e-7)
    saddles = [[-0.6172723078764598, 1.1027345175080963], [0.0, -0.3158265504781386]]
    np.testing.assert_allclose(landscape.saddle[:2], saddles, atol=1e-7)
    assert landscape.saddle_exact.all()
    assert landscape.saddle_joins.tolist() == [[0, 1], [0, 2], [1, 2]]
    side, back = (
        (3.994860601854263 - 1.6466874534752889) * 1.67,
        (2.1721536229943252 - 1.6466874534752889) * 1.67,
    )
    expected = [[0.0, side, side], [back, 0.0, back], [side, side, 0.0]]
    np.testing.assert_allclose(landscape.beta_barrier, expected, atol=1e-6)


def test_two_dimensions_mueller_brown() -> None:
    landscape = find_landscape(MuellerBrown(), [[-0.5, 1.4]], temperature=20.0, merge_below=0.1)
    # reference answers: minima and saddles of the Mueller-Brown surface
    minima = [
        [-0.5582236346330243, 1.4417258418046686],
        [-0.05001082299820603, 0.46669410487197205],
        [0.6234994049308765, 0.028037758528685668],
    ]
    np.testing.assert_allclose(landscape.minimum, minima, atol=1e-6)
    saddles = [[-0.8220015587327322, 0.6243128028148714], [0.212486582000662, 0.2929883251073678]]
    np.testing.assert_allclose(landscape.saddle, saddles, atol=1e-6)
    assert landscape.saddle_joins.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("extra", [1, 4])
def test_more_dimensions_agree_with_two(extra: int) -> None:
    flat, lifted = triple_well(), triple_well(extra)
    np.testing.assert_allclose(lifted.minimum[:, :2], flat.minimum, atol=1e-6)
    np.testing.assert_allclose(lifted.beta_barrier, flat.beta_barrier, atol=1e-6)
    assert lifted.saddle_exact.all()
    points = np.random.default_rng(0).normal(0.0, 0.7, (400, 2 + extra))
    assert (lifted.basin(points) == flat.basin(points[:, :2])).mean() > 0.97
    occupancy = stationary_occupancy(lifted)
    error = 3.0 * occupancy.standard_error + 2e-3
    assert (np.abs(occupancy.occupancy - stationary_occupancy(flat).occupancy) < error).all()


def test_basins_are_those_of_the_gradient_flow() -> None:
    landscape = triple_well()
    points = np.random.default_rng(1).uniform([-2.0, -1.2], [2.0, 2.4], (150, 2))
    positions = points.copy()
    for _ in range(3000):
        gradient = landscape.surface.gradient(positions)
        positions -= 0.004 * gradient / np.maximum(np.linalg.norm(gradient, axis=-1, keepdims=True), 0.3)
    distance = np.linalg.norm(positions[:, None] - landscape.minimum, axis=-1)
    arrived = distance.min(-1) < 0.1
    assert arrived.mean() > 0.97
    wrong = landscape.basin(points)[arrived] != distance.argmin(-1)[arrived]
    assert wrong.sum() <= 2  # points within a cell of a dividing line


def test_shallow_basins_merge_into_the_deeper_neighbour() -> None:
    # the well at .67 is .57 kT deep: above that threshold it belongs to its neighbour at .27
    landscape = find_landscape(PrinzPotential(), [[0.0]], merge_below=0.6)
    assert landscape.n_states == 3
    assert landscape.minimum[2, 0] == pytest.approx(0.26914935131897205)
    assert landscape.basin([[0.3], [0.7], [-0.1]]).tolist() == [2, 2, 1]
    plane = triple_well(merge_below=1.0)  # the upper well of the triple well is .88 kT deep
    assert plane.n_states == 2
    assert plane.basin([[0.0, 1.6]]).item() in (0, 1)
    assert plane.beta_barrier[0, 1] == pytest.approx(3.92144916, abs=1e-6)


def test_high_minima_are_no_states() -> None:
    # a well 4 kT deep whose minimum lies 20 kT above the lowest
    landscape = find_landscape(DoubleWell(14.0, 10.0), [[-1.0], [1.0]])
    assert landscape.n_states == 1
    assert landscape.minimum[0, 0] < 0


def test_temperature_scales_energies() -> None:
    cold, warm = (find_landscape(DoubleWell(), [[0.0]], temperature=t) for t in (0.5, 1.0))
    np.testing.assert_allclose(cold.beta_barrier, 2.0 * warm.beta_barrier, rtol=1e-9)
    assert warm.beta_barrier[0, 1] == pytest.approx(4.0)


def test_one_well_has_one_state() -> None:
    for dim in (1, 2, 3, 5):
        landscape = find_landscape(QuadraticPotential(dim, 0.7, stiffness=2.0), np.zeros((4, dim)))
        assert landscape.n_states == 1
        np.testing.assert_allclose(landscape.minimum, 0.7, atol=1e-6)
        assert landscape.basin(np.full((2, 3, dim), 0.5)).tolist() == [[0, 0, 0], [0, 0, 0]]
        np.testing.assert_allclose(stationary_occupancy(landscape).occupancy, [1.0])


def test_every_minimum_of_a_mixture_is_found() -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        potential = MixturePotential(2, 6, spread=1.5, width=0.25)
        landscape = find_landscape(potential, [[0.0, 0.0]], merge_below=0.0)
        # brute force: narrow Gaussians far apart each have a minimum near their centre
        centres = potential.centres.detach().double().numpy()
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9.0 * np.eye(6)
        alone = centres[apart.min(-1) > 1.2]
        nearest = np.linalg.norm(alone[:, None] - landscape.minimum, axis=-1)
        assert (nearest.min(-1) < 0.05).all()
        occupancy = stationary_occupancy(landscape).occupancy
        np.testing.assert_allclose(occupancy[nearest.argmin(-1)], 1 / 6, atol=2e-3)


def test_labels_take_any_batch_and_mark_what_is_not_finite() -> None:
    landscape = find_landscape(DoubleWell(), [[0.0]])
    z = np.array([[[-1.0], [np.nan]], [[0.1], [np.inf]]])
    assert landscape.basin(z).tolist() == [[0, -1], [1, -1]]
    assert landscape.core(z).tolist() == [[0, -1], [-1, -1]]


def test_a_million_points_take_seconds() -> None:
    landscape = triple_well()
    points = np.random.default_rng(0).normal(size=(1_000_000, 2))
    assert np.bincount(landscape.basin(points)).min() > 10_000
    assert landscape.core(points).shape == (1_000_000,)


def test_the_potential_is_left_alone() -> None:
    potential = MixturePotential(1, 3)
    landscape = find_landscape(potential, [[0.0]])
    minimum = landscape.surface(landscape.minimum)
    with torch.no_grad():
        potential.centres.add_(1.0)
    assert potential.centres.dtype == torch.float32
    assert all(parameter.requires_grad for parameter in potential.parameters())
    # later training does not reach the landscape
    assert (landscape.surface(landscape.minimum) == minimum).all()


class Unbounded(Potential):
    def energy(self, z: Tensor) -> Tensor:
        return -z.square().sum(-1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: find_landscape(Unbounded(1), [[0.3]]), "must confine"),
        (lambda: find_landscape(Unbounded(2), [[0.3, 0.1]]), "confine"),
        (lambda: find_landscape(DoubleWell(), [[0.3, 0.1]]), r"shape \(..., 1\)"),
        (lambda: find_landscape(DoubleWell(), [[np.nan]]), "finite start"),
        (lambda: find_landscape(DoubleWell(), [[0.0]], temperature=0.0), "temperature must be positive"),
        (lambda: find_landscape(DoubleWell(), [[0.0]], merge_below=-1.0), "merge_below"),
    ],
)
def test_bad_input_is_refused(build: Callable[[], Landscape], message: str) -> None:
    with pytest.raises(LandscapeError, match=message):
        build()


def test_wells_that_no_start_lies_beyond_the_barrier_of_are_left_out_on_demand() -> None:
    """Three wells in a row and paths in the left two: the line ends at the second barrier."""
    potential = MixturePotential(1, 3)
    with torch.no_grad():
        potential.centres.copy_(torch.tensor([[-2.0], [0.0], [2.0]]))
        potential.log_sharpness.fill_(float(np.log(4.0)))
    starts = np.array([[-2.1], [0.1]])
    whole = find_landscape(potential, starts)
    part = find_landscape(potential, starts, beyond_starts=False)
    np.testing.assert_allclose(whole.minimum[:, 0], [-2.0, 0.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(part.minimum[:, 0], [-2.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(stationary_occupancy(part).occupancy, [0.5, 0.5], atol=1e-6)
    exact, left = continuous_kinetics(whole, 1.0), continuous_kinetics(part, 1.0)
    np.testing.assert_allclose(left.mfpt[0, 1], exact.mfpt[0, 1], rtol=1e-6)  # whatever lies beyond
    assert part.basin(np.array([[1.9]]))[0] == 1
