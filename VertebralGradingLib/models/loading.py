"""From an installed model to the system that uses it: the errors on the way, and what is kept from call to call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.models.registry import Model, find_model

System = TypeVar("System")


class Kept(Generic[System]):
    """The one system of a method that is kept, until another version of its model is installed.

    Args:
        name: of the model.
        imported: imports what needs PyTorch, and returns what makes the system of a model.
        message, hint: told where there is no PyTorch.
    """

    def __init__(self, name: str, imported: Callable[[], Callable[[Model], System]], message: str, hint: str) -> None:
        self._name, self._imported = name, imported
        self._message, self._hint = message, hint
        self._systems: dict[str, System] = {}

    def get(self) -> tuple[System, str]:
        """The installed system and its version.

        Raises:
            MethodError: there is no model, or no PyTorch.
        """
        model = find_model(self._name)
        key = f"{model.folder} {model.checksum}"
        if key not in self._systems:
            with importing(self._message, self._hint):
                load = self._imported()
            system = load(model)
            self._systems.clear()
            self._systems[key] = system
        return self._systems[key], model.version

    def clear(self) -> None:
        """Let go of it."""
        self._systems.clear()


@contextlib.contextmanager
def importing(message: str, hint: str) -> Iterator[None]:
    """Turn a missing or broken PyTorch into a typed error, while it is imported."""
    try:
        yield
    except (ImportError, OSError) as error:  # the latter where a library of it is broken
        raise MethodError(message, hint) from error


@contextlib.contextmanager
def fitting(model: Model) -> Iterator[None]:
    """Turn what a card or its weights lack into a typed error, while networks are made of them."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MethodError(f"The model {model.name} does not fit this program.", "Import another version.") from error
