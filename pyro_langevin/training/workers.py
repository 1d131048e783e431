"""Several seeds at once, each in a process of its own."""

from __future__ import annotations

import os
import pickle
import signal
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, cast

import torch

from pyro_langevin.training.errors import TrainingError

State = dict[str, Any]

_FIX = "define their classes and functions at the top level of a module that can be imported, or use workers=1"
_READY = "ready"  # says a worker that can take its task


class _Worker(NamedTuple):
    seed: int
    process: BaseProcess
    task: bytes


def train_apart(
    tasks: Mapping[int, Callable[[Any], State]], *, workers: int, bar: Any, keep: Callable[[int, State], None]
) -> None:
    """Run tasks in processes of their own, so many at once.

    A process computes with one thread, or with ``OMP_NUM_THREADS`` where that is set.

    Args:
        tasks: By seed, what trains it, given a progress bar, to its final state.
        workers: Most processes at once.
        bar: Progress bar of all seeds.
        keep: Called with a seed and its state, as each ends.

    Raises:
        TrainingError: If a task cannot be pickled, or its process failed; all others are then ended.
    """
    waiting = dict(tasks)
    running: dict[Connection, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                seed = next(iter(waiting))
                ear, worker = _started(seed, _pickled(waiting.pop(seed)))
                running[ear] = worker
            for heard in wait(list(running)):
                _listen(cast(Connection, heard), running, bar, keep)
    finally:
        for ear, worker in running.items():
            worker.process.terminate()
            worker.process.join()
            ear.close()


def _pickled(task: Callable[[Any], State]) -> bytes:
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        raise TrainingError(
            f"fit: with several workers model, guide and data go to other processes, but they cannot be pickled "
            f"({problem}); {_FIX}"
        ) from problem


def _started(seed: int, task: bytes) -> tuple[Connection, _Worker]:
    context = get_context("spawn")  # a fork would copy threads' locks and CUDA's state
    ear, mouth = context.Pipe()
    # The task is not among the arguments: a large one would be written while the worker starts, and where that fails
    # (a script that is imported anew and begins to fit) no one would ever read it.
    process = context.Process(target=_work, args=(mouth, torch.get_default_dtype()), daemon=True)
    process.start()
    mouth.close()  # the worker's copy is then the only one: its end is heard
    return ear, _Worker(seed, process, task)


def _listen(ear: Connection, running: dict[Connection, _Worker], bar: Any, keep: Callable[[int, State], None]) -> None:
    """Take in one message of a worker."""
    seed, process, task = running[ear]
    try:
        said = pickle.loads(ear.recv_bytes())
        if said == _READY:
            ear.send_bytes(task)
            return
    except (EOFError, ConnectionError):
        process.join()
        raise TrainingError(
            f"fit: the process that trained seed {seed} ended without a result (exit code {process.exitcode}); if "
            'memory is short use fewer workers, and in a script call fit under `if __name__ == "__main__":`'
        ) from None
    if isinstance(said, Exception):
        raise said
    if isinstance(said, int):
        bar.update(said)
        return
    state, warned = said
    for message, category in warned:
        warnings.warn(message, category, stacklevel=5)  # the caller of fit
    process.join()
    ear.close()
    del running[ear]
    keep(seed, state)


def _work(mouth: Connection, dtype: torch.dtype) -> None:
    """What a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that started this one decides
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_default_dtype(dtype)
    try:
        with warnings.catch_warnings(record=True) as warned:
            mouth.send_bytes(pickle.dumps(_READY))
            state = _unpickled(mouth.recv_bytes())(_Bar(mouth))
        said: Any = state, [(str(one.message), one.category) for one in warned]
    except Exception as problem:
        said = problem
    mouth.send_bytes(pickle.dumps(said))


def _unpickled(task: bytes) -> Callable[[Any], State]:
    try:
        made: Callable[[Any], State] = pickle.loads(task)
    except (AttributeError, ImportError) as problem:
        raise TrainingError(
            f"fit: with several workers model, guide and data go to other processes, and one cannot make them there "
            f"({problem}); {_FIX}"
        ) from problem
    return made


class _Bar:
    """What a trainer takes for a progress bar: it tells the process that shows one."""

    def __init__(self, mouth: Connection) -> None:
        self._mouth = mouth

    def update(self, steps: int) -> None:
        self._mouth.send_bytes(pickle.dumps(steps))

    def set_description(self, text: str, *, refresh: bool) -> None:
        """Phases of several seeds have no place in one bar."""

    def set_postfix(self, *, refresh: bool, **figures: str) -> None:
        """Nor have their losses."""
