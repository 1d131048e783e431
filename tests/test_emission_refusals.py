"""What emissions refuse, and decoders of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from emission_cases import CASES, EMISSIONS, LATENT, SERIES, TIME, every_emission, every_kind, gappy, numbers
from torch import nn

import pyro_langevin as pl
from pyro_langevin.emissions.refusal import refuse_where

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_emission
def test_another_number_of_channels_is_refused(name: str) -> None:
    emission = EMISSIONS[name][0]()
    with pytest.raises(ValueError, match=rf"expected \(series, time, {emission.obs_dim}\).*got \(3, 40, 9\); "):
        emission.check(pl.Observations(numbers(9)))


@every_kind
def test_values_of_another_kind_are_refused_where_they_are(kind: str) -> None:
    case = CASES[kind]
    if case.wrong is None:
        pytest.skip("every real number will do")
    wrong, message = case.wrong
    values = case.values()
    emission = case.build()
    emission.check(pl.Observations(values))
    values[2, 3, values.shape[-1] // 2] = wrong
    times = 0.5 * torch.arange(TIME)
    with pytest.raises(pl.ObservationError, match=message):
        emission.check(pl.Observations(values, times))
    with pytest.raises(pl.ObservationError, match=message):
        emission.observe(torch.zeros(SERIES, TIME, LATENT), pl.Observations(values, times))
    mask = torch.ones(values.shape, dtype=torch.bool)
    mask[2, 3] = False
    emission.check(pl.Observations(values, times, mask=mask))  # a missing value may be anything
    with pytest.raises(pl.ObservationError, match="got 0.5 at"):
        emission.check(pl.Observations(torch.where(mask, case.values(), 0.5), times))


def test_what_is_refused_must_have_been_observed() -> None:
    data = gappy(numbers(2))
    refuse_where(data.values == 0, data, "anything but 0", "shift the values")  # missing values are stored as 0
    with pytest.raises(pl.ObservationError, match="expected anything but 1e6"):
        refuse_where(data.values < 1e6, data, "anything but 1e6", "shift the values")


@every_kind
def test_decoders_of_ones_own_are_used_kept_and_checked(kind: str) -> None:
    case = CASES[kind]
    decoder = nn.Sequential(nn.Linear(LATENT, 5), nn.Tanh(), nn.Linear(5, case.outputs))
    emission, data = case.build(decoder=decoder), gappy(case.values())
    before = copy.deepcopy(decoder.state_dict())
    emission.initialise(data)
    for name, value in decoder.state_dict().items():
        torch.testing.assert_close(value, before[name])
    z = torch.randn(SERIES, TIME, LATENT)
    law = case.law(emission, z)
    torch.testing.assert_close(
        emission.log_likelihood(z, data.values, data.mask), (law.log_prob(data.values) * data.mask).sum(-1)
    )
    assert not {"weight", "bias"} & set(emission.parameters_in_data_units())
    with pytest.raises(ValueError, match=rf"expected a decoder with {case.outputs} outputs, got 1; end it with"):
        case.build(decoder=nn.Linear(LATENT, 1)).mean(z)
    case.build(decoder=nn.Linear(LATENT, case.outputs, bias=False)).initialise(data)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pl.PoissonEmission(0, 3), "PoissonEmission: latent_dim and obs_dim must be at least 1, got 0 and 3"),
        (lambda: pl.BernoulliEmission(1, 0), "BernoulliEmission: latent_dim and obs_dim must be at least 1"),
        (lambda: pl.CategoricalEmission(1, 1), "n_categories must be at least 2, got 1"),
        (lambda: pl.PoissonEmission(1, 3, exposure=0.0), r"positive bin width, or \(3,\) of them, got 0.0"),
        (lambda: pl.PoissonEmission(1, 3, exposure=torch.ones(2)), r"positive bin width, or \(3,\) of them"),
        (lambda: pl.JointEmission([]), "expected emissions of one latent_dim, got no emissions"),
        (
            lambda: pl.JointEmission([pl.GaussianEmission(1, 1), pl.PoissonEmission(2, 1)]),
            r"expected emissions of one latent_dim, got \[1, 2\]",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
