"""Findings as nodes: right, in place, once, and still there after the scene was saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from host.application import Application
from host.cases import add_points, add_segmentation, add_transform, add_volume, observers

from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.findings import Reading, Report
from VertebralGradingLib.methods.bodies import body_labels
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.reading import exclude, set_reader_grade
from VertebralGradingLib.report.colors import color_of, color_of_grade
from VertebralGradingLib.report.csv_table import COLUMNS, rows
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.segments import GRADE_TAG, recolor_given, restore_given, terminology_entry
from VertebralGradingLib.scene.six_points import read_points, show_only
from VertebralGradingLib.scene.studies import all_results, results_of, show_report
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.spine.spine import Spine, build_spine
from VertebralGradingLib.study import Study

CT, POINTS = demo_case()
LEVELS = [point.level for point in POINTS]


@cache
def _graded() -> tuple[Report, Spine, VertebraLabels]:
    studies: list[Study] = []
    spine = build_spine(POINTS)
    report = grade(CT, spine, on_study=studies.append)
    bodies = body_labels(studies[0])
    assert bodies is not None
    return report, spine, bodies


def _show() -> tuple[StudyResults, object]:
    report, spine, bodies = _graded()
    node = add_volume(CT, "demo")
    return show_report(report, node, ct=CT, spine=spine, labels=bodies, centroids_node=add_points(POINTS)), node


def _names(app: Application) -> list[str]:
    nodes = [app.scene.GetNthNode(n) for n in range(app.scene.GetNumberOfNodes())]
    return sorted(f"{node.GetClassName()} {node.GetName()}" for node in nodes)


def _items(parent: int) -> dict[str, object]:
    """The subject hierarchy below an item, as nested dicts of names."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    ids = vtk.vtkIdList()
    tree.GetItemChildren(parent, ids)
    items = [ids.GetId(n) for n in range(ids.GetNumberOfIds())]
    assert len({tree.GetItemName(item) for item in items}) == len(items), "an item stands there twice"
    return {tree.GetItemName(item): _items(item) for item in items}


def test_table_holds_what_the_csv_file_holds(app: Application) -> None:
    results, _ = _show()
    table = results.table_node.GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(COLUMNS)
    assert isinstance(table.GetColumnByName("grade"), vtk.vtkIntArray)
    assert isinstance(table.GetColumnByName("score"), vtk.vtkDoubleArray)
    assert isinstance(table.GetColumnByName("level"), vtk.vtkStringArray)
    for n, row in enumerate(rows(_graded()[0].findings)):
        for name, value in row.items():
            cell = table.GetValueByName(n, name)
            if isinstance(value, str):
                assert cell.ToString() == value
            elif value is None:
                assert np.isnan(cell.ToDouble()) or cell.ToInt() == -1
            else:
                assert cell.ToDouble() == pytest.approx(float(value))
    assert results.table_node.GetColumnUnitLabel("anterior_mm") == "mm"


