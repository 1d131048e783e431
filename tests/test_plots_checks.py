"""Predictive check, guide quality and phase portrait: what is drawn is what the draws hold."""

import numpy as np
import pytest
from draws import TWO, as_inference_data
from figures import groups_of, rendered, texts

from pyro_langevin.diagnostics.effective_samples import effective_samples
from pyro_langevin.diagnostics.guide_quality import k_hat
from pyro_langevin.plots import plot_guide_quality, plot_phase_portrait, plot_predictive

pytestmark = pytest.mark.usefixtures("close_figures")


def data_line(ax):
    return next(line for line in ax.lines if line.get_label() == "data")


def band(ax):
    """Lower and upper edge of the draws' band, at the line's places."""
    vertices = ax.collections[0].get_paths()[0].vertices
    at = data_line(ax).get_xdata()
    return (
        [vertices[np.isclose(vertices[:, 0], x), 1].min() for x in at],
        [vertices[np.isclose(vertices[:, 0], x), 1].max() for x in at],
    )


def test_histogram_and_autocorrelation_of_the_data():
    groups = groups_of(TWO)
    left, right = rendered(plot_predictive, groups)
    y = groups["observed_data"]["y"].values[..., 0]
    line = data_line(left)
    width = np.diff(line.get_xdata())[0]
    assert line.get_ydata().sum() * width == pytest.approx(1.0, abs=0.002)
    inside = np.abs(y - line.get_xdata()[12]) < width / 2
    assert line.get_ydata()[12] == pytest.approx(inside.sum() / np.isfinite(y).sum() / width)
    centred = y - np.nanmean(y)
    expected = np.nanmean(centred[:, 7:] * centred[:, :-7]) / np.nanmean(centred**2)
    assert data_line(right).get_ydata()[0] == pytest.approx(1.0)
    assert data_line(right).get_ydata()[7] == pytest.approx(expected)


def test_draws_of_the_same_law_surround_the_data_and_others_do_not():
    groups = groups_of(TWO)
    for wrong, least, most in ((False, 0.6, 1.0), (True, 0.0, 0.5)):
        if wrong:
            groups["posterior_predictive"]["y"] = 1.6 * groups["posterior_predictive"]["y"]
        left, _ = rendered(plot_predictive, groups)
        low, high = band(left)
        y = data_line(left).get_ydata()
        seen = y > 0.02
        assert least <= np.mean((y >= np.array(low) - 0.02) & (y <= np.array(high) + 0.02), where=seen) <= most


def test_draws_count_only_where_the_data_were_seen():
    groups = groups_of(TWO)
    outside = np.isnan(groups["observed_data"]["y"].values)
    assert outside.any()
    before = data_line(rendered(plot_predictive, groups)[0]).get_xdata()
    groups["posterior_predictive"]["y"].values[:, :, outside] = 1e6
    after = data_line(rendered(plot_predictive, groups)[0]).get_xdata()
    np.testing.assert_array_equal(after, before)


def test_without_predictive_draws_says_what_to_do():
    groups = groups_of(TWO)
    groups["prior_predictive"] = groups.pop("posterior_predictive")
    with pytest.raises(ValueError, match="pyro_langevin.add_posterior_predictive"):
        plot_predictive(as_inference_data(groups))
    assert len(rendered(plot_predictive, groups, prior=True)) == 2


def test_series_stand_at_their_k_hat_and_effective_draws():
    groups = groups_of(TWO, n_draws=40)
    ratio = groups["sample_stats"]["log_p"]
    ratio.values[1, :, 7] += 12.0 * np.random.default_rng(1).standard_normal(40)
    ax = rendered(plot_guide_quality, groups)
    idata = as_inference_data(groups)
    shape, effective = k_hat(idata).values, effective_samples(idata)
    marks = {line.get_label(): line.get_xydata() for line in ax.lines}
    for chain, seed in enumerate((10, 11, 12)):
        paths = effective["paths"].values[chain]
        np.testing.assert_allclose(marks[f"seed {seed}"], np.column_stack([paths, np.maximum(shape[chain], -0.5)]))
    pooled = np.column_stack([effective["pooled"].values[:, 0], effective["k_hat_pooled"].values[:, 0]])
    np.testing.assert_allclose(marks["occupancy of A"], np.maximum(pooled, -0.5))
    assert "s7" in texts(ax)
    assert ax.get_ylim()[1] > shape[1, 7] > 0.7


def test_exact_draws_have_nothing_to_correct():
    groups = groups_of(TWO, n_draws=40)
    groups["sample_stats"]["log_p"] = groups["sample_stats"]["log_q"] + 3.0
    idata = as_inference_data(groups)
    idata.attrs["drawn_from"] = "exact posterior"
    ax = plot_guide_quality(idata)
    assert "nothing to correct" in texts(ax)
    points = np.concatenate([line.get_xydata() for line in ax.lines if line.get_label().startswith("seed")])
    np.testing.assert_allclose(points, np.tile([40.0, -0.5], (len(points), 1)))
    assert not any(line.get_label().startswith("occupancy") for line in ax.lines)


def test_few_draws_say_so():
    assert "25 draws" in texts(rendered(plot_guide_quality, groups_of(TWO)))


def test_portrait_shows_positions_and_momenta_of_the_best_seed():
    groups = groups_of(TWO)
    groups["sample_stats"]["log_p"] = groups["sample_stats"]["log_p"] + 50.0 * (groups["sample_stats"]["chain"] == 1)
    groups["posterior"]["momentum"] = groups["posterior"]["momentum"] + 10.0 * (groups["posterior"]["chain"] != 1)
    ax = rendered(plot_phase_portrait, groups)
    state = groups["state_path"]["state"].values[1]
    q, p = (groups["posterior"][name].values[1, ..., 0] for name in ("z", "momentum"))
    for index, label in enumerate("AB"):
        points = next(line.get_xydata() for line in ax.lines if line.get_label() == label)
        mine = np.column_stack([q[state == index], p[state == index]])
        picked = mine[np.linspace(0, len(mine) - 1, min(4000, len(mine))).astype(int)]
        np.testing.assert_allclose(points, picked)
    assert ax.get_ylim()[1] < 10.0
    assert ("A" in texts(ax)) and ("B" in texts(ax))


def test_overdamped_draws_have_no_portrait():
    groups = groups_of(TWO)
    groups["posterior"] = groups["posterior"].drop_vars("momentum")
    with pytest.raises(ValueError, match="Underdamped"):
        plot_phase_portrait(as_inference_data(groups))
