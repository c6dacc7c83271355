"""A CT in thicker slices, as a scanner would have made of the same patient."""

from __future__ import annotations

import numpy as np

from VertebralGradingLib.image.volume import Volume


def thicker(ct: Volume, slice_mm: float) -> Volume:
    """Average slabs along the voxel axis nearest to the patient's own, one slab beside the other.

    Args:
        ct: HU; where its slices are as thick already, it is returned as it is.
        slice_mm: thickness and distance of the new slices; a slab may begin and end within a slice of ``ct``.

    Returns:
        int16 HU; what is left over at the upper end of the axis is lost.
    """
    axis = int(np.abs(ct.affine[2, :3] / ct.spacing).argmax())
    factor = slice_mm / float(ct.spacing[axis])
    if factor < 1.0 + 1e-3:
        return ct
    size = ct.shape[axis]
    start = np.arange(int(np.floor(size / factor + 1e-6)))[:, None] * factor
    voxel = np.arange(size)[None]
    weight = np.clip(np.minimum(start + factor, voxel + 1) - np.maximum(start, voxel), 0.0, None) / factor
    moved = np.moveaxis(ct.array, axis, -1).astype(np.float32) @ weight.T.astype(np.float32)
    first = np.zeros(3)
    first[axis] = (factor - 1.0) / 2.0
    affine = ct.affine.copy()
    affine[:3, axis] *= factor
    affine[:3, 3] = ct.to_ras(first)
    return Volume(np.rint(np.moveaxis(moved, -1, axis)).astype(np.int16), affine)
