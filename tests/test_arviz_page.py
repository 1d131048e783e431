"""The programs of the page on ArviZ run as they are printed, after the quickstart's."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pyro
import pytest
import torch
from hand_made_fits import GRID, fitted, well_data, well_model

import pyro_langevin as pl

PAGE = Path(__file__).parent.parent / "docs" / "arviz.md"


def test_the_page_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    result, observations = fitted(well_model(4.0).float(), grid=GRID), well_data(2, 20).to(dtype=torch.float32)
    idata = pl.posterior(result, observations, draws=40)
    names = {"pl": pl, "result": result, "observations": observations, "idata": idata}
    # the page's guide leaves parameters behind, of names that other programs use
    with warnings.catch_warnings(), pyro.get_param_store().scope():
        warnings.simplefilter("ignore")  # ArviZ 0.23 with matplotlib 3.11 and pandas 3, and few draws
        for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M):
            exec(compile(block, "arviz.md", "exec"), names)
    plt.close("all")
    printed = capsys.readouterr().out
    assert "path[" in printed and "('chain', 'draw', 'group', 'time')" in printed
    groups = set(names["idata"].children) if hasattr(names["idata"], "children") else set(names["idata"].groups())
    assert {"posterior_predictive", "prior_predictive", "log_likelihood"} <= groups
