"""Entry point: one command a file, and what the user did wrong in one line."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn, TextIO

from pyro_langevin.cli import demo, fit, report
from pyro_langevin.cli.command import FAULT, INTERRUPTED, USER_ERROR, CommandError, one_line, tell
from pyro_langevin.landscape import LandscapeError
from pyro_langevin.observations import ObservationError
from pyro_langevin.tables import TableError, TableWarning
from pyro_langevin.training import CheckpointError, TrainingError

#: Errors that input, files or the machine cause. Any other is a fault of the program.
USER_ERRORS = (
    CommandError,
    ObservationError,
    TableError,
    CheckpointError,
    TrainingError,
    LandscapeError,
    OSError,
)

LONGEST = 200  # characters shown of an error that was not written for the user

#: Options whose values may well begin with a minus.
MAY_BE_NEGATIVE = ("--transform", "--time-range", "--missing")


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake as every other user error is reported."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 1 if the demo missed an exact answer; 2 after a user error; 70 after a fault of the program; 130 after
    Ctrl-C.

    Args:
        arguments: Words after the program's name. Default: those of this process.
    """
    words = _bound(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ² must not end a fit
    with warnings.catch_warnings():
        warnings.simplefilter("always", TableWarning)
        warnings.showwarning = _show_warning
        try:
            options = _parser().parse_args(words)
            code: int = options.run(options)
            return code
        except USER_ERRORS as error:
            tell(one_line(error))
            return USER_ERROR
        except KeyboardInterrupt:
            tell("interrupted; files that were already there are as they were")
            return INTERRUPTED
        except Exception as error:
            if "--traceback" in words:
                raise
            shown = one_line(error)[:LONGEST]
            tell(f"unexpected {type(error).__name__}: {shown}; pyro-langevin --traceback ... shows where")
            return FAULT


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="pyro-langevin",
        description="From noisy time series to states, occupancies, dwell times and barriers.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("pyro-langevin"))
    parser.add_argument("--traceback", action="store_true", help="show where an unexpected error arose")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (fit, report, demo):
        command.add_to(commands)
    return parser


def _bound(arguments: Sequence[str]) -> list[str]:
    """Joins ``--transform -log(Ca)`` by ``=``: argparse would take a value with a minus for an option."""
    bound: list[str] = []
    for word in arguments:
        if bound and bound[-1] in MAY_BE_NEGATIVE and not word.startswith("--"):
            bound[-1] += f"={word}"
        else:
            bound.append(word)
    return bound


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    tell(f"warning: {one_line(message)}")
