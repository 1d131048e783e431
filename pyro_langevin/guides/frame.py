"""How what the message head says is read: the units and coordinates that suit a dynamics."""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol

import torch
from torch import Tensor

from pyro_langevin.guides.messages import StepOutputs
from pyro_langevin.observations import Observations
from pyro_langevin.paths import DenseGaussMarkovPath, GaussMarkovPath, IndependentMessages, Messages
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.time_grid import TimeGrid


class Frame(Protocol):
    """Reads the dimensionless outputs of a message head as statements about the states of one dynamics."""

    def strength(self, gap: float, noise: float) -> float:
        """Start of the messages at the observations, in units of those between them, given the noise's size."""
        ...

    def first(self, out: StepOutputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the first state, ``(*batch, dim)``."""
        ...

    def messages(self, out: StepOutputs, observations: Observations, grid: TimeGrid) -> Messages | IndependentMessages:
        """One message a step."""
        ...

    def gauss_markov(
        self, out: StepOutputs, observations: Observations, grid: TimeGrid
    ) -> GaussMarkovPath | DenseGaussMarkovPath:
        """The same outputs as a Gauss-Markov path."""
        ...


def gap_of_steps(observations: Observations, grid: TimeGrid, ndim: int) -> Tensor:
    """Length of the observation interval that each step lies in, ``(n_steps, *1, series, 1)`` of ``ndim`` dimensions.

    The ones leave room for the batch dimensions of sampled parameters.
    """
    gaps = observations.times.diff(dim=-1).gather(-1, grid.interval).movedim(-1, 0)
    return pad_batch(gaps.to(observations.values).unsqueeze(-1), ndim)


class Diffusive(Protocol):
    """Dynamics whose state is a place that diffuses."""

    @property
    def diffusion(self) -> Tensor: ...


class PositionFrame:
    """Overdamped states: places, in units of the free diffusion over an observation interval.

    Args:
        dynamics: The model's dynamics.
    """

    def __init__(self, dynamics: Diffusive) -> None:
        self.diffusion = torch.as_tensor(dynamics.diffusion)
        self.ndim = max(self.diffusion.dim() + 1, 3)  # of time-leftmost states

    def strength(self, gap: float, noise: float) -> float:
        """Free diffusion over a gap, in standard deviations of an observation's noise; at least one."""
        return max(1.0, float((2.0 * self.diffusion.detach().mean() * gap).sqrt() / noise))

    def first(self, out: StepOutputs) -> tuple[Tensor, Tensor]:
        """As the head gives it."""
        return out.first_loc, out.first_scale

    def messages(self, out: StepOutputs, observations: Observations, grid: TimeGrid) -> Messages | IndependentMessages:
        """Precisions in units of ``1 / (2 D gap)``, so that gains do not change with the learned diffusion."""
        out, unit = out.padded(self.ndim), self._unit(observations, grid)
        if not out.coupled and out.centre.shape[-1] > 1:  # of one coordinate a matrix is as cheap
            return IndependentMessages(out.centre, out.strength / unit)
        return Messages(out.centre, out.root / unit.unsqueeze(-1))

    def gauss_markov(self, out: StepOutputs, observations: Observations, grid: TimeGrid) -> GaussMarkovPath:
        """The message's gain against free diffusion damps the residual and its noise alike."""
        out = out.padded(self.ndim)
        steps = pad_batch(grid.steps.movedim(-1, 0).unsqueeze(-1).to(out.centre), self.ndim)
        free = (2.0 * self.diffusion * steps).sqrt()
        strength = out.strength * free / self._unit(observations, grid)
        kept = 1.0 / (1.0 + strength.square())
        damped = free * kept.sqrt()
        deviation = torch.cat([out.first_scale.expand(1, *damped.shape[1:]), damped])
        return GaussMarkovPath(out.path(), kept * out.memory, deviation, grid)

    def _unit(self, observations: Observations, grid: TimeGrid) -> Tensor:
        """Free diffusion over the interval of each step, ``sqrt(2 D gap)``, ``(n_steps, *batch, 1 or dim)``."""
        return (2.0 * self.diffusion * gap_of_steps(observations, grid, self.ndim)).sqrt()


@singledispatch
def frame_of(dynamics: Diffusive, noise: Tensor) -> Frame:
    """The frame for a dynamics: places, unless another was registered for its kind with ``frame_of.register``.

    Args:
        dynamics: The model's dynamics.
        noise: Standard deviation of one observation in latent units, as estimated at the start, scalar.
    """
    return PositionFrame(dynamics)
