"""A Langevin path steered by Gaussian messages from the observations: the default posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions.score_parts import ScoreParts
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.kl import register_kl

from pyro_langevin.dynamics.small_matrices import inverse_root, matvec, transposed_matvec
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.paths.clock import pad_batch
from pyro_langevin.paths.langevin import LOG_2PI, Dynamics, LangevinPath
from pyro_langevin.paths.shared_diffusion import require_shared_diffusion
from pyro_langevin.time_grid import TimeGrid


@dataclass(frozen=True, eq=False)
class Messages:
    """Gaussian messages ``exp(-(z - centre)^T H (z - centre) / 2)`` on the states after each step.

    Attributes:
        centre: ``(n_steps, *batch, dim)``, time leftmost.
        root: ``(n_steps, *batch, dim, dim)``, any factor of the precision ``H = root @ root.T``.
    """

    centre: Tensor
    root: Tensor


@dataclass(frozen=True, eq=False)
class Tilt:
    """A Gaussian transition times a message, as a Gaussian ``N(shift, spread spread^T)`` of the transition's noise.

    Attributes:
        shift: ``(*batch, dim)``.
        spread: ``(*batch, dim, dim)``.
        log_precision: ``(*batch,)``, log determinant of the noise's precision; zero where the message is silent.
    """

    shift: Tensor
    spread: Tensor
    log_precision: Tensor

    @classmethod
    def of(cls, transition: Transition, messages: Messages) -> Tilt:
        """``M = 1 + L^T H L``; shift ``M^-1 L^T H (centre - mean)``; covariance ``M^-1``."""
        pull = transition.scale.mT @ messages.root  # L^T A, with H = A A^T
        dim = pull.shape[-1]
        if dim == 1:
            precision = 1.0 + pull.square()
        else:
            precision = torch.eye(dim, dtype=pull.dtype, device=pull.device) + pull @ pull.mT
        spread, log_precision = inverse_root(precision)
        demand = matvec(pull, transposed_matvec(messages.root, messages.centre - transition.mean))
        return cls(matvec(spread, transposed_matvec(spread, demand)), spread, log_precision)

    def apply(self, noise: Tensor) -> Tensor:
        """The transition's noise for standard normal ``noise``."""
        return self.shift + matvec(self.spread, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of the transition's noise at ``value``, ``(*batch,)``."""
        offset = value - self.shift
        if offset.shape[-1] == 1:
            inner = offset / self.spread[..., 0]
        else:
            inner = torch.linalg.solve(self.spread, offset.unsqueeze(-1)).squeeze(-1)
        return 0.5 * (self.log_precision - inner.square().sum(-1) - offset.shape[-1] * LOG_2PI)

    def log_ratio(self, kick: Tensor, noise: Tensor) -> Tensor:
        """Log density of the prior's noise over the steered one at ``kick = apply(noise)``, ``(*batch,)``."""
        return 0.5 * (noise.square().sum(-1) - kick.square().sum(-1) - self.log_precision)

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from the standard normal noise of the prior, ``(*batch,)``."""
        dim = self.shift.shape[-1]
        squares = self.spread.square().sum((-2, -1)) + self.shift.square().sum(-1)
        return 0.5 * (squares - dim + self.log_precision)


class SteeredPath(LangevinPath):
    r"""A Langevin path whose every step is the prior's transition times a Gaussian message.

    .. math:: q(z_{k+1}\mid z_k) \propto \mathcal N(z_{k+1};\,\mu(z_k), V(z_k))\,
        \exp\bigl(-\tfrac12 (z_{k+1}-c_k)^\top H_k (z_{k+1}-c_k)\bigr)

    With silent messages it is the prior; for linear forces and Gaussian observations the family holds the exact
    posterior. (Guided proposals: Schauer, van der Meulen & van Zanten 2017.)

    ``rsample`` runs the loop over time without a graph and then differentiates all steps in one batched call;
    only the linear recursion of the chain rule is sequential. The gradient is exact, of first order.

    Args:
        dynamics: The prior's dynamics.
        initial: Posterior of the first state, event shape ``(dim,)``, reparametrised.
        times: As for :class:`LangevinPath`.
        messages: One message a step.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        initial: Distribution,
        times: Tensor | TimeGrid,
        messages: Messages,
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(dynamics, initial, times, validate_args=validate_args)
        self.messages = messages
        self._along: tuple[Tensor, Tensor] | None = None

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> SteeredPath:
        new = super().expand(batch_shape, self._get_checked_instance(SteeredPath, _instance))
        assert isinstance(new, SteeredPath)
        new.messages, new._along = self.messages, None
        return new

    def _messages_for(self, ndim: int) -> Messages:
        return Messages(pad_batch(self.messages.centre, ndim), pad_batch(self.messages.root, ndim + 1))

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Paths ``(*sample_shape, *batch_shape, time, dim)``."""
        start = self.initial.rsample(sample_shape)
        start = start.expand(torch.Size(sample_shape) + self.batch_shape + self.event_shape[1:])
        steps = self.clock.steps_for(start.dim() + 1)
        mask = self.clock.mask_for(start.dim())
        messages = self._messages_for(start.dim() + 1)
        noise = torch.randn((len(steps), *start.shape), dtype=start.dtype, device=start.device)
        with torch.no_grad():
            states = [start.detach()]
            centres, roots = messages.centre.unbind(0), messages.root.unbind(0)
            for k, step in enumerate(steps):
                transition = self.dynamics.transition(states[-1], step)
                tilt = Tilt.of(transition, Messages(centres[k], roots[k]))
                state = transition.apply(tilt.apply(noise[k]))
                states.append(state if mask is None else torch.where(mask[k].unsqueeze(-1), state, states[-1]))
            path = torch.stack(states)
        if not torch.is_grad_enabled():
            self._along = None
            return path.movedim(0, -2)
        path, divergence = self._with_gradient(path, start, messages, noise)
        value = path.movedim(0, -2)
        self._along = (value, self.sum_steps(divergence))
        return value

    def _with_gradient(
        self, path: Tensor, start: Tensor, messages: Messages, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same path and its per-step KL, attached to the graph: all steps at once, then the chain rule."""
        mask = self.clock.mask_for(path.dim() - 1)

        def step(free: Tensor) -> tuple[Tensor, Tensor]:
            transition = self.dynamics.transition(free, self.clock.steps_for(path.dim()))
            tilt = Tilt.of(transition, messages)
            reached, divergence = transition.apply(tilt.apply(noise)), tilt.kl()
            if mask is not None:
                reached = torch.where(mask.unsqueeze(-1), reached, free)
                divergence = torch.where(mask, divergence, 0.0)
            return reached, divergence

        reached, divergence = chain_rule(start, path[:-1], step, None)
        return torch.cat([start.unsqueeze(0), reached]), divergence

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of given paths: all steps in one batched call."""
        if self._validate_args:
            self._validate_sample(value)
        path = value.movedim(-2, 0)
        transition = self.transitions(path)
        tilt = Tilt.of(transition, self._messages_for(path.dim()))
        steps = tilt.log_prob(transition.whiten(path[1:])) - transition.log_abs_det()
        return self.initial.log_prob(path[0]) + self.sum_steps(steps)

    def kl_along(self, value: Tensor) -> Tensor:
        """Sum of the per-step divergences from the prior along a path, the first state left out.

        Its expectation is the path's divergence. For training only: it is not a log density ratio, so weights
        must never be made of it.
        """
        if self._along is not None and self._along[0] is value:
            return self._along[1]
        path = value.movedim(-2, 0)
        tilt = Tilt.of(self.transitions(path), self._messages_for(path.dim()))
        return self.sum_steps(tilt.kl())

    def score_parts(self, value: Tensor, *args: Any, **kwargs: Any) -> ScoreParts:
        """Log density with the sticking-the-landing entropy: its gradient flows through the path alone.

        (Roeder, Wu & Duvenaud 2017.) The score term is the literal 0: the path is fully reparametrised.
        """
        return sticking_the_landing(self, value)


def sticking_the_landing(path: LangevinPath, value: Tensor) -> ScoreParts:
    """Score parts whose entropy term has the path gradient only; it vanishes when the guide is exact."""
    log_prob = path.log_prob(value)
    if not value.requires_grad:
        return ScoreParts(log_prob, 0, log_prob)  # type: ignore[arg-type]
    with torch.enable_grad():
        point = value.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(path.log_prob(point).sum(), point)
    through_path = (gradient * (value - value.detach())).sum((-2, -1))
    return ScoreParts(log_prob, 0, log_prob.detach() + through_path)  # type: ignore[arg-type]


def chain_rule(
    start: Tensor,
    states: Tensor,
    step: Callable[[Tensor], tuple[Tensor, Tensor]],
    ancestors: list[Tensor | None] | None,
) -> tuple[Tensor, Tensor]:
    """Attach a simulated recursion to the graph: all steps in one batched call, then the chain rule.

    Args:
        start: First state ``(*batch, dim)``, in the graph.
        states: State before each step ``(n_steps, *batch, dim)``, simulated without a graph.
        step: From states to the states reached and a figure per step, ``(n_steps, *batch)``.
        ancestors: After each step, where along the first batch dimension the next state came from; None = same.

    Returns:
        States reached ``(n_steps, *batch, dim)`` and the figures, with the gradient of the whole recursion.
    """
    with torch.enable_grad():
        free = states.detach().requires_grad_()
        reached, figure = step(free)
        outputs = [reached[..., i] for i in range(states.shape[-1])] + [figure]
        rows = [torch.autograd.grad(output.sum(), free, retain_graph=True)[0] for output in outputs]
    return _ChainRule.apply(start, reached, figure, torch.stack(rows[:-1], -2), rows[-1], ancestors)


class _ChainRule(torch.autograd.Function):
    """States and per-step figures along a recursion ``z_{k+1} = F_k(z_k)``, with the gradient of the whole.

    ``reached[k] = F_k(state[k])`` and ``figure[k]`` carry the graph of the parameters at fixed states;
    ``jacobian[k]`` and ``slope[k]`` are their derivatives by the state. Backward runs the adjoint recursion
    ``a_k = slope_k h_k + J_k^T (g_k + a_{k+1})`` and hands ``g_k + a_{k+1}`` to the graph of ``reached[k]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        start: Tensor,
        reached: Tensor,
        figure: Tensor,
        jacobian: Tensor,
        slope: Tensor,
        ancestors: list[Tensor | None] | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(jacobian, slope)
        ctx.ancestors = ancestors
        return reached.clone(), figure.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad: Tensor, grad_figure: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        jacobian, slope = ctx.saved_tensors
        direct = (slope * grad_figure.unsqueeze(-1)).unbind(0)
        arriving, local = grad.unbind(0), jacobian.unbind(0)
        adjoint = torch.zeros_like(grad[0])
        onto = []
        for k in reversed(range(len(direct))):
            parents = None if ctx.ancestors is None else ctx.ancestors[k]
            if parents is not None:
                index = parents.unsqueeze(-1).expand_as(adjoint)
                adjoint = torch.zeros_like(adjoint).scatter_add(0, index, adjoint)
            adjoint = adjoint + arriving[k]
            onto.append(adjoint)
            adjoint = direct[k] + transposed_matvec(local[k], adjoint)
        onto.reverse()
        return adjoint, torch.stack(onto), grad_figure, None, None, None


@register_kl(SteeredPath, LangevinPath)
def _kl_steered_prior(posterior: SteeredPath, prior: LangevinPath) -> Tensor:
    """Path divergence along the posterior's last sample: unbiased, for ``TraceMeanField_ELBO``.

    Raises:
        ValueError: If the paths do not share their diffusion.
    """
    if posterior.source is not prior.source:
        step = posterior.clock.steps.min()
        require_shared_diffusion(posterior.dynamics, prior.dynamics, posterior.initial.mean, step)
        raise NotImplementedError  # other drift, same noise: the ratio of densities stays right
    if posterior._along is None or isinstance(prior, SteeredPath):
        raise NotImplementedError
    value, along = posterior._along
    first = value[..., 0, :]
    return posterior.initial.log_prob(first) - prior.initial.log_prob(first) + along
