"""Guided particle smoothing: the posterior of the paths where a guide's draws alone are not enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.observations import Observations
from pyro_langevin.particle_filter.backward import draw_backward
from pyro_langevin.particle_filter.forward import run_forward
from pyro_langevin.particle_filter.problem import Problem
from pyro_langevin.particle_filter.widening import best_widening

_NUMBERS_AT_ONCE = 20_000_000  # coordinates of particles held in memory together


@dataclass(frozen=True, eq=False)
class ParticleSmoothing:
    """Posterior paths at the observation times, from independent runs of a particle smoother.

    Attributes:
        z: ``(run, draw, series, time, dim)``, states of equal weight within a run; NaN beyond a series' end.
        log_evidence: ``(series,)``, in nats: log of the mean over the runs of unbiased estimates.
        log_evidence_error: ``(series,)``, its standard error, from the spread of the runs.
        log_evidence_run: ``(run, series)``, that of each run.
        least_effective: ``(series,)``, smallest effective share of the particles at any observation, averaged over
            the runs.
        widening: ``(series,)``, factor by which the guide's deviations had to be widened, 1 for a guide that is wide
            enough.
    """

    z: Tensor
    log_evidence: Tensor
    log_evidence_error: Tensor
    log_evidence_run: Tensor
    least_effective: Tensor
    widening: Tensor

    @property
    def run_weight(self) -> Tensor:
        """Share of each run in the estimates, ``(run, series)``, in proportion to its evidence (sums to one)."""
        return self.log_evidence_run.softmax(0)

    def expectation(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean of a function of the paths, and its Monte Carlo standard error.

        Args:
            values: ``(run, draw, series, *event)``: the function, in every path of ``z``.

        Returns:
            Mean and error ``(series, *event)``. The runs are weighted by their evidence, which removes what bias the
            finite number of particles leaves in each; the error is their spread over the square root of their
            effective number.
        """
        each = values.double().mean(1)
        share = self.run_weight.reshape(*self.run_weight.shape, *(1,) * (each.dim() - 2))
        mean = (share * each).sum(0)
        return mean, each.std(0) * share.square().sum(0).sqrt()


@torch.no_grad()
def smooth_by_particles(
    guide: AmortisedGuide,
    observations: Observations,
    *,
    particles: int = 200,
    runs: int = 4,
    draws: int = 50,
    seed: int | None = None,
) -> ParticleSmoothing:
    """Posterior paths and log evidence of a guide's model, corrected for what the guide gets wrong.

    A particle filter moves particles by the guide's own steps (widened, where the guide is found too narrow), weights
    them by ``prior step * emission / guide step`` and resamples them where the weights become uneven; trajectories
    are then drawn backward. Monte Carlo, of the path *as discretised*: consistent as the particles grow in number,
    whatever the guide; their error is measured between independent runs. Over long records, where importance weights
    of whole paths fail, the variance of the log evidence grows in proportion to the length. Do not believe it where
    the runs' log evidences differ by more than a few nats: a guide can be too far off for any number of particles.

    Steps so short that a particle's next state tells which one it was (underdamped dynamics on a fine grid) leave
    the backward pass little choice; the errors then grow, and say so.

    Args:
        guide: A :class:`~pyro_langevin.SteeredGuide`, :class:`~pyro_langevin.ControlledGuide` or
            :class:`~pyro_langevin.GaussMarkovGuide`; it holds its model.
        observations: The data.
        particles: Particles a run.
        runs: Independent runs, at least two.
        draws: Trajectories a run.
        seed: Seed of the generator for this call alone; when omitted the global state is used.

    Raises:
        ValueError: If there are fewer than two runs or particles, or the guide's path is not drawn step by step.

    Source:
        Guided steps: Doucet, Godsill & Andrieu 2000. Backward draws: Godsill, Doucet & West 2004.
    """
    if runs < 2 or particles < 2 or draws < 1:
        raise ValueError(
            f"smooth_by_particles: expected at least 2 runs, 2 particles and 1 draw, got {runs}, {particles} and "
            f"{draws}; errors are the spread between runs"
        )
    devices = [observations.values.device] if observations.values.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        dim = guide.model.dynamics.dim
        kept = 2 * observations.n_times * particles * runs * dim
        compared = draws * particles * runs * dim
        at_once = max(1, _NUMBERS_AT_ONCE // max(kept, compared))
        parts = []
        for chosen in torch.arange(observations.n_series).split(at_once):
            batch = observations.select(chosen)
            widening = best_widening(guide, batch)
            problem = Problem.of(guide, batch, widening)
            filtered = run_forward(problem, particles, runs)
            z = draw_backward(problem, filtered, draws).movedim(1, 0)
            widened = torch.full_like(filtered.log_evidence[0], widening)
            parts.append((z, filtered.log_evidence, filtered.least_effective.mean(0), widened))
    z = torch.cat([part[0] for part in parts], 2)
    each = torch.cat([part[1] for part in parts], 1)
    least, widened = (torch.cat([part[i] for part in parts]) for i in (2, 3))
    evidence = each.logsumexp(0) - torch.log(torch.tensor(float(runs), dtype=each.dtype))
    return ParticleSmoothing(z, evidence, each.std(0) / runs**0.5, each, least, widened)

