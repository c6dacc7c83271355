"""Which names and signals a class has: Qt's from PySide6's meta objects, those of CTK and Slicer from the test host."""

from __future__ import annotations

import enum
import importlib
from typing import Any

# The host's files that register stand-ins for classes of CTK and Slicer.
REGISTERING = (
    "ctk_widgets",
    "ctk_paths",
    "qmrml_widgets",
    "node_combo_box",
    "place_widget",
    "layout",
    "scripted_module",
)
WRAPPER = frozenset({"connect", "disconnect", "className", "inherits", "delete"})
# In PySide6's Qt 6.8 but not in Qt 5.15, which Slicer 5.12 can be built with.
NOT_IN_QT5 = frozenset({"checkStateChanged(Qt::CheckState)"})


class QtNames:
    """The classes that ``qt``, ``ctk`` and ``slicer`` offer. Needs PySide6 and Slicer's core."""

    def __init__(self) -> None:
        from host import standin
        from host.api import REFUSED, Api
        from host.qt_module import SOURCES

        for module in REGISTERING:
            importlib.import_module(f"host.{module}")
        from PySide6 import QtCore

        self._api, self._sources, self._refused, self._core = Api.of_class, SOURCES, REFUSED, QtCore
        self._stand_ins = standin.registered()

    def find(self, name: str) -> Any:
        """The class of a name, or None."""
        if name in self._stand_ins:
            return self._stand_ins[name]
        if name == "Line":
            name = "QFrame"
        return next((getattr(source, name) for source in self._sources if hasattr(source, name)), None)

    def normalized(self, signature: str) -> str:
        """A signature as Qt writes it."""
        return bytes(self._core.QMetaObject.normalizedSignature(signature).data()).decode()

    def has_signal(self, name: str, signature: str) -> bool:
        """Whether a class has a signal of exactly this C++ signature."""
        api, signature = self._api(self.find(name)), self.normalized(signature)
        if signature in NOT_IN_QT5:
            return False
        if any(signature in names.signals for names in api.names):
            return True
        meta = getattr(api.qt_class, "staticMetaObject", None)
        return meta is not None and not signature.startswith("_") and meta.indexOfSignal(signature) >= 0

    def kind(self, name: str, attribute: str) -> str | None:
        """What an attribute of an object is: property, method, signal, enum, or None where there is none."""
        api = self._api(self.find(name))
        if attribute in WRAPPER:
            return "method"
        for names in api.names:
            for kind, listed in (
                ("property", names.properties),
                ("signal", names.signal_names()),
                ("method", names.methods),
                ("enum", names.enums),
            ):
                if attribute in listed:
                    return kind
        meta = getattr(api.qt_class, "staticMetaObject", None)
        if meta is not None and meta.indexOfProperty("objectName" if attribute == "name" else attribute) >= 0:
            return "property"
        return self._of_class(api.qt_class, attribute)

    def class_kind(self, name: str, attribute: str) -> str | None:
        """What an attribute of a class is: method, enum, enum type, class, or None."""
        cls = self.find(name)
        if any(attribute in names.enums for names in self._api(cls).names):
            return "enum"
        return self._of_class(self._api(cls).qt_class, attribute)

    def _of_class(self, qt_class: Any, attribute: str) -> str | None:
        bare = attribute[:-1] if attribute.endswith("_") else attribute
        value = getattr(qt_class, bare, None)
        if value is None or bare.startswith("_") or bare in self._refused:
            return None
        if isinstance(value, self._core.Signal):
            return "signal"
        if isinstance(value, type):
            return "enum type" if issubclass(value, enum.Enum) else "class"
        return "enum" if isinstance(value, enum.Enum) else "method"
