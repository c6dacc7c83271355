"""A vertebra beside its pseudo-healthy self: heights of both over the cross-section, and the loss between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.healthivert.rhlv import THIRDS, RelativeHeightLoss, View
from VertebralGradingLib.morphometry.sheets import Sheets

Floats = NDArray[np.float64]
RIM_MM = 1.5
"""Columns so near the wall are not compared: there the height is that of the wall's slope."""


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
    def extent(self) -> tuple[slice, slice]:
        """Columns and depths that the body lies in."""
        rows, columns = (np.flatnonzero(np.isfinite(self.own_mm).any(axis)) for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def column_heights(sheets: Sheets) -> Floats:
    """(columns, depth) heights inside the rim, NaN elsewhere."""
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(sheets.valid) > RIM_MM
    return np.where(inside, sheets.top - sheets.bottom, np.nan)
