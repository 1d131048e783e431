"""Physical constants of a dynamics: what users may give for them, and what is refused."""

from __future__ import annotations

import torch
from pyro.nn import PyroParam, PyroSample
from torch import Tensor


def as_tensor(value: object) -> object:
    """Numbers become tensors; parameters, samples and tensors are kept."""
    return torch.tensor(float(value)) if isinstance(value, (int, float)) else value


def check_positive(owner: str, name: str, value: object) -> None:
    """Refuse a fixed constant that is not positive; parameters and samples have constraints of their own."""
    numeric = isinstance(value, (int, float)) or (isinstance(value, Tensor) and not value.requires_grad)
    if numeric and not bool((torch.as_tensor(value) > 0).all()):
        raise ValueError(f"{owner}: {name} must be positive, got {value}")


def is_constant(value: object) -> bool:
    """Whether a user's constant stays what it is: neither learned nor sampled."""
    return not isinstance(value, (PyroParam, PyroSample))
