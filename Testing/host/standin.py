"""What the stand-ins for widgets of CTK and Slicer are made of.

PythonQt reaches of these classes only properties, signals, public slots and invokable methods: a C++ setter that is not
a slot (``ctkCollapsibleButton::setCollapsed``) cannot be called from Python, its property can be set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .api import check_type

VIRTUALS = ("sizeHint", "minimumSizeHint", "hitButton", "selectionChanged")

_registered: dict[str, type] = {}


class Value:
    """A property that holds a value of the type its class lists.

    Args:
        default: Its first value.
        changed: Called with the object after the value changed.
    """

    def __init__(self, default: Any, changed: Callable[[Any], None] | None = None) -> None:
        self._default, self._changed = default, changed

    def __set_name__(self, owner: type, name: str) -> None:
        self._name, self._slot = name, "_value_" + name

    def __get__(self, target: Any, owner: type | None = None) -> Any:
        return self if target is None else target.__dict__.get(self._slot, self._default)

    def __set__(self, target: Any, value: Any) -> None:
        check_type(self._name, listed_type(type(target), self._name), value)
        if self.__get__(target) != value:
            target.__dict__[self._slot] = list(value) if isinstance(value, tuple) else value
            if self._changed is not None:
                self._changed(target)


def listed_type(cls: type, name: str) -> Any:
    """The type that a class's list of names gives for a property."""
    for base in cls.__mro__:
        names = base.__dict__.get("NAMES")
        if names is not None and name in names.properties:
            return names.properties[name]
    raise LookupError(f"{cls.__name__} lists no property {name}")


def stand_in(cls: type) -> type:
    """Register a stand-in under its class name; refuse one whose public names are not all listed."""
    names = cls.__dict__["NAMES"]
    listed = set(names.properties) | names.methods | set(names.enums)
    events = {name for name in cls.__dict__ if name.endswith("Event") or name in VIRTUALS}
    public = {name for name in cls.__dict__ if not name.startswith("_") and name.isidentifier()}
    extra = public - listed - events - {"NAMES", "staticMetaObject"}
    if extra:
        raise TypeError(f"{cls.__name__} has names it does not list: {sorted(extra)}")
    _registered[cls.__name__] = cls
    return cls


def registered() -> dict[str, type]:
    """Class name -> stand-in."""
    return _registered
