"""From what morphometry measured on one vertebra to its state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from VertebralGradingLib.findings import Evidence, Finding, Hypothesis
from VertebralGradingLib.findings.flags import obstacle
from VertebralGradingLib.findings.states import BORDERLINE, FRACTURE, NOT_ASSESSED, SCHMORL, UNDECIDED, state_of_grade
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS

BORDERLINE_CHANCE = 0.10
"""From this chance of grade 1 or more on a vertebra below grade 1 is borderline: the least limit tried at which at most
5 % of unbroken synthetic vertebrae are (``Testing/benchmarks/borderline.py --spines 100 --seed 5000``)."""

WIDEST = 0.125
"""Half the width of the 90 % interval of the graded loss from which on a vertebra is not assessed.

That is the way from the middle of grade 1 to that of grade 2 (22.5 to 32.5 %) and a quarter more. What it refuses and
how wrong the refused losses are: ``Testing/benchmarks/refusals.py --seed 7000``, and with other spines by default.
"""


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
    if problem:
        return Decision(NOT_ASSESSED, problem)
    kept = obstacle(set(flags))
    if kept is not None:
        return Decision(*kept)
    if said is None or said.grade is None:
        return Decision(NOT_ASSESSED, "it was not measured")
    if half_width(said) > WIDEST:
        return Decision(NOT_ASSESSED, f"too uncertain: the loss is known to ± {100 * half_width(said):.0f} % only")
    without = said.quantities.get("without_defect")
    if without is not None and without["grade"] < said.grade:
        return _undecided(said, without)
    return graded(level, said)


def half_width(said: Evidence) -> float:
    """Half the width of the 90 % interval of the graded loss (fraction)."""
    low, high = said.quantities["graded_loss_interval"]
    return float(high - low) / 2.0


def graded(level: str, said: Evidence) -> Decision:
    """State of a vertebra that is graded by its heights, whatever may have been noticed on it."""
    assert said.grade is not None  # callers have made sure
    if said.grade >= 1:
        return Decision(state_of_grade(said.grade))
    chances, posterior = said.quantities.get("grade_probabilities"), said.quantities["height_loss"]["posterior"]
    chance = 0.0 if chances is None else sum(chances[1:])
    if chance >= BORDERLINE_CHANCE - 1e-6:
        return Decision(BORDERLINE, f"chance of grade 1 or more {100 * chance:.0f} %")
    if posterior >= GRADE_BOUNDS[0] and level != "L5":
        return Decision(BORDERLINE, f"posterior loss {100 * posterior:.0f} %")
    return Decision(state_of_grade(0))


def _undecided(said: Evidence, without: dict[str, Any]) -> Decision:
    """A vertebra whose focal defects alone make its grade: an answer for each cause."""
    where = "; ".join(defect["text"] for defect in said.quantities["defects"])
    hypotheses = (_hypothesis(SCHMORL, without), _hypothesis(FRACTURE, {**said.quantities, "grade": said.grade}))
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


def decided(finding: Finding, decision: Decision) -> Finding:
    """A finding with the state that was decided, and the numbers that go with it by its own evidence."""
    said = finding.evidence_of("morphometry")
    finding = replace(
        finding,
        state=decision.state,
        reason=decision.reason,
        hypotheses=decision.hypotheses,
        loss_percent=None,
        loss_interval_percent=None,
        grade_probabilities=None,
        score=None,
        grade_interval=None,
        deformity="",
    )
    if said is None:
        return finding
    numbers = said.quantities
    finding = replace(finding, heights_mm=dict(numbers["heights_mm"]), height_loss=dict(numbers["height_loss"]))
    if not finding.gradable:
        return finding
    low, high = numbers["graded_loss_interval"]
    return replace(
        finding,
        loss_percent=100.0 * numbers["graded_loss"],
        loss_interval_percent=(100.0 * low, 100.0 * high),
        grade_probabilities=tuple(numbers["grade_probabilities"]),
        score=said.score,
        grade_interval=said.grade_interval,
        deformity=str(numbers["deformity"]),
    )
