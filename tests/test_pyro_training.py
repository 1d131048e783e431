"""Every model and guide under optimisers of Pyro and PyTorch, and in minibatches."""

from __future__ import annotations

import copy

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro_matrix import BOUNDS, LENGTHS, every_row, log_weights, row
from torch import Tensor

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


@every_row
def test_elbo_module_with_a_torch_optimiser(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    loss = Trace_ELBO(num_particles=8, vectorize_particles=True)(case.model, case.guide)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.005)
    before = [parameter.detach().clone() for module in case[:2] for parameter in module.parameters()]
    for _ in range(15):
        optimiser.zero_grad()
        loss(case.data).backward()
        optimiser.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, case.model.parameters(), strict=False))
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before[len(list(case.model.parameters())) :], case.guide.parameters(), strict=True)
    )
    assert log_weights(case, 300).mean() > log_weights(row(dynamics, kind), 300).mean()


@every_row
def test_svi_with_a_pyro_optimiser(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    svi = SVI(case.model, case.guide, pyro.optim.Adam({"lr": 0.005}), BOUNDS["TraceMeanField_ELBO"](8))  # type: ignore[attr-defined]
    for _ in range(15):
        svi.step(case.data)
    assert log_weights(case, 300).mean() > log_weights(row(dynamics, kind), 300).mean()


@every_row
def test_minibatches_are_unbiased(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    z = case.guide.path(case.data).sample()

    def loss(rows: list[int]) -> Tensor:
        part = case.data.select(rows)
        own = z[rows, : case.model.grid(part).n_points]
        model, guide = (poutine.condition(program, {"z": own}) for program in case[:2])
        found = [poutine.trace(program).get_trace(part, len(LENGTHS)).log_prob_sum() for program in (guide, model)]
        return torch.as_tensor(found[0]) - torch.as_tensor(found[1])

    parts = torch.stack([loss([i]) for i in range(len(LENGTHS))])
    torch.testing.assert_close(parts.mean(), loss([0, 1, 2]))
    pairs = torch.stack([loss(rows) for rows in ([0, 1], [1, 2], [0, 2])])
    torch.testing.assert_close(pairs.mean(), loss([0, 1, 2]))
