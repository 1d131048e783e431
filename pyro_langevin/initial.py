"""Distribution of a path's first state."""

from __future__ import annotations

import math

import torch
from pyro.distributions import Categorical, MixtureSameFamily, Normal
from pyro.nn import PyroModule
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.potentials.mixture import cluster


class MixtureInitial(PyroModule):
    """Learned Gaussian mixture for the first state of a series or window.

    Args:
        dim: Dimension of the latent space.
        components: Number of Gaussians.
    """

    def __init__(self, dim: int, components: int = 4) -> None:
        super().__init__()
        self.centres = Parameter(torch.randn(components, dim))
        self.log_widths = Parameter(torch.full((components, dim), math.log(0.5)))
        self.logits = Parameter(torch.zeros(components))

    @torch.no_grad()
    def initialise(self, points: Tensor) -> None:
        """Place the components on a sample of states ``(n, dim)``."""
        centres, widths, weights = cluster(points, len(self.centres))
        self.centres.copy_(centres)
        self.log_widths.copy_(widths.log()[:, None].expand_as(self.log_widths))
        self.logits.copy_(weights.clamp_min(1e-3).log())

    def forward(self) -> MixtureSameFamily:
        components = Normal(self.centres, self.log_widths.exp()).to_event(1)
        return MixtureSameFamily(Categorical(logits=self.logits), components)
