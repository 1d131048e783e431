"""The objective without a guide: gaps that are all alike, two dimensions, and what holds a potential in place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from finite_differences import assert_gradient_of_finite_differences
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence

from pyro_langevin.datasets import DOUBLE_WELL, double_well
from pyro_langevin.dynamics import Overdamped
from pyro_langevin.emissions import GaussianEmission
from pyro_langevin.grid_filter import Propagator, StateGrid, grid_log_evidence
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import last_visited
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import MixturePotential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training.evidence import EvidenceObjective

pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def plane(half: float, size: int) -> StateGrid:
    return StateGrid.covering(torch.cartesian_prod(*[torch.linspace(-half, half, 80)] * 2), size=size)


def wells(dim: int, places: list[float], width: float) -> MixturePotential:
    """Wells of a width in a row along the first coordinate."""
    potential = MixturePotential(dim, len(places))
    with torch.no_grad():
        potential.centres.zero_()
        potential.centres[:, 0] = torch.tensor(places)
        potential.log_sharpness.fill_(-float(np.log(width)))
    return potential


def model_of(potential: MixturePotential, channels: int = 3) -> LangevinModel:
    return LangevinModel(Overdamped(potential), GaussianEmission(potential.dim, channels))


def some_data(channels: int = 3) -> Observations:
    return Observations(torch.randn(5, 7, channels), 0.5 * torch.arange(7.0))


@pytest.mark.parametrize("dim", [1, 2])
def test_evidence_over_equal_gaps_is_kalmans(dim: int) -> None:
    stiffness = torch.tensor([[1.4, 0.5], [0.5, 1.0]])[:dim, :dim]
    covariance = 0.4 * torch.eye(dim)
    process = OrnsteinUhlenbeck(stiffness, torch.zeros(dim), 0.8, 1.2, torch.zeros(dim), covariance)
    emission, initial = GaussianEmission(dim, dim), MixtureInitial(dim, 1)
    with torch.no_grad():
        emission.decoder.weight.copy_(torch.eye(dim))
        emission.decoder.bias.zero_()
        emission.noise = torch.full((dim,), 0.6)
        initial.centres.zero_()
        initial.log_widths.fill_(0.5 * torch.tensor(0.4).log())
    potential = QuadraticPotential(dim, torch.zeros(dim), stiffness=stiffness)
    dynamics = Overdamped(potential, friction=torch.tensor(0.8), temperature=torch.tensor(1.2))
    model = LangevinModel(dynamics, emission, initial=initial)
    times, values = 0.3 * torch.arange(10.0), torch.randn(10, dim)
    exact = kalman_log_evidence(
        process,
        LinearEmission(torch.eye(dim), torch.zeros(dim), torch.full((dim,), 0.6)),
        times,
        values,
        torch.ones(10, dim, dtype=torch.bool),
    )
    sizes = (100, 200) if dim == 1 else (400, 1600)
    grids = [StateGrid.around(-4, 4, size=n, margin=0.0) if dim == 1 else plane(4.0, n) for n in sizes]
    found = [grid_log_evidence(model, Observations(values[None], times), grid).item() for grid in grids]
    errors = [abs(value - float(exact)) for value in found]
    assert errors[1] < 0.01 * abs(float(exact)) and 3.0 < errors[0] / errors[1] < 5.0, errors  # second order


@pytest.mark.parametrize("dim", [1, 2])
def test_gradient_over_equal_gaps_is_that_of_finite_differences(dim: int) -> None:
    model, data = model_of(wells(dim, [-1.0, 0.0, 1.1], 0.5)), some_data()
    grid = StateGrid.around(-3, 3, size=60, margin=0.0) if dim == 1 else plane(2.0, 90)
    assert_gradient_of_finite_differences(
        lambda: grid_log_evidence(model, data, grid).sum(), list(model.parameters()), step=1e-4
    )


def test_matrices_and_modes_move_probability_alike() -> None:
    propagator = Propagator.of(Overdamped(wells(2, [-1.0, 1.0], 0.5), friction=1.0).read(), plane(2.0, 150))
    start = torch.rand(3, len(propagator.root_weight))
    gaps = torch.tensor([0.05, 0.7, 20.0])
    by_matrix = torch.stack([row @ matrix for row, matrix in zip(start, propagator.matrices(gaps), strict=True)])
    torch.testing.assert_close(by_matrix, propagator.advance(start, gaps), rtol=1e-8, atol=1e-10)


def test_wells_as_narrow_as_a_cell_keep_their_occupancy_and_rate() -> None:
    """Cell weights are integrals, passages those of faces: the double well on cells wider than a well's deviation."""
    grid = StateGrid.around(-1.9, 1.9, size=18, margin=0.0)
    propagator = Propagator.of(Overdamped(DoubleWell(), friction=1.0).read(), grid)
    slowest = -1.0 / float(propagator.spectrum[0][-2])
    assert slowest == pytest.approx(DOUBLE_WELL.timescales[0], rel=0.06)


