"""Reading a Pyro module's parameters once, in shapes that broadcast against states.

Parameters may be sampled (``PyroSample``). Read outside a call of the module that holds them they would be drawn from
the prior anew each time, as no site of the program; read inside a vectorised plate they carry batch dimensions.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def per_coordinate(module: PyroModule, name: str) -> Tensor:
    """A parameter that is one number or one per dimension, broadcastable against states ``(*batch, dim)``.

    A sampled number with batch dimensions (of particles, of series) gets a last dimension of 1.
    """
    value = getattr(module, name)
    return value.unsqueeze(-1) if event_dim(module, name) == 0 and value.dim() > 0 else value


def event_dim(module: PyroModule, name: str) -> int | None:
    """Number of event dimensions of a sampled parameter; None of one that is not sampled."""
    prior: Any = module._pyro_samples.get(name)
    if prior is not None and not hasattr(prior, "event_dim"):
        prior = prior(module)  # a rule that gives the prior
    return getattr(prior, "event_dim", None)


def sampled_names(module: nn.Module) -> list[str]:
    """Names of all sampled parameters of a module and its parts."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, PyroModule)
        for name in part._pyro_samples
    ]


def refuse_unsampled(module: PyroModule) -> None:
    """Refuse to read sampled parameters where they would be fresh draws of the prior instead of sample sites.

    Raises:
        RuntimeError: Outside a call of the module that holds this one.
    """
    if module._pyro_context.active:
        return
    names = sampled_names(module)
    if names:
        raise RuntimeError(
            f"{type(module).__name__}: {', '.join(names)} are sampled (PyroSample) and have values only while the "
            "PyroModule that holds them is called; build the path inside that module's forward, pair a guide with "
            "one of the parameters by JointGuide, or set the parameters to tensors"
        )


def ordinary(value: Tensor) -> Tensor:
    """A tensor that automatic differentiation accepts, which refuses those made in ``torch.inference_mode``."""
    if not value.is_inference():
        return value
    with torch.inference_mode(False):
        return value.clone()


def snapshot(module: Module) -> Module:
    """A module of the same kind whose parameters, sampled ones too, are tensors that were read once."""
    clone = object.__new__(type(module))
    clone.__dict__.update(module.__dict__)
    names = [name for name in module._parameters if not name.endswith("_unconstrained")]
    if isinstance(module, PyroModule):
        names += [*module._pyro_params, *module._pyro_samples]
        # a context of its own: calls leave the owner's alone, and what was read stays readable after it has closed
        clone.__dict__["_pyro_context"] = type(module._pyro_context)()
        clone.__dict__["_pyro_context"].active = 1
    for name in names:
        value = getattr(module, name)
        clone.__dict__[name] = ordinary(value) if isinstance(value, Tensor) else value
    clone._modules = {}
    for name in module._modules:
        part = getattr(module, name)
        clone._modules[name] = clone.__dict__[name] = None if part is None else snapshot(part)
    return clone
