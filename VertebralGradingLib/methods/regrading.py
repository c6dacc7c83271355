"""Grading a report again: after a reader has moved points, or under the names of other levels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.flags import EARLIER
from VertebralGradingLib.findings.states import NOT_ASSESSED, UNDECIDED
from VertebralGradingLib.methods.considerations import considered
from VertebralGradingLib.methods.decision import Decision, decide, decided, graded
from VertebralGradingLib.morphometry.height_rows import (
    REFERENCE_FLAGS,
    UNTRUSTED,
    HeightRow,
    defect_quantities,
    from_named,
    grade_rows,
    height_quantities,
    named,
    reference_flags,
)
from VertebralGradingLib.morphometry.heights import heights_from_points
from VertebralGradingLib.morphometry.reference import HeightGrade
from VertebralGradingLib.reading import graded_anew
from VertebralGradingLib.spine.anatomy import GRADABLE, ORDER, axis_position

_LAST_FLAGS = (*REFERENCE_FLAGS, "methods_disagree", "reader_points")
"""Flags that come and go while a reader works, in the order in which they stand at the end of a finding's flags."""
_SHIFTABLE = tuple(level for level in ORDER if level in GRADABLE and level != "T13")
"""Levels that can be shifted, cranial to caudal."""


def move_points(report: Report, level: str, points_ras: NDArray[np.float64], accept: bool = False) -> Report:
    """Recompute a whole report after a reader moved the points of one vertebra. Pure numpy, a few milliseconds.

    Args:
        report: findings with morphometry's evidence.
        level: which vertebra.
        points_ras: (6, 3) RAS mm in the order of :data:`morphometry.POINT_NAMES`.
        accept: the reader has judged a vertebra that has no grade and wants one by its heights. Otherwise only its
            heights and evidence change.

    Raises:
        CentroidError: the level has no morphometry, not six points, or two of them coincide or are swapped.
    """
    own = next((f for f in report.findings if f.level == level and f.evidence_of("morphometry") is not None), None)
    if own is None:
        raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
    heights = heights_from_points(points_ras, np.array(_quantities(own)["up_ras"]))
    moved = [_with_points(own, points_ras, heights) if f is own else f for f in report.findings]
    provenance = {
        **report.provenance,
        "points_moved": list(dict.fromkeys([*report.provenance.get("points_moved", []), level])),
    }
    findings = _graded_anew(moved, level if accept else None)
    return replace(report, findings=findings, study=dict(report.study), provenance=provenance)


def shift_levels(report: Report, steps: int) -> Report:
    """Rename all levels of a report, and grade the same heights again as those of the new levels. Pure numpy.

    Points, heights and what the reader has said stay with their vertebra. ``provenance["levels_shifted"]`` is the sum
    of all steps. What other methods than morphometry say stays as it is.

    Args:
        report: findings with standard names.
        steps: how many levels to caudal; with 1, T12 becomes L1 and L5 becomes L6.

    Raises:
        CentroidError: levels are not known, one is T13, or one would leave T1 to L6.
    """
    names = {finding.level: _shifted(finding.level, steps) for finding in report.findings}
    total = report.provenance.get("levels_shifted", 0) + steps
    provenance = {key: value for key, value in report.provenance.items() if key != "levels_shifted"}
    if total:
        provenance["levels_shifted"] = total
    if "points_moved" in provenance:
        provenance["points_moved"] = [names.get(level, level) for level in provenance["points_moved"]]
    findings = _graded_anew([_renamed(finding, names[finding.level]) for finding in report.findings])
    return replace(report, findings=findings, study=dict(report.study), provenance=provenance)


def _shifted(level: str, steps: int) -> str:
    if level == "T13":
        raise CentroidError(
            "Levels cannot be shifted in a spine with T13.", "Rename the points instead, and grade again."
        )
    if level not in _SHIFTABLE:
        raise CentroidError(f"The level of {level} is not known.", "Name the points first, and grade again.")
    place = _SHIFTABLE.index(level) + steps
    if not 0 <= place < len(_SHIFTABLE):
        raise CentroidError(
            f"{level} cannot be shifted by {steps:+d}.", f"Levels from {_SHIFTABLE[0]} to {_SHIFTABLE[-1]} are graded."
        )
    return _SHIFTABLE[place]


