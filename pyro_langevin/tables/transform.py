"""Expressions such as ``-log(Ca)`` over the columns of a table."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_langevin.tables.table import TableError

Array = NDArray[np.float64]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "sqrt": np.sqrt,
}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
#: Keeps the evaluation, one call per level, far from the interpreter's limit.
LONGEST = 300


@dataclass(frozen=True)
class Transform:
    """An expression over columns, checked to hold nothing but arithmetic.

    Attributes:
        columns: Names of the columns that it uses.
        channels: Its parts as text, one for each channel that it yields.
    """

    columns: tuple[str, ...]
    channels: tuple[str, ...]
    _parts: tuple[ast.expr, ...]
    _names: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Transform:
        """The transform that a text stands for.

        Numbers, names of columns (in back quotes if they are no plain words), ``+ - * / **``, parentheses and
        ``log, log10, exp, sqrt, abs``; parts separated by commas give one channel each.

        Raises:
            TableError: If the text holds anything else.
        """
        names: dict[str, str] = {}

        def placeholder(quoted: re.Match[str]) -> str:
            names[f"_column_{len(names)}"] = quoted.group(1)
            return f" _column_{len(names) - 1} "

        try:
            if len(text) > LONGEST:
                raise _refused(text, f"{len(text)} characters", f"shorten it to {LONGEST}")
            body = ast.parse(re.sub(r"`([^`]+)`", placeholder, text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, TableError):
                raise
            raise _refused(
                text,
                "something that does not parse",
                "check its parentheses and signs, and put names of columns with blanks in back quotes: log(`Ca 2`)",
            ) from None
        parts = tuple(body.elts) if isinstance(body, ast.Tuple) else (body,)
        used: dict[str, None] = {}
        for part in parts:
            found = _columns(part, names, text)
            if not found:
                raise _refused(text, "a part without a column", "name the column that it transforms")
            used.update(found)
        channels = tuple(_text(part, names) for part in parts)
        return cls(tuple(used), channels, parts, names)

    def evaluate(self, columns: Mapping[str, Array]) -> tuple[Array, int]:
        """Channels ``(row, channel)``, and how many values are undefined and so became missing.

        A value is undefined, for example the logarithm of a number that is not positive, if it is not finite
        although all the columns it comes from are.
        """
        known = np.all([np.isfinite(columns[name]) for name in self.columns], axis=0)
        with np.errstate(all="ignore"):
            found = [np.broadcast_to(_value(part, columns, self._names), known.shape) for part in self._parts]
        result = np.stack(found, axis=-1)
        undefined = ~np.isfinite(result)
        return np.where(undefined, np.nan, result), int((undefined & known[:, np.newaxis]).sum())


def _columns(node: ast.expr, names: Mapping[str, str], text: str) -> dict[str, None]:
    """Columns that a part uses, in order; raises at anything that is no arithmetic."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return {}
        case ast.Name(id=name):
            return {names.get(name, name): None}
        case ast.UnaryOp(op=sign, operand=inner) if type(sign) in UNARY:
            return _columns(inner, names, text)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in BINARY:
            return _columns(left, names, text) | _columns(right, names, text)
        case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in FUNCTIONS:
            return _columns(inner, names, text)
    raise _refused(
        text, repr(_text(node, names)), f"use numbers, columns, + - * / ** and {', '.join(FUNCTIONS)}"
    )


def _value(node: ast.expr, columns: Mapping[str, Array], names: Mapping[str, str]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return np.float64(value)
        case ast.Name(id=name):
            return columns[names.get(name, name)]
        case ast.UnaryOp(op=sign, operand=inner):
            return UNARY[type(sign)](_value(inner, columns, names))
        case ast.BinOp(left=left, op=sign, right=right):
            return BINARY[type(sign)](_value(left, columns, names), _value(right, columns, names))
        case ast.Call(func=ast.Name(id=name), args=[inner]):
            return FUNCTIONS[name](_value(inner, columns, names))
    raise AssertionError("checked when the transform was parsed")


def _text(node: ast.expr, names: Mapping[str, str]) -> str:
    return re.sub(
        r"\b_column_\d+\b", lambda found: names.get(found.group(), found.group()), ast.unparse(node)
    )


def _refused(text: str, came: str, fix: str) -> TableError:
    return TableError(f"transform {text[:60]!r}: expected arithmetic like -log(Ca), got {came}; {fix}")
