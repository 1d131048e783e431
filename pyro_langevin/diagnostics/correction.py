"""Occupancy of the record, corrected for what the guide gets wrong, and which of the estimates to believe."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_langevin.diagnostics.effective_samples import effective_samples, weighted_occupancy
from pyro_langevin.diagnostics.intervals import fraction_interval, shortest_interval
from pyro_langevin.diagnostics.layout import Draws, attribute, group, observed_duration, state_labels
from pyro_langevin.diagnostics.pareto import trusted_shape

__all__ = ["corrected_occupancy"]

ESTIMATORS = ("guide", "weights", "particles")
ENOUGH = 25.0
"""Effective draws from which the Monte Carlo error is a fifth of the posterior's deviation or less."""
MOST_EVIDENCE_ERROR = 1.0
"""Standard error of the particles' log evidence, in nats, beyond which one run outweighs all others."""
SERIES_LET_PASS = 0.1
"""Share of the series in which it may be larger."""


def corrected_occupancy(idata: Draws) -> xr.Dataset:
    """Fraction of this record's time in each state, by the guide and by two corrections of it.

    ``guide``: the guide's draws as they are, as :func:`~pyro_langevin.diagnostics.occupancy` calls ``path``.
    ``weights``: the same draws by Pareto-smoothed importance weights, each series by its own, since series are
    independent given the parameters; Monte Carlo, right where k-hat is small. ``particles``: guided particle
    smoothing, where it is stored; Monte Carlo, over long records too. All are pooled over series by duration and
    over chains, and are 90 % intervals for THIS record.

    Believed are the weights where all k-hats (of the pooled occupancies, not of paths) are below
    ``min(1 - 1/log10 S, .7)`` and the effective draws at least 25; else the particles, where they are stored and their
    log evidence errs by less than 1 nat in nine series of ten; else, for want of better, the guide. Draws of the exact
    posterior need no correction: the guide's row is theirs.

    Returns:
        ``mean``, ``sd`` (of the posterior), ``error`` (Monte Carlo standard error), ``hdi_low``, ``hdi_high``
        (estimator, state), NaN where not available; ``k_hat`` and ``effective`` (state), of the worst chain;
        ``correction`` and ``correction_error`` (state): believed minus guide. ``attrs["believed"]`` and
        ``attrs["why"]``.
    """
    labels = state_labels(idata)
    share = observed_duration(idata).values
    share = share / share.sum()
    rows = {
        "guide": _guide(idata, share),
        "weights": _weights(idata, share),
        "particles": _particles(idata, share),
    }
    quality = effective_samples(idata)
    k_hat, effective = quality["k_hat_pooled"].max("chain"), quality["pooled"].min("chain")
    names = ("mean", "sd", "error", "hdi_low", "hdi_high")
    table = np.array([rows[name] for name in ESTIMATORS])  # (estimator, figure, state)
    result = xr.Dataset(
        {figure: (("estimator", "state"), table[:, i]) for i, figure in enumerate(names)}
        | {"k_hat": ("state", k_hat.values), "effective": ("state", effective.values)},
        coords={"estimator": list(ESTIMATORS), "state": labels},
    )
    believed, why = _believed(idata, result, group(idata, "occupancy")["path"].sizes["draw"])
    chosen, guide = result.sel(estimator=believed, drop=True), result.sel(estimator="guide", drop=True)
    result = result.assign(
        correction=chosen["mean"] - guide["mean"], correction_error=np.hypot(chosen["error"], guide["error"])
    )
    return result.assign_attrs(believed=believed, why=why)


