"""Checkpoints: written whole or not at all, and refused where they do not fit."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyro_langevin.observations import LongRecord, Observations
from pyro_langevin.training.errors import CheckpointError

_FORMAT = 1
_PARTS = {"identity", "finished", "current"}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state; a failure or an interrupt leaves the old file as it was.

    Raises:
        CheckpointError: If the file cannot be written (a full disk, a missing folder, no permission).
    """
    path = Path(path)
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            torch.save({"format": _FORMAT, **state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except (OSError, RuntimeError) as problem:
        raise CheckpointError(
            f"checkpoint: could not write {path} ({problem}); the last one written is untouched; "
            "free some space or choose another folder"
        ) from problem
    finally:
        if name and os.path.exists(name):
            os.unlink(name)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises:
        CheckpointError: If the file is missing, unreadable or of another format.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a damaged file makes torch say is said better below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as problem:
        raise CheckpointError(f"checkpoint: there is none at {path}; fit without resuming first") from problem
    except Exception as problem:  # garbage can break an unpickler in any way
        raise CheckpointError(
            f"checkpoint: {path} is not readable as one; it may be damaged: fit again without resuming"
        ) from problem
    if not isinstance(state, dict) or state.get("format") != _FORMAT or not state.keys() >= _PARTS:
        raise CheckpointError(
            f"checkpoint: {path} has another format than this version's ({_FORMAT}); fit again without resuming"
        )
    return state


def require_match(found: dict[str, str], expected: dict[str, str], path: Path) -> None:
    """Refuse a checkpoint of another model, other data or other settings, naming what differs."""
    for what, value in expected.items():
        if found.get(what) != value:
            raise CheckpointError(
                f"checkpoint: {path} was written for another {what} ({found.get(what)}, now {value}); "
                "use the same or fit without resuming"
            )


def describe_parameters(*modules: nn.Module) -> str:
    """Fingerprint of the names and shapes of all parameters and buffers."""
    lines = [f"{k}{tuple(v.shape)}" for module in modules for k, v in module.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def describe_data(observations: Observations | LongRecord) -> str:
    """Shape and fingerprint of the data."""
    shape = (observations.n_series, observations.n_times, observations.obs_dim)
    return f"{shape} {observations.fingerprint}"
