"""Asymptotic rates against the reference's formula values, limits, and the exact turnover."""

from __future__ import annotations

import numpy as np
import pytest

import pyro_langevin as pl
from pyro_langevin.landscape import (
    KramersRates,
    continuous_kinetics,
    find_landscape,
    inertial_kinetics,
    inertial_kramers_rates,
    kramers_rates,
)
from pyro_langevin.landscape.kramers import depopulation
from pyro_langevin.potentials.analytic import AnalyticPotential, DoubleWell, PrinzPotential


@pytest.mark.parametrize(
    ("potential", "temperature", "expected"),
    [
        (DoubleWell(), 1.0, [15.160824327329303, 15.160824327329298]),
        (DoubleWell(1.0), 1 / 3, [22.309422324945093, 22.309422324945093]),
        (DoubleWell(4.0, 0.5), 1.0, [24.761255115086893, 9.54841353668966]),
    ],
)
def test_formula_values_of_the_reference(potential: DoubleWell, temperature: float, expected: list[float]) -> None:
    landscape = find_landscape(potential, [[0.0]], temperature=temperature)
    times = kramers_rates(landscape, temperature).passage_times
    np.testing.assert_allclose([times[0, 1], times[1, 0]], expected, rtol=1e-6)
    exact = continuous_kinetics(landscape, temperature, processes=1).mfpt
    short = times[0, 1] / exact[0, 1] - 1.0
    assert -0.17 < short < -0.1  # 10 to 13 % short at 4 kT, 16 % at 3


def test_low_barriers_are_refused() -> None:
    rates = kramers_rates(find_landscape(DoubleWell(2.9), [[0.0]]), 1.0)
    assert np.isnan(rates.rate[0, 1]) and np.isnan(rates.passage_times[0, 1])
    prinz = kramers_rates(find_landscape(PrinzPotential(), [[0.0]], merge_below=0.3), 1.0)
    assert prinz.rate[0, 2] == 0.0 and np.isnan(prinz.passage_times[0, 1])
    assert (np.diagonal(prinz.passage_times) == 0).all()


def test_dimensions_across_leave_the_rate_alone() -> None:
    line = kramers_rates(find_landscape(DoubleWell(5.0), [[0.0]]), 1.0).rate[0, 1]
    potential = AnalyticPotential([[5.0, 0.0, -10.0, 0.0, 5.0], *[[0.0, 0.0, 1.0]] * 4])
    starts = np.zeros((2, 5))
    starts[:, 0] = [-1.0, 1.0]
    space = find_landscape(potential, starts)
    assert kramers_rates(space, 1.0).rate[0, 1] == pytest.approx(line, rel=1e-5)
    assert kramers_rates(space, [1.0, 9.0, 9.0, 9.0, 9.0]).rate[0, 1] == pytest.approx(line, rel=1e-5)
    assert kramers_rates(space, [3.0, 1.0, 1.0, 1.0, 1.0]).rate[0, 1] == pytest.approx(3.0 * line, rel=1e-5)
    dynamics = pl.Underdamped(potential, friction=500.0, mass=0.5).double().read()
    assert inertial_kramers_rates(dynamics, space).rate[0, 1] == pytest.approx(line / 250.0, rel=1e-3)


def test_passages_by_way_of_a_third_state() -> None:
    rate = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.5, 0.0]])
    times = KramersRates(rate).passage_times
    assert times[0, 1] == pytest.approx(0.5) and times[2, 1] == pytest.approx(2.0)
    # from 1: 1/4, then with probability 3/4 to 2, 2 back to 1, and again
    assert times[1, 0] == pytest.approx((0.25 + 0.75 * 2.0) / 0.25)
    assert np.isnan(times[0, 2])
    rate[2, 1] = np.nan
    times = KramersRates(rate).passage_times
    assert np.isnan(times[1, 0]) and np.isnan(times[2, 1]) and times[0, 1] == pytest.approx(0.5)


def test_the_depopulation_factor_has_its_limits() -> None:
    assert depopulation(50.0) == pytest.approx(1.0, abs=1e-5)
    # a well that hardly loses energy is filled in proportion to what it loses
    assert depopulation(1e-6) == pytest.approx(1e-6, rel=5e-3)
    assert 0.0 < depopulation(0.5) < depopulation(1.0) < depopulation(3.0) < 1.0


@pytest.mark.parametrize("friction", [pytest.param(0.1, marks=pytest.mark.slow), 0.5, 2.0, 10.0])
def test_the_turnover_is_spanned(friction: float) -> None:
    landscape = find_landscape(DoubleWell(), [[0.0]])
    dynamics = pl.Underdamped(DoubleWell(), friction=friction).double().read()
    exact = inertial_kinetics(dynamics, landscape, processes=1)
    formula = inertial_kramers_rates(dynamics, landscape).rate
    # relaxation at the sum of both rates
    assert 1.0 / formula.sum() == pytest.approx(exact.timescale[0], rel=0.2)
