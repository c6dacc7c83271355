"""The vertebral body from CT and a centroid alone, without learned weights.

Around the seed two kinds of surfaces are sought in a straightened block, each as the best smooth sheet through a cost
volume of intensity drops: the wall, in cylinder coordinates around the body's axis, and the two endplates, as heights
over the body's cross-section. The first pass sees the spline's frame, which may be tilted by up to 13 degrees against
the vertebra; the second runs in the frame of the endplates found by the first. Edges are then moved to where the
profile crosses half way between the bone's rim and what lies outside (half maximum), which is sub-voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates, uniform_filter1d

from VertebralGradingLib.curve import axes_from
from VertebralGradingLib.reformation import Grid
from VertebralGradingLib.sampling import sample
from VertebralGradingLib.segmentation.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.segmentation.surfaces import best_surface, quadratic_fit, smooth_sheet
from VertebralGradingLib.volume import Volume

_CLIP_HU = (-150.0, 700.0)
_HALF_DROP_HU = 90.0
"""A drop across an edge that counts half of the strongest one."""
_ANGLES = 72
_RADII = np.arange(3.0, 34.0, 0.5)
_WALL_ROWS = np.arange(-24.0, 24.5, 1.0)
_PLATE_MM = np.arange(2.0, 30.0, 0.5)
_STIFF = ((0.0, 0.06, 0.25, 0.6), 1.2)
"""Cost of steps and jumps of the wall, which is smoother than a broken endplate."""
_HORN_MM = 2.5
"""How far the body's corners reach behind the middle of its back wall; beyond lies the pedicle."""
_LIP_MM = 1.0
"""How far a rim may stand out of the endplate's smooth surface; beyond begins a bridge to the next body."""
_SEED_ERROR_MM = 6.0
"""How far along the axis a seed may lie from the body's middle."""
_CENTER = (np.array(SHAPE) - 1) / 2


@dataclass(frozen=True)
class Size:
    """What the seeds say about a body's size (mm): distance to both endplates, radius front to back and sideways."""

    up: float
    down: float
    radius_ap: float
    radius_lr: float


def expected_size(spacing_up: float | None, spacing_down: float | None) -> Size:
    """Rough size of a body from the distance to its neighbours' centroids.

    A body takes about 0.80 of the step between centroids, the disc the rest. Without neighbours that of L1 is taken.
    """
    known = [step for step in (spacing_up, spacing_down) if step is not None]
    mean = float(np.mean(known)) if known else 33.0
    up = spacing_up if spacing_up is not None else mean
    down = spacing_down if spacing_down is not None else mean
    radius = float(np.clip(0.42 * mean + 3.5, 10.0, 17.5))
    width = radius * float(np.clip(1.02 + 0.018 * (mean - 20.0), 1.0, 1.4))
    return Size(0.41 * up, 0.41 * down, radius, width)


def find_body_classical(
    ct: Volume,
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
    spacing_up: float | None,
    spacing_down: float | None,
    passes: int = 2,
) -> BodyMask:
    """Find the body around a centroid.

    Args:
        ct: HU.
        center: (3,) RAS mm, somewhere near the middle of the body.
        axes: (3, 3) columns right, anterior, up from the curve.
        spacing_up: distance to the next centroid above (mm), None at the end of a chain.
        spacing_down: the same below.
        passes: how often the search is repeated in the frame it found.

    Returns:
        The body with its confidence; never an error: a poor result has a low confidence.
    """
    size = expected_size(spacing_up, spacing_down)
    result = None
    for number in range(passes):
        grid = body_grid(center, axes)
        block = sample(ct, grid.points())
        search = _Search(block, size, known_radius=None if result is None else result.radius_mid)
        result = search.run()
        if number + 1 < passes:
            center, axes = result.refined_frame(grid, axes)
            size = Size(*result.reach, size.radius_ap, size.radius_lr)
    assert result is not None
    return result.to_body(ct, grid, axes)


