"""Which columns of a map of lost height can be told: those that their neighbours bear out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

RIM_MM = 3.0
"""So near the edge of what is compared a column lies at the body's rim."""
NEAR_MM = 4.0
"""So far away lie a column's neighbours."""
SUPPORT_MM = 7.0
"""So far away lie the columns that bear out one at the rim."""
STEEPEST_MM = 3.0
"""A height may differ by so much from the median of its neighbours: an endplate that rises at 45 degrees over half of
:data:`NEAR_MM`, and half a millimetre of noise on either edge."""
RIM_STEEPEST_MM = 2.5
"""A height at the rim may differ by so much from the plane through those that bear it out."""
HALF_BLOCK_MM = 30.0
"""Half of a body block; an edge that lies there was cut."""
_LEAST = 6


def uncertain_columns(own_mm: Floats, healthy_mm: Floats) -> Bools:
    """Columns whose loss is not to be believed; a map shows them grey.

    A column is uncertain where

    - the body has a height and nothing is expected, or its height is that of the whole block: one of the two edges is
      cut;
    - it lies within :data:`RIM_MM` of the edge of what is compared, and the height that it lacks differs by more than
      :data:`RIM_STEEPEST_MM` from the plane through the columns of the inside within :data:`SUPPORT_MM` (or there are
      too few of them): a wall was taken for an endplate, or the other way round;
    - it lies inside, and the height that it lacks differs by more than :data:`STEEPEST_MM` from the median of its
      neighbours within :data:`NEAR_MM`: more than an endplate at 45 degrees allows, so that a hole in a mask or a spike
      is no finding, and a pit that is a few millimetres wide is one.

    A slope that reaches the wall (a wedge) stays, because the plane follows it. A corner that has broken off steeply
    may turn grey; its loss stands in the number of the anterior rim.

    Args:
        own_mm: (columns, depth) heights in steps of 1 mm, NaN outside of the body.
        healthy_mm: the same as expected.
    """
    body = np.isfinite(own_mm)
    cut = body & (~np.isfinite(healthy_mm) | (np.nan_to_num(own_mm) >= 2.0 * HALF_BLOCK_MM - 1.0))
    known = body & ~cut
    lacking = np.where(known, healthy_mm - own_mm, np.nan)
    rim = known & (distance_transform_edt(np.pad(known, 1))[1:-1, 1:-1] <= RIM_MM)
    inside = known & ~rim
    out = cut.copy()
    for column, depth in np.argwhere(known):
        if rim[column, depth]:
            expected, reach = _plane(lacking, inside, int(column), int(depth)), RIM_STEEPEST_MM
        else:
            expected, reach = _median(lacking, known, int(column), int(depth)), STEEPEST_MM
        out[column, depth] = not abs(lacking[column, depth] - expected) <= reach  # NaN: nothing bears it out
    return out


def _around(used: Bools, column: int, depth: int, reach_mm: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Columns and depths of those used within a distance, the place itself left out."""
    reach = int(reach_mm)
    low_c, low_d = max(column - reach, 0), max(depth - reach, 0)
    box = used[low_c : column + reach + 1, low_d : depth + reach + 1]
    c, d = np.nonzero(box)
    c, d = c + low_c, d + low_d
    apart = np.hypot(c - column, d - depth)
    near = (apart <= reach_mm) & (apart > 0)
    return c[near], d[near]


def _median(values: Floats, used: Bools, column: int, depth: int) -> float:
    at = _around(used, column, depth, NEAR_MM)
    return float(np.median(values[at])) if len(at[0]) >= _LEAST else float("nan")


def _plane(values: Floats, used: Bools, column: int, depth: int) -> float:
    """What a plane through the columns that bear a place out makes of it."""
    c, d = _around(used, column, depth, SUPPORT_MM)
    if len(c) < _LEAST:
        return float("nan")
    design = np.stack([np.ones(len(c)), c - column, d - depth], -1)
    return float(np.linalg.lstsq(design, values[c, d], rcond=None)[0][0])
