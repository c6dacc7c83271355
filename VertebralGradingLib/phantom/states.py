"""One vertebra in its CT, and sagittal pictures of the same place with the vertebra in other states.

Place, look and scanner stay; noise is drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.phantom.patches import Pose, body_middle
from VertebralGradingLib.phantom.pool import PoolSpine
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.reformation import PATCH_SIZE, Grid

_FLAT = (PATCH_SIZE, PATCH_SIZE, 1)
_WHOLE = (0, 0, 0, 0)
_JITTER = 0.5


class States:
    """Scans of one vertebra of one spine, always in the same place, look and scanner.

    Args:
        pool: the spine alone.
        level: which vertebra.
        seed: fixes place, look and scanner.
        block: rows, columns and depth of its CT (samples of 1 mm), larger than a patch.
    """

    def __init__(self, pool: list[PoolSpine], level: str, seed: int, block: tuple[int, int, int]) -> None:
        self.pool, self.level, self.seed = pool, level, seed
        self.data = PhantomDataset(pool, seed, DatasetOptions(jitter=_JITTER, shape=block))
        self._item = [(0, level)]
        self.block = replace(self.data.poses(self._item, [seed])[0], cut=_WHOLE)
        self.middle = [(n - m) // 2 for n, m in zip(block, _FLAT, strict=True)]

    @property
    def grid(self) -> Grid:
        """Of the pictures: the patch in the middle of the block."""
        return self.block.grid.box(self.middle, [a + m for a, m in zip(self.middle, _FLAT, strict=True)])

    def in_patch(self, block: NDArray[np.generic]) -> NDArray[np.generic]:
        """(128, 128) what of an array (rows, columns, depth) over the block lies in the patch."""
        row, column, depth = self.middle
        return block[row : row + PATCH_SIZE, column : column + PATCH_SIZE, depth]

    def scanned(self, spine: SpineParameters) -> tuple[Volume, Volume]:
        """CT (HU) and VerSe labels of all bodies over the block."""
        image, labels = self.data.scanned([spine], self._item, [self.seed], [self.block])
        affine = self.block.grid.affine
        assert affine is not None  # poses are rigid
        return Volume(np.rint(image[0, 0].numpy()).astype(np.int16), affine), Volume(labels[0, 0].numpy(), affine)

    def pictures(
        self, states: Sequence[SpineParameters], again: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """(N, 128, 128) HU of states in the patch, and labels of all bodies; ``again`` for another scan's noise."""
        grid = self.grid
        if again:  # noise follows the shape
            low = [self.middle[0] - 1, *self.middle[1:]]
            high = [self.middle[0] + PATCH_SIZE, *(m + n for m, n in zip(self.middle[1:], _FLAT[1:], strict=True))]
            grid = self.block.grid.box(low, high)
        number = len(states)
        images, labels = self.data.scanned(
            states, self._item * number, [self.seed] * number, [Pose(grid, _WHOLE)] * number
        )
        first = int(again)
        return images[:, 0, first:].numpy(), labels[:, 0, first:].numpy()

    def points(self, ct: Volume, scatter_mm: float = 0.0) -> tuple[Point, ...]:
        """Middles of the bodies in a CT, exact ones, or scattered by a standard deviation per axis."""
        spine, frames = self.pool[0].spine, self.data._ready(0).frames
        rng = np.random.default_rng([self.seed, 3])
        out: list[Point] = []
        for level in self.pool[0].levels:
            frame = frames[spine.levels.index(level)]
            middle = frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3]
            if ct.contains(middle):
                x, y, z = (float(v) for v in middle + scatter_mm * rng.normal(size=3))
                out.append(Point((x, y, z), level, level))
        return tuple(out)
