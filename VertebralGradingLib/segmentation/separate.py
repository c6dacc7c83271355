"""Two bodies cannot share a place: where neighbours found one by one overlap, the border runs through the middle.

Where a disc is thinner than the voxels, or bridged at its rim, both endplates look like one bright band, and each body
claims it up to its far side. The middle of what both claim is the best estimate of the disc there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask
from VertebralGradingLib.spine.reformation import sample_where

MIN_DISC_MM = 1.0
"""Least distance left between two bodies where they were in contact."""


def separate(upper: BodyMask, lower: BodyMask) -> tuple[BodyMask, BodyMask]:
    """Take from two neighbouring bodies what both claim and leave a thin disc between them.

    Each gives half; a body that was found with less than half the other's confidence gives all.

    Args:
        upper: the cranial body.
        lower: the caudal one.

    Returns:
        The two bodies without overlap; themselves when there was none.
    """
    share = 0.5
    if min(upper.confidence, lower.confidence) < 0.5 * max(upper.confidence, lower.confidence):
        share = 1.0 if upper.confidence < lower.confidence else 0.0
    cut_upper = _cut(upper, lower, share, from_below=True)
    cut_lower = _cut(lower, upper, 1.0 - share, from_below=False)
    return cut_upper, cut_lower


def _cut(body: BodyMask, other: BodyMask, share: float, from_below: bool) -> BodyMask:
    if share == 0 or other.grid.affine is None or np.linalg.norm(body.centroid() - other.centroid()) > 60.0:
        return body
    box = body.box(margin=1)
    part = body.grid.box([side.start for side in box], [side.stop for side in box])
    mine = body.occupancy[box]
    shared = (sample_where(other.as_volume(), part) >= 0.5) & (mine >= 0.5)
    depth = shared.sum(axis=0) * STEP_MM[0]
    if depth.max() < STEP_MM[0]:
        return body
    loss = np.where(depth > 0, depth * share + MIN_DISC_MM / 2, 0.0)
    edge = _edge_row(mine, from_below)
    row = np.arange(len(mine))[:, None, None]
    sign = 1.0 if from_below else -1.0
    limit = edge - sign * loss / STEP_MM[0]
    keep = np.clip(0.5 + sign * (limit - row), 0.0, 1.0)
    occupancy = body.occupancy.copy()
    occupancy[box] = np.where(loss > 0, np.minimum(mine, keep), mine)
    return replace(body, occupancy=occupancy)


def _edge_row(occupancy: NDArray[np.float32], lowest: bool) -> NDArray[np.float64]:
    """(columns, depth) fractional row of a body's lowest or highest edge."""
    filled = occupancy >= 0.5
    if lowest:
        filled, occupancy = filled[::-1], occupancy[::-1]
    first = filled.argmax(axis=0)
    inside = np.take_along_axis(occupancy, first[None], 0)[0].astype(np.float64)
    before = np.take_along_axis(occupancy, np.maximum(first - 1, 0)[None], 0)[0].astype(np.float64)
    row = first - np.clip((inside - 0.5) / np.maximum(inside - before, 1e-6), 0, 1)
    return len(occupancy) - 1 - row if lowest else row
