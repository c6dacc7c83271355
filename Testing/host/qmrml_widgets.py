"""Stand-ins for Slicer's MRML widgets over the real scene.

Names are those of the public headers of Slicer (Libs/MRML/Widgets, Base/QTGUI). What a class does not list is refused.
"""

from __future__ import annotations

import weakref
from typing import Any

import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .api import Names
from .pythonqt import unwrap
from .standin import stand_in

SCENE_NAMES = {"mrmlSceneChanged(vtkMRMLScene*)": "_mrmlSceneChanged"}
SCENE_METHODS = frozenset({"setMRMLScene", "mrmlScene"})


class Observations:
    """Observers on VTK objects that end with the widget that made them.

    The callbacks hold the widget weakly.
    """

    def __init__(self, widget: QtCore.QObject) -> None:
        self._made: list[tuple[Any, int]] = []
        self._widget = weakref.ref(widget)
        widget.destroyed.connect(self.clear)

    def add(self, subject: Any, event: Any, method: str) -> None:
        """Have ``widget.method()`` called after an event."""
        widget = self._widget

        def called(caller: Any, name: str) -> None:
            target = widget()
            if target is not None:
                getattr(target, method)()

        self._made.append((subject, subject.AddObserver(event, called)))

    def clear(self, *_: Any) -> None:
        """Remove all."""
        while self._made:
            subject, tag = self._made.pop()
            subject.RemoveObserver(tag)


def require_node(value: Any, class_name: str = "vtkMRMLNode") -> Any:
    """Return a node or None.

    Raises:
        ValueError: something else; PythonQt finds no conversion to a vtkMRMLNode*.
    """
    value = unwrap(value)
    if value is not None and not (isinstance(value, vtk.vtkObject) and value.IsA(class_name)):
        raise ValueError(f"{value!r} is not a {class_name}")
    return value


class WithScene:
    """What widgets with a scene share."""

    _scene: Any = None

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        require_node(scene, "vtkMRMLScene")
        if scene is not self._scene:
            self._scene = scene
            self._scene_changed()
            self._mrmlSceneChanged.emit(scene)  # type: ignore[attr-defined]

    def _scene_changed(self) -> None:
        """Look at the new scene."""


@stand_in
class qMRMLWidget(WithScene, QtWidgets.QWidget):  # noqa: N801
    """A widget that hands a scene on to its children by connections."""

    NAMES = Names(signals=SCENE_NAMES, methods=SCENE_METHODS)
    _mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)


@stand_in
class qSlicerWidget(WithScene, QtWidgets.QWidget):  # noqa: N801
    """The base of Slicer's own widgets."""

    NAMES = Names(signals=SCENE_NAMES, methods=SCENE_METHODS)
    _mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)


@stand_in
class qMRMLTableView(WithScene, QtWidgets.QTableView):  # noqa: N801
    """A table node as a spreadsheet; first-row and first-column locks and transposing are not reproduced."""

    NAMES = Names(
        properties={"transposed": bool, "firstRowLocked": bool, "firstColumnLocked": bool},
        signals={**SCENE_NAMES, "selectionChanged()": "_selectionChanged"},
        methods=SCENE_METHODS
        | {
            "mrmlTableNode",
            "setMRMLTableNode",
            "mrmlTableViewNode",
            "setMRMLTableViewNode",
            "tableModel",
            "sortFilterProxyModel",
            "setTransposed",
            "setFirstRowLocked",
            "setFirstColumnLocked",
            "copySelection",
            "pasteSelection",
            "plotSelection",
            "insertRow",
            "insertColumn",
            "deleteRow",
            "deleteColumn",
        },
    )
    _mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    _selectionChanged = QtCore.Signal()  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._observations = Observations(self)
        self._items = QtGui.QStandardItemModel(self)
        self.setModel(self._items)
        self.selectionModel().selectionChanged.connect(lambda *_: self._selectionChanged.emit())

    def mrmlTableNode(self) -> Any:  # noqa: N802
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:  # noqa: N802
        require_node(node, "vtkMRMLTableNode")
        if self._scene is None and node is not None:
            raise ValueError("qMRMLTableView needs its scene before its table node")
        self._observations.clear()
        self._node = node
        if node is not None:
            self._observations.add(node, vtk.vtkCommand.ModifiedEvent, "_fill")
        self._fill()

    def _scene_changed(self) -> None:
        self.setMRMLTableNode(None)

    def _fill(self) -> None:
        self._items.clear()
        if self._node is None:
            return
        node = self._node
        columns, rows = node.GetNumberOfColumns(), node.GetNumberOfRows()
        self._items.setHorizontalHeaderLabels([node.GetColumnName(column) for column in range(columns)])
        for row in range(rows):
            texts = [node.GetCellText(row, column) for column in range(columns)]
            self._items.appendRow([QtGui.QStandardItem(text) for text in texts])
