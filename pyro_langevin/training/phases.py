"""The phases of a fit, each with its objective, its parameters and its windows.

1. *bound*: model and guide together on the ELBO (all dimensions).
2. *evidence*: the model alone on its exact evidence (one dimension). The bound's pull on rates and barriers is
   gone then, and so is the time step.
3. *posterior*: the guide alone, for the finished model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.grid_filter import StateGrid, grid_log_evidence
from pyro_langevin.guides import SteeredGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

# Inner steps are chosen so that (step x diffusion x curvature of the wells) stays below this: there the local
# linearization's rates are right to about 2 %.
_STIFFNESS = 1.0
_MOST_INNER_STEPS = 16
_STEPS_PER_WINDOW = 160

Objective = Callable[[Observations], Tensor]


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Attributes:
        name: "bound", "evidence" or "posterior".
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


def plan(model: LangevinModel, steps: int, learning_rate: float, exact: bool) -> list[Phase]:
    """The phases of a fit of so many steps."""
    if not exact:
        return [Phase("bound", steps, learning_rate, 4.0, 1.0)]
    first = max(steps // 4, 1)
    evidence = max(steps // 4, 1)
    return [
        Phase("bound", first, learning_rate, 4.0, 1.0),
        Phase("evidence", evidence, learning_rate, 4.0, 0.0),
        Phase("posterior", max(steps - first - evidence, 1), learning_rate, 0.0, 1.0),
    ]


def can_be_exact(model: LangevinModel) -> bool:
    """Whether the model's evidence can be had without a guide."""
    return model.dynamics.dim == 1


def window_length(model: LangevinModel, observations: Observations, phase: Phase, asked: int | None) -> int:
    """Observations per window: as many as keep the loop over inner steps short, and always ten."""
    if asked is not None:
        return max(min(asked, observations.n_times), 2)
    if phase.name == "evidence":
        return min(60, observations.n_times)
    inner = inner_steps(model, observations)
    return max(2, min(observations.n_times, max(10, min(50, _STEPS_PER_WINDOW // inner))))


def inner_steps(model: LangevinModel, observations: Observations) -> int:
    """Inner steps in a typical gap under the model's ``max_step``."""
    if model.max_step is None:
        return 1
    return max(1, math.ceil(observations.typical_gap / model.max_step - 1e-9))


def objective(model: LangevinModel, guide: SteeredGuide, observations: Observations, phase: Phase) -> Objective:
    """Loss of a batch of windows, per observed value."""
    if phase.name == "evidence":
        grid = state_grid(guide, observations)

        def evidence(batch: Observations) -> Tensor:
            return -grid_log_evidence(model, batch, grid).sum() / batch.mask.sum()

        return evidence
    loss = TraceMeanField_ELBO()(model, guide)

    def bound(batch: Observations) -> Tensor:
        return loss(batch) / batch.mask.sum()

    return bound


def parameters(model: LangevinModel, guide: SteeredGuide, phase: Phase) -> list[dict[str, object]]:
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
def _posterior_states(guide: SteeredGuide, observations: Observations) -> Tensor:
    """A sample of states that the data visit, ``(n, dim)``."""
    windows = observations.windows(min(40, observations.n_times))
    chosen = torch.randperm(windows.n_series, device=windows.lengths.device)[:256]
    batch = windows.select(chosen)
    path = guide.path(batch)
    z = path.rsample()
    mask = path.clock.mask
    if mask is None:
        return z.flatten(0, -2)
    return z[:, 1:][mask.movedim(0, -1)]


def state_grid(guide: SteeredGuide, observations: Observations) -> StateGrid:
    """A grid over all states that the data visit."""
    visited = _posterior_states(guide, observations)
    return StateGrid.around(float(visited.min()), float(visited.max()), margin=0.25)


def choose_max_step(model: LangevinModel, guide: SteeredGuide, observations: Observations) -> float:
    """Largest inner step at which the chain keeps the rates of the learned wells, within bounds of cost."""
    states = _posterior_states(guide, observations)
    states = states[torch.randperm(len(states), device=states.device)[:2000]]
    with torch.no_grad():
        dynamics = model.dynamics.read()
        expansion = dynamics.energy.expansion(states)
        curvature = torch.linalg.eigvalsh(expansion.hessian).amax(-1).quantile(0.9)
        rate = float((curvature / torch.as_tensor(dynamics.friction)).max())
    gap = observations.typical_gap
    needed = math.ceil(max(rate, 0.0) * gap / _STIFFNESS)
    return gap / min(max(needed, 2), _MOST_INNER_STEPS)