def test_what_the_reader_says_shows_in_table_names_and_colours(app: Application) -> None:
    results, _ = _show()
    report = _graded()[0]
    before = {finding.level: finding for finding in report.findings}
    other = 0 if before["L1"].grade else 2
    read = set_reader_grade(set_reader_grade(report, "L1", other), "L2", before["L2"].grade)
    read = exclude(read, "L3", "Schmorl node")
    results.update(read)
    segmentation = results.segmentation_node.GetSegmentation()
    names = {level: segmentation.GetSegment(level).GetName() for level in LEVELS}
    assert names["L1"] == f"L1 grade {other} (reader)"
    assert names["L2"] == f"L2 grade {before['L2'].grade}"
    assert names["L3"] == "L3 excluded"
    wanted = {"L1": other, "L2": before["L2"].grade, "L3": None}
    for level, final in wanted.items():
        color = np.array(segmentation.GetSegment(level).GetColor()) * 255
        np.testing.assert_allclose(color, color_of_grade(final).rgb, atol=0.01)
        tag = vtk.reference("")
        assert segmentation.GetSegment(level).GetTag(GRADE_TAG, tag)
        assert tag == ("" if final is None else str(final))
    table = results.table_node.GetTable()
    assert isinstance(table.GetColumnByName("reader_grade"), vtk.vtkIntArray)
    assert isinstance(table.GetColumnByName("reader_exclusion"), vtk.vtkStringArray)
    cells = [
        (table.GetValueByName(n, "reader_grade").ToInt(), table.GetValueByName(n, "reader_exclusion").ToString())
        for n in range(len(LEVELS))
    ]
    said = {"L1": (other, ""), "L2": (before["L2"].grade, ""), "L3": (-1, "Schmorl node")}
    assert cells == [said.get(level, (-1, "")) for level in LEVELS]
    automatic = [table.GetValueByName(n, "grade").ToInt() for n in range(len(LEVELS))]
    assert automatic == [finding.grade for finding in report.findings]
    assert results.report.findings[LEVELS.index("L3")].reading == Reading(exclusion="Schmorl node")
    results.update(report)
    assert segmentation.GetSegment("L1").GetName() == f"L1 grade {before['L1'].grade}"


def test_segments_are_named_coloured_and_coded_by_grade(app: Application) -> None:
    results, image = _show()
    report, _, bodies = _graded()
    segmentation = results.segmentation_node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(report.findings)
    for finding in report.findings:
        segment = segmentation.GetSegment(finding.level)
        assert segment.GetName() == f"{finding.level} grade {finding.grade}"
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, color_of(finding).rgb, atol=0.01)
        entry = vtk.reference("")
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), entry)
        assert entry.split("~")[1:3][0] == "SCT^123037004^Anatomical Structure"
        assert f"^{finding.level} vertebra" in entry
        array = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation_node, finding.level, image)
        assert array.sum() == (bodies.volume.array == bodies.by_level[finding.level]).sum()
        middle = CT.to_ras(np.argwhere(array.transpose(2, 1, 0))).mean(0)
        assert np.linalg.norm(middle - finding.center_ras_mm) < 1.5
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert results.segmentation_node.GetNodeReference(role) is image
    geometry = vtk.reference("")
    geometry = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    assert geometry, "DICOM export needs the reference geometry"
    closed = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert segmentation.ContainsRepresentation(closed)


def test_terminology_knows_every_common_level_and_no_other() -> None:
    assert "SCT^23215003^T12 vertebra" in terminology_entry("T12")
    assert "SCT^11994002^L4 vertebra" in terminology_entry("L4")
    assert terminology_entry("T13") == terminology_entry("L6") == terminology_entry("V1") == ""


def test_patches_lie_where_they_were_cut(app: Application) -> None:
    results, _ = _show()
    for finding in _graded()[0].findings:
        node = results.patch_node(finding.level)
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        affine = slicer.util.arrayFromVTKMatrix(matrix)
        array = slicer.util.arrayFromVolume(node)
        assert array.shape == (1, 192, 192)
        assert np.linalg.det(affine[:3, :3]) > 0
        points = np.array(finding.points_ras_mm)
        index = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        assert np.abs(index[:, 2]).max() < 0.05, "the six points lie in the slice"
        assert index[0, 0] < index[4, 0], "anterior is on the left"
        assert index[0, 1] < index[1, 1], "cranial is on top"
        i, j = 70, 101
        place = affine @ (i, j, 0, 1)
        from VertebralGradingLib.image.sampling import sample

        assert array[0, j, i] == pytest.approx(float(sample(CT, place[:3])), abs=0.51)


