"""The one contract between a scheme and everything that is built on it: a Gaussian transition."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    mean: Tensor
    scale: Tensor

    def apply(self, noise: Tensor) -> Tensor:
        """Next state for standard normal ``noise`` of shape ``(*batch, dim)``."""
        return self.mean + matvec(self.scale, noise)

    def whiten(self, value: Tensor) -> Tensor:
        """Noise that leads to ``value``, ``(*batch, dim)``."""
        return solve(self.scale, value - self.mean)

    def log_abs_det(self) -> Tensor:
        """Log volume of the scale, ``(*batch,)``: noise density to state density."""
        return log_abs_det(self.scale)
