"""Delimited text with comment lines: CSV, TSV, semicolons, blanks."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from pyro_langevin.tables.table import MISSING, Table, TableError, is_number

#: In order of preference where several fit.
DELIMITERS = ("\t", ",", ";", " ")
COMMENT = ("#", "%")


def read_delimited(path: Path, delimiter: str | None = None, *, decimal: str = ".") -> Table:
    """Table of a text file; lines that begin with # or % and empty lines are skipped.

    The header is the first line that is no comment; if that line holds numbers only, the header is the
    comment line just before the data (``%t (s)<tab>FRET E``), and if that does not fit, columns are named
    1, 2, 3, ...

    Args:
        path: The file, UTF-8 or Latin-1.
        delimiter: One character; a blank stands for any white space. Default: whichever splits all lines
            alike; a decimal comma is then none of them.
        decimal: Decimal sign.

    Raises:
        TableError: If the file cannot be read, is empty, is not text, or a line has too many or too few
            fields.
    """
    comment, lines = _lines(path)
    used = delimiter
    if used is None:
        used = _sniffed([comment or "", *(line for _, line in lines[:50])], decimal)
    first = [field.strip() for field in _split(lines[0][1], used)]
    if not all(field.lower() in MISSING or is_number(field, decimal) for field in first):
        header = first
        lines = lines[1:]
    else:
        header = [field.strip() for field in _split(comment, used)] if comment else []
        if len(header) != len(first):
            header = [str(number) for number in range(1, len(first) + 1)]
    if not lines:
        raise TableError(f"{path}: expected rows below the header, got none; check the file")
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1 and name]
    if repeated:
        raise TableError(f"{path}: expected different column names, got {repeated[0]!r} twice; rename one")
    rows = []
    for number, line in lines:
        fields = _split(line, used)
        while len(fields) > len(header) and not fields[-1].strip():
            fields.pop()
        if len(fields) != len(header):
            raise TableError(
                f"{path}, line {number}: expected {len(header)} fields separated by {_named(used)}, "
                f"got {len(fields)}; correct the line or name the delimiter"
            )
        rows.append(fields)
    places = np.array([number for number, _ in lines])
    return Table(path, dict(zip(header, zip(*rows, strict=True), strict=True)), places, "line", decimal)


def _lines(path: Path) -> tuple[str | None, list[tuple[int, str]]]:
    """The last comment line before the data, without its sign, and the other lines with their numbers."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: expected a readable file, got: {error.strerror}; check the name") from None
    if b"\0" in raw:
        raise TableError(f"{path}: expected text, .parquet or .nc, got binary data; export it as CSV")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    comment = None
    kept: list[tuple[int, str]] = []
    # str.splitlines would also split at form feeds and other marks inside a line.
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        bare = line.lstrip()
        if bare.startswith(COMMENT):
            comment = bare.lstrip("".join(COMMENT)).lstrip(" ") if not kept else comment
        elif bare:
            kept.append((number, line))
    if not kept:
        raise TableError(f"{path}: expected a header line and rows, got an empty file; check the file")
    return comment, kept


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # one field of more than 131,072 characters: no table
        return [line]


def _sniffed(lines: list[str], decimal: str) -> str:
    """The delimiter that splits the most lines into one same number of fields, above one."""

    def agreement(delimiter: str) -> int:
        counts = [len(_split(line, delimiter)) for line in lines]
        return max((counts.count(count) for count in counts if count > 1), default=0)

    return max((delimiter for delimiter in DELIMITERS if delimiter != decimal), key=agreement)


def _named(delimiter: str) -> str:
    return {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "blanks"}.get(delimiter, repr(delimiter))
