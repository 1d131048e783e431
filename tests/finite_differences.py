"""Gradients against central differences along drawn directions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def assert_gradient_of_finite_differences(
    value: Callable[[], Tensor], parameters: list[Tensor], *, step: float
) -> None:
    """The slopes of ``value`` by the parameters are finite, and those of differences over ``2 step``."""
    slopes = torch.autograd.grad(value(), parameters, materialize_grads=True)
    assert all(bool(slope.isfinite().all()) for slope in slopes)
    for parameter, slope in zip(parameters, slopes, strict=True):
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter.add_(step * direction)
            up = value()
            parameter.sub_(2.0 * step * direction)
            down = value()
            parameter.add_(step * direction)
        torch.testing.assert_close((slope * direction).sum(), (up - down) / (2.0 * step), rtol=1e-4, atol=1e-5)
