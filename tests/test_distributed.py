"""One fit by several processes, each with its share of every batch, and what is said when one of them fails."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hopping_fits import build, fit, parts, record
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin.training import loop
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.phases import Phase, bound, training_windows

PROCESSES = 2

# Sums over shares are taken in another order, with errors of about 1e-16 of a gradient in double precision. Adam
# divides every gradient by its own size and so magnifies them where a gradient is small, a millionfold at most in what
# follows. Steps are .01: whatever is not rounding shows at once.
ROUNDING = {"rtol": 1e-7, "atol": 1e-7}

pytestmark = pytest.mark.usefixtures("double_precision")


def assert_near(found: list[dict[str, Tensor]], expected: list[dict[str, Tensor]], *, only: str = "") -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in one:
            if name.startswith(only):
                torch.testing.assert_close(one[name], other[name], **ROUNDING, msg=lambda text, n=name: f"{n}: {text}")


def shares_one_after_the_other(self: loop.Trainer, phase: Phase) -> Callable[[], Tensor]:
    """The objective of a bound as the processes compute it, each with its own noise, in one process."""
    windows = training_windows(self.model, self.observations, phase, self.window)
    of_batch = bound(self.model, self.guide)

    def loss() -> Tensor:
        drawn = torch.randint(windows.n_series, (self.batch_size,))
        total, values = torch.zeros(()), 0
        for crew in (Crew(rank, PROCESSES) for rank in range(PROCESSES)):
            batch = windows.select(drawn[crew.rank :: PROCESSES])
            with crew.own_noise():
                total = total + of_batch(batch) * batch.mask.sum()
            values += int(batch.mask.sum())
        return total / values

    return loss


@pytest.fixture
def _alone_by_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.Trainer._objective

    def objective(self: loop.Trainer, phase: Phase) -> Callable[[], Tensor]:
        by_shares = phase.name in ("bound", "posterior")
        return shares_one_after_the_other(self, phase) if by_shares else original(self, phase)

    monkeypatch.setattr(loop.Trainer, "_objective", objective)


# --- what the two processes do; each returns what it found


def fit_exactly(rank: int, folder: Path) -> Any:
    torch.rand(rank)  # nobody seeds the processes alike before model and guide are built
    pyro.set_rng_seed(rank)
    data, (model, guide) = record(), build()
    options = {"steps": 24, "batch_size": 5, "checkpoint": folder / f"of_{rank}.pt", "progress": False}
    return parts(pl.fit(model, guide, data, **options)), (folder / f"of_{rank}.pt").exists()


def fit_on_bound(rank: int, folder: Path) -> Any:
    return parts(fit(exact=False, seeds=2, steps=6))


def more_processes_than_windows(rank: int, folder: Path) -> Any:
    return parts(fit(batch_size=1, steps=6))


def interrupted(rank: int, folder: Path) -> Any:
    """Ctrl-C in the second process at its seventh step, and the same fit resumed."""
    options = {"checkpoint": folder / "interrupted.pt"}
    take, taken = torch.optim.Adam.step, [0]

    def step(self: torch.optim.Adam, *args: object) -> object:
        taken[0] += 1
        if taken[0] == 7 and rank == 1:
            signal.raise_signal(signal.SIGINT)
        return take(self, *args)

    torch.optim.Adam.step = step  # type: ignore[method-assign,assignment]
    try:
        stopped = fit(**options)
    finally:
        torch.optim.Adam.step = take  # type: ignore[method-assign]
    return stopped.interrupted, len(stopped.members[0].loss), parts(fit(**options, resume=True))


def failing(rank: int, folder: Path) -> Any:
    """The second process alone runs into an error at its third step."""
    original = loop.Trainer._set_rate

    def fail(self: loop.Trainer, *args: Any) -> None:
        original(self, *args)
        if self.progress.step == 2 and rank == 1:
            raise MemoryError("no memory left")

    loop.Trainer._set_rate = fail  # type: ignore[method-assign]
    try:
        return _error(fit)
    finally:
        loop.Trainer._set_rate = original  # type: ignore[method-assign]


def no_folder(rank: int, folder: Path) -> Any:
    return _error(partial(fit, checkpoint=folder / "nowhere" / "fit.pt", steps=6))


def other_data(rank: int, folder: Path) -> Any:
    return _error(partial(fit, record(rank)))


def with_workers(rank: int, folder: Path) -> Any:
    return _error(partial(fit, workers=2))


def _error(function: Callable[[], Any]) -> str:
    try:
        function()
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    return "no error"


ERRANDS = (
    fit_exactly,
    fit_on_bound,
    more_processes_than_windows,
    interrupted,
    failing,
    no_folder,
    other_data,
    with_workers,
)


def member_of_a_group(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES)
    found = {errand.__name__: errand(rank, folder) for errand in ERRANDS}
    torch.save(found, folder / f"found_{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the processes found; the start of a process costs more than what it does."""
    folder = tmp_path_factory.mktemp("group")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(member_of_a_group, args=(port, folder), nprocs=PROCESSES)
    return [torch.load(folder / f"found_{rank}.pt", weights_only=False) for rank in range(PROCESSES)]


