"""Yes or no."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_langevin.emissions.base import NamedParameters
from pyro_langevin.emissions.decoded import DecodedEmission
from pyro_langevin.emissions.refusal import refuse_where
from pyro_langevin.emissions.smoothing import SMOOTHING_BLUR, smoothed
from pyro_langevin.emissions.start import observed_mean
from pyro_langevin.observations import Observations


class BernoulliEmission(DecodedEmission):
    """Channels that are 0 or 1, with log odds ``shift + decoder(z)``.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        decoder: Module from ``(*, latent_dim)`` to log odds ``(*, obs_dim)``; linear when omitted.

    Attributes:
        shift: Typical log odds of each channel, ``(obs_dim,)``; 0 before :meth:`initialise`.
        noise: Standard deviation of each channel; 1 before :meth:`initialise`.
    """

    blur = SMOOTHING_BLUR
    shift: Tensor

    def __init__(self, latent_dim: int, obs_dim: int, *, decoder: nn.Module | None = None) -> None:
        super().__init__(latent_dim, obs_dim, decoder=decoder)
        self.register_buffer("shift", torch.zeros(obs_dim))
        self.register_buffer("noise", torch.ones(obs_dim))

    def check(self, observations: Observations) -> None:
        """Refuse another number of channels and values other than 0 and 1."""
        super().check(observations)
        values = observations.values
        refuse_where(
            (values != 0) & (values != 1),
            observations,
            "0 or 1",
            "code the two outcomes as 0 and 1, or use CategoricalEmission for more",
        )

    def log_odds(self, z: Tensor) -> Tensor:
        """Log odds of a 1, ``(*batch, obs_dim)``."""
        return self.shift + self.decoded(z)

    def distribution(self, z: Tensor) -> dist.Bernoulli:
        """Its mean is the probability of a 1."""
        return dist.Bernoulli(logits=self.log_odds(z))

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        log_odds = self.log_odds(points)
        seen = mask.to(values)
        rows, known = (values * seen).reshape(-1, self.obs_dim), seen.reshape(-1, self.obs_dim)
        table = log_odds @ rows.mT - softplus(log_odds) @ known.mT
        return table.reshape(len(points), *values.shape[:-1])

    @torch.no_grad()
    def set_units(self, observations: Observations) -> None:
        self.shift.zero_()
        log_odds = self.rough_outputs(observations)
        seen = observations.mask.to(log_odds)
        self.shift.copy_((log_odds * seen).sum((0, 1)) / seen.sum((0, 1)).clamp_min(1))
        mean = _frequency(observations)
        self.noise.copy_((mean * (1.0 - mean)).sqrt())

    def rough_outputs(self, observations: Observations) -> Tensor:
        """Log odds of smoothed outcomes; where all were alike for long, the mean stands for half the rarer outcome."""
        mean = _frequency(observations)
        prior = 0.5 / torch.minimum(mean, 1.0 - mean)
        return smoothed(observations.values, observations.mask, mean, prior).logit() - self.shift

    def parameters_in_data_units(self) -> NamedParameters:
        """Of a linear decoder, ``weight`` and ``bias`` of the log odds."""
        return self.linear_parameters(self.shift, torch.ones_like(self.shift))


def _frequency(observations: Observations) -> Tensor:
    """Share of ones in each channel, half an outcome away from never and always."""
    mean = observed_mean(observations)
    least = 0.5 / observations.mask.sum((0, 1)).clamp_min(1).to(mean)
    return torch.minimum(torch.maximum(mean, least), 1.0 - least)
