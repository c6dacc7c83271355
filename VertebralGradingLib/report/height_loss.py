"""Where a vertebra lost height, as a picture: a map seen from below, its mean from front to back, what was expected.

Scales are fixed, so that pictures of different vertebrae can be compared: 0 to 50 % in Matplotlib's viridis (CC0), a
perceptually uniform map, with lines at the limits of Genant's grades. A column's loss is no grade: grades follow the
heights of edge, middle and whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.report.canvas import BLACK, WHITE, Canvas, Color
from VertebralGradingLib.report.pictures import outline, to_gray
from VertebralGradingLib.report.values import METHOD_NAMES

TOP_LOSS = 0.5
"""Loss at the upper end of the colours."""
_ANCHORS = np.array(
    [(68, 1, 84), (70, 50, 126), (54, 92, 141), (39, 127, 142), (31, 161, 135), (74, 193, 109), (160, 218, 57),
     (253, 231, 37)],
    dtype=float,
)  # fmt: skip
_GRAY: Color = (120, 120, 120)
_WIDTH = 384
_MAP = (40, 26, 250)
"""Left, top and width of the map (pixels)."""
_CURVE_HEIGHT = 130
_CURVE_RANGE = (-0.2, 0.6)
_SLICE = 190
_CROP_MM = 80
_LINES: tuple[Color, ...] = (WHITE, WHITE, WHITE)


def colors_of_loss(loss: NDArray[Any]) -> NDArray[np.uint8]:
    """Loss (...) as a fraction -> (..., 3); below 0 as 0, NaN light grey."""
    share = np.clip(np.nan_to_num(loss, nan=0.0) / TOP_LOSS, 0.0, 1.0) * (len(_ANCHORS) - 1)
    low = np.minimum(share.astype(int), len(_ANCHORS) - 2)
    part = (share - low)[..., None]
    rgb = _ANCHORS[low] * (1 - part) + _ANCHORS[low + 1] * part
    rgb[np.isnan(loss)] = 236.0
    return np.rint(rgb).astype(np.uint8)


def height_loss_png(answer: Mapping[str, Any]) -> bytes:
    """The map with legend and curve; beside them, where a network drew it, the vertebra as it is and as expected.

    Args:
        answer: of kind "height_loss_map" (:mod:`healthivert.method`), or as it comes from a worker.
    """
    loss = _floats(answer["loss"])
    rows, columns = loss.shape
    scale = min(_MAP[2] / columns, 5.0)
    height, width = round(rows * scale), round(columns * scale)
    below = _MAP[1] + height + 26
    drawn = answer.get("pseudo_healthy") is not None
    total = below + _CURVE_HEIGHT + (_SLICE + 24 if drawn else 0) + 4
    canvas = Canvas(np.full((total, _WIDTH, 3), 255, dtype=np.uint8))
    left = _MAP[0] + (_MAP[2] - width) // 2
    _draw_map(canvas, loss, (left, _MAP[1]), (height, width))
    _draw_legend(canvas, (_MAP[0] + _MAP[2] + 34, _MAP[1]), height)
    _draw_curve(canvas, loss, below)
    if drawn:
        _draw_slices(canvas, answer, below + _CURVE_HEIGHT)
    return canvas.png()


def height_loss_sentence(answer: Mapping[str, Any]) -> str:
    """What is told below the picture.

    Args:
        answer: as for :func:`height_loss_png`.
    """

    def listed(values: Mapping[str, Any]) -> str:
        known = {name: value for name, value in values.items() if value is not None and np.isfinite(value)}
        return ", ".join(f"{name} {round(100 * value)} %" for name, value in known.items())

    network = answer.get("reference") == "network"
    name = METHOD_NAMES["healthivert" if network else "neighbours"]
    text = f"{name}: {listed(answer['thirds'])}; {listed(answer['sides'])}; whole {round(100 * answer['whole'])} %."
    if network:
        return (
            f"{text} By the published rules: {listed(answer['as_coded'])}. What is expected was drawn by a network and "
            "not measured; bright lines mark a loss of 20, 25 and 40 %."
        )
    levels = " and ".join(str(level) for level in answer["reference_levels"])
    return f"{text} Expected: the shape of {levels}, brought to this level's size; bright lines mark 20, 25 and 40 %."


def _draw_map(canvas: Canvas, loss: NDArray[np.float64], corner: tuple[int, int], size: tuple[int, int]) -> None:
    (left, top), (height, width) = corner, size
    wide = _enlarged(loss, size)
    canvas.rgb[top : top + height, left : left + width] = colors_of_loss(wide)
    for bound, color in zip(GRADE_BOUNDS, _LINES, strict=True):
        above = np.nan_to_num(wide, nan=-1.0) >= bound
        near = np.isfinite(wide)
        canvas.rgb[top : top + height, left : left + width][outline(above) & near] = color
    canvas.text(left + width / 2, top - 8, "front", 12, BLACK, "middle")
    canvas.text(left + width / 2, top + height + 15, "back", 12, BLACK, "middle")
    canvas.text(left - 6, top + height / 2, "R", 12, BLACK, "end")
    canvas.text(left + width + 6, top + height / 2, "L", 12, BLACK)


def _draw_legend(canvas: Canvas, corner: tuple[int, int], height: int) -> None:
    left, top = corner
    share = np.linspace(TOP_LOSS, 0.0, height)[:, None]
    canvas.rgb[top : top + height, left : left + 14] = colors_of_loss(np.repeat(share, 14, 1))
    for bound in (0.0, *GRADE_BOUNDS, TOP_LOSS):
        y = top + (1.0 - bound / TOP_LOSS) * (height - 1)
        if bound in GRADE_BOUNDS:
            canvas.line((left, y), (left + 13, y), WHITE, 1.5)
        sign = "≥ " if bound == TOP_LOSS else "≤ " if bound == 0.0 else ""
        canvas.text(left + 18, y + 4, f"{sign}{100 * bound:.0f} %", 11, BLACK)


def _draw_curve(canvas: Canvas, loss: NDArray[np.float64], top: int) -> None:
    """Mean loss from front to back, thirds marked."""
    left, right, low, high = _MAP[0], _WIDTH - 14, *_CURVE_RANGE
    bottom = top + _CURVE_HEIGHT - 20

    def place(column: float, value: float) -> tuple[float, float]:
        x = left + column / max(len(loss) - 1, 1) * (right - left)
        return x, bottom - (np.clip(value, low, high) - low) / (high - low) * (bottom - top - 14)

    for value in np.arange(low, high + 0.01, 0.2):
        y = place(0, value)[1]
        canvas.line((left, y), (right, y), (200, 200, 200) if abs(value) > 1e-6 else BLACK, 1.0)
        canvas.text(left - 5, y + 4, f"{100 * value:.0f}", 11, BLACK, "end")
    for third in (1, 2):
        x = place(third * (len(loss) - 1) / 3, 0.0)[0]
        for y in range(top + 14, bottom, 8):
            canvas.line((x, y), (x, y + 4), _GRAY, 1.0)
    known = np.isfinite(loss).any(1)
    columns = np.flatnonzero(known)
    canvas.polyline([place(float(c), float(np.nanmean(loss[c]))) for c in columns], (54, 92, 141), 2.5)
    canvas.text(left, top + 10, "loss (%), mean across, from front to back", 12, BLACK)
    for n, name in enumerate(("anterior", "middle", "posterior")):
        canvas.text(place((2 * n + 1) * (len(loss) - 1) / 6, 0.0)[0], bottom + 15, name, 11, BLACK, "middle")


def _draw_slices(canvas: Canvas, answer: Mapping[str, Any], top: int) -> None:
    """The middle sagittal slice as it is and as expected, each with its body's outline."""
    bodies = [np.asarray(answer[name]) for name in ("body", "pseudo_healthy_body")]
    across = np.flatnonzero(np.any(bodies[0], axis=(0, 1)))
    middle = int((across[0] + across[-1]) // 2) if len(across) else bodies[0].shape[2] // 2
    for n, (name, body, caption) in enumerate(
        zip(("original", "pseudo_healthy"), bodies, ("the CT", "pseudo-healthy, drawn"), strict=True)
    ):
        image = np.asarray(answer[name], dtype=np.float32)[:, :, middle]
        half = min(_CROP_MM // 2, min(image.shape) // 2)
        part = tuple(slice(size // 2 - half, size // 2 + half) for size in image.shape)
        left = n * (_SLICE + 4)
        wide = _enlarged(image[part].astype(float), (_SLICE, _SLICE))
        canvas.rgb[top + 20 : top + 20 + _SLICE, left : left + _SLICE] = to_gray(wide)[..., None]
        mask = _enlarged(body[:, :, middle][part].astype(float), (_SLICE, _SLICE)) >= 0.5
        canvas.rgb[top + 20 : top + 20 + _SLICE, left : left + _SLICE][outline(mask)] = (230, 159, 0)
        canvas.text(left + _SLICE / 2, top + 14, caption, 12, BLACK, "middle")


def _enlarged(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """(R, C) -> size, linear; NaN where the nearest value is NaN."""
    at = np.stack(
        np.meshgrid(
            *[(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, values.shape, strict=True)], indexing="ij"
        )
    )
    known = np.isfinite(values)
    share = map_coordinates(known.astype(float), at, order=1, mode="nearest")
    filled = map_coordinates(np.where(known, values, 0.0), at, order=1, mode="nearest")
    return np.where(share >= 0.5, filled / np.maximum(share, 1e-6), np.nan)


def _floats(values: Any) -> NDArray[np.float64]:
    """An array, or lists in which None stands for NaN."""
    return np.array(values, dtype=float)
