"""Patches and blocks: where every pixel lies, what it holds, and the way back to the patient's voxels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from rendering.analytic import AnalyticSpine, Phantom, analytic_spine, box_spine_ct, grid_around
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import AIR_HU, Volume
from VertebralGradingLib.spine.reformation import (
    CROP_SIZE,
    VOI_SIGMA_MM,
    Grid,
    curved_grid,
    patch_grid,
    rigid_grid,
    sagittal_patch,
    straightened_block,
    to_volume,
)
from VertebralGradingLib.spine.spine import Spine, build_spine

RNG = np.random.default_rng(5)
LEVELS = ["T11", "T12", "L1", "L2", "L3"]
TURN = Rotation.from_euler("xyz", [15, 10, 20], degrees=True).as_matrix()
SHEAR = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, -0.25], [0.0, 0.0, 0.95]])
AXES = {
    "straight": (np.eye(3), (1.0, 1.0, 1.0)),
    "anisotropic": (np.eye(3), (0.7, 0.7, 2.5)),
    "oblique": (TURN, (1.0, 1.2, 0.8)),
    "flipped": (np.diag([-1.0, -1.0, 1.0]), (1.0, 1.0, 1.5)),
    "left-handed": (TURN @ np.diag([-1.0, 1.0, 1.0]), (1.0, 1.0, 2.0)),
    "axes swapped": (np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), (1.0, 1.0, 1.0)),
    "sheared": (TURN @ SHEAR, (1.0, 1.0, 1.5)),
}


def scoliotic() -> AnalyticSpine:
    return analytic_spine(
        LEVELS,
        sagittal_deg=np.linspace(12, -12, 5),
        coronal_deg=np.linspace(-22, 22, 5),
        axial_deg=[0, 4, 8, 4, 0],
        origin=(4.0, -30.0, 210.0),
    )


@cache
def spine_of() -> Spine:
    return build_spine(scoliotic().points())


def grids() -> dict[str, Grid]:
    spine = spine_of()
    vertebra = spine.by_level["T12"]
    return {
        "plane": patch_grid(spine, vertebra, "plane"),
        "curved": patch_grid(spine, vertebra, "curved"),
        "straightened": curved_grid(spine, vertebra, (96, 96, 96), 1.0, follow="full"),
        "rigid": rigid_grid(vertebra.center, spine.axes(vertebra), (40, 30, 21), (0.5, 1.0, 2.0)),
    }


# ---- where the pixels lie -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plane", "curved", "straightened", "rigid"])
def test_index_and_world_are_inverse(name: str) -> None:
    """Well below the 0.1 mm asked for, on and between the samples, and somewhat outside."""
    grid = grids()[name]
    size = np.array(grid.shape)
    index = RNG.uniform(-2.0, size + 1.0, (400, 3))
    if name == "straightened":  # 60 mm beside the curve its rows meet: stay where the map is one to one
        index[:, 1:] = RNG.uniform(0.2, 0.8, (400, 2)) * size[1:]
    back = grid.to_ras(grid.to_index(grid.to_ras(index)))
    assert np.abs(back - grid.to_ras(index)).max() < 1e-3
    assert np.abs(grid.to_index(grid.to_ras(index)) - index).max() < 1e-3


@pytest.mark.parametrize("name", ["plane", "curved", "straightened", "rigid"])
def test_samples_lie_where_the_grid_says(name: str) -> None:
    grid = grids()[name]
    points = grid.points()
    assert points.shape == (*grid.shape, 3)
    index = np.array([[0, 0, 0], [3, 5, 0], [grid.shape[0] - 1, grid.shape[1] - 1, grid.shape[2] - 1]])
    assert np.allclose(points[tuple(index.T)], grid.to_ras(index), atol=1e-9)


@pytest.mark.parametrize("mode", ["plane", "curved"])
def test_centroid_lies_in_the_middle_of_its_patch(mode: str) -> None:
    spine = spine_of()
    for vertebra in spine.vertebrae:
        grid = patch_grid(spine, vertebra, mode)  # type: ignore[arg-type]
        assert np.allclose(grid.to_index(vertebra.center), [63.5, 63.5, 0.0], atol=0.02)


def test_plane_patch_keeps_every_distance_and_its_directions() -> None:
    spine = spine_of()
    vertebra = spine.by_level["L2"]
    grid = patch_grid(spine, vertebra, "plane")
    points = grid.points()[:, :, 0]
    for (r, c), (s, d) in (((0, 0), (127, 127)), ((10, 100), (90, 3)), ((64, 64), (64, 65))):
        assert np.linalg.norm(points[r, c] - points[s, d]) == pytest.approx(np.hypot(r - s, c - d))
    right, anterior, up = spine.axes(vertebra).T
    assert np.allclose(points[1, 0] - points[0, 0], -up)
    assert np.allclose(points[0, 1] - points[0, 0], -anterior)
    assert np.abs((points - vertebra.center) @ right).max() < 1e-9
    assert grid.affine is not None
    assert np.linalg.det(grid.affine[:3, :3]) == pytest.approx(1.0)


def test_curved_patch_keeps_neighbors_of_a_scoliotic_spine_in_the_picture() -> None:
    spine = spine_of()
    vertebra = spine.by_level["L1"]
    aside = {}
    for mode in ("plane", "curved"):
        grid = patch_grid(spine, vertebra, mode)  # type: ignore[arg-type]
        aside[mode] = max(abs(grid.to_index(spine.by_level[level].center)[2]) for level in ("T12", "L2"))
    assert aside["plane"] > 3.0
    assert aside["curved"] < 0.5


def test_curved_rows_are_one_millimeter_apart_along_the_side_curve() -> None:
    spine = spine_of()
    vertebra = spine.by_level["L1"]
    grid = patch_grid(spine, vertebra, "curved")
    steps = np.linalg.norm(np.diff(grid.points()[:, 64, 0], axis=0), axis=1)
    assert np.abs(steps - 1.0).max() < 0.01
    straight = patch_grid(spine, vertebra, "plane").points()[:, 64, 0]
    assert abs(np.linalg.norm(np.diff(straight, axis=0), axis=1) - 1.0).max() < 1e-9


def test_straightened_block_follows_the_curve() -> None:
    """The curve runs through the block's middle column, every row is perpendicular to it, and rows are 1 mm apart."""
    spine = spine_of()
    vertebra = spine.by_level["L1"]
    grid = curved_grid(spine, vertebra, (96, 97, 97), 1.0, follow="full")
    middle = grid.points()[:, 48, 48]
    curve = spine.curve(vertebra)
    for point in middle[::8]:
        assert np.linalg.norm(curve.at(curve.closest(point)) - point) < 0.02
    assert np.abs(np.linalg.norm(np.diff(middle, axis=0), axis=1) - 1.0).max() < 0.01
    along = np.gradient(middle, axis=0)
    assert np.abs(np.einsum("ni,ni->n", along, grid.column_step)).max() < 0.03
    assert np.abs(np.einsum("ni,ni->n", along, grid.depth_step)).max() < 0.03
    handed = np.linalg.det(np.stack([along, grid.column_step, grid.depth_step], axis=-1))
    assert np.allclose(handed, 1.0, atol=0.01)