def test_chart_draws_heights_and_the_band(app: Application) -> None:
    results, _ = _show()
    chart = results.chart_node
    assert chart.GetNumberOfPlotSeriesNodes() == 9
    report = _graded()[0]
    for n in range(9):
        series = chart.GetNthPlotSeriesNode(n)
        table = series.GetTableNode().GetTable()
        values = [table.GetValueByName(row, series.GetYColumnName()).ToDouble() for row in range(len(LEVELS))]
        position, kind = series.GetYColumnName().split("_")
        for finding, value in zip(report.findings, values, strict=True):
            quantities = finding.evidence_of("morphometry").quantities
            mean, sd = quantities["reference_mm"][position], quantities["reference_sd_mm"][position]
            expected = {"measured": finding.heights_mm[position], "low": mean - 1.645 * sd, "high": mean + 1.645 * sd}
            assert value == pytest.approx(expected[kind], abs=1e-6)


def test_points_are_those_of_the_findings(app: Application) -> None:
    results, _ = _show()
    found = read_points(results.points_node)
    assert list(found) == LEVELS
    for finding in _graded()[0].findings:
        np.testing.assert_allclose(found[finding.level], finding.points_ras_mm, atol=1e-6)
    show_only(results.points_node, "L1")
    visible = [results.points_node.GetNthControlPointVisibility(n) for n in range(36)]
    assert sum(visible) == 6
    assert all(visible[12:18])


@pytest.mark.parametrize("automatic", [False, True])
def test_grading_again_replaces_and_removing_leaves_the_users_nodes(app: Application, automatic: bool) -> None:
    app.automatic_subject_hierarchy = automatic
    node, markups = add_volume(CT, "demo"), add_points(POINTS)
    report, spine, bodies = _graded()
    before, observed = _names(app), observers(app.scene, node, markups)
    first = show_report(report, node, ct=CT, spine=spine, labels=bodies, centroids_node=markups)
    shown, ids = _names(app), [first.table_node.GetID(), first.points_node.GetID(), first.segmentation_node.GetID()]
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    folders = _items(tree.GetSceneItemID())
    second = show_report(report, node, ct=CT, spine=spine, labels=bodies, centroids_node=markups)
    assert _names(app) == shown
    assert [second.table_node.GetID(), second.points_node.GetID(), second.segmentation_node.GetID()] == ids
    assert _items(tree.GetSceneItemID()) == folders
    assert set(folders["demo vertebral grading"]) == {
        "demo findings",
        "demo six points",
        "demo vertebrae by grade",
        "height plot",
        "sagittal patches",
    }
    assert len(folders["demo vertebral grading"]["sagittal patches"]) == len(LEVELS)
    assert len(all_results(app.scene)) == 1
    second.remove()
    left = set(_names(app)) - set(before)
    assert not [name for name in left if "Color" not in name and "SubjectHierarchy" not in name], left
    assert "demo vertebral grading" not in _items(tree.GetSceneItemID())
    if automatic:  # else the hierarchy follows the two nodes only from when they were given items
        assert observers(app.scene, node, markups) == observed


def test_a_result_the_user_deleted_comes_back(app: Application) -> None:
    results, image = _show()
    app.scene.RemoveNode(results.table_node)
    app.scene.RemoveNode(results.chart_node)
    app.scene.RemoveNode(results.patch_node("L1"))
    results.update(results.report)
    assert results.table_node.GetNumberOfRows() == len(LEVELS)
    report, spine, bodies = _graded()
    show_report(report, image, ct=CT, spine=spine, labels=bodies)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    assert sorted(_items(tree.GetSceneItemID())) == ["centroids", "demo", "demo vertebral grading"]
    assert results.patch_node("L1") is not None
    assert results.chart_node.GetNumberOfPlotSeriesNodes() == 9


def test_fewer_findings_take_what_is_too_much_away(app: Application) -> None:
    results, image = _show()
    report, spine, bodies = _graded()
    show_report(replace(report, findings=report.findings[:2]), image, ct=CT, spine=spine, labels=bodies)
    assert results.table_node.GetNumberOfRows() == 2
    assert results.segmentation_node.GetSegmentation().GetNumberOfSegments() == 2
    assert list(read_points(results.points_node)) == LEVELS[:2]
    assert results.patch_node(LEVELS[2]) is None


