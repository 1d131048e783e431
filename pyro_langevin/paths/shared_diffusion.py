"""Two paths can be compared by a path divergence only if they share their diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.paths.langevin import ReadDynamics

_INSTANT = 1e-6  # times a step: so short that the drift has no say in the transition's covariance
_TOLERANCE = 1e-3


def require_shared_diffusion(posterior: ReadDynamics, prior: ReadDynamics, z: Tensor, step: Tensor) -> None:
    """Refuse a posterior path whose noise is not the prior's.

    The laws of two diffusions with different noise are mutually singular: their divergence is infinite, and on a
    grid it grows without bound as the step shrinks. So what looks like a bound measures the step.

    Args:
        posterior: Dynamics of the posterior path, read.
        prior: Dynamics of the prior path, read.
        z: States to compare at, ``(*batch, dim)``.
        step: A typical step, scalar.

    Raises:
        ValueError: If the diffusions differ by more than 0.1 % at one of the states.
    """
    instant = _INSTANT * step.reshape(1)
    with torch.no_grad():
        ours, theirs = (dynamics.transition(z, instant).scale for dynamics in (posterior, prior))
        first, second = ours @ ours.mT, theirs @ theirs.mT
        size = (second.diagonal(dim1=-2, dim2=-1)).sqrt()
        unit = size.unsqueeze(-1) * size.unsqueeze(-2)
        mismatch = float(((first - second) / unit).abs().max())
    if not mismatch < _TOLERANCE:
        raise ValueError(
            "posterior path: expected the diffusion of the prior path, got one whose covariance differs by "
            f"{100.0 * mismatch:.3g} %; the divergence of two such paths is infinite. Build both from the same "
            "dynamics, as the shipped guides do with model.dynamics"
        )
