"""Loads the module's real .ui file with the stand-ins in place of CTK's and Slicer's widgets.

More is checked than Qt does: every widget class must be known, every property must exist (or be marked as dynamic with
``stdset="0"``), every object name must be unique, every signal and slot of a connection must exist.
"""

from __future__ import annotations

import weakref
from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import standin
from .api import Api
from .pythonqt import get, put, wrap


class UiError(RuntimeError):
    """A .ui file asks for something that does not exist."""


_kept: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()

_texts = {"string": str, "cstring": str, "number": int, "double": float, "bool": lambda text: text == "true"}


def load(loader: QtUiTools.QUiLoader, text: bytes, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
    """Return the top-level widget of a .ui file.

    Raises:
        UiError: see the module's description.
    """
    root = ElementTree.fromstring(text)
    widgets = list(root.iter("widget"))
    _check_widgets(widgets)
    later = [setting for element in widgets for setting in _take_own_properties(element)]
    connections = _take_connections(root)
    for cls in standin.registered().values():
        if issubclass(cls, QtWidgets.QWidget):
            loader.registerCustomWidget(cls)
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(root))
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    top = loader.load(buffer, parent)
    if top is None:
        raise UiError(loader.errorString())
    by_name = {child.objectName(): child for child in [top, *top.findChildren(QtCore.QObject)] if child.objectName()}
    _kept[top] = list(by_name.values())
    for name, prop, value in later:
        try:
            put(wrap(by_name[name]), prop, value)
        except AttributeError as error:
            raise UiError(f"{name}: {error}") from error
    for sender, signal, receiver, slot in connections:
        _connect(by_name, sender, signal, receiver, slot)
    return top


def _check_widgets(widgets: list[ElementTree.Element]) -> None:
    names = [element.get("name", "") for element in widgets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UiError(f"several widgets are called {', '.join(twice)}")
    for element in widgets:
        cls = _class_of(element)
        for prop in element.findall("property"):
            _check_property(element, cls, prop)


def _class_of(element: ElementTree.Element) -> type:
    name = element.get("class", "")
    cls = standin.registered().get(name) or getattr(QtWidgets, name, None)
    if cls is None:
        if name == "Line":
            return QtWidgets.QFrame
        raise UiError(f"{element.get('name')}: the host has no widget class {name}")
    return cls


def _check_property(element: ElementTree.Element, cls: type, prop: ElementTree.Element) -> None:
    name = prop.get("name", "")
    if prop.get("stdset") == "0" or (element.get("class") == "Line" and name == "orientation"):
        return
    if any(name in names.properties for names in Api.of_class(cls).names):
        return
    if Api.of_class(cls).qt_class.staticMetaObject.indexOfProperty(name) < 0:
        raise UiError(f"{element.get('name')}: {cls.__name__} has no property {name}")


def _take_own_properties(element: ElementTree.Element) -> list[tuple[str, str, Any]]:
    """Remove a stand-in's own properties from the file; they are set after loading, as Python code would."""
    cls = _class_of(element)
    own = {name for names in Api.of_class(cls).names for name in names.properties}
    taken = []
    for prop in element.findall("property"):
        if prop.get("name") in own:
            taken.append((element.get("name", ""), prop.get("name", ""), _value(cls, prop)))
            element.remove(prop)
    return taken


def _value(cls: type, prop: ElementTree.Element) -> Any:
    item = prop[0]
    text = item.text or ""
    if item.tag in _texts:
        return _texts[item.tag](text)
    if item.tag == "stringlist":
        return [entry.text or "" for entry in item.findall("string")]
    if item.tag in ("enum", "set"):
        enums = {name: value for names in Api.of_class(cls).names for name, value in names.enums.items()}
        try:
            values = [_enum_value(cls, enums, part.split("::")[-1]) for part in text.split("|")]
        except (KeyError, AttributeError) as error:
            raise UiError(f"{cls.__name__}.{prop.get('name')}: no value {text}") from error
        result = values[0]
        for value in values[1:]:
            result = result | value
        return result
    raise UiError(f"{cls.__name__}.{prop.get('name')}: the host reads no <{item.tag}> for this property")


def _enum_value(cls: type, enums: dict[str, Any], name: str) -> Any:
    if name in enums:
        return enums[name]
    for owner in (Api.of_class(cls).qt_class, QtCore.Qt, QtWidgets.QFrame, QtWidgets.QComboBox, QtWidgets.QSlider):
        if hasattr(owner, name):
            return getattr(owner, name)
    raise KeyError(name)


def _take_connections(root: ElementTree.Element) -> list[tuple[str, str, str, str]]:
    block = root.find("connections")
    if block is None:
        return []
    root.remove(block)
    keys = ("sender", "signal", "receiver", "slot")
    return [tuple(item.findtext(key, "") for key in keys) for item in block.findall("connection")]  # type: ignore[misc]


def _connect(by_name: dict[str, Any], sender: str, signal: str, receiver: str, slot: str) -> None:
    """Connect as Qt does: the slot gets as many arguments as its signature has."""
    for name in (sender, receiver):
        if name not in by_name:
            raise UiError(f"a connection names {name}, which does not exist")
    count = 0 if slot.endswith("()") else slot.count(",") + 1
    try:
        called = get(wrap(by_name[receiver]), slot.split("(", maxsplit=1)[0])
        wrap(by_name[sender]).connect(signal, _Relay(called, count))
    except (AttributeError, ValueError) as error:
        raise UiError(f"connection {sender}.{signal} -> {receiver}.{slot}: {error}") from error


class _Relay:
    def __init__(self, slot: Any, count: int) -> None:
        self._slot, self._count = slot, count

    def __call__(self, *args: Any) -> None:
        self._slot(*args[: self._count])
