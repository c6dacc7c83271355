"""Patches and blocks straight from the field: where they lie, and the scanner's slices seen in their plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.phantom.alignment import rotation
from VertebralGradingLib.phantom.body import endplates
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.drawer import Drawer
from VertebralGradingLib.phantom.field import Field
from VertebralGradingLib.phantom.imaging import AIR_HU, TOP_HU, Scanner, white
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.phantom.soft import TISSUES
from VertebralGradingLib.spine.curve import axes_from
from VertebralGradingLib.spine.reformation import PATCH_SIZE, Grid, rigid_grid

CLICK_SD_MM = 2.2
"""How far a click is off the body's middle, per axis (sheet 7: 2-3 mm)."""
TILT_SD = np.radians(4.5)
"""How far the curve's tangent is off the body's axis (sheet 7: up to 13 degrees)."""


def body_middle(spine: SpineParameters, level: str) -> NDArray[np.float64]:
    """(3,) middle of a body in own coordinates."""
    p = View(torch.from_numpy(spine.row(level)))
    v = torch.linspace(-0.7, 0.7, 9, dtype=torch.float64) * p.half_depth
    top, bottom, _ = endplates(torch.zeros_like(v), v, p)
    return np.array([0.0, 0.0, float((top + bottom).mean()) / 2])


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a patch or block lies, and which part of it the scan covers.

    Attributes:
        grid: its samples.
        cut: (4,) samples that lie outside the scan: from the top, bottom, front, back.
    """

    grid: Grid
    cut: tuple[int, int, int, int]


def pose(
    spine: SpineParameters,
    frame: NDArray[np.float64],
    level: str,
    seed: int,
    amount: float = 1.0,
    shape: tuple[int, int, int] = (PATCH_SIZE, PATCH_SIZE, 1),
    middle: NDArray[np.float64] | None = None,
) -> Pose:
    """Where a user's click and a curve through neighbouring clicks would put a patch.

    Args:
        spine: the spine.
        frame: (4, 4) own coordinates of the body -> RAS mm (:class:`alignment.Alignment`).
        level: vertebra of interest.
        seed: fixes the scatter.
        amount: 0 for the exact middle and axes.
        shape: rows, columns, depth at 1 mm.
        middle: :func:`body_middle` where it is known already.
    """
    draw = Drawer(np.random.default_rng([seed, 31]), amount)
    middle = body_middle(spine, level) if middle is None else middle
    center = frame[:3, :3] @ middle + frame[:3, 3]
    center = center + frame[:3, :3] @ np.array([draw.normal(0.0, CLICK_SD_MM) for _ in range(3)])
    turn = rotation(draw.normal(0, TILT_SD), draw.normal(0, 0.7 * TILT_SD), draw.normal(0, TILT_SD))
    axes = frame[:3, :3] @ turn
    axes = axes_from(axes[:, 2], axes[:, 1])
    cut = [0, 0, 0, 0]
    for side, (probability, reach) in enumerate(((0.10, 0.33), (0.10, 0.33), (0.12, 0.31), (0.15, 0.30))):
        if draw.chance(probability * amount):
            cut[side] = int(draw.rng.integers(1, int(reach * shape[side // 2])))
    return Pose(rigid_grid(center, axes, shape, 1.0), (cut[0], cut[1], cut[2], cut[3]))


def beside(
    p: Pose, frame: NDArray[np.float64], middle: NDArray[np.float64], offset_mm: float, view: str = "sagittal"
) -> Pose:
    """The same patch at a given distance beside the body's middle, or turned to a coronal one.

    Args:
        p: of :func:`pose`.
        frame: of the body, as there.
        middle: (3,) of the body in own coordinates.
        offset_mm: to the right of the body's middle, in front of it in a coronal patch.
        view: "sagittal", columns running posteriorly, or "coronal", running to the left.
    """
    affine = p.grid.affine
    assert affine is not None  # poses are rigid
    up, anterior, right = (-affine[:3, k] for k in range(3))
    center = affine @ np.array([*((n - 1) / 2 for n in p.grid.shape), 1.0])
    exact = frame[:3, :3] @ middle + frame[:3, 3]
    across = right if view == "sagittal" else anterior
    moved = center[:3] + (offset_mm - (center[:3] - exact) @ across) * across
    axes = np.column_stack([right, anterior, up] if view == "sagittal" else [-anterior, right, up])
    return Pose(rigid_grid(moved, axes, p.grid.shape, 1.0), p.cut)


def scan(
    field: Field, poses: list[Pose], scanners: list[Scanner], labels: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scan every spine of a field on its own pose.

    Returns:
        (B, R, C, D) float32 HU, and ``body`` (VerSe labels of bodies), ``vertebra``, ``tissue``, ``depth`` (mm inside
        the nearest body) and ``outside`` (bool, what the scan does not cover) of the same shape.
    """
    shape = poses[0].grid.shape
    values = field(_points(poses, field.device), torch.tensor([scanner.blur_mm for scanner in scanners]))
    hu = values.hu.reshape(len(poses), *shape).float()
    maps = {"body": values.body, "vertebra": values.vertebra, "tissue": values.tissue, "depth": values.depth}
    maps = {name: value.reshape(len(poses), *shape) for name, value in maps.items()} if labels else {}
    if labels:
        maps["outside"] = outside(poses, field.device).expand(len(poses), *shape)
    metal = (values.tissue == TISSUES.index("metal")).reshape(len(poses), *shape)
    return image(hu, metal, poses, scanners), maps


