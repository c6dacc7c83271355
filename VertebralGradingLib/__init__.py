"""VertebralGrading: Genant grading of vertebral bodies on CT, with intervals and visible evidence.

Importing the package loads nothing heavy (no numpy, scipy, torch, vtk): the names below are resolved on first use
(PEP 562). Research software, not for clinical use.
"""

from __future__ import annotations

import importlib
from typing import Any

from VertebralGradingLib._version import __version__

_LAZY = {
    "VertebralGradingError": "errors",
    "InputError": "errors",
    "CentroidError": "errors",
    "MaskError": "errors",
    "Volume": "image.volume",
    "read_volume": "image.io",
    "Spine": "spine.spine",
    "build_spine": "spine.spine",
    "read_points": "spine.points",
    "Finding": "findings",
    "Report": "findings",
    "grade": "pipeline",
    "explain": "pipeline",
    "grade_files": "files",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    """Import the module behind a public name on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"VertebralGradingLib.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'VertebralGradingLib' has no attribute {name!r}")
