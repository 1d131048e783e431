"""A Langevin path steered by Gaussian messages from the observations: the default posterior."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from pyro_langevin.paths.independent_messages import IndependentMessages
from pyro_langevin.paths.langevin import Dynamics
from pyro_langevin.paths.messages import Messages
from pyro_langevin.paths.tilted import TiltedPath
from pyro_langevin.time_grid import TimeGrid


class SteeredPath(TiltedPath):
    r"""A Langevin path whose every step is the prior's transition times a Gaussian message.

    .. math:: q(z_{k+1}\mid z_k) \propto \mathcal N(z_{k+1};\,\mu(z_k), V(z_k))\,
        \exp\bigl(-\tfrac12 (z_{k+1}-c_k)^\top H_k (z_{k+1}-c_k)\bigr)

    With silent messages it is the prior; for linear forces and Gaussian observations the family holds the exact
    posterior. (Guided proposals: Schauer, van der Meulen & van Zanten 2017.)

    Args:
        dynamics: The prior's dynamics.
        initial: Posterior of the first state, event shape ``(dim,)``, reparametrised.
        times: As for :class:`LangevinPath`.
        messages: One message a step.
    """

    tilting: Messages | IndependentMessages

    def __init__(
        self,
        dynamics: Dynamics,
        initial: Distribution,
        times: Tensor | TimeGrid,
        messages: Messages | IndependentMessages,
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(dynamics, initial, times, messages, validate_args=validate_args)

    @property
    def messages(self) -> Messages | IndependentMessages:
        """One message a step."""
        return self.tilting
