"""Positive coefficients of dynamics: numbers, tensors, parameters or samples."""

from __future__ import annotations

import torch
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions import constraints


def checked_coefficient(owner: str, name: str, value: object) -> object:
    """A coefficient as a module may hold it: numbers become tensors; tensors, parameters and samples are kept.

    Raises:
        ValueError: If a value that is known already is not positive.
    """
    numeric = isinstance(value, (int, float)) or (isinstance(value, Tensor) and not value.requires_grad)
    if numeric and not bool((torch.as_tensor(value) > 0).all()):
        raise ValueError(f"{owner}: {name} must be positive, got {value}")
    return torch.tensor(float(value)) if isinstance(value, (int, float)) else value


def learned_coefficient() -> PyroParam:
    """A positive scalar parameter that starts at 1."""
    return PyroParam(torch.ones(()), constraint=constraints.positive)
