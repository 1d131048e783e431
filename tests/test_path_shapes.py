"""Paths in batches: shapes, padding, inner points, and what does not fit."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from drawn_paths import (
    IRREGULAR,
    dynamics_of,
    every_kind,
    initial_of,
    kind_of_path,
    member,
    messages,
    neural,
    normal,
    ornstein_uhlenbeck,
)
from pyro.nn import PyroParam
from torch.distributions import Distribution, constraints

from pyro_langevin.dynamics import Overdamped
from pyro_langevin.paths import LangevinPath, SteeredPath
from pyro_langevin.potentials import Potential, QuadraticPotential
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_kind
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("sample", [(), (4,), (5, 1)])
def test_shapes(kind: str, dim: int, batch: tuple[int, ...], sample: tuple[int, ...]) -> None:
    path = kind_of_path(kind, dim, IRREGULAR, *batch)
    assert path.batch_shape == batch and path.event_shape == (len(IRREGULAR), dim)
    z = path.rsample(torch.Size(sample))
    assert z.shape == (*sample, *batch, len(IRREGULAR), dim)
    assert path.log_prob(z).shape == (*sample, *batch)
    for wider in ((7, *batch), (2, 1, *batch)):
        expanded = path.expand(torch.Size(wider))
        assert expanded.batch_shape == wider and expanded.event_shape == path.event_shape
        wide = expanded.rsample(torch.Size(sample))
        assert wide.shape == (*sample, *wider, len(IRREGULAR), dim)
        torch.testing.assert_close(expanded.log_prob(wide), path.log_prob(wide))
    if not batch and not sample:
        assert path.expand_by([6]).rsample().shape == (6, len(IRREGULAR), dim)


@every_kind
def test_batched_density_is_that_of_each_member(kind: str) -> None:
    grid = TimeGrid(torch.rand(3, 5).cumsum(-1) + 0.1)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(4, 3, 5, 2)
    together = path.log_prob(z)
    for i in range(3):
        alone = member(path, grid.times[i], i, 5)
        torch.testing.assert_close(together[:, i], alone.log_prob(z[:, i]))


@every_kind
@pytest.mark.parametrize("max_step", [None, 0.2])
def test_padded_equals_unpadded(kind: str, max_step: float | None) -> None:
    lengths = torch.tensor([6, 2, 4])
    times = torch.rand(3, 6).cumsum(-1) + 0.1
    grid = TimeGrid(times, lengths, max_step=max_step)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(3, grid.n_points, 2)
    single = [TimeGrid(times[i, :n], max_step=max_step) for i, n in enumerate(lengths.tolist())]
    expected = torch.stack(
        [member(path, g.times, i, g.n_points).log_prob(z[i, : g.n_points]) for i, g in enumerate(single)]
    )
    torch.testing.assert_close(path.log_prob(z), expected)
    wild = z.clone().requires_grad_()
    with torch.no_grad():
        for i, g in enumerate(single):
            wild[i, g.n_points :] = 1e3
    (slope,) = torch.autograd.grad(path.log_prob(wild).sum(), wild)
    torch.testing.assert_close(path.log_prob(wild), expected)
    if isinstance(path, SteeredPath):
        along = torch.stack(
            [
                alone.kl_along(z[i, : g.n_points])
                for i, g in enumerate(single)
                if isinstance(alone := member(path, g.times, i, g.n_points), SteeredPath)
            ]
        )
        torch.testing.assert_close(path.kl_along(wild), along)
    drawn = path.rsample(torch.Size([2]))
    for i, g in enumerate(single):
        assert bool((slope[i, g.n_points :] == 0).all()) and bool(slope[i].isfinite().all())
        rest = drawn[:, i, g.n_points - 1 :]
        assert torch.equal(rest, rest[:, :1].expand_as(rest))
        moving = drawn[:, i, : g.n_points].diff(dim=-2).abs().sum(-1)
        assert bool((moving > 0).all())


@pytest.mark.parametrize("steered", [False, True])
def test_every_series_has_a_first_state_of_its_own(steered: bool) -> None:
    grid = TimeGrid(torch.rand(4, 5).cumsum(-1) + 0.1)
    path = LangevinPath(neural(2), normal(2), grid)  # one law of the first state, four series of other times
    if steered:
        path = SteeredPath(neural(2), normal(2), grid, messages(2, 4, 4))
    first = path.rsample(torch.Size([3]))[..., 0, :]
    assert first.shape == (3, 4, 2) and len(first.flatten(0, 1).unique(dim=0)) == 12


def test_inner_points_are_part_of_the_path() -> None:
    process = ornstein_uhlenbeck(1)
    grid = TimeGrid(IRREGULAR, max_step=0.1)
    path = LangevinPath(dynamics_of(process), initial_of(process), grid)
    z = torch.randn(3, grid.n_points, 1)
    expected = process.path_law(grid.times).log_prob(z.flatten(1))
    torch.testing.assert_close(path.log_prob(z), expected, rtol=1e-9, atol=1e-9)


def test_parameters_are_read_once() -> None:
    dynamics = Overdamped(QuadraticPotential(1, stiffness=torch.nn.Parameter(torch.tensor(1.0))))
    path = LangevinPath(dynamics, normal(1), IRREGULAR)
    z = torch.randn(len(IRREGULAR), 1)
    before = path.log_prob(z)
    with torch.no_grad():
        dynamics.potential.stiffness.fill_(5.0)
        dynamics.initialise(9.0)
    torch.testing.assert_close(path.log_prob(z), before, rtol=0, atol=0)


@pytest.mark.parametrize("first", [dist.Normal(0.0, 1.0), dist.Normal(torch.zeros(3), 1.0).to_event(1)])
def test_an_initial_law_of_another_shape_is_refused(first: Distribution) -> None:
    with pytest.raises(ValueError, match=r"initial distribution of event shape \(2,\), got .*to_event\(1\)"):
        LangevinPath(neural(2), first, IRREGULAR)


@every_kind
def test_a_value_of_another_shape_is_refused(kind: str) -> None:
    path = kind_of_path(kind, 2, IRREGULAR)
    with pytest.raises(ValueError, match="event_shape"):
        path.log_prob(torch.randn(len(IRREGULAR) + 1, 2))


def test_times_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        LangevinPath(neural(1), normal(1), torch.tensor([0.0, 1.0, 1.0]))


def test_a_learned_friction_gets_a_gradient_through_a_path() -> None:
    friction = PyroParam(torch.tensor(0.8), constraint=constraints.positive)
    potential: Potential = QuadraticPotential(1)
    dynamics = Overdamped(potential, friction=friction)
    z = LangevinPath(dynamics, normal(1), IRREGULAR).rsample(torch.Size([3]))
    z.square().sum().backward()
    slope = dynamics.friction_unconstrained.grad
    assert slope is not None and float(slope.abs()) > 0
