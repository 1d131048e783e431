"""The learned potential with its minima."""

from __future__ import annotations

from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group, has_landscape
from pyro_langevin.plots.canvas import axes_or_new
from pyro_langevin.plots.landscape_line import draw_line
from pyro_langevin.plots.landscape_plane import draw_plane

__all__ = ["plot_landscape"]


def plot_landscape(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """The learned potential in kT above its lowest point, with minima and barriers.

    In one dimension: the mean over the seeds, the band of their extremes, each seed a thin line. Every seed
    has latent coordinates of its own, so potentials are drawn over the mean emission of the channel that
    tells the states apart best; where that cannot be had (one state, or an emission that is not monotone),
    only the seed with the best ELBO is drawn, over its own latent coordinate.

    In two dimensions: contours of the seed with the best ELBO, with the points that its posterior paths visit
    (dots), its minima (discs), and the minimum-energy paths between adjacent states with their saddles (crosses) and
    the height of these above the lowest minimum. A saddle without a number is one that the lowest way goes round, over
    other states.

    In more dimensions: the same on the plane through three minima. It is a cut: the colours are the potential in
    the plane, while posterior points, paths (broken lines) and saddles are projected onto it and may lie above
    or below; the heights written at the saddles are their own.

    Raises:
        ValueError: the draws hold no landscape.
    """
    if not has_landscape(idata):
        raise ValueError(
            "idata: expected a group 'landscape' with a potential, came without; it is there for one or two latent "
            "dimensions, and for more where three minima span a plane"
        )
    landscape = group(idata, "landscape", "beta_potential")
    if "grid" in landscape:
        return draw_line(idata, landscape, axes_or_new(ax, height=4.0))
    return draw_plane(idata, landscape, axes_or_new(ax, width=6.0, height=4.8))
