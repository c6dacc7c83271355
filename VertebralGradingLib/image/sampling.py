"""The one sampler: values of a volume at RAS points, reading the voxels where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import AIR_HU, Volume

_CHUNK = 1 << 15
_HALF = 0.5


def sample(
    volume: Volume, points_ras: NDArray[Any], order: int = 1, fill: float = AIR_HU
) -> NDArray[np.float32] | NDArray[Any]:
    """Interpolate a volume at points.

    Args:
        volume: voxels of any real type; never copied as a whole.
        points_ras: (..., 3) RAS mm.
        order: 0 nearest (labels, keeps the type), 1 trilinear, 3 cubic spline (rings at metal).
        fill: value farther than half a voxel outside the outermost voxel centres.

    Returns:
        (...) float32, or the volume's own type for order 0.

    Raises:
        ValueError: another order.
    """
    shape = points_ras.shape[:-1]
    points = np.asarray(points_ras).reshape(-1, 3)
    if order == 3:
        return _cubic(volume, points, fill).reshape(shape)
    if order not in (0, 1):
        raise ValueError(f"order must be 0, 1 or 3, not {order}")
    flat, strides = _flat(volume.array)
    inverse = np.linalg.inv(volume.affine)
    out = np.empty(len(points), dtype=volume.array.dtype if order == 0 else np.float32)
    kernel = _nearest if order == 0 else _linear
    for start in range(0, len(points), _CHUNK):  # chunks stay in the cache
        part = slice(start, start + _CHUNK)
        index = inverse[:3, :3] @ points[part].T + inverse[:3, 3:]
        out[part] = kernel(flat, strides, volume.shape, index, fill)
    return out.reshape(shape)


def _flat(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, int, int]]:
    """One-dimensional view of the voxels and the step of each axis in it; copies only voxels that have no order."""
    if array.flags.f_contiguous:
        _, nj, _ = array.shape
        return array.reshape(-1, order="F"), (1, array.shape[0], array.shape[0] * nj)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array.reshape(-1), (array.shape[1] * array.shape[2], array.shape[2], 1)


def _nearest(flat: Any, strides: Any, shape: Any, index: NDArray[np.float64], fill: float) -> NDArray[Any]:
    offset = np.zeros(index.shape[1], dtype=np.intp)
    inside = np.ones(index.shape[1], dtype=bool)
    for axis in range(3):
        nearest = np.rint(index[axis]).astype(np.intp)
        inside &= (nearest >= 0) & (nearest < shape[axis])
        offset += np.clip(nearest, 0, shape[axis] - 1) * strides[axis]
    return np.where(
        inside,
        flat[offset],
        np.asarray(max(fill, np.iinfo(flat.dtype).min) if flat.dtype.kind in "iu" else fill, dtype=flat.dtype),
    )


def _linear(flat: Any, strides: Any, shape: Any, index: NDArray[np.float64], fill: float) -> NDArray[np.float32]:
    base = np.zeros(index.shape[1], dtype=np.intp)
    inside = np.ones(index.shape[1], dtype=bool)
    steps, weights = [], []
    for axis in range(3):
        x, size = index[axis], shape[axis]
        inside &= (x >= -_HALF) & (x <= size - 1 + _HALF)
        x = np.clip(x, 0, size - 1)
        lower = np.minimum(x.astype(np.intp), size - 2)
        weights.append((x - lower).astype(np.float32))
        base += lower * strides[axis]
        steps.append(strides[axis])
    wi, wj, wk = weights
    si, sj, sk = steps

    def along_k(offset: int) -> NDArray[np.float32]:
        low = flat.take(base + offset).astype(np.float32)
        high = flat.take(base + (offset + sk)).astype(np.float32)
        return low + wk * (high - low)

    def along_j(offset: int) -> NDArray[np.float32]:
        low, high = along_k(offset), along_k(offset + sj)
        return low + wj * (high - low)

    low, high = along_j(0), along_j(si)
    value = low + wi * (high - low)
    if not inside.all():
        value[~inside] = fill
    return value


def _cubic(volume: Volume, points: NDArray[Any], fill: float) -> NDArray[np.float32]:
    """Cubic spline on the crop around the points only."""
    from scipy.ndimage import map_coordinates

    index = volume.to_index(points)
    size = np.array(volume.shape)
    inside = ((index >= -_HALF) & (index <= size - 1 + _HALF)).all(1)
    out = np.full(len(points), fill, dtype=np.float32)
    if not inside.any():
        return out
    margin = 12  # the spline's influence has died out
    low = np.clip(np.floor(index[inside].min(0)).astype(int) - margin, 0, size - 2)
    high = np.clip(np.ceil(index[inside].max(0)).astype(int) + margin + 1, low + 2, size)
    crop = volume.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    out[inside] = map_coordinates(crop, (index[inside] - low).T, order=3, mode="nearest", output=np.float32)
    return out
