"""Emissions: from latent states to the distribution of the observed values."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_langevin.observations import Observations


class GaussianEmission(PyroModule):
    """Gaussian observations of a decoded latent state, with learned noise per channel.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        decoder: Module from ``(*, latent_dim)`` to ``(*, obs_dim)``; linear when omitted.

    Attributes:
        shift: Mean of each channel, ``(obs_dim,)``; 0 before :meth:`initialise`.
        scale: Standard deviation of each channel; 1 before. The decoder's output is in these units.
        relative_noise: Standard deviation of the noise in units of ``scale``.
    """

    relative_noise: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, obs_dim: int, *, decoder: nn.Module | None = None) -> None:
        super().__init__()
        if latent_dim < 1 or obs_dim < 1:
            raise ValueError(
                f"GaussianEmission: latent_dim and obs_dim must be at least 1, got {latent_dim} and {obs_dim}"
            )
        self.latent_dim, self.obs_dim = latent_dim, obs_dim
        self.decoder = nn.Linear(latent_dim, obs_dim) if decoder is None else decoder
        # learned in units of the channels, so that data in any unit train alike
        self.relative_noise = PyroParam(torch.ones(obs_dim), constraint=constraints.positive)  # type: ignore[assignment]
        self.register_buffer("shift", torch.zeros(obs_dim))
        self.register_buffer("scale", torch.ones(obs_dim))

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the noise in data units, ``(obs_dim,)``."""
        return self.relative_noise * self.scale

    @noise.setter
    def noise(self, value: Tensor) -> None:
        self.relative_noise = torch.as_tensor(value) / self.scale

    @torch.no_grad()
    def initialise(self, observations: Observations) -> Tensor:
        """Start from the data's principal axes; only a linear decoder is set.

        The latent then has about unit variance along each axis, and the noise starts at the roughness of
        neighbouring observations.

        Returns:
            Map ``(latent_dim, obs_dim)`` from centred values to latent scores.
        """
        mask = observations.mask.to(observations.values)
        count = mask.sum((0, 1)).clamp_min(1)
        mean = observations.values.sum((0, 1)) / count
        centred = (observations.values - mean) * mask
        deviation = (centred.square().sum((0, 1)) / count).sqrt()
        rows = (centred / deviation)[mask.bool().any(-1)]
        axes, spread, _ = torch.linalg.svd(rows.T @ rows / len(rows))
        n_axes = min(self.latent_dim, self.obs_dim)
        scale = spread[:n_axes].clamp_min(1e-6).sqrt()
        both = mask[:, 1:] * mask[:, :-1]
        jump = (centred.diff(dim=1).square() * both).sum((0, 1)) / (2.0 * both.sum((0, 1)).clamp_min(1))
        roughness = torch.minimum(0.8 * jump.sqrt(), 0.7 * deviation).clamp_min(0.05 * deviation)
        self.shift.copy_(mean)
        self.scale.copy_(deviation)
        self.relative_noise = torch.where(both.sum((0, 1)) > 0, roughness / deviation, 0.5)
        inverse = torch.zeros(self.latent_dim, self.obs_dim)
        inverse[:n_axes] = (axes[:, :n_axes] / scale).T / deviation
        if isinstance(self.decoder, nn.Linear):
            self.decoder.bias.zero_()
            self.decoder.weight.normal_(std=0.1)  # of dimensions beyond the channels'
            self.decoder.weight[:, :n_axes] = axes[:, :n_axes] * scale
        return inverse

    def check(self, observations: Observations) -> None:
        """Refuse observations with another number of channels."""
        if observations.obs_dim != self.obs_dim:
            raise ValueError(
                f"observations: expected (series, time, {self.obs_dim}), got "
                f"{tuple(observations.values.shape)}; build the emission with obs_dim={observations.obs_dim} "
                "or check the axes"
            )

    def mean(self, z: Tensor) -> Tensor:
        """Mean emission in data units, ``(*, obs_dim)``."""
        return self.shift + self.scale * self.decoder(z)

    def log_likelihood(self, z: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Log likelihood ``(*batch,)`` of values ``(*batch, obs_dim)`` where the mask is True, given ``z``.

        All arguments broadcast over the batch.
        """
        noise = self.noise
        error = (values - self.mean(z)) / noise
        per_channel = -0.5 * error.square() - noise.log() - 0.5 * math.log(2.0 * math.pi)
        return torch.where(mask, per_channel, 0.0).sum(-1)

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Log likelihood ``(n, *batch)`` of every row of values at each of ``n`` latent points.

        The same figures as :meth:`log_likelihood`, by two products of matrices instead of an array over channels.

        Args:
            points: ``(n, latent_dim)``.
            values: ``(*batch, obs_dim)``.
            mask: ``(*batch, obs_dim)``, True where observed.
        """
        mean = self.decoder(points)
        weight = mask / self.relative_noise.square()
        value = torch.where(mask, (values - self.shift) / self.scale, 0.0)
        known = (mask * (self.noise.log() + 0.5 * math.log(2.0 * math.pi))).sum(-1)
        error = (weight * value.square()).sum(-1, keepdim=True) - 2.0 * (weight * value) @ mean.mT
        return (-0.5 * (error + weight @ mean.square().mT) - known.unsqueeze(-1)).movedim(-1, 0)

    def observe(self, z: Tensor, observations: Observations) -> None:
        """Sample site ``y`` given states at the observation times, ``(*particles, series, time, latent_dim)``."""
        self.check(observations)
        noise = self.noise
        likelihood = dist.Normal(self.mean(z), noise).mask(observations.mask).to_event(2)
        pyro.sample("y", likelihood, obs=observations.values)
