"""A network whose Pyro parameters and samples are read once."""

from __future__ import annotations

from collections.abc import Callable

from pyro.nn import PyroModule
from torch import Tensor, nn


def read_once(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same network with everything that Pyro would look up or draw anew at each call looked up or drawn now.

    A path evaluates its drift at every step and again when its density is asked for, after the Pyro module has
    closed: Bayesian weights would then be different ones. Gradients flow to the parameters as ever. Networks
    without Pyro's modules, and functions, are returned as they are.
    """
    if not isinstance(network, nn.Module) or not any(isinstance(part, PyroModule) for part in network.modules()):
        return network
    return _copy(network)


def _copy(module: nn.Module) -> nn.Module:
    children = {
        name: child if child is None else _copy(getattr(module, name)) for name, child in module._modules.items()
    }
    copy: nn.Module = object.__new__(type(module))
    copy.__dict__.update(module.__dict__)
    copy.__dict__["_modules"] = children
    if isinstance(module, PyroModule):
        plain = [name for name in module._parameters if not name.endswith("_unconstrained")]
        for name in (*module.__dict__["_pyro_params"], *module.__dict__["_pyro_samples"], *plain):
            copy.__dict__[name] = getattr(module, name)  # found before Pyro's look-up
        copy.__dict__.update(children)
        copy.__dict__["_pyro_context"] = type(module.__dict__["_pyro_context"])()  # calls leave the owner's alone
    return copy
