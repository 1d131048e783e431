"""The default guide: the prior, steered by messages from the observations."""

from __future__ import annotations

import pyro.distributions as dist

from pyro_langevin.guides.amortised import MessageGuide
from pyro_langevin.observations import Observations
from pyro_langevin.paths import Messages, SteeredPath
from pyro_langevin.paths.clock import pad_batch


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
        first = dist.Normal(out.first_loc, out.first_scale).to_event(1)
        unit = self.noise_unit(observations, grid)
        messages = Messages(out.centre, pad_batch(out.root, unit.dim() + 1) / unit.unsqueeze(-1))
        return SteeredPath(self.model.dynamics, first, grid, messages)
