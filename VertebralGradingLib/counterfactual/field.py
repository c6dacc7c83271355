"""The displacement field of a warp: where in the CT each place of the new picture is read.

A column of the field runs along the body's own axis. Below the vertebra nothing moves. Between the upper endplate of
the vertebra below and the lower one of the vertebra above, places move along the axis, linearly between knots: both
endplates carry a layer with them, and only the core between is stretched. From the next vertebra on upwards all moves
rigidly (tilt and sinking), and far away nothing moves again. Along a column the source rises with the place, so that
nothing folds; :meth:`Field.jacobian` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.plates import AHEAD, LEFT
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.spine.reformation import Grid

Floats = NDArray[np.float64]

KNOTS = 6
"""Of a column: plate of the vertebra below, lower plate, end of its layer, the same of the upper one, plate above."""
UP_REACH_MM, SIDE_REACH_MM, FRONT_REACH_MM, BACK_REACH_MM = (70.0, 140.0), (42.0, 80.0), (48.0, 85.0), (68.0, 105.0)
"""Up to where, from the centre of the body block, all moves that has to, and from where on nothing does (mm)."""


@dataclass(frozen=True)
class Rigid:
    """How the spine above moves.

    Attributes:
        pivot_ahead, pivot_up: middle of the upper endplate (mm from the centre of the body block).
        tilt: radians by which it tips to the front.
        sink_mm: how far it goes down.
    """

    pivot_ahead: float
    pivot_up: float
    tilt: float = 0.0
    sink_mm: float = 0.0

    def pulled(self, ahead: Floats, up: Floats) -> tuple[Floats, Floats]:
        """From places after the movement to where they were: change ahead and up (mm)."""
        a, h = ahead - self.pivot_ahead, up - self.pivot_up + self.sink_mm
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return a * cos - h * sin - a, a * sin + h * cos - h + self.sink_mm

    def risen(self, ahead: Floats, up: Floats) -> Floats:
        """How far places go up (mm)."""
        a, h = ahead - self.pivot_ahead, up - self.pivot_up
        return np.asarray(-a * np.sin(self.tilt) + h * (np.cos(self.tilt) - 1.0) - self.sink_mm)


@dataclass(frozen=True, eq=False)
class Field:
    """A warp of everything around one vertebra.

    Attributes:
        center: (3,) RAS mm, of the body block.
        axes: (3, 3) columns right, anterior, up of the body's own frame.
        places: (6, A, L) heights of the knots over :data:`plates.AHEAD` and :data:`plates.LEFT` in the new picture.
        sources: (6, A, L) where they are in the CT; the last is told by ``rigid``.
        rigid: how the spine above moves.
    """

    center: Floats
    axes: Floats
    places: Floats
    sources: Floats
    rigid: Rigid

    def __post_init__(self) -> None:
        """Refuse a field that folds.

        Raises:
            InputError: the knots of a column, or their sources, do not rise.
        """
        if min(np.diff(self.places, axis=0).min(), np.diff(self.sources, axis=0).min()) <= 0.0:
            raise InputError("This warp would fold.", "Ask for a grade nearer to the vertebra's own.")

    def in_frame(self, points_ras: Floats) -> Floats:
        """RAS mm (..., 3) -> ahead, left, up (..., 3)."""
        right, anterior, up = self.axes.T
        away = np.asarray(points_ras, dtype=np.float64) - self.center
        return np.stack([away @ anterior, -(away @ right), away @ up], -1)

    def to_ras(self, places: Floats) -> Floats:
        """Ahead, left, up (..., 3) -> RAS mm (..., 3)."""
        right, anterior, up = self.axes.T
        moved = places[..., :1] * anterior - places[..., 1:2] * right + places[..., 2:] * up
        return np.asarray(moved + self.center)

    def source(self, points_ras: Floats) -> Floats:
        """Where in the CT places of the new picture are read, RAS mm (..., 3) -> RAS mm (..., 3)."""
        place = self.in_frame(points_ras)
        ahead, left, up = (place[..., k] for k in range(3))
        d_ahead, d_up = self._pulled(self._columns(ahead, left), ahead, left, up)
        _, anterior, axis = self.axes.T
        return np.asarray(points_ras + d_ahead[..., None] * anterior + d_up[..., None] * axis)

    def rigidly(self, points_ras: Floats) -> Floats:
        """Where places would be read if all moved as the spine above does, far or near, RAS mm (..., 3)."""
        place = self.in_frame(points_ras)
        d_ahead, d_up = self.rigid.pulled(place[..., 0], place[..., 2])
        _, anterior, axis = self.axes.T
        return np.asarray(points_ras + d_ahead[..., None] * anterior + d_up[..., None] * axis)

    def pulled_on(self, ahead: Floats, left: Floats, up: Floats) -> tuple[Floats, Floats]:
        """Change ahead and up (A, L, H) from places of the new picture to the CT, on the grid of three axes (mm)."""
        a, b = np.meshgrid(ahead, left, indexing="ij")
        knots = self._columns(a, b)[:, :, :, None]
        return self._pulled(knots, a[..., None], b[..., None], np.asarray(up, dtype=np.float64)[None, None])

    def _columns(self, ahead: Floats, left: Floats) -> Floats:
        """Knots (12, ...) of the columns at places: their heights, then where they come from."""
        table = np.concatenate([self.places, self.sources])
        i = np.clip(ahead - AHEAD[0], 0, len(AHEAD) - 1.001)
        j = np.clip(left - LEFT[0], 0, len(LEFT) - 1.001)
        a, b = i.astype(np.intp), j.astype(np.intp)
        x, y = i - a, j - b
        flat = table.reshape(len(table), -1)
        at = a * len(LEFT) + b
        low = flat[:, at] * (1 - y) + flat[:, at + 1] * y
        high = flat[:, at + len(LEFT)] * (1 - y) + flat[:, at + len(LEFT) + 1] * y
        return np.asarray(low * (1 - x) + high * x)

    def _pulled(self, knots: Floats, ahead: Floats, left: Floats, up: Floats) -> tuple[Floats, Floats]:
        places, moved = knots[:KNOTS], knots[KNOTS:] - knots[:KNOTS]
        along = np.zeros(np.broadcast_shapes(up.shape, places[0].shape))
        for k in range(KNOTS - 2):
            along += (moved[k + 1] - moved[k]) * np.clip((up - places[k]) / (places[k + 1] - places[k]), 0.0, 1.0)
        share = np.clip((up - places[-2]) / (places[-1] - places[-2]), 0.0, 1.0)
        rigid_ahead, rigid_up = self.rigid.pulled(ahead, up)
        near = _within(up, UP_REACH_MM) * _within(np.abs(left), SIDE_REACH_MM)
        near = near * _within(ahead, FRONT_REACH_MM) * _within(-ahead, BACK_REACH_MM)
        return near * share * rigid_ahead, near * ((1.0 - share) * along + share * rigid_up)

    def jacobian(self, ahead: Floats, left: Floats, up: Floats) -> Floats:
        """Determinant of the way from the new picture to the CT, between the places of a grid (differences along axes).

        Nothing moves to the side, so that it is that of the sagittal plane. Below 1 where the picture is stretched,
        above 1 where it is pressed together, 0 or less where it folds.

        Args:
            ahead: (A,) evenly spaced, mm.
            left: (L,)
            up: (H,) evenly spaced.

        Returns:
            (A - 1, L, H - 1).
        """
        d_ahead, d_up = self.pulled_on(ahead, left, up)
        da, dh = float(ahead[1] - ahead[0]), float(up[1] - up[0])

        def slopes(values: Floats) -> tuple[Floats, Floats]:
            along_a, along_h = np.diff(values, axis=0) / da, np.diff(values, axis=2) / dh
            return (along_a[:, :, 1:] + along_a[:, :, :-1]) / 2, (along_h[1:] + along_h[:-1]) / 2

        (aa, ah), (ha, hh) = slopes(d_ahead), slopes(d_up)
        return np.asarray((1.0 + aa) * (1.0 + hh) - ah * ha)

    def on_grid(self, grid: Grid) -> Floats:
        """Displacement (rows, columns, depth, 3) RAS mm from the samples of a grid to where they are read."""
        points = grid.points()
        return self.source(points) - points

    def flow_on(self, grid: Grid) -> NDArray[np.float32]:
        """(2, rows, columns) mm along rows and columns of a flat grid, from its places to where they are read."""
        moved = self.on_grid(grid)[:, :, 0]
        axes = grid.origin[1] - grid.origin[0], grid.column_step[0]
        return np.stack([moved @ (axis / np.linalg.norm(axis)) for axis in axes]).astype(np.float32)


def _within(distance: Floats, reach: tuple[float, float]) -> Floats:
    """1 up to the nearer, 0 from the farther distance on, smoothly."""
    part = np.clip((reach[1] - distance) / (reach[1] - reach[0]), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part))


def mixed(fields: Sequence[Field], at: Sequence[float], wanted: float) -> Field:
    """The field between two of a row of fields of one vertebra, by linear interpolation; it folds nowhere either.

    Args:
        fields: of one vertebra.
        at: (n,) rising numbers that stand for them, such as grades.
        wanted: between the first and the last of them.

    Raises:
        InputError: ``wanted`` lies beyond them.
    """
    if not at[0] <= wanted <= at[-1]:
        raise InputError(f"There is no warp for {wanted}.", f"Choose {at[0]} to {at[-1]}.")
    k = min(max(int(np.searchsorted(at, wanted)) - 1, 0), len(at) - 2)
    part = (wanted - at[k]) / (at[k + 1] - at[k])
    low, high = fields[k], fields[k + 1]

    def between(a: Floats, b: Floats) -> Floats:
        return np.asarray(a + part * (b - a))

    rigid = replace(
        low.rigid,
        tilt=low.rigid.tilt + part * (high.rigid.tilt - low.rigid.tilt),
        sink_mm=low.rigid.sink_mm + part * (high.rigid.sink_mm - low.rigid.sink_mm),
    )
    return replace(
        low, places=between(low.places, high.places), sources=between(low.sources, high.sources), rigid=rigid
    )
