"""A vertebra beside its pseudo-healthy self: heights of both over the cross-section, and the loss between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.healthivert.certainty import uncertain_columns
from VertebralGradingLib.healthivert.rhlv import THIRDS, RelativeHeightLoss, View
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets
from VertebralGradingLib.study import MeasuredVertebra

Floats = NDArray[np.float64]
RIM_MM = 1.5
"""Columns so near the wall are not compared: there the height is that of the wall's slope."""
ANTERIOR_RIM_MM = 4.0
"""Of the compared columns, those so near the front are the anterior rim."""


@dataclass(frozen=True, eq=False)
class PseudoHealthy:
    """Heights of a vertebra and of its pseudo-healthy self, from front to back and right to left (1 mm).

    Attributes:
        level: which.
        own_mm: (columns, depth) as measured, NaN outside of the body.
        healthy_mm: the same as expected; NaN also where nothing is expected.
        sources: levels whose shape was used; none where a network drew it.
    """

    level: str
    own_mm: Floats
    healthy_mm: Floats
    sources: tuple[str, ...] = ()

    @property
    def loss(self) -> Floats:
        """(columns, depth) share of the expected height that is missing; negative where there is more; NaN outside."""
        return (self.healthy_mm - self.own_mm) / self.healthy_mm

    @property
    def log_excess(self) -> float:
        """Log of expected by own height, on the whole."""
        return float(-np.log(max(1.0 - self.relative_height_loss().whole, 1e-6)))

    def lowered(self, log: float) -> PseudoHealthy:
        """The same with expected heights divided by the exponential of ``log``."""
        return replace(self, healthy_mm=self.healthy_mm * np.exp(-log))

    def relative_height_loss(self, view: View = "sagittal") -> RelativeHeightLoss:
        """Loss by thirds, in the middle of the body (the central 40 % across the view), as ``rhlv_v2``.

        NaN in a third where nothing can be compared.
        """
        own, healthy = (self.own_mm, self.healthy_mm) if view == "sagittal" else (self.own_mm.T, self.healthy_mm.T)
        across = np.flatnonzero(np.isfinite(own).any(0))
        middle, reach = int(across.mean()), int(np.ptp(across)) // 5
        own, healthy = (values[:, middle - reach : middle + reach + 1] for values in (own, healthy))
        along = np.flatnonzero(np.isfinite(own).any(1))
        known = np.isfinite(own) & np.isfinite(healthy)
        means = []
        for part in (along, *np.array_split(along, 3)):
            some = known[part]
            values = [float(heights[part][some].mean()) if some.any() else np.nan for heights in (own, healthy)]
            means.append(values)
        losses = [(expected - found) / expected for found, expected in means]
        thirds = dict(zip(THIRDS[view], losses[1:], strict=True))
        return RelativeHeightLoss(losses[0], thirds, min(m[0] for m in means[1:]), max(m[0] for m in means[1:]))

    @property
    def anterior_rim_loss(self) -> float:
        """Loss of the anterior rim, the front :data:`ANTERIOR_RIM_MM` in the middle of the body (the central 40 %).

        Medians of both heights, so that single columns whose edge was missed do not carry it; NaN where nothing can
        be compared.
        """
        across = np.flatnonzero(np.isfinite(self.own_mm).any(0))
        middle, reach = int(across.mean()), int(np.ptp(across)) // 5
        own, healthy = (values[:, middle - reach : middle + reach + 1] for values in (self.own_mm, self.healthy_mm))
        known = np.isfinite(own) & np.isfinite(healthy)
        if not known.any():
            return float("nan")
        front = np.where(known.any(0), known.argmax(0), len(own))  # the first compared column of each sheet
        rim = known & (np.arange(len(own))[:, None] < front + ANTERIOR_RIM_MM)
        return float(1.0 - np.median(own[rim]) / np.median(healthy[rim]))

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        """(columns, depth) where the loss cannot be told (:func:`certainty.uncertain_columns`)."""
        return uncertain_columns(self.own_mm, self.healthy_mm)

    @property
    def extent(self) -> tuple[slice, slice]:
        """Columns and depths that the body lies in."""
        rows, columns = (np.flatnonzero(np.isfinite(self.own_mm).any(axis)) for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def column_heights(sheets: Sheets) -> Floats:
    """(columns, depth) heights inside the rim, NaN elsewhere."""
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(sheets.valid) > RIM_MM
    return np.where(inside, sheets.top - sheets.bottom, np.nan)


def lost_height_map(seen: PseudoHealthy, item: MeasuredVertebra) -> dict[str, Any]:
    """What a map of lost height is drawn from, as :meth:`method.NeighbourGrading.explain` tells it.

    Args:
        seen: heights of a vertebra and of its pseudo-healthy self.
        item: the vertebra.
    """
    assert item.measurement is not None  # only measured vertebrae come here
    (columns, depths), sheets = seen.extent, item.measurement.sheets
    loss, cut = seen.relative_height_loss(), np.s_[columns, depths]
    ahead, left = np.meshgrid(AHEAD_MM[columns], LEFT_MM[depths], indexing="ij")
    middle = float(np.nanmedian(sheets.top) + np.nanmedian(sheets.bottom)) / 2
    right, anterior, up = sheets.axes.T
    corner = sheets.to_ras(float(ahead[0, 0]), float(left[0, 0]), middle)
    affine = np.eye(4)
    affine[:3] = np.column_stack([-anterior, -right, -up, corner])  # columns and depths are 1 mm apart
    places = corner + (ahead[0, 0] - ahead)[..., None] * -anterior + (left - left[0, 0])[..., None] * -right
    return {
        "loss": seen.loss[cut],
        "own_mm": seen.own_mm[cut],
        "expected_mm": seen.healthy_mm[cut],
        "thirds": loss.thirds,
        "sides": seen.relative_height_loss("coronal").thirds,
        "whole": loss.whole,
        "anterior_rim": seen.anterior_rim_loss,
        "uncertain": seen.uncertain[cut],
        "map_affine": affine,
        "endplate_ras_mm": places + (sheets.top[cut] - middle)[..., None] * up,
    }
