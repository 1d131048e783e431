"""Expected transitions: against a sum over all paths, Fisher's identity, Jensen's bound; and the lag they are for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

import pyro_langevin as pl
from pyro_langevin import datasets
from pyro_langevin.grid_filter import Propagator, StateGrid, Transitions, expected_transitions, grid_log_evidence
from pyro_langevin.initial import MixtureInitial
from pyro_langevin.landscape import continuous_kinetics, find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import ObservationError, Observations
from pyro_langevin.potentials import MixturePotential, QuadraticPotential
from pyro_langevin.potentials.analytic import DoubleWell
from pyro_langevin.training.lag import Agreement, agreement, choose_lag, lagged_transitions, state_of_cells

GAP = 0.3


pytestmark = pytest.mark.usefixtures("double_precision", "fixed_seed")


def double_well(diffusion: float = 1.0, *, potential: pl.Potential | None = None) -> LangevinModel:
    """A double well that is seen directly, with noise .5."""
    emission, initial = pl.GaussianEmission(1, 1), MixtureInitial(1, 2)
    with torch.no_grad():
        emission.decoder.weight.fill_(1.0)
        emission.decoder.bias.zero_()
        emission.noise = torch.tensor([0.5])
        initial.centres.copy_(torch.tensor([[-1.0], [1.0]]))
    dynamics = pl.Overdamped(DoubleWell() if potential is None else potential, friction=1.0 / diffusion)
    return LangevinModel(dynamics, emission, initial=initial)


def line(size: int) -> StateGrid:
    return StateGrid.around(-2.0, 2.0, size=size, margin=0.0)


def matrix_of(model: LangevinModel, grid: StateGrid, gap: float = GAP) -> Tensor:
    return Propagator.of(model.dynamics.read(), grid).matrices(torch.tensor([gap]))[0]


def counts_by_enumeration(model: LangevinModel, data: Observations, series: int, grid: StateGrid) -> np.ndarray:
    """Posterior expectation of the passages of one series, by a sum over all paths of cells."""
    matrix, points = matrix_of(model, grid).detach().numpy(), grid.points
    first = model.initial().log_prob(points).exp().detach().numpy()
    length, size = int(data.lengths[series]), len(points)
    seen = np.ones((length, size))
    for k in range(length):
        if data.mask[series, k, 0]:
            deviation = (data.values[series, k, 0].numpy() - points[:, 0].numpy()) / 0.5
            seen[k] = np.exp(-0.5 * deviation**2)
    counts, total = np.zeros((size, size)), 0.0
    for path in itertools.product(range(size), repeat=length):
        weight = first[path[0]] * seen[0, path[0]]
        for k in range(1, length):
            weight *= matrix[path[k - 1], path[k]] * seen[k, path[k]]
        total += weight
        for pair in itertools.pairwise(path):
            counts[pair] += weight
    return counts / total


def test_counts_are_those_of_a_sum_over_all_paths() -> None:
    """Ragged series and a missing value."""
    model, grid = double_well(), line(9)
    values = [np.array([-1.1, np.nan, 0.2, 0.9]), np.array([0.8, 1.2])]
    data = Observations(values, [GAP * np.arange(len(series)) for series in values])
    found = expected_transitions(model, data, grid).counts.numpy()
    expected = sum(counts_by_enumeration(model, data, series, grid) for series in range(2))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert found.sum() == pytest.approx(4.0)


def some_data(n_series: int = 6, n_times: int = 40) -> Observations:
    return datasets.double_well(n_series=n_series, n_times=n_times, gap=GAP, noise=0.5, seed=3).observations


def test_the_gradient_of_the_bound_is_that_of_the_evidence() -> None:
    """Fisher's identity, at the model that the expectation was taken with."""
    data, grid = some_data(), line(80)
    model = double_well(potential=MixturePotential(1, 2))
    with torch.no_grad():
        model.dynamics.potential.initialise(torch.linspace(-1.5, 1.5, 50).unsqueeze(-1))
    learned = [p for p in model.dynamics.parameters() if p.requires_grad]
    bound = expected_transitions(model, data, grid).evidence_bound(matrix_of(model, grid))
    evidence = grid_log_evidence(model, data, grid).sum()
    assert float(bound.detach()) == pytest.approx(float(evidence.detach()), rel=1e-9)
    of_bound = torch.autograd.grad(bound, learned)
    of_evidence = torch.autograd.grad(evidence, learned)
    for first, second in zip(of_bound, of_evidence, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("diffusion", [0.3, 0.8, 1.3, 4.0])
def test_the_bound_is_never_above_the_evidence(diffusion: float) -> None:
    data, grid = some_data(), line(80)
    transitions = expected_transitions(double_well(), data, grid)
    other = double_well(diffusion)
    bound = float(transitions.evidence_bound(matrix_of(other, grid)).detach())
    evidence = float(grid_log_evidence(other, data, grid).sum().detach())
    assert bound < evidence


def test_irregular_times_are_refused() -> None:
    data = Observations(np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 3.0]))
    with pytest.raises(ValueError, match="expected equal gaps, got 2 different"):
        expected_transitions(double_well(), data, line(20))


