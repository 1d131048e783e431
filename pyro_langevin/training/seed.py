"""The fit of one seed: how it begins, and how a process of its own follows it to the end."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.loop import Trainer
from pyro_langevin.training.phases import Phase

Fitted = tuple[LangevinModel, AmortisedGuide]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What the fits of all seeds have in common.

    Attributes:
        pristine: Model and guide as they were given.
        observations: The data, whose windows are on the device.
        stretches: What of them is walked along from end to end: all, or a sample of a long record's stretches.
        phases: The plan.
        batch_size: Windows a step.
        window: Observations a window; chosen per phase when None.
        kl_annealing: Steps over which the path's terms of the bound are raised.
        adapt_step: Whether ``max_step`` is the fit's to choose.
        device: Where the fit is computed.
    """

    pristine: Fitted
    observations: Observations | LongRecord
    stretches: Observations
    phases: list[Phase]
    batch_size: int
    window: int | None
    kl_annealing: int
    adapt_step: bool
    device: torch.device

    @property
    def steps(self) -> int:
        """Most steps of one seed."""
        return sum(phase.steps for phase in self.phases)

    def begin(
        self,
        seed: int,
        own: Fitted | None,
        *,
        checkpoint: Path | None = None,
        header: dict[str, Any] | None = None,
        crew: Crew = Crew(),
    ) -> Trainer:
        """The trainer of a seed, started from the data.

        Args:
            seed: The seed.
            own: Model and guide to train as they are; newly drawn copies of the pristine ones when None.
            checkpoint: As for :class:`Trainer`.
            header: As for :class:`Trainer`.
            crew: The processes that train it together.
        """
        pyro.set_rng_seed(seed)
        model, guide = _fresh(self.pristine) if own is None else own
        states = _start((model, guide), self.stretches, self.device)
        return Trainer(
            model,
            guide,
            self.observations,
            stretches=self.stretches,
            states=states,
            phases=self.phases,
            batch_size=self.batch_size,
            window=self.window,
            kl_annealing=self.kl_annealing,
            adapt_step=self.adapt_step,
            checkpoint=checkpoint,
            header={} if header is None else header,
            crew=crew,
        )


@dataclass(frozen=True, eq=False)
class Task:
    """The fit of one seed as a process of its own does it.

    Attributes:
        recipe: What the seeds have in common.
        seed: The seed.
        as_given: Whether it trains model and guide as they are, as the first seed does.
        current: State to go on from, if it was under way.
    """

    recipe: Recipe
    seed: int
    as_given: bool
    current: dict[str, Any] | None

    def __call__(self, bar: Any) -> dict[str, Any]:
        """Train to the end; returns the trainer's state."""
        with pyro.get_param_store().scope():
            trainer = self.recipe.begin(self.seed, self.recipe.pristine if self.as_given else None)
            if self.current is not None:
                trainer.restore(self.current)
                bar.update(len(trainer.progress.loss))
            trainer.run(bar)
            return trainer.finished_state()


def _fresh(pristine: Fitted) -> Fitted:
    """A copy with newly drawn random parameters, guide and model still belonging together."""
    model, guide = copy.deepcopy(pristine)
    for module in reversed([*model.modules(), *guide.modules()]):  # parts first: the whole has the last word
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model, guide


def _start(own: Fitted, data: Observations, device: torch.device) -> Tensor:
    """Put model and guide on the device, started from the data; returns the states that those suggest."""
    model, guide = own
    model.cpu()
    guide.cpu()
    data = data.to(device="cpu")
    scores = model.initialise(data)
    states = model.emission.latent_points(data)
    guide.initialise(data, scores)
    model.to(device)
    guide.to(device)
    return states
