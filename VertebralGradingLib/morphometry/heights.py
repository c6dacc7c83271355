"""Six-point heights of a vertebral body, below the resolution of its voxels.

Measured in the body's own frame (bisector of its fitted endplates) on a mid-sagittal slab, not on the worst slice. The
edge is the half-occupancy of the mask; for a mask found on CT that is the half maximum between endplate and disc. The
points are the finding: move one, call :func:`heights_from_points` again, and everything follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError, MaskError
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets, own_frame

POSITIONS = ("anterior", "middle", "posterior")
POINT_NAMES = tuple(f"{position}_{side}" for position in POSITIONS for side in ("superior", "inferior"))
"""Order of the six points."""

INSET = 0.08
"""Anterior and posterior points lie this share of the depth inside the walls, off osteophytes and the rim's curve."""
SLAB_MM = 4.0
"""Half width of the mid-sagittal slab."""
_WINDOW = {"anterior": (-0.02, 0.10), "middle": (-0.08, 0.08), "posterior": (-0.10, 0.02)}
MIN_HEIGHT_MM = 0.5
_MIN_COLUMNS = 8
_MIN_DEPTH_MM = 8.0
_MIN_WINDOW_MM = 1.0
_FIT_PLACES = 41
_WALL_ROWS = 25
_WALL_SLOPE = 1.5


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured on one body.

    Attributes:
        points_ras: (6, 3) RAS mm in the order of :data:`POINT_NAMES`.
        heights_mm: (3,) anterior, middle, posterior.
        sd_mm: (3,) standard deviation of each height from voxel size and mask (mm).
        thirds_mm: ``{"left": (3,), "right": (3,)}`` heights of the lateral thirds (mm), NaN where there is no bone.
        depth_mm: front-to-back depth at mid-height in the slab.
        width_mm: side-to-side width at mid-height.
        middle_left_mm: where the mid-sagittal plane is, mm to the left of the block's centre.
        sheets: the edges measured on, in the body's own frame.
        body: the body in that frame.
    """

    points_ras: NDArray[np.float64]
    heights_mm: NDArray[np.float64]
    sd_mm: NDArray[np.float64]
    thirds_mm: dict[str, NDArray[np.float64]]
    depth_mm: float
    width_mm: float
    middle_left_mm: float
    sheets: Sheets
    body: BodyMask


def heights_from_points(points_ras: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights (3,) in mm from six points.

    Args:
        points_ras: (6, 3) RAS mm in the order of :data:`POINT_NAMES`.
        up: (3,) the body's own axis; only what lies between the points along it is height, so that a point dragged
            forwards does not make the body taller.

    Raises:
        CentroidError: not six finite points, or a lower point at or above its upper one.
    """
    points = np.asarray(points_ras, dtype=np.float64)
    if points.shape != (6, 3) or not np.isfinite(points).all():
        raise CentroidError("Six points with finite positions are needed.", "Place the missing ones.")
    pairs = points.reshape(3, 2, 3)
    heights: NDArray[np.float64] = (pairs[:, 0] - pairs[:, 1]) @ (np.asarray(up) / np.linalg.norm(up))
    if heights.min() < MIN_HEIGHT_MM:
        raise CentroidError("An upper and a lower point coincide or are swapped.", "Move the points apart.")
    return heights


def measure(body: BodyMask, slice_mm: float = 1.0) -> Measurement:
    """Measure a body.

    Args:
        body: given or found.
        slice_mm: voxel spacing along the body's axis, for the heights' uncertainty.

    Raises:
        MaskError: the body is too small or too ragged to have six points.
    """
    body, sheets = own_frame(body)
    middle, width = _lateral_extent(body, sheets)
    points, front, back = _six_points(body, sheets, middle, SLAB_MM)
    heights = _heights(points, sheets)
    thirds = {}
    for name, side in (("left", 1), ("right", -1)):
        try:
            thirds[name] = _heights(_six_points(body, sheets, middle + side * 0.25 * width, 0.08 * width)[0], sheets)
        except MaskError:
            thirds[name] = np.full(3, np.nan)
    edge = np.hypot(body.edge_sd_mm, 0.10 * slice_mm)
    return Measurement(
        points, heights, np.full(3, np.sqrt(2.0) * edge), thirds, front - back, width, middle, sheets, body
    )


