"""Several fits of SVI, each with parameters of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pyro
from pyro.params.param_store import StateDict
from torch import nn

PyroProgram = Callable[..., Any]
#: Parameters by name, as ``pyro.get_param_store().get_state()`` gives them.
ParamState = Mapping[str, Any]


def fits_of(
    model: PyroProgram | list[PyroProgram], guide: PyroProgram | list[PyroProgram | tuple[PyroProgram, ParamState]]
) -> Iterator[tuple[PyroProgram, PyroProgram, ParamState | None]]:
    """Model, guide and parameters of each fit; no parameters where those of the present store are meant."""
    if not isinstance(guide, list):
        if isinstance(model, list):
            raise ValueError("from_pyro_svi: expected one guide for each model of the list, got a single guide")
        yield model, guide, None
        return
    models = model if isinstance(model, list) else [model] * len(guide)
    if len(models) != len(guide) or not guide:
        raise ValueError(f"from_pyro_svi: expected one model a guide, got {len(models)} models and {len(guide)} guides")
    for one, member in zip(models, guide, strict=True):
        if isinstance(member, tuple):
            yield one, member[0], member[1]
        elif isinstance(member, nn.Module):
            yield one, member, {"params": {}, "constraints": {}}
        else:
            raise ValueError(
                "from_pyro_svi: the guides of a list would share their parameters: expected modules or pairs (guide, "
                f"state), got {getattr(member, '__name__', member)!r}; keep pyro.get_param_store().get_state() after "
                "each fit"
            )


@contextmanager
def own_parameters(state: ParamState | None, programs: tuple[PyroProgram, PyroProgram]) -> Iterator[None]:
    """Parameters of one fit, in a store of their own; modules keep those that they had."""
    if state is None:
        yield
        return
    own = [part for program in programs if isinstance(program, nn.Module) for part in program.modules()]
    before = [(part, dict(part._parameters)) for part in own]
    held = {id(parameter) for part in own for parameter in part._parameters.values()}
    store = pyro.get_param_store()
    try:
        with store.scope(cast(StateDict, {name: dict(table) for name, table in state.items()})):
            yield
            new = [name for name, value in store.named_parameters() if id(value) not in held]
            if not state["params"] and new:
                raise ValueError(
                    f"from_pyro_svi: the parameters {new[:4]} live in the parameter store and in no module; pass pairs "
                    "(guide, state) with pyro.get_param_store().get_state() as it was after each fit"
                )
    finally:
        for part, parameters in before:
            part._parameters.update(parameters)
