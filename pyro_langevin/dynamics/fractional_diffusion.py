"""Diffusions driven by fractional noise: a process with memory, made Markov by what it remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_langevin.dynamics.constants import as_tensor, check_positive
from pyro_langevin.dynamics.control_port import ControlPort
from pyro_langevin.dynamics.fractional_noise import FractionalNoise
from pyro_langevin.dynamics.shared_noise import SharedNoiseTransition
from pyro_langevin.potentials.parameters import per_coordinate, refuse_unsampled, snapshot


class FractionalDiffusion(PyroModule):
    r"""Diffusion with any drift, driven by fractional Brownian motion in its Markov approximation.

    .. math:: dx = b(x)\,dt + s\,dB,\qquad B = \sum_i\omega_i\,(Y_i - Y_i(0)),\qquad dY_i = -\gamma_i Y_i\,dt + dW

    One Brownian motion per dimension drives the position and all its processes: the state
    ``(x, noise of the last step, Y_1, ..., Y_n)``, each of them ``(dim,)``, is Markov, but a step has fewer noises than
    coordinates. A path's density is therefore that of its noise (:class:`SharedNoiseTransition`), a guide shifts that
    noise, and its divergence is :math:`\tfrac12\int u^2\,dt`: hand :class:`~pyro_langevin.Controls` this diffusion's
    ``control_port``. Use it in :class:`~pyro_langevin.LangevinPath`, :class:`~pyro_langevin.ControlledPath` and
    :class:`~pyro_langevin.SteeredPath` within a program of your own; for a :class:`~pyro_langevin.LangevinModel`, whose
    first states it does not fit, it is not made.

    The processes are stepped exactly but for one thing: over a step the noise is known by its sum alone, and what
    they owe to its course in between is left out, an error where ``speed * step`` is not small. The drift is
    stepped by Euler's rule. Controls must be :class:`~pyro_langevin.Additive`, which they are unless told otherwise.

    Args:
        drift: From positions ``(*batch, dim)`` to ``(*batch, dim)``, per time; a network or a function.
        noise: The approximation, with Hurst index and horizon.
        dim: Dimension of the position; every dimension has its own independent noise.
        scale: ``s``, positive, scalar or ``(dim,)``: float or tensor (fixed), ``PyroParam`` or ``PyroSample``; learned
            when omitted. In position units per ``time ** hurst``.

    Raises:
        TypeError: If the drift is no callable.
        ValueError: If dimension or scale are out of range.
    """

    scale: Tensor

    def __init__(
        self,
        drift: Callable[[Tensor], Tensor],
        noise: FractionalNoise,
        *,
        dim: int = 1,
        scale: object | None = None,
    ) -> None:
        super().__init__()
        if not callable(drift):
            raise TypeError(
                f"FractionalDiffusion: expected a drift network or function, got {type(drift).__name__}; "
                "give a callable from positions (*batch, dim) to (*batch, dim)"
            )
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"FractionalDiffusion: expected a dimension of at least 1, got {dim!r}")
        check_positive("FractionalDiffusion", "scale", scale)
        learned = PyroParam(torch.ones(()), constraint=constraints.positive)
        self.scale = learned if scale is None else as_tensor(scale)  # type: ignore[assignment]
        self.drift, self.noise, self.position_dim = drift, noise, dim

    @property
    def dim(self) -> int:
        """Dimension of the state: position, last noise and the processes that remember."""
        return self.position_dim * (2 + self.noise.processes)

    @property
    def control_port(self) -> ControlPort:
        """A control acts on the one noise of each dimension."""
        own = tuple(range(self.position_dim))
        return ControlPort(own, own)

    def first(self, mean: Tensor, deviation: Tensor) -> dist.MultivariateNormal:
        """Law of a first state: a normal position, and the memory of a noise that has always been there.

        Args:
            mean: Mean of the position ``(*batch, dim)``.
            deviation: Its standard deviation, broadcastable to that; small where the first position is known.
        """
        mean, deviation = torch.broadcast_tensors(mean, deviation)
        own = torch.eye(self.position_dim, dtype=mean.dtype, device=mean.device)
        memory = torch.kron(self.noise.stationary_factor().to(mean).contiguous(), own)
        factor = torch.block_diag(torch.zeros_like(own), own, memory)
        position = nn.functional.pad(deviation, (0, self.dim - self.position_dim))
        loc = nn.functional.pad(mean, (0, self.dim - self.position_dim))
        return dist.MultivariateNormal(loc, scale_tril=factor + torch.diag_embed(position))

    def read(self) -> FractionalDynamics:
        """This diffusion with every parameter read once, as a path uses it."""
        refuse_unsampled(self)
        drift = snapshot(self.drift) if isinstance(self.drift, nn.Module) else self.drift
        return FractionalDynamics(drift, self.position_dim, self.noise, per_coordinate(self, "scale"))

    def transition(self, z: Tensor, step: Tensor) -> SharedNoiseTransition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        return self.read().transition(z, torch.as_tensor(step, dtype=z.dtype, device=z.device))


@dataclass(frozen=True, eq=False)
class FractionalDynamics:
    """A diffusion with fractional noise whose parameters are plain tensors, read once.

    Attributes:
        drift: Drift of the position.
        position_dim: Dimension of the position.
        noise: The approximation.
        scale: Scale of the noise, scalar or ``(dim,)``.
    """

    drift: Callable[[Tensor], Tensor]
    position_dim: int
    noise: FractionalNoise
    scale: Tensor

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return self.position_dim * (2 + self.noise.processes)

    def transition(self, z: Tensor, step: Tensor) -> SharedNoiseTransition:
        """Transition from ``z`` ``(*batch, dim)`` over ``step`` (broadcastable to ``(*batch, 1)``)."""
        size = self.position_dim
        position, memory = z[..., :size], z[..., 2 * size :].unflatten(-1, (self.noise.processes, size))
        speed, weight = self.noise.speeds.to(z)[1:, None], self.noise.weights.to(z)[:, None]
        lapse = step.unsqueeze(-1)
        relaxed = torch.expm1(-speed * lapse)  # (*batch, processes, 1)
        forgotten = relaxed * memory
        slope = self.drift(position)
        if slope.shape[-1] != size or slope.dim() < position.dim():  # its parameters may have batch dimensions
            raise ValueError(
                f"FractionalDiffusion: expected a drift of the position's shape {tuple(position.shape)}, got "
                f"{tuple(slope.shape)}; build the network from {size} to {size} values, without reshaping the batch"
            )
        moved = position + slope * step + self.scale * (weight[1:] * forgotten).sum(-2)
        remembered = (memory + forgotten).flatten(-2).expand(*moved.shape[:-1], -1)
        mean = torch.cat([moved, torch.zeros_like(moved), remembered], -1)

        # what each process gets of the standardised noise; the first is the Brownian motion itself
        gain = torch.cat([lapse, -relaxed / speed], -2) / lapse.sqrt()
        own = torch.eye(size, dtype=z.dtype, device=z.device)
        onto_position = self.scale * (weight * gain).sum(-2)
        to_position = own * onto_position.unsqueeze(-1)
        to_memory = (gain[..., 1:, :, None] * own).flatten(-3, -2).expand(*to_position.shape[:-2], -1, -1)
        columns = torch.cat([to_position, own.expand_as(to_position), to_memory], -2)
        scale = nn.functional.pad(columns, (0, self.dim - size))
        return SharedNoiseTransition(mean, scale, same_everywhere=True, n_noise=size, kept=size)
