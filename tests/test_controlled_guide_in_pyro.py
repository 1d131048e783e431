"""The controlled guide in Pyro's bounds, in prediction, and in fits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
from controlled_guides import KINDS, every_kind, model_for, prepared
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO
from quadratic_evidence import assert_below_evidence, quadratic_model
from ragged_series import ragged
from standard_errors import ALLOWED_ERRORS
from torch import nn

import pyro_langevin as pl
from pyro_langevin.encoders import Direction

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


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
    model, evidence = quadratic_model(data, max_step=0.25)
    guide = KINDS[kind](model)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert_below_evidence(guide, data, evidence, draws=60)


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
