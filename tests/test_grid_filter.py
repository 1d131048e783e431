"""Evidence by filtering on a grid, against the Kalman filter, quadrature and finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
from finite_differences import assert_gradient_of_finite_differences
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from torch import Tensor

from pyro_langevin.datasets import DOUBLE_WELL
from pyro_langevin.dynamics import Overdamped
from pyro_langevin.emissions import GaussianEmission
from pyro_langevin.grid_filter import Propagator, StateGrid, grid_log_evidence
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import MixturePotential, Potential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell

LENGTHS, CHANNELS = (9, 4, 6), 2


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def ragged() -> Observations:
    """Three series of different lengths on irregular times, a third of the values missing, one row wholly."""
    values = [torch.randn(n, CHANNELS) for n in LENGTHS]
    masks = [torch.rand(n, CHANNELS) < 0.7 for n in LENGTHS]
    for mask in masks:
        mask[0, 0] = True
        mask[1] = False
    times = [(0.05 + torch.rand(n)).cumsum(0) for n in LENGTHS]
    return Observations(values, times, mask=masks)


class Narrow(MixtureInitial):
    """One Gaussian of given place and width."""

    @torch.no_grad()
    def __init__(self, loc: float, scale: float) -> None:
        super().__init__(1, 1)
        self.centres.fill_(loc)
        self.log_widths.fill_(torch.tensor(scale).log())


PROCESS = {
    "stiffness": [[1.4]],
    "centre": [0.3],
    "initial_mean": [-0.2],
    "initial_covariance": [[0.36]],
}


def linear_problem() -> tuple[LangevinModel, OrnsteinUhlenbeck, LinearEmission]:
    parts = {name: torch.tensor(value) for name, value in PROCESS.items()}
    process = OrnsteinUhlenbeck(**parts, friction=0.8, temperature=1.2)
    emission = GaussianEmission(1, CHANNELS)
    emission.noise = torch.tensor([0.5, 0.8])
    assert isinstance(emission.decoder, torch.nn.Linear)
    exact = LinearEmission(emission.decoder.weight.detach(), emission.decoder.bias.detach(), torch.tensor([0.5, 0.8]))
    potential = QuadraticPotential(1, process.centre, stiffness=process.stiffness)
    dynamics = Overdamped(potential, friction=torch.tensor(0.8), temperature=torch.tensor(1.2))
    return LangevinModel(dynamics, emission, initial=Narrow(-0.2, 0.6)), process, exact


def kalman(process: OrnsteinUhlenbeck, emission: LinearEmission, data: Observations) -> Tensor:
    return torch.stack(
        [
            kalman_log_evidence(process, emission, data.times[i, :n], data.values[i, :n], data.mask[i, :n])
            for i, n in enumerate(data.lengths.tolist())
        ]
    )


def test_evidence_of_a_linear_model_is_kalmans() -> None:
    model, process, emission = linear_problem()
    data = ragged()
    found = grid_log_evidence(model, data, StateGrid.around(-5.0, 5.0, size=400, margin=0.0))
    torch.testing.assert_close(found, kalman(process, emission, data), rtol=1e-4, atol=0)


def test_it_is_second_order_in_the_spacing() -> None:
    model, process, emission = linear_problem()
    data = ragged()
    exact = kalman(process, emission, data)
    with torch.no_grad():
        grids = [StateGrid.around(-5.0, 5.0, size=size, margin=0.0) for size in (61, 121, 241)]
        errors = [(grid_log_evidence(model, data, grid) - exact).abs().sum().item() for grid in grids]
    ratios = [coarse / fine for coarse, fine in zip(errors[:-1], errors[1:], strict=True)]
    assert all(3.6 < ratio < 4.4 for ratio in ratios), ratios


def test_a_masked_row_equals_a_row_that_is_not_there() -> None:
    model, _, _ = linear_problem()
    times, values = (0.05 + torch.rand(6)).cumsum(0), torch.randn(6, CHANNELS)
    masked = values.clone()
    masked[[2, 3]] = float("nan")
    kept = torch.tensor([0, 1, 4, 5])
    grid = StateGrid.around(-4.0, 4.0, size=150)
    hidden = grid_log_evidence(model, Observations(masked[None], times), grid)
    deleted = grid_log_evidence(model, Observations(values[None, kept], times[kept]), grid)
    torch.testing.assert_close(hidden, deleted, rtol=1e-9, atol=1e-9)


def test_a_series_in_a_padded_batch_equals_the_series_alone() -> None:
    model, _, _ = linear_problem()
    data, grid = ragged(), StateGrid.around(-4.0, 4.0, size=150)
    together = grid_log_evidence(model, data, grid)
    for i, n in enumerate(LENGTHS):
        alone = Observations(data.values[i, None, :n], data.times[i, :n], mask=data.mask[i, None, :n])
        torch.testing.assert_close(grid_log_evidence(model, alone, grid), together[i, None])


def double_well_model(height: float) -> LangevinModel:
    """Learned in every part: a mixture potential near a double well."""
    line = torch.linspace(-2.5, 2.5, 400)[:, None]
    weight = (-DoubleWell(height).energy(line)).exp()
    potential = MixturePotential(1, 8)
    potential.initialise(line[torch.multinomial(weight, 4000, replacement=True)])
    emission = GaussianEmission(1, CHANNELS)
    model = LangevinModel(Overdamped(potential), emission)
    with torch.no_grad():
        model.initial.centres.copy_(torch.tensor([[-1.0], [1.0], [0.0], [0.5]]))
    return model


@pytest.mark.parametrize("height", [2.0, 12.0])
def test_gradient_is_that_of_finite_differences(height: float) -> None:
    model, data = double_well_model(height), ragged()
    grid = StateGrid.around(-2.5, 2.5, size=100)
    step = 3e-4  # ten times less and rounding shows (exp(energy / 2) of it), ten times more and curvature
    assert_gradient_of_finite_differences(
        lambda: grid_log_evidence(model, data, grid).sum(), list(model.parameters()), step=step
    )


@pytest.mark.parametrize("height", [8.0, 30.0, 200.0])
def test_gradients_stay_finite_where_eigenvalues_all_but_coincide(height: float) -> None:
    potential = DoubleWell(height)
    model = LangevinModel(Overdamped(potential), GaussianEmission(1, CHANNELS))
    total = grid_log_evidence(model, ragged(), StateGrid.around(-2.0, 2.1, size=120)).sum()
    slopes = torch.autograd.grad(total, list(model.parameters()), materialize_grads=True)
    assert bool(total.isfinite()) and all(bool(slope.isfinite().all()) for slope in slopes)


def test_only_energy_over_temperature_matters() -> None:
    """Also far up: 12 temperatures, which are 240 units of energy here."""
    data, grid = ragged(), StateGrid.around(-2.4, 2.5, size=150)
    cold, hot = (Overdamped(DoubleWell(12.0 * t), friction=t, temperature=torch.tensor(t)) for t in (1.0, 20.0))
    emission = GaussianEmission(1, CHANNELS)
    first, second = (
        grid_log_evidence(LangevinModel(d, emission, initial=Narrow(0.0, 1.0)), data, grid) for d in (cold, hot)
    )
    torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-7)


def test_single_precision_models_agree() -> None:
    model, data = double_well_model(2.0), ragged()
    grid = StateGrid.around(-2.5, 2.5, size=100)
    exact = grid_log_evidence(model, data, grid).detach()
    single = grid_log_evidence(model.float(), data.to(dtype=torch.float32), grid)
    torch.testing.assert_close(single.detach(), exact, rtol=1e-4, atol=1e-3)


def test_outliers_far_off_the_grid_leave_the_evidence_finite() -> None:
    model, _, _ = linear_problem()
    values = torch.randn(1, 6, CHANNELS)
    values[0, 3] = 1e3
    found = grid_log_evidence(model, Observations(values), StateGrid.around(-3.0, 3.0))
    assert bool(found.isfinite()) and found.item() < -1e5
    slopes = torch.autograd.grad(found.sum(), list(model.parameters()), materialize_grads=True)
    assert all(bool(slope.isfinite().all()) for slope in slopes)


@pytest.mark.parametrize("build", [DoubleWell, lambda: QuadraticPotential(1, stiffness=2.0)])
def test_the_propagator_is_a_markov_semigroup_with_the_boltzmann_law(build: Callable[[], Potential]) -> None:
    grid = StateGrid.around(-2.5, 2.5, size=201, margin=0.0)
    propagator = Propagator.of(Overdamped(build(), friction=1.0).read(), grid)
    law = propagator.root_weight.square() / propagator.root_weight.square().sum()
    start = torch.rand(3, 201)
    start = start / start.sum(-1, keepdim=True)
    gaps = torch.tensor([0.01, 0.5, 3.0])
    moved = propagator.advance(start, gaps)
    torch.testing.assert_close(moved.sum(-1), torch.ones(3))
    twice = propagator.advance(propagator.advance(start, gaps), 2.0 * gaps)
    torch.testing.assert_close(twice, propagator.advance(start, 3.0 * gaps), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(propagator.advance(law.expand(3, -1), gaps), law.expand(3, -1), rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(
        propagator.advance(start, torch.full((3,), 1e4)), law.expand(3, -1), rtol=1e-6, atol=1e-9
    )


def test_the_propagator_knows_the_double_wells_timescales() -> None:
    for size, tolerance in ((200, 5e-3), (400, 1.2e-3)):
        grid = StateGrid.around(-2.2, 2.2, size=size, margin=0.0)
        propagator = Propagator.of(Overdamped(DoubleWell(), friction=1.0).read(), grid)
        found = (-1.0 / propagator.spectrum[0][-4:-1]).flip(0)
        torch.testing.assert_close(found, torch.tensor(DOUBLE_WELL.timescales), rtol=tolerance, atol=0)


def test_grid_around_an_interval() -> None:
    grid = StateGrid.around(-1.0, 3.0, size=101, margin=0.25)
    assert grid.points[0].item() == pytest.approx(-2.0) and grid.points[-1].item() == pytest.approx(4.0)
    assert grid.spacing == pytest.approx(0.06) and grid.points.dtype == torch.float64


def test_a_grid_of_another_dimension_is_refused() -> None:
    model = LangevinModel(Overdamped(QuadraticPotential(2)), GaussianEmission(2, CHANNELS))
    with pytest.raises(ValueError, match="the grid has dimension 1, the state 2"):
        grid_log_evidence(model, ragged(), StateGrid.around(-1.0, 1.0))


def test_first_state_without_dynamics_is_a_plain_integral() -> None:
    """One long gap apart, the observations are independent draws: of the first law, then of Boltzmann's."""
    model, process, _ = linear_problem()
    data = Observations(torch.randn(1, 2, CHANNELS), torch.tensor([0.0, 1e3]))
    x = torch.linspace(-7, 7, 4001)
    seen = model.emission.log_likelihood(x[:, None, None], data.values[0], data.mask[0]).exp()
    first = dist.Normal(-0.2, 0.6).log_prob(x).exp()
    law = dist.Normal(0.3, (process.temperature / 1.4) ** 0.5).log_prob(x).exp()
    expected = torch.trapezoid(seen[:, 0] * first, x).log() + torch.trapezoid(seen[:, 1] * law, x).log()
    found = grid_log_evidence(model, data, StateGrid.around(-5.0, 5.0, size=400, margin=0.0))
    torch.testing.assert_close(found.squeeze(0), expected, rtol=1e-4, atol=1e-4)
