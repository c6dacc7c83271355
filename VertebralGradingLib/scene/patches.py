"""Sagittal patches as single-slice volumes that lie where they were cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.pictures import BONE_WINDOW
from VertebralGradingLib.report.patches import patch_grid
from VertebralGradingLib.sampling import sample
from VertebralGradingLib.spine import Spine
from VertebralGradingLib.volume import AIR_HU, Volume


def fill_patch(node: Any, ct: Volume, finding: Finding, spine: Spine | None) -> None:
    """Replace a volume node's voxels by the 96 x 96 mm sagittal patch of one vertebra.

    It is the plane of the report: through the six points in the body's own frame where the body was measured. Voxel
    axes run posterior, inferior and to the right.
    """
    grid = patch_grid(finding, spine)
    affine = grid.affine
    assert affine is not None  # patches are flat
    values = np.nan_to_num(sample(ct, grid.points(), order=1)[..., 0], nan=AIR_HU)
    image = np.rint(np.clip(values, -32768, 32767)).astype(np.int16)
    matrix = affine[:, [1, 0, 2, 3]] * np.array([1.0, 1.0, -1.0, 1.0])
    matrix[:3, 2] *= 1.0 / np.linalg.norm(matrix[:3, 2])
    was = node.StartModify()
    try:
        slicer.util.updateVolumeFromArray(node, image[None])
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(*BONE_WINDOW)
            display.SetInterpolate(True)
    finally:
        node.EndModify(was)
