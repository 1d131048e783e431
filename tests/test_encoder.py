"""The encoder: padding, missing values, units, and one direction of time."""

from __future__ import annotations

import pytest
import torch
from precision import default_dtype
from ragged_series import CHANNELS, LENGTHS, ragged, single

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def test_encoder_does_not_see_padding() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    context = encoder(data)
    assert context.shape == (len(LENGTHS), max(LENGTHS), encoder.context_dim)
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(context[i, :n], encoder(single(data, i))[0])
    shorter = data.select([1, 2])  # all padded: no series has the full length
    torch.testing.assert_close(encoder(shorter)[0, : LENGTHS[1]], context[1, : LENGTHS[1]])


def test_encoder_tells_missing_from_zero_and_looks_both_ways() -> None:
    values = torch.randn(1, 6, 1)
    values[0, 3] = 0.0
    mask = torch.ones(1, 6, 1, dtype=torch.bool)
    mask[0, 3] = False
    encoder = pl.RecurrentEncoder(1, 5)
    seen, missing = encoder(pl.Observations(values)), encoder(pl.Observations(values, mask=mask))
    assert bool(((seen - missing).abs().sum(-1) > 1e-6).all())


def test_encoder_standardises_what_is_observed() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    for channel in range(CHANNELS):
        seen = data.values[..., channel][data.mask[..., channel]]
        torch.testing.assert_close(encoder.shift[channel], seen.mean())
        torch.testing.assert_close(encoder.scale[channel], seen.std(correction=0))


@pytest.mark.parametrize("kind", [pl.RecurrentEncoder, pl.ConvolutionalEncoder])
def test_lower_precision_changes_contexts_by_its_rounding_and_no_more(
    kind: type[pl.RecurrentEncoder] | type[pl.ConvolutionalEncoder],
) -> None:
    with default_dtype(torch.float32):
        data = ragged()
        encoder = kind(CHANNELS, 32)
        encoder.initialise(data)
        expected = encoder(data)
        encoder.autocast = torch.bfloat16
        found = encoder(data)
    assert found.dtype == torch.float32
    off = (found - expected).detach().abs()
    assert 1e-6 < float(off.mean()) < 2**-8 and float(off.max()) < 2**-4  # bfloat16 has eight significant bits
    found.sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in encoder.parameters())


def test_encoder_is_blind_to_units() -> None:
    data = ragged()
    encoder = pl.RecurrentEncoder(CHANNELS, 5)
    encoder.initialise(data)
    expected = encoder(data)
    scaled = pl.Observations(
        [60.0 * data.values[i, :n] - 7.0 for i, n in enumerate(LENGTHS)],
        [1000.0 * data.times[i, :n] for i, n in enumerate(LENGTHS)],
        mask=[data.mask[i, :n] for i, n in enumerate(LENGTHS)],
    )
    encoder.initialise(scaled)
    found = encoder(scaled)
    for i, n in enumerate(LENGTHS):
        torch.testing.assert_close(found[i, :n], expected[i, :n])
