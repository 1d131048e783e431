"""The double well, recovered by a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_fits import MARKS

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.grid_filter import StateGrid
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import continuous_kinetics
from pyro_langevin.potentials.analytic import DoubleWell

pytestmark = MARKS


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("gap", [0.1, 0.5])
def test_the_double_well_is_recovered(gap: float) -> None:
    """256 series of 201 observations, noise .3: MFPT within 15 %, barriers within .3 kT."""
    data = datasets.double_well(gap=gap, noise=0.3, seed=7)
    model = pl.LangevinModel(pl.Overdamped(pl.NeuralPotential(1)), pl.GaussianEmission(1, 1))
    guide = pl.SteeredGuide(model, pl.RecurrentEncoder(1))
    pl.fit(model, guide, data.observations, progress=False)
    starts = guide.path(data.observations.select(range(20))).rsample().detach().reshape(-1, 1)
    landscape = pl.find_landscape(model.dynamics.potential, starts)
    assert landscape.n_states == 2
    exact = datasets.DOUBLE_WELL
    barriers = landscape.beta_barrier[[0, 1], [1, 0]]
    np.testing.assert_allclose(barriers, exact.barrier(0, 1), atol=0.3)
    kinetics = continuous_kinetics(landscape, model.dynamics.diffusion.item())
    np.testing.assert_allclose(kinetics.mfpt[[0, 1], [1, 0]], exact.mfpt[0, 1], rtol=0.15)
    np.testing.assert_allclose(kinetics.occupancy, exact.occupancy, atol=0.05)
    if gap == 0.1:
        assert model.emission.noise.item() == pytest.approx(0.3, rel=0.05)
    else:
        # every .5 a well is forgotten between observations, and noise is told from the spread inside a well by the
        # shape of their sum alone: what the data do say is that the truth explains them no better than the fit
        truth = true_double_well(model.initial)
        grid = StateGrid.around(-2.5, 2.5, size=240, margin=0.0)
        with torch.no_grad():
            fitted, true = (pl.grid_log_evidence(one, data.observations, grid).sum() for one in (model, truth))
        assert fitted > true


def true_double_well(initial: MixtureInitial) -> pl.LangevinModel:
    """What the data were drawn from, a fitted law of the first state aside."""
    emission = pl.GaussianEmission(1, 1)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
        emission.noise = torch.tensor([0.3])
    own = MixtureInitial(1, len(initial.centres))
    own.load_state_dict(initial.state_dict())
    return pl.LangevinModel(pl.Overdamped(DoubleWell(), friction=1.0), emission, initial=own)
