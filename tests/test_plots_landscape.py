"""Landscapes: paths and saddles are where they are said to be, cuts project rightly, trees join at the passes."""

import numpy as np
import pytest
import xarray as xr
from draws import THREE, TWO, as_inference_data
from figures import FIVE, ONE, groups_of, rendered, texts
from matplotlib.colors import to_rgb

from pyro_langevin.diagnostics import basin_tree
from pyro_langevin.plots import plot_basin_tree, plot_committor, plot_landscape
from pyro_langevin.plots.palette import INK, state_look

pytestmark = pytest.mark.usefixtures("close_figures")


def best_second(groups):
    stats = groups["sample_stats"]
    stats["log_p"] = stats["log_p"] + 50.0 * (stats["chain"] == 1)
    return groups


def curves(ax, length):
    drawn = [line for line in ax.lines if len(line.get_xdata()) == length and line.get_color() == INK]
    return [np.transpose(line.get_data()) for line in drawn]


def test_paths_and_saddles_of_the_best_seed():
    groups = best_second(groups_of(THREE))
    states = groups["states"]
    bend = xr.DataArray(np.sin(np.linspace(0, np.pi, states.sizes["image"])), dims="image")
    states["path"] = states["path"] + 0.4 * bend * (states["chain"] == 1)
    states["saddle"] = states["saddle"] + 0.4 * (states["chain"] == 1)
    ax = rendered(plot_landscape, groups)
    drawn = curves(ax, states.sizes["image"])
    expected = [states["path"].values[1, i, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(drawn, expected)
    crosses = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "X"]
    np.testing.assert_allclose(crosses, [states["saddle"].values[1, i, j] for i, j in ((0, 1), (0, 2), (1, 2))])
    heights = states["path_beta_energy"].values[1].max(-1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert f"{heights[i, j]:.1f} kT" in texts(ax)


def test_heights_of_passes_stand_away_from_the_middle_of_the_states():
    groups = groups_of(THREE)
    ax = rendered(plot_landscape, groups)
    middle = ax.transData.transform(groups["states"]["minimum"].values[0].mean(0))
    heights = [text for text in ax.texts if "kT" in text.get_text()]
    assert len(heights) == 3
    for text in heights:
        outwards = ax.transData.transform(text.xy) - middle
        box = text.get_window_extent()
        written = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2 - ax.transData.transform(text.xy)
        assert outwards @ written > 0


def test_states_that_are_not_adjacent_have_no_path():
    groups = groups_of(THREE)
    states = groups["states"]
    apart = (states["state_from"] == "A") & (states["state_to"] == "C")
    apart = apart | ((states["state_from"] == "C") & (states["state_to"] == "A"))
    for name in ("saddle", "path", "path_beta_energy"):
        states[name] = states[name].where(~apart)
    ax = rendered(plot_landscape, groups)
    assert len(curves(ax, states.sizes["image"])) == 2
    assert sum(line.get_marker() == "X" for line in ax.lines) == 2


def test_a_saddle_that_the_lowest_way_goes_round_has_no_number():
    groups = groups_of(THREE)
    states = groups["states"]
    heights = states["path_beta_energy"].values[0].max(-1)
    one, other = (states["path"].values[:, i, j] for i, j in ((0, 1), (1, 2)))
    states["path"].values[:, 0, 2] = np.concatenate([one[:, ::2], other[:, 2::2]], axis=1)
    ax = rendered(plot_landscape, groups)
    assert sum(line.get_marker() == "X" for line in ax.lines) == 3
    numbers = [text.get_text() for text in ax.texts if "kT" in text.get_text()]
    assert numbers == [f"{heights[0, 1]:.1f} kT", f"{heights[1, 2]:.1f} kT"]


def lifted(groups):
    """The three states in four dimensions, turned about, and shifted off the plane where nobody sees it."""
    random = np.random.default_rng(2)
    basis = np.linalg.qr(random.standard_normal((4, 4)))[0]
    place, off, shift = basis[:, :2], basis[:, 2], random.standard_normal(4)
    flat = groups["states"]["minimum"].values

    def up(values, aside=0.0):
        lift = xr.apply_ufunc(
            lambda flat: flat @ place.T + shift + aside * off, values,
            input_core_dims=[["latent_dim"]], output_core_dims=[["latent_dim"]], exclude_dims={"latent_dim"},
        )
        return lift.transpose(*values.dims)

    states, landscape = groups["states"], groups["landscape"]
    new = {"minimum": up(states["minimum"]), "saddle": up(states["saddle"], 0.7), "path": up(states["path"], 0.7)}
    groups["states"] = states.drop_vars(list(new)).assign(new)
    groups["posterior"] = groups["posterior"][["z"]].map(up, args=(1.5,))
    landscape["minimum_in_plane"] = (("chain", "state", "axis"), flat)
    groups["landscape"] = landscape.assign_attrs(plane="three minima")
    return groups


def test_cut_through_three_minima_projects_everything_onto_itself():
    flat = rendered(plot_landscape, groups_of(THREE))
    cut = rendered(plot_landscape, lifted(groups_of(THREE)))
    assert len(cut.lines) == len(flat.lines) == 10  # points, three paths with their rims, three saddles
    for one, other in zip(flat.lines, cut.lines, strict=True):
        np.testing.assert_allclose(other.get_xydata(), one.get_xydata(), atol=1e-9)
    assert texts(cut) == texts(flat)
    # The one is the path itself, the other only its shadow.
    assert {line.get_linestyle() for line in flat.lines if line.get_color() == INK} == {"-"}
    assert {line.get_linestyle() for line in cut.lines if len(line.get_xdata()) == 21} == {"-", "--"}
    assert "plane" in cut.get_xlabel()


def test_cut_without_a_known_projection_shows_potential_and_minima_only():
    groups = lifted(groups_of(THREE))
    groups["landscape"]["minimum_in_plane"].values[:, 2] = np.nan
    ax = rendered(plot_landscape, groups)
    assert sum(len(line.get_xdata()) for line in ax.lines) == 0
    assert texts(ax) == "A | B"


def test_tree_joins_leaves_at_the_passes():
    groups = groups_of(FIVE)
    ax = rendered(plot_basin_tree, groups)
    tree = basin_tree(as_inference_data(groups))
    leaves = {line.get_ydata()[0] for line in ax.lines if line.get_marker() not in ("None", None, "")}
    np.testing.assert_allclose(sorted(leaves), np.sort(tree["leaf_energy"].values))
    flat = [line for line in ax.lines if len(line.get_ydata()) == 2 and np.ptp(line.get_ydata()) == 0]
    np.testing.assert_allclose([line.get_ydata()[0] for line in flat], tree["beta_energy"].values)
    # No upright crosses a level line that is not its own: below every join lie its own leaves and no others.
    marks = {line.get_xdata()[0] for line in ax.lines if line.get_marker() not in ("None", None, "")}
    assert marks == set(range(5))
    members = {i: {i} for i in range(5)}
    names = {t.get_text(): t.xy[0] for t in ax.texts if t.get_text() in "ABCDE"}
    for number, (left, right) in enumerate(zip(tree["left"].values, tree["right"].values, strict=True), start=5):
        members[number] = members[int(left)] | members[int(right)]
        spots = sorted(names["ABCDE"[i]] for i in members[number])
        assert spots == list(np.arange(spots[0], spots[0] + len(spots)))


def test_basins_that_nothing_joins_stay_open():
    groups = groups_of(THREE)
    barrier = groups["states"]["beta_barrier"]
    barrier.values[:, 2, :], barrier.values[:, :, 2] = np.nan, np.nan
    ax = rendered(plot_basin_tree, groups)
    flat = [line for line in ax.lines if len(line.get_ydata()) == 2 and np.ptp(line.get_ydata()) == 0]
    assert len(flat) == 1


def test_committor_lines_are_the_committor_over_the_data():
    groups = groups_of(TWO)
    committor = groups["landscape"]["committor"].values
    committor[2] = np.stack([committor[2, 0] ** 2, 1 - committor[2, 0] ** 2])
    ax = rendered(plot_committor, groups)
    lines = {line.get_label(): line for line in ax.lines if line.get_label().startswith("to ")}
    landscape = groups["landscape"]
    x = lines["to A"].get_xdata()
    # The states' locations are the latent minima here, so the data's axis is the latent one.
    grids, values = landscape["grid"].values, landscape["committor"].values[:, 0]
    expected = np.mean([np.interp(x, *pair) for pair in zip(grids, values, strict=True)], axis=0)
    np.testing.assert_allclose(lines["to A"].get_ydata(), expected, atol=1e-9)
    np.testing.assert_allclose(lines["to A"].get_ydata() + lines["to B"].get_ydata(), 1.0)
    assert ax.get_xlabel() == "y0"


def test_committor_plane_mixes_the_states_colours():
    groups = best_second(groups_of(THREE))
    committor = groups["landscape"]["committor"]
    committor.values[0] = committor.values[0][[1, 2, 0]]  # another seed's, which is not shown
    ax = rendered(plot_committor, groups)
    canvas = np.asarray(ax.figure.canvas.buffer_rgba())[::-1] / 255.0  # the lowest row first
    for state, place in enumerate(THREE.location):
        column, row = ax.transData.transform(place + [0.45, 0.0]).astype(int)
        seen = np.median(canvas[row - 3 : row + 4, column - 3 : column + 4, :3], axis=(0, 1))
        tint = 1 - 0.75 * (1 - np.array(to_rgb(state_look(state).colour)))
        np.testing.assert_allclose(seen, tint, atol=0.03)


def test_without_a_committor_says_where_there_is_one():
    groups = groups_of(TWO)
    groups["landscape"] = groups["landscape"].drop_vars("committor")
    lone = groups_of(ONE)
    lone["landscape"] = lone["landscape"].drop_vars("committor")
    assert "one state" in texts(rendered(plot_committor, lone))
    with pytest.raises(ValueError, match="up to three latent"):
        plot_committor(as_inference_data(groups))
