"""Set the diffusion so that the learned process hops as often as its posterior paths.

On the ELBO a guide that is not exact inside the wells pays for every step in proportion to the diffusion, so that the
diffusion comes out low and the prior hops too seldom, while its posterior paths, held by the data, hop as they
should. At the maximum of the evidence the two would agree: the score of a rate vanishes where expected and smoothed
numbers of transitions are equal. Occupancies and barriers do not depend on the diffusion and all rates are
proportional to it, so one factor restores that balance, summed over the states.
"""

from __future__ import annotations

import numpy as np
import torch

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.landscape import LandscapeError, continuous_kinetics, count_transitions, find_landscape
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import Observations

_SERIES = 200
_FEWEST_EVENTS = 10


@torch.no_grad()
def calibrate_hopping(model: LangevinModel, guide: AmortisedGuide, observations: Observations) -> float:
    """Scale a learned diffusion to the hopping of the posterior paths.

    Nothing is done where the friction was given, where there is one state, where there are no continuous kinetics
    (above three dimensions, underdamped), or with fewer than ten transitions.

    Returns:
        The factor applied to the diffusion; 1 where nothing was done.
    """
    dynamics = model.dynamics
    if not dynamics.learns_friction or dynamics.dim > 3 or dynamics.dim != dynamics.position_dim:
        return 1.0
    chosen = torch.randperm(observations.n_series)[:_SERIES]
    batch = observations.select(chosen)
    path = guide.path(batch)
    z = path.rsample()
    grid = model.grid(batch)
    durations = np.where(grid.step_mask.cpu(), grid.steps.cpu(), 0.0)
    temperature = float(model.dynamics.temperature)
    states = z.reshape(-1, z.shape[-1]).double().cpu().numpy()
    try:
        landscape = find_landscape(
            model.dynamics.potential, states, temperature=temperature, beyond_starts=False
        )
        if landscape.n_states < 2:
            return 1.0
        counts = count_transitions(
            landscape.core(z.double().cpu().numpy()), durations, n_states=landscape.n_states
        )
        dwell = continuous_kinetics(landscape, float(model.dynamics.diffusion)).dwell
    except LandscapeError:
        return 1.0
    events, expected = float(counts.events.sum()), float((counts.exposure / dwell).sum())
    if events < _FEWEST_EVENTS or not expected > 0.0:
        return 1.0
    factor = events / expected
    model.dynamics.initialise(float(model.dynamics.diffusion) * factor)
    return factor
