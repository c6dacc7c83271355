"""The vertebra at another grade, through the panel's slider: previews, refinement, what the scene keeps, faults."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host import qt_actions
from host.cases import SOME_POINTS, add_points, add_volume, demo
from host.panel_driver import WAIT_S, PanelDriver, shown_panel

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tools.random_autoencoder import write_random_autoencoder

from VertebralGradingLib.backend.temporary import PREFIX
from VertebralGradingLib.spine.reformation import patch_grid
from VertebralGradingLib.spine.spine import build_spine

CT, _ = demo()
POINTS = SOME_POINTS
LEVELS = [point.level for point in POINTS]


def choose_drawn(panel: PanelDriver, level: str = "L1") -> None:
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index(level), 0)
    panel.ui.explainComboBox.currentIndex = 3


def wait_kept(panel: PanelDriver, level: str = "L1", wanted: float | None = None) -> tuple[dict[str, Any], Any]:
    def there() -> bool:
        about = panel.session.results.kept(level)[1]
        return about is not None and (wanted is None or about["wanted"] == wanted)

    qt_actions.wait_until(there, WAIT_S, "the refined picture")
    return panel.session.results.kept(level)


def voxel_folders() -> list[Path]:
    import slicer

    return list(Path(slicer.app.temporaryPath).glob(f"{PREFIX}*"))


def test_slider_draws_refines_and_keeps(panel: PanelDriver, models: Path) -> None:
    write_random_autoencoder(models)
    ui = panel.ui
    assert not ui.gradeSlider.visible
    choose_drawn(panel)
    qt_actions.wait_until(lambda: "Drawn by" in ui.drawnLabel.text, WAIT_S, "a preview")
    assert ui.gradeSlider.visible and ui.gradeSlider.value == 0  # L1 is fractured
    assert not ui.profileLabel.visible and not ui.patchLabel.pixmap.isNull()
    pictures, about = wait_kept(panel)
    assert about["wanted"] == 0.0 and pictures["changed"].shape == pictures["original"].shape
    panel.shot("counterfactual")
    ui.gradeSlider.value = 30
    assert ui.gradeSliderLabel.text == "Grade 3.0"
    again, about = wait_kept(panel, wanted=3.0)
    assert not np.array_equal(again["changed"], pictures["changed"])
    assert np.array_equal(again["original"], pictures["original"])
    node = panel.session.results.drawn_node("L1", "changed")
    assert node.GetName().startswith("L1 at grade 3.0") and node.GetHideFromEditors()
    spine = build_spine(POINTS)
    corner = patch_grid(spine, spine.by_level["L1"]).crop(pictures["changed"].shape[0]).to_ras(np.zeros(3))
    matrix = panel.slicer.util.arrayFromVTKMatrix(_ijk_to_ras(panel, node))
    assert np.abs(matrix[:3, 3] - corner).max() < 0.01
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.wait_until(lambda: "L2" in ui.sentenceLabel.text and ui.gradeSlider.value == 30, WAIT_S)
    wait_kept(panel, "L2")
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: ui.profileLabel.visible and not ui.gradeSlider.visible, WAIT_S)
    assert not ui.drawnLabel.visible
    assert not voxel_folders()


def _ijk_to_ras(panel: PanelDriver, node: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_pictures_are_saved_renamed_and_dropped_with_the_study(
    panel: PanelDriver, models: Path, tmp_path: Path
) -> None:
    write_random_autoencoder(models)
    choose_drawn(panel)
    pictures, _ = wait_kept(panel)
    qt_actions.click(panel.ui.shiftUpButton)
    assert panel.session.results.kept("T12")[1] is not None
    assert panel.session.results.drawn_node("T12", "changed").GetName().startswith("T12 at grade")
    qt_actions.click(panel.ui.undoButton)
    path = tmp_path / "study.mrb"
    assert panel.slicer.util.saveScene(str(path))
    panel.slicer.mrmlScene.Clear(0)
    qt_actions.settle()
    assert not voxel_folders()
    panel.slicer.util.loadScene(str(path))
    qt_actions.wait_until(lambda: panel.session.results is not None, WAIT_S, "the study")
    kept, about = panel.session.results.kept("L1")
    assert np.array_equal(kept["changed"], pictures["changed"]) and about["wanted"] == 0.0
    panel.grade()
    assert panel.session.results.kept("L1")[1] is None


def damage(folder: Path) -> None:
    (folder / "encoder.safetensors").write_bytes(b"nothing")


def test_a_damaged_model_is_told(panel: PanelDriver, models: Path) -> None:
    damage(write_random_autoencoder(models))
    choose_drawn(panel)
    qt_actions.wait_until(lambda: "model" in panel.ui.drawnLabel.text, WAIT_S, "the error")
    assert "cut short" in panel.ui.drawnLabel.text
    assert panel.session.results.kept("L1")[1] is None


@pytest.mark.parametrize("fault", ["worker killed", "scene closed", "centroids removed"])
def test_faults_while_drawing_leave_a_usable_panel(panel: PanelDriver, models: Path, fault: str) -> None:
    write_random_autoencoder(models)
    choose_drawn(panel)
    if fault == "worker killed":
        wait_kept(panel)
        pid = panel.pid
        os.kill(pid, signal.SIGSTOP)
        panel.ui.gradeSlider.value = 10
        qt_actions.settle()
        os.kill(pid, signal.SIGKILL)
        qt_actions.wait_until(lambda: "worker" in panel.ui.drawnLabel.text, WAIT_S, "the error")
        panel.ui.gradeSlider.value = 20
        wait_kept(panel, wanted=2.0)
        assert panel.pid != pid
    elif fault == "scene closed":
        qt_actions.wait_until(lambda: bool(voxel_folders()), WAIT_S, "voxels on the disk")
        panel.slicer.mrmlScene.Clear(0)
        qt_actions.wait_until(lambda: not voxel_folders(), WAIT_S, "no voxel left")
        assert panel.session.results is None
    else:
        wait_kept(panel)
        panel.scene.RemoveNode(panel.session.results.centroids_node)
        qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index("L2"), 0)
        wait_kept(panel, "L2")  # its voxels and points have been read


def test_unnamed_points_and_a_shift_keep_the_vertebra(host: SimpleNamespace, tmp_path: Path, models: Path) -> None:
    """What is drawn lies where the finding is, whatever the user's points are called."""
    write_random_autoencoder(models)
    with shown_panel(tmp_path) as panel:
        panel.choose(add_volume(CT, "demo"), add_points([replace(point, level=None, label="") for point in POINTS]))
        panel.ui.lowestComboBox.currentText = LEVELS[-1]
        panel.grade()
        panel.ui.explainCollapsibleButton.collapsed = False
        choose_drawn(panel)
        wait_kept(panel)
        qt_actions.click(panel.ui.shiftUpButton)
        qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index("L1") + 1, 0)  # L2, called L1 now
        assert panel.session.level == "L1"
        wait_kept(panel)
        node = panel.session.results.drawn_node("L1", "changed")
        spine = build_spine(POINTS)
        size = panel.session.results.kept("L1")[0]["changed"].shape[0]
        corner = patch_grid(spine, spine.by_level["L2"]).crop(size).to_ras(np.zeros(3))
        matrix = panel.slicer.util.arrayFromVTKMatrix(_ijk_to_ras(panel, node))
        assert np.abs(matrix[:3, 3] - corner).max() < 0.01


