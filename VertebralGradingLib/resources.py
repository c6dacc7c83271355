"""Where the files under ``Resources`` are: the only place that knows."""

from __future__ import annotations

from pathlib import Path

from VertebralGradingLib.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_CANDIDATES = (_PACKAGE.parent / "Resources", _PACKAGE / "_resources")


def resource(name: str) -> Path:
    """Path of a file under ``Resources``, in the source tree, in Slicer's module folder, or in the wheel.

    Raises:
        InputError: the installation is incomplete.
    """
    for folder in _CANDIDATES:
        if (folder / name).exists():
            return folder / name
    raise InputError(f"The program's file {name} is missing.", "Reinstall VertebralGrading.")
