"""A recurrent encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.encoders.direction import Direction, TwoSided
from pyro_langevin.observations import Observations


class RecurrentEncoder(nn.Module):
    """GRU over the observed values, their mask and the gaps between them.

    Padding is never seen, so a padded series has the context of the same series alone.

    Args:
        obs_dim: Number of channels.
        hidden: Width of the GRU in each direction.
        direction: Which observations a context knows of: all (:class:`TwoSided`), those to come
            (:class:`Smoothing`) or those so far (:class:`Filtering`).

    Attributes:
        context_dim: Width of the context: ``hidden``, or ``2 * hidden`` from both sides.
    """

    shift: Tensor
    scale: Tensor
    gap: Tensor

    def __init__(self, obs_dim: int, hidden: int = 64, *, direction: Direction = TwoSided()) -> None:
        super().__init__()
        if obs_dim < 1 or hidden < 1:
            raise ValueError(f"RecurrentEncoder: obs_dim and hidden must be at least 1, got {obs_dim}, {hidden}")
        self.obs_dim, self.direction = obs_dim, direction
        self.context_dim = direction.passes * hidden
        self.recurrent = nn.GRU(2 * obs_dim + 1, hidden, batch_first=True, bidirectional=direction.passes == 2)
        self.register_buffer("shift", torch.zeros(obs_dim))
        self.register_buffer("scale", torch.ones(obs_dim))
        self.register_buffer("gap", torch.ones(()))

    @torch.no_grad()
    def initialise(self, observations: Observations) -> None:
        """Fix the standardisation of values and gaps from the data."""
        count = observations.mask.sum((0, 1)).clamp_min(1)
        mean = observations.values.sum((0, 1)) / count
        variance = ((observations.values - mean).square() * observations.mask).sum((0, 1)) / count
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt().clamp_min(1e-12))
        self.gap.fill_(observations.typical_gap)

    def forward(self, observations: Observations) -> Tensor:
        """Context ``(series, time, context_dim)``.

        Raises:
            ValueError: If the observations have another number of channels.
        """
        if observations.obs_dim != self.obs_dim:
            raise ValueError(
                f"RecurrentEncoder: expected {self.obs_dim} channels, got {observations.obs_dim}; "
                f"build the encoder with obs_dim={observations.obs_dim}"
            )
        mask = observations.mask.to(self.shift)
        values = (observations.values - self.shift) / self.scale * mask
        gaps = torch.zeros_like(values[..., :1])
        gaps[:, 1:, 0] = (observations.times.diff(dim=-1).to(values) / self.gap).log()
        inputs = torch.cat([values, mask, gaps], -1)
        return self.direction.run(self.recurrent, inputs, observations.lengths)
