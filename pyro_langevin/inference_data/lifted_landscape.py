"""The landscape of a position, as a chain of larger states sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyro_langevin.landscape import Landscape


@dataclass(frozen=True, eq=False)
class LiftedLandscape:
    """A landscape over positions, asked about states whose leading coordinates are the position.

    What the simulation of a chain asks of a landscape, for chains in phase space: cores and basins are those of the
    position, and chains start at rest.

    Attributes:
        positions: The landscape of the position.
        dim: Dimension of the state.
    """

    positions: Landscape
    dim: int

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.positions.n_states

    @property
    def minimum(self) -> np.ndarray:
        """Lowest points, the further coordinates zero, ``(n, dim)``."""
        below = self.positions.minimum
        return np.pad(below, ((0, 0), (0, self.dim - below.shape[1])))

    def core(self, z: np.ndarray) -> np.ndarray:
        """Core in which the position of states ``(*batch, dim)`` lies, -1 outside all cores."""
        return self.positions.core(z[..., : self.positions.dim])

    def basin(self, z: np.ndarray) -> np.ndarray:
        """Basin in which the position of states ``(*batch, dim)`` lies."""
        return self.positions.basin(z[..., : self.positions.dim])
