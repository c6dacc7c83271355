"""A vertebral body as found or given: an occupancy block in the vertebra's own frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.reformation import Grid, rigid_grid, to_volume

STEP_MM = (0.5, 1.0, 1.0)
"""Distance between samples of a body block: along the height, front to back, side to side."""
SHAPE = (120, 68, 72)
"""Samples of a body block: 60 x 68 x 72 mm."""
Place = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Centroid (RAS mm) and axes (3, 3; columns right, anterior, up) of a vertebra whose body is wanted."""


@dataclass(frozen=True, eq=False)
class BodyMask:
    """Occupancy of one vertebral body.

    Attributes:
        occupancy: (rows, columns, depth) float32 in 0..1; the body's edge is where it crosses 0.5.
        grid: rigid grid of the block; rows caudal, columns posterior, depth left.
        axes: (3, 3) columns right, anterior, up of the block.
        source: "given" or the name of the method that found it.
        confidence: 0..1, how sure the method is that this is the body.
        edge_sd_mm: standard deviation of an endplate's place as the method sees it (mm).
        flags: what the method noticed ("cut_by_volume_edge", "low_confidence_mask", ...).
        height_sd_mm: (3,) standard deviation of the anterior, middle and posterior height where the method tells each.
        signs: what it told them from, by name; one number, or one (3,) for each height.
    """

    occupancy: NDArray[np.float32]
    grid: Grid
    axes: NDArray[np.float64]
    source: str
    confidence: float = 1.0
    edge_sd_mm: float = 0.3
    flags: tuple[str, ...] = ()
    height_sd_mm: NDArray[np.float64] | None = None
    signs: Mapping[str, float | NDArray[np.float64]] = field(default_factory=dict)

    @property
    def volume_mm3(self) -> float:
        """Volume of the body (mm3)."""
        return float(self.occupancy.sum() * np.prod(STEP_MM))

    def centroid(self) -> NDArray[np.float64]:
        """Centroid (3,) RAS mm."""
        weight = self.occupancy.astype(np.float64)
        index = [
            (weight.sum(tuple(a for a in range(3) if a != axis)) * np.arange(size)).sum() / max(weight.sum(), 1e-9)
            for axis, size in enumerate(weight.shape)
        ]
        return self.grid.to_ras(np.array(index))

    def as_volume(self) -> Volume:
        """The block as a volume, cut to where it is not empty; voxel axes are rows, columns and depth."""
        box = self.box(margin=1)
        part = self.grid.box([side.start for side in box], [side.stop for side in box])
        affine = part.affine
        assert affine is not None  # body blocks are rigid
        return Volume(self.occupancy[box], affine)

    def box(self, margin: int = 0) -> tuple[slice, slice, slice]:
        """Where the block is not empty, with so many samples around it; the whole block when it is empty."""
        filled = self.occupancy > 0
        found = []
        for axis in range(3):
            used = np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis)))
            if not len(used):
                return slice(0, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2])
            found.append(slice(max(used[0] - margin, 0), min(used[-1] + margin + 1, SHAPE[axis])))
        rows, columns, depth = found
        return rows, columns, depth

    def to_labels(self, target: Volume) -> tuple[NDArray[np.bool_], tuple[slice, ...]]:
        """The body on a patient volume's voxels: a boolean crop and the slices it stands for."""
        box = self.box(margin=2)
        part = self.grid.box([side.start for side in box], [side.stop for side in box])
        crop, region = to_volume(self.occupancy[box], part, target)
        return crop.array >= 0.5, region


def body_grid(center: NDArray[Any], axes: NDArray[Any]) -> Grid:
    """The rigid grid of a body block around a centre (RAS mm), axes in columns right, anterior, up."""
    return rigid_grid(center, axes, SHAPE, STEP_MM)
