"""Runs of Pyro programs, and their densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from torch import Tensor


def nodes_of(program: Callable[..., object], *args: object) -> dict[str, Any]:
    """The sites of one run of a program, their densities computed."""
    trace = poutine.trace(program).get_trace(*args)
    trace.compute_log_prob()
    return dict(trace.nodes)


def log_density(program: Callable[..., object], *args: object) -> Tensor:
    """Log density of all sites of one run."""
    return torch.as_tensor(poutine.trace(program).get_trace(*args).log_prob_sum())
