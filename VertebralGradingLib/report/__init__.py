"""Reports of one study: JSON, CSV, a self-contained HTML page and an overview picture.

``write_report`` is resolved on first use, so that importing this package loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {"write_report": "write", "sentence": "sentences", "summary_sentence": "sentences"}

__all__ = ["sentence", "summary_sentence", "write_report"]


def __getattr__(name: str) -> Any:
    """Import the module behind a public name on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"VertebralGradingLib.report.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'VertebralGradingLib.report' has no attribute {name!r}")
