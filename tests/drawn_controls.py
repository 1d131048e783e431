"""Controlled paths of every kind with drawn parameters."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from drawn_paths import messages, neural, normal
from torch import Tensor, nn

from pyro_langevin.dynamics import EulerMaruyama, LocalLinearization
from pyro_langevin.paths import Absolute, Additive, Control, ControlledPath, Controls, Messages
from pyro_langevin.paths.parametrisation import Parametrisation
from pyro_langevin.time_grid import TimeGrid

SCHEMES = pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization()], ids=["Euler", "linearised"])


class Network(nn.Module):
    """A small control network that says something from the start."""

    def __init__(self, dim: int, told: int, width: int | None = None, noise: int | None = None) -> None:
        super().__init__()
        self.sizes = [dim if width is None else width, dim if noise is None else noise]
        self.inner, self.outer = nn.Linear(dim + told, 7), nn.Linear(7, sum(self.sizes))

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> Control:
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in (z, position, context)))
        parts = torch.cat([part.expand(*shape, part.shape[-1]) for part in (z, position, context)], -1)
        push, damping = self.outer(self.inner(parts).tanh()).split(self.sizes, -1)
        return Control(push, (-0.5 * damping.square()).exp())


def drawn_controls(dim: int, n_steps: int, *batch: int, parametrisation: Parametrisation = Additive()) -> Controls:
    position, context = torch.randn(n_steps, *batch, 2), torch.randn(n_steps, *batch, 3)
    return Controls(Network(dim, 5), position.requires_grad_(), context.requires_grad_(), parametrisation)


KINDS = pytest.mark.parametrize("kind", ["additive", "absolute", "residual"])


def kind_of_path(kind: str, dim: int, grid: TimeGrid, *batch: int) -> ControlledPath:
    n_steps = grid.n_points - 1
    controls = drawn_controls(
        dim, n_steps, *batch, parametrisation=Absolute() if kind == "absolute" else Additive()
    )
    after = messages(dim, n_steps, *batch) if kind == "residual" else None
    return ControlledPath(neural(dim), normal(dim, *batch), grid, controls, after=after)


def member(path: ControlledPath, times: Tensor, i: int, n: int) -> ControlledPath:
    """Series ``i`` of a batch by itself, its first ``n`` points."""
    base = path.initial.base_dist
    first = dist.Normal(base.loc[i], base.scale[i]).to_event(1)
    tilting, after = path.tilting, None
    if not isinstance(tilting, Controls):
        said = tilting.first
        after = Messages(said.centre[: n - 1, i], said.root[: n - 1, i])
        tilting = tilting.controls
    told = tilting.position[: n - 1, i], tilting.context[: n - 1, i]
    return ControlledPath(path.source, first, times, Controls(tilting.law, *told, tilting.parametrisation), after=after)
