"""The steps of a path in the layout that the path distributions compute in: time leftmost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.time_grid import TimeGrid


@dataclass(frozen=True, eq=False)
class Clock:
    """Step lengths and padding of a batch of paths.

    Attributes:
        steps: ``(n_steps, *batch, 1)``, or ``(n_steps, 1)`` where all series share them.
        mask: ``(n_steps, *batch)``, False on padding; None where nothing is padded.
        batch_shape: Batch shape of the times.
        n_points: Number of points of a path, initial one included.
    """

    steps: Tensor
    mask: Tensor | None
    batch_shape: torch.Size
    n_points: int

    @classmethod
    def of(cls, grid: TimeGrid, like: Tensor) -> Clock:
        """The clock of a grid, in the dtype and on the device of ``like``."""
        steps = grid.steps.to(like)
        batch = steps.shape[:-1]
        flat = steps.reshape(-1, steps.shape[-1])
        shared = bool((flat == flat[:1]).all())
        mask = None if bool(grid.step_mask.all()) else grid.step_mask.to(like.device).movedim(-1, 0)
        ordered = flat[0].unsqueeze(-1) if shared else steps.movedim(-1, 0).unsqueeze(-1)
        return cls(ordered, mask, batch, grid.n_points)

    def after(self, n: int) -> Clock:
        """The clock of what remains of a path when its first ``n`` points are taken away."""
        mask = None if self.mask is None else self.mask[n:]
        return Clock(self.steps[n:], mask, self.batch_shape, self.n_points - n)

    def steps_for(self, ndim: int) -> Tensor:
        """Steps that broadcast against time-leftmost states with ``ndim`` dimensions."""
        return pad_batch(self.steps, ndim)

    def mask_for(self, ndim: int) -> Tensor | None:
        """Mask that broadcasts against time-leftmost per-step figures with ``ndim`` dimensions."""
        return None if self.mask is None else pad_batch(self.mask, ndim)


def pad_batch(value: Tensor, ndim: int) -> Tensor:
    """Insert singleton batch dimensions after the leading time so that ``value`` has ``ndim`` dimensions."""
    missing = ndim - value.dim()
    if missing <= 0:
        return value
    return value.reshape(value.shape[:1] + (1,) * missing + value.shape[1:])


def rested(path: Tensor, mask: Tensor | None) -> Tensor:
    """A time-leftmost path ``(time, *batch, dim)`` that rests on padding, at the last state before it."""
    if mask is None:
        return path
    index = torch.arange(1, len(mask) + 1, device=mask.device).reshape(-1, *(1,) * (mask.dim() - 1))
    reached = torch.where(mask, index, 0).cummax(0).values
    last = torch.cat([torch.zeros_like(reached[:1]), reached])
    return path.gather(0, last.unsqueeze(-1).expand_as(path))
