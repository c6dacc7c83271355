"""Findings as plain data: there and back as JSON, valid under the published schema, free of what JSON cannot hold."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest
from rendering.analytic import Pit, analytic_spine, grid_around, label_volume, usual_heights

from VertebralGradingLib.findings import FLAG_TEXT, POSITIONS, RESEARCH_USE, SCHEMA, Evidence, Finding, Reading, Report
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.resources import resource
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.spine import build_spine

LEVELS = ["T11", "T12", "L1", "L2", "L3"]


@cache
def real_report() -> Report:
    """A wedge at L1, a pit at L2 that is left to the reader, and T11 cut by the scan's edge."""
    heights = usual_heights(LEVELS)
    heights[2] *= [0.68, 0.8, 1.0]
    pit = Pit("L2", +1, depth_mm=9.0, ap_mm=13.0, lr_mm=14.0)
    spine = analytic_spine(LEVELS, heights, sagittal_deg=np.linspace(8, -8, 5), pits=[pit])
    affine, shape = grid_around(spine)
    cut = int((np.linalg.inv(affine) @ [*spine.centers[0], 1.0])[2]) + 3
    labels = interpret(label_volume(spine, affine, (*shape[:2], cut)))
    return grade(None, build_spine(spine.points()), labels)


def schema() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    return content


def finding(level: str = "L1", **changes: Any) -> Finding:
    evidence = Evidence("morphometry", 2, (1.2, 2.6), 1.9, {"heights_mm": {"anterior": 18.2}, "mask_source": "given"})
    whole = Finding(
        level, 2, 1.9, (1.2, 2.6), "morphometry", True, "", "wedge", (1.0, 2.0, 3.0), ((0.0, 1.0, 2.0),) * 6,
        dict.fromkeys(POSITIONS, 20.0), dict.fromkeys(POSITIONS, 0.1), ("thick_slices",), "", (evidence,),
    )  # fmt: skip
    return replace(whole, **changes)


def report(*findings: Finding) -> Report:
    study = {
        "modality": "CT", "shape": [9, 9, 9], "spacing_mm": [1.0, 1.0, 1.0], "levels_named": True,
        "mask_given": False, "complete": True, "flags": [],
    }  # fmt: skip
    return Report(study, findings, real_report().provenance)


def test_report_of_a_study_is_what_it_should_be() -> None:
    """So that the tests below see a grade, an abstention for a reason, and one left to the reader."""
    found = {item.level: item for item in real_report().findings}
    assert list(found) == LEVELS
    assert found["L1"].grade == 2
    assert "cut_by_volume_edge" in found["T11"].flags
    assert found["T11"].grade is None
    assert found["L2"].suggested_exclusion == "schmorl_node"


def test_json_is_valid_under_the_published_schema() -> None:
    content = json.loads(real_report().to_json())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert content["schema"] == SCHEMA
    assert content["research_use"] == RESEARCH_USE


def test_json_comes_back_as_the_same_report() -> None:
    first = real_report()
    again = Report.from_dict(json.loads(first.to_json()))
    assert again.to_dict() == first.to_dict()
    assert again.to_json() == first.to_json()
    for before, after in zip(first.findings, again.findings, strict=True):
        assert isinstance(after.points_ras_mm, tuple)
        assert isinstance(after.flags, tuple)
        assert (after.level, after.grade, after.gradable, after.reason) == (
            before.level,
            before.grade,
            before.gradable,
            before.reason,
        )
        assert np.allclose(after.points_ras_mm, before.points_ras_mm, atol=1e-4)
    assert again.summary == first.summary


def test_small_report_comes_back_equal() -> None:
    first = report(finding(), finding("L2", grade=None, score=None, grade_interval=None, gradable=False, reason="cut"))
    assert Report.from_dict(json.loads(first.to_json())) == first


def read_report() -> Report:
    """The study with a reader's grade, an exclusion, both at once, a name, and levels shifted."""
    report = real_report()
    said = (None, Reading(1), Reading(0, "Scheuermann"), Reading(exclusion="Schmorl node"), Reading(3))
    findings = tuple(replace(f, reading=one) for f, one in zip(report.findings, said, strict=True))
    notes = {"reader": "A. Reader", "levels_shifted": -1, "points_moved": ["L1"]}
    return replace(report, findings=findings, provenance={**report.provenance, **notes})


def test_what_the_reader_says_is_valid_and_comes_back() -> None:
    content = json.loads(read_report().to_json())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert [item["reading"] for item in content["findings"]] == [
        None,
        {"grade": 1, "exclusion": ""},
        {"grade": 0, "exclusion": "Scheuermann"},
        {"grade": None, "exclusion": "Schmorl node"},
        {"grade": 3, "exclusion": ""},
    ]
    again = Report.from_dict(content)
    assert [item.reading for item in again.findings] == [item.reading for item in read_report().findings]
    assert [item.final_grade for item in again.findings] == [None, 1, None, None, 3]
    assert again.to_json() == read_report().to_json()


