"""The tree of basins: which wells join at which height."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.layout import Draws, group, state_labels

__all__ = ["basin_tree"]


def basin_tree(idata: Draws) -> xr.Dataset:
    """Disconnectivity of the learned potential: the wells, and the height at which a rising level joins them, in kT.

    The height of the way from i to j above the lowest minimum is ``energy_i + barrier_ij``, mean over both directions
    and over the seeds that have both; two groups of wells join where the lowest way between them lies (single linkage,
    Becker and Karplus 1997). Two wells whose barrier no seed knows never join: their merge is left out.

    Returns:
        ``left``, ``right`` (merge): numbers of the nodes that join, leaves first in the order of the states, then one a
        merge, as in ``scipy.cluster.hierarchy.linkage``; ``beta_energy`` (merge): height of the joining pass above the
        lowest minimum; ``leaf_energy`` (state): of each minimum above the lowest.
    """
    labels = state_labels(idata)
    states = group(idata, "states", "beta_energy", "beta_barrier")
    energy = states["beta_energy"].transpose("chain", "state").values
    barrier = states["beta_barrier"].transpose("chain", "state_from", "state_to").values
    one_way = energy[:, :, None] + barrier
    both = np.stack([one_way, np.swapaxes(one_way, -1, -2)])
    height = mean_of_known(mean_of_known(both))
    leaf = mean_of_known(energy)
    lowest = float(np.nanmin(leaf)) if np.isfinite(leaf).any() else 0.0

    # Kruskal's minimum spanning tree: passes from the lowest up, each that joins two groups is a merge.
    node = np.arange(len(labels))
    merges: list[tuple[int, int, float]] = []
    pairs = [(float(height[i, j]), i, j) for i in range(len(labels)) for j in range(i)]
    for level, i, j in sorted(pair for pair in pairs if np.isfinite(pair[0])):
        if node[i] != node[j]:
            one, other = sorted((int(node[i]), int(node[j])))
            merges.append((one, other, level - lowest))
            node[(node == one) | (node == other)] = len(labels) + len(merges) - 1
    left, right, levels = zip(*merges, strict=True) if merges else ((), (), ())
    return xr.Dataset(
        {
            "left": ("merge", np.array(left, dtype=int)),
            "right": ("merge", np.array(right, dtype=int)),
            "beta_energy": ("merge", np.array(levels, dtype=float)),
            "leaf_energy": ("state", leaf - lowest),
        },
        coords={"state": labels},
    )
