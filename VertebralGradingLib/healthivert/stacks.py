"""Parallel slices through one vertebra in its own frame, sagittal or coronal, as the generators see them.

Slices are flat and stand in the measured body's own frame: straightening a spine that a wedged vertebra has bent draws
its front edge out again, so that part of the loss is gone before anything is drawn. For networks that were trained on
straightened blocks, as published, slices can follow the spine's curve.
Rows run caudally; columns run posteriorly and slices to the left (sagittal), or the other way round (coronal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets
from VertebralGradingLib.spine.reformation import Grid, curved_grid, rigid_grid, sample_where
from VertebralGradingLib.spine.spine import Spine, Vertebra
from VertebralGradingLib.study import MeasuredVertebra

Floats = NDArray[np.float64]
STEP_MM = 3.0
"""Between slices when heights alone are wanted."""
INSIDE = 0.5
"""Share of a body from which on a sample lies in it."""
SHARE = 0.8
"""Central part of a vertebra that slices are taken from, as in training (sheet 2, section 3)."""


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """Where a body stands and how far it reaches.

    Attributes:
        center: (3,) RAS mm, the middle of its box.
        axes: (3, 3) columns right, anterior, up of its own frame.
        half_depth_mm: half of its depth, front to back.
        half_width_mm: half of its width.
        position: place on the axis of levels, None where the level is not known.
        bent: the middle sagittal sheet along the spine's curve, None where slices are flat.
    """

    center: Floats
    axes: Floats
    half_depth_mm: float
    half_width_mm: float
    position: float | None
    bent: Grid | None = None

    @classmethod
    def of(cls, item: MeasuredVertebra) -> BodyFrame:
        """The frame of a measured vertebra."""
        assert item.measurement is not None  # only measured vertebrae come here
        return cls.of_sheets(item.measurement.sheets, item.vertebra.axis_position if item.vertebra.known else None)

    @classmethod
    def of_sheets(cls, sheets: Sheets, position: float | None) -> BodyFrame:
        """The frame of a body's edges."""
        columns, depths = (np.flatnonzero(sheets.valid.any(axis)) for axis in (1, 0))
        ahead, left = AHEAD_MM[columns[[0, -1]]], LEFT_MM[depths[[0, -1]]]
        height = (np.nanmedian(sheets.top) + np.nanmedian(sheets.bottom)) / 2
        center = sheets.to_ras(float(ahead.mean()), float(left.mean()), float(height))
        half = (float(np.ptp(ahead)) + 1.0) / 2, (float(np.ptp(left)) + 1.0) / 2
        return cls(center, sheets.axes, *half, position)

    def straightened(self, spine: Spine, vertebra: Vertebra, size: int) -> BodyFrame:
        """The same, for slices whose rows are perpendicular to the spine's curve (sheet 2, section 2)."""
        sheet = curved_grid(spine, vertebra, (size, size, 1), 1.0, follow="full")
        moved = sheet.origin + (self.center - vertebra.center)
        return replace(self, bent=Grid(sheet.shape, moved, sheet.column_step, sheet.depth_step))

    def half_across_mm(self, view: View) -> float:
        """Half of the body across a view's slices."""
        return self.half_width_mm if view == "sagittal" else self.half_depth_mm

    def offsets(self, view: View, step_mm: float = STEP_MM, share: float = SHARE) -> Floats:
        """(N,) where slices lie, mm to the left of the middle (sagittal) or behind it (coronal); always an odd number.

        Args:
            view: of the slices.
            step_mm: between them.
            share: of the body that they cover.
        """
        count = int(share * self.half_across_mm(view) / step_mm)
        return np.asarray(np.arange(-count, count + 1) * step_mm, dtype=np.float64)

    def places(self, view: View, offsets: Floats) -> Floats:
        """(N,) how far beside the middle, 0 to 1 by half of the body."""
        return np.minimum(np.abs(offsets) / self.half_across_mm(view), 1.0)

    def grid(self, view: View, offsets: Floats, size: int) -> Grid:
        """Samples of (size, size) slices of 1 mm, one behind the other along the third index."""
        step = float(offsets[1] - offsets[0]) if len(offsets) > 1 else 1.0
        if self.bent is not None:
            back, left = self.bent.column_step, self.bent.depth_step
            middle_row = self.bent.origin + (self.bent.shape[1] - 1) / 2 * back
            along, beside = (back, left) if view == "sagittal" else (left, back)
            origin = middle_row + offsets[0] * beside - (size - 1) / 2 * along
            return Grid((size, size, len(offsets)), origin, along, step * beside)
        right, anterior, up = self.axes.T
        across, axes = (-right, (right, anterior)) if view == "sagittal" else (-anterior, (anterior, right))
        middle = self.center + float(offsets.mean()) * across
        return rigid_grid(middle, np.column_stack([*axes, up]), (size, size, len(offsets)), (1.0, 1.0, step))


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one view.

    Attributes:
        view: which.
        offsets_mm: (N,) see :meth:`BodyFrame.offsets`.
        hu: (N, S, S) HU at 1 mm.
        own: (N, S, S) 0..1, the body; its edge is where it crosses 0.5.
        above, below: (N, S, S) the neighbours that are to be made pseudo-healthy first, or None.
        place: (N,) see :meth:`BodyFrame.places`.
        position: of the vertebra on the axis of levels, None where it is not known.
    """

    view: View
    offsets_mm: Floats
    hu: NDArray[np.float32]
    own: NDArray[np.float32]
    above: NDArray[np.bool_] | None
    below: NDArray[np.bool_] | None
    place: Floats
    position: float | None


def stack_of(
    ct: Volume,
    chain: Sequence[MeasuredVertebra],
    number: int,
    broken: Sequence[bool],
    view: View,
    offsets: Floats,
    size: int,
    frame: BodyFrame | None = None,
) -> Stack:
    """Slices through a measured vertebra.

    Args:
        ct: HU.
        chain: measured vertebrae of one chain, cranial to caudal.
        number: which of them.
        broken: for each of them, whether it is to be made pseudo-healthy before its neighbours are.
        view: of the slices.
        offsets: where they lie (:meth:`BodyFrame.offsets`).
        size: rows and columns.
        frame: where slices stand; the body's own by default.

    Raises:
        MaskError: no slice shows the body.
    """
    frame = frame or BodyFrame.of(chain[number])
    grid = frame.grid(view, offsets, size)

    def body(n: int) -> NDArray[np.float32]:
        measurement = chain[n].measurement
        assert measurement is not None  # the caller gives measured vertebrae
        block = measurement.body.as_volume()
        share = sample_where(block, grid) if frame.bent is None else sample(block, grid.points(), fill=0.0)
        return np.ascontiguousarray(np.moveaxis(share, 2, 0))

    own = body(number)
    if not (own >= INSIDE).any():
        raise MaskError("The slices do not show the vertebra.", "Check its mask.")

    def healed_first(n: int) -> NDArray[np.bool_] | None:
        """A neighbour, where it is to be made pseudo-healthy before this vertebra is."""
        chosen = 0 <= n < len(chain) and broken[n] and _next_to(chain[number], chain[n])
        return body(n) >= INSIDE if chosen else None

    hu = np.moveaxis(sample(ct, grid.points()), 2, 0).astype(np.float32)
    return Stack(
        view, offsets, hu, own, healed_first(number - 1), healed_first(number + 1), frame.places(view, offsets),
        frame.position,
    )  # fmt: skip


def _next_to(one: MeasuredVertebra, other: MeasuredVertebra) -> bool:
    return abs(one.vertebra.order - other.vertebra.order) == 1 and one.vertebra.chain == other.vertebra.chain
