"""Many draws of a model and its guide: side by side where that gives the same, else one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from pyro_langevin.inference_data.any_program.program import NotVectorised, Program, Run

_NUMBERS_AT_ONCE = 5_000_000  # values of all sites held in memory together
_MOST_CHECKED = 2
_RELATIVE, _ABSOLUTE = 1e-3, 1e-3  # by which densities of one draw, alone and among others, may differ


@torch.no_grad()
def draw_posterior(program: Program, draws: int, *, predict: bool) -> tuple[Run, bool]:
    """Draws of guide and model; and whether they could be made side by side.

    Side by side, under one more plate, is fast, but nothing in Pyro tells a program that keeps draws apart from one
    that mixes them. So some draws are run again on their own, and if any density differs all are made one by one.
    """
    try:
        run = _side_by_side(lambda n: program.posterior(draws=n, predict=predict), program, draws)
        for index in sorted({0, draws - 1})[:_MOST_CHECKED]:
            _check(program, run, index)
    except Exception:  # whatever is wrong with the program itself shows again when it runs on its own
        return _one_by_one(lambda: program.posterior(draws=None, predict=predict), draws), False
    return run, True


@torch.no_grad()
def draw_prior(program: Program, draws: int, *, side_by_side: bool) -> Run:
    """Draws of the model alone.

    Raises:
        ValueError: If a site of the model cannot be drawn.
    """
    try:
        if side_by_side:
            return _side_by_side(lambda n: program.prior(draws=n), program, draws)
        return _one_by_one(lambda: program.prior(draws=None), draws)
    except NotImplementedError as problem:
        raise ValueError(
            "from_pyro_svi: expected a model that can be drawn from without data, got a site that has no sample(); "
            "pass prior=False"
        ) from problem


def _side_by_side(once: Callable[[int], Run], program: Program, draws: int) -> Run:
    size = sum(layout.numel for layout in program.sites.values())
    chunk = min(draws, max(1, _NUMBERS_AT_ONCE // max(1, size)))
    return _joined([once(min(chunk, draws - begin)) for begin in range(0, draws, chunk)])


def _one_by_one(once: Callable[[], Run], draws: int) -> Run:
    return _joined([once() for _ in range(draws)])


def _joined(parts: list[Run]) -> Run:
    """Runs one after the other.

    Raises:
        ValueError: If they differ in their sites or in the size of one.
    """
    joined: dict[str, dict[str, Tensor]] = {}
    for quantity in (item.name for item in fields(Run)):
        tables = [getattr(part, quantity) for part in parts]
        joined[quantity] = {}
        for name in tables[0]:
            size = tables[0][name].shape[1]
            if any(table.keys() != tables[0].keys() or table[name].shape[1] != size for table in tables):
                raise ValueError(
                    f"from_pyro_svi: expected the same sites of the same sizes in every run, got others around "
                    f"{name!r}; a program whose structure is random cannot become arrays"
                )
            joined[quantity][name] = torch.cat([table[name] for table in tables])
    return Run(**joined)


def _check(program: Program, run: Run, index: int) -> None:
    """Whether a draw has the same densities on its own.

    Raises:
        NotVectorised: If not.
    """
    alone = program.again(run, index)
    for quantity in ("values", "log_p", "log_q"):
        among = getattr(run, quantity)
        for name, value in getattr(alone, quantity).items():
            if name not in among or not torch.allclose(
                among[name][index].double(), value[0].double(), rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True
            ):
                raise NotVectorised
