"""What the views show: one sagittal slice, 3-D and the table, the chosen vertebra in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.six_points import show_only
from VertebralGradingLib.scene.views import look_at, turn_camera

LAYOUT_ID = 50713
"""Number of the module's layout; Slicer's own are small, and extensions take large ones."""

_VIEW = '<item><view class="{kind}" singletontag="{tag}">{rest}</view></item>'
_SLICE_REST = (
    '<property name="orientation" action="default">Sagittal</property>'
    '<property name="viewlabel" action="default">Y</property>'
    '<property name="viewcolor" action="default">#EDD54C</property>'
)
LAYOUT = (
    '<layout type="vertical" split="true"><item splitSize="700"><layout type="horizontal" split="true">'
    + _VIEW.format(kind="vtkMRMLSliceNode", tag="Yellow", rest=_SLICE_REST)
    + _VIEW.format(kind="vtkMRMLViewNode", tag="1", rest='<property name="viewlabel" action="default">1</property>')
    + '</layout></item><item splitSize="300"><layout type="horizontal">'
    + _VIEW.format(
        kind="vtkMRMLTableViewNode",
        tag="TableView1",
        rest='<property name="viewlabel" action="default">T</property>',
    )
    + "</layout></item></layout>"
)
_PLANE = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class Views:
    """Slicer's views as the module uses them; outside an application with views it does nothing."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._slices: list[Callable[[], None]] = []

    def arrange(self, results: StudyResults) -> None:
        """Take the module's layout, and show the study in it."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        if self._before is None:
            node = manager.layoutLogic().GetLayoutNode()
            if not node.IsLayoutDescription(LAYOUT_ID):
                node.AddLayoutDescription(LAYOUT_ID, LAYOUT)
            self._before = node.GetViewArrangement()
            if self._before == LAYOUT_ID:  # a scene that was saved in it
                self._before = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
            self._slices = [_kept(manager.sliceWidget(name).mrmlSliceNode()) for name in manager.sliceViewNames()]
            manager.setLayout(LAYOUT_ID)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if results.table_node is not None:
            selection.SetActiveTableID(results.table_node.GetID())
            slicer.app.applicationLogic().PropagateTableSelection()
        image = results.image_node
        if image is not None and image.IsA("vtkMRMLScalarVolumeNode"):
            slicer.util.setSliceViewerLayers(background=image, foreground=None, label=None)

    def restore(self) -> None:
        """Give back the layout that was there before."""
        manager = slicer.app.layoutManager()
        if manager is not None and self._before is not None:
            if manager.layoutLogic().GetLayoutNode().GetViewArrangement() == LAYOUT_ID:
                manager.setLayout(self._before)
            for putBack in self._slices:
                putBack()
        self._before, self._slices = None, []

    def show(self, results: StudyResults, finding: Finding) -> None:
        """Turn slices and camera to a vertebra, and show its six points only."""
        if results.points_node is not None:
            show_only(results.points_node, finding.level)
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        for name in manager.sliceViewNames():
            look_at(manager.sliceWidget(name).mrmlSliceNode(), finding, _PLANE.get(name, "Sagittal"))
        camera = self._camera(manager)
        if camera is not None:
            turn_camera(camera, finding)

    def _camera(self, manager: Any) -> Any:
        if manager.threeDViewCount == 0:
            return None
        view = manager.threeDWidget(0).mrmlViewNode()
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(view)


def _kept(node: Any) -> Callable[[], None]:
    """Remember how a slice view looks; returns what puts it back."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetSliceToRAS())
    name, view, origin = node.GetOrientation(), node.GetFieldOfView(), node.GetXYZOrigin()

    def putBack() -> None:
        if node.GetScene() is None:
            return
        if node.HasSliceOrientationPreset(name):
            node.SetOrientation(name)
        node.GetSliceToRAS().DeepCopy(matrix)
        node.SetFieldOfView(*view)
        node.SetXYZOrigin(*origin)
        node.UpdateMatrices()

    return putBack
