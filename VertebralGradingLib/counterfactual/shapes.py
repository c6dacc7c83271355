"""Endplates as they are to be: where the body's upper and lower surface go for given heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.plates import Plates, dish_part, rim_part, spread
from VertebralGradingLib.counterfactual.request import Health

Floats = NDArray[np.float64]

UPPER_SHARE = 0.75
"""Of a new dish, when neither endplate tells by its own concavity: upper endplates break more often. Assumed."""
_TELLS_MM = 1.0
_SMOOTH_MM = 4.0
_REPAIR_MM = 2.0


@dataclass(frozen=True, eq=False)
class Shaper:
    """How the endplates of one vertebra move.

    Attributes:
        plates: as they are.
        anterior, posterior, dish: (ahead, left) how much a mm at each place moves them.
        upper: share of the dish that the upper endplate takes, the lower one the rest.
        repair_top, repair_bottom: (ahead, left) mm from the endplates as they are to healthy ones, upwards.
        healthy_change_mm: (3,) change of anterior, middle and posterior height that the repair stands for.
    """

    plates: Plates
    anterior: Floats
    posterior: Floats
    dish: Floats
    upper: float
    repair_top: Floats
    repair_bottom: Floats
    healthy_change_mm: Floats

    def moved(self, change_mm: Floats) -> tuple[Floats, Floats]:
        """Movement (ahead, left) of the upper and of the lower endplate, mm upwards, for a change of heights (3,).

        Of a change that goes towards health the repair is done in part, so that pits and steps close; the rest, and all
        of what goes away from it, is a smooth change.
        """
        part = self._repaired(change_mm)
        rest = change_mm - part * self.healthy_change_mm
        rim = self.anterior * rest[0] + self.posterior * rest[2]
        dish = self.dish * (rest[1] - (rest[0] + rest[2]) / 2.0)
        top = part * self.repair_top + rim + self.upper * dish
        bottom = part * self.repair_bottom - (1.0 - self.upper) * dish
        return top, bottom

    def _repaired(self, change_mm: Floats) -> float:
        """Which part of the way to health a change is."""
        whole = float(self.healthy_change_mm @ self.healthy_change_mm)
        return 0.0 if whole < 1e-9 else float(np.clip(change_mm @ self.healthy_change_mm / whole, 0.0, 1.0))


def shaper_of(plates: Plates, health: Health) -> Shaper:
    """How the endplates of a vertebra move; towards health, each gives back what its own concavity says it lost."""
    p = plates
    anterior, posterior = rim_part(p.t)
    dish = dish_part(p.t, p.q)
    change = health.healthy_mm - health.heights_mm
    lacking = float(change[1] - (change[0] + change[2]) / 2.0)
    wanted = float((health.healthy_mm[0] + health.healthy_mm[2]) / 2.0 - health.healthy_mm[1])
    excess = [max(depth - wanted / 2.0, 0.0) for depth in (_concavity(p, p.top, -1.0), _concavity(p, p.bottom, 1.0))]
    upper = UPPER_SHARE
    if sum(excess) > _TELLS_MM and lacking > 0.0:
        upper = excess[0] / sum(excess)
    top = anterior * change[0] + posterior * change[2] + upper * dish * lacking
    bottom = -(1.0 - upper) * dish * lacking
    if change.max() > 0.0:
        top = top + _unevenness(p, p.top + top, change)
        bottom = bottom + _unevenness(p, p.bottom + bottom, change)
    return Shaper(p, anterior, posterior, dish, upper, top, bottom, change)


def _concavity(p: Plates, sheet: Floats, inward: float) -> float:
    """How far the middle of an endplate lies inside of the line through its front and back (mm)."""
    near = p.inside & (np.abs(p.q) < 0.2)
    ends = [np.median(sheet[near & (np.abs(p.t - side) < 0.15)]) for side in (-0.8, 0.8)]
    middle = np.median(sheet[near & (np.abs(p.t) < 0.2)])
    return float(inward * (middle - np.mean(ends)))


def _unevenness(p: Plates, sheet: Floats, change: Floats) -> Floats:
    """What evens a repaired endplate (mm upwards): pits and steps that a smooth change leaves.

    Only as much of it as the vertebra has lost: a sound one keeps its own endplates.
    """
    ahead, left = p.t[p.core], p.q[p.core]
    design = np.stack([np.ones(len(ahead)), ahead, left, ahead**2, left**2, ahead * left, ahead**3], -1)
    weight = np.ones(len(ahead))
    height = sheet[p.core]
    fit = np.zeros(design.shape[1])
    for _ in range(8):
        rows = design * weight[:, None]
        fit = np.linalg.lstsq(rows.T @ design, rows.T @ height, rcond=None)[0]
        rest = height - design @ fit
        weight = 1.0 / (1.0 + (rest / (1.5 * (1.4826 * np.median(np.abs(rest)) + 0.2))) ** 2)
    out = np.zeros_like(sheet)
    out[p.core] = np.clip(change.max() / _REPAIR_MM, 0.0, 1.0) * (design @ fit - height)
    return spread(out, p.core, 1.0)
