"""Heights over level as a plot: what was measured, and the 90 % band of what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from VertebralGradingLib.findings import POSITIONS, Finding
from VertebralGradingLib.report.profile import Z90, level_places
from VertebralGradingLib.report.values import at_position, number
from VertebralGradingLib.scene.table import number_column, set_columns, text_column
from VertebralGradingLib.spine.anatomy import ORDER

SERIES = tuple(f"{position}_{kind}" for position in POSITIONS for kind in ("measured", "low", "high"))
"""Names of the series, and of the columns of the chart's table."""

_END = {"low": "lower", "high": "upper"}
_COLOR = {"anterior": (0.0, 0.45, 0.70), "middle": (0.80, 0.47, 0.65), "posterior": (0.0, 0.62, 0.45)}
"""Blue, reddish purple and bluish green (Okabe and Ito 2008), none of which stands for a grade."""


def fill_chart_table(node: Any, findings: Sequence[Finding]) -> None:
    """Replace the columns of the chart's table: level, place on the axis, and for each position three heights (mm)."""
    measured = [finding for finding in findings if finding.heights_mm]
    columns: dict[str, Any] = {
        "level": text_column([finding.level for finding in measured]),
        "place": number_column(level_places(measured)),
    }
    for position in POSITIONS:
        columns[f"{position}_measured"] = number_column([number(f.heights_mm.get(position)) for f in measured])
        for kind, sign in (("low", -1.0), ("high", 1.0)):
            columns[f"{position}_{kind}"] = number_column([_edge(f, position, sign) for f in measured])
    set_columns(node, columns)


def style_series(node: Any, name: str, table: Any) -> None:
    """Let a plot series show one column of the chart's table."""
    position, kind = name.split("_")
    is_measured = kind == "measured"
    node.SetName(f"{position} height" if is_measured else f"{position}, {_END[kind]} end of the band")
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    node.SetXColumnName("place")
    node.SetYColumnName(name)
    node.SetLabelColumnName("level")
    node.SetColor(*_COLOR[position])
    node.SetMarkerStyle(
        slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle if is_measured else slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone
    )
    node.SetMarkerSize(9)
    node.SetLineStyle(
        slicer.vtkMRMLPlotSeriesNode.LineStyleSolid if is_measured else slicer.vtkMRMLPlotSeriesNode.LineStyleDash
    )
    node.SetLineWidth(2 if is_measured else 1)


def style_chart(node: Any, title: str, findings: Sequence[Finding]) -> None:
    """Titles of the chart. A plot has no names on its axis, so the axis says how levels are counted."""
    measured = [finding for finding in findings if finding.heights_mm]
    named = all(finding.level in ORDER for finding in measured)
    places = level_places(measured) or [0.0]
    room = max(places) - min(places) + 1.0
    node.SetXAxisRangeAuto(False)
    node.SetXAxisRange(min(places) - 0.5, max(places) + 0.5 + 0.55 * room)  # the legend stands on the right
    node.SetTitle(title)
    node.SetXAxisTitle("level (T1 = 1, T12 = 12, L1 = 13, L5 = 17)" if named else "vertebra, cranial to caudal")
    node.SetYAxisTitle("height (mm); dashed: 90 % band of what is expected")
    node.SetLegendVisibility(True)
    node.SetGridVisibility(True)


def _edge(finding: Finding, position: str, sign: float) -> float | None:
    mean = number(at_position(finding, "reference_mm", position))
    sd = number(at_position(finding, "reference_sd_mm", position))
    return None if mean is None or sd is None else mean + sign * Z90 * sd
