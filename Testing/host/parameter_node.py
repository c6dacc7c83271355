"""``slicer.parameterNodeWrapper``: typed fields over a vtkMRMLScriptedModuleNode, bound to widgets.

The documented part that this project uses; other types and widgets are refused.
"""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer
import vtk

from .parameter_types import (
    Choice,
    Decimals,
    Default,
    Field,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

PROPERTY = "SlicerParameterName"

# Widget class -> (types it shows, signal that tells of a change).
NUMBERS = {
    "QSpinBox": (int, "valueChanged(int)"),
    "QSlider": (int, "valueChanged(int)"),
    "QDoubleSpinBox": (float, "valueChanged(double)"),
    "ctkSliderWidget": (float, "valueChanged(double)"),
}


class Connector:
    """Binds one widget to one field.

    Raises:
        RuntimeError: Slicer has no connector from this widget to this type.
    """

    def __init__(self, widget: Any, field: Field) -> None:
        self.widget, self.field = widget, field
        self._changed: Callable[[], None] | None = None
        kind, name = field.type, type(widget).__name__
        if type(widget) in (qt.QCheckBox, qt.QPushButton) and kind is bool:
            if not widget.checkable:
                raise RuntimeError(f"{widget.name}: a push button bound to a bool must be checkable")
            self._set(("checked", "toggled(bool)"))
        elif name in NUMBERS and kind is NUMBERS[name][0]:
            self._bound_number()
            self._set(("value", NUMBERS[name][1]))
        elif type(widget) in (qt.QComboBox, ctk.ctkComboBox) and (
            field.annotation(Choice) or issubclass(kind, enum.Enum)
        ):
            self._fill_choices()
        elif type(widget) is qt.QLineEdit and kind is str:
            self._set(("text", "textChanged(QString)"))
        elif type(widget) is qt.QLabel and kind is str:
            self._set(("text", None))
        elif type(widget) in (qt.QTextEdit, qt.QPlainTextEdit) and kind is str and name == "QTextEdit":
            self.read, self.write = widget.toPlainText, self._write_plain_text
            self.signal: str | None = "textChanged()"
        elif type(widget) is ctk.ctkPathLineEdit and issubclass(kind, pathlib.PurePath):
            self._path("currentPath", "currentPathChanged(QString)")
        elif type(widget) is ctk.ctkDirectoryButton and issubclass(kind, pathlib.PurePath):
            self._path("directory", "directoryChanged(QString)")
        elif type(widget) is slicer.qMRMLNodeComboBox and field.is_node:
            widget.nodeTypes = [_node_class_name(kind)]
            self.read, self.write = widget.currentNode, widget.setCurrentNode
            self.signal = "currentNodeChanged(vtkMRMLNode*)"
        else:
            raise RuntimeError(f"{widget.name}: no connector from {name} to {field.name}: {field.hint}")

    def connect(self, changed: Callable[[], None]) -> None:
        """Have something called when the user changes the widget."""
        self._changed = changed
        if self.signal is not None:
            self.widget.connect(self.signal, changed)

    def disconnect(self) -> None:
        """Stop that."""
        if self.signal is not None and self.widget:
            self.widget.disconnect(self.signal, self._changed)

    def _set(self, names: tuple[str, str | None]) -> None:
        name, self.signal = names
        self.read = lambda: getattr(self.widget, name)
        self.write = lambda value: setattr(self.widget, name, value)

    def _path(self, name: str, signal: str) -> None:
        self.signal = signal
        self.read = lambda: self.field.type(getattr(self.widget, name))
        self.write = lambda value: setattr(self.widget, name, str(value))

    def _write_plain_text(self, text: str) -> None:
        if text != self.widget.toPlainText():  # setting it moves the cursor of whoever types
            self.widget.setPlainText(text)

    def _bound_number(self) -> None:
        kind = self.field.type
        for annotation, attribute, names in (
            (WithinRange, "minimum", ("minimum",)),
            (WithinRange, "maximum", ("maximum",)),
            (Minimum, "minimum", ("minimum",)),
            (Maximum, "maximum", ("maximum",)),
        ):
            found = self.field.annotation(annotation)
            if found is not None:
                setattr(self.widget, names[0], kind(getattr(found, attribute)))
        for annotation, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
            found = self.field.annotation(annotation)
            if found is not None:
                setattr(self.widget, name, found.value if name == "decimals" else kind(found.value))
        bounded = self.field.annotation(WithinRange) or (
            self.field.annotation(Minimum) and self.field.annotation(Maximum)
        )
        if type(self.widget).__name__ in ("QSlider", "ctkSliderWidget") and not bounded:
            raise RuntimeError(f"{self.widget.name}: a slider needs a field with bounds")

    def _fill_choices(self) -> None:
        choice = self.field.annotation(Choice)
        values = list(self.field.type) if choice is None else choice.choices
        label = getattr(self.field.type, "label", None) if choice is None else str
        self.widget.clear()
        for value in values:
            self.widget.addItem(label(value) if label is not None else value.name)
        self.signal = "currentIndexChanged(int)"
        self.read = lambda: values[self.widget.currentIndex]
        self.write = lambda value: setattr(self.widget, "currentIndex", values.index(value))


def parameterNodeWrapper(classtype: type | None = None) -> Any:  # noqa: N802
    """Class decorator: give a class's annotated fields a parameter node behind them."""
    if classtype is None:
        return parameterNodeWrapper
    fields = {}
    for name, hint in typing.get_type_hints(classtype, include_extras=True).items():
        given = Default(classtype.__dict__[name]) if name in classtype.__dict__ else None
        fields[name] = Field(name, hint, given)
        setattr(classtype, name, _field_property(name))
    for name, method in _METHODS.items():
        if name in classtype.__dict__ and name != "__init__":
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(classtype, name, method)
    classtype.allParameters = fields  # type: ignore[attr-defined]
    classtype._is_parameter_node_wrapper = True  # type: ignore[attr-defined]
    return classtype


def isParameterNodeWrapper(item: Any) -> bool:  # noqa: N802
    """Whether something is a wrapper, or a class of wrappers."""
    return getattr(item, "_is_parameter_node_wrapper", False)


def _field_property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _init(self: Any, parameterNode: Any) -> None:  # noqa: N803
    self.parameterNode = parameterNode
    self._connected: dict[int, tuple[list[Connector], int]] = {}
    self._next_tag = 0
    self._showing = False
    for field in self.allParameters.values():
        if not field.is_in(parameterNode):
            field.write(parameterNode, field.default)


def _field(self: Any, name: str) -> Field:
    if name not in self.allParameters:
        raise ValueError(f"Cannot find a param with the given name: {name}")
    return self.allParameters[name]


def _connect_gui(self: Any, gui: Any) -> int:
    widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else list(vars(gui).values())
    mapping = {}
    for widget in widgets:
        if isinstance(widget, qt.QWidget) and widget.property(PROPERTY):
            mapping[widget.property(PROPERTY)] = widget
    return _connect_parameters(self, mapping)


def _connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    connectors = [Connector(widget, _field(self, name)) for name, widget in mapping.items()]

    def show(caller: Any = None, event: Any = None) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            for connector in connectors:
                connector.write(self.getValue(connector.field.name))
        finally:
            self._showing = False

    show()
    for connector in connectors:
        connector.connect(_taker(self, connector))
    observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, show)
    tag, self._next_tag = self._next_tag, self._next_tag + 1
    self._connected[tag] = (connectors, observer)
    return tag


def _taker(self: Any, connector: Connector) -> Callable[[], None]:
    def take() -> None:
        if not self._showing:
            self.setValue(connector.field.name, connector.read())

    return take


def _disconnect_gui(self: Any, tag: int) -> None:
    connectors, observer = self._connected.pop(tag, ([], None))
    for connector in connectors:
        connector.disconnect()
    if observer is not None:
        self.parameterNode.RemoveObserver(observer)


def _set_value(self: Any, name: str, value: Any) -> None:
    field = _field(self, name)
    with slicer.util.NodeModify(self.parameterNode):
        field.write(self.parameterNode, value)


def _node_class_name(kind: type) -> str:
    return kind.__name__


_METHODS: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "default": lambda self, name: Default(_field(self, name).default),
    "dataType": lambda self, name: _field(self, name).hint,
    "isCached": lambda self, name: False,
    "getValue": lambda self, name: _field(self, name).read(self.parameterNode),
    "setValue": _set_value,
    "connectGui": _connect_gui,
    "connectParametersToGui": _connect_parameters,
    "disconnectGui": _disconnect_gui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, was: self.parameterNode.EndModify(was),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}
