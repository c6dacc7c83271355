"""What comes out: findings of one study, with the evidence behind each, as plain data.

The JSON form is published as ``Resources/schema/findings.schema.json``. World coordinates are RAS mm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from VertebralGradingLib.findings.migration import migrated, migrated_finding
from VertebralGradingLib.findings.plain import plain
from VertebralGradingLib.findings.states import GRADED, NOT_REACHED, UNDECIDED, grade_of_state
from VertebralGradingLib.findings.summary import summarize

SCHEMA = "vertebral-grading/findings/2"

RESEARCH_USE = "Research software. Not a medical device; not for diagnosis or treatment."

NEVER_ASSESSED = "Age, posterior wall and cause are not assessed."
"""What no grade says, told with every report and every sentence that is copied."""

POSITIONS = ("anterior", "middle", "posterior")

Chances = tuple[float, float, float, float]
"""Of grade 0, 1, 2 and 3; they sum to 1."""


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
class Hypothesis:
    """What an undecided vertebra would be if its focal defect had one cause.

    Attributes:
        cause: in words, such as "Schmorl node".
        grade: Genant grade 0-3 then.
        loss_percent: the graded loss then, per cent of the expected height.
        loss_interval_percent: its 90 % interval.
        grade_probabilities: chances of grades 0-3 then, None where they are not known.
    """

    cause: str
    grade: int
    loss_percent: float | None = None
    loss_interval_percent: tuple[float, float] | None = None
    grade_probabilities: Chances | None = None


@dataclass(frozen=True)
class Consideration:
    """What a reader may consider instead of a fracture, raised by conditions that were measured; no diagnosis.

    Attributes:
        code: one of :data:`methods.considerations.CODES`.
        text: "consider ...", with what was measured.
    """

    code: str
    text: str


@dataclass(frozen=True)
class Reading:
    """What a reader says of a vertebra; it stands beside what the methods say and never replaces it.

    Attributes:
        state: the reader's own, one of :data:`states.GRADED`; empty where the reader gave none.
        exclusion: why the reader leaves the vertebra out, such as "Schmorl node"; empty where it counts. An exclusion
            goes before a grade.
        confirmed: the reader takes the deformity for a fracture, or confirms that a treated body is treated.
        agreed: the reader has looked at the program's own answer and agrees with it.
    """

    state: str = ""
    exclusion: str = ""
    confirmed: bool = False
    agreed: bool = False

    @property
    def grade(self) -> int | None:
        """The reader's Genant grade 0-3, None where the reader gave none."""
        return grade_of_state(self.state)


