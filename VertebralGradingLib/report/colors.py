"""The colour and the words of each grade, from ``Resources/colors/grades.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.resources import resource

NOT_ASSESSED = "not_assessed"


@dataclass(frozen=True)
class GradeColor:
    """How one grade is shown.

    Attributes:
        key: "0" to "3", or "not_assessed".
        name: "normal", "mild", "moderate", "severe", or "not assessed".
        color: "#rrggbb".
    """

    key: str
    name: str
    color: str

    @property
    def label(self) -> str:
        """The words of a table cell: "2 moderate", or "not assessed"."""
        return self.name if self.key == NOT_ASSESSED else f"{self.key} {self.name}"

    @property
    def caption(self) -> str:
        """The words of a caption: "grade 2, moderate", or "not assessed"."""
        return self.name if self.key == NOT_ASSESSED else f"grade {self.key}, {self.name}"

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


@cache
def grade_colors() -> dict[str, GradeColor]:
    """Every grade's colour by key, in the table's order."""
    table = json.loads(resource("colors/grades.json").read_text(encoding="utf-8"))["grades"]
    return {key: GradeColor(key, entry["name"], entry["color"]) for key, entry in table.items()}


def color_of_grade(grade: int | None) -> GradeColor:
    """The colour of a grade; None and unknown numbers are "not assessed"."""
    colors = grade_colors()
    return colors.get(str(grade), colors[NOT_ASSESSED])


def color_of(finding: Finding) -> GradeColor:
    """The colour of a finding's final grade."""
    return color_of_grade(finding.final_grade)


def caption(finding: Finding) -> str:
    """The final grade of a finding in words.

    "grade 2 (reader)" where the reader has changed it, "excluded" where the reader leaves the vertebra out, and
    "reader decides" where an exclusion is suggested instead of a grade.
    """
    if finding.excluded:
        return "excluded"
    if finding.changed_by_reader:
        return f"grade {finding.final_grade} (reader)"
    undecided = finding.undecided and finding.final_grade is None
    return "reader decides" if undecided else color_of(finding).caption
