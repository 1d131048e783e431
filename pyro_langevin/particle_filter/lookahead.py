"""What the observations to come say about a particle, learned from the guide's own paths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.particle_filter.problem import Problem

_MOST_PRODUCTS = 4  # dimensions up to which coordinates are multiplied with one another
_RIDGE = 1e-3  # in units of the features' own variance


@dataclass(frozen=True, eq=False)
class Lookahead:
    r"""Estimate of :math:`\ln p(y_{k+1:n} \mid z_k)`, a quadratic function of the state at each observation.

    A guide moves particles to where *all* data want them, so that weights which know the past alone are uneven even
    where the guide is exact, and resampling by them undoes what the guide has done. Resampled is therefore by weights
    times this function, which is divided out again: estimates stay right whatever the function is. It is fitted
    backward in time to what the guide's own paths gain (Guarniero, Johansen & Lee 2017).

    Attributes:
        centre: ``(n_obs, series, dim)``.
        width: ``(n_obs, series, dim)``.
        weight: ``(n_obs, series, feature)``.
        low: ``(n_obs, series)``, bounds of the function, those of its values on the paths it was fitted to.
        high: ``(n_obs, series)``.
    """

    centre: Tensor
    width: Tensor
    weight: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def learned(cls, problem: Problem, paths: int) -> Lookahead:
        """Fitted to so many paths of the guide."""
        states, gains = problem.guide_paths(paths)
        target = torch.zeros_like(gains[0])
        parts: list[tuple[Tensor, ...]] = []
        for k in reversed(range(len(states))):
            parts.append(_fitted(states[k], target))
            target = gains[k] + _value(states[k], *parts[-1])
        return cls(*(torch.stack(part[::-1]) for part in zip(*parts, strict=True)))

    def __call__(self, z: Tensor, number: Tensor) -> Tensor:
        """Value ``(*batch, series)`` in states ``(*batch, series, dim)`` at observations ``number`` ``(series,)``."""
        series = torch.arange(len(number), device=number.device)
        row = number.clamp_min(0)
        parts = (part[row, series] for part in (self.centre, self.width, self.weight, self.low, self.high))
        return torch.where(number >= 0, _value(z, *parts), 0.0)


def _fitted(z: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Least squares over the paths of one observation."""
    centre, width = z.mean(0), z.std(0).clamp_min(1e-6)
    features = _features(z, centre, width).double().movedim(0, -2)  # (series, path, feature)
    ridge = _RIDGE * len(z) * torch.eye(features.shape[-1], dtype=torch.double, device=z.device)
    ridge[0, 0] = 1e-9
    moments = features.mT @ features + ridge
    weight = torch.linalg.solve(moments, features.mT @ target.mT.unsqueeze(-1)).squeeze(-1)
    value = (features @ weight.unsqueeze(-1)).squeeze(-1)
    return centre, width, weight, value.amin(-1), value.amax(-1)


def _value(z: Tensor, centre: Tensor, width: Tensor, weight: Tensor, low: Tensor, high: Tensor) -> Tensor:
    raw = (_features(z, centre, width).double() * weight).sum(-1)
    return torch.minimum(torch.maximum(raw, low), high)


def _features(z: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """One, the coordinates and their products, or squares alone in many dimensions; ``(*batch, feature)``."""
    unit = (z - centre) / width
    dim = unit.shape[-1]
    if dim <= _MOST_PRODUCTS:
        rows, columns = torch.tril_indices(dim, dim, device=z.device)
        second = unit[..., rows] * unit[..., columns]
    else:
        second = unit.square()
    return torch.cat([torch.ones_like(unit[..., :1]), unit, second], -1)
