"""Paths of every kind with drawn parameters, and a linear process whose path has a known law."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import OrnsteinUhlenbeck
from torch import Tensor
from torch.distributions import Independent

from pyro_langevin.dynamics import Overdamped, Scheme
from pyro_langevin.paths import GaussMarkovPath, LangevinPath, Messages, SteeredPath
from pyro_langevin.potentials import NeuralPotential, QuadraticPotential
from pyro_langevin.time_grid import TimeGrid

IRREGULAR = torch.tensor([0.3, 0.35, 1.0, 1.01, 2.6, 2.9], dtype=torch.float64)


def ornstein_uhlenbeck(dim: int) -> OrnsteinUhlenbeck:
    axes, start = torch.linalg.qr(torch.randn(dim, dim)).Q, torch.randn(dim, dim)
    return OrnsteinUhlenbeck(
        stiffness=(axes * torch.linspace(1.2, 0.4, dim)) @ axes.mT,
        centre=torch.randn(dim),
        friction=0.7,
        temperature=1.3,
        initial_mean=torch.randn(dim),
        initial_covariance=start @ start.mT + 0.2 * torch.eye(dim),
    )


def dynamics_of(process: OrnsteinUhlenbeck) -> Overdamped:
    potential = QuadraticPotential(process.dim, process.centre, stiffness=process.stiffness)
    return Overdamped(potential, friction=process.friction, temperature=process.temperature)


def initial_of(process: OrnsteinUhlenbeck) -> dist.MultivariateNormal:
    return dist.MultivariateNormal(process.initial_mean, process.initial_covariance)


def normal(dim: int, *batch: int) -> dist.Independent:
    return dist.Normal(0.3 * torch.randn(*batch, dim), 0.4 + torch.rand(*batch, dim)).to_event(1)


@torch.no_grad()
def neural(dim: int, *, friction: Tensor | None = None, scheme: Scheme | None = None) -> Overdamped:
    potential = NeuralPotential(dim, 8)
    potential.height.normal_()
    return Overdamped(potential, friction=friction, scheme=scheme)


def messages(dim: int, n_steps: int, *batch: int, columns: int | None = None) -> Messages:
    centre = torch.randn(n_steps, *batch, dim, requires_grad=True)
    root = (0.8 * torch.randn(n_steps, *batch, dim, dim if columns is None else columns)).requires_grad_()
    return Messages(centre, root)


def kind_of_path(kind: str, dim: int, times: Tensor | TimeGrid, *batch: int) -> LangevinPath | GaussMarkovPath:
    """A path of some kind with drawn parameters, of batch shape ``batch``."""
    grid = times if isinstance(times, TimeGrid) else TimeGrid(times)
    n_steps = grid.n_points - 1
    if kind == "prior":
        return LangevinPath(neural(dim), normal(dim, *batch), grid)
    if kind == "steered":
        return SteeredPath(neural(dim), normal(dim, *batch), grid, messages(dim, n_steps, *batch))
    mean = torch.randn(n_steps + 1, *batch, dim)
    memory, deviation = torch.rand(n_steps, *batch, dim), 0.3 + torch.rand(n_steps + 1, *batch, dim)
    return GaussMarkovPath(mean, memory, deviation, grid)


every_kind = pytest.mark.parametrize("kind", ["prior", "steered", "Gauss-Markov"])


def member(path: LangevinPath | GaussMarkovPath, times: Tensor, i: int, n: int) -> LangevinPath | GaussMarkovPath:
    """Series ``i`` of a batch by itself, its first ``n`` points."""
    if isinstance(path, GaussMarkovPath):
        parts = path.mean_path[:n, i], path.memory[: n - 1, i], path.deviation[:n, i]
        return GaussMarkovPath(*parts, TimeGrid(times))
    assert isinstance(path.initial, Independent)
    base = path.initial.base_dist
    first = dist.Normal(base.loc[i], base.scale[i]).to_event(1)
    if isinstance(path, SteeredPath):
        said = Messages(path.messages.centre[: n - 1, i], path.messages.root[: n - 1, i])
        return SteeredPath(path.source, first, times, said)
    return LangevinPath(path.source, first, times)
