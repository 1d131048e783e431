"""How emissions start from data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from emission_cases import outcomes
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.emissions.smoothing import smoothed

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def hops(n_series: int, n_times: int, dwell: int) -> Tensor:
    """A hidden path -1, +1 that stays for ``dwell`` rows, ``(series, time, 1)``."""
    offset = torch.randint(dwell, (n_series, 1))
    return (2.0 * (((torch.arange(n_times) + offset) // dwell) % 2) - 1.0).unsqueeze(-1)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.detach().flatten(), b.flatten().to(a)]))[0, 1].abs())


SLOPE = torch.tensor([1.0, -1.0, 0.7, 1.2])
HIDDEN = {
    "gaussian": (lambda x: x * SLOPE + 0.8 * torch.randn(*x.shape[:2], 4), lambda: pl.GaussianEmission(1, 4)),
    "student_t": (
        lambda x: x * SLOPE + 0.3 * torch.distributions.StudentT(1.5).sample((*x.shape[:2], 4)),
        lambda: pl.StudentTEmission(1, 4),
    ),
    "poisson": (lambda x: torch.poisson(2.0 * (x * SLOPE).exp()), lambda: pl.PoissonEmission(1, 4)),
    "sparse poisson": (lambda x: torch.poisson(0.08 * (x * SLOPE).exp()), lambda: pl.PoissonEmission(1, 4)),
    "bernoulli": (lambda x: torch.bernoulli((2.0 * x * SLOPE).sigmoid()), lambda: pl.BernoulliEmission(1, 4)),
    "categorical": (
        lambda x: torch.distributions.Categorical(logits=x * torch.tensor([1.5, 0.0, -1.5])).sample().unsqueeze(-1),
        lambda: pl.CategoricalEmission(1, 3),
    ),
    "joint": (
        lambda x: torch.cat([x * SLOPE + 0.8 * torch.randn(*x.shape[:2], 4), torch.poisson((x * SLOPE).exp())], -1),
        lambda: pl.JointEmission([pl.GaussianEmission(1, 4), pl.PoissonEmission(1, 4)]),
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_the_start_finds_what_is_hidden(name: str) -> None:
    simulate, build = HIDDEN[name]
    x = hops(20, 300, 60)
    data = pl.Observations(simulate(x).double())
    emission = build()
    scores = emission.initialise(data)
    points = emission.latent_points(data).reshape(x.shape)
    assert scores.shape == (1, data.obs_dim) and bool(scores.isfinite().all())
    assert correlation(points, x) > 0.7
    assert float(points.square().mean()) == pytest.approx(1.0 + emission.blur**2, abs=0.05)
    single = (data.values - data.values.mean((0, 1))) @ scores.mT
    assert correlation(single, x) > (0.25 if name == "sparse poisson" else 0.6)
    # the two states, told apart by the rough latent, have about the mean emission that the data have in each
    sign = torch.sign((points * x).mean())
    for state in (-1.0, 1.0):
        seen = data.values[(x == state).squeeze(-1)].median(0).values if name == "student_t" else data.values[
            (x == state).squeeze(-1)
        ].mean(0)
        told = emission.mean(sign * state * torch.ones(1))
        other = data.values[(x == -state).squeeze(-1)]
        apart = (seen - (other.median(0).values if name == "student_t" else other.mean(0))).abs()
        assert bool(((told - seen).abs() < 0.45 * apart).all()), (told, seen)
    assert bool((emission.noise > 0).all())


def test_smoothing_is_a_kernel_mean_with_prior_rows() -> None:
    """An impulse among rows that tell nothing of one another: the narrowest kernel, with the missing row left out."""
    values = torch.tensor([0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0])[None, :, None]
    mask = torch.ones(1, 7, 1, dtype=torch.bool)
    mask[0, 4] = False
    found = smoothed(values, mask, torch.tensor([1.0]), torch.tensor([0.5]))[0, :, 0]
    rows = torch.arange(7.0)
    weight = (-0.5 * (rows[:, None] - rows).square()).exp() * ((rows[:, None] - rows).abs() <= 3) * mask[0, :, 0]
    torch.testing.assert_close(found, (weight @ values[0, :, 0] + 0.5) / (weight.sum(-1) + 0.5))


def test_smoothing_is_as_wide_as_the_data_are_smooth() -> None:
    mean, prior = torch.tensor([1.0]), torch.tensor([0.5])
    slow = torch.poisson(1.0 + 0.9 * hops(20, 400, 200))
    fast = torch.poisson(20.0 * (1.0 + 0.9 * hops(20, 400, 2)))
    mask = torch.ones(20, 400, 1, dtype=torch.bool)
    steps = [
        smoothed(counted / size, mask, mean, prior).diff(dim=1).std() / (counted / size).diff(dim=1).std()
        for counted, size in ((slow, 1.0), (fast, 20.0))
    ]
    assert steps[0] < 0.1 and steps[1] > 0.2


def test_the_regression_to_scores_is_the_inverse_of_a_gaussian_start() -> None:
    data = pl.Observations(torch.randn(20, 30, 2) @ torch.randn(2, 5) + 0.1 * torch.randn(20, 30, 5))
    emission = pl.GaussianEmission(2, 5)
    scores = emission.initialise(data)
    centred = data.values - data.values.mean((0, 1))
    torch.testing.assert_close((centred @ scores.mT).flatten(0, 1), emission.latent_points(data))


@pytest.mark.parametrize("build", [pl.PoissonEmission, pl.BernoulliEmission])
def test_a_channel_without_events_is_refused_in_all_data_and_harmless_in_a_part(
    build: Callable[[int, int], pl.Emission],
) -> None:
    values = outcomes(2)
    values[..., 1] = 0.0
    with pytest.raises(pl.ObservationError, match="got the constant 0 in channel 'y1'; drop it"):
        pl.Observations(values)
    values[2, 5, 1] = 1.0
    part = pl.Observations(values).select([0, 1])
    emission = build(1, 2)
    scores = emission.initialise(part)
    for tensor in (scores, emission.noise, emission.mean(torch.randn(5, 1)), *emission.parameters()):
        assert bool(tensor.isfinite().all())
    assert bool((emission.noise > 0).all())


def test_codes_never_seen_and_lone_rows_start_finite() -> None:
    values = torch.randint(2, (3, 2, 1)).double()
    values[0, 0], values[0, 1] = 0.0, 1.0
    emission = pl.CategoricalEmission(3, 6)
    scores = emission.initialise(pl.Observations(values))
    for tensor in (scores, emission.noise, emission.mean(torch.randn(5, 3)), *emission.parameters()):
        assert bool(tensor.isfinite().all())


def test_groups_never_observed_together_start_on_one_axis() -> None:
    x = hops(20, 300, 60)
    even, odd = torch.arange(0, 300, 2), torch.arange(1, 300, 2)
    numbers_seen = pl.Observations((x * SLOPE + 0.3 * torch.randn(20, 300, 4))[:, even], even, channels=list("abcd"))
    counts_seen = pl.Observations(torch.poisson(2.0 * (x * SLOPE).exp())[:, odd], odd, channels=list("efgh"))
    data = pl.join_channels([numbers_seen, counts_seen])
    emission = pl.JointEmission([pl.GaussianEmission(1, 4), pl.PoissonEmission(1, 4)])
    emission.initialise(data)
    gaussian, poisson = emission.parts
    for part in (gaussian, poisson):
        assert isinstance(part, pl.DecodedEmission) and isinstance(part.decoder, nn.Linear)
        weight = part.decoder.weight[:, 0]
        assert correlation(weight, SLOPE) > 0.9 and bool((weight.abs() > 0.2).all())
    assert correlation(emission.latent_points(data), x) > 0.8
    signs = [torch.sign(part.decoder.weight[0, 0]) for part in (gaussian, poisson)]  # type: ignore[union-attr]
    assert signs[0] == signs[1]
