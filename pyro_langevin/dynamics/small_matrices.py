"""Linear algebra on batches of very small matrices.

Latent spaces have one to ten dimensions, and the loop over time meets one small matrix per path and step.
Dimensions one and two, the common case, have closed forms; others go to ``torch.linalg``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ScalarFunction = Callable[[Tensor], Tensor]


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Product of ``(*b, m, d)`` and ``(*b, d)``."""
    if vector.shape[-1] == 1:
        return matrix[..., 0] * vector
    return (matrix * vector.unsqueeze(-2)).sum(-1)


def transposed_matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Product of the transpose of ``(*b, d, m)`` and ``(*b, d)``."""
    if vector.shape[-1] == 1:
        return matrix[..., 0, :] * vector
    return (matrix * vector.unsqueeze(-1)).sum(-2)


def side_by_side(first: Tensor, second: Tensor) -> Tensor:
    """Coordinates ``(*b, m)`` and then ``(*b, n)`` of one vector ``(*b, m + n)``; the batches broadcast."""
    batch = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    return torch.cat([part.expand(*batch, part.shape[-1]) for part in (first, second)], -1)


def solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solution ``x`` of ``matrix @ x = vector``."""
    dim = vector.shape[-1]
    if dim == 1:
        return vector / matrix[..., 0]
    if dim == 2:
        a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
        x, y = vector[..., 0], vector[..., 1]
        return torch.stack([d * x - b * y, a * y - c * x], -1) / (a * d - b * c).unsqueeze(-1)
    return torch.linalg.solve(matrix, vector.unsqueeze(-1)).squeeze(-1)


def log_abs_det(matrix: Tensor) -> Tensor:
    """Logarithm of the absolute determinant, ``(*b,)``."""
    dim = matrix.shape[-1]
    if dim == 1:
        return matrix[..., 0, 0].abs().log()
    if dim == 2:
        return (matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]).abs().log()
    return torch.linalg.slogdet(matrix).logabsdet


def inverse_root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Factor ``R`` with ``R @ R.T`` the inverse of a symmetric positive matrix, and the log determinant of the matrix.

    Args:
        matrix: ``(*b, d, d)``, symmetric positive definite.

    Returns:
        ``R`` (upper triangular), ``(*b, d, d)``, and ``(*b,)``.
    """
    dim = matrix.shape[-1]
    if dim == 1:
        return matrix.rsqrt(), matrix[..., 0, 0].log()
    if dim == 2:
        # lower Cholesky factor [[p, 0], [q, s]]; R is the transpose of its inverse
        p = matrix[..., 0, 0].rsqrt()
        q = matrix[..., 1, 0] * p
        s = (matrix[..., 1, 1] - q.square()).rsqrt()
        row = torch.stack([p, -q * p * s], -1)
        return torch.stack([row, torch.stack([torch.zeros_like(s), s], -1)], -2), -2.0 * (p * s).log()
    lower = torch.linalg.cholesky(matrix)
    identity = torch.eye(dim, dtype=matrix.dtype, device=matrix.device).expand_as(lower)
    root = torch.linalg.solve_triangular(lower, identity, upper=False).mT
    return root, 2.0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def symmetric_functions(matrix: Tensor, functions: Sequence[ScalarFunction]) -> list[Tensor]:
    """Matrix functions ``f(S)`` of a symmetric matrix, for several ``f`` at once.

    Gradients stay finite where eigenvalues coincide, as they do at the bottom of an isotropic well.

    Args:
        matrix: ``(*b, d, d)``, symmetric.
        functions: Smooth elementwise functions of the eigenvalues.

    Returns:
        One ``(*b, d, d)`` a function.
    """
    dim = matrix.shape[-1]
    if dim == 1:
        return [f(matrix) for f in functions]
    if dim == 2:
        return _symmetric_functions_2d(matrix, functions)
    eigenvalues, eigenvectors = torch.linalg.eigh(matrix.detach())
    return [_SpectralFunction.apply(matrix, eigenvalues, eigenvectors, f) for f in functions]


def _symmetric_functions_2d(matrix: Tensor, functions: Sequence[ScalarFunction]) -> list[Tensor]:
    """``f(S) = mean of f + slope of f * (S - m)`` on the two eigenvalues ``m -+ delta``."""
    half_gap = 0.5 * (matrix[..., 0, 0] - matrix[..., 1, 1])
    off = matrix[..., 0, 1]
    middle = 0.5 * (matrix[..., 0, 0] + matrix[..., 1, 1])
    # The floor keeps d(delta) finite at delta = 0. Its square enters f(S), rounding over it the gradient.
    smallest = 1e-6 if matrix.dtype == torch.float64 else 1e-3
    floor = smallest * (1.0 + middle.detach().abs())
    delta = (half_gap.square() + off.square() + floor.square()).sqrt()
    eigenvalues = torch.stack([middle - delta, middle + delta])
    traceless = torch.stack([torch.stack([half_gap, off], -1), torch.stack([off, -half_gap], -1)], -2)
    identity = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    results = []
    for f in functions:
        low, high = f(eigenvalues)
        slope = (0.5 * (high - low) / delta)[..., None, None]
        results.append((0.5 * (high + low))[..., None, None] * identity + slope * traceless)
    return results


class _SpectralFunction(torch.autograd.Function):
    """``Q f(lambda) Q^T`` with the Daleckii-Krein derivative, finite for equal eigenvalues."""

    @staticmethod
    def forward(ctx, matrix: Tensor, eigenvalues: Tensor, eigenvectors: Tensor, f: ScalarFunction) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(eigenvalues, eigenvectors)
        ctx.f = f
        return (eigenvectors * f(eigenvalues).unsqueeze(-2)) @ eigenvectors.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        eigenvalues, eigenvectors = ctx.saved_tensors
        with torch.enable_grad():
            point = eigenvalues.detach().requires_grad_()
            values = ctx.f(point)
            (slope,) = torch.autograd.grad(values.sum(), point)
        values = values.detach()
        gap = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        close = gap.abs() < 1e-4 * (1.0 + eigenvalues.abs().amax(-1)[..., None, None])
        quotient = (values.unsqueeze(-1) - values.unsqueeze(-2)) / gap.masked_fill(close, 1.0)
        tangent = 0.5 * (slope.unsqueeze(-1) + slope.unsqueeze(-2))
        divided = torch.where(close, tangent, quotient)
        inner = divided * (eigenvectors.mT @ grad @ eigenvectors)
        return eigenvectors @ inner @ eigenvectors.mT, None, None, None
