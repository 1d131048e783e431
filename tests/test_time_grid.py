"""TimeGrid: inner steps, padding, and the round trip from observation times to the grid and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyro_langevin.observations import Observations
from pyro_langevin.time_grid import TimeGrid


def test_known_grid_of_two_series() -> None:
    times = torch.tensor([[0.0, 1.0, 1.5, 3.0], [0.0, 0.5, 1.0, 1.5]])
    grid = TimeGrid(times, torch.tensor([4, 2]), max_step=0.5)
    assert torch.equal(grid.observed_index, torch.tensor([[0, 2, 3, 6], [0, 1, 2, 3]]))
    assert torch.equal(grid.times[0], torch.arange(7, dtype=torch.float64) / 2)
    assert grid.step_mask.tolist() == [[True] * 6, [True] + [False] * 5]
    assert grid.interval[0].tolist() == [0, 0, 1, 2, 2, 2]
    torch.testing.assert_close(
        grid.fraction[0], torch.tensor([0.5, 1, 1, 1 / 3, 2 / 3, 1], dtype=torch.float64)
    )
    assert (grid.steps > 0).all()


def test_default_is_one_step_per_interval() -> None:
    times = torch.tensor([0.0, 0.2, 1.0, 1.1])
    grid = TimeGrid(times)
    assert torch.equal(grid.times, times.double()) and grid.observed_index.tolist() == [0, 1, 2, 3]
    assert (grid.fraction == 1).all() and grid.step_mask.all()


def test_rounding_of_a_gap_adds_no_step() -> None:
    times = torch.arange(11, dtype=torch.float64) * 0.3
    assert TimeGrid(times, max_step=0.1).n_points == 31


def test_points_at_observations_are_exact() -> None:
    times = torch.tensor([-1000.1, 0.001, 3.0], dtype=torch.float64)
    assert torch.equal(TimeGrid(times).times, times)


@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    max_step=st.none() | st.floats(0.05, 2.0),
    seed=st.integers(0, 1000),
)
def test_grid_holds_the_observations_and_respects_the_step(
    lengths: list[int], max_step: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = [np.cumsum(rng.uniform(0.01, 2.0, size=n)) for n in lengths]
    observations = Observations([rng.normal(size=n) for n in lengths], times)
    grid = TimeGrid.from_observations(observations, max_step=max_step)
    assert grid.steps.shape == grid.step_mask.shape == grid.interval.shape == grid.fraction.shape
    assert (grid.steps > 0).all()
    torch.testing.assert_close(grid.times.diff(dim=-1), grid.steps, rtol=1e-9, atol=1e-12)
    assert torch.equal(grid.times.gather(-1, grid.observed_index), observations.times)
    if max_step is not None:
        assert (grid.steps[grid.step_mask] <= max_step * (1 + 1e-8)).all()
    for i, n in enumerate(lengths):
        real = int(grid.observed_index[i, n - 1])
        assert grid.step_mask[i].tolist() == [True] * real + [False] * (grid.n_points - 1 - real)
        starts = observations.times[i].gather(0, grid.interval[i])
        gaps = observations.times[i].diff().gather(0, grid.interval[i])
        ends = (starts + gaps * grid.fraction[i])[:real]
        torch.testing.assert_close(ends, grid.times[i, 1 : real + 1], rtol=1e-9, atol=1e-12)
        last = grid.observed_index[i, 1:n] - 1
        assert (grid.fraction[i, last] == 1).all()
        assert ((grid.fraction[i] > 0) & (grid.fraction[i] <= 1)).all()


def test_more_batch_axes_are_the_same_series() -> None:
    times = torch.rand(2, 3, 5, dtype=torch.float64).add(0.1).cumsum(-1)
    lengths = torch.tensor([[5, 4, 2], [3, 5, 5]])
    grid = TimeGrid(times, lengths, max_step=0.2)
    flat = TimeGrid(times.reshape(6, 5), lengths.reshape(6), max_step=0.2)
    for name in ("times", "steps", "step_mask", "observed_index", "interval", "fraction"):
        assert torch.equal(getattr(grid, name).flatten(0, 1), getattr(flat, name))


@pytest.mark.parametrize(
    ("times", "lengths", "max_step", "message"),
    [
        ([0.0], None, None, "at least two times"),
        ([0.0, 1.0, 1.0], None, None, "strictly increasing"),
        ([0.0, float("nan")], None, None, "strictly increasing"),
        ([0.0, 1.0], None, 0.0, "positive max_step"),
        ([[0.0, 1.0]], [3], None, "between 2 and 2"),
    ],
)
def test_bad_grids_are_refused(
    times: list[float], lengths: list[int] | None, max_step: float | None, message: str
) -> None:
    counts = None if lengths is None else torch.tensor(lengths)
    with pytest.raises(ValueError, match=message):
        TimeGrid(torch.tensor(times), counts, max_step=max_step)
