"""The density of a path of three points in one dimension, integrated over a cube."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2

from pyro_langevin.paths import LangevinPath


def assert_density_is_one_and_sampled(path: LangevinPath) -> None:
    """The density integrates to one, and 20,000 samples fall into its cells as it says (chi squared, 1 in 10^6)."""
    # cell centres over a cube that holds all but 1e-4 of the mass: the midpoint rule is spectrally exact
    bins, per_bin, half = 8, 9, 4.0
    size = bins * per_bin
    centres = (torch.arange(size) + 0.5) / size * 2 * half - half
    points = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1).unsqueeze(-1)
    mass = path.log_prob(points).exp() * (2 * half / size) ** 3
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-4)

    expected = mass.reshape(bins, per_bin, bins, per_bin, bins, per_bin).sum((1, 3, 5)).flatten()
    n_paths = 20_000
    z = path.rsample(torch.Size([n_paths])).squeeze(-1)
    cell = ((z + half) / (2 * half) * bins).long().clamp(0, bins - 1)
    counts = torch.bincount((cell * torch.tensor([bins**2, bins, 1])).sum(-1), minlength=bins**3)
    likely = expected * n_paths > 5
    found = torch.cat([counts[likely], counts[~likely].sum()[None]])
    wanted = torch.cat([expected[likely], expected[~likely].sum()[None]]) * n_paths
    statistic = ((found - wanted).square() / wanted).sum().item()
    assert chi2.sf(statistic, len(wanted) - 1) > 1e-6
