"""Findings of version 0.1 (``vertebral-grading/findings/1``) in the form of this version.

What 0.1 did not write stays unknown: chances of the grades are null, so that nothing becomes borderline by its chance.
A file whose grades another method gave (0.1 let a user choose) is read by what morphometry said in it.
"""

from __future__ import annotations

from typing import Any

from VertebralGradingLib.findings.flags import CUT, obstacle
from VertebralGradingLib.findings.states import (
    BORDERLINE,
    FRACTURE,
    NOT_ASSESSED,
    SCHMORL,
    UNDECIDED,
    grade_of_state,
    state_of_grade,
)

FIRST = "vertebral-grading/findings/1"
_SECOND = "vertebral-grading/findings/2"
_SCORES, _LOSSES = (0.0, 0.5, 1.5, 2.5, 3.0), (0.0, 20.0, 25.0, 40.0, 50.0)
"""The axis of scores in 0.1, and the losses (per cent) that stood there."""
_GRADE_1 = 0.20
_OTHERS = "the method could not grade it"
"""What 0.1 wrote where another method than morphometry was to give the grade and had none."""
_DEFECT = "a focal endplate defect alone makes the grade"


def migrated(content: dict[str, Any]) -> dict[str, Any]:
    """A whole report; one of another schema is left as it is."""
    if content.get("schema") != FIRST:
        return content
    return {
        **content,
        "schema": _SECOND,
        "source_series": None,
        "findings": [migrated_finding(item) for item in content["findings"]],
    }


def migrated_finding(item: dict[str, Any]) -> dict[str, Any]:
    """One finding; one of this version is left as it is."""
    if "state" in item:
        return item
    said = next((one for one in item["evidence"] if one["method"] == "morphometry"), None)
    state, reason = _state(item, said)
    graded = grade_of_state(state) is not None
    loss, interval = _loss(item, said) if graded else (None, None)
    reading = item.get("reading")
    cut = CUT in item["flags"] and not graded
    return {
        "level": item["level"],
        "state": state,
        "reason": reason,
        "loss_percent": loss,
        "loss_interval_percent": interval,
        "grade_probabilities": None,
        "hypotheses": _hypotheses(item, said) if state == UNDECIDED and said is not None else [],
        "score": said["score"] if graded and said is not None else item["score"] if graded else None,
        "grade_interval": said["grade_interval"] if graded and said is not None else None,
        "deformity": _shape(item, said) if graded else "",
        "center_ras_mm": item["center_ras_mm"],
        "points_ras_mm": [] if cut else item["points_ras_mm"],
        "heights_mm": {} if cut else item["heights_mm"],
        "height_loss": {} if cut else item["height_loss"],
        "flags": item["flags"],
        "evidence": [] if cut else item["evidence"],
        "reading": None if reading is None else _reading(reading),
        "second_reading": None,
    }


def _state(item: dict[str, Any], said: dict[str, Any] | None) -> tuple[str, str]:
    """State and its reason, in the order in which this version decides (:mod:`methods.decision`)."""
    own = item.get("primary_method") == "morphometry"
    if own and item["gradable"]:  # also where a reader has accepted it in spite of a flag
        return _graded_state(item, said)
    if own and item.get("suggested_exclusion"):
        return UNDECIDED, _DEFECT
    reason = "" if item.get("suggested_exclusion") or item["reason"] == _OTHERS else item["reason"]
    kept = obstacle(item["flags"], earlier=True)
    if kept is not None:
        return kept[0], reason or kept[1]
    if reason or said is None or said["grade"] is None:
        return NOT_ASSESSED, reason or "it was not measured"
    return (UNDECIDED, _DEFECT) if _without(said) < said["grade"] else _graded_state(item, said)


def _graded_state(item: dict[str, Any], said: dict[str, Any] | None) -> tuple[str, str]:
    grade = item["grade"] if said is None or said["grade"] is None else said["grade"]
    posterior = item["height_loss"].get("posterior") or 0.0
    if grade == 0 and posterior >= _GRADE_1 and item["level"] != "L5":
        return BORDERLINE, f"posterior loss {100 * posterior:.0f} %"
    return state_of_grade(grade), ""


def _without(said: dict[str, Any]) -> int:
    """The grade without focal defects; the grade itself where there is none."""
    return int(said["quantities"].get("grade_without_defect", said["grade"]))


def _shape(item: dict[str, Any], said: dict[str, Any] | None) -> str:
    return str(item["deformity"] if said is None else said["quantities"].get("deformity", item["deformity"]))


def _loss(item: dict[str, Any], said: dict[str, Any] | None) -> tuple[float | None, list[float] | None]:
    """The graded loss, and its interval read back from the score's; None where the axis of scores has cut it off."""
    interval = None if said is None else said["grade_interval"]
    lost = {name: value for name, value in item["height_loss"].items() if value is not None}
    if interval is not None and not 0.0 < interval[0] <= interval[1] < _SCORES[-1]:
        interval = None
    return _graded(lost, said), None if interval is None else [_loss_of_score(score) for score in interval]


def _graded(lost: dict[str, float], said: dict[str, Any] | None) -> float | None:
    """The largest of anterior, middle and mean loss (per cent)."""
    if len(lost) < 3:
        return None
    expected = (said["quantities"].get("reference_mm") if said is not None else None) or dict.fromkeys(lost, 1.0)
    mean = sum(lost[name] * expected[name] for name in lost) / sum(expected.values())
    return 100.0 * max(lost["anterior"], lost["middle"], mean)


def _loss_of_score(score: float) -> float:
    for low, high, start, end in zip(_SCORES, _SCORES[1:], _LOSSES, _LOSSES[1:], strict=False):
        if score <= high:
            return start + (end - start) * max(score - low, 0.0) / (high - low)
    return _LOSSES[-1]


def _hypotheses(item: dict[str, Any], said: dict[str, Any]) -> list[dict[str, Any]]:
    quantities = said["quantities"]
    unknown: dict[str, Any] = {"loss_interval_percent": None, "grade_probabilities": None}
    without = _graded(dict(quantities.get("loss_without_defect", {})), said)
    loss, interval = _loss(item, said)
    return [
        {"cause": SCHMORL, "grade": _without(said), "loss_percent": without, **unknown},
        {
            "cause": FRACTURE,
            "grade": said["grade"],
            "loss_percent": loss,
            "loss_interval_percent": interval,
            "grade_probabilities": None,
        },
    ]


def _reading(reading: dict[str, Any]) -> dict[str, Any]:
    grade = reading["grade"]
    state = "" if grade is None else state_of_grade(grade)
    return {"state": state, "exclusion": reading["exclusion"], "confirmed": False, "agreed": False}
