"""Verdicts: what in a fit is not to be believed, in plain English."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.dwell import dwell_times
from pyro_langevin.diagnostics.guide_quality import elbo
from pyro_langevin.diagnostics.layout import Draws, attribute, group, state_labels
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.diagnostics.states import n_states

__all__ = ["all_warnings", "audit"]

RATE_TOLERANCE = 0.20
"""Relative difference between prior and path rate that is let pass whatever the interval says."""
STEP_TOLERANCE = 0.10
"""Relative difference between chain and continuous kinetics that is let pass."""
STEP_TARGET = 0.05
"""Difference that the advised step should bring about."""
OCCUPANCY_SIGMAS = 2.0
OCCUPANCY_TOLERANCE = 0.02
"""Difference of occupancies that is let pass however long the record."""
FEW_EVENTS = 10.0
ELBO_TOLERANCE = 0.02
"""Spread of the seeds' ELBO, in nats per observation time, that is let pass."""


def audit(idata: Draws) -> list[str]:
    """Warnings about a fit, each a sentence or two: what disagrees, by how much, what to do.

    Checked are: one state only; the seeds' number of states; too few transitions; the learned potential's
    rates against those of its posterior paths; the kinetics as discretised against continuous time (the
    step-size check); the Boltzmann against the path occupancy; the seeds' ELBOs. Clean draws give an empty
    list.
    """
    checks = (
        _one_state,
        _number_of_states,
        _few_transitions,
        _prior_against_paths,
        _step_size,
        _stationary_against_path,
        _elbo_spread,
    )
    return [warning for check in checks for warning in check(idata)]


def all_warnings(idata: Draws) -> list[str]:
    """Warnings that the fit left in the attribute ``warnings``, then those of :func:`audit`, none twice."""
    stored = attribute(idata, "warnings", [])
    stored = [stored] if isinstance(stored, str) and stored else list(stored)
    return list(dict.fromkeys([*map(str, stored), *audit(idata)]))


def _one_state(idata: Draws) -> Iterator[str]:
    if int(n_states(idata)["mode"]) == 1:
        yield (
            "The learned potential has one well only, so there are no states to hop between: occupancies, "
            "dwell times and passage times say nothing. Either the data have one state, or the fit has not "
            "found the others (more iterations, another seed, a finer step)."
        )


def _number_of_states(idata: Draws) -> Iterator[str]:
    found = n_states(idata)
    counts = found["n_states"].values
    if float(found["agreement"]) < 1.0:
        numbers, times = np.unique(counts, return_counts=True)
        words = ", ".join(
            f"{count} in {time} {_plural(time, 'seed')}" for count, time in zip(numbers, times, strict=True)
        )
        yield (
            f"The seeds disagree on the number of states: {words}. Figures are pooled over matching states "
            "only; look at the ELBO of each seed, and fit more seeds or longer."
        )


def _few_transitions(idata: Draws) -> Iterator[str]:
    labels = state_labels(idata)
    if len(labels) < 2:
        return
    events = dwell_times(idata)["events"].values
    few = [(label, count) for label, count in zip(labels, events, strict=True) if count < FEW_EVENTS]
    if few:
        doubt = 1.0 / math.sqrt(max(min(count for _, count in few), 1.0))
        words = ", ".join(f"{count:.3g} from {label}" for label, count in few)
        yield (
            f"Few transitions were seen ({words}): rates, dwell times and barriers out of "
            f"{'this state' if len(few) == 1 else 'these states'} are uncertain by "
            f"{_percent(doubt)} or more. A longer record helps, more seeds do not."
        )


def _prior_against_paths(idata: Draws) -> Iterator[str]:
    dwell = dwell_times(idata)
    prior = group(idata, "kinetics", "dwell_prior")["dwell_prior"].transpose("chain", "state").values
    unit = _unit(idata)
    seldom: list[str] = []
    often: list[str] = []
    for state, label in enumerate(state_labels(idata)):
        mean, low, high = (float(dwell[name][state]) for name in ("mean", "hdi_low", "hdi_high"))
        learned = prior[:, state]
        with np.errstate(invalid="ignore"):
            outside = (learned < low) | (learned > high)
            far = np.maximum(learned / mean, mean / learned) > 1.0 + RATE_TOLERANCE
        for words, side in ((seldom, learned > mean), (often, learned < mean)):
            wrong = learned[outside & far & side]
            if len(wrong):
                ends = " to ".join(dict.fromkeys(f"{end:.3g}" for end in (wrong.min(), wrong.max())))
                words.append(
                    f"its mean dwell in {label} is {ends}{unit} in {len(wrong)} of {len(learned)} "
                    f"{_plural(len(learned), 'seed')}, the posterior paths' is {mean:.3g}{unit} "
                    f"(90 % interval {low:.3g} to {high:.3g})"
                )
    if attribute(idata, "drawn_from", "guide") == "exact posterior":
        advice = (
            "Neither is biased by a guide: the fit is not finished (more --steps), or the record does not come from "
            "one stationary law (a trend, several kinds of visits). Believe the paths' dwell times for this record."
        )
    elif attribute(idata, "model_fitted_by", "bound") == "evidence":
        advice = (
            "The potential was fitted on the exact evidence, without the guide: believe its rates; the guide's "
            "paths are the worse witness, and more --steps train it further."
        )
    else:
        advice = (
            "Believe the paths' dwell times, not the potential's rates and barriers; a steered guide or a finer "
            "step usually mends it."
        )
    for words, how in ((seldom, "less often"), (often, "more often")):
        if words:
            yield f"The learned potential hops {how} than the posterior paths: {'; '.join(words)}. {advice}"


