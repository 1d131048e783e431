"""The training loop of one fit: schedule, clipping, recovery, checkpoints."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training.checkpoint import save_checkpoint
from pyro_langevin.training.counts import Counts, count_hops, count_transitions
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.errors import TrainingError
from pyro_langevin.training.evidence import EvidenceObjective
from pyro_langevin.training.hop_calibration import calibrate_hopping
from pyro_langevin.training.lag import Agreement, choose_lag
from pyro_langevin.training.phases import Phase, bound, choose_max_step, parameters, release, training_windows
from pyro_langevin.training.progress import Progress

_CLIP = 0.5  # times the median of recent gradient norms: most steps have the same length, outliers no say
_RECENT = 50  # steps that "recent" means
_LARGEST = 1e15  # of a gradient: far beyond, its norm overflows, and clipping divides infinity by infinity
_SNAPSHOT_EVERY = 25
_MOST_RESTARTS = 8
_INNER_STEPS = 8  # steps per observation where nothing is known of the wells yet


class Trainer:
    """Trains one model and guide through its phases.

    Args:
        model: The model, initialised.
        guide: The guide, initialised.
        observations: All data, whose windows are on the model's device.
        stretches: What of them is walked along from end to end: all, or a sample of a long record's stretches.
        states: The states that single observations suggest at the start, ``(n, dim)``.
        phases: The plan.
        batch_size: Windows a step.
        window: Observations a window; chosen per phase when None.
        kl_annealing: Steps over which the path's terms of the bound are raised from a tenth to one.
        adapt_step: Whether ``max_step`` is ours to choose.
        checkpoint: Where to save, with what is to be saved beside the fit's own state.
        header: Identity of data, model and settings, and the fits that are finished.
        crew: The processes that train it together.
    """

    def __init__(
        self,
        model: LangevinModel,
        guide: AmortisedGuide,
        observations: Observations | LongRecord,
        *,
        stretches: Observations,
        states: Tensor,
        phases: list[Phase],
        batch_size: int,
        window: int | None,
        kl_annealing: int,
        adapt_step: bool,
        checkpoint: Path | None,
        header: dict[str, Any],
        crew: Crew,
    ) -> None:
        self.model, self.guide = model, guide
        self.observations, self.stretches = observations, stretches
        self.phases, self.batch_size, self.window = phases, batch_size, window
        self.kl_annealing, self.adapt_step = kl_annealing, adapt_step
        self.checkpoint, self.header, self.crew = checkpoint, header, crew
        exact = any(phase.name == "evidence" for phase in phases)
        self.evidence = EvidenceObjective.over(states, model, observations) if exact else None
        self.progress = Progress()
        self._counts = Counts()
        self._optimizer_state: dict[str, Any] | None = None
        self._norms: list[list[float]] = []
        self._random = torch.get_rng_state()

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly."""
        return {
            "model": copy.deepcopy(self.model.state_dict()),
            "guide": copy.deepcopy(self.guide.state_dict()),
            "max_step": self.model.max_step,
            "optimizer": copy.deepcopy(self._optimizer_state),
            "progress": copy.deepcopy(self.progress.__dict__),
            "norms": copy.deepcopy(self._norms),
            **self._counts.state(),
            "random": self._random,
        }

    def finished_state(self) -> dict[str, Any]:
        """What is kept of a fit that is not to be continued."""
        return {**self.state(), "optimizer": None}

    def restore(self, state: dict[str, Any], *, random: bool = True) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self.guide.load_state_dict(state["guide"])
        self.model.max_step = state["max_step"]
        self._optimizer_state = state["optimizer"]
        self.progress = Progress(**copy.deepcopy(state["progress"]))
        self._norms = copy.deepcopy(state["norms"])
        self._counts = Counts.of(state)
        if random:
            torch.set_rng_state(state["random"])
        self._random = torch.get_rng_state()

    def save(self, *, finished: bool = False) -> None:
        """Write a checkpoint, if one is wanted; a finished fit is in its header and is not to be continued."""
        if self.checkpoint is not None:
            state = {**self.header, "current": None if finished else self.state()}
            self.crew.first(partial(save_checkpoint, self.checkpoint, state))

    def run(self, bar: tqdm[Any]) -> None:
        """Train to the end of the last phase.

        Raises:
            TrainingError: If the loss stays non-finite after several returns to a good state.
        """
        with warnings.catch_warnings():
            # held parameters are held on purpose
            warnings.filterwarnings("ignore", message=".*was not registered in the param store")
            self._run(bar)

    def _run(self, bar: tqdm[Any]) -> None:
        while self.progress.phase < len(self.phases):
            phase = self.phases[self.progress.phase]
            if self.progress.settled or self._needed(phase):
                self.progress.settled, self._random = True, torch.get_rng_state()
                self.restore(self.crew.first(self.state))  # other hardware may round in another way
                self._run_phase(phase, bar)
            else:
                bar.update(phase.steps)
            self.progress.next_phase()
            self._optimizer_state, self._norms, self._counts = None, [], Counts()
            self.save()

    def _needed(self, phase: Phase) -> bool:
        """Settle what a phase starts from; False if it may be skipped."""
        grid = None if self.evidence is None else self.evidence.grid
        gap = self.observations.typical_gap
        if phase.name == "evidence":
            assert self.evidence is not None
            windows = training_windows(self.model, self.observations, phase, self.window)
            self.evidence.start_diffusion(self.model, windows.select(self._drawn(windows.n_series)))
        inertial = self.model.has_momenta
        if phase.name == "transitions" or (phase.name == "hops" and inertial):
            assert grid is not None
            # paths with momenta are drawn, and can show no lag that is longer than their stretches
            data = self.stretches if inertial else self.observations
            self.progress.lag = self.crew.first(partial(choose_lag, self.model, data, grid))
        if phase.name in ("transitions", "hops"):
            assert grid is not None
            if self.progress.lag == 0:
                return False
            counts_rows = self.progress.agreement != Agreement.NONE
            if grid.dim > 1 and counts_rows and "hops" in self.progress.phase_names:
                return False  # with the rows counted once is enough, and counting is dear in a plane
            lag = self.progress.lag
            if inertial:
                self._counts = count_hops(self.model, self.stretches, grid, lag, self.crew)
            else:
                self._counts, self.progress.agreement = count_transitions(
                    self.model, self.observations, grid, lag, phase, agreed=self.progress.agreement, crew=self.crew
                )
        if phase.name == "posterior" and grid is None:
            calibrate_hopping(self.model, self.guide, self.stretches)
        if phase.name in ("bound", "posterior") and self.adapt_step:
            if grid is not None:
                self.model.max_step = choose_max_step(self.model, self.stretches, grid) * (1 + 1e-6)
            elif phase.name == "bound":
                self.model.max_step = gap / _INNER_STEPS * (1 + 1e-6)
        return True

    def _run_phase(self, phase: Phase, bar: tqdm[Any]) -> None:
        current_loss = self._objective(phase)
        groups = parameters(self.model, self.guide, phase)
        optimizer = torch.optim.Adam(groups, lr=phase.learning_rate, betas=(0.9, 0.99))
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        self._optimizer_state = optimizer.state_dict()
        self._norms = self._norms or [[] for _ in groups]
        good = self.state()
        try:
            while self.progress.step < phase.steps:
                self._set_rate(optimizer, phase)
                loss = current_loss()
                if len(self._norms[0]) == 0:
                    parameters(self.model, self.guide, phase)  # Pyro's registration has set the held ones free
                optimizer.zero_grad()
                loss.backward()
                loss = self.crew.pooled(loss, [*self.model.parameters(), *self.guide.parameters()])
                culprit = self._non_finite(loss, groups)
                if culprit is not None:
                    self._go_back(good, optimizer, culprit)
                    continue
                for group, norms in zip(groups, self._norms, strict=True):
                    ceiling = _CLIP * float(torch.tensor(norms).median()) if len(norms) > 5 else math.inf
                    norms.append(float(clip_grad_norm_(group["params"], ceiling)))  # type: ignore[arg-type]
                    del norms[:-_RECENT]
                optimizer.step()
                self._record(float(loss.detach()), phase, bar)
                self._optimizer_state = optimizer.state_dict()
                if self.progress.step % _SNAPSHOT_EVERY == 0:
                    good = self.state()
                    if self.progress.step % (8 * _SNAPSHOT_EVERY) == 0:
                        self.save()
                if self.progress.finished(phase):
                    bar.update(phase.steps - self.progress.step)
                    break
        except TrainingError as problem:
            if phase.name != "posterior" or self.evidence is None:
                raise
            # the model is fitted and needs no guide: that must not be lost
            self.restore(good, random=False)
            warnings.warn(
                f"{problem}. The model itself is fitted, and its draws come from the exact posterior; the guide is not "
                "trained to the end (posterior with exact=False would draw from it)",
                RuntimeWarning,
                stacklevel=2,
            )
        finally:
            release([*self.model.parameters(), *self.guide.parameters()])
            self.model.annealing = 1.0

    def _objective(self, phase: Phase) -> Callable[[], Tensor]:
        """What gives the loss of the current parameters, on a new batch of windows where the phase has batches."""
        if self.evidence is not None:
            counted = self._counts.objective(self.evidence, self.model, self.progress.lag, self.progress.agreement)
            if counted is not None:
                return counted
        windows = training_windows(self.model, self.observations, phase, self.window)
        of_batch = bound(self.model, self.guide)
        if phase.name == "evidence":
            assert self.evidence is not None
            of_batch = partial(self.evidence, self.model)

        def of_share() -> Tensor:
            batch = windows.select(self.crew.share(self._drawn(windows.n_series)))
            with self.crew.own_noise():
                return of_batch(batch) * self.crew.relative(batch.mask.sum())

        return of_share

    def _drawn(self, n_windows: int) -> Tensor:
        """Numbers of the windows of a step, the same in all processes: all, where there are no more than asked for."""
        if n_windows <= self.batch_size:
            return torch.arange(n_windows)
        return torch.randint(n_windows, (self.batch_size,))

    def _set_rate(self, optimizer: torch.optim.Optimizer, phase: Phase) -> None:
        factor = self.progress.rate_factor(phase)
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * group["factor"] * factor
        if phase.name == "bound" and self.kl_annealing > 0:
            self.model.annealing = min(1.0, 0.1 + 0.9 * self.progress.step / self.kl_annealing)

    def _record(self, loss: float, phase: Phase, bar: tqdm[Any]) -> None:
        self.progress.record(loss, phase)
        self._random = torch.get_rng_state()  # a step that is broken off is taken again with the same numbers
        bar.update(1)
        bar.set_description(phase.name, refresh=False)
        bar.set_postfix(loss=f"{loss:.4g}", refresh=False)

    def _non_finite(self, loss: Tensor, groups: list[dict[str, object]]) -> str | None:
        """Name of what is not finite, or None if all is well."""
        bad = [
            name
            for module in (self.model, self.guide)
            for name, parameter in module.named_parameters()
            if parameter.grad is not None and not bool((parameter.grad.abs() < _LARGEST).all())
        ]
        if bool(torch.isfinite(loss)) and not bad:
            return None
        return f"the gradient of {bad[0]}" if bad else "the loss"

    def _go_back(self, good: dict[str, Any], optimizer: torch.optim.Optimizer, culprit: str) -> None:
        """Return to the last good state at half the learning rate, with other random numbers."""
        restarts, rate = self.progress.restarts + 1, self.progress.rate * 0.5
        if restarts > _MOST_RESTARTS:
            raise TrainingError(
                f"fit: {culprit} was not finite {restarts} times in spite of returns to the last good state; "
                "lower learning_rate, or look for extreme values in the data"
            )
        self.restore(good, random=False)
        optimizer.load_state_dict(copy.deepcopy(good["optimizer"]))
        self.progress.restarts, self.progress.rate = restarts, rate
