"""Gaussian observations."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_langevin.emissions.additive_noise import AdditiveNoiseEmission


class GaussianEmission(AdditiveNoiseEmission):
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

    def distribution(self, z: Tensor) -> dist.Normal:
        return dist.Normal(self.mean(z), self.noise)

    def log_likelihood(self, z: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        noise = self.noise
        error = (values - self.mean(z)) / noise
        per_channel = -0.5 * error.square() - noise.log() - 0.5 * math.log(2.0 * math.pi)
        return torch.where(mask, per_channel, 0.0).sum(-1)

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        # two products of matrices instead of an array over points, observations and channels
        mean = self.decoded(points)
        weight = mask / self.relative_noise.square()
        value = torch.where(mask, (values - self.shift) / self.scale, 0.0)
        known = (mask * (self.noise.log() + 0.5 * math.log(2.0 * math.pi))).sum(-1)
        error = (weight * value.square()).sum(-1, keepdim=True) - 2.0 * (weight * value) @ mean.mT
        return (-0.5 * (error + weight @ mean.square().mT) - known.unsqueeze(-1)).movedim(-1, 0)
