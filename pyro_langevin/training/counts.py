"""What a phase counts before it is trained: transitions, or hops of drawn paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from pyro_langevin.grid_filter import Hops, StateGrid, Transitions, drawn_hops
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.evidence import EvidenceObjective
from pyro_langevin.training.lag import Agreement, agreement, lagged_transitions, state_of_cells
from pyro_langevin.training.phases import Phase


@dataclass
class Counts:
    """Transitions of the data, as the model had it when they were counted; nothing in phases that count nothing.

    Attributes:
        transitions: At the lag.
        rows: From row to row, unless these tell of another process.
        cell_states: State of every cell of the grid, ``(n,)``; None where all transitions count alike.
        hops: Between the states of drawn paths, with momenta.
    """

    transitions: Transitions | None = None
    rows: Transitions | None = None
    cell_states: Tensor | None = None
    hops: Hops | None = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of them."""
        parts = {"transitions": self.transitions, "rows": self.rows, "hops": self.hops}
        kept = {name: None if part is None else part.__dict__ for name, part in parts.items()}
        return {**kept, "cell_states": self.cell_states}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Counts:
        """From what a checkpoint kept."""
        lagged, rows, hops = state["transitions"], state["rows"], state["hops"]
        return cls(
            None if lagged is None else Transitions(**lagged),
            None if rows is None else Transitions(**rows),
            state["cell_states"],
            None if hops is None else Hops(**hops),
        )

    def objective(
        self, evidence: EvidenceObjective, model: LangevinModel, lag: int, agreed: str
    ) -> Callable[[], Tensor] | None:
        """The loss of the current parameters, given the counts; None where nothing was counted."""
        if self.transitions is not None:
            # in agreement every hop counts as often as it was seen, not once for every row of the lag
            weight = 1.0 / lag if agreed == Agreement.FULL else 1.0
            return partial(evidence.of_transitions, model, self.transitions, self.rows, self.cell_states, weight)
        return None if self.hops is None else partial(evidence.of_hops, model, self.hops)


def count_hops(model: LangevinModel, stretches: Observations, grid: StateGrid, lag: int, crew: Crew) -> Counts:
    """Hops at the lag of a model with momenta, on paths that are drawn."""
    states = crew.first(partial(state_of_cells, model, grid))
    if states is None:
        return Counts()
    return Counts(cell_states=states, hops=drawn_hops(model, stretches.with_equal_gaps(), grid, states, lag))


def count_transitions(
    model: LangevinModel,
    observations: Observations | LongRecord,
    grid: StateGrid,
    lag: int,
    phase: Phase,
    *,
    agreed: str,
    crew: Crew,
) -> tuple[Counts, str]:
    """Transitions at the lag, and from row to row unless these tell of another process.

    Args:
        model: The model.
        observations: All data.
        grid: The grid.
        lag: Rows between the transitions.
        phase: The first such phase asks whether rows and lag agree.
        agreed: The answer so far, the text of an :class:`Agreement`.
        crew: The processes that count together.

    Returns:
        The counts, and the answer.
    """
    states = crew.first(partial(state_of_cells, model, grid))
    lagged = lagged_transitions(model, observations, grid, lag, crew=crew)
    if phase.name == "transitions" and states is not None:
        agreed = str(crew.first(partial(agreement, model, lagged, lag, grid, states)))
    if agreed != Agreement.NONE:
        rows = lagged_transitions(model, observations, grid, 1, crew=crew)
        return Counts(lagged, rows, states), agreed
    # at first all transitions count alike
    return Counts(lagged, None, None if phase.name == "transitions" else states), agreed
