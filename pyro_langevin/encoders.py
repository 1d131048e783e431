"""Encoders: observations to one context vector at each observation time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pyro_langevin.observations import Observations


class RecurrentEncoder(nn.Module):
    """Bidirectional GRU over the observed values, their mask and the gaps between them.

    Padding is never seen, so a padded series has the context of the same series alone.

    Args:
        obs_dim: Number of channels.
        hidden: Width of the GRU in each direction.

    Attributes:
        context_dim: Width of the context, ``2 * hidden``.
    """

    shift: Tensor
    scale: Tensor
    gap: Tensor

    def __init__(self, obs_dim: int, hidden: int = 64) -> None:
        super().__init__()
        if obs_dim < 1 or hidden < 1:
            raise ValueError(f"RecurrentEncoder: obs_dim and hidden must be at least 1, got {obs_dim}, {hidden}")
        self.obs_dim = obs_dim
        self.context_dim = 2 * hidden
        self.recurrent = nn.GRU(2 * obs_dim + 1, hidden, batch_first=True, bidirectional=True)
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
        lengths = observations.lengths
        if bool((lengths == observations.n_times).all()):
            return self.recurrent(inputs)[0]
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = self.recurrent(packed)
        return pad_packed_sequence(outputs, batch_first=True, total_length=observations.n_times)[0]
