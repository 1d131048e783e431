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


def assemble(groups: dict[str, xr.Dataset], attrs: dict[str, Any]) -> Any:
    """Groups as the installed ArviZ holds them."""
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData(**groups, attrs=attrs, warn_on_custom_groups=False)
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs.update(attrs)
    return tree


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
    inference_data = hasattr(arviz, "InferenceData")
    names = idata.groups() if inference_data else [node.lstrip("/") for node in idata.groups[1:]]
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        file.attrs.update(idata.attrs)
        for name in names:
            group = idata[name]
            dataset = group.to_dataset() if isinstance(group, xr.DataTree) else group
            packed = {
                key: {"zlib": True, "complevel": 4}
                for key, variable in dataset.variables.items()
                if variable.ndim and variable.dtype.kind in "fiu"
            }
            dataset.dump_to_store(H5NetCDFStore(file, group=name, mode="a"), encoding=packed)
    return buffer.getvalue()


def load_draws(path: str | Path) -> Any:
    """Read draws that :func:`save_draws` wrote.

    Raises:
        OSError: If the file is missing or not readable.
    """
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData.from_netcdf(str(path), engine="h5netcdf")
    return xr.open_datatree(path, engine="h5netcdf").load()
