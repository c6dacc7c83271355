"""From what a search shows of a body to how uncertain the places of its endplates are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask
from VertebralGradingLib.morphometry.heights import measure

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

    def height_sd_mm(self, signs: Mapping[str, float | NDArray[np.float64]]) -> NDArray[np.float64]:
        """Standard deviations (3,) of the heights (mm): of two endplates, whose independent parts add up in squares."""
        variance = np.full(3, self.base_mm**2)
        for name, value in signs.items():
            variance += (self.per.get(name, 0.0) * np.asarray(value)) ** 2
        return np.asarray(np.sqrt(2.0 * variance), dtype=np.float64)

    def told(self, body: BodyMask) -> BodyMask:
        """A body with its uncertainty, and flagged where it is doubtful."""
        height_sd = self.height_sd_mm(body.signs)
        edge_sd = float(np.sqrt(np.mean(height_sd**2) / 2.0))
        flags = (DOUBTFUL,) if edge_sd > DOUBTFUL_MM else ()
        return replace(body, edge_sd_mm=edge_sd, height_sd_mm=height_sd, flags=flags)


def heights_apart(one: BodyMask, other: BodyMask) -> NDArray[np.float64]:
    """By how much two bodies differ in their heights (3,), anterior, middle, posterior (mm).

    Heights are compared and not whole endplates, because noise at single places of an endplate hardly moves them. All
    are :data:`LOST_MM` where one body cannot be measured.
    """
    try:
        return np.abs(measure(one).heights_mm - measure(other).heights_mm)
    except MaskError:
        return np.full(3, LOST_MM)


def with_the_others(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences (3,), each half for itself and half for the mean square of all, since one may be small by chance."""
    return np.asarray(np.sqrt((apart**2 + np.mean(apart**2)) / 2.0))


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
