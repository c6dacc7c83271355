"""A reader's session through the panel's real widgets, on the synthetic spine: every button is clicked."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host import dialogs, qt_actions
from host.cases import add_points, add_segmentation, add_transform, add_volume, add_warp, demo
from host.install import switches
from host.panel_driver import WAIT_S, PanelDriver, is_running, shown_panel

from VertebralGradingLib.demo import LEVELS
from VertebralGradingLib.models.cards import Card, Figure
from VertebralGradingLib.models.weights import describe_file

CT, POINTS = demo()
STATE, READER = 1, 4
"""Columns of the panel's table."""


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
    qt_actions.wait_until(lambda: {"scipy.ndimage", "VertebralGradingLib.scene.job"} <= set(sys.modules), 30, "imports")
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
    assert panel.cell(LEVELS.index("L1"), STATE) == "grade 2"
    assert "vertebrae in" in ui.statusLabel.text
    panel.shot("graded")
    with capsys.disabled():
        print(f"\nlongest time the panel's thread was busy while grading: {1000 * gap.seconds:.0f} ms")


def test_a_click_on_a_row_looks_at_that_vertebra(panel: PanelDriver, host: SimpleNamespace) -> None:
    panel.show_graded(POINTS)
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
    panel.show_graded(POINTS)
    first = session.report
    qt_actions.click_cell(ui.vertebraTable, 4, 0)
    finding = session.finding
    up = np.array(finding.evidence_of("morphometry").quantities["up_ras"])
    points = session.results.points_node
    for share in (0.5, 1.0):  # a drag tells of every place on its way
        place = np.array(finding.points_ras_mm[0]) - 9.0 * share * up
        points.SetNthControlPointPositionWorld(24, *place)
    qt_actions.settle()
    dragged = session.report
    assert session.finding.heights_mm["anterior"] == pytest.approx(finding.heights_mm["anterior"] - 9.0, abs=0.01)
    assert panel.cell(4, STATE) == "grade 2"
    qt_actions.choose(ui.readerGradeComboBox, "grade 1")
    assert session.finding.final_grade == 1
    assert panel.cell(4, READER) == "grade 1"
    qt_actions.click_cell(ui.vertebraTable, 2, 0)
    qt_actions.choose(ui.exclusionComboBox, "Schmorl node")
    assert session.finding.final_grade is None
    assert "Schmorl" in panel.cell(2, READER)
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
    panel.show_graded(POINTS)
    qt_actions.click_cell(ui.vertebraTable, 5, 0)
    qt_actions.choose(ui.readerGradeComboBox, "grade 3")
    if ui.exportCollapsibleButton.collapsed:
        qt_actions.click(ui.exportCollapsibleButton)
    assert not ui.exportButton.enabled
    folder = tmp_path / "out é"
    ui.exportPathLineEdit.currentPath = str(folder)
    for bad in ("relative/folder", str(tmp_path / "file")):
        (tmp_path / "file").write_text("x", encoding="utf-8")
        ui.exportPathLineEdit.currentPath = bad
        qt_actions.click(ui.exportButton)
        assert ui.exportLabel.text
        assert "Written" not in ui.exportLabel.text
    ui.exportPathLineEdit.currentPath = str(folder)
    qt_actions.click(ui.exportButton)
    assert "findings.csv" in ui.exportLabel.text
    told = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert told["findings"][5]["reading"]["state"] == "grade 3"
    rows = list(csv.DictReader((folder / "findings.csv").open(encoding="utf-8")))
    assert rows[5]["reader_grade"] == "3"
    assert rows[5]["reader_state"] == "grade 3"
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
    assert panel.cell(5, READER) == "grade 3"
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
    finished = [level for row, level in enumerate(LEVELS) if panel.cell(row, STATE) != "not reached"]
    assert 1 <= len(finished) < len(LEVELS)
    assert finished == list(LEVELS[: len(finished)])
    assert [panel.cell(row, 0) for row in range(ui.vertebraTable.rowCount)] == list(LEVELS), "the rest has rows too"
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


