"""Effective draws, corrected occupancies, the gap to the evidence and the verdicts on guides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from damaged_guides import BridgeGuide, Damaged, ExactGuide, double_well, draws_of, simulated
from draws import TWO, arviz_psislw, as_inference_data, make_groups
from linear_gaussian import LinearEmission
from test_smoother import linear

import pyro_langevin as pl
from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.effective_samples import effective_samples
from pyro_langevin.diagnostics.guide_quality import evidence_gap
from pyro_langevin.diagnostics.pareto import smoothed_weights, tail_shape, trusted_shape
from pyro_langevin.diagnostics.verdicts import audit
from pyro_langevin.diagnostics.verdicts.guide import corrected_figures, guide_too_far, guide_too_narrow
from pyro_langevin.landscape import find_landscape

SIGMAS = 4.5
Groups = dict[str, xr.Dataset]


class Draws(dict[str, Any]):
    """Groups with root attributes."""

    def __init__(self, groups: Groups, **attrs: str) -> None:
        super().__init__(groups)
        self.attrs = attrs


def drawn(groups: Groups, **attrs: str) -> Draws:
    return Draws(groups, **attrs)


def set_fraction(groups: Groups, first: np.ndarray) -> None:
    """Path occupancies: ``first`` (chain, draw, series) in A, the rest in B; no particles."""
    kept = groups["occupancy"].drop_vars(["smoothed", "smoothed_error", "smoothed_sd"], errors="ignore")
    groups["occupancy"] = kept.assign(path=(("chain", "draw", "series", "state"), np.stack([first, 1.0 - first], -1)))


def set_weights(groups: Groups, log_weight: np.ndarray) -> None:
    """Log weights (chain, draw, series)."""
    stats = groups["sample_stats"]
    kept = stats.drop_vars(["log_evidence", "log_evidence_error", "guide_widening"], errors="ignore")
    dims = ("chain", "draw", "series")
    groups["sample_stats"] = kept.assign(log_p=(dims, log_weight), log_q=(dims, np.zeros_like(log_weight)))


def set_particles(groups: Groups, mean: float, *, error: float = 1e-3, evidence_error: float = 0.1) -> None:
    path = groups["occupancy"]["path"].isel(draw=0, drop=True)
    first = xr.full_like(path.isel(state=0, drop=True), mean)
    smoothed = xr.concat([first, 1.0 - first], dim=path["state"]).transpose("chain", "series", "state")
    groups["occupancy"] = groups["occupancy"].assign(
        smoothed=smoothed, smoothed_error=xr.full_like(smoothed, error), smoothed_sd=xr.full_like(smoothed, 0.02)
    )
    stats = groups["sample_stats"]
    evidence = (stats["log_p"] - stats["log_q"]).mean("draw")
    groups["sample_stats"] = stats.assign(
        log_evidence=evidence,
        log_evidence_error=xr.full_like(evidence, evidence_error),
        guide_widening=xr.full_like(evidence, 1.0),
    )


def bare(log_weight: np.ndarray, first: np.ndarray) -> Groups:
    """Series of equal length of one chain, with given weights and occupancies of A (draw, series)."""
    draws, series = log_weight.shape
    coords = {"chain": [0], "series": [f"s{i}" for i in range(series)], "state": ["A", "B"]}
    groups = {
        "occupancy": xr.Dataset(coords=coords),
        "sample_stats": xr.Dataset(coords={name: coords[name] for name in ("chain", "series")}),
        "states": xr.Dataset(
            {"beta_energy": (("chain", "state"), np.zeros((1, 2)))}, {name: coords[name] for name in ("chain", "state")}
        ),
        "constant_data": xr.Dataset(
            {"time": (("series", "time"), np.tile([0.0, 1.0], (series, 1))), "length": ("series", [2] * series)},
            {"series": coords["series"]},
        ),
    }
    set_fraction(groups, first[None])
    set_weights(groups, log_weight[None])
    return groups


def one_series(log_weight: np.ndarray, first: np.ndarray) -> Groups:
    """The same for one series, (draw,)."""
    return bare(log_weight[:, None], first[:, None])


# --- weights


@pytest.mark.parametrize("shape", [0.05, 0.4, 0.9])
def test_smoothed_weights_are_arvizs(shape: float) -> None:
    log_weight = -shape * np.log(np.random.default_rng(1).uniform(size=400))
    expected, k = arviz_psislw(xr.DataArray(log_weight[None], dims=("x", "draw")))
    np.testing.assert_allclose(np.log(smoothed_weights(log_weight)), expected.values[0], atol=1e-9)
    assert tail_shape(log_weight) == pytest.approx(float(k[0]), abs=1e-9)


def test_equal_and_few_weights_stay_as_they_are() -> None:
    np.testing.assert_allclose(smoothed_weights(np.full(50, -300.0)), 0.02)
    raw = np.array([0.0, math.log(3.0)])
    np.testing.assert_allclose(smoothed_weights(raw), [0.25, 0.75])
    assert trusted_shape(100) == pytest.approx(0.5) and trusted_shape(10**6) == 0.7


def test_effective_draws_of_log_normal_weights() -> None:
    """A law of weights with known second moment: S / exp(sd^2), where occupancies do not go with the weights."""
    random, draws, sd = np.random.default_rng(0), 20_000, 0.5
    groups = one_series(sd * random.standard_normal(draws), random.uniform(size=draws))
    found = effective_samples(drawn(groups))
    expected = draws / math.exp(sd**2)
    assert found["paths"].item() == pytest.approx(expected, rel=0.03)
    np.testing.assert_allclose(found["occupancy"].values, expected, rtol=0.04)
    np.testing.assert_allclose(found["pooled"].values, found["occupancy"].values[:, 0])


def test_an_occupancy_that_all_draws_share_needs_no_weights() -> None:
    groups = one_series(5.0 * np.random.default_rng(0).standard_normal(100), np.full(100, 0.3))
    found = effective_samples(drawn(groups))
    assert found["paths"].item() < 10.0
    assert (found["occupancy"] == 100.0).all() and (found["k_hat_occupancy"] == -np.inf).all()


def test_one_draw_with_all_the_weight_is_not_trusted() -> None:
    log_weight = np.zeros(100)
    log_weight[3] = 50.0
    groups = one_series(log_weight, np.random.default_rng(0).uniform(size=100))
    found = effective_samples(drawn(groups))
    # smoothing spreads it over the twenty weights of the tail, each far below the next
    assert found["paths"].item() < 12.0 and (found["occupancy"] < 20.0).all()
    assert (found["k_hat_occupancy"] > 0.7).all()
    # too few to be smoothed: the draw itself does not deviate from the mean that it alone makes
    few = effective_samples(drawn(one_series(log_weight[:20], np.random.default_rng(0).uniform(size=20))))
    np.testing.assert_allclose(few["occupancy"].values, 1.0, rtol=1e-6)


def test_series_are_weighted_each_by_its_own() -> None:
    """Pooled effective draws stay those of one series, however many there are."""
    random, draws, sd = np.random.default_rng(0), 1000, 0.8
    size = (draws, 20)
    found = effective_samples(drawn(bare(sd * random.standard_normal(size), random.uniform(size=size))))
    assert float(found["pooled"][0, 0]) == pytest.approx(draws / math.exp(sd**2), rel=0.1)
    together = np.exp(sd * random.standard_normal(size).sum(-1))
    assert together.sum() ** 2 / (together**2).sum() < 0.1 * draws


# --- the gap


def test_gap_of_normal_log_weights_is_half_their_variance() -> None:
    random, draws = np.random.default_rng(0), 4000
    gaps = []
    for _ in range(20):
        groups = one_series(0.7 * random.standard_normal(draws), np.full(draws, 0.5))
        gaps.append(evidence_gap(drawn(groups)))
    found = np.array([gap["iwae"].item() for gap in gaps])
    error = np.array([gap["iwae_error"].item() for gap in gaps])
    assert abs(found.mean() - 0.245) < SIGMAS * found.std(ddof=1) / math.sqrt(20)
    assert error.mean() == pytest.approx(found.std(ddof=1), rel=SIGMAS / math.sqrt(2 * 19))
    assert np.isnan(gaps[0]["particles"].item())


def test_gap_to_the_evidence_of_particles() -> None:
    groups = one_series(np.random.default_rng(0).standard_normal(100), np.full(100, 0.5))
    set_particles(groups, 0.5, evidence_error=0.3)
    groups["sample_stats"]["log_evidence"] += 2.0
    found = evidence_gap(drawn(groups))
    own = float(groups["sample_stats"]["log_p"].std(ddof=1)) / 10.0
    assert found["particles"].item() == pytest.approx(2.0)
    assert found["particles_error"].item() == pytest.approx(math.hypot(own, 0.3))


# --- the correction


def weighted(draws: int, random: np.random.Generator) -> Groups:
    """Occupancies uniform under the guide, under the posterior Beta(3, 2): mean .6, standard deviation .2."""
    first = random.uniform(size=draws)
    return one_series(np.log(first**2 * (1.0 - first)), first)


def test_weights_correct_the_mean_and_their_error_is_right() -> None:
    random = np.random.default_rng(0)
    tables = [corrected_occupancy(drawn(weighted(500, random))) for _ in range(40)]
    found = np.array([float(table["mean"].sel(estimator="weights", state="A")) for table in tables])
    error = np.array([float(table["error"].sel(estimator="weights", state="A")) for table in tables])
    assert abs(found.mean() - 0.6) < SIGMAS * found.std(ddof=1) / math.sqrt(40)
    assert error.mean() == pytest.approx(found.std(ddof=1), rel=SIGMAS / math.sqrt(2 * 39))
    assert float(tables[0]["sd"].sel(estimator="weights", state="A")) == pytest.approx(0.2, rel=0.15)
    assert tables[0].attrs["believed"] == "weights"
    assert float(tables[0]["correction"].sel(state="A")) == pytest.approx(found[0] - 0.5, abs=0.06)


def test_series_are_pooled_as_independent() -> None:
    """Sixteen series alike: a quarter of the deviation and of the error of one."""
    random, draws = np.random.default_rng(0), 4000
    first = random.uniform(size=(draws, 16))
    table = corrected_occupancy(drawn(bare(np.log(first**2 * (1.0 - first)), first))).sel(state="A")
    for estimator, sd in (("guide", math.sqrt(1.0 / 12.0)), ("weights", 0.2)):
        assert float(table["sd"].sel(estimator=estimator)) == pytest.approx(sd / 4.0, rel=0.06)
    alone = corrected_occupancy(drawn(weighted(draws, random))).sel(state="A", estimator="weights")
    assert float(table["error"].sel(estimator="weights")) == pytest.approx(float(alone["error"]) / 4.0, rel=0.1)


def test_believed_are_particles_where_weights_fail_and_else_the_guide() -> None:
    random = np.random.default_rng(0)
    groups = one_series(8.0 * random.standard_normal(100), random.uniform(size=100))
    table = corrected_occupancy(drawn(groups))
    assert table.attrs["believed"] == "guide" and "no particle estimate" in table.attrs["why"]
    assert table["mean"].sel(estimator="particles").isnull().all()
    set_particles(groups, 0.7)
    table = corrected_occupancy(drawn(groups))
    assert table.attrs["believed"] == "particles"
    chosen = table.sel(estimator="particles", state="A")
    assert float(chosen["mean"]) == pytest.approx(0.7) and float(chosen["error"]) == pytest.approx(1e-3)
    assert float(chosen["hdi_low"]) == pytest.approx(0.7 - 1.645 * 0.02, abs=2e-3)
    set_particles(groups, 0.7, evidence_error=4.0)
    table = corrected_occupancy(drawn(groups))
    assert table.attrs["believed"] == "guide" and "nor can the particles" in table.attrs["why"]
    exact = corrected_occupancy(drawn(groups, drawn_from="exact posterior"))
    assert exact.attrs["believed"] == "guide" and "exact" in exact.attrs["why"]


def test_a_chain_without_a_state_is_left_out() -> None:
    groups = make_groups(TWO, n_chains=2, n_draws=60)
    set_weights(groups, np.zeros((2, 60, TWO.n_series)))
    whole = corrected_occupancy(drawn({**groups, "occupancy": groups["occupancy"].isel(chain=[0])[["path"]]} | {
        name: groups[name].isel(chain=[0]) for name in ("sample_stats", "states")
    }))
    path = groups["occupancy"]["path"].copy()
    path[1, :, :, 1] = np.nan
    groups["occupancy"] = groups["occupancy"][["p_state"]].assign(path=path)
    table = corrected_occupancy(drawn(groups))
    for estimator in ("guide", "weights"):
        both = [t["mean"].sel(estimator=estimator, state="B") for t in (whole, table)]
        assert float(both[0]) == pytest.approx(float(both[1]))


# --- verdicts


def test_clean_draws_raise_no_warning_about_the_guide() -> None:
    groups = make_groups(TWO, n_chains=2, n_draws=40)
    set_particles(groups, float(groups["occupancy"]["path"].sel(state="A").mean()))
    assert audit(as_inference_data(groups)) == []


def test_each_damage_raises_its_warning_and_exact_draws_none() -> None:
    groups = make_groups(TWO, n_chains=2, n_draws=40)
    size = groups["sample_stats"]["log_p"].shape
    set_weights(groups, 8.0 * np.random.default_rng(0).standard_normal(size))
    first = float(groups["occupancy"]["path"].sel(state="A").mean())
    set_particles(groups, first + 0.03)
    idata = as_inference_data(groups)
    (a, b) = corrected_figures(idata)
    assert a.startswith("The guide misjudges the occupancy of A") and "guided particles" in a and "of B" in b
    assert f"it is {first + 0.03:.3f}" in a
    # one nat and a half for each of 201 observations
    groups["sample_stats"]["log_evidence"] += 0.15 * TWO.n_times
    (far,) = guide_too_far(as_inference_data(groups))
    assert "0.15 nats" in far
    groups["sample_stats"]["guide_widening"] += 0.45
    (narrow,) = guide_too_narrow(as_inference_data(groups))
    assert "too narrow" in narrow and "1.45" in narrow
    exact = as_inference_data(groups)
    exact.attrs["drawn_from"] = "exact posterior"
    for check in (corrected_figures, guide_too_far, guide_too_narrow):
        assert list(check(exact)) == []


def test_a_gap_is_found_without_particles_too() -> None:
    groups = make_groups(TWO, n_chains=2, n_draws=40)
    size = groups["sample_stats"]["log_p"].shape
    set_weights(groups, 10.0 * np.random.default_rng(0).standard_normal(size))
    (far,) = guide_too_far(as_inference_data(groups))
    assert "at least" in far and "particles" not in far


@pytest.mark.usefixtures("double_precision")
def test_a_guide_with_half_the_variance_is_called_too_narrow_and_the_exact_one_is_not() -> None:
    torch.manual_seed(0)
    model, process = linear(1)
    emission = LinearEmission(torch.eye(1), torch.zeros(1), torch.tensor([0.5]))
    guide = ExactGuide(model.requires_grad_(False), process, emission)
    data = simulated(model, 0.4 * torch.arange(30.0), 2)
    starts = np.linspace(-2.0, 2.0, 50)[:, None]
    landscape = find_landscape(model.dynamics.potential, starts, temperature=1.2)
    found = []
    for own in (guide, Damaged(guide, math.sqrt(0.5))):
        idata = drawn(draws_of(own, data, landscape, draws=50, particles=50))
        found.append([len(list(check(idata))) for check in (guide_too_narrow, guide_too_far, corrected_figures)])
    assert found == [[0, 0, 0], [1, 1, 0]]


@pytest.mark.slow
def test_the_occupancy_of_a_shifted_guide_is_corrected() -> None:
    torch.manual_seed(0)
    model = double_well(max_step=0.02)
    starts = np.random.default_rng(0).normal(size=(300, 1))
    landscape = find_landscape(model.dynamics.potential, starts, temperature=1.0)
    data: pl.Observations = simulated(model, 0.1 * torch.arange(100.0), 6)
    damaged = Damaged(BridgeGuide(model, 0.3), 1.0, 0.6)
    table = corrected_occupancy(drawn(draws_of(damaged, data, landscape)))
    fair = corrected_occupancy(drawn(draws_of(BridgeGuide(model, 0.3), data, landscape)))
    best, off = (t.sel(estimator=t.attrs["believed"], state="A") for t in (fair, table))
    assert table.attrs["believed"] == "particles"
    error = math.hypot(float(best["error"]), float(off["error"]))
    assert abs(float(best["mean"] - off["mean"])) < 6.0 * error
    assert abs(float(table["correction"].sel(state="A"))) > 10.0 * error
