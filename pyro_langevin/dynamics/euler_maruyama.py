"""Euler-Maruyama: the cheapest scheme."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyro_langevin.dynamics.ito_form import ItoForm
from pyro_langevin.dynamics.transition import DiagonalTransition


@dataclass(frozen=True)
class EulerMaruyama:
    r"""Euler-Maruyama transition of a diffusion ``dz = b(z) dt + g(z) dW`` (Itô).

    .. math:: z' = z + b(z)\,\Delta t + g(z)\sqrt{\Delta t}\,\xi

    For an overdamped Langevin equation ``b`` is the force over the friction and ``g = sqrt(2 D)``. Weak order one;
    strong order one, a half where the noise depends on the state. On a potential it is biased once
    ``step * D * (largest eigenvalue of beta * Hessian)`` exceeds about 0.1, and unstable above 2: a double well of
    4 kT hops 10 % too fast at 0.4 and 65 % at 0.8. Use it when forces are expensive and steps can be small, or where
    there is no potential; otherwise :class:`LocalLinearization`.
    """

    def transition(self, dynamics: ItoForm, z: Tensor, step: Tensor) -> DiagonalTransition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        mean = z + dynamics.drift(z) * step
        deviation = dynamics.noise_scale(z) * step.sqrt()
        return DiagonalTransition(mean, deviation, same_everywhere=dynamics.additive)
