"""Positions and momenta on a grid: against Kalman's filter and smoother, and known passage times of a double well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor
from torch.distributions import MultivariateNormal

import pyro_langevin as pl
from pyro_langevin.grid_filter import (
    Hops,
    PhaseSpacePropagator,
    StateGrid,
    drawn_hops,
    grid_log_evidence,
    propagator_of,
    reduced_energy,
    sample_smoothed,
)
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import LandscapeError, find_landscape, inertial_kinetics
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations
from pyro_langevin.potentials import QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training.evidence import EvidenceObjective

STIFFNESS, MASS, TEMPERATURE, NOISE = 4.0, 0.7, 1.2, 0.3
SIGMAS = 4.5


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def harmonic(friction: float) -> LangevinModel:
    """A damped oscillator in equilibrium, its position seen with noise."""
    emission = pl.GaussianEmission(1, 1)
    initial = MixtureInitial(1, 1, momentum_deviation=lambda: torch.tensor([(MASS * TEMPERATURE) ** 0.5]))
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
        emission.noise = torch.tensor([NOISE])
        initial.centres.zero_()
        initial.log_widths.fill_(0.5 * np.log(TEMPERATURE / STIFFNESS))
    potential = QuadraticPotential(1, torch.zeros(1), stiffness=STIFFNESS)
    dynamics = pl.Underdamped(potential, friction=friction, mass=MASS, temperature=TEMPERATURE)
    return LangevinModel(dynamics, emission, initial=initial)


def line(cells: int = 80) -> StateGrid:
    reach = 4.5 * (TEMPERATURE / STIFFNESS) ** 0.5
    return StateGrid.around(-reach, reach, size=cells, margin=0.0)


def law_of_path(friction: float, times: np.ndarray) -> MultivariateNormal:
    """Joint law of ``(q, p)`` at all times, flattened."""
    drift = np.array([[0.0, 1.0 / MASS], [-STIFFNESS, -friction]])
    still = np.diag([TEMPERATURE / STIFFNESS, MASS * TEMPERATURE])
    blocks = [
        [expm(drift * (t - s)) @ still if t >= s else still @ expm(drift * (s - t)).T for s in times] for t in times
    ]
    covariance = torch.from_numpy(np.block(blocks))
    return MultivariateNormal(torch.zeros(len(covariance)), 0.5 * (covariance + covariance.mT))


def law_of_observations(friction: float, times: np.ndarray) -> MultivariateNormal:
    path = law_of_path(friction, times).covariance_matrix[::2, ::2]
    return MultivariateNormal(torch.zeros(len(times)), path + NOISE**2 * torch.eye(len(times)))


@pytest.mark.parametrize("friction", [0.3, 1.0, 3.0, 20.0])
def test_evidence_of_an_oscillator_is_kalmans(friction: float) -> None:
    """Steps that turn the well by a third of a radian cost a hundredth of a nat an observation, or less."""
    times = 0.25 * np.arange(30)
    law = law_of_observations(friction, times)
    values = law.sample((5,))
    data = Observations(values.unsqueeze(-1), times)
    found = grid_log_evidence(harmonic(friction), data, line()).detach()
    assert float((found - law.log_prob(values)).abs().max()) < 0.3
    # two models with the same error: what a fit compares
    other = law_of_observations(1.3 * friction, times).log_prob(values) - law.log_prob(values)
    shift = grid_log_evidence(harmonic(1.3 * friction), data, line()).detach() - found
    torch.testing.assert_close(shift, other, rtol=0.1, atol=0.1)


def test_error_of_the_evidence_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    times = 0.3 * np.arange(20)
    law = law_of_observations(2.0, times)
    values = law.sample((20,))
    data = Observations(values.unsqueeze(-1), times)
    errors = []
    for count in (2, 4):
        monkeypatch.setattr(PhaseSpacePropagator, "steps", lambda *_, count=count: count)
        found = grid_log_evidence(harmonic(2.0), data, line(120)).detach()
        errors.append(float((found - law.log_prob(values)).mean()))
    assert abs(errors[1]) < 0.05
    assert abs(errors[0]) > 3.0 * abs(errors[1])  # at least of second order


def test_missing_values_ragged_series_and_two_gaps() -> None:
    friction = 1.0
    times = np.array([0.0, 0.25, 0.5, 1.0, 1.25, 1.75])
    law = law_of_observations(friction, times)
    values = law.sample().numpy()
    holes = np.where(np.arange(6) == 2, np.nan, values)
    kept = torch.tensor([0, 1, 3, 4, 5])
    without = MultivariateNormal(torch.zeros(5), law.covariance_matrix[kept][:, kept])
    short = MultivariateNormal(torch.zeros(3), law.covariance_matrix[:3, :3])
    data = Observations([holes, values[:3]], [times, times[:3]])
    found = grid_log_evidence(harmonic(friction), data, line(120)).detach()
    seen = torch.from_numpy(values)
    expected = torch.stack([without.log_prob(seen[kept]), short.log_prob(seen[:3])])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.03)


def test_gradient_of_the_evidence_is_that_of_differences() -> None:
    times = 0.25 * np.arange(15)
    data = Observations(law_of_observations(1.0, times).sample((3,)).unsqueeze(-1), times)
    grid = line(60)

    def at(friction: Tensor, mass: Tensor) -> Tensor:
        model = harmonic(1.0)
        dynamics = pl.Underdamped(
            QuadraticPotential(1, torch.zeros(1), stiffness=STIFFNESS),
            friction=friction, mass=mass, temperature=TEMPERATURE,
        )
        return grid_log_evidence(LangevinModel(dynamics, model.emission, initial=model.initial), data, grid).sum()

    point = [torch.tensor(1.0, requires_grad=True), torch.tensor(MASS, requires_grad=True)]
    found = torch.autograd.grad(at(*point), point)
    h = 1e-3
    for i, slope in enumerate(found):
        up, down = ([x.detach() + (h * side if i == j else 0.0) for j, x in enumerate(point)] for side in (1.0, -1.0))
        # numbers of steps and momenta follow the parameters in jumps, which differences see and gradients do not
        assert float(slope) == pytest.approx(float((at(*up) - at(*down)).detach()) / (2.0 * h), rel=0.05, abs=0.05)


def test_draws_follow_the_exact_smoother() -> None:
    friction, times = 1.0, 0.25 * np.arange(10)
    path = law_of_path(friction, times)
    values = law_of_observations(friction, times).sample()
    seen = path.covariance_matrix[:, ::2]
    gain = seen @ torch.linalg.inv(law_of_observations(friction, times).covariance_matrix)
    mean, covariance = gain @ values, path.covariance_matrix - gain @ seen.mT
    grid = line(100)
    draws = sample_smoothed(harmonic(friction), Observations(values[None, :, None], times), grid, 2000)
    z = draws.z[:, 0]
    assert z.shape == (2000, 10, 2)
    spread = covariance.diagonal().sqrt().reshape(10, 2)
    off = ((z.mean(0) - mean.reshape(10, 2)) / spread).abs()
    assert float(off[:, 0].max()) < SIGMAS / 2000**0.5 + 0.03
    assert float(off[:, 1].max()) < SIGMAS / 2000**0.5 + 0.05
    torch.testing.assert_close(z.std(0) / spread, torch.ones(10, 2), rtol=0.0, atol=0.1)
    apart = z - z.mean(0)
    lag = torch.stack([(apart[:, k, 0] * apart[:, k + 1, 1]).mean() for k in (3, 5)])
    exact = torch.stack([covariance[2 * k, 2 * k + 3] for k in (3, 5)])
    torch.testing.assert_close(lag, exact, rtol=0.0, atol=0.05)


def test_many_gaps_and_more_positions_are_refused() -> None:
    irregular = Observations(np.zeros(12) + np.arange(12) % 2, np.cumsum(1.0 + 0.1 * np.arange(12)))
    with pytest.raises(ValueError, match="at most 8 different gaps between observations, got 11"):
        grid_log_evidence(harmonic(1.0), irregular, line())
    plane = pl.Underdamped(QuadraticPotential(2, stiffness=2.0), friction=1.0).read()
    with pytest.raises(ValueError, match="single position on a line of cells, got 2"):
        PhaseSpacePropagator.of(plane, line())


# --- kinetics


@pytest.mark.parametrize(
    ("friction", "timescale", "passage", "allowed"),
    [
        (0.1, 203.4, 255.0, 0.09),
        (0.5, 61.30, None, 0.02),
        (1.0, 44.86, 83.5, 0.01),
        (2.0, 42.17, None, 0.01),
        (10.0, 93.42, 193.2, 0.01),
        (50.0, 421.8, None, 0.01),
    ],
)
def test_double_well_at_every_friction(
    friction: float, timescale: float, passage: float | None, allowed: float
) -> None:
    """Slowest timescales by a second method, passage times by Monte Carlo (.4 to .7 %)."""
    potential = DoubleWell(4.0)
    landscape = find_landscape(potential, np.array([[-1.0], [1.0]]))
    kinetics = inertial_kinetics(pl.Underdamped(potential, friction=friction).read(), landscape, processes=1)
    assert kinetics.timescale[0] == pytest.approx(timescale, rel=allowed)
    if passage is not None:
        assert kinetics.mfpt[0, 1] == pytest.approx(passage, rel=allowed + 0.005)
    assert kinetics.mfpt[0, 1] == pytest.approx(kinetics.mfpt[1, 0], rel=1e-6)
    assert kinetics.mfpt[0, 0] == 0.0
    np.testing.assert_allclose(1.0 / kinetics.rate.sum(-1), kinetics.dwell)
    np.testing.assert_allclose(kinetics.occupancy, 0.5, atol=1e-6)


def test_dwells_are_those_that_a_long_chain_counts() -> None:
    potential = DoubleWell(3.0)
    landscape = find_landscape(potential, np.array([[-1.0], [1.0]]))
    dynamics = pl.Underdamped(potential, friction=1.0).read()
    dwell = inertial_kinetics(dynamics, landscape).dwell
    step, z = torch.tensor(0.02), torch.stack([torch.ones(3000), torch.randn(3000)], -1)
    visited, events, steps = np.ones(3000, dtype=int), 0, 4000
    with torch.no_grad():
        for _ in range(steps):
            z = dynamics.transition(z, step).apply(torch.randn_like(z))
            core = landscape.core(z[:, :1].numpy())
            events += int(((core >= 0) & (core != visited)).sum())
            visited = np.where(core >= 0, core, visited)
    counted = 3000 * steps * 0.02 / events
    assert dwell.mean() == pytest.approx(counted, rel=0.02 + 3.0 / events**0.5)


def test_kinetics_of_more_positions_are_refused() -> None:
    plane = pl.Underdamped(QuadraticPotential(2, stiffness=2.0), friction=1.0).read()
    landscape = find_landscape(QuadraticPotential(2, stiffness=2.0), np.zeros((1, 2)))
    with pytest.raises(LandscapeError, match="expected one position, got 2"):
        inertial_kinetics(plane, landscape)


# --- hops


def double_well(barrier: float, tilt: float = 0.0) -> LangevinModel:
    """An underdamped double well, positions seen with noise .2."""
    model = LangevinModel(pl.Underdamped(TiltedWell(barrier, tilt), friction=1.0), pl.GaussianEmission(1, 1))
    with torch.no_grad():
        model.emission.decoder.weight.fill_(1.0)
        model.emission.decoder.bias.zero_()
        model.emission.noise = torch.tensor([0.2])
        model.initial.initialise(torch.cat([torch.randn(200, 1) * 0.2 - 1.0, torch.randn(200, 1) * 0.2 + 1.0]))
    return model


class TiltedWell(pl.Potential):
    """``b (q^2 - 1)^2 + t q`` with learned barrier and tilt."""

    def __init__(self, barrier: float, tilt: float) -> None:
        super().__init__(1)
        self.barrier, self.tilt = torch.nn.Parameter(torch.tensor(barrier)), torch.nn.Parameter(torch.tensor(tilt))

    def energy(self, z: Tensor) -> Tensor:
        q = z.squeeze(-1)
        return self.barrier * (q.square() - 1.0).square() + self.tilt * q


def simulated(n_series: int, n_times: int) -> tuple[Observations, np.ndarray]:
    """Positions every .2 of a double well of 2.5 kT, and the same without noise."""
    dynamics = pl.Underdamped(DoubleWell(2.5), friction=1.0).read()
    z = torch.stack([torch.where(torch.rand(n_series) < 0.5, -1.0, 1.0), torch.randn(n_series)], -1)
    kept = []
    with torch.no_grad():
        for k in range(100 + 10 * n_times):
            z = dynamics.transition(z, torch.tensor(0.02)).apply(torch.randn(n_series, 2))
            if k >= 100 and k % 10 == 0:
                kept.append(z[:, :1])
    path = torch.stack(kept, 1)
    return Observations(path + 0.2 * torch.randn_like(path), 0.2 * np.arange(n_times)), path[..., 0].numpy()


def test_hops_that_are_drawn_are_those_of_the_data_and_move_a_wrong_potential() -> None:
    grid = StateGrid.around(-1.8, 1.8, size=48, margin=0.0)
    state, lag = (grid.points[:, 0] > 0).long(), 20
    data, path = simulated(40, 150)
    wrong = double_well(3.0, tilt=0.25)
    hops = drawn_hops(wrong, data, grid, state, lag)
    left = path < 0
    true = np.array([[(a[:, :-lag] & b[:, lag:]).sum() for b in (left, ~left)] for a in (left, ~left)]) / lag
    np.testing.assert_allclose(hops.counts, true, atol=0.03 * true.sum())

    objective = EvidenceObjective.on(grid, wrong, data)
    learned = [wrong.dynamics.potential.barrier, wrong.dynamics.potential.tilt]
    begin = hops.divergence(propagator_of(wrong, grid), reduced_energy(wrong, grid)).item()
    optimizer = torch.optim.Adam(learned, lr=0.03)
    for _ in range(40):
        optimizer.zero_grad()
        objective.of_hops(wrong, hops).backward()
        optimizer.step()
    end = hops.divergence(propagator_of(wrong, grid), reduced_energy(wrong, grid)).item()
    assert begin > 1.0 and end < 0.3 * begin
    assert abs(learned[1].item()) < 0.2 and learned[0].item() < 3.0  # on the way to 0 and 2.5
    assert wrong.dynamics.friction.item() == 1.0


def test_hops_of_the_process_itself_diverge_by_nothing() -> None:
    grid = StateGrid.around(-1.8, 1.8, size=48, margin=0.0)
    model, state = double_well(2.5), (grid.points[:, 0] > 0).long()
    propagator, energy = propagator_of(model, grid), reduced_energy(model, grid).detach()
    law = torch.stack([propagator.start(torch.softmax(-energy, 0) * own) for own in (state == 0, state == 1)])
    for _ in range(10):
        law = propagator.passage(0.2)(law)
    reached = law.detach().unflatten(-1, (48, -1)).sum(-1)
    counts = 100.0 * torch.stack([reached[:, state == 0].sum(-1), reached[:, state == 1].sum(-1)], -1)
    assert Hops(counts, 10, 0.2, state, energy).divergence(propagator, energy).item() == pytest.approx(0.0, abs=1e-9)
    assert Hops(counts, 11, 0.2, state, energy).divergence(propagator, energy).item() > 1e-3
    fair = torch.tensor([[25.0, 25.0], [25.0, 25.0]])
    assert Hops(fair, 10, 0.2, state, energy).divergence(propagator, energy).item() > 1.0
