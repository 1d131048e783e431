"""Data sets: what is simulated agrees with the exact answers, and the exact answers with each other."""

import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline
from standard_errors import ALLOWED_ERRORS

from pyro_langevin import datasets
from pyro_langevin.datasets.simulated_diffusion import STEP, heun_step

POTENTIALS: dict[str, tuple[datasets.ExactAnswer, Callable[[np.ndarray], np.ndarray]]] = {
    "double well": (datasets.DOUBLE_WELL, lambda x: 4 * (x**2 - 1) ** 2),
    "cold double well": (datasets.COLD_DOUBLE_WELL, lambda x: (x**2 - 1) ** 2),
    "tilted double well": (datasets.TILTED_DOUBLE_WELL, lambda x: 4 * (x**2 - 1) ** 2 + x / 2),
    "Prinz": (
        datasets.PRINZ,
        lambda x: (
            4
            * (
                x**8
                + 0.8 * np.exp(-80 * x**2)
                + 0.2 * np.exp(-80 * (x - 0.5) ** 2)
                + 0.5 * np.exp(-40 * (x + 0.5) ** 2)
            )
        ),
    ),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_exact_answers_hold_under_quadrature(name: str) -> None:
    exact, potential = POTENTIALS[name]
    x = np.linspace(-3.0, 3.0, 200_001)
    energy = exact.beta * potential(x)
    below = cumulative_simpson(np.exp(-energy), x=x, initial=0)
    bounds = np.interp([-3.0, *(saddle for (saddle,) in exact.saddles), 3.0], x, below)
    np.testing.assert_allclose(np.diff(bounds) / below[-1], exact.occupancy, atol=1e-6)
    np.testing.assert_allclose(potential(np.array(exact.minima)[:, 0]), exact.energy_minima, atol=1e-8)
    np.testing.assert_allclose(potential(np.array(exact.saddles)[:, 0]), exact.energy_saddles, atol=1e-8)
    for points in (exact.minima, exact.saddles):
        point = np.array(points)[:, 0]
        np.testing.assert_allclose((potential(point + 1e-4) - potential(point - 1e-4)) / 2e-4, 0.0, atol=1e-4)
    # Mean first passage: exp(U)/D times the weight behind the point, over the points between the minima.
    between = (x >= exact.minima[0][0] - 0.1) & (x <= exact.minima[-1][0] + 0.1)
    barrier = np.where(between, np.exp(np.where(between, energy, 0.0)), 0.0) / exact.diffusion
    upwards = cumulative_simpson(barrier * below, x=x, initial=0)
    downwards = cumulative_simpson(barrier * (below[-1] - below), x=x, initial=0)
    for (start, end), mfpt in exact.mfpt.items():
        total = upwards if end > start else downwards
        (a,), (b,) = exact.minima[start], exact.minima[end]
        assert abs(np.interp(b, x, total) - np.interp(a, x, total)) == pytest.approx(mfpt, rel=1e-5)


def test_barriers_take_the_lowest_way() -> None:
    assert datasets.DOUBLE_WELL.barrier(0, 1) == 4.0
    assert datasets.COLD_DOUBLE_WELL.barrier(1, 0) == 3.0
    well = datasets.TRIPLE_WELL
    # By way of the top well: the direct saddle is higher.
    assert well.barrier(0, 2) == pytest.approx(1.67 * (-1.646687 + 3.994861), abs=1e-5)
    assert well.barrier(1, 2) == pytest.approx(1.67 * (-1.646687 + 2.172154), abs=1e-5)
    assert datasets.MUELLER_BROWN.barrier(2, 0) == pytest.approx((108.166724 - 40.664844) / 20, abs=1e-5)
    for exact in (well, datasets.MUELLER_BROWN):
        distance = np.linalg.norm(np.array(exact.saddles)[:, None] - np.array(exact.minima), axis=-1)
        nearest = np.sort(np.argsort(distance, axis=1)[:, :2], axis=1)
        assert [tuple(pair) for pair in nearest.tolist()] == list(exact.saddle_joins)
        assert sum(exact.occupancy) == pytest.approx(1.0, abs=1e-5)


def test_simulated_chain_has_the_exact_timescale() -> None:
    """The stated bias of the integrator, from its transfer operator rather than from random numbers."""
    x = np.linspace(-2.2, 2.2, 801)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    kick = np.sqrt(2 * STEP) * nodes

    def gradient(z: np.ndarray) -> np.ndarray:
        return 16 * z * (z * z - 1)

    arrival = np.clip(heun_step(gradient, x[:, None], STEP, kick), x[0], x[-1])
    slow = np.tanh(3 * x)
    for _ in range(400):
        slow = CubicSpline(x, slow)(arrival) @ weights / weights.sum()
    before = slow
    slow = CubicSpline(x, slow)(arrival) @ weights / weights.sum()
    timescale = -STEP / np.log(slow[600] / before[600])
    assert timescale == pytest.approx(datasets.DOUBLE_WELL.timescales[0], rel=1e-3)


def test_simulated_ornstein_uhlenbeck_has_its_covariance() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(scale=np.sqrt(0.5), size=(60_000, 1))
    paths = datasets.simulate_overdamped(lambda x: 2 * x, start, n_times=2, gap=1.0, max_step=0.01, seed=rng)
    covariance = np.mean(paths[:, 0] * paths[:, 1])
    allowed = ALLOWED_ERRORS * np.sqrt((0.5**2 + (0.5 * np.exp(-2)) ** 2) / len(paths))
    assert covariance == pytest.approx(0.5 * np.exp(-2), abs=allowed)
    assert paths[:, 1].var() == pytest.approx(0.5, abs=ALLOWED_ERRORS * 0.5 * np.sqrt(2 / len(paths)))


@pytest.mark.parametrize(("tilt", "exact"), [(0.0, datasets.DOUBLE_WELL), (0.5, datasets.TILTED_DOUBLE_WELL)])
def test_double_well_starts_and_stays_in_the_boltzmann_law(tilt: float, exact: datasets.ExactAnswer) -> None:
    data = datasets.double_well(4000, 2, gap=1.0, tilt=tilt, seed=1)
    p = exact.occupancy[1]
    allowed = ALLOWED_ERRORS * np.sqrt(p * (1 - p) / 4000)
    assert data.states.mean(axis=0) == pytest.approx([p, p], abs=allowed)
    right = data.latent[..., 0] > exact.saddles[0][0]
    assert (right == data.states).all()


def test_double_well_read_out() -> None:
    data = datasets.double_well(64, 51, noise=0.3, channels=15, tilt=0.5, seed=2)
    assert data.observations.values.shape == (64, 51, 15)
    assert np.linalg.norm(data.loadings) == pytest.approx(1.0)
    residual = data.observations.values.numpy() - data.latent @ data.loadings.T
    allowed = ALLOWED_ERRORS * 0.3 / np.sqrt(2 * residual.size)
    assert residual.std() == pytest.approx(0.3, abs=allowed)
    again = datasets.double_well(64, 51, noise=0.3, channels=15, tilt=0.5, seed=2)
    assert torch.equal(data.observations.values, again.observations.values)
    assert (datasets.double_well(4, 3).loadings == 1).all()
    with pytest.raises(ValueError, match="two wells"):
        datasets.double_well(4, 3, tilt=7.0)


@pytest.mark.parametrize("weights", [None, (0.5, 0.4, 0.1)])
def test_three_states_follow_their_chain(weights: tuple[float, float, float] | None) -> None:
    data = datasets.three_states(weights=weights, seed=3)
    np.testing.assert_allclose(data.occupancy @ data.transition, data.occupancy, atol=1e-12)
    np.testing.assert_allclose(data.mean_dwell, 1 / (1 - np.diag(data.transition)))
    switch = data.occupancy @ (1 - np.diag(data.transition))
    assert switch == pytest.approx(0.03)
    counts = np.zeros((3, 3))
    np.add.at(counts, (data.states[:, :-1], data.states[:, 1:]), 1)
    visits = counts.sum(axis=1, keepdims=True)
    errors = np.sqrt(data.transition * (1 - data.transition) / visits)
    assert (np.abs(counts / visits - data.transition) < ALLOWED_ERRORS * errors).all()
    start = np.bincount(data.states[:, 0], minlength=3) / len(data.states)
    allowed = ALLOWED_ERRORS * np.sqrt(data.occupancy * (1 - data.occupancy) / len(data.states))
    assert (np.abs(start - data.occupancy) < allowed).all()
    residual = data.observations.values.numpy() - data.means[data.states]
    assert residual.std() == pytest.approx(0.5, abs=ALLOWED_ERRORS * 0.5 / np.sqrt(2 * residual.size))


def test_three_states_refuse_what_is_no_chain() -> None:
    assert (datasets.three_states(4, 5, first_state=2).states[:, 0] == 2).all()
    with pytest.raises(ValueError, match="sum 1"):
        datasets.three_states(4, 5, weights=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="jump probability"):
        datasets.three_states(4, 5, switch=0.9)


def test_recorded_data_say_where_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.delenv("PYRO_LANGEVIN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="PYRO_LANGEVIN_DATA"):
        datasets.ice_core()
    monkeypatch.setenv("PYRO_LANGEVIN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="kinsoft_sim_level1"):
        datasets.kinsoft()
    with pytest.raises(FileNotFoundError, match="lfads_lorenz.h5"):
        datasets.lorenz_spikes()
    with pytest.raises(FileNotFoundError, match="mocap35.mat"):
        datasets.walking()


needs_data = pytest.mark.skipif(
    "PYRO_LANGEVIN_DATA" not in os.environ, reason="PYRO_LANGEVIN_DATA is not set"
)


@needs_data
def test_ice_core_agrees_with_the_experts() -> None:
    core = datasets.ice_core()
    observations = core.observations
    assert observations.values.shape == (1, 4000, 1) and int((~observations.mask).sum()) == 2
    assert observations.times[0, [0, -1]].tolist() == [-59995.0, -20005.0]
    assert core.warm.mean() == pytest.approx(0.430, abs=1e-3)
    # Dust is low in warm times: the sign of the transform and the shift of the ages are right.
    value = observations.values[0, :, 0].numpy()
    assert ((value > np.median(value)) == core.warm).mean() > 0.85
    assert core.intervals[-1].tolist() == [50.0 - 22900.0, 50.0 - 14692.0]
    inside = slice(1, -1)
    dwell = np.diff(core.intervals, axis=1)[inside, 0]
    warm = core.interval_warm[inside]
    assert dwell[warm].mean() == pytest.approx(820, abs=1) and warm.sum() == 21
    assert dwell[~warm].mean() == pytest.approx(966, abs=1) and (~warm).sum() == 20


@needs_data
def test_isotopes_are_warm_where_dust_is() -> None:
    dust, isotopes = datasets.ice_core(), datasets.ice_core_isotopes()
    assert isotopes.observations.values.shape == (1, 3990, 1) and isotopes.observations.channels == ["d18O"]
    assert isotopes.observations.times[0, [0, -1]].tolist() == [-59895.0, -20005.0]
    assert (isotopes.warm == dust.warm[10:]).all()
    value = isotopes.observations.values[0, :, 0].numpy()
    assert value[0] == pytest.approx(-43.52) and value[-1] < -35
    assert np.corrcoef(value, dust.observations.values[0, 10:, 0].numpy())[0, 1] > 0.7


@needs_data
def test_kinsoft_traces() -> None:
    observations = datasets.kinsoft()
    assert observations.n_series == 75 and int(observations.lengths.sum()) == 59487
    assert observations.typical_gap == pytest.approx(0.2) and observations.time_unit == "s"
    assert observations.series_names[9] == "trace_10"


@needs_data
def test_lorenz_spikes_have_the_rates_that_come_with_them() -> None:
    train, valid = datasets.lorenz_spikes()
    assert (train.observations.n_series, valid.observations.n_series) == (640, 160)
    assert not set(train.observations.series_names) & set(valid.observations.series_names)
    for data in (train, valid):
        counts, expected = data.observations.values.double().numpy(), 0.01 * data.rates.astype(float)
        # of Poisson counts the variance is the mean
        error = (counts - expected).sum() / np.sqrt(expected.sum())
        assert abs(error) < ALLOWED_ERRORS
        same = data.rates[data.condition == data.condition[0]]
        assert len(same) > 1 and np.ptp(same, axis=0).max() == 0.0
        flat = data.states.reshape(-1, 3)
        inputs = np.column_stack([flat, np.ones(len(flat))])
        log_rates = np.log(data.rates.reshape(-1, 60))
        left = log_rates - inputs @ np.linalg.lstsq(inputs, log_rates, rcond=None)[0]
        assert np.abs(left).max() < 0.3  # all but linear in the Lorenz system


@needs_data
def test_walking_is_split_as_published() -> None:
    train, valid, test = datasets.walking()
    assert [data.shape for data in (train, valid, test)] == [(n, 300, 50) for n in (16, 3, 4)]
    held = np.square(test[:, 3:] - test[:, 2:3]).mean()
    assert held == pytest.approx(61.33, abs=0.01)  # the score of holding the last frame
    assert (np.ptp(train, axis=(0, 1)) < 1e-9).sum() == 4


def test_flashing_ratchet_is_driven_and_a_flat_one_is_not() -> None:
    for height in (0.0, 2.0):
        data = datasets.flashing_ratchet(40, 500, height=height, gap=0.2, seed=1)
        law, step = data.occupancy, data.transition
        np.testing.assert_allclose(law @ step, law, atol=1e-12)
        flux = law[:, None] * step - (law[:, None] * step).T
        # the lowest site is left by switching off, and reached again while on
        assert flux[0, 3] > 0.02 if height else np.abs(flux).max() < 1e-12
        counts = np.zeros((6, 6))
        np.add.at(counts, (data.states[:, :-1].ravel(), data.states[:, 1:].ravel()), 1.0)
        visits = counts.sum(-1, keepdims=True)
        # given the visits, jumps are independent
        assert (np.abs(counts / visits - step) < 5.0 * np.sqrt(step * (1.0 - step) / visits)).all()
        residual = data.observations.values.numpy() - data.means[data.states]
        np.testing.assert_allclose(residual.std(), data.noise, rtol=0.02)
