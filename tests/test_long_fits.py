"""Fits of long records: the same as in memory, nothing walks along whole series, checkpoints know their record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.grid_filter import backward, evidence, transitions
from pyro_langevin.training import loop

Parts = tuple[pl.LangevinModel, pl.SteeredGuide]


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = pl.StateGrid.around(-4.0, 4.0, size=50, margin=0.0)
    monkeypatch.setattr(loop.EvidenceObjective, "over", lambda _, *data: loop.EvidenceObjective.on(grid, *data))
    monkeypatch.setattr(loop, "choose_lag", lambda *_: 3)


def hopping(n_series: int, n_times: int, seed: int = 0) -> np.ndarray:
    """Noisy telegraph signals, some values missing."""
    random = np.random.default_rng(seed)
    state = np.cumsum(random.random((n_series, n_times, 1)) < 0.05, axis=1) % 2
    values = 2.0 * state - 1.0 + 0.4 * random.normal(size=(n_series, n_times, 1))
    values[random.random(values.shape) < 0.02] = np.nan
    return values


def build() -> Parts:
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, 1), max_step=0.5)
    return model, pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)


def quick(own: Parts, data: Any, **options: Any) -> pl.FitResult:
    return pl.fit(*own, data, **{"steps": 18, "batch_size": 4, "device": "cpu", "progress": False, **options})


@pytest.mark.usefixtures("coarse")
def test_a_record_is_fitted_like_the_same_data_in_memory() -> None:
    values = hopping(6, 80)
    one = quick(build(), pl.Observations(values, 0.5 * np.arange(80))).members[0]
    pyro.set_rng_seed(0)
    other = quick(build(), pl.LongRecord(values, 0.5)).members[0]
    assert one.phase == other.phase
    phase = np.array(one.phase)
    for name in ("evidence", "transitions"):  # all transitions are counted: no matter in which order
        mine, theirs = (np.array(member.loss)[phase == name] for member in (one, other))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("in_memory", [True, False])
def test_nothing_walks_along_a_long_series(in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []
    original = evidence.run_filter

    def watched(model: Any, observations: pl.Observations, grid: pl.StateGrid) -> Any:
        walked.append(observations.n_times)
        return original(model, observations, grid)

    for module in (evidence, backward, transitions):
        monkeypatch.setattr(module, "run_filter", watched)
    values = hopping(1, 6000)
    data = pl.Observations(values, 0.5 * np.arange(6000)) if in_memory else pl.LongRecord(values, 0.5)
    own = build()
    own[0].adapts_step = True
    member = quick(own, data).members[0]
    assert set(member.phase) == {"evidence", "transitions", "hops", "posterior"}
    assert max(walked) == 1000


@pytest.mark.usefixtures("coarse")
def test_a_long_series_in_memory_is_treated_like_a_record_of_it() -> None:
    values = hopping(1, 6000)
    one = quick(build(), pl.Observations(values, 0.5 * np.arange(6000))).members[0]
    pyro.set_rng_seed(0)
    other = quick(build(), pl.LongRecord(values.astype(np.float32), 0.5)).members[0]
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-4)


@pytest.mark.usefixtures("coarse")
def test_checkpoints_know_their_record(tmp_path: Path) -> None:
    values, path = hopping(3, 60), tmp_path / "fit.pt"
    whole = quick(build(), pl.LongRecord(values, 0.5), checkpoint=path)
    pyro.set_rng_seed(0)
    again = quick(build(), pl.LongRecord(values, 0.5), checkpoint=path, resume=True)
    assert again.members[0].loss == whole.members[0].loss
    values[2, 59] += 1e-3
    with pytest.raises(pl.CheckpointError, match="another data"):
        quick(build(), pl.LongRecord(values, 0.5), checkpoint=path, resume=True)


def test_a_record_that_the_emission_cannot_describe_is_refused() -> None:
    counts = np.ones((3, 4000, 1))
    counts[:, ::2] = 2.0
    counts[2, 3999] = -1.0
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.PoissonEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)
    with pytest.raises(ValueError, match="-1"):
        quick((model, guide), pl.LongRecord(counts, 0.5))


@pytest.mark.slow
def test_the_kinetics_of_a_record_are_those_of_observations() -> None:
    """One path of 12,000 rows, once as a record and once in series short enough to be walked along."""
    path = datasets.simulate_overdamped(
        lambda x: 16 * x * (x * x - 1), np.array([[1.0]]), n_times=12_000, gap=0.2, seed=4
    )
    values = path + 0.3 * np.random.default_rng(5).normal(size=path.shape)
    short = pl.Observations(values, 0.2 * np.arange(12_000)).windows(3000)
    found = {}
    for name, data in (("record", pl.LongRecord(values, 0.2)), ("memory", short)):
        model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
        guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
        result = pl.fit(model, guide, data, steps=300, seeds=2, device="cpu", progress=False)
        idata = pl.posterior(result, short, draws=2)
        passage, barrier = idata["kinetics"]["mfpt"].values, idata["states"]["beta_barrier"].values
        found[name] = np.log(passage[:, 0, 1]), barrier[:, 0, 1]
    for mine, theirs, allowed in zip(found["record"], found["memory"], (0.1, 0.2), strict=True):
        spread = max(np.ptp(mine), np.ptp(theirs))
        assert abs(mine.mean() - theirs.mean()) < max(2.0 * spread, allowed)
