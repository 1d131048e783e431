"""The Gaussian emission, its start from data, and a decoder of one's own."""

from __future__ import annotations

import pytest
import torch
from ragged_series import CHANNELS, ragged
from torch import Tensor, nn
from traces import nodes_of

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def test_log_likelihood_is_that_of_masked_normals() -> None:
    emission = pl.GaussianEmission(3, CHANNELS)
    emission.noise = torch.tensor([0.3, 2.0])
    data = ragged()
    z = torch.randn(*data.values.shape[:2], 3)
    law = torch.distributions.Normal(emission.mean(z), torch.tensor([0.3, 2.0]))
    expected = (law.log_prob(data.values) * data.mask).sum(-1)
    torch.testing.assert_close(emission.log_likelihood(z, data.values, data.mask), expected)
    points = torch.randn(11, 1, 1, 3)
    table = emission.log_likelihood(points, data.values, data.mask)
    assert table.shape == (11, *data.values.shape[:2])
    torch.testing.assert_close(
        table[4, 1, 2], emission.log_likelihood(points[4, 0, 0], data.values[1, 2], data.mask[1, 2])
    )
    site = nodes_of(lambda: emission.observe(z, data))["y"]
    torch.testing.assert_close(site["fn"].log_prob(site["value"]), expected.sum(-1))


def test_emission_starts_on_the_principal_axes() -> None:
    states = torch.randn(30, 40, 2) * torch.tensor([3.0, 1.0])
    mixing, offset = torch.randn(2, 6), torch.tensor([10.0, -5.0, 0.0, 3.0, 100.0, 1.0])
    data = pl.Observations(states @ mixing + offset + 0.01 * torch.randn(30, 40, 6))
    emission = pl.GaussianEmission(2, 6)
    scores = emission.initialise(data)
    assert scores.shape == (2, 6)
    latent = (data.values - data.values.mean((0, 1))) @ scores.mT
    torch.testing.assert_close(latent.flatten(0, 1).T.cov(), torch.eye(2), rtol=0, atol=0.05)
    torch.testing.assert_close(emission.mean(latent), data.values, rtol=0, atol=0.1)
    assert bool((emission.noise > 0).all())


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_emission_starts_from_data_with_gaps_and_any_number_of_channels(latent_dim: int) -> None:
    data = ragged()
    emission = pl.GaussianEmission(latent_dim, CHANNELS)
    scores = emission.initialise(data)
    assert scores.shape == (latent_dim, CHANNELS)
    for tensor in (scores, *emission.parameters()):
        assert bool(tensor.isfinite().all())


class Squash(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, CHANNELS)

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z).tanh()


def test_a_decoder_of_ones_own_is_used_and_trained() -> None:
    data = ragged()
    decoder = Squash()
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, CHANNELS, decoder=decoder))
    before = decoder.inner.weight.clone()
    model.initialise(data)
    torch.testing.assert_close(decoder.inner.weight, before)
    z = torch.randn(5, 1)
    torch.testing.assert_close(model.emission.mean(z), model.emission.shift + model.emission.scale * decoder(z))
    nodes = nodes_of(model, data)
    nodes["y"]["log_prob_sum"].backward()
    assert decoder.inner.weight.grad is not None
    registered = {id(node["value"].unconstrained()) for node in nodes.values() if node["type"] == "param"}
    assert {id(parameter) for parameter in model.parameters()} <= registered
