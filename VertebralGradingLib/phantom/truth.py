"""Exact heights of a synthetic body: its surfaces as formulas, measured by the definition of :mod:`morphometry`.

The edges of a body block's columns are solved for on the implicit body, in the body's own frame, and handed to
``morphometry.slab_heights``. No image is involved, no noise and no voxel of the CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.curve import axes_from
from VertebralGradingLib.genant import grade_of_loss
from VertebralGradingLib.morphometry import SLAB_MM, slab_heights
from VertebralGradingLib.phantom.body import body_depth, endplates
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.parameters import SpineParameters, healed
from VertebralGradingLib.segmentation.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.sheets import AHEAD_MM, LEFT_MM, Sheets, core_region, plane_fit

_HALVINGS = 11
_MAX_TILT = 0.6


@dataclass(frozen=True)
class Truth:
    """Heights of one vertebra before and after its fracture.

    Attributes:
        before_mm: (3,) anterior, middle, posterior height of the unfractured body.
        after_mm: (3,) as it is now.
        loss: (3,) fraction of each height that is lost.
        graded: the loss that is graded: the largest of anterior, middle and mean loss.
        grade: Genant grade of ``graded``.
    """

    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    loss: tuple[float, ...]
    graded: float
    grade: int


def truth(spine: SpineParameters, level: str) -> Truth:
    """Heights and losses of one level of a spine against its own unfractured self."""
    after = body_heights(spine, level)
    before = body_heights(healed(spine, (level,)), level) if level in spine.fractured() else after
    return compare(before, after)


def compare(before: NDArray[np.float64], after: NDArray[np.float64]) -> Truth:
    """Losses and grade of heights (3,) after against before."""
    loss = 1.0 - after / before
    graded = float(max(loss[0], loss[1], loss.mean()))
    grade = grade_of_loss(max(graded, 0.0))
    return Truth(tuple(before.tolist()), tuple(after.tolist()), tuple(loss.tolist()), graded, grade)


def body_heights(spine: SpineParameters, level: str, phases: int = 4) -> NDArray[np.float64]:
    """(3,) anterior, middle and posterior height (mm) of a body as it is.

    Args:
        spine: the spine.
        level: which body.
        phases: shifts of the block's 1 mm columns over which the heights are averaged; they scatter by 0.05-0.25 mm.

    Raises:
        MaskError: nothing is left of it.
    """
    p = View(torch.from_numpy(spine.row(level)))
    origin, axes = _origin(p), np.eye(3)
    for _ in range(2):  # as sheets.own_frame
        sheets = _sheets(p, origin, axes)
        used = core_region(sheets) & sheets.valid
        slopes = np.mean([plane_fit(sheet, used)[0][1:] for sheet in (sheets.top, sheets.bottom)], axis=0)
        ahead, left = np.clip(slopes, -_MAX_TILT, _MAX_TILT)
        right, anterior, up = axes.T
        axes = axes_from(up - ahead * anterior + left * right, anterior)
    slab = np.abs(LEFT_MM) <= SLAB_MM + 1.0
    heights = []
    for phase in range(phases):
        start = origin + axes[:, 1] * phase / phases * STEP_MM[1]
        sheets = _sheets(p, start, axes, slab)
        heights.append(slab_heights(_slab_body(p, sheets, slab), sheets, 0.0))
    return np.asarray(np.mean(heights, axis=0), dtype=np.float64)


def _origin(p: View) -> NDArray[np.float64]:
    zero = torch.zeros(1, dtype=torch.float64)
    top, bottom, _ = endplates(zero, zero, p)
    return np.array([0.0, 0.0, float(top + bottom) / 2])


def _sheets(
    p: View, origin: NDArray[np.float64], axes: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None
) -> Sheets:
    """Edges of the columns of a body block that stands at ``origin`` with ``axes``, in own coordinates."""
    chosen = np.ones(SHAPE[2], dtype=bool) if chosen is None else chosen
    ahead, left = np.meshgrid(AHEAD_MM, LEFT_MM, indexing="ij")
    reach_v, reach_u = 1.3 * float(p.half_depth), 1.3 * float(p.half_width)
    near = (np.abs(ahead) < reach_v + 4) & (np.abs(left) < reach_u + 4) & chosen
    base = torch.from_numpy(origin + np.column_stack([-left[near], ahead[near]]) @ axes[:, :2].T)
    up = torch.from_numpy(axes[:, 2].copy())

    def depth(height: torch.Tensor) -> torch.Tensor:
        u, v, w = (base + height[:, None] * up).unbind(-1)
        return body_depth(u, v, w, p)["depth"]

    top, bottom, _ = endplates(base[:, 0], base[:, 1], p)
    middle = (top + bottom) / 2 - base[:, 2]
    solid = depth(middle) > 0
    reach = 0.8 * float(p.height) + 6.0
    edges = []
    for sign in (1.0, -1.0):
        inner, outer = middle, middle + sign * reach
        for _ in range(_HALVINGS):
            half = (inner + outer) / 2
            inside = depth(half) > 0
            inner, outer = torch.where(inside, half, inner), torch.where(inside, outer, half)
        sheet = np.full(SHAPE[1:], np.nan)
        sheet[near] = torch.where(solid, (inner + outer) / 2, torch.nan).numpy()
        edges.append(sheet)
    thin = ~(edges[0] - edges[1] >= 2.0)
    edges[0][thin] = edges[1][thin] = np.nan
    return Sheets(edges[0], edges[1], body_grid(origin, axes), axes)


def _slab_body(p: View, sheets: Sheets, slab: NDArray[np.bool_]) -> BodyMask:
    """The body block of a mid-sagittal slab whose walls lie, between its columns, exactly where the body's are."""
    height = ((SHAPE[0] - 1) / 2 - np.arange(SHAPE[0])) * STEP_MM[0]
    rows = np.abs(height) < 0.5 * float(p.height)
    w, left = np.meshgrid(height[rows], LEFT_MM[slab], indexing="ij")
    right, anterior, up = (torch.from_numpy(axis.copy()) for axis in sheets.axes.T)
    base = torch.from_numpy(sheets.to_ras(0.0, 0.0, 0.0))
    base = base - torch.from_numpy(left)[..., None] * right + torch.from_numpy(w)[..., None] * up

    def depth(ahead: torch.Tensor) -> torch.Tensor:
        u, v, at = (base + ahead[..., None] * anterior).unbind(-1)
        return body_depth(u, v, at, p)["depth"]

    middle = torch.zeros_like(base[..., 0])
    solid = depth(middle) > 0
    walls = []
    for sign in (1.0, -1.0):
        inner, outer = middle, middle + sign * (1.4 * float(p.half_depth) + 4.0)
        for _ in range(_HALVINGS):
            half = (inner + outer) / 2
            inside = depth(half) > 0
            inner, outer = torch.where(inside, half, inner), torch.where(inside, outer, half)
        walls.append(((inner + outer) / 2).numpy())
    front, back = walls
    ahead = AHEAD_MM[None, :, None]
    ramp = 0.5 + np.minimum(front[:, None] - ahead, ahead - back[:, None]) / (2.0 * STEP_MM[1])
    occupancy = np.zeros(SHAPE, dtype=np.float32)
    occupancy[np.ix_(rows, np.ones(SHAPE[1], bool), slab)] = np.where(solid.numpy()[:, None], ramp.clip(0, 1), 0.0)
    return BodyMask(occupancy, sheets.grid, sheets.axes, "given")
