"""A linear recursion in time, step by step or by doubling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A call of a small operation takes as long as some thousands of multiplications on a CPU; doubling does log2(time)
# times the work in log2(time) calls.
_WIDTH_OF_A_CALL = 3000


def linear_recursion(memory: Tensor, kicks: Tensor) -> Tensor:
    """Solution of ``y_0 = kicks_0``, ``y_{k+1} = memory_k y_k + kicks_{k+1}``, ``(time, *batch, dim)``.

    By doubling (Hillis & Steele 1986) on accelerators and where the series are long and few, else by a loop: the same
    up to rounding.

    Args:
        memory: ``(time - 1, *batch, dim)``, broadcastable to the kicks but for time.
        kicks: ``(time, *batch, dim)``.
    """
    n_times = len(kicks)
    width = kicks[0].numel()
    if kicks.is_cuda or (n_times > 1 and width * math.log2(n_times) < _WIDTH_OF_A_CALL):
        return _by_doubling(memory, kicks)
    state = [kicks[0]]
    for a, kick in zip(memory.unbind(0), kicks.unbind(0)[1:], strict=True):
        state.append(torch.addcmul(kick, a, state[-1]))
    return torch.stack(state)


def _by_doubling(memory: Tensor, kicks: Tensor) -> Tensor:
    """After ``m`` passes every state is right as far as ``2^m`` kicks back; log2(time) passes do for all."""
    reach, state, kept = 1, kicks, memory  # kept[k]: what of state k is left in state k + reach
    while reach < len(kicks):
        state = torch.cat([state[:reach], torch.addcmul(state[reach:], kept, state[:-reach])])
        kept = kept[reach:] * kept[:-reach] if 2 * reach < len(kicks) else kept
        reach *= 2
    return state
