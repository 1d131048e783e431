"""One adapter for both generations of ArviZ: InferenceData before 1.0, DataTree from 1.0 on."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import h5netcdf  # type: ignore[import-untyped]
import xarray as xr
from xarray.backends import H5NetCDFStore

with warnings.catch_warnings():
    # arviz 0.23 announces its successor when it is imported
    warnings.simplefilter("ignore")
    import arviz

#: Whether the installed ArviZ holds draws as InferenceData. Asked so, for from 1.0 on to ask for the name itself warns.
HOLDS_INFERENCE_DATA = "InferenceData" in vars(arviz)


def assemble(groups: dict[str, xr.Dataset], attrs: dict[str, Any]) -> Any:
    """Groups as the installed ArviZ holds them."""
    if HOLDS_INFERENCE_DATA:
        return arviz.InferenceData(**groups, attrs=attrs, warn_on_custom_groups=False)
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs.update(attrs)
    return tree


def groups_of(idata: Any) -> dict[str, xr.Dataset]:
    """The groups of draws by name, as Datasets, of either generation of ArviZ; groups within groups are left out."""
    if hasattr(idata, "children"):
        return {name: node.to_dataset(inherit=False) for name, node in idata.children.items()}
    return {name: idata[name] for name in idata.groups()}


def with_groups(idata: Any, groups: dict[str, xr.Dataset]) -> Any:
    """New draws that have further groups; those of the same name are replaced, the given draws stay as they are."""
    return assemble({**groups_of(idata), **groups}, dict(idata.attrs))


def save_draws(idata: Any, path: str | Path) -> None:
    """Write draws to a NetCDF file, whole or not at all; an old file survives a failure.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    content = _netcdf(idata)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)


def _netcdf(idata: Any) -> bytes:
    """The draws as the bytes of a NetCDF file. Made in memory: HDF5 does not survive a disk that fills up."""
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        file.attrs.update(idata.attrs)
        for name, dataset in groups_of(idata).items():
            packed = {key: packing for key, variable in dataset.variables.items() if (packing := _packing(variable))}
            dataset.dump_to_store(H5NetCDFStore(file, group=name, mode="a"), encoding=packed)
    return buffer.getvalue()


def _packing(variable: xr.Variable) -> dict[str, Any]:
    """How a variable is stored; empty for xarray's own way."""
    packing: dict[str, Any] = {"zlib": True, "complevel": 4}
    if variable.ndim and variable.dtype.kind in "fiu":
        return packing
    if variable.ndim > 1 and variable.dtype.kind == "U":  # as characters: strings of variable length are not compressed
        return packing | {"dtype": "S1"}
    return {}


def load_draws(path: str | Path) -> Any:
    """Read draws that :func:`save_draws` wrote.

    Raises:
        OSError: If the file is missing or not readable.
    """
    if HOLDS_INFERENCE_DATA:
        return arviz.InferenceData.from_netcdf(str(path), engine="h5netcdf")
    return xr.open_datatree(path, engine="h5netcdf").load()
