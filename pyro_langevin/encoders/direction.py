"""Which observations a context may know of: those before (filtering), those after (smoothing), or all."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pyro_langevin.time_grid import TimeGrid

#: Number of figures that tell where in its observation interval a step lies.
POSITION_DIM = 4


class Direction(ABC):
    """The way in which an encoder reads a series, and what a step inside an observation interval sees of it.

    Attributes:
        passes: Contexts that the recurrence leaves at an observation: one, or one from each side.
        sides: How many of an interval's two ends a step inside it sees.
        looks_ahead: Whether a context knows of later observations.
    """

    passes: int
    sides: int
    looks_ahead: bool

    @abstractmethod
    def run(self, recurrent: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Contexts ``(series, time, passes * hidden)`` of inputs whose padding is never seen."""

    @abstractmethod
    def at_steps(self, per_observation: Tensor, grid: TimeGrid) -> Tensor:
        """What each step sees of figures at the observations, ``(series, n_steps, sides * width)``.

        Args:
            per_observation: ``(series, time, width)``.
            grid: Grid over the same series.
        """

    @abstractmethod
    def position(self, grid: TimeGrid, unit: Tensor) -> Tensor:
        """Where in its interval each step lies, ``(series, n_steps, 4)``.

        Args:
            grid: The grid.
            unit: A typical gap between observations.
        """


class Filtering(Direction):
    """Forward in time: observations up to the beginning of a step's interval, and the time since. Nothing later.

    Paths from it are not draws of the posterior, which knows the future: use it for on-line monitoring.
    """

    passes, sides, looks_ahead = 1, 1, False

    def run(self, recurrent: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
        return recurrent(inputs)[0]  # what is before the padding cannot see it

    def at_steps(self, per_observation: Tensor, grid: TimeGrid) -> Tensor:
        return _gathered(per_observation[:, :-1], grid)

    def position(self, grid: TimeGrid, unit: Tensor) -> Tensor:
        share, gap = _share_and_gap(grid, unit)
        elapsed = (grid.fraction.to(unit) - share) * gap
        just_seen = (elapsed < 0.5 * share * gap).to(unit)
        return torch.stack([elapsed.log1p(), (-elapsed).exp(), just_seen, (share * gap).log()], -1)


class Smoothing(Direction):
    """Backward in time: observations from the end of a step's interval on, and the time until then.

    All that the posterior of a Markov path needs to know, given the state that it is in.
    """

    passes, sides, looks_ahead = 1, 1, True

    def run(self, recurrent: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
        # turned round within its length, each series begins with its last observation and padding stays behind
        place = torch.arange(inputs.shape[1], device=inputs.device)
        last = lengths.to(place).unsqueeze(-1) - 1
        turned = torch.where(place <= last, last - place, place).unsqueeze(-1)
        outputs = recurrent(inputs.gather(1, turned.expand_as(inputs)))[0]
        return outputs.gather(1, turned.expand_as(outputs))

    def at_steps(self, per_observation: Tensor, grid: TimeGrid) -> Tensor:
        return _gathered(per_observation[:, 1:], grid)

    def position(self, grid: TimeGrid, unit: Tensor) -> Tensor:
        return _approach(grid, unit)


class TwoSided(Direction):
    """In both directions: all observations, seen from both ends of a step's interval."""

    passes, sides, looks_ahead = 2, 2, True

    def run(self, recurrent: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
        if bool((lengths == inputs.shape[1]).all()):
            return recurrent(inputs)[0]
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = recurrent(packed)
        return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0]

    def at_steps(self, per_observation: Tensor, grid: TimeGrid) -> Tensor:
        ends = per_observation[:, :-1], per_observation[:, 1:]
        return torch.cat([_gathered(end, grid) for end in ends], -1)

    def position(self, grid: TimeGrid, unit: Tensor) -> Tensor:
        return _approach(grid, unit)


def _gathered(per_interval: Tensor, grid: TimeGrid) -> Tensor:
    """Rows ``(series, interval, *)`` repeated onto steps ``(series, n_steps, *)``."""
    index = grid.interval.to(per_interval.device).unsqueeze(-1)
    return per_interval.gather(1, index.expand(*index.shape[:-1], per_interval.shape[-1]))


def _share_and_gap(grid: TimeGrid, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Share of its interval that a step takes, and the interval's length in units of a typical gap."""
    gap = grid.times.gather(-1, grid.observed_index).diff(dim=-1).gather(-1, grid.interval)
    return (grid.steps / gap).to(unit), gap.to(unit) / unit


def _approach(grid: TimeGrid, unit: Tensor) -> Tensor:
    """Where a step begins on its way to the next observation, and the share of the remaining way that it takes."""
    share, gap = _share_and_gap(grid, unit)
    begin = grid.fraction.to(unit) - share
    urgency = share / (1.0 - begin)  # a Brownian bridge's gain: 1 on the step that ends at the observation
    return torch.stack([begin, begin.square(), urgency, (share * gap).log()], -1)
