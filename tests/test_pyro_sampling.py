"""Every model and guide in Pyro's predictions, conditions and importance samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Importance, Predictive
from pyro.infer.importance import psis_diagnostic, vectorized_importance_weights
from pyro.ops.stats import fit_generalized_pareto
from pyro_matrix import LENGTHS, SEED, every_model, every_row, log_joint, log_weights, row
from standard_errors import ALLOWED_ERRORS

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")

MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "gradients": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


@every_row
@pytest.mark.parametrize(("mode", "parallel"), [("gradients", False), *((mode, True) for mode in MODES)])
def test_predictive(dynamics: str, kind: str, mode: str, parallel: bool) -> None:
    case = row(dynamics, kind)
    draws = 60 if parallel else 4
    shape = (draws, len(LENGTHS), case.model.grid(case.data).n_points, case.model.dynamics.dim)
    with MODES[mode]():
        free = poutine.uncondition(case.model)
        prior = Predictive(free, num_samples=draws, parallel=parallel)(case.data)
        posterior = Predictive(
            case.model, guide=case.guide, num_samples=draws, parallel=parallel, return_sites=["z", "y"]
        )(case.data)
        own = case.guide.path(case.data).rsample(torch.Size([500]))
    assert prior["z"].shape == posterior["z"].shape == shape
    assert prior["y"].shape == (draws, *case.data.values.shape)
    for drawn in (prior["z"], prior["y"], posterior["z"]):
        assert bool(drawn.isfinite().all()) and not torch.equal(drawn[0], drawn[1])
    if parallel:  # of the guide, not of the prior
        gap = posterior["z"].mean(0) - own.mean(0)
        error = (posterior["z"].var(0) / draws + own.var(0) / len(own)).sqrt()
        assert bool((gap.abs() < ALLOWED_ERRORS * error + 1e-9).all())


@every_model
def test_conditioning_on_a_path(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    z = torch.randn(len(LENGTHS), case.model.grid(case.data).n_points, case.model.dynamics.dim)
    trace = poutine.trace(poutine.condition(case.model, {"z": z})).get_trace(case.data)
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"] is z and trace.nodes["z"]["is_observed"]
    found = trace.nodes["z"]["log_prob"] + trace.nodes["y"]["log_prob"]
    torch.testing.assert_close(found, log_joint(case.model, case.data, z))


@every_row
def test_importance_weights_are_exact_density_ratios(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    pyro.set_rng_seed(SEED)
    together, _, _ = vectorized_importance_weights(
        case.model, case.guide, case.data, num_samples=7, max_plate_nesting=1
    )
    torch.testing.assert_close(together, log_weights(case, 7).sum(-1))
    one_by_one = Importance(case.model, case.guide, num_samples=5).run(case.data)
    for trace, weight in zip(one_by_one.exec_traces, one_by_one.log_weights, strict=True):
        z = trace.nodes["z"]["value"]
        exact = log_joint(case.model, case.data, z) - case.guide.path(case.data).log_prob(z)
        torch.testing.assert_close(torch.as_tensor(weight), exact.sum().detach())


@every_row
def test_psis_diagnostic(dynamics: str, kind: str) -> None:
    case = row(dynamics, kind)
    pyro.set_rng_seed(SEED)
    k_hat = psis_diagnostic(case.model, case.guide, case.data, num_particles=400, max_plate_nesting=1)
    pyro.set_rng_seed(SEED)
    with torch.no_grad():  # its weights are those of the column before
        weights, _, _ = vectorized_importance_weights(
            case.model, case.guide, case.data, num_samples=400, max_plate_nesting=1
        )
    ordered = torch.sort(weights - weights.max())[0]
    cutoff = ordered[-math.ceil(3.0 * math.sqrt(400)) - 1].clamp_min(math.log(1e-15))
    by_hand, _ = fit_generalized_pareto(ordered[ordered > cutoff].exp() - cutoff.exp())
    assert k_hat == pytest.approx(by_hand)
