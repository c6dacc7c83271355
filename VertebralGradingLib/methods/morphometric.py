"""The grading method that needs no weights: six-point heights against the patient's own curve of heights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from VertebralGradingLib.errors import CentroidError, MethodError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.height_rows import (
    UNTRUSTED,
    HeightRow,
    defect_quantities,
    grade_rows,
    height_quantities,
    named,
    reference_flags,
)
from VertebralGradingLib.morphometry.reference import HeightGrade
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM
from VertebralGradingLib.study import MeasuredVertebra, Study


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
        return _said(study, _results(study))

    def explain(self, study: Study, level: str, kind: str = "heights", **options: Any) -> dict[str, Any]:
        """Height profile of one vertebra from front to back, the vertebra at other grades, or where it lost height.

        Args:
            study: judged, for what the warp tells.
            level: which vertebra.
            kind: "heights"; "counterfactual" for the warp without learning; "height_loss_map" for lost height against
                the warp to grade 0.
            options: of the warp (:func:`counterfactual.explained.explained`), of the map
                (:func:`lost_height.lost_height`); heights have none.

        Returns:
            ``ahead_mm`` (n,) places in front of the body's centre, ``height_mm`` (n,) height of the mid-sagittal slab
            there, and ``points_ras_mm`` (6, 3); or what the warp tells.

        Raises:
            CentroidError: no such level, or it was not measured as a whole.
            MethodError: another kind.
            InputError, MaskError: as the warp raises them.
        """
        if kind == "counterfactual":
            from VertebralGradingLib.counterfactual.explained import explained

            return explained(study, level, options)
        if kind == "height_loss_map":
            from VertebralGradingLib.methods.lost_height import lost_height

            return lost_height(study, level, options)
        if kind != "heights" or options:
            raise MethodError("Morphometry does not explain so.", "Ask for heights, counterfactual, height_loss_map.")
        item = next((item for item in study.vertebrae if item.vertebra.level == level), None)
        if item is None or item.measurement is None or CUT in item.flags:
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
    results = _results(study)
    broken = frozenset(level for level, (own, _) in results.items() if own.grade >= 1)
    return replace(study, heights=_said(study, results), broken=broken)


def _results(study: Study) -> dict[str, tuple[HeightGrade, HeightGrade]]:
    """Every measured vertebra, also what is left of a cut one, as it is and without its focal defects."""
    return grade_rows([_row_of_measured(item) for item in study.vertebrae if item.measurement is not None])


def _said(study: Study, results: dict[str, tuple[HeightGrade, HeightGrade]]) -> dict[str, Evidence]:
    """Evidence of the vertebrae that are not cut."""
    whole = [item for item in study.vertebrae if item.measurement is not None and CUT not in item.flags]
    return {item.vertebra.level: _evidence(item, *results[item.vertebra.level]) for item in whole}


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
    if item.endplates is not None:
        quantities["endplates"] = item.endplates.named()
    if item.heights_without_defects is not None:
        quantities["heights_without_defect_mm"] = named(item.heights_without_defects)
        quantities.update(defect_quantities(without))
    flags = (*item.flags, *reference_flags(result))
    return Evidence("morphometry", result.grade, result.score_interval, result.score, quantities, flags)