# --- one fit by shares


def test_two_processes_fit_the_exact_evidence_as_one_does(found: list[dict[str, Any]]) -> None:
    alone = fit()
    assert {"evidence", "transitions", "hops"} <= set(alone.members[0].phase)
    both, one = found[0]["fit_exactly"][0], parts(alone)
    assert_near(both, one, only="model.")
    exact = sum(name != "posterior" for name in alone.members[0].phase)
    torch.testing.assert_close(both[0]["loss"][:exact], one[0]["loss"][:exact], **ROUNDING)


@pytest.mark.usefixtures("_alone_by_shares")
@pytest.mark.parametrize(("errand", "options"), [("fit_exactly", {}), ("fit_on_bound", {"exact": False, "steps": 6})])
def test_two_processes_fit_the_bound_as_one_does_that_draws_their_noise(
    errand: str, options: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    both = found[0][errand]
    own = both[0] if errand == "fit_exactly" else both
    assert_near(own, parts(fit(**options, seeds=len(own))))


def test_all_processes_hold_the_same(found: list[dict[str, Any]]) -> None:
    for name in ("fit_on_bound", "more_processes_than_windows"):
        for first, second in zip(*(one[name] for one in found), strict=True):
            assert all(torch.equal(first[part], second[part]) for part in first)


def test_a_batch_with_fewer_windows_than_processes(found: list[dict[str, Any]]) -> None:
    assert_near(found[1]["more_processes_than_windows"], parts(fit(batch_size=1, steps=6)), only="model.")


def test_only_the_first_process_writes(found: list[dict[str, Any]]) -> None:
    assert [one["fit_exactly"][1] for one in found] == [True, False]


def test_ctrl_c_in_one_process_ends_all_at_the_same_step_and_resuming_goes_on(found: list[dict[str, Any]]) -> None:
    for one in found:
        stopped, steps, resumed = one["interrupted"]
        assert stopped and steps == 7
        assert_near(resumed, one["fit_exactly"][0])


def test_an_error_in_one_process_ends_the_others(found: list[dict[str, Any]]) -> None:
    said = [one["failing"] for one in found]
    assert said[0].startswith("TrainingError: fit: another process of this fit has ended or does not answer (")
    assert said[0].endswith("what it said last tells why; mend that and resume from the checkpoint")
    assert said[1] == "MemoryError: no memory left"


def test_what_the_first_process_cannot_write_is_an_error_in_all(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["no_folder"].startswith("CheckpointError: checkpoint: could not write")


def test_processes_that_were_given_other_data_are_refused(found: list[dict[str, Any]]) -> None:
    assert found[1]["other_data"].startswith("TrainingError: fit: process 1 was given another data than the first (")
    assert "another process of this fit has ended" in found[0]["other_data"]


def test_seeds_are_trained_apart_or_together(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert "got workers=2 in a group of 2; train seeds apart or together" in one["with_workers"]


def test_shares_are_all_there_is_and_overlap_nowhere() -> None:
    indices = torch.arange(11)
    shares = [Crew(rank, 3).share(indices) for rank in range(3)]
    assert sorted(torch.cat(shares).tolist()) == indices.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_noise_is_each_process_own_and_what_follows_is_alike() -> None:
    drawn, after = [], []
    for rank in range(3):
        torch.manual_seed(7)
        with Crew(rank, 3).own_noise():
            drawn.append(torch.randn(4))
        after.append(torch.randn(4))
    assert not any(torch.equal(drawn[one], drawn[other]) for one, other in ((0, 1), (0, 2), (1, 2)))
    torch.manual_seed(7)
    expected = torch.randn(4)
    assert all(torch.equal(one, expected) for one in after)
