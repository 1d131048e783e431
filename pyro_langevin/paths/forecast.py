"""What remains of a path once its beginning is known: forecasts."""

from __future__ import annotations

import torch
from pyro.contrib.forecast.util import prefix_condition as pyro_prefix_condition
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths.langevin import LOG_2PI, LangevinPath
from pyro_langevin.paths.tilted import TiltedPath


def prefix_condition(path: LangevinPath, data: Tensor) -> LangevinPath:
    """The distribution of the rest of a path, given its first points.

    Exact: ``path.log_prob(cat([data, rest]))`` is the density of ``data`` plus ``prefix_condition(path,
    data).log_prob(rest)``. The dynamics are those that the path read, not read again. Pyro's own function of this name
    (``pyro.contrib.forecast.util``) does the same with a path. To forecast from noisy observations, draw the path up to
    the last of them from a guide, and condition the prior's path on each draw.

    Args:
        path: Prior path of ``time`` points.
        data: The first ``n < time`` points, ``(*batch, n, dim)``.

    Returns:
        Distribution of event shape ``(time - n, dim)``. Series whose padding has begun rest at their last state.

    Raises:
        TypeError: If the path is a guide's: what steers it was computed from the whole series.
        ValueError: On another shape of the data.
    """
    if isinstance(path, TiltedPath) or not isinstance(path, LangevinPath):
        raise TypeError(
            f"prefix_condition: expected the prior's LangevinPath, got {type(path).__name__}; draw from the guide up "
            "to the last observation and condition the prior on the draws"
        )
    n_points, dim = path.event_shape
    if data.dim() < 2 or data.shape[-1] != dim or not 1 <= data.shape[-2] < n_points:
        raise ValueError(
            f"prefix_condition: expected data (*batch, n, {dim}) with 1 <= n < {n_points} points, got "
            f"{tuple(data.shape)}; leave at least one point of the path to forecast"
        )
    begun = data.shape[-2]
    batch_shape = torch.broadcast_shapes(path.batch_shape, data.shape[:-2])
    last = data[..., -1, :].expand(*batch_shape, dim)
    step = path.clock.steps_for(last.dim() + 1)[begun - 1]
    mask = path.clock.mask_for(last.dim())
    moves = None if mask is None else mask[begun - 1].expand(batch_shape)
    first = NextState(path.dynamics.transition(last, step), last, moves)
    return path.continued(first, path.clock.after(begun), batch_shape)


@pyro_prefix_condition.register(LangevinPath)
def _(path: LangevinPath, data: Tensor) -> LangevinPath:
    return prefix_condition(path, data)


class NextState(TorchDistribution):
    """Distribution of the state after one transition; event shape ``(dim,)``.

    Args:
        transition: The transition.
        last: State before it, ``(*batch, dim)``.
        moves: ``(*batch,)``, False where the step is padding: the state then rests and has no density. None = all True.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self,
        transition: Transition,
        last: Tensor,
        moves: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.transition, self.last, self.moves = transition, last, moves
        super().__init__(transition.mean.shape[:-1], transition.mean.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> NextState:
        new = self._get_checked_instance(NextState, _instance)
        new.transition, new.last, new.moves = self.transition, self.last, self.moves
        super(NextState, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        """Where the step leads without noise; the mean, unless the transition is closed by a kick."""
        resting = self._or_rest(self.transition.apply(torch.zeros_like(self.transition.mean)))
        return resting.expand(self.batch_shape + self.event_shape)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """States ``(*sample_shape, *batch_shape, dim)``."""
        mean = self.transition.mean
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return self._or_rest(self.transition.apply(torch.randn(shape, dtype=mean.dtype, device=mean.device)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of states ``(*sample, *batch_shape, dim)``."""
        noise = self.transition.whiten(value)
        density = -0.5 * (noise.square().sum(-1) + noise.shape[-1] * LOG_2PI) - self.transition.log_abs_det()
        return density if self.moves is None else torch.where(self.moves, density, 0.0)

    def _or_rest(self, state: Tensor) -> Tensor:
        return state if self.moves is None else torch.where(self.moves.unsqueeze(-1), state, self.last)
