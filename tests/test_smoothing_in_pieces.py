"""Posterior paths of long series, drawn in pieces side by side, are those of the series drawn whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hand_made_fits import GRID, well_model
from hypothesis import given
from hypothesis import strategies as st
from test_smoother import SIGMAS, exact_smoother, grid_over, linear

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.grid_filter import pieces, sample_smoothed, smoother
from pyro_langevin.grid_filter.overlapping import Cuts, RowNumbers
from pyro_langevin.landscape import count_transitions


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def pieces_of_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoother, "LONG", 50)
    monkeypatch.setattr(pieces, "_PIECE", 20)
    monkeypatch.setattr(pieces, "_FIRST_OVERLAP", 5)


@given(
    lengths=st.lists(st.integers(2, 90), min_size=1, max_size=4), piece=st.integers(2, 30), overlap=st.integers(0, 30)
)
def test_pieces_cover_every_row_once_within_their_windows(lengths: list[int], piece: int, overlap: int) -> None:
    cuts = Cuts.of(torch.tensor(lengths), piece, overlap)
    for series, length in enumerate(lengths):
        own = cuts.series == series
        rows = [row for a, b in zip(cuts.begin[own], cuts.end[own], strict=True) for row in range(a, b)]
        assert rows == list(range(length))
        reach = torch.minimum(cuts.start[own] + cuts.width, torch.tensor(length))
        assert (cuts.start[own] >= 0).all() and (reach >= cuts.end[own]).all()
        assert (reach >= torch.minimum(cuts.end[own] + overlap, torch.tensor(length))).all()
        assert (cuts.start[own] <= (cuts.begin[own] - overlap).clamp_min(0)).all()


def test_a_row_has_the_same_numbers_in_every_window() -> None:
    numbers = RowNumbers(seed=3, draws=4, block=20, device=torch.device("cpu"))
    cuts = Cuts.of(torch.tensor([90, 64]), 20, 15)
    drawn = numbers.of(cuts)
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for window, (series, start) in enumerate(zip(cuts.series.tolist(), cuts.start.tolist(), strict=True)):
        for row in range(cuts.width):
            before = seen.setdefault((series, start + row), drawn[row, :, window])
            assert torch.equal(before, drawn[row, :, window])
    every = torch.stack(list(seen.values()))
    assert len(every.unique()) == every.numel()
    assert abs(float(every.mean()) - 0.5) < SIGMAS * (every.numel() * 12) ** -0.5


@pytest.mark.usefixtures("pieces_of_twenty")
@pytest.mark.parametrize("dim", [1, 2])
def test_draws_of_a_linear_model_follow_the_exact_smoother_across_the_cuts(dim: int) -> None:
    model, process = linear(dim)
    times, values = 0.2 * torch.arange(70.0), torch.randn(70, dim)
    law = exact_smoother(process, times, values)
    grid, count = grid_over(dim), 2000
    draws = sample_smoothed(model, pl.Observations(values[None], times), grid, count)
    z = draws.z[:, 0].flatten(1)
    error = law.variance.sqrt() / count**0.5
    cell = grid.spacing**2 / 12
    assert float(((z.mean(0) - law.mean) / (error + 0.1 * cell)).abs().max()) < SIGMAS
    covariance = law.covariance_matrix + cell * torch.eye(70 * dim)
    near = torch.arange(18 * dim, 22 * dim)  # both sides of the first cut
    assert float(covariance[19 * dim, 20 * dim]) > 0.025  # drawn independently they would have none
    torch.testing.assert_close(z.T.cov()[near][:, near], covariance[near][:, near], rtol=0.0, atol=0.015)


@pytest.mark.usefixtures("pieces_of_twenty")
def test_evidence_and_density_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = linear(1)
    data = pl.Observations([torch.randn(90, 1), torch.randn(33, 1)])
    grid = grid_over(1)
    found = sample_smoothed(model, data, grid, 400)
    assert torch.isfinite(found.z[1, 1, :33]).all() and torch.isnan(found.z[1, 1, 33:]).all()
    exact = pl.grid_log_evidence(model, data, grid).detach()
    torch.testing.assert_close(found.log_evidence, exact, rtol=0.0, atol=1e-3)
    monkeypatch.setattr(smoother, "LONG", 1000)
    whole = sample_smoothed(model, data.select([0]), grid, 400).log_q[:, 0]
    error = ((whole.var() + found.log_q[:, 0].var()) / 400).sqrt()
    assert abs(float(whole.mean() - found.log_q[:, 0].mean())) < SIGMAS * float(error)


def test_no_hops_are_made_at_the_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of twice the distance of the wells leaves the state in doubt at many cuts: independent pieces hop there."""
    monkeypatch.setattr(pieces, "_PIECE", 100)
    model = well_model(4.0)
    model.emission.noise = torch.tensor([4.0])
    path = datasets.simulate_overdamped(
        lambda x: 16 * x * (x * x - 1), np.array([[1.0]]), n_times=4000, gap=0.2, seed=2
    )
    data = pl.Observations(path + 4.0 * np.random.default_rng(3).normal(size=path.shape), 0.2 * np.arange(4000))
    cut = np.arange(100, 4000, 100)
    hops, steps = {}, {}
    for name, longest in (("whole", 10_000), ("pieces", 1000)):
        monkeypatch.setattr(smoother, "LONG", longest)
        z = sample_smoothed(model, data, GRID, 40).z[:, 0, :, 0].numpy()
        core = np.where(z > 0.5, 1, np.where(z < -0.5, 0, -1))
        hops[name] = count_transitions(core, 0.2, n_states=2, keep=1).events.sum((1, 2))
        steps[name] = np.square(z[:, cut] - z[:, cut - 1]).mean(0)
    for found in (hops, steps):
        error = sum(one.var() / len(one) for one in found.values()) ** 0.5
        assert abs(found["whole"].mean() - found["pieces"].mean()) < SIGMAS * error
