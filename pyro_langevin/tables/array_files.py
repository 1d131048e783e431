"""Parquet and NetCDF files as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from pyro_langevin.tables.table import Table, TableError


def read_parquet(path: Path) -> Table:
    """Table of a Parquet file; a named index counts as a column.

    Raises:
        TableError: If the file cannot be read, or no Parquet reader (pyarrow) is installed.
    """
    _check_there(path)
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise TableError(
            f"{path}: expected pyarrow, which reads Parquet, got none; pip install 'pyro-langevin[datasets]'"
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, "Parquet", error) from None
    return _table(path, frame)


def read_netcdf(path: Path, *, time: str, series: str | None = None) -> Table:
    """Table of a NetCDF file: one row for every entry of the dimensions of ``time`` and ``series``.

    A variable with one more dimension becomes one column per entry of it, ``name[label]``.

    Args:
        path: The file.
        time: Name of the variable, coordinate or dimension that holds the times.
        series: Name of the one that tells series apart.

    Raises:
        TableError: If the file cannot be read or does not hold ``time`` or ``series``.
    """
    _check_there(path)
    try:
        data = xr.load_dataset(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, "NetCDF", error) from None
    names = [
        str(name) for name in [*data.variables, *(dim for dim in data.dims if dim not in data.variables)]
    ]
    index = Table(path, dict.fromkeys(names, ()), np.arange(0), "row")
    rows = {dim for name in (time, series) if name is not None for dim in data[index.column(name)].dims}
    columns: dict[str, xr.DataArray] = {}
    for name, variable in data.data_vars.items():
        extra = [dim for dim in variable.dims if dim not in rows]
        if not extra and variable.dims:
            columns[str(name)] = variable
        elif len(extra) == 1 and len(variable.dims) > 1:
            for label in data[extra[0]].values:
                columns[f"{name}[{label}]"] = variable.sel({extra[0]: label}, drop=True)
    coordinates = {name: kept for name, kept in data.coords.items() if set(kept.dims) <= rows}
    frame = xr.Dataset(columns, coords=coordinates).to_dataframe()
    return _table(path, frame.reset_index())


def _table(path: Path, frame: pd.DataFrame) -> Table:
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(named) if named else frame
    if not len(frame):
        raise TableError(f"{path}: expected rows, got none; check the file")
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    return Table(path, columns, np.arange(1, len(frame) + 1), "row")


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise TableError(f"{path}: expected a readable file, got none; check the name")


def _unreadable(path: Path, kind: str, error: Exception) -> TableError:
    first_line = str(error).strip().partition("\n")[0]
    return TableError(
        f"{path}: expected a {kind} file, got one that cannot be read ({first_line}); write it again"
    )
