"""A linear recursion by doubling is that step by step, value and gradient, at every length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyro_langevin.paths import linear_recursion as recursions
from pyro_langevin.paths.linear_recursion import linear_recursion

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def by_hand(memory: Tensor, kicks: Tensor) -> Tensor:
    state = [kicks[0]]
    for k in range(1, len(kicks)):
        state.append(memory[k - 1] * state[-1] + kicks[k])
    return torch.stack(state)


@pytest.mark.parametrize("doubling", [True, False])
@pytest.mark.parametrize("n_times", [1, 2, 3, 4, 5, 8, 9, 33, 100])
def test_both_ways_are_the_recursion(n_times: int, doubling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursions, "_WIDTH_OF_A_CALL", 1e9 if doubling else 0)
    memory = torch.rand(n_times - 1, 3, 2, requires_grad=True)
    kicks = torch.randn(n_times, 4, 3, 2, requires_grad=True)  # with particles that share the memory
    found, expected = linear_recursion(memory.unsqueeze(1), kicks), by_hand(memory, kicks)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(expected)
    slopes = [
        torch.autograd.grad((weight * y).sum(), (memory, kicks), materialize_grads=True) for y in (found, expected)
    ]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_long_memory_neither_overflows_nor_is_lost() -> None:
    memory, kicks = torch.full((9_999, 1), 0.999), torch.ones(10_000, 1)
    found = linear_recursion(memory, kicks)
    expected = (1.0 - 0.999 ** torch.arange(1.0, 10_001.0)) / 0.001
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-9, atol=0.0)
    assert bool(linear_recursion(torch.full((9_999, 1), 1e-9), kicks).isfinite().all())
