"""The fast guide: a Gauss-Markov path."""

from __future__ import annotations

import torch

from pyro_langevin.guides.amortised import MessageGuide
from pyro_langevin.observations import Observations
from pyro_langevin.paths import GaussMarkovPath
from pyro_langevin.paths.clock import pad_batch


class GaussMarkovGuide(MessageGuide):
    """Posterior given directly as a mean path with a linear residual, its noise scaled with the prior's.

    No loop over forces: use it to start a :class:`SteeredGuide` and for problems that are linear or nearly so.
    Do not trust kinetics learned with it where wells are not Gaussian.
    """

    def path(self, observations: Observations) -> GaussMarkovPath:
        """Posterior paths of a batch of series, on the model's grid."""
        grid = self.model.grid(observations)
        out = self.outputs(observations, grid)
        free = self.free_diffusion(grid.steps.to(out.centre))
        root, memory, first = (
            pad_batch(part, free.dim())
            for part in (out.root.diagonal(dim1=-2, dim2=-1), out.memory, out.first_scale.unsqueeze(0))
        )
        # the message's gain against free diffusion damps the residual and its noise alike
        strength = root * free / self.noise_unit(observations, grid)
        kept = 1.0 / (1.0 + strength.square())
        mean = torch.cat([out.first_loc.unsqueeze(0), out.centre])
        damped = free * kept.sqrt()
        deviation = torch.cat([first.expand(1, *damped.shape[1:]), damped])
        return GaussMarkovPath(mean, kept * memory, deviation, grid)
