"""A Gaussian transition closed by a kick to the momentum that depends on the new position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pyro_langevin.dynamics.small_matrices import side_by_side
from pyro_langevin.dynamics.transition import Transition


@dataclass(frozen=True, eq=False)
class KickedTransition(Transition):
    r"""Transition ``(q', p' - kick(q')) = mean + scale @ noise`` of positions and momenta.

    The kick shears phase space: volume is kept, so that the density of ``(q', p')`` is explicit although it is not
    Gaussian. ``mean`` and ``scale`` are those of the state *before* the kick; so a message on this state tilts
    the noise in closed form, and for a linear force, whose kick is a linear map, nothing is lost by that.

    Attributes:
        kick: Positions ``(*batch, dim / 2)`` to what the momentum gains.
    """

    kick: Callable[[Tensor], Tensor]

    def apply(self, noise: Tensor) -> Tensor:
        """Next state ``(*batch, dim)`` for standard normal ``noise`` of that shape."""
        position, momentum = super().apply(noise).chunk(2, -1)
        return side_by_side(position, momentum + self.kick(position))

    def whiten(self, value: Tensor) -> Tensor:
        """Noise that leads to ``value``, ``(*batch, dim)``."""
        position, momentum = value.chunk(2, -1)
        return super().whiten(side_by_side(position, momentum - self.kick(position)))
