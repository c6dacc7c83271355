"""Choosing what is graded, and getting centroids: a sample, a file, a segmentation, the mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.scene.inputs import ct_from_node, labels_from_node
from VertebralGradingLib.segmentation.labels import centroids_from_labels
from VertebralGradingLib.spine.points import Point, read_points


class InputsPart:
    """The section "Inputs".

    Args:
        ui: the panel's widgets.
        parameters: returns the parameter node, None while there is none.
        change: runs an action and shows its error, if it has one.
        onPoints: called when points were placed or removed.
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], Any],
        change: Callable[[Callable[[], None]], None],
        onPoints: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._parameters = parameters
        self._change = change
        self._onPoints = onPoints
        self._observed: tuple[Any, list[int]] | None = None
        ui.placeWidget.buttonsVisible = False
        ui.placeWidget.placeButton().show()
        ui.sampleButton.connect("clicked()", self.onSample)
        ui.fromSegmentationButton.connect("clicked()", self.onFromSegmentation)
        ui.importButton.connect("clicked()", self.onImport)
        ui.centroidsSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onCentroids)

    def updateState(self, parameters: Any) -> None:
        """Enable what can be used now."""
        self._ui.fromSegmentationButton.enabled = parameters is not None and parameters.segmentation is not None
        for widget in (self._ui.sampleButton, self._ui.importButton):
            widget.enabled = parameters is not None

    def onCentroids(self, node: Any) -> None:
        """Let the place button add to the chosen point list, and follow what is placed."""
        self._ui.placeWidget.setCurrentNode(node)
        self._ui.placeWidget.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceMultipleMarkups
        self.stopFollowing()
        if node is not None:
            kind = slicer.vtkMRMLMarkupsNode
            events = (kind.PointPositionDefinedEvent, kind.PointPositionUndefinedEvent, kind.PointRemovedEvent)
            self._observed = (node, [node.AddObserver(event, self._pointsChanged) for event in events])

    def stopFollowing(self) -> None:
        """Observe no point list any more."""
        if self._observed is not None:
            node, tags = self._observed
            for tag in tags:
                node.RemoveObserver(tag)
        self._observed = None

    def stopPlacing(self) -> None:
        """Let a click in a view place no point any more."""
        self._ui.placeWidget.setPlaceModeEnabled(False)

    def _pointsChanged(self, caller: Any, event: str) -> None:
        self._onPoints()

    def onSample(self) -> None:
        """Load a synthetic CT with centroids."""
        self._change(self._loadSample)

    def onFromSegmentation(self) -> None:
        """Make a point list from the segmentation."""
        self._change(self._fromSegmentation)

    def onImport(self) -> None:
        """Read centroids from a file that the user chooses."""
        path = qt.QFileDialog.getOpenFileName(
            self._ui.importButton.window(),
            _("Import centroids"),
            "",
            _("Centroids (*.json *.fcsv);;All files (*)"),
        )
        if path:
            self._change(lambda: self.importFile(str(path)))

    def importFile(self, path: str) -> None:
        """Read centroids from a file; VerSe positions refer to the chosen CT.

        Raises:
            CentroidError: as :func:`points.read_points`.
        """
        parameters = self._parameters()
        ct = parameters.ct
        points = read_points(path, ct_from_node(ct) if ct is not None else None)
        parameters.centroids = addPoints(points, _("centroids"))

    def _loadSample(self) -> None:
        parameters = self._parameters()
        parameters.ct, parameters.centroids = loadSample()
        parameters.segmentation = None

    def _fromSegmentation(self) -> None:
        parameters = self._parameters()
        node = parameters.segmentation
        points = centroids_from_labels(labels_from_node(node))
        parameters.centroids = addPoints(points, f"{node.GetName()} {_('centroids')}")


def addPoints(points: list[Point], name: str) -> Any:
    """Add a point list to the scene, each point named by its level."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    for point in points:
        index = node.AddControlPointWorld(*point.position)
        node.SetNthControlPointLabel(index, point.level or point.label)
    return node


def loadSample() -> tuple[Any, Any]:
    """Add the synthetic CT and its centroids to the scene."""
    from VertebralGradingLib.demo import demo_case

    ct, points = demo_case()
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "SyntheticSpine")
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(ct.array.transpose(2, 1, 0)))
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.affine))
    volume.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume, addPoints(points, "SyntheticSpineCentroids")
