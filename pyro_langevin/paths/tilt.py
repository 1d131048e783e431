"""Tilted noise: what makes a posterior's step out of the prior's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import matvec, solve
from pyro_langevin.paths.langevin import LOG_2PI


@dataclass(frozen=True, eq=False)
class Tilt:
    """Tilted noise of a transition: the Gaussian ``N(shift, spread spread^T)`` in place of the standard normal.

    Attributes:
        shift: ``(*batch, dim)``.
        spread: ``(*batch, dim, dim)``.
        log_precision: ``(*batch,)``, log determinant of the noise's precision, ``-2 ln |det spread|``.
    """

    shift: Tensor
    spread: Tensor
    log_precision: Tensor

    def then(self, inner: Tilt) -> Tilt:
        """This tilt, applied to noise that is itself tilted by ``inner``: Gaussian again."""
        shift = self.shift + matvec(self.spread, inner.shift)
        return Tilt(shift, self.spread @ inner.spread, self.log_precision + inner.log_precision)

    def apply(self, noise: Tensor) -> Tensor:
        """The transition's noise for standard normal ``noise``."""
        return self.shift + matvec(self.spread, noise)

    def whiten(self, value: Tensor) -> Tensor:
        """Standard normal noise that the transition's noise ``value`` is made of."""
        return solve(self.spread, value - self.shift)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of the transition's noise at ``value``, ``(*batch,)``."""
        squares = self.whiten(value).square().sum(-1)
        return 0.5 * (self.log_precision - squares - value.shape[-1] * LOG_2PI)

    def log_ratio(self, kick: Tensor, noise: Tensor) -> Tensor:
        """Log density of the prior's noise over the steered one at ``kick = apply(noise)``, ``(*batch,)``."""
        return 0.5 * (noise.square().sum(-1) - kick.square().sum(-1) - self.log_precision)

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from the standard normal noise of the prior, ``(*batch,)``."""
        dim = self.shift.shape[-1]
        squares = self.spread.square().sum((-2, -1)) + self.shift.square().sum(-1)
        return 0.5 * (squares - dim + self.log_precision)


class DiagonalTilt(Tilt):
    """Tilted noise with independent coordinates, which saves the products with a matrix.

    Args:
        shift: ``(*batch, dim)``.
        multiplier: Standard deviations, ``(*batch, dim)``.

    Attributes:
        multiplier: The diagonal of ``spread``.
    """

    multiplier: Tensor

    def __init__(self, shift: Tensor, multiplier: Tensor) -> None:
        log_precision = -2.0 * multiplier.log().sum(-1)
        for name, value in (("shift", shift), ("multiplier", multiplier), ("log_precision", log_precision)):
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def spread(self) -> Tensor:
        """The matrix, made when it is asked for, ``(*batch, dim, dim)``."""
        return torch.diag_embed(self.multiplier)

    def then(self, inner: Tilt) -> Tilt:
        if isinstance(inner, DiagonalTilt):
            return DiagonalTilt(self.shift + self.multiplier * inner.shift, self.multiplier * inner.multiplier)
        return super().then(inner)

    def apply(self, noise: Tensor) -> Tensor:
        return self.shift + self.multiplier * noise

    def whiten(self, value: Tensor) -> Tensor:
        return (value - self.shift) / self.multiplier

    def kl(self) -> Tensor:
        squares = self.multiplier.square() + self.shift.square() - 1.0
        return 0.5 * (squares.sum(-1) + self.log_precision)