@dataclass(eq=False)
class _Found:
    """Surfaces of one pass, in mm from the block's centre."""

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    weight: NDArray[np.float64]
    radius: NDArray[np.float64]
    radius_mid: NDArray[np.float64]
    shift: tuple[float, float]
    strength: float
    roughness: float

    @property
    def reach(self) -> tuple[float, float]:
        """Distance from the middle to the endplates (mm)."""
        inside = self.weight > 0.5
        half = float(np.median((self.top - self.bottom)[inside])) / 2
        return half, half

    def refined_frame(self, grid: Grid, axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre and axes whose up is the bisector of both endplates."""
        right, anterior, up = axes.T
        slopes = [_slope(sheet, self.weight) for sheet in (self.top, self.bottom)]
        tilt_a, tilt_r = np.clip(np.mean(slopes, axis=0), -0.45, 0.45)
        new_up = up - tilt_a * anterior - tilt_r * right
        inside = self.weight > 0.5
        middle = float(np.median((self.top + self.bottom)[inside])) / 2
        ahead, left = self.shift
        center = grid.to_ras(_CENTER) + middle * up + ahead * anterior - left * right
        return center, axes_from(new_up, anterior)

    def to_body(self, ct: Volume, grid: Grid, axes: NDArray[np.float64]) -> BodyMask:
        """Occupancy of the space between the surfaces."""
        z, ahead, left = _coordinates()
        vertical = np.minimum(self.top[None] - z, z - self.bottom[None]) / STEP_MM[0]
        angle = np.arctan2(left - self.shift[1], ahead - self.shift[0])
        distance = np.hypot(left - self.shift[1], ahead - self.shift[0])
        rows = np.broadcast_to((z - _WALL_ROWS[0]) / 1.0, (SHAPE[0], *distance.shape))
        turns = np.broadcast_to((angle % (2 * np.pi)) / (2 * np.pi) * _ANGLES, rows.shape)
        closed = np.concatenate([self.radius, self.radius[:1]], axis=0)
        limit = map_coordinates(closed, [turns, rows], order=1, mode="nearest")
        sideways = (limit - distance[None]) / STEP_MM[1]
        occupancy = np.clip(0.5 + np.minimum(vertical, sideways), 0, 1).astype(np.float32)
        confidence = float(np.clip((self.strength - 0.15) / 0.35, 0, 1) * np.clip(1.5 - self.roughness / 2.0, 0, 1))
        flags = ("low_confidence_mask",) if confidence < 0.3 else ()
        return BodyMask(
            occupancy, grid, axes, "classical", confidence, 0.25 + 0.5 * (1 - confidence) + 0.2 * self.roughness, flags
        )


def _coordinates() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Height (rows, 1, 1), and anterior and left distance (columns, depth), of the samples from the centre (mm)."""
    z = (_CENTER[0] - np.arange(SHAPE[0])) * STEP_MM[0]
    ahead = (_CENTER[1] - np.arange(SHAPE[1])) * STEP_MM[1]
    left = (np.arange(SHAPE[2]) - _CENTER[2]) * STEP_MM[2]
    return z[:, None, None], *np.meshgrid(ahead, left, indexing="ij")


def _slope(sheet: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust slope of a sheet towards anterior and towards right (mm per mm), small pits not counting."""
    _, ahead, left = _coordinates()
    used = weight > 0.5
    design = np.column_stack([np.ones(used.sum()), ahead[used], -left[used]])
    target, robust = sheet[used], np.ones(used.sum())
    for _ in range(8):
        fit = np.linalg.lstsq(design * robust[:, None], target * robust, rcond=None)[0]
        rest = target - design @ fit
        scale = 1.4826 * np.median(np.abs(rest)) + 0.3
        robust = np.sqrt(1.0 / (1.0 + (rest / (1.5 * scale)) ** 2))
    return fit[1:]


def _drop_cost(drop: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cost in -1..1 of an outward intensity drop (HU)."""
    return (-drop / (np.abs(drop) + _HALF_DROP_HU)).astype(np.float32)


def _outward_drop(profile: NDArray[np.float32], step: float, reach: float = 1.5) -> NDArray[np.float32]:
    """Mean over ``reach`` mm inside minus mean outside, along the last axis."""
    width = max(round(reach / step), 1)
    mean = uniform_filter1d(profile, width, axis=-1, mode="nearest")
    ahead = (width + 1) // 2
    inner = np.concatenate([np.repeat(mean[..., :1], ahead, -1), mean[..., :-ahead]], axis=-1)
    outer = np.concatenate([mean[..., ahead:], np.repeat(mean[..., -1:], ahead, -1)], axis=-1)
    return inner - outer


def _facing_edge(cost: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cost (-1..0) of the best rising edge of the next body beyond each candidate, a disc's thickness away.

    Only the true endplate is followed by a disc and then by another endplate; the edges inside the next body, where
    a thin disc was crossed, are followed by its whole height. Along the last axis, 0.5 mm a sample.
    """
    best = np.zeros_like(cost)
    for samples in range(3, 37):
        rising = np.full_like(cost, 0.0)
        rising[..., :-samples] = -cost[..., samples:]
        np.minimum(best, rising + 0.02 * max(samples - 14, 0), out=best)
    return best


def _half_maximum(
    profile: NDArray[np.float32], choice: NDArray[np.intp], step: float, reach: float = 2.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sub-sample place of the half maximum nearest to the chosen sample, along the last axis.

    Returns:
        Fractional index, and the drop (HU) from the rim inside to the trough outside.
    """
    count = profile.shape[-1]
    width = round(reach / step)
    offsets = np.arange(-width, width + 1)
    index = np.clip(choice[..., None] + offsets, 0, count - 1)
    window = np.take_along_axis(profile, index, -1).astype(np.float64)
    inner = window[..., : width + 2].max(-1)
    outer = window[..., width - 1 :].min(-1)
    level = (inner + outer) / 2
    falls = (window[..., :-1] >= level[..., None]) & (window[..., 1:] < level[..., None])
    distance = np.where(falls, np.abs(offsets[:-1] + 0.5), np.inf)
    place = distance.argmin(-1)
    high = np.take_along_axis(window, place[..., None], -1)[..., 0]
    low = np.take_along_axis(window, place[..., None] + 1, -1)[..., 0]
    part = np.clip((high - level) / np.maximum(high - low, 1e-3), 0, 1)
    found = np.isfinite(np.take_along_axis(distance, place[..., None], -1)[..., 0])
    where = np.where(found, choice + offsets[place] + part, choice)
    return where, inner - outer


class _Search:
    """One pass over one block."""

    def __init__(self, block: NDArray[np.float32], size: Size, known_radius: NDArray[np.float64] | None) -> None:
        self.block = np.clip(block, *_CLIP_HU)
        self.smooth = gaussian_filter(self.block, (0.8, 0.8, 0.8))
        self.size = size
        self.known_radius = known_radius
        self.angles = np.arange(_ANGLES) / _ANGLES * 2 * np.pi

    def run(self) -> _Found:
        shift, radius_mid = self._middle_contour()
        footprint = self._footprint(shift, radius_mid, margin=1.5)
        top, drop_top, rough_top = self._endplate(+1, footprint)
        bottom, drop_bottom, rough_bottom = self._endplate(-1, footprint)
        bottom = np.minimum(bottom, top - 3.0)
        radius = self._wall(shift, radius_mid, top, bottom)
        core = self._footprint(shift, radius_mid, margin=-1.0)
        strength = float(np.mean([(-_drop_cost(d))[core > 0.5].mean() for d in (drop_top, drop_bottom)]))
        return _Found(top, bottom, core, radius, radius_mid, shift, strength, float(np.mean([rough_top, rough_bottom])))

    def _rays(self, shift: tuple[float, float], heights: NDArray[np.float64]) -> NDArray[np.float32]:
        """(angles, heights, radii) intensities along rays from the axis."""
        cos, sin = np.cos(self.angles)[:, None, None], np.sin(self.angles)[:, None, None]
        shape = (_ANGLES, len(heights), len(_RADII))
        row = np.broadcast_to(_CENTER[0] - heights[None, :, None] / STEP_MM[0], shape)
        column = np.broadcast_to(_CENTER[1] - shift[0] - cos * _RADII, shape)
        depth = np.broadcast_to(_CENTER[2] + shift[1] + sin * _RADII, shape)
        return map_coordinates(self.smooth, [row, column, depth], order=1, mode="nearest", output=np.float32)

    def _ellipse(self) -> NDArray[np.float64]:
        """(angles,) expected radius: round in front, cornered behind."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        power = np.where(cos < 0, 3.5, 2.2)
        ahead, side = np.abs(cos) / self.size.radius_ap, np.abs(sin) / self.size.radius_lr
        return (ahead**power + side**power) ** (-1.0 / power)

    def _wall_cost(self, rays: NDArray[np.float32], expected: NDArray[np.float64], sigma: float) -> NDArray[np.float32]:
        cost = _drop_cost(_outward_drop(rays, 0.5, 2.0))
        dark = np.clip((30.0 - rays) / 100.0, 0, 1.5)  # fat, air or fluid between here and the axis
        cost += 0.12 * np.maximum(np.cumsum(dark, axis=-1) - 3.0, 0)
        offset = (_RADII - expected[:, None, None]) / sigma
        return (cost + 0.12 * offset**2).astype(np.float32)

    def _middle_contour(self) -> tuple[tuple[float, float], NDArray[np.float64]]:
        """Closed contour at mid-height, re-centred until the seed lies in its middle."""
        reach = 0.35 * min(self.size.up, self.size.down)
        heights = np.arange(-reach, reach + 0.1, 1.0)
        shift, expected, sigma = (0.0, 0.0), self._ellipse(), 5.0
        if self.known_radius is not None:
            expected, sigma = 0.5 * (expected + self.known_radius), 4.0
        radius = expected
        for _ in range(3):
            rays = self._rays(shift, heights)
            mean = np.median(rays, axis=1, keepdims=True)
            cost = self._wall_cost(mean, expected, sigma)
            choice, _ = best_surface(np.repeat(cost, 3, axis=1), True, *_STIFF)
            radius = gaussian_filter1d(_RADII[choice[:, 1]], 1.0, mode="wrap")
            ahead = (radius**2 * np.cos(self.angles)).sum() / (radius**2).sum() * 2 / 3 * radius.mean()
            left = (radius**2 * np.sin(self.angles)).sum() / (radius**2).sum() * 2 / 3 * radius.mean()
            ahead, left = radius.mean() * np.array([ahead, left]) / max(radius.mean(), 1e-6)
            moved = float(np.hypot(ahead, left))
            shift = (shift[0] + float(ahead), shift[1] + float(left))
            limit = 8.0 / max(float(np.hypot(*shift)), 8.0)
            shift = (shift[0] * limit, shift[1] * limit)
            if moved < 0.4:
                break
        return shift, radius

    def _footprint(self, shift: tuple[float, float], radius: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
        """(columns, depth) 1 inside the contour widened by ``margin`` mm, else 0."""
        _, ahead, left = _coordinates()
        angle = np.arctan2(left - shift[1], ahead - shift[0]) % (2 * np.pi)
        limit = np.interp(angle, np.append(self.angles, 2 * np.pi), np.append(radius, radius[0]))
        return (np.hypot(left - shift[1], ahead - shift[0]) <= limit + margin).astype(np.float64)

    def _endplate(
        self, side: int, footprint: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Height (columns, depth) of the upper (side +1) or lower (-1) endplate, its drop (HU), its roughness (mm)."""
        rows = np.rint(_CENTER[0] - side * _PLATE_MM / STEP_MM[0]).astype(int)
        heights = (_CENTER[0] - rows) * STEP_MM[0] * side
        profile = np.moveaxis(self.smooth[rows], 0, -1)
        expected = self.size.up if side > 0 else self.size.down
        cost = _drop_cost(_outward_drop(profile, STEP_MM[0], 1.0))
        offset = (heights - expected) / 4.0
        beyond = np.clip((heights - expected - _SEED_ERROR_MM) / 2.0, 0, None)
        partner = _facing_edge(cost)
        cost = (cost + 0.05 * offset**2 + 0.3 * beyond + 0.8 * partner) * footprint[..., None]
        choice, _ = best_surface(cost.astype(np.float32))
        where, drop = _half_maximum(profile, choice, STEP_MM[0])
        weight = footprint * np.clip(drop, 5.0, 300.0)
        raw = np.interp(where, np.arange(len(heights)), heights)
        sheet = smooth_sheet(raw, weight, 1.0)
        _, ahead, left = _coordinates()
        usual = quadratic_fit(sheet, footprint > 0.5, ahead, left)
        sheet = np.minimum(sheet, usual + _LIP_MM)
        rough = float(np.sqrt(np.average((raw - sheet) ** 2, weights=weight + 1e-9)))
        return side * sheet, drop, rough

    def _wall(
        self,
        shift: tuple[float, float],
        radius_mid: NDArray[np.float64],
        top: NDArray[np.float64],
        bottom: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(angles, rows) radius of the wall at every height, flaring from the middle contour."""
        rays = self._rays(shift, _WALL_ROWS)
        cost = self._wall_cost(rays, radius_mid, 3.5)
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        column = _CENTER[1] - shift[0] - cos * (radius_mid - 2)
        depth = _CENTER[2] + shift[1] + sin * (radius_mid - 2)
        high = map_coordinates(top, [column, depth], order=1, mode="nearest")
        low = map_coordinates(bottom, [column, depth], order=1, mode="nearest")
        inside = (_WALL_ROWS < high[:, None] - 0.5) & (_WALL_ROWS > low[:, None] + 0.5)
        choice, _ = best_surface(cost * inside[..., None].astype(np.float32), True, *_STIFF)
        where, drop = _half_maximum(rays, choice, 0.5, reach=2.0)
        raw = np.interp(where, np.arange(len(_RADII)), _RADII)
        weight = inside * np.clip(drop, 5.0, 300.0)
        tripled = [np.concatenate([a, a, a], axis=0) for a in (raw, weight)]
        radius = smooth_sheet(tripled[0], tripled[1], 1.0)[_ANGLES : 2 * _ANGLES]
        back = np.abs(self.angles - np.pi) < np.radians(25)
        wall = np.median(radius[back] * -cos[back, None], axis=0)
        behind = np.where(cos < -0.2, -cos, np.nan)[:, None]
        limit = np.where(np.isnan(behind), np.inf, (wall + _HORN_MM) / behind)
        return np.minimum(radius, limit)
