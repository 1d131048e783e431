"""Several processes: one fit by shares, seeds apart, and what is said when one of the processes fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.cli import main
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.training import fitting, loop
from pyro_langevin.training.distributed import Crew
from pyro_langevin.training.phases import Phase, bound, training_windows
from pyro_langevin.training.workers import train_apart

PROCESSES = 2

# Sums over shares are taken in another order, with errors of about 1e-16 of a gradient in double precision. Adam
# divides every gradient by its own size and so magnifies them where a gradient is small, a millionfold at most in what
# follows. Steps are .01: whatever is not rounding shows at once.
ROUNDING = {"rtol": 1e-7, "atol": 1e-7}

Fitted = tuple[pl.LangevinModel, AmortisedGuide]


pytestmark = pytest.mark.usefixtures("double_precision")


def record(seed: int = 1) -> pl.Observations:
    """Twelve series that hop between two wells, a few values missing, so that shares differ in their number."""
    values = datasets.double_well(12, 60, gap=0.3, noise=0.2, seed=seed).observations.values.clone()
    values[0, 5:40] = values[3, 7] = torch.nan
    return pl.Observations(values, 0.3 * np.arange(60))


def build() -> Fitted:
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1, 4)), pl.GaussianEmission(1, 1))
    return model, pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)


def fit(data: pl.Observations | None = None, **options: Any) -> pl.FitResult:
    pyro.set_rng_seed(0)
    settings: dict[str, Any] = {"steps": 24, "batch_size": 5, "device": "cpu", "progress": False}
    return pl.fit(*build(), record() if data is None else data, **{**settings, **options})


def parts(result: pl.FitResult) -> list[dict[str, Tensor]]:
    """All that was learned of every seed: states of model and guide, losses."""
    return [
        {
            **{f"model.{name}": value for name, value in member.model.state_dict().items()},
            **{f"guide.{name}": value for name, value in member.guide.state_dict().items()},
            "loss": torch.tensor(member.loss),
            "max_step": torch.tensor(member.model.max_step),
        }
        for member in result.members
    ]


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


# --- on the command line


def csv(path: Path) -> Path:
    values = datasets.double_well(3, 40, noise=0.2, seed=1).observations.values[..., 0].tolist()
    rows = [f"m{s},{0.1 * k:.1f},{value:.4f}" for s, series in enumerate(values) for k, value in enumerate(series)]
    path.write_text("\n".join(["molecule,t,x", *rows]) + "\n")
    return path


def words(path: Path, out: Path) -> list[str]:
    where = ["--out", str(out), "--time", "t", "--values", "x", "--series", "molecule"]
    return ["fit", str(path), *where, "--steps", "6", "--seeds", "1", "--draws", "4"]


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}")


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [*TORCHRUN, "-m", "pyro_langevin", *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(program, capture_output=True, text=True, timeout=600, env=one_thread)


@pytest.mark.slow
def test_torchrun_fits_as_one_process_does_and_reports_once(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)  # as the processes have it
    data = csv(tmp_path / "data.csv")
    ended = torchrun(*words(data, tmp_path / "two"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Observations(3 series") == 1 and ended.stdout.count("report.html") == 1
    assert main([*words(data, tmp_path / "one"), "--quiet"]) == 0
    one, two = (torch.load(tmp_path / name / "checkpoint.pt")["finished"][0]["model"] for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-4)
    states = [json.loads((tmp_path / name / "summary.json").read_text())["n_states"] for name in ("one", "two")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_torchrun_ends_with_a_clear_line_when_the_file_is_missing(tmp_path: Path) -> None:
    ended = torchrun(*words(tmp_path / "nothing.csv", tmp_path / "out"))
    assert ended.returncode != 0
    assert "nothing.csv: expected a readable" in ended.stderr


# --- seeds apart


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(found: pl.FitResult, expected: pl.FitResult) -> bool:
    pairs = zip(parts(found), parts(expected), strict=True)
    return all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)


@pytest.mark.usefixtures("_one_thread")
def test_seeds_in_workers_are_those_of_one_process_and_a_checkpoint_has_them(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 3, "seeds": [4, 1], "exact": False}
    whole = fit(**options)
    after = torch.rand(3)
    apart = fit(**options, workers=2, checkpoint=tmp_path / "fit.pt")
    assert torch.equal(torch.rand(3), after)  # draws that follow are the same as well
    assert same(apart, whole) and [member.seed for member in apart.members] == [4, 1]
    assert [member.phase for member in apart.members] == [member.phase for member in whole.members]
    assert same(fit(**options, resume=True, checkpoint=tmp_path / "fit.pt"), whole)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_ctrl_c_among_workers_keeps_the_finished_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        def update(self, steps: int) -> None: ...
        def set_description(self, text: str, refresh: bool) -> None: ...
        def set_postfix(self, **figures: Any) -> None: ...

    def second_only(tasks: dict[int, Any], *, keep: Callable[..., None], **_: Any) -> None:
        keep(1, tasks[1](Bar()))
        raise KeyboardInterrupt

    options: dict[str, Any] = {"steps": 3, "seeds": [4, 1], "exact": False, "checkpoint": tmp_path / "fit.pt"}
    whole = fit(**{**options, "checkpoint": None})
    with monkeypatch.context() as once:
        once.setattr(fitting, "train_apart", second_only)
        stopped = fit(**options, workers=2)
    assert stopped.interrupted and [member.seed for member in stopped.members] == [1]
    assert stopped.members[0].finished
    assert same(fit(**options, resume=True), whole)


def test_ctrl_c_before_any_seed_is_finished_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "train_apart", none)
    with pytest.raises(KeyboardInterrupt):
        fit(seeds=2, workers=2)


def test_what_cannot_be_pickled_is_refused_with_the_fix() -> None:
    class Local(pl.NeuralPotential):
        pass

    model = pl.LangevinModel(pl.Overdamped(Local(1, 4)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1, 4), hidden=6)
    with pytest.raises(pl.TrainingError, match=r"cannot be pickled .*Local.* at the top level .* workers=1"):
        pl.fit(model, guide, record(), seeds=2, workers=2, progress=False)


def test_no_worker_is_refused() -> None:
    with pytest.raises(pl.TrainingError, match="expected at least one worker"):
        fit(workers=0)


def task_that_dies(bar: Any) -> dict[str, Any]:
    os._exit(9)


def task_that_fails(bar: Any) -> dict[str, Any]:
    raise pl.TrainingError("fit: the loss was not finite")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (task_that_dies, r"trained seed 3 ended without a result \(exit code 9\)"),
        pytest.param(task_that_fails, "was not finite", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_fails_is_heard(task: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(pl.TrainingError, match=said):
        train_apart({3: task}, workers=2, bar=None, keep=lambda *_: None)


def test_fits_made_apart_are_joined() -> None:
    results = [fit(steps=3, seeds=[seed], exact=False) for seed in (5, 2)]
    joined = pl.FitResult.joined(results)
    assert [member.seed for member in joined.members] == [5, 2] and not joined.interrupted
    with pytest.raises(ValueError, match=r"different seeds, got seeds \[5, 2, 5\]"):
        pl.FitResult.joined([joined, results[0]])
    with pytest.raises(ValueError, match="got seeds"):
        pl.FitResult.joined([])
