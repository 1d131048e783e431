"""Tutorials as notebooks with their results: ``python docs/tutorials/render.py tutorials/quickstart.py ...``.

Each is run whole, at full size, in a fresh process whose folder is a temporary one. What it prints and draws goes, with
its text, into ``docs/tutorials/<name>.ipynb``, which the documentation shows as it is. Where only the text has changed
since, nothing is run (``--again`` runs it all the same).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def render(tutorial: Path, *, again: bool) -> float:
    """Write the notebook of a tutorial; return the seconds that it ran."""
    notebook = jupytext.read(tutorial, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    start = time.perf_counter()
    target = HERE / f"{tutorial.stem}.ipynb"
    if again or not target.exists() or not results_of(target, notebook):
        run(notebook)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same at every rendering, so that only changes show
    notebook.metadata.pop("jupytext", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    nbformat.write(notebook, target)
    return time.perf_counter() - start


def results_of(rendered: Path, notebook: nbformat.NotebookNode) -> bool:
    """Take over what the same program printed and drew before; False if the program has changed."""
    before = nbformat.read(rendered, as_version=4)
    old, new = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (before, notebook))
    if [cell.source for cell in old] != [cell.source for cell in new]:
        return False
    for done, cell in zip(old, new, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    notebook.metadata["language_info"] = before.metadata.get("language_info", {})
    return True


def run(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=None, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tutorials", nargs="+", type=Path)
    parser.add_argument("--again", action="store_true")
    if os.environ.pop("PYRO_LANGEVIN_SMOKE", None):
        print("PYRO_LANGEVIN_SMOKE is set: ignored, tutorials are rendered at full size")
    # Pyro's import of tqdm warns in a kernel without widgets, with a path of this machine
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # any other would keep no figure
    options = parser.parse_args()
    for tutorial in options.tutorials:
        print(f"{tutorial.stem}: {render(tutorial, again=options.again):.0f} s", flush=True)


if __name__ == "__main__":
    main()
