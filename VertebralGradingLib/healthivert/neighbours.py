"""Pseudo-healthy heights without a network: the shape of the nearest sound neighbours, brought to this level's size.

What HealthiVert-GAN's network has to beat (sheet 2, section 13 f). Heights are taken over the whole cross-section, in
each body's own frame.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError, MaskError
from VertebralGradingLib.healthivert.rhlv import THIRDS, RelativeHeightLoss, View
from VertebralGradingLib.height_rows import UNTRUSTED
from VertebralGradingLib.norms import expected_log_heights
from VertebralGradingLib.sheets import AHEAD_MM, LEFT_MM, Sheets
from VertebralGradingLib.study import MeasuredVertebra, Study

Floats = NDArray[np.float64]
_RIM_MM = 1.5
"""Columns so near the wall are not compared: there the height is that of the wall's slope."""


@dataclass(frozen=True, eq=False)
class PseudoHealthy:
    """Heights of a vertebra and of its pseudo-healthy self, from front to back and right to left (1 mm).

    Attributes:
        level: which.
        own_mm: (columns, depth) as measured, NaN outside of the body.
        healthy_mm: the same as expected.
        sources: levels whose shape was used.
    """

    level: str
    own_mm: Floats
    healthy_mm: Floats
    sources: tuple[str, ...]

    @property
    def loss(self) -> Floats:
        """(columns, depth) share of the expected height that is missing; negative where there is more; NaN outside."""
        return (self.healthy_mm - self.own_mm) / self.healthy_mm

    def relative_height_loss(self, view: View = "sagittal") -> RelativeHeightLoss:
        """Loss by thirds, in the middle of the body (the central 40 % across the view), as ``rhlv_v2``."""
        own, healthy = (self.own_mm, self.healthy_mm) if view == "sagittal" else (self.own_mm.T, self.healthy_mm.T)
        across = np.flatnonzero(np.isfinite(own).any(0))
        middle, reach = int(across.mean()), int(np.ptp(across)) // 5
        own, healthy = (values[:, middle - reach : middle + reach + 1] for values in (own, healthy))
        along = np.flatnonzero(np.isfinite(own).any(1))
        parts = [along, *np.array_split(along, 3)]
        means = [(float(np.nanmean(own[part])), float(np.nanmean(healthy[part]))) for part in parts]
        losses = [(expected - found) / expected for found, expected in means]
        thirds = dict(zip(THIRDS[view], losses[1:], strict=True))
        return RelativeHeightLoss(losses[0], thirds, min(m[0] for m in means[1:]), max(m[0] for m in means[1:]))


def from_neighbours(study: Study, level: str, broken: Collection[str] = ()) -> PseudoHealthy:
    """The pseudo-healthy heights of one vertebra from the nearest sound one above and below; the nearer counts more.

    Args:
        study: with measured vertebrae.
        level: which.
        broken: levels that are no examples, because they are fractured themselves.

    Raises:
        CentroidError: no such level, or it was not measured.
        MaskError: there is no sound neighbour.
    """
    measured = [item for item in study.vertebrae if item.measurement is not None]
    levels = [item.vertebra.level for item in measured]
    if level not in levels:
        raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
    place = levels.index(level)
    chain = measured[place].vertebra.chain
    sound = [
        n
        for n, item in enumerate(measured)
        if n != place and levels[n] not in broken and item.vertebra.chain == chain and not UNTRUSTED & set(item.flags)
    ]
    nearest = [max((n for n in sound if n < place), default=None), min((n for n in sound if n > place), default=None)]
    chosen = [n for n in nearest if n is not None]
    if not chosen:
        raise MaskError(f"There is no sound vertebra beside {level}.", "Give more centroids, or a network's model.")
    target = measured[place]
    u, v = _relative(_sheets(target))
    own = _heights(target)
    total, weights = np.zeros_like(own), 0.0
    for n in chosen:
        weight = 1.0 / max(abs(measured[n].vertebra.axis_position - target.vertebra.axis_position), 0.5)
        total += weight * _shape(measured[n], u, v)
        weights += weight
    healthy = np.where(np.isfinite(own), total / weights * _size(target), np.nan)
    return PseudoHealthy(level, own, healthy, tuple(levels[n] for n in chosen))


def _sheets(item: MeasuredVertebra) -> Sheets:
    assert item.measurement is not None  # only measured vertebrae come here
    return item.measurement.sheets


def _heights(item: MeasuredVertebra) -> Floats:
    """(columns, depth) heights inside the rim, NaN elsewhere."""
    from scipy.ndimage import distance_transform_edt

    sheets = _sheets(item)
    inside = distance_transform_edt(sheets.valid) > _RIM_MM
    return np.where(inside, sheets.top - sheets.bottom, np.nan)


def _relative(sheets: Sheets) -> tuple[Floats, Floats]:
    """(columns, depth) places from -1 at the front to 1 at the back, and from -1 at the right to 1 at the left."""
    ahead, left = np.meshgrid(AHEAD_MM, LEFT_MM, indexing="ij")
    front, back, right, far_left = _extent(sheets)
    return (2 * (front - ahead) / (front - back) - 1), (2 * (left - right) / (far_left - right) - 1)


def _extent(sheets: Sheets) -> tuple[float, float, float, float]:
    """Front, back, right and left of the footprint (mm)."""
    columns, depths = np.flatnonzero(sheets.valid.any(1)), np.flatnonzero(sheets.valid.any(0))
    return (
        float(AHEAD_MM[columns[0]]),
        float(AHEAD_MM[columns[-1]]),
        float(LEFT_MM[depths[0]]),
        float(LEFT_MM[depths[-1]]),
    )


def _shape(item: MeasuredVertebra, u: Floats, v: Floats) -> Floats:
    """Heights of a body by its level's usual size, at relative places; the rim's go on outside."""
    from scipy.ndimage import distance_transform_edt, map_coordinates

    heights = _heights(item)
    nearest = distance_transform_edt(np.isnan(heights), return_distances=False, return_indices=True)
    filled = heights[tuple(nearest)] / _size(item)
    front, back, right, far_left = _extent(_sheets(item))
    ahead = front - (u + 1) / 2 * (front - back)
    left = right + (v + 1) / 2 * (far_left - right)
    at = np.stack([AHEAD_MM[0] - ahead, left - LEFT_MM[0]])  # samples of 1 mm
    out: Floats = map_coordinates(filled, at, order=1, mode="nearest")
    return out


def _size(item: MeasuredVertebra) -> float:
    """The usual height of a level (mm); steps between levels alone matter."""
    vertebra = item.vertebra
    return float(np.exp(expected_log_heights(np.array([vertebra.axis_position]), vertebra.known)[0]).mean())
