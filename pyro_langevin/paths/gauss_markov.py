"""A Gauss-Markov path: a direct mean with a linear residual."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.score_parts import ScoreParts
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.paths.clock import Clock, pad_batch, rested
from pyro_langevin.paths.langevin import LOG_2PI
from pyro_langevin.paths.linear_recursion import linear_recursion
from pyro_langevin.paths.score import sticking_the_landing
from pyro_langevin.time_grid import TimeGrid


class GaussMarkovPath(TorchDistribution):
    r"""Gaussian path ``z_k = m_k + y_k`` with ``y_{k+1} = a_k y_k + s_k \xi_k``.

    Nothing but a linear recursion in time, so sampling is cheap; its paths know nothing of the wells, so its
    kinetics are biased where wells are not Gaussian. ``event_shape = (time, dim)``.

    Args:
        mean: ``(time, *batch, dim)``, time leftmost.
        memory: ``a``, ``(time - 1, *batch, dim)``.
        deviation: ``(time, *batch, dim)``: standard deviation of the first state, then ``s``.
        grid: Times of the states; on padding the path rests and has no density.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True
    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        mean: Tensor,
        memory: Tensor,
        deviation: Tensor,
        grid: TimeGrid,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.mean_path, self.memory, self.deviation = mean, memory, deviation
        self.clock = Clock.of(grid, mean)
        event_shape = torch.Size([mean.shape[0], mean.shape[-1]])
        parts = (mean, memory, deviation)
        batch_shape = torch.broadcast_shapes(*(part.shape[1:-1] for part in parts))
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> GaussMarkovPath:
        new = self._get_checked_instance(GaussMarkovPath, _instance)
        new.mean_path, new.memory, new.deviation = self.mean_path, self.memory, self.deviation
        new.clock = self.clock
        super(GaussMarkovPath, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Paths ``(*sample_shape, *batch_shape, time, dim)``."""
        shape = self.event_shape[:1] + torch.Size(sample_shape) + self.batch_shape + self.event_shape[1:]
        noise = torch.randn(shape, dtype=self.mean_path.dtype, device=self.mean_path.device)
        residual = linear_recursion(
            pad_batch(self.memory, len(shape)), pad_batch(self.deviation, len(shape)) * noise
        )
        path = pad_batch(self.mean_path, len(shape)) + residual
        return rested(path, self.clock.mask_for(len(shape) - 1)).movedim(0, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of paths ``(*sample, *batch_shape, time, dim)``."""
        if self._validate_args:
            self._validate_sample(value)
        path = pad_batch(value.movedim(-2, 0), len(self.batch_shape) + 2)
        residual = path - pad_batch(self.mean_path, path.dim())
        deviation = pad_batch(self.deviation, path.dim())
        kick = torch.cat([residual[:1], residual[1:] - pad_batch(self.memory, path.dim()) * residual[:-1]])
        per_state = -(0.5 * (kick / deviation).square() + deviation.log() + 0.5 * LOG_2PI).sum(-1)
        mask = self.clock.mask_for(per_state.dim())
        steps = per_state[1:] if mask is None else torch.where(mask, per_state[1:], 0.0)
        return per_state[0] + steps.sum(0)

    def score_parts(self, value: Tensor, *args: Any, **kwargs: Any) -> ScoreParts:
        """Log density with the sticking-the-landing entropy: its gradient flows through the path alone."""
        return sticking_the_landing(self, value)
