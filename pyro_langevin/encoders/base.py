"""What all encoders share: the standardisation of values and gaps, and what they read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_langevin.encoders.direction import Direction
from pyro_langevin.observations import Observations


class Encoder(nn.Module):
    """Observations to a context vector at each observation time.

    A new encoder defines :meth:`contexts`.

    Args:
        obs_dim: Number of channels.
        hidden: Width of a layer.
        direction: Which observations a context knows of.
        layers: How many of them make a context.
        autocast: Precision of the products of matrices, such as ``torch.bfloat16``; that of the parameters when
            omitted. Contexts have the precision of the parameters either way.

    Attributes:
        context_dim: Width of the context.
        input_dim: Width of what is read at an observation: values, mask and the gap before it.
    """

    shift: Tensor
    scale: Tensor
    gap: Tensor

    def __init__(
        self,
        obs_dim: int,
        hidden: int,
        direction: Direction,
        *,
        layers: int = 1,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if obs_dim < 1 or hidden < 1:
            raise ValueError(f"{type(self).__name__}: obs_dim and hidden must be at least 1, got {obs_dim}, {hidden}")
        self.obs_dim, self.context_dim, self.direction = obs_dim, layers * hidden, direction
        self.input_dim = 2 * obs_dim + 1
        self.autocast = autocast
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
                f"{type(self).__name__}: expected {self.obs_dim} channels, got {observations.obs_dim}; "
                f"build the encoder with obs_dim={observations.obs_dim}"
            )
        mask = observations.mask.to(self.shift)
        values = (observations.values - self.shift) / self.scale * mask
        gaps = torch.zeros_like(values[..., :1])
        gaps[:, 1:, 0] = (observations.times.diff(dim=-1).to(values) / self.gap).log()
        inputs = torch.cat([values, mask, gaps], -1)
        if self.autocast is None:
            return self.contexts(inputs, observations)
        with torch.autocast(inputs.device.type, self.autocast):
            return self.contexts(inputs, observations).to(inputs)

    def contexts(self, inputs: Tensor, observations: Observations) -> Tensor:
        """Contexts of standardised inputs ``(series, time, input_dim)``; padding must never be seen."""
        raise NotImplementedError(f"{type(self).__name__} must define contexts(inputs, observations)")
