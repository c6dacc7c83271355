"""Endplate sheets of a body mask: upper and lower edge over its cross-section, in the body's own frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.spine.curve import axes_from
from VertebralGradingLib.spine.reformation import Grid, sample_where

Turned = TypeVar("Turned")
_CENTER = (np.array(SHAPE) - 1) / 2
AHEAD_MM = (_CENTER[1] - np.arange(SHAPE[1])) * STEP_MM[1]
"""(columns,) distance of each column in front of the block's centre (mm)."""
LEFT_MM = (np.arange(SHAPE[2]) - _CENTER[2]) * STEP_MM[2]
"""(depth,) distance of each sheet to the left of the block's centre (mm)."""
_MIN_HEIGHT_MM = 2.0
_MAX_TILT = 0.6
SETTLED = 0.002
"""Lean of the endplates' bisector (mm per mm) below which a frame is the body's own."""


@dataclass(frozen=True, eq=False)
class Sheets:
    """Upper and lower edge of a body, where its occupancy crosses one half.

    Attributes:
        top: (columns, depth) height above the block's centre (mm), NaN outside the body.
        bottom: (columns, depth) the same for the lower edge.
        grid: the block's grid.
        axes: (3, 3) columns right, anterior, up: the body's own frame.
    """

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    grid: Grid
    axes: NDArray[np.float64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(columns, depth) where the body has both edges."""
        return np.isfinite(self.top) & np.isfinite(self.bottom)

    @cached_property
    def crossing(self) -> NDArray[np.bool_]:
        """(columns, depth) columns that pass through the body's middle; those outside the waist meet only a rim."""
        valid = self.valid
        if not valid.any():
            return valid
        height = np.where(valid, self.top - self.bottom, 0.0)
        tall = valid & (height > 0.6 * np.median(height[valid]))
        middle = (np.median(self.top[tall]) + np.median(self.bottom[tall])) / 2
        if tall.sum() > 60:
            planes = [plane_fit(sheet, tall)[1] for sheet in (self.top, self.bottom)]
            middle = (planes[0] + planes[1]) / 2
        return valid & (np.where(valid, self.top, -np.inf) > middle) & (np.where(valid, self.bottom, np.inf) < middle)

    def to_ras(self, ahead: float, left: float, height: float) -> NDArray[np.float64]:
        """RAS mm of a point given in mm from the block's centre."""
        index = _CENTER + np.array([-height / STEP_MM[0], -ahead / STEP_MM[1], left / STEP_MM[2]])
        return self.grid.to_ras(index)


def edge_sheets(body: BodyMask) -> Sheets:
    """Edges of each column of a body block: the run of filled samples that is the longest in its column."""
    filled = body.occupancy >= 0.5
    padded = np.concatenate([np.zeros((1, *SHAPE[1:]), bool), filled, np.zeros((1, *SHAPE[1:]), bool)])
    change = np.diff(padded.astype(np.int8), axis=0)
    length = np.zeros(SHAPE[1:], dtype=int)
    first = np.zeros(SHAPE[1:], dtype=int)
    current = np.zeros(SHAPE[1:], dtype=int)
    for row in np.flatnonzero(change.any(axis=(1, 2))):
        current = np.where(change[row] == 1, row, current)
        run = np.where(change[row] == -1, row - current, 0)
        first = np.where(run > length, current, first)
        length = np.maximum(length, run)
    last = first + length - 1
    value = np.concatenate(
        [np.zeros((1, *SHAPE[1:]), np.float32), body.occupancy, np.zeros((1, *SHAPE[1:]), np.float32)]
    )

    def at(row: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.take_along_axis(value, (row + 1)[None], 0)[0].astype(np.float64)

    def crossing(inside: NDArray[np.intp], outside: NDArray[np.intp]) -> NDArray[np.float64]:
        high, low = at(inside), at(outside)
        part = np.clip((high - 0.5) / np.maximum(high - low, 1e-6), 0, 1)
        return np.asarray(inside + part * (outside - inside), dtype=np.float64)

    top = (_CENTER[0] - crossing(first, first - 1)) * STEP_MM[0]
    bottom = (_CENTER[0] - crossing(last, last + 1)) * STEP_MM[0]
    known = length * STEP_MM[0] >= _MIN_HEIGHT_MM
    return Sheets(np.where(known, top, np.nan), np.where(known, bottom, np.nan), body.grid, body.axes)


def plane_fit(
    sheet: NDArray[np.float64], used: NDArray[np.bool_], pull: float = 1.5, inward: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust plane through a sheet: (offset, slope to anterior, to left), and the plane's values (columns, depth).

    Pits and lips count little (Cauchy weights). With ``inward`` = -1 or +1, the direction into the bone, points
    farther inward count little and all others fully, so that the plane lies on the rim.
    """
    ahead, left = np.meshgrid(AHEAD_MM, LEFT_MM, indexing="ij")
    height = sheet[used]
    design = np.stack([np.ones(len(height)), ahead[used], left[used]])
    fit = np.array([_median(height), 0.0, 0.0])
    for _ in range(12):
        rest = height - fit @ design
        scale = 1.4826 * _median(np.abs(rest)) + 0.2
        counted = np.maximum(rest * inward, 0.0) if inward else rest
        weighted = design / (1.0 + (counted / (pull * scale)) ** 2)
        last, fit = fit, np.linalg.lstsq(weighted @ design.T, weighted @ height, rcond=None)[0]
        if np.abs(fit - last).max() < 1e-5:
            break
    return fit, fit[0] + fit[1] * ahead + fit[2] * left


RIM_MM = 4.0
"""Width of the rim that an endplate's plane is fitted to."""


def rim_depth(sheet: NDArray[np.float64], sign: float, core: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(columns, depth) depth of an endplate below the plane of its own rim (mm), 0 outside the core.

    Args:
        sheet: heights of the endplate (mm).
        sign: 1 for the superior endplate, -1 for the inferior one.
        core: the endplate's cross-section without its margin (:func:`core_region`).
    """
    from scipy.ndimage import distance_transform_edt

    rim = core & (distance_transform_edt(core, sampling=STEP_MM[1:]) <= RIM_MM)
    plane = plane_fit(np.where(core, sheet, 0.0), rim, inward=-sign)[1]
    return np.where(core, sign * (plane - sheet), 0.0)


def _median(values: NDArray[np.float64]) -> float:
    """The same number as numpy's, without what it takes to look for axes and NaN."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    part = np.partition(values, (low, high))
    return float(part[low] + part[high]) / 2.0


def core_region(sheets: Sheets, margin_mm: float = 2.0) -> NDArray[np.bool_]:
    """(columns, depth) the body's cross-section at its waist, pits included, less a margin."""
    from scipy.ndimage import binary_fill_holes, distance_transform_edt

    solid = binary_fill_holes(sheets.crossing)
    core = (distance_transform_edt(solid, sampling=STEP_MM[1:]) > margin_mm) & sheets.valid
    return core if core.sum() > 40 else solid & sheets.valid


def own_frame(body: BodyMask) -> tuple[BodyMask, Sheets]:
    """Turn a body block into the body's own frame: up is the bisector of its fitted endplates.

    The tangent of the curve through the centroids is up to 13 degrees off the vertebra's own axis at the ends of a
    chain (sheet 7), which would spoil column heights.

    Returns:
        The same body sampled in its own frame around its own centre, and its edges.
    """
    source, center = body.as_volume(), body.centroid()

    def turned(axes: NDArray[np.float64]) -> tuple[BodyMask, Sheets]:
        grid = body_grid(center, axes)
        found = replace(body, occupancy=sample_where(source, grid), grid=grid, axes=axes)
        return found, edge_sheets(found)

    return settle(body, edge_sheets(body), turned)


def settle(
    body: Turned, sheets: Sheets, turned: Callable[[NDArray[np.float64]], tuple[Turned, Sheets]], rounds: int = 6
) -> tuple[Turned, Sheets]:
    """Turn a body until its endplates' bisector is level; from the second round on by the secant rule.

    Which parts count as endplate changes with the frame, so that the lean left over after a turn is up to 0.9 of the
    lean before it, to the other side.

    Args:
        body: what ``turned`` gives; it is turned at least once, if it has endplates to fit.
        sheets: its edges.
        turned: body and edges in other axes (3, 3).
        rounds: how often to turn at most; it ends when the bisector leans by less than :data:`SETTLED`.
    """
    gain, lean, step = np.ones(2), np.zeros(2), np.zeros(2)
    for turn in range(rounds):
        used = core_region(sheets) & sheets.valid
        if used.sum() < 40:
            break
        last, lean = lean, np.mean([plane_fit(sheet, used)[0][1:] for sheet in (sheets.top, sheets.bottom)], axis=0)
        if turn and np.abs(lean).max() < SETTLED:
            break
        moved = np.abs(step) > 2 * SETTLED
        gain[moved] = np.clip((last - lean)[moved] / step[moved], 0.6, 2.5)
        step = np.clip(lean / gain, -_MAX_TILT, _MAX_TILT)
        right, anterior, up = sheets.axes.T
        body, sheets = turned(axes_from(up - step[0] * anterior + step[1] * right, anterior))
    return body, sheets
