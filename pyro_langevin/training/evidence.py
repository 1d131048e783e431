"""The objective without a guide: exact evidence, and what holds the potential where the data say nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_langevin.grid_filter import (
    Hops,
    PhaseSpacePropagator,
    Propagator,
    StateGrid,
    Transitions,
    grid_log_evidence,
    propagator_of,
    reduced_energy,
)
from pyro_langevin.model import LangevinModel
from pyro_langevin.observations import LongRecord, Observations

# Cells of the grid, and how far it goes beyond the data in standard deviations; cells are dear in a plane, and dearer
# in phase space.
_LINE, _PLANE, _PHASE_SPACE = (240, 1.0), (400, 0.3), (64, 0.6)
# Beyond the grid nothing is seen of the potential, so that a well could stand there unnoticed: probability around the
# grid beyond this share costs a few nats in all.
_APRON = 1.5
_OUTSIDE = 1e-4
# Where the emission gains by wells on the grid's edge (categories that are hardly ever mistaken), a few nats in all do
# not keep them: with a third of the law outside, the grid hopped half as often again as the potential. Beyond this
# share it costs nats per observed value.
_MOST_OUTSIDE = 0.01
_LEAK_NATS = 0.02
# Third derivatives beyond this (kT per cubed standard deviation of the data; a 4 kT double well has 60) are taken for
# ripples, which the evidence hardly sees but a chain trips over, and cost a few nats in all.
_RIPPLE = 100.0
_RIPPLE_NATS = 5.0
_OUTSIDE_NATS = 5.0
# Jump-like data want wells of no width that are relaxed in no time. What follows costs nats per observed value.
_NARROWEST = 1.2  # standard deviation of a well in cells: the grid sees it, and a chain of affordable step can leave it
_NARROW_NATS = 0.02
_FASTEST = 24.0  # relaxations in a well per gap: beyond, a passage is not told from a jump
_FAST_NATS = 0.005
_UNIT_NATS = 0.1
# Jumps leave no rows on the way between states, and a process that needs time to pass is kept from hopping by them.
# Hops are few among the transitions, so that with this weight they decide how often it hops, not what lies between.
_HOPS = 10.0
_MOVED_NATS = 10.0  # per squared kT, averaged over wells and barriers, by which counted hops may move a potential
_FIRST_MOVES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # diffusion times gap that is tried at the start


@dataclass(frozen=True, eq=False)
class EvidenceObjective:
    """Loss of a batch of windows per observed value: exact evidence and weak penalties.

    The penalties act where the likelihood is flat or has no maximum: ripples finer than the noise, wells outside the
    grid or too narrow for it, relaxations much faster than the sampling, and the unit of the latent space.

    Attributes:
        grid: Grid over the states.
        metric: How far apart the grid's states lay in data space when it was laid, ``(dim, dim)``.
        n_values: Number of observed values of all data.
        gap: Typical time between observations.
    """

    grid: StateGrid
    metric: Tensor
    n_values: int
    gap: float

    @classmethod
    def over(
        cls, states: Tensor, model: LangevinModel, observations: Observations | LongRecord
    ) -> EvidenceObjective:
        """For a model at its start, on a grid over the states ``(n, dim)`` that the data suggest."""
        if model.has_momenta:
            size, margin = _PHASE_SPACE
        else:
            size, margin = _LINE if states.shape[-1] == 1 else _PLANE
        grid = StateGrid.covering(states, size=size, margin=margin)
        return cls.on(grid, model, observations)

    @classmethod
    def on(cls, grid: StateGrid, model: LangevinModel, observations: Observations | LongRecord) -> EvidenceObjective:
        """For a model at its start, on a given grid."""
        with torch.no_grad():
            metric = _metric(model, grid)
        return cls(grid, metric, observations.n_values, observations.typical_gap)

    def __call__(self, model: LangevinModel, batch: Observations) -> Tensor:
        misfit = -grid_log_evidence(model, batch, self.grid).sum() / batch.mask.sum()
        return misfit + self._held(model) + self._unit(model)

    def of_transitions(
        self,
        model: LangevinModel,
        lagged: Transitions,
        rows: Transitions | None,
        state: Tensor | None,
        weight: float = 1.0,
    ) -> Tensor:
        """The same for counted transitions instead of observations: only the dynamics are seen.

        Args:
            model: The model.
            lagged: Transitions at the lag.
            rows: Transitions from row to row, which then take the place of the lagged ones in all but the hops.
            state: State of every cell, ``(n,)``, to give the hops between states at the lag their weight.
            weight: Factor on that weight.
        """
        propagator = Propagator.of(model.dynamics.read(), self.grid)
        counted = lagged if rows is None else rows
        gaps = torch.tensor([counted.gap, lagged.gap], dtype=torch.float64, device=lagged.counts.device)
        over_gap, over_lag = propagator.matrices(gaps)
        misfit = -counted.evidence_bound(over_gap)
        if state is not None:
            hops = lagged.hop_divergence(over_lag, propagator.root_weight.square(), state)
            misfit = misfit + weight * _HOPS * hops
        return misfit / counted.n_values + self._held(model)

    def of_hops(self, model: LangevinModel, hops: Hops) -> Tensor:
        """For the potential alone: hops as many as counted, else what it was when they were counted."""
        propagator = propagator_of(model, self.grid)
        assert isinstance(propagator, PhaseSpacePropagator)
        held = {name: getattr(propagator, name).detach() for name in ("friction", "mass", "thermal")}
        energy = reduced_energy(model, self.grid)
        change = energy - hops.energy
        weight = torch.softmax(-0.5 * hops.energy, 0)
        moved = (weight * (change - (weight * change).sum()).square()).sum()
        misfit = hops.divergence(replace(propagator, **held), energy) + _MOVED_NATS * moved
        return misfit / self.n_values

    def _unit(self, model: LangevinModel) -> Tensor:
        """Penalty that keeps the latent unit, where the data leave it free, that in which the grid was laid."""
        if model.dynamics.fixes_unit:
            return torch.zeros((), device=self.metric.device)
        one = torch.eye(self.grid.dim).to(self.metric)
        return _UNIT_NATS * (torch.linalg.solve(self.metric, _metric(model, self.grid)) - one).square().sum()

    def _held(self, model: LangevinModel) -> Tensor:
        """Penalties on the dynamics per observed value."""
        ripples, narrow, fast = self._roughness(model)
        outside = self._outside(model)
        leak = (outside / _MOST_OUTSIDE).clamp_min(1.0).log().square()
        weak = _RIPPLE_NATS * ripples + _OUTSIDE_NATS * torch.log1p(outside / _OUTSIDE)
        return weak / self.n_values + _NARROW_NATS * narrow + _FAST_NATS * fast + _LEAK_NATS * leak

    @torch.no_grad()
    def start_diffusion(self, model: LangevinModel, batch: Observations) -> None:
        """Start a learned diffusion at the best of a few values for the data, the potential being where it is."""
        losses = {}
        for moved in _FIRST_MOVES:
            model.dynamics.initialise(moved / self.gap)
            losses[float(self(model, batch))] = moved / self.gap
        model.dynamics.initialise(losses[min(losses)])

    def _roughness(self, model: LangevinModel) -> tuple[Tensor, Tensor, Tensor]:
        """How far a potential goes beyond what data and grid can tell, averaged over states and barriers.

        Returns:
            Logarithmic size of the third derivatives (ripples), squared logarithmic excess of the curvatures (narrow
            wells) and of the relaxation rates.
        """
        dynamics = model.dynamics.read()
        points = self.grid.points.to(dynamics.friction)
        expansion = dynamics.energy.expansion(points)
        energy = dynamics.energy.energy(points).detach() / dynamics.temperature.detach()
        weight = torch.softmax(-0.5 * energy, 0)
        twist = expansion.laplacian_gradient / dynamics.temperature
        ripples = (weight * torch.log1p((twist / _RIPPLE).square().sum(-1))).sum()
        curvature = expansion.hessian.square().sum((-2, -1)).clamp_min(1e-30).sqrt() / dynamics.temperature
        narrow = curvature * (_NARROWEST * self.grid.spacing) ** 2
        # with momenta a well is left and crossed at the thermal speed, however small the friction
        still = dynamics.dim == dynamics.position_dim
        fast = curvature * dynamics.diffusion.mean() * self.gap / _FASTEST if still else torch.zeros_like(narrow)
        excess = [(weight * ratio.clamp_min(1.0).log().square()).sum() for ratio in (narrow, fast)]
        return ripples, excess[0], excess[1]

    def _outside(self, model: LangevinModel) -> Tensor:
        """Boltzmann weight around the grid, where no evidence acts on it, relative to that on the grid."""
        dynamics = model.dynamics.read()
        apron = self.grid.apron(_APRON)

        def log_mass(points: Tensor) -> Tensor:
            return torch.logsumexp(-dynamics.energy.energy(points.to(dynamics.friction)) / dynamics.temperature, 0)

        return (log_mass(apron) - log_mass(self.grid.points)).exp()


def _metric(model: LangevinModel, grid: StateGrid) -> Tensor:
    """Metric ``(dim, dim)`` that the decoder's linear part carries from its outputs back to the states of a grid."""
    points = grid.points.to(next(model.parameters()))
    centred = points - points.mean(0)
    slope = torch.linalg.lstsq(centred, model.emission.decoded(points)).solution  # (dim, output)
    return slope @ slope.mT
