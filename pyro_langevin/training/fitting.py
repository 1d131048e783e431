"""Fit a model and a guide to observations."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch
from tqdm import tqdm

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LONG, LongRecord, Observations
from pyro_langevin.training.checkpoint import (
    describe_data,
    describe_parameters,
    load_checkpoint,
    require_match,
    save_checkpoint,
)
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.errors import TrainingError
from pyro_langevin.training.lag import Agreement
from pyro_langevin.training.loop import Trainer
from pyro_langevin.training.phases import can_be_exact, plan, plan_on_bound
from pyro_langevin.training.result import FitResult, FittedMember
from pyro_langevin.training.seed import Recipe, Task
from pyro_langevin.training.workers import train_apart

_BREAK = 1000.0  # times the typical gap, beyond which a gap is a break of the record
_SAMPLED = 100_000  # rows of a long record from which it is started


def fit(
    model: LangevinModel,
    guide: AmortisedGuide,
    observations: Observations | LongRecord,
    *,
    steps: int = 600,
    seeds: int | Iterable[int] = 1,
    learning_rate: float = 1e-2,
    batch_size: int = 64,
    window: int | None = None,
    kl_annealing: int = 0,
    exact: bool = True,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
    progress: bool = True,
) -> FitResult:
    """Fit by stochastic variational inference, from data-driven starting values.

    In one or two latent dimensions the model is fitted on its exact evidence, where no guide can bias rates and
    barriers, and the guide then on the ELBO; in more dimensions both are trained together on the ELBO.
    A non-finite loss or gradient returns to the last good state at half the learning rate. Ctrl-C ends training;
    what is fitted is returned and, with ``checkpoint``, saved.

    Called in every process of an initialised ``torch.distributed`` group, with the same arguments, all processes train
    each seed together, every one on its share of each batch, and return the same. The model's own training in one or
    two dimensions is then that of one process up to rounding; a guide's is equal in law, as each process draws its own
    noise. The first process's parameters are the start, and it alone writes and shows progress.

    Args:
        model: The model; trained in place for the first seed.
        guide: Its guide; trained in place for the first seed.
        observations: The data: in memory, or a record that is read a stretch at a time. Of a record, and of series of
            more than 5000 rows, 100,000 rows in random stretches give the starting values and the step, and half a
            million the transitions that are counted; the minibatches come from everywhere.
        steps: Most optimiser steps a seed; a phase ends earlier once its loss is on a plateau.
        seeds: How many independent fits, or their seeds. Only several can show how sure the fit itself is.
        learning_rate: Peak learning rate of the guide; the few parameters of the model get twice that.
        batch_size: Windows a step; all of them where there are no more.
        window: Observations a window; by default as many as keep the loop over inner steps short.
        kl_annealing: Steps over which the prior's weight in the ELBO rises from a tenth to one. Off by default:
            starting values come from the data, and a weak prior lets the noise collapse and the diffusion grow,
            which takes long to mend.
        exact: Fit a model with a state of one or two dimensions (with a momentum, on equal gaps) on its exact evidence;
            otherwise on the ELBO like any other.
        device: "auto" (CUDA where it is there), "cpu", "cuda" or another torch device.
        checkpoint: File that the state of the fit is saved to.
        resume: Continue from ``checkpoint``, exactly where it stopped; a seed that was under way among several
            workers starts anew.
        workers: Seeds trained at once, each in a process of its own with one thread (or ``OMP_NUM_THREADS``): the same
            numbers as one after the other with as many threads. Model and guide must be picklable, and a script must
            call this under ``if __name__ == "__main__":``. After Ctrl-C only finished seeds are kept.
        progress: Show a progress bar.

    Returns:
        The fits of all seeds.

    Raises:
        TrainingError: If the loss cannot be kept finite (a warning where only the guide of a fitted model is left to be
            trained), the device is not there, a process that takes part has ended, or the processes of a group were
            given different things.
        CheckpointError: If a checkpoint cannot be written, read or does not match.
        ValueError: If the observations do not fit the model.
        KeyboardInterrupt: After Ctrl-C among several workers before any seed was finished.
    """
    for chunk in [observations] if isinstance(observations, Observations) else observations.chunks():
        model.emission.check(chunk)
    chosen = _seeds(seeds)
    if steps < 3:
        raise ValueError(f"fit: expected at least 3 steps, got {steps}")
    _warn_of_breaks(observations)
    crew = Crew.present()
    if workers < 1 or (workers > 1 and crew.size > 1):
        raise TrainingError(
            f"fit: expected at least one worker, and one in a group of several processes; got workers={workers} in "
            f"a group of {crew.size}; train seeds apart or together, not both"
        )
    place = crew.device(_device(device))
    data, stretches = _in_stretches(observations, place)
    exact = exact and can_be_exact(model, data)
    phases = plan(model, steps, learning_rate) if exact else plan_on_bound(steps, learning_rate)
    given_step = None if model.adapts_step else model.max_step
    identity = {
        "model": describe_parameters(model, guide),
        "data": describe_data(observations),
        "settings": repr((phases, chosen, batch_size, window, kl_annealing, given_step)),
    }
    path = None if checkpoint is None else Path(checkpoint)
    if resume and path is None:
        raise ValueError("fit: resume=True needs checkpoint=FILE to continue from")
    finished: list[dict[str, Any] | None] = [None] * len(chosen)
    header: dict[str, Any] = {"identity": identity, "finished": finished}
    current = None
    interrupted = False
    members: list[FittedMember] = []
    with crew:
        crew.require_same(identity)
        if resume and path is not None:
            saved = crew.first(partial(_matching, path, identity))
            finished[: len(saved["finished"])] = saved["finished"]
            current = saved["current"]
        _alike(crew, model, guide)
        pristine = copy.deepcopy((model, guide))
        recipe = Recipe(pristine, data, stretches, phases, batch_size, window, kl_annealing, model.adapts_step, place)
        hidden = not progress or crew.rank > 0
        with tqdm(total=recipe.steps * len(chosen), disable=hidden, smoothing=0.05) as bar:
            bar.update(recipe.steps * sum(state is not None for state in finished))
            if workers > 1:
                interrupted = _trained_apart(recipe, chosen, workers, current, path, header, bar)
            for number, seed in enumerate(chosen):
                done = finished[number]
                if done is None and interrupted:
                    continue
                # Pyro's global store would hand the parameters of one fit to the next of the same names
                with pyro.get_param_store().scope():
                    own = (model, guide) if number == 0 else None
                    trainer = recipe.begin(seed, own, checkpoint=path, header=header, crew=crew)
                    if done is not None:
                        trainer.restore(done)
                    else:
                        if current is not None:
                            trainer.restore(current)
                            bar.update(len(trainer.progress.loss))
                            current = None
                        interrupted = _trained(trainer, bar)
                        if not interrupted:
                            finished[number] = trainer.finished_state()
                        trainer.save(finished=not interrupted)
                members.append(_member(seed, trainer, finished=finished[number] is not None))
    if not members:
        raise KeyboardInterrupt
    return FitResult(members, interrupted)


def _matching(path: Path, identity: dict[str, str]) -> dict[str, Any]:
    """The checkpoint at a path, which must be of this fit."""
    saved = load_checkpoint(path)
    require_match(saved["identity"], identity, path)
    return saved


def _alike(crew: Crew, *modules: torch.nn.Module) -> None:
    """Start all processes from the first one's parameters: each may have drawn its own."""
    states = crew.first(lambda: [module.state_dict() for module in modules])
    for module, state in zip(modules, states, strict=True):
        module.load_state_dict(state)


