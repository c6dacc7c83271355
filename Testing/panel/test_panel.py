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
from host.cases import add_points, add_segmentation, add_volume, observers
from host.scripted_module import load_module, unload_module

from VertebralGradingLib.demo import LEVELS, demo_case

MODULE = Path(__file__).resolve().parents[2] / "VertebralGrading" / "VertebralGrading.py"
CT, POINTS = demo_case()
WAIT_S = 120
SHOTS = os.environ.get("VERTEBRAL_GRADING_ARTEFACTS")


@pytest.fixture
def panel(host: SimpleNamespace, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The module's panel, shown; nothing may stay behind when it goes."""
    import slicer

    counted = observers(slicer.mrmlScene)
    module = load_module(MODULE)
    slicer.util.selectModule("VertebralGrading")
    widget = slicer.modules.VertebralGradingWidget
    top = widget.parent
    qt_actions.show(top, 560, 1500)
    shots = Path(SHOTS) if SHOTS else tmp_path / "shots"
    shots.mkdir(parents=True, exist_ok=True)
    yield SimpleNamespace(
        widget=widget, ui=widget.ui, top=top, module=module, shots=shots, scene=slicer.mrmlScene, slicer=slicer
    )
    pid = _pid(widget)
    slicer.util.selectModule("Volumes")
    unload_module(module)
    qt_actions.settle()
    if pid:
        qt_actions.wait_until(lambda: not _runs(pid), 30, "the end of the worker")
    assert observers(slicer.mrmlScene) == counted


def _pid(widget: Any) -> int:
    keeper = widget.logic._keeper
    return keeper._process.processId() if keeper is not None and keeper._process is not None else 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _choose_demo(panel: SimpleNamespace) -> tuple[Any, Any]:
    volume, markups = add_volume(CT, "demo"), add_points(POINTS)
    qt_actions.choose(panel.ui.ctSelector, volume)
    qt_actions.choose(panel.ui.centroidsSelector, markups)
    return volume, markups


def _grade(panel: SimpleNamespace) -> None:
    qt_actions.click(panel.ui.gradeButton)
    qt_actions.wait_until(lambda: not panel.widget.logic.isGrading(), WAIT_S, "the end of the run")
    qt_actions.settle()


def _cell(panel: SimpleNamespace, row: int, column: int) -> str:
    return str(panel.ui.vertebraTable.item(row, column).text())


def _shot(panel: SimpleNamespace, name: str) -> None:
    qt_actions.grab(panel.top, panel.shots / f"panel-{name}.png")


def test_an_empty_panel_says_what_is_missing(panel: SimpleNamespace) -> None:
    ui = panel.ui
    assert not ui.gradeButton.enabled
    assert "CT" in ui.missingLabel.text
    assert ui.gradeButton.toolTip == ui.missingLabel.text
    assert "Research software" in ui.researchLabel.text
    _shot(panel, "empty")
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
    _shot(panel, "ready")


def test_rows_appear_one_by_one_and_the_window_stays_alive(
    panel: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    ui = panel.ui
    _choose_demo(panel)
    counts: list[int] = []
    with qt_actions.LongestGap() as gap:
        qt_actions.click(ui.gradeButton)
        assert ui.gradeButton.text == "Cancel"
        qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 2, WAIT_S, "two rows")
        _shot(panel, "running")
        while panel.widget.logic.isGrading():
            counts.append(ui.vertebraTable.rowCount)
            qt_actions.wait_until(
                lambda: ui.vertebraTable.rowCount != counts[-1] or not panel.widget.logic.isGrading(), WAIT_S
            )
    assert len(set(counts)) > 2, "rows came one by one"
    assert ui.vertebraTable.rowCount == len(LEVELS)
    assert ui.gradeButton.text == "Grade"
    assert [_cell(panel, row, 0) for row in range(6)] == list(LEVELS)
    assert _cell(panel, LEVELS.index("L1"), 1) == "2"
    assert "vertebrae in" in ui.statusLabel.text
    _shot(panel, "graded")
    with capsys.disabled():
        print(f"\nlongest time the panel's thread was busy while grading: {1000 * gap.seconds:.0f} ms")


def test_a_click_on_a_row_looks_at_that_vertebra(panel: SimpleNamespace, host: SimpleNamespace) -> None:
    _choose_demo(panel)
    _grade(panel)
    report = panel.widget.panel.session.report
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
        shown = panel.widget.panel.session.results.points_node
        visible = [n for n in range(36) if shown.GetNthControlPointVisibility(n)]
        assert visible == list(range(6 * row, 6 * row + 6))
        assert finding.level in panel.ui.sentenceLabel.text
    qt_actions.press(panel.ui.vertebraTable, "Alt+Up")
    assert panel.widget.panel.session.level == LEVELS[3]


def test_drag_override_exclude_shift_undo_redo(panel: SimpleNamespace) -> None:
    ui, session = panel.ui, panel.widget.panel.session
    _choose_demo(panel)
    _grade(panel)
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
    assert _cell(panel, 4, 1) == "2"
    qt_actions.choose(ui.readerGradeComboBox, "1 mild")
    assert session.finding.final_grade == 1
    assert _cell(panel, 4, 6) == "1"
    qt_actions.click_cell(ui.vertebraTable, 2, 0)
    qt_actions.choose(ui.exclusionComboBox, "Schmorl node")
    assert session.finding.final_grade is None
    assert "Schmorl" in _cell(panel, 2, 6)
    qt_actions.type_text(ui.readerLineEdit, "AB")
    qt_actions.press(ui.readerLineEdit, "Return")
    assert session.report.provenance["reader"] == "AB"
    qt_actions.click(ui.shiftDownButton)
    assert [_cell(panel, row, 0) for row in range(6)] == ["T12", "L1", "L2", "L3", "L4", "L5"]
    assert session.level == "L2", "the same vertebra under its new name"
    _shot(panel, "edited")
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


def test_export_save_close_reload(panel: SimpleNamespace, host: SimpleNamespace, tmp_path: Path) -> None:
    ui, session = panel.ui, panel.widget.panel.session
    _choose_demo(panel)
    _grade(panel)
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
    assert _cell(panel, 5, 6) == "3"
    assert not ui.undoButton.enabled
    assert ui.ctSelector.currentNode() is not None
    assert ui.gradeButton.enabled


def test_cancel_keeps_rows_and_a_double_click_does_not_cancel(panel: SimpleNamespace) -> None:
    ui = panel.ui
    _choose_demo(panel)
    qt_actions.click(ui.gradeButton)
    assert not ui.gradeButton.enabled, "a second click at once does nothing"
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 1 and ui.gradeButton.enabled, WAIT_S, "a row")
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: not panel.widget.logic.isGrading(), WAIT_S, "the end of the run")
    assert "Cancelled" in ui.statusLabel.text
    assert 1 <= ui.vertebraTable.rowCount < len(LEVELS)
    assert ui.gradeButton.text == "Grade"
    assert ui.gradeButton.enabled


