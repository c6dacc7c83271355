"""What surrounds a scripted module in Slicer: its module object, its widget's parent, the module manager."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .api import Names
from .pythonqt import wrap, wrap_class
from .qmrml_widgets import SCENE_METHODS, SCENE_NAMES, WithScene
from .standin import Value, stand_in


@stand_in
class qSlicerScriptedLoadableModule(QtCore.QObject):  # noqa: N801
    """The module object: the ``parent`` of a ScriptedLoadableModule."""

    NAMES = Names(
        properties={
            "name": str,
            "title": str,
            "categories": list,
            "dependencies": list,
            "contributors": list,
            "helpText": str,
            "acknowledgementText": str,
            "extensions": dict,
            "associatedNodeTypes": list,
            "icon": QtGui.QIcon,
            "hidden": bool,
            "index": int,
            "path": str,
            "widgetRepresentationCreationEnabled": bool,
        },
        methods=frozenset({"widgetRepresentation", "createNewWidgetRepresentation", "logic"}),
    )
    name = Value("")
    title = Value("")
    categories = Value([])
    dependencies = Value([])
    contributors = Value([])
    helpText = Value("")  # noqa: N815
    acknowledgementText = Value("")  # noqa: N815
    extensions = Value({})
    associatedNodeTypes = Value([])  # noqa: N815
    icon = Value(QtGui.QIcon())
    hidden = Value(False)
    index = Value(-1)
    path = Value("")
    widgetRepresentationCreationEnabled = Value(True)  # noqa: N815

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        self._widget: Any = None
        self._set_own(name, path)

    def _set_own(self, name: str, path: str) -> None:
        self.name, self.path = name, path

    def logic(self) -> None:
        """A scripted module has no C++ logic."""

    def createNewWidgetRepresentation(self) -> Any:  # noqa: N802
        return qSlicerScriptedLoadableModuleWidget(self)

    def widgetRepresentation(self) -> Any:  # noqa: N802
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
            self._widget._make()
        return self._widget


@stand_in
class qSlicerScriptedLoadableModuleWidget(WithScene, QtWidgets.QWidget):  # noqa: N801
    """The widget that holds a module's panel: the ``parent`` of a ScriptedLoadableModuleWidget."""

    NAMES = Names(
        properties={"isEntered": bool},
        signals=SCENE_NAMES,
        methods=SCENE_METHODS | {"self", "enter", "exit", "reload", "setup", "module"},
    )
    _mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    isEntered = Value(False)  # noqa: N815

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._python: Any = None
        self.setLayout(QtWidgets.QVBoxLayout(self) if self.layout() is None else self.layout())

    def _make(self) -> None:
        name = self._module.name
        self.setMRMLScene(slicer.mrmlScene)
        self._python = getattr(sys.modules[name], name + "Widget")(wrap(self))
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def module(self) -> Any:
        return self._module

    def enter(self) -> None:
        self.isEntered = True
        self._python.enter()

    def exit(self) -> None:
        self.isEntered = False
        self._python.exit()

    def setup(self) -> None:
        self._python.setup()

    def reload(self) -> None:
        entered = self.isEntered
        self._make()
        if entered:
            self.enter()


@stand_in
class qSlicerModuleManager(QtCore.QObject):  # noqa: N801
    """``slicer.app.moduleManager()``: the C++ modules of the host and the scripted ones that were loaded."""

    NAMES = Names(
        signals={"moduleAboutToBeUnloaded(QString)": "_aboutToBeUnloaded", "moduleLoaded(QString)": "_loaded"},
        methods=frozenset({"module", "factoryManager"}),
    )
    _aboutToBeUnloaded = QtCore.Signal(str)  # noqa: N815
    _loaded = QtCore.Signal(str)

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)


@stand_in
class qSlicerModuleSelectorToolBar(QtCore.QObject):  # noqa: N801
    """What chooses the shown module; leaving one calls its ``exit``, showing one its ``enter``."""

    NAMES = Names(
        properties={"selectedModule": str},
        signals={"moduleSelected(QString)": "_moduleSelected"},
        methods=frozenset({"selectModule"}),
    )
    _moduleSelected = QtCore.Signal(str)  # noqa: N815
    selectedModule = Value("")  # noqa: N815

    def selectModule(self, name: str) -> None:  # noqa: N802
        if name == self.selectedModule:
            return
        for old, method in ((self.selectedModule, "exit"), (name, "enter")):
            module = getattr(slicer.modules, old.lower(), None) if old else None
            if old == name:
                self.selectedModule = name
            if hasattr(module, "widgetRepresentation"):
                getattr(module.widgetRepresentation(), method)()
        self.selectedModule = name
        self._moduleSelected.emit(name)


@stand_in
class qSlicerMainWindow(QtWidgets.QMainWindow):  # noqa: N801
    """The main window; it holds no views."""

    NAMES = Names(methods=frozenset({"moduleSelector", "pythonConsole"}))

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar()

    def moduleSelector(self) -> Any:  # noqa: N802
        return self._selector


@stand_in
class qSlicerApplicationSignals(QtCore.QObject):  # noqa: N801
    """The signals of ``slicer.app``."""

    NAMES = Names(
        signals={
            "startupCompleted()": "_startupCompleted",
            "aboutToQuit()": "_aboutToQuit",
            "lastWindowClosed()": "_lastWindowClosed",
            "paletteChanged(QPalette)": "_paletteChanged",
        }
    )
    _startupCompleted = QtCore.Signal()  # noqa: N815
    _aboutToQuit = QtCore.Signal()  # noqa: N815
    _lastWindowClosed = QtCore.Signal()  # noqa: N815
    _paletteChanged = QtCore.Signal(QtGui.QPalette)  # noqa: N815


def load_module(path: Path) -> Any:
    """Load a scripted module as Slicer does at start-up: import it, make its module object; no widget is made.

    Returns:
        The module object, also found as ``slicer.modules.<name in lower case>``.
    """
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    python = _import(name, path)
    module = wrap(qSlicerScriptedLoadableModule(name, str(path)))
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, name + "Instance", getattr(python, name)(module))
    return module


def unload_module(module: Any) -> None:
    """Take a module away as Slicer does at exit: its widget's ``cleanup`` runs, then all of it is deleted."""
    name = module._qt.name
    widget = module._qt._widget
    slicer.app.moduleManager()._qt._aboutToBeUnloaded.emit(name)
    if widget is not None:
        wrap(widget).delete()
    for attribute in (name.lower(), name + "Instance", name + "Widget"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    slicer.selfTests.pop(name, None)
    sys.modules.pop(name, None)
    module.delete()


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    python = importlib.util.module_from_spec(spec)
    sys.modules[name] = python
    spec.loader.exec_module(python)
    return python


def classes() -> dict[str, Any]:
    """Names that ``slicer`` has of the classes in this host: ``slicer.qMRMLNodeComboBox`` and so on."""
    from .standin import registered

    return {name: wrap_class(cls) for name, cls in registered().items() if name.startswith(("qMRML", "qSlicer"))}
