"""The gap of fixed height that hides how tall a vertebra is, and closing it at another height. numpy alone.

Self-adaptive height restoration of HealthiVert-GAN (sheet 2, section 3): rows above and below the body move apart until
a gap of one height for all lies between them; what a network draws into the gap is brought back at the height that was
predicted. A slice is an array (rows, columns) with rows running caudally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError

GAP = 40
"""Rows of the gap (1 mm), as published."""
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Gap:
    """Where a gap lies.

    Attributes:
        first, last: rows of the body before the gap was opened; ``last`` belongs to it.
        top: first row of the gap.
        rows: of the gap.
    """

    first: int
    last: int
    top: int
    rows: int = GAP

    @property
    def height(self) -> int:
        """Rows of the body."""
        return self.last - self.first + 1

    @classmethod
    def around(cls, label: NDArray[np.bool_], rows: int = GAP) -> Gap:
        """The gap centred on a body; a body taller than the gap is taken for one of its height, around its middle.

        Args:
            label: (rows, columns) the body in this slice.
            rows: of the gap.

        Raises:
            MaskError: there is no body, or the gap does not fit into the slice.
        """
        found = np.flatnonzero(label.any(1))
        if not len(found):
            raise MaskError("The slice shows nothing of the vertebra.", "Choose a slice through its body.")
        first, last = int(found[0]), int(found[-1])
        if last - first + 1 > rows:
            first += (last - first + 1 - rows) // 2
            last = first + rows - 1
        top = first - (rows - (last - first + 1)) // 2
        if top < 0 or top + rows > len(label):
            raise MaskError("The gap does not fit into the slice.", "Cut a taller block around the vertebra.")
        return cls(first, last, top, rows)

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(rows, columns) the gap, across the whole slice."""
        out = np.zeros(shape, dtype=bool)
        out[self.top : self.top + self.rows] = True
        return out


def opened(values: NDArray[T], gap: Gap, fill: Any = 0) -> NDArray[T]:
    """A slice with its gap: what lies above the body is moved up, what lies below down, and the gap is empty.

    Args:
        values: (rows, columns); rows pushed over the edges are lost.
        gap: where.
        fill: of the gap.
    """
    out = np.full_like(values, fill)
    up, down = gap.first - gap.top, gap.top + gap.rows - 1 - gap.last
    out[: gap.top] = values[up : gap.first]
    out[gap.top + gap.rows :] = values[gap.last + 1 : len(values) - down]
    return out


def moved(values: NDArray[T], down: int) -> NDArray[T]:
    """A slice moved down by whole rows (up where negative); the outermost row is repeated."""
    return values[np.clip(np.arange(len(values)) - down, 0, len(values) - 1)]


def closed(original: NDArray[T], drawn: NDArray[T], gap: Gap, height: int) -> NDArray[T]:
    """A slice in which the body has another height: the middle of what was drawn, between the original's two parts.

    With the body's own height the original's rows above and below stay where they are; so if the middle of ``drawn`` is
    the body's own rows, the answer is the original. Taller bodies push both parts apart by half of what is added (the
    odd row goes down), lower ones draw them together, and then the outermost rows are repeated.

    Args:
        original: (rows, columns) before the gap was opened.
        drawn: (rows, columns) with the gap filled, as :func:`opened` placed it.
        gap: where.
        height: rows of the body, 1 to the gap's.

    Raises:
        ValueError: another height.
    """
    inside, outer, inner = closing(gap, height, len(original))
    out = original[outer]
    out[inside] = drawn[inner[inside]]
    return out


def closing(
    gap: Gap, height: int, rows: int, up: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Which rows :func:`closed` takes from where.

    Args:
        gap: where.
        height: rows of the body.
        rows: of the slice.
        up: how far the part above moves up, of the rows that are added; half of them by default.

    Returns:
        (rows,) whether a row is the band's; (rows,) the original's row that stands there where it is not; (rows,) the
        drawn slice's row where it is (0 elsewhere).

    Raises:
        ValueError: another height.
    """
    if not 1 <= height <= gap.rows:
        raise ValueError(f"height must be 1 to {gap.rows}")
    start = gap.top + band_start(gap, height)
    added = height - gap.height
    up = added // 2 if up is None else up
    first = gap.first - up
    at = np.arange(rows)
    above = np.clip(at + up, 0, gap.first - 1) if gap.first else np.zeros(rows, dtype=int)
    below = np.clip(at - (added - up), min(gap.last + 1, rows - 1), rows - 1)
    inside = (at >= first) & (at < first + height)
    return inside, np.where(at < first, above, below), np.where(inside, start + at - first, 0)


def band_start(gap: Gap, height: int) -> int:
    """Row of the gap at which a band of a height begins: where the body's own begins, and half of the rest above it."""
    return gap.first - gap.top - (height - gap.height) // 2


def slices_of(label: NDArray[np.bool_], share: float = 0.8) -> range:
    """Slices (along the last axis) of the central part of a vertebra's extent; four fifths, as published.

    Raises:
        MaskError: the mask is empty.
    """
    found = np.flatnonzero(label.any((0, 1)))
    if not len(found):
        raise MaskError("A vertebra's mask is empty.", "Choose a vertebra that the mask shows.")
    first, last = int(found[0]), int(found[-1])
    cut = round((last - first + 1) * (1.0 - share) / 2.0)
    return range(first + cut, last + 1 - cut)
