"""The vertebral body from CT and a centroid alone, without learned weights.

Around the seed two kinds of surfaces are sought in a straightened block, each as the best smooth sheet through a cost
volume of intensity drops: the wall, in cylinder coordinates around the body's axis, and the two endplates, as heights
over the body's cross-section. The first pass sees the spline's frame, which may be tilted by up to 13 degrees against
the vertebra; the second runs in the frame of the endplates found by the first. Edges are then moved to where the
profile crosses half way between the bone's rim and what lies outside (half maximum), which is sub-voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.segmentation.edges import drop_cost, facing_edge, half_maximum, outward_drop
from VertebralGradingLib.segmentation.size import Size, expected_size
from VertebralGradingLib.segmentation.surfaces import best_surface, quadratic_fit, smooth_sheet
from VertebralGradingLib.segmentation.uncertainty import Calibration
from VertebralGradingLib.spine.curve import axes_from
from VertebralGradingLib.spine.reformation import Grid

_CLIP_HU = (-150.0, 700.0)
_ANGLES = 72
_RADII = np.arange(3.0, 34.0, 0.5)
_WALL_ROWS = np.arange(-24.0, 24.5, 1.0)
_PLATE_MM = np.arange(2.0, 30.0, 0.5)
_STIFF = ((0.0, 0.06, 0.25, 0.6), 1.2)
"""Cost of steps and jumps of the wall, which is smoother than a broken endplate."""
_HORN_MM = 2.5
"""How far the body's corners reach behind the middle of its back wall; beyond lies the pedicle."""
_SETTLED_MM = 0.7
_MOST_PASSES = 4
_SURE = 0.6
_CLEARLY = 0.15
_RETRY_MM = (4.0, -4.0)
_LEAST_SHARE = 0.8
"""A second try that finds a smaller thing has more likely found a disc."""
CALIBRATION = Calibration(0.3, {"roughness": 0.2, "doubt": 1.5, "slices": 0.1})
"""Of ``roughness`` of the endplates, ``change`` of the height in the last pass (mm), ``doubt`` (1 - confidence) and
distance of ``slices`` (mm). Assumed; ``Testing/benchmarks/network_calibration.py --search classical`` would fit it."""
_LIP_MM = 1.0
"""How far a rim may stand out of the endplate's smooth surface; beyond begins a bridge to the next body."""
_SEED_ERROR_MM = 6.0
"""How far along the axis a seed may lie from the body's middle."""
_CENTER = (np.array(SHAPE) - 1) / 2


def find_body_classical(
    ct: Volume,
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
    spacing_up: float | None,
    spacing_down: float | None,
) -> BodyMask:
    """Find the body around a centroid.

    A doubtful result is tried again from seeds a little higher and lower, and the surest one is taken.

    Args:
        ct: HU.
        center: (3,) RAS mm, somewhere near the middle of the body.
        axes: (3, 3) columns right, anterior, up from the curve.
        spacing_up: distance to the next centroid above (mm), None at the end of a chain.
        spacing_down: the same below.

    Returns:
        The body with its confidence; never an error: a poor result has a low confidence.
    """
    size = expected_size(spacing_up, spacing_down)
    best = _from_seed(ct, center, center, axes, size)
    for shift in _RETRY_MM:
        if best.confidence >= _SURE:
            break
        other = _from_seed(ct, center, center + shift * axes[:, 2], axes, size)
        if other.confidence > best.confidence + _CLEARLY and other.volume_mm3 > _LEAST_SHARE * best.volume_mm3:
            best = other
    return best


def _from_seed(
    ct: Volume, center: NDArray[np.float64], seed: NDArray[np.float64], axes: NDArray[np.float64], size: Size
) -> BodyMask:
    """Search around one seed, again in the frame it found until the height stays; ``center`` is the given centroid."""
    place, frame, heights = seed, axes, []
    known_radius = None
    while True:
        grid = body_grid(place, frame)
        result = _Search(sample(ct, grid.points()), size, known_radius).run()
        heights.append(result.height)
        settled = len(heights) > 1 and abs(heights[-1] - heights[-2]) < _SETTLED_MM
        if settled or len(heights) == _MOST_PASSES:
            break
        known_radius = result.radius_mid
        place, frame = result.refined_frame(grid, frame)
        size = Size(result.height / 2, result.height / 2, size.radius_ap, size.radius_lr)
    body = result.to_body(grid, frame)
    moved = float(np.linalg.norm(body.centroid() - center))
    confidence = _confidence(result, abs(heights[-1] - heights[-2]), moved)
    signs = {
        "roughness": result.roughness,
        "change": abs(heights[-1] - heights[-2]),
        "doubt": 1.0 - confidence,
        "slices": ct.spacing_along(frame[:, 2]),
    }
    return CALIBRATION.told(replace(body, confidence=confidence, signs=signs))


