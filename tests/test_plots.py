"""Figures: what is drawn is what the diagnostics say, on the axes that were given."""

import matplotlib
import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, Truth, as_data_tree, as_inference_data, make_groups

from pyro_langevin.diagnostics import dwell_survival, dwell_times, occupancy
from pyro_langevin.plots import plot_data, plot_dwell_survival, plot_landscape, plot_loss, plot_occupancy

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ONE = Truth(np.zeros((1, 1)), np.zeros((1, 1)))
PLOTS = [plot_data, plot_dwell_survival, plot_landscape, plot_loss, plot_occupancy]


pytestmark = pytest.mark.usefixtures("close_figures")


def drawn(plot, groups, **keywords):
    """Axes after the figure has been rendered, which is when matplotlib finds most faults."""
    ax = plot(as_inference_data(groups), **keywords)
    ax.figure.canvas.draw()
    return ax


@pytest.mark.parametrize("truth", [ONE, TWO, THREE], ids=["one", "two", "three"])
@pytest.mark.parametrize("plot", PLOTS)
def test_labelled_axes_come_back_and_no_other_figure(plot, truth):
    groups = make_groups(truth, n_draws=5)
    ax = drawn(plot, groups)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert len(plt.get_fignums()) == 1
    _, given = plt.subplots()
    assert plot(as_data_tree(groups), ax=given) is given
    assert len(plt.get_fignums()) == 2


def test_times_carry_the_unit_of_the_data():
    groups = make_groups(TWO)
    assert drawn(plot_data, groups).get_xlabel() == "time (s)"
    assert drawn(plot_dwell_survival, groups).get_xlabel() == "duration of a visit (s)"
    groups["kinetics"].attrs["time_unit"] = ""
    assert drawn(plot_data, groups).get_xlabel() == "time"


def test_points_of_a_state_lie_near_its_location():
    groups = make_groups(THREE)
    ax = drawn(plot_data, groups, series=2, channel=0)
    shown = {c.get_label(): c.get_offsets() for c in ax.collections if c.get_label() in "ABC"}
    assert len(shown) >= 2
    for label, points in shown.items():
        centre = THREE.location["ABC".index(label), 0]
        assert abs(np.mean(points[:, 1]) - centre) < 0.2
    assert sum(len(points) for points in shown.values()) == THREE.n_times
    assert "series s2" in ax.get_title(loc="left")


def test_line_over_the_data_is_the_posterior_mean_of_the_location():
    groups = make_groups(TWO)
    line = drawn(plot_data, groups, series=19).lines[0]
    length = int(groups["constant_data"]["length"].values[19])
    p_state = groups["occupancy"]["p_state"].values[:, 19, :length].mean(0)
    np.testing.assert_allclose(line.get_ydata(), p_state @ np.array([-1.0, 1.0]))


def test_every_state_has_its_place_even_where_the_series_never_goes():
    groups = make_groups(Truth(TWO.rates / 4, TWO.location))
    state = groups["occupancy"]["p_state"].values.argmax(-1)
    quiet = [s for s in range(19) if (state[:, s] == 0).all()]
    assert quiet
    low, high = drawn(plot_data, groups, series=quiet[0]).get_ylim()
    assert low < -1.0 < 1.0 < high


def test_missing_values_do_not_hide_the_rest():
    groups = make_groups(TWO)
    y = groups["observed_data"]["y"].values
    y[0, 50:100] = np.nan
    ax = drawn(plot_data, groups)
    assert np.isfinite(ax.get_ylim()).all()


def test_default_channel_tells_the_states_apart():
    groups = make_groups(THREE)
    groups["states"]["location"] = groups["states"]["location"] * np.array([0.01, 1.0])
    assert drawn(plot_data, groups).get_ylabel() == "y1"


def test_landscape_marks_the_minima_and_writes_the_barriers():
    groups = make_groups(TWO)
    heights = np.full((3, 2, 2), np.nan)
    heights[:, 0, 1], heights[:, 1, 0] = 4.25, 3.0
    groups["states"]["beta_barrier"] = groups["states"]["beta_barrier"].copy(data=heights)
    ax = drawn(plot_landscape, groups)
    marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "s")]
    np.testing.assert_allclose(marks, [-1.0, 1.0])
    texts = " ".join(text.get_text() for text in ax.texts)
    assert "A→B 4.2" in texts
    assert "B→A 3.0" in texts
    assert "kT" in ax.get_ylabel()
    assert ax.get_xlabel() == "y0"


