"""Chapman-Kolmogorov test: does the learned dynamics carry over from lag to lag as the data do?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.blocks import sign_test
from pyro_langevin.diagnostics.lagged_counts import chosen_lags, lagged_counts
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.diagnostics.transition_matrix import prior_transitions, transition_table

__all__ = ["chapman_kolmogorov"]

FEW_EXPECTED = 20.0
"""Independent transitions expected, below which the seen spread is no measure: few seen would seem few for sure."""


def chapman_kolmogorov(idata: Draws) -> xr.Dataset:
    """The learned dynamics' transition probabilities at several lags against those counted on the posterior paths.

    In each block b of the record (at least five times the longest lag; a shorter series is one block) the residual is
    ``r_b = N_b(i, j) - P(i, j) N_b(i)``, with the counts of pairs N a lag apart and the probability P that the learned
    dynamics gives. If the data come from that dynamics its mean is zero, for every lag and pair of states. ``z`` is the
    sum over blocks over its standard deviation, which is at least the multinomial one where few transitions are
    expected. The elements are strongly correlated (the same pairs serve every lag), so they are judged together: the
    p-value is that of the largest ``|z|`` among random signs of the blocks (:func:`~pyro_langevin.diagnostics.blocks.
    sign_test`). Uniform for data of
    known dynamics, or larger where few transitions are expected; larger for dynamics fitted to these very data.

    Returns:
        ``prior``, ``paths``, ``paths_low``, ``paths_high``, ``z`` (lag, state_from, state_to), ``p_value``. NaN with
        one state, or where the learned dynamics' probabilities were not computed.

    Source:
        The comparison is that of Prinz et al. (2011); the test by signs is a wild bootstrap (Wu 1986).
    """
    lags = chosen_lags(idata)
    counts = lagged_counts(idata, lags)
    table = transition_table(idata, counts)
    learned = prior_transitions(idata, lags)
    begun = counts["blocks"].sum("state_to").values  # (chain, lag, block, from)
    residual = counts["blocks"].values - learned[:, :, None] * begun[..., None]
    known = np.isfinite(residual)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.where(known, residual, 0.0).sum(0) / known.sum(0)  # (lag, block, from, to)
    shape = table["probability"].shape[1:]
    z, p_value = np.full(shape, np.nan), float("nan")
    if len(state_labels(idata)) > 1 and np.isfinite(pooled).any():
        prior = table["probability"].sel(estimator="prior").values
        stride = counts["stride"].values[:, None, None]
        expected = begun.mean(0).sum(1)[..., None] * np.stack([prior, 1.0 - prior])  # (event or none, lag, from, to)
        multinomial = stride * expected[0] * (1.0 - prior)
        floor = np.where(expected.min(0) < FEW_EXPECTED * stride, multinomial, 0.0)
        rows = np.nan_to_num(np.moveaxis(pooled, 1, 0)).reshape(pooled.shape[1], -1)
        test = sign_test(rows, variance=np.nan_to_num(floor).ravel())
        z, p_value = test.z.reshape(shape), test.p_value
    dims = ("lag", "state_from", "state_to")
    paths = table.sel(estimator="paths")
    return xr.Dataset(
        {
            "prior": (dims, table["probability"].sel(estimator="prior").values),
            "paths": (dims, paths["probability"].values),
            "paths_low": (dims, paths["hdi_low"].values),
            "paths_high": (dims, paths["hdi_high"].values),
            "z": (dims, z),
            "p_value": p_value,
        },
        coords={name: table[name].values for name in dims},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )
