"""Forecast scores, leave-one-out and predictive draws of fits, against models that are solved exactly."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hand_made_fits import GRID, fitted, start, well_data, well_model
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from precision import default_dtype
from scipy import stats
from standard_errors import ALLOWED_ERRORS
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.inference_data import (
    add_log_likelihood,
    add_posterior_predictive,
    add_prior_predictive,
    as_elpd,
    leave_future_out,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # arviz 0.23 announces its successor
    import arviz as az

LENGTHS = (8, 5)


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def linear_model(stiffness: float = 1.4) -> tuple[pl.LangevinModel, OrnsteinUhlenbeck, LinearEmission]:
    matrix, centre = torch.tensor([[stiffness]]), torch.tensor([0.3])
    process = OrnsteinUhlenbeck(matrix, centre, 0.8, 1.2, torch.tensor([-0.2]), torch.tensor([[0.36]]))
    emission = pl.GaussianEmission(1, 2)
    emission.noise = torch.tensor([0.5, 0.8])
    assert isinstance(emission.decoder, torch.nn.Linear)
    with torch.no_grad():
        emission.decoder.weight.copy_(torch.tensor([[1.0], [-0.6]]))
        emission.decoder.bias.copy_(torch.tensor([0.1, 0.0]))
    exact = LinearEmission(emission.decoder.weight.detach(), emission.decoder.bias.detach(), torch.tensor([0.5, 0.8]))
    dynamics = pl.Overdamped(
        pl.QuadraticPotential(1, centre, stiffness=matrix), friction=torch.tensor(0.8), temperature=torch.tensor(1.2)
    )
    return pl.LangevinModel(dynamics, emission, initial=start(-0.2, 0.6)), process, exact


def ragged() -> pl.Observations:
    """Two series of different lengths on irregular times, with missing values and one row wholly missing."""
    values = [torch.randn(n, 2) for n in LENGTHS]
    masks = [torch.rand(n, 2) < 0.8 for n in LENGTHS]
    for mask in masks:
        mask[0] = True
        mask[2] = False
    return pl.Observations(values, [(0.05 + 0.3 * torch.rand(n)).cumsum(0) for n in LENGTHS], mask=masks)


def kalman_forecasts(process: OrnsteinUhlenbeck, emission: LinearEmission, data: pl.Observations, h: int) -> np.ndarray:
    """Log density of each row given those at least ``h`` rows before it: a difference of two evidences."""

    def evidence(series: int, rows: list[int]) -> Tensor:
        mask = torch.zeros_like(data.mask[series])
        mask[rows] = data.mask[series, rows]
        n = int(data.lengths[series])
        return kalman_log_evidence(process, emission, data.times[series, :n], data.values[series, :n], mask[:n])

    found = np.full(data.mask.shape[:2], np.nan)
    for series, n in enumerate(data.lengths.tolist()):
        for k in range(h, n):
            if bool(data.mask[series, k].any()):
                known = list(range(k - h + 1))
                found[series, k] = evidence(series, [*known, k]) - evidence(series, known)
    return found


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_forecasts_on_the_grid_are_kalmans(horizon: int) -> None:
    model, process, emission = linear_model()
    data = ragged()
    grid = pl.StateGrid.around(-5.0, 5.0, size=300, margin=0.0)
    scores = leave_future_out(fitted(model, grid=grid), data, horizon=horizon)
    exact = kalman_forecasts(process, emission, data, horizon)
    assert scores.attrs == {"horizon": horizon, "method": "grid"}
    np.testing.assert_allclose(scores["ensemble"], exact, rtol=0, atol=2e-3)  # second order in the spacing .03


@pytest.mark.parametrize("horizon", [1, 2])
def test_forecasts_by_particles_are_kalmans(horizon: int) -> None:
    model, process, emission = linear_model()
    data = ragged()
    exact = kalman_forecasts(process, emission, data, horizon)
    fit, runs = fitted(model, grid=None), 12
    found = np.stack(
        [leave_future_out(fit, data, horizon=horizon, particles=2000, seed=i)["ensemble"] for i in range(runs)]
    )
    assert np.array_equal(np.isnan(found[0]), np.isnan(exact))
    # the linearisation of a linear force is exact: what is left is Monte Carlo, and a bias of half its variance
    scored = np.isfinite(exact)
    error = (found - exact)[:, scored]
    bias, spread = error.mean(0) + 0.5 * error.var(0), error.std(0, ddof=1)
    assert (abs(bias) < stats.t.isf(1e-6, runs - 1) * spread / math.sqrt(runs)).all()
    assert spread.max() < 0.1


def test_the_ensembles_density_is_the_mean_of_the_seeds() -> None:
    grid = pl.StateGrid.around(-5.0, 5.0, size=100, margin=0.0)
    scores = leave_future_out(fitted(linear_model(1.0)[0], linear_model(3.0)[0], grid=grid), ragged())
    both = np.exp(scores["log_density"].values)
    assert np.nanmax(abs(both[0] - both[1])) > 1e-3
    np.testing.assert_allclose(np.exp(scores["ensemble"]), both.mean(0))


def test_only_what_comes_after_is_scored() -> None:
    fit = fitted(linear_model()[0], grid=pl.StateGrid.around(-5.0, 5.0, size=100, margin=0.0))
    data = ragged()
    whole, late = (leave_future_out(fit, data, after=after)["ensemble"].values for after in (None, 0.7))
    np.testing.assert_array_equal(late, np.where(data.times > 0.7, whole, np.nan))
    assert np.isfinite(late).sum() in range(1, int(np.isfinite(whole).sum()))
    with pytest.raises(ValueError, match="expected observations after 99"):
        leave_future_out(fit, data, after=99.0)
    with pytest.raises(ValueError, match="horizon and particles of at least 1, got 0"):
        leave_future_out(fit, data, horizon=0)


def test_the_right_barrier_forecasts_better_than_a_wrong_one() -> None:
    data = well_data(20, 100)
    right, wrong = (
        as_elpd(leave_future_out(fitted(well_model(barrier), grid=GRID), data)) for barrier in (4.0, 1.0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ 0.23 calls pandas in a way that pandas 3 deprecates
        table = az.compare({"wrong": wrong, "right": right})
    assert table.index.tolist() == ["right", "wrong"]
    assert abs(table.loc["wrong", "elpd_diff"]) > ALLOWED_ERRORS * table.loc["wrong", "dse"]
    assert "Computed from" in repr(right)


def test_a_score_needs_two_observations() -> None:
    scores = leave_future_out(fitted(well_model(4.0), grid=GRID), well_data(1, 30), after=5.7)
    with pytest.raises(ValueError, match="at least two observations, got 1"):
        as_elpd(scores)


@pytest.fixture(scope="module")
def drawn() -> tuple[object, pl.FitResult, pl.Observations]:
    """Draws of the exact posterior of two models of the same data."""
    with default_dtype(torch.float64):
        fit, data = fitted(well_model(4.0), well_model(3.0), grid=GRID), well_data()
        return pl.posterior(fit, data, draws=400), fit, data


def test_arviz_leaves_one_observation_out_as_the_grid_does(drawn: tuple) -> None:
    idata, fit, data = drawn
    scored = add_log_likelihood(idata, fit, data)
    likelihood = scored["log_likelihood"]["y"]
    assert likelihood.dims == ("chain", "draw", "observation") and not bool(likelihood.isnull().any())
    assert likelihood.sizes["observation"] == int(data.mask.any(-1).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few rows lean on the path
        found = az.loo(scored.sel(chain=[0]), var_name="y", pointwise=True)
    pointwise = found.loo_i if hasattr(found, "loo_i") else found.elpd_i
    # rows that their neighbours explain: the weights' variance is small, and the error follows from it
    weight = np.exp(-likelihood.values[0])
    error = weight.std(0) / weight.mean(0) / math.sqrt(len(weight))
    places = np.flatnonzero(error < 0.05)[::25]
    assert len(places) > 5
    for place in places:
        series = data.series_names.index(str(likelihood["series"].values[place]))
        exact = left_out(fit.model, data, series, int(likelihood["row"].values[place]))
        assert abs(float(pointwise[place]) - exact) < ALLOWED_ERRORS * error[place]


@torch.no_grad()
def left_out(model: pl.LangevinModel, data: pl.Observations, series: int, row: int) -> float:
    """Log density of one row given all others, as a difference of two evidences."""
    mask = data.mask.clone()
    mask[series, row] = False
    values = [torch.where(m, v, torch.nan)[:n] for v, m, n in zip(data.values, mask, data.lengths, strict=True)]
    without = pl.Observations(values, [t[:n] for t, n in zip(data.times, data.lengths, strict=True)])
    gained = pl.grid_log_evidence(model, data, GRID) - pl.grid_log_evidence(model, without, GRID)
    return gained[series].item()


def test_posterior_predictive_measures_the_drawn_paths_again(drawn: tuple) -> None:
    idata, fit, data = drawn
    more = add_posterior_predictive(idata, fit, data, draws=50)
    y = more["posterior_predictive"]["y"]
    assert y.dims == ("chain", "draw", "series", "time", "channel") and y.shape == (2, 50, 6, 60, 1)
    assert "posterior_predictive" not in idata
    z = idata["posterior"]["z"].sel(draw=y["draw"]).values
    assert np.array_equal(np.isnan(y.values), np.isnan(z))
    error = (y.values - z)[~np.isnan(z)]
    assert abs(error.std() - 0.3) < ALLOWED_ERRORS * 0.3 / math.sqrt(2 * error.size)
    assert abs(error.mean()) < ALLOWED_ERRORS * 0.3 / math.sqrt(error.size)
    with pytest.raises(ValueError, match="at least 1 draw, got 0"):
        add_posterior_predictive(idata, fit, data, draws=0)


def test_prior_predictive_follows_the_learned_law() -> None:
    model, process, emission = linear_model()
    data = ragged()
    idata = pl.posterior(fitted(model, grid=pl.StateGrid.around(-5.0, 5.0, size=100, margin=0.0)), data, draws=5)
    count = 4000
    y = add_prior_predictive(idata, fitted(model, grid=None), data, draws=count)["prior_predictive"]["y"].values[0]
    for series, n in enumerate(LENGTHS):
        assert np.isnan(y[:, series, n:]).all()
        law = process.path_law(data.times[series, :n])
        for channel in range(2):
            weight = float(emission.weight[channel, 0])
            mean = weight * law.mean.numpy() + float(emission.bias[channel])
            variance = weight**2 * law.variance.numpy() + float(emission.noise[channel]) ** 2
            found = y[:, series, :n, channel]
            assert (abs(found.mean(0) - mean) < ALLOWED_ERRORS * np.sqrt(variance / count)).all()
            assert (abs(found.var(0) - variance) < ALLOWED_ERRORS * variance * math.sqrt(2 / count)).all()


def test_draws_of_other_data_are_refused(drawn: tuple) -> None:
    idata, fit, _ = drawn
    with pytest.raises(ValueError, match=r"2 fits, 3 series and 60 times, got \(2, 6, 60\)"):
        add_log_likelihood(idata, fit, well_data(3))
