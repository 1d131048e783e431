"""Distribution of a path's first state."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pyro.distributions import Categorical, MixtureSameFamily, Normal
from pyro.nn import PyroModule
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.dynamics.small_matrices import side_by_side
from pyro_langevin.potentials.mixture import cluster


class MixtureInitial(PyroModule):
    """Learned Gaussian mixture for the first position of a series or window, times Maxwell's law of the momentum.

    Args:
        dim: Dimension of the position.
        components: Number of Gaussians.
        momentum_deviation: Gives the standard deviation of each momentum, such as a dynamics' own, which has none
            where the position is the whole state. Without it the first state is a position.
    """

    def __init__(
        self, dim: int, components: int = 4, *, momentum_deviation: Callable[[], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.momentum_deviation = momentum_deviation
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
        momentum = self.centres.new_zeros(0) if self.momentum_deviation is None else self.momentum_deviation()
        # every component has the same momenta, perhaps with batch dimensions of a sampled mass or temperature
        momentum = momentum.to(self.centres).unsqueeze(-2).expand(*momentum.shape[:-1], *self.centres.shape[:1], -1)
        centres = side_by_side(self.centres, torch.zeros_like(momentum))
        components = Normal(centres, side_by_side(self.log_widths.exp(), momentum)).to_event(1)
        return MixtureSameFamily(Categorical(logits=self.logits.expand(momentum.shape[:-1])), components)
