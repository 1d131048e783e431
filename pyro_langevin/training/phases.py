"""The phases of a fit, each with its objective, its parameters and its windows.

In one or two dimensions:

1. *evidence*: the model alone, on its exact evidence. No guide can bias rates and barriers, and no time step enters.
2. *transitions*: the dynamics alone, by expectation-maximisation from row to row with the weight of hops at a lag at
   which only the states are remembered, or at the lag alone where rows and lag contradict each other (see
   :mod:`pyro_langevin.training.lag`). All data count at once, so that rates have no noise of batches.
3. *hops*, twice: the same, counted anew; once in a plane unless the lag alone decides.
4. *posterior*: the guide alone on the ELBO, for the finished model.

With one position and its momentum, on equal gaps: evidence; *hops*, in which the potential is moved as little as it
takes for the model to hop as often, at the lag, as paths from its posterior; and posterior.

In more dimensions:

1. *bound*: model and guide together on the ELBO.
2. *posterior*: the guide alone, after the diffusion was set so that the model hops as often as its posterior paths
   (see :mod:`pyro_langevin.training.hop_calibration`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.grid_filter import (
    MOST_DIMENSIONS,
    PhaseSpacePropagator,
    StateGrid,
    propagator_of,
    sample_smoothed,
)
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.landscape import LandscapeError, chain_kinetics, continuous_kinetics, find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations, RecordWindows
from pyro_langevin.training.path_elbo import PathELBO

_INNER_CHOICES = (2, 3, 4, 6, 8, 12, 16, 24)
_SERIES = 200  # whose posterior paths say where the states are
_STEP_ERROR = 0.05  # largest log ratio of the chain's dwells to the continuous ones
_STEPS_PER_WINDOW = 160
_EVIDENCE_WINDOW = 60

Objective = Callable[[Observations], Tensor]


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Attributes:
        name: "evidence", "transitions", "hops", "posterior" or "bound".
        steps: Number of optimiser steps.
        learning_rate: Peak rate of the guide's parameters.
        model_factor: Factor on it for the model's parameters; 0 where the model is held.
        guide_factor: Factor on it for the guide's parameters; 0 where the guide is held.
    """

    name: str
    steps: int
    learning_rate: float
    model_factor: float
    guide_factor: float


