"""An analytic spine CT: every vertebral body is a prism of exactly known heights, on a voxel grid of any affine.

A body is an elliptical prism in its own frame (right, anterior, up). Its height over the front-to-back direction is the
parabola through three given heights, shared evenly between both endplates, so that the bisector of the endplates is the
frame's own horizontal plane and the truth needs no fit. The field of HU is known at every point of the world (RAS mm);
a voxel holds its mean over ``oversample`` points along each axis (partial volume), the label of its centre otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.anatomy import VERSE, axis_position
from VertebralGradingLib.spine.points import Point

AIR, FAT, SOFT, CANAL, DISC, CORE, CORTEX = -1000.0, -100.0, 40.0, 20.0, 80.0, 140.0, 450.0
"""HU of what is drawn."""
PLACES = np.array([0.42, 0.0, -0.42])
"""Where the anterior, middle and posterior heights are given: shares of the depth in front of the body's middle.

The outer ones lie 8 % of the depth inside the walls, where the program's definition of the six points puts them."""

_NUMBERS = {level: number for number, level in VERSE.items()}


@dataclass(frozen=True, eq=False)
class Pit:
    """A focal defect of one endplate: a dent that leaves the rest of the endplate as it is.

    Attributes:
        level: which vertebra.
        endplate: +1 superior, -1 inferior.
        depth_mm: greatest depth.
        ap_mm: front-to-back extent of its opening.
        lr_mm: side-to-side extent of its opening.
        ahead_mm: its middle in front of the body's.
        right_mm: its middle to the right of the body's.
        power: 2 for a paraboloid, more for a flat floor and steep walls.
    """

    level: str
    endplate: int
    depth_mm: float
    ap_mm: float
    lr_mm: float
    ahead_mm: float = 0.0
    right_mm: float = 0.0
    power: float = 2.0


