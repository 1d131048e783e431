"""Guides that need no training, the same made worse in known ways, and their draws as the diagnostics see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, exact_posterior
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

import pyro_langevin as pl
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.inference_data.draws import draw_paths
from pyro_langevin.inference_data.groups import data_groups, time_weights
from pyro_langevin.inference_data.particles import particle_evidence, particle_occupancy
from pyro_langevin.landscape import Landscape
from pyro_langevin.particle_filter import smooth_by_particles
from pyro_langevin.paths import Messages, TiltedPath, Tilting
from pyro_langevin.paths.tilt import Tilt
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training import FittedMember


@dataclass(frozen=True)
class Narrowed:
    """A tilting whose noise is made smaller: variances times ``factor ** 2``."""

    inner: Tilting
    factor: float

    def padded(self, ndim: int) -> Narrowed:
        return Narrowed(self.inner.padded(ndim), self.factor)

    def each(self) -> Sequence[Narrowed]:
        return [Narrowed(one, self.factor) for one in self.inner.each()]

    def given(self, transition: Transition) -> Narrowed:
        return Narrowed(self.inner.given(transition), self.factor)

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

    def given(self, transition: Transition) -> Shifted:
        return Shifted(self.inner.given(transition), self.shift)

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


@dataclass(frozen=True)
class BridgeGuide:
    """Every step drawn towards the next observation, as if free diffusion led there: a fair guide without training.

    For one position that is observed directly, with noise, at the same times in all series.
    """

    model: pl.LangevinModel
    noise: float

    def path(self, observations: pl.Observations) -> TiltedPath:
        grid = self.model.grid(observations)
        ahead = observations.times.gather(-1, grid.interval + 1) - grid.times[:, 1:]
        diffusion = torch.as_tensor(self.model.dynamics.diffusion).detach()
        variance = (self.noise**2 + 2.0 * diffusion * ahead).to(observations.values)
        row = (grid.interval + 1).unsqueeze(-1)
        centre, root = observations.values.gather(1, row), variance.rsqrt()[..., None, None]
        first = Independent(Normal(observations.values[:, 0], 0.2), 1)
        return TiltedPath(self.model.dynamics, first, grid, Messages(centre.movedim(1, 0), root.movedim(1, 0)))


def double_well(*, noise: float = 0.3, max_step: float | None = None) -> pl.LangevinModel:
    """A double well of 4 kT seen directly with noise, of frozen parameters."""
    model = pl.LangevinModel(pl.Overdamped(DoubleWell(), friction=1.0), pl.GaussianEmission(1, 1), max_step=max_step)
    with torch.no_grad():
        model.emission.decoder.weight.fill_(1.0)
        model.emission.decoder.bias.zero_()
        model.emission.noise = torch.tensor([noise])
        model.initial.centres.copy_(torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]))
        model.initial.log_widths.fill_(math.log(0.25))
        model.initial.logits.zero_()
    return model.requires_grad_(False)


def simulated(model: pl.LangevinModel, times: Tensor, n_series: int) -> pl.Observations:
    """Data of a directly observed model."""
    grid = pl.TimeGrid(times, max_step=model.max_step)
    path = pl.LangevinPath(model.dynamics, model.initial(), grid).sample(torch.Size([n_series]))
    z = path[:, grid.observed_index][..., : model.dynamics.position_dim]
    return pl.Observations(model.emission.distribution(z).sample(), times)


def draws_of(
    guide: object, observations: pl.Observations, landscape: Landscape, *, draws: int = 100, particles: int = 200
) -> dict[str, xr.Dataset]:
    """The groups that the verdicts on guides read, of one fit."""
    member = FittedMember(0, guide.model, guide)
    paths = draw_paths(member, observations, landscape, draws)
    smoothed = smooth_by_particles(guide, observations, particles=particles)
    weights = time_weights(observations)
    belongs = paths.state[..., None] == np.arange(landscape.n_states)
    fraction = (belongs * weights[..., None]).sum(-2) / weights.sum(-1)[:, None]
    found = xr.Dataset({"path": (("draw", "series", "state"), fraction)})
    stats = xr.Dataset({name: (("draw", "series"), getattr(paths, name)) for name in ("log_p", "log_q")})
    fit = {
        "occupancy": found.merge(particle_occupancy(smoothed, observations, landscape)),
        "sample_stats": stats.merge(particle_evidence(smoothed)),
        "states": xr.Dataset(
            {"minimum": (("state", "latent_dim"), landscape.minimum), "beta_energy": ("state", landscape.beta_energy)}
        ),
    }
    groups = {name: group.expand_dims("chain").assign_coords(chain=[0]) for name, group in fit.items()}
    labels = list("ABCDEFGH"[: landscape.n_states])
    named = {"series": observations.series_names, "state": labels}
    for name, group in groups.items():
        groups[name] = group.assign_coords({axis: at for axis, at in named.items() if axis in group.dims})
    return groups | data_groups(observations)
