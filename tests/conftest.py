"""What tests ask for by name before they run: precision, a seed, figures closed behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import matplotlib.pyplot as plt
import pyro
import pytest
import torch
from precision import default_dtype

try:
    import pooch
except ImportError:
    pooch = None


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded data come from this machine or not at all."""
    if pooch is None:
        return
    retrieve = pooch.retrieve

    def local(url: str, *args: Any, **options: Any) -> Any:
        if urlsplit(url).hostname != "127.0.0.1":
            raise OSError("tests download nothing")
        return retrieve(url, *args, **options)

    monkeypatch.setattr(pooch, "retrieve", local)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Tensors of 64 bits where nothing else is said; the test may choose another default for itself."""
    with default_dtype(torch.float64):
        yield


@pytest.fixture
def fixed_seed() -> Iterator[None]:
    """Seed 0, and no parameters of earlier tests in Pyro's store; nor any left there for later ones."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    pyro.clear_param_store()


@pytest.fixture
def close_figures() -> Iterator[None]:
    """No figure outlives its test."""
    yield
    plt.close("all")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, as a process of its own has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
