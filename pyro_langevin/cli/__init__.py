"""The command line: demo, fit and report."""

from pyro_langevin.cli.main import main

__all__ = ["main"]
