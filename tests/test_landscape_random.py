"""Random neural potentials: every minimum that brute force finds, every barrier that a fine string finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from pyro_langevin.landscape import Landscape, find_landscape, minimum_energy_path
from pyro_langevin.landscape.descent import descend, is_stationary
from pyro_langevin.landscape.minima import distinct
from pyro_langevin.landscape.surface import Floats, ReducedEnergy
from pyro_langevin.potentials.mixture import MixturePotential
from pyro_langevin.potentials.neural import NeuralPotential
from pyro_langevin.potentials.quadratic import QuadraticPotential

IMAGES = 200
TOLERANCE = 1e-3  # kT


def random_potential(dim: int, seed: int) -> NeuralPotential:
    """A network of random ridges, in a quadratic bowl for even seeds, on a mixture of twelve Gaussians for odd ones."""
    torch.manual_seed(seed)
    bowl = QuadraticPotential(dim, 0.0, stiffness=1.5)
    potential = NeuralPotential(dim, 48, reference=MixturePotential(dim, 12) if seed % 2 else bowl)
    with torch.no_grad():
        potential.height.copy_((10.0 if seed % 2 else 20.0) * torch.randn(48))
    return potential


def with_wells(dim: int, count: int) -> Iterator[tuple[NeuralPotential, Floats, Landscape]]:
    """The first potentials with at least two wells deeper than 1 kT, five starts, and the landscapes from these."""
    seed = 0
    while count:
        potential = random_potential(dim, seed)
        starts = np.random.default_rng(seed).normal(size=(5, dim))
        landscape = find_landscape(potential, starts, merge_below=1.0)
        if landscape.n_states > 1:
            count -= 1
            yield potential, starts, landscape
        seed += 1


def brute_force(potential: NeuralPotential, descents: int) -> Floats:
    """Minima up to 15 kT above the lowest to which descents from random points lead."""
    surface = ReducedEnergy(potential)
    ends = descend(surface, np.random.default_rng(1).normal(0.0, 2.0, (descents, surface.dim)), radius=0.3)
    ends = ends[is_stationary(surface, ends, index=0)]
    minima = distinct(ends, surface(ends), tolerance=1e-3)
    energy = surface(minima)
    return minima[energy < energy.min() + 15.0]


def fine_string_tops(surface: ReducedEnergy, strings: Floats, iterations: int = 1500) -> Floats:
    """Highest energy along strings ``(k, images, d)`` once they have relaxed by plain steps, ``(k,)``."""
    hessian = surface.slope_and_curvature(strings.reshape(-1, surface.dim))[1]
    step = 0.5 / np.quantile(np.abs(np.linalg.eigvalsh(hessian)).max(-1).reshape(strings.shape[:2]), 0.95)
    even = np.linspace(0.0, 1.0, strings.shape[1])
    for _ in range(iterations):
        before = strings
        slope = surface.gradient(strings[:, 1:-1].reshape(-1, surface.dim)).reshape(strings[:, 1:-1].shape)
        size = np.linalg.norm(slope, axis=-1, keepdims=True)
        moved = strings[:, 1:-1] - step * slope * np.minimum(1.0, 0.1 / (step * size + 1e-300))
        strings = np.concatenate([strings[:, :1], moved, strings[:, -1:]], 1)
        for k, line in enumerate(strings):
            arc = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=-1).cumsum()])
            strings[k] = np.stack([np.interp(even * arc[-1], arc, line[:, axis]) for axis in range(surface.dim)], -1)
        if np.abs(strings - before).max() < 1e-6:
            break
    tops = []
    for line in strings:  # the curve between the images
        arc = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=-1).cumsum()])
        fine = CubicSpline(arc, line)(np.linspace(0.0, arc[-1], 20 * len(line)))
        tops.append(surface(fine).max())
    return np.array(tops)


def lowest_ways(height: Floats) -> Floats:
    for k in range(len(height)):
        height = np.minimum(height, np.maximum(height[:, k : k + 1], height[k : k + 1]))
    return height


def check(potential: NeuralPotential, landscape: Landscape, descents: int, *, most_pairs: int) -> dict[str, float]:
    """All minima and barriers of a landscape against brute force; returns the figures."""
    surface, count = landscape.surface, landscape.n_states
    minima = brute_force(potential, descents)
    apart = np.linalg.norm(minima[:, None] - landscape.minimum, axis=-1)
    missed = minima[apart.min(1) > 1e-3]
    assert not len(missed), f"missed minima at {surface(missed) - surface(minima).min()}"
    # strings that know nothing of the saddles: no way between the nearest minima may be lower than that found
    distance = np.linalg.norm(landscape.minimum[:, None] - landscape.minimum, axis=-1)
    pairs = sorted(((i, j) for i in range(count) for j in range(i)), key=lambda p: distance[p])[:most_pairs]
    lines = np.array([np.linspace(landscape.minimum[i], landscape.minimum[j], IMAGES) for i, j in pairs])
    height = np.full((count, count), np.inf)
    for (i, j), top in zip(pairs, fine_string_tops(surface, lines), strict=True):
        height[i, j] = height[j, i] = top - surface(landscape.minimum).min()
    found = landscape.beta_barrier + landscape.beta_energy[:, None]
    between = ~np.eye(count, dtype=bool)
    below = (lowest_ways(height) - found)[between]
    assert below.min() > -TOLERANCE
    # strings that start from the paths found, shaken: each must come to rest at the barrier found
    states = [(int(i), int(j)) for i, j in landscape.saddle_joins]
    paths = [minimum_energy_path(landscape, i, j, images=IMAGES) for i, j in states]
    arch = np.sin(np.pi * np.linspace(0.0, 1.0, IMAGES))[:, None]
    shake = 0.02 * np.random.default_rng(2).normal(size=(len(paths), 1, surface.dim))
    tops = fine_string_tops(surface, np.array([path.points for path in paths]) + shake * arch)
    barrier = np.array([found[pair] for pair in states])
    error = np.abs(tops - surface(landscape.minimum).min() - barrier)
    assert error.max() < TOLERANCE
    np.testing.assert_allclose([path.saddle_beta_energy.max() for path in paths], barrier, atol=1e-9)
    assert landscape.saddle_exact.all()
    return {
        "minima": len(minima),
        "found": count,
        "barriers": len(states),
        "error": float(error.max()),
        "strings agree": float((below < TOLERANCE).mean()),
    }


@pytest.mark.parametrize(("dim", "descents"), [(2, 500), (6, 1500)])
def test_a_random_neural_potential(dim: int, descents: int) -> None:
    """Every minimum that brute force finds, and no string lower than the barriers."""
    for potential, _, landscape in with_wells(dim, 1):
        minima = brute_force(potential, descents)
        apart = np.linalg.norm(minima[:, None] - landscape.network.minima, axis=-1)
        assert len(minima) > 1
        assert (apart.min(1) < 1e-3).all()
        assert landscape.saddle_exact.all()
        path = minimum_energy_path(landscape, 0, 1, images=40)
        top = fine_string_tops(landscape.surface, path.points[None], 300)[0]
        top -= landscape.surface(landscape.minimum).min()
        assert top == pytest.approx(path.saddle_beta_energy.max(), abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "descents", "most_pairs"), [(2, 5_000, 40), (6, 20_000, 15)])
def test_ten_random_neural_potentials(dim: int, descents: int, most_pairs: int) -> None:
    for potential, starts, merged in with_wells(dim, 10):
        landscape = find_landscape(potential, starts, merge_below=0.0)
        figures = check(potential, landscape, descents, most_pairs=most_pairs)
        print(merged.n_states, "wells deeper than 1 kT", figures, flush=True)
