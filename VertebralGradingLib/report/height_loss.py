"""Where a vertebra lost height, as a picture: a map seen from below, its mean from front to back, what was expected.

Scales are fixed (:mod:`colors`), so that pictures of different vertebrae can be compared, with lines at the limits of
Genant's grades. A column's loss is no grade: grades follow the heights of edge, middle and whole. Columns whose loss
cannot be told are grey (:mod:`healthivert.certainty`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, map_coordinates

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.report.canvas import BLACK, Canvas, Color
from VertebralGradingLib.report.colors import TOP_LOSS, colors_of_loss
from VertebralGradingLib.report.pictures import outline, to_gray
from VertebralGradingLib.report.scales import uncertain_key
from VertebralGradingLib.report.values import METHOD_NAMES
from VertebralGradingLib.report.warp_strip import NOT_CONVINCING

WARP, NETWORK, NEIGHBOURS = "warp", "healthivert", "neighbours"
"""What a map can be by."""
BY = {
    WARP: "its own CT warped to grade 0",
    NETWORK: "HealthiVert-GAN",
    NEIGHBOURS: "the shape of its neighbours",
}
"""What is expected, in words."""
_BY_REFERENCE = {"warp": WARP, "network": NETWORK, "neighbours": NEIGHBOURS}
_GRAY: Color = (120, 120, 120)
_BODY: Color = (230, 159, 0)
_LINE: Color = (60, 60, 60)
_WIDTH = 384
_TOP = 22
_MAP = (40, 26 + _TOP, 250)
"""Left, top and width of the map (pixels)."""
_CURVE_HEIGHT = 130
_CURVE_RANGE = (-0.2, 0.6)
_LEAST_COLUMNS = 3
"""Of the curve: so many columns side by side have a mean."""
_SLICE = 190
_CROP_MM = 80


def by_of(answer: Mapping[str, Any]) -> str:
    """What a map is by: :data:`WARP`, :data:`NETWORK` or :data:`NEIGHBOURS`."""
    return _BY_REFERENCE.get(str(answer.get("reference")), NEIGHBOURS)


def height_loss_png(answer: Mapping[str, Any], level: str = "") -> bytes:
    """The map with legend and curve, heights in mm, and where there is one the pseudo-healthy vertebra beside the CT.

    Args:
        answer: of kind "height_loss_map" (:mod:`healthivert.method`, :mod:`methods.lost_height`), or as it comes from a
            worker.
        level: of the vertebra.
    """
    loss = _floats(answer["loss"])
    uncertain = np.asarray(answer["uncertain"], dtype=bool)
    rows, columns = loss.shape
    scale = min(_MAP[2] / columns, 5.0)
    height, width = round(rows * scale), round(columns * scale)
    below = _MAP[1] + height + 26
    drawn = answer.get("pseudo_healthy") is not None
    numbers = _heights_mm(answer)
    total = below + _CURVE_HEIGHT + 18 * len(numbers) + (_SLICE + 24 if drawn else 0) + 6
    canvas = Canvas(np.full((total, _WIDTH, 3), 255, dtype=np.uint8))
    title = f"{level} lost height against {BY[by_of(answer)]}".strip()
    canvas.text(_WIDTH / 2, 16, title, 13, BLACK, "middle", bold=True)
    left = _MAP[0] + (_MAP[2] - width) // 2
    _draw_map(canvas, loss, uncertain, (left, _MAP[1]), (height, width))
    _draw_legend(canvas, (_MAP[0] + _MAP[2] + 34, _MAP[1]), height, bool(uncertain.any()))
    _draw_curve(canvas, np.where(uncertain, np.nan, loss), below)
    for n, line in enumerate(numbers):
        canvas.text(4, below + _CURVE_HEIGHT + 18 * n + 14, line, 12, BLACK)
    if drawn:
        _draw_slices(canvas, answer, below + _CURVE_HEIGHT + 18 * len(numbers))
    return canvas.png()


def height_loss_sentence(answer: Mapping[str, Any]) -> str:
    """What is told below the picture.

    Args:
        answer: as for :func:`height_loss_png`.
    """

    def listed(values: Mapping[str, Any]) -> str:
        known = {name: value for name, value in values.items() if value is not None and np.isfinite(value)}
        return ", ".join(f"{name} {round(100 * value)} %" for name, value in known.items())

    by = by_of(answer)
    name = {WARP: "Height loss by the warp to grade 0"}.get(by) or METHOD_NAMES[by]
    rim = listed({"anterior rim": answer.get("anterior_rim")})
    text = f"{name}: {listed(answer['thirds'])}; {rim or 'anterior rim unknown'}; {listed(answer['sides'])}; "
    text += f"whole {round(100 * answer['whole'])} %."
    grey = _floats(answer["loss"])[np.asarray(answer["uncertain"], dtype=bool)]
    share = len(grey) / max(int(np.isfinite(_floats(answer["loss"])).sum()), 1)
    marks = f"Lines mark a loss of 20, 25 and 40 %; grey ({100 * share:.0f} % of the columns) cannot be told."
    if by == NETWORK:
        return (
            f"{text} By the published rules: {listed(answer['as_coded'])}. What is expected was drawn by a network and "
            f"not measured. {marks}"
        )
    if by == WARP:
        hidden = "; ".join(answer["reasons"])
        return (
            f"{text} Expected: its own endplates where they were before any fracture, by the patient's reference. "
            f"{marks}" + (f" There is {NOT_CONVINCING}: {hidden}." if hidden else "")
        )
    levels = " and ".join(str(level) for level in answer["reference_levels"])
    return f"{text} Expected: the shape of {levels}, brought to this level's size. {marks}"


def _heights_mm(answer: Mapping[str, Any]) -> list[str]:
    """Mean heights of the thirds from front to back as measured and as expected; of the columns that can be told."""
    if answer.get("own_mm") is None or answer.get("expected_mm") is None:
        return []
    own, expected = _floats(answer["own_mm"]), _floats(answer["expected_mm"])
    known = np.isfinite(own) & np.isfinite(expected) & ~np.asarray(answer["uncertain"], dtype=bool)
    out = []
    for name, values in (("measured", own), ("expected", expected)):
        thirds = np.array_split(np.where(known, values, np.nan), 3)
        means = [f"{np.nanmean(third):.1f}" if np.isfinite(third).any() else "?" for third in thirds]
        out.append(f"{name} {' / '.join(means)} mm, means of thirds, front to back")
    return out


def _draw_map(
    canvas: Canvas, loss: NDArray[np.float64], uncertain: NDArray[np.bool_], corner: tuple[int, int], size: Any
) -> None:
    (left, top), (height, width) = corner, size
    wide = _enlarged(loss, size)
    grey = _enlarged(uncertain.astype(float), size) >= 0.5
    part = canvas.rgb[top : top + height, left : left + width]
    part[:] = colors_of_loss(wide, grey)
    body = np.isfinite(wide)
    for bound in GRADE_BOUNDS:
        above = np.nan_to_num(wide, nan=-1.0) >= bound
        part[outline(above) & body & ~grey] = _LINE
    part[body & ~binary_erosion(body)] = _GRAY
    canvas.text(left + width / 2, top - 8, "front", 12, BLACK, "middle")
    canvas.text(left + width / 2, top + height + 15, "back", 12, BLACK, "middle")
    canvas.text(left - 6, top + height / 2, "R", 12, BLACK, "end")
    canvas.text(left + width + 6, top + height / 2, "L", 12, BLACK)


def _draw_legend(canvas: Canvas, corner: tuple[int, int], height: int, grey: bool) -> None:
    left, top = corner
    share = np.linspace(TOP_LOSS, 0.0, height)[:, None]
    canvas.rectangle((left - 1, top - 1), (left + 14, top + height), _GRAY)
    canvas.rgb[top : top + height, left : left + 14] = colors_of_loss(np.repeat(share, 14, 1))
    for bound in (0.0, *GRADE_BOUNDS, TOP_LOSS):
        y = top + (1.0 - bound / TOP_LOSS) * (height - 1)
        if bound in GRADE_BOUNDS:
            canvas.line((left, y), (left + 13, y), _LINE, 1.5)
        sign = "≥ " if bound == TOP_LOSS else "≤ " if bound == 0.0 else ""
        canvas.text(left + 18, y + 4, f"{sign}{100 * bound:.0f} %", 11, BLACK)
    if grey:
        uncertain_key(canvas, (left - 30, top + height + 6))


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
    known = np.isfinite(loss).sum(1) >= _LEAST_COLUMNS
    columns = np.flatnonzero(known)
    canvas.polyline([place(float(c), float(np.nanmean(loss[c]))) for c in columns], (213, 94, 0), 2.5)
    canvas.text(left, top + 10, "loss (%), mean across, from front to back", 12, BLACK)
    for n, name in enumerate(("anterior", "middle", "posterior")):
        canvas.text(place((2 * n + 1) * (len(loss) - 1) / 6, 0.0)[0], bottom + 15, name, 11, BLACK, "middle")


def _draw_slices(canvas: Canvas, answer: Mapping[str, Any], top: int) -> None:
    """The middle sagittal slice as it is and as expected, each with its body's outline."""
    bodies = [np.asarray(answer[name]) for name in ("body", "pseudo_healthy_body")]
    across = np.flatnonzero(np.any(bodies[0], axis=(0, 1)))
    middle = int((across[0] + across[-1]) // 2) if len(across) else bodies[0].shape[2] // 2
    second = {WARP: "grade 0, its own CT warped", NETWORK: "drawn by HealthiVert-GAN"}[by_of(answer)]
    for n, (name, body, caption) in enumerate(
        zip(("original", "pseudo_healthy"), bodies, ("the CT", second), strict=True)
    ):
        image = np.asarray(answer[name], dtype=np.float32)[:, :, middle]
        half = min(_CROP_MM // 2, min(image.shape) // 2)
        part = tuple(slice(size // 2 - half, size // 2 + half) for size in image.shape)
        left = n * (_SLICE + 4)
        canvas.text(left + _SLICE / 2, top + 14, caption, 12, BLACK, "middle")
        if n and answer.get("reasons"):
            canvas.rgb[top + 20 : top + 20 + _SLICE, left : left + _SLICE] = 235
            canvas.text(left + _SLICE / 2, top + 20 + _SLICE / 2, NOT_CONVINCING, 13, BLACK, "middle", bold=True)
            continue
        wide = _enlarged(image[part].astype(float), (_SLICE, _SLICE))
        canvas.rgb[top + 20 : top + 20 + _SLICE, left : left + _SLICE] = to_gray(wide)[..., None]
        mask = _enlarged(body[:, :, middle][part].astype(float), (_SLICE, _SLICE)) >= 0.5
        canvas.rgb[top + 20 : top + 20 + _SLICE, left : left + _SLICE][outline(mask)] = _BODY


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
