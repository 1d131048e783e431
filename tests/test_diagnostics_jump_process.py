"""Jump processes, intervals and Kaplan-Meier against closed forms."""

import numpy as np
import pytest
from draws import jump_path
from scipy import stats

from pyro_langevin.diagnostics.intervals import fraction_interval, log_normal_interval, shortest_interval
from pyro_langevin.diagnostics.jump_process import (
    mean_first_passage,
    occupancy_sd,
    relaxation_times,
    stationary_law,
)
from pyro_langevin.diagnostics.kaplan_meier import arcsine_interval, kaplan_meier

RATES = np.array([[0.0, 0.4], [0.8, 0.0]])
CYCLE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [4.0, 0.0, 0.0]])


def test_two_states_in_closed_form():
    np.testing.assert_allclose(stationary_law(RATES), [2 / 3, 1 / 3])
    np.testing.assert_allclose(mean_first_passage(RATES), [[0.0, 2.5], [1.25, 0.0]])
    np.testing.assert_allclose(relaxation_times(RATES), [1 / 1.2])


def test_a_cycle_in_closed_form():
    # The time in each state is one over its exit rate; the way from 0 to 2 leads through 1.
    np.testing.assert_allclose(stationary_law(CYCLE), np.array([1.0, 0.5, 0.25]) / 1.75)
    passage = mean_first_passage(CYCLE)
    np.testing.assert_allclose(passage, [[0.0, 1.0, 1.5], [0.75, 0.0, 0.5], [0.25, 1.25, 0.0]])


def test_figures_of_a_batch_are_those_of_its_members():
    batch = np.stack([np.stack([RATES, 3.0 * RATES])] * 3)
    assert batch.shape == (3, 2, 2, 2)
    np.testing.assert_allclose(mean_first_passage(batch)[1, 1], mean_first_passage(RATES) / 3.0)
    np.testing.assert_allclose(relaxation_times(batch)[2, 0], relaxation_times(RATES))


def test_rates_of_very_different_size_keep_their_law():
    rates = np.array([[0.0, 1e-9, 0.0], [1e6, 0.0, 2e6], [0.0, 1e-3, 0.0]])
    weights = np.array([1.0, 1e-15, 1e-15 * 2e9])
    np.testing.assert_allclose(stationary_law(rates), weights / weights.sum(), rtol=1e-9)


@pytest.mark.parametrize("duration", [0.1, 3.0, 200.0])
def test_occupancy_sd_of_two_states_in_closed_form(duration):
    # Var = (2 pi (1 - pi) tau / T) (1 - (1 - exp(-T/tau)) tau / T): the correlation is exponential.
    tau, x = 1 / 1.2, duration * 1.2
    variance = 2 * (2 / 9) * tau / duration * (1 - (1 - np.exp(-x)) / x)
    np.testing.assert_allclose(occupancy_sd(RATES, np.array([duration])), np.sqrt(variance), rtol=1e-9)


def test_occupancy_sd_of_many_series_falls_as_their_root():
    one = occupancy_sd(CYCLE, np.array([5.0]))
    np.testing.assert_allclose(occupancy_sd(CYCLE, np.full(16, 5.0)), one / 4.0)


def test_occupancy_sd_of_a_cycle_is_that_of_simulated_records():
    random = np.random.default_rng(5)
    fractions = []
    for _ in range(1500):
        exposure, _ = jump_path(CYCLE, 4.0, random).counts(3)
        fractions.append(exposure / 4.0)
    expected = occupancy_sd(CYCLE, np.array([4.0]))
    np.testing.assert_allclose(np.std(fractions, axis=0), expected, rtol=4 / np.sqrt(2 * 1500))


def test_shortest_interval_of_a_skewed_law():
    sample = stats.expon.ppf((np.arange(20_000) + 0.5) / 20_000)
    low, high = shortest_interval(sample)
    assert low == pytest.approx(0.0, abs=1e-3)
    assert high == pytest.approx(-np.log(0.1), rel=1e-2)


