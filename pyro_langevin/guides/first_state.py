"""Where a path starts, given the first observation and its context."""

from __future__ import annotations

import torch
from pyro.distributions import Independent, Normal
from torch import Tensor, nn


class FirstState(nn.Module):
    """Gaussian posterior of the first state.

    Args:
        context_dim: Width of the encoder's context.
        latent_dim: Dimension of the state.
        obs_dim: Number of channels; their values reach the mean directly as well.
    """

    def __init__(self, context_dim: int, latent_dim: int, obs_dim: int) -> None:
        super().__init__()
        self.direct = nn.Linear(obs_dim, latent_dim, bias=False)
        self.place = nn.Linear(context_dim, 2 * latent_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw what the context adds anew, small: the guide starts from what the observation says directly."""
        nn.init.normal_(self.place.weight, std=1e-2)
        nn.init.zeros_(self.place.bias)

    @torch.no_grad()
    def initialise(self, scores: Tensor) -> None:
        """Start from a map of standardised values to latent scores, ``(size, obs_dim)``.

        Observations say nothing directly of the coordinates beyond ``size``, such as momenta.
        """
        self.direct.weight.zero_()
        self.direct.weight[: len(scores)].copy_(scores)

    def forward(self, values: Tensor, context: Tensor) -> Independent:
        """Law of first states, batch shape ``(series,)``.

        Args:
            values: Standardised first observations, 0 where missing, ``(series, obs_dim)``.
            context: ``(series, context_dim)``.
        """
        offset, log_scale = self.place(context).chunk(2, -1)
        return Normal(self.direct(values) + offset, (log_scale - 1.5).exp()).to_event(1)
