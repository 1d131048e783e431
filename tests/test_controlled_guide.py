"""The controlled guide: what it starts from, what it sees, who trains its control, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO
from standard_errors import ALLOWED_ERRORS
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.encoders import Direction
from pyro_langevin.guides import AmortisedGuide

LENGTHS, CHANNELS = (7, 3, 5, 7), 2
DIRECTIONS = pytest.mark.parametrize(
    "direction", [pl.TwoSided(), pl.Smoothing(), pl.Filtering()], ids=["two-sided", "smoothing", "filtering"]
)


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
    return pl.Observations(data.values[i, None, :n], data.times[i, None, :n], mask=data.mask[i, None, :n])


def model_for(data: pl.Observations, dim: int = 1, max_step: float | None = None) -> pl.LangevinModel:
    model = pl.LangevinModel(
        pl.Overdamped(pl.NeuralPotential(dim, 8)), pl.GaussianEmission(dim, data.obs_dim), max_step=max_step
    )
    with torch.no_grad():
        model.dynamics.potential.height.normal_()
    return model


KINDS: dict[str, Callable[[pl.LangevinModel], pl.ControlledGuide]] = {
    "two-sided": lambda model: pl.ControlledGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10),
    "smoothing": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Smoothing()), hidden=10
    ),
    "filtering": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering()), hidden=10
    ),
    "absolute": lambda model: pl.ControlledGuide(
        model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10, parametrisation=pl.Absolute()
    ),
    "residual": lambda model: residual(model),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def residual(model: pl.LangevinModel) -> pl.ControlledGuide:
    base = pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    return pl.ControlledGuide(model, base.encoder, base=base, hidden=10)


def prepared(
    kind: str, data: pl.Observations, *, dim: int = 1, max_step: float | None = None, speaks: bool = True
) -> tuple[pl.LangevinModel, pl.ControlledGuide]:
    model = model_for(data, dim, max_step)
    guide = KINDS[kind](model)
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        model.dynamics.potential.height.normal_()
        if speaks:
            for parameter in guide.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model, guide


# --- encoders that look one way


@DIRECTIONS
def test_contexts_know_of_one_side_and_never_of_padding(direction: Direction) -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5, direction=direction)
    context = encoder(data)
    assert context.shape == (4, 7, encoder.context_dim) and encoder.context_dim == 5 * direction.passes
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(context[i, :n], encoder(single(data, i))[0])
    torch.testing.assert_close(encoder(data.select([1, 2]))[0, : LENGTHS[1]], context[1, : LENGTHS[1]])
    values = data.values.clone()
    values[0, 4] += 1.0
    mask = data.mask.clone()
    mask[0, 4] = True
    before = encoder(pl.Observations(data.values, data.times, mask=mask))[0]
    after = encoder(pl.Observations(values, data.times, mask=mask))[0]
    changed = ((before - after).abs() > 0).any(-1)
    if isinstance(direction, pl.Filtering):
        assert changed.tolist() == [False] * 4 + [True] * 3
    elif isinstance(direction, pl.Smoothing):
        assert changed.tolist() == [True] * 5 + [False] * 2
    else:
        assert bool(changed.all())


@DIRECTIONS
def test_positions_within_the_interval(direction: Direction) -> None:
    times = torch.tensor([[0.0, 1.0, 1.5, 4.0], [0.0, 2.0, 3.0, 5.0]])
    grid = pl.TimeGrid(times, torch.tensor([4, 2]), max_step=0.5)
    position = direction.position(grid, torch.tensor(2.0))
    assert position.shape == (2, grid.n_points - 1, 4) and bool(position.isfinite().all())
    h, begin = grid.steps[0], torch.tensor([0.0, 0.5, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0])
    gap = torch.tensor([1.0, 1.0, 0.5, 2.5, 2.5, 2.5, 2.5, 2.5])
    found = position[0, :8]
    torch.testing.assert_close(found[:, 3], (h[:8] / 2.0).log())
    if isinstance(direction, pl.Filtering):
        expected = torch.stack([(begin / 2.0).log1p(), (-begin / 2.0).exp(), (begin == 0.0).double()], -1)
    else:
        share = begin / gap
        expected = torch.stack([share, share.square(), h[:8] / (gap - begin)], -1)
    torch.testing.assert_close(found[:, :3], expected)


# --- what a step sees


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


# --- where it starts


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


# --- in Pyro


@every_kind
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("particles", [1, 3])
def test_it_runs_in_pyros_bounds_and_everything_is_trained(
    kind: str, dim: int, elbo: Callable[..., Trace_ELBO], particles: int
) -> None:
    data = ragged()
    model, guide = prepared(kind, data, dim=dim, max_step=0.4)
    estimator = elbo(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    loss = estimator.differentiable_loss(model, guide, data, 10)
    loss.backward()
    assert bool(loss.isfinite())
    for name, parameter in guide.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()) and bool((parameter.grad != 0).any()), name
    own = {id(parameter) for parameter in guide.parameters()}
    assert not own & {id(parameter) for parameter in model.parameters()}


@every_kind
def test_particles_at_once_agree_with_one_at_a_time_and_both_bounds_with_each_other(kind: str) -> None:
    data = ragged()
    model, guide = prepared(kind, data)
    estimators = {
        "together": (Trace_ELBO(num_particles=20, vectorize_particles=True), 10),
        "alone": (Trace_ELBO(), 50),
        "divergence": (TraceMeanField_ELBO(num_particles=20, vectorize_particles=True), 10),
    }
    drawn = {
        name: torch.tensor([elbo.loss(model, guide, data) for _ in range(n)]) for name, (elbo, n) in estimators.items()
    }
    for name in ("alone", "divergence"):
        error = math.sqrt(drawn["together"].var() / 10 + drawn[name].var() / len(drawn[name]))
        assert abs((drawn["together"].mean() - drawn[name].mean()).item()) < ALLOWED_ERRORS * error


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


@every_kind
def test_posterior_predictive_and_a_state_dictionary(kind: str) -> None:
    data = ragged()
    model, guide = prepared(kind, data, max_step=0.3)
    for parallel in (False, True):
        drawn = Predictive(model, guide=guide, num_samples=5, parallel=parallel, return_sites=["z"])(data)["z"]
        assert drawn.shape == (5, 4, model.grid(data).n_points, 1) and bool(drawn.isfinite().all())
    other = KINDS[kind](model)
    other.load_state_dict(guide.state_dict())
    z = torch.randn(4, model.grid(data).n_points, 1)
    torch.testing.assert_close(other.path(data).log_prob(z), guide.path(data).log_prob(z))


@every_kind
def test_its_bound_does_not_exceed_the_evidence(kind: str) -> None:
    data = ragged()
    process = OrnsteinUhlenbeck(
        torch.tensor([[1.5]]), torch.tensor([0.2]), 1.0, 1.0, torch.tensor([0.1]), torch.tensor([[0.5]])
    )
    model = pl.LangevinModel(
        pl.Overdamped(pl.QuadraticPotential(1, 0.2, stiffness=1.5), friction=1.0),
        pl.GaussianEmission(1, CHANNELS),
        initial=lambda: dist.Normal(torch.tensor([0.1]), math.sqrt(0.5)).to_event(1),  # type: ignore[arg-type]
        max_step=0.25,
    )
    decoder = model.emission.decoder
    assert isinstance(decoder, nn.Linear)
    exact = LinearEmission(decoder.weight.detach(), decoder.bias.detach(), torch.ones(CHANNELS))
    evidence = sum(
        kalman_log_evidence(process, exact, data.times[i, :n], data.values[i, :n], data.mask[i, :n])
        for i, n in enumerate(LENGTHS)
    )
    guide = KINDS[kind](model)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        bounds = -torch.tensor([Trace_ELBO().loss(model, guide, data) for _ in range(60)])
        weights = (bounds - evidence).exp()
    assert bounds.mean() < evidence + ALLOWED_ERRORS * bounds.std() / math.sqrt(60)
    # the weights' mean is an unbiased estimate of the evidence, if a noisy one
    assert weights.mean().item() < 1.0 + ALLOWED_ERRORS * weights.std().item() / math.sqrt(60)


def test_guides_that_share_an_encoder_train_the_same_one() -> None:
    data = ragged()
    model, guide = prepared("two-sided", data)
    steered = pl.SteeredGuide(model, pl.RecurrentEncoder(CHANNELS, 6), hidden=10)
    guide.share(steered)
    assert guide.encoder is steered.encoder
    steered.share(guide)
    assert bool(guide.path(data).rsample().isfinite().all()) and bool(steered.path(data).rsample().isfinite().all())


# --- fitting


@pytest.mark.parametrize(
    ("kind", "dim"),
    [
        ("smoothing", 1),
        ("residual", 1),
        pytest.param("smoothing", 2, marks=pytest.mark.slow),
        pytest.param("residual", 2, marks=pytest.mark.slow),
    ],
)
def test_fit(kind: str, dim: int) -> None:
    torch.set_default_dtype(torch.float32)
    states = torch.randn(6, 1, 1).sign() * 2.0 + 0.3 * torch.randn(6, 20, 1)
    data = pl.Observations(torch.cat([states, states.square() + 0.3 * torch.randn(6, 20, 1)], -1))
    model = model_for(data, dim)
    guide = KINDS[kind](model)
    result = pl.fit(model, guide, data, steps=24, batch_size=4, progress=False)
    assert all(math.isfinite(loss) for loss in result.members[0].loss)
    assert not bool((guide.control.output.weight == 0).all())  # type: ignore[attr-defined]
    draws = pl.posterior(result, data, draws=3)
    assert bool((abs(draws["posterior"]["z"]) < 1e3).all())


@pytest.mark.slow
@pytest.mark.parametrize("direction", [pl.Smoothing(), pl.TwoSided()], ids=["smoothing", "two-sided"])
def test_trained_on_a_linear_problem_it_comes_near_the_evidence(direction: Direction) -> None:
    torch.set_default_dtype(torch.float32)
    first = dist.Normal(torch.zeros(1), math.sqrt(1 / 1.5)).to_event(1)
    emission = pl.GaussianEmission(1, 1)
    assert isinstance(emission.decoder, nn.Linear)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
        emission.noise = torch.tensor([0.3])
    model = pl.LangevinModel(
        pl.Overdamped(pl.QuadraticPotential(1, stiffness=1.5), friction=1.0),
        emission,
        initial=lambda: first,  # type: ignore[arg-type]
        max_step=0.1,
    )
    times = 0.3 * torch.arange(10.0)
    with torch.no_grad():
        y = pl.LangevinPath(model.dynamics, first, times).sample(torch.Size([256])) + 0.3 * torch.randn(256, 10, 1)
    data = pl.Observations(y, times)
    process = OrnsteinUhlenbeck(
        torch.tensor([[1.5]]), torch.zeros(1), 1.0, 1.0, torch.zeros(1), torch.tensor([[1 / 1.5]])
    )
    seen = LinearEmission(torch.ones(1, 1), torch.zeros(1), torch.tensor([0.3]))
    evidence = torch.stack(
        [kalman_log_evidence(process, seen, data.times[i], data.values[i], data.mask[i]) for i in range(256)]
    ).mean()
    guide = pl.ControlledGuide(model, pl.RecurrentEncoder(1, 32, direction=direction))
    guide.initialise(data, torch.ones(1, 1))
    optimizer = torch.optim.Adam(guide.parameters(), lr=1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    loss_of = TraceMeanField_ELBO()(model, guide)
    for _ in range(250):
        loss = loss_of(data.select(torch.randint(256, (64,)))) / 64
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        bounds = -torch.tensor([Trace_ELBO().loss(model, guide, data) / 256 for _ in range(20)])
    gap, error = float(evidence - bounds.mean()), float(bounds.std()) / math.sqrt(20)
    assert -ALLOWED_ERRORS * error < gap < 0.25  # .07 and .10 after 300 iterations


# --- a control of one's own


class Own(nn.Module):
    """A control with a network; kept where it is registered, or hidden in a list where it is not."""

    def __init__(self, *, hidden_away: bool) -> None:
        super().__init__()
        network = nn.Linear(1, 1)
        self.kept = [network] if hidden_away else network

    def forward(self, z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        network = self.kept[0] if isinstance(self.kept, list) else self.kept
        return pl.Control(network(z), torch.ones(()))


def build(control: Callable[[Tensor, Tensor, Tensor], pl.Control]) -> pl.ControlledGuide:
    return pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6), control=control)


def test_a_registered_control_of_ones_own_is_trained() -> None:
    data, control = ragged(), Own(hidden_away=False)
    guide = build(control)
    assert {id(p) for p in control.parameters()} <= {id(p) for p in guide.parameters()}
    guide.initialise(data, guide.model.initialise(data))
    TraceMeanField_ELBO().differentiable_loss(guide.model, guide, data).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in control.parameters())


def test_a_control_that_nobody_would_train_is_refused() -> None:
    network = nn.Linear(1, 1)

    def closure(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        return pl.Control(network(z).tanh(), torch.ones(()))

    for control in (closure, Own(hidden_away=True)):
        with pytest.raises(ValueError, match=r"2 learned tensors \(shapes .*\) that are not registered") as problem:
            build(control)
        assert "nobody would train them; make the control an nn.Module" in str(problem.value)
    scale = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="1 learned tensors"):
        build(lambda z, position, context: pl.Control(torch.zeros_like(z), scale))


def test_a_control_without_learned_parts_or_with_the_models_own_is_welcome() -> None:
    data = ragged()
    guide = build(lambda z, position, context: pl.Control(-z, torch.full((), 0.5)))
    guide.initialise(data, guide.model.initialise(data))
    assert bool(guide.path(data).rsample().isfinite().all())
    model = model_for(data)

    def by_force(z: Tensor, position: Tensor, context: Tensor) -> pl.Control:
        return pl.Control(model.dynamics.potential.force(z), torch.ones(()))

    pl.ControlledGuide(model, pl.RecurrentEncoder(CHANNELS, 6), control=by_force)


def other_base() -> AmortisedGuide:
    data = ragged()
    base = pl.SteeredGuide(model_for(data), pl.RecurrentEncoder(CHANNELS, 6))
    return pl.ControlledGuide(model_for(data), base.encoder, base=base)


def filtering_base() -> AmortisedGuide:
    base = pl.SteeredGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6))
    return pl.ControlledGuide(base.model, pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering()), base=base)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (other_base, "the base is a guide for another model; build both with the same model"),
        (filtering_base, "the base's messages look ahead, the encoder must not; leave the base away to filter"),
        (
            lambda: pl.SteeredGuide(
                model_for(ragged()), pl.RecurrentEncoder(CHANNELS, 6, direction=pl.Filtering())
            ),
            r"SteeredGuide: its messages speak of the observation .* cannot filter; give its encoder direction=",
        ),
        (lambda: build(lambda z, p, c: z), "expected the control to return a Control, got Tensor"),
        (
            lambda: build(lambda z, p, c: pl.Control(torch.zeros(1, 3), torch.ones(()))),
            r"expected a push \(1, 1\) and a multiplier \(1, 1\) for one state \(1, 1\), got \(1, 3\) and \(\)",
        ),
        (lambda: build(lambda z, p, c: pl.Control(z, torch.ones(1, 2))), r"got \(1, 1\) and \(1, 2\)"),
        (lambda: pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(4)), "the encoder reads 4 channels"),
        (
            lambda: pl.ControlledGuide(model_for(ragged()), pl.RecurrentEncoder(CHANNELS), bound=0.0),
            "expected a positive bound, got 0.0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(action: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as problem:
        action()
    assert "\n" not in str(problem.value)
