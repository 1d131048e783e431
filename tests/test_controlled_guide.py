"""The controlled guide: what a step sees, and what it starts from."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from controlled_guides import KINDS, every_kind, model_for, prepared
from ragged_series import CHANNELS, LENGTHS, ragged, single

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@pytest.mark.parametrize("max_step", [None, 0.11])
@pytest.mark.parametrize("kind", ["filtering", "smoothing", "two-sided"])
def test_filtering_never_looks_ahead(kind: str, max_step: float | None) -> None:
    data = pl.Observations(torch.randn(3, 8, CHANNELS), 0.3 * torch.arange(8.0) + 0.1 * torch.rand(8))
    model, guide = prepared(kind, data, dim=2, max_step=max_step)
    points = model.grid(data).observed_index[0]
    place = 5
    values, times = data.values.clone(), data.times.clone()
    values[:, place:] = torch.randn(3, 3, CHANNELS)
    paths = []
    for seen in (data.values, values):
        pyro.set_rng_seed(3)
        with torch.no_grad():
            paths.append(guide.path(pl.Observations(seen, times)).rsample(torch.Size([4])))
    same = (paths[0] == paths[1]).all(-1).all(0).all(0)
    until = int(points[place]) + 1  # the observation's own time included: it is where its interval begins
    if kind == "filtering":
        assert bool(same[:until].all()) and not bool(same[until:].any())
        density = [guide.path(pl.Observations(seen, times)).log_prob(paths[0]) for seen in (data.values, values)]
        assert not torch.equal(*density)
    else:
        assert not bool(same[1:].any())
        assert bool(same[0].all()) is False


def test_smoothing_sees_only_what_is_to_come() -> None:
    data = pl.Observations(torch.randn(3, 8, CHANNELS), 0.3 * torch.arange(8.0))
    _, guide = prepared("smoothing", data, max_step=0.11)
    controls = []
    for shift in (0.0, 1.0):
        values = data.values.clone()
        values[:, :4] += shift
        tilting = guide.path(pl.Observations(values, data.times)).tilting
        assert isinstance(tilting, pl.Controls)
        controls.append(tilting.context)
    later = 3 * 3  # steps into observations 1 to 3 see those; the step after observation 3 is bound for observation 4
    assert torch.equal(controls[0][later:], controls[1][later:])
    assert bool((controls[0][:later] != controls[1][:later]).any(-1).all())


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("kind", ["two-sided", "smoothing", "filtering"])
def test_before_training_it_is_the_prior(kind: str, dim: int) -> None:
    data = ragged()
    model, guide = prepared(kind, data, dim=dim, max_step=0.2, speaks=False)
    path = guide.path(data)
    z = path.rsample()
    assert bool((path.kl_along(z) == 0).all())
    prior = pl.LangevinPath(model.dynamics, path.initial, model.grid(data))
    torch.testing.assert_close(path.log_prob(z), prior.log_prob(z))


@pytest.mark.parametrize("dim", [1, 2])
def test_a_residual_control_starts_as_its_base(dim: int) -> None:
    data = ragged()
    model, guide = prepared("residual", data, dim=dim, max_step=0.2, speaks=False)
    assert guide.base is not None
    base, z = guide.base.path(data), torch.randn(4, model.grid(data).n_points, dim)
    torch.testing.assert_close(guide.path(data).log_prob(z), base.log_prob(z))
    torch.testing.assert_close(guide.path(data).kl_along(z), base.kl_along(z))
    with torch.no_grad():
        for parameter in guide.control.parameters():  # type: ignore[attr-defined]
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert bool((guide.path(data).log_prob(z) - base.log_prob(z)).abs().min() > 1e-6)


def test_the_first_state_starts_at_the_first_observation() -> None:
    states = torch.randn(200, 6, 1)
    data = pl.Observations(states @ torch.tensor([[1.0, -3.0]]) + 4.0)
    model = model_for(data)
    guide = KINDS["smoothing"](model)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        first = guide.path(data).initial.mean
        assert bool(((model.emission.mean(first) - data.values[:, 0]).abs() < 0.3).all())


def test_the_default_network_is_bounded() -> None:
    network = pl.ControlNetwork(2, 5, push_dim=2, noise_dim=2, bound=3.0)
    network.initialise(0.25)
    z, position, context = 1e3 * torch.randn(50, 2), torch.randn(50, 2), torch.randn(50, 3)
    start = network(z, position, context)
    assert bool((start.push == 0).all()) and bool((start.multiplier == 1).all())
    with torch.no_grad():
        network.output.weight.normal_(std=30.0)
    found = network(z, position, context)
    torch.testing.assert_close(found.push.abs().max(), torch.tensor(3.0 / math.sqrt(0.25)))
    torch.testing.assert_close(found.multiplier.max(), torch.tensor(2.0))
    torch.testing.assert_close(found.multiplier.min(), torch.tensor(1e-3))
    assert pl.Absolute().unit(torch.tensor(0.25)).item() == 4.0


@every_kind
@pytest.mark.parametrize("max_step", [None, 0.3])
def test_it_does_not_see_padding(kind: str, max_step: float | None) -> None:
    data = ragged()
    model, guide = prepared(kind, data, dim=2, max_step=max_step)
    z = torch.randn(len(LENGTHS), model.grid(data).n_points, 2)
    together, along = guide.path(data).log_prob(z), guide.path(data).kl_along(z)
    for i in range(len(LENGTHS)):
        alone = single(data, i)
        own, path = z[i, None, : model.grid(alone).n_points], guide.path(alone)
        torch.testing.assert_close(together[i, None], path.log_prob(own))
        torch.testing.assert_close(along[i, None], path.kl_along(own))


def test_guides_that_share_an_encoder_train_the_same_one() -> None:
    data = ragged()
    model, guide = prepared("two-sided", data)
    steered = pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    guide.share(steered)
    assert guide.encoder is steered.encoder
    steered.share(guide)
    assert bool(guide.path(data).rsample().isfinite().all()) and bool(steered.path(data).rsample().isfinite().all())
