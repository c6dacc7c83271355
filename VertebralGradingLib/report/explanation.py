"""Pictures of one vertebra for a panel: its patch with what was measured, and its heights among its neighbours'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.findings import POSITIONS, Finding
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report.canvas import BLACK, WHITE, Canvas, Color
from VertebralGradingLib.report.colors import color_of
from VertebralGradingLib.report.marks import six_points
from VertebralGradingLib.report.patches import PATCH_MM, patch_grid
from VertebralGradingLib.report.pictures import to_gray
from VertebralGradingLib.report.profile import Z90
from VertebralGradingLib.report.values import at_position, number, quantity
from VertebralGradingLib.spine.reformation import Grid
from VertebralGradingLib.spine.spine import Spine

_SCALE = 2
"""Screen pixels for each sample of a patch (0.5 mm)."""
_PLOT = (384, 150)
_MARGIN = (34, 10, 18, 20)
"""Left, right, top and bottom of a plot (pixels)."""


def patch_png(finding: Finding, volume: Volume, spine: Spine | None = None) -> bytes:
    """The sagittal patch (96 x 96 mm, 384 x 384 pixels) with the six points.

    Coloured lines are the measured heights; white ones stand beside them, as long as the heights that were expected.
    """
    grid = patch_grid(finding, spine)
    gray = to_gray(sample(volume, grid.points())[..., 0])
    canvas = Canvas(np.repeat(np.repeat(gray, _SCALE, axis=0), _SCALE, axis=1))
    points, color = six_points(finding), color_of(finding).rgb
    if points is not None:
        up = np.array(quantity(finding, "up_ras") or (0.0, 0.0, 1.0))
        for position, upper, lower in zip(POSITIONS, points[0::2], points[1::2], strict=True):
            expected = number(at_position(finding, "reference_mm", position))
            if expected is not None:
                ends = _pixels(grid, [(upper + lower) / 2 + sign * expected / 2 * up for sign in (1, -1)])
                beside = np.array([7.0, 0.0])
                canvas.line(ends[0] + beside, ends[1] + beside, BLACK, 4.0, 0.6)
                canvas.line(ends[0] + beside, ends[1] + beside, WHITE, 2.0)
            start, end = _pixels(grid, [upper, lower])
            canvas.line(start, end, BLACK, 5.0, 0.6)
            canvas.line(start, end, color, 3.0)
        for pixel in _pixels(grid, points):
            canvas.disc(pixel, 5.5, BLACK)
            canvas.disc(pixel, 4.0, color)
    edge = PATCH_MM * 2 * _SCALE
    canvas.halo_text(8, 20, f"{finding.level}  A", 15)
    canvas.halo_text(edge - 8, 20, "P", 15, "end")
    if points is not None and quantity(finding, "reference_mm") is not None:
        canvas.halo_text(8, edge - 10, "white: expected height", 13)
    return canvas.png()


def profile_png(findings: Sequence[Finding], level: str, dark: bool = False) -> bytes:
    """Anterior, middle and posterior heights over the vertebrae: dots, and the 90 % band of what is expected.

    Args:
        findings: cranial to caudal.
        level: which vertebra is marked.
        dark: for a dark panel.
    """
    width, height = _PLOT
    paper: Color = (50, 50, 50) if dark else (255, 255, 255)
    ink: Color = (225, 225, 225) if dark else (40, 40, 40)
    band: Color = (78, 90, 100) if dark else (214, 224, 233)
    canvas = Canvas(np.full((3 * height, width, 3), paper, dtype=np.uint8))
    shown = [finding for finding in findings if finding.heights_mm]
    values = [value for f in shown for value in f.heights_mm.values()]
    values += [edge for f in shown for p in POSITIONS for edge in _band(f, p)]
    if not values:
        canvas.text(width / 2, 1.5 * height, "no heights were measured", 14, ink, "middle")
        return canvas.png()
    low, high = 5 * np.floor((min(values) - 1) / 5), 5 * np.ceil((max(values) + 1) / 5)
    left, right, top, bottom = _MARGIN
    step = (width - left - right) / len(shown)
    size = 11 if len(shown) <= 12 else 9
    for n, position in enumerate(POSITIONS):
        base = n * height

        def place(column: int, mm: float, base: int = base) -> tuple[float, float]:
            share = (mm - low) / (high - low)
            return left + (column + 0.5) * step, base + height - bottom - share * (height - top - bottom)

        for mm in np.arange(low, high + 0.1, 10.0 if high - low > 20 else 5.0):
            y = place(0, float(mm))[1]
            canvas.line((left, y), (width - right, y), band, 1.0)
            canvas.text(left - 5, y + 4, f"{mm:.0f}", 11, ink, "end")
        for column, finding in enumerate(shown):
            edges = _band(finding, position)
            if edges:
                (x, y0), (_, y1) = place(column, edges[1]), place(column, edges[0])
                canvas.rectangle((x - 0.45 * step, y0), (x + 0.45 * step, y1), band)
        for column, finding in enumerate(shown):
            x, y = place(column, finding.heights_mm[position])
            chosen = finding.level == level
            canvas.disc((x, y), 6.5 if chosen else 4.5, ink if chosen else BLACK)
            canvas.disc((x, y), 4.0 if chosen else 3.5, color_of(finding).rgb)
            bottom_y = base + height - 5
            canvas.text(x, bottom_y, finding.level, size, ink, "middle", bold=chosen)
        canvas.text(left, base + 13, f"{position} height (mm), band: 90 % of what is expected", 12, ink)
    return canvas.png()


def _band(finding: Finding, position: str) -> list[float]:
    """Lower and upper end of what is expected (mm); empty where nothing is."""
    mean = number(at_position(finding, "reference_mm", position))
    sd = number(at_position(finding, "reference_sd_mm", position))
    return [] if mean is None or sd is None else [mean - Z90 * sd, mean + Z90 * sd]


def _pixels(grid: Grid, points: Any) -> NDArray[np.float64]:
    """(n, 2) x, y on the enlarged patch."""
    index = grid.to_index(np.array(points))
    return np.asarray((index[:, 1::-1] + 0.5) * _SCALE - 0.5)
