"""Figures under test: groups that are made once, and figures that are rendered, not only made."""

from __future__ import annotations

import copy
from functools import lru_cache

import matplotlib
import numpy as np
import xarray as xr
from draws import LABELS, THREE, TWO, Truth, as_inference_data, make_groups
from matplotlib.axes import Axes

matplotlib.use("Agg")

ONE = Truth(np.zeros((1, 1)), np.zeros((1, 1)), n_series=3)
_ANGLE = 2 * np.pi * np.arange(5) / 5
FIVE = Truth(
    np.random.default_rng(0).uniform(0.05, 0.5, (5, 5)),
    3.0 * np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], -1),
    n_times=101,
)
LONE = Truth(TWO.rates, TWO.location, n_series=1, n_times=400)


@lru_cache
def _made(truth_id: int, n_chains: int, n_draws: int) -> dict[str, xr.Dataset]:
    truth = {id(t): t for t in (ONE, TWO, THREE, FIVE, LONE)}[truth_id]
    groups = make_groups(truth, n_chains=n_chains, n_draws=n_draws)
    random = np.random.default_rng(5)
    z, y = groups["posterior"]["z"], groups["observed_data"]["y"]
    momentum = np.where(np.isfinite(z.values), random.standard_normal(z.shape), np.nan)
    groups["posterior"]["momentum"] = z.copy(data=momentum)
    noise = truth.noise * random.standard_normal((n_chains, 6, *y.shape))
    again = truth.location[np.maximum(groups["state_path"]["state"].values[:, :6], 0)] + noise
    groups["posterior_predictive"] = xr.Dataset({"y": (("chain", "draw", *y.dims), again)}, coords=y.coords)
    return groups


def groups_of(truth: Truth, *, n_chains: int = 3, n_draws: int = 6) -> dict[str, xr.Dataset]:
    """Groups of a faithful fit with momenta and predictive draws besides, free to be changed."""
    return copy.deepcopy(_made(id(truth), n_chains, n_draws))


def without_state(groups: dict[str, xr.Dataset], *, chain: int, state: int) -> dict[str, xr.Dataset]:
    """The same, where one seed does not have one of the states."""
    label = LABELS[state]
    for name in ("states", "occupancy", "kinetics", "landscape"):
        for key, variable in groups[name].data_vars.items():
            for axis in ("state", "state_from", "state_to"):
                if axis in variable.dims and "chain" in variable.dims:
                    variable = variable.astype(float).copy()
                    index = {axis: label} if axis in variable.coords else {}
                    variable.loc[{"chain": variable["chain"].values[chain], **index}] = np.nan
                    groups[name][key] = variable
    path = groups["state_path"]["state"].values
    path[chain][path[chain] == state] = (state + 1) % groups["states"].sizes["state"]
    return groups


def rendered(plot, groups, *, laid_out=False, **keywords):
    """What the plot returns, after the figure has been rendered, which is when matplotlib finds most faults.

    To lay it out takes as long again: that is done where asked for.
    """
    axes = plot(as_inference_data(groups), **keywords)
    first = axes if isinstance(axes, Axes) else axes.ravel()[0]
    if not laid_out:
        first.figure.set_layout_engine("none")
    first.figure.canvas.draw()
    return axes


def texts(ax: Axes) -> str:
    """All that is written inside the axes."""
    return " | ".join(text.get_text() for text in ax.texts)
