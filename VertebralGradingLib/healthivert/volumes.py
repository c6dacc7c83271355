"""The pseudo-healthy vertebra in patient space: CT and body on one rigid grid, with its own affine. numpy and scipy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from VertebralGradingLib.healthivert.calibration import Calibration
from VertebralGradingLib.healthivert.fusion import HALF_MM, DrawnStack, fused
from VertebralGradingLib.healthivert.preparation import to_hu
from VertebralGradingLib.healthivert.rhlv import RelativeHeightLoss, Variant, View, relative_height_loss
from VertebralGradingLib.healthivert.stacks import INSIDE, BodyFrame
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.study import MeasuredVertebra

Floats = NDArray[np.float64]
MARGIN_MM = 12.0
"""How much of the surroundings is shown on either side of the body."""


@dataclass(frozen=True, eq=False)
class PseudoHealthyVolumes:
    """One vertebra as it is and as it might have been, (R, C, D) at 1 mm: rows caudal, columns posterior, depth left.

    Attributes:
        affine: (4, 4) index -> RAS mm.
        original: HU as scanned.
        healthy: HU in the networks' window where something was drawn; the parts above and below are moved to make room.
        body: the body as it is.
        healthy_body: the pseudo-healthy one.
    """

    affine: Floats
    original: NDArray[np.float32]
    healthy: NDArray[np.float32]
    body: NDArray[np.bool_]
    healthy_body: NDArray[np.bool_]

    def relative_height_loss(self, variant: Variant = "as_coded", view: View = "sagittal") -> RelativeHeightLoss:
        """By the masks (:func:`rhlv.relative_height_loss`).

        Raises:
            MaskError: they have no slice in common.
        """
        return relative_height_loss(self.body, self.healthy_body, variant, view)


def closed_volumes(
    ct: Volume,
    item: MeasuredVertebra,
    stacks: Sequence[DrawnStack],
    size: int,
    calibration: Calibration,
    frame: BodyFrame | None = None,
) -> PseudoHealthyVolumes:
    """Close the gap of a drawn vertebra at its expected height, and keep the grid.

    Inside the expected height stands what was drawn, the mean of both views where both have; farther to the side than
    either reaches the vertebra itself is stretched. Beyond it the CT is moved, up and down by half of what was
    added.

    Args:
        ct: HU.
        item: the vertebra, measured.
        stacks: its drawn slices.
        size: rows and columns.
        calibration: of the heights that were drawn.
        frame: in which the slices stand; the body's own by default. What follows the spine's curve is brought back.
    """
    assert item.measurement is not None  # only measured vertebrae come here
    frame = frame or BodyFrame.of(item)
    half = int(np.ceil(frame.half_width_mm + MARGIN_MM))
    left = np.arange(-half, half + 1, dtype=np.float64)
    grid = frame.grid("sagittal", left, size)
    points = grid.points()
    original = np.asarray(sample(ct, points), dtype=np.float32)
    body = sample(item.measurement.body.as_volume(), points, fill=0.0) >= INSIDE
    behind = np.arange(size, dtype=np.float64) - (size - 1) / 2
    factor = calibration.factor(behind / frame.half_depth_mm, left / frame.half_width_mm)
    expected = fused(stacks, behind, left).scaled(factor)
    own_height = fused([stack.as_it_is() for stack in stacks], behind, left).height
    height, middle, own = (_everywhere(values) for values in (expected.height, expected.middle, own_height))
    rows = np.arange(size, dtype=float)[:, None, None]
    share = (rows - middle) / (height / 2)  # -1 at the top of the expected vertebra, 1 at its bottom
    inside = np.abs(share) <= 1.0
    context = rows + np.where(share < 0, 0.5, -0.5) * (height - own)
    where = np.where(inside, middle + share * own / 2, context)
    columns, depths = np.meshgrid(np.arange(size), np.arange(len(left)), indexing="ij")
    at = np.stack([where, *(np.broadcast_to(one, where.shape) for one in (columns, depths))])
    healthy = map_coordinates(original, at, order=1, mode="nearest")
    drawn = _drawn(stacks, (rows - middle) / factor, behind, left)
    healthy = np.where(inside & np.isfinite(drawn), to_hu(np.nan_to_num(drawn)), healthy).astype(np.float32)
    filled = (rows >= expected.top) & (rows <= expected.bottom)
    flat = replace(frame, bent=None).grid("sagittal", left, size)
    affine = flat.affine
    assert affine is not None  # frames are rigid
    if frame.bent is None:
        return PseudoHealthyVolumes(affine, original, healthy, body, filled)
    index = np.moveaxis(grid.to_index(flat.points()), -1, 0)

    def back(values: NDArray[Any], order: int = 1) -> NDArray[Any]:
        return np.asarray(map_coordinates(values, index, order=order, mode="nearest"))

    here, there = (back(mask.astype(np.uint8), 0) > 0 for mask in (body, filled))
    return PseudoHealthyVolumes(affine, np.asarray(sample(ct, flat.points())), back(healthy), here, there)


def _everywhere(values: Floats) -> Floats:
    """Values that are known in part, elsewhere those of the nearest place."""
    nearest = distance_transform_edt(np.isnan(values), return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def _drawn(stacks: Sequence[DrawnStack], down_mm: Floats, behind_mm: Floats, left_mm: Floats) -> Floats:
    """(R, C, D) what was drawn, in -1..1, so far below the vertebra's middle; NaN where no view has drawn."""
    total, count = np.zeros(down_mm.shape), np.zeros(down_mm.shape)
    y, z = np.meshgrid(behind_mm, left_mm, indexing="ij")
    for stack in stacks:
        across, along = (z, y) if stack.view == "sagittal" else (y, z)
        step = float(stack.offsets_mm[1] - stack.offsets_mm[0]) if len(stack.offsets_mm) > 1 else 1.0
        number = (across - stack.offsets_mm[0]) / step
        last = len(stack.offsets_mm) - 1
        known = (number * step >= -HALF_MM) & ((number - last) * step <= HALF_MM)
        number = np.clip(number, 0, last)
        column = along + (stack.fine.shape[2] - 1) / 2
        smooth, raw, middle = (
            np.interp(number, np.arange(last + 1), one) for one in (stack.smooth_height, stack.height, stack.middle)
        )
        row = middle + down_mm * raw / smooth  # slices are stretched to the median height, as the body is
        at = np.stack([np.broadcast_to(one, down_mm.shape) for one in (number, row, column)])
        values = map_coordinates(stack.fine, at, order=1, mode="nearest")
        inside = known & (np.abs(down_mm) <= smooth / 2)
        total += np.where(inside, values, 0.0)
        count += inside
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
