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

from VertebralGradingLib.findings import (
    POSITIONS,
    RESEARCH_USE,
    SCHEMA,
    Evidence,
    Finding,
    Hypothesis,
    Reading,
    Report,
    not_reached,
)
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.findings.states import GRADED, MEANING, STATES, grade_of_state, state_of_grade
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
        level, "grade 2", (1.0, 2.0, 3.0), "", 31.0, (22.0, 38.0), (0.02, 0.1, 0.85, 0.03), (), 1.9, (1.2, 2.6),
        "wedge", ((0.0, 1.0, 2.0),) * 6, dict.fromkeys(POSITIONS, 20.0), dict.fromkeys(POSITIONS, 0.1),
        ("thick_slices",),
        (evidence,),
    )  # fmt: skip
    return replace(whole, **changes)


def ungraded(level: str = "L4", state: str = "not assessed", reason: str = "cut", **changes: Any) -> Finding:
    nothing: dict[str, Any] = dict.fromkeys(("score", "grade_interval", "loss_percent", "loss_interval_percent"))
    return finding(level, state=state, reason=reason, grade_probabilities=None, deformity="", **nothing, **changes)


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
    assert found["T11"].state == "not assessed"
    assert not found["T11"].points_ras_mm
    assert not found["T11"].height_loss
    assert found["T11"].evidence_of("morphometry") is None
    assert found["L2"].state == "undecided"
    schmorl, fracture = found["L2"].hypotheses
    assert (schmorl.cause, schmorl.grade, fracture.cause) == ("Schmorl node", 0, "fracture")
    assert fracture.grade >= 2


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
        assert (after.level, after.state, after.reason) == (before.level, before.state, before.reason)
        assert np.allclose(after.points_ras_mm, before.points_ras_mm, atol=1e-4)
    assert again.summary == first.summary


def test_small_report_comes_back_equal() -> None:
    first = report(finding(), ungraded("L2"), not_reached("L3", (0.0, 0.0, 0.0)))
    assert Report.from_dict(json.loads(first.to_json())) == first


def read_report() -> Report:
    """The study with a reader's grade, an exclusion, both at once, a name, and levels shifted."""
    report = real_report()
    said = (
        None,
        Reading("borderline"),
        Reading("grade 0", "Scheuermann"),
        Reading(exclusion="Schmorl node"),
        Reading("grade 3", confirmed=True),
    )
    findings = tuple(replace(f, reading=one) for f, one in zip(report.findings, said, strict=True))
    findings = (replace(findings[0], second_reading=Reading(agreed=True)), *findings[1:])
    notes = {"reader": "A. Reader", "levels_shifted": -1, "points_moved": ["L1"]}
    return replace(report, findings=findings, provenance={**report.provenance, **notes})


def test_what_the_reader_says_is_valid_and_comes_back() -> None:
    content = json.loads(read_report().to_json())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert [item["reading"] for item in content["findings"]] == [
        None,
        {"state": "borderline", "exclusion": "", "confirmed": False, "agreed": False},
        {"state": "grade 0", "exclusion": "Scheuermann", "confirmed": False, "agreed": False},
        {"state": "", "exclusion": "Schmorl node", "confirmed": False, "agreed": False},
        {"state": "grade 3", "exclusion": "", "confirmed": True, "agreed": False},
    ]
    assert content["findings"][0]["second_reading"]["agreed"] is True
    again = Report.from_dict(content)
    assert [item.reading for item in again.findings] == [item.reading for item in read_report().findings]
    assert [item.final_grade for item in again.findings] == [None, 0, None, None, 3]
    assert again.to_json() == read_report().to_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "", "exclusion": "", "confirmed": False, "agreed": False},
        {"state": "grade 4", "exclusion": "", "confirmed": False, "agreed": False},
        {"state": "undecided", "exclusion": "", "confirmed": False, "agreed": False},
        {"state": "grade 1", "exclusion": None, "confirmed": False, "agreed": False},
        {"state": "grade 1", "exclusion": "", "confirmed": False},
        {"state": "grade 1", "exclusion": "", "confirmed": False, "agreed": False, "reader": "A"},
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
    ("state", "reading", "final", "changed", "excluded"),
    [
        ("grade 2", None, 2, False, False),
        ("grade 2", Reading("grade 2"), 2, False, False),
        ("grade 2", Reading(agreed=True), 2, False, False),
        ("grade 2", Reading("grade 0"), 0, True, False),
        ("grade 0", Reading("borderline"), 0, True, False),
        ("borderline", None, 0, False, False),
        ("not assessed", Reading("grade 1"), 1, True, False),
        ("treated", Reading(confirmed=True), None, False, False),
        ("not assessed", None, None, False, False),
        ("grade 2", Reading("", "degenerative"), None, False, True),
        ("grade 2", Reading("grade 3", "degenerative"), None, False, True),
        ("undecided", Reading("grade 3", "degenerative"), None, False, True),
    ],
)
def test_final_grade(state: str, reading: Reading | None, final: int | None, changed: bool, excluded: bool) -> None:
    one = finding(state=state, reading=reading)
    assert (one.final_grade, one.changed_by_reader, one.excluded) == (final, changed, excluded)
    assert one.grade == grade_of_state(state)