def test_files_without_readings_are_read_and_valid() -> None:
    content = json.loads(real_report().to_json())
    for item in content["findings"]:
        del item["reading"]
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert [item.reading for item in Report.from_dict(content).findings] == [None] * len(LEVELS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"grade": None, "exclusion": ""},
        {"grade": 4, "exclusion": ""},
        {"grade": 1.5, "exclusion": ""},
        {"grade": 1, "exclusion": None},
        {"grade": 1},
        {"grade": 1, "exclusion": "", "reader": "A"},
        {},
    ],
)
def test_schema_refuses_other_readings(wrong: dict[str, Any]) -> None:
    content = json.loads(real_report().to_json())
    content["findings"][1]["reading"] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(content)


@pytest.mark.parametrize("wrong", [{"reader": ""}, {"levels_shifted": 0}, {"levels_shifted": 0.5}])
def test_schema_refuses_empty_notes_of_the_reader(wrong: dict[str, Any]) -> None:
    content = json.loads(real_report().to_json())
    content["provenance"].update(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(content)


def test_schema_knows_every_flag() -> None:
    definitions = schema()["$defs"]
    for name in ("finding", "evidence"):
        assert set(definitions[name]["properties"]["flags"]["items"]["enum"]) == set(FLAG_TEXT)


@pytest.mark.parametrize(
    ("grade", "reading", "final", "changed", "excluded"),
    [
        (2, None, 2, False, False),
        (2, Reading(2), 2, False, False),
        (2, Reading(0), 0, True, False),
        (None, Reading(1), 1, True, False),
        (None, None, None, False, False),
        (2, Reading(None, "degenerative"), None, False, True),
        (2, Reading(3, "degenerative"), None, False, True),
        (None, Reading(3, "degenerative"), None, False, True),
    ],
)
def test_final_grade(
    grade: int | None, reading: Reading | None, final: int | None, changed: bool, excluded: bool
) -> None:
    one = finding(grade=grade, gradable=grade is not None, reading=reading)
    assert (one.final_grade, one.changed_by_reader, one.excluded) == (final, changed, excluded)
    assert one.automatic_grade == grade


def test_what_json_cannot_hold_becomes_null() -> None:
    evidence = Evidence("morphometry", 0, None, None, {"thirds": [float("nan"), float("inf")], "n": np.float32(1.5)})
    text = report(finding(evidence=(evidence,))).to_json()
    quantities = json.loads(text)["findings"][0]["evidence"][0]["quantities"]
    assert quantities == {"thirds": [None, None], "n": 1.5}
    assert "NaN" not in text
    assert "Infinity" not in text


def test_numpy_numbers_are_written_as_numbers() -> None:
    evidence = Evidence(
        "morphometry", 0, None, None, {"count": np.int64(3), "flag": True, "share": np.float64(0.123456)}
    )
    quantities = json.loads(report(finding(evidence=(evidence,))).to_json())["findings"][0]["evidence"][0]["quantities"]
    assert quantities == {"count": 3, "flag": True, "share": 0.1235}


def test_other_files_are_refused() -> None:
    for content in ({}, {"schema": "something else"}, {"schema": "vertebral-grading/findings/0", "findings": []}):
        with pytest.raises(ValueError, match="vertebral-grading"):
            Report.from_dict(content)


def test_summary_counts_grades_and_what_was_not_assessed() -> None:
    skipped = finding("L4", grade=None, score=None, grade_interval=None, gradable=False, reason="cut")
    found = report(finding("L1", grade=3), finding("L2", grade=0), finding("L3", grade=2), skipped).summary
    assert found["worst_grade"] == 3
    assert found["n_assessed"] == 3
    assert found["n_grade2_or_more"] == 2
    assert found["spinal_deformity_index"] == 5
    assert found["not_assessed"] == [{"level": "L4", "reason": "cut"}]


def test_nothing_assessed_is_not_grade_zero() -> None:
    skipped = finding("L4", grade=None, score=None, grade_interval=None, gradable=False, reason="cut")
    found = report(skipped).summary
    assert found["worst_grade"] is None
    assert found["spinal_deformity_index"] is None
    assert found["n_assessed"] == 0


def test_every_flag_raised_has_a_text_for_the_reader() -> None:
    raised = {flag for item in real_report().findings for flag in item.flags}
    raised |= {flag for item in real_report().findings for one in item.evidence for flag in one.flags}
    assert raised
    assert raised <= set(FLAG_TEXT)
    assert set(real_report().study["flags"]) <= set(FLAG_TEXT)


def test_flags_are_added_once_and_evidence_is_found() -> None:
    one = finding().with_flags(["thick_slices", "off_curve", "off_curve"])
    assert one.flags == ("thick_slices", "off_curve")
    assert finding().flags == ("thick_slices",)
    assert one.evidence_of("morphometry") is one.evidence[0]
    assert one.evidence_of("other") is None


def test_report_names_no_file_and_no_patient() -> None:
    text = real_report().to_json()
    assert "/" not in text.replace(SCHEMA, "").replace("norms/vertebral_heights.csv", "").replace("Resources/", "")
    assert real_report().provenance["version"]
    assert real_report().provenance["libraries"]["numpy"] == np.__version__
