"""A spine: ordered, named body centroids, the smooth curve through them, and a frame at each vertebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.spine.anatomy import GRADABLE, axis_position, rank
from VertebralGradingLib.spine.curve import Curve
from VertebralGradingLib.spine.naming import merge_doubles, name_levels, order_along_spine
from VertebralGradingLib.spine.points import Point

GAP_MM = 60.0
"""A larger step between neighbours breaks the chain (sheet 5, section 7)."""
WARN_OFF_MM = 10.0
"""Distance from the smooth curve through the others from which a point is flagged; twice that at the ends."""
FAR_OFF_MM = 25.0
"""Distance from which a point is left out of the curve and its vertebra is not graded; 1.5 times that at the ends."""


@dataclass(frozen=True, eq=False)
class Vertebra:
    """One vertebra of a spine.

    Attributes:
        level: standard name ("L1"), or "V1", "V2", ... from cranial to caudal when levels are not known.
        center: (3,) RAS mm, the body centroid as given.
        known: whether ``level`` is an anatomical name.
        chain: index of the chain (unbroken run of neighbours) it belongs to, -1 when it is far off every chain.
        s: chord length of its place on the chain's curve (mm).
        order: position in the spine, 0 is the most cranial point.
        flags: what the centroids alone say ("off_curve", "chain_break", ...).
        anterior_hint: RAS direction from arch to body where a mask shows it, else None.
        off_curve_mm: distance from the smooth curve through the other points, half of it at the ends of the spine.
    """

    level: str
    center: NDArray[np.float64]
    known: bool
    chain: int
    s: float
    order: int
    flags: tuple[str, ...] = ()
    anterior_hint: NDArray[np.float64] | None = None
    off_curve_mm: float = 0.0

    @property
    def gradable_level(self) -> bool:
        """Whether bodies of this level are measured: thoracic, lumbar, or not named."""
        return not self.known or self.level in GRADABLE

    @property
    def axis_position(self) -> float:
        """Place on the axis of levels (see :func:`anatomy.axis_position`); its order in the spine when unnamed."""
        return axis_position(self.level) if self.known else float(self.order)


@dataclass(frozen=True, eq=False)
class Spine:
    """Vertebrae in cranio-caudal order and the curve of each unbroken chain.

    Attributes:
        vertebrae: cranial to caudal.
        curves: one for each chain.
        flags: about the spine as a whole ("level_unknown", "chain_break").
    """

    vertebrae: tuple[Vertebra, ...]
    curves: tuple[Curve, ...]
    flags: tuple[str, ...] = ()

    @cached_property
    def by_level(self) -> dict[str, Vertebra]:
        """Vertebrae by name."""
        return {vertebra.level: vertebra for vertebra in self.vertebrae}

    @property
    def centers(self) -> NDArray[np.float64]:
        """(n, 3) RAS mm, cranial to caudal."""
        return np.array([vertebra.center for vertebra in self.vertebrae])

    def curve(self, vertebra: Vertebra) -> Curve:
        """The curve of a vertebra's chain; for a far-off point the nearest chain's."""
        if vertebra.chain >= 0:
            return self.curves[vertebra.chain]
        ends = [min(np.linalg.norm(curve.knots - vertebra.center, axis=1)) for curve in self.curves]
        return self.curves[int(np.argmin(ends))]

    def axes(self, vertebra: Vertebra) -> NDArray[np.float64]:
        """Right-handed axes (3, 3) at a vertebra: columns right, anterior, up, along the curve's tangent."""
        return self.curve(vertebra).frame(vertebra.s, vertebra.anterior_hint)

    def spacing_mm(self, vertebra: Vertebra) -> tuple[float | None, float | None]:
        """Distance to the neighbouring centroid above and below within the chain (mm), None at its ends."""
        chain = [other for other in self.vertebrae if other.chain == vertebra.chain]
        place = chain.index(vertebra)
        above = chain[place - 1] if place > 0 else None
        below = chain[place + 1] if place + 1 < len(chain) else None
        return (
            None if above is None else float(np.linalg.norm(above.center - vertebra.center)),
            None if below is None else float(np.linalg.norm(below.center - vertebra.center)),
        )

    def with_anterior(self, hints: dict[str, NDArray[np.float64]]) -> Spine:
        """A copy whose vertebrae take their axial rotation from ``hints`` (level -> RAS direction)."""
        changed = tuple(replace(v, anterior_hint=hints.get(v.level, v.anterior_hint)) for v in self.vertebrae)
        return replace(self, vertebrae=changed)


