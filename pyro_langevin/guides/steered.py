"""The default guide: the prior, steered by messages from the observations."""

from __future__ import annotations

import pyro.distributions as dist

from pyro_langevin.guides.amortised import MessageGuide
from pyro_langevin.observations import Observations
from pyro_langevin.paths import SteeredPath


class SteeredGuide(MessageGuide):
    """Posterior whose steps are the prior's own transitions times Gaussian messages.

    Contains the prior (silent messages) and the exact posterior of linear-Gaussian problems. Its noise and its
    mean follow the learned dynamics, so that what the data say about diffusion and barriers is not drowned by
    what the guide cannot represent: the guide to trust with kinetics.
    """

    def path(self, observations: Observations) -> SteeredPath:
        """Posterior paths of a batch of series, on the model's grid."""
        grid = self.model.grid(observations)
        out = self.outputs(observations, grid)
        frame = self.frame
        mean, deviation = frame.first(out)
        if not out.coupled:
            first = dist.Normal(mean, deviation).to_event(1)
        else:
            first = dist.MultivariateNormal(mean, scale_tril=deviation.unsqueeze(-1) * out.first_mix)
        messages = frame.messages(out, observations, grid)
        return SteeredPath(self.model.dynamics, first, grid, messages)
