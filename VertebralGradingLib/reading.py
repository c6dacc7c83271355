"""The reader's work on a report: grades of the reader's own, exclusions, the reader's name, and undo.

Every function gives a new report and leaves the one it was given as it is. Points are moved and levels shifted in
:mod:`regrading`, since heights and grades follow from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from VertebralGradingLib.errors import CentroidError, InputError
from VertebralGradingLib.findings import Finding, Reading, Report
from VertebralGradingLib.findings.states import GRADED, NOT_REACHED, TREATED, state_of_grade

EXCLUSIONS: tuple[str, ...] = (
    "physiological wedging",
    "Scheuermann",
    "Cupid's bow",
    "limbus vertebra",
    "Schmorl node",
    "old fracture",
    "treated fracture",
    "haemangioma",
    "congenital",
    "degenerative",
    "metastasis or other lesion",
    "cement or implant",
    "image quality",
)
"""Reasons to leave a vertebra out that are suggested to the reader; any other text is a reason too."""

LIMIT = 100
"""How many steps a :class:`History` takes back at most."""


def set_reader_state(report: Report, level: str, state: str, second: bool = False) -> Report:
    """Give a vertebra the reader's state, or take it back with an empty one.

    An exclusion stays: an excluded vertebra has no final grade, whatever its reader's grade. What was confirmed or
    agreed with goes, since it was another answer.

    Args:
        report: the findings.
        level: which vertebra.
        state: one of :data:`states.GRADED`, or empty.
        second: whether the second reader says so, here and below.

    Raises:
        CentroidError: no such level.
        InputError: not a state with a grade.
    """
    if state and state not in GRADED:
        raise InputError(f"{state!r} is no grade.", f"Choose one of: {', '.join(GRADED)}; or none.")
    return _read(
        report, level, lambda reading: replace(reading, state=state, confirmed=False, agreed=False), second=second
    )


def set_reader_grade(report: Report, level: str, grade: int | None, second: bool = False) -> Report:
    """Give a vertebra the reader's grade 0-3, or take it back with None (:func:`set_reader_state`).

    Raises:
        CentroidError: no such level.
        InputError: not a grade 0-3.
    """
    if grade is not None and (isinstance(grade, bool) or grade not in range(4)):
        raise InputError(f"{grade!r} is no grade.", "Choose one of: 0, 1, 2, 3; or none.")
    return set_reader_state(report, level, "" if grade is None else state_of_grade(int(grade)), second)


def confirm(report: Report, level: str, confirmed: bool = True, second: bool = False) -> Report:
    """Confirm that a deformity is a fracture, or that a treated body is treated; or take that back.

    Raises:
        CentroidError: no such level.
    """
    return _read(report, level, lambda reading: replace(reading, confirmed=confirmed), second=second)


def agree(report: Report, level: str, agreed: bool = True, second: bool = False) -> Report:
    """Note that the reader has looked at the program's own answer and agrees; or take that back.

    Raises:
        CentroidError: no such level.
    """
    return _read(report, level, lambda reading: replace(reading, agreed=agreed), second=second)


def may_agree(finding: Finding | None) -> bool:
    """Whether there is an answer of the program's to agree with: the reader has given no other one."""
    return finding is not None and finding.final_state == finding.state != NOT_REACHED and not finding.excluded


def may_confirm(finding: Finding | None) -> bool:
    """Whether there is a deformity that may be a fracture, or a body that may be treated."""
    if finding is None or finding.excluded:
        return False
    return bool(finding.final_grade) or finding.final_state == TREATED


def exclude(report: Report, level: str, reason: str, second: bool = False) -> Report:
    """Leave a vertebra out for a reason of the reader's; an empty reason takes the exclusion back.

    Raises:
        CentroidError: no such level.
    """
    return _read(report, level, lambda reading: replace(reading, exclusion=" ".join(reason.split())), second=second)


def set_reader(report: Report, name: str, second: bool = False) -> Report:
    """Note who read the study, as ``provenance["reader"]`` or ``"second_reader"``; an empty name removes it."""
    entry = "second_reader" if second else "reader"
    provenance = {key: value for key, value in report.provenance.items() if key != entry}
    name = " ".join(name.split())
    return replace(report, provenance={**provenance, entry: name} if name else provenance)


def graded_anew(before: Finding, after: Finding) -> Finding:
    """A finding whose state was decided again: what was agreed with or confirmed goes where it was another answer."""

    def kept(reading: Reading | None) -> Reading | None:
        if reading is None or before.state == after.state:
            return reading
        return _or_none(replace(reading, agreed=False, confirmed=reading.confirmed and bool(reading.state)))

    return replace(after, reading=kept(after.reading), second_reading=kept(after.second_reading))


def is_edited(report: Report) -> bool:
    """Whether a reader has changed anything: a grade, an exclusion, a point, the levels."""
    noted = any(report.provenance.get(name) for name in ("points_moved", "levels_shifted"))
    return noted or any(finding.reading or finding.second_reading for finding in report.findings)


class History:
    """The reports a reader has gone through, for undo and redo; :data:`LIMIT` steps at most."""

    def __init__(self) -> None:
        self.current: Report | None = None
        self._earlier: list[Report] = []
        self._later: list[Report] = []

    def push(self, report: Report) -> None:
        """Make a report the current one; what was undone is forgotten. A report equal to the current one is no step."""
        if self.current is not None:
            if report == self.current:
                return
            self._earlier = [*self._earlier, self.current][-LIMIT:]
        self.current = report
        self._later.clear()

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier report."""
        return bool(self._earlier)

    @property
    def can_redo(self) -> bool:
        """Whether a report was undone."""
        return bool(self._later)

    def undo(self) -> Report | None:
        """Go back to the report before; None when there is none."""
        return self._step(self._earlier, self._later)

    def redo(self) -> Report | None:
        """Take back the last undo; None when there is none."""
        return self._step(self._later, self._earlier)

    def _step(self, source: list[Report], target: list[Report]) -> Report | None:
        if not source or self.current is None:
            return None
        target.append(self.current)
        self.current = source.pop()
        return self.current


def _read(report: Report, level: str, change: Callable[[Reading], Reading], second: bool) -> Report:
    levels = [finding.level for finding in report.findings]
    if level not in levels:
        raise CentroidError(f"There is no vertebra {level}.", f"Choose one of: {', '.join(levels)}.")

    def changed(finding: Finding) -> Finding:
        if second:
            return replace(finding, second_reading=_consistent(finding, change(finding.second_reading or Reading())))
        return replace(finding, reading=_consistent(finding, change(finding.reading or Reading())))

    findings = tuple(changed(finding) if finding.level == level else finding for finding in report.findings)
    return replace(report, findings=findings)


def _consistent(finding: Finding, reading: Reading) -> Reading | None:
    """A reading without what the reader cannot mean."""
    seen = replace(finding, reading=reading)
    agreed, confirmed = reading.agreed and may_agree(seen), reading.confirmed and may_confirm(seen)
    return _or_none(replace(reading, agreed=agreed, confirmed=confirmed))


def _or_none(reading: Reading) -> Reading | None:
    """A reading that says nothing is none."""
    return None if reading == Reading() else reading
