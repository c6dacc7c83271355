"""PythonQt's rules over PySide6: what a Qt object is to Python code inside Slicer.

Every PySide6 object is seen through a :class:`Wrapped`. Names are looked up as PythonQt does it: property first, then
signal or method, then enum value, then dynamic property. All else is refused. Where the rules of PythonQt versions
differ, or PythonQt only prints a warning, the stricter behavior was chosen, so that what passes here passes there.

Not reproduced on purpose: signals as attributes with ``connect`` (use ``widget.connect("clicked()", f)``), children as
attributes, classes derived from Qt classes.
"""

from __future__ import annotations

import enum
import functools
import pathlib
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import shiboken6
from PySide6 import QtCore

from . import signals
from .api import REFUSED, Api

NATIVE = (bool, int, float, str, bytes, type(None), enum.Enum)

# (class name, method) -> stand-in called with the PySide6 object or class and the arguments; see ``qt_overrides``.
OVERRIDES: dict[tuple[str, str], Callable[..., Any]] = {}

TAKES_CALLABLE = frozenset({("QTimer", "singleShot"), ("QMenu", "addAction"), ("QToolBar", "addAction")})

_classes: dict[type, QtType] = {}
_wrappers: weakref.WeakValueDictionary[int, Wrapped] = weakref.WeakValueDictionary()


class QtType(type):
    """The type of a wrapped class: constructor, static methods, nested classes and enum values."""

    _qt_class: type

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> QtType:
        raise TypeError(f"class {name}: classes derived from Qt classes do not work reliably in PythonQt")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        name = cls.__name__
        _refuse_keywords(name, kwargs)
        construct = OVERRIDES.get((name, "__init__"))
        if construct is not None:
            return wrap(construct(cls._qt_class, *(unwrap(argument) for argument in args)))
        return wrap(cls._qt_class(*(unwrap(argument) for argument in args)))

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        owner = cls._qt_class
        override = _override(owner, name)
        if override is not None:
            return StaticSlot(cls, name, functools.partial(override, owner))
        value = _class_attribute(owner, name)
        if isinstance(value, enum.Enum | int):
            return value
        if isinstance(value, type) and issubclass(value, enum.Enum):
            return EnumType(value)
        if isinstance(value, type) and issubclass(value, shiboken6.Shiboken.Object):
            return wrap_class(value)
        if isinstance(value, QtCore.Signal) or not callable(value):
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        return StaticSlot(cls, name, value)

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"attributes of {cls.__name__} cannot be set")


class EnumType:
    """An enum of a Qt class. Its values are found on the class (``QFrame.HLine``), not here."""

    __slots__ = ("_enum",)

    def __init__(self, value: type[enum.Enum]) -> None:
        self._enum = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnumType) and other._enum is self._enum

    def __hash__(self) -> int:
        return hash(self._enum)


class Wrapped:
    """A Qt object as Python code inside Slicer sees it."""

    __slots__ = ("__weakref__", "_qt")

    _qt: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return get(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        put(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"'{name}' of a {type(self).__name__} cannot be deleted")

    def __bool__(self) -> bool:
        return bool(shiboken6.isValid(self._qt))

    def __eq__(self, other: object) -> bool:
        if other is None:
            return not shiboken6.isValid(self._qt)
        if not isinstance(other, Wrapped):
            return NotImplemented
        if self._qt is other._qt:
            return True
        if isinstance(self._qt, QtCore.QObject) or isinstance(other._qt, QtCore.QObject):
            return False
        return type(self._qt) is type(other._qt) and bool(self._qt == other._qt)

    def __hash__(self) -> int:
        return id(self._qt)

    def __repr__(self) -> str:
        state = "" if self else ", destroyed"
        return f"{type(self).__name__} ({type(self._qt).__name__} at: {id(self._qt):#x}{state})"

    def connect(self, *args: Any, **kwargs: Any) -> bool:
        """Connect a signal, given by its exact C++ signature, to something callable."""
        _refuse_keywords("connect", kwargs)
        return signals.connect(self, alive(self, "connect"), args)

    def disconnect(self, *args: Any, **kwargs: Any) -> bool:
        """Disconnect a callable, or all Python callables, from a signal."""
        _refuse_keywords("disconnect", kwargs)
        return signals.disconnect(self, alive(self, "disconnect"), args)

    def className(self) -> str:  # noqa: N802
        return type(self).__name__

    def inherits(self, name: str) -> bool:
        return any(base.__name__ == name for base in type(self).__mro__)

    def delete(self) -> None:
        """Delete the C++ object now."""
        shiboken6.delete(alive(self, "delete"))


class StaticSlot:
    """A static or unbound method of a Qt class."""

    __slots__ = ("_class", "_function", "_name")

    def __init__(self, owner: QtType, name: str, function: Callable[..., Any]) -> None:
        self._class, self._name, self._function = owner, name, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self._class.__name__, self._name, self._function, args, kwargs)


