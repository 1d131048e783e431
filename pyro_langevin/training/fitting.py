"""Fit a model and a guide to observations."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor
from tqdm import tqdm

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LONG, LongRecord, Observations
from pyro_langevin.training.checkpoint import (
    describe_data,
    describe_parameters,
    load_checkpoint,
    require_match,
)
from pyro_langevin.training.errors import TrainingError
from pyro_langevin.training.lag import Agreement
from pyro_langevin.training.loop import Trainer
from pyro_langevin.training.phases import can_be_exact, plan, plan_on_bound
from pyro_langevin.training.result import FitResult, FittedMember

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
    progress: bool = True,
) -> FitResult:
    """Fit by stochastic variational inference, from data-driven starting values.

    In one or two latent dimensions the model is fitted on its exact evidence, where no guide can bias rates and
    barriers, and the guide then on the ELBO; in more dimensions both are trained together on the ELBO.
    A non-finite loss or gradient returns to the last good state at half the learning rate. Ctrl-C ends training;
    what is fitted is returned and, with ``checkpoint``, saved.

    Args:
        model: The model; trained in place for the first seed.
        guide: Its guide; trained in place for the first seed.
        observations: The data: in memory, or a record that is read a stretch at a time. Of a record, and of series of
            more than 5000 rows, 100,000 rows in random stretches give the starting values and the step, and half a
            million the transitions that are counted; the minibatches come from everywhere.
        steps: Most optimiser steps a seed; a phase ends earlier once its loss is on a plateau.
        seeds: How many independent fits, or their seeds. Only several can show how sure the fit itself is.
        learning_rate: Peak learning rate of the guide; the few parameters of the model get twice that.
        batch_size: Windows a step.
        window: Observations a window; by default as many as keep the loop over inner steps short.
        kl_annealing: Steps over which the prior's weight in the ELBO rises from a tenth to one. Off by default:
            starting values come from the data, and a weak prior lets the noise collapse and the diffusion grow,
            which takes long to mend.
        exact: Fit a model with a state of one or two dimensions (with a momentum, on equal gaps) on its exact evidence;
            otherwise on the ELBO like any other.
        device: "auto" (CUDA where it is there), "cpu", "cuda" or another torch device.
        checkpoint: File that the state of the fit is saved to.
        resume: Continue from ``checkpoint``, exactly where it stopped.
        progress: Show a progress bar.

    Returns:
        The fits of all seeds.

    Raises:
        TrainingError: If the loss cannot be kept finite (a warning where only the guide of a fitted model is left to be
            trained), or the device is not there.
        CheckpointError: If a checkpoint cannot be written, read or does not match.
        ValueError: If the observations do not fit the model.
    """
    for chunk in [observations] if isinstance(observations, Observations) else observations.chunks():
        model.emission.check(chunk)
    chosen = _seeds(seeds)
    if steps < 3:
        raise ValueError(f"fit: expected at least 3 steps, got {steps}")
    place = _device(device)
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
    header: dict[str, Any] = {"identity": identity, "finished": []}
    current = None
    if resume:
        if path is None:
            raise ValueError("fit: resume=True needs checkpoint=FILE to continue from")
        saved = load_checkpoint(path)
        require_match(saved["identity"], identity, path)
        header["finished"], current = saved["finished"], saved["current"]

    adapt_step = model.adapts_step
    pristine = copy.deepcopy((model, guide))
    members: list[FittedMember] = []
    interrupted = False
    per_seed = sum(phase.steps for phase in phases)
    bar = tqdm(total=per_seed * len(chosen), disable=not progress, smoothing=0.05)
    with bar:
        for number, seed in enumerate(chosen):
            pyro.set_rng_seed(seed)
            own = (model, guide) if number == 0 else _fresh(pristine)
            # Pyro's global store would hand the parameters of one fit to the next of the same names
            with pyro.get_param_store().scope():
                states = _start(own, stretches, place)
                trainer = Trainer(
                    own[0],
                    own[1],
                    data,
                    stretches=stretches,
                    states=states,
                    phases=phases,
                    batch_size=batch_size,
                    window=window,
                    kl_annealing=kl_annealing,
                    adapt_step=adapt_step,
                    checkpoint=path,
                    header=header,
                )
                if number < len(header["finished"]):
                    trainer.restore(header["finished"][number])
                    bar.update(per_seed)
                else:
                    if current is not None:
                        trainer.restore(current)
                        bar.update(len(trainer.progress.loss))
                        current = None
                    interrupted = _trained(trainer, bar)
                    if not interrupted:
                        header["finished"].append({**trainer.state(), "optimizer": None})
                    trainer.save(finished=not interrupted)
            done = trainer.progress
            grid = None if trainer.evidence is None else trainer.evidence.grid
            members.append(
                FittedMember(
                    seed,
                    own[0],
                    own[1],
                    done.loss,
                    done.phase_names,
                    done.restarts,
                    grid,
                    barriers_told=done.agreement == Agreement.FULL,
                )
            )
            if interrupted:
                break
    return FitResult(members, interrupted)


def _trained(trainer: Trainer, bar: Any) -> bool:
    """Train to the end; True if the user stopped it."""
    try:
        trainer.run(bar)
    except KeyboardInterrupt:
        return True
    return False


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


def _fresh(pristine: tuple[LangevinModel, Any]) -> tuple[LangevinModel, Any]:
    """A copy with newly drawn random parameters, guide and model still belonging together."""
    model, guide = copy.deepcopy(pristine)
    for module in reversed([*model.modules(), *guide.modules()]):  # parts first: the whole has the last word
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model, guide


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


def _start(own: tuple[LangevinModel, Any], data: Observations, device: torch.device) -> Tensor:
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
