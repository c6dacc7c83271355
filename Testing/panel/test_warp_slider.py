"""The vertebra's own CT warped, through the panel: slider, shapes, slice views, what is kept, what is hidden."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host import qt_actions
from host.cases import SOME_POINTS, demo
from host.panel_driver import WAIT_S, PanelDriver

from VertebralGradingLib.report.warped import kept_warp

LEVELS = [point.level for point in SOME_POINTS]
CT, _ = demo()


def choose_warped(panel: PanelDriver, level: str = "L1") -> None:
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index(level), 0)
    panel.ui.explainComboBox.currentIndex = 1
    qt_actions.wait_until(lambda: "warped, nothing drawn" in panel.ui.drawnLabel.text, WAIT_S, "the warp")


def composites(panel: PanelDriver) -> list[Any]:
    return list(panel.slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def on_top(panel: PanelDriver) -> set[str]:
    """What the slice views show on top of the CT."""
    return {str(node.GetForegroundVolumeID() or "") for node in composites(panel)}


def show_in_place(panel: PanelDriver) -> Any:
    qt_actions.press(panel.ui.vertebraTable, "B")
    assert panel.ui.warpCheckBox.checked
    qt_actions.wait_until(lambda: on_top(panel) != {""}, WAIT_S, "the warped CT")
    (name,) = on_top(panel)
    return panel.scene.GetNodeByID(name)


def test_slider_is_followed_without_the_worker(panel: PanelDriver) -> None:
    ui = panel.ui
    choose_warped(panel)
    assert ui.gradeSlider.visible and ui.shapeComboBox.visible and not ui.profileLabel.visible
    texts = []
    for value in (0, 15, 30):
        ui.gradeSlider.value = value
        texts.append(ui.drawnLabel.text)  # no waiting: nothing is asked of the worker
        assert f"at grade {value / 10:.1f}" in ui.drawnLabel.text
        assert not ui.patchLabel.pixmap.isNull()
    assert len(set(texts)) == 3
    front = [float(text.split("anew: ")[1].split(" /")[0]) for text in texts]
    assert front[0] > front[1] > front[2]
    started = time.process_time()
    for value in range(31):
        ui.gradeSlider.value = value
    print(f"a step of the slider: {1000 * (time.process_time() - started) / 31:.1f} ms")
    ui.checksCollapsibleButton.collapsed = False
    assert "convincing: every check is passed" in ui.checksLabel.text and "least Jacobian" in ui.checksLabel.text
    panel.shot("warp")
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.wait_until(
        lambda: "warped, nothing drawn" in ui.drawnLabel.text and "L2" in ui.sentenceLabel.text, WAIT_S
    )
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: ui.profileLabel.visible and not ui.gradeSlider.visible, WAIT_S)
    assert not ui.shapeComboBox.visible and not ui.warpCheckBox.visible and not ui.checksCollapsibleButton.visible


def test_before_and_after_in_the_slice_views_with_one_key(panel: PanelDriver) -> None:
    ui, results = panel.ui, panel.session.results
    choose_warped(panel)
    assert ui.warpCheckBox.enabled and on_top(panel) == {""}
    image = results.image_node
    image.GetDisplayNode().AutoWindowLevelOff()
    image.GetDisplayNode().SetWindowLevel(777.0, 111.0)
    ui.gradeSlider.value = 0
    node = show_in_place(panel)
    assert node.GetName().startswith("L1 warped to grade 0.0") and node.GetHideFromEditors()
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (777.0, 111.0)
    assert {(one.GetBackgroundVolumeID(), one.GetForegroundOpacity()) for one in composites(panel)} == {
        (image.GetID(), 1.0)
    }
    voxels = panel.slicer.util.arrayFromVolume(node).transpose(2, 1, 0)
    matrix = panel.slicer.util.arrayFromVTKMatrix(_ijk_to_ras(node))
    assert np.allclose(matrix[:3, :3], CT.affine[:3, :3])  # the CT's own voxels
    corner = np.rint(CT.to_index(matrix[:3, 3])).astype(int)
    same = CT.array[tuple(slice(c, c + n) for c, n in zip(corner, voxels.shape, strict=True))]
    assert same.shape == voxels.shape
    moved = np.abs(voxels.astype(int) - same) > 100
    assert 500 < moved.sum() < 0.2 * moved.size
    qt_actions.press(ui.vertebraTable, "B")
    assert on_top(panel) == {""} and not ui.warpCheckBox.checked
    qt_actions.press(ui.vertebraTable, "B")
    assert on_top(panel) == {node.GetID()}, "shown again at once: it is kept"
    ui.gradeSlider.value = 30
    assert on_top(panel) == {""}, "a picture of another grade is not what the slider says"
    qt_actions.wait_until(lambda: on_top(panel) != {""}, WAIT_S, "the warped CT of the new grade")
    assert results.warped_ct("L1", {"grade": 3.0, "shape": "own"}) is not None
    panel.slicer.util.selectModule("Volumes")
    assert on_top(panel) == {""} and not ui.warpCheckBox.checked, "other modules see the CT"
    qt_actions.press(ui.vertebraTable, "B")
    assert on_top(panel) == {""}, "the key belongs to the module"
    panel.slicer.util.selectModule("VertebralGrading")
    show_in_place(panel)
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.wait_until(lambda: on_top(panel) == {""}, WAIT_S, "another vertebra is looked at on the CT")
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: not ui.warpCheckBox.visible, WAIT_S)


def _ijk_to_ras(node: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_shapes_are_solved_once_each(panel: PanelDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    from VertebralGradingLib.panel.warp import WarpPart

    asked: list[str] = []
    send = WarpPart._send

    def counted(self: Any, kind: str, method: str, options: Any = None) -> bool:
        asked.append(options["shape"])
        return send(self, kind, method, options)

    monkeypatch.setattr(WarpPart, "_send", counted)
    ui = panel.ui
    choose_warped(panel, "L2")
    ui.gradeSlider.value = 30
    own = _heights(ui.drawnLabel.text)
    for place, shape in enumerate(("own", "wedge", "biconcave", "crush")):
        ui.shapeComboBox.currentIndex = place
        qt_actions.wait_until(lambda: "warped, nothing drawn" in ui.drawnLabel.text, WAIT_S, shape)
    crush = _heights(ui.drawnLabel.text)
    ui.shapeComboBox.currentIndex = 2
    biconcave = _heights(ui.drawnLabel.text)
    ui.shapeComboBox.currentIndex = 1
    assert _heights(ui.drawnLabel.text)[0] == pytest.approx(own[0], abs=0.3), "a sound vertebra's own is a wedge"
    assert asked == ["own", "wedge", "biconcave", "crush"]
    assert crush[2] < own[2] - 3.0 and biconcave[1] < biconcave[0] - 5.0 < own[1]
    panel.shot("warp-shape")


def _heights(text: str) -> list[float]:
    return [float(part) for part in text.partition("anew: ")[2].partition(" mm")[0].split(" / ")]


def test_what_is_looked_at_is_kept_reported_and_comes_back(panel: PanelDriver, tmp_path: Path) -> None:
    ui = panel.ui
    choose_warped(panel)
    ui.shapeComboBox.currentIndex = 3
    qt_actions.wait_until(lambda: "warped, nothing drawn" in ui.drawnLabel.text, WAIT_S, "crush")
    ui.gradeSlider.value = 20
    qt_actions.wait_until(lambda: (panel.session.results.kept_warp("L1") or {}).get("grade") == 2.0, WAIT_S, "kept")
    kept = panel.session.results.kept_warp("L1")
    assert kept["shape"] == "crush" and kept["wanted"] == [0.0, 0.75, 1.5, 2.25, 3.0]
    assert kept["reached"] == pytest.approx(kept["wanted"], abs=0.15)
    assert 0.0 < kept["tilt_share"] < 1.0 and set(kept["checks"][0]) >= {"missed_mm", "gas_share"}
    show_in_place(panel)
    ui.exportCollapsibleButton.collapsed = False
    ui.exportPathLineEdit.currentPath = str(tmp_path / "report")
    qt_actions.click(ui.exportButton)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("L1 warped to other grades") == 1 and "<details>" in page and "shape of a crush fracture" in page
    path = tmp_path / "study.mrb"
    assert panel.slicer.util.saveScene(str(path))
    panel.slicer.mrmlScene.Clear(0)
    qt_actions.settle()
    assert not ui.warpCheckBox.enabled
    ui.gradeSlider.value = 0
    ui.shapeComboBox.currentIndex = 0
    panel.slicer.util.loadScene(str(path))
    qt_actions.wait_until(lambda: panel.session.results is not None, WAIT_S, "the study")
    results = panel.session.results
    assert results.kept_warp("L1") == kept
    assert results.warped_ct("L1", {"grade": 2.0, "shape": "crush"}) is not None
    choose_warped(panel)
    assert ui.gradeSlider.value == 20 and ui.shapeComboBox.currentIndex == 3
    qt_actions.click(ui.shiftUpButton)  # what is expected belongs to the level
    assert results.kept_warp("T12") is None and results.warped_ct("T12", {"grade": 2.0, "shape": "crush"}) is None
    qt_actions.click(ui.undoButton)
    panel.grade()
    assert panel.session.results.kept_warp("L1") is None


def test_a_warp_that_fails_its_checks_is_not_shown(panel: PanelDriver) -> None:
    ui = panel.ui
    choose_warped(panel)
    part = panel.widget.panel.explain._warp
    _live, answer = part._solved["own"]
    places = [n for n, grade in enumerate(answer["wanted"]) if grade >= 2.0]
    for n in places:
        answer["reasons"][n] = ["there is <gas> in the body"]
    ui.gradeSlider.value = 10
    assert ui.warpCheckBox.enabled
    shown = ui.patchLabel.pixmap.toImage()
    ui.gradeSlider.value = 30
    assert ui.drawnLabel.text.startswith("no convincing picture:") and not ui.warpCheckBox.enabled
    assert "gas" not in ui.drawnLabel.text and "there is &lt;gas&gt; in the body" in ui.checksLabel.text
    assert ui.patchLabel.pixmap.toImage() != shown
    qt_actions.press(ui.vertebraTable, "B")
    assert not ui.warpCheckBox.checked and on_top(panel) == {""}
    panel.shot("warp-hidden")
    kept = kept_warp(answer, "L1", 3.0)
    assert kept["reasons"] == [[], [], [], ["there is <gas> in the body"], ["there is <gas> in the body"]]
