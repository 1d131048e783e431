"""The fast guide: a Gauss-Markov path."""

from __future__ import annotations

from pyro_langevin.guides.amortised import MessageGuide
from pyro_langevin.observations import Observations
from pyro_langevin.paths import DenseGaussMarkovPath, GaussMarkovPath


class GaussMarkovGuide(MessageGuide):
    """Posterior given directly as a mean path with a linear residual, its noise scaled with the prior's.

    No loop over forces: use it to start a :class:`SteeredGuide` and for problems that are linear or nearly so.
    Do not trust kinetics learned with it where wells are not Gaussian.
    """

    def path(self, observations: Observations) -> GaussMarkovPath | DenseGaussMarkovPath:
        """Posterior paths of a batch of series, on the model's grid."""
        grid = self.model.grid(observations)
        return self.frame.gauss_markov(self.outputs(observations, grid), observations, grid)