def _points(poses: list[Pose], device: torch.device) -> Tensor:
    """(B, N, 3) RAS mm of the samples of rigid poses of one shape, made where they are used."""
    rigid = [affine for affine in (p.grid.affine for p in poses) if affine is not None]
    affines = torch.from_numpy(np.stack(rigid)).to(device, torch.float32)
    steps = [torch.arange(n, device=device, dtype=torch.float32) for n in poses[0].grid.shape]
    index = torch.stack(torch.meshgrid(*steps, indexing="ij"), -1).reshape(1, -1, 3)
    return index @ affines[:, :3, :3].transpose(1, 2) + affines[:, None, :3, 3]


def image(hu: Tensor, metal: Tensor, poses: list[Pose], scanners: list[Scanner]) -> Tensor:
    """Images (B, R, C, D) from noise-free HU: slices run across the rows, kernels along columns and depth."""
    _, rows, columns, depth = hu.shape

    def each(name: str) -> Tensor:
        numbers = torch.tensor([getattr(scanner, name) for scanner in scanners], dtype=torch.float32)
        return numbers.to(hu.device)[:, None, None, None]

    hu = filtered(hu, 2, lambda f: 1.0 + each("sharpen") * (1.0 - _gauss(f, each("sharpen_mm"))))
    if depth > 1:
        hu = filtered(hu, 3, lambda f: 1.0 + each("sharpen") * (1.0 - _gauss(f, each("sharpen_mm"))))
    seeds = [scanner.seed for scanner in scanners]
    raw = torch.stack([white(seed, (rows, columns, depth)) for seed in seeds]).to(hu.device)
    sigma, low = each("noise_mm"), each("noise_low")
    for axis in (2, 3) if depth > 1 else (2,):
        # reconstruction takes out the lowest frequencies; what is smoother comes from scatter and beam hardening
        raw = filtered(raw, axis, lambda f: _gauss(f, 0.6 * sigma) - (0.6 - low) * _gauss(f, 2.5 * sigma))
    across = np.stack([_across(p, s) for p, s in zip(poses, scanners, strict=True)])
    direction = torch.from_numpy(across).float().to(hu.device)
    hu = _sliced(hu, direction, each("slice_mm"), each("step_mm"), each("phase"))
    grain = _sliced(raw, direction, 0.0 * sigma, each("step_mm"), each("phase"))
    grain = grain / grain.std((1, 2, 3), keepdim=True).clamp_min(1e-6)
    lines = torch.stack([white(seed + 5, (rows, 1, 1)) for seed in seeds]).to(hu.device)
    waves = torch.stack([white(seed + 8, (rows, columns, 1)) for seed in seeds]).to(hu.device)
    waves = 5.0 * filtered(waves, 2, lambda f: _gauss(f, torch.full_like(sigma, 12.0)))
    envelope = 5.0 * filtered(lines, 1, lambda f: _gauss(f, torch.full_like(sigma, 12.0))).abs()
    if bool(metal.any()):
        share = filtered(metal.float().mean((2, 3), keepdim=True), 1, lambda f: _gauss(f, torch.full_like(sigma, 1.5)))
        hu = hu + each("metal_hu") * 10.0 * share.clamp(0.0, 0.15) * (lines + waves) * (~metal)
    hu = hu + each("noise_hu") * grain
    hu = hu + each("streak_hu") * (lines * envelope.clamp_max(1.5) + 0.5 * waves) * (hu > -500)
    hu = ((hu + 1000.0) * each("scale") - 1000.0 + each("shift_hu")).clamp(AIR_HU, TOP_HU)
    return torch.where(outside(poses, hu.device), torch.full_like(hu, AIR_HU), hu)


