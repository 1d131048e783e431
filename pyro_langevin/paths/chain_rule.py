"""The gradient of a simulated recursion: all steps in one batched call, then the chain rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_langevin.dynamics.small_matrices import transposed_matvec

#: Dimensions up to which the Jacobian of every step, a row at a time, costs less than a graph of the whole loop.
MOST_JACOBIANS = 2


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
