"""Encoders that look one way."""

from __future__ import annotations

import pytest
import torch
from ragged_series import CHANNELS, LENGTHS, ragged, single

import pyro_langevin as pl
from pyro_langevin.encoders import Direction

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

DIRECTIONS = pytest.mark.parametrize(
    "direction", [pl.TwoSided(), pl.Smoothing(), pl.Filtering()], ids=["two-sided", "smoothing", "filtering"]
)


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
