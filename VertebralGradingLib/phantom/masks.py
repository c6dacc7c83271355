"""Body masks straight from the formulas, without a CT: fast, at any voxel size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.anatomy import VERSE
from VertebralGradingLib.phantom.body import body_depth
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.field import Prepared
from VertebralGradingLib.volume import Volume

_LABEL = {level: label for label, level in VERSE.items()}
_MARGIN_MM = 8.0


def body_masks(
    ready: Prepared, levels: Sequence[str], step_mm: float = 1.0, turn: NDArray[np.float64] | None = None
) -> Volume:
    """Label volume (VerSe numbers, uint8) of the bodies of some levels.

    Args:
        ready: a spine in place.
        levels: which bodies.
        step_mm: voxel edge.
        turn: (3, 3) rotation of the voxel axes; right, anterior, up by default.
    """
    axes = np.eye(3) if turn is None else turn
    places = [ready.spine.levels.index(level) for level in levels]
    reach = [_corners(ready, n) @ axes for n in places]
    low = np.min([corners.min(0) for corners in reach], axis=0) - _MARGIN_MM
    high = np.max([corners.max(0) for corners in reach], axis=0) + _MARGIN_MM
    shape = np.ceil((high - low) / step_mm).astype(int)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * step_mm, axes @ low
    labels = np.zeros(shape, dtype=np.uint8)
    for n, level, corners in zip(places, levels, reach, strict=True):
        begin = np.floor((corners.min(0) - low) / step_mm).astype(int) - 1
        end = np.ceil((corners.max(0) - low) / step_mm).astype(int) + 2
        index = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(begin, end, strict=True)], indexing="ij"), -1)
        points = index @ affine[:3, :3].T + affine[:3, 3]
        own = points @ ready.inverse[n, :, :3].T + ready.inverse[n, :, 3]
        u, v, w = torch.from_numpy(own).unbind(-1)
        inside = body_depth(u, v, w, View(torch.from_numpy(ready.spine.vertebrae[n])))["depth"].numpy() > 0
        part = labels[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
        part[inside & (part == 0)] = _LABEL[level]
    return Volume(labels, affine)


def _corners(ready: Prepared, n: int) -> NDArray[np.float64]:
    """(8, 3) RAS mm, a box around one body."""
    p = View(ready.spine.vertebrae[n])
    half = np.array([1.25 * p.half_width, 1.35 * p.half_depth, 0.75 * p.height + 6.0])
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    frame = ready.frames[n]
    return np.asarray(signs * half @ frame[:3, :3].T + frame[:3, 3], dtype=np.float64)
