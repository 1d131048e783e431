"""A table of named columns that remembers where each row stood in its file."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What stands for a missing value, in lower case.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


class TableError(ValueError):
    """A file that cannot be read as asked: what was expected, what came and where, and the fix (one line)."""


class TableWarning(UserWarning):
    """A repair made while a file was read, with the number of values that it touched."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one file.

    Attributes:
        path: The file.
        columns: Entries of every column: text as it stands in the file, or numbers.
        places: Line (text files) or row (others) of every entry, counted from 1.
        place: ``"line"`` or ``"row"``.
        decimal: Decimal sign of numbers in text, ``"."`` or ``","``.
    """

    path: Path
    columns: Mapping[str, Sequence[Any] | NDArray[Any]]
    places: NDArray[np.int64]
    place: str
    decimal: str = "."

    def column(self, name: str) -> str:
        """The name of a column as the table has it; a leading comment sign of the header may be left in.

        Raises:
            TableError: If there is no such column; the message lists those there are.
        """
        plain = name.strip().lstrip("#%").strip()
        for candidate in (name, plain):
            if candidate in self.columns:
                return candidate
        near = difflib.get_close_matches(plain.lower(), [found.lower() for found in self.columns], n=1)
        meant = next((found for found in self.columns if near and found.lower() == near[0]), None)
        raise TableError(
            f"{self.path}: expected a column {name!r}, got {', '.join(map(repr, self.columns))}; "
            f"{f'did you mean {meant!r}?' if meant is not None else 'name one of these'}"
        )

    def labels(self, name: str) -> list[str]:
        """Entries of a column as text, for names of series."""
        return [str(entry).strip() for entry in self.columns[self.column(name)]]

    def numbers(
        self, name: str, *, missing: Collection[str] = (), what: str = "a finite number"
    ) -> NDArray[np.float64]:
        """Entries of a column as float64, NaN where missing.

        Args:
            name: The column.
            missing: What stands for a missing value beside the usual signs; a number stands for all its spellings.
            what: What the error says that was expected.

        Raises:
            TableError: At the first entry that is neither a finite number nor missing, with its place.
        """
        found = self.column(name)
        entries = self.columns[found]
        gone = MISSING | {sign.strip().lower() for sign in missing}
        if isinstance(entries, np.ndarray) and entries.dtype.kind in "fiub":
            numbers = entries.astype(np.float64)
        else:
            numbers = np.empty(len(entries))
            for row, entry in enumerate(entries):
                text = str(entry).strip()
                try:
                    numbers[row] = np.nan if text.lower() in gone else to_number(text, self.decimal)
                except ValueError:
                    raise self.refusal(found, row, what) from None
        for sign in missing:
            if is_number(sign, self.decimal):
                numbers[numbers == to_number(sign, self.decimal)] = np.nan
        infinite = np.flatnonzero(np.isinf(numbers))
        if len(infinite):
            raise self.refusal(found, int(infinite[0]), what)
        return numbers

    def refusal(self, column: str, row: int, what: str = "a finite number") -> TableError:
        """The error about an entry that cannot be used, with its place."""
        entry = str(self.columns[self.column(column)][row]).strip()
        fix = f"correct it, or leave it empty if it is missing, or give missing={entry!r} (--missing {entry!r})"
        if self.decimal == "." and is_number(entry, ","):
            fix = "if it is a decimal comma, give decimal=',' (--decimal ,)"
        return TableError(
            f"{self.path}, {self.place} {self.places[row]}, column {column!r}: expected {what}, got {entry!r}; {fix}"
        )


def to_number(text: str, decimal: str) -> float:
    """The number that a text is, with the given decimal sign.

    Raises:
        ValueError: If it is none.
    """
    if decimal != ".":
        if "." in text:
            raise ValueError(text)  # perhaps a sign between thousands: 1.234,5
        text = text.replace(decimal, ".", 1)
    return float(text)


def is_number(text: str, decimal: str) -> bool:
    """Whether a text is a number, with the given decimal sign."""
    try:
        to_number(text, decimal)
    except ValueError:
        return False
    return True
