"""Grey pictures of a whole spine and where points lie on them.

Display orientation is the radiologist's sagittal one: rows run caudally, columns posteriorly, so that anterior is on
the left and cranial on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import AIR_HU, Volume
from VertebralGradingLib.spine.spine import Spine

BONE_WINDOW = (-160.0, 640.0)
"""HU shown black and white."""
DIFFERENCE_HU = 300.0
"""Full colour of a difference."""
BEYOND_MM = 40.0
"""Shown above the highest and below the lowest centroid."""
IN_FRONT_MM = 50.0
BEHIND_MM = 70.0
_BACKGROUND = 28
_LABEL_GRAYS = np.array([150, 178, 206], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Overview:
    """A sagittal picture of the whole spine, its scoliosis unrolled: each row has a right-left position of its own.

    Attributes:
        image: (rows, cols) float32 HU, or labels.
        row_step_mm: distance between rows along the patient's S axis.
        col_step_mm: distance between columns along the patient's A axis.
        top_mm: S of row 0 (RAS mm).
        front_mm: A of column 0 (RAS mm).
        right_mm: (rows,) R at which each row was sampled (RAS mm).
    """

    image: NDArray[np.float32]
    row_step_mm: float
    col_step_mm: float
    top_mm: float
    front_mm: float
    right_mm: NDArray[np.float64]

    def project(self, points_ras: NDArray[Any]) -> NDArray[np.float64]:
        """RAS mm (n, 3) -> fractional (row, col) (n, 2) of pixel centres, wherever the points lie sideways."""
        points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
        rows = (self.top_mm - points[:, 2]) / self.row_step_mm
        columns = (self.front_mm - points[:, 1]) / self.col_step_mm
        return np.column_stack([rows, columns])

    def contains(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether (n, 2) fractional (row, col) lie on the picture."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        inside = (pixels >= -0.5) & (pixels <= np.array(self.image.shape) - 0.5)
        return np.logical_and.reduce(inside, axis=1)


def sagittal_overview(
    volume: Volume, spine: Spine, step_mm: float = 1.0, fill: float = AIR_HU, order: int = 1
) -> Overview:
    """Sample the curved sagittal picture through the whole spine.

    The rows lie at equal steps of the patient's S axis; in each the right-left position is that of the spine's curve
    there, linear between chains and constant beyond the ends. Distances along S and A are true.

    Args:
        volume: CT (HU) or labels.
        spine: vertebrae far off the curve do not widen the picture.
        step_mm: distance between rows and between columns.
        fill: value outside the volume.
        order: as in :func:`sampling.sample`; 0 for labels.
    """
    centers = np.array([v.center for v in spine.vertebrae if v.chain >= 0] or spine.centers)
    low, high = _extent(volume)
    top, bottom = _clip(centers[:, 2].max() + BEYOND_MM, centers[:, 2].min() - BEYOND_MM, high[2], low[2])
    front, back = _clip(centers[:, 1].max() + IN_FRONT_MM, centers[:, 1].min() - BEHIND_MM, high[1], low[1])
    heights = top - step_mm * np.arange(int((top - bottom) / step_mm) + 1)
    depths = front - step_mm * np.arange(int((front - back) / step_mm) + 1)
    right = _right_at(spine, heights)
    points = np.empty((len(heights), len(depths), 3))
    points[..., 0] = right[:, None]
    points[..., 1] = depths[None, :]
    points[..., 2] = heights[:, None]
    image = sample(volume, points, order=order, fill=fill).astype(np.float32)
    return Overview(image, step_mm, step_mm, float(top), float(front), right)


def to_gray(image: NDArray[Any], window: tuple[float, float] = BONE_WINDOW) -> NDArray[np.uint8]:
    """HU of any shape -> 0..255, black at and below the window's lower end, white at and above its upper end."""
    low, high = window
    scaled = (np.nan_to_num(np.asarray(image, dtype=np.float32), nan=low) - low) / (high - low)
    return np.rint(255.0 * np.clip(scaled, 0.0, 1.0)).astype(np.uint8)


def difference_rgb(change: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) HU -> (H, W, 3): white where nothing changed, red where brighter, blue where darker."""
    share = np.clip(np.asarray(change, dtype=float) / DIFFERENCE_HU, -1.0, 1.0)
    rgb = np.stack([1.0 - np.clip(-share, 0, 1), 1.0 - np.abs(share), 1.0 - np.clip(share, 0, 1)], -1)
    return np.asarray((255.0 * rgb).astype(np.uint8))


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) where a mask changes from a pixel to the next one, down or to the right."""
    edge = np.zeros_like(mask)
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    return edge


def label_picture(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Labels of any shape -> dark background and light greys that differ between neighbouring numbers."""
    numbers = np.rint(np.maximum(np.asarray(labels), 0)).astype(np.int64)
    return np.where(numbers > 0, _LABEL_GRAYS[numbers % len(_LABEL_GRAYS)], np.uint8(_BACKGROUND)).astype(np.uint8)


def _extent(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest RAS mm (3,) of the volume's voxel centres."""
    ends = [(0, size - 1) for size in volume.shape]
    corners = volume.to_ras(np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3))
    return corners.min(0), corners.max(0)


def _clip(start: float, end: float, highest: float, lowest: float) -> tuple[float, float]:
    """A range (start > end, mm) clipped to the volume; unchanged when they do not meet."""
    clipped = min(start, highest), max(end, lowest)
    return clipped if clipped[0] > clipped[1] else (start, end)


def _right_at(spine: Spine, heights: NDArray[Any]) -> NDArray[np.float64]:
    """R (mm) of the spine's curves at each S, averaged where a curve turns back on itself."""
    used = sorted({v.chain for v in spine.vertebrae if v.chain >= 0}) or range(len(spine.curves))
    curves = [spine.curves[chain] for chain in used]
    path = np.concatenate([c.at(np.append(np.arange(0.0, c.lengths[-1], 0.5), c.lengths[-1])) for c in curves])
    _, place = np.unique(np.rint(path[:, 2]), return_inverse=True)
    count = np.bincount(place)
    height = np.bincount(place, path[:, 2]) / count
    right = np.bincount(place, path[:, 0]) / count
    return np.interp(heights, height, right)
