"""Verdicts: what in a fit is not to be believed, in plain English."""

from pyro_langevin.diagnostics.verdicts.audit import CHECKS, all_warnings, audit

__all__ = ["CHECKS", "all_warnings", "audit"]
