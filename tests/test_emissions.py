"""What every emission does: one suite of properties."""

from __future__ import annotations

import copy

import pyro
import pytest
import torch
from emission_cases import EMISSIONS, LATENT, SERIES, TIME, every_emission, started, trace_of
from pyro import poutine

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_emission
def test_likelihood_broadcasts_and_the_table_holds_it(name: str) -> None:
    emission, data = started(name)
    points = torch.randn(11, LATENT)
    direct = emission.log_likelihood(points[:, None, None], data.values, data.mask)
    assert direct.shape == (11, SERIES, TIME) and direct.dtype == torch.float64
    table = emission.log_likelihood_table(points, data.values, data.mask)
    torch.testing.assert_close(table, direct)
    torch.testing.assert_close(pl.Emission.log_likelihood_table(emission, points, data.values, data.mask), direct)
    torch.testing.assert_close(
        emission.log_likelihood_table(points, data.values[1, 2], data.mask[1, 2]), direct[:, 1, 2]
    )
    assert emission.mean(points).shape == (11, emission.obs_dim)


@every_emission
@pytest.mark.parametrize("particles", [(), (5,), (5, 1)])
def test_observe_is_the_log_likelihood(name: str, particles: tuple[int, ...]) -> None:
    emission, data = started(name)
    z = torch.randn(*particles, SERIES, TIME, LATENT)
    site = trace_of(emission, z, data)
    expected = emission.log_likelihood(z, data.values, data.mask).sum(-1)
    torch.testing.assert_close(site["log_prob"], expected)
    torch.testing.assert_close(site["log_prob_sum"], expected.sum())
    assert site["is_observed"] and site["fn"].batch_shape == (*particles, SERIES)


@every_emission
def test_a_masked_value_is_no_value(name: str) -> None:
    emission, data = started(name)
    z = torch.randn(SERIES, TIME, LATENT)
    other = torch.where(data.mask, data.values, 1.0)  # a value that every kind can have
    torch.testing.assert_close(
        emission.log_likelihood(z, data.values, data.mask), emission.log_likelihood(z, other, data.mask)
    )
    nothing = torch.zeros_like(data.mask)
    assert bool((emission.log_likelihood(z, data.values, nothing) == 0).all())
    assert bool((emission.log_likelihood_table(z[0], data.values, nothing) == 0).all())


@every_emission
def test_a_masked_row_is_a_deleted_row(name: str) -> None:
    build, values = EMISSIONS[name]
    full = values()
    mask = torch.ones(full.shape, dtype=torch.bool)
    mask[:, 3::7] = False
    kept = mask.all(-1)[0]
    times = 0.5 * torch.arange(TIME)
    masked = pl.Observations(full, times, mask=mask)
    deleted = pl.Observations(full[:, kept], times[kept])
    emission = build()
    emission.initialise(deleted)
    z = torch.randn(SERIES, TIME, LATENT)
    torch.testing.assert_close(
        trace_of(emission, z, masked)["log_prob"], trace_of(emission, z[:, kept], deleted)["log_prob"]
    )


@every_emission
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    emission, data = started(name)
    values, mask = data.values[:, :3], data.mask[:, :3]
    z = torch.randn(SERIES, 3, LATENT, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: emission.log_likelihood(z, values, mask), z)
    emission.log_likelihood(z, values, mask).sum().backward()
    for parameter_name, parameter in emission.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), parameter_name
        step = 1e-6 * torch.randn_like(parameter)
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.add_(sign * step)
                sides.append(emission.log_likelihood(z, values, mask).sum())
                parameter.sub_(sign * step)
        found = (sides[0] - sides[1]) / 2.0
        torch.testing.assert_close((parameter.grad * step).sum(), found, rtol=1e-4, atol=1e-12)


@every_emission
def test_state_survives_saving(name: str) -> None:
    emission, data = started(name)
    fresh = EMISSIONS[name][0]()
    z = torch.randn(SERIES, TIME, LATENT)
    assert not torch.allclose(fresh.mean(z), emission.mean(z))
    fresh.load_state_dict(emission.state_dict())
    for one in (fresh, copy.deepcopy(emission)):
        torch.testing.assert_close(one.mean(z), emission.mean(z))
        torch.testing.assert_close(one.noise, emission.noise)
        torch.testing.assert_close(
            one.log_likelihood(z, data.values, data.mask), emission.log_likelihood(z, data.values, data.mask)
        )


@every_emission
def test_single_precision_stays_single(name: str) -> None:
    emission, data = started(name)
    double = emission.log_likelihood(torch.zeros(LATENT), data.values, data.mask)
    emission.float()
    data = data.to(dtype=torch.float32)
    z = torch.zeros(LATENT, dtype=torch.float32)
    single = emission.log_likelihood(z, data.values, data.mask)
    assert single.dtype == torch.float32 and emission.mean(z).dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert emission.initialise(data).dtype == torch.float32


@every_emission
def test_draws_have_the_mean_that_is_told(name: str) -> None:
    emission, _ = started(name)
    z = torch.randn(LATENT)
    drawn = emission.distribution(z.expand(40_000, LATENT)).sample().double()
    assert drawn.shape == (40_000, emission.obs_dim)
    error = drawn.std(0) / 200.0
    if name == "student_t":  # few degrees of freedom: no variance to bound the mean with, so the median
        drawn, error = drawn.median(0, keepdim=True).values, 3.0 * emission.noise / 200.0
    assert bool(((drawn.mean(0) - emission.mean(z)).abs() < 5.0 * error + 1e-12).all())


@every_emission
def test_expanded_laws_broadcast(name: str) -> None:
    emission, _ = started(name)
    z = torch.randn(1, 4, LATENT)
    law = emission.distribution(z)
    wide = law.expand((5, 4, emission.obs_dim))
    value = wide.sample()
    assert value.shape == (5, 4, emission.obs_dim)
    torch.testing.assert_close(wide.log_prob(value), law.log_prob(value))


@every_emission
def test_parameters_are_registered_once_and_reported(name: str) -> None:
    emission, data = started(name)
    z = torch.randn(SERIES, TIME, LATENT)

    class Program(pyro.nn.PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.emission = emission

        def forward(self) -> None:
            self.emission.observe(z, data)

    nodes = poutine.trace(Program()).get_trace().nodes
    registered = [id(node["value"].unconstrained()) for node in nodes.values() if node["type"] == "param"]
    assert len(set(registered)) == len(registered)
    assert set(registered) == {id(parameter) for parameter in emission.parameters()}
    constrained = [name for name, _ in emission.named_parameters() if name.endswith("_unconstrained")]
    assert {f"emission.{name.removesuffix('_unconstrained')}" for name in constrained} <= set(nodes)
    for dims, value in emission.parameters_in_data_units().values():
        assert len(dims) == value.ndim and bool(value.isfinite().all())
