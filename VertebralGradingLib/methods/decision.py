"""From what morphometry measured on one vertebra to its state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from VertebralGradingLib.findings import Evidence, Hypothesis
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.findings.migration import SCHMORL
from VertebralGradingLib.findings.states import BORDERLINE, NOT_ASSESSED, TREATED, UNDECIDED, state_of_grade
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS

BORDERLINE_CHANCE = 0.10
"""From this chance of grade 1 or more on a vertebra below grade 1 is borderline: the least limit tried at which at most
5 % of unbroken synthetic vertebrae are (``Testing/benchmarks/borderline.py --spines 100 --seed 5000``)."""
_BLOCKING = {
    "far_off_curve": "centroid far off the spine's curve",
    "cut_by_volume_edge": "cut by the edge of the volume",
    "disc_below_resolution": "slices too thick to find this body's edges; give a mask",
    "low_confidence_mask": "the body's edges were not found with confidence",
    "implausible_heights": "heights do not fit any vertebra of this spine",
}
"""Flags that keep a vertebra from being graded, and why."""


@dataclass(frozen=True)
class Decision:
    """State of one vertebra, why it has it, and for an undecided one what it would be by each cause."""

    state: str
    reason: str = ""
    hypotheses: tuple[Hypothesis, ...] = ()


def decide(level: str, said: Evidence | None, flags: Iterable[str], problem: str = "") -> Decision:
    """State of one vertebra.

    Args:
        level: its name; the posterior wall of L5 is low by nature and makes nothing borderline there.
        said: morphometry's evidence, None where it was not measured.
        flags: of the vertebra.
        problem: why it could not be measured; empty where it was.
    """
    raised = set(flags)
    if problem:
        return Decision(NOT_ASSESSED, problem)
    blocked = next((reason for flag, reason in _BLOCKING.items() if flag in raised), "")
    if blocked:
        return Decision(NOT_ASSESSED, blocked)
    if "implant_or_cement" in raised:
        return Decision(TREATED, FLAG_TEXT["implant_or_cement"])
    if said is None or said.grade is None:
        return Decision(NOT_ASSESSED, "it was not measured")
    without = said.quantities.get("without_defect")
    if without is not None and without["grade"] < said.grade:
        return _undecided(said, without)
    return graded(level, said)


def graded(level: str, said: Evidence) -> Decision:
    """State of a vertebra that is graded by its heights, whatever may have been noticed on it."""
    assert said.grade is not None  # callers have made sure
    if said.grade >= 1:
        return Decision(state_of_grade(said.grade))
    chances, posterior = said.quantities.get("grade_probabilities"), said.quantities["height_loss"]["posterior"]
    if chances is not None and 1.0 - chances[0] >= BORDERLINE_CHANCE:
        return Decision(BORDERLINE, f"chance of grade 1 or more {100 * (1 - chances[0]):.0f} %")
    if posterior >= GRADE_BOUNDS[0] and level != "L5":
        return Decision(BORDERLINE, f"posterior loss {100 * posterior:.0f} %")
    return Decision(state_of_grade(0))


def _undecided(said: Evidence, without: dict[str, Any]) -> Decision:
    """A vertebra whose focal defects alone make its grade: an answer for each cause."""
    where = "; ".join(defect["text"] for defect in said.quantities["defects"])
    hypotheses = (_hypothesis(SCHMORL, without), _hypothesis("fracture", {**said.quantities, "grade": said.grade}))
    return Decision(UNDECIDED, f"focal endplate defect ({where})", hypotheses)


def _hypothesis(cause: str, result: dict[str, Any]) -> Hypothesis:
    low, high = result["graded_loss_interval"]
    return Hypothesis(
        cause,
        result["grade"],
        100.0 * result["graded_loss"],
        (100.0 * low, 100.0 * high),
        tuple(result["grade_probabilities"]),
    )
