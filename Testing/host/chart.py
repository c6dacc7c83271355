"""Draws a plot chart node, as Slicer's plot view does: that view is a Qt widget and not part of the MRML library."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from .picture import Picture, grab, render_window

_SERIES = slicer.vtkMRMLPlotSeriesNode
_MARKERS = {
    _SERIES.MarkerStyleNone: vtk.vtkPlotPoints.NONE,
    _SERIES.MarkerStyleCross: vtk.vtkPlotPoints.CROSS,
    _SERIES.MarkerStylePlus: vtk.vtkPlotPoints.PLUS,
    _SERIES.MarkerStyleSquare: vtk.vtkPlotPoints.SQUARE,
    _SERIES.MarkerStyleCircle: vtk.vtkPlotPoints.CIRCLE,
    _SERIES.MarkerStyleDiamond: vtk.vtkPlotPoints.DIAMOND,
}
_LINES = {
    _SERIES.LineStyleNone: vtk.vtkPen.NO_PEN,
    _SERIES.LineStyleSolid: vtk.vtkPen.SOLID_LINE,
    _SERIES.LineStyleDash: vtk.vtkPen.DASH_LINE,
    _SERIES.LineStyleDot: vtk.vtkPen.DOT_LINE,
    _SERIES.LineStyleDashDot: vtk.vtkPen.DASH_DOT_LINE,
    _SERIES.LineStyleDashDotDot: vtk.vtkPen.DASH_DOT_DOT_LINE,
}
BACKGROUND = (255, 253, 246)


def draw_chart(node: Any, size: tuple[int, int] = (640, 480)) -> Picture:
    """Draw the scatter and line series of a plot chart node.

    Where Slicer's plot view leaves a series out without a word (no table, no such column, a column of text), this
    raises. Bars and logarithmic axes are refused as well.

    Args:
        node: The vtkMRMLPlotChartNode.
        size: Width and height in pixels.

    Returns:
        The picture; ``project`` and ``color_at`` take (x, y, 0) in the chart's units.
    """
    chart = vtk.vtkChartXY()
    chart.GetBackgroundBrush().SetColor(*BACKGROUND, 255)
    family = vtk.vtkTextProperty.GetFontFamilyFromString(node.GetFontType() or "Arial")
    chart.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
    _set_font(chart.GetTitleProperties(), family, node.GetTitleFontSize())
    chart.SetShowLegend(bool(node.GetLegendVisibility()))
    _set_font(chart.GetLegend().GetLabelProperties(), family, node.GetLegendFontSize())
    for index in range(node.GetNumberOfPlotSeriesNodes()):
        chart.AddPlot(_plot(node.GetNthPlotSeriesNode(index)))
    _set_axis(chart.GetAxis(vtk.vtkAxis.BOTTOM), node, "X", family)
    _set_axis(chart.GetAxis(vtk.vtkAxis.LEFT), node, "Y", family)

    window = render_window()
    window.SetSize(*size)
    view = vtk.vtkContextView()
    view.SetRenderWindow(window)
    view.GetScene().AddItem(chart)
    view.GetRenderer().SetBackground(1, 1, 1)
    image = grab(window)
    to_pixel = _to_pixel(chart, size)
    view.GetScene().RemoveItem(chart)
    window.Finalize()
    return Picture(image, to_pixel)


def _plot(series: Any) -> Any:
    """Return the plot of a series node."""
    kind = series.GetPlotType()
    if kind not in (_SERIES.PlotTypeScatter, _SERIES.PlotTypeLine):
        raise NotImplementedError(f"series {series.GetName()}: only scatter and line are drawn here")
    table_node = series.GetTableNode()
    if table_node is None:
        raise ValueError(f"series {series.GetName()} has no table")
    table = table_node.GetTable()
    y_name = series.GetYColumnName()
    x_name = series.GetXColumnName() if kind == _SERIES.PlotTypeScatter else y_name
    for name in (x_name, y_name):
        column = table.GetColumnByName(name or "")
        if column is None:
            raise ValueError(f"series {series.GetName()}: its table has no column {name!r}")
        if not column.IsNumeric():
            raise ValueError(f"series {series.GetName()}: column {name!r} holds no numbers")
    plot = vtk.vtkPlotLine()
    plot.SetUseIndexForXSeries(kind == _SERIES.PlotTypeLine)
    plot.SetInputData(table, x_name, y_name)
    plot.SetLabel(series.GetName() or y_name)
    plot.SetColorF(*series.GetColor())
    plot.SetWidth(series.GetLineWidth())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    plot.GetPen().SetLineType(_LINES[series.GetLineStyle()])
    plot.SetMarkerStyle(_MARKERS[series.GetMarkerStyle()])
    plot.SetMarkerSize(series.GetMarkerSize())
    return plot


def _set_axis(axis: Any, node: Any, letter: str, family: int) -> None:
    """Set up the x or y axis by the chart node's properties for it."""

    def get(name: str) -> Any:
        return getattr(node, f"Get{letter}Axis{name}")()

    axis.SetTitle((get("Title") or "") if get("TitleVisibility") else "")
    if get("LogScale"):
        raise NotImplementedError("logarithmic axes are not drawn here")
    axis.SetGridVisible(bool(node.GetGridVisibility()))
    if not get("RangeAuto"):
        axis.SetBehavior(vtk.vtkAxis.FIXED)
        axis.SetUnscaledRange(*get("Range"))
    _set_font(axis.GetTitleProperties(), family, node.GetAxisTitleFontSize())
    _set_font(axis.GetLabelProperties(), family, node.GetAxisLabelFontSize())


def _set_font(text: Any, family: int, size: int) -> None:
    text.SetFontFamily(family)
    text.SetFontSize(size)


def _to_pixel(chart: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the matrix from (x, y, 0, 1) in the chart's units to pixels."""
    scale, shift = np.ones(2), np.zeros(2)
    for index, position in enumerate((vtk.vtkAxis.BOTTOM, vtk.vtkAxis.LEFT)):
        axis = chart.GetAxis(position)
        low, high = axis.GetMinimum(), axis.GetMaximum()
        start, end = axis.GetPoint1()[index], axis.GetPoint2()[index]
        scale[index] = (end - start) / (high - low)
        shift[index] = start - low * scale[index]
    to_pixel = np.diag([scale[0], -scale[1], 0.0, 1.0])
    to_pixel[:2, 3] = shift[0] - 0.5, size[1] - 0.5 - shift[1]
    return to_pixel
