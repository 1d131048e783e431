"""Transitions at a lag beyond which the process inside a state is forgotten.

Between neighbouring observations more is seen than states that hop: instruments that average over their exposure,
coloured noise, levels that drift, jumps without any way between. A Langevin process is none of these, and one that
is fitted from row to row gives way where it is cheapest, which are the few rows that tell of a hop. At a lag of a
third of the time in which states are forgotten nothing of that is left, which is why Markov state models are built
at a lag (Prinz et al. 2011).

What is left at a lag are the rates. Diffusion and barriers can then rise together, for all that the counts know. So
the process stays fitted to the rows, and only its hops are set at the lag: gently where they agree with the rows, as
those of a Langevin process do, and with weight where they do not. Where rows and lag tell of processes that hop half
or twice as often, the lag alone decides.
"""

from __future__ import annotations

import copy
import enum
import math
from dataclasses import replace

import torch
from torch import Tensor

from pyro_langevin.dynamics import UnderdampedDynamics
from pyro_langevin.grid_filter import Propagator, StateGrid, Transitions, expected_transitions
from pyro_langevin.landscape import Landscape, LandscapeError, find_landscape, inertial_kinetics
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training.distributed import Crew

_SHARE = 1.0 / 3.0  # of the timescale
# factors in the probability to leave a state: below the first rows and lag tell of one process, above the second of two
_TOLERANCE, _OTHER_PROCESS = 1.1, 2.0
_SIGMAS = 3.0  # of the number of hops, before a smaller factor means anything
_FEW = 3.0  # hops out of a state, before any factor does
_WINDOW = 60
_MOST_ROWS = 500_000  # more would hardly change a rate


def choose_lag(model: LangevinModel, observations: Observations | LongRecord, grid: StateGrid) -> int:
    """Rows in a third of the time in which the learned process forgets its state, by its fastest slow process.

    Returns:
        0 where no transitions can be counted: with a single state, on irregular times, or in series too short.
    """
    landscape = _landscape(model, grid)
    if landscape is None or not observations.has_equal_gaps:
        return 0
    lag = _SHARE * _slow_timescale(model, landscape, grid)
    return min(max(1, round(lag / observations.typical_gap)), int(observations.lengths.max()) // 3)


def state_of_cells(model: LangevinModel, grid: StateGrid) -> Tensor | None:
    """State of the learned potential that each cell belongs to, ``(n,)``; None where there are not two of them."""
    landscape = _landscape(model, grid)
    return None if landscape is None else torch.from_numpy(landscape.basin(grid.points.numpy()))


def _landscape(model: LangevinModel, grid: StateGrid) -> Landscape | None:
    """The learned landscape over the grid; None where there are not two states."""
    frozen = copy.deepcopy(model.dynamics).cpu().double()
    try:
        found = find_landscape(frozen.potential, grid.points.numpy(), temperature=float(frozen.temperature))
    except LandscapeError:
        return None
    return found if found.n_states > 1 else None


@torch.no_grad()
def _slow_timescale(model: LangevinModel, landscape: Landscape, grid: StateGrid) -> float:
    """Timescale of the fastest of the processes between states."""
    dynamics, processes = copy.deepcopy(model.dynamics).cpu().double().read(), landscape.n_states - 1
    if isinstance(dynamics, UnderdampedDynamics):
        return float(inertial_kinetics(dynamics, landscape, processes=processes).timescale[-1])
    rates, _ = Propagator.of(dynamics, grid).spectrum
    return -1.0 / float(rates[-1 - processes])


class Agreement(enum.StrEnum):
    """What a model that was fitted from row to row says of the hops at a lag, beside what the data say.

    Attributes:
        FULL: The same, as far as so many hops can tell: the data come from such a process.
        PARTIAL: Something else, but not more than twice as often or half: the rows still tell of its states.
        NONE: The rows tell of another process altogether.
    """

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


@torch.no_grad()
def agreement(model: LangevinModel, lagged: Transitions, lag: int, grid: StateGrid, state: Tensor) -> Agreement:
    """How the hops at a lag that a model fitted from row to row expects agree with those that were counted.

    Args:
        model: The model.
        lagged: Transitions over so many rows.
        lag: The number of rows.
        grid: The grid.
        state: State of every cell, ``(n,)``.
    """
    propagator = Propagator.of(model.dynamics.read(), grid)
    gap = torch.tensor([lagged.gap], dtype=torch.float64, device=lagged.counts.device)
    tables = lagged.hops(propagator.matrices(gap)[0], propagator.root_weight.square(), state)
    hops = tables[0].sum(-1) - tables[0].diagonal()
    counted, expected = (1.0 - table.diagonal() / table.sum(-1) for table in tables)
    apart = (counted / expected).log().abs()
    # transitions are counted from every row on, so that each hop is counted once for every row of the lag
    events = hops / lag
    # twice as often is another process even where few hops leave that in doubt: the rows would merge states
    if bool(((events > _FEW) & (apart > math.log(_OTHER_PROCESS))).any()):
        return Agreement.NONE
    surprising = apart > _SIGMAS / events.sqrt()
    return Agreement.PARTIAL if bool((surprising & (apart > math.log(_TOLERANCE))).any()) else Agreement.FULL


def lagged_transitions(
    model: LangevinModel, observations: Observations | LongRecord, grid: StateGrid, lag: int, *, crew: Crew = Crew()
) -> Transitions:
    """Expected transitions over ``lag`` rows, from every row on; of half a million of them where there are more.

    Each process counts its share of the windows.
    """
    windows = observations.with_equal_gaps().thinned_windows(lag, _WINDOW, _MOST_ROWS)
    own = crew.share(torch.arange(windows.n_series))
    if len(own) == windows.n_series:
        return expected_transitions(model, windows, grid)
    part = expected_transitions(model, windows.select(own), grid)
    others = torch.tensor([part.log_evidence, part.n_values], dtype=torch.float64, device=part.counts.device)
    log_evidence, n_values = crew.sum(others).tolist()
    return replace(
        part,
        counts=crew.sum(part.counts),
        log_evidence=log_evidence,
        log_likelihood=crew.sum(part.log_likelihood),
        n_values=int(n_values),
    )
