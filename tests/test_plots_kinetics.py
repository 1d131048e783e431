"""Networks, passages, timescales and the Chapman-Kolmogorov test: what is drawn is what the diagnostics say."""

import numpy as np
import pytest
from draws import THREE, TWO, as_inference_data
from figures import FIVE, groups_of, rendered, texts
from matplotlib.patches import Circle, FancyArrowPatch

from pyro_langevin.diagnostics import chapman_kolmogorov, implied_timescales, mfpt, occupancy, path_rates
from pyro_langevin.plots import plot_chapman_kolmogorov, plot_mfpt, plot_rate_network, plot_timescales

pytestmark = pytest.mark.usefixtures("close_figures")


def arrows(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_network_has_areas_by_occupancy_and_numbers_by_rate():
    groups = groups_of(TWO)
    ax = rendered(plot_rate_network, groups)
    idata = as_inference_data(groups)
    share = occupancy(idata)["mean"].sel(estimator="path").values
    radii = np.array([patch.radius for patch in ax.patches if isinstance(patch, Circle)])
    np.testing.assert_allclose(radii**2 / radii[0] ** 2, share / share[0])
    assert f"A\n{100 * share[0]:.0f} %" in texts(ax)
    rates = path_rates(idata).median("sample").values
    assert f"{rates[0, 1]:.2g}\n(" in texts(ax)
    assert f"{rates[1, 0]:.2g}\n(" in texts(ax)
    widths = [arrow.get_linewidth() - 0.8 for arrow in arrows(ax)]
    assert widths[0] / widths[1] == pytest.approx(rates[0, 1] / rates[1, 0])
    assert ax.get_xlabel() == "transitions per s (90 % interval)"


def test_transitions_that_are_not_seen_have_no_arrow():
    groups = groups_of(FIVE)
    events = groups["kinetics"]["events"].values
    events[..., :, :] = 3.0 * (1 - np.eye(5))
    assert len(arrows(rendered(plot_rate_network, groups))) == 20
    events[..., 0, 3], events[0, 0, 0, 3] = 0.0, 3.0  # seen in one draw of eighteen
    assert len(arrows(rendered(plot_rate_network, groups))) == 19


def test_passages_are_written_where_they_belong():
    groups = groups_of(THREE)
    ax = rendered(plot_mfpt, groups)
    table = mfpt(as_inference_data(groups)).transpose("estimator", "state_from", "state_to")
    np.testing.assert_allclose(ax.images[0].get_array().filled(np.nan), table["mean"].sel(estimator="prior"))
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert len(cells) == 6
    for (column, row), said in cells.items():
        cell = table.isel(state_from=row, state_to=column)
        for line, name in zip(said.split("\n"), ("prior", "paths"), strict=True):
            mean, low, high = (float(cell[figure].sel(estimator=name)) for figure in ("mean", "hdi_low", "hdi_high"))
            assert line == f"{mean:.3g} ({low:.3g} to {high:.3g})"


def test_unknown_passages_say_so():
    groups = groups_of(TWO)
    groups["kinetics"]["mfpt"] = groups["kinetics"]["mfpt"] * np.nan
    ax = rendered(plot_mfpt, groups)
    assert all(text.get_text().startswith("unknown\n") for text in ax.texts)
    paths = mfpt(as_inference_data(groups))["mean"].sel(estimator="paths").values
    np.testing.assert_allclose(ax.images[0].get_array().filled(np.nan), paths)


def test_timescales_by_lag():
    groups = groups_of(THREE)
    ax = rendered(plot_timescales, groups)
    table = implied_timescales(as_inference_data(groups)).transpose("lag", "process")
    marks = [line for line in ax.lines if line.get_marker() in "os" and len(line.get_xdata())]
    for process, line in enumerate(marks):
        np.testing.assert_allclose(line.get_ydata(), table["paths"].values[:, process])
        np.testing.assert_allclose(line.get_xdata(), table["lag"], rtol=0.04)
    broken = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    np.testing.assert_allclose([line.get_ydata() for line in broken], table["prior"].values.T)
    level = [line.get_ydata()[0] for line in ax.lines if len(line.get_ydata()) == 2]
    np.testing.assert_allclose(level, table["continuous"])
    assert ax.get_ylabel() == "timescale (s)"


def test_panels_of_the_chapman_kolmogorov_test():
    groups = groups_of(TWO)
    panels = rendered(plot_chapman_kolmogorov, groups)
    table = chapman_kolmogorov(as_inference_data(groups)).transpose("lag", "state_from", "state_to")
    assert panels.shape == (2, 2)
    for i in range(2):
        for j in range(2):
            learned, counted = panels[i, j].lines
            np.testing.assert_allclose(learned.get_ydata(), table["prior"].values[:, i, j])
            np.testing.assert_allclose(counted.get_ydata(), table["paths"].values[:, i, j])
            assert texts(panels[i, j]) == "AB"[i] + "→" + "AB"[j]
    assert f"p = {float(table['p_value']):.2g}" in panels[0, 0].get_title(loc="left")
    # Without the learned dynamics' probabilities the paths' remain.
    groups["kinetics"] = groups["kinetics"].drop_vars("transition_prior")
    panels = rendered(plot_chapman_kolmogorov, groups)
    assert "p unknown" in panels[0, 0].get_title(loc="left")
    assert np.isfinite(panels[0, 1].lines[1].get_ydata()).all()
