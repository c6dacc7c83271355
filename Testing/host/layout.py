"""The stand-in for Slicer's layout manager, over the real layout logic, slice logics and view nodes of the scene.

Views are not drawn (``rendering.py`` does that); they have the nodes and logics a module asks them for.
"""

from __future__ import annotations

import weakref
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .api import Names
from .qmrml_widgets import Observations, require_node
from .standin import stand_in


@stand_in
class qMRMLSliceWidget(QtWidgets.QWidget):  # noqa: N801
    """A slice view: its node, its logic."""

    NAMES = Names(
        properties={"sliceOrientation": str},
        methods=frozenset(
            {
                "mrmlScene",
                "setMRMLScene",
                "sliceController",
                "mrmlSliceNode",
                "sliceLogic",
                "mrmlSliceCompositeNode",
                "imageDataConnection",
                "interactorStyle",
                "sliceView",
                "setMRMLSliceNode",
                "setImageDataConnection",
                "setSliceOrientation",
                "fitSliceToBackground",
            }
        ),
    )

    def __init__(self, node: Any, application_logic: Any) -> None:
        super().__init__()
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(node.GetScene())
        self._logic.SetSliceNode(node)
        self._logics = application_logic.GetSliceLogics()
        self._logics.AddItem(self._logic)
        self.setObjectName("qMRMLSliceWidget" + node.GetLayoutName())

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._logic.GetMRMLScene()

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceNode()

    def sliceLogic(self) -> Any:  # noqa: N802
        return self._logic

    def mrmlSliceCompositeNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceCompositeNode()

    @property
    def sliceOrientation(self) -> str:  # noqa: N802
        return self.mrmlSliceNode().GetOrientation()

    @sliceOrientation.setter
    def sliceOrientation(self, orientation: str) -> None:  # noqa: N802
        self.mrmlSliceNode().SetOrientation(orientation)

    def setSliceOrientation(self, orientation: str) -> None:  # noqa: N802
        self.sliceOrientation = orientation

    def fitSliceToBackground(self) -> None:  # noqa: N802
        self._logic.FitSliceToBackground()

    def _close(self) -> None:
        self._logics.RemoveItem(self._logic)
        self._logic.SetMRMLScene(None)


@stand_in
class qMRMLThreeDView(QtWidgets.QWidget):  # noqa: N801
    """The part of a 3-D widget that would draw; here it has the node and counts what it was asked."""

    NAMES = Names(
        methods=frozenset(
            {
                "mrmlViewNode",
                "resetFocalPoint",
                "resetCamera",
                "rotateToViewAxis",
                "forceRender",
                "scheduleRender",
                "renderWindow",
                "cameraNode",
                "displayableManagerByClassName",
            }
        )
    )

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node

    def mrmlViewNode(self) -> Any:  # noqa: N802
        return self._node

    def resetFocalPoint(self) -> None:  # noqa: N802
        """Nothing is drawn here, so there is nothing to reset."""

    def resetCamera(self) -> None:  # noqa: N802
        """See resetFocalPoint."""

    def forceRender(self) -> None:  # noqa: N802
        """See resetFocalPoint."""

    def scheduleRender(self) -> None:  # noqa: N802
        """See resetFocalPoint."""


@stand_in
class qMRMLThreeDWidget(QtWidgets.QWidget):  # noqa: N801
    """A 3-D view: its node."""

    NAMES = Names(methods=frozenset({"mrmlScene", "setMRMLScene", "threeDController", "threeDView", "mrmlViewNode"}))

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node
        self._view = qMRMLThreeDView(node)

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._node.GetScene()

    def mrmlViewNode(self) -> Any:  # noqa: N802
        return self._node

    def threeDView(self) -> Any:  # noqa: N802
        return self._view


@stand_in
class qMRMLTableWidget(QtWidgets.QWidget):  # noqa: N801
    """A table view: its node."""

    NAMES = Names(methods=frozenset({"mrmlScene", "setMRMLScene", "tableController", "tableView", "mrmlTableViewNode"}))

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._node.GetScene()

    def mrmlTableViewNode(self) -> Any:  # noqa: N802
        return self._node


