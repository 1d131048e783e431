"""Words that the verdicts share: units, plurals, percentages."""

from __future__ import annotations

from pyro_langevin.diagnostics.layout import Draws, group

__all__ = ["percent", "plural", "time_unit"]


def time_unit(idata: Draws) -> str:
    """The data's time unit with a space before it; empty where the user named none."""
    unit = str(group(idata, "kinetics").attrs.get("time_unit", ""))
    return f" {unit}" if unit else ""


def plural(number: int, noun: str) -> str:
    """The noun, with an s unless there is one."""
    return noun if number == 1 else f"{noun}s"


def percent(fraction: float) -> str:
    """A fraction as whole per cents."""
    return f"{100 * fraction:.0f} %"
