"""The ELBO of a path is Pyro's mean-field ELBO, without the densities that this one computes for nothing."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

import pyro_langevin as pl
from pyro_langevin.paths.langevin import LangevinPath

SIZES = {"plain": (1, False), "two, in turn": (2, False), "three at once": (3, True)}


@pytest.mark.parametrize("particles", SIZES)
@pytest.mark.parametrize("kind", [pl.SteeredGuide, pl.GaussMarkovGuide, pl.ControlledGuide])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_loss_and_gradient_are_those_of_the_mean_field_bound(
    dim: int, kind: Callable[..., torch.nn.Module], particles: str
) -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    data = pl.Observations(torch.randn(4, 8, 3), mask=torch.rand(4, 8) > 0.2)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(dim, 8)), pl.GaussianEmission(dim, 3))
    guide = kind(model, pl.RecurrentEncoder(3, 8))
    guide.initialise(data, model.initialise(data))
    count, at_once = SIZES[particles]
    found = []
    for bound in (pl.PathELBO, TraceMeanField_ELBO):
        pyro.set_rng_seed(1)
        elbo = bound(num_particles=count, vectorize_particles=at_once, max_plate_nesting=1)
        parameters = [p for module in (model, guide) for p in module.parameters()]
        loss = elbo(model, guide)(data)
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        found.append([loss.detach(), *(s for s in slopes if s is not None)])
    assert len(found[0]) == len(found[1]) > 10
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_no_density_of_a_steered_path_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pl.Observations(torch.randn(4, 8, 3))
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(2, 8)), pl.GaussianEmission(2, 3))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(3, 8))
    guide.initialise(data, model.initialise(data))
    computed = []
    own = LangevinPath.log_prob
    monkeypatch.setattr(LangevinPath, "log_prob", lambda path, value: computed.append(path) or own(path, value))
    pl.PathELBO()(model, guide)(data)
    assert not computed
    with torch.no_grad():  # where no divergence is known, densities take its place
        pl.PathELBO()(model, guide)(data)
    assert computed
