"""The module ``ctk``: stand-ins for the widgets of CTK that a Slicer module's panel uses.

Names are those of the public headers of CTK (commontk/CTK, Libs/Widgets). What a class does not list is refused.
"""

from __future__ import annotations

import enum
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .api import Names
from .pythonqt import wrap_class
from .standin import Value, stand_in

HEADER_MARGIN = 6


def _apply_collapsed(button: Any) -> None:
    button._collapse(button.collapsed)


@stand_in
class ctkCollapsibleButton(QtWidgets.QAbstractButton):  # noqa: N801
    """A header that shows and hides what lies in it."""

    NAMES = Names(
        properties={
            "collapsed": bool,
            "collapsedHeight": int,
            "contentsFrameShape": enum.Enum,
            "contentsFrameShadow": enum.Enum,
            "contentsLineWidth": int,
            "contentsMidLineWidth": int,
            "buttonTextAlignment": enum.Enum,
            "indicatorAlignment": enum.Enum,
        },
        signals={"contentsCollapsed(bool)": "_contentsCollapsed"},
    )
    _contentsCollapsed = QtCore.Signal(bool)  # noqa: N815

    collapsed = Value(False, changed=_apply_collapsed)
    collapsedHeight = Value(10)  # noqa: N815
    contentsFrameShape = Value(QtWidgets.QFrame.Shape.NoFrame)  # noqa: N815
    contentsFrameShadow = Value(QtWidgets.QFrame.Shadow.Plain)  # noqa: N815
    contentsLineWidth = Value(1)  # noqa: N815
    contentsMidLineWidth = Value(0)  # noqa: N815

    def __init__(self, *args: Any) -> None:
        text = args[0] if args and isinstance(args[0], str) else ""
        parent = args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None
        super().__init__(parent)
        self._hidden_here: list[QtWidgets.QWidget] = []
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._on_toggled)
        self.setContentsMargins(0, self._header(), 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)

    def _on_toggled(self, checked: bool) -> None:
        self.collapsed = not checked

    def _collapse(self, collapsed: bool) -> None:
        if collapsed:
            self._hidden_here = [child for child in self._contents() if not child.isHidden()]
            for child in self._hidden_here:
                child.hide()
            self.setMaximumHeight(self._header() + 2)
        else:
            self.setMaximumHeight(16777215)
            for child in self._hidden_here:
                child.show()
            self._hidden_here = []
        self.setChecked(not collapsed)
        self.updateGeometry()
        self._contentsCollapsed.emit(collapsed)

    def _contents(self) -> list[QtWidgets.QWidget]:
        return [child for child in self.children() if isinstance(child, QtWidgets.QWidget) and not child.isWindow()]

    def _header(self) -> int:
        return self.fontMetrics().height() + 2 * HEADER_MARGIN

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802
        header = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text()) + 4 * HEADER_MARGIN, self._header())
        if self.collapsed or self.layout() is None:
            return header
        return self.layout().totalSizeHint().expandedTo(header)

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: N802
        if self.collapsed or self.layout() is None:
            return QtCore.QSize(0, self._header())
        return self.layout().totalMinimumSize().expandedTo(QtCore.QSize(0, self._header()))

    def hitButton(self, position: QtCore.QPoint) -> bool:  # noqa: N802
        return position.y() <= self._header()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._header())
        option.state |= QtWidgets.QStyle.StateFlag.State_Raised
        painter.drawPrimitive(QtWidgets.QStyle.PrimitiveElement.PE_PanelButtonCommand, option)
        arrow = QtWidgets.QStyle.PrimitiveElement
        option.rect = QtCore.QRect(HEADER_MARGIN, 0, 10, self._header())
        painter.drawPrimitive(arrow.PE_IndicatorArrowRight if self.collapsed else arrow.PE_IndicatorArrowDown, option)
        text = QtCore.QRect(HEADER_MARGIN + 16, 0, self.width() - HEADER_MARGIN - 16, self._header())
        flags = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawItemText(
            text,
            int(flags | QtCore.Qt.TextFlag.TextShowMnemonic),
            self.palette(),
            self.isEnabled(),
            self.text(),
            QtGui.QPalette.ColorRole.ButtonText,
        )


@stand_in
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):  # noqa: N801
    """A group box that shows and hides what lies in it."""

    NAMES = Names(properties={"collapsed": bool, "collapsedHeight": int})
    collapsed = Value(False, changed=_apply_collapsed)
    collapsedHeight = Value(14)  # noqa: N815

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.setCheckable(True)
        self._hidden_here: list[QtWidgets.QWidget] = []
        self.toggled.connect(self._on_toggled)

    def _on_toggled(self, checked: bool) -> None:
        self.collapsed = not checked

    def _collapse(self, collapsed: bool) -> None:
        if collapsed:
            contents = [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]
            self._hidden_here = [child for child in contents if not child.isHidden()]
            for child in self._hidden_here:
                child.hide()
        else:
            for child in self._hidden_here:
                child.show()
            self._hidden_here = []
        self.setChecked(not collapsed)


class ScrollEffect(enum.Enum):
    NeverScroll = 0
    AlwaysScroll = 1
    ScrollWithFocus = 2
    ScrollWithNoVScrollBar = 3


