"""What the findings of one study come to: counts, lists of states, spinal deformity index, trabecular CT number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from VertebralGradingLib.findings.deformity_index import deformity_index
from VertebralGradingLib.findings.states import BORDERLINE, NOT_ASSESSED, NOT_REACHED, TREATED, UNDECIDED
from VertebralGradingLib.findings.trabecular import trabecular

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Report


def summarize(report: Report) -> dict[str, Any]:
    """The JSON form of a study's summary.

    Final states are counted; borderline counts as grade 0. What the reader excludes is not assessed, with the
    reader's reason.
    """
    findings = report.findings
    grades = [finding.final_grade for finding in findings if finding.final_grade is not None]
    index, bone = deformity_index(findings), trabecular(findings, report.study)

    def levels(state: str) -> list[str]:
        return [f.level for f in findings if f.final_state == state and not f.excluded]

    return {
        "complete": report.complete,
        "n_planned": len(findings),
        "n_assessed": len(grades),
        "worst_grade": max(grades) if grades else None,
        "n_grade2_or_more": sum(grade >= 2 for grade in grades),
        "spinal_deformity_index": index.value,
        "spinal_deformity_index_levels": index.n_levels,
        "spinal_deformity_index_text": index.text,
        "outside_standard_range": list(index.outside),
        "trabecular": None if bone is None else bone.to_dict(),
        "borderline": levels(BORDERLINE),
        "undecided": levels(UNDECIDED),
        "treated": levels(TREATED),
        "not_reached": levels(NOT_REACHED),
        "methods_disagree": [finding.level for finding in findings if finding.methods_differ],
        "not_assessed": [
            {"level": finding.level, "reason": finding.exclusion_text or finding.reason}
            for finding in findings
            if finding.excluded or finding.final_state == NOT_ASSESSED
        ],
    }
