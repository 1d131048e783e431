"""Colours, line styles and markers of states and seeds: one look for every figure.

The colours are Okabe and Ito's (2008), told apart with every kind of colour vision. They are ordered so
that neighbours differ in lightness, and each comes with a line style and a marker of its own, so that
figures work in grey.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INK", "PAPER_EDGE", "QUIET", "SURFACE", "Look", "seed_look", "state_look"]

INK = "#222222"
"""Lines and text that carry the message."""
QUIET = "#8a8a8a"
"""What stands back: single seeds, reference lines."""
PAPER_EDGE = "#ffffff"
"""Rims that keep marks apart."""
SURFACE = "cividis"
"""Colour map of a potential: perceptually uniform, monotone in lightness."""

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#cc79a7")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Look:
    """How one state or seed is drawn."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    marker: str


def state_look(index: int) -> Look:
    """Look of the state at this place; colours repeat after six, then with other lines and markers."""
    turn, place = divmod(index, len(_COLOURS))
    shifted = (place + turn) % len(_LINES)
    return Look(_COLOURS[place], _LINES[shifted], _MARKERS[shifted])


def seed_look(index: int) -> Look:
    """Look of a seed: greys, so that it is not taken for a state, told apart by lightness and line style."""
    greys = ("#222222", "#777777", "#aaaaaa")
    return Look(greys[index % len(greys)], _LINES[index % len(_LINES)], _MARKERS[index % len(_MARKERS)])
