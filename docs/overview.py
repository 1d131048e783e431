"""The figure of the README, from the results of the demo: python docs/overview.py demo docs/overview.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt

import pyro_langevin as pl


def main() -> None:
    """Draw data with their states, the learned landscape and the dwell times of a posterior file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="results of `pyro-langevin demo` or `fit`")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    idata = az.from_netcdf(options.folder / "posterior.nc")
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), width_ratios=(1.5, 1, 1), layout="constrained")
    hops = (idata["state_path"]["visit"].isel(chain=0, draw=0).diff("time") != 0).sum("time")
    pl.plot_data(idata, ax=axes[0], series=int(hops.values.argmax()))
    pl.plot_landscape(idata, ax=axes[1])
    pl.plot_dwell_survival(idata, ax=axes[2])
    figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