@pytest.mark.parametrize("mode", ["plane", "curved"])
def test_crop_is_the_middle_of_the_patch(mode: str) -> None:
    phantom = phantom_on("straight")
    spine = spine_of()
    patch = sagittal_patch(phantom.ct, spine, spine.by_level["L1"], mode)  # type: ignore[arg-type]
    crop = patch.crop()
    assert crop.image.shape == crop.voi.shape == (CROP_SIZE, CROP_SIZE)
    assert np.array_equal(crop.image, patch.image[8:120, 8:120])
    assert np.allclose(crop.grid.points(), patch.grid.points()[8:120, 8:120])
    again = sample(phantom.ct, crop.grid.points())[..., 0]
    assert np.array_equal(again, crop.image)


def test_marker_of_the_vertebra_is_a_gaussian_in_the_middle() -> None:
    spine = spine_of()
    patch = sagittal_patch(phantom_on("straight").ct, spine, spine.by_level["L1"])
    row, column = np.meshgrid(np.arange(128) - 63.5, np.arange(128) - 63.5, indexing="ij")
    truth = np.exp(-(row**2 + column**2) / (2 * VOI_SIGMA_MM**2))
    assert np.allclose(patch.voi, truth, atol=1e-6)


def test_unknown_mode_is_refused() -> None:
    spine = spine_of()
    with pytest.raises(ValueError, match="mode"):
        patch_grid(spine, spine.by_level["L1"], "straight")  # type: ignore[arg-type]


