"""What every command does alike: errors and warnings in one line, an output folder, values of options."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyro_langevin.training.distributed import launched_rank

DONE = 0
OFF = 1  # the demo missed an exact answer
USER_ERROR = 2
FAULT = 70  # of the program, EX_SOFTWARE
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class CommandError(Exception):
    """Something on the command line that cannot be done as asked, in one line."""


def tell(text: str) -> None:
    """One line to the user beside the results, on stderr; processes beyond the first of several give their number."""
    rank = launched_rank()
    speaker = f"pyro-langevin, process {rank}" if rank else "pyro-langevin"
    print(f"{speaker}: {text}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """The text of an error or a warning in one line."""
    if isinstance(message, OSError) and message.strerror:
        place = f"{message.filename}: " if message.filename else ""
        return f"{place}{message.strerror}"
    return " ".join(str(message).split()) or type(message).__name__


def output_folder(path: Path) -> Path:
    """The folder, made if it is not there, and known to be writable before hours are spent on a fit.

    Raises:
        OSError: It cannot be made or written.
    """
    path.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path).close()
    return path


def whole_number(least: int) -> Callable[[str], int]:
    """Reads a whole number that is not below the least one."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return number

    return read


def positive(text: str) -> float:
    """Reads a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return number


def names(text: str) -> list[str]:
    """Reads names separated by commas; a name that holds a comma stands in double quotes."""
    found = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not found or not all(found):
        raise argparse.ArgumentTypeError(f"expected names separated by commas, got {text!r}")
    return found


def interval(text: str) -> tuple[float, float]:
    """Reads two numbers separated by a comma; an end that is left out is open."""
    parts = text.split(",")
    try:
        ends = zip(parts, (-math.inf, math.inf), strict=True)
        low, high = (float(part) if part.strip() else end for part, end in ends)
    except ValueError:
        low, high = math.nan, math.nan
    if len(parts) != 2 or not low < high:
        raise argparse.ArgumentTypeError(f"expected the earliest and the latest time, LO,HI, got {text!r}")
    return low, high


def character(text: str) -> str:
    """Reads one character; ``tab`` is a tabulator."""
    found = "\t" if text in ("tab", "\\t") else text
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"expected one character or 'tab', got {text!r}")
    return found
