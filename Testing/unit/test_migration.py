"""Findings as version 0.1 wrote them are read, and say no more than they did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from VertebralGradingLib.findings import Report
from VertebralGradingLib.resources import resource


def stored() -> dict[str, Any]:
    """Findings as version 0.1 wrote them."""
    path = Path(__file__).resolve().parents[1] / "stored" / "findings-0.1.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_findings_of_version_0_1_are_read() -> None:
    assert stored()["schema"] == "vertebral-grading/findings/1"
    read = Report.from_dict(stored())
    content = json.loads(read.to_json())
    jsonschema.Draft202012Validator(
        json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    ).validate(content)
    states = {item.level: item.state for item in read.findings}
    assert states == {
        "T11": "grade 0",
        "T12": "grade 0",
        "L1": "grade 2",
        "L2": "grade 0",
        "L3": "undecided",
        "L4": "not assessed",
    }
    found = {item.level: item for item in read.findings}
    assert [(one.cause, one.grade) for one in found["L3"].hypotheses] == [("Schmorl node", 0), ("fracture", 2)]
    assert found["T11"].final_grade == 1
    assert found["T12"].excluded
    assert found["L1"].loss_percent == pytest.approx(100 * max(found["L1"].height_loss.values()), abs=0.1)
    assert found["L1"].loss_interval_percent[0] < found["L1"].loss_percent < found["L1"].loss_interval_percent[1]
    for item in read.findings:
        interval = item.loss_interval_percent
        assert interval is None or interval[0] <= (item.loss_percent or 0.0) <= interval[1]
    assert not found["L4"].heights_mm
    assert read.provenance["reader"] == "A. Reader"
    assert Report.from_dict(content).to_dict() == content


@pytest.mark.parametrize(
    ("place", "changes", "state"),
    [
        (2, {"reason": "the method could not grade it", "primary_method": "dae", "gradable": False}, "grade 2"),
        (4, {"flags": ["cut_by_volume_edge"], "primary_method": "dae", "suggested_exclusion": ""}, "not assessed"),
        (4, {"flags": ["cut_by_volume_edge", "implant_or_cement"], "suggested_exclusion": ""}, "not assessed"),
        (4, {"flags": ["implant_or_cement"], "suggested_exclusion": "", "reason": "metal"}, "treated"),
        (3, {"flags": ["low_confidence_mask"]}, "grade 0"),  # a reader had accepted it
    ],
)
def test_states_of_version_0_1_are_decided_in_this_versions_order(
    place: int, changes: dict[str, Any], state: str
) -> None:
    content = stored()
    content["findings"][place].update(changes)
    found = Report.from_dict(content).findings[place]
    assert found.state == state
    if state == "not assessed":
        assert not found.heights_mm
        assert not found.evidence


def test_findings_of_version_0_1_that_another_method_graded_are_read_by_morphometry() -> None:
    content = stored()
    wedge = content["findings"][2]
    wedge.update(primary_method="neighbours", grade=0, score=0.1, grade_interval=[0.0, 0.2])
    posterior = content["findings"][3]
    posterior["height_loss"]["posterior"] = 0.24
    treated = content["findings"][1]
    treated.update(
        gradable=False,
        grade=None,
        score=None,
        reason="metal or cement in or near the body",
        flags=["implant_or_cement"],
    )
    found = Report.from_dict(content).findings
    assert [item.state for item in found[1:4]] == ["treated", "grade 2", "borderline"]
    assert found[3].reason == "posterior loss 24 %"
