"""What a person does to a panel, for tests: click, choose, type, wait, look.

Each action goes through Qt's events, so that a disabled or hidden widget cannot be used, and raises what a callable
left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtTest, QtWidgets

from .ctk_widgets import ctkCollapsibleButton
from .node_combo_box import qMRMLNodeComboBox
from .pythonqt import Wrapped, alive
from .signals import raise_slot_errors

POLL_S = 0.005
LEFT = QtCore.Qt.MouseButton.LeftButton

DARK = {
    "Window": "#323232",
    "WindowText": "#e8e8e8",
    "Base": "#232323",
    "AlternateBase": "#2c2c2c",
    "Text": "#e8e8e8",
    "Button": "#424242",
    "ButtonText": "#e8e8e8",
    "BrightText": "#ff6060",
    "ToolTipBase": "#424242",
    "ToolTipText": "#e8e8e8",
    "PlaceholderText": "#909090",
    "Highlight": "#3d6fa5",
    "HighlightedText": "#ffffff",
    "Link": "#7ab6f5",
}
LIGHT = {
    "Window": "#efefef",
    "WindowText": "#000000",
    "Base": "#ffffff",
    "AlternateBase": "#f5f5f5",
    "Text": "#000000",
    "Button": "#efefef",
    "ButtonText": "#000000",
    "BrightText": "#c00000",
    "ToolTipBase": "#ffffdc",
    "ToolTipText": "#000000",
    "PlaceholderText": "#707070",
    "Highlight": "#308cc6",
    "HighlightedText": "#ffffff",
    "Link": "#0000ff",
}
DISABLED = {"dark": "#808080", "light": "#9a9a9a"}


def click(widget: Wrapped) -> None:
    """Click a button in its middle, a collapsible one on its header.

    Raises:
        AssertionError: it is hidden or disabled.
    """
    target = _usable(widget)
    place = target.rect().center()
    if isinstance(target, ctkCollapsibleButton):
        place = QtCore.QPoint(target.width() // 2, 8)
    elif isinstance(target, QtWidgets.QCheckBox | QtWidgets.QRadioButton):
        place = QtCore.QPoint(8, target.height() // 2)
    QtTest.QTest.mouseClick(target, LEFT, QtCore.Qt.KeyboardModifier.NoModifier, place)
    settle()


def click_cell(table: Wrapped, row: int, column: int) -> None:
    """Click a cell of a table."""
    target = _usable(table)
    index = target.model().index(row, column)
    target.scrollTo(index)
    place = target.visualRect(index).center()
    QtTest.QTest.mouseClick(target.viewport(), LEFT, QtCore.Qt.KeyboardModifier.NoModifier, place)
    settle()


def choose(combo: Wrapped, item: Any) -> None:
    """Choose an entry as a user does: by its text, or a node (None for "None") in a node combo box.

    Raises:
        AssertionError: there is no such entry, or the box is hidden or disabled.
    """
    target = _usable(combo)
    if isinstance(target, qMRMLNodeComboBox):
        target = target._combo
        assert target.isEnabled(), "the node combo box has no scene"
        if not isinstance(item, str):
            data = "none" if item is None else item.GetID()
            _activate(target, target.findData(data), data)
            return
    _activate(target, target.findText(item), item)


def _activate(target: QtWidgets.QComboBox, index: int, what: str) -> None:
    entries = [target.itemText(i) for i in range(target.count())]
    assert index >= 0, f"no entry {what!r} among {entries}"
    target.setCurrentIndex(index)
    target.activated.emit(index)
    target.textActivated.emit(target.itemText(index))
    settle()


def type_text(widget: Wrapped, text: str) -> None:
    """Replace the text of a line or text edit by typing."""
    target = _usable(widget)
    target.setFocus()
    target.selectAll()
    QtTest.QTest.keyClick(target, QtCore.Qt.Key.Key_Delete)
    QtTest.QTest.keyClicks(target, text)
    settle()


def press(widget: Wrapped, key: str) -> None:
    """Press a key, given as in a shortcut: "Ctrl+Z", "Down"."""
    sequence = QtGui.QKeySequence(key)
    assert sequence.count() == 1, f"{key!r} is not one key"
    combination = sequence[0]
    target = _usable(widget)
    target.window().activateWindow()
    target.setFocus()
    QtTest.QTest.keyClick(target, combination.key(), combination.keyboardModifiers())
    settle()


def settle() -> None:
    """Handle the events that wait, also deletions, and raise what a callable left behind."""
    QtWidgets.QApplication.processEvents()
    QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    raise_slot_errors()


def wait_until(predicate: Callable[[], bool], timeout: float = 10.0, what: str = "what was awaited") -> float:
    """Let the event loop run until something holds.

    Returns:
        How long it took, in seconds.

    Raises:
        TimeoutError: it did not come to hold.
    """
    start = time.monotonic()
    while True:
        settle()
        if predicate():
            return time.monotonic() - start
        if time.monotonic() - start > timeout:
            raise TimeoutError(f"{what} did not happen within {timeout} s")
        time.sleep(POLL_S)


class LongestGap:
    """Measures how long the event loop was kept from running, by a timer that should tick every few milliseconds.

    Attributes:
        seconds: The longest time between two ticks so far.
        ticks: How often the timer ticked.
    """

    def __init__(self, interval_ms: int = 5) -> None:
        self.seconds, self.ticks = 0.0, 0
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> LongestGap:
        self._last = time.monotonic()
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._tick()
        self._timer.stop()

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds, self.ticks, self._last = max(self.seconds, now - self._last), self.ticks + 1, now


def show(widget: Wrapped, width: int = 480, height: int = 640) -> None:
    """Show a widget in a window of its own."""
    target = alive(widget, "show")
    target.resize(width, height)
    target.show()
    settle()


def grab(widget: Wrapped, path: Path | None = None) -> QtGui.QImage:
    """Take a picture of a widget as it looks now.

    Args:
        widget: What to look at.
        path: Where to write it as PNG, if anywhere.

    Raises:
        OSError: it could not be written.
    """
    settle()
    image = alive(widget, "grab").grab().toImage()
    if path is not None and not image.save(str(path), "PNG"):
        raise OSError(f"{path} could not be written")
    return image


def set_theme(name: str) -> None:
    """Use the "light" or the "dark" palette."""
    colors = {"dark": DARK, "light": LIGHT}[name]
    palette = QtGui.QPalette(QtGui.QColor(colors["Button"]), QtGui.QColor(colors["Window"]))
    for role, color in colors.items():
        palette.setColor(getattr(QtGui.QPalette.ColorRole, role), QtGui.QColor(color))
    for role in ("WindowText", "Text", "ButtonText"):
        palette.setColor(
            QtGui.QPalette.ColorGroup.Disabled, getattr(QtGui.QPalette.ColorRole, role), QtGui.QColor(DISABLED[name])
        )
    QtWidgets.QApplication.setPalette(palette)
    settle()


def _usable(widget: Wrapped) -> Any:
    target = alive(widget, "used")
    name = target.objectName() or type(target).__name__
    assert target.isVisible(), f"{name} is not visible"
    assert target.isEnabled(), f"{name} is disabled"
    return target
