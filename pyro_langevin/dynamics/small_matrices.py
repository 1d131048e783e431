"""Linear algebra on batches of very small matrices.

Latent spaces have one to ten dimensions, and the loop over time meets one small matrix per path and step.
Dimensions one and two, the common case, have closed forms; others go to ``torch.linalg``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Several elementwise functions at once, so that they may share what they have in common.
ScalarFunctions = Callable[[Tensor], tuple[Tensor, ...]]


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


def symmetric_functions(matrix: Tensor, functions: ScalarFunctions) -> tuple[Tensor, ...]:
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
        return functions(matrix)
    if dim == 2:
        return _symmetric_functions_2d(matrix, functions)
    eigenvalues, eigenvectors = torch.linalg.eigh(matrix.detach())
    found: tuple[Tensor, ...] = _SpectralFunctions.apply(matrix, eigenvalues, eigenvectors, functions)
    return found


def _symmetric_functions_2d(matrix: Tensor, functions: ScalarFunctions) -> tuple[Tensor, ...]:
    """``f(S) = mean of f + slope of f * (S - m)`` on the two eigenvalues ``m -+ delta``."""
    half_gap = 0.5 * (matrix[..., 0, 0] - matrix[..., 1, 1])
    off = matrix[..., 0, 1]
    middle = 0.5 * (matrix[..., 0, 0] + matrix[..., 1, 1])
    # The floor keeps d(delta) finite at delta = 0. Its square enters f(S), rounding over it the gradient.
    smallest = 1e-6 if matrix.dtype == torch.float64 else 1e-3
    floor = smallest * (1.0 + middle.detach().abs())
    delta = (half_gap.square() + off.square() + floor.square()).sqrt()
    values = torch.stack(functions(torch.stack([middle - delta, middle + delta])))
    low, high = values.unbind(1)
    mean, slope = 0.5 * (high + low), 0.5 * (high - low) / delta
    along, across = slope * half_gap, slope * off
    found = torch.stack([mean + along, across, across, mean - along], -1).unflatten(-1, (2, 2))
    return found.unbind(0)


class _SpectralFunctions(torch.autograd.Function):
    """``Q f(lambda) Q^T`` with the Daleckii-Krein derivative, finite for equal eigenvalues."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, matrix: Tensor, eigenvalues: Tensor, eigenvectors: Tensor, functions: ScalarFunctions
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(eigenvalues, eigenvectors)
        ctx.functions = functions
        return tuple((eigenvectors * value.unsqueeze(-2)) @ eigenvectors.mT for value in functions(eigenvalues))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads: Tensor):  # type: ignore[no-untyped-def]
        eigenvalues, eigenvectors = ctx.saved_tensors
        with torch.enable_grad():
            point = eigenvalues.detach().requires_grad_()
            values = ctx.functions(point)
            slopes = [torch.autograd.grad(value.sum(), point, retain_graph=True)[0] for value in values]
        gap = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        close = gap.abs() < 1e-4 * (1.0 + eigenvalues.abs().amax(-1)[..., None, None])
        gap = gap.masked_fill(close, 1.0)
        inner = torch.zeros_like(gap)
        for value, slope, grad in zip(values, slopes, grads, strict=True):
            level = value.detach()
            tangent = 0.5 * (slope.unsqueeze(-1) + slope.unsqueeze(-2))
            divided = torch.where(close, tangent, (level.unsqueeze(-1) - level.unsqueeze(-2)) / gap)
            inner = inner + divided * (eigenvectors.mT @ grad @ eigenvectors)
        return eigenvectors @ inner @ eigenvectors.mT, None, None, None
