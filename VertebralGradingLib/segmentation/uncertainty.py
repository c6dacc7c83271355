"""From what a search shows of a body to how uncertain the places of its endplates are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask
from VertebralGradingLib.morphometry.sheets import core_region, edge_sheets

LOST_MM = 3.0
"""What there is nothing to see of is as uncertain as this."""
DOUBTFUL_MM = 0.8
"""From this standard deviation of an endplate's place on the patient's other bodies are not compared with this one: the
height is then known to 1.1 mm, as much as healthy bodies scatter around their patient's curve."""
DOUBTFUL = "low_confidence_mask"
"""Flag of such a body."""
_BASE, _PER = "base_mm", "per_"


@dataclass(frozen=True)
class Calibration:
    """From signs (:attr:`BodyMask.signs`) to the standard deviation of an endplate's place (mm), fitted on phantoms.

    ``Testing/benchmarks/network_calibration.py`` fits both searches.

    Attributes:
        base_mm: what is left where nothing is uncertain.
        per: for each unit of a sign, by its name; a sign that is not named here says nothing.
    """

    base_mm: float = 0.3
    per: Mapping[str, float] = field(
        default_factory=lambda: {"spread": 1.0, "softness": 0.5, "slices": 0.1, "outside": 1.0}
    )

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Calibration:
        """From ``base_mm`` and ``per_`` with the name of a sign.

        Where no sign is told all are as by default, else those that no phantom shows, and the distance of slices.

        Raises:
            ValueError: another name, or no number.
        """
        usual = cls()
        unknown = [name for name in numbers if name != _BASE and not name.startswith(_PER)]
        if unknown:
            raise ValueError(f"no part of a calibration: {', '.join(unknown)}")
        told = {name.removeprefix(_PER): float(value) for name, value in numbers.items() if name != _BASE}
        kept = {name: value for name, value in usual.per.items() if not told or name in ("slices", "outside")}
        return cls(float(numbers.get(_BASE, usual.base_mm)), {**kept, **told})

    def edge_sd_mm(self, signs: Mapping[str, float]) -> float:
        """Standard deviation of an endplate's place (mm): independent parts add up in squares."""
        parts = [self.base_mm, *(self.per.get(name, 0.0) * value for name, value in signs.items())]
        return float(np.sqrt(np.square(parts).sum()))

    def told(self, body: BodyMask) -> BodyMask:
        """A body with its uncertainty, and flagged where it is doubtful."""
        edge_sd = self.edge_sd_mm(body.signs)
        return replace(body, edge_sd_mm=edge_sd, flags=(DOUBTFUL,) if edge_sd > DOUBTFUL_MM else ())


def endplates_apart(one: BodyMask, other: BodyMask) -> float:
    """How far the endplates of two bodies on the same samples lie apart (mm): root mean square over the cross-section.

    It is :data:`LOST_MM` where nowhere both have them.
    """
    mine, theirs = edge_sheets(one), edge_sheets(other)
    core = core_region(theirs)
    apart: NDArray[np.float64] = np.concatenate([(mine.top - theirs.top)[core], (mine.bottom - theirs.bottom)[core]])
    known = np.isfinite(apart)
    return float(np.sqrt(np.mean(apart[known] ** 2))) if known.any() else LOST_MM


def outside_mm(body: BodyMask, point: NDArray[np.float64]) -> float:
    """How far a point (RAS mm) lies from a body's nearest sample, 0 within half a diagonal of one.

    A body that does not hold its own centroid may be that of a neighbour. :data:`LOST_MM` where nothing is filled.
    """
    box = body.box()
    filled = np.argwhere(body.occupancy[box] >= 0.5) + [side.start for side in box]
    if not len(filled):
        return LOST_MM
    nearest = float(np.linalg.norm(body.grid.to_ras(filled.astype(np.float64)) - point, axis=1).min())
    return max(nearest - float(np.linalg.norm(STEP_MM)) / 2.0, 0.0)
