"""A grid of cells over the part of state space that matters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import Delaunay, cKDTree
from torch import Tensor

#: Above this, a grid that resolves the wells has too many cells.
MOST_DIMENSIONS = 2
_OUTSIDE = 5e-4  # share of points beyond the grid's edge in any one direction
_DIRECTIONS = 32


@dataclass(frozen=True, eq=False)
class StateGrid:
    """Equal cells of a state space of one or two dimensions.

    Attributes:
        points: Cell centres ``(n, dim)``, float64.
        first: Cell on one side of each face between two cells, ``(face,)``.
        second: Cell on the other side.
        axis: Dimension that the face is crossed along.
        spacing: Cell width, the same along all dimensions.
    """

    points: Tensor
    first: Tensor
    second: Tensor
    axis: Tensor
    spacing: float

    @property
    def dim(self) -> int:
        """Dimension of the state space."""
        return self.points.shape[-1]

    @property
    def inside(self) -> Tensor:
        """Points inside each cell, ``(n, 2^dim, dim)``: the nodes of a midpoint rule over its halves."""
        offsets = torch.cartesian_prod(*[torch.tensor([-0.25, 0.25], dtype=torch.float64)] * self.dim)
        return self.points.unsqueeze(1) + self.spacing * offsets.reshape(-1, self.dim)

    @property
    def faces(self) -> Tensor:
        """Centres of the faces, ``(face, dim)``."""
        return 0.5 * (self.points[self.first] + self.points[self.second])

    def apron(self, width: float) -> Tensor:
        """Centres of the cells around the grid, up to ``width`` beyond it, ``(m, dim)``."""
        points, more = self.points.numpy(), math.ceil(width / self.spacing)
        axes = [
            low + self.spacing * np.arange(-more, round((high - low) / self.spacing) + more + 1)
            for low, high in zip(points.min(0), points.max(0), strict=True)
        ]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dim)
        distance, _ = cKDTree(points).query(mesh)
        return torch.from_numpy(mesh[(distance > 0.5 * self.spacing) & (distance < width)])

    @classmethod
    def around(cls, low: float, high: float, *, size: int = 200, margin: float = 0.4) -> StateGrid:
        """Cells over an interval, widened on both sides by a share ``margin`` of its length."""
        extra = margin * (high - low)
        return cls._of_lattice([np.linspace(low - extra, high + extra, size)], np.ones(size, dtype=bool))

    @classmethod
    def covering(cls, points: Tensor, *, size: int, margin: float = 0.3) -> StateGrid:
        """About ``size`` square cells over where points ``(m, dim)`` of about unit spread lie.

        That is the convex hull of all but one in two thousand points in any direction, and a ``margin`` around it.
        """
        cloud = points.detach().double().cpu().numpy()
        if cloud.shape[-1] == 1:
            low, high = np.quantile(cloud, [_OUTSIDE, 1.0 - _OUTSIDE])
            return cls.around(low - margin, high + margin, size=size, margin=0.0)
        angle = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS, endpoint=False)
        outwards = np.stack([np.cos(angle), np.sin(angle)], -1)
        along = cloud @ outwards.T
        rank = np.argsort(along, axis=0)[int((1.0 - _OUTSIDE) * (len(cloud) - 1))]
        corners = cloud[rank] + margin * outwards
        hull = Delaunay(corners)
        low, high = corners.min(0), corners.max(0)
        triangles = corners[hull.simplices]
        area = 0.5 * np.abs(np.linalg.det(triangles[:, 1:] - triangles[:, :1])).sum()
        spacing = float((area / size) ** 0.5)
        axes = [np.arange(a + 0.5 * spacing, b, spacing) for a, b in zip(low, high, strict=True)]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        return cls._of_lattice(axes, hull.find_simplex(mesh) >= 0)

    @classmethod
    def _of_lattice(cls, axes: list[np.ndarray], inside: np.ndarray) -> StateGrid:
        """The cells of a lattice that are inside, and the faces between them."""
        number = np.full(inside.shape, -1)
        number[inside] = np.arange(inside.sum())
        faces = []
        for axis in range(len(axes)):
            near = np.moveaxis(number, axis, 0)[:-1].ravel()
            far = np.moveaxis(number, axis, 0)[1:].ravel()
            both = (near >= 0) & (far >= 0)
            faces.append(np.stack([near[both], far[both], np.full(both.sum(), axis)]))
        first, second, along = torch.from_numpy(np.concatenate(faces, -1))
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        return cls(torch.from_numpy(mesh[inside]), first, second, along, float(axes[0][1] - axes[0][0]))
