"""The convolutional encoder: it sees all rows within reach on the sides that it may look to, and never the padding."""

from __future__ import annotations

import pyro
import pytest
import torch

import pyro_langevin as pl
from pyro_langevin.encoders import Direction

DIRECTIONS = {"two-sided": pl.TwoSided(), "smoothing": pl.Smoothing(), "filtering": pl.Filtering()}
every_direction = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)


@every_direction
def test_a_context_knows_of_the_rows_within_reach_on_its_side_alone(direction: Direction) -> None:
    torch.manual_seed(0)
    encoder = pl.ConvolutionalEncoder(2, 8, direction=direction)
    values = torch.randn(1, 30, 2)
    data = pl.Observations(values)
    encoder.initialise(data)
    moved = values.clone()
    moved[0, 15] += 1.0
    change = (encoder(pl.Observations(moved)) - encoder(data)).abs().amax((0, 2)) > 1e-6
    reach = 7 if direction.passes == 2 else 5
    behind = reach if direction.looks_ahead else 0  # contexts before the row that know of it
    ahead = reach if direction.passes == 2 or not direction.looks_ahead else 0
    expected = torch.zeros(30, dtype=torch.bool)
    expected[15 - behind : 15 + ahead + 1] = True
    assert change.tolist() == expected.tolist()


@every_direction
def test_a_padded_series_has_the_context_of_the_series_alone(direction: Direction) -> None:
    torch.manual_seed(0)
    encoder = pl.ConvolutionalEncoder(2, 8, direction=direction)
    long, short = torch.randn(20, 2), torch.randn(9, 2)
    both = pl.Observations([long, short])
    encoder.initialise(both)
    torch.testing.assert_close(encoder(both)[1:, :9], encoder(pl.Observations([short])))
    torch.testing.assert_close(encoder(both)[:1], encoder(pl.Observations([long])))


def test_a_missing_value_says_nothing_of_itself() -> None:
    encoder = pl.ConvolutionalEncoder(1, 8)
    data = pl.Observations(torch.randn(1, 20, 1), mask=torch.arange(20)[None] != 7)
    encoder.initialise(data)
    other = data.select([0])
    other.values[0, 7] = 5.0
    torch.testing.assert_close(encoder(other), encoder(data))


def test_gaps_are_seen_in_the_unit_of_the_typical_one() -> None:
    encoder = pl.ConvolutionalEncoder(1, 8)
    values = torch.randn(1, 20, 1)
    steady, slow = (pl.Observations(values, times=unit * torch.arange(20.0)) for unit in (1.0, 3.0))
    encoder.initialise(steady)
    contexts = encoder(steady)
    assert not torch.allclose(encoder(slow), contexts)
    encoder.initialise(slow)
    torch.testing.assert_close(encoder(slow), contexts)


@pytest.mark.parametrize("kind", [pl.SteeredGuide, pl.GaussMarkovGuide, pl.ControlledGuide])
def test_guides_train_with_it(kind: type) -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    data = pl.Observations(torch.randn(6, 15, 2).cumsum(1))
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(2, 8)), pl.GaussianEmission(2, 2))
    guide = kind(model, pl.ConvolutionalEncoder(2, 8))
    result = pl.fit(model, guide, data, steps=12, exact=False, progress=False)
    assert all(torch.isfinite(p).all() for p in guide.parameters())
    assert len(result.members[0].loss) == 12


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="ConvolutionalEncoder: expected 3 channels, got 2"):
        pl.ConvolutionalEncoder(3)(pl.Observations(torch.randn(1, 5, 2)))
    with pytest.raises(ValueError, match="at least 1, got 0, 64"):
        pl.ConvolutionalEncoder(0)
