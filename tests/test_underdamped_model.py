"""Model and guides on position and momentum, from the program to the draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from phase_space import Harmonic
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.potentials.analytic import DoubleWell

#: A known answer may be missed by this many standard errors (a false failure in 10^6 checks).
ALLOWED_ERRORS = 5.0
LENGTHS, CHANNELS = (7, 3, 5, 7), 2
GUIDES: list[type[AmortisedGuide]] = [pl.SteeredGuide, pl.GaussMarkovGuide]
every_guide = pytest.mark.parametrize("guide_class", GUIDES)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    torch.set_default_dtype(before)


def ragged() -> pl.Observations:
    values = [torch.randn(n, CHANNELS).cumsum(0) for n in LENGTHS]
    masks = [torch.rand(n, CHANNELS) < 0.75 for n in LENGTHS]
    for mask in masks:
        mask[0] = True
    times = [5.0 + (0.1 + torch.rand(n)).cumsum(0) for n in LENGTHS]
    return pl.Observations(values, times, mask=masks)


def prepared(
    guide_class: type[AmortisedGuide],
    data: pl.Observations,
    *,
    dim: int = 1,
    max_step: float | None = None,
    dynamics: pl.Underdamped | None = None,
    widths: tuple[int, int] = (6, 10),
) -> tuple[pl.LangevinModel, AmortisedGuide]:
    if dynamics is None:
        dynamics = pl.Underdamped(pl.NeuralPotential(dim, 8), mass=0.5 + torch.rand(dim))
    model = pl.LangevinModel(dynamics, pl.GaussianEmission(dim, data.obs_dim), max_step=max_step)
    guide = guide_class(model, pl.RecurrentEncoder(data.obs_dim, widths[0]), hidden=widths[1])
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        if isinstance(dynamics.potential, pl.NeuralPotential):
            dynamics.potential.height.normal_()
        for parameter in guide.head.parameters():  # a guide that says something of its own
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, guide


class GivenInitial(torch.nn.Module):
    """A first state of known law."""

    def forward(self) -> dist.Independent:
        return dist.Normal(torch.tensor([0.3, -0.2]), torch.tensor([0.8, 0.6])).to_event(1)


# --- the model


@pytest.mark.parametrize("dim", [1, 2])
def test_emissions_see_the_position_and_momenta_start_in_equilibrium(dim: int) -> None:
    data = ragged()
    model, _ = prepared(pl.SteeredGuide, data, dim=dim, max_step=0.15)
    first = model.initial()
    assert first.event_shape == (2 * dim,)
    drawn = first.sample(torch.Size([4000]))
    spread = drawn[:, dim:].square().mean(0) / (model.dynamics.mass * model.dynamics.temperature)
    assert float((spread - 1.0).abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / 4000)
    grid = model.grid(data)
    z = torch.randn(data.n_series, grid.n_points, 2 * dim)
    trace = poutine.trace(poutine.condition(model, data={"z": z})).get_trace(data)
    trace.compute_log_prob()
    states = pl.model.at_observations(z, grid)
    expected = model.emission.log_likelihood(states[..., :dim], data.values, data.mask).sum(-1)
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], expected)
    assert trace.nodes["_RETURN"]["value"].shape == (*data.values.shape[:2], 2 * dim)


def test_a_model_of_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="the dynamics have dimension 2, the emission expects latent_dim 1"):
        pl.LangevinModel(pl.Underdamped(pl.NeuralPotential(2)), pl.GaussianEmission(1, 3))


def test_predictive_draws_from_prior_and_posterior() -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, dim=2, max_step=0.3)
    points = model.grid(data).n_points
    for own in (None, guide):
        drawn = Predictive(model, guide=own, num_samples=3, parallel=True)(data)
        assert drawn["z"].shape == (3, data.n_series, points, 4)


# --- the guides


@every_guide
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("particles", [1, 3])
def test_guides_run_in_pyros_bounds_and_everything_is_trained(
    guide_class: type[AmortisedGuide], dim: int, elbo: type, particles: int
) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, dim=dim, max_step=0.3)
    loss = elbo(num_particles=particles, vectorize_particles=particles > 1)(model, guide)(data)
    loss.backward()
    assert bool(torch.isfinite(loss))
    held = {"dynamics.potential.reference.skew"} if dim == 1 else set()
    for module in (model, guide):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
            assert name in held or bool((parameter.grad != 0).any()), name


@every_guide
def test_both_bounds_agree_on_average(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, max_step=0.3)
    with torch.no_grad():
        losses = [
            torch.tensor([elbo(100, vectorize_particles=True).loss(model, guide, data) for _ in range(20)])
            for elbo in (Trace_ELBO, TraceMeanField_ELBO)
        ]
    difference = losses[0].mean() - losses[1].mean()
    error = math.sqrt(sum(float(part.var()) / 20 for part in losses))
    assert abs(float(difference)) < ALLOWED_ERRORS * error


@every_guide
@pytest.mark.parametrize("max_step", [None, 0.3])
def test_a_guide_does_not_see_padding(guide_class: type[AmortisedGuide], max_step: float | None) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data, max_step=max_step)
    z = torch.randn(5, data.n_series, model.grid(data).n_points, 2)
    together = guide.path(data).log_prob(z)
    for i, n in enumerate(LENGTHS):
        parts = (part[i, None, :n] for part in (data.values, data.times, data.mask))
        values, times, mask = parts
        alone = pl.Observations(values, times, mask=mask)
        points = model.grid(alone).n_points
        torch.testing.assert_close(guide.path(alone).log_prob(z[:, i, None, :points])[:, 0], together[:, i])


def test_the_posterior_gauss_markov_path_is_one_dense_gaussian() -> None:
    times = torch.tensor([0.0, 0.1, 0.25, 0.4])
    mean, memory = torch.randn(4, 3), torch.randn(3, 3, 3)
    scale = torch.randn(4, 3, 3) + 2.0 * torch.eye(3)
    path = pl.DenseGaussMarkovPath(mean, memory, scale, pl.TimeGrid(times))
    rows = [scale[0]]
    for k in range(3):
        rows.append(torch.cat([memory[k] @ rows[-1], scale[k + 1]], 1))
    factor = torch.cat([torch.nn.functional.pad(row, (0, 12 - row.shape[1])) for row in rows])
    law = torch.distributions.MultivariateNormal(mean.flatten(), factor @ factor.mT)
    z = torch.randn(5, 4, 3)
    torch.testing.assert_close(path.log_prob(z), law.log_prob(z.flatten(1)))
    drawn = path.expand(torch.Size([4000])).rsample().flatten(1)
    whitened = torch.linalg.solve_triangular(law.scale_tril, (drawn - law.mean).mT, upper=False)
    spread = whitened @ whitened.mT / 4000 - torch.eye(12)
    assert float(spread.abs().max()) < ALLOWED_ERRORS * math.sqrt(2.0 / 4000)


def test_mean_momenta_of_the_gauss_markov_guide_follow_its_positions() -> None:
    data = ragged()
    model, guide = prepared(pl.GaussMarkovGuide, data, max_step=0.1)
    with torch.no_grad():  # no correction of its own
        guide.head.direct.weight[1].zero_()
        guide.head.place.weight[1].zero_()
        guide.head.place.bias[1].zero_()
        guide.head.output.weight[1].zero_()
        guide.head.output.bias[1].zero_()
        path = guide.path(data)
    grid = model.grid(data)
    position, momentum = path.mean_path[:, 0, 0], path.mean_path[:, 0, 1]
    times = grid.times[0]
    for k in (2, 5, 9):
        slopes = [(position[j + 1] - position[j]) / (times[j + 1] - times[j]) for j in (k - 1, k)]
        assert momentum[k].item() == pytest.approx(float(model.dynamics.mass * 0.5 * (slopes[0] + slopes[1])))


def test_residual_of_the_gauss_markov_guide_is_the_schemes_own_oscillator() -> None:
    data = ragged()
    dynamics = pl.Underdamped(pl.QuadraticPotential(1), friction=0.8, mass=0.7)
    model, guide = prepared(pl.GaussMarkovGuide, data, max_step=0.1, dynamics=dynamics)
    grid = model.grid(data)
    out = guide.outputs(data, grid)
    silent = replace(out, strength=torch.zeros_like(out.strength))
    path = guide.frame.gauss_markov(silent, data, grid)
    assert isinstance(path, pl.DenseGaussMarkovPath)
    for k, i in ((0, 0), (3, 1), (6, 3)):
        gap = float(data.times[i].diff()[grid.interval[i, k]])
        step, memory = float(grid.steps[i, k]), out.memory[k, i].detach()
        stiffness = 0.7 * min(float(-memory[0].log()) / gap**2, 1.0 / step**2)
        well = Harmonic(
            torch.tensor([[stiffness]]), torch.zeros(1), torch.tensor([0.8]), torch.tensor([0.7]), 1.0,
            torch.zeros(2), torch.eye(2),
        )  # fmt: skip
        exact = well.obabo(step)
        slowed = torch.tensor([1.0, float(memory[1]) ** (step / gap)])
        torch.testing.assert_close(path.memory[k, i], exact.flow * slowed.unsqueeze(-1))
        torch.testing.assert_close(path.scale[k + 1, i], exact.load)


@pytest.mark.parametrize("dim", [1, 2])
def test_messages_speak_of_where_free_flight_leads(dim: int) -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, dim=dim, max_step=0.1)
    grid = model.grid(data)
    out = guide.outputs(data, grid)
    said = guide.frame.messages(out, data, grid)
    friction, mass = model.dynamics.friction, model.dynamics.mass
    for k, i in ((0, 0), (3, 1), (7, 3)):
        gap = data.times[i].diff()[grid.interval[i, k]]
        left = (1.0 - grid.fraction[i, k]) * gap
        lead = torch.diag(((1.0 - (-friction * left).exp()) / (friction * mass)).expand(dim))
        view = torch.cat([torch.cat([torch.eye(dim), 0.0 * lead], 1), torch.cat([lead, torch.eye(dim)], 1)])
        seen = torch.linalg.solve(view, said.root[k, i])  # in these coordinates it is the head's, each row in a unit
        unit = seen[:, 0] / out.root[k, i][:, 0]
        torch.testing.assert_close(seen, unit.unsqueeze(-1) * out.root[k, i])
        # an observation's noise and the spread of free flight until then, and no more
        assert bool((unit > 0).all()) and bool((unit[:dim] <= math.e / guide.noise).all())


@every_guide
def test_a_guide_starts_near_the_data(guide_class: type[AmortisedGuide]) -> None:
    clock = 0.15 * torch.arange(40)
    phase = 6.0 * torch.rand(30, 1)
    states = torch.sin(2.0 * clock + phase).unsqueeze(-1) + 0.02 * torch.randn(30, 40, 1)
    data = pl.Observations(states @ torch.tensor([[1.0, -3.0, 0.5]]) + 4.0, clock.expand(30, 40))
    model = pl.LangevinModel(
        pl.Underdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 3), max_step=0.05
    )
    guide = guide_class(model, pl.RecurrentEncoder(3))
    guide.initialise(data, model.initialise(data))
    with torch.no_grad():
        z = pl.model.at_observations(guide.path(data).rsample(torch.Size([50])).mean(0), model.grid(data))
        error = (model.emission.mean(z[..., :1]) - data.values).square().mean((0, 1)).sqrt()
    assert bool((error < 0.5 * data.values.flatten(0, 1).std(0)).all()), error


def trained_bound(
    guide_class: type[AmortisedGuide], *, training: int = 200, rate: float = 2e-2, widths: tuple[int, int] = (6, 10)
) -> tuple[float, float, float]:
    """Bound of a guide after some training on a harmonic problem, its allowed error, and the evidence of the chain."""
    times = torch.tensor([0.0, 0.2, 0.3, 0.7, 0.8])
    data = pl.Observations(torch.randn(1, 5, 1), times.expand(1, 5))
    dynamics = pl.Underdamped(pl.QuadraticPotential(1, stiffness=2.0), friction=0.8, mass=0.7)
    model, guide = prepared(guide_class, data, max_step=0.1, dynamics=dynamics, widths=widths)
    model.initial = GivenInitial()  # type: ignore[assignment]
    model.emission.noise = torch.tensor([0.4])
    with torch.no_grad():
        model.emission.decoder.weight.fill_(1.0 / model.emission.scale.item())  # type: ignore[union-attr, operator]
        model.emission.decoder.bias.fill_(-(model.emission.shift / model.emission.scale).item())  # type: ignore[union-attr, operator]
    process = Harmonic(
        torch.tensor([[2.0]]), torch.zeros(1), torch.tensor([0.8]), torch.tensor([0.7]), 1.0,
        torch.tensor([0.3, -0.2]), torch.diag(torch.tensor([0.8, 0.6]).square()),
    )  # fmt: skip
    grid = model.grid(data)
    steps = [process.obabo(step) for step in grid.steps[0].tolist()]
    places = grid.observed_index[0].tolist()
    seen: list[Tensor | None] = [None] * grid.n_points
    for place, value in zip(places, data.values[0], strict=True):
        seen[place] = value
    evidence = float(process.evidence(steps, seen, 0.4))

    def bound(particles: int) -> Tensor:
        return -TraceMeanField_ELBO(num_particles=particles, vectorize_particles=True)(model, guide)(data)

    optimiser = torch.optim.Adam(guide.parameters(), lr=rate)
    for step in range(training):
        optimiser.param_groups[0]["lr"] = rate * (1.0 - step / training) + 1e-5
        optimiser.zero_grad()
        (-bound(4)).backward()
        optimiser.step()
    with torch.no_grad():
        values = torch.stack([bound(50) for _ in range(20)])
    return float(values.mean()), ALLOWED_ERRORS * float(values.std()) / math.sqrt(20), evidence


@every_guide
def test_no_guides_bound_exceeds_the_evidence(guide_class: type[AmortisedGuide]) -> None:
    bound, error, evidence = trained_bound(guide_class)
    assert bound < evidence + error


@pytest.mark.slow
@pytest.mark.parametrize("guide_class", [pl.SteeredGuide, pl.GaussMarkovGuide])
def test_fitted_guides_reach_the_evidence_of_the_chain(guide_class: type[AmortisedGuide]) -> None:
    """Within .01 nats: position and momentum of the first state, too, must be free to go together."""
    bound, error, evidence = trained_bound(guide_class, training=9000, rate=5e-3, widths=(12, 24))
    assert bound > evidence - 0.01 - error, (bound, evidence)
    assert error < 0.02


# --- fits and draws


def simulated(n_series: int, n_times: int, *, gap: float, noise: float) -> pl.Observations:
    """Noisy positions in the double well 4 (q^2 - 1)^2, friction 1, from steps of 0.01."""
    dynamics, step, every = pl.Underdamped(DoubleWell(4.0), friction=1.0).read(), 0.01, round(gap / 0.01)
    z = torch.stack([torch.where(torch.rand(n_series) < 0.5, -1.0, 1.0), torch.randn(n_series)], -1)
    kept = []
    with torch.no_grad():
        for k in range(500 + n_times * every):
            z = dynamics.transition(z, torch.tensor(step)).apply(torch.randn(n_series, 2))
            if k >= 500 and (k - 500) % every == 0:
                kept.append(z[:, :1])
    path = torch.stack(kept, 1)
    clock = gap * torch.arange(n_times).expand(n_series, n_times)
    return pl.Observations(path + noise * torch.randn_like(path), clock)


def test_fit_and_draws_of_an_underdamped_model() -> None:
    torch.set_default_dtype(torch.float32)
    data = simulated(12, 30, gap=0.2, noise=0.1)
    model = pl.LangevinModel(pl.Underdamped(pl.MixturePotential(1, 3)), pl.GaussianEmission(1, 1), max_step=0.1)
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 8), hidden=16)
    result = pl.fit(model, guide, data, steps=6, seeds=2, batch_size=8, progress=False)
    assert set(result.members[0].phase) == {"evidence", "posterior"}
    idata = pl.posterior(result, data, draws=4)
    assert idata.attrs["drawn_from"] == "exact posterior"
    assert pl.posterior(result, data, draws=2, exact=False).attrs["drawn_from"] == "guide"
    posterior, kinetics = idata["posterior"], idata["kinetics"]
    assert posterior["z"].shape == posterior["momentum"].shape == (2, 4, 12, 30, 1)
    assert {"diffusion", "friction", "mass"} <= set(posterior.data_vars)
    assert bool((posterior["mass"] == 1.0).all())
    assert bool(kinetics["timescale"].notnull().all())
    assert bool(torch.isfinite(torch.tensor(idata["sample_stats"]["log_p"].values)).all())


@pytest.fixture(scope="module")
def fitted_double_well() -> Any:
    """Draws of a fit to 256 noisy records of the double well at friction 1."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    pyro.set_rng_seed(0)
    data = simulated(256, 200, gap=0.2, noise=0.2)
    model = pl.LangevinModel(pl.Underdamped(pl.MixturePotential(1, 6)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
    result = pl.fit(model, guide, data, progress=False)
    idata = pl.posterior(result, data, draws=5)
    torch.set_default_dtype(before)
    return idata


@pytest.mark.slow
def test_wells_occupancy_and_noise_of_an_underdamped_double_well(fitted_double_well: Any) -> None:
    idata = fitted_double_well
    assert idata["states"]["location"].values[0, :, 0] == pytest.approx([-1.0, 1.0], abs=0.05)
    assert idata["occupancy"]["stationary"].values[0] == pytest.approx([0.5, 0.5], abs=0.05)
    assert float(idata["posterior"]["noise"].mean()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.slow
def test_barrier_friction_and_passage_time_of_an_underdamped_double_well(fitted_double_well: Any) -> None:
    barrier = fitted_double_well["states"]["beta_barrier"].values[0]
    assert barrier[0, 1] == pytest.approx(4.0, abs=0.4) and barrier[1, 0] == pytest.approx(4.0, abs=0.4)
    assert float(fitted_double_well["posterior"]["friction"].mean()) == pytest.approx(1.0, rel=0.25)
    passage = fitted_double_well["kinetics"]["mfpt"].values[0]
    # some sixty passages each way: the data's own error is 13 %
    assert passage[0, 1] == pytest.approx(83.5, rel=0.3) and passage[1, 0] == pytest.approx(83.5, rel=0.3)


@pytest.mark.parametrize(("jitter", "drawn_from"), [(1e-4, "exact posterior"), (0.05, "guide")])
def test_posterior_at_times_that_are_not_quite_equal_or_not_at_all(jitter: float, drawn_from: str) -> None:
    """A momentum's exact posterior needs equal gaps: rounding is mended, and without them there is the guide."""
    torch.set_default_dtype(torch.float32)
    data = simulated(6, 30, gap=0.2, noise=0.1)
    model = pl.LangevinModel(pl.Underdamped(pl.MixturePotential(1, 3)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 8), hidden=16)
    result = pl.fit(model, guide, data, steps=6, batch_size=8, progress=False)
    times = data.times + jitter * torch.rand(6, 30, dtype=torch.float64)
    moved = pl.Observations(data.values, times)
    idata = pl.posterior(result, moved, draws=2)
    assert idata.attrs["drawn_from"] == drawn_from
    assert bool(torch.isfinite(torch.tensor(idata["posterior"]["z"].values)).all())
    assert idata["constant_data"]["time"].values == pytest.approx(times.numpy())  # the user's own
