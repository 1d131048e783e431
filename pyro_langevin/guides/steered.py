"""The default guide: the prior, steered by messages from the observations."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from pyro import poutine
from torch import Tensor

from pyro_langevin.guides.amortised import AmortisedGuide
from pyro_langevin.model import series_plate
from pyro_langevin.observations import Observations
from pyro_langevin.paths import SteeredPath


class SteeredGuide(AmortisedGuide):
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
        first = dist.Normal(*frame.first(out)).to_event(1)
        messages = frame.messages(out, observations, grid)
        return SteeredPath(self.model.dynamics, first, grid, messages)

    def forward(self, observations: Observations, n_series: int | None = None) -> Tensor:
        """Sample site ``z``: paths on the model's grid, ``(*particles, series, point, dim)``."""
        path = self.path(observations)
        with series_plate(observations, n_series), poutine.scale(scale=self.model.annealing):
            return pyro.sample("z", path)
