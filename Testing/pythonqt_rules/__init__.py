"""Reads the Slicer-facing files without running them and says where PythonQt would refuse them.

``check(sources, uis, names)`` is the one entry. What the rules are and why: ``rules``. Only what can be told from the
text is judged; where the class of a connect's sender cannot be told, that is reported, and an annotation helps.
"""

from __future__ import annotations

from .rules import RULES, Violation, check

__all__ = ["RULES", "Violation", "check"]
