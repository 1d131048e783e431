"""Every tutorial runs from its first cell to its last, at a small size, and its notebook shows the same program."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pyro
import pytest
import torch
from precision import default_dtype

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


def run(tutorial: Path) -> dict[str, object]:
    """The names that a tutorial leaves behind."""
    pyro.clear_param_store()
    try:
        with default_dtype(torch.float32):  # some choose another for themselves
            return runpy.run_path(str(tutorial))
    except FileNotFoundError as error:
        if not str(error).startswith("recorded data:"):
            raise
        pytest.skip(str(error))  # recorded data are not part of the repository, and tests download nothing
    finally:
        plt.close("all")
        pyro.clear_param_store()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")


@pytest.mark.tutorials
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(tutorial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_LANGEVIN_SMOKE", "1")
    assert tutorial.read_text(encoding="utf-8").startswith("# %% [markdown]\n# # ")
    run(tutorial)


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_rendered_notebook_is_of_this_text(tutorial: Path) -> None:
    notebook = json.loads((ROOT / "docs" / "tutorials" / f"{tutorial.stem}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    blocks = tutorial.read_text(encoding="utf-8").split("# %%")
    code = [block.strip() for block in blocks if block.strip() and not block.startswith(" [markdown]")]
    assert ["".join(cell["source"]) for cell in cells] == code, "render it again: make tutorials"
    assert all(cell["execution_count"] == number for number, cell in enumerate(cells, start=1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    drawn = sum("image/png" in output.get("data", {}) for output in outputs)
    assert drawn >= tutorial.read_text(encoding="utf-8").count("\nplt.show()"), "rendered without figures"


@pytest.mark.slow
@pytest.mark.tutorials
def test_a_model_of_your_own_recovers_both_barriers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYRO_LANGEVIN_SMOKE", raising=False)
    names = run(next(path for path in TUTORIALS if path.stem == "your_own_model"))
    recovered, true = names["recovered"], names["TRUE_HEIGHTS"]
    assert isinstance(recovered, torch.Tensor) and isinstance(true, torch.Tensor)
    # 320 time units hold about 100 passages over the low barrier and 18 over the high one, which leave 1 / sqrt(number)
    # of a kT open: three standard deviations in each of the experiments
    assert bool(((recovered[1] - true).abs() < torch.tensor([0.3, 0.7])).all())


def test_the_model_of_your_own_is_short() -> None:
    text = next(path for path in TUTORIALS if path.stem == "your_own_model").read_text(encoding="utf-8")
    model = text[text.index("class DoubleWell") : text.index("# ## Data")]
    assert sum(bool(line.strip()) and not line.startswith("#") for line in model.splitlines()) < 40
