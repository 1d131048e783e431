"""Colours, line styles and markers of states and seeds: one look for every figure.

The first three colours are Okabe and Ito's (2008), told apart with every kind of colour vision. Theirs differ little in
lightness beyond three, so the others are theirs made lighter or darker: all six are at least seven steps of CIE
lightness apart. Each comes with a line style, a marker and a hatching of its own, so that figures work in grey.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "INK", "OUTSIDE", "PAPER_EDGE", "PARTS", "QUIET", "SURFACE", "Look", "Part", "seed_look", "state_look",
]

INK = "#222222"
"""Lines and text that carry the message."""
QUIET = "#8a8a8a"
"""What stands back: single seeds, reference lines."""
PAPER_EDGE = "#ffffff"
"""Rims that keep marks apart."""
OUTSIDE = "#e4e4e4"
"""Where there is nothing: beyond the end of a record, cells of no meaning."""
SURFACE = "cividis"
"""Colour map of a potential: perceptually uniform, monotone in lightness."""

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#86cdf6", "#9c3500", "#5a1846")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_HATCHES = ("", "//", "..", "\\\\", "xx", "--")


@dataclass(frozen=True)
class Look:
    """How one state or seed is drawn."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    marker: str
    hatch: str = ""


@dataclass(frozen=True)
class Part:
    """How one part of a whole that is no state is drawn."""

    colour: str
    hatch: str


PARTS = (
    Part("#222222", ""),
    Part("#777777", "//"),
    Part("#b4b4b4", ""),
    Part("#dddddd", "xx"),
    Part("#f6f6f6", "...."),
)
"""Greys in steps of lightness, with patterns: so that they are not taken for states."""


def state_look(index: int) -> Look:
    """Look of the state at this place; colours repeat after six, then with other lines and markers."""
    turn, place = divmod(index, len(_COLOURS))
    shifted = (place + turn) % len(_LINES)
    return Look(_COLOURS[place], _LINES[shifted], _MARKERS[shifted], _HATCHES[shifted])


def seed_look(index: int) -> Look:
    """Look of a seed: greys, so that it is not taken for a state, told apart by lightness and line style."""
    greys = ("#222222", "#777777", "#aaaaaa")
    return Look(greys[index % len(greys)], _LINES[index % len(_LINES)], _MARKERS[index % len(_MARKERS)])