@pytest.mark.parametrize("fault", ["worker killed", "scene closed", "CT removed"])
def test_faults_in_mid_run_leave_a_usable_panel(panel: SimpleNamespace, host: SimpleNamespace, fault: str) -> None:
    ui = panel.ui
    volume, _ = _choose_demo(panel)
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 1, WAIT_S, "a row")
    if fault == "worker killed":
        os.kill(_pid(panel.widget), signal.SIGKILL)
    elif fault == "scene closed":
        host.application.clear()
    else:
        panel.scene.RemoveNode(volume)
    qt_actions.wait_until(lambda: not panel.widget.logic.isGrading(), WAIT_S, "the end of the run")
    qt_actions.settle()
    assert ui.statusLabel.text
    assert not dialogs.shown, "no pop-up"
    _shot(panel, f"error-{fault.replace(' ', '-')}")
    if fault != "worker killed":
        _choose_demo(panel)
    _grade(panel)
    assert ui.vertebraTable.rowCount == len(LEVELS)


def test_wrong_input_is_told_in_the_panel(panel: SimpleNamespace) -> None:
    ui = panel.ui
    _choose_demo(panel)
    far = add_points([type(POINTS[0])((900.0, 900.0, 900.0), "L1", "L1")], "far")
    qt_actions.choose(ui.centroidsSelector, far)
    qt_actions.click(ui.gradeButton)
    assert "inside the image" in ui.statusLabel.text
    assert not panel.widget.logic.isGrading()
    assert ui.gradeButton.enabled
    assert not dialogs.shown


def test_sample_and_centroids_from_segmentation(panel: SimpleNamespace) -> None:
    ui = panel.ui
    qt_actions.click(ui.sampleButton)
    assert ui.ctSelector.currentNode().GetName() == "SyntheticSpine"
    assert ui.centroidsSelector.currentNode().GetNumberOfControlPoints() == len(LEVELS)
    _grade(panel)
    results = panel.widget.panel.session.results
    given = add_segmentation(_bodies(results), dict(enumerate(LEVELS, start=1)))
    qt_actions.choose(ui.segmentationSelector, given)
    qt_actions.click(ui.fromSegmentationButton)
    made = ui.centroidsSelector.currentNode()
    assert [made.GetNthControlPointLabel(n) for n in range(6)] == list(LEVELS)
    _grade(panel)
    assert _cell(panel, LEVELS.index("L1"), 1) == "2"


def _bodies(results: Any) -> Any:
    from VertebralGradingLib.scene.inputs import labels_from_node

    return labels_from_node(results.segmentation_node).volume


def test_leaving_the_module_gives_the_layout_back(panel: SimpleNamespace) -> None:
    node = panel.slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = node.GetViewArrangement()
    _choose_demo(panel)
    _grade(panel)
    assert node.GetViewArrangement() != before
    panel.slicer.util.selectModule("Volumes")
    assert node.GetViewArrangement() == before
    panel.slicer.util.selectModule("VertebralGrading")
    assert node.GetViewArrangement() != before


def test_setup_tells_what_there_is(panel: SimpleNamespace) -> None:
    ui = panel.ui
    qt_actions.click(ui.setupCollapsibleButton)
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")
    assert ui.deviceLabel.text.startswith(("cpu", "cuda", "mps"))
    _shot(panel, "setup")
    qt_actions.click(ui.installButton)
    assert "PyTorch" in ui.statusLabel.text
    assert "Extensions Manager" in ui.statusLabel.text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes(panel: SimpleNamespace, theme: str) -> None:
    qt_actions.set_theme(theme)
    _choose_demo(panel)
    _grade(panel)
    qt_actions.click_cell(panel.ui.vertebraTable, 2, 0)
    _shot(panel, f"{theme}-graded")
    item = panel.ui.vertebraTable.item(2, 1)
    assert item.background().color().name() == "#e69f00"
    assert item.foreground().color().name() == "#000000"
