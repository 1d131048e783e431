"""Reference potentials with known answers, in closed form to third order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_langevin.potentials.base import LocalExpansion, Potential


class AnalyticPotential(Potential):
    r"""A polynomial in each coordinate plus exponentials of quadratic forms, with fixed parameters.

    .. math:: U(z) = \sum_i p_i(z_i) + \sum_k a_k \exp\left(\tfrac12 (z - c_k)^\top Q_k (z - c_k)\right)

    All derivatives are closed forms. Parameters are kept in float64 and used in the precision of ``z``.

    Args:
        polynomial: Coefficients of each coordinate's polynomial in ascending order, ``dim`` rows.
        amplitude: ``(terms,)``, in units of ``temperature``.
        centre: ``(terms, dim)``.
        curvature: ``(terms, dim, dim)``, symmetric; negative definite for a Gaussian bump.
    """

    _derivatives: Tensor
    _amplitude: Tensor
    _centre: Tensor
    _curvature: Tensor

    def __init__(
        self,
        polynomial: Sequence[Sequence[float]],
        amplitude: Sequence[float] = (),
        *,
        centre: Sequence[Sequence[float]] = (),
        curvature: Sequence[Sequence[Sequence[float]]] = (),
    ) -> None:
        dim, terms = len(polynomial), len(amplitude)
        super().__init__(dim)
        length = max(4, *(len(row) for row in polynomial))
        coefficients = torch.zeros(dim, length, dtype=torch.float64)
        for row, values in zip(coefficients, polynomial, strict=True):
            row[: len(values)] = torch.tensor(values, dtype=torch.float64)
        orders = [coefficients]
        for _ in range(3):
            slope = torch.zeros_like(coefficients)
            slope[:, :-1] = orders[-1][:, 1:] * torch.arange(1, length)
            orders.append(slope)
        # (length, 4, dim): ascending coefficients of the polynomial and its first three derivatives
        self.register_buffer("_derivatives", torch.stack(orders).permute(2, 0, 1).contiguous())
        self._keep("_amplitude", amplitude, (terms,))
        self._keep("_centre", centre, (terms, dim))
        self._keep("_curvature", curvature, (terms, dim, dim))

    def _keep(self, name: str, values: object, shape: tuple[int, ...]) -> None:
        tensor = torch.as_tensor(values, dtype=torch.float64)
        if shape[0] == 0 and tensor.numel() == 0:
            tensor = tensor.new_zeros(shape)
        if tensor.shape != shape:
            raise ValueError(
                f"{type(self).__name__}: expected {name[1:]} of shape {shape}, got {tuple(tensor.shape)}; "
                "give every exponential term one amplitude, centre and curvature"
            )
        self.register_buffer(name, tensor)

    def _polynomial(self, z: Tensor, orders: int) -> Tensor:
        """Polynomials and their first derivatives, ``(orders, *b, d)``, by Horner's rule."""
        table = self._derivatives[:, :orders].to(z.dtype)
        table = table.reshape(table.shape[:2] + (1,) * (z.dim() - 1) + table.shape[2:])
        value = table[-1].expand((orders, *z.shape))
        for coefficient in reversed(table[:-1]):
            value = value * z + coefficient
        return value

    def _exponentials(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Terms ``(*b, k)``, slopes of their exponents ``(*b, k, d)``, and curvatures ``(k, d, d)``."""
        curvature = self._curvature.to(z.dtype)
        offset = z.unsqueeze(-2) - self._centre.to(z.dtype)
        slope = (curvature * offset.unsqueeze(-2)).sum(-1)
        return self._amplitude.to(z.dtype) * (0.5 * (offset * slope).sum(-1)).exp(), slope, curvature

    def energy(self, z: Tensor) -> Tensor:
        return self._polynomial(z, 1)[0].sum(-1) + self._exponentials(z)[0].sum(-1)

    def gradient(self, z: Tensor) -> Tensor:
        term, slope, _ = self._exponentials(z)
        return self._polynomial(z, 2)[1] + (term.unsqueeze(-1) * slope).sum(-2)

    def expansion(self, z: Tensor, weights: Tensor | None = None) -> LocalExpansion:
        _, first, second, third = self._polynomial(z, 4)
        term, slope, curvature = self._exponentials(z)
        metric = torch.ones_like(z) if weights is None else weights.to(z.dtype) * torch.ones_like(z)
        outer = slope.unsqueeze(-1) * slope.unsqueeze(-2) + curvature
        hessian = torch.diag_embed(second) + (term[..., None, None] * outer).sum(-3)
        # d_i d_j^2 e^q = e^q (q_i (q_j^2 + q_jj) + 2 q_ij q_j), the exponent q being quadratic
        weighted = metric.unsqueeze(-2)
        laplacian = (weighted * outer.diagonal(dim1=-2, dim2=-1)).sum(-1, keepdim=True)
        bend = slope * laplacian + 2.0 * (curvature * (weighted * slope).unsqueeze(-2)).sum(-1)
        laplacian_gradient = metric * third + (term.unsqueeze(-1) * bend).sum(-2)
        gradient = first + (term.unsqueeze(-1) * slope).sum(-2)
        return LocalExpansion(gradient, hessian, laplacian_gradient)


class DoubleWell(AnalyticPotential):
    r"""Symmetric or tilted double well in one dimension, :math:`U = h (x^2 - 1)^2 + t x`.

    Args:
        height: Barrier ``h`` of the symmetric well.
        tilt: Slope ``t`` added; positive values favour the left well.
    """

    def __init__(self, height: float = 4.0, tilt: float = 0.0) -> None:
        if not height > 0:
            raise ValueError(f"DoubleWell: height must be positive to confine, got {height}")
        super().__init__([[height, tilt, -2.0 * height, 0.0, height]])


class PrinzPotential(AnalyticPotential):
    r"""Four wells in one dimension (Prinz et al., J. Chem. Phys. 134, 174105, 2011).

    .. math:: U = 4\left(x^8 + 0.8 e^{-80 x^2} + 0.2 e^{-80 (x - 1/2)^2} + 0.5 e^{-40 (x + 1/2)^2}\right)
    """

    def __init__(self) -> None:
        super().__init__(
            [[0.0] * 8 + [4.0]],
            [3.2, 0.8, 2.0],
            centre=[[0.0], [0.5], [-0.5]],
            curvature=[[[-160.0]], [[-160.0]], [[-80.0]]],
        )


class TripleWell(AnalyticPotential):
    r"""Three wells in two dimensions, two deep and one shallow.

    .. math:: U = 3 e^{-x^2 - (y - 1/3)^2} - 3 e^{-x^2 - (y - 5/3)^2} - 5 e^{-(x - 1)^2 - y^2}
        - 5 e^{-(x + 1)^2 - y^2} + 0.2 x^4 + 0.2 (y - 1/3)^4

    Commonly used at temperature 1/1.67 (Metzner, Schütte, Vanden-Eijnden, J. Chem. Phys. 125, 084110, 2006).
    """

    def __init__(self) -> None:
        shift = 1.0 / 3.0
        quartic = [0.2 * shift**4, -0.8 * shift**3, 1.2 * shift**2, -0.8 * shift, 0.2]
        super().__init__(
            [[0.0, 0.0, 0.0, 0.0, 0.2], quartic],
            [3.0, -3.0, -5.0, -5.0],
            centre=[[0.0, shift], [0.0, 5.0 / 3.0], [1.0, 0.0], [-1.0, 0.0]],
            curvature=[[[-2.0, 0.0], [0.0, -2.0]]] * 4,
        )


class MuellerBrown(AnalyticPotential):
    """Müller-Brown surface, two dimensions, three wells (Müller & Brown, Theor. Chim. Acta 53, 75, 1979).

    Energies reach from -147 to above 0: use it at a temperature of about 20.
    """

    def __init__(self) -> None:
        shapes = [(-1.0, 0.0, -10.0), (-1.0, 0.0, -10.0), (-6.5, 11.0, -6.5), (0.7, 0.6, 0.7)]
        super().__init__(
            [[0.0], [0.0]],
            [-200.0, -100.0, -170.0, 15.0],
            centre=[[1.0, 0.0], [0.0, 0.5], [-0.5, 1.5], [-1.0, 1.0]],
            curvature=[[[2.0 * a, b], [b, 2.0 * c]] for a, b, c in shapes],
        )