class BoundSlot:
    """A method of a Qt object, ready to be called."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Wrapped, name: str) -> None:
        self._owner, self._name = owner, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        target = alive(self._owner, self._name)
        Api.of(target).check_setter(target, self._name, tuple(unwrap(argument) for argument in args))
        override = _override(type(target), self._name)
        function = functools.partial(override, target) if override else getattr(target, self._name)
        return _call(type(self._owner).__name__, self._name, function, args, kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundSlot) and other._name == self._name and other._owner == self._owner

    def __hash__(self) -> int:
        return hash((self._name, self._owner))

    def __repr__(self) -> str:
        return f"<builtin_qt_slot {self._name} of {type(self._owner).__name__}>"


def wrap(value: Any) -> Any:
    """Return a value from Qt as Python code sees it."""
    if isinstance(value, NATIVE) or isinstance(value, Wrapped):
        return value
    if isinstance(value, list | tuple):
        return type(value)(wrap(item) for item in value)
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    if not isinstance(value, shiboken6.Shiboken.Object):
        return value
    known = _wrappers.get(id(value))
    if known is not None and known._qt is value:
        return known
    wrapper = object.__new__(wrap_class(type(value)))
    object.__setattr__(wrapper, "_qt", value)
    _wrappers[id(value)] = wrapper
    return wrapper


def wrap_class(qt_class: type) -> QtType:
    """Return the class that Python code sees for a PySide6 class."""
    known = _classes.get(qt_class)
    if known is None:
        bases = [
            base
            for base in qt_class.__bases__
            if issubclass(base, shiboken6.Shiboken.Object) and base is not shiboken6.Shiboken.Object
        ]
        parents = tuple(wrap_class(base) for base in bases) or (Wrapped,)
        namespace = {"__slots__": (), "_qt_class": qt_class, "__module__": "qt"}
        known = _classes[qt_class] = type.__new__(QtType, qt_class.__name__, parents, namespace)
    return known


def unwrap(value: Any) -> Any:
    """Return a value of Python code as Qt takes it; refuse what PythonQt does not convert."""
    if isinstance(value, Wrapped):
        return alive(value, "argument")
    if isinstance(value, QtType):
        return value._qt_class
    if isinstance(value, pathlib.PurePath):
        raise ValueError(f"PythonQt does not convert pathlib.Path; use str(): {value!r}")
    if isinstance(value, np.generic) and not isinstance(value, float):
        raise ValueError(f"PythonQt does not convert numpy scalars; use int(), bool() or float(): {value!r}")
    if isinstance(value, list | tuple):
        return type(value)(unwrap(item) for item in value)
    return value


def alive(wrapper: Wrapped, name: str) -> Any:
    """Return the PySide6 object.

    Raises:
        ValueError: the C++ object was deleted.
    """
    target = wrapper._qt
    if not shiboken6.isValid(target):
        raise ValueError(f"Trying to call or read '{name}' on a destroyed {type(wrapper).__name__} object")
    return target


def get(wrapper: Wrapped, name: str) -> Any:
    """Look a name up: property, signal or method, enum value, dynamic property."""
    target = alive(wrapper, name)
    found = Api.of(target).find(target, name)
    if found.kind in ("property", "missing"):
        return wrap(found.read(target))
    if found.kind == "method":
        return BoundSlot(wrapper, found.name)
    if found.kind == "signal":
        return signals.SignalName(wrapper, found.name)
    if found.kind == "enum":
        return found.value
    if isinstance(target, QtCore.QObject) and name.encode() in [bytes(n) for n in target.dynamicPropertyNames()]:
        return wrap(target.property(name))
    raise AttributeError(f"{type(wrapper).__name__} has no attribute named '{name}'")


def put(wrapper: Wrapped, name: str, value: Any) -> None:
    """Set a property; refuse everything else."""
    class_name = type(wrapper).__name__
    target = wrapper._qt
    if not shiboken6.isValid(target):
        raise AttributeError(f"Trying to set property '{name}' on a destroyed {class_name} object")
    found = Api.of(target).find(target, name)
    if found.kind == "property":
        try:
            found.write(target, unwrap(value))
        except (TypeError, ValueError) as error:
            raise AttributeError(f"Property '{name}' of {class_name} does not accept {value!r}: {error}") from error
        return
    if found.kind is not None:
        raise AttributeError(f"'{name}' is a {found.kind} of {class_name} and cannot be overwritten")
    if isinstance(target, QtCore.QObject) and name.encode() in [bytes(n) for n in target.dynamicPropertyNames()]:
        target.setProperty(name, unwrap(value))
        return
    raise AttributeError(
        f"'{name}' does not exist on {class_name} and creating new attributes on C++ objects is not allowed"
    )


def _call(
    class_name: str, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    _refuse_keywords(f"{class_name}.{name}", kwargs)
    values = []
    for argument in args:
        if callable(argument) and not isinstance(argument, Wrapped | QtType | enum.Enum):
            if (class_name, name) not in TAKES_CALLABLE:
                raise ValueError(f"{class_name}.{name} takes no callable in PythonQt")
            values.append(signals.guarded(argument))
        else:
            values.append(unwrap(argument))
    return wrap(function(*values))


def _refuse_keywords(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"{name} takes no keyword arguments in PythonQt: {', '.join(kwargs)}")


def _override(owner: type, name: str) -> Callable[..., Any] | None:
    for base in owner.__mro__:
        found = OVERRIDES.get((base.__name__, name))
        if found is not None:
            return found
    return None


def _class_attribute(owner: type, name: str) -> Any:
    api = Api.of_class(owner)
    for names in api.names:
        if name in names.enums:
            return names.enums[name]
    owner = api.qt_class
    bare = name[:-1] if name.endswith("_") and hasattr(owner, name[:-1]) else name
    if name in REFUSED or not hasattr(owner, bare):
        raise AttributeError(f"type object '{owner.__name__}' has no attribute '{name}'")
    return getattr(owner, bare)