def outside(poses: list[Pose], device: torch.device) -> Tensor:
    """(B, R, C, 1) bool: samples of poses of one shape that the scan does not cover."""
    rows, columns, _ = poses[0].grid.shape
    cut = torch.tensor([p.cut for p in poses], device=device)[:, :, None, None, None]
    r = torch.arange(rows, device=device)[:, None, None]
    c = torch.arange(columns, device=device)[None, :, None]
    return (r < cut[:, 0]) | (r >= rows - cut[:, 1]) | (c < cut[:, 2]) | (c >= columns - cut[:, 3])


def filtered(x: Tensor, axis: int, transfer: Callable[[Tensor], Tensor]) -> Tensor:
    """Filter one axis of (B, R, C, D), 1 mm samples, by a transfer function of frequency (1/mm); edges are mirrored."""
    size = x.shape[axis]
    pad = min(16, size - 1)
    near, far = x.narrow(axis, 1, pad).flip(axis), x.narrow(axis, size - 1 - pad, pad).flip(axis)
    longer = torch.cat([near, x, far], axis)
    f = torch.fft.rfftfreq(longer.shape[axis], device=x.device).reshape([-1 if a == axis else 1 for a in range(4)])
    out = torch.fft.irfft(torch.fft.rfft(longer, dim=axis) * transfer(f), n=longer.shape[axis], dim=axis)
    return out.narrow(axis, pad, size)


def _gauss(f: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(-2.0 * (np.pi * sigma * f) ** 2)


def _across(where: Pose, scanner: Scanner) -> NDArray[np.float64]:
    """(2,) the direction across the scanner's slices, in rows and columns of a pose."""
    down = where.grid.origin[-1] - where.grid.origin[0]
    ahead = where.grid.column_step[0] / np.linalg.norm(where.grid.column_step[0])
    across = rotation(scanner.tilt, 0.0, 0.0)[:, 2]
    direction = np.array([-across @ down / np.linalg.norm(down), -across @ ahead])
    return direction / np.linalg.norm(direction)


def _sliced(x: Tensor, direction: Tensor, slice_mm: Tensor, step: Tensor, phase: Tensor) -> Tensor:
    """Average over the slice profile and interpolate linearly between slices across ``direction`` (B, 2)."""
    _, rows, columns, _ = x.shape
    d_row, d_column = direction[:, 0, None, None], direction[:, 1, None, None]
    slice_mm, step, phase = (value[..., 0] for value in (slice_mm, step, phase))
    r = torch.arange(rows, device=x.device, dtype=x.dtype)[None, :, None]
    c = torch.arange(columns, device=x.device, dtype=x.dtype)[None, None]
    along = r * d_row + c * d_column
    low = (along / step - phase).floor()
    part = along / step - phase - low
    count = int(np.ceil(max(float(slice_mm.max()), 0.1) / 1.0))
    channels = x.movedim(3, 1)
    out = torch.zeros_like(channels)
    for index, weight in ((low, 1.0 - part), (low + 1.0, part)):
        shift = (index + phase) * step - along
        for k in range(count):
            move = shift + ((k + 0.5) / count - 0.5) * slice_mm
            place = torch.stack(
                [(c + move * d_column) * 2 / (columns - 1) - 1, (r + move * d_row) * 2 / (rows - 1) - 1], dim=-1
            )
            read = functional.grid_sample(channels, place, "bilinear", "border", align_corners=True)
            out = out + weight[:, None] * read / count
    return torch.where(((step <= 1.0) & (slice_mm <= 1.0))[:, None], channels, out).movedim(1, 3)
