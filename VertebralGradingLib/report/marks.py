"""What is drawn on the overview, in pixels of the overview: shared by the page and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.report.colors import StateColor, caption, color_of
from VertebralGradingLib.report.pictures import Overview

CONTOUR = (0, 2, 4, 5, 3, 1)
"""Order of the six points around a body."""


@dataclass(frozen=True, eq=False)
class Mark:
    """One vertebra on the overview; positions are (x, y) in overview pixels.

    Attributes:
        level: its name.
        color: of its state.
        caption: its state.
        center: (2,) body centre.
        points: (6, 2) in the order of a finding's points, or (0, 2).
        front: (2,) where its caption's leader line ends: the anterior wall, or the centre.
    """

    level: str
    color: StateColor
    caption: str
    center: NDArray[np.float64]
    points: NDArray[np.float64]
    front: NDArray[np.float64]

    @property
    def contour(self) -> NDArray[np.float64]:
        """(6, 2) around the body, or (0, 2)."""
        return self.points[list(CONTOUR)] if len(self.points) else self.points


def six_points(finding: Finding) -> NDArray[np.float64] | None:
    """(6, 3) RAS mm, None when the vertebra was not measured."""
    points = np.array(finding.points_ras_mm, dtype=np.float64)
    return points if points.shape == (6, 3) and np.isfinite(points).all() else None


def center(finding: Finding) -> NDArray[np.float64]:
    """(3,) RAS mm of the measured points' middle, else of the body."""
    points = six_points(finding)
    return np.array(finding.center_ras_mm, dtype=np.float64) if points is None else points.mean(0)


def marks(findings: Sequence[Finding], overview: Overview) -> list[Mark]:
    """The vertebrae whose centre lies on the overview, cranial to caudal."""
    found = []
    for finding in findings:
        middle = overview.project(center(finding))
        if not (np.isfinite(middle).all() and overview.contains(middle)[0]):
            continue
        points = six_points(finding)
        if points is None:
            pixels, front = np.empty((0, 2)), middle[0, ::-1]
        else:
            pixels = overview.project(points)[:, ::-1]
            front = pixels[:2].mean(0)
        found.append(Mark(finding.level, color_of(finding), caption(finding), middle[0, ::-1], pixels, front))
    return found


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move captions apart: the nearest places (in their order) that lie at least ``gap`` apart within a range."""
    count = len(places)
    if not count:
        return []
    gap = min(gap, (high - low) / max(count - 1, 1))
    groups: list[tuple[float, int]] = []  # mean of (place - own offset), members
    for n, place in enumerate(places):
        mean, size = place - n * gap, 1
        while groups and groups[-1][0] > mean:
            other, members = groups.pop()
            mean, size = (other * members + mean * size) / (members + size), members + size
        groups.append((mean, size))
    flat = [mean for mean, size in groups for _ in range(size)]
    return [min(max(value, low), high - (count - 1) * gap) + n * gap for n, value in enumerate(flat)]