def _step_size(idata: Draws) -> Iterator[str]:
    kinetics = group(idata, "kinetics", "dwell_prior")
    if "dwell_chain" not in kinetics or len(state_labels(idata)) < 2:
        return
    chain = kinetics["dwell_chain"].transpose("chain", "state").values
    prior = kinetics["dwell_prior"].transpose("chain", "state").values
    log_sd = np.nan_to_num(dwell_times(idata)["log_sd"].values)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(np.log(chain / prior))
    # 1.645: the same 90 % as every interval.
    wrong = error > np.maximum(np.log1p(STEP_TOLERANCE), 1.645 * log_sd)
    if not wrong.any():
        return
    chain_index, state = np.unravel_index(int(np.nanargmax(np.where(wrong, error, np.nan))), error.shape)
    worst = float(error[chain_index, state])
    order = float(kinetics.attrs.get("order", 1.0))
    halvings = max(1, math.ceil(math.log2(worst / STEP_TARGET) / order))
    step = kinetics.attrs.get("step")
    if step is not None and np.isfinite(float(step)):
        advice = f"--max-step {float(step) / 2**halvings:.3g} (now {float(step):.3g})"
    else:
        advice = f"a --max-step {2**halvings} times smaller"
    unit = _unit(idata)
    yield (
        f"The step is too long: the learned dynamics' mean dwell in {state_labels(idata)[state]} is "
        f"{chain[chain_index, state]:.3g}{unit} as discretised and {prior[chain_index, state]:.3g}{unit} in "
        f"continuous time. Fit again with {advice}; the difference should then fall below "
        f"{_percent(STEP_TARGET)}."
    )


def _stationary_against_path(idata: Draws) -> Iterator[str]:
    table = occupancy(idata)
    mean = table["mean"]
    difference = abs(mean.sel(estimator="stationary") - mean.sel(estimator="path"))
    sigmas = abs(table["disagreement"]).where(difference > OCCUPANCY_TOLERANCE, 0.0)
    # One state's surplus is the others' lack: the worst one stands for all.
    worst = sigmas.isel(state=int(np.argmax(np.round(sigmas.fillna(0.0).values, 6))))
    if float(worst) > OCCUPANCY_SIGMAS:
        label = str(worst["state"].values)
        path, stationary = (float(mean.sel(estimator=name, state=label)) for name in ("path", "stationary"))
        yield (
            f"The learned potential's occupancy of {label} ({stationary:.3f}) and the posterior paths' "
            f"({path:.3f}) differ by {float(worst):.1f} times what a record of this length allows. "
            "Believe the paths' for this record; the potential's may be misfitted, or the record does not "
            "come from one stationary law."
        )


def _elbo_spread(idata: Draws) -> Iterator[str]:
    bound = elbo(idata)
    mean = bound["mean"].values
    if np.isfinite(mean).sum() < 2:
        return
    error = np.nan_to_num(bound["standard_error"].values)
    best, worst = int(np.nanargmax(mean)), int(np.nanargmin(mean))
    gap = float(mean[best] - mean[worst])
    observations = float(group(idata, "constant_data", "length")["length"].mean())
    if gap > ELBO_TOLERANCE * observations and gap > 3.0 * math.hypot(error[best], error[worst]):
        seeds = attribute(idata, "seeds", list(range(len(mean))))
        yield (
            f"The seeds ended at different ELBOs: seed {seeds[worst]} is {gap:.3g} nats per series below "
            f"seed {seeds[best]}. The lower one is the worse fit and widens every interval; "
            "fit longer, or keep the best seeds."
        )


def _unit(idata: Draws) -> str:
    unit = str(group(idata, "kinetics").attrs.get("time_unit", ""))
    return f" {unit}" if unit else ""


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
