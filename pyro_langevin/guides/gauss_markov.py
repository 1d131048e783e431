"""The fast guide: a Gauss-Markov path."""

from __future__ import annotations

import torch

from pyro_langevin.guides.amortised import MessageGuide
from pyro_langevin.observations import Observations
from pyro_langevin.paths import GaussMarkovPath


class GaussMarkovGuide(MessageGuide):
    """Posterior given directly as a mean path with a linear residual, its noise scaled with the prior's.

    No loop over forces: use it to start a :class:`SteeredGuide` and for problems that are linear or nearly so.
    Do not trust kinetics learned with it where wells are not Gaussian.
    """

    def path(self, observations: Observations) -> GaussMarkovPath:
        """Posterior paths of a batch of series, on the model's grid."""
        grid = self.model.grid(observations)
        out = self.outputs(observations, grid)
        steps = grid.steps.movedim(-1, 0).unsqueeze(-1).to(out.centre)
        free = (2.0 * torch.as_tensor(self.model.dynamics.diffusion) * steps).sqrt()
        # the message's gain against free diffusion damps the residual and its noise alike
        strength = out.root.diagonal(dim1=-2, dim2=-1) * free / self.noise_unit(observations, grid)
        kept = 1.0 / (1.0 + strength.square())
        mean = torch.cat([out.first_loc.unsqueeze(0), out.centre])
        deviation = torch.cat([out.first_scale.unsqueeze(0), free * kept.sqrt()])
        return GaussMarkovPath(mean, kept * out.memory, deviation, grid)
