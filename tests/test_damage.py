"""Damaged models and data, through the whole of `posterior`: each raises the warning written for it, the truth none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_made_fits import diffused, known_fit

import pyro_langevin as pl
from pyro_langevin import datasets, diagnostics
from pyro_langevin.potentials import MixturePotential, Potential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell

NOISE = 0.3
REPLICAS = 40
FALSE_ALARMS = 0.1  # share of clean fits with any warning that is let pass


def warnings_of(
    potential: Potential, observations: pl.Observations, *, noise: float = NOISE, diffusion: float = 1.0
) -> list[str]:
    torch.manual_seed(0)
    fit = known_fit(potential, observations, noise=noise, diffusion=diffusion)
    return diagnostics.all_warnings(pl.posterior(fit, observations, draws=20))


def clean(seed: int) -> pl.Observations:
    """Records of the 4 kT double well, begun in equilibrium."""
    return datasets.double_well(64, 101, gap=0.2, noise=NOISE, seed=seed).observations


def drifting(seed: int) -> pl.Observations:
    """A double well that leans to the left at first and to the right at last, by 1.2 kT each."""
    halves = [
        diffused(
            lambda x, lean=lean: 16.0 * x * (x * x - 1.0) + lean,
            n_series=32, n_times=200, gap=0.2, noise=NOISE, seed=seed + number, start=start,
        )
        for number, (lean, start) in enumerate(((0.6, -1.0), (-0.6, 1.0)))
    ]
    values = torch.cat([half.values for half in halves], 1)
    return pl.Observations(values, 0.2 * np.arange(400))


def ratchet_potential(data: datasets.SimulatedJumps) -> MixturePotential:
    """Wells where the ratchet's states are, as deep as they are occupied."""
    potential = MixturePotential(2, len(data.means))
    with torch.no_grad():
        potential.centres.copy_(torch.as_tensor(data.means))
        potential.logits.copy_(torch.as_tensor(np.log(data.occupancy)))
        potential.log_sharpness.fill_(-float(np.log(0.22)))
        potential.skew.zero_()
    return potential


def test_the_truth_raises_no_warning() -> None:
    assert warnings_of(DoubleWell(4.0), clean(0)) == []


@pytest.mark.parametrize(("height", "how"), [(2.5, "more often"), (5.5, "less often")])
def test_a_wrong_barrier(height: float, how: str) -> None:
    found = warnings_of(DoubleWell(height), clean(0))
    assert any(f"The learned potential hops {how} than the posterior paths" in text for text in found)


def test_a_record_that_drifts() -> None:
    found = warnings_of(DoubleWell(4.0), drifting(3))
    assert any("The record is not stationary" in text for text in found)


def warnings_of_ratchet(height: float) -> list[str]:
    data = datasets.flashing_ratchet(16, 301, height=height, gap=0.2, noise=0.2, seed=2)
    return warnings_of(ratchet_potential(data), data.observations, noise=0.2)


def test_data_from_a_flashing_ratchet() -> None:
    assert any("Detailed balance is broken" in text for text in warnings_of_ratchet(2.0))


@pytest.mark.slow
def test_a_ratchet_without_teeth_is_in_balance() -> None:
    assert not any("backwards" in text or "Detailed balance" in text for text in warnings_of_ratchet(0.0))


def test_a_record_of_one_state() -> None:
    def still(x: np.ndarray) -> np.ndarray:
        return 4.0 * x

    data = diffused(still, n_series=20, n_times=100, gap=0.2, noise=NOISE, seed=1, start=0.0)
    found = warnings_of(QuadraticPotential(1, torch.zeros(1), stiffness=4.0), data)
    assert len(found) == 1 and "one well only" in found[0]


def test_a_record_with_one_transition() -> None:
    """Two stretches in two wells, joined: the first passes over once."""
    left, right = (
        diffused(
            lambda x: 32.0 * x * (x * x - 1.0), n_series=1, n_times=60, gap=0.1, noise=NOISE, seed=seed, start=start
        ).values
        for seed, start in ((1, -1.0), (2, 1.0))
    )
    data = pl.Observations(torch.cat([left, right], 1), 0.1 * np.arange(120))
    found = warnings_of(DoubleWell(8.0), data)
    assert any("Few transitions were seen" in text for text in found)


@pytest.mark.slow
def test_clean_data_raise_few_false_alarms() -> None:
    found = [warnings_of(DoubleWell(4.0), clean(seed)) for seed in range(REPLICAS)]
    rate = float(np.mean([len(texts) > 0 for texts in found]))
    print(*[text for texts in found for text in texts], f"false alarms: {rate:.3f} of {REPLICAS} fits", sep="\n")
    assert rate <= FALSE_ALARMS
