"""Endplates as sheets over the whole table of a field: of the vertebra itself and of its neighbours.

All lengths are mm in the vertebra's own frame: ahead, left and up of the centre of its body block. Arrays are
(ahead, left) over :data:`AHEAD` and :data:`LEFT`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.morphometry.heights import INSET, Measurement
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets, core_region, plane_fit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

AHEAD = np.arange(-75.5, 55.0)
"""(A,) places from back to front of a field's table; the columns of a body block are among them."""
LEFT = np.arange(-45.5, 46.0)
"""(L,) places from right to left; the sheets of a body block are among them."""
CORE_MARGIN_MM = 3.0
"""What of an endplate lies so near the wall is rounded off: it moves with what lies inside of it."""
DISC_SHARE = 0.2
"""Of a step from centroid to centroid: where a neighbour is not known, its endplate is thought so far away."""
LEAST_DISC_MM = 1.5
_NEAREST_MM = 3.0
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Plates:
    """The endplates that a field moves; sheets are defined everywhere, outside of the bodies as in their nearest part.

    Attributes:
        top, bottom: of the vertebra itself.
        above, below: lower endplate of the vertebra above, upper one of that below.
        core: where the body's endplates lie, less the rim.
        inside: the body's cross-section.
        t, q: places as shares of half of the depth and of half of the width: 1 at the front wall and at the left one.
        back: (L,) the back wall.
        span_mm: distance of the anterior from the posterior point.
        pivot: (2,) ahead and up of the middle of the upper endplate.
    """

    top: Floats
    bottom: Floats
    above: Floats
    below: Floats
    core: Bools
    inside: Bools
    t: Floats
    q: Floats
    back: Floats
    span_mm: float
    pivot: Floats


def plates_of(own: Measurement, above: Measurement | None, below: Measurement | None, step_mm: float) -> Plates:
    """The plates of a measured vertebra.

    Args:
        own: of the vertebra.
        above: of the next one above, None where it is not known.
        below: of the next one below, None where it is not known.
        step_mm: from centroid to centroid, for neighbours that are not known.

    Raises:
        MaskError: hardly anything of the endplates is left.
    """
    sheets = own.sheets
    core = core_region(sheets, CORE_MARGIN_MM) & sheets.crossing
    if core.sum() < 40:
        raise MaskError("The endplates are too small to be moved.", "Check the mask or place the centroid again.")
    top, bottom = (_everywhere(sheet, core & sheets.valid) for sheet in (sheets.top, sheets.bottom))
    inside = _embedded(sheets.crossing.astype(float), 0.0) > 0.5
    rows = np.flatnonzero(inside.any(1))
    front, rear = AHEAD[rows.max()] + 0.5, AHEAD[rows.min()] - 0.5
    middle, half = own.middle_left_mm, own.width_mm / 2
    points = _in_frame(sheets, own.points_ras)
    t = (AHEAD - (front + rear) / 2) / ((front - rear) / 2)
    q = (LEFT - middle) / half
    back = np.array([AHEAD[np.flatnonzero(column)[0]] if column.any() else np.nan for column in inside.T])
    known = np.flatnonzero(np.isfinite(back))
    back = gaussian_filter(np.interp(np.arange(len(LEFT)), known, back[known]), 2.0)
    gap = max(DISC_SHARE * step_mm, LEAST_DISC_MM)
    over = top + gap if above is None else _neighbour(sheets, above.sheets, "bottom", top + gap)
    under = bottom - gap if below is None else _neighbour(sheets, below.sheets, "top", bottom - gap)
    span = float(points[0, 0] - points[4, 0])
    ahead = float(points[2, 0])
    up = float(np.interp(ahead, AHEAD, top[:, int(np.argmin(np.abs(LEFT - middle)))]))
    return Plates(
        top,
        bottom,
        np.maximum(over, top + LEAST_DISC_MM),
        np.minimum(under, bottom - LEAST_DISC_MM),
        _embedded(core.astype(float), 0.0) > 0.5,
        inside,
        np.broadcast_to(t[:, None], top.shape),
        np.broadcast_to(q[None], top.shape),
        back,
        span,
        np.array([ahead, up]),
    )


def _in_frame(sheets: Sheets, points_ras: Floats) -> Floats:
    """RAS mm (..., 3) -> ahead, left, up (..., 3) of the centre of a body block."""
    right, anterior, up = sheets.axes.T
    away = points_ras - sheets.to_ras(0.0, 0.0, 0.0)
    return np.stack([away @ anterior, -(away @ right), away @ up], -1)


