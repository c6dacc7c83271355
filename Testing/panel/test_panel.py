"""A reader's session through the panel's real widgets, on the synthetic spine: every button is clicked."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host import dialogs, qt_actions
from host.cases import add_points, add_segmentation, add_volume
from host.panel_driver import WAIT_S, PanelDriver, is_running, shown_panel

from VertebralGradingLib.demo import LEVELS, demo_case

CT, POINTS = demo_case()


@pytest.fixture
def panel(host: SimpleNamespace, tmp_path: Path) -> Iterator[PanelDriver]:
    with shown_panel(tmp_path) as driver:
        yield driver


def _choose_demo(panel: PanelDriver) -> tuple[Any, Any]:
    volume, markups = add_volume(CT, "demo"), add_points(POINTS)
    panel.choose(volume, markups)
    return volume, markups


def test_an_empty_panel_says_what_is_missing(panel: PanelDriver) -> None:
    ui = panel.ui
    assert not ui.gradeButton.enabled
    assert "CT" in ui.missingLabel.text
    assert ui.gradeButton.toolTip == ui.missingLabel.text
    assert "Research software" in ui.researchLabel.text
    panel.shot("empty")
    volume = add_volume(CT, "demo")
    qt_actions.choose(ui.ctSelector, volume)
    assert "centroids" in ui.missingLabel.text
    markups = add_points([])
    qt_actions.choose(ui.centroidsSelector, markups)
    assert "Place one point" in ui.missingLabel.text
    assert not ui.gradeButton.enabled
    qt_actions.choose(ui.centroidsSelector, add_points(POINTS, "named"))
    assert ui.gradeButton.enabled
    assert not ui.missingLabel.visible
    panel.shot("ready")


def test_rows_appear_one_by_one_and_the_window_stays_alive(
    panel: PanelDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    ui = panel.ui
    _choose_demo(panel)
    counts: list[int] = []
    with qt_actions.LongestGap() as gap:
        qt_actions.click(ui.gradeButton)
        assert ui.gradeButton.text == "Cancel"
        qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 2, WAIT_S, "two rows")
        panel.shot("running")
        while panel.logic.isGrading():
            counts.append(ui.vertebraTable.rowCount)
            qt_actions.wait_until(
                lambda: ui.vertebraTable.rowCount != counts[-1] or not panel.logic.isGrading(), WAIT_S
            )
    assert len(set(counts)) > 2, "rows came one by one"
    assert ui.vertebraTable.rowCount == len(LEVELS)
    assert ui.gradeButton.text == "Grade"
    assert [panel.cell(row, 0) for row in range(6)] == list(LEVELS)
    assert panel.cell(LEVELS.index("L1"), 1) == "2"
    assert "vertebrae in" in ui.statusLabel.text
    panel.shot("graded")
    with capsys.disabled():
        print(f"\nlongest time the panel's thread was busy while grading: {1000 * gap.seconds:.0f} ms")


def test_a_click_on_a_row_looks_at_that_vertebra(panel: PanelDriver, host: SimpleNamespace) -> None:
    _choose_demo(panel)
    panel.grade()
    report = panel.session.report
    manager = panel.slicer.app.layoutManager()
    for row, key in ((4, None), (3, "previous"), (4, "next")):
        if key is None:
            qt_actions.click_cell(panel.ui.vertebraTable, row, 0)
        else:
            qt_actions.click(panel.ui.previousButton if key == "previous" else panel.ui.nextButton)
        finding = report.findings[row]
        node = manager.sliceWidget("Yellow").mrmlSliceNode()
        matrix = panel.slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        assert np.linalg.norm(matrix[:3, 3] - np.array(finding.center_ras_mm)) < 2.0
        assert np.abs((np.array(finding.points_ras_mm) - matrix[:3, 3]) @ matrix[:3, 2]).max() < 0.1
        shown = panel.session.results.points_node
        visible = [n for n in range(36) if shown.GetNthControlPointVisibility(n)]
        assert visible == list(range(6 * row, 6 * row + 6))
        assert finding.level in panel.ui.sentenceLabel.text
    qt_actions.press(panel.ui.vertebraTable, "Alt+Up")
    assert panel.session.level == LEVELS[3]


def test_drag_override_exclude_shift_undo_redo(panel: PanelDriver) -> None:
    ui, session = panel.ui, panel.session
    _choose_demo(panel)
    panel.grade()
    first = session.report
    qt_actions.click_cell(ui.vertebraTable, 4, 0)
    finding = session.finding
    up = np.array(finding.evidence_of("morphometry").quantities["up_ras"])
    points = session.results.points_node
    for share in (0.5, 1.0):  # a drag tells of every place on its way
        place = np.array(finding.points_ras_mm[0]) - 9.0 * share * up
        points.SetNthControlPointPositionWorld(24, *place)
    dragged = session.report
    assert session.finding.heights_mm["anterior"] == pytest.approx(finding.heights_mm["anterior"] - 9.0, abs=0.01)
    assert panel.cell(4, 1) == "2"
    qt_actions.choose(ui.readerGradeComboBox, "1 mild")
    assert session.finding.final_grade == 1
    assert panel.cell(4, 6) == "1"
    qt_actions.click_cell(ui.vertebraTable, 2, 0)
    qt_actions.choose(ui.exclusionComboBox, "Schmorl node")
    assert session.finding.final_grade is None
    assert "Schmorl" in panel.cell(2, 6)
    qt_actions.type_text(ui.readerLineEdit, "AB")
    qt_actions.press(ui.readerLineEdit, "Return")
    assert session.report.provenance["reader"] == "AB"
    qt_actions.click(ui.shiftDownButton)
    assert [panel.cell(row, 0) for row in range(6)] == ["T12", "L1", "L2", "L3", "L4", "L5"]
    assert session.level == "L2", "the same vertebra under its new name"
    panel.shot("edited")
    for _ in range(5):
        qt_actions.click(ui.undoButton)
    assert session.report.to_dict() == first.to_dict(), "one step for each change, a drag being one"
    assert not ui.undoButton.enabled
    qt_actions.click(ui.redoButton)
    assert session.report.to_dict() == dragged.to_dict()
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(24), dragged.findings[4].points_ras_mm[0])
    for _ in range(4):
        qt_actions.click(ui.redoButton)
    assert not ui.redoButton.enabled
    assert session.report.provenance["reader"] == "AB"
    qt_actions.click(ui.sentenceButton)
    import qt

    assert str(qt.QApplication.clipboard().text()).startswith("L2: excluded by the reader")


def test_export_save_close_reload(panel: PanelDriver, host: SimpleNamespace, tmp_path: Path) -> None:
    ui, session = panel.ui, panel.session
    _choose_demo(panel)
    panel.grade()
    qt_actions.click_cell(ui.vertebraTable, 5, 0)
    qt_actions.choose(ui.readerGradeComboBox, "3 severe")
    if ui.exportCollapsibleButton.collapsed:
        qt_actions.click(ui.exportCollapsibleButton)
    assert not ui.exportButton.enabled
    folder = tmp_path / "out é"
    ui.exportPathLineEdit.currentPath = str(folder)
    qt_actions.click(ui.exportButton)
    assert "findings.csv" in ui.exportLabel.text
    told = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert told["findings"][5]["reading"]["grade"] == 3
    rows = list(csv.DictReader((folder / "findings.csv").open(encoding="utf-8")))
    assert rows[5]["reader_grade"] == "3"
    assert (folder / "report.html").read_text(encoding="utf-8").count("Research software") >= 1
    shown = session.report.to_dict()
    path = tmp_path / "study.mrb"
    assert panel.slicer.util.saveScene(str(path))
    host.application.clear()
    qt_actions.settle()
    assert ui.vertebraTable.rowCount == 0
    assert session.results is None
    panel.slicer.util.loadScene(str(path))
    qt_actions.settle()
    assert ui.vertebraTable.rowCount == 6
    assert session.report.to_dict() == shown
    assert panel.cell(5, 6) == "3"
    assert not ui.undoButton.enabled
    assert ui.ctSelector.currentNode() is not None
    assert ui.gradeButton.enabled


def test_cancel_keeps_rows_and_a_double_click_does_not_cancel(panel: PanelDriver) -> None:
    ui = panel.ui
    _choose_demo(panel)
    qt_actions.click(ui.gradeButton)
    assert not ui.gradeButton.enabled, "a second click at once does nothing"
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 1 and ui.gradeButton.enabled, WAIT_S, "a row")
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end of the run")
    assert "Cancelled" in ui.statusLabel.text
    assert 1 <= ui.vertebraTable.rowCount < len(LEVELS)
    assert ui.gradeButton.text == "Grade"
    assert ui.gradeButton.enabled


@pytest.mark.parametrize("fault", ["worker killed", "scene closed", "CT removed"])
def test_faults_in_mid_run_leave_a_usable_panel(panel: PanelDriver, host: SimpleNamespace, fault: str) -> None:
    ui = panel.ui
    volume, _ = _choose_demo(panel)
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 1, WAIT_S, "a row")
    if fault == "worker killed":
        os.kill(panel.pid, signal.SIGKILL)
    elif fault == "scene closed":
        host.application.clear()
    else:
        panel.scene.RemoveNode(volume)
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end of the run")
    qt_actions.settle()
    assert ui.statusLabel.text
    assert not dialogs.shown, "no pop-up"
    panel.shot(f"error-{fault.replace(' ', '-')}")
    if fault != "worker killed":
        _choose_demo(panel)
    panel.grade()
    assert ui.vertebraTable.rowCount == len(LEVELS)


def test_wrong_input_is_told_in_the_panel(panel: PanelDriver) -> None:
    ui = panel.ui
    _choose_demo(panel)
    far = add_points([type(POINTS[0])((900.0, 900.0, 900.0), "L1", "L1")], "far")
    qt_actions.choose(ui.centroidsSelector, far)
    qt_actions.click(ui.gradeButton)
    assert "inside the image" in ui.statusLabel.text
    assert not panel.logic.isGrading()
    assert ui.gradeButton.enabled
    assert not dialogs.shown


def test_sample_and_centroids_from_segmentation(panel: PanelDriver) -> None:
    ui = panel.ui
    qt_actions.click(ui.sampleButton)
    assert ui.ctSelector.currentNode().GetName() == "SyntheticSpine"
    assert ui.centroidsSelector.currentNode().GetNumberOfControlPoints() == len(LEVELS)
    panel.grade()
    results = panel.session.results
    given = add_segmentation(_bodies(results), dict(enumerate(LEVELS, start=1)))
    qt_actions.choose(ui.segmentationSelector, given)
    qt_actions.click(ui.fromSegmentationButton)
    made = ui.centroidsSelector.currentNode()
    assert [made.GetNthControlPointLabel(n) for n in range(6)] == list(LEVELS)
    panel.grade()
    assert panel.cell(LEVELS.index("L1"), 1) == "2"


def _bodies(results: Any) -> Any:
    from VertebralGradingLib.scene.inputs import labels_from_node

    return labels_from_node(results.segmentation_node).volume


def test_leaving_the_module_gives_the_layout_back(panel: PanelDriver) -> None:
    node = panel.slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = node.GetViewArrangement()
    _choose_demo(panel)
    panel.grade()
    assert node.GetViewArrangement() != before
    panel.slicer.util.selectModule("Volumes")
    assert node.GetViewArrangement() == before
    panel.slicer.util.selectModule("VertebralGrading")
    assert node.GetViewArrangement() != before


def test_setup_tells_what_there_is(panel: PanelDriver) -> None:
    ui = panel.ui
    qt_actions.click(ui.setupCollapsibleButton)
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")
    assert ui.deviceLabel.text.startswith(("cpu", "cuda", "mps"))
    panel.shot("setup")


def test_without_torch_the_panel_says_so_and_grades(
    panel: PanelDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ui = panel.ui
    qt_actions.click(ui.setupCollapsibleButton)
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")
    assert "not installed" in ui.torchLabel.text
    qt_actions.click(ui.installButton)
    assert "Extensions Manager" in ui.statusLabel.text
    panel.shot("no-torch")
    _choose_demo(panel)
    panel.grade()
    assert panel.cell(LEVELS.index("L1"), 1) == "2", (
        str(panel.ui.statusLabel.text),
        [[panel.cell(row, column) for column in range(9)] for row in range(panel.ui.vertebraTable.rowCount)],
    )


def test_reloading_the_module_in_mid_run_ends_the_run(panel: PanelDriver) -> None:
    _choose_demo(panel)
    qt_actions.click(panel.ui.gradeButton)
    qt_actions.wait_until(lambda: panel.ui.vertebraTable.rowCount >= 1, WAIT_S, "a row")
    pid = panel.pid
    panel.slicer.util.reloadScriptedModule("VertebralGrading")
    qt_actions.wait_until(lambda: not is_running(pid), 30, "the end of the old worker")
    qt_actions.show(panel.widget.parent, 560, 1500)
    panel.widget.enter()
    assert not panel.logic.isGrading()
    panel.grade()
    assert panel.ui.vertebraTable.rowCount == len(LEVELS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes(panel: PanelDriver, theme: str) -> None:
    qt_actions.set_theme(theme)
    _choose_demo(panel)
    panel.grade()
    qt_actions.click_cell(panel.ui.vertebraTable, 2, 0)
    panel.shot(f"{theme}-graded")
    item = panel.ui.vertebraTable.item(2, 1)
    assert item.background().color().name() == "#e69f00"
    assert item.foreground().color().name() == "#000000"
