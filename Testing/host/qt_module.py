"""The module ``qt``: the classes of QtCore, QtGui, QtWidgets and QUiLoader, seen through PythonQt's rules."""

from __future__ import annotations

import os
import types
from typing import Any

if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .pythonqt import wrap_class

SOURCES = (QtCore, QtGui, QtWidgets, QtUiTools)

# PySide6's own names, and classes of Qt that Slicer's Python does not reach.
REFUSED = frozenset({"QEnum", "QFlag", "QT_TR_NOOP", "QT_TR_NOOP_UTF8", "QT_TRANSLATE_NOOP"})


class QtModule(types.ModuleType):
    """``import qt``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("Q") and name not in REFUSED:
            for source in SOURCES:
                found = getattr(source, name, None)
                if isinstance(found, type) and issubclass(found, shiboken6.Shiboken.Object):
                    return wrap_class(found)
        raise AttributeError(f"module 'qt' has no attribute '{name}'")


def make_module() -> QtModule:
    """Return the module, with a running QApplication behind it."""
    application()
    return QtModule("qt", __doc__)


def application() -> QtWidgets.QApplication:
    """Return the QApplication; start one that draws in the Fusion style if there is none."""
    running = QtWidgets.QApplication.instance()
    if running is not None:
        return running
    started = QtWidgets.QApplication(["Slicer"])
    started.setStyle("Fusion")
    started.setQuitOnLastWindowClosed(False)
    global _kept  # noqa: PLW0603 - Qt has one application, and somebody must hold it
    _kept = started
    return started


_kept: QtWidgets.QApplication | None = None