def _embedded(sheet: Floats, fill: float) -> Floats:
    """A sheet of a body block (columns, depth) in the table."""
    out = np.full((len(AHEAD), len(LEFT)), fill)
    a, b = (round(float(v)) for v in (AHEAD_MM[-1] - AHEAD[0], LEFT_MM[0] - LEFT[0]))
    out[a : a + len(AHEAD_MM), b : b + len(LEFT_MM)] = sheet[::-1]
    return out


def _everywhere(sheet: Floats, used: Bools) -> Floats:
    """A sheet in the table: as it is where it is used, elsewhere as in the nearest place, smoothly."""
    known = _embedded(used.astype(float), 0.0) > 0.5
    return spread(_embedded(np.where(used, sheet, 0.0), 0.0), known)


def spread(values: Floats, known: Bools, smooth_mm: float = 0.7) -> Floats:
    """Values of a table where they are known; elsewhere those of the nearest such place, ever more smoothly.

    Args:
        values: (ahead, left).
        known: where they hold.
        smooth_mm: standard deviation by which what is known is smoothed too.
    """
    distance, nearest = distance_transform_edt(~known, return_indices=True)
    filled = values[tuple(nearest)]
    near, far = gaussian_filter(filled, smooth_mm), gaussian_filter(filled, _NEAREST_MM)
    part = np.clip(distance / _NEAREST_MM, 0.0, 1.0)
    return np.asarray(near * (1.0 - part) + far * part)


def _neighbour(own: Sheets, other: Sheets, side: str, first: Floats) -> Floats:
    """A neighbour's endplate in the own frame: where the own axis meets it, found from ``first`` on."""
    core = core_region(other, 2.0)
    if core.sum() < 40:
        return first
    sheet = np.flip(other.top if side == "top" else other.bottom, 0)
    wide = spread(np.where(np.flip(core, 0), sheet, 0.0), np.flip(core, 0))
    fit, _ = plane_fit(other.top if side == "top" else other.bottom, core)
    turn = other.axes.T @ own.axes  # own right, anterior, up -> the neighbour's
    start = other.axes.T @ (own.to_ras(0.0, 0.0, 0.0) - other.to_ras(0.0, 0.0, 0.0))
    ahead, left = np.meshgrid(AHEAD, LEFT, indexing="ij")
    height = first
    slope = float(turn[2, 2] - fit[1] * turn[1, 2] + fit[2] * turn[0, 2])
    for _ in range(_ROUNDS):
        place = np.stack([-left, ahead, height], -1) @ turn.T + start
        height = height - (place[..., 2] - _at(wide, place[..., 1], -place[..., 0])) / max(slope, 0.5)
    return height


def _at(sheet: Floats, ahead: Floats, left: Floats) -> Floats:
    """A block's sheet, its columns from back to front, at places; outside of it as at its edge."""
    i = np.clip(ahead - AHEAD_MM[-1], 0, sheet.shape[0] - 1.001)
    j = np.clip(left - LEFT_MM[0], 0, sheet.shape[1] - 1.001)
    a, b = i.astype(int), j.astype(int)
    x, y = i - a, j - b
    low = sheet[a, b] * (1 - y) + sheet[a, b + 1] * y
    high = sheet[a + 1, b] * (1 - y) + sheet[a + 1, b + 1] * y
    return np.asarray(low * (1 - x) + high * x)


ANTERIOR_T = 1.0 - 2.0 * INSET
"""Where along half of the depth the anterior height is measured."""
HINGE_T = -0.6
"""Where along half of the depth the ramp of a wedge begins. Assumed."""


def rim_part(t: Floats) -> tuple[Floats, Floats]:
    """How much an anterior and a posterior change of height move a place: behind the hinge only the latter."""
    share = np.clip((t - HINGE_T) / (ANTERIOR_T - HINGE_T), 0.0, 1.08)
    return share, 1.0 - share


def dish_part(t: Floats, q: Floats) -> Floats:
    """A dish: 1 in the middle, 0 from the rim on."""
    rest = np.maximum(1.0 - (t / ANTERIOR_T) ** 2 - (q / ANTERIOR_T) ** 2, 0.0)
    return rest * (2.0 - rest)
