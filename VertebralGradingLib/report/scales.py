"""The scales of numbers as bars with marks, drawn the same in every picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.report.canvas import BLACK, Canvas
from VertebralGradingLib.report.colors import TOP_LOSS, TOP_MOVEMENT_MM, UNCERTAIN, colors_of_loss, colors_of_movement
from VertebralGradingLib.report.pictures import DIFFERENCE_HU, difference_rgb

CHANGE_TITLE = "darker, brighter (HU)"
LOSS_TITLE, MOVEMENT_TITLE = "lost height", "moved along the body's axis (mm)"
_BAR = 12
_SIZE = 11


def loss_bar(canvas: Canvas, corner: tuple[float, float], width: int, title: str = LOSS_TITLE) -> float:
    """The scale of lost height, lying, with marks at the limits of Genant's grades.

    Args:
        canvas: to draw on.
        corner: left and top of the whole (pixels).
        width: of the bar.
        title: above it.

    Returns:
        Bottom of the whole (pixels).
    """
    marks = [(0.0, "0"), *((bound / TOP_LOSS, f"{100 * bound:.0f}") for bound in GRADE_BOUNDS), (1.0, "≥ 50 %")]
    rgb = colors_of_loss(np.linspace(0.0, TOP_LOSS, width))
    return _bar(canvas, corner, rgb, title, marks)


def movement_bar(canvas: Canvas, corner: tuple[float, float], width: int, title: str = MOVEMENT_TITLE) -> float:
    """The scale of movement, lying; as :func:`loss_bar`."""
    top = TOP_MOVEMENT_MM
    marks = [(0.0, f"≤ -{top:.0f}"), (0.25, f"-{top / 2:.0f}"), (0.5, "0"), (0.75, f"{top / 2:.0f}")]
    marks.append((1.0, f"≥ {top:.0f}"))
    rgb = colors_of_movement(np.linspace(-top, top, width))
    return _bar(canvas, corner, rgb, title, marks)


def change_bar(canvas: Canvas, corner: tuple[float, float], width: int, title: str = CHANGE_TITLE) -> float:
    """The scale of a change of grey, lying; as :func:`loss_bar`."""
    top = DIFFERENCE_HU
    marks = [(0.0, f"≤ -{top:.0f}"), (0.5, "0"), (1.0, f"≥ {top:.0f}")]
    return _bar(canvas, corner, difference_rgb(np.linspace(-top, top, width)), title, marks)


def uncertain_key(canvas: Canvas, corner: tuple[float, float], text: str = "uncertain") -> None:
    """The grey of what cannot be told, with its word beside it."""
    left, top = corner
    canvas.rectangle((left, top), (left + 13, top + _BAR), UNCERTAIN)
    canvas.text(left + 18, top + 10, text, _SIZE, BLACK)


def _bar(
    canvas: Canvas,
    corner: tuple[float, float],
    rgb: np.ndarray,
    title: str,
    marks: Sequence[tuple[float, str]],
) -> float:
    left, top = round(corner[0]), round(corner[1])
    width = len(rgb)
    canvas.text(left, top + 11, title, _SIZE, BLACK)
    upper, lower = top + 16, top + 16 + _BAR
    canvas.rectangle((left - 1, upper - 1), (left + width, lower), BLACK)
    canvas.rgb[upper:lower, left : left + width] = rgb[None]
    for n, (share, text) in enumerate(marks):
        x = left + share * (width - 1)
        if 0 < n < len(marks) - 1:
            canvas.line((x, upper), (x, lower - 1), BLACK, 1.0)
        anchor = "start" if n == 0 else "end" if n == len(marks) - 1 else "middle"
        canvas.text(x, lower + 13, text, _SIZE, BLACK, anchor)
    return float(lower + 18)