def test_shortest_interval_on_the_log_scale_is_one_over_that_of_the_inverse():
    sample = np.random.default_rng(0).gamma(4.0, size=5000)
    low, high = shortest_interval(sample, log=True)
    inverse_low, inverse_high = shortest_interval(1.0 / sample, log=True)
    assert (1 / inverse_high, 1 / inverse_low) == pytest.approx((low, high), rel=0.03)


def test_shortest_interval_leaves_out_what_is_not_finite():
    assert shortest_interval([np.nan, 2.0, np.nan]) == (2.0, 2.0)
    assert np.isnan(shortest_interval([np.nan])).all()


def test_interval_of_a_fraction():
    low, high = fraction_interval(0.5, 1 / np.sqrt(12))  # the uniform law
    assert (low, high) == pytest.approx((0.05, 0.95))
    assert fraction_interval(0.5, 0.6) == (0.0, 1.0)
    assert fraction_interval(1.0, 0.0) == (1.0, 1.0)
    assert fraction_interval(0.3, 0.01) == pytest.approx((0.3 - 0.01645, 0.3 + 0.01645), abs=1e-3)


def test_log_normal_interval():
    low, high = log_normal_interval(10.0, 0.1)
    assert (float(low), float(high)) == pytest.approx((10 * np.exp(-0.16449), 10 * np.exp(0.16449)), rel=1e-4)


def test_kaplan_meier_of_a_textbook_sample():
    # Durations 1, 2+, 3, 3, 4+, 5: S(1) = 5/6, S(3) = 5/6 * 2/4, S(5) = 0.
    durations = np.array([1.0, 2.0, 3.0, 3.0, 4.0, 5.0])
    ended = np.array([True, False, True, True, False, True])
    curve, variance = kaplan_meier(durations, ended, np.array([0.0, 0.5, 1.0, 2.5, 3.0, 4.5, 5.0]))
    np.testing.assert_allclose(curve, [1, 1, 5 / 6, 5 / 6, 5 / 12, 5 / 12, 0])
    np.testing.assert_allclose(variance[2], (5 / 6) ** 2 * (1 / (6 * 5)))
    np.testing.assert_allclose(variance[4], (5 / 12) ** 2 * (1 / 30 + 2 / (4 * 2)))
    assert variance[0] == variance[-1] == 0.0


def test_kaplan_meier_agrees_with_scipy():
    random = np.random.default_rng(1)
    durations, ended = np.round(random.exponential(2.0, 60), 1) + 0.1, random.random(60) < 0.7
    sample = stats.CensoredData(uncensored=durations[ended], right=durations[~ended])
    survival = stats.ecdf(sample).sf
    at = np.linspace(0.0, durations[ended].max(), 40)
    np.testing.assert_allclose(kaplan_meier(durations, ended, at)[0], survival.evaluate(at))


def test_kaplan_meier_does_not_know_beyond_a_censored_longest_run():
    curve, _ = kaplan_meier(np.array([1.0, 4.0]), np.array([True, False]), np.array([3.9, 4.1]))
    assert curve[0] == 0.5
    assert np.isnan(curve[1])


def test_arcsine_interval_stays_inside_and_is_certain_at_the_ends():
    survival = np.array([1.0, 0.997, 0.5, 0.02, 0.0])
    low, high = arcsine_interval(survival, np.full(5, 4e-4), probability=0.9)
    assert low[0] == high[0] == 1.0
    assert low[-1] == high[-1] == 0.0
    assert low[2] == pytest.approx(0.5 - 1.645 * 0.02, abs=1e-3)
    assert high[2] == pytest.approx(0.5 + 1.645 * 0.02, abs=1e-3)
    assert 0.8 < low[1] < 0.95
    assert 0.0 <= low[3] < 0.02 < high[3] < 0.1