def test_a_full_temporary_folder_is_told_in_the_panel(panel: PanelDriver) -> None:
    ui = panel.ui
    _choose_demo(panel)
    was, old = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, was[1]))
        panel.grade()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, old)
    assert "temporary folder" in ui.statusLabel.text
    assert not dialogs.shown
    panel.grade()
    assert ui.vertebraTable.rowCount == len(LEVELS)


@pytest.mark.parametrize("kind", ["rotated", "warped"])
def test_transforms_are_followed_from_the_panel(panel: PanelDriver, kind: str) -> None:
    turn = np.eye(4)
    turn[:3, :3] = [[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]]
    move = add_transform(turn) if kind == "rotated" else add_warp(5.0)
    volume, markups = _choose_demo(panel)
    volume.SetAndObserveTransformNodeID(move.GetID())
    markups.SetAndObserveTransformNodeID(move.GetID())
    panel.grade()
    assert panel.cell(LEVELS.index("L1"), STATE) == "grade 2", str(panel.ui.statusLabel.text)
    assert panel.ui.vertebraTable.rowCount == len(LEVELS)


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
    assert panel.cell(LEVELS.index("L1"), STATE) == "grade 2"


def _bodies(results: Any) -> Any:
    from VertebralGradingLib.scene.inputs import labels_from_node

    return labels_from_node(results.segmentation_node).volume


def test_placing_points_enables_grade(panel: PanelDriver) -> None:
    ui = panel.ui
    panel.choose(add_volume(CT, "demo"), add_points([]))
    assert not ui.gradeButton.enabled
    for point in POINTS:
        ui.centroidsSelector.currentNode().AddControlPointWorld(*point.position)
    qt_actions.settle()
    assert ui.gradeButton.enabled
    qt_actions.choose(ui.lowestComboBox, "L4")
    panel.grade()
    assert [panel.cell(row, 0) for row in range(6)] == list(LEVELS)
    ui.centroidsSelector.currentNode().RemoveAllControlPoints()
    qt_actions.settle()
    assert not ui.gradeButton.enabled


def test_the_panel_shows_the_study_of_the_chosen_ct(panel: PanelDriver) -> None:
    ui = panel.ui
    first, _ = panel.show_graded(POINTS)
    qt_actions.choose(ui.readerGradeComboBox, "grade 3")
    second = add_volume(CT, "another")
    qt_actions.choose(ui.ctSelector, second)
    assert ui.vertebraTable.rowCount == 0, "no findings of another image are shown"
    assert panel.session.results is None
    panel.slicer.util.selectModule("Volumes")
    panel.slicer.util.selectModule("VertebralGrading")
    assert ui.vertebraTable.rowCount == 0
    qt_actions.choose(ui.ctSelector, first)
    assert ui.vertebraTable.rowCount == 6
    assert panel.session.results.image_node is first
    assert "grade 3" in [panel.cell(row, READER) for row in range(6)]
    names = [ui.ctSelector.currentNode().GetName()]
    assert not any("patch" in name for name in names)


def test_leaving_in_mid_run_and_coming_back_changes_nothing(panel: PanelDriver) -> None:
    ui = panel.ui
    panel.show_graded(POINTS)
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 1, WAIT_S, "a row")
    panel.slicer.util.selectModule("Volumes")
    panel.slicer.util.selectModule("VertebralGrading")
    assert ui.vertebraTable.rowCount < 6
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end of the run")
    assert ui.vertebraTable.rowCount == 6


def test_a_run_that_is_cancelled_at_once_shows_the_earlier_findings(panel: PanelDriver) -> None:
    ui = panel.ui
    panel.show_graded(POINTS)
    qt_actions.click(ui.gradeButton)
    panel.logic.cancelGrading()
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end of the run")
    qt_actions.settle()
    assert ui.vertebraTable.rowCount == 6
    assert panel.session.results is not None


def test_the_readers_name_is_recorded_and_what_is_typed_is_kept(panel: PanelDriver) -> None:
    ui = panel.ui
    qt_actions.type_text(ui.readerLineEdit, "AB")
    _choose_demo(panel)
    panel.grade()
    assert panel.session.report.provenance["reader"] == "AB"
    qt_actions.click_cell(ui.vertebraTable, 1, 0)
    qt_actions.type_text(ui.exclusionComboBox.lineEdit(), "old trauma")
    qt_actions.press(ui.exclusionComboBox.lineEdit(), "Alt+Down")
    assert panel.session.level == LEVELS[2]
    assert [f.reading.exclusion if f.reading else "" for f in panel.session.report.findings][:3] == [
        "",
        "old trauma",
        "",
    ]


