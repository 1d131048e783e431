"""The steered path against its prior: silent and loud messages, gradients, divergence."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from drawn_paths import IRREGULAR, kind_of_path, messages, neural, normal
from plain_loop import assert_gradients_of_the_plain_loop, tilt_by_messages
from standard_errors import ALLOWED_ERRORS

from pyro_langevin.paths import LangevinPath, Messages, SteeredPath
from pyro_langevin.time_grid import TimeGrid

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_silent_messages_are_the_prior(dim: int) -> None:
    dynamics, first, n_steps = neural(dim), normal(dim, 3), len(IRREGULAR) - 1
    silent = Messages(100.0 * torch.randn(n_steps, 3, dim), torch.zeros(n_steps, 3, dim, dim))
    prior, path = LangevinPath(dynamics, first, IRREGULAR), SteeredPath(dynamics, first, IRREGULAR, silent)
    pyro.set_rng_seed(1)
    drawn = prior.rsample()
    pyro.set_rng_seed(1)
    steered = path.rsample()
    torch.testing.assert_close(steered, drawn)
    torch.testing.assert_close(path.log_prob(drawn), prior.log_prob(drawn))
    torch.testing.assert_close(path.kl_along(steered), torch.zeros(3), rtol=0, atol=1e-12)


def test_deafening_messages_are_obeyed() -> None:
    target = torch.randn(len(IRREGULAR) - 1, 2)
    said = Messages(target, 1e5 * torch.eye(2).expand(len(target), 2, 2))
    z = SteeredPath(neural(2), normal(2), IRREGULAR, said).rsample(torch.Size([3]))
    torch.testing.assert_close(z[:, 1:], target.expand(3, -1, -1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("sample", [(), (4,)])
def test_gradient_of_sample_and_divergence_is_that_of_the_plain_loop(
    dim: int, lengths: list[int] | None, sample: tuple[int, ...]
) -> None:
    times = torch.rand(3, 5).cumsum(-1) + 0.1
    grid = TimeGrid(times, None if lengths is None else torch.tensor(lengths), max_step=0.3)
    dynamics = neural(dim)
    loc, scale = torch.randn(3, dim, requires_grad=True), torch.rand(3, dim).add(0.3).requires_grad_()
    said = messages(dim, grid.n_points - 1, 3)
    leaves = [loc, scale, said.centre, said.root, *dynamics.parameters()]
    assert_gradients_of_the_plain_loop(
        lambda: SteeredPath(dynamics, dist.Normal(loc, scale).to_event(1), grid, said),
        tilt_by_messages,
        leaves,
        used=4,  # first state, messages
        sample=sample,
    )


@pytest.mark.parametrize("dim", [1, 2])
def test_divergence_agrees_with_the_mean_log_density_ratio(dim: int) -> None:
    dynamics, first = neural(dim), normal(dim)
    drawn = messages(dim, len(IRREGULAR) - 1)
    said = Messages(drawn.centre, 0.4 * drawn.root)
    path, prior = SteeredPath(dynamics, first, IRREGULAR, said), LangevinPath(dynamics, first, IRREGULAR)
    z = path.rsample(torch.Size([4000]))
    along = path.kl_along(z).detach()
    with torch.no_grad():
        ratio = path.log_prob(z) - prior.log_prob(z)
        difference = along - ratio
        assert float(difference.mean().abs()) < ALLOWED_ERRORS * float(difference.std()) / math.sqrt(len(z))
        assert float(along.mean()) > ALLOWED_ERRORS * float(along.std()) / math.sqrt(len(z))
        # while only the ratio is one whose exponential averages to one
        weight = (-ratio).exp()
        assert float((weight.mean() - 1.0).abs()) < ALLOWED_ERRORS * float(weight.std()) / math.sqrt(len(z))


def test_divergence_along_another_path_than_the_last_sample() -> None:
    path = kind_of_path("steered", 2, IRREGULAR)
    assert isinstance(path, SteeredPath)
    fresh = SteeredPath(path.source, path.initial, IRREGULAR, path.messages)
    z = torch.randn(len(IRREGULAR), 2)
    expected = fresh.kl_along(z)
    path.rsample()
    torch.testing.assert_close(path.kl_along(z), expected)


def test_no_graph_is_built_where_none_is_wanted() -> None:
    path = kind_of_path("steered", 2, IRREGULAR)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            z = path.rsample(torch.Size([2]))
            assert not z.requires_grad
            assert path.log_prob(z).isfinite().all()
            with pytest.raises(RuntimeError, match="not a log density ratio.*take posterior.log_prob"):
                path.kl_along(z)
