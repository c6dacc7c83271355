"""Every state in the scene: its word in table, segments and colours, and nothing drawn of what was not measured."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from host.application import Application
from host.cases import add_points, add_segmentation, add_volume
from rendering.demo_variants import CUT, TREATED, UNDECIDED, special_case

from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.findings import Report
from VertebralGradingLib.findings.states import GRADED, NOT_REACHED
from VertebralGradingLib.methods.bodies import body_labels
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.reading import agree, confirm, set_reader_state
from VertebralGradingLib.report.colors import color_of_state
from VertebralGradingLib.report.csv_table import rows
from VertebralGradingLib.report.sentences import sentence, summary_sentence
from VertebralGradingLib.scene.grading import grade_here, read_inputs
from VertebralGradingLib.scene.live import PointsWatcher
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.segments import GRADE_TAG, STATE_TAG
from VertebralGradingLib.scene.six_points import read_points
from VertebralGradingLib.scene.studies import show_report
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study

CT, POINTS = demo_case()
LEVELS = [point.level for point in POINTS]
SPECIAL, _ = special_case()


@cache
def _special() -> tuple[Report, VertebraLabels]:
    studies: list[Study] = []
    report = grade(SPECIAL, build_spine(POINTS), on_study=studies.append)
    bodies = body_labels(studies[0])
    assert bodies is not None
    return report, bodies


def _show_special() -> StudyResults:
    report, bodies = _special()
    node = add_volume(SPECIAL, "special")
    return show_report(report, node, ct=SPECIAL, spine=build_spine(POINTS), labels=bodies)


def _tag(segment: Any, name: str) -> str:
    text = vtk.reference("")
    assert segment.GetTag(name, text)
    return str(text)


def _column(results: StudyResults, name: str) -> list[str]:
    table = results.table_node.GetTable()
    return [table.GetValueByName(row, name).ToString() for row in range(table.GetNumberOfRows())]


def _chart_levels(results: StudyResults) -> list[str]:
    table = results.chart_node.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    return [table.GetValueByName(row, "level").ToString() for row in range(table.GetNumberOfRows())]


def test_each_state_is_one_word_in_table_segments_tags_and_colours(app: Application) -> None:
    results = _show_special()
    wanted = dict.fromkeys(LEVELS, "grade 0") | {
        "L1": "grade 2",
        UNDECIDED: "undecided",
        TREATED: "treated",
        CUT: "not assessed",
    }
    assert _column(results, "state") == [wanted[level] for level in LEVELS]
    assert _column(results, "state") == [row["state"] for row in rows(results.report.findings)]
    segmentation = results.segmentation_node.GetSegmentation()
    for level, state in wanted.items():
        segment = segmentation.GetSegment(level)
        assert segment.GetName() == f"{level} {state}"
        assert _tag(segment, STATE_TAG) == state
        assert _tag(segment, GRADE_TAG) == (state[-1] if state in GRADED else "")
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, color_of_state(state).rgb, atol=0.01)
    hypotheses = dict(zip(LEVELS, _column(results, "hypotheses"), strict=True))
    assert hypotheses.pop(UNDECIDED) == "0 if Schmorl node;2 if fracture"
    assert set(hypotheses.values()) == {""}


def test_nothing_is_drawn_of_a_cut_body(app: Application) -> None:
    results = _show_special()
    whole = [level for level in LEVELS if level != CUT]
    assert list(read_points(results.points_node)) == whole
    assert results.points_node.GetNumberOfControlPoints() == 6 * len(whole)
    assert _chart_levels(results) == whole
    row = results.table_node.GetTable()
    assert all(np.isnan(row.GetValueByName(LEVELS.index(CUT), f"{name}_mm").ToDouble()) for name in ("anterior",))
    finding = results.report.findings[LEVELS.index(CUT)]
    assert finding.reason == "cut by the edge of the volume"
    assert (finding.heights_mm, finding.points_ras_mm, finding.loss_percent) == ({}, (), None)
    assert finding.evidence_of("morphometry") is None
    assert results.patch_node(CUT) is not None, "the image is shown, without points"


@pytest.mark.parametrize("level", [UNDECIDED, TREATED, CUT])
@pytest.mark.parametrize("state", ["borderline", "grade 1"])
def test_the_reader_gives_a_state_where_the_program_gives_none(app: Application, level: str, state: str) -> None:
    results = _show_special()
    results.update(set_reader_state(results.report, level, state))
    segment = results.segmentation_node.GetSegmentation().GetSegment(level)
    assert segment.GetName() == f"{level} {state} (reader)"
    assert _tag(segment, STATE_TAG) == state
    np.testing.assert_allclose(np.array(segment.GetColor()) * 255, color_of_state(state).rgb, atol=0.01)
    row = LEVELS.index(level)
    assert _column(results, "reader_state")[row] == state
    assert _column(results, "state")[row] == {UNDECIDED: "undecided", TREATED: "treated", CUT: "not assessed"}[level]
    assert level not in results.report.summary["undecided"]
    assert results.report.summary["n_assessed"] == 4


def test_what_is_confirmed_stands_in_the_table_and_in_the_sentence(app: Application) -> None:
    results = _show_special()
    results.update(confirm(confirm(results.report, "L1"), TREATED))
    table = results.table_node.GetTable()
    flags = [table.GetValueByName(row, "reader_confirmed").ToInt() for row in range(len(LEVELS))]
    assert flags == [int(level in ("L1", TREATED)) for level in LEVELS]
    said = {finding.level: sentence(finding) for finding in results.report.findings}
    assert "vertebral fracture" in said["L1"]
    assert "confirmed by the reader" in said[TREATED]


@pytest.mark.parametrize(("shift_mm", "stays"), [(1.0, True), (9.0, False)])
def test_what_was_agreed_with_or_confirmed_goes_when_a_drag_makes_another_answer(
    app: Application, shift_mm: float, stays: bool
) -> None:
    results = _show_special()
    report = set_reader_state(results.report, UNDECIDED, "grade 2")
    for level in ("L1", "L2", UNDECIDED):
        report = confirm(report, level)
    report = agree(agree(report, "L1"), "L2")
    results.update(report)
    watcher = PointsWatcher(results)
    finding = results.report.findings[LEVELS.index("L2")]
    up = np.array(finding.evidence_of("morphometry").quantities["up_ras"])
    place = np.array(finding.points_ras_mm[0]) - shift_mm * up
    names = [results.points_node.GetNthControlPointDescription(n) for n in range(30)]
    results.points_node.SetNthControlPointPositionWorld(names.index("L2 anterior superior"), *place)
    watcher.stop()
    after = {finding.level: finding for finding in results.report.findings}
    assert (after["L2"].state == "grade 0") == stays
    assert (after["L2"].reading is not None) == stays
    assert after["L1"].reading.agreed, "its answer is the same"
    assert after["L1"].reading.confirmed
    assert after[UNDECIDED].reading.confirmed, "the reader's own state was confirmed"


def _stopped(image: Any, markups: Any, given: Any = None) -> StudyResults:
    return grade_here(read_inputs(image, markups, given), lambda done, total, level: done < 3)


@pytest.mark.parametrize("with_given", [False, True])
def test_a_run_stopped_after_three_has_a_row_for_every_vertebra(app: Application, with_given: bool) -> None:
    given = None
    if with_given:
        studies: list[Study] = []
        grade(CT, build_spine(POINTS), on_study=studies.append)
        bodies = body_labels(studies[0])
        assert bodies is not None
        given = add_segmentation(bodies.volume, bodies.names)
    image = add_volume(CT, "demo")
    if given is not None:
        given.SetReferenceImageGeometryParameterFromVolumeNode(image)
    results = _stopped(image, add_points(POINTS), given)
    finished, rest = LEVELS[:3], LEVELS[3:]
    assert not results.report.complete
    assert _column(results, "level") == LEVELS
    assert [finding.level for finding in results.report.findings if finding.state == NOT_REACHED] == rest
    assert _column(results, "state")[3:] == [NOT_REACHED] * 3
    assert _column(results, "reason")[3:] == ["the run stopped before it"] * 3
    segmentation = results.segmentation_node.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == finished
    assert list(read_points(results.points_node)) == finished
    assert _chart_levels(results) == finished
    assert summary_sentence(results.report).startswith("3 of 6 assessed; run not finished: ")
    assert "not reached: L2, L3, L4" in summary_sentence(results.report)


def test_a_later_run_fills_in_what_was_not_reached(app: Application) -> None:
    image, markups = add_volume(CT, "demo"), add_points(POINTS)
    first = _stopped(image, markups)
    second = grade_here(read_inputs(image, markups))
    assert second.node is first.node
    assert second.report.complete
    assert NOT_REACHED not in _column(second, "state")
    assert second.segmentation_node.GetSegmentation().GetNumberOfSegments() == len(LEVELS)
    assert list(read_points(second.points_node)) == LEVELS


def test_states_are_still_there_after_the_scene_was_saved_and_loaded(app: Application, tmp_path: Any) -> None:
    from VertebralGradingLib.scene.studies import all_results

    results = _show_special()
    results.update(confirm(set_reader_state(results.report, UNDECIDED, "grade 2"), UNDECIDED))
    shown, states = results.report.to_dict(), _column(results, "state")
    assert slicer.util.saveScene(str(tmp_path / "states.mrb"))
    app.clear()
    slicer.util.loadScene(str(tmp_path / "states.mrb"))
    (again,) = all_results(app.scene)
    assert again.report.to_dict() == shown
    assert _column(again, "state") == states
    segment = again.segmentation_node.GetSegmentation().GetSegment(UNDECIDED)
    assert segment.GetName() == f"{UNDECIDED} grade 2 (reader)"
    assert _tag(segment, STATE_TAG) == "grade 2"
