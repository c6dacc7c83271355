"""What comes out: findings of one study, with the evidence behind each, as plain data.

The JSON form is published as ``Resources/schema/findings.schema.json``. World coordinates are RAS mm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SCHEMA = "vertebral-grading/findings/1"

RESEARCH_USE = "Research software. Not a medical device; not for diagnosis or treatment."

POSITIONS = ("anterior", "middle", "posterior")

SCHMORL_NODE = "schmorl_node"
"""The suggested exclusion of a deformity that is a focal endplate defect."""

FLAG_TEXT: dict[str, str] = {
    "level_unknown": "level not named; graded relative to its neighbours",
    "off_curve": "centroid more than 10 mm off the spine's curve",
    "far_off_curve": "centroid more than 25 mm off the spine's curve",
    "doubled_point": "several points on one vertebra were merged",
    "chain_break": "gap of more than 60 mm to the next centroid",
    "neighbour_missing": "a neighbouring level has no centroid",
    "spacing_unexpected": "distance to the next centroid does not fit",
    "cut_by_volume_edge": "cut by the edge of the volume",
    "outside_volume": "centroid outside the volume",
    "thick_slices": "slices too thick to tell grade 1",
    "disc_below_resolution": "discs thinner than two slices: edges cannot be found without a mask",
    "implant_or_cement": "metal or cement in or near the body",
    "focal_endplate_defect": "focal endplate defect, such as a Schmorl node",
    "low_confidence_mask": "the body's edges are uncertain",
    "mask_found": "body found on CT without a given mask",
    "network_unavailable": "body found by the classical search, because the body network is not available",
    "reference_weak": "few unfractured neighbours to compare with",
    "methods_disagree": "methods differ by a grade or more",
    "nan_voxels": "the volume had voxels without a value",
    "not_measurable": "the body could not be measured",
    "implausible_heights": "heights do not fit any vertebra of this spine",
    "reader_points": "points moved by a reader",
    "hu_clipped": "voxel values outside the CT range were clipped",
}
"""Every flag and what it means for a reader."""


@dataclass(frozen=True)
class Evidence:
    """What one method says about one vertebra.

    Attributes:
        method: name of the method.
        grade: Genant grade 0-3, or None when the method could not grade.
        grade_interval: 90 % interval of the score.
        score: 0..3 on the shared axis (see :mod:`genant`).
        quantities: numbers and small texts of the method's own.
        flags: what the method noticed.
    """

    method: str
    grade: int | None
    grade_interval: tuple[float, float] | None
    score: float | None
    quantities: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the reader says of a vertebra; it stands beside what the methods say and never replaces it.

    Attributes:
        grade: the reader's Genant grade 0-3, None where the reader gave none.
        exclusion: why the reader leaves the vertebra out, such as "Schmorl node"; empty where it counts. An exclusion
            goes before a grade.
    """

    grade: int | None = None
    exclusion: str = ""


