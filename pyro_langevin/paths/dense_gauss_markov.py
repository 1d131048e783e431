"""A Gauss-Markov path whose coordinates move together."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.score_parts import ScoreParts
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.small_matrices import log_abs_det, matvec, solve
from pyro_langevin.paths.clock import Clock, pad_batch, rested
from pyro_langevin.paths.langevin import LOG_2PI
from pyro_langevin.paths.score import sticking_the_landing
from pyro_langevin.time_grid import TimeGrid


class DenseGaussMarkovPath(TorchDistribution):
    r"""Gaussian path ``z_k = m_k + y_k`` with ``y_{k+1} = A_k y_k + S_k \xi_k``, full matrices ``A`` and ``S``.

    As :class:`GaussMarkovPath`, for states whose coordinates are coupled, such as positions and momenta.
    ``event_shape = (time, dim)``.

    Args:
        mean: ``(time, *batch, dim)``, time leftmost.
        memory: ``A``, ``(time - 1, *batch, dim, dim)``.
        scale: ``(time, *batch, dim, dim)``, of full rank: a factor of the first state's covariance, then ``S``.
        grid: Times of the states; on padding the path rests and has no density.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True
    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        mean: Tensor,
        memory: Tensor,
        scale: Tensor,
        grid: TimeGrid,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.mean_path, self.memory, self.scale = mean, memory, scale
        self.clock = Clock.of(grid, mean)
        event_shape = torch.Size([mean.shape[0], mean.shape[-1]])
        parts = (mean.shape[1:-1], memory.shape[1:-2], scale.shape[1:-2])
        super().__init__(torch.broadcast_shapes(*parts), event_shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> DenseGaussMarkovPath:
        new = self._get_checked_instance(DenseGaussMarkovPath, _instance)
        new.mean_path, new.memory, new.scale = self.mean_path, self.memory, self.scale
        new.clock = self.clock
        super(DenseGaussMarkovPath, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Paths ``(*sample_shape, *batch_shape, time, dim)``."""
        shape = self.event_shape[:1] + torch.Size(sample_shape) + self.batch_shape + self.event_shape[1:]
        noise = torch.randn(shape, dtype=self.mean_path.dtype, device=self.mean_path.device)
        kicks = matvec(pad_batch(self.scale, len(shape) + 1), noise).unbind(0)
        memory = pad_batch(self.memory, len(shape) + 1).unbind(0)
        residual = [kicks[0]]
        for matrix, kick in zip(memory, kicks[1:], strict=True):
            residual.append(matvec(matrix, residual[-1]) + kick)
        path = pad_batch(self.mean_path, len(shape)) + torch.stack(residual)
        return rested(path, self.clock.mask_for(len(shape) - 1)).movedim(0, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of paths ``(*sample, *batch_shape, time, dim)``."""
        if self._validate_args:
            self._validate_sample(value)
        path = pad_batch(value.movedim(-2, 0), len(self.batch_shape) + 2)
        residual = path - pad_batch(self.mean_path, path.dim())
        scale, memory = (pad_batch(part, path.dim() + 1) for part in (self.scale, self.memory))
        kick = torch.cat([residual[:1], residual[1:] - matvec(memory, residual[:-1])])
        noise = solve(scale, kick)
        per_state = -0.5 * (noise.square().sum(-1) + path.shape[-1] * LOG_2PI) - log_abs_det(scale)
        mask = self.clock.mask_for(per_state.dim())
        steps = per_state[1:] if mask is None else torch.where(mask, per_state[1:], 0.0)
        return per_state[0] + steps.sum(0)

    def score_parts(self, value: Tensor, *args: Any, **kwargs: Any) -> ScoreParts:
        """Log density with the sticking-the-landing entropy: its gradient flows through the path alone."""
        return sticking_the_landing(self, value)
