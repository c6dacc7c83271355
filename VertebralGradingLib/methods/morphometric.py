"""The grading method that needs no weights: six-point heights against the patient's own curve of heights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError, MethodError
from VertebralGradingLib.findings import Evidence, Finding, Report
from VertebralGradingLib.findings.states import UNDECIDED
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.methods.decision import Decision, decide, graded
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
from VertebralGradingLib.study import MeasuredVertebra, Study

_LAST_FLAGS = (*REFERENCE_FLAGS, "methods_disagree", "reader_points")
"""Flags that come and go while a reader works, in the order in which they stand at the end of a finding's flags."""
_SHIFTABLE = tuple(level for level in ORDER if level in GRADABLE and level != "T13")
"""Levels that can be shifted, cranial to caudal."""
CUT = "cut_by_volume_edge"


class MorphometricGrading:
    """Level-aware morphometry."""

    name = "morphometry"
    requires: tuple[str, ...] = ()
    needs_bodies, quick = True, True

    def check(self, ct: Volume | None) -> None:
        """It needs nothing that may be missing."""

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every measured vertebra that is not cut: half a body has no height to speak of.

        Those with implants are measured but do not carry the reference.
        """
        whole = [item for item in study.vertebrae if item.measurement is not None and CUT not in item.flags]
        measured = {item.vertebra.level: item for item in whole}
        results = grade_rows([_row_of_measured(item) for item in measured.values()])
        return {level: _evidence(item, *results[level]) for level, item in measured.items()}

    def explain(self, study: Study, level: str, kind: str = "heights", **options: Any) -> dict[str, Any]:
        """Height profile of one vertebra from front to back.

        Returns:
            ``ahead_mm`` (n,) places in front of the body's centre, ``height_mm`` (n,) height of the mid-sagittal slab
            there, and ``points_ras_mm`` (6, 3).

        Raises:
            CentroidError: no such level, or it was not measured.
            MethodError: another kind.
        """
        from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM

        if kind != "heights" or options:
            raise MethodError("Morphometry offers one explanation.", "Ask for heights, without options.")
        item = next((item for item in study.vertebrae if item.vertebra.level == level), None)
        if item is None or item.measurement is None:
            raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
        sheets = item.measurement.sheets
        slab = np.abs(LEFT_MM - item.measurement.middle_left_mm) <= 5.0
        height = np.where(sheets.valid, sheets.top - sheets.bottom, np.nan)[:, slab]
        share = np.isfinite(height).mean(axis=1)
        used = share >= 0.5
        return {
            "ahead_mm": AHEAD_MM[used],
            "height_mm": np.nanmedian(height[used], axis=1),
            "points_ras_mm": item.measurement.points_ras,
        }


def judged(study: Study) -> Study:
    """The study with what morphometry says of it, which other methods build on."""
    return replace(study, heights=MorphometricGrading().grade(study))


def _row_of_measured(item: MeasuredVertebra) -> HeightRow:
    vertebra, measurement = item.vertebra, item.measurement
    assert measurement is not None  # the caller grades measured vertebrae only
    return HeightRow(
        level=vertebra.level,
        axis_position=vertebra.axis_position,
        order=float(vertebra.order),
        known=vertebra.known,
        heights_mm=measurement.heights_mm,
        sd_mm=measurement.sd_mm,
        filled_mm=item.heights_without_defects,
        trusted=not UNTRUSTED & set(item.flags),
    )


def _evidence(item: MeasuredVertebra, result: HeightGrade, without: HeightGrade) -> Evidence:
    measurement = item.measurement
    assert measurement is not None  # the caller grades measured vertebrae only
    density = item.density
    quantities: dict[str, Any] = {
        **height_quantities(result),
        "heights_mm": named(measurement.heights_mm),
        "height_sd_mm": named(measurement.sd_mm),
        "thirds_mm": {side: named(values) for side, values in measurement.thirds_mm.items()},
        "depth_mm": measurement.depth_mm,
        "width_mm": measurement.width_mm,
        "up_ras": measurement.sheets.axes[:, 2].tolist(),
        "axis_position": item.vertebra.axis_position,
        "order": item.vertebra.order,
        "level_known": item.vertebra.known,
        "mask_source": measurement.body.source,
        "mask_confidence": measurement.body.confidence,
        "body_volume_ml": measurement.body.volume_mm3 / 1000.0,
        "trabecular_hu": None if density is None else density.trabecular_hu,
        "trabecular_sd_hu": None if density is None else density.trabecular_sd_hu,
        "defects": [
            {
                "endplate": defect.endplate,
                "depth_mm": defect.depth_mm,
                "extent_ap_mm": defect.extent_ap_mm,
                "extent_lr_mm": defect.extent_lr_mm,
                "text": defect.describe(),
            }
            for defect in item.defects
        ],
    }
    if item.heights_without_defects is not None:
        quantities["heights_without_defect_mm"] = named(item.heights_without_defects)
        quantities.update(defect_quantities(without))
    flags = (*item.flags, *reference_flags(result))
    return Evidence("morphometry", result.grade, result.score_interval, result.score, quantities, flags)


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
        graded_anew(f, _regraded(f, *results[f.level], f.level == accepted)) if f.level in results else f
        for f in findings
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
    if accepted or (by_reader and finding.gradable):
        return decided(finding, graded(finding.level, said))
    unsaid = finding.state == UNDECIDED and "heights_without_defect_mm" not in said.quantities  # an older file
    if by_reader or unsaid:
        return decided(finding, Decision(finding.state, finding.reason, finding.hypotheses))
    return decided(finding, decide(finding.level, said, finding.flags))


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
        deformity="none",
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


def _flags_now(finding: Finding, result: HeightGrade) -> tuple[str, ...]:
    raised = {*reference_flags(result), *({"reader_points"} & set(finding.flags))}
    if finding.methods_differ:
        raised.add("methods_disagree")
    return (
        *(flag for flag in finding.flags if flag not in _LAST_FLAGS),
        *(flag for flag in _LAST_FLAGS if flag in raised),
    )
