"""The stand-in for qMRMLNodeComboBox: the nodes of the real scene, kept up to date."""

from __future__ import annotations

import enum
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .api import Names
from .qmrml_widgets import Observations, require_node
from .standin import Value, stand_in

SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):  # noqa: N801
    """Shows the nodes of some types; disabled until it has a scene.

    Menu entries to create and to choose no node are there when their properties say so; those to remove, edit and
    rename a node are not drawn, their slots are callable.
    """

    NAMES = Names(
        properties={
            "currentNodeID": str,
            "nodeTypes": list,
            "showHidden": bool,
            "showChildNodeTypes": bool,
            "hideChildNodeTypes": list,
            "baseName": str,
            "noneEnabled": bool,
            "addEnabled": bool,
            "removeEnabled": bool,
            "editEnabled": bool,
            "renameEnabled": bool,
            "interactionNodeSingletonTag": str,
            "selectNodeUponCreation": bool,
            "noneDisplay": str,
            "sizeAdjustPolicy": enum.Enum,
        },
        signals={
            "currentNodeChanged(vtkMRMLNode*)": "_currentNode",
            "currentNodeChanged(bool)": "_currentValid",
            "currentNodeIDChanged(QString)": "_currentID",
            "nodeActivated(vtkMRMLNode*)": "_activated",
            "nodeAdded(vtkMRMLNode*)": "_added",
            "nodeAddedByUser(vtkMRMLNode*)": "_added",
            "nodeAddedByUserAction(vtkMRMLNode*)": "_addedByUser",
            "nodeAboutToBeRemoved(vtkMRMLNode*)": "",
            "currentNodeRenamed(QString)": "_renamed",
            "nodeAboutToBeEdited(vtkMRMLNode*)": "",
        },
        methods=frozenset(
            {
                "mrmlScene",
                "setMRMLScene",
                "addAttribute",
                "removeAttribute",
                "setNodeTypeLabel",
                "nodeTypeLabel",
                "nodeCount",
                "nodeFromIndex",
                "currentNode",
                "sortFilterProxyModel",
                "addMenuAction",
                "setCurrentNode",
                "setCurrentNodeID",
                "setCurrentNodeIndex",
                "addNode",
                "removeCurrentNode",
                "editCurrentNode",
                "renameCurrentNode",
            }
        ),
    )
    _currentNode = QtCore.Signal(object)  # noqa: N815
    _currentValid = QtCore.Signal(bool)  # noqa: N815
    _currentID = QtCore.Signal(str)  # noqa: N815
    _activated = QtCore.Signal(object)
    _added = QtCore.Signal(object)
    _addedByUser = QtCore.Signal(object)  # noqa: N815
    _renamed = QtCore.Signal(str)

    def _refilter(self) -> None:
        self._refresh()

    nodeTypes = Value([], changed=_refilter)  # noqa: N815
    showHidden = Value(False, changed=_refilter)  # noqa: N815
    showChildNodeTypes = Value(True, changed=_refilter)  # noqa: N815
    hideChildNodeTypes = Value([], changed=_refilter)  # noqa: N815
    baseName = Value("")  # noqa: N815
    noneEnabled = Value(False, changed=_refilter)  # noqa: N815
    addEnabled = Value(True, changed=_refilter)  # noqa: N815
    removeEnabled = Value(True)  # noqa: N815
    editEnabled = Value(False)  # noqa: N815
    renameEnabled = Value(False)  # noqa: N815
    interactionNodeSingletonTag = Value("Singleton")  # noqa: N815
    selectNodeUponCreation = Value(True)  # noqa: N815
    noneDisplay = Value("None", changed=_refilter)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._current: Any = None
        self._nodes: list[Any] = []
        self._attributes: dict[tuple[str, str], str | None] = {}
        self._labels: dict[str, str] = {}
        self._observations = Observations(self)
        self._names = Observations(self)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.activated.connect(self._on_activated)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.setEnabled(False)

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        require_node(scene, "vtkMRMLScene")
        self._observations.clear()
        self._scene = scene
        if scene is not None:
            for event in SCENE_EVENTS:
                self._observations.add(scene, getattr(slicer.vtkMRMLScene, event), "_refresh")
        self._combo.setEnabled(scene is not None)
        self._refresh()

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:  # noqa: N802
        self._attributes[(node_type, name)] = value
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:  # noqa: N802
        self._attributes.pop((node_type, name), None)
        self._refresh()

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:  # noqa: N802
        self._labels[node_type] = label
        self._refresh()

    def nodeTypeLabel(self, node_type: str) -> str:  # noqa: N802
        return self._labels.get(node_type, "")

    def nodeCount(self) -> int:  # noqa: N802
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:  # noqa: N802
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def currentNode(self) -> Any:  # noqa: N802
        return self._current

    @property
    def currentNodeID(self) -> str:  # noqa: N802
        return "" if self._current is None else self._current.GetID()

    @currentNodeID.setter
    def currentNodeID(self, node_id: str) -> None:  # noqa: N802
        self._choose(next((node for node in self._nodes if node.GetID() == node_id), None))

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        self.currentNodeID = node_id

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        if isinstance(node, str):
            self.currentNodeID = node
            return
        self._choose(require_node(node) if node in self._nodes else None)

    def setCurrentNodeIndex(self, index: int) -> None:  # noqa: N802
        self._choose(self.nodeFromIndex(index))

    def addNode(self, node_type: str | None = None) -> Any:  # noqa: N802
        if self._scene is None or not self.nodeTypes or (node_type or self.nodeTypes[0]) not in self.nodeTypes:
            return None
        node_type = node_type or self.nodeTypes[0]
        base = self.baseName or self._scene.GetTagByClassName(node_type) or node_type
        node = self._scene.AddNewNodeByClass(node_type, self._scene.GenerateUniqueName(base))
        for (kind, name), value in self._attributes.items():
            if node.IsA(kind):
                node.SetAttribute(name, value or "")
        self._refresh()
        if self.selectNodeUponCreation:
            self._choose(node)
        return node

    def removeCurrentNode(self) -> None:  # noqa: N802
        if self._current is not None:
            self._scene.RemoveNode(self._current)

    def _shows(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if self.showChildNodeTypes:
            if not any(node.IsA(kind) for kind in self.nodeTypes):
                return False
        elif node.GetClassName() not in self.nodeTypes:
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        for (kind, name), value in self._attributes.items():
            held = node.GetAttribute(name)
            if node.IsA(kind) and (held is None or (value is not None and held != value)):
                return False
        return True

    def _refresh(self) -> None:
        """Follow the scene: a current node that is gone gives way to none, or to the first where none is no choice."""
        if self._scene is not None and self._scene.IsClosing():
            self._names.clear()
        before = self._nodes
        every = (
            [] if self._scene is None else [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        )
        self._nodes = [node for node in every if self._shows(node)]
        self._names.clear()
        for node in self._nodes:
            self._names.add(node, vtk.vtkCommand.ModifiedEvent, "_on_node_modified")
        self._fill()
        for node in self._nodes:
            if node not in before:
                self._added.emit(node)
        if self._current is not None and self._current not in self._nodes:
            self._choose(None)
        if self._current is None and self._nodes and not self.noneEnabled:
            self._choose(self._nodes[0])

    def _fill(self) -> None:
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "none")
        for node in self._nodes:
            self._combo.addItem(node.GetName() or "", node.GetID())
        if self.addEnabled and self._scene is not None:
            for kind in self.nodeTypes:
                label = self._labels.get(kind) or self._scene.GetTagByClassName(kind) or kind
                self._combo.addItem(f"Create new {label}", "add:" + kind)
        self._show_current()

    def _show_current(self) -> None:
        held = "none" if self._current is None else self._current.GetID()
        self._combo.setCurrentIndex(self._combo.findData(held))

    def _on_node_modified(self) -> None:
        texts = [self._combo.itemText(i) for i in range(self._combo.count())]
        for node in self._nodes:
            index = self._combo.findData(node.GetID())
            if index >= 0 and texts[index] != node.GetName():
                self._combo.setItemText(index, node.GetName())
                if node is self._current:
                    self._renamed.emit(node.GetName())

    def _choose(self, node: Any) -> None:
        changed = node is not self._current
        self._current = node
        self._show_current()
        if changed:
            self._currentNode.emit(node)
            self._currentValid.emit(node is not None)
            self._currentID.emit(self.currentNodeID)

    def _on_activated(self, index: int) -> None:
        data = self._combo.itemData(index)
        if data.startswith("add:"):
            node = self.addNode(data[4:])
            self._addedByUser.emit(node)
        else:
            node = next((n for n in self._nodes if n.GetID() == data), None)
            self._choose(node)
        self._activated.emit(self._current)
