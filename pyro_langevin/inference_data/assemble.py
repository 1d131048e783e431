"""One adapter for both generations of ArviZ: InferenceData before 1.0, DataTree from 1.0 on."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import xarray as xr

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
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        idata.to_netcdf(name, engine="h5netcdf")
        os.replace(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)


def load_draws(path: str | Path) -> Any:
    """Read draws that :func:`save_draws` wrote.

    Raises:
        OSError: If the file is missing or not readable.
    """
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData.from_netcdf(str(path), engine="h5netcdf")
    return xr.open_datatree(path, engine="h5netcdf").load()