# ---- what the pixels hold -----------------------------------------------------------------------------------------


def volume_of(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], name: str) -> Volume:
    """float32 volume around the scoliotic spine whose voxels are a function of RAS mm."""
    axes, spacing = AXES[name]
    affine, shape = grid_around(scoliotic(), spacing, axes, margin_mm=30.0)
    empty = Volume(np.zeros(shape, np.float32), affine)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return Volume(function(empty.to_ras(index)).astype(np.float32), affine)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("mode", ["plane", "curved"])
def test_linear_ramp_is_sampled_exactly(name: str, mode: str) -> None:
    """Trilinear interpolation has no error on a ramp: any deviation is one of place."""
    slope = np.array([2.0, -3.0, 1.5])
    volume = volume_of(lambda world: world @ slope, name)
    spine = spine_of()
    for level in ("T12", "L1", "L3"):
        patch = sagittal_patch(volume, spine, spine.by_level[level], mode, size=90)  # type: ignore[arg-type]
        points = patch.grid.points()[:, :, 0]
        inside = volume.contains(points)
        assert inside.mean() > 0.9
        error = np.abs(patch.image - points @ slope)[inside].max()
        assert error <= 1e-3 * np.ptp(points @ slope)
        assert error <= 0.1 * np.linalg.norm(slope)  # 0.1 mm


@cache
def phantom_on(name: str) -> Phantom:
    axes, spacing = AXES[name]
    affine, shape = grid_around(scoliotic(), spacing, axes)
    return box_spine_ct(scoliotic(), affine, shape)


@pytest.mark.parametrize("name", ["oblique", "left-handed", "sheared"])
@pytest.mark.parametrize("mode", ["plane", "curved"])
def test_patch_does_not_depend_on_the_grid_of_the_scan(name: str, mode: str) -> None:
    """The same spine scanned on a turned grid: patches differ by what partial volume and interpolation do to edges."""
    spine = spine_of()
    one, other = phantom_on("straight").ct, phantom_on(name).ct
    for level in ("T12", "L1"):
        first, second = (
            sagittal_patch(ct, spine, spine.by_level[level], mode, size=64).image  # type: ignore[arg-type]
            for ct in (one, other)
        )
        both = (first > AIR_HU + 1) & (second > AIR_HU + 1)
        assert both.mean() > 0.9
        here = first[both]
        bone = here > 110.0
        assert bone.mean() > 0.2
        assert np.abs(first - second)[both].mean() < 20.0
        assert np.corrcoef(here, second[both])[0, 1] > 0.95
        shifted = np.roll(first, 2, axis=0)  # and the comparison would notice 2 mm
        assert np.abs(shifted - second)[both].mean() > 1.5 * np.abs(first - second)[both].mean()


# ---- the sampler --------------------------------------------------------------------------------------------------


def random_volume(dtype: type, layout: str) -> Volume:
    values = RNG.integers(0, 250, (17, 14, 11)).astype(dtype)
    array = {
        "C": np.ascontiguousarray(values),
        "F": np.asfortranarray(values),
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "reversed": np.ascontiguousarray(values[::-1])[::-1],
        "read-only": np.asfortranarray(values),
    }[layout]
    assert np.array_equal(array, values)
    if layout == "read-only":
        array.flags.writeable = False
    affine = np.eye(4)
    affine[:3, :3] = TURN @ SHEAR * (1.0, 0.8, 2.0)
    affine[:3, 3] = 10, -5, 30
    return Volume(array, affine)


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "read-only"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_sampler_equals_scipy(order: int, dtype: type, layout: str) -> None:
    volume = random_volume(dtype, layout)
    index = RNG.uniform(0.0, np.array(volume.shape) - 1.0, (3000, 3)).reshape(10, 300, 3)
    if order == 0:
        index = index[np.abs(index % 1.0 - 0.5).min(-1) > 1e-6].reshape(-1, 3)
    found = sample(volume, volume.to_ras(index), order=order)
    values = volume.array.astype(np.float64)
    truth = map_coordinates(values, np.moveaxis(index, -1, 0), order=order, mode="mirror")
    assert found.shape == index.shape[:-1]
    assert found.dtype == (volume.array.dtype if order == 0 else np.float32)
    tolerance = {0: 0.0, 1: 2e-3, 3: 0.5 if min(volume.shape) < 12 else 0.05}[order]
    inner = ((index > 4) & (index < np.array(volume.shape) - 5)).all(-1) if order == 3 else np.ones(found.shape, bool)
    assert inner.any()
    assert np.abs(found.astype(np.float64) - truth)[inner].max() <= tolerance


