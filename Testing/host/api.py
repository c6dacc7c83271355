"""Which names an object has: from Qt's meta object, or for a stand-in from the list it carries.

A stand-in for a class of CTK or Slicer (see :class:`Names`) lists the names of its public C++ API. A listed name
without code raises NotImplementedError, so that "Slicer has it, the host does not" reads differently from "it does not
exist".
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtCore

PLAIN_TYPES = {"bool": bool, "int": int, "uint": int, "QString": str}
GETTER_PREFIXES = ("", "is", "has")

# Names that PySide6 adds to Qt's, and Qt's that need what PythonQt has not.
REFUSED = frozenset(
    {"emit", "staticMetaObject", "metaObject", "jsonValue", "sender", "receivers", "isSignalConnected", "tr"}
)


@dataclass(frozen=True)
class Names:
    """Names of a class's public C++ API, without those of its base class.

    Attributes:
        properties: Name -> type of its value in Python.
        signals: Exact C++ signature -> name of the PySide6 signal behind it; "" where nothing emits it.
        methods: Public slots, invokable methods and setters.
        enums: Name -> value of the class's enums.
    """

    properties: dict[str, type | tuple[type, ...]] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()
    enums: dict[str, int] = field(default_factory=dict)

    def signal_names(self) -> set[str]:
        return {signature.split("(")[0] for signature in self.signals}


@dataclass(frozen=True)
class Found:
    """What a name is: kind is property, method, signal, enum or None."""

    kind: str | None
    name: str = ""
    value: Any = None
    read: Callable[[Any], Any] = lambda target: None
    write: Callable[[Any, Any], None] = lambda target, value: None
    check: Callable[[Any], None] = lambda value: None


class Api:
    """The names of one PySide6 class, found once.

    Meta objects are taken from classes only: one taken from an object dies with that object, and the class's with it.
    """

    _of_class: dict[type, Api] = {}  # noqa: RUF012 - shared on purpose

    def __init__(self, cls: type) -> None:
        self.names = [base.__dict__["NAMES"] for base in cls.__mro__ if "NAMES" in base.__dict__]
        self.qt_class: Any = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6."))
        self._cls = cls
        self._found: dict[str, Found] = {}

    @classmethod
    def of(cls, target: Any) -> Api:
        return cls.of_class(type(target))

    @classmethod
    def of_class(cls, owner: type) -> Api:
        if owner not in cls._of_class:
            cls._of_class[owner] = cls(owner)
        return cls._of_class[owner]

    def find(self, target: Any, name: str) -> Found:
        """Look a name up; the outcome holds for all objects of the class."""
        if name not in self._found:
            self._found[name] = self._listed(name) or self._of_qt(target, name) or Found(None)
        return self._found[name]

    def check_setter(self, target: Any, name: str, args: tuple[Any, ...]) -> None:
        """Raise TypeError where a property's setter is called with what the property does not take.

        PySide6 takes None for a text and 2.5 for a whole number.
        """
        if len(args) == 1 and name.startswith("set") and len(name) > 3:
            self.find(target, name[3].lower() + name[4:]).check(args[0])

    def signal(self, target: Any, signature: str) -> str | None:
        """Return the signature to connect to in PySide6 for a normalized C++ signature, or None."""
        for names in self.names:
            if signature in names.signals:
                name = names.signals[signature]
                if not name:
                    raise NotImplementedError(f"the host emits no {signature} of {self._cls.__name__}")
                return _python_signature(type(target), name)
        meta = self.qt_class.staticMetaObject
        if signature.startswith("_") or meta.indexOfSignal(signature) < 0:
            return None
        return signature

    def _listed(self, name: str) -> Found | None:
        public = name
        for names in self.names:
            if public in names.properties:
                return self._listed_property(public, names.properties[public])
            if public in names.signal_names():
                return Found("signal", public)
            if public in names.methods:
                if not hasattr(self._cls, public):
                    return Found("missing", public, read=_missing(self._cls, public))
                return Found("method", public)
            if public in names.enums:
                return Found("enum", public, names.enums[public])
        return None

    def _listed_property(self, name: str, kind: type | tuple[type, ...]) -> Found:
        if name not in _own_names(self._cls):
            missing = _missing(self._cls, name)
            return Found("property", name, read=missing, write=lambda target, _: missing(target))

        def write(target: Any, value: Any) -> None:
            check_type(name, kind, value)
            setattr(target, name, value)

        return Found("property", name, read=lambda target: getattr(target, name), write=write)

    def _of_qt(self, target: Any, name: str) -> Found | None:
        if isinstance(target, QtCore.QObject):
            meta = self.qt_class.staticMetaObject
            index = meta.indexOfProperty("objectName" if name == "name" else name)
            if index >= 0:
                return _qt_property(self.qt_class, meta.property(index))
        return self._qt_method(name)

    def _qt_method(self, name: str) -> Found | None:
        bare = name[:-1] if name.endswith("_") and not hasattr(self.qt_class, name) else name
        if bare == "exec_":
            bare = "exec"
        if bare.startswith("_") or bare in REFUSED or not hasattr(self.qt_class, bare):
            return None
        value = getattr(self.qt_class, bare)
        if isinstance(value, QtCore.Signal):
            return Found("signal", bare)
        if isinstance(value, enum.Enum):
            return Found("enum", bare, value)
        if isinstance(value, type) or not callable(value):
            return None
        return Found("method", bare)


def _qt_property(qt_class: type, prop: QtCore.QMetaProperty) -> Found:
    """A property of Qt itself: read through its getter, which gives the right Python type, written by its setter."""
    name, type_name = prop.name(), prop.typeName()
    capital = name[0].upper() + name[1:]
    getter = next(
        (n for p in GETTER_PREFIXES if callable(getattr(qt_class, n := p + capital if p else name, None))), None
    )
    setter = "set" + capital if callable(getattr(qt_class, "set" + capital, None)) else None

    def read(target: Any) -> Any:
        return getattr(target, getter)() if getter else target.property(name)

    def write(target: Any, value: Any) -> None:
        if not prop.isWritable():
            raise TypeError("it is not writable")
        _check_qt_type(prop, type_name, value)
        if setter:
            getattr(target, setter)(value)
        elif not target.setProperty(name, value):
            raise TypeError(f"not a {type_name}")

    return Found("property", name, read=read, write=write, check=lambda value: _check_qt_type(prop, type_name, value))


def _check_qt_type(prop: QtCore.QMetaProperty, type_name: str, value: Any) -> None:
    if prop.isEnumType():
        if not isinstance(value, enum.Enum):
            raise TypeError(f"{type_name} is an enum; enums are not ints")
    elif type_name == "double":
        check_type(prop.name(), float, value)
    elif type_name == "QStringList":
        check_type(prop.name(), list, value)
    elif type_name in PLAIN_TYPES:
        check_type(prop.name(), PLAIN_TYPES[type_name], value)


def check_type(name: str, kind: type | tuple[type, ...], value: Any) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if float in kinds:
        kinds = (*kinds, int)
    if list in kinds:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise TypeError(f"{name} takes a list of str")
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{name} takes {' or '.join(k.__name__ for k in kinds)}, not {type(value).__name__}")


def _own_names(cls: type) -> set[str]:
    """Names that stand-ins define in Python."""
    return {name for base in cls.__mro__ if "NAMES" in base.__dict__ for name in base.__dict__}


def _missing(cls: type, name: str) -> Callable[[Any], Any]:
    def raise_missing(target: Any) -> Any:
        raise NotImplementedError(f"{cls.__name__}.{name} exists in Slicer but not in the test host")

    return raise_missing


def _python_signature(cls: type, name: str) -> str:
    meta: Any = cls.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal and bytes(method.name().data()).decode() == name:
            return bytes(method.methodSignature().data()).decode()
    raise LookupError(f"{cls.__name__} declares no signal {name}")