def test_a_grid_covers_a_cloud_and_its_apron_surrounds_it() -> None:
    cloud = torch.randn(4000, 2) * torch.tensor([2.0, 0.5])
    grid = StateGrid.covering(cloud, size=300)
    assert 270 < len(grid.points) < 330
    assert float(torch.cdist(cloud, grid.points).amin(1).quantile(0.99)) < grid.spacing
    neighbours = (grid.points[grid.first] - grid.points[grid.second]).norm(dim=-1)
    torch.testing.assert_close(neighbours, torch.full_like(neighbours, grid.spacing))
    apron = grid.apron(1.0)
    distance = torch.cdist(apron, grid.points).amin(1)
    assert float(distance.min()) == pytest.approx(grid.spacing) and float(distance.max()) < 1.0
    assert len(torch.cat([apron, grid.points]).mul(1e6).round().unique(dim=0)) == len(apron) + len(grid.points)


@pytest.mark.parametrize("beyond", [0.1, 0.8])
def test_a_well_outside_the_grid_costs_and_is_pushed_back(beyond: float) -> None:
    grid, data = StateGrid.around(-2, 2, size=80, margin=0.0), some_data()
    shares, costs = [], []
    for place in (0.5, 2.0 + beyond):
        model = model_of(wells(1, [-0.5, place], 0.3))
        objective = replace(EvidenceObjective.on(grid, model, data), n_values=10**6)
        shares.append(objective._outside(model).item())
        cost = objective._held(model)
        (slope,) = torch.autograd.grad(cost, model.dynamics.potential.centres)
        costs.append(cost.item())
    assert shares[0] < 1e-5 and shares[1] > 0.3
    assert costs[1] - costs[0] > 0.1  # nats per observed value, however many there are of them
    assert float(slope[1]) > 0.0  # downhill is towards the grid


def test_only_wells_narrower_than_a_cell_and_relaxations_beyond_the_sampling_cost() -> None:
    grid, data = plane(2.0, 400), some_data()

    def excess(width: float, diffusion: float) -> tuple[float, float]:
        model = model_of(wells(2, [-1.0, 1.0], width))
        model.dynamics.initialise(diffusion)
        _, narrow, fast = EvidenceObjective.on(grid, model, data)._roughness(model)
        return narrow.item(), fast.item()

    assert excess(0.6, 0.1) == (0.0, 0.0)
    narrow, fast = excess(0.1, 0.1)
    assert narrow > 0.1 and fast == 0.0
    assert excess(0.6, 100.0)[1] > 0.1


def test_the_latent_unit_is_held_and_nothing_else_of_the_decoder() -> None:
    model, data = model_of(wells(2, [-1.0, 1.0], 0.6)), some_data()
    held = EvidenceObjective.on(plane(2.5, 200), model, data)
    with torch.no_grad():
        before = held.metric.clone()
        model.emission.decoder.bias.add_(3.0)
        torch.testing.assert_close(EvidenceObjective.on(held.grid, model, data).metric, before)
        model.emission.decoder.weight.mul_(2.0)
        torch.testing.assert_close(EvidenceObjective.on(held.grid, model, data).metric, 4.0 * before)


def test_the_diffusion_starts_at_that_of_the_data() -> None:
    data = double_well(64, 60, gap=0.1, noise=0.1, seed=3)
    model = LangevinModel(Overdamped(MixturePotential(1)), GaussianEmission(1, 1))
    model.dynamics.potential.initialise(torch.from_numpy(data.latent).reshape(-1, 1))
    with torch.no_grad():
        model.emission.decoder.weight.fill_(1.0)
        model.emission.decoder.bias.zero_()
        model.emission.noise = torch.tensor([0.1])
    held = EvidenceObjective.on(StateGrid.around(-2.5, 2.5, size=100, margin=0.0), model, data.observations)
    held.start_diffusion(model, data.observations.to(dtype=torch.float64))
    assert float(model.dynamics.diffusion.detach()) * 0.1 == pytest.approx(0.1)  # the nearest of those tried to .1


def test_the_core_visited_last() -> None:
    labels = np.array([[-1, 0, -1, -1, 1, -1], [2, -1, -1, 0, 0, -1]])
    np.testing.assert_array_equal(last_visited(labels), [[-1, 0, 0, 0, 1, 1], [2, 2, 2, 0, 0, 0]])
