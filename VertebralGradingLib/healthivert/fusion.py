"""Sagittal and coronal slices of one pseudo-healthy vertebra made one body. numpy and scipy, no network.

Within a view, every slice is stretched to the median height of five (sheet 2, section 7); then the edges of both views
are averaged, place by place. Bringing both views to one height first, as the sheet recommends, would raise the front of
a wedge: a sagittal slice is as tall as its back, a coronal one only as tall as the vertebra is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from VertebralGradingLib.healthivert.rhlv import View

Floats = NDArray[np.float64]
MEDIAN = 5
"""Slices that a height is the median of."""
_INSIDE = 0.5
HALF_MM = 0.501
"""So far beyond its outermost slices a view still counts."""


@dataclass(frozen=True, eq=False)
class DrawnStack:
    """What a view's generators made of its slices; rows are those of the slices, 1 mm each.

    Attributes:
        view: which.
        offsets_mm: (N,) where the slices lie, equally spaced.
        first, last: (N,) rows of the body as it is; ``last`` belongs to it.
        height: (N,) rows that it would have.
        fine: (N, S, S) CT in -1..1 with the gap drawn; the gap lies around the body as it is.
        body: (N, S, S) 0..1, the pseudo-healthy body in the gap.
        context: (N, S, S) CT in -1..1, as it is but for neighbours that were made pseudo-healthy.
        own: (N, S, S) 0..1, the body as it is.
        cut: whether the height is a prediction, at which the body ends.
    """

    view: View
    offsets_mm: Floats
    first: Floats
    last: Floats
    height: Floats
    fine: NDArray[np.float32]
    body: NDArray[np.float32]
    context: NDArray[np.float32]
    own: NDArray[np.float32]
    cut: bool = True

    @property
    def middle(self) -> Floats:
        """(N,) row in the middle of the body and of the gap."""
        return (self.first + self.last) / 2

    @property
    def smooth_height(self) -> Floats:
        """(N,) height, the median over :data:`MEDIAN` slices, fewer at the ends; as it is where it was measured."""
        last, most = len(self.height) - 1, MEDIAN // 2 if self.cut else 0
        reach = [min(most, n, last - n) for n in range(last + 1)]  # as far to either side, so that a slope stays
        return np.array([np.median(self.height[n - r : n + r + 1]) for n, r in enumerate(reach)])

    def as_it_is(self) -> DrawnStack:
        """The same slices with the body as it is in the place of the drawn one, to measure both alike."""
        return replace(self, height=self.last - self.first + 1, body=self.own, cut=False)

    def edges(self) -> tuple[Floats, Floats]:
        """(N, S) upper and lower edge of the drawn body in each column, in rows; NaN beside it.

        They lie where it crosses one half, by linear interpolation, within the predicted height and half a row beyond
        it: the middles of the body and of the gap differ by so much where one has an odd number of rows.
        """
        half = self.height[:, None] / 2 + 0.5
        middle = self.middle[:, None]
        top, bottom = crossings(self.body)
        if self.cut:
            top, bottom = np.maximum(top, middle - half), np.minimum(bottom, middle + half)
        thin = ~(bottom - top > 0.5)
        return np.where(thin, np.nan, top), np.where(thin, np.nan, bottom)


@dataclass(frozen=True, eq=False)
class FusedBody:
    """The pseudo-healthy body over the vertebra's cross-section, in rows (1 mm) of the slices.

    Attributes:
        top, bottom: (Y, Z) edges, NaN where it is not.
        height: (Y, Z) from the highest to the lowest row.
        middle: (Y, Z) row in the middle.
    """

    top: Floats
    bottom: Floats
    height: Floats
    middle: Floats

    @property
    def thickness_mm(self) -> Floats:
        """(Y, Z) height of each column, NaN where there is none."""
        return self.bottom - self.top

    def scaled(self, factor: Floats) -> FusedBody:
        """The same body, each column (Y, Z) taller by a factor, around its middle row."""
        return FusedBody(
            self.middle + factor * (self.top - self.middle),
            self.middle + factor * (self.bottom - self.middle),
            factor * self.height,
            self.middle,
        )


def fused(stacks: Sequence[DrawnStack], behind_mm: Floats, left_mm: Floats) -> FusedBody:
    """The body of one or two views.

    Args:
        stacks: sagittal, coronal or both.
        behind_mm: (Y,) places behind the vertebra's middle.
        left_mm: (Z,) places to its left.
    """
    tops, bottoms, heights, middles = list[Floats](), list[Floats](), list[Floats](), list[Floats]()
    for stack in stacks:
        middle, stretch = stack.middle[:, None], (stack.smooth_height / stack.height)[:, None]
        top, bottom = (middle + stretch * (edge - middle) for edge in stack.edges())
        for values, part in ((top, tops), (bottom, bottoms), (_wide(stack, stack.smooth_height), heights),
                             (_wide(stack, stack.middle), middles)):  # fmt: skip
            part.append(_over(stack, values, behind_mm, left_mm))
    return FusedBody(_mean(tops), _mean(bottoms), _mean(heights), _mean(middles))


def crossings(share: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """(N, S) first and last row where (N, R, S) crosses one half, between samples; NaN where it does not.

    A mask of ones from row a to row b crosses at a - 0.5 and b + 0.5.
    """
    inside = share >= _INSIDE
    found = inside.any(1)
    rows = share.shape[1]
    first = inside.argmax(1)
    last = rows - 1 - inside[:, ::-1].argmax(1)

    def edge(at: NDArray[np.intp], beyond: NDArray[np.intp]) -> Floats:
        high = np.take_along_axis(share, at[:, None], 1)[:, 0].astype(float)
        low = np.take_along_axis(share, np.clip(beyond, 0, rows - 1)[:, None], 1)[:, 0].astype(float)
        part = np.where(high > low, (high - _INSIDE) / np.maximum(high - low, 1e-9), 0.5)
        return np.asarray(at + np.clip(part, 0, 1) * (beyond - at), dtype=float)

    top, bottom = edge(first, first - 1), edge(last, last + 1)
    return np.where(found, top, np.nan), np.where(found, bottom, np.nan)


def _wide(stack: DrawnStack, values: Floats) -> Floats:
    return np.repeat(values[:, None], stack.body.shape[2], 1)


def _over(stack: DrawnStack, values: Floats, behind_mm: Floats, left_mm: Floats) -> Floats:
    """(N, S) values of a stack over the cross-section (Y, Z); NaN more than half a millimetre beyond its slices."""
    across, along = (left_mm, behind_mm) if stack.view == "sagittal" else (behind_mm, left_mm)
    step = float(stack.offsets_mm[1] - stack.offsets_mm[0]) if len(stack.offsets_mm) > 1 else 1.0
    number = (across - stack.offsets_mm[0]) / step
    column = along + (values.shape[1] - 1) / 2
    known = (number * step >= -HALF_MM) & ((number - len(values) + 1) * step <= HALF_MM)
    at = np.stack(np.meshgrid(np.clip(number, 0, len(values) - 1), column, indexing="ij"))
    out = np.asarray(map_coordinates(values, at, order=1, mode="nearest"), dtype=float)
    out[~known] = np.nan
    return out.T if stack.view == "sagittal" else out


def _mean(parts: Sequence[Floats]) -> Floats:
    """Mean of what is known."""
    known = np.sum([np.isfinite(part) for part in parts], axis=0)
    total = np.sum([np.nan_to_num(part) for part in parts], axis=0)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)