@dataclass(frozen=True)
class Finding:
    """One vertebra.

    Attributes:
        level: standard name, or "V1", "V2", ... from cranial to caudal where levels are not known.
        state: the program's own, one of :data:`states.STATES`; morphometry gives it, other methods never change it.
        reason: why it is borderline, undecided, treated, not assessed or not reached; empty for the grades.
        loss_percent: the loss that is graded, per cent of the expected height; None where there is none.
        loss_interval_percent: its 90 % interval.
        grade_probabilities: chances of grades 0-3, from the same draws as the interval; None but for graded states, and
            where an older file does not say.
        hypotheses: of an undecided vertebra, one for each cause; empty for all others.
        score: the graded loss on the axis that all methods share (see :mod:`genant`).
        grade_interval: its 90 % interval (score).
        deformity: "wedge", "biconcave", "crush" or "none"; empty where there is no grade.
        center_ras_mm: body centre.
        points_ras_mm: six points (superior, inferior) x (anterior, middle, posterior), empty when not measured.
        heights_mm: anterior, middle, posterior (mm), empty when not measured.
        height_loss: the same as fractions of the expected heights.
        flags: names out of :data:`flags.FLAG_TEXT`.
        evidence: what each method says.
        considerations: what to consider instead of a fracture.
        reading: what the reader says, None where the reader has said nothing.
        second_reading: what a second reader says.
    """

    level: str
    state: str
    center_ras_mm: tuple[float, float, float]
    reason: str = ""
    loss_percent: float | None = None
    loss_interval_percent: tuple[float, float] | None = None
    grade_probabilities: Chances | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    score: float | None = None
    grade_interval: tuple[float, float] | None = None
    deformity: str = ""
    points_ras_mm: tuple[tuple[float, float, float], ...] = ()
    heights_mm: dict[str, float] = field(default_factory=dict)
    height_loss: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    considerations: tuple[Consideration, ...] = ()
    reading: Reading | None = None
    second_reading: Reading | None = None

    @property
    def grade(self) -> int | None:
        """The program's own Genant grade 0-3; 0 when borderline, None when it has none."""
        return grade_of_state(self.state)

    @property
    def gradable(self) -> bool:
        """Whether the program's own state has a grade."""
        return self.state in GRADED

    @property
    def chance_of_grade_1(self) -> float | None:
        """Chance of grade 1 or more, None where it is not known."""
        return None if self.grade_probabilities is None else sum(self.grade_probabilities[1:])

    @property
    def final_state(self) -> str:
        """The reader's state where the reader gave one, else the program's; an exclusion does not change it."""
        return self.reading.state if self.reading is not None and self.reading.state else self.state

    @property
    def final_grade(self) -> int | None:
        """The reader's grade where there is one, else the program's; None when excluded or graded by neither."""
        return None if self.excluded else grade_of_state(self.final_state)

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
        """Whether the final state is the reader's and another than the program's."""
        return not self.excluded and self.final_state != self.state

    @property
    def confirmed(self) -> bool:
        """Whether the reader has confirmed what the final state says: a fracture, or that the body is treated."""
        return self.reading is not None and self.reading.confirmed and not self.excluded

    @property
    def undecided(self) -> bool:
        """Whether a focal defect alone makes the grade and the reader has not decided."""
        return self.state == UNDECIDED and not self.excluded and not self.changed_by_reader

    @property
    def methods_differ(self) -> bool:
        """Whether methods differ by a grade or more on a vertebra that is graded and counts."""
        grades = {item.grade for item in self.evidence if item.grade is not None}
        return len(grades) > 1 and self.gradable and not self.excluded

    def evidence_of(self, method: str) -> Evidence | None:
        """The evidence of one method, if it has any."""
        return next((item for item in self.evidence if item.method == method), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; the grade stands beside the state it follows from."""
        content: dict[str, Any] = plain(asdict(self))
        return {"level": content.pop("level"), "state": content.pop("state"), "grade": self.grade, **content}

    @staticmethod
    def from_dict(item: dict[str, Any]) -> Finding:
        """Read the JSON form back, of this version or an older one."""
        item = {key: value for key, value in migrated_finding(item).items() if key != "grade"}
        return Finding(
            **{
                **item,
                "loss_interval_percent": _pair(item["loss_interval_percent"]),
                "grade_probabilities": _chances(item["grade_probabilities"]),
                "hypotheses": tuple(_hypothesis(one) for one in item["hypotheses"]),
                "grade_interval": _pair(item["grade_interval"]),
                "center_ras_mm": tuple(item["center_ras_mm"]),
                "points_ras_mm": tuple(tuple(point) for point in item["points_ras_mm"]),
                "flags": tuple(item["flags"]),
                "evidence": tuple(_evidence(one) for one in item["evidence"]),
                "considerations": tuple(Consideration(**one) for one in item.get("considerations", ())),
                "reading": _reading(item["reading"]),
                "second_reading": _reading(item["second_reading"]),
            }
        )

    def with_flags(self, flags: Iterable[str]) -> Finding:
        """A copy with more flags, each once."""
        return replace(self, flags=tuple(dict.fromkeys((*self.flags, *flags))))


@dataclass(frozen=True)
class Report:
    """Findings of one study.

    Attributes:
        study: what was read, without patient data ("modality", "spacing_mm", "shape", "complete").
        findings: cranial to caudal, also of vertebrae that the run did not reach.
        provenance: program, versions, methods, times, sources of norms.
        source_series: identifiers of the images that were read, for outputs that must refer to them; None unless asked
            for.
    """

    study: dict[str, Any]
    findings: tuple[Finding, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    source_series: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """Whether the run was finished."""
        return bool(self.study.get("complete", True))

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, lists of states, spinal deformity index and trabecular CT number (:func:`summary.summarize`)."""
        return summarize(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "research_use": RESEARCH_USE,
            "study": self.study,
            "source_series": self.source_series,
            "summary": self.summary,
            "findings": [finding.to_dict() for finding in self.findings],
            "provenance": self.provenance,
        }

    def to_json(self) -> str:
        """The JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> Report:
        """Read the JSON form back, of this version or of 0.1 (:mod:`migration`).

        Raises:
            ValueError: another schema.
        """
        content = migrated(content)
        if content.get("schema") != SCHEMA:
            raise ValueError(f"not a {SCHEMA} file")
        findings = tuple(Finding.from_dict(item) for item in content["findings"])
        return Report(content["study"], findings, content.get("provenance", {}), content.get("source_series"))


def not_reached(level: str, center_ras_mm: tuple[float, float, float]) -> Finding:
    """A vertebra that was planned, in a run that stopped before it."""
    return Finding(level, NOT_REACHED, center_ras_mm, "the run stopped before it")


def _evidence(item: dict[str, Any]) -> Evidence:
    flags = tuple(item["flags"])
    return Evidence(
        item["method"], item["grade"], _pair(item["grade_interval"]), item["score"], item["quantities"], flags
    )


def _hypothesis(item: dict[str, Any]) -> Hypothesis:
    interval, chances = _pair(item["loss_interval_percent"]), _chances(item["grade_probabilities"])
    return Hypothesis(item["cause"], item["grade"], item["loss_percent"], interval, chances)


def _reading(item: dict[str, Any] | None) -> Reading | None:
    return None if item is None else Reading(**item)


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _chances(value: Any) -> Chances | None:
    return None if value is None else (float(value[0]), float(value[1]), float(value[2]), float(value[3]))
