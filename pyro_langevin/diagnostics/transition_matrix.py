"""Probability to be in one state a lag after another, by the learned dynamics and by the posterior paths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from pyro_langevin.diagnostics.averages import mean_of_known
from pyro_langevin.diagnostics.intervals import beta_interval, fraction_interval
from pyro_langevin.diagnostics.lagged_counts import chosen_lags, lagged_counts
from pyro_langevin.diagnostics.layout import Draws, group, present_states, state_labels

__all__ = ["prior_transitions", "ratio_by_chain", "transition_matrix", "transition_table"]

FEW_COUNTS = 10.0
"""Independent counts below which a normal law is no guide and the Beta law of Jeffreys' prior is taken."""


def transition_matrix(idata: Draws, *, lags: npt.ArrayLike | None = None) -> xr.Dataset:
    """Probability to be in basin j one lag after being in basin i, by two estimators.

    ``prior`` is that of the learned dynamics, in equilibrium within basin i (mean over the seeds; only at the lags that
    the draws hold). ``paths`` counts pairs of observation times one lag apart on the posterior paths: at equal gaps
    exactly so, at irregular ones within a tenth of the lag. Monte Carlo. The interval of ``paths`` holds the spread
    over draws and seeds and what the record's length leaves open, from blocks of the record of at least five lags
    (cluster-robust variance of a ratio); with fewer than ten independent counts it is that of a Beta law. That of
    ``prior`` holds the spread of the seeds and the same record. Basins are those of the potential at the observation
    times, with no regard to cores: recrossings raise the probabilities at short lags, which is why the lag matters.

    Args:
        idata: the draws.
        lags: in the data's time unit; by default those that the draws hold.

    Returns:
        ``probability``, ``sd``, ``hdi_low``, ``hdi_high`` (estimator, lag, state_from, state_to), ``count`` (lag,
        state_from, state_to): pairs, a mean over draws. NaN where no pair begins or nothing was computed.

    Raises:
        ValueError: a lag that is not positive.
    """
    return transition_table(idata, lagged_counts(idata, chosen_lags(idata, lags)))


def transition_table(idata: Draws, counts: xr.Dataset) -> xr.Dataset:
    """:func:`transition_matrix` from counts already made."""
    labels = state_labels(idata)
    chosen = counts["lag"].values
    blocks, drawn = counts["blocks"].values, counts["drawn"].values
    stride = counts["stride"].values[:, None, None]
    present = _present_pairs(idata)

    probability = mean_of_known(ratio_by_chain(blocks.sum(2), present), 0)
    single = ratio_by_chain(drawn, present[:, None])
    spread = np.sqrt(mean_of_known((single - probability) ** 2, (0, 1)))
    pooled = blocks.mean(0)  # (lag, block, from, to)
    begun = pooled.sum(-1)
    residual = pooled - np.nan_to_num(probability)[:, None] * begun[..., None]
    total = begun.sum(1)[..., None]
    n_blocks = np.maximum((begun > 0).sum(1), 2)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        record = np.sqrt((residual**2).sum(1) * n_blocks / (n_blocks - 1)) / total
    sd = np.hypot(record, spread)

    learned = prior_transitions(idata, chosen)
    seeds = mean_of_known(learned, 0)
    seeds_sd = np.sqrt(mean_of_known((learned - seeds) ** 2, 0) * len(learned) / max(len(learned) - 1, 1))
    prior_sd = np.hypot(seeds_sd, np.nan_to_num(sd))
    low, high = np.full((2, *probability.shape), np.nan), np.full((2, *probability.shape), np.nan)
    events = pooled.sum(1) / stride
    missed = total / stride - events
    for cell in np.ndindex(*probability.shape):
        if np.isfinite(seeds[cell]):
            low[(0, *cell)], high[(0, *cell)] = fraction_interval(float(seeds[cell]), float(prior_sd[cell]))
        if not np.isfinite(probability[cell]):
            continue
        if min(events[cell], missed[cell]) < FEW_COUNTS:
            low[(1, *cell)], high[(1, *cell)] = beta_interval(events[cell] + 0.5, missed[cell] + 0.5)
        else:
            low[(1, *cell)], high[(1, *cell)] = fraction_interval(float(probability[cell]), float(sd[cell]))
    dims = ("estimator", "lag", "state_from", "state_to")
    return xr.Dataset(
        {
            "probability": (dims, np.stack([seeds, probability])),
            "sd": (dims, np.stack([prior_sd, sd])),
            "hdi_low": (dims, low),
            "hdi_high": (dims, high),
            "count": (dims[1:], np.nan_to_num(drawn).mean((0, 1))),
        },
        coords={"estimator": ["prior", "paths"], "lag": chosen, "state_from": labels, "state_to": labels},
        attrs={"time_unit": group(idata, "kinetics").attrs.get("time_unit", "")},
    )


def prior_transitions(idata: Draws, lags: np.ndarray) -> np.ndarray:
    """The learned dynamics' transition probabilities at these lags, (chain, lag, from, to); NaN where not computed."""
    kinetics = group(idata, "kinetics")
    n = len(state_labels(idata))
    result = np.full((kinetics.sizes["chain"], len(lags), n, n), np.nan)
    if "transition_prior" in kinetics:
        stored = kinetics["transition_prior"].transpose("chain", "lag", "state_from", "state_to")
        for place, lag in enumerate(lags):
            same = np.flatnonzero(np.isclose(stored["lag"].values, lag, rtol=1e-6))
            if len(same):
                result[:, place] = stored.values[:, same[0]]
    return result


def ratio_by_chain(counts: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Rows of counts (chain, ..., lag, from, to) as probabilities; NaN where nothing begins or a state is not there."""
    begun = counts.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((begun > 0) & present[..., None, :, :], counts / begun, np.nan)


def _present_pairs(idata: Draws) -> np.ndarray:
    present = present_states(idata).values
    return np.asarray(present[:, :, None] & present[:, None, :])