def slab_heights(body: BodyMask, sheets: Sheets, left: float) -> NDArray[np.float64]:
    """Heights (3,) in mm on other edges of the same body, such as those with a defect filled.

    Raises:
        MaskError: as :func:`measure`.
    """
    return _heights(_six_points(body, sheets, left, SLAB_MM)[0], sheets)


def _heights(points: NDArray[np.float64], sheets: Sheets) -> NDArray[np.float64]:
    try:
        return heights_from_points(points, sheets.axes[:, 2])
    except CentroidError as error:
        raise MaskError(
            "A body mask has no height at a point.", "Check the mask or place the centroid again."
        ) from error


def _lateral_extent(body: BodyMask, sheets: Sheets) -> tuple[float, float]:
    """Middle (mm to the left of the block's centre) and width (mm) of the cross-section at mid-height."""
    height = np.where(sheets.valid, sheets.top - sheets.bottom, 0.0)
    if not sheets.valid.any():
        raise MaskError("A body mask is empty.", "Check the mask or place the centroid again.")
    solid = height > 0.5 * np.median(height[sheets.valid])
    ahead = (solid.sum(1) * AHEAD_MM).sum() / max(solid.sum(), 1)
    band = np.abs(AHEAD_MM - ahead) <= 6.0
    middle = np.median((sheets.top + sheets.bottom)[solid]) / 2
    share = _rows_at(body.occupancy[:, band], middle + np.linspace(-2.0, 2.0, 9)).mean((0, 1))
    inside = np.flatnonzero(share >= 0.5)
    if len(inside) * STEP_MM[2] < _MIN_DEPTH_MM:
        raise MaskError("A body mask is too narrow to be measured.", "Check the mask or place the centroid again.")
    padded = np.concatenate([[0.0], share, [0.0]])
    low, high = inside[0] + 1, inside[-1] + 1
    first = low - (padded[low] - 0.5) / max(padded[low] - padded[low - 1], 1e-6)
    last = high + (padded[high] - 0.5) / max(padded[high] - padded[high + 1], 1e-6)
    edges = np.array([first, last]) - 1.0
    left, right = LEFT_MM[0] + edges * STEP_MM[2]
    return float(left + right) / 2, float(right - left)