@pytest.mark.parametrize("order", [0, 1, 3])
def test_many_points_are_all_sampled(order: int) -> None:
    """More points than one chunk holds."""
    volume = random_volume(np.int16, "F")
    index = RNG.uniform(3.0, 7.0, (70_001, 3))
    index = np.where(np.abs(index % 1 - 0.5) < 1e-6, index + 1e-3, index)
    truth = map_coordinates(volume.array.astype(np.float64), index.T, order=order, mode="nearest")
    assert np.abs(sample(volume, volume.to_ras(index), order=order) - truth).max() < (0.5 if order == 3 else 1e-2)


@pytest.mark.parametrize("order", [1, 3])
def test_outside_is_air_from_half_a_voxel_on(order: int) -> None:
    volume = random_volume(np.int16, "C")
    index = np.array([[-0.4, 3, 3], [16.4, 3, 3], [-0.6, 3, 3], [3, 3, 10.6], [1e7, 0, 0], [-1e7, -1e7, -1e7]])
    found = sample(volume, volume.to_ras(index), order=order)
    assert np.isfinite(found).all()
    assert (found[:2] > AIR_HU).all()
    assert (found[2:] == AIR_HU).all()
    assert (sample(volume, volume.to_ras(index), order=order, fill=7.0)[2:] == 7.0).all()


def test_labels_outside_are_background() -> None:
    volume = random_volume(np.uint8, "C")
    found = sample(volume, volume.to_ras(np.array([[-1.0, 0, 0], [0, 0, 0]])), order=0)
    assert found[0] == 0
    assert found[1] == volume.array[0, 0, 0]


def test_other_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        sample(random_volume(np.int16, "C"), np.zeros((1, 3)), order=2)


# ---- and back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["straight", "oblique", "left-handed", "sheared", "anisotropic"])
@pytest.mark.parametrize("mode", ["plane", "curved"])
def test_sphere_comes_back_to_its_place(name: str, mode: str) -> None:
    """A sphere drawn in a block and brought to the scan's voxels has its centroid and volume."""
    spine = spine_of()
    vertebra = spine.by_level["L1"]
    axes, spacing = AXES[name]
    affine, shape = grid_around(scoliotic(), spacing, axes)
    target = Volume(np.zeros(shape, np.int16), affine)
    block = straightened_block(target, spine, vertebra, (44, 44, 44), 1.0, mode)  # type: ignore[arg-type]
    assert block.image.shape == (44, 44, 44)
    center, radius = vertebra.center + np.array([3.3, -2.2, 4.4]), 11.0
    distance = np.linalg.norm(block.grid.points() - center, axis=-1)
    values = np.clip(0.5 + radius - distance, 0.0, 1.0)
    crop, region = to_volume(values, block.grid, target)
    assert crop.array.shape == tuple(s.stop - s.start for s in region)
    assert np.allclose(crop.affine[:3, 3], target.to_ras([s.start for s in region]))
    index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in region], indexing="ij"), -1)
    weight = crop.array.astype(np.float64)
    found = (weight[..., None] * target.to_ras(index)).sum((0, 1, 2)) / weight.sum()
    assert np.linalg.norm(found - center) < 0.1
    volume = weight.sum() * abs(np.linalg.det(affine[:3, :3]))
    assert volume == pytest.approx(4.0 / 3.0 * np.pi * radius**3, rel=0.02)


def test_block_beyond_the_scan_comes_back_cropped() -> None:
    spine = spine_of()
    vertebra = spine.vertebrae[0]
    affine, shape = grid_around(scoliotic())
    target = Volume(np.zeros(shape, np.int16), affine)
    block = straightened_block(target, spine, vertebra, (120, 40, 40))
    crop, region = to_volume(np.ones(block.grid.shape), block.grid, target)
    assert all(0 <= s.start < s.stop <= n for s, n in zip(region, shape, strict=True))
    assert crop.array.max() == pytest.approx(1.0)
    assert set(np.unique(np.round(crop.array, 3))) >= {0.0, 1.0}
