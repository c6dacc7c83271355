"""Exact heights of a synthetic body: its surfaces as formulas, measured by the definition of :mod:`morphometry`.

The edges of a body block's columns are solved for on the implicit body, in the body's own frame, and handed to
``morphometry.slab_heights``. No image is involved, no noise and no voxel of the CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.morphometry.genant import grade_of_loss
from VertebralGradingLib.morphometry.heights import SLAB_MM, slab_heights
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets, settle
from VertebralGradingLib.phantom.body import body_depth, endplates
from VertebralGradingLib.phantom.columns import COLUMNS
from VertebralGradingLib.phantom.parameters import SpineParameters, healed

Along = Callable[..., NDArray[np.float64]]
_EXACT_MM = 1e-3
_RIM_LEVELS = 21
_RIM_REACH_MM = 4.0


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


def body_heights(spine: SpineParameters, level: str) -> NDArray[np.float64]:
    """(3,) anterior, middle and posterior height (mm) of a body as it is.

    Raises:
        MaskError: nothing is left of it.
    """
    p = _numbers(spine.row(level)[0])
    sheets = _settled(p)
    return slab_heights(_slab_body(p, sheets), sheets, 0.0)


def body_sheets(spine: SpineParameters, level: str) -> Sheets:
    """Edges of a body as it is, in the frame it is measured in, in own coordinates (right, anterior, up; mm).

    Raises:
        MaskError: nothing is left of it.
    """
    return _settled(_numbers(spine.row(level)[0]))


def _settled(p: Any) -> Sheets:
    origin = _origin(p)

    def turned(axes: NDArray[np.float64]) -> tuple[None, Sheets]:
        return None, stated_edges(p, origin, axes)

    return settle(*turned(np.eye(3)), turned)[1]


def _numbers(row: NDArray[np.float64]) -> SimpleNamespace:
    """The columns of one vertebra as single numbers; quicker to read out than a :class:`columns.View`."""
    return SimpleNamespace(**dict(zip(COLUMNS, torch.from_numpy(row.copy()).unbind(), strict=True)))


def _origin(p: Any) -> NDArray[np.float64]:
    zero = torch.zeros(1, dtype=torch.float64)
    top, bottom, _ = endplates(zero, zero, p)
    return np.array([0.0, 0.0, float(top + bottom) / 2])


def _depth_along(p: Any, base: NDArray[np.float64], direction: NDArray[np.float64]) -> Along:
    """Depth inside the body at distances (n,) from points (n, 3) along one direction; for some of them, when asked."""
    u, v, w = torch.from_numpy(np.ascontiguousarray(base.T))
    du, dv, dw = direction.tolist()

    def depth(distance: NDArray[np.float64], which: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        chosen = slice(None) if which is None else torch.from_numpy(which)
        t = torch.from_numpy(distance)
        found = body_depth(u[chosen] + t * du, v[chosen] + t * dv, w[chosen] + t * dw, p)["depth"]
        return np.asarray(found.numpy(), dtype=np.float64)

    return depth


def _edge(
    depth: Along,
    inner: NDArray[np.float64],
    outer: NDArray[np.float64],
    first: NDArray[np.float64],
    at_inner: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Where the depth is 0 between ``inner`` (in the body, ``at_inner`` deep) and ``outer`` (out of it).

    Starts at ``first`` and goes twice by the depth found there as if it were a distance, then by secants of the bracket
    (Illinois rule), every fourth time by its middle. Only what is not yet exact is evaluated.
    """
    ends = np.stack([outer, inner])
    values = np.stack([np.full_like(inner, np.nan), at_inner])
    sign, edge, which = np.sign(outer - inner), first.copy(), np.arange(len(first))
    last = np.full(len(first), -1)
    for turn in range(60):
        x = edge[which]
        found = depth(x, which)
        side = (found > 0).astype(int)
        ends[side, which], values[side, which] = x, found
        again = side == last[which]
        values[1 - side[again], which[again]] /= 2.0
        last[which] = side
        (b, a), (fb, fa) = ends[:, which], values[:, which]
        middle = (a + b) / 2
        if turn < 2:
            guess = x + sign[which] * found
        elif turn % 4 == 1:
            guess = middle
        else:
            guess = a + (b - a) * fa / (fa - fb)
        between = (guess - a) * (guess - b) < 0
        edge[which] = np.where(between, guess, middle)
        exact = (np.abs(found) < _EXACT_MM / 100) | (np.abs(b - a) < _EXACT_MM)
        edge[which[exact]] = x[exact]
        which = which[~exact]
        if not len(which):
            break
    return edge