def _believed(idata: Draws, table: xr.Dataset, draws: int) -> tuple[str, str]:
    """Which estimator, and the reason in words."""
    if attribute(idata, "drawn_from", "guide") == "exact posterior":
        return "guide", "the draws are those of the exact posterior"
    worst, fewest, most = float(table["k_hat"].max()), float(table["effective"].min()), trusted_shape(draws)
    found = f"k-hat {worst:.2f} (trusted up to {most:.2f}), {fewest:.0f} effective draws"
    if worst < most and fewest >= ENOUGH:
        return "weights", f"the importance weights can be trusted: {found}"
    weights = f"the importance weights cannot be trusted ({found})"
    particles = table["mean"].sel(estimator="particles")
    if not np.isfinite(particles.where(table["mean"].sel(estimator="guide").notnull(), 0.0)).all():
        return "guide", f"{weights} and no particle estimate is stored"
    error = _evidence_errors(idata)
    if (error > MOST_EVIDENCE_ERROR).mean() > SERIES_LET_PASS:
        return "guide", f"{weights}, nor can the particles: their log evidence errs by {np.median(error):.2g} nats"
    return "particles", f"{weights}; guided particles need none of paths"


def _evidence_errors(idata: Draws) -> np.ndarray:
    """Standard errors of the particles' log evidence, one a chain and series; none where none are stored."""
    stats = group(idata, "sample_stats")
    return stats["log_evidence_error"].values.ravel() if "log_evidence_error" in stats else np.zeros(1)


def _guide(idata: Draws, share: np.ndarray) -> np.ndarray:
    """Figures of the draws as they are, (figure, state)."""
    path = group(idata, "occupancy", "path")["path"].transpose("chain", "draw", "series", "state").values
    pooled = np.einsum("cdsk,s->cdk", path, share)
    count = np.isfinite(pooled).sum((0, 1))
    mean, sd = _over(pooled.reshape(-1, pooled.shape[-1]))
    ends = np.array([shortest_interval(pooled[..., k]) for k in range(pooled.shape[-1])]).T
    return np.stack([mean, sd, sd / np.sqrt(np.maximum(count, 1)), *ends])


def _weights(idata: Draws, share: np.ndarray) -> np.ndarray:
    """Figures by importance weights."""
    table = weighted_occupancy(idata)
    mean = np.einsum("csk,s->ck", table.mean, share)
    variance, error = (np.einsum("csk,s->ck", part, share**2) for part in (table.variance, table.error_variance))
    return _pooled(mean, variance, error)


def _particles(idata: Draws, share: np.ndarray) -> np.ndarray:
    """Figures by guided particle smoothing; NaN where it is not stored."""
    occupancy = group(idata, "occupancy")
    order = ("chain", "series", "state")
    if "smoothed" not in occupancy or "smoothed_error" not in occupancy:
        return np.full((5, occupancy.sizes["state"]), np.nan)
    mean = np.einsum("csk,s->ck", occupancy["smoothed"].transpose(*order).values, share)
    error = np.einsum("csk,s->ck", occupancy["smoothed_error"].transpose(*order).values ** 2, share**2)
    if "smoothed_sd" in occupancy:
        own = occupancy["smoothed_sd"].transpose(*order).values ** 2
    else:  # the guide's own spread stands in
        own = occupancy["path"].var("draw").transpose(*order).values
    return _pooled(mean, np.einsum("csk,s->ck", own, share**2), error)


def _pooled(mean: np.ndarray, variance: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Figures (figure, state) from those of each (chain, state); the interval holds what Monte Carlo leaves open."""
    centre, spread = _over(mean)
    chains = np.maximum(np.isfinite(mean).sum(0), 1)
    inside = _over(variance)[0]
    doubt = np.sqrt(_over(error)[0] / chains)
    sd = np.hypot(np.sqrt(inside), spread)
    ends = [fraction_interval(m, float(np.hypot(s, e))) for m, s, e in zip(centre, sd, doubt, strict=True)]
    return np.stack([centre, sd, doubt, *np.array(ends).T])


def _over(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the first axis of what is finite; deviation 0 of a single one."""
    finite = np.isfinite(values)
    count = finite.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0.0).sum(0) / count
        squares = np.where(finite, (values - mean) ** 2, 0.0).sum(0)
        return mean, np.sqrt(squares / np.maximum(count - 1, 1))
