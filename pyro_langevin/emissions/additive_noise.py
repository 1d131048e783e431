"""Emissions with additive noise: a decoded mean and an error of a learned size."""

from __future__ import annotations

import torch
from pyro.nn import PyroParam
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_langevin.emissions.base import NamedParameters
from pyro_langevin.emissions.decoded import DecodedEmission
from pyro_langevin.emissions.start import centred_values, observed_deviation, observed_mean
from pyro_langevin.observations import Observations


class AdditiveNoiseEmission(DecodedEmission):
    """Observations ``y = mean(z) + noise * e``, ``mean(z) = shift + scale * decoder(z)``; subclasses give the law of e.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        decoder: Module from ``(*, latent_dim)`` to ``(*, obs_dim)``; linear when omitted.

    Attributes:
        shift: Centre of each channel, ``(obs_dim,)``; 0 before :meth:`initialise`.
        scale: Spread of each channel; 1 before. The decoder's output is in these units.
        relative_noise: Size of the noise in units of ``scale``.
    """

    relative_noise: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, obs_dim: int, *, decoder: nn.Module | None = None) -> None:
        super().__init__(latent_dim, obs_dim, decoder=decoder)
        # learned in units of the channels, so that data in any unit train alike
        self.relative_noise = PyroParam(torch.ones(obs_dim), constraint=constraints.positive)  # type: ignore[assignment]
        self.register_buffer("shift", torch.zeros(obs_dim))
        self.register_buffer("scale", torch.ones(obs_dim))

    @property
    def noise(self) -> Tensor:
        """Size of the noise in data units, ``(obs_dim,)``."""
        return self.relative_noise * self.scale

    @noise.setter
    def noise(self, value: Tensor) -> None:
        self.relative_noise = torch.as_tensor(value) / self.scale

    def mean(self, z: Tensor) -> Tensor:
        return self.shift + self.scale * self.decoded(z)

    @torch.no_grad()
    def set_units(self, observations: Observations) -> None:
        """Mean and standard deviation of each channel; the noise starts at the roughness of neighbouring rows."""
        deviation = observed_deviation(observations)
        both = (observations.mask[:, 1:] & observations.mask[:, :-1]).to(observations.values)
        squares = (centred_values(observations).diff(dim=1).square() * both).sum((0, 1))
        jump = squares / (2.0 * both.sum((0, 1)).clamp_min(1))
        self.shift.copy_(observed_mean(observations))
        self.scale.copy_(deviation)
        self.start_noise(jump.sqrt(), both.sum((0, 1)) > 0)

    def start_noise(self, roughness: Tensor, known: Tensor) -> None:
        """Noise from the standard deviation of half the step between neighbouring rows, within bounds of the spread."""
        share = torch.minimum(0.8 * roughness, 0.7 * self.scale).clamp_min(0.05 * self.scale) / self.scale
        self.relative_noise = torch.where(known, share, 0.5)

    def rough_outputs(self, observations: Observations) -> Tensor:
        return (observations.values - self.shift) / self.scale * observations.mask

    def parameters_in_data_units(self) -> NamedParameters:
        """``noise`` and, of a linear decoder, ``weight`` and ``bias``."""
        return {"noise": (("channel",), self.noise), **self.linear_parameters(self.shift, self.scale)}
