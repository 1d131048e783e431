"""The fine time grid of a path: the observation times and the inner steps between them."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_langevin.observations import Observations

_MOST_STEPS = 2_000_000


class TimeGrid:
    """Observation times with equal inner steps between them, for series of any times and lengths.

    The interval between two observations is cut into ``ceil(gap / max_step)`` equal steps. Series with fewer
    points than the longest are padded with steps of positive length (their last step, repeated), so that
    formulas stay finite there; ``step_mask`` is False on them, and on the steps beyond a series' length.

    Args:
        times: Observation times ``(*batch, n_obs)``, strictly increasing along the last axis.
        lengths: ``(*batch,)`` numbers of observation times that are not padding. Default: all.
        max_step: Largest step, in the unit of ``times``. Default: one step per interval.

    Attributes:
        times: ``(*batch, n_points)``, float64.
        steps: ``(*batch, n_points - 1)``, float64, positive.
        step_mask: ``(*batch, n_points - 1)``, False on padding.
        observed_index: ``(*batch, n_obs)``, the place of every observation among the points.
        interval: ``(*batch, n_points - 1)``, the observation interval that a step lies in; padding counts as
            part of the last one.
        fraction: ``(*batch, n_points - 1)`` in (0, 1], where in its interval a step ends; 1 at an observation
            and on padding.

    Raises:
        ValueError: If times do not increase strictly, ``max_step`` is not positive, ``lengths`` does not fit,
            or there are fewer than two times.

    Example:
        >>> grid = TimeGrid(torch.tensor([0.0, 1.0, 1.5]), max_step=0.5)
        >>> grid.times.tolist(), grid.observed_index.tolist()
        ([0.0, 0.5, 1.0, 1.5], [0, 2, 3])
    """

    def __init__(
        self, times: Tensor, lengths: Tensor | None = None, *, max_step: float | None = None
    ) -> None:
        observed, lengths = _checked(times, lengths, max_step)
        n_intervals = observed.shape[-1] - 1
        gaps = observed.diff(dim=-1)
        inner = torch.ones_like(gaps, dtype=torch.long)
        if max_step is not None:
            # The tolerance keeps a gap of 0.30000000000000004 from becoming four steps of 0.1.
            inner = torch.ceil(gaps / max_step - 1e-9).long().clamp(min=1)
        # A padded interval needs no inner steps of its own.
        real = torch.arange(n_intervals, device=gaps.device) < lengths[..., None] - 1
        inner = torch.where(real, inner, 1)
        ends = inner.cumsum(dim=-1)
        if int(ends[..., -1].max()) > _MOST_STEPS:
            raise ValueError(
                f"time grid: expected at most {_MOST_STEPS} steps a series, got {int(ends[..., -1].max())}; cut the "
                f"series at its long gaps (the longest is {float(gaps.max()):.4g}) or take a larger max_step"
            )
        n_steps = int(ends[..., -1].max())

        step = torch.arange(n_steps, device=gaps.device).expand(*gaps.shape[:-1], n_steps)
        interval = torch.searchsorted(ends, step.contiguous(), right=True)
        beyond = interval >= n_intervals
        self.interval = interval.clamp(max=n_intervals - 1)
        starts = (ends - inner).gather(-1, self.interval)
        count = inner.gather(-1, self.interval)
        place = torch.where(beyond, count, step - starts + 1)
        self.steps = gaps.gather(-1, self.interval) / count
        self.fraction = place / count.to(observed.dtype)
        self.step_mask = ~beyond & real.gather(-1, self.interval)
        self.observed_index = torch.nn.functional.pad(ends, (1, 0))
        # Points at observations are the observation times themselves, not sums of steps.
        ahead = step - ends[..., -1:] + 1
        inside = observed.gather(-1, self.interval) + gaps.gather(-1, self.interval) * self.fraction
        inside = torch.where(self.fraction == 1, observed.gather(-1, self.interval + 1), inside)
        points = torch.where(beyond, observed[..., -1:] + self.steps * ahead, inside)
        self.times = torch.cat([observed[..., :1], points], dim=-1)

    @classmethod
    def from_observations(cls, observations: Observations, *, max_step: float | None = None) -> TimeGrid:
        """Grid on the times of some observations, batch shape ``(series,)``."""
        return cls(observations.times, observations.lengths, max_step=max_step)

    @property
    def n_points(self) -> int:
        """Number of grid points of the longest series, padding included."""
        return self.times.shape[-1]

    def __repr__(self) -> str:
        steps = self.steps[self.step_mask]
        return (
            f"TimeGrid({tuple(self.times.shape)} points, {self.observed_index.shape[-1]} observation times, "
            f"steps {float(steps.min()):.4g} to {float(steps.max()):.4g})"
        )


def _checked(times: Tensor, lengths: Tensor | None, max_step: float | None) -> tuple[Tensor, Tensor]:
    found = torch.as_tensor(times).to(torch.float64)
    if found.ndim < 1 or found.shape[-1] < 2:
        raise ValueError(
            f"time grid: expected at least two times (*batch, n_obs), got {tuple(found.shape)}; "
            "give one per observation"
        )
    if not bool((found.diff(dim=-1) > 0).all()):
        raise ValueError(
            "time grid: expected strictly increasing times, got others; sort them, remove repeated ones"
        )
    if max_step is not None and not max_step > 0:
        raise ValueError(
            f"time grid: expected a positive max_step, got {max_step}; give it in the unit of the times"
        )
    batch, n_obs = found.shape[:-1], found.shape[-1]
    if lengths is None:
        return found, torch.full(batch, n_obs, dtype=torch.long, device=found.device)
    counts = torch.as_tensor(lengths, device=found.device).long()
    if counts.shape != batch or bool((counts < 2).any()) or bool((counts > n_obs).any()):
        raise ValueError(
            f"time grid: expected lengths {tuple(batch)} between 2 and {n_obs}, got {tuple(counts.shape)} "
            f"{counts.flatten()[:5].tolist()}; count the times of each series before its padding"
        )
    return found, counts
