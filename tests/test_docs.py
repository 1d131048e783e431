"""Pages of the documentation name what there is: files, public names, programs that compile."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pyro_langevin as pl

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")])
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


@each_page
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@each_page
def test_programs_are_programs_and_use_public_names(page: Path) -> None:
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pl":
                assert hasattr(pl, node.attr), f"pl.{node.attr}"


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:benchmarks|tutorials|docs|tests)/[\w./]+\.(?:py|md))`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