def test_two_studies_keep_apart(app: Application) -> None:
    first, _ = _show()
    second, other = _show()
    assert first.table_node is not second.table_node
    assert len(all_results(app.scene)) == 2
    first.remove()
    assert results_of(other).table_node.GetNumberOfRows() == len(LEVELS)


def test_segmentation_stands_under_the_transform_of_the_ct(app: Application) -> None:
    move = np.eye(4)
    move[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    move[:3, 3] = (10, 20, 30)
    report, spine, bodies = _graded()
    node = add_volume(CT, "demo")
    local = replace(bodies, volume=replace(bodies.volume, affine=move @ bodies.volume.affine))
    node.SetAndObserveTransformNodeID(add_transform(move).GetID())
    results = show_report(report, node, spine=spine, labels=local)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation_node, "L1", node)
    assert array.sum() == (bodies.volume.array == bodies.by_level["L1"]).sum()
    assert not results.image_moved()
    node.SetAndObserveTransformNodeID(None)
    assert results.image_moved()


def test_the_users_segmentation_changes_only_on_request(app: Application) -> None:
    report, spine, bodies = _graded()
    image = add_volume(CT, "demo")
    given = add_segmentation(bodies.volume, {n: f"vertebrae_{level}" for n, level in bodies.names.items()})
    segments = [given.GetSegmentation().GetNthSegment(n) for n in range(len(LEVELS))]
    before = [(segment.GetName(), segment.GetColor()) for segment in segments]
    results = show_report(report, image, ct=CT, spine=spine, labels=bodies, given_node=given)
    assert [(segment.GetName(), segment.GetColor()) for segment in segments] == before
    assert results.given_node is given
    assert results.segmentation_node is not given
    recolor_given(given, report.findings)
    assert [segment.GetName() for segment in segments] == [f"{f.level} grade {f.grade}" for f in report.findings]
    recolor_given(given, report.findings)  # twice must not forget the first names
    restore_given(given)
    assert [segment.GetName() for segment in segments] == [name for name, _ in before]


def test_a_saved_scene_restores_everything(app: Application, tmp_path: Path) -> None:
    results, _ = _show()
    report = results.report
    rows = [results.table_node.GetCellText(n, 1) for n in range(len(LEVELS))]
    colors = np.array([results.segmentation_node.GetSegmentation().GetSegment(level).GetColor() for level in LEVELS])
    path = tmp_path / "with space and é" / "study.mrb"
    path.parent.mkdir()
    assert slicer.util.saveScene(str(path))
    app.clear()
    assert not all_results(app.scene)
    slicer.util.loadScene(str(path))
    (again,) = all_results(app.scene)
    assert again.report.to_dict() == report.to_dict()
    assert again.image_node.GetName() == "demo"
    assert again.centroids_node.GetNumberOfControlPoints() == len(LEVELS)
    assert [again.table_node.GetCellText(n, 1) for n in range(len(LEVELS))] == rows
    assert isinstance(again.table_node.GetTable().GetColumnByName("grade"), vtk.vtkIntArray)
    segmentation = again.segmentation_node.GetSegmentation()
    np.testing.assert_allclose([segmentation.GetSegment(level).GetColor() for level in LEVELS], colors, atol=1e-5)
    assert segmentation.GetSegment("L1").GetName() == f"L1 grade {report.findings[2].grade}"
    for finding in report.findings:
        np.testing.assert_allclose(
            read_points(again.points_node)[finding.level], np.array(finding.points_ras_mm), atol=1e-3
        )
        assert again.patch_node(finding.level).GetImageData().GetDimensions() == (192, 192, 1)
    assert again.chart_node.GetNumberOfPlotSeriesNodes() == 9
    assert again.chart_node.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() == len(LEVELS)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    assert "demo vertebral grading" in _items(tree.GetSceneItemID())
    names = _names(app)
    spine, bodies = _graded()[1:]
    show_report(report, again.image_node, ct=CT, spine=spine, labels=bodies, centroids_node=again.centroids_node)
    assert _names(app) == names, "grading the loaded scene again replaces too"


