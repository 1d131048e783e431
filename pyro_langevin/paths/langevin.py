"""A Langevin path as one Pyro distribution: the prior."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths.chain_rule import MOST_JACOBIANS, chain_rule
from pyro_langevin.paths.clock import Clock, pad_batch
from pyro_langevin.time_grid import TimeGrid

LOG_2PI = math.log(2.0 * math.pi)


class ReadDynamics(Protocol):
    """Dynamics whose parameters were read once."""

    @property
    def dim(self) -> int: ...

    def transition(self, z: Tensor, step: Tensor) -> Transition: ...


class Dynamics(Protocol):
    """What a path needs of its dynamics."""

    def read(self) -> ReadDynamics: ...


class LangevinPath(TorchDistribution):
    """Distribution of a discretised Langevin path at given times: a Markov chain with Gaussian transitions.

    ``event_shape = (time, dim)``. Parameters are read once, at construction, so that all calls see the same
    dynamics. The density is that of the chain as discretised, exact; against the continuous process it carries
    the scheme's step-size error.

    Args:
        dynamics: For example :class:`~pyro_langevin.Overdamped`.
        initial: Distribution of the first state, event shape ``(dim,)``.
        times: Strictly increasing ``(*batch, time)``, one state at each; or a
            :class:`~pyro_langevin.TimeGrid`, whose inner points and padding are then part of the path. On
            padding the path rests and has no density.

    Raises:
        ValueError: If the initial distribution's event shape is not ``(dim,)``.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True
    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        dynamics: Dynamics,
        initial: Distribution,
        times: Tensor | TimeGrid,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.source = dynamics
        self.dynamics = dynamics.read()
        if tuple(initial.event_shape) != (self.dynamics.dim,):
            raise ValueError(
                f"LangevinPath: expected an initial distribution of event shape ({self.dynamics.dim},), got "
                f"{tuple(initial.event_shape)}; use .to_event(1) on a per-dimension distribution"
            )
        grid = times if isinstance(times, TimeGrid) else TimeGrid(times)
        self.clock = Clock.of(grid, initial.mean)
        # one transition shows the batch dimensions of sampled parameters, and whether anything is learned
        probe = self.dynamics.transition(initial.mean.new_zeros(self.dynamics.dim), self.clock.steps[0])
        self._same_noise_everywhere = probe.same_everywhere
        self._learned = probe.mean.requires_grad or probe.scale.requires_grad
        sampled = torch.broadcast_shapes(probe.mean.shape[:-1], probe.scale.shape[:-2])
        batch_shape = torch.broadcast_shapes(initial.batch_shape, self.clock.batch_shape, sampled)
        # every path has a first state of its own
        self.initial = initial if initial.batch_shape == batch_shape else initial.expand(batch_shape)
        super().__init__(batch_shape, torch.Size([self.clock.n_points, self.dynamics.dim]), validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> LangevinPath:
        batch_shape = torch.Size(batch_shape)
        return self.continued(self.initial.expand(batch_shape), self.clock, batch_shape, _instance)

    def continued(
        self, initial: Distribution, clock: Clock, batch_shape: torch.Size, _instance: object = None
    ) -> LangevinPath:
        """A path of the same dynamics, as they were read, from another start over other steps."""
        new = self._get_checked_instance(LangevinPath, _instance)
        new.source, new.dynamics = self.source, self.dynamics
        new._learned, new._same_noise_everywhere = self._learned, self._same_noise_everywhere
        new.clock, new.initial = clock, initial
        event_shape = torch.Size([clock.n_points, self.dynamics.dim])
        super(LangevinPath, new).__init__(batch_shape, event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Paths ``(*sample_shape, *batch_shape, time, dim)``, simulated step by step."""
        draw = self.initial.rsample if self.initial.has_rsample else self.initial.sample
        start = draw(sample_shape).expand(torch.Size(sample_shape) + self.batch_shape + self.event_shape[1:])
        shape = (self.clock.n_points - 1, *start.shape)
        return self.driven(start, torch.randn(shape, dtype=start.dtype, device=start.device).movedim(0, -2))

    def driven(self, start: Tensor, noise: Tensor) -> Tensor:
        """Path that starts at ``start`` ``(*batch, dim)`` and is driven by ``noise`` ``(*batch, time - 1, dim)``.

        With standard normal noise it is a draw of the path. Differentiable once, by both and by the dynamics.
        """
        kicks = noise.movedim(-2, 0)
        steps, mask = self.clock.steps_for(kicks.dim()), self.clock.mask_for(kicks.dim() - 1)
        start = start.expand(kicks.shape[1:])
        learned = self._learned or start.requires_grad or kicks.requires_grad
        few = kicks.shape[-1] <= MOST_JACOBIANS
        batched = learned and few and len(steps) > 0 and torch.is_grad_enabled() and not torch.jit.is_tracing()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not batched):
            states = [start]
            for k, step in enumerate(steps):
                state = self.dynamics.transition(states[-1], step).apply(kicks[k])
                states.append(state if mask is None else torch.where(mask[k].unsqueeze(-1), state, states[-1]))
            path = torch.stack(states)
        if not batched:
            return path.movedim(0, -2)

        def step_all(free: Tensor) -> tuple[Tensor, Tensor]:
            reached = self.dynamics.transition(free, steps).apply(kicks)
            reached = reached if mask is None else torch.where(mask.unsqueeze(-1), reached, free)
            return reached, 0.0 * free.sum(-1)

        reached, _ = chain_rule(start, path[:-1], step_all, None)
        return torch.cat([start.unsqueeze(0), reached]).movedim(0, -2)

    def noise_of(self, value: Tensor) -> Tensor:
        """Noise ``(*batch, time - 1, dim)`` that drives given paths, 0 on padding: the inverse of :meth:`driven`."""
        path = self.time_first(value)
        noise = self.transitions(path).whiten(path[1:])
        mask = self.clock.mask_for(noise.dim() - 1)
        noise = noise if mask is None else torch.where(mask.unsqueeze(-1), noise, 0.0)
        return noise.movedim(0, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of paths ``(*sample, *batch_shape, time, dim)``: all steps in one batched call."""
        if self._validate_args:
            self._validate_sample(value)
        path = self.time_first(value)
        transition = self.transitions(path)
        noise = transition.whiten(path[1:])
        dim = path.shape[-1]
        steps = -0.5 * (noise.square().sum(-1) + dim * LOG_2PI) - transition.log_abs_det()
        return self.initial.log_prob(path[0]) + self.sum_steps(steps)

    def time_first(self, value: Tensor) -> Tensor:
        """Paths ``(*batch, time, dim)`` with time leftmost and room for all batch dimensions of this distribution."""
        return pad_batch(value.movedim(-2, 0), len(self.batch_shape) + 2)

    def transitions(self, path: Tensor) -> Transition:
        """Transitions out of every state of a time-leftmost path ``(time, *batch, dim)``, in one call."""
        return self.dynamics.transition(path[:-1], self.clock.steps_for(path.dim()))

    def sum_steps(self, per_step: Tensor) -> Tensor:
        """Sum over the steps that are not padding of ``(n_steps, *batch)``."""
        mask = self.clock.mask_for(per_step.dim())
        return (per_step if mask is None else torch.where(mask, per_step, 0.0)).sum(0)
