"""One of several kinds."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from pyro_langevin.emissions.base import NamedParameters
from pyro_langevin.emissions.decoded import DecodedEmission
from pyro_langevin.emissions.refusal import refuse_where
from pyro_langevin.emissions.smoothing import SMOOTHING_BLUR, smoothed
from pyro_langevin.observations import Observations


class CategoricalEmission(DecodedEmission):
    """One channel of codes 0, 1, ..., ``n_categories - 1``, with probabilities ``softmax(shift + decoder(z))``.

    The codes are names: their order means nothing to the likelihood. Several such channels are a
    :class:`JointEmission` of one emission each. An encoder and the start of a guide read the codes as numbers, so give
    categories that are close to one another neighbouring codes where you can.

    Args:
        latent_dim: Dimension of the latent state.
        n_categories: Number of categories, at least 2.
        decoder: Module from ``(*, latent_dim)`` to unnormalised log probabilities ``(*, n_categories)``; linear when
            omitted.

    Attributes:
        shift: Typical log probability of each category, up to a constant; 0 before :meth:`initialise`.
        noise: Standard deviation of a code given its neighbourhood in time, ``(1,)``; 1 before :meth:`initialise`.
    """

    blur = SMOOTHING_BLUR
    shift: Tensor

    def __init__(self, latent_dim: int, n_categories: int, *, decoder: nn.Module | None = None) -> None:
        if n_categories < 2:
            raise ValueError(f"CategoricalEmission: n_categories must be at least 2, got {n_categories}")
        super().__init__(latent_dim, 1, n_outputs=n_categories, decoder=decoder)
        self.n_categories = n_categories
        self.register_buffer("shift", torch.zeros(n_categories))
        self.register_buffer("noise", torch.ones(1))

    def check(self, observations: Observations) -> None:
        """Refuse more than one channel and anything but codes below ``n_categories``."""
        if observations.obs_dim != 1:
            raise ValueError(
                f"observations: expected (series, time, 1), one channel of codes, got "
                f"{tuple(observations.values.shape)}; join one CategoricalEmission a channel in a JointEmission, or "
                "turn indicators into codes with values.argmax(-1)"
            )
        values = observations.values
        refuse_where(
            (values < 0) | (values >= self.n_categories) | (values != values.round()),
            observations,
            f"codes 0, 1, ..., {self.n_categories - 1}",
            "number the categories from 0, or build the emission with more of them (n_categories)",
        )

    def log_probabilities(self, z: Tensor) -> Tensor:
        """Log probability of each category, ``(*batch, n_categories)``."""
        return (self.shift + self.decoded(z)).log_softmax(-1)

    def mean(self, z: Tensor) -> Tensor:
        """Expected code, ``(*batch, 1)``: that by which codes are correlated in time, not the likeliest category."""
        codes = torch.arange(self.n_categories, device=z.device, dtype=z.dtype)
        return (self.log_probabilities(z).exp() * codes).sum(-1, keepdim=True)

    def distribution(self, z: Tensor) -> dist.Categorical:
        return dist.Categorical(logits=self.log_probabilities(z).unsqueeze(-2))

    def log_likelihood_table(self, points: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        table = self.log_probabilities(points)[:, values.squeeze(-1).long()]
        return torch.where(mask.squeeze(-1), table, 0.0)

    @torch.no_grad()
    def set_units(self, observations: Observations) -> None:
        self.shift.zero_()
        log_share = self.rough_outputs(observations)[observations.mask.squeeze(-1)]
        self.shift.copy_(log_share.mean(0))
        share = log_share.softmax(-1)
        codes = torch.arange(self.n_categories, device=share.device, dtype=share.dtype)
        variance = (share * codes.square()).sum(-1) - (share * codes).sum(-1).square()
        self.noise.copy_(variance.mean().clamp_min(1e-6).sqrt().reshape(1))

    def rough_outputs(self, observations: Observations) -> Tensor:
        """Log shares of the categories in smoothed indicators, their mean over the categories taken off."""
        codes = observations.values.squeeze(-1).long()
        indicators = (one_hot(codes, self.n_categories) * observations.mask).to(observations.values)
        counted = indicators.sum((0, 1)) + 0.5
        share = counted / counted.sum()
        local = smoothed(
            indicators,
            observations.mask.expand(indicators.shape),
            share,
            torch.full_like(share, 0.5 * self.n_categories),
        ).log()
        return local - local.mean(-1, keepdim=True) - self.shift

    def parameters_in_data_units(self) -> NamedParameters:
        """Of a linear decoder, ``weight`` and ``bias`` of the unnormalised log probabilities, by ``category``."""
        return self.linear_parameters(self.shift, torch.ones_like(self.shift), rows="category")