# --- hops


def two_states(stay: float, n: float) -> tuple[Tensor, Tensor]:
    """Transition matrix of two equal states and the counts it makes of ``n`` passages."""
    matrix = torch.tensor([[stay, 1.0 - stay], [1.0 - stay, stay]])
    return matrix, 0.5 * n * matrix


def of_counts(counts: Tensor) -> Transitions:
    return Transitions(counts, 1.0, 0.0, torch.zeros(()), 1)


def test_hop_divergence_is_that_of_two_coins() -> None:
    matrix, counts = two_states(0.9, 1000.0)
    weight, state = torch.ones(2), torch.arange(2)
    assert float(of_counts(counts).hop_divergence(matrix, weight, state)) == pytest.approx(0.0, abs=1e-9)
    other, _ = two_states(0.8, 1.0)
    expected = 1000.0 * (0.9 * np.log(0.9 / 0.8) + 0.1 * np.log(0.1 / 0.2))
    assert float(of_counts(counts).hop_divergence(other, weight, state)) == pytest.approx(expected)


def test_hop_divergence_does_not_see_what_happens_inside_a_state() -> None:
    inner = torch.tensor(
        [[0.5, 0.45, 0.03, 0.02], [0.2, 0.7, 0.05, 0.05], [0.06, 0.04, 0.6, 0.3], [0.1, 0.0, 0.4, 0.5]]
    )
    joint = torch.tensor([0.2, 0.3, 0.1, 0.4])
    state = torch.tensor([0, 0, 1, 1])
    lumped = torch.tensor([[0.28, 0.02], [0.05, 0.15]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    same_hops = of_counts(joint.unsqueeze(-1) * inner)
    member = torch.nn.functional.one_hot(state).double()
    found = member.T @ same_hops.counts @ member
    shuffled = (found / 4.0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert float(of_counts(shuffled).hop_divergence(inner, joint, state)) == pytest.approx(0.0, abs=1e-12)
    assert float(of_counts(lumped).hop_divergence(inner, joint, state)) > 0.01


# --- the lag


def test_the_lag_is_a_third_of_the_time_in_which_states_are_forgotten() -> None:
    data = some_data(n_times=200)
    expected = datasets.DOUBLE_WELL.timescales[0] / 3.0 / GAP
    assert abs(choose_lag(double_well(), data, line(200)) - expected) <= 1.0
    assert choose_lag(double_well(), some_data(n_times=12), line(200)) == 4  # a third of the series


def test_nothing_is_counted_without_two_states_or_on_irregular_times() -> None:
    grid, data = line(200), some_data(n_times=200)
    assert choose_lag(double_well(potential=QuadraticPotential(1, torch.zeros(1))), data, grid) == 0
    jittered = data.times.numpy() + 0.1 * GAP * np.random.default_rng(0).random(200)
    assert choose_lag(double_well(), Observations(data.values, jittered), grid) == 0
    rounded = data.times.numpy() + 0.001 * GAP * np.random.default_rng(0).random(200)
    assert choose_lag(double_well(), Observations(data.values, rounded), grid) > 0


def test_states_of_cells_are_the_wells() -> None:
    grid = line(100)
    state = state_of_cells(double_well(), grid)
    assert state is not None
    assert torch.equal(state, (grid.points[:, 0] > 0).long())


def test_times_that_rounding_has_moved_are_set_equal() -> None:
    times = np.round(np.arange(50) / 15.0, 3)
    data = Observations(np.random.default_rng(0).normal(size=50), times)
    assert not data.has_equal_gaps  # .066 and .067
    even = Observations(data.values, np.round(np.arange(50) / 15.0, 4))
    assert even.has_equal_gaps
    gaps = even.with_equal_gaps().times.diff()
    torch.testing.assert_close(gaps, torch.full_like(gaps, even.typical_gap), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(even.with_equal_gaps().values, even.values)
    with pytest.raises(ObservationError, match=r"all gaps within 1% of"):
        Observations(np.arange(3.0), np.array([0.0, 1.0, 3.0])).with_equal_gaps()


def telegraph(n_series: int, n_times: int, dwell: float, seed: int) -> Tensor:
    """Jumps between -1 and 1 that take no time."""
    rng = np.random.default_rng(seed)
    flips = rng.random((n_series, n_times)) < 1.0 - np.exp(-1.0 / dwell)
    start = rng.integers(0, 2, (n_series, 1))
    return torch.from_numpy(2.0 * ((start + flips.cumsum(1)) % 2) - 1.0)


def test_a_process_that_needs_time_to_pass_hops_as_often_as_jumps_do() -> None:
    """Row by row, a slow diffusion would rather not hop; at the lag, with the hops' weight, it does as the data do."""
    dwell = 40.0
    jumps = telegraph(60, 400, dwell, seed=1)
    changes = float((jumps.diff(dim=1) != 0).sum())
    values = jumps.unsqueeze(-1) + 0.2 * torch.randn(60, 400, 1)
    data, grid = Observations(values), StateGrid.around(-2.0, 2.0, size=120, margin=0.0)
    model = double_well(0.35, potential=MixturePotential(1, 2))
    with torch.no_grad():
        model.emission.noise = torch.tensor([0.2])
        model.dynamics.potential.initialise(values[::7, ::7].reshape(-1, 1))
        model.dynamics.initialise(0.35)
    objective = pl.training.evidence.EvidenceObjective.on(grid, model, data)
    learned = list(model.dynamics.parameters())

    def mean_dwell() -> float:
        landscape = find_landscape(model.dynamics.potential, grid.points.numpy())
        assert landscape.n_states == 2
        return float(continuous_kinetics(landscape, float(model.dynamics.diffusion)).dwell.mean())

    def maximised(weighted: bool) -> float:
        lag = 13
        transitions = lagged_transitions(model, data, grid, lag)
        state = state_of_cells(model, grid) if weighted else None
        optimizer = torch.optim.Adam(learned, lr=0.02)
        for _ in range(120):
            optimizer.zero_grad()
            objective.of_transitions(model, transitions, None, state).backward()
            optimizer.step()
        return mean_dwell()

    true = 60 * 399 / changes
    maximised(weighted=False)
    unweighted = maximised(weighted=False)
    maximised(weighted=True)
    weighted = maximised(weighted=True)
    assert weighted == pytest.approx(true, rel=0.12)
    assert abs(np.log(weighted / true)) < abs(np.log(unweighted / true))


def test_rows_tell_diffusion_and_barrier_apart_better_than_a_lag() -> None:
    """A higher barrier with faster diffusion hops as often as the truth."""
    data = datasets.double_well(100, 201, noise=0.5, seed=3).observations
    data, grid, lag = Observations(data.values.double(), data.times), line(80), 25
    truth = double_well()
    passage = continuous_kinetics(find_landscape(DoubleWell(), np.array([[-1.0], [1.0]])), 1.0).mfpt[0, 1]
    higher = DoubleWell(4.8)
    slow = continuous_kinetics(find_landscape(higher, np.array([[-1.0], [1.0]])), 1.0).mfpt[0, 1]
    ridge = double_well(float(slow / passage), potential=higher)
    lagged, state = lagged_transitions(truth, data, grid, lag), state_of_cells(truth, grid)
    assert state is not None
    assert agreement(ridge, lagged, lag, grid, state) is Agreement.FULL
    assert agreement(double_well(1.7), lagged, lag, grid, state) is Agreement.PARTIAL
    assert agreement(double_well(4.0), lagged, lag, grid, state) is Agreement.NONE
    lost = []
    for every in (1, lag):
        thinned = data.thinned(every)
        with torch.no_grad():
            truly, wrongly = (grid_log_evidence(model, thinned, grid).sum() for model in (truth, ridge))
        lost.append(float(truly - wrongly))
    assert lost[0] > 2.0 * abs(lost[1])


def test_rows_take_the_place_of_lagged_transitions_in_all_but_the_hops() -> None:
    data, grid = datasets.double_well(4, 61, noise=0.5, seed=3).observations, line(60)
    data = Observations(data.values.double(), data.times)
    truth, other = double_well(), double_well(1.5)
    objective = pl.training.evidence.EvidenceObjective.on(grid, truth, data)
    lagged, rows = (lagged_transitions(truth, data, grid, every) for every in (5, 1))
    by_rows, by_lag = (
        [float(objective.of_transitions(model, lagged, between, None)) for model in (truth, other)]
        for between in (rows, None)
    )
    for transitions, (found, changed) in ((rows, by_rows), (lagged, by_lag)):
        bounds = [transitions.evidence_bound(matrix_of(model, grid, transitions.gap)) for model in (truth, other)]
        assert changed - found == pytest.approx(float(bounds[0] - bounds[1]) / rows.n_values, rel=0.02)
    state = state_of_cells(truth, grid)
    weighed = [float(objective.of_transitions(model, lagged, rows, state)) for model in (truth, other)]
    divergence = [
        float(lagged.hop_divergence(matrix_of(model, grid, lagged.gap), weight, state))
        for model in (truth, other)
        for weight in [Propagator.of(model.dynamics.read(), grid).root_weight.square()]
    ]
    expected = [10.0 * value / rows.n_values for value in divergence]
    assert np.subtract(weighed, by_rows) == pytest.approx(expected, rel=1e-6)
