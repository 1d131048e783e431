"""Fractional Brownian motion as a sum of Ornstein-Uhlenbeck processes that one Brownian motion drives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_SLOWEST = 1e-3  # positive speed in units of 1/horizon: a trend over the horizon that the far past has left
_FAR = 500.0  # beyond it exp(x) overflows before the incomplete gamma function vanishes


@dataclass(frozen=True, eq=False)
class FractionalNoise:
    r"""Markov approximation of fractional Brownian motion ``B``, whose variance is ``t^(2 hurst)``.

    .. math:: B(t) \approx \sum_{i=0}^{n}\omega_i\,\bigl(Y_i(t) - Y_i(0)\bigr),\qquad dY_i = -\gamma_i Y_i\,dt + dW

    All processes are driven by the *same* Brownian motion ``W``, and those with :math:`\gamma_i > 0` start in their
    joint stationary law, so that increments are stationary, as those of fractional Brownian motion are. The first has
    speed 0: it is ``W`` itself, which makes ``hurst=0.5`` exact. For given speeds the weights have the smallest mean
    squared error over the horizon, :math:`\int_0^T \mathrm E(B - \hat B)^2\,dt`, against the ``B`` that the same ``W``
    drives (Mandelbrot & Van Ness 1968); they solve a linear system with entries in closed form (Daems, Opper,
    Crevecoeur & Birdal 2024, whose sum has no process of speed 0).

    Where it falls short: at times below ``resolution`` the sum is as rough as Brownian motion, whatever the Hurst
    index, and beyond the horizon it forgets. :meth:`relative_error` says how much both matter.

    Args:
        hurst: Hurst index in (0, 1): increments are anticorrelated and paths rough below 0.5, persistent above it.
        horizon: Length of the paths, in the unit of time.
        resolution: Shortest time of interest, such as the step: the fastest process relaxes within it.
        processes: Number of processes with a positive speed.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> noise = FractionalNoise(0.7, horizon=1.0, resolution=0.01)
        >>> noise.relative_error() < 0.03
        True
        >>> times = torch.tensor([0.5, 1.0])
        >>> bool((noise.covariance(times) - noise.exact_covariance(times)).abs().max() < 0.001)
        True
    """

    hurst: float
    horizon: float
    resolution: float
    processes: int = 8

    def __post_init__(self) -> None:
        if not 0.0 < self.hurst < 1.0:
            raise ValueError(f"FractionalNoise: expected a Hurst index between 0 and 1, got {self.hurst}")
        if not 0.0 < self.resolution < self.horizon:
            raise ValueError(
                f"FractionalNoise: expected 0 < resolution < horizon, got resolution={self.resolution} and "
                f"horizon={self.horizon}; both are times: the shortest of interest and the length of a path"
            )
        if self.processes < 2:
            raise ValueError(f"FractionalNoise: expected at least 2 processes, got {self.processes}")

    @cached_property
    def speeds(self) -> Tensor:
        """``(processes + 1,)``, float64, per time: 0, then geometric up to ``1/resolution``."""
        low, high = math.log(_SLOWEST / self.horizon), -math.log(self.resolution)
        positive = torch.linspace(low, high, self.processes, dtype=torch.float64).exp()
        return torch.cat([positive.new_zeros(1), positive])

    @cached_property
    def weights(self) -> Tensor:
        """``(processes + 1,)``, float64: those of the smallest mean squared error over the horizon."""
        matrix, size = self._products, self._products.diagonal().rsqrt()  # all processes on one scale
        return size * torch.linalg.solve(size[:, None] * matrix * size, size * self._overlaps)

    def relative_error(self) -> float:
        """Root mean square of ``B`` minus the sum over the horizon, as a share of that of ``B``; closed form."""
        total = self.horizon ** (2.0 * self.hurst + 1.0) / (2.0 * self.hurst + 1.0)
        left = total - 2.0 * self.weights @ self._overlaps + self.weights @ self._products @ self.weights
        return math.sqrt(max(float(left), 0.0) / total)

    def covariance(self, times: Tensor) -> Tensor:
        """Covariance ``(time, time)`` of the sum at times ``(time,)``, exact in continuous time."""
        times = times.double()
        late, early = torch.maximum(times[:, None], times), torch.minimum(times[:, None], times)
        first, second = self.speeds[:, None], self.speeds  # of the process at the early time, and at the late one
        total = first + second
        late, early = late[..., None, None], early[..., None, None]
        moved = torch.exp(-second * (late - early)) - torch.exp(-first * early) - torch.exp(-second * late) + 1.0
        joint = torch.where(total > 0.0, moved / torch.where(total > 0.0, total, 1.0), early)
        return torch.einsum("stij,i,j->st", joint, self.weights, self.weights)

    def exact_covariance(self, times: Tensor) -> Tensor:
        """Covariance ``(time, time)`` of fractional Brownian motion itself."""
        times, power = times.double(), 2.0 * self.hurst
        each = times.pow(power)
        return 0.5 * (each[:, None] + each - (times[:, None] - times).abs().pow(power))

    def stationary_factor(self) -> Tensor:
        """Cholesky factor of the joint stationary law of the processes with a positive speed, float64."""
        positive = self.speeds[1:]
        return torch.linalg.cholesky(1.0 / (positive[:, None] + positive))

    @cached_property
    def _products(self) -> Tensor:
        """Integral over the horizon of the covariance of each pair of processes, increments since time 0."""
        end, speed = self.horizon, self.speeds
        relaxed = torch.where(speed > 0.0, -torch.expm1(-speed * end) / torch.where(speed > 0.0, speed, 1.0), end)
        total = speed[:, None] + speed
        matrix = (2.0 * end - relaxed[:, None] - relaxed) / torch.where(total > 0.0, total, 1.0)
        return torch.where(total > 0.0, matrix, 0.5 * end**2)

    @cached_property
    def _overlaps(self) -> Tensor:
        """Integral over the horizon of the covariance of each process with fractional Brownian motion."""
        end, power = self.horizon, self.hurst + 0.5
        unit = math.sqrt(math.gamma(2.0 * self.hurst + 1.0) * math.sin(math.pi * self.hurst))
        speed = self.speeds[1:]
        past = (torch.exp(-speed * end) - _scaled_tail(power, speed * end)) / speed
        each = (2.0 * end + past) / speed**power - end**power / (speed * math.gamma(power + 1.0))
        first = end ** (power + 1.0) / math.gamma(power + 2.0)
        return unit * torch.cat([each.new_tensor([first]), each])


def _scaled_tail(power: float, x: Tensor) -> Tensor:
    """``exp(x)`` times the regularised upper incomplete gamma function of this power."""
    near = x.clamp(max=_FAR)
    term = far = torch.ones_like(x)
    for k in range(1, 6):
        term = term * (power - k) / x.clamp(min=_FAR)
        far = far + term
    far = far * x.clamp(min=_FAR).pow(power - 1.0) / math.gamma(power)
    return torch.where(x < _FAR, near.exp() * torch.special.gammaincc(torch.full_like(near, power), near), far)
