"""How well a body that was found overlaps with another, or with a mask."""

from __future__ import annotations

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import BodyMask


def overlap(body: BodyMask, mask: Volume, label: int) -> float:
    """Dice of a body block with a label of a mask, on the block's samples."""
    true = sample(mask, body.grid.points(), order=0, fill=0) == label
    mine = body.occupancy >= 0.5
    return float(2 * (true & mine).sum() / max(true.sum() + mine.sum(), 1))


def dice(body: BodyMask, other: BodyMask) -> float:
    """Dice of two body blocks."""
    affine = other.grid.affine
    assert affine is not None  # body blocks are rigid
    theirs = sample(Volume(other.occupancy, affine), body.grid.points(), fill=0.0) >= 0.5
    mine = body.occupancy >= 0.5
    return float(2 * (theirs & mine).sum() / max(theirs.sum() + mine.sum(), 1))
