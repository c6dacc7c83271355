"""The colour of each state, from ``Resources/colors/grades.json``, a state as a caption, and the colours of numbers.

Two scales, the same in every picture, table and view, so that pictures of different vertebrae can be compared: lost
height from white to vermilion (:func:`colors_of_loss`), movement from purple (down) over white to green (up)
(:func:`colors_of_movement`). Vermilion is that of Okabe and Ito's colours, purple and green are the ends of
ColorBrewer's PRGn: both scales can be told apart with every kind of colour blindness, and in grey loss becomes darker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.findings.states import NOT_ASSESSED, state_of_grade
from VertebralGradingLib.resources import resource


@dataclass(frozen=True)
class StateColor:
    """How one state is shown.

    Attributes:
        state: one of :data:`states.STATES`; also the word beside the colour.
        color: "#rrggbb".
    """

    state: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


@cache
def state_colors() -> dict[str, StateColor]:
    """Every state's colour, in the table's order."""
    table = json.loads(resource("colors/grades.json").read_text(encoding="utf-8"))["states"]
    return {state: StateColor(state, color) for state, color in table.items()}


def shown_colors(findings: Iterable[Finding]) -> list[StateColor]:
    """The colours of all grades, and of the other states that occur: the key of a picture."""
    shown = {color_of(finding).state for finding in findings} | {state_of_grade(grade) for grade in range(4)}
    return [color for state, color in state_colors().items() if state in shown]


def color_of_state(state: str) -> StateColor:
    """The colour of a state; that of "not assessed" for a word that is none."""
    return state_colors().get(state, state_colors()[NOT_ASSESSED])


def color_of_grade(grade: int | None) -> StateColor:
    """The colour of a grade; that of "not assessed" for None."""
    return color_of_state(NOT_ASSESSED if grade is None else state_of_grade(grade))


def color_of(finding: Finding) -> StateColor:
    """The colour of a finding's final state; an excluded one has that of "not assessed"."""
    return color_of_state(NOT_ASSESSED if finding.excluded else finding.final_state)


def caption(finding: Finding) -> str:
    """The final state of a finding, such as "grade 2", "borderline", "grade 1 (reader)" or "excluded"."""
    if finding.excluded:
        return "excluded"
    return f"{finding.final_state} (reader)" if finding.changed_by_reader else finding.final_state


TOP_LOSS = 0.5
"""Loss at the upper end of the colours."""
TOP_MOVEMENT_MM = 10.0
"""Movement at either end of the colours."""
OUTSIDE = (255, 255, 255)
"""Beside the body; its outline is drawn."""
UNCERTAIN = (150, 150, 150)
"""Where a loss cannot be told."""
_VERMILION = (213, 94, 0)
_DOWN, _UP = (118, 42, 131), (27, 120, 55)


def colors_of_loss(loss: NDArray[Any], uncertain: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Lost height as colours: white at none, vermilion from :data:`TOP_LOSS` on.

    Args:
        loss: (...) fraction; below 0 shown as 0, NaN as :data:`OUTSIDE`.
        uncertain: (...) where it cannot be told, shown as :data:`UNCERTAIN`.

    Returns:
        (..., 3)
    """
    loss = np.asarray(loss, dtype=float)
    share = np.clip(np.nan_to_num(loss, nan=0.0) / TOP_LOSS, 0.0, 1.0)[..., None]
    rgb = 255.0 + share * (np.array(_VERMILION) - 255.0)
    rgb[np.isnan(loss)] = OUTSIDE
    if uncertain is not None:
        rgb[uncertain & np.isfinite(loss)] = UNCERTAIN
    return np.asarray(np.rint(rgb).astype(np.uint8))


def colors_of_movement(mm: NDArray[Any]) -> NDArray[np.uint8]:
    """Movement (...) upwards in mm as colours (..., 3): purple down, white none, green up; NaN as none."""
    share = np.clip(np.nan_to_num(np.asarray(mm, dtype=float)) / TOP_MOVEMENT_MM, -1.0, 1.0)[..., None]
    end = np.where(share < 0.0, np.array(_DOWN), np.array(_UP))
    return np.asarray(np.rint(255.0 + np.abs(share) * (end - 255.0)).astype(np.uint8))
