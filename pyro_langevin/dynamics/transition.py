"""The one contract between a scheme and everything that is built on it: a Gaussian transition."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import log_abs_det, matvec, solve


@dataclass(frozen=True, eq=False)
class Transition:
    """Gaussian transition ``z' = mean + scale @ noise`` with standard normal noise.

    A scheme may close the step with a map of the state that keeps volume (a subclass that extends :meth:`apply` and
    :meth:`whiten`); ``mean`` and ``scale`` are then those of the state before it.

    Attributes:
        mean: ``(*batch, dim)``.
        scale: Any full-rank factor of the covariance, broadcastable to ``(*batch, dim, dim)``.
        same_everywhere: Whether the scale of such a step is the same at all states, as that of Euler-Maruyama with
            additive noise is: what depends on it alone can then be had before the path.
    """

    mean: Tensor
    scale: Tensor
    same_everywhere: bool = field(default=False, kw_only=True)

    def apply(self, noise: Tensor) -> Tensor:
        """Next state for standard normal ``noise`` of shape ``(*batch, dim)``."""
        return self.mean + matvec(self.scale, noise)

    def whiten(self, value: Tensor) -> Tensor:
        """Noise that leads to ``value``, ``(*batch, dim)``."""
        return solve(self.scale, value - self.mean)

    def log_abs_det(self) -> Tensor:
        """Log volume of the scale, ``(*batch,)``: noise density to state density."""
        return log_abs_det(self.scale)


class DiagonalTransition(Transition):
    """Transition whose coordinates have independent noise, which saves the products with a matrix.

    Args:
        mean: ``(*batch, dim)``.
        deviation: Standard deviations, broadcastable to it.
        same_everywhere: As for :class:`Transition`.

    Attributes:
        deviation: ``(*batch, dim)``, the diagonal of ``scale``.
    """

    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, *, same_everywhere: bool = False) -> None:
        mean, deviation = torch.broadcast_tensors(mean, deviation)
        for name, value in (("mean", mean), ("deviation", deviation), ("same_everywhere", same_everywhere)):
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def scale(self) -> Tensor:
        """The matrix, made when it is asked for, ``(*batch, dim, dim)``."""
        return torch.diag_embed(self.deviation)

    def apply(self, noise: Tensor) -> Tensor:
        return self.mean + self.deviation * noise

    def whiten(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.deviation

    def log_abs_det(self) -> Tensor:
        return self.deviation.abs().log().sum(-1)
