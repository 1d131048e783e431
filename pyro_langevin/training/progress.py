"""Where a fit stands, and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from pyro_langevin.training.lag import Agreement
from pyro_langevin.training.phases import Phase

_WARM_UP = 20
_PLATEAU = 100  # steps over which a mean must fall for training to go on at full rate
_LAST_SHARE = 0.5  # share of a phase's steps in which the rate falls to zero


@dataclass
class Progress:
    """Where a fit stands; all of it goes into a checkpoint.

    Attributes:
        phase: Index of the phase.
        step: Steps done in it.
        decay_from: Step at which the learning rate began to fall.
        rate: Factor on the learning rate, lowered at every restart.
        restarts: Returns to the last good state.
        lag: Rows between the transitions that are counted; 0 where none are.
        agreement: Whether the rows tell of the same hops as the lag; the text of an :class:`Agreement`.
        settled: Whether what the phase starts from is settled: it must not be twice.
        loss: Loss per observed value at every step so far.
        phase_names: The phase of every step so far.
    """

    phase: int = 0
    step: int = 0
    decay_from: int | None = None
    rate: float = 1.0
    restarts: int = 0
    lag: int = 0
    agreement: str = str(Agreement.FULL)
    settled: bool = False
    loss: list[float] = field(default_factory=list)
    phase_names: list[str] = field(default_factory=list)

    def next_phase(self) -> None:
        """Go on to the next phase."""
        self.phase += 1
        self.step, self.decay_from, self.rate, self.settled = 0, None, 1.0, False

    def rate_factor(self, phase: Phase) -> float:
        """Factor on the learning rate: a warm-up, full rate to the plateau or the last stretch, a cosine to zero."""
        if self.decay_from is None and self.step >= (1.0 - _LAST_SHARE) * phase.steps:
            self.decay_from = self.step
        factor = min(1.0, (self.step + 1) / _WARM_UP) * self.rate
        if self.decay_from is not None:
            share = (self.step - self.decay_from) / max(_LAST_SHARE * phase.steps, 1.0)
            factor *= 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0))) + 0.01
        return factor

    def record(self, loss: float, phase: Phase) -> None:
        """Count a step; where the loss has met its plateau, the rate begins to fall."""
        self.loss.append(loss)
        self.phase_names.append(phase.name)
        self.step += 1
        if self.decay_from is None and self.step >= 2 * _PLATEAU:
            recent = torch.tensor(self.loss[-2 * _PLATEAU :])
            before, after = recent[:_PLATEAU], recent[_PLATEAU:]
            error = (before.var() + after.var()).sqrt() / math.sqrt(_PLATEAU)
            if float(before.mean() - after.mean()) < 0.5 * float(error):
                self.decay_from = self.step

    def finished(self, phase: Phase) -> bool:
        """Whether a phase that met its plateau early may end: its learning rate is down."""
        return self.decay_from is not None and self.step - self.decay_from >= _LAST_SHARE * phase.steps
