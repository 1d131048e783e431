"""Every model and guide in Pyro's bounds."""

from __future__ import annotations

import copy
import math

import pyro
import pytest
import torch
from pyro.infer import JitTrace_ELBO, RenyiELBO
from pyro_matrix import (
    BOUNDS,
    LENGTHS,
    SEED,
    assert_all_are_trained,
    every_row,
    log_joint,
    log_weights,
    mean_field,
    row,
)

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

every_bound = pytest.mark.parametrize("elbo", BOUNDS)


@every_row
@every_bound
@pytest.mark.parametrize("particles", [1, len(LENGTHS), 5])
def test_every_bound_is_the_bound(dynamics: str, kind: str, elbo: str, particles: int) -> None:
    case = row(dynamics, kind)
    by_hand = mean_field if elbo == "TraceMeanField_ELBO" else log_weights
    expected = -by_hand(case, particles).sum(-1).mean().item()
    pyro.set_rng_seed(SEED)
    assert BOUNDS[elbo](particles).loss(case.model, case.guide, case.data) == pytest.approx(expected, abs=1e-8)


@every_row
@every_bound
def test_every_bound_trains_everything(dynamics: str, kind: str, elbo: str) -> None:
    case, estimator = copy.deepcopy(row(dynamics, kind)), BOUNDS[elbo](len(LENGTHS))
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.parametrize(("particles", "vectorised"), [(3, False), (len(LENGTHS), True), (5, True)])
def test_renyi_bound_is_that_of_the_exact_weights(dynamics: str, kind: str, particles: int, vectorised: bool) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    estimator = RenyiELBO(alpha=0, num_particles=particles, vectorize_particles=vectorised, max_plate_nesting=1)
    if vectorised:
        weights = log_weights(case, particles)
    else:
        pyro.set_rng_seed(SEED)
        path = case.guide.path(case.data)
        drawn = torch.stack([path.rsample() for _ in range(particles)])
        weights = log_joint(case.model, case.data, drawn) - path.log_prob(drawn)
    expected = -(torch.logsumexp(weights, 0) - math.log(particles)).sum().item()
    pyro.set_rng_seed(SEED)
    assert estimator.loss(case.model, case.guide, case.data) == pytest.approx(expected, abs=1e-8)
    estimator.loss_and_grads(case.model, case.guide, case.data)
    assert_all_are_trained(case)


@every_row
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_bound(dynamics: str, kind: str) -> None:
    case = copy.deepcopy(row(dynamics, kind))
    data = case.data.select([1])  # compiling takes a time in proportion to the steps
    compiled = JitTrace_ELBO(ignore_jit_warnings=True, max_plate_nesting=1)
    with torch.jit.optimized_execution(False):  # which would take far longer than the run
        compiled.loss_and_grads(case.model, case.guide, observations=data)
        assert_all_are_trained(case)
        pyro.set_rng_seed(SEED)
        loss = compiled.loss_and_grads(case.model, case.guide, observations=data)
        found = [parameter.grad.clone() for module in case[:2] for parameter in module.parameters()]
        assert compiled.loss_and_grads(case.model, case.guide, observations=data) != loss
    pyro.set_rng_seed(SEED)
    path = case.guide.path(data)
    z = path.rsample()
    by_hand = (path.log_prob(z) - log_joint(case.model, data, z)).sum()
    assert loss == pytest.approx(by_hand.item(), abs=1e-9)
    expected = torch.autograd.grad(by_hand, [*case.model.parameters(), *case.guide.parameters()])
    torch.testing.assert_close(found, list(expected))
