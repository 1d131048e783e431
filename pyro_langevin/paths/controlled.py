"""A Langevin path under a control: the prior's own dynamics, pushed by a function of the state."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from pyro_langevin.paths.control import Controls, Residual
from pyro_langevin.paths.langevin import Dynamics
from pyro_langevin.paths.tilted import TiltedPath, Tilting
from pyro_langevin.time_grid import TimeGrid


class ControlledPath(TiltedPath):
    r"""A Langevin path whose every step is the prior's transition with shifted and damped noise.

    .. math:: z_{k+1} = T_k(z_k, \kappa_k),\qquad
        \kappa_k = u(z_k, t_k, c_k)\sqrt{h_k} + r(z_k, t_k, c_k)\,\xi_k

    With ``u = 0`` and ``r = 1`` it is the prior. The control depends on the state, so the law of such a path may have
    several branches where that of a Gauss-Markov path has one. For Euler-Maruyama steps it is the drift
    ``b + sigma u``, and with ``r = 1`` the divergence from the prior is ``sum |u|^2 h / 2``: Girsanov's integral, with
    no error of its own. (Mean shift: Tzen & Raginsky 2019; on Langevin priors: Koop et al. 2024. A noise multiplier
    is owed at finite steps: without it the best control leaves ``(Ps^2 - ln(1 + Ps^2))/2`` a step, where ``P`` is
    the precision of what the future says and ``s`` the step's deviation.)

    Args:
        dynamics: The prior's dynamics.
        initial: Posterior of the first state, event shape ``(dim,)``, reparametrised.
        times: As for :class:`LangevinPath`.
        controls: The control law, and what it is told at each step.
        after: What tilts the noise first, such as :class:`Messages`, so that the control is a residual on it.

    Raises:
        ValueError: If there is not one position and one context a step.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        initial: Distribution,
        times: Tensor | TimeGrid,
        controls: Controls,
        *,
        after: Tilting | None = None,
        validate_args: bool | None = None,
    ) -> None:
        tilting = controls if after is None else Residual(after, controls)
        super().__init__(dynamics, initial, times, tilting, validate_args=validate_args)
        n_steps = len(self.clock.steps)
        for name, told in (("position", controls.position), ("context", controls.context)):
            if len(told) != n_steps:
                raise ValueError(
                    f"ControlledPath: expected controls with a {name} ({n_steps}, *batch, n), one a step, got "
                    f"{tuple(told.shape)}; time goes leftmost, and the last state has no step"
                )
