"""Vertebra masks as other tools write them: which number is which vertebra, and the body inside a whole vertebra."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.spine.anatomy import NUMBERINGS, ORDER, axis_position, rank
from VertebralGradingLib.spine.curve import ANTERIOR
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.reformation import sample_where
from VertebralGradingLib.spine.spine import build_spine

Kind = Literal["auto", "vertebra", "body"]

_BACK_OFFSET_MM = 12.0
"""The body's centre lies 9-14 mm in front of the whole vertebra's (measured on VerSe verse004, sheet 5 section 5)."""
_HORN_MM = 1.5
_MIDLINE_MM = 6.0
_MIN_VOLUME_MM3 = 1500.0
_TALLEST_MM = 85.0
"""Cranio-caudal reach that no single vertebra has."""


@dataclass(frozen=True, eq=False)
class VertebraLabels:
    """A label volume and what its numbers mean.

    Attributes:
        volume: uint8 or uint16 labels.
        names: label -> level; an empty name means a body of unknown level.
        kind: whether labels hold whole vertebrae or bodies only, or "auto" (decided for each).
        scan: the grid of the whole scan, where ``volume`` is only the part that holds labels; its voxels say nothing.
    """

    volume: Volume
    names: dict[int, str]
    kind: Kind = "auto"
    scan: Volume | None = None

    @property
    def edges(self) -> Volume:
        """The volume at whose edges a vertebra may be cut off."""
        return self.volume if self.scan is None else self.scan

    @cached_property
    def boxes(self) -> dict[int, tuple[slice, slice, slice]]:
        """Bounding box of each named label that is present."""
        from scipy.ndimage import find_objects

        found = find_objects(self.volume.array)
        return {label: found[label - 1] for label in self.names if label <= len(found) and found[label - 1]}

    @cached_property
    def by_level(self) -> dict[str, int]:
        """Label of each level."""
        return {name: label for label, name in self.names.items() if name and label in self.boxes}

    def indicator(self, label: int, margin: int = 2) -> Volume:
        """The crop around one label as 0 / 1 (float32), with its own affine."""
        box = self.boxes[label]
        low = [max(s.start - margin, 0) for s in box]
        high = [min(s.stop + margin, n) for s, n in zip(box, self.volume.shape, strict=True)]
        crop = self.volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] == label
        crop = np.pad(crop, [(0, max(0, 2 - n)) for n in crop.shape])
        affine = self.volume.affine.copy()
        affine[:3, 3] = self.volume.to_ras(np.array(low, dtype=float))
        return Volume(crop.astype(np.float32), affine)

    def label_at(self, point: NDArray[Any], reach_mm: float = 6.0) -> int | None:
        """The named label at a RAS point, or the commonest within ``reach_mm`` of it, else None."""
        steps = np.arange(-reach_mm, reach_mm + 0.1, 2.0)
        ball = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
        values = sample(self.volume, np.asarray(point) + ball, order=0, fill=0)
        values = values[np.isin(values, list(self.names))]
        if len(values) < 5:
            return None
        labels, counts = np.unique(values, return_counts=True)
        return int(labels[counts.argmax()])


def interpret(volume: Volume, numbering: str = "auto", kind: Kind = "auto") -> VertebraLabels:
    """Find out what a mask's numbers mean.

    Data sets number differently (VerSe counts downwards, TotalSegmentator upwards), so the numbering under which
    neighbouring numbers are neighbouring vertebrae is taken. A mask of one value is split into its pieces, and so is
    one that fits no numbering and whose first value covers more than a vertebra can (TotalSegmentator's 1 = all
    bodies, 2 = all discs).

    Raises:
        MaskError: no vertebrae under any numbering, or more than one fits equally well.
    """
    present = [int(v) for v in np.unique(volume.array) if v > 0]
    if numbering != "auto" and numbering not in NUMBERINGS:
        raise MaskError(f"The numbering {numbering!r} is not known.", f"Choose one of: {', '.join(NUMBERINGS)}.")
    if len(present) == 1 and numbering == "auto":
        return _split_single(volume, present[0], kind)
    if numbering != "auto":
        table = NUMBERINGS[numbering]
        names = {label: table[label] for label in present if label in table}
        if not names:
            raise MaskError(
                f"The mask has no number that {numbering} gives to a vertebra.", "Choose another numbering."
            )
        return VertebraLabels(volume, names, kind)
    centers = _centers(volume, present)
    scores = {name: _consistency(table, centers) for name, table in NUMBERINGS.items()}
    best = max(scores.values())
    winners = [name for name, score in scores.items() if score > best - 0.3]
    if best < 0.9 and _reach_mm(volume, present[0]) > _TALLEST_MM:
        return _split_single(volume, present[0], kind)
    if best < 0.3:
        raise MaskError(
            "The mask's numbers do not look like vertebrae under any known numbering.",
            f"Give --numbering ({', '.join(NUMBERINGS)}) or a mask with vertebra labels.",
        )
    if len(winners) > 1:
        raise MaskError(
            f"The mask's numbers could be {' or '.join(winners)}.", "Give --numbering to say which one is meant."
        )
    table = NUMBERINGS[winners[0]]
    names = {label: table[label] for label in present if label in table}
    return VertebraLabels(volume, names, kind)


def _centers(volume: Volume, labels: list[int]) -> dict[int, NDArray[np.float64]]:
    """Centre of mass (RAS mm) of each label, box by box."""
    from scipy.ndimage import find_objects

    boxes = find_objects(volume.array)
    centers = {}
    for label in labels:
        box = boxes[label - 1]
        inside = np.argwhere(volume.array[box] == label).mean(axis=0)
        centers[label] = volume.to_ras(inside + [part.start for part in box])
    return centers


def _reach_mm(volume: Volume, label: int) -> float:
    """Cranio-caudal extent of a label (mm)."""
    z = volume.to_ras(np.argwhere(volume.array == label))[:, 2]
    return float(np.ptp(z))


def _consistency(table: dict[int, str], centers: dict[int, NDArray[np.float64]]) -> float:
    """How well neighbouring levels lie their usual distance apart (1 each), the upper one higher; -1 where not."""
    levels = {table[label]: center for label, center in centers.items() if label in table}
    ordered = sorted(levels, key=rank)
    if len(ordered) == 1 and len(centers) == 1:
        return 1.0
    good = 0.0
    for upper, lower in itertools.pairwise(ordered):
        gap = rank(lower) - rank(upper)
        step = levels[upper] - levels[lower]
        length = float(np.linalg.norm(step))
        expected = gap * (16.0 + 1.25 * max(axis_position(lower), 0.0))
        right = step[2] > 0.4 * length and 0.5 < length / expected < 1.6
        fit = 1.0 - 2.0 * abs(float(np.log(length / expected)))
        good += fit if right and gap == 1 else 0.25 * fit if right else -1.0
    return good


def _split_single(volume: Volume, label: int, kind: Kind) -> VertebraLabels:
    """A mask with one value: each large enough piece becomes a body of unknown level."""
    from scipy.ndimage import label as connected

    pieces, count = connected(volume.array == label)
    sizes = np.bincount(pieces.ravel())
    voxel = abs(np.linalg.det(volume.affine[:3, :3]))
    keep = [n for n in range(1, count + 1) if sizes[n] * voxel > _MIN_VOLUME_MM3]
    if not keep:
        raise MaskError("The mask has no piece as large as a vertebral body.", "Choose a mask of vertebrae.")
    lookup = np.zeros(count + 1, dtype=np.uint16)
    lookup[keep] = np.arange(1, len(keep) + 1)
    return VertebraLabels(Volume(lookup[pieces], volume.affine), dict.fromkeys(range(1, len(keep) + 1), ""), kind)


def body_from_labels(
    labels: VertebraLabels, label: int, center: NDArray[np.float64], axes: NDArray[np.float64]
) -> tuple[BodyMask, NDArray[np.float64] | None]:
    """The body of one labelled vertebra, sampled in a block, the arch cut off behind the back wall.

    The back wall is followed along the midline, where the canal parts it from the arch; the cut runs through it,
    ``1.5`` mm behind to keep the body's corners.

    Args:
        labels: the mask.
        label: which number.
        center: (3,) RAS mm, near the body's centre.
        axes: (3, 3) columns right, anterior, up.

    Returns:
        The body, and the RAS direction from the arch's centre to the body's (None when the mask has no arch).

    Raises:
        MaskError: the label has no voxels near the centre.
    """
    grid = body_grid(center, axes)
    occupancy = sample_where(labels.indicator(label), grid)
    if occupancy.sum() * np.prod(STEP_MM) < 200.0:
        raise MaskError("The mask has no voxels at a centroid.", "Check that mask and centroids belong together.")
    body, arch = occupancy, None
    if labels.kind != "body":
        cut = _behind_back_wall(occupancy)
        behind = occupancy * cut
        share = float(behind.sum() / occupancy.sum())
        if labels.kind == "vertebra" or share > 0.12:
            body = occupancy * (1 - cut)
            arch = _direction(body, behind, axes) if share > 0.05 else None
    body = _largest_piece(body)
    spacing = float(labels.volume.spacing.max())
    return BodyMask(body, grid, axes, "given", 1.0, 0.15 + 0.12 * spacing), arch


def _behind_back_wall(occupancy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns, depth) 1 behind the back wall, 0 in front of it."""
    rows, columns, _ = SHAPE
    middle = np.abs(np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2) * STEP_MM[2] <= _MIDLINE_MM
    filled = np.median(occupancy[..., middle], axis=-1) > 0.5
    wall = np.full(rows, np.nan)
    start = columns // 2
    for row in range(rows):
        line = filled[row]
        inside = np.flatnonzero(line[start - 8 : start + 4])
        if len(inside):
            first = start - 8 + inside[-1]
            ends = np.flatnonzero(~line[first:])
            wall[row] = first + ends[0] - 0.5 if len(ends) else columns
    known = np.flatnonzero(np.isfinite(wall) & (wall < columns))
    if len(known) < 6:
        return np.zeros(SHAPE, dtype=np.float32)
    fit = np.array([0.0, np.percentile(wall[known], 70)])  # a pit's edge in front of the wall must not pass for it
    for _ in range(15):
        rest = wall[known] - np.polyval(fit, known)
        fit = np.polyfit(known, wall[known], 1, w=1.0 / np.sqrt(1.0 + (rest / 1.5) ** 4))
    line = np.polyval(fit, np.arange(rows))
    wall = np.where(np.isfinite(wall), np.clip(wall, line - 3.0, line + 2.0), line)
    limit = wall[:, None] + _HORN_MM / STEP_MM[1]
    behind = np.clip(np.arange(columns)[None] - limit + 0.5, 0, 1)
    return np.broadcast_to(behind[..., None], SHAPE).astype(np.float32)


