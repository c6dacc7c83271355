"""Where height was lost, through the panel: map, endplate with legend, pseudo-healthy CT in the slices, faults."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host import qt_actions
from host.cases import SOME_POINTS, add_volume, demo
from host.panel_driver import WAIT_S, PanelDriver

pytest.importorskip("torch")

from tools.random_healthivert import write_random_healthivert

from VertebralGradingLib.backend.temporary import PREFIX
from VertebralGradingLib.scene.drawn import ENDPLATE, HEALTHY, MAP, loss_part

CT, _ = demo()
POINTS = SOME_POINTS
LEVELS = [point.level for point in POINTS]
HEIGHT = 0.7
"""Share of a gap of 40 mm that the random networks expect."""


def choose_map(panel: PanelDriver, level: str = "L1", warped: bool = False) -> None:
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index(level), 0)
    panel.ui.explainComboBox.currentIndex = 2
    panel.ui.lossComboBox.currentIndex = 0 if warped else 1


def wait_map(panel: PanelDriver, level: str = "L1", warped: bool = False) -> str:
    qt_actions.wait_until(lambda: panel.session.results.kept_height_loss(level, warped) is not None, WAIT_S, "the map")
    return panel.session.results.kept_height_loss(level, warped)[1]


def in_place(panel: PanelDriver) -> set[str]:
    """What the slice views show in place of the CT; the CT's own name where that is nothing."""
    names = panel.slicer.app.layoutManager().sliceViewNames()
    logics = [panel.slicer.app.layoutManager().sliceWidget(name).sliceLogic() for name in names]
    nodes = [logic.GetSliceCompositeNode() for logic in logics]
    return {str(node.GetForegroundVolumeID() or node.GetBackgroundVolumeID()) for node in nodes}


def test_map_endplate_and_pseudo_healthy_ct(panel: PanelDriver, models: Path, tmp_path: Path) -> None:
    write_random_healthivert(models, HEIGHT)
    ui, results = panel.ui, panel.session.results
    assert not ui.healthyCheckBox.visible
    choose_map(panel)
    text = wait_map(panel)
    assert text.startswith("HealthiVert-GAN: anterior") and text in ui.drawnLabel.text
    assert ui.healthyCheckBox.visible and ui.healthyCheckBox.enabled and not ui.patchLabel.pixmap.isNull()
    qt_actions.settle()
    panel.shot("height-loss-random")
    surface = results.drawn_node("L1", ENDPLATE)
    data = surface.GetPolyData()
    finding = panel.session.finding
    center = np.array(data.GetCenter())
    top = np.array(finding.points_ras_mm)[::2].mean(0)
    assert np.linalg.norm(center - top) < 4.0  # it lies on the upper endplate
    assert data.GetNumberOfCells() > 300 and data.GetPointData().GetScalars().GetName() == "loss of height (%)"
    display = surface.GetDisplayNode()
    assert display.GetVisibility() and display.GetScalarRange() == (0.0, 50.0)
    table = display.GetColorNode().GetLookupTable()
    ends = [[round(255 * part) for part in table.GetTableValue(n)[:3]] for n in (0, 1, table.GetNumberOfColors() - 1)]
    assert ends[0] == [150, 150, 150] and min(ends[1]) > 252 and ends[2] == [213, 94, 0]
    legend = panel.slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(surface)
    assert legend.GetVisibility()
    volume, map_node = results.drawn_node("L1", HEALTHY), results.drawn_node("L1", MAP)
    assert volume.GetHideFromEditors() and map_node.GetHideFromEditors()
    assert np.abs(middle_of(map_node) - np.array(finding.center_ras_mm)).max() < 4.0
    assert np.abs(middle_of(volume) - np.array(finding.center_ras_mm)).max() < 4.0
    values = panel.slicer.util.arrayFromVolume(map_node)
    assert values.min() == -100 and 20 < values.max() <= 100
    assert (values == 0).any(), "columns that cannot be told"
    qt_actions.click(ui.healthyCheckBox)
    assert in_place(panel) == {volume.GetID()}
    qt_actions.click(ui.healthyCheckBox)
    assert in_place(panel) == {results.image_node.GetID()}
    qt_actions.click(ui.healthyCheckBox)
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    wait_map(panel, "L2")
    assert in_place(panel) == {results.image_node.GetID()}, "another vertebra is looked at on the CT"
    assert not display.GetVisibility() and results.drawn_node("L2", ENDPLATE).GetDisplayNode().GetVisibility()
    ui.exportCollapsibleButton.collapsed = False
    ui.exportPathLineEdit.currentPath = str(tmp_path / "report")
    qt_actions.click(ui.exportButton)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Where height was lost" in page and page.count("L1 loss of height") == 1
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: not ui.healthyCheckBox.visible, WAIT_S)
    assert not results.drawn_node("L2", ENDPLATE).GetDisplayNode().GetVisibility()
    assert not list(Path(panel.slicer.app.temporaryPath).glob(f"{PREFIX}*"))


