"""The guides' frame for underdamped dynamics: where the position is going."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pyro_langevin.dynamics import Underdamped, UnderdampedDynamics
from pyro_langevin.dynamics.small_matrices import side_by_side
from pyro_langevin.guides.frame import Frame, frame_of, gap_of_steps
from pyro_langevin.guides.messages import StepOutputs
from pyro_langevin.observations import Observations
from pyro_langevin.paths import DenseGaussMarkovPath, Messages
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.potentials.base import LocalExpansion
from pyro_langevin.time_grid import TimeGrid

_START = math.exp(-1.0)  # strength with which a message head starts between observations, and here at them as well
_START_WIDTH = math.exp(-1.5)  # width with which it starts for the first state


class PhaseSpaceFrame:
    r"""States ``(q, p)``: a message is about where free flight will have taken the position at the next observation.

    Within one step noise hardly moves the position, so a path is steered by its momentum, ahead of an observation. The
    head's root is therefore read in the coordinates

    .. math:: \Bigl(q + \tfrac{\psi(\tau)}m p,\; p\Bigr),\qquad \psi(\tau) = \frac{1-e^{-\gamma\tau}}\gamma ,

    with ``tau`` the time left to the end of the observation interval. Units are what an observation then tells of
    the present: its noise and the spread of free flight until then. Momenta are ``mass * velocity`` of the head's
    own positions, and a correction in thermal units. (Guided proposals with a free auxiliary process: Schauer, van
    der Meulen & van Zanten 2017.)

    Args:
        dynamics: The model's dynamics.
        noise: Standard deviation of one observation in latent units, as estimated at the start.
    """

    def __init__(self, dynamics: Underdamped, noise: Tensor) -> None:
        self.dynamics, self.size, self.noise = dynamics, dynamics.position_dim, noise

    @cached_property
    def read(self) -> UnderdampedDynamics:
        """The dynamics, read when first needed: a guide starts from the data where sampled parameters have no value."""
        return self.dynamics.read()

    @property
    def thermal(self) -> Tensor:
        """Standard deviation of each momentum in equilibrium, ``(*batch, position_dim)``."""
        return self.dynamics.momentum_deviation()

    @property
    def ndim(self) -> int:
        """Number of dimensions of time-leftmost states, those of sampled parameters included."""
        return max(3, 1 + max(value.dim() for value in (self.read.friction, self.read.mass, self.read.temperature)))

    def strength(self, gap: float, noise: float) -> float:
        """The same at observations as between them: the step that reaches an observation can do little about it."""
        return _START

    def first(self, out: StepOutputs) -> tuple[Tensor, Tensor]:
        """Momenta in thermal units."""
        position, momentum = out.first_loc.split(self.size, -1)
        width, momentum_width = out.first_scale.split(self.size, -1)
        widened = momentum_width * self.thermal / _START_WIDTH
        return side_by_side(position, momentum * self.thermal), side_by_side(width, widened)

    def messages(self, out: StepOutputs, observations: Observations, grid: TimeGrid) -> Messages:
        """Messages on position and momentum."""
        out, gap = out.padded(self.ndim), gap_of_steps(observations, grid, self.ndim)
        position, correction = out.path().split(self.size, -1)
        velocity = position.diff(dim=0) / self._steps(grid, position)
        # a slope between two noisy observations says the less of the momentum the larger the noise
        slope_noise = 2.0 * (self.noise * self.read.mass / (gap * self.thermal)).square()
        momentum = self.read.mass * velocity / (1.0 + slope_noise) + self.thermal * correction[1:]
        return Messages(side_by_side(position[1:], momentum), self._root(out, gap, grid))

    def gauss_markov(
        self, out: StepOutputs, observations: Observations, grid: TimeGrid
    ) -> DenseGaussMarkovPath:
        """A mean with consistent momenta; around it the scheme's own steps in a harmonic well, tilted by the messages.

        The head's memory is read as the stiffness of that well and as extra friction.
        """
        out, gap = out.padded(self.ndim), gap_of_steps(observations, grid, self.ndim)
        steps = self._steps(grid, out.centre)
        position, correction = out.path().split(self.size, -1)
        velocity = position.diff(dim=0) / steps
        ahead = pad_batch(grid.step_mask.movedim(-1, 0).unsqueeze(-1), self.ndim)[1:].to(velocity.device)
        inside = torch.where(ahead, 0.5 * (velocity[1:] + velocity[:-1]), velocity[:-1])
        velocity = torch.cat([velocity[:1], inside, velocity[-1:]])
        mean = side_by_side(position, self.read.mass * velocity + self.thermal * correction)
        lost, slowed = (-out.memory.log()).split(self.size, -1)
        stiffness = self.read.mass * torch.minimum(lost / gap.square(), 1.0 / steps.square())
        well = replace(self.read, energy=_HarmonicWell(stiffness))
        basis = torch.eye(2 * self.size, dtype=mean.dtype, device=mean.device)
        basis = basis.reshape(-1, *(1,) * (mean.dim() - 1), 2 * self.size)
        root = self._root(out, gap, grid)
        silent = Messages(torch.zeros_like(mean[1:]), root)
        transition = well.transition(basis.expand(-1, *out.centre.shape), steps)
        memory = transition.apply(silent.tilt(basis, transition, steps).shift).movedim(0, -1)
        damped = (-slowed * steps / gap).exp().unsqueeze(-1)
        memory = torch.cat([memory[..., : self.size, :], memory[..., self.size :, :] * damped], -2)
        rest = well.transition(torch.zeros_like(out.centre), steps)
        spread = silent.given(rest).spread
        scale = rest.apply(spread.movedim(-1, 0)).movedim(0, -1)
        first = (self.first(out)[1].unsqueeze(-1) * out.first_mix).expand(1, *scale.shape[1:])
        return DenseGaussMarkovPath(mean, memory, torch.cat([first, scale]), grid)

    def _root(self, out: StepOutputs, gap: Tensor, grid: TimeGrid) -> Tensor:
        """The head's root, in units of what observations tell, on position and momentum."""
        ahead = pad_batch((1.0 - grid.fraction.to(gap)).movedim(-1, 0).unsqueeze(-1), self.ndim) * gap
        now, then = self._flight(ahead), self._flight(ahead + gap)
        place = (self.noise.square() + self._gained(ahead)).sqrt()
        # the observation after the next one, given the next
        speed = (2.0 * self.noise.square() + self._gained(ahead + gap)).sqrt() / (then - now)
        unit = side_by_side(*(part.expand(*part.shape[:-1], self.size) for part in (place, speed)))
        upper, lower = (out.root / _START / unit.unsqueeze(-1)).split(self.size, -2)
        return torch.cat([upper, lower + now.unsqueeze(-1) * upper], -2)

    def _steps(self, grid: TimeGrid, like: Tensor) -> Tensor:
        """Length of every step, ``(n_steps, *1, series, 1)``."""
        return pad_batch(grid.steps.movedim(-1, 0).unsqueeze(-1).to(like), self.ndim)

    def _flight(self, time: Tensor) -> Tensor:
        """What a momentum adds to the position within a time, ``psi / m``."""
        friction = self.read.friction
        return -torch.expm1(-friction * time) / (friction * self.read.mass)

    def _gained(self, time: Tensor) -> Tensor:
        """Variance of a free position after a time, from a known state; an interpolation of both ends."""
        x = self.read.friction * time
        reduced = x * (x.square() / 3.0) / (1.0 + 0.75 * x + x.square() / 3.0)
        return 2.0 * self.read.temperature / (self.read.mass * self.read.friction.square()) * reduced


@dataclass(frozen=True, eq=False)
class _HarmonicWell:
    """Energy of a well around zero with its own stiffness at every point, ``(*batch, dim)``."""

    stiffness: Tensor

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * (self.stiffness * z.square()).sum(-1)

    def gradient(self, z: Tensor) -> Tensor:
        return self.stiffness * z

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        hessian = torch.diag_embed(self.stiffness.expand_as(z))
        return LocalExpansion(self.gradient(z), hessian, torch.zeros_like(z))


@frame_of.register
def _(dynamics: Underdamped, noise: Tensor) -> Frame:
    return PhaseSpaceFrame(dynamics, noise)
