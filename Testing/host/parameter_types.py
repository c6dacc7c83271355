"""The typed fields of a parameter node and how each is stored as text on a vtkMRMLScriptedModuleNode."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from dataclasses import dataclass
from typing import Any

import slicer

NONE_SUFFIX = ".isNone"


@dataclass(frozen=True)
class Default:
    """Annotation: the value of a field that has none yet."""

    value: Any


@dataclass(frozen=True)
class WithinRange:
    """Annotation: bounds of a number, both included."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if value is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within {self.minimum} and {self.maximum}")


@dataclass(frozen=True)
class Minimum:
    """Annotation: lower bound of a number."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value is not None and value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


@dataclass(frozen=True)
class Maximum:
    """Annotation: upper bound of a number."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value is not None and value > self.maximum:
            raise ValueError(f"{value} is more than {self.maximum}")


class Choice:
    """Annotation: the values a field may have."""

    def __init__(self, choices: typing.Sequence[Any]) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        if value is not None and value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass(frozen=True)
class Decimals:
    """Annotation: decimals that a bound widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Annotation: step of a bound widget."""

    value: float


class Field:
    """One typed field.

    Args:
        name: Its name; also the name of the parameter, or of the node reference.
        hint: Its type, perhaps ``Annotated`` or ``Optional``.
        given: Its default from the class body, or None.

    Raises:
        TypeError: a type that the host does not store (Slicer knows more: lists, dicts, parameter packs).
    """

    def __init__(self, name: str, hint: Any, given: Default | None) -> None:
        self.name, self.hint = name, hint
        self.annotations = list(getattr(hint, "__metadata__", ()))
        plain = typing.get_args(hint)[0] if self.annotations else hint
        self.type, self.optional = _without_none(plain)
        if not _known(self.type):
            raise TypeError(f"{name}: the test host stores no {self.type}")
        self.is_node = issubclass(self.type, slicer.vtkMRMLNode)
        self.default = self._first_default(given)
        if self.default is not None or not (self.optional or self.is_node):
            self.check(self.default)

    def annotation(self, kind: type) -> Any:
        """The field's annotation of a kind, or None."""
        return next((item for item in self.annotations if isinstance(item, kind)), None)

    def check(self, value: Any) -> None:
        """Raise ValueError or TypeError unless the value fits."""
        if value is None:
            if not (self.optional or self.is_node):
                raise ValueError(f"{self.name} cannot be None")
            return
        allowed = (int, float) if self.type is float else self.type
        if not isinstance(value, allowed) or (isinstance(value, bool) and self.type is not bool):
            raise TypeError(f"{self.name} takes {self.type.__name__}, not {type(value).__name__}")
        for item in self.annotations:
            if hasattr(item, "validate"):
                item.validate(value)

    def is_in(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        """Check and store."""
        self.check(value)
        if self.is_node:
            if value is not None and value.GetScene() is None:
                raise ValueError(f"{self.name}: the node is not in a scene")
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            return
        if self.optional:
            node.SetParameter(self.name + NONE_SUFFIX, str(value is None))
        node.SetParameter(self.name, "" if value is None else self._text(value))

    def read(self, node: Any) -> Any:
        """The stored value."""
        if self.is_node:
            return node.GetNodeReference(self.name)
        if self.optional and node.GetParameter(self.name + NONE_SUFFIX) == "True":
            return None
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        if issubclass(self.type, enum.Enum):
            return self.type[text]
        return self.type(text)

    def _text(self, value: Any) -> str:
        if isinstance(value, enum.Enum):
            return value.name
        return str(value)

    def _first_default(self, given: Default | None) -> Any:
        chosen = given or self.annotation(Default)
        if chosen is not None:
            return chosen.value
        if self.optional or self.is_node:
            return None
        choice = self.annotation(Choice)
        if choice is not None:
            return choice.choices[0]
        if issubclass(self.type, enum.Enum):
            return next(iter(self.type))
        within = self.annotation(WithinRange)
        if within is not None:
            return min(max(self.type(0), within.minimum), within.maximum)
        return self.type()


def _without_none(plain: Any) -> tuple[Any, bool]:
    """Split Optional[X] into X and True."""
    if typing.get_origin(plain) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(plain) if part is not type(None)]
        if len(parts) == 1:
            return parts[0], True
    return plain, False


def _known(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    return kind in (bool, int, float, str, pathlib.Path) or issubclass(kind, enum.Enum | slicer.vtkMRMLNode)
