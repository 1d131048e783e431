"""States over time, occupancy and its uncertainty: what is drawn is what the diagnostics say."""

import numpy as np
import pytest
from draws import THREE, TWO, as_inference_data
from figures import groups_of, rendered, texts
from matplotlib.colors import to_rgb

from pyro_langevin.diagnostics import occupancy_variance, state_probability
from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.plots import plot_occupancy, plot_occupancy_variance, plot_state_probability, plot_state_raster
from pyro_langevin.plots.palette import PARTS, seed_look, state_look

pytestmark = pytest.mark.usefixtures("close_figures")


def area(vertices):
    x, y = vertices.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def test_stacked_areas_are_the_probabilities():
    groups = groups_of(THREE)
    ax = rendered(plot_state_probability, groups, series=29)
    end = int(groups["constant_data"]["length"].values[29])
    times = groups["constant_data"]["time"].values[29, :end]
    probability = state_probability(as_inference_data(groups)).values[29, :end]
    weights = np.gradient(times)
    weights[[0, -1]] /= 2
    for state, patch in enumerate(ax.collections):
        drawn = sum(area(path.vertices) for path in patch.get_paths())
        assert drawn == pytest.approx(float(weights @ probability[:, state]), abs=1e-9)
    assert ax.get_xlim() == (times[0], times[-1])
    assert ax.get_title(loc="left") == "series s29"


def test_label_stands_in_the_longest_stay():
    groups = groups_of(TWO)
    p = groups["occupancy"]["p_state"]
    p.values[:, 0] = np.eye(2)[np.r_[np.zeros(100, int), np.ones(60, int), np.zeros(41, int)]]
    ax = rendered(plot_state_probability, groups, series=0)
    places = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert places["A"] == pytest.approx(4.95)
    assert places["B"] == pytest.approx(12.95)


def test_raster_shows_the_most_probable_state_at_the_nearest_observation():
    groups = groups_of(THREE)
    random = np.random.default_rng(3)
    times = groups["constant_data"]["time"]
    gaps = random.uniform(0.05, 0.2, times.shape)
    times.values[:] = np.cumsum(gaps, axis=1) - gaps[:, :1]
    ax = rendered(plot_state_raster, groups)
    image = ax.images[0].get_array()
    begin, end, _, _ = ax.images[0].get_extent()
    at = np.linspace(begin, end, image.shape[1])
    most = state_probability(as_inference_data(groups)).values.argmax(-1)
    for series in (0, 7, 29):
        length = int(groups["constant_data"]["length"].values[series])
        mine = times.values[series, :length]
        inside = at <= mine[-1]
        nearest = np.abs(at[inside, None] - mine).argmin(1)
        np.testing.assert_array_equal(image[series, inside], most[series, nearest])
        assert image.mask[series, ~inside].all()
    assert image.mask[29].mean() > 0.3
    assert ax.get_xlabel() == "time (s)"


def test_other_estimates_of_the_same_law_stand_beside():
    groups = groups_of(TWO)
    stationary = groups["occupancy"]["stationary"]
    ax = rendered(plot_occupancy, groups)
    for marker, name in (("x", "laplace"), ("+", "sampled")):
        drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == marker])
        np.testing.assert_allclose(drawn, stationary.sel(estimator=name).mean("chain"))
    # Draws from before have one estimator only.
    groups["occupancy"] = groups["occupancy"].isel(estimator=0, drop=True)
    assert not any("Laplace" in word for word in legend(rendered(plot_occupancy, groups)))


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_corrected_figures_stand_under_those_of_the_guide():
    groups = groups_of(TWO)
    ax = rendered(plot_occupancy, groups)
    table = corrected_occupancy(as_inference_data(groups))["mean"]
    for marker, name in (("^", "weights"), ("v", "particles")):
        drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == marker])
        np.testing.assert_allclose(drawn, table.sel(estimator=name))
    groups["occupancy"] = groups["occupancy"].drop_vars(["smoothed", "smoothed_error"])
    assert not any("particles" in word for word in legend(rendered(plot_occupancy, groups)))
    idata = as_inference_data(groups)
    idata.attrs["drawn_from"] = "exact posterior"
    assert not any("corrected" in word for word in legend(plot_occupancy(idata)))


def test_bars_add_up_to_the_variance():
    groups = groups_of(THREE)
    ax = rendered(plot_occupancy_variance, groups)
    table = occupancy_variance(as_inference_data(groups))["variance"].transpose("source", "state").values
    widths = np.array([[bar.get_width() for bar in source] for source in ax.containers])
    np.testing.assert_allclose(widths, table)
    starts = np.array([[bar.get_x() for bar in source] for source in ax.containers])
    np.testing.assert_allclose(starts[1:], np.cumsum(table, axis=0)[:-1])
    for total in table.sum(0):
        assert f"sd {np.sqrt(total):.2g}" in texts(ax)


def test_patterns_and_greys_are_told_apart():
    assert len({state_look(i).hatch for i in range(6)}) == 6
    light = [float(np.mean(to_rgb(part.colour))) for part in PARTS]
    assert np.all(np.diff(light) > 0.08)


def lightness(colour):
    """CIE L*, 0 to 100."""
    linear = [((part + 0.055) / 1.055) ** 2.4 if part > 0.04045 else part / 12.92 for part in to_rgb(colour)]
    return 116.0 * float(np.array([0.2126, 0.7152, 0.0722]) @ linear) ** (1 / 3) - 16.0


def test_states_are_told_apart_in_colour_line_and_grey():
    looks = [state_look(i) for i in range(12)]
    assert len({(look.colour, look.line) for look in looks}) == 12
    assert len({look.marker for look in looks[:6]}) == len({str(look.line) for look in looks[:6]}) == 6
    light = np.sort([lightness(look.colour) for look in looks[:6]])
    assert min(np.diff(light)) > 7.0
    assert seed_look(0) != seed_look(3)