@dataclass(frozen=True)
class Finding:
    """One vertebra.

    Attributes:
        level: standard name, or "V1", "V2", ... from cranial to caudal where levels are not known.
        grade: Genant grade 0-3 of the primary method, None when not gradable.
        score: its score on the shared axis.
        grade_interval: its 90 % interval (score).
        primary_method: which method that is.
        gradable: False when the vertebra was not assessed; ``reason`` then says why. Not the same as grade 0.
        reason: why it was not assessed.
        deformity: "wedge", "biconcave", "crush" or "none".
        center_ras_mm: body centre.
        points_ras_mm: six points (superior, inferior) x (anterior, middle, posterior), empty when not measured.
        heights_mm: anterior, middle, posterior (mm), empty when not measured.
        height_loss: the same as fractions of the expected heights.
        flags: names out of :data:`FLAG_TEXT`.
        suggested_exclusion: what the deformity may be other than a fracture (:data:`SCHMORL_NODE`), for the reader to
            decide.
        evidence: what each method says.
        reading: what the reader says, None where the reader has said nothing.
    """

    level: str
    grade: int | None
    score: float | None
    grade_interval: tuple[float, float] | None
    primary_method: str
    gradable: bool
    reason: str
    deformity: str
    center_ras_mm: tuple[float, float, float]
    points_ras_mm: tuple[tuple[float, float, float], ...] = ()
    heights_mm: dict[str, float] = field(default_factory=dict)
    height_loss: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    suggested_exclusion: str = ""
    evidence: tuple[Evidence, ...] = ()
    reading: Reading | None = None

    @property
    def automatic_grade(self) -> int | None:
        """The program's own grade, None when it was not assessed."""
        return self.grade if self.gradable else None

    @property
    def final_grade(self) -> int | None:
        """The reader's grade where there is one, else the automatic one; None when excluded or graded by neither."""
        if self.reading is None:
            return self.automatic_grade
        if self.reading.exclusion:
            return None
        return self.automatic_grade if self.reading.grade is None else self.reading.grade

    @property
    def excluded(self) -> bool:
        """Whether the reader has left the vertebra out."""
        return self.reading is not None and bool(self.reading.exclusion)

    @property
    def exclusion_text(self) -> str:
        """That the reader has left the vertebra out, and why; empty where it counts."""
        return f"excluded by the reader ({self.reading.exclusion})" if self.reading and self.reading.exclusion else ""

    @property
    def changed_by_reader(self) -> bool:
        """Whether the final grade is the reader's and another than the automatic one."""
        return not self.excluded and self.final_grade != self.automatic_grade

    @property
    def undecided(self) -> bool:
        """Whether an exclusion is suggested and the reader has not decided."""
        return bool(self.suggested_exclusion) and self.reading is None

    def evidence_of(self, method: str) -> Evidence | None:
        """The evidence of one method, if it has any."""
        return next((item for item in self.evidence if item.method == method), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @staticmethod
    def from_dict(item: dict[str, Any]) -> Finding:
        """Read the JSON form back."""
        evidence = tuple(
            Evidence(
                one["method"],
                one["grade"],
                _pair(one["grade_interval"]),
                one["score"],
                one["quantities"],
                tuple(one["flags"]),
            )
            for one in item["evidence"]
        )
        return Finding(
            **{
                **item,
                "grade_interval": _pair(item["grade_interval"]),
                "center_ras_mm": tuple(item["center_ras_mm"]),
                "points_ras_mm": tuple(tuple(point) for point in item["points_ras_mm"]),
                "flags": tuple(item["flags"]),
                "evidence": evidence,
                "reading": _reading(item.get("reading")),
            }
        )

    def with_flags(self, flags: Iterable[str]) -> Finding:
        """A copy with more flags, each once."""
        return replace(self, flags=tuple(dict.fromkeys((*self.flags, *flags))))


@dataclass(frozen=True)
class Report:
    """Findings of one study.

    Attributes:
        study: what was read, without patient data ("modality", "spacing_mm", "shape", "level_source").
        findings: cranial to caudal.
        provenance: program, versions, methods, times, sources of norms.
    """

    study: dict[str, Any]
    findings: tuple[Finding, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Worst grade, number of vertebrae of grade 2 or more, spinal deformity index, and what was not assessed.

        Final grades are counted; what the reader excludes is not assessed, with the reader's reason.
        """
        grades = [finding.final_grade for finding in self.findings if finding.final_grade is not None]
        return {
            "worst_grade": max(grades) if grades else None,
            "n_assessed": len(grades),
            "n_grade2_or_more": sum(grade >= 2 for grade in grades),
            "spinal_deformity_index": sum(grades) if grades else None,
            "not_assessed": [
                {"level": finding.level, "reason": _why_not_assessed(finding)}
                for finding in self.findings
                if finding.final_grade is None
            ],
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "research_use": RESEARCH_USE,
            "study": self.study,
            "findings": [finding.to_dict() for finding in self.findings],
            "summary": self.summary,
            "provenance": self.provenance,
        }

    def to_json(self) -> str:
        """The JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> Report:
        """Read the JSON form back.

        Raises:
            ValueError: another schema.
        """
        if content.get("schema") != SCHEMA:
            raise ValueError(f"not a {SCHEMA} file")
        findings = tuple(Finding.from_dict(item) for item in content["findings"])
        return Report(content["study"], findings, content.get("provenance", {}))


def _why_not_assessed(finding: Finding) -> str:
    return finding.exclusion_text if finding.excluded else finding.reason


def _reading(item: dict[str, Any] | None) -> Reading | None:
    return None if item is None else Reading(item["grade"], item["exclusion"])


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _plain(value: Any) -> Any:
    """Numbers rounded to what is meant (4 decimals), tuples as lists, NaN as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    number = round(float(value), 4)
    return number if math.isfinite(number) else None
