"""The warp of one vertebra: solved until the measured heights are those that were asked for, then read from the CT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.columns import Posture, field_of, rigid_of
from VertebralGradingLib.counterfactual.field import BACK_REACH_MM, FRONT_REACH_MM, SIDE_REACH_MM, UP_REACH_MM, Field
from VertebralGradingLib.counterfactual.plates import AHEAD, LEFT, Plates, plates_of
from VertebralGradingLib.counterfactual.request import Health, Request
from VertebralGradingLib.counterfactual.seam import Seam, seam_of
from VertebralGradingLib.counterfactual.shapes import Shaper, shaper_of
from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask
from VertebralGradingLib.morphometry.heights import Measurement, measure
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM
from VertebralGradingLib.spine.reformation import Grid

Floats = NDArray[np.float64]

ROUNDS = 6
"""How often heights are measured on the warped body and the command is corrected, at most."""
CLOSE_MM = 0.04
"""It ends when all heights are so near to what was asked for."""
_NOTHING_MM = 1e-6
_MIDDLE = (np.array(SHAPE) - 1) / 2
_ROOM = (30, 6, 2)
"""Samples of a body block by which a body may grow or move: along the height, front to back, side to side."""
_UP_MM = np.arange(-60.0, 145.0, 1.0)


class Moves(Protocol):
    """Whatever tells where in the CT places of the new picture are read."""

    def source(self, points_ras: Floats) -> Floats:
        """RAS mm (..., 3) -> RAS mm (..., 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Warp:
    """One vertebra at other heights.

    Attributes:
        field: where each place of the new picture is read.
        target_mm: (3,) heights that were asked for.
        reached_mm: (3,) heights as measured on the warped body.
        graded: graded loss reached, against the healthy heights.
        missed_mm: largest difference from what was asked for, less what is let be (:meth:`Warper.to_heights`).
        top_mm, bottom_mm: (ahead, left) how far the endplates went up, over the field's table.
        least_jacobian: least one of either way, from the CT to the picture and back; 0 or less where it folds.
        rounds: how often the command was corrected.
    """

    field: Field
    target_mm: Floats
    reached_mm: Floats
    graded: float
    missed_mm: float
    top_mm: Floats
    bottom_mm: Floats
    least_jacobian: float
    rounds: int


@dataclass(frozen=True, eq=False)
class Warper:
    """What is known of one vertebra before it is warped.

    Attributes:
        own: its measurement.
        health: heights as they are and as they were.
        plates, shaper, seam: what moves, how, and where the arches part.
        posture: how the spine above follows.
    """

    own: Measurement
    health: Health
    plates: Plates
    shaper: Shaper
    seam: Seam
    posture: Posture

    @classmethod
    def of(
        cls,
        own: Measurement,
        health: Health,
        above: Measurement | None = None,
        below: Measurement | None = None,
        step_mm: float = 33.0,
        ct: Volume | None = None,
        arches: tuple[Volume, Volume] | None = None,
        posture: Posture | None = None,
    ) -> Warper:
        """Prepare a vertebra.

        Args:
            own: as measured.
            health: :meth:`request.Health.of` its heights and reference.
            above: the next vertebra above, or None.
            below: the next one below, or None.
            step_mm: distance to the next centroid, for neighbours that are not measured.
            ct: HU, for the seam between the arches.
            arches: see :func:`seam.seam_of`.
            posture: how the spine above follows.

        Raises:
            MaskError: hardly anything of the endplates is left.
        """
        plates = plates_of(own, above, below, step_mm)
        center, axes = own.sheets.to_ras(0.0, 0.0, 0.0), own.sheets.axes
        seam = seam_of(plates, center, axes, ct, arches)
        return cls(own, health, plates, shaper_of(plates, health), seam, posture or Posture())

    def solve(self, request: Request, rounds: int = ROUNDS) -> Warp:
        """Warp to the heights of a request, measured on the warped body and corrected.

        Raises:
            MaskError: the warped body cannot be measured.
            InputError: the warp would fold.
        """
        return self.to_heights(self.health.target(request), rounds)

    def to_heights(self, target: Floats, rounds: int = ROUNDS) -> Warp:
        """The same for heights (3,) in mm.

        Where a body is to be lowered no endplate is raised: the tilt of a new wedge alone lowers the measured height of
        a body whose back edge stands out, and that is let be.
        """
        change = target - self.health.heights_mm
        command, found, done = change, self.health.heights_mm, 0
        best = tried = self._field(command, change)
        missed = float(np.abs(change).max())
        if np.abs(change).max() > _NOTHING_MM:
            gain, missed, reached = np.eye(3), np.inf, measure(self.body(tried[0])).heights_mm
            while True:
                error = target - reached
                error[(change <= 0.0) & (command >= 0.0) & (error > 0.0)] = 0.0
                now = float(np.abs(error).max())
                if now < missed:
                    best, missed, found = tried, now, reached
                if done == rounds or missed < CLOSE_MM:
                    break
                wanted = command + gain @ error
                step = np.where(change <= 0.0, np.minimum(wanted, 0.0), wanted) - command
                command = command + step
                tried = self._field(command, change)
                before, reached = reached, measure(self.body(tried[0])).heights_mm
                rose = gain @ (reached - before)
                if abs(step @ rose) > _NOTHING_MM:  # what a mm of command does, learned from each step (Broyden 1965)
                    gain = gain + np.outer(step - rose, step @ gain) / (step @ rose)
                done += 1
        field, top, bottom = best
        pull = field.jacobian(AHEAD[::2], LEFT[::3], _UP_MM)
        least = float(min(pull.min(), 1.0 / max(pull.max(), 1e-9)))
        return Warp(field, target, found, self.health.graded_of(found), missed, top, bottom, least, done)

    def _field(self, command: Floats, change: Floats) -> tuple[Field, Floats, Floats]:
        """The field for a command and the movement of both endplates; the spine above follows the change."""
        top, bottom = self.shaper.moved(command)
        sheets = self.own.sheets
        rigid = rigid_of(self.plates, change, top, self.posture)
        field = field_of(self.plates, sheets.to_ras(0.0, 0.0, 0.0), sheets.axes, top, bottom, rigid, self.seam.up_mm)
        return field, top, bottom

    def body(self, field: Field) -> BodyMask:
        """The body in a warped picture, on its own block."""
        return carried(self.own.body, field)


def carried(body: BodyMask, field: Moves) -> BodyMask:
    """A body in a warped picture, on its own block; quick where that stands in the frame of the field."""
    box = body.box()
    low = [max(s.start - more, 0) for s, more in zip(box, _ROOM, strict=True)]
    high = [min(s.stop + more, n) for s, more, n in zip(box, _ROOM, body.occupancy.shape, strict=True)]
    rows, columns, depth = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    own = isinstance(field, Field) and np.array_equal(body.axes, field.axes)
    if isinstance(field, Field) and own and np.array_equal(body.grid.to_ras(_MIDDLE), field.center):
        d_ahead, d_up = field.pulled_on(AHEAD_MM[columns], LEFT_MM[depth], (_MIDDLE[0] - rows) * STEP_MM[0])
        index = np.empty((len(rows), len(columns), len(depth), 3))
        index[..., 0] = rows[:, None, None] - d_up.transpose(2, 0, 1) / STEP_MM[0]
        index[..., 1] = columns[:, None] - d_ahead.transpose(2, 0, 1) / STEP_MM[1]
        index[..., 2] = depth
    else:
        index = body.grid.to_index(field.source(body.grid.box(low, high).points()))
    occupancy = np.zeros_like(body.occupancy)
    occupancy[np.ix_(rows, columns, depth)] = sample(Volume(body.occupancy, np.eye(4)), index, fill=0.0)
    return replace(body, occupancy=occupancy)


def picture(ct: Volume, field: Moves, grid: Grid) -> NDArray[np.float32]:
    """The warped CT on a grid, read from the CT itself (rows, columns, depth) HU."""
    return np.asarray(sample(ct, field.source(grid.points())), dtype=np.float32)


def picture_and_rise(ct: Volume, field: Field, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same, and how far what is seen at each place was moved up along the body's own axis (mm; down negative)."""
    points = grid.points()
    source = field.source(points)
    rise = (points - source) @ field.axes[:, 2]
    return np.asarray(sample(ct, source), dtype=np.float32), rise.astype(np.float32)


def mask_on(body: BodyMask, grid: Grid, field: Moves | None = None) -> NDArray[np.bool_]:
    """A body (rows, columns, depth) on a grid, as it is or in a warped picture.

    Raises:
        MaskError: its block is not rigid.
    """
    affine = body.grid.affine
    if affine is None:
        raise MaskError("A body's block is bent.", "Find the body again.")
    points = grid.points()
    return np.asarray(
        sample(Volume(body.occupancy, affine), points if field is None else field.source(points), fill=0.0) >= 0.5
    )


def warped_volume(ct: Volume, field: Field) -> tuple[Volume, tuple[slice, ...]]:
    """The warped CT on its own voxels, of the CT's type: the crop in which anything moves, and where it lies.

    Returns:
        The crop with its own affine, and the slices of the CT it stands for.
    """
    ends = (
        np.array(
            np.meshgrid(
                (-BACK_REACH_MM[1], FRONT_REACH_MM[1]),
                (-SIDE_REACH_MM[1], SIDE_REACH_MM[1]),
                (-UP_REACH_MM[1], UP_REACH_MM[1]),
            )
        )
        .reshape(3, -1)
        .T
    )
    corners = ct.to_index(field.to_ras(ends))
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, np.array(ct.shape) - 2)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, low + 2, ct.shape)
    region = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = np.array(ct.array[region])
    whole = np.iinfo(part.dtype) if part.dtype.kind in "iu" else None
    for k in range(part.shape[2]):  # slice by slice: positions of a whole crop would take much memory
        voxels = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in region[:2]), indexing="ij"), -1)
        points = ct.to_ras(np.concatenate([voxels, np.full((*voxels.shape[:2], 1), low[2] + k)], -1))
        source = field.source(points)
        moved = np.abs(source - points).max(-1) > 1e-6
        if moved.any():
            values = sample(ct, source[moved])
            part[..., k][moved] = values if whole is None else np.clip(np.rint(values), whole.min, whole.max)
    affine = ct.affine.copy()
    affine[:3, 3] = ct.to_ras(low)
    return Volume(part, affine, ct.notes), region
