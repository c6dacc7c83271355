"""The overview of the whole spine with its graded vertebrae: SVG for the page, PNG as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from VertebralGradingLib.findings import RESEARCH_USE, Finding
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.report import svg
from VertebralGradingLib.report.canvas import BLACK, WHITE, Canvas, encode_png
from VertebralGradingLib.report.colors import shown_colors
from VertebralGradingLib.report.marks import Mark, marks, spread
from VertebralGradingLib.report.pictures import Overview
from VertebralGradingLib.report.sentences import assessed_text

_MARGIN = 190
"""Width of the captions' column on the page (CSS pixels)."""
_TALLEST = 880
"""Height of the page's overview (CSS pixels)."""
_PNG_PER_MM = 4.0
_SCALE_MM = 50


def overview_svg(overview: Overview, gray: NDArray[np.uint8], findings: Sequence[Finding]) -> str:
    """The overview as SVG: captions in a column on the anterior side, thin leaders to the bodies.

    Args:
        overview: where the pixels lie.
        gray: (rows, cols) its picture.
        findings: what to mark.
    """
    rows, columns = gray.shape
    per_mm = float(np.clip(_TALLEST / (rows * overview.row_step_mm), 1.2, 3.2))
    sx, sy = per_mm * overview.col_step_mm, per_mm * overview.row_step_mm
    width, height = columns * sx, rows * sy
    found = marks(findings, overview)

    def place(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        return (pixels + 0.5) * (sx, sy) + (_MARGIN, 0.0)

    captions = spread([float(place(mark.front)[1]) for mark in found], 17.0, 12.0, height - 12.0)
    parts = [svg.picture(encode_png(gray), _MARGIN, 0, width, height)]
    for mark, y in zip(found, captions, strict=True):
        parts += _leader(place(mark.front), y)
        parts += _body(place(mark.points), place(mark.contour), place(mark.center), mark)
        parts += [
            svg.text(0, y + 4.5, mark.level, 13, font_weight=700),
            svg.rect(40, y - 5.5, 11, 11, rx=2, fill=mark.color.color, stroke=svg.INK, stroke_width=0.6),
            svg.text(57, y + 4.5, mark.caption, 12.5),
        ]
    parts += [
        svg.halo_text(_MARGIN + 8, 20, "A", 15, font_weight=700),
        svg.halo_text(_MARGIN + width - 8, 20, "P", 15, font_weight=700, text_anchor="end"),
        svg.scale_bar(_MARGIN + width - 10, height - 10, _SCALE_MM * per_mm, f"{_SCALE_MM} mm"),
    ]
    return svg.svg(
        _MARGIN + width, height, *parts, label="Sagittal overview of the spine, anterior left, cranial on top"
    )


def _leader(end: NDArray[np.float64], y: float) -> list[str]:
    x = float(end[0]) - 5
    path = [(_MARGIN - 6, y), (_MARGIN, y), (min(_MARGIN + 14, x), y), (x, float(end[1]))]
    return [
        svg.polyline(path[:2], stroke=svg.PALE, stroke_width=1),
        svg.polyline(path[1:], stroke="#ffffff", stroke_opacity=0.55, stroke_width=1, stroke_dasharray="1.5 3"),
    ]


def _body(
    points: NDArray[np.float64], contour: NDArray[np.float64], middle: NDArray[np.float64], mark: Mark
) -> list[str]:
    color = mark.color.color
    if not len(points):
        x, y = middle
        return [
            svg.circle(x, y, 12, fill="none", stroke="#000000", stroke_opacity=0.7, stroke_width=4.5),
            svg.circle(x, y, 12, fill="none", stroke="#ffffff", stroke_width=2, stroke_dasharray="5 3.4"),
        ]
    dots = [svg.circle(x, y, 2.6, fill=color, stroke="#000000", stroke_width=0.8) for x, y in points]
    return [
        svg.polygon(
            contour, fill="none", stroke="#000000", stroke_opacity=0.55, stroke_width=3.4, stroke_linejoin="round"
        ),
        svg.polygon(contour, fill="none", stroke=color, stroke_width=1.6, stroke_linejoin="round"),
        *dots,
    ]


def overview_png(overview: Overview, gray: NDArray[np.uint8], findings: Sequence[Finding]) -> bytes:
    """The overview as PNG, four pixels for each mm, with the captions, the colours' key and the research-use line."""
    fy, fx = _PNG_PER_MM * overview.row_step_mm, _PNG_PER_MM * overview.col_step_mm
    large = np.clip(zoom(gray.astype(np.float32), (fy, fx), order=1, grid_mode=True, mode="nearest"), 0, 255)
    height, width = large.shape
    margin, head, foot = 370, 20, 112
    total = max(margin + width + 20, 900)
    page = np.full((head + height + foot, total), 255, dtype=np.uint8)
    page[head : head + height, margin : margin + width] = np.rint(large)
    canvas = Canvas(page)
    found = marks(findings, overview)

    def place(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        return (pixels + 0.5) * (fx, fy) + (margin - 0.5, head - 0.5)

    captions = spread([float(place(mark.front)[1]) for mark in found], 34.0, head + 16.0, head + height - 16.0)
    for mark, y in zip(found, captions, strict=True):
        front = place(mark.front) - (10, 0)
        canvas.line((margin - 12, y), (margin, y), (107, 116, 125))
        if abs(y - front[1]) < 1:
            canvas.line((margin, y), front, WHITE, 1.5, 0.5)
        else:
            knee = (min(margin + 28.0, float(front[0])), y)
            canvas.line((margin, y), knee, WHITE, 1.5, 0.5)
            canvas.line(knee, front, WHITE, 1.5, 0.5)
        _draw_body(canvas, place(mark.points), place(mark.contour), place(mark.center), mark)
        canvas.text(20, y + 9, mark.level, 26, bold=True)
        canvas.rectangle((91, y - 12), (115, y + 12), (31, 35, 40))
        canvas.rectangle((93, y - 10), (113, y + 10), mark.color.rgb)
        canvas.text(124, y + 8, mark.caption, 23)
    canvas.halo_text(margin + 14, head + 34, "A", 30)
    canvas.halo_text(margin + width - 14, head + 34, "P", 30, "end")
    _draw_scale(canvas, margin + width - 20, head + height - 22)
    _draw_key(canvas, head + height + 36, findings)
    stopped = any(finding.state == NOT_REACHED for finding in findings)
    told = f"{assessed_text(findings, complete=False)}. " if stopped else ""
    canvas.text(20, head + height + foot - 20, told + RESEARCH_USE, 20, (75, 83, 91))
    return canvas.png()


def _draw_body(
    canvas: Canvas, points: NDArray[np.float64], contour: NDArray[np.float64], middle: NDArray[np.float64], mark: Mark
) -> None:
    color = mark.color.rgb
    if not len(points):
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = middle + 26 * np.column_stack([np.cos(angle), np.sin(angle)])
        canvas.polyline(ring, BLACK, 8)
        for start, end in zip(ring[::2], ring[1::2], strict=False):
            canvas.line(start, end, WHITE, 3)
        return
    canvas.polyline(contour, BLACK, 6, closed=True)
    canvas.polyline(contour, color, 3, closed=True)
    for point in points:
        canvas.disc(point, 6.5, BLACK)
        canvas.disc(point, 5, color)


def _draw_scale(canvas: Canvas, right: float, y: float) -> None:
    left = right - _SCALE_MM * _PNG_PER_MM
    for color, width in ((BLACK, 7.0), (WHITE, 3.0)):
        canvas.polyline([(left, y - 8), (left, y), (right, y), (right, y - 8)], color, width)
    canvas.halo_text((left + right) / 2, y - 14, f"{_SCALE_MM} mm", 22, "middle")


def _draw_key(canvas: Canvas, y: float, findings: Sequence[Finding]) -> None:
    x = 20.0
    for entry in shown_colors(findings):
        canvas.rectangle((x, y - 17), (x + 20, y + 3), (31, 35, 40))
        canvas.rectangle((x + 1.5, y - 15.5), (x + 18.5, y + 1.5), entry.rgb)
        x += 30 + canvas.text(x + 28, y, entry.state, 21) + 26
