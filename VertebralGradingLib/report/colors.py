"""The colour of each state, from ``Resources/colors/grades.json``, and a state as a caption."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.findings.states import NOT_ASSESSED, state_of_grade
from VertebralGradingLib.resources import resource


@dataclass(frozen=True)
class StateColor:
    """How one state is shown.

    Attributes:
        state: one of :data:`states.STATES`; also the word beside the colour.
        color: "#rrggbb".
    """

    state: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


@cache
def state_colors() -> dict[str, StateColor]:
    """Every state's colour, in the table's order."""
    table = json.loads(resource("colors/grades.json").read_text(encoding="utf-8"))["states"]
    return {state: StateColor(state, color) for state, color in table.items()}


def shown_colors(findings: Iterable[Finding]) -> list[StateColor]:
    """The colours of all grades, and of the other states that occur: the key of a picture."""
    shown = {color_of(finding).state for finding in findings} | {state_of_grade(grade) for grade in range(4)}
    return [color for state, color in state_colors().items() if state in shown]


def color_of_state(state: str) -> StateColor:
    """The colour of a state; that of "not assessed" for a word that is none."""
    return state_colors().get(state, state_colors()[NOT_ASSESSED])


def color_of_grade(grade: int | None) -> StateColor:
    """The colour of a grade; that of "not assessed" for None."""
    return color_of_state(NOT_ASSESSED if grade is None else state_of_grade(grade))


def color_of(finding: Finding) -> StateColor:
    """The colour of a finding's final state; an excluded one has that of "not assessed"."""
    return color_of_state(NOT_ASSESSED if finding.excluded else finding.final_state)


def caption(finding: Finding) -> str:
    """The final state of a finding, such as "grade 2", "borderline", "grade 1 (reader)" or "excluded"."""
    if finding.excluded:
        return "excluded"
    return f"{finding.final_state} (reader)" if finding.changed_by_reader else finding.final_state
