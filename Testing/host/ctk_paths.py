"""Stand-ins for CTK's widgets that choose files and folders."""

from __future__ import annotations

import enum
from typing import Any

from PySide6 import QtCore, QtWidgets

from . import dialogs
from .api import Names
from .standin import Value, stand_in


class Filter(enum.Flag):
    """Filters of ctkPathLineEdit."""

    Dirs = 0x001
    Files = 0x002
    Drives = 0x004
    NoSymLinks = 0x008
    Readable = 0x010
    Writable = 0x020
    Executable = 0x040
    Modified = 0x080
    Hidden = 0x100
    System = 0x200
    AllDirs = 0x400
    CaseSensitive = 0x800
    NoDotAndDotDot = 0x1000
    NoDot = 0x2000
    NoDotDot = 0x4000
    AllEntries = Dirs | Files | Drives


class SizeAdjustPolicy(enum.Enum):
    """How wide ctkPathLineEdit wants to be."""

    AdjustToContents = 0
    AdjustToContentsOnFirstShow = 1
    AdjustToMinimumContentsLength = 2


ENUMS = {name: value for kind in (Filter, SizeAdjustPolicy) for name, value in kind.__members__.items()}


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):  # noqa: N801
    """A line with a path and a button that opens a file dialog."""

    NAMES = Names(
        properties={
            "label": str,
            "filters": Filter,
            "currentPath": str,
            "options": enum.Enum,
            "settingKey": str,
            "showBrowseButton": bool,
            "showHistoryButton": bool,
            "sizeAdjustPolicy": SizeAdjustPolicy,
            "minimumContentsLength": int,
            "nameFilters": list,
        },
        signals={"validInputChanged(bool)": "", "currentPathChanged(QString)": "_currentPathChanged"},
        methods=frozenset({"setCurrentPath", "browse", "retrieveHistory", "addCurrentPathToHistory"}),
        enums=ENUMS,
    )
    _currentPathChanged = QtCore.Signal(str)  # noqa: N815

    label = Value("")
    filters = Value(Filter.AllEntries)
    settingKey = Value("")  # noqa: N815
    showBrowseButton = Value(True, changed=lambda self: self._button.setVisible(self.showBrowseButton))  # noqa: N815
    showHistoryButton = Value(True)  # noqa: N815
    sizeAdjustPolicy = Value(SizeAdjustPolicy.AdjustToContentsOnFirstShow)  # noqa: N815
    minimumContentsLength = Value(0)  # noqa: N815
    nameFilters = Value([])  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QtWidgets.QLineEdit(self)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(self._button)
        self._button.clicked.connect(lambda *_: self.browse())
        self._line.textChanged.connect(self._currentPathChanged)

    @property
    def currentPath(self) -> str:  # noqa: N802
        return self._line.text()

    @currentPath.setter
    def currentPath(self, path: str) -> None:  # noqa: N802
        self._line.setText(path)

    def setCurrentPath(self, path: str) -> None:  # noqa: N802
        self._line.setText(path)

    def browse(self) -> None:
        path = dialogs.ask(dialogs.Shown("file", self.label))
        if path:
            self.currentPath = path

    def _key(self) -> str:
        return "FileDialog/" + (self.settingKey or self.objectName())

    def retrieveHistory(self) -> None:  # noqa: N802
        history = QtCore.QSettings().value(self._key()) or []
        if history:
            self.currentPath = history[0]

    def addCurrentPathToHistory(self) -> None:  # noqa: N802
        settings = QtCore.QSettings()
        history: Any = settings.value(self._key()) or []
        rest = [path for path in history if path != self.currentPath]
        settings.setValue(self._key(), [self.currentPath, *rest])


@stand_in
class ctkDirectoryButton(QtWidgets.QWidget):  # noqa: N801
    """A button that shows a folder and opens a dialog to choose another."""

    NAMES = Names(
        properties={
            "directory": str,
            "caption": str,
            "text": str,
            "icon": object,
            "iconSize": object,
            "options": enum.Enum,
            "elideMode": enum.Enum,
            "acceptMode": enum.Enum,
        },
        signals={
            "directoryChanged(QString)": "_directoryChanged",
            "directorySelected(QString)": "_directorySelected",
        },
        methods=frozenset({"setDirectory", "browse"}),
    )
    _directoryChanged = QtCore.Signal(str)  # noqa: N815
    _directorySelected = QtCore.Signal(str)  # noqa: N815

    def _show(self) -> None:
        self._button.setText(self.text or self.directory)
        self._directoryChanged.emit(self.directory)

    caption = Value("")
    text = Value("", changed=lambda self: self._button.setText(self.text or self.directory))
    directory = Value("", changed=_show)

    def __init__(self, *args: Any) -> None:
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._button = QtWidgets.QPushButton(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(lambda *_: self.browse())
        if args and isinstance(args[0], str):
            self.directory = args[0]

    def setDirectory(self, path: str) -> None:  # noqa: N802
        self.directory = path

    def browse(self) -> None:
        path = dialogs.ask(dialogs.Shown("file", self.caption))
        if path:
            self.directory = path
            self._directorySelected.emit(path)
