"""A whole CT with its masks, sampled slab by slab from the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.alignment import rotation
from VertebralGradingLib.phantom.field import Field
from VertebralGradingLib.phantom.imaging import Scanner, calibrate, gaussian, kernel, noise_texture, streaks
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.phantom.patches import body_middle
from VertebralGradingLib.phantom.soft import TISSUES

_MARGIN_MM = 22.0
_SUBSLICE_MM = 1.2
_POINTS = 1 << 18
"""Samples evaluated in one call."""


@dataclass(frozen=True, eq=False)
class SyntheticCT:
    """A CT and what is known of it; all volumes share one grid.

    Attributes:
        ct: int16 HU.
        vertebrae: VerSe labels of whole vertebrae, uint8.
        bodies: VerSe labels of bodies, uint8.
        centroids: level -> (3,) RAS mm, of bodies that lie wholly inside.
    """

    ct: Volume
    vertebrae: Volume
    bodies: Volume
    centroids: dict[str, NDArray[np.float64]]


def render_ct(
    spine: SpineParameters,
    scanner: Scanner,
    levels: list[str],
    half_width_mm: float = 58.0,
    ahead_mm: float = 52.0,
    behind_mm: float = 78.0,
    device: torch.device | str = "cpu",
) -> SyntheticCT:
    """Render the CT of some neighbouring levels; a tilted gantry's slices are tilted, and so is the volume.

    Args:
        spine: the spine.
        scanner: pixel, slices, noise.
        levels: vertebrae that lie inside.
        half_width_mm: field of view beside the spine's middle.
        ahead_mm: in front of it.
        behind_mm: behind it.
        device: where to compute.
    """
    field = Field([spine], device)
    frames = {level: field.frame(level) for level in spine.levels}
    middles = {level: frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3] for level, frame in frames.items()}
    gantry = rotation(scanner.tilt, 0.0, 0.0)  # columns: the scanner's right, anterior, up in RAS
    seen = {level: middle @ gantry for level, middle in middles.items()}
    chosen = np.array([seen[level] for level in levels])
    center = (chosen.min(0) + chosen.max(0)) / 2
    pixel, step = scanner.pixel_mm, scanner.step_mm
    spread = np.ptp(chosen, axis=0) / 2
    low = np.array(
        [center[0] - half_width_mm - spread[0], center[1] - behind_mm - spread[1], chosen[:, 2].min() - _MARGIN_MM]
    )
    high = np.array(
        [center[0] + half_width_mm + spread[0], center[1] + ahead_mm + spread[1], chosen[:, 2].max() + _MARGIN_MM]
    )
    shape = tuple(int(n) for n in np.ceil((high - low) / [pixel, pixel, step]))
    # voxel axes run left, posterior, up, as most CTs do
    affine = np.diag([-pixel, -pixel, step, 1.0])
    affine[:3, 3] = [high[0], high[1], low[2] + scanner.phase * step]
    hu, vertebrae, bodies = _render(field, scanner, affine, shape, gantry)
    inside = {
        level: middles[level]
        for level in spine.levels
        if level[0] in "TL" and low[2] + 0.5 * _MARGIN_MM < seen[level][2] < high[2] - 0.5 * _MARGIN_MM
    }
    affine[:3] = gantry @ affine[:3]
    return SyntheticCT(Volume(hu, affine), Volume(vertebrae, affine), Volume(bodies, affine), inside)


def _render(
    field: Field, scanner: Scanner, affine: NDArray[np.float64], shape: tuple[int, ...], gantry: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.uint8]]:
    """Sample slices; ``affine`` is that of the scanner's axes, which ``gantry`` turns to RAS."""
    turn = torch.from_numpy(gantry.T.copy())
    ni, nj, nk = shape
    i, j = torch.meshgrid(torch.arange(ni), torch.arange(nj), indexing="ij")
    plane = torch.stack([affine[0, 0] * i + affine[0, 3], affine[1, 1] * j + affine[1, 3]], -1).reshape(-1, 2)
    count = max(int(np.ceil(scanner.slice_mm / _SUBSLICE_MM)), 1)
    hu = torch.empty(shape)
    metal = torch.zeros(shape, dtype=torch.bool)
    vertebrae, bodies = (torch.zeros(shape, dtype=torch.uint8) for _ in range(2))
    offsets = ((torch.arange(count) + 0.5) / count - 0.5) * scanner.slice_mm
    together = max(_POINTS // (count * len(plane)), 1)
    for begin in range(0, nk, together):
        slices = slice(begin, min(begin + together, nk))
        z = affine[2, 2] * torch.arange(slices.start, slices.stop) + affine[2, 3]
        heights = (z[:, None] + offsets).reshape(-1, 1, 1).to(plane.dtype)
        points = torch.cat([plane.expand(len(heights), -1, -1), heights.expand(-1, len(plane), -1)], -1)
        values = field(points.reshape(1, -1, 3) @ turn.to(points.dtype), scanner.blur_mm)

        def stacked(value: torch.Tensor, size: int = len(z)) -> torch.Tensor:
            """(ni, nj, slices, sub-slices)."""
            return value[0].cpu().reshape(size, count, ni, nj).permute(2, 3, 0, 1)

        hu[:, :, slices] = stacked(values.hu).mean(-1)
        vertebrae[:, :, slices] = stacked(values.vertebra)[..., count // 2]
        bodies[:, :, slices] = stacked(values.body)[..., count // 2]
        metal[:, :, slices] = stacked(values.tissue)[..., count // 2] == TISSUES.index("metal")
    hu = kernel(hu, scanner, (0, 1), scanner.pixel_mm)
    grain = noise_texture(scanner.seed, (ni, nj, nk), scanner, (0, 1), scanner.pixel_mm)
    hu += scanner.noise_hu * gaussian(grain, 0.4 / scanner.step_mm, 2)
    if scanner.streak_hu > 0:
        hu += streaks(scanner.seed, nj * nk, ni, scanner).reshape(nj, nk, ni).movedim(2, 0) * (hu > -500)
    if metal.any() and scanner.metal_hu > 0:
        hu += _metal(metal, scanner)
    out = calibrate(hu, scanner).round().to(torch.int16).numpy()
    return out, vertebrae.numpy(), bodies.numpy()


def _metal(metal: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    """Dark and bright streaks in the slices that hold metal, along lines through it."""
    share = gaussian(gaussian(metal.float(), 9.0, 0), 1.5, 1) - gaussian(gaussian(metal.float(), 9.0, 1), 1.5, 0)
    return 6.0 * scanner.metal_hu * share * (~metal)
