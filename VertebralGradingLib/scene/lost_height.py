"""Loss of height in the views: upper endplate in colours with a legend, the map in the body, the CT that was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from VertebralGradingLib.report.colors import TOP_LOSS, UNCERTAIN, colors_of_loss
from VertebralGradingLib.report.pictures import BONE_WINDOW

SURFACE_CLASS = "vtkMRMLModelNode"
_SCALARS = "loss of height (%)"
_COLORS = "VertebralGradingLossOfHeight"
_NUMBER = 256
_OUTSIDE = -100
"""Value of the map beside the body; it is not shown."""
_UNCERTAIN, _LEAST = 0.0, 100.0 * TOP_LOSS / _NUMBER
"""Value of a column whose loss cannot be told, which has the first colour, and the least of all others."""
_LIFT_MM = 0.6
"""So far above the endplate the coloured surface lies, so that the vertebra's own does not hide it."""


def fill_surface(node: Any, answer: Mapping[str, Any]) -> None:
    """Replace a model by the upper endplate of a vertebra, coloured by the loss of each column (0 to 50 %).

    Args:
        node: a model node.
        answer: ``endplate_ras_mm`` (C, D, 3), ``loss`` (C, D) as a fraction, NaN outside, ``uncertain`` (C, D);
            ``map_affine``.
    """
    places, loss = _array(answer["endplate_ras_mm"]), _percent(answer)
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
    values = numpy_to_vtk(np.ascontiguousarray(loss[known]), deep=True)
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
    """Replace a volume by the map: one slice across the middle of the body, loss in per cent, 0 where it is uncertain.

    Args:
        node: a scalar volume node.
        answer: ``loss`` and ``uncertain`` (C, D), and ``map_affine`` (4, 4) column, depth, 0 -> RAS mm.
    """
    affine = _array(answer["map_affine"])
    percent = np.nan_to_num(_percent(answer), nan=_OUTSIDE).astype(np.float32)
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
        answer: ``pseudo_healthy`` (R, C, D) HU and ``affine`` (4, 4) index -> RAS mm; or ``warped`` (I, J, K) on the
            CT's own voxels and ``warped_affine``, which come first.
    """
    name = "warped" if answer.get("warped") is not None else "pseudo_healthy"
    hu = np.asarray(answer[name])
    affine = _array(answer["warped_affine" if name == "warped" else "affine"])
    voxels = np.clip(hu, -32768, 32767).astype(np.int16)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
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
        legend.SetTitleText("height loss (%)\ngrey: uncertain")
        legend.SetLabelFormat("%.0f")
        legend.SetNumberOfLabels(6)
        legend.SetVisibility(shown)


def _color_node(scene: Any) -> Any:
    """The colours of the report's maps, grey first, one node for a scene; that of an older version is renewed."""
    node = scene.GetSingletonNode(_COLORS, "vtkMRMLColorTableNode")
    if node is not None and node.GetNumberOfColors() == _NUMBER:
        _fill_colors(node)
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(_COLORS)
        node.SetName("loss of height (%)")
        node.SetHideFromEditors(True)
        node.SetTypeToUser()
        node.SetNumberOfColors(_NUMBER)
        _fill_colors(node)
        node = scene.AddNode(node)
    return node


def _fill_colors(node: Any) -> None:
    names = ["uncertain", *(f"{100 * TOP_LOSS * n / (_NUMBER - 1):.0f} %" for n in range(1, _NUMBER))]
    colors = [UNCERTAIN, *colors_of_loss(np.linspace(0.0, TOP_LOSS, _NUMBER))[1:]]
    for n, (name, color) in enumerate(zip(names, colors, strict=True)):
        node.SetColor(n, name, *(float(part) / 255.0 for part in color))


def _percent(answer: Mapping[str, Any]) -> NDArray[np.float64]:
    """(C, D) loss in per cent as it is shown: no loss as the least, what is uncertain as :data:`_UNCERTAIN`."""
    loss = 100.0 * _array(answer["loss"])
    shown = np.where(np.isfinite(loss), np.maximum(loss, _LEAST), np.nan)
    return np.where(np.asarray(answer["uncertain"], dtype=bool) & np.isfinite(loss), _UNCERTAIN, shown)


def _array(values: Any) -> NDArray[np.float64]:
    """An array, or lists in which None stands for NaN."""
    return np.array(values, dtype=np.float64)
