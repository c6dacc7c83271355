"""The six points of every measured vertebra as one point list whose points can be dragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.morphometry.heights import POINT_NAMES
from VertebralGradingLib.scene.inputs import RESULT

_SHORT = {name: "".join(word[0].upper() for word in name.split("_")) for name in POINT_NAMES}
_POINT_MM = 2.5


def measured_levels(findings: Sequence[Finding]) -> list[str]:
    """Levels that have six points, in the order of the findings."""
    return [finding.level for finding in findings if len(finding.points_ras_mm) == len(POINT_NAMES)]


def fill_points(node: Any, findings: Sequence[Finding]) -> None:
    """Place the points of all findings. Points that are there already are moved, so that a view keeps its state."""
    names = [f"{level} {name.replace('_', ' ')}" for level in measured_levels(findings) for name in POINT_NAMES]
    places = [place for finding in findings if len(finding.points_ras_mm) == 6 for place in finding.points_ras_mm]
    was = node.StartModify()
    try:
        node.SetAttribute(RESULT, "six points")
        if _descriptions(node) != names:
            _make(node, names)
        for n, place in enumerate(places):
            node.SetNthControlPointPositionWorld(n, *place)
    finally:
        node.EndModify(was)


def read_points(node: Any) -> dict[str, NDArray[np.float64]]:
    """(6, 3) RAS mm of each level, in the order of :data:`morphometry.POINT_NAMES`; incomplete levels are left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for n, text in enumerate(_descriptions(node)):
        if node.GetNthControlPointPositionStatus(n) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            level, _, name = text.partition(" ")
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(n, position)
            found.setdefault(level, {})[name.replace(" ", "_")] = position
    return {
        level: np.array([points[name] for name in POINT_NAMES])
        for level, points in found.items()
        if all(name in points for name in POINT_NAMES)
    }


def show_only(node: Any, level: str | None) -> None:
    """Show the points of one level, or of all."""
    was = node.StartModify()
    for n, text in enumerate(_descriptions(node)):
        node.SetNthControlPointVisibility(n, level is None or text.partition(" ")[0] == level)
    node.EndModify(was)


def _make(node: Any, names: Sequence[str]) -> None:
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    for text in names:
        n = node.AddControlPointWorld(0.0, 0.0, 0.0)
        node.SetNthControlPointDescription(n, text)
        node.SetNthControlPointLabel(n, _SHORT[text.partition(" ")[2].replace(" ", "_")])
    node.SetFixedNumberOfControlPoints(True)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetUseGlyphScale(False)
        display.SetGlyphSize(_POINT_MM)
        display.SetGlyphTypeFromString("Sphere3D")
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetSelectedColor(0.0, 0.62, 0.45)  # bluish green, not a colour of a grade (Okabe and Ito 2008)
        display.SetActiveColor(0.8, 0.47, 0.65)


def _descriptions(node: Any) -> list[str]:
    return [node.GetNthControlPointDescription(n) or "" for n in range(node.GetNumberOfControlPoints())]
