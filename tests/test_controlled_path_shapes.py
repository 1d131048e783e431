"""Controlled paths in batches: shapes, padding, gradients, and what does not fit."""

from __future__ import annotations

import pytest
import torch
from drawn_controls import KINDS, Network, kind_of_path, member
from drawn_paths import IRREGULAR, neural, normal
from plain_loop import assert_gradients_of_the_plain_loop, tilt_by_itself

from pyro_langevin.dynamics import Overdamped, OverdampedDynamics
from pyro_langevin.paths import ControlledPath, Controls
from pyro_langevin.paths.control import ControlLaw
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


# --- shapes, padding, gradients


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(("sample", "batch"), [((), ()), ((4,), (3,)), ((5, 1), (2, 3))])
def test_shapes(kind: str, dim: int, sample: tuple[int, ...], batch: tuple[int, ...]) -> None:
    path = kind_of_path(kind, dim, TimeGrid(IRREGULAR), *batch)
    assert path.batch_shape == batch and path.event_shape == (6, dim)
    z = path.rsample(torch.Size(sample))
    assert z.shape == (*sample, *batch, 6, dim)
    assert path.log_prob(z).shape == path.kl_along(z).shape == (*sample, *batch)
    for wider in ((7, *batch), (2, 1, *batch)):
        expanded = path.expand(torch.Size(wider))
        assert isinstance(expanded, ControlledPath) and expanded.batch_shape == wider
        wide = expanded.rsample(torch.Size(sample))
        assert wide.shape == (*sample, *wider, 6, dim)
        torch.testing.assert_close(expanded.log_prob(wide), path.log_prob(wide))


@KINDS
@pytest.mark.parametrize("max_step", [None, 0.2])
def test_padded_equals_unpadded_and_series_have_their_own_times(kind: str, max_step: float | None) -> None:
    lengths = torch.tensor([6, 2, 4])
    times = torch.rand(3, 6).cumsum(-1) + 0.1
    grid = TimeGrid(times, lengths, max_step=max_step)
    path = kind_of_path(kind, 2, grid, 3)
    z = torch.randn(3, grid.n_points, 2)
    single = [TimeGrid(times[i, :n], max_step=max_step) for i, n in enumerate(lengths.tolist())]
    alone = [member(path, g.times, i, g.n_points) for i, g in enumerate(single)]
    wild = z.clone()
    for i, g in enumerate(single):
        wild[i, g.n_points :] = 1e3
    for quantity in ("log_prob", "kl_along"):
        expected = torch.stack([getattr(one, quantity)(z[i, : one.event_shape[0]]) for i, one in enumerate(alone)])
        torch.testing.assert_close(getattr(path, quantity)(z), expected)
        torch.testing.assert_close(getattr(path, quantity)(wild), expected)
    drawn = path.rsample(torch.Size([2]))
    for i, g in enumerate(single):
        rest = drawn[:, i, g.n_points - 1 :]
        assert torch.equal(rest, rest[:, :1].expand_as(rest))
        assert bool((drawn[:, i, : g.n_points].diff(dim=-2).abs().sum(-1) > 0).all())


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("sample", [(), (4,)])
def test_gradient_is_that_of_the_plain_loop_for_the_network_too(
    kind: str, dim: int, lengths: list[int] | None, sample: tuple[int, ...]
) -> None:
    times = torch.rand(3, 5).cumsum(-1) + 0.1
    grid = TimeGrid(times, None if lengths is None else torch.tensor(lengths), max_step=0.3)
    path = kind_of_path(kind, dim, grid, 3)
    dynamics = path.source
    assert isinstance(dynamics, Overdamped)
    controls, after, leaves = path.tilting, None, []
    if not isinstance(controls, Controls):
        after, controls = controls.first, controls.controls
        leaves = [after.centre, after.root]
    assert isinstance(controls.law, Network)
    leaves += [controls.position, controls.context, *controls.law.parameters()]
    needed = len(leaves)
    leaves += list(dynamics.parameters())
    first = path.initial
    assert_gradients_of_the_plain_loop(
        lambda: ControlledPath(dynamics, first, grid, controls, after=after),
        tilt_by_itself,
        leaves,
        used=needed,
        sample=sample,
    )


# --- errors


def test_controls_for_another_number_of_steps_are_refused() -> None:
    law: ControlLaw = Network(1, 5)
    for position, context in ((4, 5), (5, 6)):
        controls = Controls(law, torch.zeros(position, 2), torch.zeros(context, 3))
        with pytest.raises(ValueError, match=r"expected controls with a \w+ \(5, \*batch, n\), one a step"):
            ControlledPath(neural(1), normal(1), IRREGULAR, controls)


def test_dynamics_without_a_port_are_controlled_everywhere() -> None:
    assert isinstance(neural(2).read(), OverdampedDynamics)
    path = kind_of_path("additive", 2, TimeGrid(IRREGULAR))
    controls = path.tilting
    assert isinstance(controls, Controls) and controls.port is None
    z = torch.randn(6, 2)
    tilt = controls.padded(2).tilt(z[:-1], path.transitions(z), path.clock.steps)
    assert bool((tilt.shift != 0).all()) and bool((tilt.spread.diagonal(dim1=-2, dim2=-1) < 1).all())
