"""Ordering and naming of centroids: doubles, order along the spine, and which vertebra each one is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.spine.anatomy import COMMON, ORDER, levels_from, rank
from VertebralGradingLib.spine.points import Point

DOUBLE_MM = 6.0
"""Points closer than this are one vertebra clicked twice; neighbouring bodies are at least twice as far apart."""


def merge_doubles(points: list[Point]) -> tuple[list[Point], list[bool]]:
    """Merge points that mark the same place.

    Returns:
        The points left, and for each whether it stands for several.

    Raises:
        CentroidError: one level in two places, or two levels in one place.
    """
    kept: list[list[Point]] = []
    for point in points:
        group = next((g for g in kept if _distance(g[0], point) < DOUBLE_MM), None)
        if group is None:
            kept.append([point])
        else:
            group.append(point)
    merged, doubled, seen = [], [], set()
    for group in kept:
        names = {point.level for point in group if point.level is not None}
        if len(names) > 1:
            raise CentroidError(
                f"{' and '.join(sorted(names))} are in the same place.", "Move or delete one of the two points."
            )
        level = names.pop() if names else None
        if level is not None and level in seen:
            raise CentroidError(f"{level} is marked in two places.", "Rename or delete one of the two points.")
        seen.add(level or "")
        center = np.mean([point.position for point in group], axis=0)
        merged.append(Point(tuple(center.tolist()), level, group[0].label))
        doubled.append(len(group) > 1)
    return merged, doubled


def order_along_spine(points: list[Point]) -> list[int]:
    """Indices from cranial to caudal.

    Points are put on the shortest open path through them (started from their order along the longest axis, improved
    by 2-opt), which follows any curvature. Cranial is superior, unless the spine lies across that axis and names say
    otherwise.

    Raises:
        CentroidError: the names' order contradicts the positions.
    """
    xyz = np.array([point.position for point in points])
    if len(points) > 1:
        axis = np.linalg.svd(xyz - xyz.mean(0), full_matrices=False)[2][0]
        path = _shortest_path(xyz, [int(n) for n in np.argsort(xyz @ axis)])
        if xyz[path[0], 2] < xyz[path[-1], 2]:
            path = path[::-1]
    else:
        path = [0]
    named = [(place, points[n].level) for place, n in enumerate(path) if points[n].level is not None]
    ranks = [rank(level) for _, level in named if level is not None]
    steep = abs(xyz[path[0], 2] - xyz[path[-1], 2]) > 0.5 * float(np.linalg.norm(xyz[path[0]] - xyz[path[-1]]))
    if ranks != sorted(ranks) and ranks == sorted(ranks, reverse=True) and not steep:
        return path[::-1]  # a spine that lies across the patient's axis: only the names know its direction
    if ranks != sorted(ranks):
        wrong = [f"{a} above {b}" for (_, a), (_, b) in pairwise(named) if rank(str(a)) > rank(str(b))]
        cause = "all names run upwards" if ranks == sorted(ranks, reverse=True) else f"found {', '.join(wrong[:3])}"
        raise CentroidError(
            f"The names of the centroids contradict their positions: {cause}.",
            "Correct the names, or remove them and give the lowest level only.",
        )
    return path


def name_levels(points: list[Point], lowest: str | None = None) -> list[str | None]:
    """Name ordered points (cranial to caudal) from the names some of them have.

    Unnamed points take their names by counting from the nearest named one; between two named points only when the
    count fits. Nothing named and no ``lowest`` leaves all unnamed.

    Raises:
        CentroidError: ``lowest`` is no level or contradicts a name, or counting runs past C1 or S1.
    """
    levels = [point.level for point in points]
    if lowest is not None:
        if lowest not in ORDER:
            raise CentroidError(f"{lowest!r} is no vertebral level.", "Give one such as L5 or T12.")
        if levels[-1] not in (None, lowest):
            raise CentroidError(
                f"The lowest point is already named {levels[-1]}, not {lowest}.", "Drop one of the two."
            )
        levels[-1] = lowest
    anchors = [n for n, level in enumerate(levels) if level is not None]
    if not anchors:
        return levels
    named = [rank(str(levels[n])) for n in anchors]
    if any(a >= b for a, b in pairwise(named)):
        raise CentroidError(
            f"With the lowest point as {lowest} the names contradict each other.", "Correct the names or drop --lowest."
        )
    first, last = anchors[0], anchors[-1]
    try:
        levels[: first + 1] = levels_from(str(levels[first]), first + 1)
    except ValueError as error:
        raise CentroidError(f"There are {first} points above {levels[first]}, too many.", "Check the names.") from error
    below = [level for level in COMMON if rank(level) > rank(str(levels[last]))]
    if len(points) - last - 1 > len(below):
        raise CentroidError(
            f"There are {len(points) - last - 1} points below {levels[last]}, too many.", "Check the names."
        )
    for n in range(last + 1, len(points)):
        levels[n] = below[n - last - 1]
    for a, b in pairwise(anchors):
        inside = [level for level in COMMON if rank(str(levels[a])) < rank(level) < rank(str(levels[b]))]
        if len(inside) == b - a - 1:
            levels[a + 1 : b] = inside
        elif len(inside) < b - a - 1:
            raise CentroidError(
                f"There are {b - a - 1} points between {levels[a]} and {levels[b]}, too many.",
                "Check the names; name variants (T13, L6) yourself.",
            )
    return levels


def _shortest_path(xyz: NDArray[np.float64], path: list[int]) -> list[int]:
    distance = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1)

    def length(order: list[int]) -> float:
        return float(distance[order[:-1], order[1:]].sum())

    best, improved = length(path), True
    while improved:
        improved = False
        for a in range(len(path) - 1):
            for b in range(a + 1, len(path)):
                trial = path[:a] + path[a : b + 1][::-1] + path[b + 1 :]
                if length(trial) < best - 1e-9:
                    path, best, improved = trial, length(trial), True
    return path


def _distance(a: Point, b: Point) -> float:
    return float(np.linalg.norm(np.subtract(a.position, b.position)))