def build_spine(points: Sequence[Point], lowest: str | None = None) -> Spine:
    """Order, name and check centroids.

    Args:
        points: as read, in any order, named or not.
        lowest: level of the most caudal point, naming all unnamed ones.

    Returns:
        A spine; doubtful points carry flags.

    Raises:
        CentroidError: no points, names that contradict the positions, one level in two places.
    """
    if not points:
        raise CentroidError("There are no centroids.", "Place one point in each vertebral body.")
    xyz = np.array([point.position for point in points], dtype=np.float64)
    if not np.isfinite(xyz).all() or np.abs(xyz).max() > 1e5:
        raise CentroidError("A centroid's position is not a sensible number of millimetres.", "Place it again.")
    merged, doubled = merge_doubles(list(points))
    order = order_along_spine(merged)
    merged = [merged[n] for n in order]
    doubled = [doubled[n] for n in order]
    centers = np.array([point.position for point in merged])
    flags: list[list[str]] = [["doubled_point"] if twice else [] for twice in doubled]
    off, far = _distances_off_curve(centers)
    for n, distance in enumerate(off):
        if far[n]:
            flags[n].append("far_off_curve")
        elif distance > WARN_OFF_MM:
            flags[n].append("off_curve")
    chains = _chains(centers, far)
    levels = _levels(merged, chains, lowest)
    _flag_neighbours(centers, levels, chains, flags)
    curves = [Curve(centers[[n for n, c in enumerate(chains) if c == chain]]) for chain in range(max(chains) + 1)]
    vertebrae = []
    for n, level in enumerate(levels):
        if level is None:
            flags[n].append("level_unknown")
        curve = curves[chains[n]] if chains[n] >= 0 else curves[0]
        place = sum(c == chains[n] for c in chains[:n])
        s = float(curve.lengths[place]) if chains[n] >= 0 else curve.closest(centers[n])
        vertebrae.append(
            Vertebra(
                level=level or f"V{n + 1}",
                center=centers[n],
                known=level is not None,
                chain=chains[n],
                s=s,
                order=n,
                flags=tuple(flags[n]),
                off_curve_mm=float(off[n]),
            )
        )
    whole = []
    if any(level is None for level in levels):
        whole.append("level_unknown")
    if len(curves) > 1:
        whole.append("chain_break")
    return Spine(tuple(vertebrae), tuple(curves), tuple(whole))


def _levels(points: list[Point], chains: list[int], lowest: str | None) -> list[str | None]:
    """Name the points of each chain by counting within it: across a gap, and through a stray point, nobody can count.

    Raises:
        CentroidError: names contradict each other.
    """
    levels: list[str | None] = [point.level for point in points]
    for chain in range(max(chains) + 1):
        places = [n for n, own in enumerate(chains) if own == chain]
        last = chain == max(chains)
        for n, level in zip(places, name_levels([points[n] for n in places], lowest if last else None), strict=True):
            levels[n] = level
    ranks = [rank(level) for level, own in zip(levels, chains, strict=True) if level is not None and own >= 0]
    if any(a >= b for a, b in pairwise(ranks)) or len(set(filter(None, levels))) < sum(map(bool, levels)):
        raise CentroidError(
            "Counted from the names given, one level would be in two places.",
            "Name at least one point on each side of a gap, or check the names.",
        )
    return levels


def _distances_off_curve(centers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Distance (mm) of each centre from the curve through the others, and which are too far to use.

    The worst point is judged first and then left out, so that it does not accuse its neighbours. At the ends, where
    the curve must be extrapolated over a natural bend, half the distance counts.
    """
    count = len(centers)
    off, far = np.zeros(count), np.zeros(count, dtype=bool)
    used = list(range(count))
    while len(used) >= 4:
        distance = np.array([_leave_one_out(centers[used], n) for n in range(len(used))])
        worst = int(np.argmax(distance))
        if distance[worst] <= WARN_OFF_MM:
            break
        off[used[worst]] = distance[worst]
        at_end = worst in (0, len(used) - 1)
        far[used[worst]] = distance[worst] > (0.75 * FAR_OFF_MM if at_end else FAR_OFF_MM)  # ends count half
        del used[worst]
    return off, far


def _leave_one_out(centers: NDArray[np.float64], n: int) -> float:
    others = np.delete(centers, n, axis=0)
    last = len(centers) - 1
    if 0 < n < last:
        curve = Curve(others)
        return float(np.linalg.norm(curve.at(curve.closest(centers[n])) - centers[n]))
    near = others[:3] if n == 0 else others[-3:][::-1]
    step, bend = near[0] - near[1], near[0] - 2 * near[1] + near[2]
    reach = min(float(np.linalg.norm(centers[n] - near[0])) / max(float(np.linalg.norm(step)), 1e-6), 1.5)
    guess = near[0] + reach * step + 0.5 * reach * (1 + reach) * bend
    direction = (step + bend) / max(float(np.linalg.norm(step + bend)), 1e-6)
    gap = centers[n] - guess
    return float(np.linalg.norm(gap - (gap @ direction) * direction)) / 2.0


def _chains(centers: NDArray[np.float64], far: NDArray[np.bool_]) -> list[int]:
    chains, current, previous = [], 0, None
    for center, excluded in zip(centers, far, strict=True):
        if excluded:
            chains.append(-1)
            continue
        if previous is not None and np.linalg.norm(center - previous) > GAP_MM:
            current += 1
        chains.append(current)
        previous = center
    return chains


def _flag_neighbours(
    centers: NDArray[np.float64], levels: list[str | None], chains: list[int], flags: list[list[str]]
) -> None:
    """Flag broken chains, missing levels, and steps that do not fit the rest of the spine."""
    used = [n for n, chain in enumerate(chains) if chain >= 0]
    steps = np.array([np.linalg.norm(centers[b] - centers[a]) for a, b in pairwise(used)])
    for (a, b), step in zip(pairwise(used), steps, strict=True):
        if chains[a] != chains[b]:
            flags[a].append("chain_break")
            flags[b].append("chain_break")
        upper, lower = levels[a], levels[b]
        between = 1.0
        if upper is not None and lower is not None:
            between = axis_position(lower) - axis_position(upper)
            if between > 1:
                flags[a].append("neighbour_missing")
                flags[b].append("neighbour_missing")
        near = steps[np.abs(np.arange(len(steps)) - used.index(a)) <= 3]
        expected = float(np.median(near)) * max(between, 1.0)
        if len(near) >= 3 and not 0.6 < step / expected < 1.45:
            flags[a].append("spacing_unexpected")
            flags[b].append("spacing_unexpected")
