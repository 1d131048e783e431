"""The demo, and the scores it prints."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from command_line import contents

from pyro_langevin import datasets
from pyro_langevin.cli import demo, main
from pyro_langevin.cli.scores import double_well_scores


def test_demo_compares_with_the_exact_answer_and_writes_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(datasets.double_well, 8, 40)
    monkeypatch.setattr(datasets, "double_well", small)
    code = main(["demo", "--out", str(tmp_path), "--steps", "6", "--seeds", "2"])
    printed = capsys.readouterr().out
    verdicts = [line.split()[-1] for line in printed.splitlines() if line.endswith(("ok", "OFF"))]
    assert len(verdicts) == 8 and code == (1 if "OFF" in verdicts else 0)
    line = next(line for line in printed.splitlines() if line.startswith("MFPT left->right"))
    assert "28.06" in line and "5.613" in line
    assert {"posterior.nc", "report.html", "summary.json"} <= set(contents(tmp_path))


def known_draws(loadings: np.ndarray) -> xr.DataTree:
    """Three perfect seeds but for their latent gauge: stretched by 2, turned round and shrunk, one lost state."""
    exact = datasets.TILTED_DOUBLE_WELL
    order = np.array([[0, 1], [1, 0], [0, 0]])
    minima = np.array(exact.minima)[order]
    minima[2, 1] = np.nan
    scale = np.array([2.0, -0.5, 1.0])
    passage = np.array([[np.nan, exact.mfpt[0, 1]], [exact.mfpt[1, 0], np.nan]])
    barrier = np.array([[np.nan, exact.barrier(0, 1)], [exact.barrier(1, 0), np.nan]])
    swapped = (slice(None, None, -1),) * 2
    share = np.array(exact.occupancy)[order]
    pair, draw = ("chain", "state_from", "state_to"), ("chain", "draw")
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {
                    "weight": ((*draw, "channel", "latent_dim"), (loadings / scale[:, None, None])[:, None]),
                    "diffusion": ((*draw, "latent_dim"), scale[:, None, None] ** 2),
                }
            ),
            "states": xr.Dataset(
                {
                    "location": (("chain", "state", "channel"), minima @ loadings.T + 0.0),
                    "n_states": ("chain", [2, 2, 1]),
                    "beta_barrier": (pair, np.stack([barrier, barrier[swapped], barrier])),
                }
            ),
            "kinetics": xr.Dataset({"mfpt": (pair, np.stack([passage, passage[swapped], passage]))}),
            "occupancy": xr.Dataset(
                {
                    "stationary": (("chain", "state"), share),
                    "path": ((*draw, "series", "state"), share[:, None, None]),
                }
            ),
        }
    )


def test_scores_find_the_sides_and_the_true_gauge() -> None:
    loadings = np.array([[0.6], [-0.8], [0.3]])
    scores = double_well_scores(known_draws(loadings), loadings, datasets.TILTED_DOUBLE_WELL)
    assert len(scores) == 8
    for score in scores[1:-1]:
        assert score.found[:2] == pytest.approx((score.exact, score.exact))
        assert np.isnan(score.found[2]) and not score.recovered
    assert scores[0].found == (2, 2, 1) and not scores[0].recovered
    assert scores[-1].found == pytest.approx((1.0, 1.0, 1.0)) and scores[-1].recovered


def test_demo_says_off_when_one_seed_is(capsys: pytest.CaptureFixture[str]) -> None:
    score = demo.Score("barrier", 4.0, (4.1, 4.6), 0.5)
    text = demo.scores_text([score, demo.Score("count", 2.0, (2.0, 2.0), 0.0)], [0, 1])
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["OFF", "ok"]
    assert not demo.Score("unknown", 1.0, (float("nan"),), 0.5).recovered
