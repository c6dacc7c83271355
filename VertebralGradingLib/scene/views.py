"""Looking at one vertebra: slices through its body along its own axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.report.patches import patch_grid
from VertebralGradingLib.spine.spine import Spine

FIELD_MM = 120.0
"""Height of what a slice view shows of a vertebra and its neighbours."""


def vertebra_axes(finding: Finding, spine: Spine | None = None) -> NDArray[np.float64]:
    """(3, 3) columns right, anterior, up of a vertebra in RAS: the axes of its sagittal patch."""
    grid = patch_grid(finding, spine)
    affine = grid.affine
    assert affine is not None  # patches are flat
    axes = -affine[:3, [2, 1, 0]]
    return np.asarray(axes / np.linalg.norm(axes, axis=0))


def slice_to_ras(finding: Finding, plane: str, spine: Spine | None = None) -> NDArray[np.float64]:
    """(4, 4) slice -> RAS of a vertebra's own plane, turned as Slicer turns the plane of that name.

    Args:
        finding: the vertebra; the plane goes through its body's centre, moved sideways into the plane of its points.
        plane: "Sagittal" (anterior on the left), "Coronal" or "Axial" (the patient's right on the left).
        spine: gives the axes of a vertebra that was not measured.

    Raises:
        KeyError: another plane.
    """
    right, anterior, up = vertebra_axes(finding, spine).T
    grid = patch_grid(finding, spine)
    x, y, z = {
        "Sagittal": (-anterior, up, -right),
        "Coronal": (-right, up, anterior),
        "Axial": (-right, anterior, up),
    }[plane]
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([x, y, z])
    matrix[:3, 3] = grid.to_ras((np.array(grid.shape) - 1) / 2)
    return matrix


def look_at(slice_node: Any, finding: Finding, plane: str, spine: Spine | None = None) -> None:
    """Turn a slice view to a vertebra's own plane, its body in the middle."""
    was = slice_node.StartModify()
    try:
        matrix = slicer.util.vtkMatrixFromArray(slice_to_ras(finding, plane, spine))
        slice_node.GetSliceToRAS().DeepCopy(matrix)
        slice_node.UpdateMatrices()
        width, height, depth = slice_node.GetFieldOfView()
        slice_node.SetFieldOfView(FIELD_MM * width / height, FIELD_MM, depth)
        slice_node.SetXYZOrigin(0.0, 0.0, 0.0)
    finally:
        slice_node.EndModify(was)


def turn_camera(camera_node: Any, finding: Finding, spine: Spine | None = None, distance_mm: float = 330.0) -> None:
    """Look at a vertebra in 3-D from its left and slightly from the front, its own axis upwards."""
    right, anterior, up = vertebra_axes(finding, spine).T
    direction = -right + 0.45 * anterior + 0.1 * up
    center = np.array(finding.center_ras_mm)
    eye = center + distance_mm * direction / np.linalg.norm(direction)
    was = camera_node.StartModify()
    camera_node.SetFocalPoint(*center)
    camera_node.SetPosition(*eye)
    camera_node.SetViewUp(*up)
    camera_node.ResetClippingRange()
    camera_node.EndModify(was)
