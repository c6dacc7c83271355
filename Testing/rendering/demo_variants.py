"""The demo's CT with what keeps a vertebra from a plain grade: cement, a Schmorl node, the end of the scan."""

from __future__ import annotations

import numpy as np

from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.points import Point

CEMENT_HU, DISC_HU = 2000, 85
UNDECIDED, TREATED, CUT = "L3", "T12", "L4"
"""Levels of :func:`special_case`."""


def special_case() -> tuple[Volume, list[Point]]:
    """The demo with a Schmorl node in the upper endplate of L3, cement in T12, and L4 cut by the end of the scan."""
    ct, points = demo_case()
    places = {point.level: np.array(point.position) for point in points}
    up = places["L2"] - places[UNDECIDED]
    ct = with_ball(ct, places[UNDECIDED] + 12.0 * up / np.linalg.norm(up), 8.0, DISC_HU)
    ct = with_ball(ct, places[TREATED], 8.0, CEMENT_HU)
    return cut_short(ct, points[-1]), points


def with_ball(volume: Volume, center: np.ndarray, radius_mm: float, hu: float) -> Volume:
    """A copy with a ball of one value; center in RAS mm."""
    index = np.moveaxis(np.indices(volume.array.shape), 0, -1)
    away = np.linalg.norm(volume.to_ras(index.reshape(-1, 3)) - np.asarray(center), axis=1)
    array = volume.array.copy()
    array[away.reshape(array.shape) < radius_mm] = hu
    return Volume(array, volume.affine)


def cut_short(volume: Volume, point: Point) -> Volume:
    """The part of the demo's CT above a place just below a body's centre."""
    last = round(float(volume.to_index(np.array(point.position))[2])) - 4
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_ras(np.array([0, 0, last]))
    return Volume(volume.array[:, :, last:], affine)
