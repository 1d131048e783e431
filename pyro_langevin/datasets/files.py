"""Where recorded data lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def data_file(name: str) -> Path:
    """Where a recorded file (or folder) lies: in the folder that ``PYRO_LANGEVIN_DATA`` names.

    Args:
        name: Its path inside that folder.

    Raises:
        FileNotFoundError: If the variable is not set, or the file is not there.
    """
    folder = os.environ.get("PYRO_LANGEVIN_DATA")
    if not folder:
        raise FileNotFoundError(
            f"recorded data: expected the environment variable PYRO_LANGEVIN_DATA to name the folder that "
            f"holds {name}, got nothing; set it"
        )
    path = Path(folder) / name
    if not path.exists():
        raise FileNotFoundError(
            f"recorded data: expected {name} in {folder} (PYRO_LANGEVIN_DATA), got no such file; put it there"
        )
    return path