def plan(model: LangevinModel, steps: int, learning_rate: float) -> list[Phase]:
    """The phases of a fit of at most so many steps, on the exact evidence."""
    posterior = Phase("posterior", max(steps // 4, 1), learning_rate, 0.0, 1.0)
    if model.has_momenta:
        hops = Phase("hops", max(steps // 12, 1), learning_rate, 2.0, 0.0)
        return [Phase("evidence", max(steps // 4, 1), learning_rate, 4.0, 0.0), hops, posterior]
    lagged = [Phase(name, max(steps // 6, 1), learning_rate, 2.0, 0.0) for name in ("transitions", "hops", "hops")]
    if model.dynamics.dim == 1:
        return [Phase("evidence", max(steps // 2, 1), learning_rate, 2.0, 0.0), *lagged, posterior]
    # in two dimensions, where a step is dearer, twice the model's rate and fewer steps
    posterior = replace(posterior, steps=max(steps // 10, 1))
    return [Phase("evidence", max(steps // 5, 1), learning_rate, 4.0, 0.0), *lagged, posterior]


def plan_on_bound(steps: int, learning_rate: float) -> list[Phase]:
    """The phases of a fit of at most so many steps, on the ELBO."""
    first = max(2 * steps // 3, 1)
    return [
        Phase("bound", first, learning_rate, 2.0, 1.0),
        Phase("posterior", max(steps - first, 1), learning_rate, 0.0, 1.0),
    ]


def can_be_exact(model: LangevinModel, observations: Observations | LongRecord) -> bool:
    """Whether the model's evidence can be had without a guide: few dimensions, and with momenta equal gaps."""
    few = model.dynamics.has_potential and model.dynamics.dim <= MOST_DIMENSIONS
    few = few and model.emission.independent_rows
    return few and (not model.has_momenta or observations.has_equal_gaps)


def training_windows(
    model: LangevinModel, observations: Observations | LongRecord, phase: Phase, asked: int | None
) -> Observations | RecordWindows:
    """Windows to train on: as long as keeps the loop over inner steps short, and at least ten observations."""
    if phase.name == "evidence":
        if model.has_momenta:
            observations = observations.with_equal_gaps()
        return observations.windows(min(_EVIDENCE_WINDOW if asked is None else max(asked, 2), observations.n_times))
    length = max(10, min(50, _STEPS_PER_WINDOW // inner_steps(model, observations))) if asked is None else max(asked, 2)
    return observations.windows(min(length, observations.n_times))


def inner_steps(model: LangevinModel, observations: Observations | LongRecord) -> int:
    """Inner steps in a typical gap under the model's ``max_step``."""
    if model.max_step is None:
        return 1
    return max(1, math.ceil(observations.typical_gap / model.max_step - 1e-9))


def bound(model: LangevinModel, guide: AmortisedGuide) -> Objective:
    """Negative ELBO of a batch of windows per observed value."""
    loss = PathELBO()(model, guide)

    def of(batch: Observations) -> Tensor:
        return loss(batch) / batch.mask.sum()

    return of


def parameters(model: LangevinModel, guide: AmortisedGuide, phase: Phase) -> list[dict[str, object]]:
    """Optimiser groups of a phase; parameters that are held are frozen."""
    groups: list[dict[str, object]] = []
    for module, factor in ((model, phase.model_factor), (guide, phase.guide_factor)):
        learned = list(module.parameters())
        for parameter in learned:
            parameter.requires_grad_(factor > 0.0)
        if factor > 0.0:
            groups.append({"params": learned, "factor": factor})
    return groups


def release(parameters: Iterable[Parameter]) -> None:
    """Undo the freezing of a phase."""
    for parameter in parameters:
        parameter.requires_grad_(True)


@torch.no_grad()
def choose_max_step(model: LangevinModel, observations: Observations, grid: StateGrid) -> float:
    """Largest inner step at which the chain's own dwells are those of the continuous process, within bounds of cost.

    In one dimension both are computed exactly for the learned potential, for 2, 4, ... inner steps in a typical gap.
    In two, where the chain's would have to be simulated for each, the step is one relaxation time of the stiffest well.
    With a momentum it is that of the filter.
    """
    gap = observations.typical_gap
    propagator = propagator_of(model, grid)
    if isinstance(propagator, PhaseSpacePropagator):
        return gap / propagator.steps(gap)
    frozen = copy.deepcopy(model.dynamics).cpu().double()
    some = observations.select(torch.randperm(observations.n_series)[:_SERIES])
    path = sample_smoothed(model, some, grid, 1).z[0]
    states = path[some.inside.cpu()].double().cpu().numpy()
    try:
        landscape = find_landscape(
            frozen.potential, states, temperature=float(frozen.temperature), beyond_starts=False
        )
        if grid.dim > 1:
            curvature = landscape.surface.slope_and_curvature(landscape.minimum)[1]
            stiffness = gap * float(frozen.diffusion.max()) * float(np.linalg.eigvalsh(curvature).max())
            return gap / next((n for n in _INNER_CHOICES if n >= stiffness), _INNER_CHOICES[-1])
        exact = continuous_kinetics(landscape, float(frozen.diffusion))
        for inner in _INNER_CHOICES:
            chain = chain_kinetics(frozen.read().transition, landscape, gap / inner)
            slow = chain.timescale[0] / exact.timescale[0]
            near = np.abs(np.log(chain.dwell / exact.dwell)) if landscape.n_states > 1 else np.abs(np.log(slow))
            if float(np.max(near)) < _STEP_ERROR:
                return gap / inner
    except LandscapeError:
        pass  # a potential without a state that can be followed: the finest step, and the diagnostics will say so
    return gap / _INNER_CHOICES[-1]
