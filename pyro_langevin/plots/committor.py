"""Where a path goes next: the committor over the landscape."""

from __future__ import annotations

from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame
from pyro_langevin.plots.committor_line import draw_committor_line
from pyro_langevin.plots.committor_plane import draw_committor_plane
from pyro_langevin.plots.palette import INK

__all__ = ["plot_committor"]


def plot_committor(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Probability to reach the core of each state before that of any other, from each place of the landscape.

    In one dimension: one line a state over the data channel that tells the states apart best, each seed a thin line;
    dots are the states' minima. On a plane (of the seed with the best ELBO): each place takes the states' colours mixed
    in proportion; black lines are where a state's committor is one half, thin broken ones where it is .1 and .9. Left
    white is what lies more than a few kT above every pass, where paths hardly go.

    Raises:
        ValueError: the draws hold no committor.
    """
    landscape = group(idata, "landscape")
    if len(state_labels(idata)) < 2:
        return _nowhere_to_go(axes_or_new(ax, height=3.4))
    if "committor" not in landscape:
        raise ValueError(
            "idata['landscape']: expected a variable 'committor', came without; it is computed in up to three latent "
            "dimensions, where the grid resolves the wells"
        )
    if "grid" in landscape:
        return draw_committor_line(idata, landscape, axes_or_new(ax, height=3.4))
    return draw_committor_plane(idata, landscape, axes_or_new(ax, width=5.6, height=4.6))


def _nowhere_to_go(ax: Axes) -> Axes:
    ax.text(0.5, 0.5, "one state: nowhere else to go", transform=ax.transAxes, ha="center", color=INK)
    ax.tick_params(labelbottom=False, labelleft=False)
    quiet_frame(ax)
    ax.set_xlabel("latent coordinate")
    ax.set_ylabel("committor")
    return ax
