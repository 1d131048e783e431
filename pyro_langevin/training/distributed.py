"""One fit by several processes: each takes its share of every batch, and all hold the same model.

The loss of a batch is per observed value, so that the whole batch's is the mean of the shares' losses, weighted by
their observed values; penalties on the model count once, as the weights sum to one.
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from pyro_langevin.training.errors import TrainingError

Made = TypeVar("Made")


class Crew:
    """The processes of one fit; by default this process alone, for which every method is the identity.

    All processes call the same methods in the same order. As a context, it lets Ctrl-C or SIGTERM in any process end
    training in all of them at the same step, and an error in one of them end the others as well.

    Args:
        rank: Number of this process; the first, 0, is the one that writes and shows progress.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._group: Any = None
        self._stopped = False
        self._handlers: dict[int, Any] = {}

    @classmethod
    def present(cls) -> Crew:
        """All processes of the initialised ``torch.distributed`` group; this process alone where there is none."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def __enter__(self) -> Crew:
        if self.size > 1:
            # a group of our own can be left when something goes wrong, which tells the others
            self._group = dist.new_group(backend=_backend())
        if self.size > 1 and threading.current_thread() is threading.main_thread():
            # torchrun passes every Ctrl-C on to processes that had it already: one or several mean the same
            self._handlers = {one: signal.signal(one, self._stop) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._handlers.items():
            signal.signal(one, handler)
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None  # the last reference: connections close, and whoever waits for this process hears of it

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True

    def device(self, place: torch.device) -> torch.device:
        """This process's own GPU, by ``LOCAL_RANK``, where any was asked for.

        Raises:
            TrainingError: If the machine has fewer GPUs than processes.
        """
        if self.size == 1 or place.type != "cuda":
            return place
        if place.index is None:
            number, found = int(os.environ.get("LOCAL_RANK", self.rank)), torch.cuda.device_count()
            if number >= found:
                raise TrainingError(
                    f"fit: process {self.rank} expected a GPU of its own, number {number} of this machine, which has "
                    f'{found}; start as many processes a machine as it has GPUs, or use device="cpu"'
                )
            place = torch.device("cuda", number)
        torch.cuda.set_device(place)
        return place

    def share(self, indices: Tensor) -> Tensor:
        """This process's part of some indices; all of them where there are fewer than processes."""
        return indices[self.rank :: self.size] if len(indices) >= self.size else indices

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the processes, the same in all of them.

        Raises:
            TrainingError: If another process has ended or does not answer.
        """
        if self.size == 1:
            return value
        total = value.detach().clone()
        with _heard():
            dist.all_reduce(total, group=self._group)
        return total

    def relative(self, amount: Tensor) -> Tensor:
        """An amount in units of its mean over the processes."""
        return self.size * amount / self.sum(amount)

    def pooled(self, loss: Tensor, parameters: Iterable[Parameter]) -> Tensor:
        """Mean over the processes of a loss and, in place, of the gradients of the parameters that are learned.

        Raises:
            KeyboardInterrupt: If any of the processes was asked to stop.
            TrainingError: If another process has ended or does not answer.
        """
        if self.size == 1:
            return loss
        learned = [one for one in parameters if one.requires_grad]
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in learned]
        stopped = loss.new_tensor(float(self._stopped))
        mean = self.sum(torch.cat([one.reshape(-1) for one in (*gradients, loss.detach(), stopped)])) / self.size
        for one, gradient in zip(learned, mean[:-2].split([one.numel() for one in learned]), strict=True):
            one.grad = gradient.view_as(one).to(one)
        if float(mean[-1]) > 0.0:
            raise KeyboardInterrupt
        return mean[-2]

    def first(self, function: Callable[[], Made]) -> Made:
        """What a function returns or raises in the first process; the others do not call it.

        Raises:
            TrainingError: If another process has ended or does not answer.
        """
        if self.size == 1:
            return function()
        made, error, told = None, None, [b""]
        if self.rank == 0:
            try:
                made = function()
            except Exception as problem:
                error = problem
            stream = io.BytesIO()
            torch.save((made, error), stream)
            told = [stream.getvalue()]
        with _heard():
            dist.broadcast_object_list(told, src=0, group=self._group, device=torch.device("cpu"))
        if self.rank > 0:
            made, error = torch.load(io.BytesIO(told[0]), map_location=_here, weights_only=False)
        if error is not None:
            raise error
        return made  # type: ignore[return-value]

    @contextmanager
    def own_noise(self) -> Iterator[None]:
        """Random numbers of this process alone; afterwards those of all processes go on alike."""
        if self.size == 1:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)
            yield

    def require_same(self, identity: dict[str, str]) -> None:
        """Refuse processes that were given different things, naming what differs.

        Raises:
            TrainingError: In every process that differs from the first.
        """
        first = self.first(lambda: identity)
        for what, value in identity.items():
            if first[what] != value:
                raise TrainingError(
                    f"fit: process {self.rank} was given another {what} than the first ({value}, there {first[what]}); "
                    "give all processes of one fit the same"
                )


@contextmanager
def launched() -> Iterator[None]:
    """Joins the processes that ``torchrun`` started together with this one; does nothing in any other process."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group(_backend())
    try:
        yield
    finally:
        dist.destroy_process_group()


def launched_rank() -> int:
    """Number of this process among those that ``torchrun`` started; 0 in any other."""
    return int(os.environ["RANK"]) if dist.is_available() and dist.is_torchelastic_launched() else 0


def _backend() -> str:
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"


def _here(storage: Any, place: str) -> Any:
    """Puts what was on another process's GPU on this one's."""
    return storage if place == "cpu" else storage.cuda()


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:
        raise TrainingError(
            f"fit: another process of this fit has ended or does not answer ({str(problem).splitlines()[0][:100]}); "
            "what it said last tells why; mend that and resume from the checkpoint"
        ) from problem
