"""Kinetics of discretised chains, and counting of core-to-core transitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pyro_langevin.dynamics import EulerMaruyama, LocalLinearization, Overdamped
from pyro_langevin.dynamics.transition import Transition
from pyro_langevin.landscape import (
    LandscapeError,
    chain_kinetics,
    continuous_kinetics,
    count_transitions,
    find_landscape,
)
from pyro_langevin.potentials.analytic import DoubleWell, TripleWell
from pyro_langevin.potentials.base import Potential
from pyro_langevin.potentials.quadratic import QuadraticPotential


class Euler:
    """Euler-Maruyama transitions at friction 1, written out here as an independent check."""

    def __init__(self, potential: Potential, temperature: float = 1.0) -> None:
        self.potential, self.temperature = potential.double(), temperature

    def __call__(self, z: Tensor, step: Tensor) -> Transition:
        deviation = (2.0 * self.temperature * step).sqrt().expand_as(z)
        return Transition(z - step * self.potential.gradient(z), torch.diag_embed(deviation))


def test_the_autoregression_is_exact() -> None:
    # z' = (1 - k h) z + sqrt(2 h) noise: eigenvalues are the powers of 1 - k h
    landscape = find_landscape(QuadraticPotential(1, stiffness=2.0), [[0.0]])
    for step in (0.2, 0.05, 0.001):
        chain = chain_kinetics(Euler(QuadraticPotential(1, stiffness=2.0)), landscape, step, processes=3)
        expected = -step / (np.arange(1, 4) * np.log(1.0 - 2.0 * step))
        np.testing.assert_allclose(chain.timescale, expected, rtol=1e-5)
        assert chain.occupancy.tolist() == pytest.approx([1.0])
        assert chain.dwell.tolist() == [np.inf]
        assert chain.escape_rate < 1e-6


@pytest.mark.parametrize(
    ("step", "expected"), [(0.0025, -0.012), (0.005, -0.026), (0.01, -0.065), (0.02, -0.21)]
)
def test_euler_on_the_double_well_has_the_bias_known_from_simulation(step: float, expected: float) -> None:
    # biases of the slowest timescale measured on simulated trajectories of the double well of 4 kT
    landscape = find_landscape(DoubleWell(), [[0.0]])
    chain = chain_kinetics(Euler(DoubleWell()), landscape, step)
    assert chain.timescale[0] / 8.39501054904277 - 1.0 == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("scheme", [EulerMaruyama(), LocalLinearization()])
def test_the_chain_converges_to_the_continuous_process(scheme: EulerMaruyama | LocalLinearization) -> None:
    potential = DoubleWell(4.0, 0.5)
    landscape = find_landscape(potential, [[0.0]])
    exact = continuous_kinetics(landscape, 1.0, processes=3)
    dynamics = Overdamped(potential, friction=1.0, scheme=scheme).double()
    errors = []
    for step in (0.008, 0.002, 0.0005):
        chain = chain_kinetics(dynamics.transition, landscape, step, processes=3)
        errors.append(abs(chain.timescale[0] / exact.timescale[0] - 1.0))
        assert chain.escape_rate < 1e-6
    # the weak order of Euler is one, that of the local linearization two
    order = np.log(errors[0] / errors[2]) / np.log(16.0)
    assert order > {EulerMaruyama: 0.9, LocalLinearization: 1.3}[type(scheme)]
    np.testing.assert_allclose(chain.occupancy, exact.occupancy, rtol=1e-3)
    np.testing.assert_allclose(chain.timescale, exact.timescale, rtol=3e-3)
    # a chain is seen at its steps only, which costs passages the square root of the step
    np.testing.assert_allclose(chain.dwell, exact.dwell, rtol=1e-2)
    np.testing.assert_allclose(chain.mfpt, exact.mfpt, rtol=1e-2)


def test_quadrature_agrees_with_a_simulated_chain() -> None:
    potential, step = DoubleWell(3.0, 0.3), 0.02
    landscape = find_landscape(potential, [[0.0]])
    transition = Euler(potential)
    chain = chain_kinetics(transition, landscape, step)
    torch.manual_seed(0)
    chains, steps = 400, 2500
    position = torch.from_numpy(landscape.minimum[np.arange(chains) % 2])
    path = np.empty((chains, steps + 1, 1))
    path[:, 0] = position.numpy()
    with torch.no_grad():
        for k in range(steps):
            position = transition(position, torch.tensor(step)).apply(torch.randn_like(position))
            path[:, k + 1] = position.numpy()
    counts = count_transitions(landscape.core(path), step, n_states=2)
    events = counts.events.sum(-1)
    measured = counts.exposure / events
    assert events.min() > 500
    assert (np.abs(measured / chain.dwell - 1.0) < 4.0 / np.sqrt(events)).all()


def test_a_step_too_long_shows_as_escapes() -> None:
    landscape = find_landscape(DoubleWell(), [[0.0]])
    assert chain_kinetics(Euler(DoubleWell()), landscape, 0.1).escape_rate > 0.1
    assert chain_kinetics(Euler(DoubleWell()), landscape, 0.01).escape_rate < 1e-5


def test_two_dimensions_by_simulation() -> None:
    starts = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    landscape = find_landscape(TripleWell(), starts, temperature=1 / 1.67, merge_below=0.5)
    exact = continuous_kinetics(landscape, 1 / 1.67, processes=2)
    chain = chain_kinetics(Euler(TripleWell(), 1 / 1.67), landscape, 0.02, evaluations=1_500_000)
    # Euler's own bias at this step is some per cent
    assert (np.abs(chain.dwell - exact.dwell) < 4.0 * chain.dwell_error + 0.06 * exact.dwell).all()
    assert (np.abs(chain.occupancy - exact.occupancy) < 4.0 * chain.occupancy_error + 0.005).all()
    off = ~np.eye(3, dtype=bool)
    assert (np.abs(chain.rate - exact.rate)[off] < (4.0 * chain.rate_error + 0.06 * exact.rate)[off]).all()
    assert chain.timescale[0] == pytest.approx(exact.timescale[0], rel=0.2)
    np.testing.assert_allclose(chain.mfpt[off], exact.mfpt[off], rtol=0.25)
    assert chain.events.sum() > 500 and chain.escape_rate == 0.0
    again = chain_kinetics(Euler(TripleWell(), 1 / 1.67), landscape, 0.02, evaluations=1_500_000)
    assert (again.rate == chain.rate).all()


def test_a_state_never_left_has_no_occupancy() -> None:
    potential = QuadraticPotential(2)
    landscape = find_landscape(potential, [[0.0, 0.0]])
    one = chain_kinetics(Euler(potential), landscape, 0.1, evaluations=100_000)
    assert one.occupancy.tolist() == [1.0] and one.dwell.tolist() == [np.inf]
    starts = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    frozen = find_landscape(TripleWell(), starts, temperature=0.02)
    chain = chain_kinetics(Euler(TripleWell(), 0.02), frozen, 0.01, evaluations=100_000)
    assert np.isnan(chain.occupancy).all() and np.isinf(chain.dwell).all() and np.isinf(chain.mfpt[0, 1])


def test_bad_steps_are_refused() -> None:
    landscape = find_landscape(DoubleWell(), [[0.0]])
    with pytest.raises(LandscapeError, match="must be positive"):
        chain_kinetics(Euler(DoubleWell()), landscape, 0.0)
    with pytest.raises(LandscapeError, match="use continuous_kinetics"):
        chain_kinetics(Euler(DoubleWell()), landscape, 1e-12)


def test_counting_by_hand() -> None:
    labels = [[-1, 0, -1, 0, -1, 1, 1, -1, 0], [1, -1, -1, 2, -1, -1, -1, -1, -1]]
    durations = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]
    counts = count_transitions(labels, durations, n_states=3)
    # first path: nothing before the first core; 0 for 2+3+4+5, then 1 for 6+7+8; second: 1 for 3, 2 for 1
    assert counts.exposure.tolist() == [14.0, 24.0, 1.0]
    assert counts.events.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    apart = count_transitions(labels, durations, n_states=3, keep=1)
    assert apart.exposure.tolist() == [[14.0, 21.0, 0.0], [0.0, 3.0, 1.0]]
    assert apart.events.sum(0).tolist() == counts.events.tolist()
    recrossing = count_transitions([0, -1, 0, -1, 0, -1], 1.0, n_states=2)
    assert recrossing.events.sum() == 0.0 and recrossing.exposure.tolist() == [5.0, 0.0]


def test_counting_is_unbiased_on_windows_shorter_than_a_dwell() -> None:
    # a two-state jump process of mean dwells 20 and 10 steps, seen through windows of 8 steps
    generator = np.random.default_rng(0)
    paths, length = 20_000, 8
    state = (generator.random(paths) > 2 / 3).astype(int)
    labels = np.empty((paths, length + 1), dtype=int)
    labels[:, 0] = state
    for k in range(length):
        leaves = generator.random(paths) < np.array([1 / 20, 1 / 10])[state]
        state = np.where(leaves, 1 - state, state)
        labels[:, k + 1] = state
    counts = count_transitions(labels, 1.0, n_states=2)
    events = counts.events.sum(-1)
    assert (np.abs(counts.exposure / events / [20.0, 10.0] - 1.0) < 4.0 / np.sqrt(events)).all()


def test_counting_refuses_labels_out_of_range() -> None:
    with pytest.raises(LandscapeError, match="n_states"):
        count_transitions([0, 1, 2], 1.0, n_states=2)
    with pytest.raises(LandscapeError, match="keep"):
        count_transitions([0, 1, 1], 1.0, n_states=2, keep=1)
    assert count_transitions(np.zeros((3, 1), dtype=int), 1.0, n_states=2).exposure.tolist() == [0.0, 0.0]


def test_noise_of_very_different_sizes_is_refused_rather_than_made_a_dense_matrix() -> None:
    def uneven(z: Tensor, step: Tensor) -> Transition:
        deviation = torch.where(z.abs() < 0.1, 0.002, 1.0) * step.sqrt()
        return Transition(0.9 * z, torch.diag_embed(deviation))

    landscape = find_landscape(DoubleWell(), [[0.0]])
    with pytest.raises(LandscapeError, match="between 0.002 and 1, and a matrix .* use a shorter step"):
        chain_kinetics(uneven, landscape, 1.0)
