"""The reader's work: grades, exclusions, shifted levels (against grading under the new names), undo."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from rendering.analytic import Pit, analytic_spine, grid_around, label_volume, usual_heights

from VertebralGradingLib.errors import CentroidError, InputError
from VertebralGradingLib.findings import Evidence, Finding, Reading, Report
from VertebralGradingLib.findings.flags import EARLIER, FLAG_TEXT
from VertebralGradingLib.findings.states import GRADED
from VertebralGradingLib.methods.decision import decide
from VertebralGradingLib.methods.regrading import move_points, shift_levels
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.reading import (
    EXCLUSIONS,
    LIMIT,
    History,
    agree,
    confirm,
    exclude,
    is_edited,
    set_reader,
    set_reader_grade,
    set_reader_state,
)
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine import anatomy
from VertebralGradingLib.spine.spine import build_spine

LEVELS = ("T10", "T11", "T12", "L1", "L2")


@cache
def measured(levels: tuple[str, ...] = LEVELS) -> Report:
    """The same bodies under any names: the fourth is a wedge, the last has a deep pit, the first is cut."""
    heights = usual_heights(LEVELS)
    heights[3] *= [0.68, 0.8, 1.0]
    pit = Pit(levels[4], +1, depth_mm=9.0, ap_mm=13.0, lr_mm=14.0)
    shape = analytic_spine(LEVELS, heights, sagittal_deg=np.linspace(8, -8, 5))
    spine = replace(shape, levels=levels, pits=(pit,))
    affine, size = grid_around(spine)
    cut = int((np.linalg.inv(affine) @ [*spine.centers[0], 1.0])[2]) + 3
    return grade(None, build_spine(spine.points()), interpret(label_volume(spine, affine, (*size[:2], cut))))


def of(report: Report, level: str) -> Finding:
    return next(finding for finding in report.findings if finding.level == level)


def quantities(finding: Finding) -> dict[str, Any]:
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None
    return evidence.quantities


def plain(report: Report) -> str:
    return json.dumps([finding.to_dict() for finding in report.findings], sort_keys=True)


def same(one: Any, other: Any, path: str = "", tolerance: float = 1e-9) -> None:
    """Assert that two JSON values are the same up to rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}/{key}", tolerance)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for n, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}/{n}", tolerance)
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=tolerance), path
    else:
        assert one == other, path


def found(report: Report) -> list[dict[str, Any]]:
    return [finding.to_dict() for finding in report.findings]


def test_the_study_is_what_the_tests_below_need() -> None:
    report = measured()
    assert [finding.level for finding in report.findings] == list(LEVELS)
    assert [finding.grade for finding in report.findings] == [None, 0, 0, 2, None]
    assert of(report, "T10").reason == "cut by the edge of the volume"
    assert of(report, "L2").state == "undecided"


# --- grades, exclusions, names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["L1", "T11", "T10"])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_readers_grade_is_final_and_the_automatic_one_stays(level: str, number: int) -> None:
    before = measured()
    report = set_reader_grade(before, level, number)
    finding = of(report, level)
    assert finding.reading == Reading(f"grade {number}")
    assert finding.final_grade == number
    assert finding.grade == of(before, level).grade
    assert finding.changed_by_reader == (f"grade {number}" != of(before, level).state)
    assert replace(finding, reading=None) == of(before, level)
    assert [item for item in report.findings if item.level != level] == [
        item for item in before.findings if item.level != level
    ]
    assert of(before, level).reading is None
    assert set_reader_grade(report, level, None) == before


def test_exclusion_goes_before_grades_and_is_taken_back() -> None:
    graded = set_reader_grade(measured(), "L1", 3)
    report = exclude(graded, "L1", "  Schmorl \n node ")
    finding = of(report, "L1")
    assert finding.reading == Reading("grade 3", "Schmorl node")
    assert finding.excluded
    assert finding.final_grade is None
    assert not finding.changed_by_reader
    assert of(set_reader_grade(report, "L1", 1), "L1").final_grade is None
    assert exclude(report, "L1", "") == graded
    assert exclude(exclude(measured(), "L1", EXCLUSIONS[0]), "L1", " ") == measured()
    assert of(graded, "L1").final_grade == 3


def test_without_a_reading_the_automatic_grade_is_final() -> None:
    assert [finding.final_grade for finding in measured().findings] == [None, 0, 0, 2, None]
    assert not any(finding.changed_by_reader or finding.excluded for finding in measured().findings)
    assert [finding.undecided for finding in measured().findings] == [False, False, False, False, True]
    assert not of(set_reader_grade(measured(), "L2", 0), "L2").undecided
    assert not of(exclude(measured(), "L2", "Schmorl node"), "L2").undecided


