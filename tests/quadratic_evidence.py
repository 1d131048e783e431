"""A linear-Gaussian model of ragged series, with the exact evidence that no guide's bound may exceed."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from linear_gaussian import LinearEmission, OrnsteinUhlenbeck, kalman_log_evidence
from pyro.infer import Trace_ELBO
from standard_errors import ALLOWED_ERRORS
from torch import Tensor, nn

import pyro_langevin as pl
from pyro_langevin.guides import AmortisedGuide


def quadratic_model(data: pl.Observations, *, max_step: float | None) -> tuple[pl.LangevinModel, Tensor]:
    """A quadratic potential seen through a linear decoder, and the log evidence of all series."""
    process = OrnsteinUhlenbeck(
        torch.tensor([[1.5]]), torch.tensor([0.2]), 1.0, 1.0, torch.tensor([0.1]), torch.tensor([[0.5]])
    )
    emission = pl.GaussianEmission(1, data.obs_dim)
    model = pl.LangevinModel(
        pl.Overdamped(pl.QuadraticPotential(1, 0.2, stiffness=1.5), friction=1.0),
        emission,
        initial=lambda: dist.Normal(torch.tensor([0.1]), math.sqrt(0.5)).to_event(1),  # type: ignore[arg-type]
        max_step=max_step,
    )
    assert isinstance(emission.decoder, nn.Linear)
    exact = LinearEmission(emission.decoder.weight.detach(), emission.decoder.bias.detach(), torch.ones(data.obs_dim))
    by_series = [
        kalman_log_evidence(process, exact, data.times[i, :n], data.values[i, :n], data.mask[i, :n])
        for i, n in enumerate(data.lengths.tolist())
    ]
    return model, torch.stack(by_series).sum()


@torch.no_grad()
def assert_below_evidence(guide: AmortisedGuide, data: pl.Observations, evidence: Tensor, *, draws: int) -> None:
    """The mean bound is no more than the evidence, nor is the mean weight more than one."""
    bounds = -torch.tensor([Trace_ELBO().loss(guide.model, guide, data) for _ in range(draws)])
    weights = (bounds - evidence).exp()
    assert bounds.mean() < evidence + ALLOWED_ERRORS * bounds.std() / math.sqrt(draws)
    # the weights' mean is an unbiased estimate of the evidence, if a noisy one
    assert weights.mean().item() < 1.0 + ALLOWED_ERRORS * weights.std().item() / math.sqrt(draws)
