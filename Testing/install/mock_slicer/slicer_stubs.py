"""Just enough of Slicer's Python names to load the module file where there is no Slicer.

Every name that is asked of ``slicer``, ``qt`` or ``ctk`` exists and does nothing. That is no place to test panels or
scenes (``Testing/host`` is); it serves to load the module's file and to call its logic on files.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_NAMES = ("slicer", "qt", "ctk")


class _Stub:
    """Base class, widget, node or decorator: whatever the name stands for."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        if len(arguments) == 1 and not keywords and isinstance(arguments[0], type):
            return arguments[0]  # used as a decorator of a class
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass


class _StubModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (_Stub,), {})
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in _NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StubModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "slicer.i18n":
            vars(module).update(tr=lambda text: text, translate=lambda context, text: text)


def load_module(folder: Path) -> ModuleType:
    """Load ``VertebralGrading.py`` as Slicer does: its folder goes on ``sys.path``, the file is run as a module."""
    logging.getLogger().setLevel(logging.INFO)  # as in Slicer
    sys.meta_path.insert(0, _Finder())
    sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location("VertebralGrading", folder / "VertebralGrading.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