def test_nothing_of_it_stays_when_the_study_or_the_module_is_left(panel: PanelDriver, models: Path) -> None:
    write_random_healthivert(models, HEIGHT)
    ui, results = panel.ui, panel.session.results
    choose_map(panel)
    wait_map(panel)
    image, healthy = results.image_node, results.drawn_node("L1", HEALTHY).GetID()
    shown = results.drawn_node("L1", ENDPLATE).GetDisplayNode()
    qt_actions.click(ui.healthyCheckBox)
    assert in_place(panel) == {healthy} and shown.GetVisibility()
    panel.slicer.util.selectModule("Volumes")
    assert in_place(panel) == {image.GetID()} and not shown.GetVisibility(), "other modules see the CT"
    panel.slicer.util.selectModule("VertebralGrading")
    qt_actions.wait_until(shown.GetVisibility, WAIT_S, "the map again")
    qt_actions.click(ui.healthyCheckBox)
    assert in_place(panel) == {healthy}
    qt_actions.choose(ui.ctSelector, add_volume(CT, "another"))
    assert panel.session.results is None
    assert healthy not in in_place(panel) and not shown.GetVisibility() and not ui.healthyCheckBox.checked
    qt_actions.choose(ui.ctSelector, image)
    qt_actions.wait_until(shown.GetVisibility, WAIT_S, "the map of the study that came back")
    qt_actions.click(ui.healthyCheckBox)
    panel.grade()
    assert in_place(panel) == {image.GetID()}


def middle_of(node: Any) -> np.ndarray:
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return (np.array(bounds[::2]) + np.array(bounds[1::2])) / 2


def test_without_a_model_neighbours_are_the_reference_and_the_panel_says_so(
    panel: PanelDriver, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (write_random_healthivert(models) / "coronal.safetensors").write_bytes(b"nothing")
    choose_map(panel)
    text = wait_map(panel)
    assert "HealthiVert-GAN cannot be used" in text and "Height loss against neighbours: anterior" in text
    assert panel.ui.healthyCheckBox.visible and not panel.ui.healthyCheckBox.enabled
    assert panel.session.results.drawn_node("L1", HEALTHY) is None
    qt_actions.click(panel.ui.shiftUpButton)  # what is expected belongs to the level: it is asked for again
    assert panel.session.results.kept_height_loss("L1") is None
    assert "T11 and L1" in wait_map(panel, "T12")
    qt_actions.click(panel.ui.undoButton)
    text = wait_map(panel)
    assert "T12 and L2" in text
    path = tmp_path / "study.mrb"
    assert panel.slicer.util.saveScene(str(path))
    panel.slicer.mrmlScene.Clear(0)
    qt_actions.settle()
    panel.slicer.util.loadScene(str(path))
    qt_actions.wait_until(lambda: panel.session.results is not None, WAIT_S, "the study")
    assert panel.session.results.kept_height_loss("L1")[1] == text
    assert panel.session.results.drawn_node("L1", ENDPLATE).GetPolyData().GetNumberOfCells() > 300
    panel.grade()
    assert panel.session.results.kept_height_loss("L1") is None


@pytest.mark.parametrize("fault", ["worker killed", "scene closed"])
def test_faults_leave_a_usable_panel(panel: PanelDriver, models: Path, fault: str) -> None:
    write_random_healthivert(models, HEIGHT)
    panel.grade()  # so that there is a warm worker
    pid = panel.pid
    os.kill(pid, signal.SIGSTOP)
    choose_map(panel)
    explaining = panel.widget.panel.explain._heightLoss._explaining
    qt_actions.wait_until(lambda: explaining._now is not None, WAIT_S, "the request")
    if fault == "worker killed":
        os.kill(pid, signal.SIGKILL)
        qt_actions.wait_until(lambda: "worker" in panel.ui.drawnLabel.text, WAIT_S, "the error")
        qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index("L2"), 0)
        wait_map(panel, "L2")
        assert panel.pid != pid
    else:
        panel.slicer.mrmlScene.Clear(0)
        os.kill(pid, signal.SIGCONT)
        qt_actions.settle()
        assert panel.session.results is None
        assert not panel.ui.healthyCheckBox.enabled


def test_the_warp_needs_no_model_and_lies_on_the_ct(panel: PanelDriver, tmp_path: Path) -> None:
    ui, results = panel.ui, panel.session.results
    choose_map(panel, warped=True)
    text = wait_map(panel, warped=True)
    assert text.startswith("Height loss by the warp to grade 0: anterior") and "anterior rim" in text
    assert results.kept_height_loss("L1") is None
    qt_actions.settle()
    assert ui.lossComboBox.visible and ui.healthyCheckBox.enabled
    panel.shot("height-loss-warp")
    volume = results.drawn_node("L1", loss_part(HEALTHY, True))
    assert volume.GetSpacing() == pytest.approx(results.image_node.GetSpacing())
    qt_actions.click(ui.healthyCheckBox)
    assert in_place(panel) == {volume.GetID()}
    surface = results.drawn_node("L1", loss_part(ENDPLATE, True)).GetDisplayNode()
    assert surface.GetVisibility()
    ui.lossComboBox.currentIndex = 1
    assert in_place(panel) == {results.image_node.GetID()} and not surface.GetVisibility()
    wait_map(panel)
    ui.exportCollapsibleButton.collapsed = False
    ui.exportPathLineEdit.currentPath = str(tmp_path / "report")
    qt_actions.click(ui.exportButton)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("L1 loss of height") == 2
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: not ui.lossComboBox.visible, WAIT_S)
