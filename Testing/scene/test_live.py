"""Dragging one of the six points: heights and grade follow at once."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from host.application import Application
from host.cases import observers
from test_results import LEVELS, _show

from VertebralGradingLib.errors import CentroidError, VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.methods.regrading import move_points
from VertebralGradingLib.scene.live import PointsWatcher
from VertebralGradingLib.scene.studies import results_of

ANTERIOR_SUPERIOR = 0


def _up(report: Report, level: str) -> np.ndarray:
    finding = next(finding for finding in report.findings if finding.level == level)
    return np.array(finding.evidence_of("morphometry").quantities["up_ras"])


def _drag(node: object, index: int, by: np.ndarray) -> None:
    place = np.array(node.GetNthControlPointPositionWorld(index))
    node.SetNthControlPointPositionWorld(index, *(place + by))


def test_dragging_a_point_changes_heights_grade_colour_table_and_plot_at_once(app: Application) -> None:
    results, image = _show()
    changes: list[tuple[Report, str]] = []
    watcher = PointsWatcher(results, lambda report, level: changes.append((report, level)))
    before = results.report
    level, index = "L3", LEVELS.index("L3") * 6 + ANTERIOR_SUPERIOR
    _drag(results.points_node, index, -9.0 * _up(before, level))
    after = results_of(image).report
    finding = next(finding for finding in after.findings if finding.level == level)
    was = next(finding for finding in before.findings if finding.level == level)
    assert was.grade == 0
    assert finding.grade == 2
    assert finding.heights_mm["anterior"] == pytest.approx(was.heights_mm["anterior"] - 9.0, abs=0.01)
    assert finding.heights_mm["posterior"] == pytest.approx(was.heights_mm["posterior"], abs=1e-3)
    assert "reader_points" in finding.flags
    assert [item for _, item in changes] == [level]
    points = np.array(was.points_ras_mm)
    points[ANTERIOR_SUPERIOR] -= 9.0 * _up(before, level)
    alone = move_points(before, level, points)
    assert [f.grade for f in after.findings] == [f.grade for f in alone.findings]
    row = LEVELS.index(level)
    table = results.table_node.GetTable()
    assert table.GetValueByName(row, "grade").ToInt() == 2
    assert table.GetValueByName(row, "anterior_mm").ToDouble() == pytest.approx(
        finding.heights_mm["anterior"], abs=1e-3
    )
    assert results.segmentation_node.GetSegmentation().GetSegment(level).GetName() == "L3 grade 2"
    series = results.chart_node.GetNthPlotSeriesNode(0)
    drawn = series.GetTableNode().GetTable().GetValueByName(row, series.GetYColumnName()).ToDouble()
    assert drawn == pytest.approx(finding.heights_mm["anterior"], abs=1e-3)
    watcher.stop()


def test_back_again_is_the_same_and_undo_is_no_drag(app: Application) -> None:
    results, _ = _show()
    changes: list[str] = []
    watcher = PointsWatcher(results, lambda report, level: changes.append(level))
    before, index = results.report, LEVELS.index("L2") * 6
    _drag(results.points_node, index, -6.0 * _up(before, "L2"))
    assert changes == ["L2"]
    watcher.show(before)
    assert changes == ["L2"]
    assert results.report.to_dict() == before.to_dict()
    np.testing.assert_allclose(
        results.points_node.GetNthControlPointPositionWorld(index), before.findings[3].points_ras_mm[0], atol=1e-6
    )
    watcher.stop()


def test_swapped_points_are_told_and_the_findings_stay(app: Application) -> None:
    results, _ = _show()
    errors: list[VertebralGradingError] = []
    watcher = PointsWatcher(results, on_error=errors.append)
    before = results.report
    _drag(results.points_node, 0, -60.0 * _up(before, LEVELS[0]))
    assert len(errors) == 1
    assert isinstance(errors[0], CentroidError)
    assert errors[0].hint
    assert results.report.to_dict() == before.to_dict()
    _drag(results.points_node, 0, 59.0 * _up(before, LEVELS[0]))
    assert results.report.to_dict() != before.to_dict()
    watcher.stop()


def test_points_cannot_be_added_or_deleted(app: Application) -> None:
    results, _ = _show()
    node = results.points_node
    assert node.GetFixedNumberOfControlPoints()
    assert node.AddControlPointWorld(0, 0, 0) == -1
    node.RemoveNthControlPoint(0)
    assert node.GetNumberOfControlPoints() == 6 * len(LEVELS)


def test_a_point_under_a_transform_is_measured_in_the_world(app: Application) -> None:
    from host.cases import add_transform

    results, _ = _show()
    watcher = PointsWatcher(results)
    before = results.report
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    watcher.stop()
    node = results.points_node
    node.SetAndObserveTransformNodeID(add_transform(turn).GetID())
    watcher.show(before)
    np.testing.assert_allclose(node.GetNthControlPointPositionWorld(3), before.findings[0].points_ras_mm[3], atol=1e-6)


def test_no_observer_stays_behind(app: Application) -> None:
    results, _ = _show()
    count = observers(results.points_node, app.scene)
    watchers = [PointsWatcher(results) for _ in range(5)]
    assert observers(results.points_node, app.scene) == count + 5
    for watcher in watchers:
        watcher.stop()
        watcher.stop()
    assert observers(results.points_node, app.scene) == count
    watcher = PointsWatcher(results)
    app.clear()
    watcher.stop()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0


def test_grading_again_while_points_are_watched_is_no_drag(app: Application) -> None:
    from test_results import CT, _graded

    from VertebralGradingLib.scene.studies import show_report

    results, image = _show()
    watcher = PointsWatcher(results)
    before = results.report
    _drag(results.points_node, LEVELS.index("L1") * 6, -8.0 * _up(before, "L1"))
    assert results.report.to_dict() != before.to_dict()
    report, spine, bodies = _graded()
    show_report(report, image, ct=CT, spine=spine, labels=bodies)
    assert results.report.to_dict()["findings"] == before.to_dict()["findings"]
    _drag(results.points_node, LEVELS.index("L2") * 6, -3.0 * _up(before, "L2"))
    moved = [finding.level for finding in results.report.findings if "reader_points" in finding.flags]
    assert moved == ["L2"]
    watcher.stop()


def test_points_or_image_moved_as_a_whole_are_refused(app: Application) -> None:
    from host.cases import add_transform

    results, image = _show()
    errors: list[VertebralGradingError] = []
    watcher = PointsWatcher(results, on_error=errors.append)
    before = results.report
    turn = np.eye(4)
    turn[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    results.points_node.SetAndObserveTransformNodeID(add_transform(turn).GetID())
    _drag(results.points_node, 0, np.array([0.0, 0.0, 0.2]))
    assert results.report.to_dict() == before.to_dict()
    assert "moved" in errors[-1].message
    results.points_node.SetAndObserveTransformNodeID(None)
    image.SetAndObserveTransformNodeID(add_transform(turn).GetID())
    _drag(results.points_node, 0, np.array([0.0, 0.0, 0.2]))
    assert results.report.to_dict() == before.to_dict()
    watcher.stop()


def test_shifted_levels_stay_on_their_bodies(app: Application) -> None:
    from test_results import CT

    from VertebralGradingLib.methods.regrading import shift_levels

    results, image = _show()
    before = results.report
    results.update(shift_levels(before, 1))
    for old, new in zip(before.findings, results.report.findings, strict=True):
        segments = [results.segmentation_node.GetSegmentation().GetNthSegment(n) for n in range(len(LEVELS))]
        (segment,) = [s for s in segments if s.GetName().startswith(f"{new.level} ")]
        ids = results.segmentation_node.GetSegmentation().GetSegmentIdBySegment(segment)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation_node, ids, image)
        middle = CT.to_ras(np.argwhere(voxels.transpose(2, 1, 0))).mean(0)
        assert np.linalg.norm(middle - np.array(old.center_ras_mm)) < 1.5
        patch = slicer.util.arrayFromVTKMatrix(_matrix(results.patch_node(new.level)))
        away = (np.array(old.center_ras_mm) - patch[:3, 3]) @ patch[:3, 2]
        assert abs(away) < 3.0
        assert np.linalg.norm(patch @ (95.5, 95.5, 0, 1) - [*old.center_ras_mm, 1.0]) < 3.0
    labels = [results.centroids_node.GetNthControlPointLabel(n) for n in range(len(LEVELS))]
    assert labels == [finding.level for finding in results.report.findings]
    results.update(before)
    assert [results.centroids_node.GetNthControlPointLabel(n) for n in range(len(LEVELS))] == list(LEVELS)
    names = {results.segmentation_node.GetSegmentation().GetNthSegment(n).GetName() for n in range(len(LEVELS))}
    assert "L1 grade 2" in names


def _matrix(node: object) -> object:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_results_that_are_gone_are_told(app: Application) -> None:
    results, _ = _show()
    report = results.report
    watcher = PointsWatcher(results)
    results.remove()
    with pytest.raises(VertebralGradingError, match="left the scene"):
        watcher.show(report)
    watcher.stop()