def _direction(body: NDArray[np.float32], arch: NDArray[np.float32], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """RAS unit vector from the arch's centre to the body's, across the axis."""
    right, anterior, _ = axes.T
    ahead, side = [], []
    for part in (body, arch):
        column = (part.sum((0, 2)) * np.arange(SHAPE[1])).sum() / part.sum()
        depth = (part.sum((0, 1)) * np.arange(SHAPE[2])).sum() / part.sum()
        ahead.append(-column * STEP_MM[1])
        side.append(-depth * STEP_MM[2])
    direction = (ahead[0] - ahead[1]) * anterior + (side[0] - side[1]) * right
    return direction / np.linalg.norm(direction)


def _largest_piece(occupancy: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.ndimage import binary_dilation
    from scipy.ndimage import label as connected

    pieces, count = connected(occupancy >= 0.5)
    if count <= 1:
        return occupancy
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return np.where(binary_dilation(largest, iterations=2) & ((pieces == 0) | largest), occupancy, 0.0)


def centroids_from_labels(labels: VertebraLabels, rounds: int = 3) -> list[Point]:
    """Body centroids of every labelled vertebra, cranial to caudal.

    Starts 12 mm in front of each label's centre of mass (at it, for body masks), then repeats: spine through the
    centres, body cut out in the vertebra's frame, centre of the body.

    Raises:
        MaskError: no vertebra large enough.
    """
    voxel = abs(np.linalg.det(labels.volume.affine[:3, :3]))
    centers = {}
    for label, center in _centers(labels.volume, list(labels.boxes)).items():
        volume = float(labels.indicator(label).array.sum() * voxel)
        if volume >= _MIN_VOLUME_MM3:
            centers[label] = center
    if not centers:
        raise MaskError("The mask has no vertebra of a plausible size.", "Choose a mask of whole vertebrae or bodies.")
    if labels.kind != "body":
        shifted = _BACK_OFFSET_MM * ANTERIOR
        whole = {label: _extent_ap(labels, label) > 50.0 for label in centers}
        centers = {
            label: center + shifted if labels.kind == "vertebra" or whole[label] else center
            for label, center in centers.items()
        }
    levels = {label: labels.names[label] or None for label in centers}
    for _ in range(rounds):
        points = [Point(tuple(center.tolist()), levels[label], str(label)) for label, center in centers.items()]
        spine = build_spine(points)
        for vertebra in spine.vertebrae:
            label = min(centers, key=lambda n: float(np.linalg.norm(centers[n] - vertebra.center)))
            try:
                body, _ = body_from_labels(labels, label, vertebra.center, spine.axes(vertebra))
            except MaskError:
                continue  # the first guess missed this one: it keeps its place, and the spine's checks judge it
            if body.volume_mm3 > 500.0:
                centers[label] = body.centroid()
    order = sorted(centers, key=lambda n: (ORDER.index(str(levels[n])) if levels[n] else 0, -centers[n][2]))
    return [Point(tuple(centers[n].tolist()), levels[n], levels[n] or "") for n in order]


def _extent_ap(labels: VertebraLabels, label: int) -> float:
    """Front-to-back extent of a label (mm)."""
    part = labels.indicator(label)
    points = part.to_ras(np.argwhere(part.array > 0))
    low, high = np.percentile(points[:, 1], [0.5, 99.5])
    return float(high - low)
