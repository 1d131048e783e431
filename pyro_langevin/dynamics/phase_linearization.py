"""Local linearization of underdamped dynamics: exact for linear forces at any step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import matvec, side_by_side, symmetric_functions
from pyro_langevin.dynamics.transition import Transition

if TYPE_CHECKING:
    from pyro_langevin.dynamics.underdamped import UnderdampedDynamics

# Below this norm of `drift * step` ten terms of the series give every entry to rounding.
_SMALL = 0.25
_TERMS = 10


@dataclass(frozen=True)
class PhaseSpaceLinearization:
    r"""Local linearization of an underdamped Langevin equation (Ozaki 1992, on phase space).

    With the force linearised around the present position, ``A`` the Jacobian of the drift ``b(q, p)`` and ``Q`` the
    noise's intensity (on the momentum alone):

    .. math:: z' = z + \int_0^h e^{As}ds\;b(z) + \xi,\qquad
        \operatorname{Cov}\xi = \int_0^h e^{As} Q\, e^{A^\top s}\,ds

    The noise enters the momentum, in which the drift is linear: there is no Itô term at this order. Exact for a
    quadratic potential at any step and friction; otherwise weak order two. Needs the Hessian at every step. Both
    integrals are built by doubling from a short series, so that even the smallest entries, of third order in the
    step, keep their relative precision.
    """

    def transition(self, dynamics: UnderdampedDynamics, z: Tensor, step: Tensor) -> Transition:
        """Transition from ``z = (q, p)`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        position, momentum = z.chunk(2, -1)
        size = position.shape[-1]
        friction, mass = (_of_each(constant, size) for constant in (dynamics.friction, dynamics.mass))
        expansion = dynamics.energy.expansion(position)
        hessian = _bounded(expansion.hessian, mass, step)
        drift = side_by_side(momentum / mass, -expansion.gradient - friction * momentum)
        blocks = torch.broadcast_tensors(hessian, torch.diag_embed(1.0 / mass), torch.diag_embed(-friction))
        above = torch.cat([torch.zeros_like(blocks[0]), blocks[1]], -1)
        below = torch.cat([-blocks[0], blocks[2]], -1)
        intensity = _of_each(2.0 * friction * mass * dynamics.temperature, size)
        noise = torch.diag_embed(torch.cat([torch.zeros_like(intensity), intensity], -1))
        flow, covariance = _integrals(torch.cat([above, below], -2), noise, step.unsqueeze(-1))
        return Transition(z + matvec(flow, drift), _cholesky(covariance))


def _of_each(constant: Tensor, size: int) -> Tensor:
    """A constant of every dimension, ``(*batch, size)``."""
    return constant.expand(*constant.shape[:-1], size)


def _bounded(hessian: Tensor, mass: Tensor, step: Tensor) -> Tensor:
    """The Hessian with negative curvatures bounded: over a barrier a path must not run away within one step."""
    root = mass.sqrt()
    across = root.unsqueeze(-1) * root.unsqueeze(-2)
    squared = step.square().unsqueeze(-1)
    (bounded,) = symmetric_functions(hessian / across * squared, lambda rate: (rate.clamp_min(-1.0),))
    return bounded * across / squared


def _integrals(drift: Tensor, noise: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    r"""``\int_0^h e^{As} ds`` and ``\int_0^h e^{As} Q e^{A^T s} ds``: a series on a short step, then doublings."""
    norm = float((drift.detach() * step.detach()).abs().sum(-1).max())
    doublings = max(0, math.ceil(math.log2(max(norm, 1e-300) / _SMALL)))
    short = step / 2**doublings
    generator = drift * short
    identity = torch.eye(drift.shape[-1], dtype=drift.dtype, device=drift.device)
    # terms of the two series divided by their leading power of the step: no cancellation between entries of any order
    flow_term, noise_term = identity * short, noise * short
    flow, covariance, exponential = flow_term, noise_term, identity + generator
    power = generator
    for k in range(2, _TERMS + 1):
        flow_term = generator @ flow_term / k
        moved = generator @ noise_term
        noise_term = (moved + moved.mT) / k
        power = generator @ power / k
        flow, covariance, exponential = flow + flow_term, covariance + noise_term, exponential + power
    for _ in range(doublings):
        covariance = covariance + exponential @ covariance @ exponential.mT
        flow = flow + exponential @ flow
        exponential = exponential @ exponential
    return flow, covariance


def _cholesky(covariance: Tensor) -> Tensor:
    """Lower factor, of matrices with entries of very different orders in the step."""
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    correlation = covariance / (deviation.unsqueeze(-1) * deviation.unsqueeze(-2))
    return deviation.unsqueeze(-1) * torch.linalg.cholesky(correlation)
