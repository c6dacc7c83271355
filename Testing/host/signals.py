"""Connecting signals to Python as PythonQt does it.

A signal is named by its exact C++ signature. Plain functions and bound methods get as many of the signal's arguments
as they can take, default arguments included; every other callable gets all of them. Callables are held until the
sender dies. An exception inside a callable is printed, as in PythonQt, and kept in ``slot_errors`` for the tests.
"""

from __future__ import annotations

import inspect
import traceback
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import shiboken6
from PySide6 import QtCore

from .api import Api

if TYPE_CHECKING:
    from .pythonqt import Wrapped

slot_errors: list[BaseException] = []
"""Exceptions raised inside callables since the list was last emptied."""

_connections: dict[int, list[tuple[str, Callable[..., Any], Callable[..., None]]]] = {}


class SignalName:
    """A signal as an attribute. It can be emitted by calling it; connecting goes by the string form only."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Wrapped, name: str) -> None:
        self._owner, self._name = owner, name

    def __call__(self, *args: Any) -> None:
        from .pythonqt import alive, unwrap

        target = alive(self._owner, self._name)
        name = self._name
        for names in Api.of(target).names:
            listed = [hidden for signature, hidden in names.signals.items() if signature.split("(")[0] == name]
            if listed:
                name = listed[0]
                break
        getattr(target, name).emit(*(unwrap(argument) for argument in args))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"signal '{self._name}' has no '{name}' in the test host; connect with the signature as a string: "
            f'widget.connect("{self._name}(...)", f)'
        )


def connect(wrapper: Wrapped, target: Any, args: tuple[Any, ...]) -> bool:
    """Connect ``args = (signature, callable)``.

    Raises:
        ValueError: no such signal, or not callable; PythonQt prints a line and goes on.
    """
    if len(args) != 2:
        raise ValueError('connect takes a signature and a callable: connect("clicked()", f)')
    signature, function = args
    hidden = _checked(wrapper, target, signature)
    if not callable(function):
        raise ValueError(f"{function!r} is not callable")
    deliver = guarded(function)
    QtCore.QObject.connect(target, "2" + hidden, deliver)
    pointer = shiboken6.getCppPointer(target)[0]
    if pointer not in _connections:
        _connections[pointer] = []
        target.destroyed.connect(lambda *_: _connections.pop(pointer, None))
    _connections[pointer].append((hidden, function, deliver))
    return True


def disconnect(wrapper: Wrapped, target: Any, args: tuple[Any, ...]) -> bool:
    """Disconnect ``args = (signature[, callable])``; returns whether something was connected."""
    if len(args) not in (1, 2):
        raise ValueError('disconnect takes a signature and perhaps a callable: disconnect("clicked()", f)')
    hidden = _checked(wrapper, target, args[0])
    known = _connections.get(shiboken6.getCppPointer(target)[0], [])
    hits = [entry for entry in known if entry[0] == hidden and (len(args) == 1 or entry[1] == args[1])]
    if len(args) == 2:
        hits = hits[:1]
    for entry in hits:
        QtCore.QObject.disconnect(target, "2" + hidden, entry[2])
        known.remove(entry)
    return bool(hits)


def connection_count(wrapper: Wrapped, signature: str | None = None) -> int:
    """How many Python callables are connected to an object, or to one of its signals."""
    target = wrapper._qt
    known = _connections.get(shiboken6.getCppPointer(target)[0], []) if shiboken6.isValid(target) else []
    hidden = None if signature is None else _checked(wrapper, target, signature)
    return sum(hidden is None or entry[0] == hidden for entry in known)


def raise_slot_errors() -> None:
    """Raise the first exception that a callable left behind, and forget all."""
    if slot_errors:
        first = slot_errors[0]
        slot_errors.clear()
        raise first


def guarded(function: Callable[..., Any]) -> Callable[..., None]:
    """What Qt calls in place of a callable: wraps the arguments, drops those it cannot take, keeps errors."""

    def deliver(*args: Any) -> None:
        from .pythonqt import wrap

        count = accepted(function)
        values = [wrap(argument) for argument in (args if count is None else args[:count])]
        try:
            function(*values)
        except Exception as error:  # PythonQt prints it and goes on; the tests raise it later
            traceback.print_exception(error)
            slot_errors.append(error)

    return deliver


def accepted(function: Callable[..., Any]) -> int | None:
    """How many arguments of a signal a callable is given; None means all of them."""
    if isinstance(function, types.MethodType) and isinstance(function.__func__, types.FunctionType):
        code, bound = function.__func__.__code__, 1
    elif isinstance(function, types.FunctionType):
        code, bound = function.__code__, 0
    else:
        return None
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount - bound


def _checked(wrapper: Wrapped, target: Any, signature: Any) -> str:
    name = type(wrapper).__name__
    if not isinstance(signature, str):
        raise ValueError(f'{name}: a signal is named by its signature as a string, like "clicked()"')
    if not isinstance(target, QtCore.QObject):
        raise ValueError(f"{name} is not a QObject and has no signals")
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    hidden = Api.of(target).signal(target, normalized)
    if hidden is None:
        raise ValueError(f"{name} has no signal {signature}")
    return hidden
