"""The reduced energy of a potential as a function of numpy points."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyro_langevin.potentials.base import Potential

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHUNK = 512  # points evaluated at once: so a mixture's terms stay in the cache, four times faster than 16,384


class LandscapeError(ValueError):
    """A potential whose landscape cannot be analysed, or a question it cannot answer."""


class ReducedEnergy:
    """Reduced energy ``beta * U`` and its derivatives, in float64 on the CPU.

    The potential is copied and its parameters are read once, so that training or Bayesian weights cannot
    change the landscape under one's hands.

    Args:
        potential: The potential.
        temperature: k_B T in the units of the potential, positive.
    """

    def __init__(self, potential: Potential, *, temperature: float = 1.0) -> None:
        temperature = float(temperature)
        if not temperature > 0:
            raise LandscapeError(f"landscape: temperature must be positive, got {temperature}")
        self.dim = potential.dim
        self.beta = 1.0 / temperature
        with torch.no_grad():
            frozen = copy.deepcopy(potential).to(device="cpu", dtype=torch.float64)
            self._energy = frozen.read()

    def __call__(self, points: Floats) -> Floats:
        """Reduced energy ``(n,)`` at points ``(n, dim)``."""
        return self._evaluate(points, self._energy.energy)

    def gradient(self, points: Floats) -> Floats:
        """Gradient ``(n, dim)`` of the reduced energy."""
        return self._evaluate(points, self._energy.gradient)

    def slope_and_curvature(self, points: Floats) -> tuple[Floats, Floats]:
        """Gradient ``(n, dim)`` and Hessian ``(n, dim, dim)`` of the reduced energy."""

        def both(z: Tensor) -> Tensor:
            expansion = self._energy.expansion(z)
            return torch.cat([expansion.gradient.unsqueeze(-1), expansion.hessian], -1)

        result = self._evaluate(points, both)
        return result[..., 0], result[..., 1:]

    def _evaluate(self, points: Floats, function: Callable[[Tensor], Tensor]) -> Floats:
        z = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64))
        with torch.no_grad():
            result = torch.cat([function(part) for part in z.split(_CHUNK)])
        return self.beta * result.numpy()


def as_points(z: ArrayLike, dim: int) -> tuple[Floats, tuple[int, ...]]:
    """Points ``(n, dim)`` and the leading shape of an array ``(*batch, dim)``."""
    points = np.asarray(z, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != dim:
        raise LandscapeError(
            f"landscape: expected points of shape (..., {dim}), got {points.shape}; "
            "the last axis is the latent one"
        )
    return points.reshape(-1, dim), points.shape[:-1]