@stand_in
class qMRMLLayoutManager(QtCore.QObject):  # noqa: N801
    """``slicer.app.layoutManager()``."""

    NAMES = Names(
        properties={
            "enabled": bool,
            "layout": int,
            "threeDViewCount": int,
            "chartViewCount": int,
            "tableViewCount": int,
            "plotViewCount": int,
        },
        signals={"layoutChanged(int)": "_layoutChanged", "activeMRMLThreeDViewNodeChanged(vtkMRMLViewNode*)": ""},
        methods=frozenset(
            {
                "mrmlScene",
                "viewWidget",
                "sliceWidget",
                "sliceViewNames",
                "threeDWidget",
                "chartWidget",
                "tableWidget",
                "plotWidget",
                "mrmlSliceLogics",
                "layoutLogic",
                "activeMRMLThreeDViewNode",
                "activeThreeDRenderer",
                "activeMRMLTableViewNode",
                "activeMRMLPlotViewNode",
                "setEnabled",
                "setMRMLScene",
                "setLayout",
                "resetThreeDViews",
                "resetSliceViews",
            }
        ),
    )
    _layoutChanged = QtCore.Signal(int)  # noqa: N815

    def __init__(self, application: Any) -> None:
        super().__init__()
        self._application_logic = application.logic
        self._scene = application.scene
        self._widgets: dict[str, QtWidgets.QWidget] = {}
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(self._application_logic)
        self._logic.SetMRMLScene(self._scene)
        self._logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._last = self.layout
        self._observations = Observations(self)
        self._observations.add(self._logic.GetLayoutNode(), vtk.vtkCommand.ModifiedEvent, "_on_modified")
        self.sliceViewNames()
        finished = weakref.ref(self)
        application.at_stop(lambda: finished() and finished()._close())  # type: ignore[union-attr]

    @property
    def layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    @layout.setter
    def layout(self, layout: int) -> None:
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def setLayout(self, layout: int) -> None:  # noqa: N802
        self.layout = layout

    @property
    def threeDViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLViewNode"))

    @property
    def tableViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLTableViewNode"))

    @property
    def plotViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLPlotViewNode"))

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def layoutLogic(self) -> Any:  # noqa: N802
        return self._logic

    def mrmlSliceLogics(self) -> Any:  # noqa: N802
        return self._application_logic.GetSliceLogics()

    def sliceViewNames(self) -> list[str]:  # noqa: N802
        nodes = self._nodes("vtkMRMLSliceNode")
        for node in nodes:
            self._widget(node, lambda n: qMRMLSliceWidget(n, self._application_logic))
        return [node.GetLayoutName() for node in nodes]

    def sliceWidget(self, name: str) -> Any:  # noqa: N802
        node = next((n for n in self._nodes("vtkMRMLSliceNode") if n.GetLayoutName() == name), None)
        if node is None:
            return None
        return self._widget(node, lambda n: qMRMLSliceWidget(n, self._application_logic))

    def threeDWidget(self, index: int) -> Any:  # noqa: N802
        return self._nth("vtkMRMLViewNode", index, qMRMLThreeDWidget)

    def tableWidget(self, index: int) -> Any:  # noqa: N802
        return self._nth("vtkMRMLTableViewNode", index, qMRMLTableWidget)

    def activeMRMLThreeDViewNode(self) -> Any:  # noqa: N802
        nodes = self._nodes("vtkMRMLViewNode")
        return nodes[0] if nodes else None

    def viewWidget(self, node: Any) -> Any:  # noqa: N802
        return self._widgets.get(require_node(node).GetID())

    def resetSliceViews(self) -> None:  # noqa: N802
        for name in self.sliceViewNames():
            self.sliceWidget(name).fitSliceToBackground()

    def resetThreeDViews(self) -> None:  # noqa: N802
        """Nothing is drawn here, so there is nothing to reset."""

    def _nodes(self, class_name: str) -> list[Any]:
        return list(slicer.util.getNodesByClass(class_name, self._scene))

    def _nth(self, class_name: str, index: int, make: Any) -> Any:
        nodes = self._nodes(class_name)
        return self._widget(nodes[index], make) if 0 <= index < len(nodes) else None

    def _widget(self, node: Any, make: Any) -> Any:
        key = node.GetID()
        if key not in self._widgets:
            self._widgets[key] = make(node)
        return self._widgets[key]

    def _on_modified(self) -> None:
        if self.layout != self._last:
            self._last = self.layout
            self._layoutChanged.emit(self._last)

    def _close(self) -> None:
        self._observations.clear()
        for widget in self._widgets.values():
            if isinstance(widget, qMRMLSliceWidget):
                widget._close()
        self._widgets.clear()
        self._logic.SetMRMLScene(None)