def _trained(trainer: Trainer, bar: Any) -> bool:
    """Train to the end; True if the user stopped it."""
    try:
        trainer.run(bar)
    except KeyboardInterrupt:
        return True
    return False


def _trained_apart(
    recipe: Recipe,
    seeds: list[int],
    workers: int,
    current: dict[str, Any] | None,
    path: Path | None,
    header: dict[str, Any],
    bar: Any,
) -> bool:
    """Train all seeds that are not finished in processes of their own; True if the user stopped it."""
    finished = header["finished"]
    tasks = {}
    for number, seed in enumerate(seeds):
        if finished[number] is None:
            tasks[seed] = Task(recipe, seed, number == 0, current)
            current = None  # the first that is not finished was under way

    def keep(seed: int, state: dict[str, Any]) -> None:
        finished[seeds.index(seed)] = state
        if path is not None:
            save_checkpoint(path, {**header, "current": None})

    try:
        train_apart(tasks, workers=workers, bar=bar, keep=keep)
    except KeyboardInterrupt:
        return True
    return False


def _member(seed: int, trainer: Trainer, *, finished: bool) -> FittedMember:
    done = trainer.progress
    return FittedMember(
        seed,
        trainer.model,
        trainer.guide,
        done.loss,
        done.phase_names,
        done.restarts,
        None if trainer.evidence is None else trainer.evidence.grid,
        barriers_told=done.agreement == Agreement.FULL,
        finished=finished,
    )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"fit: expected at least one seed and no seed twice, got {seeds}")
    return chosen


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError('fit: device "cuda" was asked for, but there is none; use device="auto" or "cpu"')
    return torch.device(device)


def _in_stretches(
    observations: Observations | LongRecord, device: torch.device
) -> tuple[Observations | LongRecord, Observations]:
    """The data on the device, and what of them is walked along from end to end: no series may be too long for that."""
    if isinstance(observations, Observations):
        if observations.n_times <= LONG:
            data = observations.to(device=device)
            return data, data
        observations = LongRecord.of(observations)
    record = observations.to(device)
    return record, record.sample(_SAMPLED, generator=torch.Generator().manual_seed(0))


def _warn_of_breaks(observations: Observations | LongRecord) -> None:
    longest, typical = observations.longest_gap, observations.typical_gap
    if longest > _BREAK * typical:
        fix = (
            f"cut the series there, observations.cut_at_gaps({_BREAK * typical:.3g})"
            if isinstance(observations, Observations)
            else "give the record as a list that has an entry for each part"
        )
        warnings.warn(
            f"fit: a gap of {longest:.4g} is {longest / typical:.0f} times the typical one; paths go through it step "
            f"by step, which takes memory and time and tells little: {fix}",
            UserWarning,
            stacklevel=3,
        )
