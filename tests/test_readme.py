"""The programs of README and the page on large data run as they are printed, on little data and for a few steps."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pyro_langevin as pl
from pyro_langevin import datasets

ROOT = Path(__file__).parent.parent


def programs(page: str) -> list[str]:
    """The Python blocks of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.S | re.M)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same calls, with less data, fewer steps and fewer draws."""
    plt.switch_backend("Agg")
    pyro.set_rng_seed(0)
    monkeypatch.setattr(pl, "fit", functools.partial(pl.fit, steps=4, progress=False))
    little = functools.partial(datasets.double_well, n_series=8, n_times=30)
    monkeypatch.setattr(datasets, "double_well", little)
    whole = pl.posterior
    monkeypatch.setattr(pl, "posterior", lambda *args, draws: whole(*args, draws=min(draws, 5)))
    yield
    plt.close("all")


@pytest.mark.usefixtures("small")
def test_the_program_of_the_readme_fits_and_summarises(capsys: pytest.CaptureFixture[str]) -> None:
    known = datasets.three_states(6, 20, noise=1.0)  # shallow wells: their kinetics are cheap
    values, times = known.observations.values.numpy(), np.arange(20.0)
    program = next(text for text in programs("README.md") if "pl.fit(" in text)
    names = {"values": values, "times": times}
    exec(compile(program, "README.md", "exec"), names)
    assert names["idata"]["posterior"].sizes["draw"] == 5
    assert names["idata"]["posterior"].sizes["latent_dim"] == 2
    printed = capsys.readouterr().out
    assert "occupancy[A]" in printed and "dwell[A]" in printed


@pytest.mark.usefixtures("small")
def test_the_readme_s_path_in_a_model_of_one_s_own_has_a_density() -> None:
    program = next(text for text in programs("README.md") if "pl.LangevinPath(" in text)
    names = {
        "pl": pl,
        "pyro": pyro,
        "dist": dist,
        "dynamics": pl.Overdamped(pl.QuadraticPotential(2), friction=1.0),
        "initial": dist.Normal(torch.zeros(2), 1.0).to_event(1),
        "decoder": torch.nn.Linear(2, 3),
    }
    exec(compile(program, "README.md", "exec"), names)
    trace = pyro.poutine.trace(names["my_model"]).get_trace(torch.zeros(4, 5, 3), torch.arange(5.0))
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (4, 5, 2)
    assert trace.nodes["z"]["log_prob"].shape == trace.nodes["y"]["log_prob"].shape == (4,)


@pytest.mark.usefixtures("small")
def test_the_program_for_large_data_reads_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("record.npy", datasets.double_well(n_series=8, n_times=300).observations.values.numpy())
    program = next(text for text in programs("docs/large_data.md") if "pl.fit(" in text)
    names: dict[str, object] = {}
    exec(compile(program, "large_data.md", "exec"), names)
    assert "occupancy[A]" in capsys.readouterr().out
