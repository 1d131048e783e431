"""The transformer encoder: what it may see, what padding and gaps mean to it, and its attention written out."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from ragged_series import CHANNELS, LENGTHS, ragged, single

import pyro_langevin as pl
from pyro_langevin.attention import TimeAttention
from pyro_langevin.encoders import Direction

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

DIRECTIONS = {"two-sided": pl.TwoSided(), "smoothing": pl.Smoothing(), "filtering": pl.Filtering()}
every_direction = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)


@torch.no_grad()
def busy(encoder: pl.TransformerEncoder) -> pl.TransformerEncoder:
    """An encoder whose layers do something: at the start they do nothing."""
    for parameter in encoder.layers.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


@every_direction
def test_contexts_know_of_the_rows_on_their_side_alone_and_never_of_padding(direction: Direction) -> None:
    data = ragged()
    encoder = busy(pl.TransformerEncoder(CHANNELS, 8, direction=direction, heads=2))
    context = encoder(data)
    assert context.shape == (4, 7, encoder.context_dim) and encoder.context_dim == 8
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(context[i, :n], encoder(single(data, i))[0])
    values, mask = data.values.clone(), data.mask.clone()
    values[0, 4] += 1.0
    mask[0, 4] = True
    before = encoder(pl.Observations(data.values, data.times, mask=mask))[0]
    after = encoder(pl.Observations(values, data.times, mask=mask))[0]
    changed = ((before - after).abs() > 1e-9).any(-1)
    behind, ahead = direction.looks_ahead, direction.passes == 2 or not direction.looks_ahead
    assert changed.tolist() == [behind] * 4 + [True] + [ahead] * 2


def test_attention_written_out_for_two_rows() -> None:
    layer = TimeAttention(2, 1)
    with torch.no_grad():
        layer.ask.weight.copy_(torch.randn(6, 2))
        layer.answer.weight.copy_(torch.eye(2))
    rows, times = torch.tensor([[1.0, -3.0], [0.5, 2.0]]), torch.tensor([0.0, 1.7])
    found = layer(rows, times, torch.ones(2, 2, dtype=torch.bool))
    # a row of two, normalised, is (1, -1) up to its sign and a rounding constant
    normal = torch.nn.functional.layer_norm(rows, (2,))
    query, key, value = (normal @ layer.ask.weight.mT + layer.ask.bias).chunk(3, -1)
    for row, other in ((0, 1), (1, 0)):
        lag = float(times[other] - times[row])
        turn = torch.tensor([[math.cos(lag), -math.sin(lag)], [math.sin(lag), math.cos(lag)]])
        own = query[row] @ key[row] / math.sqrt(2.0)
        far = query[row] @ (turn @ key[other]) / math.sqrt(2.0) - 1.7 * layer.log_forgetting.exp()
        weight = torch.stack([own, far.squeeze()]).softmax(0)
        expected = rows[row] + weight[0] * value[row] + weight[1] * value[other]
        torch.testing.assert_close(found[row], expected)


def test_it_does_not_matter_when_a_series_begins_nor_in_which_unit() -> None:
    values, times = torch.randn(1, 9, 2), torch.rand(9).cumsum(0)
    data, later = pl.Observations(values, times), pl.Observations(values, times + 100.0)
    encoder = busy(pl.TransformerEncoder(2, 8, heads=2))
    encoder.initialise(data)
    contexts = encoder(data)
    torch.testing.assert_close(encoder(later), contexts)
    slow = pl.Observations(values, 3.0 * times)
    assert not torch.allclose(encoder(slow), contexts)
    encoder.initialise(slow)
    torch.testing.assert_close(encoder(slow), contexts)


def test_rows_are_told_apart_by_when_they_were() -> None:
    encoder = busy(pl.TransformerEncoder(1, 8, heads=1))
    values = torch.randn(1, 6, 1)
    contexts = encoder(pl.Observations(values))
    swapped = encoder(pl.Observations(values[:, [0, 1, 3, 2, 4, 5]]))
    assert not torch.allclose(contexts[:, 0], swapped[:, 0])


@pytest.mark.parametrize("kind", [pl.SteeredGuide, pl.GaussMarkovGuide, pl.ControlledGuide])
def test_guides_train_with_it(kind: type) -> None:
    pyro.clear_param_store()
    data = pl.Observations(torch.randn(6, 15, 2).cumsum(1))
    model = pl.LangevinModel(pl.Overdamped(pl.QuadraticPotential(2)), pl.GaussianEmission(2, 2))
    guide = kind(model, pl.TransformerEncoder(2, 8, layers=1, heads=2))
    result = pl.fit(model, guide, data, steps=12, exact=False, progress=False)
    assert all(torch.isfinite(p).all() for p in guide.parameters())
    assert len(result.members[0].loss) == 12


def test_refusals() -> None:
    with pytest.raises(ValueError, match="multiple of twice the number of heads, got a width of 10 and 4 heads"):
        pl.TransformerEncoder(2, 10)
    with pytest.raises(ValueError, match="TransformerEncoder: expected at least one layer, got 0"):
        pl.TransformerEncoder(2, 8, layers=0)
    with pytest.raises(ValueError, match="TransformerEncoder: expected 3 channels, got 2"):
        pl.TransformerEncoder(3, 8)(pl.Observations(torch.randn(1, 5, 2)))
