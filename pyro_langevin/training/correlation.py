"""Does the learned process forget as fast as the data? Autocorrelation of both, compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.grid_filter import Propagator, StateGrid
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_BLOCKS = 20
_TOLERANCE = 0.15


@dataclass(frozen=True)
class ForgettingCheck:
    """Decay rate of the autocorrelation between two lags, in data and model, per time unit.

    Attributes:
        data: Rate in the data.
        error: Its standard error, over blocks of the record.
        model: Rate in the learned process.
    """

    data: float
    error: float
    model: float

    @property
    def agrees(self) -> bool:
        """Whether the two agree within three errors, or 15 %."""
        return abs(self.data - self.model) <= max(3.0 * self.error, _TOLERANCE * self.data)


def check_forgetting(model: LangevinModel, observations: Observations, grid: StateGrid) -> ForgettingCheck | None:
    """Compare the slow decay of the autocorrelation of the data with that of a one-dimensional model.

    The lags lie between a quarter and the whole of the model's slowest timescale: beyond noise, and beyond what the
    sampling interval blurs. Noise that is white does not enter.

    Returns:
        None where the data cannot tell: irregular times, too short series, or a correlation lost in noise.
    """
    gap = observations.typical_gap
    gaps = observations.times.diff(dim=-1)
    if float((gaps / gap - 1.0).abs().max()) > 0.01:
        return None
    with torch.no_grad():
        propagator = Propagator.of(model.dynamics.read(), grid)
        points = grid.points.to(observations.values)
        signal = model.emission.mean(points.to(observations.values.device)).double()
    rates, modes = propagator.spectrum
    slowest = -1.0 / float(rates[-2])
    near = max(1, round(0.25 * slowest / gap))
    far = max(near + 1, round(slowest / gap))
    if far > 0.5 * float(observations.lengths.max()):
        return None
    weight = propagator.root_weight.square()
    weight = weight / weight.sum()
    centred = signal - (weight.unsqueeze(-1) * signal).sum(0)
    direction = (weight.unsqueeze(-1) * centred.square()).sum(0) / model.emission.noise.detach().double().square()
    strength = (centred * direction).sum(-1) * propagator.root_weight / propagator.root_weight.square().sum().sqrt()
    power = (strength @ modes).square()
    learned = [float((power * (rates * k * gap).exp()).sum()) for k in (near, far)]
    pairs = _lagged_products(observations, direction, near, far)
    total = pairs.sum(0)
    if not (0.0 < learned[1] < learned[0]) or float(total[0] * total[1]) <= 0 or float(total[2]) <= 0:
        return None
    span = (far - near) * gap

    def rate(sums: Tensor) -> float:
        ratio = float((sums[2] / sums[3]) / (sums[0] / sums[1]))
        return -math.log(ratio) / span if ratio > 0.0 else math.inf

    left_out = torch.tensor([rate(total - block) for block in pairs])
    error = float(((left_out - left_out.mean()).square().sum() * (len(pairs) - 1) / len(pairs)).sqrt())
    if not math.isfinite(error):
        return None
    return ForgettingCheck(rate(total), error, -math.log(learned[1] / learned[0]) / span)


def _lagged_products(observations: Observations, direction: Tensor, near: int, far: int) -> Tensor:
    """Sums and counts of products at both lags, by blocks of the record, ``(blocks, 4)``."""
    mask = observations.mask.all(-1)
    values = observations.values.double()
    mean = (values * mask.unsqueeze(-1)).sum((0, 1)) / mask.sum()
    score = ((values - mean) * direction).sum(-1) * mask
    columns = []
    for lag in (near, far):
        columns += [score[:, lag:] * score[:, :-lag], (mask[:, lag:] & mask[:, :-lag]).double()]
    width = min(column.shape[1] for column in columns)
    flat = torch.stack([column[:, :width].reshape(-1) for column in columns], -1)
    blocks = flat.tensor_split(_BLOCKS)
    return torch.stack([block.sum(0) for block in blocks])
