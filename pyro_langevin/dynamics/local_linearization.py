"""Local linearization: exact for linear forces, stable at any step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import matvec, symmetric_functions
from pyro_langevin.dynamics.transition import Transition

if TYPE_CHECKING:
    from pyro_langevin.dynamics.overdamped import OverdampedDynamics

# Largest exponent of the linearised flow over one step: above it a path leaves a barrier top within the step and
# the linearization means nothing.
_LARGEST_EXPONENT = 1.0


@dataclass(frozen=True)
class LocalLinearization:
    r"""Local linearization of an overdamped Langevin equation (Shoji & Ozaki 1998), with the Itô term.

    The drift ``b`` is linearised around the present state in space (Jacobian ``J``) and, through Itô's formula,
    in time (``a``, half the diffusion-weighted Laplacian of the drift):

    .. math:: z' = z + h\,\varphi_1(Jh)\,b + h^2\,\varphi_2(Jh)\,a + \xi,\qquad
        \operatorname{Cov}\xi = 2 D h\,\varphi_1(2Jh)

    with ``phi_1(x) = (e^x - 1)/x`` and ``phi_2(x) = (e^x - 1 - x)/x^2``. Exact for a quadratic potential at any
    step. For the 4 kT double well its slowest timescale is 1.0 % short at ``step * D * curvature = 1.07`` and 8 % at
    1.6 (Euler-Maruyama: 75 % short at 1.07; without the Itô term: 2.5 times too long). The Itô term is held within one
    standard deviation of the step's noise: beyond, the expansion means nothing and would throw paths out of the wells.

    Scalar or diagonal diffusion; the mobility may differ between dimensions.
    """

    def transition(self, dynamics: OverdampedDynamics, z: Tensor, step: Tensor) -> Transition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        expansion = dynamics.energy.expansion(z, dynamics.weights(z))
        # In coordinates y = sqrt(friction) z the Jacobian of the drift is symmetric and the noise isotropic.
        root = dynamics.friction.sqrt()
        across = (root.unsqueeze(-1) * root.unsqueeze(-2)) if root.dim() else root.square()
        exponent = -expansion.hessian * (step.unsqueeze(-1) / across)
        first, whitened, noise = symmetric_functions(exponent, _step_functions)
        drift = -expansion.gradient * (step / root)
        deviation = (2.0 * dynamics.temperature * step).sqrt()
        # The Itô term in units of the step's noise. Beyond one such unit the expansion means nothing: hold it there.
        bend = matvec(whitened, -expansion.laplacian_gradient * (step.square() / (root * deviation)))
        bend = bend / (1.0 + bend.square().sum(-1, keepdim=True)).sqrt()
        mean = z + (matvec(first, drift) + matvec(noise, bend) * deviation) / root
        return Transition(mean, noise * (deviation / root).unsqueeze(-1))


def _step_functions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``phi_1(x)``, ``phi_2(x) / sqrt(phi_1(2x))`` and ``sqrt(phi_1(2x))``.

    The last is the factor on the deviation of free diffusion. Series hold to 1e-8 where quotients would cancel.
    """
    x = x.clamp_max(_LARGEST_EXPONENT)
    size = x.abs()
    small, middling = size < 1e-3, size < 0.1
    safe = torch.where(small, torch.ones_like(x), x)
    grown = torch.expm1(x)
    first = torch.where(small, 1.0 + x / 2.0 * (1.0 + x / 3.0), grown / safe)
    # (e^2x - 1)/2x = (e^x - 1)/x (e^x + 1)/2
    noise = (first * (1.0 + 0.5 * grown)).sqrt()
    series = 0.5 + x / 6.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0)))
    second = torch.where(middling, series, (first - 1.0) / safe)
    return first, second / noise, noise
