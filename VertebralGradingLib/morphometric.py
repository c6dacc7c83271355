"""The grading method that needs no weights: six-point heights against the patient's own curve of heights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError, MethodError
from VertebralGradingLib.findings import POSITIONS, Evidence, Finding, Report
from VertebralGradingLib.morphometry import heights_from_points
from VertebralGradingLib.reference import HeightGrade, grade_heights
from VertebralGradingLib.study import MeasuredVertebra, Study

_UNTRUSTED = frozenset(
    ("cut_by_volume_edge", "implant_or_cement", "far_off_curve", "low_confidence_mask", "disc_below_resolution")
)
IMPLAUSIBLE_EXCESS = 0.35
"""A height this share above its reference is an error of the mask, not a tall vertebra."""
IMPLAUSIBLE_LOSS = 0.92


class MorphometricGrading:
    """Level-aware morphometry."""

    name = "morphometry"
    requires: tuple[str, ...] = ()

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every measured vertebra; cut or implanted ones are measured but do not carry the reference."""
        measured = [item for item in study.vertebrae if item.measurement is not None]
        if not measured:
            return {}
        usable = [item for item in measured if not _untrusted(item)]
        group = usable if usable else measured
        known = all(item.vertebra.known for item in measured)
        results = _graded(group, known)
        without = _graded_without_defects(group, known)
        for item in measured:
            if item not in group:
                results[item.vertebra.level] = _graded([*group, item], known)[item.vertebra.level]
        return {
            item.vertebra.level: _evidence(
                item, results[item.vertebra.level], without.get(item.vertebra.level, results[item.vertebra.level])
            )
            for item in measured
        }

    def explain(self, study: Study, level: str, kind: str = "heights", **options: Any) -> dict[str, Any]:
        """Height profile of one vertebra from front to back.

        Returns:
            ``ahead_mm`` (n,) places in front of the body's centre, ``height_mm`` (n,) height of the mid-sagittal slab
            there, and ``points_ras_mm`` (6, 3).

        Raises:
            CentroidError: no such level, or it was not measured.
            MethodError: another kind.
        """
        from VertebralGradingLib.sheets import AHEAD_MM, LEFT_MM

        if kind != "heights":
            raise MethodError(f"Morphometry does not explain by {kind!r}.", "It offers: heights.")
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


def _untrusted(item: MeasuredVertebra) -> bool:
    """Whether a vertebra's heights must not carry the patient's reference."""
    return bool(_UNTRUSTED & set(item.flags))


def _graded(items: list[MeasuredVertebra], known: bool) -> dict[str, HeightGrade]:
    measurements = [item.measurement for item in items]
    results = grade_heights(
        np.array([item.vertebra.axis_position if known else float(item.vertebra.order) for item in items]),
        np.array([m.heights_mm for m in measurements if m is not None]),
        np.array([m.sd_mm for m in measurements if m is not None]),
        known,
    )
    return {item.vertebra.level: result for item, result in zip(items, results, strict=True)}


def _graded_without_defects(items: list[MeasuredVertebra], known: bool) -> dict[str, HeightGrade]:
    """Grades had the focal defects not been there."""
    out = {}
    for item in items:
        if item.heights_without_defects is not None and item.measurement is not None:
            filled = replace(item, measurement=replace(item.measurement, heights_mm=item.heights_without_defects))
            others = [filled if other is item else other for other in items]
            out[item.vertebra.level] = _graded(others, known)[item.vertebra.level]
    return out


