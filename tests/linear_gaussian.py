"""Linear-Gaussian problems solved exactly: known answers for paths, guides and evidences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """Overdamped dynamics on a quadratic potential with symmetric stiffness and scalar friction.

    Everything follows from the eigenvectors of the stiffness, at any pair of times: no recursion over steps.
    """

    stiffness: Tensor
    centre: Tensor
    friction: float
    temperature: float
    initial_mean: Tensor
    initial_covariance: Tensor

    @property
    def dim(self) -> int:
        return len(self.centre)

    def flow(self, gap: float) -> Tensor:
        """``exp(-K gap / friction)``."""
        rates, axes = torch.linalg.eigh(self.stiffness / self.friction)
        return (axes * (-rates * gap).exp()) @ axes.mT

    def gained(self, gap: float) -> Tensor:
        """Covariance that a known state gains in a time ``gap``."""
        rates, axes = torch.linalg.eigh(self.stiffness / self.friction)
        diffusion = self.temperature / self.friction
        return (axes * (diffusion * -torch.expm1(-2.0 * rates * gap) / rates)) @ axes.mT

    def path_law(self, times: Tensor) -> MultivariateNormal:
        """Joint law of the states at ``times`` ``(n,)``, flattened to ``(n * dim,)``."""
        since = (times - times[0]).tolist()
        mean = torch.stack([self.centre + self.flow(t) @ (self.initial_mean - self.centre) for t in since])
        at_time = [self.flow(t) @ self.initial_covariance @ self.flow(t) + self.gained(t) for t in since]
        blocks = [
            [self.flow(t - s) @ at_time[j] if t >= s else at_time[i] @ self.flow(s - t) for j, s in enumerate(since)]
            for i, t in enumerate(since)
        ]
        covariance = torch.cat([torch.cat(row, dim=1) for row in blocks])
        return MultivariateNormal(mean.flatten(), covariance)


@dataclass(frozen=True)
class LinearEmission:
    """Observations ``y = weight z + bias + noise``, independent noise per channel."""

    weight: Tensor
    bias: Tensor
    noise: Tensor


@dataclass(frozen=True)
class ExactPosterior:
    """Posterior of a path as backward messages: ``exp(-z^T H z / 2 + h^T z)`` on every state.

    Attributes:
        precision: ``H``, ``(n, dim, dim)``: of all that is observed at and after each state.
        information: ``h``, ``(n, dim)``.
        first_mean: Mean of the first state given everything.
        first_covariance: Its covariance.
    """

    precision: Tensor
    information: Tensor
    first_mean: Tensor
    first_covariance: Tensor

    @property
    def centre(self) -> Tensor:
        """Where the messages after each step peak, ``(n - 1, dim)``; somewhere, where they are flat."""
        inverse = torch.linalg.pinv(self.precision[1:], hermitian=True, rtol=1e-13)
        return (inverse @ self.information[1:].unsqueeze(-1)).squeeze(-1)

    @property
    def root(self) -> Tensor:
        """Factor of the precisions after each step, ``(n - 1, dim, dim)``."""
        values, axes = torch.linalg.eigh(self.precision[1:])
        return axes * values.clamp_min(0.0).sqrt().unsqueeze(-2)


def kalman_log_evidence(
    process: OrnsteinUhlenbeck, emission: LinearEmission, times: Tensor, values: Tensor, mask: Tensor
) -> Tensor:
    """Log evidence of one series ``values`` ``(n, channels)`` where ``mask``, by the Kalman filter."""
    mean, covariance = process.initial_mean, process.initial_covariance
    total = torch.zeros(())
    for k in range(len(times)):
        if k > 0:
            gap = float(times[k] - times[k - 1])
            flow = process.flow(gap)
            mean = process.centre + flow @ (mean - process.centre)
            covariance = flow @ covariance @ flow.mT + process.gained(gap)
        seen = mask[k]
        if not bool(seen.any()):
            continue
        weight, noise = emission.weight[seen], emission.noise[seen]
        innovation = values[k, seen] - weight @ mean - emission.bias[seen]
        expected = weight @ covariance @ weight.mT + torch.diag(noise.square())
        total = total + MultivariateNormal(torch.zeros_like(innovation), expected).log_prob(innovation)
        gain = torch.linalg.solve(expected, weight @ covariance).mT
        mean = mean + gain @ innovation
        covariance = covariance - gain @ weight @ covariance
    return total


def exact_posterior(
    process: OrnsteinUhlenbeck, emission: LinearEmission, times: Tensor, values: Tensor, mask: Tensor
) -> ExactPosterior:
    """The backward information recursion over one series."""
    identity = torch.eye(process.dim)
    observed = [
        (
            (emission.weight[m] / emission.noise[m].unsqueeze(-1).square()).mT @ emission.weight[m],
            emission.weight[m].mT @ ((y[m] - emission.bias[m]) / emission.noise[m].square()),
        )
        for y, m in zip(values, mask, strict=True)
    ]
    precision, information = observed[-1]
    stacked = [(precision, information)]
    for k in reversed(range(len(times) - 1)):
        gap = float(times[k + 1] - times[k])
        flow, gained = process.flow(gap), process.gained(gap)
        # the message integrated over z' = flow z + push + noise
        push = process.centre - flow @ process.centre
        damp = torch.linalg.inv(identity + precision @ gained)
        through = flow.mT @ damp
        precision, information = (
            through @ precision @ flow + observed[k][0],
            through @ (information - precision @ push) + observed[k][1],
        )
        precision = 0.5 * (precision + precision.mT)
        stacked.append((precision, information))
    stacked.reverse()
    prior = torch.linalg.inv(process.initial_covariance)
    covariance = torch.linalg.inv(prior + precision)
    first_mean = covariance @ (prior @ process.initial_mean + information)
    return ExactPosterior(
        torch.stack([p for p, _ in stacked]), torch.stack([i for _, i in stacked]), first_mean, covariance
    )
