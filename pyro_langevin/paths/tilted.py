"""A Langevin path whose every step tilts the noise of the prior's: what such posteriors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pyro.distributions.score_parts import ScoreParts
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.kl import register_kl

from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths.chain_rule import MOST_JACOBIANS, chain_rule
from pyro_langevin.paths.langevin import Dynamics, LangevinPath
from pyro_langevin.paths.score import sticking_the_landing
from pyro_langevin.paths.shared_diffusion import require_shared_diffusion
from pyro_langevin.paths.tilt import Tilt
from pyro_langevin.time_grid import TimeGrid


class Tilting(Protocol):
    """How the noise of every step of a path is tilted; its tensors have time leftmost."""

    def padded(self, ndim: int) -> Tilting:
        """Room for the batch dimensions of time-leftmost states with ``ndim`` dimensions."""
        ...

    def each(self) -> Sequence[Tilting]:
        """The tilting of one step each, in the order of time."""
        ...

    def given(self, transition: Transition) -> Tilting:
        """The same for transitions of the scale of this one (all steps at once), wherever they begin."""
        ...

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        """Tilt of the noise of transitions out of ``z``, for one step or for all at once.

        It must depend on a state by itself alone and be the same at every call (no batch norm, no dropout): paths
        are simulated step by step, and differentiated in one batched call.
        """
        ...


class TiltedPath(LangevinPath):
    r"""A Langevin path whose every step is the prior's own transition, fed with tilted noise.

    .. math:: z_{k+1} = T_k(z_k, \kappa_k),\qquad \kappa_k \sim \mathcal N\bigl(s_k(z_k), S_k S_k^\top(z_k)\bigr)

    where the prior has :math:`\kappa_k \sim \mathcal N(0, 1)`. The divergence of a step from the prior's is that of
    two Gaussians, in closed form, whatever the transition.

    ``rsample`` runs the loop over time without a graph and then differentiates all steps in one batched call;
    only the linear recursion of the chain rule is sequential. It needs the Jacobian of every step, which is dear in
    more than two dimensions: there the loop itself is differentiated. The gradient is exact, of first order.

    Args:
        dynamics: The prior's dynamics.
        initial: Posterior of the first state, event shape ``(dim,)``, reparametrised.
        times: As for :class:`LangevinPath`.
        tilting: How the tilts come about.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        initial: Distribution,
        times: Tensor | TimeGrid,
        tilting: Tilting,
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(dynamics, initial, times, validate_args=validate_args)
        self.tilting = tilting
        self._along: tuple[Tensor, Tensor] | None = None

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> TiltedPath:
        new = super().expand(batch_shape, self._get_checked_instance(type(self), _instance))
        assert isinstance(new, TiltedPath)
        new.tilting, new._along = self.tilting, None
        return new

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Paths ``(*sample_shape, *batch_shape, time, dim)``."""
        start = self.initial.rsample(sample_shape)
        start = start.expand(torch.Size(sample_shape) + self.batch_shape + self.event_shape[1:])
        steps = self.clock.steps_for(start.dim() + 1)
        mask = self.clock.mask_for(start.dim())
        tilting = self.tilting.padded(start.dim() + 1)
        if self._same_noise_everywhere:
            tilting = tilting.given(self.dynamics.transition(start.new_zeros(start.shape[-1]), steps))
        noise = torch.randn((len(steps), *start.shape), dtype=start.dtype, device=start.device)
        # a compiled trace records no gradients: there, too, the plain loop is differentiated
        tracing, learning = torch.jit.is_tracing(), torch.is_grad_enabled()
        plain = tracing or (learning and start.shape[-1] > MOST_JACOBIANS)
        with torch.set_grad_enabled(plain):
            states, divergences = [start if plain else start.detach()], []
            for k, (step, own) in enumerate(zip(steps, tilting.each(), strict=True)):
                transition = self.dynamics.transition(states[-1], step)
                tilt = own.tilt(states[-1], transition, step)
                if plain:
                    divergences.append(tilt.kl())
                state = transition.apply(tilt.apply(noise[k]))
                states.append(state if mask is None else torch.where(mask[k].unsqueeze(-1), state, states[-1]))
            path = torch.stack(states)
        if tracing or not learning:
            self._along = None
            return path.movedim(0, -2)
        if plain:
            divergence = torch.stack(divergences)
        else:
            path, divergence = self._with_gradient(path, start, tilting, noise)
        value = path.movedim(0, -2)
        self._along = (value, self.sum_steps(divergence))
        return value

    def _with_gradient(self, path: Tensor, start: Tensor, tilting: Tilting, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The same path and its per-step KL, attached to the graph: all steps at once, then the chain rule."""
        steps, mask = self.clock.steps_for(path.dim()), self.clock.mask_for(path.dim() - 1)

        def step(free: Tensor) -> tuple[Tensor, Tensor]:
            transition = self.dynamics.transition(free, steps)
            tilt = tilting.tilt(free, transition, steps)
            reached, divergence = transition.apply(tilt.apply(noise)), tilt.kl()
            if mask is not None:
                reached = torch.where(mask.unsqueeze(-1), reached, free)
                divergence = torch.where(mask, divergence, 0.0)
            return reached, divergence

        reached, divergence = chain_rule(start, path[:-1], step, None)
        return torch.cat([start.unsqueeze(0), reached]), divergence

    def _tilts(self, path: Tensor) -> tuple[Transition, Tilt]:
        """Prior transitions out of every state of a time-leftmost path and their tilts, in one call."""
        transition = self.transitions(path)
        tilting = self.tilting.padded(path.dim())
        return transition, tilting.tilt(path[:-1], transition, self.clock.steps_for(path.dim()))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of given paths: all steps in one batched call."""
        if self._validate_args:
            self._validate_sample(value)
        path = self.time_first(value)
        transition, tilt = self._tilts(path)
        steps = tilt.log_prob(transition.whiten(path[1:])) - transition.log_abs_det()
        return self.initial.log_prob(path[0]) + self.sum_steps(steps)

    def kl_along(self, value: Tensor) -> Tensor:
        """Sum of the per-step divergences from the prior along a path, the first state left out.

        Its expectation is the path's divergence. For training only: it is not a log density ratio, so weights
        must never be made of it.

        Raises:
            RuntimeError: Where no gradients are recorded, as weights are computed.
        """
        if not torch.is_grad_enabled():
            raise RuntimeError(
                "kl_along: expected to be called while gradients are recorded, in training, got no_grad; it is not a "
                "log density ratio, and bounds or importance weights made of it overshoot the evidence (by 4 nats with "
                "50 particles): take posterior.log_prob(z) and prior.log_prob(z) instead"
            )
        if self._along is not None and self._along[0] is value:
            return self._along[1]
        return self.sum_steps(self._tilts(self.time_first(value))[1].kl())

    def score_parts(self, value: Tensor, *args: Any, **kwargs: Any) -> ScoreParts:
        """Log density with the sticking-the-landing entropy: its gradient flows through the path alone.

        (Roeder, Wu & Duvenaud 2017.) The score term is the literal 0: the path is fully reparametrised.
        """
        return sticking_the_landing(self, value)


def has_divergence_along(posterior: object, prior: object) -> bool:
    """Whether a posterior path knows its divergence from a prior path along its last sample."""
    if not isinstance(posterior, TiltedPath) or not isinstance(prior, LangevinPath) or isinstance(prior, TiltedPath):
        return False
    return posterior.source is prior.source and posterior._along is not None


@register_kl(TiltedPath, LangevinPath)
def _kl_tilted_prior(posterior: TiltedPath, prior: LangevinPath) -> Tensor:
    """Path divergence along the posterior's last sample: unbiased, for ``TraceMeanField_ELBO``.

    Raises:
        ValueError: If the paths do not share their diffusion.
    """
    if posterior.source is not prior.source:
        step = posterior.clock.steps.min()
        require_shared_diffusion(posterior.dynamics, prior.dynamics, posterior.initial.mean, step)
        raise NotImplementedError  # other drift, same noise: the ratio of densities stays right
    if not has_divergence_along(posterior, prior):
        raise NotImplementedError
    assert posterior._along is not None
    value, along = posterior._along
    first = value[..., 0, :]
    return posterior.initial.log_prob(first) - prior.initial.log_prob(first) + along
