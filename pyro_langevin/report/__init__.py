"""The report of a fit: one HTML file that needs nothing else."""

from pyro_langevin.report.write import write_report

__all__ = ["write_report"]