@stand_in
class ctkComboBox(QtWidgets.QComboBox):  # noqa: N801
    """A combo box with a text for "nothing chosen"."""

    NAMES = Names(
        properties={
            "defaultText": str,
            "defaultIcon": object,
            "forceDefault": bool,
            "elideMode": enum.Enum,
            "scrollWheelEffect": ScrollEffect,
            "currentUserDataAsString": str,
        },
        signals={
            "returnRelease()": "",
            "defaultTextChanged(QString)": "",
            "forceDefaultChanged(bool)": "",
            "currentUserDataAsStringChanged(QString)": "_currentUserData",
        },
        methods=frozenset({"setCurrentUserDataAsString"}),
        enums={value.name: value for value in ScrollEffect},
    )
    _currentUserData = QtCore.Signal(str)  # noqa: N815
    defaultText = Value("", changed=lambda self: self.setPlaceholderText(self.defaultText))  # noqa: N815
    forceDefault = Value(False)  # noqa: N815
    elideMode = Value(QtCore.Qt.TextElideMode.ElideNone)  # noqa: N815
    scrollWheelEffect = Value(ScrollEffect.AlwaysScroll)  # noqa: N815

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.currentIndexChanged.connect(lambda _: self._currentUserData.emit(self.currentUserDataAsString))

    @property
    def currentUserDataAsString(self) -> str:  # noqa: N802
        data = self.currentData()
        return "" if data is None else str(data)

    @currentUserDataAsString.setter
    def currentUserDataAsString(self, value: str) -> None:  # noqa: N802
        self.setCurrentIndex(self.findData(value))

    def setCurrentUserDataAsString(self, value: str) -> None:  # noqa: N802
        self.currentUserDataAsString = value


@stand_in
class ctkSliderWidget(QtWidgets.QWidget):  # noqa: N801
    """A slider and a spin box with one value."""

    NAMES = Names(
        properties={
            "decimals": int,
            "singleStep": float,
            "pageStep": float,
            "minimum": float,
            "maximum": float,
            "value": float,
            "prefix": str,
            "suffix": str,
            "tickInterval": float,
            "tickPosition": enum.Enum,
            "autoSpinBoxWidth": bool,
            "spinBoxAlignment": enum.Enum,
            "tracking": bool,
            "spinBoxVisible": bool,
            "popupSlider": bool,
        },
        signals={"valueChanged(double)": "_valueChanged", "valueIsChanging(double)": ""},
        methods=frozenset({"reset", "setValue", "setSpinBoxVisible"}),
    )
    _valueChanged = QtCore.Signal(float)  # noqa: N815

    def _range_changed(self) -> None:
        self._spin.setDecimals(self.decimals)
        self._spin.setRange(self.minimum, self.maximum)
        self._spin.setSingleStep(self.singleStep)
        self._spin.setPrefix(self.prefix)
        self._spin.setSuffix(self.suffix)
        self._slider.setRange(0, max(round((self.maximum - self.minimum) / (self.singleStep or 1.0)), 1))

    decimals = Value(2, changed=_range_changed)
    singleStep = Value(1.0, changed=_range_changed)  # noqa: N815
    pageStep = Value(10.0)  # noqa: N815
    minimum = Value(0.0, changed=_range_changed)
    maximum = Value(99.0, changed=_range_changed)
    prefix = Value("", changed=_range_changed)
    suffix = Value("", changed=_range_changed)
    tracking = Value(True)
    spinBoxVisible = Value(True, changed=lambda self: self._spin.setVisible(self.spinBoxVisible))  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._range_changed()
        self._spin.valueChanged.connect(self._on_spin)
        self._slider.valueChanged.connect(lambda step: self._spin.setValue(self.minimum + step * self.singleStep))

    def _on_spin(self, value: float) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self.minimum) / (self.singleStep or 1.0)))
        self._slider.blockSignals(False)
        self._valueChanged.emit(value)

    @property
    def value(self) -> float:
        return self._spin.value()

    @value.setter
    def value(self, value: float) -> None:
        self._spin.setValue(value)

    def setValue(self, value: float) -> None:  # noqa: N802
        self._spin.setValue(value)

    def reset(self) -> None:
        self._spin.setValue(0.0)

    def setSpinBoxVisible(self, visible: bool) -> None:  # noqa: N802
        self.spinBoxVisible = visible


@stand_in
class ctkMessageBox(QtWidgets.QMessageBox):  # noqa: N801
    """A message box with "do not show again"."""

    NAMES = Names(
        properties={"dontShowAgain": bool, "dontShowAgainSettingsKey": str, "dontShowAgainVisible": bool},
        methods=frozenset({"setDontShowAgain", "setDontShowAgainSettingsKey"}),
    )
    dontShowAgain = Value(False)  # noqa: N815
    dontShowAgainSettingsKey = Value("")  # noqa: N815
    dontShowAgainVisible = Value(False)  # noqa: N815


class CtkModule(types.ModuleType):
    """``import ctk``."""

    def __getattr__(self, name: str) -> Any:
        from .standin import registered

        if name.startswith("ctk") and name in registered():
            return wrap_class(registered()[name])
        if name.startswith("ctk"):
            raise NotImplementedError(f"ctk.{name} is not part of the test host")
        raise AttributeError(f"module 'ctk' has no attribute '{name}'")


def make_module() -> CtkModule:
    from . import ctk_paths  # noqa: F401 - registers its widgets

    return CtkModule("ctk", __doc__)
