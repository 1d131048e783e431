"""Dwell times, rates, passage times and long-run occupancies of known jump processes: unbiased, and covered as said.

Records of five lengths, from a third of a mean dwell on, as many series of each as give some three hundred transitions:
the shorter the record the larger the share of visits that it cuts off. With fewer, rates and times carry a bias of a
share of one over the number of events, a quarter of their standard deviation where a state is left 27 times.
"""

import numpy as np
import pytest
from jump_records import THREE_RATES, TWO_RATES, exact_record

from pyro_langevin.diagnostics import dwell_times, mfpt, occupancy, path_rates
from pyro_langevin.diagnostics.intervals import shortest_interval
from pyro_langevin.diagnostics.jump_process import mean_first_passage, stationary_law

LENGTHS = {0.3: 2100, 1.0: 600, 3.0: 210, 10.0: 75, 30.0: 30}  # in mean dwells, and the number of series


def estimates(record, rates):
    """Errors of the estimators, and whether their 90 % intervals hold the truth: dwell, occupancy, passage, rate."""
    off = ~np.eye(len(rates), dtype=bool)
    truth = {
        "dwell": 1.0 / np.where(off, rates, 0.0).sum(1),
        "occupancy": stationary_law(rates),
        "passage": mean_first_passage(rates)[off],
    }
    share = occupancy(record).sel(estimator="long_run")
    passage = mfpt(record).sel(estimator="paths")
    found = {
        "dwell": [dwell_times(record)[name].values for name in ("mean", "hdi_low", "hdi_high")],
        "occupancy": [share[name].values for name in ("mean", "hdi_low", "hdi_high")],
        "passage": [passage[name].values[off] for name in ("mean", "hdi_low", "hdi_high")],
    }
    held = {name: (low <= truth[name]) & (truth[name] <= high) for name, (_, low, high) in found.items()}
    drawn = path_rates(record).values[:, off]
    ends = np.array([shortest_interval(column, log=True) for column in drawn.T])
    held["rate"] = (ends[:, 0] <= rates[off]) & (rates[off] <= ends[:, 1])
    counts = record["kinetics"].to_dataset().squeeze()
    errors = {
        "rate": counts["events"].values.sum(1) / counts["exposure"].values * truth["dwell"] - 1.0,
        "log dwell": np.log(found["dwell"][0] / truth["dwell"]),
        "occupancy": found["occupancy"][0] - truth["occupancy"],
        "log passage": np.log(found["passage"][0] / truth["passage"]),
    }
    return errors, held


@pytest.mark.slow
@pytest.mark.parametrize("rates", [TWO_RATES, THREE_RATES], ids=["two", "three"])
def test_estimators_are_unbiased_and_covered_at_every_length(rates):
    replicas = 200
    mean_dwell = (1.0 / (rates * (1 - np.eye(len(rates)))).sum(1)).mean()
    covered: dict[str, list[float]] = {}
    for length, n_series in LENGTHS.items():
        random = np.random.default_rng([8, int(10 * length)])
        durations = np.full(n_series, length * mean_dwell)
        found = [
            estimates(exact_record(rates, durations, random, gap=length * mean_dwell / 4), rates)
            for _ in range(replicas)
        ]
        for name in found[0][0]:
            errors = np.array([part[0][name] for part in found])
            z = errors.mean(0) / (errors.std(0, ddof=1) / np.sqrt(replicas))
            print(f"{length:4} {name:12} bias {np.round(errors.mean(0), 3)} standard errors {np.round(z, 1)}")
            # of a hundred figures one is three standard errors off by chance in every fourth run, four in none of 150
            assert (abs(z) < 4.0).all(), (length, name, z)
        for name in found[0][1]:
            share = np.mean([part[1][name].mean() for part in found])
            print(f"{length:4} {name:12} covered {share:.3f}")
            assert abs(share - 0.9) < 3.3 * np.sqrt(0.09 / replicas), (length, name, share)
            covered.setdefault(name, []).append(share)
    for name, shares in covered.items():
        assert abs(np.mean(shares) - 0.9) < 0.04, (name, shares)


def test_rates_are_unbiased_where_few_visits_end():
    """Series of a tenth of a dwell: nine visits of ten are cut off."""
    random = np.random.default_rng(0)
    errors, dwells = [], []
    for _ in range(60):
        counts = exact_record(TWO_RATES, np.full(150, 0.2), random, gap=0.1)["kinetics"].to_dataset().squeeze()
        exposure, events = counts["exposure"].values, counts["events"].values.sum(1)
        errors.append(events / exposure / TWO_RATES.sum(1) - 1.0)
        dwells.append(events.sum() / 150)
    assert np.mean(dwells) < 0.12
    errors = np.array(errors)
    assert (abs(errors.mean(0)) < 3.3 * errors.std(0, ddof=1) / np.sqrt(len(errors))).all()
