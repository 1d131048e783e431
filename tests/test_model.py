"""The model: its density, its start, minibatches, prediction, and the errors a user may meet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from ragged_series import CHANNELS, LENGTHS, ragged, single
from shipped_guides import every_guide, prepared
from torch import Tensor
from traces import log_density, nodes_of

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import at_observations

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


# --- model


@pytest.mark.parametrize("max_step", [None, 0.15])
@pytest.mark.parametrize("dim", [1, 2])
def test_model_density_is_path_times_emission(max_step: float | None, dim: int) -> None:
    data = ragged()
    model, _ = prepared(pl.SteeredGuide, data, dim=dim, max_step=max_step)
    nodes = nodes_of(model, data)
    z = nodes["z"]["value"]
    for i, n in enumerate(LENGTHS):
        alone = single(data, i)
        grid = pl.TimeGrid(alone.times[0], max_step=max_step)
        own = z[i, : grid.n_points]
        path = pl.LangevinPath(model.dynamics, model.initial(), grid)
        torch.testing.assert_close(nodes["z"]["log_prob"][i], path.log_prob(own))
        states = own[grid.observed_index]
        law = torch.distributions.Normal(model.emission.mean(states), model.emission.noise)
        seen = (law.log_prob(alone.values[0]) * alone.mask[0]).sum()
        torch.testing.assert_close(nodes["y"]["log_prob"][i], seen)
        torch.testing.assert_close(nodes["_RETURN"]["value"][i, :n], states)


def test_states_at_observations() -> None:
    data = ragged()
    grid = pl.TimeGrid.from_observations(data, max_step=0.2)
    z = grid.times.unsqueeze(-1).expand(3, *grid.times.shape, 2)
    torch.testing.assert_close(at_observations(z, grid), data.times.unsqueeze(-1).expand(3, -1, -1, 2))
    shared = pl.TimeGrid(torch.arange(5.0).expand(4, 5), max_step=0.3)
    z = shared.times.unsqueeze(-1)
    torch.testing.assert_close(at_observations(z, shared).squeeze(-1), torch.arange(5.0).expand(4, 5))


def test_the_initial_model_is_finite_and_scaled_to_the_data() -> None:
    data = ragged()
    model, _ = prepared(pl.SteeredGuide, data, dim=2)
    scores = model.initialise(data)
    assert scores.shape == (2, CHANNELS)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    gap = data.typical_gap
    assert 0.0 < model.dynamics.diffusion.item() * gap <= 0.3 + 1e-9


@every_guide
def test_minibatches_stand_for_all_series(guide_class: type[AmortisedGuide]) -> None:
    data = pl.Observations(torch.randn(6, 5, CHANNELS))
    model, guide = prepared(guide_class, data)
    z = torch.randn(6, 5, 1)

    def on(program: Callable[..., Tensor], rows: list[int], n_series: int | None) -> Tensor:
        return log_density(poutine.condition(program, {"z": z[rows]}), data.select(rows), n_series)

    for program in (model, guide):
        whole = on(program, list(range(6)), None)
        parts = [on(program, rows, 6) for rows in ([0, 3], [1, 5], [4, 2])]
        torch.testing.assert_close(torch.stack(parts).mean(), whole)


@every_guide
def test_annealing_scales_the_path_alone(guide_class: type[AmortisedGuide]) -> None:
    data = ragged()
    model, guide = prepared(guide_class, data)
    model.annealing = 0.25
    of_model, of_guide = nodes_of(model, data, 8), nodes_of(guide, data, 8)
    assert of_model["z"]["scale"] == of_guide["z"]["scale"] == 0.25 * 2.0
    assert of_model["y"]["scale"] == 2.0


def test_prior_and_posterior_predictive() -> None:
    data = ragged()
    model, guide = prepared(pl.SteeredGuide, data, max_step=0.3)
    n_points = model.grid(data).n_points
    for parallel in (False, True):
        prior = Predictive(poutine.uncondition(model), num_samples=9, parallel=parallel)(data)
        assert prior["z"].shape == (9, 4, n_points, 1) and prior["y"].shape == (9, *data.values.shape)
        assert not torch.equal(prior["y"][0], prior["y"][1])
        posterior = Predictive(model, guide=guide, num_samples=9, parallel=parallel, return_sites=["z"])(data)
        assert posterior["z"].shape == (9, 4, n_points, 1) and bool(posterior["z"].isfinite().all())


# --- errors


def build_guide(encoder_channels: int) -> AmortisedGuide:
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 3))
    return pl.SteeredGuide(model, pl.RecurrentEncoder(encoder_channels))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(2)), pl.GaussianEmission(3, 4)),
            "the dynamics have dimension 2, the emission expects latent_dim 3; build both with the same dimension",
        ),
        (lambda: build_guide(4), "the encoder reads 4 channels, the emission has 3; build both with the same"),
        (
            lambda: pl.RecurrentEncoder(5)(ragged()),
            "expected 5 channels, got 2; build the encoder with obs_dim=2",
        ),
        (
            lambda: pl.GaussianEmission(1, 3).check(ragged()),
            r"expected \(series, time, 3\), got \(4, 7, 2\); build the emission with obs_dim=2 or check the axes",
        ),
        (lambda: build_guide(3).model.initialise(ragged()), r"expected \(series, time, 3\), got \(4, 7, 2\)"),
        (lambda: build_guide(3).model(ragged()), r"expected \(series, time, 3\), got \(4, 7, 2\)"),
        (lambda: pl.GaussianEmission(0, 3), "at least 1, got 0 and 3"),
        (lambda: pl.RecurrentEncoder(0), "at least 1, got 0, 64"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(action: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as problem:
        action()
    assert "\n" not in str(problem.value)
