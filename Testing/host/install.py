"""Puts the Qt side of the host in place: ``qt``, ``ctk``, Slicer's widgets and base classes, more of ``slicer.app``.

``running()`` is all a test needs, or ``install(start())``. It is done once for a process; a second call for the same
application does nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import slicer

from . import dialogs, qt_module, qt_overrides
from .application import Application, start

_installed: Any = None
_settings_folder: tempfile.TemporaryDirectory[str] | None = None


class Switches:
    """What a test may turn.

    Attributes:
        testing: What ``slicer.app.testingEnabled()`` tells. False shows the dialogs a user would see (see ``dialogs``).
    """

    testing = True


switches = Switches()


def install(application: Any) -> None:
    """Complete a running application.

    Args:
        application: What ``host.application.start()`` returned.
    """
    global _installed  # noqa: PLW0603 - a process has one
    if _installed is application:
        return
    _installed = application
    sys.modules["qt"] = qt_module.make_module()
    _settle_qt()
    qt_overrides.register()
    from . import ctk_widgets

    sys.modules["ctk"] = ctk_widgets.make_module()
    _put_widgets()
    _put_modules()
    _complete_util()
    _complete_app(application)


@contextlib.contextmanager
def running() -> Iterator[Application]:
    """The running application, with Qt; stopped in the end."""
    application = start()
    install(application)
    yield application
    application.stop()


def _settle_qt() -> None:
    """Own settings, not the user's; Qt's warnings into the log, less those of a screen that does not exist."""
    global _settings_folder  # noqa: PLW0603 - kept until the process ends
    from PySide6 import QtCore

    QtCore.QCoreApplication.setOrganizationName("Slicer")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    if _settings_folder is None:
        _settings_folder = tempfile.TemporaryDirectory(prefix="slicer-settings-")
        ini = QtCore.QSettings.Format.IniFormat
        QtCore.QSettings.setDefaultFormat(ini)
        QtCore.QSettings.setPath(ini, QtCore.QSettings.Scope.UserScope, _settings_folder.name)

    def log(kind: Any, context: Any, message: str) -> None:
        if "propagateSizeHints" not in message:
            logging.getLogger("qt").warning("%s", message)

    QtCore.qInstallMessageHandler(log)


def _put_widgets() -> None:
    from . import layout, node_combo_box, place_widget, scripted_module  # noqa: F401 - they register widgets

    for name, cls in scripted_module.classes().items():
        setattr(slicer, name, cls)


def _put_modules() -> None:
    from . import i18n, packaging, testing

    for name, module in (("i18n", i18n), ("packaging", packaging), ("testing", testing)):
        sys.modules["slicer." + name] = module
        setattr(slicer, name, module)
    from . import base_classes

    sys.modules["slicer.ScriptedLoadableModule"] = base_classes
    slicer.ScriptedLoadableModule = base_classes
    from . import parameter_node

    sys.modules["slicer.parameterNodeWrapper"] = parameter_node
    slicer.parameterNodeWrapper = parameter_node
    if not hasattr(slicer, "selfTests"):
        slicer.selfTests = {}


def _complete_util() -> None:
    """slicer.util is the real one; only what would wait for a person is replaced, where all of it passes."""
    import qt

    def message_display(
        level: int,
        text: str,
        testing_value: Any,
        mainWindowNeeded: bool = False,  # noqa: N803
        parent: Any = None,
        windowTitle: str | None = None,  # noqa: N803
        **options: Any,
    ) -> Any:
        logging.log(level, text)
        buttons = options.get("standardButtons")
        asks = buttons is not None and buttons != qt.QMessageBox.Ok
        kind = "question" if asks else logging.getLevelName(level).lower()
        entry = dialogs.Shown(kind, text, windowTitle or "", options.get("detailedText") or "")
        if slicer.app.testingEnabled():
            dialogs.shown.append(entry)
            return testing_value
        if not asks:
            return dialogs.ask(entry, qt.QMessageBox.Ok)
        yes, no = _yes_and_no(buttons, qt.QMessageBox)
        return yes if dialogs.ask(entry) else no

    def delay_display(message: str, autoCloseMsec: int = 1000, parent: Any = None, **options: Any) -> None:  # noqa: N803
        logging.info(message)
        entry = dialogs.Shown("info", message)
        if autoCloseMsec < 0:
            dialogs.ask(entry, True)
        else:
            dialogs.shown.append(entry)
        slicer.app.processEvents()

    slicer.util._messageDisplay = message_display
    slicer.util.delayDisplay = delay_display


def _yes_and_no(buttons: Any, box: Any) -> tuple[Any, Any]:
    for yes, no in ((box.Yes, box.No), (box.Ok, box.Cancel), (box.Retry, box.Close)):
        if buttons == (yes | no):
            return yes, no
    raise NotImplementedError(f"the host answers no question with the buttons {buttons}")


def _complete_app(application: Any) -> None:
    from . import layout, scripted_module
    from .pythonqt import wrap

    gui = wrap(qt_module.application())
    manager = wrap(layout.qMRMLLayoutManager(application))
    window = wrap(scripted_module.qSlicerMainWindow())
    modules = wrap(scripted_module.qSlicerModuleManager())
    startup = wrap(scripted_module.qSlicerApplicationSignals())
    import qt

    names = {
        "layoutManager": lambda: manager,
        "topLevelWidgets": lambda: [window, *(w for w in qt.QApplication.topLevelWidgets() if w != window)],
        "processEvents": gui.processEvents,
        "setOverrideCursor": qt.QApplication.setOverrideCursor,
        "restoreOverrideCursor": qt.QApplication.restoreOverrideCursor,
        "settings": qt.QSettings,
        "userSettings": qt.QSettings,
        "palette": qt.QApplication.palette,
        "style": qt.QApplication.style,
        "activeWindow": qt.QApplication.activeWindow,
        "connect": startup.connect,
        "disconnect": startup.disconnect,
    }
    for name, value in names.items():
        application.provide(name, value)
    cls = type(application.app)
    before = {name: cls.__dict__[name] for name in ("testingEnabled", "moduleManager")}
    cls.testingEnabled = lambda self: switches.testing
    cls.moduleManager = lambda self: modules

    def release() -> None:
        global _installed  # noqa: PLW0603 - a process has one
        _installed = None
        for name, method in before.items():
            setattr(cls, name, method)
        for wrapped in (window, modules, startup, manager):
            if wrapped:
                wrapped.delete()

    application.at_stop(release)
