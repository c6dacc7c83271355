"""A warp whose picture is corrected in the sagittal plane, all places beside it alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from VertebralGradingLib.counterfactual.field import Field
from VertebralGradingLib.spine.reformation import Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corrected:
    """A field and what is corrected of it.

    Attributes:
        field: the warp.
        grid: flat, of the picture on which the correction is told.
        move: (2, n, n) mm down and across, evenly over the picture, from places of the corrected picture to those of
            the warped one.
    """

    field: Field
    grid: Grid
    move: NDArray[Any]

    def source(self, points_ras: Floats) -> Floats:
        """Where in the CT places of the corrected picture are read, RAS mm (..., 3) -> RAS mm (..., 3)."""
        rows = self.grid.shape[0]
        down, across = self.grid.origin[1] - self.grid.origin[0], self.grid.column_step[0]
        steps = [float(np.linalg.norm(axis)) for axis in (down, across)]
        axes = [axis / step for axis, step in zip((down, across), steps, strict=True)]
        away = points_ras - self.grid.origin[0]
        scale = self.move.shape[-1] / rows
        at = [(away @ axis / step + 0.5) * scale - 0.5 for axis, step in zip(axes, steps, strict=True)]
        moved = [map_coordinates(part, at, order=1, mode="nearest") for part in np.asarray(self.move, dtype=np.float64)]
        return self.field.source(points_ras + moved[0][..., None] * axes[0] + moved[1][..., None] * axes[1])
