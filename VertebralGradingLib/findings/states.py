"""The state of a vertebra: one word each, the same in JSON, CSV, command line, report, panel, segments and sentences.

How each counts stands in the README's table of states.
"""

from __future__ import annotations

BORDERLINE, UNDECIDED, TREATED = "borderline", "undecided", "treated"
NOT_ASSESSED, NOT_REACHED = "not assessed", "not reached"
GRADED = ("grade 0", BORDERLINE, "grade 1", "grade 2", "grade 3")
"""States with a grade, mildest first; they count as assessed."""
STATES = (*GRADED, UNDECIDED, TREATED, NOT_ASSESSED, NOT_REACHED)

MEANING: dict[str, str] = {
    "grade 0": "the graded loss is below 20 %",
    BORDERLINE: "below grade 1, which cannot be excluded; compare Genant 0.5",
    "grade 1": "the graded loss is 20 % or more",
    "grade 2": "the graded loss is 25 % or more",
    "grade 3": "the graded loss is 40 % or more",
    UNDECIDED: "a focal endplate defect alone makes the grade; the reader decides",
    TREATED: "cement or metal in or near the body; the reader confirms",
    NOT_ASSESSED: "not graded, for the reason given",
    NOT_REACHED: "planned, but the run stopped before it",
}
"""Every state and what it means."""


SCHMORL, FRACTURE = "Schmorl node", "fracture"
"""The causes that an undecided vertebra's focal defect may have."""


def state_of_grade(grade: int) -> str:
    """Grade 0-3 -> its state."""
    return f"grade {grade}"


def grade_of_state(state: str) -> int | None:
    """State -> grade 0-3; 0 for borderline, which is below grade 1; None for states without a grade."""
    if state == BORDERLINE:
        return 0
    return int(state[-1]) if state in GRADED else None