def test_showing_without_an_image_is_refused(app: Application) -> None:
    node = add_volume(CT, "demo")
    app.scene.RemoveNode(node)
    with pytest.raises(InputError, match="left the scene"):
        show_report(_graded()[0], node)


def test_a_users_own_folder_is_never_removed(app: Application) -> None:
    results, _ = _show()
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    tree.SetItemParent(tree.GetItemByDataNode(results.table_node), study)
    results.remove()
    assert "Study" in _items(tree.GetSceneItemID())
    assert "demo vertebral grading" not in _items(tree.GetSceneItemID())


def test_results_are_no_input(app: Application) -> None:
    from VertebralGradingLib.errors import CentroidError
    from VertebralGradingLib.scene.inputs import points_from_node

    results, _ = _show()
    with pytest.raises(CentroidError, match="results of a grading"):
        points_from_node(results.points_node)


@pytest.mark.parametrize("with_ct", [True, False])
def test_a_segmentation_that_ends_with_its_segments_is_not_cut_off(app: Application, with_ct: bool) -> None:
    from VertebralGradingLib.scene.grading import grade_here, read_inputs

    _, _, bodies = _graded()
    image = add_volume(CT, "demo")
    given = add_segmentation(bodies.volume, bodies.names)
    given.SetReferenceImageGeometryParameterFromVolumeNode(image)
    results = grade_here(read_inputs(image if with_ct else None, None, given))
    assert [finding.grade for finding in results.report.findings] == [0, 0, 2, 0, 0, 0]


def test_a_vertebra_at_the_end_of_the_scan_is_still_cut_off(app: Application) -> None:
    from VertebralGradingLib.image.volume import Volume
    from VertebralGradingLib.scene.grading import grade_here, read_inputs

    _, _, bodies = _graded()
    index = CT.to_index(np.array(_graded()[0].findings[-1].center_ras_mm))
    axis = int(np.argmax(np.abs(CT.affine[2, :3])))
    part = [slice(None)] * 3
    part[axis] = slice(round(index[axis]), None) if CT.affine[2, axis] > 0 else slice(0, round(index[axis]))
    affine = CT.affine.copy()
    affine[:3, 3] = CT.to_ras(np.array([side.start or 0 for side in part]))
    image = add_volume(Volume(CT.array[tuple(part)], affine), "short")
    results = grade_here(read_inputs(image, None, add_segmentation(bodies.volume, bodies.names)))
    assert not results.report.findings[-1].gradable
    assert results.report.findings[2].grade == 2


def test_a_second_scene_with_results_keeps_both_studies_apart(app: Application, tmp_path: Path) -> None:
    first, _ = _show()
    path = tmp_path / "first.mrb"
    assert slicer.util.saveScene(str(path))
    kept = first.report.to_dict()
    first.image_node.SetName("second")
    report = _graded()[0]
    first.update(replace(report, findings=tuple(replace(f, flags=("nan_voxels",)) for f in report.findings)))
    changed = first.report.to_dict()
    slicer.util.loadScene(str(path), {"clear": False})
    here, loaded = sorted(all_results(app.scene), key=lambda one: one.image_node.GetName() != "second")
    assert here.image_node.GetName() == "second"
    assert loaded.image_node.GetName() == "demo"
    assert here.report.to_dict() == changed
    assert loaded.report.to_dict() == kept
    for role in ("image_node", "table_node", "chart_node", "segmentation_node", "points_node", "centroids_node"):
        assert getattr(here, role) is not getattr(loaded, role)
    assert here.patch_node("L1") is not loaded.patch_node("L1")
    assert loaded.folder_item
    assert here.folder_item != loaded.folder_item
    loaded.remove()
    assert here.table_node.GetNumberOfRows() == len(LEVELS)
    assert here.folder_item
