"""Methods of Qt that behave otherwise in PythonQt than in PySide6, or that would wait for a person."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import dialogs, ui_loader
from .pythonqt import OVERRIDES

Box = QtWidgets.QMessageBox
PATIENCE_MS = 10000
"""How long a modal dialog that nobody closes may stay before the test fails."""


def _message_box_exec(box: QtWidgets.QMessageBox) -> Any:
    default = Box.StandardButton.Ok if box.standardButtons() in (Box.StandardButton.Ok, Box.StandardButton(0)) else None
    return dialogs.ask(dialogs.Shown("message", box.text(), box.windowTitle(), box.detailedText()), default)


def _static_message(kind: str, asks: bool) -> Any:
    def show(owner: type, parent: Any, title: str, text: str, buttons: Any = None, default: Any = None) -> Any:
        several = asks if buttons is None else buttons != Box.StandardButton.Ok
        return dialogs.ask(dialogs.Shown(kind, text, title), None if several else Box.StandardButton.Ok)

    return show


def _file_dialog(owner: type, parent: Any = None, title: str = "", *rest: Any) -> str:
    """In PythonQt these return the path alone, without the filter."""
    path = dialogs.ask(dialogs.Shown("file", title))
    if not isinstance(path, str):
        raise TypeError("the answer to a file dialog is a str")
    return path


def _dialog_exec(dialog: QtWidgets.QDialog) -> int:
    """Run a dialog's own event loop; one that nobody closes is closed and reported."""
    late = []
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: (late.append(True), dialog.reject()))
    timer.start(PATIENCE_MS)
    dialogs.shown.append(dialogs.Shown("dialog", dialog.windowTitle(), dialog.windowTitle()))
    result = dialog.exec()
    if late:
        raise dialogs.UnexpectedDialogError(f"dialog {dialog.windowTitle()!r} waits for a person")
    return result


def _refuse(what: str) -> Any:
    def refuse(*_: Any) -> Any:
        raise NotImplementedError(f"{what} is not part of the test host")

    return refuse


def _new_loader(owner: type, *args: Any) -> Any:
    return owner(*args)


def _load(loader: QtUiTools.QUiLoader, device: QtCore.QIODevice, parent: Any = None) -> Any:
    return ui_loader.load(loader, bytes(device.readAll().data()), parent)


def register() -> None:
    """Put the stand-ins in place."""
    OVERRIDES[("QUiLoader", "load")] = _load
    OVERRIDES[("QDialog", "exec")] = OVERRIDES[("QDialog", "exec_")] = _dialog_exec
    OVERRIDES[("QMessageBox", "exec")] = OVERRIDES[("QMessageBox", "exec_")] = _message_box_exec
    for name, kind, asks in (
        ("information", "info", False),
        ("warning", "warning", False),
        ("critical", "error", False),
        ("question", "question", True),
    ):
        OVERRIDES[("QMessageBox", name)] = _static_message(kind, asks)
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        OVERRIDES[("QFileDialog", name)] = _file_dialog
    for name in ("getOpenFileNames", "getOpenFileUrl", "getSaveFileUrl", "getExistingDirectoryUrl"):
        OVERRIDES[("QFileDialog", name)] = _refuse(f"QFileDialog.{name}")
    for name in ("getText", "getInt", "getDouble", "getItem", "getMultiLineText"):
        OVERRIDES[("QInputDialog", name)] = _refuse(f"QInputDialog.{name}")
    for name in ("QFileDialog", "QInputDialog", "QColorDialog", "QFontDialog", "QMenu"):
        OVERRIDES[(name, "exec")] = OVERRIDES[(name, "exec_")] = _refuse(f"{name}.exec_")
