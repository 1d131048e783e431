"""Guides that are exact for a linear-Gaussian model, and the same guides made worse in known ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

import pyro_langevin as pl
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths import Messages, TiltedPath, Tilting
from pyro_langevin.paths.tilt import Tilt


@dataclass(frozen=True)
class Narrowed:
    """A tilting whose noise is made smaller: variances times ``factor ** 2``."""

    inner: Tilting
    factor: float

    def padded(self, ndim: int) -> Narrowed:
        return Narrowed(self.inner.padded(ndim), self.factor)

    def each(self) -> Sequence[Narrowed]:
        return [Narrowed(one, self.factor) for one in self.inner.each()]

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        tilt = self.inner.tilt(z, transition, step)
        narrowed = tilt.log_precision - 2.0 * z.shape[-1] * torch.tensor(self.factor).log()
        return Tilt(tilt.shift, tilt.spread * self.factor, narrowed)


@dataclass(frozen=True)
class Shifted:
    """A tilting whose noise is shifted by so many standard deviations of the step."""

    inner: Tilting
    shift: float

    def padded(self, ndim: int) -> Shifted:
        return Shifted(self.inner.padded(ndim), self.shift)

    def each(self) -> Sequence[Shifted]:
        return [Shifted(one, self.shift) for one in self.inner.each()]

    def tilt(self, z: Tensor, transition: Transition, step: Tensor) -> Tilt:
        tilt = self.inner.tilt(z, transition, step)
        return Tilt(tilt.shift + self.shift, tilt.spread, tilt.log_precision)


@dataclass(frozen=True)
class Damaged:
    """A guide whose path has its noise narrowed and shifted."""

    guide: object
    narrowed: float = 1.0
    shifted: float = 0.0

    @property
    def model(self) -> pl.LangevinModel:
        return self.guide.model

    def path(self, observations: pl.Observations) -> TiltedPath:
        path = self.guide.path(observations)
        tilting = Narrowed(Shifted(path.tilting, self.shifted), self.narrowed)
        return TiltedPath(self.model.dynamics, path.initial, self.model.grid(observations), tilting)


@dataclass(frozen=True)
class ExactGuide:
    """The exact posterior of an Ornstein-Uhlenbeck process as a steered path, for series with the same grid."""

    model: pl.LangevinModel
    process: OrnsteinUhlenbeck
    emission: LinearEmission

    def path(self, observations: pl.Observations) -> TiltedPath:
        grid = self.model.grid(observations)
        channels = observations.obs_dim
        laws, messages = [], []
        for i in range(observations.n_series):
            values = torch.zeros(grid.n_points, channels)
            mask = torch.zeros(grid.n_points, channels, dtype=torch.bool)
            inside = torch.arange(observations.n_times) < observations.lengths[i]
            points = grid.observed_index[i][inside]
            values[points], mask[points] = observations.values[i][inside], observations.mask[i][inside]
            exact = exact_posterior(self.process, self.emission, grid.times[i], values, mask)
            laws.append((exact.first_mean, exact.first_covariance))
            messages.append((exact.centre, exact.root))
        first: Distribution = MultivariateNormal(*(torch.stack(part) for part in zip(*laws, strict=True)))
        centre, root = (torch.stack(part, 1) for part in zip(*messages, strict=True))
        return TiltedPath(self.model.dynamics, first, grid, Messages(centre, root))
