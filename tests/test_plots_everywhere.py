"""Every figure works for one, two and five states, one series, one seed, and seeds that lack a state."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from draws import THREE, TWO, as_data_tree
from figures import FIVE, LONE, ONE, groups_of, rendered, without_state
from matplotlib.axes import Axes

from pyro_langevin import plots

NAMES = [name for name in plots.__all__ if name != "plot_loss"]
TABLES = {"plot_chapman_kolmogorov": lambda n: (n, n), "plot_predictive": lambda n: (1, 2)}


pytestmark = pytest.mark.usefixtures("close_figures")


def all_axes(returned):
    return [returned] if isinstance(returned, Axes) else list(np.ravel(returned))


@pytest.mark.parametrize("truth", [ONE, FIVE], ids=["one", "five"])
@pytest.mark.parametrize("name", NAMES)
def test_figures_come_back_labelled(name, truth):
    axes = all_axes(rendered(getattr(plots, name), groups_of(truth), laid_out=truth is FIVE))
    assert axes[-1].get_xlabel()
    assert axes[0].get_ylabel()
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_given_axes_are_used_and_no_figure_is_made(name):
    figure = plt.figure()
    shape = TABLES.get(name)
    given = figure.subplots(*shape(2), squeeze=False) if shape else figure.subplots()
    returned = getattr(plots, name)(as_data_tree(groups_of(TWO)), ax=given)
    assert set(all_axes(returned)) == set(all_axes(given))
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("name", NAMES)
def test_one_series_of_one_seed_and_seeds_without_a_state(name):
    plot = getattr(plots, name)
    rendered(plot, groups_of(LONE, n_chains=1))
    # The seed with the best ELBO, which planes show, may be the one without.
    groups = without_state(groups_of(THREE), chain=1, state=0)
    groups["sample_stats"]["log_p"] = groups["sample_stats"]["log_p"] + 50.0 * (groups["sample_stats"]["chain"] == 1)
    rendered(plot, groups)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_wrong_number_of_axes_is_refused(name):
    with pytest.raises(ValueError, match="expected an array of"):
        getattr(plots, name)(as_data_tree(groups_of(TWO)), ax=plt.figure().subplots(1, 3))
