"""What guides make of missing values: a line between those that were seen, and silence."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.guides.standard_values import interpolated, standardised


def test_missing_values_lie_on_the_line_between_those_seen() -> None:
    times = np.array([0.0, 1.0, 1.5, 4.0, 5.0, 7.0])
    values = np.array([[np.nan, 2.0, np.nan, 8.0, 1.0, np.nan], [3.0, np.nan, np.nan, np.nan, np.nan, 5.0]]).T
    data = pl.Observations(values[None], times)
    found = interpolated(data, torch.zeros(2), torch.tensor([1.0, 2.0]))
    first, second = np.interp(times, [1.0, 4.0, 5.0], [2.0, 8.0, 1.0]), np.interp(times, [0.0, 7.0], [1.5, 2.5])
    expected = np.stack([first, second], -1)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-6)


def test_a_channel_without_a_value_in_a_series_is_at_the_mean() -> None:
    values = torch.randn(2, 5, 2)
    values[1, :, 0] = torch.nan
    data = pl.Observations(values)
    found = interpolated(data, torch.zeros(2), torch.ones(2))
    assert torch.equal(found[1, :, 0], torch.zeros(5))
    torch.testing.assert_close(found[0], values[0])
    torch.testing.assert_close(found[1, :, 1], values[1, :, 1])


def test_the_padding_of_a_shorter_series_is_not_between_anything() -> None:
    short = torch.randn(4, 1)
    data = pl.Observations([torch.randn(9, 1), short])
    found = interpolated(data, torch.zeros(1), torch.ones(1))
    torch.testing.assert_close(found[1, :4], short)


def test_values_that_are_all_there_are_left_as_they_are() -> None:
    data = pl.Observations(torch.randn(3, 6, 2))
    shift, scale = torch.randn(2), torch.rand(2) + 0.5
    assert torch.equal(interpolated(data, shift, scale), standardised(data, shift, scale))


@pytest.mark.parametrize("missing", [0.3, 0.7])
def test_a_guide_starts_near_the_data_however_many_are_missing(missing: float) -> None:
    """Before training its bound is not much further from the evidence than with all values there."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    values = datasets.double_well(48, 60, gap=0.1, noise=0.3, seed=1).observations.values
    lost = []
    for share in (0.0, missing):
        seen = torch.rand(values.shape) >= share
        data = pl.Observations(values, 0.1 * np.arange(60), mask=seen)
        model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
        guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
        scores = model.initialise(data)
        states = model.emission.latent_points(data)
        guide.initialise(data, scores)
        with torch.no_grad():
            evidence = pl.grid_log_evidence(model, data, pl.StateGrid.covering(states, size=200, margin=1.0)).sum()
            bound = -np.mean([pl.PathELBO()(model, guide)(data) for _ in range(5)])
        lost.append(float(evidence - bound) / len(values))
    assert lost[1] < 3.0 * lost[0]