def _evidence(item: MeasuredVertebra, result: HeightGrade, without: HeightGrade) -> Evidence:
    measurement = item.measurement
    assert measurement is not None  # the caller grades measured vertebrae only
    flags = list(item.flags)
    if result.weak:
        flags.append("reference_weak")
    if result.loss.min() < -IMPLAUSIBLE_EXCESS or result.loss.max() > IMPLAUSIBLE_LOSS:
        flags.append("implausible_heights")
    density = item.density
    quantities: dict[str, Any] = {
        **height_quantities(result),
        "heights_mm": _named(measurement.heights_mm),
        "height_sd_mm": _named(measurement.sd_mm),
        "thirds_mm": {side: _named(values) for side, values in measurement.thirds_mm.items()},
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
    if item.defects:
        quantities["grade_without_defect"] = without.grade
        quantities["loss_without_defect"] = _named(without.loss)
    return Evidence("morphometry", result.grade, result.score_interval, result.score, quantities, tuple(flags))


def height_quantities(result: HeightGrade) -> dict[str, Any]:
    """The part of the evidence that follows from heights and reference alone."""
    return {
        "reference_mm": _named(result.reference_mm),
        "reference_sd_mm": _named(result.reference_sd_mm),
        "height_loss": _named(result.loss),
        "loss_interval": dict(zip(POSITIONS, result.loss_interval.tolist(), strict=True)),
        "deformity": result.shape,
        "wedge_loss": result.wedge_loss,
        "biconcave_loss": result.biconcave_loss,
        "crush_loss": result.crush_loss,
    }


def move_points(report: Report, level: str, points_ras: NDArray[np.float64], accept: bool = False) -> Report:
    """Recompute a whole report after a reader moved the points of one vertebra. Pure numpy, a few milliseconds.

    Args:
        report: findings with morphometry's evidence.
        level: which vertebra.
        points_ras: (6, 3) RAS mm in the order of :data:`morphometry.POINT_NAMES`.
        accept: the reader has judged a vertebra that was not assessed and wants its grade; its reason and suggested
            exclusion are cleared. Otherwise only its heights and evidence change.

    Raises:
        CentroidError: the level has no morphometry, not six points, or two of them coincide or are swapped.
    """
    targets = [finding for finding in report.findings if finding.evidence_of("morphometry") is not None]
    if level not in {finding.level for finding in targets}:
        raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
    own = next(finding for finding in targets if finding.level == level)
    heights = heights_from_points(points_ras, np.array(_quantities(own)["up_ras"]))
    moved = [_with_points(f, points_ras, heights) if f.level == level else f for f in targets]
    sound = [f for f in moved if not _UNTRUSTED & set(f.flags)] or moved
    used = sound if own.level in {f.level for f in sound} else [*sound, next(f for f in moved if f.level == level)]
    known = all(_quantities(f)["level_known"] for f in moved)
    place = "axis_position" if known else "order"
    table = np.array([[_quantities(f)["heights_mm"][p] for p in POSITIONS] for f in used])
    spread = np.array([[_quantities(f)["height_sd_mm"][p] for p in POSITIONS] for f in used])
    results = grade_heights(np.array([float(_quantities(f)[place]) for f in used]), table, spread, known)
    changed = {
        f.level: _regraded(f, result, f.level == level and accept) for f, result in zip(used, results, strict=True)
    }
    provenance = {**report.provenance, "points_moved": [*report.provenance.get("points_moved", []), level]}
    findings = tuple(changed.get(f.level, f) for f in report.findings)
    return replace(report, findings=findings, study=dict(report.study), provenance=provenance)


def _quantities(finding: Finding) -> dict[str, Any]:
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None  # callers choose findings that have it
    return evidence.quantities


def _with_points(finding: Finding, points: NDArray[np.float64], heights: NDArray[np.float64]) -> Finding:
    evidence = tuple(
        replace(e, quantities={**e.quantities, "heights_mm": _named(heights)}) if e.method == "morphometry" else e
        for e in finding.evidence
    )
    return replace(
        finding,
        evidence=evidence,
        points_ras_mm=tuple((float(x), float(y), float(z)) for x, y, z in points),
        heights_mm=_named(heights),
    ).with_flags(["reader_points"])


def _regraded(finding: Finding, result: HeightGrade, accepted: bool) -> Finding:
    evidence = tuple(
        replace(
            e,
            grade=result.grade,
            score=result.score,
            grade_interval=result.score_interval,
            quantities={**e.quantities, **height_quantities(result)},
        )
        if e.method == "morphometry"
        else e
        for e in finding.evidence
    )
    finding = replace(finding, evidence=evidence, height_loss=_named(result.loss))
    if finding.primary_method != "morphometry":
        return finding
    if accepted:
        finding = replace(finding, gradable=True, reason="", suggested_exclusion="")
    if not finding.gradable:
        return finding
    return replace(
        finding,
        grade=result.grade,
        score=result.score,
        grade_interval=result.score_interval,
        deformity=result.shape,
    )


def _named(values: NDArray[np.float64]) -> dict[str, float]:
    return {position: float(value) for position, value in zip(POSITIONS, values, strict=True)}
