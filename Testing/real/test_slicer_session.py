"""A session in Slicer's scene on real data: load, grade, drag a point, save, close, load again; and how it looks.

Pictures go to ``$VERTEBRAL_GRADING_ARTEFACTS`` where that is set, else to the test's own folder.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="Slicer's core is not installed; make test installs it")
from host.application import Application
from host.cases import add_points, add_segmentation, add_volume
from host.install import running
from host.rendering import Picture, SliceView, ThreeDView, draw_chart, set_window
from rendering.mask_ct import ct_from_mask

from VertebralGradingLib.files import grade_files
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.image.io import read_labels
from VertebralGradingLib.report.colors import color_of
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.points import read_points

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA") or ROOT.parent / "shared" / "data")
AORTA = DATA / "totalseg-aorta/ct_cropped.nii.gz", DATA / "totalseg-aorta/ct_cropped_bodies.mrk.json"
TOTALSEG = DATA / "totalseg-example/example_ct.nii.gz", DATA / "totalseg-example/example_bodies.mrk.json"
VERSE_MASK = DATA / "verse004/sub-verse004_seg-vert_msk.nii.gz"
VERSE_POINTS = DATA / "verse004/sub-verse004_bodies.mrk.json"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the CT scans are not in the repository: set VERTEBRAL_GRADING_DATA to their folder"
    ),
]


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with running() as started:
        yield started


@pytest.fixture
def app(application: Application) -> Iterator[Application]:
    application.clear()
    yield application
    application.clear()


@pytest.fixture
def logic(app: Application) -> Iterator[Any]:
    path = ROOT / "VertebralGrading" / "VertebralGrading.py"
    spec = importlib.util.spec_from_file_location("VertebralGrading", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.VertebralGradingLogic()
    yield made
    made.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("VERTEBRAL_GRADING_ARTEFACTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _finding(report: Any, level: str) -> Finding:
    return next(finding for finding in report.findings if finding.level == level)


def test_load_grade_drag_save_close_reload(app: Application, logic: Any, tmp_path: Path) -> None:
    import slicer

    from VertebralGradingLib.scene.live import PointsWatcher
    from VertebralGradingLib.scene.six_points import read_points as six_points
    from VertebralGradingLib.scene.studies import all_results

    volume = slicer.util.loadVolume(str(TOTALSEG[0]))
    markups = slicer.util.loadMarkups(str(TOTALSEG[1]))
    results = logic.grade(volume, markups)

    grade_files(*TOTALSEG, out_dir=tmp_path / "cli")
    told = json.loads((tmp_path / "cli" / "findings.json").read_text(encoding="utf-8"))
    assert results.report.to_dict()["findings"] == told["findings"], "the same as the command line's"
    assert results.report.to_dict()["study"] == told["study"]

    watcher = PointsWatcher(results)
    before = _finding(results.report, "L3")
    up = np.array(before.evidence_of("morphometry").quantities["up_ras"])
    node, index = results.points_node, [f.level for f in results.report.findings].index("L3") * 6
    node.SetNthControlPointPositionWorld(index, *(np.array(before.points_ras_mm[0]) - 9.0 * up))
    after = _finding(results.report, "L3")
    assert before.grade == 0
    assert after.grade >= 1
    assert after.heights_mm["anterior"] == pytest.approx(before.heights_mm["anterior"] - 9.0, abs=0.01)
    assert results.segmentation_node.GetSegmentation().GetSegment("L3").GetName() == f"L3 grade {after.grade}"
    watcher.stop()

    shown = results.report.to_dict()
    path = tmp_path / "study.mrb"
    assert slicer.util.saveScene(str(path))
    app.clear()
    assert not all_results(app.scene)
    slicer.util.loadScene(str(path))
    (again,) = all_results(app.scene)
    assert again.report.to_dict() == shown
    assert again.segmentation_node.GetSegmentation().GetSegment("L3").GetName() == f"L3 grade {after.grade}"
    np.testing.assert_allclose(six_points(again.points_node)["L3"], after.points_ras_mm, atol=1e-3)
    assert again.table_node.GetNumberOfRows() == 5
    assert again.chart_node.GetNumberOfPlotSeriesNodes() == 9
    assert again.patch_node("L3") is not None
    regraded = logic.grade(again.image_node, again.centroids_node)
    assert regraded.table_node is again.table_node
    assert _finding(regraded.report, "L3").grade == 0


def test_the_graded_totalseg_example_looks_right(app: Application, logic: Any, pictures: Path) -> None:
    import slicer

    volume = slicer.util.loadVolume(str(TOTALSEG[0]))
    results = logic.grade(volume, slicer.util.loadMarkups(str(TOTALSEG[1])))
    _look(app, results, volume, "totalseg", "L3", pictures)


def test_the_graded_verse004_looks_right(app: Application, logic: Any, pictures: Path) -> None:
    mask = read_labels(VERSE_MASK)
    ct = ct_from_mask(mask)
    labels = interpret(mask)
    volume, markups = add_volume(ct, "verse004 rendered"), add_points(read_points(VERSE_POINTS))
    given = add_segmentation(mask, labels.names)
    given.GetDisplayNode().SetVisibility(False)
    results = logic.grade(volume, markups, given)
    assert _finding(results.report, "L1").grade == 3
    assert results.segmentation_node.GetSegmentation().GetSegment("L1").GetName() == "L1 grade 3"
    _look(app, results, volume, "verse004", "L1", pictures)


def _look(app: Application, results: Any, volume: Any, name: str, level: str, pictures: Path) -> None:
    """Draw everything, store it, and ask for colours where they must be."""
    import slicer

    from VertebralGradingLib.scene.views import look_at, turn_camera

    set_window(volume)
    finding = _finding(results.report, level)
    color = np.array(color_of(finding).rgb)
    middle = np.array(finding.points_ras_mm).mean(0)
    display = results.segmentation_node.GetDisplayNode()
    display.SetOpacity2DFill(0.35)
    for plane in ("Sagittal", "Coronal", "Axial"):
        view = SliceView(app, plane, f"{name} {plane}")
        view.show(volume)
        view.node.SetFieldOfView(120, 120, 1)
        look_at(view.node, finding, plane)
        picture = view.render((480, 480), field_of_view=120.0)
        picture.save(pictures / f"{name}-{level}-{plane.lower()}.png")
        assert np.abs(picture.project(middle)[:2] - 239.5).max() < 24.0, "its body is in the middle"
        tint = picture.color_at(middle, radius=6) - picture.color_at(middle, radius=6).mean()
        assert tint @ (color - color.mean()) > 0, f"{plane}: the body is tinted by its grade"
        if plane == "Sagittal":
            _anterior_left_cranial_up(picture, finding)
            for point in finding.points_ras_mm:
                green = picture.color_at(np.array(point), radius=2)
                assert green[1] > green[0] + 30, "each of the six points is drawn"
        view.close()
    view = ThreeDView(app, f"{name} 3-D")
    turn_camera(view.camera, finding)
    direction = np.array(view.camera.GetPosition()) - view.camera.GetFocalPoint()
    picture = view.render((480, 640), look_from=tuple(direction))
    picture.save(pictures / f"{name}-3d.png")
    drawn = picture.image.reshape(-1, 3).astype(float)
    for shown in results.report.findings:
        wanted = np.array(color_of(shown).rgb, dtype=float)
        share = drawn @ wanted / (np.linalg.norm(drawn, axis=1) * np.linalg.norm(wanted) + 1e-9)
        assert (share > 0.995).sum() > 200, f"the colour of {shown.level} is seen"
    view.close()
    draw_chart(results.chart_node, (900, 560)).save(pictures / f"{name}-heights.png")
    patch = results.patch_node(level)
    view = SliceView(app, "Sagittal", f"{name} patch")
    view.show(patch)
    display.SetVisibility(False)
    results.points_node.GetDisplayNode().SetVisibility(False)
    look_at(view.node, finding, "Sagittal")
    over = view.render((480, 480), field_of_view=96.0)
    over.save(pictures / f"{name}-{level}-patch.png")
    view.show(volume)
    under = view.render((480, 480), field_of_view=96.0)
    likeness = np.corrcoef(_gray(over)[30:-30, 30:-30].ravel(), _gray(under)[30:-30, 30:-30].ravel())[0, 1]
    assert likeness > 0.97, "the patch lies where the CT shows the same"
    view.close()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 2


def _anterior_left_cranial_up(picture: Picture, finding: Finding) -> None:
    pixels = picture.project(np.array(finding.points_ras_mm))
    assert pixels[0, 0] < pixels[4, 0], "anterior is on the left"
    assert pixels[0, 1] < pixels[1, 1], "cranial is on top"


def _gray(picture: Picture) -> np.ndarray:
    return picture.image.astype(float).mean(axis=2)


def test_a_readers_session_through_the_panel(app: Application, tmp_path: Path) -> None:
    import slicer
    from host import qt_actions
    from host.panel_driver import WAIT_S, shown_panel

    with shown_panel(tmp_path) as panel:
        volume, markups = slicer.util.loadVolume(str(TOTALSEG[0])), slicer.util.loadMarkups(str(TOTALSEG[1]))
        panel.choose(volume, markups)
        qt_actions.click(panel.ui.gradeButton)
        counts = set()
        while panel.logic.isGrading():
            counts.add(panel.ui.vertebraTable.rowCount)
            qt_actions.settle()
        assert len(counts) > 2, "rows came one by one"
        grade_files(*TOTALSEG, out_dir=tmp_path / "cli")
        told = json.loads((tmp_path / "cli" / "findings.json").read_text(encoding="utf-8"))
        first = panel.session.report
        assert first.to_dict()["findings"] == told["findings"]
        qt_actions.click_cell(panel.ui.vertebraTable, 2, 0)
        finding = panel.session.finding
        node = slicer.app.layoutManager().sliceWidget("Yellow").mrmlSliceNode()
        matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        assert np.abs((np.array(finding.points_ras_mm) - matrix[:3, 3]) @ matrix[:3, 2]).max() < 0.1
        up = np.array(finding.evidence_of("morphometry").quantities["up_ras"])
        place = np.array(finding.points_ras_mm[0]) - 9.0 * up
        panel.session.results.points_node.SetNthControlPointPositionWorld(12, *place)
        assert panel.session.finding.grade >= 1
        qt_actions.choose(panel.ui.readerGradeComboBox, "grade 3")
        assert panel.session.finding.final_grade == 3
        panel.shot("totalseg-edited")
        qt_actions.click(panel.ui.undoButton)
        qt_actions.click(panel.ui.undoButton)
        assert panel.session.report.to_dict() == first.to_dict()
        qt_actions.click(panel.ui.redoButton)
        if panel.ui.exportCollapsibleButton.collapsed:
            qt_actions.click(panel.ui.exportCollapsibleButton)
        panel.ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
        qt_actions.click(panel.ui.exportButton)
        written = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
        assert written["findings"][2]["grade"] == panel.session.finding.grade
        assert str(DATA) not in (tmp_path / "out" / "findings.json").read_text(encoding="utf-8")
        shown, path = panel.session.report.to_dict(), tmp_path / "study.mrb"
        assert slicer.util.saveScene(str(path))
        app.clear()
        qt_actions.settle()
        slicer.util.loadScene(str(path))
        qt_actions.wait_until(lambda: panel.ui.vertebraTable.rowCount == 5, WAIT_S, "the loaded study")
        assert panel.session.report.to_dict() == shown


@pytest.mark.slow
@pytest.mark.parametrize("methods", ["morphometry", "morphometry, neighbours", "all"])
def test_a_giant_schmorl_node_is_undecided_in_the_panel(app: Application, tmp_path: Path, methods: str) -> None:
    import slicer
    from host import qt_actions
    from host.panel_driver import shown_panel

    if methods == "all":
        pytest.importorskip("torch")
    with shown_panel(tmp_path) as panel:
        panel.choose(slicer.util.loadVolume(str(AORTA[0])), slicer.util.loadMarkups(str(AORTA[1])))
        qt_actions.choose(panel.ui.methodsComboBox, methods)
        qt_actions.click(panel.ui.gradeButton)
        qt_actions.wait_until(lambda: not panel.logic.isGrading(), 600, "the end of the run")
        qt_actions.settle()
        levels = [finding.level for finding in panel.session.report.findings]
        row = levels.index("T11")
        qt_actions.click_cell(panel.ui.vertebraTable, row, 0)
        assert panel.cell(row, 1) == "undecided"
        assert "if Schmorl node" in panel.cell(row, 8)
        assert "if fracture" in panel.cell(row, 8)
        assert panel.session.finding.hypotheses[1].grade >= 2
        segment = panel.session.results.segmentation_node.GetSegmentation().GetSegment("T11")
        assert segment.GetName() == "T11 undecided"
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, color_of(panel.session.finding).rgb, atol=0.01)
        assert "undecided: T11 (1 if Schmorl node" in panel.ui.summaryLabel.text
        panel.shot(f"aorta-{methods.replace(', ', '-')}")
