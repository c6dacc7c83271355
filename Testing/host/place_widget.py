"""The stand-in for qSlicerMarkupsPlaceWidget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .api import Names
from .qmrml_widgets import SCENE_METHODS, SCENE_NAMES, Observations, WithScene, require_node
from .standin import Value, stand_in


@stand_in
class qSlicerMarkupsPlaceWidget(WithScene, QtWidgets.QWidget):  # noqa: N801
    """Buttons to place control points of a markups node, over the scene's real selection and interaction nodes."""

    NAMES = Names(
        properties={
            "buttonsVisible": bool,
            "deleteAllControlPointsOptionVisible": bool,
            "unsetLastControlPointOptionVisible": bool,
            "unsetAllControlPointsOptionVisible": bool,
            "placeMultipleMarkups": int,
            "nodeColor": QtGui.QColor,
            "defaultNodeColor": QtGui.QColor,
            "currentNodeActive": bool,
            "placeModeEnabled": bool,
            "placeModePersistency": bool,
        },
        signals={
            **SCENE_NAMES,
            "activeMarkupsPlaceModeChanged(bool)": "_placeModeChanged",
            "activeMarkupsFiducialPlaceModeChanged(bool)": "_placeModeChanged",
        },
        methods=SCENE_METHODS
        | {
            "currentNode",
            "setCurrentNode",
            "currentMarkupsNode",
            "currentMarkupsFiducialNode",
            "interactionNode",
            "selectionNode",
            "placeButton",
            "deleteButton",
            "setCurrentNodeActive",
            "setInteractionNode",
            "setSelectionNode",
            "setDefaultNodeColor",
            "setNodeColor",
            "setPlaceModeEnabled",
            "setPlaceMultipleMarkups",
            "setButtonsVisible",
            "setDeleteAllControlPointsOptionVisible",
            "setUnsetLastControlPointOptionVisible",
            "setUnsetAllControlPointsOptionVisible",
            "setPlaceModePersistency",
            "modifyLastPoint",
            "deleteLastPoint",
            "deleteAllPoints",
            "unsetLastDefinedPoint",
            "unsetAllPoints",
        },
        enums={
            "ShowPlaceMultipleMarkupsOption": 0,
            "HidePlaceMultipleMarkupsOption": 1,
            "ForcePlaceSingleMarkup": 2,
            "ForcePlaceMultipleMarkups": 3,
        },
    )
    _mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    _placeModeChanged = QtCore.Signal(bool)  # noqa: N815
    buttonsVisible = Value(True)  # noqa: N815
    deleteAllControlPointsOptionVisible = Value(True)  # noqa: N815
    placeMultipleMarkups = Value(0)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._was_enabled = False
        self._observations = Observations(self)
        self._place = QtWidgets.QToolButton(self)
        self._place.setText("Place")
        self._place.setCheckable(True)
        self._delete = QtWidgets.QToolButton(self)
        self._delete.setText("Delete")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._place)
        layout.addWidget(self._delete)
        self._place.clicked.connect(self.setPlaceModeEnabled)
        self._delete.clicked.connect(lambda *_: self.deleteLastPoint())
        self._update()

    def currentNode(self) -> Any:  # noqa: N802
        return self._node

    currentMarkupsNode = currentNode  # noqa: N815

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        self._node = require_node(node)
        self._update()

    def interactionNode(self) -> Any:  # noqa: N802
        return None if self._scene is None else self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def selectionNode(self) -> Any:  # noqa: N802
        return None if self._scene is None else self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")

    def placeButton(self) -> Any:  # noqa: N802
        return self._place

    def deleteButton(self) -> Any:  # noqa: N802
        return self._delete

    @property
    def currentNodeActive(self) -> bool:  # noqa: N802
        selection = self.selectionNode()
        return bool(self._node and selection and selection.GetActivePlaceNodeID() == self._node.GetID())

    @currentNodeActive.setter
    def currentNodeActive(self, active: bool) -> None:  # noqa: N802
        selection = self.selectionNode()
        if self._node is None or selection is None:
            return
        if active:
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
        elif self.currentNodeActive:
            selection.SetReferenceActivePlaceNodeID(None)

    @property
    def placeModeEnabled(self) -> bool:  # noqa: N802
        interaction = self.interactionNode()
        placing = slicer.vtkMRMLInteractionNode.Place
        return bool(self.currentNodeActive and interaction.GetCurrentInteractionMode() == placing)

    @placeModeEnabled.setter
    def placeModeEnabled(self, enabled: bool) -> None:  # noqa: N802
        interaction = self.interactionNode()
        if interaction is None or self._node is None:
            self._update()
            return
        if enabled:
            self.currentNodeActive = True
            force = self.placeMultipleMarkups
            if force in (2, 3):
                interaction.SetPlaceModePersistence(force == 3)
            interaction.SetCurrentInteractionMode(interaction.Place)
        elif self.placeModeEnabled:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._update()

    @property
    def placeModePersistency(self) -> bool:  # noqa: N802
        interaction = self.interactionNode()
        return bool(interaction and interaction.GetPlaceModePersistence())

    @placeModePersistency.setter
    def placeModePersistency(self, persistent: bool) -> None:  # noqa: N802
        if self.interactionNode() is not None:
            self.interactionNode().SetPlaceModePersistence(persistent)

    def deleteLastPoint(self) -> None:  # noqa: N802
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:  # noqa: N802
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def _scene_changed(self) -> None:
        self._observations.clear()
        for node in (self.interactionNode(), self.selectionNode()):
            if node is not None:
                self._observations.add(node, vtk.vtkCommand.ModifiedEvent, "_update")
        self._node = None
        self._update()

    def _update(self) -> None:
        enabled = self.placeModeEnabled
        self._place.setEnabled(self._node is not None)
        self._delete.setEnabled(self._node is not None)
        self._place.setChecked(enabled)
        if enabled != self._was_enabled:
            self._was_enabled = enabled
            self._placeModeChanged.emit(enabled)


def _setter(name: str) -> Callable[[Any, Any], None]:
    def set_value(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return set_value


for _name in (
    "CurrentNodeActive",
    "PlaceModeEnabled",
    "PlaceModePersistency",
    "PlaceMultipleMarkups",
    "ButtonsVisible",
):
    setattr(qSlicerMarkupsPlaceWidget, "set" + _name, _setter(_name[0].lower() + _name[1:]))
qSlicerMarkupsPlaceWidget.setDeleteAllControlPointsOptionVisible = _setter("deleteAllControlPointsOptionVisible")