@pytest.mark.parametrize("width", [2.5, 4.0, 12.0])
def test_barriers_of_close_wells_are_not_written_over_one_another(width):
    equal = 0.1 * (1.0 - np.eye(3))  # barriers of one height, whose labels would stand side by side
    line = Truth(equal, np.array([[-0.6], [0.0], [0.6]]), n_series=3)
    figure, ax = plt.subplots(figsize=(width, 3.0), layout="constrained")
    plot_landscape(as_inference_data(make_groups(line)), ax=ax)
    figure.canvas.draw()
    first, second = (text.get_window_extent() for text in ax.texts if "kT" in text.get_text())
    assert not first.overlaps(second)
    assert max(first.y1, second.y1) <= ax.get_window_extent().y1


def test_seeds_of_other_gauge_fall_on_one_another():
    groups = make_groups(TWO)
    expected = drawn(plot_landscape, groups).lines[1].get_ydata()
    # The second seed looks at the same states through a latent axis turned round and stretched.
    states, landscape = groups["states"], groups["landscape"]
    gauge = np.array([1.0, -3.0, 1.0])
    states["minimum"] = states["minimum"] * gauge[:, None, None]
    landscape["grid"] = landscape["grid"] * gauge[:, None]
    again = drawn(plot_landscape, groups)
    np.testing.assert_allclose(again.lines[1].get_ydata(), expected, atol=1e-6)
    assert again.get_xlabel() == "y0"


def test_one_well_is_drawn_over_the_latent_coordinate():
    assert drawn(plot_landscape, make_groups(ONE)).get_xlabel() == "latent coordinate"


def test_plane_shows_the_best_seed_and_all_its_states():
    groups = make_groups(THREE)
    stats = groups["sample_stats"]
    stats["log_p"] = stats["log_p"] + 50.0 * (stats["chain"] == 1)
    states = groups["states"]
    states["minimum"] = states["minimum"] + 0.25 * (states["chain"] == 1)
    ax = drawn(plot_landscape, groups)
    places = {text.get_text(): text.get_position() for text in ax.texts}
    for state, label in enumerate("ABC"):
        np.testing.assert_allclose(places[label], THREE.location[state] + 0.25)


def test_plane_without_paths_has_contours_only():
    groups = make_groups(THREE)
    groups["states"] = groups["states"].drop_vars(["saddle", "path", "path_beta_energy"])
    shown = sum(len(line.get_xdata()) for line in drawn(plot_landscape, groups).lines)
    assert 500 < shown <= 1500
    groups["posterior"] = groups["posterior"].drop_vars("z")
    assert sum(len(line.get_xdata()) for line in drawn(plot_landscape, groups).lines) == 0


def test_more_dimensions_are_refused_in_words():
    groups = make_groups(TWO)
    del groups["landscape"]
    with pytest.raises(ValueError, match="one or two latent dimensions"):
        plot_landscape(as_inference_data(groups))
    groups["landscape"] = xr.Dataset()
    with pytest.raises(ValueError, match="one or two latent dimensions"):
        plot_landscape(as_data_tree(groups))


def test_occupancy_marks_are_the_estimates():
    groups = make_groups(TWO)
    ax = drawn(plot_occupancy, groups)
    table = occupancy(as_inference_data(groups))
    for marker, estimator in (("o", "path"), ("s", "long_run"), ("D", "stationary")):
        marks = [x for line in ax.lines if line.get_marker() == marker for x in line.get_xdata()]
        np.testing.assert_allclose(marks, table["mean"].sel(estimator=estimator))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["A", "B"]
    low, high = ax.get_ylim()
    assert low > high  # A on top


def test_survival_steps_are_the_estimates():
    groups = make_groups(TWO)
    ax = drawn(plot_dwell_survival, groups)
    survival = dwell_survival(as_inference_data(groups))["survival"].values
    steps = [line for line in ax.lines if line.get_label().startswith(("A", "B"))]
    for line, curve in zip(steps, survival, strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.where(curve > 0, curve, np.nan))
    mean = float(dwell_times(as_inference_data(groups))["mean"][0])
    assert f"mean dwell {mean:.3g}" in steps[0].get_label()
    assert ax.get_yscale() == "log"


def test_loss_has_a_line_for_each_seed():
    groups = make_groups(TWO)
    loss = groups["sample_stats"]["loss"]
    loss.values[2, 100:] = np.nan  # this seed stopped early
    loss.values[0, 150] = 1e9
    ax = drawn(plot_loss, groups)
    smooth = {line.get_label(): line for line in ax.lines if line.get_label().startswith("seed")}
    assert list(smooth) == ["seed 10", "seed 11", "seed 12"]
    assert len(smooth["seed 12"].get_xdata()) == 100
    assert np.median(smooth["seed 11"].get_ydata()[100:]) == pytest.approx(60.0, abs=1.0)
    low, high = ax.get_ylim()
    assert 50 < low < 60 < high < 120
    assert ax.get_ylabel() == "negative ELBO per series (nats)"
    loss.attrs["long_name"] = "loss per observation"
    assert drawn(plot_loss, groups).get_ylabel() == "loss per observation"
