"""Stationary occupancy by its several estimators."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_langevin.landscape import Landscape, StationaryOccupancy, find_landscape, stationary_occupancy
from pyro_langevin.landscape.annealing import annealed_occupancy, annealed_samples
from pyro_langevin.potentials.analytic import AnalyticPotential, DoubleWell, PrinzPotential, TripleWell

EXACT = 0.7181035227827537  # left occupancy of 4(x^2-1)^2 + x/2, reference
QUARTIC = 2.0 * np.array([0.0, 0.0, 1.0, 0.0, 0.5])  # across: 2 y^2 + y^4, narrower than harmonic


def lifted(dim: int) -> Landscape:
    """The tilted double well along one axis of ``dim``."""
    potential = AnalyticPotential([[4.0, 0.5, -8.0, 0.0, 4.0], *[QUARTIC.tolist()] * (dim - 1)])
    starts = np.zeros((2, dim))
    starts[:, 0] = [-1.0, 1.0]
    return find_landscape(potential, starts)


@pytest.fixture(scope="module")
def four() -> Landscape:
    return lifted(4)


def test_laplace_has_the_weights_of_the_reference() -> None:
    prinz = stationary_occupancy(find_landscape(PrinzPotential(), [[0.0]], merge_below=0.3))
    reference = [0.14037342678404846, 0.20094701443178184, 0.4258897725173215, 0.23278978626684815]
    np.testing.assert_allclose(prinz.value[:, 2], reference, rtol=1e-6)
    assert prinz.disagreement[2] == pytest.approx(0.0883, abs=1e-4)  # known: up to .09 off
    starts = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    triple = stationary_occupancy(find_landscape(TripleWell(), starts, temperature=1 / 1.67, merge_below=0.5))
    np.testing.assert_allclose(triple.value[:, 2], [0.479375411, 0.041249177, 0.479375411], rtol=1e-6)


@pytest.mark.parametrize("potential", [PrinzPotential(), DoubleWell(4.0, 0.5)])
def test_on_a_line_quadrature_and_samples_agree(potential: PrinzPotential | DoubleWell) -> None:
    landscape = find_landscape(potential, [[0.0]], merge_below=0.3)
    found = stationary_occupancy(landscape, samples=300_000)  # so many that a wrong weight shows
    assert found.estimator == ("integral", "sampled", "laplace")
    np.testing.assert_allclose(found.value.sum(0), 1.0)
    assert (found.error[:, 0] == 0).all() and (found.error[:, 1] > 0).all() and np.isnan(found.error[:, 2]).all()
    assert found.z[0] == 0.0 and found.z[1] < 4.0 and np.isnan(found.z[2])
    assert found.occupancy.tolist() == found.value[:, 0].tolist() and (found.standard_error == 0).all()
    assert found.disagreement[1] < 0.01 and np.isinf(found.effective_samples[0])


def test_above_three_dimensions_both_samplers_find_the_occupancy(four: Landscape) -> None:
    found = stationary_occupancy(four)
    assert found.estimator == ("tempered", "importance", "laplace")
    assert (np.abs(found.value[0, :2] - EXACT) < 4.0 * found.error[0, :2]).all()
    assert 0.0005 < found.error[0, 0] < 0.006 and found.effective_samples[0] > found.effective_samples[1]
    again = stationary_occupancy(four)
    assert (again.value == found.value).all()


def test_annealed_samples_have_the_boltzmann_moments(four: Landscape) -> None:
    drawn = annealed_samples(four, 30_000, np.random.default_rng(0))
    axis = np.linspace(-3.0, 3.0, 4001)
    weight = np.exp(-(2.0 * axis**2 + axis**4))
    exact = float((weight * axis**2).sum() / weight.sum())
    moment = (drawn.points[..., 1:] ** 2).mean((1, 2))  # one of each replica
    error = moment.std(ddof=1) / np.sqrt(len(moment))
    assert abs(moment.mean() - exact) < 4.0 * error and error < 0.01 * exact
    assert drawn.weight.sum() == pytest.approx(1.0)


def test_disagreement_is_told_in_standard_errors() -> None:
    value = np.array([[0.6, 0.5, 0.7], [0.4, 0.5, 0.3]])
    error = np.array([[0.03, 0.04, np.nan], [0.03, 0.04, np.nan]])
    found = StationaryOccupancy(("one", "two", "three"), value, error, np.array([1.0, 1.0, np.nan]))
    np.testing.assert_allclose(found.disagreement, [0.0, 0.1, 0.1])
    np.testing.assert_allclose(found.z, [0.0, 2.0, np.nan])


@pytest.mark.slow
@pytest.mark.parametrize("dim", [4, 8])
def test_annealing_is_unbiased_and_its_error_is_right(dim: int) -> None:
    landscape = lifted(dim)
    drawn = [annealed_occupancy(landscape, 4000, np.random.default_rng(seed)) for seed in range(40)]
    value, error = np.array([one.value[0] for one in drawn]), np.array([one.error[0] for one in drawn])
    assert abs(value.mean() - EXACT) < 3.5 * value.std(ddof=1) / np.sqrt(40)
    # the spread of 40 values is known to 11 %
    assert np.sqrt((error**2).mean()) == pytest.approx(value.std(ddof=1), rel=0.45)
