"""Euler-Maruyama: the cheapest scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_langevin.dynamics.transition import Transition

if TYPE_CHECKING:
    from pyro_langevin.dynamics.overdamped import OverdampedDynamics


@dataclass(frozen=True)
class EulerMaruyama:
    r"""Euler-Maruyama transition of an overdamped Langevin equation.

    .. math:: z' = z - \nabla U(z)\,\Delta t/\gamma + \sqrt{2 D\,\Delta t}\,\xi

    Weak order one. Biased once ``step * D * (largest eigenvalue of beta * Hessian)`` exceeds about 0.1, and
    unstable above 2: a double well of 4 kT hops 10 % too fast at 0.4 and 65 % at 0.8. Use it when forces are
    expensive and steps can be small; otherwise :class:`LocalLinearization`.
    """

    def transition(self, dynamics: OverdampedDynamics, z: Tensor, step: Tensor) -> Transition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        mean = z - dynamics.energy.gradient(z) * (step / dynamics.friction)
        deviation = (2.0 * dynamics.diffusion * step).sqrt() * torch.ones_like(mean)
        return Transition(mean, torch.diag_embed(deviation))