def test_summary_counts_final_grades() -> None:
    report = set_reader_grade(set_reader_grade(measured(), "T11", 1), "T10", 3)
    summary = exclude(report, "L1", "metastasis or other lesion").summary
    assert summary["worst_grade"] == 3
    assert summary["n_assessed"] == 3
    assert summary["n_grade2_or_more"] == 1
    assert summary["spinal_deformity_index"] == 4
    assert [item["level"] for item in summary["not_assessed"]] == ["L1"]
    assert summary["not_assessed"][0]["reason"] == "excluded by the reader (metastasis or other lesion)"
    assert summary["undecided"] == ["L2"]


@pytest.mark.parametrize("number", [-1, 4, 1.5, True, "2", float("nan")])
def test_only_grades_0_to_3_are_grades(number: Any) -> None:
    with pytest.raises(InputError) as caught:
        set_reader_grade(measured(), "L1", number)
    assert "0, 1, 2, 3" in caught.value.hint


def test_a_reader_may_say_borderline_and_no_state_without_a_grade() -> None:
    report = set_reader_state(measured(), "T11", "borderline")
    assert (of(report, "T11").final_state, of(report, "T11").final_grade) == ("borderline", 0)
    assert report.summary["borderline"] == ["T11"]
    for wrong in ("undecided", "treated", "grade 4", "normal"):
        with pytest.raises(InputError) as caught:
            set_reader_state(measured(), "T11", wrong)
        assert all(state in caught.value.hint for state in GRADED)


def test_confirmation_and_agreement_stand_apart_and_fall_with_another_grade() -> None:
    agreed = agree(measured(), "L1")
    assert of(agreed, "L1").reading == Reading(agreed=True)
    assert not of(agreed, "L1").changed_by_reader
    assert not of(agreed, "L1").confirmed
    both = confirm(agreed, "L1")
    assert of(both, "L1").confirmed
    assert of(set_reader_grade(both, "L1", 1), "L1").reading == Reading("grade 1")
    assert agree(confirm(both, "L1", False), "L1", False) == measured()
    assert of(exclude(both, "L1", "degenerative"), "L1").reading == Reading(exclusion="degenerative")
    assert of(agree(set_reader_grade(measured(), "L1", 1), "L1"), "L1").reading == Reading("grade 1")
    assert confirm(measured(), "T11") == measured(), "grade 0 is no fracture"
    assert is_edited(both)
    assert not is_edited(measured())


def test_a_second_reader_stands_beside_the_first() -> None:
    report = set_reader_grade(set_reader_grade(measured(), "L1", 3), "L1", 1, second=True)
    report = set_reader(set_reader(report, "A"), "B", second=True)
    finding = of(report, "L1")
    assert finding.reading == Reading("grade 3")
    assert finding.second_reading == Reading("grade 1")
    assert finding.final_grade == 3
    assert (report.provenance["reader"], report.provenance["second_reader"]) == ("A", "B")
    assert is_edited(set_reader_grade(measured(), "L1", 1, second=True))
    assert set_reader_grade(report, "L1", None, second=True).findings == set_reader_grade(measured(), "L1", 3).findings


def test_unknown_levels_are_refused() -> None:
    for change in (lambda r: set_reader_grade(r, "T5", 1), lambda r: exclude(r, "T5", "degenerative")):
        with pytest.raises(CentroidError, match="T5") as caught:
            change(measured())
        assert "T12" in caught.value.hint


def test_readers_name_is_provenance() -> None:
    before = measured()
    report = set_reader(before, " A.  Reader ")
    assert report.provenance["reader"] == "A. Reader"
    assert {**before.provenance, "reader": "A. Reader"} == report.provenance
    assert "reader" not in before.provenance
    assert set_reader(report, "B").provenance["reader"] == "B"
    assert set_reader(report, "  ").provenance == before.provenance


def test_exclusions_are_suggested_once_each() -> None:
    assert len(set(EXCLUSIONS)) == len(EXCLUSIONS) == 13
    assert all(reason == " ".join(reason.split()) for reason in EXCLUSIONS)


# --- undo ------------------------------------------------------------------------------------------------------------


