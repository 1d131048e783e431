"""Dynamics as torchsde takes them: ``f``, ``g``, ``sde_type`` and ``noise_type``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_langevin.dynamics.ito_form import ItoForm

Control = Callable[[Tensor, Tensor], Tensor]


class ReadsAsIto(Protocol):
    """Dynamics that read as an Itô equation."""

    def read(self) -> ItoForm: ...


class TorchSDE(nn.Module):
    """The equation of some dynamics for ``torchsde.sdeint``; see :func:`to_torchsde`.

    Attributes:
        sde_type: "ito".
        noise_type: "additive", ``g`` then a matrix, or "diagonal".
    """

    sde_type = "ito"

    def __init__(self, dynamics: ReadsAsIto, control: Control | None) -> None:
        super().__init__()
        self.dynamics, self.control = dynamics, control
        form = dynamics.read()
        self.noise_type = "additive" if form.additive else "diagonal"
        self._drawn = form if _has_samples(dynamics) else None

    def f(self, t: Tensor, z: Tensor) -> Tensor:
        """Drift at ``z`` ``(batch, dim)``, the control's push included."""
        form = self._form()
        if self.control is None:
            return form.drift(z)
        return form.drift(z) + form.noise_scale(z) * self.control(t, z)

    def g(self, t: Tensor, z: Tensor) -> Tensor:
        """Noise at ``z``: ``(batch, dim)`` when diagonal, ``(batch, dim, dim)`` when additive."""
        scale = self._form().noise_scale(z)
        return torch.diag_embed(scale) if self.noise_type == "additive" else scale

    def h(self, t: Tensor, z: Tensor) -> Tensor:
        """Drift without the control: torchsde's prior drift, for ``logqp=True``."""
        return self._form().drift(z)

    def _form(self) -> ItoForm:
        """Read at each call, so that gradients and adjoints reach the parameters; samples are drawn once."""
        return self.dynamics.read() if self._drawn is None else self._drawn


def to_torchsde(dynamics: ReadsAsIto, control: Control | None = None) -> TorchSDE:
    r"""Dynamics, with a control or without, as an equation for torchsde's solvers.

    .. math:: f = b(z) + g(z)\,u(t, z),\qquad g = g(z),\qquad h = b(z)

    ``h`` is the drift of the prior, so that ``torchsde.sdeint(..., logqp=True)`` gives ``½ ∫ |u|² dt``, the divergence
    of controlled and free path. Parameters are read at each call; those of a Bayesian prior (``PyroSample``) are read
    here, once, and as ever within a call of the module that holds the dynamics.

    Args:
        dynamics: :class:`Overdamped`, :class:`ItoDiffusion`, or others whose ``read()`` has ``drift(z)``,
            ``noise_scale(z)`` and ``additive``.
        control: ``u(t, z)`` from a time and states ``(batch, dim)``, in units of the noise.

    Returns:
        Module with ``f``, ``g``, ``h``, ``sde_type`` and ``noise_type``.

    Raises:
        TypeError: If the dynamics do not read as an Itô equation.
        RuntimeError: If they have sampled parameters, outside a call of the module that holds them.

    Example:
        >>> from pyro_langevin.dynamics import AdditiveNoise, ItoDiffusion
        >>> sde = to_torchsde(ItoDiffusion(lambda z: -z, 1, noise=AdditiveNoise(2.0)))
        >>> sde.noise_type, sde.f(torch.tensor(0.0), torch.ones(1, 1)), sde.g(torch.tensor(0.0), torch.ones(1, 1))
        ('additive', tensor([[-1.]]), tensor([[[2.]]]))
    """
    form = dynamics.read()
    missing = [name for name in ("drift", "noise_scale", "additive") if not hasattr(form, name)]
    if missing:
        raise TypeError(
            f"to_torchsde: expected dynamics that read as drift and noise, {type(dynamics).__name__} reads without "
            f"{' and '.join(missing)}; define them on what its read() returns"
        )
    return TorchSDE(dynamics, control)


def _has_samples(dynamics: object) -> bool:
    """Whether reading the dynamics draws something anew."""
    if not isinstance(dynamics, nn.Module):
        return False
    return any(isinstance(part, PyroModule) and len(part._pyro_samples) > 0 for part in dynamics.modules())
