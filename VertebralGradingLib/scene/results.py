"""Everything a graded study has in the scene: found again, replaced, restored with the scene, removed.

One hidden node for each study holds the report as JSON and refers to the nodes made from it, so that a saved scene
knows on loading which table, segmentation, points, patches and plot belong together, and grading again finds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.findings import SCHEMA, Report
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.scene import chart, folder
from VertebralGradingLib.scene.drawn import CLASSES, LEVEL, LOST, SURFACE, DrawnNodes
from VertebralGradingLib.scene.events import one_event
from VertebralGradingLib.scene.inputs import rename_points
from VertebralGradingLib.scene.patches import fill_patch
from VertebralGradingLib.scene.segments import fill_segments, recolor, relabel
from VertebralGradingLib.scene.six_points import fill_points
from VertebralGradingLib.scene.table import fill_table
from VertebralGradingLib.scene.transforms import is_warped, to_world
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.spine.spine import Spine

MODULE = "VertebralGradingResults"
"""What marks the hidden node; not the module's own name, which marks the panel's parameter node."""
IMAGE, CENTROIDS, GIVEN = "Image", "Centroids", "GivenSegmentation"
_TABLE, _CHART_TABLE, _CHART, _SERIES = "Table", "ChartTable", "Chart", "Series"
_SEGMENTATION, _POINTS, _PATCH = "Segmentation", "Points", "Patch"
_BY_LEVEL = (_PATCH, *CLASSES)
"""Nodes of single vertebrae; they lie in folders of their own."""
_MADE = (_TABLE, _CHART, _SERIES, _CHART_TABLE, _SEGMENTATION, _POINTS, *_BY_LEVEL)
_CLASS = {
    _TABLE: "vtkMRMLTableNode",
    _CHART_TABLE: "vtkMRMLTableNode",
    _CHART: "vtkMRMLPlotChartNode",
    _SERIES: "vtkMRMLPlotSeriesNode",
    _SEGMENTATION: "vtkMRMLSegmentationNode",
    _POINTS: "vtkMRMLMarkupsFiducialNode",
    _PATCH: "vtkMRMLScalarVolumeNode",
    **CLASSES,
}


class StudyResults(DrawnNodes):
    """The results of one study in the scene.

    Args:
        node: the hidden node; use :func:`studies.results_of` or :func:`studies.show_report` instead of making one.
    """

    def __init__(self, node: Any) -> None:
        self.node = node

    @property
    def report(self) -> Report:
        """The findings as they are shown."""
        try:
            return Report.from_dict(json.loads(self.node.GetParameter("report")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("The results in this scene cannot be read.", "Grade the study again.") from error

    def is_complete(self) -> bool:
        """Whether the findings can be read and are those of a run that was finished."""
        try:
            return self.report.complete
        except InputError:
            return False

    @property
    def image_node(self) -> Any:
        """The CT that was graded, or the segmentation where there was none; None when it has left the scene."""
        return self.node.GetNodeReference(IMAGE)

    @property
    def centroids_node(self) -> Any:
        """The user's point list, None when it has left the scene."""
        return self.node.GetNodeReference(CENTROIDS)

    @property
    def given_node(self) -> Any:
        """The user's own segmentation, None when there was none."""
        return self.node.GetNodeReference(GIVEN)

    @property
    def table_node(self) -> Any:
        """Table of findings."""
        return self.node.GetNodeReference(_TABLE)

    @property
    def chart_node(self) -> Any:
        """Plot of heights."""
        return self.node.GetNodeReference(_CHART)

    @property
    def segmentation_node(self) -> Any:
        """Vertebrae coloured by grade, None when no body was found."""
        return self.node.GetNodeReference(_SEGMENTATION)

    @property
    def points_node(self) -> Any:
        """The six points of every vertebra."""
        return self.node.GetNodeReference(_POINTS)

    def patch_node(self, level: str) -> Any:
        """Sagittal patch of one vertebra, None when there is none."""
        return next((node for node in self.referenced(_PATCH) if node.GetAttribute(LEVEL) == level), None)

    @property
    def folder_item(self) -> int:
        """Item of the study's folder in the subject hierarchy, 0 when it is gone."""
        made = (folder.marked_above(node) for role in _MADE for node in self.referenced(role))
        return next((item for item in made if item), 0)

    def image_moved(self) -> bool:
        """Whether the image has been given another place since it was graded, so that results no longer fit it."""
        node = self.image_node
        if node is None or is_warped(node):
            return False
        then = np.array(json.loads(self.node.GetParameter("place") or "null"), dtype=np.float64)
        return then.shape == (4, 4) and bool(np.abs(_place(node) - then).max() > 1e-3)

    def update(self, report: Report) -> None:
        """Show changed findings of the same study: table, names and colours, plot, points.

        Findings are told apart by their order, so that vertebrae may have got other names.

        Raises:
            InputError: the results have left the scene, or these are findings of another study.
        """
        if self.node.GetScene() is None:
            raise InputError("The results have left the scene.", "Grade the study again.")
        before, after = ([f.level for f in one.findings] for one in (self.report, report))
        if len(before) != len(after):
            raise InputError("These are findings of another study.", "Grade the study again.")
        self._store(report)
        if before != after:
            self._rename(dict(zip(before, after, strict=True)))
        fill_table(self._get(_TABLE, "findings"), report.findings)
        self._fill_chart(report)
        if self.segmentation_node is not None:
            recolor(self.segmentation_node, report.findings)
        if self.points_node is not None:
            fill_points(self.points_node, report.findings)
        self._gather()

    def renew(self) -> None:
        """Fill the nodes of a scene that an older version has saved with this version's columns, names and colours.

        Raises:
            InputError: the results cannot be read.
        """
        report = self.report
        if json.loads(self.node.GetParameter("report")).get("schema") != SCHEMA:
            self.update(report)

    def _rename(self, names: dict[str, str]) -> None:
        """Give segments, patches and the user's centroids the new names of their vertebrae."""
        if self.segmentation_node is not None:
            relabel(self.segmentation_node, names)
        for node in [node for role in _BY_LEVEL for node in self.referenced(role)]:
            before = node.GetAttribute(LEVEL)
            level = names.get(before, before)
            node.SetAttribute(LEVEL, level)
            node.SetName(f"{level}{node.GetName().removeprefix(before)}")
        for role in (LOST, SURFACE):
            self._drop(role)  # what is expected there belongs to the level
        self.forget_warps()
        if self.centroids_node is not None:
            rename_points(self.centroids_node, names)

    def remove(self) -> None:
        """Take everything that was made for this study out of the scene; the user's own nodes stay."""
        home = self.folder_item
        for role in _MADE:
            for node in list(self.referenced(role)):
                folder.remove(node)
        folder.remove_if_empty(self.node.GetScene(), home)
        self.node.GetScene().RemoveNode(self.node)

    def show(
        self,
        report: Report,
        ct: Volume | None,
        spine: Spine | None,
        labels: VertebraLabels | None,
    ) -> Iterator[None]:
        """Show findings in small steps, so that a window can stay alive; see :func:`studies.show_report`."""
        name = self.image_node.GetName()
        with one_event(self.node.GetScene()):
            self._store(report)
            place = [] if is_warped(self.image_node) else _place(self.image_node).tolist()
            self.node.SetParameter("place", json.dumps(place))
            home = self.home()
            fill_table(self._get(_TABLE, f"{name} findings"), report.findings)
            fill_points(self._get(_POINTS, f"{name} six points"), report.findings)
        for role in CLASSES:
            self._drop(role)  # of an earlier run
        self.forget_warps()
        yield
        with one_event(self.node.GetScene()):
            self._fill_chart(report)
        yield
        if labels is not None:
            yield from self._fill_segmentation(report, labels, name)
        else:
            self._drop(_SEGMENTATION)
        yield from self._fill_patches(report, ct, spine, home)
        self._gather()

    def _gather(self) -> None:
        """Put nodes that lie in no folder of ours, because they are new, into the study's."""
        home = self.home()
        plot = folder.subfolder(self.node.GetScene(), home, "height plot")
        for role in _MADE:
            for node in self.referenced(role) if role not in _BY_LEVEL else ():
                if not folder.marked_above(node):
                    folder.item_of(node, plot if role in (_CHART_TABLE, _CHART, _SERIES) else home)

    def home(self) -> int:
        """The study's folder, made beside the image where there is none."""
        image = self.image_node
        name = f"{image.GetName()} vertebral grading" if image is not None else "vertebral grading"
        return self.folder_item or folder.marked_folder(self.node, image, name)

    def _store(self, report: Report) -> None:
        self.node.SetParameter("report", json.dumps(report.to_dict(), ensure_ascii=True, allow_nan=False))

    def _fill_chart(self, report: Report) -> None:
        data = self._get(_CHART_TABLE, "height chart data")
        chart.fill_chart_table(data, report.findings)
        series = list(self.referenced(_SERIES))
        while len(series) < len(chart.SERIES):
            series.append(self.add(_SERIES, chart.SERIES[len(series)]))
        node = self._get(_CHART, "heights")
        node.RemoveAllPlotSeriesNodeIDs()
        for item, name in zip(series, chart.SERIES, strict=True):
            chart.style_series(item, name, data)
            node.AddAndObservePlotSeriesNodeID(item.GetID())
        chart.style_chart(node, "Vertebral heights", report.findings)

    def _fill_segmentation(self, report: Report, labels: VertebraLabels, name: str) -> Iterator[None]:
        node = self._get(_SEGMENTATION, f"{name} vertebrae by grade")
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        frame = self.given_node if self.given_node is not None else self.image_node
        parent = None if is_warped(frame) else frame.GetTransformNodeID()
        node.SetAndObserveTransformNodeID(parent)
        to_local = np.asarray(np.eye(4) if parent is None else np.linalg.inv(to_world(frame)), dtype=np.float64)
        has_grid = self.image_node.IsA("vtkMRMLVolumeNode") and not is_warped(self.image_node)
        yield from fill_segments(node, labels, report.findings, to_local, self.image_node if has_grid else None)

    def _fill_patches(self, report: Report, ct: Volume | None, spine: Spine | None, home: int) -> Iterator[None]:
        scene = self.node.GetScene()
        shown = [
            finding for finding in report.findings if ct is not None and ct.contains(np.array(finding.center_ras_mm))
        ]
        nodes = {node.GetAttribute(LEVEL): node for node in self.referenced(_PATCH)}
        for level, node in nodes.items():
            if level not in {finding.level for finding in shown}:
                folder.remove(node)
        if ct is None or not shown:
            return
        below = folder.subfolder(scene, home, "sagittal patches")
        for finding in shown:
            node = nodes.get(finding.level) or self.add(_PATCH, f"{finding.level} sagittal patch")
            node.SetAttribute(LEVEL, finding.level)
            fill_patch(node, ct, finding, spine)
            folder.item_of(node, below)
            yield

    def referenced(self, role: str) -> Iterator[Any]:
        """The study's nodes of a role."""
        nodes = [self.node.GetNthNodeReference(role, n) for n in range(self.node.GetNumberOfNodeReferences(role))]
        return (node for node in nodes if node is not None)

    def _get(self, role: str, name: str) -> Any:
        return self.node.GetNodeReference(role) or self.add(role, name)

    def add(self, role: str, name: str) -> Any:
        """Make a node that belongs to the study."""
        scene = self.node.GetScene()
        node = scene.CreateNodeByClass(_CLASS[role])
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(name))
        if role in (_POINTS, *_BY_LEVEL):
            node.SetHideFromEditors(True)  # they are no inputs: selectors of a CT or of centroids shall not offer them
        node = scene.AddNode(node)
        self.node.AddNodeReferenceID(role, node.GetID())
        return node

    def _drop(self, role: str) -> None:
        for node in list(self.referenced(role)):
            folder.remove(node)


def _place(node: Any) -> NDArray[np.float64]:
    """(4, 4) voxel -> world of a volume, or own frame -> world of another node."""
    if not node.IsA("vtkMRMLVolumeNode"):
        return to_world(node)
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix)
