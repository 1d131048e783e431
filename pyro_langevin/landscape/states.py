"""The landscape of a potential: its states, the barriers between them, and the state of any point."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates

from pyro_langevin.landscape.flow_basins import FlowBasins
from pyro_langevin.landscape.grid_basins import state_on_grid
from pyro_langevin.landscape.passes import PassNetwork
from pyro_langevin.landscape.region import EnergyGrid
from pyro_langevin.landscape.surface import Floats, Integers, ReducedEnergy, as_points


@dataclass(frozen=True, eq=False)
class Landscape:
    """States of a potential: basins of attraction deeper than a threshold, with their minima and barriers.

    States are ordered by position in one dimension and by the first coordinate of their minimum in more.
    Energies are in kT, relative to the lowest minimum.

    Attributes:
        minimum: Lowest point of each state, ``(n, dim)``.
        beta_energy: Reduced energy of the minima, ``(n,)``.
        beta_barrier: ``(n, n)``, highest point of the best path from state i to j above the minimum of i;
            zero on the diagonal.
        saddle: Lowest passes between adjacent states, ``(m, dim)``.
        saddle_beta_energy: ``(m,)``.
        saddle_joins: The two states each pass joins, ``(m, 2)``.
        saddle_exact: Whether the pass is a stationary point of index 1 to machine precision (otherwise a
            point of the grid), ``(m,)``.
        core_depth: Height in kT above its minimum up to which a state's core reaches, ``(n,)``.
        core_edge: In one dimension the two ends of each core, ``(n, 2)``, infinite on the outside; else None.
        grid: Energies and basins on a grid for one to three dimensions; else None.
        network: All minima and passes before shallow basins were merged.
    """

    minimum: Floats
    beta_energy: Floats
    beta_barrier: Floats
    saddle: Floats
    saddle_beta_energy: Floats
    saddle_joins: Integers
    saddle_exact: np.ndarray
    core_depth: Floats
    core_edge: Floats | None
    grid: EnergyGrid | None = field(repr=False)
    surface: ReducedEnergy = field(repr=False)
    network: PassNetwork = field(repr=False)
    flow: FlowBasins | None = field(repr=False, default=None)

    @property
    def dim(self) -> int:
        """Dimension of the latent space."""
        return int(self.minimum.shape[1])

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.minimum.shape[0])

    def basin(self, z: ArrayLike) -> Integers:
        """State of points ``(*batch, dim)``, ``(*batch,)``; -1 where a point is not finite.

        One dimension: exact. Two and three: that of the grid's cells around the point where these agree, else the
        gradient flow of the point (points beyond the grid take its edge). More: the flow of each point up to 8192
        points; of more, those whose neighbours agree take their state, of which some 3 in 10,000 are wrong.
        """
        points, shape = as_points(z, self.dim)
        finite = np.isfinite(points).all(-1)
        state = np.full(len(points), -1, dtype=np.int64)
        state[finite] = self._basin(points[finite])
        return state.reshape(shape)

    def core(self, z: ArrayLike) -> Integers:
        """Core in which points ``(*batch, dim)`` lie, ``(*batch,)``; -1 outside all cores.

        A state's core is the part of its basin less than ``core_depth`` above its minimum; in one dimension
        the hull of that part, extended outwards to infinity for the first and the last state.
        """
        points, shape = as_points(z, self.dim)
        finite = np.isfinite(points).all(-1)
        state = np.full(len(points), -1, dtype=np.int64)
        state[finite] = self._core(points[finite])
        return state.reshape(shape)

    def _core(self, points: Floats) -> Integers:
        if self.core_edge is not None:
            basin = self._basin(points)
            inside = (points[:, 0] >= self.core_edge[basin, 0]) & (points[:, 0] <= self.core_edge[basin, 1])
            return np.where(inside, basin, -1)
        state = np.full(len(points), -1, dtype=np.int64)
        energy = self._energy(points)
        ceiling = self.beta_energy + self.core_depth
        low = np.flatnonzero(energy < ceiling.max())  # only these need their basin, which costs more
        basin = self._basin(points[low])
        state[low] = np.where(energy[low] < ceiling[basin], basin, -1)
        return state

    def _basin(self, points: Floats) -> Integers:
        if self.dim == 1:
            return np.searchsorted(self.saddle[:, 0], points[:, 0]).astype(np.int64)
        if self.grid is not None:
            return state_on_grid(self.surface, self.grid, points)
        assert self.flow is not None
        return self.flow(points)

    def _energy(self, points: Floats) -> Floats:
        """Reduced energy above the lowest minimum; linear between grid cells in two and three dimensions."""
        if self.grid is None:
            return self.surface(points) - float(self.surface(self.minimum).min())
        coordinates = self.grid.coordinates(points).T
        return np.asarray(map_coordinates(self.grid.energy, coordinates, order=1, mode="nearest"))
