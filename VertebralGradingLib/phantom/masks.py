"""Body masks straight from the formulas, without a CT: fast, at any voxel size."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.body import body_depth
from VertebralGradingLib.phantom.columns import COLUMNS, View
from VertebralGradingLib.phantom.field import Prepared
from VertebralGradingLib.spine.anatomy import VERSE

_LABEL = {level: label for label, level in VERSE.items()}
_MARGIN_MM = 8.0
_STRIDE = 4
_SURE_MM = 2.5
"""At voxels of 0.5 mm, where eight corners are 2 mm apart."""
_CHUNK = 1 << 14


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
        inside = _inside(ready, n, affine, begin, end)
        part = labels[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
        part[inside & (part == 0)] = _LABEL[level]
    return Volume(labels, affine)


def _inside(
    ready: Prepared, n: int, affine: NDArray[np.float64], begin: NDArray[np.intp], end: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Voxels from index ``begin`` up to ``end`` whose centres lie in a body.

    Found on every fourth voxel first; between eight of these that agree and lie farther than :data:`_SURE_MM` from the
    surface, nothing else is looked at.
    """
    to_own = ready.inverse[n] @ affine
    row = torch.from_numpy(ready.spine.vertebrae[n].copy())
    p = SimpleNamespace(**dict(zip(COLUMNS, row.unbind(), strict=True)))

    def depth(index: NDArray[np.intp]) -> NDArray[np.float64]:
        found = np.empty(len(index))
        for start in range(0, len(index), _CHUNK):
            own = index[start : start + _CHUNK] @ to_own[:3, :3].T + to_own[:3, 3]
            u, v, w = torch.from_numpy(np.ascontiguousarray(own.T))
            found[start : start + _CHUNK] = body_depth(u, v, w, p)["depth"].numpy()
        return found

    cells = -(-(end - begin) // _STRIDE)
    corners = depth(begin + _STRIDE * np.indices((cells + 1).tolist()).reshape(3, -1).T).reshape(cells + 1)
    eight = np.stack([corners[a : a + cells[0], b : b + cells[1], c : c + cells[2]] for a, b, c in np.ndindex(2, 2, 2)])
    sure = _SURE_MM * np.linalg.norm(affine[:3, 0]) / 0.5
    inside, unsure = eight.min(0) > 0, (eight.min(0) < sure) & (eight.max(0) > -sure)
    for axis in range(3):
        inside, unsure = np.repeat(inside, _STRIDE, axis), np.repeat(unsure, _STRIDE, axis)
    open_ = np.argwhere(unsure)
    inside[tuple(open_.T)] = depth(begin + open_) > 0
    size = end - begin
    return inside[: size[0], : size[1], : size[2]]


def _corners(ready: Prepared, n: int) -> NDArray[np.float64]:
    """(8, 3) RAS mm, a box around one body."""
    p = View(ready.spine.vertebrae[n])
    half = np.array([1.25 * p.half_width, 1.35 * p.half_depth, 0.75 * p.height + 6.0])
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    frame = ready.frames[n]
    return np.asarray(signs * half @ frame[:3, :3].T + frame[:3, 3], dtype=np.float64)
