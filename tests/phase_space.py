"""Underdamped linear-Gaussian problems solved by dense matrices, built without the package."""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal


@dataclass(frozen=True)
class LinearStep:
    """``z' = flow z + push + load noise``; OBABO closes it with the map ``z -> closing z + close_push``."""

    flow: Tensor
    push: Tensor
    load: Tensor
    closing: Tensor
    close_push: Tensor


@dataclass(frozen=True)
class Harmonic:
    """An underdamped particle in the well ``(q - centre)^T K (q - centre) / 2``; friction and mass per dimension."""

    stiffness: Tensor
    centre: Tensor
    friction: Tensor
    mass: Tensor
    temperature: float
    initial_mean: Tensor
    initial_covariance: Tensor

    def obabo(self, step: float) -> LinearStep:
        """Product of the five parts, each an affine map of ``(q, p)``."""
        d = len(self.centre)
        eye, zero = torch.eye(d), torch.zeros(d, d)
        keep = torch.diag((-0.5 * self.friction * step).exp())
        fresh = torch.diag((self.mass * self.temperature * (1.0 - (-self.friction * step).exp())).sqrt())
        kick = torch.cat([torch.cat([eye, zero], 1), torch.cat([-0.5 * step * self.stiffness, eye], 1)])
        flight = torch.cat([torch.cat([eye, step * torch.diag(1.0 / self.mass)], 1), torch.cat([zero, eye], 1)])
        bath = torch.block_diag(eye, keep)
        pull = torch.cat([torch.zeros(d), 0.5 * step * self.stiffness @ self.centre])
        noise = torch.cat([zero, fresh])
        closing = bath @ kick @ torch.linalg.inv(bath)
        return LinearStep(
            flow=bath @ kick @ flight @ kick @ bath,
            push=bath @ (kick @ flight @ pull + pull),
            load=torch.cat([bath @ kick @ flight @ kick @ noise, noise], 1),
            closing=closing,
            close_push=bath @ pull,
        )

    def exact(self, step: float) -> LinearStep:
        """The continuous process (Van Loan 1978), in 40 digits: entries differ by the third power of the step."""
        d = len(self.centre)
        drift = torch.zeros(2 * d, 2 * d)
        drift[:d, d:] = torch.diag(1.0 / self.mass)
        drift[d:, :d], drift[d:, d:] = -self.stiffness, -torch.diag(self.friction)
        noise = torch.diag(torch.cat([torch.zeros(d), 2.0 * self.friction * self.mass * self.temperature]))
        block = torch.cat([torch.cat([-drift, noise], 1), torch.cat([torch.zeros(2 * d, 2 * d), drift.mT], 1)])
        with mpmath.workdps(40):
            whole = mpmath.expm(mpmath.matrix(block.tolist()) * mpmath.mpf(step))
            across = whole[2 * d :, 2 * d :].T
            flow, covariance = (
                torch.tensor([[float(x) for x in row] for row in part.tolist()])
                for part in (across, across * whole[: 2 * d, 2 * d :])
            )
        rest = torch.cat([self.centre, torch.zeros(d)])
        load = torch.linalg.cholesky(0.5 * (covariance + covariance.mT))
        return LinearStep(flow, rest - flow @ rest, load, torch.eye(2 * d), torch.zeros(2 * d))

    def path_law(self, steps: list[LinearStep]) -> MultivariateNormal:
        """Joint law of all states, flattened: states as linear maps of all noises so far."""
        means, rows = [self.initial_mean], [torch.linalg.cholesky(self.initial_covariance)]
        for step in steps:
            means.append(step.flow @ means[-1] + step.push)
            rows.append(torch.cat([step.flow @ rows[-1], step.load], 1))
        size = rows[-1].shape[1]
        factor = torch.cat([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in rows])
        # the factor itself made triangular: the covariance of fine steps is too ill-conditioned to be factorised
        upper = torch.linalg.qr(factor.mT).R
        return MultivariateNormal(torch.cat(means), scale_tril=(upper * upper.diagonal().sign().unsqueeze(-1)).mT)

    def evidence(self, steps: list[LinearStep], seen: list[Tensor | None], noise: float) -> Tensor:
        """Log evidence of positions ``seen`` with noise, by the Kalman filter of the chain."""
        d = len(self.centre)
        mean, covariance, total = self.initial_mean, self.initial_covariance, torch.zeros(())
        for k, value in enumerate(seen):
            if k > 0:
                step = steps[k - 1]
                mean = step.flow @ mean + step.push
                covariance = step.flow @ covariance @ step.flow.mT + step.load @ step.load.mT
            if value is None:
                continue
            expected = covariance[:d, :d] + noise**2 * torch.eye(d)
            total = total + MultivariateNormal(mean[:d], expected).log_prob(value)
            gain = torch.linalg.solve(expected, covariance[:d]).mT
            mean = mean + gain @ (value - mean[:d])
            covariance = covariance - gain @ covariance[:d]
        return total

    def backward(
        self, steps: list[LinearStep], seen: list[Tensor | None], noise: float
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Precision and information that all that is seen at and after each state says of it."""
        d = len(self.centre)
        identity = torch.eye(2 * d)
        at = torch.diag(torch.cat([torch.ones(d), torch.zeros(d)])) / noise**2
        own = [
            (0.0 * at, torch.zeros(2 * d)) if y is None else (at, torch.cat([y, torch.zeros(d)]) / noise**2)
            for y in seen
        ]
        stack = [own[-1]]
        for k in reversed(range(len(steps))):
            (precision, information), step = stack[-1], steps[k]
            damp = torch.linalg.inv(identity + precision @ step.load @ step.load.mT)
            through = step.flow.mT @ damp
            back = through @ precision @ step.flow
            said = through @ (information - precision @ step.push)
            stack.append((0.5 * (back + back.mT) + own[k][0], said + own[k][1]))
        stack.reverse()
        return [h for h, _ in stack], [i for _, i in stack]
