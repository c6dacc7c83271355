"""Pseudo-healthy heights without a network: the shape of the nearest sound neighbours, brought to this level's size.

What HealthiVert-GAN's network has to beat (sheet 2, section 13 f). Heights are taken over the whole cross-section, in
each body's own frame.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from VertebralGradingLib.errors import CentroidError, MaskError
from VertebralGradingLib.healthivert.pseudo_healthy import Floats, PseudoHealthy, column_heights
from VertebralGradingLib.morphometry.height_rows import UNTRUSTED
from VertebralGradingLib.morphometry.norms import expected_log_heights
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets
from VertebralGradingLib.study import MeasuredVertebra, Study


@dataclass(frozen=True, eq=False)
class Shape:
    """The shape of one body.

    Attributes:
        level: its name.
        position: its place on the axis of levels, or in the spine.
        known: whether the level is.
        sheets: its edges, in its own frame.
    """

    level: str
    position: float
    known: bool
    sheets: Sheets

    @classmethod
    def of(cls, item: MeasuredVertebra) -> Shape:
        """The shape of a measured vertebra."""
        assert item.measurement is not None  # only measured vertebrae come here
        vertebra = item.vertebra
        return cls(vertebra.level, vertebra.axis_position, vertebra.known, item.measurement.sheets)


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
    return interpolated(Shape.of(measured[place]), [Shape.of(measured[n]) for n in chosen])


def interpolated(target: Shape, examples: Sequence[Shape]) -> PseudoHealthy:
    """The pseudo-healthy heights of a body from those of sound ones; the nearer counts more.

    Args:
        target: the body.
        examples: one or more sound ones, of the same person.
    """
    u, v = _relative(target.sheets)
    own = column_heights(target.sheets)
    total, weights = np.zeros_like(own), 0.0
    for one in examples:
        weight = 1.0 / max(abs(one.position - target.position), 0.5)
        total += weight * _form(one, u, v)
        weights += weight
    healthy = np.where(np.isfinite(own), total / weights * _size(target), np.nan)
    return PseudoHealthy(target.level, own, healthy, tuple(one.level for one in examples))


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


def _form(shape: Shape, u: Floats, v: Floats) -> Floats:
    """Heights of a body by its level's usual size, at relative places; the rim's go on outside."""
    from scipy.ndimage import distance_transform_edt, map_coordinates

    heights = column_heights(shape.sheets)
    nearest = distance_transform_edt(np.isnan(heights), return_distances=False, return_indices=True)
    filled = heights[tuple(nearest)] / _size(shape)
    front, back, right, far_left = _extent(shape.sheets)
    ahead = front - (u + 1) / 2 * (front - back)
    left = right + (v + 1) / 2 * (far_left - right)
    at = np.stack([AHEAD_MM[0] - ahead, left - LEFT_MM[0]])  # samples of 1 mm
    out: Floats = map_coordinates(filled, at, order=1, mode="nearest")
    return out


def _size(shape: Shape) -> float:
    """The usual height of a level (mm); steps between levels alone matter."""
    return float(np.exp(expected_log_heights(np.array([shape.position]), shape.known)[0]).mean())
