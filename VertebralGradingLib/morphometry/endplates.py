"""Shape of both endplates: how deep each lies below its own rim, and the marks of what is taken for a fracture.

Depth is measured on a body's edges in its own frame (:mod:`sheets`), below the plane of the endplate's own rim, so that
voxel axes, gantry tilt and the wedge of the body do not enter. A wedge whose endplate stays a plane is therefore not
depressed, however low its front.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.body import STEP_MM
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets, core_region, rim_depth

CENTRAL = 0.7
"""Share of the diameter that is the central endplate, inside its rim (Wang et al., Eur Spine J 2012;21:2316)."""
_CENTRAL_PERCENTILE = 90.0
"""Of the depths in the central endplate: one deep sample is no depression, and a flat part hides none."""
_MIN_SAMPLES = 60
_POSTERIOR = (0.15, 0.55)
"""Where a Cupid's bow is looked for, shares of the depth in front of the back wall (behind the middle)."""
_ANTERIOR = (0.55, 0.85)
_PARAMEDIAN = (0.20, 0.75)
"""Where its two dips lie, shares of the half width to either side of the middle (mean over the posterior part)."""
_MIDLINE = 0.12
_CORNER, _BEHIND_CORNER = 0.15, (0.30, 0.75)
"""The front of the endplate, and what lies behind it and says how high it would be (shares of its depth)."""


@dataclass(frozen=True)
class Endplate:
    """One endplate.

    Attributes:
        depth_mm: depth of its central part below the plane of its rim (90th percentile over the inner 70 % of its
            diameters; mm).
        unevenness_mm: robust standard deviation of the endplate about a smooth bowl (mm).
        paired_mm: how much deeper the shallower of two paramedian dips in its posterior part is than the midline
            between them (mm); 0 where there are none, or where the endplate is deeper in front of them.
        corner_mm: how far its anterior corner lies below the plane of the endplate behind it, beyond what the slope
            there explains (mm).
    """

    depth_mm: float
    unevenness_mm: float
    paired_mm: float
    corner_mm: float


@dataclass(frozen=True)
class Endplates:
    """Both endplates of a body; see :class:`Endplate`."""

    superior: Endplate
    inferior: Endplate

    def named(self) -> dict[str, dict[str, float]]:
        """By name, as quantities of the evidence."""
        return asdict(self)


def measure_endplates(sheets: Sheets) -> Endplates | None:
    """Measure both endplates.

    Args:
        sheets: edges in the body's own frame, with what focal defects they have.

    Returns:
        None when the body's cross-section is too small to tell rim and centre apart.
    """
    core = core_region(sheets)
    if core.sum() < _MIN_SAMPLES:
        return None
    place = _Place.of(core)
    return Endplates(_endplate(sheets.top, 1.0, core, place), _endplate(sheets.bottom, -1.0, core, place))


@dataclass(frozen=True, eq=False)
class _Place:
    """Where each sample lies on the endplate: (columns, depth) arrays.

    Attributes:
        ahead: 0 at the back, 1 at the front.
        side: -1 at the right, 1 at the left edge.
    """

    ahead: NDArray[np.float64]
    side: NDArray[np.float64]

    @staticmethod
    def of(core: NDArray[np.bool_]) -> _Place:
        rows, columns = core.any(1), core.any(0)
        front, back = AHEAD_MM[rows].max() + STEP_MM[1] / 2, AHEAD_MM[rows].min() - STEP_MM[1] / 2
        right, left = LEFT_MM[columns].min() - STEP_MM[2] / 2, LEFT_MM[columns].max() + STEP_MM[2] / 2
        ahead, side = np.meshgrid(
            (AHEAD_MM - back) / (front - back), 2 * (LEFT_MM - right) / (left - right) - 1, indexing="ij"
        )
        return _Place(ahead, side)

    @property
    def radius(self) -> NDArray[np.float64]:
        """0 in the middle, 1 on the ellipse through front, back and sides."""
        return np.asarray(np.hypot(2 * self.ahead - 1, self.side), dtype=np.float64)

    def within(self, ahead: tuple[float, float], side: tuple[float, float]) -> NDArray[np.bool_]:
        """Samples in a part of the depth and of the width."""
        along = (self.ahead >= ahead[0]) & (self.ahead <= ahead[1])
        return np.asarray(along & (self.side >= side[0]) & (self.side <= side[1]))


def _endplate(sheet: NDArray[np.float64], sign: float, core: NDArray[np.bool_], place: _Place) -> Endplate:
    depth = rim_depth(sheet, sign, core)
    central = core & (place.radius <= CENTRAL)
    deep = float(np.percentile(depth[central], _CENTRAL_PERCENTILE)) if central.any() else 0.0
    return Endplate(deep, _unevenness(depth, core, place), _paired(depth, core, place), _corner(depth, core, place))


def _unevenness(depth: NDArray[np.float64], core: NDArray[np.bool_], place: _Place) -> float:
    """Spread about a bowl: a surface of second order and its dish in the radius."""
    ahead, side, radius = (2 * place.ahead - 1)[core], place.side[core], place.radius[core]
    columns = [np.ones(len(ahead)), ahead, side, ahead**2, side**2, ahead * side, radius**4, ahead**3]
    design = np.stack(columns, axis=1)
    rest = depth[core] - design @ np.linalg.lstsq(design, depth[core], rcond=None)[0]
    return float(1.4826 * np.median(np.abs(rest - np.median(rest))))


def _paired(depth: NDArray[np.float64], core: NDArray[np.bool_], place: _Place) -> float:
    def mean(ahead: tuple[float, float], low: float, high: float) -> float:
        part = core & place.within(ahead, (low, high))
        return float(depth[part].mean()) if part.sum() >= 4 else 0.0

    def deepest(side: int) -> tuple[float, float]:
        """The deepest strip of one side, in the posterior and in the anterior part of the endplate."""
        strips = np.linspace(*_PARAMEDIAN, 6)
        ends = [sorted((side * a, side * b)) for a, b in pairwise(strips)]
        behind = [mean(_POSTERIOR, low, high) for low, high in ends]
        best = int(np.argmax(behind))
        return behind[best], mean(_ANTERIOR, *ends[best])

    (left, left_front), (right, right_front) = deepest(1), deepest(-1)
    if left <= left_front or right <= right_front:
        return 0.0
    return max(min(left, right) - mean(_POSTERIOR, -_MIDLINE, _MIDLINE), 0.0)


def _corner(depth: NDArray[np.float64], core: NDArray[np.bool_], place: _Place) -> float:
    """Depth of the front beyond a straight continuation of the profile behind it, over the middle half of the width."""
    slab = core & (np.abs(place.side) <= 0.5)
    behind = slab & (place.ahead >= _BEHIND_CORNER[0]) & (place.ahead <= _BEHIND_CORNER[1])
    front = slab & (place.ahead >= 1.0 - _CORNER)
    if behind.sum() < 12 or front.sum() < 4:
        return 0.0
    center = float(place.ahead[behind].mean())
    slope = max(float(np.polyfit(place.ahead[behind], depth[behind], 1)[0]), 0.0)  # a bowl rises again to its rim
    explained = float(depth[behind].mean()) + slope * (place.ahead[front] - center)
    return float(np.median(depth[front] - explained))
