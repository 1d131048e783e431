"""A guide's path, taken one step at a time, with the weight of each step against the prior's."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any, Protocol

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import log_abs_det, matvec, solve
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths import DenseGaussMarkovPath, GaussMarkovPath, LangevinPath, TiltedPath
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.paths.langevin import LOG_2PI
from pyro_langevin.paths.tilt import DiagonalTilt

_NDIM = 5  # of time-leftmost states (time, particle, run, series, dim)

#: From states ``(*batch, dim)`` to those that a step leads to, with the log ratio of prior to guide density. Where the
#: second argument ``(*batch,)`` is True the step is the prior's own; the ratio is that of both densities all the same.
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Proposal(Protocol):
    """A path that is drawn step by step, with log ratios of the prior's density to its own."""

    def first(self, by_prior: Tensor) -> tuple[Tensor, Tensor]:
        """First states ``(particle, run, series, dim)`` and log ratios, the prior's own where ``by_prior``."""
        ...

    def steps(self) -> list[Step]:
        """The steps, in the order of time; on padding states rest."""
        ...


@singledispatch
def proposal_of(path: Any, prior: LangevinPath, widening: float) -> Proposal:
    """The path of a guide as a proposal, against the prior on the same grid.

    Args:
        path: The guide's path.
        prior: The prior's path on the same grid.
        widening: Factor on the standard deviation of every step.

    Raises:
        ValueError: If the path is of a kind that cannot be drawn step by step, or if it has other dynamics or batch
            dimensions than the series.
    """
    raise ValueError(
        f"particles: expected a guide whose path is drawn step by step (SteeredGuide, ControlledGuide or "
        f"GaussMarkovGuide), got a {type(path).__name__}; weight its draws by log_p - log_q instead"
    )


class TiltedSteps:
    """Steps of the prior with tilted noise: the ratio is that of the two densities of the noise.

    Args:
        path: The guide's path.
        prior: The prior's path on the same grid.
        widening: Factor on the standard deviation of every step.
    """

    def __init__(self, path: TiltedPath, prior: LangevinPath, widening: float) -> None:
        if path.source is not prior.source:
            raise ValueError(
                "particles: expected a guide path on the dynamics of its model, got others; build guide and model with "
                "the same dynamics"
            )
        self.path, self.prior, self.widening = path, prior, widening

    def first(self, by_prior: Tensor) -> tuple[Tensor, Tensor]:
        own, shape = self.path.initial, by_prior.shape[:-1]
        wide = own.mean + self.widening * (own.sample(shape) - own.mean)
        z = _chosen(by_prior, self.prior.initial.sample(shape), wide)
        log_q = own.log_prob(own.mean + (z - own.mean) / self.widening) - z.shape[-1] * math.log(self.widening)
        return z, self.prior.initial.log_prob(z) - log_q

    def steps(self) -> list[Step]:
        return [self._step(k, own) for k, own in enumerate(self.path.tilting.padded(_NDIM).each())]

    def _step(self, k: int, tilting: Any) -> Step:
        step = self.prior.clock.steps_for(_NDIM)[k]

        def move(z: Tensor, by_prior: Tensor) -> tuple[Tensor, Tensor]:
            transition = self.prior.dynamics.transition(z, step)
            tilt = tilting.tilt(z, transition, step)
            if self.widening != 1.0:
                tilt = tilt.then(DiagonalTilt(torch.zeros_like(z), torch.full_like(z, self.widening)))
            noise = torch.randn_like(z)
            kick = _chosen(by_prior, noise, tilt.apply(noise))
            return transition.apply(kick), tilt.log_ratio(kick, tilt.whiten(kick))

        return _resting(move, self.prior, k)


class LinearSteps:
    """Steps of a Gauss-Markov path: the Gaussian of each state given the one before it.

    Args:
        path: The guide's path.
        prior: The prior's path on the same grid.
        widening: Factor on the standard deviation of every step.
    """

    def __init__(self, path: GaussMarkovPath | DenseGaussMarkovPath, prior: LangevinPath, widening: float) -> None:
        self.prior = prior
        self.mean = pad_batch(path.mean_path, _NDIM)
        if isinstance(path, GaussMarkovPath):
            self.memory, self.scale = (
                pad_batch(torch.diag_embed(part), _NDIM + 1) for part in (path.memory, path.deviation)
            )
        else:
            self.memory, self.scale = (pad_batch(part, _NDIM + 1) for part in (path.memory, path.scale))
        self.scale = widening * self.scale

    def first(self, by_prior: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*by_prior.shape, self.mean.shape[-1])
        noise = torch.randn(shape, dtype=self.mean.dtype, device=self.mean.device)
        own = self.mean[0] + matvec(self.scale[0], noise)
        z = _chosen(by_prior, self.prior.initial.sample(by_prior.shape[:-1]), own)
        return z, self.prior.initial.log_prob(z) - self._log_density(0, z - self.mean[0])

    def steps(self) -> list[Step]:
        return [self._step(k) for k in range(len(self.mean) - 1)]

    def _step(self, k: int) -> Step:
        step = self.prior.clock.steps_for(_NDIM)[k]

        def move(z: Tensor, by_prior: Tensor) -> tuple[Tensor, Tensor]:
            transition = self.prior.dynamics.transition(z, step)
            noise = torch.randn_like(z)
            mean = self.mean[k + 1] + matvec(self.memory[k], z - self.mean[k])
            reached = _chosen(by_prior, transition.apply(noise), mean + matvec(self.scale[k + 1], noise))
            log_p = _log_density(transition, reached)
            return reached, log_p - self._log_density(k + 1, reached - mean)

        return _resting(move, self.prior, k)

    def _log_density(self, k: int, deviation: Tensor) -> Tensor:
        return _standard(solve(self.scale[k], deviation)) - log_abs_det(self.scale[k])


@proposal_of.register
def _(path: TiltedPath, prior: LangevinPath, widening: float) -> Proposal:
    return TiltedSteps(path, prior, widening)


@proposal_of.register(GaussMarkovPath)
@proposal_of.register(DenseGaussMarkovPath)
def _(path: GaussMarkovPath | DenseGaussMarkovPath, prior: LangevinPath, widening: float) -> Proposal:
    return LinearSteps(path, prior, widening)


def transition_log_density(prior: LangevinPath, z: Tensor, reached: Tensor, step: Tensor) -> Tensor:
    """Log density of the prior's transition from ``z`` to ``reached``, which broadcast, without their last axis."""
    return _log_density(prior.dynamics.transition(z, step), reached)


def _log_density(transition: Transition, reached: Tensor) -> Tensor:
    return _standard(transition.whiten(reached)) - transition.log_abs_det()


def _standard(noise: Tensor) -> Tensor:
    """Log density of standard normal noise ``(*batch, dim)``."""
    return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * LOG_2PI)


def _chosen(by_prior: Tensor, prior: Tensor, own: Tensor) -> Tensor:
    return torch.where(by_prior.unsqueeze(-1), prior, own)


def _resting(move: Step, prior: LangevinPath, k: int) -> Step:
    """The same step, but at rest where the series is over."""
    mask = prior.clock.mask_for(_NDIM - 1)
    if mask is None:
        return move
    goes = mask[k]

    def step(z: Tensor, by_prior: Tensor) -> tuple[Tensor, Tensor]:
        reached, log_ratio = move(z, by_prior)
        return torch.where(goes.unsqueeze(-1), reached, z), torch.where(goes, log_ratio, 0.0)

    return step
