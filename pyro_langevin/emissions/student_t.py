"""Observations with heavy-tailed noise."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.nn import PyroParam
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_langevin.emissions.additive_noise import AdditiveNoiseEmission
from pyro_langevin.emissions.base import NamedParameters
from pyro_langevin.observations import Observations

_START = 4.0  # degrees of freedom
_NORMAL_MAD = 0.67449  # median absolute deviation of a standard Gaussian
_FARTHEST = 3.0  # spreads from the centre beyond which a value says nothing more about the latent space


class StudentTEmission(AdditiveNoiseEmission):
    """Student-t observations of a decoded latent state: outliers cost little and pull little.

    Noise and degrees of freedom are learned in each channel. With many degrees of freedom it is Gaussian; below two its
    variance is infinite, so ``noise`` is the scale of the t distribution and not a standard deviation. Above one degree
    of freedom, to which it is held, the mean exists.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        decoder: Module from ``(*, latent_dim)`` to ``(*, obs_dim)``; linear when omitted.

    Attributes:
        shift: Median of each channel, ``(obs_dim,)``; 0 before :meth:`initialise`.
        scale: Spread of each channel by its median absolute deviation; 1 before.
        relative_noise: Scale of the noise in units of ``scale``.
        degrees_of_freedom: ``(obs_dim,)``, above 1.
    """

    degrees_of_freedom: Tensor

    def __init__(self, latent_dim: int, obs_dim: int, *, decoder: nn.Module | None = None) -> None:
        super().__init__(latent_dim, obs_dim, decoder=decoder)
        self.degrees_of_freedom = PyroParam(  # type: ignore[assignment]
            torch.full((obs_dim,), _START), constraint=constraints.greater_than(1.0)
        )

    def distribution(self, z: Tensor) -> dist.StudentT:
        return dist.StudentT(self.degrees_of_freedom, self.mean(z), self.noise)

    @torch.no_grad()
    def set_units(self, observations: Observations) -> None:
        """Median and median absolute deviation of each channel, which outliers do not move."""
        super().set_units(observations)  # for channels with more than half of their values alike
        values, mask = observations.values, observations.mask
        centre = _medians(values, mask)
        spread = _medians((values - centre).abs(), mask) / _NORMAL_MAD
        both = mask[:, 1:] & mask[:, :-1]
        step = _medians(values.diff(dim=1).abs(), both) / (_NORMAL_MAD * 2.0**0.5)
        self.shift.copy_(centre)
        self.scale.copy_(torch.where(spread > 0.0, spread, self.scale))
        self.start_noise(step.nan_to_num(), both.any(1).any(0))
        self.degrees_of_freedom = torch.full_like(self.scale, _START)

    def rough_outputs(self, observations: Observations) -> Tensor:
        return super().rough_outputs(observations).clamp(-_FARTHEST, _FARTHEST)

    def parameters_in_data_units(self) -> NamedParameters:
        """``noise`` (the scale of the t distribution), ``degrees_of_freedom``; ``weight``, ``bias`` if linear."""
        return {"degrees_of_freedom": (("channel",), self.degrees_of_freedom), **super().parameters_in_data_units()}


def _medians(values: Tensor, mask: Tensor) -> Tensor:
    """Median of each channel where the mask is True, ``(channel,)``; NaN in a channel without any."""
    return torch.where(mask, values, torch.nan).flatten(0, 1).nanmedian(0).values
