"""How an emission refuses values that it cannot describe."""

from __future__ import annotations

from torch import Tensor

from pyro_langevin.observations import ObservationError, Observations


def refuse_where(wrong: Tensor, observations: Observations, expected: str, fix: str) -> None:
    """Raises if an observed value is wrong, naming the first one.

    Args:
        wrong: ``(series, time, obs_dim)``; what it says of missing values is ignored.
        observations: The data.
        expected: What values should be.
        fix: What the user can do.

    Raises:
        ObservationError: One line with the value, its time, channel and series, and the number of such values.
    """
    places = (wrong & observations.mask).nonzero()
    if not len(places):
        return
    series, row, channel = places[0].tolist()
    raise ObservationError(
        f"observations: expected {expected}, got {float(observations.values[series, row, channel]):.6g} at time "
        f"{float(observations.times[series, row]):.10g} of channel {observations.channels[channel]!r} in series "
        f"{observations.series_names[series]!r} ({len(places)} such values); {fix}"
    )
