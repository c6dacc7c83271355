"""Slices of synthetic vertebrae, scanned straight from the phantom's field where a vertebra's own frame puts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.healthivert.stacks import BodyFrame, Stack
from VertebralGradingLib.morphometry.sheets import Sheets
from VertebralGradingLib.phantom.field import Field, Prepared
from VertebralGradingLib.phantom.patches import Pose, scan
from VertebralGradingLib.phantom.subjects import Subject
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.reformation import Grid

_WINDOW = 9
_BATCH = 8


@dataclass(frozen=True, eq=False)
class PhantomVertebra:
    """One vertebra of a synthetic subject, where its own frame puts its slices.

    Attributes:
        subject: whose.
        ready: its spine in place.
        levels: of the chain.
        number: which of them.
        sheets: its edges, in own coordinates.
    """

    subject: Subject
    ready: Prepared
    levels: Sequence[str]
    number: int
    sheets: Sheets

    @property
    def level(self) -> str:
        """Its name."""
        return self.levels[self.number]

    def slices(
        self,
        broken: Sequence[bool],
        view: View,
        size: int,
        offsets: NDArray[np.float64] | None = None,
        state: Prepared | None = None,
    ) -> Stack:
        """Its slices, scanned.

        Args:
            broken: which of the chain are made pseudo-healthy first.
            view: of the slices.
            size: rows and columns.
            offsets: where they lie; the usual places by default.
            state: another state of the same spine to be scanned instead.
        """
        ready, levels, k = self.ready, self.levels, self.number
        frame = frame_in_place(ready, self.level, self.sheets)
        offsets = frame.offsets(view) if offsets is None else offsets
        grid = frame.grid(view, offsets, size)
        hu, bodies, depth = _scanned(ready if state is None else state, self.subject, grid, self.level)
        names = {level: int(ready.labels[ready.spine.levels.index(level)]) for level in levels}

        def healed_first(m: int) -> NDArray[np.bool_] | None:
            return bodies == names[levels[m]] if 0 <= m < len(levels) and broken[m] else None

        other = (bodies > 0) & (bodies != names[self.level])
        own = np.where(other, 0.0, np.clip(0.5 + depth, 0.0, 1.0)).astype(np.float32)  # one sample is 1 mm
        own[_far_from(bodies == names[self.level])] = 0.0
        places, position = frame.places(view, offsets), frame.position
        return Stack(view, offsets, hu, own, healed_first(k - 1), healed_first(k + 1), places, position)


def frame_in_place(ready: Prepared, level: str, sheets: Sheets) -> BodyFrame:
    """A body's measured frame in RAS mm."""
    own = BodyFrame.of_sheets(sheets, axis_position(level))
    place = ready.frames[ready.spine.levels.index(level)]
    return replace(own, center=place[:3, :3] @ own.center + place[:3, 3], axes=place[:3, :3] @ own.axes)


def _scanned(
    ready: Prepared, subject: Subject, grid: Grid, level: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """(N, S, S) HU, labels of bodies, and depth in the nearest body (mm), each slice scanned for itself."""
    rows, columns, count = grid.shape
    middle = ready.spine.levels.index(level)
    first = max(min(middle - _WINDOW // 2, len(ready.labels) - _WINDOW), 0)
    hu, bodies, depth = list[NDArray[np.float32]](), list[NDArray[np.uint8]](), list[NDArray[np.float32]]()
    for start in range(0, count, _BATCH):
        part = range(start, min(start + _BATCH, count))
        poses = [Pose(grid.box((0, 0, n), (rows, columns, n + 1)), (0, 0, 0, 0)) for n in part]
        scanners = [replace(subject.scanner, seed=subject.scanner.seed + 31 * n) for n in part]
        field_ = Field([ready] * len(part), windows=([first] * len(part), _WINDOW))
        image, maps = scan(field_, poses, scanners)
        hu.append(image[..., 0].numpy())
        bodies.append(maps["body"][..., 0].numpy())
        depth.append(maps["depth"][..., 0].float().numpy())
    return np.concatenate(hu), np.concatenate(bodies), np.concatenate(depth)


def _far_from(own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N, S, S) samples that do not touch a body in their slice."""
    from scipy.ndimage import binary_dilation

    return ~np.asarray(binary_dilation(own, np.ones((1, 3, 3), dtype=bool)))
