"""Could any potential explain the data: do they look the same read backwards?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_langevin.diagnostics.detailed_balance import detailed_balance
from pyro_langevin.diagnostics.layout import Draws
from pyro_langevin.diagnostics.stationarity import stationarity
from pyro_langevin.diagnostics.verdicts.wording import time_unit

__all__ = ["detailed_balance_broken"]

P_VALUE = 0.002
"""Of each of the two tests, of the paths' cycles and of the data's moments: one false alarm in five hundred fits."""
OUT_OF_EQUILIBRIUM = 2.5
"""Standard deviations by which the series' first states, or halves, may differ from the long run: beyond, the data's
moments tell of relaxation and are not held against the potential."""


def detailed_balance_broken(idata: Draws) -> Iterator[str]:
    """Warning where paths go round, or the data's moments tell forwards from backwards."""
    if "state_path" not in idata or "observed_data" not in idata:
        return
    table = detailed_balance(idata)
    if float(table["p_value"]) < P_VALUE:
        flux = table["net_flux"]
        surprise = np.nan_to_num((flux / table["net_flux_sd"].where(table["net_flux_sd"] > 0.0)).values)
        one, other = np.unravel_index(int(np.argmax(surprise)), surprise.shape)
        cell = flux.isel(state_from=one, state_to=other)
        per = time_unit(idata) or " time unit"
        yield (
            f"Detailed balance is broken: the posterior paths go round rather than to and fro, {float(cell):.3g} more "
            f"passages a{per} from {cell['state_from'].item()} to {cell['state_to'].item()} than back, and the cycle "
            f"is {abs(float(table['z'])):.1f} standard deviations from none (p = {float(table['p_value']):.2g}). No "
            "potential can do that. Believe the paths' occupancies and dwell times; the potential's barriers and "
            "passage times are those of the nearest reversible process."
        )
    elif float(table["asymmetry_p_value"]) < P_VALUE and not _out_of_equilibrium(idata):
        surprise = np.nan_to_num(abs(table["asymmetry_z"]).values)
        lag, one, other = np.unravel_index(int(np.argmax(surprise)), surprise.shape)
        cell = table["asymmetry_z"].isel(lag=lag, channel=one, channel_other=other)
        names = cell["channel"].item(), cell["channel_other"].item()
        which = f"channel {names[0]}" if one == other else f"channels {names[0]} and {names[1]}"
        yield (
            f"The data look different read backwards: {which}, at a lag of {float(cell['lag']):.3g}{time_unit(idata)}, "
            f"{abs(float(cell)):.1f} standard deviations from a reversible process (p = "
            f"{float(table['asymmetry_p_value']):.2g}). A potential, with or without momentum, cannot explain that: "
            "its barriers and passage times are those of the nearest reversible process. Something drives the system, "
            "or the recording does (filters with a memory)."
        )


def _out_of_equilibrium(idata: Draws) -> bool:
    table = stationarity(idata)
    worst = max(float(np.nanmax(abs(table[name]).fillna(0.0).values)) for name in ("start_z", "z", "rate_z"))
    return worst > OUT_OF_EQUILIBRIUM
