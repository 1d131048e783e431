"""Where a control enters the dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class ControlPort:
    """Coordinates through which a control acts on a transition.

    Attributes:
        noise: Coordinates of the transition's noise that a control may shift and damp.
        state: Coordinates of the state whose drift it may replace: all of an overdamped state, the momentum of an
            underdamped one.
    """

    noise: tuple[int, ...]
    state: tuple[int, ...]

    @classmethod
    def everywhere(cls, dim: int) -> ControlPort:
        """Control over all coordinates."""
        return cls(tuple(range(dim)), tuple(range(dim)))


@runtime_checkable
class HasControlPort(Protocol):
    """Dynamics on which a control may act through some coordinates only."""

    @property
    def control_port(self) -> ControlPort: ...


class HasDim(Protocol):
    """Whatever has a state of some dimension."""

    @property
    def dim(self) -> int: ...


def control_port(dynamics: HasDim) -> ControlPort:
    """Where a control enters these dynamics: everywhere, unless they say otherwise."""
    return dynamics.control_port if isinstance(dynamics, HasControlPort) else ControlPort.everywhere(dynamics.dim)
