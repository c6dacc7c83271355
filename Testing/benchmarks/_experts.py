"""Expert six-point heights of 100 chest CTs (folder ``genant-heights`` among the real data): a check, never shipped."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
from _common import DATA
from numpy.typing import NDArray

from VertebralGradingLib.spine.anatomy import axis_position

_TABLE = DATA / "genant-heights" / "heights.csv"
_SD_MM = 0.45
"""Of a mean of two to four experts' heights; the table does not say."""


@dataclass(frozen=True, eq=False)
class ExpertCase:
    """The thoracic and lumbar vertebrae of one CT, cranial to caudal.

    Attributes:
        levels: their names.
        positions: (n,) on the axis of levels.
        heights_mm: (n, 3) anterior, middle, posterior.
        sd_mm: (n, 3) their uncertainty.
    """

    levels: tuple[str, ...]
    positions: NDArray[np.float64]
    heights_mm: NDArray[np.float64]
    sd_mm: NDArray[np.float64]


def expert_cases() -> list[ExpertCase]:
    """All of them; none where the table is not there."""
    lines: dict[str, list[dict[str, str]]] = {}
    if not _TABLE.is_file():
        return []
    with _TABLE.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["level"][0] in "TL":
                lines.setdefault(line["case"], []).append(line)
    cases = []
    for rows in lines.values():
        levels = tuple(row["level"] for row in rows)
        heights = np.array([[float(row[f"{name}_est_mm"]) for name in ("ant", "mid", "post")] for row in rows])
        positions = np.array([axis_position(level) for level in levels])
        cases.append(ExpertCase(levels, positions, heights, np.full(heights.shape, _SD_MM)))
    return cases