def test_an_incomplete_picture_does_not_stop_the_export(panel: PanelDriver, models: Path, tmp_path: Path) -> None:
    write_random_autoencoder(models)
    choose_drawn(panel)
    wait_kept(panel)
    panel.scene.RemoveNode(panel.session.results.drawn_node("L1", "decoded"))
    panel.ui.exportCollapsibleButton.collapsed = False
    panel.ui.exportPathLineEdit.currentPath = str(tmp_path / "report")
    qt_actions.click(panel.ui.exportButton)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "L1 at another grade" not in page


def test_other_methods_are_chosen_told_and_reported(panel: PanelDriver, models: Path, tmp_path: Path) -> None:
    write_random_autoencoder(models)
    assert panel.ui.methodsComboBox.currentText == "morphometry"
    panel.ui.methodsComboBox.currentText = "all"
    panel.grade()
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index("L1"), 0)
    finding = panel.session.finding
    assert finding.state == f"grade {finding.evidence_of('morphometry').grade}", "other methods change no state"
    assert {item.method for item in finding.evidence} == {"morphometry", "neighbours", "healthivert", "dae"}
    qt_actions.wait_until(lambda: "Diffusion autoencoder: grade" in panel.ui.sentenceLabel.text, WAIT_S)
    choose_drawn(panel)
    wait_kept(panel)
    qt_actions.settle()
    panel.ui.exportCollapsibleButton.collapsed = False
    panel.ui.exportPathLineEdit.currentPath = str(tmp_path / "report")
    qt_actions.click(panel.ui.exportButton)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Vertebrae at another grade" in page and page.count("L1 at another grade") == 1
    assert "Each method" in page and "Height loss against neighbours" in page


def test_method_whose_model_is_damaged_is_told(panel: PanelDriver, models: Path) -> None:
    damage(write_random_autoencoder(models))
    panel.ui.methodsComboBox.currentText = "morphometry, diffusion autoencoder"
    qt_actions.click(panel.ui.gradeButton)
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end")
    qt_actions.settle()
    assert "Diffusion autoencoder did not run" in panel.ui.statusLabel.text
    assert "model" in panel.ui.statusLabel.text
    assert "Diffusion autoencoder did not run" in panel.ui.logText.toPlainText()
    assert panel.session.report.provenance["methods"] == ["morphometry"]
    assert "model" in panel.session.report.provenance["not_run"]["dae"]
    assert panel.ui.vertebraTable.rowCount == len(LEVELS), "morphometry has graded all the same"
    assert {finding.state for finding in panel.session.report.findings} == {"grade 0", "grade 2"}
    panel.ui.methodsComboBox.currentText = "morphometry"
    panel.grade()
    assert "did not run" not in panel.ui.statusLabel.text
    assert panel.ui.vertebraTable.rowCount == len(LEVELS)