def _renamed(finding: Finding, level: str) -> Finding:
    told = re.sub(rf"(centroid (?:named|of)) {finding.level}\b", rf"\1 {level}", finding.reason)
    finding = replace(finding, reason=told)
    if finding.evidence_of("morphometry") is None:
        return replace(finding, level=level)
    return _with_quantities(replace(finding, level=level), axis_position=axis_position(level))


def _quantities(finding: Finding) -> dict[str, Any]:
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None  # callers choose findings that have it
    return evidence.quantities


def _with_quantities(finding: Finding, **quantities: Any) -> Finding:
    """A copy whose morphometry has other quantities."""
    return replace(
        finding,
        evidence=tuple(
            replace(e, quantities={**e.quantities, **quantities}) if e.method == "morphometry" else e
            for e in finding.evidence
        ),
    )


def _with_points(finding: Finding, points: NDArray[np.float64], heights: NDArray[np.float64]) -> Finding:
    return replace(
        _with_quantities(finding, heights_mm=named(heights)),
        points_ras_mm=tuple((float(x), float(y), float(z)) for x, y, z in points),
        heights_mm=named(heights),
    ).with_flags(["reader_points"])


def _row_of_finding(finding: Finding) -> HeightRow:
    quantities = _quantities(finding)
    filled = None if "reader_points" in finding.flags else quantities.get("heights_without_defect_mm")
    return HeightRow(
        level=finding.level,
        axis_position=float(quantities["axis_position"]),
        order=float(quantities["order"]),
        known=bool(quantities["level_known"]),
        heights_mm=from_named(quantities["heights_mm"]),
        sd_mm=from_named(quantities["height_sd_mm"]),
        filled_mm=None if filled is None else from_named(filled),
        trusted=not UNTRUSTED & set(finding.flags),
    )


def _graded_anew(findings: Sequence[Finding], accepted: str | None = None) -> tuple[Finding, ...]:
    """Findings by the heights and levels they have now; those without morphometry stay.

    Args:
        findings: all of a study.
        accepted: level that the reader has judged and wants graded.
    """
    results = grade_rows([_row_of_finding(f) for f in findings if f.evidence_of("morphometry") is not None])
    return tuple(
        graded_anew(before, after)
        for before, after in zip(
            findings,
            considered(
                [_regraded(f, *results[f.level], f.level == accepted) if f.level in results else f for f in findings]
            ),
            strict=True,
        )
    )


def _regraded(finding: Finding, result: HeightGrade, without: HeightGrade, accepted: bool) -> Finding:
    by_reader = "reader_points" in finding.flags
    changes = height_quantities(result)
    if "heights_without_defect_mm" in _quantities(finding) and not by_reader:
        changes.update(defect_quantities(without))
    evidence = tuple(
        replace(
            e,
            grade=result.grade,
            score=result.score,
            grade_interval=result.score_interval,
            flags=(*(flag for flag in e.flags if flag not in REFERENCE_FLAGS), *reference_flags(result)),
        )
        if e.method == "morphometry"
        else e
        for e in finding.evidence
    )
    finding = _with_quantities(replace(finding, evidence=evidence), **changes)
    finding = replace(finding, flags=_flags_now(finding, result))
    said = finding.evidence_of("morphometry")
    assert said is not None  # callers choose findings that have it
    unsaid = finding.state == UNDECIDED and "heights_without_defect_mm" not in said.quantities  # an older file
    unsaid = unsaid or (finding.state == NOT_ASSESSED and finding.reason in EARLIER.values())
    if accepted or (by_reader and finding.gradable):
        decision = graded(finding.level, said)
    elif by_reader or unsaid:
        decision = Decision(finding.state, finding.reason, finding.hypotheses)
    else:
        decision = decide(finding.level, said, finding.flags)
    finding = decided(finding, decision)
    return replace(finding, flags=_flags_now(finding, result))  # whether methods differ depends on the state


def _flags_now(finding: Finding, result: HeightGrade) -> tuple[str, ...]:
    raised = {*reference_flags(result), *({"reader_points"} & set(finding.flags))}
    if finding.methods_differ:
        raised.add("methods_disagree")
    return (
        *(flag for flag in finding.flags if flag not in _LAST_FLAGS),
        *(flag for flag in _LAST_FLAGS if flag in raised),
    )