def _confidence(found: _Found, change_mm: float, moved_mm: float) -> float:
    """How sure the search is, 0..1.

    Seeds put on purpose into discs, the canal, and beside the spine of the development CTs gave rough or weak
    endplates, heights that changed from pass to pass, or a body far from the seed; seeds placed by eye did not.
    """
    strength = np.clip((found.strength - 0.30) / 0.20, 0, 1)
    smooth = np.clip((1.6 - found.roughness) / 0.5, 0, 1)
    stable = np.clip((3.0 - change_mm) / 2.0, 0, 1)
    near = np.clip((14.0 - moved_mm) / 6.0, 0, 1)
    bone = np.clip((45.0 - found.hollow_hu) / 25.0, 0, 1)
    return float(strength * smooth * stable * near * bone)


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
    hollow_hu: float

    @property
    def height(self) -> float:
        """Median distance between the endplates (mm)."""
        return float(np.median((self.top - self.bottom)[self.weight > 0.5]))

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

    def to_body(self, grid: Grid, axes: NDArray[np.float64]) -> BodyMask:
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
        return BodyMask(occupancy, grid, axes, "classical")


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


def _bounding_box(used: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest box around what is used, one wider on every side."""
    bounds = []
    for axis in (1, 0):
        places = np.flatnonzero(used.any(axis=axis))
        low, high = (places[0], places[-1]) if len(places) else (0, used.shape[1 - axis] - 1)
        bounds.append(slice(max(int(low) - 1, 0), int(high) + 2))
    return bounds[0], bounds[1]


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
        strength = float(np.mean([(-drop_cost(d))[core > 0.5].mean() for d in (drop_top, drop_bottom)]))
        rough, hollow = float(np.mean([rough_top, rough_bottom])), self._hollow(top, bottom, core)
        return _Found(top, bottom, core, radius, radius_mid, shift, strength, rough, hollow)

    def _hollow(self, top: NDArray[np.float64], bottom: NDArray[np.float64], core: NDArray[np.float64]) -> float:
        """How much darker the middle is than the quarters above and below (HU): a disc between two bodies is."""
        column, depth = np.nonzero(core > 0.5)
        levels = {}
        for share in (0.28, 0.5, 0.72):
            height = top[column, depth] * (1 - share) + bottom[column, depth] * share
            row = _CENTER[0] - height / STEP_MM[0]
            levels[share] = float(map_coordinates(self.smooth, [row, column, depth], order=1, mode="nearest").mean())
        return min(levels[0.28], levels[0.72]) - levels[0.5]

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
        cost = drop_cost(outward_drop(rays, 0.5, 2.0))
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
        cost = drop_cost(outward_drop(profile, STEP_MM[0], 1.0))
        offset = (heights - expected) / 4.0
        beyond = np.clip((heights - expected - _SEED_ERROR_MM) / 2.0, 0, None)
        partner = facing_edge(cost) * np.clip(-2.0 * cost, 0, 1)  # a facing edge counts where there is one to face
        cost = (cost + 0.05 * offset**2 + 0.3 * beyond + 0.8 * partner) * footprint[..., None]
        box = _bounding_box(footprint > 0)  # what lies outside costs nothing and decides nothing
        choice = np.zeros(footprint.shape, dtype=np.intp)
        choice[box] = best_surface(np.ascontiguousarray(cost[box], dtype=np.float32))[0]
        where, drop = half_maximum(profile, choice, STEP_MM[0])
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
        where, drop = half_maximum(rays, choice, 0.5, reach=2.0)
        raw = np.interp(where, np.arange(len(_RADII)), _RADII)
        weight = inside * np.clip(drop, 5.0, 300.0)
        tripled = [np.concatenate([a, a, a], axis=0) for a in (raw, weight)]
        radius = smooth_sheet(tripled[0], tripled[1], 1.0)[_ANGLES : 2 * _ANGLES]
        back = np.abs(self.angles - np.pi) < np.radians(25)
        wall = np.median(radius[back] * -cos[back, None], axis=0)
        behind = np.where(cos < -0.2, -cos, np.nan)[:, None]
        limit = np.where(np.isnan(behind), np.inf, (wall + _HORN_MM) / behind)
        return np.minimum(radius, limit)