def test_results_that_cannot_be_read_can_be_graded_again(panel: PanelDriver) -> None:
    panel.show_graded(POINTS)
    panel.session.results.node.SetParameter("report", "[]")
    panel.slicer.util.selectModule("Volumes")
    panel.slicer.util.selectModule("VertebralGrading")
    panel.grade()
    assert panel.ui.vertebraTable.rowCount == 6


def test_the_device_is_remembered(panel: PanelDriver) -> None:
    ui = panel.ui
    qt_actions.click(ui.setupCollapsibleButton)
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")
    qt_actions.choose(ui.deviceComboBox, "cpu")
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")
    assert ui.deviceLabel.text.startswith("cpu")
    assert panel.slicer.app.settings().value("VertebralGrading/device") == "cpu"
    qt_actions.choose(ui.deviceComboBox, "auto")
    qt_actions.wait_until(lambda: "look" not in str(ui.torchLabel.text), WAIT_S, "the worker's answer")


def test_leaving_the_module_gives_the_layout_back(panel: PanelDriver) -> None:
    node = panel.slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = node.GetViewArrangement()
    panel.show_graded(POINTS)
    assert node.GetViewArrangement() != before
    panel.slicer.util.selectModule("Volumes")
    assert node.GetViewArrangement() == before
    for name, plane in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        widget = panel.slicer.app.layoutManager().sliceWidget(name)
        assert widget.mrmlSliceNode().GetOrientation() == plane, "slices are turned back"
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
    assert panel.cell(LEVELS.index("L1"), STATE) == "grade 2", (
        str(panel.ui.statusLabel.text),
        [[panel.cell(row, column) for column in range(9)] for row in range(panel.ui.vertebraTable.rowCount)],
    )


def _model_package(folder: Path) -> Path:
    """A model with one tensor of four numbers."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    header += b" " * (-len(header) % 8)
    (folder / "net.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    card = Card(
        name="tiny-net",
        version="1.0.0",
        method="segmentation",
        summary="For tests.",
        min_program_version="0.1.0",
        files=(describe_file(folder / "net.safetensors"),),
        license="Apache-2.0",
        license_text="Free to use.",
        trained_on="nothing",
        figures=(Figure("Dice", 0.9, None, "nothing", "none"),),
    )
    package = folder / "tiny-net.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("tiny-net/card.json", card.to_json())
        archive.write(folder / "net.safetensors", "tiny-net/net.safetensors")
    return package


def test_a_model_is_imported_shown_and_deleted(
    panel: PanelDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTEBRAL_GRADING_MODELS", str(tmp_path / "models"))
    ui = panel.ui
    qt_actions.click(ui.setupCollapsibleButton)
    before = ui.modelsTable.rowCount
    package = _model_package(tmp_path)
    dialogs.answer("file", str(package))
    qt_actions.click(ui.importModelButton)
    assert not ui.statusLabel.text, ui.statusLabel.text
    assert ui.modelsTable.rowCount == before + 1
    assert "0.9" in str(ui.modelsTable.item(before, 4).text())
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(package.read_bytes()[:-40])
    dialogs.answer("file", str(damaged))
    qt_actions.click(ui.importModelButton)
    assert ui.statusLabel.text
    assert ui.modelsTable.rowCount == before + 1
    assert not ui.deleteModelButton.enabled
    qt_actions.click_cell(ui.modelsTable, before, 0)
    switches.testing = False
    dialogs.answer("question", True)
    qt_actions.click(ui.deleteModelButton)
    switches.testing = True
    assert ui.modelsTable.rowCount == before


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
    panel.show_graded(POINTS)
    qt_actions.click_cell(panel.ui.vertebraTable, 2, 0)
    panel.shot(f"{theme}-graded")
    item = panel.ui.vertebraTable.item(2, STATE)
    assert item.background().color().name() == "#e69f00"
    assert item.foreground().color().name() == "#000000"