def _rows_at(occupancy: NDArray[np.float32], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Occupancy at heights (mm above the block's centre) between its rows, linearly."""
    row = np.clip((SHAPE[0] - 1) / 2 - height / STEP_MM[0], 0, SHAPE[0] - 1.001)
    low = row.astype(int)
    part = (row - low)[:, None, None]
    return np.asarray(occupancy[low] * (1 - part) + occupancy[low + 1] * part, dtype=np.float64)


def _sides_at(values: NDArray[np.float64], left: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (..., depth) at places (mm left of the block's centre) between the sheets, linearly; NaN where unknown."""
    index = np.clip((left - LEFT_MM[0]) / STEP_MM[2], 0, SHAPE[2] - 1.001)
    low = index.astype(int)
    part = index - low
    one, other = values[..., low], values[..., low + 1]
    between = one + (other - one) * part
    return np.where(np.isfinite(between), between, np.where(part < 0.5, one, other))


def _six_points(
    body: BodyMask, sheets: Sheets, left: float, half_width: float
) -> tuple[NDArray[np.float64], float, float]:
    """Six points on the sagittal slab at ``left``; and its front and back wall (mm in front of the block's centre)."""
    slab = left + np.linspace(-half_width, half_width, max(round(2 * half_width), 2) + 1)
    edges = {
        side: _sides_at(np.where(sheets.crossing, sheet, np.nan), slab)
        for side, sheet in (("superior", sheets.top), ("inferior", sheets.bottom))
    }
    usable = np.isfinite(edges["superior"]).mean(1) >= 0.5
    if usable.sum() < _MIN_COLUMNS:
        raise MaskError("A body mask is too ragged to be measured.", "Check the mask or place the centroid again.")
    lines = {}
    for side, values in edges.items():
        lines[side] = np.full(SHAPE[1], np.nan)
        lines[side][usable] = np.nanmedian(values[usable], axis=1)
    front, back = _walls(body, lines, slab, usable)
    depth = front - back
    if depth < _MIN_DEPTH_MM:
        raise MaskError("A body mask is too shallow to be measured.", "Check the mask or place the centroid again.")
    places = {"anterior": front - INSET * depth, "middle": (front + back) / 2, "posterior": back + INSET * depth}
    points = []
    for position in POSITIONS:
        for side, inward in (("superior", -1), ("inferior", 1)):
            low, high = (places[position] + w * depth for w in _reversed(_WINDOW[position]))
            rule = 0 if position == "middle" else inward  # no wall is near the middle, but a pit may be
            height = _local_value(lines[side], places[position], low, high, rule)
            points.append(sheets.to_ras(places[position], left, height))
    return np.array(points), front, back


def _reversed(window: tuple[float, float]) -> tuple[float, float]:
    """A window given from front to back as distances towards anterior."""
    return -window[1], -window[0]


def _walls(
    body: BodyMask, lines: dict[str, NDArray[np.float64]], slab: NDArray[np.float64], usable: NDArray[np.bool_]
) -> tuple[float, float]:
    """Front and back wall at the waist (innermost fifth of the middle half), mm in front of the block's centre."""
    columns = np.flatnonzero(usable)
    inner = columns[len(columns) // 4 : -(len(columns) // 4) or None]
    top, bottom = np.nanmedian(lines["superior"][inner]), np.nanmedian(lines["inferior"][inner])
    middle, half = (top + bottom) / 2, 0.25 * (top - bottom)
    profile = _sides_at(_rows_at(body.occupancy, middle + half * np.linspace(-1, 1, _WALL_ROWS)), slab).mean(-1)
    start = int(np.median(inner))
    fronts, backs = [], []
    for line in profile:
        outside = line < 0.5
        ahead, behind = np.flatnonzero(outside[:start]), np.flatnonzero(outside[start:])
        if outside[start] or not len(ahead) or not len(behind):
            continue
        a, b = ahead[-1], start + behind[0]
        fronts.append(a + (0.5 - line[a]) / max(line[a + 1] - line[a], 1e-6))
        backs.append(b - (0.5 - line[b]) / max(line[b - 1] - line[b], 1e-6))
    if not fronts:
        raise MaskError("A body mask has no closed wall.", "Check the mask or place the centroid again.")
    index = np.arange(SHAPE[1])
    front, back = np.percentile(fronts, 80), np.percentile(backs, 20)  # columns count backwards
    return float(np.interp(front, index, AHEAD_MM)), float(np.interp(back, index, AHEAD_MM))


def _local_value(line: NDArray[np.float64], place: float, low: float, high: float, inward: int) -> float:
    """Value at ``place`` of a straight line fitted to the profile between ``low`` and ``high`` (mm anterior).

    The profile is joined linearly between its columns and fitted at evenly spaced places, so that the value does not
    jump as the window moves over the columns. Where columns miss, the window is cut to those that are known. Where the
    profile turns steeply into the body (``inward`` -1 down, 1 up) towards its end, it runs up a wall, not an endplate;
    with ``inward`` 0 all of it counts.
    """
    known = np.isfinite(line)
    if not known.any():
        raise MaskError("A body mask has no edge at a point.", "Check the mask or place the centroid again.")
    ahead, value = AHEAD_MM[known][::-1], line[known][::-1]
    low, high = max(low, ahead[0]), min(high, ahead[-1])
    if high - low < _MIN_WINDOW_MM:
        return float(np.interp(place, ahead, value))
    places = np.linspace(low, high, _FIT_PLACES)
    values = np.interp(places, ahead, value)
    outward = np.sign(place - (ahead[0] + ahead[-1]) / 2)
    beyond, short = (np.interp(places + step * STEP_MM[1] / 2, ahead, value) for step in (outward, -outward))
    steep = np.maximum(inward * (beyond - short) / STEP_MM[1], 0.0)
    weight = 1.0 / (1.0 + (steep / _WALL_SLOPE) ** 4)
    weight = np.minimum.accumulate(weight) if outward > 0 else np.minimum.accumulate(weight[::-1])[::-1]
    center, level = np.average(places, weights=weight), np.average(values, weights=weight)
    away = places - center
    slope = (weight * away) @ (values - level) / (weight @ away**2)
    fitted = level + slope * (place - center)
    return float(np.clip(fitted, values.min() - 0.5, values.max() + 0.5))