def test_history_goes_back_and_forth() -> None:
    history = History()
    assert history.current is None
    assert (history.undo(), history.redo()) == (None, None)
    reports = [set_reader_grade(measured(), "L1", n) for n in range(3)]
    for report in reports:
        history.push(report)
    assert history.current is reports[2]
    assert (history.can_undo, history.can_redo) == (True, False)
    assert history.undo() is reports[1]
    assert history.undo() is history.current is reports[0]
    assert (history.can_undo, history.can_redo) == (False, True)
    assert history.undo() is None
    assert history.current is reports[0]
    assert [history.redo(), history.redo(), history.redo()] == [reports[1], reports[2], None]


def test_a_new_change_forgets_what_was_undone_and_the_same_again_is_no_step() -> None:
    history = History()
    first, second, third = (set_reader(measured(), name) for name in "abc")
    for report in (first, second, set_reader(measured(), "b")):
        history.push(report)
    assert history.undo() is first
    assert not history.can_undo
    history.push(set_reader(measured(), "a"))
    assert history.can_redo, "nothing has changed, so nothing is forgotten"
    history.push(third)
    assert not history.can_redo
    assert history.undo() is first


def test_history_is_bounded() -> None:
    history = History()
    for n in range(LIMIT + 50):
        history.push(set_reader(measured(), f"reader {n + 1}"))
    steps = 0
    while history.undo() is not None:
        steps += 1
    assert steps == LIMIT == 100
    assert history.current is not None
    assert history.current.provenance["reader"] == "reader 50"


# --- shifted levels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "levels"), [(1, ("T11", "T12", "L1", "L2", "L3")), (-3, ("T7", "T8", "T9", "T10", "T11"))]
)
def test_shifted_findings_are_those_of_the_same_bodies_under_the_new_names(steps: int, levels: tuple[str, ...]) -> None:
    """References, losses, intervals, grades, flags, reasons: all but what other methods would say."""
    before = measured()
    report = shift_levels(before, steps)
    same(found(report), found(measured(levels)), tolerance=1e-4)
    reference = quantities(of(report, levels[3]))["reference_mm"]["posterior"]  # of the broken one: no size of its own
    assert abs(reference - quantities(of(before, LEVELS[3]))["reference_mm"]["posterior"]) > 0.02
    assert report.provenance == {**before.provenance, "levels_shifted": steps}


def test_a_shift_and_its_opposite_change_nothing() -> None:
    before = set_reader(exclude(set_reader_grade(measured(), "T12", 1), "L2", "Schmorl node"), "A")
    points = np.array(of(before, "T11").points_ras_mm)
    points[0] += 0.3 * (points[1] - points[0])
    before = move_points(before, "T11", points)
    assert of(before, "T11").grade != of(measured(), "T11").grade
    there = shift_levels(before, 1)
    assert plain(there) != plain(before)
    assert there.provenance["points_moved"] == ["T12"]
    back = shift_levels(there, -1)
    same(found(back), found(before))
    assert back.provenance == before.provenance
    two = shift_levels(there, 1)
    assert two.provenance["levels_shifted"] == 2
    same(found(two), found(shift_levels(before, 2)))
    assert shift_levels(before, 0).provenance == before.provenance


def test_a_shift_survives_the_file() -> None:
    """The scene keeps findings as JSON with five decimals."""
    stored = Report.from_dict(json.loads(measured().to_json()))
    same(found(shift_levels(shift_levels(stored, 2), -2)), found(measured()), tolerance=2e-3)


def test_points_heights_and_readings_stay_with_their_vertebra() -> None:
    before = set_reader(exclude(set_reader_grade(measured(), "T12", 1), "L2", "Schmorl node"), "A")
    report = shift_levels(before, 1)
    for old, new in zip(before.findings, report.findings, strict=True):
        assert anatomy.axis_position(new.level) == anatomy.axis_position(old.level) + 1
        assert (new.points_ras_mm, new.center_ras_mm, new.heights_mm) == (
            old.points_ras_mm, old.center_ras_mm, old.heights_mm
        )  # fmt: skip
        assert new.reading == old.reading
    assert of(report, "L1").final_grade == 1
    assert of(report, "L3").excluded
    assert report.provenance["reader"] == "A"


def test_levels_that_do_not_exist_are_refused() -> None:
    lumbar = shift_levels(measured(), 4)
    assert [finding.level for finding in lumbar.findings] == ["L2", "L3", "L4", "L5", "L6"]
    same(found(shift_levels(lumbar, -4)), found(measured()))
    with pytest.raises(CentroidError, match=r"L6 .*\+1") as caught:
        shift_levels(lumbar, 1)
    assert "T1 to L6" in caught.value.hint
    with pytest.raises(CentroidError, match=r"T10 .*-10"):
        shift_levels(measured(), -10)
    assert [f.level for f in shift_levels(measured(), -9).findings] == ["T1", "T2", "T3", "T4", "T5"]


