"""The guides: padding, grids, units, Pyro's bounds, and the evidence above them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from quadratic_evidence import assert_below_evidence, quadratic_model
from ragged_series import CHANNELS, LENGTHS, ragged, single
from shipped_guides import every_guide, prepared
from standard_errors import ALLOWED_ERRORS

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.guides.standard_values import interpolated
from pyro_langevin.model import at_observations

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_guide
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("particles", [1, 3])
def test_guides_run_in_pyros_bounds_and_everything_is_trained(
    guide_class: type[AmortisedGuide], dim: int, elbo: Callable[..., Trace_ELBO], particles: int
) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, dim=dim, max_step=0.4)
    estimator = elbo(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    loss = estimator.differentiable_loss(model, guide, data, 10)
    loss.backward()
    assert bool(loss.isfinite())
    held = {"dynamics.potential.reference.skew"} if dim == 1 else set()
    for module in (model, guide):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert name in held or bool((parameter.grad != 0).any()), name


@every_guide
def test_particles_are_independent_and_agree_with_one_at_a_time(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data)
    with torch.no_grad():
        together = torch.tensor(
            [Trace_ELBO(num_particles=20, vectorize_particles=True).loss(model, guide, data) for _ in range(10)]
        )
        alone = torch.tensor([Trace_ELBO().loss(model, guide, data) for _ in range(150)])
    error = math.sqrt(together.var() / 10 + alone.var() / 150)
    assert abs((together.mean() - alone.mean()).item()) < ALLOWED_ERRORS * error
    assert together.std() < alone.std()


@every_guide
def test_both_bounds_agree_on_average(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data)
    with torch.no_grad():
        plain = torch.tensor(
            [Trace_ELBO(num_particles=40, vectorize_particles=True).loss(model, guide, data) for _ in range(20)]
        )
    analytic = torch.tensor(
        [TraceMeanField_ELBO(num_particles=40, vectorize_particles=True).loss(model, guide, data) for _ in range(20)]
    )
    error = math.sqrt((plain.var() + analytic.var()) / 20)
    assert abs((plain.mean() - analytic.mean()).item()) < ALLOWED_ERRORS * error


@every_guide
def test_a_guide_holds_the_model_without_owning_its_parameters(guide_class: type[AmortisedGuide]) -> None:
    model, guide = prepared(guide_class, ragged())
    assert guide.model is model
    own = {id(parameter) for parameter in guide.parameters()}
    assert own and not own & {id(parameter) for parameter in model.parameters()}
    assert not any(name.startswith(("model", "_model")) for name in guide.state_dict())


@every_guide
@pytest.mark.parametrize("max_step", [None, 0.3])
def test_a_guide_does_not_see_padding(guide_class: type[AmortisedGuide], max_step: float | None) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, dim=2, max_step=max_step)
    z = torch.randn(len(LENGTHS), model.grid(data).n_points, 2)
    together = guide.path(data).log_prob(z)
    for i in range(len(LENGTHS)):
        alone = single(data, i)
        own = z[i, None, : model.grid(alone).n_points]
        torch.testing.assert_close(together[i, None], guide.path(alone).log_prob(own))


@every_guide
def test_one_guide_is_read_on_any_grid(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, dim=2)
    coarse_grid, coarse = model.grid(data), guide.path(data)
    model.max_step = 0.05
    fine_grid, fine = model.grid(data), guide.path(data)
    assert fine.event_shape[0] == fine_grid.n_points > coarse.event_shape[0]
    if isinstance(coarse, pl.GaussMarkovPath) and isinstance(fine, pl.GaussMarkovPath):
        at_ends = at_observations(fine.mean_path.movedim(0, 1), fine_grid)
        torch.testing.assert_close(at_ends, coarse.mean_path.movedim(0, 1))
    if isinstance(coarse, pl.SteeredPath) and isinstance(fine, pl.SteeredPath):
        ends = fine_grid.observed_index[0, 1:] - 1
        torch.testing.assert_close(fine.messages.centre[ends, 0], coarse.messages.centre[:, 0])
        torch.testing.assert_close(fine.messages.root[ends, 0], coarse.messages.root[:, 0])
    assert coarse_grid.n_points == max(LENGTHS)


@every_guide
def test_a_guide_starts_near_the_data(guide_class: type[AmortisedGuide]) -> None:
    states = torch.randn(20, 1, 1).sign() * 2.0 + 0.05 * torch.randn(20, 30, 1)
    data = pl.Observations(states @ torch.tensor([[1.0, -3.0, 0.5]]) + 4.0)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 3))
    guide = guide_class(model, pl.RecurrentEncoder(3))
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        z = guide.path(data).rsample(torch.Size([50])).mean(0)
        error = (model.emission.mean(z) - data.values).square().mean((0, 1)).sqrt()
    assert bool((error < 0.35 * data.values.flatten(0, 1).std(0)).all()), error


@pytest.mark.parametrize("dim", [1, 2])
def test_messages_are_given_in_units_of_the_free_diffusion(dim: int) -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, dim=dim, max_step=0.2)
    grid = model.grid(data)
    gaps = data.times.diff(dim=-1)
    before = guide.path(data)
    assert isinstance(before, pl.SteeredPath)
    outputs = guide.outputs(data, grid)
    for i, step in ((0, 0), (1, 3), (3, 7)):
        gap = gaps[i, grid.interval[i, step]]
        expected = outputs.root[step, i] / (2.0 * model.dynamics.diffusion * gap).sqrt()
        torch.testing.assert_close(before.messages.root[step, i], expected)
    model.dynamics.initialise(4.0 * model.dynamics.diffusion.item())
    after = guide.path(data)
    assert isinstance(after, pl.SteeredPath)
    torch.testing.assert_close(after.messages.root, 0.5 * before.messages.root)
    torch.testing.assert_close(after.messages.centre, before.messages.centre)


def test_noise_of_the_gauss_markov_guide_follows_the_priors() -> None:
    data = ragged()
    model, guide = prepared(pl.GaussMarkovGuide, data, max_step=0.2)
    before = guide.path(data)
    assert isinstance(before, pl.GaussMarkovPath)
    slopes = torch.autograd.grad(before.deviation[1:].log().sum(), list(model.dynamics.parameters()), allow_unused=True)
    steps_not_padding = before.deviation[1:].numel()
    names = [name for name, _ in model.dynamics.named_parameters()]
    friction = slopes[names.index("friction_unconstrained")]
    assert friction is not None and friction.item() == pytest.approx(-0.5 * steps_not_padding)
    model.dynamics.initialise(4.0 * model.dynamics.diffusion.item())
    after = guide.path(data)
    assert isinstance(after, pl.GaussMarkovPath)
    torch.testing.assert_close(after.deviation[1:], 2.0 * before.deviation[1:])
    torch.testing.assert_close(after.memory, before.memory)


def test_what_the_head_says_at_and_between_observations() -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, dim=2, max_step=0.2)
    grid = model.grid(data)
    said = guide.outputs(data, grid)
    assert bool(((said.memory > 0) & (said.memory < 1)).all())
    torch.testing.assert_close(said.root, said.root.tril())
    shift, scale = guide.encoder.shift, guide.encoder.scale
    target = guide.head.direct(interpolated(data, shift, scale)) + guide.head.place(guide.encoder(data))
    for i, n in enumerate(LENGTHS):
        ends = grid.observed_index[i, 1:n] - 1
        torch.testing.assert_close(said.centre[ends, i], target[i, 1:n])
    with torch.no_grad():  # before training: silent between observations, outspoken at them
        guide.head.output.weight.zero_()
        guide.head.output.bias.zero_()
    plain = guide.outputs(data, grid)
    strength = plain.root.diagonal(dim1=-2, dim2=-1).movedim(1, 0)
    ends = grid.fraction == 1.0
    share = data.mask.double().mean(-1)[:, 1:].gather(1, grid.interval)
    whole, nothing = (ends & (share == 1.0)), (~ends | (share == 0.0))
    assert bool((ends & nothing).any())
    assert float(strength[whole].min().detach()) > 4.0 * float(strength[nothing].max().detach())
    fraction = grid.fraction[0, 0]
    first, second = target[0, 0], target[0, 1]
    torch.testing.assert_close(plain.centre[0, 0], first + fraction * (second - first))


def test_guides_that_share_an_encoder_train_the_same_one() -> None:
    data = ragged()
    model, first = prepared(pl.GaussMarkovGuide, data)
    second = pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    second.share(first)
    assert {id(parameter) for parameter in second.parameters()} == {id(p) for p in first.parameters()}
    assert bool(second.path(data).rsample().isfinite().all())


@every_guide
@pytest.mark.parametrize("max_step", [None, 0.25])
def test_no_guides_bound_exceeds_the_evidence(guide_class: type[AmortisedGuide], max_step: float | None) -> None:
    data = ragged()
    model, evidence = quadratic_model(data, max_step=max_step)
    guide = guide_class(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    assert_below_evidence(guide, data, evidence, draws=120)
