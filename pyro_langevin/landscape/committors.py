"""Committors: where a path that is here will be next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt, map_coordinates

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.landscape.core_transitions import core_committors
from pyro_langevin.landscape.finite_volume import CoreFunction
from pyro_langevin.landscape.inertia import gap_committors
from pyro_langevin.landscape.inertial_line import resolved_line
from pyro_langevin.landscape.kinetics import along_dimensions, check_resolution, cored_generator
from pyro_langevin.landscape.quadrature import gap_committors_1d
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.states import Landscape
from pyro_langevin.landscape.surface import Floats, LandscapeError, as_points


@dataclass(frozen=True, eq=False)
class LineCommittors:
    """Probability to reach each state's core before any other, of positions on a line.

    Attributes:
        gaps: For every two neighbouring cores, places between them and the probability to reach the right one first.
    """

    gaps: list[tuple[Floats, Floats]]

    def __call__(self, z: ArrayLike) -> Floats:
        """Committors ``(*batch, n)`` of points ``(*batch, 1)``; they sum to one. Exactly one or zero inside cores."""
        points, shape = as_points(z, 1)
        result = np.zeros((len(points), len(self.gaps) + 1))
        result[:, 0] = 1.0
        for left, (place, right) in enumerate(self.gaps):
            reached = np.interp(points[:, 0], place, right, left=0.0, right=1.0)
            # left of a gap nothing has passed it, so that what belongs to its left core moves over
            result[:, left + 1] = reached
            result[:, left] -= reached
        return np.clip(result, 0.0, 1.0).reshape(*shape, -1)


@dataclass(frozen=True, eq=False)
class GridCommittors:
    """Probability to reach each state's core before any other, of points in two or three dimensions.

    Attributes:
        grid: The cells.
        value: Committors of the cells, ``(*cells, n)``.
        cores: Core labels ``(m,)`` of points ``(m, dim)``.
    """

    grid: EnergyGrid
    value: Floats
    cores: CoreFunction

    def __call__(self, z: ArrayLike) -> Floats:
        """Committors ``(*batch, n)`` of points ``(*batch, dim)``; they sum to one. Exactly one or zero inside cores.

        Linear between the centres of cells; points beyond the grid take its edge.
        """
        points, shape = as_points(z, self.grid.dim)
        place = self.grid.coordinates(points).T
        states = self.value.shape[-1]
        result = np.stack([map_coordinates(self.value[..., k], place, order=1) for k in range(states)], -1)
        core = np.asarray(self.cores(points))
        result[core >= 0] = np.eye(states)[core[core >= 0]]
        result = np.clip(result, 0.0, None)
        return np.asarray(result / result.sum(-1, keepdims=True)).reshape(*shape, states)


def committors(
    landscape: Landscape, diffusion: ArrayLike, *, cores: CoreFunction | None = None
) -> LineCommittors | GridCommittors:
    """Function of points that gives the probability to reach each state's core before any other.

    Of overdamped dynamics, which hit each core somewhere on its edge. One dimension: quadrature (1e-6). Two and three:
    finite volumes on the landscape's grid (O(h^2), 1e-3), linear between the cells.

    Args:
        landscape: Of up to three dimensions.
        diffusion: Scalar or one value a dimension; only their ratios matter.
        cores: Core labels ``(m,)`` of points ``(m, dim)`` instead of the landscape's own, for two and three dimensions.

    Raises:
        LandscapeError: In more than three dimensions, where the grid is too coarse, or on a bad diffusion.
    """
    along = along_dimensions(landscape, diffusion)
    if landscape.dim == 1:
        return LineCommittors(gap_committors_1d(landscape))
    if landscape.grid is None:
        raise LandscapeError(f"committors: expected at most 3 dimensions, got {landscape.dim}; use simulated_kinetics")
    check_resolution(landscape, landscape.grid)
    function = landscape.core if cores is None else cores
    generator, label = cored_generator(landscape, along, function)
    found = core_committors(generator, label, states=landscape.n_states)
    value = np.full((landscape.grid.energy.size, landscape.n_states), np.nan)
    value[generator.cells] = found
    value = value.reshape(*landscape.grid.energy.shape, landscape.n_states)
    missing = np.isnan(value[..., 0])
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return GridCommittors(landscape.grid, np.asarray(value[tuple(nearest)]), function)


def inertial_committors(dynamics: UnderdampedDynamics, landscape: Landscape) -> LineCommittors:
    """Function of positions that gives the probability to reach each state's core before any other.

    Of underdamped dynamics of one position, in the mean over Maxwell's law of the momentum; 1e-3. With inertia it does
    not go to zero or one at the edge of a core that is only just being left.

    Raises:
        LandscapeError: With more than one position, or a friction too weak to be resolved.
    """
    line, _ = resolved_line(dynamics, landscape)
    gaps = gap_committors(line)
    return LineCommittors([(generator.centre, generator.means(right)) for generator, right in gaps])