@pytest.mark.parametrize("level", ["V3", "T13", "C7", "S1"])
def test_unknown_levels_and_variants_are_not_shifted(level: str) -> None:
    report = measured()
    named = replace(report, findings=(*report.findings[:2], replace(report.findings[2], level=level)))
    for steps in (1, -1):
        with pytest.raises(CentroidError, match=level) as caught:
            shift_levels(named, steps)
        assert "grade again" in caught.value.hint


def test_the_reason_names_the_vertebra_by_its_new_level() -> None:
    report = measured()
    lost = Finding("L2", "not assessed", (0.0, 0.0, 0.0), "The mask has no vertebra at the centroid of L2")
    shifted = shift_levels(replace(report, findings=(*report.findings[:4], lost)), -1)
    assert shifted.findings[4] == replace(lost, level="L1", reason="The mask has no vertebra at the centroid of L1")


# --- grading again ---------------------------------------------------------------------------------------------------


def rescaled(report: Report, level: str, shares: tuple[float, float, float]) -> Report:
    """The report with one vertebra's stored heights multiplied, its own points and defects left as they are."""

    def change(finding: Finding) -> Finding:
        heights = {p: v * s for (p, v), s in zip(quantities(finding)["heights_mm"].items(), shares, strict=True)}
        (evidence,) = finding.evidence
        evidence = replace(evidence, quantities={**evidence.quantities, "heights_mm": heights})
        return replace(finding, heights_mm=heights, evidence=(evidence,))

    return replace(report, findings=tuple(change(f) if f.level == level else f for f in report.findings))


def again(report: Report) -> Report:
    """Grade anew without any change: move T12's points to where they are."""
    return move_points(report, "T12", np.array(of(report, "T12").points_ras_mm))


def test_grading_again_comes_to_the_findings_of_the_first_time() -> None:
    before = measured()
    after = again(before)
    for old, new in zip(before.findings, after.findings, strict=True):
        if old.level != "T12":
            same(new.to_dict(), old.to_dict(), old.level, tolerance=5e-3)


def test_implausible_heights_are_not_graded_and_graded_again_when_plausible() -> None:
    bad = again(rescaled(measured(), "T11", (1.0, 0.05, 1.0)))
    finding = of(bad, "T11")
    assert "implausible_heights" in finding.flags
    assert (finding.state, finding.reason) == ("not assessed", FLAG_TEXT["implausible_heights"])
    assert (finding.grade, finding.score, finding.grade_interval, finding.deformity) == (None, None, None, "")
    good = of(again(rescaled(bad, "T11", (1.0, 20.0, 1.0))), "T11")
    same(good.to_dict(), of(again(measured()), "T11").to_dict())
    assert good.grade == 0


def test_a_defect_is_left_to_the_reader_only_while_it_makes_the_grade() -> None:
    shallow = of(again(rescaled(measured(), "L2", (1.0, 1.5, 1.0))), "L2")
    assert shallow.hypotheses == ()
    assert shallow.grade == 0
    deep = of(again(rescaled(measured(), "L2", (1.0, 0.75, 1.0))), "L2")
    assert deep.state == "undecided"
    assert deep.evidence[0].grade == 3
    assert [one.grade for one in deep.hypotheses] == [0, 3]


def test_the_decision_on_a_defect_is_the_pipelines() -> None:
    for level in ("L2", "L1", "T11"):
        finding = of(measured(), level)
        decision = decide(level, finding.evidence[0], finding.flags)
        assert (decision.state, decision.reason, decision.hypotheses) == (
            finding.state,
            finding.reason,
            finding.hypotheses,
        )


def test_older_reports_keep_what_they_say_of_defects() -> None:
    """Their evidence does not hold the heights without the defect."""
    report = measured()
    finding = of(report, "L2")
    (evidence,) = finding.evidence
    old = {key: value for key, value in evidence.quantities.items() if key != "heights_without_defect_mm"}
    assert len(old) == len(evidence.quantities) - 1
    before = replace(finding, evidence=(replace(evidence, quantities=old),))
    after = of(shift_levels(replace(report, findings=(*report.findings[:4], before)), 1), "L3")
    assert (after.state, after.reason, after.hypotheses) == ("undecided", finding.reason, finding.hypotheses)


