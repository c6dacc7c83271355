"""Grading rows of heights, whether they were measured just now or stand in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.findings import POSITIONS
from VertebralGradingLib.morphometry.reference import HeightGrade, grade_heights

UNTRUSTED = frozenset(
    ("cut_by_volume_edge", "implant_or_cement", "far_off_curve", "low_confidence_mask", "disc_below_resolution")
)
"""Flags of a vertebra whose heights must not carry the patient's reference.

``low_confidence_mask`` follows from the uncertainty of its edges (:data:`segmentation.uncertainty.DOUBTFUL_MM`);
``disc_below_resolution`` stands in files of earlier versions only.
"""
REFERENCE_FLAGS = ("reference_weak", "implausible_heights")
"""Flags that follow from heights and reference alone."""
IMPLAUSIBLE_EXCESS = 0.35
"""A height this share above its reference is an error of the mask, not a tall vertebra."""
IMPLAUSIBLE_LOSS = 0.92


@dataclass(frozen=True, eq=False)
class HeightRow:
    """What one vertebra's grade follows from; heights are (3,) anterior, middle, posterior.

    Attributes:
        level: its name.
        axis_position: its place on the axis of levels.
        order: its number from cranial to caudal.
        known: whether its level is known.
        heights_mm: as measured.
        sd_mm: their uncertainty.
        filled_mm: had its focal defects not been there, None where it has none.
        trusted: whether it may carry the patient's reference; see :data:`UNTRUSTED`.
    """

    level: str
    axis_position: float
    order: float
    known: bool
    heights_mm: NDArray[np.float64]
    sd_mm: NDArray[np.float64]
    filled_mm: NDArray[np.float64] | None
    trusted: bool


def grade_rows(rows: Sequence[HeightRow]) -> dict[str, tuple[HeightGrade, HeightGrade]]:
    """Each vertebra as it is, and had its focal defects not been there.

    Trusted vertebrae are graded together; each other one is graded with them, but none of them by it.
    """
    known = all(row.known for row in rows)
    carrying = [row for row in rows if row.trusted] or list(rows)
    together = _grade_together(carrying, known)
    results = {}
    for row in rows:
        own = together.get(row.level) or _grade_together([*carrying, row], known)[row.level]
        without = own
        if row.filled_mm is not None:
            others = carrying if row.level in together else [*carrying, row]
            filled = [replace(row, heights_mm=row.filled_mm) if other is row else other for other in others]
            without = _grade_together(filled, known)[row.level]
        results[row.level] = own, without
    return results


def _grade_together(rows: Sequence[HeightRow], known: bool) -> dict[str, HeightGrade]:
    results = grade_heights(
        np.array([row.axis_position if known else row.order for row in rows]),
        np.array([row.heights_mm for row in rows]),
        np.array([row.sd_mm for row in rows]),
        known,
    )
    return {row.level: result for row, result in zip(rows, results, strict=True)}


def height_quantities(result: HeightGrade) -> dict[str, Any]:
    """The part of the evidence that follows from heights and reference alone."""
    return {
        "reference_mm": named(result.reference_mm),
        "reference_sd_mm": named(result.reference_sd_mm),
        "height_loss": named(result.loss),
        "loss_interval": dict(zip(POSITIONS, result.loss_interval.tolist(), strict=True)),
        **_graded_quantities(result),
        "deformity": result.shape,
        "wedge_loss": result.wedge_loss,
        "biconcave_loss": result.biconcave_loss,
        "crush_loss": result.crush_loss,
    }


def defect_quantities(without: HeightGrade) -> dict[str, Any]:
    """The part of the evidence that says what the grade would be without the focal defects."""
    told = {"grade": without.grade, "height_loss": named(without.loss), **_graded_quantities(without)}
    return {"without_defect": told}


def _graded_quantities(result: HeightGrade) -> dict[str, Any]:
    """The loss that is graded (fraction), its 90 % interval, and the chances of the grades."""
    return {
        "graded_loss": result.graded,
        "graded_loss_interval": list(result.graded_interval),
        "grade_probabilities": list(result.probabilities),
    }


def reference_flags(result: HeightGrade) -> tuple[str, ...]:
    """Those of :data:`REFERENCE_FLAGS` that a result raises."""
    implausible = result.loss.min() < -IMPLAUSIBLE_EXCESS or result.loss.max() > IMPLAUSIBLE_LOSS
    raised = {"reference_weak": result.weak, "implausible_heights": implausible}
    return tuple(name for name in REFERENCE_FLAGS if raised[name])


def named(values: NDArray[np.float64]) -> dict[str, float]:
    """(3,) values by the name of their position."""
    return {position: float(value) for position, value in zip(POSITIONS, values, strict=True)}


def from_named(values: dict[str, float]) -> NDArray[np.float64]:
    """(3,) values out of their names."""
    return np.array([values[position] for position in POSITIONS])
