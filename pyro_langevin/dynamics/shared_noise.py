"""Transitions of a state with less noise than coordinates: their density is that of the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.dynamics.transition import Transition


@dataclass(frozen=True, eq=False)
class SharedNoiseTransition(Transition):
    """Gaussian transition in which few noises drive many coordinates, and which keeps those noises in the state.

    Such a transition has no density on the states that it leads to, for they lie on a line or a plane. Its noise has
    one, and a path and the noise that drove it are the same thing. So the state carries the standardised noise of its
    last step, from which :meth:`whiten` reads it, and the density is that of the noise. It can be compared with that of
    another such transition only (which prior and guide are). A value whose other coordinates were not reached by this
    noise is not noticed.

    Attributes:
        n_noise: Number of noises: the first columns of ``scale``, the others are zero.
        kept: First of the ``n_noise`` coordinates of the state that keep them.
    """

    n_noise: int
    kept: int

    def apply(self, noise: Tensor) -> Tensor:
        driving = noise[..., : self.n_noise].unsqueeze(-1)
        return self.mean + (self.scale[..., : self.n_noise] @ driving).squeeze(-1)

    def whiten(self, value: Tensor) -> Tensor:
        driving = value[..., self.kept : self.kept + self.n_noise]
        return torch.nn.functional.pad(driving, (0, value.shape[-1] - self.n_noise))

    def log_abs_det(self) -> Tensor:
        """What leaves the standard normal density of the noises that there are, ``(*batch,)``."""
        absent = self.mean.shape[-1] - self.n_noise
        return self.mean.new_full(self.mean.shape[:-1], -0.5 * absent * math.log(2.0 * math.pi))
