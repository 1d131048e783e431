"""Coupled oscillators: matrices written down by hand, the normal modes of a chain, one well whatever is learned."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroSample

import pyro_langevin as pl

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def test_the_matrix_of_three_oscillators() -> None:
    one_apart = pl.CoupledOscillatorPotential(3, stiffness=[1.0, 2.0, 4.0], coupling=[0.5, 0.25])
    expected = torch.tensor([[1.5, -0.5, 0.0], [-0.5, 2.75, -0.25], [0.0, -0.25, 4.25]])
    torch.testing.assert_close(one_apart.matrix(), expected)
    both = pl.CoupledOscillatorPotential(3, 2, stiffness=[1.0, 2.0, 4.0], coupling=[0.5, 0.25, 0.125])
    assert both.pairs.tolist() == [[0, 1], [1, 2], [0, 2]]
    expected = torch.tensor([[1.625, -0.5, -0.125], [-0.5, 2.75, -0.25], [-0.125, -0.25, 4.375]])
    torch.testing.assert_close(both.matrix(), expected)
    z = torch.tensor([1.0, -1.0, 2.0])
    # springs 1, 2 and 16; stretches 2, -3 and -1
    assert float(both.energy(z)) == pytest.approx(0.5 * (19.0 + 0.5 * 4.0 + 0.25 * 9.0 + 0.125 * 1.0))
    torch.testing.assert_close(both.force(z), -expected @ z)
    torch.testing.assert_close(both.hessian(z), expected)


def test_normal_modes_of_an_even_chain() -> None:
    n, stiffness, coupling = 6, 0.7, 1.3
    potential = pl.CoupledOscillatorPotential(n, stiffness=stiffness, coupling=coupling)
    modes = torch.linalg.eigvalsh(potential.hessian(torch.zeros(n)))
    angle = math.pi * torch.arange(n) / n
    torch.testing.assert_close(modes, stiffness + 2.0 * coupling * (1.0 - angle.cos()))


def test_underdamped_paths_have_the_boltzmann_covariance() -> None:
    potential = pl.CoupledOscillatorPotential(2, stiffness=[1.0, 3.0], coupling=2.0)
    covariance = torch.linalg.inv(potential.matrix())
    dynamics = pl.Underdamped(potential, friction=1.5, scheme=pl.PhaseSpaceLinearization())
    start = torch.zeros(4)
    state = torch.zeros(4, 4)
    flow = torch.func.jacrev(lambda z: dynamics.transition(z, torch.tensor(0.2)).mean)(start)
    scale = dynamics.transition(start, torch.tensor(0.2)).scale
    for _ in range(400):  # the stationary covariance of the exact linear transition
        state = flow @ state @ flow.mT + scale @ scale.mT
    torch.testing.assert_close(state[:2, :2], covariance, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(state[2:, 2:], torch.eye(2), rtol=1e-6, atol=1e-8)


def test_there_is_one_well_whatever_is_learned() -> None:
    potential = pl.CoupledOscillatorPotential(3, 2)
    for name in ("stiffness", "coupling"):
        learned = getattr(potential, f"{name}_unconstrained")
        with torch.no_grad():
            learned.copy_(3.0 * torch.randn_like(learned))
    with torch.no_grad():
        softest = torch.linalg.eigvalsh(potential.matrix()).min()
        assert float(softest) >= float(potential.stiffness.min()) - 1e-9
    landscape = pl.find_landscape(potential, torch.randn(50, 3).numpy())
    assert landscape.n_states == 1
    np.testing.assert_allclose(landscape.minimum, 0.0, atol=1e-6)


def test_learned_stiffness_starts_from_the_spread_of_states() -> None:
    points = torch.randn(4000, 2) * torch.tensor([0.5, 2.0])
    potential = pl.CoupledOscillatorPotential(2)
    potential.initialise(points)
    torch.testing.assert_close(potential.stiffness, 1.0 / points.var(0))
    fixed = pl.CoupledOscillatorPotential(2, stiffness=3.0)
    fixed.initialise(points)
    assert float(fixed.stiffness) == 3.0


def test_one_oscillator_and_none_coupled() -> None:
    alone = pl.CoupledOscillatorPotential(1, 0, stiffness=2.0)
    torch.testing.assert_close(alone.energy(torch.tensor([3.0])), torch.tensor(9.0))
    apart = pl.CoupledOscillatorPotential(2, 0, stiffness=[1.0, 2.0])
    torch.testing.assert_close(apart.matrix(), torch.diag(torch.tensor([1.0, 2.0])))


def test_sampled_parameters_carry_their_batch() -> None:
    class Held(PyroModule):
        def __init__(self, prior: dist.Distribution) -> None:
            super().__init__()
            self.potential = pl.CoupledOscillatorPotential(2, stiffness=PyroSample(prior), coupling=0.5)

        def forward(self) -> torch.Tensor:
            return self.potential.read().gradient(torch.ones(3, 2))

    one, each = dist.Delta(torch.tensor(2.0)), dist.Delta(torch.tensor([2.0, 3.0]), event_dim=1)
    torch.testing.assert_close(Held(one)(), torch.full((3, 2), 2.0))
    torch.testing.assert_close(Held(each)(), torch.tensor([2.0, 3.0]).expand(3, 2))
    with pytest.raises(RuntimeError, match="stiffness are sampled"):
        Held(one).potential.matrix()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected a reach from 0 to 2 on a chain of 3, got 3"):
        pl.CoupledOscillatorPotential(3, 3)
    with pytest.raises(ValueError, match=r"positive stiffness of shape \(\) or \(3,\), got \[1.0, 2.0\]"):
        pl.CoupledOscillatorPotential(3, stiffness=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"positive coupling of shape \(\) or \(2,\), got -1.0"):
        pl.CoupledOscillatorPotential(3, coupling=-1.0)