def test_states_are_those_of_the_schema_and_say_their_grade() -> None:
    properties = schema()["$defs"]["finding"]["properties"]
    assert properties["state"]["enum"] == list(STATES) == list(MEANING)
    assert schema()["$defs"]["reading"]["properties"]["state"]["enum"] == ["", *GRADED]
    assert [grade_of_state(state) for state in STATES] == [0, 0, 1, 2, 3, None, None, None, None]
    assert [grade_of_state(state_of_grade(grade)) for grade in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "normal"},
        {"state": "not assessed", "reason": ""},
        {"state": "undecided", "reason": "pit", "hypotheses": []},
        {"state": "grade 1", "reason": "because"},
        {"state": "treated", "reason": "metal"},  # and still a score
        {"grade_probabilities": [0.5, 0.5]},
    ],
)
def test_schema_refuses_what_a_state_cannot_have(wrong: dict[str, Any]) -> None:
    content = json.loads(real_report().to_json())
    graded = next(item for item in content["findings"] if item["state"] == "grade 2")
    graded.update(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(content)


def test_chances_sum_to_one_and_agree_with_the_grade() -> None:
    for item in real_report().findings:
        chances = item.grade_probabilities
        assert (chances is None) == (not item.gradable)
        if chances is None or item.grade is None or item.loss_interval_percent is None:
            continue
        assert sum(chances) == pytest.approx(1.0)
        assert sum(chances[: item.grade]) <= 0.5 <= sum(chances[: item.grade + 1])
        assert item.loss_interval_percent[0] <= item.loss_percent <= item.loss_interval_percent[1]


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
    assert quantities == {"count": 3, "flag": True, "share": 0.12346}


def test_other_files_are_refused() -> None:
    for content in ({}, {"schema": "something else"}, {"schema": "vertebral-grading/findings/0", "findings": []}):
        with pytest.raises(ValueError, match="vertebral-grading"):
            Report.from_dict(content)


def test_summary_counts_each_state_as_the_table_says() -> None:
    found = report(
        finding("T8", state="grade 3"),
        finding("T9", state="grade 0"),
        finding("T10", state="grade 2"),
        finding("T11", state="borderline", reason="posterior loss 25 %"),
        ungraded("T12", "undecided", hypotheses=(Hypothesis("Schmorl node", 0), Hypothesis("fracture", 2))),
        ungraded("L1", "treated"),
        ungraded("L2"),
        finding("L3", reading=Reading(exclusion="Scheuermann")),
        not_reached("L4", (0.0, 0.0, 0.0)),
    ).summary
    assert (found["n_planned"], found["n_assessed"]) == (9, 4)
    assert (found["worst_grade"], found["n_grade2_or_more"], found["spinal_deformity_index"]) == (3, 2, 5)
    assert [found[name] for name in ("borderline", "undecided", "treated", "not_reached")] == [
        ["T11"],
        ["T12"],
        ["L1"],
        ["L4"],
    ]
    assert found["not_assessed"] == [
        {"level": "L2", "reason": "cut"},
        {"level": "L3", "reason": "excluded by the reader (Scheuermann)"},
    ]


def test_nothing_assessed_is_not_grade_zero() -> None:
    found = report(ungraded()).summary
    assert found["worst_grade"] is None
    assert found["spinal_deformity_index"] is None
    assert found["n_assessed"] == 0


def test_other_methods_that_differ_are_told_and_change_no_state() -> None:
    other = Evidence("dae", 0, None, 0.1)
    one = finding()
    one = replace(one, evidence=(*one.evidence, other))
    assert one.methods_differ
    assert one.state == "grade 2"
    assert report(one).summary["methods_disagree"] == ["L1"]


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
