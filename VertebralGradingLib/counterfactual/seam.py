"""Where the arch of the vertebra above begins, behind the body: between two labels, or where least bone lies.

The arches interlock, and the upper one moves while the lower one stays. So the field changes from one to the other
along a surface, one height for each place behind the body, that should pass between the bones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from VertebralGradingLib.counterfactual.plates import AHEAD, LEFT, Plates
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume

Floats = NDArray[np.float64]

BONE_HU = 150.0
"""A seam should not pass through what is denser."""
_DENSE_HU = 450.0
_STEP_MM = 1.5
_BELOW_MM, _ABOVE_MM = 34.0, 12.0
_OFF_MM = 0.012
"""Price of a mm away from the disc's level, as a share of that of a mm through dense bone."""
_SLOPE = 2
_SMOOTH_MM = 2.0
_SIDES_MM = 30.0


@dataclass(frozen=True, eq=False)
class Seam:
    """The surface along which the arches part.

    Attributes:
        up_mm: (ahead, left) its height in the body's own frame.
        through_bone: share of it, within the arches' reach, that passes through bone; 0 where no CT is known.
    """

    up_mm: Floats
    through_bone: float = 0.0


def seam_of(
    p: Plates, center: Floats, axes: Floats, ct: Volume | None = None, arches: tuple[Volume, Volume] | None = None
) -> Seam:
    """Find the seam.

    Args:
        p: the plates.
        center: (3,) RAS mm of the body block.
        axes: (3, 3) of the body's own frame.
        ct: HU, None for a seam at the level of the disc.
        arches: the whole vertebra and the one above it as 0 / 1, where labels show them.
    """
    level = (p.top + p.above) / 2.0
    if ct is None and arches is None:
        return Seam(level)
    rows = np.arange(0, len(AHEAD), round(_STEP_MM))  # from back to front
    sides = np.arange(0, len(LEFT), 3)
    start = int(np.searchsorted(AHEAD[rows], float(np.median(p.back))))
    rows = rows[: start + 1][::-1]  # from the back wall backwards
    offsets = np.arange(-_BELOW_MM, _ABOVE_MM + 0.5, 1.0)
    base = level[rows[0]][sides]  # (sides,) the disc's height at the back wall
    up = base[:, None, None] + offsets
    right, anterior, axis = axes.T
    points = (
        center
        + AHEAD[rows][None, :, None, None] * anterior
        - LEFT[sides][:, None, None, None] * right
        + up[..., None] * axis
    )
    bone = None
    if ct is not None:
        bone = np.clip((sample(ct, points) - BONE_HU) / (_DENSE_HU - BONE_HU), 0.0, 1.0)
    if arches is not None:
        own, upper = (sample(one, points, fill=0.0) for one in arches)
        cost = (np.cumsum(own[..., ::-1], -1)[..., ::-1] + np.cumsum(upper, -1)).astype(float)
    else:
        assert bone is not None  # there is a CT where there are no labels
        cost = bone.astype(float)
    path = _cheapest(cost + _OFF_MM * np.abs(offsets), int(np.argmin(np.abs(offsets))))
    through = 0.0
    if bone is not None:
        passed = np.take_along_axis(bone, path[..., None], -1)[..., 0]
        near = np.abs(LEFT[sides] - np.median(LEFT)) <= _SIDES_MM
        through = float((passed[near] > 0.5).mean())
    found = np.array(level)
    height = np.take_along_axis(np.broadcast_to(up, cost.shape), path[..., None], -1)[..., 0]  # (sides, rows)
    across = np.stack([np.interp(LEFT, LEFT[sides], line) for line in height.T])  # (rows, left), backwards
    for k, line in enumerate(across.T):
        found[:, k] = np.interp(AHEAD, AHEAD[rows[::-1]], line[::-1])
    smooth = gaussian_filter(found, _SMOOTH_MM)
    return Seam(smooth, through)


def _cheapest(cost: Floats, first: int) -> NDArray[np.intp]:
    """(S, R, H) costs -> (S, R) the cheapest path over heights for each side, rows in order, from one height on."""
    sides, rows, heights = cost.shape
    total = np.full((sides, heights), np.inf)
    reach = slice(max(first - _SLOPE, 0), first + _SLOPE + 1)
    total[:, reach] = cost[:, 0, reach]
    came = np.zeros((sides, rows, heights), dtype=np.intp)
    for row in range(1, rows):
        options = np.stack([_shifted(total, move) + 0.02 * abs(move) for move in range(-_SLOPE, _SLOPE + 1)])
        best = options.argmin(0)
        came[:, row] = best - _SLOPE
        total = np.take_along_axis(options, best[None], 0)[0] + cost[:, row]
    path = np.zeros((sides, rows), dtype=np.intp)
    path[:, -1] = total.argmin(-1)
    for row in range(rows - 1, 0, -1):
        move = np.take_along_axis(came[:, row], path[:, row : row + 1], -1)[:, 0]
        path[:, row - 1] = path[:, row] + move
    return path


def _shifted(values: Floats, by: int) -> Floats:
    """Values (S, H) read ``by`` heights further up; infinite beyond."""
    out = np.full_like(values, np.inf)
    if by == 0:
        return values
    if by > 0:
        out[:, :-by] = values[:, by:]
    else:
        out[:, -by:] = values[:, :by]
    return out
