"""OBABO: the splitting of underdamped dynamics whose steps have a density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_langevin.dynamics.kicked_transition import KickedTransition
from pyro_langevin.dynamics.small_matrices import side_by_side

if TYPE_CHECKING:
    from pyro_langevin.dynamics.underdamped import UnderdampedDynamics


@dataclass(frozen=True)
class OBABO:
    r"""OBABO step of an underdamped Langevin equation (Bussi & Parrinello 2007).

    Half a step of friction and noise (O), half a kick (B), a free flight (A), the other halves of B and O:

    .. math::
        \tilde p = c\,p + s\,\xi_1 - \tfrac h2 \nabla U(q),\qquad q' = q + \tfrac hm \tilde p,\qquad
        p' = c\,\bigl(\tilde p - \tfrac h2 \nabla U(q')\bigr) + s\,\xi_2

    with :math:`c = e^{-\gamma h/2}` and :math:`s^2 = mT(1-c^2)`. The map from the two noises to ``(q', p')`` is one to
    one, so the density is explicit and exact; Euler-Maruyama and BAOAB put one noise into two coordinates and have
    none. Weak order two. One gradient of the potential at each end of the step, no Hessian. Friction and free flight
    are exact at any step; the force is stable while ``step * sqrt(curvature / mass) < 2``. The position's
    variance in a harmonic well is exact to ``(h omega / 2)^2``, relatively too large by that.
    """

    def transition(self, dynamics: UnderdampedDynamics, z: Tensor, step: Tensor) -> KickedTransition:
        """Transition from ``z = (q, p)`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        position, momentum = z.chunk(2, -1)
        keep = (-0.5 * dynamics.friction * step).exp()
        spread = (dynamics.mass * dynamics.temperature * -torch.expm1(-dynamics.friction * step)).sqrt()
        flight, half = step / dynamics.mass, 0.5 * step
        middle = keep * momentum - half * dynamics.energy.gradient(position)
        mean = side_by_side(position + flight * middle, keep * middle)

        def closing(position: Tensor) -> Tensor:
            return -half * keep * dynamics.energy.gradient(position)

        size = position.shape[-1]
        scale = _scale(flight * spread, keep * spread, spread, size)
        return KickedTransition(mean, scale, closing, same_everywhere=True)


def _scale(flown: Tensor, kept: Tensor, fresh: Tensor, size: int) -> Tensor:
    """``[[flown, 0], [kept, fresh]]`` of diagonal blocks; the batch is that of the step."""
    blocks = [torch.diag_embed(entry.expand(*entry.shape[:-1], size)) for entry in (flown, kept, fresh)]
    above = torch.cat([blocks[0], torch.zeros_like(blocks[0])], -1)
    return torch.cat([above, torch.cat(blocks[1:], -1)], -2)
