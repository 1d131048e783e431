"""Encoder, emission, model and guides: padding, masks, Pyro's bounds, and the errors a user may meet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam  # type: ignore[attr-defined]
from standard_errors import ALLOWED_ERRORS
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import at_observations

LENGTHS, CHANNELS = (7, 3, 5, 7), 2
GUIDES: list[type[AmortisedGuide]] = [pl.SteeredGuide, pl.GaussMarkovGuide]
every_guide = pytest.mark.parametrize("guide_class", GUIDES)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def ragged() -> pl.Observations:
    """Four series of different lengths on irregular times, a quarter of the values missing."""
    values = [torch.randn(n, CHANNELS).cumsum(0) for n in LENGTHS]
    masks = [torch.rand(n, CHANNELS) < 0.75 for n in LENGTHS]
    for mask in masks:
        mask[0] = True
    times = [5.0 + (0.1 + torch.rand(n)).cumsum(0) for n in LENGTHS]
    return pl.Observations(values, times, mask=masks)


def single(data: pl.Observations, i: int) -> pl.Observations:
    n = int(data.lengths[i])
    parts = (part[i, None, :n] for part in (data.values, data.times, data.mask))
    values, times, mask = parts
    return pl.Observations(values, times, mask=mask)


def prepared(
    guide_class: type[AmortisedGuide], data: pl.Observations, *, dim: int = 1, max_step: float | None = None
) -> tuple[pl.LangevinModel, AmortisedGuide]:
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(dim, 8)), pl.GaussianEmission(dim, data.obs_dim), max_step=max_step
    )
    guide = guide_class(model, pl.RecurrentEncoder(data.obs_dim, 6), hidden=10)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        model.dynamics.potential.height.normal_()
        for parameter in guide.head.parameters():  # a guide that says something of its own
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, guide


def nodes_of(program: Callable[..., object], *args: object) -> dict[str, Any]:
    """The sites of one run of a program, their densities computed."""
    trace = poutine.trace(program).get_trace(*args)
    trace.compute_log_prob()
    return dict(trace.nodes)


def log_density(program: Callable[..., object], *args: object) -> Tensor:
    return torch.as_tensor(poutine.trace(program).get_trace(*args).log_prob_sum())


# --- encoder


def test_encoder_does_not_see_padding() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    context = encoder(data)
    assert context.shape == (len(LENGTHS), max(LENGTHS), encoder.context_dim)
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(context[i, :n], encoder(single(data, i))[0])
    shorter = data.select([1, 2])  # all padded: no series has the full length
    torch.testing.assert_close(encoder(shorter)[0, : LENGTHS[1]], context[1, : LENGTHS[1]])


def test_encoder_tells_missing_from_zero_and_looks_both_ways() -> None:
    values = torch.randn(1, 6, 1)
    values[0, 3] = 0.0
    mask = torch.ones(1, 6, 1, dtype=torch.bool)
    mask[0, 3] = False
    encoder = pl.RecurrentEncoder(1, 5)
    seen, missing = encoder(pl.Observations(values)), encoder(pl.Observations(values, mask=mask))
    assert bool(((seen - missing).abs().sum(-1) > 1e-6).all())


def test_encoder_standardises_what_is_observed() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    for channel in range(CHANNELS):
        seen = data.values[..., channel][data.mask[..., channel]]
        torch.testing.assert_close(encoder.shift[channel], seen.mean())
        torch.testing.assert_close(encoder.scale[channel], seen.std(correction=0))


def test_encoder_is_blind_to_units() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    expected = encoder(data)
    scaled = pl.Observations(
        [60.0 * data.values[i, :n] - 7.0 for i, n in enumerate(LENGTHS)],
        [1000.0 * data.times[i, :n] for i, n in enumerate(LENGTHS)],
        mask=[data.mask[i, :n] for i, n in enumerate(LENGTHS)],
    )
    encoder.initialise(scaled)
    found = encoder(scaled)
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(found[i, :n], expected[i, :n])


# --- emission


def test_log_likelihood_is_that_of_masked_normals() -> None:
    emission = pl.GaussianEmission(3, CHANNELS)
    emission.noise = torch.tensor([0.3, 2.0])
    data = ragged()
    z = torch.randn(*data.values.shape[:2], 3)
    law = torch.distributions.Normal(emission.mean(z), torch.tensor([0.3, 2.0]))
    expected = (law.log_prob(data.values) * data.mask).sum(-1)
    torch.testing.assert_close(emission.log_likelihood(z, data.values, data.mask), expected)
    points = torch.randn(11, 1, 1, 3)
    table = emission.log_likelihood(points, data.values, data.mask)
    assert table.shape == (11, *data.values.shape[:2])
    torch.testing.assert_close(
        table[4, 1, 2], emission.log_likelihood(points[4, 0, 0], data.values[1, 2], data.mask[1, 2])
    )
    site = nodes_of(lambda: emission.observe(z, data))["y"]
    torch.testing.assert_close(site["fn"].log_prob(site["value"]), expected.sum(-1))


def test_emission_starts_on_the_principal_axes() -> None:
    states = torch.randn(30, 40, 2) * torch.tensor([3.0, 1.0])
    mixing, offset = torch.randn(2, 6), torch.tensor([10.0, -5.0, 0.0, 3.0, 100.0, 1.0])
    data = pl.Observations(states @ mixing + offset + 0.01 * torch.randn(30, 40, 6))
    emission = pl.GaussianEmission(2, 6)
    scores = emission.initialise(data)
    assert scores.shape == (2, 6)
    latent = (data.values - data.values.mean((0, 1))) @ scores.mT
    torch.testing.assert_close(latent.flatten(0, 1).T.cov(), torch.eye(2), rtol=0, atol=0.05)
    torch.testing.assert_close(emission.mean(latent), data.values, rtol=0, atol=0.1)
    assert bool((emission.noise > 0).all())


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_emission_starts_from_data_with_gaps_and_any_number_of_channels(latent_dim: int) -> None:
    data = ragged()
    emission = pl.GaussianEmission(latent_dim, CHANNELS)
    scores = emission.initialise(data)
    assert scores.shape == (latent_dim, CHANNELS)
    for tensor in (scores, *emission.parameters()):
        assert bool(tensor.isfinite().all())


class Squash(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, CHANNELS)

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z).tanh()


def test_a_decoder_of_ones_own_is_used_and_trained() -> None:
    data = ragged()
    decoder = Squash()
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, CHANNELS, decoder=decoder))
    before = decoder.inner.weight.clone()
    model.initialise(data)
    torch.testing.assert_close(decoder.inner.weight, before)
    z = torch.randn(5, 1)
    torch.testing.assert_close(model.emission.mean(z), model.emission.shift + model.emission.scale * decoder(z))
    nodes = nodes_of(model, data)
    nodes["y"]["log_prob_sum"].backward()
    assert decoder.inner.weight.grad is not None
    registered = {id(node["value"].unconstrained()) for node in nodes.values() if node["type"] == "param"}
    assert {id(parameter) for parameter in model.parameters()} <= registered


# --- model


@pytest.mark.parametrize("max_step", [None, 0.15])
@pytest.mark.parametrize("dim", [1, 2])
def test_model_density_is_path_times_emission(max_step: float | None, dim: int) -> None:
    data = ragged()
    model, _ = prepared(pl.SteeredGuide, data, dim=dim, max_step=max_step)
    nodes = nodes_of(model, data)
    z = nodes["z"]["value"]
    for i, n in enumerate(LENGTHS):
        alone = single(data, i)
        grid = pl.TimeGrid(alone.times[0], max_step=max_step)
        own = z[i, : grid.n_points]
        path = pl.LangevinPath(model.dynamics, model.initial(), grid)
        torch.testing.assert_close(nodes["z"]["log_prob"][i], path.log_prob(own))
        states = own[grid.observed_index]
        law = torch.distributions.Normal(model.emission.mean(states), model.emission.noise)
        seen = (law.log_prob(alone.values[0]) * alone.mask[0]).sum()
        torch.testing.assert_close(nodes["y"]["log_prob"][i], seen)
        torch.testing.assert_close(nodes["_RETURN"]["value"][i, :n], states)


def test_states_at_observations() -> None:
    data = ragged()
    grid = pl.TimeGrid.from_observations(data, max_step=0.2)
    z = grid.times.unsqueeze(-1).expand(3, *grid.times.shape, 2)
    torch.testing.assert_close(at_observations(z, grid), data.times.unsqueeze(-1).expand(3, -1, -1, 2))
    shared = pl.TimeGrid(torch.arange(5.0).expand(4, 5), max_step=0.3)
    z = shared.times.unsqueeze(-1)
    torch.testing.assert_close(at_observations(z, shared).squeeze(-1), torch.arange(5.0).expand(4, 5))


def test_the_initial_model_is_finite_and_scaled_to_the_data() -> None:
    data = ragged()
    model, _ = prepared(pl.SteeredGuide, data, dim=2)
    scores = model.initialise(data)
    assert scores.shape == (2, CHANNELS)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    gap = data.typical_gap
    assert 0.0 < model.dynamics.diffusion.item() * gap <= 0.3 + 1e-9


@every_guide
def test_minibatches_stand_for_all_series(guide_class: type[AmortisedGuide]) -> None:
    data = pl.Observations(torch.randn(6, 5, CHANNELS))
    model, guide = prepared(guide_class, data)
    z = torch.randn(6, 5, 1)

    def on(program: Callable[..., Tensor], rows: list[int], n_series: int | None) -> Tensor:
        return log_density(poutine.condition(program, {"z": z[rows]}), data.select(rows), n_series)

    for program in (model, guide):
        whole = on(program, list(range(6)), None)
        parts = [on(program, rows, 6) for rows in ([0, 3], [1, 5], [4, 2])]
        torch.testing.assert_close(torch.stack(parts).mean(), whole)


@every_guide
def test_annealing_scales_the_path_alone(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data)
    model.annealing = 0.25
    of_model, of_guide = nodes_of(model, data, 8), nodes_of(guide, data, 8)
    assert of_model["z"]["scale"] == of_guide["z"]["scale"] == 0.25 * 2.0
    assert of_model["y"]["scale"] == 2.0


def test_prior_and_posterior_predictive() -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, max_step=0.3)
    n_points = model.grid(data).n_points
    for parallel in (False, True):
        prior = Predictive(poutine.uncondition(model), num_samples=9, parallel=parallel)(data)
        assert prior["z"].shape == (9, 4, n_points, 1) and prior["y"].shape == (9, *data.values.shape)
        assert not torch.equal(prior["y"][0], prior["y"][1])
        posterior = Predictive(model, guide=guide, num_samples=9, parallel=parallel, return_sites=["z"])(data)
        assert posterior["z"].shape == (9, 4, n_points, 1) and bool(posterior["z"].isfinite().all())


# --- guides


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
    target = guide.head.direct((data.values - shift) / scale * data.mask) + guide.head.place(guide.encoder(data))
    for i, n in enumerate(LENGTHS):
        ends = grid.observed_index[i, 1:n] - 1
        torch.testing.assert_close(said.centre[ends, i], target[i, 1:n])
    with torch.no_grad():  # before training: silent between observations, outspoken at them
        guide.head.output.weight.zero_()
        guide.head.output.bias.zero_()
    plain = guide.outputs(data, grid)
    strength = plain.root.diagonal(dim1=-2, dim2=-1).movedim(1, 0)
    at_observation = (grid.fraction == 1.0).unsqueeze(-1).expand_as(strength)
    assert float(strength[at_observation].min().detach()) > 4.0 * float(strength[~at_observation].max().detach())
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
    process = OrnsteinUhlenbeck(
        torch.tensor([[1.5]]), torch.tensor([0.2]), 1.0, 1.0, torch.tensor([0.1]), torch.tensor([[0.5]])
    )
    emission = pl.GaussianEmission(1, CHANNELS)
    model = pl.LangevinModel(
        pl.Overdamped(pl.QuadraticPotential(1, 0.2, stiffness=1.5), friction=1.0),
        emission,
        initial=lambda: dist.Normal(torch.tensor([0.1]), math.sqrt(0.5)).to_event(1),  # type: ignore[arg-type]
        max_step=max_step,
    )
    assert isinstance(emission.decoder, nn.Linear)
    exact = LinearEmission(emission.decoder.weight.detach(), emission.decoder.bias.detach(), torch.ones(CHANNELS))
    evidence = sum(
        kalman_log_evidence(process, exact, data.times[i, :n], data.values[i, :n], data.mask[i, :n])
        for i, n in enumerate(LENGTHS)
    )
    guide = guide_class(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    with torch.no_grad():
        bounds = -torch.tensor([Trace_ELBO().loss(model, guide, data) for _ in range(120)])
        weights = (bounds - evidence).exp()
    assert bounds.mean() < evidence + ALLOWED_ERRORS * bounds.std() / math.sqrt(120)
    # the weights' mean is an unbiased estimate of the evidence, if a noisy one
    assert weights.mean().item() < 1.0 + ALLOWED_ERRORS * weights.std().item() / math.sqrt(120)


# --- errors


def build_guide(encoder_channels: int) -> AmortisedGuide:
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 3))
    return pl.SteeredGuide(model, pl.RecurrentEncoder(encoder_channels))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(2)), pl.GaussianEmission(3, 4)),
            "the dynamics have dimension 2, the emission expects latent_dim 3; build both with the same dimension",
        ),
        (lambda: build_guide(4), "the encoder reads 4 channels, the emission has 3; build both with the same"),
        (
            lambda: pl.RecurrentEncoder(5)(ragged()),
            "expected 5 channels, got 2; build the encoder with obs_dim=2",
        ),
        (
            lambda: pl.GaussianEmission(1, 3).check(ragged()),
            r"expected \(series, time, 3\), got \(4, 7, 2\); build the emission with obs_dim=2 or check the axes",
        ),
        (lambda: build_guide(3).model.initialise(ragged()), r"expected \(series, time, 3\), got \(4, 7, 2\)"),
        (lambda: build_guide(3).model(ragged()), r"expected \(series, time, 3\), got \(4, 7, 2\)"),
        (lambda: pl.GaussianEmission(0, 3), "at least 1, got 0 and 3"),
        (lambda: pl.RecurrentEncoder(0), "at least 1, got 0, 64"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(action: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as problem:
        action()
    assert "\n" not in str(problem.value)


# --- a Pyro program of a user's own


def test_a_plain_pyro_program_with_a_hand_made_guide() -> None:
    pyro.set_rng_seed(2)
    times = torch.tensor([0.0, 0.3, 0.5, 1.1, 1.5])
    dynamics = pl.Overdamped(pl.QuadraticPotential(1, stiffness=1.0))
    initial = dist.Normal(torch.zeros(1), 1.0).to_event(1)
    decoder = nn.Linear(1, CHANNELS)
    n_series = 50
    truth = pl.LangevinPath(pl.Overdamped(pl.QuadraticPotential(1), friction=0.2), initial, times)
    y = truth.sample(torch.Size([n_series])) @ torch.tensor([[2.0, -1.0]]) + 0.2 * torch.randn(n_series, 5, CHANNELS)

    def model(y: Tensor | None = None) -> Tensor:
        pyro.module("dynamics", dynamics)
        pyro.module("decoder", decoder)
        with pyro.plate("series", n_series):
            z = pyro.sample("z", pl.LangevinPath(dynamics, initial, times))
            pyro.sample("y", dist.Normal(decoder(z), 0.3).to_event(2), obs=y)
        return z

    def guide(y: Tensor) -> Tensor:
        loc = pyro.param("loc", lambda: torch.zeros(5, n_series, 1))
        memory = pyro.param("memory", lambda: torch.full((4, 1, 1), 0.5), constraint=dist.constraints.unit_interval)
        deviation = pyro.param("deviation", lambda: torch.full((5, 1, 1), 0.4), constraint=dist.constraints.positive)
        with pyro.plate("series", n_series):
            path = pl.GaussMarkovPath(
                loc, memory.expand(4, n_series, 1), deviation.expand(5, n_series, 1), pl.TimeGrid(times)
            )
            return pyro.sample("z", path)

    svi = SVI(model, guide, Adam({"lr": 0.03}), Trace_ELBO())
    losses = [svi.step(y) for _ in range(150)]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert dynamics.diffusion.item() > 1.5  # started at 1, true 5 in the latent's own scale
    with torch.no_grad():
        prior = Predictive(model, num_samples=30)()
        spread = prior["y"].flatten(0, 2).std(0) / y.flatten(0, 1).std(0)
    assert prior["z"].shape == (30, n_series, 5, 1) and prior["y"].shape == (30, n_series, 5, CHANNELS)
    assert bool((spread > 0.5).all()) and bool((spread < 2.0).all())


def test_a_path_in_a_subsampling_plate_is_unbiased() -> None:
    times, n_series = torch.tensor([0.0, 0.4, 1.0]), 6
    dynamics = pl.Overdamped(pl.QuadraticPotential(2))
    initial = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    z = torch.randn(n_series, 3, 2)

    def program(rows: Tensor) -> None:
        with pyro.plate("series", n_series, subsample=rows):
            pyro.sample("z", pl.LangevinPath(dynamics, initial, times), obs=z[rows])

    parts = [log_density(program, torch.tensor(rows)) for rows in ([0, 4], [1, 2], [5, 3])]
    whole = pl.LangevinPath(dynamics, initial, times).log_prob(z).sum()
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
