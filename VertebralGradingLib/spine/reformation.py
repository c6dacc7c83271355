"""Reformations along the spine: sagittal patches and straightened blocks, each with its sampling grid.

Index order is (row, column, depth): rows run caudally, columns posteriorly, depth to the patient's left, so that
anterior is on the left of a displayed patch and the axes are right-handed in RAS. Sheet 5, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.spine import Spine, Vertebra

Mode = Literal["plane", "curved"]

PATCH_SIZE = 128
"""Edge of a patch (pixels of 1 mm)."""
CROP_SIZE = 112
"""Edge of the crop that published systems use (pixels of 1 mm)."""
VOI_SIGMA_MM = 8.0
"""Standard deviation of the Gaussian that marks the vertebra of interest (sheet 1)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the samples of a patch or block lie: every row is a flat sheet with its own place and axes.

    Attributes:
        shape: (rows, columns, depth).
        origin: (rows, 3) RAS mm of column 0, depth 0 in each row.
        column_step: (rows, 3) RAS mm from one column to the next.
        depth_step: (rows, 3) RAS mm from one depth to the next.
    """

    shape: tuple[int, int, int]
    origin: NDArray[np.float64]
    column_step: NDArray[np.float64]
    depth_step: NDArray[np.float64]

    @cached_property
    def affine(self) -> NDArray[np.float64] | None:
        """(4, 4) index -> RAS mm when the grid is rigid (rows equally spaced and parallel), else None."""
        rows = np.diff(self.origin, axis=0)
        bent = max(np.ptp(rows, axis=0).max(), np.ptp(self.column_step, axis=0).max())
        if max(bent, np.ptp(self.depth_step, axis=0).max()) > 1e-9:
            return None
        affine = np.eye(4)
        affine[:3, :3] = np.column_stack([rows.mean(0), self.column_step[0], self.depth_step[0]])
        affine[:3, 3] = self.origin[0]
        return affine

    def points(self) -> NDArray[np.float64]:
        """(rows, columns, depth, 3) RAS mm of every sample."""
        _, columns, depth = self.shape
        c = np.arange(columns, dtype=np.float64)[None, :, None, None]
        d = np.arange(depth, dtype=np.float64)[None, None, :, None]
        return self.origin[:, None, None] + c * self.column_step[:, None, None] + d * self.depth_step[:, None, None]

    def to_ras(self, index: NDArray[Any]) -> NDArray[np.float64]:
        """Fractional (row, column, depth) (..., 3) -> RAS mm (..., 3); rows are interpolated linearly."""
        index = np.asarray(index, dtype=np.float64)
        row = index[..., 0]
        low = np.clip(np.floor(row).astype(int), 0, self.shape[0] - 2)
        part = (row - low)[..., None]

        def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[low] * (1 - part) + values[low + 1] * part

        return at(self.origin) + index[..., 1:2] * at(self.column_step) + index[..., 2:3] * at(self.depth_step)

    def to_index(self, points_ras: NDArray[Any]) -> NDArray[np.float64]:
        """RAS mm (..., 3) -> fractional (row, column, depth) (..., 3), the inverse of :meth:`to_ras`."""
        points = np.asarray(points_ras, dtype=np.float64)
        if self.affine is not None:
            inverse = np.linalg.inv(self.affine)
            return points @ inverse[:3, :3].T + inverse[:3, 3]
        flat = points.reshape(-1, 3)
        center = self.to_ras(np.array([0.0, (self.shape[1] - 1) / 2, (self.shape[2] - 1) / 2]))
        axis = (self.origin[-1] - self.origin[0]) / (self.shape[0] - 1)
        row = ((flat - center) @ axis) / (axis @ axis)
        index = np.column_stack([row, np.zeros((len(flat), 2))])
        for _ in range(20):  # Newton on the bilinear map; the rows of a spine are nearly parallel
            error = flat - self.to_ras(index)
            step = np.einsum("nij,nj->ni", np.linalg.inv(self._jacobian(index)), error)
            index = index + np.clip(step, -40, 40)
            if np.abs(step).max() < 1e-7:
                break
        return index.reshape(points.shape)

    def _jacobian(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        low = np.clip(np.floor(index[:, 0]).astype(int), 0, self.shape[0] - 2)
        part = (index[:, 0] - low)[:, None]
        column = self.column_step[low] * (1 - part) + self.column_step[low + 1] * part
        depth = self.depth_step[low] * (1 - part) + self.depth_step[low + 1] * part
        row = (
            self.origin[low + 1]
            - self.origin[low]
            + index[:, 1:2] * (self.column_step[low + 1] - self.column_step[low])
            + index[:, 2:3] * (self.depth_step[low + 1] - self.depth_step[low])
        )
        return np.stack([row, column, depth], axis=-1)

    def box(self, low: Sequence[int], high: Sequence[int]) -> Grid:
        """The part from index ``low`` up to, not including, ``high``."""
        (r, c, d), (r_end, c_end, d_end) = low, high
        rows = slice(r, r_end)
        return Grid(
            (r_end - r, c_end - c, d_end - d),
            self.origin[rows] + c * self.column_step[rows] + d * self.depth_step[rows],
            self.column_step[rows],
            self.depth_step[rows],
        )

    def crop(self, edge: int) -> Grid:
        """The central ``edge`` x ``edge`` rows and columns, all depths."""
        r, c = (self.shape[0] - edge) // 2, (self.shape[1] - edge) // 2
        return self.box((r, c, 0), (r + edge, c + edge, self.shape[2]))


@dataclass(frozen=True, eq=False)
class Patch:
    """A sagittal patch through one vertebra.

    Attributes:
        image: (rows, columns) float32 HU.
        voi: (rows, columns) float32, Gaussian of peak 1 at the vertebra of interest.
        grid: where the pixels lie (depth 1).
    """

    image: NDArray[np.float32]
    voi: NDArray[np.float32]
    grid: Grid

    def crop(self, edge: int = CROP_SIZE) -> Patch:
        """The central part."""
        r, c = (self.image.shape[0] - edge) // 2, (self.image.shape[1] - edge) // 2
        part = (slice(r, r + edge), slice(c, c + edge))
        return Patch(self.image[part], self.voi[part], self.grid.crop(edge))


@dataclass(frozen=True, eq=False)
class Block:
    """A straightened block around one vertebra: ``image`` (rows, columns, depth) on ``grid``."""

    image: NDArray[Any]
    grid: Grid


def rigid_grid(
    center: NDArray[Any], axes: NDArray[Any], shape: tuple[int, int, int], step_mm: float | tuple[float, float, float]
) -> Grid:
    """A flat grid centred on a point.

    Args:
        center: RAS mm.
        axes: (3, 3) columns right, anterior, up.
        shape: (rows, columns, depth); even sizes are centred between samples, so 112 spans (i - 55.5) steps.
        step_mm: distance between samples, one or one for each axis.
    """
    right, anterior, up = np.asarray(axes, dtype=np.float64).T
    steps = np.broadcast_to(np.asarray(step_mm, dtype=np.float64), (3,))
    row, column, depth = -up * steps[0], -anterior * steps[1], -right * steps[2]
    half = (np.array(shape) - 1) / 2
    corner = np.asarray(center, dtype=np.float64) - half[0] * row - half[1] * column - half[2] * depth
    rows = np.arange(shape[0])[:, None]
    return Grid(shape, corner + rows * row, np.tile(column, (shape[0], 1)), np.tile(depth, (shape[0], 1)))


def curved_grid(spine: Spine, vertebra: Vertebra, shape: tuple[int, int, int], step_mm: float, follow: str) -> Grid:
    """A grid whose rows follow the spine's curve by arc length.

    Args:
        spine: the spine.
        vertebra: its centroid lies in the middle of the grid.
        shape: (rows, columns, depth).
        step_mm: distance between samples; between rows measured along the curve.
        follow: "lateral" shifts rows sideways only, so that neighbours of a scoliotic spine stay in the picture while
            anterior and cranial distances stay those of the vertebra's own frame; "full" sets every row perpendicular
            to the curve (straightening).
    """
    curve, center = spine.curve(vertebra), vertebra.center
    axes = spine.axes(vertebra)
    right, anterior, up = axes.T
    reach = (shape[0] / 2 + 2) * step_mm
    s = vertebra.s + np.arange(-1.6 * reach, 1.6 * reach + 0.5, 0.5)
    path = curve.at(s) - curve.at(vertebra.s) + center
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    arc -= np.interp(vertebra.s, s, arc)
    offsets = (np.arange(shape[0]) - (shape[0] - 1) / 2) * step_mm
    if follow == "full":
        rows = np.column_stack([np.interp(offsets, arc, path[:, n]) for n in range(3)])
        tangents = curve.down(np.interp(offsets, arc, s))
        ups = -tangents
        anteriors = anterior - (ups @ anterior)[:, None] * ups
        anteriors /= np.linalg.norm(anteriors, axis=1, keepdims=True)
        rights = np.cross(anteriors, ups)
    else:
        height = (path - center) @ -up
        sideways = (path - center) @ right
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(height), np.diff(sideways)))])
        along -= np.interp(vertebra.s, s, along)
        down_mm = np.interp(offsets, along, height)
        right_mm = np.interp(offsets, along, sideways)
        rows = center - down_mm[:, None] * up + right_mm[:, None] * right
        anteriors = np.tile(anterior, (shape[0], 1))
        rights = np.tile(right, (shape[0], 1))
    column, depth = -anteriors * step_mm, -rights * step_mm
    origin = rows - (shape[1] - 1) / 2 * column - (shape[2] - 1) / 2 * depth
    return Grid(shape, origin, column, depth)


def patch_grid(spine: Spine, vertebra: Vertebra, mode: Mode = "plane", size: int = PATCH_SIZE) -> Grid:
    """The grid of a sagittal patch at 1 mm: ``plane`` is flat and keeps distances, ``curved`` follows scoliosis.

    Raises:
        ValueError: another mode.
    """
    shape = (size, size, 1)
    if mode == "plane":
        return rigid_grid(vertebra.center, spine.axes(vertebra), shape, 1.0)
    if mode == "curved":
        return curved_grid(spine, vertebra, shape, 1.0, follow="lateral")
    raise ValueError(f"mode must be 'plane' or 'curved', not {mode!r}")


def sagittal_patch(
    ct: Volume, spine: Spine, vertebra: Vertebra, mode: Mode = "plane", size: int = PATCH_SIZE, order: int = 1
) -> Patch:
    """Sample the sagittal patch of one vertebra: the plane perpendicular to its own left-right axis."""
    grid = patch_grid(spine, vertebra, mode, size)
    image = sample(ct, grid.points(), order=order)[..., 0]
    offset = np.arange(size) - (size - 1) / 2
    falloff = np.exp(-0.5 * (offset / VOI_SIGMA_MM) ** 2)
    return Patch(image, np.outer(falloff, falloff).astype(np.float32), grid)


def straightened_block(
    ct: Volume,
    spine: Spine,
    vertebra: Vertebra,
    shape: tuple[int, int, int] = (96, 96, 96),
    step_mm: float = 1.0,
    mode: Mode = "curved",
    order: int = 1,
) -> Block:
    """Sample a block around one vertebra, straightened along the curve, or rigid with ``mode="plane"``."""
    if mode == "plane":
        grid = rigid_grid(vertebra.center, spine.axes(vertebra), shape, step_mm)
    else:
        grid = curved_grid(spine, vertebra, shape, step_mm, follow="full")
    return Block(sample(ct, grid.points(), order=order), grid)


def sample_where(volume: Volume, grid: Grid, fill: float = 0.0) -> NDArray[np.float32]:
    """Sample a volume on a rigid grid much larger than it: linear, ``fill`` outside the volume, which is not visited.

    Returns:
        (rows, columns, depth) float32.
    """
    ends = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in volume.shape])).reshape(3, -1).T
    corners = grid.to_index(volume.to_ras(ends))
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, grid.shape)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, grid.shape)
    out = np.full(grid.shape, fill, dtype=np.float32)
    if (high - low).min() > 0:
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        out[where] = sample(volume, grid.box(low.tolist(), high.tolist()).points(), fill=fill)
    return out


def to_volume(values: NDArray[Any], grid: Grid, target: Volume, fill: float = 0.0) -> tuple[Volume, tuple[slice, ...]]:
    """Bring what was computed on a grid back to a patient volume's voxels.

    Args:
        values: (rows, columns, depth).
        grid: its grid.
        target: the volume whose voxels are wanted.
        fill: value outside the grid.

    Returns:
        A float32 crop of the target's grid (with its own affine), and the slices of the target it stands for.
    """
    corners = grid.to_ras(np.array(np.meshgrid(*[[0, n - 1] for n in grid.shape])).reshape(3, -1).T)
    rows = grid.origin[:, None] + np.array([[0.0], [grid.shape[1] - 1.0]]) * grid.column_step[:, None]
    index = target.to_index(np.concatenate([corners, rows.reshape(-1, 3)]))
    low = np.clip(np.floor(index.min(0)).astype(int) - 1, 0, np.array(target.shape) - 2)
    high = np.clip(np.ceil(index.max(0)).astype(int) + 2, low + 2, target.shape)
    region = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    voxels = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    where = grid.to_index(target.to_ras(voxels))
    source = Volume(np.asarray(values, dtype=np.float32), np.eye(4))
    crop = sample(source, where, order=1, fill=fill)
    affine = target.affine.copy()
    affine[:3, 3] = target.to_ras(low)
    return Volume(crop, affine), region