@dataclass(frozen=True, eq=False)
class AnalyticSpine:
    """Where the bodies are and what shape they have.

    Attributes:
        levels: cranial to caudal.
        centers: (n, 3) RAS mm, middle of each prism.
        axes: (n, 3, 3) columns right, anterior, up.
        heights: (n, 3) mm, anterior, middle, posterior, at :data:`PLACES`.
        depth: (n,) mm front to back.
        width: (n,) mm side to side.
        pits: focal defects.
        ends: whether a further vertebra is drawn above and below, in the CT only.
    """

    levels: tuple[str, ...]
    centers: NDArray[np.float64]
    axes: NDArray[np.float64]
    heights: NDArray[np.float64]
    depth: NDArray[np.float64]
    width: NDArray[np.float64]
    pits: tuple[Pit, ...] = ()
    ends: bool = True

    def profile(self, n: int) -> NDArray[np.float64]:
        """Coefficients (highest first) of the height of body ``n`` (mm) over the distance in front of its middle."""
        return np.polyfit(PLACES * self.depth[n], self.heights[n], 2)

    def centroid(self, n: int) -> NDArray[np.float64]:
        """Centroid of body ``n`` (RAS mm): a wedged body has it behind its middle."""
        half = self.depth[n] / 2
        u = np.linspace(-half, half, 2001)
        mass = np.polyval(self.profile(n), u) * np.sqrt(np.maximum(1 - (u / half) ** 2, 0))
        return self.centers[n] + (u * mass).sum() / mass.sum() * self.axes[n][:, 1]

    def points(self, named: bool = True) -> list[Point]:
        """True body centroids, cranial to caudal."""
        found = [self.centroid(n) for n in range(len(self.levels))]
        return [
            Point((float(c[0]), float(c[1]), float(c[2])), level if named else None, level if named else "")
            for c, level in zip(found, self.levels, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Phantom:
    """What is rendered, with its truth."""

    ct: Volume
    labels: Volume
    points: list[Point]
    heights: NDArray[np.float64]
    spine: AnalyticSpine


def usual_heights(levels: Sequence[str], size: float = 1.0) -> NDArray[np.float64]:
    """Made-up but plausible heights (n, 3) mm of unfractured bodies: 8 % wedged, 12 % concave, growing caudally."""
    posterior = np.array([17.0 + 0.75 * axis_position(level) for level in levels]) * size
    return np.column_stack([0.96 * posterior, 0.87 * posterior, posterior])


def analytic_spine(
    levels: Sequence[str],
    heights: ArrayLike | None = None,
    *,
    depth: ArrayLike = 30.0,
    width: ArrayLike = 40.0,
    disc: float = 7.0,
    sagittal_deg: ArrayLike = 0.0,
    coronal_deg: ArrayLike = 0.0,
    axial_deg: ArrayLike = 0.0,
    origin: ArrayLike = (0.0, 0.0, 0.0),
    pits: Sequence[Pit] = (),
    ends: bool = True,
) -> AnalyticSpine:
    """Stack bodies and discs along a bent column.

    Args:
        levels: names, cranial to caudal.
        heights: (n, 3) mm; :func:`usual_heights` by default.
        depth: mm, one or one for each.
        width: mm, one or one for each.
        disc: thickness of the discs at their middle (mm).
        sagittal_deg: (n,) lean of each body's own axis to anterior (kyphosis: falling downwards; lordosis: rising).
        coronal_deg: (n,) lean of each body's own axis to the right (scoliosis).
        axial_deg: (n,) axial rotation.
        origin: RAS mm of the middle of the column.
        pits: focal defects.
        ends: whether a further vertebra is drawn above and below.
    """
    count = len(levels)
    heights = usual_heights(levels) if heights is None else np.asarray(heights, dtype=np.float64)
    angles = [np.broadcast_to(np.asarray(a, dtype=np.float64), count) for a in (coronal_deg, sagittal_deg, axial_deg)]
    axes = Rotation.from_euler("YXZ", np.column_stack([angles[0], -angles[1], angles[2]]), degrees=True).as_matrix()
    centers = np.zeros((count, 3))
    half = (heights.max(1) + disc) / 2
    for n in range(1, count):
        centers[n] = centers[n - 1] - half[n - 1] * axes[n - 1][:, 2] - half[n] * axes[n][:, 2]
    centers += np.asarray(origin, dtype=np.float64) - (centers[0] + centers[-1]) / 2
    depths, widths = (np.broadcast_to(np.asarray(v, dtype=np.float64), count) for v in (depth, width))
    return AnalyticSpine(tuple(levels), centers, axes, heights, depths, widths, tuple(pits), ends)


def grid_around(
    spine: AnalyticSpine,
    spacing: ArrayLike = (1.0, 1.0, 1.0),
    axes: ArrayLike | None = None,
    margin_mm: float = 6.0,
    phase: ArrayLike = (0.0, 0.0, 0.0),
) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Affine and shape of a grid that holds a spine.

    Args:
        spine: what it must hold.
        spacing: voxel spacing along i, j, k (mm).
        axes: (3, 3) columns are the directions of i, j, k in RAS; rotated, flipped, left-handed or sheared as wished.
        margin_mm: kept around the bodies and arches.
        phase: shift of the grid (voxels), for averaging over where edges fall between voxel centres.
    """
    columns = (np.eye(3) if axes is None else np.asarray(axes, dtype=np.float64)) * np.asarray(spacing, dtype=float)
    right, behind, ahead = spine.width.max() / 2 + 10, spine.depth.max() / 2 + 34, spine.depth.max() / 2 + 25
    up = spine.heights.max() / 2 + 12
    box = np.array([[x, y, z] for x in (-right, right) for y in (-behind, ahead) for z in (-up, up)])
    corners = np.concatenate([c + box @ frame.T for c, frame in zip(spine.centers, spine.axes, strict=True)])
    index = corners @ np.linalg.inv(columns).T
    low, high = index.min(0) - margin_mm / np.asarray(spacing), index.max(0) + margin_mm / np.asarray(spacing)
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = columns @ (low + np.asarray(phase))
    i, j, k = (int(n) for n in np.ceil(high - low).astype(int) + 1)
    return affine, (i, j, k)


def box_spine_ct(
    levels: Sequence[str] | AnalyticSpine,
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    heights: ArrayLike | None = None,
    *,
    oversample: tuple[int, int, int] | None = None,
    noise_hu: float = 0.0,
    seed: int = 0,
    arch_label: bool = True,
    core_hu: float = CORE,
    cortex_hu: float = CORTEX,
    disc_hu: float = DISC,
    **geometry: object,
) -> Phantom:
    """Render an analytic spine.

    Args:
        levels: names, cranial to caudal, or a spine made by :func:`analytic_spine`.
        affine: (4, 4) voxel -> RAS mm, any.
        shape: number of voxels along i, j, k.
        heights: (n, 3) mm.
        oversample: points averaged along each voxel axis; so many that they lie at most 1 mm apart by default, the
            field's own edges being ramps of that width.
        noise_hu: standard deviation of white noise.
        seed: of the noise.
        arch_label: whether labels hold whole vertebrae, or bodies only.
        core_hu: of trabecular bone.
        cortex_hu: of the shell, 1 mm thick.
        disc_hu: of the discs.
        geometry: further arguments of :func:`analytic_spine`.
    """
    spine = levels if isinstance(levels, AnalyticSpine) else analytic_spine(levels, heights, **geometry)  # type: ignore[arg-type]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    i, j, k = oversample or (int(n) for n in np.maximum(np.ceil(spacing - 0.1), 1.0))
    array = _ct_array(spine, affine, shape, (i, j, k), (core_hu, cortex_hu, disc_hu))
    if noise_hu:
        array = array + np.random.default_rng(seed).normal(0.0, noise_hu, shape)
    ct = Volume(np.rint(array).astype(np.int16), affine)
    return Phantom(ct, label_volume(spine, affine, shape, arch_label), spine.points(), spine.heights, spine)


def label_volume(
    spine: AnalyticSpine, affine: NDArray[np.float64], shape: tuple[int, int, int], arch: bool = True
) -> Volume:
    """VerSe numbers of the voxels whose centres lie in a vertebra (uint8)."""
    out = np.zeros(shape, dtype=np.uint8)
    for n, level in enumerate(spine.levels):
        region, (right, ahead, up) = _local(affine, shape, spine.centers[n], spine.axes[n], _reach(spine, n))
        inside = _body_depth(spine, n, right, ahead, up) > 0
        if arch:
            inside |= _arch_depth(spine, n, right, ahead, up) > 0
        out[region][inside] = _NUMBERS[level]
    return Volume(out, affine)


def _ct_array(
    spine: AnalyticSpine,
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    oversample: tuple[int, int, int],
    bone_hu: tuple[float, float, float],
) -> NDArray[np.float32]:
    factor = np.array(oversample)
    fine_affine = affine.copy()
    fine_affine[:3, :3] = affine[:3, :3] / factor
    fine_affine[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((1.0 / factor - 1.0) / 2.0)
    i, j, k = (int(n) for n in np.array(shape) * factor)
    image = _field(_with_ends(spine), fine_affine, (i, j, k), bone_hu)
    a, b, c = shape
    return image.reshape(a, factor[0], b, factor[1], c, factor[2]).mean(axis=(1, 3, 5))


def _with_ends(spine: AnalyticSpine) -> AnalyticSpine:
    """The spine with one more body at each end, a copy of the last one."""
    if not spine.ends:
        return spine
    first = 2 * spine.centers[0] - spine.centers[1] if len(spine.levels) > 1 else _step(spine, +1)
    last = 2 * spine.centers[-1] - spine.centers[-2] if len(spine.levels) > 1 else _step(spine, -1)

    def both(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([values[:1], values, values[-1:]])

    usual = usual_heights([spine.levels[0], spine.levels[-1]])
    return AnalyticSpine(
        ("", *spine.levels, ""),
        np.concatenate([[first], spine.centers, [last]]),
        both(spine.axes),
        np.concatenate([usual[:1], spine.heights, usual[1:]]),
        both(spine.depth),
        both(spine.width),
        spine.pits,
        False,
    )


def _step(spine: AnalyticSpine, sign: int) -> NDArray[np.float64]:
    return spine.centers[0] + sign * (spine.heights.max() + 7.0) * spine.axes[0][:, 2]


def _reach(spine: AnalyticSpine, n: int) -> NDArray[np.float64]:
    """(2, 3) box around a vertebra in its own frame (mm)."""
    side, up = spine.width[n] / 2 + 4, spine.heights[n].max() / 2 + 10
    return np.array([[-side, -spine.depth[n] / 2 - 36, -up], [side, spine.depth[n] / 2 + 4, up]])


def _local(
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
    box: NDArray[np.float64],
) -> tuple[tuple[slice, ...], list[NDArray[np.float32]]]:
    """Voxels that may lie in a box of a frame, and their coordinates right, ahead, up in it (mm)."""
    inverse = np.linalg.inv(affine)
    corners = np.array([[x, y, z] for x in box[:, 0] for y in box[:, 1] for z in box[:, 2]]) @ axes.T + center
    index = corners @ inverse[:3, :3].T + inverse[:3, 3]
    low = np.clip(np.floor(index.min(0)).astype(int), 0, shape)
    high = np.clip(np.ceil(index.max(0)).astype(int) + 1, low, shape)
    region = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return region, _coordinates(affine, low, high, center, axes)


def _coordinates(
    affine: NDArray[np.float64],
    low: NDArray[np.intp],
    high: NDArray[np.intp],
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
) -> list[NDArray[np.float32]]:
    turned = axes.T @ affine[:3, :3]
    start = axes.T @ (affine[:3, 3] - center)
    i, j, k = (np.arange(a, b, dtype=np.float64) for a, b in zip(low, high, strict=True))
    return [
        (
            (start[axis] + turned[axis, 0] * i)[:, None, None]
            + (turned[axis, 1] * j)[None, :, None]
            + (turned[axis, 2] * k)[None, None, :]
        ).astype(np.float32)
        for axis in range(3)
    ]


def _wall_depth(ahead: NDArray[np.float32], right: NDArray[np.float32], a: float, b: float) -> NDArray[np.float32]:
    """Distance inside an ellipse of half axes ``a`` (ahead) and ``b`` (right), to first order."""
    radius = np.sqrt((ahead / a) ** 2 + (right / b) ** 2) + 1e-6
    slope = np.sqrt((ahead / a**2) ** 2 + (right / b**2) ** 2) / radius
    return (1.0 - radius) / np.maximum(slope, 1.0 / max(a, b))


def _body_depth(
    spine: AnalyticSpine, n: int, right: NDArray[np.float32], ahead: NDArray[np.float32], up: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Distance inside the body's surface, negative outside (mm)."""
    half = spine.profile(n) / 2
    height, slope = np.polyval(half, ahead), np.polyval(np.polyder(half), ahead)
    edges = {side: [height, slope, np.zeros_like(right)] for side in (+1, -1)}  # height, slopes ahead and right
    for pit in spine.pits:
        if pit.level == spine.levels[n]:
            u, v = (ahead - pit.ahead_mm) / (pit.ap_mm / 2), (right - pit.right_mm) / (pit.lr_mm / 2)
            radius = np.minimum(np.hypot(u, v), 1.0)
            share, steep = (
                1.0 - radius**pit.power,
                (radius < 1.0) * pit.depth_mm * pit.power * radius ** (pit.power - 2),
            )
            edge = edges[pit.endplate]
            edge[0] = edge[0] - pit.depth_mm * share
            edge[1] = edge[1] + steep * u / (pit.ap_mm / 2)
            edge[2] = edge[2] + steep * v / (pit.lr_mm / 2)
    vertical = np.minimum(
        *((edges[side][0] - side * up) / np.sqrt(1.0 + edges[side][1] ** 2 + edges[side][2] ** 2) for side in (+1, -1))
    )
    return np.minimum(vertical, _wall_depth(ahead, right, spine.depth[n] / 2, spine.width[n] / 2))


def _arch_depth(
    spine: AnalyticSpine, n: int, right: NDArray[np.float32], ahead: NDArray[np.float32], up: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Distance inside the arch: two pedicles, a lamina, a spinous process, leaving a canal of 15 mm."""
    back, tall = -spine.depth[n] / 2, 0.22 * spine.heights[n][2]
    boxes = (  # right, ahead, up: middle and half size
        ((+11.0, back - 6.5, 0.4 * tall), (3.5, 9.5, tall)),
        ((-11.0, back - 6.5, 0.4 * tall), (3.5, 9.5, tall)),
        ((0.0, back - 18.0, -tall), (14.5, 3.0, 1.5 * tall)),
        ((0.0, back - 25.0, -1.5 * tall), (3.0, 7.0, tall)),
    )
    out = np.full(np.broadcast_shapes(right.shape, ahead.shape, up.shape), -50.0, dtype=np.float32)
    for middle, size in boxes:
        inside = [s - np.abs(x - m) for x, m, s in zip((right, ahead, up), middle, size, strict=True)]
        out = np.maximum(out, np.minimum(np.minimum(inside[0], inside[1]), inside[2]))
    return out


def _field(
    spine: AnalyticSpine,
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    bone_hu: tuple[float, float, float],
    blur_mm: float = 0.4,
) -> NDArray[np.float32]:
    """HU at the points of a grid; edges are ramps, as a box blur of standard deviation ``blur_mm`` makes them."""
    core_hu, cortex_hu, disc_hu = bone_hu
    slope = np.float32(1.0 / (np.sqrt(12.0) * blur_mm))

    def soft(depth: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip(0.5 + slope * depth, 0.0, 1.0)

    image = _tissue(spine, affine, shape)
    middles = [(a + b) / 2 for a, b in zip(spine.centers, spine.centers[1:], strict=False)]
    for n, middle in enumerate(middles):
        up = spine.centers[n] - spine.centers[n + 1]
        half, axes = np.linalg.norm(up) / 2, _frame(up, spine.axes[n][:, 1] + spine.axes[n + 1][:, 1])
        side = spine.width[n] / 2
        box = np.array([[-side, -side, -half], [side, side, half]])
        region, (right, ahead, z) = _local(affine, shape, middle, axes, box)
        disc = soft(_wall_depth(ahead, right, 0.97 * spine.depth[n] / 2, 0.97 * side)) * (np.abs(z) <= half)
        image[region] += disc * (disc_hu - image[region])
    for n in range(len(spine.centers)):
        region, (right, ahead, up) = _local(affine, shape, spine.centers[n], spine.axes[n], _reach(spine, n))
        back = -spine.depth[n] / 2
        canal = soft(7.5 - np.hypot(right, ahead - back + 7.5)) * (np.abs(up) <= spine.heights[n].max() / 2 + 4)
        image[region] += canal * (CANAL - image[region])
        body, arch = (shape_of(spine, n, right, ahead, up) for shape_of in (_body_depth, _arch_depth))
        bone = core_hu + (cortex_hu - core_hu) * (1.0 - soft(np.maximum(body, arch) - 1.0))
        image[region] += soft(np.maximum(body, arch)) * (bone - image[region])
    return image


def _frame(up: NDArray[np.float64], anterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Right-handed axes, columns right, anterior, up."""
    up = up / np.linalg.norm(up)
    anterior = anterior - (anterior @ up) * up
    anterior = anterior / np.linalg.norm(anterior)
    return np.column_stack([np.cross(anterior, up), anterior, up])


def _tissue(spine: AnalyticSpine, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Soft tissue with two strands of fat in front of the spine, fat under the skin, and air around."""
    middle = spine.centers.mean(0)
    right, ahead, _ = _coordinates(affine, np.zeros(3, dtype=np.intp), np.array(shape), middle, np.eye(3))
    radius = np.hypot(right / 140.0, (ahead - 30.0) / 95.0)
    strands = np.hypot(np.abs(right) - 24.0, ahead - spine.depth.max() / 2 - 12.0) < 7.0
    image = np.where(strands | (radius > 0.86), np.float32(FAT), np.float32(SOFT))
    return np.where(radius > 1.0, np.float32(AIR), image)
