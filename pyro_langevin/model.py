"""A Langevin path observed through an emission: the model most users want."""

from __future__ import annotations

import pyro
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor

from pyro_langevin.dynamics import ItoDiffusion, Overdamped, Underdamped
from pyro_langevin.emissions import Emission
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.observations import Observations
from pyro_langevin.paths import LangevinPath
from pyro_langevin.time_grid import TimeGrid


class LangevinModel(PyroModule):
    """Pyro model: independent series, each a Langevin path ``z`` whose position is seen through an emission ``y``.

    Args:
        dynamics: Prior dynamics, with a learned potential or another drift.
        emission: Distribution of the observations given the states at their times.
        initial: Callable that gives the distribution of a first state; a learned Gaussian mixture of positions,
            with momenta (where there are any) in equilibrium, when omitted.
        max_step: Largest inner step in the data's time unit. When omitted, :func:`~pyro_langevin.fit` chooses
            it from the stiffness of the learned wells, and before that there is one step per observation.

    Attributes:
        adapts_step: Whether ``max_step`` is left to :func:`~pyro_langevin.fit`.
        annealing: Factor on the path's terms of the ELBO, raised from near 0 to 1 early in training.
    """

    def __init__(
        self,
        dynamics: Overdamped | Underdamped | ItoDiffusion,
        emission: Emission,
        *,
        initial: MixtureInitial | None = None,
        max_step: float | None = None,
    ) -> None:
        super().__init__()
        if dynamics.position_dim != emission.latent_dim:
            raise ValueError(
                f"LangevinModel: the dynamics have dimension {dynamics.position_dim}, the emission expects latent_dim "
                f"{emission.latent_dim}; build both with the same dimension"
            )
        self.dynamics, self.emission = dynamics, emission
        if initial is None:
            initial = MixtureInitial(dynamics.position_dim, momentum_deviation=dynamics.momentum_deviation)
        self.initial = initial
        self.max_step = max_step
        self.adapts_step = max_step is None
        self.annealing = 1.0

    @property
    def has_momenta(self) -> bool:
        """Whether the state is more than the position."""
        return self.dynamics.dim > self.dynamics.position_dim

    def initialise(self, observations: Observations) -> Tensor:
        """Start emission, dynamics and first state from the data.

        Returns:
            Map ``(latent_dim, obs_dim)`` from centred values to latent scores, for the guide's start.
        """
        self.emission.check(observations)
        scores = self.emission.initialise(observations)
        points = self.emission.latent_points(observations)
        self.dynamics.initialise(_diffusion_scale(observations, scores), points)
        self.initial.initialise(points)
        return scores

    def grid(self, observations: Observations) -> TimeGrid:
        """The times that a path of these observations lives on."""
        return TimeGrid.from_observations(observations, max_step=self.max_step)

    def forward(self, observations: Observations, n_series: int | None = None) -> Tensor:
        """The generative program.

        Args:
            observations: A batch of series.
            n_series: Number of series that the batch stands for; its ELBO is scaled to it.

        Returns:
            States at the observation times, ``(*particles, series, time, dim)``; positions come first.
        """
        grid = self.grid(observations)
        path = LangevinPath(self.dynamics, self.initial(), grid)  # sampled parameters are shared by all series
        with series_plate(observations, n_series):
            with poutine.scale(scale=self.annealing):
                z = pyro.sample("z", path)
            states = at_observations(z, grid)
            self.emission.observe(states[..., : self.dynamics.position_dim], observations)
        return states


def series_plate(observations: Observations, n_series: int | None) -> pyro.plate:
    """The plate over series, scaled to ``n_series`` when the batch is a subsample."""
    size = observations.n_series
    indices = torch.arange(size, device=observations.values.device)
    return pyro.plate("series", size if n_series is None else n_series, subsample=indices, dim=-1)


def at_observations(z: Tensor, grid: TimeGrid) -> Tensor:
    """States of paths ``(*particles, series, point, dim)`` at the observation times."""
    index = grid.observed_index.to(z.device)
    if bool((index == index[:1]).all()):
        return z.index_select(-2, index[0])
    return z.gather(-2, index.unsqueeze(-1).expand(*z.shape[:-2], index.shape[-1], z.shape[-1]))


def _diffusion_scale(observations: Observations, scores: Tensor) -> float:
    """Where the diffusion may start: a third of the latent variance per gap, less where neighbours hardly differ."""
    gap = observations.typical_gap
    both = (observations.mask[:, 1:] & observations.mask[:, :-1]).all(-1)
    moves = (observations.values.diff(dim=1) @ scores.mT).square().mean(-1)
    inside = observations.times.diff(dim=-1) < 1.5 * gap
    seen = moves[both & inside]
    if len(seen) == 0:
        return 0.3 / gap
    return min(0.3, 1.8 * float(seen.mean())) / gap
