"""Counts."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_langevin.emissions.base import NamedParameters
from pyro_langevin.emissions.decoded import DecodedEmission
from pyro_langevin.emissions.refusal import refuse_where
from pyro_langevin.emissions.smoothing import SMOOTHING_BLUR, smoothed
from pyro_langevin.emissions.start import observed_mean
from pyro_langevin.observations import Observations

_FARTHEST = 40.0  # log expected counts are cut here, so that no state, however far out, has an infinite likelihood


class PoissonEmission(DecodedEmission):
    """Counts of events, each channel with the rate ``exp(shift + decoder(z))`` in events per time unit.

    A count stands for the events in a bin around its time. ``exposure`` is the width of the bins: it does not change
    the fit, only what rates are counted in.

    Args:
        latent_dim: Dimension of the latent state.
        obs_dim: Number of channels.
        exposure: Width of the bins in the data's time unit, one number or one a channel; 1 for rates per bin.
        decoder: Module from ``(*, latent_dim)`` to log rates ``(*, obs_dim)``; linear when omitted.

    Attributes:
        shift: Typical log rate of each channel, ``(obs_dim,)``; 0 before :meth:`initialise`.
        exposure: ``(obs_dim,)``.
        noise: Square root of the mean count; 1 before :meth:`initialise`.
    """

    blur = SMOOTHING_BLUR
    shift: Tensor
    exposure: Tensor

    def __init__(
        self, latent_dim: int, obs_dim: int, *, exposure: float | Tensor = 1.0, decoder: nn.Module | None = None
    ) -> None:
        super().__init__(latent_dim, obs_dim, decoder=decoder)
        width = torch.as_tensor(exposure, dtype=torch.get_default_dtype())
        if width.shape not in ((), (obs_dim,)) or not bool((width.isfinite() & (width > 0)).all()):
            raise ValueError(
                f"PoissonEmission: expected exposure as a positive bin width, or ({obs_dim},) of them, got {exposure}; "
                "give it in the data's time unit"
            )
        self.register_buffer("exposure", width.expand(obs_dim).clone())
        self.register_buffer("shift", torch.zeros(obs_dim))
        self.register_buffer("noise", torch.ones(obs_dim))

    def check(self, observations: Observations) -> None:
        """Refuse another number of channels, negative values and fractions."""
        super().check(observations)
        values = observations.values
        refuse_where(
            (values < 0) | (values != values.round()),
            observations,
            "counts 0, 1, 2, ...",
            "give the numbers of events themselves, neither rates nor transformed values",
        )

    def log_mean(self, z: Tensor) -> Tensor:
        """Log of the expected counts, ``(*batch, obs_dim)``."""
        return (self.shift + self.exposure.log() + self.decoded(z)).clamp(-_FARTHEST, _FARTHEST)

    def mean(self, z: Tensor) -> Tensor:
        """Expected counts in a bin, ``(*batch, obs_dim)``."""
        return self.log_mean(z).exp()

    def rate(self, z: Tensor) -> Tensor:
        """Events per time unit, ``(*batch, obs_dim)``."""
        return self.mean(z) / self.exposure

    def distribution(self, z: Tensor) -> dist.Poisson:
        return dist.Poisson(self.mean(z))

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        log_mean = self.log_mean(points)
        seen = mask.to(values)
        rows, known = (values * seen).reshape(-1, self.obs_dim), seen.reshape(-1, self.obs_dim)
        table = log_mean @ rows.mT - log_mean.exp() @ known.mT
        return table.reshape(len(points), *values.shape[:-1]) - ((values + 1.0).lgamma() * seen).sum(-1)

    @torch.no_grad()
    def set_units(self, observations: Observations) -> None:
        self.shift.zero_()
        log_rate = self.rough_outputs(observations)
        seen = observations.mask.to(log_rate)
        self.shift.copy_((log_rate * seen).sum((0, 1)) / seen.sum((0, 1)).clamp_min(1))
        self.noise.copy_(_mean_counts(observations).sqrt())

    def rough_outputs(self, observations: Observations) -> Tensor:
        """Logarithm of smoothed counts; where nothing was counted for long, the mean stands for half an event."""
        mean = _mean_counts(observations)
        local = smoothed(observations.values, observations.mask, mean, 0.5 / mean)
        return (local / self.exposure).log() - self.shift

    def parameters_in_data_units(self) -> NamedParameters:
        """Of a linear decoder, ``weight`` and ``bias`` of the log rates in events per time unit."""
        return self.linear_parameters(self.shift, torch.ones_like(self.shift))


def _mean_counts(observations: Observations) -> Tensor:
    """Mean count of each channel, of half an event where none was seen: a part of the data may well lack any."""
    mean = observed_mean(observations)
    return torch.maximum(mean, 0.5 / observations.mask.sum((0, 1)).clamp_min(1).to(mean))
