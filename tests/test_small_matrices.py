"""Linear algebra on very small matrices, against torch.linalg, equal eigenvalues included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pyro_langevin.dynamics.small_matrices import (
    inverse_root,
    log_abs_det,
    matvec,
    solve,
    symmetric_functions,
    transposed_matvec,
)

DIMS = [1, 2, 3, 5]
every_dim = pytest.mark.parametrize("dim", DIMS)


def random_matrix(dim: int, *batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, dim, dim, dtype=torch.float64, generator=generator)


def random_positive(dim: int, *batch: int) -> Tensor:
    factor = random_matrix(dim, *batch)
    return factor @ factor.mT + 0.3 * torch.eye(dim, dtype=torch.float64)


def symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.mT)


def degenerate(dim: int) -> Tensor:
    """Symmetric matrices with all eigenvalues equal, or all but one, or nearly equal."""
    identity = torch.eye(dim, dtype=torch.float64)
    direction = torch.nn.functional.normalize(random_matrix(dim)[0], dim=-1)
    lone = direction.unsqueeze(-1) * direction
    return torch.stack([0.0 * identity, -0.7 * identity, lone - 0.5 * identity, 1e-9 * lone - 2.0 * identity])


def sine(x: Tensor) -> Tensor:
    return x.sin()


@every_dim
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_products_and_solutions(dim: int, batch: tuple[int, ...]) -> None:
    matrix, vector = random_matrix(dim, *batch), random_matrix(dim, *batch, seed=1)[..., 0]
    column = vector.unsqueeze(-1)
    torch.testing.assert_close(matvec(matrix, vector), (matrix @ column).squeeze(-1))
    torch.testing.assert_close(transposed_matvec(matrix, vector), (matrix.mT @ column).squeeze(-1))
    torch.testing.assert_close(solve(matrix, vector), torch.linalg.solve(matrix, column).squeeze(-1))
    torch.testing.assert_close(log_abs_det(matrix), torch.linalg.slogdet(matrix).logabsdet)


@every_dim
def test_one_matrix_serves_many_vectors(dim: int) -> None:
    matrix, vector = random_matrix(dim), random_matrix(dim, 6, seed=1)[..., 0]
    torch.testing.assert_close(matvec(matrix, vector), vector @ matrix.mT)
    torch.testing.assert_close(transposed_matvec(matrix, vector), vector @ matrix)


@every_dim
def test_the_sign_of_the_determinant_is_dropped(dim: int) -> None:
    matrix = random_matrix(dim, 8)
    flipped = matrix.clone()
    flipped[..., 0, :] *= -1.0
    assert (torch.linalg.det(matrix) < 0).any()
    torch.testing.assert_close(log_abs_det(flipped), log_abs_det(matrix))


@every_dim
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_inverse_root(dim: int, batch: tuple[int, ...]) -> None:
    matrix = random_positive(dim, *batch)
    root, log_det = inverse_root(matrix)
    torch.testing.assert_close(root @ root.mT, torch.linalg.inv(matrix))
    torch.testing.assert_close(root, root.triu())
    torch.testing.assert_close(log_det, torch.linalg.slogdet(matrix).logabsdet)


@every_dim
def test_inverse_root_of_the_identity_is_the_identity(dim: int) -> None:
    identity = torch.eye(dim).expand(3, dim, dim)
    root, log_det = inverse_root(identity)
    assert torch.equal(root, identity) and torch.equal(log_det, torch.zeros(3))


@every_dim
def test_functions_of_a_symmetric_matrix(dim: int) -> None:
    matrix = symmetric(random_matrix(dim, 20))
    values, vectors = torch.linalg.eigh(matrix)
    exponential, wave = symmetric_functions(matrix, lambda x: (torch.exp(x), sine(x)))
    torch.testing.assert_close(exponential, torch.linalg.matrix_exp(matrix), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(wave, (vectors * values.sin().unsqueeze(-2)) @ vectors.mT, rtol=1e-9, atol=1e-9)


@every_dim
def test_functions_at_equal_eigenvalues(dim: int) -> None:
    matrix = degenerate(dim)
    (exponential,) = symmetric_functions(matrix, lambda x: (torch.exp(x),))
    torch.testing.assert_close(exponential, torch.linalg.matrix_exp(matrix), rtol=1e-9, atol=1e-9)


@every_dim
def test_functions_in_single_precision(dim: int) -> None:
    matrix = torch.cat([symmetric(random_matrix(dim, 20)), degenerate(dim)])
    (exponential,) = symmetric_functions(matrix.float(), lambda x: (torch.exp(x),))
    torch.testing.assert_close(exponential, torch.linalg.matrix_exp(matrix).float(), rtol=1e-4, atol=1e-5)


@every_dim
@pytest.mark.parametrize("equal", [False, True])
def test_gradients_also_at_equal_eigenvalues(dim: int, equal: bool) -> None:
    start = degenerate(dim) if equal else random_matrix(dim, 4)

    def functions(free: Tensor) -> tuple[Tensor, ...]:
        return (symmetric_functions(symmetric(free), lambda x: (torch.exp(x), sine(x))))

    assert gradcheck(functions, (start.requires_grad_(),), atol=1e-6)


@every_dim
def test_gradients_of_single_precision_are_finite_and_near(dim: int) -> None:
    matrix = degenerate(dim)
    exact = matrix.clone().requires_grad_()
    weights = random_matrix(dim, 4)
    (expected,) = torch.autograd.grad((torch.linalg.matrix_exp(exact) * weights).sum(), exact)
    single = matrix.float().requires_grad_()
    (exponential,) = symmetric_functions(symmetric(single), lambda x: (torch.exp(x),))
    (found,) = torch.autograd.grad((exponential * weights.float()).sum(), single)
    torch.testing.assert_close(found.double(), symmetric(expected), rtol=5e-3, atol=5e-3)


@every_dim
def test_gradients_of_the_solvers(dim: int) -> None:
    positive, vector = random_positive(dim, 2), random_matrix(dim, 2, seed=1)[..., 0]
    assert gradcheck(solve, (positive.requires_grad_(), vector.requires_grad_()))
    assert gradcheck(log_abs_det, (positive,))
    assert gradcheck(lambda free: inverse_root(symmetric(free)), (positive,))