def test_what_the_reader_accepted_stays_accepted() -> None:
    report = measured()
    accepted = move_points(report, "L2", np.array(of(report, "L2").points_ras_mm), accept=True)
    assert of(accepted, "L2").gradable
    assert of(accepted, "L2").grade is not None
    assert of(accepted, "L2").hypotheses == ()
    for later in (again(accepted), shift_levels(shift_levels(accepted, 1), -1)):
        assert of(later, "L2").grade == of(accepted, "L2").grade
        assert of(later, "L2").gradable


def test_a_cut_vertebra_has_no_points_to_move() -> None:
    with pytest.raises(CentroidError, match="T10 was not measured"):
        move_points(measured(), "T10", np.zeros((6, 3)))


def doubted(report: Report, level: str, sd_mm: float, **changes: Any) -> Report:
    """The report with one vertebra whose edges were found with doubt: its heights' stored deviation, and the flag."""

    def change(finding: Finding) -> Finding:
        (evidence,) = finding.evidence
        stored = {**evidence.quantities, "height_sd_mm": dict.fromkeys(finding.heights_mm, sd_mm)}
        flags = (*finding.flags, "low_confidence_mask")
        return replace(finding, evidence=(replace(evidence, quantities=stored),), flags=flags, **changes)

    return replace(report, findings=tuple(change(f) if f.level == level else f for f in report.findings))


def test_doubt_alone_refuses_no_vertebra_but_widens_its_interval() -> None:
    before, after = (of(report, "T11") for report in (measured(), again(doubted(measured(), "T11", 1.0))))
    assert after.state == before.state == "grade 0"
    (low, high), (least, most) = before.loss_interval_percent or (0, 0), after.loss_interval_percent or (0, 0)
    assert most - least > 1.05 * (high - low)


@pytest.mark.parametrize("reason", EARLIER.values())
def test_what_an_earlier_version_refused_by_rule_stays_refused(reason: str) -> None:
    """Its interval did not tell how uncertain the edges were."""
    report = again(doubted(measured(), "T11", 0.5, state="not assessed", reason=reason))
    assert (of(report, "T11").state, of(report, "T11").reason) == ("not assessed", reason)
    accepted = move_points(report, "T11", np.array(of(report, "T11").points_ras_mm), accept=True)
    assert of(accepted, "T11").grade == 0


def test_a_doubtful_vertebra_follows_the_reference_and_does_not_carry_it() -> None:
    report = again(doubted(measured(), "T11", 3.0))
    points = np.array(of(report, "T11").points_ras_mm)
    moved = move_points(report, "T11", points + np.where(np.arange(6) % 2 == 0, 1.0, 0.0)[:, None] * [0, 0, 4.0])
    assert of(moved, "T11").heights_mm != of(report, "T11").heights_mm
    assert quantities(of(moved, "T11"))["graded_loss"] != quantities(of(report, "T11"))["graded_loss"]
    assert of(moved, "T11").state == of(report, "T11").state == "not assessed"
    assert of(report, "T11").reason.startswith("too uncertain")
    same(found(moved)[2:], found(report)[2:])
    taller = np.array(of(report, "T12").points_ras_mm) + np.where(np.arange(6) % 2 == 0, 1.0, 0.0)[:, None] * [
        0,
        0,
        2.0,
    ]
    larger = move_points(report, "T12", taller)
    before, after = (quantities(of(one, "T11"))["crush_loss"] for one in (report, larger))
    assert after > before + 0.002, "against the curve alone, its own size not granted"


def test_other_methods_and_their_disagreement() -> None:
    report = measured()
    other = Evidence("other", 3, None, 3.0)
    finding = of(report, "T11")
    joined = replace(finding, evidence=(*finding.evidence, other), flags=("thick_slices",))
    mixed = replace(report, findings=tuple(joined if f is finding else f for f in report.findings))
    after = of(shift_levels(mixed, 1), "T12")
    assert after.flags == ("thick_slices", "reference_weak", "methods_disagree")
    assert after.evidence[1] == other
    assert (after.state, other.grade) == ("grade 0", 3), "other methods never change the state"
    agreed = replace(joined, evidence=(*finding.evidence, replace(other, grade=0)), flags=("methods_disagree",))
    mixed = replace(report, findings=tuple(agreed if f is finding else f for f in report.findings))
    assert "methods_disagree" not in of(shift_levels(mixed, 1), "T12").flags
