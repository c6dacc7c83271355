"""Sagittal patches as single-slice volumes that lie where they were cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import AIR_HU, Volume
from VertebralGradingLib.report.patches import patch_grid
from VertebralGradingLib.report.pictures import BONE_WINDOW
from VertebralGradingLib.spine.reformation import Grid
from VertebralGradingLib.spine.spine import Spine


def fill_patch(node: Any, ct: Volume, finding: Finding, spine: Spine | None) -> None:
    """Replace a volume node's voxels by the 96 x 96 mm sagittal patch of one vertebra.

    It is the plane of the report: through the six points in the body's own frame where the body was measured.
    """
    grid = patch_grid(finding, spine)
    values = np.nan_to_num(sample(ct, grid.points(), order=1)[..., 0], nan=AIR_HU)
    fill_slice(node, values, grid, BONE_WINDOW)


def fill_slice(node: Any, image: NDArray[Any], grid: Grid, window: tuple[float, float]) -> None:
    """Replace a volume node's voxels by a flat picture that lies where it was cut.

    Voxel axes run posterior, inferior and to the right.

    Args:
        node: a scalar volume node.
        image: (R, C) HU.
        grid: flat, (R, C, 1).
        window: HU shown as black and as white.
    """
    affine = grid.affine
    assert affine is not None  # pictures are flat
    whole = np.rint(np.clip(image, -32768, 32767)).astype(np.int16)
    matrix = affine[:, [1, 0, 2, 3]] * np.array([1.0, 1.0, -1.0, 1.0])
    matrix[:3, 2] *= 1.0 / np.linalg.norm(matrix[:3, 2])
    was = node.StartModify()
    try:
        slicer.util.updateVolumeFromArray(node, whole[None])
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(*window)
            display.SetInterpolate(True)
    finally:
        node.EndModify(was)