def stated_edges(p: Any, origin: NDArray[np.float64], axes: NDArray[np.float64]) -> Sheets:
    """Edges of the columns of a body block that stands at ``origin`` with ``axes``, in own coordinates."""
    ahead, left = np.meshgrid(AHEAD_MM, LEFT_MM, indexing="ij")
    near = (np.abs(ahead) < 1.3 * float(p.half_depth) + 4) & (np.abs(left) < 1.3 * float(p.half_width) + 4)
    base = origin + np.column_stack([-left[near], ahead[near]]) @ axes[:, :2].T
    u, v, w = torch.from_numpy(np.ascontiguousarray(base.T))
    plates = [(plate - w).numpy() for plate in endplates(u, v, p)[:2]]
    middle = (plates[0] + plates[1]) / 2
    depth = _depth_along(p, base, axes[:, 2])
    deepest = depth(middle)
    solid = deepest > 0
    inner, first = np.stack([middle, middle]), np.stack(plates)
    outer = middle + (0.8 * float(p.height) + 6.0) * np.array([[1.0], [-1.0]])
    rim = np.flatnonzero(~solid)  # beside the waist: the longest run of the column, as sheets.edge_sheets
    for share in (0.05, 0.95):
        level = plates[1] + share * (plates[0] - plates[1])
        deepest[rim] = np.maximum(deepest[rim], depth(level[rim], rim))
    rim = rim[deepest[rim] > -_RIM_REACH_MM]
    levels = np.linspace(plates[1][rim] - 2.0, plates[0][rim] + 2.0, _RIM_LEVELS)
    inside = depth(levels.ravel(), np.tile(rim, _RIM_LEVELS)).reshape(levels.shape) > 0
    begin, end = _longest_run(inside[1:-1])
    some = np.flatnonzero(end)
    rim = rim[some]
    inner[:, rim] = levels[end[some] + 1, some], levels[begin[some] + 1, some]
    outer[:, rim] = levels[end[some] + 2, some], levels[begin[some], some]
    first[:, rim] = (inner + outer)[:, rim] / 2
    solid[rim] = True
    if not solid.any():
        raise MaskError("Nothing is left of a body.", "Give it less of a fracture.")
    deep = np.stack([deepest, deepest])
    deep[:, rim] = np.nan  # not asked there
    ends = [values[:, solid].ravel() for values in (inner, outer, first, deep)]
    found = _edge(_depth_along(p, np.tile(base[solid], (2, 1)), axes[:, 2]), *ends)
    edges = []
    for side in np.split(found, 2):
        sheet = np.full(SHAPE[1:], np.nan)
        flat = np.full(len(base), np.nan)
        flat[solid] = side
        sheet[near] = flat
        edges.append(sheet)
    thin = ~(edges[0] - edges[1] >= 2.0)
    edges[0][thin] = edges[1][thin] = np.nan
    return Sheets(edges[0], edges[1], body_grid(origin, axes), axes)


def _longest_run(inside: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row of the longest run of each column; the last is 0 where it has none (no run ends there)."""
    run = np.zeros(inside.shape[1], dtype=np.intp)
    longest, end = run.copy(), run.copy()
    for row, here in enumerate(inside):
        run = np.where(here, run + 1, 0)
        end, longest = np.where(run > longest, row, end), np.maximum(run, longest)
    return end - longest + 1, end


def _slab_body(p: Any, sheets: Sheets) -> BodyMask:
    """The body block of a mid-sagittal slab whose walls lie, between its columns, exactly where the body's are."""
    slab = np.abs(LEFT_MM) <= SLAB_MM + STEP_MM[2]
    edges = [np.nanmedian(sheet[np.abs(AHEAD_MM) <= 0.5 * float(p.half_depth)][:, slab]) for sheet in
             (sheets.top, sheets.bottom)]  # fmt: skip
    height = ((SHAPE[0] - 1) / 2 - np.arange(SHAPE[0])) * STEP_MM[0]
    middle, half = (edges[0] + edges[1]) / 2, 0.4 * (edges[0] - edges[1])
    rows = np.abs(height - middle) <= half + STEP_MM[0]
    w, left = np.meshgrid(height[rows], LEFT_MM[slab], indexing="ij")
    right, anterior, up = sheets.axes.T
    base = sheets.to_ras(0.0, 0.0, 0.0) - left.reshape(-1, 1) * right + w.reshape(-1, 1) * up
    start = np.zeros(len(base))
    deepest = _depth_along(p, base, anterior)(start)
    solid = np.flatnonzero(deepest > 0)
    reach = np.full(len(solid), 1.4 * float(p.half_depth) + 4.0)
    outer = np.concatenate([reach, -reach])
    first = np.repeat([float(p.half_depth), -float(p.half_depth)], len(solid))
    found = _edge(
        _depth_along(p, np.tile(base[solid], (2, 1)), anterior),
        np.zeros(len(outer)),
        outer,
        first,
        np.tile(deepest[solid], 2),
    )
    front, back = np.full(len(base), -np.inf), np.full(len(base), np.inf)
    front[solid], back[solid] = np.split(found, 2)
    ahead = AHEAD_MM[None, :, None]
    front, back = front.reshape(w.shape)[:, None], back.reshape(w.shape)[:, None]
    ramp = 0.5 + np.minimum(front - ahead, ahead - back) / (2.0 * STEP_MM[1])
    occupancy = np.zeros(SHAPE, dtype=np.float32)
    occupancy[np.ix_(rows, np.ones(SHAPE[1], bool), slab)] = ramp.clip(0, 1)
    return BodyMask(occupancy, sheets.grid, sheets.axes, "given")
