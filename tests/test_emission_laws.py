"""Each emission against its known law."""

from __future__ import annotations

import pyro
import pytest
import torch
from emission_cases import CASES, LATENT, SERIES, TIME, counts, every_kind, gappy, joint, joint_values, numbers, started
from torch import Tensor, nn

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_kind
def test_log_likelihood_and_mean_are_those_of_torch(kind: str) -> None:
    emission, data = started(kind)
    z = torch.randn(SERIES, TIME, LATENT)
    law = CASES[kind].law(emission, z)
    expected = (law.log_prob(data.values) * data.mask).sum(-1)
    torch.testing.assert_close(emission.log_likelihood(z, data.values, data.mask), expected)
    mean = law.mean
    if kind == "categorical":
        mean = sum(k * law.log_prob(torch.tensor(float(k))).exp() for k in range(4))
    torch.testing.assert_close(emission.mean(z), mean)


@pytest.mark.parametrize("exposure", [0.1, torch.tensor([0.1, 5.0, 1.0])])
def test_poisson_rates_are_counted_in_time_units(exposure: float | Tensor) -> None:
    data = pl.Observations(counts(3))
    emission = pl.PoissonEmission(LATENT, 3, exposure=exposure)
    per_bin = pl.PoissonEmission(LATENT, 3)
    for one in (emission, per_bin):
        pyro.set_rng_seed(1)
        one.initialise(data)
    z = torch.randn(7, LATENT)
    torch.testing.assert_close(emission.mean(z), per_bin.mean(z))
    torch.testing.assert_close(emission.rate(z) * torch.as_tensor(exposure), per_bin.rate(z))
    reported = {name: value for name, (_, value) in emission.parameters_in_data_units().items()}
    torch.testing.assert_close((z @ reported["weight"].mT + reported["bias"]).exp(), emission.rate(z))


def test_poisson_stays_finite_however_far_out_the_state() -> None:
    emission, data = started("poisson")
    z = torch.tensor([1e6, -1e6]).expand(SERIES, TIME, 2).clone().requires_grad_()
    emission.log_likelihood(z, data.values, data.mask).sum().backward()
    assert z.grad is not None and bool(z.grad.isfinite().all())


def test_student_t_tends_to_the_gaussian() -> None:
    data = gappy(numbers(3))
    student, gaussian = pl.StudentTEmission(LATENT, 3), pl.GaussianEmission(LATENT, 3)
    decoder = nn.Linear(LATENT, 3)
    student.decoder = gaussian.decoder = decoder
    z = torch.randn(SERIES, TIME, LATENT)
    student.degrees_of_freedom = torch.full((3,), 1e7)
    near = student.log_likelihood(z, data.values, data.mask)
    torch.testing.assert_close(near, gaussian.log_likelihood(z, data.values, data.mask), rtol=1e-4, atol=1e-4)
    student.degrees_of_freedom = torch.full((3,), 3.0)
    far = student.log_likelihood(z, data.values, data.mask)
    assert not torch.allclose(far, near, rtol=1e-2)


def test_student_t_holds_its_degrees_of_freedom_above_one() -> None:
    emission = pl.StudentTEmission(1, 1)
    with torch.no_grad():
        dict(emission.named_parameters())["degrees_of_freedom_unconstrained"].fill_(-30.0)
    assert emission.degrees_of_freedom.item() >= 1.0


def test_student_t_starts_unmoved_by_outliers() -> None:
    clean = torch.randn(4, 500, 1)
    dirty = torch.where(torch.rand(clean.shape) < 0.05, 1e4 * torch.randn(clean.shape), clean)
    emission = pl.StudentTEmission(1, 1)
    emission.initialise(pl.Observations(dirty))
    # the median of 2000 values, 5 % of them outliers, has a standard error of .03; MAD and half-steps gain 8 % and 20 %
    assert abs(emission.shift.item()) < 0.15
    assert emission.scale.item() == pytest.approx(1.0, abs=0.25)
    assert emission.noise.item() == pytest.approx(0.7, abs=0.2)
    assert emission.latent_points(pl.Observations(dirty)).abs().max() < 5.0


def test_student_t_starts_on_channels_that_mostly_stand_still() -> None:
    values = torch.zeros(2, 100, 1)
    values[:, ::5] = torch.randn(2, 20, 1)
    emission = pl.StudentTEmission(1, 1)
    scores = emission.initialise(pl.Observations(values))
    assert bool(scores.isfinite().all()) and emission.scale.item() > 0.1 and emission.noise.item() > 0.0


def test_joint_emission_is_the_sum_of_its_parts() -> None:
    emission, data = started("joint")
    assert isinstance(emission, pl.JointEmission)
    z = torch.randn(SERIES, TIME, LATENT)
    whole = emission.log_likelihood(z, data.values, data.mask)
    parts = torch.zeros(SERIES, TIME)
    for part, channels in zip(emission.parts, ([0, 1], [2, 3, 4], [5], [6]), strict=True):
        own = data.select_channels(channels)
        part.check(own)
        parts = parts + part.log_likelihood(z, own.values, own.mask)
    torch.testing.assert_close(whole, parts)
    assert emission.obs_dim == 7 and emission.mean(z).shape == (SERIES, TIME, 7) and emission.noise.shape == (7,)


def test_joint_emission_reports_its_parts_apart() -> None:
    emission, _ = started("joint")
    reported = emission.parameters_in_data_units()
    assert set(reported) == {
        *(f"{name}_{i}" for i in range(4) for name in ("weight", "bias")), "noise_0", "noise_2"
    }
    dims, weight = reported["weight_3"]
    assert dims == ("category_3", "latent_dim") and weight.shape == (3, LATENT)


def test_joint_emission_refuses_values_where_they_are() -> None:
    values = joint_values()
    values[1, 4, 3] = 0.5
    with pytest.raises(pl.ObservationError, match="got 0.5 at time 4 of channel 'y3' in series '1'"):
        joint().check(pl.Observations(values))
