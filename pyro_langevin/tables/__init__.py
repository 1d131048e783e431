"""Observations from files: CSV, TSV and other delimited text, Parquet, NetCDF."""

from pyro_langevin.tables.read import read_table
from pyro_langevin.tables.table import TableError, TableWarning

__all__ = ["TableError", "TableWarning", "read_table"]
