"""Loss of height in the views: upper endplate in colours with a legend, the map in the body, the CT that was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from VertebralGradingLib.report.colors import TOP_LOSS, colors_of_loss
from VertebralGradingLib.report.pictures import BONE_WINDOW

SURFACE_CLASS = "vtkMRMLModelNode"
_SCALARS = "loss of height (%)"
_COLORS = "VertebralGradingLossOfHeight"
_NUMBER = 256
_OUTSIDE = -100
"""Value of the map beside the body; it is not shown."""
_LIFT_MM = 0.6
"""So far above the endplate the coloured surface lies, so that the vertebra's own does not hide it."""


def fill_surface(node: Any, answer: Mapping[str, Any]) -> None:
    """Replace a model by the upper endplate of a vertebra, coloured by the loss of each column (0 to 50 %).

    Args:
        node: a model node.
        answer: ``endplate_ras_mm`` (C, D, 3), ``loss`` (C, D) as a fraction, NaN outside; ``map_affine``.
    """
    places, loss = _array(answer["endplate_ras_mm"]), _array(answer["loss"])
    up = -_array(answer["map_affine"])[:3, 2]
    known = np.isfinite(loss) & np.isfinite(places).all(-1)
    number = np.full(loss.shape, -1)
    number[known] = np.arange(int(known.sum()))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(places[known] + _LIFT_MM * up), deep=True))
    cells = vtk.vtkCellArray()
    for c, d in np.argwhere(known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]):
        cells.InsertNextCell(4, [int(number[at]) for at in ((c, d), (c + 1, d), (c + 1, d + 1), (c, d + 1))])
    surface = vtk.vtkPolyData()
    surface.SetPoints(points)
    surface.SetPolys(cells)
    values = numpy_to_vtk(np.ascontiguousarray(100.0 * loss[known]), deep=True)
    values.SetName(_SCALARS)
    surface.GetPointData().SetScalars(values)
    node.SetAndObservePolyData(surface)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_color_node(node.GetScene()).GetID())
    display.SetActiveScalarName(_SCALARS)
    display.SetScalarVisibility(True)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(0.0, 100.0 * TOP_LOSS)
    display.SetBackfaceCulling(False)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(3)


def fill_map(node: Any, answer: Mapping[str, Any]) -> None:
    """Replace a volume by the map: one slice across the middle of the body, loss in whole per cent.

    Args:
        node: a scalar volume node.
        answer: ``loss`` (C, D) and ``map_affine`` (4, 4) column, depth, 0 -> RAS mm.
    """
    loss, affine = _array(answer["loss"]), _array(answer["map_affine"])
    percent = np.where(np.isfinite(loss), np.rint(100.0 * loss), _OUTSIDE).astype(np.int16)
    matrix = affine[:, [1, 0, 2, 3]]  # voxels of an image run along depth first
    slicer.util.updateVolumeFromArray(node, percent[None])
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetAndObserveColorNodeID(_color_node(node.GetScene()).GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, 100.0 * TOP_LOSS)
        display.SetApplyThreshold(True)
        display.SetThreshold(_OUTSIDE + 1, 100)
        display.SetInterpolate(False)


def fill_healthy(node: Any, answer: Mapping[str, Any]) -> None:
    """Replace a volume by the pseudo-healthy CT around a vertebra, where it belongs.

    Args:
        node: a scalar volume node.
        answer: ``pseudo_healthy`` (R, C, D) HU and ``affine`` (4, 4) index -> RAS mm.
    """
    hu = np.asarray(answer["pseudo_healthy"])
    affine = _array(answer["affine"])
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(np.clip(hu, -32768, 32767).astype(np.int16)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine[:, [2, 1, 0, 3]]))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(*BONE_WINDOW)


def show_legend(node: Any, shown: bool) -> None:
    """Show or hide a coloured endplate with its legend.

    Args:
        node: filled by :func:`fill_surface`.
        shown: whether to show it.
    """
    display = node.GetDisplayNode()
    if display is None:
        return
    display.SetVisibility(shown)
    logic = slicer.vtkSlicerColorLogic
    legend = logic.GetColorLegendDisplayNode(node)
    if legend is None and shown:
        legend = logic.AddDefaultColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetTitleText("height loss\n(%)")
        legend.SetLabelFormat("%.0f")
        legend.SetNumberOfLabels(6)
        legend.SetVisibility(shown)


def _color_node(scene: Any) -> Any:
    """The colours of the report's maps, one node for a scene."""
    node = scene.GetSingletonNode(_COLORS, "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(_COLORS)
        node.SetName("loss of height (%)")
        node.SetHideFromEditors(True)
        node.SetTypeToUser()
        node.SetNumberOfColors(_NUMBER)
        for n, (red, green, blue) in enumerate(colors_of_loss(np.linspace(0.0, TOP_LOSS, _NUMBER)) / 255.0):
            node.SetColor(n, f"{100 * TOP_LOSS * n / (_NUMBER - 1):.0f} %", red, green, blue)
        node = scene.AddNode(node)
    return node


def _array(values: Any) -> NDArray[np.float64]:
    """An array, or lists in which None stands for NaN."""
    return np.array(values, dtype=np.float64)
