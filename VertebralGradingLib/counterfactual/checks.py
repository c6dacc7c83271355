"""When a warped picture is not shown as an answer: what in it, or in the vertebra, a warp cannot draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from VertebralGradingLib.counterfactual.field import Field
from VertebralGradingLib.counterfactual.seam import BONE_HU
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask
from VertebralGradingLib.spine.reformation import Grid

LEAST_JACOBIAN = 0.1
"""Below, so little of the CT fills so much of the picture, or the other way round, that nothing true is seen."""
GAS_HU, GAS_SHARE = -200.0, 0.004
"""A body with more of its inside darker than this holds gas: a cleft would grow with the body."""
SEAM_SHARE = 0.35
"""Share of the seam between the arches that may pass through bone."""
OUTSIDE_SHARE = 0.5
"""Share of all movement that may lie in other bone."""
MISSED_MM = 0.5
"""Heights that miss what was asked for by more."""
NO_MASK = frozenset(("cut_by_volume_edge", "low_confidence_mask", "implausible_heights", "disc_below_resolution"))
"""Flags of a body whose edges cannot be trusted."""
_AROUND_MM, _INSIDE_MM = 6.0, 2.0


@dataclass(frozen=True)
class Checked:
    """Numbers behind the verdict.

    Attributes:
        least_jacobian: see :class:`warp.Warp`.
        missed_mm: largest difference of a height from what was asked for.
        gas_share: of the body's inside.
        seam_share: see :class:`seam.Seam`.
        outside_share: see :func:`outside_share`.
        flags: of the vertebra.
        read_apart: how far from its grade the body network reads the picture (:mod:`reading`); NaN where it was not
            asked or finds no body, as in one true picture of eight.
        read_allowed: how far it may.
    """

    least_jacobian: float
    missed_mm: float
    gas_share: float
    seam_share: float
    outside_share: float
    flags: tuple[str, ...] = ()
    read_apart: float = float("nan")
    read_allowed: float = float("inf")

    @property
    def reasons(self) -> list[str]:
        """Why there is no convincing picture, in words; none where there is one."""
        found = {
            "the body's edges are not known well enough": bool(NO_MASK & set(self.flags)),
            "there is metal or cement in the body": "implant_or_cement" in self.flags,
            "there is gas in the body": self.gas_share > GAS_SHARE,
            "bone would be stretched or pressed more than ten times": self.least_jacobian < LEAST_JACOBIAN,
            f"the heights miss what was asked for by {self.missed_mm:.1f} mm": self.missed_mm > MISSED_MM,
            "the arches behind the body cannot be parted": self.seam_share > SEAM_SHARE,
            "other bone beside the vertebra would be bent": self.outside_share > OUTSIDE_SHARE,
        }
        found[f"it is read {self.read_apart:.1f} grades from what was asked for"] = self.read_apart > self.read_allowed
        return [reason for reason, applies in found.items() if applies]


def gas_share(ct: Volume, body: BodyMask) -> float:
    """Share of a body's inside that is gas."""
    box = body.box(margin=1)
    grid = body.grid.box([s.start for s in box], [s.stop for s in box])
    inside = distance_transform_edt(body.occupancy[box] >= 0.5, sampling=STEP_MM) > _INSIDE_MM
    if not inside.any():
        return 0.0
    return float((sample(ct, grid.points()[inside]) < GAS_HU).mean())


def outside_share(
    ct: Volume,
    field: Field,
    grid: Grid,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    source: NDArray[np.float64],
) -> float:
    """Share of the squared movement (mm) that lies in bone beside the vertebra and is no rigid one of the spine above.

    In millimetres, not in HU: arches are so much brighter than a porous body that they would outweigh it. Soft tissue
    may give way, and what is dense in front of the spine is a vessel.

    Args:
        ct: HU.
        field: the warp.
        grid: of the picture.
        before: the body on the grid as it is.
        after: the body in the warped picture.
        source: where its samples are read (:meth:`field.Field.source`).
    """
    points = grid.points()
    moved = np.square(source - points).sum(-1)
    body = before | after
    if not body.any():
        return 0.0
    ahead = field.in_frame(points)[..., 0]
    bone = (sample(ct, source) > BONE_HU) & (ahead <= ahead[body].max() + _AROUND_MM)
    rest = np.minimum(moved, np.square(source - field.rigidly(points)).sum(-1)) * bone
    near = distance_transform_edt(~body, sampling=_spacing(grid)) <= _AROUND_MM
    inside, beside = float(moved[near].sum()), float(rest[~near].sum())
    return 0.0 if inside + beside <= 0.0 else beside / (inside + beside)


def _spacing(grid: Grid) -> tuple[float, float, float]:
    """Distances between the samples of a grid (mm)."""
    row = float(np.linalg.norm(grid.origin[1] - grid.origin[0]))
    return row, float(np.linalg.norm(grid.column_step[0])), float(np.linalg.norm(grid.depth_step[0]))
